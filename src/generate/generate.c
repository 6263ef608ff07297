/* generate.c - the call: what makes no sense is refused, streams go group after group, and what comes out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generate/generate_private.h"

static const qk_condition baseline = { .name = "baseline" };

const char *qk_end_name(qk_end end)
{
    static const char *const names[QK_N_ENDS] = {
        [QK_END_NONE] = "none",     [QK_END_STOP] = "stop",       [QK_END_TOKEN] = "end token",
        [QK_END_LENGTH] = "length", [QK_END_CONTEXT] = "context",
    };
    return names[end];
}

/* ---- checking what comes in */

static qk_status check_prompt(const qk_prompt *p, size_t index, size_t context, int n_vocab, qk_error *err)
{
    if (!p->tokens || p->n_tokens == 0)
        return qk_fail(err, QK_E_ARGUMENT, "prompt %zu: no tokens: expected text, or a BOS token, to go on from",
                       index);
    if (p->n_tokens > 1 << 28)
        return qk_fail(err, QK_E_ARGUMENT, "prompt %zu: %zu tokens, at most %d", index, p->n_tokens, 1 << 28);
    if (context && p->n_tokens >= context)
        return qk_fail(err, QK_E_ARGUMENT, "prompt %zu: %zu tokens, the context of %zu has no room for another", index,
                       p->n_tokens, context);
    for (size_t i = 0; i < p->n_tokens; i++)
        if (p->tokens[i] < 0 || p->tokens[i] >= n_vocab)
            return qk_fail(err, QK_E_ARGUMENT, "prompt %zu, token %zu: id %d, the model has 0 to %d", index, i,
                           p->tokens[i], n_vocab - 1);
    return QK_OK;
}

static qk_status check_settings(const qk_generate_spec *spec, const qk_model *model, qk_error *err)
{
    const qk_sampling *s = &spec->sampling;
    if (spec->n_prompts == 0) return qk_fail(err, QK_E_ARGUMENT, "nothing to do: no prompts");
    if (spec->max_new_tokens < 1 || spec->max_new_tokens > 1 << 28)
        return qk_fail(err, QK_E_ARGUMENT, "new tokens: expected 1 to %d, found %zu", 1 << 28, spec->max_new_tokens);
    if (!(s->temperature >= 0 && s->temperature <= 100))
        return qk_fail(err, QK_E_ARGUMENT, "temperature: expected 0 to 100, found %g", s->temperature);
    if (!(s->top_p >= 0 && s->top_p <= 1))
        return qk_fail(err, QK_E_ARGUMENT, "top-p: expected above 0, up to 1, found %g", s->top_p);
    for (size_t i = 0; i < spec->n_stops; i++)
        if (!*spec->stops[i]) return qk_fail(err, QK_E_ARGUMENT, "stop string %zu: it is empty", i);
    if (spec->n_stops && !model->tokenizer)
        return qk_fail(err, model->tokenizer_error.status, "stop strings: %s", model->tokenizer_error.message);
    return QK_OK;
}

static bool whole_sequence(const qk_edit *e)
{
    return e->op == QK_OP_SEQUENCE_MEAN || e->op == QK_OP_HEAD_MEAN || e->op == QK_OP_PERMUTE || e->top_k > 0;
}

/* Decoding sees one token at a time: an op over a whole sequence can act only where all of it is the prompt. */
static qk_status check_edits(const qk_generate_spec *spec, qk_error *err)
{
    size_t shortest = SIZE_MAX;
    for (size_t p = 0; p < spec->n_prompts; p++)
        if (spec->prompts[p].n_tokens < shortest) shortest = spec->prompts[p].n_tokens;
    for (size_t c = 0; c < spec->n_conditions && spec->phase == QK_PHASE_ALL; c++)
        for (size_t i = 0; i < spec->conditions[c].n_edits; i++) {
            const qk_edit *e = &spec->conditions[c].edits[i];
            char name[64];
            if (!whole_sequence(e) || (e->position_to > 0 && e->position_to <= shortest)) continue;
            if ((unsigned)e->site >= QK_N_SITES) continue; /* refused by name when the pass is opened */
            qk_site_name(name, e->site, e->layer);
            return qk_fail(err, QK_E_ARGUMENT,
                           "condition \"%s\": the edit at %s needs a whole sequence, decoding sees one token at a "
                           "time: expected the prefill phase, or positions of the prompt",
                           spec->conditions[c].name, name);
        }
    return QK_OK;
}

static qk_status check_spec(const qk_generate_spec *spec, const qk_model *model, qk_error *err)
{
    qk_status status = check_settings(spec, model, err);
    for (size_t p = 0; p < spec->n_prompts && !status; p++)
        status = check_prompt(&spec->prompts[p], p, spec->context, model->config.n_vocab, err);
    return status ? status : check_edits(spec, err);
}

/* ---- the call */

/* Above so many rows products in tiles are faster; measured with AVX2. */
#define FEW_ROWS 8

