/* backward_fast.c - the derivatives for use: products by oneDNN, loops that the compiler can vectorise.
 *
 * As in fast.c sums run in fixed lanes, tiles and ranges, one thread each: neither the vector width nor the number of
 * threads changes a bit. */
#include "math/fast.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include "math/backward.h"

/* ---- products */

#define TILE_ROWS 256
#define TILE_COLUMNS 256
#define SERIAL_BELOW 2000000 /* multiply-adds that are cheaper than waking the threads */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Tile [rows][columns] of c[][ldc] = op(a) b + beta c, in the calling thread. */
static void tile_product(char op, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                         size_t rows, size_t columns, size_t depth, bool add)
{
    dnnl_sgemm(op, 'N', (dnnl_dim_t)rows, (dnnl_dim_t)columns, (dnnl_dim_t)depth, 1, a, (dnnl_dim_t)lda, b,
               (dnnl_dim_t)ldb, add ? 1 : 0, c, (dnnl_dim_t)ldc);
}

static void product_input(float *dx, const float *dy, const float *w, size_t m, size_t n, size_t k, bool add,
                          int n_threads)
{
    size_t row_tiles = (m + TILE_ROWS - 1) / TILE_ROWS, column_tiles = (k + TILE_COLUMNS - 1) / TILE_COLUMNS;
    if (m * n * k < SERIAL_BELOW) n_threads = 1;
#pragma omp parallel num_threads(n_threads)
    {
        omp_set_num_threads(1); /* oneDNN splits sums over the threads it sees */
#pragma omp for schedule(dynamic, 1) collapse(2)
        for (size_t r = 0; r < row_tiles; r++)
            for (size_t c = 0; c < column_tiles; c++) {
                size_t i = r * TILE_ROWS, j = c * TILE_COLUMNS;
                tile_product('N', dx + i * k + j, k, dy + i * n, n, w + j, k, least(m - i, TILE_ROWS),
                             least(k - j, TILE_COLUMNS), n, add);
            }
    }
}

/* sums[columns] += the column sums of x[m][stride]; rows in order. */
CLONES static void column_sums(float *sums, const float *x, size_t stride, size_t m, size_t columns)
{
    double sum[TILE_ROWS] = { 0 };
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < columns; j++) sum[j] += (double)x[i * stride + j];
    for (size_t j = 0; j < columns; j++) sums[j] = (float)(sums[j] + sum[j]);
}

static void product_weight(float *dw, float *dbias, const float *dy, const float *x, size_t m, size_t n, size_t k,
                           int n_threads)
{
    size_t row_tiles = (n + TILE_ROWS - 1) / TILE_ROWS, column_tiles = (k + TILE_COLUMNS - 1) / TILE_COLUMNS;
    if (m * n * k < SERIAL_BELOW) n_threads = 1;
#pragma omp parallel num_threads(n_threads)
    {
        omp_set_num_threads(1);
#pragma omp for schedule(dynamic, 1) collapse(2)
        for (size_t r = 0; r < row_tiles; r++)
            for (size_t c = 0; c < column_tiles; c++) {
                size_t i = r * TILE_ROWS, j = c * TILE_COLUMNS;
                tile_product('T', dw + i * k + j, k, dy + i, n, x + j, k, least(n - i, TILE_ROWS),
                             least(k - j, TILE_COLUMNS), m, true);
                if (dbias && c == 0) column_sums(dbias + i, dy + i, n, m, least(n - i, TILE_ROWS));
            }
    }
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

static void attention(const qk_attention_gradient *a)
{
    const qk_attention *f = &a->forward;
    size_t n_keys = f->row0 + f->n_rows, stride = f->scores_stride;
    dnnl_sgemm('N', 'T', (dnnl_dim_t)f->n_rows, (dnnl_dim_t)n_keys, (dnnl_dim_t)f->head_dim, 1, a->dz,
               (dnnl_dim_t)f->z_stride, f->v, (dnnl_dim_t)f->kv_stride, 0, a->dscores, (dnnl_dim_t)stride);
    for (size_t i = 0; i < f->n_rows; i++)
        score_gradients(a->dscores + i * stride, f->scores + i * stride, f->scale, f->row0 + i + 1, n_keys);
    tile_product('N', a->dq, f->q_stride, a->dscores, stride, f->k, f->kv_stride, f->n_rows, f->head_dim, n_keys,
                 false);
    tile_product('T', a->dk, f->kv_stride, a->dscores, stride, f->q, f->q_stride, n_keys, f->head_dim, f->n_rows, true);
    tile_product('T', a->dv, f->kv_stride, f->scores, stride, a->dz, f->z_stride, n_keys, f->head_dim, f->n_rows, true);
}

static const qk_derivatives table = { "fast", product_input, product_weight, rms_norm, rotate,
                                      attention, silu_mul, nll };

const qk_derivatives *qk_derivatives_fast(void) { return &table; }
