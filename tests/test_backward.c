/* test_backward.c - the derivatives: reference against central differences, fast against reference on awkward sizes.
 *
 * What is written is filled with NaN before, what is added to with known values.  Tolerances are shares of the largest
 * expected entry.  ROUNDING: results of double sums rounded to float once, 2^-24.  SUMS: float sums of up to 513 terms,
 * errors of random sign: sqrt(513) 2^-24 is 1.4e-6. */
#include "testing.h"

#include <math.h>

#include "math/backward.h"

#define ROUNDING 2e-7
#define SUMS 3e-6

static float *random_floats(size_t n, uint64_t seed, double scale)
{
    qk_rng rng;
    float *x = NULL;
    qk_rng_seed(&rng, seed);
    assert_ok(qk_new_floats(&x, n, "test", err));
    for (size_t i = 0; i < n; i++) x[i] = (float)(scale * qk_rng_normal(&rng));
    return x;
}

static float *copy_of(const float *x, size_t n)
{
    float *copy = NULL;
    assert_ok(qk_new_floats(&copy, n, "test", err));
    memcpy(copy, x, n * sizeof *x);
    return copy;
}

static float *nan_floats(size_t n)
{
    float *x = NULL;
    assert_ok(qk_new_floats(&x, n, "test", err));
    for (size_t i = 0; i < n; i++) x[i] = NAN;
    return x;
}

static void assert_close(const float *a, const float *b, size_t n, double tolerance, const char *what)
{
    double top = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        top = fmax(top, fabs((double)b[i]));
        error = fmax(error, isnan(a[i]) || isnan(b[i]) ? INFINITY : fabs((double)a[i] - (double)b[i]));
    }
    if (!(error <= tolerance * top)) fail_msg("%s: off by %g of %g (n = %zu)", what, error, top, n);
}

static void assert_same(const float *a, const float *b, size_t n) { assert_memory_equal(a, b, n * sizeof *a); }

/* ---- the reference against central differences */

/* A loss of parameters x[], in double. */
typedef double loss_function(const double *x, const void *user);

/* Every entry of `gradient` against the slope of `loss` there.  Steps of 1e-4 leave errors of about 1e-8. */
static void assert_slopes(const float *gradient, loss_function *loss, const double *x, size_t n, const void *user,
                          double tolerance, const char *what)
{
    double moved[256], top = 0, error = 0, step = 1e-4;
    assert_true(n <= sizeof moved / sizeof *moved);
    memcpy(moved, x, n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        moved[i] = x[i] + step;
        double above = loss(moved, user);
        moved[i] = x[i] - step;
        double slope = (above - loss(moved, user)) / (2 * step);
        moved[i] = x[i];
        top = fmax(top, fabs(slope));
        error = fmax(error, isnan(gradient[i]) ? INFINITY : fabs(gradient[i] - slope));
    }
    if (!(error <= tolerance * top)) fail_msg("%s: off by %g of %g", what, error, top);
}

static void widen(double *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = from[i];
}

enum { M = 5, N = 7, K = 6 };

/* x[M][K], w[N][K], bias[N] -> sum of dy y. */
static double product_loss(const double *x, const void *dy)
{
    const double *w = x + M * K, *bias = w + N * K;
    double loss = 0;
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double y = bias[j];
            for (int l = 0; l < K; l++) y += x[i * K + l] * w[j * K + l];
            loss += ((const float *)dy)[i * N + j] * y;
        }
    return loss;
}

static void products_have_the_slopes(void **state)
{
    (void)state;
    enum { ALL = M * K + N * K + N };
    float *x = random_floats(ALL, 1, 1), *dy = random_floats(M * N, 2, 1), gradient[ALL] = { 0 };
    double wide[ALL];
    widen(wide, x, ALL);
    for (int i = 0; i < M * K; i++) gradient[i] = NAN;
    qk_derivatives_reference()->product_input(gradient, dy, x + M * K, M, N, K, false, 1);
    qk_derivatives_reference()->product_weight(gradient + M * K, gradient + M * K + N * K, dy, x, M, N, K, 1);
    assert_slopes(gradient, product_loss, wide, ALL, dy, ROUNDING, "product");
    free(x), free(dy);
}

