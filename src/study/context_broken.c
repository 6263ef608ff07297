/* context_broken.c - pass keys with massive dims broken: is what is found at a length found by them? */
#include <math.h>
#include <stdlib.h>

#include "study/context.h"

enum { MASK_TOKENS = 512 /* of a document that masks are found on, as in tasks */, SIGN_FLIP_DRAWS = 20000 };

/* Without massive dims there is nothing to break: that is said, and the model is asked as it is. */
qk_status qk_context_plan_broken(qk_context *c, size_t model, qk_error *err)
{
    const qk_context_settings *s = c->settings;
    const qk_named_model *named = &c->models[model];
    size_t trained = qk_trained_context(&named->model->config), cut = trained < MASK_TOKENS ? trained : MASK_TOKENS;
    qk_error why = { QK_OK, "" };
    c->is_broken[model] = true;
    if (c->plan_only) return QK_OK;
    qk_status status = qk_study_reserve(&c->budget, qk_disrupt_table_bytes(&named->model->config, &s->edits, 0),
                                        "masks of massive dims", err);
    if (!status) status = qk_study_tokenize(s->masks_from, named, cut, c->compute->no_bos, err);
    if (status) return status;
    status = qk_disrupt_plan_model(&c->edits, named, s->masks_from, &s->edits,
                                   qk_disrupt_layer_flags(c->models, c->n_models), &c->budget, &why);
    if (status && status != QK_E_CHECK) return qk_fail(err, status, "%s", why.message);
    c->is_broken[model] = status == QK_OK;
    for (size_t e = 0; !status && e < c->edits.arms[1].n_edits; e++)
        c->n_dims[model] += c->edits.arms[1].n_dims[e];
    if (!status) return QK_OK;
    return qk_json_warn(c->notes, err, "%s (this model was not broken)", why.message);
}

bool *qk_context_broken(const qk_context *c, size_t k, size_t arm, size_t length, size_t depth)
{
    const qk_context_settings *s = c->settings;
    size_t row = ((k * c->n_arms + arm) * s->n_task_lengths + length) * s->n_depths + depth;
    return c->broken + row * s->trials;
}

/* ---- shares */

/* Conditions as rows: massive, mean where asked for, the mean over the controls. */
typedef struct shown { const char *name; size_t first, n; } shown; /* of the broken conditions */

static size_t conditions_of(shown out[3], const qk_context *c)
{
    const qk_disrupt_settings *e = &c->settings->edits;
    size_t n = 0;
    out[n++] = (shown){ "massive", 0, 1 };
    if (e->both_ops) out[n++] = (shown){ "mean", 1, 1 };
    if (e->n_controls) out[n++] = (shown){ "random", 1 + e->both_ops, e->n_controls };
    return n;
}

/* Of each prompt at a length: 1 or 0, or the share of controls; returns how many. */
static size_t marks_of(double *out, const qk_context *c, const shown *condition, size_t arm, size_t length)
{
    size_t n = 0, n_trials = qk_context_trials(c, c->task_lengths[length]);
    for (size_t d = 0; d < c->settings->n_depths; d++)
        for (size_t i = 0; i < n_trials; i++, n++) {
            out[n] = 0;
            if (!condition) out[n] = qk_context_found(c, arm, QK_TASK_PASS_KEY, length, d)[i].right;
            for (size_t k = 0; condition && k < condition->n; k++)
                out[n] += (double)qk_context_broken(c, condition->first + k, arm, length, d)[i] / (double)condition->n;
        }
    return n;
}

static void put_place(qk_row *row, const qk_context *c, size_t arm, const char *condition, size_t length)
{
    qk_context_put_arm(row, c, arm);
    qk_row_text(row, "condition", condition);
    qk_context_put_length(row, c->settings->task_lengths[length], c->task_lengths[length]);
}

static qk_status add_share(json_t *rows, const qk_context *c, const shown *condition, size_t arm, size_t length,
                           double *marks, qk_error *err)
{
    size_t n = marks_of(marks, c, condition, arm, length);
    qk_row row = qk_row_start();
    qk_interval wilson = qk_wilson(qk_sum(marks, n), n);
    put_place(&row, c, arm, condition->name, length);
    qk_row_count(&row, "dims", c->n_dims[c->arms[arm].model]);
    qk_row_count(&row, "n", n);
    qk_row_number(&row, "right", qk_sum(marks, n));
    qk_row_number(&row, "accuracy", wilson.estimate);
    qk_row_estimate(&row, "ci95", &wilson);
    return qk_row_append(rows, &row, err);
}

