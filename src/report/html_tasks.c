/* html_tasks.c - what the page says of questions with known answers. */
#include <math.h>
#include <string.h>

#include "report/html.h"
#include "report/plot.h"
#include "report/tasks_view.h"

static double percent(const json_t *row, const char *name) { return 100 * qk_field_number(row, name); }

static void put_percent_interval(FILE *stream, const json_t *row, const char *name)
{
    double ci[2];
    qk_field_pair(ci, row, name);
    if (isfinite(ci[0]) && isfinite(ci[1]))
        qk_html(stream, " (95\u00a0%% interval %g to %g)", 100 * ci[0], 100 * ci[1]);
}

static bool is_judged(const qk_results *results, const char *scoring)
{
    const json_t *rows = qk_rows(results, "categories");
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (qk_field_is(json_array_get(rows, i), "scoring", scoring)) return true;
    return false;
}

/* How answers were judged: a sentence for each way that some category was. */
static void put_scoring(FILE *stream, const qk_results *results)
{
    static const struct { const char *name, *sentence; } ways[] = {
        { "exact", "Each is the prompt, a space and the true answer, read at once. An answer counts as <b>right</b> "
                   "when each of its tokens is the one that the model holds likeliest, given the prompt and the true tokens "
                   "before it: what greedy decoding would say, to the letter. Another wording of a right answer "
                   "counts as wrong. " },
        { "choice", "Where choices are given, the prompt is read with each of them, and the answer is <b>right</b> "
                    "when the model holds it likelier than every other choice (log-probabilities summed over its "
                    "tokens). " },
        { "generated", "The model wrote on by itself, greedily, to the end of the line; an answer is <b>right</b> "
                       "where that text is the true one to the letter. " },
        { "first-integer", "The model wrote on by itself, greedily; the answer is the first number in that text, and "
                           "<b>right</b> where it equals the true one. Text without a number is <b>unparsed</b> and "
                           "counts as wrong. " },
        { "contains", "The model wrote on by itself, greedily; the answer is <b>right</b> where that text contains all "
                      "that is expected, or, where choices are given, where the true one comes first in it. Text "
                      "without any choice, or none at all, is <b>unparsed</b> and counts as wrong. " },
    };
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
        if (is_judged(results, ways[w].name)) fputs(ways[w].sentence, stream);
}

/* What was broken, and how it was found. */
static void put_conditions(FILE *stream, const qk_results *results)
{
    const json_t *s = results->settings;
    qk_shown_condition shown[QK_SHOWN_CONDITIONS];
    if (qk_conditions_shown(shown, results) < 2) return;
    if (qk_field_is(s, "preset", "jin")) {
        qk_html(stream, "<p>Every question was asked again as Jin et al. (2025) did it: in each head and layer the %g "
                "dims of queries and keys with the largest norm over the prompt, after rotation, were replaced by their "
                "mean over the prompt (<b>massive</b>), or as many <b>random</b> ones; while the model wrote its answer "
                "nothing was edited.</p>\n", qk_field_number(s, "top_k"));
        return;
    }
    fputs("<p>Every question was asked again with the <b>massive</b> dims of queries and keys zeroed, with them "
          "replaced by their mean, or with as many <b>random</b> dims zeroed, as the list of conditions says. ", stream);
    if (isfinite(qk_field_number(s, "lambda")))
        qk_html(stream, "Massive is a dim whose norm is above %g times the mean", qk_field_number(s, "lambda"));
    else
        qk_html(stream, "Massive are the %g dims of each head with the largest norm", qk_field_number(s, "top_k"));
    qk_html(stream, ", on %zu documents that ask nothing. The edits hold in the whole prompt%s.</p>\n",
            json_array_size(json_object_get(s, "calibration")),
            !qk_field_is(s, "phase", "prefill") ? " and in the answer"
                                                : "; not in the answers that the model writes (Jin et al. 2025)");
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
    if (qk_field_is(s, "source", "probes"))
        qk_html(stream, ", generated with seed %g: keys hidden in text about nothing. The name of a category says what "
                "is asked, how many tokens prompt and answer may have, and how many characters a key has",
                qk_field_number(s, "probe_seed"));
    fputs(". ", stream);
    put_scoring(stream, results);
    fputs("</p>\n", stream);
    put_conditions(stream, results);
}

