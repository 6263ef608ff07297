/* html_massive.c - what the page says of counts of massive values. */
#include <math.h>
#include <string.h>

#include "report/html.h"
#include "report/plot.h"

static void put_question(FILE *stream, const qk_results *results)
{
    double lambda = qk_field_number(results->settings, "lambda");
    const char *criterion = qk_field_text(results->settings, "criterion");
    const char *site = qk_field_text(results->settings, "site");
    fputs("<p>Attention compares a <i>query</i> of one position with the <i>keys</i> of others. In many transformers "
          "a few dimensions of these vectors are far larger than the rest, at the same places for every text. Jin et "
          "al. (2025) call them <b>massive values</b> and relate them to how a model reads its context. Where are "
          "they in these models, how many are there, and how far do they stand out?</p>\n"
          "<p>For each layer and document, M[h, d] is the Euclidean norm of dim d of head h over all positions. ",
          stream);
    if (strcmp(criterion, "head-mean") == 0)
        qk_html(stream, "A dim is counted as massive where M is more than \u03bb = %g times the mean of its head.",
                lambda);
    else if (strcmp(criterion, "top-k") == 0)
        qk_html(stream, "In each head the %g dims with the largest M are counted as massive, however large they are.",
                lambda);
    else
        qk_html(stream,
                "A dim is counted as massive where M is more than \u03bb = %g times the mean of M over all heads and "
                "dims of that layer.",
                lambda);
    if (strcmp(site, "post") == 0)
        fputs(" Queries and keys are taken after rotation, as attention sees them.", stream);
    else if (strcmp(site, "pre") == 0)
        fputs(" Queries and keys are taken before rotation and before any query/key norm.", stream);
    fputs("</p>\n", stream);
}

/* ---- in short */

static void put_model_counts(FILE *stream, const qk_results *results, size_t model)
{
    const char *comma = "";
    qk_html(stream, "<li><b>%s</b> has ", results->models[model].name);
    for (int t = 0; t < 3; t++) {
        const json_t *row = qk_find_row(results, "summary", model, "tensor", qk_result_tensors[t]);
        if (!row) continue;
        qk_html(stream, "%s%g massive %s dims", comma, qk_field_number(row, "total_mean"), qk_result_tensor_words[t]);
        qk_html_interval(stream, row, "total_ci95");
        qk_html(stream, ", %g\u00a0%% of %g", qk_field_number(row, "share_pct"), qk_field_number(row, "positions"));
        comma = "; ";
    }
    fputs(" per document, over all layers.</li>\n", stream);
}

/* How far queries and keys stand out, and what to say when nothing does. */
static void put_standing_out(FILE *stream, const qk_results *results, size_t model)
{
    const char *name = results->models[model].name;
    const json_t *q = qk_find_row(results, "summary", model, "tensor", "q");
    const json_t *k = qk_find_row(results, "summary", model, "tensor", "k");
    double peak = fmax(qk_field_number(q, "max_over_mean"), qk_field_number(k, "max_over_mean"));
    double lambda = qk_field_number(results->settings, "lambda");
    bool nothing = (!q || qk_field_number(q, "total_mean") == 0) && (!k || qk_field_number(k, "total_mean") == 0);
    if ((!q && !k) || isnan(peak)) return;
    if (nothing)
        qk_html(stream,
                "<li><b>%s does not show the phenomenon at this threshold.</b> No query or key dim is massive at "
                "\u03bb = %g in any document; the largest norm is %g times the mean of its layer.</li>\n",
                name, lambda, peak);
    else if (qk_field_is(results->settings, "criterion", "top-k"))
        qk_html(stream, "<li>In %s the largest query or key norm is %g times the mean of its layer (layer %zu).</li>\n",
                name, peak, qk_striking_layer(results, model));
    else
        qk_html(stream,
                "<li>In %s the largest query or key norm is %g times the mean of its layer (layer %zu); the threshold "
                "is %g.%s</li>\n",
                name, peak, qk_striking_layer(results, model), lambda,
                peak < 1.25 * lambda ? " Nothing is far above it, so that the count rests on where the line is drawn."
                                     : "");
}

