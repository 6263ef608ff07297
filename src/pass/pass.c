/* pass.c - one sweep through the model, layer by layer, that carries all streams. */
#include <stdlib.h>
#include <string.h>

#include "pass/pass.h"

/* ---- checking what comes in */

static qk_status check_sequence(const qk_sequence *s, size_t index, const qk_config *c, bool score, qk_error *err)
{
    if (!s->tokens || s->n_tokens == 0) return qk_fail(err, QK_E_ARGUMENT, "document %zu: no tokens", index);
    if (s->n_tokens > 1 << 28)
        return qk_fail(err, QK_E_ARGUMENT, "document %zu: %zu tokens, at most %d", index, s->n_tokens, 1 << 28);
    if (score && (s->score_from < 1 || s->score_from >= s->n_tokens))
        return qk_fail(err, QK_E_ARGUMENT, "document %zu: score_from %zu: expected 1 to %zu", index, s->score_from,
                       s->n_tokens - 1);
    for (size_t i = 0; i < s->n_tokens; i++)
        if (s->tokens[i] < 0 || s->tokens[i] >= c->n_vocab)
            return qk_fail(err, QK_E_ARGUMENT, "document %zu, token %zu: id %d, the model has 0 to %d", index, i,
                           s->tokens[i], c->n_vocab - 1);
    return QK_OK;
}

static qk_status check_spec(const qk_pass_spec *spec, const qk_config *c, qk_error *err)
{
    if (spec->n_sequences == 0) return qk_fail(err, QK_E_ARGUMENT, "nothing to do: no documents");
    for (size_t s = 0; s < spec->n_sequences; s++) {
        qk_status status = check_sequence(&spec->sequences[s], s, c, spec->score, err);
        if (status) return status;
    }
    return QK_OK;
}

static const qk_condition baseline = { .name = "baseline" };

/* The caller's spec with the default baseline filled in. */
static qk_pass_spec completed(const qk_pass_spec *spec)
{
    qk_pass_spec s = *spec;
    if (s.n_conditions == 0) {
        s.conditions = &baseline;
        s.n_conditions = 1;
    }
    return s;
}

qk_status qk_pass_plan(qk_plan *plan, const qk_model *model, const qk_pass_spec *spec, qk_error *err)
{
    qk_pass_spec s = completed(spec);
    qk_status status = check_spec(&s, &model->config, err);
    return status ? status : qk_layout_make(NULL, plan, model, &s, err);
}

/* ---- memory */

static qk_status carve(qk_scratch *b, const qk_layout *l, const qk_config *c, bool wants_logits, qk_error *err)
{
    size_t q = (size_t)c->n_heads * (size_t)c->head_dim, kv = (size_t)c->n_kv_heads * (size_t)c->head_dim,
           half = (size_t)c->head_dim / 2;
    const struct {
        float **piece;
        size_t n;
    } table[] = {
        { &b->normed, l->block_rows * (size_t)c->d_model },
        { &b->delta, l->block_rows * (size_t)c->d_model },
        { &b->q, l->batch_rows * q },
        { &b->k, l->batch_rows * kv },
        { &b->v, l->batch_rows * kv },
        { &b->gate, l->block_rows * (size_t)c->d_ffn },
        { &b->up, l->block_rows * (size_t)c->d_ffn },
        { &b->scores, (size_t)l->n_threads * QK_ATTENTION_ROWS * l->longest },
        { &b->logits, wants_logits ? l->logit_rows * (size_t)c->n_vocab : 0 },
        { &b->cos, l->longest * half },
        { &b->sin, l->longest * half },
        { &b->inv_freq, half },
        { &b->vectors, l->vector_floats },
    };
    qk_status status = qk_new_scratch(&b->memory, l->scratch_floats, "activations", err);
    if (status) return status;
    size_t at = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        *table[i].piece = b->memory + at;
        at += (table[i].n + 15) / 16 * 16; /* 64-byte aligned */
    }
    b->ffn_normed = b->normed;
    b->z = b->q;
    b->post = b->gate;
    return QK_OK;
}

