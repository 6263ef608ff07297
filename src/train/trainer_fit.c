/* trainer_fit.c - what a run holds in memory, and how to make it hold less. */
#include "train/trainer_private.h"

/* The program itself, its libraries and their generated code; what is resident beside what is counted here. */
#define PROGRAM_BYTES ((uint64_t)64 << 20)

uint64_t qk_train_bytes(const qk_training *t)
{
    qk_gradient_spec gradient = qk_trainer_gradient_spec(t);
    qk_pass_spec validation = qk_trainer_validation_spec(t);
    qk_plan plan = { 0 };
    uint64_t n_values = t->parameters->n_values;
    if (t->n_validation && qk_pass_plan(&plan, t->parameters->model, &validation, NULL)) plan = (qk_plan){ 0 };
    return PROGRAM_BYTES + 4 * sizeof(float) * n_values + qk_gradient_bytes(&t->parameters->model->config, &gradient) +
           plan.stream_bytes + plan.scratch_bytes + t->batch.n_rows * t->batch.context * sizeof(int32_t);
}

static unsigned long long mib(uint64_t n_bytes) { return (n_bytes + 1048575) >> 20; }

qk_status qk_train_fit(qk_training *t, uint64_t max_bytes, qk_error *err)
{
    size_t wanted = qk_trainer_micro_rows(t), rows = wanted;
    bool recompute = t->recompute;
    if (max_bytes == 0) return QK_OK;
    /* Halves first: they cost little.  Computing activations twice costs a third more time. */
    for (;;) {
        t->micro_rows = rows;
        t->recompute = recompute;
        uint64_t needed = qk_train_bytes(t);
        if (needed <= max_bytes) return QK_OK;
        if (rows > 1) {
            rows /= 2;
        } else if (!recompute) {
            recompute = true;
            rows = wanted;
        } else {
            return qk_fail(err, QK_E_BUDGET, "training needs at least %llu MiB (rows of %zu tokens one by one, "
                           "activations computed twice), %llu MiB are allowed", mib(needed), t->batch.context,
                           mib(max_bytes));
        }
    }
}