static void put_slow(FILE *stream, const qk_results *results, size_t model)
{
    const qk_result_model *m = &results->models[model];
    double share[2];
    size_t n_slow = 0, n = json_array_size(m->pairs);
    for (size_t i = 0; i < n; i++) n_slow += json_is_true(json_object_get(json_array_get(m->pairs, i), "slow"));
    for (int t = 0; t < 2; t++)
        share[t] =
            qk_field_number(qk_find_row(results, "summary", model, "tensor", qk_result_tensors[t]), "slow_share");
    if (!m->rotates || n == 0 || (isnan(share[0]) && isnan(share[1]))) return;
    qk_html(stream,
            "<li>In %s %zu of %zu rotary pairs never complete a rotation over the trained context of %g tokens "
            "(%g\u00a0%% of the dims). They hold",
            m->name, n_slow, n, m->context, 100 * (double)n_slow / (double)n);
    if (!isnan(share[0])) qk_html(stream, " %g\u00a0%% of the massive query dims", 100 * share[0]);
    if (!isnan(share[0]) && !isnan(share[1])) fputs(" and", stream);
    if (!isnan(share[1])) qk_html(stream, " %g\u00a0%% of the massive key dims", 100 * share[1]);
    fputs(".</li>\n", stream);
}

static bool has_none(const qk_results *results, size_t model, int tensor)
{
    const json_t *row = qk_find_row(results, "summary", model, "tensor", qk_result_tensors[tensor]);
    return qk_field_number(row, "total_mean") == 0;
}

static void put_changes(FILE *stream, const qk_results *results)
{
    const json_t *rows = qk_rows(results, "change");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *test = json_object_get(row, "test");
        double difference = qk_field_number(row, "difference"), percent = qk_field_number(row, "percent");
        int t = qk_field_is(row, "tensor", "q") ? 0 : qk_field_is(row, "tensor", "k") ? 1 : 2;
        size_t model = qk_field_index(row, "model");
        const char *name = results->models[model].name;
        if (isnan(difference)) continue;
        if (has_none(results, 0, t) && has_none(results, model, t)) {
            qk_html(stream, "<li>Neither %s nor %s has a massive %s dim.</li>\n", results->models[0].name, name,
                    qk_result_tensor_words[t]);
            continue;
        }
        qk_html(stream, "<li>Against %s, <b>%s has ", results->models[0].name, name);
        if (difference == 0)
            qk_html(stream, "as many massive %s dims</b>", qk_result_tensor_words[t]);
        else if (isnan(percent))
            qk_html(stream, "%g %s massive %s dims</b>", fabs(difference), difference < 0 ? "fewer" : "more",
                    qk_result_tensor_words[t]);
        else
            qk_html(stream, "%g\u00a0%% %s massive %s dims</b>, %g a document", fabs(percent),
                    difference < 0 ? "fewer" : "more", qk_result_tensor_words[t], fabs(difference));
        double ci[2];
        qk_field_pair(ci, row, "difference_ci95");
        if (isfinite(ci[0]) && ci[0] < ci[1])
            qk_html(stream, " (95\u00a0%% interval of the difference %g to %g)", ci[0], ci[1]);
        const char *p = qk_field_text(test, "p"), *refused = qk_field_text(test, "refused");
        if (*p) qk_html(stream, "; %s, %s", qk_field_text(test, "name"), p);
        if (*refused) qk_html(stream, "; not tested: %s", refused);
        if (ci[0] < 0 && ci[1] > 0) fputs("; no change is within the interval", stream);
        fputs(".</li>\n", stream);
    }
}

static void put_findings(FILE *stream, const qk_results *results)
{
    for (size_t m = 0; m < results->n_models; m++) {
        put_model_counts(stream, results, m);
        put_standing_out(stream, results, m);
        put_slow(stream, results, m);
    }
    put_changes(stream, results);
}

/* ---- tables */

