/* test_tasks.c - questions with known answers: what is right, judged again from the logits; what is counted from it;
 * the journal. */
#include "answer_oracle.h"
#include "quiz_runs.h"

enum { MAX_QUESTIONS = 64 };

static const qk_compute plain = { .n_threads = 1 };

/* ---- question files */

typedef struct question { char prompt[MAX_TEXT], answer[80]; const char *category; bool contextual; } question;
typedef struct question_list { question items[MAX_QUESTIONS]; size_t n; } question_list;

static void add(question_list *list, const char *prompt, const char *answer, const char *category, bool contextual)
{
    question *q = &list->items[list->n++];
    assert_true(list->n <= MAX_QUESTIONS);
    snprintf(q->prompt, sizeof q->prompt, "%s", prompt);
    snprintf(q->answer, sizeof q->answer, "%s", answer);
    q->category = category;
    q->contextual = contextual;
}

static void save(const char *path, const question_list *list)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < list->n; i++) {
        const question *q = &list->items[i];
        json_t *object = json_pack("{s:s,s:s,s:s,s:s}", "prompt", q->prompt, "answer", q->answer, "category",
                                   q->category, "kind", q->contextual ? "contextual" : "parametric");
        assert_int_equal(json_dumpf(object, file, JSON_COMPACT), 0);
        fputc('\n', file);
        json_decref(object);
    }
    assert_int_equal(fclose(file), 0);
}

/* Words that the model itself would say (right), the same with another last or first letter (wrong), a stranger's. */
static void make_questions(question_list *list, const qk_model *model)
{
    static const char *const starts[] = { "the", "The river", "She", "A copper", "Dear", "In May" };
    for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
        char text[MAX_TEXT], prompt[MAX_TEXT], answer[80];
        continue_text(text, model, starts[s], 40);
        size_t n_words = 0;
        for (char *space = strchr(text + strlen(starts[s]) + 1, ' '); space && n_words < 3; n_words++) {
            char *next = strchr(space + 1, ' ');
            if (!next || next == space + 1 || strchr(" \n", space[-1])) break;
            snprintf(prompt, sizeof prompt, "%.*s", (int)(space - text), text);
            snprintf(answer, sizeof answer, "%.*s", (int)(next - space - 1), space + 1);
            if (strchr(answer, '\n')) break;
            add(list, prompt, answer, "said", true);
            size_t last = strlen(answer) - 1;
            answer[last] = answer[last] == 'q' ? 'x' : 'q';
            add(list, prompt, answer, "other end", true);
            answer[0] = 'Z';
            add(list, prompt, answer, "other start", false);
            space = next;
        }
    }
}

static qk_quiz load(const char *path)
{
    qk_quiz quiz;
    assert_ok(qk_quiz_load(&quiz, &path, 1, 0, err));
    return quiz;
}

static json_t *ask(const qk_named_model *models, size_t n_models, const qk_quiz *quiz, qk_run *run)
{
    json_t *results;
    qk_tasks_settings settings = { .cut_left = false };
    assert_ok(qk_study_tasks(&results, models, n_models, quiz, NULL, &settings, &plain, run, err));
    return results;
}

/* ---- the tests */

