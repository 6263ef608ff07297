/* few.c - products of few rows, as decoding and short prompts have them: dot products with weights that are read where
 * they lie, in fixed lanes.  What one comes to does not depend on which others are computed beside it. */
#include "math/fast.h"

#include <string.h>

#include "math/formats.h"
#include "math/kernels.h"

enum {
    PART = 512,       /* numbers of a row that are f32 at a time, where they are not multiplied as they lie */
    MOST_ROWS = 16,   /* of x, whose sums are kept meanwhile */
    STREAMS = 8,      /* rows of x that go through the weights together, where they are multiplied as they lie */
    ARRANGED = 16384, /* floats of x in the order of a format: rows for one stream, */
    SHARED = 1024,    /* numbers of rows for several, so that half of them stay in the nearest cache */
    SHARES = 12,      /* of a thread, at most; of TOGETHER rows at least, for each brings x in order */
    TOGETHER = 64     /* rows of weights whose sums are kept while parts of x are gone through */
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

/* As qk_dots_of_one over f32, for any processor. */
CLONES static void plain_dots_of_one(float lanes[QK_DOT_ROWS][LANES], const float *x,
                                     const uint8_t *const w[QK_DOT_ROWS], const uint8_t *const ahead[QK_DOT_ROWS],
                                     size_t n)
{
    (void)ahead;
    for (size_t r = 0; r < QK_DOT_ROWS; r++) {
        const float *row = (const float *)(const void *)w[r];
        vector sum = *(const vector *)lanes[r];
        for (size_t i = 0; i < n; i += LANES) sum += *(const vector *)(x + i) * *(const vector *)(row + i);
        *(vector *)lanes[r] = sum;
    }
}

static const qk_dots plain_dots = { plain_dots_of_one, NULL, NULL, 1, 1 };

static const qk_dots *dots_of_floats(const qk_level *level)
{
#if defined(__x86_64__)
    if (level != &qk_levels[QK_LEVEL_PLAIN]) return &qk_dots_avx2[QK_DTYPE_F32]; /* those above have it too */
#endif
    (void)level;
    return &plain_dots;
}

/* For weights as they lie; NULL: they are read as f32 first. */
static const qk_dots *dots_of(const qk_level *level, const qk_rows *w)
{
    if (w->n_cols % LANES || w->n_cols % qk_dtype_describe(w->dtype)->block_elements) return NULL;
    if (w->dtype == QK_DTYPE_F32) return dots_of_floats(level);
#if defined(__x86_64__)
    if (level != &qk_levels[QK_LEVEL_PLAIN] && qk_dots_avx2[w->dtype].one) return &qk_dots_avx2[w->dtype];
#endif
    return NULL;
}

/* A product; its rows of x. */
typedef struct few_product {
    float *y;
    const float *x, *bias; /* bias or NULL */
    size_t y_stride, x_stride, m;
    const qk_rows *w;
    const qk_dots *dots;
    size_t row_bytes; /* of the weights, where there are dots */
} few_product;

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* ---- weights as they lie */

/* What one thread has of rows [row, row + m) of x, at most STREAMS: a part of their numbers. */
typedef struct few_streams {
    size_t row, m, part;      /* numbers of a part */
    const float *at[STREAMS]; /* the present part, as the dot products take it */
    _Alignas(64) float arranged[ARRANGED];
} few_streams;

static void take_part(few_streams *s, const few_product *p, size_t column, size_t n)
{
    size_t size = n / p->dots->in * p->dots->out;
    for (size_t i = 0; i < s->m; i++) {
        const float *x = p->x + (s->row + i) * p->x_stride + column;
        s->at[i] = p->dots->arrange ? s->arranged + i * size : x;
        if (p->dots->arrange) p->dots->arrange(s->arranged + i * size, x, n);
    }
}

/* Where QK_DOT_ROWS rows of weights lie from some bytes on; rows from `end` on are the one before it. */
static void find_rows(const uint8_t *at[QK_DOT_ROWS], const few_product *p, size_t row, size_t end, size_t before)
{
    for (size_t c = 0; c < QK_DOT_ROWS; c++) {
        size_t r = least(row + c, end - 1);
        at[c] = (p->w->interleaved_heads ? qk_rows_at(p->w, r) : p->w->data + r * p->row_bytes) + before;
    }
}

static void dots_of_streams(float lanes[STREAMS][QK_DOT_ROWS][LANES], const few_streams *s, const qk_dots *dots,
                            const uint8_t *const w[QK_DOT_ROWS], const uint8_t *const ahead[QK_DOT_ROWS], size_t n)
{
    size_t done = 0;
    for (; dots->four && done + QK_DOT_STREAMS <= s->m; done += QK_DOT_STREAMS)
        dots->four(lanes + done, s->at + done, w, ahead, n);
    for (; done < s->m; done++) dots->one(lanes[done], s->at[done], w, ahead, n);
}

/* Columns [first, end) of y, at most TOGETHER of them.  `there`: x was taken before, if one part is all of it. */
static void in_place(const few_product *p, few_streams *s, size_t first, size_t end, bool there)
{
    float lanes[TOGETHER / QK_DOT_ROWS][STREAMS][QK_DOT_ROWS][LANES];
    const uint8_t *rows[QK_DOT_ROWS], *ahead[QK_DOT_ROWS];
    const qk_dtype_info *format = qk_dtype_describe(p->w->dtype);
    for (size_t l = 0; l < p->w->n_cols; l += s->part) {
        size_t n = least(p->w->n_cols - l, s->part), before = l / format->block_elements * format->block_bytes;
        if (!there || s->part < p->w->n_cols) take_part(s, p, l, n);
        find_rows(ahead, p, first, end, before);
        for (size_t j = first; j < end; j += QK_DOT_ROWS) {
            memcpy(rows, ahead, sizeof rows);
            find_rows(ahead, p, j + QK_DOT_ROWS, p->w->n_rows, before);
            if (l == 0) memset(lanes[(j - first) / QK_DOT_ROWS], 0, s->m * sizeof *lanes[0]);
            dots_of_streams(lanes[(j - first) / QK_DOT_ROWS], s, p->dots, rows, ahead, n);
        }
    }
    for (size_t i = 0; i < s->m; i++)
        for (size_t j = first; j < end; j++)
            p->y[(s->row + i) * p->y_stride + j] =
                (float)total(lanes[(j - first) / QK_DOT_ROWS][i][(j - first) % QK_DOT_ROWS]);
}

static void all_in_place(const few_product *p, size_t first, size_t end)
{
    few_streams s;
    for (s.row = 0; s.row < p->m; s.row += STREAMS) {
        s.m = least(p->m - s.row, STREAMS);
        s.part = s.m > 1 ? SHARED : p->dots->arrange ? ARRANGED / p->dots->out / 2 * 2 * p->dots->in : p->w->n_cols;
        for (size_t j = first; j < end; j += TOGETHER) in_place(p, &s, j, least(j + TOGETHER, end), j > first);
    }
}

/* ---- others: the level has no dot product for the format, or rows begin inside a block */

/* Columns [first, first + n) of y for rows [row, row + m): at most QK_DOT_ROWS and MOST_ROWS. */
static void read_first(const few_product *p, const qk_dots *dots, size_t row, size_t m, size_t first, size_t n)
{
    double sum[MOST_ROWS][QK_DOT_ROWS] = { 0 };
    float memory[QK_DOT_ROWS][PART], lanes[QK_DOT_ROWS][LANES];
    const uint8_t *rows[QK_DOT_ROWS];
    for (size_t c = 0; c < QK_DOT_ROWS; c++) rows[c] = (const uint8_t *)memory[c < n ? c : 0];
    for (size_t l = 0; l < p->w->n_cols; l += PART) {
        size_t part = least(p->w->n_cols - l, PART), whole = part / LANES * LANES;
        qk_rows_read(memory[0], PART, p->w, first, n, l, part);
        for (size_t r = 0; r < m; r++) {
            const float *in = p->x + (row + r) * p->x_stride + l;
            memset(lanes, 0, sizeof lanes);
            dots->one(lanes, in, rows, rows, whole);
            for (size_t c = 0; c < n; c++) {
                sum[r][c] += total(lanes[c]);
                for (size_t i = whole; i < part; i++) sum[r][c] += (double)in[i] * memory[c][i];
            }
        }
    }
    for (size_t r = 0; r < m; r++)
        for (size_t c = 0; c < n; c++) p->y[(row + r) * p->y_stride + first + c] = (float)sum[r][c];
}

/* Columns [first, end) of y. */
static void few_columns(const few_product *p, const qk_level *level, size_t first, size_t end)
{
    if (p->dots) all_in_place(p, first, end);
    for (size_t j = first; j < end && !p->dots; j += QK_DOT_ROWS)
        for (size_t r = 0; r < p->m; r += MOST_ROWS)
            read_first(p, dots_of_floats(level), r, least(p->m - r, MOST_ROWS), j, least(end - j, QK_DOT_ROWS));
    for (size_t r = 0; r < p->m && p->bias; r++)
        for (size_t j = first; j < end; j++) p->y[r * p->y_stride + j] += p->bias[j];
}

void qk_product_few(const qk_kernels *self, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qk_rows *w, const float *bias, size_t m, int n_threads)
{
    const qk_dtype_info *format = qk_dtype_describe(w->dtype);
    few_product p = { y, x, bias, y_stride, x_stride, m, w, dots_of(self->level, w), 0 };
    p.row_bytes = w->n_cols / format->block_elements * format->block_bytes;
    size_t groups = (w->n_rows + QK_DOT_ROWS - 1) / QK_DOT_ROWS; /* those of one go together */
    /* Several shares a thread: whoever is done first takes the next one, for threads are seldom equally fast. */
    size_t each = least((w->n_rows + TOGETHER - 1) / TOGETHER / (size_t)n_threads, SHARES);
    size_t shares = least((each ? each : 1) * (size_t)n_threads, groups);
    if (m * w->n_rows * w->n_cols <= SERIAL_BELOW) shares = 1;
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads) if (shares > 1)
    for (size_t i = 0; i < shares; i++)
        few_columns(&p, self->level, groups * i / shares * QK_DOT_ROWS,
                    least(groups * (i + 1) / shares * QK_DOT_ROWS, w->n_rows));
}

/* ---- attention of a query or so */

bool qk_attend_few(const qk_level *level, const qk_attention *a)
{
    size_t n_keys = a->row0 + a->n_rows, stride = a->kv_stride;
    const qk_dots *dots = dots_of(level, &(qk_rows){ NULL, QK_DTYPE_F32, n_keys, a->head_dim, 0 });
    for (size_t j = 0; j < n_keys && dots; j += QK_DOT_ROWS) {
        size_t n = n_keys - j < QK_DOT_ROWS ? n_keys - j : QK_DOT_ROWS;
        float lanes[QK_DOT_ROWS][QK_DOT_LANES];
        const uint8_t *keys[QK_DOT_ROWS];
        for (size_t c = 0; c < QK_DOT_ROWS; c++) keys[c] = (const uint8_t *)(a->k + (j + (c < n ? c : 0)) * stride);
        for (size_t i = 0; i < a->n_rows; i++) {
            memset(lanes, 0, sizeof lanes);
            dots->one(lanes, a->q + i * a->q_stride, keys, keys, a->head_dim);
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
