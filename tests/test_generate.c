/* test_generate.c - text behind prompts: beside transformers, with a cache and without, under edits, drawn, ended. */
#include "generate/generate_private.h"
#include "generating.h"
#include "golden.h"

/* ---- a model, its golden tokens, and every row of logits by stream and position */

enum { MAX_POSITIONS = 64, MAX_VOCAB = 96, MAX_PROMPTS = 4, MAX_CONDITIONS = 4 };

typedef struct seen_logits {
    float at[MAX_PROMPTS][MAX_CONDITIONS][MAX_POSITIONS][MAX_VOCAB];
    bool is[MAX_PROMPTS][MAX_CONDITIONS][MAX_POSITIONS];
} seen_logits;

static qk_status see_logits(void *user, const qk_view *view, qk_error *err)
{
    seen_logits *seen = user;
    (void)err;
    assert_true(view->row0 + view->n_rows <= MAX_POSITIONS && view->width <= MAX_VOCAB);
    for (size_t i = 0; i < view->n_rows; i++) {
        memcpy(seen->at[view->sequence][view->condition][view->row0 + i], view->x + i * view->stride,
               view->width * sizeof(float));
        seen->is[view->sequence][view->condition][view->row0 + i] = true;
    }
    return QK_OK;
}

/* Largest difference where `a` has seen a row, relative to the largest logit of the row. */
static double logits_apart(const seen_logits *a, const seen_logits *b, size_t prompt, size_t condition, size_t *n_rows)
{
    double worst = 0;
    for (size_t t = 0; t < MAX_POSITIONS; t++) {
        if (!a->is[prompt][condition][t]) continue;
        const float *x = a->at[prompt][condition][t], *y = b->at[prompt][condition][t];
        double top = 0, apart = 0;
        assert_true(b->is[prompt][condition][t]);
        for (size_t i = 0; i < MAX_VOCAB; i++) {
            top = fmax(top, fabs((double)x[i]));
            apart = fmax(apart, fabs((double)x[i] - (double)y[i]));
        }
        worst = fmax(worst, apart / top);
        ++*n_rows;
    }
    return worst;
}

/* Tensor NAME.KEY of generation.safetensors as tokens; malloc'ed. */
static int32_t *golden_ids(size_t *n, const qk_ckpt *golden, const char *name, const char *key)
{
    char full[100];
    snprintf(full, sizeof full, "%s.%s", name, key);
    const qk_tensor *t = qk_ckpt_find(golden, full);
    assert_non_null(t);
    *n = t->n_bytes / 8;
    int32_t *ids = calloc(*n + 1, sizeof *ids);
    for (size_t i = 0; i < *n; i++) {
        int64_t id;
        memcpy(&id, t->data + 8 * i, 8);
        ids[i] = (int32_t)id;
    }
    return ids;
}

static qk_ckpt *open_golden_generation(void)
{
    qk_ckpt *golden = NULL;
    assert_ok(qk_ckpt_open_safetensors(&golden, data_path("golden/generation.safetensors"), err));
    return golden;
}

static bool same_tokens(const qk_generated *a, const qk_generated *b)
{
    return a->n_tokens == b->n_tokens && memcmp(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens) == 0;
}

/* ---- beside transformers */

static void check_golden(const qk_ckpt *golden, const char *name, const char *path, bool recompute, double tolerance)
{
    qk_model *model = open_model(path);
    size_t n_prompt, n_new;
    int32_t *prompt_ids = golden_ids(&n_prompt, golden, name, "prompt"), *ids = golden_ids(&n_new, golden, name, "new");
    qk_prompt prompt = { prompt_ids, n_prompt };
    seen_logits *seen = calloc(1, sizeof *seen);
    qk_probe probe = { .sites = QK_AT(QK_SITE_LOGITS), .see = see_logits, .user = seen };
    qk_generate_spec spec = { .prompts = &prompt,
                              .n_prompts = 1,
                              .max_new_tokens = n_new,
                              .context = MAX_POSITIONS,
                              .ignore_end = true,
                              .probes = &probe,
                              .n_probes = 1,
                              .recompute = recompute };
    qk_generate_result *result = generate(model, &spec);
    char logits[100];
    assert_int_equal(result->items[0].n_tokens, n_new);
    assert_int_equal(result->items[0].end, QK_END_LENGTH);
    for (size_t i = 0; i < n_new; i++)
        if (result->items[0].tokens[i] != ids[i])
            fail_msg("%s: token %zu is %d, transformers says %d", path, i, result->items[0].tokens[i], ids[i]);
    snprintf(logits, sizeof logits, "%s.logits", name);
    const float *expected = (const float *)(const void *)qk_ckpt_find(golden, logits)->data;
    const float *found = seen->at[0][0][n_prompt + n_new - 2];
    double top = 0, apart = 0;
    for (size_t i = 0; i < MAX_VOCAB; i++) {
        top = fmax(top, fabs((double)expected[i]));
        apart = fmax(apart, fabs((double)expected[i] - (double)found[i]));
    }
    if (!(apart <= tolerance * top)) fail_msg("%s: the last logits are %.1e away", path, apart / top);
    if (tolerance > 1e-3) assert_true(apart > 1e-3 * top); /* the other reading is told apart */
    qk_generate_result_free(result);
    free(seen), free(ids), free(prompt_ids);
    qk_model_close(model);
}

