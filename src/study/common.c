/* common.c - rows of results.json that every study writes, with null for what could not be computed. */
#include "study/common.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const qk_tensor_letters[QK_N_TENSORS] = { "q", "k", "v" };

json_t *qk_json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *qk_json_text(const char *utf8)
{
    size_t n = strlen(utf8);
    if (qk_utf8_valid(utf8, n) == n) return json_stringn(utf8, n);
    char *clean = strdup(utf8);
    if (!clean) return NULL;
    for (size_t i; (i = qk_utf8_valid(clean, n)) < n;) clean[i] = '?';
    json_t *text = json_stringn(clean, n);
    free(clean);
    return text;
}

qk_row qk_row_start(void)
{
    json_t *object = json_object();
    return (qk_row) { object, !object };
}

void qk_row_json(qk_row *row, const char *key, json_t *value)
{
    if (json_object_set_new(row->object, key, value)) row->failed = true;
}

void qk_row_number(qk_row *row, const char *key, double x) { qk_row_json(row, key, qk_json_number(x)); }
void qk_row_count(qk_row *row, const char *key, size_t n) { qk_row_json(row, key, json_integer((json_int_t)n)); }
void qk_row_flag(qk_row *row, const char *key, bool yes) { qk_row_json(row, key, json_boolean(yes)); }
void qk_row_null(qk_row *row, const char *key) { qk_row_json(row, key, json_null()); }

void qk_row_text(qk_row *row, const char *key, const char *utf8)
{
    qk_row_json(row, key, utf8 ? qk_json_text(utf8) : json_null());
}

void qk_row_interval(qk_row *row, const char *key, double low, double high)
{
    bool known = isfinite(low) && isfinite(high);
    qk_row_json(row, key, known ? json_pack("[f,f]", low, high) : json_null());
}

void qk_row_estimate(qk_row *row, const char *key, const qk_interval *interval)
{
    qk_row_interval(row, key, interval->refused ? NAN : interval->low, interval->refused ? NAN : interval->high);
}

json_t *qk_row_take(qk_row *row)
{
    json_t *object = row->object;
    row->object = NULL;
    if (!row->failed) return object;
    json_decref(object);
    return NULL;
}

qk_status qk_row_append(json_t *array, qk_row *row, qk_error *err)
{
    return qk_json_append(array, qk_row_take(row), err);
}

qk_status qk_json_set(json_t *object, const char *key, json_t *value, qk_error *err)
{
    return json_object_set_new(object, key, value) ? qk_out_of_memory(err, key, 0) : QK_OK;
}

qk_status qk_json_append(json_t *array, json_t *value, qk_error *err)
{
    return json_array_append_new(array, value) ? qk_out_of_memory(err, "a row of the results", 0) : QK_OK;
}

qk_status qk_json_warn(json_t *warnings, qk_error *err, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) return qk_out_of_memory(err, "a warning", 0);
    qk_status status = qk_json_append(warnings, qk_json_text(text), err);
    free(text);
    return status;
}

static const char *rope_name(qk_rope_kind kind)
{
    static const char *const names[] = {
        [QK_ROPE_NONE] = "none", [QK_ROPE_DEFAULT] = "default", [QK_ROPE_LINEAR] = "linear",
        [QK_ROPE_DYNAMIC] = "dynamic", [QK_ROPE_YARN] = "yarn", [QK_ROPE_LLAMA3] = "llama3",
        [QK_ROPE_LONGROPE] = "longrope", [QK_ROPE_FACTORS] = "factors",
    };
    return names[kind];
}

const char *qk_precision_name(qk_precision precision)
{
    static const char *const names[] = { "auto", "f32", "bf16" };
    return names[precision];
}

const char *qk_criterion_name(qk_criterion criterion)
{
    static const char *const names[] = { "layer-mean", "head-mean", "top-k" };
    return names[criterion];
}

static size_t weight_elements(const qk_weight *weight)
{
    return weight->tensor ? weight->n_rows * weight->n_cols : 0;
}

/* As the papers count: every learned number once, a tied unembedding not again. */
static size_t count_parameters(const qk_model *model)
{
    size_t n = weight_elements(&model->embedding) + weight_elements(&model->final_norm);
    if (!model->config.tied_embeddings) n += weight_elements(&model->unembedding);
    for (int l = 0; l < model->config.n_layers; l++) {
        const qk_layer_weights *w = &model->layers[l];
        const qk_weight *const all[] = {
            &w->attn_norm, &w->q, &w->k, &w->v, &w->o, &w->q_bias, &w->k_bias, &w->v_bias, &w->o_bias, &w->q_norm,
            &w->k_norm, &w->ffn_norm, &w->gate, &w->up, &w->down, &w->gate_bias, &w->up_bias, &w->down_bias,
        };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) n += weight_elements(all[i]);
    }
    return n;
}

/* Rows go into an array that is given up whole when one of them fails. */
static bool add_row(json_t *rows, qk_row *row)
{
    return json_array_append_new(rows, qk_row_take(row)) == 0;
}

