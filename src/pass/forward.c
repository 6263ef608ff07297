/* forward.c - the one forward function: a batch of streams through one layer, whatever the architecture. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "pass/pass.h"

/* ---- weights of the layer */

#define LAYER_MATRICES(X) X(q) X(k) X(v) X(o) X(gate) X(up) X(down)
#define LAYER_VECTORS(X)                                                                                               \
    X(attn_norm) X(q_bias) X(k_bias) X(v_bias) X(o_bias) X(q_norm) X(k_norm) X(ffn_norm) X(gate_bias) X(up_bias)       \
        X(down_bias)

const float *qk_pass_vector(const qk_weight *weight, float **at)
{
    if (!weight->tensor) return NULL;
    const float *mapped = qk_weight_mapped(weight);
    if (mapped) return mapped;
    float *out = *at;
    *at += weight->n_rows * weight->n_cols;
    qk_weight_rows(out, weight, 0, weight->n_rows);
    return out;
}

void qk_layer_load(qk_layer_view *out, const qk_pass *pass, int layer)
{
    const qk_layer_weights *w = &pass->model->layers[layer];
    float *at = pass->scratch.vectors;
#define X(field) out->field = qk_weight_matrix(&w->field);
    LAYER_MATRICES(X)
#undef X
#define X(field) out->field = qk_pass_vector(&w->field, &at);
    LAYER_VECTORS(X)
#undef X
}

void qk_layer_expect(const qk_pass *pass, int layer)
{
    if (pass->decodes || layer >= pass->config->n_layers) return; /* it would ask for every layer at every token */
    const qk_layer_weights *w = &pass->model->layers[layer];
#define X(field) qk_weight_expect(&w->field, pass->model->ckpt);
    LAYER_MATRICES(X)
#undef X
}

void qk_layer_release(const qk_pass *pass, int layer)
{
    const qk_layer_weights *w = &pass->model->layers[layer];
    if (pass->spec->max_bytes == 0) return;
#define X(field) qk_weight_release(&w->field, pass->model->ckpt);
    LAYER_MATRICES(X)
    LAYER_VECTORS(X)
#undef X
}

/* ---- rows in parallel */

static void norm_rows(const qk_pass *pass, float *y, const float *x, const float *gain, size_t n_rows, size_t width)
{
#pragma omp parallel for num_threads(pass->layout.n_threads) if (n_rows * width > 50000)
    for (size_t i = 0; i < n_rows; i++)
        pass->ops->rms_norm(y + i * width, x + i * width, gain, width, pass->config->rms_norm_eps);
}

static void add_rows(const qk_pass *pass, float *y, const float *x, size_t n_rows, size_t width)
{
#pragma omp parallel for num_threads(pass->layout.n_threads) if (n_rows * width > 50000)
    for (size_t i = 0; i < n_rows; i++) qk_add_rows(y + i * width, x + i * width, width);
}

void qk_pass_product(const qk_pass *pass, float *y, const float *x, const qk_rows *w, const float *bias, size_t n_rows)
{
    const qk_kernels *ops = pass->ops;
    bool few = pass->few_rows && ops->product_few;
    (few ? ops->product_few : ops->product)(ops, y, w->n_rows, x, w->n_cols, w, bias, n_rows, pass->layout.n_threads);
}

/* ---- rotation */

/* Two scalings depend on the length: then the table holds what was asked for, else all there will be.  A model that
 * lost part of its rotation differs from layer to layer. */
void qk_pass_rotation(qk_pass *pass, int layer, size_t from, size_t n_tokens)
{
    const qk_config *c = pass->config;
    bool by_length = c->rope_kind == QK_ROPE_DYNAMIC || c->rope_kind == QK_ROPE_LONGROPE;
    size_t half = (size_t)c->head_dim / 2, length = by_length ? n_tokens : pass->layout.longest;
    size_t first = by_length ? from : 0;
    const float *amounts = c->rope_amounts ? c->rope_amounts + (size_t)layer * half : NULL;
    if (!amounts) layer = 0;
    if (pass->rope_length >= n_tokens && pass->rope_from <= first && pass->rope_layer == layer &&
        pass->rope_key == (by_length ? n_tokens : 0))
        return;
    double factor;
    qk_rope_frequencies(pass->scratch.inv_freq, &factor, c, n_tokens);
    for (size_t m = 0; m < half && amounts; m++) pass->scratch.inv_freq[m] *= amounts[m];
    for (size_t t = first; t < length; t++)
        for (size_t m = 0; m < half; m++) {
            float angle = (float)t * pass->scratch.inv_freq[m];
            pass->scratch.cos[t * half + m] = cosf(angle) * (float)factor;
            pass->scratch.sin[t * half + m] = sinf(angle) * (float)factor;
        }
    pass->rope_from = first;
    pass->rope_length = length;
    pass->rope_key = by_length ? n_tokens : 0;
    pass->rope_layer = layer;
}

