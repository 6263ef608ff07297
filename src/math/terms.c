/* terms.c - products of bf16 terms: cutting, packing and the order of blocks, whatever unit multiplies them.
 *
 * The left operand (activations) is cut as it lies, the depth side by side; the right one (weights) has to be in
 * pairs of the depth, so it is turned.  The right one is packed once for many rows, the left one for every 384 columns:
 * what is done more often is what costs less, and c comes out in its own order.  The right one streams from the second
 * cache while 32 rows of the left one pass by it. */
#include "math/terms.h"

#include "math/level.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

enum {
    SIDE = QK_TERMS_SIDE,
    STEP = QK_TERMS_STEP,
    PART = QK_TERMS_PART,
    DEPTH = 512,         /* packed at a time, one term: the more, the fewer times c is read and written */
    DEPTH_IN_TERMS = 128 /* the same, several terms: three of them are fewer numbers than DEPTH */
};

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define ROUNDING __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define ALIGNED __attribute__((aligned(64)))

/* An operand, the depth side by side: entry (i, STEP * s + l) is at[s * step_stride + i * row_stride + l]. */
typedef struct view {
    const float *at;
    size_t row_stride, step_stride;
} view;

typedef struct workspace {
    uint16_t left[SIDE * DEPTH] ALIGNED;              /* [step][term][row][STEP] */
    uint16_t right[QK_TERMS_COLUMNS * DEPTH] ALIGNED; /* [32 columns][step][term][pair of the depth][column][2] */
    uint16_t unturned[QK_MOST_TERMS * PART] ALIGNED;    /* one step of right, [term][column][STEP] */
    float floats[SIDE * DEPTH] ALIGNED;                 /* an operand that does not lie as a view wants it */
    float edge[SIDE * SIDE] ALIGNED;                    /* a block of c that is cut short */
} workspace;

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* ---- cutting in terms */

/* What one row of a step is read as; nothing beyond `inside`. */
typedef struct numbers {
    __m512 low, high;
} numbers;

AVX512 static inline numbers step_of_row(const float *row, uint32_t inside)
{
    return (numbers){ _mm512_maskz_loadu_ps((__mmask16)inside, row),
                      _mm512_maskz_loadu_ps((__mmask16)(inside >> 16), row + STEP / 2) };
}

/* One term: rounded to the nearest (ties to even). */
ROUNDING static void round_row(uint16_t *to, numbers x)
{
    _mm256_store_si256((__m256i *)(void *)to, (__m256i)_mm512_cvtneps_pbh(x.low));
    _mm256_store_si256((__m256i *)(void *)(to + STEP / 2), (__m256i)_mm512_cvtneps_pbh(x.high));
}

/* What the upper half of each number leaves; NaN of what is not finite. */
AVX512 static inline __m512 rest_of(__m512 x)
{
    const __m512i upper = _mm512_set1_epi32((int)0xFFFF0000u);
    return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), upper)));
}

/* Several: upper halves, the first of the number, each next one of what those before it leave.  Cut off, not rounded:
 * three hold all 24 bits of an f32 as well, at a tenth of the instructions, and none is infinite that was finite. */
AVX512 static void cut_row(uint16_t *to, numbers x, size_t n_terms)
{
    static const uint16_t uppers[STEP] ALIGNED = { 1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                                   33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63 };
    for (size_t t = 0; t < n_terms; t++, x.low = rest_of(x.low), x.high = rest_of(x.high))
        _mm512_store_si512(to + t * PART, _mm512_permutex2var_epi16(_mm512_castps_si512(x.low),
                                                                    _mm512_load_si512(uppers),
                                                                    _mm512_castps_si512(x.high)));
}

