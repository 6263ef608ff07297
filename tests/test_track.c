/* test_track.c - the tracker against the studies that measure the same: masks, counts, losses; its reference. */
#include "study_files.h"

#include "study/track.h"

static const qk_compute plain = { .n_threads = 1 };

static qk_tracker_settings at_lambda(double lambda)
{
    return (qk_tracker_settings) { .lambda = lambda, .seed = 42, .compute = plain };
}

/* A tracker of `model` over the first `n` documents, tokenized. */
static qk_tracker *open_tracker(const qk_named_model *model, qk_documents *documents, size_t n, double lambda)
{
    qk_tracker *tracker;
    qk_tracker_settings settings = at_lambda(lambda);
    if (!documents->items[0].tokens) assert_ok(qk_study_tokenize(documents, model, 0, false, err));
    qk_documents probe = *documents;
    probe.n = n;
    assert_ok(qk_tracker_new(&tracker, &model->model->config, &probe, &settings, err));
    return tracker;
}

static json_t *measure(qk_tracker *tracker, const qk_model *model, uint64_t step)
{
    json_t *row;
    assert_ok(qk_tracker_measure(&row, tracker, model, step, step * 100, err));
    return row;
}

static const json_t *layer_row(const json_t *row, const char *tensor, int layer)
{
    char index[16];
    snprintf(index, sizeof index, "#%d", layer);
    return find_row(row, "tensors", "tensor", tensor, "layer", index, NULL);
}

/* One identifying document: the tracker's maps are that document's, so massive must say the same of it. */
static void counts_are_those_of_massive(void **state)
{
    (void)state;
    static const char *const names[] = { "gqa", "nope", "qk-norm-nope" };
    for (size_t i = 0; i < 3; i++) {
        qk_named_model model = open_golden(names[i]);
        qk_documents documents = open_documents();
        qk_tracker *tracker = open_tracker(&model, &documents, 2, 2.5);
        json_t *row = measure(tracker, model.model, 0), *massive;
        documents.n = 1;
        qk_massive_settings settings = { .lambda = 2.5, .criterion = QK_CRITERION_LAYER_MEAN };
        assert_ok(qk_study_massive(&massive, &model, 1, &documents, &settings, &plain, NULL, err));
        double n_massive = 0;
        for (int t = 0; t < QK_N_TENSORS; t++) {
            double count = 0, peak = 0;
            for (int l = 0; l < model.model->config.n_layers; l++) {
                char index[16];
                snprintf(index, sizeof index, "#%d", l);
                const json_t *ours = layer_row(row, qk_tensor_letters[t], l);
                const json_t *theirs =
                    find_row(massive, "counts", "tensor", qk_tensor_letters[t], "layer", index, NULL);
                assert_int_equal(number(ours, "count"), number(theirs, "count"));
                assert_int_equal(json_array_size(json_object_get(ours, "dims")), number(theirs, "count"));
                assert_near(number(ours, "max_over_mean"), number(theirs, "max_over_mean"), 1e-12);
                assert_near(number(ours, "energy_share"), number(theirs, "energy_share"), 1e-12);
                count += number(ours, "count");
                peak = fmax(peak, number(ours, "max_over_mean"));
            }
            const json_t *total = json_object_get(json_object_get(row, "totals"), qk_tensor_letters[t]);
            assert_int_equal(number(total, "count"), count);
            assert_near(number(total, "max_over_mean"), peak, 0);
            for (int lambda = 3; lambda <= 4; lambda++) { /* the sweep's rows, by their number among whole lambdas */
                const json_t *sweep = json_object_get(massive, "sweep"), *s;
                size_t k;
                json_array_foreach(sweep, k, s) {
                    if (number(s, "lambda") != lambda ||
                        strcmp(json_string_value(json_object_get(s, "tensor")), qk_tensor_letters[t])) continue;
                    assert_int_equal(number(total, lambda == 3 ? "count_3" : "count_4"), number(s, "total_mean"));
                }
            }
            n_massive += count;
        }
        assert_true(n_massive > 0);
        documents.n = N_DOCUMENTS;
        json_decref(row);
        json_decref(massive);
        qk_tracker_free(tracker);
        qk_documents_free(&documents);
        qk_model_close(model.model);
    }
}

