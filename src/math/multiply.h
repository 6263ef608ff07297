/* multiply.h - matrix products by tiles: what the products of fast.c and backward_fast.c are made of. */
#ifndef QK_MATH_MULTIPLY_H
#define QK_MATH_MULTIPLY_H

#include "base/base.h"

/* Entry (i, j) is at[i * stride + j]; at[j * stride + i] when turned. */
typedef struct qk_matrix {
    const float *at;
    size_t stride;
    bool turned;
} qk_matrix;

typedef enum qk_operand_use {
    QK_OPERAND_IN_PLACE,
    QK_OPERAND_COPIED, /* part by part: faster where rows lie powers of two apart, and share few lines of the cache */
    QK_OPERAND_ROUNDED /* the same, rounded to bf16 (nearest, ties to even) */
} qk_operand_use;

#define QK_COPIED_SIDE 256 /* most rows and columns of a tile with copied operands */

/* How c is cut.  What a tile comes to does not depend on the others, nor on who computes it. */
typedef struct qk_tiling {
    size_t rows, columns;
    qk_operand_use left, right;
} qk_tiling;

/* c[m][n], rows c_stride apart, (+)= left[m][depth] right[depth][n] + bias[n] (NULL: none), by n_threads.  NaN where
 * oneDNN has no memory left. */
void qk_multiply(float *c, size_t c_stride, bool add, qk_matrix left, qk_matrix right, const float *bias, size_t m,
                 size_t n, size_t depth, const qk_tiling *tiling, int n_threads);
/* The same in one tile, operands in place, in the calling thread (which must have set its OpenMP threads to 1). */
void qk_multiply_tile(float *c, size_t c_stride, bool add, qk_matrix left, qk_matrix right, size_t m, size_t n,
                      size_t depth);

/* ---- multiply_bf16.c: one thread's access to the processor's bf16 unit, for operands that are to be rounded */

typedef struct qk_bf16_unit qk_bf16_unit;

bool qk_bf16_unit_present(void);
/* For tiles of this shape and sums of `depth`.  NULL: no memory, or oneDNN has no such product here. */
qk_bf16_unit *qk_bf16_unit_new(const qk_tiling *tiling, size_t depth, bool left_turned, bool right_turned);
void qk_bf16_unit_free(qk_bf16_unit *unit);
/* c[m][n] (+)= rounded left times rounded right; m and n at most those of the tiling.  NaN where oneDNN fails. */
void qk_bf16_unit_tile(qk_bf16_unit *unit, float *c, size_t c_stride, bool add, qk_matrix left, qk_matrix right,
                       size_t m, size_t n, size_t depth);

#endif
