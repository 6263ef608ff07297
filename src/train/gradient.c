/* gradient.c - forward through the pass's own layer function with kept activations, the loss, and the way back. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "pass/pass.h"
#include "train/train.h"

/* Rows of one block of products and of logits: enough to be efficient, few enough to stay in the cache. */
#define BLOCK_ROWS ((size_t)8 * QK_TILE_ROWS)

/* What one layer keeps for the way back; pointers into qk_gradient.memory. */
typedef struct kept {
    float *resid_pre, *normed, *q_raw, *k_raw, *q, *k, *v, *z, *resid_mid, *ffn_normed, *gate, *up, *post;
} kept;

struct qk_gradient {
    qk_parameters *parameters;
    qk_gradient_spec settings;
    const qk_derivatives *derive;
    qk_pass pass;           /* on parameters->model: baseline only, no probes */
    qk_pass_spec spec;
    qk_pass_result result;  /* without receipts: there are no edits */
    size_t no_edits[2];     /* the edit table's `first` */
    float *memory;          /* every buffer below and in pass.scratch */
    kept *layers;           /* [n_layers]; with recompute all but resid_pre are the same */
    float *dx;              /* [rows][d_model] gradient of the residual stream */
    float *dnormed;         /* [BLOCK_ROWS][d_model] */
    float *dq, *dz;         /* [rows][n_heads*head_dim] */
    float *dk, *dv;         /* [rows][n_kv_heads*head_dim] */
    float *dgate, *dup;     /* [BLOCK_ROWS][d_ffn] */
    float *dscores;         /* [n_threads][QK_ATTENTION_ROWS][longest] */
    double *partial;        /* [QK_PARTIAL_SUMS][widest] */
    qk_segment *segments;   /* [n_segments] of the present micro-batch */
    size_t most_segments;
    size_t *standing;       /* [n_layers + 1] zeros */
};

static const qk_condition baseline = { .name = "training" };

/* ---- memory */

static size_t padded(size_t rows) { return (rows + QK_TILE_ROWS - 1) / QK_TILE_ROWS * QK_TILE_ROWS; }

typedef struct piece { float **at; size_t n; } piece;

enum { LAYER_PIECES = 13, OTHER_PIECES = 20 };

/* Widths in floats of a row. */
typedef struct widths { size_t model, q, kv, ffn, vocab, half; } widths;

static widths widths_of(const qk_config *c)
{
    size_t d = (size_t)c->head_dim;
    return (widths){ (size_t)c->d_model, (size_t)c->n_heads * d, (size_t)c->n_kv_heads * d,
                     (size_t)c->d_ffn,   (size_t)c->n_vocab,     d / 2 };
}

static void layer_pieces(piece table[LAYER_PIECES], kept *k, const qk_config *c, size_t rows)
{
    widths w = widths_of(c);
    const piece all[LAYER_PIECES] = {
        { &k->resid_pre, rows * w.model },
        { &k->normed, rows * w.model },
        { &k->q_raw, c->q_norm == QK_NORM_NONE ? 0 : rows * w.q },
        { &k->k_raw, c->k_norm == QK_NORM_NONE ? 0 : rows * w.kv },
        { &k->q, rows * w.q },
        { &k->k, rows * w.kv },
        { &k->v, rows * w.kv },
        { &k->z, rows * w.q },
        { &k->resid_mid, rows * w.model },
        { &k->ffn_normed, rows * w.model },
        { &k->gate, rows * w.ffn },
        { &k->up, rows * w.ffn },
        { &k->post, rows * w.ffn },
    };
    memcpy(table, all, sizeof all);
}

static void other_pieces(piece table[OTHER_PIECES], qk_gradient *g, const qk_config *c, const qk_gradient_spec *s,
                         size_t rows)
{
    widths w = widths_of(c);
    qk_scratch *b = &g->pass.scratch;
    size_t scores = (size_t)qk_thread_count(s->n_threads) * QK_ATTENTION_ROWS * s->longest;
    size_t widest = w.model > w.q ? w.model : w.q;
    const piece all[OTHER_PIECES] = {
        { &g->pass.residual, rows * w.model },
        { &b->delta, BLOCK_ROWS * w.model },
        { &b->scores, scores },
        { &b->logits, BLOCK_ROWS * w.vocab },
        { &b->cos, s->longest * w.half },
        { &b->sin, s->longest * w.half },
        { &b->inv_freq, w.half },
        { &g->dx, rows * w.model },
        { &g->dnormed, BLOCK_ROWS * w.model },
        { &g->dq, rows * w.q },
        { &g->dz, rows * w.q },
        { &g->dk, rows * w.kv },
        { &g->dv, rows * w.kv },
        { &g->dgate, BLOCK_ROWS * w.ffn },
        { &g->dup, BLOCK_ROWS * w.ffn },
        { &g->dscores, scores },
        { (float **)(void *)&g->partial, 2 * QK_PARTIAL_SUMS * widest },
        { &b->normed, BLOCK_ROWS * w.model }, /* of the final norm; a layer's own is kept */
    };
    memcpy(table, all, sizeof all);
}

