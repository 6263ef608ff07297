/* fast.c - the same operations for use: products by oneDNN, loops that the compiler can vectorise.
 *
 * Sums run in eight fixed lanes, so the bits do not depend on the vector width; contraction is off (meson.build), so
 * every clone rounds alike. */
#include "math/fast.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include "math/kernels.h"

/* ---- products */

/* Columns of one tile: wide enough to amortise packing x, narrow enough that two threads share a small layer. */
#define TILE_COLUMNS 512
#define BLOCK_ROWS (4 * QK_TILE_ROWS)
#define SERIAL_BELOW 2000000 /* multiply-adds that are cheaper than waking the threads */

static void add_bias(float *y, size_t stride, const float *bias, size_t m, size_t n)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) y[i * stride + j] += bias[j];
}

static void product(float *y, size_t y_stride, const float *x, size_t x_stride, const float *w, const float *bias,
                    size_t m, size_t n, size_t k, int n_threads)
{
    size_t row_tiles = (m + BLOCK_ROWS - 1) / BLOCK_ROWS, column_tiles = (n + TILE_COLUMNS - 1) / TILE_COLUMNS;
    if (m * n * k < SERIAL_BELOW) n_threads = 1;
#pragma omp parallel num_threads(n_threads)
    {
        /* oneDNN splits sums over the threads it sees: one thread a tile keeps the bits fixed. */
        omp_set_num_threads(1);
#pragma omp for schedule(dynamic, 1) collapse(2)
        for (size_t c = 0; c < column_tiles; c++)
            for (size_t r = 0; r < row_tiles; r++) {
                size_t i = r * BLOCK_ROWS, j = c * TILE_COLUMNS;
                size_t rows = m - i < BLOCK_ROWS ? m - i : BLOCK_ROWS,
                       columns = n - j < TILE_COLUMNS ? n - j : TILE_COLUMNS;
                float *tile = y + i * y_stride + j;
                dnnl_sgemm('N', 'T', (dnnl_dim_t)rows, (dnnl_dim_t)columns, (dnnl_dim_t)k, 1, x + i * x_stride,
                           (dnnl_dim_t)x_stride, w + j * k, (dnnl_dim_t)k, 0, tile, (dnnl_dim_t)y_stride);
                if (bias) add_bias(tile, y_stride, bias + j, rows, columns);
            }
    }
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
    for (size_t i = 0; i < a->n_rows; i++) {
        size_t position = a->row0 + i, first = a->window && position >= a->window ? position - a->window + 1 : 0;
        float *row = a->scores + i * a->scores_stride;
        for (size_t j = 0; j < first; j++) row[j] = -INFINITY;
        for (size_t j = first; j <= position; j++) row[j] *= a->scale;
        for (size_t j = position + 1; j < n_keys; j++) row[j] = -INFINITY;
    }
}

static void attend(const qk_attention *a)
{
    dnnl_sgemm('N', 'T', (dnnl_dim_t)a->n_rows, (dnnl_dim_t)(a->row0 + a->n_rows), (dnnl_dim_t)a->head_dim, 1, a->q,
               (dnnl_dim_t)a->q_stride, a->k, (dnnl_dim_t)a->kv_stride, 0, a->scores, (dnnl_dim_t)a->scores_stride);
    mask_and_scale(a);
}

static void mix(const qk_attention *a)
{
    dnnl_sgemm('N', 'N', (dnnl_dim_t)a->n_rows, (dnnl_dim_t)a->head_dim, (dnnl_dim_t)(a->row0 + a->n_rows), 1,
               a->scores, (dnnl_dim_t)a->scores_stride, a->v, (dnnl_dim_t)a->kv_stride, 0, a->z,
               (dnnl_dim_t)a->z_stride);
}

static const qk_kernels table = { "fast", product, rms_norm, rotate, attend, softmax, mix, silu_mul, nll };

const qk_kernels *qk_kernels_fast(void) { return &table; }

void qk_kernels_describe(char text[64])
{
    static const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } names[] = {
        { dnnl_cpu_isa_avx512_core_amx, "AMX" },
        { dnnl_cpu_isa_avx512_core, "AVX-512" },
        { dnnl_cpu_isa_avx2, "AVX2" },
    };
    const dnnl_version_t *version = dnnl_version();
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    const char *name = "no AVX2";
    for (size_t i = sizeof names / sizeof *names; i-- > 0;)
        if ((isa & names[i].isa) == names[i].isa) name = names[i].name; /* each level's bits hold the lower ones' */
    snprintf(text, 64, "oneDNN %d.%d.%d, %s", version->major, version->minor, version->patch, name);
}

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
