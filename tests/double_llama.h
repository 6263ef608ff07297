/* double_llama.h - a Llama forward in double precision, written to be read: the second oracle of gradients.
 *
 * One sequence, one row after another, no blocks, no caches, nothing shared with the library but the place where each
 * weight lies in qk_parameters and the rotary angles, which a model rounds to single precision. */
#ifndef QK_TEST_DOUBLE_LLAMA_H
#define QK_TEST_DOUBLE_LLAMA_H

#include <math.h>

#include "testing.h"
#include "train/train.h"

typedef struct double_llama {
    const qk_config *config;
    const qk_parameters *names; /* where a weight lies */
    double *values;             /* [names->n_values], to be nudged */
} double_llama;

/* The weight of that name in layer `layer` (-1: of no layer); NULL where the model has none. */
static const double *double_weight(const double_llama *m, int layer, const char *name)
{
    char full[96];
    if (layer < 0)
        snprintf(full, sizeof full, "%s", name);
    else
        snprintf(full, sizeof full, "model.layers.%d.%s", layer, name);
    for (size_t i = 0; i < m->names->n_items; i++)
        if (strcmp(m->names->items[i].shape.name, full) == 0) return m->values + m->names->items[i].offset;
    return NULL;
}

/* y[t][n] = x[t][k] w[n][k]^T + bias[n] */
static void double_linear(double *y, const double *x, const double *w, const double *bias, size_t t, size_t n, size_t k)
{
    for (size_t i = 0; i < t; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = bias ? bias[j] : 0;
            for (size_t c = 0; c < k; c++) sum += x[i * k + c] * w[j * k + c];
            y[i * n + j] = sum;
        }
}

/* One of q, k, v, o, gate, up, down of a layer, with its bias where there is one. */
static void double_project(const double_llama *m, int layer, const char *name, double *y, const double *x, size_t t,
                           size_t n, size_t k)
{
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    double_linear(y, x, double_weight(m, layer, weight), double_weight(m, layer, bias), t, n, k);
}

static void double_norm(double *y, const double *x, const double *gain, size_t t, size_t n, double eps)
{
    for (size_t i = 0; i < t; i++) {
        double squares = 0;
        for (size_t c = 0; c < n; c++) squares += x[i * n + c] * x[i * n + c];
        for (size_t c = 0; c < n; c++) y[i * n + c] = gain[c] * x[i * n + c] / sqrt(squares / (double)n + eps);
    }
}

static void double_rotate(const qk_config *c, int layer, double *x, size_t t, size_t n_heads)
{
    size_t d = (size_t)c->head_dim, half = d / 2;
    for (size_t i = 0; i < t; i++)
        for (size_t h = 0; h < n_heads; h++)
            for (size_t p = 0; p < half; p++) {
                float f = (float)(1 / pow(c->rope_theta, 2 * (double)p / (double)d));
                if (c->rope_amounts) f *= c->rope_amounts[(size_t)layer * half + p];
                double angle = (double)((float)i * f), *a = x + (i * n_heads + h) * d + p, first = a[0];
                a[0] = first * cos(angle) - a[half] * sin(angle);
                a[half] = first * sin(angle) + a[half] * cos(angle);
            }
}

/* Norm and rotation of q or k. */
static void double_shape(const double_llama *m, int layer, const char *norm, double *x, size_t t, size_t n_heads)
{
    const qk_config *c = m->config;
    size_t d = (size_t)c->head_dim;
    const double *gain = double_weight(m, layer, norm);
    if (gain && c->q_norm == QK_NORM_PER_HEAD)
        double_norm(x, x, gain, t * n_heads, d, c->rms_norm_eps);
    else if (gain)
        double_norm(x, x, gain, t, n_heads * d, c->rms_norm_eps);
    if (c->rope_kind != QK_ROPE_NONE) double_rotate(c, layer, x, t, n_heads);
}

/* z of the query at position `at`: the mean of the values from `from` on, weighted by the softmax of the scores. */
static void double_attend(const qk_config *c, double *z, const double *q, const double *k, const double *v, size_t from,
                          size_t at)
{
    size_t d = (size_t)c->head_dim, stride = (size_t)c->n_kv_heads * d;
    double sum = 0;
    memset(z, 0, d * sizeof *z);
    for (size_t j = from; j <= at; j++) {
        double score = 0;
        for (size_t e = 0; e < d; e++) score += q[e] * k[j * stride + e];
        double weight = exp(score * c->softmax_scale); /* scores of a test are small: no maximum is taken out */
        sum += weight;
        for (size_t e = 0; e < d; e++) z[e] += weight * v[j * stride + e];
    }
    for (size_t e = 0; e < d; e++) z[e] /= sum;
}

