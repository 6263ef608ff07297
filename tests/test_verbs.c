/* test_verbs.c - every verb of the real program on golden models: what it prints, what it leaves, what it refuses. */
#include <jansson.h>

#include "printed_json.h"
#include "study_files.h"

/* A golden llama2.c file whose tokenizer of single characters lies beside it. */
static const char *demo(void)
{
    static char path[8300];
    if (!*path) snprintf(path, sizeof path, "%s", work_path("demo.bin"));
    return path;
}

static int make_demo(void **state)
{
    qk_map map;
    if (make_work_folder(state)) return -1;
    assert_ok(qk_map_open(&map, data_path("golden/mha-llama2c/v1.bin"), err));
    assert_ok(qk_write_file(demo(), map.data, map.size, err));
    qk_map_close(&map);
    write_tokenizer(work_path("tokenizer.bin"));
    return 0;
}

static json_t *json_file(const char *path)
{
    json_t *object = json_load_file(path, 0, NULL);
    if (!object) fail_msg("%s: expected JSON", path);
    return object;
}

static void assert_succeeds(outcome o, const char *out, const char *err)
{
    if (o.code != 0 || !strstr(o.out, out) || !strstr(o.err, err))
        fail_msg("exit %d, expected '%s' in: %s and '%s' in: %s", o.code, out, o.out, err, o.err);
    outcome_free(&o);
}

/* ---- info, hooks */

static void test_info(void **state)
{
    (void)state;
    json_t *info = json_of(run_program("info", data_path("golden/gqa"), "--json", "-v", "-c", "40"));
    const json_t *pair = json_array_get(json_object_get(info, "pairs"), 1);
    assert_string_equal(json_string_value(json_object_get(info, "format")), "safetensors");
    assert_int_equal((int)number(json_object_get(info, "plan"), "tokens"), 40);
    assert_int_equal(json_array_size(json_object_get(info, "tensors")) > 10, 1);
    assert_int_equal(strlen(json_string_value(json_object_get(info, "sha256"))), 64);
    /* a pair is d and d + head_dim/2; wavelength = 2 pi / inv_freq; rotations = context / wavelength */
    assert_int_equal((int)json_integer_value(json_array_get(json_object_get(pair, "dims"), 1)),
                     1 + (int)json_array_size(json_object_get(info, "pairs")));
    assert_near(number(pair, "wavelength") * number(pair, "inv_freq"), 2 * M_PI, 1e-5);
    assert_near(number(pair, "rotations") * number(pair, "wavelength"), number(info, "context"), 1e-4);
    json_decref(info);
    assert_succeeds(run_program("info", data_path("golden/nope")), "no rotation", "");
    assert_succeeds(run_program("info", data_path("golden/gqa")), "pairs never complete a rotation", "");
    assert_rejected(run_program("info", data_path("golden/gqa"), "--max-mem", "1K"), 4, "needs at least");
}

/* Kernels held to a level of the processor: it is named, and golden activations hold there too. */
static void levels_can_be_chosen(void **state)
{
    (void)state;
    const char *model = data_path("golden/gqa");
    assert_int_equal(setenv("QKSCOPE_LEVEL", "plain", 1), 0);
    assert_succeeds(run_program("info", model), "level plain", "");
    assert_succeeds(run_program("verify", model, data_path("golden/gqa/golden.safetensors")), "", "");
    assert_int_equal(setenv("QKSCOPE_LEVEL", "sse9", 1), 0);
    assert_rejected(run_program("info", model), 2, "QKSCOPE_LEVEL: level \"sse9\": expected one of plain");
    unsetenv("QKSCOPE_LEVEL");
}

static void test_hooks(void **state)
{
    (void)state;
    json_t *all = json_of(run_program("hooks", "--json")),
           *some = json_of(run_program("hooks", data_path("golden/gqa"), "--json"));
    assert_int_equal(json_array_size(all), QK_N_SITES);
    assert_int_equal(json_array_size(some), QK_N_SITES - 2); /* no q and k norm */
    for (size_t i = 0; i < QK_N_SITES; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(all, i), "site")),
                            qk_site_describe((qk_site)i)->name);
    json_decref(all);
    json_decref(some);
    assert_succeeds(run_program("hooks", "-v"), "self_attn.q_proj", "");
}

