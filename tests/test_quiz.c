/* test_quiz.c - questions in our own form, from files and from the world: what is kept, what is refused. */
#include "study_files.h"

#include "text/probes.h"

#define GOOD "{\"prompt\":\"p\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"parametric\"}\n"

static void bad_files_are_refused_by_line(void **state)
{
    (void)state;
    static const struct { const char *lines, *part; } cases[] = {
        { "", "bad.jsonl:1: expected one JSON object a line" },
        { "\n\n", "bad.jsonl:1: expected one JSON object a line" },
        { GOOD "\n[1]\n", "bad.jsonl:3: expected a JSON object, found an array" },
        { GOOD "{\"prompt\":\"p\"\n", "bad.jsonl:2: expected a JSON object, found at column" },
        { GOOD "{\"answer\":\"a\",\"category\":\"c\",\"kind\":\"parametric\"}",
          "bad.jsonl:2: key \"prompt\": expected text, found nothing" },
        { "{\"prompt\":\"p\",\"answer\":4,\"category\":\"c\",\"kind\":\"parametric\"}",
          "bad.jsonl:1: key \"answer\": expected text, found an integer" },
        { "{\"prompt\":\"p\",\"answer\":\"a\",\"kind\":\"parametric\"}", "key \"category\": expected text" },
        { "{\"prompt\":\"p\",\"answer\":\"a\",\"category\":\"c\"}", "key \"kind\": expected text, found nothing" },
        { "{\"prompt\":\"p\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"both\"}",
          "key \"kind\": expected \"parametric\" or \"contextual\", found \"both\"" },
        { "{\"prompt\":\"\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"parametric\"}",
          "key \"prompt\": expected text, found an empty one" },
        { "{\"prompt\":\"p \",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"parametric\"}",
          "key \"prompt\": expected no white space at its end" },
        { "{\"prompt\":\"p\",\"answer\":\" a\",\"category\":\"c\",\"kind\":\"parametric\"}",
          "key \"answer\": expected no white space at its start" },
        { "{\"prompt\":\"p\",\"answer\":\"a\\n\",\"category\":\"c\",\"kind\":\"parametric\"}",
          "key \"answer\": expected no white space at its end" },
        { "{\"prompt\":\"p\\u0000q\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"parametric\"}", "a NUL character" },
        { GOOD "{\"prompt\":\"p\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"contextual\"}",
          "bad.jsonl:2: category \"c\": expected parametric, as before, found contextual" },
        { "{\"id\":3,\"prompt\":\"p\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"parametric\"}\n"
          "{\"id\":\"3\",\"prompt\":\"r\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"parametric\"}",
          "question id \"3\": expected once, found also at" },
        { "{\"prompt\":\"p\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"parametric\",\"choices\":[\"a\"]}",
          "key \"choices\": expected an array of 2 to 1024 texts, found fewer" },
        { "{\"prompt\":\"p\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"parametric\",\"choices\":[\"b\",\"d\"]}",
          "key \"choices\": expected the answer \"a\" among them" },
        { "{\"prompt\":\"p\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"parametric\",\"choices\":[\"a\",\"a\"]}",
          "expected different texts, found \"a\" twice" },
        { "{\"prompt\":\"p\xff\",\"answer\":\"a\"}", "bad.jsonl:1: expected UTF-8" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = work_path("bad.jsonl");
        qk_quiz quiz;
        assert_ok(qk_write_file(path, cases[i].lines, strlen(cases[i].lines), err));
        assert_refused(qk_quiz_load(&quiz, &path, 1, 0, err), QK_E_FORMAT, cases[i].part);
    }
    const char *nowhere = work_path("nowhere.jsonl");
    qk_quiz quiz;
    assert_refused(qk_quiz_load(&quiz, &nowhere, 1, 0, err), QK_E_IO, "nowhere.jsonl");
}

static void files_limits_and_choices(void **state)
{
    (void)state;
    static const char first[] =
        "\xEF\xBB\xBF{\"id\":7,\"prompt\":\"p\",\"answer\":\"yes\",\"category\":\"c\",\"kind\":\"contextual\","
        "\"choices\":[\"yes\",\"no\"],\"other\":1}\n\n"
        "{\"prompt\":\"q\",\"answer\":\"no\",\"category\":\"c\",\"kind\":\"contextual\",\"choices\":[\"yes\",\"no\","
        "\"maybe\",\"never\"]}\n"
        "{\"prompt\":\"q\",\"answer\":\"no\",\"category\":\"c\",\"kind\":\"contextual\"}\n";
    const char *paths[2] = { work_path("first.jsonl"), work_path("second.jsonl") };
    qk_quiz quiz, limited;
    assert_ok(qk_write_file(paths[0], first, sizeof first - 1, err));
    assert_ok(qk_write_file(paths[1], GOOD, strlen(GOOD), err));
    /* the second file calls the category something else */
    qk_quiz refused;
    assert_refused(qk_quiz_load(&refused, paths, 2, 0, err), QK_E_FORMAT, "second.jsonl:1: category \"c\"");
    assert_ok(qk_quiz_load(&quiz, paths, 1, 0, err));
    assert_int_equal(quiz.n, 3);
    assert_string_equal(quiz.items[0].id, "7");
    assert_string_equal(quiz.items[1].id, "first.jsonl#3");
    assert_near(quiz.items[0].chance, 0.5, 0);
    assert_near(quiz.items[1].chance, 0.25, 0);
    assert_true(isnan(quiz.items[2].chance));
    assert_int_equal(quiz.n_repeated, 1);
    assert_ok(qk_quiz_load(&limited, paths, 1, 2, err));
    assert_int_equal(limited.n, 2);
    assert_string_not_equal(limited.sha256, quiz.sha256);
    qk_quiz_free(&quiz), qk_quiz_free(&limited);
}

static void more_than_fit_in_memory_are_refused(void **state)
{
    (void)state;
    qk_quiz quiz;
    qk_probes_settings probes = { .kinds = 1 << QK_PROBE_RANK, .per_category = QK_QUIZ_GENERATED + 1, .tokens = { 512 },
                                  .n_tokens = 1, .n_depths = 1 };
    assert_refused(qk_quiz_world(&quiz, 42, QK_SPLIT_TEST, 0, SIZE_MAX, err), QK_E_ARGUMENT,
                   "--limit: expected at most 100000 questions of each category, found 18446744073709551615");
    assert_refused(qk_quiz_probes(&quiz, &probes, err), QK_E_ARGUMENT, "each category, found 100001");
}

/* One key too many, in the places where a question may list texts. */
static void lists_have_an_end(void **state)
{
    (void)state;
    static const char *const keys[] = { "choices", "expected" };
    const char *path = work_path("lists.jsonl");
    for (size_t k = 0; k < 2; k++)
        for (size_t n = QK_QUIZ_TEXTS; n <= QK_QUIZ_TEXTS + 1; n++) {
            json_t *list = json_array();
            for (size_t i = 0; i < n; i++) json_array_append_new(list, json_sprintf("%zu", i));
            json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:o}", "prompt", "p", "answer", "0", "category", "c", "kind",
                                    "contextual", keys[k], list);
            qk_quiz quiz;
            assert_int_equal(json_dump_file(row, path, JSON_COMPACT), 0);
            json_decref(row);
            if (n > QK_QUIZ_TEXTS) {
                assert_refused(qk_quiz_load(&quiz, &path, 1, 0, err), QK_E_FORMAT, keys[k]);
                continue;
            }
            assert_ok(qk_quiz_load(&quiz, &path, 1, 0, err));
            assert_int_equal(k ? quiz.items[0].n_expected : quiz.items[0].n_choices, n);
            qk_quiz_free(&quiz);
        }
}

