/* terms.h - products by a unit that multiplies bf16 and sums in f32, of operands cut in terms.
 *
 * One term is the operand rounded to bf16.  Three terms of 8 bits each are an f32 exactly: x = x0 + x1 + x2, each the
 * upper bits of what the others before it leave.  A product of terms i and j is left out where i + j is not below the
 * left operand's number of terms: as small as what f32 rounds away.  An infinite entry may come out as NaN. */
#ifndef QK_MATH_TERMS_H
#define QK_MATH_TERMS_H

#include "math/multiply.h"
#include "math/rows.h"

#define QK_MOST_TERMS 3
#define QK_TERMS_SIDE 32     /* a product is computed in blocks of this many rows and columns ... */
#define QK_TERMS_STEP 32     /* ... and steps of this many terms of its sums */
#define QK_TERMS_PART (QK_TERMS_SIDE * QK_TERMS_STEP) /* numbers of one term of one step of a block's operand */
#define QK_TERMS_COLUMNS 384 /* of c that are computed with weights packed once ... */
#define QK_TERMS_ROWS 768    /* ... for so many rows: with its columns, what a second-level cache of 2 MiB holds of c */

/* c[32][32], its rows c_stride floats apart, (+)= a b over `n_steps` steps.  a: [step][term][row][STEP] bf16; b:
 * [step][term][pair of the step][column][2] bf16; both on a border of 64 bytes.  Sums are f32.  Of c only the first
 * n_rows are wanted; the others may hold anything afterwards. */
typedef void qk_terms_block(float *c, size_t c_stride, bool add, const uint16_t *a, const uint16_t *b, size_t n_rows,
                            size_t n_steps, size_t a_terms, size_t b_terms);

struct qk_terms_product;
typedef void qk_terms_multiply(const qk_terms_unit *unit, float *c, size_t c_stride, bool add,
                               const struct qk_terms_product *product, size_t row0, size_t n_rows, size_t column0,
                               size_t n_columns);

struct qk_terms_unit {
    qk_terms_multiply *multiply; /* see below */
    void (*set_up)(void), (*release)(void); /* of one thread, around its blocks; NULL: nothing to do */
    qk_terms_block *block;
    bool f32_pays; /* three terms are faster than the level's tile in f32 */
};

typedef struct qk_terms_product {
    qk_matrix left;
    qk_matrix right;     /* used where rows is NULL */
    const qk_rows *rows; /* entry (l, j) of the right operand is entry (j, l) of these */
    size_t depth;
    size_t left_terms, right_terms; /* 1, 1; or 3 and what qk_terms_of says */
} qk_terms_product;

/* Terms that hold every number of a format exactly. */
static inline size_t qk_terms_of(qk_dtype dtype)
{
    return dtype == QK_DTYPE_BF16 ? 1 : dtype == QK_DTYPE_F16 || dtype == QK_DTYPE_Q4_0 ? 2 : QK_MOST_TERMS;
}

/* Rows [row0, row0 + n_rows) and columns [column0, column0 + n_columns) of the product, written to c or added to it. c
 * is the first of these entries; an entry's bits depend on its row, its column and its value in c alone.  Terms that
 * are zero change nothing: a weight kept in more bits than it needs gives the same product. */
qk_terms_multiply qk_terms_multiply_packed; /* terms.c: packs, and has the unit's blocks multiply */

/* tile_avx512.c: to[l * QK_TERMS_SIDE + i] = from[i * stride + l] for l < depth and i < QK_TERMS_SIDE; `to` on a border
 * of 64 bytes. */
void qk_turn_terms(float *to, const float *from, size_t stride, size_t depth);

#endif
