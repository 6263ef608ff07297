/* multiply_bf16.c - tiles by the processor's bf16 unit, through oneDNN's matmul (AVX-512 BF16, AMX).
 *
 * Tiles at the edge are padded to the shape of the others: one primitive a call, and an entry's bits do not depend on
 * how many rows and columns its tile has. */
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

#include "math/fast.h"
#include "math/multiply.h"

enum { SIDE = QK_BF16_SIDE, MOST_DEPTH = 256 };

struct qk_bf16_unit {
    size_t rows, columns, depth;       /* of the product that the unit does at a time */
    uint16_t left[SIDE * MOST_DEPTH];  /* [rows][depth]; [depth][rows] when turned */
    uint16_t right[MOST_DEPTH * SIDE]; /* [depth][columns]; [columns][depth] when turned */
    float product[SIDE * SIDE];        /* [rows][columns] */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t matmul;
    dnnl_memory_t operands[4]; /* left, right, product, and scratch: oneDNN's own is not safe among threads */
};

bool qk_bf16_unit_present(void)
{
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa(), least = dnnl_cpu_isa_avx512_core_bf16;
    return (isa & least) == least; /* each level's bits hold the lower ones' */
}

/* ---- what differs between oneDNN 2 and 3 */

#if DNNL_VERSION_MAJOR >= 3
#define ARGUMENT(description) (description)

static dnnl_status_t describe(dnnl_memory_desc_t *out, const dnnl_dims_t size, dnnl_data_type_t type,
                              const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(out, 2, size, type, strides);
}

static void forget(dnnl_memory_desc_t description) { dnnl_memory_desc_destroy(description); }

static dnnl_status_t plan(dnnl_primitive_desc_t *out, const dnnl_memory_desc_t d[3], dnnl_primitive_attr_t attributes,
                          dnnl_engine_t engine)
{
    return dnnl_matmul_primitive_desc_create(out, engine, d[0], d[1], NULL, d[2], attributes);
}
#else
#define ARGUMENT(description) (&(description))

static dnnl_status_t describe(dnnl_memory_desc_t *out, const dnnl_dims_t size, dnnl_data_type_t type,
                              const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(out, 2, size, type, strides);
}

static void forget(dnnl_memory_desc_t description) { (void)description; }

static dnnl_status_t plan(dnnl_primitive_desc_t *out, const dnnl_memory_desc_t d[3], dnnl_primitive_attr_t attributes,
                          dnnl_engine_t engine)
{
    dnnl_matmul_desc_t matmul;
    dnnl_status_t status = dnnl_matmul_desc_init(&matmul, &d[0], &d[1], NULL, &d[2]);
    return status ? status : dnnl_primitive_desc_create(out, &matmul, attributes, engine, NULL);
}
#endif

/* ---- one thread's unit */

/* Rows of a matrix side by side, or its columns. */
static dnnl_status_t describe_dense(dnnl_memory_desc_t *out, dnnl_data_type_t type, bool turned, dnnl_dim_t rows,
                                    dnnl_dim_t columns)
{
    const dnnl_dims_t size = { rows, columns }, plain = { columns, 1 }, across = { 1, rows };
    return describe(out, size, type, turned ? across : plain);
}

static dnnl_status_t prepare(qk_bf16_unit *u, const dnnl_memory_desc_t d[3], dnnl_primitive_attr_t attributes)
{
    void *const memory[3] = { u->left, u->right, u->product };
    dnnl_primitive_desc_t planned = NULL;
    dnnl_status_t status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (!status) status = plan(&planned, d, attributes, u->engine);
    if (!status) status = dnnl_primitive_create(&u->matmul, planned);
    for (int i = 0; i < 3 && !status; i++)
        status = dnnl_memory_create(&u->operands[i], ARGUMENT(d[i]), u->engine, memory[i]);
    if (!status)
        status = dnnl_memory_create(&u->operands[3], dnnl_primitive_desc_query_md(planned, dnnl_query_scratchpad_md, 0),
                                    u->engine, DNNL_MEMORY_ALLOCATE);
    if (planned) dnnl_primitive_desc_destroy(planned);
    return status;
}

