/* test_budget.c - --max-mem as the system sees it: the real program's peak of resident memory stays below what was
 * allowed, what cannot fit is refused in one line, and a budget changes no digit. */
#include "program.h"
#include "study_files.h"

#define MIB ((size_t)1 << 20)

/* One wide layer, 28 MiB in f32: what a pass likes to have is far more than the least it needs. */
static int make_models(void **state)
{
    char command[20000];
    if (make_work_folder(state)) return -1;
    snprintf(command, sizeof command, "'%s' '--tokenizer=%s' '%s' 512 1 8 4 4096 640 256 && "
             "'%s' --f32 '--tokenizer=%s' '%s' 512 1 8 8 4096 640 256", getenv("QK_MAKE_MODEL"),
             data_path("tokenizers/llama2.json"), work_path("bf16"), getenv("QK_MAKE_MODEL"),
             data_path("tokenizers/llama2.json"), work_path("f32"));
    return system(command);
}

/* 16 texts of 60 letters: short, so that the test is quick; enough that groups and tables count. */
static const char *texts(void)
{
    static char path[8300];
    char lines[4000] = "";
    qk_rng rng;
    if (*path) return path;
    snprintf(path, sizeof path, "%s", work_path("texts.txt"));
    qk_rng_seed(&rng, 1);
    for (int document = 0; document < 16; document++) {
        if (document) strcat(lines, "\n--\n");
        for (int i = 0; i < 60; i++) sprintf(lines + strlen(lines), "%c", "etaoin srhdlu"[qk_rng_below(&rng, 13)]);
    }
    assert_ok(qk_write_file(path, lines, strlen(lines), err));
    return path;
}

typedef struct study {
    const char *name, *model;
    bool long_texts;       /* the built-in ones, else texts() */
    const char *words[24]; /* of the command line, ended by NULL */
} study;

static outcome run_within(const study *s, const char *max_mem, const char *threads)
{
    const char *argv[40] = { s->name, work_path(s->model), "--json", "-q", "-t", threads };
    const char *const ours[] = { "--texts", texts(), "--split", "\n--\n" };
    int n = 6;
    for (int i = 0; i < 4 && !s->long_texts; i++) argv[n++] = ours[i];
    for (int i = 0; s->words[i]; i++) argv[n++] = s->words[i];
    if (max_mem) {
        argv[n++] = "--max-mem";
        argv[n++] = max_mem;
    }
    return run_program_to(STDOUT_KEPT, argv);
}

static const study studies[] = {
    { "ppl", "bf16", true, { "-c", "128", NULL } },
    { "ppl", "f32", false, { "-c", "48", NULL } },
    { "ppl", "bf16", false, { "-c", "48", "--quantize", "nf4", NULL } },
    { "massive", "bf16", false, { "--lambda", "1.2", "--no-run", NULL } },
    { "disrupt", "bf16", false,
      { "-c", "48", "--criterion", "top-k", "--top-k", "1", "--seeds", "2", "--no-run", NULL } },
};
enum { N_STUDIES = sizeof studies / sizeof *studies };

/* A run within the least that the study itself says it needs, *allowed MiB: asked for less, it exits with 4 and one
 * line. */
static outcome run_within_least(size_t *allowed, const study *s)
{
    *allowed = 1;
    for (int tries = 0; tries < 8; tries++) {
        char text[32], *at;
        snprintf(text, sizeof text, "%zuM", *allowed);
        outcome o = run_within(s, text, "2");
        if (o.code == 0) return o;
        at = strstr(o.err, "needs at least ");
        if (o.code != 4 || o.n_out || count_lines(o.err) != 1 || !at)
            fail_msg("%s within %s: expected exit 4 and one line, found exit %d: %s", s->name, text, o.code, o.err);
        size_t needed = strtoul(at + 15, NULL, 10), held = 0;
        for (at = o.err; (at = strstr(at, "beside ")); at += 7) held += strtoul(at + 7, NULL, 10);
        assert_true(needed + held > *allowed); /* else the answer leads nowhere */
        *allowed = needed + held;
        outcome_free(&o);
    }
    fail_msg("%s: what it asks for is never enough", s->name);
    return (outcome){ 0 };
}

