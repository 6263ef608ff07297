/* html_context.c - what the page says of context extension. */
#include <math.h>
#include <string.h>

#include "report/html.h"
#include "report/plot.h"

static const char *name_of(const qk_results *results, size_t arm)
{
    return qk_field_text(json_array_get(qk_rows(results, "methods"), arm), "name");
}

static void put_percent_interval(FILE *stream, const json_t *row)
{
    double ci[2];
    qk_field_pair(ci, row, "ci95");
    if (isfinite(ci[0]) && isfinite(ci[1]))
        qk_html(stream, " (95\u00a0%% interval %g to %g)", 100 * ci[0], 100 * ci[1]);
}

static void put_question(FILE *stream, const qk_results *results)
{
    const json_t *s = results->settings;
    fputs("<p>A model reads well up to the context that it was trained on. What lies beyond can be reached by another "
          "rotation (every rotary scaling slows the pairs down in its own way), by reading the last part only "
          "(<b>crop</b>), or by a model that was retrained without rotation (DroPE; Gelberg et al. 2025), at a fitted "
          "attention temperature or not. What does each do to the loss, and what does it still find?</p>\n",
          stream);
    qk_html(stream,
            "<p>Lengths are counted in trained contexts of %g tokens; up to one of them all methods are the model "
            "as trained.",
            qk_field_number(s, "trained"));
    if (json_array_size(qk_rows(results, "loss")))
        qk_html(stream, " Losses are over %g text%s%s.", qk_field_number(s, "texts"),
                qk_field_number(s, "texts") == 1 ? "" : "s",
                json_is_true(json_object_get(s, "joined")) ? ", documents put behind one another" : "");
    if (json_array_size(qk_rows(results, "retrieval")))
        qk_html(
            stream,
            " Keys are hidden among idle sentences%s, %g prompts a depth up to two trained contexts and fewer "
            "beyond; a key counts as found when each of its tokens is the likeliest, given the true ones before it.",
            qk_field_is(s, "haystack", "plain") ? " in plain English" : " of the synthetic world",
            qk_field_number(s, "trials"));
    fputs("</p>\n", stream);
}

/* ---- in short */

/* The row of a task at a length: the arm's own, or for arm SIZE_MAX the best of the model. */
static const json_t *best_at(const qk_results *results, const char *task, size_t model, double stretch)
{
    const json_t *rows = qk_rows(results, "retrieval"), *best = NULL;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (!qk_field_is(row, "task", task) || qk_field_index(row, "model") != model ||
            qk_field_number(row, "stretch") != stretch)
            continue;
        if (!best || qk_field_number(row, "accuracy") > qk_field_number(best, "accuracy")) best = row;
    }
    return best;
}

/* "does it still find them at four times its context?" */
static void put_still_finds(FILE *stream, const qk_results *results, const char *task, const char *what, size_t model)
{
    const json_t *at_home = best_at(results, task, model, 1);
    for (double stretch = 2; stretch <= 4; stretch *= 2) {
        const json_t *far = best_at(results, task, model, stretch);
        if (!far) continue;
        qk_html(stream, "<li>%s, %s at <b>%g times</b> the trained context: ", results->models[model].name, what,
                stretch);
        if (qk_field_number(far, "right") == 0) {
            qk_html(stream, "no method finds any of %g keys", qk_field_number(far, "n"));
        } else {
            qk_html(stream, "<b>%g\u00a0%%</b> found with %s", 100 * qk_field_number(far, "accuracy"),
                    qk_field_text(far, "method"));
            put_percent_interval(stream, far);
            fputs(", the most of its methods", stream);
        }
        if (at_home)
            qk_html(stream, "; within the trained context %g\u00a0%%", 100 * qk_field_number(at_home, "accuracy"));
        fputs(".</li>\n", stream);
    }
}

static void put_comparisons(FILE *stream, const qk_results *results, const char *task, const char *what, double stretch)
{
    const json_t *rows = qk_rows(results, "tests");
    size_t n_better = 0, n_worse = 0, n_open = 0, reference = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (!qk_field_is(row, "task", task) || qk_field_number(row, "stretch") != stretch) continue;
        double p = qk_field_number(row, "log10_p_holm"), difference = qk_field_number(row, "estimate");
        reference = qk_field_index(row, "reference");
        bool told = isfinite(p) && p < log10(0.05);
        n_better += told && difference < 0;
        n_worse += told && difference > 0;
        n_open += !told;
    }
    if (n_better + n_worse + n_open == 0) return;
    qk_html(stream,
            "<li>%s at %g times the trained context, the same prompts: %s finds more than %zu of the other arms, "
            "fewer than %zu, and cannot be told apart from %zu (exact McNemar tests, 5\u00a0%% after Holm).</li>\n",
            what, stretch, name_of(results, reference), n_better, n_worse, n_open);
}

