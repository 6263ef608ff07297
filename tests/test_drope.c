/* test_drope.c - taking the rotation away: plans, bare conversions, amounts that fall. */
#include <math.h>

#include "pass/pass.h"
#include "testing.h"
#include "train/checkpoint.h"
#include "train/drope.h"
#include "scratch.h"

/* Loss of `n` tokens, each its own bits. */
static void losses(float *out, const qk_model *model, size_t n)
{
    int32_t tokens[64];
    qk_pass_result *result;
    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)(i * 31 % (size_t)model->config.n_vocab);
    qk_sequence sequence = { tokens, n, 1 };
    qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .score = true, .keep_token_nll = true };
    assert_ok(qk_pass_run(&result, model, &spec, err));
    memcpy(out, result->scores[0].token_nll, (n - 1) * sizeof *out);
    qk_pass_result_free(result);
}

static void same_losses(const qk_model *a, const qk_model *b, size_t n, const char *what)
{
    float of_a[64], of_b[64];
    losses(of_a, a, n);
    losses(of_b, b, n);
    for (size_t i = 0; i + 1 < n; i++)
        if (of_a[i] != of_b[i])
            fail_msg("%s: token %zu: %.9g, expected %.9g", what, i + 1, (double)of_b[i], (double)of_a[i]);
}

/* Every tensor of `source` is in the folder, to the bit; what the folder has more is a gain of 1. */
static void same_weights(const qk_model *source, const qk_model *made, size_t n_new)
{
    size_t n_more = 0;
    for (size_t i = 0; i < qk_ckpt_count(made->ckpt); i++) {
        const qk_tensor *t = qk_ckpt_at(made->ckpt, i), *s = qk_ckpt_find(source->ckpt, t->name);
        size_t n = t->n_bytes / sizeof(float);
        float *was = malloc(n * sizeof *was);
        for (size_t j = 0; j < n; j++) was[j] = 1;
        if (s) qk_dtype_describe(s->dtype)->to_f32(was, s->data, n);
        if (memcmp(was, t->data, t->n_bytes) != 0) fail_msg("%s differs", t->name);
        n_more += s == NULL;
        free(was);
    }
    assert_int_equal(n_more, n_new);
    assert_int_equal(qk_ckpt_count(made->ckpt), qk_ckpt_count(source->ckpt) + n_new);
}

/* ---- bare conversions */

typedef struct conversion {
    const char *golden;
    qk_drope_plan plan;
    size_t n_layers, n_pairs, n_new; /* what the plan takes away and adds */
    const char *model_type, *attention_type;
} conversion;

static const uint8_t first_layer[2] = { 1, 0 }, slow_pairs[4] = { 0, 0, 1, 1 };

static const conversion conversions[] = {
    { "mha", { 0 }, 2, 4, 0, "llama_drope", "nope" },
    { "gqa", { .q_norm = true, .k_norm = true }, 2, 8, 4, "llama_drope", "qk_norm_nope" },
    { "biases", { .k_norm = true }, 2, 4, 2, "llama_drope", "k_norm_nope" },
    { "qwen2", { 0 }, 2, 4, 0, "qwen2_drope", "nope" },
    { "qwen3", { 0 }, 2, 8, 0, "qkscope_qwen3", "nope" },
    { "mistral", { 0 }, 2, 4, 0, "qkscope_mistral", "nope" },
    { "llama3", { 0 }, 2, 4, 0, "llama_drope", "nope" },
    { "yarn", { 0 }, 2, 4, 0, "llama_drope", "nope" },
    { "longrope", { 0 }, 2, 4, 0, "llama_drope", "nope" },
    { "dynamic", { 0 }, 2, 4, 0, "llama_drope", "nope" },
    { "mha", { .layers = first_layer }, 1, 4, 0, "smollm3", "rope" },
    { "mha", { .pairs = slow_pairs }, 2, 2, 0, "llama", "rope" },
    { "yarn", { .pairs = slow_pairs }, 2, 2, 0, "llama", "rope" },
    { "mha", { .layers = first_layer, .pairs = slow_pairs }, 1, 2, 0, "qkscope_llama", "rope" },
    { "dynamic", { .pairs = slow_pairs }, 2, 2, 0, "qkscope_llama", "rope" },
    { "mha", { .keep = true }, 0, 0, 0, "llama", "rope" },
    { "mistral", { .keep = true }, 0, 0, 0, "mistral", "rope" },
    { "mha", { .keep = true, .q_norm = true }, 0, 0, 2, "qkscope_llama", "rope" },
};

