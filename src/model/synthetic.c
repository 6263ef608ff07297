/* synthetic.c - a model of any shape with random weights in memory: what speed is measured on where no file is at hand.
 *
 * Matrices are uniform with variance 1 / columns, gains are 1 and biases 0, so that activations keep a size that real
 * models have.  Each row draws from a stream of its own: the same bytes for any number of threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

#define ALIGNMENT 64 /* bytes between the starts of weights divide by this */

/* ---- numbers of one row: n of them, uniform in [-bound, bound], as the format holds them */

typedef void draw_row(uint8_t *out, size_t n, double bound, qk_rng *rng);

static float draw(double bound, qk_rng *rng)
{
    return (float)(bound * ((double)(qk_rng_next(rng) >> 40) * 0x1p-23 - 1));
}

static void draw_f32(uint8_t *out, size_t n, double bound, qk_rng *rng)
{
    for (size_t i = 0; i < n; i++) {
        float x = draw(bound, rng);
        memcpy(out + 4 * i, &x, sizeof x);
    }
}

static void draw_halves(uint8_t *out, size_t n, double bound, qk_rng *rng, uint16_t (*round)(float x))
{
    for (size_t i = 0; i < n; i++) {
        uint16_t x = round(draw(bound, rng));
        memcpy(out + 2 * i, &x, sizeof x);
    }
}

static void draw_f16(uint8_t *out, size_t n, double bound, qk_rng *rng)
{
    draw_halves(out, n, bound, rng, qk_f32_to_f16);
}

static void draw_bf16(uint8_t *out, size_t n, double bound, qk_rng *rng)
{
    draw_halves(out, n, bound, rng, qk_f32_to_bf16);
}

/* Integers of [-most, most] from the bits of one draw; the few values that do not divide evenly do not matter here. */
static int draw_integer(int most, uint64_t bits) { return (int)(bits % (uint64_t)(2 * most + 1)) - most; }

/* Blocks of 32 numbers: a scale in f16, then 32 bytes. */
static void draw_q8_0(uint8_t *out, size_t n, double bound, qk_rng *rng)
{
    uint16_t scale = qk_f32_to_f16((float)(bound / 127));
    for (size_t b = 0; b < n / 32; b++, out += 34) {
        memcpy(out, &scale, sizeof scale);
        for (int i = 0; i < 32; i++) {
            int8_t q = (int8_t)draw_integer(127, qk_rng_next(rng) >> 32);
            memcpy(out + 2 + i, &q, 1);
        }
    }
}

/* Blocks of 32 numbers: a scale in f16, then 16 bytes of two numbers each, stored with 8 added. */
static void draw_q4_0(uint8_t *out, size_t n, double bound, qk_rng *rng)
{
    uint16_t scale = qk_f32_to_f16((float)(bound / 7));
    for (size_t b = 0; b < n / 32; b++, out += 18) {
        memcpy(out, &scale, sizeof scale);
        for (int i = 0; i < 16; i++) {
            uint64_t bits = qk_rng_next(rng);
            out[2 + i] = (uint8_t)((draw_integer(7, bits >> 48) + 8) | (draw_integer(7, bits >> 16 & 0xFFFF) + 8) << 4);
        }
    }
}

static draw_row *const draws[QK_N_DTYPES] = {
    [QK_DTYPE_F32] = draw_f32,   [QK_DTYPE_F16] = draw_f16,   [QK_DTYPE_BF16] = draw_bf16,
    [QK_DTYPE_Q8_0] = draw_q8_0, [QK_DTYPE_Q4_0] = draw_q4_0,
};

/* ---- the weights, one behind another */

typedef struct plan {
    qk_weight_shape *shapes; /* [n] */
    qk_tensor *tensors;      /* [n]; data is an offset until the memory is there */
    size_t *offsets;         /* [n] bytes */
    size_t n, n_bytes;
} plan;

static void plan_free(plan *p)
{
    free(p->shapes);
    free(p->tensors);
    free(p->offsets);
}

