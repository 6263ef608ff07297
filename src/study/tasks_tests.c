/* tasks_tests.c - conditions, kinds and models against each other; the question is the unit, and one family of all
 * tests. */
#include "study/tasks.h"

#include <math.h>
#include <stdlib.h>

enum { SIGN_FLIP_DRAWS = 20000 };

typedef struct tests {
    json_t *rows;
    double *log10_p;      /* [n] */
    size_t n;
    const qk_quiz *quiz;
    double *x, *y;        /* [questions] scratch */
} tests;

/* What a row of tests[] is about. */
typedef struct subject {
    const char *contrast;         /* "conditions", "kinds", "models", "losses" */
    const char *comparison;       /* which questions */
    size_t models[2];
    const char *conditions[2];
} subject;

static qk_status add_test(tests *t, const subject *s, const qk_test *test, const size_t count[2][2], double detectable,
                          qk_error *err)
{
    static const struct { const char *key; int first, second; } cells[] = {
        { "both", 1, 1 }, { "only_first", 1, 0 }, { "only_second", 0, 1 }, { "neither", 0, 0 },
    };
    json_t *object = qk_json_test(test, NULL);
    qk_row row = { object, !object };
    t->log10_p[t->n++] = test->refused ? NAN : test->log10_p;
    qk_row_text(&row, "contrast", s->contrast);
    qk_row_text(&row, "comparison", s->comparison);
    qk_row_json(&row, "models", json_pack("[I,I]", (json_int_t)s->models[0], (json_int_t)s->models[1]));
    qk_row_json(&row, "conditions", json_pack("[s,s]", s->conditions[0], s->conditions[1]));
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        qk_row_json(&row, cells[i].key, count ? json_integer((json_int_t)count[cells[i].first][cells[i].second])
                                              : json_null());
    qk_row_number(&row, "detectable", detectable);
    return qk_row_append(t->rows, &row, err);
}

/* Of paired differences in [-1, 1], half a question added to each of the four cells: never 0. */
static double spread(const double *x, const double *y, size_t n)
{
    double sum = 0, squares = 1, adjusted = (double)n + 2;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] - y[i];
        squares += (x[i] - y[i]) * (x[i] - y[i]);
    }
    return sqrt(fmax(0, squares / adjusted - sum / adjusted * (sum / adjusted)));
}

static bool is_of_kind(const qk_quiz *quiz, size_t question, int kind)
{
    return quiz->categories[quiz->items[question].category].contextual == (kind == 1);
}

/* Two verdicts on each question of one kind: first and second. */
static qk_status compare_verdicts(tests *t, subject s, const qk_marks *first, const qk_marks *second, int kind,
                                  qk_error *err)
{
    size_t count[2][2] = { { 0 } }, n = 0; /* [first is right][second is right] */
    bool averaged = first->averaged || second->averaged;
    for (size_t i = 0; i < t->quiz->n; i++) {
        if (!is_of_kind(t->quiz, i, kind)) continue;
        t->x[n] = second->right[i];
        t->y[n++] = first->right[i];
        if (!averaged) count[first->right[i] > 0][second->right[i] > 0]++;
    }
    if (n == 0) return QK_OK;
    s.comparison = qk_quiz_kinds[kind];
    s.conditions[0] = first->name;
    s.conditions[1] = second->name;
    if (!averaged) {
        qk_test test = qk_test_mcnemar(n, count[0][1], count[1][0]);
        double differing = ((double)(count[0][1] + count[1][0]) + 1) / ((double)n + 2); /* never 0 */
        return add_test(t, &s, &test, count, qk_minimal_detectable_mcnemar(n, differing), err);
    }
    double detectable = qk_minimal_detectable_effect(spread(t->x, t->y, n), n);
    qk_test test = qk_test_sign_flip(t->x, t->y, n, SIGN_FLIP_DRAWS, 0);
    qk_interval ci = qk_paired_share(t->x, t->y, n);
    test.estimate = ci.estimate;
    test.ci_low = ci.low;
    test.ci_high = ci.high;
    return add_test(t, &s, &test, NULL, detectable, err);
}

/* What `broken` loses against the baseline, question by question, into out; returns how many are of the kind. */
static size_t losses(double *out, const tests *t, const qk_marked *marked, const qk_marks *broken, int kind)
{
    size_t n = 0;
    for (size_t i = 0; i < t->quiz->n; i++)
        if (is_of_kind(t->quiz, i, kind)) out[n++] = marked->marks[0].right[i] - broken->right[i];
    return n;
}