static size_t rounded(size_t n) { return (n + 15) / 16 * 16; } /* 64-byte aligned */

/* Sets each piece where `memory` is given; returns the floats of all. */
static size_t carve(float *memory, const piece *pieces, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (!pieces[i].at) continue;
        if (memory) *pieces[i].at = pieces[i].n ? memory + at : NULL;
        at += rounded(pieces[i].n);
    }
    return at;
}

/* Every buffer of `g` in one go; `memory` NULL only counts. */
static size_t lay_out(qk_gradient *g, float *memory, const qk_config *c, const qk_gradient_spec *s, kept *layers)
{
    piece others[OTHER_PIECES], own[LAYER_PIECES];
    kept none;
    size_t rows = padded(s->max_rows), n_layers = (size_t)c->n_layers;
    other_pieces(others, g, c, s, rows);
    size_t at = carve(memory, others, OTHER_PIECES);
    for (size_t l = 0; l < n_layers; l++) {
        kept *k = layers ? &layers[l] : &none;
        if (s->recompute && l > 0) {
            if (layers) *k = layers[0];
            layer_pieces(own, k, c, rows);
            at += carve(memory ? memory + at : NULL, own, 1); /* resid_pre alone */
        } else {
            layer_pieces(own, k, c, rows);
            at += carve(memory ? memory + at : NULL, own, LAYER_PIECES);
        }
    }
    return at;
}

uint64_t qk_gradient_bytes(const qk_config *config, const qk_gradient_spec *spec)
{
    qk_gradient probe;
    return 4 * (uint64_t)lay_out(&probe, NULL, config, spec, NULL);
}

static void set_up_pass(qk_gradient *g)
{
    const qk_gradient_spec *s = &g->settings;
    qk_pass *p = &g->pass;
    g->spec = (qk_pass_spec){ .conditions = &baseline, .n_conditions = 1, .n_threads = s->n_threads };
    p->model = g->parameters->model;
    p->config = &p->model->config;
    p->spec = &g->spec;
    p->ops = s->reference ? qk_kernels_reference() : qk_kernels_fast();
    g->derive = s->reference ? qk_derivatives_reference() : qk_derivatives_fast();
    p->layout = (qk_layout){ .longest = s->longest,
                             .batch_rows = padded(s->max_rows),
                             .block_rows = BLOCK_ROWS,
                             .logit_rows = BLOCK_ROWS,
                             .n_threads = qk_thread_count(s->n_threads) };
    p->edits.first = g->no_edits;
    p->standing = g->standing;
    p->group = (qk_group){ 0, 0, 0, 1 };
    p->result = &g->result;
    p->scratch.keeps = true;
}

qk_status qk_gradient_new(qk_gradient **out, qk_parameters *parameters, const qk_gradient_spec *spec, qk_error *err)
{
    const qk_config *c = &parameters->model->config;
    qk_gradient *g = NULL;
    if (spec->precision == QK_PRECISION_BF16)
        return qk_fail(err, QK_E_UNSUPPORTED, "precision bf16: this version trains in f32 (auto, f32)");
    qk_status status = qk_new_array(&g, 1, sizeof *g, "training", err);
    if (status) return status;
    g->parameters = parameters;
    g->settings = *spec;
    status = qk_new_array(&g->layers, (size_t)c->n_layers, sizeof *g->layers, "training", err);
    if (!status) status = qk_new_array(&g->standing, (size_t)c->n_layers + 1, sizeof *g->standing, "training", err);
    if (!status) status = qk_new_floats(&g->memory, lay_out(g, NULL, c, spec, NULL), "activations", err);
    if (status) return qk_gradient_free(g), status;
    lay_out(g, g->memory, c, spec, g->layers);
    set_up_pass(g);
    *out = g;
    return QK_OK;
}