/* The same halves, masks and edits as disrupt's: the same loss. */
static void ablation_is_that_of_disrupt(void **state)
{
    (void)state;
    static const char *const names[] = { "mha", "nope" };
    for (size_t i = 0; i < 2; i++) {
        qk_named_model model = open_golden(names[i]);
        qk_documents documents = open_documents(), calibration, evaluation;
        qk_tracker *tracker = open_tracker(&model, &documents, 6, 4);
        json_t *row = measure(tracker, model.model, 0), *results;
        const json_t *ablation = json_object_get(row, "ablation");
        calibration = evaluation = documents;
        calibration.n = evaluation.n = qk_track_identifying(6);
        evaluation.items += calibration.n;
        for (int mean = 0; mean < 2; mean++) {
            qk_disrupt_settings settings = { .lambda = 4, .tensor = { true, true, false }, .mean = mean,
                                             .n_bootstrap = 100 };
            assert_ok(qk_study_disrupt(&results, &model, 1, &calibration, &evaluation, &settings, &plain, NULL, err));
            const json_t *massive = find_row(results, "summary", "condition", "massive", NULL);
            const json_t *baseline = find_row(results, "summary", "condition", "baseline", NULL);
            const json_t *dims = json_object_get(find_row(results, "conditions", "name", "massive", NULL), "dims");
            assert_near(number(ablation, mean ? "mean" : "zero"), number(massive, "delta_nll"), 1e-12);
            assert_near(number(row, "loss"), number(baseline, "nll_per_token"), 1e-12);
            assert_int_equal(number(row, "loss_tokens"), number(baseline, "tokens"));
            assert_int_equal(number(ablation, "dims_q"), number(dims, "q"));
            assert_int_equal(number(ablation, "dims_k"), number(dims, "k"));
            const json_t *masks = json_object_get(results, "masks"), *m;
            size_t k;
            json_array_foreach(masks, k, m) {
                const json_t *ours = layer_row(row, json_string_value(json_object_get(m, "tensor")),
                                               (int)number(m, "layer"));
                assert_true(json_equal(json_object_get(ours, "dims"), json_object_get(m, "dims")));
            }
            assert_true(k > 0);
            json_decref(results);
        }
        assert_true(fabs(number(ablation, "zero")) > 1e-4);
        assert_true(isfinite(number(ablation, "random")));
        json_decref(row);
        qk_tracker_free(tracker);
        qk_documents_free(&documents);
        qk_model_close(model.model);
    }
}

static void nothing_massive_has_no_effect_to_tell(void **state)
{
    (void)state;
    qk_named_model model = open_golden("mha");
    qk_documents documents = open_documents();
    qk_tracker *tracker = open_tracker(&model, &documents, 6, 1000);
    json_t *row = measure(tracker, model.model, 0);
    const json_t *ablation = json_object_get(row, "ablation");
    assert_int_equal(number(ablation, "dims_q"), 0);
    assert_true(json_is_null(json_object_get(ablation, "zero")) && json_is_null(json_object_get(ablation, "mean")) &&
                json_is_null(json_object_get(ablation, "random")));
    assert_true(json_is_null(json_object_get(json_object_get(json_object_get(row, "totals"), "q"), "overlap")));
    assert_true(number(row, "loss") > 0);
    /* These documents are shorter than 64 tokens: there is no rate, and it is not 0. */
    assert_int_equal(number(row, "sink_sequences"), 0);
    assert_true(json_is_null(json_object_get(row, "sink_rate")));
    json_decref(row);
    qk_tracker_free(tracker);
    qk_documents_free(&documents);
    qk_model_close(model.model);
}

