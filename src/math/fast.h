/* fast.h - what fast.c, few.c, backward_fast.c and quantize.c share: clones, lanes, the exponential.  Nobody else includes it. */
#ifndef QK_MATH_FAST_H
#define QK_MATH_FAST_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "math/kernels.h"

/* Clones for wider vectors, chosen when the program is loaded.  Sanitizers cannot follow the resolver. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) &&               \
    !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

#define LANES 8

/* few.c: a product of few rows (kernels.h). */
void qk_product_few(const qk_kernels *self, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qk_rows *w, const float *bias, size_t m, int n_threads);
/* few.c: scores before mask and scale, and what comes of them, for few queries; false: this level has no dot products for
 * such heads. */
bool qk_attend_few(const qk_level *level, const qk_attention *a);
void qk_mix_few(const qk_attention *a);

/* e^x to 2 ulp: 2^n * p(r), r = x - n ln 2 in two parts, p a polynomial that is within 5e-9 of e^r on |r| <= ln(2)/2,
 * summed in pairs (a shorter chain than Horner's); 0 below -87 and infinity above 88, near the ends of the normal
 * floats; NaN stays NaN.  The ends are chosen by bits, behind everything else: of conditions a compiler makes branches,
 * and of these many more operations. */
static inline float exponential(float x)
{
    const float round_off = 12582912.0f; /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
    float shifted = x * 1.44269504f + round_off, n = shifted - round_off;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f, square = r * r;
    float high = (4.16684560e-2f + r * 8.36942438e-3f) + square * 1.38131331e-3f;
    float p = 1.0f + (r + square * ((0.49999994f + r * 0.166665152f) + square * high));
    union {
        float f;
        uint32_t u;
    } bits = { .f = shifted }, power, result;
    power.u = (bits.u + 127) << 23;
    result.f = p * power.f;
    uint32_t below = -(uint32_t)(x < -87.0f), above = -(uint32_t)(x > 88.0f), infinity = 0x7F800000;
    result.u = (result.u & ~(below | above)) | (infinity & above);
    return result.f;
}

/* The bits of x rounded to bf16 (nearest, ties to even), the lower half zero; NaN stays NaN. */
static inline uint32_t rounded_to_bf16(float x)
{
    union {
        float f;
        uint32_t u;
    } bits = { .f = x };
    bool is_nan = (bits.u & 0x7FFFFFFF) > 0x7F800000;
    uint32_t nearest = bits.u + 0x7FFF + (bits.u >> 16 & 1);
    return (is_nan ? bits.u | 0x400000 : nearest) & 0xFFFF0000;
}

/* n cut in equal parts of at most `most`, each but the last a multiple of `step` (as `most` is). */
static inline size_t even_part(size_t n, size_t most, size_t step)
{
    size_t parts = (n + most - 1) / most;
    return ((n + parts - 1) / parts + step - 1) / step * step;
}

static inline float largest(const float *x, size_t n)
{
    float lane[LANES], top;
    for (int j = 0; j < LANES; j++) lane[j] = -INFINITY;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int j = 0; j < LANES; j++) lane[j] = x[i + (size_t)j] > lane[j] ? x[i + (size_t)j] : lane[j];
    top = lane[0];
    for (int j = 1; j < LANES; j++) top = lane[j] > top ? lane[j] : top;
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

#endif
