/* tasks.c - questions with known answers: is a model right as it is, and with its massive values broken? */
#include "study/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MASK_TOKENS = 512 /* of a calibration document, as the published experiment */ };

/* What a call works with. */
typedef struct study {
    const qk_quiz *quiz;
    qk_documents *calibration;
    const qk_tasks_settings *settings;
    const qk_compute *compute;
    size_t context, n_layer_flags;
    qk_run *run;
} study;

/* ---- results */

static void put_edits(qk_row *row, const study *s)
{
    const qk_disrupt_settings *e = &s->settings->edits;
    bool top_k = e->criterion == QK_CRITERION_TOP_K;
    qk_row_number(row, "lambda", top_k ? NAN : e->lambda);
    qk_row_json(row, "top_k", top_k ? json_integer((json_int_t)e->top_k) : json_null());
    qk_row_text(row, "criterion", qk_criterion_name(e->criterion));
    qk_row_text(row, "site", e->post_rotation ? "post" : "pre");
    qk_row_text(row, "control", qk_control_names[e->control]);
    qk_row_text(row, "preset", e->preset == QK_PRESET_JIN ? "jin" : NULL);
    qk_disrupt_put_lists(row, e, s->n_layer_flags, s->calibration);
}

static bool is_any_written(const qk_quiz *quiz)
{
    for (size_t c = 0; c < quiz->n_categories; c++)
        if (qk_is_generated(quiz->categories[c].scoring)) return true;
    return false;
}

static json_t *settings_json(const study *s)
{
    const qk_quiz *quiz = s->quiz;
    qk_row row = qk_row_start();
    qk_row_text(&row, "source", quiz->source);
    qk_row_json(&row, "world", quiz->part ? json_integer((json_int_t)quiz->seed) : json_null());
    qk_row_text(&row, "part", quiz->part);
    qk_row_text(&row, "template", quiz->template);
    qk_row_json(&row, "probe_seed", strcmp(quiz->source, "probes") ? json_null()
                                                                   : json_integer((json_int_t)quiz->seed));
    qk_row_json(&row, "limit", quiz->per_category ? json_integer((json_int_t)quiz->per_category) : json_null());
    qk_row_flag(&row, "broken", s->settings->broken);
    if (s->settings->broken) put_edits(&row, s);
    qk_row_text(&row, "phase", is_any_written(quiz) ? s->settings->prefill ? "prefill" : "all" : NULL);
    size_t max_new = s->settings->max_new;
    qk_row_json(&row, "max_new_tokens", max_new ? json_integer((json_int_t)max_new) : json_null());
    qk_row_flag(&row, "cut_left", s->settings->cut_left);
    qk_row_count(&row, "context", s->context);
    qk_row_flag(&row, "bos", !s->compute->no_bos);
    qk_row_text(&row, "precision", qk_precision_name(s->compute->precision));
    qk_row_flag(&row, "reference", s->compute->reference);
    return qk_row_take(&row);
}

static json_t *start_results(const qk_named_model *models, size_t n_models, const study *s)
{
    static const char *const arrays[] = { "documents", "conditions", "masks", "categories", "kinds", "errors", "tests",
                                          "warnings" };
    qk_row questions = qk_row_start(), out = qk_row_start();
    qk_row_count(&questions, "n", s->quiz->n);
    qk_row_count(&questions, "categories", s->quiz->n_categories);
    qk_row_text(&questions, "sha256", s->quiz->sha256);
    qk_row_text(&out, "study", "tasks");
    qk_row_count(&out, "schema", 1);
    qk_row_json(&out, "settings", settings_json(s));
    qk_row_json(&out, "models", qk_json_models(models, n_models));
    qk_row_json(&out, "questions", qk_row_take(&questions));
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) qk_row_json(&out, arrays[i], json_array());
    return qk_row_take(&out);
}

static qk_status warn_cut(json_t *warnings, const qk_answers *a, size_t context, qk_error *err)
{
    size_t n_cut = 0;
    for (size_t i = 0; i < a->quiz->n; i++) {
        bool cut = false;
        for (size_t t = 0; t < a->asked[i].n_trials; t++) cut = cut || a->asked[i].trials[t].n_cut > 0;
        n_cut += cut;
    }
    if (n_cut == 0) return QK_OK;
    return qk_json_warn(warnings, err, "%s: %zu of %zu prompts lost their start to fit %zu tokens: what they asked for "
                        "may be gone", a->model->name, n_cut, a->quiz->n, context);
}

