/* html_disrupt.c - what the page says of breaking massive values. */
#include <math.h>
#include <string.h>

#include "report/html.h"
#include "report/plot.h"

/* "query and key vectors" out of settings.tensors: a list of letters, or text such as "q,k". */
static void put_tensors(FILE *stream, const json_t *tensors)
{
    const char *names[3];
    size_t n = 0;
    for (int t = 0; t < 3; t++) {
        const char *text = json_string_value(tensors);
        bool in = text && strchr(text, *qk_result_tensors[t]);
        for (size_t i = 0; i < json_array_size(tensors); i++) {
            const char *item = json_string_value(json_array_get(tensors, i));
            in = in || (item && strcmp(item, qk_result_tensors[t]) == 0);
        }
        if (in) names[n++] = qk_result_tensor_words[t];
    }
    for (size_t i = 0; i < n; i++) fprintf(stream, "%s%s", i == 0 ? "" : i + 1 == n ? " and " : ", ", names[i]);
    fputs(n ? " vectors" : "the chosen vectors", stream);
}

typedef struct op_words { const char *name, *done, *doing; } op_words;

static const op_words *op_of(const qk_results *results)
{
    static const op_words ops[] = {
        { "zero", "set to zero", "zeroing" },
        { "mean", "replaced by their mean over the calibration documents", "replacing by their mean" },
        { "head-mean", "replaced by one mean a head", "replacing by one mean a head" },
        { "", "changed", "changing" },
    };
    const op_words *op = ops;
    while (*op->name && !qk_field_is(results->settings, "op", op->name)) op++;
    return op;
}

static void put_question(FILE *stream, const qk_results *results)
{
    static const char *const controls[][2] = {
        { "excluding", "drawn from the dims that are not massive" },
        { "uniform", "drawn from all dims, so that a control may hit massive ones" },
        { "same-head", "drawn from the heads that hold the massive ones" },
    };
    const json_t *s = results->settings, *layers = json_object_get(s, "layers");
    const char *control = qk_field_text(s, "control");
    double top_k = qk_field_number(s, "top_k");
    fputs("<p>In many transformers a few dims of queries and keys are far larger than the rest (massive values, Jin "
          "et al. 2025). Does the model need them, or only dims as such? Here the massive dims of ",
          stream);
    put_tensors(stream, json_object_get(s, "tensors"));
    if (!isnan(top_k)) qk_html(stream, " (the %g with the largest norm in each head)", top_k);
    if (json_array_size(layers) > 0) qk_html(stream, " in %zu layers", json_array_size(layers));
    qk_html(stream,
            " are %s at every position, %s rotation, and the loss on the evaluation documents is measured. As a "
            "control the same is done to the same number of random dims in each layer and tensor",
            op_of(results)->done, qk_field_is(s, "site", "post") ? "after" : "before");
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++)
        if (strcmp(control, controls[i][0]) == 0) qk_html(stream, ", %s", controls[i][1]);
    size_t n_seeds = json_array_size(json_object_get(s, "seeds")),
           n_calibration = json_array_size(json_object_get(s, "calibration"));
    qk_html(stream,
            "; %zu seeds.</p>\n"
            "<p>\u0394NLL is the loss that a condition adds to the unchanged model, in nats per predicted token. It "
            "is the measure to compare: perplexity is its exponential and makes large effects look immense.",
            n_seeds);
    if (n_calibration)
        qk_html(stream, " Which dims are massive was found on %zu calibration document%s.", n_calibration,
                n_calibration == 1 ? "" : "s");
    fputs("</p>\n", stream);
}

/* ---- in short */

static double massive_dims(const qk_results *results, size_t model)
{
    const json_t *rows = qk_rows(results, "conditions");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *dims = json_object_get(row, "dims");
        double sum = 0;
        if (qk_field_index(row, "model") != model || !qk_field_is(row, "kind", "massive")) continue;
        for (int t = 0; t < 3; t++) {
            double n = qk_field_number(dims, qk_result_tensors[t]);
            if (!isnan(n)) sum += n;
        }
        return json_is_object(dims) ? sum : NAN;
    }
    return NAN;
}

static const char *rises(double delta) { return delta < 0 ? "falls" : "rises"; }

/* How many single controls cost as much as the massive dims: a mean over controls hides them. */
static void put_rivals(FILE *stream, const qk_results *results, size_t model, double delta)
{
    const json_t *conditions = qk_rows(results, "conditions");
    size_t n = 0, n_rivals = 0;
    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *row = json_array_get(conditions, i);
        if (qk_field_index(row, "model") != model || !qk_field_is(row, "kind", "random")) continue;
        const json_t *summary = qk_find_row(results, "summary", model, "condition", qk_field_text(row, "name"));
        n++;
        n_rivals += qk_field_number(summary, "delta_nll") >= delta;
    }
    if (n_rivals) qk_html(stream, " %zu of the %zu random controls cost as much or more.", n_rivals, n);
}

