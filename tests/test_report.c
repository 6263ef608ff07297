/* test_report.c - tables, figures and page out of two small runs (tests/data/report, made by tools/report_fixture.py). */
#include "testing.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "markup.h"
#include "report/report.h"

static char scratch[40];
static const qk_report_options plain = { false, false };

/* fontconfig, below cairo, keeps what it found for ever: not ours to free. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libfontconfig\n"; }

/* ---- helpers */

static const char *in_scratch(const char *folder, const char *name)
{
    static char paths[8][300];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s%s%s", scratch, folder, *name ? "/" : "", name);
    return path;
}

/* A file as text, NUL-terminated; the caller's to free(). */
static char *read_text(const char *path)
{
    qk_map map;
    assert_ok(qk_map_open(&map, path, err));
    char *text = malloc(map.size + 1);
    assert_non_null(text);
    memcpy(text, map.data, map.size);
    text[map.size] = '\0';
    qk_map_close(&map);
    return text;
}

static json_t *load_fixture(const char *study, const char *name)
{
    char part[64];
    snprintf(part, sizeof part, "report/%s/%s", study, name);
    json_t *object = json_load_file(data_path(part), 0, NULL);
    assert_non_null(object);
    return object;
}

static void save_json(const char *folder, const char *name, const json_t *object)
{
    assert_ok(qk_make_folders(in_scratch(folder, ""), err));
    assert_int_equal(json_dump_file(object, in_scratch(folder, name), JSON_COMPACT | JSON_REAL_PRECISION(17)), 0);
}

/* A run folder with changed results, and the fixture's arrays where there are some. */
static void save_run(const char *folder, const char *study, const json_t *results)
{
    json_t *manifest = load_fixture(study, "manifest.json");
    save_json(folder, "results.json", results);
    save_json(folder, "manifest.json", manifest);
    json_decref(manifest);
    if (strcmp(study, "massive") != 0) return;
    qk_map map;
    assert_ok(qk_map_open(&map, data_path("report/massive/arrays.safetensors"), err));
    assert_ok(qk_write_file(in_scratch(folder, "arrays.safetensors"), map.data, map.size, err));
    qk_map_close(&map);
}

static void save_fixture(const char *folder, const char *study)
{
    json_t *results = load_fixture(study, "results.json");
    save_run(folder, study, results);
    json_decref(results);
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, part)); p += strlen(part)) n++;
    return n;
}

/* Calls `see` for every regular file below a folder of the scratch space, in order of names. */
static void each_file(const char *folder, void (*see)(void *user, const char *path), void *user)
{
    struct dirent **names = NULL;
    int n = scandir(folder, &names, NULL, alphasort);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        struct stat info;
        char *path = qk_path_join(folder, names[i]->d_name);
        assert_non_null(path);
        if (names[i]->d_name[0] != '.' && lstat(path, &info) == 0) {
            if (S_ISDIR(info.st_mode)) each_file(path, see, user);
            if (S_ISREG(info.st_mode)) see(user, path);
        }
        free(path);
        free(names[i]);
    }
    free(names);
}

static void hash_file(void *user, const char *path)
{
    qk_map map;
    assert_ok(qk_map_open(&map, path, err));
    qk_sha256_add(user, path, strlen(path));
    qk_sha256_add(user, map.data, map.size);
    qk_map_close(&map);
}

static void hash_folder(char hex[65], const char *folder)
{
    qk_sha256 hash;
    qk_sha256_start(&hash);
    each_file(in_scratch(folder, ""), hash_file, &hash);
    qk_sha256_hex(hex, &hash);
}

static void check_svg(void *user, const char *path)
{
    markup m;
    if (!strstr(path, ".svg")) return;
    char *text = read_text(path);
    if (!markup_check(&m, text)) fail_msg("%s: %s", path, m.why);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    assert_non_null(strstr(text, "role=\"img\" viewBox=\"0 0 "));
    free(text);
    ++*(size_t *)user;
}

