/* tasks_rows.c - what the answers say: accuracy by condition, category and kind, beside what guessing would reach and
 * what the baseline had. */
#include "study/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const qk_quiz_kinds[2] = { "parametric", "contextual" };

/* ---- marks */

static qk_status add_marks(qk_marked *out, const char *name, qk_arm_kind kind, size_t n_questions, qk_error *err)
{
    qk_marks *marks = &out->marks[out->n++];
    *marks = (qk_marks) { .name = name, .kind = kind };
    marks->right = qk_arena_alloc(&out->arena, n_questions * sizeof *marks->right);
    marks->unparsed = qk_arena_alloc(&out->arena, n_questions * sizeof *marks->unparsed);
    marks->found = qk_arena_alloc(&out->arena, n_questions * sizeof *marks->found);
    marks->nll = qk_arena_alloc(&out->arena, n_questions * sizeof *marks->nll);
    bool good = marks->right && marks->unparsed && marks->found && marks->nll;
    return good ? QK_OK : qk_out_of_memory(err, "marks", n_questions * sizeof(double));
}

qk_status qk_tasks_mark(qk_marked *out, const qk_answers *a, qk_error *err)
{
    const qk_disrupt_plan *plan = &a->measured.plan;
    size_t n = a->quiz->n;
    double n_controls = 0;
    qk_status status = QK_OK;
    out->marks = qk_arena_alloc(&out->arena, (plan->n_arms + 1) * sizeof *out->marks);
    if (!out->marks) return qk_out_of_memory(err, "marks", plan->n_arms * sizeof *out->marks);
    for (size_t arm = 0; !status && arm < plan->n_arms; arm++) {
        status = add_marks(out, plan->arms[arm].name, plan->arms[arm].kind, n, err);
        for (size_t i = 0; !status && i < n; i++) {
            const qk_reply *reply = qk_reply_of(a, arm, i);
            out->marks[arm].right[i] = qk_is_right(reply);
            out->marks[arm].unparsed[i] = reply->judged.verdict == QK_VERDICT_UNPARSED;
            out->marks[arm].found[i] = reply->judged.found;
            out->marks[arm].nll[i] = qk_arm_nll(&a->measured, arm)[i];
        }
        n_controls += plan->arms[arm].kind == QK_ARM_RANDOM;
    }
    if (status || n_controls == 0) return status;
    status = add_marks(out, "random", QK_ARM_RANDOM, n, err);
    qk_marks *mean = &out->marks[out->n - 1];
    mean->averaged = true;
    for (size_t m = 0; !status && m + 1 < out->n; m++)
        for (size_t i = 0; out->marks[m].kind == QK_ARM_RANDOM && i < n; i++) {
            mean->right[i] += out->marks[m].right[i] / n_controls;
            mean->unparsed[i] += out->marks[m].unparsed[i] / n_controls;
            mean->found[i] += out->marks[m].found[i] / n_controls;
            mean->nll[i] += out->marks[m].nll[i] / n_controls;
        }
    return QK_OK;
}

/* ---- one category */

typedef struct tally {
    size_t n;                /* questions */
    double n_right, n_tokens;/* n_tokens: of the right answers */
    double n_unparsed, found;/* found: summed */
    double nll, chance;      /* summed; chance becomes NaN with the first question that has none */
    double most_common;      /* share of the most frequent answer: what always saying it would reach */
    double level;            /* what needs no reading: chance, or else most_common (0 where no answer comes twice) */
    qk_interval accuracy, loss; /* loss: baseline minus this */
} tally;

