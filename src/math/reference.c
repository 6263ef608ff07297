/* reference.c - the oracle: plain loops, double accumulators, never optimised. */
#include "math/kernels.h"

#include <math.h>

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* A row of w at a time, in parts, as f32. */
static void product(const qk_kernels *self, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qk_rows *w, const float *bias, size_t m, int n_threads)
{
    enum { PART = 1024, MOST = 64 };
    size_t n = w->n_rows, k = w->n_cols;
    (void)self;
#pragma omp parallel for num_threads(n_threads) if (m * n * k > 100000)
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < m; i += MOST) {
            double sum[MOST] = { 0 };
            float row[PART];
            size_t rows = m - i < MOST ? m - i : MOST;
            for (size_t l = 0; l < k; l += PART) {
                size_t part = k - l < PART ? k - l : PART;
                qk_rows_read(row, PART, w, j, 1, l, part);
                for (size_t r = 0; r < rows; r++) sum[r] += dot(x + (i + r) * x_stride + l, row, part);
            }
            for (size_t r = 0; r < rows; r++) y[(i + r) * y_stride + j] = (float)(sum[r] + (bias ? (double)bias[j] : 0));
        }
}

static void rms_norm(float *y, const float *x, const float *gain, size_t n, double eps)
{
    double scale = 1 / sqrt(dot(x, x, n) / (double)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = (float)(gain[i] * (x[i] * scale));
}

static void rotate(float *x, const float *cos, const float *sin, size_t head_dim)
{
    size_t half = head_dim / 2;
    for (size_t m = 0; m < half; m++) {
        double a = x[m], b = x[m + half];
        x[m] = (float)(a * cos[m] - b * sin[m]);
        x[m + half] = (float)(b * cos[m] + a * sin[m]);
    }
}

static void attend(const qk_kernels *self, const qk_attention *a)
{
    (void)self;
    for (size_t i = 0; i < a->n_rows; i++) {
        size_t position = a->row0 + i, first = a->window && position >= a->window ? position - a->window + 1 : 0;
        float *row = a->scores + i * a->scores_stride;
        for (size_t j = 0; j < a->row0 + a->n_rows; j++) {
            bool seen = j >= first && j <= position;
            row[j] = seen ? (float)(a->scale * dot(a->q + i * a->q_stride, a->k + j * a->kv_stride, a->head_dim))
                          : -INFINITY;
        }
    }
}

static void softmax(float *row, size_t n)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) top = fmax(top, row[i]);
    for (size_t i = 0; i < n; i++) sum += exp(row[i] - top);
    for (size_t i = 0; i < n; i++) row[i] = (float)(exp(row[i] - top) / sum);
}

static void mix(const qk_kernels *self, const qk_attention *a)
{
    (void)self;
    for (size_t i = 0; i < a->n_rows; i++)
        for (size_t d = 0; d < a->head_dim; d++) {
            double sum = 0;
            for (size_t j = 0; j < a->row0 + a->n_rows; j++)
                sum += (double)a->scores[i * a->scores_stride + j] * a->v[j * a->kv_stride + d];
            a->z[i * a->z_stride + d] = (float)sum;
        }
}

static void silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = (float)((double)gate[i] / (1 + exp(-(double)gate[i])) * up[i]);
}

static double nll(const float *logits, size_t n, size_t target)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) top = fmax(top, logits[i]);
    for (size_t i = 0; i < n; i++) sum += exp(logits[i] - top);
    return log(sum) + top - logits[target];
}

static const qk_kernels table = { "reference", NULL, QK_OPERANDS_PLAIN, product, rms_norm, rotate,
                                  attend,      softmax, mix, silu_mul, nll,     product };

const qk_kernels *qk_kernels_reference(void) { return &table; }