/* ---- in short */

static void put_model_findings(FILE *stream, const qk_results *results, size_t model)
{
    static const char *const kinds[] = { "parametric", "contextual" };
    for (int k = 0; k < 2; k++) {
        const json_t *row = qk_find_answers(results, "kinds", model, "baseline", "kind", kinds[k]);
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

/* The test row of a contrast within one model: `first` condition against `second`; NULL where there is none. */
static const json_t *find_test(const qk_results *results, const char *contrast, size_t model, const char *first,
                               const char *second, const char *comparison)
{
    const json_t *rows = qk_rows(results, "tests");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *conditions = json_object_get(row, "conditions");
        if (qk_field_is(row, "contrast", contrast) && qk_field_is(row, "comparison", comparison) &&
            (size_t)json_integer_value(json_array_get(json_object_get(row, "models"), 0)) == model &&
            strcmp(json_string_value(json_array_get(conditions, 0)), first) == 0 &&
            strcmp(json_string_value(json_array_get(conditions, 1)), second) == 0)
            return row;
    }
    return NULL;
}

static void put_p(FILE *stream, const json_t *test)
{
    if (!test) return;
    if (*qk_field_text(test, "refused")) qk_html(stream, " (not tested: %s)", qk_field_text(test, "refused"));
    else qk_html(stream, " (%s, %s)", qk_field_text(test, "name"), qk_field_text(test, "p"));
}

/* The change against the baseline, in points, and its interval. */
static void put_change(FILE *stream, const json_t *row)
{
    double ci[2], loss = percent(row, "loss");
    qk_field_pair(ci, row, "loss_ci95");
    qk_html(stream, "<b>%s%g points</b>", loss < 0 ? "+" : "", loss == 0 ? 0 : -loss);
    if (isfinite(ci[0]) && isfinite(ci[1]))
        qk_html(stream, " (95\u00a0%% interval %g to %g)", -100 * ci[1], -100 * ci[0]);
}

static void put_loss(FILE *stream, const qk_results *results, size_t model, const char *condition, const char *kind)
{
    const json_t *row = qk_find_answers(results, "kinds", model, condition, "kind", kind);
    if (!row) return;
    qk_html(stream, "%s %s questions ", strcmp(kind, "parametric") == 0 ? ":" : ";", kind);
    put_change(stream, row);
    put_p(stream, find_test(results, "conditions", model, "baseline", condition, kind));
}

/* The third experiment: what does breaking cost, of which kind of question, and more than random dims cost? */
static void put_broken(FILE *stream, const qk_results *results, size_t model)
{
    static const char *const broken[] = { "massive", "mean" };
    static const char *const kinds[] = { "parametric", "contextual" };
    for (int c = 0; c < 2; c++) {
        if (!qk_find_answers(results, "kinds", model, broken[c], "kind", kinds[0]) &&
            !qk_find_answers(results, "kinds", model, broken[c], "kind", kinds[1]))
            continue;
        qk_html(stream, "<li>%s, %s", results->models[model].name, qk_condition_words(results, broken[c]));
        for (int k = 0; k < 2; k++) put_loss(stream, results, model, broken[c], kinds[k]);
        const json_t *test = find_test(results, "kinds", model, "baseline", broken[c],
                                       "contextual against parametric");
        if (test && isfinite(qk_field_number(test, "estimate"))) {
            double more = percent(test, "estimate");
            qk_html(stream, "; the contextual ones lose %g points %s, pooled", fabs(more), more < 0 ? "less" : "more");
            put_percent_interval(stream, test, "ci95");
            put_p(stream, test);
        }
        fputs(".</li>\n", stream);
    }
    for (int k = 0; k < 2; k++) {
        const json_t *random = qk_find_answers(results, "kinds", model, "random", "kind", kinds[k]);
        if (!random) continue;
        qk_html(stream, "<li>%s, %s: %s questions ", results->models[model].name,
                qk_condition_words(results, "random"), kinds[k]);
        put_change(stream, random);
        fputs("; massive against random", stream);
        put_p(stream, find_test(results, "conditions", model, "random", "massive", kinds[k]));
        fputs(".</li>\n", stream);
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
        if (qk_field_index(row, "model") != model || !qk_field_is(row, "condition", "baseline")) continue;
        qk_field_pair(ci, row, "ci95");
        if (isnan(ci[0]) || ci[0] > fmax(isnan(chance) ? 0 : chance, level)) continue;
        if (n == 0) qk_html(stream, "<li>%s is not shown to be above guessing in ", results->models[model].name);
        qk_html(stream, n++ ? ", %s" : "%s", qk_field_text(row, "category"));
    }
    if (n) fputs(": what is lost there says nothing.</li>\n", stream);
}

/* One row of tests[] about two models. */
static void put_comparison(FILE *stream, const qk_results *results, const json_t *row)
{
    const json_t *models = json_object_get(row, "models");
    const char *a = results->models[json_integer_value(json_array_get(models, 0))].name;
    const char *b = results->models[json_integer_value(json_array_get(models, 1))].name;
    bool losses = qk_field_is(row, "contrast", "losses");
    qk_html(stream, losses ? "<li>What zeroing costs of %s questions, %s against %s: %g percentage points"
                           : "<li>%s questions, %s against %s: %g percentage points",
            qk_field_text(row, "comparison"), b, a, percent(row, "estimate"));
    put_percent_interval(stream, row, "ci95");
    if (!losses)
        qk_html(stream, "; %g that only %s answers, %g that only %s does", qk_field_number(row, "only_first"), a,
                qk_field_number(row, "only_second"), b);
    put_p(stream, row);
    fputs(".</li>\n", stream);
}

static void put_findings(FILE *stream, const qk_results *results)
{
    const json_t *tests = qk_rows(results, "tests");
    for (size_t m = 0; m < results->n_models; m++) put_model_findings(stream, results, m);
    for (size_t m = 0; m < results->n_models; m++) put_broken(stream, results, m);
    for (size_t i = 0; i < json_array_size(tests); i++) {
        const json_t *row = json_array_get(tests, i);
        if (qk_field_is(row, "contrast", "models") || qk_field_is(row, "contrast", "losses"))
            put_comparison(stream, results, row);
    }
    for (size_t m = 0; m < results->n_models; m++) put_guesses(stream, results, m);
}

/* ---- tables */

static void put_answers(FILE *stream, const qk_results *results)
{
    static const qk_html_column categories[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "condition", "condition", QK_CELL_TEXT, NULL },
        { "kind", "kind", QK_CELL_TEXT, NULL },
        { "category", "category", QK_CELL_TEXT, NULL },
        { "judged by", "scoring", QK_CELL_TEXT, NULL },
        { "questions", "questions", QK_CELL_NUMBER, NULL },
        { "right", "right", QK_CELL_NUMBER, "random: mean over the controls" },
        { "unparsed", "unparsed", QK_CELL_NUMBER,
          "written text without anything that could be an answer: counts as wrong" },
        { "accuracy", "accuracy", QK_CELL_NUMBER, "right / questions" },
        { "95 % interval", "ci95", QK_CELL_PAIR, "Wilson, over questions" },
        { "corrected", "corrected", QK_CELL_NUMBER,
          "(accuracy - level) / (1 - level); level: chance, else same answer" },
        { "lost", "loss", QK_CELL_NUMBER, "accuracy of the baseline minus this one" },
        { "95 % interval", "loss_ci95", QK_CELL_PAIR, "of what is lost, over the same questions" },
        { "chance", "chance", QK_CELL_NUMBER, "guessing among the choices" },
        { "same answer", "most_common", QK_CELL_NUMBER, "always giving the most frequent answer" },
        { "NLL", "nll", QK_CELL_NUMBER, "nats per right answer, mean over questions" },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column kinds[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "condition", "condition", QK_CELL_TEXT, NULL },
        { "kind", "kind", QK_CELL_TEXT, NULL },
        { "categories", "categories", QK_CELL_NUMBER, NULL },
        { "mean accuracy", "macro", QK_CELL_NUMBER, "mean over categories" },
        { "95 % interval", "macro_ci95", QK_CELL_PAIR, "of the mean over these categories" },
        { "corrected", "corrected", QK_CELL_NUMBER, "0: guessing, 1: all right; mean over categories" },
        { "95 % interval", "corrected_ci95", QK_CELL_PAIR, NULL },
        { "lost", "loss", QK_CELL_NUMBER, "against the baseline, mean over categories" },
        { "95 % interval", "loss_ci95", QK_CELL_PAIR, NULL },
        { "same answer", "most_common", QK_CELL_NUMBER, "always the most frequent answer, mean over categories" },
        { "questions", "questions", QK_CELL_NUMBER, NULL },
        { "right", "right", QK_CELL_NUMBER, NULL },
        { "unparsed", "unparsed", QK_CELL_NUMBER, "of these, written text without an answer: counts as wrong" },
        { "pooled accuracy", "accuracy", QK_CELL_NUMBER, "right / questions" },
        { "95 % interval", "ci95", QK_CELL_PAIR, "of the pooled accuracy: Wilson, over questions" },
        { "NLL", "nll", QK_CELL_NUMBER, "nats per answer, mean over categories" },
        { NULL, NULL, 0, NULL },
    };
    qk_html_table(stream, results, "Right answers by kind", qk_rows(results, "kinds"), NULL, kinds);
    qk_html_table(stream, results, "Right answers by category", qk_rows(results, "categories"), NULL, categories);
}