static void right_is_what_the_logits_say(void **state)
{
    (void)state;
    qk_named_model demo = open_demo();
    question_list list = { .n = 0 };
    size_t n_right = 0, n_half = 0;
    make_questions(&list, demo.model);
    save(work_path("said.jsonl"), &list);
    qk_quiz quiz = load(work_path("said.jsonl"));
    qk_run *run = open_run("judged", false);
    json_t *results = ask(&demo, 1, &quiz, run), *samples = samples_of(run);
    assert_int_equal(json_array_size(samples), list.n);
    for (size_t i = 0; i < list.n; i++) {
        const json_t *row = json_array_get(samples, i);
        verdict v = judge(demo.model, list.items[i].prompt, list.items[i].answer);
        assert_string_equal(json_string_value(json_object_get(row, "verdict")), v.right ? "right" : "wrong");
        assert_near(number(row, "nll"), v.nll, 1e-5 * v.nll + 1e-6);
        assert_int_equal(number(row, "answer_tokens"), v.n_answer);
        assert_int_equal(number(row, "tokens"), v.n_tokens);
        const char *predicted = json_string_value(json_object_get(row, "response"));
        if (v.right) {
            assert_int_equal(predicted[0], ' ');
            assert_string_equal(predicted + 1, list.items[i].answer);
        }
        char sha256[65];
        qk_sha256_of(sha256, list.items[i].prompt, strlen(list.items[i].prompt));
        assert_string_equal(json_string_value(json_object_get(row, "prompt_sha256")), sha256);
        n_right += v.right;
        n_half += v.first_right && !v.right;
    }
    assert_true(n_right >= 5 && n_half >= 3 && list.n - n_right - n_half >= 5); /* else little was told apart */
    json_decref(results), json_decref(samples);
    qk_run_close(run);
    qk_quiz_free(&quiz);
    qk_model_close(demo.model);
}

/* A right answer, then two wrong ones, ... whose numbers are known. */
static question_list counted_questions(const qk_model *model)
{
    question_list said = { .n = 0 }, list = { .n = 0 };
    const char *right[2][2] = { { NULL, NULL }, { NULL, NULL } };
    make_questions(&said, model);
    for (size_t i = 0, n = 0; i < said.n && n < 2; i++)
        if (judge(model, said.items[i].prompt, said.items[i].answer).right) {
            right[n][0] = said.items[i].prompt;
            right[n++][1] = said.items[i].answer;
        }
    assert_non_null(right[1][0]);
    add(&list, right[0][0], right[0][1], "one", false);
    add(&list, "The lamp was", "Zq", "one", false);
    add(&list, "The boat was", "Zq", "one", false);
    add(&list, "The tide was", "Zx", "one", false);
    add(&list, right[1][0], right[1][1], "two", false);
    add(&list, "Nobody knows", "Zx", "deep", true);
    return list;
}

static void the_numbers_are_counts_of_the_verdicts(void **state)
{
    (void)state;
    qk_named_model models[2] = { open_demo(), open_golden("mha") };
    question_list list = counted_questions(models[0].model);
    save(work_path("counted.jsonl"), &list);
    qk_quiz quiz = load(work_path("counted.jsonl"));
    json_t *results = ask(models, 2, &quiz, NULL);
    double nll[6];
    for (size_t i = 0; i < 6; i++) nll[i] = judge(models[0].model, list.items[i].prompt, list.items[i].answer).nll;
    const json_t *one = find_row(results, "categories", "model", "#0", "category", "one", NULL);
    const json_t *two = find_row(results, "categories", "model", "#0", "category", "two", NULL);
    assert_int_equal(number(one, "questions"), 4);
    assert_int_equal(number(one, "right"), 1);
    assert_near(number(one, "accuracy"), 0.25, 0);
    assert_near(number(one, "most_common"), 0.5, 0);
    assert_near(number(one, "nll"), (nll[0] + nll[1] + nll[2] + nll[3]) / 4, 1e-4);
    assert_true(json_is_null(json_object_get(one, "chance")));
    assert_near(number(two, "accuracy"), 1, 0);
    const json_t *ci = json_object_get(one, "ci95"); /* scipy: 1 of 4 */
    assert_near(json_number_value(json_array_get(ci, 0)), 0.04558726080970055, 1e-12);
    assert_near(json_number_value(json_array_get(ci, 1)), 0.6993581574175981, 1e-12);
    const json_t *kind = find_row(results, "kinds", "model", "#0", "kind", "parametric", NULL);
    assert_int_equal(number(kind, "categories"), 2);
    assert_near(number(kind, "macro"), 0.625, 0);
    assert_near(number(kind, "accuracy"), 0.4, 1e-15);
    assert_near(number(kind, "most_common"), 0.75, 0);
    assert_near(number(kind, "nll"), ((nll[0] + nll[1] + nll[2] + nll[3]) / 4 + nll[4]) / 2, 1e-4);
    kind = find_row(results, "kinds", "model", "#0", "kind", "contextual", NULL);
    assert_int_equal(number(kind, "right"), 0);
    assert_int_equal(json_array_size(json_object_get(results, "kinds")), 4);
    assert_int_equal(json_array_size(json_object_get(results, "categories")), 6);

    /* The random model knows nothing: two of five pairs differ, by the first model alone. */
    const json_t *test = find_row(results, "tests", "comparison", "parametric", NULL);
    assert_int_equal(number(test, "only_first"), 2);
    assert_int_equal(number(test, "only_second"), 0);
    assert_int_equal(number(test, "neither"), 3);
    assert_near(number(test, "estimate"), -0.4, 1e-15);
    assert_near(number(test, "log10_p"), log10(0.5), 1e-12);
    assert_near(number(test, "log10_p_holm"), log10(0.5), 1e-12); /* the other test was not done */
    test = find_row(results, "tests", "comparison", "contextual", NULL);
    assert_non_null(strstr(json_string_value(json_object_get(test, "refused")), "same questions"));
    assert_true(json_is_null(json_object_get(test, "log10_p")));
    json_decref(results);
    qk_quiz_free(&quiz);
    qk_model_close(models[0].model);
    qk_model_close(models[1].model);
}

