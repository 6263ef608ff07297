/* plot_scaling.c - the figure of bench/scaling.py: a panel a sweep, measured points on their fitted line.
 *
 *   plot_scaling POINTS.csv FIGURE.svg */
#include <stdlib.h>
#include <string.h>

#include "report/plot.h"

enum { MOST_POINTS = 32, PANELS = 4, SIDE = 168, GAP = 66, LEFT = 58, TOP = 46, WIDTH = LEFT + PANELS * (SIDE + GAP) };

typedef struct sweep {
    char name[32], unit[32];
    double x[MOST_POINTS], seconds[MOST_POINTS], fitted[MOST_POINTS];
    size_t n;
} sweep;

/* Rows of one sweep follow each other; what does not fit is left out of the figure. */
static size_t read_sweeps(sweep sweeps[PANELS], FILE *file)
{
    char line[300], name[32], unit[32];
    size_t n = 0;
    double x, seconds, fitted;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%31[^,],%31[^,],%lf,%lf,%lf", name, unit, &x, &seconds, &fitted) != 5) continue; /* heads */
        if (strcmp(name, "threads") == 0) continue;
        if (n == 0 || strcmp(sweeps[n - 1].name, name) != 0) {
            if (n == PANELS) break;
            n++;
            snprintf(sweeps[n - 1].name, sizeof name, "%s", name);
            snprintf(sweeps[n - 1].unit, sizeof unit, "%s", unit);
        }
        sweep *s = &sweeps[n - 1];
        if (s->n == MOST_POINTS) continue;
        s->x[s->n] = x;
        s->seconds[s->n] = seconds;
        s->fitted[s->n++] = fitted;
    }
    return n;
}

static void draw(qk_figure *figure, const sweep *s, size_t index)
{
    double most = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->seconds[i] > most) most = s->seconds[i];
        if (s->fitted[i] > most) most = s->fitted[i];
    }
    qk_panel panel = { .x = qk_scale_linear(0, s->n ? s->x[s->n - 1] : 1),
                       .y = qk_scale_linear(0, most),
                       .title = qk_figure_text(figure, "time against %s", s->name),
                       .x_label = s->unit,
                       .y_label = index ? NULL : "processor seconds",
                       .whole_x = true };
    qk_panel_place(&panel, LEFT + (double)index * (SIDE + GAP), TOP, SIDE, SIDE);
    qk_panel_draw(figure, &panel);
    qk_plot_line(figure, &panel, s->x, s->fitted, s->n, qk_stroke(qk_model_colours[0], 1.6));
    for (size_t i = 0; i < s->n; i++)
        qk_draw_dot(figure, qk_scale_map(&panel.x, s->x[i]), qk_scale_map(&panel.y, s->seconds[i]), 5,
                    qk_fill(qk_model_colours[1], 1), qk_figure_text(figure, "%g: %.3f s", s->x[i], s->seconds[i]));
}

int main(int argc, char **argv)
{
    static sweep sweeps[PANELS];
    qk_error err;
    qk_output out;
    if (argc != 3) return fputs("usage: plot_scaling POINTS.csv FIGURE.svg\n", stderr), 2;
    FILE *file = fopen(argv[1], "r");
    if (!file) return perror(argv[1]), 1;
    size_t n = read_sweeps(sweeps, file);
    fclose(file);
    qk_figure *figure = n ? qk_figure_new("scaling", WIDTH) : NULL;
    if (!figure) return fprintf(stderr, "plot_scaling: %s: expected points, found none\n", argv[1]), 1;
    figure->height = TOP + SIDE + 50;
    figure->title = "Time against documents, conditions, tokens and layers";
    figure->description = "Measured points on fitted lines; tokens with a square term for attention";
    for (size_t i = 0; i < n; i++) draw(figure, &sweeps[i], i);
    qk_status status = qk_output_open(&out, argv[2], &err);
    if (!status) {
        status = qk_svg_write(out.stream, figure, true, &err);
        if (!status) status = qk_output_commit(&out, &err);
        qk_output_discard(&out);
    }
    qk_figure_free(figure);
    if (status) fprintf(stderr, "plot_scaling: %s\n", err.message);
    return status ? 1 : 0;
}
