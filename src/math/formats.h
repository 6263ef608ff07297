/* formats.h - number formats by the processor's vectors: what dtype.c and few.c call where a level has it. */
#ifndef QK_MATH_FORMATS_H
#define QK_MATH_FORMATS_H

#include "math/dtype.h"

#define QK_DOT_ROWS 4  /* rows of weights in one call */
#define QK_DOT_LANES 8 /* sums a dot product is kept in */

/* As qk_dtype_info.to_f32, bit for bit (a signalling NaN of f16 may become a quiet one). */
typedef void qk_read(float *out, const uint8_t *in, size_t n);
/* lanes[r] = the sums of x w[r] over n numbers, a multiple of QK_DOT_LANES and of the format's block; w[r] begins a block.
 * What one row comes to does not depend on the others. */
typedef void qk_dots(float lanes[QK_DOT_ROWS][QK_DOT_LANES], const float *x, const uint8_t *const w[QK_DOT_ROWS],
                     size_t n);

/* By format; NULL where there is none. */
extern qk_read *const qk_read_avx2[QK_N_DTYPES];
extern qk_dots *const qk_dots_avx2[QK_N_DTYPES];

#endif
