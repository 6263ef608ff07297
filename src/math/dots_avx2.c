/* dots_avx2.c - dot products by AVX2 with weights as they lie in the file, never written out as f32.
 *
 * A lane is one chain of fused multiply-adds; formats in blocks sum a block before they scale it.  The order of a chain
 * is the same for one row of x and for four.  Formats of four bits come out of their blocks in an order of their own: x
 * is put in that order once a share, which costs little beside its rows of weights. */
#include "math/formats.h"

#if defined(__x86_64__)
#include "math/avx2.h"

enum {
    ROWS = QK_DOT_ROWS,
    STREAMS = QK_DOT_STREAMS,
    Q4_0_ARRANGED = Q4_0 + WIDTH /* floats that a block of x becomes */
};

typedef float lanes_of_one[ROWS][WIDTH];
typedef const uint8_t *const rows_of_weights[ROWS];

INLINE void fetch(const uint8_t *p) { _mm_prefetch((const char *)p, _MM_HINT_T1); }

#define ONE(format)                                                                                                    \
    AVX2 static void one_##format(lanes_of_one lanes, const float *x, rows_of_weights w, rows_of_weights ahead, size_t n)
#define FOUR(format)                                                                                                   \
    AVX2 static void four_##format(lanes_of_one lanes[STREAMS], const float *const x[STREAMS], rows_of_weights w,      \
                                   rows_of_weights ahead, size_t n)

/* ---- formats without blocks */

enum { LINE = 32 /* numbers of two bytes in a line of the caches */ };

