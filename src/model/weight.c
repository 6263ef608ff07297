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

void qk_weight_expect(const qk_weight *w, const qk_ckpt *ckpt)
{
    if (w->tensor) qk_ckpt_expect(ckpt, w->tensor);
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
