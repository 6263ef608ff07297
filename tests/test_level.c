/* test_level.c - the tile of every level that this processor has, against sums in double; what a level is called. */
#include "floats.h"

#include "math/backward.h"
#include "math/terms.h"

enum { MOST_DEPTH = 300 };

static const size_t depths[] = { 0, 1, 2, 7, 8, 9, 31, 256, 300 };
#define N_DEPTHS (sizeof depths / sizeof *depths)

/* One tile of so many columns: a by rows or by columns, written or added. */
static void check_tile(const qk_level *level, size_t columns, size_t depth, bool by_columns, bool add)
{
    size_t rows = level->rows, b_stride = level->columns, c_stride = columns + 3, a_stride = MOST_DEPTH + 1;
    size_t row_step = by_columns ? 1 : a_stride, depth_step = by_columns ? rows + 2 : 1;
    float *a = random_floats(QK_LEVEL_ROWS * a_stride + MOST_DEPTH * (rows + 2), 1, 1);
    float *b = random_floats(MOST_DEPTH * b_stride, 2, 1), *start = random_floats(rows * c_stride, 3, 1);
    float *c = add ? copy_of(start, rows * c_stride) : nan_floats(rows * c_stride);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = columns; j < c_stride; j++) c[i * c_stride + j] = 7; /* not the tile's */
    level->tile(c, c_stride, add, a, row_step, depth_step, b, depth, columns);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < c_stride; j++) {
            double sum = add ? (double)start[i * c_stride + j] : 0, size = fabs(sum) + 1;
            for (size_t l = 0; l < depth && j < columns; l++) {
                double term = (double)a[i * row_step + l * depth_step] * b[l * b_stride + j];
                sum += term;
                size += fabs(term);
            }
            assert_near(c[i * c_stride + j], j < columns ? sum : 7, j < columns ? 1e-6 * size : 0);
        }
    free(a), free(b), free(start), free(c);
}

static void tiles_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < QK_N_LEVELS; i++)
        for (size_t d = 0; d < N_DEPTHS && qk_levels[i].present(); d++)
            for (size_t n = qk_levels[i].column_step; n <= qk_levels[i].columns; n += qk_levels[i].column_step)
                for (int how = 0; how < 4; how++) check_tile(&qk_levels[i], n, depths[d], how & 1, how & 2);
}

static void matrices_are_turned(void **state)
{
    (void)state;
    for (size_t i = 0; i < QK_N_LEVELS; i++) {
        const qk_level *level = &qk_levels[i];
        for (size_t d = 0; d < N_DEPTHS && level->present(); d++) {
            size_t n = level->columns, stride = MOST_DEPTH + 5;
            float *from = random_floats(n * stride, 4, 1), *to = nan_floats(MOST_DEPTH * n + n);
            level->turn(to, from, stride, depths[d]);
            for (size_t l = 0; l < depths[d]; l++)
                for (size_t j = 0; j < n; j++) assert_true(to[l * n + j] == from[j * stride + l]);
            for (size_t j = 0; j < n; j++) assert_true(isnan(to[depths[d] * n + j]));
            free(from), free(to);
        }
    }
}

static void levels_are_found(void **state)
{
    (void)state;
    const qk_level *level = NULL;
    qk_error failed;
    assert_true(qk_levels[0].present());
    assert_ok(qk_level_find(&level, NULL, err));
    assert_ptr_equal(level, qk_level_best());
    for (size_t i = 0; i < QK_N_LEVELS; i++) {
        const qk_level *row = &qk_levels[i];
        assert_true(row->rows <= QK_LEVEL_ROWS && 48 % row->rows == 0);
        assert_true(row->columns <= QK_LEVEL_COLUMNS && 288 % row->columns == 0);
        assert_true(row->columns % row->column_step == 0);
        level = NULL;
        qk_status status = qk_level_find(&level, row->name, &failed);
        assert_int_equal(status, row->present() ? QK_OK : QK_E_UNSUPPORTED);
        assert_ptr_equal(level, row->present() ? row : NULL);
    }
    assert_int_equal(qk_level_find(&level, "sse9", &failed), QK_E_ARGUMENT);
    assert_non_null(strstr(failed.message, "level \"sse9\": expected one of plain"));
}

