/* bind.c - names -> weights; the only place with tensor names. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

/* Sizes as letters: C d_model, Q query width, K key/value width, F d_ffn, V n_vocab, q / k: the q / k norm's weight,
 * 1. */
static size_t size_of(char letter, const qk_config *c)
{
    size_t d = (size_t)c->head_dim;
    switch (letter) {
    case 'C': return (size_t)c->d_model;
    case 'Q': return (size_t)c->n_heads * d;
    case 'K': return (size_t)c->n_kv_heads * d;
    case 'F': return (size_t)c->d_ffn;
    case 'V': return (size_t)c->n_vocab;
    case 'q': return c->q_norm == QK_NORM_PER_HEAD ? d : (size_t)c->n_heads * d;
    case 'k': return c->k_norm == QK_NORM_PER_HEAD ? d : (size_t)c->n_kv_heads * d;
    default: return 1;
    }
}

static bool always(const qk_config *c) { return c != NULL; }
static bool untied(const qk_config *c) { return !c->tied_embeddings; }
static bool with_qkv_bias(const qk_config *c) { return c->qkv_bias; }
static bool with_o_bias(const qk_config *c) { return c->o_bias; }
static bool with_mlp_bias(const qk_config *c) { return c->mlp_bias; }
static bool with_q_norm(const qk_config *c) { return c->q_norm != QK_NORM_NONE; }
static bool with_k_norm(const qk_config *c) { return c->k_norm != QK_NORM_NONE; }

typedef struct row {
    size_t field; /* offset in qk_model or qk_layer_weights */
    const char *hf, *gguf;
    char rows, cols;
    bool (*wanted)(const qk_config *);
    bool rotary; /* rows are query or key dims, which some files interleave */
} row;

#define M(f) offsetof(qk_model, f)
#define L(f) offsetof(qk_layer_weights, f)
static const row model_rows[] = {
    { M(embedding), "model.embed_tokens.weight", "token_embd.weight", 'V', 'C', always, false },
    { M(final_norm), "model.norm.weight", "output_norm.weight", 'C', '1', always, false },
    { M(unembedding), "lm_head.weight", "output.weight", 'V', 'C', untied, false },
};
static const row layer_rows[] = { /* prefixed by model.layers.N. and blk.N. */
    { L(attn_norm), "input_layernorm.weight", "attn_norm.weight", 'C', '1', always, false },
    { L(q), "self_attn.q_proj.weight", "attn_q.weight", 'Q', 'C', always, true },
    { L(k), "self_attn.k_proj.weight", "attn_k.weight", 'K', 'C', always, true },
    { L(v), "self_attn.v_proj.weight", "attn_v.weight", 'K', 'C', always, false },
    { L(o), "self_attn.o_proj.weight", "attn_output.weight", 'C', 'Q', always, false },
    { L(q_bias), "self_attn.q_proj.bias", "attn_q.bias", 'Q', '1', with_qkv_bias, true },
    { L(k_bias), "self_attn.k_proj.bias", "attn_k.bias", 'K', '1', with_qkv_bias, true },
    { L(v_bias), "self_attn.v_proj.bias", "attn_v.bias", 'K', '1', with_qkv_bias, false },
    { L(o_bias), "self_attn.o_proj.bias", "attn_output.bias", 'C', '1', with_o_bias, false },
    { L(q_norm), "self_attn.q_norm.weight", "attn_q_norm.weight", 'q', '1', with_q_norm, false },
    { L(k_norm), "self_attn.k_norm.weight", "attn_k_norm.weight", 'k', '1', with_k_norm, false },
    { L(ffn_norm), "post_attention_layernorm.weight", "ffn_norm.weight", 'C', '1', always, false },
    { L(gate), "mlp.gate_proj.weight", "ffn_gate.weight", 'F', 'C', always, false },
    { L(up), "mlp.up_proj.weight", "ffn_up.weight", 'F', 'C', always, false },
    { L(down), "mlp.down_proj.weight", "ffn_down.weight", 'C', 'F', always, false },
    { L(gate_bias), "mlp.gate_proj.bias", "ffn_gate.bias", 'F', '1', with_mlp_bias, false },
    { L(up_bias), "mlp.up_proj.bias", "ffn_up.bias", 'F', '1', with_mlp_bias, false },
    { L(down_bias), "mlp.down_proj.bias", "ffn_down.bias", 'C', '1', with_mlp_bias, false },
};
#undef M
#undef L

