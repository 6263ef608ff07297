/* draw_maps.c - where the large norms sit: head x dim maps of one layer, pair norms against wavelength. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/draw.h"
#include "report/plot.h"

enum { MAX_OUTLINES = 2000 /* massive cells outlined in one map */ };

/* ---- head x dim */

/* Colours are even steps of log(M / mean) between these. */
typedef struct shades { double low, high; } shades;

static uint8_t shade(const shades *s, double ratio)
{
    if (!(ratio > s->low)) return 0;
    double share = log(ratio / s->low) / log(s->high / s->low);
    return (uint8_t)lround(255 * fmin(share, 1));
}

static void widen(shades *s, const qk_norm_map *map)
{
    for (size_t h = 0; h < map->n_heads; h++)
        for (size_t d = 0; d < map->head_dim; d++) {
            double ratio = qk_norm_map_at(map, h, d) / map->mean;
            if (!isfinite(ratio) || ratio <= 0) continue;
            s->low = fmin(s->low, ratio);
            s->high = fmax(s->high, ratio);
        }
}

/* Brackets over the dims whose pair never completes a rotation: dim p and its partner p + D/2. */
static void mark_slow(qk_figure *figure, const qk_result_model *model, double left, double top, double cell)
{
    const qk_paint paint = { QK_NO_COLOUR, 0xD55E00, 1, 2, false };
    size_t half = model->head_dim / 2;
    for (size_t start = 0; start < json_array_size(model->pairs) && start < half;) {
        size_t end = start;
        while (end < half && json_is_true(json_object_get(json_array_get(model->pairs, end), "slow"))) end++;
        if (end == start) {
            start++;
            continue;
        }
        for (size_t part = 0; part < 2; part++) {
            double x1 = left + cell * (double)(start + part * half), x2 = left + cell * (double)(end + part * half);
            const char *label = "never completes a rotation";
            if (qk_text_width(label, QK_SIZE_TICK) > x2 - x1) label = "slow";
            qk_draw_line(figure, x1 + 0.5, top - 4, x2 - 0.5, top - 4, paint);
            qk_draw_text(figure, (x1 + x2) / 2, top - 8, QK_SIZE_TICK, 0xA04000, QK_ANCHOR_MIDDLE, label);
        }
        start = end;
    }
}

static void draw_map_axes(qk_figure *figure, const qk_norm_map *map, double left, double top, double cell,
                          double cell_height)
{
    char text[32];
    size_t dim_step = map->head_dim > 16 ? map->head_dim / 8 : 1, head_step = (size_t)ceil(11 / cell_height);
    double bottom = top + cell_height * (double)map->n_heads;
    for (size_t d = 0; d < map->head_dim; d += dim_step) {
        double x = left + cell * ((double)d + 0.5);
        qk_format_number(text, (double)d, 6);
        qk_draw_text(figure, x, bottom + 12, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_MIDDLE, text);
    }
    for (size_t h = 0; h < map->n_heads; h += head_step) {
        qk_format_number(text, (double)h, 6);
        qk_draw_text(figure, left - 5, top + cell_height * ((double)h + 0.5) + 3.5, QK_SIZE_TICK, QK_GREY,
                     QK_ANCHOR_END, text);
    }
    qk_draw_text(figure, left - 28, (top + bottom) / 2, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_MIDDLE, "head");
    if (qk_last_mark(figure)) qk_last_mark(figure)->turn = -90;
}

/* The raster, and a square round each cell above the threshold. */
static qk_status draw_cells(qk_figure *figure, const qk_norm_map *map, const shades *s, double lambda, double left,
                            double top, double cell, double cell_height, qk_error *err)
{
    uint8_t *pixels = NULL;
    uint32_t palette[256];
    size_t n_outlines = 0, n_cells;
    if (!qk_mul(map->n_heads, map->head_dim, &n_cells)) return qk_out_of_memory(err, "a norm map", SIZE_MAX);
    qk_status status = qk_new_array(&pixels, n_cells, 1, "a norm map", err);
    if (status) return status;
    for (size_t h = 0; h < map->n_heads; h++)
        for (size_t d = 0; d < map->head_dim; d++)
            pixels[h * map->head_dim + d] = shade(s, qk_norm_map_at(map, h, d) / map->mean);
    qk_viridis(palette);
    qk_draw_raster(figure, left, top, cell * (double)map->head_dim, cell_height * (double)map->n_heads, pixels,
                   (uint32_t)map->head_dim, (uint32_t)map->n_heads, palette, NULL);
    for (size_t h = 0; isfinite(lambda) && h < map->n_heads; h++)
        for (size_t d = 0; d < map->head_dim && n_outlines < MAX_OUTLINES; d++) {
            double ratio = qk_norm_map_at(map, h, d) / map->mean;
            if (!(ratio > lambda)) continue;
            n_outlines++;
            qk_draw_rect(figure, left + cell * (double)d, top + cell_height * (double)h, cell, cell_height,
                         qk_stroke(0xFF3B1F, 1),
                         qk_figure_text(figure, "head %zu, dim %zu: %.3g x the mean", h, d, ratio));
        }
    free(pixels);
    return QK_OK;
}

