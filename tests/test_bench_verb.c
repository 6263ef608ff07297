/* test_bench_verb.c - `qkscope bench`: what it prints and refuses; the random weights that it makes. */
#include <jansson.h>
#include <math.h>

#include "math/level.h"
#include "model/model.h"
#include "program.h"
#include "study_files.h"

#define SMALL "--shape", "32,4,4,2,64,96", "-r", "2", "--prompt-tokens", "20", "-n", "3", "-t", "1", "-q"

static json_t *object_of(outcome o)
{
    json_t *object = json_loads(o.out, 0, NULL);
    if (o.code != 0 || !object) fail_msg("exit %d: %s%s", o.code, o.err, o.out);
    outcome_free(&o);
    return object;
}

static double number_of(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    if (!json_is_number(value)) fail_msg("%s: expected a number", key);
    return json_number_value(value);
}

/* One row a format and test; speeds are those of the times; work is what the sizes say. */
static void rows_say_what_was_done(void **state)
{
    (void)state;
    static const char *const names[] = { "prefill 20", "score 20", "norms 20",         "edits 20",
                                         "sweep 20",   "decode 3", "study 4 x 2 x 20", "train 2 x 20" };
    static const double tokens[] = { 20, 20, 20, 20, 80, 3, 160, 40 };
    json_t *o = object_of(run_program("bench", SMALL, "--weights", "f32,q8_0", "--tests",
                                      "prefill,score,norms,edits,sweep,decode,study,train", "-L", "2", "--seeds", "2", "-b",
                                      "2", "--json"));
    const json_t *rows = json_object_get(o, "rows"), *row;
    assert_int_equal(json_array_size(rows), 16);
    for (size_t i = 0; i < 16; i++) {
        row = json_array_get(rows, i);
        assert_string_equal(json_string_value(json_object_get(row, "name")), names[i % 8]);
        assert_string_equal(json_string_value(json_object_get(row, "weights")), i < 8 || i == 15 ? "F32" : "Q8_0");
        assert_true(number_of(row, "tokens") == tokens[i % 8]);
        const json_t *seconds = json_object_get(row, "seconds");
        assert_int_equal(json_array_size(seconds), 2);
        double a = json_number_value(json_array_get(seconds, 0)), b = json_number_value(json_array_get(seconds, 1));
        assert_true(a > 0 && b > 0);
        assert_float_equal(number_of(row, "tokens_per_second"), tokens[i % 8] * (1 / a + 1 / b) / 2, 1e-6 / a);
        assert_float_equal(number_of(row, "flops_per_second"), number_of(row, "flops") / (a < b ? a : b), 1e-6 / a);
        assert_null(json_object_get(row, "estimated_tokens_per_second"));
    }
    /* a layer: q, o 32 x 32, k, v 16 x 32, three of 64 x 32 = 9216 numbers; a pair of tokens: 4 heads * 8 * 4 */
    double layer = 2 * 20 * 9216 + 210 * 128, logits = 2 * 32 * 96;
    assert_true(number_of(json_array_get(rows, 1), "flops") ==
                4 * layer + 19 * logits - 2 * (1024 + 3 * 2048) - 128); /* no likelihood behind the last token */
    assert_true(number_of(json_array_get(rows, 1), "weight_bytes") == 4 * (4 * (9216 + 64) + 32 * 96));
    assert_null(json_object_get(o, "ceilings"));
    json_decref(o);
}

