/* tasks_ask.c - asking one model: all questions under all conditions as one pass, journaled question by question. */
#include "study/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- replies */

static qk_status make_replies(qk_answers *a, qk_error *err)
{
    size_t n = a->quiz->n, n_arms = a->measured.plan.n_arms;
    qk_status status = qk_new_array(&a->replies, n_arms * n, sizeof *a->replies, "answers", err);
    for (size_t i = 0; !status && i < n_arms * n; i++) {
        const qk_asked *asked = &a->asked[i % n];
        qk_reply *reply = &a->replies[i];
        if (qk_is_written(a->quiz, i % n)) continue;
        reply->nll = qk_arena_alloc(&a->arena, asked->n_trials * sizeof *reply->nll);
        reply->top = qk_arena_alloc(&a->arena, asked->trials[asked->answer].n_answer * sizeof *reply->top);
        if (!reply->nll || !reply->top) status = qk_out_of_memory(err, "answers", asked->n_trials);
    }
    for (size_t i = 0; !status && i < n; i++)
        a->measured.n_tokens[i] = (double)a->asked[i].trials[a->asked[i].answer].n_answer;
    return status;
}

/* All trials are in: what do they say? */
static void judge(qk_answers *a, size_t arm, size_t question)
{
    const qk_asked *asked = &a->asked[question];
    const qk_trial *trial = &asked->trials[asked->answer];
    qk_reply *reply = qk_reply_of(a, arm, question);
    reply->pick = 0;
    for (size_t t = 1; t < asked->n_trials; t++)
        if (reply->nll[t] < reply->nll[reply->pick]) reply->pick = t;
    bool right = qk_by_choice(a->quiz, question)
                     ? reply->pick == asked->answer
                     : memcmp(reply->top, trial->tokens + trial->n_tokens - trial->n_answer,
                              trial->n_answer * sizeof *reply->top) == 0;
    reply->judged = (qk_judged) { .verdict = right ? QK_VERDICT_RIGHT : QK_VERDICT_WRONG, .found = right };
    a->measured.nll[arm * a->quiz->n + question] = reply->nll[asked->answer];
    a->measured.done[arm * a->quiz->n + question] = true;
}

/* ---- the journal: one unit for each condition and question */

static json_t *unit_payload(const qk_answers *a, size_t arm, size_t question)
{
    const qk_asked *asked = &a->asked[question];
    const qk_reply *reply = qk_reply_of(a, arm, question);
    size_t n_edits = a->measured.plan.arms[arm].n_edits;
    const qk_receipt *receipts = n_edits ? a->measured.receipts[arm] + question * n_edits : NULL;
    qk_row row = qk_row_start();
    json_t *top = json_array(), *nll = json_array();
    qk_row_json(&row, "nll", nll);
    qk_row_json(&row, "top", top);
    for (size_t t = 0; t < asked->n_trials; t++)
        if (json_array_append_new(nll, json_real(reply->nll[t]))) row.failed = true;
    for (size_t i = 0; i < asked->trials[asked->answer].n_answer; i++)
        if (json_array_append_new(top, json_integer(reply->top[i]))) row.failed = true;
    qk_row_json(&row, "receipts", qk_receipts_json(receipts, n_edits));
    return qk_row_take(&row);
}

/* A unit that is not what this study would have written is asked again. */
static void read_unit(qk_answers *a, size_t arm, size_t question, const json_t *unit)
{
    const qk_asked *asked = &a->asked[question];
    qk_reply *reply = qk_reply_of(a, arm, question);
    size_t n_edits = a->measured.plan.arms[arm].n_edits, n_answer = asked->trials[asked->answer].n_answer;
    const json_t *top = json_object_get(unit, "top"), *nll = json_object_get(unit, "nll");
    if (json_array_size(nll) != asked->n_trials || json_array_size(top) != n_answer) return;
    for (size_t i = 0; i < n_answer; i++) {
        const json_t *id = json_array_get(top, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= a->model->model->config.n_vocab) return;
        reply->top[i] = (int32_t)json_integer_value(id);
    }
    for (size_t t = 0; t < asked->n_trials; t++) {
        if (!json_is_number(json_array_get(nll, t))) return;
        reply->nll[t] = json_number_value(json_array_get(nll, t));
    }
    qk_receipt *receipts = n_edits ? a->measured.receipts[arm] + question * n_edits : NULL;
    if (!qk_receipts_read(receipts, json_object_get(unit, "receipts"), n_edits)) return;
    judge(a, arm, question);
}

static void read_journal(qk_answers *a, const qk_run *run, size_t model)
{
    for (size_t arm = 0; run && arm < a->measured.plan.n_arms; arm++)
        for (size_t i = 0; i < a->quiz->n; i++) {
            json_t *unit = qk_run_get(run, model, a->measured.plan.arms[arm].name, i);
            if (unit && qk_is_written(a->quiz, i)) qk_tasks_read_written(a, arm, i, unit);
            else if (unit) read_unit(a, arm, i, unit);
            json_decref(unit);
        }
}

/* ---- the pass */

typedef struct place { size_t question, trial; } place;

typedef struct listener {
    qk_answers *answers;
    const place *places; /* [sequences of the pass] */
    size_t model;
    qk_run *run;         /* NULL: no journal */
} listener;

