/* norms.c - streaming sums and sums of squares of q, k and v for every (sequence, layer), in double.
 *
 * Each dim adds its rows one by one in order of position, so neither block boundaries nor threads can change a bit.
 * The sums of one (sequence, layer) are touched only by the views of that sequence and layer. */
#include "measure/measure.h"

#include <math.h>
#include <stdlib.h>

struct qk_norms {
    size_t n_sequences;
    int n_layers;
    size_t width[QK_N_TENSORS];  /* heads*head_dim of q, k, v */
    size_t offset[QK_N_TENSORS]; /* where each begins in a (sequence, layer) */
    size_t total;                /* of the three widths */
    qk_site site[QK_N_TENSORS];
    double *sum, *square;        /* [n_sequences][n_layers][total] */
    size_t *n_rows;              /* [n_sequences][n_layers][QK_N_TENSORS] rows seen */
};

qk_status qk_norms_new(qk_norms **out, const qk_config *config, size_t n_sequences, bool post_rotation, qk_error *err)
{
    size_t heads = (size_t)config->n_heads, groups = (size_t)config->n_kv_heads, dim = (size_t)config->head_dim;
    qk_norms *norms;
    qk_status status = qk_new_array(&norms, 1, sizeof *norms, "norm sums", err);
    if (status) return status;
    *norms = (qk_norms){ .n_sequences = n_sequences, .n_layers = config->n_layers,
                         .width = { heads * dim, groups * dim, groups * dim }, .total = (heads + 2 * groups) * dim,
                         .site = { post_rotation ? QK_SITE_ROT_Q : QK_SITE_Q, post_rotation ? QK_SITE_ROT_K : QK_SITE_K,
                                   QK_SITE_V } };
    norms->offset[QK_TENSOR_K] = norms->width[QK_TENSOR_Q];
    norms->offset[QK_TENSOR_V] = norms->offset[QK_TENSOR_K] + norms->width[QK_TENSOR_K];
    size_t n_cells = 0, n_sums = 0;
    if (!qk_mul(n_sequences, (size_t)config->n_layers, &n_cells) || !qk_mul(n_cells, norms->total, &n_sums))
        status = qk_fail(err, QK_E_ARGUMENT, "norm sums: %zu sequences of %d layers are too many", n_sequences,
                         config->n_layers);
    if (!status) status = qk_new_array(&norms->sum, n_sums, sizeof *norms->sum, "norm sums", err);
    if (!status) status = qk_new_array(&norms->square, n_sums, sizeof *norms->square, "norm sums", err);
    if (!status) status = qk_new_array(&norms->n_rows, n_cells, QK_N_TENSORS * sizeof *norms->n_rows, "norm sums", err);
    if (status) qk_norms_free(norms);
    else *out = norms;
    return status;
}

void qk_norms_free(qk_norms *norms)
{
    if (!norms) return;
    free(norms->sum);
    free(norms->square);
    free(norms->n_rows);
    free(norms);
}

static size_t cell(const qk_norms *norms, size_t sequence, int layer)
{
    return sequence * (size_t)norms->n_layers + (size_t)layer;
}

/* sum[d] += x, square[d] += x^2 over the rows; a strip of dims at a time so that both stay in the nearest cache. */
static void add_rows(double *restrict sum, double *restrict square, const qk_view *view)
{
    enum { STRIP = 256 };
    for (size_t from = 0; from < view->width; from += STRIP) {
        size_t to = from + STRIP < view->width ? from + STRIP : view->width;
        for (size_t row = 0; row < view->n_rows; row++) {
            const float *x = view->x + row * view->stride;
            for (size_t d = from; d < to; d++) {
                double value = x[d];
                sum[d] += value;
                square[d] += value * value;
            }
        }
    }
}

static qk_status see(void *user, const qk_view *view, qk_error *err)
{
    qk_norms *norms = user;
    int tensor = 0;
    if (view->condition != 0) return QK_OK;
    while (tensor < QK_N_TENSORS && norms->site[tensor] != view->site) tensor++;
    if (tensor == QK_N_TENSORS || view->sequence >= norms->n_sequences || view->layer < 0 ||
        view->layer >= norms->n_layers)
        return qk_fail(err, QK_E_ARGUMENT, "norm sums: no room for site %d, layer %d, sequence %zu", (int)view->site,
                       view->layer, view->sequence);
    if (view->width != norms->width[tensor])
        return qk_fail(err, QK_E_SHAPE, "norm sums: layer %d: expected rows of %zu, found %zu", view->layer,
                       norms->width[tensor], view->width);
    size_t at = cell(norms, view->sequence, view->layer), *n_rows = &norms->n_rows[at * QK_N_TENSORS + (size_t)tensor];
    if (view->row0 != *n_rows)
        return qk_fail(err, QK_E_CHECK, "norm sums: layer %d, sequence %zu: expected position %zu, found %zu",
                       view->layer, view->sequence, *n_rows, view->row0);
    *n_rows += view->n_rows;
    at = at * norms->total + norms->offset[tensor];
    add_rows(norms->sum + at, norms->square + at, view);
    return QK_OK;
}

qk_probe qk_norms_probe(qk_norms *norms)
{
    qk_probe probe = { .see = see, .user = norms };
    for (int t = 0; t < QK_N_TENSORS; t++) probe.sites |= QK_AT(norms->site[t]);
    return probe;
}

void qk_norms_map(double *map, const qk_norms *norms, size_t sequence, int layer, qk_qkv tensor)
{
    const double *square = norms->square + cell(norms, sequence, layer) * norms->total + norms->offset[tensor];
    for (size_t d = 0; d < norms->width[tensor]; d++) map[d] = sqrt(square[d]);
}

void qk_norms_mean(double *mean, const qk_norms *norms, size_t from, size_t to, int layer, qk_qkv tensor)
{
    size_t width = norms->width[tensor], n_rows = 0;
    for (size_t d = 0; d < width; d++) mean[d] = 0;
    for (size_t s = from; s < to; s++) {
        size_t at = cell(norms, s, layer);
        const double *sum = norms->sum + at * norms->total + norms->offset[tensor];
        for (size_t d = 0; d < width; d++) mean[d] += sum[d];
        n_rows += norms->n_rows[at * QK_N_TENSORS + (size_t)tensor];
    }
    for (size_t d = 0; d < width; d++) mean[d] /= (double)n_rows; /* NaN where nothing was seen */
}
