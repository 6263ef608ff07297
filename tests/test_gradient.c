/* test_gradient.c - the derivative of the loss by every weight, against transformers in float64 (golden files) and
 * against central differences of a forward in double precision (double_llama.h). */
#include "ckpt/ckpt.h"
#include "double_llama.h"

#define TOLERANCE 1e-4 /* of the largest gradient in the tensor; single precision */

/* The ways a gradient can be computed; the rows must all come to the same. */
typedef struct way {
    const char *name;
    bool reference, recompute;
    qk_precision precision; /* AUTO is f32 */
} way;
static const way ways[] = {
    { "fast", false, false, QK_PRECISION_F32 },
    { "fast, recomputed", false, true, QK_PRECISION_F32 },
    { "reference", true, false, QK_PRECISION_F32 },
    { "reference, recomputed", true, true, QK_PRECISION_F32 },
};
enum { N_WAYS = sizeof ways / sizeof *ways };

typedef struct batch {
    qk_sequence sequences[4];
    size_t n_sequences, n_tokens, longest;
    int32_t tokens[1000];
} batch;

static void add_sequence(batch *b, size_t n_tokens, size_t score_from)
{
    assert_true(b->n_sequences < 4 && b->n_tokens + n_tokens <= 1000);
    b->sequences[b->n_sequences++] = (qk_sequence){ b->tokens + b->n_tokens, n_tokens, score_from };
    b->n_tokens += n_tokens;
    if (n_tokens > b->longest) b->longest = n_tokens;
}

/* Gradient of `b` into p->gradient, which is zeroed first; returns the loss. */
static double gradient_of(qk_parameters *p, const batch *b, const way *w, int n_threads)
{
    qk_gradient *g = NULL;
    double nll = 0;
    qk_gradient_spec spec = { .max_rows = b->n_tokens,
                              .longest = b->longest,
                              .precision = w->precision,
                              .reference = w->reference,
                              .recompute = w->recompute,
                              .n_threads = n_threads };
    memset(p->gradient, 0, p->n_values * sizeof *p->gradient);
    assert_ok(qk_gradient_new(&g, p, &spec, err));
    assert_ok(qk_gradient_add(&nll, g, b->sequences, b->n_sequences, 1, err));
    qk_gradient_free(g);
    return nll;
}

/* ---- transformers */

