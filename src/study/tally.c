/* tally.c - massive values of one model, gathered document by document from norm maps. */
#include "study/tally.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static qk_status check_lambda(const qk_massive_settings *settings, qk_error *err)
{
    double lambda = settings->lambda;
    if (settings->criterion == QK_CRITERION_TOP_K && !(lambda >= 1 && lambda <= 4096 && lambda == floor(lambda))) {
        return qk_fail(err, QK_E_ARGUMENT, "--criterion top-k: expected a whole number of dims, found %g", lambda);
    }
    if (!(lambda > 0) || !isfinite(lambda)) {
        return qk_fail(err, QK_E_ARGUMENT, "--lambda: expected a positive number, found %g", lambda);
    }
    return QK_OK;
}

qk_status qk_tally_start(qk_tally *tally, size_t n_documents, int n_layers, const qk_massive_settings *settings,
                         qk_error *err)
{
    *tally = (qk_tally) { .n_documents = n_documents, .n_layers = n_layers, .lambda = settings->lambda };
    tally->criterion = settings->criterion;
    /* A sweep over k says nothing: under top-k the layer-mean rule is swept. */
    bool top_k = settings->criterion == QK_CRITERION_TOP_K;
    tally->sweep_criterion = top_k ? QK_CRITERION_LAYER_MEAN : settings->criterion;
    bool extra = !top_k; /* the chosen lambda, where it is none of the whole ones */
    for (int l = QK_SWEEP_FIRST; l <= QK_SWEEP_LAST; l++) {
        if (extra && settings->lambda <= l) {
            if (settings->lambda < l) tally->lambdas[tally->n_lambdas++] = settings->lambda;
            extra = false;
        }
        tally->lambdas[tally->n_lambdas++] = l;
    }
    if (extra) tally->lambdas[tally->n_lambdas++] = settings->lambda;
    return check_lambda(settings, err);
}

static void *take(qk_tally *tally, size_t a, size_t b, size_t size, bool *failed)
{
    size_t n;
    void *p = qk_mul(a, b, &n) && qk_mul(n, size, &n) ? qk_arena_alloc(&tally->arena, n ? n : 1) : NULL;
    if (!p) *failed = true;
    return p;
}

qk_status qk_tally_declare(qk_tally *tally, qk_qkv tensor, int n_heads, int head_dim, qk_error *err)
{
    size_t n_documents = tally->n_documents, n_layers = (size_t)tally->n_layers;
    size_t width = (size_t)n_heads * (size_t)head_dim, pairs = (size_t)head_dim / 2;
    bool failed = false;
    qk_tensor_tally *t = &tally->tensors[tensor];
    if (tally->criterion == QK_CRITERION_TOP_K && tally->lambda > head_dim) {
        return qk_fail(err, QK_E_ARGUMENT, "--criterion top-k: expected 1 to %d dims of each head, found %g", head_dim,
                       tally->lambda);
    }
    *t = (qk_tensor_tally) { .present = true, .n_heads = n_heads, .head_dim = head_dim };
    t->total = take(tally, n_documents, 1, sizeof(double), &failed);
    t->sweep = take(tally, n_documents, QK_SWEEP_MAX, sizeof(double), &failed);
    t->count = take(tally, n_documents, n_layers, sizeof(double), &failed);
    t->peak = take(tally, n_documents, n_layers, sizeof(double), &failed);
    t->energy = take(tally, n_documents, 1, sizeof(double), &failed);
    t->gini = take(tally, n_documents, 1, sizeof(double), &failed);
    t->kurtosis = take(tally, n_documents, 1, sizeof(double), &failed);
    t->mean_map = take(tally, n_layers, width, sizeof(double), &failed);
    t->pair_norm = take(tally, n_layers, pairs, sizeof(double), &failed);
    t->massive_pairs = take(tally, n_layers, 1, sizeof(double), &failed);
    t->masks = take(tally, n_documents, n_layers * width, 1, &failed);
    return failed ? qk_out_of_memory(err, "counts of massive values", n_documents * n_layers * width) : QK_OK;
}

qk_status qk_tally_rotary(qk_tally *tally, const qk_config *config, qk_error *err)
{
    size_t n = (size_t)config->head_dim / 2;
    bool failed = false;
    float *inv_freq = take(tally, n, 1, sizeof(float), &failed);
    uint8_t *slow = take(tally, n, 1, 1, &failed);
    if (failed) return qk_out_of_memory(err, "rotary frequencies", n * sizeof(float));
    double attention_factor;
    qk_rope_frequencies(inv_freq, &attention_factor, config, (size_t)config->n_context);
    if (qk_slow_pairs(slow, inv_freq, (int)n, config->n_context)) tally->slow = slow;
    return QK_OK;
}

