/* test_answers.c - the study that asks a model to write, and judges what it wrote. */
#include "program.h"
#include "quiz_runs.h"

#include "text/judge.h"

enum { N_QUESTIONS = 6, N_NEW = 12 };
static const qk_compute one_thread = { .n_threads = 1 };

/* Prompts that the demo model goes on with; what it says is not known here. */
static const char *const prompts[N_QUESTIONS] = { "The river", "She", "A boat", "Dear", "In May", "the" };

/* Questions whose answers are the next word that the model says (even ones) or a stranger's. */
static void save_questions(const char *path, const qk_model *model)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < N_QUESTIONS; i++) {
        int32_t *tokens = NULL;
        size_t n;
        qk_generate_result *result = NULL;
        assert_ok(qk_tokenize(&tokens, &n, model, prompts[i], strlen(prompts[i]), true, err));
        qk_prompt prompt = { tokens, n };
        qk_generate_spec spec = { .prompts = &prompt, .n_prompts = 1, .max_new_tokens = N_NEW, .n_threads = 1 };
        assert_ok(qk_generate(&result, model, &spec, err));
        const char *said = result->items[0].text, *word = said + strcspn(said, " ");
        char answer[80], prompt_text[200];
        assert_int_equal(*word, ' ');
        snprintf(prompt_text, sizeof prompt_text, "%s%.*s", prompts[i], (int)(word - said), said);
        snprintf(answer, sizeof answer, "%.*s", (int)strcspn(word + 1, " \n"), word + 1);
        if (i % 2) snprintf(answer, sizeof answer, "Zq%zu", i);
        json_t *object = json_pack("{s:s,s:s,s:s,s:s}", "prompt", prompt_text, "answer", answer, "category",
                                   i < 3 ? "first" : "second", "kind", "contextual");
        assert_int_equal(json_dumpf(object, file, JSON_COMPACT), 0);
        fputc('\n', file);
        json_decref(object);
        qk_generate_result_free(result);
        free(tokens);
    }
    assert_int_equal(fclose(file), 0);
}

static qk_quiz load(const char *path, qk_scoring scoring)
{
    qk_quiz quiz;
    assert_ok(qk_quiz_load(&quiz, &path, 1, 0, err));
    assert_ok(qk_quiz_score(&quiz, scoring, err));
    return quiz;
}

static const char *text(const json_t *row, const char *key) { return json_string_value(json_object_get(row, key)); }

static qk_tasks_settings settings_of(bool prefill)
{
    qk_tasks_settings settings = { .broken = true, .prefill = prefill, .max_new = N_NEW };
    settings.edits = (qk_disrupt_settings) { .lambda = 1.7, .both_ops = true, .n_controls = 2, .seed = 42 };
    settings.edits.tensor[QK_TENSOR_Q] = settings.edits.tensor[QK_TENSOR_K] = true;
    return settings;
}

/* The edits of `massive`, made again from masks[] of the results. */
static size_t edits_of(qk_edit *edits, uint8_t (*masks)[128], const json_t *results)
{
    const json_t *rows = json_object_get(results, "masks");
    size_t n = json_array_size(rows);
    assert_true(n > 0 && n <= 8);
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(rows, i), *dims = json_object_get(row, "dims");
        memset(masks[i], 0, 128);
        for (size_t d = 0; d < json_array_size(dims); d++) masks[i][json_integer_value(json_array_get(dims, d))] = 1;
        edits[i] = (qk_edit) { .site = text(row, "tensor")[0] == 'q' ? QK_SITE_Q : QK_SITE_K,
                               .layer = (int)number(row, "layer"), .op = QK_OP_ZERO, .mask = masks[i] };
    }
    return n;
}

/* Greedy text of one prompt by itself, every token computed anew, up to the line's end. */
static void write_alone(char out[400], const qk_model *model, const char *prompt, const qk_condition *condition,
                        qk_phase phase)
{
    static const char *const stops[] = { "\n" };
    int32_t *tokens = NULL;
    size_t n;
    qk_generate_result *result = NULL;
    assert_ok(qk_tokenize(&tokens, &n, model, prompt, strlen(prompt), true, err));
    qk_prompt one = { tokens, n };
    qk_generate_spec spec = { .prompts = &one, .n_prompts = 1, .conditions = condition,
                              .n_conditions = condition != NULL, .phase = phase, .max_new_tokens = N_NEW,
                              .stops = stops, .n_stops = 1,
                              .allow_idle_edits = true, .recompute = true, .n_threads = 1 };
    assert_ok(qk_generate(&result, model, &spec, err));
    snprintf(out, 400, "%s", result->items[0].text);
    qk_generate_result_free(result);
    free(tokens);
}

