/* tally_rows.c - what a tally becomes in results.json: summaries over documents, changes between models. */
#include "study/tally.h"

#include <math.h>
#include <stdlib.h>

json_t *qk_massive_results(const qk_massive_settings *settings, const char *site, const qk_compute *compute,
                           size_t context)
{
    static const char *const arrays[] = { "models", "documents", "counts", "summary", "sweep", "change", "pair_norms",
                                          "stability", "warnings" };
    qk_row s = qk_row_start();
    qk_row_number(&s, "lambda", settings->lambda);
    qk_row_text(&s, "criterion", qk_criterion_name(settings->criterion));
    qk_row_text(&s, "site", site);
    qk_row_text(&s, "preset", settings->africa ? "africa" : NULL);
    qk_row_count(&s, "bootstrap_draws", QK_MASSIVE_DRAWS);
    if (compute) {
        qk_row_count(&s, "context", context);
        qk_row_flag(&s, "bos", !compute->no_bos);
        qk_row_text(&s, "precision", qk_precision_name(compute->precision));
        qk_row_flag(&s, "reference", compute->reference);
    }
    qk_row out = qk_row_start();
    qk_row_text(&out, "study", "massive");
    qk_row_count(&out, "schema", 1);
    qk_row_json(&out, "settings", qk_row_take(&s));
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) qk_row_json(&out, arrays[i], json_array());
    return qk_row_take(&out);
}

/* Mean over documents of the largest of the layers. */
static double mean_peak(const qk_tally *tally, const qk_tensor_tally *t)
{
    double sum = 0;
    for (size_t d = 0; d < tally->n_documents; d++) {
        double most = -INFINITY;
        for (int l = 0; l < tally->n_layers; l++) most = fmax(most, t->peak[(size_t)l * tally->n_documents + d]);
        sum += most;
    }
    return sum / (double)tally->n_documents;
}

static json_t *by_layer(const qk_tally *tally, const qk_tensor_tally *t)
{
    json_t *rows = json_array();
    size_t n = tally->n_documents;
    for (int l = 0; rows && l < tally->n_layers; l++) {
        const double *count = t->count + (size_t)l * n, *peak = t->peak + (size_t)l * n;
        qk_row row = qk_row_start();
        qk_row_count(&row, "layer", (size_t)l);
        qk_row_number(&row, "mean", qk_mean(count, n));
        qk_row_number(&row, "std", qk_sd(count, n, 1));
        qk_row_number(&row, "max_over_mean", qk_mean(peak, n));
        if (json_array_append_new(rows, qk_row_take(&row)) == 0) continue;
        json_decref(rows);
        rows = NULL;
    }
    return rows;
}

/* A row of `model` and `tensor`. */
static qk_row start_row(size_t model, qk_qkv tensor)
{
    qk_row row = qk_row_start();
    qk_row_count(&row, "model", model);
    qk_row_text(&row, "tensor", qk_tensor_letters[tensor]);
    return row;
}

static qk_status add_summary(json_t *results, const qk_tally *tally, qk_qkv tensor, size_t model, bool africa,
                             qk_error *err)
{
    const qk_tensor_tally *t = &tally->tensors[tensor];
    size_t n = tally->n_documents, positions = (size_t)tally->n_layers * (size_t)t->n_heads * (size_t)t->head_dim;
    bool rotary = tally->slow && tensor != QK_TENSOR_V && t->n_massive > 0;
    double mean = qk_mean(t->total, n);
    qk_interval ci = qk_bootstrap_ratio(t->total, NULL, n, QK_MASSIVE_DRAWS, 0);
    qk_row row = start_row(model, tensor);
    qk_row_count(&row, "positions", positions);
    qk_row_number(&row, "total_mean", mean);
    qk_row_number(&row, "total_std", qk_sd(t->total, n, 1));
    qk_row_estimate(&row, "total_ci95", &ci);
    qk_row_number(&row, "share_pct", 100 * mean / (double)positions);
    qk_row_number(&row, "max_over_mean", mean_peak(tally, t));
    qk_row_number(&row, "energy_share", qk_mean(t->energy, n));
    qk_row_number(&row, "gini", qk_mean(t->gini, n));
    qk_row_number(&row, "kurtosis", qk_mean(t->kurtosis, n));
    qk_row_number(&row, "slow_share", rotary ? t->n_slow / t->n_massive : NAN);
    qk_row_json(&row, "by_layer", by_layer(tally, t));
    if (africa) { /* the post: population standard deviation over the texts */
        qk_row naive = qk_row_start();
        qk_row_number(&naive, "total_mean", mean);
        qk_row_number(&naive, "total_std", qk_sd(t->total, n, 0));
        qk_row_json(&row, "naive", qk_row_take(&naive));
    }
    return qk_row_append(json_object_get(results, "summary"), &row, err);
}

static qk_status add_sweep(json_t *results, const qk_tally *tally, qk_qkv tensor, size_t model, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t i = 0; !status && i < tally->n_lambdas; i++) {
        const double *total = tally->tensors[tensor].sweep + i * tally->n_documents;
        qk_row row = start_row(model, tensor);
        qk_row_number(&row, "lambda", tally->lambdas[i]);
        qk_row_text(&row, "criterion", qk_criterion_name(tally->sweep_criterion));
        qk_row_number(&row, "total_mean", qk_mean(total, tally->n_documents));
        qk_row_number(&row, "total_std", qk_sd(total, tally->n_documents, 1));
        status = qk_row_append(json_object_get(results, "sweep"), &row, err);
    }
    return status;
}

