/* test_pass_limits.c - what a pass refuses, how it stops, what it finds by name and what it rounds. */
#include <math.h>

#include "pass_fixture.h"

static void bf16_products_are_near(void **state)
{
    (void)state;
    fixture f = open_fixture("gqa");
    qk_pass_spec spec = spec_of(&f);
    qk_pass_result *exact = run(&f, &spec);
    spec.precision = QK_PRECISION_BF16;
    qk_pass_result *rounded = run(&f, &spec);
    for (size_t s = 0; s < N_DOCUMENTS; s++) {
        assert_true(rounded->scores[s].nll != exact->scores[s].nll);
        assert_true(fabs(rounded->scores[s].nll / exact->scores[s].nll - 1) < 0.01); /* operands of 8 bits */
    }
    qk_pass_result_free(exact);
    qk_pass_result_free(rounded);
    close_fixture(&f);
}

static void non_finite_values_are_located(void **state)
{
    (void)state;
    fixture f = open_fixture("mha");
    size_t width = qk_site_width(f.c, QK_SITE_K), dims[] = { (size_t)f.c->head_dim + 2 };
    uint8_t *mask = mask_of(f.c, QK_SITE_K, dims, 1);
    float *values = calloc(width, sizeof *values);
    values[dims[0]] = INFINITY;
    qk_edit edit = { .site = QK_SITE_K, .layer = 1, .op = QK_OP_MEAN, .mask = mask, .values = values, .position_from = 4, .position_to = 6 };
    qk_condition conditions[2] = { { "baseline", NULL, 0 }, { "burst", &edit, 1 } };
    qk_pass_spec spec = spec_of(&f);
    spec.conditions = conditions;
    spec.n_conditions = 2;
    char message[500];
    assert_int_equal(run_status(&f, &spec, message), QK_E_NUMERIC);
    assert_string_equal(message, "non-finite value at blocks.1.attn.hook_k: document 0, condition \"burst\", token 4, head 1, dim 2: inf");
    free(values), free(mask);
    close_fixture(&f);
}

/* The smallest one that is accepted, to a KiB. */
static size_t least_budget(const fixture *f, qk_pass_spec spec)
{
    qk_plan plan;
    spec.max_bytes = 0;
    assert_ok(qk_pass_plan(&plan, f->model, &spec, err));
    size_t low = 1 << 20, high = plan.total_bytes;
    while (low + 1024 < high) {
        spec.max_bytes = (low + high) / 2;
        if (qk_pass_plan(&plan, f->model, &spec, NULL) == QK_OK) high = spec.max_bytes;
        else low = spec.max_bytes;
    }
    return high;
}

static void a_budget_is_kept_or_refused(void **state)
{
    (void)state;
    fixture f = open_fixture("gqa");
    qk_pass_spec spec = spec_of(&f);
    qk_plan plan;
    char message[500];
    assert_ok(qk_pass_plan(&plan, f.model, &spec, err));
    assert_true(plan.n_groups == 1 && plan.flops > 0 && plan.total_bytes > plan.scratch_bytes);
    qk_pass_result *free_run = run(&f, &spec);
    spec.max_bytes = 1 << 20;
    assert_int_equal(run_status(&f, &spec, message), QK_E_BUDGET);
    assert_non_null(strstr(message, "needs at least"));
    size_t high = least_budget(&f, spec);
    spec.max_bytes = high;
    assert_ok(qk_pass_plan(&plan, f.model, &spec, err));
    assert_true(plan.total_bytes <= high);
    assert_true(plan.n_groups > 1);
    qk_pass_result *tight = run(&f, &spec);
    for (size_t s = 0; s < N_DOCUMENTS; s++) assert_near(tight->scores[s].nll, free_run->scores[s].nll, 1e-5);
    qk_pass_result_free(tight), qk_pass_result_free(free_run);
    close_fixture(&f);
}

/* Rows of several documents share a block of logits, and one's rows lie in several: as if each were scored alone. */
static void blocks_of_logits_end_anywhere(void **state)
{
    (void)state;
    enum { LONGEST = 130 };
    fixture f = open_fixture("gqa");
    int32_t tokens[LONGEST];
    for (size_t i = 0; i < LONGEST; i++) tokens[i] = f.tokens[i % f.n_tokens];
    qk_sequence sequences[] = { { tokens, 7, 5 }, { tokens, LONGEST, 1 }, { tokens + 3, 9, 8 }, { tokens + 1, 101, 20 } };
    enum { N = sizeof sequences / sizeof *sequences };
    qk_pass_spec spec = { .sequences = sequences, .n_sequences = N, .score = true, .keep_token_nll = true };
    qk_pass_result *free_run = run(&f, &spec);
    spec.max_bytes = least_budget(&f, spec);
    qk_pass_result *tight = run(&f, &spec); /* 48 rows a block */
    for (size_t s = 0; s < N; s++) {
        qk_pass_spec one = { .sequences = &sequences[s], .n_sequences = 1, .score = true, .keep_token_nll = true };
        qk_pass_result *alone = run(&f, &one);
        size_t n_bytes = alone->scores[0].n_tokens * sizeof(float);
        assert_int_equal(free_run->scores[s].n_tokens, alone->scores[0].n_tokens);
        assert_memory_equal(free_run->scores[s].token_nll, alone->scores[0].token_nll, n_bytes);
        assert_memory_equal(tight->scores[s].token_nll, alone->scores[0].token_nll, n_bytes);
        qk_pass_result_free(alone);
    }
    qk_pass_result_free(tight), qk_pass_result_free(free_run);
    close_fixture(&f);
}