static size_t list_rows(qk_weight_shape *out, const qk_config *c, const row *rows, size_t n_rows, int layer)
{
    size_t n = 0;
    for (size_t i = 0; i < n_rows; i++) {
        if (!rows[i].wanted(c)) continue;
        if (out) {
            out[n] = (qk_weight_shape){ .n_rows = size_of(rows[i].rows, c),
                                        .n_cols = size_of(rows[i].cols, c),
                                        .n_dims = rows[i].cols == '1' ? 1 : 2,
                                        .layer = layer };
            if (layer < 0) snprintf(out[n].name, sizeof out->name, "%s", rows[i].hf);
            else snprintf(out[n].name, sizeof out->name, "model.layers.%d.%s", layer, rows[i].hf);
        }
        n++;
    }
    return n;
}

size_t qk_weight_shapes(qk_weight_shape *out, const qk_config *c)
{
    const size_t n_layer = sizeof layer_rows / sizeof *layer_rows;
    size_t n = list_rows(out, c, model_rows, 1, -1); /* the embedding */
    for (int l = 0; l < c->n_layers; l++) n += list_rows(out ? out + n : NULL, c, layer_rows, n_layer, l);
    return n + list_rows(out ? out + n : NULL, c, model_rows + 1, sizeof model_rows / sizeof *model_rows - 1, -1);
}

/* Tensors that lie in checkpoints and are not weights of the forward pass: recomputed, or read by config.c. */
static const char *const harmless[] = { "rotary_emb.inv_freq", "rope_freqs.weight", "rope_factors_short.weight",
                                        "rope_factors_long.weight" };

static qk_status bind_one(qk_weight *out, const qk_model *model, const row *r, const char *prefix, bool interleaved,
                          qk_error *err)
{
    const qk_config *c = &model->config;
    char name[160];
    bool hf = qk_ckpt_format(model->ckpt) == QK_FORMAT_SAFETENSORS;
    snprintf(name, sizeof name, "%s%s", prefix, hf ? r->hf : r->gguf);
    size_t rows = size_of(r->rows, c), cols = size_of(r->cols, c);
    const qk_tensor *t = qk_ckpt_find(model->ckpt, name);
    if (!t) return qk_fail(err, QK_E_FORMAT, "%s: tensor \"%s\" is missing", qk_ckpt_path(model->ckpt), name);
    const qk_dtype_info *dtype = qk_dtype_describe(t->dtype);
    if (!dtype->to_f32)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: tensor \"%s\": %s is no format for weights",
                       qk_ckpt_path(model->ckpt), name, dtype->name);
    uint64_t found_cols = t->n_dims == 2 ? t->shape[1] : 1;
    int dims = r->cols == '1' ? 1 : 2;
    if (t->n_dims != dims || t->shape[0] != rows || found_cols != cols)
        return qk_fail(err, QK_E_SHAPE, "%s: tensor \"%s\": expected %zu x %zu, found %llu x %llu (%d axes)",
                       qk_ckpt_path(model->ckpt), name, rows, cols, (unsigned long long)(t->n_dims ? t->shape[0] : 0),
                       (unsigned long long)found_cols, t->n_dims);
    if (dims == 2 && cols % dtype->block_elements)
        return qk_fail(err, QK_E_SHAPE, "%s: tensor \"%s\": rows of %zu do not divide into %s blocks of %zu",
                       qk_ckpt_path(model->ckpt), name, cols, dtype->name, dtype->block_elements);
    int heads = r->rotary && interleaved ? (int)(rows / (size_t)c->head_dim) : 0;
    *out = (qk_weight){ t, rows, cols, heads };
    return QK_OK;
}