/* ---- tokenize */

static json_t *ids_of(const char *text, const char *option)
{
    json_t *object = json_of(run_program("tokenize", demo(), text, "--json", option)),
           *ids = json_incref(json_object_get(object, "ids"));
    assert_true(json_is_array(ids));
    json_decref(object);
    return ids;
}

static void test_tokenize(void **state)
{
    static const char *const text = "Sense and sensibility, \"naive\"";
    char list[1000] = "";
    (void)state;
    json_t *with = ids_of(text, "-q"), *without = ids_of(text, "--no-bos"), *id;
    size_t i;
    assert_int_equal(json_array_size(with), json_array_size(without) + 1);
    json_array_foreach(without, i, id) {
        assert_true(json_equal(id, json_array_get(with, i + 1)));
        sprintf(list + strlen(list), "%s%d", i ? "," : "", (int)json_integer_value(id));
    }
    json_t *back = json_of(run_program("tokenize", demo(), "--decode", list, "--json"));
    assert_string_equal(json_string_value(json_object_get(back, "text")), text);
    json_decref(back);
    json_decref(with);
    json_decref(without);
    assert_succeeds(run_program("tokenize", demo(), "ab"), "68  \"a\"", "");
    assert_succeeds(run_program("tokenize", data_path("tokenizers/gpt2.json"), "Hello world"), "\"ll\"", "");
    assert_rejected(run_program("tokenize", data_path("golden/README.md"), "a"), 1, "README.md");
    assert_rejected(run_program("tokenize", demo()), 2, "expected one of TEXT, --file and --decode");
    assert_rejected(run_program("tokenize", demo(), "a", "--decode", "1"), 2, "found 2 of them");
    assert_rejected(run_program("tokenize", demo(), "--decode", "1,x"), 2, "--decode");
    assert_rejected(run_program("tokenize", demo(), "--decode", "1000000000"), 2, "--decode");
    assert_rejected(run_program("tokenize", demo(), "\xff"), 1, "UTF-8");
    assert_rejected(run_program("tokenize", demo(), "--file", "/nonexistent"), 1, "/nonexistent");
    assert_rejected(run_program("tokenize", data_path("golden/gqa"), "a"), 1, "tokenizer");
}

/* Line `line` of what the program wrote. */
static json_t *line_of(const outcome *o, int line)
{
    const char *from = o->out;
    for (; line > 0 && from; line--) from = strchr(from, '\n') ? strchr(from, '\n') + 1 : NULL;
    json_t *object = from ? json_loadb(from, strcspn(from, "\n"), 0, NULL) : NULL;
    assert_true(json_is_object(object));
    return object;
}

/* Documents are numbered from --from; questions come from each category in turn, their text is prompt and answer. */
static void test_world(void **state)
{
    (void)state;
    char text[20000];
    outcome two = run_program("world", "documents", "--part", "test", "--from", "5", "--limit", "2");
    outcome one = run_program("world", "documents", "--part", "test", "--from", "6", "--limit", "1");
    json_t *second = line_of(&two, 1), *alone = line_of(&one, 0);
    assert_true(json_equal(second, alone));
    assert_string_equal(json_string_value(json_object_get(alone, "id")), "test-6");
    outcome three = run_program("world", "questions", "--categories", "fact,sum", "--limit", "3");
    json_t *questions[3];
    static const char *const ids[] = { "train-fact-0", "train-sum-0", "train-fact-1" };
    for (int i = 0; i < 3; i++) {
        questions[i] = line_of(&three, i);
        assert_string_equal(json_string_value(json_object_get(questions[i], "id")), ids[i]);
        const char *kind = json_string_value(json_object_get(questions[i], "kind"));
        assert_string_equal(kind, i == 1 ? "contextual" : "parametric");
        snprintf(text, sizeof text, "%s %s", json_string_value(json_object_get(questions[i], "prompt")),
                 json_string_value(json_object_get(questions[i], "answer")));
        assert_string_equal(json_string_value(json_object_get(questions[i], "text")), text);
        json_decref(questions[i]);
    }
    json_decref(second);
    json_decref(alone);
    outcome_free(&two);
    outcome_free(&one);
    outcome_free(&three);
    assert_rejected(run_program("world", "poems"), 2, "expected documents, questions or echoes, found 'poems'");
    assert_rejected(run_program("world", "documents", "--categories", "sum"), 2, "--categories");
    assert_rejected(run_program("world", "questions", "--categories", "sums"), 2, "--categories");
    assert_rejected(run_program("world", "questions", "--part", "dev"), 2, "--part");
    assert_rejected(run_program("world", "documents", "--from", "18446744073709551615", "--limit", "1"), 2, "--from");
    assert_rejected(run_program_to(STDOUT_FULL, (const char *const[]){ "world", "documents", NULL }), 1, "space");
}

