/* tracking.h - the run folder of a training that is measured or reported: probe documents, run, chronicle. */
#ifndef QK_CLI_TRACKING_H
#define QK_CLI_TRACKING_H

#include "cli/training.h"
#include "study/chronicle.h"

/* What the results call it (docs/RESULTS.md, arms). */
typedef struct cli_arm {
    const char *study, *name, *kind;
    bool changed; /* another model than the one that came, from the start */
} cli_arm;

typedef struct cli_tracking {
    qk_documents probe;
    cli_run run;
    qk_chronicle *chronicle;
    qk_report_options figures;
} cli_tracking;

/* Held-out documents out of what the training holds out: at most `n` of more than `longer_than` tokens, cut to `cut`
 * (0 = whole), `n_tokens` together (0 = any number).  Where none serves *out is empty. */
qk_status cli_pick_held_out(qk_documents *out, const cli_training *training, size_t n, size_t longer_than, size_t cut,
                            size_t n_tokens, qk_error *err);
/* Opens the run in the folder of -o and joins the hooks of `training`, whose model is models[0].  `parameters` are
 * those that will train.  Without --track nothing is measured, but the run is told.  Everything is borrowed. */
qk_status cli_tracking_open(cli_tracking *out, cli_training *training, cli_command *command, const cli_models *models,
                            const cli_arm *arm, const qk_parameters *parameters, qk_error *err);
/* results.json (with the keys of `more` in its arm, NULL: none), manifest and report; then as cli_run_finish. */
qk_status cli_tracking_finish(cli_tracking *tracking, cli_command *command, const qk_training_result *result,
                              const json_t *more, qk_status (*print)(const json_t *, bool, qk_error *), qk_error *err);
void cli_tracking_close(cli_tracking *tracking);

#endif
