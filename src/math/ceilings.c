/* ceilings.c - f32 multiply-adds that never leave the registers, blocks of bf16 terms that never leave the nearest
 * cache, and a sum over memory that no cache holds. */
#include "math/ceilings.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "math/terms.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CHAINS = 12 /* independent sums: more than latency times units of any processor */ };
#define RUNS 40 /* short ones: where other programs run too, one of them is not disturbed */
#define STEPS ((size_t)1 << 21)          /* multiply-adds of each chain in a run */
#define BLOCKS ((size_t)1 << 13)         /* of bf16 terms in a run */
#define DEEP 4                           /* steps of a block: 8 KiB an operand, within any nearest cache */
#define ARRAY_BYTES ((size_t)256 << 20)  /* of all threads together */

static double clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds(void) { return clock_of(CLOCK_MONOTONIC); }

/* ---- multiply-adds: what the chains come to is returned, so that nobody may leave them out */

typedef float multiply_adds(size_t n, float factor, float term);

static float multiply_adds_plain(size_t n, float factor, float term)
{
    float chain[4 * CHAINS], sum = 0;
    for (int j = 0; j < 4 * CHAINS; j++) chain[j] = (float)j;
    for (size_t i = 0; i < n; i++)
        for (int j = 0; j < 4 * CHAINS; j++) chain[j] = chain[j] * factor + term;
    for (int j = 0; j < 4 * CHAINS; j++) sum += chain[j];
    return sum;
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static float multiply_adds_avx2(size_t n, float factor, float term)
{
    __m256 chain[CHAINS], f = _mm256_set1_ps(factor), t = _mm256_set1_ps(term), sum = _mm256_setzero_ps();
    float lanes[8];
    for (int j = 0; j < CHAINS; j++) chain[j] = _mm256_set1_ps((float)j);
    for (size_t i = 0; i < n; i++)
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) chain[j] = _mm256_fmadd_ps(chain[j], f, t);
    for (int j = 0; j < CHAINS; j++) sum = _mm256_add_ps(sum, chain[j]);
    _mm256_storeu_ps(lanes, sum);
    return lanes[0] + lanes[7];
}

__attribute__((target("avx512f"))) static float multiply_adds_avx512(size_t n, float factor, float term)
{
    __m512 chain[CHAINS], f = _mm512_set1_ps(factor), t = _mm512_set1_ps(term), sum = _mm512_setzero_ps();
    float lanes[16];
    for (int j = 0; j < CHAINS; j++) chain[j] = _mm512_set1_ps((float)j);
    for (size_t i = 0; i < n; i++)
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) chain[j] = _mm512_fmadd_ps(chain[j], f, t);
    for (int j = 0; j < CHAINS; j++) sum = _mm512_add_ps(sum, chain[j]);
    _mm512_storeu_ps(lanes, sum);
    return lanes[0] + lanes[15];
}
#endif

/* Random numbers from 1 to 2, of either sign: zeros would take less power, and a faster clock. */
static void fill_pairs(uint16_t *x, size_t n, float seed)
{
    qk_rng rng;
    qk_rng_seed(&rng, (uint64_t)(1e6f * seed));
    for (size_t i = 0; i < n; i++) x[i] = (uint16_t)(0x3F80u | (qk_rng_next(&rng) & 0x807Fu));
}

static float blocks_of_terms(size_t n, float factor, float term)
{
    _Alignas(64) uint16_t a[DEEP * QK_TERMS_PART], b[DEEP * QK_TERMS_PART];
    _Alignas(64) float c[QK_TERMS_SIDE * QK_TERMS_SIDE];
    const qk_terms_unit *terms = qk_level_best()->unit;
    fill_pairs(a, DEEP * QK_TERMS_PART, factor);
    fill_pairs(b, DEEP * QK_TERMS_PART, term);
    if (terms->set_up) terms->set_up();
    for (size_t i = 0; i < n; i++) terms->block(c, QK_TERMS_SIDE, i > 0, a, b, QK_TERMS_SIDE, DEEP, 1, 1);
    if (terms->release) terms->release();
    return c[0];
}

