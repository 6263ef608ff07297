/* dtype.c - one row a number format. */
#include "math/dtype.h"

#include <string.h>

#include "math/formats.h"
#include "math/level.h"

float qk_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF;
    union { uint32_t u; float f; } x;
    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24 */
        x.f = (float)fraction * 0x1p-24f;
        x.u |= sign;
    } else if (exponent == 31) {
        x.u = sign | 0x7F800000 | fraction << 13;
    } else {
        x.u = sign | (exponent + 112) << 23 | fraction << 13;
    }
    return x.f;
}

uint16_t qk_f32_to_f16(float value)
{
    union { float f; uint32_t u; } x = { value };
    uint16_t sign = (uint16_t)(x.u >> 16 & 0x8000);
    uint32_t magnitude = x.u & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) return sign | 0x7E00;                /* NaN */
    if (magnitude >= 0x477FF000) return sign | 0x7C00;               /* rounds beyond 65504: infinity */
    if (magnitude < 0x38800000) {                                    /* subnormal: add rounds to a multiple of 2^-24 */
        union { uint32_t u; float f; } m = { magnitude };
        m.f += 0.5f;
        return sign | (uint16_t)(m.u - 0x3F000000);
    }
    uint32_t odd = magnitude >> 13 & 1;
    return sign | (uint16_t)((magnitude + 0xFFF + odd - 0x38000000) >> 13);
}

uint16_t qk_f32_to_bf16(float value)
{
    union { float f; uint32_t u; } x = { value };
    if ((x.u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(x.u >> 16 | 0x40);
    return (uint16_t)((x.u + 0x7FFF + (x.u >> 16 & 1)) >> 16);
}

static uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

/* By the processor's vectors where it has them; false: it has not. */
static bool read_fast(qk_dtype dtype, float *out, const uint8_t *in, size_t n)
{
#if defined(__x86_64__)
    if (qk_levels[QK_LEVEL_AVX2].present()) return qk_read_avx2[dtype](out, in, n), true;
#endif
    (void)dtype, (void)out, (void)in, (void)n;
    return false;
}

static void f32_to_f32(float *out, const uint8_t *in, size_t n) { memcpy(out, in, n * sizeof *out); }

static void f16_to_f32(float *out, const uint8_t *in, size_t n)
{
    if (read_fast(QK_DTYPE_F16, out, in, n)) return;
    for (size_t i = 0; i < n; i++) out[i] = qk_f16_to_f32(load16(in + 2 * i));
}

static void bf16_to_f32(float *out, const uint8_t *in, size_t n)
{
    if (read_fast(QK_DTYPE_BF16, out, in, n)) return;
    for (size_t i = 0; i < n; i++) out[i] = qk_bf16_to_f32(load16(in + 2 * i));
}

/* Blocks of 32: an f16 scale, then 32 signed bytes. */
static void q8_0_to_f32(float *out, const uint8_t *in, size_t n)
{
    if (read_fast(QK_DTYPE_Q8_0, out, in, n)) return;
    for (size_t b = 0; b < n / 32; b++, in += 34) {
        float scale = qk_f16_to_f32(load16(in));
        for (int i = 0; i < 32; i++) *out++ = scale * (float)(int8_t)in[2 + i];
    }
}

/* Blocks of 32: an f16 scale, then 16 bytes whose low halves are entries 0..15 and high halves 16..31, offset by 8. */
static void q4_0_to_f32(float *out, const uint8_t *in, size_t n)
{
    if (read_fast(QK_DTYPE_Q4_0, out, in, n)) return;
    for (size_t b = 0; b < n / 32; b++, in += 18, out += 32) {
        float scale = qk_f16_to_f32(load16(in));
        for (int i = 0; i < 16; i++) {
            out[i] = scale * (float)((in[2 + i] & 15) - 8);
            out[i + 16] = scale * (float)((in[2 + i] >> 4) - 8);
        }
    }
}

const float qk_nf4_values[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
    -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
    0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
};

/* Blocks of 64: an f32 scale, then 32 bytes whose high halves are entries 0, 2, ... and low halves 1, 3, ... */
static void nf4_to_f32(float *out, const uint8_t *in, size_t n)
{
    if (read_fast(QK_DTYPE_NF4, out, in, n)) return;
    for (size_t b = 0; b < n / 64; b++, in += 36) {
        float scale;
        memcpy(&scale, in, sizeof scale);
        for (int i = 0; i < 32; i++) {
            *out++ = qk_nf4_values[in[4 + i] >> 4] * scale;
            *out++ = qk_nf4_values[in[4 + i] & 15] * scale;
        }
    }
}

static const qk_dtype_info table[QK_N_DTYPES] = {
    [QK_DTYPE_F32] = { "F32", 1, 4, f32_to_f32 },
    [QK_DTYPE_F16] = { "F16", 1, 2, f16_to_f32 },
    [QK_DTYPE_BF16] = { "BF16", 1, 2, bf16_to_f32 },
    [QK_DTYPE_Q8_0] = { "Q8_0", 32, 34, q8_0_to_f32 },
    [QK_DTYPE_Q4_0] = { "Q4_0", 32, 18, q4_0_to_f32 },
    [QK_DTYPE_NF4] = { "NF4", 64, 36, nf4_to_f32 },
    [QK_DTYPE_F64] = { "F64", 1, 8, NULL },
    [QK_DTYPE_I64] = { "I64", 1, 8, NULL },
    [QK_DTYPE_I32] = { "I32", 1, 4, NULL },
    [QK_DTYPE_I16] = { "I16", 1, 2, NULL },
    [QK_DTYPE_I8] = { "I8", 1, 1, NULL },
    [QK_DTYPE_U8] = { "U8", 1, 1, NULL },
    [QK_DTYPE_BOOL] = { "BOOL", 1, 1, NULL },
};

const qk_dtype_info *qk_dtype_describe(qk_dtype dtype) { return &table[dtype]; }

bool qk_dtype_by_name(qk_dtype *out, const char *name)
{
    for (int i = 0; i < QK_N_DTYPES; i++)
        if (strcmp(table[i].name, name) == 0) {
            *out = (qk_dtype)i;
            return true;
        }
    return false;
}

bool qk_dtype_bytes(size_t *out, qk_dtype dtype, size_t n_elements)
{
    const qk_dtype_info *info = &table[dtype];
    if (n_elements % info->block_elements) return false;
    return qk_mul(n_elements / info->block_elements, info->block_bytes, out);
}
