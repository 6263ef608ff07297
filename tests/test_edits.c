/* test_edits.c - ops do what their names say. */
#include <math.h>

#include "pass_fixture.h"

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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_do_what_their_names_say),
        cmocka_unit_test(top_dims_of_each_head_get_their_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
