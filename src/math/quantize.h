/* quantize.h - f32 numbers into the blocks of a quantised format: one row a way, as dtype.h has one a format.
 *
 * The formats: dtype.c.  Formulas and sources: docs/METHODS.md, "Quantised weights". */
#ifndef QK_MATH_QUANTIZE_H
#define QK_MATH_QUANTIZE_H

#include "math/dtype.h"

typedef struct qk_quantizer {
    const char *name;    /* as the command line spells it: "nf4" */
    qk_dtype dtype;
    bool whole_rows;     /* a row must divide into blocks; else they run on over the whole matrix */
    /* n numbers into the blocks that they fill, the last one maybe in part (where !whole_rows); false where one is not
     * finite or too large for the format. */
    bool (*blocks)(uint8_t *out, const float *in, size_t n);
    /* Once all n_blocks of a tensor are there: their scales are quantised, too.  NULL: nothing is left to do. */
    void (*finish)(uint8_t *blocks, size_t n_blocks);
} qk_quantizer;

/* NULL for QK_QUANTIZE_NONE. */
const qk_quantizer *qk_quantizer_of(qk_quantization how);

/* The 256 values of the 8-bit dynamic format, ascending, that scales of NF4 are quantised to. */
void qk_dynamic_values(float values[256]);

#endif
