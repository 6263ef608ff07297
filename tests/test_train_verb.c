/* test_train_verb.c - `qkscope train` as a user runs it: from scratch and on from a model, interrupted, killed, on a
 * full disk, within a budget, and with input that makes no sense. */
#include <jansson.h>
#include <math.h>
#include <time.h>

#include "training_runs.h"

static const char *model(void) { return data_path("golden/demo"); }

/* Thirty documents of a few dozen tokens, and a configuration for training from scratch. */
static int make_files(void **state)
{
    static const char config[] =
        "{\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": 2, \"num_attention_heads\": 2,\n"
        " \"num_key_value_heads\": 1, \"head_dim\": 16, \"intermediate_size\": 64, \"vocab_size\": 512,\n"
        " \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0,\n"
        " \"tie_word_embeddings\": true, \"hidden_act\": \"silu\"}\n";
    static const char *const words[] = { "river", "stone", "letter", "valve", "summer", "pier", "counts", "opens" };
    char text[20000] = "";
    if (make_work_folder(state)) return -1;
    for (unsigned d = 0; d < 30; d++) {
        char *line = text + strlen(text);
        line += sprintf(line, "{\"text\": \"");
        for (unsigned w = 0; w < 20 + d; w++) line += sprintf(line, "%s ", words[(w * (d + 3) + d * d) % 8]);
        sprintf(line, "%u\"}\n", d);
    }
    assert_ok(qk_write_file(work_path("texts.jsonl"), text, strlen(text), err));
    assert_ok(qk_write_file(work_path("config.json"), config, sizeof config - 1, err));
    assert_ok(qk_write_file(work_path("short.jsonl"), "{\"text\": \"a river\"}\n", 20, err));
    return 0;
}

/* A training on the small texts, in `folder`: 24 steps, every eighth saved, constant rate; `more` ends with NULL. */
static void list_words(const char **out, const char *folder, const char *const *more)
{
    const char *usual[] = { "train", model(), "--texts", work_path("texts.jsonl"), "--steps", "24", "-c", "48",
                            "-b", "2", "--schedule", "constant", "--warmup", "2", "--save-every", "8", "--valid-every",
                            "4", "--lr", "3e-3", "-t", "1", "-o", folder };
    join_words(out, usual, sizeof usual / sizeof *usual, more);
}

static outcome train(const char *folder, const char *const *more)
{
    const char *words[MOST_WORDS + 1];
    list_words(words, folder, more);
    return run_program_to(STDOUT_KEPT, words);
}

#define TRAIN(folder, ...) train(folder, (const char *const[]){ __VA_ARGS__, NULL })

