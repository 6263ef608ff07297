/* temperature.c - fitting the attention temperature for a longer context. */
#include "study/temperature.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- sequences longer than the trained context */

static qk_status long_documents(qk_sequence *out, size_t *n, const qk_documents *documents, size_t trained,
                                size_t context, size_t max_tokens, qk_error *err)
{
    size_t n_tokens = 0, longest = 0;
    for (size_t i = 0; i < documents->n && (max_tokens == 0 || n_tokens < max_tokens); i++) {
        const qk_document *d = &documents->items[i];
        if (d->n_tokens > longest) longest = d->n_tokens;
        if (d->n_tokens <= trained) continue;
        out[*n] = (qk_sequence){ d->tokens, d->n_tokens < context ? d->n_tokens : context, 1 };
        n_tokens += out[(*n)++].n_tokens;
    }
    if (*n > 0) return QK_OK;
    return qk_fail(err, QK_E_ARGUMENT,
                   "temperature: expected documents beyond the trained context of %zu tokens, the longest has %zu",
                   trained, longest);
}

/* All documents as one text, cut into whole windows. */
static qk_status join(qk_sequence *out, size_t *n, int32_t *text, const qk_documents *documents, size_t context,
                      size_t max_tokens, qk_error *err)
{
    size_t n_text = 0;
    for (size_t i = 0; i < documents->n; i++) {
        memcpy(text + n_text, documents->items[i].tokens, documents->items[i].n_tokens * sizeof *text);
        n_text += documents->items[i].n_tokens;
    }
    for (size_t at = 0; n_text - at >= context && (max_tokens == 0 || at < max_tokens); at += context)
        out[(*n)++] = (qk_sequence){ text + at, context, 1 };
    if (*n > 0) return QK_OK;
    return qk_fail(err, QK_E_ARGUMENT, "temperature: expected %zu tokens in the held-out documents together, found %zu",
                   context, n_text);
}

qk_status qk_temperature_sequences(qk_sequence **sequences, size_t *n, int32_t **text, const qk_documents *documents,
                                   const qk_config *config, size_t context, size_t max_tokens, bool joined,
                                   qk_error *err)
{
    qk_sequence *out = NULL;
    int32_t *all = NULL;
    size_t n_out = 0, n_tokens = 0, trained = (size_t)config->n_context;
    if (context <= trained)
        return qk_fail(err, QK_E_ARGUMENT,
                       "--temperature-context %zu: expected more than the trained context of %zu tokens", context,
                       trained);
    for (size_t i = 0; i < documents->n; i++) n_tokens += documents->items[i].n_tokens;
    size_t most = joined ? n_tokens / context : documents->n;
    qk_status status = qk_new_array(&out, most + 1, sizeof *out, "sequences", err);
    if (!status && joined) status = qk_new_array(&all, n_tokens + 1, sizeof *all, "joined documents", err);
    if (!status && joined)
        status = join(out, &n_out, all, documents, context, max_tokens, err);
    else if (!status)
        status = long_documents(out, &n_out, documents, trained, context, max_tokens, err);
    if (status) {
        free(out);
        free(all);
        return status;
    }
    *sequences = out;
    *n = n_out;
    *text = all;
    return QK_OK;
}

/* ---- the fit */

typedef struct fit {
    qk_temperature *out;
    const qk_model *model;
    qk_pass_spec spec;
} fit;

/* Nats per token of the sequences in `spec` at `beta`. */
static qk_status score(double *nll, size_t *n_tokens, const fit *f, const qk_pass_spec *spec, double beta,
                       qk_error *err)
{
    const qk_model view = qk_model_at_scale(f->model, beta / sqrt(f->model->config.head_dim));
    qk_pass_result *result;
    double sum = 0;
    size_t n = 0;
    qk_status status = qk_pass_run(&result, &view, spec, err);
    if (status) return qk_prefix(err, status, "beta %.4g", beta);
    for (size_t i = 0; i < result->n_sequences; i++) {
        sum += result->scores[i].nll;
        n += result->scores[i].n_tokens;
    }
    qk_pass_result_free(result);
    *nll = sum / (double)n;
    *n_tokens = n;
    return QK_OK;
}

/* Loss at `beta`; kept in the curve. */
static qk_status try_beta(double *nll, fit *f, double beta, qk_error *err)
{
    qk_temperature *t = f->out;
    size_t at = t->n_curve;
    for (size_t i = 0; i < t->n_curve; i++)
        if (t->curve[i].beta == beta) return *nll = t->curve[i].nll, QK_OK;
    qk_status status = score(nll, &t->n_tokens, f, &f->spec, beta, err);
    if (status) return status;
    if (t->n_curve == sizeof t->curve / sizeof *t->curve) return QK_OK;
    for (; at > 0 && t->curve[at - 1].beta > beta; at--) t->curve[at] = t->curve[at - 1];
    t->curve[at].beta = beta;
    t->curve[at].nll = *nll;
    t->n_curve++;
    return QK_OK;
}