static void says_what_transformers_says(void **state)
{
    static const char *const names[] = { "mha",  "gqa",          "qwen2",       "qwen2-window", "qwen3",
                                         "nope", "qk-norm-nope", "qwen2-drope", "mistral",      "biases",
                                         "yarn", "llama3",       "linear",      "dynamic",      "longrope" };
    (void)state;
    qk_ckpt *golden = open_golden_generation();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_golden(golden, names[i], names[i], false, 2e-5);
    qk_ckpt_close(golden);
}

/* Every form of a model, with a cache and without. */
static void says_the_same_from_every_format(void **state)
{
    static const char *const forms[][2] = { { "mha", "mha" },
                                            { "mha", "mha-llama2c/v0.bin" },
                                            { "mha", "mha-llama2c/v1.bin" },
                                            { "gqa", "gqa" },
                                            { "gqa", "gqa-gguf/f32.gguf" } };
    (void)state;
    qk_ckpt *golden = open_golden_generation();
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        for (int recompute = 0; recompute < 2; recompute++)
            check_golden(golden, forms[i][0], forms[i][1], recompute, 2e-5);
    qk_ckpt_close(golden);
}

/* Where frequencies depend on the length, what a cache keeps was turned with those of its time: recomputing says other
 * numbers, here as in transformers. */
static void a_cache_keeps_the_rotation_of_its_time(void **state)
{
    (void)state;
    qk_ckpt *golden = open_golden_generation();
    check_golden(golden, "dynamic", "dynamic", true, 2e-2);
    check_golden(golden, "longrope", "longrope", true, 2e-2);
    qk_ckpt_close(golden);
}

/* ---- edits */

typedef struct edited {
    qk_model *model;
    const qk_config *c;
    int32_t *tokens;
    size_t n_tokens;
    qk_prompt prompts[2];
    uint8_t *mask; /* every third dim of the widest site */
    float *bank;   /* [4][widest] */
    qk_edit edits[6];
    qk_condition conditions[3];
} edited;

/* Conditions point into *e. */
static void open_edited(edited *e, const char *name)
{
    *e = (edited){ .model = open_model(name) };
    qk_ckpt *golden = open_golden_generation();
    e->c = qk_model_config(e->model);
    e->tokens = golden_ids(&e->n_tokens, golden, name, "prompt");
    qk_ckpt_close(golden);
    e->prompts[0] = (qk_prompt){ e->tokens, e->n_tokens };
    e->prompts[1] = (qk_prompt){ e->tokens, e->n_tokens - 3 };
    e->mask = calloc(1024, 1);
    e->bank = calloc(4 * 1024, sizeof *e->bank);
    for (size_t i = 0; i < 1024; i += 3) e->mask[i] = 1;
    for (size_t i = 0; i < 4096; i++) e->bank[i] = (float)sin(0.37 * (double)i);
    e->edits[0] = (qk_edit){ .site = QK_SITE_ROT_K, .layer = 0, .op = QK_OP_ZERO, .mask = e->mask };
    e->edits[1] = (qk_edit){ .site = QK_SITE_V, .layer = 1, .op = QK_OP_SCALE, .mask = e->mask, .amount = -0.5f };
    e->edits[2] = (qk_edit){ .site = QK_SITE_Q,
                             .layer = 1,
                             .op = QK_OP_RESAMPLE,
                             .mask = e->mask,
                             .bank = e->bank,
                             .n_bank_rows = 4,
                             .seed = 5 };
    e->edits[3] = (qk_edit){
        .site = QK_SITE_RESID_MID, .layer = 0, .op = QK_OP_NOISE, .mask = e->mask, .amount = 0.1f, .seed = 3
    };
    e->edits[4] = (qk_edit){ .site = QK_SITE_LN_FINAL_OUT, .op = QK_OP_MEAN, .mask = e->mask, .values = e->bank };
    e->conditions[0] = (qk_condition){ .name = "baseline" };
    e->conditions[1] = (qk_condition){ "keys and values", e->edits, 2 };
    e->conditions[2] = (qk_condition){ "drawn", e->edits + 2, 3 };
}

