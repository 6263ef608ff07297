/* draw_track_maps.c - a training study by layer: counts against tokens as heat maps, lengths before and at the end. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/track.h"

enum { COLUMNS = 300 /* of a heat map, each the measurement nearest in tokens */ };
enum { LEFT = 62, BAR_WIDTH = 74, STRIP = 14 /* the first measurement, beside the map */, MAP_HEIGHT = 96 };

static const char *const tensor_titles[3] = { "Queries (Q)", "Keys (K)", "Values (V)" };

/* ---- heat maps */

/* Grey: none.  Then viridis. */
static void count_palette(uint32_t palette[256])
{
    qk_viridis(palette);
    palette[0] = 0xEEEEEE;
}

static uint8_t shade(double count, double most)
{
    if (!(count > 0)) return 0;
    return (uint8_t)fmax(1, lround(255 * fmin(count / most, 1)));
}

/* values[layer] of one measurement and tensor; NaN where there is no row. */
static void read_layers(double *values, size_t n_layers, const json_t *row, const char *tensor, const char *field)
{
    const json_t *rows = json_object_get(row, "tensors");
    for (size_t l = 0; l < n_layers; l++) values[l] = NAN;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *cell = json_array_get(rows, i);
        if (qk_field_is(cell, "tensor", tensor)) values[qk_field_index(cell, "layer")] = qk_field_number(cell, field);
    }
}

/* Layer 0 lies at the bottom. */
static void fill_column(uint8_t *pixels, size_t column, size_t n_columns, const double *counts, size_t n_layers,
                        double most)
{
    for (size_t l = 0; l < n_layers; l++) pixels[(n_layers - 1 - l) * n_columns + column] = shade(counts[l], most);
}

/* The measurement nearest to `tokens`; rows are in order of tokens. */
static size_t nearest(const qk_arm_track *t, double tokens)
{
    size_t best = 0;
    for (size_t i = 1; i < t->n; i++) { /* the later of two: a first row before any change has a strip of its own */
        double far = fabs(qk_field_number(t->rows[i], "tokens") - tokens);
        if (far <= fabs(qk_field_number(t->rows[best], "tokens") - tokens)) best = i;
    }
    return best;
}

typedef struct map_style { const char *tensor, *field; double most, left, top, width; bool bottom, first; } map_style;

static void label_layers(qk_figure *figure, const map_style *s, size_t n_layers)
{
    double cell = (double)MAP_HEIGHT / (double)n_layers;
    size_t step = (size_t)ceil(12 / cell);
    for (size_t l = 0; l < n_layers; l += step)
        qk_draw_text(figure, s->left - 5, s->top + MAP_HEIGHT - cell * ((double)l + 0.5) + 3.5, QK_SIZE_TICK, QK_GREY,
                     QK_ANCHOR_END, qk_figure_text(figure, "%zu", l));
    if (!s->first) return;
    qk_draw_text(figure, s->left - 30, s->top + MAP_HEIGHT / 2.0, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_MIDDLE, "layer");
    if (qk_last_mark(figure)) qk_last_mark(figure)->turn = -90;
}

/* One arm and tensor: a strip for the first measurement, then the way. */
static qk_status draw_map(qk_figure *figure, const qk_results *results, size_t arm, const qk_arm_track *t,
                          const qk_token_axis *axis, const map_style *s, qk_error *err)
{
    size_t n_layers = results->models[results->arms[arm].model].n_layers, drawn = SIZE_MAX;
    uint32_t palette[256];
    uint8_t *pixels = NULL;
    double *counts = NULL;
    qk_panel panel = { .x = qk_token_scale(axis), .no_y = true };
    qk_panel_place(&panel, s->left + STRIP + 3, s->top, s->width - STRIP - 3, MAP_HEIGHT);
    if (s->bottom) panel.x_label = axis->label;
    qk_panel_draw(figure, &panel);
    label_layers(figure, s, n_layers);
    if (t->n == 0) return QK_OK;
    qk_status status = qk_new_array(&pixels, n_layers, COLUMNS, "a heat map", err);
    if (!status) status = qk_new_array(&counts, n_layers, sizeof counts[0], "a heat map", err);
    if (status) goto out;
    count_palette(palette);
    read_layers(counts, n_layers, t->rows[0], s->tensor, s->field);
    fill_column(pixels, 0, 1, counts, n_layers, s->most);
    qk_draw_raster(figure, s->left, s->top, STRIP, MAP_HEIGHT, pixels, 1, (uint32_t)n_layers, palette,
                   "the first measurement");
    double last = qk_field_number(t->rows[t->n - 1], "tokens");
    for (size_t c = 0; c < COLUMNS; c++) {
        size_t i = nearest(t, last * ((double)c + 0.5) / COLUMNS);
        if (i != drawn) read_layers(counts, n_layers, t->rows[i], s->tensor, s->field);
        drawn = i;
        fill_column(pixels, c, COLUMNS, counts, n_layers, s->most);
    }
    double right = qk_scale_map(&panel.x, last > 0 ? last / axis->unit : 0);
    if (right > panel.left)
        qk_draw_raster(figure, panel.left, s->top, right - panel.left, MAP_HEIGHT, pixels, COLUMNS, (uint32_t)n_layers,
                       palette, NULL);
out:
    free(pixels);
    free(counts);
    return status;
}

