/* test_pass.c - identities of the pass that need no oracle. */
#include <math.h>

#include "pass_fixture.h"

static void threads_and_probes_change_no_bit(void **state)
{
    (void)state;
    fixture f = open_fixture("gqa");
    qk_pass_spec spec = spec_of(&f);
    spec.n_threads = 1;
    qk_pass_result *one = run(&f, &spec);
    spec.n_threads = 4;
    qk_pass_result *many = run(&f, &spec);
    assert_true(same_nll(one, 0, many, 0));
    qk_ckpt *golden = NULL;
    assert_ok(qk_ckpt_open_safetensors(&golden, data_path("golden/gqa/golden.safetensors"), err));
    golden_check check = { .golden = golden };
    qk_probe probe = { .sites = QK_AT(QK_N_SITES) - 1, .see = golden_see, .user = &check };
    qk_pass_spec alone = spec;
    alone.n_sequences = 1;
    alone.probes = &probe;
    alone.n_probes = 1;
    qk_pass_result *probed = run(&f, &alone);
    assert_true(check.n_values > 0);
    assert_true(probed->scores[0].nll == one->scores[0].nll);
    qk_pass_result_free(one), qk_pass_result_free(many), qk_pass_result_free(probed);
    qk_ckpt_close(golden);
    close_fixture(&f);
}

enum { MAX_TOP = 512 };
typedef struct tops { int32_t id[2][N_DOCUMENTS][MAX_TOP]; } tops; /* by condition, sequence, position of the row */

static int32_t argmax(const float *x, size_t n)
{
    int32_t top = 0;
    for (size_t i = 0; i < n; i++)
        if (x[i] > x[top]) top = (int32_t)i;
    return top;
}

static qk_status see_tops(void *user, const qk_view *view, qk_error *err)
{
    tops *t = user;
    (void)err;
    for (size_t i = 0; i < view->n_rows; i++)
        t->id[view->condition][view->sequence][view->row0 + i] = argmax(view->x + i * view->stride, view->width);
    return QK_OK;
}

static qk_status look_away(void *user, const qk_view *view, qk_error *err)
{
    (void)user, (void)view, (void)err;
    return QK_OK;
}

/* Rows of the last layer that no target needs are left out unless somebody looks there: the losses are the same bits. */
static void rows_left_out_change_no_bit(void **state)
{
    (void)state;
    enum { LENGTHS = 7 };
    static const size_t lengths[LENGTHS] = { 300, 64, 65, 129, 2, 300, 200 }, from[LENGTHS] = { 298, 63, 64, 1, 1, 130, 65 };
    qk_model *model;
    assert_ok(qk_model_open(&model, data_path("golden/demo"), NULL, err));
    const qk_config *c = &model->config;
    int32_t tokens[300];
    qk_sequence sequences[LENGTHS];
    for (int i = 0; i < 300; i++) tokens[i] = (int32_t)((i * 37 + i * i / 5) % c->n_vocab);
    for (int i = 0; i < LENGTHS; i++) sequences[i] = (qk_sequence){ tokens, lengths[i], from[i] };
    size_t dims[] = { 0, 3, 5 };
    uint8_t *mask = mask_of(c, QK_SITE_Q, dims, 3);
    qk_edit zero = { .site = QK_SITE_Q, .layer = c->n_layers - 1, .op = QK_OP_ZERO, .mask = mask };
    qk_condition conditions[2] = { { "baseline", NULL, 0 }, { "zero", &zero, 1 } };
    qk_probe probe = { .sites = QK_AT(QK_SITE_RESID_POST), .see = look_away };
    qk_pass_spec spec = { .sequences = sequences, .n_sequences = LENGTHS, .conditions = conditions, .n_conditions = 2,
                          .score = true, .keep_token_nll = true, .n_threads = 2 };
    qk_pass_result *few, *all;
    assert_ok(qk_pass_run(&few, model, &spec, err));
    spec.probes = &probe;
    spec.n_probes = 1;
    assert_ok(qk_pass_run(&all, model, &spec, err));
    for (size_t s = 0; s < 2 * LENGTHS; s++) {
        assert_int_equal(few->scores[s].n_tokens, lengths[s / 2] - from[s / 2]);
        assert_true(few->scores[s].nll == all->scores[s].nll);
        assert_memory_equal(few->scores[s].token_nll, all->scores[s].token_nll, few->scores[s].n_tokens * sizeof(float));
    }
    assert_true(few->scores[0].nll != few->scores[1].nll); /* the edit acts */
    assert_memory_equal(few->receipts[1], all->receipts[1], sizeof(qk_receipt));
    qk_pass_result_free(few);
    qk_pass_result_free(all);
    free(mask);
    qk_model_close(model);
}