static void close_edited(edited *e)
{
    free(e->tokens), free(e->mask), free(e->bank);
    qk_model_close(e->model);
}

static qk_generate_spec spec_of(const edited *e, const qk_probe *probe)
{
    return (qk_generate_spec){ .prompts = e->prompts,
                               .n_prompts = 2,
                               .conditions = e->conditions,
                               .n_conditions = 3,
                               .max_new_tokens = 20,
                               .context = MAX_POSITIONS,
                               .ignore_end = true,
                               .probes = probe,
                               .n_probes = 1 };
}

/* All logits of one stream's whole text, prompt and answer, computed by a pass under `condition`. */
static void pass_logits(seen_logits *seen, const edited *e, const qk_generate_result *result, size_t prompt,
                        size_t condition, const qk_condition *as)
{
    const qk_generated *item = &result->items[prompt * result->n_conditions + condition];
    int32_t tokens[MAX_POSITIONS];
    size_t n = e->prompts[prompt].n_tokens;
    seen_logits *alone = calloc(1, sizeof *alone);
    memcpy(tokens, e->prompts[prompt].tokens, n * sizeof *tokens);
    memcpy(tokens + n, item->tokens, item->n_tokens * sizeof *tokens);
    qk_sequence sequences[2] = { { e->tokens, 2, 1 }, { tokens, n + item->n_tokens, 1 } };
    qk_probe probe = { .sites = QK_AT(QK_SITE_LOGITS), .see = see_logits, .user = alone };
    /* What is drawn depends on the number of the sequence: the text stands where its prompt stood. */
    qk_pass_spec spec = { .sequences = prompt ? sequences : sequences + 1,
                          .n_sequences = prompt + 1,
                          .conditions = as,
                          .n_conditions = 1,
                          .probes = &probe,
                          .n_probes = 1 };
    qk_pass_result *scored = NULL;
    assert_ok(qk_pass_run(&scored, e->model, &spec, err));
    memcpy(seen->at[prompt][condition], alone->at[prompt][0], sizeof seen->at[0][0]);
    memcpy(seen->is[prompt][condition], alone->is[prompt][0], sizeof seen->is[0][0]);
    qk_pass_result_free(scored);
    free(alone);
}

/* Every edit at every position: the cache gives the logits that a pass over the whole text gives, and so does
 * recomputing token by token. */
static void check_all_phase(const char *name, double *baseline_apart)
{
    edited e;
    open_edited(&e, name);
    seen_logits *kept = calloc(1, sizeof *kept), *again = calloc(1, sizeof *again), *pass = calloc(1, sizeof *pass);
    qk_probe probe = { .sites = QK_AT(QK_SITE_LOGITS), .see = see_logits, .user = kept };
    qk_generate_spec spec = spec_of(&e, &probe);
    qk_generate_result *result = generate(e.model, &spec);
    probe.user = again;
    spec.recompute = true;
    qk_generate_result *other = generate(e.model, &spec);
    for (size_t p = 0; p < 2; p++)
        for (size_t c = 0; c < 3; c++) {
            size_t n_rows = 0;
            pass_logits(pass, &e, result, p, c, &e.conditions[c]);
            assert_true(same_tokens(&result->items[p * 3 + c], &other->items[p * 3 + c]));
            double to_pass = logits_apart(kept, pass, p, c, &n_rows),
                   to_again = logits_apart(kept, again, p, c, &n_rows);
            assert_int_equal(n_rows, 2 * 20);
            if (!(to_pass <= 1e-5 && to_again <= 1e-5))
                fail_msg("%s, prompt %zu, %s: %.1e from a pass, %.1e from recomputing", name, p, e.conditions[c].name,
                         to_pass, to_again);
        }
    double moved = 0; /* the edits do something at the first row, where all streams have read the same */
    for (size_t i = 0; i < MAX_VOCAB; i++)
        moved =
            fmax(moved, fabs((double)kept->at[0][1][e.n_tokens - 1][i] - (double)kept->at[0][0][e.n_tokens - 1][i]));
    *baseline_apart = moved;
    qk_generate_result_free(result), qk_generate_result_free(other);
    free(kept), free(again), free(pass);
    close_edited(&e);
}

static void edits_hold_in_what_the_cache_keeps(void **state)
{
    static const char *const names[] = { "gqa", "mistral", "qwen2-window", "qwen3", "qk-norm-nope", "yarn" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        double moved = 0;
        check_all_phase(names[i], &moved);
        assert_true(moved > 1e-2);
    }
}

