/* test_generate_verb.c - `qkscope generate`: what it prints, what it reads, what it refuses. */
#include <jansson.h>

#include "program.h"
#include "study_files.h"

static const char *demo(void) { return data_path("golden/demo"); }

static void write_text(const char *path, const char *text) { assert_ok(qk_write_file(path, text, strlen(text), err)); }

/* Lines of stdout as JSON objects, an array. */
static json_t *lines_of(outcome o, size_t n)
{
    json_t *rows = json_array();
    if (o.code != 0) fail_msg("exit %d: %s", o.code, o.err);
    assert_int_equal(count_lines(o.out), n);
    for (char *line = strtok(o.out, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *row = json_loads(line, 0, NULL);
        if (!row) fail_msg("expected an object, found: %s", line);
        json_array_append_new(rows, row);
    }
    outcome_free(&o);
    return rows;
}

static const char *text_of(const json_t *rows, size_t index, const char *key)
{
    return json_string_value(json_object_get(json_array_get(rows, index), key));
}

static void streamed_text_is_the_text_of_the_object(void **state)
{
    (void)state;
    outcome plain = run_program("generate", demo(), "-p", "She was", "-n", "20", "-q");
    json_t *rows = lines_of(run_program("generate", demo(), "-p", "She was", "-n", "20", "--json", "-q"), 1);
    const json_t *row = json_array_get(rows, 0);
    char expected[4096], sha256[65];
    snprintf(expected, sizeof expected, "%s\n", text_of(rows, 0, "text"));
    assert_int_equal(plain.code, 0);
    assert_string_equal(plain.out, expected);
    assert_string_equal(plain.err, "");
    assert_int_equal(json_array_size(json_object_get(row, "tokens")), 20);
    assert_string_equal(text_of(rows, 0, "end"), "length");
    assert_string_equal(text_of(rows, 0, "condition"), "baseline");
    qk_sha256_of(sha256, "She was", 7);
    assert_string_equal(text_of(rows, 0, "prompt_sha256"), sha256);
    outcome_free(&plain);
    json_decref(rows);
}

/* --prompt, a file, lines of a .jsonl: each by itself as together with the others. */
static void prompts_come_from_everywhere(void **state)
{
    (void)state;
    const char *text = work_path("prompt.txt"), *many = work_path("prompts.jsonl");
    write_text(text, "She was\n");
    write_text(many, "{\"prompt\": \"The old\"}\n\n{\"prompt\": \"She was\"}\n");
    json_t *rows = lines_of(run_program("generate", demo(), "-p", "She was", "--prompt-file", text, "--prompt-file",
                                        many, "-p", "", "-n", "8", "--json", "-q"),
                            5);
    json_t *alone = lines_of(run_program("generate", demo(), "-p", "", "-n", "8", "--json", "-q"), 1);
    const size_t same[] = { 0, 2, 4 }; /* both --prompt come first */
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(text_of(rows, same[i], "text"), text_of(rows, 0, "text"));
        assert_string_equal(text_of(rows, same[i], "prompt_sha256"), text_of(rows, 0, "prompt_sha256"));
    }
    assert_string_equal(text_of(rows, 1, "text"), text_of(alone, 0, "text"));
    assert_string_not_equal(text_of(rows, 3, "text"), text_of(rows, 0, "text"));
    json_decref(rows);
    json_decref(alone);
}

static void conditions_stand_side_by_side(void **state)
{
    (void)state;
    const char *const conditions[] = { "baseline", "massive", "random-42", "random-43", "edited" };
    json_t *rows = lines_of(run_program("generate", demo(), "-p", "She was", "-p", "The old", "-n", "12", "--json",
                                        "-q", "--conditions", "baseline,massive,random", "--seeds", "2", "--lambda",
                                        "3", "--edit", "zero@rot_k*", "--edit", "scale=0.5@v1:0-3"),
                            10);
    for (size_t i = 0; i < 10; i++) assert_string_equal(text_of(rows, i, "condition"), conditions[i % 5]);
    assert_string_not_equal(text_of(rows, 0, "text"), text_of(rows, 4, "text"));
    json_t *jin = lines_of(run_program("generate", demo(), "-p", "She was", "-n", "12", "--json", "-q", "--conditions",
                                       "massive", "--preset", "jin"),
                           1);
    assert_string_equal(text_of(jin, 0, "phase"), "prefill");
    outcome o = run_program("generate", demo(), "-p", "She was", "-n", "3", "-q", "--conditions", "baseline,massive",
                            "--lambda", "3");
    assert_non_null(strstr(o.out, "== prompt 0, baseline (length)\n"));
    assert_non_null(strstr(o.out, "== prompt 0, massive (length)\n"));
    outcome_free(&o);
    json_decref(rows);
    json_decref(jin);
}

