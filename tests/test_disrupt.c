/* test_disrupt.c - masks, controls, receipts, journal and statistics of experiment 2, on golden models. */
#include "study_files.h"

static const qk_compute plain = { .n_threads = 1 };

static qk_disrupt_settings defaults(void)
{
    return (qk_disrupt_settings) { .lambda = 4, .tensor = { true, true, false }, .n_controls = 3, .seed = 42,
                                   .n_bootstrap = 500 };
}

/* The first two documents to find masks on, the others to measure; they share the items of `documents`. */
typedef struct sets { qk_documents documents, calibration, evaluation; } sets;

static sets open_sets(void)
{
    sets s = { .documents = open_documents() };
    s.calibration = s.evaluation = s.documents;
    s.calibration.n = N_CALIBRATION;
    s.evaluation.items += N_CALIBRATION;
    s.evaluation.n = N_DOCUMENTS - N_CALIBRATION;
    return s;
}

static json_t *disrupt(const qk_named_model *model, sets *s, const qk_disrupt_settings *settings, qk_run *run)
{
    json_t *results;
    assert_ok(qk_study_disrupt(&results, model, 1, &s->calibration, &s->evaluation, settings, &plain, run, err));
    return results;
}

static double delta(const json_t *results, const char *condition)
{
    return number(find_row(results, "summary", "condition", condition, NULL), "delta_nll");
}

static void the_baseline_is_what_ppl_says(void **state)
{
    (void)state;
    qk_named_model mha = open_golden("mha");
    sets s = open_sets();
    qk_disrupt_settings settings = defaults();
    json_t *results = disrupt(&mha, &s, &settings, NULL), *ppl;
    assert_ok(qk_study_ppl(&ppl, mha.model, &s.evaluation, &(qk_ppl_settings) { 0 }, &plain, err));
    for (size_t d = 0; d < s.evaluation.n; d++) {
        char index[32];
        snprintf(index, sizeof index, "#%zu", d);
        const json_t *row = find_row(results, "scores", "condition", "baseline", "document", index, NULL);
        const json_t *wanted = find_row(ppl, "documents", "id", s.evaluation.items[d].id, NULL);
        assert_int_equal(number(row, "tokens"), number(wanted, "tokens"));
        assert_near(number(row, "nll"), number(wanted, "nll"), 1e-9 * number(wanted, "nll"));
    }
    const json_t *row = find_row(results, "summary", "condition", "baseline", NULL);
    assert_near(number(row, "ppl"), number(ppl, "ppl"), 1e-9 * number(ppl, "ppl"));
    assert_int_equal(json_array_size(json_object_get(row, "by_category")), 3);
    json_decref(results);
    json_decref(ppl);
    qk_documents_free(&s.documents);
    qk_model_close(mha.model);
}

static void receipts_count_every_masked_value(void **state)
{
    (void)state;
    qk_named_model gqa = open_golden("gqa");
    sets s = open_sets();
    qk_disrupt_settings settings = defaults();
    json_t *results = disrupt(&gqa, &s, &settings, NULL);
    size_t n_tokens = 0;
    for (size_t d = 0; d < s.evaluation.n; d++) n_tokens += s.evaluation.items[d].n_tokens;
    const json_t *massive = find_row(results, "conditions", "name", "massive", NULL);
    for (size_t i = 0; i < json_array_size(json_object_get(results, "conditions")); i++) {
        const json_t *row = json_array_get(json_object_get(results, "conditions"), i);
        const json_t *dims = json_object_get(row, "dims"), *receipt = json_object_get(row, "receipt");
        double n = number(dims, "q") + number(dims, "k");
        assert_int_equal(number(receipt, "visited"), n * (double)n_tokens);
        if (i == 0) continue; /* the baseline edits nothing */
        assert_true(json_equal(dims, json_object_get(massive, "dims")));
        assert_true(n > 0 && number(receipt, "changed") > 0.99 * number(receipt, "visited"));
    }
    assert_int_equal(json_array_size(json_object_get(results, "conditions")), 5);
    /* Beside the whole numbers of the baseline: what the masks hold. */
    size_t n_masked = 0;
    for (size_t i = 0; i < json_array_size(json_object_get(results, "masks")); i++) {
        n_masked += json_array_size(json_object_get(json_array_get(json_object_get(results, "masks"), i), "dims"));
    }
    const json_t *dims = json_object_get(massive, "dims");
    assert_int_equal(n_masked, number(dims, "q") + number(dims, "k"));
    json_decref(results);
    qk_documents_free(&s.documents);
    qk_model_close(gqa.model);
}

