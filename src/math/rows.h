/* rows.h - a matrix as it lies in memory or in a file: rows of one number format, read in pieces as f32.
 *
 * What the products of kernels.h take as weights, so that no weight has to be converted as a whole. */
#ifndef QK_MATH_ROWS_H
#define QK_MATH_ROWS_H

#include "math/dtype.h"

typedef struct qk_rows {
    const uint8_t *data;   /* n_rows * n_cols numbers, row behind row; a block of the format may reach over two rows */
    qk_dtype dtype;        /* one that has to_f32 */
    size_t n_rows, n_cols;
    int interleaved_heads; /* > 0: rows of this many heads lie as rotary pairs (2i, 2i+1); row r is row r of the halves */
} qk_rows;

static inline qk_rows qk_rows_of_floats(const float *x, size_t n_rows, size_t n_cols)
{
    return (qk_rows){ (const uint8_t *)x, QK_DTYPE_F32, n_rows, n_cols, 0 };
}

/* The matrix itself where it is aligned f32 in its own order; else NULL. */
const float *qk_rows_floats(const qk_rows *rows);

/* Where a row lies; NULL where it does not begin a block of the format. */
const uint8_t *qk_rows_at(const qk_rows *rows, size_t row);

/* Asks for what qk_rows_read is about to read to come to the second-level cache: short pieces far apart, which the
 * processor does not see coming. */
void qk_rows_announce(const qk_rows *rows, size_t row0, size_t n_rows, size_t column0, size_t n_columns);

/* out[i * out_stride + j] = entry (row0 + i, column0 + j) for i < n_rows, j < n_columns.  Any thread. */
void qk_rows_read(float *out, size_t out_stride, const qk_rows *rows, size_t row0, size_t n_rows, size_t column0,
                  size_t n_columns);

#endif
