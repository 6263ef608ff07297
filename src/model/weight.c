/* weight.c - rows of a weight as f32, in Hugging Face order. */
#include "model/model.h"

qk_rows qk_weight_matrix(const qk_weight *w)
{
    return (qk_rows){ w->tensor->data, w->tensor->dtype, w->n_rows, w->n_cols, w->interleaved_heads };
}

void qk_weight_rows(float *out, const qk_weight *w, size_t row0, size_t n_rows)
{
    qk_rows matrix = qk_weight_matrix(w);
    qk_rows_read(out, w->n_cols, &matrix, row0, n_rows, 0, w->n_cols);
}

/* Slabs of whole rows, so that a released file never has more than one of them in memory. */
#define SLAB_BYTES ((size_t)16 << 20)

void qk_weight_convert(float *out, const qk_weight *w, const qk_ckpt *ckpt, bool release, int n_threads)
{
    const size_t step = 64;
    size_t row_bytes = w->tensor->n_bytes / w->n_rows, slab = SLAB_BYTES / row_bytes / step * step;
    if (slab < step) slab = step;
    /* Interleaved rows are read out of order within a head: whole heads stay together. */
    if (w->interleaved_heads) slab = w->n_rows;
    for (size_t first = 0; first < w->n_rows; first += slab) {
        size_t end = w->n_rows - first < slab ? w->n_rows : first + slab;
#pragma omp parallel for num_threads(n_threads) if ((end - first) * w->n_cols > 100000)
        for (size_t row = first; row < end; row += step)
            qk_weight_rows(out + row * w->n_cols, w, row, end - row < step ? end - row : step);
        if (release) qk_ckpt_release(ckpt, w->tensor, first * row_bytes, (end - first) * row_bytes);
    }
}

void qk_weight_release(const qk_weight *w, const qk_ckpt *ckpt)
{
    if (w->tensor) qk_ckpt_release(ckpt, w->tensor, 0, w->tensor->n_bytes);
}

const float *qk_weight_mapped(const qk_weight *w)
{
    qk_rows matrix = qk_weight_matrix(w);
    return qk_rows_floats(&matrix);
}
