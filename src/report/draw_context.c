/* draw_context.c - beyond the trained context: loss by length and position, keys found by length, maps over depth. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/draw.h"
#include "report/plot.h"

enum { LEFT = 58, LABELS = 176, HEIGHT = 250, MAX_POINTS = 256, MAX_ARMS = 64, CELLS = 16 };

static size_t count_arms(const qk_results *results)
{
    size_t n = json_array_size(qk_rows(results, "methods"));
    return n < MAX_ARMS ? n : MAX_ARMS;
}

/* One colour a method whatever the arms; other models than the first are dashed. */
static uint32_t colour_of(const qk_results *results, size_t arm)
{
    static const struct {
        const char *method;
        uint32_t colour;
    } colours[] = {
        { "none", 0x777777 },      { "crop", 0x000000 },        { "linear", 0xD55E00 }, { "ntk", 0xE69F00 },
        { "ntk-parts", 0x56B4E9 }, { "dynamic", 0xCC79A7 },     { "yarn", 0x0072B2 },   { "llama3", 0x009E73 },
        { "longrope", 0x7A5195 },  { "temperature", 0xC00000 },
    };
    const json_t *row = json_array_get(qk_rows(results, "methods"), arm);
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++)
        if (qk_field_is(row, "method", colours[i].method)) return colours[i].colour;
    return qk_model_colours[arm % 8];
}

static qk_paint paint_of(const qk_results *results, size_t arm)
{
    const json_t *row = json_array_get(qk_rows(results, "methods"), arm);
    double width = json_is_true(json_object_get(row, "reference")) ? 2.6 : 1.7;
    return qk_field_index(row, "model") ? qk_dashes(colour_of(results, arm), width)
                                        : qk_stroke(colour_of(results, arm), width);
}

/* What an arm is called in a figure: its method alone where there is one model. */
static const char *label_of(const qk_results *results, size_t arm)
{
    return qk_field_text(json_array_get(qk_rows(results, "methods"), arm), results->n_models > 1 ? "name" : "method");
}

/* ---- series out of rows */

typedef struct series {
    double x[MAX_POINTS], y[MAX_POINTS], low[MAX_POINTS], high[MAX_POINTS];
    size_t n;
} series;

/* Rows of an arm with key = value (a text) or, for NULL, of the length `stretch`. */
static void collect(series *s, const qk_results *results, const char *array, size_t arm, const char *key,
                    const char *value, double stretch, const char *x, const char *y)
{
    const json_t *rows = qk_rows(results, array);
    s->n = 0;
    for (size_t i = 0; i < json_array_size(rows) && s->n < MAX_POINTS; i++) {
        const json_t *row = json_array_get(rows, i);
        double ci[2];
        if (qk_field_index(row, "arm") != arm) continue;
        if (key ? !qk_field_is(row, key, value) : qk_field_number(row, "stretch") != stretch) continue;
        qk_field_pair(ci, row, "ci95");
        s->x[s->n] = qk_field_number(row, x);
        s->y[s->n] = qk_field_number(row, y);
        s->low[s->n] = ci[0];
        s->high[s->n++] = ci[1];
    }
}

typedef struct plot {
    const char *array, *key, *value, *x, *y, *x_label, *y_label;
    double stretch, scale; /* y values are drawn times `scale` */
    bool share;            /* 0 to 100 */
} plot;

static void widen(double range[2], const double *v, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) continue;
        range[0] = fmin(range[0], scale * v[i]);
        range[1] = fmax(range[1], scale * v[i]);
    }
}

/* The lengths themselves as ticks. */
static void label_lengths(qk_figure *figure, const qk_panel *panel, const series *s)
{
    char text[32];
    for (size_t i = 0; i < s->n; i++) {
        double x = qk_scale_map(&panel->x, s->x[i]), bottom = panel->top + panel->height;
        if (isnan(x)) continue;
        qk_format_number(text, s->x[i], 4);
        qk_draw_line(figure, x, bottom, x, bottom + 3, qk_stroke(QK_GREY, 0.75));
        qk_draw_text(figure, x, bottom + 14, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_MIDDLE, text);
    }
}

