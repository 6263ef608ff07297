/* draw_massive.c - counts of massive values: per tensor, per layer, over lambda. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/draw.h"
#include "report/plot.h"

enum { MAX_DOTS = 400 /* documents drawn as dots in one bar */ };

static const char *const tensor_titles[3] = { "Queries (Q)", "Keys (K)", "Values (V)" };

/* ---- totals */

/* A fixed scatter of dots about the middle of a bar: the golden ratio spreads any number of them. */
static double jitter(size_t i) { return fmod((double)(i + 1) * 0.6180339887498949, 1) - 0.5; }

typedef struct totals { double mean, ci[2], std; const double *documents; } totals;

static void draw_bar(qk_figure *figure, const qk_panel *panel, const qk_results *results, const totals *t, size_t model,
                     double x, double width)
{
    char mean[32], low[32], high[32], std[32];
    uint32_t colour = qk_model_colours[model];
    double y = qk_scale_map(&panel->y, t->mean), base = panel->top + panel->height, top = y;
    if (isnan(y)) return;
    qk_format_number(mean, t->mean, 4);
    qk_format_number(low, t->ci[0], 4);
    qk_format_number(high, t->ci[1], 4);
    qk_format_number(std, t->std, 3);
    qk_draw_rect(figure, x - width / 2, y, width, base - y, qk_fill(colour, 0.35),
                 qk_figure_text(figure, "%s: mean %s, 95 %% interval %s to %s, standard deviation %s over documents",
                                results->models[model].name, mean, low, high, std));
    qk_draw_line(figure, x - width / 2, y, x + width / 2, y, qk_stroke(colour, 2));
    for (size_t d = 0; d < results->n_documents && d < MAX_DOTS; d++) {
        double dot = qk_scale_map(&panel->y, t->documents[d]);
        if (isnan(dot)) continue;
        qk_draw_dot(figure, x + jitter(d) * width * 0.7, dot, 4, qk_fill(colour, 0.55),
                    qk_figure_text(figure, "%s, %s: %g", results->models[model].name,
                                   qk_field_text(json_array_get(results->documents, d), "id"), t->documents[d]));
        top = fmin(top, dot);
    }
    qk_plot_whisker(figure, panel, x, t->ci[0], t->ci[1], false, QK_INK);
    if (isfinite(t->ci[1])) top = fmin(top, qk_scale_map(&panel->y, t->ci[1]));
    if (width >= 22) qk_draw_text(figure, x, top - 6, QK_SIZE_TICK, QK_INK, QK_ANCHOR_MIDDLE, mean);
}

static void read_totals(totals *t, double *documents, const qk_results *results, size_t model, const char *tensor)
{
    const json_t *row = qk_find_row(results, "summary", model, "tensor", tensor);
    qk_document_totals(documents, results, model, tensor);
    *t = (totals){ .mean = qk_field_number(row, "total_mean"),
                   .std = qk_field_number(row, "total_std"),
                   .documents = documents };
    qk_field_pair(t->ci, row, "total_ci95");
}