/* The masks of another model of the same shape, compared with those of the first; through a row too (--resume). */
static void overlap_is_with_the_first_row(void **state)
{
    (void)state;
    qk_named_model before = open_golden("linear"), after = open_golden("nope");
    qk_documents documents = open_documents();
    qk_tracker *tracker = open_tracker(&before, &documents, 6, 3), *later = open_tracker(&before, &documents, 6, 3);
    json_t *first = measure(tracker, before.model, 0), *second = measure(tracker, after.model, 7);
    assert_ok(qk_tracker_restore(later, first, err));
    json_t *resumed = measure(later, after.model, 7);
    assert_true(json_equal(second, resumed));
    assert_int_equal(number(second, "step"), 7);
    assert_int_equal(number(second, "tokens"), 700);
    assert_near(number(first, "rotation"), 1, 0);
    assert_near(number(second, "rotation"), 0, 0);
    for (int t = 0; t < QK_N_TENSORS; t++) {
        const json_t *a = json_object_get(json_object_get(first, "totals"), qk_tensor_letters[t]);
        const json_t *b = json_object_get(json_object_get(second, "totals"), qk_tensor_letters[t]);
        if (number(a, "count") == 0) continue;
        assert_near(number(a, "overlap"), 1, 0);
        double both = 0, either = 0; /* Jaccard once more, from the lists of dims */
        for (int l = 0; l < before.model->config.n_layers; l++) {
            const json_t *x = json_object_get(layer_row(first, qk_tensor_letters[t], l), "dims");
            const json_t *y = json_object_get(layer_row(second, qk_tensor_letters[t], l), "dims");
            size_t common = 0;
            for (size_t i = 0; i < json_array_size(x); i++)
                for (size_t k = 0; k < json_array_size(y); k++)
                    common += json_equal(json_array_get(x, i), json_array_get(y, k));
            both += (double)common;
            either += (double)(json_array_size(x) + json_array_size(y) - common);
        }
        assert_near(number(b, "overlap"), both / either, 1e-12);
    }
    json_array_remove(json_object_get(first, "tensors"), 0);
    assert_refused(qk_tracker_restore(later, first, err), QK_E_FORMAT, "massive dims of");
    json_decref(first);
    json_decref(second);
    json_decref(resumed);
    qk_tracker_free(tracker);
    qk_tracker_free(later);
    qk_documents_free(&documents);
    qk_model_close(before.model);
    qk_model_close(after.model);
}

/* Attention to the first token of one layer, summed over its heads and positions by a probe of our own. */
static qk_status see_first(void *user, const qk_view *view, qk_error *err)
{
    (void)err;
    for (size_t row = 0; row < view->n_rows; row++) *(double *)user += (double)view->x[row * view->stride];
    return QK_OK;
}

static void sinks_are_those_of_the_pattern(void **state)
{
    (void)state;
    qk_named_model model = open_golden("gqa");
    int32_t tokens[QK_TRACK_SINK_TOKENS];
    for (int i = 0; i < QK_TRACK_SINK_TOKENS; i++) tokens[i] = 3 + (7 * i) % 90;
    qk_sequence sequence = { tokens, QK_TRACK_SINK_TOKENS, 1 };
    const qk_config *config = &model.model->config;
    qk_sinks *sinks;
    double sum = 0, found = 0;
    assert_ok(qk_sinks_new(&sinks, config, 1, err));
    qk_probe probes[] = { qk_sinks_probe(sinks), { QK_AT(QK_SITE_PATTERN), 1, 2, see_first, &sum } };
    qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .probes = probes, .n_probes = 2, .n_threads = 1 };
    qk_pass_result *result;
    assert_ok(qk_pass_run(&result, model.model, &spec, err));
    qk_pass_result_free(result);
    /* Sum over heads of alpha in layer 1, found again as the threshold is moved. */
    enum { STEPS = 20000 };
    sum /= QK_TRACK_SINK_TOKENS;
    for (int i = 0; i < STEPS; i++)
        found += qk_sinks_rate(sinks, 1, (i + 0.5) / STEPS) * config->n_heads / STEPS;
    assert_near(found, sum, 1e-3);
    assert_true(sum > 0);
    double mean = 0;
    for (int l = 0; l < config->n_layers; l++) mean += qk_sinks_rate(sinks, l, 0.03) / config->n_layers;
    assert_near(qk_sinks_rate(sinks, -1, 0.03), mean, 1e-12);
    assert_near(qk_sinks_rate(sinks, -1, 1), 0, 0);
    qk_sinks_free(sinks);
    qk_model_close(model.model);
}

