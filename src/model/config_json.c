/* config_json.c - a Hugging Face config.json -> qk_config.  What it does not know is refused by name, never guessed. */
#include "model/config.h"

#include <math.h>
#include <string.h>

/* What transformers assumes where a key is absent; -1 = the key is required. */
typedef struct family {
    const char *model_type;
    int n_kv_heads, head_dim, sliding_window; /* 0 = as many as n_heads; d_model/n_heads; none */
    double rope_theta;
    bool tied, qkv_bias, window_needs_switch, per_head_norm;
} family;

static const family families[] = {
    { "llama", 0, 0, 0, 1e4, false, false, false, false },
    { "mistral", 8, 0, 4096, 1e4, false, false, false, false },
    { "qwen2", 0, 0, 4096, 1e4, false, true, true, false },
    { "qwen3", 0, 128, 4096, 1e4, false, false, true, true },
    { "smollm3", 4, 0, 0, 2e6, true, false, true, false },
};
#define DROPE_SUFFIX "_drope"

/* attention_type of a DroPE folder: which projections are normed as a whole. */
static const struct {
    const char *name;
    bool q_norm, k_norm;
} drope_kinds[] = {
    { "nope", false, false },
    { "qk_norm_nope", true, true },
    { "q_norm_nope", true, false },
    { "k_norm_nope", false, true },
};