static void draw_count_bar(qk_figure *figure, double most, double left, double top, double height)
{
    uint8_t pixels[256];
    uint32_t palette[256];
    double ticks[QK_MAX_TICKS];
    char text[32];
    qk_scale scale = { .low = 0, .high = most, .from = top + height, .to = top };
    count_palette(palette);
    for (int i = 0; i < 256; i++) pixels[i] = (uint8_t)(255 - i < 1 ? 1 : 255 - i);
    qk_draw_raster(figure, left, top, 12, height, pixels, 1, 256, palette, NULL);
    qk_draw_rect(figure, left, top + height + 4, 12, 10, qk_fill(palette[0], 1), "none");
    qk_draw_text(figure, left + 18, top + height + 13, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_START, "none");
    size_t n = qk_scale_ticks(ticks, &scale);
    for (size_t i = 0; i < n; i++) {
        double y = qk_scale_map(&scale, ticks[i]);
        if (ticks[i] == 0 || fabs(ticks[i] - round(ticks[i])) > 1e-9) continue;
        qk_format_number(text, ticks[i], 4);
        qk_draw_line(figure, left + 12, y, left + 15, y, qk_stroke(QK_GREY, 0.75));
        qk_draw_text(figure, left + 18, y + 3.5, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_START, text);
    }
    qk_draw_text(figure, left, top - 8, QK_SIZE_TICK, QK_INK, QK_ANCHOR_START, "dims");
}

static double largest_count(const qk_results *results, const char *field)
{
    double most = 0;
    for (size_t a = 0; a < results->n_arms; a++)
        for (size_t i = 0; i < results->tracks[a].n; i++) {
            const json_t *rows = json_object_get(results->tracks[a].rows[i], "tensors");
            for (size_t r = 0; r < json_array_size(rows); r++)
                most = fmax(most, qk_field_number(json_array_get(rows, r), field));
        }
    return most;
}

/* Tensors below each other, arms side by side, one colour scale for all. */
static qk_status draw_maps(qk_drawing *drawing, const qk_results *results,
                           const char *name, const char *field, double lambda, qk_error *err)
{
    qk_token_axis axis = qk_token_axis_of(results);
    double n_arms = (double)results->n_arms, gap = 44, most = fmax(largest_count(results, field), 4);
    double width = (QK_FIGURE_WIDTH - LEFT - BAR_WIDTH - gap * (n_arms - 1)) / n_arms, top = 34;
    qk_status status = QK_OK;
    qk_figure *figure = qk_drawing_add(drawing, name, "");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    figure->title = qk_figure_text(figure, "Massive values by layer, at \u03bb = %.3g", lambda);
    for (int t = 0; !status && t < 3; t++) {
        for (size_t a = 0; !status && a < results->n_arms; a++) {
            double left = LEFT + (double)a * (width + gap);
            map_style style = { qk_result_tensors[t], field, most, left, top, width, t == 2, a == 0 };
            const char *title = tensor_titles[t];
            if (results->n_arms > 1) title = qk_figure_text(figure, "%s: %s", title, results->arms[a].name);
            qk_draw_text(figure, style.left, top - 8, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_START,
                         qk_figure_fit(figure, title, QK_SIZE_LABEL, width / QK_BOLD));
            if (qk_last_mark(figure)) qk_last_mark(figure)->bold = true;
            status = draw_map(figure, results, a, &results->tracks[a], &axis, &style, err);
        }
        top += MAP_HEIGHT + 42;
    }
    draw_count_bar(figure, most, QK_FIGURE_WIDTH - BAR_WIDTH + 22, 34, 150);
    figure->height = top;
    figure->description = qk_figure_text(
        figure,
        "Dims of each layer whose norm is more than %.3g times the mean of the layer. The strip at the left is the "
        "first measurement, before any step. Grey: none. One colour scale for all maps.", lambda);
    return status;
}

qk_status qk_draw_tracked_counts(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    bool empty = true;
    if (json_array_size(qk_rows(results, "track")) == 0) return QK_OK;
    qk_status status = QK_OK;
    for (int t = 0; t < 3; t++) empty = empty && qk_track_is_empty(results, "count", qk_result_tensors[t]);
    status = draw_maps(drawing, results, "tracked-counts", "count",
                       qk_field_number(results->settings, "lambda"), err);
    if (!status && empty) { /* an all grey figure says its part; where the norms stand out less says more */
        qk_drawing_note(drawing, "No dim is massive at the chosen \u03bb at any time; the maps at \u03bb = 3 show "
                                 "where norms stand out less far.");
        status = draw_maps(drawing, results, "tracked-counts-3", "count_3", 3, err);
    }
    return status;
}