qk_status qk_draw_massive_totals(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    bool has[3];
    totals all[QK_REPORT_MODELS][3];
    size_t n = results->n_documents, n_models = results->n_models, n_groups = qk_tensors_present(has, results),
           group = 0;
    double *documents = NULL, most = 0, left = 70;
    qk_status status = qk_new_array(&documents, n_models * 3 * (n + 1), sizeof documents[0], "totals", err);
    if (status) return status;
    qk_figure *figure = qk_drawing_add(drawing, "massive-totals", "Massive values per document, by tensor and model");
    if (!figure) {
        free(documents);
        return qk_out_of_memory(err, "a figure", 0);
    }
    for (size_t m = 0; m < n_models; m++)
        for (int t = 0; t < 3; t++) {
            read_totals(&all[m][t], documents + (3 * m + (size_t)t) * (n + 1), results, m, qk_result_tensors[t]);
            most = fmax(most, fmax(all[m][t].mean, all[m][t].ci[1]));
            for (size_t d = 0; d < n; d++) most = fmax(most, all[m][t].documents[d]);
        }
    double top = 18 + qk_draw_model_legend(figure, results, left, 10, QK_FIGURE_WIDTH - left - 20), slot;
    qk_panel panel = { .y = qk_scale_linear(0, most > 0 ? most * 1.08 : 1),
                       .no_x = true,
                       .y_label = "massive values per document" };
    qk_panel_place(&panel, left, top, QK_FIGURE_WIDTH - left - 20, 250);
    qk_panel_draw(figure, &panel);
    slot = panel.width / (double)(n_groups ? n_groups : 1);
    for (int t = 0; t < 3; t++) {
        if (!has[t]) continue;
        double middle = panel.left + slot * ((double)group++ + 0.5), step = fmin(64, slot * 0.85 / (double)n_models);
        for (size_t m = 0; m < n_models; m++)
            draw_bar(figure, &panel, results, &all[m][t], m, middle + step * ((double)m - (double)(n_models - 1) / 2),
                     step * 0.78);
        qk_draw_text(figure, middle, top + panel.height + 16, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_MIDDLE,
                     tensor_titles[t]);
    }
    figure->height = top + panel.height + 28;
    figure->description =
        qk_figure_text(figure,
                       "Massive values per document, summed over layers. Bar: mean over %zu document%s; whisker: 95 "
                       "%% bootstrap interval of that mean over documents; each dot is one document%s.",
                       n, n == 1 ? " (no interval from one)" : "s", n > MAX_DOTS ? " (the first 400 are drawn)" : "");
    free(documents);
    return QK_OK;
}

/* ---- by layer */

typedef struct profile {
    double *layer, *mean, *low, *high;
    size_t n;
} profile; /* [n] each; NaN where there is no row */

static qk_status read_profile(profile *p, const qk_results *results, size_t model, const char *tensor, qk_error *err)
{
    const json_t *layers = json_object_get(qk_find_row(results, "summary", model, "tensor", tensor), "by_layer");
    size_t n = results->models[model].n_layers;
    double *values = NULL;
    qk_status status = qk_new_array(&values, 4 * n, sizeof values[0], "a profile over layers", err);
    if (status) return status;
    *p = (profile){ values, values + n, values + 2 * n, values + 3 * n, n };
    for (size_t l = 0; l < n; l++) {
        p->layer[l] = (double)l;
        p->mean[l] = p->low[l] = p->high[l] = NAN;
    }
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *row = json_array_get(layers, i);
        size_t l = qk_field_index(row, "layer");
        double std = qk_field_number(row, "std");
        p->mean[l] = qk_field_number(row, "mean");
        p->low[l] = fmax(p->mean[l] - std, 0);
        p->high[l] = p->mean[l] + std;
        if (isnan(std)) p->low[l] = p->high[l] = NAN; /* fmax would make a number of it */
    }
    return QK_OK;
}

/* Small triangles above the panel where a later model has more than the first; a row for each later model. */
static void mark_layers_more(qk_figure *figure, const qk_panel *panel, const qk_results *results, const char *tensor)
{
    for (size_t m = 1; m < results->n_models; m++) {
        const json_t *layers = json_object_get(qk_find_row(results, "change", m, "tensor", tensor), "layers_more");
        for (size_t i = 0; i < json_array_size(layers); i++) {
            double layer = json_number_value(json_array_get(layers, i)), x = qk_scale_map(&panel->x, layer);
            double y = panel->top + 4 + 8 * (double)(m - 1);
            if (isnan(x) || x > panel->left + panel->width + 1) continue;
            qk_draw_path(figure, (double[]){ x - 3.5, y - 3, x + 3.5, y - 3, x, y + 3.5 }, 3, true,
                         qk_fill(qk_model_colours[m], 1),
                         qk_figure_text(figure, "layer %g: %s has more than %s", layer, results->models[m].name,
                                        results->models[0].name));
        }
    }
}

static void draw_profile_points(qk_figure *figure, const qk_panel *panel, const qk_results *results, const profile *p,
                                size_t model)
{
    uint32_t colour = qk_model_colours[model];
    qk_plot_line(figure, panel, p->layer, p->mean, p->n, qk_stroke(colour, 2));
    for (size_t l = 0; l < p->n; l++) {
        double x = qk_scale_map(&panel->x, p->layer[l]), y = qk_scale_map(&panel->y, p->mean[l]);
        if (isnan(y)) continue;
        qk_draw_dot(figure, x, y, p->n > 64 ? 3 : 4.5, qk_fill(colour, 1),
                    qk_figure_text(figure, "%s, layer %zu: %.4g", results->models[model].name, l, p->mean[l]));
    }
}

