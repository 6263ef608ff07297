/* test_report.c - tables, figures and page out of three small runs (tests/data/report: two made by
 * tools/report_fixture.py, tasks by 36 questions to two small models, as they are and broken, the program's own
 * output). */
#include "report_files.h"

/* ---- what a good run gives */

static void the_figures_have_their_marks(void **state)
{
    (void)state;
    save_fixture("demo/massive", "massive");
    save_fixture("demo/disrupt", "disrupt");
    save_fixture("demo/tasks", "tasks");
    assert_ok(qk_report_build(in_scratch("demo", ""), &plain, err));
    assert_int_equal(check_svgs("demo"), 6 + 3 + 2);
    /* 2 models, 3 tensors, 6 layers, 8 documents, 9 lambdas, 5 seeds */
    expect_marks("demo/massive", "massive-totals", "<circle", 2 * 3 * 8);
    expect_marks("demo/massive", "massive-layers", "<circle", 2 * 3 * 6);
    expect_marks("demo/massive", "massive-layers", "has more than tiny-rope", 1 + 4 + 2);
    expect_marks("demo/massive", "lambda-sweep", "<circle", 2 * 3 * 9);
    expect_marks("demo/massive", "norm-map-0", "<image", 3 + 1);
    expect_marks("demo/massive", "norm-map-0", ">never completes a rotation<", 2 * 2);
    expect_marks("demo/massive", "norm-map-1", ">never completes a rotation<", 0);
    expect_marks("demo/massive", "pair-norms", "trained context 512", 2);
    expect_marks("demo/disrupt", "perplexity", "<circle", 2 * (5 + 2));
    expect_marks("demo/disrupt", "delta-nll", "<circle", 2 * (5 + 2));
    expect_marks("demo/disrupt", "delta-nll-documents", "<circle", 2 * (2 * 8 + 2));
    /* 2 models, 3 categories of 2 kinds; baseline, massive and random are dots, mean is a square; a legend of each */
    expect_marks("demo/tasks", "accuracy", "<circle", 2 * 3 * 3 + 3);
    expect_marks("demo/tasks", "accuracy", "massive zeroed, fact: ", 2);
    expect_marks("demo/tasks", "kinds", "<circle", 2 * 2 * 3 + 3);
    expect_marks("demo/tasks", "kinds", "massive at their mean, contextual questions: ", 2);
    expect_marks("demo/tasks", "accuracy", "always the most frequent answer: ", 3);
    expect_marks("demo/tasks", "accuracy", "guessing among the choices: 50 %", 1);
    char *page = read_text(in_scratch("demo", "report.html"));
    assert_int_equal(count(page, "<svg "), 6 + 3 + 2);
    assert_int_equal(count(page, "<script type=\"application/json\""), 3);
    assert_int_equal(count(page, "http"), count(page, "http://www.w3.org/2000/svg") + count(page, "http-equiv"));
    assert_non_null(strstr(page, "href=\"massive/figures/norm-map-0.svg\""));
    assert_non_null(strstr(page, "What these numbers do and do not show"));
    assert_non_null(strstr(page, "not to be cited"));
    free(page);
}

static void the_tables_are_whole(void **state)
{
    (void)state;
    each_file(in_scratch("demo", ""), check_csv_file, NULL);
    assert_int_equal(check_csv(in_scratch("demo/massive", "counts.csv")), 1 + 2 * 8 * 3 * 6);
    assert_int_equal(check_csv(in_scratch("demo/massive", "massive-layers.csv")), 1 + 2 * 3 * 6);
    assert_int_equal(check_csv(in_scratch("demo/massive", "norm-map.csv")), 1 + 2 * (8 + 4 + 4) * 32);
    assert_int_equal(check_csv(in_scratch("demo/massive", "pair-norms.csv")), 1 + 2 * 2 * 6 * 16);
    assert_int_equal(check_csv(in_scratch("demo/disrupt", "scores.csv")), 1 + 2 * 7 * 8);
    assert_int_equal(check_csv(in_scratch("demo/disrupt", "delta-nll-documents.csv")), 1 + 2 * 8);
    assert_int_equal(check_csv(in_scratch("demo/tasks", "accuracy.csv")), 1 + 2 * 3 * 4);
    assert_int_equal(check_csv(in_scratch("demo/tasks", "kinds.csv")), 1 + 2 * 2 * (4 + 2));
    assert_int_equal(check_csv(in_scratch("demo/tasks", "tests.csv")), 1 + 2 * (2 * 3 + 2) + 2 * 2);
    char *text = read_text(in_scratch("demo/massive", "change.csv"));
    assert_non_null(strstr(text, "difference_ci95_low,difference_ci95_high,percent,layers_more\n"));
    free(text);
}