/* x[M][K], gain[K]. */
static double norm_loss(const double *x, const void *dy)
{
    const double *gain = x + M * K;
    double loss = 0;
    for (int i = 0; i < M; i++) {
        double square = 0;
        for (int j = 0; j < K; j++) square += x[i * K + j] * x[i * K + j];
        for (int j = 0; j < K; j++)
            loss += ((const float *)dy)[i * K + j] * gain[j] * x[i * K + j] / sqrt(square / K + 1e-2);
    }
    return loss;
}

static void the_norm_has_the_slopes(void **state)
{
    (void)state;
    enum { ALL = M * K + K };
    float *x = random_floats(ALL, 3, 1), *dy = random_floats(M * K, 4, 1), gradient[ALL] = { 0 };
    double wide[ALL], partial[QK_PARTIAL_SUMS * K];
    widen(wide, x, ALL);
    for (int i = 0; i < M * K; i++) gradient[i] = NAN;
    qk_derivatives_reference()->rms_norm(gradient, gradient + M * K, dy, x, x + M * K, M, K, 1e-2, false, partial, 1);
    assert_slopes(gradient, norm_loss, wide, ALL, dy, ROUNDING, "rms_norm");
    free(x), free(dy);
}

/* gate[M], up[M]. */
static double silu_loss(const double *x, const void *dy)
{
    double loss = 0;
    for (int i = 0; i < M; i++) loss += ((const float *)dy)[i] * x[i] / (1 + exp(-x[i])) * x[M + i];
    return loss;
}

static double nll_loss(const double *x, const void *target)
{
    double sum = 0;
    for (int i = 0; i < N; i++) sum += exp(x[i]);
    return 0.25 * (log(sum) - x[*(const int *)target]);
}

static double rotate_loss(const double *x, const void *dy_cos_sin)
{
    const float *dy = dy_cos_sin, *cos = dy + K, *sin = cos + K / 2;
    double loss = 0;
    for (int m = 0; m < K / 2; m++)
        loss += dy[m] * (x[m] * cos[m] - x[m + K / 2] * sin[m]) +
                dy[m + K / 2] * (x[m + K / 2] * cos[m] + x[m] * sin[m]);
    return loss;
}

static void rows_have_the_slopes(void **state)
{
    (void)state;
    float *x = random_floats(2 * M, 5, 2), *dy = random_floats(2 * K, 6, 1), gradient[2 * M];
    double wide[2 * M];
    widen(wide, x, 2 * M);
    qk_derivatives_reference()->silu_mul(gradient, gradient + M, dy, x, x + M, M);
    assert_slopes(gradient, silu_loss, wide, 2 * M, dy, ROUNDING, "silu_mul");

    memcpy(gradient, dy, K * sizeof *dy);
    qk_derivatives_reference()->rotate(gradient, dy + K, dy + K + K / 2, K);
    assert_slopes(gradient, rotate_loss, wide, K, dy, ROUNDING, "rotate");

    for (int target = 0; target < N; target++) {
        memcpy(gradient, x, N * sizeof *x);
        double nll = qk_derivatives_reference()->nll(gradient, N, (size_t)target, 0.25f);
        assert_near(0.25 * nll, nll_loss(wide, &target), 1e-12);
        assert_near(nll, qk_kernels_reference()->nll(x, N, (size_t)target), 1e-15);
        assert_slopes(gradient, nll_loss, wide, N, &target, ROUNDING, "nll");
    }
    free(x), free(dy);
}

/* Queries at positions ROW0.. of one head. */
enum { ROW0 = 3, ROWS = 4, KEYS = ROW0 + ROWS, DIM = 6 };

typedef struct attention_case {
    const float *dz;        /* [ROWS][DIM] */
    size_t window;
} attention_case;

