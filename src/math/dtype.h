/* dtype.h - the number formats a checkpoint may hold: one row each, no switches elsewhere. */
#ifndef QK_DTYPE_H
#define QK_DTYPE_H

#include "base/base.h"

typedef enum qk_dtype {
    QK_DTYPE_F32, QK_DTYPE_F16, QK_DTYPE_BF16, QK_DTYPE_Q8_0, QK_DTYPE_Q4_0, QK_DTYPE_NF4,
    QK_DTYPE_F64, QK_DTYPE_I64, QK_DTYPE_I32, QK_DTYPE_I16, QK_DTYPE_I8, QK_DTYPE_U8, QK_DTYPE_BOOL,
    QK_N_DTYPES
} qk_dtype;

typedef struct qk_dtype_info {
    const char *name;      /* as safetensors spells it, where it does: "BF16" */
    size_t block_elements; /* elements that share a block (1, 32 for Q8_0 and Q4_0, 64 for NF4) */
    size_t block_bytes;
    /* n a multiple of block_elements; NULL = not a weight format */
    void (*to_f32)(float *out, const uint8_t *in, size_t n);
} qk_dtype_info;

/* The values of NF4, ascending: quantiles of the normal distribution scaled to [-1, 1] (Dettmers et al. 2023). */
extern const float qk_nf4_values[16];

const qk_dtype_info *qk_dtype_describe(qk_dtype dtype);
bool qk_dtype_by_name(qk_dtype *out, const char *name); /* safetensors names */
/* Bytes of n elements; false when n is no multiple of the block or the product overflows. */
bool qk_dtype_bytes(size_t *out, qk_dtype dtype, size_t n_elements);
float qk_f16_to_f32(uint16_t bits);
uint16_t qk_f32_to_f16(float x);  /* round to nearest even */
uint16_t qk_f32_to_bf16(float x); /* round to nearest even; NaN stays NaN */
static inline float qk_bf16_to_f32(uint16_t bits)
{
    union { uint32_t u; float f; } x = { (uint32_t)bits << 16 };
    return x.f;
}

#endif
