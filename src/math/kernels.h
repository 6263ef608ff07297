/* kernels.h - the operations of a forward pass, each in two forms: `reference`, plain loops that accumulate in
 * double and are never optimised, and `fast`.  A study runs on either table; a test compares them row by row.
 *
 * Every operation but the product works on one row or one block and is called from many threads at once. */
#ifndef QK_MATH_KERNELS_H
#define QK_MATH_KERNELS_H

#include "math/level.h"
#include "math/rows.h"

/* Blocks of rows are cut in multiples of this: every level's tile divides it. */
#define QK_TILE_ROWS 48
/* Queries of one attention block. */
#define QK_ATTENTION_ROWS 128

/* One head's queries [n_rows] at positions row0.. against its keys and values 0..row0+n_rows-1. */
typedef struct qk_attention {
    const float *q;              /* [n_rows] rows of head_dim, q_stride floats apart */
    const float *k, *v;          /* [row0 + n_rows] rows of head_dim, kv_stride apart */
    float *z;                    /* [n_rows] rows of head_dim, z_stride apart; may be q itself */
    size_t q_stride, kv_stride, z_stride;
    size_t row0, n_rows, head_dim;
    size_t window;               /* keys a query looks back to, itself included; 0 = all */
    bool few;                    /* few rows: by dot products where the kernels have them, in sums of another order */
    float scale;
    float *scores;               /* [n_rows][scores_stride]; scores_stride >= row0 + n_rows */
    size_t scores_stride;
} qk_attention;

/* `self` is the table itself: products run at its level. */
typedef struct qk_kernels qk_kernels;
struct qk_kernels {
    const char *name;
    const qk_level *level; /* NULL: the reference */
    qk_operands operands;  /* of products; those of attention are plain */
    /* y[m][n] = x[m][k] w[n][k]^T + bias[n] (bias may be NULL); w in any format.  Rows are *_stride floats apart.  What
     * a row comes to does not depend on the others.  Uses n_threads. */
    void (*product)(const qk_kernels *self, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qk_rows *w, const float *bias, size_t m, int n_threads);
    /* y[i] = gain[i] * x[i] / sqrt(mean(x^2) + eps); y may be x.  Zhang and Sennrich 2019. */
    void (*rms_norm)(float *y, const float *x, const float *gain, size_t n, double eps);
    /* (x[m], x[m + D/2]) turned by the angle of cos[m], sin[m]. */
    void (*rotate)(float *x, const float *cos, const float *sin, size_t head_dim);
    /* scores = scale * q.k, -inf above the diagonal and beyond the window. */
    void (*attend)(const qk_kernels *self, const qk_attention *a);
    /* Each row of scores -> its softmax. */
    void (*softmax)(float *row, size_t n);
    /* z = scores v. */
    void (*mix)(const qk_kernels *self, const qk_attention *a);
    /* out[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + e^-x). */
    void (*silu_mul)(float *out, const float *gate, const float *up, size_t n);
    /* -log softmax(logits)[target], nats. */
    double (*nll)(const float *logits, size_t n, size_t target);
    /* The same made for few rows, in sums of another order.  NULL: there is none. */
    void (*product_few)(const qk_kernels *self, float *y, size_t y_stride, const float *x, size_t x_stride,
                        const qk_rows *w, const float *bias, size_t m, int n_threads);
};

const qk_kernels *qk_kernels_reference(void);
/* The fast ones of a level; NULL: of the best. */
const qk_kernels *qk_kernels_at(const qk_level *level, qk_operands operands);
/* Those of the best level. */
const qk_kernels *qk_kernels_fast(void);
const qk_kernels *qk_kernels_bf16(void); /* rounded */

/* y += x */
void qk_add_rows(float *y, const float *x, size_t n);
/* False when an entry is infinite or NaN. */
bool qk_all_finite(const float *x, size_t n);

#endif
