/* drope.c - the rotation of a model is taken away, at once or little by little. */
#include "train/drope.h"

#include <stdlib.h>
#include <string.h>

struct qk_drope {
    qk_parameters *parameters;
    size_t n_layers, half; /* half: pairs of a head */
    float *given, *kept;   /* [n_layers][half] amounts of the source; 1 where the pair keeps it, else 0 */
    float *now;            /* the amounts at the start */
    float *amounts;        /* the table that the model reads; NULL where it needs none */
    uint64_t n_gradual;
    qk_gradual_law law;
    size_t n_dropped_layers, n_dropped_pairs;
};

/* After `n_done` of the steps in which the amounts fall. */
static void set_amounts(qk_drope *d, uint64_t n_done)
{
    double ahead = n_done < d->n_gradual ? 1 - (double)n_done / (double)d->n_gradual : 0;
    double left = d->law == QK_GRADUAL_CUBIC ? ahead * ahead * ahead : ahead;
    for (size_t i = 0; d->amounts && i < d->n_layers * d->half; i++)
        d->amounts[i] = (float)(d->given[i] * (d->kept[i] + (1 - d->kept[i]) * left));
}

static qk_status check(const qk_model *source, const qk_drope_plan *plan, qk_error *err)
{
    const qk_config *c = &source->config;
    const char *path = qk_ckpt_path(source->ckpt);
    if (c->rope_kind == QK_ROPE_NONE)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected a model with a rotation, found one without (%s)", path,
                       c->attention_type);
    if ((plan->q_norm && c->q_norm != QK_NORM_NONE) || (plan->k_norm && c->k_norm != QK_NORM_NONE))
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected no norm on %s to put one there, found one", path,
                       plan->q_norm && c->q_norm != QK_NORM_NONE ? "queries" : "keys");
    return QK_OK;
}

/* Fill given and kept; refused where a plan that takes away would change nothing. */
static qk_status plan_amounts(qk_drope *d, const qk_model *source, const qk_drope_plan *plan, qk_error *err)
{
    const float *amounts = source->config.rope_amounts;
    uint8_t *pair_goes;
    qk_status status = qk_new_array(&pair_goes, d->half, 1, "rotary pairs", err);
    if (status) return status;
    for (size_t l = 0; l < d->n_layers; l++) {
        bool layer_goes = false;
        for (size_t m = 0; m < d->half; m++) {
            size_t i = l * d->half + m;
            bool chosen = !plan->keep && (!plan->layers || plan->layers[l]) && (!plan->pairs || plan->pairs[m]);
            d->given[i] = amounts ? amounts[i] : 1;
            d->kept[i] = !chosen;
            if (!chosen || d->given[i] == 0) continue;
            layer_goes = true;
            pair_goes[m] = 1;
        }
        d->n_dropped_layers += layer_goes;
    }
    for (size_t m = 0; m < d->half; m++) d->n_dropped_pairs += pair_goes[m];
    free(pair_goes);
    if (!plan->keep && d->n_dropped_layers == 0)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected a rotation in the chosen layers and pairs, found none",
                       qk_ckpt_path(source->ckpt));
    return QK_OK;
}

static qk_status make_parameters(qk_drope *d, qk_model *source, const qk_drope_plan *plan, qk_error *err)
{
    qk_config c = source->config;
    if (plan->q_norm) c.q_norm = QK_NORM_PROJECTION;
    if (plan->k_norm) c.k_norm = QK_NORM_PROJECTION;
    d->amounts = d->now;
    set_amounts(d, 0);
    c.rope_amounts = d->now;
    if (d->n_gradual == 0) qk_config_settle(&c); /* else the amounts are about to change */
    qk_status status = qk_parameters_new(&d->parameters, &c, source, err);
    if (status) return status;
    /* The copy of the table belongs to the model, which this is the only one to change. */
    d->amounts = (float *)(uintptr_t)d->parameters->model->config.rope_amounts;
    return qk_parameters_copy(d->parameters, source, err);
}

qk_status qk_drope_new(qk_drope **out, qk_model *source, const qk_drope_plan *plan, qk_error *err)
{
    qk_drope *d = NULL;
    qk_status status = check(source, plan, err);
    if (!status) status = qk_new_array(&d, 1, sizeof *d, "recalibration", err);
    if (status) return status;
    d->n_layers = (size_t)source->config.n_layers;
    d->half = (size_t)source->config.head_dim / 2;
    d->n_gradual = plan->keep ? 0 : plan->n_gradual;
    d->law = plan->law;
    status = qk_new_array(&d->given, d->n_layers * d->half, sizeof *d->given, "rotation amounts", err);
    if (!status) status = qk_new_array(&d->kept, d->n_layers * d->half, sizeof *d->kept, "rotation amounts", err);
    if (!status) status = qk_new_array(&d->now, d->n_layers * d->half, sizeof *d->now, "rotation amounts", err);
    if (!status) status = plan_amounts(d, source, plan, err);
    if (!status) status = make_parameters(d, source, plan, err);
    if (status)
        qk_drope_free(d);
    else
        *out = d;
    return status;
}

void qk_drope_free(qk_drope *d)
{
    if (!d) return;
    qk_parameters_free(d->parameters);
    free(d->given);
    free(d->kept);
    free(d->now);
    free(d);
}

qk_parameters *qk_drope_parameters(qk_drope *d) { return d->parameters; }

void qk_drope_extent(size_t *n_layers, size_t *n_pairs, const qk_drope *d)
{
    *n_layers = d->n_dropped_layers;
    *n_pairs = d->n_dropped_pairs;
}

/* ---- during a run */

static qk_status start(void *user, uint64_t step, const char *folder, qk_error *err)
{
    (void)folder, (void)err;
    set_amounts(user, step);
    return QK_OK;
}

/* The first step already loses its share: after n_gradual steps nothing is left. */
static qk_status before_step(void *user, uint64_t step, qk_error *err)
{
    (void)err;
    set_amounts(user, step + 1);
    return QK_OK;
}

qk_training_hook qk_drope_hook(qk_drope *drope)
{
    return (qk_training_hook){ .user = drope, .start = start, .before_step = before_step };
}
