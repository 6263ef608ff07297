/* test_context.c - beyond the trained context: prompts at a depth, losses and keys of every method, beside windows and
 * passes made by hand. */
#include "testing.h"

#include <math.h>
#include <unistd.h>

#include "program.h"
#include "study/context.h"
#include "text/probes.h"

enum { TRAINED = 128 };

static qk_named_model open_demo(void)
{
    qk_named_model named = { .name = "demo", .sha256 = "0" };
    assert_ok(qk_model_open(&named.model, data_path("golden/demo"), NULL, err));
    assert_int_equal(qk_trained_context(&named.model->config), TRAINED);
    return named;
}

static const qk_context_settings usual = {
    .methods = 1 << QK_METHOD_NONE | 1 << QK_METHOD_CROP | 1 << QK_METHOD_LINEAR | 1 << QK_METHOD_YARN | 1 << QK_METHOD_DYNAMIC,
    .lengths = { 0.5, 1, 2 }, .n_lengths = 3, .task_lengths = { 1, 2 }, .n_task_lengths = 2,
    .depths = { 0, 0.5, 1 }, .n_depths = 3, .trials = 2, .texts = 2, .slope = NAN,
    .tasks = 1 << QK_TASK_PASS_KEY | 1 << QK_TASK_PASS_KEYS, .world = 42, .n_bootstrap = 200,
};

/* A name of this process alone. */
static const char *texts_path(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/qk-context-%ld.jsonl", (long)getpid());
    return path;
}

/* Four documents of some 600 to 700 tokens each. */
static qk_documents open_texts(void)
{
    qk_documents documents;
    const char *path = data_path("../test_context.c"); /* plain text that is always there */
    FILE *in = fopen(path, "r"), *out = fopen(texts_path(), "w");
    assert_non_null(in);
    assert_non_null(out);
    for (int d = 0; d < 4; d++) {
        fprintf(out, "{\"id\": \"d%d\", \"text\": \"", d);
        for (int i = 0, c; i < 1500 && (c = fgetc(in)) != EOF;)
            if ((c >= 'a' && c <= 'z') || c == ' ') fputc(c, out), i++;
        fprintf(out, "\"}\n");
    }
    fclose(in);
    fclose(out);
    assert_ok(qk_documents_load(&documents, (const char *const[]){ texts_path() }, 1,
                                &(qk_documents_options){ NULL, 0 }, err));
    unlink(texts_path());
    return documents;
}

/* pass_keys at the trained length is left out: three questions have more than 128 tokens here. */
static json_t *study(const qk_named_model *model, const qk_context_settings *s, qk_run *run, bool plan_only)
{
    qk_documents documents = open_texts(), none = { 0 };
    json_t *results = NULL;
    const qk_compute compute = { .n_threads = 1 };
    assert_ok(qk_study_long_context(&results, model, 1, &documents, &none, s, &compute, run, plan_only, err));
    qk_documents_free(&documents);
    return results;
}

static const json_t *find(const json_t *results, const char *array, const char *method, double stretch, const char *key,
                          const char *value)
{
    const json_t *rows = json_object_get(results, array);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (strcmp(json_string_value(json_object_get(row, "method")), method) == 0 &&
            json_number_value(json_object_get(row, "stretch")) == stretch &&
            (!key || strcmp(json_string_value(json_object_get(row, key)), value) == 0))
            return row;
    }
    fail_msg("%s: no row of %s at %g", array, method, stretch);
    return NULL;
}

static double number(const json_t *row, const char *key) { return json_number_value(json_object_get(row, key)); }

static double loss(const json_t *results, const char *method, double stretch)
{
    return number(find(results, "loss", method, stretch, "protocol", "truncated"), "nll_per_token");
}

/* ---- prompts */

