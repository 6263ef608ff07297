/* lengths.c - mean L2 norm of a head's vector, in double, in order of position. */
#include "measure/measure.h"

#include <math.h>
#include <stdlib.h>

struct qk_lengths {
    int n_layers;
    size_t head_dim, n_heads[QK_N_TENSORS];
    double *sum;    /* [n_layers][QK_N_TENSORS] over positions and heads */
    size_t *n_rows; /* [n_layers][QK_N_TENSORS] positions seen */
};

static const qk_site sites[QK_N_TENSORS] = { QK_SITE_Q, QK_SITE_K, QK_SITE_V };

qk_status qk_lengths_new(qk_lengths **out, const qk_config *config, qk_error *err)
{
    qk_lengths *lengths;
    size_t n = (size_t)config->n_layers, groups = (size_t)config->n_kv_heads;
    qk_status status = qk_new_array(&lengths, 1, sizeof *lengths, "lengths of heads", err);
    if (status) return status;
    *lengths = (qk_lengths){ .n_layers = config->n_layers, .head_dim = (size_t)config->head_dim,
                             .n_heads = { (size_t)config->n_heads, groups, groups } };
    status = qk_new_array(&lengths->sum, n, QK_N_TENSORS * sizeof *lengths->sum, "lengths of heads", err);
    if (!status) status = qk_new_array(&lengths->n_rows, n, QK_N_TENSORS * sizeof *lengths->n_rows, "lengths", err);
    if (status) qk_lengths_free(lengths);
    else *out = lengths;
    return status;
}

void qk_lengths_free(qk_lengths *lengths)
{
    if (!lengths) return;
    free(lengths->sum);
    free(lengths->n_rows);
    free(lengths);
}

/* Four lanes, always the same: the sum does not wait for itself. */
static double length_of(const float *x, size_t n)
{
    double lanes[4] = { 0 };
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t k = 0; k < 4; k++) lanes[k] += (double)x[i + k] * (double)x[i + k];
    }
    for (; i < n; i++) lanes[0] += (double)x[i] * (double)x[i];
    return sqrt((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]));
}

static qk_status see(void *user, const qk_view *view, qk_error *err)
{
    qk_lengths *lengths = user;
    size_t tensor = 0;
    if (view->condition != 0) return QK_OK;
    while (tensor < QK_N_TENSORS && sites[tensor] != view->site) tensor++;
    if (tensor == QK_N_TENSORS || view->layer < 0 || view->layer >= lengths->n_layers)
        return qk_fail(err, QK_E_ARGUMENT, "lengths: no room for site %d, layer %d", (int)view->site, view->layer);
    if (view->width != lengths->n_heads[tensor] * lengths->head_dim)
        return qk_fail(err, QK_E_SHAPE, "lengths: layer %d: expected rows of %zu, found %zu", view->layer,
                       lengths->n_heads[tensor] * lengths->head_dim, view->width);
    size_t at = (size_t)view->layer * QK_N_TENSORS + tensor;
    for (size_t row = 0; row < view->n_rows; row++) {
        const float *x = view->x + row * view->stride;
        for (size_t h = 0; h < lengths->n_heads[tensor]; h++)
            lengths->sum[at] += length_of(x + h * lengths->head_dim, lengths->head_dim);
    }
    lengths->n_rows[at] += view->n_rows;
    return QK_OK;
}

qk_probe qk_lengths_probe(qk_lengths *lengths)
{
    qk_probe probe = { .see = see, .user = lengths };
    for (int t = 0; t < QK_N_TENSORS; t++) probe.sites |= QK_AT(sites[t]);
    return probe;
}

double qk_lengths_mean(const qk_lengths *lengths, int layer, qk_qkv tensor)
{
    size_t at = (size_t)layer * QK_N_TENSORS + (size_t)tensor;
    return lengths->sum[at] / ((double)lengths->n_rows[at] * (double)lengths->n_heads[tensor]); /* 0/0 is NaN */
}