static void put_tables(FILE *stream, const qk_results *results)
{
    static const qk_html_column tests[] = {
        { "contrast", "contrast", QK_CELL_TEXT,
          "conditions: second minus first; kinds: contextual loss minus parametric; models: second minus first; "
          "losses: what breaking costs the second minus what it costs the first" },
        { "models", "models", QK_CELL_MODELS, "first and second" },
        { "conditions", "conditions", QK_CELL_LIST, "first and second" },
        { "questions", "comparison", QK_CELL_TEXT, NULL },
        { "n", "n", QK_CELL_NUMBER, "questions" },
        { "both right", "both", QK_CELL_NUMBER, NULL },
        { "only first", "only_first", QK_CELL_NUMBER, NULL },
        { "only second", "only_second", QK_CELL_NUMBER, NULL },
        { "neither", "neither", QK_CELL_NUMBER, NULL },
        { "difference", "estimate", QK_CELL_NUMBER, "in accuracy" },
        { "95 % interval", "ci95", QK_CELL_PAIR, "Agresti and Min; t for kinds and losses" },
        { "detectable", "detectable", QK_CELL_NUMBER,
          "smallest difference that this test alone would find with 80 % power" },
        { "test", "name", QK_CELL_TEXT, NULL },
        { "p", "p", QK_CELL_TEXT, "two-sided" },
        { "log10 p, Holm", "log10_p_holm", QK_CELL_NUMBER, "corrected for the number of tests in this table" },
        { "not done because", "refused", QK_CELL_TEXT, NULL },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column errors[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "condition", "condition", QK_CELL_TEXT, NULL },
        { "category", "category", QK_CELL_TEXT, NULL },
        { "questions", "questions", QK_CELL_NUMBER, "random: means over the controls" },
        { "exact", "exact", QK_CELL_NUMBER, "the key, whole" },
        { "truncated", "truncated", QK_CELL_NUMBER, "its beginning or end, at least half of it" },
        { "near miss", "near_miss", QK_CELL_NUMBER, "of its length, at most a quarter of it edited" },
        { "wrong length", "wrong_length", QK_CELL_NUMBER, "longer or shorter" },
        { "generic", "generic", QK_CELL_NUMBER, "another key of its length" },
        { "none", "none", QK_CELL_NUMBER, "no key at all" },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column conditions[] = {
        { "model", "model", QK_CELL_MODEL, NULL },
        { "condition", "name", QK_CELL_TEXT, NULL },
        { "q dims", "dims.q", QK_CELL_NUMBER, NULL },
        { "k dims", "dims.k", QK_CELL_NUMBER, NULL },
        { "v dims", "dims.v", QK_CELL_NUMBER, NULL },
        { "elements", "receipt.visited", QK_CELL_NUMBER, "under the masks, over all questions" },
        { "changed", "receipt.changed", QK_CELL_NUMBER, NULL },
        { "largest change", "receipt.max_abs", QK_CELL_NUMBER, NULL },
        { NULL, NULL, 0, NULL },
    };
    qk_html_tasks_sides(stream, results);
    put_answers(stream, results);
    if (json_array_size(qk_rows(results, "errors")))
        qk_html_table(stream, results, "What became of the keys", qk_rows(results, "errors"), NULL, errors);
    if (json_array_size(qk_rows(results, "tests")))
        qk_html_table(stream, results, "Against each other (the question is the unit)", qk_rows(results, "tests"), NULL,
                      tests);
    if (json_array_size(qk_rows(results, "conditions")) > results->n_models)
        qk_html_table(stream, results, "What was edited", qk_rows(results, "conditions"), NULL, conditions);
}

static void put_limits(FILE *stream, const qk_results *results)
{
    if (is_judged(results, "exact"))
        fputs("<li>They show which answers a model gives word for word. What it would say in other words, or after "
              "thinking aloud, they do not show.</li>\n"
              "<li>With the true tokens before it, a later token of an answer is easier than after a mistake; as every "
              "token must be right, the verdict is the same as that of greedy decoding. Whether a model would stop "
              "behind the answer is not asked.</li>\n", stream);
    if (qk_tasks_written(results))
        fputs("<li>Written answers are judged by rule: a right answer in other words counts as wrong, and a word of "
              "the answer said by chance as right. An unparsed answer shows that the form broke, which is not the same "
              "as knowing less.</li>\n", stream);
    fputs("<li>Intervals and tests take each question as one independent draw of its category. Questions made from "
          "few patterns are more alike than that.</li>\n"
          "<li>The mean over categories weighs a small category like a large one; pooled accuracy weighs "
          "questions.</li>\n", stream);
    if (json_is_true(json_object_get(results->settings, "broken")))
        fputs(qk_field_is(results->settings, "preset", "jin")
                  ? "<li>The largest dims of each head were edited whether they stand out or not.</li>\n"
                  : "<li>Means are those of the calibration documents; the random controls are zeroed, so that the arm "
                    "with means has no control of its own.</li>\n", stream);
    if (json_is_true(json_object_get(results->settings, "broken")))
        fputs("<li>Near the floor and the ceiling little can be lost: compare what is lost with the corrected accuracy "
              "that there was to lose.</li>\n", stream);
    if (json_is_true(json_object_get(results->settings, "cut_left")))
        fputs("<li>Prompts that did not fit lost their start, and with it maybe what they asked for.</li>\n", stream);
}

static void put_naive(FILE *stream, const qk_results *results) { (void)stream, (void)results; }

const qk_study_page qk_tasks_page = {
    "What does the model know, and what does it find?", put_question, put_findings, put_tables, put_limits, put_naive,
};
