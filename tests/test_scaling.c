/* test_scaling.c - one model under every rotary scaling: logits at and beyond the trained length against transformers;
 * which method fits which checkpoint; the numbers of the papers. */
#include "golden.h"
#include "model/scaling.h"

#define TOLERANCE 2e-5

typedef struct golden_row { qk_method method; double factor; } golden_row;
static const golden_row rows[] = {
    { QK_METHOD_NONE, 4 },    { QK_METHOD_CROP, 4 }, { QK_METHOD_LINEAR, 4 }, { QK_METHOD_NTK, 4 },
    { QK_METHOD_NTK_PARTS, 4 }, { QK_METHOD_DYNAMIC, 2 }, { QK_METHOD_YARN, 4 }, { QK_METHOD_LLAMA3, 4 },
};

static qk_model *open_golden(const char *name)
{
    char path[200];
    qk_model *model = NULL;
    snprintf(path, sizeof path, "golden/%s", name);
    assert_ok(qk_model_open(&model, data_path(path), NULL, err));
    return model;
}

/* Largest deviation of the logits from those of the file, relative to the largest; infinite where the loss differs. */
static double compare(const qk_model *view, const char *file, bool reference)
{
    char path[200];
    qk_ckpt *golden = NULL;
    qk_pass_result *result = NULL;
    size_t n;
    snprintf(path, sizeof path, "golden/scaling/%s.safetensors", file);
    assert_ok(qk_ckpt_open_safetensors(&golden, data_path(path), err));
    int32_t *tokens = golden_tokens(&n, golden);
    golden_check check = { .golden = golden };
    qk_sequence sequence = { tokens, n, 1 };
    qk_probe probe = { .sites = QK_AT(QK_SITE_LOGITS), .see = golden_see, .user = &check };
    qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .probes = &probe, .n_probes = 1, .score = true,
                          .reference = reference };
    assert_ok(qk_pass_run(&result, view, &spec, err));
    assert_int_equal(check.n_values, n * (size_t)view->config.n_vocab);
    double loss = result->scores[0].nll / (double)result->scores[0].n_tokens, expected;
    memcpy(&expected, qk_ckpt_find(golden, "loss")->data, 8);
    if (fabs(loss - expected) > 1e-5 * fmax(1, expected)) check.worst = INFINITY;
    qk_pass_result_free(result);
    free(tokens);
    qk_ckpt_close(golden);
    return check.worst;
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    qk_model *model = open_golden("scaling");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int length = 32; length <= 128; length *= 2)
            for (int reference = 0; reference < 2; reference++) {
                qk_model view;
                char file[64];
                const char *name = rows[i].method == QK_METHOD_CROP ? "none" : qk_method_name(rows[i].method);
                snprintf(file, sizeof file, "%s-%d", name, length);
                assert_ok(qk_model_scaled(&view, model, rows[i].method, rows[i].factor, err));
                double worst = compare(&view, file, reference);
                print_message("# %-14s %-9s worst %.1e\n", file, reference ? "reference" : "fast", worst);
                if (!(worst <= TOLERANCE)) fail_msg("%s: %.3g", file, worst);
                if (rows[i].method == QK_METHOD_NONE || rows[i].method == QK_METHOD_CROP) continue;
                if (rows[i].method == QK_METHOD_DYNAMIC && length == 32) continue; /* the same up to the trained length */
                snprintf(file, sizeof file, "none-%d", length);
                assert_true(compare(model, file, reference) <= TOLERANCE); /* the view left its model alone */
                assert_true(compare(&view, file, reference) > 1e-2);       /* and the scalings are far apart */
            }
    qk_model_close(model);
}

static void longrope_keeps_its_short_factors_or_not(void **state)
{
    (void)state;
    qk_model view, *model = open_golden("longrope");
    assert_int_equal(qk_trained_context(&model->config), 16);
    assert_ok(qk_model_scaled(&view, model, QK_METHOD_NONE, 4, err));
    assert_true(compare(&view, "longrope-short-20", false) <= TOLERANCE);
    assert_ok(qk_model_scaled(&view, model, QK_METHOD_LONGROPE, 4, err));
    assert_true(compare(&view, "longrope-short-20", false) > 1e-3);
    assert_ptr_equal(view.config.rope_factors_long, model->config.rope_factors_long); /* test_golden has its logits */
    qk_model_close(model);
}