static void rotate_segment(qk_pass *pass, int layer, const qk_segment *s, float *x, int n_heads)
{
    const qk_config *c = pass->config;
    size_t d = (size_t)c->head_dim, half = d / 2;
    qk_pass_rotation(pass, layer, s->position0, s->position0 + s->n_rows);
#pragma omp parallel for num_threads(pass->layout.n_threads) if (s->n_rows * (size_t)n_heads * d > 50000)
    for (size_t i = 0; i < s->n_rows; i++)
        for (int h = 0; h < n_heads; h++)
            pass->ops->rotate(x + (i * (size_t)n_heads + (size_t)h) * d, pass->scratch.cos + (s->position0 + i) * half,
                              pass->scratch.sin + (s->position0 + i) * half, d);
}

/* ---- queries, keys, values */

static void norm_heads(const qk_pass *pass, float *x, const float *gain, size_t n_rows, int n_heads, qk_qk_norm kind)
{
    size_t d = (size_t)pass->config->head_dim, width = (size_t)n_heads * d;
    if (kind == QK_NORM_PER_HEAD)
        norm_rows(pass, x, x, gain, n_rows * (size_t)n_heads, d);
    else
        norm_rows(pass, x, x, gain, n_rows, width);
}

/* One of q, k: edits before norm, norm, rotation, edits after.  raw: where x before its norm is kept, or NULL. */
static qk_status shape_heads(qk_pass *pass, int layer, float *x, float *raw, int n_heads, qk_qk_norm norm,
                             const float *gain, const qk_site sites[3], const qk_segment *segments, size_t n_segments,
                             qk_error *err)
{
    size_t width = (size_t)n_heads * (size_t)pass->config->head_dim;
    size_t n_rows = segments[n_segments - 1].row + segments[n_segments - 1].n_rows;
    qk_status status = qk_site_visit(pass, sites[0], layer, x, width, segments, n_segments, err);
    if (!status && norm != QK_NORM_NONE) {
        if (raw) memcpy(raw, x, n_rows * width * sizeof *x);
        norm_heads(pass, x, gain, n_rows, n_heads, norm);
        status = qk_site_visit(pass, sites[1], layer, x, width, segments, n_segments, err);
    }
    if (!status && pass->config->rope_kind != QK_ROPE_NONE)
        for (size_t i = 0; i < n_segments; i++)
            rotate_segment(pass, layer, &segments[i], x + segments[i].row * width, n_heads);
    return status ? status : qk_site_visit(pass, sites[2], layer, x, width, segments, n_segments, err);
}

/* ---- attention */

/* Block `index` of QK_ATTENTION_ROWS queries of one head of one segment. */
static qk_attention attention_block(const qk_pass *pass, int layer, const qk_segment *s, int head, size_t index,
                                    float *scores)
{
    const qk_config *c = pass->config;
    const qk_scratch *b = &pass->scratch;
    size_t d = (size_t)c->head_dim, q_stride = (size_t)c->n_heads * d, kv_stride = (size_t)c->n_kv_heads * d;
    const float *k = s->k_cache ? s->k_cache : b->k + s->row * kv_stride;
    const float *v = s->v_cache ? s->v_cache : b->v + s->row * kv_stride;
    size_t row = index * QK_ATTENTION_ROWS, kv_head = (size_t)head / (size_t)(c->n_heads / c->n_kv_heads);
    size_t at = (s->row + row) * q_stride + (size_t)head * d;
    return (qk_attention){
        .q = b->q + at,
        .z = b->z + at,
        .q_stride = q_stride,
        .z_stride = q_stride,
        .kv_stride = kv_stride,
        .k = k + kv_head * d,
        .v = v + kv_head * d,
        .row0 = s->position0 + row,
        .n_rows = s->n_rows - row < QK_ATTENTION_ROWS ? s->n_rows - row : QK_ATTENTION_ROWS,
        .head_dim = d,
        .few = pass->few_rows,
        .window = layer >= c->first_window_layer ? (size_t)c->sliding_window : 0,
        .scale = (float)c->softmax_scale,
        .scores = scores,
        .scores_stride = pass->layout.longest,
    };
}