/* One panel of the figure; `labels_width` > 0 writes the models' names at the right. */
static qk_status draw_profiles(qk_figure *figure, const qk_results *results, int tensor, double left, double top,
                               double width, double height, double labels_width, qk_error *err)
{
    profile profiles[QK_REPORT_MODELS] = { { 0 } };
    qk_end_label labels[QK_REPORT_MODELS];
    size_t n_models = results->n_models, most_layers = 1;
    double most = 0;
    qk_status status = QK_OK;
    for (size_t m = 0; !status && m < n_models; m++) {
        status = read_profile(&profiles[m], results, m, qk_result_tensors[tensor], err);
        for (size_t l = 0; !status && l < profiles[m].n; l++)
            most = fmax(most, fmax(profiles[m].mean[l], n_models == 1 ? profiles[m].high[l] : 0));
        if (!status && profiles[m].n > most_layers) most_layers = profiles[m].n;
    }
    if (status) goto out;
    qk_panel panel = {
        .title = tensor_titles[tensor], .x_label = "layer", .y_label = "massive values", .whole_x = true
    };
    panel.x = (qk_scale){ .low = -0.5, .high = (double)most_layers - 0.5 };
    panel.y = qk_scale_linear(0, most > 0 ? most * 1.1 : 1);
    qk_panel_place(&panel, left, top, width, height);
    qk_panel_draw(figure, &panel);
    if (n_models == 1)
        qk_plot_band(figure, &panel, profiles[0].layer, profiles[0].low, profiles[0].high, profiles[0].n,
                     qk_fill(qk_model_colours[0], 0.2));
    if (n_models == 2)
        qk_plot_between(figure, &panel, profiles[0].layer, profiles[0].mean, profiles[1].mean,
                        profiles[0].n < profiles[1].n ? profiles[0].n : profiles[1].n,
                        qk_fill(qk_model_colours[0], 0.15),
                        qk_fill(qk_model_colours[1], 0.25));
    mark_layers_more(figure, &panel, results, qk_result_tensors[tensor]);
    for (size_t m = 0; m < n_models; m++) {
        size_t last = profiles[m].n;
        draw_profile_points(figure, &panel, results, &profiles[m], m);
        while (last > 0 && isnan(profiles[m].mean[last - 1])) last--;
        labels[m] = (qk_end_label){ last ? qk_scale_map(&panel.y, profiles[m].mean[last - 1]) : NAN,
                                    results->models[m].name, qk_model_colours[m] };
    }
    if (labels_width > 0) qk_plot_end_labels(figure, &panel, labels, n_models, labels_width);
out:
    for (size_t m = 0; m < n_models; m++) free(profiles[m].layer);
    return status;
}

qk_status qk_draw_massive_layers(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    bool has[3];
    const double left = 62, right = 120, gap = 70, main_width = QK_FIGURE_WIDTH - left - right;
    size_t n_small = 0;
    qk_tensors_present(has, results);
    qk_figure *figure = qk_drawing_add(drawing, "massive-layers", "Massive values by layer");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    double top = 28;
    qk_status status = QK_OK;
    for (int t = 0; !status && t < 3; t++) {
        if (!has[t]) continue;
        if (t == 0) {
            status = draw_profiles(figure, results, t, left, top, main_width, 220, right - 14, err);
            top += 220 + 66;
        } else {
            double width = (QK_FIGURE_WIDTH - left - 20 - gap) / 2;
            status = draw_profiles(figure, results, t, left + (double)n_small++ * (width + gap), top, width, 120,
                                   has[0] ? 0 : 60, err);
        }
    }
    figure->height = n_small ? top + 120 + 38 : top - 28;
    figure->description = qk_figure_text(
        figure, "Mean number of massive values in each layer over documents.%s%s%s",
        results->n_models == 1 ? " The band is one standard deviation over documents." : "",
        results->n_models == 2 ? " The area between the two models is shaded in the colour of the one that has more."
                               : "",
        results->n_models > 1 ? " Triangles at the top mark the layers in which a later model has more than the first."
                              : "");
    return status;
}

/* ---- over lambda */