/* Without rotation a constant added to all keys changes no pattern, so zero and mean are the same edit of k (and only
 * of k, and only without rotation). */
static void zero_is_mean_for_keys_without_rotation(void **state)
{
    (void)state;
    static const struct { const char *model; bool q, same; } cases[] = {
        { "nope", false, true }, { "nope", true, false }, { "mha", false, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_named_model model = open_golden(cases[i].model);
        sets s = open_sets();
        qk_disrupt_settings settings = defaults();
        settings.tensor[QK_TENSOR_Q] = cases[i].q;
        settings.tensor[QK_TENSOR_K] = !cases[i].q;
        settings.n_controls = 0;
        json_t *zero = disrupt(&model, &s, &settings, NULL);
        settings.mean = true;
        json_t *mean = disrupt(&model, &s, &settings, NULL);
        assert_true(fabs(delta(zero, "massive")) > 1e-3);
        assert_int_equal(fabs(delta(zero, "massive") - delta(mean, "massive")) < 1e-4, cases[i].same);
        assert_int_equal(json_array_size(json_object_get(zero, "effects")), 0); /* no control, no M-R */
        assert_int_equal(json_array_size(json_object_get(zero, "tests")), 2);
        json_decref(zero);
        json_decref(mean);
        qk_documents_free(&s.documents);
        qk_model_close(model.model);
    }
}

static void jin_takes_the_largest_of_each_head(void **state)
{
    (void)state;
    qk_named_model gqa = open_golden("gqa");
    const qk_config *config = &gqa.model->config;
    sets s = open_sets();
    qk_disrupt_settings settings = defaults();
    settings.preset = QK_PRESET_JIN;
    settings.top_k = 2;
    json_t *results = disrupt(&gqa, &s, &settings, NULL);
    const json_t *found = json_object_get(results, "settings");
    assert_string_equal(json_string_value(json_object_get(found, "op")), "head-mean");
    assert_string_equal(json_string_value(json_object_get(found, "site")), "post");
    for (int i = 0; i < 2; i++) {
        const json_t *row = find_row(results, "conditions", "name", i ? "random-43" : "massive", NULL);
        const json_t *dims = json_object_get(row, "dims");
        assert_int_equal(number(dims, "q"), 2 * config->n_layers * config->n_heads);
        assert_int_equal(number(dims, "k"), 2 * config->n_layers * config->n_kv_heads);
        const json_t *receipt = json_object_get(row, "receipt");
        assert_true(number(receipt, "changed") > 0);
    }
    json_decref(results);
    qk_documents_free(&s.documents);
    qk_model_close(gqa.model);
}

/* ---- statistics, recomputed from scores[] */

/* Sum of nll / tokens of an arm over the documents; tokens are those of the baseline. */
static double loss_of(const json_t *results, int model, const char *condition)
{
    double nll = 0, tokens = 0;
    for (size_t i = 0; i < json_array_size(json_object_get(results, "scores")); i++) {
        const json_t *row = json_array_get(json_object_get(results, "scores"), i);
        if (number(row, "model") != model) continue;
        if (strcmp(json_string_value(json_object_get(row, "condition")), condition) != 0) continue;
        nll += number(row, "nll");
        tokens += number(row, "tokens");
    }
    return nll / tokens;
}

static bool has_warning(const json_t *results, const char *part)
{
    const json_t *warnings = json_object_get(results, "warnings");
    for (size_t i = 0; i < json_array_size(warnings); i++) {
        if (strstr(json_string_value(json_array_get(warnings, i)), part)) return true;
    }
    return false;
}

static void the_naive_numbers_are_the_posts(void **state)
{
    (void)state;
    qk_named_model models[] = { open_golden("mha"), open_golden("gqa") };
    sets s = open_sets();
    qk_disrupt_settings settings = defaults();
    settings.preset = QK_PRESET_AFRICA;
    settings.lambda = 99; /* the preset says 5 */
    settings.n_controls = 1;
    json_t *results;
    assert_ok(qk_study_disrupt(&results, models, 2, NULL, &s.evaluation, &settings, &plain, NULL, err));
    const json_t *naive = json_object_get(results, "naive"), *rows = json_object_get(naive, "by_model");
    double difference[2], variance[2];
    for (int m = 0; m < 2; m++) {
        double base = exp(loss_of(results, m, "baseline")), random[10], mean = 0, squares = 0;
        double massive = 100 * (exp(loss_of(results, m, "massive")) / base - 1);
        for (int i = 0; i < 10; i++) {
            char name[32];
            snprintf(name, sizeof name, "random-%d", 42 + i);
            random[i] = 100 * (exp(loss_of(results, m, name)) / base - 1);
            mean += random[i] / 10;
        }
        for (int i = 0; i < 10; i++) squares += (random[i] - mean) * (random[i] - mean);
        const json_t *row = json_array_get(rows, (size_t)m);
        difference[m] = massive - mean;
        variance[m] = squares / 9;
        assert_near(number(row, "base_ppl"), base, 1e-9 * base);
        assert_near(number(row, "massive_pct_mean"), massive, 1e-7);
        assert_near(number(row, "massive_pct_std"), 0, 1e-9);
        assert_near(number(row, "random_pct_mean"), mean, 1e-7);
        assert_near(number(row, "random_pct_std"), sqrt(squares / 10), 1e-7);
        assert_near(number(row, "m_minus_r_pct"), massive - mean, 1e-7);
        assert_near(number(row, "t"), (massive - mean) / sqrt(squares / 90), 1e-6 * fabs(number(row, "t")));
        assert_near(number(row, "d"), (massive - mean) / sqrt(squares / 10), 1e-6 * fabs(number(row, "d")));
    }
    assert_near(number(naive, "ratio_of_m_minus_r"), difference[0] / difference[1], 1e-6);
    double t = (difference[0] - difference[1]) / sqrt((variance[0] + variance[1]) / 10);
    assert_near(number(json_object_get(naive, "t_between"), "statistic"), t, 1e-6 * fabs(t));
    assert_true(has_warning(results, "on the evaluation documents themselves"));
    json_decref(results);
    qk_documents_free(&s.documents);
    qk_model_close(models[0].model);
    qk_model_close(models[1].model);
}

static void the_document_is_the_unit(void **state)
{
    (void)state;
    qk_named_model models[] = { open_golden("mha"), open_golden("nope") };
    sets s = open_sets();
    qk_disrupt_settings settings = defaults();
    json_t *results;
    static const char *const controls[] = { "random-42", "random-43", "random-44" };
    assert_ok(qk_study_disrupt(&results, models, 2, &s.calibration, &s.evaluation, &settings, &plain, NULL, err));
    for (int m = 0; m < 2; m++) {
        char index[8];
        snprintf(index, sizeof index, "#%d", m);
        double base = loss_of(results, m, "baseline"), random = 0;
        for (int i = 0; i < 3; i++) random += loss_of(results, m, controls[i]) / 3;
        const json_t *massive = find_row(results, "summary", "model", index, "condition", "massive", NULL);
        assert_near(number(massive, "delta_nll"), loss_of(results, m, "massive") - base, 1e-9);
        assert_near(number(massive, "ppl_increase_pct"), 100 * expm1(number(massive, "delta_nll")), 1e-6);
        const json_t *effect = json_object_get(find_row(results, "effects", "model", index, NULL), "m_minus_r");
        assert_near(number(effect, "delta_nll"), loss_of(results, m, "massive") - random, 1e-9);
        const json_t *ci = json_object_get(massive, "ci95");
        assert_true(json_number_value(json_array_get(ci, 0)) <= number(massive, "delta_nll"));
        assert_true(json_number_value(json_array_get(ci, 1)) >= number(massive, "delta_nll"));
    }
    const json_t *paired = find_row(results, "tests", "model", "#0", "comparison", "massive vs random", "name",
                                    "paired t", NULL);
    assert_int_equal(number(paired, "n"), s.evaluation.n);
    assert_true(number(paired, "log10_p_holm") >= number(paired, "log10_p"));
    find_row(results, "tests", "comparison", "m_minus_r between models", "name", "Welch t", NULL);
    json_decref(results);

    /* The same text twice is no second document. */
    memcpy(s.evaluation.items[1].sha256, s.evaluation.items[0].sha256, 65);
    results = disrupt(&models[0], &s, &settings, NULL);
    assert_true(has_warning(results, "documents c and d are the same text"));
    json_decref(results);

    /* Many copies are counted, not named pair by pair. */
    for (size_t i = 1; i < s.evaluation.n; i++)
        memcpy(s.evaluation.items[i].sha256, s.evaluation.items[0].sha256, 65);
    results = disrupt(&models[0], &s, &settings, NULL);
    assert_true(json_array_size(json_object_get(results, "warnings")) <= s.evaluation.n);
    assert_true(has_warning(results, "documents c and d are the same text"));
    json_decref(results);

    /* One document has no spread: every test is refused and says why. */
    s.evaluation.n = 1;
    results = disrupt(&models[0], &s, &settings, NULL);
    for (size_t i = 0; i < json_array_size(json_object_get(results, "tests")); i++) {
        const json_t *row = json_array_get(json_object_get(results, "tests"), i);
        assert_true(json_is_string(json_object_get(row, "refused")) && json_is_null(json_object_get(row, "p")));
    }
    assert_true(json_is_null(json_object_get(find_row(results, "summary", "condition", "massive", NULL), "ci95")));
    json_decref(results);
    qk_documents_free(&s.documents);
    qk_model_close(models[0].model);
    qk_model_close(models[1].model);
}

/* ---- the journal */

static bool stop_at_once(void *user, const char *phase, double done, double total)
{
    (void)phase, (void)done, (void)total;
    return ++*(int *)user < 3;
}

static qk_run *open_run(const char *name, bool resume)
{
    json_t *key = json_pack("{s:s}", "key", "the same");
    qk_run *run;
    assert_ok(qk_run_open(&run, work_path(name), key, resume, err));
    json_decref(key);
    return run;
}

static char *bytes_of(const qk_run *run, const json_t *results)
{
    qk_map map;
    char path[8400];
    assert_ok(qk_run_write_json(run, "results.json", results, err));
    snprintf(path, sizeof path, "%s/results.json", qk_run_folder(run));
    assert_ok(qk_map_open(&map, path, err));
    char *bytes = strndup((const char *)map.data, map.size);
    qk_map_close(&map);
    return bytes;
}

static void a_resumed_study_ends_in_the_same_bytes(void **state)
{
    (void)state;
    qk_named_model mha = open_golden("mha");
    sets s = open_sets();
    qk_disrupt_settings settings = defaults();
    qk_run *whole = open_run("whole", false), *broken = open_run("broken", false);
    json_t *results = disrupt(&mha, &s, &settings, whole);
    char *wanted = bytes_of(whole, results);
    assert_int_equal(qk_run_count(whole), 5 * s.evaluation.n);
    json_decref(results);

    /* Interrupted by the caller: no results; then killed after two documents. */
    int n_ticks = 0;
    qk_compute stopping = plain;
    stopping.progress = (qk_progress) { stop_at_once, &n_ticks };
    assert_refused(qk_study_disrupt(&results, &mha, 1, &s.calibration, &s.evaluation, &settings, &stopping, broken,
                                    err), QK_E_INTERRUPTED, "");
    sets fewer = s;
    fewer.evaluation.n = 2;
    json_decref(disrupt(&mha, &fewer, &settings, broken));
    assert_int_equal(qk_run_count(broken), 5 * 2);
    qk_run_close(broken);
    broken = open_run("broken", true);
    results = disrupt(&mha, &s, &settings, broken);
    char *found = bytes_of(broken, results);
    assert_string_equal(found, wanted);
    json_decref(results);

    /* What is journaled is believed, what does not fit is measured again. */
    json_t *unit = qk_run_get(broken, 0, "massive", 0), *odd = json_pack("{s:i}", "tokens", 3);
    double nll = number(unit, "nll");
    json_object_set_new(unit, "nll", json_real(nll + 100));
    assert_ok(qk_run_put(broken, 0, "massive", 0, unit, err));
    assert_ok(qk_run_put(broken, 0, "random-42", 1, odd, err));
    results = disrupt(&mha, &s, &settings, broken);
    const json_t *row = find_row(results, "scores", "condition", "massive", "document", "#0", NULL);
    assert_near(number(row, "nll"), nll + 100, 1e-9);
    row = find_row(results, "scores", "condition", "random-42", "document", "#1", NULL);
    assert_int_equal(number(row, "tokens"), s.evaluation.items[1].n_tokens - 1);
    json_decref(results);
    json_decref(unit);
    json_decref(odd);
    free(wanted);
    free(found);
    qk_run_close(whole);
    qk_run_close(broken);
    qk_documents_free(&s.documents);
    qk_model_close(mha.model);
}

/* ---- refusals */

static qk_status try_settings(const qk_named_model *model, sets *s, qk_disrupt_settings settings, qk_error *err)
{
    json_t *results = NULL;
    qk_status status = qk_study_disrupt(&results, model, 1, &s->calibration, &s->evaluation, &settings, &plain, NULL,
                                        err);
    json_decref(results);
    return status;
}

static void what_would_mislead_is_refused(void **state)
{
    (void)state;
    qk_named_model mha = open_golden("mha");
    sets s = open_sets();
    qk_disrupt_settings settings = defaults();
    settings.lambda = 30;
    assert_refused(try_settings(&mha, &s, settings, err), QK_E_CHECK,
                   "no massive value at lambda 30 in q,k: largest max/mean is");
    settings.lambda = -1;
    assert_refused(try_settings(&mha, &s, settings, err), QK_E_ARGUMENT, "--lambda");
    settings = defaults();
    settings.criterion = QK_CRITERION_TOP_K;
    assert_refused(try_settings(&mha, &s, settings, err), QK_E_ARGUMENT, "expected 1 to 7 dims of each head, found 0");
    settings = defaults();
    settings.tensor[QK_TENSOR_Q] = settings.tensor[QK_TENSOR_K] = false;
    assert_refused(try_settings(&mha, &s, settings, err), QK_E_ARGUMENT, "--tensors");
    settings = defaults();
    settings.lambda = 0.01; /* every dim is massive: none is left for a control that excludes them */
    assert_refused(try_settings(&mha, &s, settings, err), QK_E_ARGUMENT, "layer 0, q");
    uint8_t none[8] = { 0 };
    settings = defaults();
    settings.layers = none;
    assert_refused(try_settings(&mha, &s, settings, err), QK_E_CHECK, "nothing to edit");
    s.evaluation = s.documents;
    settings = defaults();
    assert_refused(try_settings(&mha, &s, settings, err), QK_E_ARGUMENT, "document a is in the calibration set");
    qk_documents_free(&s.documents);
    qk_model_close(mha.model);
}

static void only_the_chosen_layers_and_tensors_are_edited(void **state)
{
    (void)state;
    qk_named_model mha = open_golden("mha");
    sets s = open_sets();
    qk_disrupt_settings settings = defaults();
    uint8_t second[8] = { 0, 1 };
    settings.layers = second;
    settings.tensor[QK_TENSOR_Q] = false;
    settings.control = QK_CONTROL_UNIFORM;
    json_t *results = disrupt(&mha, &s, &settings, NULL);
    for (size_t i = 0; i < json_array_size(json_object_get(results, "masks")); i++) {
        const json_t *row = json_array_get(json_object_get(results, "masks"), i);
        assert_int_equal(number(row, "layer"), 1);
        assert_string_equal(json_string_value(json_object_get(row, "tensor")), "k");
    }
    assert_int_equal(json_array_size(json_object_get(results, "masks")), 1);
    json_decref(results);
    qk_documents_free(&s.documents);
    qk_model_close(mha.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_baseline_is_what_ppl_says),
        cmocka_unit_test(receipts_count_every_masked_value),
        cmocka_unit_test(zero_is_mean_for_keys_without_rotation),
        cmocka_unit_test(jin_takes_the_largest_of_each_head),
        cmocka_unit_test(the_naive_numbers_are_the_posts),
        cmocka_unit_test(the_document_is_the_unit),
        cmocka_unit_test(a_resumed_study_ends_in_the_same_bytes),
        cmocka_unit_test(what_would_mislead_is_refused),
        cmocka_unit_test(only_the_chosen_layers_and_tensors_are_edited),
    };
    return cmocka_run_group_tests(tests, make_work_folder, remove_work_folder);
}