/* What later segments of the streams will look back at: keys as attention sees them, values, edits included. */
static void fill_caches(const qk_pass *pass, const qk_segment *segments, size_t n_segments)
{
    size_t kv = (size_t)pass->config->n_kv_heads * (size_t)pass->config->head_dim;
    for (size_t i = 0; i < n_segments; i++) {
        const qk_segment *s = &segments[i];
        if (!s->k_cache) continue;
        memcpy(s->k_cache + s->position0 * kv, pass->scratch.k + s->row * kv, s->n_rows * kv * sizeof(float));
        memcpy(s->v_cache + s->position0 * kv, pass->scratch.v + s->row * kv, s->n_rows * kv * sizeof(float));
    }
}

static size_t blocks_of(const qk_segment *s) { return (s->n_rows + QK_ATTENTION_ROWS - 1) / QK_ATTENTION_ROWS; }

static void attend_block(const qk_pass *pass, const qk_attention *a)
{
    pass->ops->attend(pass->ops, a);
    for (size_t i = 0; i < a->n_rows; i++) pass->ops->softmax(a->scores + i * a->scores_stride, a->row0 + a->n_rows);
    pass->ops->mix(pass->ops, a);
}

static void attend_all(const qk_pass *pass, int layer, const qk_segment *segments, size_t n_segments)
{
    size_t n_heads = (size_t)pass->config->n_heads, n_tasks = 0;
    for (size_t i = 0; i < n_segments; i++)
        n_tasks += n_heads * (blocks_of(&segments[i]) - qk_pass_idle_blocks(pass, layer, &segments[i]));
#pragma omp parallel num_threads(pass->layout.n_threads)
    {
        float *scores = pass->scratch.scores + (size_t)omp_get_thread_num() * QK_ATTENTION_ROWS * pass->layout.longest;
#pragma omp for schedule(dynamic, 4)
        for (size_t task = 0; task < n_tasks; task++) {
            size_t rest = task, i = 0, idle = qk_pass_idle_blocks(pass, layer, &segments[0]);
            while (rest >= n_heads * (blocks_of(&segments[i]) - idle)) {
                rest -= n_heads * (blocks_of(&segments[i]) - idle);
                idle = qk_pass_idle_blocks(pass, layer, &segments[++i]);
            }
            qk_attention a =
                attention_block(pass, layer, &segments[i], (int)(rest % n_heads), idle + rest / n_heads, scores);
            attend_block(pass, &a);
        }
    }
}

/* Show a block of scores or pattern as rows over all keys of the sequence. */
static qk_status show_block(const qk_pass *pass, qk_site site, int layer, const qk_segment *s, int head,
                            const qk_attention *a, qk_error *err)
{
    if (!qk_site_wanted(pass, site, layer)) return QK_OK;
    float beyond = site == QK_SITE_SCORES ? -INFINITY : 0;
    size_t n_keys = s->position0 + s->n_rows;
    for (size_t i = 0; i < a->n_rows; i++)
        for (size_t j = a->row0 + a->n_rows; j < n_keys; j++) a->scores[i * a->scores_stride + j] = beyond;
    qk_segment part = *s;
    part.position0 = a->row0;
    part.n_rows = a->n_rows;
    return qk_probes_show(pass, site, layer, head, a->scores, a->scores_stride, n_keys, &part, err);
}

/* The same, block after block in order, for probes that look at scores or pattern. */
static qk_status attend_shown(qk_pass *pass, int layer, const qk_segment *segments, size_t n_segments, qk_error *err)
{
    for (size_t i = 0; i < n_segments; i++)
        for (int head = 0; head < pass->config->n_heads; head++)
            for (size_t block = 0; block < blocks_of(&segments[i]); block++) {
                qk_attention a = attention_block(pass, layer, &segments[i], head, block, pass->scratch.scores);
                pass->ops->attend(pass->ops, &a);
                qk_status status = show_block(pass, QK_SITE_SCORES, layer, &segments[i], head, &a, err);
                for (size_t r = 0; r < a.n_rows; r++)
                    pass->ops->softmax(a.scores + r * a.scores_stride, a.row0 + a.n_rows);
                if (!status) status = show_block(pass, QK_SITE_PATTERN, layer, &segments[i], head, &a, err);
                if (status) return status;
                pass->ops->mix(pass->ops, &a);
            }
    return QK_OK;
}

/* ---- the layer */

void qk_pass_norm(const qk_pass *pass, float *out, const float *gain, const qk_segment *parts, size_t n_parts)
{
    size_t width = (size_t)pass->config->d_model;
    for (size_t i = 0; i < n_parts; i++)
        norm_rows(pass, out + (parts[i].row - parts[0].row) * width, pass->residual + parts[i].x_row * width, gain,
                  parts[i].n_rows, width);
}