/* With fewer layers than the shape has, the rest is an estimate and is called one. */
static void estimates_are_called_so(void **state)
{
    (void)state;
    json_t *o = object_of(run_program("bench", SMALL, "--tests", "prefill", "--max-layers", "2", "--json"));
    const json_t *row = json_array_get(json_object_get(o, "rows"), 0);
    assert_true(number_of(row, "layers") == 2 && number_of(row, "layers_of") == 4);
    assert_true(number_of(row, "estimated_from_layers") == 1);
    assert_non_null(json_object_get(row, "estimated_tokens_per_second"));
    json_decref(o);
    outcome told = run_program("bench", "--shape", "32,4,4,2,64,96", "--tests", "prefill", "--max-layers", "2", "-r",
                               "1");
    assert_int_equal(told.code, 0);
    assert_non_null(strstr(told.err, "2 of 4 layers are measured"));
    assert_non_null(strstr(told.out, "2 of 4"));
    assert_non_null(strstr(told.out, "about "));
    outcome_free(&told);
    o = object_of(run_program("bench", SMALL, "--tests", "prefill", "--max-layers", "1", "--json"));
    row = json_array_get(json_object_get(o, "rows"), 0); /* one number of layers gives no line */
    assert_null(json_object_get(row, "estimated_tokens_per_second"));
    json_decref(o);
}

static void tables_and_csv(void **state)
{
    (void)state;
    outcome csv = run_program("bench", SMALL, "--tests", "prefill,decode", "--weights", "bf16,q4_0,nf4", "--csv");
    assert_int_equal(csv.code, 0);
    assert_int_equal(count_lines(csv.out), 7);
    assert_int_equal(strncmp(csv.out, "processor,kernels,precision,threads,model,weights,test,", 55), 0);
    assert_non_null(strstr(csv.out, "\"BF16\",\"decode\",\"decode 3\","));
    assert_non_null(strstr(csv.out, "\"NF4\",\"prefill\",\"prefill 20\","));
    assert_string_equal(csv.err, "");
    outcome_free(&csv);
    outcome ceilings = run_program("bench", "--tests", "ceilings", "-t", "1", "-q");
    double flops = 0, read = 0;
    const char *line = strstr(ceilings.out, "ceilings: ");
    assert_int_equal(ceilings.code, 0);
    assert_non_null(line);
    assert_int_equal(sscanf(line, "ceilings: %lf GFLOP/s", &flops), 1);
    line = strstr(line, " GB/s");
    assert_non_null(line);
    while (line[-1] != ' ') line--;
    assert_int_equal(sscanf(line, "%lf GB/s", &read), 1);
    assert_true(flops > 0.1 && flops < 1e5 && read > 0.1 && read < 1e4);
    outcome_free(&ceilings);
}

/* Where the processor has a unit for bf16, its ceiling is there, and what is rounded is held against it. */
static void ceilings_of_a_unit(void **state)
{
    (void)state;
    bool unit = qk_level_best()->unit != NULL;
    json_t *o = object_of(run_program("bench", "--tests", "ceilings", "-t", "1", "--json"));
    const json_t *ceilings = json_object_get(o, "ceilings");
    assert_int_equal(json_object_get(ceilings, "bf16_unit") != NULL, unit);
    if (unit) {
        assert_string_equal(json_string_value(json_object_get(ceilings, "bf16_unit")), qk_level_name(NULL));
        double bf16 = number_of(ceilings, "bf16_flops_per_second");
        assert_true(bf16 > 0 && bf16 != number_of(ceilings, "flops_per_second"));
        assert_true(number_of(ceilings, "usual_bf16_flops_per_second") > 0);
    }
    json_decref(o);
    static const char *const precisions[] = { "bf16", "f32" };
    for (int p = 0; p < 2; p++) {
        outcome told = run_program("bench", "--tests", "ceilings", "-t", "1", "--precision", precisions[p]);
        assert_int_equal(told.code, 0);
        assert_int_equal(strstr(told.out, "are of the bf16 ones") != NULL, unit && p == 0);
        assert_int_equal(strstr(told.out, "are of the f32 multiply-adds") != NULL, !unit || p == 1);
        outcome_free(&told);
    }
}

