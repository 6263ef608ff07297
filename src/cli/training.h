/* training.h - what `train` and `recalibrate` share: texts, settings, memory, the run, the folder it leaves. */
#ifndef QK_CLI_TRAINING_H
#define QK_CLI_TRAINING_H

#include "cli/cli.h"
#include "train/corpus.h"
#include "train/trainer.h"

/* Under --max-mem a tracker's passes get one part of so many. */
#define CLI_TRACKING_SHARE 4

typedef struct cli_training {
    qk_documents documents, held_out_documents; /* --texts, --valid */
    qk_world *world;                            /* --world */
    qk_text text, held_out_text;
    qk_held_out held_out;
    json_t *settings;     /* owned; of `training` */
    qk_config config;     /* of the model that is trained; borrows what it points to */
    qk_training training;
    qk_training_hook hooks[6]; /* of `training`, in the order they were added */
    cli_command *command; /* borrowed */
} cli_training;

/* Texts, tokens and settings as the options say, for a model of `config` that reads with source's tokenizer.  `start`
 * (an object, taken over): what the weights at the start depend on.  Under --max-mem the micro-batches are made to fit
 * or QK_E_BUDGET is returned, before anything large is allocated.  `out` must not move: it points into itself. */
qk_status cli_training_open(cli_training *out, cli_command *command, const qk_config *config, const qk_model *source,
                            json_t *start, qk_error *err);
/* Before the run; at most five. */
void cli_training_add_hook(cli_training *training, qk_training_hook hook);
/* --dry-run: weights, tokens, memory, work. */
qk_status cli_training_print_plan(const cli_training *training, const cli_command *command, qk_error *err);
/* Run it on `parameters`. */
qk_status cli_training_run(qk_training_result *result, cli_training *training, qk_parameters *parameters,
                           qk_error *err);
/* The trained model and training.json into -o; `notes` (an object or NULL, borrowed) is added to training.json, which
 * becomes *object (the caller's). */
qk_status cli_training_write(json_t **object, const cli_training *training, cli_command *command,
                             const qk_parameters *parameters, const qk_training_result *result, const json_t *notes,
                             qk_error *err);
void cli_training_print(const qk_training_result *result);
void cli_training_close(cli_training *training);

#endif
