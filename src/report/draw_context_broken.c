/* draw_context_broken.c - pass keys found with dims broken, beside the same keys as the model is. */
#include <math.h>
#include <string.h>

#include "report/plot.h"
#include "report/tasks_view.h"

enum { LABELS_WIDTH = 190, LANE = 11, MAX_PLACES = 48 };

static const char *const conditions[] = { "baseline", "massive", "mean", "random" };
enum { N_CONDITIONS = sizeof conditions / sizeof *conditions };

/* An arm at a length: the row of retrieval[], and one of broken[] for each condition (NULL where there is none). */
typedef struct place {
    const json_t *rows[N_CONDITIONS];
} place;

static const json_t *find_broken(const qk_results *results, const json_t *whole, const char *condition)
{
    const json_t *rows = qk_rows(results, "broken");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_index(row, "arm") == qk_field_index(whole, "arm") && qk_field_is(row, "condition", condition) &&
            qk_field_number(row, "stretch") == qk_field_number(whole, "stretch"))
            return row;
    }
    return NULL;
}

/* Up to the trained context a model's methods are one: its first arm is drawn. */
static bool is_told(const qk_results *results, const json_t *row)
{
    const json_t *methods = qk_rows(results, "methods");
    size_t arm = qk_field_index(row, "arm");
    const json_t *own = json_array_get(methods, arm);
    if (qk_field_number(row, "length") > qk_field_number(own, "trained") || arm == 0) return true;
    return qk_field_index(json_array_get(methods, arm - 1), "model") != qk_field_index(row, "model");
}

/* Places where some condition finds a key; returns how many there are, of which at most MAX_PLACES are taken. */
static size_t find_places(place places[MAX_PLACES], const qk_results *results)
{
    const json_t *rows = qk_rows(results, "retrieval");
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        place p = { { row } };
        double most = qk_field_number(row, "right");
        if (!qk_field_is(row, "task", "pass_key") || !is_told(results, row)) continue;
        for (size_t c = 1; c < N_CONDITIONS; c++) {
            p.rows[c] = find_broken(results, row, conditions[c]);
            if (p.rows[c]) most = fmax(most, qk_field_number(p.rows[c], "right"));
        }
        if (!p.rows[1] || !(most > 0)) continue;
        if (n < MAX_PLACES) places[n] = p;
        n++;
    }
    return n;
}

static void draw_condition(qk_figure *figure, const qk_panel *panel, const json_t *row, const char *condition,
                           const char *where, uint32_t colour, double y)
{
    double ci[2], share = 100 * qk_field_number(row, "accuracy"), x = qk_scale_map(&panel->x, share);
    char text[32];
    qk_field_pair(ci, row, "ci95");
    if (isnan(x)) return;
    qk_format_number(text, share, 3);
    qk_plot_whisker(figure, panel, y, 100 * ci[0], 100 * ci[1], true, colour);
    qk_draw_condition(figure, x, y, condition, colour,
                      qk_figure_text(figure, "%s, %s: %s %% of %zu keys (95 %% interval %.3g to %.3g)", where,
                                     qk_condition_words(NULL, condition), text, qk_field_index(row, "n"), 100 * ci[0],
                                     100 * ci[1]));
    qk_draw_text(figure, panel->left + panel->width + 8, y + 3.5, QK_SIZE_TICK, colour, QK_ANCHOR_START,
                 qk_figure_text(figure, "%s %%", text));
}

static void draw_place(qk_figure *figure, const qk_panel *panel, const qk_results *results, const place *p, double top,
                       double height)
{
    const json_t *whole = p->rows[0];
    const json_t *arm = json_array_get(qk_rows(results, "methods"), qk_field_index(whole, "arm"));
    bool home = !(qk_field_number(whole, "length") > qk_field_number(arm, "trained"));
    size_t model = qk_field_index(whole, "model");
    const char *name = home                    ? results->models[model].name
                       : results->n_models > 1 ? qk_field_text(arm, "name")
                                               : qk_field_text(arm, "method");
    const char *where = qk_figure_text(figure, "%.120s, %gx", name, qk_field_number(whole, "stretch"));
    qk_draw_line(figure, panel->left, top + height, panel->left + panel->width, top + height, qk_stroke(QK_GRID, 0.5));
    qk_draw_text(figure, panel->left - 10, top + height / 2 + 3.5, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_END,
                 qk_figure_fit(figure, where, QK_SIZE_LABEL, LABELS_WIDTH - 20));
    double y = top + 10;
    for (size_t c = 0; c < N_CONDITIONS; c++) {
        if (!p->rows[c]) continue;
        draw_condition(figure, panel, p->rows[c], conditions[c], where, qk_model_colours[model], y);
        y += LANE;
    }
}

static void draw_legend(qk_figure *figure, const place *p, double left, double top)
{
    for (size_t c = 0; c < N_CONDITIONS; c++) {
        if (!p->rows[c]) continue;
        qk_draw_condition(figure, left + 5, top + 5, conditions[c], QK_GREY, NULL);
        qk_draw_text(figure, left + 14, top + 9, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_START,
                     qk_condition_words(NULL, conditions[c]));
        left += 34 + qk_text_width(qk_condition_words(NULL, conditions[c]), QK_SIZE_LABEL);
    }
}

qk_status qk_draw_context_broken(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    place places[MAX_PLACES];
    size_t n = find_places(places, results), n_lanes = 0;
    if (n == 0 && json_array_size(qk_rows(results, "broken")))
        qk_drawing_note(drawing, "No pass key was found under any condition: there is nothing to draw of broken dims.");
    if (n > MAX_PLACES)
        qk_drawing_note(drawing, "Of %zu methods and lengths with broken dims the first %d are drawn.", n, MAX_PLACES);
    if (n == 0) return QK_OK;
    if (n > MAX_PLACES) n = MAX_PLACES;
    qk_figure *figure = qk_drawing_add(drawing, "context-broken", "One pass key, with massive dims broken");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    for (size_t c = 0; c < N_CONDITIONS; c++) n_lanes += places[0].rows[c] != NULL;
    double height = 9 + LANE * (double)n_lanes, top = 32;
    draw_legend(figure, &places[0], 12, 8);
    qk_panel panel = { .x = qk_scale_linear(0, 100), .x_label = "found (%)", .no_y = true };
    qk_panel_place(&panel, LABELS_WIDTH, top, QK_FIGURE_WIDTH - LABELS_WIDTH - 72, height * (double)n + 4);
    qk_panel_draw(figure, &panel);
    for (size_t i = 0; i < n; i++) draw_place(figure, &panel, results, &places[i], top + height * (double)i, height);
    figure->height = panel.top + panel.height + 40;
    figure->description =
        qk_figure_text(figure, "The same keys as the model is and with dims of queries and keys edited, lengths in "
                               "trained contexts; 95 %% Wilson intervals over keys. Where no condition finds any, "
                               "nothing is drawn.");
    return QK_OK;
}
