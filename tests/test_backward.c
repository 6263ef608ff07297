/* test_backward.c - the fast derivatives against the plain ones on awkward sizes.
 *
 * What is written is filled with NaN before, what is added to with known values.  Tolerances are shares of the largest
 * expected entry.  ROUNDING: results of double sums rounded to float once, 2^-24.  SUMS: float sums of up to 513 terms,
 * errors of random sign: sqrt(513) 2^-24 is 1.4e-6. */
#include "floats.h"

#include "math/backward.h"

#define ROUNDING 2e-7
#define SUMS 3e-6

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
            qk_derivatives_reference()->product_input(qk_derivatives_reference(), plain, dy, w, m, n, k, add, 2);
            qk_derivatives_fast()->product_input(qk_derivatives_fast(), fast, dy, w, m, n, k, add, 2);
            assert_close(fast, plain, m * k, SUMS, "product_input");
            free(plain), free(fast);
        }
        float *plain = copy_of(w, n * k), *fast = copy_of(w, n * k), *bias = copy_of(w, n), *fast_bias = copy_of(w, n);
        qk_derivatives_reference()->product_weight(qk_derivatives_reference(), plain, bias, dy, x, m, n, k, 2);
        qk_derivatives_fast()->product_weight(qk_derivatives_fast(), fast, fast_bias, dy, x, m, n, k, 2);
        assert_close(fast, plain, n * k, SUMS, "product_weight");
        assert_close(fast_bias, bias, n, ROUNDING, "its bias"); /* double sums */
        float *unbiased = copy_of(w, n * k);
        qk_derivatives_fast()->product_weight(qk_derivatives_fast(), unbiased, NULL, dy, x, m, n, k, 2);
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
                const qk_derivatives *reference = qk_derivatives_reference();
                reference->rms_norm(in_place, gain_again, in_place, x, gain, m, n, 1e-5, false, partial, 1);
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
    qk_kernels_fast()->attend(qk_kernels_fast(), &f);
    for (size_t i = 0; i < rows; i++) qk_kernels_fast()->softmax(scores + i * stride, keys);
    qk_kernels_fast()->mix(qk_kernels_fast(), &f);
    for (int t = 0; t < 2; t++) {
        dq[t] = nan_floats(rows * wide), ds[t] = nan_floats(rows * stride);
        dk[t] = copy_of(v, keys * kv), dv[t] = copy_of(k, keys * kv); /* known values to add to */
        tables[t]->attention(tables[t], &(qk_attention_gradient){ f, dz, dq[t], dk[t], dv[t], ds[t] });
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

static void threads_change_no_bit_of(const qk_derivatives *fast)
{
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
            fast->product_input(fast, dx[t], dy, w, m, n, k, false, t + 1);
            fast->product_weight(fast, dw[t], db[t], dy, x, m, n, k, t + 1);
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

static void threads_change_no_bit(void **state)
{
    (void)state;
    for (int table = 0; table < 2; table++)
        threads_change_no_bit_of(table ? qk_derivatives_bf16() : qk_derivatives_fast());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
