/* config_partial.c - configurations whose rotation is not all there or not all gone: how they are told apart, and the
 * keys that say so. */
#include "model/config.h"

#include <math.h>
#include <string.h>

#define OWN_NORM "qkscope_qk_norm"
#define OWN_AMOUNTS "qkscope_rope_amounts"

qk_rotation_left qk_rotation_of(const qk_config *c)
{
    size_t half = (size_t)c->head_dim / 2, n = (size_t)c->n_layers * half, n_one = 0, n_zero = 0;
    const float *amounts = c->rope_amounts;
    bool same_layers = true, whole_layers = true;
    if (c->rope_kind == QK_ROPE_NONE) return QK_ROTATION_NONE;
    if (!amounts) return QK_ROTATION_WHOLE;
    for (size_t i = 0; i < n; i++) {
        n_one += amounts[i] == 1;
        n_zero += amounts[i] == 0;
        same_layers = same_layers && amounts[i] == amounts[i % half];
        whole_layers = whole_layers && amounts[i] == amounts[i / half * half];
    }
    if (n_one == n) return QK_ROTATION_WHOLE;
    if (n_zero == n) return QK_ROTATION_NONE;
    if (n_one + n_zero < n) return QK_ROTATION_PARTLY;
    return whole_layers ? QK_ROTATION_LAYERS : same_layers ? QK_ROTATION_PAIRS : QK_ROTATION_PARTLY;
}

bool qk_softmax_scale_is_plain(const qk_config *c) { return fabs(c->softmax_scale * sqrt(c->head_dim) - 1) < 1e-6; }

static qk_status new_amounts(float **out, const qk_config *c, qk_arena *arena, qk_error *err)
{
    size_t n_bytes = (size_t)c->n_layers * (size_t)c->head_dim / 2 * sizeof **out;
    *out = qk_arena_alloc(arena, n_bytes);
    return *out ? QK_OK : qk_out_of_memory(err, "rotation amounts", n_bytes);
}

/* ---- SmolLM3 */

qk_status qk_read_rotated_layers(qk_config *c, const json_t *config, qk_arena *arena, qk_error *err)
{
    size_t half = (size_t)c->head_dim / 2, n_layers = (size_t)c->n_layers, n_still = 0;
    const json_t *list = json_object_get(config, "no_rope_layers");
    const json_t *interval = json_object_get(config, "no_rope_layer_interval");
    json_int_t every = interval ? json_integer_value(interval) : 4; /* as transformers assumes */
    if (json_is_null(list)) list = NULL;
    if (list && (!json_is_array(list) || json_array_size(list) < n_layers))
        return qk_fail(err, QK_E_FORMAT, "config.json: no_rope_layers: expected a list of %zu, found %zu", n_layers,
                       json_array_size(list));
    if (every < 1) return qk_fail(err, QK_E_FORMAT, "config.json: no_rope_layer_interval: expected a positive integer");
    float *amounts;
    qk_status status = new_amounts(&amounts, c, arena, err);
    if (status) return status;
    for (size_t l = 0; l < n_layers; l++) {
        const json_t *value = json_array_get(list, l);
        bool rotated = list ? json_is_true(value) || json_integer_value(value) == 1 : (json_int_t)(l + 1) % every != 0;
        if (list && !rotated && !json_is_false(value) && !(json_is_integer(value) && json_integer_value(value) == 0))
            return qk_fail(err, QK_E_FORMAT, "config.json: no_rope_layers[%zu]: expected 0 or 1", l);
        for (size_t m = 0; m < half; m++) amounts[l * half + m] = rotated;
        n_still += !rotated;
    }
    if (n_still > 0 && c->rope_attention_factor != 1)
        return qk_fail(err, QK_E_UNSUPPORTED, "config.json: no_rope_layers beside a rope attention factor of %g",
                       c->rope_attention_factor);
    if (n_still > 0) c->rope_amounts = amounts;
    return QK_OK;
}

bool qk_write_rotated_layers(json_t *config, const qk_config *c)
{
    json_t *list = json_array();
    bool ok = json_object_set_new(config, "no_rope_layers", list) == 0;
    for (int l = 0; ok && l < c->n_layers; l++)
        ok = json_array_append_new(list, json_integer(c->rope_amounts[(size_t)l * (size_t)c->head_dim / 2] != 0)) == 0;
    return ok;
}

/* ---- our own keys */

static const struct {
    const char *name;
    bool q, k;
} norms[] = { { "q", true, false }, { "k", false, true }, { "qk", true, true } };

