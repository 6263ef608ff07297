/* test_golden.c - every golden model: every site and the loss against transformers in float64. */
#include "golden.h"

#define TOLERANCE 2e-5 /* single precision over a handful of layers; measured worst is below 5e-6 */

/* model, golden file */
static const char *const rows[][2] = {
    { "mha", "mha/golden.safetensors" },
    { "gqa", "gqa/golden.safetensors" },
    { "qwen2", "qwen2/golden.safetensors" },
    { "qwen2-window", "qwen2-window/golden.safetensors" },
    { "qwen3", "qwen3/golden.safetensors" },
    { "mistral", "mistral/golden.safetensors" },
    { "biases", "biases/golden.safetensors" },
    { "f16", "f16/golden.safetensors" },
    { "sharded-bf16", "sharded-bf16/golden.safetensors" },
    { "nope", "nope/golden.safetensors" },
    { "qk-norm-nope", "qk-norm-nope/golden.safetensors" },
    { "q-norm-nope", "q-norm-nope/golden.safetensors" },
    { "k-norm-nope", "k-norm-nope/golden.safetensors" },
    { "qwen2-drope", "qwen2-drope/golden.safetensors" },
    { "linear", "linear/golden.safetensors" },
    { "dynamic", "dynamic/golden.safetensors" },
    { "yarn", "yarn/golden.safetensors" },
    { "yarn-attention", "yarn-attention/golden.safetensors" },
    { "llama3", "llama3/golden.safetensors" },
    { "llama3-legacy", "llama3-legacy/golden.safetensors" },
    { "longrope", "longrope/golden.safetensors" },
    { "longrope", "longrope/golden-long.safetensors" },
    { "gqa-gguf/f32.gguf", "gqa/golden.safetensors" },
    { "gqa-gguf/f16.gguf", "gqa-gguf/golden-f16.safetensors" },
    { "gqa-gguf/bf16.gguf", "gqa-gguf/golden-bf16.safetensors" },
    { "gqa-gguf/q8_0.gguf", "gqa-gguf/golden-q8_0.safetensors" },
    { "gqa-gguf/q4_0.gguf", "gqa-gguf/golden-q4_0.safetensors" },
    { "qwen2-gguf/bf16.gguf", "qwen2/golden.safetensors" },
    { "qwen3-gguf/bf16.gguf", "qwen3/golden.safetensors" },
    { "llama3-gguf/bf16.gguf", "llama3/golden.safetensors" },
    { "yarn-gguf/bf16.gguf", "yarn/golden.safetensors" },
    { "mha-llama2c/v0.bin", "mha/golden.safetensors" },
    { "mha-llama2c/v1.bin", "mha/golden.safetensors" },
};

/* Entries of all sites in the file: what a pass must show, all of it. */
static size_t golden_values(const qk_ckpt *golden)
{
    size_t n = 0;
    for (size_t i = 0; i < qk_ckpt_count(golden); i++) {
        const qk_tensor *t = qk_ckpt_at(golden, i);
        if (strcmp(t->name, "tokens") != 0 && strcmp(t->name, "loss") != 0) n += t->n_bytes / sizeof(float);
    }
    return n;
}

static void compare(const char *const *row, bool reference)
{
    char path[200];
    qk_model *model = NULL;
    qk_ckpt *golden = NULL;
    qk_pass_result *result = NULL;
    snprintf(path, sizeof path, "golden/%s", row[0]);
    assert_ok(qk_model_open(&model, data_path(path), NULL, err));
    snprintf(path, sizeof path, "golden/%s", row[1]);
    assert_ok(qk_ckpt_open_safetensors(&golden, data_path(path), err));
    golden_check check = { .golden = golden };
    size_t n;
    int32_t *tokens = golden_tokens(&n, golden);
    qk_sequence sequence = { tokens, n, 1 };
    qk_probe probe = { .sites = (QK_AT(QK_N_SITES) - 1), .see = golden_see, .user = &check };
    qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .probes = &probe, .n_probes = 1, .score = true, .reference = reference };
    assert_ok(qk_pass_run(&result, model, &spec, err));
    double loss = result->scores[0].nll / (double)result->scores[0].n_tokens, expected;
    memcpy(&expected, qk_ckpt_find(golden, "loss")->data, 8);
    print_message("# %-28s %-9s %3zu sites, worst %.1e at %s, loss off by %.1e\n", row[0], reference ? "reference" : "fast",
                  check.n_sites, check.worst, check.worst_site, loss - expected);
    assert_true(check.n_sites > 3);
    assert_int_equal(check.n_values, golden_values(golden));
    if (!(check.worst <= TOLERANCE)) fail_msg("%s: %.3g at %s", row[0], check.worst, check.worst_site);
    assert_near(loss, expected, 2e-6 * fmax(1, expected));
    qk_pass_result_free(result);
    free(tokens);
    qk_ckpt_close(golden);
    qk_model_close(model);
}

static void every_site_agrees(void **state)
{
    const char *const *row = *state;
    compare(row, false);
    compare(row, true);
}

int main(void)
{
    enum { N = sizeof rows / sizeof *rows };
    static struct CMUnitTest tests[N];
    for (size_t i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i][1], .test_func = every_site_agrees, .initial_state = (void *)(uintptr_t)rows[i] };
    for (size_t i = 0; i < N; i++) tests[i].name = rows[i][0];
    return _cmocka_run_group_tests("golden", tests, N, NULL, NULL);
}