static qk_status new_result(qk_pass_result **out, const qk_pass_spec *spec, qk_error *err)
{
    qk_pass_result *r = NULL;
    size_t n = spec->n_sequences * spec->n_conditions;
    qk_status status = qk_new_array(&r, 1, sizeof *r, "result", err);
    if (status) return status;
    r->n_sequences = spec->n_sequences;
    r->n_conditions = spec->n_conditions;
    status = qk_new_array(&r->scores, n, sizeof *r->scores, "scores", err);
    if (!status) status = qk_new_array(&r->receipts, n, sizeof *r->receipts, "receipts", err);
    for (size_t i = 0; i < n && !status; i++) {
        size_t n_edits = spec->conditions[i % spec->n_conditions].n_edits;
        if (n_edits) status = qk_new_array(&r->receipts[i], n_edits, sizeof **r->receipts, "receipts", err);
    }
    if (status) return qk_pass_result_free(r), status;
    *out = r;
    return QK_OK;
}

void qk_pass_result_free(qk_pass_result *r)
{
    if (!r) return;
    for (size_t i = 0; i < r->n_sequences * r->n_conditions; i++) {
        if (r->scores) free(r->scores[i].token_nll);
        if (r->scores) free(r->scores[i].token_top);
        if (r->receipts) free(r->receipts[i]);
    }
    free(r->scores);
    free(r->receipts);
    free(r);
}

/* ---- forks */

/* The edits of two conditions that act at `stage` agree, in order. */
static bool same_edits(const qk_pass *pass, size_t a, size_t b, int stage)
{
    const qk_edit_table *t = &pass->edits;
    size_t i = t->first[a], j = t->first[b];
    for (;;) {
        while (i < t->first[a + 1] && t->items[i].stage != stage) i++;
        while (j < t->first[b + 1] && t->items[j].stage != stage) j++;
        bool end_a = i == t->first[a + 1], end_b = j == t->first[b + 1];
        if (end_a || end_b) return end_a && end_b;
        if (!qk_edits_equal(&t->items[i++], &t->items[j++], pass->config)) return false;
    }
}

/* standing[stage][c]: the lowest condition of the group whose edits up to and including the stage are those of c. */
static void find_classes(qk_pass *pass)
{
    size_t n = pass->spec->n_conditions;
    for (int stage = 0; stage <= pass->config->n_layers; stage++) {
        size_t *now = pass->standing + (size_t)stage * n;
        const size_t *before = stage ? now - n : now;
        for (size_t c = pass->group.condition0; c < pass->group.condition1; c++) {
            now[c] = c;
            for (size_t other = pass->group.condition0; other < c; other++) {
                bool together = stage == 0 || before[other] == before[c];
                if (now[other] != other || !together || !same_edits(pass, other, c, stage)) continue;
                now[c] = other;
                break;
            }
        }
    }
}

static size_t x_row(const qk_pass *pass, size_t sequence, size_t condition)
{
    return pass->row_of[sequence] + (condition - pass->group.condition0) * pass->spec->sequences[sequence].n_tokens;
}

/* Streams that leave their class at this stage start from a copy of what they shared. */
static void fork_streams(qk_pass *pass, int stage)
{
    size_t n = pass->spec->n_conditions, width = (size_t)pass->config->d_model;
    if (stage == 0) return;
    const size_t *now = pass->standing + (size_t)stage * n, *before = now - n;
    for (size_t s = pass->group.sequence0; s < pass->group.sequence1; s++)
        for (size_t c = pass->group.condition0; c < pass->group.condition1; c++)
            if (now[c] == c && before[c] != c)
                memcpy(pass->residual + x_row(pass, s, c) * width, pass->residual + x_row(pass, s, before[c]) * width,
                       pass->spec->sequences[s].n_tokens * width * sizeof(float));
}