static void convert(const conversion *c, size_t index)
{
    char folder[256];
    qk_drope *drope;
    size_t n_layers, n_pairs;
    qk_model *source = open_golden(c->golden), *made;
    snprintf(folder, sizeof folder, "%s/%zu", scratch, index);
    assert_ok(qk_drope_new(&drope, source, &c->plan, err));
    qk_drope_extent(&n_layers, &n_pairs, drope);
    assert_int_equal(n_layers, c->n_layers);
    assert_int_equal(n_pairs, c->n_pairs);
    qk_parameters *p = qk_drope_parameters(drope);
    assert_ok(qk_checkpoint_write(folder, p, QK_DTYPE_F32, err));
    assert_ok(qk_model_open(&made, folder, NULL, err));
    assert_string_equal(made->config.model_type, c->model_type);
    assert_string_equal(made->config.attention_type, c->attention_type);
    assert_int_equal(made->config.n_context, source->config.n_context);
    same_weights(source, made, c->n_new);
    same_losses(p->model, made, 40, c->golden);
    if (c->plan.keep && c->n_new == 0) same_losses(source, made, 40, c->golden);
    qk_model_close(made);
    qk_drope_free(drope);
    qk_model_close(source);
}

static void test_conversions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof conversions / sizeof *conversions; i++) convert(&conversions[i], i);
}

/* Without rotation a model does not know the order of what it has read: the last of three tokens sees the same two. */
static void test_order_is_lost(void **state)
{
    (void)state;
    int32_t one[4] = { 5, 9, 7, 3 }, other[4] = { 9, 5, 7, 3 };
    qk_model *source = open_golden("mha");
    for (int keep = 0; keep < 2; keep++) {
        qk_drope *drope;
        qk_pass_result *result;
        assert_ok(qk_drope_new(&drope, source, &(qk_drope_plan){ .keep = keep }, err));
        /* one layer: deeper ones see sums over prefixes, which tell the order again */
        qk_parameters *p = qk_drope_parameters(drope);
        for (size_t i = 0; i < p->n_items; i++)
            if (p->items[i].shape.layer == 1 && p->items[i].shape.n_dims == 2)
                memset(p->values + p->items[i].offset, 0, p->items[i].n * sizeof(float));
        qk_sequence sequences[2] = { { one, 4, 3 }, { other, 4, 3 } };
        qk_pass_spec spec = { .sequences = sequences, .n_sequences = 2, .score = true };
        assert_ok(qk_pass_run(&result, p->model, &spec, err));
        double difference = fabs(result->scores[0].nll - result->scores[1].nll);
        if (keep)
            assert_true(difference > 1e-4);
        else
            assert_true(difference < 1e-5);
        qk_pass_result_free(result);
        qk_drope_free(drope);
    }
    qk_model_close(source);
}

/* ---- amounts that fall */

static void test_gradual(void **state)
{
    (void)state;
    qk_drope *drope, *at_once;
    qk_model *source = open_golden("yarn"), *made; /* has an attention factor */
    char folder[256];
    assert_ok(qk_drope_new(&drope, source, &(qk_drope_plan){ .n_gradual = 4 }, err));
    qk_parameters *p = qk_drope_parameters(drope);
    qk_training_hook hook = qk_drope_hook(drope);
    const float *amounts = p->model->config.rope_amounts;
    for (int i = 0; i < 8; i++) assert_true(amounts[i] == 1);
    same_losses(source, p->model, 30, "before the first step");
    assert_ok(hook.before_step(hook.user, 0, err));
    for (int i = 0; i < 8; i++) assert_true(amounts[i] == 0.75f);
    snprintf(folder, sizeof folder, "%s/gradual", scratch);
    assert_ok(qk_checkpoint_write(folder, p, QK_DTYPE_F32, err));
    assert_ok(qk_model_open(&made, folder, NULL, err));
    assert_string_equal(made->config.model_type, "qkscope_llama");
    same_losses(p->model, made, 30, "in the middle");
    qk_model_close(made);
    assert_ok(hook.start(hook.user, 2, NULL, err)); /* resumed after two steps */
    for (int i = 0; i < 8; i++) assert_true(amounts[i] == 0.5f);
    for (uint64_t step = 3; step < 6; step++) {
        assert_ok(hook.before_step(hook.user, step, err));
        for (int i = 0; i < 8; i++) assert_true(amounts[i] == 0);
    }
    assert_ok(qk_checkpoint_write(folder, p, QK_DTYPE_F32, err)); /* over the other */
    assert_ok(qk_model_open(&made, folder, NULL, err));
    assert_string_equal(made->config.model_type, "llama_drope");
    assert_ok(qk_drope_new(&at_once, source, &(qk_drope_plan){ 0 }, err));
    same_losses(qk_drope_parameters(at_once)->model, made, 30, "gone at last, gone at once");
    qk_model_close(made);
    qk_drope_free(at_once);
    qk_drope_free(drope);
    qk_model_close(source);
}

