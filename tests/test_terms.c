/* test_terms.c - products of bf16 terms by every unit that this processor has: against sums in double of
 * what the terms hold. */
#include "floats.h"

#include "math/dtype.h"
#include "math/level.h"
#include "math/terms.h"

static const size_t shapes[][3] = { { 1, 1, 1 },   { 1, 300, 7 },   { 7, 5, 3 },    { 31, 33, 257 },
                                    { 32, 32, 32 }, { 48, 64, 256 }, { 97, 31, 130 }, { 65, 417, 65 },
                                    { 40, 65, 513 }, { 96, 130, 300 } };
#define N_SHAPES (sizeof shapes / sizeof *shapes)

/* The matrix with its rows side by side, or its columns. */
static qk_matrix laid_out(float **memory, const float *x, size_t rows, size_t columns, bool turned)
{
    size_t gap = 5, stride = (turned ? rows : columns) + gap;
    *memory = nan_floats(stride * (turned ? columns : rows));
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) (*memory)[turned ? j * stride + i : i * stride + j] = x[i * columns + j];
    return (qk_matrix){ *memory, stride, turned };
}

static double cut(double x, size_t n_terms)
{
    return n_terms > 1 ? x : (double)qk_bf16_to_f32(qk_f32_to_bf16((float)x));
}

/* Worst error as a share of the sum of absolute products; c starts at its own values where they are added to. */
static double worst_error(const float *c, const float *start, const float *a, const float *b, size_t m, size_t n,
                          size_t k, size_t n_terms)
{
    double worst = 0;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = start ? (double)start[i * n + j] : 0, size = fabs(sum);
            for (size_t l = 0; l < k; l++) {
                double term = cut(a[i * k + l], n_terms) * cut(b[l * n + j], n_terms);
                sum += term;
                size += fabs(term);
            }
            double error = fabs((double)c[i * n + j] - sum) / size;
            worst = error <= worst ? worst : error; /* a NaN stays */
        }
    return worst;
}

static void products_of_every_layout(void **state)
{
    const qk_terms_unit *unit = *state;
    for (size_t s = 0; s < N_SHAPES; s++) {
        size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        float *a = random_floats(m * k, 1, 1), *b = random_floats(k * n, 2, 1), *start = random_floats(m * n, 3, 1);
        for (int how = 0; how < 16; how++) {
            float *left, *right, *c = how & 4 ? copy_of(start, m * n) : nan_floats(m * n);
            size_t n_terms = how & 8 ? 3 : 1;
            qk_terms_product p = { laid_out(&left, a, m, k, how & 1), laid_out(&right, b, k, n, how & 2),
                                   NULL, k, n_terms, n_terms };
            unit->multiply(unit, c, n, how & 4, &p, 0, m, 0, n);
            double error = worst_error(c, how & 4 ? start : NULL, a, b, m, n, k, n_terms);
            if (!(error < 1e-6)) fail_msg("%zu x %zu x %zu, layout %d: off by %g", m, n, k, how, error);
            free(left), free(right), free(c);
        }
        free(a), free(b), free(start);
    }
}

/* What an entry comes to depends on its row and its column alone: parts of c, and threads, may be cut anywhere. */
static void entries_do_not_see_each_other(void **state)
{
    enum { M = 70, N = 450, K = 200 };
    const qk_terms_unit *unit = *state;
    float *a = random_floats(M * K, 4, 1), *b = random_floats(N * K, 5, 1);
    float *whole = nan_floats(M * N), *parts = nan_floats(M * N);
    qk_terms_product p = { { a, K, false }, { b, K, true }, NULL, K, 3, 3 };
    unit->multiply(unit, whole, N, false, &p, 0, M, 0, N);
    for (size_t i = 0; i < M; i += 17)
        for (size_t j = 0; j < N; j += 90)
            unit->multiply(unit, parts + i * N + j, N, false, &p, i, M - i < 17 ? M - i : 17, j,
                           N - j < 90 ? N - j : 90);
    assert_same(parts, whole, M * N);
    free(a), free(b), free(whole), free(parts);
}