/* q[ROWS][DIM], k[KEYS][DIM], v[KEYS][DIM]. */
static double attention_loss(const double *x, const void *user)
{
    const attention_case *c = user;
    const double *k = x + ROWS * DIM, *v = k + KEYS * DIM;
    double loss = 0;
    for (int i = 0; i < ROWS; i++) {
        double e[KEYS] = { 0 }, sum = 0;
        int last = ROW0 + i, first = c->window && last >= (int)c->window ? last - (int)c->window + 1 : 0;
        for (int j = first; j <= last; j++) {
            for (int d = 0; d < DIM; d++) e[j] += x[i * DIM + d] * k[j * DIM + d];
            sum += e[j] = exp(0.5 * e[j]);
        }
        for (int j = first; j <= last; j++)
            for (int d = 0; d < DIM; d++) loss += c->dz[i * DIM + d] * e[j] / sum * v[j * DIM + d];
    }
    return loss;
}

static void attention_has_the_slopes(void **state)
{
    (void)state;
    enum { ALL = ROWS * DIM + 2 * KEYS * DIM };
    float *x = random_floats(ALL, 7, 1), *dz = random_floats(ROWS * DIM, 8, 1);
    double wide[ALL];
    widen(wide, x, ALL);
    for (size_t window = 0; window < 5; window++) {
        float gradient[ALL] = { 0 }, scores[ROWS * KEYS], z[ROWS * DIM], *dk = gradient + ROWS * DIM;
        attention_case c = { dz, window };
        qk_attention_gradient a = { .forward = { .q = x, .k = x + ROWS * DIM, .v = x + ROWS * DIM + KEYS * DIM, .z = z,
                                                 .q_stride = DIM, .kv_stride = DIM, .z_stride = DIM, .row0 = ROW0,
                                                 .n_rows = ROWS, .head_dim = DIM, .window = window, .scale = 0.5f,
                                                 .scores = scores, .scores_stride = KEYS },
                                    .dz = dz, .dq = gradient, .dk = dk, .dv = dk + KEYS * DIM,
                                    .dscores = nan_floats(ROWS * KEYS) };
        for (int i = 0; i < ROWS * DIM; i++) gradient[i] = NAN;
        qk_kernels_reference()->attend(&a.forward);
        for (int i = 0; i < ROWS; i++) qk_kernels_reference()->softmax(scores + i * KEYS, KEYS);
        qk_kernels_reference()->mix(&a.forward);
        qk_derivatives_reference()->attention(&a);
        /* The softmax is given in float: twice the rounding, and a sum of KEYS of them. */
        assert_slopes(gradient, attention_loss, wide, ALL, &c, 5 * ROUNDING, "attention");
        free(a.dscores);
    }
    free(x), free(dz);
}

/* ---- fast against reference */

static const size_t shapes[][3] = { { 1, 1, 1 },    { 1, 300, 7 },   { 7, 5, 3 },     { 47, 33, 257 },  { 48, 48, 48 },
                                    { 49, 31, 130 }, { 513, 257, 65 }, { 300, 65, 513 }, { 96, 513, 300 } };
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static void products_agree(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SHAPES; s++) {
        size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        float *x = random_floats(m * k, 11, 1), *w = random_floats(n * k, 12, 1), *dy = random_floats(m * n, 13, 1);
        for (int add = 0; add < 2; add++) {
            float *plain = add ? copy_of(x, m * k) : nan_floats(m * k), *fast = copy_of(plain, m * k);
            qk_derivatives_reference()->product_input(plain, dy, w, m, n, k, add, 2);
            qk_derivatives_fast()->product_input(fast, dy, w, m, n, k, add, 2);
            assert_close(fast, plain, m * k, SUMS, "product_input");
            free(plain), free(fast);
        }
        float *plain = copy_of(w, n * k), *fast = copy_of(w, n * k), *bias = copy_of(w, n), *fast_bias = copy_of(w, n);
        qk_derivatives_reference()->product_weight(plain, bias, dy, x, m, n, k, 2);
        qk_derivatives_fast()->product_weight(fast, fast_bias, dy, x, m, n, k, 2);
        assert_close(fast, plain, n * k, SUMS, "product_weight");
        assert_close(fast_bias, bias, n, ROUNDING, "its bias"); /* double sums */
        float *unbiased = copy_of(w, n * k);
        qk_derivatives_fast()->product_weight(unbiased, NULL, dy, x, m, n, k, 2);
        assert_same(unbiased, fast, n * k);
        free(x), free(w), free(dy), free(plain), free(fast), free(bias), free(fast_bias), free(unbiased);
    }
}