static void the_same_run_gives_the_same_bytes(void **state)
{
    (void)state;
    char first[65], second[65];
    qk_report_options options = plain;
    qk_error error = { QK_OK, "" };
#ifdef QK_HAVE_CAIRO
    options = (qk_report_options){ true, true };
#else
    assert_int_equal(qk_report_build(in_scratch("demo", ""), &(qk_report_options){ true, false }, &error),
                     QK_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "cairo"));
#endif
    assert_int_equal(qk_report_build(in_scratch("demo", ""), &options, &error), QK_OK);
    hash_folder(first, "demo");
    assert_int_equal(qk_report_build(in_scratch("demo", ""), &options, &error), QK_OK);
    hash_folder(second, "demo");
    assert_string_equal(first, second);
#ifdef QK_HAVE_CAIRO
    qk_map map;
    assert_ok(qk_map_open(&map, in_scratch("demo/massive", "figures/norm-map-0.png"), err));
    assert_true(map.size > 10000);
    assert_memory_equal(map.data, "\x89PNG\r\n", 6);
    qk_map_close(&map);
    assert_ok(qk_map_open(&map, in_scratch("demo/disrupt", "figures/perplexity.pdf"), err));
    assert_memory_equal(map.data, "%PDF-", 5);
    qk_map_close(&map);
#endif
}

/* ---- names from anywhere */

static const char hostile[] =
    "<script>alert(1)</script>]]> & \"'\\ \x01\xEF\xBF\xBF, \n=x --><!-- \xF0\x9F\x92\xA9 %s %n";

/* Every text below `value` becomes hostile, but for the words that the schema fixes. */
static void poison(json_t *value, const char *key)
{
    static const char *const fixed[] = { "study", "tensor", "kind", "criterion", "site", "op", "condition", "control" };
    const char *name;
    json_t *item;
    size_t i;
    for (i = 0; key && i < sizeof fixed / sizeof fixed[0]; i++)
        if (strcmp(key, fixed[i]) == 0) return;
    if (json_is_string(value)) json_string_set(value, hostile);
    json_object_foreach(value, name, item) poison(item, name);
    json_array_foreach(value, i, item) poison(item, NULL);
}

static void hostile_names_are_text(void **state)
{
    (void)state;
    static const char *const studies[] = { "massive", "disrupt", "tasks", "context", "drope" };
    for (int s = 0; s < 5; s++) {
        json_t *results = load_fixture(studies[s], "results.json"),
               *manifest = load_fixture(studies[s], "manifest.json");
        size_t i;
        json_t *condition;
        poison(results, NULL);
        json_array_foreach(json_object_get(results, "conditions"), i, condition)
            json_object_set_new(condition, "name",
                                json_string(i % 7 == 0   ? "baseline"
                                            : i % 7 == 1 ? "massive"
                                                         : hostile));
        json_object_set_new(json_object_get(results, "settings"), hostile, json_string(hostile));
        poison(manifest, NULL);
        save_run("hostile", studies[s], results);
        save_json("hostile", "manifest.json", manifest);
        assert_ok(qk_report_build(in_scratch("hostile", ""), &plain, err));
        assert_true(check_svgs("hostile") > 0);
        each_file(in_scratch("hostile", ""), check_csv_file, NULL);
        char *page = read_text(in_scratch("hostile", "report.html"));
        assert_null(strstr(page, "<script>alert"));
        assert_null(strstr(page, "<!-- "));
        assert_int_equal(count(page, "<script"), 2); /* the data and our own */
        assert_int_equal(count(page, "</script"), 2);
        assert_true(count(page, "&lt;script&gt;alert(1)&lt;/script&gt;") > 10);
        free(page);
        json_decref(results);
        json_decref(manifest);
    }
}

/* ---- what could not be computed */

/* Every real number below `value` becomes null, but for settings; so do intervals. */
static void forget(json_t *value)
{
    const char *name;
    json_t *item;
    void *next;
    size_t i;
    json_object_foreach_safe(value, next, name, item) {
        if (json_is_real(item) && strcmp(name, "lambda") != 0 && strcmp(name, "stretch") != 0)
            json_object_set_new(value, name, json_null());
        else
            forget(item);
    }
    json_array_foreach(value, i, item) {
        if (json_is_real(item))
            json_array_set_new(value, i, json_null());
        else
            forget(item);
    }
}

static void nulls_are_gaps(void **state)
{
    (void)state;
    static const char *const studies[] = { "massive", "disrupt", "tasks", "context", "drope" };
    for (int s = 0; s < 5; s++) {
        json_t *results = load_fixture(studies[s], "results.json");
        forget(results);
        save_run("nulls", studies[s], results);
        assert_ok(qk_report_build(in_scratch("nulls", ""), &plain, err));
        assert_true(check_svgs("nulls") > 0);
        char *page = read_text(in_scratch("nulls", "report.html"));
        assert_null(strstr(page, "nan"));
        free(page);
        json_decref(results);
    }
}

