/* backward_fast.c - the derivatives for use: products by tiles (multiply.c), loops that the compiler can vectorise.
 *
 * As in fast.c sums run in fixed lanes, tiles and ranges, one thread each: neither the vector width nor the number of
 * threads changes a bit. */
#include "math/fast.h"

#include "math/backward.h"
#include "math/multiply.h"

#define SUMMED_COLUMNS 64 /* whose sums a thread keeps on the stack */

/* ---- products */

static void product_input(const qk_derivatives *self, float *dx, const float *dy, const float *w, size_t m, size_t n,
                          size_t k, bool add, int n_threads)
{
    qk_way way = { self->level, self->operands, n_threads };
    qk_multiply(dx, k, add, (qk_matrix){ dy, n, false }, (qk_matrix){ w, k, false }, m, k, n, &way);
}

/* sums[width] += the column sums of x[m][stride]; rows in order. */
CLONES static void column_sums(float *sums, const float *x, size_t stride, size_t m, size_t width)
{
    double sum[SUMMED_COLUMNS] = { 0 };
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < width; j++) sum[j] += (double)x[i * stride + j];
    for (size_t j = 0; j < width; j++) sums[j] = (float)(sums[j] + sum[j]);
}

static void add_column_sums(float *dbias, const float *dy, size_t m, size_t n, int n_threads)
{
    if (!dbias) return;
#pragma omp parallel for num_threads(n_threads) if (m * n > 50000)
    for (size_t j = 0; j < n; j += SUMMED_COLUMNS)
        column_sums(dbias + j, dy + j, n, m, n - j < SUMMED_COLUMNS ? n - j : SUMMED_COLUMNS);
}

static void product_weight(const qk_derivatives *self, float *dw, float *dbias, const float *dy, const float *x,
                           size_t m, size_t n, size_t k, int n_threads)
{
    qk_way way = { self->level, self->operands, n_threads };
    qk_multiply(dw, k, true, (qk_matrix){ dy, n, true }, (qk_matrix){ x, k, false }, n, k, m, &way);
    add_column_sums(dbias, dy, m, n, n_threads);
}

/* ---- rows */

/* Sums over x^2 and gain dy x of one row. */
CLONES static void row_sums(double out[2], const float *dy, const float *x, const float *gain, size_t n)
{
    double square[LANES] = { 0 }, along[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            square[j] += (double)x[i + j] * x[i + j];
            along[j] += (double)gain[i + j] * dy[i + j] * x[i + j];
        }
    out[0] = out[1] = 0;
    for (size_t j = 0; j < LANES; j++) {
        out[0] += square[j];
        out[1] += along[j];
    }
    for (; i < n; i++) {
        out[0] += (double)x[i] * x[i];
        out[1] += (double)gain[i] * dy[i] * x[i];
    }
}

/* One row behind the norm: formulas in backward_reference.c.  dx may be dy. */
CLONES static void rms_norm_row(float *dx, double *dgain, const float *dy, const float *x, const float *gain, size_t n,
                                double eps, bool add)
{
    double sums[2];
    row_sums(sums, dy, x, gain, n);
    double r = 1 / sqrt(sums[0] / (double)n + eps);
    float scale = (float)r, along = (float)(sums[1] * r * r * r / (double)n);
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float d = scale * dy[i];
        dgain[i] += (double)d * x[i];
        dx[i] = (add ? dx[i] : 0) + (gain[i] * d - along * x[i]);
    }
}

static void rms_norm(float *dx, float *dgain, const float *dy, const float *x, const float *gain, size_t m, size_t n,
                     double eps, bool add, double *partial, int n_threads)
{
#pragma omp parallel for num_threads(n_threads) if (m * n > 50000)
    for (size_t p = 0; p < QK_PARTIAL_SUMS; p++) {
        double *sums = partial + p * n;
        for (size_t j = 0; j < n; j++) sums[j] = 0;
        for (size_t i = p * m / QK_PARTIAL_SUMS; i < (p + 1) * m / QK_PARTIAL_SUMS; i++)
            rms_norm_row(dx + i * n, sums, dy + i * n, x + i * n, gain, n, eps, add);
    }
    for (size_t p = 1; p < QK_PARTIAL_SUMS; p++)
        for (size_t j = 0; j < n; j++) partial[j] += partial[p * n + j];
    for (size_t j = 0; j < n; j++) dgain[j] = (float)(dgain[j] + partial[j]);
}

CLONES static void rotate(float *dx, const float *cos, const float *sin, size_t head_dim)
{
    size_t half = head_dim / 2;
    float *lower = dx, *upper = dx + half;
    for (size_t m = 0; m < half; m++) {
        float a = lower[m], b = upper[m];
        lower[m] = a * cos[m] + b * sin[m];
        upper[m] = b * cos[m] - a * sin[m];
    }
}

