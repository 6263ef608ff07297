/* draw_temperature.c - loss on text beyond the trained context against the attention temperature, arm by arm. */
#include <math.h>
#include <stdlib.h>

#include "report/track.h"

enum { LEFT = 62, RIGHT = 18, HEIGHT = 220 };

const json_t *qk_temperature_of(const qk_results *results, size_t arm)
{
    const json_t *fit = json_object_get(json_array_get(qk_rows(results, "arms"), arm), "temperature");
    return json_array_size(json_object_get(fit, "curve")) > 1 ? fit : NULL;
}

static void widen(double range[2], const json_t *curve, const char *field)
{
    for (size_t i = 0; i < json_array_size(curve); i++) {
        double x = qk_field_number(json_array_get(curve, i), field);
        if (!isfinite(x)) continue;
        range[0] = fmin(range[0], x);
        range[1] = fmax(range[1], x);
    }
}

/* The curve, a dot at beta 1 and a larger one at the least loss. */
static qk_status plot_arm(qk_figure *figure, const qk_panel *panel, const qk_results *results, size_t arm,
                          qk_error *err)
{
    const json_t *fit = qk_temperature_of(results, arm), *curve = json_object_get(fit, "curve");
    const double points[2][2] = { { 1, qk_field_number(fit, "nll_at_one") },
                                  { qk_field_number(fit, "beta"), qk_field_number(fit, "nll") } };
    size_t n = json_array_size(curve);
    double *x = NULL;
    uint32_t colour = qk_model_colours[arm];
    if (!fit) return QK_OK;
    qk_status status = qk_new_array(&x, 2 * n, sizeof x[0], "a curve", err);
    if (status) return status;
    for (size_t i = 0; i < n; i++) {
        x[i] = qk_field_number(json_array_get(curve, i), "beta");
        x[n + i] = qk_field_number(json_array_get(curve, i), "nll");
    }
    qk_plot_line(figure, panel, x, x + n, n, qk_stroke(colour, 1.8));
    free(x);
    for (int i = 0; i < 2; i++) {
        double px = qk_scale_map(&panel->x, points[i][0]), py = qk_scale_map(&panel->y, points[i][1]);
        if (isnan(px) || isnan(py)) continue;
        qk_draw_dot(figure, px, py, i ? 7 : 5, (qk_paint){ i ? colour : 0xFFFFFF, colour, 1, 1.5, false },
                    qk_figure_text(figure, "%s, beta %.3g: %.4g nats per token", results->arms[arm].name, points[i][0],
                                   points[i][1]));
    }
    return QK_OK;
}

qk_status qk_draw_temperature(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    double beta[2] = { 1, 1 }, nll[2] = { INFINITY, -INFINITY };
    const json_t *first = NULL;
    qk_status status = QK_OK;
    for (size_t a = 0; a < results->n_arms; a++) {
        const json_t *fit = qk_temperature_of(results, a);
        if (fit && !first) first = fit;
        widen(beta, json_object_get(fit, "curve"), "beta");
        widen(nll, json_object_get(fit, "curve"), "nll");
    }
    if (!first) return QK_OK;
    qk_figure *figure = qk_drawing_add(drawing, "temperature", "Which attention temperature suits a longer context?");
    if (!figure) return qk_out_of_memory(err, "a figure", 0);
    const double width = QK_FIGURE_WIDTH - LEFT - RIGHT;
    double top = 24 + qk_draw_arm_legend(figure, results, LEFT, 8, width);
    qk_panel panel = { .x = qk_scale_linear(beta[0], beta[1]),
                       .y = qk_scale_linear(nll[0], nll[1]),
                       .x_label = "attention temperature beta (1: as trained)",
                       .y_label = "loss (nats per token)" };
    qk_panel_place(&panel, LEFT, top, width, HEIGHT);
    qk_panel_draw(figure, &panel);
    for (size_t a = 0; a < results->n_arms && !status; a++) status = plot_arm(figure, &panel, results, a, err);
    figure->height = top + HEIGHT + 40;
    figure->description = qk_figure_text(
        figure,
        "Held-out text of up to %g tokens, %.3g times the trained context, read with q.k times beta / sqrt(head dim). "
        "Hollow: beta 1; full: the least loss.", qk_field_number(first, "context"), qk_field_number(first, "stretch"));
    return status;
}