/* Vectors are F32 whatever the matrices are. */
static qk_status place(plan *p, size_t i, qk_dtype dtype, qk_error *err)
{
    const qk_weight_shape *s = &p->shapes[i];
    qk_dtype kind = s->n_dims == 2 ? dtype : QK_DTYPE_F32;
    const qk_dtype_info *format = qk_dtype_describe(kind);
    size_t n, bytes;
    if (s->n_cols % format->block_elements && s->n_dims == 2)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected rows of a multiple of %zu numbers for %s, found %zu", s->name,
                       format->block_elements, format->name, s->n_cols);
    if (!qk_mul(s->n_rows, s->n_cols, &n) || !qk_dtype_bytes(&bytes, kind, n) ||
        !qk_add(p->n_bytes, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, &p->offsets[i]))
        return qk_fail(err, QK_E_MEMORY, "%s: %zu x %zu overflows", s->name, s->n_rows, s->n_cols);
    p->tensors[i] = (qk_tensor){ .name = s->name,
                                 .dtype = kind,
                                 .n_dims = s->n_dims,
                                 .shape = { s->n_rows, s->n_dims == 2 ? s->n_cols : 0 },
                                 .n_bytes = bytes };
    size_t end = p->offsets[i];
    p->offsets[i] = p->n_bytes;
    p->n_bytes = end;
    return QK_OK;
}

static qk_status plan_make(plan *p, const qk_config *config, qk_dtype dtype, qk_error *err)
{
    *p = (plan){ .n = qk_weight_shapes(NULL, config) };
    qk_status status = qk_new_array(&p->shapes, p->n, sizeof *p->shapes, "weights", err);
    if (!status) status = qk_new_array(&p->tensors, p->n, sizeof *p->tensors, "weights", err);
    if (!status) status = qk_new_array(&p->offsets, p->n, sizeof *p->offsets, "weights", err);
    if (status) return status;
    qk_weight_shapes(p->shapes, config);
    for (size_t i = 0; i < p->n && !status; i++) status = place(p, i, dtype, err);
    return status;
}

static bool is_bias(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".bias") == 0;
}

static void fill(uint8_t *memory, const plan *p, size_t i, uint64_t seed, int n_threads)
{
    const qk_weight_shape *s = &p->shapes[i];
    uint8_t *at = memory + p->offsets[i];
    if (s->n_dims == 1) {
        float x = is_bias(s->name) ? 0 : 1;
        for (size_t j = 0; j < s->n_rows; j++) memcpy(at + 4 * j, &x, sizeof x);
        return;
    }
    size_t row_bytes = p->tensors[i].n_bytes / s->n_rows;
    double bound = sqrt(3 / (double)s->n_cols);
#pragma omp parallel for num_threads(n_threads)
    for (size_t row = 0; row < s->n_rows; row++) {
        qk_rng rng;
        qk_rng_seed(&rng, seed ^ ((uint64_t)i << 40 | row));
        draws[p->tensors[i].dtype](at + row * row_bytes, s->n_cols, bound, &rng);
    }
}

qk_status qk_synthetic_bytes(uint64_t *n_bytes, const qk_config *config, qk_dtype dtype, qk_error *err)
{
    plan p;
    qk_status status = plan_make(&p, config, dtype, err);
    if (!status) *n_bytes = p.n_bytes;
    plan_free(&p);
    return status;
}

qk_status qk_model_synthetic(qk_model **out, const qk_config *config, qk_dtype dtype, uint64_t seed, int n_threads,
                             qk_error *err)
{
    plan p;
    qk_ckpt *ckpt = NULL;
    uint8_t *memory = NULL;
    if (!draws[dtype])
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: no weights can be drawn in this format",
                       qk_dtype_describe(dtype)->name);
    qk_status status = plan_make(&p, config, dtype, err);
    if (status) goto out;
    memory = aligned_alloc(ALIGNMENT, p.n_bytes); /* not zeroed: the threads that fill it touch it first */
    if (!memory) {
        status = qk_out_of_memory(err, "synthetic weights", p.n_bytes);
        goto out;
    }
    for (size_t i = 0; i < p.n; i++) {
        p.tensors[i].data = memory + p.offsets[i];
        fill(memory, &p, i, seed, qk_thread_count(n_threads));
    }
    status = qk_ckpt_of_tensors(&ckpt, "synthetic weights", ".", p.tensors, p.n, memory, p.n_bytes, err);
    if (!status) status = qk_model_of_tensors(out, ckpt, config, NULL, err);
    if (status) goto out;
    (*out)->memory = memory;
    memory = NULL;
out:
    free(memory);
    plan_free(&p);
    return status;
}
