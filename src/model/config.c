/* config.c - GGUF keys and llama2.c headers -> qk_config; checks that every source must pass. */
#include "model/config.h"

#include <math.h>
#include <string.h>

double qk_yarn_mscale(double scale, double mscale) { return scale <= 1 ? 1 : 0.1 * mscale * log(scale) + 1; }

/* GGUF general.architecture -> model_type; only "llama" stores rotary rows interleaved (bind.c). */
static const struct {
    const char *name;
    bool qkv_bias, per_head_norm;
} architectures[] = {
    { "llama", false, false },
    { "qwen2", true, false },
    { "qwen3", false, true },
};

static void key_of(char key[96], const char *arch, const char *suffix) { snprintf(key, 96, "%s.%s", arch, suffix); }

static qk_status gguf_int(int *out, const qk_ckpt *ckpt, const char *arch, const char *suffix, int64_t fallback,
                          int64_t high, qk_error *err)
{
    char key[96];
    int64_t n = fallback;
    key_of(key, arch, suffix);
    bool found = qk_gguf_int(&n, ckpt, key);
    if (!found && fallback < 0)
        return qk_fail(err, QK_E_FORMAT, "%s: key \"%s\" is missing or no integer", qk_ckpt_path(ckpt), key);
    int64_t low = fallback != 0; /* where 0 means "none", a file may say so */
    if (found && (n < low || n > high))
        return qk_fail(err, QK_E_FORMAT, "%s: key \"%s\": expected %lld to %lld, found %lld", qk_ckpt_path(ckpt), key,
                       (long long)low, (long long)high, (long long)n);
    *out = (int)n;
    return QK_OK;
}

static double gguf_number(const qk_ckpt *ckpt, const char *arch, const char *suffix, double fallback)
{
    char key[96];
    double x = fallback;
    key_of(key, arch, suffix);
    qk_gguf_float(&x, ckpt, key);
    return x;
}

/* Per-pair divisors that the converter wrote as a tensor of head_dim/2 floats. */
static qk_status gguf_factors(const float **out, qk_arena *arena, const qk_ckpt *ckpt, const char *name, int n,
                              qk_error *err)
{
    const qk_tensor *tensor = qk_ckpt_find(ckpt, name);
    if (!tensor) return *out = NULL, QK_OK;
    if (tensor->dtype != QK_DTYPE_F32 || tensor->n_bytes != (size_t)n * sizeof(float))
        return qk_fail(err, QK_E_SHAPE, "%s: tensor \"%s\": expected %d F32 values", qk_ckpt_path(ckpt), name, n);
    float *factors = qk_arena_alloc(arena, tensor->n_bytes);
    if (!factors) return qk_out_of_memory(err, name, tensor->n_bytes);
    memcpy(factors, tensor->data, tensor->n_bytes);
    for (int i = 0; i < n; i++)
        if (!(factors[i] > 0) || isinf(factors[i]))
            return qk_fail(err, QK_E_FORMAT, "%s: tensor \"%s\"[%d]: expected a positive number, found %g",
                           qk_ckpt_path(ckpt), name, i, (double)factors[i]);
    *out = factors;
    return QK_OK;
}

static qk_status gguf_rope(qk_config *c, qk_arena *arena, const qk_ckpt *ckpt, const char *arch, qk_error *err)
{
    char key[96];
    const char *type = "none";
    size_t n = 4;
    int rotary = c->head_dim;
    key_of(key, arch, "rope.scaling.type");
    qk_gguf_string(&type, &n, ckpt, key);
    qk_status status = gguf_int(&rotary, ckpt, arch, "rope.dimension_count", c->head_dim, 1 << 14, err);
    if (status) return status;
    if (rotary != c->head_dim)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: %d of %d dims rotate: only all are supported", qk_ckpt_path(ckpt),
                       rotary, c->head_dim);
    c->rope_theta = gguf_number(ckpt, arch, "rope.freq_base", 10000);
    c->rope_factor = gguf_number(ckpt, arch, "rope.scaling.factor", 1);
    c->rope_original_context = gguf_number(ckpt, arch, "rope.scaling.original_context_length", c->n_context);
    double attn_factor = gguf_number(ckpt, arch, "rope.scaling.attn_factor", 1);
    const float *factors = NULL;
    status = gguf_factors(&factors, arena, ckpt, "rope_freqs.weight", c->head_dim / 2, err);
    if (!status)
        status = gguf_factors(&c->rope_factors_short, arena, ckpt, "rope_factors_short.weight", c->head_dim / 2, err);
    if (!status)
        status = gguf_factors(&c->rope_factors_long, arena, ckpt, "rope_factors_long.weight", c->head_dim / 2, err);
    if (status) return status;
    if (!(c->rope_theta > 0) || !(c->rope_factor > 0) || !(c->rope_original_context > 0) || !(attn_factor > 0))
        return qk_fail(err, QK_E_FORMAT, "%s: rope keys: expected positive numbers", qk_ckpt_path(ckpt));
    bool none = n == 4 && memcmp(type, "none", 4) == 0, linear = n == 6 && memcmp(type, "linear", 6) == 0;
    bool yarn = n == 4 && memcmp(type, "yarn", 4) == 0, longrope = n == 8 && memcmp(type, "longrope", 8) == 0;
    if (!none && !linear && !yarn && !longrope)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: rope scaling \"%.*s\": expected none, linear, yarn or longrope",
                       qk_ckpt_path(ckpt), (int)(n < 40 ? n : 40), type);
    if (c->rope_factors_short && c->rope_factors_long) {
        c->rope_kind = QK_ROPE_LONGROPE;
        c->rope_attention_factor = attn_factor;
    } else if (longrope || c->rope_factors_short || c->rope_factors_long) {
        return qk_fail(err, QK_E_FORMAT, "%s: longrope needs rope_factors_short.weight and rope_factors_long.weight",
                       qk_ckpt_path(ckpt));
    } else if (yarn) {
        c->rope_kind = QK_ROPE_YARN;
        c->rope_beta_fast = gguf_number(ckpt, arch, "rope.scaling.yarn_beta_fast", 32);
        c->rope_beta_slow = gguf_number(ckpt, arch, "rope.scaling.yarn_beta_slow", 1);
        c->rope_yarn_truncate = true;
        c->rope_attention_factor = attn_factor * qk_yarn_mscale(c->rope_factor, 1);
    } else if (factors) { /* how a GGUF says llama3: the divisor of each pair */
        c->rope_kind = QK_ROPE_FACTORS;
        c->rope_factors_short = c->rope_factors_long = factors;
    } else {
        c->rope_kind = linear ? QK_ROPE_LINEAR : QK_ROPE_DEFAULT;
    }
    return QK_OK;
}