static qk_status bind_rows(void *base, const qk_model *model, const row *rows, size_t n_rows, const char *prefix,
                           bool interleaved, const qk_tensor **bound, size_t *n_bound, qk_error *err)
{
    for (size_t i = 0; i < n_rows; i++) {
        if (!rows[i].wanted(&model->config)) continue;
        qk_weight *weight = (qk_weight *)((char *)base + rows[i].field);
        qk_status status = bind_one(weight, model, &rows[i], prefix, interleaved, err);
        if (status) return status;
        bound[(*n_bound)++] = weight->tensor;
    }
    return QK_OK;
}

static int by_address(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    return (x > y) - (x < y);
}

/* The published class for q_norm_nope has a key norm too, and the one for k_norm_nope a query norm: they do nothing. */
static bool is_idle_norm(const qk_config *c, const char *name)
{
    const char *end = strcmp(c->attention_type, "q_norm_nope") == 0   ? ".self_attn.k_norm.weight"
                      : strcmp(c->attention_type, "k_norm_nope") == 0 ? ".self_attn.q_norm.weight"
                                                                      : NULL;
    return end && strlen(name) > strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0;
}

/* A tensor that nobody asked for means that this is another architecture than the configuration says. */
static qk_status refuse_unbound(const qk_model *model, const qk_tensor **bound, size_t n_bound, qk_error *err)
{
    qsort(bound, n_bound, sizeof *bound, by_address);
    for (size_t i = 0; i < qk_ckpt_count(model->ckpt); i++) {
        const qk_tensor *t = qk_ckpt_at(model->ckpt, i);
        bool known = bsearch(&t, bound, n_bound, sizeof *bound, by_address) != NULL;
        for (size_t j = 0; j < sizeof harmless / sizeof *harmless; j++) known = known || strstr(t->name, harmless[j]);
        if (model->config.tied_embeddings && (strcmp(t->name, "lm_head.weight") == 0)) known = true;
        if (!known && !is_idle_norm(&model->config, t->name))
            return qk_fail(err, QK_E_UNSUPPORTED, "%s: tensor \"%s\" has no place in a %s model",
                           qk_ckpt_path(model->ckpt), t->name, model->config.model_type);
    }
    return QK_OK;
}

qk_status qk_bind_weights(qk_model *model, qk_error *err)
{
    const qk_config *c = &model->config;
    const size_t n_model = sizeof model_rows / sizeof *model_rows, n_layer = sizeof layer_rows / sizeof *layer_rows;
    qk_format format = qk_ckpt_format(model->ckpt);
    /* GGUF files of type llama and llama2.c keep the interleaved rows of the original release. */
    bool interleaved = format == QK_FORMAT_LLAMA2C || (format == QK_FORMAT_GGUF && strcmp(c->model_type, "llama") == 0);
    const qk_tensor **bound = NULL;
    size_t n_bound = 0;
    qk_status status =
        qk_new_array(&bound, n_model + n_layer * (size_t)c->n_layers, sizeof *bound, "weight table", err);
    if (status) return status;
    model->layers = qk_arena_alloc(&model->arena, (size_t)c->n_layers * sizeof *model->layers);
    if (!model->layers) status = qk_out_of_memory(err, "weight table", (size_t)c->n_layers * sizeof *model->layers);
    if (!status) status = bind_rows(model, model, model_rows, n_model, "", false, bound, &n_bound, err);
    if (!status && c->tied_embeddings) model->unembedding = model->embedding;
    for (int l = 0; !status && l < c->n_layers; l++) {
        char prefix[48];
        snprintf(prefix, sizeof prefix, format == QK_FORMAT_SAFETENSORS ? "model.layers.%d." : "blk.%d.", l);
        status = bind_rows(&model->layers[l], model, layer_rows, n_layer, prefix, interleaved, bound, &n_bound, err);
    }
    if (!status) status = refuse_unbound(model, bound, n_bound, err);
    free(bound);
    return status;
}