static const json_t *sample(const json_t *samples, const char *condition, size_t index)
{
    for (size_t i = 0; i < json_array_size(samples); i++) {
        const json_t *row = json_array_get(samples, i);
        if (strcmp(text(row, "condition"), condition) == 0 && index-- == 0) return row;
    }
    fail_msg("no sample of %s", condition);
    return NULL;
}

/* Every response is what the model writes alone under the same edits; every verdict and count follows from it. */
static void check_phase(qk_phase phase)
{
    qk_named_model demo = open_demo();
    qk_documents calibration = open_documents();
    save_questions(work_path("said.jsonl"), demo.model);
    qk_quiz quiz = load(work_path("said.jsonl"), QK_SCORE_CONTAINS);
    qk_tasks_settings settings = settings_of(phase == QK_PHASE_PREFILL);
    qk_run *run = open_run(phase == QK_PHASE_PREFILL ? "prefill" : "all", false);
    json_t *results;
    assert_ok(qk_study_tasks(&results, &demo, 1, &quiz, &calibration, &settings, &one_thread, run, err));
    json_t *samples = samples_of(run);
    assert_int_equal(json_array_size(samples), 5 * N_QUESTIONS); /* baseline, massive, mean, two controls */
    qk_edit edits[8];
    uint8_t masks[8][128];
    const qk_condition massive = { "massive", edits, edits_of(edits, masks, results) };
    size_t n_right = 0, n_changed = 0, n_first = 0;
    for (size_t i = 0; i < 2 * N_QUESTIONS; i++) {
        const qk_quiz_item *item = &quiz.items[i / 2];
        const json_t *row = sample(samples, i % 2 ? "massive" : "baseline", i / 2);
        char alone[400];
        write_alone(alone, demo.model, item->prompt, i % 2 ? &massive : NULL, phase);
        assert_string_equal(text(row, "response"), alone);
        qk_judged judged;
        qk_judge(&judged, item, QK_SCORE_CONTAINS, alone, strlen(alone));
        assert_string_equal(text(row, "verdict"), qk_verdict_name(judged.verdict));
        assert_true(json_is_null(json_object_get(row, "nll")));
        n_changed += i % 2 && strcmp(alone, text(sample(samples, "baseline", i / 2), "response")) != 0;
        n_right += i % 2 == 0 && judged.verdict == QK_VERDICT_RIGHT;
        n_first += i % 2 == 0 && item->category == 0 && judged.verdict == QK_VERDICT_RIGHT;
    }
    assert_true(n_right >= 2 && n_right < N_QUESTIONS && n_changed >= 2); /* else nothing was told apart */
    const json_t *first = find_row(results, "categories", "condition", "baseline", "category", "first", NULL);
    assert_int_equal(number(first, "right"), n_first);
    assert_string_equal(text(first, "scoring"), "contains");
    assert_true(json_is_null(json_object_get(first, "nll")));
    json_decref(results), json_decref(samples);
    qk_run_close(run);
    qk_documents_free(&calibration);
    qk_quiz_free(&quiz);
    qk_model_close(demo.model);
}

static void what_is_judged_is_what_the_model_writes(void **state)
{
    (void)state;
    check_phase(QK_PHASE_ALL);
}

static void edits_in_the_prompt_alone(void **state)
{
    (void)state;
    check_phase(QK_PHASE_PREFILL);
}

/* Where every token of the answer is the likeliest, greedy writing begins with it; where one is not, it does not (but
 * for answers that the model spells with other tokens than the tokenizer would: none of these is one). */
static void exact_answers_are_what_greedy_writing_begins_with(void **state)
{
    (void)state;
    qk_named_model demo = open_demo();
    save_questions(work_path("exact.jsonl"), demo.model);
    qk_quiz quiz = load(work_path("exact.jsonl"), QK_SCORE_EXACT);
    qk_run *run = open_run("exact", false);
    qk_tasks_settings settings = { 0 };
    json_t *results;
    size_t n_right = 0;
    assert_ok(qk_study_tasks(&results, &demo, 1, &quiz, NULL, &settings, &one_thread, run, err));
    json_t *samples = samples_of(run);
    for (size_t i = 0; i < quiz.n; i++) {
        char alone[400], wanted[100];
        bool right = strcmp(text(json_array_get(samples, i), "verdict"), "right") == 0;
        write_alone(alone, demo.model, quiz.items[i].prompt, NULL, QK_PHASE_ALL);
        snprintf(wanted, sizeof wanted, " %s", quiz.items[i].answer);
        assert_int_equal(strncmp(alone, wanted, strlen(wanted)) == 0, right);
        n_right += right;
    }
    assert_true(n_right > 0 && n_right < quiz.n);
    json_decref(results), json_decref(samples);
    qk_run_close(run);
    qk_quiz_free(&quiz);
    qk_model_close(demo.model);
}