/* Without a probe only the rows from score_from on have logits; their tops are those that a probe sees in all rows, and
 * those of the golden file. */
static void top_tokens_are_the_argmax_of_the_logits(void **state)
{
    (void)state;
    fixture f = open_fixture("mha");
    qk_ckpt *golden = NULL;
    size_t dims[] = { 0, 3, 5 }, n_hits = 0, n_differ = 0;
    uint8_t *mask = mask_of(f.c, QK_SITE_RESID_POST, dims, 3);
    qk_edit zero = { .site = QK_SITE_RESID_POST, .layer = f.c->n_layers - 1, .op = QK_OP_ZERO, .mask = mask };
    qk_condition conditions[2] = { { "baseline", NULL, 0 }, { "zero", &zero, 1 } };
    tops *seen = calloc(1, sizeof *seen);
    qk_probe probe = { .sites = QK_AT(QK_SITE_LOGITS), .see = see_tops, .user = seen };
    qk_pass_spec spec = spec_of(&f);
    spec.conditions = conditions;
    spec.n_conditions = 2;
    assert_true(f.n_tokens < MAX_TOP);
    f.sequences[1].score_from = f.sequences[1].n_tokens / 2;
    f.sequences[2].score_from = f.sequences[2].n_tokens - 1;
    spec.probes = &probe;
    spec.n_probes = 1;
    qk_pass_result *probed = run(&f, &spec);
    assert_null(probed->scores[0].token_top);
    spec.n_probes = 0;
    spec.keep_token_top = true;
    qk_pass_result *kept = run(&f, &spec);
    for (size_t s = 0; s < N_DOCUMENTS; s++)
        for (size_t c = 0; c < 2; c++) {
            const qk_score *score = &kept->scores[2 * s + c];
            size_t from = f.sequences[s].score_from;
            assert_int_equal(score->n_tokens, f.sequences[s].n_tokens - from);
            for (size_t i = 0; i < score->n_tokens; i++) {
                assert_int_equal(score->token_top[i], seen->id[c][s][from + i - 1]);
                n_hits += score->token_top[i] == f.sequences[s].tokens[from + i];
                n_differ += seen->id[0][s][from + i - 1] != seen->id[1][s][from + i - 1];
            }
        }
    assert_true(n_differ > 0); /* else the two conditions would prove nothing */
    assert_true(n_hits < f.n_tokens);
    assert_ok(qk_ckpt_open_safetensors(&golden, data_path("golden/mha/golden.safetensors"), err));
    const qk_tensor *logits = qk_ckpt_find(golden, "hook_logits");
    for (size_t i = 0; i + 1 < f.n_tokens; i++)
        assert_int_equal(kept->scores[0].token_top[i],
                         argmax((const float *)(const void *)logits->data + i * (size_t)f.c->n_vocab, (size_t)f.c->n_vocab));
    qk_pass_result_free(probed), qk_pass_result_free(kept);
    qk_ckpt_close(golden);
    free(seen), free(mask);
    close_fixture(&f);
}