static bool stop_at_once(void *user, const char *phase, double done, double total)
{
    (void)user, (void)phase;
    assert_true(done <= total);
    return false;
}

static bool first_document_done(void *user, size_t sequence, size_t condition)
{
    (void)user, (void)condition;
    return sequence < 2;
}

static void it_stops_when_asked_and_skips_what_is_done(void **state)
{
    (void)state;
    fixture f = open_fixture("mha");
    qk_pass_spec spec = spec_of(&f);
    char message[500];
    spec.progress.tick = stop_at_once;
    assert_int_equal(run_status(&f, &spec, message), QK_E_INTERRUPTED);
    spec.progress.tick = NULL;
    qk_pass_result *all = run(&f, &spec);
    spec.is_done = first_document_done;
    qk_pass_result *group = run(&f, &spec); /* one group holds a stream that is not done: all of it is computed again */
    assert_true(same_nll(all, 0, group, 0));
    spec.n_sequences = 2;
    qk_pass_result *none = run(&f, &spec);
    assert_int_equal(none->scores[0].n_tokens, 0);
    qk_pass_result_free(all), qk_pass_result_free(group), qk_pass_result_free(none);
    close_fixture(&f);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    fixture f = open_fixture("mha");
    char message[500];
    int32_t bad[3] = { 1, f.c->n_vocab, 2 };
    qk_sequence sequence = { bad, 3, 1 };
    qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .score = true };
    assert_int_equal(run_status(&f, &spec, message), QK_E_ARGUMENT);
    assert_non_null(strstr(message, "document 0, token 1"));
    bad[1] = 1;
    sequence.score_from = 3;
    assert_int_equal(run_status(&f, &spec, message), QK_E_ARGUMENT);
    sequence.score_from = 1;
    spec.n_sequences = 0;
    assert_int_equal(run_status(&f, &spec, message), QK_E_ARGUMENT);
    spec.n_sequences = 1;
    uint8_t mask[4096] = { 1 };
    const qk_edit edits[] = {
        { .site = QK_SITE_PATTERN, .op = QK_OP_ZERO, .mask = mask },
        { .site = QK_SITE_Q, .layer = 99, .op = QK_OP_ZERO, .mask = mask },
        { .site = QK_SITE_Q, .op = QK_OP_ZERO },
        { .site = QK_SITE_Q, .op = QK_OP_MEAN, .mask = mask },
        { .site = QK_SITE_Q, .op = QK_OP_RESAMPLE, .mask = mask },
        { .site = QK_SITE_Q_NORMED, .op = QK_OP_ZERO, .mask = mask },
        { .site = QK_SITE_RESID_POST, .op = QK_OP_PERMUTE, .mask = mask },
        { .site = QK_SITE_RESID_POST, .op = QK_OP_ZERO, .top_k = 1 },
        { .site = QK_SITE_Q, .op = QK_OP_ZERO, .top_k = 1, .position_from = 2, .position_to = 1 },
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        qk_condition condition = { "odd", &edits[i], 1 };
        spec.conditions = &condition;
        spec.n_conditions = 1;
        assert_int_equal(run_status(&f, &spec, message), QK_E_ARGUMENT);
        assert_non_null(strstr(message, "odd"));
    }
    close_fixture(&f);
}