static void keys_stand_at_their_depth(void **state)
{
    (void)state;
    qk_world *world;
    assert_ok(qk_world_new(&world, 42, err));
    const double depths[] = { 0, 0.25, 0.5, 0.75, 1 };
    for (uint64_t index = 0; index < 20; index++)
        for (size_t n_keys = 1; n_keys <= 5; n_keys += 4) {
            qk_haystack a, again, longer;
            assert_ok(qk_haystack_write(&a, world, QK_SPLIT_TEST, index, 40, depths, n_keys, err));
            assert_ok(qk_haystack_write(&again, world, QK_SPLIT_TEST, index, 40, depths, n_keys, err));
            assert_ok(qk_haystack_write(&longer, world, QK_SPLIT_TEST, index, 80, depths, n_keys, err));
            assert_string_equal(a.text, again.text);
            assert_int_equal(a.n_asked, n_keys);
            size_t n_talk = (size_t)(strchr(a.text, '\n') - a.text);
            for (size_t k = 0; k < n_keys; k++) {
                char key[16] = "";
                memcpy(key, a.text + a.asked[k].from, a.asked[k].to - a.asked[k].from);
                assert_int_equal(strlen(key), 5);
                assert_int_equal(key[0], ' ');
                const char *stated = strstr(a.text, key);
                assert_true((size_t)(stated - a.text) < n_talk); /* before the questions */
                assert_near((double)(stated - a.text) / (double)n_talk, a.asked[k].depth, 0.12);
                assert_memory_equal(a.text + a.asked[k].from, longer.text + longer.asked[k].from, 5);
            }
            assert_int_equal(a.text[a.asked[n_keys - 1].to], '\0');
            qk_haystack_free(&a);
            qk_haystack_free(&again);
            qk_haystack_free(&longer);
        }
    qk_world_free(world);
}

/* The longest prompt that fits, found one sentence after the other. */
static int32_t *fit_by_hand(size_t *n, size_t *from, const qk_named_model *model, size_t length, uint64_t index)
{
    const double depth = 0.5;
    int32_t *best = NULL;
    qk_world *world;
    assert_ok(qk_world_new(&world, 42, err));
    for (size_t n_sentences = 0;; n_sentences++) {
        int32_t *tokens, *prompt;
        size_t n_tokens, n_prompt;
        qk_haystack h;
        assert_ok(qk_haystack_write(&h, world, QK_SPLIT_TEST, index, n_sentences, &depth, 1, err));
        assert_ok(qk_tokenize(&tokens, &n_tokens, model->model, h.text, strlen(h.text), true, err));
        assert_ok(qk_tokenize(&prompt, &n_prompt, model->model, h.text, h.asked[0].from, true, err));
        qk_haystack_free(&h);
        free(prompt);
        if (n_tokens > length) {
            free(tokens);
            break;
        }
        free(best);
        best = tokens;
        *n = n_tokens;
        *from = n_prompt;
    }
    qk_world_free(world);
    assert_non_null(best);
    return best;
}

/* Of one prompt: the study's loss of its key against a pass by hand, as trained and with only the end in sight. */
static void keys_are_scored_as_by_hand(void **state)
{
    (void)state;
    qk_named_model model = open_demo();
    qk_context_settings s = usual;
    s.n_lengths = 0;
    s.n_task_lengths = 1;
    s.task_lengths[0] = 3;
    s.depths[0] = 0.5;
    s.n_depths = 1;
    s.trials = 1;
    s.tasks = 1 << QK_TASK_PASS_KEY;
    json_t *results = study(&model, &s, NULL, false);
    size_t n = 0, from = 1, length = 3 * TRAINED;
    int32_t *tokens = fit_by_hand(&n, &from, &model, length, (uint64_t)length << 24);
    const qk_tokenizer_info *info = qk_tokenizer_describe(model.model->tokenizer);
    for (int crop = 0; crop < 2; crop++) {
        size_t skip = crop ? n - TRAINED : 0;
        qk_sequence sequence = { tokens + skip, n - skip, from - skip };
        if (crop && info->bos >= 0 && tokens[0] == info->bos) tokens[skip] = info->bos;
        qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .score = true, .keep_token_top = true };
        qk_pass_result *result;
        assert_ok(qk_pass_run(&result, model.model, &spec, err));
        const json_t *row = find(results, "retrieval", crop ? "crop" : "none", 3, NULL, NULL);
        assert_near(number(row, "nll"), result->scores[0].nll, 1e-4);
        assert_int_equal(number(row, "right"),
                         memcmp(result->scores[0].token_top, tokens + from, (n - from) * sizeof *tokens) == 0);
        assert_int_equal(number(row, "n"), 1);
        qk_pass_result_free(result);
    }
    free(tokens);
    json_decref(results);
    qk_model_close(model.model);
}

/* ---- plain English */

typedef struct plain_prompt { const qk_model *model; char text[16384]; size_t n_prompt, n_tokens; } plain_prompt;

