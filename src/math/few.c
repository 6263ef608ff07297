/* few.c - products of few rows, as decoding has them: dot products in fixed lanes, several at a time so that what is read
 * serves more than once.  What one comes to does not depend on which others are computed beside it. */
#include "math/fast.h"

#include "math/kernels.h"

#define SERIAL_BELOW 200000   /* multiply-adds that are cheaper than waking the threads: a row is read once */
#define CHUNK_FLOATS 32768    /* of w that stay in the cache while all rows of x go by */

/* Eight floats side by side, wherever they lie. */
typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float)), may_alias));

/* y[r][c] = x[r].w[c] for r < rows, c < columns, both known when compiled. */
static inline __attribute__((always_inline)) void dots(float *y, size_t y_stride, const float *x, size_t x_stride,
                                                       const float *w, size_t k, const size_t rows,
                                                       const size_t columns)
{
    vector sum[4][4] = { 0 };
    size_t i = 0;
    for (; i + LANES <= k; i += LANES)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < columns; c++)
                sum[r][c] += *(const vector *)(x + r * x_stride + i) * *(const vector *)(w + c * k + i);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            double total = 0;
            for (size_t l = 0; l < LANES; l++) total += (double)sum[r][c][l];
            for (size_t t = i; t < k; t++) total += (double)x[r * x_stride + t] * w[c * k + t];
            y[r * y_stride + c] = (float)total;
        }
}

/* Columns [0, n) of y for all rows. */
CLONES static void chunk(float *y, size_t y_stride, const float *x, size_t x_stride, const float *w, size_t m, size_t n,
                         size_t k)
{
    for (size_t r = 0; r < m;) {
        size_t rows = m - r >= 4 ? 4 : 1, c = 0;
        float *out = y + r * y_stride;
        const float *in = x + r * x_stride;
        if (rows == 4)
            for (; c + 2 <= n; c += 2) dots(out + c, y_stride, in, x_stride, w + c * k, k, 4, 2);
        else
            for (; c + 4 <= n; c += 4) dots(out + c, y_stride, in, x_stride, w + c * k, k, 1, 4);
        for (; c < n; c++)
            for (size_t i = 0; i < rows; i++)
                dots(out + i * y_stride + c, y_stride, in + i * x_stride, x_stride, w + c * k, k, 1, 1);
        r += rows;
    }
}

void qk_product_few(float *y, size_t y_stride, const float *x, size_t x_stride, const float *w, const float *bias,
                    size_t m, size_t n, size_t k, int n_threads)
{
    size_t step = CHUNK_FLOATS / k / 4 * 4;
    if (step < 4) step = 4;
#pragma omp parallel for num_threads(n_threads) if (m * n * k > SERIAL_BELOW)
    for (size_t j = 0; j < n; j += step) {
        size_t part = n - j < step ? n - j : step;
        chunk(y + j, y_stride, x, x_stride, w + j * k, m, part, k);
        for (size_t i = 0; i < m && bias; i++)
            for (size_t c = j; c < j + part; c++) y[i * y_stride + c] += bias[c];
    }
}