typedef struct unit {
    const char *name; /* NULL: there is none */
    multiply_adds *run;
    double flops; /* of one step of all chains */
    size_t steps; /* of a run */
} unit;

static unit best_unit(void)
{
#if defined(__x86_64__)
    const qk_level *best = qk_level_best();
    if (best >= &qk_levels[QK_LEVEL_AVX512]) return (unit){ "AVX-512", multiply_adds_avx512, 2.0 * 16 * CHAINS, STEPS };
    if (best == &qk_levels[QK_LEVEL_AVX2]) return (unit){ "AVX2", multiply_adds_avx2, 2.0 * 8 * CHAINS, STEPS };
#endif
    return (unit){ "plain C", multiply_adds_plain, 2.0 * 4 * CHAINS, STEPS };
}

static unit bf16_unit(void)
{
    const qk_level *best = qk_level_best();
    if (!best->unit) return (unit){ NULL };
    return (unit){ best->name, blocks_of_terms, 2.0 * DEEP * QK_TERMS_PART * QK_TERMS_SIDE, BLOCKS };
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure_flops(double *most, double *middle, const unit *u, int n_threads)
{
    double usual[RUNS], best = 0, work = u->flops * (double)u->steps * n_threads;
    volatile float keep;
    for (int run = 0; run < RUNS; run++) {
        float all = 0;
        double start = seconds(), used = 0;
#pragma omp parallel num_threads(n_threads) reduction(+ : all, used)
        {
            double begin = clock_of(CLOCK_THREAD_CPUTIME_ID);
            all += u->run(u->steps, 0.999f, 0.001f);
            used += clock_of(CLOCK_THREAD_CPUTIME_ID) - begin;
        }
        double rate = work / (seconds() - start);
        keep = all;
        usual[run] = work / used * n_threads;
        if (rate > best) best = rate;
    }
    (void)keep;
    qsort(usual, RUNS, sizeof *usual, by_size);
    *most = best;
    *middle = usual[RUNS / 2];
}

/* ---- memory */

static uint64_t sum_of(const uint64_t *x, size_t n)
{
    uint64_t lane[8] = { 0 }, sum = 0;
    for (size_t i = 0; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) lane[j] += x[i + (size_t)j];
    for (int j = 0; j < 8; j++) sum += lane[j];
    return sum;
}

static qk_status measure_read(double *rate, int n_threads, qk_error *err)
{
    size_t part = ARRAY_BYTES / sizeof(uint64_t) / (size_t)n_threads;
    uint64_t *array = aligned_alloc(4096, ARRAY_BYTES);
    volatile uint64_t keep;
    double best = 0;
    if (!array) return qk_out_of_memory(err, "an array to measure memory with", ARRAY_BYTES);
#pragma omp parallel for num_threads(n_threads)
    for (int t = 0; t < n_threads; t++) memset(array + (size_t)t * part, 1, part * sizeof *array);
    for (int run = 0; run < RUNS / 4; run++) {
        uint64_t all = 0;
        double start = seconds();
#pragma omp parallel for num_threads(n_threads) reduction(+ : all)
        for (int t = 0; t < n_threads; t++) all += sum_of(array + (size_t)t * part, part);
        double now = (double)(part * (size_t)n_threads * sizeof *array) / (seconds() - start);
        keep = all;
        if (now > best) best = now;
    }
    (void)keep;
    free(array);
    *rate = best;
    return QK_OK;
}

qk_status qk_ceilings_measure(qk_ceilings *out, int n_threads, qk_error *err)
{
    unit u = best_unit(), terms = bf16_unit();
    qk_ceilings found = { .unit = u.name, .bf16_unit = terms.name };
    n_threads = qk_thread_count(n_threads);
    qk_status status = measure_read(&found.read, n_threads, err);
    if (status) return status;
    measure_flops(&found.flops, &found.usual_flops, &u, n_threads);
    if (terms.name) measure_flops(&found.bf16_flops, &found.usual_bf16_flops, &terms, n_threads);
    *out = found;
    return QK_OK;
}
