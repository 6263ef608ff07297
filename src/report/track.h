/* track.h - the rows of track[] and log[] of a training study, arm by arm; figures of them. */
#ifndef QK_REPORT_TRACK_H
#define QK_REPORT_TRACK_H

#include "report/draw.h"
#include "report/plot.h"

/* The number at "totals.q.count" of a row; NaN for null and for what is absent. */
double qk_track_number(const json_t *row, const char *path);

/* What a reader wants to compare; NULL where there is none. */
typedef struct qk_moments {
    const json_t *before;  /* the first measurement: the model as it came */
    const json_t *dropped; /* the first one with the least rotation, where that is less than at first */
    const json_t *last;
} qk_moments;
qk_moments qk_track_moments(const qk_arm_track *track);
/* Is nothing massive in that tensor, at any time, in any arm ("count", "count_3")? */
bool qk_track_is_empty(const qk_results *results, const char *count, const char *tensor);

/* ---- what its figures share */

/* Tokens are drawn in millions, or in thousands where there are few. */
typedef struct qk_token_axis { double unit, most; const char *label; } qk_token_axis;
qk_token_axis qk_token_axis_of(const qk_results *results);
/* From 0 to the last row, not to the next round number: what is not there yet takes no room. */
qk_scale qk_token_scale(const qk_token_axis *axis);
/* The names of the arms as a legend; returns its height, 0 for a single arm. */
double qk_draw_arm_legend(qk_figure *figure, const qk_results *results, double left, double top, double width);

qk_status qk_draw_tracked_loss(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_tracked_counts(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_tracked_peaks(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_tracked_overlap(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_tracked_ablation(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_tracked_lengths(qk_drawing *drawing, const qk_results *results, qk_error *err);
/* The fit of an arm's attention temperature (docs/RESULTS.md); NULL where there is none. */
const json_t *qk_temperature_of(const qk_results *results, size_t arm);
/* List items (html_recalibration.c): what an arm lost, where that is not everything at once; its temperature. */
void qk_html_extent(FILE *stream, const qk_results *results, size_t arm);
void qk_html_temperature(FILE *stream, const qk_results *results, size_t arm);
qk_status qk_draw_temperature(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_tracked_sinks(qk_drawing *drawing, const qk_results *results, qk_error *err);

#endif
