/* multiply.h - matrix products: what the products of fast.c and backward_fast.c are made of. */
#ifndef QK_MATH_MULTIPLY_H
#define QK_MATH_MULTIPLY_H

#include "math/level.h"
#include "math/rows.h"

/* Entry (i, j) is at[i * stride + j]; at[j * stride + i] when turned. */
typedef struct qk_matrix {
    const float *at;
    size_t stride;
    bool turned;
} qk_matrix;

/* A corner of a product that nobody needs, as attention has them: it is not computed, tile by tile. */
typedef enum qk_corner {
    QK_CORNER_NONE,
    QK_CORNER_C,     /* c[i][j], j > diagonal + i: whatever is there */
    QK_CORNER_LEFT,  /* left[i][l] is 0 for l > diagonal + i */
    QK_CORNER_BELOW, /* left[i][l] is 0 for i > diagonal + l */
} qk_corner;

/* How a product is computed.  What an entry comes to depends on its row of the left matrix, its column of the right one
 * and the level alone: not on the other rows and columns, nor on the threads. */
typedef struct qk_way {
    const qk_level *level;
    qk_operands operands;
    int n_threads;
    qk_corner corner;
    size_t diagonal;
} qk_way;

/* c[m][n], rows c_stride apart, (+)= left[m][depth] right[depth][n]; depth > 0. */
void qk_multiply(float *c, size_t c_stride, bool add, qk_matrix left, qk_matrix right, size_t m, size_t n, size_t depth,
                 const qk_way *way);
/* c[m][w->n_rows] = left[m][w->n_cols] w^T + bias[w->n_rows] (NULL: none), w in any format. */
void qk_multiply_rows(float *c, size_t c_stride, qk_matrix left, const qk_rows *w, const float *bias, size_t m,
                      const qk_way *way);

#endif