static double grid_beta(int i) { return QK_BETA_LOW + (QK_BETA_HIGH - QK_BETA_LOW) * i / (QK_BETA_GRID - 1); }

/* Golden sections of [low, high], which holds a minimum. */
static qk_status sections(fit *f, double low, double high, qk_error *err)
{
    const double ratio = (sqrt(5) - 1) / 2;
    double left = high - ratio * (high - low), right = low + ratio * (high - low), at_left, at_right;
    qk_status status = try_beta(&at_left, f, left, err);
    if (!status) status = try_beta(&at_right, f, right, err);
    while (!status && high - low > QK_BETA_TOLERANCE) {
        if (at_left <= at_right) {
            high = right;
            right = left;
            at_right = at_left;
            left = high - ratio * (high - low);
            status = try_beta(&at_left, f, left, err);
        } else {
            low = left;
            left = right;
            at_left = at_right;
            right = low + ratio * (high - low);
            status = try_beta(&at_right, f, right, err);
        }
    }
    return status;
}

/* What the text that the model was trained to read costs at beta and at 1. */
static qk_status score_trained(const fit *f, const qk_sequence *sequences, size_t n, qk_error *err)
{
    size_t trained = (size_t)f->model->config.n_context, n_tokens;
    qk_pass_spec spec = f->spec;
    qk_sequence *cut = NULL;
    qk_status status = qk_new_array(&cut, n, sizeof *cut, "sequences", err);
    for (size_t i = 0; i < n && !status; i++) {
        cut[i] = sequences[i];
        if (cut[i].n_tokens > trained) cut[i].n_tokens = trained;
    }
    spec.sequences = cut;
    if (!status) status = score(&f->out->trained_nll_at_one, &n_tokens, f, &spec, 1, err);
    if (!status) status = score(&f->out->trained_nll, &n_tokens, f, &spec, f->out->beta, err);
    free(cut);
    return status;
}

qk_status qk_temperature_fit(qk_temperature *out, const qk_model *model, const qk_sequence *sequences, size_t n,
                             const qk_compute *compute, qk_error *err)
{
    qk_temperature t = { .n_sequences = n };
    fit f = { &t, model, qk_study_spec(compute) };
    int best = 0;
    double nll, least = INFINITY;
    f.spec.sequences = sequences;
    f.spec.n_sequences = n;
    f.spec.score = true;
    for (size_t i = 0; i < n; i++)
        if (sequences[i].n_tokens > t.context) t.context = sequences[i].n_tokens;
    t.stretch = (double)t.context / model->config.n_context;
    qk_status status = try_beta(&t.nll_at_one, &f, 1, err);
    for (int i = 0; i < QK_BETA_GRID && !status; i++) {
        status = try_beta(&nll, &f, grid_beta(i), err);
        if (status || nll >= least) continue;
        least = nll;
        best = i;
    }
    if (!status)
        status = sections(&f, grid_beta(best > 0 ? best - 1 : 0),
                          grid_beta(best < QK_BETA_GRID - 1 ? best + 1 : QK_BETA_GRID - 1), err);
    if (status) return status;
    t.nll = INFINITY;
    for (size_t i = 0; i < t.n_curve; i++)
        if (t.curve[i].nll < t.nll) {
            t.nll = t.curve[i].nll;
            t.beta = t.curve[i].beta;
        }
    status = score_trained(&f, sequences, n, err);
    if (status) return status;
    t.at_edge = t.beta - QK_BETA_LOW < 2 * QK_BETA_TOLERANCE || QK_BETA_HIGH - t.beta < 2 * QK_BETA_TOLERANCE;
    *out = t;
    return QK_OK;
}

json_t *qk_temperature_json(const qk_temperature *t)
{
    json_t *curve = json_array();
    qk_row row = qk_row_start();
    for (size_t i = 0; curve && i < t->n_curve; i++) {
        qk_row point = qk_row_start();
        qk_row_number(&point, "beta", t->curve[i].beta);
        qk_row_number(&point, "nll", t->curve[i].nll);
        if (qk_row_append(curve, &point, NULL) == QK_OK) continue;
        json_decref(curve);
        curve = NULL;
    }
    qk_row_count(&row, "context", t->context);
    qk_row_number(&row, "stretch", t->stretch);
    qk_row_count(&row, "sequences", t->n_sequences);
    qk_row_count(&row, "tokens", t->n_tokens);
    qk_row_number(&row, "beta", t->beta);
    qk_row_number(&row, "nll", t->nll);
    qk_row_number(&row, "nll_at_one", t->nll_at_one);
    qk_row_number(&row, "trained_nll", t->trained_nll);
    qk_row_number(&row, "trained_nll_at_one", t->trained_nll_at_one);
    qk_row_flag(&row, "at_edge", t->at_edge);
    qk_row_number(&row, "paper_scratch", 1 + QK_BETA_SLOPE_SCRATCH * log(t->stretch));
    qk_row_number(&row, "paper_pretrained", 1 + QK_BETA_SLOPE_PRETRAINED * log(t->stretch));
    qk_row_json(&row, "curve", curve);
    return qk_row_take(&row);
}