/* One step: to[term][32][STEP] from n_rows x n numbers, and zeros. */
ROUNDING static void cut_step(uint16_t *to, const float *from, size_t stride, size_t n_rows, size_t n, size_t n_terms)
{
    uint32_t inside = n >= STEP ? 0xFFFFFFFFu : (1u << n) - 1;
    for (size_t i = 0; i < n_rows; i++) {
        numbers x = step_of_row(from + i * stride, inside);
        if (n_terms == 1) round_row(to + i * STEP, x);
        else cut_row(to + i * STEP, x, n_terms);
    }
    for (size_t t = 0; t < n_terms && n_rows < SIDE; t++)
        memset(to + t * PART + n_rows * STEP, 0, (SIDE - n_rows) * STEP * sizeof *to);
}

/* ---- reading operands */

/* Entry (i, l) of the view is at[l * stride + i]. */
static view turned(float *memory, const float *at, size_t stride, size_t n_rows, size_t depth)
{
    size_t l = 0;
    for (; l + STEP <= depth; l += STEP) qk_turn_terms(memory + l * SIDE, at + l * stride, stride, n_rows);
    for (; l < depth; l++)
        for (size_t i = 0; i < n_rows; i++) memory[l / STEP * PART + i * STEP + l % STEP] = at[l * stride + i];
    return (view){ memory, STEP, PART };
}

static view left_view(const qk_terms_product *p, float *memory, size_t row, size_t n_rows, size_t l, size_t depth)
{
    const qk_matrix *a = &p->left;
    if (a->turned) return turned(memory, a->at + l * a->stride + row, a->stride, n_rows, depth);
    return (view){ a->at + row * a->stride + l, a->stride, STEP };
}

static view right_view(const qk_terms_product *p, float *memory, size_t column, size_t n_columns, size_t l,
                       size_t depth)
{
    const qk_matrix *b = &p->right;
    if (p->rows) {
        qk_rows_read(memory, DEPTH, p->rows, column, n_columns, l, depth);
        return (view){ memory, DEPTH, STEP };
    }
    if (!b->turned) return turned(memory, b->at + l * b->stride + column, b->stride, n_columns, depth);
    return (view){ b->at + column * b->stride + l, b->stride, STEP };
}

static void pack_left(workspace *w, const qk_terms_product *p, size_t row, size_t n_rows, size_t l, size_t depth)
{
    view v = left_view(p, w->floats, row, n_rows, l, depth);
    uint16_t *to = w->left;
    for (size_t done = 0; done < depth; done += STEP, v.at += v.step_stride, to += p->left_terms * PART)
        cut_step(to, v.at, v.row_stride, n_rows, depth - done, p->left_terms);
}

/* bf16 weights that need no cutting: turned from where they lie, two side by side as one float.  False: they do. */
static bool turn_pairs(uint16_t *to, const qk_rows *w, size_t column, size_t n_columns, size_t l, size_t depth)
{
    bool whole = w && w->dtype == QK_DTYPE_BF16 && w->interleaved_heads == 0 && w->n_cols % 2 == 0;
    if (!whole || n_columns < SIDE || depth % STEP != 0) return false;
    const uint8_t *from = w->data + (column * w->n_cols + l) * sizeof *to;
    qk_turn_terms((float *)(void *)to, (const float *)(const void *)from, w->n_cols / 2, depth / 2);
    return true;
}

/* Columns [column, column + n_columns), at most 32, to `to`. */
static void pack_right(uint16_t *to, workspace *w, const qk_terms_product *p, size_t column, size_t n_columns, size_t l,
                       size_t depth)
{
    if (p->right_terms == 1 && turn_pairs(to, p->rows, column, n_columns, l, depth)) return;
    view v = right_view(p, w->floats, column, n_columns, l, depth);
    for (size_t done = 0; done < depth; done += STEP, v.at += v.step_stride) {
        cut_step(w->unturned, v.at, v.row_stride, n_columns, depth - done, p->right_terms);
        for (size_t t = 0; t < p->right_terms; t++, to += PART) /* pairs of bf16 are as wide as a float */
            qk_turn_terms((float *)(void *)to, (const float *)(const void *)(w->unturned + t * PART), STEP / 2,
                           STEP / 2);
    }
}

