/* floats.h - arrays of floats for tests of kernels: random, filled with NaN, compared. */
#ifndef QK_FLOATS_H
#define QK_FLOATS_H

#include <math.h>

#include "testing.h"

static inline float *random_floats(size_t n, uint64_t seed, double scale)
{
    qk_rng rng;
    float *x = NULL;
    qk_rng_seed(&rng, seed);
    assert_ok(qk_new_floats(&x, n, "test", err));
    for (size_t i = 0; i < n; i++) x[i] = (float)(scale * qk_rng_normal(&rng));
    return x;
}

static inline float *copy_of(const float *x, size_t n)
{
    float *copy = NULL;
    assert_ok(qk_new_floats(&copy, n, "test", err));
    memcpy(copy, x, n * sizeof *x);
    return copy;
}

static inline float *nan_floats(size_t n)
{
    float *x = NULL;
    assert_ok(qk_new_floats(&x, n, "test", err));
    for (size_t i = 0; i < n; i++) x[i] = NAN;
    return x;
}

/* Errors as shares of the largest finite entry expected; an infinity must be the same one. */
static inline void assert_close(const float *a, const float *b, size_t n, double tolerance, const char *what)
{
    double top = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        if (isinf(b[i]) && a[i] == b[i]) continue;
        top = fmax(top, fabs((double)b[i]));
        error = fmax(error, isnan(a[i]) || isnan(b[i]) ? INFINITY : fabs((double)a[i] - (double)b[i]));
    }
    if (!(error <= tolerance * top)) fail_msg("%s: off by %g of %g (n = %zu)", what, error, top, n);
}

/* An f32 matrix as the products take it. */
#define rows_of(w, n_rows, n_cols) (&(qk_rows){ (const uint8_t *)(w), QK_DTYPE_F32, n_rows, n_cols, 0 })

static inline void assert_same(const float *a, const float *b, size_t n) { assert_memory_equal(a, b, n * sizeof *a); }

#endif