static void draw_arm(qk_figure *figure, const qk_panel *panel, const qk_results *results, const plot *p, series *s,
                     size_t arm)
{
    uint32_t colour = colour_of(results, arm);
    double aside = p->key ? 4 * ((double)arm - (double)(count_arms(results) - 1) / 2) : 0; /* beyond 1, arm by arm */
    for (size_t i = 0; i < s->n; i++) {
        s->y[i] *= p->scale;
        s->low[i] *= p->scale;
        s->high[i] *= p->scale;
    }
    qk_plot_line(figure, panel, s->x, s->y, s->n, paint_of(results, arm));
    for (size_t i = 0; i < s->n; i++) {
        char value[32], low[32], high[32];
        double x = qk_scale_map(&panel->x, s->x[i]), y = qk_scale_map(&panel->y, s->y[i]);
        if (isnan(x) || isnan(y)) continue;
        bool known = isfinite(s->low[i]) && isfinite(s->high[i]); /* one text alone has no interval */
        if (p->key && s->x[i] > 1) x = fmin(x + aside, panel->left + panel->width);
        if (p->key && s->x[i] > 1 && known)
            qk_plot_whisker(figure, panel, x, fmax(s->low[i], panel->y.low), fmin(s->high[i], panel->y.high), false,
                            colour);
        qk_format_number(value, s->y[i], 4);
        qk_format_number(low, s->low[i], 4);
        qk_format_number(high, s->high[i], 4);
        qk_draw_dot(figure, x, y, 5, qk_fill(colour, 1),
                    known ? qk_figure_text(figure, "%s, %g: %s (95 %% interval %s to %s)", label_of(results, arm),
                                           s->x[i], value, low, high)
                          : qk_figure_text(figure, "%s, %g: %s", label_of(results, arm), s->x[i], value));
    }
}

/* All arms in one panel with their names at the right; false where no arm has a row. */
static bool draw_panel(qk_figure *figure, const qk_results *results, const plot *p, double trained, double *top,
                       const char *title)
{
    double x[2] = { INFINITY, -INFINITY }, y[2] = { INFINITY, -INFINITY };
    qk_end_label labels[MAX_ARMS];
    size_t n_arms = count_arms(results), n_labels = 0;
    series *s = calloc(1, sizeof *s);
    if (!s) return figure->out_of_memory = true, false;
    for (size_t a = 0; a < n_arms; a++) {
        collect(s, results, p->array, a, p->key, p->value, p->stretch, p->x, p->y);
        widen(x, s->x, s->n, 1);
        widen(y, s->y, s->n, p->scale);
    }
    if (!(x[0] <= x[1])) return free(s), false;
    double height = fmax(HEIGHT, 13 * (double)n_arms);
    qk_panel panel = { .x = qk_scale_log(x[0], x[1], false),
                       .y = p->share ? qk_scale_linear(0, 100) : qk_scale_linear(y[0], y[1]),
                       .title = title,
                       .x_label = p->x_label,
                       .y_label = p->y_label,
                       .no_x = p->key };
    panel.x.low = x[0];                                                /* no room beyond the first and the last */
    panel.x.high = x[1] > x[0] ? x[1] * (p->key ? 1.1 : 1) : 2 * x[0]; /* room for whiskers set aside */
    qk_panel_place(&panel, LEFT, *top, QK_FIGURE_WIDTH - LEFT - LABELS, height);
    qk_panel_draw(figure, &panel);
    double at = qk_scale_map(&panel.x, trained);
    if (at >= panel.left && at <= panel.left + panel.width) {
        qk_draw_line(figure, at, panel.top, at, panel.top + panel.height, qk_dashes(QK_LIGHT, 1.2));
        qk_draw_text(figure, at + 4, panel.top + 10, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_START, "trained");
    }
    for (size_t a = 0; a < n_arms; a++) {
        collect(s, results, p->array, a, p->key, p->value, p->stretch, p->x, p->y);
        if (s->n == 0) continue;
        if (p->key && a == 0) label_lengths(figure, &panel, s);
        draw_arm(figure, &panel, results, p, s, a);
        labels[n_labels++] =
            (qk_end_label){ qk_scale_map(&panel.y, s->y[s->n - 1]), label_of(results, a), colour_of(results, a) };
    }
    qk_plot_end_labels(figure, &panel, labels, n_labels, LABELS - 10);
    *top += height + 62;
    free(s);
    return true;
}

/* The longest length of the losses. */
static double longest_stretch(const qk_results *results)
{
    const json_t *rows = qk_rows(results, "loss");
    double longest = 0;
    for (size_t i = 0; i < json_array_size(rows); i++)
        longest = fmax(longest, qk_field_number(json_array_get(rows, i), "stretch"));
    return longest;
}