static void put_loss_findings(FILE *stream, const qk_results *results, size_t model)
{
    const json_t *rows = qk_rows(results, "loss"), *best = NULL, *plain = NULL;
    double longest = 0;
    for (size_t i = 0; i < json_array_size(rows); i++)
        longest = fmax(longest, qk_field_number(json_array_get(rows, i), "stretch"));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_index(row, "model") != model || !qk_field_is(row, "protocol", "truncated") ||
            qk_field_number(row, "stretch") != longest)
            continue;
        if (!best || qk_field_number(row, "nll_per_token") < qk_field_number(best, "nll_per_token")) best = row;
        if (qk_field_is(row, "method", "none")) plain = row;
    }
    if (!best) return;
    qk_html(stream, "<li>%s reads %g times its context best with <b>%s</b>: %g nats per token",
            results->models[model].name, longest, qk_field_text(best, "method"),
            qk_field_number(best, "nll_per_token"));
    qk_html_interval(stream, best, "ci95");
    if (plain && plain != best) qk_html(stream, "; as trained it takes %g", qk_field_number(plain, "nll_per_token"));
    fputs(".</li>\n", stream);
}

static void put_findings(FILE *stream, const qk_results *results)
{
    static const struct {
        const char *name, *what, *title;
    } tasks[] = { { "pass_key", "one pass key", "One pass key" },
                  { "pass_keys", "a pass key at every depth", "A pass key at every depth" },
                  { "needle", "one needle of four", "One needle of four" } };
    for (int t = 0; t < 3; t++)
        for (size_t m = 0; m < results->n_models; m++)
            put_still_finds(stream, results, tasks[t].name, tasks[t].what, m);
    for (int t = 0; t < 3; t++)
        for (double stretch = 2; stretch <= 4; stretch *= 2)
            put_comparisons(stream, results, tasks[t].name, tasks[t].title, stretch);
    for (size_t m = 0; m < results->n_models; m++) put_loss_findings(stream, results, m);
    for (size_t a = 0; a < json_array_size(qk_rows(results, "methods")); a++) {
        const json_t *row = json_array_get(qk_rows(results, "methods"), a), *fit = json_object_get(row, "temperature");
        if (!json_is_object(fit)) continue;
        double slope = qk_field_number(row, "slope");
        qk_html(stream,
                "<li>%s: beta %g fitted on held-out text of %g tokens (%g nats per token against %g at beta 1), "
                "so beta = 1 %s %g ln s at s trained contexts.</li>\n",
                qk_field_text(row, "name"), qk_field_number(fit, "beta"), qk_field_number(fit, "context"),
                qk_field_number(fit, "nll"), qk_field_number(fit, "nll_at_one"), slope < 0 ? "\u2212" : "+",
                fabs(slope));
    }
}

/* ---- tables */

static void put_broken(FILE *stream, const qk_results *results)
{
    static const qk_html_column shares[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "method", "method", QK_CELL_TEXT, NULL },
        { "condition", "condition", QK_CELL_TEXT, "massive and random: zeroed; mean: massive dims at their mean" },
        { "dims", "dims", QK_CELL_NUMBER, "edited, of queries and keys in all layers" },
        { "length", "stretch", QK_CELL_NUMBER, "trained contexts" },
        { "keys", "n", QK_CELL_NUMBER, "all depths" },
        { "found", "right", QK_CELL_NUMBER, "random: mean over the controls" },
        { "share", "accuracy", QK_CELL_NUMBER, NULL },
        { "95 % interval", "ci95", QK_CELL_PAIR, "Wilson, over keys" },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column tests[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "method", "method", QK_CELL_TEXT, NULL },
        { "length", "stretch", QK_CELL_NUMBER, "trained contexts" },
        { "condition", "condition", QK_CELL_TEXT, NULL },
        { "against", "against", QK_CELL_TEXT, NULL },
        { "n", "n", QK_CELL_NUMBER, "keys" },
        { "difference", "estimate", QK_CELL_NUMBER, "of the shares" },
        { "95 % interval", "ci95", QK_CELL_PAIR, "Agresti and Min" },
        { "test", "name", QK_CELL_TEXT, NULL },
        { "p", "p", QK_CELL_TEXT, "two-sided" },
        { "log10 p, Holm", "log10_p_holm", QK_CELL_NUMBER, "corrected for the number of tests in this table" },
        { "not done because", "refused", QK_CELL_TEXT, NULL },
        { NULL, NULL, 0, NULL },
    };
    if (json_array_size(qk_rows(results, "broken")) == 0) return;
    qk_html_table(stream, results, "One pass key, with dims broken", qk_rows(results, "broken"), NULL, shares);
    qk_html_table(stream, results, "Broken against whole, on the same prompts", qk_rows(results, "broken_tests"), NULL,
                  tests);
}

