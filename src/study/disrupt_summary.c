/* disrupt_summary.c - what the scores of one model say: conditions and receipts, losses by condition and category. */
#include "study/disrupt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = { "baseline", "massive", "random", "mean" };

/* ---- conditions[] and scores[] */

static void add_receipt(qk_receipt *sum, const qk_receipt *more)
{
    sum->visited += more->visited;
    sum->changed += more->changed;
    sum->sum_abs += more->sum_abs;
    sum->max_abs = fmax(sum->max_abs, more->max_abs);
}

static void put_receipt(qk_row *row, const qk_receipt *r)
{
    qk_row_count(row, "visited", r->visited);
    qk_row_count(row, "changed", r->changed);
    qk_row_number(row, "sum_abs", r->sum_abs);
    qk_row_number(row, "max_abs", r->max_abs);
}

/* The receipt of an arm over all documents: whole, and one row for each layer and tensor. */
static json_t *json_receipt(const qk_measured *m, size_t a)
{
    const qk_arm *arm = &m->plan.arms[a];
    qk_receipt whole = { 0 };
    qk_row receipt = qk_row_start();
    json_t *rows = json_array();
    for (size_t e = 0; e < arm->n_edits; e++) {
        qk_receipt sum = { 0 };
        for (size_t d = 0; d < m->n_documents; d++) add_receipt(&sum, &m->receipts[a][d * arm->n_edits + e]);
        add_receipt(&whole, &sum);
        qk_row row = qk_row_start();
        qk_row_count(&row, "layer", (size_t)arm->edits[e].layer);
        qk_row_text(&row, "tensor", qk_tensor_letters[arm->tensors[e]]);
        qk_row_count(&row, "dims", arm->n_dims[e]);
        put_receipt(&row, &sum);
        if (json_array_append_new(rows, qk_row_take(&row))) receipt.failed = true;
    }
    put_receipt(&receipt, &whole);
    qk_row_json(&receipt, "by_layer", rows);
    return qk_row_take(&receipt);
}

static json_t *json_dims(const qk_measured *m, const qk_arm *arm)
{
    size_t dims[QK_N_TENSORS] = { 0 };
    bool edited[QK_N_TENSORS] = { [QK_TENSOR_Q] = true, [QK_TENSOR_K] = true };
    qk_row row = qk_row_start();
    const qk_arm *massive = m->plan.n_arms > 1 ? &m->plan.arms[1] : NULL;
    for (size_t e = 0; massive && e < massive->n_edits; e++) edited[massive->tensors[e]] = true;
    for (size_t e = 0; e < arm->n_edits; e++) dims[arm->tensors[e]] += arm->n_dims[e];
    for (int t = 0; t < QK_N_TENSORS; t++) {
        if (edited[t]) qk_row_count(&row, qk_tensor_letters[t], dims[t]);
    }
    return qk_row_take(&row);
}

/* masks[]: which dims `massive` edits, so that a reader can look them up. */
static qk_status add_masks(json_t *results, const qk_measured *m, size_t model, const qk_config *config, qk_error *err)
{
    const qk_arm *arm = &m->plan.arms[1];
    qk_status status = QK_OK;
    for (size_t e = 0; !status && e < arm->n_edits; e++) {
        if (!arm->edits[e].mask) continue; /* chosen anew in each document */
        json_t *dims = json_array();
        qk_row row = qk_row_start();
        qk_row_count(&row, "model", model);
        qk_row_count(&row, "layer", (size_t)arm->edits[e].layer);
        qk_row_text(&row, "tensor", qk_tensor_letters[arm->tensors[e]]);
        qk_row_json(&row, "dims", dims);
        for (size_t i = 0; i < qk_site_width(config, arm->edits[e].site); i++) {
            if (arm->edits[e].mask[i] && json_array_append_new(dims, json_integer((json_int_t)i))) row.failed = true;
        }
        status = qk_row_append(json_object_get(results, "masks"), &row, err);
    }
    return status;
}