void qk_gradient_free(qk_gradient *g)
{
    if (!g) return;
    free(g->layers);
    free(g->standing);
    free(g->segments);
    free(g->memory);
    free(g);
}

/* ---- small helpers */

/* The gradient of a weight that the forward pass reads at `value`; NULL for NULL. */
static float *gradient_of(const qk_gradient *g, const float *value)
{
    return value ? g->parameters->gradient + (value - g->parameters->values) : NULL;
}

/* y = x w^T + bias, on the way back: dw, dbias; and dx unless NULL. */
static void product_back(const qk_gradient *g, float *dx, bool add, const float *dy, const float *x, const float *w,
                         const float *bias, size_t m, size_t n, size_t k)
{
    int n_threads = g->pass.layout.n_threads;
    g->derive->product_weight(gradient_of(g, w), gradient_of(g, bias), dy, x, m, n, k, n_threads);
    if (dx) g->derive->product_input(dx, dy, w, m, n, k, add, n_threads);
}

static void norm_back(const qk_gradient *g, float *dx, bool add, const float *dy, const float *x, const float *gain,
                      size_t m, size_t n)
{
    g->derive->rms_norm(dx, gradient_of(g, gain), dy, x, gain, m, n, g->pass.config->rms_norm_eps, add, g->partial,
                        g->pass.layout.n_threads);
}

static size_t block_end(size_t row, size_t n_rows) { return n_rows - row < BLOCK_ROWS ? n_rows - row : BLOCK_ROWS; }

/* ---- forward */

static qk_status set_up_segments(qk_gradient *g, const qk_sequence *sequences, size_t n, size_t *n_rows, qk_error *err)
{
    size_t rows = 0;
    int n_vocab = g->pass.config->n_vocab;
    if (n > g->most_segments) {
        qk_segment *grown = NULL;
        qk_status status = qk_new_array(&grown, n, sizeof *grown, "segments", err);
        if (status) return status;
        free(g->segments);
        g->segments = grown;
        g->most_segments = n;
    }
    for (size_t i = 0; i < n; i++) {
        const qk_sequence *s = &sequences[i];
        if (s->n_tokens < 2 || s->n_tokens > g->settings.longest || s->n_tokens > g->settings.max_rows - rows)
            return qk_fail(err, QK_E_ARGUMENT, "sequence %zu of %zu tokens: expected 2 to %zu, %zu in all", i,
                           s->n_tokens, g->settings.longest, g->settings.max_rows);
        for (size_t t = 0; t < s->n_tokens; t++)
            if (s->tokens[t] < 0 || s->tokens[t] >= n_vocab)
                return qk_fail(err, QK_E_ARGUMENT, "sequence %zu, token %zu: id %d, the model has 0 to %d", i, t,
                               s->tokens[t], n_vocab - 1);
        g->segments[i] = (qk_segment){ .sequence = i, .x_row = rows, .row = rows, .n_rows = s->n_tokens };
        rows += s->n_tokens;
    }
    *n_rows = rows;
    return QK_OK;
}

static void use_layer(qk_gradient *g, int layer)
{
    qk_scratch *b = &g->pass.scratch;
    const kept *k = &g->layers[layer];
    b->normed = k->normed;
    b->ffn_normed = k->ffn_normed;
    b->q = k->q;
    b->k = k->k;
    b->v = k->v;
    b->z = k->z;
    b->q_raw = k->q_raw;
    b->k_raw = k->k_raw;
    b->gate = k->gate;
    b->up = k->up;
    b->post = k->post;
    b->resid_pre = k->resid_pre;
    b->resid_mid = k->resid_mid;
}

static qk_status forward_layer(qk_gradient *g, int layer, size_t n_segments, qk_error *err)
{
    qk_layer_f32 weights;
    use_layer(g, layer);
    qk_layer_load(&weights, &g->pass, layer);
    return qk_layer_forward(&g->pass, layer, &weights, g->segments, n_segments, err);
}

static const float *embedding_of(const qk_gradient *g) { return qk_weight_mapped(&g->pass.model->embedding); }

