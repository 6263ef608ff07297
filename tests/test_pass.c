/* test_pass.c - identities of the pass that need no oracle, and what it refuses. */
#include "golden.h"

#include <math.h>

enum { N_DOCUMENTS = 3 };

typedef struct fixture {
    qk_model *model;
    const qk_config *c;
    int32_t *tokens;
    size_t n_tokens;
    qk_sequence sequences[N_DOCUMENTS]; /* the whole golden text, its first half, its second half */
} fixture;

static fixture open_fixture(const char *name)
{
    fixture f = { 0 };
    char path[100];
    qk_ckpt *golden = NULL;
    snprintf(path, sizeof path, "golden/%s", name);
    assert_ok(qk_model_open(&f.model, data_path(path), NULL, err));
    snprintf(path, sizeof path, "golden/%s/golden.safetensors", name);
    assert_ok(qk_ckpt_open_safetensors(&golden, data_path(path), err));
    f.tokens = golden_tokens(&f.n_tokens, golden);
    qk_ckpt_close(golden);
    f.c = qk_model_config(f.model);
    size_t half = f.n_tokens / 2;
    f.sequences[0] = (qk_sequence){ f.tokens, f.n_tokens, 1 };
    f.sequences[1] = (qk_sequence){ f.tokens, half, 1 };
    f.sequences[2] = (qk_sequence){ f.tokens + half, f.n_tokens - half, 2 };
    return f;
}

static void close_fixture(fixture *f)
{
    free(f->tokens);
    qk_model_close(f->model);
}

static qk_pass_spec spec_of(const fixture *f)
{
    return (qk_pass_spec){ .sequences = f->sequences, .n_sequences = N_DOCUMENTS, .score = true };
}

static qk_pass_result *run(const fixture *f, const qk_pass_spec *spec)
{
    qk_pass_result *result = NULL;
    assert_ok(qk_pass_run(&result, f->model, spec, err));
    return result;
}

static qk_status run_status(const fixture *f, const qk_pass_spec *spec, char message[500])
{
    qk_pass_result *result = NULL;
    qk_error err = { QK_OK, "" };
    qk_status status = qk_pass_run(&result, f->model, spec, &err);
    assert_int_equal(strchr(err.message, '\n') != NULL, 0);
    if (status) assert_null(result); /* outputs are untouched */
    snprintf(message, 500, "%s", err.message);
    qk_pass_result_free(result);
    return status;
}

static bool same_nll(const qk_pass_result *a, size_t ca, const qk_pass_result *b, size_t cb)
{
    for (size_t s = 0; s < a->n_sequences; s++)
        if (a->scores[s * a->n_conditions + ca].nll != b->scores[s * b->n_conditions + cb].nll) return false;
    return true;
}

/* A mask over one site with the dims in the list set. */
static uint8_t *mask_of(const qk_config *c, qk_site site, const size_t *dims, size_t n)
{
    uint8_t *mask = calloc(qk_site_width(c, site), 1);
    for (size_t i = 0; i < n; i++) mask[dims[i]] = 1;
    return mask;
}

/* ---- identities */

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

/* ---- ops */

typedef struct capture { float *x; size_t width; size_t condition, sequence; } capture;

static qk_status keep_rows(void *user, const qk_view *view, qk_error *err)
{
    capture *c = user;
    (void)err;
    if (view->condition != c->condition || view->sequence != c->sequence) return QK_OK;
    for (size_t i = 0; i < view->n_rows; i++)
        memcpy(c->x + (view->row0 + i) * c->width, view->x + i * view->stride, c->width * sizeof(float));
    return QK_OK;
}

/* Rows of `site` in layer 0 under `edit` (NULL: baseline), malloc'ed. */
static float *rows_under(const fixture *f, const qk_edit *edit, qk_site site)
{
    capture c = { .width = qk_site_width(f->c, site) };
    c.x = calloc(f->n_tokens * c.width, sizeof(float));
    qk_condition condition = { "x", edit, edit ? 1 : 0 };
    qk_probe probe = { .sites = QK_AT(site), .layer_from = 0, .layer_to = 1, .see = keep_rows, .user = &c };
    qk_pass_spec spec = { .sequences = f->sequences, .n_sequences = 1, .conditions = &condition, .n_conditions = 1, .probes = &probe, .n_probes = 1 };
    qk_pass_result *r = run(f, &spec);
    qk_pass_result_free(r);
    return c.x;
}