/* A block of n_rows x n_columns by way of a whole one. */
static void cut_block(qk_terms_block *block, workspace *w, float *c, size_t c_stride, bool add, const uint16_t *b,
                      size_t n_steps, const qk_terms_product *p, size_t n_rows, size_t n_columns)
{
    if (n_rows == SIDE && n_columns == SIDE) {
        block(c, c_stride, add, w->left, b, SIDE, n_steps, p->left_terms, p->right_terms);
        return;
    }
    if (add) memset(w->edge, 0, sizeof w->edge);
    for (size_t i = 0; i < n_rows && add; i++) memcpy(w->edge + i * SIDE, c + i * c_stride, n_columns * sizeof *c);
    block(w->edge, SIDE, add, w->left, b, n_rows, n_steps, p->left_terms, p->right_terms);
    for (size_t i = 0; i < n_rows; i++) memcpy(c + i * c_stride, w->edge + i * SIDE, n_columns * sizeof *c);
}

/* ---- all of it */

/* Columns [column, column + n) of the right operand's part [l, l + depth) are about to be packed. */
static void announce(const qk_terms_product *p, size_t column, size_t n, size_t l, size_t depth)
{
    qk_rows floats = qk_rows_of_floats(p->right.at, column + n, p->right.stride);
    if (p->rows || p->right.turned) qk_rows_announce(p->rows ? p->rows : &floats, column, n, l, depth);
}

/* At most QK_TERMS_COLUMNS columns, `depth` of the sums from l on. */
static void multiply_part(qk_terms_block *block, workspace *w, float *c, size_t c_stride, bool add,
                          const qk_terms_product *p, size_t row0, size_t n_rows, size_t column0, size_t n_columns,
                          size_t l, size_t depth)
{
    size_t n_steps = (depth + STEP - 1) / STEP, panel = n_steps * p->right_terms * PART;
    size_t next = l + depth, next_depth = least(p->depth - next, depth); /* asked for while this part is computed */
    size_t strips = (n_rows + SIDE - 1) / SIDE, share = (SIDE + strips - 1) / strips, asked = 0;
    if (l == 0) announce(p, column0, least(n_columns, SIDE), l, depth);
    for (size_t j = 0; j < n_columns; j += SIDE) {
        size_t behind = j + SIDE;
        if (l == 0 && behind < n_columns) announce(p, column0 + behind, least(n_columns - behind, SIDE), l, depth);
        pack_right(w->right + j / SIDE * panel, w, p, column0 + j, least(n_columns - j, SIDE), l, depth);
    }
    for (size_t i = 0; i < n_rows; i += SIDE) {
        size_t height = least(n_rows - i, SIDE);
        pack_left(w, p, row0 + i, height, l, depth);
        for (size_t j = 0; j < n_columns; j += SIDE, asked += share) {
            if (asked < n_columns) announce(p, column0 + asked, least(n_columns - asked, share), next, next_depth);
            cut_block(block, w, c + i * c_stride + j, c_stride, add, w->right + j / SIDE * panel, n_steps, p, height,
                      least(n_columns - j, SIDE));
        }
    }
}

void qk_terms_multiply_packed(const qk_terms_unit *unit, float *c, size_t c_stride, bool add,
                              const qk_terms_product *product, size_t row0, size_t n_rows, size_t column0,
                              size_t n_columns)
{
    workspace w;
    size_t most = product->left_terms > 1 ? DEPTH_IN_TERMS : DEPTH;
    if (product->depth == 0 && !add)
        for (size_t i = 0; i < n_rows; i++) memset(c + i * c_stride, 0, n_columns * sizeof *c);
    if (unit->set_up) unit->set_up();
    for (size_t j = 0; j < n_columns; j += QK_TERMS_COLUMNS)
        for (size_t l = 0; l < product->depth; l += most)
            multiply_part(unit->block, &w, c + j, c_stride, add || l > 0, product, row0, n_rows, column0 + j,
                          least(n_columns - j, QK_TERMS_COLUMNS), l, least(product->depth - l, most));
    if (unit->release) unit->release();
}
#endif