static qk_status draw_losses(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    static const char *const protocols[] = { "truncated", "sliding" };
    static const char *const titles[] = { "Each text from its start", "A window that moves through the whole text" };
    qk_figure *figure = qk_drawing_add(drawing, "context-loss", "Loss against length");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    double top = 34;
    for (int i = 0; i < 2; i++) {
        plot p = { .array = "loss",
                   .key = "protocol",
                   .value = protocols[i],
                   .x = "stretch",
                   .y = "nll_per_token",
                   .x_label = "length (trained contexts)",
                   .y_label = "loss (nats per token)",
                   .scale = 1 };
        draw_panel(figure, results, &p, 1, &top, titles[i]);
    }
    figure->height = top;
    figure->description =
        qk_figure_text(figure, "Loss per token, all texts together. Up to the trained context every "
                               "method reads as the model was trained. Whiskers: 95 %% intervals over texts.");
    return QK_OK;
}

static qk_status draw_positions(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    double longest = longest_stretch(results), top = 34;
    plot p = { .array = "positions",
               .stretch = longest,
               .x = "to",
               .y = "nll_per_token",
               .scale = 1,
               .x_label = "position (tokens; end of a bucket)",
               .y_label = "loss (nats per token)" };
    qk_figure *figure = qk_drawing_add(drawing, "context-positions", "Loss against position");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    draw_panel(figure, results, &p, qk_field_number(results->settings, "trained"), &top, NULL);
    figure->height = top;
    figure->description = qk_figure_text(figure,
                                         "Texts of %.6g trained contexts read from their start: the loss of the "
                                         "tokens in each stretch of positions.",
                                         longest);
    return QK_OK;
}

static const struct {
    const char *task, *title;
    const char *map, *map_title;
} tasks[] = {
    { "pass_key", "One pass key in the text", "context-map-pass-key", "Keys found over length and depth: one key" },
    { "pass_keys", "A pass key at every depth, each asked for", "context-map-pass-keys",
      "Keys found over length and depth: a key at every depth" },
    { "needle", "One needle of four, asked for by its name", "context-map-needle",
      "Keys found over length and depth: one needle of four" },
};

static qk_status draw_keys(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    qk_figure *figure = qk_drawing_add(drawing, "context-keys", "Keys found against length");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    double top = 34;
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        plot p = { .array = "retrieval",
                   .key = "task",
                   .value = tasks[i].task,
                   .x = "stretch",
                   .y = "accuracy",
                   .x_label = "length (trained contexts)",
                   .y_label = "found (%)",
                   .scale = 100,
                   .share = true };
        draw_panel(figure, results, &p, 1, &top, tasks[i].title);
    }
    figure->height = top;
    figure->description = qk_figure_text(figure, "Share of keys of which every token is the likeliest, all depths "
                                                 "together. Whiskers: 95 %% Wilson intervals over keys.");
    return QK_OK;
}

qk_status qk_draw_context(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    qk_status status = QK_OK;
    if (json_array_size(qk_rows(results, "loss"))) {
        status = draw_losses(drawing, results, err);
        if (!status) status = draw_positions(drawing, results, err);
    }
    if (!status && json_array_size(qk_rows(results, "retrieval"))) status = draw_keys(drawing, results, err);
    return status;
}

/* ---- length x depth, a map an arm */

/* Distinct values of a field in the cells of a task, in their order. */
static size_t distinct(double values[CELLS], const qk_results *results, const char *task, const char *field)
{
    const json_t *rows = qk_rows(results, "cells");
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double value = qk_field_number(row, field);
        size_t k = 0;
        if (!qk_field_is(row, "task", task)) continue;
        while (k < n && values[k] != value) k++;
        if (k == n && n < CELLS) values[n++] = value;
    }
    return n;
}

static const json_t *cell_of(const qk_results *results, const char *task, size_t arm, double stretch, double depth)
{
    const json_t *rows = qk_rows(results, "cells");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_index(row, "arm") == arm && qk_field_is(row, "task", task) &&
            qk_field_number(row, "stretch") == stretch && qk_field_number(row, "depth") == depth)
            return row;
    }
    return NULL;
}

typedef struct grid {
    double lengths[CELLS], depths[CELLS], width, height;
    size_t n_lengths, n_depths;
} grid;