/* ---- one model */

/* Prompts and answers, tokens, replies, and a row of the samples while it is written. */
static uint64_t table_bytes(const study *s, const qk_answers *a)
{
    size_t n_controls = s->settings->broken ? s->settings->edits.n_controls : 0, n_arms = 3 + n_controls;
    uint64_t bytes = s->quiz->n * (sizeof *a->asked + sizeof *s->quiz->items);
    for (size_t i = 0; i < s->quiz->n; i++) {
        bytes += strlen(s->quiz->items[i].prompt) + strlen(s->quiz->items[i].answer);
        for (size_t t = 0; t < a->asked[i].n_trials; t++)
            bytes += (a->asked[i].trials[t].n_tokens + a->asked[i].max_new) * sizeof(int32_t) + sizeof(qk_trial) +
                     sizeof(qk_sequence) + n_arms * (sizeof(qk_reply) + 64 + 8 * a->asked[i].max_new);
    }
    if (s->settings->broken)
        bytes += qk_disrupt_table_bytes(&a->model->model->config, &s->settings->edits, s->quiz->n);
    return bytes + n_arms * (s->quiz->n_categories + 2) * QK_STUDY_ROW_BYTES;
}

/* The arms of one model; where nothing is massive in it and nobody insists, the baseline alone. */
static qk_status plan_arms(qk_answers *a, json_t *warnings, const study *s, const qk_compute *budget, qk_error *err)
{
    qk_disrupt_plan *plan = &a->measured.plan;
    qk_error why = { QK_OK, "" };
    qk_status status = QK_OK;
    if (s->settings->broken) {
        size_t cut = s->context && s->context < MASK_TOKENS ? s->context : MASK_TOKENS;
        if (s->calibration) status = qk_study_tokenize(s->calibration, a->model, cut, budget->no_bos, err);
        if (status) return status;
        status = qk_disrupt_plan_model(plan, a->model, s->calibration, &s->settings->edits, s->n_layer_flags, budget,
                                       &why);
        if (status != QK_E_CHECK || !s->settings->lenient) {
            if (status) qk_fail(err, status, "%s", why.message);
            return status;
        }
        status = qk_json_warn(warnings, err, "%s (this model was asked without edits alone)", why.message);
    } else {
        plan->arms = qk_arena_alloc(&plan->arena, sizeof *plan->arms);
        if (!plan->arms) return qk_out_of_memory(err, "conditions", sizeof *plan->arms);
        plan->arms[0] = (qk_arm) { .kind = QK_ARM_BASELINE, .name = "baseline" };
    }
    plan->n_arms = 1;
    return status;
}

static qk_status ask_model(qk_answers *a, qk_marked *marked, json_t *results, size_t index, const study *s,
                           qk_compute *budget, qk_error *err)
{
    json_t *warnings = json_object_get(results, "warnings");
    qk_status status = qk_tasks_encode(&a->asked, s->quiz, a->model, s->context, s->settings,
                                       s->compute->no_bos, err);
    uint64_t tables = status ? 0 : table_bytes(s, a);
    if (!status) status = qk_study_reserve(budget, tables, "holding the questions", err);
    if (!status) status = plan_arms(a, warnings, s, budget, err);
    if (!status) status = qk_tasks_ask(a, index, budget, s->run, err);
    status = qk_study_over_budget(status, s->compute, budget, err);
    if (!status) status = qk_disrupt_conditions(results, &a->measured, index, &a->model->model->config, err);
    if (!status) status = qk_tasks_mark(marked, a, err);
    if (!status) status = qk_tasks_rows(results, a, marked, index, err);
    if (!status) status = qk_tasks_errors(results, a, index, err);
    if (!status) status = warn_cut(warnings, a, s->context, err);
    return status;
}

/* ---- the study */

/* A mask that was found on what is asked would be tested on its own ground. */
static qk_status refuse_overlap(const study *s, qk_error *err)
{
    for (size_t d = 0; s->settings->broken && s->calibration && d < s->calibration->n; d++)
        for (size_t i = 0; i < s->quiz->n; i++)
            if (strcmp(s->calibration->items[d].sha256, s->quiz->items[i].sha256) == 0)
                return qk_fail(err, QK_E_ARGUMENT, "document %s is in the calibration set and is the prompt of "
                               "question %s: masks must be found on other text than they are tested on",
                               s->calibration->items[d].id, s->quiz->items[i].id);
    return QK_OK;
}

