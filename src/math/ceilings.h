/* ceilings.h - what the machine can do at most, measured: what speeds are to be compared with. */
#ifndef QK_MATH_CEILINGS_H
#define QK_MATH_CEILINGS_H

#include "base/base.h"

typedef struct qk_ceilings {
    const char *unit;       /* what multiplied: "AVX-512", "AVX2", "plain C" */
    double flops;           /* f32 multiply-adds in registers, FLOP/s of all threads together: the best run */
    double usual_flops;     /* the same by the processor time of a thread, times threads: the middle run.  Less than
                             * `flops` where a neighbour on the same core takes part of its units */
    const char *bf16_unit;  /* level whose bf16 unit does `bf16_flops`; NULL: this processor has none */
    double bf16_flops;      /* its blocks of random numbers out of the nearest cache, FLOP/s as above; 0: no unit */
    double usual_bf16_flops;
    double read;            /* bytes/s of all threads together, from an array larger than the caches */
} qk_ceilings;

/* The best of some short runs, about a second.  QK_E_MEMORY: the array does not fit. */
qk_status qk_ceilings_measure(qk_ceilings *out, int n_threads, qk_error *err);

#endif
