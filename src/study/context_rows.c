/* context_rows.c - what the context study says: losses with intervals over texts, shares found with Wilson's, arms
 * against one of them on the same prompts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "study/context.h"

/* ---- arms */

/* The arm that the others are tested against: the first temperature without rotation, else the first one, else the last
 * model as it is. */
static size_t reference_arm(const qk_context *c)
{
    size_t plain = 0, heated = SIZE_MAX;
    for (size_t a = 0; a < c->n_arms; a++) {
        if (c->arms[a].method == QK_METHOD_NONE) plain = a;
        if (c->arms[a].method != QK_METHOD_TEMPERATURE) continue;
        if (c->models[c->arms[a].model].model->config.rope_kind == QK_ROPE_NONE) return a;
        if (heated == SIZE_MAX) heated = a;
    }
    return heated == SIZE_MAX ? plain : heated;
}

size_t qk_context_first_arm(const qk_context *c, size_t model)
{
    size_t a = 0;
    while (c->arms[a].model != model) a++;
    return a;
}

void qk_context_put_arm(qk_row *row, const qk_context *c, size_t arm)
{
    qk_row_count(row, "model", c->arms[arm].model);
    qk_row_count(row, "arm", arm);
    qk_row_text(row, "method", qk_method_name(c->arms[arm].method));
}

void qk_context_put_length(qk_row *row, double stretch, size_t length)
{
    qk_row_number(row, "stretch", stretch);
    qk_row_count(row, "length", length);
}

static qk_status add_methods(json_t *rows, const qk_context *c, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t a = 0; !status && a < c->n_arms; a++) {
        char name[160];
        size_t m = c->arms[a].model;
        bool heated = c->arms[a].method == QK_METHOD_TEMPERATURE;
        qk_row row = qk_row_start();
        snprintf(name, sizeof name, "%s %s", c->models[m].name, qk_method_name(c->arms[a].method));
        qk_context_put_arm(&row, c, a);
        qk_row_text(&row, "name", name);
        qk_row_flag(&row, "reference", a == reference_arm(c));
        qk_row_count(&row, "trained", qk_trained_context(&c->models[m].model->config));
        qk_row_number(&row, "slope", heated ? c->slope[m] : NAN);
        qk_row_json(&row, "temperature", heated && c->fitted[m] ? qk_temperature_json(&c->fit[m]) : json_null());
        status = qk_row_append(rows, &row, err);
    }
    return status;
}

/* ---- losses */

/* Sums of every text over buckets [from, to). */
static void sum_texts(double *nll, double *n, const qk_context_loss *loss, size_t n_texts, size_t from, size_t to)
{
    for (size_t t = 0; t < n_texts; t++) {
        nll[t] = n[t] = 0;
        for (size_t b = from; b < to; b++) {
            nll[t] += loss[t].nll[b];
            n[t] += loss[t].n[b];
        }
    }
}