static qk_status count_plain(void *user, size_t *n, const char *utf8, size_t n_bytes, qk_error *error)
{
    int32_t *tokens = NULL;
    qk_status status = qk_tokenize(&tokens, n, ((plain_prompt *)user)->model, utf8, n_bytes, true, error);
    free(tokens);
    return status;
}

static qk_status see_plain(void *user, const qk_probe_sample *sample, qk_error *error)
{
    plain_prompt *p = user;
    (void)error;
    p->n_prompt = strlen(sample->prompt);
    p->n_tokens = sample->tokens;
    assert_in_range(snprintf(p->text, sizeof p->text, "%s %s", sample->prompt, sample->answer), 1, sizeof p->text - 1);
    return QK_OK;
}

/* Without the world: the first pass key and the first needle of the probes, of the seed and length that were asked for. */
static void plain_keys_are_those_of_the_probes(void **state)
{
    (void)state;
    static const struct { qk_context_task task; qk_probe_kind kind; } cases[] = {
        { QK_TASK_PASS_KEY, QK_PROBE_PASSKEY_PROSE }, { QK_TASK_NEEDLE, QK_PROBE_NIAH_MULTIKEY } };
    qk_named_model model = open_demo();
    qk_context_settings s = usual;
    s.plain = true;
    s.methods = 1 << QK_METHOD_NONE;
    s.n_lengths = 0;
    s.n_task_lengths = s.n_depths = s.trials = 1;
    s.task_lengths[0] = 8;
    s.depths[0] = 0.25;
    s.tasks = 1 << QK_TASK_PASS_KEY | 1 << QK_TASK_NEEDLE;
    json_t *results = study(&model, &s, NULL, false);
    assert_string_equal(json_string_value(json_object_get(json_object_get(results, "settings"), "haystack")), "plain");
    assert_int_equal(json_array_size(json_object_get(results, "retrieval")), 2);
    for (int i = 0; i < 2; i++) {
        plain_prompt p = { .model = model.model };
        int32_t *tokens, *prompt;
        size_t n, from;
        qk_pass_result *result;
        const qk_probes_settings probes = { .kinds = 1u << cases[i].kind, .seed = s.world, .per_category = 1,
                                            .tokens = { 8 * TRAINED }, .n_tokens = 1, .depths = { 250 }, .n_depths = 1,
                                            .counter = { count_plain, &p } };
        assert_ok(qk_probes_each(&probes, see_plain, &p, err));
        assert_ok(qk_tokenize(&tokens, &n, model.model, p.text, strlen(p.text), true, err));
        assert_ok(qk_tokenize(&prompt, &from, model.model, p.text, p.n_prompt, true, err));
        assert_in_range(p.n_tokens, 6 * TRAINED, 8 * TRAINED); /* filled */
        const qk_sequence sequence = { tokens, n, from };
        const qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .score = true };
        assert_ok(qk_pass_run(&result, model.model, &spec, err));
        const json_t *row = find(results, "retrieval", "none", 8, "task", qk_context_task_names[cases[i].task]);
        assert_near(number(row, "nll"), result->scores[0].nll, 1e-4);
        qk_pass_result_free(result);
        free(tokens);
        free(prompt);
    }
    json_decref(results);
    s.task_lengths[0] = 0.5; /* too short for the words alone */
    qk_documents documents = open_texts(), none = { 0 };
    qk_error error = { QK_OK, "" };
    assert_int_equal(qk_study_long_context(&results, &model, 1, &documents, &none, &s, &(qk_compute){ .n_threads = 1 }, NULL,
                                           false, &error), QK_E_ARGUMENT);
    assert_non_null(strstr(error.message, "at least 65 tokens, the longest length 64"));
    qk_documents_free(&documents);
    qk_model_close(model.model);
}