static void the_world_asks_the_same_questions(void **state)
{
    (void)state;
    qk_quiz test, again, train, other, few;
    assert_ok(qk_quiz_world(&test, 42, QK_SPLIT_TEST, 0, 5, err));
    assert_ok(qk_quiz_world(&again, 42, QK_SPLIT_TEST, 0, 5, err));
    assert_ok(qk_quiz_world(&train, 42, QK_SPLIT_TRAIN, 0, 5, err));
    assert_ok(qk_quiz_world(&other, 43, QK_SPLIT_TEST, 0, 5, err));
    unsigned two = 1 << QK_QUESTION_FACT | 1 << QK_QUESTION_SENTIMENT;
    assert_ok(qk_quiz_world(&few, 42, QK_SPLIT_TEST, two, 5, err));
    assert_int_equal(test.n, 5 * QK_N_QUESTION_KINDS);
    assert_int_equal(test.n_categories, QK_N_QUESTION_KINDS);
    assert_string_equal(test.sha256, again.sha256);
    assert_string_not_equal(test.sha256, train.sha256);
    assert_string_not_equal(test.sha256, other.sha256);
    assert_int_equal(few.n, 10);
    for (size_t i = 0; i < few.n; i++) {
        const qk_quiz_item *item = &few.items[i];
        bool sentiment = strcmp(few.categories[item->category].name, "sentiment") == 0;
        assert_int_equal(few.categories[item->category].contextual, sentiment);
        if (!sentiment) assert_true(isnan(item->chance));
        else assert_true(item->chance == 0.5 && (!strcmp(item->answer, "good") || !strcmp(item->answer, "bad")));
    }
    assert_string_equal(few.items[7].id, "test-sentiment-2");
    qk_quiz_free(&test), qk_quiz_free(&again), qk_quiz_free(&train), qk_quiz_free(&other), qk_quiz_free(&few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_refused_by_line),
        cmocka_unit_test(files_limits_and_choices),
        cmocka_unit_test(more_than_fit_in_memory_are_refused),
        cmocka_unit_test(lists_have_an_end),
        cmocka_unit_test(the_world_asks_the_same_questions),
    };
    return cmocka_run_group_tests(tests, make_work_folder, remove_work_folder);
}
