/* few.c - products of few rows, as decoding has them: dot products with weights that are read where they lie, once a row
 * of x, in fixed lanes.  What one comes to does not depend on which others are computed beside it. */
#include "math/fast.h"

#include "math/formats.h"
#include "math/kernels.h"

enum { PART = 512 }; /* numbers of a row that are f32 at a time, where a level reads no format itself */
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

/* ---- any format, any processor */

CLONES static void add_lanes(float lanes[LANES], const float *x, const float *w, size_t n)
{
    vector sum = *(const vector *)lanes;
    for (size_t i = 0; i < n; i += LANES) sum += *(const vector *)(x + i) * *(const vector *)(w + i);
    *(vector *)lanes = sum;
}

static float dot(const float *x, const qk_rows *w, size_t row)
{
    float memory[PART], lanes[LANES] = { 0 };
    double rest = 0;
    for (size_t l = 0; l < w->n_cols; l += PART) {
        size_t part = w->n_cols - l < PART ? w->n_cols - l : PART, whole = part / LANES * LANES;
        qk_rows_read(memory, PART, w, row, 1, l, part);
        add_lanes(lanes, x + l, memory, whole);
        for (size_t i = whole; i < part; i++) rest += (double)x[l + i] * memory[i];
    }
    return (float)(total(lanes) + rest);
}

/* ---- in place */

static qk_dots *dots_of(const qk_level *level, const qk_rows *w)
{
    if (w->n_cols % LANES || w->n_cols % qk_dtype_describe(w->dtype)->block_elements) return NULL;
#if defined(__x86_64__)
    if (level != &qk_levels[QK_LEVEL_PLAIN]) return qk_dots_avx2[w->dtype]; /* those above have it too */
#endif
    (void)level;
    return NULL;
}

/* y[0 .. n) = x.w[j .. j + n), n at most QK_DOT_ROWS. */
static void columns(float *y, const float *x, const qk_rows *w, qk_dots *dots, size_t j, size_t n)
{
    float lanes[QK_DOT_ROWS][QK_DOT_LANES];
    const uint8_t *rows[QK_DOT_ROWS];
    for (size_t c = 0; c < QK_DOT_ROWS && dots; c++) rows[c] = qk_rows_at(w, j + (c < n ? c : 0));
    if (dots) dots(lanes, x, rows, w->n_cols);
    for (size_t c = 0; c < n; c++) y[c] = dots ? (float)total(lanes[c]) : dot(x, w, j + c);
}

void qk_product_few(const qk_kernels *self, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qk_rows *w, const float *bias, size_t m, int n_threads)
{
    qk_dots *dots = dots_of(self->level, w);
    size_t n = w->n_rows;
#pragma omp parallel for num_threads(n_threads) if (m * n * w->n_cols > SERIAL_BELOW)
    for (size_t j = 0; j < n; j += QK_DOT_ROWS) {
        size_t part = n - j < QK_DOT_ROWS ? n - j : QK_DOT_ROWS;
        for (size_t r = 0; r < m; r++) {
            float *out = y + r * y_stride + j;
            columns(out, x + r * x_stride, w, dots, j, part);
            for (size_t c = 0; c < part && bias; c++) out[c] += bias[j + c];
        }
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
