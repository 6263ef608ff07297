/* test_slopes.c - the plain derivatives against central differences in double. */
#include "floats.h"

#include "math/backward.h"

/* Results of double sums, rounded to float once: 2^-24 and a little. */
#define ROUNDING 2e-7

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
    qk_derivatives_reference()->product_input(qk_derivatives_reference(), gradient, dy, x + M * K, M, N, K, false, 1);
    qk_derivatives_reference()->product_weight(qk_derivatives_reference(), gradient + M * K, gradient + M * K + N * K, dy, x, M, N, K, 1);
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
        qk_kernels_reference()->attend(qk_kernels_reference(), &a.forward);
        for (int i = 0; i < ROWS; i++) qk_kernels_reference()->softmax(scores + i * KEYS, KEYS);
        qk_kernels_reference()->mix(qk_kernels_reference(), &a.forward);
        qk_derivatives_reference()->attention(qk_derivatives_reference(), &a);
        /* The softmax is given in float: twice the rounding, and a sum of KEYS of them. */
        assert_slopes(gradient, attention_loss, wide, ALL, &c, 5 * ROUNDING, "attention");
        free(a.dscores);
    }
    free(x), free(dz);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_have_the_slopes),
        cmocka_unit_test(the_norm_has_the_slopes),
        cmocka_unit_test(rows_have_the_slopes),
        cmocka_unit_test(attention_has_the_slopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