static qk_status on_score(void *user, size_t sequence, size_t condition, const qk_score *score,
                          const qk_receipt *receipts, qk_error *err)
{
    const listener *l = user;
    qk_answers *a = l->answers;
    place at = l->places[sequence];
    const qk_asked *asked = &a->asked[at.question];
    const qk_arm *arm = &a->measured.plan.arms[condition];
    qk_reply *reply = qk_reply_of(a, condition, at.question);
    if (score->n_tokens != asked->trials[at.trial].n_answer)
        return qk_fail(err, QK_E_CHECK, "question %s: expected %zu scored tokens, found %zu",
                       a->quiz->items[at.question].id, asked->trials[at.trial].n_answer, score->n_tokens);
    reply->nll[at.trial] = score->nll;
    if (at.trial == asked->answer) memcpy(reply->top, score->token_top, score->n_tokens * sizeof *reply->top);
    for (size_t e = 0; e < arm->n_edits; e++) {
        qk_receipt *sum = &a->measured.receipts[condition][at.question * arm->n_edits + e];
        if (reply->n_scored == 0) *sum = (qk_receipt) { 0 };
        sum->visited += receipts[e].visited;
        sum->changed += receipts[e].changed;
        sum->sum_abs += receipts[e].sum_abs;
        sum->max_abs = fmax(sum->max_abs, receipts[e].max_abs);
    }
    if (++reply->n_scored < asked->n_trials) return QK_OK;
    judge(a, condition, at.question);
    if (!l->run) return QK_OK;
    json_t *payload = unit_payload(a, condition, at.question);
    if (!payload) return qk_out_of_memory(err, "a unit of the journal", 0);
    qk_status status = qk_run_put(l->run, l->model, arm->name, at.question, payload, err);
    json_decref(payload);
    return status;
}

static bool is_finished(const qk_answers *a, size_t question)
{
    for (size_t arm = 0; arm < a->measured.plan.n_arms; arm++)
        if (!a->measured.done[arm * a->quiz->n + question]) return false;
    return true;
}

qk_status qk_tasks_conditions(qk_condition **conditions, const qk_disrupt_plan *plan, qk_error *err)
{
    qk_status status = qk_new_array(conditions, plan->n_arms, sizeof **conditions, "conditions", err);
    for (size_t i = 0; !status && i < plan->n_arms; i++)
        (*conditions)[i] = (qk_condition) { plan->arms[i].name, plan->arms[i].edits, plan->arms[i].n_edits };
    return status;
}

static qk_status run_pass(listener *l, const qk_sequence *sequences, size_t n, const qk_compute *compute, qk_error *err)
{
    const qk_disrupt_plan *plan = &l->answers->measured.plan;
    qk_condition *conditions = NULL;
    qk_pass_result *result = NULL;
    qk_status status = qk_tasks_conditions(&conditions, plan, err);
    if (status) return status;
    qk_pass_spec spec = qk_study_spec(compute);
    spec.sequences = sequences;
    spec.n_sequences = n;
    spec.conditions = conditions;
    spec.n_conditions = plan->n_arms;
    spec.score = true;
    spec.keep_token_top = true;
    spec.allow_idle_edits = true; /* judged over all questions, journaled ones too: qk_disrupt_conditions */
    spec.on_score = on_score;
    spec.user = l;
    status = qk_pass_run(&result, l->answers->model->model, &spec, err);
    qk_pass_result_free(result);
    free(conditions);
    return status;
}

qk_status qk_tasks_ask(qk_answers *a, size_t model, const qk_compute *compute, qk_run *run, qk_error *err)
{
    qk_sequence *all = NULL;
    place *places = NULL;
    size_t n_all = 0, n = 0;
    qk_status status = qk_measured_start(&a->measured, a->quiz->n, err);
    if (!status) status = make_replies(a, err);
    if (status) return status;
    read_journal(a, run, model);
    status = qk_tasks_sequences(&all, &n_all, a->asked, a->quiz->n, err);
    if (!status) status = qk_new_array(&places, n_all, sizeof *places, "questions to ask", err);
    for (size_t i = 0, from = 0; !status && i < a->quiz->n; from += a->asked[i++].n_trials)
        for (size_t t = 0; t < a->asked[i].n_trials && !qk_is_written(a->quiz, i) && !is_finished(a, i); t++) {
            all[n] = all[from + t];
            places[n++] = (place) { i, t };
        }
    listener l = { a, places, model, run };
    if (!status && n > 0) status = run_pass(&l, all, n, compute, err);
    if (!status) status = qk_tasks_write(a, model, compute, run, err);
    for (size_t i = 0; !status && i < a->quiz->n; i++)
        if (!is_finished(a, i)) status = qk_fail(err, QK_E_CHECK, "question %s: was not scored", a->quiz->items[i].id);
    free(all);
    free(places);
    return status;
}

void qk_answers_free(qk_answers *a)
{
    qk_tasks_free(a->asked, a->quiz ? a->quiz->n : 0);
    free(a->replies);
    qk_measured_free(&a->measured);
    qk_arena_free(&a->arena);
    *a = (qk_answers) { 0 };
}