/* ---- what is no model */

static void truncate_to(const char *from, const char *to, size_t n_bytes)
{
    qk_map map;
    assert_ok(qk_map_open(&map, from, err));
    assert_true(map.size > n_bytes);
    assert_ok(qk_write_file(to, map.data, n_bytes, err));
    qk_map_close(&map);
}

/* org/name[@revision] is looked up as the Hugging Face libraries do; a path that exists wins. */
static void test_cache(void **state)
{
    static const char *const snapshot = "cache/hub/models--org--name/snapshots/0123abcd";
    char target[8300];
    (void)state;
    assert_ok(qk_make_folders(work_path(snapshot), err));
    assert_ok(qk_make_folders(work_path("cache/hub/models--org--name/refs"), err));
    assert_ok(qk_write_file(work_path("cache/hub/models--org--name/refs/main"), "0123abcd", 8, err));
    static const char *const files[] = { "config.json", "model.safetensors" };
    for (size_t i = 0; i < 2; i++) {
        char source[64], *link = qk_path_join(work_path(snapshot), files[i]);
        snprintf(source, sizeof source, "golden/gqa/%s", files[i]);
        assert_non_null(realpath(data_path(source), target));
        assert_int_equal(symlink(target, link), 0);
        free(link);
    }
    assert_succeeds(run_program("info", "org/name", "--cache-dir", work_path("cache/hub")), "name: llama", "");
    assert_succeeds(run_program("info", "org/name@0123abcd", "--cache-dir", work_path("cache/hub")), ": llama", "");
    assert_rejected(run_program("info", "org/name@other", "--cache-dir", work_path("cache/hub")), 1, "other");
    unsetenv("HF_HUB_CACHE");
    unsetenv("HUGGINGFACE_HUB_CACHE");
    assert_int_equal(setenv("HF_HOME", work_path("cache"), 1), 0);
    assert_succeeds(run_program("info", "org/name"), "name: llama", "");
    assert_int_equal(setenv("HF_HUB_CACHE", work_path("nothing"), 1), 0); /* goes first */
    assert_rejected(run_program("info", "org/name"), 1, "org/name");
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_HOME");
}

static void test_bad_models(void **state)
{
    static const size_t sizes[] = { 0, 7, 8, 9, 200, 5000 };
    (void)state;
    assert_rejected(run_program("info", "/nonexistent"), 1, "/nonexistent");
    assert_rejected(run_program("info", work_folder), 1, work_folder);
    assert_rejected(run_program("ppl", "/dev/null"), 1, "/dev/null");
    assert_rejected(run_program("info", "org/name", "--cache-dir", work_folder), 1, "org/name");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        truncate_to(data_path("golden/gqa/model.safetensors"), work_path("short.safetensors"), sizes[i]);
        assert_rejected(run_program("info", work_path("short.safetensors")), 1, "short.safetensors");
    }
}

/* ---- ppl */

static const char *write_texts(const char *name, const char *text)
{
    const char *path = work_path(name);
    assert_ok(qk_write_file(path, text, strlen(text), err));
    return path;
}