static int compare_answers(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static qk_status count_common(tally *t, const qk_quiz *quiz, size_t category, qk_error *err)
{
    const char **answers = NULL;
    size_t n = 0, most = 0;
    qk_status status = qk_new_array(&answers, quiz->n, sizeof *answers, "answers", err);
    if (status) return status;
    for (size_t i = 0; i < quiz->n; i++)
        if (quiz->items[i].category == category) answers[n++] = quiz->items[i].answer;
    qsort(answers, n, sizeof *answers, compare_answers);
    for (size_t i = 0, same = 0; i < n; i++) {
        same = i > 0 && strcmp(answers[i - 1], answers[i]) == 0 ? same + 1 : 1;
        if (same > most) most = same;
    }
    t->most_common = (double)most / (double)n;
    t->level = most > 1 ? t->most_common : 0;
    free(answers);
    return QK_OK;
}

static qk_status count_category(tally *out, const qk_answers *a, const qk_marks *marks, const qk_marks *baseline,
                                size_t category, qk_error *err)
{
    const qk_quiz *quiz = a->quiz;
    double *x = NULL;
    *out = (tally) { 0 };
    qk_status status = count_common(out, quiz, category, err);
    if (!status) status = qk_new_array(&x, quiz->n, 2 * sizeof *x, "questions", err);
    if (status) return status;
    double *y = x + quiz->n;
    for (size_t i = 0; i < quiz->n; i++) {
        if (quiz->items[i].category != category) continue;
        x[out->n] = baseline->right[i];
        y[out->n++] = marks->right[i];
        out->n_right += marks->right[i];
        out->n_unparsed += marks->unparsed[i];
        out->found += marks->found[i];
        out->n_tokens += a->measured.n_tokens[i];
        out->nll += marks->nll[i];
        out->chance += quiz->items[i].chance;
    }
    if (!isnan(out->chance)) out->level = out->chance / (double)out->n;
    out->accuracy = qk_wilson(fmin(out->n_right, (double)out->n), out->n);
    out->loss = qk_paired_share(x, y, out->n);
    free(x);
    return QK_OK;
}

/* Of what lies above the level, the share that is reached: 0 = no better than not reading, 1 = all right. */
static qk_interval above_level(const qk_interval *accuracy, double level)
{
    qk_interval out = *accuracy;
    if (!(level < 1)) out.refused = "nothing lies above guessing";
    out.estimate = (accuracy->estimate - level) / (1 - level);
    out.low = (accuracy->low - level) / (1 - level);
    out.high = (accuracy->high - level) / (1 - level);
    return out;
}

static void put_share(qk_row *row, const char *key, const char *ci_key, const qk_interval *share)
{
    qk_row_number(row, key, share->refused ? NAN : share->estimate);
    qk_row_estimate(row, ci_key, share);
}

static void put_tally(qk_row *row, const char *key, double n, bool averaged)
{
    qk_row_json(row, key, averaged || isnan(n) ? qk_json_number(n) : json_integer((json_int_t)n));
}

/* The loss against the baseline; null for the baseline itself. */
static void put_loss(qk_row *row, const qk_interval *loss, const qk_marks *marks)
{
    qk_interval none = { NAN, NAN, NAN, "the baseline itself" };
    put_share(row, "loss", "loss_ci95", marks->kind == QK_ARM_BASELINE ? &none : loss);
}

static qk_status add_category(json_t *results, const qk_quiz_category *category, const tally *t, const qk_marks *marks,
                              size_t model, qk_error *err)
{
    double n = (double)t->n;
    bool written = qk_is_generated(category->scoring);
    qk_interval corrected = above_level(&t->accuracy, t->level);
    qk_row row = qk_row_start();
    qk_row_count(&row, "model", model);
    qk_row_text(&row, "condition", marks->name);
    qk_row_text(&row, "category", category->name);
    qk_row_text(&row, "kind", qk_quiz_kinds[category->contextual]);
    qk_row_text(&row, "scoring", qk_scoring_name(category->scoring));
    qk_row_count(&row, "questions", t->n);
    put_tally(&row, "right", t->n_right, marks->averaged);
    put_tally(&row, "unparsed", written ? t->n_unparsed : NAN, marks->averaged);
    qk_row_number(&row, "found", written ? t->found / n : NAN);
    put_share(&row, "accuracy", "ci95", &t->accuracy);
    put_share(&row, "corrected", "corrected_ci95", &corrected);
    put_loss(&row, &t->loss, marks);
    qk_row_number(&row, "chance", t->chance / n);
    qk_row_number(&row, "most_common", t->most_common);
    qk_row_number(&row, "nll", t->nll / n);
    qk_row_number(&row, "nll_per_token", t->nll / t->n_tokens);
    return qk_row_append(json_object_get(results, "categories"), &row, err);
}

/* ---- one kind */

typedef struct kind_tally {
    size_t n, n_categories;
    double n_right, n_unparsed; /* n_unparsed: NaN where no text was written */
    qk_interval accuracy[QK_QUIZ_CATEGORIES], corrected[QK_QUIZ_CATEGORIES], loss[QK_QUIZ_CATEGORIES];
    double chance, most_common, nll; /* sums over categories; nll: over those that have one */
    double n_nll;                    /* so many */
} kind_tally;

static void add_to_kind(kind_tally *kind, const tally *t)
{
    size_t c = kind->n_categories++;
    kind->n += t->n;
    kind->n_right += t->n_right;
    kind->accuracy[c] = t->accuracy;
    kind->corrected[c] = above_level(&t->accuracy, t->level);
    kind->loss[c] = t->loss;
    kind->chance += t->chance / (double)t->n;
    kind->most_common += t->most_common;
    if (isnan(t->nll)) {
        kind->n_unparsed = t->n_unparsed + (isnan(kind->n_unparsed) ? 0 : kind->n_unparsed);
        return;
    }
    kind->nll += t->nll / (double)t->n;
    kind->n_nll++;
}

static qk_status add_kind(json_t *results, const kind_tally *kind, size_t index, const qk_marks *marks, size_t model,
                          qk_error *err)
{
    double n = (double)kind->n_categories;
    qk_interval macro = qk_mean_share(kind->accuracy, kind->n_categories);
    qk_interval corrected = qk_mean_share(kind->corrected, kind->n_categories);
    qk_interval loss = qk_mean_share(kind->loss, kind->n_categories);
    qk_interval pooled = qk_wilson(fmin(kind->n_right, (double)kind->n), kind->n);
    qk_row row = qk_row_start();
    qk_row_count(&row, "model", model);
    qk_row_text(&row, "condition", marks->name);
    qk_row_text(&row, "kind", qk_quiz_kinds[index]);
    qk_row_count(&row, "categories", kind->n_categories);
    put_share(&row, "macro", "macro_ci95", &macro);
    put_share(&row, "corrected", "corrected_ci95", &corrected);
    put_loss(&row, &loss, marks);
    qk_row_count(&row, "questions", kind->n);
    put_tally(&row, "right", kind->n_right, marks->averaged);
    put_tally(&row, "unparsed", kind->n_unparsed, marks->averaged);
    put_share(&row, "accuracy", "ci95", &pooled);
    qk_row_number(&row, "chance", kind->chance / n);
    qk_row_number(&row, "most_common", kind->most_common / n);
    qk_row_number(&row, "nll", kind->nll / kind->n_nll);
    return qk_row_append(json_object_get(results, "kinds"), &row, err);
}

static qk_status add_condition(json_t *results, const qk_answers *a, const qk_marks *marks, const qk_marks *baseline,
                               kind_tally kinds[2], size_t model, qk_error *err)
{
    bool single_control = marks->kind == QK_ARM_RANDOM && !marks->averaged;
    qk_status status = QK_OK;
    kinds[0] = kinds[1] = (kind_tally) { .n_unparsed = NAN };
    for (size_t c = 0; !status && c < a->quiz->n_categories; c++) {
        tally t;
        status = count_category(&t, a, marks, baseline, c, err);
        if (status) break;
        add_to_kind(&kinds[a->quiz->categories[c].contextual], &t);
        if (!single_control) status = add_category(results, &a->quiz->categories[c], &t, marks, model, err);
    }
    for (size_t k = 0; !status && k < 2; k++)
        if (kinds[k].n_categories) status = add_kind(results, &kinds[k], k, marks, model, err);
    return status;
}

qk_status qk_tasks_rows(json_t *results, const qk_answers *a, const qk_marked *marked, size_t model, qk_error *err)
{
    kind_tally *kinds = NULL;
    qk_status status = qk_new_array(&kinds, 2, sizeof *kinds, "kinds", err);
    for (size_t m = 0; !status && m < marked->n; m++)
        status = add_condition(results, a, &marked->marks[m], &marked->marks[0], kinds, model, err);
    free(kinds);
    return status;
}