/* Jin et al. 2025: the prompt is read under the edits, what follows is not; the same as a pass over the whole text
 * whose edits end with the prompt, the means over positions too. */
static void prefill_edits_the_prompt_alone(void **state)
{
    (void)state;
    edited e;
    open_edited(&e, "gqa");
    seen_logits *kept = calloc(1, sizeof *kept), *again = calloc(1, sizeof *again), *pass = calloc(1, sizeof *pass),
                *all = calloc(1, sizeof *all);
    e.edits[2] = (qk_edit){ .site = QK_SITE_ROT_Q, .layer = 0, .op = QK_OP_HEAD_MEAN, .top_k = 1 };
    e.edits[3] = (qk_edit){ .site = QK_SITE_ROT_K, .layer = 1, .op = QK_OP_HEAD_MEAN, .top_k = 2 };
    e.edits[4] = (qk_edit){ .site = QK_SITE_V, .layer = 0, .op = QK_OP_PERMUTE, .mask = e.mask, .seed = 9 };
    qk_probe probe = { .sites = QK_AT(QK_SITE_LOGITS), .see = see_logits, .user = kept };
    qk_generate_spec spec = spec_of(&e, &probe);
    spec.phase = QK_PHASE_PREFILL;
    qk_generate_result *result = generate(e.model, &spec);
    probe.user = again;
    spec.recompute = true;
    qk_generate_result *other = generate(e.model, &spec);
    for (size_t p = 0; p < 2; p++)
        for (size_t c = 0; c < 3; c++) {
            qk_edit ended[3];
            size_t n_rows = 0, n_edits = e.conditions[c].n_edits;
            for (size_t i = 0; i < n_edits; i++) ended[i] = e.conditions[c].edits[i];
            for (size_t i = 0; i < n_edits; i++) ended[i].position_to = e.prompts[p].n_tokens;
            qk_condition as = { e.conditions[c].name, ended, n_edits };
            pass_logits(pass, &e, result, p, c, &as);
            double to_pass = logits_apart(kept, pass, p, c, &n_rows),
                   to_again = logits_apart(kept, again, p, c, &n_rows);
            if (!(to_pass <= 1e-5 && to_again <= 1e-5))
                fail_msg("prompt %zu, %s: %.1e from a pass, %.1e from recomputing", p, as.name, to_pass, to_again);
        }
    size_t n_rows = 0; /* the other phase is another thing */
    pass_logits(all, &e, result, 0, 1, &e.conditions[1]);
    assert_true(logits_apart(kept, all, 0, 1, &n_rows) > 1e-3);
    const qk_receipt *receipts = result->receipts[1]; /* of "keys and values" behind prompt 0 */
    size_t n_dims = 0, width = qk_site_width(e.c, QK_SITE_ROT_K);
    for (size_t i = 0; i < width; i++) n_dims += e.mask[i];
    assert_int_equal(receipts[0].visited, n_dims * e.n_tokens);
    assert_int_equal(receipts[0].changed, n_dims * e.n_tokens);
    qk_generate_result_free(result), qk_generate_result_free(other);
    free(kept), free(again), free(pass), free(all);
    close_edited(&e);
}

static void ops_over_a_sequence_are_refused_in_decoding(void **state)
{
    (void)state;
    edited e;
    open_edited(&e, "gqa");
    qk_edit edits[] = { { .site = QK_SITE_ROT_K, .layer = 0, .op = QK_OP_HEAD_MEAN, .top_k = 1 },
                        { .site = QK_SITE_ROT_K, .layer = 0, .op = QK_OP_SEQUENCE_MEAN, .mask = e.mask },
                        { .site = QK_SITE_ROT_K, .layer = 1, .op = QK_OP_PERMUTE, .mask = e.mask },
                        { .site = QK_SITE_V, .layer = 1, .op = QK_OP_ZERO, .top_k = 2 } };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        qk_condition condition = { "whole", &edits[i], 1 };
        qk_generate_spec spec = spec_of(&e, NULL);
        spec.n_probes = 0;
        spec.conditions = &condition;
        spec.n_conditions = 1;
        assert_refused(e.model, &spec, QK_E_ARGUMENT, "needs a whole sequence");
        edits[i].position_to = e.prompts[1].n_tokens; /* all of it lies in both prompts */
        qk_generate_result_free(generate(e.model, &spec));
        edits[i].position_to = e.prompts[1].n_tokens + 1;
        assert_refused(e.model, &spec, QK_E_ARGUMENT, "needs a whole sequence");
        spec.phase = QK_PHASE_PREFILL;
        qk_generate_result_free(generate(e.model, &spec));
    }
    close_edited(&e);
}