/* ---- tests on the same prompts */

static qk_test compare(const double *broken, const double *other, size_t n, bool averaged)
{
    size_t only_broken = 0, only_other = 0;
    for (size_t i = 0; i < n; i++) {
        only_broken += broken[i] > other[i];
        only_other += broken[i] < other[i];
    }
    if (!averaged) return qk_test_mcnemar(n, only_broken, only_other);
    qk_test test = qk_test_sign_flip(broken, other, n, SIGN_FLIP_DRAWS, 0);
    qk_interval ci = qk_paired_share(broken, other, n);
    test.estimate = ci.estimate;
    test.ci_low = ci.low;
    test.ci_high = ci.high;
    return test;
}

/* `condition` against the baseline, or massive against the mean of the controls. */
static qk_status add_test(json_t *rows, double *log10_p, const qk_context *c, const shown *condition,
                          const shown *against, size_t arm, size_t length, double *marks, qk_error *err)
{
    size_t n = marks_of(marks, c, condition, arm, length);
    marks_of(marks + n, c, against, arm, length);
    qk_test test = compare(marks, marks + n, n, condition->n > 1 || (against && against->n > 1));
    json_t *object = qk_json_test(&test, NULL);
    qk_row row = { object, !object };
    *log10_p = test.refused ? NAN : test.log10_p;
    put_place(&row, c, arm, condition->name, length);
    qk_row_text(&row, "against", against ? against->name : "baseline");
    return qk_row_append(rows, &row, err);
}

/* All rows of one arm at one length.  Up to the trained context the arms of a model are one: its first is tested. */
static qk_status add_place(json_t *results, double *log10_p, const qk_context *c, size_t arm, size_t length,
                           double *marks, qk_error *err)
{
    json_t *rows = json_object_get(results, "broken"), *tests = json_object_get(results, "broken_tests");
    size_t model = c->arms[arm].model, trained = qk_trained_context(&c->models[model].model->config);
    bool tested = c->task_lengths[length] > trained || arm == qk_context_first_arm(c, model);
    shown conditions[3];
    size_t n = conditions_of(conditions, c);
    qk_status status = QK_OK;
    for (size_t k = 0; !status && k < n; k++) {
        status = add_share(rows, c, &conditions[k], arm, length, marks, err);
        if (!status && tested)
            status = add_test(tests, log10_p + json_array_size(tests), c, &conditions[k], NULL, arm, length, marks,
                              err);
    }
    if (!status && tested && c->settings->edits.n_controls)
        status = add_test(tests, log10_p + json_array_size(tests), c, &conditions[0], &conditions[n - 1], arm, length,
                          marks, err);
    return status;
}

qk_status qk_context_broken_rows(json_t *results, const qk_context *c, qk_error *err)
{
    enum { TESTS = 4 /* at most, of one arm at one length */ };
    const qk_context_settings *s = c->settings;
    json_t *tests = json_object_get(results, "broken_tests");
    double *log10_p = NULL, *marks = NULL;
    qk_status status = qk_new_array(&log10_p, TESTS * c->n_arms * s->n_task_lengths + 1, sizeof *log10_p, "p-values",
                                    err);
    if (!status) status = qk_new_array(&marks, 2 * s->n_depths * s->trials + 1, sizeof *marks, "prompts", err);
    for (size_t a = 0; !status && a < c->n_arms; a++)
        for (size_t l = 0; !status && l < s->n_task_lengths; l++)
            if (c->is_broken[c->arms[a].model] && qk_context_asks(c, QK_TASK_PASS_KEY, l))
                status = add_place(results, log10_p, c, a, l, marks, err);
    size_t n = json_array_size(tests);
    if (!status) qk_holm(log10_p, n);
    for (size_t i = 0; !status && i < n; i++)
        status = qk_json_set(json_array_get(tests, i), "log10_p_holm", qk_json_number(log10_p[i]), err);
    free(log10_p);
    free(marks);
    return status;
}
