/* test_report_context.c - figures, tables and words of context extension (tests/data/report/context: the program's own
 * output on two small models), and the answer that tasks and context give together. */
#include "report_files.h"

#include <math.h>

/* With the rows of broken pass keys, or as a run without --conditions. */
static json_t *load_context(bool broken)
{
    json_t *results = load_fixture("context", "results.json");
    if (!broken) json_array_clear(json_object_get(results, "broken"));
    if (!broken) json_array_clear(json_object_get(results, "broken_tests"));
    return results;
}

static void maps_and_tables_are_whole(void **state)
{
    (void)state;
    enum { ARMS = 7, LENGTHS = 3, DEPTHS = 3 };
    json_t *results = load_context(true);
    save_run("context", "context", results);
    assert_ok(qk_report_build(in_scratch("context", ""), &plain, err));
    assert_int_equal(check_svgs("context"), 5);
    /* the places where some key is found: world-rope within its context, crop and yarn at 2 and 4 times */
    expect_marks("context", "context-broken", "massive zeroed: ", 5);
    expect_marks("context", "context-broken", "<circle", 5 * 3 + 3);
    expect_marks("context", "context-broken", "world-rope yarn, 4x, as it is: 66.7 % of 3 keys", 1);
    expect_marks("context", "context-map-pass-key", " trained contexts, depth ", ARMS * LENGTHS * DEPTHS);
    expect_marks("context", "context-map-pass-key",
                 "world-rope yarn, 4 trained contexts, depth 50 %: 1 of 1 (95 % interval "
                 "20.7 to 100 %)",
                 1);
    each_file(in_scratch("context", ""), check_csv_file, NULL);
    assert_int_equal(check_csv(in_scratch("context", "context-keys.csv")), 1 + ARMS * LENGTHS);
    assert_int_equal(check_csv(in_scratch("context", "context-cells.csv")), 1 + ARMS * LENGTHS * DEPTHS);
    assert_int_equal(check_csv(in_scratch("context", "context-loss.csv")), 1 + ARMS * LENGTHS);
    assert_int_equal(check_csv(in_scratch("context", "context-broken.csv")), 1 + ARMS * LENGTHS * 2);
    /* massive and random against the whole, and against each other; up to the trained context once a model */
    assert_int_equal(check_csv(in_scratch("context", "context-broken-tests.csv")), 1 + 3 * (2 + 2 * ARMS));
    assert_int_equal(check_csv(in_scratch("context", "yarn-ppl.csv")), 1 + ARMS);
    char *cells = read_text(in_scratch("context", "context-cells.csv"));
    assert_non_null(strstr(cells, "stretch,length,depth,n,right,accuracy,ci95_low,ci95_high,nll\n"));
    free(cells);
    char *page = read_text(in_scratch("context", "report.html"));
    assert_int_equal(count(page, "<section id=\"answer\">"), 1);
    free(page);
    json_decref(results);
    results = load_context(false);
    save_run("context", "context", results);
    assert_ok(qk_report_build(in_scratch("context", ""), &plain, err));
    page = read_text(in_scratch("context", "report.html"));
    assert_null(strstr(page, "id=\"answer\"")); /* without broken keys or tasks beside it there is nothing to answer */
    free(page);
    json_decref(results);
}

/* One text has a loss and no interval: nothing is drawn that looks like one. */
static void no_whisker_without_an_interval(void **state)
{
    (void)state;
    json_t *results = load_context(true), *rows = json_object_get(results, "loss"), *row;
    size_t i;
    save_run("context", "context", results);
    assert_ok(qk_report_build(in_scratch("context", ""), &plain, err));
    char *whole = read_text(in_scratch("context", "figures/context-loss.svg"));
    json_array_foreach(rows, i, row) json_object_set_new(row, "ci95", json_null());
    save_run("context", "context", results);
    assert_ok(qk_report_build(in_scratch("context", ""), &plain, err));
    char *without = read_text(in_scratch("context", "figures/context-loss.svg"));
    assert_true(count(whole, "<path") > count(without, "<path"));
    assert_true(count(whole, "(95 % interval") > 0);
    assert_int_equal(count(without, "(95 % interval"), 0);
    free(whole), free(without);
    json_decref(results);
}

/* The reference against the others, as the tests say: one finds more, one fewer, the rest is open. */
static void the_reference_is_compared_the_right_way_round(void **state)
{
    (void)state;
    json_t *results = load_context(false), *rows = json_object_get(results, "tests"), *row;
    size_t i, n = 0;
    json_array_foreach(rows, i, row)
    {
        if (json_number_value(json_object_get(row, "stretch")) != 4) continue;
        json_object_set_new(row, "estimate", json_real(n == 0 ? 0.5 : -0.5));
        json_object_set_new(row, "log10_p_holm", json_real(n < 3 ? -4 : -0.5));
        n++;
    }
    save_run("context", "context", results);
    assert_ok(qk_report_build(in_scratch("context", ""), &plain, err));
    char *page = read_text(in_scratch("context", "report.html"));
    assert_int_equal(n, 6);
    assert_int_equal(count(page, "finds more than 2 of the other arms, fewer than 1, and cannot be told apart from 3"),
                     1);
    free(page);
    json_decref(results);
}