/* A mean over positions that the two prompts do not have in common, an edit behind everything: idle. */
static void idle_edits_are_refused(void **state)
{
    (void)state;
    edited e;
    open_edited(&e, "gqa");
    qk_edit late = {
        .site = QK_SITE_V, .layer = 0, .op = QK_OP_ZERO, .mask = e.mask, .position_from = 12, .position_to = 14
    };
    qk_condition condition = { "late", &late, 1 };
    qk_generate_spec spec = spec_of(&e, NULL);
    spec.n_probes = 0;
    spec.conditions = &condition;
    spec.n_conditions = 1;
    qk_generate_result_free(generate(e.model, &spec)); /* positions that decoding reaches */
    spec.phase = QK_PHASE_PREFILL;
    assert_refused(e.model, &spec, QK_E_CHECK, "changed nothing");
    spec.allow_idle_edits = true;
    qk_generate_result_free(generate(e.model, &spec));
    close_edited(&e);
}

/* ---- sampling */

static void draws_are_the_streams_own(void **state)
{
    (void)state;
    edited e;
    open_edited(&e, "mha");
    qk_generate_spec spec = spec_of(&e, NULL);
    spec.n_probes = 0;
    spec.conditions = NULL;
    spec.n_conditions = 0;
    spec.sampling = (qk_sampling){ .temperature = 1, .top_k = 20, .top_p = 0.9, .seed = 7 };
    spec.n_threads = 1;
    qk_generate_result *one = generate(e.model, &spec);
    spec.n_threads = 4;
    qk_generate_result *many = generate(e.model, &spec);
    spec.n_prompts = 1;
    qk_generate_result *alone = generate(e.model, &spec);
    spec.sampling.seed = 8;
    qk_generate_result *other = generate(e.model, &spec);
    spec.sampling.seed = 7;
    spec.recompute = true;
    qk_generate_result *again = generate(e.model, &spec);
    assert_true(same_tokens(&one->items[0], &many->items[0]) && same_tokens(&one->items[1], &many->items[1]));
    assert_true(same_tokens(&one->items[0], &alone->items[0]));
    assert_true(same_tokens(&one->items[0], &again->items[0]));
    assert_false(same_tokens(&one->items[0], &other->items[0]));
    qk_generate_result_free(one), qk_generate_result_free(many), qk_generate_result_free(alone);
    qk_generate_result_free(other), qk_generate_result_free(again);
    close_edited(&e);
}

enum { N_DRAWS = 40000 };

/* How often each of 6 tokens is drawn, beside its probability. */
static void check_draws(const qk_sampling *sampling, const double expected[6])
{
    static const float logits[6] = { 1, 3, 2, 3, -1, 0 };
    uint32_t order[6];
    double weights[6];
    size_t counts[6] = { 0 };
    qk_sampler space = { order, weights };
    qk_rng rng;
    qk_sample_seed(&rng, 11, 0, 0);
    for (size_t i = 0; i < N_DRAWS; i++) counts[qk_sample(&rng, logits, 6, sampling, &space)]++;
    for (size_t i = 0; i < 6; i++) {
        double share = (double)counts[i] / N_DRAWS, error = sqrt(expected[i] * (1 - expected[i]) / N_DRAWS);
        if (expected[i] == 0) assert_int_equal(counts[i], 0);
        assert_near(share, expected[i], 4.5 * error + 1e-12);
    }
}