static void long_prompts_are_refused_or_cut(void **state)
{
    (void)state;
    qk_named_model mha = open_golden("mha"); /* one token a character */
    question_list list = { .n = 0 };
    add(&list, "short", "yes", "c", true);
    add(&list, "a prompt that is a good deal longer", "no", "c", true);
    save(work_path("long.jsonl"), &list);
    qk_quiz quiz = load(work_path("long.jsonl"));
    qk_compute compute = plain;
    qk_tasks_settings settings = { .cut_left = false };
    json_t *results;
    compute.max_tokens = 21;
    assert_refused(qk_study_tasks(&results, &mha, 1, &quiz, NULL, &settings, &compute, NULL, err), QK_E_ARGUMENT,
                   "mha: question long.jsonl#2: 40 tokens with its answer, the context has 21");
    settings.cut_left = true;
    qk_run *run = open_run("cut", false);
    assert_ok(qk_study_tasks(&results, &mha, 1, &quiz, NULL, &settings, &compute, run, err));
    json_t *samples = samples_of(run);
    assert_int_equal(number(json_array_get(samples, 0), "cut"), 0);
    assert_int_equal(number(json_array_get(samples, 1), "cut"), 19);
    assert_int_equal(number(json_array_get(samples, 1), "tokens"), 21);
    /* the marker stays, then the last 17 characters of the prompt (the tokenizer puts a space first), then " no" */
    verdict v = judge(mha.model, "good deal longer", "no");
    assert_int_equal(v.n_tokens, 21);
    assert_near(number(json_array_get(samples, 1), "nll"), v.nll, 1e-5);
    json_t *warnings = json_object_get(results, "warnings");
    assert_non_null(strstr(json_string_value(json_array_get(warnings, 0)), "1 of 2 prompts lost their start"));
    json_decref(results);
    compute.max_tokens = 4;
    assert_refused(qk_study_tasks(&results, &mha, 1, &quiz, NULL, &settings, &compute, NULL, err), QK_E_ARGUMENT,
                   "question long.jsonl#1: the answer alone has 4 tokens");
    compute.no_bos = true;
    compute.max_tokens = 5;
    assert_ok(qk_study_tasks(&results, &mha, 1, &quiz, NULL, &settings, &compute, NULL, err));
    json_decref(results), json_decref(samples);
    qk_run_close(run);
    qk_quiz_free(&quiz);
    qk_model_close(mha.model);
}

static bool stop_at_once(void *user, const char *phase, double done, double total)
{
    (void)user, (void)phase, (void)done, (void)total;
    return false;
}