static json_t *json_pairs(const qk_config *config)
{
    size_t n = (size_t)config->head_dim / 2;
    float *inv_freq = calloc(n ? n : 1, sizeof *inv_freq);
    json_t *pairs = json_array();
    bool ok = inv_freq && pairs;
    double attention_factor;
    if (ok) qk_rope_frequencies(inv_freq, &attention_factor, config, (size_t)config->n_context);
    for (size_t m = 0; ok && m < n; m++) {
        double wavelength = qk_rope_wavelength(inv_freq[m]), rotations = config->n_context / wavelength;
        bool turns = isfinite(wavelength);
        qk_row row = qk_row_start();
        qk_row_count(&row, "pair", m);
        qk_row_number(&row, "wavelength", wavelength);
        qk_row_number(&row, "rotations", turns ? rotations : NAN);
        qk_row_json(&row, "slow", turns ? json_boolean(rotations < 1) : json_null());
        ok = add_row(pairs, &row);
    }
    free(inv_freq);
    if (ok) return pairs;
    json_decref(pairs);
    return NULL;
}

static json_t *json_model(const qk_named_model *model)
{
    const qk_config *c = &model->model->config;
    const qk_tokenizer *tokenizer = model->model->tokenizer;
    qk_row row = qk_row_start();
    qk_row_text(&row, "name", model->name);
    qk_row_text(&row, "model_type", c->model_type);
    qk_row_text(&row, "attention_type", c->attention_type);
    qk_row_count(&row, "layers", (size_t)c->n_layers);
    qk_row_count(&row, "heads", (size_t)c->n_heads);
    qk_row_count(&row, "kv_heads", (size_t)c->n_kv_heads);
    qk_row_count(&row, "head_dim", (size_t)c->head_dim);
    qk_row_count(&row, "d_model", (size_t)c->d_model);
    qk_row_count(&row, "context", (size_t)c->n_context);
    qk_row_text(&row, "rope", rope_name(c->rope_kind));
    qk_row_number(&row, "rope_theta", c->rope_kind == QK_ROPE_NONE ? NAN : c->rope_theta);
    qk_row_count(&row, "parameters", count_parameters(model->model));
    qk_row_flag(&row, "adds_bos", tokenizer && qk_tokenizer_describe(tokenizer)->adds_bos);
    qk_row_text(&row, "sha256", model->sha256);
    qk_row_text(&row, "quantize", qk_quantization_name(model->model->quantized.how));
    qk_row_count(&row, "quantized_matrices", model->model->quantized.n_tensors);
    qk_row_count(&row, "kept_matrices", model->model->quantized.n_kept);
    qk_row_json(&row, "pairs", json_pairs(c));
    return qk_row_take(&row);
}

json_t *qk_json_models(const qk_named_model *models, size_t n_models)
{
    json_t *rows = json_array();
    for (size_t i = 0; rows && i < n_models; i++) {
        if (json_array_append_new(rows, json_model(&models[i])) == 0) continue;
        json_decref(rows);
        rows = NULL;
    }
    return rows;
}

json_t *qk_json_documents(const qk_documents *documents)
{
    json_t *rows = json_array();
    for (size_t i = 0; rows && i < documents->n; i++) {
        const qk_document *d = &documents->items[i];
        qk_row row = qk_row_start();
        qk_row_text(&row, "id", d->id);
        qk_row_text(&row, "category", d->category);
        qk_row_count(&row, "tokens", d->n_tokens);
        qk_row_count(&row, "cut", d->n_cut);
        qk_row_text(&row, "sha256", d->sha256);
        qk_row_flag(&row, "repetitive", d->repetitive);
        if (add_row(rows, &row)) continue;
        json_decref(rows);
        rows = NULL;
    }
    return rows;
}

json_t *qk_json_test(const qk_test *test, const char *effect_name)
{
    char p[32];
    bool done = !test->refused;
    qk_format_p(p, test->log10_p);
    qk_row row = qk_row_start();
    qk_row_text(&row, "name", test->name);
    qk_row_count(&row, "n", test->n1);
    qk_row_json(&row, "n2", test->n2 ? json_integer((json_int_t)test->n2) : json_null());
    qk_row_number(&row, "estimate", test->estimate);
    qk_row_number(&row, "statistic", test->statistic);
    qk_row_number(&row, "df", test->df);
    qk_row_number(&row, "log10_p", test->log10_p);
    qk_row_text(&row, "p", done && isfinite(test->log10_p) ? p : NULL);
    qk_row_interval(&row, "ci95", test->ci_low, test->ci_high);
    qk_row_number(&row, "effect", test->effect);
    qk_row_interval(&row, "effect_ci95", test->effect_low, test->effect_high);
    qk_row_text(&row, "effect_name", isfinite(test->effect) ? effect_name : NULL);
    qk_row_text(&row, "refused", test->refused);
    return qk_row_take(&row);
}
