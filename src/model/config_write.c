/* config_write.c - a qk_config -> config.json.  A form that transformers or the published DroPE code loads is taken
 * where one computes the same; else a model type of our own, which others refuse instead of computing something else.
 */
#include "model/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- which family, which form */

typedef struct family {
    const char *model_type, *architecture;
    const char *drope_class; /* of the published DroPE code, without "Config" and "ForCausalLM"; NULL: it has none */
    bool (*fits)(const qk_config *);
} family;

static bool no_head_norm(const qk_config *c) { return c->q_norm != QK_NORM_PER_HEAD && c->k_norm != QK_NORM_PER_HEAD; }

static bool fits_llama(const qk_config *c)
{
    return c->sliding_window == 0 && c->qkv_bias == c->o_bias && no_head_norm(c);
}

static bool fits_mistral(const qk_config *c)
{
    return c->first_window_layer == 0 && !c->qkv_bias && !c->o_bias && !c->mlp_bias && no_head_norm(c);
}

static bool fits_qwen2(const qk_config *c) { return c->qkv_bias && !c->o_bias && !c->mlp_bias && no_head_norm(c); }

static bool fits_qwen3(const qk_config *c)
{
    return c->qkv_bias == c->o_bias && !c->mlp_bias && c->q_norm == QK_NORM_PER_HEAD && c->k_norm == QK_NORM_PER_HEAD;
}

enum { LLAMA, MISTRAL, QWEN2, QWEN3, N_FAMILIES };
static const family families[N_FAMILIES] = {
    { "llama", "LlamaForCausalLM", "DroPELlama", fits_llama },
    { "mistral", "MistralForCausalLM", NULL, fits_mistral },
    { "qwen2", "Qwen2ForCausalLM", "DroPEQwen2", fits_qwen2 },
    { "qwen3", "Qwen3ForCausalLM", NULL, fits_qwen3 },
};

typedef enum form { FORM_PLAIN, FORM_DROPE, FORM_LAYERS, FORM_PAIRS, FORM_OWN } form;

/* The family that the model says it is where that can be, else the first that can; NULL where none can. */
static const family *family_of(const qk_config *c)
{
    const char *name = c->model_type;
    const family *found = NULL;
    if (strncmp(name, QK_OWN_PREFIX, strlen(QK_OWN_PREFIX)) == 0) name += strlen(QK_OWN_PREFIX);
    for (size_t i = 0; i < N_FAMILIES; i++) {
        const family *f = &families[i];
        if (!f->fits(c)) continue;
        if (!found || strncmp(name, f->model_type, strlen(f->model_type)) == 0) found = f;
    }
    return found;
}

/* *f becomes the family whose published class has the form: a Mistral without window is a Llama. */
static form form_of(const family **f, const qk_config *c)
{
    const family *llama = fits_llama(c) ? &families[LLAMA] : NULL;
    bool normed = c->q_norm == QK_NORM_PROJECTION || c->k_norm == QK_NORM_PROJECTION;
    bool as_trained = !normed && qk_softmax_scale_is_plain(c);
    switch (qk_rotation_of(c)) {
    case QK_ROTATION_WHOLE: return as_trained ? FORM_PLAIN : FORM_OWN;
    case QK_ROTATION_NONE:
        if (!(*f)->drope_class && llama) *f = llama;
        return (*f)->drope_class ? FORM_DROPE : FORM_OWN;
    case QK_ROTATION_LAYERS: /* its layers without rotation know no attention factor either */
        if (!as_trained || !llama || c->rope_attention_factor != 1) return FORM_OWN;
        *f = llama;
        return FORM_LAYERS;
    case QK_ROTATION_PAIRS: return as_trained && c->rope_kind != QK_ROPE_DYNAMIC ? FORM_PAIRS : FORM_OWN;
    default: return FORM_OWN;
    }
}

static const char *attention_type_of(const qk_config *c)
{
    bool q = c->q_norm == QK_NORM_PROJECTION, k = c->k_norm == QK_NORM_PROJECTION;
    if (c->rope_kind != QK_ROPE_NONE) return "rope";
    return q ? k ? "qk_norm_nope" : "q_norm_nope" : k ? "k_norm_nope" : "nope";
}