static void test_ppl(void **state)
{
    (void)state;
    const char *texts = write_texts("two.txt", "It was a fine morning.\n###\nShe was not at all sorry to be alone.\n");
    json_t *all = json_of(run_program("ppl", demo(), "--texts", texts, "--split", "###", "--json", "--per-token"));
    json_t *one = json_of(run_program("ppl", demo(), "--texts", texts, "--split", "###", "--json", "--limit", "1")),
           *row, *x;
    double nll = 0, tokens = 0, token_nll = 0;
    size_t i, j;
    json_array_foreach(json_object_get(all, "documents"), i, row) {
        nll += number(row, "nll");
        tokens += number(row, "tokens");
        assert_int_equal(json_array_size(json_object_get(row, "token_nll")), (size_t)number(row, "tokens"));
        json_array_foreach(json_object_get(row, "token_nll"), j, x) token_nll += json_number_value(x);
    }
    assert_int_equal(json_array_size(json_object_get(all, "documents")), 2);
    assert_int_equal(json_array_size(json_object_get(one, "documents")), 1);
    assert_int_equal((int)number(all, "tokens"), (int)tokens);
    assert_near(number(all, "nll_per_token"), nll / tokens, 1e-12);
    assert_near(number(all, "ppl"), exp(nll / tokens), 1e-9);
    assert_near(token_nll, nll, 1e-4);
    json_decref(all);
    json_decref(one);
    assert_succeeds(run_program("ppl", demo(), "--texts", texts, "-v"), "protocol hf", "");
    assert_succeeds(run_program("ppl", demo(), "--dry-run"), "allocated", "no work was done");
    assert_rejected(run_program("ppl", demo(), "--texts", texts, "--stride", "4"), 2, "--stride");
    assert_rejected(run_program("ppl", demo(), "--split", "x"), 2, "--texts");
    assert_rejected(run_program("ppl", demo(), "--texts", "/nonexistent.txt"), 1, "/nonexistent.txt");
    assert_rejected(run_program("ppl", demo(), "--max-mem", "1K"), 4, "needs at least");
    assert_rejected(run_program("ppl", data_path("golden/gqa"), "--texts", texts), 1, "tokenizer");
}

/* ---- capture, verify */

static void test_verify(void **state)
{
    (void)state;
    const char *model = data_path("golden/qwen3"), *golden = data_path("golden/qwen3/golden.safetensors");
    json_t *good = json_of(run_program("verify", model, golden, "--json"));
    assert_true(json_is_true(json_object_get(good, "ok")));
    json_decref(good);
    outcome strict = run_program("verify", model, golden, "--tolerance", "1e-12", "-q");
    assert_int_equal(strict.code, 3);
    assert_non_null(strstr(strict.out, "OUT OF TOLERANCE"));
    assert_int_equal(count_lines(strict.err), 1);
    assert_non_null(strstr(strict.err, "relative error of at most 1e-12"));
    outcome_free(&strict);
    assert_rejected(run_program("verify", model), 2, "GOLDEN");
    assert_rejected(run_program("verify", model, "/nonexistent"), 1, "/nonexistent");
    assert_rejected(run_program("verify", model, data_path("golden/README.md")), 1, "README.md");
}

static void test_capture(void **state)
{
    (void)state;
    const char *text = write_texts("one.txt", "It was a fine morning."), *file = work_path("captured.safetensors");
    assert_succeeds(run_program("capture", demo(), "--hooks", "blocks.{0-1}.attn.hook_q,rot_k0", "--hooks",
                                "resid_post*", "--texts", text, "-o", file),
                    "", "captured");
    assert_true(qk_path_exists(file));
    char argument[300];
    snprintf(argument, sizeof argument, "q=%s:blocks.1.attn.hook_q", file);
    json_t *counts = json_of(run_program("massive", "--captured", argument, "--json", "--no-run"));
    assert_true(json_array_size(json_object_get(counts, "counts")) >= 1);
    json_decref(counts);
    assert_rejected(run_program("capture", demo(), "--hooks", "q0"), 2, "-o");
    assert_rejected(run_program("capture", demo(), "-o", file), 2, "--hooks");
    assert_rejected(run_program("capture", demo(), "--hooks", "nonsense", "-o", work_path("no.safetensors")), 2,
                    "nonsense");
    assert_rejected(run_program("capture", demo(), "--hooks", "q99", "-o", work_path("no.safetensors")), 2, "99");
    assert_false(qk_path_exists(work_path("no.safetensors")));
}

/* ---- massive, disrupt, report */

static void assert_run(const char *run, const json_t *printed)
{
    static const char *const files[] = { "manifest.json", "results.json", "run.db", "report.html", "figures" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = qk_path_join(run, files[i]);
        if (!qk_path_exists(path)) fail_msg("%s is missing", path);
        free(path);
    }
    char *path = qk_path_join(run, "results.json");
    json_t *written = json_file(path);
    assert_true(json_equal(written, printed));
    json_decref(written);
    free(path);
}