/* A bf16 weight is one term: kept as bf16 or as f32, in halves or in pairs, the bits are the same. */
static void formats_agree(void **state)
{
    enum { M = 33, N = 64, K = 160 };
    const qk_terms_unit *unit = *state;
    float *a = random_floats(M * K, 6, 1), *b = random_floats(N * K, 7, 1), *c = nan_floats(M * N);
    float *same = nan_floats(M * N);
    uint16_t *bf16 = NULL, *f16 = NULL;
    assert_ok(qk_new_array(&bf16, N * K, sizeof *bf16, "test", err));
    assert_ok(qk_new_array(&f16, N * K, sizeof *f16, "test", err));
    for (size_t i = 0; i < N * K; i++) {
        bf16[i] = qk_f32_to_bf16(b[i]);
        b[i] = qk_bf16_to_f32(bf16[i]);
        f16[i] = qk_f32_to_f16(b[i]); /* 8 bits of 11; what is too small for f16 is not drawn */
    }
    qk_terms_product floats = { { a, K, false }, { b, K, true }, NULL, K, 3, 3 };
    unit->multiply(unit, c, N, false, &floats, 0, M, 0, N);
    for (int pairs = 0; pairs < 2; pairs++) {
        qk_rows rows[2] = { { (const uint8_t *)bf16, QK_DTYPE_BF16, N, K, pairs ? 4 : 0 },
                            { (const uint8_t *)f16, QK_DTYPE_F16, N, K, pairs ? 4 : 0 } };
        for (int r = 0; r < 2; r++) {
            qk_terms_product p = { { a, K, false }, { NULL, 0, false }, &rows[r], K, 3, qk_terms_of(rows[r].dtype) };
            unit->multiply(unit, same, N, false, &p, 0, M, 0, N);
            for (size_t j = 0; j < N; j++) { /* heads of 16 rows, turned row i of pairs is row 2 i of halves */
                size_t in = j % 16, from = pairs ? j / 16 * 16 + (in < 8 ? 2 * in : 2 * in - 15) : j;
                for (size_t i = 0; i < M; i++) assert_true(same[i * N + j] == c[i * N + from]);
            }
        }
    }
    free(a), free(b), free(c), free(same), free(bf16), free(f16);
}

/* Nothing non-finite is cut away, and the largest finite numbers stay finite in terms. */
static void extremes(void **state)
{
    enum { K = 40 };
    const qk_terms_unit *unit = *state;
    float a[3 * K] = { 0 }, b[K] = { 0 }, c[3];
    a[0] = 3.4e38f, a[K] = INFINITY, a[2 * K + 39] = NAN;
    for (int i = 0; i < K; i++) b[i] = 1;
    for (size_t n_terms = 1; n_terms <= 3; n_terms += 2) {
        qk_terms_product p = { { a, K, false }, { b, 1, false }, NULL, K, n_terms, n_terms };
        unit->multiply(unit, c, 1, false, &p, 0, 3, 0, 1);
        if (n_terms == 1) assert_true(isinf(c[0]));
        else assert_true(c[0] == 3.4e38f);
        assert_false(isfinite(c[1]));
        assert_true(isnan(c[2]));
    }
}

/* One term has the error of bf16, three that of f32: root mean square of errors over root mean square of entries. */
static void terms_are_as_exact_as_they_say(void **state)
{
    enum { M = 32, N = 64, K = 2048 };
    const qk_terms_unit *unit = *state;
    float *a = random_floats(M * K, 8, 1), *b = random_floats(N * K, 9, 1), *c = nan_floats(M * N);
    double size = 0, *exact = calloc(M * N, sizeof *exact);
    for (size_t i = 0; i < N * K; i++) b[i] = qk_bf16_to_f32(qk_f32_to_bf16(b[i]));
    for (size_t i = 0; i < M * N; i++) {
        for (size_t l = 0; l < K; l++) exact[i] += (double)a[i / N * K + l] * b[i % N * K + l];
        size += exact[i] * exact[i];
    }
    static const struct { size_t left, right; double least, most; } wanted[] = {
        { 1, 1, 5e-4, 5e-3 }, { 2, 1, 1e-6, 2e-5 }, { 3, 1, 0, 5e-7 }, { 3, 3, 0, 5e-7 },
    };
    for (size_t w = 0; w < sizeof wanted / sizeof *wanted; w++) {
        qk_terms_product p = { { a, K, false }, { b, K, true }, NULL, K, wanted[w].left, wanted[w].right };
        double square = 0;
        unit->multiply(unit, c, N, false, &p, 0, M, 0, N);
        for (size_t i = 0; i < M * N; i++) square += ((double)c[i] - exact[i]) * ((double)c[i] - exact[i]);
        double rms = sqrt(square / size);
        print_message("# %zu x %zu terms: %.2g\n", wanted[w].left, wanted[w].right, rms);
        assert_true(rms >= wanted[w].least && rms <= wanted[w].most);
    }
    free(a), free(b), free(c), free(exact);
}

#define N_TESTS 5

int main(void)
{
    static const struct { const char *name; CMUnitTestFunction run; } tests[N_TESTS] = {
        { "products of every layout", products_of_every_layout },
        { "entries do not see each other", entries_do_not_see_each_other },
        { "formats agree", formats_agree },
        { "extremes", extremes },
        { "terms are as exact as they say", terms_are_as_exact_as_they_say },
    };
    struct CMUnitTest all[QK_N_LEVELS * N_TESTS];
    char names[QK_N_LEVELS * N_TESTS][64];
    size_t n = 0;
    for (size_t l = 0; l < QK_N_LEVELS && qk_levels[l].present(); l++)
        for (size_t t = 0; t < N_TESTS && qk_levels[l].unit; t++, n++) {
            snprintf(names[n], sizeof names[n], "%s: %s", qk_levels[l].name, tests[t].name);
            all[n] = (struct CMUnitTest){ names[n], tests[t].run, NULL, NULL, (void *)(uintptr_t)qk_levels[l].unit };
        }
    if (n) return _cmocka_run_group_tests("terms", all, n, NULL, NULL);
    puts("1..0 # SKIP no unit for bf16 terms: ./dev emulate amx");
    return 0;
}
