/* track.c - the rows of a training study, arm by arm. */
#include "report/track.h"

#include <math.h>
#include <stdlib.h>

double qk_track_number(const json_t *row, const char *path)
{
    const json_t *value = qk_json_at(row, path);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

qk_moments qk_track_moments(const qk_arm_track *track)
{
    qk_moments m = { NULL, NULL, NULL };
    if (track->n == 0) return m;
    m.before = track->rows[0];
    m.last = track->rows[track->n - 1];
    double least = qk_field_number(m.before, "rotation");
    for (size_t i = 1; i < track->n; i++) {
        double rotation = qk_field_number(track->rows[i], "rotation");
        if (!(rotation < least)) continue;
        least = rotation;
        m.dropped = track->rows[i];
    }
    return m;
}

bool qk_track_is_empty(const qk_results *results, const char *count, const char *tensor)
{
    char path[64];
    snprintf(path, sizeof path, "totals.%s.%s", tensor, count);
    for (size_t a = 0; a < results->n_arms; a++)
        for (size_t i = 0; i < results->tracks[a].n; i++)
            if (qk_track_number(results->tracks[a].rows[i], path) > 0) return false;
    return true;
}

qk_token_axis qk_token_axis_of(const qk_results *results)
{
    static const char *const tables[] = { "track", "log" };
    qk_token_axis axis = { 1, 0, NULL };
    for (size_t t = 0; t < 2; t++) {
        const json_t *rows = qk_rows(results, tables[t]);
        for (size_t i = 0; i < json_array_size(rows); i++)
            axis.most = fmax(axis.most, qk_field_number(json_array_get(rows, i), "tokens"));
    }
    axis.unit = axis.most >= 1e6 ? 1e6 : 1e3;
    axis.label = axis.most >= 1e6 ? "tokens trained on (millions)" : "tokens trained on (thousands)";
    return axis;
}

qk_scale qk_token_scale(const qk_token_axis *axis)
{
    return (qk_scale){ .low = 0, .high = axis->most > 0 ? axis->most / axis->unit : 1 };
}

double qk_draw_arm_legend(qk_figure *figure, const qk_results *results, double left, double top, double width)
{
    const char *names[QK_REPORT_ARMS];
    if (results->n_arms < 2) return 0;
    for (size_t a = 0; a < results->n_arms; a++) names[a] = results->arms[a].name;
    return qk_plot_legend(figure, left, top, width, names, qk_model_colours, results->n_arms);
}
