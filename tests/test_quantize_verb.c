/* test_quantize_verb.c - --quantize of the real program: one checkpoint in several ways side by side, what results,
 * manifest, report, info and plans say of it, what is refused; the peak of memory, and threads. */
#include <jansson.h>

#include "printed_json.h"
#include "study_files.h"

/* A golden llama2.c file whose tokenizer of single characters lies beside it, and a model of 77M parameters. */
static int make_models(void **state)
{
    qk_map map;
    char command[20000];
    if (make_work_folder(state)) return -1;
    assert_ok(qk_map_open(&map, data_path("golden/mha-llama2c/v1.bin"), err));
    assert_ok(qk_write_file(work_path("demo.bin"), map.data, map.size, err));
    qk_map_close(&map);
    write_tokenizer(work_path("tokenizer.bin"));
    snprintf(command, sizeof command, "'%s' '--tokenizer=%s' '%s' 1024 6 8 8 2816 4096 128", getenv("QK_MAKE_MODEL"),
             data_path("tokenizers/llama2.json"), work_path("wide"));
    return system(command);
}

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    if (!text) fail_msg("%s: expected a text", key);
    return text;
}

static void expect_in_file(const char *path, const char *words)
{
    qk_map map;
    assert_ok(qk_map_open(&map, path, err));
    if (!memmem(map.data, map.size, words, strlen(words))) fail_msg("%s says nothing of \"%s\"", path, words);
    qk_map_close(&map);
}

/* ---- side by side */

#define STUDY work_path("demo.bin"), "--limit", "3", "-c", "64", "--lambda", "2", "--json", "-q"

static void test_side_by_side(void **state)
{
    (void)state;
    static const char *const names[] = { "demo", "demo@nf4", "demo@q8_0" }, *const ways[] = { "none", "nf4", "q8_0" };
    const char *run = work_path("sides");
    json_t *results = json_of(run_program("massive", STUDY, "--quantize", "none,nf4,q8_0", "-o", run));
    json_t *manifest = json_load_file(inside(run, "manifest.json"), 0, NULL), *both[2];
    assert_non_null(manifest);
    assert_int_equal(json_array_size(json_object_get(results, "models")), 3);
    for (size_t i = 0; i < 3; i++) {
        both[0] = json_array_get(json_object_get(results, "models"), i);
        both[1] = json_array_get(json_object_get(manifest, "models"), i);
        assert_string_equal(text_of(both[0], "name"), names[i]);
        for (int k = 0; k < 2; k++) assert_string_equal(text_of(both[k], "quantize"), ways[i]);
        assert_string_equal(text_of(both[0], "sha256"), text_of(both[1], "sha256"));
        assert_string_equal(text_of(both[0], "sha256"),
                            text_of(json_array_get(json_object_get(results, "models"), 0), "sha256"));
    }
    both[0] = json_array_get(json_object_get(results, "models"), 1);
    assert_true(number(both[0], "quantized_matrices") == 14 && number(both[0], "kept_matrices") == 0);
    both[0] = json_array_get(json_object_get(results, "models"), 2);
    assert_true(number(both[0], "quantized_matrices") == 12 && number(both[0], "kept_matrices") == 2);
    expect_in_file(inside(run, "report.html"), "<b>demo@nf4</b> has 14 matrices of its layers in nf4");
    expect_in_file(inside(run, "report.html"), "It is the checkpoint of demo: where the two differ");
    expect_in_file(inside(run, "report.html"), "2 stay as they are");
    json_decref(results);
    json_decref(manifest);
}

/* A model among others is the model alone: in each way, whatever the number of threads. */
static void test_alone_or_beside(void **state)
{
    (void)state;
    json_t *sides = json_of(run_program("massive", STUDY, "--quantize", "nf4,none", "--no-run", "-t", "2"));
    json_t *alone = json_of(run_program("massive", STUDY, "--quantize", "nf4", "--no-run", "-t", "1"));
    json_t *row = find_row(sides, "summary", "model", "#1", "tensor", "q", NULL), *none, *same;
    none = find_row(sides, "summary", "model", "#0", "tensor", "q", NULL);
    same = find_row(alone, "summary", "model", "#0", "tensor", "q", NULL);
    assert_string_equal(text_of(json_array_get(json_object_get(alone, "models"), 0), "name"), "demo@nf4");
    assert_true(number(row, "max_over_mean") == number(same, "max_over_mean"));
    assert_true(number(row, "max_over_mean") != number(none, "max_over_mean"));
    json_decref(sides);
    json_decref(alone);
}