static void draws_have_their_probabilities(void **state)
{
    (void)state;
    /* Weights by hand: e^1, e^3, e^2, e^3, e^-1, e^0. */
    double w[6] = { exp(1), exp(3), exp(2), exp(3), exp(-1), 1 }, all = 0, hot = 0;
    for (size_t i = 0; i < 6; i++) all += w[i];
    for (size_t i = 0; i < 6; i++) hot += sqrt(w[i]);
    check_draws(&(qk_sampling){ .temperature = 1 },
                (double[6]){ w[0] / all, w[1] / all, w[2] / all, w[3] / all, w[4] / all, w[5] / all });
    check_draws(&(qk_sampling){ .temperature = 2 }, (double[6]){ sqrt(w[0]) / hot, sqrt(w[1]) / hot, sqrt(w[2]) / hot,
                                                                 sqrt(w[3]) / hot, sqrt(w[4]) / hot, 1 / hot });
    double three = w[1] + w[2] + w[3];
    check_draws(&(qk_sampling){ .temperature = 1, .top_k = 3 },
                (double[6]){ 0, w[1] / three, w[2] / three, w[3] / three, 0, 0 });
    /* The two likeliest hold 0.77: a little less wants both, a little more the third. */
    double two = w[1] / all + w[3] / all;
    check_draws(&(qk_sampling){ .temperature = 1, .top_p = two - 1e-6 }, (double[6]){ 0, 0.5, 0, 0.5, 0, 0 });
    check_draws(&(qk_sampling){ .temperature = 1, .top_p = two + 1e-6 },
                (double[6]){ 0, w[1] / three, w[2] / three, w[3] / three, 0, 0 });
    /* top_p is a share of what top_k left: of three tokens the likeliest two hold 0.84. */
    check_draws(&(qk_sampling){ .temperature = 1, .top_k = 3, .top_p = 0.8 }, (double[6]){ 0, 0.5, 0, 0.5, 0, 0 });
    /* Ties go to the lower id; nothing but the likeliest; cold is greedy. */
    check_draws(&(qk_sampling){ .temperature = 1, .top_k = 1 }, (double[6]){ 0, 1, 0, 0, 0, 0 });
    check_draws(&(qk_sampling){ .temperature = 1, .top_p = 1e-9 }, (double[6]){ 0, 1, 0, 0, 0, 0 });
    check_draws(&(qk_sampling){ .temperature = 0 }, (double[6]){ 0, 1, 0, 0, 0, 0 });
    check_draws(&(qk_sampling){ .temperature = 1e-6 }, (double[6]){ 0, 0.5, 0, 0.5, 0, 0 });
}

/* ---- ends, groups, refusals */

static void streams_end_where_they_should(void **state)
{
    (void)state;
    edited e;
    open_edited(&e, "mistral");
    qk_generate_spec spec = spec_of(&e, NULL);
    spec.n_probes = 0;
    spec.n_conditions = 0;
    spec.n_prompts = 1;
    qk_generate_result *free_run = generate(e.model, &spec);
    int32_t end = free_run->items[0].tokens[5];
    size_t first = 0;
    while (free_run->items[0].tokens[first] != end) first++;
    spec.end_tokens = &end;
    spec.n_end_tokens = 1;
    spec.ignore_end = false;
    qk_generate_result *ended = generate(e.model, &spec);
    assert_int_equal(ended->items[0].end, QK_END_TOKEN);
    assert_int_equal(ended->items[0].n_tokens, first + 1);
    assert_int_equal(ended->items[0].tokens[first], end);
    spec.ignore_end = true;
    spec.context = e.n_tokens + 9;
    qk_generate_result *full = generate(e.model, &spec);
    assert_int_equal(full->items[0].end, QK_END_CONTEXT);
    assert_int_equal(full->items[0].n_tokens, 9);
    assert_memory_equal(full->items[0].tokens, free_run->items[0].tokens, 9 * sizeof end);
    assert_null(full->items[0].text); /* no tokenizer, no text */
    spec.max_new_tokens = 9;          /* both at once: the length was asked for */
    qk_generate_result *both = generate(e.model, &spec);
    assert_int_equal(both->items[0].end, QK_END_LENGTH);
    qk_generate_result_free(free_run), qk_generate_result_free(ended), qk_generate_result_free(full);
    qk_generate_result_free(both);
    close_edited(&e);
}

/* The least budget that is not refused: streams go one by one, and say the same. */
static void a_budget_makes_groups_and_changes_nothing(void **state)
{
    (void)state;
    edited e;
    open_edited(&e, "gqa");
    qk_generate_spec spec = spec_of(&e, NULL);
    spec.n_probes = 0;
    spec.max_new_tokens = 50;
    qk_generate_result *free_run = generate(e.model, &spec), *tight = NULL;
    qk_error err = { QK_OK, "" };
    size_t low = 1 << 20, high = (size_t)1 << 30;
    while (high - low > 1024) { /* where refusing ends */
        spec.max_bytes = low + (high - low) / 2;
        qk_status status = qk_generate(&tight, e.model, &spec, &err);
        if (status == QK_E_BUDGET) {
            assert_non_null(strstr(err.message, "prompt 0: "));
            low = spec.max_bytes;
        } else {
            assert_int_equal(status, QK_OK);
            high = spec.max_bytes;
            qk_generate_result_free(tight);
        }
    }
    spec.max_bytes = high;
    tight = generate(e.model, &spec);
    for (size_t i = 0; i < 6; i++) assert_true(same_tokens(&tight->items[i], &free_run->items[i]));
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < e.conditions[i % 3].n_edits; k++)
            assert_int_equal(tight->receipts[i][k].visited, free_run->receipts[i][k].visited);
    qk_generate_result_free(tight), qk_generate_result_free(free_run);
    close_edited(&e);
}