static void draw_colour_bar(qk_figure *figure, const shades *s, double lambda, double left, double top, double height)
{
    uint8_t pixels[256];
    uint32_t palette[256];
    double ticks[QK_MAX_TICKS];
    char text[40];
    qk_scale scale = { .log = true, .low = s->low, .high = s->high, .from = top + height, .to = top };
    qk_viridis(palette);
    for (int i = 0; i < 256; i++) pixels[i] = (uint8_t)(255 - i);
    qk_draw_raster(figure, left, top, 12, height, pixels, 1, 256, palette, NULL);
    size_t n = qk_scale_ticks(ticks, &scale);
    double threshold = isfinite(lambda) ? qk_scale_map(&scale, lambda) : NAN;
    for (size_t i = 0; i < n; i++) {
        double y = qk_scale_map(&scale, ticks[i]);
        if (fabs(y - threshold) < 10) continue;
        qk_format_number(text, ticks[i], 3);
        qk_draw_line(figure, left + 12, y, left + 15, y, qk_stroke(QK_GREY, 0.75));
        qk_draw_text(figure, left + 18, y + 3.5, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_START, text);
    }
    if (threshold >= top && threshold <= top + height) {
        qk_draw_line(figure, left - 3, threshold, left + 15, threshold,
                     qk_stroke(0xFF3B1F, 1.5));
        snprintf(text, sizeof text, "\u03bb = %.3g", lambda);
        qk_draw_text(figure, left + 18, threshold + 3.5, QK_SIZE_TICK, 0xA04000, QK_ANCHOR_START, text);
    }
    qk_draw_text(figure, left, top - 8, QK_SIZE_TICK, QK_INK, QK_ANCHOR_START, "M / mean");
}

static qk_status draw_model_maps(qk_drawing *drawing, const qk_results *results, size_t m, qk_error *err)
{
    static const char *const titles[3] = { "Queries", "Keys", "Values" };
    const qk_result_model *model = &results->models[m];
    const double left = 62, right = 88, width = QK_FIGURE_WIDTH - left - right;
    /* The rule of a fixed multiple of the layer's mean can be drawn as one threshold; the other criteria cannot. */
    double lambda =
        qk_field_is(results->settings, "criterion", "layer-mean") ? qk_field_number(results->settings, "lambda") : NAN;
    size_t layer = qk_striking_layer(results, m);
    qk_norm_map maps[3];
    bool found[3];
    shades s = { 0.5, isfinite(lambda) ? lambda * 1.2 : 2 };
    qk_status status = QK_OK;
    for (int t = 0; t < 3; t++) {
        status = qk_norm_map_find(&found[t], &maps[t], results, m, layer, t, err);
        if (status) return status;
        if (found[t]) widen(&s, &maps[t]);
    }
    if (!found[0] && !found[1] && !found[2]) {
        qk_drawing_note(drawing, "No norm map of %s, layer %zu is in arrays.safetensors: no heat map is drawn.",
                        model->name, layer);
        return QK_OK;
    }
    char name[32];
    snprintf(name, sizeof name, "norm-map-%zu", m);
    qk_figure *figure = qk_drawing_add(drawing, name, "Norm of each head and dim");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    figure->title = qk_figure_text(figure, "Norm of each head and dim: %s, layer %zu", model->name, layer);
    s.low = fmax(s.low, s.high / 1000);
    double top = 16, first = top + 34, cell = width / (double)model->head_dim;
    for (int t = 0; !status && t < 3; t++) {
        if (!found[t]) continue;
        double cell_height = fmax(2.5, fmin(12, 200 / (double)maps[t].n_heads));
        top += 34;
        qk_draw_text(figure, left, top - 20, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_START,
                     qk_figure_text(figure, "%s, layer %zu", titles[t], layer));
        if (qk_last_mark(figure)) qk_last_mark(figure)->bold = true;
        if (t < 2) mark_slow(figure, model, left, top, cell);
        status = draw_cells(figure, &maps[t], &s, lambda, left, top, cell, cell_height, err);
        draw_map_axes(figure, &maps[t], left, top, cell, cell_height);
        top += cell_height * (double)maps[t].n_heads + 18;
    }
    draw_colour_bar(figure, &s, lambda, left + width + 18, first, fmin(160, top - first - 18));
    qk_draw_text(figure, left + width / 2, top + 12, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_MIDDLE,
                 model->rotates ? "dim of the head (Hugging Face order: dim d turns with d + D/2)"
                                : "dim of the head (Hugging Face order)");
    figure->height = top + 24;
    figure->description = qk_figure_text(
        figure,
        "%s, layer %zu, the layer where a query or key dim stands out most. Norm M of each head and dim over "
        "positions, averaged over documents, as a multiple of the map's mean (logarithmic colours).%s%s",
        model->name, layer, isfinite(lambda) ? " Red squares exceed the threshold in this averaged map." : "",
        model->rotates ? " Orange brackets: dims whose rotary pair never completes a rotation over the trained context."
                       : "");
    return status;
}