static double total(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

static void put_loss(qk_row *row, const qk_context *c, const double *nll, const double *n)
{
    qk_interval ci = qk_bootstrap_ratio(nll, n, c->n_texts, c->settings->n_bootstrap, c->settings->world);
    qk_row_count(row, "tokens", (size_t)total(n, c->n_texts));
    qk_row_number(row, "nll_per_token", total(nll, c->n_texts) / total(n, c->n_texts));
    qk_row_estimate(row, "ci95", &ci);
}

/* One arm at one length under one protocol; `delta`: against the model's first arm on the same texts. */
static qk_status add_loss(json_t *rows, const qk_context *c, const qk_context_loss *all, const char *protocol,
                          size_t arm, size_t length, double *sums, qk_error *err)
{
    size_t n_lengths = c->settings->n_lengths, base = qk_context_first_arm(c, c->arms[arm].model), n = c->n_texts;
    double *nll = sums, *tokens = sums + n, *before = sums + 2 * n, *base_tokens = sums + 3 * n;
    qk_row row = qk_row_start();
    sum_texts(nll, tokens, all + (arm * n_lengths + length) * n, n, 0, c->n_edges - 1);
    sum_texts(before, base_tokens, all + (base * n_lengths + length) * n, n, 0, c->n_edges - 1);
    qk_context_put_arm(&row, c, arm);
    qk_row_text(&row, "protocol", protocol);
    qk_context_put_length(&row, c->settings->lengths[length], c->lengths[length]);
    qk_row_count(&row, "texts", n);
    put_loss(&row, c, nll, tokens);
    qk_row_number(&row, "ppl", exp(total(nll, n) / total(tokens, n)));
    qk_interval delta = qk_bootstrap_difference(nll, before, tokens, n, c->settings->n_bootstrap, c->settings->world);
    bool same = arm == base;
    qk_row_number(&row, "delta", same ? NAN : (total(nll, n) - total(before, n)) / total(tokens, n));
    qk_row_interval(&row, "delta_ci95", same || delta.refused ? NAN : delta.low,
                    same || delta.refused ? NAN : delta.high);
    return qk_row_append(rows, &row, err);
}

static qk_status add_positions(json_t *rows, const qk_context *c, size_t arm, size_t length, double *sums,
                               qk_error *err)
{
    size_t n = c->n_texts;
    qk_status status = QK_OK;
    for (size_t b = 0; !status && b + 1 < c->n_edges && c->edges[b] < c->lengths[length]; b++) {
        qk_row row = qk_row_start();
        sum_texts(sums, sums + n, c->truncated + (arm * c->settings->n_lengths + length) * n, n, b, b + 1);
        qk_context_put_arm(&row, c, arm);
        qk_context_put_length(&row, c->settings->lengths[length], c->lengths[length]);
        qk_row_count(&row, "from", c->edges[b]);
        qk_row_count(&row, "to", c->edges[b + 1]);
        put_loss(&row, c, sums, sums + n);
        status = qk_row_append(rows, &row, err);
    }
    return status;
}

static qk_status add_losses(json_t *results, const qk_context *c, qk_error *err)
{
    double *sums = NULL;
    qk_status status = qk_new_array(&sums, 4 * c->n_texts, sizeof *sums, "losses", err);
    json_t *rows = json_object_get(results, "loss"), *positions = json_object_get(results, "positions");
    for (size_t a = 0; !status && a < c->n_arms; a++)
        for (size_t l = 0; !status && l < c->settings->n_lengths; l++) {
            status = add_loss(rows, c, c->truncated, "truncated", a, l, sums, err);
            if (!status && c->sliding) status = add_loss(rows, c, c->sliding, "sliding", a, l, sums, err);
            if (!status) status = add_positions(positions, c, a, l, sums, err);
        }
    free(sums);
    return status;
}

/* ---- keys */

static qk_status add_share(json_t *rows, const qk_context *c, size_t arm, size_t task, size_t length, size_t depth0,
                           size_t depth1, qk_error *err)
{
    size_t n_trials = qk_context_trials(c, c->task_lengths[length]), n = 0, right = 0;
    double nll = 0;
    qk_row row = qk_row_start();
    for (size_t d = depth0; d < depth1; d++)
        for (size_t i = 0; i < n_trials; i++, n++) {
            const qk_found *found = qk_context_found(c, arm, task, length, d) + i;
            right += found->right;
            nll += found->nll;
        }
    qk_interval wilson = qk_wilson(right, n);
    qk_context_put_arm(&row, c, arm);
    qk_row_text(&row, "task", qk_context_task_names[task]);
    qk_context_put_length(&row, c->settings->task_lengths[length], c->task_lengths[length]);
    qk_row_number(&row, "depth", depth1 - depth0 == 1 ? c->settings->depths[depth0] : NAN);
    qk_row_count(&row, "n", n);
    qk_row_count(&row, "right", right);
    qk_row_number(&row, "accuracy", wilson.estimate);
    qk_row_estimate(&row, "ci95", &wilson);
    qk_row_number(&row, "nll", nll / (double)n);
    return qk_row_append(rows, &row, err);
}

/* `arm` and the reference on the same prompts; *log10_p for Holm. */
static qk_status add_test(json_t *rows, double *log10_p, const qk_context *c, size_t arm, size_t task, size_t length,
                          qk_error *err)
{
    size_t n_trials = qk_context_trials(c, c->task_lengths[length]), reference = reference_arm(c);
    size_t count[2][2] = { { 0 } }; /* [the reference is right][the arm is] */
    for (size_t d = 0; d < c->settings->n_depths; d++)
        for (size_t i = 0; i < n_trials; i++)
            count[qk_context_found(c, reference, task, length, d)[i].right]
                 [qk_context_found(c, arm, task, length, d)[i].right]++;
    qk_test test = qk_test_mcnemar(n_trials * c->settings->n_depths, count[0][1], count[1][0]);
    json_t *object = qk_json_test(&test, NULL);
    qk_row row = { object, !object };
    *log10_p = test.log10_p;
    qk_context_put_arm(&row, c, arm);
    qk_row_count(&row, "reference", reference);
    qk_row_text(&row, "task", qk_context_task_names[task]);
    qk_context_put_length(&row, c->settings->task_lengths[length], c->task_lengths[length]);
    qk_row_count(&row, "both", count[1][1]);
    qk_row_count(&row, "only_reference", count[1][0]);
    qk_row_count(&row, "only_arm", count[0][1]);
    qk_row_count(&row, "neither", count[0][0]);
    return qk_row_append(rows, &row, err);
}

static qk_status add_retrieval(json_t *results, const qk_context *c, qk_error *err)
{
    const qk_context_settings *s = c->settings;
    json_t *pooled = json_object_get(results, "retrieval"), *cells = json_object_get(results, "cells");
    qk_status status = QK_OK;
    for (size_t task = 0; !status && task < QK_N_CONTEXT_TASKS; task++)
        for (size_t a = 0; !status && a < c->n_arms; a++)
            for (size_t l = 0; !status && l < s->n_task_lengths; l++) {
                if (!qk_context_asks(c, task, l)) continue;
                status = add_share(pooled, c, a, task, l, 0, s->n_depths, err);
                for (size_t d = 0; !status && d < s->n_depths; d++)
                    status = add_share(cells, c, a, task, l, d, d + 1, err);
            }
    return status;
}

static qk_status add_tests(json_t *results, const qk_context *c, qk_error *err)
{
    const qk_context_settings *s = c->settings;
    json_t *rows = json_object_get(results, "tests");
    size_t reference = reference_arm(c);
    double *log10_p = NULL;
    qk_status status = qk_new_array(&log10_p, QK_N_CONTEXT_TASKS * c->n_arms * s->n_task_lengths + 1, sizeof *log10_p,
                                    "p-values", err);
    for (size_t task = 0; !status && task < QK_N_CONTEXT_TASKS; task++)
        for (size_t l = 0; !status && l < s->n_task_lengths; l++)
            for (size_t a = 0; !status && c->task_lengths[l] > c->trained && a < c->n_arms; a++)
                if (a != reference && qk_context_asks(c, task, l))
                    status = add_test(rows, log10_p + json_array_size(rows), c, a, task, l, err);
    size_t n = json_array_size(rows);
    if (!status) qk_holm(log10_p, n);
    for (size_t i = 0; !status && i < n; i++)
        status = qk_json_set(json_array_get(rows, i), "log10_p_holm", qk_json_number(log10_p[i]), err);
    free(log10_p);
    return status;
}

static qk_status add_rows(json_t *results, const qk_context *c, qk_error *err)
{
    qk_status status = add_methods(json_object_get(results, "methods"), c, err);
    if (!status && c->settings->n_lengths) status = add_losses(results, c, err);
    if (!status) status = add_retrieval(results, c, err);
    if (!status) status = add_tests(results, c, err);
    return status || !c->n_broken ? status : qk_context_broken_rows(results, c, err);
}

/* ---- the whole */

static json_t *numbers(const double *x, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) json_array_append_new(list, json_real(x[i]));
    return list;
}