static void embed(qk_gradient *g, const qk_sequence *sequences, size_t n_segments)
{
    size_t width = (size_t)g->pass.config->d_model;
    for (size_t i = 0; i < n_segments; i++)
        for (size_t t = 0; t < g->segments[i].n_rows; t++)
            memcpy(g->pass.residual + (g->segments[i].row + t) * width,
                   embedding_of(g) + (size_t)sequences[i].tokens[t] * width, width * sizeof(float));
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
    int32_t target[BLOCK_ROWS];
    double nll[BLOCK_ROWS], sum = 0;
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

static qk_status score_and_return(qk_gradient *g, double *nll, const qk_sequence *sequences, size_t n_rows,
                                  double scale, float *final_normed, qk_error *err)
{
    const qk_pass *p = &g->pass;
    size_t width = (size_t)p->config->d_model, vocab = (size_t)p->config->n_vocab, segment = 0;
    const float *gain = qk_weight_mapped(&p->model->final_norm), *w = qk_weight_mapped(&p->model->unembedding);
    qk_status status = QK_OK;
    double sum = 0;
    for (size_t row = 0; row < n_rows && !status; row += BLOCK_ROWS) {
        size_t n = block_end(row, n_rows);
        const float *x = p->residual + row * width;
#pragma omp parallel for num_threads(p->layout.n_threads)
        for (size_t i = 0; i < n; i++)
            p->ops->rms_norm(final_normed + i * width, x + i * width, gain, width, p->config->rms_norm_eps);
        p->ops->product(p->scratch.logits, vocab, final_normed, width, w, NULL, padded(n), vocab, width,
                        p->layout.n_threads);
        sum += loss_of_block(g, sequences, row, n, &segment, scale, err, &status);
        product_back(g, g->dnormed, false, p->scratch.logits, final_normed, w, NULL, n, vocab, width);
        norm_back(g, g->dx + row * width, false, g->dnormed, x, gain, n, width);
    }
    if (!status) *nll += sum;
    return status;
}

/* ---- back through a layer */

static void ffn_back(qk_gradient *g, const kept *k, const qk_layer_f32 *w, size_t n_rows)
{
    widths s = widths_of(g->pass.config);
    for (size_t row = 0; row < n_rows; row += BLOCK_ROWS) {
        size_t n = block_end(row, n_rows);
        float *dx = g->dx + row * s.model, *dpost = g->dgate;
        const float *gate = k->gate + row * s.ffn, *up = k->up + row * s.ffn, *normed = k->ffn_normed + row * s.model;
        product_back(g, dpost, false, dx, k->post + row * s.ffn, w->down, w->down_bias, n, s.model, s.ffn);
#pragma omp parallel for num_threads(g->pass.layout.n_threads)
        for (size_t i = 0; i < n; i++)
            g->derive->silu_mul(g->dgate + i * s.ffn, g->dup + i * s.ffn, dpost + i * s.ffn, gate + i * s.ffn,
                                up + i * s.ffn, s.ffn);
        product_back(g, g->dnormed, false, g->dgate, normed, w->gate, w->gate_bias, n, s.ffn, s.model);
        product_back(g, g->dnormed, true, g->dup, normed, w->up, w->up_bias, n, s.ffn, s.model);
        norm_back(g, dx, true, g->dnormed, k->resid_mid + row * s.model, w->ffn_norm, n, s.model);
    }
}

/* Queries of one key/value head of one segment, block after block: dq, and dk and dv of the head. */
static void attention_back(const qk_gradient *g, const kept *k, int layer, const qk_segment *s, size_t kv_head,
                           float *scores, float *dscores)
{
    const qk_pass *p = &g->pass;
    const qk_config *c = p->config;
    size_t d = (size_t)c->head_dim, q_stride = (size_t)c->n_heads * d, kv_stride = (size_t)c->n_kv_heads * d;
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
                             .scale = (float)c->softmax_scale, .scores = scores, .scores_stride = p->layout.longest },
                .dz = g->dz + at, .dq = g->dq + at, .dk = g->dk + kv_at, .dv = g->dv + kv_at, .dscores = dscores,
            };
            p->ops->attend(&a.forward);
            for (size_t i = 0; i < a.forward.n_rows; i++)
                p->ops->softmax(scores + i * p->layout.longest, row + a.forward.n_rows);
            g->derive->attention(&a);
        }
}

