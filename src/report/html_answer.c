/* html_answer.c - what the studies of one page say together: does a model find things by massive values, and does it
 * still find them at four times its context? */
#include <math.h>
#include <string.h>

#include "report/html.h"
#include "report/plot.h"
#include "report/tasks_view.h"

#define FOUR_TIMES 4.0

/* ---- what there is to speak of */

static const qk_results *find_study(const qk_part *parts, size_t n_parts, qk_study_kind study, const char *rows)
{
    for (size_t i = 0; i < n_parts; i++) {
        const qk_results *results = parts[i].results;
        if (results->study == study && json_array_size(qk_rows(results, rows))) return results;
    }
    return NULL;
}

static const qk_results *find_tasks(const qk_part *parts, size_t n_parts)
{
    const qk_results *tasks = find_study(parts, n_parts, QK_STUDY_TASKS, "kinds");
    return tasks && json_is_true(json_object_get(tasks->settings, "broken")) ? tasks : NULL;
}

static const qk_results *find_context(const qk_part *parts, size_t n_parts)
{
    const qk_results *broken = find_study(parts, n_parts, QK_STUDY_CONTEXT, "broken");
    return broken ? broken : find_study(parts, n_parts, QK_STUDY_CONTEXT, "retrieval");
}

bool qk_html_has_answer(const qk_part *parts, size_t n_parts)
{
    return find_study(parts, n_parts, QK_STUDY_CONTEXT, "broken") ||
           (find_tasks(parts, n_parts) && find_context(parts, n_parts));
}

static const char *hash_of(const qk_results *results, size_t model)
{
    return qk_field_text(json_array_get(qk_rows(results, "models"), model), "sha256");
}

/* The same weights under the same name; SIZE_MAX where the other study did not look at them. */
static size_t same_model(const qk_results *in, const qk_results *of, size_t model)
{
    for (size_t m = 0; m < in->n_models; m++)
        if (strcmp(in->models[m].name, of->models[model].name) == 0 && strcmp(hash_of(in, m), hash_of(of, model)) == 0)
            return m;
    return SIZE_MAX;
}

/* ---- by massive values? */

static bool is_told(const json_t *test)
{
    double p = test ? qk_field_number(test, "log10_p_holm") : NAN;
    return isfinite(p) && p < log10(0.05);
}

static const json_t *find_test(const qk_results *tasks, size_t model, const char *first, const char *second)
{
    const json_t *rows = qk_rows(tasks, "tests");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *conditions = json_object_get(row, "conditions");
        if (qk_field_is(row, "contrast", "conditions") && qk_field_is(row, "comparison", "contextual") &&
            (size_t)json_integer_value(json_array_get(json_object_get(row, "models"), 0)) == model &&
            strcmp(json_string_value(json_array_get(conditions, 0)), first) == 0 &&
            strcmp(json_string_value(json_array_get(conditions, 1)), second) == 0)
            return row;
    }
    return NULL;
}

static void put_share(FILE *stream, const json_t *row)
{
    double ci[2];
    qk_field_pair(ci, row, "ci95");
    qk_html(stream, "%g\u00a0%%", 100 * qk_field_number(row, "accuracy"));
    if (isfinite(ci[0]) && isfinite(ci[1])) qk_html(stream, " [%g, %g]", 100 * ci[0], 100 * ci[1]);
}

static void put_p(FILE *stream, const json_t *test)
{
    double p = qk_field_number(test, "log10_p_holm");
    char text[32];
    if (*qk_field_text(test, "refused")) {
        qk_html(stream, " (not tested: %s)", qk_field_text(test, "refused"));
    } else if (isfinite(p)) {
        qk_format_number(text, pow(10, p), 2);
        qk_html(stream, " (%s, %s%s after Holm)", qk_field_text(test, "name"),
                p < -300 ? "p below " : "p = ", p < -300 ? "1e-300" : text);
    }
}

/* Yes only where zeroing costs answers, and more than as many random dims cost. */
static void put_verdict(FILE *stream, const json_t *lost, const json_t *special)
{
    double change = lost ? qk_field_number(lost, "estimate") : NAN;
    double more = special ? qk_field_number(special, "estimate") : NAN;
    if (!is_told(lost))
        fputs("<b>It is not shown</b> that they are needed: zeroing them cannot be told apart from leaving them",
              stream);
    else if (change > 0)
        fputs("<b>No</b>: with them broken it finds more", stream);
    else if (!special)
        fputs("<b>It needs them</b>, but whether more than other dims was not asked: there is no random control",
              stream);
    else if (is_told(special) && more < 0)
        fputs("<b>Yes</b>: zeroing them costs answers, and more than zeroing as many random dims", stream);
    else
        fputs("<b>It is not shown that it is they</b>: zeroing them costs answers, but not more than as many "
              "random dims",
              stream);
    if (lost) put_p(stream, lost);
    if (lost && special && is_told(lost)) {
        fputs("; against random", stream);
        put_p(stream, special);
    }
    fputs(".", stream);
}