/* The streams alive at `stage` as segments, in order; returns how many. */
static size_t live_segments(qk_segment *out, const qk_pass *pass, int stage)
{
    size_t n = 0;
    for (size_t s = pass->group.sequence0; s < pass->group.sequence1; s++)
        for (size_t c = pass->group.condition0; c < pass->group.condition1; c++)
            if (pass->standing[(size_t)stage * pass->spec->n_conditions + c] == c)
                out[n++] = (qk_segment){ .sequence = s,
                                         .condition = c,
                                         .x_row = x_row(pass, s, c),
                                         .n_rows = pass->spec->sequences[s].n_tokens };
    return n;
}

/* ---- the sweep */

static qk_status tick(const qk_pass *pass, qk_error *err)
{
    const qk_progress *p = &pass->spec->progress;
    if (p->tick && !p->tick(p->user, "pass", pass->done, pass->total))
        return qk_fail(err, QK_E_INTERRUPTED, "interrupted");
    return QK_OK;
}

qk_status qk_pass_embed(qk_pass *pass, const qk_segment *segment, const int32_t *tokens, qk_error *err)
{
    size_t width = (size_t)pass->config->d_model;
    float *x = pass->residual + segment->x_row * width;
    for (size_t t = 0; t < segment->n_rows; t++) {
        qk_weight_rows(x + t * width, &pass->model->embedding, (size_t)tokens[t], 1);
        if (pass->spec->max_bytes && t % 256 == 255) qk_weight_release(&pass->model->embedding, pass->model->ckpt);
    }
    return qk_site_visit(pass, QK_SITE_EMBED, -1, x, width, segment, 1, err);
}

static qk_status embed(qk_pass *pass, const qk_segment *segments, size_t n_segments, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t i = 0; i < n_segments && !status; i++)
        status = qk_pass_embed(pass, &segments[i], pass->spec->sequences[segments[i].sequence].tokens, err);
    return status;
}

qk_status qk_pass_layer(qk_pass *pass, int layer, qk_segment *segments, size_t n_segments, qk_error *err)
{
    qk_layer_view weights;
    qk_layer_load(&weights, pass, layer);
    qk_layer_expect(pass, layer + 1);
    for (size_t first = 0; first < n_segments;) {
        size_t n = 0, rows = 0;
        while (first + n < n_segments && (n == 0 || rows + segments[first + n].n_rows <= pass->layout.batch_rows)) {
            segments[first + n].row = rows;
            rows += segments[first + n++].n_rows;
        }
        qk_status status = qk_layer_forward(pass, layer, &weights, segments + first, n, err);
        if (status) return status;
        pass->done += (double)rows;
        status = tick(pass, err);
        if (status) return status;
        first += n;
    }
    qk_layer_release(pass, layer);
    return QK_OK;
}

/* The last stage that anybody looks at: without scoring, layers behind the last probe need not run. */
static int last_stage(const qk_pass *pass)
{
    int n_layers = pass->config->n_layers, last = -1;
    if (pass->spec->score || pass->spec->n_probes == 0) return n_layers;
    if (qk_site_wanted(pass, QK_SITE_LOGITS, -1) || qk_site_wanted(pass, QK_SITE_LN_FINAL_OUT, -1)) return n_layers;
    for (int l = 0; l < n_layers; l++)
        for (int s = 0; s < QK_N_SITES; s++)
            if (qk_site_describe((qk_site)s)->per_layer && qk_site_wanted(pass, (qk_site)s, l)) last = l;
    return last;
}