/* By the cube of what is ahead, resumed too, and gone at the end as by the other law. */
static void test_cubic(void **state)
{
    (void)state;
    static const float left[] = { 0.421875f, 0.125f, 0.015625f, 0, 0 }; /* (3/4)^3, (2/4)^3, ... */
    qk_drope *drope;
    qk_model *source = open_golden("mha");
    qk_drope_plan plan = { .n_gradual = 4, .law = QK_GRADUAL_CUBIC };
    assert_ok(qk_drope_new(&drope, source, &plan, err));
    qk_training_hook hook = qk_drope_hook(drope);
    const float *amounts = qk_drope_parameters(drope)->model->config.rope_amounts;
    for (int i = 0; i < 8; i++) assert_true(amounts[i] == 1);
    for (uint64_t step = 0; step < 5; step++) {
        assert_ok(hook.before_step(hook.user, step, err));
        for (int i = 0; i < 8; i++) assert_true(amounts[i] == left[step]);
    }
    assert_ok(hook.start(hook.user, 2, NULL, err));
    for (int i = 0; i < 8; i++) assert_true(amounts[i] == left[1]);
    qk_drope_free(drope);
    qk_model_close(source);
}

/* What stands still already stays so, and only what was chosen falls. */
static void test_gradual_in_part(void **state)
{
    (void)state;
    char folder[256];
    qk_drope *drope;
    qk_model *source = open_golden("mha"), *partly;
    snprintf(folder, sizeof folder, "%s/partly", scratch);
    assert_ok(qk_drope_new(&drope, source, &(qk_drope_plan){ .layers = first_layer }, err));
    assert_ok(qk_checkpoint_write(folder, qk_drope_parameters(drope), QK_DTYPE_F32, err));
    qk_drope_free(drope);
    assert_ok(qk_model_open(&partly, folder, NULL, err));
    assert_ok(qk_drope_new(&drope, partly, &(qk_drope_plan){ .pairs = slow_pairs, .n_gradual = 2 }, err));
    qk_training_hook hook = qk_drope_hook(drope);
    assert_ok(hook.before_step(hook.user, 0, err));
    static const float expected[8] = { 0, 0, 0, 0, 1, 1, 0.5f, 0.5f };
    for (int i = 0; i < 8; i++) assert_true(qk_drope_parameters(drope)->model->config.rope_amounts[i] == expected[i]);
    qk_drope_free(drope);
    qk_model_close(partly);
    qk_model_close(source);
}

/* As the published class for k_norm_nope saves itself: with a query norm that does nothing. */
static void test_idle_norm(void **state)
{
    (void)state;
    char folder[256], path[300];
    qk_model *source = open_golden("k-norm-nope"), *made;
    qk_parameters *p;
    snprintf(folder, sizeof folder, "%s/idle", scratch);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_ok(qk_parameters_new(&p, &source->config, source, err));
    assert_ok(qk_parameters_copy(p, source, err));
    assert_ok(qk_checkpoint_write(folder, p, QK_DTYPE_F32, err));
    size_t n = p->n_items;
    qk_tensor_out *tensors = calloc(n + 1, sizeof *tensors);
    float gain[32] = { 1, 2, 3 };
    for (size_t i = 0; i < n; i++) {
        const qk_weight_shape *s = &p->items[i].shape;
        tensors[i] = (qk_tensor_out){
            s->name, QK_DTYPE_F32, s->n_dims, { s->n_rows, s->n_cols }, p->values + p->items[i].offset
        };
    }
    tensors[n] = (qk_tensor_out){ "model.layers.0.self_attn.q_norm.weight", QK_DTYPE_F32, 1, { 32 }, gain };
    assert_ok(qk_safetensors_write(path, tensors, n + 1, NULL, 0, err));
    assert_ok(qk_model_open(&made, folder, NULL, err));
    same_losses(source, made, 40, "idle norm");
    qk_model_close(made);
    free(tensors);
    qk_parameters_free(p);
    qk_model_close(source);
}

static void refused(const char *golden, const qk_drope_plan *plan, const char *because)
{
    qk_drope *drope = NULL;
    qk_error error = { QK_OK, "" };
    qk_model *source = open_golden(golden);
    assert_int_equal(qk_drope_new(&drope, source, plan, &error), QK_E_ARGUMENT);
    if (!strstr(error.message, because)) fail_msg("expected \"%s\" in: %s", because, error.message);
    assert_null(drope);
    qk_model_close(source);
}

static void test_refused(void **state)
{
    static const uint8_t none[4] = { 0 };
    (void)state;
    refused("nope", &(qk_drope_plan){ 0 }, "expected a model with a rotation");
    refused("nope", &(qk_drope_plan){ .keep = true }, "expected a model with a rotation");
    refused("qwen3", &(qk_drope_plan){ .q_norm = true }, "expected no norm on queries");
    refused("qwen3", &(qk_drope_plan){ .k_norm = true }, "expected no norm on keys");
    refused("mha", &(qk_drope_plan){ .pairs = none }, "in the chosen layers and pairs, found none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversions), cmocka_unit_test(test_order_is_lost),   cmocka_unit_test(test_gradual),
        cmocka_unit_test(test_cubic),       cmocka_unit_test(test_gradual_in_part), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_idle_norm),
    };
    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