static void unparsed_is_a_column_and_wrong(void **state)
{
    (void)state;
    static const char lines[] =
        "{\"prompt\":\"The river\",\"answer\":\"7\",\"category\":\"numbers\",\"kind\":\"contextual\"}\n"
        "{\"prompt\":\"She\",\"answer\":\"8\",\"category\":\"numbers\",\"kind\":\"contextual\"}\n";
    qk_named_model demo = open_demo();
    assert_ok(qk_write_file(work_path("numbers.jsonl"), lines, strlen(lines), err));
    qk_quiz quiz = load(work_path("numbers.jsonl"), QK_SCORE_INTEGER);
    qk_run *run = open_run("numbers", false);
    qk_tasks_settings settings = { .max_new = 3 };
    json_t *results;
    assert_ok(qk_study_tasks(&results, &demo, 1, &quiz, NULL, &settings, &one_thread, run, err));
    json_t *samples = samples_of(run);
    size_t n_unparsed = 0;
    for (size_t i = 0; i < 2; i++) {
        const json_t *row = json_array_get(samples, i);
        bool has_digit = strpbrk(text(row, "response"), "0123456789") != NULL;
        assert_int_equal(strcmp(text(row, "verdict"), "unparsed") == 0, !has_digit);
        assert_true(number(row, "new_tokens") <= 3);
        n_unparsed += !has_digit;
    }
    assert_int_equal(n_unparsed, 2); /* the demo model knows prose */
    const json_t *row = find_row(results, "categories", "category", "numbers", NULL);
    assert_int_equal(number(row, "unparsed"), 2);
    assert_int_equal(number(row, "right"), 0);
    assert_int_equal(number(row, "questions"), 2);
    assert_near(number(row, "accuracy"), 0, 0);
    assert_int_equal(number(find_row(results, "kinds", "kind", "contextual", NULL), "unparsed"), 2);
    assert_refused(qk_quiz_score(&quiz, QK_SCORE_CHOICE, err), QK_E_FORMAT, "numbers.jsonl:1");
    json_decref(results), json_decref(samples);
    qk_run_close(run);
    qk_quiz_free(&quiz);
    save_questions(work_path("said.jsonl"), demo.model);
    quiz = load(work_path("said.jsonl"), QK_SCORE_CONTAINS);
    assert_refused(qk_quiz_score(&quiz, QK_SCORE_INTEGER, err), QK_E_FORMAT,
                   "judged by first-integer: expected an integer in the answer, found");
    qk_quiz_free(&quiz);
    qk_model_close(demo.model);
}

static void a_resumed_study_writes_the_same(void **state)
{
    (void)state;
    qk_named_model demo = open_demo();
    qk_documents calibration = open_documents();
    save_questions(work_path("said.jsonl"), demo.model);
    qk_quiz quiz = load(work_path("said.jsonl"), QK_SCORE_CONTAINS);
    qk_tasks_settings settings = settings_of(false);
    qk_run *run = open_run("resumed", false);
    json_t *wanted, *results;
    assert_ok(qk_study_tasks(&wanted, &demo, 1, &quiz, &calibration, &settings, &one_thread, run, err));
    json_t *wanted_samples = samples_of(run);
    /* what is journaled is believed; a unit that is not one is written again, with its batch */
    json_t *odd = json_pack("{s:s}", "text", "no"), *unit = qk_run_get(run, 0, "massive", 2);
    assert_ok(qk_run_put(run, 0, "massive", 1, odd, err));
    json_object_set_new(unit, "text", json_string(" Zq1 told otherwise"));
    assert_ok(qk_run_put(run, 0, "massive", 2, unit, err));
    qk_run_close(run);
    run = open_run("resumed", true);
    assert_ok(qk_study_tasks(&results, &demo, 1, &quiz, &calibration, &settings, &one_thread, run, err));
    json_t *samples = samples_of(run);
    assert_true(json_equal(results, wanted));
    assert_true(json_equal(samples, wanted_samples));
    json_decref(results), json_decref(samples);
    assert_ok(qk_run_put(run, 0, "massive", 2, unit, err));
    assert_ok(qk_study_tasks(&results, &demo, 1, &quiz, &calibration, &settings, &one_thread, run, err));
    samples = samples_of(run);
    assert_string_equal(text(sample(samples, "massive", 2), "response"), " Zq1 told otherwise");
    json_decref(results), json_decref(samples), json_decref(wanted), json_decref(wanted_samples);
    json_decref(odd), json_decref(unit);
    qk_run_close(run);
    qk_documents_free(&calibration);
    qk_quiz_free(&quiz);
    qk_model_close(demo.model);
}

