/* trainer_private.h - a run under way; private to the loop's files.
 *
 *   trainer.c             the loop          trainer_checkpoint.c  saving, resuming, pruning
 *   trainer_validation.c  held-out loss     trainer_settings.c    what a resumed run must have in common
 *   trainer_log.c         log and times     trainer_fit.c         memory */
#ifndef QK_TRAINER_PRIVATE_H
#define QK_TRAINER_PRIVATE_H

#include "train/trainer.h"

typedef struct qk_trainer {
    const qk_training *training;
    qk_gradient *gradient;
    qk_batches *batches;
    json_t *batches_state;  /* as after `last`, whatever has been drawn since */
    json_t *settings;       /* of trainer_settings.c */
    FILE *log, *times;      /* NULL without a folder */
    int lock;               /* descriptor of `checkpoints`, locked; -1: none */
    char *log_path, *times_path, *checkpoints; /* in the folder */
    qk_step_row last;       /* the last step that is done; all zero before the first */
    qk_validation_row validation;
    bool told;              /* hooks and validation of `last` are over */
    uint64_t resumed_from;
    char doing[32];         /* for the progress: "" while training */
} qk_trainer;

/* ---- trainer.c */

/* Rows of a micro-batch. */
size_t qk_trainer_micro_rows(const qk_training *training);
qk_gradient_spec qk_trainer_gradient_spec(const qk_training *training);
/* Tell how far the run is, `share` of the present step included; false: stop. */
bool qk_trainer_tick(const qk_trainer *trainer, double share);

/* ---- trainer_validation.c */

/* The pass that scores the held-out sequences, beside what the run holds already. */
qk_pass_spec qk_trainer_validation_spec(const qk_training *training);
/* Held-out loss of the present weights into trainer->validation. */
qk_status qk_trainer_validate(qk_trainer *trainer, qk_error *err);

/* Its max_bytes: the least that does, where the run has a limit. */
uint64_t qk_trainer_validation_budget(const qk_trainer *trainer);

/* ---- trainer_log.c */

/* Open both files: anew, or cut back to `log_bytes` and continued. */
qk_status qk_trainer_log_open(qk_trainer *trainer, bool resume, uint64_t log_bytes, qk_error *err);
qk_status qk_trainer_log_step(const qk_trainer *trainer, qk_error *err);
qk_status qk_trainer_log_validation(const qk_trainer *trainer, qk_error *err);
/* The log is on the disk; *n_bytes is its length. */
qk_status qk_trainer_log_sync(uint64_t *n_bytes, const qk_trainer *trainer, qk_error *err);
void qk_trainer_log_close(qk_trainer *trainer);

/* ---- trainer_settings.c */

/* What the numbers depend on, as an object; NULL when out of memory. */
json_t *qk_trainer_settings(const qk_training *training);
/* QK_E_ARGUMENT names the first difference.  n_steps and n_decay may differ where that changes the learning rate of
 * none of the `n_done` steps. */
qk_status qk_trainer_settings_agree(const json_t *saved, const json_t *present, const qk_optimiser *optimiser,
                                    uint64_t n_done, qk_error *err);

/* ---- trainer_checkpoint.c */

/* The folder of checkpoints is made and this process's alone until the lock is closed (QK_E_IO: it is another's). */
qk_status qk_trainer_lock(qk_trainer *trainer, qk_error *err);
/* Newest complete checkpoint: its path (malloc'ed), NULL where there is none.  Unfinished ones are taken away. */
qk_status qk_trainer_newest(char **path, const qk_trainer *trainer, qk_error *err);
/* Parameters, moments, batches, rows of the checkpoint at `path`; *log_bytes: the log's length when it was saved. */
qk_status qk_trainer_restore(uint64_t *log_bytes, qk_trainer *trainer, const char *path, qk_error *err);
/* Save where nothing is saved yet of this step; then prune. */
qk_status qk_trainer_save(qk_trainer *trainer, qk_error *err);

#endif
