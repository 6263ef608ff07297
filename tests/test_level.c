/* test_level.c - the tile of every level that this processor has, against sums in double; what a level is called. */
#include "floats.h"

#include "math/level.h"

enum { MOST_DEPTH = 300 };

static const size_t depths[] = { 0, 1, 2, 7, 8, 9, 31, 256, 300 };
#define N_DEPTHS (sizeof depths / sizeof *depths)

/* One tile: a by rows or by columns, written or added. */
static void check_tile(const qk_level *level, size_t depth, bool by_columns, bool add)
{
    size_t rows = level->rows, columns = level->columns, c_stride = columns + 3, a_stride = MOST_DEPTH + 1;
    size_t row_step = by_columns ? 1 : a_stride, depth_step = by_columns ? rows + 2 : 1;
    float *a = random_floats(QK_LEVEL_ROWS * a_stride + MOST_DEPTH * (rows + 2), 1, 1);
    float *b = random_floats(MOST_DEPTH * columns, 2, 1), *start = random_floats(rows * c_stride, 3, 1);
    float *c = add ? copy_of(start, rows * c_stride) : nan_floats(rows * c_stride);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = columns; j < c_stride; j++) c[i * c_stride + j] = 7; /* not the tile's */
    level->tile(c, c_stride, add, a, row_step, depth_step, b, depth);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < c_stride; j++) {
            double sum = add ? (double)start[i * c_stride + j] : 0, size = fabs(sum) + 1;
            for (size_t l = 0; l < depth && j < columns; l++) {
                double term = (double)a[i * row_step + l * depth_step] * b[l * columns + j];
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
            for (int how = 0; how < 4; how++) check_tile(&qk_levels[i], depths[d], how & 1, how & 2);
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
        assert_true(row->rows <= QK_LEVEL_ROWS && row->columns <= QK_LEVEL_COLUMNS && 192 % row->columns == 0);
        level = NULL;
        qk_status status = qk_level_find(&level, row->name, &failed);
        assert_int_equal(status, row->present() ? QK_OK : QK_E_UNSUPPORTED);
        assert_ptr_equal(level, row->present() ? row : NULL);
    }
    assert_int_equal(qk_level_find(&level, "sse9", &failed), QK_E_ARGUMENT);
    assert_non_null(strstr(failed.message, "level \"sse9\": expected one of plain"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(tiles_agree), cmocka_unit_test(matrices_are_turned),
                                        cmocka_unit_test(levels_are_found) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