qk_status qk_draw_norm_maps(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    qk_status status = QK_OK;
    if (!results->arrays) {
        qk_drawing_note(drawing, "There is no arrays.safetensors: no heat map of norms is drawn.");
        return QK_OK;
    }
    for (size_t m = 0; !status && m < results->n_models; m++) status = draw_model_maps(drawing, results, m, err);
    return status;
}

/* ---- pair norms against wavelength */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct spectrum { double *wavelength, *low, *middle, *high; size_t n; } spectrum; /* [n] pairs */

/* Ratio of each pair's norm to the mean of its layer: the 10th, 50th and 90th percentile over layers. */
static qk_status read_spectrum(spectrum *s, const qk_results *results, size_t model, const qk_result_model *turning,
                               const char *tensor, qk_error *err)
{
    const json_t *rows = qk_rows(results, "pair_norms");
    size_t n_pairs = results->models[model].head_dim / 2, n_layers = results->models[model].n_layers, n_seen = 0;
    double *values = NULL;
    qk_status status = qk_new_array(&values, n_pairs * (4 + n_layers), sizeof values[0], "pair norms", err);
    if (status) return status;
    *s = (spectrum){ values, values + n_pairs, values + 2 * n_pairs, values + 3 * n_pairs, n_pairs };
    double *ratios = values + 4 * n_pairs; /* [n_pairs][n_layers] */
    for (size_t i = 0; i < json_array_size(rows) && n_seen < n_layers; i++) {
        const json_t *row = json_array_get(rows, i), *norm = json_object_get(row, "norm");
        double mean = 0;
        if (qk_field_index(row, "model") != model || !qk_field_is(row, "tensor", tensor)) continue;
        if (json_array_size(norm) != n_pairs) {
            status = qk_fail(err, QK_E_FORMAT, "%s/results.json: pair_norms[%zu].norm: expected %zu numbers, found %zu",
                             results->folder, i, n_pairs, json_array_size(norm));
            free(values);
            *s = (spectrum){ 0 };
            return status;
        }
        for (size_t p = 0; p < n_pairs; p++) mean += json_number_value(json_array_get(norm, p)) / (double)n_pairs;
        if (!(mean > 0)) continue;
        for (size_t p = 0; p < n_pairs; p++)
            ratios[p * n_layers + n_seen] = json_number_value(json_array_get(norm, p)) / mean;
        n_seen++;
    }
    for (size_t p = 0; p < n_pairs; p++) {
        double *r = ratios + p * n_layers;
        qsort(r, n_seen, sizeof r[0], by_value);
        s->wavelength[p] = qk_field_number(json_array_get(turning->pairs, p), "wavelength");
        s->low[p] = n_seen ? r[(n_seen - 1) / 10] : NAN;
        s->middle[p] = n_seen ? (r[(n_seen - 1) / 2] + r[n_seen / 2]) / 2 : NAN;
        s->high[p] = n_seen ? r[n_seen - 1 - (n_seen - 1) / 10] : NAN;
    }
    return QK_OK;
}

/* Whose wavelengths a model's pairs are drawn at: its own, or those of the first model that rotates with as many pairs
 * (a model without rotation that was made from it).  NULL where there is none. */
static const qk_result_model *turning_model(const qk_results *results, size_t model)
{
    if (results->models[model].rotates) return &results->models[model];
    for (size_t m = 0; m < results->n_models; m++)
        if (results->models[m].rotates && results->models[m].head_dim == results->models[model].head_dim)
            return &results->models[m];
    return NULL;
}