static void ops_do_what_their_names_say(void **state)
{
    (void)state;
    fixture f = open_fixture("mha");
    qk_site site = QK_SITE_ROT_K;
    size_t width = qk_site_width(f.c, site), dims[] = { 0, 3, 4 }, n = f.n_tokens, from = 2, to = n - 1;
    uint8_t *mask = mask_of(f.c, site, dims, 3);
    float *values = malloc(width * sizeof *values), *bank = malloc(2 * width * sizeof *bank), *before = rows_under(&f, NULL, site);
    for (size_t d = 0; d < width; d++) {
        values[d] = (float)d + 0.5f;
        bank[d] = 100 + (float)d;
        bank[width + d] = 200 + (float)d;
    }
    for (int op = 0; op < QK_N_OPS; op++) {
        qk_edit edit = { .site = site, .layer = 0, .op = (qk_op)op, .mask = mask, .values = values, .bank = bank, .n_bank_rows = 2,
                         .amount = 2, .seed = 7, .position_from = from, .position_to = to };
        float *after = rows_under(&f, &edit, site), *again = rows_under(&f, &edit, site);
        assert_memory_equal(after, again, n * width * sizeof(float));
        double drift = 0, sum_before = 0, sum_after = 0;
        for (size_t d = 0; d < width; d++) {
            double mean = 0;
            for (size_t t = from; t < to; t++) mean += before[t * width + d] / (double)(to - from);
            for (size_t t = 0; t < n; t++) {
                float a = after[t * width + d], b = before[t * width + d];
                if (!mask[d] || t < from || t >= to) {
                    assert_true(a == b);
                    continue;
                }
                sum_before += b;
                sum_after += a;
                drift += a - b;
                switch ((qk_op)op) {
                case QK_OP_ZERO: assert_true(a == 0); break;
                case QK_OP_MEAN: assert_true(a == values[d]); break;
                case QK_OP_SEQUENCE_MEAN: assert_near(a, mean, 1e-6); break;
                case QK_OP_RESAMPLE: assert_true(a == bank[d] || a == bank[width + d]); break;
                case QK_OP_SCALE: assert_true(a == 2 * b); break;
                case QK_OP_ADD: assert_true(a == b + 2 * values[d]); break;
                default: break;
                }
            }
        }
        if (op == QK_OP_PERMUTE) assert_near(sum_after, sum_before, 1e-5);
        if (op == QK_OP_NOISE) assert_true(fabs(drift) > 0 && fabs(drift) < 2 * 6 * sqrt(3.0 * (double)n));
        free(after), free(again);
    }
    free(before), free(values), free(bank), free(mask);
    close_fixture(&f);
}

/* Jin et al.: in each head the dims of largest norm get one scalar, their mean over dims and positions. */
static void top_dims_of_each_head_get_their_mean(void **state)
{
    (void)state;
    fixture f = open_fixture("gqa");
    enum { K = 2 };
    qk_site site = QK_SITE_ROT_Q;
    size_t d = (size_t)f.c->head_dim, width = qk_site_width(f.c, site), n = f.n_tokens;
    qk_edit edit = { .site = site, .layer = 0, .op = QK_OP_HEAD_MEAN, .top_k = K };
    float *before = rows_under(&f, NULL, site), *after = rows_under(&f, &edit, site);
    for (int h = 0; h < f.c->n_heads; h++) {
        double norms[256] = { 0 }, mean = 0;
        size_t changed = 0;
        for (size_t j = 0; j < d; j++)
            for (size_t t = 0; t < n; t++) norms[j] += pow(before[t * width + (size_t)h * d + j], 2);
        for (size_t j = 0; j < d; j++) {
            size_t larger = 0;
            for (size_t i = 0; i < d; i++) larger += norms[i] > norms[j];
            for (size_t t = 0; larger < K && t < n; t++) mean += before[t * width + (size_t)h * d + j] / (double)(K * n);
        }
        for (size_t j = 0; j < d; j++) {
            size_t larger = 0;
            for (size_t i = 0; i < d; i++) larger += norms[i] > norms[j];
            for (size_t t = 0; t < n; t++) {
                float a = after[t * width + (size_t)h * d + j];
                if (larger < K) assert_near(a, mean, 1e-6);
                else assert_true(a == before[t * width + (size_t)h * d + j]);
                changed += larger < K;
            }
        }
        assert_int_equal(changed, K * n);
    }
    free(before), free(after);
    close_fixture(&f);
}

/* ---- what it refuses, and how it stops */

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
    size_t low = 1 << 20, high = plan.total_bytes;
    while (low + 1024 < high) { /* the smallest budget that is accepted */
        size_t middle = (low + high) / 2;
        spec.max_bytes = middle;
        if (qk_pass_plan(&plan, f.model, &spec, NULL) == QK_OK) high = middle;
        else low = middle;
    }
    spec.max_bytes = high;
    assert_ok(qk_pass_plan(&plan, f.model, &spec, err));
    assert_true(plan.total_bytes <= high);
    assert_true(plan.n_groups > 1);
    qk_pass_result *tight = run(&f, &spec);
    for (size_t s = 0; s < N_DOCUMENTS; s++) assert_near(tight->scores[s].nll, free_run->scores[s].nll, 1e-5);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_probes_change_no_bit), cmocka_unit_test(top_tokens_are_the_argmax_of_the_logits),
        cmocka_unit_test(an_edit_that_keeps_values_is_no_edit),
        cmocka_unit_test(receipts_tell_what_was_done),
        cmocka_unit_test(equal_edits_keep_their_own_receipts), cmocka_unit_test(forks_equal_separate_runs),
        cmocka_unit_test(without_rotation_constants_in_keys_do_not_matter), cmocka_unit_test(a_rotary_pair_may_be_rescaled),
        cmocka_unit_test(ops_do_what_their_names_say), cmocka_unit_test(top_dims_of_each_head_get_their_mean),
        cmocka_unit_test(bf16_products_are_near),
        cmocka_unit_test(non_finite_values_are_located), cmocka_unit_test(a_budget_is_kept_or_refused),
        cmocka_unit_test(it_stops_when_asked_and_skips_what_is_done), cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(sites_are_found_by_every_name), cmocka_unit_test(rotary_frequencies_match_the_papers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