/* Rotary pairs of the map: their norms into the sums of the layer, and how many exceed lambda x their mean. */
static qk_status add_pairs(qk_tally *tally, qk_tensor_tally *t, int layer, const double *map, qk_error *err)
{
    size_t pairs = (size_t)t->head_dim / 2, n = (size_t)t->n_heads * pairs;
    double *norm = NULL;
    if (t->head_dim % 2) return QK_OK; /* no pairs */
    qk_status status = qk_new_array(&norm, n, sizeof *norm, "pair norms", err);
    if (status) return status;
    qk_pair_norms(norm, map, t->n_heads, t->head_dim);
    for (size_t i = 0; i < n; i++) t->pair_norm[(size_t)layer * pairs + i % pairs] += norm[i] / t->n_heads;
    t->massive_pairs[layer] += (double)qk_massive_mask(NULL, norm, t->n_heads, (int)pairs, tally->sweep_criterion,
                                                       tally->criterion == QK_CRITERION_TOP_K ? 5 : tally->lambda);
    free(norm);
    return QK_OK;
}

qk_status qk_tally_add(qk_tally *tally, json_t *counts, size_t model, size_t document, qk_qkv tensor, int layer,
                       const double *map, qk_error *err)
{
    qk_tensor_tally *t = &tally->tensors[tensor];
    size_t width = (size_t)t->n_heads * (size_t)t->head_dim, n_documents = tally->n_documents;
    uint8_t *mask = t->masks + (document * (size_t)tally->n_layers + (size_t)layer) * width;
    size_t count = qk_massive_mask(mask, map, t->n_heads, t->head_dim, tally->criterion, tally->lambda);
    bool rotary = tally->slow && tensor != QK_TENSOR_V;
    qk_profile p;
    qk_status status = qk_profile_of(&p, map, mask, t->n_heads, t->head_dim, rotary ? tally->slow : NULL, err);
    if (status) return status;
    t->total[document] += (double)count;
    t->count[(size_t)layer * n_documents + document] = (double)count;
    t->peak[(size_t)layer * n_documents + document] = p.max_over_mean;
    t->energy[document] += p.energy_share / tally->n_layers;
    t->gini[document] += p.gini / tally->n_layers;
    t->kurtosis[document] += p.kurtosis / tally->n_layers;
    t->n_massive += (double)count;
    if (p.slow_share > 0) t->n_slow += p.slow_share * (double)count;
    for (size_t i = 0; i < width; i++) t->mean_map[(size_t)layer * width + i] += map[i];
    for (size_t i = 0; i < tally->n_lambdas; i++) {
        t->sweep[i * n_documents + document] += (double)qk_massive_mask(NULL, map, t->n_heads, t->head_dim,
                                                                        tally->sweep_criterion, tally->lambdas[i]);
    }
    if (tensor != QK_TENSOR_V && (status = add_pairs(tally, t, layer, map, err))) return status;
    qk_row row = qk_row_start();
    qk_row_count(&row, "model", model);
    qk_row_count(&row, "document", document);
    qk_row_text(&row, "tensor", qk_tensor_letters[tensor]);
    qk_row_count(&row, "layer", (size_t)layer);
    qk_row_count(&row, "count", count);
    qk_row_number(&row, "max_over_mean", p.max_over_mean);
    qk_row_number(&row, "energy_share", p.energy_share);
    qk_row_number(&row, "gini", p.gini);
    qk_row_number(&row, "kurtosis", p.kurtosis);
    qk_row_number(&row, "entropy", p.entropy);
    qk_row_number(&row, "slow_share", p.slow_share);
    return qk_row_append(counts, &row, err);
}

void qk_tally_finish(qk_tally *tally)
{
    double n = (double)tally->n_documents;
    for (int tensor = 0; tensor < QK_N_TENSORS; tensor++) {
        qk_tensor_tally *t = &tally->tensors[tensor];
        if (!t->present) continue;
        size_t n_layers = (size_t)tally->n_layers, pairs = (size_t)t->head_dim / 2;
        for (size_t i = 0; i < n_layers * (size_t)t->n_heads * (size_t)t->head_dim; i++) t->mean_map[i] /= n;
        for (size_t i = 0; i < n_layers * pairs; i++) t->pair_norm[i] /= n;
        for (size_t i = 0; i < n_layers; i++) t->massive_pairs[i] /= n;
    }
}

void qk_tally_free(qk_tally *tally)
{
    qk_arena_free(&tally->arena);
    *tally = (qk_tally) { 0 };
}