static void a_resumed_study_ends_in_the_same_bytes(void **state)
{
    (void)state;
    qk_named_model demo = open_demo();
    question_list list = counted_questions(demo.model), fewer = list;
    fewer.n = 3;
    save(work_path("whole.jsonl"), &list);
    save(work_path("fewer.jsonl"), &fewer);
    qk_quiz quiz = load(work_path("whole.jsonl")), part = load(work_path("fewer.jsonl"));
    qk_run *whole = open_run("run-whole", false), *broken = open_run("run-broken", false);
    json_t *wanted = ask(&demo, 1, &quiz, whole), *wanted_samples = samples_of(whole), *results;
    qk_compute stopping = plain;
    stopping.progress = (qk_progress) { stop_at_once, NULL };
    assert_refused(qk_study_tasks(&results, &demo, 1, &quiz, NULL, &(qk_tasks_settings) { 0 }, &stopping, broken, err),
                   QK_E_INTERRUPTED, "");
    json_decref(ask(&demo, 1, &part, broken)); /* killed after three questions */
    assert_int_equal(qk_run_count(broken), 3);
    qk_run_close(broken);
    broken = open_run("run-broken", true);
    results = ask(&demo, 1, &quiz, broken);
    json_t *samples = samples_of(broken);
    assert_int_equal(qk_run_count(broken), 6);
    assert_true(json_equal(results, wanted));
    assert_true(json_equal(samples, wanted_samples));
    json_decref(results), json_decref(samples);

    /* What is journaled is believed, what does not fit is asked again. */
    json_t *unit = qk_run_get(broken, 0, "baseline", 0), *odd = json_pack("{s:[f],s:[i],s:[]}", "nll", 1.0, "top",
                                                                              100000, "receipts");
    double nll = json_number_value(json_array_get(json_object_get(unit, "nll"), 0));
    json_object_set_new(unit, "nll", json_pack("[f]", nll + 100));
    assert_ok(qk_run_put(broken, 0, "baseline", 0, unit, err));
    assert_ok(qk_run_put(broken, 0, "baseline", 1, odd, err));
    results = ask(&demo, 1, &quiz, broken);
    samples = samples_of(broken);
    assert_near(number(json_array_get(samples, 0), "nll"), nll + 100, 1e-9);
    assert_true(json_equal(json_array_get(samples, 1), json_array_get(wanted_samples, 1)));
    json_decref(results), json_decref(samples), json_decref(unit), json_decref(odd);
    json_decref(wanted), json_decref(wanted_samples);
    qk_run_close(whole), qk_run_close(broken);
    qk_quiz_free(&quiz), qk_quiz_free(&part);
    qk_model_close(demo.model);
}

/* ---- conditions */

static qk_tasks_settings broken_settings(void)
{
    qk_tasks_settings settings = { .broken = true };
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
        bool query = json_string_value(json_object_get(row, "tensor"))[0] == 'q';
        memset(masks[i], 0, 128);
        for (size_t d = 0; d < json_array_size(dims); d++) masks[i][json_integer_value(json_array_get(dims, d))] = 1;
        edits[i] = (qk_edit) { .site = query ? QK_SITE_Q : QK_SITE_K, .layer = (int)number(row, "layer"),
                               .op = QK_OP_ZERO, .mask = masks[i] };
    }
    return n;
}

static const json_t *sample_of(const json_t *samples, const char *condition, size_t index)
{
    size_t seen = 0;
    for (size_t i = 0; i < json_array_size(samples); i++) {
        const json_t *row = json_array_get(samples, i);
        if (strcmp(json_string_value(json_object_get(row, "condition")), condition) == 0 && seen++ == index) return row;
    }
    fail_msg("no sample of %s", condition);
    return NULL;
}

