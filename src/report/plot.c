/* plot.c - panels and series. */
#include "report/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const uint32_t qk_model_colours[8] = { 0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0x56B4E9, 0xE69F00, 0x000000, 0x7A5195 };

void qk_viridis(uint32_t palette[256])
{
    static const uint8_t anchors[9][3] = {
        { 0x44, 0x01, 0x54 }, { 0x47, 0x2D, 0x7B }, { 0x3B, 0x52, 0x8B }, { 0x2C, 0x72, 0x8E }, { 0x21, 0x91, 0x8C },
        { 0x28, 0xAE, 0x80 }, { 0x5E, 0xC9, 0x62 }, { 0xAD, 0xDC, 0x30 }, { 0xFD, 0xE7, 0x25 },
    };
    for (int i = 0; i < 256; i++) {
        int a = i * 8 / 255 < 7 ? i * 8 / 255 : 7;
        double t = i * 8 / 255.0 - a;
        palette[i] = 0;
        for (int c = 0; c < 3; c++)
            palette[i] = palette[i] << 8 | (uint32_t)lround(anchors[a][c] + t * (anchors[a + 1][c] - anchors[a][c]));
    }
}

void qk_panel_place(qk_panel *panel, double left, double top, double width, double height)
{
    panel->left = left;
    panel->top = top;
    panel->width = width;
    panel->height = height;
    panel->x.from = left;
    panel->x.to = left + width;
    panel->y.from = top + height;
    panel->y.to = top;
}

static const qk_paint grid_paint = { QK_NO_COLOUR, QK_GRID, 1, 0.75, false };
static const qk_paint axis_paint = { QK_NO_COLOUR, QK_GREY, 1, 0.75, false };

static void draw_x_axis(qk_figure *figure, const qk_panel *panel)
{
    double ticks[QK_MAX_TICKS], bottom = panel->top + panel->height;
    char text[32];
    size_t n = panel->no_x ? 0 : qk_scale_ticks(ticks, &panel->x);
    for (size_t i = 0; i < n; i++) {
        double x = qk_scale_map(&panel->x, ticks[i]);
        if (panel->whole_x && fabs(ticks[i] - round(ticks[i])) > 1e-9) continue;
        if (panel->x.log || panel->no_y) qk_draw_line(figure, x, panel->top, x, bottom, grid_paint);
        qk_draw_line(figure, x, bottom, x, bottom + 3, axis_paint);
        qk_format_number(text, ticks[i], 4);
        qk_draw_text(figure, x, bottom + 14, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_MIDDLE, text);
    }
    double zero = qk_scale_zero(&panel->x);
    if (!isnan(zero)) qk_draw_text(figure, zero, bottom + 14, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_MIDDLE, "0");
    qk_draw_line(figure, panel->left, bottom, panel->left + panel->width, bottom, axis_paint);
    if (panel->x_label)
        qk_draw_text(figure, panel->left + panel->width / 2, bottom + 30, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_MIDDLE,
                     panel->x_label);
}

static void draw_y_axis(qk_figure *figure, const qk_panel *panel)
{
    double ticks[QK_MAX_TICKS], widest = 0, zero = qk_scale_zero(&panel->y);
    char text[32];
    size_t n = panel->no_y ? 0 : qk_scale_ticks(ticks, &panel->y);
    for (size_t i = 0; i < n; i++) {
        double y = qk_scale_map(&panel->y, ticks[i]);
        qk_format_number(text, ticks[i], 4);
        widest = fmax(widest, qk_text_width(text, QK_SIZE_TICK));
        qk_draw_line(figure, panel->left, y, panel->left + panel->width, y, grid_paint);
        qk_draw_text(figure, panel->left - 5, y + 3.5, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_END, text);
    }
    if (!isnan(zero)) {
        qk_draw_line(figure, panel->left, zero, panel->left + panel->width, zero, grid_paint);
        qk_draw_text(figure, panel->left - 5, zero + 3.5, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_END, "0");
    }
    if (!panel->y_label) return;
    qk_draw_text(figure, panel->left - widest - 14, panel->top + panel->height / 2, QK_SIZE_LABEL, QK_INK,
                 QK_ANCHOR_MIDDLE, panel->y_label);
    if (qk_last_mark(figure)) qk_last_mark(figure)->turn = -90;
}

void qk_panel_draw(qk_figure *figure, const qk_panel *panel)
{
    draw_y_axis(figure, panel);
    draw_x_axis(figure, panel);
    if (!panel->title) return;
    qk_draw_text(figure, panel->left, panel->top - 8, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_START, panel->title);
    if (qk_last_mark(figure)) qk_last_mark(figure)->bold = true;
}

/* ---- series */

/* Room for n points; remembers a failure in the figure. */
static double *new_points(qk_figure *figure, size_t n)
{
    double *points = calloc(2 * n + 2, sizeof points[0]);
    if (!points) figure->out_of_memory = true;
    return points;
}

void qk_plot_line(qk_figure *figure, const qk_panel *panel, const double *x, const double *y, size_t n, qk_paint paint)
{
    double *points = new_points(figure, n);
    size_t n_points = 0;
    for (size_t i = 0; points && i <= n; i++) {
        double px = i < n ? qk_scale_map(&panel->x, x[i]) : NAN, py = i < n ? qk_scale_map(&panel->y, y[i]) : NAN;
        if (!isnan(px) && !isnan(py)) {
            points[2 * n_points] = px;
            points[2 * n_points++ + 1] = py;
            continue;
        }
        if (n_points == 1) /* a point between two gaps would be invisible as a line */
            qk_draw_dot(figure, points[0], points[1], 3, qk_fill(paint.stroke, 0), NULL);
        qk_draw_path(figure, points, n_points, false, paint, NULL);
        n_points = 0;
    }
    free(points);
}

