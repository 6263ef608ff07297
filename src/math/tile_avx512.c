/* tile_avx512.c - the tile for AVX-512: six rows of three vectors of sixteen, 18 of the 32 registers.  Each sum runs as
 * in tile_avx2.c: the same bits.  Six rows, not twelve: rows a power of two apart fall on the same eight places of a
 * nearest cache. */
#include "math/level.h"
#include "math/terms.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { ROWS = QK_AVX512_ROWS, COLUMNS = QK_AVX512_COLUMNS, WIDTH = QK_AVX512_STEP, VECTORS = COLUMNS / WIDTH };

#define AVX512 __attribute__((target("avx512f")))
#define UNROLLED _Pragma("GCC unroll 16") /* before anything else: or the sums go by way of memory */

/* The first `n` vectors of columns; n is known where this is called. */
AVX512 static inline __attribute__((always_inline)) void columns_of(size_t n, float *c, size_t c_stride, bool add,
                                                                    const float *a, size_t a_row_stride,
                                                                    size_t a_depth_stride, const float *b, size_t depth)
{
    __m512 sum[ROWS][VECTORS];
    const float *base[2] = { a, a + 3 * a_row_stride }; /* they reach all rows by strides that an address can hold */
UNROLLED
    for (size_t r = 0; r < ROWS; r++)
UNROLLED
        for (size_t v = 0; v < n; v++) {
            sum[r][v] = _mm512_setzero_ps();
            _mm_prefetch(c + r * c_stride + v * WIDTH, _MM_HINT_T0); /* here when the sums are */
        }
    for (size_t l = 0; l < depth; l++, b += COLUMNS) {
        __m512 right[VECTORS];
UNROLLED
        for (size_t v = 0; v < n; v++) right[v] = _mm512_load_ps(b + v * WIDTH);
UNROLLED
        for (size_t r = 0; r < ROWS; r++) {
            __m512 entry = _mm512_set1_ps(base[r / 3][r % 3 * a_row_stride]);
UNROLLED
            for (size_t v = 0; v < n; v++) sum[r][v] = _mm512_fmadd_ps(entry, right[v], sum[r][v]);
        }
        base[0] += a_depth_stride;
        base[1] += a_depth_stride;
    }
UNROLLED
    for (size_t r = 0; r < ROWS; r++)
UNROLLED
        for (size_t v = 0; v < n; v++) {
            float *at = c + r * c_stride + v * WIDTH;
            _mm512_storeu_ps(at, add ? _mm512_add_ps(_mm512_loadu_ps(at), sum[r][v]) : sum[r][v]);
        }
}

AVX512 void qk_tile_avx512(float *c, size_t c_stride, bool add, const float *a, size_t a_row_stride,
                           size_t a_depth_stride, const float *b, size_t depth, size_t columns)
{
    if (columns == WIDTH) columns_of(1, c, c_stride, add, a, a_row_stride, a_depth_stride, b, depth);
    else if (columns == 2 * WIDTH) columns_of(2, c, c_stride, add, a, a_row_stride, a_depth_stride, b, depth);
    else columns_of(3, c, c_stride, add, a, a_row_stride, a_depth_stride, b, depth);
}

/* Sixteen rows of `width` turned, `width` at most sixteen: pairs, fours, then quarters change places twice. */
AVX512 static void turn_sixteen(float *to, size_t to_stride, const float *from, size_t stride, size_t width)
{
    __m512 row[WIDTH], pair[WIDTH], four[WIDTH], out[WIDTH];
    __mmask16 inside = (__mmask16)((1u << width) - 1);
UNROLLED
    for (size_t i = 0; i < WIDTH; i++) row[i] = _mm512_maskz_loadu_ps(inside, from + i * stride);
UNROLLED
    for (size_t i = 0; i < WIDTH; i += 2) {
        pair[i] = _mm512_unpacklo_ps(row[i], row[i + 1]);
        pair[i + 1] = _mm512_unpackhi_ps(row[i], row[i + 1]);
    }
UNROLLED
    for (size_t i = 0; i < WIDTH; i += 4)
UNROLLED
        for (size_t j = 0; j < 2; j++) {
            four[i + 2 * j] = _mm512_shuffle_ps(pair[i + j], pair[i + 2 + j], 0x44);
            four[i + 2 * j + 1] = _mm512_shuffle_ps(pair[i + j], pair[i + 2 + j], 0xEE);
        }
UNROLLED
    for (size_t j = 0; j < 4; j++) { /* quarter q of four[4 g + j] is column 4 q + j of rows 4 g to 4 g + 3 */
        __m512 even_low = _mm512_shuffle_f32x4(four[j], four[4 + j], 0x88);
        __m512 odd_low = _mm512_shuffle_f32x4(four[j], four[4 + j], 0xDD);
        __m512 even_high = _mm512_shuffle_f32x4(four[8 + j], four[12 + j], 0x88);
        __m512 odd_high = _mm512_shuffle_f32x4(four[8 + j], four[12 + j], 0xDD);
        out[j] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
        out[4 + j] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
        out[8 + j] = _mm512_shuffle_f32x4(even_low, even_high, 0xDD);
        out[12 + j] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xDD);
    }
UNROLLED
    for (size_t i = 0; i < WIDTH; i++)
        if (i < width) _mm512_store_ps(to + i * to_stride, out[i]);
}

AVX512 static inline void turn(float *to, size_t columns, const float *from, size_t stride, size_t depth)
{
    for (size_t l = 0; l < depth; l += WIDTH)
        for (size_t column = 0; column < columns; column += WIDTH)
            turn_sixteen(to + l * columns + column, columns, from + column * stride + l, stride,
                         depth - l < WIDTH ? depth - l : WIDTH);
}

AVX512 void qk_turn_avx512(float *to, const float *from, size_t stride, size_t depth)
{
    turn(to, COLUMNS, from, stride, depth);
}

AVX512 void qk_turn_terms(float *to, const float *from, size_t stride, size_t depth)
{
    turn(to, QK_TERMS_SIDE, from, stride, depth);
}
#endif