static qk_status add_pair_norms(json_t *results, const qk_tally *tally, qk_qkv tensor, size_t model, qk_error *err)
{
    const qk_tensor_tally *t = &tally->tensors[tensor];
    size_t pairs = (size_t)t->head_dim / 2;
    qk_status status = QK_OK;
    for (int l = 0; !status && t->head_dim % 2 == 0 && l < tally->n_layers; l++) {
        json_t *norms = json_array();
        qk_row row = start_row(model, tensor);
        qk_row_count(&row, "layer", (size_t)l);
        qk_row_json(&row, "norm", norms);
        for (size_t m = 0; m < pairs; m++) {
            double norm = t->pair_norm[(size_t)l * pairs + m];
            if (json_array_append_new(norms, qk_json_number(norm))) row.failed = true;
        }
        qk_row_number(&row, "massive_pairs", t->massive_pairs[l]);
        status = qk_row_append(json_object_get(results, "pair_norms"), &row, err);
    }
    return status;
}

/* Mean over pairs of documents of |both| / |either|, over all layers as one mask. */
static qk_status add_stability(json_t *results, const qk_tally *tally, qk_qkv tensor, size_t model, qk_error *err)
{
    const qk_tensor_tally *t = &tally->tensors[tensor];
    size_t width = (size_t)tally->n_layers * (size_t)t->n_heads * (size_t)t->head_dim, n_pairs = 0;
    double sum = 0;
    for (size_t a = 0; a < tally->n_documents; a++) {
        for (size_t b = a + 1; b < tally->n_documents; b++) {
            double jaccard = qk_mask_jaccard(t->masks + a * width, t->masks + b * width, width);
            if (isnan(jaccard)) continue; /* nothing massive in either */
            sum += jaccard;
            n_pairs++;
        }
    }
    qk_row row = start_row(model, tensor);
    qk_row_count(&row, "pairs", n_pairs);
    qk_row_number(&row, "jaccard_mean", n_pairs ? sum / (double)n_pairs : NAN);
    return qk_row_append(json_object_get(results, "stability"), &row, err);
}

qk_status qk_tally_rows(json_t *results, const qk_tally *tally, size_t model, bool africa, qk_error *err)
{
    qk_status status = QK_OK;
    for (int i = 0; !status && i < QK_N_TENSORS; i++) {
        qk_qkv tensor = (qk_qkv)i;
        if (!tally->tensors[i].present) continue;
        status = add_summary(results, tally, tensor, model, africa, err);
        if (!status) status = add_sweep(results, tally, tensor, model, err);
        if (!status && tensor != QK_TENSOR_V) status = add_pair_norms(results, tally, tensor, model, err);
        if (!status) status = add_stability(results, tally, tensor, model, err);
    }
    return status;
}

static json_t *layers_more(const qk_tally *first, const qk_tally *later, qk_qkv tensor)
{
    int n_layers = first->n_layers < later->n_layers ? first->n_layers : later->n_layers;
    json_t *layers = json_array();
    for (int l = 0; layers && l < n_layers; l++) {
        double before = qk_mean(first->tensors[tensor].count + (size_t)l * first->n_documents, first->n_documents);
        double after = qk_mean(later->tensors[tensor].count + (size_t)l * later->n_documents, later->n_documents);
        if (after > before && json_array_append_new(layers, json_integer(l))) {
            json_decref(layers);
            return NULL;
        }
    }
    return layers;
}

static qk_status add_change(json_t *results, const qk_tally *first, const qk_tally *later, qk_qkv tensor, size_t model,
                            qk_error *err)
{
    const double *before = first->tensors[tensor].total, *after = later->tensors[tensor].total;
    size_t n = first->n_documents;
    double *difference = NULL;
    qk_status status = qk_new_array(&difference, n, sizeof *difference, "differences", err);
    if (status) return status;
    for (size_t i = 0; i < n; i++) difference[i] = after[i] - before[i];
    qk_interval ci = qk_bootstrap_ratio(difference, NULL, n, QK_MASSIVE_DRAWS, 0);
    qk_test paired = qk_test_paired_t(after, before, n), welch = qk_test_welch(after, n, before, n);
    double mean = qk_mean(difference, n), base = qk_mean(before, n);
    qk_row row = start_row(model, tensor);
    qk_row_number(&row, "difference", mean);
    qk_row_estimate(&row, "difference_ci95", &ci);
    qk_row_number(&row, "percent", base > 0 ? 100 * mean / base : NAN);
    qk_row_json(&row, "test", qk_json_test(&paired, "d_z"));
    qk_row_json(&row, "test_independent", qk_json_test(&welch, "Hedges' g"));
    qk_row_json(&row, "layers_more", layers_more(first, later, tensor));
    free(difference);
    return qk_row_append(json_object_get(results, "change"), &row, err);
}

qk_status qk_tally_change(json_t *results, const qk_tally *first, const qk_tally *later, size_t model, qk_error *err)
{
    qk_status status = QK_OK;
    for (int i = 0; !status && i < QK_N_TENSORS; i++) {
        status = add_change(results, first, later, (qk_qkv)i, model, err);
    }
    return status;
}
