/* quantize.c - NF4 (Dettmers et al. 2023) and Q8_0. */
#include "math/quantize.h"

#include <math.h>
#include <string.h>

#include "math/fast.h"

static void store32(uint8_t *out, float x) { memcpy(out, &x, sizeof x); }

static float load32(const uint8_t *in)
{
    float x;
    memcpy(&x, in, sizeof x);
    return x;
}

/* Bits of the largest magnitude: ordered like the numbers themselves, infinity and NaN above all. */
CLONES static uint32_t largest_bits(const float *x, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        union { float f; uint32_t u; } value = { x[i] };
        uint32_t magnitude = value.u & 0x7FFFFFFF;
        most = magnitude > most ? magnitude : most;
    }
    return most;
}

static bool largest_magnitude(float *out, const float *x, size_t n)
{
    union { uint32_t u; float f; } most = { largest_bits(x, n) };
    *out = most.f;
    return most.u < 0x7F800000;
}

static float clamp1(float x) { return x > 1 ? 1 : x < -1 ? -1 : x; }

/* ---- NF4 */

enum { NF4_BLOCK = 64, NF4_BYTES = 36, NF4_ZERO = 7, SCALES_BLOCK = 256 };

/* Below this a scale is not divided by; subnormal, as in the source. */
#define LEAST_SCALE 1e-38f

/* out[i] = how many of the midpoints between neighbours of the format lie below x[i]: the nearest value's index. */
CLONES static void nearest_nf4(uint8_t out[NF4_BLOCK], const float x[NF4_BLOCK], const float middle[15])
{
    int32_t count[NF4_BLOCK] = { 0 };
    for (int k = 0; k < 15; k++)
        for (int i = 0; i < NF4_BLOCK; i++) count[i] += x[i] > middle[k];
    for (int i = 0; i < NF4_BLOCK; i++) out[i] = (uint8_t)count[i];
}

static bool nf4_blocks(uint8_t *out, const float *in, size_t n)
{
    float middle[15];
    for (int k = 0; k < 15; k++) middle[k] = (qk_nf4_values[k] + qk_nf4_values[k + 1]) / 2;
    for (; n > 0; out += NF4_BYTES) {
        size_t part = n < NF4_BLOCK ? n : NF4_BLOCK;
        bool whole = part == NF4_BLOCK;
        float scale, scaled[NF4_BLOCK] = { 0 };
        uint8_t codes[NF4_BLOCK];
        if (!largest_magnitude(&scale, in, part)) return false;
        float divisor = scale > LEAST_SCALE ? scale : LEAST_SCALE, factor = 1 / divisor;
        if (!whole) scale = divisor;
        for (size_t i = 0; i < part; i++) scaled[i] = clamp1(whole ? in[i] * factor : in[i] / divisor);
        nearest_nf4(codes, scaled, middle);
        store32(out, scale);
        for (int i = 0; i < NF4_BLOCK / 2; i++) out[4 + i] = (uint8_t)(codes[2 * i] << 4 | codes[2 * i + 1]);
        in += part;
        n -= part;
    }
    return true;
}

/* Seven decades; decade i holds 2^i values of either sign, the middles of equal parts of [0.1, 1], times 10^(i-6); then
 * 0 and 1.  In single precision, with the multiply-add in which the source's tables are made on today's processors. */
void qk_dynamic_values(float values[256])
{
    static const float decade[7] = { 1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1 };
    size_t n = 0;
    values[127] = 0;
    values[255] = 1;
    for (int i = 0; i < 7; i++) {
        int parts = 1 << i, half = (parts + 1) / 2;
        float step = (1.0f - 0.1f) / (float)parts, edge[2];
        for (int k = 0; k <= parts; k++) {
            edge[1] = k < half ? fmaf(step, (float)k, 0.1f) : fmaf(-step, (float)(parts - k), 1);
            if (k > 0) {
                float value = decade[i] * ((edge[0] + edge[1]) / 2);
                values[128 + n] = value;
                values[126 - n++] = -value;
            }
            edge[0] = edge[1];
        }
    }
}

/* As for NF4: how many midpoints lie below x. */
static size_t nearest_dynamic(const float values[256], float x)
{
    size_t low = 0, high = 255;
    while (low < high) {
        size_t k = (low + high) / 2;
        if (x > (values[k] + values[k + 1]) / 2) low = k + 1;
        else high = k;
    }
    return low;
}

/* ---- NF4: the scales of a tensor */

/* The sum of all scales in the order in which PyTorch's CPU sum takes n contiguous floats with one thread, so that not a
 * bit of their mean differs: eight lanes, four rows of them side by side, and partial sums on four levels. */
enum { SUM_LANES = 8, SUM_ROWS = 4, SUM_LEVELS = 4 };
typedef float sum_level[SUM_ROWS][SUM_LANES];