static void test_massive(void **state)
{
    (void)state;
    const char *run = work_path("massive");
    json_t *results = json_of(run_program("massive", demo(), "--limit", "3", "-c", "64", "-o", run, "--json", "-q"));
    assert_string_equal(json_string_value(json_object_get(results, "study")), "massive");
    assert_int_equal(json_array_size(json_object_get(results, "documents")), 3);
    assert_run(run, results);
    json_t *again =
        json_of(run_program("massive", demo(), "--limit", "3", "-c", "64", "-o", run, "--json", "--resume", "-t", "1"));
    assert_true(json_equal(results, again)); /* resumed, with another thread count */
    json_decref(again);
    json_decref(results);
    assert_rejected(run_program("massive", demo(), "--limit", "3", "-c", "64", "-o", run), 2, "--resume");
    assert_rejected(run_program("massive", demo(), "--limit", "3", "-c", "64", "-o", run, "--resume", "--lambda", "4"),
                    2, "lambda");
    assert_int_equal(setenv("QKSCOPE_LEVEL", "plain", 1), 0); /* other bits, where it is not the only level */
    if (strcmp(qk_level_name(NULL), "plain") != 0)
        assert_rejected(run_program("massive", demo(), "--limit", "3", "-c", "64", "-o", run, "--resume"), 2, "level");
    unsetenv("QKSCOPE_LEVEL");
    assert_rejected(run_program("massive", demo(), "--resume"), 2, "-o");

    const char *const words[] = { "massive", demo(), "--limit", "1", "-c", "16", "--no-run", "-q", NULL };
    const char *const json[] = { "massive", demo(), "--limit", "1", "-c", "16", "--no-run", "-q", "--json", NULL };
    assert_rejected(run_program_to(STDOUT_FULL, words), 1, "standard output: No space left");
    assert_rejected(run_program_to(STDOUT_FULL, json), 1, "standard output: ");
    outcome o = run_program_to(STDOUT_BROKEN_PIPE, json);
    assert_int_equal(o.code, 1);
    assert_string_equal(o.err, ""); /* a reader that left is no news, however much he had to read */
    outcome_free(&o);

    run = work_path("failed"); /* nothing is massive: what is left behind does not block the next try */
    assert_rejected(run_program("disrupt", demo(), "--limit", "1", "-c", "16", "-o", run, "--lambda", "1e6"), 3,
                    "no massive value");
    o = run_program("disrupt", demo(), "--limit", "1", "-c", "16", "-o", run, "-q", "--criterion", "top-k");
    assert_int_equal(o.code, 0);
    outcome_free(&o);
    assert_rejected(run_program("massive"), 2, "MODEL");
    assert_rejected(run_program("massive", demo(), "--preset", "africa", "--lambda", "4"), 2, "--lambda: fixed by");
    assert_rejected(run_program("massive", demo(), "--top-k", "4"), 2, "--criterion top-k");
    assert_rejected(run_program("massive", demo(), "--captured", "q=x.npy"), 2, "--captured");
    assert_rejected(run_program("massive", "--captured", "x.npy"), 2, "q=FILE");
    assert_rejected(run_program("massive", "--captured", "q=/nonexistent.npy"), 1, "/nonexistent.npy");
    assert_rejected(run_program("massive", demo(), "--max-mem", "1K", "--no-run"), 4, "needs at least");
    assert_succeeds(run_program("massive", demo(), demo(), "--limit", "2", "-c", "32", "--no-run"), "demo-2", "");
}