/* Two arms on the same eight prompts: what each alone finds, and the difference, of the arm less the reference. */
static void arms_are_compared_the_right_way_round(void **state)
{
    (void)state;
    qk_named_model model = open_demo();
    qk_context_settings s = usual;
    qk_found found[2 * QK_N_CONTEXT_TASKS * 8] = { { 0 } };
    s.n_lengths = 0;
    s.task_lengths[0] = 2;
    s.n_task_lengths = s.n_depths = 1;
    s.trials = 8;
    s.tasks = 1 << QK_TASK_PASS_KEY;
    qk_context c = { .models = &model, .n_models = 1, .settings = &s, .compute = &(qk_compute){ 0 }, .trained = TRAINED,
                     .task_lengths = { 2 * TRAINED }, .arms = { { 0, QK_METHOD_NONE }, { 0, QK_METHOD_YARN } },
                     .n_arms = 2, .found = found, .notes = json_array() };
    qk_documents none = { 0 };
    json_t *results = NULL;
    for (size_t i = 0; i < 8; i++) {
        qk_context_found(&c, 0, QK_TASK_PASS_KEY, 0, 0)[i].right = i == 0;
        qk_context_found(&c, 1, QK_TASK_PASS_KEY, 0, 0)[i].right = i >= 1 && i < 7;
    }
    assert_ok(qk_context_results(&results, &c, &none, err));
    const json_t *row = find(results, "tests", "yarn", 2, NULL, NULL);
    assert_int_equal(number(row, "only_arm"), 6);
    assert_int_equal(number(row, "only_reference"), 1);
    assert_near(number(row, "estimate"), 5.0 / 8, 1e-12);
    assert_near(pow(10, number(row, "log10_p_holm")), 0.125, 1e-12); /* 2 (1 + 7) / 2^7 */
    json_decref(results);
    json_decref(c.notes);
    qk_model_close(model.model);
}

/* The loss of a key with dims zeroed: the journal against a pass by hand with the edits of the same masks. */
static void broken_keys_are_scored_as_by_hand(void **state)
{
    (void)state;
    qk_named_model model = open_demo();
    qk_documents masks = open_texts();
    char folder[] = "/tmp/qk-context-XXXXXX", command[64];
    qk_context_settings s = usual;
    s.methods = 1 << QK_METHOD_NONE;
    s.n_lengths = 0;
    s.n_task_lengths = s.n_depths = s.trials = 1;
    s.task_lengths[0] = 3;
    s.depths[0] = 0.5;
    s.tasks = 1 << QK_TASK_PASS_KEY;
    s.masks_from = &masks;
    s.edits = (qk_disrupt_settings){ .criterion = QK_CRITERION_TOP_K, .top_k = 1, .n_controls = 2, .seed = 7,
                                     .both_ops = true, .tensor = { true, true } };
    assert_non_null(mkdtemp(folder));
    json_t *key = json_pack("{s:s}", "study", "context");
    qk_run *run;
    assert_ok(qk_run_open(&run, folder, key, false, err));
    json_t *results = study(&model, &s, run, false);
    assert_int_equal(json_array_size(json_object_get(results, "broken")), 3); /* massive, mean, random */
    assert_int_equal(json_array_size(json_object_get(results, "broken_tests")), 4);

    qk_disrupt_plan plan = { 0 };
    const qk_compute compute = { .n_threads = 1 };
    assert_ok(qk_study_tokenize(&masks, &model, TRAINED, false, err));
    assert_ok(qk_disrupt_plan_model(&plan, &model, &masks, &s.edits, 0, &compute, err));
    assert_int_equal(plan.n_arms, 5);
    size_t n = 0, from = 1, length = 3 * TRAINED;
    int32_t *tokens = fit_by_hand(&n, &from, &model, length, (uint64_t)length << 24);
    double before = 0, dims = 0;
    for (size_t e = 0; e < plan.arms[1].n_edits; e++) dims += (double)plan.arms[1].n_dims[e];
    assert_true(dims > 0);
    assert_int_equal(number(json_array_get(json_object_get(results, "broken"), 0), "dims"), dims);
    for (size_t a = 0; a < plan.n_arms; a++) {
        char unit[96];
        const qk_sequence sequence = { tokens, n, from };
        const qk_condition condition = { plan.arms[a].name, plan.arms[a].edits, plan.arms[a].n_edits };
        qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .conditions = &condition, .n_conditions = 1,
                              .score = true };
        qk_pass_result *result;
        assert_ok(qk_pass_run(&result, model.model, &spec, err));
        snprintf(unit, sizeof unit, "pass_key none*1 %zu%s%s", length, a ? " " : "", a ? plan.arms[a].name : "");
        json_t *payload = qk_run_get(run, 0, unit, 0);
        if (!payload) fail_msg("no unit \"%s\"", unit);
        double nll = json_number_value(json_array_get(json_array_get(payload, 0), 1));
        assert_near(nll, result->scores[0].nll, 1e-4);
        assert_true(fabs(nll - before) > 1e-6); /* each condition is another one */
        before = nll;
        json_decref(payload);
        qk_pass_result_free(result);
    }
    qk_run_close(run);
    qk_arena_free(&plan.arena);
    json_decref(results);
    json_decref(key);
    free(tokens);

    s.edits.criterion = QK_CRITERION_LAYER_MEAN; /* nothing is massive: said, and asked as it is */
    s.edits.lambda = 1000;
    results = study(&model, &s, NULL, false);
    assert_int_equal(json_array_size(json_object_get(results, "broken")), 0);
    assert_int_equal(json_array_size(json_object_get(results, "retrieval")), 1);
    assert_non_null(strstr(json_string_value(json_array_get(json_object_get(results, "warnings"), 0)), "was not broken"));
    json_decref(results);
    qk_documents_free(&masks);
    qk_model_close(model.model);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

