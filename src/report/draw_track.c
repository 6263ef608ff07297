/* draw_track.c - a training study against tokens: loss, max/mean, overlap, ablation, sinks; lengths by layer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/track.h"

enum { LEFT = 62, RIGHT = 18, GAP = 52 };

static const char *const tensor_titles[3] = { "Queries (Q)", "Keys (K)", "Values (V)" };

/* Half way to white: what lies behind. */
static uint32_t lighter(uint32_t colour)
{
    uint32_t out = 0;
    for (int shift = 16; shift >= 0; shift -= 8) out |= ((colour >> shift & 0xFF) / 2 + 0x7F) << shift;
    return out;
}

/* ---- lines of tracked numbers */

/* The model as it came, where the next measurement is of a changed one: it is no point of the line. */
static bool stands_apart(const qk_arm_track *t)
{
    return t->n > 1 && qk_field_number(t->rows[1], "rotation") < qk_field_number(t->rows[0], "rotation");
}

static void widen(double range[2], double value)
{
    if (!isfinite(value)) return;
    range[0] = fmin(range[0], value);
    range[1] = fmax(range[1], value);
}

static void widen_by_path(double range[2], const qk_results *results, const char *path)
{
    for (size_t a = 0; a < results->n_arms; a++) {
        const qk_arm_track *t = &results->tracks[a];
        for (size_t i = 0; i < t->n; i++) widen(range, qk_track_number(t->rows[i], path));
    }
}

typedef struct line_style { bool dashed, light, dots; } line_style;

/* The numbers at `path` of one arm. */
static qk_status plot_path(qk_figure *figure, const qk_panel *panel, const qk_results *results, size_t arm,
                           const qk_token_axis *axis, const char *path, line_style style, qk_error *err)
{
    const qk_arm_track *t = &results->tracks[arm];
    double *x = NULL;
    uint32_t colour = style.light ? lighter(qk_model_colours[arm]) : qk_model_colours[arm];
    qk_status status = qk_new_array(&x, 2 * t->n + 1, sizeof x[0], "a line", err);
    if (status) return status;
    double *y = x + t->n;
    size_t first = stands_apart(t);
    for (size_t i = 0; i < t->n; i++) {
        x[i] = qk_field_number(t->rows[i], "tokens") / axis->unit;
        y[i] = qk_track_number(t->rows[i], path);
    }
    qk_plot_line(figure, panel, x + first, y + first, t->n - first,
                 (qk_paint){ QK_NO_COLOUR, colour, 1, style.light ? 1.2 : 1.8, style.dashed });
    for (size_t i = 0; style.dots && i < t->n; i++) {
        double px = qk_scale_map(&panel->x, x[i]), py = qk_scale_map(&panel->y, y[i]);
        bool apart = i < first;
        if (isnan(px) || isnan(py)) continue;
        qk_draw_dot(figure, px, py, apart ? 6 : t->n > 60 ? 2.5 : 4,
                    (qk_paint){ apart ? 0xFFFFFF : colour, colour, 1, apart ? 1.5 : 0.5, false },
                    qk_figure_text(figure, "%s, %s %.4g: %.4g", results->arms[arm].name,
                                   apart ? "before any change, tokens" : axis->unit > 1e5 ? "million tokens"
                                                                                          : "thousand tokens",
                                   x[i], y[i]));
    }
    free(x);
    return QK_OK;
}

/* A panel over all arms; `path` has one %s for the tensor where `tensor` is given. */
static qk_status draw_path(qk_figure *figure, qk_panel *panel, const qk_results *results, const qk_token_axis *axis,
                           const char *path, qk_error *err)
{
    double range[2] = { INFINITY, -INFINITY };
    qk_status status = QK_OK;
    panel->x = qk_token_scale(axis);
    panel->x_label = axis->label;
    qk_panel_place(panel, panel->left, panel->top, panel->width, panel->height);
    qk_panel_draw(figure, panel);
    widen_by_path(range, results, path);
    if (!isfinite(range[0]))
        qk_draw_text(figure, panel->left + panel->width / 2, panel->top + panel->height / 2, QK_SIZE_TICK, QK_GREY,
                     QK_ANCHOR_MIDDLE, "nothing to show");
    for (size_t a = 0; !status && a < results->n_arms; a++)
        status = plot_path(figure, panel, results, a, axis, path, (line_style){ .dots = true }, err);
    return status;
}

/* ---- three panels: q, k, v */