static void test_manifest(void **state)
{
    (void)state;
    json_t *manifest = json_file(work_path("massive/manifest.json"));
    static const char *const fields[] = { "command",   "settings",         "version", "build", "machine", "threads",
                                          "precision", "models",           "data",    "seeds", "started", "finished",
                                          "seconds",   "peak_memory_bytes" };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!json_object_get(manifest, fields[i])) fail_msg("manifest.json: no %s", fields[i]);
    const json_t *model = json_array_get(json_object_get(manifest, "models"), 0);
    assert_int_equal(strlen(json_string_value(json_object_get(model, "sha256"))), 64);
    assert_int_equal(strlen(json_string_value(json_object_get(model, "tokenizer_sha256"))), 64);
    assert_true(number(manifest, "peak_memory_bytes") > 1e6);
    json_decref(manifest);
    assert_int_equal(setenv("SOURCE_DATE_EPOCH", "1000000000", 1), 0);
    outcome o = run_program("massive", demo(), "--limit", "2", "-c", "32", "-o", work_path("dated"));
    unsetenv("SOURCE_DATE_EPOCH");
    assert_int_equal(o.code, 0);
    outcome_free(&o);
    manifest = json_file(work_path("dated/manifest.json"));
    assert_string_equal(json_string_value(json_object_get(manifest, "started")), "2001-09-09T01:46:40Z");
    assert_string_equal(json_string_value(json_object_get(manifest, "finished")), "2001-09-09T01:46:40Z");
    json_decref(manifest);
}

static void test_disrupt(void **state)
{
    (void)state;
    const char *run = work_path("disrupt"), *texts = write_texts("same.txt", "It was a fine morning.");
    json_t *results = json_of(
        run_program("disrupt", demo(), "-c", "48", "--seeds", "2", "--bootstrap", "200", "-o", run, "--json", "-q"));
    assert_string_equal(json_string_value(json_object_get(results, "study")), "disrupt");
    assert_int_equal(json_array_size(json_object_get(results, "conditions")), 4);
    assert_run(run, results);
    json_decref(results);
    assert_succeeds(run_program("report", run), "", "report.html");
    assert_rejected(run_program("disrupt", demo(), "--calib", texts, "--texts", texts, "--no-run"), 2, "calibration");
    assert_rejected(run_program("disrupt", demo(), "--preset", "africa", "--control", "uniform"), 2,
                    "--control: fixed by --preset africa");
    assert_rejected(run_program("disrupt", demo(), "--layers", "0-99", "--no-run"), 2, "--layers");
    assert_rejected(run_program("disrupt", demo(), "--layers", "3-1", "--no-run"), 2, "--layers");
    assert_rejected(run_program("disrupt", demo(), "--max-mem", "1K", "--no-run"), 4, "needs at least");
    assert_succeeds(run_program("disrupt", demo(), "--dry-run"), "conditions", "no work was done");
    json_t *plan = json_of(run_program("disrupt", demo(), "--dry-run", "--json", "--seeds", "3"));
    assert_int_equal((int)number(json_array_get(json_object_get(plan, "plan"), 0), "conditions"), 5);
    json_decref(plan);
}

/* A verb that writes questions, and one that asks them: the same by file as at once. */
static void test_tasks(void **state)
{
    (void)state;
    const char *run = work_path("tasks"), *model = demo(), *categories = "fact,sentiment";
    outcome lines = run_program("world", "questions", "--part", "test", "--limit", "6", "--categories", categories);
    const char *file = write_texts("questions.jsonl", lines.out);
    outcome_free(&lines);
    json_t *results = json_of(run_program("tasks", model, "--limit", "3", "--categories", categories, "-c", "4096",
                                          "-o", run, "--json", "-q"));
    json_t *again = json_of(run_program("tasks", model, "--questions", file, "-c", "4096", "--no-run", "--json", "-q"));
    assert_string_equal(json_string_value(json_object_get(results, "study")), "tasks");
    assert_string_equal(json_string_value(json_object_get(json_object_get(results, "settings"), "part")), "test");
    assert_int_equal((int)number(json_object_get(results, "questions"), "n"), 6);
    assert_run(run, results);
    const json_t *here = json_object_get(results, "categories"), *there = json_object_get(again, "categories");
    for (size_t i = 0; i < 2; i++) /* a file does not say how many choices there are */
        for (size_t j = 0; j < 2; j++) {
            const json_t *a = json_array_get(here, i), *b = json_array_get(there, j);
            if (!json_equal(json_object_get(a, "category"), json_object_get(b, "category"))) continue;
            assert_true(json_equal(json_object_get(a, "nll"), json_object_get(b, "nll")));
            assert_true(json_equal(json_object_get(a, "right"), json_object_get(b, "right")));
            assert_int_equal((int)number(a, "questions"), 3);
        }
    json_decref(results), json_decref(again);
    assert_succeeds(run_program("report", run), "", "report.html");
    assert_rejected(run_program("tasks"), 2, "MODEL");
    assert_rejected(run_program("tasks", model, "--questions", file, "--world", "1"), 2, "--world: expected no");
    assert_rejected(run_program("tasks", model, "--questions", file, "--part", "test"), 2, "--part: expected no");
    assert_rejected(run_program("tasks", model, "--questions", file, "-c", "9", "--no-run"), 2, "--cut-left");
    assert_rejected(run_program("tasks", model, "--questions", "/nonexistent.jsonl"), 1, "/nonexistent.jsonl");
    assert_rejected(run_program("tasks", model, "--limit", "1", "-c", "4096", "--max-mem", "1K", "--no-run"), 4, "MiB");
    assert_succeeds(run_program("tasks", model, "--questions", file, "-c", "4096", "--dry-run"), "FLOP", "no work");
}