/* ---- does it find by massive values, and at four times its context? */

/* The page of tasks beside context, of the same weights; `tasks` and `context` are used up. */
static char *answer_of(json_t *tasks, json_t *context)
{
    json_t *models = json_object_get(context, "models");
    for (size_t m = 0; m < json_array_size(models); m++) {
        json_t *of_tasks = json_array_get(json_object_get(tasks, "models"), m);
        json_object_set(json_array_get(models, m), "sha256", json_object_get(of_tasks, "sha256"));
    }
    save_run("answer/context", "context", context);
    save_run("answer/tasks", "tasks", tasks);
    assert_ok(qk_report_build(in_scratch("answer", ""), &plain, err));
    json_decref(tasks);
    json_decref(context);
    char *page = read_text(in_scratch("answer", "report.html")), *section = strstr(page, "<section id=\"answer\">");
    assert_non_null(section);
    char *end = strstr(section, "</section>");
    assert_non_null(end);
    *end = '\0';
    section = strdup(section);
    free(page);
    return section;
}

static void expect(char *section, const char *words, size_t n)
{
    if (count(section, words) != n)
        fail_msg("\"%s\" %zu times, expected %zu: %s", words, count(section, words), n, section);
    free(section);
}

/* The first model's contextual answers fell by `change` when broken (log10 p of the test), and by `more` against
 * random ones. */
static json_t *broken(double change, double log10_p, double more, double log10_p_more)
{
    json_t *tasks = load_fixture("tasks", "results.json");
    change_at(tasks, "tests.3.estimate", json_real(change));
    change_at(tasks, "tests.3.log10_p_holm", json_real(log10_p));
    change_at(tasks, "tests.5.estimate", json_real(more));
    change_at(tasks, "tests.5.log10_p_holm", json_real(log10_p_more));
    return tasks;
}

static void yes_needs_both_tests(void **state)
{
    (void)state;
    const struct {
        double change, p, more, p_more;
        const char *says;
    } cases[] = {
        { -0.4, -3, -0.4, -3, "<b>Yes</b>: zeroing them costs answers, and more than" },
        { -0.4, -3, -0.1, -0.5, "<b>It is not shown that it is they</b>" },
        { -0.4, -3, 0.1, -3, "<b>It is not shown that it is they</b>" },
        { -0.1, -0.5, -0.4, -3, "<b>It is not shown</b> that they are needed" },
        { 0.4, -3, 0.4, -3, "<b>No</b>: with them broken it finds more" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *tasks = broken(cases[i].change, cases[i].p, cases[i].more, cases[i].p_more);
        expect(answer_of(tasks, load_context(false)), cases[i].says, 1);
    }
    /* without a control */
    json_t *tasks = broken(-0.4, -3, -0.4, -3);
    json_array_remove(json_object_get(tasks, "tests"), 5);
    expect(answer_of(tasks, load_context(false)), "<b>It needs them</b>, but whether more than", 1);
}

static void what_was_not_asked_is_not_answered(void **state)
{
    (void)state;
    json_t *context = load_context(false);
    /* the second model finds no more than a constant answer would: the fixture has 29 % with level 25 % of 24 */
    expect(answer_of(load_fixture("tasks", "results.json"), context), "<b>Not to be asked</b>", 1);

    json_t *tasks = load_fixture("tasks", "results.json"), *rows = json_object_get(tasks, "kinds");
    for (size_t i = json_array_size(rows); i-- > 0;)
        if (strcmp(json_string_value(json_object_get(json_array_get(rows, i), "condition")), "baseline") != 0)
            json_array_remove(rows, i);
    expect(answer_of(tasks, load_context(false)), "<b>It was not broken</b>", 2);

    tasks = load_fixture("tasks", "results.json");
    context = load_context(false);
    char *section = answer_of(json_incref(tasks), json_incref(context));
    free(section);
    change_at(context, "models.0.sha256", json_string("other weights"));
    save_run("answer/context", "context", context);
    assert_ok(qk_report_build(in_scratch("answer", ""), &plain, err));
    char *page = read_text(in_scratch("answer", "report.html"));
    assert_int_equal(count(page, "the questions were put to other weights"), 1);
    free(page);
    json_decref(context);

    json_object_set_new(json_object_get(tasks, "settings"), "broken", json_false());
    save_run("answer/tasks", "tasks", tasks);
    assert_ok(qk_report_build(in_scratch("answer", ""), &plain, err));
    page = read_text(in_scratch("answer", "report.html"));
    assert_null(strstr(page, "id=\"answer\""));
    free(page);
    json_decref(tasks);
}

/* Of 40 keys within its context 35, of 20 at four times 17: Newcombe's interval by hand. */
static void keys_are_counted_at_four_times(void **state)
{
    (void)state;
    json_t *context = load_context(false), *rows = json_object_get(context, "retrieval"), *row;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        const char *method = json_string_value(json_object_get(row, "method"));
        double stretch = json_number_value(json_object_get(row, "stretch"));
        if (json_integer_value(json_object_get(row, "model")) != 0) continue;
        bool home = stretch == 1, yarn = stretch == 4 && strcmp(method, "yarn") == 0;
        if (!home && !yarn) continue;
        json_object_set_new(row, "n", json_integer(home ? 40 : 20));
        json_object_set_new(row, "right", json_integer(home ? 35 : 17));
        json_object_set_new(row, "accuracy", json_real(home ? 0.875 : 0.85));
        json_object_set_new(row, "ci95",
                            home ? json_pack("[f,f]", 0.738858, 0.945405) : json_pack("[f,f]", 0.639584, 0.947631));
    }
    double low = -0.025 - hypot(0.85 - 0.639584, 0.945405 - 0.875),
           high = -0.025 + hypot(0.947631 - 0.85, 0.875 - 0.738858);
    assert_near(low, -0.2469, 1e-4);
    assert_near(high, 0.1425, 1e-4);
    char *section = answer_of(load_fixture("tasks", "results.json"), context);
    assert_int_equal(count(section,
                           "<b>yarn</b>: most are found, 17 of 20, 85\u00a0% [64, 94.8]; not told apart from within "
                           "its context: \u22122.5 points [\u221224.7, 14.3]"),
                     1);
    assert_int_equal(count(section, "<b>as trained</b>: none was found"), 2);
    assert_int_equal(count(section, "<b>crop</b>: some are found, 1 of 3"), 1);
    assert_int_equal(count(section, "fewer than within its context by"), 3); /* none, crop, temperature of the first */
    expect(section, "<b>there is nothing that could be kept</b>", 1);        /* the second finds none at home */
}

