/* gradient_back.c - the loss, and the way back through head, layers and embedding. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "train/gradient_private.h"

/* ---- small helpers */

/* The gradient of a weight that the forward pass reads at `value`; NULL for NULL. */
static float *gradient_of(const qk_gradient *g, const float *value)
{
    return value ? g->parameters->gradient + (value - g->parameters->values) : NULL;
}

/* y = x w^T + bias, on the way back: dw, dbias; and dx unless NULL. */
static void product_back(const qk_gradient *g, float *dx, bool add, const float *dy, const float *x,
                         const qk_rows *rows, const float *bias, size_t m)
{
    int n_threads = g->pass.layout.n_threads;
    const float *w = qk_rows_floats(rows); /* parameters are */
    size_t n = rows->n_rows, k = rows->n_cols;
    g->derive->product_weight(g->derive, gradient_of(g, w), gradient_of(g, bias), dy, x, m, n, k, n_threads);
    if (dx) g->derive->product_input(g->derive, dx, dy, w, m, n, k, add, n_threads);
}

static void norm_back(const qk_gradient *g, float *dx, bool add, const float *dy, const float *x, const float *gain,
                      size_t m, size_t n)
{
    g->derive->rms_norm(dx, gradient_of(g, gain), dy, x, gain, m, n, g->pass.config->rms_norm_eps, add, g->partial,
                        g->pass.layout.n_threads);
}

/* ---- the loss, and back to the residual stream behind the last layer */

/* The token that row `row` of the micro-batch predicts; -1 where it predicts none. */
static int32_t target_of(const qk_gradient *g, const qk_sequence *sequences, size_t row, size_t *segment)
{
    while (row >= g->segments[*segment].row + g->segments[*segment].n_rows) ++*segment;
    const qk_sequence *s = &sequences[*segment];
    size_t next = row - g->segments[*segment].row + 1;
    return next < s->n_tokens && next >= s->score_from ? s->tokens[next] : -1;
}

/* Logits of rows [row, row + n) become their gradients, scaled; returns the summed nll. */
static double loss_of_block(qk_gradient *g, const qk_sequence *sequences, size_t row, size_t n, size_t *segment,
                            double scale, qk_error *err, qk_status *status)
{
    size_t vocab = (size_t)g->pass.config->n_vocab;
    int32_t target[QK_BLOCK_ROWS];
    double nll[QK_BLOCK_ROWS], sum = 0;
    for (size_t i = 0; i < n; i++) target[i] = target_of(g, sequences, row + i, segment);
#pragma omp parallel for num_threads(g->pass.layout.n_threads)
    for (size_t i = 0; i < n; i++) {
        float *logits = g->pass.scratch.logits + i * vocab;
        if (target[i] >= 0) nll[i] = g->derive->nll(logits, vocab, (size_t)target[i], (float)scale);
        else memset(logits, 0, vocab * sizeof *logits);
    }
    for (size_t i = 0; i < n; i++) {
        if (target[i] < 0) continue;
        if (!(nll[i] < HUGE_VAL))
            *status = qk_fail(err, QK_E_NUMERIC, "non-finite loss at row %zu of the batch, target %d", row + i,
                              target[i]);
        sum += nll[i];
    }
    return sum;
}

qk_status qk_loss_back(double *nll, qk_gradient *g, const qk_sequence *sequences, size_t n_rows, double scale,
                       qk_error *err)
{
    const qk_pass *p = &g->pass;
    float *normed = g->final_normed;
    size_t width = (size_t)p->config->d_model, vocab = (size_t)p->config->n_vocab, segment = 0;
    const float *gain = qk_weight_mapped(&p->model->final_norm);
    qk_rows w = qk_weight_matrix(&p->model->unembedding);
    qk_status status = QK_OK;
    double sum = 0;
    for (size_t row = 0; row < n_rows && !status; row += QK_BLOCK_ROWS) {
        size_t n = qk_block_rows(row, n_rows);
        const float *x = p->residual + row * width;
#pragma omp parallel for num_threads(p->layout.n_threads)
        for (size_t i = 0; i < n; i++)
            p->ops->rms_norm(normed + i * width, x + i * width, gain, width, p->config->rms_norm_eps);
        p->ops->product(p->ops, p->scratch.logits, vocab, normed, width, &w, NULL, n, p->layout.n_threads);
        sum += loss_of_block(g, sequences, row, n, &segment, scale, err, &status);
        product_back(g, g->dnormed, false, p->scratch.logits, normed, &w, NULL, n);
        norm_back(g, g->dx + row * width, false, g->dnormed, x, gain, n, width);
    }
    if (!status) *nll += sum;
    return status;
}

