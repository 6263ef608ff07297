/* score.c - final norm, logits in row blocks, log-likelihoods; logits are never stored whole. */
#include <stdlib.h>

#include "pass/pass.h"

static int32_t likeliest(const float *logits, size_t vocab)
{
    size_t top = 0;
    for (size_t i = 1; i < vocab; i++)
        if (logits[i] > logits[top]) top = i;
    return (int32_t)top;
}

/* nll of row `i` of the part: the row at position t predicts token t + 1. */
static void score_row(qk_pass *pass, const float *logits, const qk_segment *part, size_t i)
{
    const qk_sequence *sequence = &pass->spec->sequences[part->sequence];
    size_t vocab = (size_t)pass->config->n_vocab, position = part->position0 + i;
    if (position + 1 >= sequence->n_tokens) return;
    pass->token_nll[part->x_row + i] = pass->ops->nll(logits, vocab, (size_t)sequence->tokens[position + 1]);
    if (pass->token_top) pass->token_top[part->x_row + i] = likeliest(logits, vocab);
}

static void score_rows(qk_pass *pass, const float *logits, const qk_segment *parts, size_t n_parts, size_t n_rows)
{
    size_t vocab = (size_t)pass->config->n_vocab;
#pragma omp parallel num_threads(pass->layout.n_threads) if (n_rows * vocab > 50000)
    for (size_t p = 0; p < n_parts; p++) {
#pragma omp for schedule(dynamic, 1) nowait
        for (size_t i = 0; i < parts[p].n_rows; i++)
            score_row(pass, logits + (parts[p].row + i) * vocab, &parts[p], i);
    }
}

/* The parts' rows lie one behind the other: part->row counts them. */
static qk_status score_block(qk_pass *pass, const float *gain, const qk_rows *unembedding, const qk_segment *parts,
                             size_t n_parts, size_t n_rows, qk_error *err)
{
    size_t width = (size_t)pass->config->d_model, vocab = (size_t)pass->config->n_vocab;
    float *normed = pass->scratch.normed, *logits = pass->scratch.logits;
    qk_pass_norm(pass, normed, gain, parts, n_parts);
    qk_status status = qk_site_visit(pass, QK_SITE_LN_FINAL_OUT, -1, normed, width, parts, n_parts, err);
    if (status || !unembedding) return status;
    qk_pass_product(pass, logits, normed, unembedding, NULL, n_rows);
    status = qk_site_visit(pass, QK_SITE_LOGITS, -1, logits, vocab, parts, n_parts, err);
    if (!status && pass->spec->score) score_rows(pass, logits, parts, n_parts, n_rows);
    return status;
}

/* ---- the last rows of streams that go on */

size_t qk_pass_logits_most(const qk_pass *pass)
{
    return pass->layout.logit_rows < pass->layout.block_rows ? pass->layout.logit_rows : pass->layout.block_rows;
}

/* Each segment's last row as a part of one block. */
static qk_segment last_row(const qk_segment *s, size_t row)
{
    qk_segment part = *s;
    part.x_row += s->n_rows - 1;
    part.position0 += s->n_rows - 1;
    part.row = row;
    part.n_rows = 1;
    return part;
}

qk_status qk_pass_logits(qk_pass *pass, const qk_segment *segments, size_t n_segments, qk_error *err)
{
    float *at = pass->scratch.vectors, *normed = pass->scratch.normed, *logits = pass->scratch.logits;
    size_t width = (size_t)pass->config->d_model, vocab = (size_t)pass->config->n_vocab;
    const float *gain = qk_pass_vector(&pass->model->final_norm, &at);
    qk_rows unembedding = qk_weight_matrix(&pass->model->unembedding);
    qk_segment *parts = NULL;
    qk_status status = qk_new_array(&parts, n_segments, sizeof *parts, "segments", err);
    for (size_t i = 0; i < n_segments && !status; i++) parts[i] = last_row(&segments[i], i);
    if (!status) qk_pass_norm(pass, normed, gain, parts, n_segments);
    if (!status) status = qk_site_visit(pass, QK_SITE_LN_FINAL_OUT, -1, normed, width, parts, n_segments, err);
    if (!status) {
        qk_pass_product(pass, logits, normed, &unembedding, NULL, n_segments);
        status = qk_site_visit(pass, QK_SITE_LOGITS, -1, logits, vocab, parts, n_segments, err);
    }
    if (pass->spec->max_bytes) qk_weight_release(&pass->model->unembedding, pass->model->ckpt);
    free(parts);
    return status;
}

/* ---- scoring */

/* Only rows whose target is scored are needed, unless a probe or an edit looks here. */
static qk_segment needed_rows(const qk_pass *pass, const qk_segment *s, bool all)
{
    const qk_sequence *sequence = &pass->spec->sequences[s->sequence];
    size_t skip = all ? 0 : sequence->score_from - 1, last = all ? s->n_rows : s->n_rows - 1;
    qk_segment part = *s;
    part.x_row += skip;
    part.position0 += skip;
    part.n_rows = last > skip ? last - skip : 0;
    return part;
}

/* The first `n` rows of `rest`, which loses them, as row `row` of a block and those behind it. */
static qk_segment take_rows(qk_segment *rest, size_t n, size_t row)
{
    qk_segment part = *rest;
    part.row = row;
    part.n_rows = n;
    rest->x_row += n;
    rest->position0 += n;
    rest->n_rows -= n;
    return part;
}

/* Rows of many segments share a block: where each has few, the unembedding is read once for all of them. */
qk_status qk_pass_score(qk_pass *pass, const qk_segment *segments, size_t n_segments, qk_error *err)
{
    float *at = pass->scratch.vectors;
    bool shown = qk_site_wanted(pass, QK_SITE_LOGITS, -1), wants_logits = pass->spec->score || shown;
    bool all = shown || qk_site_wanted(pass, QK_SITE_LN_FINAL_OUT, -1);
    for (size_t i = 0; i < pass->edits.n; i++) all = all || pass->edits.items[i].edit->site == QK_SITE_LN_FINAL_OUT;
    const float *gain = qk_pass_vector(&pass->model->final_norm, &at);
    qk_rows unembedding = qk_weight_matrix(&pass->model->unembedding);
    size_t most = qk_pass_logits_most(pass), n_parts = 0, n_rows = 0;
    qk_segment *parts = NULL;
    qk_status status = qk_new_array(&parts, n_segments, sizeof *parts, "segments", err);
    for (size_t i = 0; i < n_segments && !status; i++) {
        qk_segment rest = needed_rows(pass, &segments[i], all);
        while (rest.n_rows && !status) {
            parts[n_parts] = take_rows(&rest, rest.n_rows < most - n_rows ? rest.n_rows : most - n_rows, n_rows);
            n_rows += parts[n_parts++].n_rows;
            if (n_rows < most) continue;
            status = score_block(pass, gain, wants_logits ? &unembedding : NULL, parts, n_parts, n_rows, err);
            n_parts = n_rows = 0;
        }
    }
    if (n_rows && !status)
        status = score_block(pass, gain, wants_logits ? &unembedding : NULL, parts, n_parts, n_rows, err);
    free(parts);
    if (pass->spec->max_bytes && !status) qk_weight_release(&pass->model->unembedding, pass->model->ckpt);
    return status;
}