static qk_status sweep(qk_pass *pass, qk_segment *segments, qk_error *err)
{
    int last = last_stage(pass), n_layers = pass->config->n_layers;
    find_classes(pass);
    qk_status status = embed(pass, segments, live_segments(segments, pass, 0), err);
    for (int layer = 0; layer < n_layers && layer <= last && !status; layer++) {
        fork_streams(pass, layer);
        status = qk_pass_layer(pass, layer, segments, live_segments(segments, pass, layer), err);
    }
    if (status || last < n_layers) return status;
    fork_streams(pass, n_layers);
    return qk_pass_score(pass, segments, live_segments(segments, pass, n_layers), err);
}

/* ---- results of a group */

/* The targets' losses, and the likeliest tokens in their places, out of the rows that predict them. */
static qk_status keep_score(qk_score *score, const qk_pass *pass, size_t s, size_t stand_in, qk_error *err)
{
    const qk_pass_spec *spec = pass->spec;
    const qk_sequence *sequence = &spec->sequences[s];
    size_t first = x_row(pass, s, stand_in) + sequence->score_from - 1, n = sequence->n_tokens - sequence->score_from;
    qk_status status = QK_OK;
    score->n_tokens = n;
    if (spec->keep_token_nll) status = qk_new_array(&score->token_nll, n, sizeof(float), "token losses", err);
    if (!status && spec->keep_token_top)
        status = qk_new_array(&score->token_top, n, sizeof(int32_t), "top tokens", err);
    if (status) return status;
    for (size_t i = 0; i < n; i++) {
        double loss = pass->token_nll[first + i];
        score->nll += loss;
        if (score->token_nll) score->token_nll[i] = (float)loss;
        if (score->token_top) score->token_top[i] = pass->token_top[first + i];
    }
    return QK_OK;
}

static qk_status collect(qk_pass *pass, size_t s, size_t c, qk_error *err)
{
    const qk_pass_spec *spec = pass->spec;
    qk_score *score = &pass->result->scores[s * spec->n_conditions + c];
    size_t stand_in = pass->standing[(size_t)pass->config->n_layers * spec->n_conditions + c];
    qk_status status = spec->score ? keep_score(score, pass, s, stand_in, err) : QK_OK;
    if (status || !spec->on_score) return status;
    return spec->on_score(spec->user, s, c, score, pass->result->receipts[s * spec->n_conditions + c], err);
}

static bool group_is_done(const qk_pass *pass)
{
    if (!pass->spec->is_done) return false;
    for (size_t s = pass->group.sequence0; s < pass->group.sequence1; s++)
        for (size_t c = pass->group.condition0; c < pass->group.condition1; c++)
            if (!pass->spec->is_done(pass->spec->user, s, c)) return false;
    return true;
}

static qk_status run_group(qk_pass *pass, qk_segment *segments, qk_error *err)
{
    size_t row = 0, n_conditions = pass->group.condition1 - pass->group.condition0;
    for (size_t s = pass->group.sequence0; s < pass->group.sequence1; s++) {
        pass->row_of[s] = row;
        row += pass->spec->sequences[s].n_tokens * n_conditions;
    }
    qk_status status = sweep(pass, segments, err);
    for (size_t s = pass->group.sequence0; s < pass->group.sequence1 && !status; s++)
        for (size_t c = pass->group.condition0; c < pass->group.condition1 && !status; c++)
            status = collect(pass, s, c, err);
    return status;
}

/* An edit that changed nothing anywhere is a mistake of whoever wrote it, and would pass for "no effect". */
qk_status qk_pass_check_receipts(const qk_edit_table *edits, const qk_pass_spec *spec, qk_receipt *const *receipts,
                                 qk_error *err)
{
    for (size_t i = 0; i < edits->n && !spec->allow_idle_edits; i++) {
        const qk_compiled_edit *edit = &edits->items[i];
        uint64_t changed = 0, visited = 0;
        for (size_t s = 0; s < spec->n_sequences; s++) {
            const qk_receipt *receipt = &receipts[s * spec->n_conditions + edit->condition][edit->index];
            changed += receipt->changed;
            visited += receipt->visited;
            bool skipped = spec->is_done && spec->is_done(spec->user, s, edit->condition);
            if (skipped) changed += 1; /* journaled earlier: its receipt is there */
        }
        if (changed) continue;
        char name[64];
        qk_site_name(name, edit->edit->site, edit->edit->layer);
        return qk_fail(err, QK_E_CHECK, "condition \"%s\": the edit at %s changed nothing (%llu elements visited)",
                       spec->conditions[edit->condition].name, name, (unsigned long long)visited);
    }
    return QK_OK;
}

