/* fast.c - the same operations for use: products by tiles (multiply.c), loops that the compiler can vectorise.
 *
 * Sums run in eight fixed lanes, so the bits do not depend on the vector width; contraction is off (meson.build), so
 * every clone rounds alike. */
#include "math/fast.h"

#include "math/kernels.h"
#include "math/multiply.h"

/* ---- products */

static void product(const qk_kernels *self, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qk_rows *w, const float *bias, size_t m, int n_threads)
{
    qk_way way = { self->level, self->operands, n_threads };
    qk_multiply_rows(y, y_stride, (qk_matrix){ x, x_stride, false }, w, bias, m, &way);
}

/* ---- rows */

CLONES static double sum_of_squares(const float *x, size_t n)
{
    double lane[LANES] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lane[j] += (double)x[i + (size_t)j] * x[i + (size_t)j];
    for (int j = 0; j < LANES; j++) sum += lane[j];
    for (; i < n; i++) sum += (double)x[i] * x[i];
    return sum;
}

CLONES static void rms_norm(float *y, const float *x, const float *gain, size_t n, double eps)
{
    float scale = (float)(1 / sqrt(sum_of_squares(x, n) / (double)n + eps));
    for (size_t i = 0; i < n; i++) y[i] = gain[i] * (x[i] * scale);
}

CLONES static void rotate(float *x, const float *cos, const float *sin, size_t head_dim)
{
    size_t half = head_dim / 2;
    float *lower = x, *upper = x + half;
    for (size_t m = 0; m < half; m++) {
        float a = lower[m], b = upper[m];
        lower[m] = a * cos[m] - b * sin[m];
        upper[m] = b * cos[m] + a * sin[m];
    }
}

CLONES static void softmax(float *row, size_t n)
{
    float top = largest(row, n), lane[LANES] = { 0 };
    double sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            float e = exponential(row[i + (size_t)j] - top);
            row[i + (size_t)j] = e;
            lane[j] += e;
        }
    for (int j = 0; j < LANES; j++) sum += (double)lane[j];
    for (; i < n; i++) sum += (double)(row[i] = exponential(row[i] - top));
    float scale = (float)(1 / sum);
    for (i = 0; i < n; i++) row[i] *= scale;
}

CLONES static void silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = gate[i] / (1 + exponential(-gate[i])) * up[i];
}

CLONES static double nll(const float *logits, size_t n, size_t target)
{
    float top = largest(logits, n);
    double lane[LANES] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lane[j] += (double)exponential(logits[i + (size_t)j] - top);
    for (int j = 0; j < LANES; j++) sum += lane[j];
    for (; i < n; i++) sum += (double)exponential(logits[i] - top);
    return log(sum) + ((double)top - (double)logits[target]);
}

/* ---- attention */

CLONES static void mask_and_scale(const qk_attention *a)
{
    size_t n_keys = a->row0 + a->n_rows;
    float scale = a->scale; /* for all the compiler knows, a row may lie over *a */
    for (size_t i = 0; i < a->n_rows; i++) {
        size_t position = a->row0 + i, first = a->window && position >= a->window ? position - a->window + 1 : 0;
        float *row = a->scores + i * a->scores_stride;
        for (size_t j = 0; j < first; j++) row[j] = -INFINITY;
        for (size_t j = first; j <= position; j++) row[j] *= scale;
        for (size_t j = position + 1; j < n_keys; j++) row[j] = -INFINITY;
    }
}

static void attend(const qk_kernels *self, const qk_attention *a)
{
    qk_way way = { self->level, QK_OPERANDS_PLAIN, 1, QK_CORNER_C, a->row0 };
    qk_matrix q = { a->q, a->q_stride, false }, k = { a->k, a->kv_stride, true };
    if (!a->few || !qk_attend_few(self->level, a))
        qk_multiply(a->scores, a->scores_stride, false, q, k, a->n_rows, a->row0 + a->n_rows, a->head_dim, &way);
    mask_and_scale(a);
}

static void mix(const qk_kernels *self, const qk_attention *a)
{
    qk_way way = { self->level, QK_OPERANDS_PLAIN, 1, QK_CORNER_LEFT, a->row0 };
    qk_matrix scores = { a->scores, a->scores_stride, false }, v = { a->v, a->kv_stride, false };
    if (a->few)
        qk_mix_few(a);
    else
        qk_multiply(a->z, a->z_stride, false, scores, v, a->n_rows, a->head_dim, a->row0 + a->n_rows, &way);
}

/* ---- tables */

#define TABLE(name, index, operands, few)                                                                              \
    { name, &qk_levels[index], operands, product, rms_norm, rotate, attend, softmax, mix, silu_mul, nll, few }
#define AT(index)                                                                                                      \
    { [QK_OPERANDS_PLAIN] = TABLE("fast", index, QK_OPERANDS_PLAIN, qk_product_few),                                   \
      [QK_OPERANDS_ROUNDED] = TABLE("bf16", index, QK_OPERANDS_ROUNDED, NULL),                                         \
      [QK_OPERANDS_IN_TERMS] = TABLE("terms", index, QK_OPERANDS_IN_TERMS, qk_product_few) }

static const qk_kernels tables[QK_N_LEVELS][QK_N_OPERANDS] = {
    [QK_LEVEL_PLAIN] = AT(QK_LEVEL_PLAIN),
#if defined(__x86_64__)
    [QK_LEVEL_AVX2] = AT(QK_LEVEL_AVX2),
    [QK_LEVEL_AVX512] = AT(QK_LEVEL_AVX512),
    [QK_LEVEL_AVX512_BF16] = AT(QK_LEVEL_AVX512_BF16),
    [QK_LEVEL_AMX] = AT(QK_LEVEL_AMX),
#endif
};

const qk_kernels *qk_kernels_at(const qk_level *level, qk_operands operands)
{
    return &tables[(level ? level : qk_level_best()) - qk_levels][operands];
}

const qk_kernels *qk_kernels_fast(void) { return qk_kernels_at(NULL, QK_OPERANDS_PLAIN); }
const qk_kernels *qk_kernels_bf16(void) { return qk_kernels_at(NULL, QK_OPERANDS_ROUNDED); }

CLONES void qk_add_rows(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

CLONES bool qk_all_finite(const float *x, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        union {
            float f;
            uint32_t u;
        } bits = { .f = x[i] };
        bad |= (bits.u & 0x7F800000) == 0x7F800000;
    }
    return bad == 0;
}