static void carry(sum_level to, sum_level from)
{
    for (int k = 0; k < SUM_ROWS; k++)
        for (int i = 0; i < SUM_LANES; i++) {
            to[k][i] += from[k][i];
            from[k][i] = 0;
        }
}

static float sum_scales(const uint8_t *blocks, size_t n)
{
    sum_level levels[SUM_LEVELS] = { 0 };
    size_t lanes = n < SUM_LANES ? 1 : SUM_LANES, n_vectors = n / lanes, n_rows = n_vectors / SUM_ROWS, at = 0;
    int bits = 0;
    while (n_rows > (size_t)1 << bits) bits++;
    int power = bits / SUM_LEVELS > 4 ? bits / SUM_LEVELS : 4;
    for (size_t row = 1; row <= n_rows; row++) {
        for (int k = 0; k < SUM_ROWS; k++)
            for (size_t i = 0; i < lanes; i++) levels[0][k][i] += load32(blocks + at++ * NF4_BYTES);
        for (int j = 1; j < SUM_LEVELS && row % ((size_t)1 << (j * power)) == 0; j++) carry(levels[j], levels[j - 1]);
    }
    for (int j = 1; j < SUM_LEVELS; j++) carry(levels[0], levels[j]);
    for (size_t v = n_rows * SUM_ROWS; v < n_vectors; v++)
        for (size_t i = 0; i < lanes; i++) levels[0][0][i] += load32(blocks + at++ * NF4_BYTES);
    for (int k = 1; k < SUM_ROWS; k++)
        for (size_t i = 0; i < lanes; i++) levels[0][0][i] += levels[0][k][i];
    float sum = 0;
    while (at < n) sum += load32(blocks + at++ * NF4_BYTES);
    for (size_t i = 0; i < lanes; i++) sum += levels[0][0][i];
    return sum;
}

/* Scales minus their mean, in blocks of 256, as the nearest values of the dynamic format times the block's largest. */
static void nf4_finish(uint8_t *blocks, size_t n_blocks)
{
    float values[256], apart[SCALES_BLOCK], mean = sum_scales(blocks, n_blocks) / (float)n_blocks, most;
    qk_dynamic_values(values);
    for (size_t first = 0; first < n_blocks; first += SCALES_BLOCK) {
        size_t n = n_blocks - first < SCALES_BLOCK ? n_blocks - first : SCALES_BLOCK;
        uint8_t *at = blocks + first * NF4_BYTES;
        bool whole = n == SCALES_BLOCK;
        for (size_t i = 0; i < n; i++) apart[i] = load32(at + i * NF4_BYTES) - mean;
        largest_magnitude(&most, apart, n); /* differences of finite scales */
        float divisor = most > LEAST_SCALE ? most : LEAST_SCALE, factor = 1 / divisor;
        if (!whole) most = divisor;
        for (size_t i = 0; i < n; i++) {
            float scaled = clamp1(whole ? apart[i] * factor : apart[i] / divisor);
            store32(at + i * NF4_BYTES, values[nearest_dynamic(values, scaled)] * most + mean);
        }
    }
}

/* ---- Q8_0 */

enum { Q8_BLOCK = 32, Q8_BYTES = 34 };

/* To the nearest integer, halves away from 0: the largest float below a half, added before cutting off, does not reach
 * the next integer from below. */
CLONES static void q8_0_codes(uint8_t out[Q8_BLOCK], const float in[Q8_BLOCK], float factor)
{
    for (int i = 0; i < Q8_BLOCK; i++)
        out[i] = (uint8_t)(int32_t)(in[i] * factor + copysignf(0x1.fffffep-2f, in[i]));
}

static bool q8_0_blocks(uint8_t *out, const float *in, size_t n)
{
    for (size_t b = 0; b < n / Q8_BLOCK; b++, in += Q8_BLOCK, out += Q8_BYTES) {
        float most;
        if (!largest_magnitude(&most, in, Q8_BLOCK)) return false;
        float scale = most / 127, factor = 1 / scale;
        uint16_t stored = qk_f32_to_f16(scale);
        if ((stored & 0x7C00) == 0x7C00) return false;
        out[0] = (uint8_t)stored;
        out[1] = (uint8_t)(stored >> 8);
        if (isfinite(factor)) q8_0_codes(out + 2, in, factor);
        else memset(out + 2, 0, Q8_BLOCK); /* all 0, or so small that the stored scale is */
    }
    return true;
}

/* ---- the table */

static const qk_quantizer table[QK_N_QUANTIZATIONS] = {
    [QK_QUANTIZE_NF4] = { "nf4", QK_DTYPE_NF4, false, nf4_blocks, nf4_finish },
    [QK_QUANTIZE_Q8_0] = { "q8_0", QK_DTYPE_Q8_0, true, q8_0_blocks, NULL },
};

const qk_quantizer *qk_quantizer_of(qk_quantization how) { return table[how].name ? &table[how] : NULL; }
