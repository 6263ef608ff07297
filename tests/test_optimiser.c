/* test_optimiser.c - AdamW against PyTorch, schedules, and a gradient that is none. */
#include <math.h>

#include "counted_documents.h"

/* Parameters without a model: a matrix and a vector, as the oracle has them, or larger. */
typedef struct bare {
    qk_parameters p;
    qk_parameter items[2];
} bare;

static void open_bare(bare *b, size_t rows, size_t columns, size_t length, const char *name)
{
    size_t n = rows * columns, offset = (n + 15) / 16 * 16, total = offset + (length + 15) / 16 * 16;
    *b = (bare){ .items[0] = { .shape = { .n_rows = rows, .n_cols = columns, .n_dims = 2 }, .n = n } };
    b->items[1] = (qk_parameter){ .shape = { .n_rows = length, .n_cols = 1, .n_dims = 1 }, offset, length };
    snprintf(b->items[0].shape.name, sizeof b->items[0].shape.name, "%s", name);
    snprintf(b->items[1].shape.name, sizeof b->items[1].shape.name, "gain");
    b->p = (qk_parameters){ .items = b->items, .n_items = 2, .n_values = total };
    assert_ok(qk_new_floats(&b->p.values, total, "values", err));
    assert_ok(qk_new_floats(&b->p.gradient, total, "values", err));
    assert_ok(qk_new_floats(&b->p.first_moment, total, "values", err));
    assert_ok(qk_new_floats(&b->p.second_moment, total, "values", err));
}

static void close_bare(bare *b)
{
    free(b->p.values);
    free(b->p.gradient);
    free(b->p.first_moment);
    free(b->p.second_moment);
}

/* The i-th value of both weights, padding left out. */
static float *place(const bare *b, float *array, size_t i)
{
    return i < b->items[0].n ? array + i : array + b->items[1].offset + (i - b->items[0].n);
}

static void test_adamw_is_that_of_torch(void **state)
{
    enum { N = ORACLE_ROWS * ORACLE_COLUMNS + ORACLE_LENGTH };
    (void)state;
    bare b;
    open_bare(&b, ORACLE_ROWS, ORACLE_COLUMNS, ORACLE_LENGTH, "matrix");
    for (int i = 0; i < N; i++) *place(&b, b.p.values, (size_t)i) = (float)(i * 37 % 23 - 11) / 16;
    for (int step = 0; step < ORACLE_STEPS; step++) {
        double norm = 0;
        for (int i = 0; i < N; i++)
            *place(&b, b.p.gradient, (size_t)i) = (float)((i * 29 + step * 13) % 31 - 15) / (step % 3 ? 4 : 64);
        assert_ok(qk_optimise(&norm, &b.p, &adamw, (uint64_t)step, 2, err));
        assert_near(norm, oracle_norms[step], 2e-6 * norm);
        for (int i = 0; i < N; i++)
            assert_near(*place(&b, b.p.values, (size_t)i), oracle_values[step * N + i], 2e-7);
        for (size_t i = 0; i < b.p.n_values; i++) assert_true(b.p.gradient[i] == 0);
    }
    for (size_t i = ORACLE_ROWS * ORACLE_COLUMNS; i < b.items[1].offset; i++) assert_true(b.p.values[i] == 0);
    close_bare(&b);
}

/* Enough values for many chunks. */
static void fill_large(bare *b, const char *name)
{
    qk_rng rng;
    open_bare(b, 700, 501, 33, name);
    qk_rng_seed(&rng, 7);
    for (size_t i = 0; i < b->items[0].n + b->items[1].n; i++) {
        *place(b, b->p.values, i) = (float)qk_rng_normal(&rng);
        *place(b, b->p.gradient, i) = (float)qk_rng_normal(&rng);
    }
}

static void test_threads_change_no_bit_of_an_update(void **state)
{
    (void)state;
    bare one, other;
    double norm[2];
    for (int n_threads = 2; n_threads <= 5; n_threads++) {
        fill_large(&one, "matrix");
        fill_large(&other, "matrix");
        assert_ok(qk_optimise(&norm[0], &one.p, &adamw, 3, 1, err));
        assert_ok(qk_optimise(&norm[1], &other.p, &adamw, 3, n_threads, err));
        assert_memory_equal(&norm[0], &norm[1], sizeof norm[0]);
        assert_memory_equal(one.p.values, other.p.values, one.p.n_values * sizeof(float));
        assert_memory_equal(one.p.second_moment, other.p.second_moment, one.p.n_values * sizeof(float));
        close_bare(&one);
        close_bare(&other);
    }
}

