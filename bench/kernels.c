/* kernels.c - speed of the kernels of a training step at the shapes of small models: best of RUNS, GFLOP/s of products
 * beside oneDNN's sgemm over the whole matrix (with as many threads), ns an entry of the rest.  Not run by the tests.
 *
 *   OMP_WAIT_POLICY=passive build/bench/kernels [THREADS [RUNS]] */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <oneapi/dnnl/dnnl.h>

#include "math/backward.h"

/* What one kernel works on; sizes and buffers as its own. */
typedef struct work {
    size_t m, n, k;
    float *x, *y, *w, *bias; /* [m][k], [m][n], [n][k], [n] or NULL */
    double *partial;
    int n_threads;
} work;

/* An f32 matrix as the products take it. */
#define rows_of(w, n_rows, n_cols) (&(qk_rows){ (const uint8_t *)(w), QK_DTYPE_F32, n_rows, n_cols, 0 })

/* Of one thread its own time: other programs cost it caches, but not turns. */
static double now(int n_threads)
{
    struct timespec t;
    clock_gettime(n_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *floats(size_t n)
{
    qk_rng rng;
    float *x = NULL;
    qk_error err;
    qk_rng_seed(&rng, n);
    if (qk_new_floats(&x, n, "benchmark", &err) != QK_OK) exit(1);
    for (size_t i = 0; i < n; i++) x[i] = (float)qk_rng_normal(&rng);
    return x;
}

/* ---- products */

static void product(const work *b)
{
    qk_kernels_fast()->product(qk_kernels_fast(), b->y, b->n, b->x, b->k, rows_of(b->w, b->n, b->k), NULL, b->m, b->n_threads);
}

static void product_input(const work *b)
{
    qk_derivatives_fast()->product_input(qk_derivatives_fast(), b->x, b->y, b->w, b->m, b->n, b->k, false, b->n_threads);
}

static void product_weight(const work *b)
{
    qk_derivatives_fast()->product_weight(qk_derivatives_fast(), b->w, NULL, b->y, b->x, b->m, b->n, b->k, b->n_threads);
}

static void product_bf16(const work *b)
{
    qk_kernels_bf16()->product(qk_kernels_bf16(), b->y, b->n, b->x, b->k, rows_of(b->w, b->n, b->k), NULL, b->m, b->n_threads);
}

static void product_weight_bf16(const work *b)
{
    qk_derivatives_bf16()->product_weight(qk_derivatives_bf16(), b->w, NULL, b->y, b->x, b->m, b->n, b->k, b->n_threads);
}

static void whole(char opa, char opb, size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                  size_t ldb, float beta, float *c, int n_threads)
{
    omp_set_num_threads(n_threads);
    dnnl_sgemm(opa, opb, (dnnl_dim_t)m, (dnnl_dim_t)n, (dnnl_dim_t)k, 1, a, (dnnl_dim_t)lda, b, (dnnl_dim_t)ldb, beta,
               c, (dnnl_dim_t)n);
}

static void whole_product(const work *b)
{
    whole('N', 'T', b->m, b->n, b->k, b->x, b->k, b->w, b->k, 0, b->y, b->n_threads);
}

static void whole_input(const work *b)
{
    whole('N', 'N', b->m, b->k, b->n, b->y, b->n, b->w, b->k, 0, b->x, b->n_threads);
}

static void whole_weight(const work *b)
{
    whole('T', 'N', b->n, b->k, b->m, b->y, b->n, b->x, b->k, 1, b->w, b->n_threads);
}

#define MOST_RUNS 1000

typedef void kernel(const work *b);

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The two take turns: the best of each, and the median of what ours took for what the whole matrix took next to it,
 * which a change of the clock between turns does not disturb. */
static void compare(const char *name, kernel *ours, kernel *whole_matrix, const work *b, int n_runs)
{
    double best[2] = { 1e9, 1e9 }, flops = 2e-9 * (double)b->m * (double)b->n * (double)b->k, ratio[MOST_RUNS];
    ours(b), whole_matrix(b);
    for (int run = 0; run < n_runs; run++) {
        double seconds[2];
        for (int i = 0; i < 2; i++) {
            double start = now(b->n_threads);
            (i ? whole_matrix : ours)(b);
            seconds[i] = now(b->n_threads) - start;
            best[i] = seconds[i] < best[i] ? seconds[i] : best[i];
        }
        ratio[run] = seconds[1] / seconds[0];
    }
    qsort(ratio, (size_t)n_runs, sizeof *ratio, by_size);
    printf("%-16s %5zu %5zu %5zu  %8.1f GFLOP/s  sgemm %8.1f  %5.2f\n", name, b->m, b->n, b->k, flops / best[0],
           flops / best[1], ratio[n_runs / 2]);
}

static void products(int n_threads, int n_runs)
{
    static const struct {
        const char *name;
        kernel *ours, *whole;
    } rows[] = {
        { "product", product, whole_product },
        { "product_input", product_input, whole_input },
        { "product_weight", product_weight, whole_weight },
        { "product bf16", product_bf16, whole_product },
        { "weight bf16", product_weight_bf16, whole_weight },
    };
    const size_t shapes[][3] = { { 384, 192, 192 },  { 384, 256, 256 },  { 384, 512, 192 },   { 384, 688, 256 },
                                 { 384, 256, 688 },  { 384, 2048, 256 }, { 384, 2048, 2048 }, { 4096, 256, 256 },
                                 { 4096, 688, 256 }, { 4096, 256, 688 }, { 4096, 2048, 256 } };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            work b = { .m = shapes[s][0], .n = shapes[s][1], .k = shapes[s][2], .n_threads = n_threads };
            b.x = floats(b.m * b.k), b.y = floats(b.m * b.n), b.w = floats(b.n * b.k);
            compare(rows[r].name, rows[r].ours, rows[r].whole, &b, n_runs);
            free(b.x), free(b.y), free(b.w);
        }
}

/* ---- attention: all blocks of one head of one sequence of m tokens, head_dim k */

static qk_attention block(const work *b, size_t row, float *scores)
{
    size_t rows = b->m - row < QK_ATTENTION_ROWS ? b->m - row : QK_ATTENTION_ROWS;
    return (qk_attention){ .q = b->x + row * b->n,
                           .k = b->y,
                           .v = b->y + b->k,
                           .z = b->w + row * b->n,
                           .q_stride = b->n,
                           .kv_stride = b->n,
                           .z_stride = b->n,
                           .row0 = row,
                           .n_rows = rows,
                           .head_dim = b->k,
                           .scale = 0.125f,
                           .scores = scores,
                           .scores_stride = b->m + 16 };
}

enum { ATTEND, SOFTMAX, MIX, BACKWARD, N_STEPS };

static void attention_of(double best[N_STEPS], const work *b, float *scores, float *gradient)
{
    double spent[N_STEPS] = { 0 };
    const qk_kernels *ops = qk_kernels_fast();
    for (size_t row = 0; row < b->m; row += QK_ATTENTION_ROWS) {
        qk_attention a = block(b, row, scores);
        double start = now(1);
        ops->attend(ops, &a);
        double attended = now(1);
        for (size_t i = 0; i < a.n_rows; i++) ops->softmax(scores + i * (b->m + 16), row + a.n_rows);
        double soft = now(1);
        ops->mix(ops, &a);
        double mixed = now(1);
        qk_derivatives_fast()->attention(qk_derivatives_fast(), 
            &(qk_attention_gradient){ a, b->bias + row * b->n, gradient + row * b->n, gradient + b->m * b->n,
                                      gradient + b->m * b->n + b->k, scores + QK_ATTENTION_ROWS * (b->m + 16) });
        spent[ATTEND] += attended - start;
        spent[SOFTMAX] += soft - attended;
        spent[MIX] += mixed - soft;
        spent[BACKWARD] += now(1) - mixed;
    }
    for (int i = 0; i < N_STEPS; i++) best[i] = spent[i] < best[i] ? spent[i] : best[i];
}

/* FLOPs as causal attention needs them: 2 m^2/2 d a product, one each for attend and mix, four for backward. */
static void attentions(int n_runs)
{
    static const char *const names[N_STEPS] = { "attend", "softmax", "mix", "backward" };
    static const int n_products[N_STEPS] = { 1, 0, 1, 4 };
    const size_t shapes[][2] = { { 128, 64 }, { 256, 32 }, { 256, 64 }, { 512, 32 }, { 512, 64 }, { 2048, 64 } };
    omp_set_num_threads(1);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        work b = { .m = shapes[s][0], .k = shapes[s][1], .n = 4 * shapes[s][1] };
        double best[N_STEPS] = { 1e9, 1e9, 1e9, 1e9 }, pairs = 0.5 * (double)b.m * (double)(b.m + 1);
        float *scores = floats(2 * QK_ATTENTION_ROWS * (b.m + 16)), *gradient = floats(2 * b.m * b.n);
        b.x = floats(b.m * b.n), b.y = floats(b.m * b.n), b.w = floats(b.m * b.n), b.bias = floats(b.m * b.n);
        for (int run = 0; run < n_runs * 4; run++) attention_of(best, &b, scores, gradient);
        for (int i = 0; i < N_STEPS; i++) {
            printf("%-16s %5zu x %3zu  %8.1f us, %6.3f ns a pair", names[i], b.m, b.k, 1e6 * best[i],
                   1e9 * best[i] / pairs);
            if (n_products[i]) printf("  %6.1f GFLOP/s", 2e-9 * n_products[i] * pairs * (double)b.k / best[i]);
            printf("\n");
        }
        free(scores), free(gradient), free(b.x), free(b.y), free(b.w), free(b.bias);
    }
}