/* ---- losses */

static void losses_are_those_of_the_windows(void **state)
{
    (void)state;
    qk_named_model model = open_demo();
    qk_context_settings s = usual;
    s.sliding = true;
    json_t *results = study(&model, &s, NULL, false);
    static const char *const methods[] = { "none", "crop", "linear", "yarn", "dynamic" };
    for (int i = 0; i < 5; i++) /* within the trained context there is nothing to choose */
        for (double stretch = 0.5; stretch <= 1; stretch *= 2)
            assert_near(loss(results, methods[i], stretch), loss(results, "none", stretch), 0);
    assert_non_null(find(results, "retrieval", "none", 2, "task", "pass_keys"));
    for (size_t i = 0; i < json_array_size(json_object_get(results, "retrieval")); i++) {
        const json_t *row = json_array_get(json_object_get(results, "retrieval"), i);
        assert_false(number(row, "stretch") == 1 && !strcmp(json_string_value(json_object_get(row, "task")), "pass_keys"));
    }
    for (int i = 1; i < 5; i++) assert_true(fabs(loss(results, methods[i], 2) - loss(results, "none", 2)) > 1e-5);

    /* `none` as protocol hf cuts the same documents, crop as the strided one moves over their first 2C tokens. */
    for (int i = 0; i < 3; i++) {
        qk_documents documents = open_texts();
        json_t *ppl = NULL;
        const qk_compute compute = { .max_tokens = (size_t)TRAINED << i >> 1, .n_threads = 1 };
        assert_ok(qk_study_ppl(&ppl, model.model, &documents, &(qk_ppl_settings){ QK_PPL_HF, 0, false }, &compute, err));
        const json_t *rows = json_object_get(ppl, "documents");
        double nll = 0, n = 0;
        for (size_t d = 0; d < 2; d++) {
            nll += number(json_array_get(rows, d), "nll");
            n += (double)(compute.max_tokens - 1);
        }
        assert_near(loss(results, "none", s.lengths[i]), nll / n, 1e-6);
        json_decref(ppl);
        qk_documents_free(&documents);
    }

    /* Positions add up to the length; a window that moves by as much as it is long is the text from its start. */
    const json_t *rows = json_object_get(results, "positions");
    double nll = 0, n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (strcmp(json_string_value(json_object_get(row, "method")), "yarn") || number(row, "stretch") != 2) continue;
        nll += number(row, "nll_per_token") * number(row, "tokens");
        n += number(row, "tokens");
    }
    assert_int_equal(n, 2 * (2 * TRAINED - 1));
    assert_near(nll / n, loss(results, "yarn", 2), 1e-12);
    assert_near(number(find(results, "loss", "yarn", 2, "protocol", "sliding"), "nll_per_token"), loss(results, "yarn", 2),
                1e-12);
    assert_int_equal(number(find(results, "loss", "none", 0.5, "protocol", "sliding"), "tokens"), n);
    json_decref(results);
    qk_model_close(model.model);
}