static size_t check_svgs(const char *folder)
{
    size_t n = 0;
    each_file(in_scratch(folder, ""), check_svg, &n);
    return n;
}

static void no_half_file(void *user, const char *path)
{
    (void)user;
    if (strstr(path, ".tmp-")) fail_msg("%s is left", path);
}

/* Cells of every record are as many as in the first (RFC 4180); returns the number of records. */
static size_t check_csv(const char *path)
{
    size_t n_records = 0, n_cells = 1, n_wanted = 0;
    bool quoted = false;
    char *text = read_text(path);
    for (const char *p = text; *p; p++) {
        if (*p == '"') quoted = !quoted;
        if (quoted || (*p != ',' && *p != '\n')) continue;
        if (*p == ',') {
            n_cells++;
            continue;
        }
        if (n_records++ == 0) n_wanted = n_cells;
        if (n_cells != n_wanted)
            fail_msg("%s: record %zu: %zu cells, expected %zu", path, n_records, n_cells, n_wanted);
        n_cells = 1;
    }
    assert_false(quoted);
    free(text);
    return n_records;
}

static void check_csv_file(void *user, const char *path)
{
    (void)user;
    if (strstr(path, ".csv")) check_csv(path);
}

static void expect_marks(const char *folder, const char *figure, const char *mark, size_t n)
{
    char name[64];
    snprintf(name, sizeof name, "figures/%s.svg", figure);
    char *text = read_text(in_scratch(folder, name));
    if (count(text, mark) != n) fail_msg("%s: %s: %zu, expected %zu", figure, mark, count(text, mark), n);
    free(text);
}

/* ---- what a good run gives */

