/* test_checkpoint.c - configurations and weights written as Hugging Face folders and read back. */
#include <math.h>

#include "model/config.h"
#include "testing.h"
#include "train/checkpoint.h"
#include "scratch.h"

static const char *const goldens[] = {
    "biases",        "demo",         "dynamic", "f16",          "gqa",  "k-norm-nope",    "linear",       "llama3",
    "llama3-legacy", "longrope",     "mha",     "mistral",      "nope", "q-norm-nope",    "qk-norm-nope", "qwen2",
    "qwen2-drope",   "qwen2-window", "qwen3",   "sharded-bf16", "yarn", "yarn-attention",
};
#define N_GOLDENS (sizeof goldens / sizeof *goldens)

static void same_floats(const float *a, const float *b, size_t n, const char *what)
{
    if (!a != !b) fail_msg("%s: one has a table, the other has none", what);
    for (size_t i = 0; a && i < n; i++)
        if (a[i] != b[i]) fail_msg("%s[%zu]: %g, expected %g", what, i, (double)b[i], (double)a[i]);
}

/* Every field of qk_config. */
static void same_config(const qk_config *a, const qk_config *b)
{
#define SAME(field)                                                                                                    \
    if (a->field != b->field) fail_msg("%s: %.17g, expected %.17g", #field, (double)b->field, (double)a->field)
    assert_string_equal(a->model_type, b->model_type);
    assert_string_equal(a->attention_type, b->attention_type);
    SAME(n_layers);
    SAME(d_model);
    SAME(n_heads);
    SAME(n_kv_heads);
    SAME(head_dim);
    SAME(d_ffn);
    SAME(n_vocab);
    SAME(n_context);
    SAME(rms_norm_eps);
    SAME(softmax_scale);
    SAME(tied_embeddings);
    SAME(qkv_bias);
    SAME(o_bias);
    SAME(mlp_bias);
    SAME(sliding_window);
    SAME(first_window_layer);
    SAME(q_norm);
    SAME(k_norm);
    SAME(rope_kind);
    SAME(rope_theta);
    SAME(rope_factor);
    SAME(rope_original_context);
    SAME(rope_beta_fast);
    SAME(rope_beta_slow);
    SAME(rope_attention_factor);
    SAME(rope_low_freq_factor);
    SAME(rope_high_freq_factor);
    SAME(rope_yarn_truncate);
#undef SAME
    size_t half = (size_t)a->head_dim / 2;
    same_floats(a->rope_factors_short, b->rope_factors_short, half, "rope_factors_short");
    same_floats(a->rope_factors_long, b->rope_factors_long, half, "rope_factors_long");
    same_floats(a->rope_amounts, b->rope_amounts, half * (size_t)a->n_layers, "rope_amounts");
}

/* config -> text -> config; the tables live in `arena`. */
static qk_config there_and_back(const qk_config *config, const json_t *source, qk_arena *arena, json_t **kept)
{
    qk_config back = { .rope_factor = 1, .rope_attention_factor = 1, .rope_yarn_truncate = true };
    json_t *made;
    assert_ok(qk_config_to_json(&made, config, source, err));
    char *text = json_dumps(made, JSON_REAL_PRECISION(17));
    json_t *read = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(read);
    assert_ok(qk_config_from_json(&back, arena, read, err));
    json_decref(made);
    free(text);
    if (kept)
        *kept = read;
    else
        json_decref(read);
    return back;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_GOLDENS; i++) {
        qk_model *model = open_golden(goldens[i]);
        const json_t *source = qk_ckpt_config(model->ckpt);
        for (int with_source = 0; with_source < 2; with_source++) {
            qk_arena arena = { 0 };
            json_t *kept;
            qk_config back = there_and_back(&model->config, with_source ? source : NULL, &arena, &kept);
            same_config(&model->config, &back);
            if (with_source) {
                assert_true(json_equal(json_object_get(kept, "bos_token_id"), json_object_get(source, "bos_token_id")));
                assert_non_null(json_object_get(kept, "initializer_range"));
            }
            json_decref(kept);
            qk_arena_free(&arena);
        }
        qk_model_close(model);
    }
}

