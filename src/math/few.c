/* few.c - products of few rows, as decoding has them: each weight is read once, where it lies, and serves all rows.
 *
 * Dot products in fixed lanes, several at a time so that what is read serves more than once.  What one comes to does not
 * depend on which others are computed beside it. */
#include "math/fast.h"

#include "math/kernels.h"

enum {
    ABREAST = 4,   /* rows of w at a time */
    DEPTH = 1024,  /* numbers of each that are f32 at a time: with those of x they stay in the nearest cache */
    MOST_ROWS = 16 /* rows of x whose sums are kept at a time */
};
#define SERIAL_BELOW 200000 /* multiply-adds that are cheaper than waking the threads: a row is read once */

/* Eight floats side by side, wherever they lie. */
typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float)), may_alias));

/* sum[c] += the lanes of x.w[c] over n numbers, a multiple of LANES. */
CLONES static void add_lanes(vector sum[ABREAST], const float *x, const float *const w[ABREAST], size_t n)
{
    vector a = sum[0], b = sum[1], c = sum[2], d = sum[3];
    for (size_t i = 0; i < n; i += LANES) {
        vector entry = *(const vector *)(x + i);
        a += entry * *(const vector *)(w[0] + i);
        b += entry * *(const vector *)(w[1] + i);
        c += entry * *(const vector *)(w[2] + i);
        d += entry * *(const vector *)(w[3] + i);
    }
    sum[0] = a, sum[1] = b, sum[2] = c, sum[3] = d;
}

/* y[r][0 .. n) for all m rows, at most MOST_ROWS: rows j .. j + n of w, at most ABREAST. */
static void columns(float *y, size_t y_stride, const float *x, size_t x_stride, const qk_rows *w, const float *floats,
                    size_t j, size_t n, size_t m)
{
    vector sum[MOST_ROWS][ABREAST] = { 0 };
    double rest[MOST_ROWS][ABREAST] = { 0 };
    float memory[ABREAST * DEPTH];
    for (size_t l = 0; l < w->n_cols; l += DEPTH) {
        const float *row[ABREAST];
        size_t depth = w->n_cols - l < DEPTH ? w->n_cols - l : DEPTH, whole = depth / LANES * LANES;
        if (!floats) qk_rows_read(memory, DEPTH, w, j, n, l, depth);
        for (size_t c = 0; c < ABREAST; c++) { /* where there are fewer, the first again */
            size_t which = c < n ? c : 0;
            row[c] = floats ? floats + (j + which) * w->n_cols + l : memory + which * DEPTH;
        }
        for (size_t r = 0; r < m; r++) {
            const float *in = x + r * x_stride + l;
            add_lanes(sum[r], in, row, whole);
            for (size_t i = whole; i < depth; i++)
                for (size_t c = 0; c < n; c++) rest[r][c] += (double)in[i] * row[c][i];
        }
    }
    for (size_t r = 0; r < m; r++)
        for (size_t c = 0; c < n; c++) {
            double total = 0;
            for (size_t lane = 0; lane < LANES; lane++) total += (double)sum[r][c][lane];
            y[r * y_stride + c] = (float)(total + rest[r][c]);
        }
}

void qk_product_few(const qk_kernels *self, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qk_rows *w, const float *bias, size_t m, int n_threads)
{
    const float *floats = qk_rows_floats(w);
    size_t n = w->n_rows;
    (void)self;
#pragma omp parallel for num_threads(n_threads) if (m * n * w->n_cols > SERIAL_BELOW)
    for (size_t j = 0; j < n; j += ABREAST) {
        size_t part = n - j < ABREAST ? n - j : ABREAST;
        for (size_t r = 0; r < m; r += MOST_ROWS)
            columns(y + r * y_stride + j, y_stride, x + r * x_stride, x_stride, w, floats, j, part,
                    m - r < MOST_ROWS ? m - r : MOST_ROWS);
        for (size_t i = 0; i < m && bias; i++)
            for (size_t c = j; c < j + part; c++) y[i * y_stride + c] += bias[c];
    }
}
