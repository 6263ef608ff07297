/* terms_avx512.c - blocks of bf16 terms by AVX-512's dot product of pairs: eight rows of two vectors at a time. */
#include "math/terms.h"

#include "math/level.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

enum { SIDE = QK_TERMS_SIDE, STEP = QK_TERMS_STEP, PART = QK_TERMS_PART, ROWS = 8, WIDTH = 16 };

#define PAIRS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define UNROLLED _Pragma("GCC unroll 16") /* before anything else: or the sums go by way of memory */

/* Two neighbours of the depth, for all columns. */
PAIRS static inline __m512bh pair_of(const uint16_t *a)
{
    int32_t pair;
    memcpy(&pair, a, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

/* One pair of the depth, terms i and j. */
PAIRS static inline void add_pair(__m512 sum[ROWS][2], const uint16_t *a, const uint16_t *b)
{
    __m512bh left = (__m512bh)_mm512_load_si512(b), right = (__m512bh)_mm512_load_si512(b + 2 * WIDTH);
UNROLLED
    for (size_t r = 0; r < ROWS; r++) {
        __m512bh entry = pair_of(a + r * STEP);
        sum[r][0] = _mm512_dpbf16_ps(sum[r][0], entry, left);
        sum[r][1] = _mm512_dpbf16_ps(sum[r][1], entry, right);
    }
}

PAIRS static void eight_rows(float *c, size_t c_stride, bool add, const uint16_t *a, const uint16_t *b, size_t n_steps,
                             size_t a_terms, size_t b_terms)
{
    __m512 sum[ROWS][2];
UNROLLED
    for (size_t r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (size_t s = 0; s < n_steps; s++, a += a_terms * PART)
        for (size_t j = 0; j < b_terms; j++, b += PART)
            for (size_t i = 0; i + j < a_terms; i++)
                for (size_t l = 0; l < STEP; l += 2) add_pair(sum, a + i * PART + l, b + l * SIDE);
UNROLLED
    for (size_t r = 0; r < ROWS; r++)
UNROLLED
        for (size_t v = 0; v < 2; v++) { /* part by part: one sum over all of a long depth rounds more */
            float *at = c + r * c_stride + v * WIDTH;
            _mm512_storeu_ps(at, add ? _mm512_add_ps(_mm512_loadu_ps(at), sum[r][v]) : sum[r][v]);
        }
}

PAIRS static void block(float *c, size_t c_stride, bool add, const uint16_t *a, const uint16_t *b, size_t n_rows,
                        size_t n_steps, size_t a_terms, size_t b_terms)
{
    for (size_t i = 0; i < n_rows; i += ROWS)
        eight_rows(c + i * c_stride, c_stride, add, a + i * STEP, b, n_steps, a_terms, b_terms);
}

/* Pairs take half the time of an f32 multiply-add each at best: six products of them would be slower. */
const qk_terms_unit qk_terms_avx512 = { qk_terms_multiply_packed, NULL, NULL, block, false };
#endif
