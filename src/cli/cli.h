/* command.h - the command line: verbs, their options, what they print.  The only room that prints, exits, reads the
 * environment or catches signals.
 *
 *   main.c      verb table, help, exit codes            load.c     models and documents that a verb was given
 *   options.c   one table of options for all verbs      run.c      the run folder around a study
 *   parse.c     numbers, sizes, lists: strict           manifest.c manifest.json
 *   progress.c  bar, plain lines, SIGINT                print.c    tables on stdout
 */
#ifndef QK_CLI_H
#define QK_CLI_H

#include <time.h>

#include "base/base.h"

/* ---- options (options.c) */

typedef enum cli_option_id {
    OPTION_END, /* ends a verb's list */
    OPTION_HELP, OPTION_VERSION,
    OPTION_OUTPUT, OPTION_JSON, OPTION_NO_RUN, OPTION_FIGURES, OPTION_RESUME, OPTION_DRY_RUN, OPTION_QUIET, OPTION_VERBOSE,
    OPTION_CONTEXT, OPTION_NO_BOS, OPTION_THREADS, OPTION_MAX_MEM, OPTION_PRECISION, OPTION_REFERENCE, OPTION_CACHE_DIR,
    OPTION_TEXTS, OPTION_SPLIT, OPTION_LIMIT, OPTION_CALIB,
    OPTION_FILE, OPTION_DECODE,
    OPTION_PROTOCOL, OPTION_STRIDE, OPTION_PER_TOKEN,
    OPTION_HOOKS, OPTION_TOLERANCE,
    OPTION_LAMBDA, OPTION_CRITERION, OPTION_SITE, OPTION_PRESET, OPTION_CAPTURED,
    OPTION_OP, OPTION_TENSORS, OPTION_LAYERS, OPTION_CONTROL, OPTION_SEEDS, OPTION_SEED, OPTION_TOP_K, OPTION_BOOTSTRAP,
    N_OPTIONS
} cli_option_id;

/* Groups that several verbs share. */
#define OPTIONS_TALK OPTION_QUIET, OPTION_VERBOSE
#define OPTIONS_TEXTS OPTION_TEXTS, OPTION_SPLIT, OPTION_LIMIT
#define OPTIONS_COMPUTE                                                                                                \
    OPTION_CONTEXT, OPTION_NO_BOS, OPTION_THREADS, OPTION_MAX_MEM, OPTION_PRECISION, OPTION_REFERENCE, OPTION_CACHE_DIR
#define OPTIONS_RUN OPTION_OUTPUT, OPTION_JSON, OPTION_NO_RUN, OPTION_FIGURES, OPTION_RESUME, OPTION_DRY_RUN

typedef struct cli_list { const char **items; size_t n; } cli_list; /* borrows argv's strings */

/* What was asked; a verb reads only what it takes.  Defaults stand in options.c, per-verb ones in the verb. */
typedef struct cli_options {
    bool given[N_OPTIONS];
    const char *output, *cache_dir, *split, *file, *decode, *layers;
    bool help, version, json, no_run, resume, dry_run, quiet, verbose, no_bos, reference, per_token;
    cli_list texts, calib, captured, hooks;
    uint64_t context, threads, limit, stride, seeds, seed, top_k, bootstrap, max_mem;
    double lambda, tolerance;
    int precision, criterion, site, preset, protocol, op, control; /* the value of the chosen row */
    int figures, tensors;                                           /* bit sets */
} cli_options;

typedef struct cli_choice { const char *name; int value; } cli_choice; /* lists end with a NULL name */

enum { SITE_PRE, SITE_POST };
enum { OP_ZERO, OP_MEAN };
enum { FIGURE_PNG = 1, FIGURE_PDF = 2 };

/* ---- verbs (main.c) */

typedef struct cli_command cli_command;