static void attend_back(const qk_gradient *g, const kept *k, int layer, size_t n_segments)
{
    size_t n_kv = (size_t)g->pass.config->n_kv_heads, block = QK_ATTENTION_ROWS * g->pass.layout.longest;
#pragma omp parallel num_threads(g->pass.layout.n_threads)
    {
        omp_set_num_threads(1); /* the products inside a block stay in this thread */
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
        qk_pass_rotation(&g->pass, layer, sequences[i].n_tokens);
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

static void projections_back(qk_gradient *g, const kept *k, const qk_layer_f32 *w, size_t n_rows)
{
    widths s = widths_of(g->pass.config);
    for (size_t row = 0; row < n_rows; row += BLOCK_ROWS) {
        size_t n = block_end(row, n_rows);
        const float *normed = k->normed + row * s.model;
        product_back(g, g->dnormed, false, g->dq + row * s.q, normed, w->q, w->q_bias, n, s.q, s.model);
        product_back(g, g->dnormed, true, g->dk + row * s.kv, normed, w->k, w->k_bias, n, s.kv, s.model);
        product_back(g, g->dnormed, true, g->dv + row * s.kv, normed, w->v, w->v_bias, n, s.kv, s.model);
        norm_back(g, g->dx + row * s.model, true, g->dnormed, k->resid_pre + row * s.model, w->attn_norm, n, s.model);
    }
}

static void layer_back(qk_gradient *g, int layer, const qk_sequence *sequences, size_t n_segments, size_t n_rows)
{
    const qk_config *c = g->pass.config;
    const kept *k = &g->layers[layer];
    qk_layer_f32 w;
    widths s = widths_of(c);
    qk_layer_load(&w, &g->pass, layer);
    ffn_back(g, k, &w, n_rows);
    for (size_t row = 0; row < n_rows; row += BLOCK_ROWS)
        product_back(g, g->dz + row * s.q, false, g->dx + row * s.model, k->z + row * s.q, w.o, w.o_bias,
                     block_end(row, n_rows), s.model, s.q);
    attend_back(g, k, layer, n_segments);
    rotate_back(g, layer, sequences, n_segments, g->dq, (size_t)c->n_heads);
    rotate_back(g, layer, sequences, n_segments, g->dk, (size_t)c->n_kv_heads);
    qk_norm_back(g, g->dq, k->q_raw, w.q_norm, c->q_norm, n_rows, (size_t)c->n_heads);
    qk_norm_back(g, g->dk, k->k_raw, w.k_norm, c->k_norm, n_rows, (size_t)c->n_kv_heads);
    projections_back(g, k, &w, n_rows);
}

/* Row after row, in order: the same token may come again. */
static void embed_back(const qk_gradient *g, const qk_sequence *sequences, size_t n_segments)
{
    size_t width = (size_t)g->pass.config->d_model;
    float *gradient = gradient_of(g, embedding_of(g));
    for (size_t i = 0; i < n_segments; i++)
        for (size_t t = 0; t < g->segments[i].n_rows; t++)
            qk_add_rows(gradient + (size_t)sequences[i].tokens[t] * width, g->dx + (g->segments[i].row + t) * width,
                        width);
}

qk_status qk_gradient_add(double *nll, qk_gradient *g, const qk_sequence *sequences, size_t n_sequences, double scale,
                          qk_error *err)
{
    int n_layers = g->pass.config->n_layers;
    size_t n_rows = 0, bytes = (size_t)g->pass.config->d_model * sizeof(float);
    float *final_normed = g->pass.scratch.normed;
    qk_status status = set_up_segments(g, sequences, n_sequences, &n_rows, err);
    if (status) return status;
    g->spec.sequences = sequences;
    g->spec.n_sequences = g->pass.group.sequence1 = n_sequences;
    g->pass.rope_length = 0; /* amounts may have changed since the last call */
    embed(g, sequences, n_sequences);
    for (int layer = 0; layer < n_layers && !status; layer++) status = forward_layer(g, layer, n_sequences, err);
    if (!status) status = score_and_return(g, nll, sequences, n_rows, scale, final_normed, err);
    for (int layer = n_layers; layer-- > 0 && !status;) {
        if (g->settings.recompute && layer < n_layers - 1) {
            memcpy(g->pass.residual, g->layers[layer].resid_pre, n_rows * bytes);
            status = forward_layer(g, layer, n_sequences, err);
            if (status) break;
        }
        layer_back(g, layer, sequences, n_sequences, n_rows);
    }
    if (!status) embed_back(g, sequences, n_sequences);
    g->pass.scratch.normed = final_normed;
    return status;
}