static void put_tables(FILE *stream, const qk_results *results)
{
    static const qk_html_column loss[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "method", "method", QK_CELL_TEXT, NULL },
        { "protocol", "protocol", QK_CELL_TEXT, "truncated: from the start; sliding: a moving window" },
        { "length", "stretch", QK_CELL_NUMBER, "trained contexts" },
        { "tokens", "tokens", QK_CELL_NUMBER, "predicted" },
        { "NLL", "nll_per_token", QK_CELL_NUMBER, "nats per token" },
        { "95 % interval", "ci95", QK_CELL_PAIR, "BCa bootstrap over texts" },
        { "perplexity", "ppl", QK_CELL_NUMBER, NULL },
        { "against first", "delta", QK_CELL_NUMBER, "nats per token against the model's first method, same texts" },
        { "95 % interval", "delta_ci95", QK_CELL_PAIR, "BCa bootstrap over texts" },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column keys[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "method", "method", QK_CELL_TEXT, NULL },
        { "task", "task", QK_CELL_TEXT, NULL },
        { "length", "stretch", QK_CELL_NUMBER, "trained contexts" },
        { "keys", "n", QK_CELL_NUMBER, "all depths" },
        { "found", "right", QK_CELL_NUMBER, NULL },
        { "share", "accuracy", QK_CELL_NUMBER, NULL },
        { "95 % interval", "ci95", QK_CELL_PAIR, "Wilson, over keys" },
        { "NLL", "nll", QK_CELL_NUMBER, "nats per key" },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column tests[] = {
        { "task", "task", QK_CELL_TEXT, NULL },
        { "length", "stretch", QK_CELL_NUMBER, "trained contexts" },
        { "model", "model", QK_CELL_MODEL, NULL },
        { "method", "method", QK_CELL_TEXT, NULL },
        { "n", "n", QK_CELL_NUMBER, "keys" },
        { "both", "both", QK_CELL_NUMBER, NULL },
        { "only this", "only_arm", QK_CELL_NUMBER, NULL },
        { "only the other", "only_reference", QK_CELL_NUMBER, NULL },
        { "neither", "neither", QK_CELL_NUMBER, NULL },
        { "difference", "estimate", QK_CELL_NUMBER, "of the shares" },
        { "95 % interval", "ci95", QK_CELL_PAIR, "Agresti and Min" },
        { "p", "p", QK_CELL_TEXT, "exact McNemar test, two-sided" },
        { "log10 p, Holm", "log10_p_holm", QK_CELL_NUMBER, "corrected for the number of tests in this table" },
        { "not done because", "refused", QK_CELL_TEXT, NULL },
        { NULL, NULL, 0, NULL },
    };
    char caption[200] = "";
    put_broken(stream, results);
    const json_t *test_rows = qk_rows(results, "tests");
    if (json_array_size(qk_rows(results, "loss")))
        qk_html_table(stream, results, "Loss by length", qk_rows(results, "loss"), NULL, loss);
    if (json_array_size(qk_rows(results, "retrieval")))
        qk_html_table(stream, results, "Keys found by length", qk_rows(results, "retrieval"), NULL, keys);
    if (json_array_size(test_rows) == 0) return;
    snprintf(caption, sizeof caption, "Each arm against the other: %.120s, on the same prompts",
             name_of(results, qk_field_index(json_array_get(test_rows, 0), "reference")));
    qk_html_table(stream, results, caption, test_rows, NULL, tests);
}

static void put_limits(FILE *stream, const qk_results *results)
{
    fputs("<li>The best method of a model is picked after the fact, from few keys: its share is too high by what luck "
          "gave it. The tests compare arms that were chosen before.</li>\n"
          "<li>Nothing was trained here: a scaling that models are usually fine-tuned with (YaRN, Llama 3, longrope) "
          "shows what it does without.</li>\n"
          "<li>A low loss at a long length need not mean that the model looks back so far: cropping keeps it low too. "
          "Keys must be found far back.</li>\n",
          stream);
    fputs(qk_field_is(results->settings, "haystack", "plain")
              ? "<li>Keys are asked for in plain English: a model that was not trained on any, or only continues text, "
                "may know the key and not say it.</li>\n"
              : "<li>Keys are asked for in the wording of the synthetic world: a model that never saw such questions "
                "may know the key and not say it.</li>\n"
                "<li>Where every depth has its key, the questions of one prompt follow one another and each sees the "
                "answers before it; they are less independent than their intervals take them to be.</li>\n",
          stream);
    if (json_is_true(json_object_get(results->settings, "joined")))
        fputs("<li>The texts are documents put behind one another: what stands far back seldom helps to predict, so "
              "losses "
              "show whether a method does harm more than what it gains.</li>\n",
              stream);
}

static void put_naive(FILE *stream, const qk_results *results) { (void)stream, (void)results; }

const qk_study_page qk_context_page = {
    "What happens beyond the trained context?", put_question, put_findings, put_tables, put_limits, put_naive,
};