static void mark_contexts(qk_figure *figure, const qk_panel *panel, const qk_results *results)
{
    double drawn = NAN;
    for (size_t m = 0; m < results->n_models; m++) {
        double context = results->models[m].context, x = qk_scale_map(&panel->x, context);
        if (!results->models[m].rotates || isnan(x) || context == drawn || x < panel->left ||
            x > panel->left + panel->width)
            continue;
        drawn = context;
        qk_draw_rect(figure, x, panel->top, panel->left + panel->width - x, panel->height,
                     qk_fill(0xD55E00, 0.06),
                     "pairs that never complete a rotation over the trained context");
        qk_draw_line(figure, x, panel->top, x, panel->top + panel->height,
                     qk_dashes(0xA04000, 1));
        qk_draw_text(figure, x - 4, panel->top + 11, QK_SIZE_TICK, 0xA04000, QK_ANCHOR_END,
                     qk_figure_text(figure, "trained context %.0f", context));
    }
}

static qk_status draw_spectra(qk_figure *figure, const qk_results *results, qk_panel *panel, const char *tensor,
                              qk_error *err)
{
    spectrum all[QK_REPORT_MODELS] = { { 0 } };
    double most = 1, shortest = INFINITY, longest = 0;
    qk_status status = QK_OK;
    for (size_t m = 0; !status && m < results->n_models; m++) {
        const qk_result_model *turning = turning_model(results, m);
        if (turning) status = read_spectrum(&all[m], results, m, turning, tensor, err);
        for (size_t p = 0; !status && turning && p < all[m].n; p++) {
            most = fmax(most, all[m].high[p]);
            shortest = fmin(shortest, all[m].wavelength[p]);
            longest = fmax(longest, all[m].wavelength[p]);
        }
        if (results->models[m].rotates) longest = fmax(longest, results->models[m].context * 1.2);
    }
    if (!status) {
        panel->x = qk_scale_log(shortest, longest, false);
        panel->y = qk_scale_linear(0, most);
        qk_panel_place(panel, panel->left, panel->top, panel->width, panel->height);
        qk_panel_draw(figure, panel);
        mark_contexts(figure, panel, results);
    }
    for (size_t m = 0; !status && m < results->n_models; m++)
        if (results->models[m].n_layers > 1)
            qk_plot_band(figure, panel, all[m].wavelength, all[m].low, all[m].high, all[m].n,
                         qk_fill(qk_model_colours[m], 0.15));
    for (size_t m = 0; !status && m < results->n_models; m++)
        qk_plot_line(figure, panel, all[m].wavelength, all[m].middle, all[m].n,
                     qk_stroke(qk_model_colours[m], 1.8));
    for (size_t m = 0; m < results->n_models; m++) free(all[m].wavelength);
    return status;
}

qk_status qk_draw_pair_norms(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    static const char *const titles[2] = { "Queries (Q)", "Keys (K)" };
    const double left = 56, gap = 46, width = (QK_FIGURE_WIDTH - left - 16 - gap) / 2;
    bool rotates = false;
    for (size_t m = 0; m < results->n_models; m++) rotates = rotates || results->models[m].rotates;
    if (!rotates || json_array_size(qk_rows(results, "pair_norms")) == 0) {
        qk_drawing_note(drawing, rotates ? "No pair norms were measured."
                                         : "No model here rotates its queries and keys: there is no wavelength to "
                                           "draw pair norms against.");
        return QK_OK;
    }
    qk_figure *figure = qk_drawing_add(drawing, "pair-norms", "Norm of each rotary pair against its wavelength");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    double top = 34 + qk_draw_model_legend(figure, results, left, 8, QK_FIGURE_WIDTH - left - 20);
    qk_status status = QK_OK;
    bool borrowed = false;
    for (size_t m = 0; m < results->n_models; m++)
        borrowed = borrowed || (!results->models[m].rotates && turning_model(results, m));
    for (int t = 0; !status && t < 2; t++) {
        qk_panel panel = { .left = left + t * (width + gap),
                           .top = top,
                           .width = width,
                           .height = 190,
                           .title = titles[t],
                           .x_label = "wavelength of the pair (tokens, log)" };
        if (t == 0) panel.y_label = "pair norm / mean of its layer";
        status = draw_spectra(figure, results, &panel, qk_result_tensors[t], err);
    }
    figure->height = top + 190 + 42;
    figure->description = qk_figure_text(
        figure,
        "Norm of each rotary pair, which rotation leaves unchanged, as a multiple of its layer's mean: median over "
        "layers; band: 10th to 90th percentile over layers. Right of the dashed line a pair never completes a "
        "rotation over the trained context.%s",
        borrowed ? " A model without rotation is drawn at the wavelengths of the one with rotation." : "");
    return status;
}
