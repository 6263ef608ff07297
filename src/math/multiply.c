/* multiply.c - matrix products by oneDNN, tile by tile; the one file that knows it, but for multiply_bf16.c.
 *
 * oneDNN splits sums over the threads it sees: one thread a tile keeps the bits fixed. */
#include "math/multiply.h"

#include <assert.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

#include "math/fast.h"
#include "math/kernels.h"

#define SERIAL_BELOW 2000000 /* multiply-adds that are cheaper than waking the threads */
#define COPIED_DEPTH 128     /* of a sum that copied operands are read for at a time */
#define COPIED_GAP 16        /* floats between copied rows, so that they do not lie a power of two apart */
#define COPY_FLOATS (QK_COPIED_SIDE * (COPIED_DEPTH + COPIED_GAP))

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

void qk_multiply_tile(float *c, size_t c_stride, bool add, qk_matrix left, qk_matrix right, size_t m, size_t n,
                      size_t depth)
{
    dnnl_status_t status = dnnl_sgemm(left.turned ? 'T' : 'N', right.turned ? 'T' : 'N', (dnnl_dim_t)m, (dnnl_dim_t)n,
                                      (dnnl_dim_t)depth, 1, left.at, (dnnl_dim_t)left.stride, right.at,
                                      (dnnl_dim_t)right.stride, add ? 1 : 0, c, (dnnl_dim_t)c_stride);
    if (status == dnnl_success) return;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) c[i * c_stride + j] = NAN;
}

/* ---- copied operands */

/* The part of `a` from (i, j) on. */
static qk_matrix part_of(qk_matrix a, size_t i, size_t j)
{
    a.at += a.turned ? j * a.stride + i : i * a.stride + j;
    return a;
}

CLONES static void round_row(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        union {
            uint32_t u;
            float f;
        } bits = { .u = rounded_to_bf16(from[i]) };
        to[i] = bits.f;
    }
}

/* `a`, or its rows x columns copied or rounded to `memory`. */
static qk_matrix ready(qk_matrix a, qk_operand_use use, float memory[COPY_FLOATS], size_t rows, size_t columns)
{
    size_t height = a.turned ? columns : rows, width = a.turned ? rows : columns, stride = width + COPIED_GAP;
    if (use == QK_OPERAND_IN_PLACE) return a;
    for (size_t i = 0; i < height; i++)
        if (use == QK_OPERAND_ROUNDED)
            round_row(memory + i * stride, a.at + i * a.stride, width);
        else
            memcpy(memory + i * stride, a.at + i * a.stride, width * sizeof *memory);
    return (qk_matrix){ memory, stride, a.turned };
}

static void copied_tile(float *c, size_t c_stride, bool add, qk_matrix left, qk_matrix right, size_t m, size_t n,
                        size_t depth, const qk_tiling *tiling)
{
    float left_memory[COPY_FLOATS], right_memory[COPY_FLOATS];
    for (size_t l = 0; l < depth; l += COPIED_DEPTH) {
        size_t part = least(depth - l, COPIED_DEPTH);
        qk_matrix a = ready(part_of(left, 0, l), tiling->left, left_memory, m, part);
        qk_matrix b = ready(part_of(right, l, 0), tiling->right, right_memory, part, n);
        qk_multiply_tile(c, c_stride, add || l > 0, a, b, m, n, part);
    }
}

/* ---- all tiles */

static void add_bias(float *c, size_t c_stride, const float *bias, size_t m, size_t n)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) c[i * c_stride + j] += bias[j];
}

void qk_multiply(float *c, size_t c_stride, bool add, qk_matrix left, qk_matrix right, const float *bias, size_t m,
                 size_t n, size_t depth, const qk_tiling *tiling, int n_threads)
{
    size_t row_tiles = (m + tiling->rows - 1) / tiling->rows;
    size_t column_tiles = (n + tiling->columns - 1) / tiling->columns;
    bool rounded = tiling->left == QK_OPERAND_ROUNDED && tiling->right == QK_OPERAND_ROUNDED;
    bool copied = tiling->left != QK_OPERAND_IN_PLACE || tiling->right != QK_OPERAND_IN_PLACE;
    assert(!copied || (tiling->rows <= QK_COPIED_SIDE && tiling->columns <= QK_COPIED_SIDE));
    if (m * n * depth < SERIAL_BELOW) n_threads = 1;
#pragma omp parallel num_threads(n_threads)
    {
        omp_set_num_threads(1);
        qk_bf16_unit *unit =
            rounded && qk_bf16_unit_present() ? qk_bf16_unit_new(tiling, depth, left.turned, right.turned) : NULL;
#pragma omp for schedule(dynamic, 1) collapse(2)
        for (size_t y = 0; y < column_tiles; y++)
            for (size_t x = 0; x < row_tiles; x++) {
                size_t i = x * tiling->rows, j = y * tiling->columns;
                size_t rows = least(m - i, tiling->rows), columns = least(n - j, tiling->columns);
                qk_matrix a = part_of(left, i, 0), b = part_of(right, 0, j);
                float *tile = c + i * c_stride + j;
                if (unit)
                    qk_bf16_unit_tile(unit, tile, c_stride, add, a, b, rows, columns, depth);
                else if (copied)
                    copied_tile(tile, c_stride, add, a, b, rows, columns, depth, tiling);
                else
                    qk_multiply_tile(tile, c_stride, add, a, b, rows, columns, depth);
                if (bias) add_bias(tile, c_stride, bias + j, rows, columns);
            }
        qk_bf16_unit_free(unit);
    }
}

void qk_kernels_describe(char text[64])
{
    static const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } names[] = {
        { dnnl_cpu_isa_avx512_core_amx, "AMX" },
        { dnnl_cpu_isa_avx512_core_bf16, "AVX-512 BF16" },
        { dnnl_cpu_isa_avx512_core, "AVX-512" },
        { dnnl_cpu_isa_avx2, "AVX2" },
    };
    const dnnl_version_t *version = dnnl_version();
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    const char *name = "no AVX2";
    for (size_t i = sizeof names / sizeof *names; i-- > 0;)
        if ((isa & names[i].isa) == names[i].isa) name = names[i].name; /* each level's bits hold the lower ones' */
    snprintf(text, 64, "oneDNN %d.%d.%d, %s", version->major, version->minor, version->patch, name);
}
