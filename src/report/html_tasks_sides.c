/* html_tasks_sides.c - the table that answers the third experiment: what each model gets right as it is and broken,
 * category by category, models under one another, conditions side by side. */
#include <math.h>
#include <string.h>

#include "report/html.h"
#include "report/tasks_view.h"

typedef struct sides {
    const qk_results *results;
    qk_shown_condition shown[QK_SHOWN_CONDITIONS];
    size_t n_shown;
    bool written; /* some text was written: unparsed ones are counted */
} sides;

bool qk_tasks_written(const qk_results *results)
{
    const json_t *rows = qk_rows(results, "categories");
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (json_is_number(json_object_get(json_array_get(rows, i), "unparsed"))) return true;
    return false;
}

/* "83.3 %", below it "72 to 90.7" */
static void put_share(FILE *stream, const json_t *row, const char *share, const char *interval)
{
    double ci[2], value = 100 * qk_field_number(row, share);
    if (!row || isnan(value)) {
        fputs("<td class=\"n\">\u2013</td>", stream);
        return;
    }
    qk_field_pair(ci, row, interval);
    fprintf(stream, "<td class=\"n\" data-v=\"%.17g\">", value);
    qk_html(stream, "<b>%g\u00a0%%</b>", value);
    if (isfinite(ci[0]) && isfinite(ci[1])) qk_html(stream, "<br>%g to %g", 100 * ci[0], 100 * ci[1]);
    fputs("</td>", stream);
}

/* How many were unparsed under each condition, "3 / 0 / 1". */
static void put_unparsed(FILE *stream, const sides *s, const char *array, size_t model, const char *field,
                         const char *value)
{
    fputs("<td class=\"n\">", stream);
    for (size_t c = 0; c < s->n_shown; c++) {
        const json_t *row = qk_find_answers(s->results, array, model, s->shown[c].name, field, value);
        double n = row ? qk_field_number(row, "unparsed") : NAN;
        if (c > 0) fputs(" / ", stream);
        if (isnan(n)) fputs("\u2013", stream);
        else qk_html(stream, "%g", n);
    }
    fputs("</td>", stream);
}

/* One row a model: of a category, or of the mean over those of a kind. */
static void put_rows(FILE *stream, const sides *s, const char *kind, const char *category)
{
    const char *array = category ? "categories" : "kinds", *field = category ? "category" : "kind";
    const char *value = category ? category : kind;
    for (size_t m = 0; m < s->results->n_models; m++) {
        if (!qk_find_answers(s->results, array, m, "baseline", field, value)) continue;
        qk_html(stream, "<tr><td>%s</td><td>%s</td><td>%s</td>", kind, category ? category : "all, their mean",
                s->results->models[m].name);
        for (size_t c = 0; c < s->n_shown; c++)
            put_share(stream, qk_find_answers(s->results, array, m, s->shown[c].name, field, value),
                      category ? "accuracy" : "macro", category ? "ci95" : "macro_ci95");
        if (s->written) put_unparsed(stream, s, array, m, field, value);
        fputs("</tr>\n", stream);
    }
}

void qk_html_tasks_sides(FILE *stream, const qk_results *results)
{
    static const char *const kinds[] = { "parametric", "contextual" };
    const json_t *rows = qk_rows(results, "categories");
    sides s = { .results = results, .written = qk_tasks_written(results) };
    s.n_shown = qk_conditions_shown(s.shown, results);
    fputs("<div class=\"scroll\"><table class=\"sortable\"><caption>Right answers, as it is and broken, side by side "
          "(95\u00a0% intervals)</caption><thead><tr><th scope=\"col\">kind</th><th scope=\"col\">category</th>"
          "<th scope=\"col\">model</th>", stream);
    for (size_t c = 0; c < s.n_shown; c++) qk_html(stream, "<th scope=\"col\" class=\"n\">%s</th>", s.shown[c].words);
    if (s.written)
        fputs("<th scope=\"col\" class=\"n\" title=\"under each of these conditions; counted as wrong\">unparsed</th>",
              stream);
    fputs("</tr></thead>\n<tbody>\n", stream);
    for (int k = 0; k < 2; k++) {
        put_rows(stream, &s, kinds[k], NULL);
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i);
            if (qk_field_index(row, "model") == 0 && qk_field_is(row, "condition", "baseline") &&
                qk_field_is(row, "kind", kinds[k]))
                put_rows(stream, &s, kinds[k], qk_field_text(row, "category"));
        }
    }
    fputs("</tbody></table></div>\n", stream);
}
