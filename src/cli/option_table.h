/* option_table.h - the table of options, private to the files that parse it and print it. */
#ifndef QK_CLI_OPTION_TABLE_H
#define QK_CLI_OPTION_TABLE_H

#include "cli/cli.h"

typedef enum cli_option_kind {
    KIND_FLAG,
    KIND_TEXT,
    KIND_LIST,   /* repeatable: cli_list */
    KIND_COUNT,  /* uint64_t */
    KIND_NUMBER, /* double */
    KIND_BYTES,  /* uint64_t */
    KIND_CHOICE, /* int: the value of the chosen row */
    KIND_SET     /* int: the values of the chosen rows together */
} cli_option_kind;

typedef enum cli_option_group {
    GROUP_RESULT,
    GROUP_DOCUMENTS,
    GROUP_QUESTION,
    GROUP_TRAINING,
    GROUP_COMPUTE,
    GROUP_TALK
} cli_option_group;

typedef struct cli_option_row {
    const char *name, *argument; /* argument: NULL for flags */
    char letter;                 /* 0 = none */
    cli_option_group group;      /* in help */
    cli_option_kind kind;
    size_t offset; /* of the field of cli_options */
    const cli_choice *choices;
    double min, max; /* COUNT (max 0 = any), NUMBER */
    bool matters;    /* numbers depend on it: part of the settings of a run */
    const char *doc;
    const char *aliases[2];
} cli_option_row;

extern const cli_option_row cli_option_table[N_OPTIONS];

#endif
