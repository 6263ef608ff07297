/* html_quantized.c - models that are one checkpoint in several ways: what quantising its weights alone does. */
#include <math.h>
#include <string.h>

#include "report/html.h"

static const json_t *model_row(const qk_results *results, size_t model)
{
    return json_array_get(json_object_get(results->root, "models"), model);
}

static bool is_quantized(const json_t *row)
{
    const char *how = qk_field_text(row, "quantize");
    return *how && strcmp(how, "none") != 0;
}

/* The same weights as they lie in the file; n_models where they were not run. */
static size_t as_stored(const qk_results *results, size_t model)
{
    const char *hash = qk_field_text(model_row(results, model), "sha256");
    for (size_t m = 0; m < results->n_models; m++) {
        const json_t *row = model_row(results, m);
        if (*hash && !is_quantized(row) && strcmp(qk_field_text(row, "sha256"), hash) == 0) return m;
    }
    return results->n_models;
}

static double loss_of(const qk_results *results, size_t model)
{
    return qk_field_number(qk_find_row(results, "summary", model, "condition", "baseline"), "nll_per_token");
}

static void put_model(FILE *stream, const qk_results *results, size_t model)
{
    const json_t *row = model_row(results, model);
    double n = qk_field_number(row, "quantized_matrices"), kept = qk_field_number(row, "kept_matrices");
    size_t stored = as_stored(results, model);
    qk_html(stream, "<b>%s</b> has %g matrices of its layers in %s, quantised while loading",
            results->models[model].name, n, qk_field_text(row, "quantize"));
    if (kept > 0) qk_html(stream, "; %g stay as they are, since their rows do not divide into blocks", kept);
    fputs(". ", stream);
    if (stored == results->n_models) return;
    qk_html(stream, "It is the checkpoint of %s: where the two differ, quantisation alone does it.",
            results->models[stored].name);
    double before = loss_of(results, stored), after = loss_of(results, model);
    if (isfinite(before) && isfinite(after))
        qk_html(stream, " Unbroken, its loss is %g instead of %g nats per token.", after, before);
    fputs(" ", stream);
}

void qk_html_quantized(FILE *stream, const qk_results *results)
{
    bool any = false;
    for (size_t m = 0; m < results->n_models; m++) {
        if (!is_quantized(model_row(results, m))) continue;
        fputs(any ? "" : "<p>", stream);
        any = true;
        put_model(stream, results, m);
    }
    if (any) fputs("</p>\n", stream);
}
