/* tasks_rows.c - what the answers say: accuracy by category and kind beside what guessing would reach, and models
 * against each other on the same questions. */
#include "study/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = { "parametric", "contextual" };

/* ---- one category */

typedef struct tally {
    size_t n, n_right, n_tokens; /* questions; tokens of their answers */
    double nll, chance;          /* summed; chance becomes NaN with the first question that has none */
    double most_common;          /* share of the most frequent answer: what always saying it would reach */
} tally;

static int compare_answers(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static qk_status count_category(tally *out, const qk_quiz *quiz, const qk_asked *asked, size_t category, qk_error *err)
{
    const char **answers = NULL;
    size_t most = 0;
    *out = (tally) { 0 };
    qk_status status = qk_new_array(&answers, quiz->n, sizeof *answers, "answers", err);
    if (status) return status;
    for (size_t i = 0; i < quiz->n; i++) {
        if (quiz->items[i].category != category) continue;
        answers[out->n++] = quiz->items[i].answer;
        out->n_right += asked[i].right;
        out->n_tokens += asked[i].n_answer;
        out->nll += asked[i].nll;
        out->chance += quiz->items[i].chance;
    }
    qsort(answers, out->n, sizeof *answers, compare_answers);
    for (size_t i = 0, same = 0; i < out->n; i++) {
        same = i > 0 && strcmp(answers[i - 1], answers[i]) == 0 ? same + 1 : 1;
        if (same > most) most = same;
    }
    out->most_common = (double)most / (double)out->n;
    free(answers);
    return QK_OK;
}

static void put_accuracy(qk_row *row, const tally *t)
{
    qk_interval wilson = qk_wilson(t->n_right, t->n);
    qk_row_count(row, "questions", t->n);
    qk_row_count(row, "right", t->n_right);
    qk_row_number(row, "accuracy", wilson.estimate);
    qk_row_estimate(row, "ci95", &wilson);
}

static qk_status add_category(json_t *results, const qk_quiz_category *category, const tally *t, size_t model,
                              qk_error *err)
{
    double n = (double)t->n;
    qk_row row = qk_row_start();
    qk_row_count(&row, "model", model);
    qk_row_text(&row, "category", category->name);
    qk_row_text(&row, "kind", kind_names[category->contextual]);
    put_accuracy(&row, t);
    qk_row_number(&row, "chance", t->chance / n);
    qk_row_number(&row, "most_common", t->most_common);
    qk_row_number(&row, "nll", t->nll / n);
    qk_row_number(&row, "nll_per_token", t->nll / (double)t->n_tokens);
    return qk_row_append(json_object_get(results, "categories"), &row, err);
}

/* ---- one kind */

typedef struct kind_tally {
    tally pooled;
    size_t n_categories;
    qk_interval shares[QK_QUIZ_CATEGORIES];
    double chance, most_common, nll; /* sums over categories */
} kind_tally;

static void add_to_kind(kind_tally *kind, const tally *t)
{
    kind->pooled.n += t->n;
    kind->pooled.n_right += t->n_right;
    kind->shares[kind->n_categories++] = qk_wilson(t->n_right, t->n);
    kind->chance += t->chance / (double)t->n;
    kind->most_common += t->most_common;
    kind->nll += t->nll / (double)t->n;
}

static qk_status add_kind(json_t *results, const kind_tally *kind, size_t index, size_t model, qk_error *err)
{
    double n = (double)kind->n_categories;
    qk_interval macro = qk_mean_share(kind->shares, kind->n_categories);
    qk_row row = qk_row_start();
    qk_row_count(&row, "model", model);
    qk_row_text(&row, "kind", kind_names[index]);
    qk_row_count(&row, "categories", kind->n_categories);
    qk_row_number(&row, "macro", macro.estimate);
    qk_row_estimate(&row, "macro_ci95", &macro);
    put_accuracy(&row, &kind->pooled);
    qk_row_number(&row, "chance", kind->chance / n);
    qk_row_number(&row, "most_common", kind->most_common / n);
    qk_row_number(&row, "nll", kind->nll / n);
    return qk_row_append(json_object_get(results, "kinds"), &row, err);
}

qk_status qk_tasks_rows(json_t *results, const qk_quiz *quiz, const qk_asked *asked, size_t model, qk_error *err)
{
    kind_tally kinds[2] = { 0 };
    qk_status status = QK_OK;
    for (size_t c = 0; !status && c < quiz->n_categories; c++) {
        tally t;
        status = count_category(&t, quiz, asked, c, err);
        if (status) break;
        add_to_kind(&kinds[quiz->categories[c].contextual], &t);
        status = add_category(results, &quiz->categories[c], &t, model, err);
    }
    for (size_t k = 0; !status && k < 2; k++)
        if (kinds[k].n_categories) status = add_kind(results, &kinds[k], k, model, err);
    return status;
}

/* ---- two models */

static qk_status compare(json_t *rows, double *log10_p, const qk_quiz *quiz, qk_asked *const *all, size_t a, size_t b,
                         bool contextual, qk_error *err)
{
    size_t count[2][2] = { { 0 } }; /* [first is right][second is right] */
    for (size_t i = 0; i < quiz->n; i++) {
        if (quiz->categories[quiz->items[i].category].contextual == contextual)
            count[all[a][i].right][all[b][i].right]++;
    }
    size_t n = count[0][0] + count[0][1] + count[1][0] + count[1][1];
    if (n == 0) return QK_OK;
    qk_test test = qk_test_mcnemar(n, count[0][1], count[1][0]);
    json_t *object = qk_json_test(&test, NULL);
    qk_row row = { object, !object };
    *log10_p = test.log10_p;
    qk_row_json(&row, "models", json_pack("[I,I]", (json_int_t)a, (json_int_t)b));
    qk_row_text(&row, "comparison", kind_names[contextual]);
    qk_row_count(&row, "both", count[1][1]);
    qk_row_count(&row, "only_first", count[1][0]);
    qk_row_count(&row, "only_second", count[0][1]);
    qk_row_count(&row, "neither", count[0][0]);
    return qk_row_append(rows, &row, err);
}

qk_status qk_tasks_tests(json_t *results, const qk_quiz *quiz, qk_asked *const *all, size_t n_models, qk_error *err)
{
    json_t *rows = json_object_get(results, "tests");
    double *log10_p = NULL;
    qk_status status = qk_new_array(&log10_p, n_models * n_models + 1, sizeof *log10_p, "p-values", err);
    for (size_t a = 0; !status && a < n_models; a++)
        for (size_t b = a + 1; !status && b < n_models; b++)
            for (int k = 0; !status && k < 2; k++)
                status = compare(rows, log10_p + json_array_size(rows), quiz, all, a, b, k, err);
    size_t n = json_array_size(rows);
    if (!status) qk_holm(log10_p, n);
    for (size_t i = 0; !status && i < n; i++)
        status = qk_json_set(json_array_get(rows, i), "log10_p_holm", qk_json_number(log10_p[i]), err);
    free(log10_p);
    return status;
}
