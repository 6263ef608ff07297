/* tile_avx2.c - the tile for AVX2 with FMA: 6 rows of two vectors of eight, twelve of the sixteen registers. */
#include "math/level.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { ROWS = QK_AVX2_ROWS, COLUMNS = QK_AVX2_COLUMNS, WIDTH = 8 };

#define AVX2 __attribute__((target("avx2,fma")))
#define UNROLLED _Pragma("GCC unroll 8") /* before anything else: or the sums go by way of memory */

AVX2 void qk_tile_avx2(float *c, size_t c_stride, bool add, const float *a, size_t a_row_stride, size_t a_depth_stride,
                       const float *b, size_t depth, size_t columns)
{
    (void)columns; /* always all */
    __m256 sum[ROWS][2];
    const float *upper = a + 3 * a_row_stride; /* two bases reach all rows by strides that an address can hold */
UNROLLED
    for (size_t r = 0; r < ROWS; r++) {
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
        _mm_prefetch(c + r * c_stride, _MM_HINT_T0); /* here when the sums are */
        _mm_prefetch(c + r * c_stride + COLUMNS - 1, _MM_HINT_T0);
    }
    for (size_t l = 0; l < depth; l++, a += a_depth_stride, upper += a_depth_stride, b += COLUMNS) {
        __m256 left = _mm256_load_ps(b), right = _mm256_load_ps(b + WIDTH);
UNROLLED
        for (size_t r = 0; r < ROWS; r++) {
            __m256 entry = _mm256_broadcast_ss((r < 3 ? a : upper) + r % 3 * a_row_stride);
            sum[r][0] = _mm256_fmadd_ps(entry, left, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(entry, right, sum[r][1]);
        }
    }
UNROLLED
    for (size_t r = 0; r < ROWS; r++)
UNROLLED
        for (size_t j = 0; j < 2; j++) {
            float *at = c + r * c_stride + j * WIDTH;
            _mm256_storeu_ps(at, add ? _mm256_add_ps(_mm256_loadu_ps(at), sum[r][j]) : sum[r][j]);
        }
}

/* Eight rows of eight turned: pairs, then fours, then halves change places. */
AVX2 static void turn_eight(float *to, const float *from, size_t stride)
{
    __m256 row[WIDTH], pair[WIDTH], four[WIDTH];
    for (size_t i = 0; i < WIDTH; i++) row[i] = _mm256_loadu_ps(from + i * stride);
    for (size_t i = 0; i < WIDTH; i += 2) {
        pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
        pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
    }
    for (size_t i = 0; i < WIDTH; i += 4)
        for (size_t j = 0; j < 2; j++) {
            four[i + 2 * j] = _mm256_shuffle_ps(pair[i + j], pair[i + 2 + j], 0x44);
            four[i + 2 * j + 1] = _mm256_shuffle_ps(pair[i + j], pair[i + 2 + j], 0xEE);
        }
    for (size_t i = 0; i < 4; i++) {
        _mm256_store_ps(to + i * COLUMNS, _mm256_permute2f128_ps(four[i], four[i + 4], 0x20));
        _mm256_store_ps(to + (i + 4) * COLUMNS, _mm256_permute2f128_ps(four[i], four[i + 4], 0x31));
    }
}

AVX2 void qk_turn_avx2(float *to, const float *from, size_t stride, size_t depth)
{
    size_t l = 0;
    for (; l + WIDTH <= depth; l += WIDTH)
        for (size_t column = 0; column < COLUMNS; column += WIDTH)
            turn_eight(to + l * COLUMNS + column, from + column * stride + l, stride);
    for (; l < depth; l++)
        for (size_t column = 0; column < COLUMNS; column++) to[l * COLUMNS + column] = from[column * stride + l];
}
#endif
