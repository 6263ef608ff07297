/* tasks_view.c - the conditions that questions were asked under, as readers see them. */
#include "report/tasks_view.h"

#include <string.h>

#include "report/plot.h"

static const qk_shown_condition conditions[QK_SHOWN_CONDITIONS] = {
    { "baseline", "as it is" },
    { "massive", "massive zeroed" },
    { "mean", "massive at their mean" },
    { "random", "random zeroed" },
};

/* Under --preset jin both are means over the prompt. */
static const qk_shown_condition conditions_of_jin[QK_SHOWN_CONDITIONS] = {
    { "baseline", "as it is" },
    { "massive", "massive at their mean" },
    { "mean", "mean" },
    { "random", "random at their mean" },
};

static const qk_shown_condition *conditions_of(const qk_results *results)
{
    return results && qk_field_is(results->settings, "preset", "jin") ? conditions_of_jin : conditions;
}

static bool was_asked(const qk_results *results, const char *condition)
{
    const json_t *rows = qk_rows(results, "kinds");
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (qk_field_is(json_array_get(rows, i), "condition", condition)) return true;
    return false;
}

size_t qk_conditions_shown(qk_shown_condition shown[QK_SHOWN_CONDITIONS], const qk_results *results)
{
    size_t n = 0;
    for (size_t c = 0; c < QK_SHOWN_CONDITIONS; c++)
        if (was_asked(results, conditions[c].name)) shown[n++] = conditions_of(results)[c];
    return n;
}

const char *qk_condition_words(const qk_results *results, const char *name)
{
    const qk_shown_condition *known = conditions_of(results);
    for (size_t c = 0; c < QK_SHOWN_CONDITIONS; c++)
        if (strcmp(known[c].name, name) == 0) return known[c].words;
    return name;
}

const json_t *qk_find_answers(const qk_results *results, const char *array, size_t model, const char *condition,
                              const char *field, const char *value)
{
    const json_t *rows = qk_rows(results, array);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_index(row, "model") == model && qk_field_is(row, "condition", condition) &&
            qk_field_is(row, field, value))
            return row;
    }
    return NULL;
}

void qk_draw_condition(qk_figure *figure, double x, double y, const char *condition, uint32_t colour,
                       const char *title)
{
    const qk_paint open = { UINT32_C(0xFFFFFF), colour, 1, 1.6, false };
    if (strcmp(condition, "massive") == 0) qk_draw_dot(figure, x, y, 6.5, open, title);
    else if (strcmp(condition, "mean") == 0) qk_draw_rect(figure, x - 3, y - 3, 6, 6, open, title);
    else if (strcmp(condition, "random") == 0) qk_draw_dot(figure, x, y, 4, qk_fill(colour, 0.7), title);
    else qk_draw_dot(figure, x, y, 7, qk_fill(colour, 1), title);
}

double qk_draw_condition_legend(qk_figure *figure, const qk_results *results, double left, double top)
{
    qk_shown_condition shown[QK_SHOWN_CONDITIONS];
    size_t n = qk_conditions_shown(shown, results);
    if (n < 2) return 0;
    for (size_t c = 0; c < n; c++) {
        qk_draw_condition(figure, left + 5, top + 5, shown[c].name, QK_GREY, NULL);
        qk_draw_text(figure, left + 14, top + 9, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_START, shown[c].words);
        left += 34 + qk_text_width(shown[c].words, QK_SIZE_LABEL);
    }
    return 16;
}