static void empty_arrays_are_drawn(void **state)
{
    (void)state;
    static const char *const studies[] = { "massive", "disrupt", "tasks", "context", "drope" };
    for (int s = 0; s < 5; s++) {
        json_t *results = load_fixture(studies[s], "results.json"), *value;
        const char *name;
        json_object_foreach(results, name, value)
            if (json_is_array(value) && strcmp(name, "models") != 0 && strcmp(name, "arms") != 0)
                json_array_clear(value);
        save_run("empty", studies[s], results);
        assert_ok(qk_report_build(in_scratch("empty", ""), &plain, err));
        check_svgs("empty");
        json_decref(results);
    }
}

/* Nothing massive anywhere: the page says so in words. */
static void a_model_without_massive_values_is_named(void **state)
{
    (void)state;
    json_t *results = load_fixture("massive", "results.json"), *row;
    size_t i;
    json_array_foreach(json_object_get(results, "summary"), i, row) {
        json_object_set_new(row, "total_mean", json_real(0));
        json_object_set_new(row, "max_over_mean", json_real(3.25));
    }
    save_run("none", "massive", results);
    assert_ok(qk_report_build(in_scratch("none", ""), &plain, err));
    char *page = read_text(in_scratch("none", "report.html"));
    assert_int_equal(count(page, "does not show the phenomenon at this threshold"), 2);
    assert_true(count(page, "the largest norm is 3.25 times the mean") == 2);
    free(page);
    json_decref(results);
}

/* ---- what is said */

/* The page after `path` of disrupt's results became `value`. */
static void expect_words(const char *path, json_t *value, const char *words, size_t n)
{
    json_t *results = load_fixture("disrupt", "results.json");
    change_at(results, path, value);
    save_run("words", "disrupt", results);
    assert_ok(qk_report_build(in_scratch("words", ""), &plain, err));
    char *page = read_text(in_scratch("words", "report.html"));
    if (count(page, words) != n) fail_msg("%s: \"%s\" %zu times, expected %zu", path, words, count(page, words), n);
    free(page);
    json_decref(results);
}

static void the_verdict_takes_interval_and_tests(void **state)
{
    (void)state;
    const char *more = "massive dims matter more than as many random ones";
    expect_words("summary.0.tokens", json_integer(1), more, 2);
    expect_words("effects.0.m_minus_r.ci95", json_pack("[f,f]", -0.1, 0.2), more, 1);
    expect_words("effects.0.m_minus_r.ci95", json_pack("[f,f]", -0.1, 0.2), "do not show that massive dims matter", 1);
    expect_words("effects.0.m_minus_r.ci95", json_pack("[f,f]", -0.2, -0.1), "matter <b>less</b> than", 1);
    expect_words("effects.1.m_minus_r.ci95", json_null(), more, 1);
    expect_words("tests.2.log10_p", json_real(-1.2), "undecided with these documents", 1);
    expect_words("tests.2.log10_p", json_real(-1.2), more, 1);
    expect_words("summary.2.delta_nll", json_real(99), "1 of the 5 random controls cost as much or more", 1);
}

/* ---- sizes */

/* The same model and its rows once more, as model `copy`. */
static void add_model(json_t *results, size_t copy)
{
    const char *name;
    json_t *value, *row;
    size_t i, n;
    json_array_append_new(json_object_get(results, "models"),
                          json_deep_copy(json_array_get(json_object_get(results, "models"), 1)));
    json_object_foreach(results, name, value)
        for (i = 0, n = json_array_size(value); i < n; i++) {
            if (json_integer_value(json_object_get(json_array_get(value, i), "model")) != 1) continue;
            row = json_deep_copy(json_array_get(value, i));
            json_object_set_new(row, "model", json_integer((json_int_t)copy));
            json_array_append_new(value, row);
        }
}

static void one_to_four_models_are_drawn(void **state)
{
    (void)state;
    static const char *const studies[] = { "massive", "disrupt", "tasks", "context" };
    for (int s = 0; s < 4; s++) {
        json_t *results = load_fixture(studies[s], "results.json");
        add_model(results, 2);
        add_model(results, 3);
        save_run("four", studies[s], results);
        assert_ok(qk_report_build(in_scratch("four", ""), &plain, err));
        assert_true(check_svgs("four") > 0);
        for (size_t m = 4; m < 9; m++) add_model(results, m); /* 9 are too many for the colours */
        save_run("four", studies[s], results);
        qk_error error = { QK_OK, "" };
        assert_int_equal(qk_report_build(in_scratch("four", ""), &plain, &error), QK_E_UNSUPPORTED);
        assert_non_null(strstr(error.message, "models: expected 1 to 8, found 9"));
        json_decref(results);
    }
}