/* ---- back through a layer */

static void ffn_back(qk_gradient *g, const qk_kept *k, const qk_layer_view *w, size_t n_rows)
{
    qk_widths s = qk_widths_of(g->pass.config);
    for (size_t row = 0; row < n_rows; row += QK_BLOCK_ROWS) {
        size_t n = qk_block_rows(row, n_rows);
        float *dx = g->dx + row * s.model, *dpost = g->dgate;
        const float *gate = k->gate + row * s.ffn, *up = k->up + row * s.ffn, *normed = k->ffn_normed + row * s.model;
        product_back(g, dpost, false, dx, k->post + row * s.ffn, &w->down, w->down_bias, n);
#pragma omp parallel for num_threads(g->pass.layout.n_threads)
        for (size_t i = 0; i < n; i++)
            g->derive->silu_mul(g->dgate + i * s.ffn, g->dup + i * s.ffn, dpost + i * s.ffn, gate + i * s.ffn,
                                up + i * s.ffn, s.ffn);
        product_back(g, g->dnormed, false, g->dgate, normed, &w->gate, w->gate_bias, n);
        product_back(g, g->dnormed, true, g->dup, normed, &w->up, w->up_bias, n);
        norm_back(g, dx, true, g->dnormed, k->resid_mid + row * s.model, w->ffn_norm, n, s.model);
    }
}

/* Queries of one key/value head of one segment, block after block: dq, and dk and dv of the head. */
static void attention_back(const qk_gradient *g, const qk_kept *k, int layer, const qk_segment *s, size_t kv_head,
                           float *scores, float *dscores)
{
    const qk_pass *p = &g->pass;
    const qk_config *c = p->config;
    size_t d = (size_t)c->head_dim, q_stride = (size_t)c->n_heads * d, kv_stride = (size_t)c->n_kv_heads * d;
    size_t stride = qk_scores_stride(p->layout.longest);
    size_t shared = (size_t)(c->n_heads / c->n_kv_heads), kv_at = s->row * kv_stride + kv_head * d;
    for (size_t t = 0; t < s->n_rows; t++) {
        memset(g->dk + kv_at + t * kv_stride, 0, d * sizeof(float));
        memset(g->dv + kv_at + t * kv_stride, 0, d * sizeof(float));
    }
    for (size_t head = kv_head * shared; head < (kv_head + 1) * shared; head++)
        for (size_t row = 0; row < s->n_rows; row += QK_ATTENTION_ROWS) {
            size_t at = (s->row + row) * q_stride + head * d;
            qk_attention_gradient a = {
                .forward = { .q = k->q + at, .k = k->k + kv_at, .v = k->v + kv_at, .z = k->z + at,
                             .q_stride = q_stride, .kv_stride = kv_stride, .z_stride = q_stride, .row0 = row,
                             .n_rows = s->n_rows - row < QK_ATTENTION_ROWS ? s->n_rows - row : QK_ATTENTION_ROWS,
                             .head_dim = d,
                             .window = layer >= c->first_window_layer ? (size_t)c->sliding_window : 0,
                             .scale = (float)c->softmax_scale, .scores = scores, .scores_stride = stride },
                .dz = g->dz + at, .dq = g->dq + at, .dk = g->dk + kv_at, .dv = g->dv + kv_at, .dscores = dscores,
            };
            p->ops->attend(p->ops, &a.forward);
            for (size_t i = 0; i < a.forward.n_rows; i++)
                p->ops->softmax(scores + i * stride, row + a.forward.n_rows);
            g->derive->attention(g->derive, &a);
        }
}

static void attend_back(const qk_gradient *g, const qk_kept *k, int layer, size_t n_segments)
{
    size_t n_kv = (size_t)g->pass.config->n_kv_heads;
    size_t block = QK_ATTENTION_ROWS * qk_scores_stride(g->pass.layout.longest);
#pragma omp parallel num_threads(g->pass.layout.n_threads)
    {
        size_t thread = (size_t)omp_get_thread_num();
        float *scores = g->pass.scratch.scores + thread * block, *dscores = g->dscores + thread * block;
#pragma omp for schedule(dynamic, 1)
        for (size_t task = 0; task < n_segments * n_kv; task++)
            attention_back(g, k, layer, &g->segments[task / n_kv], task % n_kv, scores, dscores);
    }
}