static void a_model_at_hand(void **state)
{
    (void)state;
    const char *demo = data_path("golden/demo");
    json_t *o = object_of(run_program("bench", demo, "--tests", "prefill,study", "--prompt-tokens", "16", "-L", "1",
                                      "--seeds", "1", "-r", "1", "--json", "-q"));
    assert_int_equal(json_array_size(json_object_get(o, "rows")), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(o, "rows"), 0), "model")),
                        "demo");
    json_decref(o);
    assert_rejected(run_program("bench", demo, "--shape", "15m", "-q"), 2, "--shape");
}

static void what_makes_no_sense_is_one_line(void **state)
{
    (void)state;
    assert_rejected(run_program("bench", "--shape", "8b", "-q"), 2, "--shape: expected world, 15m, 1.1b, 7b");
    assert_rejected(run_program("bench", "--shape", "32,4,5,5,64,96", "-q"), 2, "--shape");
    assert_rejected(run_program("bench", "--shape", "32,4,4,3,64,96", "-q"), 2, "--shape");
    assert_rejected(run_program("bench", "--shape", "48,2,4,4,64,96", "--weights", "q4_0", "-q", "--tests", "prefill"),
                    2, "a multiple of 32");
    assert_rejected(run_program("bench", "--shape", "70b", "--max-mem", "1G", "-q", "--tests", "prefill"), 4,
                    "--max-layers");
    assert_rejected(run_program("bench", "--shape", "256,2,4,4,704,2048", "--max-mem", "20M", "-q", "--tests",
                                "train"),
                    4, "training: expected at most");
    assert_rejected(run_program("bench", "--tests", "speed"), 2, "--tests");
}

/* ---- the weights */

static qk_model *synthetic(const qk_config *config, qk_dtype dtype, int n_threads)
{
    qk_model *model = NULL;
    assert_ok(qk_model_synthetic(&model, config, dtype, 7, n_threads, err));
    return model;
}

/* Mean 0 and variance 1 / columns in every format; the same bytes for any number of threads. */
static void random_weights_have_their_size(void **state)
{
    (void)state;
    const qk_dtype formats[] = { QK_DTYPE_F32, QK_DTYPE_F16, QK_DTYPE_BF16, QK_DTYPE_Q8_0, QK_DTYPE_Q4_0 };
    qk_model *demo = NULL;
    assert_ok(qk_model_open(&demo, data_path("golden/demo"), NULL, err));
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        qk_model *one = synthetic(&demo->config, formats[f], 1), *four = synthetic(&demo->config, formats[f], 4);
        const qk_weight *w = &one->layers[0].gate;
        size_t n = w->n_rows * w->n_cols;
        double sum = 0, squares = 0;
        float *x = NULL;
        assert_int_equal(w->tensor->dtype, formats[f]);
        assert_memory_equal(w->tensor->data, four->layers[0].gate.tensor->data, w->tensor->n_bytes);
        assert_ok(qk_new_floats(&x, n, "weights", err));
        qk_weight_rows(x, w, 0, w->n_rows);
        for (size_t i = 0; i < n; i++) sum += (double)x[i], squares += (double)x[i] * (double)x[i];
        double variance = squares / (double)n * (double)w->n_cols;
        assert_float_equal(sum / (double)n, 0, 5 / sqrt((double)n * (double)w->n_cols));
        if (fabs(variance - 1) > 0.2) fail_msg("%s: variance %g", qk_dtype_describe(formats[f])->name, variance);
        assert_true(memcmp(w->tensor->data, one->layers[0].up.tensor->data, w->tensor->n_bytes) != 0);
        free(x);
        qk_model_close(one);
        qk_model_close(four);
    }
    qk_model_close(demo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_say_what_was_done),          cmocka_unit_test(estimates_are_called_so),
        cmocka_unit_test(tables_and_csv),                  cmocka_unit_test(a_model_at_hand),
        cmocka_unit_test(what_makes_no_sense_is_one_line), cmocka_unit_test(random_weights_have_their_size),
        cmocka_unit_test(ceilings_of_a_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