static const json_t *get(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

/* fallback < 0: the key is required. */
static qk_status read_int(int *out, const json_t *object, const char *key, int fallback, int low, int high,
                          qk_error *err)
{
    const json_t *value = get(object, key);
    if (!value && fallback >= 0) return *out = fallback, QK_OK;
    if (!value) return qk_fail(err, QK_E_FORMAT, "config.json: \"%s\" is missing", key);
    if (!json_is_integer(value)) return qk_fail(err, QK_E_FORMAT, "config.json: \"%s\": expected an integer", key);
    json_int_t n = json_integer_value(value);
    if (n < low || n > high)
        return qk_fail(err, QK_E_FORMAT, "config.json: \"%s\": expected %d to %d, found %lld", key, low, high,
                       (long long)n);
    *out = (int)n;
    return QK_OK;
}

/* A NaN fallback: the key is required. */
static qk_status read_number(double *out, const json_t *object, const char *key, double fallback, qk_error *err)
{
    const json_t *value = get(object, key);
    if (!value && !isnan(fallback)) return *out = fallback, QK_OK;
    if (!value) return qk_fail(err, QK_E_FORMAT, "config.json: \"%s\" is missing", key);
    if (!json_is_number(value)) return qk_fail(err, QK_E_FORMAT, "config.json: \"%s\": expected a number", key);
    double x = json_number_value(value);
    if (!(x > 0) || isinf(x))
        return qk_fail(err, QK_E_FORMAT, "config.json: \"%s\": expected a positive number, found %g", key, x);
    *out = x;
    return QK_OK;
}

static qk_status read_bool(bool *out, const json_t *object, const char *key, bool fallback, qk_error *err)
{
    const json_t *value = get(object, key);
    if (value && !json_is_boolean(value))
        return qk_fail(err, QK_E_FORMAT, "config.json: \"%s\": expected true or false", key);
    *out = value ? json_is_true(value) : fallback;
    return QK_OK;
}

static qk_status read_factors(const float **out, const json_t *rope, const char *key, int n, qk_arena *arena,
                              qk_error *err)
{
    const json_t *list = get(rope, key);
    if (!json_is_array(list) || json_array_size(list) != (size_t)n)
        return qk_fail(err, QK_E_FORMAT, "config.json: rope \"%s\": expected a list of %d numbers, found %zu", key, n,
                       json_array_size(list));
    float *factors = qk_arena_alloc(arena, (size_t)n * sizeof *factors);
    if (!factors) return qk_out_of_memory(err, key, (size_t)n * sizeof *factors);
    for (int i = 0; i < n; i++) {
        const json_t *value = json_array_get(list, (size_t)i);
        double x = json_number_value(value);
        if (!json_is_number(value) || !(x > 0) || isinf(x))
            return qk_fail(err, QK_E_FORMAT, "config.json: rope \"%s\"[%d]: expected a positive number", key, i);
        factors[i] = (float)x;
    }
    *out = factors;
    return QK_OK;
}

static qk_status read_linear(qk_config *c, const json_t *rope, qk_arena *arena, qk_error *err)
{
    (void)arena;
    return read_number(&c->rope_factor, rope, "factor", NAN, err);
}

static qk_status read_yarn(qk_config *c, const json_t *rope, qk_arena *arena, qk_error *err)
{
    (void)arena;
    double mscale = 0, mscale_all = 0, given = 0;
    double ratio = c->n_context / c->rope_original_context;
    qk_status status = read_number(&c->rope_factor, rope, "factor", ratio, err);
    if (!status) status = read_number(&c->rope_beta_fast, rope, "beta_fast", 32, err);
    if (!status) status = read_number(&c->rope_beta_slow, rope, "beta_slow", 1, err);
    if (!status) status = read_bool(&c->rope_yarn_truncate, rope, "truncate", true, err);
    if (!status && get(rope, "attention_factor")) status = read_number(&given, rope, "attention_factor", NAN, err);
    if (!status && get(rope, "mscale")) status = read_number(&mscale, rope, "mscale", NAN, err);
    if (!status && get(rope, "mscale_all_dim")) status = read_number(&mscale_all, rope, "mscale_all_dim", NAN, err);
    if (status) return status;
    bool both = mscale != 0 && mscale_all != 0;
    c->rope_attention_factor = given > 0 ? given
                               : both
                                   ? qk_yarn_mscale(c->rope_factor, mscale) / qk_yarn_mscale(c->rope_factor, mscale_all)
                                   : qk_yarn_mscale(c->rope_factor, 1);
    return QK_OK;
}

static qk_status read_llama3(qk_config *c, const json_t *rope, qk_arena *arena, qk_error *err)
{
    (void)arena;
    qk_status status = read_number(&c->rope_factor, rope, "factor", NAN, err);
    if (!status) status = read_number(&c->rope_low_freq_factor, rope, "low_freq_factor", NAN, err);
    if (!status) status = read_number(&c->rope_high_freq_factor, rope, "high_freq_factor", NAN, err);
    if (!status && c->rope_high_freq_factor == c->rope_low_freq_factor)
        status =
            qk_fail(err, QK_E_FORMAT, "config.json: rope \"high_freq_factor\": expected other than low_freq_factor");
    return status;
}

static qk_status read_longrope(qk_config *c, const json_t *rope, qk_arena *arena, qk_error *err)
{
    double ratio = c->n_context / c->rope_original_context;
    qk_status status = read_number(&c->rope_factor, rope, "factor", ratio, err);
    double by_length = c->rope_factor <= 1 ? 1 : sqrt(1 + log(c->rope_factor) / log(c->rope_original_context));
    if (!status) status = read_number(&c->rope_attention_factor, rope, "attention_factor", by_length, err);
    if (!status) status = read_factors(&c->rope_factors_short, rope, "short_factor", c->head_dim / 2, arena, err);
    if (!status) status = read_factors(&c->rope_factors_long, rope, "long_factor", c->head_dim / 2, arena, err);
    return status;
}

static qk_status read_nothing(qk_config *c, const json_t *rope, qk_arena *arena, qk_error *err)
{
    (void)c, (void)rope, (void)arena, (void)err;
    return QK_OK;
}

static const struct {
    const char *name;
    qk_rope_kind kind;
    qk_status (*read)(qk_config *, const json_t *, qk_arena *, qk_error *);
} scalings[] = {
    { "default", QK_ROPE_DEFAULT, read_nothing }, { "linear", QK_ROPE_LINEAR, read_linear },
    { "dynamic", QK_ROPE_DYNAMIC, read_linear },  { "yarn", QK_ROPE_YARN, read_yarn },
    { "llama3", QK_ROPE_LLAMA3, read_llama3 },    { "longrope", QK_ROPE_LONGROPE, read_longrope },
};

/* `rope_scaling` is the older spelling (its kind under "type"), `rope_parameters` the newer; theta may lie in either
 * place. */
static qk_status read_rope(qk_config *c, const json_t *config, const family *f, qk_arena *arena, qk_error *err)
{
    const json_t *rope = get(config, "rope_parameters");
    if (!rope) rope = get(config, "rope_scaling");
    if (rope && !json_is_object(rope))
        return qk_fail(err, QK_E_FORMAT, "config.json: rope_scaling: expected an object");
    const json_t *home = get(rope, "rope_theta") ? rope : config;
    qk_status status = read_number(&c->rope_theta, home, "rope_theta", f->rope_theta, err);
    if (status) return status;
    double partial = 1;
    status = read_number(&partial, get(rope, "partial_rotary_factor") ? rope : config, "partial_rotary_factor", 1, err);
    if (status) return status;
    if (partial != 1)
        return qk_fail(err, QK_E_UNSUPPORTED, "config.json: partial_rotary_factor %g: only 1 is supported", partial);
    const json_t *name = get(rope, "rope_type") ? get(rope, "rope_type") : get(rope, "type");
    if (rope && json_object_size(rope) > 0 && !name && !get(rope, "rope_theta"))
        return qk_fail(err, QK_E_UNSUPPORTED,
                       "config.json: rope scaling without a \"rope_type\" (one for each layer type?)");
    const char *wanted = name ? json_string_value(name) : "default";
    if (!wanted) return qk_fail(err, QK_E_FORMAT, "config.json: \"rope_type\": expected a string");
    const json_t *outer = get(config, "original_max_position_embeddings");
    status = read_number(&c->rope_original_context, outer ? config : rope, "original_max_position_embeddings",
                         c->n_context, err);
    for (size_t i = 0; !status && i < sizeof scalings / sizeof *scalings; i++)
        if (strcmp(wanted, scalings[i].name) == 0) {
            c->rope_kind = scalings[i].kind;
            return scalings[i].read(c, rope, arena, err);
        }
    return status ? status
                  : qk_fail(
                        err, QK_E_UNSUPPORTED,
                        "config.json: rope scaling \"%s\": expected default, linear, dynamic, yarn, llama3 or longrope",
                        wanted);
}

static qk_status read_window(qk_config *c, const json_t *config, const family *f, qk_error *err)
{
    bool use = true;
    int window = 0, first = 0;
    qk_status status = read_bool(&use, config, "use_sliding_window", !f->window_needs_switch, err);
    const json_t *value = json_object_get(config, "sliding_window");
    if (!status && value && json_is_null(value)) use = false;
    if (!status) status = read_int(&window, config, "sliding_window", f->sliding_window, 0, INT32_MAX, err);
    if (!status && f->window_needs_switch)
        status = read_int(&first, config, "max_window_layers", 28, 0, INT32_MAX, err);
    if (status) return status;
    const json_t *types = get(config, "layer_types");
    if (types && (!json_is_array(types) || json_array_size(types) != (size_t)c->n_layers))
        return qk_fail(err, QK_E_FORMAT, "config.json: layer_types: expected a list of %d, found %zu", c->n_layers,
                       json_array_size(types));
    for (size_t l = 0; l < json_array_size(types); l++) { /* must tell the same story as the window */
        const char *type = json_string_value(json_array_get(types, l));
        const char *expected = use && window > 0 && (int)l >= first ? "sliding_attention" : "full_attention";
        if (!type || strcmp(type, expected) != 0)
            return qk_fail(err, QK_E_UNSUPPORTED, "config.json: layer_types[%zu]: expected %s, found %s", l, expected,
                           type ? type : "no string");
    }
    c->sliding_window = use ? window : 0;
    c->first_window_layer = use ? first : 0;
    return QK_OK;
}

static qk_status read_drope(qk_config *c, const json_t *config, qk_error *err)
{
    const json_t *kind = get(config, "attention_type");
    const char *name = kind ? json_string_value(kind) : "nope";
    for (size_t i = 0; name && i < sizeof drope_kinds / sizeof *drope_kinds; i++) {
        if (strcmp(name, drope_kinds[i].name) != 0) continue;
        snprintf(c->attention_type, sizeof c->attention_type, "%s", name);
        if (drope_kinds[i].q_norm) c->q_norm = QK_NORM_PROJECTION;
        if (drope_kinds[i].k_norm) c->k_norm = QK_NORM_PROJECTION;
        c->rope_kind = QK_ROPE_NONE;
        return read_number(&c->softmax_scale, config, "softmax_scale", c->softmax_scale, err);
    }
    return qk_fail(err, QK_E_UNSUPPORTED,
                   "config.json: attention_type \"%s\": expected nope, qk_norm_nope, q_norm_nope or k_norm_nope",
                   name ? name : "?");
}

static qk_status read_shapes(qk_config *c, const json_t *config, const family *f, qk_error *err)
{
    qk_status s = read_int(&c->n_layers, config, "num_hidden_layers", -1, 1, QK_MAX_LAYERS, err);
    if (!s) s = read_int(&c->d_model, config, "hidden_size", -1, 1, 1 << 20, err);
    if (!s) s = read_int(&c->n_heads, config, "num_attention_heads", -1, 1, 1 << 14, err);
    if (!s)
        s = read_int(&c->n_kv_heads, config, "num_key_value_heads", f->n_kv_heads ? f->n_kv_heads : c->n_heads, 1,
                     1 << 14, err);
    if (!s)
        s = read_int(&c->head_dim, config, "head_dim", f->head_dim ? f->head_dim : c->d_model / c->n_heads, 1, 1 << 14,
                     err);
    if (!s) s = read_int(&c->d_ffn, config, "intermediate_size", -1, 1, 1 << 22, err);
    if (!s) s = read_int(&c->n_vocab, config, "vocab_size", -1, 2, 1 << 24, err);
    if (!s) s = read_int(&c->n_context, config, "max_position_embeddings", 2048, 1, 1 << 30, err);
    if (!s) s = read_number(&c->rms_norm_eps, config, "rms_norm_eps", 1e-6, err);
    if (!s) s = read_bool(&c->tied_embeddings, config, "tie_word_embeddings", f->tied, err);
    bool attention_bias = false;
    if (!s) s = read_bool(&attention_bias, config, "attention_bias", false, err);
    if (!s) s = read_bool(&c->mlp_bias, config, "mlp_bias", false, err);
    c->qkv_bias = f->qkv_bias || attention_bias;
    c->o_bias = !f->qkv_bias && attention_bias;
    return s;
}

/* Keys whose presence changes the computation in a way that is not built. */
static qk_status refuse_strangers(const json_t *config, bool is_smollm3, qk_error *err)
{
    static const char *const strangers[] = { "quantization_config",     "no_rope_layers",    "attn_logit_softcapping",
                                             "final_logit_softcapping", "logit_scale",       "attention_multiplier",
                                             "residual_multiplier",     "num_local_experts", "num_experts" };
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        if (get(config, strangers[i]) && !(is_smollm3 && strcmp(strangers[i], "no_rope_layers") == 0))
            return qk_fail(err, QK_E_UNSUPPORTED, "config.json: \"%s\" is not supported", strangers[i]);
    static const char *const switches[] = { "rope_interleaved", "use_mrope" };
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (json_is_true(get(config, switches[i])))
            return qk_fail(err, QK_E_UNSUPPORTED, "config.json: \"%s\" is not supported", switches[i]);
    const json_t *act = get(config, "hidden_act");
    if (act && (!json_is_string(act) ||
                (strcmp(json_string_value(act), "silu") != 0 && strcmp(json_string_value(act), "swish") != 0)))
        return qk_fail(err, QK_E_UNSUPPORTED, "config.json: hidden_act \"%s\": only silu is supported",
                       json_is_string(act) ? json_string_value(act) : "?");
    return QK_OK;
}

/* "llama", "llama_drope" and "qkscope_llama" are one family; *drope, *own: which spelling it is. */
static const family *family_of(bool *drope, bool *own, const char *name)
{
    size_t prefix = strlen(QK_OWN_PREFIX);
    *own = strncmp(name, QK_OWN_PREFIX, prefix) == 0;
    if (*own) name += prefix;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const family *f = &families[i];
        size_t n = strlen(f->model_type);
        if (strncmp(name, f->model_type, n) != 0) continue;
        *drope = !*own && strcmp(name + n, DROPE_SUFFIX) == 0 && (strcmp(f->model_type, "llama") == 0 || f->qkv_bias);
        if (name[n] == '\0' || *drope) return f;
    }
    return NULL;
}