static void norms_agree(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SHAPES; s++)
        for (int add = 0; add < 2; add++) {
            size_t m = shapes[s][0], n = shapes[s][1];
            double *partial = calloc(QK_PARTIAL_SUMS * n, sizeof *partial);
            float *x = random_floats(m * n, 14, 3), *dy = random_floats(m * n, 15, 1), *gain = random_floats(n, 16, 1);
            float *plain = add ? copy_of(x, m * n) : nan_floats(m * n), *fast = copy_of(plain, m * n);
            float *plain_gain = copy_of(gain, n), *fast_gain = copy_of(gain, n);
            assert_non_null(partial);
            qk_derivatives_reference()->rms_norm(plain, plain_gain, dy, x, gain, m, n, 1e-5, add, partial, 2);
            qk_derivatives_fast()->rms_norm(fast, fast_gain, dy, x, gain, m, n, 1e-5, add, partial, 2);
            /* Five float operations an entry; rows of one entry cancel to nothing but eps. */
            if (n > 1) assert_close(fast, plain, m * n, 5 * ROUNDING, "rms_norm");
            else for (size_t i = 0; i < m; i++) assert_near(fast[i], plain[i], 5 * ROUNDING * fabs(gain[0] * dy[i]));
            assert_close(fast_gain, plain_gain, n, 5 * ROUNDING, "its gain");
            if (!add) { /* dx may be dy */
                float *in_place = copy_of(dy, m * n), *gain_again = copy_of(gain, n);
                qk_derivatives_fast()->rms_norm(in_place, gain_again, in_place, x, gain, m, n, 1e-5, false, partial, 1);
                assert_same(in_place, fast, m * n);
                assert_same(gain_again, fast_gain, n);
                memcpy(in_place, dy, m * n * sizeof *dy);
                qk_derivatives_reference()->rms_norm(in_place, gain_again, in_place, x, gain, m, n, 1e-5, false, partial,
                                                      1);
                assert_same(in_place, plain, m * n);
                free(in_place), free(gain_again);
            }
            free(partial), free(x), free(dy), free(gain), free(plain), free(fast), free(plain_gain), free(fast_gain);
        }
}

static const size_t sizes[] = { 1, 2, 7, 31, 48, 65, 513, 4097 };
#define N_SIZES (sizeof sizes / sizeof *sizes)

static void silu_agrees(void **state)
{
    (void)state;
    const qk_derivatives *tables[2] = { qk_derivatives_reference(), qk_derivatives_fast() };
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        float *gate = random_floats(n, 17, 4), *up = random_floats(n, 18, 1), *dout = random_floats(n, 19, 1);
        float *dgate[2] = { nan_floats(n), nan_floats(n) }, *dup[2] = { nan_floats(n), nan_floats(n) };
        for (int t = 0; t < 2; t++) {
            tables[t]->silu_mul(dgate[t], dup[t], dout, gate, up, n);
            float *over_gate = copy_of(dout, n), *over_up = copy_of(dout, n), *other = nan_floats(n);
            tables[t]->silu_mul(over_gate, other, over_gate, gate, up, n);
            assert_same(over_gate, dgate[t], n);
            assert_same(other, dup[t], n);
            tables[t]->silu_mul(other, over_up, over_up, gate, up, n);
            assert_same(over_up, dup[t], n);
            assert_same(other, dgate[t], n);
            free(over_gate), free(over_up), free(other);
        }
        /* 1 - s is rounded at 2^-25 and multiplied by a gate of up to 16. */
        for (size_t i = 0; i < n; i++)
            assert_near(dgate[1][i], dgate[0][i], 1e-6 * fabs((double)dout[i] * up[i]));
        assert_close(dup[1], dup[0], n, 5 * ROUNDING, "dup");
        free(gate), free(up), free(dout);
        for (int t = 0; t < 2; t++) free(dgate[t]), free(dup[t]);
    }
    float gate[3] = { -200, 200, NAN }, one[3] = { 1, 1, 1 }, dgate[3], dup[3];
    qk_derivatives_fast()->silu_mul(dgate, dup, one, gate, one, 3);
    assert_true(dgate[0] == 0 && dup[0] == 0 && dgate[1] == 1 && dup[1] == 200);
    assert_true(isnan(dgate[2]) && isnan(dup[2]));
}