typedef struct cli_verb {
    const char *name;
    qk_status (*run)(cli_command *command, qk_error *err);
    const char *arguments;         /* "MODEL...", as usage shows it */
    size_t min_arguments, max_arguments;
    const cli_option_id *options;  /* ends with OPTION_END */
    const char *line;              /* what it does, one line */
    const char *details;           /* more, or NULL */
    const char *examples;          /* one a line */
} cli_verb;

/* ---- progress (progress.c) */

typedef struct cli_progress {
    bool quiet, terminal, colour;
    bool drawn;               /* a bar stands on the current line */
    char phase[80];           /* of the last tick */
    double started, shown;    /* seconds, monotonic: begin of the phase, last time something was written */
} cli_progress;

struct cli_command {
    const cli_verb *verb;
    cli_options options;
    cli_list arguments;       /* after the verb */
    int argc;
    char **argv;              /* the whole command, for the manifest */
    cli_progress progress;
    qk_arena arena;           /* lives as long as the process */
    const char *program;      /* as called */
    time_t started;
    double started_seconds;   /* monotonic */
};

/* Parse argv into command->options and command->arguments (the verb is the first of these). */
qk_status cli_parse_options(cli_command *command, qk_error *err);
/* Refuse options that command->verb does not take; `verbs` (NULL-terminated) is asked who does. */
qk_status cli_check_options(const cli_command *command, const cli_verb *const *verbs, qk_error *err);
/* Usage, options and examples of a verb. */
void cli_print_help(const cli_command *command, const cli_verb *verb, FILE *stream);
/* The word of `candidates` nearest to `word`, or NULL where none is near. */
const char *cli_nearest(const char *word, const char *const *candidates, size_t n);
/* How a choice is called: the first row with this value. */
const char *cli_choice_name(cli_option_id option, int value);

/* ---- strict parsing (parse.c): the whole text must be the number; `what` names the option in the message */

qk_status cli_parse_count(uint64_t *out, const char *what, const char *text, uint64_t min, uint64_t max, qk_error *err);
qk_status cli_parse_number(double *out, const char *what, const char *text, double min, double max, qk_error *err);
/* "8G", "512M", "1.5G", "1000000": K, M, G, T are powers of 1024. */
qk_status cli_parse_bytes(uint64_t *out, const char *what, const char *text, qk_error *err);
/* "0-3,7" into mask[n_layers]. */
qk_status cli_parse_layers(uint8_t *mask, size_t n_layers, const char *what, const char *text, qk_error *err);
/* Split at commas outside of braces into the arena; an empty piece is refused. */
qk_status cli_split_list(cli_list *out, qk_arena *arena, const char *what, const char *text, qk_error *err);

/* ---- progress and talk (progress.c) */

double cli_seconds(void); /* monotonic */
void cli_progress_start(cli_progress *progress, bool quiet);
qk_progress cli_progress_callback(cli_progress *progress);
/* Take the bar off the screen; before anything else is written. */
void cli_progress_clear(cli_progress *progress);
/* A line on stderr unless -q. */
void cli_say(cli_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The first SIGINT or SIGTERM makes the next tick say stop, the second ends the process at once. */
void cli_catch_signals(void);

/* ---- tables (print.c) */

typedef struct cli_table {
    const char *const *heads;
    const char *alignment; /* one letter a column: 'l' or 'r' */
    size_t n_columns, n_cells, capacity;
    char **cells;          /* owned */
    bool failed;           /* out of memory: printing says so */
} cli_table;

void cli_table_start(cli_table *table, const char *const *heads, const char *alignment);
/* The next cell, row by row; control characters are shown, not sent to the terminal. */
void cli_table_add(cli_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A number with `digits` after the point; "-" for NaN. */
void cli_table_add_number(cli_table *table, double x, int digits);
/* Print and free. */
qk_status cli_table_print(cli_table *table, FILE *stream, qk_error *err);
/* Bytes as a reader likes them: "16.2 MiB". */
const char *cli_human_bytes(char text[32], double n_bytes);
const char *cli_human_count(char text[32], double n); /* "1.24 G" */

#endif