static void rotate_back(qk_gradient *g, int layer, const qk_sequence *sequences, size_t n_segments, float *dx,
                        size_t n_heads)
{
    const qk_config *c = g->pass.config;
    size_t d = (size_t)c->head_dim, half = d / 2;
    for (size_t i = 0; i < n_segments && c->rope_kind != QK_ROPE_NONE; i++) {
        const qk_segment *s = &g->segments[i];
        qk_pass_rotation(&g->pass, layer, 0, sequences[i].n_tokens);
#pragma omp parallel for num_threads(g->pass.layout.n_threads) if (s->n_rows * n_heads * d > 50000)
        for (size_t t = 0; t < s->n_rows; t++)
            for (size_t h = 0; h < n_heads; h++)
                g->derive->rotate(dx + ((s->row + t) * n_heads + h) * d, g->pass.scratch.cos + t * half,
                                  g->pass.scratch.sin + t * half, d);
    }
}

static void qk_norm_back(const qk_gradient *g, float *dx, const float *raw, const float *gain, qk_qk_norm kind,
                         size_t n_rows, size_t n_heads)
{
    size_t d = (size_t)g->pass.config->head_dim;
    if (kind == QK_NORM_PER_HEAD) norm_back(g, dx, false, dx, raw, gain, n_rows * n_heads, d);
    if (kind == QK_NORM_PROJECTION) norm_back(g, dx, false, dx, raw, gain, n_rows, n_heads * d);
}

static void projections_back(qk_gradient *g, const qk_kept *k, const qk_layer_view *w, size_t n_rows)
{
    qk_widths s = qk_widths_of(g->pass.config);
    for (size_t row = 0; row < n_rows; row += QK_BLOCK_ROWS) {
        size_t n = qk_block_rows(row, n_rows);
        const float *normed = k->normed + row * s.model;
        product_back(g, g->dnormed, false, g->dq + row * s.q, normed, &w->q, w->q_bias, n);
        product_back(g, g->dnormed, true, g->dk + row * s.kv, normed, &w->k, w->k_bias, n);
        product_back(g, g->dnormed, true, g->dv + row * s.kv, normed, &w->v, w->v_bias, n);
        norm_back(g, g->dx + row * s.model, true, g->dnormed, k->resid_pre + row * s.model, w->attn_norm, n, s.model);
    }
}

void qk_layer_back(qk_gradient *g, int layer, const qk_sequence *sequences, size_t n_segments, size_t n_rows)
{
    const qk_config *c = g->pass.config;
    const qk_kept *k = &g->layers[layer];
    qk_layer_view w;
    qk_widths s = qk_widths_of(c);
    qk_layer_load(&w, &g->pass, layer);
    ffn_back(g, k, &w, n_rows);
    for (size_t row = 0; row < n_rows; row += QK_BLOCK_ROWS)
        product_back(g, g->dz + row * s.q, false, g->dx + row * s.model, k->z + row * s.q, &w.o, w.o_bias,
                     qk_block_rows(row, n_rows));
    attend_back(g, k, layer, n_segments);
    rotate_back(g, layer, sequences, n_segments, g->dq, (size_t)c->n_heads);
    rotate_back(g, layer, sequences, n_segments, g->dk, (size_t)c->n_kv_heads);
    qk_norm_back(g, g->dq, k->q_raw, w.q_norm, c->q_norm, n_rows, (size_t)c->n_heads);
    qk_norm_back(g, g->dk, k->k_raw, w.k_norm, c->k_norm, n_rows, (size_t)c->n_kv_heads);
    projections_back(g, k, &w, n_rows);
}

/* Row after row, in order: the same token may come again. */
void qk_embed_back(const qk_gradient *g, const qk_sequence *sequences, size_t n_segments)
{
    size_t width = (size_t)g->pass.config->d_model;
    float *gradient = gradient_of(g, qk_embedding_of(g));
    for (size_t i = 0; i < n_segments; i++)
        for (size_t t = 0; t < g->segments[i].n_rows; t++)
            qk_add_rows(gradient + (size_t)sequences[i].tokens[t] * width, g->dx + (g->segments[i].row + t) * width,
                        width);
}