static const size_t shapes[][3] = { { 1, 1, 1 }, { 5, 40, 9 }, { 48, 192, 256 }, { 61, 130, 300 }, { 100, 33, 520 } };
#define N_SHAPES (sizeof shapes / sizeof *shapes)

/* Whole products: where multiply-adds are fused, every level gives the same bits; in terms of bf16, the accuracy of f32. */
static void products_of_all_levels(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SHAPES; s++) {
        size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        float *x = random_floats(m * k, 5, 1), *w = random_floats(n * k, 6, 1), *bias = random_floats(n, 7, 1);
        float *exact = nan_floats(m * n), *fused = NULL, *y = nan_floats(m * n);
        qk_kernels_reference()->product(qk_kernels_reference(), exact, n, x, k, rows_of(w, n, k), bias, m, 1);
        for (size_t i = 0; i < QK_N_LEVELS && qk_levels[i].present(); i++) {
            const qk_kernels *plain = qk_kernels_at(&qk_levels[i], QK_OPERANDS_PLAIN);
            const qk_kernels *terms = qk_kernels_at(&qk_levels[i], QK_OPERANDS_IN_TERMS);
            plain->product(plain, y, n, x, k, rows_of(w, n, k), bias, m, 2);
            assert_close(y, exact, m * n, 1e-6, qk_levels[i].name);
            if (fused) assert_same(y, fused, m * n);
            else if (i > 0) fused = copy_of(y, m * n);
            float *as_plain = copy_of(y, m * n);
            terms->product(terms, y, n, x, k, rows_of(w, n, k), bias, m, 2);
            assert_close(y, exact, m * n, 1e-6, "in terms");
            if (!qk_levels[i].unit || !qk_levels[i].unit->f32_pays) assert_same(y, as_plain, m * n);
            free(as_plain);
        }
        free(x), free(w), free(bias), free(exact), free(fused), free(y);
    }
}

/* The same of gradients; x stands for what is added to, dx for what is written. */
static void gradients_of_all_levels(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SHAPES; s++) {
        size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        float *dy = random_floats(m * n, 8, 1), *x = random_floats(m * k, 9, 1), *w = random_floats(n * k, 10, 1);
        float *dx = nan_floats(m * k), *dw = copy_of(w, n * k), *y = nan_floats(m * k);
        const qk_derivatives *exact = qk_derivatives_reference();
        exact->product_input(exact, dx, dy, w, m, n, k, false, 1);
        exact->product_weight(exact, dw, NULL, dy, x, m, n, k, 1);
        for (size_t i = 0; i < QK_N_LEVELS && qk_levels[i].present(); i++)
            for (int o = 0; o < 2; o++) {
                const qk_derivatives *d = qk_derivatives_at(&qk_levels[i], o ? QK_OPERANDS_IN_TERMS : QK_OPERANDS_PLAIN);
                float *sum = copy_of(w, n * k);
                d->product_input(d, y, dy, w, m, n, k, false, 2);
                d->product_weight(d, sum, NULL, dy, x, m, n, k, 2);
                assert_close(y, dx, m * k, 1e-6, "product_input");
                assert_close(sum, dw, n * k, 1e-6, "product_weight");
                free(sum);
            }
        free(dy), free(x), free(w), free(dx), free(dw), free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(tiles_agree), cmocka_unit_test(matrices_are_turned),
                                        cmocka_unit_test(levels_are_found), cmocka_unit_test(products_of_all_levels),
                                        cmocka_unit_test(gradients_of_all_levels) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