/* Where the block that begins at batch row `row` lies in a buffer of blocks. */
static float *block_at(const qk_scratch *b, float *buffer, size_t row, size_t width)
{
    return b->keeps ? buffer + row * width : buffer;
}

static void keep_residual(const qk_pass *pass, float *kept, const qk_segment *parts, size_t n_parts)
{
    size_t width = (size_t)pass->config->d_model;
    for (size_t i = 0; i < n_parts && kept; i++)
        memcpy(kept + parts[i].row * width, pass->residual + parts[i].x_row * width,
               parts[i].n_rows * width * sizeof *kept);
}

/* resid += delta, part by part, and the site behind it. */
static qk_status add_delta(qk_pass *pass, qk_site site, int layer, const qk_segment *parts, size_t n_parts,
                           qk_error *err)
{
    size_t width = (size_t)pass->config->d_model, row = 0;
    for (size_t i = 0; i < n_parts; row += parts[i++].n_rows) {
        float *x = pass->residual + parts[i].x_row * width;
        add_rows(pass, x, pass->scratch.delta + row * width, parts[i].n_rows, width);
        qk_status status = qk_site_visit(pass, site, layer, x, width, &parts[i], 1, err);
        if (status) return status;
    }
    return QK_OK;
}

static qk_status project_block(qk_pass *pass, int layer, const qk_layer_view *w, const qk_segment *parts, size_t n_parts,
                               size_t row, size_t n_rows, qk_error *err)
{
    const qk_config *c = pass->config;
    const qk_scratch *b = &pass->scratch;
    size_t width = (size_t)c->d_model, d = (size_t)c->head_dim, q = (size_t)c->n_heads * d,
           kv = (size_t)c->n_kv_heads * d;
    for (size_t i = 0; i < n_parts; i++) {
        qk_status status = qk_site_visit(pass, QK_SITE_RESID_PRE, layer, pass->residual + parts[i].x_row * width, width,
                                         &parts[i], 1, err);
        if (status) return status;
    }
    float *normed = block_at(b, b->normed, row, width);
    keep_residual(pass, b->resid_pre, parts, n_parts);
    qk_pass_norm(pass, normed, w->attn_norm, parts, n_parts);
    qk_status status = qk_site_visit(pass, QK_SITE_LN1_OUT, layer, normed, width, parts, n_parts, err);
    if (status) return status;
    qk_pass_product(pass, b->q + row * q, normed, &w->q, w->q_bias, n_rows);
    qk_pass_product(pass, b->k + row * kv, normed, &w->k, w->k_bias, n_rows);
    qk_pass_product(pass, b->v + row * kv, normed, &w->v, w->v_bias, n_rows);
    return QK_OK;
}

static qk_status silu_block(qk_pass *pass, int layer, const qk_segment *parts, size_t n_parts, size_t row,
                            size_t n_rows, qk_error *err)
{
    size_t width = (size_t)pass->config->d_ffn;
    const qk_scratch *b = &pass->scratch;
    float *gate = block_at(b, b->gate, row, width), *up = block_at(b, b->up, row, width),
          *post = block_at(b, b->post, row, width);
    qk_status status = qk_site_visit(pass, QK_SITE_MLP_PRE, layer, gate, width, parts, n_parts, err);
    if (!status) status = qk_site_visit(pass, QK_SITE_MLP_PRE_LINEAR, layer, up, width, parts, n_parts, err);
    if (status) return status;
#pragma omp parallel for num_threads(pass->layout.n_threads) if (n_rows * width > 50000)
    for (size_t i = 0; i < n_rows; i++) pass->ops->silu_mul(post + i * width, gate + i * width, up + i * width, width);
    return qk_site_visit(pass, QK_SITE_MLP_POST, layer, post, width, parts, n_parts, err);
}