static void crop_sees_windows_of_the_trained_context(void **state)
{
    (void)state;
    qk_named_model model = open_demo();
    qk_documents documents = open_texts();
    qk_context_settings s = usual;
    double nll = 0;
    s.texts = 1;
    s.n_task_lengths = 0;
    json_t *results = study(&model, &s, NULL, false);
    assert_ok(qk_study_tokenize(&documents, &model, 2 * TRAINED, false, err));
    for (size_t from = 0, scored = 1; scored < 2 * TRAINED; from += TRAINED / 4) {
        qk_sequence window = { documents.items[0].tokens + from, TRAINED, scored - from };
        qk_pass_spec spec = { .sequences = &window, .n_sequences = 1, .score = true };
        qk_pass_result *result;
        assert_ok(qk_pass_run(&result, model.model, &spec, err));
        nll += result->scores[0].nll;
        scored = from + TRAINED;
        qk_pass_result_free(result);
    }
    assert_near(loss(results, "crop", 2), nll / (2 * TRAINED - 1), 1e-6);
    json_decref(results);
    qk_documents_free(&documents);
    qk_model_close(model.model);
}

/* ---- the study around it */

typedef struct stopper { int left; } stopper;

static bool stop_later(void *user, const char *phase, double done, double total)
{
    stopper *s = user;
    (void)phase, (void)done, (void)total;
    return s->left-- > 0;
}

static void a_stopped_study_ends_in_the_same_bytes(void **state)
{
    (void)state;
    qk_named_model model = open_demo();
    char folder[] = "/tmp/qk-context-XXXXXX";
    assert_non_null(mkdtemp(folder));
    json_t *whole = study(&model, &usual, NULL, false), *again = NULL, *key = json_pack("{s:s}", "study", "context");
    qk_documents documents = open_texts(), none = { 0 };
    qk_run *run;
    for (int left = 3; left < 60; left += 19) { /* stopped three times, each time later */
        stopper s = { left };
        const qk_compute compute = { .n_threads = 1, .progress = { stop_later, &s } };
        qk_error error = { QK_OK, "" };
        assert_ok(qk_run_open(&run, folder, key, left > 3, err));
        qk_status status = qk_study_long_context(&again, &model, 1, &documents, &none, &usual, &compute, run, false, &error);
        if (left == 3) assert_int_equal(status, QK_E_INTERRUPTED);
        if (status == QK_OK) json_decref(again);
        qk_run_close(run);
    }
    assert_ok(qk_run_open(&run, folder, key, true, err));
    assert_true(qk_run_count(run) > 0);
    again = study(&model, &usual, run, false);
    assert_true(json_equal(whole, again));
    qk_run_close(run);
    json_decref(whole);
    json_decref(again);
    json_decref(key);
    qk_documents_free(&documents);
    qk_model_close(model.model);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static void a_plan_does_no_work(void **state)
{
    (void)state;
    qk_named_model model = open_demo();
    json_t *plan = study(&model, &usual, NULL, true);
    const json_t *row = json_array_get(json_object_get(plan, "plan"), 0);
    assert_true(number(row, "flops") > 1e7);
    assert_true(number(row, "total_bytes") > 1e6);
    json_decref(plan);
    qk_model_close(model.model);
}

static void temperature_is_a_line_in_the_logarithm(void **state)
{
    (void)state;
    static const double slopes[] = { 0.412, 0.103 }, betas[2][3] = { { 1.28558, 1.57115, 1.85673 }, { 1.07139, 1.14279, 1.21418 } };
    qk_named_model model = open_demo();
    qk_context_settings s = usual;
    qk_context c = { .models = &model, .n_models = 1, .settings = &s };
    const qk_context_arm arm = { 0, QK_METHOD_TEMPERATURE };
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 3; k++) {
            c.slope[0] = slopes[i];
            qk_reading reading = qk_context_reading(&c, &arm, (size_t)TRAINED << (k + 1));
            qk_model view;
            assert_near(reading.factor, betas[i][k], 6e-6);
            assert_ok(qk_context_view(&view, &c, 0, &reading, err));
            assert_near(view.config.softmax_scale * sqrt(view.config.head_dim), betas[i][k], 6e-6);
        }
    assert_int_equal(qk_context_reading(&c, &arm, TRAINED).method, QK_METHOD_NONE);
    qk_model_close(model.model);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const struct { const char *says; unsigned methods; double length, task_length; qk_status status; } bad[] = {
        { "longrope", 1 << QK_METHOD_LONGROPE, 1, 1, QK_E_UNSUPPORTED },
        { "documents together", 1, 1000, 1, QK_E_ARGUMENT },
        { "question alone have", 1, 1, 0.1, QK_E_ARGUMENT },
        { "2 to", 1, 1e-3, 1, QK_E_ARGUMENT },
    };
    qk_named_model model = open_demo();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qk_documents documents = open_texts(), none = { 0 };
        qk_context_settings s = usual;
        qk_error error = { QK_OK, "" };
        json_t *results = NULL;
        s.methods = bad[i].methods;
        s.lengths[0] = bad[i].length;
        s.task_lengths[0] = bad[i].task_length;
        s.n_lengths = s.n_task_lengths = 1;
        assert_int_equal(qk_study_long_context(&results, &model, 1, &documents, &none, &s, &(qk_compute){ .n_threads = 1 },
                                               NULL, false, &error), bad[i].status);
        if (!strstr(error.message, bad[i].says)) fail_msg("\"%s\" does not say \"%s\"", error.message, bad[i].says);
        assert_null(results);
        qk_documents_free(&documents);
    }
    qk_model_close(model.model);
}