/* errors[] counts the classes that the samples tell; controls become one row of means. */
static void keys_are_counted_by_what_became_of_them(void **state)
{
    (void)state;
    qk_named_model demo = open_demo();
    qk_documents calibration = open_documents();
    qk_quiz quiz;
    qk_tasks_settings settings = settings_of(false);
    settings.cut_left = true;
    json_t *results;
    assert_ok(qk_quiz_world(&quiz, 42, QK_SPLIT_TEST, 1 << QK_QUESTION_PASS_KEY | 1 << QK_QUESTION_SUM, 5, err));
    assert_ok(qk_quiz_score(&quiz, QK_SCORE_CONTAINS, err));
    qk_run *run = open_run("keys", false);
    assert_ok(qk_study_tasks(&results, &demo, 1, &quiz, &calibration, &settings, &one_thread, run, err));
    json_t *samples = samples_of(run);
    static const char *const conditions[] = { "baseline", "massive", "mean", "random" };
    assert_int_equal(json_array_size(json_object_get(results, "errors")), 4); /* sums are no keys */
    for (size_t c = 0; c < 4; c++) {
        const json_t *row = find_row(results, "errors", "condition", conditions[c], NULL);
        double weight = c == 3 ? 0.5 : 1, sum = 0;
        assert_string_equal(text(row, "category"), "pass_key");
        assert_int_equal(number(row, "questions"), 5);
        for (int e = 0; e < QK_N_KEY_ERRORS; e++) {
            const char *name = qk_key_error_name((qk_key_error)e);
            double n = 0;
            for (size_t i = 0; i < json_array_size(samples); i++) {
                const json_t *one = json_array_get(samples, i);
                bool same = strncmp(text(one, "condition"), conditions[c], strlen(conditions[c])) == 0;
                bool key = strcmp(text(one, "category"), "pass_key") == 0;
                assert_int_equal(json_object_get(one, "key") != NULL, key);
                if (same && key && strcmp(text(one, "key"), name) == 0) n += weight;
            }
            assert_near(number(row, name), n, 1e-12);
            sum += n;
        }
        assert_near(sum, 5, 1e-12);
    }
    json_decref(results), json_decref(samples);
    qk_run_close(run);
    qk_documents_free(&calibration);
    qk_quiz_free(&quiz);
    qk_model_close(demo.model);
}

/* --preset jin: in prefill alone, in each head the dim of largest norm over the prompt at its mean over the prompt. */
static void the_protocol_of_jin(void **state)
{
    (void)state;
    qk_named_model demo = open_demo();
    save_questions(work_path("said.jsonl"), demo.model);
    qk_quiz quiz = load(work_path("said.jsonl"), QK_SCORE_CONTAINS);
    qk_quiz exact = load(work_path("said.jsonl"), QK_SCORE_EXACT);
    qk_tasks_settings settings = { .broken = true, .max_new = N_NEW };
    settings.edits = (qk_disrupt_settings) { .preset = QK_PRESET_JIN, .top_k = 1, .n_controls = 1, .seed = 42 };
    qk_run *run = open_run("jin", false);
    json_t *results;
    assert_refused(qk_study_tasks(&results, &demo, 1, &exact, NULL, &settings, &one_thread, NULL, err), QK_E_ARGUMENT,
                   "--preset jin: expected answers that are written (--score generated, first-integer or contains), "
                   "found category first judged by exact");
    assert_ok(qk_study_tasks(&results, &demo, 1, &quiz, NULL, &settings, &one_thread, run, err));
    json_t *samples = samples_of(run);
    assert_int_equal(json_array_size(samples), 3 * N_QUESTIONS);
    qk_edit edits[16];
    size_t n_edits = 0, n_changed = 0;
    for (int l = 0; l < demo.model->config.n_layers; l++)
        for (int t = 0; t < 2; t++) {
            assert_true(n_edits < 16);
            edits[n_edits++] = (qk_edit) { .site = t ? QK_SITE_ROT_K : QK_SITE_ROT_Q, .layer = l,
                                           .op = QK_OP_HEAD_MEAN, .top_k = 1 };
        }
    const qk_condition jin = { "massive", edits, n_edits };
    for (size_t i = 0; i < N_QUESTIONS; i++) {
        char alone[400];
        write_alone(alone, demo.model, quiz.items[i].prompt, &jin, QK_PHASE_PREFILL);
        assert_string_equal(text(sample(samples, "massive", i), "response"), alone);
        n_changed += strcmp(alone, text(sample(samples, "baseline", i), "response")) != 0;
    }
    assert_true(n_changed >= 2);
    const json_t *told = json_object_get(results, "settings");
    assert_string_equal(text(told, "preset"), "jin");
    assert_string_equal(text(told, "phase"), "prefill");
    json_decref(results), json_decref(samples);
    qk_run_close(run);
    qk_quiz_free(&quiz), qk_quiz_free(&exact);
    qk_model_close(demo.model);
}

