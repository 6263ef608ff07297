/* avx2.h - what formats_avx2.c and dots_avx2.c share: numbers of the file's formats, eight at a time.  Nobody else
 * includes it. */
#ifndef QK_MATH_AVX2_H
#define QK_MATH_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "math/formats.h"

#define AVX2 __attribute__((target("avx2,fma,f16c")))
#define INLINE AVX2 static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")
#define EACH(i, n) UNROLLED for (int i = 0; i < (n); i++)

enum {
    WIDTH = QK_DOT_LANES,
    Q8_0 = 32, /* numbers of a block */
    Q4_0 = 32,
    NF4 = 64,
    Q8_0_BYTES = 34,
    Q4_0_BYTES = 18,
    NF4_BYTES = 36
};

INLINE __m256 floats(const float *p) { return _mm256_loadu_ps(p); }

INLINE __m128i sixteen_bytes(const uint8_t *p) { return _mm_loadu_si128((const __m128i_u *)(const void *)p); }

INLINE __m256 eight_f32(const uint8_t *p) { return floats((const float *)(const void *)p); }

INLINE __m256 eight_f16(const uint8_t *p) { return _mm256_cvtph_ps(sixteen_bytes(p)); }

INLINE __m256 eight_bf16(const uint8_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(sixteen_bytes(p)), 16));
}

INLINE __m256 eight_i8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i_u *)(const void *)p)));
}

/* The scale in front of a block, eight times. */
INLINE __m256 half_scale(const uint8_t *block)
{
    uint16_t bits;
    memcpy(&bits, block, sizeof bits);
    return _mm256_cvtph_ps(_mm_set1_epi16((short)bits));
}

INLINE __m256 whole_scale(const uint8_t *block)
{
    float scale;
    memcpy(&scale, block, sizeof scale);
    return _mm256_set1_ps(scale);
}

/* The bytes of NF4's sixteen values by their place in a float, twice. */
INLINE void planes_nf4(__m256i planes[4])
{
    const __m128i by_place = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m128i four[4], low0, high0, low1, high1;
    EACH (i, 4) four[i] = _mm_shuffle_epi8(sixteen_bytes((const uint8_t *)(qk_nf4_values + 4 * i)), by_place);
    low0 = _mm_unpacklo_epi32(four[0], four[1]), high0 = _mm_unpackhi_epi32(four[0], four[1]);
    low1 = _mm_unpacklo_epi32(four[2], four[3]), high1 = _mm_unpackhi_epi32(four[2], four[3]);
    planes[0] = _mm256_broadcastsi128_si256(_mm_unpacklo_epi64(low0, low1));
    planes[1] = _mm256_broadcastsi128_si256(_mm_unpackhi_epi64(low0, low1));
    planes[2] = _mm256_broadcastsi128_si256(_mm_unpacklo_epi64(high0, high1));
    planes[3] = _mm256_broadcastsi128_si256(_mm_unpackhi_epi64(high0, high1));
}

/* Eight of the values that 32 bytes choose (each below 16): group i are bytes 4i to 4i + 3 and 16 behind. */
INLINE __m256 values_nf4(__m256i chosen, int i, const __m256i planes[4])
{
    __m256i b0 = _mm256_shuffle_epi8(planes[0], chosen), b1 = _mm256_shuffle_epi8(planes[1], chosen);
    __m256i b2 = _mm256_shuffle_epi8(planes[2], chosen), b3 = _mm256_shuffle_epi8(planes[3], chosen);
    __m256i low = i < 2 ? _mm256_unpacklo_epi8(b0, b1) : _mm256_unpackhi_epi8(b0, b1);
    __m256i high = i < 2 ? _mm256_unpacklo_epi8(b2, b3) : _mm256_unpackhi_epi8(b2, b3);
    return _mm256_castsi256_ps(i % 2 ? _mm256_unpackhi_epi16(low, high) : _mm256_unpacklo_epi16(low, high));
}

/* The high halves of a block's bytes, and the low ones. */
INLINE __m256i low_halves(__m256i bytes) { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }
INLINE __m256i high_halves(__m256i bytes) { return low_halves(_mm256_srli_epi16(bytes, 4)); }

INLINE __m256i bytes_nf4(const uint8_t *block)
{
    return _mm256_loadu_si256((const __m256i_u *)(const void *)(block + 4));
}

#endif