/* ---- the verb */

static char *read_all(const char *folder, const char *name)
{
    char path[200];
    qk_map map;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(qk_map_open(&map, path, err));
    char *text = calloc(1, map.size + 1);
    memcpy(text, map.data, map.size);
    qk_map_close(&map);
    return text;
}

static void the_verb_leaves_a_report(void **state)
{
    (void)state;
    char folder[] = "/tmp/qk-context-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
#define RUN(...) run_program("context", data_path("golden/demo"), "--lengths", "1,2", "--limit", "2", "--find", "pass_key", \
                             "--depths", "0,1", "--trials", "1", "-q", "-o", folder, __VA_ARGS__)
    outcome first = RUN("--method", "none,yarn,pi", "--sliding");
    if (first.code) fail_msg("exit %d: %s", first.code, first.err);
    assert_non_null(strstr(first.out, "yarn"));
    char *results = read_all(folder, "results.json"), *page = read_all(folder, "report.html");
    char *table = read_all(folder, "yarn-ppl.csv"), *moving = read_all(folder, "yarn-ppl-sliding.csv");
    assert_memory_equal(table, ",128,256\ndemo none,", 19);
    assert_memory_equal(moving, ",128,256\ndemo none,", 19);
    assert_non_null(strstr(page, "What happens beyond the trained context?"));
    static const char *const figures[] = { "context-loss", "context-positions", "context-keys", "context-map-pass-key" };
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "figures/%s.svg", figures[i]);
        free(read_all(folder, name));
    }
    outcome again = RUN("--method", "none,yarn,pi", "--sliding", "--resume");
    assert_int_equal(again.code, 0);
    char *same = read_all(folder, "results.json");
    assert_string_equal(results, same);
    outcome_free(&first);
    outcome_free(&again);
    assert_rejected(RUN("--method", "dreams"), 2, "dreams");
    assert_rejected(run_program("context", data_path("golden/demo"), "--haystack", "plain", "--find", "pass_keys", "--no-run"),
                    2, "expected --haystack world");
    assert_rejected(run_program("context", data_path("golden/demo"), "--lambda", "3", "--no-run"), 2, "expected --conditions");
    assert_rejected(run_program("context", data_path("golden/demo"), "--method", "longrope", "--no-run"), 1,
                    "no short and long factors");
    assert_rejected(RUN("--method", "none", "--find-lengths", "2,1"), 2, "--find-lengths");
    outcome plan = RUN("--method", "none", "--dry-run");
    assert_int_equal(plan.code, 0);
    assert_non_null(strstr(plan.out, "FLOP"));
    outcome_free(&plan);
    free(results);
    free(same);
    free(page);
    free(table);
    free(moving);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_stand_at_their_depth),
        cmocka_unit_test(keys_are_scored_as_by_hand),
        cmocka_unit_test(arms_are_compared_the_right_way_round),
        cmocka_unit_test(plain_keys_are_those_of_the_probes),
        cmocka_unit_test(broken_keys_are_scored_as_by_hand),
        cmocka_unit_test(losses_are_those_of_the_windows),
        cmocka_unit_test(crop_sees_windows_of_the_trained_context),
        cmocka_unit_test(a_stopped_study_ends_in_the_same_bytes),
        cmocka_unit_test(a_plan_does_no_work),
        cmocka_unit_test(temperature_is_a_line_in_the_logarithm),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(the_verb_leaves_a_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