static void broken_answers_are_those_of_the_edited_model(void **state)
{
    (void)state;
    qk_named_model demo = open_demo();
    qk_documents calibration = open_documents();
    question_list list = { .n = 0 };
    make_questions(&list, demo.model);
    save(work_path("broken.jsonl"), &list);
    qk_quiz quiz = load(work_path("broken.jsonl"));
    qk_tasks_settings settings = broken_settings();
    qk_run *run = open_run("broken", false);
    json_t *results;
    assert_ok(qk_study_tasks(&results, &demo, 1, &quiz, &calibration, &settings, &plain, run, err));
    json_t *samples = samples_of(run);
    assert_int_equal(json_array_size(samples), 5 * list.n); /* baseline, massive, mean, two controls */
    qk_edit edits[8];
    uint8_t masks[8][128];
    qk_condition massive = { "massive", edits, edits_of(edits, masks, results) };
    size_t n_right = 0, n_other = 0, n_lost = 0, n_random = 0;
    for (size_t i = 0; i < list.n; i++) {
        verdict v = judge_under(demo.model, list.items[i].prompt, list.items[i].answer, &massive);
        const json_t *row = sample_of(samples, "massive", i), *base = sample_of(samples, "baseline", i);
        const char *right = json_string_value(json_object_get(row, "verdict"));
        assert_string_equal(right, v.right ? "right" : "wrong");
        assert_near(number(row, "nll"), v.nll, 1e-5 * v.nll + 1e-6);
        bool was_right = strcmp(json_string_value(json_object_get(base, "verdict")), "right") == 0;
        n_right += v.right;
        n_lost += was_right && !v.right;
        n_other += fabs(number(base, "nll") - v.nll) > 1e-3;
        n_other -= fabs(number(sample_of(samples, "mean", i), "nll") - v.nll) < 1e-9; /* another edit than zeroing */
        for (int c = 0; c < 2; c++)
            n_random += strcmp(json_string_value(json_object_get(sample_of(samples, c ? "random-43" : "random-42", i),
                                                                 "verdict")), "right") == 0;
    }
    assert_true(n_other > list.n / 2 && n_lost > 0); /* else nothing was broken */
    double counted = 0, random = 0;
    for (int k = 0; k < 2; k++) {
        const char *kind = k ? "contextual" : "parametric";
        counted += number(find_row(results, "kinds", "condition", "massive", "kind", kind, NULL), "right");
        random += number(find_row(results, "kinds", "condition", "random", "kind", kind, NULL), "right");
    }
    assert_near(counted, (double)n_right, 0);
    assert_near(random, (double)n_random / 2, 1e-9);
    const json_t *test = find_row(results, "tests", "contrast", "conditions", "comparison", "contextual", NULL);
    const json_t *said = find_row(results, "kinds", "condition", "massive", "kind", "contextual", NULL);
    const json_t *base = find_row(results, "kinds", "condition", "baseline", "kind", "contextual", NULL);
    assert_near(number(test, "estimate"), number(said, "accuracy") - number(base, "accuracy"), 1e-12);
    assert_near(number(test, "only_first") - number(test, "only_second"),
                number(base, "right") - number(said, "right"), 0);
    assert_true(number(test, "detectable") > 0 && json_is_null(json_object_get(base, "loss")));
    json_decref(results), json_decref(samples);

    /* Interrupted and resumed: the same bytes, receipts and all. */
    assert_ok(qk_study_tasks(&results, &demo, 1, &quiz, &calibration, &settings, &plain, NULL, err));
    json_t *again;
    assert_ok(qk_study_tasks(&again, &demo, 1, &quiz, &calibration, &settings, &plain, run, err));
    assert_true(json_equal(results, again));
    json_decref(results), json_decref(again);
    qk_run_close(run);
    qk_documents_free(&calibration);
    qk_quiz_free(&quiz);
    qk_model_close(demo.model);
}