typedef struct three_panels {
    const char *figure, *title, *field, *y_label; /* field of totals.q */
    double low, high;   /* of the y axes, at least; NaN: as the numbers are */
    double threshold;   /* a line across; NaN for none */
} three_panels;

static qk_status draw_three(qk_figure **out, qk_drawing *drawing, const qk_results *results, const three_panels *p,
                            qk_error *err)
{
    const double width = (QK_FIGURE_WIDTH - LEFT - RIGHT - 2 * GAP) / 3.0;
    qk_token_axis axis = qk_token_axis_of(results);
    qk_status status = QK_OK;
    qk_figure *figure = qk_drawing_add(drawing, p->figure, p->title);
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    double top = 28 + qk_draw_arm_legend(figure, results, LEFT, 8, QK_FIGURE_WIDTH - LEFT - RIGHT);
    for (int t = 0; !status && t < 3; t++) {
        char path[48];
        double range[2] = { p->low, p->high };
        snprintf(path, sizeof path, "totals.%s.%s", qk_result_tensors[t], p->field);
        widen_by_path(range, results, path);
        qk_panel panel = { .left = LEFT + t * (width + GAP), .top = top, .width = width, .height = 150,
                           .title = tensor_titles[t], .y_label = t == 0 ? p->y_label : NULL,
                           .y = qk_scale_linear(range[0], range[1]) };
        status = draw_path(figure, &panel, results, &axis, path, err);
        double y = qk_scale_map(&panel.y, p->threshold);
        if (isnan(y)) continue;
        qk_draw_line(figure, panel.left, y, panel.left + width, y, qk_dashes(0xA04000, 1));
        qk_draw_text(figure, panel.left + width + 4, y + 3.5, QK_SIZE_TICK, 0xA04000, QK_ANCHOR_START, "\u03bb");
    }
    figure->height = top + 150 + 40;
    *out = figure;
    return status;
}

static const char *apart_words(const qk_results *results)
{
    for (size_t a = 0; a < results->n_arms; a++)
        if (stands_apart(&results->tracks[a]))
            return " Hollow point: the model as it came, before its rotation was dropped.";
    return "";
}

/* False, with a note where it is missed, where nothing was tracked. */
static bool was_tracked(qk_drawing *drawing, const qk_results *results, const char *what)
{
    if (json_array_size(qk_rows(results, "track")) > 0) return true;
    if (what) qk_drawing_note(drawing, "%s", what);
    return false;
}

qk_status qk_draw_tracked_peaks(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    qk_figure *figure = NULL;
    qk_status status = QK_OK;
    if (!was_tracked(drawing, results, NULL)) return QK_OK;
    double lambda = qk_field_number(results->settings, "lambda");
    status = draw_three(&figure, drawing, results,
                        &(three_panels){ "tracked-peaks", "How far the largest norm stands out", "max_over_mean",
                                         "largest norm / mean", 0, isfinite(lambda) ? lambda : 1, lambda }, err);
    if (!status)
        figure->description = qk_figure_text(
            figure,
            "Largest norm of a dim over the mean of its layer: the largest of the layers. Above the dashed line "
            "(\u03bb = %.3g) something is massive.%s", lambda, apart_words(results));
    return status;
}

qk_status qk_draw_tracked_overlap(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    qk_figure *figure = NULL;
    qk_status status = QK_OK;
    if (!was_tracked(drawing, results, NULL)) return QK_OK;
    bool any = false;
    for (int t = 0; t < 3; t++) any = any || !qk_track_is_empty(results, "count", qk_result_tensors[t]);
    if (!any)
        qk_drawing_note(drawing, "Nothing is massive at any time: there are no masks to compare with the first ones.");
    else
        status = draw_three(&figure, drawing, results,
                            &(three_panels){ "tracked-overlap", "Are they still the same dims?", "overlap",
                                             "overlap with the first", 0, 1, NAN }, err);
    if (!status && any)
        figure->description = qk_figure_text(
            figure, "Jaccard index of the massive dims with those of the first measurement, all layers together: 1 the "
                    "same dims, 0 none in common. A gap: nothing is massive, then as now.%s", apart_words(results));
    return status;
}

/* ---- loss */