/* ---- decoding: one row of x against weights that no cache holds */

#define DECODED_BYTES ((size_t)192 << 20) /* of weights, one matrix behind the other */

/* The weights as a plain sum of whole numbers reads them, in four places at a time as the products do: one alone does
 * not keep the memory busy. */
static double read_once(const uint8_t *weights, size_t n_bytes, int n_threads)
{
    enum { PIECE = 2048 };
    const uint64_t *words = (const uint64_t *)(const void *)weights;
    uint64_t sum = 0;
    double start = now(n_threads);
#pragma omp parallel for num_threads(n_threads) reduction(+ : sum) schedule(static)
    for (size_t i = 0; i < n_bytes / (4 * PIECE * sizeof *words); i++) {
        const uint64_t *at = words + i * 4 * PIECE;
        for (size_t j = 0; j < PIECE; j += 8)
            for (size_t k = 0; k < 8; k++)
                sum += (at[j + k] ^ at[PIECE + j + k]) + (at[2 * PIECE + j + k] ^ at[3 * PIECE + j + k]);
    }
    double seconds = now(n_threads) - start;
    if (sum == 1) printf("\n"); /* it is needed */
    return seconds;
}

static double decode_once(bool few, const uint8_t *weights, size_t n_matrices, const qk_rows *shape, size_t n_bytes, float *y,
                          const float *x, size_t m, int n_threads)
{
    const qk_kernels *ops = qk_kernels_fast();
    double start = now(n_threads);
    for (size_t i = 0; i < n_matrices; i++) {
        qk_rows w = *shape;
        w.data = weights + i * n_bytes;
        (few ? ops->product_few : ops->product)(ops, y, w.n_rows, x, w.n_cols, &w, NULL, m, n_threads);
    }
    return now(n_threads) - start;
}