/* An edit that changed nothing in any document would pass for one without effect. */
static qk_status refuse_idle(const qk_measured *m, const qk_arm *arm, const qk_receipt *receipts, qk_error *err)
{
    for (size_t e = 0; e < arm->n_edits; e++) {
        uint64_t changed = 0;
        for (size_t d = 0; d < m->n_documents; d++) changed += receipts[d * arm->n_edits + e].changed;
        if (changed > 0) continue;
        return qk_fail(err, QK_E_CHECK, "%s: condition \"%s\": the edit of %s in layer %d changed nothing", m->model,
                       arm->name, qk_tensor_letters[arm->tensors[e]], arm->edits[e].layer);
    }
    return QK_OK;
}

qk_status qk_disrupt_conditions(json_t *results, const qk_measured *m, size_t model, const qk_config *config,
                                qk_error *err)
{
    qk_status status = m->plan.n_arms < 2 ? QK_OK : add_masks(results, m, model, config, err);
    for (size_t a = 0; !status && a < m->plan.n_arms; a++) {
        const qk_arm *arm = &m->plan.arms[a];
        if ((status = refuse_idle(m, arm, m->receipts[a], err))) break;
        qk_row row = qk_row_start();
        qk_row_count(&row, "model", model);
        qk_row_text(&row, "name", arm->name);
        qk_row_text(&row, "kind", kind_names[arm->kind]);
        qk_row_json(&row, "dims", json_dims(m, arm));
        qk_row_json(&row, "seed", arm->kind == QK_ARM_RANDOM ? json_integer((json_int_t)arm->seed) : json_null());
        qk_row_json(&row, "receipt", json_receipt(m, a));
        status = qk_row_append(json_object_get(results, "conditions"), &row, err);
    }
    return status;
}

qk_status qk_disrupt_scores(json_t *results, const qk_measured *m, size_t model, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t i = 0; !status && i < m->plan.n_arms * m->n_documents; i++) {
        size_t a = i / m->n_documents, d = i % m->n_documents;
        double nll = qk_arm_nll(m, a)[d];
        qk_row row = qk_row_start();
        qk_row_count(&row, "model", model);
        qk_row_text(&row, "condition", m->plan.arms[a].name);
        qk_row_count(&row, "document", d);
        qk_row_count(&row, "tokens", (size_t)m->n_tokens[d]);
        qk_row_number(&row, "nll", nll);
        qk_row_number(&row, "ppl", exp(nll / m->n_tokens[d]));
        status = qk_row_append(json_object_get(results, "scores"), &row, err);
    }
    return status;
}

/* ---- summary[] and effects[] */

/* The documents of one category (NULL: all) side by side, for sums and the bootstrap. */
typedef struct selection {
    double *arm, *other, *baseline, *tokens; /* [n] */
    size_t n;
} selection;

static qk_status selection_new(selection *s, size_t n, qk_error *err)
{
    *s = (selection) { 0 };
    qk_status status = qk_new_array(&s->arm, n, 4 * sizeof(double), "documents", err);
    if (status) return status;
    s->other = s->arm + n;
    s->baseline = s->arm + 2 * n;
    s->tokens = s->arm + 3 * n;
    return QK_OK;
}

static void select_documents(selection *s, const qk_measured *m, const double *arm, const double *other,
                             const qk_documents *documents, const char *category)
{
    s->n = 0;
    for (size_t d = 0; d < m->n_documents; d++) {
        if (category && strcmp(documents->items[d].category, category) != 0) continue;
        s->arm[s->n] = arm[d];
        s->other[s->n] = other ? other[d] : 0;
        s->baseline[s->n] = qk_arm_nll(m, 0)[d];
        s->tokens[s->n++] = m->n_tokens[d];
    }
}

/* delta_nll, ci95, ppl and ppl_increase_pct of what is selected, against the baseline. */
static void put_losses(qk_row *row, const selection *s, bool is_baseline, size_t n_draws)
{
    double tokens = qk_sum(s->tokens, s->n), nll = qk_sum(s->arm, s->n) / tokens;
    double delta = is_baseline ? 0 : nll - qk_sum(s->baseline, s->n) / tokens;
    qk_interval ci = { .refused = "the baseline itself" };
    if (!is_baseline) ci = qk_bootstrap_difference(s->arm, s->baseline, s->tokens, s->n, n_draws, 0);
    qk_row_count(row, "tokens", (size_t)tokens);
    qk_row_number(row, "nll_per_token", nll);
    qk_row_number(row, "delta_nll", delta);
    qk_row_estimate(row, "ci95", &ci);
    qk_row_number(row, "ppl", exp(nll));
    qk_row_number(row, "ppl_increase_pct", 100 * expm1(delta));
}

