/* rows.c - reading checked rows of results.json, and the sums that figures and page share. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/results.h"

const json_t *qk_rows(const qk_results *results, const char *name) { return json_object_get(results->root, name); }

double qk_field_number(const json_t *row, const char *name)
{
    const json_t *value = json_object_get(row, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *qk_field_text(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));
    return text ? text : "";
}

size_t qk_field_index(const json_t *row, const char *name)
{
    return (size_t)json_integer_value(json_object_get(row, name));
}

bool qk_field_is(const json_t *row, const char *name, const char *text)
{
    return strcmp(qk_field_text(row, name), text) == 0;
}

void qk_field_pair(double pair[2], const json_t *row, const char *name)
{
    const json_t *values = json_object_get(row, name);
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_array_get(values, i);
        pair[i] = json_is_number(value) ? json_number_value(value) : NAN;
    }
}

const json_t *qk_json_at(const json_t *row, const char *path)
{
    char key[64];
    while (*path) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof key) return NULL;
        memcpy(key, path, n);
        key[n] = '\0';
        row = json_object_get(row, key);
        path += path[n] ? n + 1 : n;
    }
    return row;
}

const json_t *qk_find_row(const qk_results *results, const char *array, size_t model, const char *field,
                          const char *value)
{
    const json_t *rows = qk_rows(results, array);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_index(row, "model") == model && (!field || qk_field_is(row, field, value))) return row;
    }
    return NULL;
}

void qk_document_totals(double *totals, const qk_results *results, size_t model, const char *tensor)
{
    const json_t *rows = qk_rows(results, "counts");
    for (size_t d = 0; d < results->n_documents; d++) totals[d] = NAN;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_index(row, "model") != model || !qk_field_is(row, "tensor", tensor)) continue;
        double *total = &totals[qk_field_index(row, "document")];
        *total = (isnan(*total) ? 0 : *total) + qk_field_number(row, "count");
    }
}

size_t qk_striking_layer(const qk_results *results, size_t model)
{
    size_t layer = 0;
    double largest = -INFINITY;
    for (int t = 0; t < 2; t++) {
        const json_t *summary = qk_find_row(results, "summary", model, "tensor", qk_result_tensors[t]);
        const json_t *layers = json_object_get(summary, "by_layer");
        for (size_t i = 0; i < json_array_size(layers); i++) {
            double ratio = qk_field_number(json_array_get(layers, i), "max_over_mean");
            if (!(ratio > largest)) continue;
            largest = ratio;
            layer = qk_field_index(json_array_get(layers, i), "layer");
        }
    }
    return layer;
}

/* What kind of condition a name is in a model: an object { name: kind }, one for the model. */
static json_t *kinds_by_name(const qk_results *results, size_t model)
{
    json_t *kinds = json_object();
    const json_t *rows = qk_rows(results, "conditions");
    for (size_t i = 0; kinds && i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_index(row, "model") != model) continue;
        int kind = qk_field_is(row, "kind", "baseline") ? QK_KIND_BASELINE
                   : qk_field_is(row, "kind", "massive") ? QK_KIND_MASSIVE
                                                       : QK_KIND_RANDOM;
        if (json_object_set_new(kinds, qk_field_text(row, "name"), json_integer(kind)) != 0) {
            json_decref(kinds);
            return NULL;
        }
    }
    return kinds;
}

qk_status qk_document_deltas(double *const delta[QK_N_KINDS], const qk_results *results, size_t model, qk_error *err)
{
    const json_t *rows = qk_rows(results, "scores");
    size_t n = results->n_documents;
    json_t *kinds = kinds_by_name(results, model);
    double *n_seen = calloc((QK_N_KINDS + 1) * (n + 1), sizeof n_seen[0]); /* one row a kind */
    qk_status status = QK_OK;
    if (!kinds || !n_seen) {
        status = qk_out_of_memory(err, "differences of documents", n * sizeof n_seen[0]);
        goto out;
    }
    for (int k = 0; k < QK_N_KINDS; k++)
        for (size_t d = 0; d < n; d++) delta[k][d] = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *kind = json_object_get(kinds, qk_field_text(row, "condition"));
        if (qk_field_index(row, "model") != model || !kind) continue;
        size_t d = qk_field_index(row, "document"), k = (size_t)json_integer_value(kind);
        delta[k][d] += qk_field_number(row, "nll") / qk_field_number(row, "tokens");
        n_seen[k * n + d]++;
    }
    for (size_t d = 0; d < n; d++) /* nll per token of each kind; NaN where there is none */
        for (int k = 0; k < QK_N_KINDS; k++)
            delta[k][d] = n_seen[(size_t)k * n + d] > 0 ? delta[k][d] / n_seen[(size_t)k * n + d] : NAN;
    for (size_t d = 0; d < n; d++)
        for (int k = QK_N_KINDS - 1; k >= 0; k--) delta[k][d] -= delta[QK_KIND_BASELINE][d];
out:
    free(n_seen);
    json_decref(kinds);
    return status;
}