static void check_run(const study *s, const outcome *o, size_t allowed, const outcome *unbounded)
{
    print_message("# %s of %s: allowed %zu MiB, peak %zu MiB, without a budget %zu MiB\n", s->name, s->model, allowed,
                  o->peak_bytes / MIB, unbounded->peak_bytes / MIB);
    if (o->code != 0) fail_msg("%s within %zu MiB: exit %d: %s", s->name, allowed, o->code, o->err);
    if (o->peak_bytes > allowed * MIB) fail_msg("%s within %zu MiB: the peak was %zu", s->name, allowed, o->peak_bytes);
    assert_string_equal(o->out, unbounded->out);
}

static void test_peak_and_results(void **state)
{
    (void)state;
    for (int i = 0; i < N_STUDIES; i++) {
        const study *s = &studies[i];
        char text[32];
        size_t least, most;
        outcome unbounded = run_within(s, NULL, "2"), frugal = run_within_least(&least, s);
        assert_int_equal(unbounded.code, 0);
        most = least + 24;
        snprintf(text, sizeof text, "%zuM", most);
        outcome larger = run_within(s, text, "1");
        check_run(s, &frugal, least, &unbounded);
        check_run(s, &larger, most, &unbounded);
        outcome_free(&unbounded);
        outcome_free(&frugal);
        outcome_free(&larger);
    }
}

/* A run folder with its journal, tables and report is within the budget too; what was refused leaves no results. */
static void test_run_folder(void **state)
{
    (void)state;
    study folder = studies[N_STUDIES - 1];
    const char *run = work_path("run"), *const more[] = { "-o", run, "--figures", "png", NULL };
    int n = 0;
    while (strcmp(folder.words[n], "--no-run") != 0) n++;
    for (int i = 0; i == 0 || more[i - 1]; i++) folder.words[n++] = more[i];
    assert_rejected(run_within(&folder, "1M", "2"), 4, "needs at least");
    assert_false(qk_path_exists(work_path("run/results.json")));
    size_t allowed;
    outcome same = run_within_least(&allowed, &studies[N_STUDIES - 1]);
    char text[32];
    snprintf(text, sizeof text, "%zuM", allowed);
    folder.words[n - 1] = "--resume"; /* the folder is there; the word behind it stays NULL */
    outcome o = run_within(&folder, text, "2");
    check_run(&folder, &o, allowed, &same);
    assert_true(qk_path_exists(work_path("run/report.html")));
    outcome_free(&o);
    outcome_free(&same);
}

/* ---- long documents: one layer's keys and values at a time */

/* A text of 2,048 tokens needs less than a cache of its keys and values in all layers would take. */
static void test_less_than_a_cache(void **state)
{
    (void)state;
    enum { LAYERS = 32, WIDTH = 256, TOKENS = 2048 };
    const size_t cache = (size_t)LAYERS * 2 * TOKENS * WIDTH * sizeof(float); /* 128 MiB */
    char command[10000];
    snprintf(command, sizeof command, "'%s' '--tokenizer=%s' '%s' %d %d 4 4 128 1024 128", getenv("QK_MAKE_MODEL"),
             data_path("tokenizers/llama2.json"), work_path("deep"), WIDTH, LAYERS);
    assert_int_equal(system(command), 0);
    const study s = { "context", "deep", true,
                      { "--method", "yarn", "--lengths", "16", "--limit", "1", "--find", "nothing", "--bootstrap",
                        "100", "--no-run", NULL } };
    size_t least;
    outcome o = run_within_least(&least, &s);
    print_message("# %d tokens in %d layers: allowed %zu MiB, peak %zu MiB, a cache alone has %zu MiB\n", TOKENS,
                  LAYERS, least, o.peak_bytes / MIB, cache / MIB);
    assert_true(o.peak_bytes <= least * MIB);
    assert_true(o.peak_bytes < cache);
    assert_non_null(strstr(o.out, "\"tokens\": 2047"));
    outcome_free(&o);
}

typedef struct shape { uint64_t rows, columns; const char *name; } shape;

static void put_tensor(char *header, size_t *n, uint64_t *at, const char *prefix, const shape *s)
{
    uint64_t size = 2 * s->rows * (s->columns ? s->columns : 1);
    char columns[32] = "";
    if (s->columns) snprintf(columns, sizeof columns, ",%llu", (unsigned long long)s->columns);
    *n += (size_t)sprintf(header + *n,
                          "%s\"%s%s.weight\":{\"dtype\":\"BF16\",\"shape\":[%llu%s],\"data_offsets\":[%llu,%llu]}",
                          *n > 1 ? "," : "", prefix, s->name, (unsigned long long)s->rows, columns,
                          (unsigned long long)*at, (unsigned long long)(*at + size));
    *at += size;
}