static void an_edit_that_keeps_values_is_no_edit(void **state)
{
    (void)state;
    fixture f = open_fixture("gqa");
    size_t dims[] = { 0, 3 };
    uint8_t *mask = mask_of(f.c, QK_SITE_Q, dims, 2);
    qk_edit keep = { .site = QK_SITE_Q, .layer = 0, .op = QK_OP_SCALE, .amount = 1, .mask = mask };
    qk_condition conditions[2] = { { "baseline", NULL, 0 }, { "keep", &keep, 1 } };
    qk_pass_spec spec = spec_of(&f);
    spec.conditions = conditions;
    spec.n_conditions = 2;
    char message[500];
    assert_int_equal(run_status(&f, &spec, message), QK_E_CHECK);
    assert_non_null(strstr(message, "\"keep\": the edit at blocks.0.attn.hook_q changed nothing"));
    spec.allow_idle_edits = true;
    for (int reference = 0; reference < 2; reference++) {
        spec.reference = reference;
        qk_pass_result *r = run(&f, &spec);
        for (size_t s = 0; s < N_DOCUMENTS; s++) assert_near(r->scores[2 * s + 1].nll, r->scores[2 * s].nll, reference ? 0 : 1e-5);
        qk_pass_result_free(r);
    }
    free(mask);
    close_fixture(&f);
}

typedef struct seen { double sum_abs[2][3]; uint64_t rows[2][3]; size_t dims[2], n_dims; } seen;

static qk_status see_q(void *user, const qk_view *view, qk_error *err)
{
    seen *s = user;
    (void)err;
    for (size_t i = 0; i < view->n_rows; i++)
        for (size_t j = 0; j < s->n_dims; j++)
            s->sum_abs[view->condition][view->sequence] += fabs((double)view->x[i * view->stride + s->dims[j]]);
    s->rows[view->condition][view->sequence] += view->n_rows;
    return QK_OK;
}

static void receipts_tell_what_was_done(void **state)
{
    (void)state;
    fixture f = open_fixture("qwen2");
    seen s = { .dims = { 1, 9 }, .n_dims = 2 };
    uint8_t *mask = mask_of(f.c, QK_SITE_Q, s.dims, 2);
    qk_edit zero = { .site = QK_SITE_Q, .layer = 1, .op = QK_OP_ZERO, .mask = mask };
    qk_condition conditions[2] = { { "baseline", NULL, 0 }, { "zero", &zero, 1 } };
    qk_probe probe = { .sites = QK_AT(QK_SITE_Q), .layer_from = 1, .layer_to = 2, .see = see_q, .user = &s };
    qk_pass_spec spec = spec_of(&f);
    spec.conditions = conditions;
    spec.n_conditions = 2;
    spec.probes = &probe;
    spec.n_probes = 1;
    qk_pass_result *r = run(&f, &spec);
    for (size_t d = 0; d < N_DOCUMENTS; d++) {
        const qk_receipt *receipt = r->receipts[2 * d + 1];
        assert_int_equal(receipt->visited, 2 * f.sequences[d].n_tokens);
        assert_int_equal(receipt->changed, receipt->visited);
        assert_near(receipt->sum_abs, s.sum_abs[0][d], 1e-9);
        assert_true(s.sum_abs[1][d] == 0); /* the probe stands behind the edit */
        assert_int_equal(s.rows[0][d], f.sequences[d].n_tokens);
        assert_true(r->scores[2 * d].nll != r->scores[2 * d + 1].nll);
    }
    qk_pass_result_free(r);
    free(mask);
    close_fixture(&f);
}

