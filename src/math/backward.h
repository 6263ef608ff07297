/* backward.h - derivatives of the operations of kernels.h, each in two forms as there: `reference`, plain loops that
 * accumulate in double, and `fast`.
 *
 * A gradient of x is written dx: the derivative of the loss by x, of x's shape.  Weights' gradients are added to what
 * is there (micro-batches add up), activations' are written, or added where `add` says so.  Sums over rows run in an
 * order that depends on the shape alone: any number of threads gives the same bits. */
#ifndef QK_MATH_BACKWARD_H
#define QK_MATH_BACKWARD_H

#include "math/kernels.h"

/* Row ranges whose sums are kept apart before they are added up, in order. */
#define QK_PARTIAL_SUMS 16

/* The derivative of one block of queries of one head (kernels.h, qk_attention). */
typedef struct qk_attention_gradient {
    qk_attention forward;        /* scores hold the softmax of this block on entry; z is what `mix` made of it */
    const float *dz;             /* [n_rows] rows of head_dim, forward.z_stride apart */
    float *dq;                   /* [n_rows] rows, forward.q_stride apart; written */
    float *dk, *dv;              /* [row0 + n_rows] rows, forward.kv_stride apart; added to */
    float *dscores;              /* scratch [n_rows][forward.scores_stride] */
} qk_attention_gradient;

/* `self` is the table itself: products run at its level. */
typedef struct qk_derivatives qk_derivatives;
struct qk_derivatives {
    const char *name;
    const qk_level *level; /* NULL: the reference */
    qk_operands operands;  /* of products; dbias is summed of dy as it is */
    /* y[m][n] = x[m][k] w[n][k]^T: dx[m][k] (+)= dy[m][n] w.  All rows dense. */
    void (*product_input)(const qk_derivatives *self, float *dx, const float *dy, const float *w, size_t m, size_t n,
                          size_t k, bool add, int n_threads);
    /* dw[n][k] += dy[m][n]^T x[m][k]; dbias[n] += column sums of dy (NULL: there is none). */
    void (*product_weight)(const qk_derivatives *self, float *dw, float *dbias, const float *dy, const float *x,
                           size_t m, size_t n, size_t k, int n_threads);
    /* m rows of y = gain * x / sqrt(mean(x^2) + eps): dx[m][n] (+)=, dgain[n] +=.  dx may be dy when not added.
     * partial: scratch [QK_PARTIAL_SUMS][n]. */
    void (*rms_norm)(float *dx, float *dgain, const float *dy, const float *x, const float *gain, size_t m, size_t n,
                     double eps, bool add, double *partial, int n_threads);
    /* The gradient behind a rotation, turned back in place. */
    void (*rotate)(float *dx, const float *cos, const float *sin, size_t head_dim);
    void (*attention)(const qk_derivatives *self, const qk_attention_gradient *a);
    /* out = silu(gate) * up: dgate and dup from dout; dout may be dgate or dup. */
    void (*silu_mul)(float *dgate, float *dup, const float *dout, const float *gate, const float *up, size_t n);
    /* -log softmax(logits)[target] in nats; logits become scale * (softmax - onehot(target)). */
    double (*nll)(float *logits, size_t n, size_t target, float scale);
};

const qk_derivatives *qk_derivatives_reference(void);
/* As qk_kernels_at and the like. */
const qk_derivatives *qk_derivatives_at(const qk_level *level, qk_operands operands);
const qk_derivatives *qk_derivatives_fast(void);
const qk_derivatives *qk_derivatives_bf16(void);

#endif