static void put_by_massive(FILE *stream, const qk_results *tasks, size_t model)
{
    static const char *const conditions[] = { "baseline", "massive", "mean", "random" };
    const json_t *base = qk_find_answers(tasks, "kinds", model, "baseline", "kind", "contextual");
    double ci[2] = { NAN, NAN }, level = base ? qk_field_number(base, "most_common") : NAN;
    fputs("<li>Does it find by massive values what its prompt says? ", stream);
    if (!base) {
        fputs("Not asked: there were no contextual questions.</li>\n", stream);
        return;
    }
    qk_field_pair(ci, base, "ci95");
    if (!qk_find_answers(tasks, "kinds", model, "massive", "kind", "contextual")) {
        fputs("<b>It was not broken</b>: by the criterion of that study nothing in it is massive. ", stream);
    } else if (!(ci[0] > level)) {
        qk_html(stream,
                "<b>Not to be asked</b>: as it is, it is not shown to answer more than somebody who always says "
                "what is right most often (%g\u00a0%%). ",
                100 * level);
    } else {
        put_verdict(stream, find_test(tasks, model, "baseline", "massive"),
                    find_test(tasks, model, "random", "massive"));
        fputc(' ', stream);
    }
    fputs("Contextual questions right: ", stream);
    for (size_t c = 0, n = 0; c < sizeof conditions / sizeof *conditions; c++) {
        const json_t *row = qk_find_answers(tasks, "kinds", model, conditions[c], "kind", "contextual");
        if (!row) continue;
        qk_html(stream, n++ ? "; %s " : "%s ", qk_condition_words(tasks, conditions[c]));
        put_share(stream, row);
    }
    qk_html(stream, ", of %g (95\u00a0%% intervals).</li>\n", qk_field_number(base, "questions"));
}

/* ---- still at four times? */

static const json_t *key_row(const qk_results *context, size_t model, const char *method, double stretch)
{
    const json_t *rows = qk_rows(context, "retrieval");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_is(row, "task", "pass_key") && qk_field_index(row, "model") == model &&
            (!method || qk_field_is(row, "method", method)) && qk_field_number(row, "stretch") == stretch)
            return row;
    }
    return NULL;
}

/* Four times, or else the longest length beyond the trained context; NaN where there is none. */
static double far_stretch(const qk_results *context, size_t model)
{
    const json_t *rows = qk_rows(context, "retrieval");
    double longest = NAN;
    if (key_row(context, model, NULL, FOUR_TIMES)) return FOUR_TIMES;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double stretch = qk_field_number(row, "stretch");
        if (qk_field_is(row, "task", "pass_key") && qk_field_index(row, "model") == model && stretch > 1 &&
            !(stretch <= longest))
            longest = stretch;
    }
    return longest;
}

/* Difference of two independent shares with its 95 % interval from theirs (square and add: Newcombe 1998). */
static void difference(double out[3], const json_t *from, const json_t *to)
{
    double a = qk_field_number(from, "accuracy"), b = qk_field_number(to, "accuracy"), in_a[2], in_b[2];
    qk_field_pair(in_a, from, "ci95");
    qk_field_pair(in_b, to, "ci95");
    out[0] = b - a;
    out[1] = out[0] - hypot(b - in_b[0], in_a[1] - a);
    out[2] = out[0] + hypot(in_b[1] - b, a - in_a[0]);
}

/* A row of broken[] or broken_tests[] about an arm's length. */
static const json_t *broken_row(const qk_results *context, const char *array, const json_t *of, const char *condition,
                                const char *against)
{
    const json_t *rows = qk_rows(context, array);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_index(row, "arm") == qk_field_index(of, "arm") &&
            qk_field_number(row, "stretch") == qk_field_number(of, "stretch") &&
            qk_field_is(row, "condition", condition) && (!against || qk_field_is(row, "against", against)))
            return row;
    }
    return NULL;
}

/* Are the keys of `whole` found by massive values? */
static void put_keys_by_massive(FILE *stream, const qk_results *context, const json_t *whole)
{
    static const char *const conditions[] = { "massive", "mean", "random" };
    size_t n = 0;
    if (!broken_row(context, "broken", whole, "massive", NULL) || !(qk_field_number(whole, "right") > 0)) return;
    fputs(" By massive values? ", stream);
    put_verdict(stream, broken_row(context, "broken_tests", whole, "massive", "baseline"),
                broken_row(context, "broken_tests", whole, "massive", "random"));
    for (size_t c = 0; c < sizeof conditions / sizeof *conditions; c++) {
        const json_t *row = broken_row(context, "broken", whole, conditions[c], NULL);
        if (!row) continue;
        qk_html(stream, n++ ? "; %s " : " With %s ", qk_condition_words(context, conditions[c]));
        put_share(stream, row);
    }
    if (n) fputs(".", stream);
}