qk_bf16_unit *qk_bf16_unit_new(size_t most_rows, size_t most_columns, size_t depth, bool left_turned,
                               bool right_turned)
{
    dnnl_memory_desc_t d[3];
    dnnl_primitive_attr_t attributes = NULL;
    qk_bf16_unit *u = calloc(1, sizeof *u);
    if (!u) return NULL;
    u->rows = most_rows;
    u->columns = most_columns;
    u->depth = even_part(depth, MOST_DEPTH, 32);
    dnnl_dim_t rows = (dnnl_dim_t)u->rows, columns = (dnnl_dim_t)u->columns, deep = (dnnl_dim_t)u->depth;
    dnnl_status_t status = dnnl_engine_create(&u->engine, dnnl_cpu, 0);
    if (!status) status = dnnl_stream_create(&u->stream, u->engine, dnnl_stream_default_flags);
    if (!status) status = dnnl_primitive_attr_create(&attributes);
    int n = 0;
    if (!status) status = describe_dense(&d[0], dnnl_bf16, left_turned, rows, deep);
    if (!status) n++, status = describe_dense(&d[1], dnnl_bf16, right_turned, deep, columns);
    if (!status) n++, status = describe_dense(&d[2], dnnl_f32, false, rows, columns);
    if (!status) n++, status = prepare(u, d, attributes);
    while (n > 0) forget(d[--n]);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    if (!status) return u;
    qk_bf16_unit_free(u);
    return NULL;
}

void qk_bf16_unit_free(qk_bf16_unit *u)
{
    if (!u) return;
    for (int i = 0; i < 4; i++)
        if (u->operands[i]) dnnl_memory_destroy(u->operands[i]);
    if (u->matmul) dnnl_primitive_destroy(u->matmul);
    if (u->stream) dnnl_stream_destroy(u->stream);
    if (u->engine) dnnl_engine_destroy(u->engine);
    free(u);
}

/* ---- tiles */

CLONES static void round_row(uint16_t *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = (uint16_t)(rounded_to_bf16(from[i]) >> 16);
}

/* to[height][width] = from[n_rows][n_columns], rounded, and zeros. */
static void fill(uint16_t *to, size_t height, size_t width, const float *from, size_t stride, size_t n_rows,
                 size_t n_columns)
{
    for (size_t i = 0; i < n_rows; i++) {
        round_row(to + i * width, from + i * stride, n_columns);
        memset(to + i * width + n_columns, 0, (width - n_columns) * sizeof *to);
    }
    memset(to + n_rows * width, 0, (height - n_rows) * width * sizeof *to);
}

static bool multiply(qk_bf16_unit *u)
{
    static const int names[4] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD };
    dnnl_exec_arg_t arguments[4];
    for (int i = 0; i < 4; i++) arguments[i] = (dnnl_exec_arg_t){ names[i], u->operands[i] };
    return dnnl_primitive_execute(u->matmul, u->stream, 4, arguments) == dnnl_success &&
           dnnl_stream_wait(u->stream) == dnnl_success;
}

CLONES static void put_row(float *to, const float *from, bool add, size_t n)
{
    if (add)
        for (size_t i = 0; i < n; i++) to[i] += from[i];
    else
        for (size_t i = 0; i < n; i++) to[i] = from[i];
}

void qk_bf16_unit_tile(qk_bf16_unit *u, float *c, size_t c_stride, bool add, qk_matrix left, qk_matrix right, size_t m,
                       size_t n, size_t depth)
{
    for (size_t l = 0; l < depth; l += u->depth) {
        size_t part = depth - l < u->depth ? depth - l : u->depth;
        if (left.turned)
            fill(u->left, u->depth, u->rows, left.at + l * left.stride, left.stride, part, m);
        else
            fill(u->left, u->rows, u->depth, left.at + l, left.stride, m, part);
        if (right.turned)
            fill(u->right, u->columns, u->depth, right.at + l, right.stride, n, part);
        else
            fill(u->right, u->depth, u->columns, right.at + l * right.stride, right.stride, part, n);
        if (!multiply(u))
            for (size_t i = 0; i < u->rows * u->columns; i++) u->product[i] = NAN;
        for (size_t i = 0; i < m; i++) put_row(c + i * c_stride, u->product + i * u->columns, add || l > 0, n);
    }
}