qk_status qk_config_from_gguf(qk_config *c, qk_arena *arena, const qk_ckpt *ckpt, qk_error *err)
{
    const char *name = "";
    size_t n = 0, arch = 0, n_archs = sizeof architectures / sizeof *architectures;
    if (!qk_gguf_string(&name, &n, ckpt, "general.architecture"))
        return qk_fail(err, QK_E_FORMAT, "%s: key \"general.architecture\" is missing", qk_ckpt_path(ckpt));
    while (arch < n_archs && (strlen(architectures[arch].name) != n || memcmp(architectures[arch].name, name, n) != 0))
        arch++;
    if (arch == n_archs)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: architecture \"%.*s\": expected llama, qwen2 or qwen3",
                       qk_ckpt_path(ckpt), (int)(n < 40 ? n : 40), name);
    const char *a = architectures[arch].name;
    const qk_tensor *embedding = qk_ckpt_find(ckpt, "token_embd.weight");
    if (!embedding || embedding->n_dims != 2 || embedding->shape[0] > 1 << 24)
        return qk_fail(err, QK_E_FORMAT,
                       "%s: tensor \"token_embd.weight\": expected a matrix, found none (a vocabulary only?)",
                       qk_ckpt_path(ckpt));
    snprintf(c->model_type, sizeof c->model_type, "%s", a);
    snprintf(c->attention_type, sizeof c->attention_type, "rope");
    c->n_vocab = (int)embedding->shape[0];
    qk_status s = gguf_int(&c->n_layers, ckpt, a, "block_count", -1, QK_MAX_LAYERS, err);
    if (!s) s = gguf_int(&c->d_model, ckpt, a, "embedding_length", -1, 1 << 20, err);
    if (!s) s = gguf_int(&c->n_heads, ckpt, a, "attention.head_count", -1, 1 << 14, err);
    if (!s) s = gguf_int(&c->n_kv_heads, ckpt, a, "attention.head_count_kv", c->n_heads, 1 << 14, err);
    if (!s) s = gguf_int(&c->head_dim, ckpt, a, "attention.key_length", c->d_model / c->n_heads, 1 << 14, err);
    if (!s) s = gguf_int(&c->d_ffn, ckpt, a, "feed_forward_length", -1, 1 << 22, err);
    if (!s) s = gguf_int(&c->n_context, ckpt, a, "context_length", -1, 1 << 30, err);
    int value_dim = c->head_dim, experts = 0;
    if (!s) s = gguf_int(&value_dim, ckpt, a, "attention.value_length", c->head_dim, 1 << 14, err);
    if (!s) s = gguf_int(&c->sliding_window, ckpt, a, "attention.sliding_window", 0, INT32_MAX, err);
    if (!s) s = gguf_int(&experts, ckpt, a, "expert_count", 0, INT32_MAX, err);
    if (s) return s;
    if (value_dim != c->head_dim || experts)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: %s", qk_ckpt_path(ckpt),
                       experts ? "experts are not supported" : "values of another head size are not supported");
    c->rms_norm_eps = gguf_number(ckpt, a, "attention.layer_norm_rms_epsilon", 1e-5);
    if (!(c->rms_norm_eps > 0))
        return qk_fail(err, QK_E_FORMAT, "%s: layer_norm_rms_epsilon: expected a positive number", qk_ckpt_path(ckpt));
    c->softmax_scale = gguf_number(ckpt, a, "attention.scale", 1 / sqrt(c->head_dim));
    c->tied_embeddings = qk_ckpt_find(ckpt, "output.weight") == NULL;
    c->qkv_bias = architectures[arch].qkv_bias || qk_ckpt_find(ckpt, "blk.0.attn_q.bias") != NULL;
    c->o_bias = qk_ckpt_find(ckpt, "blk.0.attn_output.bias") != NULL;
    c->q_norm = c->k_norm = architectures[arch].per_head_norm ? QK_NORM_PER_HEAD : QK_NORM_NONE;
    return gguf_rope(c, arena, ckpt, a, err);
}