static void assert_same_run(const char *a, const char *b)
{
    assert_same_file(a, b, "log.jsonl");
    assert_same_file(a, b, "model.safetensors");
    assert_same_file(a, b, "config.json");
    assert_same_file(a, b, "checkpoints/step-00000024/model.safetensors");
    assert_same_file(a, b, "checkpoints/step-00000024/trainer.safetensors");
    assert_same_file(a, b, "checkpoints/step-00000024/trainer.json");
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double whole_seconds; /* that the uninterrupted run took, each step being saved */

/* The uninterrupted run that the others are held against; trained once. */
static const char *whole(void)
{
    static char folder[8300];
    if (*folder) return folder;
    snprintf(folder, sizeof folder, "%s", work_path("whole"));
    whole_seconds = seconds_now();
    assert_done(TRAIN(folder, "-q", "--save-every", "1", "-t", "2"));
    whole_seconds = seconds_now() - whole_seconds;
    return folder;
}

/* ---- what it leaves */

static void test_what_a_training_leaves(void **state)
{
    (void)state;
    char log[9000];
    json_t *result = json_load_file(work_path("x"), 0, NULL), *row;
    assert_null(result);
    outcome o = TRAIN(work_path("left"), "--json");
    assert_int_equal(o.code, 0);
    result = json_loads(o.out, 0, NULL);
    assert_non_null(result);
    assert_int_equal((int)number(result, "steps"), 24);
    assert_true(number(result, "valid_loss") > 0);
    json_decref(result);
    outcome_free(&o);
    assert_same_run(work_path("left"), whole());
    snprintf(log, sizeof log, "%s/log.jsonl", work_path("left"));
    FILE *lines = fopen(log, "r");
    char line[500];
    int n_steps = 0, n_validations = 0;
    double first = 0, last = 0;
    assert_non_null(lines);
    while (fgets(line, sizeof line, lines)) {
        assert_non_null(row = json_loads(line, 0, NULL));
        if (json_object_get(row, "valid_loss")) {
            assert_int_equal((int)number(row, "step"), 4 * n_validations++);
        } else {
            assert_int_equal((int)number(row, "step"), ++n_steps);
            if (n_steps == 1) first = number(row, "loss");
            last = number(row, "loss");
            assert_true(number(row, "grad_norm") > 0 && number(row, "lr") > 0);
        }
        json_decref(row);
    }
    fclose(lines);
    assert_int_equal(n_steps, 24);
    assert_int_equal(n_validations, 7);
    assert_true(last < first - 1); /* eight words in turn are soon learnt */
    /* a model like any other */
    assert_done(run_program("ppl", work_path("left"), "--texts", work_path("texts.jsonl"), "--json"));
}

static json_t *settings_of(const char *folder)
{
    char path[9000];
    snprintf(path, sizeof path, "%s/training.json", folder);
    json_t *training = json_load_file(path, 0, NULL), *settings = json_incref(json_object_get(training, "settings"));
    assert_non_null(settings);
    json_decref(training);
    return settings;
}

/* The last tenth of the documents, or those of --valid, or none. */
static void test_what_is_held_out(void **state)
{
    static const struct { const char *option, *value; int n_documents; bool held_out; } cases[] = {
        { "-q", "-q", 27, true }, { "--hold-out", "50", 15, true }, { "--hold-out", "0", 30, false },
        { "--valid", "texts.jsonl", 30, true },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[8300];
        bool valid = strcmp(cases[i].option, "--valid") == 0;
        snprintf(folder, sizeof folder, "%s/held%zu", work_folder, i);
        assert_done(TRAIN(folder, "-q", "--steps", "2", "--across-documents", "--no-bos", cases[i].option,
                          valid ? work_path(cases[i].value) : cases[i].value));
        json_t *settings = settings_of(folder), *held_out = json_object_get(settings, "held_out");
        assert_int_equal((int)number(json_object_get(settings, "text"), "documents"), cases[i].n_documents);
        assert_true((number(held_out, "tokens") > 0) == cases[i].held_out);
        assert_true((json_object_get(held_out, "sha256") != NULL) == valid);
        json_decref(settings);
    }
}

static void test_from_scratch(void **state)
{
    (void)state;
    const char *tokenizer = data_path("golden/demo/tokenizer.json");
    assert_done(run_program("train", work_path("config.json"), "--tokenizer", tokenizer, "--world", "1", "--steps", "3",
                            "-b", "2", "-o", work_path("scratch"), "--valid-tokens", "500", "-q", "--dtype", "bf16"));
    assert_done(run_program("train", work_path("config.json"), "--tokenizer", model(), "--world", "1", "--tokens",
                            "400", "-b", "2", "-o", work_path("again"), "--valid-tokens", "500", "-q", "--dtype",
                            "bf16"));
    assert_same_file(work_path("scratch"), work_path("again"), "model.safetensors");
    assert_same_file(work_path("scratch"), work_path("again"), "log.jsonl");
    assert_same_file(work_path("scratch"), data_path("golden/demo"), "tokenizer.json");
    assert_done(run_program("info", work_path("scratch")));
}

/* ---- interrupted */

static pid_t start(const char *folder, const char *const *more)
{
    const char *words[MOST_WORDS + 1], *argv[MOST_WORDS + 2] = { getenv("QK_PROGRAM") };
    posix_spawn_file_actions_t actions;
    pid_t pid;
    list_words(words, folder, more);
    for (size_t n = 0; words[n]; n++) argv[n + 1] = words[n];
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    assert_int_equal(posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void wait_milliseconds(unsigned ms)
{
    nanosleep(&(struct timespec){ ms / 1000, (long)(ms % 1000) * 1000000 }, NULL);
}

/* Steps of the newest checkpoint, all of whose files must be whole; 0 where there is none. */
static int newest_checkpoint(const char *folder)
{
    for (int step = 24; step > 0; step--) {
        char path[9000];
        qk_ckpt *ckpt;
        snprintf(path, sizeof path, "%s/checkpoints/step-%08d", folder, step);
        if (!qk_path_exists(path)) continue;
        size_t n = strlen(path);
        strcpy(path + n, "/model.safetensors");
        assert_ok(qk_ckpt_open_safetensors(&ckpt, path, err));
        qk_ckpt_close(ckpt);
        strcpy(path + n, "/trainer.safetensors");
        assert_ok(qk_ckpt_open_safetensors(&ckpt, path, err));
        qk_ckpt_close(ckpt);
        strcpy(path + n, "/trainer.json");
        json_t *trainer = json_load_file(path, 0, NULL);
        assert_int_equal((int)number(trainer, "step"), step);
        json_decref(trainer);
        return step;
    }
    return 0;
}

static void test_an_interrupted_training_is_saved(void **state)
{
    (void)state;
    char folder[8300], log[8400];
    snprintf(folder, sizeof folder, "%s", work_path("interrupted"));
    snprintf(log, sizeof log, "%s/log.jsonl", folder);
    pid_t pid = start(folder, (const char *const[]){ "--save-every", "0", NULL });
    struct stat info;
    for (int i = 0; i < 2000 && (stat(log, &info) != 0 || info.st_size < 300); i++) wait_milliseconds(5);
    kill(pid, SIGSTOP); /* while one trains there, no other does */
    outcome second = TRAIN(folder, "-q", "--resume");
    kill(pid, SIGINT);
    kill(pid, SIGCONT);
    int code = 0;
    while (waitpid(pid, &code, 0) < 0) { }
    assert_true(WIFEXITED(code));
    if (WEXITSTATUS(code) != 0) { /* else it was done before the signal came */
        assert_int_equal(second.code, 1);
        assert_non_null(strstr(second.err, "another process is training there"));
        assert_int_equal(WEXITSTATUS(code), 130);
        assert_true(newest_checkpoint(folder) > 0);
    }
    outcome_free(&second);
    assert_rejected(TRAIN(folder, "-q"), 2, "--resume, found the checkpoints");
    assert_done(TRAIN(folder, "-q", "--resume", "--save-every", "7"));
    assert_same_run(folder, whole());
}

/* Killed twenty times at any moment of its first third, each step being saved: a checkpoint that was there is whole and
 * stays the least that the next run begins with, and the end is the same. */
static void test_killed_twenty_times(void **state)
{
    (void)state;
    char folder[8300];
    const char *const resume[] = { "--resume", "-q", "--save-every", "1", NULL };
    qk_rng rng;
    int n_kills = 0, n_runs = 0, had = 0, n_with_progress = 0;
    qk_rng_seed(&rng, (uint64_t)time(NULL)); /* any moment will do: what must hold does not depend on it */
    whole();
    for (bool open = false; n_kills < 20; n_kills++) {
        if (!open) snprintf(folder, sizeof folder, "%s/killed%d", work_folder, n_runs++);
        open = true;
        pid_t pid = start(folder, resume);
        wait_milliseconds((unsigned)(300 * whole_seconds * qk_rng_uniform(&rng)));
        kill(pid, SIGKILL);
        int code = 0;
        while (waitpid(pid, &code, 0) < 0) { }
        int has = newest_checkpoint(folder);
        assert_true(has >= had);
        n_with_progress += has > had;
        had = has;
        if (!WIFEXITED(code)) continue;
        assert_int_equal(WEXITSTATUS(code), 0); /* it was done before */
        assert_same_run(folder, whole());
        open = false;
        had = 0;
    }
    assert_true(n_runs < 20);
    assert_done(TRAIN(folder, "--resume", "-q"));
    assert_same_run(folder, whole());
    print_message("# %d runs, %d of %d kills after a new checkpoint\n", n_runs, n_with_progress, n_kills);
}

/* ---- what it refuses */

static void test_usage(void **state)
{
    (void)state;
    char texts[8300], out[8300], config[8300];
    snprintf(texts, sizeof texts, "%s", work_path("texts.jsonl"));
    snprintf(out, sizeof out, "%s", work_path("none"));
    snprintf(config, sizeof config, "%s", work_path("config.json"));
    assert_rejected(run_program("train", model(), "--steps", "1", "-o", out), 2, "expected --texts or --world");
    assert_rejected(run_program("train", model(), "--texts", texts, "-o", out), 2, "expected --steps or --tokens");
    assert_rejected(run_program("train", model(), "--texts", texts, "--steps", "1"), 2, "-o: expected a folder");
    assert_rejected(TRAIN(out, "--world", "1"), 2, "expected --texts or --world, found both");
    assert_rejected(TRAIN(out, "--tokens", "1000"), 2, "expected --steps or --tokens, found both");
    assert_rejected(TRAIN(out, "-c", "129"), 2, "at most the 128 tokens");
    assert_rejected(TRAIN(out, "--decay", "3"), 2, "--decay: expected --schedule wsd");
    assert_rejected(TRAIN(out, "--tokenizer", model()), 2, "--tokenizer: expected a config.json");
    assert_rejected(TRAIN(out, "--hold-out", "1"), 2, "--hold-out: 1 % of 30 documents is none");
    assert_rejected(TRAIN(out, "--max-mem", "70M"), 4, "training needs at least");
    assert_rejected(run_program("train", model(), "--texts", work_path("short.jsonl"), "--hold-out", "0", "--steps",
                                "1", "-o", out), 2, "expected at least one context of 128 tokens");
    assert_rejected(run_program("train", config, "--texts", texts, "--steps", "1", "-o", out), 1, "tokenizer.json");
    assert_rejected(run_program("train", config, "--tokenizer", texts, "--texts", texts, "--steps", "1", "-o", out), 1,
                    "expected a folder, a tokenizer.json");
    assert_rejected(run_program("train", work_path("nothing.json"), "--texts", texts, "--steps", "1", "-o", out), 1,
                    "nothing.json");
    assert_rejected(TRAIN("/proc/no/such", "-q"), 1, "/proc/no: cannot create folder");
    assert_rejected(TRAIN(texts, "-q"), 1, "cannot create folder");
    assert_false(qk_path_exists(out));
}

static void test_configurations_that_do_not_fit(void **state)
{
    static const struct { const char *text, *words; int code; } cases[] = {
        { "{", "line 1", 1 },
        { "{\"model_type\": \"gpt2\"}", "gpt2", 1 },
        { "{\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, "
          "\"intermediate_size\": 64, \"vocab_size\": 100, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5}",
          "expected at least the 512 tokens", 2 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *config = work_path("bad.json");
        assert_ok(qk_write_file(config, cases[i].text, strlen(cases[i].text), err));
        assert_rejected(run_program("train", config, "--tokenizer", model(), "--world", "1", "--steps", "1", "-o",
                                    work_path("none")), cases[i].code, cases[i].words);
    }
}

/* A limit on the size of files stands in for a full disk: the checkpoint that was there stays, no rest is left. */
static void test_a_full_disk(void **state)
{
    (void)state;
    char folder[8300], hidden[9000];
    snprintf(folder, sizeof folder, "%s", work_path("full"));
    struct rlimit before, small;
    assert_done(TRAIN(folder, "-q", "--steps", "8"));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    outcome o = TRAIN(folder, "-q", "--resume");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_rejected(o, 1, "File too large");
    assert_int_equal(newest_checkpoint(folder), 8);
    snprintf(hidden, sizeof hidden, "%s/checkpoints/.step-00000016", folder);
    assert_false(qk_path_exists(hidden));
    assert_done(TRAIN(folder, "-q", "--resume"));
    assert_same_run(folder, whole());
}

static void test_a_rate_that_explodes(void **state)
{
    (void)state;
    char folder[8300];
    snprintf(folder, sizeof folder, "%s", work_path("explodes"));
    outcome o = TRAIN(folder, "-q", "--lr", "1000", "--clip", "0", "--weight-decay", "100", "--warmup", "0",
                      "--valid-every", "0", "--save-every", "1");
    if (o.code != 3 || !strstr(o.err, "step ") || count_lines(o.err) != 1) fail_msg("exit %d: %s", o.code, o.err);
    outcome_free(&o);
    assert_true(newest_checkpoint(folder) > 0);
}

/* ---- memory */

static void test_dry_run(void **state)
{
    (void)state;
    outcome o = TRAIN(work_path("none"), "--dry-run", "--json");
    json_t *plan = json_loads(o.out, 0, NULL);
    assert_int_equal(o.code, 0);
    assert_int_equal((int)number(plan, "steps"), 24);
    assert_int_equal((int)number(plan, "tokens"), 24 * 96);
    assert_true(number(plan, "weights") > 270000 && number(plan, "bytes") > 16 * number(plan, "weights"));
    assert_false(qk_path_exists(work_path("none")));
    json_decref(plan);
    outcome_free(&o);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* Under a budget the same training holds less, and what it holds stays below. */
static void test_memory_stays_within_the_budget(void **state)
{
    static const char config[] =
        "{\"model_type\": \"llama\", \"hidden_size\": 256, \"num_hidden_layers\": 6, \"num_attention_heads\": 4,\n"
        " \"num_key_value_heads\": 4, \"intermediate_size\": 1024, \"vocab_size\": 512, \"rms_norm_eps\": 1e-5,\n"
        " \"max_position_embeddings\": 128, \"tie_word_embeddings\": true, \"hidden_act\": \"silu\"}\n";
    static const char *const limits[] = { "64G", "260M" };
    (void)state;
    const char *path = work_path("wide.json");
    size_t peak[2];
    assert_ok(qk_write_file(path, config, sizeof config - 1, err));
    for (size_t i = 0; i < 2; i++) {
        outcome o = run_program("train", path, "--tokenizer", model(), "--world", "1", "--steps", "1", "-b", "16", "-o",
                                work_path(limits[i]), "-q", "--valid-tokens", "300", "--max-mem", limits[i]);
        peak[i] = o.peak_bytes;
        assert_done(o);
    }
    assert_true(peak[0] > (size_t)300 << 20);
    if (peak[1] > (size_t)260 << 20) fail_msg("%zu bytes under a budget of 260M", peak[1]);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_training_leaves),
        cmocka_unit_test(test_what_is_held_out),
        cmocka_unit_test(test_from_scratch),
        cmocka_unit_test(test_an_interrupted_training_is_saved),
        cmocka_unit_test(test_killed_twenty_times),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_configurations_that_do_not_fit),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_a_rate_that_explodes),
        cmocka_unit_test(test_dry_run),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(test_memory_stays_within_the_budget),
#endif
    };
    return cmocka_run_group_tests(tests, make_files, remove_work_folder);
}
