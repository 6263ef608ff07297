/* conditions.h - conditions of the command line: broken as in `disrupt`, or by edits written out. */
#ifndef QK_CLI_CONDITIONS_H
#define QK_CLI_CONDITIONS_H

#include "cli/cli.h"
#include "study/disrupt.h"

/* Options that choose them. */
#define OPTIONS_CONDITIONS                                                                                             \
    OPTION_CONDITIONS, OPTION_EDIT, OPTION_LAMBDA, OPTION_CRITERION, OPTION_SITE, OPTION_OP, OPTION_TENSORS,           \
        OPTION_LAYERS, OPTION_CONTROL, OPTION_SEEDS, OPTION_PRESET, OPTION_CALIB

typedef struct cli_conditions {
    qk_condition *items; /* [n]; in the command's arena, like the edits written out */
    size_t n;
    qk_disrupt_plan plan; /* owns the edits of broken massive values */
} cli_conditions;         /* {0} is an empty one */

/* Those of --conditions and --edit; none of both: the baseline.  Free it even where this fails. */
qk_status cli_load_conditions(cli_conditions *conditions, cli_command *command, const cli_models *models,
                              qk_error *err);
void cli_conditions_free(cli_conditions *conditions);

/* edits.c: "OP@SITE[:DIMS]" as one edit a layer, in the arena; edits[*n]. */
qk_status cli_parse_edit(qk_edit **edits, size_t *n, qk_arena *arena, const char *text, const qk_config *config,
                         uint64_t seed, qk_error *err);

#endif
