/* formats_avx2.c - number formats by AVX2, read as f32 eight numbers at a time. */
#include "math/formats.h"

#if defined(__x86_64__)
#include "math/avx2.h"

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

AVX2 static void read_q8_0(float *out, const uint8_t *in, size_t n)
{
    for (size_t b = 0; b < n / Q8_0; b++, in += Q8_0_BYTES, out += Q8_0) {
        __m256 scale = half_scale(in);
        EACH (i, Q8_0 / WIDTH) _mm256_storeu_ps(out + i * WIDTH, _mm256_mul_ps(scale, eight_i8(in + 2 + i * WIDTH)));
    }
}

AVX2 static void read_q4_0(float *out, const uint8_t *in, size_t n)
{
    const __m128i mask = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    for (size_t b = 0; b < n / Q4_0; b++, in += Q4_0_BYTES, out += Q4_0) {
        __m128i both = sixteen_bytes(in + 2);
        __m128i low = _mm_sub_epi8(_mm_and_si128(both, mask), eight);
        __m128i high = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(both, 4), mask), eight);
        __m128i q[Q4_0 / WIDTH] = { low, _mm_unpackhi_epi64(low, low), high, _mm_unpackhi_epi64(high, high) };
        __m256 scale = half_scale(in);
        EACH (i, Q4_0 / WIDTH)
            _mm256_storeu_ps(out + i * WIDTH, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q[i]))));
    }
}

/* The high half of a byte first. */
AVX2 static void read_nf4(float *out, const uint8_t *in, size_t n)
{
    __m256i planes[4];
    planes_nf4(planes);
    for (size_t b = 0; b < n / NF4; b++, in += NF4_BYTES, out += NF4) {
        __m256i high = high_halves(bytes_nf4(in)), low = low_halves(bytes_nf4(in));
        __m256i chosen[2] = { _mm256_unpacklo_epi8(high, low), _mm256_unpackhi_epi8(high, low) };
        __m256 scale = whole_scale(in);
        EACH (i, NF4 / WIDTH)
        {
            __m256 values = _mm256_mul_ps(scale, values_nf4(chosen[i / 4], i % 4, planes));
            _mm_storeu_ps(out + 4 * i, _mm256_castps256_ps128(values));
            _mm_storeu_ps(out + NF4 / 2 + 4 * i, _mm256_extractf128_ps(values, 1));
        }
    }
}

qk_read *const qk_read_avx2[QK_N_DTYPES] = {
    [QK_DTYPE_F16] = read_f16,
    [QK_DTYPE_BF16] = read_bf16,
    [QK_DTYPE_Q8_0] = read_q8_0,
    [QK_DTYPE_Q4_0] = read_q4_0,
    [QK_DTYPE_NF4] = read_nf4,
};
#endif
