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

/* nll of the block's rows: row at position t predicts token t + 1. */
static void score_rows(qk_pass *pass, const float *logits, const qk_segment *part)
{
    const qk_sequence *sequence = &pass->spec->sequences[part->sequence];
    size_t vocab = (size_t)pass->config->n_vocab;
#pragma omp parallel for num_threads(pass->layout.n_threads) if (part->n_rows * vocab > 50000)
    for (size_t i = 0; i < part->n_rows; i++) {
        size_t position = part->position0 + i;
        if (position + 1 >= sequence->n_tokens) continue;
        pass->token_nll[part->x_row + i] =
            pass->ops->nll(logits + i * vocab, vocab, (size_t)sequence->tokens[position + 1]);
        if (pass->token_top) pass->token_top[part->x_row + i] = likeliest(logits + i * vocab, vocab);
    }
}

static qk_status score_block(qk_pass *pass, const float *gain, const qk_rows *unembedding, const qk_segment *part,
                             qk_error *err)
{
    size_t width = (size_t)pass->config->d_model, vocab = (size_t)pass->config->n_vocab;
    float *normed = pass->scratch.normed, *logits = pass->scratch.logits;
#pragma omp parallel for num_threads(pass->layout.n_threads) if (part->n_rows * width > 50000)
    for (size_t i = 0; i < part->n_rows; i++)
        pass->ops->rms_norm(normed + i * width, pass->residual + (part->x_row + i) * width, gain, width,
                            pass->config->rms_norm_eps);
    qk_status status = qk_site_visit(pass, QK_SITE_LN_FINAL_OUT, -1, normed, width, part, 1, err);
    if (status || !unembedding) return status;
    qk_pass_product(pass, logits, normed, unembedding, NULL, part->n_rows);
    status = qk_site_visit(pass, QK_SITE_LOGITS, -1, logits, vocab, part, 1, err);
    if (!status && pass->spec->score) score_rows(pass, logits, part);
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
    for (size_t i = 0; i < n_segments && !status; i++) {
        parts[i] = last_row(&segments[i], i);
        pass->ops->rms_norm(normed + i * width, pass->residual + parts[i].x_row * width, gain, width,
                            pass->config->rms_norm_eps);
    }
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
    part.row += skip;
    part.position0 += skip;
    part.n_rows = last > skip ? last - skip : 0;
    return part;
}

qk_status qk_pass_score(qk_pass *pass, const qk_segment *segments, size_t n_segments, qk_error *err)
{
    float *at = pass->scratch.vectors;
    bool shown = qk_site_wanted(pass, QK_SITE_LOGITS, -1), wants_logits = pass->spec->score || shown;
    bool all = shown || qk_site_wanted(pass, QK_SITE_LN_FINAL_OUT, -1);
    for (size_t i = 0; i < pass->edits.n; i++) all = all || pass->edits.items[i].edit->site == QK_SITE_LN_FINAL_OUT;
    const float *gain = qk_pass_vector(&pass->model->final_norm, &at);
    qk_rows unembedding = qk_weight_matrix(&pass->model->unembedding);
    size_t step = pass->layout.logit_rows < pass->layout.block_rows ? pass->layout.logit_rows : pass->layout.block_rows;
    for (size_t i = 0; i < n_segments; i++) {
        qk_segment rows = needed_rows(pass, &segments[i], all);
        for (size_t row = 0; row < rows.n_rows; row += step) {
            qk_segment part = rows;
            part.x_row += row;
            part.row += row;
            part.position0 += row;
            part.n_rows = rows.n_rows - row < step ? rows.n_rows - row : step;
            qk_status status = score_block(pass, gain, wants_logits ? &unembedding : NULL, &part, err);
            if (status) return status;
        }
    }
    if (pass->spec->max_bytes) qk_weight_release(&pass->model->unembedding, pass->model->ckpt);
    return QK_OK;
}