qk_status qk_config_from_llama2c(qk_config *c, const qk_llama2c *h, qk_error *err)
{
    if (h->n_layers > QK_MAX_LAYERS)
        return qk_fail(err, QK_E_UNSUPPORTED, "llama2.c header: %d layers, at most %d", h->n_layers, QK_MAX_LAYERS);
    snprintf(c->model_type, sizeof c->model_type, "llama");
    snprintf(c->attention_type, sizeof c->attention_type, "rope");
    c->n_layers = h->n_layers;
    c->d_model = h->d_model;
    c->n_heads = h->n_heads;
    c->n_kv_heads = h->n_kv_heads;
    c->head_dim = h->d_model / h->n_heads;
    c->d_ffn = h->d_ffn;
    c->n_vocab = h->n_vocab;
    c->n_context = h->n_context;
    c->rms_norm_eps = 1e-5; /* the format does not say; its own programs use this */
    c->softmax_scale = 1 / sqrt(c->head_dim);
    c->tied_embeddings = h->tied;
    c->rope_kind = QK_ROPE_DEFAULT;
    c->rope_theta = 10000; /* likewise */
    c->rope_original_context = h->n_context;
    return QK_OK;
}

/* What a source of a configuration fills. */
static const qk_config empty = { .rope_factor = 1, .rope_attention_factor = 1, .rope_yarn_truncate = true };

static qk_status check(const qk_config *c, const char *path, qk_error *err)
{
    if (c->n_heads % c->n_kv_heads)
        return qk_fail(err, QK_E_FORMAT, "%s: %d query heads cannot share %d key/value heads", path,
                       c->n_heads, c->n_kv_heads);
    if (c->head_dim < 2 || c->head_dim % 2)
        return qk_fail(err, QK_E_FORMAT, "%s: head_dim %d: expected an even number", path, c->head_dim);
    if (!(c->softmax_scale > 0) || isinf(c->softmax_scale))
        return qk_fail(err, QK_E_FORMAT, "%s: softmax scale: expected a positive number, found %g", path,
                       c->softmax_scale);
    if (c->rope_kind != QK_ROPE_NONE && !(c->rope_theta > 1 && c->rope_theta < 1e30))
        return qk_fail(err, QK_E_FORMAT, "%s: rope_theta %g: expected a number above 1", path,
                       c->rope_theta);
    if (c->rope_kind == QK_ROPE_DYNAMIC && c->head_dim < 4)
        return qk_fail(err, QK_E_FORMAT, "%s: dynamic rope scaling needs a head_dim of at least 4", path);
    if ((int64_t)c->n_heads * c->head_dim > 1 << 22)
        return qk_fail(err, QK_E_FORMAT, "%s: %d heads of %d dims: too wide", path, c->n_heads,
                       c->head_dim);
    return QK_OK;
}

qk_status qk_config_read(qk_config *out, qk_arena *arena, const qk_ckpt *ckpt, qk_error *err)
{
    qk_config c = empty;
    qk_status status;
    if (qk_ckpt_llama2c(ckpt))
        status = qk_config_from_llama2c(&c, qk_ckpt_llama2c(ckpt), err);
    else if (qk_ckpt_format(ckpt) == QK_FORMAT_GGUF)
        status = qk_config_from_gguf(&c, arena, ckpt, err);
    else if (qk_ckpt_config(ckpt))
        status = qk_config_from_json(&c, arena, qk_ckpt_config(ckpt), err);
    else
        return qk_fail(err, QK_E_IO, "%s: no config.json beside it: the architecture is not known", qk_ckpt_path(ckpt));
    if (!status) status = check(&c, qk_ckpt_path(ckpt), err);
    if (status) return qk_ckpt_config(ckpt) ? qk_prefix(err, status, "%s", qk_ckpt_folder(ckpt)) : status;
    *out = c;
    return QK_OK;
}

qk_status qk_config_of_json(qk_config *out, qk_arena *arena, const json_t *config, const char *path, qk_error *err)
{
    qk_config c = empty;
    qk_status status = qk_config_from_json(&c, arena, config, err);
    if (status) return qk_prefix(err, status, "%s", path);
    status = check(&c, path, err);
    if (!status) *out = c;
    return status;
}
