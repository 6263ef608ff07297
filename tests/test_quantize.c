/* test_quantize.c - weights in NF4 and Q8_0: the same bits as bitsandbytes and gguf make, whatever file they come from
 * and however many threads there are; what cannot be quantised is refused, and leaves the model as it was. */
#include "failing_memory.h"
#include "golden.h"
#include "math/quantize.h"

static qk_model *open_golden(const char *name)
{
    char path[64];
    qk_model *model;
    snprintf(path, sizeof path, "golden/%s", name);
    assert_ok(qk_model_open(&model, data_path(path), NULL, err));
    return model;
}

static qk_ckpt *open_expected(const char *name)
{
    char path[64];
    qk_ckpt *ckpt;
    snprintf(path, sizeof path, "golden/quantized/%s.safetensors", name);
    assert_ok(qk_ckpt_open_safetensors(&ckpt, data_path(path), err));
    return ckpt;
}

static const qk_tensor *find(const qk_ckpt *ckpt, const char *name, const char *part)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", name, part);
    return qk_ckpt_find(ckpt, full);
}

/* ---- blocks */

typedef struct shape { const char *name; size_t rows, cols; } shape;
static const shape shapes[] = { { "whole", 64, 64 }, { "ragged", 7, 33 },    { "few", 1, 5 },       { "rows", 96, 200 },
                                { "odd", 31, 97 },   { "large", 512, 344 }, { "huge", 2048, 1100 } };
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* The numbers that tools/golden_quantized.py makes. */
static float *make_numbers(const shape *s, uint64_t seed)
{
    size_t n = s->rows * s->cols;
    float *x;
    assert_ok(qk_new_floats(&x, n, "numbers", err));
    for (size_t i = 0; i < n; i++) {
        int64_t total = 0;
        for (int k = 0; k < 4; k++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            total += (int64_t)(seed >> 43) - (1 << 20);
        }
        x[i] = (float)total * 0x1p-23f * (float)(1 + i / s->cols % 7);
    }
    if (n > 2 * 64 * 64) memset(x + 128, 0, 64 * sizeof *x);
    return x;
}

/* What a quantizer makes of n numbers, given in two parts; malloc'ed. */
static uint8_t *quantize(const qk_quantizer *q, const float *x, size_t n)
{
    const qk_dtype_info *format = qk_dtype_describe(q->dtype);
    size_t n_blocks = (n + format->block_elements - 1) / format->block_elements, half = n_blocks / 2;
    uint8_t *blocks = malloc(n_blocks * format->block_bytes);
    assert_non_null(blocks);
    assert_true(q->blocks(blocks, x, half * format->block_elements));
    assert_true(q->blocks(blocks + half * format->block_bytes, x + half * format->block_elements,
                          n - half * format->block_elements));
    if (q->finish) q->finish(blocks, n_blocks);
    return blocks;
}

static void test_dynamic_values(void **state)
{
    (void)state;
    qk_ckpt *ckpt = open_expected("blocks");
    const qk_tensor *t = qk_ckpt_find(ckpt, "dynamic");
    float values[256];
    qk_dynamic_values(values);
    assert_non_null(t);
    assert_int_equal(t->n_bytes, sizeof values);
    assert_memory_equal(values, t->data, sizeof values);
    qk_ckpt_close(ckpt);
}