static void decoding(int n_threads, int n_runs)
{
    static const qk_dtype formats[] = { QK_DTYPE_F32, QK_DTYPE_BF16, QK_DTYPE_F16, QK_DTYPE_Q8_0, QK_DTYPE_Q4_0,
                                        QK_DTYPE_NF4 };
    static const size_t shapes[][2] = { { 2048, 5632 }, { 4096, 11008 } }, rows[] = { 1, 2, 4, 8, 16 };
    uint8_t *weights = aligned_alloc(64, DECODED_BYTES);
    float *x = floats(16 * 11008), *y = floats(16 * 4096);
    if (!weights) exit(1);
    for (size_t i = 0; i < DECODED_BYTES; i++) weights[i] = (uint8_t)(i * 37 % 101 % 60); /* no exponent of a NaN */
    for (size_t s = 0; s < 2; s++)
        for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
            for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
                qk_rows w = { NULL, formats[f], shapes[s][0], shapes[s][1], 0 };
                size_t n_bytes, n;
                double best[3] = { 1e9, 1e9, 1e9 };
                if (!qk_dtype_bytes(&n_bytes, w.dtype, w.n_rows * w.n_cols)) exit(1);
                n = DECODED_BYTES / n_bytes;
                for (int run = 0; run < n_runs; run++) {
                    double plain = read_once(weights, n * n_bytes, n_threads);
                    double few = decode_once(true, weights, n, &w, n_bytes, y, x, rows[r], n_threads);
                    double tiles = decode_once(false, weights, n, &w, n_bytes, y, x, rows[r], n_threads);
                    best[0] = few < best[0] ? few : best[0];
                    best[1] = plain < best[1] ? plain : best[1];
                    best[2] = tiles < best[2] ? tiles : best[2];
                }
                printf("decode %-5s %5zu x %5zu, %2zu rows  %6.2f GB/s  plain read %6.2f  %5.2f  in tiles %6.2f\n",
                       qk_dtype_describe(w.dtype)->name, w.n_rows, w.n_cols, rows[r],
                       1e-9 * (double)(n * n_bytes) / best[0], 1e-9 * (double)(n * n_bytes) / best[1],
                       best[1] / best[0], 1e-9 * (double)(n * n_bytes) / best[2]);
            }
    free(weights), free(x), free(y);
}