void qk_pass_close(qk_pass *pass)
{
    qk_layout_free(&pass->layout);
    qk_edits_free(&pass->edits);
    qk_pass_result_free(pass->result);
    free(pass->scratch.memory);
    free(pass->residual);
    free(pass->token_nll);
    free(pass->token_top);
    free(pass->standing);
    free(pass->row_of);
}

qk_status qk_pass_open(qk_pass *pass, qk_error *err)
{
    const qk_config *c = pass->config;
    const qk_pass_spec *spec = pass->spec;
    qk_status status = qk_edits_compile(&pass->edits, c, spec, err);
    if (!status && !pass->result) status = new_result(&pass->result, spec, err);
    if (!status)
        status = carve(&pass->scratch, &pass->layout, c, spec->score || qk_site_wanted(pass, QK_SITE_LOGITS, -1), err);
    if (!status)
        status = qk_new_scratch(&pass->residual, pass->layout.most_rows * (size_t)c->d_model, "residual streams", err);
    if (!status)
        status = qk_new_array(&pass->token_nll, pass->layout.most_rows, sizeof *pass->token_nll, "token losses", err);
    if (!status && spec->score && spec->keep_token_top)
        status = qk_new_array(&pass->token_top, pass->layout.most_rows, sizeof *pass->token_top, "top tokens", err);
    if (!status)
        status = qk_new_array(&pass->standing, (size_t)(c->n_layers + 1) * spec->n_conditions, sizeof *pass->standing,
                              "forks", err);
    if (!status) status = qk_new_array(&pass->row_of, spec->n_sequences, sizeof *pass->row_of, "rows", err);
    for (size_t i = 0; i < (size_t)(c->n_layers + 1) * spec->n_conditions && !status; i++)
        pass->standing[i] = i % spec->n_conditions;
    return status;
}

const qk_kernels *qk_pass_kernels(const qk_pass_spec *spec)
{
    if (spec->reference) return qk_kernels_reference();
    return qk_kernels_at(spec->level, qk_operands_for(spec->precision));
}

qk_status qk_pass_run(qk_pass_result **out, const qk_model *model, const qk_pass_spec *given, qk_error *err)
{
    qk_pass_spec spec = completed(given);
    qk_pass pass = { .model = model,
                     .config = &model->config,
                     .spec = &spec,
                     .ops = qk_pass_kernels(&spec) };
    qk_segment *segments = NULL;
    qk_plan plan;
    qk_status status = check_spec(&spec, &model->config, err);
    if (!status) status = qk_layout_make(&pass.layout, &plan, model, &spec, err);
    if (!status) status = qk_pass_open(&pass, err);
    if (!status)
        status = qk_new_array(&segments, spec.n_sequences * spec.n_conditions, sizeof *segments, "segments", err);
    if (status) goto out;
    pass.trims = spec.score && qk_pass_may_trim(&pass);
    pass.total = (double)plan.n_rows * model->config.n_layers;
    for (size_t g = 0; g < pass.layout.n_groups && !status; g++) {
        pass.group = pass.layout.groups[g];
        if (!group_is_done(&pass)) status = run_group(&pass, segments, err);
    }
    if (!status) status = qk_pass_check_receipts(&pass.edits, &spec, pass.result->receipts, err);
    if (status) goto out;
    *out = pass.result;
    pass.result = NULL;
out:
    free(segments);
    qk_pass_close(&pass);
    return status;
}
