/* gradient.c - buffers of a training pass, forward through the pass's own layer function with kept activations, and
 * back. */
#include <stdlib.h>
#include <string.h>

#include "train/gradient_private.h"

static const qk_condition baseline = { .name = "training" };

/* ---- memory */

typedef struct piece { float **at; size_t n; } piece;

enum { LAYER_PIECES = 13, OTHER_PIECES = 18 };

static void layer_pieces(piece table[LAYER_PIECES], qk_kept *k, const qk_config *c, size_t rows)
{
    qk_widths w = qk_widths_of(c);
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
    qk_widths w = qk_widths_of(c);
    qk_scratch *b = &g->pass.scratch;
    size_t scores = (size_t)qk_thread_count(s->n_threads) * QK_ATTENTION_ROWS * qk_scores_stride(s->longest);
    size_t widest = w.model > w.q ? w.model : w.q;
    const piece all[OTHER_PIECES] = {
        { &g->pass.residual, rows * w.model },
        { &b->delta, QK_BLOCK_ROWS * w.model },
        { &b->scores, scores },
        { &b->logits, QK_BLOCK_ROWS * w.vocab },
        { &b->cos, s->longest * w.half },
        { &b->sin, s->longest * w.half },
        { &b->inv_freq, w.half },
        { &g->dx, rows * w.model },
        { &g->dnormed, QK_BLOCK_ROWS * w.model },
        { &g->dq, rows * w.q },
        { &g->dz, rows * w.q },
        { &g->dk, rows * w.kv },
        { &g->dv, rows * w.kv },
        { &g->dgate, QK_BLOCK_ROWS * w.ffn },
        { &g->dup, QK_BLOCK_ROWS * w.ffn },
        { &g->dscores, scores },
        { (float **)(void *)&g->partial, 2 * QK_PARTIAL_SUMS * widest },
        { &g->final_normed, QK_BLOCK_ROWS * w.model },
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
static size_t lay_out(qk_gradient *g, float *memory, const qk_config *c, const qk_gradient_spec *s, qk_kept *layers)
{
    piece others[OTHER_PIECES], own[LAYER_PIECES];
    qk_kept none;
    size_t rows = qk_padded_rows(s->max_rows), n_layers = (size_t)c->n_layers;
    other_pieces(others, g, c, s, rows);
    size_t at = carve(memory, others, OTHER_PIECES);
    for (size_t l = 0; l < n_layers; l++) {
        qk_kept *k = layers ? &layers[l] : &none;
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
    qk_operands operands = qk_operands_for(s->precision);
    p->ops = s->reference ? qk_kernels_reference() : qk_kernels_at(s->level, operands);
    g->derive = s->reference ? qk_derivatives_reference() : qk_derivatives_at(s->level, operands);
    p->layout = (qk_layout){ .longest = s->longest,
                             .batch_rows = qk_padded_rows(s->max_rows),
                             .block_rows = QK_BLOCK_ROWS,
                             .logit_rows = QK_BLOCK_ROWS,
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
    const qk_kept *k = &g->layers[layer];
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
    qk_layer_view weights;
    use_layer(g, layer);
    qk_layer_load(&weights, &g->pass, layer);
    return qk_layer_forward(&g->pass, layer, &weights, g->segments, n_segments, err);
}

static void embed(qk_gradient *g, const qk_sequence *sequences, size_t n_segments)
{
    size_t width = (size_t)g->pass.config->d_model;
    for (size_t i = 0; i < n_segments; i++)
        for (size_t t = 0; t < g->segments[i].n_rows; t++)
            memcpy(g->pass.residual + (g->segments[i].row + t) * width,
                   qk_embedding_of(g) + (size_t)sequences[i].tokens[t] * width, width * sizeof(float));
}

/* ---- both ways */

qk_status qk_gradient_add(double *nll, qk_gradient *g, const qk_sequence *sequences, size_t n_sequences, double scale,
                          qk_error *err)
{
    int n_layers = g->pass.config->n_layers;
    size_t n_rows = 0, bytes = (size_t)g->pass.config->d_model * sizeof(float);
    qk_status status = set_up_segments(g, sequences, n_sequences, &n_rows, err);
    if (status) return status;
    g->spec.sequences = sequences;
    g->spec.n_sequences = g->pass.group.sequence1 = n_sequences;
    g->pass.rope_length = 0; /* amounts may have changed since the last call */
    embed(g, sequences, n_sequences);
    for (int layer = 0; layer < n_layers && !status; layer++) status = forward_layer(g, layer, n_sequences, err);
    if (!status) status = qk_loss_back(nll, g, sequences, n_rows, scale, err);
    for (int layer = n_layers; layer-- > 0 && !status;) {
        if (g->settings.recompute && layer < n_layers - 1) {
            memcpy(g->pass.residual, g->layers[layer].resid_pre, n_rows * bytes);
            status = forward_layer(g, layer, n_sequences, err);
            if (status) break;
        }
        qk_layer_back(g, layer, sequences, n_sequences, n_rows);
    }
    if (!status) qk_embed_back(g, sequences, n_sequences);
    return status;
}