void qk_plot_band(qk_figure *figure, const qk_panel *panel, const double *x, const double *low, const double *high,
                  size_t n, qk_paint paint)
{
    double *points = new_points(figure, 2 * n);
    for (size_t start = 0, end; points && start < n; start = end + 1) {
        size_t n_points = 0;
        for (end = start; end < n && isfinite(low[end]) && isfinite(high[end]); end++) {
            points[2 * n_points] = qk_scale_map(&panel->x, x[end]);
            points[2 * n_points++ + 1] = qk_scale_map(&panel->y, low[end]);
        }
        for (size_t i = end; i > start; i--) {
            points[2 * n_points] = qk_scale_map(&panel->x, x[i - 1]);
            points[2 * n_points++ + 1] = qk_scale_map(&panel->y, high[i - 1]);
        }
        if (n_points > 2) qk_draw_path(figure, points, n_points, true, paint, NULL);
    }
    free(points);
}

void qk_plot_between(qk_figure *figure, const qk_panel *panel, const double *x, const double *a, const double *b,
                     size_t n, qk_paint a_above, qk_paint b_above)
{
    for (size_t i = 0; i + 1 < n; i++) {
        double x0 = qk_scale_map(&panel->x, x[i]), x1 = qk_scale_map(&panel->x, x[i + 1]);
        double a0 = qk_scale_map(&panel->y, a[i]), a1 = qk_scale_map(&panel->y, a[i + 1]);
        double b0 = qk_scale_map(&panel->y, b[i]), b1 = qk_scale_map(&panel->y, b[i + 1]);
        double d0 = b0 - a0, d1 = b1 - a1; /* in points: negative where b is above */
        if (isnan(d0) || isnan(d1) || (d0 == 0 && d1 == 0)) continue;
        if (d0 * d1 >= 0) {
            qk_draw_path(figure, (double[]){ x0, a0, x1, a1, x1, b1, x0, b0 }, 4, true, d0 + d1 < 0 ? b_above : a_above,
                         NULL);
            continue;
        }
        double t = d0 / (d0 - d1), xc = x0 + t * (x1 - x0), yc = a0 + t * (a1 - a0); /* the lines cross here */
        qk_draw_path(figure, (double[]){ x0, a0, xc, yc, x0, b0 }, 3, true, d0 < 0 ? b_above : a_above, NULL);
        qk_draw_path(figure, (double[]){ x1, a1, xc, yc, x1, b1 }, 3, true, d1 < 0 ? b_above : a_above, NULL);
    }
}

void qk_plot_whisker(qk_figure *figure, const qk_panel *panel, double x, double low, double high, bool along_x,
                     uint32_t colour)
{
    const qk_scale *scale = along_x ? &panel->x : &panel->y;
    const qk_paint paint = { QK_NO_COLOUR, colour, 1, 1.4, false };
    double a = qk_scale_map(scale, low), b = qk_scale_map(scale, high);
    if (isnan(a) || isnan(b)) return;
    if (along_x) {
        qk_draw_line(figure, a, x, b, x, paint);
        qk_draw_line(figure, a, x - 3, a, x + 3, paint);
        qk_draw_line(figure, b, x - 3, b, x + 3, paint);
    } else {
        qk_draw_line(figure, x, a, x, b, paint);
        qk_draw_line(figure, x - 3, a, x + 3, a, paint);
        qk_draw_line(figure, x - 3, b, x + 3, b, paint);
    }
}

/* ---- names */

static int by_height(const void *a, const void *b)
{
    const qk_end_label *p = a, *q = b;
    return (p->y > q->y) - (p->y < q->y);
}

void qk_plot_end_labels(qk_figure *figure, const qk_panel *panel, qk_end_label *labels, size_t n, double width)
{
    const double gap = QK_SIZE_TICK + 2.5;
    size_t n_placed = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(labels[i].y)) labels[n_placed++] = labels[i];
    if (n_placed == 0) return;
    qsort(labels, n_placed, sizeof labels[0], by_height);
    for (size_t i = 1; i < n_placed; i++) labels[i].y = fmax(labels[i].y, labels[i - 1].y + gap);
    double over = labels[n_placed - 1].y - (panel->top + panel->height);
    if (over > 0) { /* pushed past the bottom: push back up */
        labels[n_placed - 1].y -= over;
        for (size_t i = n_placed - 1; i > 0; i--) labels[i - 1].y = fmin(labels[i - 1].y, labels[i].y - gap);
    }
    for (size_t i = 0; i < n_placed; i++) {
        qk_draw_text(figure, panel->left + panel->width + 7, labels[i].y + 3.5, QK_SIZE_TICK, labels[i].colour,
                     QK_ANCHOR_START, qk_figure_fit(figure, labels[i].text, QK_SIZE_TICK, width / QK_BOLD));
        if (qk_last_mark(figure)) {
            qk_last_mark(figure)->title = qk_figure_text(figure, "%s", labels[i].text);
            qk_last_mark(figure)->bold = true;
        }
    }
}

double qk_plot_legend(qk_figure *figure, double left, double top, double width, const char *const *names,
                      const uint32_t *colours, size_t n)
{
    const double line = 16, longest = width / 2;
    double x = left, y = top;
    for (size_t i = 0; i < n; i++) {
        const char *name = qk_figure_fit(figure, names[i], QK_SIZE_LABEL, longest);
        double need = 16 + qk_text_width(name, QK_SIZE_LABEL);
        if (x > left && x + need > left + width) {
            x = left;
            y += line;
        }
        qk_draw_rect(figure, x, y, 10, 10, qk_fill(colours[i], 1), NULL);
        qk_draw_text(figure, x + 14, y + 9, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_START, name);
        x += need + 18;
    }
    return y + line - top;
}