static void likelihoods_agree(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s], target = n / 3;
        float *plain = random_floats(n, 20, 3), *fast = copy_of(plain, n), *same = copy_of(plain, n);
        double a = qk_derivatives_reference()->nll(plain, n, target, 0.125f);
        double b = qk_derivatives_fast()->nll(fast, n, target, 0.125f), sum = 0;
        assert_near(b, a, 1e-6);
        assert_true(b == qk_kernels_fast()->nll(same, n, target)); /* training and scoring say the same */
        /* Entries of softmax, to 2 ulp each; a target's own loses what it cancels against 1. */
        for (size_t i = 0; i < n; i++) {
            assert_near(fast[i], plain[i], 0.125 * 1e-6 * (i == target ? 1 : fabs(8 * (double)plain[i]) + 1e-6));
            sum += fast[i];
        }
        assert_near(sum, 0, 1e-7 * sqrt((double)n));
        free(plain), free(fast), free(same);
    }
    float far[3] = { -3e4f, 3e4f, 0 }, bad[9] = { 1, NAN, 2, 3, 4, 5, 6, 7, 8 };
    assert_near(qk_derivatives_fast()->nll(far, 3, 0, 1), 6e4, 0);
    assert_true(far[0] == -1 && far[1] == 1 && far[2] == 0);
    assert_true(isnan(qk_derivatives_fast()->nll(bad, 9, 0, 1)));
    for (int i = 0; i < 9; i++) assert_true(isnan(bad[i])); /* NaN does not vanish */
}

static void rotations_agree(void **state)
{
    (void)state;
    for (size_t half = 1; half < 70; half += half < 9 ? 1 : 20) {
        float *cosine = random_floats(half, 21, 1), *sine = random_floats(half, 22, 1);
        float *plain = random_floats(2 * half, 23, 1), *fast = copy_of(plain, 2 * half);
        qk_derivatives_reference()->rotate(plain, cosine, sine, 2 * half);
        qk_derivatives_fast()->rotate(fast, cosine, sine, 2 * half);
        assert_close(fast, plain, 2 * half, 2 * ROUNDING, "rotate");
        free(cosine), free(sine), free(plain), free(fast);
    }
}

/* q, dq, z, dz [rows][d + 3]; k, v, dk, dv [keys][d + 5]; scores [rows][keys + 2]. */
static void compare_attention(size_t row0, size_t rows, size_t d, size_t window)
{
    const qk_derivatives *tables[2] = { qk_derivatives_reference(), qk_derivatives_fast() };
    size_t keys = row0 + rows, wide = d + 3, kv = d + 5, stride = keys + 2;
    float *q = random_floats(rows * wide, 24, 1), *k = random_floats(keys * kv, 25, 1),
          *v = random_floats(keys * kv, 26, 1), *dz = random_floats(rows * wide, 27, 1);
    float *z = nan_floats(rows * wide), *scores = nan_floats(rows * stride), *dq[2], *dk[2], *dv[2], *ds[2];
    qk_attention f = { .q = q, .k = k, .v = v, .z = z, .q_stride = wide, .kv_stride = kv, .z_stride = wide,
                       .row0 = row0, .n_rows = rows, .head_dim = d, .window = window, .scale = 0.25f,
                       .scores = scores, .scores_stride = stride };
    qk_kernels_fast()->attend(&f);
    for (size_t i = 0; i < rows; i++) qk_kernels_fast()->softmax(scores + i * stride, keys);
    qk_kernels_fast()->mix(&f);
    for (int t = 0; t < 2; t++) {
        dq[t] = nan_floats(rows * wide), ds[t] = nan_floats(rows * stride);
        dk[t] = copy_of(v, keys * kv), dv[t] = copy_of(k, keys * kv); /* known values to add to */
        tables[t]->attention(&(qk_attention_gradient){ f, dz, dq[t], dk[t], dv[t], ds[t] });
    }
    for (size_t i = 0; i < rows; i++) {
        assert_close(dq[1] + i * wide, dq[0] + i * wide, d, 2 * SUMS, "dq"); /* sums of sums */
        for (size_t j = 0; j < stride; j++) {
            size_t position = row0 + i;
            float x = ds[1][i * stride + j];
            if (j >= keys) assert_true(isnan(x));
            else if (j > position || (window && j + window <= position)) assert_true(x == 0);
        }
        for (size_t j = d; j < wide; j++) assert_true(isnan(dq[1][i * wide + j])); /* nothing beyond the head */
    }
    assert_close(dk[1], dk[0], keys * kv, SUMS, "dk");
    assert_close(dv[1], dv[0], keys * kv, SUMS, "dv");
    for (size_t j = 0; j < keys; j++) assert_same(dk[1] + j * kv + d, v + j * kv + d, 5);
    for (int t = 0; t < 2; t++) free(dq[t]), free(dk[t]), free(dv[t]), free(ds[t]);
    free(q), free(k), free(v), free(dz), free(z), free(scores);
}