static void draw_sweep_line(qk_figure *figure, const qk_panel *panel, const qk_results *results, size_t model,
                            const char *tensor, double *x, double *y, size_t capacity)
{
    const json_t *rows = qk_rows(results, "sweep");
    uint32_t colour = qk_model_colours[model];
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(rows) && n < capacity; i++) {
        const json_t *row = json_array_get(rows, i);
        if (qk_field_index(row, "model") != model || !qk_field_is(row, "tensor", tensor)) continue;
        x[n] = qk_field_number(row, "lambda");
        y[n++] = qk_field_number(row, "total_mean");
    }
    qk_plot_line(figure, panel, x, y, n, qk_stroke(colour, 1.8));
    for (size_t i = 0; i < n; i++) {
        double px = qk_scale_map(&panel->x, x[i]), py = qk_scale_map(&panel->y, y[i]);
        if (isnan(px) || isnan(py)) continue;
        qk_draw_dot(
            figure, px, py, 4.5, (qk_paint){ y[i] == 0 ? 0xFFFFFF : colour, colour, 1, 1.2, false },
            qk_figure_text(figure, "%s, lambda %g: %.5g per document", results->models[model].name, x[i], y[i]));
    }
}

qk_status qk_draw_sweep(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    const json_t *rows = qk_rows(results, "sweep");
    size_t n_rows = json_array_size(rows), n_panels, panel_index = 0;
    const double left = 62, gap = 22;
    bool has[3], zero = false, top_k = qk_field_is(results->settings, "criterion", "top-k");
    double least = INFINITY, most = 0, lambda_low = INFINITY, lambda_high = 0, *values = NULL;
    for (size_t i = 0; i < n_rows; i++) {
        double count = qk_field_number(json_array_get(rows, i), "total_mean"),
               lambda = qk_field_number(json_array_get(rows, i), "lambda");
        zero = zero || count == 0;
        if (count > 0) least = fmin(least, count), most = fmax(most, count);
        lambda_low = fmin(lambda_low, lambda);
        lambda_high = fmax(lambda_high, lambda);
    }
    if (n_rows == 0) {
        qk_drawing_note(drawing, "No sweep over lambda was measured.");
        return QK_OK;
    }
    qk_figure *figure = qk_drawing_add(drawing, "lambda-sweep", "Massive values against the threshold lambda");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    qk_status status = qk_new_array(&values, 2 * n_rows, sizeof values[0], "a sweep", err);
    if (status) return status;
    n_panels = qk_tensors_present(has, results);
    double top = 34 + qk_draw_model_legend(figure, results, left, 8, QK_FIGURE_WIDTH - left - 20);
    double width = fmin(320, (QK_FIGURE_WIDTH - left - 16 - gap * (double)(n_panels - 1)) / (double)n_panels);
    for (int t = 0; t < 3; t++) {
        if (!has[t]) continue;
        qk_panel panel = { .x = qk_scale_linear(lambda_low, lambda_high), .y = qk_scale_log(least, most, zero),
                           .title = tensor_titles[t], .x_label = "threshold \u03bb (times the mean norm)" };
        if (panel_index == 0) panel.y_label = "massive values per document (log)";
        qk_panel_place(&panel, left + (double)panel_index++ * (width + gap), top, width, 190);
        panel.x.low = lambda_low - 0.3;
        panel.x.high = lambda_high + 0.3;
        qk_panel_draw(figure, &panel);
        double x = qk_scale_map(&panel.x, qk_field_number(results->settings, "lambda"));
        if (!top_k && x >= panel.left && x <= panel.left + panel.width)
            qk_draw_line(figure, x, panel.top, x, panel.top + panel.height, qk_dashes(QK_GREY, 1));
        for (size_t m = 0; m < results->n_models; m++)
            draw_sweep_line(figure, &panel, results, m, qk_result_tensors[t], values, values + n_rows, n_rows);
    }
    figure->height = top + 190 + 42;
    figure->description =
        qk_figure_text(figure, "Mean total per document at each threshold.%s%s",
                       top_k ? " This study counts the largest dims of each head instead."
                             : " The dashed line is the threshold of this study.",
                       zero ? " Counts of 0 stand in a lane of their own below the logarithmic axis." : "");
    free(values);
    return QK_OK;
}
