/* trainer.c - the loop: a step is its micro-batches' gradients added up, one update, the rows that tell of it, and now
 * and then a validation and a checkpoint. */
#include "train/trainer_private.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Tokens of a micro-batch where the caller leaves it open: enough for efficient products, few enough that what is kept
 * for the way back stays small. */
#define USUAL_MICRO_TOKENS 2048

size_t qk_trainer_micro_rows(const qk_training *t)
{
    size_t usual = USUAL_MICRO_TOKENS / t->batch.context, rows = t->micro_rows ? t->micro_rows : usual ? usual : 1;
    return rows < t->batch.n_rows ? rows : t->batch.n_rows;
}

qk_gradient_spec qk_trainer_gradient_spec(const qk_training *t)
{
    return (qk_gradient_spec){
        .max_rows = qk_trainer_micro_rows(t) * t->batch.context,
        .longest = t->batch.context,
        .precision = t->precision,
        .level = t->level,
        .reference = t->reference,
        .recompute = t->recompute,
        .n_threads = t->n_threads,
    };
}

bool qk_trainer_tick(const qk_trainer *r, double share)
{
    const qk_training *t = r->training;
    double rows = (double)t->batch.n_rows * (double)t->batch.context, done = (double)r->last.step + share;
    char phase[96] = "train";
    if (!t->progress.tick) return true;
    if (*r->doing)
        snprintf(phase, sizeof phase, "train: %s", r->doing);
    else if (r->last.step)
        snprintf(phase, sizeof phase, "train: loss %.4f, step %llu of %llu, tokens", r->last.nll,
                 (unsigned long long)r->last.step, (unsigned long long)t->optimiser.n_steps);
    return t->progress.tick(t->progress.user, phase, done * rows, (double)t->optimiser.n_steps * rows);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- one step */

static qk_status before_step(const qk_trainer *r, uint64_t step, qk_error *err)
{
    const qk_training *t = r->training;
    qk_status status = QK_OK;
    for (size_t i = 0; i < t->n_hooks && !status; i++)
        if (t->hooks[i].before_step) status = t->hooks[i].before_step(t->hooks[i].user, step, err);
    return status;
}

/* Gradient of the mean nll over all predicted tokens of the batch; *nll is the sum. */
static qk_status add_micro_batches(double *nll, qk_trainer *r, const qk_batch *batch, qk_error *err)
{
    size_t micro = qk_trainer_micro_rows(r->training);
    *nll = 0;
    for (size_t row = 0; row < batch->n_rows; row += micro) {
        size_t end = batch->n_rows - row < micro ? batch->n_rows : row + micro, first = batch->first_of_row[row];
        if (batch->first_of_row[end] == first) continue;
        qk_status status = qk_gradient_add(nll, r->gradient, batch->sequences + first,
                                           batch->first_of_row[end] - first, 1.0 / (double)batch->n_predicted, err);
        if (status) return status;
        if (!qk_trainer_tick(r, (double)end / (double)batch->n_rows))
            return qk_fail(err, QK_E_INTERRUPTED, "interrupted");
    }
    return QK_OK;
}

static qk_status run_step(qk_trainer *r, qk_error *err)
{
    const qk_training *t = r->training;
    uint64_t step = r->last.step;
    double started = seconds(), nll = 0, norm = 0;
    qk_batch batch;
    qk_status status = before_step(r, step, err);
    if (!status) status = qk_batches_next(&batch, r->batches, err);
    if (status) return status;
    if (batch.n_predicted == 0)
        return qk_fail(err, QK_E_ARGUMENT, "step %llu: expected tokens to predict, found documents of one token",
                       (unsigned long long)step + 1);
    status = add_micro_batches(&nll, r, &batch, err);
    if (status == QK_E_NUMERIC) return qk_prefix(err, status, "step %llu", (unsigned long long)step + 1);
    if (!status) status = qk_optimise(&norm, t->parameters, &t->optimiser, step, t->n_threads, err);
    if (status) return status;
    json_t *state = qk_batches_state(r->batches);
    if (!state) return qk_out_of_memory(err, "the state of the batches", sizeof *state);
    json_decref(r->batches_state);
    r->batches_state = state;
    r->last = (qk_step_row){ step + 1, r->last.n_tokens + batch.n_tokens, nll / (double)batch.n_predicted, norm,
                             qk_learning_rate(&t->optimiser, step), seconds() - started };
    r->told = false;
    return qk_trainer_log_step(r, err);
}

/* ---- after a step */

static bool validation_is_due(const qk_training *t, uint64_t step)
{
    if (t->n_validation == 0 || t->valid_every == 0) return false;
    return step % t->valid_every == 0 || step == t->optimiser.n_steps;
}

/* Hooks and validation of the last step; of step 0 the validation alone. */
static qk_status tell(qk_trainer *r, qk_error *err)
{
    const qk_training *t = r->training;
    qk_status status = QK_OK;
    for (size_t i = 0; i < t->n_hooks && !status && r->last.step > 0; i++)
        if (t->hooks[i].after_step) status = t->hooks[i].after_step(t->hooks[i].user, &r->last, err);
    if (!status && validation_is_due(t, r->last.step)) {
        status = qk_trainer_validate(r, err);
        for (size_t i = 0; i < t->n_hooks && !status; i++)
            if (t->hooks[i].after_validation)
                status = t->hooks[i].after_validation(t->hooks[i].user, &r->validation, err);
        if (!status) status = qk_trainer_log_validation(r, err);
    }
    if (!status) r->told = true;
    return status;
}

static bool save_is_due(const qk_training *t, uint64_t step)
{
    return step == t->optimiser.n_steps || (t->save_every > 0 && step > 0 && step % t->save_every == 0);
}

/* An interrupted run saves what is done. */
static qk_status save_interrupted(qk_trainer *r, qk_error *err)
{
    qk_error why = { QK_OK, "" };
    memset(r->training->parameters->gradient, 0, r->training->parameters->n_values * sizeof(float));
    if (!r->training->folder) return QK_E_INTERRUPTED;
    qk_status status = qk_trainer_save(r, &why);
    if (status) return qk_fail(err, status, "interrupted, and not saved: %s", why.message);
    return qk_fail(err, QK_E_INTERRUPTED, "interrupted after step %llu of %llu, which is saved in %s; --resume "
                   "continues", (unsigned long long)r->last.step, (unsigned long long)r->training->optimiser.n_steps,
                   r->training->folder);
}

static qk_status run_steps(qk_trainer *r, qk_error *err)
{
    const qk_training *t = r->training;
    qk_status status = qk_trainer_tick(r, 0) ? QK_OK : qk_fail(err, QK_E_INTERRUPTED, "interrupted");
    if (!status && !r->told && r->last.step > 0) status = before_step(r, r->last.step - 1, err); /* as it was then */
    if (!status && !r->told) status = tell(r, err);
    while (!status && r->last.step < t->optimiser.n_steps) {
        status = run_step(r, err);
        if (!status) status = tell(r, err);
        if (!status && t->folder && save_is_due(t, r->last.step)) status = qk_trainer_save(r, err);
    }
    return status == QK_E_INTERRUPTED ? save_interrupted(r, err) : status;
}

/* ---- the run */

static qk_status start_hooks(const qk_trainer *r, const char *folder, qk_error *err)
{
    const qk_training *t = r->training;
    qk_status status = QK_OK;
    for (size_t i = 0; i < t->n_hooks && !status; i++)
        if (t->hooks[i].start) status = t->hooks[i].start(t->hooks[i].user, r->last.step, folder, err);
    return status;
}

/* Where the run begins: at the newest checkpoint, or with empty logs. */
static qk_status begin(qk_trainer *r, qk_error *err)
{
    const qk_training *t = r->training;
    uint64_t log_bytes = 0;
    char *path = NULL;
    qk_status status = QK_OK;
    if (t->folder) status = qk_trainer_newest(&path, r, err);
    if (!status && path && !t->resume)
        status = qk_fail(err, QK_E_ARGUMENT, "%s: expected an empty folder or --resume, found the checkpoints of a run",
                         t->folder);
    if (!status && path) status = qk_trainer_restore(&log_bytes, r, path, err);
    if (!status && t->folder) status = qk_trainer_log_open(r, path != NULL, log_bytes, err);
    r->resumed_from = r->last.step;
    if (!status) status = start_hooks(r, path, err);
    free(path);
    return status;
}

static qk_status check(const qk_training *t, qk_error *err)
{
    if (t->parameters->n_values == 0 || t->batch.context == 0 || t->batch.n_rows == 0)
        return qk_fail(err, QK_E_ARGUMENT, "training: expected weights, rows and a context");
    if (!(t->optimiser.learning_rate >= 0) || !(t->optimiser.epsilon > 0))
        return qk_fail(err, QK_E_ARGUMENT, "training: expected a learning rate of at least 0 and an epsilon above 0");
    return QK_OK;
}

static qk_status make_paths(qk_trainer *r, qk_error *err)
{
    const char *folder = r->training->folder;
    if (!folder) return QK_OK;
    r->log_path = qk_path_join(folder, "log.jsonl");
    r->times_path = qk_path_join(folder, "times.jsonl");
    r->checkpoints = qk_path_join(folder, "checkpoints");
    if (!r->log_path || !r->times_path || !r->checkpoints) return qk_out_of_memory(err, folder, strlen(folder));
    return qk_trainer_lock(r, err);
}

static void close_trainer(qk_trainer *r)
{
    qk_trainer_log_close(r);
    if (r->lock >= 0) close(r->lock);
    qk_gradient_free(r->gradient);
    qk_batches_free(r->batches);
    json_decref(r->batches_state);
    json_decref(r->settings);
    free(r->log_path);
    free(r->times_path);
    free(r->checkpoints);
}

qk_status qk_train_run(qk_training_result *out, const qk_training *t, qk_error *err)
{
    qk_trainer r = { .training = t, .lock = -1 };
    qk_gradient_spec spec = qk_trainer_gradient_spec(t);
    qk_status status = check(t, err);
    if (status) return status;
    status = qk_batches_new(&r.batches, &t->corpus, &t->batch, err);
    if (!status && (!(r.batches_state = qk_batches_state(r.batches)) || !(r.settings = qk_trainer_settings(t))))
        status = qk_out_of_memory(err, "the settings of the training", sizeof(json_t));
    if (!status) status = qk_gradient_new(&r.gradient, t->parameters, &spec, err);
    if (!status) status = make_paths(&r, err);
    if (!status) status = begin(&r, err);
    if (!status) status = run_steps(&r, err);
    *out = (qk_training_result){ r.last, r.validation, r.resumed_from };
    close_trainer(&r);
    return status;
}
