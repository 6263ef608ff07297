/* formats.h - number formats by the processor's vectors: what dtype.c and few.c call where a level has it. */
#ifndef QK_MATH_FORMATS_H
#define QK_MATH_FORMATS_H

#include "math/dtype.h"

#define QK_DOT_ROWS 4    /* rows of weights in one call */
#define QK_DOT_STREAMS 4 /* rows of x in one call that unpacks weights once for all of them */
#define QK_DOT_LANES 8   /* sums a dot product is kept in */

/* As qk_dtype_info.to_f32, bit for bit (a signalling NaN of f16 may become a quiet one). */
typedef void qk_read(float *out, const uint8_t *in, size_t n);

/* Sums of QK_DOT_ROWS rows of weights: lanes[r] += x w[r] over n numbers, a multiple of QK_DOT_LANES and of the
 * format's block; w[r] begins a block.  As many bytes from ahead[r] on may be fetched into the caches meanwhile: they
 * are not read, and need not be there. */
typedef void qk_dots_of_one(float lanes[QK_DOT_ROWS][QK_DOT_LANES], const float *x, const uint8_t *const w[QK_DOT_ROWS],
                            const uint8_t *const ahead[QK_DOT_ROWS], size_t n);
/* The same for several rows of x, with the bits of one. */
typedef void qk_dots_of_four(float lanes[QK_DOT_STREAMS][QK_DOT_ROWS][QK_DOT_LANES],
                             const float *const x[QK_DOT_STREAMS], const uint8_t *const w[QK_DOT_ROWS],
                             const uint8_t *const ahead[QK_DOT_ROWS], size_t n);

/* Dot products with weights of one format as they lie.  What one row comes to, with one row of x, does not depend on
 * the others, nor on how its n numbers are cut into calls. */
typedef struct qk_dots {
    qk_dots_of_one *one;
    qk_dots_of_four *four; /* NULL: there is none */
    /* x in the order in which the weights come out of their blocks: of `in` numbers `out` floats; NULL: as it lies. */
    void (*arrange)(float *out, const float *x, size_t n);
    size_t in, out;
} qk_dots;

/* By format; NULL where there is none. */
extern qk_read *const qk_read_avx2[QK_N_DTYPES];
extern const qk_dots qk_dots_avx2[QK_N_DTYPES];

#endif
