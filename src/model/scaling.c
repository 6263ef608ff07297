/* scaling.c - views of a model beyond its trained context. */
#include "model/scaling.h"

#include <math.h>

#include "model/config.h"

static const char *const names[QK_N_METHODS] = {
    [QK_METHOD_NONE] = "none",           [QK_METHOD_CROP] = "crop",
    [QK_METHOD_LINEAR] = "linear",       [QK_METHOD_NTK] = "ntk",
    [QK_METHOD_NTK_PARTS] = "ntk-parts", [QK_METHOD_DYNAMIC] = "dynamic",
    [QK_METHOD_YARN] = "yarn",           [QK_METHOD_LLAMA3] = "llama3",
    [QK_METHOD_LONGROPE] = "longrope",   [QK_METHOD_TEMPERATURE] = "temperature",
};

const char *qk_method_name(qk_method method) { return names[method]; }

/* What a scaling in the file is called here. */
static const char *own_scaling(const qk_config *c)
{
    static const char *const kinds[] = {
        [QK_ROPE_NONE] = NULL,           [QK_ROPE_DEFAULT] = NULL,
        [QK_ROPE_LINEAR] = "linear",     [QK_ROPE_DYNAMIC] = "dynamic",
        [QK_ROPE_YARN] = "yarn",         [QK_ROPE_LLAMA3] = "llama3",
        [QK_ROPE_LONGROPE] = "longrope", [QK_ROPE_FACTORS] = "factors of its own",
    };
    return kinds[c->rope_kind];
}

size_t qk_trained_context(const qk_config *c)
{
    bool names_one = c->rope_kind == QK_ROPE_YARN || c->rope_kind == QK_ROPE_LONGROPE;
    return names_one && c->rope_original_context >= 1 ? (size_t)c->rope_original_context : (size_t)c->n_context;
}

qk_status qk_method_check(const qk_config *c, qk_method method, qk_error *err)
{
    const char *own = own_scaling(c);
    if (method == QK_METHOD_NONE || method == QK_METHOD_CROP || method == QK_METHOD_TEMPERATURE) return QK_OK;
    if (c->rope_kind == QK_ROPE_NONE)
        return qk_fail(err, QK_E_UNSUPPORTED,
                       "method %s: the model has no rotation to scale; expected none, crop or temperature",
                       names[method]);
    if (method == QK_METHOD_LONGROPE && c->rope_kind != QK_ROPE_LONGROPE)
        return qk_fail(err, QK_E_UNSUPPORTED, "method longrope: the checkpoint has no short and long factors");
    if (own && method != QK_METHOD_LONGROPE)
        return qk_fail(
            err, QK_E_UNSUPPORTED,
            "method %s: the checkpoint has a scaling already (%s), which `none` keeps; it is not scaled twice",
            names[method], own);
    return QK_OK;
}

static void stretch_linear(qk_config *c, double s)
{
    c->rope_kind = QK_ROPE_LINEAR;
    c->rope_factor = s;
}

/* theta grows so that the slowest pair turns s times slower, the fastest as before. */
static void stretch_ntk(qk_config *c, double s) { c->rope_theta *= pow(s, (double)c->head_dim / (c->head_dim - 2)); }

static void stretch_dynamic(qk_config *c, double s)
{
    c->rope_kind = QK_ROPE_DYNAMIC;
    c->rope_factor = s;
}

static void stretch_parts(qk_config *c, double s)
{
    c->rope_kind = QK_ROPE_YARN;
    c->rope_factor = s;
    c->rope_original_context = c->n_context;
    c->rope_beta_fast = 32;
    c->rope_beta_slow = 1;
    c->rope_yarn_truncate = true;
    c->rope_attention_factor = 1;
}

static void stretch_yarn(qk_config *c, double s)
{
    stretch_parts(c, s);
    c->rope_attention_factor = qk_yarn_mscale(s, 1);
}

static void stretch_llama3(qk_config *c, double s)
{
    c->rope_kind = QK_ROPE_LLAMA3;
    c->rope_factor = s;
    c->rope_original_context = c->n_context;
    c->rope_low_freq_factor = 1;
    c->rope_high_freq_factor = 4;
}

qk_status qk_model_scaled(qk_model *view, const qk_model *model, qk_method method, double factor, qk_error *err)
{
    static void (*const stretch[QK_N_METHODS])(qk_config *, double) = {
        [QK_METHOD_LINEAR] = stretch_linear,   [QK_METHOD_NTK] = stretch_ntk,   [QK_METHOD_NTK_PARTS] = stretch_parts,
        [QK_METHOD_DYNAMIC] = stretch_dynamic, [QK_METHOD_YARN] = stretch_yarn, [QK_METHOD_LLAMA3] = stretch_llama3,
    };
    qk_status status = qk_method_check(&model->config, method, err);
    if (status) return status;
    if (!(factor > 0) || isinf(factor))
        return qk_fail(err, QK_E_ARGUMENT, "method %s: expected a positive factor, found %g", names[method], factor);
    *view = *model;
    qk_config *c = &view->config;
    if (method == QK_METHOD_TEMPERATURE)
        c->softmax_scale = factor / sqrt(c->head_dim);
    else if (method != QK_METHOD_LONGROPE && c->rope_kind == QK_ROPE_LONGROPE)
        c->rope_factors_long = c->rope_factors_short;
    else if (stretch[method] && factor > 1)
        stretch[method](c, factor);
    return QK_OK;
}
