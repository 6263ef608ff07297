/* html_tasks.c - what the page says of questions with known answers. */
#include <math.h>
#include <string.h>

#include "report/html.h"
#include "report/plot.h"

static double percent(const json_t *row, const char *name) { return 100 * qk_field_number(row, name); }

static void put_percent_interval(FILE *stream, const json_t *row, const char *name)
{
    double ci[2];
    qk_field_pair(ci, row, name);
    if (isfinite(ci[0]) && isfinite(ci[1]))
        qk_html(stream, " (95\u00a0%% interval %g to %g)", 100 * ci[0], 100 * ci[1]);
}

static void put_question(FILE *stream, const qk_results *results)
{
    const json_t *s = results->settings, *questions = json_object_get(results->root, "questions");
    fputs("<p>A model can answer from what it learned (<b>parametric</b> questions: a fact that the prompt does not "
          "state) or from what the prompt says (<b>contextual</b> ones: a key, a list, an order of events). Jin et al. "
          "(2025) found the second kind to hang on massive values. How well do these models do each?</p>\n", stream);
    qk_html(stream, "<p>%g questions in %g categories", qk_field_number(questions, "n"),
            qk_field_number(questions, "categories"));
    if (qk_field_is(s, "source", "world"))
        qk_html(stream, " about the synthetic world (seed %g, %s part)", qk_field_number(s, "world"),
                qk_field_text(s, "part"));
    fputs(". Each is the prompt, a space and the true answer, read at once. An answer counts as <b>right</b> when "
          "each of its tokens is the one that the model holds likeliest, given the prompt and the true tokens before "
          "it: what greedy decoding would say, to the letter. Another wording of a right answer counts as wrong.</p>\n",
          stream);
}

/* ---- in short */

static void put_model_findings(FILE *stream, const qk_results *results, size_t model)
{
    static const char *const kinds[] = { "parametric", "contextual" };
    for (int k = 0; k < 2; k++) {
        const json_t *row = qk_find_row(results, "kinds", model, "kind", kinds[k]);
        if (!row) continue;
        qk_html(stream, "<li>%s answers <b>%g\u00a0%% of the %s questions</b> right", results->models[model].name,
                percent(row, "macro"), kinds[k]);
        put_percent_interval(stream, row, "macro_ci95");
        qk_html(stream, " on average over %g categor%s; %g of %g pooled", qk_field_number(row, "categories"),
                qk_field_number(row, "categories") == 1 ? "y" : "ies", qk_field_number(row, "right"),
                qk_field_number(row, "questions"));
        qk_html(stream, "; always the most frequent answer would reach %g\u00a0%%.</li>\n",
                percent(row, "most_common"));
    }
}

/* Categories in which the model does not show more than somebody who has not read the question. */
static void put_guesses(FILE *stream, const qk_results *results, size_t model)
{
    const json_t *rows = qk_rows(results, "categories");
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double ci[2], chance = qk_field_number(row, "chance"), level = qk_field_number(row, "most_common");
        if (qk_field_index(row, "model") != model) continue;
        qk_field_pair(ci, row, "ci95");
        if (isnan(ci[0]) || ci[0] > fmax(isnan(chance) ? 0 : chance, level)) continue;
        if (n == 0) qk_html(stream, "<li>%s is not shown to be above guessing in ", results->models[model].name);
        qk_html(stream, n++ ? ", %s" : "%s", qk_field_text(row, "category"));
    }
    if (n) fputs(".</li>\n", stream);
}

static void put_comparisons(FILE *stream, const qk_results *results)
{
    const json_t *rows = qk_rows(results, "tests");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *models = json_object_get(row, "models");
        size_t a = (size_t)json_integer_value(json_array_get(models, 0));
        size_t b = (size_t)json_integer_value(json_array_get(models, 1));
        qk_html(stream, "<li>%s questions, %s against %s: %g percentage points", qk_field_text(row, "comparison"),
                results->models[b].name, results->models[a].name, percent(row, "estimate"));
        put_percent_interval(stream, row, "ci95");
        qk_html(stream, "; %g that only %s answers, %g that only %s does; ", qk_field_number(row, "only_first"),
                results->models[a].name, qk_field_number(row, "only_second"), results->models[b].name);
        if (*qk_field_text(row, "refused"))
            qk_html(stream, "not tested: %s.</li>\n", qk_field_text(row, "refused"));
        else
            qk_html(stream, "%s, %s.</li>\n", qk_field_text(row, "name"), qk_field_text(row, "p"));
    }
}

