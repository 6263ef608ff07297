/* few.c - products of few rows, as decoding has them: dot products with weights that are read where they lie, once a row
 * of x, in fixed lanes.  What one comes to does not depend on which others are computed beside it. */
#include "math/fast.h"

#include "math/formats.h"
#include "math/kernels.h"

enum {
    PART = 512,    /* numbers of a row that are f32 at a time, where they are not multiplied as they lie */
    MOST_ROWS = 16 /* of x, whose sums are kept meanwhile */
};
#define SERIAL_BELOW 200000 /* multiply-adds that are cheaper than waking the threads: a row is read once */

/* Eight floats side by side, wherever they lie. */
typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float)), may_alias));

_Static_assert(LANES == QK_DOT_LANES, "lanes");

static double total(const float lanes[LANES])
{
    double sum = 0;
    for (size_t i = 0; i < LANES; i++) sum += (double)lanes[i];
    return sum;
}

/* As qk_dots over f32, for any processor. */
CLONES static void plain_dots(float lanes[QK_DOT_ROWS][LANES], const float *x, const uint8_t *const w[QK_DOT_ROWS],
                              size_t n)
{
    for (size_t r = 0; r < QK_DOT_ROWS; r++) {
        const float *row = (const float *)(const void *)w[r];
        vector sum = { 0 };
        for (size_t i = 0; i < n; i += LANES) sum += *(const vector *)(x + i) * *(const vector *)(row + i);
        *(vector *)lanes[r] = sum;
    }
}

static qk_dots *dots_of_floats(const qk_level *level)
{
#if defined(__x86_64__)
    if (level != &qk_levels[QK_LEVEL_PLAIN]) return qk_dots_avx2[QK_DTYPE_F32]; /* those above have it too */
#endif
    (void)level;
    return plain_dots;
}

/* For weights as they lie; NULL: they are read as f32 first. */
static qk_dots *dots_of(const qk_level *level, const qk_rows *w)
{
    if (w->n_cols % LANES || w->n_cols % qk_dtype_describe(w->dtype)->block_elements) return NULL;
    if (w->dtype == QK_DTYPE_F32) return dots_of_floats(level);
#if defined(__x86_64__)
    if (level != &qk_levels[QK_LEVEL_PLAIN]) return qk_dots_avx2[w->dtype];
#endif
    return NULL;
}

/* Rows of weights that go together. */
typedef struct few_rows {
    const qk_rows *w;
    size_t row, n; /* rows [row, row + n), n at most QK_DOT_ROWS */
} few_rows;

/* y[r][0 .. n) for the m rows of x. */
static void in_place(float *y, size_t y_stride, const float *x, size_t x_stride, size_t m, few_rows f, qk_dots *dots)
{
    float lanes[QK_DOT_ROWS][LANES];
    const uint8_t *rows[QK_DOT_ROWS];
    for (size_t c = 0; c < QK_DOT_ROWS; c++) rows[c] = qk_rows_at(f.w, f.row + (c < f.n ? c : 0));
    for (size_t r = 0; r < m; r++) {
        dots(lanes, x + r * x_stride, rows, f.w->n_cols);
        for (size_t c = 0; c < f.n; c++) y[r * y_stride + c] = (float)total(lanes[c]);
    }
}

/* The same where the level has no dot product for the format, or rows begin inside a block: at most MOST_ROWS rows of x. */
static void read_first(float *y, size_t y_stride, const float *x, size_t x_stride, size_t m, few_rows f, qk_dots *dots)
{
    double sum[MOST_ROWS][QK_DOT_ROWS] = { 0 };
    float memory[QK_DOT_ROWS][PART], lanes[QK_DOT_ROWS][LANES];
    const uint8_t *rows[QK_DOT_ROWS];
    for (size_t c = 0; c < QK_DOT_ROWS; c++) rows[c] = (const uint8_t *)memory[c < f.n ? c : 0];
    for (size_t l = 0; l < f.w->n_cols; l += PART) {
        size_t part = f.w->n_cols - l < PART ? f.w->n_cols - l : PART, whole = part / LANES * LANES;
        qk_rows_read(memory[0], PART, f.w, f.row, f.n, l, part);
        for (size_t r = 0; r < m; r++) {
            const float *in = x + r * x_stride + l;
            dots(lanes, in, rows, whole);
            for (size_t c = 0; c < f.n; c++) {
                sum[r][c] += total(lanes[c]);
                for (size_t i = whole; i < part; i++) sum[r][c] += (double)in[i] * memory[c][i];
            }
        }
    }
    for (size_t r = 0; r < m; r++)
        for (size_t c = 0; c < f.n; c++) y[r * y_stride + c] = (float)sum[r][c];
}

void qk_product_few(const qk_kernels *self, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qk_rows *w, const float *bias, size_t m, int n_threads)
{
    qk_dots *dots = dots_of(self->level, w);
    size_t n = w->n_rows;
#pragma omp parallel for num_threads(n_threads) if (m * n * w->n_cols > SERIAL_BELOW)
    for (size_t j = 0; j < n; j += QK_DOT_ROWS) {
        few_rows f = { w, j, n - j < QK_DOT_ROWS ? n - j : QK_DOT_ROWS };
        if (dots) in_place(y + j, y_stride, x, x_stride, m, f, dots);
        for (size_t r = 0; r < m && !dots; r += MOST_ROWS)
            read_first(y + r * y_stride + j, y_stride, x + r * x_stride, x_stride, m - r < MOST_ROWS ? m - r : MOST_ROWS,
                       f, dots_of_floats(self->level));
        for (size_t r = 0; r < m && bias; r++)
            for (size_t c = j; c < j + f.n; c++) y[r * y_stride + c] += bias[c];
    }
}

/* ---- attention of a query or so */

bool qk_attend_few(const qk_level *level, const qk_attention *a)
{
    size_t n_keys = a->row0 + a->n_rows, stride = a->kv_stride;
    qk_dots *dots = dots_of(level, &(qk_rows){ NULL, QK_DTYPE_F32, n_keys, a->head_dim, 0 });
    for (size_t j = 0; j < n_keys && dots; j += QK_DOT_ROWS) {
        size_t n = n_keys - j < QK_DOT_ROWS ? n_keys - j : QK_DOT_ROWS;
        float lanes[QK_DOT_ROWS][QK_DOT_LANES];
        const uint8_t *keys[QK_DOT_ROWS];
        for (size_t c = 0; c < QK_DOT_ROWS; c++) keys[c] = (const uint8_t *)(a->k + (j + (c < n ? c : 0)) * stride);
        for (size_t i = 0; i < a->n_rows; i++) {
            dots(lanes, a->q + i * a->q_stride, keys, a->head_dim);
            for (size_t c = 0; c < n; c++) a->scores[i * a->scores_stride + j + c] = (float)total(lanes[c]);
        }
    }
    return dots != NULL;
}

CLONES static void add_scaled(float *restrict z, const float *v, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++) z[i] += scale * v[i];
}

void qk_mix_few(const qk_attention *a)
{
    for (size_t i = 0; i < a->n_rows; i++) {
        float *z = a->z + i * a->z_stride;
        for (size_t d = 0; d < a->head_dim; d++) z[d] = 0;
        for (size_t j = 0; j < a->row0 + a->n_rows; j++)
            add_scaled(z, a->v + j * a->kv_stride, a->scores[i * a->scores_stride + j], a->head_dim);
    }
}