/* Uniform causal attention: alpha of the first token is H_T / T, 0.0741233 at 64 tokens. */
static void uniform_attention_is_no_sink(void **state)
{
    (void)state;
    enum { T = QK_TRACK_SINK_TOKENS };
    qk_config config = { .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 4 };
    static float pattern[T][T];
    for (int i = 0; i < T; i++)
        for (int j = 0; j <= i; j++) pattern[i][j] = 1 / (float)(i + 1);
    qk_sinks *sinks;
    assert_ok(qk_sinks_new(&sinks, &config, 1, err));
    qk_probe probe = qk_sinks_probe(sinks);
    for (size_t row = 0; row < T; row += 16) { /* in blocks, as they come */
        qk_view view = { .site = QK_SITE_PATTERN, .row0 = row, .n_rows = 16, .width = T, .stride = T };
        view.x = pattern[row];
        assert_ok(probe.see(probe.user, &view, err));
    }
    assert_near(qk_sinks_rate(sinks, 0, 0.074123), 1, 0);
    assert_near(qk_sinks_rate(sinks, 0, 0.074124), 0, 0);
    qk_sinks_free(sinks);
}

static void lengths_of_known_rows(void **state)
{
    (void)state;
    qk_config config = { .n_layers = 2, .n_heads = 2, .n_kv_heads = 1, .head_dim = 5 };
    float x[2][10] = { { 3, 4, 0, 0, 0, 0, 0, 0, 0, 2 }, { 0, 0, 0, 6, 8, 1, 1, 1, 1, 0 } }; /* 5, 2, 10, 2 */
    qk_lengths *lengths;
    assert_ok(qk_lengths_new(&lengths, &config, err));
    qk_probe probe = qk_lengths_probe(lengths);
    qk_view view = { .site = QK_SITE_Q, .layer = 1, .head = -1, .n_rows = 2, .width = 10, .stride = 10, .x = x[0] };
    assert_ok(probe.see(probe.user, &view, err));
    assert_near(qk_lengths_mean(lengths, 1, QK_TENSOR_Q), 19. / 4, 1e-12);
    assert_true(isnan(qk_lengths_mean(lengths, 0, QK_TENSOR_Q)));
    view.condition = 1; /* other conditions are not looked at */
    assert_ok(probe.see(probe.user, &view, err));
    assert_near(qk_lengths_mean(lengths, 1, QK_TENSOR_Q), 19. / 4, 1e-12);
    view.condition = 0;
    view.site = QK_SITE_K; /* one head of 5 */
    assert_refused(probe.see(probe.user, &view, err), QK_E_SHAPE, "expected rows of 5");
    qk_lengths_free(lengths);
}

static void probes_that_prove_nothing_are_refused(void **state)
{
    (void)state;
    qk_named_model mha = open_golden("mha"), gqa = open_golden("gqa");
    qk_documents documents = open_documents();
    qk_tracker_settings settings = at_lambda(5), wrong = at_lambda(-1);
    qk_tracker *tracker = open_tracker(&mha, &documents, 6, 5);
    json_t *row = NULL;
    qk_documents probe = documents;
    const qk_config *config = &mha.model->config;
    assert_refused(qk_tracker_measure(&row, tracker, gqa.model, 0, 0, err), QK_E_SHAPE, "heads");
    qk_tracker_free(tracker);
    assert_refused(qk_tracker_new(&tracker, config, &probe, &wrong, err), QK_E_ARGUMENT, "found -1");
    probe.n = 1;
    assert_refused(qk_tracker_new(&tracker, config, &probe, &settings, err), QK_E_ARGUMENT, "at least 2");
    probe.n = 4;
    memcpy(documents.items[3].sha256, documents.items[0].sha256, 65);
    assert_refused(qk_tracker_new(&tracker, config, &probe, &settings, err), QK_E_ARGUMENT,
                   "a and d are the same text");
    qk_documents_free(&documents);
    qk_model_close(mha.model);
    qk_model_close(gqa.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_those_of_massive),
        cmocka_unit_test(ablation_is_that_of_disrupt),
        cmocka_unit_test(nothing_massive_has_no_effect_to_tell),
        cmocka_unit_test(overlap_is_with_the_first_row),
        cmocka_unit_test(sinks_are_those_of_the_pattern),
        cmocka_unit_test(uniform_attention_is_no_sink),
        cmocka_unit_test(lengths_of_known_rows),
        cmocka_unit_test(probes_that_prove_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, make_work_folder, remove_work_folder);
}