static void test_presets(void **state)
{
    (void)state;
    assert_succeeds(run_program("disrupt", demo(), "-c", "48", "--limit", "6", "--bootstrap", "200", "--preset",
                                "africa", "-o", work_path("africa")),
                    "as published", "overstated");
    assert_succeeds(run_program("disrupt", demo(), "-c", "48", "--limit", "4", "--bootstrap", "200", "--preset", "jin",
                                "--seeds", "2", "-o", work_path("jin")),
                    "massive", "report.html");
}

static void test_report_of_nothing(void **state)
{
    (void)state;
    assert_rejected(run_program("report", "/nonexistent"), 1, "/nonexistent");
    assert_rejected(run_program("report", work_folder, "--figures", "gif"), 2, "gif");
}

/* Bytes in the journal of a run, its write-ahead log included. */
static size_t journal_bytes(const char *run)
{
    static const char *const names[] = { "run.db", "run.db-wal" };
    size_t n_bytes = 0;
    for (int i = 0; i < 2; i++) {
        struct stat info;
        char *path = qk_path_join(run, names[i]);
        if (stat(path, &info) == 0) n_bytes += (size_t)info.st_size;
        free(path);
    }
    return n_bytes;
}

/* A signal while units are being finished; --resume ends with the bytes of an undisturbed run. */
static void interrupt_and_resume(const char *name, int number, int expected, const char *undisturbed)
{
    const char *run = work_path(name), *program = getenv("QK_PROGRAM");
    const char *words[] = { program,       "disrupt", demo(), "-c", "128", "--seeds", "40",
                            "--bootstrap", "100",     "-q",   "-o", run,   NULL,      NULL };
    char *results = qk_path_join(run, "results.json");
    pid_t pid;
    int state = 0;
    assert_int_equal(posix_spawn(&pid, program, NULL, NULL, (char *const *)words, environ), 0);
    for (int i = 0; i < 6000 && journal_bytes(run) < 100000; i++) usleep(5000);
    kill(pid, number);
    while (waitpid(pid, &state, 0) < 0) {}
    assert_int_equal(WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state), expected);
    assert_false(qk_path_exists(results));
    words[12] = "--resume";
    outcome o = run_program_to(STDOUT_KEPT, words + 1);
    if (o.code != 0) fail_msg("resume: exit %d: %s", o.code, o.err);
    outcome_free(&o);
    json_t *resumed = json_file(results), *whole = json_file(undisturbed);
    assert_true(json_equal(resumed, whole));
    json_decref(resumed);
    json_decref(whole);
    free(results);
}

static void test_interrupt(void **state)
{
    (void)state;
    assert_succeeds(run_program("disrupt", demo(), "-c", "128", "--seeds", "40", "--bootstrap", "100", "-q", "-o",
                                work_path("undisturbed")),
                    "random-81", "");
    interrupt_and_resume("interrupted", SIGINT, 130, work_path("undisturbed/results.json"));
    interrupt_and_resume("killed", SIGKILL, 128 + SIGKILL, work_path("undisturbed/results.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info), cmocka_unit_test(levels_can_be_chosen),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_tokenize),   cmocka_unit_test(test_world),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_bad_models),
        cmocka_unit_test(test_ppl),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_capture),
        cmocka_unit_test(test_massive),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_disrupt), cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_report_of_nothing),
        cmocka_unit_test(test_interrupt),
    };
    return cmocka_run_group_tests(tests, make_demo, remove_work_folder);
}
