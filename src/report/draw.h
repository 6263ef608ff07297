/* draw.h - the figures of each study: results in, lists of marks out.  A figure's description is its caption. */
#ifndef QK_REPORT_DRAW_H
#define QK_REPORT_DRAW_H

#include "report/figure.h"
#include "report/results.h"

enum { QK_MAX_FIGURES = 16, QK_MAX_NOTES = 16, QK_FIGURE_WIDTH = 720 /* points */ };

typedef struct qk_drawing {
    qk_figure *figures[QK_MAX_FIGURES];
    size_t n_figures;
    char *notes[QK_MAX_NOTES]; /* what could not be drawn, and why: said in the report */
    size_t n_notes;
} qk_drawing; /* {0} is an empty one */

void qk_drawing_free(qk_drawing *drawing);
/* A new figure at the end of the drawing; NULL when out of memory. */
qk_figure *qk_drawing_add(qk_drawing *drawing, const char *name, const char *title);
void qk_drawing_note(qk_drawing *drawing, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* All figures of the study in `results`. */
qk_status qk_draw_results(qk_drawing *drawing, const qk_results *results, qk_error *err);

qk_status qk_draw_massive_totals(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_massive_layers(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_sweep(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_norm_maps(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_pair_norms(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_perplexity(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_delta(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_kinds(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_context(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_context_broken(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_context_maps(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_accuracy(qk_drawing *drawing, const qk_results *results, qk_error *err);
qk_status qk_draw_delta_documents(qk_drawing *drawing, const qk_results *results, qk_error *err);

/* ---- shared by the files that draw */

/* The names of the models as a legend of squares; returns its height, 0 for a single model. */
double qk_draw_model_legend(qk_figure *figure, const qk_results *results, double left, double top, double width);
/* Which tensors the study has rows for: has[3]; returns how many. */
size_t qk_tensors_present(bool has[3], const qk_results *results);

/* The norm map of one tensor of one layer, from arrays.safetensors. */
typedef struct qk_norm_map {
    const uint8_t *data; /* F32 little endian, maybe unaligned */
    size_t n_heads, head_dim;
    double mean;
} qk_norm_map;
double qk_norm_map_at(const qk_norm_map *map, size_t head, size_t dim);
/* False where the file or the tensor is not there; a tensor of another shape or dtype is refused. */
qk_status qk_norm_map_find(bool *found, qk_norm_map *map, const qk_results *results, size_t model, size_t layer,
                           int tensor, qk_error *err);

#endif