/* With a gradient of zero an update is the decay alone. */
static void test_what_decays(void **state)
{
    static const struct { const char *name; bool decay_qk, decays; } cases[] = {
        { "model.layers.0.self_attn.q_proj.weight", true, true },
        { "model.layers.0.self_attn.q_proj.weight", false, false },
        { "model.layers.0.self_attn.k_proj.weight", false, false },
        { "model.layers.0.self_attn.v_proj.weight", false, true },
        { "model.layers.0.mlp.gate_proj.weight", false, true },
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        bare b;
        double norm;
        qk_optimiser o = adamw;
        o.decay_qk = cases[c].decay_qk;
        o.schedule = QK_SCHEDULE_CONSTANT;
        o.n_warmup = 0;
        open_bare(&b, 2, 3, 4, cases[c].name);
        for (size_t i = 0; i < b.p.n_values; i++) b.p.values[i] = 1;
        assert_ok(qk_optimise(&norm, &b.p, &o, 0, 1, err));
        assert_near(norm, 0, 0);
        assert_near(b.p.values[0], cases[c].decays ? 1 - 0.01 * 0.1 : 1, 1e-7);
        assert_near(b.p.values[b.items[1].offset], 1, 0);
        close_bare(&b);
    }
}

static void test_a_bad_gradient_is_named_and_changes_nothing(void **state)
{
    (void)state;
    bare b, before;
    double norm = -1;
    fill_large(&b, "matrix");
    fill_large(&before, "matrix");
    b.p.gradient[501 * 300 + 17] = NAN;
    *place(&b, b.p.gradient, b.items[0].n + 5) = INFINITY;
    assert_refused(qk_optimise(&norm, &b.p, &adamw, 4, 2, err), QK_E_NUMERIC, "step 5: gradient of matrix[300][17]");
    assert_memory_equal(b.p.values, before.p.values, b.p.n_values * sizeof(float));
    assert_memory_equal(b.p.second_moment, before.p.second_moment, b.p.n_values * sizeof(float));
    assert_true(norm == -1);
    close_bare(&b);
    close_bare(&before);
}

static void test_schedules(void **state)
{
    (void)state;
    qk_optimiser o = { .learning_rate = 2, .n_steps = 100, .n_warmup = 10, .n_decay = 20, .least = 0.25 };
    static const qk_schedule all[] = { QK_SCHEDULE_COSINE, QK_SCHEDULE_CONSTANT, QK_SCHEDULE_WSD };
    for (size_t s = 0; s < 3; s++) { /* the rise is the same */
        o.schedule = all[s];
        assert_near(qk_learning_rate(&o, 0), 0.2, 1e-15);
        assert_near(qk_learning_rate(&o, 9), 2, 1e-15);
        assert_near(qk_learning_rate(&o, 10), 2, 1e-15);
    }
    o.schedule = QK_SCHEDULE_CONSTANT;
    assert_near(qk_learning_rate(&o, 99), 2, 0);
    o.schedule = QK_SCHEDULE_COSINE;
    assert_near(qk_learning_rate(&o, 55), 0.5 + 1.5 / 2, 1e-12); /* half of the way from 10 to 100 */
    assert_near(qk_learning_rate(&o, 100), 0.5, 1e-12);
    o.schedule = QK_SCHEDULE_WSD;
    assert_near(qk_learning_rate(&o, 79), 2, 0);
    assert_near(qk_learning_rate(&o, 80), 2, 1e-12);
    assert_near(qk_learning_rate(&o, 90), 0.5 + 1.5 / 2, 1e-12);
    assert_true(qk_learning_rate(&o, 99) > 0.5 && qk_learning_rate(&o, 99) < 0.52);
    o.n_warmup = 95; /* warm-up and fall overlap: the fall waits */
    assert_near(qk_learning_rate(&o, 94), 2, 1e-15);
    assert_true(qk_learning_rate(&o, 99) < 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_is_that_of_torch),
        cmocka_unit_test(test_threads_change_no_bit_of_an_update),
        cmocka_unit_test(test_what_decays),
        cmocka_unit_test(test_a_bad_gradient_is_named_and_changes_nothing),
        cmocka_unit_test(test_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
