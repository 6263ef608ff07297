/* draw_tasks.c - accuracy by category and by kind: models side by side, as they are and broken, beside what
 * guessing would reach. */
#include <math.h>
#include <string.h>

#include "report/plot.h"
#include "report/tasks_view.h"

enum { HEADING_HEIGHT = 24, LABELS_WIDTH = 168, MAX_CATEGORIES = 60 };

static const char *const kind_names[] = { "parametric", "contextual" };
static const char *const kind_titles[] = { "Parametric: what the model knows", "Contextual: what the prompt says" };

/* A lane for each model and condition. */
static double row_height(const qk_results *results)
{
    qk_shown_condition shown[QK_SHOWN_CONDITIONS];
    return 12 + 10 * (double)(results->n_models * qk_conditions_shown(shown, results));
}

/* Categories of the first model (all models answer the same) of one kind. */
static size_t count_categories(const qk_results *results, const char *kind)
{
    const json_t *rows = qk_rows(results, "categories");
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        n += qk_field_index(row, "model") == 0 && qk_field_is(row, "condition", "baseline") &&
             qk_field_is(row, "kind", kind);
    }
    return n;
}

/* A tick over the whole row at a share that needs no model. */
static void draw_level(qk_figure *figure, const qk_panel *panel, double share, double top, double height, bool dashed,
                       const char *what)
{
    char text[32];
    double x = qk_scale_map(&panel->x, 100 * share);
    if (isnan(x)) return;
    qk_format_number(text, 100 * share, 3);
    qk_draw_path(figure, (double[]){ x, top + 2, x, top + height - 2 }, 2, false,
                 dashed ? qk_dashes(QK_GREY, 1.2) : qk_stroke(QK_GREY, 1.2),
                 qk_figure_text(figure, "%s: %s %%", what, text));
}

/* One model's accuracy under one condition, with its interval along x. */
static void draw_model(qk_figure *figure, const qk_panel *panel, const qk_results *results, const json_t *row,
                       size_t model, double y)
{
    double ci[2], accuracy = 100 * qk_field_number(row, "accuracy"), x = qk_scale_map(&panel->x, accuracy);
    char text[32], low[32], high[32];
    uint32_t colour = qk_model_colours[model];
    qk_field_pair(ci, row, "ci95");
    if (isnan(x)) return;
    qk_format_number(text, accuracy, 3);
    qk_format_number(low, 100 * ci[0], 3);
    qk_format_number(high, 100 * ci[1], 3);
    const char *condition = qk_field_text(row, "condition");
    qk_plot_whisker(figure, panel, y, 100 * ci[0], 100 * ci[1], true, colour);
    qk_draw_condition(figure, x, y, condition, colour,
                      qk_figure_text(figure, "%s, %s, %s: %s %% of %zu questions (95 %% interval %s to %s)",
                                     results->models[model].name, qk_condition_words(results, condition),
                                     qk_field_text(row, "category"), text, qk_field_index(row, "questions"), low,
                                     high));
    qk_draw_text(figure, panel->left + panel->width + 8, y + 3.5, QK_SIZE_TICK, colour, QK_ANCHOR_START,
                 qk_figure_text(figure, "%s %%", text));
}

static void draw_category(qk_figure *figure, const qk_panel *panel, const qk_results *results, const json_t *row,
                          double top)
{
    const char *category = qk_field_text(row, "category");
    double height = row_height(results);
    qk_draw_line(figure, panel->left, top + height, panel->left + panel->width, top + height, qk_stroke(QK_GRID, 0.5));
    qk_draw_text(figure, panel->left - 10, top + height / 2 + 3.5, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_END,
                 qk_figure_fit(figure, category, QK_SIZE_LABEL, LABELS_WIDTH - 30));
    if (qk_last_mark(figure)) qk_last_mark(figure)->title = qk_figure_text(figure, "%s", category);
    draw_level(figure, panel, qk_field_number(row, "chance"), top, height, false, "guessing among the choices");
    draw_level(figure, panel, qk_field_number(row, "most_common"), top, height, true,
               "always the most frequent answer");
    qk_shown_condition shown[QK_SHOWN_CONDITIONS];
    size_t n = qk_conditions_shown(shown, results);
    for (size_t i = 0; i < n * results->n_models; i++) {
        size_t m = i / n;
        const json_t *answers = qk_find_answers(results, "categories", m, shown[i % n].name, "category", category);
        if (answers) draw_model(figure, panel, results, answers, m, top + 11 + 10 * (double)i);
    }
}

static void draw_kind(qk_figure *figure, const qk_panel *panel, const qk_results *results, int kind, double *top)
{
    const json_t *rows = qk_rows(results, "categories");
    if (count_categories(results, kind_names[kind]) == 0) return;
    qk_draw_text(figure, 12, *top + 16, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_START, kind_titles[kind]);
    if (qk_last_mark(figure)) qk_last_mark(figure)->bold = true;
    *top += HEADING_HEIGHT;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_index(row, "model") != 0 || !qk_field_is(row, "kind", kind_names[kind]) ||
            !qk_field_is(row, "condition", "baseline"))
            continue;
        draw_category(figure, panel, results, row, *top);
        *top += row_height(results);
    }
}