static void draw_cell(qk_figure *figure, const qk_results *results, const grid *g, const json_t *row, size_t arm,
                      size_t l, size_t d, double left, double top, const uint32_t *palette)
{
    double share = row ? qk_field_number(row, "accuracy") : NAN, ci[2] = { NAN, NAN };
    double x = left + (double)l * g->width, y = top + (double)d * g->height;
    char text[32];
    if (isnan(share)) {
        qk_draw_rect(figure, x, y, g->width, g->height, qk_stroke(QK_GRID, 0.75), NULL);
        return;
    }
    qk_field_pair(ci, row, "ci95");
    qk_format_number(text, 100 * share, 3);
    qk_draw_rect(figure, x, y, g->width, g->height, qk_fill(palette[lround(255 * share)], 1),
                 qk_figure_text(figure,
                                "%s, %g trained contexts, depth %g %%: %zu of %zu (95 %% interval %.3g to %.3g %%)",
                                label_of(results, arm), g->lengths[l], 100 * g->depths[d], qk_field_index(row, "right"),
                                qk_field_index(row, "n"), 100 * ci[0], 100 * ci[1]));
    qk_draw_text(figure, x + g->width / 2, y + g->height / 2 + 3.5, QK_SIZE_TICK, share > 0.6 ? 0x000000 : 0xFFFFFF,
                 QK_ANCHOR_MIDDLE, text);
}

static void draw_map(qk_figure *figure, const qk_results *results, const char *task, const grid *g, size_t arm,
                     double left, double top, const uint32_t *palette)
{
    char text[32];
    double width = g->width * (double)g->n_lengths, height = g->height * (double)g->n_depths;
    qk_draw_text(figure, left, top - 7, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_START,
                 qk_figure_fit(figure, label_of(results, arm), QK_SIZE_LABEL, width + 24));
    for (size_t d = 0; d < g->n_depths; d++) {
        qk_format_number(text, 100 * g->depths[d], 3);
        qk_draw_text(figure, left - 4, top + ((double)d + 0.5) * g->height + 3.5, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_END,
                     text);
        for (size_t l = 0; l < g->n_lengths; l++)
            draw_cell(figure, results, g, cell_of(results, task, arm, g->lengths[l], g->depths[d]), arm, l, d, left,
                      top, palette);
    }
    for (size_t l = 0; l < g->n_lengths; l++) {
        qk_format_number(text, g->lengths[l], 3);
        qk_draw_text(figure, left + ((double)l + 0.5) * g->width, top + height + 12, QK_SIZE_TICK, QK_GREY,
                     QK_ANCHOR_MIDDLE, qk_figure_text(figure, "%sx", text));
    }
}

static qk_status draw_maps(qk_drawing *drawing, const qk_results *results, size_t task, qk_error *err)
{
    enum { GAP = 42, ROW_GAP = 46, COLUMNS = 4 };
    uint32_t palette[256];
    grid g = { .height = 20 };
    g.n_lengths = distinct(g.lengths, results, tasks[task].task, "stretch");
    g.n_depths = distinct(g.depths, results, tasks[task].task, "depth");
    if (g.n_lengths == 0 || g.n_depths == 0) return QK_OK;
    size_t n_columns = g.n_lengths > 7 ? 2 : COLUMNS, n_arms = count_arms(results);
    double room = (QK_FIGURE_WIDTH - 24) / (double)n_columns - GAP;
    g.width = fmin(room / (double)g.n_lengths, 44);
    qk_figure *figure = qk_drawing_add(drawing, tasks[task].map, tasks[task].map_title);
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    qk_viridis(palette);
    double step = g.height * (double)g.n_depths + ROW_GAP;
    for (size_t a = 0; a < n_arms; a++)
        draw_map(figure, results, tasks[task].task, &g, a, 12 + GAP - 8 + (double)(a % n_columns) * (room + GAP),
                 26 + (double)(a / n_columns) * step, palette);
    figure->height = 14 + step * (double)((n_arms + n_columns - 1) / n_columns);
    figure->description =
        qk_figure_text(figure, "Percent found: down, where the key stands (0: at the start, 100: right "
                               "before the question); across, the length in trained contexts.");
    return QK_OK;
}

qk_status qk_draw_context_maps(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t i = 0; !status && i < sizeof tasks / sizeof *tasks; i++) status = draw_maps(drawing, results, i, err);
    return status;
}