static void put_tables(FILE *stream, const qk_results *results)
{
    static const qk_html_column summary[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "tensor", "tensor", QK_CELL_TEXT, NULL },
        { "mean", "total_mean", QK_CELL_NUMBER, "massive values per document over all layers, mean over documents" },
        { "std", "total_std", QK_CELL_NUMBER, "standard deviation over documents (n - 1)" },
        { "95 % interval", "total_ci95", QK_CELL_PAIR, "bootstrap over documents" },
        { "of dims", "positions", QK_CELL_NUMBER, "layers x heads x dim" },
        { "%", "share_pct", QK_CELL_NUMBER, "mean / dims" },
        { "max / mean", "max_over_mean", QK_CELL_NUMBER,
          "largest norm over the mean of its layer: largest over layers, mean over documents" },
        { "energy share", "energy_share", QK_CELL_NUMBER, "share of the sum of squared norms in massive dims" },
        { "Gini", "gini", QK_CELL_NUMBER, "0: all norms equal; 1: one dim has everything" },
        { "kurtosis", "kurtosis", QK_CELL_NUMBER,
          "fourth standardised moment of the norms; 3 for a normal distribution" },
        { "slow share", "slow_share", QK_CELL_NUMBER,
          "share of massive dims in rotary pairs that never complete a rotation" },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column change[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "tensor", "tensor", QK_CELL_TEXT, NULL },
        { "difference", "difference", QK_CELL_NUMBER, "mean over documents, against the first model" },
        { "95 % interval", "difference_ci95", QK_CELL_PAIR, NULL },
        { "%", "percent", QK_CELL_NUMBER, NULL },
        { "test", "test.name", QK_CELL_TEXT, NULL },
        { "p", "test.p", QK_CELL_TEXT, NULL },
        { "effect", "test.effect", QK_CELL_NUMBER, NULL },
        { "layers with more", "layers_more", QK_CELL_LIST, NULL },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column layers[] = {
        { "model", "^model", QK_CELL_MODEL, NULL },
        { "tensor", "^tensor", QK_CELL_TEXT, NULL },
        { "layer", "layer", QK_CELL_NUMBER, NULL },
        { "mean", "mean", QK_CELL_NUMBER, NULL },
        { "std", "std", QK_CELL_NUMBER, NULL },
        { "max / mean", "max_over_mean", QK_CELL_NUMBER, NULL },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column stability[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "tensor", "tensor", QK_CELL_TEXT, NULL },
        { "Jaccard", "jaccard_mean", QK_CELL_NUMBER,
          "dims massive in both of two documents over those massive in either, mean over pairs of documents" },
        { NULL, NULL, 0, NULL },
    };
    qk_html_table(stream, results, "Massive values per document", qk_rows(results, "summary"), NULL, summary);
    if (json_array_size(qk_rows(results, "change")) > 0)
        qk_html_table(stream, results, "Change against the first model", qk_rows(results, "change"), NULL, change);
    qk_html_table(stream, results, "Are they the same dims in every document?", qk_rows(results, "stability"), NULL,
                  stability);
    fputs("<details><summary>Every layer</summary>\n", stream);
    qk_html_table(stream, results, "Massive values by layer", qk_rows(results, "summary"), "by_layer", layers);
    fputs("</details>\n", stream);
}

/* ---- limits */

static void put_limits(FILE *stream, const qk_results *results)
{
    fputs("<li>They show where the norm of queries, keys and values is concentrated, and how evenly, for these "
          "documents and this threshold.</li>\n"
          "<li>A count depends on the threshold: read it beside the largest norm over the mean, and beside the sweep "
          "over \u03bb. A dim just above and one just below the line differ in nothing but the line.</li>\n"
          "<li>A count is relative to the mean of its own map. It cannot tell a few norms that grew from many that "
          "shrank.</li>\n"
          "<li>They do not show that the model uses these dims. That takes an intervention (the study "
          "<code>disrupt</code>).</li>\n"
          "<li>The intervals cover the choice of documents among documents like these, and nothing else: not other "
          "kinds of text, not other lengths, not another training run.</li>\n",
          stream);
    if (results->n_models > 1)
        fputs("<li>A difference between two checkpoints does not say what caused it: they may differ in data, in the "
              "number of training tokens and in settings beside the one of interest. Models with other numbers of "
              "heads, layers or dims have other numbers of places to be massive in; compare the percentages.</li>\n",
              stream);
    if (results->n_documents < 10)
        qk_html(stream, "<li>With %zu document%s the spread over documents is known only roughly.</li>\n",
                results->n_documents, results->n_documents == 1 ? "" : "s");
}

static void put_naive(FILE *stream, const qk_results *results)
{
    static const qk_html_column columns[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "tensor", "tensor", QK_CELL_TEXT, NULL },
        { "mean", "naive.total_mean", QK_CELL_NUMBER, NULL },
        { "std as in the post (ddof 0)", "naive.total_std", QK_CELL_NUMBER, NULL },
        { "std (ddof 1)", "total_std", QK_CELL_NUMBER, NULL },
        { "95 % interval of the mean", "total_ci95", QK_CELL_PAIR, NULL },
        { NULL, NULL, 0, NULL },
    };
    if (!json_is_object(json_object_get(json_array_get(qk_rows(results, "summary"), 0), "naive"))) return;
    fputs("<h3>The published arithmetic beside the sound one</h3>\n"
          "<p>The settings imitate a published analysis (Africa, 2026). Its summary divides by n instead of n \u2212 "
          "1, which makes the spread over a few documents look smaller than it is.</p>\n",
          stream);
    qk_html_table(stream, results, "The same counts, summarised both ways", qk_rows(results, "summary"), NULL, columns);
}

const qk_study_page qk_massive_page = {
    "Where are the massive values?", put_question, put_findings, put_tables, put_limits, put_naive,
};