/* model; whether its file holds every weight */
typedef struct row {
    const char *model;
    bool whole;
} row;
static const row rows[] = {
    { "mha", true },          { "gqa", true },          { "biases", true },        { "qwen2", true },
    { "qwen3", true },        { "mistral", true },      { "nope", true },          { "qk-norm-nope", true },
    { "q-norm-nope", false }, { "k-norm-nope", false }, { "qwen2-window", false }, { "sharded-bf16", false },
    { "yarn", false },        { "llama3", false },      { "dynamic", false },      { "longrope", false },
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static int64_t golden_integer(const qk_ckpt *golden, const char *name, size_t i)
{
    const qk_tensor *t = qk_ckpt_find(golden, name);
    int64_t x;
    assert_true(t && 8 * i + 8 <= t->n_bytes);
    memcpy(&x, t->data + 8 * i, 8);
    return x;
}

static void golden_batch(batch *b, const qk_ckpt *golden)
{
    const qk_tensor *lengths = qk_ckpt_find(golden, "lengths");
    assert_non_null(lengths);
    for (size_t s = 0; s < lengths->n_bytes / 8; s++) add_sequence(b, (size_t)golden_integer(golden, "lengths", s), 1);
    for (size_t i = 0; i < b->n_tokens; i++) b->tokens[i] = (int32_t)golden_integer(golden, "tokens", i);
}

/* Largest difference to the golden gradient of that tensor, relative to its largest entry; -1: the file has it not. */
static double tensor_error(const qk_parameters *p, const qk_parameter *item, const qk_ckpt *golden)
{
    const qk_tensor *t = qk_ckpt_find(golden, item->shape.name);
    if (!t) return -1;
    assert_int_equal(t->n_bytes, item->n * sizeof(float));
    const float *expected = (const float *)(const void *)t->data, *found = p->gradient + item->offset;
    double top = 0, error = 0;
    for (size_t i = 0; i < item->n; i++) {
        double difference = fabs((double)found[i] - (double)expected[i]);
        top = fmax(top, fabs((double)expected[i]));
        if (!(difference <= error)) error = difference; /* a NaN stays */
    }
    return error / top;
}

static void compare(qk_parameters *p, const batch *b, const qk_ckpt *golden, const row *r, const way *w)
{
    double expected, worst = 0, nll = gradient_of(p, b, w, 2);
    const char *where = "nowhere";
    size_t n = 0;
    for (size_t i = 0; i < p->n_items; i++) {
        double error = tensor_error(p, &p->items[i], golden);
        n += error >= 0 || isnan(error);
        if (isnan(error) || error > worst) worst = error, where = p->items[i].shape.name;
    }
    memcpy(&expected, qk_ckpt_find(golden, "loss")->data, 8);
    print_message("# %-13s %-22s %2zu of %2zu tensors, worst %.1e at %s, loss off by %.1e\n", r->model, w->name, n,
                  p->n_items, worst, where, nll - expected);
    assert_int_equal(n, qk_ckpt_count(golden) - 3); /* without tokens, lengths, loss: all that the file holds */
    if (r->whole) assert_int_equal(n, p->n_items);
    assert_true(n >= 10);
    if (!(worst <= TOLERANCE)) fail_msg("%s: %.3g at %s", r->model, worst, where);
    assert_near(nll, expected, 2e-6 * expected);
}

static void gradients_are_those_of_transformers(void **state)
{
    const row *r = *state;
    char path[200];
    qk_model *model = NULL;
    qk_ckpt *golden = NULL;
    qk_parameters *p = NULL;
    snprintf(path, sizeof path, "golden/%s", r->model);
    assert_ok(qk_model_open(&model, data_path(path), NULL, err));
    snprintf(path, sizeof path, "golden/%s/gradients.safetensors", r->model);
    assert_ok(qk_ckpt_open_safetensors(&golden, data_path(path), err));
    assert_ok(qk_parameters_new(&p, qk_model_config(model), model, err));
    assert_ok(qk_parameters_copy(p, model, err));
    batch *b = calloc(1, sizeof *b);
    golden_batch(b, golden);
    for (size_t i = 0; i < N_WAYS; i++) compare(p, b, golden, r, &ways[i]);
    free(b);
    qk_parameters_free(p);
    qk_ckpt_close(golden);
    qk_model_close(model);
}

/* Operands of 8 bits are off by up to 2^-9 each; through two layers that stays within a few percent of the whole
 * gradient, and is not nothing. */
static void bf16_products_change_little_and_something(void **state)
{
    (void)state;
    static const way f32 = { "f32", false, false, QK_PRECISION_F32 }, bf16 = { "bf16", false, false, QK_PRECISION_BF16 };
    qk_model *model = NULL;
    qk_ckpt *golden = NULL;
    qk_parameters *p = NULL;
    assert_ok(qk_model_open(&model, data_path("golden/gqa"), NULL, err));
    assert_ok(qk_ckpt_open_safetensors(&golden, data_path("golden/gqa/gradients.safetensors"), err));
    assert_ok(qk_parameters_new(&p, qk_model_config(model), model, err));
    assert_ok(qk_parameters_copy(p, model, err));
    batch *b = calloc(1, sizeof *b);
    golden_batch(b, golden);
    double nll = gradient_of(p, b, &f32, 2), size = 0, difference = 0;
    float *exact = malloc(p->n_values * sizeof *exact);
    memcpy(exact, p->gradient, p->n_values * sizeof *exact);
    double near = gradient_of(p, b, &bf16, 2);
    for (size_t i = 0; i < p->n_values; i++) {
        double d = (double)p->gradient[i] - (double)exact[i];
        size += (double)exact[i] * (double)exact[i];
        difference += d * d;
    }
    print_message("# bf16: gradient off by %.1e of its length, loss by %.1e\n", sqrt(difference / size), near - nll);
    assert_true(sqrt(difference / size) > 1e-5 && sqrt(difference / size) < 0.05);
    assert_near(near, nll, 0.01 * nll);
    free(exact);
    free(b);
    qk_parameters_free(p);
    qk_ckpt_close(golden);
    qk_model_close(model);
}

/* ---- central differences */

enum { SAMPLES = 4, LAYERS = 2, HALF = 4 };
#define STEP 1e-5

static const float amounts[LAYERS * HALF] = { 1, 0.5f, 0, 1, 0, 0, 0.25f, 1 };

/* Shapes that are no multiples of anything; sequences longer than two blocks of queries. */
static qk_config small_config(void)
{
    return (qk_config){ .model_type = "llama",
                        .attention_type = "rope",
                        .n_layers = LAYERS,
                        .d_model = 20,
                        .n_heads = 6,
                        .n_kv_heads = 2,
                        .head_dim = 2 * HALF,
                        .d_ffn = 27,
                        .n_vocab = 37,
                        .n_context = 256,
                        .rms_norm_eps = 1e-5,
                        .softmax_scale = 0.3,
                        .rope_kind = QK_ROPE_DEFAULT,
                        .rope_theta = 100,
                        .rope_factor = 1,
                        .rope_attention_factor = 1 };
}

static qk_parameters *random_parameters(const qk_config *config, qk_rng *rng)
{
    qk_parameters *p = NULL;
    assert_ok(qk_parameters_new(&p, config, NULL, err));
    for (size_t i = 0; i < p->n_items; i++) {
        const qk_parameter *item = &p->items[i];
        for (size_t j = 0; j < item->n; j++)
            p->values[item->offset + j] =
                (float)((item->shape.n_dims == 1) * (strstr(item->shape.name, "norm") != NULL) +
                        0.3 * qk_rng_normal(rng));
    }
    return p;
}

static double double_loss(const double_llama *m, const batch *b)
{
    double sum = 0;
    for (size_t i = 0; i < b->n_sequences; i++) sum += double_nll(m, &b->sequences[i]);
    return sum;
}

/* The loss as entry `at` changes, by a difference quotient. */
typedef struct quotient {
    size_t at;
    double slope;
} quotient;

/* SAMPLES entries of every tensor: that of the largest gradient, the others at random. */
static quotient *take_quotients(double_llama *m, const batch *b, qk_rng *rng)
{
    const qk_parameters *p = m->names;
    quotient *q = calloc(p->n_items * SAMPLES, sizeof *q);
    for (size_t i = 0; i < p->n_items * SAMPLES; i++) {
        const qk_parameter *item = &p->items[i / SAMPLES];
        size_t n = item->n, at = item->offset;
        for (size_t j = item->offset; j < item->offset + n; j++)
            if (fabsf(p->gradient[j]) > fabsf(p->gradient[at])) at = j;
        if (i % SAMPLES) at = item->offset + qk_rng_below(rng, n);
        double value = m->values[at];
        m->values[at] = value + STEP;
        double above = double_loss(m, b);
        m->values[at] = value - STEP;
        q[i] = (quotient){ at, (above - double_loss(m, b)) / (2 * STEP) };
        m->values[at] = value;
    }
    return q;
}

/* Largest difference of a gradient to its quotient, relative to the largest quotient of its tensor. */
static double worst_quotient(const char **where, const qk_parameters *p, const quotient *q)
{
    double worst = 0;
    for (size_t i = 0; i < p->n_items; i++, q += SAMPLES) {
        double top = 0, error = 0;
        for (size_t j = 0; j < SAMPLES; j++) {
            double difference = fabs(q[j].slope - (double)p->gradient[q[j].at]);
            top = fmax(top, fabs(q[j].slope));
            if (!(difference <= error)) error = difference;
        }
        error /= top;
        if (isnan(error) || error > worst) worst = error, *where = p->items[i].shape.name;
    }
    return worst;
}

/* `config` with random weights on sequences of awkward lengths, some predicted only from a later token on. */
static void check_differences(const qk_config *config, uint64_t seed)
{
    qk_rng rng;
    qk_rng_seed(&rng, seed);
    qk_parameters *p = random_parameters(config, &rng);
    batch *b = calloc(1, sizeof *b);
    add_sequence(b, 133, 1);
    add_sequence(b, 2, 1);
    add_sequence(b, 65, 40);
    for (size_t i = 0; i < b->n_tokens; i++) b->tokens[i] = (int32_t)qk_rng_below(&rng, (uint64_t)config->n_vocab);
    double_llama m = { qk_model_config(p->model), p, calloc(p->n_values, sizeof(double)) };
    for (size_t i = 0; i < p->n_values; i++) m.values[i] = (double)p->values[i];
    double expected = double_loss(&m, b);
    quotient *quotients = NULL;
    for (size_t w = 0; w < N_WAYS; w++) {
        double nll = gradient_of(p, b, &ways[w], 2);
        const char *where = "nowhere";
        if (!quotients) quotients = take_quotients(&m, b, &rng);
        double worst = worst_quotient(&where, p, quotients);
        print_message("# %-22s %d entries of each of %zu tensors, worst %.1e at %s, loss off by %.1e\n", ways[w].name,
                      SAMPLES, p->n_items, worst, where, nll - expected);
        if (!(worst <= TOLERANCE)) fail_msg("%s: %.3g at %s", ways[w].name, worst, where);
        assert_near(nll, expected, 1e-6 * expected);
    }
    free(quotients);
    free(m.values);
    free(b);
    qk_parameters_free(p);
}

static void differences_of_a_rotating_model(void **state)
{
    (void)state;
    qk_config config = small_config();
    check_differences(&config, 1);
}

static void differences_of_a_model_with_head_norms_biases_and_a_tied_embedding(void **state)
{
    (void)state;
    qk_config config = small_config();
    config.tied_embeddings = config.qkv_bias = config.o_bias = config.mlp_bias = true;
    config.q_norm = config.k_norm = QK_NORM_PER_HEAD;
    check_differences(&config, 2);
}

static void differences_of_a_model_with_a_part_of_its_rotation_in_a_window(void **state)
{
    (void)state;
    qk_config config = small_config();
    config.rope_amounts = amounts;
    config.sliding_window = 70;
    config.first_window_layer = 1;
    check_differences(&config, 3);
}

static void differences_of_a_model_without_rotation_and_with_projection_norms(void **state)
{
    (void)state;
    qk_config config = small_config();
    config.rope_kind = QK_ROPE_NONE;
    config.q_norm = config.k_norm = QK_NORM_PROJECTION;
    snprintf(config.model_type, sizeof config.model_type, "llama_drope");
    snprintf(config.attention_type, sizeof config.attention_type, "qk_norm_nope");
    check_differences(&config, 4);
}

/* ---- identities */

/* A model, and a batch of three sequences. */
static qk_parameters *some_model(batch **b)
{
    qk_config config = small_config();
    qk_rng rng;
    qk_rng_seed(&rng, 5);
    qk_parameters *p = random_parameters(&config, &rng);
    *b = calloc(1, sizeof **b);
    add_sequence(*b, 70, 1);
    add_sequence(*b, 33, 2);
    add_sequence(*b, 120, 1);
    for (size_t i = 0; i < (*b)->n_tokens; i++) (*b)->tokens[i] = (int32_t)qk_rng_below(&rng, 37);
    return p;
}

static void gradients_are_the_same_bits_for_any_number_of_threads(void **state)
{
    (void)state;
    batch *b;
    qk_parameters *p = some_model(&b);
    float *one = malloc(p->n_values * sizeof *one);
    for (size_t w = 0; w < N_WAYS; w++) {
        double nll = gradient_of(p, b, &ways[w], 1);
        memcpy(one, p->gradient, p->n_values * sizeof *one);
        for (int n_threads = 2; n_threads <= 5; n_threads += 3) {
            assert_true(nll == gradient_of(p, b, &ways[w], n_threads));
            assert_memory_equal(one, p->gradient, p->n_values * sizeof *one);
        }
    }
    free(one);
    free(b);
    qk_parameters_free(p);
}

static void recomputed_activations_give_the_same_bits(void **state)
{
    (void)state;
    batch *b;
    qk_parameters *p = some_model(&b);
    float *kept = malloc(p->n_values * sizeof *kept);
    for (size_t w = 0; w < N_WAYS; w += 2) {
        double nll = gradient_of(p, b, &ways[w], 2);
        memcpy(kept, p->gradient, p->n_values * sizeof *kept);
        assert_true(nll == gradient_of(p, b, &ways[w + 1], 2));
        assert_memory_equal(kept, p->gradient, p->n_values * sizeof *kept);
    }
    free(kept);
    free(b);
    qk_parameters_free(p);
}

/* Micro-batches add up, `scale` multiplies, and the padding between tensors stays zero. */
static void gradients_of_micro_batches_add_up(void **state)
{
    (void)state;
    batch *b;
    qk_parameters *p = some_model(&b);
    qk_gradient *g = NULL;
    qk_gradient_spec spec = { .max_rows = b->n_tokens, .longest = b->longest, .n_threads = 2 };
    double whole = gradient_of(p, b, &ways[0], 2), sum = 0, top = 0;
    float *expected = malloc(p->n_values * sizeof *expected);
    memcpy(expected, p->gradient, p->n_values * sizeof *expected);
    memset(p->gradient, 0, p->n_values * sizeof *p->gradient);
    assert_ok(qk_gradient_new(&g, p, &spec, err));
    for (size_t i = 0; i < b->n_sequences; i++) assert_ok(qk_gradient_add(&sum, g, &b->sequences[i], 1, 0.25, err));
    assert_near(sum, whole, 1e-9 * whole);
    for (size_t i = 0; i < p->n_values; i++) top = fmax(top, fabs((double)expected[i]));
    for (size_t i = 0; i < p->n_values; i++) {
        assert_near(4 * (double)p->gradient[i], (double)expected[i], 1e-5 * top);
        if (!qk_parameter_at(p, i)) assert_true(p->gradient[i] == 0 && p->values[i] == 0);
    }
    qk_gradient_free(g);
    free(expected);
    free(b);
    qk_parameters_free(p);
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(bf16_products_change_little_and_something),
        cmocka_unit_test(differences_of_a_rotating_model),
        cmocka_unit_test(differences_of_a_model_with_head_norms_biases_and_a_tied_embedding),
        cmocka_unit_test(differences_of_a_model_with_a_part_of_its_rotation_in_a_window),
        cmocka_unit_test(differences_of_a_model_without_rotation_and_with_projection_norms),
        cmocka_unit_test(gradients_are_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(recomputed_activations_give_the_same_bits),
        cmocka_unit_test(gradients_of_micro_batches_add_up),
    };
    enum { N_OTHERS = sizeof others / sizeof *others };
    static struct CMUnitTest tests[N_ROWS + N_OTHERS];
    for (size_t i = 0; i < N_ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].model,
                                        .test_func = gradients_are_those_of_transformers,
                                        .initial_state = (void *)(uintptr_t)&rows[i] };
    memcpy(tests + N_ROWS, others, sizeof others);
    return _cmocka_run_group_tests("gradient", tests, N_ROWS + N_OTHERS, NULL, NULL);
}
