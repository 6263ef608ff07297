/* level.h - levels of the processor, one row each: the tile that a matrix product is made of there.
 *
 * Which one a product runs at is chosen by whoever starts the work and handed down; nothing here remembers it. */
#ifndef QK_MATH_LEVEL_H
#define QK_MATH_LEVEL_H

#include "base/base.h"

/* c[rows][columns], its rows c_stride floats apart, (+)= a b over `depth`, where (row, l) of a is
 * a[row * a_row_stride + l * a_depth_stride] and (l, column) of b is b[l * the level's columns + column]; b on a border
 * of 64 bytes; columns: at most the level's, a multiple of its column_step.
 * An entry is summed in the order of l, from 0, then added to c: its bits depend on its row of a and its column of b
 * alone.  AVX2 and AVX-512 fuse each multiply-add: the same bits.  The plain level rounds twice. */
typedef void qk_tile(float *c, size_t c_stride, bool add, const float *a, size_t a_row_stride, size_t a_depth_stride,
                     const float *b, size_t depth, size_t columns);

typedef struct qk_terms_unit qk_terms_unit; /* terms.h */

struct qk_level {
    const char *name;       /* "avx2" */
    bool (*present)(void);  /* this processor, and its system, can do it */
    size_t rows, columns;   /* of a tile, which stays in registers; at most those below */
    size_t column_step;     /* what its columns come in; divides `columns` */
    qk_tile *tile;
    /* to[l * columns + column] = from[column * stride + l] for l < depth and all columns; `to` as b above. */
    void (*turn)(float *to, const float *from, size_t stride, size_t depth);
    const qk_terms_unit *unit; /* for bf16 terms; NULL: there is none */
};

#define QK_LEVEL_ROWS 6     /* most rows of any level's tile */
#define QK_LEVEL_COLUMNS 48 /* most columns; those of each level divide 288 */

typedef enum qk_level_index {
    QK_LEVEL_PLAIN,
#if defined(__x86_64__)
    QK_LEVEL_AVX2,
    QK_LEVEL_AVX512,
    QK_LEVEL_AVX512_BF16,
    QK_LEVEL_AMX,
#endif
    QK_N_LEVELS
} qk_level_index;

/* What a product makes of its operands. */
typedef enum qk_operands {
    QK_OPERANDS_PLAIN,    /* f32 as they are */
    QK_OPERANDS_ROUNDED,  /* to bf16 (nearest, ties to even); sums are f32 */
    QK_OPERANDS_IN_TERMS, /* sums of bf16 terms that are f32 together, where the unit is faster so; else plain */
    QK_N_OPERANDS
} qk_operands;

qk_operands qk_operands_for(qk_precision precision);

extern const qk_level qk_levels[QK_N_LEVELS]; /* the lowest first */
/* The highest that is present. */
const qk_level *qk_level_best(void);

/* ---- tile_*.c */

qk_tile qk_tile_plain, qk_tile_avx2, qk_tile_avx512;
void qk_turn_plain(float *to, const float *from, size_t stride, size_t depth);
void qk_turn_avx2(float *to, const float *from, size_t stride, size_t depth);
void qk_turn_avx512(float *to, const float *from, size_t stride, size_t depth);
extern const qk_terms_unit qk_terms_avx512, qk_terms_amx; /* terms_*.c */

#define QK_PLAIN_ROWS 4
#define QK_PLAIN_COLUMNS 8
#define QK_AVX2_ROWS 6
#define QK_AVX2_COLUMNS 16
#define QK_AVX512_ROWS 6
#define QK_AVX512_COLUMNS 48
#define QK_AVX512_STEP 16

#endif