static void attention_agrees(void **state)
{
    (void)state;
    const size_t cases[][4] = { { 0, 2, 8, 0 },     { 0, 64, 64, 0 }, { 64, 37, 32, 0 },  { 128, 64, 16, 50 },
                                { 448, 64, 64, 0 }, { 0, 47, 7, 3 },  { 100, 3, 6, 200 }, { 512, 1, 128, 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        compare_attention(cases[i][0], cases[i][1], cases[i][2], cases[i][3]);
}

/* ---- the same bits for any number of threads */

static void threads_change_no_bit(void **state)
{
    (void)state;
    const qk_derivatives *fast = qk_derivatives_fast();
    const size_t large[][3] = { { 513, 257, 300 }, { 1030, 96, 600 }, { 49, 700, 130 } };
    for (size_t s = 0; s < sizeof large / sizeof *large; s++) {
        size_t m = large[s][0], n = large[s][1], k = large[s][2];
        float *x = random_floats(m * k, 31, 1), *w = random_floats(n * k, 32, 1), *dy = random_floats(m * n, 33, 1);
        float *dx[3], *dw[3], *db[3], *dnorm[3], *dgain[3];
        double *partial = calloc(QK_PARTIAL_SUMS * k, sizeof *partial);
        assert_non_null(partial);
        for (int t = 0; t < 3; t++) {
            dx[t] = nan_floats(m * k), dw[t] = copy_of(w, n * k), db[t] = copy_of(w, n);
            dnorm[t] = nan_floats(m * k), dgain[t] = copy_of(w, k);
            fast->product_input(dx[t], dy, w, m, n, k, false, t + 1);
            fast->product_weight(dw[t], db[t], dy, x, m, n, k, t + 1);
            fast->rms_norm(dnorm[t], dgain[t], dx[t], x, w, m, k, 1e-5, false, partial, t + 1);
        }
        for (int t = 1; t < 3; t++) {
            assert_same(dx[t], dx[0], m * k);
            assert_same(dw[t], dw[0], n * k);
            assert_same(db[t], db[0], n);
            assert_same(dnorm[t], dnorm[0], m * k);
            assert_same(dgain[t], dgain[0], k);
        }
        for (int t = 0; t < 3; t++) free(dx[t]), free(dw[t]), free(db[t]), free(dnorm[t]), free(dgain[t]);
        free(x), free(w), free(dy), free(partial);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_have_the_slopes),
        cmocka_unit_test(the_norm_has_the_slopes),
        cmocka_unit_test(rows_have_the_slopes),
        cmocka_unit_test(attention_has_the_slopes),
        cmocka_unit_test(products_agree),
        cmocka_unit_test(norms_agree),
        cmocka_unit_test(silu_agrees),
        cmocka_unit_test(likelihoods_agree),
        cmocka_unit_test(rotations_agree),
        cmocka_unit_test(attention_agrees),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