/* Eight numbers of four rows of weights. */
#define STEP(format, n_bytes, i)                                                                                       \
    {                                                                                                                  \
        __m256 entries = floats(x + (i));                                                                              \
        EACH (r, ROWS) sum[r] = _mm256_fmadd_ps(entries, eight_##format(w[r] + n_bytes * (i)), sum[r]);                \
    }

/* Four rows of weights for one row of x, two for four.  `line`: numbers of a line of the caches, 0 where the processor
 * sees what comes (long rows) or has it (keys). */
#define DOTS(format, n_bytes, line)                                                                                    \
    ONE(format)                                                                                                        \
    {                                                                                                                  \
        __m256 sum[ROWS];                                                                                              \
        size_t i = 0;                                                                                                  \
        EACH (r, ROWS) sum[r] = floats(lanes[r]);                                                                      \
        for (; i + LINE <= n; i += LINE) {                                                                             \
            if (line) EACH (r, ROWS) fetch(ahead[r] + n_bytes * i);                                                    \
            UNROLLED for (size_t j = 0; j < LINE; j += WIDTH) STEP(format, n_bytes, i + j)                             \
        }                                                                                                              \
        for (; i < n; i += WIDTH) STEP(format, n_bytes, i)                                                             \
        EACH (r, ROWS) _mm256_storeu_ps(lanes[r], sum[r]);                                                             \
    }                                                                                                                  \
    FOUR(format)                                                                                                       \
    {                                                                                                                  \
        for (int r = 0; r < ROWS; r += 2) {                                                                            \
            __m256 sum[2][STREAMS];                                                                                    \
            EACH (s, STREAMS) sum[0][s] = floats(lanes[s][r]), sum[1][s] = floats(lanes[s][r + 1]);                    \
            for (size_t i = 0; i < n; i += WIDTH) {                                                                    \
                __m256 q0 = eight_##format(w[r] + n_bytes * i), q1 = eight_##format(w[r + 1] + n_bytes * i);           \
                EACH (s, STREAMS)                                                                                      \
                {                                                                                                      \
                    __m256 entries = floats(x[s] + i);                                                                 \
                    sum[0][s] = _mm256_fmadd_ps(entries, q0, sum[0][s]);                                               \
                    sum[1][s] = _mm256_fmadd_ps(entries, q1, sum[1][s]);                                               \
                }                                                                                                      \
                if (line && i % line == 0) EACH (h, 2) fetch(ahead[r + h] + n_bytes * i);                              \
            }                                                                                                          \
            EACH (s, STREAMS) _mm256_storeu_ps(lanes[s][r], sum[0][s]), _mm256_storeu_ps(lanes[s][r + 1], sum[1][s]);  \
        }                                                                                                              \
    }
DOTS(f32, 4, 0)
DOTS(f16, 2, 32)
DOTS(bf16, 2, 32)

/* ---- formats in blocks: group i of eight numbers of a block, not yet scaled; how a block's sum begins; its scale */

INLINE __m256 begun(__m256 q, const float *x) { return _mm256_mul_ps(q, floats(x)); }
#define begun_q8_0 begun
#define begun_nf4 begun

#define scale_q8_0 half_scale
#define scale_q4_0 half_scale
#define scale_nf4 whole_scale

INLINE void no_planes(__m256i planes[4]) { EACH (i, 4) planes[i] = _mm256_setzero_si256(); }
#define planes_q8_0 no_planes
#define planes_q4_0 no_planes

INLINE __m256 group_q8_0(const uint8_t *block, int i, const __m256i planes[4])
{
    (void)planes;
    return eight_i8(block + 2 + 8 * i);
}

/* Byte 4d + i of a block, in lane d its low half and in lane d + 4 its high half, where they stand in four bytes: as a
 * whole number it is 16^h times too large, and its entry of x is as much smaller. */
INLINE __m256 group_q4_0(const uint8_t *block, int i, const __m256i planes[4])
{
    (void)planes;
    const __m256i halves = _mm256_setr_epi32(15, 15, 15, 15, 240, 240, 240, 240);
    __m256i all = _mm256_broadcastsi128_si256(sixteen_bytes(block + 2));
    if (i == 3) all = _mm256_srli_epi32(all, 4); /* no sign */
    return _mm256_cvtepi32_ps(_mm256_and_si256(all, _mm256_slli_epi32(halves, i < 3 ? 8 * i : 20)));
}

/* Halves count from -8: behind a block of x lies -8 times the sum of each lane. */
INLINE __m256 begun_q4_0(__m256 q, const float *x) { return _mm256_fmadd_ps(q, floats(x), floats(x + Q4_0)); }

/* What group_q4_0 is multiplied by: the entries of the same byte of each four, and powers of two, to which entries
 * below 1e-30 lose bits; an infinite one makes the sum NaN. */
AVX2 static void arrange_q4_0(float *out, const float *x, size_t n)
{
    const __m256 lanes = _mm256_setr_ps(1, 1, 1, 1, 0x1p-4f, 0x1p-4f, 0x1p-4f, 0x1p-4f);
    for (size_t b = 0; b < n / Q4_0; b++, x += Q4_0, out += Q4_0_ARRANGED) {
        __m256 r[4], sum;
        EACH (d, 4) r[d] = _mm256_loadu2_m128(x + 16 + 4 * d, x + 4 * d);
        __m256 low0 = _mm256_unpacklo_ps(r[0], r[1]), high0 = _mm256_unpackhi_ps(r[0], r[1]);
        __m256 low1 = _mm256_unpacklo_ps(r[2], r[3]), high1 = _mm256_unpackhi_ps(r[2], r[3]);
        r[0] = _mm256_shuffle_ps(low0, low1, 0x44), r[1] = _mm256_shuffle_ps(low0, low1, 0xEE);
        r[2] = _mm256_shuffle_ps(high0, high1, 0x44), r[3] = _mm256_shuffle_ps(high0, high1, 0xEE);
        sum = _mm256_add_ps(_mm256_add_ps(r[0], r[1]), _mm256_add_ps(r[2], r[3]));
        _mm256_storeu_ps(out, _mm256_mul_ps(r[0], lanes));
        _mm256_storeu_ps(out + 8, _mm256_mul_ps(r[1], _mm256_mul_ps(lanes, _mm256_set1_ps(0x1p-8f))));
        _mm256_storeu_ps(out + 16, _mm256_mul_ps(r[2], _mm256_mul_ps(lanes, _mm256_set1_ps(0x1p-16f))));
        _mm256_storeu_ps(out + 24, _mm256_mul_ps(r[3], _mm256_mul_ps(lanes, _mm256_set1_ps(0x1p-20f))));
        _mm256_storeu_ps(out + Q4_0, _mm256_mul_ps(sum, _mm256_set1_ps(-8)));
    }
}

/* The high halves of a block's bytes (i < 4), then the low ones: lanes 0 to 3 are bytes 4i to 4i + 3, the others lie 16
 * behind. */
INLINE __m256 group_nf4(const uint8_t *block, int i, const __m256i planes[4])
{
    __m256i bytes = bytes_nf4(block);
    return values_nf4(i < 4 ? high_halves(bytes) : low_halves(bytes), i % 4, planes);
}

AVX2 static void arrange_nf4(float *out, const float *x, size_t n)
{
    for (size_t b = 0; b < n / NF4; b++, x += NF4, out += NF4)
        EACH (k, 4) {
            __m256 first = floats(x + 8 * k), second = floats(x + 32 + 8 * k);
            __m256 low = _mm256_permute2f128_ps(first, second, 0x20);
            __m256 high = _mm256_permute2f128_ps(first, second, 0x31);
            _mm256_storeu_ps(out + 8 * k, _mm256_shuffle_ps(low, high, 0x88));
            _mm256_storeu_ps(out + 32 + 8 * k, _mm256_shuffle_ps(low, high, 0xDD));
        }
}

/* One row of x: `together` rows of weights at a time, so that no sum waits for itself; and four, for which a block is
 * unpacked once. */
#define DOTS_OF_BLOCKS(format, size, n_bytes, x_size, together)                                                        \
    ONE(format)                                                                                                        \
    {                                                                                                                  \
        __m256 sum[ROWS];                                                                                              \
        __m256i planes[4];                                                                                             \
        planes_##format(planes);                                                                                       \
        EACH (r, ROWS) sum[r] = floats(lanes[r]);                                                                      \
        for (size_t b = 0; b < n / size; b++, x += x_size)                                                             \
            UNROLLED for (int first = 0; first < ROWS; first += together)                                              \
            {                                                                                                          \
                const uint8_t *block[together];                                                                        \
                __m256 part[together];                                                                                 \
                EACH (r, together) block[r] = w[first + r] + n_bytes * b, fetch(ahead[first + r] + n_bytes * b);       \
                EACH (r, together) part[r] = begun_##format(group_##format(block[r], 0, planes), x);                   \
                UNROLLED for (int i = 1; i < size / WIDTH; i++) EACH (r, together)                                     \
                    part[r] = _mm256_fmadd_ps(group_##format(block[r], i, planes), floats(x + i * WIDTH), part[r]);    \
                EACH (r, together)                                                                                     \
                    sum[first + r] = _mm256_fmadd_ps(part[r], scale_##format(block[r]), sum[first + r]);               \
            }                                                                                                          \
        EACH (r, ROWS) _mm256_storeu_ps(lanes[r], sum[r]);                                                             \
    }                                                                                                                  \
    FOUR(format)                                                                                                       \
    {                                                                                                                  \
        __m256i planes[4];                                                                                             \
        planes_##format(planes);                                                                                       \
        for (int r = 0; r < ROWS; r++) {                                                                               \
            __m256 sum[STREAMS];                                                                                       \
            EACH (s, STREAMS) sum[s] = floats(lanes[s][r]);                                                            \
            for (size_t b = 0; b < n / size; b++) {                                                                    \
                const uint8_t *block = w[r] + n_bytes * b;                                                             \
                __m256 part[STREAMS], scale = scale_##format(block), q = group_##format(block, 0, planes);             \
                fetch(ahead[r] + n_bytes * b);                                                                         \
                EACH (s, STREAMS) part[s] = begun_##format(q, x[s] + x_size * b);                                      \
                UNROLLED for (int i = 1; i < size / WIDTH; i++)                                                        \
                {                                                                                                      \
                    q = group_##format(block, i, planes);                                                              \
                    EACH (s, STREAMS) part[s] = _mm256_fmadd_ps(q, floats(x[s] + x_size * b + i * WIDTH), part[s]);    \
                }                                                                                                      \
                EACH (s, STREAMS) sum[s] = _mm256_fmadd_ps(part[s], scale, sum[s]);                                    \
            }                                                                                                          \
            EACH (s, STREAMS) _mm256_storeu_ps(lanes[s][r], sum[s]);                                                   \
        }                                                                                                              \
    }
DOTS_OF_BLOCKS(q8_0, Q8_0, Q8_0_BYTES, Q8_0, 4)
DOTS_OF_BLOCKS(q4_0, Q4_0, Q4_0_BYTES, Q4_0_ARRANGED, 4)
DOTS_OF_BLOCKS(nf4, NF4, NF4_BYTES, NF4, 2)

const qk_dots qk_dots_avx2[QK_N_DTYPES] = {
    [QK_DTYPE_F32] = { one_f32, four_f32, NULL, 1, 1 },
    [QK_DTYPE_F16] = { one_f16, four_f16, NULL, 1, 1 },
    [QK_DTYPE_BF16] = { one_bf16, four_bf16, NULL, 1, 1 },
    [QK_DTYPE_Q8_0] = { one_q8_0, four_q8_0, NULL, 1, 1 },
    [QK_DTYPE_Q4_0] = { one_q4_0, four_q4_0, arrange_q4_0, Q4_0, Q4_0_ARRANGED },
    [QK_DTYPE_NF4] = { one_nf4, four_nf4, arrange_nf4, NF4, NF4 },
};
#endif
