/* trainer_validation.c - the loss on held-out sequences, by the pass that every study uses. */
#include "train/trainer_private.h"

qk_pass_spec qk_trainer_validation_spec(const qk_training *t)
{
    return (qk_pass_spec){
        .sequences = t->validation,
        .n_sequences = t->n_validation,
        .score = true,
        .reference = t->reference,
        .level = t->level,
        .n_threads = t->n_threads,
    };
}

static bool tick(void *user, const char *phase, double done, double total)
{
    qk_trainer *r = user;
    (void)phase;
    snprintf(r->doing, sizeof r->doing, "validation %.0f %%", total > 0 ? 100 * done / total : 0);
    return qk_trainer_tick(r, 0);
}

qk_status qk_trainer_validate(qk_trainer *r, qk_error *err)
{
    qk_pass_spec spec = qk_trainer_validation_spec(r->training);
    qk_pass_result *result = NULL;
    qk_validation_row row = { .step = r->last.step, .n_tokens = r->last.n_tokens };
    double nll = 0;
    spec.progress = (qk_progress){ tick, r };
    spec.max_bytes = qk_trainer_validation_budget(r);
    qk_status status = qk_pass_run(&result, r->training->parameters->model, &spec, err);
    r->doing[0] = '\0';
    if (status == QK_E_INTERRUPTED) return status;
    if (status)
        return qk_prefix(err, status, "validation after step %llu", (unsigned long long)r->last.step);
    for (size_t i = 0; i < spec.n_sequences; i++) {
        row.n_predicted += result->scores[i].n_tokens;
        nll += result->scores[i].nll;
    }
    qk_pass_result_free(result);
    row.nll = row.n_predicted ? nll / (double)row.n_predicted : 0;
    r->validation = row;
    return QK_OK;
}