/* Massive minus random, and what may be said of it: "more" takes an interval without 0 and every test that was done. */
static void put_verdict(FILE *stream, const qk_results *results, size_t model)
{
    const json_t *effect = json_object_get(qk_find_row(results, "effects", model, NULL, NULL), "m_minus_r");
    const json_t *tests = qk_rows(results, "tests");
    const double level = log10(0.05);
    double ci[2], weakest = -INFINITY;
    if (isnan(qk_field_number(effect, "delta_nll"))) return;
    qk_field_pair(ci, effect, "ci95");
    qk_html(stream, " Massive minus random is %g", qk_field_number(effect, "delta_nll"));
    qk_html_interval(stream, effect, "ci95");
    for (size_t i = 0; i < json_array_size(tests); i++) {
        const json_t *row = json_array_get(tests, i), *of = json_object_get(row, "model");
        if (!json_is_integer(of) || (size_t)json_integer_value(of) != model) continue;
        if (!qk_field_is(row, "comparison", "massive vs random") || isnan(qk_field_number(row, "log10_p"))) continue;
        qk_html(stream, "; %s, %s", qk_field_text(row, "name"), qk_field_text(row, "p"));
        weakest = fmax(weakest, qk_field_number(row, "log10_p"));
    }
    if (!isfinite(ci[0]) || !isfinite(ci[1]))
        fputs(".", stream);
    else if (ci[0] <= 0 && ci[1] >= 0)
        fputs(": <b>these documents do not show that massive dims matter more than random ones.</b>", stream);
    else if (weakest > level)
        fputs(": the interval leaves out 0, but not every test finds a difference at 5\u00a0%: <b>undecided with these "
              "documents.</b>",
              stream);
    else
        fputs(ci[0] > 0 ? ": massive dims matter more than as many random ones."
                        : ": massive dims matter <b>less</b> than as many random ones.",
              stream);
}

static void put_model_findings(FILE *stream, const qk_results *results, size_t model)
{
    const char *name = results->models[model].name;
    const json_t *base = qk_find_row(results, "summary", model, "condition", "baseline");
    const json_t *massive = qk_find_row(results, "summary", model, "condition", "massive");
    const json_t *random = qk_find_row(results, "summary", model, "condition", "random");
    const char *doing = op_of(results)->doing;
    double delta = qk_field_number(massive, "delta_nll"), random_delta = qk_field_number(random, "delta_nll");
    double dims = massive_dims(results, model);
    if (isnan(delta)) {
        qk_html(stream, "<li><b>%s</b>: the loss after %s massive dims could not be computed.</li>\n", name, doing);
        return;
    }
    qk_html(stream, "<li><b>%s: %s ", name, doing);
    if (dims > 0) qk_html(stream, "%g ", dims);
    qk_html(stream, "massive dims costs %g nats per token</b>", delta);
    qk_html_interval(stream, massive, "ci95");
    qk_html(stream, "; perplexity %s from %g to %g (%g\u00a0%%).", rises(delta), qk_field_number(base, "ppl"),
            qk_field_number(massive, "ppl"), qk_field_number(massive, "ppl_increase_pct"));
    if (!isnan(random_delta)) {
        qk_html(stream, " The same with as many random dims costs %g", random_delta);
        qk_html_interval(stream, random, "ci95");
        fputs(".", stream);
    }
    put_rivals(stream, results, model, delta);
    put_verdict(stream, results, model);
    fputs("</li>\n", stream);
}

/* The tests between models, in words. */
static void put_between(FILE *stream, const qk_results *results)
{
    const json_t *rows = qk_rows(results, "tests");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *models = json_object_get(row, "models");
        json_int_t a = json_integer_value(json_array_get(models, 0)), b = json_integer_value(json_array_get(models, 1));
        if (json_array_size(models) != 2 || a < 0 || b < 0 || (size_t)a >= results->n_models ||
            (size_t)b >= results->n_models)
            continue;
        qk_html(stream, "<li>Between %s and %s (%s): ", results->models[a].name, results->models[b].name,
                qk_field_text(row, "comparison"));
        if (*qk_field_text(row, "refused"))
            qk_html(stream, "not tested: %s", qk_field_text(row, "refused"));
        else {
            qk_html(stream, "difference %g", qk_field_number(row, "estimate"));
            qk_html_interval(stream, row, "ci95");
            qk_html(stream, "; %s, %s", qk_field_text(row, "name"), qk_field_text(row, "p"));
        }
        fputs(".</li>\n", stream);
    }
}