static json_t *find(json_t *results, const char *array, int arm, double stretch, const char *condition,
                    const char *against)
{
    json_t *rows = json_object_get(results, array), *row;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        if (json_integer_value(json_object_get(row, "arm")) == arm &&
            json_number_value(json_object_get(row, "stretch")) == stretch &&
            strcmp(json_string_value(json_object_get(row, "condition")), condition) == 0 &&
            (!against || strcmp(json_string_value(json_object_get(row, "against")), against) == 0))
            return row;
    }
    fail_msg("%s: no row", array);
    return NULL;
}

/* Keys that the second arm beyond crop, yarn, finds at four times: by massive values? */
static void broken_keys_are_judged_where_there_are_some(void **state)
{
    (void)state;
    enum { YARN = 2 };
    static const char *const others[] = { "baseline", "random" };
    for (int told = 0; told < 3; told++) { /* not told, only against the baseline, against both */
        json_t *context = load_context(true);
        for (int i = 0; i < 2; i++) {
            json_t *test = find(context, "broken_tests", YARN, 4, "massive", others[i]);
            json_object_set_new(test, "estimate", json_real(-0.66));
            json_object_set_new(test, "log10_p_holm", json_real(told > i ? -4 : -0.5));
            json_object_set_new(test, "refused", json_null());
        }
        char *section = answer_of(load_fixture("tasks", "results.json"), context);
        char *yarn = strdup(strstr(section, "<b>yarn</b>")), *end = strstr(yarn, "</li>");
        assert_non_null(end);
        *end = '\0';
        assert_int_equal(count(yarn, "By massive values?"), 1);
        assert_int_equal(count(yarn, told == 0   ? "<b>It is not shown</b> that they are needed"
                                     : told == 1 ? "<b>It is not shown that it is they</b>"
                                                 : "<b>Yes</b>"),
                         1);
        assert_int_equal(count(yarn, "massive zeroed 0\u00a0% ["), 1);
        assert_null(strstr(strstr(section, "<h3>world-drope</h3>"), "By massive values?")); /* it finds none */
        free(yarn);
        free(section);
    }
}

int main(void)
{
    if (!make_scratch()) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_and_tables_are_whole),
        cmocka_unit_test(no_whisker_without_an_interval),
        cmocka_unit_test(the_reference_is_compared_the_right_way_round),
        cmocka_unit_test(yes_needs_both_tests),
        cmocka_unit_test(what_was_not_asked_is_not_answered),
        cmocka_unit_test(keys_are_counted_at_four_times),
        cmocka_unit_test(broken_keys_are_judged_where_there_are_some),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_scratch();
    return failed;
}