static bool tick(void *user, const char *phase, double done, double total)
{
    const qk_generation *g = user;
    double n_layers = g->model->config.n_layers;
    (void)phase;
    return g->spec.progress.tick(g->spec.progress.user, "generate", (done < total ? done : total) / n_layers,
                                 total / n_layers);
}

/* What was not given, and what the pass is told. */
static qk_status complete(qk_generation *g, qk_error *err)
{
    qk_generate_spec *s = &g->spec;
    if (s->n_conditions == 0) {
        s->conditions = &baseline;
        s->n_conditions = 1;
    }
    if (s->context == 0) s->context = g->model->config.n_context > 0 ? (size_t)g->model->config.n_context : 0;
    qk_status status = check_spec(s, g->model, err);
    if (!status && !s->end_tokens && !s->ignore_end) {
        status = qk_end_tokens(&g->own_end_tokens, &s->n_end_tokens, g->model, err);
        s->end_tokens = g->own_end_tokens;
    }
    if (!status) status = qk_new_array(&g->sequences, s->n_prompts, sizeof *g->sequences, "prompts", err);
    for (size_t p = 0; p < s->n_prompts && !status; p++)
        g->sequences[p] = (qk_sequence){ s->prompts[p].tokens, s->prompts[p].n_tokens, 1 };
    g->pass_spec = (qk_pass_spec){ .sequences = g->sequences,
                                   .n_sequences = s->n_prompts,
                                   .conditions = s->conditions,
                                   .n_conditions = s->n_conditions,
                                   .probes = s->probes,
                                   .n_probes = s->n_probes,
                                   .score = true,
                                   .allow_idle_edits = s->allow_idle_edits,
                                   .reference = s->reference,
                                   .precision = s->precision,
                                   .level = s->level,
                                   .n_threads = s->n_threads,
                                   .max_bytes = s->max_bytes };
    if (s->progress.tick) g->pass_spec.progress = (qk_progress){ tick, g };
    return status;
}

static qk_status new_result(qk_generation *g, qk_error *err)
{
    qk_status status = qk_new_array(&g->result, 1, sizeof *g->result, "result", err);
    if (status) return status;
    g->result->n_prompts = g->spec.n_prompts;
    g->result->n_conditions = g->spec.n_conditions;
    size_t n = 0, rows = 0, prompt_rows = 0;
    if (!qk_mul(g->spec.n_prompts, g->spec.n_conditions, &n)) return qk_out_of_memory(err, "result", SIZE_MAX);
    for (size_t p = 0; p < g->spec.n_prompts; p++) {
        size_t most = g->spec.prompts[p].n_tokens + g->spec.max_new_tokens;
        rows += g->spec.context && most > g->spec.context ? g->spec.context : most;
        prompt_rows += g->spec.prompts[p].n_tokens * g->spec.n_conditions;
    }
    g->few_streams = n <= FEW_ROWS;
    g->few_prompt_rows = !g->spec.recompute && prompt_rows <= FEW_ROWS; /* whose prompts grow */
    g->total = (double)rows * (double)g->spec.n_conditions * g->model->config.n_layers;
    return qk_new_array(&g->result->items, n, sizeof *g->result->items, "result", err);
}

/* The receipts of all groups become the result's; an idle edit is refused. */
static qk_status settle_receipts(qk_generation *g, qk_error *err)
{
    qk_edit_table edits = { 0 };
    qk_status status = qk_edits_compile(&edits, &g->model->config, &g->pass_spec, err);
    if (status) return status;
    status = qk_pass_check_receipts(&edits, &g->pass_spec, g->receipts->receipts, err);
    qk_edits_free(&edits);
    g->result->receipts = g->receipts->receipts;
    g->receipts->receipts = NULL;
    return status;
}

qk_status qk_generate(qk_generate_result **out, const qk_model *model, const qk_generate_spec *spec, qk_error *err)
{
    qk_generation g = { .model = model, .spec = *spec };
    qk_status status = complete(&g, err);
    if (!status) status = new_result(&g, err);
    size_t n_streams = g.spec.n_prompts * g.spec.n_conditions;
    for (size_t first = 0, n = 0; first < n_streams && !status; first += n) status = qk_group_run(&n, &g, first, err);
    if (!status) status = settle_receipts(&g, err);
    if (!status) {
        *out = g.result;
        g.result = NULL;
    }
    qk_generate_result_free(g.result);
    qk_pass_result_free(g.receipts);
    free(g.sequences);
    free(g.own_end_tokens);
    return status;
}

void qk_generate_result_free(qk_generate_result *r)
{
    if (!r) return;
    for (size_t i = 0; i < r->n_prompts * r->n_conditions; i++) {
        if (r->items) free(r->items[i].tokens);
        if (r->items) free(r->items[i].text);
        if (r->receipts) free(r->receipts[i]);
    }
    free(r->items);
    free(r->receipts);
    free(r);
}