static qk_status warn_all(json_t *warnings, const qk_answers *all, size_t n_models, const qk_quiz *quiz, qk_error *err)
{
    qk_measured *measured = NULL;
    qk_status status = qk_new_array(&measured, n_models, sizeof *measured, "models", err);
    for (size_t m = 0; !status && m < n_models; m++) measured[m] = all[m].measured;
    if (!status) status = qk_disrupt_warn_dose(warnings, measured, n_models, err);
    free(measured);
    if (status || quiz->n_repeated == 0) return status;
    return qk_json_warn(warnings, err, "%zu of %zu questions repeat an earlier one to the letter: intervals are too "
                        "narrow", quiz->n_repeated, quiz->n);
}

static qk_status run_models(json_t *out, qk_answers *all, qk_marked *marked, const qk_named_model *models,
                            size_t n_models, const study *s, qk_error *err)
{
    qk_compute budget = *s->compute; /* what the models before leave */
    qk_status status = QK_OK;
    for (size_t m = 0; !status && m < n_models; m++) {
        all[m] = (qk_answers) { .quiz = s->quiz, .model = &models[m], .context = s->context,
                                .phase = s->settings->prefill ? QK_PHASE_PREFILL : QK_PHASE_ALL,
                                .measured = { .model = models[m].name } };
        status = ask_model(&all[m], &marked[m], out, m, s, &budget, err);
        if (status) qk_prefix(err, status, "%s", models[m].name);
    }
    if (!status) status = warn_all(json_object_get(out, "warnings"), all, n_models, s->quiz, err);
    if (!status) status = qk_tasks_tests(out, s->quiz, marked, n_models, err);
    if (!status && s->run) status = qk_tasks_samples(s->run, all, n_models, err);
    return status;
}

/* What a preset fixes replaces what was given.  Jin's means are over a whole sequence: nothing of the answer may be in
 * it. */
static qk_status resolve(qk_tasks_settings *out, const qk_tasks_settings *given, const qk_quiz *quiz, qk_error *err)
{
    *out = *given;
    out->edits = qk_disrupt_resolve(&given->edits);
    if (!given->broken || given->edits.preset == QK_PRESET_NONE) return QK_OK;
    if (given->edits.preset != QK_PRESET_JIN)
        return qk_fail(err, QK_E_ARGUMENT, "--preset: expected jin for tasks, found africa");
    out->prefill = true;
    for (size_t c = 0; c < quiz->n_categories; c++)
        if (!qk_is_generated(quiz->categories[c].scoring))
            return qk_fail(err, QK_E_ARGUMENT, "--preset jin: expected answers that are written (--score generated, "
                           "first-integer or contains), found category %s judged by %s", quiz->categories[c].name,
                           qk_scoring_name(quiz->categories[c].scoring));
    return QK_OK;
}

qk_status qk_study_tasks(json_t **results, const qk_named_model *models, size_t n_models, const qk_quiz *quiz,
                         qk_documents *calibration, const qk_tasks_settings *given, const qk_compute *compute,
                         qk_run *run, qk_error *err)
{
    qk_tasks_settings settings;
    bool jin = given->edits.preset == QK_PRESET_JIN;
    study s = { quiz, jin ? NULL : calibration, &settings, compute, qk_study_context(models, n_models, compute),
                qk_disrupt_layer_flags(models, n_models), run };
    qk_answers *all = NULL;
    qk_marked *marked = NULL;
    json_t *out = NULL;
    if (n_models == 0) return qk_fail(err, QK_E_ARGUMENT, "tasks: expected a model, found none");
    if (given->broken && !calibration && !jin)
        return qk_fail(err, QK_E_ARGUMENT, "tasks: no documents to find masks on");
    qk_status status = resolve(&settings, given, quiz, err);
    if (!status) status = refuse_overlap(&s, err);
    if (!status) status = qk_new_array(&all, n_models, sizeof *all, "answers", err);
    if (!status) status = qk_new_array(&marked, n_models, sizeof *marked, "marks", err);
    if (!status && !(out = start_results(models, n_models, &s))) status = qk_out_of_memory(err, "results", 0);
    if (!status) status = run_models(out, all, marked, models, n_models, &s, err);
    if (!status) *results = json_incref(out);
    for (size_t m = 0; all && m < n_models; m++) qk_answers_free(&all[m]);
    for (size_t m = 0; marked && m < n_models; m++) qk_arena_free(&marked[m].arena);
    free(all);
    free(marked);
    json_decref(out);
    return status;
}
