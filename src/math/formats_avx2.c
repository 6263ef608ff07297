/* formats_avx2.c - number formats by AVX2, read as f32 eight numbers at a time. */
#include "math/formats.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))
#define INLINE AVX2 static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")

enum { WIDTH = QK_DOT_LANES, Q8_0 = 32, Q8_0_BYTES = 34, Q4_0 = 32, Q4_0_BYTES = 18, NF4 = 64, NF4_BYTES = 36 };

/* ---- eight numbers */

INLINE __m128i sixteen_bytes(const uint8_t *p) { return _mm_loadu_si128((const __m128i_u *)(const void *)p); }

INLINE __m256 eight_f32(const uint8_t *p) { return _mm256_loadu_ps((const float *)(const void *)p); }

INLINE __m256 eight_f16(const uint8_t *p) { return _mm256_cvtph_ps(sixteen_bytes(p)); }

INLINE __m256 eight_bf16(const uint8_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(sixteen_bytes(p)), 16));
}

/* The f16 scale in front of a block, eight times. */
INLINE __m256 half_scale(const uint8_t *block)
{
    uint16_t bits;
    memcpy(&bits, block, sizeof bits);
    return _mm256_cvtph_ps(_mm_set1_epi16((short)bits));
}

INLINE __m256 eight_i8(__m128i low) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)); }

/* The f32 scale. */
INLINE __m256 whole_scale(const uint8_t *block)
{
    float scale;
    memcpy(&scale, block, sizeof scale);
    return _mm256_set1_ps(scale);
}

/* A block's numbers before they are scaled. */
INLINE void block_q8_0(__m256 q[Q8_0 / WIDTH], const uint8_t *block)
{
    UNROLLED
    for (int i = 0; i < Q8_0 / WIDTH; i++) q[i] = eight_i8(_mm_loadl_epi64((const __m128i_u *)(const void *)(block + 2 + 8 * i)));
}

INLINE void block_q4_0(__m256 q[Q4_0 / WIDTH], const uint8_t *block)
{
    __m128i both = sixteen_bytes(block + 2), mask = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    __m128i low = _mm_sub_epi8(_mm_and_si128(both, mask), eight);
    __m128i high = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(both, 4), mask), eight);
    q[0] = eight_i8(low);
    q[1] = eight_i8(_mm_unpackhi_epi64(low, low));
    q[2] = eight_i8(high);
    q[3] = eight_i8(_mm_unpackhi_epi64(high, high));
}

/* Eight of NF4's values by the low halves of eight bytes: each half of the table by three bits, the fourth chooses. */
INLINE __m256 eight_nf4(__m128i low)
{
    __m256i index = _mm256_cvtepu8_epi32(low);
    __m256 below = _mm256_permutevar8x32_ps(_mm256_loadu_ps(qk_nf4_values), index);
    __m256 above = _mm256_permutevar8x32_ps(_mm256_loadu_ps(qk_nf4_values + 8), index);
    return _mm256_blendv_ps(below, above, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

INLINE void block_nf4(__m256 q[NF4 / WIDTH], const uint8_t *block)
{
    __m128i mask = _mm_set1_epi8(15);
    UNROLLED
    for (int i = 0; i < 2; i++) { /* 16 bytes, the high half of each first */
        __m128i both = sixteen_bytes(block + 4 + 16 * i);
        __m128i high = _mm_and_si128(_mm_srli_epi16(both, 4), mask), low = _mm_and_si128(both, mask);
        __m128i first = _mm_unpacklo_epi8(high, low), second = _mm_unpackhi_epi8(high, low);
        q[4 * i] = eight_nf4(first);
        q[4 * i + 1] = eight_nf4(_mm_unpackhi_epi64(first, first));
        q[4 * i + 2] = eight_nf4(second);
        q[4 * i + 3] = eight_nf4(_mm_unpackhi_epi64(second, second));
    }
}

/* ---- as f32 */

AVX2 static void read_f16(float *out, const uint8_t *in, size_t n)
{
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) _mm256_storeu_ps(out + i, eight_f16(in + 2 * i));
    for (; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, in + 2 * i, sizeof bits);
        out[i] = _cvtsh_ss(bits);
    }
}

AVX2 static void read_bf16(float *out, const uint8_t *in, size_t n)
{
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) _mm256_storeu_ps(out + i, eight_bf16(in + 2 * i));
    for (; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, in + 2 * i, sizeof bits);
        out[i] = qk_bf16_to_f32(bits);
    }
}

#define READ_BLOCKS(name, block_of, scale_of, size, n_bytes)                                                           \
    AVX2 static void name(float *out, const uint8_t *in, size_t n)                                                     \
    {                                                                                                                  \
        for (size_t b = 0; b < n / size; b++, in += n_bytes, out += size) {                                            \
            __m256 q[size / WIDTH], scale = scale_of(in);                                                              \
            block_of(q, in);                                                                                           \
            UNROLLED for (int i = 0; i < size / WIDTH; i++)                                                            \
                _mm256_storeu_ps(out + i * WIDTH, _mm256_mul_ps(scale, q[i]));                                         \
        }                                                                                                              \
    }
READ_BLOCKS(read_q8_0, block_q8_0, half_scale, Q8_0, Q8_0_BYTES)
READ_BLOCKS(read_q4_0, block_q4_0, half_scale, Q4_0, Q4_0_BYTES)
READ_BLOCKS(read_nf4, block_nf4, whole_scale, NF4, NF4_BYTES)

qk_read *const qk_read_avx2[QK_N_DTYPES] = {
    [QK_DTYPE_F16] = read_f16,
    [QK_DTYPE_BF16] = read_bf16,
    [QK_DTYPE_Q8_0] = read_q8_0,
    [QK_DTYPE_Q4_0] = read_q4_0,
    [QK_DTYPE_NF4] = read_nf4,
};
#endif