static void put_findings(FILE *stream, const qk_results *results)
{
    for (size_t m = 0; m < results->n_models; m++) put_model_findings(stream, results, m);
    put_comparisons(stream, results);
    for (size_t m = 0; m < results->n_models; m++) put_guesses(stream, results, m);
}

/* ---- tables */

static void put_tables(FILE *stream, const qk_results *results)
{
    static const qk_html_column categories[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "kind", "kind", QK_CELL_TEXT, NULL },
        { "category", "category", QK_CELL_TEXT, NULL },
        { "questions", "questions", QK_CELL_NUMBER, NULL },
        { "right", "right", QK_CELL_NUMBER, NULL },
        { "accuracy", "accuracy", QK_CELL_NUMBER, "right / questions" },
        { "95 % interval", "ci95", QK_CELL_PAIR, "Wilson, over questions" },
        { "chance", "chance", QK_CELL_NUMBER, "guessing among the choices" },
        { "same answer", "most_common", QK_CELL_NUMBER, "always giving the most frequent answer" },
        { "NLL", "nll", QK_CELL_NUMBER, "nats per answer, mean over questions" },
        { "NLL per token", "nll_per_token", QK_CELL_NUMBER, "nats per token of the answers" },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column kinds[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "kind", "kind", QK_CELL_TEXT, NULL },
        { "categories", "categories", QK_CELL_NUMBER, NULL },
        { "mean accuracy", "macro", QK_CELL_NUMBER, "mean over categories" },
        { "95 % interval", "macro_ci95", QK_CELL_PAIR, "of the mean over these categories" },
        { "same answer", "most_common", QK_CELL_NUMBER, "always the most frequent answer, mean over categories" },
        { "questions", "questions", QK_CELL_NUMBER, NULL },
        { "right", "right", QK_CELL_NUMBER, NULL },
        { "pooled accuracy", "accuracy", QK_CELL_NUMBER, "right / questions" },
        { "95 % interval", "ci95", QK_CELL_PAIR, "of the pooled accuracy: Wilson, over questions" },
        { "NLL", "nll", QK_CELL_NUMBER, "nats per answer, mean over categories" },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column tests[] = {
        { "models", "models", QK_CELL_MODELS, "first and second" },
        { "questions", "comparison", QK_CELL_TEXT, NULL },
        { "n", "n", QK_CELL_NUMBER, "questions" },
        { "both right", "both", QK_CELL_NUMBER, NULL },
        { "only first", "only_first", QK_CELL_NUMBER, NULL },
        { "only second", "only_second", QK_CELL_NUMBER, NULL },
        { "neither", "neither", QK_CELL_NUMBER, NULL },
        { "difference", "estimate", QK_CELL_NUMBER, "accuracy of the second minus that of the first" },
        { "95 % interval", "ci95", QK_CELL_PAIR, "Agresti and Min" },
        { "test", "name", QK_CELL_TEXT, NULL },
        { "p", "p", QK_CELL_TEXT, "two-sided" },
        { "log10 p, Holm", "log10_p_holm", QK_CELL_NUMBER, "corrected for the number of tests in this table" },
        { "not done because", "refused", QK_CELL_TEXT, NULL },
        { NULL, NULL, 0, NULL },
    };
    qk_html_table(stream, results, "Right answers by category", qk_rows(results, "categories"), NULL, categories);
    qk_html_table(stream, results, "Right answers by kind", qk_rows(results, "kinds"), NULL, kinds);
    if (json_array_size(qk_rows(results, "tests")))
        qk_html_table(stream, results, "Models against each other (the question is the unit)",
                      qk_rows(results, "tests"), NULL, tests);
}

static void put_limits(FILE *stream, const qk_results *results)
{
    fputs("<li>They show which answers a model gives word for word. What it would say in other words, or after "
          "thinking aloud, they do not show.</li>\n"
          "<li>With the true tokens before it, a later token of an answer is easier than after a mistake; as every "
          "token must be right, the verdict is the same as that of greedy decoding. Whether a model would stop behind "
          "the answer is not asked.</li>\n"
          "<li>Intervals and tests take each question as one independent draw of its category. Questions made from "
          "few patterns are more alike than that.</li>\n"
          "<li>The mean over categories weighs a small category like a large one; pooled accuracy weighs "
          "questions.</li>\n", stream);
    if (json_is_true(json_object_get(results->settings, "cut_left")))
        fputs("<li>Prompts that did not fit lost their start, and with it maybe what they asked for.</li>\n", stream);
}

static void put_naive(FILE *stream, const qk_results *results) { (void)stream, (void)results; }

const qk_study_page qk_tasks_page = {
    "What does the model know, and what does it find?", put_question, put_findings, put_tables, put_limits, put_naive,
};
