/* test_temperature.c - the attention temperature of least loss, against brute force. */
#include <math.h>

#include "study/temperature.h"
#include "testing.h"
#include "train/train.h"

static qk_model *demo;
static qk_documents documents;
static qk_sequence *sequences;
static size_t n_sequences;
static int32_t *joined;
static const qk_compute compute = { .n_threads = 2 };

static int open_all(void **state)
{
    qk_error error;
    (void)state;
    if (qk_model_open(&demo, data_path("golden/demo"), NULL, &error)) return -1;
    if (qk_documents_builtin(&documents, &error)) return -1;
    return qk_documents_tokenize(&documents, demo->tokenizer, 0, false, &error) ? -1 : 0;
}

static int close_all(void **state)
{
    (void)state;
    free(sequences);
    free(joined);
    qk_documents_free(&documents);
    qk_model_close(demo);
    return 0;
}

static double loss_within(const qk_model *model, double beta, size_t context)
{
    qk_sequence cut[64];
    assert_true(n_sequences <= 64);
    for (size_t i = 0; i < n_sequences; i++) {
        cut[i] = sequences[i];
        if (cut[i].n_tokens > context) cut[i].n_tokens = context;
    }
    qk_model view = qk_model_at_scale(model, beta / sqrt(model->config.head_dim));
    qk_pass_result *result;
    qk_pass_spec spec = { .sequences = cut, .n_sequences = n_sequences, .score = true, .n_threads = 2 };
    double nll = 0;
    size_t n = 0;
    assert_ok(qk_pass_run(&result, &view, &spec, err));
    for (size_t i = 0; i < n_sequences; i++) {
        nll += result->scores[i].nll;
        n += result->scores[i].n_tokens;
    }
    qk_pass_result_free(result);
    return nll / (double)n;
}

static double loss(const qk_model *model, double beta) { return loss_within(model, beta, SIZE_MAX); }

static void test_sequences(void **state)
{
    size_t total = 0, n_cut;
    qk_sequence *cut;
    int32_t *text;
    qk_error error = { QK_OK, "" };
    (void)state;
    assert_int_equal(demo->config.n_context, 128);
    assert_ok(
        qk_temperature_sequences(&sequences, &n_sequences, &joined, &documents, &demo->config, 256, 600, false, err));
    assert_null(joined);
    for (size_t i = 0; i < n_sequences; i++) {
        assert_in_range(sequences[i].n_tokens, 129, 256);
        total += sequences[i].n_tokens;
    }
    assert_in_range(total, 600, 600 + 256);
    assert_ok(qk_temperature_sequences(&cut, &n_cut, &text, &documents, &demo->config, 400, 0, true, err));
    total = 0;
    for (size_t i = 0; i < documents.n; i++) total += documents.items[i].n_tokens;
    assert_int_equal(n_cut, total / 400);
    for (size_t i = 0; i < n_cut; i++) assert_int_equal(cut[i].n_tokens, 400);
    assert_int_equal(memcmp(text, documents.items[0].tokens, documents.items[0].n_tokens * sizeof *text), 0);
    free(cut);
    free(text);
    assert_int_equal(qk_temperature_sequences(&cut, &n_cut, &text, &documents, &demo->config, 128, 0, false, &error),
                     QK_E_ARGUMENT);
    assert_non_null(strstr(error.message, "more than the trained context of 128"));
    assert_int_equal(qk_temperature_sequences(&cut, &n_cut, &text, &documents, &demo->config, 1 << 20, 0, true, &error),
                     QK_E_ARGUMENT);
    qk_config longer = demo->config;
    longer.n_context = 1 << 16;
    assert_int_equal(qk_temperature_sequences(&cut, &n_cut, &text, &documents, &longer, 1 << 17, 0, false, &error),
                     QK_E_ARGUMENT);
    assert_non_null(strstr(error.message, "the longest has"));
}

static void test_brute_force(void **state)
{
    qk_temperature fit;
    double least = INFINITY, best = 0;
    (void)state;
    assert_ok(qk_temperature_fit(&fit, demo, sequences, n_sequences, &compute, err));
    for (int i = 0; i <= 25; i++) {
        double beta = 0.5 + 0.1 * i, nll = loss(demo, beta);
        if (nll < least) least = nll, best = beta;
    }
    assert_true(best > 0.5 && best < 3 && !fit.at_edge); /* else this test shows nothing */
    assert_near(fit.beta, best, 0.1);
    assert_true(fit.nll <= least);
    assert_near(fit.nll, loss(demo, fit.beta), 1e-12);
    assert_near(fit.nll_at_one, loss(demo, 1), 1e-12);
    assert_near(fit.trained_nll, loss_within(demo, fit.beta, 128), 1e-12);
    assert_near(fit.trained_nll_at_one, loss_within(demo, 1, 128), 1e-12);
    assert_true(fit.nll < fit.nll_at_one || fit.beta == 1);
    assert_true(fit.stretch == 2 && fit.context == 256);
    for (size_t i = 1; i < fit.n_curve; i++) assert_true(fit.curve[i - 1].beta < fit.curve[i].beta);
    json_t *row = qk_temperature_json(&fit);
    assert_near(json_number_value(json_object_get(row, "paper_scratch")), 1.2856, 1e-4); /* the paper's table: 1.286 */
    assert_near(json_number_value(json_object_get(row, "paper_pretrained")), 1.0714, 1e-4);
    assert_int_equal(json_array_size(json_object_get(row, "curve")), fit.n_curve);
    json_decref(row);
    assert_near(demo->config.softmax_scale, 0.25, 1e-15); /* untouched */
}

/* Queries made shorter by a factor want a temperature larger by it. */
static void test_scaled_queries(void **state)
{
    qk_temperature before, after;
    qk_parameters *p;
    (void)state;
    assert_ok(qk_temperature_fit(&before, demo, sequences, n_sequences, &compute, err));
    assert_ok(qk_parameters_new(&p, &demo->config, demo, err));
    assert_ok(qk_parameters_copy(p, demo, err));
    for (size_t i = 0; i < p->n_items; i++)
        if (strstr(p->items[i].shape.name, "q_proj"))
            for (size_t j = 0; j < p->items[i].n; j++) p->values[p->items[i].offset + j] /= 1.5f;
    assert_ok(qk_temperature_fit(&after, p->model, sequences, n_sequences, &compute, err));
    assert_near(after.beta, 1.5 * before.beta, 0.02);
    assert_near(after.nll, before.nll, 1e-5);
    qk_parameters_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_brute_force),
        cmocka_unit_test(test_scaled_queries),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