/* Products in tiles for many streams, row by row for few: one stream alone, and as one of 30. */
static void many_streams_say_what_one_says(void **state)
{
    (void)state;
    edited e;
    qk_prompt prompts[30];
    open_edited(&e, "mha");
    for (size_t i = 0; i < 30; i++) prompts[i] = e.prompts[0];
    qk_generate_spec spec = spec_of(&e, NULL);
    spec.n_probes = 0;
    spec.n_conditions = 0;
    spec.n_prompts = 1;
    qk_generate_result *one = generate(e.model, &spec);
    spec.prompts = prompts;
    spec.n_prompts = 30;
    qk_generate_result *many = generate(e.model, &spec);
    for (size_t i = 0; i < 30; i++) assert_true(same_tokens(&many->items[i], &one->items[0]));
    spec.precision = QK_PRECISION_BF16;
    spec.n_prompts = 2;
    qk_generate_result_free(generate(e.model, &spec));
    qk_generate_result_free(one), qk_generate_result_free(many);
    close_edited(&e);
}

/* ---- rows that the next token does not need */

enum { LONG_PROMPTS = 5, LONG_VOCAB = 512, LONG_STEPS = 3 };

typedef struct drawn_from {
    float at[LONG_PROMPTS][2][LONG_STEPS][LONG_VOCAB];
    size_t n[LONG_PROMPTS][2];
} drawn_from;

static qk_status see_drawn(void *user, const qk_view *view, qk_error *err)
{
    drawn_from *seen = user;
    size_t step = seen->n[view->sequence][view->condition]++;
    (void)err;
    assert_true(step < LONG_STEPS && view->n_rows == 1 && view->width == LONG_VOCAB);
    memcpy(seen->at[view->sequence][view->condition][step], view->x, LONG_VOCAB * sizeof(float));
    return QK_OK;
}

static qk_status count_rows(void *user, const qk_view *view, qk_error *err)
{
    size_t *n = user;
    (void)err;
    *n += view->n_rows;
    return QK_OK;
}