/* What a GGUF says becomes a config.json with the same angles. */
static void test_round_trip_gguf(void **state)
{
    static const char *const names[] = { "llama3-gguf/bf16.gguf", "yarn-gguf/bf16.gguf", "qwen2-gguf/bf16.gguf",
                                         "qwen3-gguf/bf16.gguf", "mha-llama2c/v1.bin" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        qk_model *model = open_golden(names[i]);
        qk_arena arena = { 0 };
        float a[64], b[64];
        double factor_a, factor_b;
        qk_config back = there_and_back(&model->config, NULL, &arena, NULL);
        assert_true(back.head_dim <= 128);
        qk_rope_frequencies(a, &factor_a, &model->config, 40);
        qk_rope_frequencies(b, &factor_b, &back, 40);
        same_floats(a, b, (size_t)back.head_dim / 2, names[i]);
        assert_true(factor_a == factor_b);
        assert_int_equal(back.qkv_bias, model->config.qkv_bias);
        assert_int_equal(back.q_norm, model->config.q_norm);
        assert_int_equal(back.n_kv_heads, model->config.n_kv_heads);
        qk_arena_free(&arena);
        qk_model_close(model);
    }
}

/* ---- rotation lost in part */

typedef struct variant {
    const char *golden;
    float first_layer[4], second_layer[4];
    double scale; /* times 1/sqrt(head_dim) */
    qk_qk_norm q_norm;
    const char *model_type, *attention_type;
} variant;