/* ---- rows */

static void run_norm(const work *b)
{
    for (size_t i = 0; i < b->m; i++) qk_kernels_fast()->rms_norm(b->y + i * b->n, b->x + i * b->n, b->w, b->n, 1e-5);
}

static void run_norm_back(const work *b)
{
    qk_derivatives_fast()->rms_norm(b->y, b->bias, b->y, b->x, b->w, b->m, b->n, 1e-5, false, b->partial, 1);
}

static void run_silu(const work *b)
{
    for (size_t i = 0; i < b->m; i++) qk_kernels_fast()->silu_mul(b->y + i * b->n, b->x + i * b->n, b->w, b->n);
}

static void run_silu_back(const work *b)
{
    for (size_t i = 0; i < b->m; i++)
        qk_derivatives_fast()->silu_mul(b->bias, b->y + i * b->n, b->y + i * b->n, b->x + i * b->n, b->w, b->n);
}

static void run_nll(const work *b)
{
    double sum = 0;
    for (size_t i = 0; i < b->m; i++) sum += qk_kernels_fast()->nll(b->x + i * b->n, b->n, i % b->n);
    b->partial[0] = sum;
}

static void run_nll_back(const work *b)
{
    for (size_t i = 0; i < b->m; i++) qk_derivatives_fast()->nll(b->x + i * b->n, b->n, i % b->n, 1);
}

static void rows(int n_runs)
{
    static const struct {
        const char *name;
        kernel *run;
        size_t n;
    } all[] = {
        { "rms_norm", run_norm, 256 }, { "rms_norm back", run_norm_back, 256 },
        { "silu_mul", run_silu, 688 }, { "silu_mul back", run_silu_back, 688 },
        { "nll", run_nll, 2048 },      { "nll back", run_nll_back, 2048 },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        work b = { .m = 512, .n = all[i].n };
        double best = 1e9;
        b.x = floats(b.m * b.n), b.y = floats(b.m * b.n), b.w = floats(b.n), b.bias = floats(b.n);
        b.partial = calloc(QK_PARTIAL_SUMS * b.n, sizeof *b.partial);
        for (int run = 0; run < n_runs; run++) {
            double start = now(1);
            all[i].run(&b);
            double seconds = now(1) - start;
            best = seconds < best ? seconds : best;
        }
        printf("%-16s %5zu x %5zu  %6.3f ns an entry\n", all[i].name, b.m, b.n, 1e9 * best / (double)(b.m * b.n));
        free(b.x), free(b.y), free(b.w), free(b.bias), free(b.partial);
    }
}

static void peaks(void)
{
    enum { DEPTH = 256, TURNS = 2000 };
    float *a = floats(QK_LEVEL_ROWS * DEPTH), *b = floats(QK_LEVEL_COLUMNS * DEPTH), c[QK_LEVEL_ROWS * QK_LEVEL_COLUMNS];
    for (int i = 0; i < QK_N_LEVELS && qk_levels[i].present(); i++) {
        const qk_level *level = &qk_levels[i];
        double best = 1e9;
        for (int run = 0; run < 20; run++) {
            double start = now(1);
            for (int turn = 0; turn < TURNS; turn++)
                level->tile(c, level->columns, false, a, DEPTH, 1, b, DEPTH, level->columns);
            double seconds = now(1) - start;
            best = seconds < best ? seconds : best;
        }
        printf("tile of %-8s %2zu x %2zu in the nearest cache: %.1f GFLOP/s\n", level->name, level->rows, level->columns,
               2e-9 * (double)(level->rows * level->columns) * DEPTH * TURNS / best);
    }
    free(a), free(b);
}

int main(int argc, char **argv)
{
    int n_threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads(), n_runs = argc > 2 ? atoi(argv[2]) : 20;
    const char *part = argc > 3 ? argv[3] : "all";
    if (n_threads < 1 || n_runs < 2 || n_runs > MOST_RUNS) {
        fprintf(stderr, "usage: kernels [THREADS [RUNS [products|decoding|attention|rows]]]: THREADS from 1, RUNS from 2 "
                        "to 1000\n");
        return 2;
    }
    bool all = strcmp(part, "all") == 0;
    if (all || strcmp(part, "products") == 0) peaks(), products(n_threads, n_runs);
    if (all || strcmp(part, "decoding") == 0) decoding(n_threads, n_runs < 5 ? n_runs : 5);
    if (all || strcmp(part, "attention") == 0) attentions(n_runs);
    if (all || strcmp(part, "rows") == 0) rows(n_runs);
    return 0;
}