/* How keys were broken, as in tasks. */
static void put_edits(qk_row *row, const qk_context *c)
{
    const qk_disrupt_settings *e = &c->settings->edits;
    bool top_k = e->criterion == QK_CRITERION_TOP_K;
    qk_row_number(row, "lambda", top_k ? NAN : e->lambda);
    qk_row_json(row, "top_k", top_k ? json_integer((json_int_t)e->top_k) : json_null());
    qk_row_text(row, "criterion", qk_criterion_name(e->criterion));
    qk_row_text(row, "site", e->post_rotation ? "post" : "pre");
    qk_row_text(row, "control", qk_control_names[e->control]);
    qk_disrupt_put_lists(row, e, qk_disrupt_layer_flags(c->models, c->n_models), c->settings->masks_from);
}

static json_t *settings_json(const qk_context *c)
{
    const qk_context_settings *s = c->settings;
    json_t *tasks = json_array();
    qk_row row = qk_row_start();
    for (int t = 0; tasks && t < QK_N_CONTEXT_TASKS; t++)
        if (s->tasks >> t & 1) json_array_append_new(tasks, json_string(qk_context_task_names[t]));
    qk_row_count(&row, "trained", c->trained);
    qk_row_json(&row, "lengths", numbers(s->lengths, s->n_lengths));
    qk_row_json(&row, "task_lengths", numbers(s->task_lengths, s->n_task_lengths));
    qk_row_json(&row, "depths", numbers(s->depths, s->n_depths));
    qk_row_json(&row, "tasks", tasks);
    qk_row_text(&row, "haystack", s->plain ? "plain" : "world");
    qk_row_count(&row, "trials", s->trials);
    qk_row_count(&row, "texts", c->n_texts);
    qk_row_flag(&row, "joined", c->joined);
    qk_row_json(&row, "scale", s->scale > 0 ? json_real(s->scale) : json_null());
    qk_row_flag(&row, "sliding", s->sliding);
    qk_row_json(&row, "stride", s->stride ? json_integer((json_int_t)s->stride) : json_null());
    qk_row_json(&row, "world", json_integer((json_int_t)s->world));
    qk_row_text(&row, "scoring", "teacher forcing, every token the likeliest");
    qk_row_flag(&row, "broken", c->n_broken > 0);
    if (c->n_broken) put_edits(&row, c);
    qk_row_count(&row, "bootstrap", s->n_bootstrap);
    qk_row_flag(&row, "bos", !c->compute->no_bos);
    qk_row_text(&row, "precision", qk_precision_name(c->compute->precision));
    qk_row_flag(&row, "reference", c->compute->reference);
    return qk_row_take(&row);
}