static void forget_rotation(qk_config *c)
{
    double f = c->rope_attention_factor;
    if (c->rope_kind != QK_ROPE_NONE) c->softmax_scale *= f * f;
    c->rope_kind = QK_ROPE_NONE;
    c->rope_theta = c->rope_original_context = c->rope_beta_fast = c->rope_beta_slow = 0;
    c->rope_low_freq_factor = c->rope_high_freq_factor = 0;
    c->rope_factor = c->rope_attention_factor = 1;
    c->rope_yarn_truncate = true;
    c->rope_factors_short = c->rope_factors_long = NULL;
}

void qk_config_settle(qk_config *c)
{
    qk_rotation_left left = qk_rotation_of(c);
    if (left == QK_ROTATION_NONE) forget_rotation(c);
    if (left == QK_ROTATION_NONE || left == QK_ROTATION_WHOLE) c->rope_amounts = NULL;
    const family *f = family_of(c);
    if (!f) return;
    switch (form_of(&f, c)) {
    case FORM_DROPE: snprintf(c->model_type, sizeof c->model_type, "%s_drope", f->model_type); break;
    case FORM_LAYERS: snprintf(c->model_type, sizeof c->model_type, "smollm3"); break;
    case FORM_OWN: snprintf(c->model_type, sizeof c->model_type, QK_OWN_PREFIX "%s", f->model_type); break;
    case FORM_PLAIN:
    case FORM_PAIRS: snprintf(c->model_type, sizeof c->model_type, "%s", f->model_type); break;
    }
    snprintf(c->attention_type, sizeof c->attention_type, "%s", attention_type_of(c));
}

/* ---- keys: each put_ returns false when out of memory, so that lines chain with && */

static bool put(json_t *object, const char *key, json_t *value) { return json_object_set_new(object, key, value) == 0; }
static bool put_int(json_t *object, const char *key, int value) { return put(object, key, json_integer(value)); }
static bool put_bool(json_t *object, const char *key, bool value) { return put(object, key, json_boolean(value)); }
static bool put_text(json_t *object, const char *key, const char *text) { return put(object, key, json_string(text)); }

/* Whole numbers as such: lengths are read as integers elsewhere, factors only as floats. */
static bool put_number(json_t *object, const char *key, double x)
{
    return put(object, key, x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x) : json_real(x));
}

static bool put_real(json_t *object, const char *key, double x) { return put(object, key, json_real(x)); }

/* Keys that this file writes, or that would contradict what it writes. */
static const char *const ours[] = {
    "architectures",
    "auto_map",
    "model_type",
    "attention_type",
    "softmax_scale",
    "no_rope_layers",
    "no_rope_layer_interval",
    "qkscope_qk_norm",
    "qkscope_rope_amounts",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
    "attention_bias",
    "mlp_bias",
    "layer_types",
    "partial_rotary_factor",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "original_max_position_embeddings",
};

static bool put_shapes(json_t *out, const qk_config *c)
{
    return put_int(out, "vocab_size", c->n_vocab) && put_int(out, "hidden_size", c->d_model) &&
           put_int(out, "intermediate_size", c->d_ffn) && put_int(out, "num_hidden_layers", c->n_layers) &&
           put_int(out, "num_attention_heads", c->n_heads) && put_int(out, "num_key_value_heads", c->n_kv_heads) &&
           put_int(out, "head_dim", c->head_dim) && put_text(out, "hidden_act", "silu") &&
           put_int(out, "max_position_embeddings", c->n_context) && put_real(out, "rms_norm_eps", c->rms_norm_eps) &&
           put_bool(out, "tie_word_embeddings", c->tied_embeddings);
}

static bool put_biases(json_t *out, const qk_config *c, const family *f)
{
    bool ok = f == &families[QWEN2] || f == &families[MISTRAL] || put_bool(out, "attention_bias", c->qkv_bias);
    return ok && (f != &families[LLAMA] || put_bool(out, "mlp_bias", c->mlp_bias));
}

static bool put_window(json_t *out, const qk_config *c, const family *f)
{
    bool on = c->sliding_window > 0, qwen = f == &families[QWEN2] || f == &families[QWEN3];
    if (f == &families[LLAMA]) {
        static const char *const keys[] = { "sliding_window", "use_sliding_window", "max_window_layers" };
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) json_object_del(out, keys[i]);
        return true;
    }
    bool ok = put(out, "sliding_window", on ? json_integer(c->sliding_window) : json_null());
    if (ok && qwen) ok = put_bool(out, "use_sliding_window", on);
    if (ok && qwen && on) ok = put_int(out, "max_window_layers", c->first_window_layer);
    return ok;
}