/* True where document d is the first of its category. */
static bool starts_category(const qk_documents *documents, size_t d)
{
    for (size_t i = 0; i < d; i++) {
        if (strcmp(documents->items[i].category, documents->items[d].category) == 0) return false;
    }
    return true;
}

static json_t *json_categories(selection *s, const qk_measured *m, const double *nll, bool is_baseline,
                               const qk_documents *documents, size_t n_draws)
{
    json_t *rows = json_array();
    for (size_t d = 0; rows && d < documents->n; d++) {
        if (!starts_category(documents, d)) continue;
        select_documents(s, m, nll, NULL, documents, documents->items[d].category);
        qk_row row = qk_row_start();
        qk_row_text(&row, "category", documents->items[d].category);
        qk_row_count(&row, "documents", s->n);
        put_losses(&row, s, is_baseline, n_draws);
        if (json_array_append_new(rows, qk_row_take(&row)) == 0) continue;
        json_decref(rows);
        rows = NULL;
    }
    return rows;
}

static qk_status add_summary_row(json_t *results, selection *s, const qk_measured *m, size_t model, const char *name,
                                 const double *nll, const qk_documents *documents, size_t n_draws, qk_error *err)
{
    bool is_baseline = nll == qk_arm_nll(m, 0);
    qk_row row = qk_row_start();
    qk_row_count(&row, "model", model);
    qk_row_text(&row, "condition", name);
    select_documents(s, m, nll, NULL, documents, NULL);
    put_losses(&row, s, is_baseline, n_draws);
    qk_row_json(&row, "by_category", json_categories(s, m, nll, is_baseline, documents, n_draws));
    return qk_row_append(json_object_get(results, "summary"), &row, err);
}

static qk_status add_effects(json_t *results, selection *s, const qk_measured *m, size_t model,
                             const qk_documents *documents, size_t n_draws, qk_error *err)
{
    if (!m->random_nll) return QK_OK;
    select_documents(s, m, qk_arm_nll(m, 1), m->random_nll, documents, NULL);
    double tokens = qk_sum(s->tokens, s->n), base = qk_sum(s->baseline, s->n) / tokens;
    double massive = qk_sum(s->arm, s->n) / tokens - base, random = qk_sum(s->other, s->n) / tokens - base;
    qk_interval ci = qk_bootstrap_difference(s->arm, s->other, s->tokens, s->n, n_draws, 0);
    qk_row difference = qk_row_start(), row = qk_row_start();
    qk_row_number(&difference, "delta_nll", massive - random);
    qk_row_estimate(&difference, "ci95", &ci);
    qk_row_count(&row, "model", model);
    qk_row_json(&row, "m_minus_r", qk_row_take(&difference));
    qk_row_number(&row, "m_minus_r_pct", 100 * (expm1(massive) - expm1(random)));
    return qk_row_append(json_object_get(results, "effects"), &row, err);
}

qk_status qk_disrupt_summary(json_t *results, const qk_measured *m, size_t model, const qk_documents *documents,
                             size_t n_draws, qk_error *err)
{
    selection s;
    qk_status status = selection_new(&s, m->n_documents, err);
    for (size_t a = 0; !status && a < m->plan.n_arms; a++) {
        status = add_summary_row(results, &s, m, model, m->plan.arms[a].name, qk_arm_nll(m, a), documents, n_draws,
                                 err);
    }
    if (!status && m->random_nll) {
        status = add_summary_row(results, &s, m, model, "random", m->random_nll, documents, n_draws, err);
    }
    if (!status) status = add_effects(results, &s, m, model, documents, n_draws, err);
    double ppl = exp(qk_sum(qk_arm_nll(m, 0), m->n_documents) / qk_sum(m->n_tokens, m->n_documents));
    if (!status && ppl < 2) {
        status = qk_json_warn(json_object_get(results, "warnings"), err, "%s: baseline perplexity %.3g is below 2: the "
                              "text is repetitive or known by heart, so the loss measures copying", m->model, ppl);
    }
    free(s.arm);
    return status;
}