/* Two edits alike each keep their own receipt, in every condition of the class, and no probe changes one. */
static void equal_edits_keep_their_own_receipts(void **state)
{
    (void)state;
    fixture f = open_fixture("mha");
    size_t dims[] = { 3 };
    uint8_t *mask = mask_of(f.c, QK_SITE_Q, dims, 1), *last_mask = mask_of(f.c, QK_SITE_LN_FINAL_OUT, dims, 1);
    const qk_edit twice = { .site = QK_SITE_Q, .layer = 1, .op = QK_OP_SCALE, .amount = 2, .mask = mask };
    const qk_edit edits[] = { twice, twice, { .site = QK_SITE_LN_FINAL_OUT, .op = QK_OP_ZERO, .mask = last_mask } };
    const qk_condition conditions[2] = { { "twice", edits, 3 }, { "again", edits, 3 } };
    seen s = { .dims = { 3 }, .n_dims = 1 };
    qk_probe probe = { .sites = QK_AT(QK_SITE_LN_FINAL_OUT), .see = see_q, .user = &s };
    qk_pass_spec spec = spec_of(&f);
    spec.conditions = conditions;
    spec.n_conditions = 2;
    qk_pass_result *r = run(&f, &spec);
    spec.probes = &probe;
    spec.n_probes = 1;
    qk_pass_result *probed = run(&f, &spec);
    for (size_t i = 0; i < N_DOCUMENTS * 2; i++) {
        const qk_receipt *receipt = r->receipts[i];
        for (int e = 0; e < 3; e++) assert_int_equal(receipt[e].visited, f.sequences[i / 2].n_tokens);
        assert_true(receipt[0].sum_abs > 0 && receipt[1].sum_abs == 2 * receipt[0].sum_abs);
        assert_memory_equal(receipt, probed->receipts[i], 3 * sizeof *receipt);
    }
    assert_true(same_nll(r, 0, probed, 1));
    qk_pass_result_free(r), qk_pass_result_free(probed);
    free(mask), free(last_mask);
    close_fixture(&f);
}

/* Conditions that differ in the last layer only: one computation up to there, the same numbers as alone. */
static void forks_equal_separate_runs(void **state)
{
    (void)state;
    fixture f = open_fixture("mha");
    int last = f.c->n_layers - 1;
    size_t a[] = { 2 }, b[] = { 5 };
    uint8_t *mask_a = mask_of(f.c, QK_SITE_K, a, 1), *mask_b = mask_of(f.c, QK_SITE_K, b, 1);
    qk_edit both[2] = { { .site = QK_SITE_V, .layer = 0, .op = QK_OP_ZERO, .mask = mask_a },
                        { .site = QK_SITE_K, .layer = last, .op = QK_OP_ZERO, .mask = mask_a } };
    qk_edit other[2] = { both[0], { .site = QK_SITE_K, .layer = last, .op = QK_OP_ZERO, .mask = mask_b } };
    qk_condition conditions[4] = { { "baseline", NULL, 0 }, { "a", both, 2 }, { "b", other, 2 }, { "a again", both, 2 } };
    qk_pass_spec spec = spec_of(&f);
    spec.conditions = conditions;
    spec.n_conditions = 4;
    for (int reference = 0; reference < 2; reference++) {
        spec.reference = reference;
        qk_pass_result *together = run(&f, &spec);
        assert_true(same_nll(together, 1, together, 3));
        assert_false(same_nll(together, 1, together, 2));
        for (size_t c = 0; c < 4; c++) {
            qk_pass_spec alone = spec;
            alone.conditions = &conditions[c];
            alone.n_conditions = 1;
            qk_pass_result *r = run(&f, &alone);
            for (size_t s = 0; s < N_DOCUMENTS; s++) {
                assert_near(together->scores[4 * s + c].nll, r->scores[s].nll, reference ? 0 : 1e-5);
                for (size_t e = 0; e < conditions[c].n_edits; e++)
                    assert_int_equal(together->receipts[4 * s + c][e].changed, r->receipts[s][e].changed);
            }
            qk_pass_result_free(r);
        }
        qk_pass_result_free(together);
    }
    free(mask_a), free(mask_b);
    close_fixture(&f);
}