/* The shape of Llama 2 7B; its 13 GB of weights are a hole in the file. */
static void make_seven_billion(const char *folder)
{
    enum { D = 4096, FFN = 11008, VOCAB = 32000, LAYERS = 32 };
    static const shape layer[] = {
        { D, 0, "input_layernorm" },  { D, D, "self_attn.q_proj" }, { D, D, "self_attn.k_proj" },
        { D, D, "self_attn.v_proj" }, { D, D, "self_attn.o_proj" }, { D, 0, "post_attention_layernorm" },
        { FFN, D, "mlp.gate_proj" },  { FFN, D, "mlp.up_proj" },    { D, FFN, "mlp.down_proj" },
    };
    static const shape ends[] = { { VOCAB, D, "model.embed_tokens" }, { D, 0, "model.norm" }, { VOCAB, D, "lm_head" } };
    static const char config[] =
        "{\"model_type\":\"llama\",\"hidden_size\":4096,\"intermediate_size\":11008,\"num_hidden_layers\":32,"
        "\"num_attention_heads\":32,\"num_key_value_heads\":32,\"vocab_size\":32000,"
        "\"max_position_embeddings\":4096,"
        "\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"hidden_act\":\"silu\",\"tie_word_embeddings\":false}";
    char *header = calloc(1, 1 << 17), path[8400], prefix[32];
    size_t n = 1;
    uint64_t at = 0, length;
    assert_non_null(header);
    header[0] = '{';
    for (int i = 0; i < 3; i++) put_tensor(header, &n, &at, "", &ends[i]);
    for (int l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
            snprintf(prefix, sizeof prefix, "model.layers.%d.", l);
            put_tensor(header, &n, &at, prefix, &layer[i]);
        }
    header[n++] = '}';
    while (n % 8) header[n++] = ' ';
    length = n;
    assert_ok(qk_make_folders(folder, err));
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_ok(qk_write_file(path, config, sizeof config - 1, err));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(&length, 8, 1, file), 1); /* this machine is little-endian, as the format is */
    assert_int_equal(fwrite(header, 1, n, file), n);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(ftruncate(fileno(file), (off_t)(8 + n + at)), 0);
    fclose(file);
    free(header);
}

/* 131,072 tokens through the shape of a 7B model: less than 10 GiB, where a cache of all layers has 64 in 16 bits. */
static void test_plan_of_a_long_document(void **state)
{
    (void)state;
    enum { TOKENS = 131072, GIB = 1 << 30 };
    const uint64_t one_layer = (uint64_t)TOKENS * 4096 * 2 * sizeof(float), cache = 32 * one_layer / 2;
    int32_t *tokens = calloc(TOKENS, sizeof *tokens);
    qk_model *model;
    qk_plan plan;
    qk_error error = { QK_OK, "" };
    assert_non_null(tokens);
    make_seven_billion(work_path("seven"));
    assert_ok(qk_model_open(&model, work_path("seven"), NULL, err));
    const qk_sequence sequence = { tokens, TOKENS, 1 };
    qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .score = true, .keep_token_nll = true,
                          .keep_token_top = true, .n_threads = 2 };
    assert_ok(qk_pass_plan(&plan, model, &spec, err));
    print_message("# 131072 tokens at 7B: %.2f GiB, a cache in 16 bits %.2f GiB\n", (double)plan.total_bytes / GIB,
                  (double)cache / GIB);
    assert_true(plan.total_bytes < (uint64_t)10 * GIB);
    assert_true(plan.total_bytes * 6 < cache);
    assert_true(plan.total_bytes > one_layer); /* it cannot do without these */
    assert_int_equal(plan.n_groups, 1);
    spec.max_bytes = (size_t)10 * GIB;
    assert_ok(qk_pass_plan(&plan, model, &spec, err));
    assert_true(plan.total_bytes <= spec.max_bytes);
    spec.max_bytes = (size_t)6 * GIB;
    assert_int_equal(qk_pass_plan(&plan, model, &spec, &error), QK_E_BUDGET);
    qk_model_close(model);
    free(tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peak_and_results),
        cmocka_unit_test(test_run_folder),
        cmocka_unit_test(test_less_than_a_cache),
        cmocka_unit_test(test_plan_of_a_long_document),
    };
    return cmocka_run_group_tests(tests, make_models, remove_work_folder);
}