/* A run goes on only with the weights that it began with. */
static void test_resume(void **state)
{
    (void)state;
    const char *run = work_path("resumed");
    json_t *first = json_of(run_program("massive", STUDY, "--quantize", "nf4", "-o", run));
    json_t *again = json_of(run_program("massive", STUDY, "--quantize", "nf4", "-o", run, "--resume", "-t", "1"));
    assert_true(json_equal(first, again));
    json_decref(first);
    json_decref(again);
    assert_rejected(run_program("massive", STUDY, "--quantize", "q8_0", "-o", run, "--resume"), 2, "quantize");
    assert_rejected(run_program("massive", STUDY, "-o", run, "--resume"), 2, "quantize");
}

/* ---- what is said before any work, and what is refused */

static void test_info_and_plan(void **state)
{
    (void)state;
    json_t *info = json_of(run_program("info", work_path("wide"), "--quantize", "nf4", "--json"));
    json_t *file = json_of(run_program("info", work_path("wide"), "--json"));
    assert_string_equal(text_of(info, "quantize"), "nf4");
    assert_string_equal(text_of(file, "quantize"), "none");
    json_t *nf4 = find_row(info, "dtypes", "dtype", "NF4", NULL);
    assert_true(number(nf4, "tensors") == 42);
    assert_true(number(nf4, "bytes") == 6 * (4 * 1024 * 1024 + 3 * 1024 * 2816) / 64 * 36);
    assert_true(number(file, "bytes") - number(info, "bytes") == number(nf4, "bytes") / 36 * (128 - 36));
    json_t *plan = json_of(run_program("ppl", work_path("wide"), "--quantize", "nf4", "--json", "--dry-run", "-q"));
    json_t *row = json_array_get(json_object_get(plan, "plan"), 0);
    assert_string_equal(text_of(row, "name"), "wide@nf4");
    assert_true(number(row, "weight_bytes") == number(info, "bytes"));
    assert_true(number(row, "total_bytes") > number(nf4, "bytes"));
    json_decref(info);
    json_decref(file);
    json_decref(plan);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_rejected(run_program("ppl", work_path("demo.bin"), "--quantize", "int4"), 2,
                    "--quantize: expected one of none, nf4, q8_0, found 'int4'");
    assert_rejected(run_program("ppl", work_path("demo.bin"), "--quantize", "nf4,"), 2, "--quantize");
    assert_rejected(run_program("ppl", work_path("demo.bin"), "--quantize", "none,nf4"), 2,
                    "--quantize: expected one way for ppl, which runs one model, found 2");
    assert_rejected(run_program("recalibrate", work_path("demo.bin"), "--quantize", "nf4"), 2, "not an option of");
    assert_rejected(run_program("ppl", data_path("golden/gqa-gguf/q8_0.gguf"), "--quantize", "nf4", "-q"), 1,
                    "found Q8_0, which is quantised already");
    assert_rejected(run_program("ppl", work_path("wide"), "--quantize", "nf4", "--max-mem", "20M", "-q"), 4,
                    "needs at least 42 MiB for weights in nf4, 20 MiB are allowed");
}

/* ---- memory and threads */

/* The file has 155 MiB, the quantised weights 42: the file is never in memory as a whole, and the digits are the same
 * for any number of threads. */
static void test_peak_and_threads(void **state)
{
    (void)state;
    const char *texts = work_path("texts.txt"), *const threads[] = { "1", "3" };
    struct stat file;
    outcome o[2];
    assert_int_equal(stat(inside(work_path("wide"), "model.safetensors"), &file), 0);
    assert_ok(qk_write_file(texts, "the stones came up and the river ran low", 40, err));
    for (int i = 0; i < 2; i++) {
        o[i] = run_program("ppl", work_path("wide"), "--texts", texts, "--quantize", "nf4", "--per-token", "-q", "-t",
                           threads[i], "--max-mem", "200M");
        if (o[i].code != 0) fail_msg("exit %d: %s", o[i].code, o[i].err);
        print_message("# %s thread(s): peak %zu MiB, the file has %zu\n", threads[i], o[i].peak_bytes >> 20,
                      (size_t)file.st_size >> 20);
        assert_true(o[i].peak_bytes < (size_t)file.st_size * 3 / 4);
        assert_non_null(strstr(o[i].out, "weights in nf4"));
    }
    assert_string_equal(o[0].out, o[1].out);
    for (int i = 0; i < 2; i++) outcome_free(&o[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_side_by_side),  cmocka_unit_test(test_alone_or_beside), cmocka_unit_test(test_resume),
        cmocka_unit_test(test_info_and_plan), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_peak_and_threads),
    };
    return cmocka_run_group_tests(tests, make_models, remove_work_folder);
}