/* From z to the residual stream behind the layer. */
static qk_status finish_block(qk_pass *pass, int layer, const qk_layer_view *w, const qk_segment *parts, size_t n_parts,
                              size_t row, size_t n_rows, qk_error *err)
{
    const qk_config *c = pass->config;
    const qk_scratch *b = &pass->scratch;
    size_t width = (size_t)c->d_model, q = (size_t)c->n_heads * (size_t)c->head_dim, ffn = (size_t)c->d_ffn;
    qk_pass_product(pass, b->delta, b->z + row * q, &w->o, w->o_bias, n_rows);
    qk_status status = qk_site_visit(pass, QK_SITE_ATTN_OUT, layer, b->delta, width, parts, n_parts, err);
    if (!status) status = add_delta(pass, QK_SITE_RESID_MID, layer, parts, n_parts, err);
    if (status) return status;
    float *normed = block_at(b, b->ffn_normed, row, width);
    keep_residual(pass, b->resid_mid, parts, n_parts);
    qk_pass_norm(pass, normed, w->ffn_norm, parts, n_parts);
    status = qk_site_visit(pass, QK_SITE_LN2_OUT, layer, normed, width, parts, n_parts, err);
    if (status) return status;
    qk_pass_product(pass, block_at(b, b->gate, row, ffn), normed, &w->gate, w->gate_bias, n_rows);
    qk_pass_product(pass, block_at(b, b->up, row, ffn), normed, &w->up, w->up_bias, n_rows);
    status = silu_block(pass, layer, parts, n_parts, row, n_rows, err);
    if (status) return status;
    qk_pass_product(pass, b->delta, block_at(b, b->post, row, ffn), &w->down, w->down_bias, n_rows);
    status = qk_site_visit(pass, QK_SITE_MLP_OUT, layer, b->delta, width, parts, n_parts, err);
    return status ? status : add_delta(pass, QK_SITE_RESID_POST, layer, parts, n_parts, err);
}

typedef qk_status block_function(qk_pass *, int, const qk_layer_view *, const qk_segment *, size_t, size_t, size_t,
                                 qk_error *);

/* Run `work` over the batch in blocks of block_rows. */
static qk_status for_blocks(block_function *work, qk_pass *pass, int layer, const qk_layer_view *w,
                            const qk_segment *segments, size_t n_segments, qk_segment *parts, qk_error *err)
{
    size_t n_rows = segments[n_segments - 1].row + segments[n_segments - 1].n_rows, step = pass->layout.block_rows;
    for (size_t row = 0; row < n_rows; row += step) {
        size_t n = n_rows - row < step ? n_rows - row : step;
        size_t n_parts = qk_segments_cut(parts, segments, n_segments, row, n);
        qk_status status = work(pass, layer, w, parts, n_parts, row, n, err);
        if (status) return status;
    }
    return QK_OK;
}

qk_status qk_layer_forward(qk_pass *pass, int layer, const qk_layer_view *w, const qk_segment *segments,
                           size_t n_segments, qk_error *err)
{
    static const qk_site q_sites[3] = { QK_SITE_Q, QK_SITE_Q_NORMED, QK_SITE_ROT_Q };
    static const qk_site k_sites[3] = { QK_SITE_K, QK_SITE_K_NORMED, QK_SITE_ROT_K };
    const qk_config *c = pass->config;
    const qk_scratch *b = &pass->scratch;
    size_t q = (size_t)c->n_heads * (size_t)c->head_dim, kv = (size_t)c->n_kv_heads * (size_t)c->head_dim;
    const qk_segment *needed = segments;
    qk_segment *parts = NULL;
    qk_status status = qk_new_array(&parts, n_segments, 2 * sizeof *parts, "segments", err);
    if (!status) status = for_blocks(project_block, pass, layer, w, segments, n_segments, parts, err);
    if (!status)
        status = shape_heads(pass, layer, b->q, b->q_raw, c->n_heads, c->q_norm, w->q_norm, q_sites, segments,
                             n_segments, err);
    if (!status)
        status = shape_heads(pass, layer, b->k, b->k_raw, c->n_kv_heads, c->k_norm, w->k_norm, k_sites, segments,
                             n_segments, err);
    if (!status) status = qk_site_visit(pass, QK_SITE_V, layer, b->v, kv, segments, n_segments, err);
    if (status) goto out;
    fill_caches(pass, segments, n_segments);
    if (qk_site_wanted(pass, QK_SITE_SCORES, layer) || qk_site_wanted(pass, QK_SITE_PATTERN, layer))
        status = attend_shown(pass, layer, segments, n_segments, err);
    else
        attend_all(pass, layer, segments, n_segments);
    if (pass->trims && layer + 1 == c->n_layers) {
        qk_pass_trim(parts + n_segments, pass, layer, segments, n_segments);
        needed = parts + n_segments;
    }
    if (!status) status = qk_site_visit(pass, QK_SITE_Z, layer, b->z, q, needed, n_segments, err);
    if (!status) status = for_blocks(finish_block, pass, layer, w, needed, n_segments, parts, err);
out:
    free(parts);
    return status;
}