static void put_findings(FILE *stream, const qk_results *results)
{
    for (size_t m = 0; m < results->n_models; m++) put_model_findings(stream, results, m);
    put_between(stream, results);
}

/* ---- tables */

static void put_tables(FILE *stream, const qk_results *results)
{
    static const qk_html_column summary[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "condition", "condition", QK_CELL_TEXT, NULL },
        { "tokens", "tokens", QK_CELL_NUMBER, "predicted tokens" },
        { "NLL", "nll_per_token", QK_CELL_NUMBER, "nats per token" },
        { "\u0394NLL", "delta_nll", QK_CELL_NUMBER, "against the baseline, nats per token" },
        { "95 % interval", "ci95", QK_CELL_PAIR, "of \u0394NLL, BCa bootstrap over documents" },
        { "perplexity", "ppl", QK_CELL_NUMBER, NULL },
        { "increase %", "ppl_increase_pct", QK_CELL_NUMBER, "of perplexity" },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column categories[] = {
        { "model", "^model", QK_CELL_MODEL, NULL },
        { "condition", "^condition", QK_CELL_TEXT, NULL },
        { "category", "category", QK_CELL_TEXT, NULL },
        { "documents", "documents", QK_CELL_NUMBER, NULL },
        { "\u0394NLL", "delta_nll", QK_CELL_NUMBER, NULL },
        { "95 % interval", "ci95", QK_CELL_PAIR, NULL },
        { "perplexity", "ppl", QK_CELL_NUMBER, NULL },
        { "increase %", "ppl_increase_pct", QK_CELL_NUMBER, NULL },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column tests[] = {
        { "model", "model", QK_CELL_MODELS, NULL },
        { "comparison", "comparison", QK_CELL_TEXT, NULL },
        { "test", "name", QK_CELL_TEXT, NULL },
        { "n", "n", QK_CELL_TEXT, "documents" },
        { "estimate", "estimate", QK_CELL_NUMBER, NULL },
        { "95 % interval", "ci95", QK_CELL_PAIR, NULL },
        { "p", "p", QK_CELL_TEXT, "two-sided" },
        { "log10 p, Holm", "log10_p_holm", QK_CELL_NUMBER, "corrected for the number of tests in this table" },
        { "effect", "effect", QK_CELL_NUMBER, NULL },
        { "", "effect_name", QK_CELL_TEXT, NULL },
        { "statistic", "statistic", QK_CELL_NUMBER, NULL },
        { "df", "df", QK_CELL_NUMBER, NULL },
        { "not done because", "refused", QK_CELL_TEXT, NULL },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column conditions[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "condition", "name", QK_CELL_TEXT, NULL },
        { "kind", "kind", QK_CELL_TEXT, NULL },
        { "q dims", "dims.q", QK_CELL_NUMBER, NULL },
        { "k dims", "dims.k", QK_CELL_NUMBER, NULL },
        { "v dims", "dims.v", QK_CELL_NUMBER, NULL },
        { "visited", "receipt.visited", QK_CELL_NUMBER, "elements under the mask" },
        { "changed", "receipt.changed", QK_CELL_NUMBER, "elements whose bits differ afterwards" },
        { "sum of |change|", "receipt.sum_abs", QK_CELL_NUMBER, NULL },
        { "largest", "receipt.max_abs", QK_CELL_NUMBER, NULL },
        { NULL, NULL, 0, NULL },
    };
    qk_html_table(stream, results, "Loss and perplexity by condition", qk_rows(results, "summary"), NULL, summary);
    qk_html_table(stream, results, "Tests (the document is the unit)", qk_rows(results, "tests"), NULL, tests);
    fputs("<details><summary>By category</summary>\n", stream);
    qk_html_table(stream, results, "Loss and perplexity by category", qk_rows(results, "summary"), "by_category",
                  categories);
    fputs("</details>\n<details><summary>What each edit did</summary>\n", stream);
    qk_html_table(stream, results, "Receipts", qk_rows(results, "conditions"), NULL, conditions);
    fputs("</details>\n", stream);
}

/* ---- limits */

static void put_limits(FILE *stream, const qk_results *results)
{
    fputs("<li>They show what these models lose on these documents when these dims are broken, and how much of that "
          "as many random dims would cost too.</li>\n"
          "<li>The control is equal in number, layer and tensor. It is not equal in norm: massive dims carry more of "
          "a vector, so that part of their effect may come from how much was removed and not from what it meant. "
          "Compare the sums of |change| in the receipts.</li>\n"
          "<li>A broken model sees activations that it never met in training. A loss says that something was needed, "
          "not what it was for.</li>\n"
          "<li>Masks are found with one threshold; dims just below it stay whole.</li>\n"
          "<li>Intervals and tests have the document as unit. Seeds only choose the random dims; repeating them adds "
          "no documents.</li>\n",
          stream);
    if (results->n_models > 1) {
        fputs("<li>Each model is broken at its own massive dims (", stream);
        for (size_t m = 0; m < results->n_models; m++)
            qk_html(stream, "%s%s %g", m ? ", " : "", results->models[m].name, massive_dims(results, m));
        fputs("), which lie in other places: a difference between models mixes how much was broken with how much it "
              "was needed.</li>\n",
              stream);
    }
    for (size_t m = 0; m < results->n_models; m++) {
        double ppl = qk_field_number(qk_find_row(results, "summary", m, "condition", "baseline"), "ppl");
        if (ppl < 2)
            qk_html(stream,
                    "<li>The unchanged %s has a perplexity of %g on these documents: they are almost predictable "
                    "(often because they repeat themselves), and the loss measures copying more than language.</li>\n",
                    results->models[m].name, ppl);
    }
}

/* ---- the published arithmetic */

static void put_labels(FILE *stream, const json_t *labels)
{
    const char *key;
    json_t *value;
    fputs("<ul>\n", stream);
    for (size_t i = 0; i < json_array_size(labels); i++)
        if (json_is_string(json_array_get(labels, i)))
            qk_html(stream, "<li>%s</li>\n", json_string_value(json_array_get(labels, i)));
    json_object_foreach((json_t *)(uintptr_t)labels, key, value)
        if (json_is_string(value)) qk_html(stream, "<li><b>%s</b>: %s</li>\n", key, json_string_value(value));
    if (json_is_string(labels)) qk_html(stream, "<li>%s</li>\n", json_string_value(labels));
    fputs("</ul>\n", stream);
}

static void put_naive(FILE *stream, const qk_results *results)
{
    static const qk_html_column columns[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "base perplexity", "base_ppl", QK_CELL_NUMBER, NULL },
        { "massive %", "massive_pct_mean", QK_CELL_NUMBER, "increase of perplexity, mean over seeds" },
        { "std", "massive_pct_std", QK_CELL_NUMBER, "over seeds, ddof 0" },
        { "random %", "random_pct_mean", QK_CELL_NUMBER, NULL },
        { "std", "random_pct_std", QK_CELL_NUMBER, NULL },
        { "M \u2212 R %", "m_minus_r_pct", QK_CELL_NUMBER, NULL },
        { "t", "t", QK_CELL_NUMBER, "over seeds" },
        { "d", "d", QK_CELL_NUMBER, "ddof 0" },
        { "log10 p", "log10_p", QK_CELL_NUMBER, NULL },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column sound[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "M \u2212 R, nats per token", "m_minus_r.delta_nll", QK_CELL_NUMBER, NULL },
        { "95 % interval over documents", "m_minus_r.ci95", QK_CELL_PAIR, NULL },
        { "M \u2212 R %", "m_minus_r_pct", QK_CELL_NUMBER, NULL },
        { NULL, NULL, 0, NULL },
    };
    const json_t *naive = qk_rows(results, "naive");
    if (!json_is_object(naive)) return;
    fputs("<h3>The published arithmetic beside the sound one</h3>\n"
          "<p>The settings imitate a published analysis (Africa, 2026). These are the numbers that its arithmetic "
          "gives. They are here to be compared, <b>not to be cited</b>:</p>\n",
          stream);
    put_labels(stream, json_object_get(naive, "labels"));
    qk_html_table(stream, results, "The published arithmetic (not sound)", json_object_get(naive, "by_model"), NULL,
                  columns);
    fputs("<p>", stream);
    if (json_is_number(json_object_get(naive, "ratio_of_m_minus_r")))
        qk_html(stream, "Ratio of the M \u2212 R differences, a ratio of exponentials: %g.",
                qk_field_number(naive, "ratio_of_m_minus_r"));
    const json_t *between = json_object_get(naive, "t_between");
    if (json_is_number(json_object_get(between, "statistic")))
        qk_html(stream, " t between the models over seeds: %g.", qk_field_number(between, "statistic"));
    fputs("</p>\n", stream);
    qk_html_table(stream, results, "The same question with documents as unit (sound)", qk_rows(results, "effects"),
                  NULL, sound);
}

const qk_study_page qk_disrupt_page = {
    "What do the massive values do?", put_question, put_findings, put_tables, put_limits, put_naive,
};
