/* test_recalibrate.c - `qkscope recalibrate` as a user runs it. */
#include <jansson.h>
#include <math.h>
#include <time.h>

#include "model/model.h"
#include "training_runs.h"

static const char *demo(void) { return data_path("golden/demo"); }

/* The built-in documents as a file: the demo model was trained on them. */
static int make_files(void **state)
{
    qk_documents all;
    qk_error error;
    if (make_work_folder(state) || qk_documents_builtin(&all, &error)) return -1;
    FILE *file = fopen(work_path("texts.jsonl"), "w");
    for (size_t i = 0; i < all.n; i++) {
        json_t *line = json_pack("{s:s, s:s}", "id", all.items[i].id, "text", all.items[i].text);
        json_dumpf(line, file, JSON_COMPACT);
        fputc('\n', file);
        json_decref(line);
    }
    qk_documents_free(&all);
    return fclose(file);
}

/* 24 steps on the built-in documents, measured every tenth; more words end with NULL. */
static void list_words(const char **out, const char *folder, const char *const *more)
{
    const char *usual[] = { "recalibrate", demo(), "--texts", work_path("texts.jsonl"), "--hold-out", "20", "--steps",
                            "24", "-c", "64", "-b", "4", "-t", "1", "--track", "10", "--track-documents", "4",
                            "--save-every", "5", "--valid-every", "8", "-o", folder };
    join_words(out, usual, sizeof usual / sizeof *usual, more);
}

static outcome train(const char *folder, const char *const *more)
{
    const char *words[MOST_WORDS + 1];
    list_words(words, folder, more);
    return run_program_to(STDOUT_KEPT, words);
}

#define TRAIN(folder, ...) train(folder, (const char *const[]){ __VA_ARGS__, NULL })

static json_t *read_json(const char *folder, const char *name)
{
    json_t *object = json_load_file(inside(folder, name), 0, NULL);
    if (!object) fail_msg("%s/%s: no JSON", folder, name);
    return object;
}

/* ---- the bare conversion */