/* What log[] has at `field` for an arm, as a line; returns whether there is anything. */
static qk_status plot_log(bool *any, qk_figure *figure, const qk_panel *panel, const qk_results *results, size_t arm,
                          const qk_token_axis *axis, const char *field, qk_paint paint, double range[2], qk_error *err)
{
    const json_t *rows = qk_rows(results, "log");
    double *x = NULL;
    size_t n = json_array_size(rows), n_points = 0;
    qk_status status = qk_new_array(&x, 2 * n + 1, sizeof x[0], "a line", err);
    for (size_t i = 0; !status && i < n; i++) {
        const json_t *row = json_array_get(rows, i);
        double value = qk_field_number(row, field);
        if (qk_field_index(row, "arm") != arm || isnan(value)) continue;
        x[n_points] = qk_field_number(row, "tokens") / axis->unit;
        x[n + n_points++] = value;
        if (range) widen(range, value);
    }
    if (!status && figure) qk_plot_line(figure, panel, x, x + n, n_points, paint);
    *any = *any || n_points > 0;
    free(x);
    return status;
}

static void draw_line_key(qk_figure *figure, double right, double y, bool training, bool held_out)
{
    double x = right;
    static const char *const words[] = { "held out", "training" };
    bool has[] = { held_out, training };
    for (int i = 0; i < 2; i++) {
        if (!has[i]) continue;
        x -= qk_text_width(words[i], QK_SIZE_TICK);
        qk_draw_text(figure, x, y, QK_SIZE_TICK, QK_INK, QK_ANCHOR_START, words[i]);
        qk_draw_line(figure, x - 22, y - 3.5, x - 5, y - 3.5, qk_stroke(i ? QK_LIGHT : QK_INK, i ? 1.2 : 1.8));
        x -= 36;
    }
}

static qk_status draw_loss(qk_figure *figure, const qk_results *results, qk_error *err)
{
    qk_token_axis axis = qk_token_axis_of(results);
    bool tracked = json_array_size(qk_rows(results, "track")) > 0, training = false, valid = false;
    double range[2] = { INFINITY, -INFINITY };
    qk_status status = QK_OK;
    widen_by_path(range, results, "loss");
    for (size_t a = 0; !status && a < results->n_arms; a++) {
        status = plot_log(&training, NULL, NULL, results, a, &axis, "loss", qk_stroke(0, 1), range, err);
        if (!status && !tracked)
            status = plot_log(&valid, NULL, NULL, results, a, &axis, "validation_loss", qk_stroke(0, 1), range, err);
    }
    if (status) return status;
    bool log = range[0] > 0 && range[1] > 2.5 * range[0];
    double top = 34;
    qk_panel panel = { .left = LEFT, .top = top, .width = QK_FIGURE_WIDTH - LEFT - RIGHT, .height = 240,
                       .y_label = log ? "loss (nats per token, log)" : "loss (nats per token)" };
    panel.y = log ? qk_scale_log(range[0], range[1], false) : qk_scale_linear(range[0], range[1]);
    panel.x = qk_token_scale(&axis);
    panel.x_label = axis.label;
    qk_panel_place(&panel, panel.left, panel.top, panel.width, panel.height);
    qk_panel_draw(figure, &panel);
    qk_draw_arm_legend(figure, results, LEFT, 10, QK_FIGURE_WIDTH - LEFT - RIGHT - 170);
    draw_line_key(figure, QK_FIGURE_WIDTH - RIGHT, 19, training, tracked || valid);
    for (size_t a = 0; !status && a < results->n_arms; a++)
        status = plot_log(&training, figure, &panel, results, a, &axis, "loss",
                          qk_stroke(lighter(qk_model_colours[a]), 1.2), NULL, err);
    for (size_t a = 0; !status && a < results->n_arms; a++) {
        if (tracked)
            status = plot_path(figure, &panel, results, a, &axis, "loss", (line_style){ .dots = true }, err);
        else
            status = plot_log(&valid, figure, &panel, results, a, &axis, "validation_loss",
                              qk_stroke(qk_model_colours[a], 1.8), NULL, err);
    }
    figure->height = top + 240 + 40;
    figure->description = qk_figure_text(
        figure, "Loss of the training text as it was read (thin, pale)%s.%s",
        tracked ? ", and of the probe documents that evaluate, which are not trained on (points)"
        : valid ? ", and of held-out text (strong line)" : "",
        apart_words(results));
    return status;
}