/* The same seed, any number of threads, cached or not; another seed. */
static void a_seed_says_the_same(void **state)
{
    (void)state;
    const char *const words[][4] = { { "-t", "1", NULL },
                                     { "-t", "4", NULL },
                                     { "--recompute", NULL },
                                     { "--max-mem", "80M", NULL },
                                     { "--seed", "8", NULL } };
    char first[4096] = "";
    for (size_t i = 0; i < 5; i++) {
        const char *argv[24] = { "generate",      demo(), "-p",      "She was", "-n",      "30",  "-q",
                                 "--temperature", "0.9",  "--top-k", "40",      "--top-p", "0.95" };
        for (size_t k = 0; words[i][k]; k++) argv[13 + k] = words[i][k];
        outcome o = run_program_to(STDOUT_KEPT, argv);
        if (o.code != 0) fail_msg("exit %d: %s", o.code, o.err);
        if (i == 0) snprintf(first, sizeof first, "%s", o.out);
        if ((strcmp(first, o.out) == 0) != (i < 4)) fail_msg("%s: %s", words[i][0], o.out);
        outcome_free(&o);
    }
}

static void stop_strings_end_it(void **state)
{
    (void)state;
    json_t *whole = lines_of(run_program("generate", demo(), "-p", "She was", "-n", "30", "--json", "-q"), 1);
    char stop[8] = "";
    memcpy(stop, text_of(whole, 0, "text") + 12, 3);
    json_t *cut = lines_of(run_program("generate", demo(), "-p", "She was", "-n", "30", "--json", "-q", "--stop",
                                       "never said", "--stop", stop),
                           1);
    assert_string_equal(text_of(cut, 0, "end"), "stop");
    assert_string_equal(text_of(cut, 0, "stop"), stop);
    assert_null(strstr(text_of(cut, 0, "text"), stop));
    size_t n = strlen(text_of(cut, 0, "text"));
    assert_true(n <= 12);
    assert_memory_equal(text_of(cut, 0, "text"), text_of(whole, 0, "text"), n);
    json_decref(whole);
    json_decref(cut);
}

static void what_makes_no_sense_is_one_line(void **state)
{
    (void)state;
    char lengthy[3000] = "";
    const char *bad = work_path("bad.jsonl");
    for (size_t i = 0; i < 400; i++) strcat(lengthy, "and so ");
    write_text(bad, "{\"prompt\": \"a\"}\n{\"text\": \"b\"}\n");
    assert_rejected(run_program("generate", demo(), "-p", "", "--no-bos"), 2, "prompt 0: no tokens");
    assert_rejected(run_program("generate", demo(), "-p", lengthy), 2, "has no room for another");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--temperature", "-1"), 2,
                    "--temperature: expected 0 to");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--temperature", "hot"), 2, "--temperature");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--temperature", "1", "--top-p", "0"), 2, "--top-p");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--temperature", "1", "--top-k", "0"), 2, "--top-k");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--top-k", "3"), 2, "expected --temperature above 0");
    assert_rejected(run_program("generate", demo(), "-p", "a", "-n", "0"), 2, "--max-new-tokens");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--stop", ""), 2, "--stop");
    assert_rejected(run_program("generate", demo(), "-p", "\xff"), 1, "--prompt: ");
    assert_rejected(run_program("generate", demo(), "--prompt-file", bad), 1, "bad.jsonl:2: ");
    assert_rejected(run_program("generate", demo(), "--prompt-file", work_path("none.txt")), 1, "none.txt");
    assert_rejected(run_program("generate", data_path("golden/gqa"), "-p", "a"), 1, "tokenizer");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--lambda", "3"), 2, "expected --conditions massive");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--seeds", "3"), 2, "expected --conditions random");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--edit", "zero"), 2, "expected OP@SITE[:DIMS]");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--edit", "triple@q1"), 2, "expected one of zero");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--edit", "scale@q1"), 2, "expected scale=AMOUNT");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--edit", "zero=2@q1"), 2, "without an amount");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--edit", "zero@q99"), 2, "layer 99");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--edit", "zero@pattern1"), 2, "not edited");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--edit", "zero@q1:999"), 2, "dim 999");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--edit", "zero@q1:top0"), 2, "top");
    assert_rejected(run_program("generate", demo(), "-p", "a", "--edit", "permute@q1"), 2, "needs a whole sequence");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streamed_text_is_the_text_of_the_object),
        cmocka_unit_test(prompts_come_from_everywhere),
        cmocka_unit_test(conditions_stand_side_by_side),
        cmocka_unit_test(a_seed_says_the_same),
        cmocka_unit_test(stop_strings_end_it),
        cmocka_unit_test(what_makes_no_sense_is_one_line),
    };
    return cmocka_run_group_tests(tests, make_work_folder, remove_work_folder);
}