/* Without rotation a constant added to every key shifts each row of scores: zero, 3 and -7 in a key dim are one edit
 * (science: softmax is blind to it).  With rotation they are not. */
static void without_rotation_constants_in_keys_do_not_matter(void **state)
{
    (void)state;
    const char *const names[2] = { "nope", "mha" };
    for (int i = 0; i < 2; i++) {
        fixture f = open_fixture(names[i]);
        size_t dims[] = { 1 }, width = qk_site_width(f.c, QK_SITE_K);
        uint8_t *mask = mask_of(f.c, QK_SITE_K, dims, 1);
        float *values[3];
        qk_edit edits[3];
        qk_condition conditions[3];
        const float constants[3] = { 0, 3, -7 };
        for (int v = 0; v < 3; v++) {
            values[v] = malloc(width * sizeof(float));
            for (size_t d = 0; d < width; d++) values[v][d] = constants[v];
            edits[v] = (qk_edit){ .site = QK_SITE_K, .layer = 0, .op = QK_OP_MEAN, .mask = mask, .values = values[v] };
            conditions[v] = (qk_condition){ "constant", &edits[v], 1 };
        }
        qk_pass_spec spec = spec_of(&f);
        spec.conditions = conditions;
        spec.n_conditions = 3;
        spec.reference = true;
        qk_pass_result *r = run(&f, &spec);
        for (int v = 1; v < 3; v++) {
            double difference = fabs(r->scores[v].nll - r->scores[0].nll);
            if (i == 0) assert_near(difference, 0, 1e-4);
            else assert_true(difference > 1e-3);
        }
        qk_pass_result_free(r);
        for (int v = 0; v < 3; v++) free(values[v]);
        free(mask);
        close_fixture(&f);
    }
}

/* Scores see only the product of a query pair and its key pair: x4 in one and x1/4 in the other is no change. */
static void a_rotary_pair_may_be_rescaled(void **state)
{
    (void)state;
    fixture f = open_fixture("mha");
    size_t half = (size_t)f.c->head_dim / 2, pair[] = { 1, 1 + half }, single[] = { 1 };
    for (int whole = 0; whole < 2; whole++) {
        uint8_t *mask = mask_of(f.c, QK_SITE_Q, whole ? pair : single, whole ? 2 : 1);
        qk_edit edits[2] = { { .site = QK_SITE_Q, .layer = 0, .op = QK_OP_SCALE, .amount = 4, .mask = mask },
                             { .site = QK_SITE_K, .layer = 0, .op = QK_OP_SCALE, .amount = 0.25f, .mask = mask } };
        qk_condition conditions[2] = { { "baseline", NULL, 0 }, { "rescaled", edits, 2 } };
        qk_pass_spec spec = spec_of(&f);
        spec.conditions = conditions;
        spec.n_conditions = 2;
        spec.reference = true;
        qk_pass_result *r = run(&f, &spec);
        double difference = fabs(r->scores[0].nll - r->scores[1].nll);
        if (whole) assert_near(difference, 0, 1e-4); /* the whole pair: the rotation commutes */
        else assert_true(difference > 1e-3);         /* one dim of it: it does not */
        qk_pass_result_free(r);
        free(mask);
    }
    close_fixture(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_probes_change_no_bit),
        cmocka_unit_test(rows_left_out_change_no_bit),
        cmocka_unit_test(top_tokens_are_the_argmax_of_the_logits),
        cmocka_unit_test(an_edit_that_keeps_values_is_no_edit),
        cmocka_unit_test(receipts_tell_what_was_done),
        cmocka_unit_test(equal_edits_keep_their_own_receipts),
        cmocka_unit_test(forks_equal_separate_runs),
        cmocka_unit_test(without_rotation_constants_in_keys_do_not_matter),
        cmocka_unit_test(a_rotary_pair_may_be_rescaled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