/* One model of 128 layers with 128 heads of 256 dims, without arrays. */
static void a_large_model_is_drawn(void **state)
{
    (void)state;
    json_t *results = load_fixture("massive", "results.json"), *value, *row;
    const char *name;
    size_t i;
    json_object_foreach(
        results, name,
        value) for (i = json_array_size(value); i > 0;
                    i--) if (json_integer_value(json_object_get(json_array_get(value, i - 1), "model")) == 1)
        json_array_remove(value, i - 1);
    json_t *models = json_object_get(results, "models"), *model = json_array_get(models, 0);
    json_array_remove(models, 1);
    json_object_set_new(model, "layers", json_integer(128));
    json_object_set_new(model, "heads", json_integer(128));
    json_object_set_new(model, "head_dim", json_integer(256));
    json_array_clear(json_object_get(results, "pair_norms"));
    json_array_foreach(json_object_get(results, "summary"), i, row) {
        json_t *layers = json_object_get(row, "by_layer");
        for (int l = 6; l < 128; l++)
            json_array_append_new(layers, json_pack("{s:i,s:f,s:f,s:f}", "layer", l, "mean", 40.0 + l % 7, "std", 3.5,
                                                    "max_over_mean", 9.0));
    }
    save_json("large", "results.json", results);
    assert_ok(qk_report_build(in_scratch("large", ""), &plain, err));
    check_svgs("large");
    expect_marks("large", "massive-layers", "<circle", 3 * 128);
    char *page = read_text(in_scratch("large", "report.html"));
    assert_non_null(strstr(page, "There is no arrays.safetensors: no heat map of norms is drawn."));
    assert_non_null(strstr(page, "how these numbers were made is not recorded"));
    free(page);
    json_decref(results);
}

/* What massive --captured leaves: a model without a configuration, one tensor, one document. */
static void captured_tensors_are_drawn(void **state)
{
    (void)state;
    json_t *results = json_loads(
        "{\"study\":\"massive\",\"schema\":1,\"settings\":{\"lambda\":5.0,\"criterion\":\"layer-mean\",\"site\":"
        "\"captured\"},"
        "\"models\":[{\"name\":\"captured\",\"captured\":true,\"layers\":1,\"heads\":4,\"kv_heads\":null,\"head_dim\":"
        "3,"
        "\"sha256\":null}],\"documents\":[{\"id\":\"captured\",\"category\":\"\",\"tokens\":9,\"cut\":0,\"sha256\":"
        "null,"
        "\"repetitive\":null}],\"counts\":[{\"model\":0,\"document\":0,\"tensor\":\"q\",\"layer\":0,\"count\":2,"
        "\"max_over_mean\":7.5,\"energy_share\":0.5,\"gini\":0.5,\"kurtosis\":9.0,\"entropy\":0.5,\"slow_share\":null}]"
        ","
        "\"summary\":[{\"model\":0,\"tensor\":\"q\",\"positions\":12,\"total_mean\":2.0,\"total_std\":null,\"total_"
        "ci95\":null,"
        "\"share_pct\":16.7,\"max_over_mean\":7.5,\"energy_share\":0.5,\"gini\":0.5,\"kurtosis\":9.0,\"slow_share\":"
        "null,"
        "\"by_layer\":[{\"layer\":0,\"mean\":2.0,\"std\":null,\"max_over_mean\":7.5}]}],"
        "\"sweep\":[{\"model\":0,\"tensor\":\"q\",\"lambda\":5.0,\"total_mean\":2.0,\"total_std\":null}],\"change\":[],"
        "\"pair_norms\":[],\"stability\":[{\"model\":0,\"tensor\":\"q\",\"jaccard_mean\":null}],\"warnings\":[\"one "
        "document\"]}",
        0, NULL);
    assert_non_null(results);
    save_json("captured", "results.json", results);
    assert_ok(qk_report_build(in_scratch("captured", ""), &plain, err));
    assert_int_equal(check_svgs("captured"), 3);
    json_decref(results);
}

int main(void)
{
    if (!make_scratch()) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_figures_have_their_marks),
        cmocka_unit_test(the_tables_are_whole),
        cmocka_unit_test(the_same_run_gives_the_same_bytes),
        cmocka_unit_test(hostile_names_are_text),
        cmocka_unit_test(nulls_are_gaps),
        cmocka_unit_test(empty_arrays_are_drawn),
        cmocka_unit_test(a_model_without_massive_values_is_named),
        cmocka_unit_test(the_verdict_takes_interval_and_tests),
        cmocka_unit_test(one_to_four_models_are_drawn),
        cmocka_unit_test(a_large_model_is_drawn),
        cmocka_unit_test(captured_tensors_are_drawn),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_scratch();
    return failed;
}
