/* disrupt_tests.c - tests with the document as unit: arms of one model against each other, and models. */
#include "study/disrupt.h"

#include <math.h>
#include <stdlib.h>

enum { SIGN_FLIP_DRAWS = 100000 }; /* beyond 40 documents, where the exact count ends */

/* Tests that Holm's correction takes together: those of one kind, over all models and comparisons. */
typedef enum family { FAMILY_T, FAMILY_SIGN_FLIP, N_FAMILIES } family;

typedef struct tests {
    json_t *rows;
    family *families; /* [n] of the rows */
    double *log10_p;  /* [n] */
    size_t n, capacity;
} tests;

static qk_status add_test(tests *t, json_t *model_key, bool between, const char *comparison, const qk_test *test,
                          const char *effect_name, family kind, qk_error *err)
{
    json_t *row = qk_json_test(test, effect_name);
    qk_status status = qk_json_set(row, between ? "models" : "model", model_key, err);
    if (!status) status = qk_json_set(row, "comparison", json_string(comparison), err);
    if (!status) status = qk_json_append(t->rows, json_incref(row), err);
    json_decref(row);
    if (status) return status;
    t->families[t->n] = kind;
    t->log10_p[t->n++] = test->refused ? NAN : test->log10_p;
    return QK_OK;
}

/* Mean loss of each document under an arm, nats per token. */
static void document_means(double *out, const qk_measured *m, const double *nll)
{
    for (size_t d = 0; d < m->n_documents; d++) out[d] = nll[d] / m->n_tokens[d];
}

static qk_status compare_arms(tests *t, const qk_measured *m, size_t model, const char *comparison, const double *x_nll,
                              const double *y_nll, qk_error *err)
{
    size_t n = m->n_documents;
    double *x = NULL;
    qk_status status = qk_new_array(&x, n, 2 * sizeof *x, "documents", err);
    if (status) return status;
    double *y = x + n;
    document_means(x, m, x_nll);
    document_means(y, m, y_nll);
    qk_test paired = qk_test_paired_t(x, y, n), flips = qk_test_sign_flip(x, y, n, SIGN_FLIP_DRAWS, 0);
    json_t *key = json_integer((json_int_t)model);
    status = add_test(t, json_incref(key), false, comparison, &paired, "d_z", FAMILY_T, err);
    if (!status) status = add_test(t, json_incref(key), false, comparison, &flips, "d_z", FAMILY_SIGN_FLIP, err);
    json_decref(key);
    free(x);
    return status;
}

/* Per-document M-R differences of two models: as independent samples, and paired, the documents being the same. */
static qk_status compare_models(tests *t, const qk_measured *measured, size_t a, size_t b, qk_error *err)
{
    size_t n = measured[a].n_documents;
    double *x = NULL;
    qk_status status = qk_new_array(&x, n, 2 * sizeof *x, "documents", err);
    if (status) return status;
    double *y = x + n;
    for (size_t d = 0; d < n; d++) {
        const qk_measured *ma = &measured[a], *mb = &measured[b];
        x[d] = (qk_arm_nll(ma, 1)[d] - ma->random_nll[d]) / ma->n_tokens[d];
        y[d] = (qk_arm_nll(mb, 1)[d] - mb->random_nll[d]) / mb->n_tokens[d];
    }
    static const char comparison[] = "m_minus_r between models";
    qk_test welch = qk_test_welch(x, n, y, n), paired = qk_test_paired_t(x, y, n);
    json_t *key = json_pack("[I,I]", (json_int_t)a, (json_int_t)b);
    status = add_test(t, json_incref(key), true, comparison, &welch, "Hedges' g", FAMILY_T, err);
    if (!status) status = add_test(t, json_incref(key), true, comparison, &paired, "d_z", FAMILY_T, err);
    json_decref(key);
    free(x);
    return status;
}

static qk_status correct(tests *t, qk_error *err)
{
    double *p = NULL;
    qk_status status = qk_new_array(&p, t->n, sizeof *p, "p-values", err);
    for (int kind = 0; !status && kind < N_FAMILIES; kind++) {
        for (size_t i = 0; i < t->n; i++) p[i] = t->families[i] == (family)kind ? t->log10_p[i] : NAN;
        qk_holm(p, t->n);
        for (size_t i = 0; !status && i < t->n; i++) {
            if (t->families[i] != (family)kind) continue;
            status = qk_json_set(json_array_get(t->rows, i), "log10_p_holm", qk_json_number(p[i]), err);
        }
    }
    free(p);
    return status;
}

static size_t dose(const qk_measured *m)
{
    size_t n = 0;
    if (m->plan.n_arms < 2) return 0;
    for (size_t e = 0; e < m->plan.arms[1].n_edits; e++) n += m->plan.arms[1].n_dims[e];
    return n;
}

qk_status qk_disrupt_warn_dose(json_t *warnings, const qk_measured *measured, size_t n_models, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t b = 1; !status && b < n_models; b++) {
        if (dose(&measured[0]) == dose(&measured[b])) continue;
        status = qk_json_warn(warnings, err, "unequal dose: %zu dims are edited in %s, %zu in %s; a difference "
                              "between the models may be one of dose", dose(&measured[0]), measured[0].model,
                              dose(&measured[b]), measured[b].model);
    }
    return status;
}

qk_status qk_disrupt_tests(json_t *results, const qk_measured *measured, size_t n_models, qk_error *err)
{
    tests t = { .rows = json_object_get(results, "tests"), .capacity = 6 * n_models + n_models * n_models };
    qk_status status = qk_new_array(&t.families, t.capacity, sizeof *t.families, "tests", err);
    if (!status) status = qk_new_array(&t.log10_p, t.capacity, sizeof *t.log10_p, "tests", err);
    for (size_t i = 0; !status && i < n_models; i++) {
        const qk_measured *m = &measured[i];
        const double *baseline = qk_arm_nll(m, 0), *massive = qk_arm_nll(m, 1);
        status = compare_arms(&t, m, i, "massive vs baseline", massive, baseline, err);
        if (status || !m->random_nll) continue;
        status = compare_arms(&t, m, i, "massive vs random", massive, m->random_nll, err);
        if (!status) status = compare_arms(&t, m, i, "random vs baseline", m->random_nll, baseline, err);
    }
    for (size_t a = 0; !status && measured[0].random_nll && a < n_models; a++) {
        for (size_t b = a + 1; !status && b < n_models; b++) status = compare_models(&t, measured, a, b, err);
    }
    if (!status) status = correct(&t, err);
    if (!status) status = qk_disrupt_warn_dose(json_object_get(results, "warnings"), measured, n_models, err);
    free(t.families);
    free(t.log10_p);
    return status;
}