/* x[t][d_model] += attention of the layer; normed[t][d_model] is scratch. */
static void double_attention(const double_llama *m, int layer, double *x, double *normed, size_t t)
{
    const qk_config *c = m->config;
    size_t d = (size_t)c->head_dim, h = (size_t)c->n_heads, g = (size_t)c->n_kv_heads, width = (size_t)c->d_model;
    double *q = calloc(t * (2 * h + 2 * g) * d, sizeof *q), *z = q + t * h * d, *k = z + t * h * d, *v = k + t * g * d;
    double_norm(normed, x, double_weight(m, layer, "input_layernorm.weight"), t, width, c->rms_norm_eps);
    double_project(m, layer, "self_attn.q_proj", q, normed, t, h * d, width);
    double_project(m, layer, "self_attn.k_proj", k, normed, t, g * d, width);
    double_project(m, layer, "self_attn.v_proj", v, normed, t, g * d, width);
    double_shape(m, layer, "self_attn.q_norm.weight", q, t, h);
    double_shape(m, layer, "self_attn.k_norm.weight", k, t, g);
    size_t window = layer >= c->first_window_layer && c->sliding_window ? (size_t)c->sliding_window : t;
    for (size_t i = 0; i < t; i++)
        for (size_t head = 0; head < h; head++) {
            size_t row = (i * h + head) * d, kv = head / (h / g) * d;
            double_attend(c, z + row, q + row, k + kv, v + kv, i < window ? 0 : i - window + 1, i);
        }
    double_project(m, layer, "self_attn.o_proj", normed, z, t, width, h * d);
    for (size_t i = 0; i < t * width; i++) x[i] += normed[i];
    free(q);
}

/* x[t][d_model] += feed-forward of the layer. */
static void double_feed(const double_llama *m, int layer, double *x, double *normed, size_t t)
{
    const qk_config *c = m->config;
    size_t ffn = (size_t)c->d_ffn, width = (size_t)c->d_model;
    double *gate = calloc(t * ffn * 2, sizeof *gate), *up = gate + t * ffn;
    double_norm(normed, x, double_weight(m, layer, "post_attention_layernorm.weight"), t, width, c->rms_norm_eps);
    double_project(m, layer, "mlp.gate_proj", gate, normed, t, ffn, width);
    double_project(m, layer, "mlp.up_proj", up, normed, t, ffn, width);
    for (size_t i = 0; i < t * ffn; i++) gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    double_project(m, layer, "mlp.down_proj", normed, gate, t, width, ffn);
    for (size_t i = 0; i < t * width; i++) x[i] += normed[i];
    free(gate);
}

/* Sum of -log p over the tokens from score_from on, nats. */
static double double_nll(const double_llama *m, const qk_sequence *s)
{
    const qk_config *c = m->config;
    size_t t = s->n_tokens, width = (size_t)c->d_model, n_vocab = (size_t)c->n_vocab;
    double *x = calloc(t * width * 2 + n_vocab, sizeof *x), *normed = x + t * width, *logits = normed + t * width;
    const double *embedding = double_weight(m, -1, "model.embed_tokens.weight");
    const double *unembedding = c->tied_embeddings ? embedding : double_weight(m, -1, "lm_head.weight");
    for (size_t i = 0; i < t; i++) memcpy(x + i * width, embedding + (size_t)s->tokens[i] * width, width * sizeof *x);
    for (int layer = 0; layer < c->n_layers; layer++) {
        double_attention(m, layer, x, normed, t);
        double_feed(m, layer, x, normed, t);
    }
    double_norm(normed, x, double_weight(m, -1, "model.norm.weight"), t, width, c->rms_norm_eps);
    double nll = 0;
    for (size_t i = s->score_from; i < t; i++) {
        double sum = 0;
        double_linear(logits, normed + (i - 1) * width, unembedding, NULL, 1, n_vocab, width);
        for (size_t j = 0; j < n_vocab; j++) sum += exp(logits[j]);
        nll += log(sum) - logits[s->tokens[i]];
    }
    free(x);
    return nll;
}

#endif