/* ---- rotation */

/* Divisors of the pairs' frequencies for sequences of `n_tokens`; pairs that stand still get QK_STILL_FACTOR. */
static json_t *factors_for(const qk_config *c, size_t n_tokens, qk_error *err)
{
    size_t half = (size_t)c->head_dim / 2;
    float *scaled = NULL, *plain;
    double factor;
    json_t *list = NULL;
    const qk_config unscaled = { .rope_kind = QK_ROPE_DEFAULT, .rope_theta = c->rope_theta, .head_dim = c->head_dim };
    if (qk_new_array(&scaled, 2 * half, sizeof *scaled, "rotation", err) != QK_OK) return NULL;
    plain = scaled + half;
    qk_rope_frequencies(scaled, &factor, c, n_tokens);
    qk_rope_frequencies(plain, &factor, &unscaled, n_tokens);
    list = json_array();
    for (size_t m = 0; list && m < half; m++) {
        const float *given = n_tokens > c->rope_original_context ? c->rope_factors_long : c->rope_factors_short;
        double divisor = given ? (double)given[m] : (double)plain[m] / (double)scaled[m];
        if (c->rope_amounts && c->rope_amounts[m] == 0) divisor = QK_STILL_FACTOR;
        if (json_array_append_new(list, json_real(divisor)) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    free(scaled);
    return list;
}

static bool put_longrope(json_t *rope, const qk_config *c, qk_error *err)
{
    json_t *near = factors_for(c, 1, err);
    json_t *far = near ? factors_for(c, (size_t)c->rope_original_context + 1, err) : NULL;
    bool ok = put_text(rope, "rope_type", "longrope") && put_real(rope, "factor", fmax(c->rope_factor, 1)) &&
              put_real(rope, "attention_factor", c->rope_attention_factor);
    ok = put(rope, "short_factor", near) && ok;
    return put(rope, "long_factor", far) && ok;
}

static bool put_yarn(json_t *rope, const qk_config *c)
{
    return put_real(rope, "factor", c->rope_factor) && put_real(rope, "beta_fast", c->rope_beta_fast) &&
           put_real(rope, "beta_slow", c->rope_beta_slow) &&
           put_real(rope, "attention_factor", c->rope_attention_factor) &&
           (c->rope_yarn_truncate || put_bool(rope, "truncate", false));
}

static bool put_llama3(json_t *rope, const qk_config *c)
{
    return put_real(rope, "factor", c->rope_factor) && put_real(rope, "low_freq_factor", c->rope_low_freq_factor) &&
           put_real(rope, "high_freq_factor", c->rope_high_freq_factor);
}

static bool put_factor(json_t *rope, const qk_config *c) { return put_real(rope, "factor", c->rope_factor); }
static bool put_nothing(json_t *rope, const qk_config *c) { return rope != NULL && c != NULL; }

static const struct {
    const char *name;
    bool (*put)(json_t *, const qk_config *);
} scalings[] = {
    [QK_ROPE_DEFAULT] = { "default", put_nothing }, [QK_ROPE_LINEAR] = { "linear", put_factor },
    [QK_ROPE_DYNAMIC] = { "dynamic", put_factor },  [QK_ROPE_YARN] = { "yarn", put_yarn },
    [QK_ROPE_LLAMA3] = { "llama3", put_llama3 },
};

static double theta_of(const json_t *source)
{
    static const char *const homes[] = { "rope_parameters", "rope_scaling" };
    double theta = json_number_value(json_object_get(source, "rope_theta"));
    for (size_t i = 0; theta == 0 && i < sizeof homes / sizeof *homes; i++)
        theta = json_number_value(json_object_get(json_object_get(source, homes[i]), "rope_theta"));
    return theta;
}

/* Both spellings: "rope_theta" with "rope_scaling" (transformers 4), "rope_parameters" (5). */
static bool put_rope(json_t *out, const qk_config *c, form kind, double theta, qk_error *err)
{
    bool by_pairs = kind == FORM_PAIRS || c->rope_kind == QK_ROPE_LONGROPE || c->rope_kind == QK_ROPE_FACTORS;
    if (c->rope_kind == QK_ROPE_NONE) /* the published classes make a table of angles and ignore it */
        return (theta == 0 || put_real(out, "rope_theta", theta)) && put(out, "rope_scaling", json_null());
    json_t *rope = json_object();
    bool ok = rope != NULL, scaled = by_pairs || c->rope_kind != QK_ROPE_DEFAULT;
    if (ok && by_pairs)
        ok = put_longrope(rope, c, err);
    else if (ok)
        ok = put_text(rope, "rope_type", scalings[c->rope_kind].name) && scalings[c->rope_kind].put(rope, c);
    if (ok && (by_pairs || c->rope_kind == QK_ROPE_YARN || c->rope_kind == QK_ROPE_LLAMA3))
        ok = put_number(rope, "original_max_position_embeddings", c->rope_original_context);
    if (ok && by_pairs) /* transformers 4 looks for it here */
        ok = put_number(out, "original_max_position_embeddings", c->rope_original_context);
    ok = ok && put(out, "rope_scaling", scaled ? json_copy(rope) : json_null());
    ok = ok && put_real(rope, "rope_theta", theta) && put_real(out, "rope_theta", theta);
    return put(out, "rope_parameters", rope) && ok;
}

/* ---- names */

static bool put_architecture(json_t *out, const char *name)
{
    return put(out, "architectures", json_pack("[s]", name));
}

/* The published classes by their home, so that no file of theirs need lie in the folder. */
static bool put_drope(json_t *out, const qk_config *c, const family *f)
{
    char name[64], config[128], model[128];
    snprintf(name, sizeof name, "%sForCausalLM", f->drope_class);
    snprintf(config, sizeof config, "SakanaAI/Llama-2-7b-hf-DroPE--drope.%sConfig", f->drope_class);
    snprintf(model, sizeof model, "SakanaAI/Llama-2-7b-hf-DroPE--drope.%s", name);
    return put_architecture(out, name) &&
           put(out, "auto_map", json_pack("{s:s, s:s}", "AutoConfig", config, "AutoModelForCausalLM", model)) &&
           (qk_softmax_scale_is_plain(c) || put_real(out, "softmax_scale", c->softmax_scale));
}

static bool put_smollm3(json_t *out, const qk_config *c)
{
    static const char *const tokens[] = { "bos_token_id", "eos_token_id", "pad_token_id" };
    bool ok = put_architecture(out, "SmolLM3ForCausalLM") && qk_write_rotated_layers(out, c);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) /* what it assumes lies beyond most vocabularies */
        if (ok && !json_object_get(out, tokens[i])) ok = put(out, tokens[i], json_null());
    return ok;
}

static bool put_form(json_t *out, const qk_config *c, const family *f, form kind)
{
    if (c->rope_kind == QK_ROPE_NONE && !put_text(out, "attention_type", attention_type_of(c))) return false;
    switch (kind) {
    case FORM_DROPE: return put_drope(out, c, f);
    case FORM_LAYERS: return put_smollm3(out, c);
    case FORM_OWN: return qk_write_own_keys(out, c); /* no architecture: no class would compute it */
    default: return put_architecture(out, f->architecture);
    }
}

qk_status qk_config_to_json(json_t **out, const qk_config *config, const json_t *source, qk_error *err)
{
    qk_config c = *config;
    qk_config_settle(&c);
    const family *f = family_of(&c);
    if (!f)
        return qk_fail(
            err, QK_E_UNSUPPORTED,
            "config.json: no family (llama, mistral, qwen2, qwen3) has this model's biases, norms and window");
    form kind = form_of(&f, &c);
    double theta = config->rope_theta > 0 ? config->rope_theta : theta_of(source);
    json_t *made = source ? json_deep_copy(source) : json_object();
    bool ok = made != NULL;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) json_object_del(made, ours[i]);
    ok = ok && put_text(made, "model_type", c.model_type) && put_shapes(made, &c);
    ok = ok && put_biases(made, &c, f) && put_window(made, &c, f);
    ok = ok && put_rope(made, &c, kind, theta, err) && put_form(made, &c, f, kind);
    if (!ok) {
        json_decref(made);
        return qk_out_of_memory(err, "config.json", 0);
    }
    *out = made;
    return QK_OK;
}
