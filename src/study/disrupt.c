/* disrupt.c - the post's experiment 2: zero the massive values of q and k, or as many random ones; see what is lost.
 *
 * Documents go through the model in groups, all conditions of a document together; each finished document is journaled
 * with its receipts, so that a resumed study sums the same numbers in the same order. */
#include "study/disrupt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows (tokens x conditions) of one pass: many enough that reading the weights costs nothing beside the products, few
 * enough that a kill loses minutes. */
enum { ROWS_A_PASS = 65536 };

/* ---- the journal: one row for each condition and document */

json_t *qk_receipts_json(const qk_receipt *receipts, size_t n_edits)
{
    json_t *list = json_array();
    for (size_t e = 0; list && e < n_edits; e++) {
        const qk_receipt *r = &receipts[e];
        json_t *row = json_pack("[I,I,f,f]", (json_int_t)r->visited, (json_int_t)r->changed, r->sum_abs, r->max_abs);
        if (json_array_append_new(list, row) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

bool qk_receipts_read(qk_receipt *receipts, const json_t *list, size_t n_edits)
{
    if (!json_is_array(list) || json_array_size(list) != n_edits) return false;
    for (size_t e = 0; e < n_edits; e++) {
        const json_t *row = json_array_get(list, e);
        if (json_array_size(row) != 4) return false;
        receipts[e].visited = (uint64_t)json_integer_value(json_array_get(row, 0));
        receipts[e].changed = (uint64_t)json_integer_value(json_array_get(row, 1));
        receipts[e].sum_abs = json_number_value(json_array_get(row, 2));
        receipts[e].max_abs = json_number_value(json_array_get(row, 3));
    }
    return true;
}

static json_t *unit_payload(const qk_score *score, const qk_receipt *receipts, size_t n_edits)
{
    qk_row unit = qk_row_start();
    qk_row_count(&unit, "tokens", score->n_tokens);
    qk_row_number(&unit, "nll", score->nll);
    qk_row_json(&unit, "receipts", qk_receipts_json(receipts, n_edits));
    return qk_row_take(&unit);
}

/* False where the unit is not what this study would have written: it is then measured again. */
static bool read_unit(double *nll, qk_receipt *receipts, const json_t *unit, size_t n_tokens, size_t n_edits)
{
    const json_t *value = json_object_get(unit, "nll");
    if (json_integer_value(json_object_get(unit, "tokens")) != (json_int_t)n_tokens) return false;
    if (!json_is_number(value) || !qk_receipts_read(receipts, json_object_get(unit, "receipts"), n_edits)) return false;
    *nll = json_number_value(value);
    return true;
}

static void read_journal(qk_measured *m, const qk_run *run, size_t model)
{
    for (size_t a = 0; run && a < m->plan.n_arms; a++) {
        const qk_arm *arm = &m->plan.arms[a];
        for (size_t d = 0; d < m->n_documents; d++) {
            size_t at = a * m->n_documents + d;
            json_t *unit = qk_run_get(run, model, arm->name, d);
            qk_receipt *receipts = arm->n_edits ? m->receipts[a] + d * arm->n_edits : NULL;
            m->done[at] = unit && read_unit(&m->nll[at], receipts, unit, (size_t)m->n_tokens[d], arm->n_edits);
            json_decref(unit);
        }
    }
}

/* ---- measuring */

typedef struct listener {
    qk_measured *measured;
    qk_run *run;             /* NULL: no journal */
    size_t model;
    const size_t *documents; /* [sequences of this pass] */
} listener;

static qk_status on_score(void *user, size_t sequence, size_t condition, const qk_score *score,
                          const qk_receipt *receipts, qk_error *err)
{
    listener *l = user;
    qk_measured *m = l->measured;
    const qk_arm *arm = &m->plan.arms[condition];
    size_t document = l->documents[sequence], at = condition * m->n_documents + document;
    if (score->n_tokens != (size_t)m->n_tokens[document]) {
        return qk_fail(err, QK_E_CHECK, "document %zu, %s: expected %g scored tokens, found %zu", document, arm->name,
                       m->n_tokens[document], score->n_tokens);
    }
    m->nll[at] = score->nll;
    m->done[at] = true;
    for (size_t e = 0; e < arm->n_edits; e++) m->receipts[condition][document * arm->n_edits + e] = receipts[e];
    if (!l->run) return QK_OK;
    json_t *payload = unit_payload(score, receipts, arm->n_edits);
    if (!payload) return qk_out_of_memory(err, "a unit of the journal", 0);
    qk_status status = qk_run_put(l->run, l->model, arm->name, document, payload, err);
    json_decref(payload);
    return status;
}

static bool is_finished(const qk_measured *m, size_t document)
{
    for (size_t a = 0; a < m->plan.n_arms; a++) {
        if (!m->done[a * m->n_documents + document]) return false;
    }
    return true;
}

/* The next documents that fit one pass, from *from on; returns how many. */
static size_t next_group(size_t *group, size_t *from, const qk_measured *m, const qk_documents *documents)
{
    size_t n = 0, rows = 0;
    for (; *from < documents->n; (*from)++) {
        if (is_finished(m, *from)) continue;
        size_t more = documents->items[*from].n_tokens * m->plan.n_arms;
        if (n > 0 && rows + more > ROWS_A_PASS) break;
        rows += more;
        group[n++] = *from;
    }
    return n;
}

static qk_status measure(qk_measured *m, const qk_named_model *model, size_t index, const qk_documents *documents,
                         const qk_compute *compute, qk_run *run, qk_error *err)
{
    qk_sequence *sequences = NULL;
    qk_condition *conditions = NULL;
    size_t *group = NULL, from = 0, n;
    qk_status status = qk_new_array(&sequences, documents->n, sizeof *sequences, "sequences", err);
    if (!status) status = qk_new_array(&group, documents->n, sizeof *group, "a group of documents", err);
    if (!status) status = qk_new_array(&conditions, m->plan.n_arms, sizeof *conditions, "conditions", err);
    for (size_t a = 0; !status && a < m->plan.n_arms; a++) {
        const qk_arm *arm = &m->plan.arms[a];
        conditions[a] = (qk_condition) { arm->name, arm->edits, arm->n_edits };
    }
    while (!status && (n = next_group(group, &from, m, documents)) > 0) {
        listener l = { m, run, index, group };
        qk_pass_result *result = NULL;
        qk_pass_spec spec = qk_study_spec(compute);
        for (size_t i = 0; i < n; i++) {
            sequences[i] = (qk_sequence) { documents->items[group[i]].tokens, documents->items[group[i]].n_tokens, 1 };
        }
        spec.sequences = sequences;
        spec.n_sequences = n;
        spec.conditions = conditions;
        spec.n_conditions = m->plan.n_arms;
        spec.score = true;
        spec.allow_idle_edits = true; /* judged over all documents, journaled ones too: qk_disrupt_conditions */
        spec.on_score = on_score;
        spec.user = &l;
        status = qk_pass_run(&result, model->model, &spec, err);
        qk_pass_result_free(result);
        for (size_t i = 0; !status && i < n; i++) {
            if (is_finished(m, group[i])) continue;
            status = qk_fail(err, QK_E_CHECK, "%s: not every condition was scored", documents->items[group[i]].id);
        }
    }
    free(sequences);
    free(group);
    free(conditions);
    return status;
}

void qk_measured_free(qk_measured *m)
{
    for (size_t a = 0; m->receipts && a < m->plan.n_arms; a++) free(m->receipts[a]);
    free(m->receipts);
    free(m->n_tokens);
    free(m->nll);
    free(m->random_nll);
    free(m->done);
    qk_arena_free(&m->plan.arena);
    *m = (qk_measured) { 0 };
}

qk_status qk_measured_start(qk_measured *m, size_t n, qk_error *err)
{
    size_t n_arms = m->plan.n_arms;
    m->n_documents = n;
    qk_status status = qk_new_array(&m->n_tokens, n, sizeof *m->n_tokens, "scores", err);
    if (!status) status = qk_new_array(&m->nll, n_arms * n, sizeof *m->nll, "scores", err);
    if (!status) status = qk_new_array(&m->done, n_arms * n, sizeof *m->done, "scores", err);
    if (!status) status = qk_new_array(&m->receipts, n_arms, sizeof *m->receipts, "receipts", err);
    for (size_t a = 0; !status && a < n_arms; a++) {
        size_t n_edits = m->plan.arms[a].n_edits;
        if (n_edits) status = qk_new_array(&m->receipts[a], n * n_edits, sizeof *m->receipts[a], "receipts", err);
    }
    return status;
}

/* random_nll[d]: mean over the controls, in their order. */
static qk_status average_controls(qk_measured *m, qk_error *err)
{
    double n_controls = (double)m->plan.n_arms - 2;
    if (n_controls < 1) return QK_OK;
    qk_status status = qk_new_array(&m->random_nll, m->n_documents, sizeof *m->random_nll, "scores", err);
    for (size_t d = 0; !status && d < m->n_documents; d++) {
        for (size_t a = 2; a < m->plan.n_arms; a++) m->random_nll[d] += qk_arm_nll(m, a)[d];
        m->random_nll[d] /= n_controls;
    }
    return status;
}

/* ---- the study */

/* What one model holds: masks and calibration maps, scores and receipts of every document, rows of results.json. */
uint64_t qk_disrupt_table_bytes(const qk_config *config, const qk_disrupt_settings *settings, size_t n_documents)
{
    uint64_t n_arms = 2 + settings->both_ops + settings->n_controls;
    uint64_t n_edits = (uint64_t)config->n_layers * QK_N_TENSORS;
    uint64_t dims = (uint64_t)config->n_layers * (uint64_t)(config->n_heads + 2 * config->n_kv_heads) *
                    (uint64_t)config->head_dim;
    uint64_t unit = sizeof(double) + sizeof(bool) + n_edits * sizeof(qk_receipt) + QK_STUDY_ROW_BYTES;
    return n_documents * (n_arms * unit + QK_STUDY_ROW_BYTES) + dims * (n_arms + 2 * sizeof(double)) +
           n_arms * n_edits * QK_STUDY_ROW_BYTES;
}

static qk_status refuse_overlap(const qk_documents *calibration, const qk_documents *evaluation, qk_error *err)
{
    for (size_t i = 0; i < calibration->n; i++) {
        for (size_t k = 0; k < evaluation->n; k++) {
            if (strcmp(calibration->items[i].sha256, evaluation->items[k].sha256) != 0) continue;
            return qk_fail(err, QK_E_ARGUMENT, "document %s is in the calibration set and, as %s, in the evaluation "
                           "set: masks must be found on other documents than those they are tested on",
                           calibration->items[i].id, evaluation->items[k].id);
        }
    }
    return QK_OK;
}

const char *const qk_control_names[] = { "excluding", "uniform", "same-head" };

void qk_disrupt_put_lists(qk_row *row, const qk_disrupt_settings *s, size_t n_layer_flags,
                          const qk_documents *calibration)
{
    json_t *tensors = json_array(), *layers = json_array(), *seeds = json_array(), *ids = json_array();
    int failed = 0;
    for (int t = 0; t < QK_N_TENSORS; t++) {
        if (s->tensor[t]) failed |= json_array_append_new(tensors, json_string(qk_tensor_letters[t]));
    }
    for (size_t l = 0; s->layers && l < n_layer_flags; l++) {
        if (s->layers[l]) failed |= json_array_append_new(layers, json_integer((json_int_t)l));
    }
    for (size_t i = 0; i < s->n_controls; i++) {
        failed |= json_array_append_new(seeds, json_integer((json_int_t)(s->seed + i)));
    }
    for (size_t i = 0; calibration && i < calibration->n; i++) {
        failed |= json_array_append_new(ids, qk_json_text(calibration->items[i].id));
    }
    qk_row_json(row, "tensors", tensors);
    qk_row_json(row, "layers", s->layers ? json_incref(layers) : json_string("all"));
    qk_row_json(row, "seeds", seeds);
    qk_row_json(row, "calibration", ids);
    json_decref(layers);
    row->failed |= failed != 0;
}

static json_t *json_settings(const qk_disrupt_settings *s, size_t n_layer_flags, const qk_documents *calibration,
                             const qk_compute *compute, size_t context)
{
    static const char *const presets[] = { NULL, "africa", "jin" };
    static const char *const maps[] = { "norms / sqrt(tokens), averaged over documents",
                                        "norms, averaged over documents", "norms of the very document" };
    bool jin = s->preset == QK_PRESET_JIN, top_k = s->criterion == QK_CRITERION_TOP_K;
    qk_row row = qk_row_start();
    qk_row_number(&row, "lambda", top_k ? NAN : s->lambda);
    qk_row_json(&row, "top_k", top_k ? json_integer((json_int_t)s->top_k) : json_null());
    qk_row_text(&row, "criterion", qk_criterion_name(s->criterion));
    qk_row_text(&row, "map", maps[s->preset]);
    qk_row_text(&row, "site", s->post_rotation ? "post" : "pre");
    qk_row_text(&row, "op", jin ? "head-mean" : s->mean ? "mean" : "zero");
    qk_disrupt_put_lists(&row, s, n_layer_flags, calibration);
    qk_row_text(&row, "control", jin ? "uniform-in-head" : qk_control_names[s->control]);
    qk_row_text(&row, "preset", presets[s->preset]);
    qk_row_count(&row, "context", context);
    qk_row_flag(&row, "bos", !compute->no_bos);
    qk_row_text(&row, "precision", qk_precision_name(compute->precision));
    qk_row_flag(&row, "reference", compute->reference);
    qk_row_count(&row, "bootstrap_draws", s->n_bootstrap);
    return qk_row_take(&row);
}

static json_t *start_results(json_t *settings, json_t *models)
{
    static const char *const arrays[] = { "documents", "conditions", "masks", "scores", "summary", "effects", "tests",
                                          "warnings" };
    qk_row row = qk_row_start();
    qk_row_text(&row, "study", "disrupt");
    qk_row_count(&row, "schema", 1);
    qk_row_json(&row, "settings", settings);
    qk_row_json(&row, "models", models);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) qk_row_json(&row, arrays[i], json_array());
    return qk_row_take(&row);
}

/* One model: masks, scores, rows. */
static qk_status disrupt_model(qk_measured *m, json_t *results, const qk_named_model *model, size_t index,
                               qk_documents *calibration, qk_documents *evaluation, const qk_disrupt_settings *settings,
                               size_t n_layer_flags, qk_compute *budget, size_t context, qk_run *run,
                               qk_error *err)
{
    bool apart = calibration && calibration != evaluation;
    m->model = model->name;
    qk_status status = qk_study_tokenize(evaluation, model, context, budget->no_bos, err);
    if (!status && apart) status = qk_study_tokenize(calibration, model, context, budget->no_bos, err);
    if (!status && index == 0) status = qk_study_reserve_documents(budget, evaluation, err);
    if (!status && index == 0 && apart) status = qk_study_reserve_documents(budget, calibration, err);
    if (!status) {
        uint64_t tables = qk_disrupt_table_bytes(&model->model->config, settings, evaluation->n);
        status = qk_study_reserve(budget, tables, "holding masks, scores and receipts", err);
    }
    if (!status) status = qk_disrupt_plan_model(&m->plan, model, calibration, settings, n_layer_flags, budget, err);
    if (!status) status = qk_measured_start(m, evaluation->n, err);
    if (status) return status;
    for (size_t d = 0; d < evaluation->n; d++) m->n_tokens[d] = (double)(evaluation->items[d].n_tokens - 1);
    read_journal(m, run, index);
    status = measure(m, model, index, evaluation, budget, run, err);
    if (!status) status = average_controls(m, err);
    if (!status) status = qk_disrupt_conditions(results, m, index, &model->model->config, err);
    if (!status) status = qk_disrupt_scores(results, m, index, err);
    if (!status) status = qk_disrupt_summary(results, m, index, evaluation, settings->n_bootstrap, err);
    return status;
}

static qk_status add_documents(json_t *out, const qk_documents *calibration, const qk_documents *evaluation,
                               size_t model, size_t n_models, size_t context, qk_error *err)
{
    qk_status status = QK_OK;
    bool apart = calibration && calibration != evaluation;
    json_t *warnings = json_object_get(out, "warnings");
    if (model == 0) {
        status = qk_json_set(out, "documents", qk_json_documents(evaluation), err);
        if (!status && apart) status = qk_json_set(out, "calibration_documents", qk_json_documents(calibration), err);
        if (!status) status = qk_warn_documents(warnings, evaluation, context, err);
        if (!status && calibration && !apart) {
            status = qk_json_warn(warnings, err, "the masks were found on the evaluation documents themselves, as the "
                                  "post did: their effect is overstated");
        }
    }
    if (!status && n_models > 1) status = qk_json_tokens_of_model(json_object_get(out, "documents"), evaluation, err);
    return status;
}

static qk_status run_models(json_t *out, qk_measured *measured, const qk_named_model *models, size_t n_models,
                            qk_documents *calibration, qk_documents *evaluation, const qk_disrupt_settings *settings,
                            size_t n_layer_flags, const qk_compute *compute, size_t context, qk_run *run, qk_error *err)
{
    qk_status status = QK_OK;
    qk_compute budget = *compute; /* what the models before leave */
    for (size_t m = 0; !status && m < n_models; m++) {
        status = disrupt_model(&measured[m], out, &models[m], m, calibration, evaluation, settings, n_layer_flags,
                               &budget, context, run, err);
        status = qk_study_over_budget(status, compute, &budget, err);
        if (!status) status = add_documents(out, calibration, evaluation, m, n_models, context, err);
    }
    if (!status) status = qk_warn_context(json_object_get(out, "warnings"), models, n_models, context, err);
    if (!status) status = qk_disrupt_tests(out, measured, n_models, err);
    if (!status && settings->preset == QK_PRESET_AFRICA) status = qk_disrupt_naive(out, measured, n_models, err);
    return status;
}

size_t qk_disrupt_layer_flags(const qk_named_model *models, size_t n_models)
{
    size_t least = SIZE_MAX;
    for (size_t m = 0; m < n_models; m++) {
        size_t n = (size_t)models[m].model->config.n_layers;
        if (n < least) least = n;
    }
    return least;
}

qk_status qk_study_disrupt(json_t **results, const qk_named_model *models, size_t n_models, qk_documents *calibration,
                           qk_documents *evaluation, const qk_disrupt_settings *given, const qk_compute *compute,
                           qk_run *run, qk_error *err)
{
    const qk_disrupt_settings settings = qk_disrupt_resolve(given);
    size_t context = qk_study_context(models, n_models, compute), n_layer_flags = 0;
    qk_measured *measured = NULL;
    if (settings.preset == QK_PRESET_AFRICA) calibration = evaluation;
    if (settings.preset == QK_PRESET_JIN) calibration = NULL;
    if (n_models == 0) return qk_fail(err, QK_E_ARGUMENT, "disrupt: expected a model, found none");
    if (!settings.preset && !calibration) return qk_fail(err, QK_E_ARGUMENT, "disrupt: no documents to find masks on");
    n_layer_flags = qk_disrupt_layer_flags(models, n_models);
    qk_status status = settings.preset ? QK_OK : refuse_overlap(calibration, evaluation, err);
    if (!status) status = qk_new_array(&measured, n_models, sizeof *measured, "scores", err);
    if (status) return status;
    json_t *out = start_results(json_settings(&settings, n_layer_flags, calibration, compute, context),
                                qk_json_models(models, n_models));
    if (!out) status = qk_out_of_memory(err, "results", 0);
    if (!status) {
        status = run_models(out, measured, models, n_models, calibration, evaluation, &settings, n_layer_flags, compute,
                            context, run, err);
    }
    if (!status) *results = json_incref(out);
    for (size_t m = 0; m < n_models; m++) qk_measured_free(&measured[m]);
    free(measured);
    json_decref(out);
    return status;
}
