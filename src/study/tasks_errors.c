/* tasks_errors.c - errors[]: what became of the keys that were to be found. */
#include "study/tasks.h"

#include <string.h>

/* Keys of each class in the answers to one category under one arm. */
static size_t count(double n[QK_N_KEY_ERRORS], const qk_answers *a, size_t arm, size_t category, double weight)
{
    size_t n_questions = 0;
    for (size_t i = 0; i < a->quiz->n; i++) {
        if (a->quiz->items[i].category != category) continue;
        n[qk_reply_of(a, arm, i)->judged.error] += weight;
        n_questions++;
    }
    return n_questions;
}

static qk_status add_row(json_t *results, const qk_answers *a, size_t model, const char *condition, size_t category,
                         size_t n_questions, const double n[QK_N_KEY_ERRORS], bool averaged, qk_error *err)
{
    qk_row row = qk_row_start();
    qk_row_count(&row, "model", model);
    qk_row_text(&row, "condition", condition);
    qk_row_text(&row, "category", a->quiz->categories[category].name);
    qk_row_count(&row, "questions", n_questions);
    for (int e = 0; e < QK_N_KEY_ERRORS; e++)
        qk_row_json(&row, qk_key_error_name((qk_key_error)e),
                    averaged ? qk_json_number(n[e]) : json_integer((json_int_t)n[e]));
    return qk_row_append(json_object_get(results, "errors"), &row, err);
}

/* Every arm but single controls, and the mean over these as "random". */
static qk_status add_category(json_t *results, const qk_answers *a, size_t model, size_t category, qk_error *err)
{
    const qk_disrupt_plan *plan = &a->measured.plan;
    double n_controls = 0, random[QK_N_KEY_ERRORS] = { 0 };
    size_t n_questions = 0;
    qk_status status = QK_OK;
    for (size_t arm = 0; arm < plan->n_arms; arm++) n_controls += plan->arms[arm].kind == QK_ARM_RANDOM;
    for (size_t arm = 0; !status && arm < plan->n_arms; arm++) {
        double own[QK_N_KEY_ERRORS] = { 0 };
        bool control = plan->arms[arm].kind == QK_ARM_RANDOM;
        n_questions = count(control ? random : own, a, arm, category, control ? 1 / n_controls : 1);
        if (!control)
            status = add_row(results, a, model, plan->arms[arm].name, category, n_questions, own, false, err);
    }
    if (status || n_controls == 0) return status;
    return add_row(results, a, model, "random", category, n_questions, random, true, err);
}

qk_status qk_tasks_errors(json_t *results, const qk_answers *a, size_t model, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t c = 0; !status && c < a->quiz->n_categories; c++)
        if (a->quiz->categories[c].retrieval && qk_is_generated(a->quiz->categories[c].scoring))
            status = add_category(results, a, model, c, err);
    return status;
}