/* Behind the last layer's attention only a prompt's last rows are computed, unless somebody looks: the same bits. */
static void rows_left_out_change_no_bit(void **state)
{
    (void)state;
    static const size_t lengths[LONG_PROMPTS] = { 300, 128, 129, 2, 256 };
    qk_model *model;
    int32_t tokens[300];
    qk_prompt prompts[LONG_PROMPTS];
    assert_ok(qk_model_open(&model, data_path("golden/demo"), NULL, err));
    const qk_config *c = &model->config;
    for (int i = 0; i < 300; i++) tokens[i] = (int32_t)((i * 37 + i * i / 5) % c->n_vocab);
    for (int i = 0; i < LONG_PROMPTS; i++) prompts[i] = (qk_prompt){ tokens, lengths[i] };
    uint8_t *mask = calloc(qk_site_width(c, QK_SITE_Q), 1);
    mask[0] = mask[3] = mask[5] = 1;
    qk_edit zero = { .site = QK_SITE_Q, .layer = c->n_layers - 1, .op = QK_OP_ZERO, .mask = mask };
    qk_condition conditions[2] = { { "baseline", NULL, 0 }, { "zero", &zero, 1 } };
    drawn_from *few = calloc(1, sizeof *few), *all = calloc(1, sizeof *all);
    for (int phase = 0; phase < 2; phase++) {
        size_t n_rows = 0, wanted = 0;
        for (int i = 0; i < LONG_PROMPTS; i++) wanted += 2 * (size_t)c->n_layers * (lengths[i] + LONG_STEPS - 1);
        qk_probe probes[2] = { { .sites = QK_AT(QK_SITE_LOGITS), .see = see_drawn, .user = few },
                               { .sites = QK_AT(QK_SITE_RESID_POST), .see = count_rows, .user = &n_rows } };
        qk_generate_spec spec = { .prompts = prompts, .n_prompts = LONG_PROMPTS, .conditions = conditions,
                                  .n_conditions = 2, .phase = phase ? QK_PHASE_PREFILL : QK_PHASE_ALL,
                                  .max_new_tokens = LONG_STEPS, .context = 400, .ignore_end = true, .probes = probes,
                                  .n_probes = 1, .n_threads = 2 };
        memset(few, 0, sizeof *few), memset(all, 0, sizeof *all);
        qk_generate_result_free(generate(model, &spec));
        probes[0].user = all;
        spec.n_probes = 2;
        qk_generate_result_free(generate(model, &spec));
        assert_memory_equal(few, all, sizeof *few);
        assert_int_equal(n_rows, wanted); /* who looks sees all */
        assert_true(few->n[0][0] == LONG_STEPS && memcmp(few->at[0][0], few->at[0][1], sizeof few->at[0][0]) != 0);
    }
    qk_pass pass = { .config = c, .trims = true, .last_rows = true };
    for (int i = 0; i < LONG_PROMPTS; i++) {
        qk_segment segment = { .n_rows = lengths[i] };
        assert_int_equal(qk_pass_idle_blocks(&pass, c->n_layers - 1, &segment), (lengths[i] - 1) / 128);
        assert_int_equal(qk_pass_idle_blocks(&pass, 0, &segment), 0);
    }
    free(few), free(all), free(mask);
    qk_model_close(model);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    edited e;
    open_edited(&e, "gqa");
    int32_t beyond[] = { 1, 96 };
    qk_prompt none = { e.tokens, 0 }, wrong = { beyond, 2 };
    qk_generate_spec good = spec_of(&e, NULL), spec = good;
    const char *stop = "x", *empty = "";
    good.n_probes = 0;
    spec = good, spec.n_prompts = 0;
    assert_refused(e.model, &spec, QK_E_ARGUMENT, "no prompts");
    spec = good, spec.prompts = &none, spec.n_prompts = 1;
    assert_refused(e.model, &spec, QK_E_ARGUMENT, "prompt 0: no tokens");
    spec = good, spec.prompts = &wrong, spec.n_prompts = 1;
    assert_refused(e.model, &spec, QK_E_ARGUMENT, "prompt 0, token 1: id 96, the model has 0 to 95");
    spec = good, spec.context = e.n_tokens;
    assert_refused(e.model, &spec, QK_E_ARGUMENT, "prompt 0: 7 tokens, the context of 7 has no room for another");
    spec = good, spec.max_new_tokens = 0;
    assert_refused(e.model, &spec, QK_E_ARGUMENT, "new tokens");
    spec = good, spec.sampling.temperature = -1;
    assert_refused(e.model, &spec, QK_E_ARGUMENT, "temperature");
    spec = good, spec.sampling.temperature = NAN;
    assert_refused(e.model, &spec, QK_E_ARGUMENT, "temperature");
    spec = good, spec.sampling.top_p = 1.5;
    assert_refused(e.model, &spec, QK_E_ARGUMENT, "top-p");
    spec = good, spec.stops = &stop, spec.n_stops = 1;
    assert_refused(e.model, &spec, QK_E_IO, "stop strings: ");
    spec = good, spec.stops = &empty, spec.n_stops = 1;
    assert_refused(e.model, &spec, QK_E_ARGUMENT, "stop string 0: it is empty");
    spec = good, e.edits[0].layer = 7;
    assert_refused(e.model, &spec, QK_E_ARGUMENT, "beyond the last layer");
    close_edited(&e);
}

/* ---- progress */

static bool count_ticks(void *user, const char *phase, double done, double total)
{
    double *last = user;
    assert_string_equal(phase, "generate");
    assert_true(done >= last[0] && done <= total);
    last[0] = done;
    last[1] = total;
    return last[2] <= 0 || done < last[2];
}

static void progress_reaches_its_end_and_can_stop(void **state)
{
    (void)state;
    edited e;
    open_edited(&e, "gqa");
    double last[3] = { 0 };
    qk_generate_spec spec = spec_of(&e, NULL);
    spec.n_probes = 0;
    spec.progress = (qk_progress){ count_ticks, last };
    qk_generate_result_free(generate(e.model, &spec));
    assert_true(last[0] > 0);
    assert_near(last[0], last[1], 6.5); /* the last token of each stream is said, not read */
    memcpy(last, (double[3]){ 0, 0, 40 }, sizeof last);
    assert_refused(e.model, &spec, QK_E_INTERRUPTED, "interrupted");
    close_edited(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_transformers_says),
        cmocka_unit_test(says_the_same_from_every_format),
        cmocka_unit_test(a_cache_keeps_the_rotation_of_its_time),
        cmocka_unit_test(edits_hold_in_what_the_cache_keeps),
        cmocka_unit_test(prefill_edits_the_prompt_alone),
        cmocka_unit_test(ops_over_a_sequence_are_refused_in_decoding),
        cmocka_unit_test(idle_edits_are_refused),
        cmocka_unit_test(draws_are_the_streams_own),
        cmocka_unit_test(draws_have_their_probabilities),
        cmocka_unit_test(streams_end_where_they_should),
        cmocka_unit_test(a_budget_makes_groups_and_changes_nothing),
        cmocka_unit_test(many_streams_say_what_one_says),
        cmocka_unit_test(rows_left_out_change_no_bit),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(progress_reaches_its_end_and_can_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