static void sites_are_found_by_every_name(void **state)
{
    (void)state;
    fixture f = open_fixture("mha");
    const struct { const char *pattern; qk_site site; int first, n; } good[] = {
        { "blocks.1.attn.hook_q", QK_SITE_Q, 1, 1 },         { "blocks.*.attn.hook_rot_k", QK_SITE_ROT_K, 0, f.c->n_layers },
        { "q", QK_SITE_Q, 0, f.c->n_layers },                { "rot_k1", QK_SITE_ROT_K, 1, 1 },
        { "resid_post0", QK_SITE_RESID_POST, 0, 1 },         { "blocks.{0-1}.hook_mlp_out", QK_SITE_MLP_OUT, 0, 2 },
        { "model.layers.0.self_attn.v_proj", QK_SITE_V, 0, 1 }, { "hook_logits", QK_SITE_LOGITS, -1, 0 },
        { "lm_head", QK_SITE_LOGITS, -1, 0 },                { "l_out-1", QK_SITE_RESID_POST, 1, 1 },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        qk_site_pattern p;
        assert_ok(qk_site_parse(&p, good[i].pattern, f.c, err));
        assert_int_equal(p.site, good[i].site);
        int n = 0;
        for (int l = 0; l < f.c->n_layers; l++) n += p.layers[l];
        assert_int_equal(n, good[i].n);
        if (good[i].first >= 0) assert_int_equal(p.layers[good[i].first], 1);
    }
    const char *const bad[] = { "", "blocks.9.attn.hook_q", "blocks..attn.hook_q", "hook_qq", "q_normed", "blocks.{0.attn.hook_q",
                                "blocks.1-0.attn.hook_q", "blocks.99999999999999999999.attn.hook_q", "re:*", "rot_k1x" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qk_site_pattern p;
        qk_error err;
        if (qk_site_parse(&p, bad[i], f.c, &err) != QK_E_ARGUMENT) fail_msg("\"%s\" was taken", bad[i]);
    }
    close_fixture(&f);
}

/* Rotary facts: YaRN's correction range, NTK's ends, pairs that never complete a rotation (docs/METHODS.md). */
static void rotary_frequencies_match_the_papers(void **state)
{
    (void)state;
    const struct { int head_dim; double context; int expected; } slow[] = {
        { 64, 1024, 14 }, { 64, 2048, 11 }, { 64, 4096, 9 }, { 64, 8192, 7 }, { 64, 16000, 4 }, { 64, 32000, 2 },
        { 128, 1024, 28 }, { 128, 2048, 23 }, { 128, 4096, 18 }, { 128, 8192, 14 }, { 128, 16000, 9 }, { 128, 32000, 4 },
    };
    float inv_freq[64];
    double factor;
    for (size_t i = 0; i < sizeof slow / sizeof *slow; i++) {
        qk_config c = { .head_dim = slow[i].head_dim, .rope_kind = QK_ROPE_DEFAULT, .rope_theta = 10000, .rope_attention_factor = 1 };
        int n = 0;
        qk_rope_frequencies(inv_freq, &factor, &c, 1);
        for (int m = 0; m < c.head_dim / 2; m++) n += (double)inv_freq[m] * slow[i].context < 2 * M_PI;
        assert_int_equal(n, slow[i].expected);
    }
    /* YaRN leaves pairs below `low` alone and divides those from `high` on by s. */
    const struct { int head_dim, context, low, high; } range[] = { { 64, 2048, 8, 21 }, { 128, 4096, 20, 46 } };
    for (size_t i = 0; i < 2; i++) {
        qk_config c = { .head_dim = range[i].head_dim, .rope_kind = QK_ROPE_YARN, .rope_theta = 10000, .rope_factor = 4,
                        .rope_original_context = range[i].context, .rope_beta_fast = 32, .rope_beta_slow = 1,
                        .rope_yarn_truncate = true, .rope_attention_factor = 1 }, plain = c;
        float before[64];
        plain.rope_kind = QK_ROPE_DEFAULT;
        qk_rope_frequencies(before, &factor, &plain, 1);
        qk_rope_frequencies(inv_freq, &factor, &c, 1);
        for (int m = 0; m < c.head_dim / 2; m++) {
            double gamma = (double)inv_freq[m] / (double)before[m];
            if (m <= range[i].low) assert_near(gamma, 1, 1e-6);
            else if (m >= range[i].high) assert_near(gamma, 0.25, 1e-6);
            else assert_true(gamma > 0.25 + 1e-6 && gamma < 1 - 1e-6);
        }
    }
    /* NTK: the fastest pair keeps its frequency, the slowest is divided by s. */
    qk_config ntk = { .head_dim = 64, .n_context = 1000, .rope_kind = QK_ROPE_DYNAMIC, .rope_theta = 10000, .rope_factor = 1, .rope_attention_factor = 1 };
    qk_config plain = ntk;
    float before[64];
    plain.rope_kind = QK_ROPE_DEFAULT;
    qk_rope_frequencies(before, &factor, &plain, 1);
    qk_rope_frequencies(inv_freq, &factor, &ntk, 4000);
    assert_near(inv_freq[0] / before[0], 1, 0);
    assert_near(inv_freq[31] / before[31], 0.25, 1e-6);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_products_are_near),
        cmocka_unit_test(non_finite_values_are_located),
        cmocka_unit_test(a_budget_is_kept_or_refused),
        cmocka_unit_test(blocks_of_logits_end_anywhere),
        cmocka_unit_test(it_stops_when_asked_and_skips_what_is_done),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(sites_are_found_by_every_name),
        cmocka_unit_test(rotary_frequencies_match_the_papers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
