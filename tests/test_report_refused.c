/* test_report_refused.c - results.json that lacks something, broken files, a full disk: one line each, no half file. */
#include "report_files.h"

#include <signal.h>
#include <sys/resource.h>

static void expect_error(const char *folder, qk_status status, const char *part)
{
    qk_error error = { QK_OK, "" };
    qk_status got = qk_report_build(in_scratch(folder, ""), &plain, &error);
    if (got != status || !strstr(error.message, part))
        fail_msg("%d \"%s\", expected %d \"%s\"", got, error.message, status, part);
    each_file(in_scratch(folder, ""), no_half_file, NULL);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    static const struct { const char *study, *path, *part; } cases[] = {
        { "massive", "study", "study: expected \"massive\", \"disrupt\", \"tasks\", \"context\", \"train\" or" },
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
        { "tasks", "categories.4.ci95", "categories[4].ci95: expected [low, high] or null, found nothing" },
        { "tasks", "kinds.1.macro", "kinds[1].macro: expected a number or null, found nothing" },
        { "tasks", "tests.0.models", "tests[0].models: expected the indices of two models, found nothing" },
        { "tasks", "tests.0.conditions", "tests[0].conditions: expected two texts, found nothing" },
        { "tasks", "conditions.3.name", "conditions[3].name: expected text, found nothing" },
        { "tasks", "settings.source", "settings.source: expected text, found nothing" },
        { "drope", "arms", "arms: expected 1 to 8, found 0" },
        { "drope", "arms.0.kind", "arms[0].kind: expected text, found nothing" },
        { "drope", "log.4.loss", "log[4].loss: expected a number or null, found nothing" },
        { "drope", "track.3.rotation", "track[3].rotation: expected a number or null, found nothing" },
        { "drope", "track.3.tensors.7.count_3", "track[3].tensors[7].count_3: expected a whole number" },
        { "drope", "track.1.ablation.zero", "track[1].ablation.zero: expected a number or null, found nothing" },
        { "drope", "track.0.totals.v", "track[0].totals.v: expected an object, found nothing" },
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
        { "massive", "study", json_string("dreams"), QK_E_UNSUPPORTED, "found \"dreams\"" },
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
        { "drope", "track.0.arm", json_integer(1), QK_E_FORMAT, "track[0].arm: expected the index of an arm, found 1" },
        { "drope", "arms.0.model", json_integer(1), QK_E_FORMAT, "arms[0].model" },
        { "drope", "track.5.tensors.0.layer", json_integer(6), QK_E_FORMAT,
          "track[5].tensors[0].layer: expected a layer of the model, found 6" },
        { "disrupt", "summary.0.ci95", json_real(1), QK_E_FORMAT, "summary[0].ci95" },
        { "tasks", "tests.0.models", json_pack("[i,i]", 0, 2), QK_E_FORMAT, "tests[0].models" },
        { "tasks", "tests.1.conditions", json_pack("[s,i]", "baseline", 1), QK_E_FORMAT, "tests[1].conditions" },
        { "tasks", "tests.1.models", json_pack("[i]", 0), QK_E_FORMAT, "tests[1].models" },
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

int main(void)
{
    if (!make_scratch()) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(a_full_disk_leaves_the_old_files),
        cmocka_unit_test(a_place_that_cannot_be_written_is_named),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_scratch();
    return failed;
}