static void options_of_writing_need_it(void **state)
{
    (void)state;
    const char *demo = data_path("golden/demo");
    outcome o = run_program("tasks", demo, "--conditions", "baseline", "--limit", "2", "--phase", "prefill",
                            "--no-run");
    assert_int_equal(o.code, 2);
    assert_non_null(strstr(o.err, "--phase: expected answers that are written (--score generated, first-integer or "
                                  "contains), found exact"));
    outcome_free(&o);
    o = run_program("tasks", demo, "--conditions", "baseline", "--limit", "2", "--categories", "sum", "--score",
                    "first-integer", "-n", "4", "--no-run", "-q");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "unparsed"));
    outcome_free(&o);
    o = run_program("tasks", demo, "--conditions", "baseline", "--limit", "2", "--categories", "sum", "--score",
                    "first-integer", "-n", "4", "--dry-run", "--json");
    assert_int_equal(o.code, 0);
    json_t *plan = json_loads(o.out, 0, NULL);
    const json_t *row = json_array_get(json_object_get(plan, "plan"), 0);
    qk_named_model model = open_demo();
    const qk_config *config = &model.model->config;
    double token_bytes = 2.0 * sizeof(float) * config->n_layers * config->n_kv_heads * config->head_dim;
    assert_near(number(row, "cache_bytes"), token_bytes * number(row, "tokens"), 0); /* both are kept at once */
    assert_true(number(row, "total_bytes") > number(row, "cache_bytes") + number(row, "stream_bytes"));
    json_decref(plan);
    qk_model_close(model.model);
    outcome_free(&o);
}

static void the_report_has_them(void **state)
{
    (void)state;
    char path[8400];
    const char *folder = work_path("reported");
    outcome o = run_program("tasks", data_path("golden/demo"), "--limit", "3", "--categories", "pass_key,fact",
                            "--score", "contains", "-n", "6", "--cut-left", "--lambda", "1.7", "--seeds", "1",
                            "--conditions", "massive,random", "--phase", "prefill", "-v", "-o", folder, "-q");
    if (o.code != 0) fail_msg("exit %d: %s", o.code, o.err);
    assert_non_null(strstr(o.out, "near miss"));
    assert_non_null(strstr(o.out, "detectable"));
    outcome_free(&o);
    static const char *const parts[] = {
        "as it is and broken, side by side", "unparsed", "What became of the keys",
        "Written answers are judged by rule",
        "not in the answers that the model writes (Jin et al. 2025)",
    };
    qk_map page;
    snprintf(path, sizeof path, "%s/report.html", folder);
    assert_ok(qk_map_open(&page, path, err));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!memmem(page.data, page.size, parts[i], strlen(parts[i]))) fail_msg("no \"%s\" on the page", parts[i]);
    qk_map_close(&page);
    snprintf(path, sizeof path, "%s/key-errors.csv", folder);
    assert_true(qk_path_exists(path));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_judged_is_what_the_model_writes),
        cmocka_unit_test(edits_in_the_prompt_alone),
        cmocka_unit_test(exact_answers_are_what_greedy_writing_begins_with),
        cmocka_unit_test(unparsed_is_a_column_and_wrong),
        cmocka_unit_test(a_resumed_study_writes_the_same),
        cmocka_unit_test(keys_are_counted_by_what_became_of_them),
        cmocka_unit_test(the_protocol_of_jin),
        cmocka_unit_test(options_of_writing_need_it),
        cmocka_unit_test(the_report_has_them),
    };
    return cmocka_run_group_tests(tests, make_work_folder, remove_work_folder);
}
