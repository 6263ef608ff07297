/* trainer.h - the loop: steps, validation, log and checkpoints.
 *
 * A run writes into one folder:
 *   log.jsonl                    one object a step, one a validation; the same bytes whenever the same run is repeated
 *   times.jsonl                  seconds and tokens per second of every step: no two runs are alike in these
 *   checkpoints/step-00001000/   a Hugging Face folder in F32, trainer.safetensors (both moments), trainer.json
 * A checkpoint is written beside its place and renamed when all of it is on the disk; the last `keep` stay.
 *
 * Steps are counted from 0 where they are to come (`step` of a hook before it) and by how many are done where they are
 * over (rows): step 0 is done in row 1. */
#ifndef QK_TRAINER_H
#define QK_TRAINER_H

#include "train/train.h"

/* One optimiser step. */
typedef struct qk_step_row {
    uint64_t step;        /* steps done, this one included */
    uint64_t n_tokens;    /* seen so far, this step's included */
    double nll;           /* mean over the step's predicted tokens, nats, before the update */
    double gradient_norm; /* before clipping */
    double learning_rate;
    double seconds;       /* that the step took; not part of what repeats */
} qk_step_row;

/* One look at the held-out sequences. */
typedef struct qk_validation_row {
    uint64_t step, n_tokens; /* of the last step row; 0, 0 before the first */
    uint64_t n_predicted;
    double nll;              /* mean over predicted tokens, nats */
} qk_validation_row;

/* Who listens to a run or takes part in it.  Every function may be NULL; anything but QK_OK stops the run with that
 * error (QK_E_INTERRUPTED: a checkpoint is saved first, and what was interrupted is called again by the resumed run).
 * The weights of parameters->model are those of the moment. */
typedef struct qk_training_hook {
    void *user;
    /* Once, before anything else, the weights being those of `step` (0 = from the start).  `folder`: the checkpoint
     * that is resumed, with what `save` put there; NULL from the start.  Rows of steps beyond `step` that a listener
     * kept elsewhere did not happen. */
    qk_status (*start)(void *user, uint64_t step, const char *folder, qk_error *err);
    /* Step `step` is about to be computed: a function of `step` alone may change config.rope_amounts.  Called again for
     * the last step where a resumed run has still to tell of it. */
    qk_status (*before_step)(void *user, uint64_t step, qk_error *err);
    /* The step is done, its weights are in place. */
    qk_status (*after_step)(void *user, const qk_step_row *row, qk_error *err);
    qk_status (*after_validation)(void *user, const qk_validation_row *row, qk_error *err);
    /* A checkpoint is being written: files may be added to `folder` (qk_write_file), which is renamed when done. */
    qk_status (*save)(void *user, const char *folder, qk_error *err);
} qk_training_hook;

/* A run: everything is borrowed for its length. */
typedef struct qk_training {
    qk_parameters *parameters; /* as they are at the start; a resumed run reads its own */
    qk_optimiser optimiser;
    qk_corpus corpus;
    qk_batch_spec batch;
    size_t micro_rows;         /* rows that are computed together; 0 = all of a step */
    qk_precision precision;
    const qk_level *level;   /* NULL: the best there is */
    bool reference, recompute; /* as in qk_gradient_spec */
    int n_threads;
    uint64_t max_bytes;        /* of resident memory, for qk_train_fit and the validation; 0 = no limit */
    uint64_t around_bytes;     /* what the caller holds: texts, tokens, a tokenizer */
    const qk_sequence *validation; /* [n_validation] held-out sequences; none: no validation */
    size_t n_validation;
    uint64_t valid_every;      /* steps; 0 = never.  Also before the first step and after the last */
    const char *folder;        /* NULL: nothing is written, nothing can be resumed */
    uint64_t save_every;       /* steps; 0 = only the last */
    size_t keep;               /* checkpoints that stay; at least 1 */
    bool resume;               /* from the newest checkpoint in `folder`; without one from the start */
    const json_t *settings;    /* an object: what else the numbers depend on (hashes of texts, ...); a resumed run must
                                * have the same; NULL = nothing */
    const qk_training_hook *hooks;
    size_t n_hooks;            /* called in this order */
    qk_progress progress;      /* in tokens; what follows ": " in `phase` changes from tick to tick */
} qk_training;

/* What came out. */
typedef struct qk_training_result {
    qk_step_row last;          /* zero where no step was done */
    qk_validation_row validation; /* the last one; n_predicted = 0 where there was none */
    uint64_t resumed_from;     /* steps that had been done before */
} qk_training_result;

/* Train until optimiser.n_steps are done; parameters hold the final weights.  A checkpoint is left at the end.
 *   QK_E_ARGUMENT     settings that make no sense, or are not those of the run that is resumed (named);
 *   QK_E_NUMERIC      a loss or gradient that is not finite: names step and first bad tensor or site; checkpoints stay;
 *   QK_E_INTERRUPTED  after progress.tick said stop and a checkpoint was saved;
 *   QK_E_IO           a folder or file that cannot be written; checkpoints that were there stay. */
qk_status qk_train_run(qk_training_result *out, const qk_training *training, qk_error *err);

/* Weights of a model of this configuration. */
uint64_t qk_train_n_values(const qk_config *config);
/* Bytes that a run of a model of `config` would hold: the program, parameters, gradient, moments, activations,
 * validation.  training->parameters may still be NULL. */
uint64_t qk_train_bytes(const qk_config *config, const qk_training *training);
/* Lower micro_rows and switch recompute on until the run fits in training->max_bytes; QK_E_BUDGET names the least that
 * would do. */
qk_status qk_train_fit(qk_training *training, const qk_config *config, qk_error *err);

#endif