qk_status qk_draw_tracked_loss(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    was_tracked(drawing, results, "Nothing was tracked (--track): there are no massive values to show.");
    if (json_array_size(qk_rows(results, "track")) + json_array_size(qk_rows(results, "log")) == 0) return QK_OK;
    qk_status status = QK_OK;
    qk_figure *figure = qk_drawing_add(drawing, "tracked-loss", "Loss against tokens");
    status = figure ? draw_loss(figure, results, err) : qk_out_of_memory(err, "a figure", 0);
    return status;
}

/* ---- what breaking the massive dims costs */

qk_status qk_draw_tracked_ablation(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    static const char *const paths[2] = { "ablation.zero", "ablation.mean" };
    static const char *const titles[2] = { "Set to zero", "Set to their mean" };
    const double width = (QK_FIGURE_WIDTH - LEFT - RIGHT - GAP) / 2.0;
    double ranges[2][2] = { { 0, -INFINITY }, { 0, -INFINITY } }, random[2] = { 0, -INFINITY };
    qk_status status = QK_OK;
    if (!was_tracked(drawing, results, NULL)) return QK_OK;
    qk_token_axis axis = qk_token_axis_of(results);
    for (int i = 0; i < 2; i++) widen_by_path(ranges[i], results, paths[i]);
    widen_by_path(random, results, "ablation.random");
    widen(ranges[0], random[0]);
    widen(ranges[0], random[1]);
    if (!isfinite(ranges[1][1])) {
        qk_drawing_note(drawing, "No query or key dim is massive at any time: there is nothing to break, and no effect "
                                 "to draw.");
        return QK_OK;
    }
    qk_figure *figure = qk_drawing_add(drawing, "tracked-ablation", "What breaking the massive dims of Q and K costs");
    if (!figure) status = qk_out_of_memory(err, "a figure", 0);
    double top = figure ? 28 + qk_draw_arm_legend(figure, results, LEFT, 8, QK_FIGURE_WIDTH - LEFT - RIGHT) : 0;
    for (int i = 0; !status && i < 2; i++) {
        qk_panel panel = { .left = LEFT + i * (width + GAP), .top = top, .width = width, .height = 170,
                           .title = titles[i], .y_label = i == 0 ? "\u0394NLL (nats per token)" : NULL,
                           .y = qk_scale_linear(ranges[i][0], ranges[i][1]) };
        status = draw_path(figure, &panel, results, &axis, paths[i], err);
        for (size_t a = 0; !status && i == 0 && a < results->n_arms; a++)
            status = plot_path(figure, &panel, results, a, &axis, "ablation.random",
                               (line_style){ .dashed = true, .light = true }, err);
        double zero = qk_scale_map(&panel.y, 0);
        qk_draw_line(figure, panel.left, zero, panel.left + width, zero, qk_stroke(QK_INK, 1));
    }
    if (!status) {
        figure->height = top + 170 + 40;
        figure->description = qk_figure_text(
            figure,
            "Loss that is added when the dims of queries and keys that are massive at that time are broken in all "
            "layers at once. Dashed: as many other dims of each layer set to zero. The two panels have scales of their "
            "own. A gap: nothing is massive.%s", apart_words(results));
    }
    return status;
}

/* ---- sinks */

qk_status qk_draw_tracked_sinks(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    double range[2] = { INFINITY, -INFINITY };
    qk_status status = QK_OK;
    if (!was_tracked(drawing, results, NULL)) return QK_OK;
    widen_by_path(range, results, "sink_rate");
    if (!isfinite(range[0])) {
        qk_drawing_note(drawing, "No probe document is long enough to measure attention sinks.");
        return QK_OK;
    }
    qk_token_axis axis = qk_token_axis_of(results);
    qk_figure *figure = qk_drawing_add(drawing, "tracked-sinks", "Attention sinks");
    if (!figure) status = qk_out_of_memory(err, "a figure", 0);
    if (!status) {
        double top = 18 + qk_draw_arm_legend(figure, results, LEFT, 8, QK_FIGURE_WIDTH - LEFT - RIGHT);
        qk_panel panel = { .left = LEFT, .top = top, .width = QK_FIGURE_WIDTH - LEFT - RIGHT, .height = 130,
                           .y_label = "sink rate", .y = qk_scale_linear(0, 1) };
        status = draw_path(figure, &panel, results, &axis, "sink_rate", err);
        figure->height = top + 130 + 40;
        figure->description = qk_figure_text(
            figure, "Share of heads, over layers and probe documents, that pay the first token more than 0.3 of their "
                    "attention on average over 64 positions (Gu et al. 2024).%s", apart_words(results));
    }
    return status;
}