/* Codes and scales block by block, so that a failure says where; then every bit of the numbers. */
static void check_nf4(const qk_ckpt *ckpt, const shape *s, const uint8_t *blocks, const float *numbers)
{
    const qk_tensor *codes = find(ckpt, s->name, ".codes"), *scales = find(ckpt, s->name, ".scales");
    const qk_tensor *all = find(ckpt, s->name, ".numbers"), *hash = find(ckpt, s->name, ".sha256");
    size_t n = s->rows * s->cols;
    char hex[65], expected[65];
    for (size_t b = 0; codes && b < scales->n_bytes / 4; b++) {
        size_t n_codes = codes->n_bytes - 32 * b < 32 ? codes->n_bytes - 32 * b : 32;
        if (memcmp(blocks + 36 * b, scales->data + 4 * b, 4) != 0) fail_msg("%s: scale of block %zu", s->name, b);
        if (memcmp(blocks + 36 * b + 4, codes->data + 32 * b, n_codes) != 0)
            fail_msg("%s: codes of block %zu", s->name, b);
    }
    if (all) assert_memory_equal(numbers, all->data, all->n_bytes);
    assert_non_null(hash);
    for (int i = 0; i < 32; i++) sprintf(expected + 2 * i, "%02x", hash->data[i]);
    qk_sha256_of(hex, numbers, n * sizeof *numbers);
    assert_string_equal(hex, expected);
}

static void test_nf4_blocks(void **state)
{
    (void)state;
    qk_ckpt *ckpt = open_expected("blocks");
    for (size_t i = 0; i < N_SHAPES; i++) {
        const shape *s = &shapes[i];
        float *x = make_numbers(s, i), *numbers;
        uint8_t *blocks = quantize(qk_quantizer_of(QK_QUANTIZE_NF4), x, s->rows * s->cols);
        qk_rows rows = { blocks, QK_DTYPE_NF4, s->rows, s->cols, 0 };
        assert_ok(qk_new_floats(&numbers, s->rows * s->cols, "numbers", err));
        for (size_t row = 0; row < s->rows; row++) /* row by row: blocks reach over rows */
            qk_rows_read(numbers + row * s->cols, s->cols, &rows, row, 1, 0, s->cols);
        check_nf4(ckpt, s, blocks, numbers);
        free(x);
        free(numbers);
        free(blocks);
    }
    qk_ckpt_close(ckpt);
}

static void test_q8_0_blocks(void **state)
{
    (void)state;
    qk_ckpt *ckpt = open_expected("blocks");
    const qk_tensor *expected = find(ckpt, "whole", ".q8_0");
    float *x = make_numbers(&shapes[0], 0);
    uint8_t *blocks = quantize(qk_quantizer_of(QK_QUANTIZE_Q8_0), x, 64 * 64);
    assert_non_null(expected);
    assert_int_equal(expected->n_bytes, 64 * 64 / 32 * 34);
    assert_memory_equal(blocks, expected->data, expected->n_bytes);
    free(x);
    free(blocks);
    qk_ckpt_close(ckpt);
}

/* Halves go away from zero; zeros and numbers too small for a scale in half precision become 0; too large ones fail. */
static void test_q8_0_edges(void **state)
{
    (void)state;
    const qk_quantizer *q = qk_quantizer_of(QK_QUANTIZE_Q8_0);
    float x[32] = { 127, 0.5f, -0.5f, 2.5f, 0.49999997f, -3.5f, -127 };
    const int8_t expected[7] = { 127, 1, -1, 3, 0, -4, -127 };
    uint8_t block[34];
    assert_true(q->blocks(block, x, 32));
    assert_memory_equal(block + 2, expected, sizeof expected);
    const float tiny[] = { 0, 1e-40f, 1e-30f };
    for (int i = 0; i < 3; i++) {
        float y[32] = { tiny[i] }, back[32];
        assert_true(q->blocks(block, y, 32));
        qk_dtype_describe(QK_DTYPE_Q8_0)->to_f32(back, block, 32);
        assert_true(back[0] == 0 && back[1] == 0);
    }
    x[3] = 9e6f;
    assert_false(q->blocks(block, x, 32));
    x[3] = NAN;
    assert_false(q->blocks(block, x, 32));
    assert_false(qk_quantizer_of(QK_QUANTIZE_NF4)->blocks((uint8_t[36]){ 0 }, x, 32));
}

/* ---- models */