qk_status qk_draw_accuracy(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    size_t n[2] = { count_categories(results, kind_names[0]), count_categories(results, kind_names[1]) };
    if (n[0] + n[1] == 0 || n[0] + n[1] > MAX_CATEGORIES) {
        qk_drawing_note(drawing, "%zu categories: accuracy by category is drawn for 1 to %d.", n[0] + n[1],
                        MAX_CATEGORIES);
        return QK_OK;
    }
    qk_figure *figure = qk_drawing_add(drawing, "accuracy", "Right answers by category");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    double top = 14 + qk_draw_model_legend(figure, results, 12, 10, QK_FIGURE_WIDTH - 24);
    top += qk_draw_condition_legend(figure, results, 12, top - 4);
    double height = row_height(results) * (double)(n[0] + n[1]) + HEADING_HEIGHT * ((n[0] > 0) + (n[1] > 0));
    qk_panel panel = { .x = qk_scale_linear(0, 100), .x_label = "right answers (%)", .no_y = true };
    qk_panel_place(&panel, LABELS_WIDTH, top, QK_FIGURE_WIDTH - LABELS_WIDTH - 72, height + 4);
    qk_panel_draw(figure, &panel);
    for (int kind = 0; kind < 2; kind++) draw_kind(figure, &panel, results, kind, &top);
    figure->height = panel.top + panel.height + 40;
    figure->description =
        qk_figure_text(figure, "Share of right answers in each category, with 95 %% Wilson intervals over questions; "
                               "open marks: with massive dims broken; small ones: mean over the random controls. "
                               "Dashed: always giving the most frequent answer; solid grey: guessing among the "
                               "choices, where a question has some.");
    return QK_OK;
}

/* ---- contextual against parametric: the two kinds side by side, a line a model over the conditions */

/* One model in one panel; its marks stand a little aside from those of the others. */
static void draw_kind_line(qk_figure *figure, const qk_panel *panel, const qk_results *results, size_t model,
                           const char *kind, const qk_shown_condition *shown, size_t n)
{
    double x[QK_SHOWN_CONDITIONS], y[QK_SHOWN_CONDITIONS], ci[2];
    uint32_t colour = qk_model_colours[model];
    for (size_t c = 0; c < n; c++) {
        const json_t *row = qk_find_answers(results, "kinds", model, shown[c].name, "kind", kind);
        x[c] = (double)c + 0.09 * ((double)model - 0.5 * (double)(results->n_models - 1));
        y[c] = 100 * qk_field_number(row, "macro");
    }
    qk_plot_line(figure, panel, x, y, n, qk_stroke(colour, 0.8));
    for (size_t c = 0; c < n; c++) {
        const json_t *row = qk_find_answers(results, "kinds", model, shown[c].name, "kind", kind);
        double px = qk_scale_map(&panel->x, x[c]), py = qk_scale_map(&panel->y, y[c]);
        char text[32];
        if (!row || isnan(py)) continue;
        qk_field_pair(ci, row, "macro_ci95");
        qk_format_number(text, y[c], 3);
        qk_plot_whisker(figure, panel, px, 100 * ci[0], 100 * ci[1], false, colour);
        qk_draw_condition(figure, px, py, shown[c].name, colour,
                          qk_figure_text(figure, "%s, %s, %s questions: %s %% right on average over categories",
                                         results->models[model].name, shown[c].words, kind, text));
    }
}

static void draw_kind_panel(qk_figure *figure, const qk_results *results, int kind, double left, double top,
                            double width, const qk_shown_condition *shown, size_t n)
{
    qk_panel panel = { .x = { .low = -0.5, .high = (double)n - 0.5 }, .y = qk_scale_linear(0, 100), .no_x = true,
                       .title = kind_titles[kind], .y_label = kind ? NULL : "right answers (%), mean over categories" };
    qk_panel_place(&panel, left, top, width, 220);
    qk_panel_draw(figure, &panel);
    for (size_t c = 0; c < n; c++) {
        const char *words = shown[c].words, *space = strchr(words, ' ');
        double x = qk_scale_map(&panel.x, (double)c), y = top + 234;
        size_t first = space ? (size_t)(space - words) : strlen(words);
        qk_draw_text(figure, x, y, QK_SIZE_TICK, QK_INK, QK_ANCHOR_MIDDLE,
                     qk_figure_text(figure, "%.*s", (int)first, words));
        if (space) qk_draw_text(figure, x, y + 12, QK_SIZE_TICK, QK_INK, QK_ANCHOR_MIDDLE, space + 1);
    }
    for (size_t m = 0; m < results->n_models; m++)
        draw_kind_line(figure, &panel, results, m, kind_names[kind], shown, n);
}

qk_status qk_draw_kinds(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    qk_shown_condition shown[QK_SHOWN_CONDITIONS];
    size_t n = qk_conditions_shown(shown, results), n_kinds = 0;
    bool has[2];
    for (int k = 0; k < 2; k++) n_kinds += has[k] = count_categories(results, kind_names[k]) > 0;
    if (n < 2 || n_kinds == 0) return QK_OK; /* nothing was broken: the accuracies by category say it all */
    qk_figure *figure = qk_drawing_add(drawing, "kinds", "Contextual against parametric");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    double top = 34 + qk_draw_model_legend(figure, results, 12, 10, QK_FIGURE_WIDTH - 24);
    top += qk_draw_condition_legend(figure, results, 12, top - 24);
    double left = 56, width = (QK_FIGURE_WIDTH - left - 12 - 40 * (double)(n_kinds - 1)) / (double)n_kinds;
    for (int k = 0; k < 2; k++) {
        if (!has[k]) continue;
        draw_kind_panel(figure, results, k, left, top, width, shown, n);
        left += width + 40;
    }
    figure->height = top + 264;
    figure->description =
        qk_figure_text(figure, "Right answers to what the model must know and to what only its prompt says, as it is, "
                               "with massive dims broken, and with as many random dims zeroed (mean over the "
                               "controls). Mean over categories; 95 %% intervals of that mean.");
    return QK_OK;
}