static void test_bare(void **state)
{
    (void)state;
    const char *folder = work_path("bare");
    outcome o = run_program("recalibrate", demo(), "--steps", "0", "-o", folder);
    assert_string_equal(o.out, "demo: 8 rotary pairs of 4 layers lost their rotation; written as llama_drope (nope)\n");
    assert_done(o);
    static const char *const files[] = { "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                                         "training.json" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) assert_true(qk_path_exists(inside(folder, files[i])));
    assert_same_file(demo(), folder, "tokenizer.json");
    json_t *config = read_json(folder, "config.json");
    assert_string_equal(json_string_value(json_object_get(config, "model_type")), "llama_drope");
    assert_string_equal(json_string_value(json_object_get(config, "attention_type")), "nope");
    assert_null(json_object_get(config, "softmax_scale")); /* the published code would take a null for a number */
    assert_int_equal(json_integer_value(json_object_get(config, "max_position_embeddings")), 128);
    assert_true(json_real_value(json_object_get(config, "rms_norm_eps")) == 1e-5);
    json_decref(config);
    qk_model *source, *made;
    assert_ok(qk_model_open(&source, demo(), NULL, err));
    assert_ok(qk_model_open(&made, folder, NULL, err));
    assert_int_equal(qk_ckpt_count(source->ckpt), qk_ckpt_count(made->ckpt));
    for (size_t i = 0; i < qk_ckpt_count(made->ckpt); i++) {
        const qk_tensor *t = qk_ckpt_at(made->ckpt, i), *s = qk_ckpt_find(source->ckpt, t->name);
        assert_non_null(s);
        size_t n = t->n_bytes / sizeof(float);
        float *was = malloc(n * sizeof *was);
        qk_dtype_describe(s->dtype)->to_f32(was, s->data, n);
        if (memcmp(was, t->data, t->n_bytes) != 0) fail_msg("%s differs", t->name);
        free(was);
    }
    qk_model_close(source);
    qk_model_close(made);
    /* BF16 in, BF16 out: the very bytes */
    assert_done(run_program("recalibrate", demo(), "--steps", "0", "--dtype", "bf16", "--qk-norm", "k", "-o",
                            work_path("bare-bf16")));
    config = read_json(work_path("bare-bf16"), "config.json");
    assert_string_equal(json_string_value(json_object_get(config, "attention_type")), "k_norm_nope");
    assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")), "bfloat16");
    json_decref(config);
}

static void test_refused(void **state)
{
    (void)state;
    const char *none = work_path("none"), *bare = work_path("bare"), *texts = work_path("texts.jsonl");
    assert_rejected(run_program("recalibrate", demo(), "--steps", "0"), 2, "-o: expected a folder");
    assert_rejected(run_program("recalibrate", demo(), "--steps", "0", "-o", bare), 2,
                    "expected a new folder or an empty one, found 5 other files");
    assert_rejected(run_program("recalibrate", demo(), "--texts", texts, "--steps", "2", "-q", "-o", bare), 2,
                    "expected a new folder, an empty one or a run");
    assert_rejected(run_program("recalibrate", bare, "--steps", "0", "-o", none), 2,
                    "expected a model with a rotation, found one without (nope)");
    assert_rejected(run_program("recalibrate", bare, "--control", "rope", "--steps", "0", "-o", none), 2,
                    "expected a model with a rotation");
    assert_rejected(run_program("recalibrate", demo(), "--steps", "0", "--drop-layers", "2-4", "-o", none), 2,
                    "--drop-layers: layer 4: expected 0 to 3");
    assert_rejected(run_program("recalibrate", demo(), "--steps", "0", "--drop-pairs", "8", "-o", none), 2,
                    "--drop-pairs: pair 8: expected 0 to 7");
    assert_rejected(run_program("recalibrate", demo(), "--steps", "0", "--drop-pairs", "slowest", "-o", none), 2,
                    "--drop-pairs: expected pairs such as 0-3,7");
    assert_rejected(run_program("recalibrate", demo(), "--steps", "0", "--gradual", "5", "-o", none), 2,
                    "--gradual: expected steps to train");
    assert_rejected(run_program("recalibrate", demo(), "--texts", texts, "--steps", "2", "--gradual", "5", "-o", none),
                    2, "--gradual 5: expected at most the 2 steps");
    assert_rejected(run_program("recalibrate", demo(), "--texts", texts, "--steps", "2", "--gradual-law", "cubic",
                                "-o", none), 2, "--gradual-law: expected --gradual beside it");
    assert_rejected(run_program("recalibrate", demo(), "--control", "rope", "--drop-pairs", "slow", "--steps", "0",
                                "-o", none), 2, "--control rope: expected no --drop-pairs beside it");
    assert_rejected(run_program("recalibrate", demo(), "--control", "uniform", "--steps", "0", "-o", none), 2,
                    "--control: expected rope, found uniform");
    assert_rejected(run_program("disrupt", demo(), "--control", "rope"), 2, "expected excluding, uniform or same-head");
    assert_rejected(run_program("recalibrate", demo(), "--steps", "3", "-o", none), 2,
                    "expected --texts or --world, found neither");
    assert_rejected(run_program("recalibrate", demo(), "--texts", texts, "-o", none), 2,
                    "expected --steps or --tokens, found neither");
    assert_rejected(run_program("recalibrate", demo(), "--texts", texts, "--steps", "0", "--temperature-context", "128",
                                "-o", none), 2, "--temperature-context 128: expected more than the trained context");
    assert_rejected(run_program("recalibrate", demo(), "--steps", "0", "--temperature-context", "256", "-o", none), 2,
                    "expected --texts or --world");
    assert_rejected(run_program("recalibrate", demo(), "--texts", texts, "--hold-out", "4", "--steps", "2", "--track",
                                "1", "-q", "-o", none), 2, "--track: expected at least 2 held-out documents");
    assert_rejected(run_program("recalibrate", data_path("golden/qwen3"), "--steps", "0", "--qk-norm", "qk", "-o",
                                none), 2, "expected no norm on queries");
    assert_false(qk_path_exists(none)); /* nothing was begun */
}

/* ---- a recalibration */

static void check_rows(const json_t *results, bool control)
{
    const json_t *track = json_object_get(results, "track"), *row;
    static const int steps[] = { 0, 0, 10, 20, 24 };
    size_t first = control ? 1 : 0;
    assert_int_equal(json_array_size(track), 5 - first);
    for (size_t i = 0; i < json_array_size(track); i++) {
        row = json_array_get(track, i);
        assert_int_equal((int)number(row, "step"), steps[i + first]);
        assert_int_equal((int)number(row, "tokens"), steps[i + first] * 4 * 64);
        assert_true(number(row, "rotation") == (control || i == 0 ? 1 : 0));
    }
    double came = number(json_array_get(track, 0), "loss"), last = number(json_array_get(track, 4 - first), "loss");
    double dropped = number(json_array_get(track, 1), "loss");
    if (control) {
        assert_true(last < came + 0.2);
    } else {
        assert_true(dropped > came + 2); /* without its rotation the model is lost at first ... */
        assert_true(last < dropped - 1); /* ... and finds back */
    }
    /* in order of steps, each step once where there are few */
    const json_t *log = json_object_get(results, "log");
    size_t n_steps = 0, n_validations = 0, i;
    json_array_foreach((json_t *)(uintptr_t)log, i, row) {
        bool is_step = json_is_number(json_object_get(row, "loss"));
        n_steps += is_step;
        n_validations += !is_step;
        if (is_step) assert_int_equal((int)number(row, "step"), (int)n_steps);
        else assert_true(number(row, "validation_loss") > 0);
    }
    assert_int_equal(n_steps, 24);
    assert_int_equal(n_validations, 4); /* 0, 8, 16, 24 */
}

static void check_run(const char *folder, bool control)
{
    static const char *const files[] = { "run.db", "log.jsonl", "results.json", "manifest.json", "report.html",
                                         "tracked.csv", "training.json", "model.safetensors", "tokenizer.json",
                                         "checkpoints/step-00000024/config.json" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!qk_path_exists(inside(folder, files[i]))) fail_msg("%s/%s is missing", folder, files[i]);
    json_t *results = read_json(folder, "results.json"), *arm = json_array_get(json_object_get(results, "arms"), 0);
    assert_string_equal(json_string_value(json_object_get(results, "study")), "recalibrate");
    assert_string_equal(json_string_value(json_object_get(arm, "kind")), control ? "control" : "drope");
    assert_true(json_is_true(json_object_get(arm, "finished")));
    assert_int_equal((int)number(arm, "steps"), 24);
    const json_t *what = json_object_get(arm, "recalibration");
    assert_int_equal((int)number(what, "layers_without_rotation"), control ? 0 : 4);
    check_rows(results, control);
    json_decref(results);
    json_t *config = read_json(folder, "config.json");
    assert_string_equal(json_string_value(json_object_get(config, "model_type")), control ? "llama" : "llama_drope");
    json_decref(config);
}

static void test_recalibration(void **state)
{
    (void)state;
    outcome o = TRAIN(work_path("pair/drope"), "-q", "--temperature-context", "192");
    if (o.code) fail_msg("exit %d: %s", o.code, o.err);
    assert_non_null(strstr(o.out, "8 rotary pairs of 4 layers lost their rotation; written as llama_drope (nope)"));
    outcome_free(&o);
    check_run(work_path("pair/drope"), false);
    assert_done(TRAIN(work_path("pair/control"), "-q", "--control", "rope"));
    check_run(work_path("pair/control"), true);
    /* the same documents in the same order */
    json_t *a = read_json(work_path("pair/drope"), "manifest.json");
    json_t *b = read_json(work_path("pair/control"), "manifest.json");
    assert_true(json_equal(json_object_get(a, "data"), json_object_get(b, "data")));
    json_decref(a);
    json_decref(b);
    assert_done(run_program("report", work_path("pair")));
    assert_true(qk_path_exists(work_path("pair/report.html")));
    assert_true(qk_path_exists(work_path("pair/drope/figures/temperature.svg")));
    assert_false(qk_path_exists(work_path("pair/control/figures/temperature.svg")));
    assert_true(qk_path_exists(work_path("pair/figures/temperature.svg")));
    assert_rejected(TRAIN(work_path("pair/drope"), "-q", "--temperature-context", "192"), 2,
                    "holds this very run already");
    assert_rejected(TRAIN(work_path("pair/drope"), "-q", "--temperature-context", "192", "--resume", "--lr", "1e-4"), 2,
                    "settings.lr");
}

static size_t lines_of(const char *path)
{
    qk_map map;
    size_t n = 0;
    if (!qk_path_exists(path) || qk_map_open(&map, path, NULL)) return 0;
    for (size_t i = 0; i < map.size; i++) n += map.data[i] == '\n';
    qk_map_close(&map);
    return n;
}

/* Starts a run, sends `signal_number` once its log has `n_lines`; its exit code, or 128 + signal. */
static int stop_at(const char *folder, size_t n_lines, int signal_number, const char *const *more)
{
    const char *words[MOST_WORDS + 1], *argv[MOST_WORDS + 2] = { getenv("QK_PROGRAM") };
    pid_t pid;
    int state = 0;
    list_words(words, folder, more);
    for (int i = 0; (argv[i + 1] = words[i]); i++) { }
    assert_int_equal(posix_spawn(&pid, argv[0], NULL, NULL, (char *const *)argv, environ), 0);
    for (;;) {
        if (waitpid(pid, &state, WNOHANG) == pid) break;
        if (lines_of(inside(folder, "log.jsonl")) >= n_lines) {
            kill(pid, signal_number);
            while (waitpid(pid, &state, 0) < 0) { }
            break;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    }
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

/* Interrupted, killed, continued: the same bytes as in one go; with amounts that fall on the way. */
static void test_resume(void **state)
{
    (void)state;
    static const char *const files[] = { "model.safetensors", "config.json", "results.json", "log.jsonl",
                                         "tracked.csv" };
    static const char *const more[] = { "-q", "--gradual", "15", "--qk-norm", "q", NULL };
    static const char *const again[] = { "-q", "--gradual", "15", "--qk-norm", "q", "--resume", NULL };
    static const char *const other_law[] = { "-q",        "--gradual", "15", "--gradual-law", "cubic",
                                             "--qk-norm", "q",         "--resume", NULL };
    const char *whole = work_path("whole"), *parts = work_path("parts");
    assert_done(train(whole, more));
    int first = stop_at(parts, 8, SIGINT, more), second = stop_at(parts, 17, SIGKILL, again);
    assert_true((first == 130 && second == 128 + SIGKILL)); /* else it was not stopped, and this test shows nothing */
    assert_rejected(train(parts, other_law), 2, "settings.gradual-law: expected \"cubic\", found \"linear\"");
    assert_done(train(parts, again));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) assert_same_file(whole, parts, files[i]);
    json_t *results = read_json(whole, "results.json"), *track = json_object_get(results, "track");
    static const double rotation[] = { 1, 1, 1.0 / 3, 0, 0 }; /* as it came, with its norm, after 10, 20, 24 steps */
    assert_int_equal(json_array_size(track), 5);
    for (size_t i = 0; i < 5; i++) assert_near(number(json_array_get(track, i), "rotation"), rotation[i], 1e-6);
    json_decref(results);
    json_t *config = read_json(whole, "config.json");
    assert_string_equal(json_string_value(json_object_get(config, "attention_type")), "q_norm_nope");
    json_decref(config);
}

/* ---- temperature */

/* Nothing is measured, and the report still says how the loss went. */
static void test_untracked(void **state)
{
    (void)state;
    const char *folder = work_path("untracked");
    assert_done(TRAIN(folder, "--track", "0", "--steps", "3"));
    json_t *results = read_json(folder, "results.json");
    assert_int_equal(json_array_size(json_object_get(results, "track")), 0);
    assert_true(json_is_null(json_object_get(json_object_get(results, "settings"), "lambda")));
    assert_true(json_array_size(json_object_get(results, "log")) >= 3);
    assert_true(qk_path_exists(inside(folder, "figures/tracked-loss.svg")));
    json_decref(results);
}

static void test_temperature(void **state)
{
    (void)state;
    const char *folder = work_path("temperature");
    assert_done(run_program("recalibrate", demo(), "--texts", work_path("texts.jsonl"), "--hold-out", "20", "--steps",
                            "0", "--temperature-context", "192", "-t", "1", "-q", "-o", folder));
    json_t *config = read_json(folder, "config.json"), *training = read_json(folder, "training.json");
    const json_t *fit = json_object_get(training, "temperature");
    assert_near(number(config, "softmax_scale"), number(fit, "beta") / 4, 1e-15);
    assert_true(number(fit, "nll") <= number(fit, "nll_at_one"));
    assert_near(number(fit, "stretch"), 1.5, 1e-12);
    assert_near(number(fit, "paper_scratch"), 1 + 0.412 * log(1.5), 1e-12);
    json_decref(config);
    json_decref(training);
    /* joined text where rows are joined, and the loss that ppl sees is the one that was fitted */
    assert_done(run_program("recalibrate", demo(), "--texts", work_path("texts.jsonl"), "--hold-out", "20", "--steps",
                            "0", "--temperature-context", "300", "--across-documents", "-t", "1", "-q", "-o",
                            work_path("joined")));
    training = read_json(work_path("joined"), "training.json");
    fit = json_object_get(training, "temperature");
    assert_int_equal((int)number(fit, "context"), 300);
    assert_int_equal((int)number(fit, "tokens"), 299 * (int)number(fit, "sequences"));
    json_decref(training);
}

/* ---- the world, and train --track */

static void test_world(void **state)
{
    (void)state;
    const char *folder = work_path("world");
    assert_done(run_program("recalibrate", demo(), "--world", "3", "--steps", "2", "-c", "64", "-b", "2", "-t", "1",
                            "--track-documents", "4", "--valid-tokens", "500", "-q", "-o", folder));
    json_t *results = read_json(folder, "results.json");
    assert_int_equal(json_array_size(json_object_get(results, "track")), 4); /* as it came, dropped, 1, 2 */
    assert_int_equal(json_array_size(json_object_get(results, "documents")), 4);
    json_decref(results);
}

static void test_train_track(void **state)
{
    (void)state;
    const char *folder = work_path("train");
    assert_done(run_program("train", demo(), "--texts", work_path("texts.jsonl"), "--hold-out", "20", "--steps", "4",
                            "-c", "64", "-b", "2", "-t", "1", "--track", "2", "--track-documents", "4", "-q", "-o", folder));
    json_t *results = read_json(folder, "results.json");
    assert_string_equal(json_string_value(json_object_get(results, "study")), "train");
    assert_int_equal(json_array_size(json_object_get(results, "track")), 3);
    json_decref(results);
    assert_true(qk_path_exists(inside(folder, "report.html")));
    /* From a configuration: the model that is told of is the one that trains. */
    static const char config[] =
        "{\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": 2, \"num_attention_heads\": 2,\n"
        " \"num_key_value_heads\": 1, \"head_dim\": 16, \"intermediate_size\": 64, \"vocab_size\": 512,\n"
        " \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0,\n"
        " \"tie_word_embeddings\": true, \"hidden_act\": \"silu\"}\n";
    assert_ok(qk_write_file(work_path("config.json"), config, sizeof config - 1, err));
    folder = work_path("scratch");
    assert_done(run_program("train", work_path("config.json"), "--tokenizer", demo(), "--texts",
                            work_path("texts.jsonl"), "--hold-out", "20", "--steps", "4", "-c", "64", "-b", "2", "-t",
                            "1", "--track", "2", "--track-documents", "4", "-q", "-o", folder));
    results = read_json(folder, "results.json");
    const json_t *model = json_array_get(json_object_get(results, "models"), 0);
    assert_int_equal(json_integer_value(json_object_get(model, "parameters")),
                     512 * 32 + 2 * (2 * 32 + 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32) + 32);
    json_decref(results);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare),        cmocka_unit_test(test_refused), cmocka_unit_test(test_recalibration),
        cmocka_unit_test(test_resume),      cmocka_unit_test(test_temperature), cmocka_unit_test(test_world),
        cmocka_unit_test(test_train_track), cmocka_unit_test(test_untracked),
    };
    return cmocka_run_group_tests(tests, make_files, remove_work_folder);
}