static void what_makes_no_sense_is_refused_by_name(void **state)
{
    (void)state;
    static const struct { const char *model; qk_method method; const char *says; } bad[] = {
        { "nope", QK_METHOD_YARN, "no rotation" },       { "nope", QK_METHOD_LONGROPE, "no rotation" },
        { "scaling", QK_METHOD_LONGROPE, "factors" },    { "llama3", QK_METHOD_YARN, "llama3" },
        { "yarn", QK_METHOD_NTK, "yarn" },               { "longrope", QK_METHOD_LINEAR, "longrope" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qk_model view, *model = open_golden(bad[i].model);
        qk_error error = { QK_OK, "" };
        assert_int_equal(qk_model_scaled(&view, model, bad[i].method, 4, &error), QK_E_UNSUPPORTED);
        if (!strstr(error.message, bad[i].says)) fail_msg("\"%s\" does not say %s", error.message, bad[i].says);
        assert_non_null(strstr(error.message, qk_method_name(bad[i].method)));
        qk_model_close(model);
    }
    qk_model view, *model = open_golden("scaling");
    qk_error error;
    assert_int_equal(qk_model_scaled(&view, model, QK_METHOD_LINEAR, 0, &error), QK_E_ARGUMENT);
    assert_int_equal(qk_model_scaled(&view, model, QK_METHOD_LINEAR, NAN, &error), QK_E_ARGUMENT);
    qk_model_close(model);
}

/* gamma[m]: by how much a method slows pair m of a model with these heads and this context. */
static void slowing(double *gamma, double *attention, int head_dim, int context, qk_method method, double s)
{
    float before[64], after[64];
    qk_model view, model = { .config = { .head_dim = head_dim, .n_context = context, .rope_kind = QK_ROPE_DEFAULT,
                                         .rope_theta = 1e4, .rope_factor = 1, .rope_attention_factor = 1,
                                         .rope_original_context = context } };
    assert_ok(qk_model_scaled(&view, &model, method, s, err));
    qk_rope_frequencies(before, attention, &model.config, 1);
    qk_rope_frequencies(after, attention, &view.config, (size_t)context * 4);
    for (int m = 0; m < head_dim / 2; m++) gamma[m] = (double)after[m] / (double)before[m];
}

/* truncate: false; theta 1e4: the ramp begins and ends between pairs. */
static void yarn_without_rounding(void)
{
    static const struct { int head_dim, context; double low, high; } ramp[] = { { 64, 2048, 8.06400, 20.10520 },
                                                                                { 128, 4096, 20.94448, 45.02688 } };
    for (size_t i = 0; i < 2; i++) {
        float after[64];
        double attention;
        int d = ramp[i].head_dim;
        qk_config config = { .head_dim = d, .n_context = ramp[i].context, .rope_kind = QK_ROPE_YARN, .rope_theta = 1e4,
                             .rope_factor = 4, .rope_original_context = ramp[i].context, .rope_beta_fast = 32,
                             .rope_beta_slow = 1, .rope_attention_factor = 1, .rope_yarn_truncate = false };
        qk_rope_frequencies(after, &attention, &config, 1);
        for (int m = 0; m < d / 2; m++) {
            double kept = fmin(fmax(1 - (m - ramp[i].low) / (ramp[i].high - ramp[i].low), 0), 1);
            assert_near((double)after[m] * pow(1e4, 2.0 * m / d), 0.25 + 0.75 * kept, 2e-5);
        }
    }
}

static void numbers_are_those_of_the_papers(void **state)
{
    (void)state;
    double gamma[64], attention;
    for (double s = 2; s <= 8; s *= 2) {
        slowing(gamma, &attention, 64, 2048, QK_METHOD_NTK, s); /* the fastest pair as before, the slowest 1/s */
        assert_near(gamma[0], 1, 0);
        assert_near(gamma[31], 1 / s, 1e-6);
        assert_near(gamma[7], pow(1 / s, 7.0 / 31), 1e-6);
        slowing(gamma, &attention, 64, 2048, QK_METHOD_LINEAR, s);
        for (int m = 0; m < 32; m++) assert_near(gamma[m], 1 / s, 1e-7);
    }
    static const struct { int head_dim, context, low, high; } ramp[] = { { 64, 2048, 8, 21 }, { 128, 4096, 20, 46 } };
    for (size_t i = 0; i < 2; i++) { /* low and high of YaRN's ramp: the last pair kept, the first divided by s */
        slowing(gamma, &attention, ramp[i].head_dim, ramp[i].context, QK_METHOD_NTK_PARTS, 4);
        assert_near(attention, 1, 0);
        for (int m = 0; m < ramp[i].head_dim / 2; m++) {
            double kept = fmin(fmax(1 - (double)(m - ramp[i].low) / (ramp[i].high - ramp[i].low), 0), 1);
            assert_near(gamma[m], 0.25 + 0.75 * kept, 1e-6);
        }
    }
    yarn_without_rounding();
    static const double mscale[] = { 1.06931, 1.13863, 1.20794 };
    for (int i = 0; i < 3; i++) {
        slowing(gamma, &attention, 64, 2048, QK_METHOD_YARN, 2 << i);
        assert_near(attention, mscale[i], 5e-6);
    }
    for (int m = 0; m < 32; m++) assert_true(gamma[m] <= 1 + 1e-6);
    slowing(gamma, &attention, 64, 2048, QK_METHOD_YARN, 1); /* not stretched: not touched */
    for (int m = 0; m < 32; m++) assert_near(gamma[m], 1, 0);
    assert_near(attention, 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(longrope_keeps_its_short_factors_or_not),
        cmocka_unit_test(what_makes_no_sense_is_refused_by_name),
        cmocka_unit_test(numbers_are_those_of_the_papers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