static void where_nothing_is_massive(void **state)
{
    (void)state;
    qk_named_model demo = open_demo();
    qk_documents calibration = open_documents();
    question_list list = counted_questions(demo.model);
    save(work_path("calm.jsonl"), &list);
    qk_quiz quiz = load(work_path("calm.jsonl"));
    qk_tasks_settings settings = broken_settings();
    settings.edits.lambda = 1000;
    json_t *results;
    assert_refused(qk_study_tasks(&results, &demo, 1, &quiz, &calibration, &settings, &plain, NULL, err), QK_E_CHECK,
                   "no massive value at lambda 1000");
    settings.lenient = true;
    assert_ok(qk_study_tasks(&results, &demo, 1, &quiz, &calibration, &settings, &plain, NULL, err));
    const char *warning = json_string_value(json_array_get(json_object_get(results, "warnings"), 0));
    assert_non_null(strstr(warning, "no massive value at lambda 1000"));
    assert_non_null(strstr(warning, "asked without edits alone"));
    assert_int_equal(json_array_size(json_object_get(results, "conditions")), 1);
    assert_int_equal(json_array_size(json_object_get(results, "tests")), 0);
    json_decref(results);
    memcpy(calibration.items[2].sha256, quiz.items[1].sha256, sizeof quiz.items[1].sha256);
    assert_refused(qk_study_tasks(&results, &demo, 1, &quiz, &calibration, &settings, &plain, NULL, err),
                   QK_E_ARGUMENT, "is in the calibration set and is the prompt of question calm.jsonl#2");
    qk_documents_free(&calibration);
    qk_quiz_free(&quiz);
    qk_model_close(demo.model);
}

/* Judged by choice: the likeliest of the choices, as the logits have it. */
static void choices_are_ranked_by_their_likelihood(void **state)
{
    (void)state;
    static const char *const choices[] = { "river", "copper", "the old pier", "q" };
    static const char *const prompts[] = { "The", "They walked along the", "It was made of", "She said" };
    qk_named_model demo = open_demo();
    FILE *file = fopen(work_path("choice.jsonl"), "w");
    assert_non_null(file);
    for (size_t i = 0; i < 4; i++)
        fprintf(file, "{\"prompt\":\"%s\",\"answer\":\"%s\",\"choices\":[\"river\",\"copper\",\"the old pier\","
                "\"q\"],\"category\":\"c\",\"kind\":\"contextual\"}\n", prompts[i], choices[i]);
    assert_int_equal(fclose(file), 0);
    qk_quiz quiz = load(work_path("choice.jsonl"));
    assert_ok(qk_quiz_score(&quiz, QK_SCORE_CHOICE, err));
    qk_run *run = open_run("choice", false);
    json_t *results = ask(&demo, 1, &quiz, run), *samples = samples_of(run);
    size_t n_right = 0;
    for (size_t i = 0; i < 4; i++) {
        double nll[4];
        size_t best = 0;
        const json_t *row = json_array_get(samples, i);
        for (size_t c = 0; c < 4; c++) {
            nll[c] = judge(demo.model, prompts[i], choices[c]).nll;
            if (nll[c] < nll[best]) best = c;
            assert_near(json_number_value(json_array_get(json_object_get(row, "choices_nll"), c)), nll[c], 1e-4);
        }
        assert_string_equal(json_string_value(json_object_get(row, "response")), choices[best]);
        assert_string_equal(json_string_value(json_object_get(row, "verdict")), best == i ? "right" : "wrong");
        n_right += best == i;
    }
    const json_t *row = find_row(results, "categories", "category", "c", NULL);
    assert_int_equal(number(row, "right"), n_right);
    assert_near(number(row, "chance"), 0.25, 0);
    assert_near(number(row, "corrected"), ((double)n_right / 4 - 0.25) / 0.75, 1e-12);
    json_decref(results), json_decref(samples);
    qk_run_close(run);
    qk_quiz_free(&quiz);
    qk_quiz open = load(work_path("counted.jsonl"));
    assert_refused(qk_quiz_score(&open, QK_SCORE_CHOICE, err), QK_E_FORMAT,
                   "counted.jsonl:1: question counted.jsonl#1: judged by choice: expected choices, found none");
    qk_quiz_free(&open);
    qk_model_close(demo.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_is_what_the_logits_say), cmocka_unit_test(the_numbers_are_counts_of_the_verdicts),
        cmocka_unit_test(long_prompts_are_refused_or_cut), cmocka_unit_test(a_resumed_study_ends_in_the_same_bytes),
        cmocka_unit_test(broken_answers_are_those_of_the_edited_model),
        cmocka_unit_test(where_nothing_is_massive), cmocka_unit_test(choices_are_ranked_by_their_likelihood),
    };
    return cmocka_run_group_tests(tests, make_work_folder, remove_work_folder);
}