static json_t *start_results(const qk_context *c, const qk_documents *documents)
{
    static const char *const arrays[] = { "methods", "loss", "positions", "retrieval", "cells", "tests",
                                          "broken",  "broken_tests", "warnings" };
    qk_row out = qk_row_start();
    qk_row_text(&out, "study", "context");
    qk_row_count(&out, "schema", 1);
    qk_row_json(&out, "settings", settings_json(c));
    qk_row_json(&out, "models", qk_json_models(c->models, c->n_models));
    qk_row_json(&out, "documents", c->settings->n_lengths && !c->joined ? qk_json_documents(documents) : json_array());
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) qk_row_json(&out, arrays[i], json_array());
    return qk_row_take(&out);
}

static qk_status warn_left_out(json_t *warnings, const qk_context *c, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t m = 0; !status && m < c->n_models; m++)
        for (int method = 0; !status && method < QK_N_METHODS; method++) {
            qk_error why = { QK_OK, "" };
            if (!(c->settings->methods >> method & 1)) continue;
            if (qk_method_check(&c->models[m].model->config, (qk_method)method, &why))
                status = qk_json_warn(warnings, err, "%s: left out: %s", c->models[m].name, why.message);
        }
    return status;
}

static qk_status warn_short(json_t *warnings, const qk_context *c, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t task = 0; task < QK_N_CONTEXT_TASKS; task++)
        for (size_t l = 0; !status && l < c->settings->n_task_lengths; l++)
            if (c->left_out[task][l])
                status = qk_json_warn(warnings, err,
                                      "%s at %zu tokens is left out: words, keys and questions alone have at least %zu",
                                      qk_context_task_names[task], c->task_lengths[l], c->left_out[task][l]);
    return status;
}

static qk_status warn(json_t *warnings, const qk_context *c, qk_error *err)
{
    qk_status status = json_array_extend(warnings, c->notes) ? qk_out_of_memory(err, "warnings", 0) : QK_OK;
    if (!status) status = warn_left_out(warnings, c, err);
    if (!status) status = warn_short(warnings, c, err);
    if (!status && c->joined)
        status = qk_json_warn(warnings, err,
                              "no document is as long as the longest length: texts are documents put behind "
                              "one another, so what lies far back seldom helps");
    if (!status && c->settings->n_lengths && c->n_texts < 5)
        status = qk_json_warn(warnings, err, "only %zu text%s: intervals of losses over so few say little", c->n_texts,
                              c->n_texts == 1 ? "" : "s");
    for (size_t m = 0; !status && m < c->n_models; m++) {
        const qk_config *config = &c->models[m].model->config;
        double beta = config->softmax_scale * sqrt(config->head_dim);
        if (fabs(beta - 1) > 1e-6 && qk_context_wants_temperature(c, m))
            status = qk_json_warn(warnings, err,
                                  "%s: its file has an attention temperature of its own, beta %.4g: none "
                                  "keeps it, temperature replaces it beyond the trained context",
                                  c->models[m].name, beta);
        if (!status && c->fitted[m] && c->fit[m].at_edge)
            status = qk_json_warn(warnings, err,
                                  "%s: the loss still falls at the end of the range of temperatures: beta "
                                  "%.3f is that end",
                                  c->models[m].name, c->fit[m].beta);
    }
    return status;
}

qk_status qk_context_results(json_t **results, const qk_context *c, const qk_documents *documents, qk_error *err)
{
    json_t *out = start_results(c, documents);
    qk_status status = out ? warn(json_object_get(out, "warnings"), c, err) : qk_out_of_memory(err, "results", 0);
    if (!status) status = add_rows(out, c, err);
    if (status)
        json_decref(out);
    else
        *results = out;
    return status;
}