static const char *how_many(const json_t *row)
{
    double ci[2];
    qk_field_pair(ci, row, "ci95");
    if (qk_field_number(row, "right") == 0) return "none was found";
    return ci[0] > 0.5 ? "most are found" : "some are found";
}

static void put_method(FILE *stream, const qk_results *context, const json_t *home, const json_t *far)
{
    double change[3];
    qk_html(stream, "<li><b>%s</b>: %s, %g of %g, ",
            qk_field_is(far, "method", "none") ? "as trained" : qk_field_text(far, "method"), how_many(far),
            qk_field_number(far, "right"), qk_field_number(far, "n"));
    put_share(stream, far);
    if (home) {
        difference(change, home, far);
        qk_html(stream,
                change[2] < 0   ? "; fewer than within its context by %g points [%g, %g]"
                : change[1] > 0 ? "; more than within its context by %g points [%g, %g]"
                                : "; not told apart from within its context: %g points [%g, %g]",
                change[2] < 0 ? -100 * change[0] : 100 * change[0], change[2] < 0 ? -100 * change[2] : 100 * change[1],
                change[2] < 0 ? -100 * change[1] : 100 * change[2]);
    }
    fputs(".", stream);
    put_keys_by_massive(stream, context, far);
    fputs("</li>\n", stream);
}

static void put_still(FILE *stream, const qk_results *context, size_t model)
{
    const json_t *rows = qk_rows(context, "retrieval"), *home = key_row(context, model, NULL, 1);
    double stretch = far_stretch(context, model);
    if (isnan(stretch)) {
        fputs("<li>Does it still find beyond its context? <b>Not asked</b>: no pass key was hidden there.</li>\n",
              stream);
        return;
    }
    qk_html(stream, "<li>Does it still find at %g times its context? ", stretch);
    if (home) {
        fputs("Within one trained context it finds ", stream);
        put_share(stream, home);
        qk_html(stream, " of %g pass keys", qk_field_number(home, "n"));
        if (qk_field_number(home, "right") == 0) fputs(": <b>there is nothing that could be kept</b>", stream);
        fputs(".", stream);
        put_keys_by_massive(stream, context, home);
        fputs(" ", stream);
    }
    qk_html(stream, "At %g times:\n<ul>\n", stretch);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_is(row, "task", "pass_key") && qk_field_index(row, "model") == model &&
            qk_field_number(row, "stretch") == stretch)
            put_method(stream, context, home, row);
    }
    fputs("</ul></li>\n", stream);
}

/* ---- the section */

static void put_limits(FILE *stream, const qk_results *tasks, const qk_results *context)
{
    fputs("<p class=\"small\">", stream);
    if (tasks)
        fputs("The questions were put to the models as they are and with dims broken, within their context. ", stream);
    if (json_array_size(qk_rows(context, "broken")))
        fputs(
            "Broken and whole were asked for the same pass keys; masks come from text within the trained context, and "
            "the same dims are broken at every length. Zeroing takes away what is constant in a dim, too; the "
            "mean keeps it. ",
            stream);
    else
        fputs("Beyond it the pass keys were asked of the models as they are: that massive values carry what is found "
              "there, "
              "too, these studies do not show (<code>context --conditions</code> asks). ",
              stream);
    fputs("Each method's interval is for itself: of many methods one looks better than it is. Differences from the "
          "trained context compare other prompts (Newcombe's interval of two independent shares).</p>\n",
          stream);
}

void qk_html_answer(FILE *stream, const qk_part *parts, size_t n_parts)
{
    const qk_results *tasks = find_tasks(parts, n_parts), *context = find_context(parts, n_parts);
    fputs(
        "<section id=\"answer\">\n<h2>Does it find things by massive values, and does it still find them at four times "
        "its context?</h2>\n<p>Put together from what is below, which says more. \u201cYes\u201d stands where tests "
        "say "
        "so at 5\u00a0% after their study's correction for many tests; brackets are 95\u00a0% intervals.</p>\n",
        stream);
    for (size_t m = 0; m < context->n_models; m++) {
        size_t in_tasks = tasks ? same_model(tasks, context, m) : SIZE_MAX;
        qk_html(stream, "<h3>%s</h3>\n<ul>\n", context->models[m].name);
        if (in_tasks != SIZE_MAX)
            put_by_massive(stream, tasks, in_tasks);
        else if (tasks)
            fputs(
                "<li>Does it find by massive values what its prompt says? <b>Not asked</b>: the questions were put to "
                "other weights.</li>\n",
                stream);
        put_still(stream, context, m);
        fputs("</ul>\n", stream);
    }
    put_limits(stream, tasks, context);
    fputs("</section>\n", stream);
}