static void check_weight(const qk_ckpt *expected, const qk_weight *weight, const char *name, int layer)
{
    char full[96];
    float *numbers;
    snprintf(full, sizeof full, "model.layers.%d.%s_proj.weight", layer, name);
    const qk_tensor *t = qk_ckpt_find(expected, full);
    assert_non_null(t);
    assert_ok(qk_new_floats(&numbers, weight->n_rows * weight->n_cols, "numbers", err));
    qk_weight_rows(numbers, weight, 0, weight->n_rows);
    if (memcmp(numbers, t->data, t->n_bytes) != 0) fail_msg("%s differs", full);
    free(numbers);
}

static void check_weights(const qk_ckpt *expected, const qk_model *model)
{
    for (int l = 0; l < model->config.n_layers; l++) {
        const qk_layer_weights *w = &model->layers[l];
        check_weight(expected, &w->q, "self_attn.q", l);
        check_weight(expected, &w->k, "self_attn.k", l);
        check_weight(expected, &w->v, "self_attn.v", l);
        check_weight(expected, &w->o, "self_attn.o", l);
        check_weight(expected, &w->gate, "mlp.gate", l);
        check_weight(expected, &w->up, "mlp.up", l);
        check_weight(expected, &w->down, "mlp.down", l);
    }
}

static void check_pass(const qk_ckpt *expected, const qk_model *model)
{
    golden_check check = { .golden = expected };
    qk_probe probe = { .see = golden_see, .user = &check,
                       .sites = QK_AT(QK_SITE_RESID_POST) | QK_AT(QK_SITE_LOGITS) };
    size_t n;
    int32_t *tokens = golden_tokens(&n, expected);
    qk_sequence sequence = { tokens, n, 1 };
    qk_condition baseline = { .name = "baseline" };
    qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .conditions = &baseline, .n_conditions = 1,
                          .probes = &probe, .n_probes = 1, .score = true, .n_threads = 2 };
    qk_pass_result *result = NULL;
    assert_ok(qk_pass_run(&result, model, &spec, err));
    assert_true(check.n_sites >= 3);
    assert_true(check.worst < 1e-5);
    qk_pass_result_free(result);
    free(tokens);
}

static qk_model *open_quantized(const char *name, qk_quantization how, int n_threads)
{
    qk_model *model = open_golden(name);
    assert_ok(qk_model_quantize(model, how, n_threads, 0, NULL, err));
    return model;
}

