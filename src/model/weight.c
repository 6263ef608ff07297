/* weight.c - rows of a weight as f32, in Hugging Face order. */
#include "model/model.h"

#include <string.h>

/* Where row `row` lies in the file: a head's rows (2i, 2i+1) of an interleaved file are its halves' rows i and i +
 * D/2. */
static size_t file_row(const qk_weight *w, size_t row)
{
    if (w->interleaved_heads == 0) return row;
    size_t d = w->n_rows / (size_t)w->interleaved_heads, head = row / d, r = row % d;
    return head * d + (r < d / 2 ? 2 * r : 2 * (r - d / 2) + 1);
}

void qk_weight_rows(float *out, const qk_weight *w, size_t row0, size_t n_rows)
{
    const qk_dtype_info *dtype = qk_dtype_describe(w->tensor->dtype);
    size_t row_bytes = w->n_cols / dtype->block_elements * dtype->block_bytes;
    if (w->interleaved_heads == 0 &&
        (w->n_cols == 1 || row_bytes * dtype->block_elements == w->n_cols * dtype->block_bytes)) {
        size_t first = row0 * w->n_cols / dtype->block_elements * dtype->block_bytes;
        dtype->to_f32(out, w->tensor->data + first, n_rows * w->n_cols);
        return;
    }
    for (size_t i = 0; i < n_rows; i++)
        dtype->to_f32(out + i * w->n_cols, w->tensor->data + file_row(w, row0 + i) * row_bytes, w->n_cols);
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
    bool plain = w->tensor->dtype == QK_DTYPE_F32 && w->interleaved_heads == 0;
    return plain && (uintptr_t)w->tensor->data % sizeof(float) == 0 ? (const float *)(const void *)w->tensor->data
                                                                    : NULL;
}