/* ---- lengths by layer */

/* The first measurement of an arm, or its last. */
static qk_status plot_lengths(qk_figure *figure, const qk_panel *panel, const qk_results *results, size_t arm,
                              bool last, int tensor, qk_error *err)
{
    const qk_arm_track *t = &results->tracks[arm];
    size_t n = results->models[results->arms[arm].model].n_layers;
    double *x = NULL;
    if (t->n == 0) return QK_OK;
    qk_status status = qk_new_array(&x, 2 * n, sizeof x[0], "a profile", err);
    if (status) return status;
    for (size_t l = 0; l < n; l++) x[l] = (double)l;
    read_layers(x + n, n, t->rows[last ? t->n - 1 : 0], qk_result_tensors[tensor], "length");
    qk_plot_line(figure, panel, x, x + n, n, last ? qk_stroke(qk_model_colours[arm], 1.8) : qk_dashes(QK_GREY, 1.2));
    for (size_t l = 0; last && l < n; l++) {
        double px = qk_scale_map(&panel->x, x[l]), py = qk_scale_map(&panel->y, x[n + l]);
        if (isnan(px) || isnan(py)) continue;
        qk_draw_dot(figure, px, py, n > 64 ? 2.5 : 4, qk_fill(qk_model_colours[arm], 1),
                    qk_figure_text(figure, "%s, layer %zu: %.4g", results->arms[arm].name, l, x[n + l]));
    }
    free(x);
    return QK_OK;
}

/* Of the first and the last measurements. */
static double longest(const qk_results *results, int tensor)
{
    double most = 0;
    for (size_t a = 0; a < results->n_arms; a++) {
        const qk_arm_track *t = &results->tracks[a];
        for (size_t i = 0; i < t->n; i += t->n > 1 ? t->n - 1 : 1) {
            const json_t *rows = json_object_get(t->rows[i], "tensors");
            for (size_t r = 0; r < json_array_size(rows); r++)
                if (qk_field_is(json_array_get(rows, r), "tensor", qk_result_tensors[tensor]))
                    most = fmax(most, qk_field_number(json_array_get(rows, r), "length"));
        }
    }
    return most;
}

static qk_status draw_length_panel(qk_figure *figure, const qk_results *results, int tensor, qk_panel *panel,
                                   qk_error *err)
{
    size_t most_layers = 1;
    qk_status status = QK_OK;
    for (size_t a = 0; a < results->n_arms; a++) {
        size_t n = results->models[results->arms[a].model].n_layers;
        most_layers = n > most_layers ? n : most_layers;
    }
    panel->x = (qk_scale){ .low = -0.5, .high = (double)most_layers - 0.5 };
    panel->y = qk_scale_linear(0, longest(results, tensor));
    panel->whole_x = true;
    qk_panel_place(panel, panel->left, panel->top, panel->width, panel->height);
    qk_panel_draw(figure, panel);
    for (size_t a = 0; !status && a < results->n_arms; a++)
        status = plot_lengths(figure, panel, results, a, false, tensor, err);
    for (size_t a = 0; !status && a < results->n_arms; a++)
        status = plot_lengths(figure, panel, results, a, true, tensor, err);
    return status;
}

qk_status qk_draw_tracked_lengths(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    const double gap = 52, width = (QK_FIGURE_WIDTH - LEFT - 18 - 2 * gap) / 3;
    const char *names[QK_REPORT_ARMS + 1] = { "before" };
    uint32_t colours[QK_REPORT_ARMS + 1] = { QK_GREY };
    if (json_array_size(qk_rows(results, "track")) == 0) return QK_OK;
    qk_status status = QK_OK;
    qk_figure *figure = qk_drawing_add(drawing, "tracked-lengths", "Length of queries, keys and values by layer");
    if (!figure) status = qk_out_of_memory(err, "a figure", 0);
    for (size_t a = 0; !status && a < results->n_arms; a++) {
        names[a + 1] = qk_figure_text(figure, "%s, at the end", results->arms[a].name);
        colours[a + 1] = qk_model_colours[a];
    }
    if (!status) {
        double top = 28 + qk_plot_legend(figure, LEFT, 8, QK_FIGURE_WIDTH - LEFT, names, colours, results->n_arms + 1);
        for (int t = 0; !status && t < 3; t++) {
            qk_panel panel = { .left = LEFT + t * (width + gap), .top = top, .width = width, .height = 140,
                               .title = tensor_titles[t], .x_label = "layer",
                               .y_label = t == 0 ? "mean L2 norm" : NULL };
            status = draw_length_panel(figure, results, t, &panel, err);
        }
        figure->height = top + 140 + 40;
        figure->description =
            qk_figure_text(figure, "Mean length (L2 norm) of one head's vector over positions, heads and documents. "
                                   "Dashed: the first measurement; points: the last.");
    }
    return status;
}