/* Does the condition cost more contextual answers than parametric ones?  The questions are different ones. */
static qk_status compare_kinds(tests *t, const qk_marked *marked, const qk_marks *broken, size_t model, qk_error *err)
{
    subject s = { "kinds", "contextual against parametric", { model, model }, { "baseline", broken->name } };
    size_t n_contextual = losses(t->x, t, marked, broken, 1), n_parametric = losses(t->y, t, marked, broken, 0);
    if (n_contextual == 0 || n_parametric == 0) return QK_OK;
    qk_test test = qk_test_welch(t->x, n_contextual, t->y, n_parametric);
    return add_test(t, &s, &test, NULL, NAN, err);
}

/* Does the condition cost the second model more than the first? */
static qk_status compare_losses(tests *t, const qk_marked *a, const qk_marked *b, const qk_marks *in_a,
                                const qk_marks *in_b, const size_t models[2], int kind, qk_error *err)
{
    subject s = { "losses", qk_quiz_kinds[kind], { models[0], models[1] }, { in_a->name, in_b->name } };
    size_t n = losses(t->y, t, a, in_a, kind);
    losses(t->x, t, b, in_b, kind);
    if (n == 0) return QK_OK;
    qk_test test = qk_test_sign_flip(t->x, t->y, n, SIGN_FLIP_DRAWS, 0), paired = qk_test_paired_t(t->x, t->y, n);
    test.estimate = qk_mean(t->x, n) - qk_mean(t->y, n);
    test.ci_low = paired.ci_low;
    test.ci_high = paired.ci_high;
    for (size_t i = 0; i < n; i++) t->x[i] -= t->y[i];
    double detectable = paired.refused ? NAN : qk_minimal_detectable_effect(qk_sd(t->x, n, 1), n);
    return add_test(t, &s, &test, NULL, detectable, err);
}

static const qk_marks *find(const qk_marked *marked, qk_arm_kind kind, bool averaged)
{
    for (size_t m = 0; m < marked->n; m++)
        if (marked->marks[m].kind == kind && marked->marks[m].averaged == averaged) return &marked->marks[m];
    return NULL;
}

static qk_status test_model(tests *t, const qk_marked *marked, size_t model, qk_error *err)
{
    const qk_marks *baseline = &marked->marks[0], *massive = find(marked, QK_ARM_MASSIVE, false);
    const qk_marks *mean = find(marked, QK_ARM_MEAN, false), *random = find(marked, QK_ARM_RANDOM, true);
    const subject s = { .contrast = "conditions", .models = { model, model } };
    qk_status status = QK_OK;
    for (int k = 0; !status && k < 2; k++) {
        if (massive) status = compare_verdicts(t, s, baseline, massive, k, err);
        if (!status && mean) status = compare_verdicts(t, s, baseline, mean, k, err);
        if (!status && random) status = compare_verdicts(t, s, random, massive, k, err);
    }
    if (!status && massive) status = compare_kinds(t, marked, massive, model, err);
    if (!status && mean) status = compare_kinds(t, marked, mean, model, err);
    return status;
}

static qk_status test_pair(tests *t, const qk_marked *all, size_t a, size_t b, qk_error *err)
{
    const qk_marks *in_a = find(&all[a], QK_ARM_MASSIVE, false), *in_b = find(&all[b], QK_ARM_MASSIVE, false);
    const subject s = { .contrast = "models", .models = { a, b } };
    qk_status status = QK_OK;
    for (int k = 0; !status && k < 2; k++) {
        status = compare_verdicts(t, s, &all[a].marks[0], &all[b].marks[0], k, err);
        if (!status && in_a && in_b) status = compare_losses(t, &all[a], &all[b], in_a, in_b, s.models, k, err);
    }
    return status;
}

qk_status qk_tasks_tests(json_t *results, const qk_quiz *quiz, const qk_marked *marked, size_t n_models, qk_error *err)
{
    tests t = { .rows = json_object_get(results, "tests"), .quiz = quiz };
    qk_status status = qk_new_array(&t.log10_p, 8 * n_models + 4 * n_models * n_models, sizeof *t.log10_p, "p-values",
                                    err);
    if (!status) status = qk_new_array(&t.x, quiz->n, 2 * sizeof *t.x, "questions", err);
    if (!status) t.y = t.x + quiz->n;
    for (size_t m = 0; !status && m < n_models; m++) status = test_model(&t, &marked[m], m, err);
    for (size_t a = 0; !status && a < n_models; a++)
        for (size_t b = a + 1; !status && b < n_models; b++) status = test_pair(&t, marked, a, b, err);
    if (!status) qk_holm(t.log10_p, t.n);
    for (size_t i = 0; !status && i < t.n; i++)
        status = qk_json_set(json_array_get(t.rows, i), "log10_p_holm", qk_json_number(t.log10_p[i]), err);
    free(t.log10_p);
    free(t.x);
    return status;
}