static qk_status read_smollm3(qk_config *c, const json_t *config, qk_arena *arena, qk_error *err)
{
    if (c->sliding_window > 0)
        return qk_fail(err, QK_E_UNSUPPORTED, "config.json: a sliding window in a smollm3 model is not supported");
    return qk_read_rotated_layers(c, config, arena, err);
}

qk_status qk_config_from_json(qk_config *c, qk_arena *arena, const json_t *config, qk_error *err)
{
    const char *name = json_string_value(get(config, "model_type"));
    bool drope = false, own = false;
    const family *f = name ? family_of(&drope, &own, name) : NULL;
    if (!f)
        return qk_fail(err, QK_E_UNSUPPORTED,
                       "config.json: model_type \"%s\": expected llama, mistral, qwen2, qwen3, smollm3, llama_drope or "
                       "qwen2_drope",
                       name ? name : "(none)");
    bool smollm3 = strcmp(f->model_type, "smollm3") == 0;
    snprintf(c->model_type, sizeof c->model_type, "%s", name);
    snprintf(c->attention_type, sizeof c->attention_type, "rope");
    qk_status status = refuse_strangers(config, smollm3, err);
    if (!status) status = read_shapes(c, config, f, err);
    if (!status) status = read_window(c, config, f, err);
    if (status) return status;
    c->softmax_scale = 1 / sqrt(c->head_dim);
    c->q_norm = c->k_norm = f->per_head_norm ? QK_NORM_PER_HEAD : QK_NORM_NONE;
    if (drope || (own && get(config, "attention_type"))) status = read_drope(c, config, err);
    else status = read_rope(c, config, f, arena, err);
    if (!status && smollm3) status = read_smollm3(c, config, arena, err);
    return !status && own ? qk_read_own_keys(c, config, arena, err) : status;
}
