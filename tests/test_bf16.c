/* test_bf16.c - products in bf16: exact products of what was rounded, summed in float.  Errors of sums of up to 513
 * terms that are exact themselves stay below 1e-6 of the largest entry. */
#include "floats.h"

#include "math/backward.h"
#include "math/dtype.h"

static const size_t shapes[][3] = { { 1, 1, 1 },    { 1, 300, 7 },   { 7, 5, 3 },     { 47, 33, 257 },  { 48, 48, 48 },
                                    { 49, 31, 130 }, { 513, 257, 65 }, { 300, 65, 513 }, { 96, 513, 300 } };
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static float *rounded(const float *x, size_t n)
{
    float *y = copy_of(x, n);
    for (size_t i = 0; i < n; i++) y[i] = qk_bf16_to_f32(qk_f32_to_bf16(x[i]));
    return y;
}

static void bf16_is_the_product_of_rounded_operands(void **state)
{
    const qk_kernels *ops = qk_kernels_at(*state, QK_OPERANDS_ROUNDED);
    const qk_derivatives *back = qk_derivatives_at(*state, QK_OPERANDS_ROUNDED);
    for (size_t s = 0; s < N_SHAPES; s++) {
        size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        float *x = random_floats(m * k, 41, 1), *w = random_floats(n * k, 42, 1), *dy = random_floats(m * n, 43, 1);
        float *x16 = rounded(x, m * k), *w16 = rounded(w, n * k), *dy16 = rounded(dy, m * n);
        float *plain = nan_floats(m * n), *bf16 = nan_floats(m * n), *bias = random_floats(n, 44, 1);
        qk_kernels_reference()->product(qk_kernels_reference(), plain, n, x16, k, rows_of(w16, n, k), bias, m, 2);
        ops->product(ops, bf16, n, x, k, rows_of(w, n, k), bias, m, 2);
        assert_close(bf16, plain, m * n, 1e-6, "product");
        for (int add = 0; add < 2; add++) {
            float *dx = add ? copy_of(x, m * k) : nan_floats(m * k), *dx16 = copy_of(dx, m * k);
            qk_derivatives_reference()->product_input(qk_derivatives_reference(), dx, dy16, w16, m, n, k, add, 2);
            back->product_input(back, dx16, dy, w, m, n, k, add, 2);
            assert_close(dx16, dx, m * k, 1e-6, "product_input");
            free(dx), free(dx16);
        }
        float *dw = copy_of(w, n * k), *dw16 = copy_of(w, n * k), *db = copy_of(bias, n), *other = copy_of(bias, n);
        qk_derivatives_reference()->product_weight(qk_derivatives_reference(), dw, other, dy16, x16, m, n, k, 2);
        qk_derivatives_reference()->product_weight(qk_derivatives_reference(), plain, db, dy, x, m, n, 1, 2); /* db of dy as it is */
        back->product_weight(back, dw16, bias, dy, x, m, n, k, 2);
        assert_close(dw16, dw, n * k, 1e-6, "product_weight");
        assert_close(bias, db, n, 2e-7, "its bias");
        free(x), free(w), free(dy), free(x16), free(w16), free(dy16), free(plain), free(bf16), free(bias);
        free(dw), free(dw16), free(db), free(other);
    }
}

/* Nor do more rows or threads; and nothing non-finite is rounded away. */
static void bf16_rows_do_not_see_each_other(void **state)
{
    enum { ROWS16 = 5 * QK_TILE_ROWS, COLUMNS16 = 300, DEPTH16 = 200 };
    float *x = random_floats(ROWS16 * DEPTH16, 45, 1), *w = random_floats(COLUMNS16 * DEPTH16, 46, 1);
    float *all = nan_floats(ROWS16 * COLUMNS16), *few = nan_floats(ROWS16 * COLUMNS16);
    const qk_kernels *ops = qk_kernels_at(*state, QK_OPERANDS_ROUNDED);
    ops->product(ops, all, COLUMNS16, x, DEPTH16, rows_of(w, COLUMNS16, DEPTH16), NULL, ROWS16, 3);
    ops->product(ops, few, COLUMNS16, x, DEPTH16, rows_of(w, COLUMNS16, DEPTH16), NULL, QK_TILE_ROWS, 1);
    assert_same(few, all, QK_TILE_ROWS * COLUMNS16);
    ops->product(ops, few, COLUMNS16, x, DEPTH16, rows_of(w, COLUMNS16, DEPTH16), NULL, ROWS16, 1);
    assert_same(few, all, ROWS16 * COLUMNS16);

    union {
        uint32_t u;
        float f;
    } noisy = { .u = 0x7FFFFFFF }; /* a NaN that rounding as of a number would make -0 */
    x[0] = noisy.f;
    x[DEPTH16] = 3.4e38f; /* beyond the largest bf16 */
    ops->product(ops, few, COLUMNS16, x, DEPTH16, rows_of(w, COLUMNS16, DEPTH16), NULL, ROWS16, 2);
    for (int j = 0; j < COLUMNS16; j++) assert_true(isnan(few[j]) && isinf(few[COLUMNS16 + j]));
    assert_same(few + 2 * COLUMNS16, all + 2 * COLUMNS16, (ROWS16 - 2) * COLUMNS16);
    free(x), free(w), free(all), free(few);
}

int main(void)
{
    struct CMUnitTest tests[2 * QK_N_LEVELS];
    char names[2 * QK_N_LEVELS][80];
    size_t n = 0;
    for (size_t l = 0; l < QK_N_LEVELS && qk_levels[l].present(); l++)
        for (int second = 0; second < 2; second++, n++) {
            snprintf(names[n], sizeof names[n], "%s: %s", qk_levels[l].name,
                     second ? "bf16 rows do not see each other" : "bf16 is the product of rounded operands");
            tests[n] = (struct CMUnitTest){ names[n], second ? bf16_rows_do_not_see_each_other
                                                             : bf16_is_the_product_of_rounded_operands,
                                            NULL, NULL, (void *)(uintptr_t)&qk_levels[l] };
        }
    return _cmocka_run_group_tests("bf16", tests, n, NULL, NULL);
}