/* The file may be of another kind: its rows come in another order, the blocks are the same. */
static void test_models(void **state)
{
    (void)state;
    static const struct { const char *model, *expected; qk_quantization how; bool runs; } cases[] = {
        { "gqa", "nf4", QK_QUANTIZE_NF4, true },           { "gqa-gguf/f32.gguf", "nf4", QK_QUANTIZE_NF4, true },
        { "gqa", "q8_0", QK_QUANTIZE_Q8_0, true },         { "gqa-gguf/f32.gguf", "q8_0", QK_QUANTIZE_Q8_0, true },
        { "f16", "f16-nf4", QK_QUANTIZE_NF4, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_ckpt *expected = open_expected(cases[i].expected);
        qk_model *model = open_quantized(cases[i].model, cases[i].how, 1 + (int)i % 3);
        check_weights(expected, model);
        if (cases[i].runs) check_pass(expected, model);
        assert_int_equal(model->quantized.n_tensors, 7 * model->config.n_layers);
        assert_int_equal(model->quantized.n_kept, 0);
        qk_model_close(model);
        qk_ckpt_close(expected);
    }
}

/* Only the matrices of the layers; the numbers beside them are the file's. */
static void test_sizes(void **state)
{
    (void)state;
    qk_model *model = open_quantized("gqa", QK_QUANTIZE_NF4, 1);
    qk_model *sizes = open_golden("gqa"), *file = open_golden("gqa");
    assert_ok(qk_model_quantize_sizes(sizes, QK_QUANTIZE_NF4, 0, err));
    assert_int_equal(qk_model_bytes(model), qk_model_bytes(sizes));
    assert_int_equal(model->quantized.n_bytes, 2 * (64 * 32 * 2 + 32 * 32 * 2 + 64 * 32 * 3) / 64 * 36);
    assert_int_equal(qk_model_bytes(file), qk_ckpt_bytes(file->ckpt));
    assert_true(qk_model_bytes(model) < qk_model_bytes(file));
    assert_int_equal(model->embedding.tensor->dtype, QK_DTYPE_F32);
    assert_int_equal(model->layers[1].down.tensor->dtype, QK_DTYPE_NF4);
    assert_int_equal(model->layers[1].ffn_norm.tensor->dtype, QK_DTYPE_F32);
    size_t n_nf4 = 0;
    for (size_t i = 0; i < qk_ckpt_count(model->ckpt); i++) n_nf4 += qk_model_tensor(model, i)->dtype == QK_DTYPE_NF4;
    assert_int_equal(n_nf4, 14);
    assert_string_equal(qk_quantization_name(QK_QUANTIZE_NF4), "nf4");
    assert_string_equal(qk_quantization_name(QK_QUANTIZE_NONE), "none");
    qk_model_close(model);
    qk_model_close(sizes);
    qk_model_close(file);
}

/* Rows of 48 do not divide into blocks of 32: those matrices stay, and NF4 does not mind. */
static void test_rows_that_do_not_divide(void **state)
{
    (void)state;
    qk_model *model = open_quantized("mha", QK_QUANTIZE_Q8_0, 1);
    assert_int_equal(model->quantized.n_kept, model->config.n_layers);
    assert_int_equal(model->layers[0].down.tensor->dtype, QK_DTYPE_F32);
    assert_int_equal(model->layers[0].gate.tensor->dtype, QK_DTYPE_Q8_0);
    assert_non_null(strstr(model->quantized.first_kept->name, "layers.0.mlp.down_proj"));
    qk_model_close(model);
    model = open_quantized("mha", QK_QUANTIZE_NF4, 1);
    assert_int_equal(model->quantized.n_kept, 0);
    qk_model_close(model);
}

/* ---- refusals */

static void assert_untouched(const qk_model *model)
{
    assert_int_equal(model->quantized.how, QK_QUANTIZE_NONE);
    assert_null(model->quantized.data);
    for (int l = 0; l < model->config.n_layers; l++)
        assert_ptr_equal(model->layers[l].q.tensor, qk_ckpt_find(model->ckpt, model->layers[l].q.tensor->name));
}

#define assert_fails(call, wanted, part)                                                                               \
    do {                                                                                                               \
        qk_error error_ = { QK_OK, "" }, *err = &error_;                                                               \
        assert_int_equal((call), wanted);                                                                              \
        if (!strstr(error_.message, part)) fail_msg("\"%s\" says nothing of \"%s\"", error_.message, part);            \
        assert_null(strchr(error_.message, '\n'));                                                                     \
    } while (0)

static bool stop(void *user, const char *phase, double done, double total)
{
    assert_string_equal(phase, "quantize");
    assert_true(done <= total);
    return --*(int *)user > 0;
}

static void test_refusals(void **state)
{
    (void)state;
    int ticks = 5;
    const qk_progress progress = { stop, &ticks };
    qk_model *model = open_golden("gqa-gguf/q8_0.gguf");
    assert_fails(qk_model_quantize(model, QK_QUANTIZE_NF4, 1, 0, NULL, err), QK_E_UNSUPPORTED,
                 "blk.0.attn_q.weight\": to quantize to nf4, expected F32, F16 or BF16, found Q8_0");
    assert_untouched(model);
    qk_model_close(model);
    model = open_golden("gqa");
    assert_fails(qk_model_quantize(model, QK_QUANTIZE_NF4, 1, 1000, NULL, err), QK_E_BUDGET, "0 MiB are allowed");
    assert_fails(qk_model_quantize(model, QK_QUANTIZE_NF4, 1, 0, &progress, err), QK_E_INTERRUPTED, "interrupted");
    assert_int_equal(ticks, 0);
    assert_untouched(model);
    assert_ok(qk_model_quantize(model, QK_QUANTIZE_NONE, 1, 0, NULL, err));
    assert_untouched(model);
    assert_ok(qk_model_quantize(model, QK_QUANTIZE_Q8_0, 1, 0, NULL, err));
    assert_fails(qk_model_quantize(model, QK_QUANTIZE_NF4, 1, 0, NULL, err), QK_E_ARGUMENT, "found q8_0");
    qk_model_close(model);
}

typedef struct copy { qk_model *model; uint8_t *bytes; } copy;

/* gqa with one number of a matrix changed. */
static copy open_spoiled(float number)
{
    qk_model *model = open_golden("gqa");
    const char *name = model->layers[1].up.tensor->name;
    copy out = { NULL, malloc(qk_ckpt_bytes(model->ckpt)) };
    size_t n = qk_ckpt_count(model->ckpt), at = 0;
    qk_tensor *all = calloc(n, sizeof *all);
    qk_ckpt *ckpt;
    assert_non_null(all);
    assert_non_null(out.bytes);
    for (size_t i = 0; i < n; i++) {
        all[i] = *qk_ckpt_at(model->ckpt, i);
        memcpy(out.bytes + at, all[i].data, all[i].n_bytes);
        all[i].data = out.bytes + at;
        if (strcmp(all[i].name, name) == 0) memcpy(out.bytes + at + 4 * (32 * 5 + 9), &number, 4);
        at += all[i].n_bytes;
    }
    assert_ok(qk_ckpt_of_tensors(&ckpt, "spoiled", ".", all, n, out.bytes, at, err));
    assert_ok(qk_model_of_tensors(&out.model, ckpt, &model->config, NULL, err));
    qk_model_close(model);
    free(all);
    return out;
}

static void test_numbers_that_cannot_be_held(void **state)
{
    (void)state;
    static const struct { float number; qk_quantization how; const char *found; } cases[] = {
        { NAN, QK_QUANTIZE_NF4, "nan" },        { INFINITY, QK_QUANTIZE_NF4, "inf" }, { NAN, QK_QUANTIZE_Q8_0, "nan" },
        { -9e6f, QK_QUANTIZE_Q8_0, "-9e+06" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        copy c = open_spoiled(cases[i].number);
        assert_fails(qk_model_quantize(c.model, cases[i].how, 2, 0, NULL, err), QK_E_NUMERIC,
                     "tensor \"model.layers.1.mlp.up_proj.weight\": row 5, column 9");
        assert_fails(qk_model_quantize(c.model, cases[i].how, 1, 0, NULL, err), QK_E_NUMERIC, cases[i].found);
        assert_untouched(c.model);
        qk_model_close(c.model);
        free(c.bytes);
    }
}

/* Every allocation fails once: the model is as before, and works afterwards. */
static void test_memory(void **state)
{
    (void)state;
    qk_model *model = open_golden("gqa");
    long n = 0;
    for (; n < 100; n++) {
        qk_error error = { QK_OK, "" };
        before_failure = n;
        has_failed = false;
        qk_status status = qk_model_quantize(model, QK_QUANTIZE_NF4, 1, 0, NULL, &error);
        before_failure = -1;
        if (!has_failed) break;
        assert_int_equal(status, QK_E_MEMORY);
        assert_non_null(strstr(error.message, "quantised weights"));
        assert_untouched(model);
    }
    assert_int_equal(n, 3);
    assert_int_equal(model->quantized.how, QK_QUANTIZE_NF4);
    qk_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dynamic_values), cmocka_unit_test(test_nf4_blocks),
        cmocka_unit_test(test_q8_0_blocks),    cmocka_unit_test(test_q8_0_edges),
        cmocka_unit_test(test_models),         cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_rows_that_do_not_divide),
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_numbers_that_cannot_be_held),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