CLONES static void silu_mul(float *dgate, float *dup, const float *dout, const float *gate, const float *up, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float d = dout[i], s = 1 / (1 + exponential(-gate[i]));
        dgate[i] = d * up[i] * s * (1 + gate[i] * (1 - s));
        dup[i] = d * gate[i] * s;
    }
}

CLONES static double nll(float *logits, size_t n, size_t target, float scale)
{
    float top = largest(logits, n), at_target = logits[target];
    double lane[LANES] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            float e = exponential(logits[i + j] - top);
            logits[i + j] = e;
            lane[j] += (double)e;
        }
    for (size_t j = 0; j < LANES; j++) sum += lane[j];
    for (; i < n; i++) sum += (double)(logits[i] = exponential(logits[i] - top));
    float share = (float)(scale / sum);
    for (i = 0; i < n; i++) logits[i] *= share;
    logits[target] -= scale;
    return log(sum) + ((double)top - (double)at_target);
}

/* ---- attention */

/* dS = scale P (dP - sum of P dP) of one row, over dP; sees the first n_seen keys, 0 beyond. */
CLONES static void score_gradients(float *d, const float *p, float scale, size_t n_seen, size_t n_keys)
{
    float lane[LANES] = { 0 };
    double sum = 0;
    size_t i = 0;
    for (; i + LANES <= n_seen; i += LANES)
        for (size_t j = 0; j < LANES; j++) lane[j] += p[i + j] * d[i + j];
    for (size_t j = 0; j < LANES; j++) sum += (double)lane[j];
    for (; i < n_seen; i++) sum += (double)(p[i] * d[i]);
    float mean = (float)sum;
    for (i = 0; i < n_seen; i++) d[i] = scale * p[i] * (d[i] - mean);
    for (i = n_seen; i < n_keys; i++) d[i] = 0;
}

static void attention(const qk_derivatives *self, const qk_attention_gradient *a)
{
    const qk_attention *f = &a->forward;
    size_t n_rows = f->n_rows, n_keys = f->row0 + n_rows, d = f->head_dim, stride = f->scores_stride;
    qk_matrix dz = { a->dz, f->z_stride, false }, ds = { a->dscores, stride, false };
    qk_way way = { self->level, QK_OPERANDS_PLAIN, 1, QK_CORNER_C, f->row0 };
    qk_multiply(a->dscores, stride, false, dz, (qk_matrix){ f->v, f->kv_stride, true }, n_rows, n_keys, d, &way);
    for (size_t i = 0; i < n_rows; i++)
        score_gradients(a->dscores + i * stride, f->scores + i * stride, f->scale, f->row0 + i + 1, n_keys);
    way.corner = QK_CORNER_LEFT;
    qk_multiply(a->dq, f->q_stride, false, ds, (qk_matrix){ f->k, f->kv_stride, false }, n_rows, d, n_keys, &way);
    ds.turned = true;
    way.corner = QK_CORNER_BELOW;
    qk_multiply(a->dk, f->kv_stride, true, ds, (qk_matrix){ f->q, f->q_stride, false }, n_keys, d, n_rows, &way);
    qk_multiply(a->dv, f->kv_stride, true, (qk_matrix){ f->scores, stride, true }, dz, n_keys, d, n_rows, &way);
}

#define TABLE(name, index, operands)                                                                                   \
    { name, &qk_levels[index], operands, product_input, product_weight, rms_norm, rotate, attention, silu_mul, nll }
#define AT(index)                                                                                                      \
    { [QK_OPERANDS_PLAIN] = TABLE("fast", index, QK_OPERANDS_PLAIN),                                                   \
      [QK_OPERANDS_ROUNDED] = TABLE("bf16", index, QK_OPERANDS_ROUNDED),                                               \
      [QK_OPERANDS_IN_TERMS] = TABLE("terms", index, QK_OPERANDS_IN_TERMS) }

static const qk_derivatives tables[QK_N_LEVELS][QK_N_OPERANDS] = {
    [QK_LEVEL_PLAIN] = AT(QK_LEVEL_PLAIN),
#if defined(__x86_64__)
    [QK_LEVEL_AVX2] = AT(QK_LEVEL_AVX2),
    [QK_LEVEL_AVX512] = AT(QK_LEVEL_AVX512),
    [QK_LEVEL_AVX512_BF16] = AT(QK_LEVEL_AVX512_BF16),
    [QK_LEVEL_AMX] = AT(QK_LEVEL_AMX),
#endif
};

const qk_derivatives *qk_derivatives_at(const qk_level *level, qk_operands operands)
{
    return &tables[(level ? level : qk_level_best()) - qk_levels][operands];
}

const qk_derivatives *qk_derivatives_fast(void) { return qk_derivatives_at(NULL, QK_OPERANDS_PLAIN); }
const qk_derivatives *qk_derivatives_bf16(void) { return qk_derivatives_at(NULL, QK_OPERANDS_ROUNDED); }
