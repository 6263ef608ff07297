/* test_report_track.c - the report of training runs: one arm, two arms side by side, nothing massive, nothing tracked
 * (tests/data/report/drope and control, made by tools/report_fixture.py). */
#include "report_files.h"

enum { DROPE_ROWS = 14, CONTROL_ROWS = 13 }; /* measurements; DroPE has one more: the model as it came */

static void save_both(const char *folder, const json_t *drope, const json_t *control)
{
    char path[64];
    snprintf(path, sizeof path, "%s/drope", folder);
    save_run(path, "drope", drope);
    snprintf(path, sizeof path, "%s/control", folder);
    save_run(path, "control", control);
}

static char *page_of(const char *folder)
{
    assert_ok(qk_report_build(in_scratch(folder, ""), &plain, err));
    check_svgs(folder);
    each_file(in_scratch(folder, ""), check_csv_file, NULL);
    return read_text(in_scratch(folder, "report.html"));
}

/* Both arms of the fixtures, changed by `change` (NULL: not), as one page; the caller's to free(). */
static char *page_of_both(const char *folder, void (*change)(json_t *drope, json_t *control))
{
    json_t *drope = load_fixture("drope", "results.json"), *control = load_fixture("control", "results.json");
    if (change) change(drope, control);
    save_both(folder, drope, control);
    json_decref(drope);
    json_decref(control);
    return page_of(folder);
}

static void expect(const char *page, const char *words, size_t n)
{
    if (count(page, words) != n) fail_msg("\"%s\" %zu times, expected %zu", words, count(page, words), n);
}

static void two_arms_stand_side_by_side(void **state)
{
    (void)state;
    char *page = page_of_both("both", NULL);
    expect(page, "<svg ", 7); /* one section, not two */
    expect(page, "<h2>", 1);
    expect_marks("both", "tracked-loss", "<circle", DROPE_ROWS + CONTROL_ROWS);
    expect_marks("both", "tracked-counts", "<image", 2 * 3 * 2 + 1); /* a strip and a map each, the colour bar */
    expect_marks("both", "tracked-peaks", "<circle", 3 * (DROPE_ROWS + CONTROL_ROWS));
    expect_marks("both", "tracked-overlap", "<circle", 3 * (DROPE_ROWS + CONTROL_ROWS));
    expect_marks("both", "tracked-ablation", "<circle", 2 * (DROPE_ROWS + CONTROL_ROWS));
    expect_marks("both", "tracked-lengths", "<circle", 3 * 2 * 6);
    expect_marks("both", "tracked-sinks", "<circle", DROPE_ROWS + CONTROL_ROWS);
    expect_marks("both", "tracked-loss", ">tokens trained on (millions)<", 1);
    expect(page, "4.46 right after its rotation was dropped", 1);
    expect(page, "dropping the rotation leaves the loss 0.0777 nats per token higher", 1);
    expect(page, "There is no control here", 0);
    expect(page, "href=\"drope/results.json\"", 1);
    expect(page, "href=\"control/report.html\"", 1);
    expect(page, "href=\"figures/tracked-counts.svg\"", 1);
    /* The arm without rotation comes first, whatever the folders are called. */
    assert_true(strstr(page, "<h4>drope</h4>") < strstr(page, "<h4>control</h4>"));
    assert_int_equal(check_csv(in_scratch("both", "tracked.csv")), 1 + DROPE_ROWS + CONTROL_ROWS);
    assert_int_equal(check_csv(in_scratch("both", "tracked-layers.csv")), 1 + (DROPE_ROWS + CONTROL_ROWS) * 3 * 6);
    assert_int_equal(check_csv(in_scratch("both", "log.csv")), 1 + 2 * (60 + 7));
    assert_int_equal(check_csv(in_scratch("both/drope", "tracked.csv")), 1 + DROPE_ROWS);
    free(page);
}

static void one_arm_says_what_it_lacks(void **state)
{
    (void)state;
    save_fixture("alone", "drope");
    char *page = page_of("alone");
    expect(page, "There is no control here", 1);
    expect(page, "dropping the rotation leaves", 0);
    expect(page, "<svg ", 7);
    expect_marks("alone", "tracked-counts", "<image", 3 * 2 + 1);
    free(page);
    save_fixture("alone", "control");
    page = page_of("alone");
    expect(page, "right after", 0);
    expect(page, "There is no control here", 0);
    free(page);
}

static void other_lambda(json_t *drope, json_t *control)
{
    (void)drope;
    change_at(control, "settings.lambda", json_real(4));
}

static void other_probe(json_t *drope, json_t *control)
{
    (void)control;
    change_at(drope, "documents.3.sha256", json_string("0"));
}