static void the_figures_have_their_marks(void **state)
{
    (void)state;
    save_fixture("demo/massive", "massive");
    save_fixture("demo/disrupt", "disrupt");
    assert_ok(qk_report_build(in_scratch("demo", ""), &plain, err));
    assert_int_equal(check_svgs("demo"), 6 + 3);
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
    char *page = read_text(in_scratch("demo", "report.html"));
    assert_int_equal(count(page, "<svg "), 6 + 3);
    assert_int_equal(count(page, "<script type=\"application/json\""), 2);
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
    static const char *const studies[] = { "massive", "disrupt" };
    for (int s = 0; s < 2; s++) {
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

/* Every real number below `value` becomes null; so do intervals. */
static void forget(json_t *value)
{
    const char *name;
    json_t *item;
    void *next;
    size_t i;
    json_object_foreach_safe(value, next, name, item) {
        if (json_is_real(item) && strcmp(name, "lambda") != 0)
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
    static const char *const studies[] = { "massive", "disrupt" };
    for (int s = 0; s < 2; s++) {
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
    static const char *const studies[] = { "massive", "disrupt" };
    for (int s = 0; s < 2; s++) {
        json_t *results = load_fixture(studies[s], "results.json"), *value;
        const char *name;
        json_object_foreach(results, name, value)
            if (json_is_array(value) && strcmp(name, "models") != 0) json_array_clear(value);
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
    static const char *const studies[] = { "massive", "disrupt" };
    for (int s = 0; s < 2; s++) {
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

/* ---- what is refused */

static void expect_error(const char *folder, qk_status status, const char *part)
{
    qk_error error = { QK_OK, "" };
    qk_status got = qk_report_build(in_scratch(folder, ""), &plain, &error);
    if (got != status || !strstr(error.message, part))
        fail_msg("%d \"%s\", expected %d \"%s\"", got, error.message, status, part);
    each_file(in_scratch(folder, ""), no_half_file, NULL);
}

/* `path` such as "summary.2.by_layer.0.mean": takes away the last, and gives it `value` instead where there is one. */
static void change_at(json_t *root, const char *path, json_t *value)
{
    char key[64];
    for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
        snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
        root = json_is_array(root) ? json_array_get(root, (size_t)atol(key)) : json_object_get(root, key);
        assert_non_null(root);
    }
    if (value)
        assert_int_equal(json_object_set_new(root, path, value), 0);
    else
        assert_int_equal(json_object_del(root, path), 0);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    static const struct { const char *study, *path, *part; } cases[] = {
        { "massive", "study", "study: expected \"massive\" or \"disrupt\", found nothing" },
        { "massive", "schema", "schema: expected 1, found nothing" },
        { "massive", "counts", "counts: expected an array, found nothing" },
        { "massive", "counts.17.layer", "counts[17].layer: expected a layer of the model, found nothing" },
        { "massive", "summary.2.total_ci95", "summary[2].total_ci95: expected [low, high] or null, found nothing" },
        { "massive", "summary.0.by_layer.3.mean", "summary[0].by_layer[3].mean: expected a number or null" },
        { "massive", "settings.lambda", "settings.lambda: expected a number, found nothing" },
        { "massive", "models.1.heads", "models[1].heads: expected a number or null, found nothing" },
        { "massive", "models.0.pairs.4.slow", "models[0].pairs[4].slow: expected a value, found nothing" },
        { "massive", "documents.5.id", "documents[5].id: expected text, found nothing" },
        { "massive", "sweep.0.lambda", "sweep[0].lambda" },
        { "massive", "pair_norms.1.norm", "pair_norms[1].norm: expected an array, found nothing" },
        { "massive", "warnings", "warnings: expected an array, found nothing" },
        { "disrupt", "conditions.1.kind", "conditions[1].kind" },
        { "disrupt", "scores.20.nll", "scores[20].nll: expected a number or null, found nothing" },
        { "disrupt", "summary.1.by_category.0.ppl", "summary[1].by_category[0].ppl" },
        { "disrupt", "effects.0.m_minus_r.ci95", "effects[0].m_minus_r.ci95" },
        { "disrupt", "tests.3.refused", "tests[3].refused: expected text or null, found nothing" },
        { "disrupt", "settings.op", "settings.op: expected text, found nothing" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *results = load_fixture(cases[i].study, "results.json");
        change_at(results, cases[i].path, NULL);
        save_run("missing", cases[i].study, results);
        expect_error("missing", strcmp(cases[i].path, "schema") == 0 ? QK_E_UNSUPPORTED : QK_E_FORMAT, cases[i].part);
        json_decref(results);
    }
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    const struct { const char *study, *path; json_t *value; qk_status status; const char *part;
    } cases[] = {
        { "massive", "study", json_string("tasks"), QK_E_UNSUPPORTED, "found \"tasks\"" },
        { "massive", "schema", json_integer(2), QK_E_UNSUPPORTED, "schema: expected 1, found 2" },
        { "massive", "counts.0.model", json_integer(2), QK_E_FORMAT,
          "counts[0].model: expected the index of a model, found 2" },
        { "massive", "counts.0.model", json_integer(-1), QK_E_FORMAT, "counts[0].model" },
        { "massive", "counts.0.document", json_integer(8), QK_E_FORMAT, "counts[0].document" },
        { "massive", "counts.0.layer", json_integer(6), QK_E_FORMAT,
          "counts[0].layer: expected a layer of the model, found 6" },
        { "massive", "counts.0.tensor", json_string("z"), QK_E_FORMAT, "counts[0].tensor" },
        { "massive", "counts.0.count", json_real(1.5), QK_E_FORMAT,
          "counts[0].count: expected a whole number from 0, found 1.5" },
        { "massive", "models.0.head_dim", json_integer(INT64_C(1) << 60), QK_E_FORMAT,
          "models[0].head_dim: expected 1 to 8192" },
        { "massive", "models.0.layers", json_integer(0), QK_E_FORMAT, "models[0].layers: expected 1 to 4096, found 0" },
        { "massive", "models.0.heads", json_integer(16), QK_E_SHAPE, "hook_q: expected F32 [16, 32]" },
        { "massive", "models", json_array(), QK_E_FORMAT, "models: expected 1 to 8, found 0" },
        { "massive", "pair_norms.0.norm", json_array(), QK_E_FORMAT,
          "pair_norms[0].norm: expected 16 numbers, found 0" },
        { "disrupt", "summary.0.ci95", json_real(1), QK_E_FORMAT, "summary[0].ci95" },
        { "disrupt", "scores.0.model", json_string("0"), QK_E_FORMAT, "scores[0].model" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *results = load_fixture(cases[i].study, "results.json");
        change_at(results, cases[i].path, cases[i].value);
        save_run("wrong", cases[i].study, results);
        expect_error("wrong", cases[i].status, cases[i].part);
        json_decref(results);
    }
}

static void broken_files_are_refused(void **state)
{
    (void)state;
    char deep[6001];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    const struct { const char *text, *part; } cases[] = {
        { "", "expected a JSON object" },     { "{\"study\": \"massive\",", "expected a JSON object" },
        { "[]", "expected a JSON object" },   { "{\"study\": \"\xff\"}", "expected a JSON object" },
        { deep, "expected a JSON object" },   { "{\"a\":1,\"a\":2}", "expected a JSON object" },
        { "{}", "study: expected" },
    };
    assert_ok(qk_make_folders(in_scratch("broken", ""), err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(qk_write_file(in_scratch("broken", "results.json"), cases[i].text, strlen(cases[i].text), err));
        expect_error("broken", QK_E_FORMAT, cases[i].part);
    }
    assert_ok(qk_make_folders(in_scratch("hollow/sub", ""), err));
    expect_error("hollow", QK_E_ARGUMENT, "expected results.json here or in a subfolder");
    qk_error error = { QK_OK, "" };
    assert_int_equal(qk_report_build(in_scratch("nowhere", ""), &plain, &error), QK_E_IO);
    save_fixture("arrays", "massive");
    assert_ok(qk_write_file(in_scratch("arrays", "arrays.safetensors"), "junk", 4, err));
    expect_error("arrays", QK_E_FORMAT, "arrays.safetensors");
}

/* ---- a full disk, a place that cannot be written */

static void a_full_disk_leaves_the_old_files(void **state)
{
    (void)state;
    char before[65], after[65];
    struct rlimit old;
    save_fixture("full", "massive");
    assert_ok(qk_report_build(in_scratch("full", ""), &plain, err));
    hash_folder(before, "full");
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 100; limit < 100000; limit *= 3) { /* stops in a table, a figure, the page */
        qk_error error = { QK_OK, "" };
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){ limit, old.rlim_max });
        qk_status status = qk_report_build(in_scratch("full", ""), &plain, &error);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_int_equal(status, QK_E_IO);
        hash_folder(after, "full");
        assert_string_equal(before, after);
    }
}

static void a_place_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    save_fixture("blocked", "disrupt");
    assert_ok(qk_make_folders(in_scratch("blocked/report.html/x", ""), err));
    expect_error("blocked", QK_E_IO, "report.html: cannot write");
    save_fixture("flat", "disrupt");
    assert_ok(qk_write_file(in_scratch("flat", "figures"), "x", 1, err));
    expect_error("flat", QK_E_IO, "figures: expected a folder");
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

int main(void)
{
    /* in memory where there is such a place: every file is fsynced, and there are hundreds */
    snprintf(scratch, sizeof scratch, "%s/qk-report-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(scratch)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_figures_have_their_marks),
        cmocka_unit_test(the_tables_are_whole),
        cmocka_unit_test(the_same_run_gives_the_same_bytes),
        cmocka_unit_test(hostile_names_are_text),
        cmocka_unit_test(nulls_are_gaps),
        cmocka_unit_test(empty_arrays_are_drawn),
        cmocka_unit_test(a_model_without_massive_values_is_named),
        cmocka_unit_test(one_to_four_models_are_drawn),
        cmocka_unit_test(a_large_model_is_drawn),
        cmocka_unit_test(captured_tensors_are_drawn),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(a_full_disk_leaves_the_old_files),
        cmocka_unit_test(a_place_that_cannot_be_written_is_named),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}