static qk_status read_norm(qk_config *c, const json_t *config, qk_error *err)
{
    const json_t *value = json_object_get(config, OWN_NORM);
    const char *name = json_string_value(value);
    if (!value || json_is_null(value)) return QK_OK;
    for (size_t i = 0; name && i < sizeof norms / sizeof *norms; i++)
        if (strcmp(norms[i].name, name) == 0) {
            c->q_norm = norms[i].q ? QK_NORM_PROJECTION : QK_NORM_NONE;
            c->k_norm = norms[i].k ? QK_NORM_PROJECTION : QK_NORM_NONE;
            return QK_OK;
        }
    return qk_fail(err, QK_E_FORMAT, "config.json: \"" OWN_NORM "\": expected q, k or qk");
}

static bool is_amount(const json_t *value)
{
    double x = json_number_value(value);
    return json_is_number(value) && x >= 0 && x <= 1;
}

/* One number for each layer, or for each pair of it. */
static qk_status read_amounts(qk_config *c, const json_t *list, qk_arena *arena, qk_error *err)
{
    size_t half = (size_t)c->head_dim / 2, n_layers = (size_t)c->n_layers;
    if (!json_is_array(list) || json_array_size(list) != n_layers)
        return qk_fail(err, QK_E_FORMAT, "config.json: \"" OWN_AMOUNTS "\": expected a list of %zu, found %zu",
                       n_layers, json_array_size(list));
    float *amounts;
    qk_status status = new_amounts(&amounts, c, arena, err);
    if (status) return status;
    for (size_t l = 0; l < n_layers; l++) {
        const json_t *layer = json_array_get(list, l);
        if (json_is_array(layer) && json_array_size(layer) != half)
            return qk_fail(err, QK_E_FORMAT, "config.json: \"" OWN_AMOUNTS "\"[%zu]: expected %zu pairs, found %zu", l,
                           half, json_array_size(layer));
        for (size_t m = 0; m < half; m++) {
            const json_t *value = json_is_array(layer) ? json_array_get(layer, m) : layer;
            if (!is_amount(value))
                return qk_fail(err, QK_E_FORMAT, "config.json: \"" OWN_AMOUNTS "\"[%zu][%zu]: expected 0 to 1", l, m);
            amounts[l * half + m] = (float)json_number_value(value);
        }
    }
    c->rope_amounts = amounts;
    return QK_OK;
}

qk_status qk_read_own_keys(qk_config *c, const json_t *config, qk_arena *arena, qk_error *err)
{
    const json_t *scale = json_object_get(config, "softmax_scale");
    if (scale && !json_is_number(scale))
        return qk_fail(err, QK_E_FORMAT, "config.json: \"softmax_scale\": expected a number");
    if (scale) c->softmax_scale = json_number_value(scale); /* its sign is checked with the rest */
    qk_status status = read_norm(c, config, err);
    const json_t *amounts = json_object_get(config, OWN_AMOUNTS);
    return !status && amounts && c->rope_kind != QK_ROPE_NONE ? read_amounts(c, amounts, arena, err) : status;
}

static json_t *amounts_of_layer(const float *amounts, size_t half)
{
    bool even = true;
    for (size_t m = 0; m < half; m++) even = even && amounts[m] == amounts[0];
    if (even) return json_real((double)amounts[0]);
    json_t *list = json_array();
    for (size_t m = 0; list && m < half; m++)
        if (json_array_append_new(list, json_real((double)amounts[m])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

bool qk_write_own_keys(json_t *config, const qk_config *c)
{
    size_t half = (size_t)c->head_dim / 2;
    bool ok = true, q = c->q_norm == QK_NORM_PROJECTION, k = c->k_norm == QK_NORM_PROJECTION;
    qk_rotation_left left = qk_rotation_of(c);
    if (!qk_softmax_scale_is_plain(c))
        ok = json_object_set_new(config, "softmax_scale", json_real(c->softmax_scale)) == 0;
    if (left == QK_ROTATION_NONE) return ok; /* attention_type tells the norms */
    for (size_t i = 0; ok && i < sizeof norms / sizeof *norms; i++)
        if (norms[i].q == q && norms[i].k == k)
            ok = json_object_set_new(config, OWN_NORM, json_string(norms[i].name)) == 0;
    if (!ok || left == QK_ROTATION_WHOLE) return ok;
    json_t *list = json_array();
    ok = json_object_set_new(config, OWN_AMOUNTS, list) == 0;
    for (int l = 0; ok && l < c->n_layers; l++)
        ok = json_array_append_new(list, amounts_of_layer(c->rope_amounts + (size_t)l * half, half)) == 0;
    return ok;
}