static const variant variants[] = {
    { "mha", { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, 1, QK_NORM_NONE, "llama", "rope" },
    { "mha", { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, 1, QK_NORM_NONE, "llama_drope", "nope" },
    { "mha", { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, 1.25, QK_NORM_PROJECTION, "llama_drope", "q_norm_nope" },
    { "mha", { 0, 0, 0, 0 }, { 1, 1, 1, 1 }, 1, QK_NORM_NONE, "smollm3", "rope" },
    { "biases", { 1, 1, 1, 1 }, { 0, 0, 0, 0 }, 1, QK_NORM_NONE, "smollm3", "rope" },
    { "mha", { 0, 0, 0, 0 }, { 1, 1, 1, 1 }, 1.25, QK_NORM_NONE, "qkscope_llama", "rope" },
    { "mha", { 1, 0, 0, 1 }, { 1, 0, 0, 1 }, 1, QK_NORM_NONE, "llama", "rope" },
    { "mha", { 1, 0, 0, 1 }, { 1, 0, 1, 1 }, 1, QK_NORM_NONE, "qkscope_llama", "rope" },
    { "mha", { .5f, .5f, .5f, .5f }, { .1f, .1f, .1f, .1f }, 1, QK_NORM_PROJECTION, "qkscope_llama", "rope" },
    { "mha", { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, 1, QK_NORM_PROJECTION, "qkscope_llama", "rope" },
    { "mha", { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, 1.25, QK_NORM_NONE, "qkscope_llama", "rope" },
    { "llama3", { 1, 1, 0, 0 }, { 1, 1, 0, 0 }, 1, QK_NORM_NONE, "llama", "rope" },
    { "dynamic", { 1, 1, 0, 0 }, { 1, 1, 0, 0 }, 1, QK_NORM_NONE, "qkscope_llama", "rope" },
    { "yarn", { 1, 1, 1, 1 }, { 0, 0, 0, 0 }, 1, QK_NORM_NONE, "qkscope_llama", "rope" },
    { "yarn", { 0, 1, 1, 1 }, { 0, 1, 1, 1 }, 1, QK_NORM_NONE, "llama", "rope" },
    { "yarn", { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, 1.25, QK_NORM_NONE, "llama_drope", "nope" },
    { "longrope", { 0, 1, 1, 1 }, { 0, 1, 1, 1 }, 1, QK_NORM_NONE, "llama", "rope" },
    { "longrope", { 1, 1, 1, 1 }, { 0, 0, 0, 0 }, 1, QK_NORM_NONE, "qkscope_llama", "rope" },
    { "qwen2", { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, 1, QK_NORM_NONE, "qwen2_drope", "nope" },
    { "qwen2", { 0, 0, 0, 0 }, { 1, 1, 1, 1 }, 1, QK_NORM_NONE, "qkscope_qwen2", "rope" },
    { "mistral", { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, 1, QK_NORM_NONE, "qkscope_mistral", "nope" },
    { "mistral", { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, 1.5, QK_NORM_PROJECTION, "qkscope_mistral", "q_norm_nope" },
};

/* Angles per token of pair `m` in layer `l`, as a pass forms them. */
static float frequency(const qk_config *c, int l, int m, size_t n_tokens)
{
    float inv_freq[64];
    double factor;
    qk_rope_frequencies(inv_freq, &factor, c, n_tokens);
    return inv_freq[m] * (c->rope_amounts ? c->rope_amounts[l * c->head_dim / 2 + m] : 1);
}

static void check_variant(const variant *v)
{
    qk_model *model = open_golden(v->golden);
    qk_config c = model->config;
    float amounts[8];
    qk_arena arena = { 0 }, second = { 0 };
    assert_int_equal(c.n_layers, 2);
    assert_int_equal(c.head_dim, 8);
    memcpy(amounts, v->first_layer, sizeof v->first_layer);
    memcpy(amounts + 4, v->second_layer, sizeof v->second_layer);
    c.rope_amounts = amounts;
    c.softmax_scale *= v->scale;
    c.q_norm = v->q_norm;
    double factor = qk_rotation_of(&c) == QK_ROTATION_NONE ? c.rope_attention_factor : 1;
    qk_config_settle(&c);
    assert_near(c.softmax_scale, model->config.softmax_scale * v->scale * factor * factor, 1e-15);
    assert_string_equal(c.model_type, v->model_type);
    assert_string_equal(c.attention_type, v->attention_type);
    qk_config back = there_and_back(&c, qk_ckpt_config(model->ckpt), &arena, NULL);
    assert_string_equal(back.model_type, v->model_type);
    assert_string_equal(back.attention_type, v->attention_type);
    assert_near(back.softmax_scale, c.softmax_scale, 1e-15);
    assert_int_equal(back.q_norm, c.q_norm);
    for (size_t n_tokens = 5; n_tokens < 100; n_tokens += 70)
        for (int l = 0; l < 2; l++)
            for (int m = 0; m < 4; m++)
                assert_near((double)frequency(&back, l, m, n_tokens), (double)frequency(&c, l, m, n_tokens),
                            1e-7 * (double)frequency(&c, l, m, n_tokens) + 1e-29);
    assert_true(back.rope_attention_factor == c.rope_attention_factor);
    qk_config again = there_and_back(&back, NULL, &second, NULL); /* from here on nothing moves */
    same_config(&back, &again);
    qk_arena_free(&arena);
    qk_arena_free(&second);
    qk_model_close(model);
}

static void test_variants(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) check_variant(&variants[i]);
}

static void refused(const char *text, const char *because)
{
    qk_config c = { .rope_factor = 1, .rope_attention_factor = 1 };
    qk_arena arena = { 0 };
    qk_error err = { QK_OK, "" };
    json_t *config = json_loads(text, 0, NULL);
    assert_non_null(config);
    assert_int_not_equal(qk_config_from_json(&c, &arena, config, &err), QK_OK);
    if (!strstr(err.message, because)) fail_msg("expected \"%s\" in: %s", because, err.message);
    json_decref(config);
    qk_arena_free(&arena);
}

#define SHAPES                                                                                                         \
    "\"num_hidden_layers\": 2, \"hidden_size\": 32, \"num_attention_heads\": 4, \"num_key_value_heads\": 4, "          \
    "\"intermediate_size\": 48, \"vocab_size\": 96, "

static void test_refused(void **state)
{
    (void)state;
    refused("{" SHAPES "\"model_type\": \"smollm3\", \"no_rope_layers\": [1]}", "no_rope_layers: expected a list of 2");
    refused("{" SHAPES "\"model_type\": \"smollm3\", \"no_rope_layers\": [1, 2]}",
            "no_rope_layers[1]: expected 0 or 1");
    refused("{" SHAPES "\"model_type\": \"smollm3\", \"use_sliding_window\": true, \"sliding_window\": 8}",
            "sliding window");
    refused("{" SHAPES "\"model_type\": \"llama\", \"no_rope_layers\": [1, 0]}", "no_rope_layers");
    refused("{" SHAPES "\"model_type\": \"mistral_drope\"}", "model_type \"mistral_drope\"");
    refused("{" SHAPES "\"model_type\": \"qkscope_llama_drope\"}", "model_type \"qkscope_llama_drope\"");
    refused("{" SHAPES "\"model_type\": \"qkscope_llama\", \"qkscope_rope_amounts\": [1]}", "expected a list of 2");
    refused("{" SHAPES "\"model_type\": \"qkscope_llama\", \"qkscope_rope_amounts\": [1, 1.5]}",
            "[1][0]: expected 0 to 1");
    refused("{" SHAPES "\"model_type\": \"qkscope_llama\", \"qkscope_rope_amounts\": [1, [1, 0]]}",
            "[1]: expected 4 pairs, found 2");
    refused("{" SHAPES "\"model_type\": \"qkscope_llama\", \"qkscope_qk_norm\": \"v\"}", "expected q, k or qk");
    qk_model *model = open_golden("qwen2");
    qk_config c = model->config;
    json_t *made = NULL;
    qk_error err;
    c.mlp_bias = true; /* nobody's biases */
    assert_int_equal(qk_config_to_json(&made, &c, NULL, &err), QK_E_UNSUPPORTED);
    assert_null(made);
    qk_model_close(model);
}

/* SmolLM3 without a list: every fourth layer, or as the interval says. */
static void test_interval(void **state)
{
    (void)state;
    qk_arena arena = { 0 };
    qk_config c = { .rope_factor = 1, .rope_attention_factor = 1 };
    json_t *config = json_loads("{" SHAPES "\"model_type\": \"smollm3\", \"no_rope_layer_interval\": 2}", 0, NULL);
    assert_ok(qk_config_from_json(&c, &arena, config, err));
    assert_true(c.rope_theta == 2e6 && c.tied_embeddings);
    for (int m = 0; m < 4; m++) assert_true(c.rope_amounts[m] == 1 && c.rope_amounts[4 + m] == 0);
    json_decref(config);
    qk_arena_free(&arena);
}

/* ---- whole folders */

static void same_weights(const qk_parameters *a, const qk_model *b, bool rounded)
{
    for (size_t i = 0; i < a->n_items; i++) {
        const qk_tensor *t = qk_ckpt_find(b->ckpt, a->items[i].shape.name);
        if (!t) fail_msg("%s is missing", a->items[i].shape.name);
        assert_int_equal(t->dtype, rounded ? QK_DTYPE_BF16 : QK_DTYPE_F32);
        assert_int_equal(t->n_dims, a->items[i].shape.n_dims);
        float *values = malloc(a->items[i].n * sizeof *values);
        qk_dtype_describe(t->dtype)->to_f32(values, t->data, a->items[i].n);
        for (size_t j = 0; j < a->items[i].n; j++) {
            float x = a->values[a->items[i].offset + j];
            if (rounded) x = qk_bf16_to_f32(qk_f32_to_bf16(x));
            if (memcmp(&x, &values[j], sizeof x) != 0) fail_msg("%s[%zu] differs", a->items[i].shape.name, j);
        }
        free(values);
    }
    assert_int_equal(a->n_items, qk_ckpt_count(b->ckpt));
}

static void check_folder(const char *golden, qk_dtype dtype)
{
    char folder[256];
    qk_parameters *p;
    qk_model *model = open_golden(golden), *back;
    snprintf(folder, sizeof folder, "%s/%s-%s", scratch, golden, qk_dtype_describe(dtype)->name);
    assert_ok(qk_parameters_new(&p, &model->config, model, err));
    assert_ok(qk_parameters_copy(p, model, err));
    assert_ok(qk_checkpoint_write(folder, p, dtype, err));
    assert_ok(qk_checkpoint_write(folder, p, dtype, err)); /* a second time over the first */
    assert_ok(qk_model_open(&back, folder, NULL, err));
    same_config(&model->config, &back->config);
    same_weights(p, back, dtype == QK_DTYPE_BF16);
    assert_string_equal(json_string_value(json_object_get(qk_ckpt_metadata(back->ckpt), "format")), "pt");
    assert_int_equal(model->tokenizer != NULL, back->tokenizer != NULL);
    if (model->tokenizer)
        assert_string_equal(qk_tokenizer_describe(model->tokenizer)->sha256,
                            qk_tokenizer_describe(back->tokenizer)->sha256);
    qk_model_close(back);
    qk_parameters_free(p);
    qk_model_close(model);
}

static void test_folders(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_GOLDENS; i++) {
        check_folder(goldens[i], QK_DTYPE_F32);
        check_folder(goldens[i], QK_DTYPE_BF16);
    }
}

static void test_unwritable(void **state)
{
    (void)state;
    qk_parameters *p;
    qk_error error = { QK_OK, "" };
    qk_model *model = open_golden("mha");
    assert_ok(qk_parameters_new(&p, &model->config, model, err));
    assert_int_equal(qk_checkpoint_write("/proc/self/none", p, QK_DTYPE_F32, &error), QK_E_IO);
    assert_non_null(strstr(error.message, "/proc/self/none"));
    assert_int_equal(qk_checkpoint_write(scratch, p, QK_DTYPE_F16, &error), QK_E_ARGUMENT);
    qk_parameters_free(p);
    qk_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_round_trip_gguf), cmocka_unit_test(test_variants),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_interval),        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_unwritable),
    };
    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