static void other_shape(json_t *drope, json_t *control)
{
    (void)control;
    change_at(drope, "models.0.heads", json_integer(16));
}

static void what_cannot_be_compared_stands_apart(void **state)
{
    (void)state;
    static const struct { void (*change)(json_t *, json_t *); const char *why; } cases[] = {
        { other_lambda, "another lambda" }, { other_probe, "other probe documents" },
        { other_shape, "models of another shape" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char words[100];
        char *page = page_of_both("apart", cases[i].change);
        snprintf(words, sizeof words, "drope and control are not drawn together: %s.", cases[i].why);
        expect(page, words, 1);
        expect(page, "<h2>", 2);
        expect(page, "dropping the rotation leaves", 0);
        free(page);
    }
}

/* Arms of one name, settings that differ, fewer tokens in one of them. */
static void alike(json_t *drope, json_t *control)
{
    change_at(drope, "arms.0.name", json_string("same"));
    change_at(control, "arms.0.name", json_string("same"));
    json_t *rows = json_object_get(control, "track");
    while (json_array_size(rows) > 5) json_array_remove(rows, 5);
}

static void arms_are_told_apart(void **state)
{
    (void)state;
    char *page = page_of_both("alike", alike);
    expect(page, "<b>same (control)</b>", 4);
    expect(page, "The two did not train on as many tokens.", 1);
    expect(page, "<dt>control</dt><dd>{&quot;drope&quot;: null, &quot;control&quot;: &quot;rope&quot;}</dd>", 1);
    free(page);
}

static void forget_massive(json_t *drope, json_t *control)
{
    json_t *both[] = { drope, control }, *row, *cell, *total;
    const char *tensor;
    size_t i, k;
    for (int b = 0; b < 2; b++)
        json_array_foreach(json_object_get(both[b], "track"), i, row) {
            json_array_foreach(json_object_get(row, "tensors"), k, cell) {
                json_object_set_new(cell, "count", json_integer(0));
                json_object_set_new(cell, "dims", json_array());
                json_object_set_new(cell, "overlap", json_null());
            }
            json_object_foreach(json_object_get(row, "totals"), tensor, total) {
                json_object_set_new(total, "count", json_integer(0));
                json_object_set_new(total, "overlap", json_null());
                json_object_set_new(total, "max_over_mean", json_real(3.25));
            }
            json_object_set_new(row, "ablation", json_pack("{s:i, s:i, s:n, s:n, s:n}", "dims_q", 0, "dims_k", 0,
                                                           "zero", "mean", "random"));
        }
}

static void nothing_massive_is_said_in_words(void **state)
{
    (void)state;
    char *page = page_of_both("none", forget_massive);
    expect(page, "does not show the phenomenon at this threshold", 2);
    expect(page, "the largest norm on the way is 3.25 times the mean", 2);
    expect(page, "there is nothing to break, and no effect to draw", 1);
    expect(page, "to zero costs", 0);
    assert_false(qk_path_exists(in_scratch("none", "figures/tracked-ablation.svg")));
    assert_false(qk_path_exists(in_scratch("none", "figures/tracked-overlap.svg")));
    expect_marks("none", "tracked-counts-3", "<image", 2 * 3 * 2 + 1);
    free(page);
}

/* A run that only trained: the loss, and a word on what is not there. */
static void a_run_without_a_tracker(void **state)
{
    (void)state;
    json_t *results = load_fixture("drope", "results.json");
    change_at(results, "study", json_string("train"));
    change_at(results, "arms.0.kind", json_string("train"));
    change_at(results, "arms.0.finished", json_false());
    change_at(results, "settings.lambda", json_null());
    change_at(results, "settings.track", json_null());
    json_array_clear(json_object_get(results, "track"));
    json_array_clear(json_object_get(results, "documents"));
    save_run("plain", "drope", results);
    char *page = page_of("plain");
    expect(page, "<svg ", 1);
    expect(page, "Nothing was tracked (--track)", 1);
    expect(page, "has not come to its end", 1);
    expect(page, "on held-out text", 1);
    expect_marks("plain", "tracked-loss", ">held out<", 1);
    expect_marks("plain", "tracked-loss", ">training<", 1);
    expect_marks("plain", "tracked-loss", "<circle", 0);
    free(page);
    json_decref(results);
}

int main(void)
{
    if (!make_scratch()) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_arms_stand_side_by_side),
        cmocka_unit_test(one_arm_says_what_it_lacks),
        cmocka_unit_test(what_cannot_be_compared_stands_apart),
        cmocka_unit_test(arms_are_told_apart),
        cmocka_unit_test(nothing_massive_is_said_in_words),
        cmocka_unit_test(a_run_without_a_tracker),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_scratch();
    return failed;
}
