/* results.c - results.json, checked field by field against the tables below (the twin of docs/RESULTS.md). */
#include "report/results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const qk_result_tensors[3] = { "q", "k", "v" };
const char *const qk_result_tensor_words[3] = { "query", "key", "value" };
static const char *const study_names[QK_N_STUDIES] = { "massive", "disrupt", "tasks" };
static const char *const kind_names[QK_N_KINDS] = { "baseline", "massive", "random" };

enum { MAX_LAYERS = 4096, MAX_HEADS = 4096, MAX_HEAD_DIM = 8192, MAX_ROWS = 4096 };

/* ---- the schema */

typedef enum field_type {
    TEXT, TEXT_OR_NULL, COUNT, NUMBER, NUMBER_OR_NULL, ANY, OBJECT, ARRAY, PAIR_OR_NULL, MODEL, MODELS, DOCUMENT, LAYER,
    TENSOR, KIND, N_TYPES
} field_type;

typedef struct field { const char *name; field_type type; } field;

static const char *const expected_words[N_TYPES] = {
    [TEXT] = "text",
    [TEXT_OR_NULL] = "text or null",
    [COUNT] = "a whole number from 0",
    [NUMBER] = "a number",
    [NUMBER_OR_NULL] = "a number or null",
    [ANY] = "a value",
    [OBJECT] = "an object",
    [ARRAY] = "an array",
    [PAIR_OR_NULL] = "[low, high] or null",
    [MODEL] = "the index of a model",
    [MODELS] = "the indices of two models",
    [DOCUMENT] = "the index of a document",
    [LAYER] = "a layer of the model",
    [TENSOR] = "\"q\", \"k\" or \"v\"",
    [KIND] = "\"baseline\", \"massive\" or \"random\"",
};

#define END { NULL, ANY }
static const field common_fields[] = {
    { "settings", OBJECT }, { "models", ARRAY }, { "documents", ARRAY }, { "warnings", ARRAY }, END
};
static const field model_fields[] = {
    { "name", TEXT }, { "layers", COUNT }, { "heads", NUMBER_OR_NULL }, { "kv_heads", NUMBER_OR_NULL },
    { "head_dim", COUNT }, END
};
/* what captured tensors have no model to say */
static const field whole_model_fields[] = {
    { "model_type", TEXT_OR_NULL }, { "attention_type", TEXT_OR_NULL }, { "d_model", NUMBER_OR_NULL },
    { "context", NUMBER_OR_NULL }, { "rope", ANY }, { "rope_theta", NUMBER_OR_NULL },
    { "parameters", NUMBER_OR_NULL }, { "sha256", TEXT_OR_NULL }, { "pairs", ARRAY }, END
};
static const field pair_fields[] = {
    { "pair", COUNT }, { "wavelength", NUMBER_OR_NULL }, { "rotations", NUMBER_OR_NULL }, { "slow", ANY }, END
};
static const field document_fields[] = {
    { "id", TEXT }, { "category", TEXT_OR_NULL }, { "tokens", COUNT }, { "cut", ANY }, { "sha256", TEXT_OR_NULL },
    { "repetitive", ANY }, END
};
static const field massive_settings[] = { { "lambda", NUMBER }, { "criterion", TEXT }, { "site", TEXT }, END };
static const field disrupt_settings[] = {
    { "lambda", NUMBER_OR_NULL }, { "criterion", TEXT_OR_NULL }, { "site", TEXT }, { "op", TEXT }, { "tensors", ANY },
    { "control", TEXT_OR_NULL }, { "seeds", ARRAY }, { "calibration", ANY }, END
};
static const field counts_fields[] = {
    { "model", MODEL }, { "document", DOCUMENT }, { "tensor", TENSOR }, { "layer", LAYER }, { "count", COUNT },
    { "max_over_mean", NUMBER_OR_NULL }, { "energy_share", NUMBER_OR_NULL }, { "gini", NUMBER_OR_NULL },
    { "kurtosis", NUMBER_OR_NULL }, { "entropy", NUMBER_OR_NULL }, { "slow_share", NUMBER_OR_NULL }, END
};
static const field massive_summary_fields[] = {
    { "model", MODEL }, { "tensor", TENSOR }, { "positions", COUNT }, { "total_mean", NUMBER_OR_NULL },
    { "total_std", NUMBER_OR_NULL }, { "total_ci95", PAIR_OR_NULL }, { "share_pct", NUMBER_OR_NULL },
    { "max_over_mean", NUMBER_OR_NULL }, { "energy_share", NUMBER_OR_NULL }, { "gini", NUMBER_OR_NULL },
    { "kurtosis", NUMBER_OR_NULL }, { "slow_share", NUMBER_OR_NULL }, { "by_layer", ARRAY }, END
};
static const field by_layer_fields[] = {
    { "layer", LAYER }, { "mean", NUMBER_OR_NULL }, { "std", NUMBER_OR_NULL }, { "max_over_mean", NUMBER_OR_NULL },
    END
};
static const field sweep_fields[] = {
    { "model", MODEL }, { "tensor", TENSOR }, { "lambda", NUMBER }, { "total_mean", NUMBER_OR_NULL },
    { "total_std", NUMBER_OR_NULL }, END
};
static const field change_fields[] = {
    { "model", MODEL }, { "tensor", TENSOR }, { "difference", NUMBER_OR_NULL }, { "difference_ci95", PAIR_OR_NULL },
    { "percent", NUMBER_OR_NULL }, { "test", ANY }, { "layers_more", ARRAY }, END
};
static const field pair_norm_fields[] = {
    { "model", MODEL }, { "tensor", TENSOR }, { "layer", LAYER }, { "norm", ARRAY }, { "massive_pairs", ANY }, END
};
static const field stability_fields[] = {
    { "model", MODEL }, { "tensor", TENSOR }, { "jaccard_mean", NUMBER_OR_NULL }, END
};
static const field condition_fields[] = {
    { "model", MODEL }, { "name", TEXT }, { "kind", KIND }, { "dims", ANY }, { "seed", NUMBER_OR_NULL },
    { "receipt", ANY }, END
};
static const field score_fields[] = {
    { "model", MODEL }, { "condition", TEXT }, { "document", DOCUMENT }, { "tokens", COUNT },
    { "nll", NUMBER_OR_NULL }, { "ppl", NUMBER_OR_NULL }, END
};
static const field disrupt_summary_fields[] = {
    { "model", MODEL }, { "condition", TEXT }, { "tokens", COUNT }, { "nll_per_token", NUMBER_OR_NULL },
    { "delta_nll", NUMBER_OR_NULL }, { "ci95", PAIR_OR_NULL }, { "ppl", NUMBER_OR_NULL },
    { "ppl_increase_pct", NUMBER_OR_NULL }, { "by_category", ARRAY }, END
};
static const field by_category_fields[] = {
    { "category", TEXT_OR_NULL }, { "documents", COUNT }, { "delta_nll", NUMBER_OR_NULL }, { "ci95", PAIR_OR_NULL },
    { "ppl", NUMBER_OR_NULL }, { "ppl_increase_pct", NUMBER_OR_NULL }, END
};
static const field effect_fields[] = {
    { "model", MODEL }, { "m_minus_r", OBJECT }, { "m_minus_r_pct", NUMBER_OR_NULL }, END
};
static const field m_minus_r_fields[] = { { "delta_nll", NUMBER_OR_NULL }, { "ci95", PAIR_OR_NULL }, END };
static const field test_fields[] = {
    { "comparison", TEXT }, { "name", TEXT }, { "n", ANY }, { "estimate", NUMBER_OR_NULL },
    { "statistic", NUMBER_OR_NULL }, { "df", NUMBER_OR_NULL }, { "log10_p", NUMBER_OR_NULL }, { "p", TEXT_OR_NULL },
    { "ci95", PAIR_OR_NULL }, { "effect", NUMBER_OR_NULL }, { "effect_name", TEXT_OR_NULL },
    { "refused", TEXT_OR_NULL }, { "log10_p_holm", NUMBER_OR_NULL }, END
};

static const field tasks_settings[] = {
    { "source", TEXT }, { "part", TEXT_OR_NULL }, { "limit", NUMBER_OR_NULL }, { "context", COUNT },
    { "cut_left", ANY }, END
};
static const field category_fields[] = {
    { "model", MODEL }, { "category", TEXT }, { "kind", TEXT }, { "questions", COUNT }, { "right", COUNT },
    { "accuracy", NUMBER_OR_NULL }, { "ci95", PAIR_OR_NULL }, { "chance", NUMBER_OR_NULL },
    { "most_common", NUMBER_OR_NULL }, { "nll", NUMBER_OR_NULL }, END
};
static const field kind_fields[] = {
    { "model", MODEL }, { "kind", TEXT }, { "categories", COUNT }, { "macro", NUMBER_OR_NULL }, { "macro_ci95", PAIR_OR_NULL },
    { "questions", COUNT }, { "right", COUNT }, { "accuracy", NUMBER_OR_NULL }, { "ci95", PAIR_OR_NULL },
    { "most_common", NUMBER_OR_NULL }, { "nll", NUMBER_OR_NULL }, END
};
static const field mcnemar_fields[] = {
    { "models", MODELS }, { "comparison", TEXT }, { "name", TEXT }, { "n", COUNT }, { "both", COUNT },
    { "only_first", COUNT }, { "only_second", COUNT }, { "neither", COUNT }, { "estimate", NUMBER_OR_NULL },
    { "log10_p", NUMBER_OR_NULL }, { "p", TEXT_OR_NULL }, { "ci95", PAIR_OR_NULL }, { "refused", TEXT_OR_NULL },
    { "log10_p_holm", NUMBER_OR_NULL }, END
};

/* An array of rows; `inner` is an array (or an object) inside each row with rows of its own. */
typedef struct table {
    const char *name;
    const field *fields;
    const char *inner;
    const field *inner_fields;
    size_t max_rows; /* 0 = any number; tables that are searched row by row have a bound */
} table;

static const table massive_tables[] = {
    { "counts", counts_fields, NULL, NULL, 0 },
    { "summary", massive_summary_fields, "by_layer", by_layer_fields, MAX_ROWS },
    { "sweep", sweep_fields, NULL, NULL, 0 },
    { "change", change_fields, NULL, NULL, 0 },
    { "pair_norms", pair_norm_fields, NULL, NULL, 0 },
    { "stability", stability_fields, NULL, NULL, 0 },
    { NULL, NULL, NULL, NULL, 0 },
};
static const table disrupt_tables[] = {
    { "conditions", condition_fields, NULL, NULL, MAX_ROWS },
    { "scores", score_fields, NULL, NULL, 0 },
    { "summary", disrupt_summary_fields, "by_category", by_category_fields, MAX_ROWS },
    { "effects", effect_fields, "m_minus_r", m_minus_r_fields, 0 },
    { "tests", test_fields, NULL, NULL, MAX_ROWS },
    { NULL, NULL, NULL, NULL, 0 },
};
static const table tasks_tables[] = {
    { "categories", category_fields, NULL, NULL, MAX_ROWS },
    { "kinds", kind_fields, NULL, NULL, MAX_ROWS },
    { "tests", mcnemar_fields, NULL, NULL, MAX_ROWS },
    { NULL, NULL, NULL, NULL, 0 },
};
static const table *const study_tables[QK_N_STUDIES] = { massive_tables, disrupt_tables, tasks_tables };
static const field *const study_settings[QK_N_STUDIES] = { massive_settings, disrupt_settings, tasks_settings };

/* ---- checking */

static bool is_index(const json_t *value, size_t n)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 && (uint64_t)json_integer_value(value) < n;
}

static bool is_number_or_null(const json_t *value) { return json_is_number(value) || json_is_null(value); }

static bool is_one_of(const json_t *value, const char *const *words, size_t n)
{
    for (size_t i = 0; json_is_string(value) && i < n; i++)
        if (strcmp(json_string_value(value), words[i]) == 0) return true;
    return false;
}

static bool is_pair(const json_t *value)
{
    return json_is_null(value) ||
           (json_is_array(value) && json_array_size(value) == 2 && is_number_or_null(json_array_get(value, 0)) &&
            is_number_or_null(json_array_get(value, 1)));
}

static bool is_model_pair(const json_t *value, size_t n_models)
{
    return json_array_size(value) == 2 && is_index(json_array_get(value, 0), n_models) &&
           is_index(json_array_get(value, 1), n_models);
}

static bool fits(const qk_results *results, const json_t *value, field_type type, size_t model)
{
    size_t n_layers = model < results->n_models ? results->models[model].n_layers : 0;
    switch (type) {
    case TEXT: return json_is_string(value);
    case TEXT_OR_NULL: return json_is_string(value) || json_is_null(value);
    case COUNT: return json_is_integer(value) && json_integer_value(value) >= 0;
    case NUMBER: return json_is_number(value);
    case NUMBER_OR_NULL: return is_number_or_null(value);
    case OBJECT: return json_is_object(value);
    case ARRAY: return json_is_array(value);
    case PAIR_OR_NULL: return is_pair(value);
    case MODEL: return is_index(value, results->n_models);
    case MODELS: return is_model_pair(value, results->n_models);
    case DOCUMENT: return is_index(value, results->n_documents);
    case LAYER: return is_index(value, n_layers);
    case TENSOR: return is_one_of(value, qk_result_tensors, 3);
    case KIND: return is_one_of(value, kind_names, QK_N_KINDS);
    case ANY:
    case N_TYPES: break;
    }
    return value != NULL;
}

static const char *describe(char text[64], const json_t *value)
{
    static const char *const words[] = { "an object", "an array", "text", NULL, NULL, "true", "false", "null" };
    if (!value) return "nothing";
    if (json_is_number(value)) {
        snprintf(text, 64, "%.10g", json_number_value(value));
        return text;
    }
    if (json_is_string(value) && json_string_length(value) < 40) {
        snprintf(text, 64, "\"%s\"", json_string_value(value));
        return text;
    }
    return words[json_typeof(value)];
}

/* `where` names the row ("counts[17]."), "" for the whole. */
static qk_status check_fields(const qk_results *results, const char *where, const json_t *row, const field *fields,
                              size_t model, qk_error *err)
{
    char found[64];
    if (!json_is_object(row))
        return qk_fail(err, QK_E_FORMAT, "%s/results.json: %s: expected an object, found %s", results->folder, where,
                       describe(found, row));
    for (const field *f = fields; f->name; f++) {
        const json_t *value = json_object_get(row, f->name);
        if (!fits(results, value, f->type, model))
            return qk_fail(err, QK_E_FORMAT, "%s/results.json: %s%s%s: expected %s, found %s", results->folder, where,
                           *where ? "." : "", f->name, expected_words[f->type], describe(found, value));
    }
    return QK_OK;
}

static qk_status check_inner(const qk_results *results, const char *where, const table *t, const json_t *row,
                             size_t model, qk_error *err)
{
    char inside[96];
    const json_t *inner = json_object_get(row, t->inner);
    if (json_is_object(inner)) {
        snprintf(inside, sizeof inside, "%.60s.%s", where, t->inner);
        return check_fields(results, inside, inner, t->inner_fields, model, err);
    }
    for (size_t i = 0; i < json_array_size(inner); i++) {
        snprintf(inside, sizeof inside, "%.50s.%s[%zu]", where, t->inner, i);
        qk_status status = check_fields(results, inside, json_array_get(inner, i), t->inner_fields, model, err);
        if (status) return status;
    }
    return QK_OK;
}

static qk_status check_table(const qk_results *results, const table *t, qk_error *err)
{
    char where[64], found[64];
    const json_t *rows = json_object_get(results->root, t->name);
    if (!json_is_array(rows))
        return qk_fail(err, QK_E_FORMAT, "%s/results.json: %s: expected an array, found %s", results->folder, t->name,
                       describe(found, rows));
    if (t->max_rows && json_array_size(rows) > t->max_rows)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s/results.json: %s: expected at most %zu rows, found %zu",
                       results->folder, t->name, t->max_rows, json_array_size(rows));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *model = json_object_get(row, "model");
        snprintf(where, sizeof where, "%s[%zu]", t->name, i);
        size_t m = is_index(model, results->n_models) ? (size_t)json_integer_value(model) : 0;
        qk_status status = check_fields(results, where, row, t->fields, m, err);
        if (!status && t->inner) status = check_inner(results, where, t, row, m, err);
        if (status) return status;
    }
    return QK_OK;
}

static qk_status check_size(size_t *out, const qk_results *results, size_t model, const json_t *row, const char *name,
                            size_t max, qk_error *err)
{
    const json_t *size = json_object_get(row, name);
    json_int_t n = json_integer_value(size);
    if (json_is_null(size) && json_is_true(json_object_get(row, "captured")))
        return QK_OK; /* a tensor that was not given */
    if (n < 1 || (uint64_t)n > max)
        return qk_fail(err, QK_E_FORMAT, "%s/results.json: models[%zu].%s: expected 1 to %zu, found %lld",
                       results->folder, model, name, max, (long long)n);
    *out = (size_t)n;
    return QK_OK;
}

static qk_status read_model(qk_results *results, size_t m, const json_t *row, qk_error *err)
{
    char where[64];
    qk_result_model *model = &results->models[m];
    snprintf(where, sizeof where, "models[%zu]", m);
    qk_status status = check_fields(results, where, row, model_fields, m, err);
    if (!status && !json_is_true(json_object_get(row, "captured")))
        status = check_fields(results, where, row, whole_model_fields, m, err);
    if (!status) status = check_size(&model->n_layers, results, m, row, "layers", MAX_LAYERS, err);
    if (!status) status = check_size(&model->n_heads, results, m, row, "heads", MAX_HEADS, err);
    if (!status) status = check_size(&model->n_kv_heads, results, m, row, "kv_heads", MAX_HEADS, err);
    if (!status) status = check_size(&model->head_dim, results, m, row, "head_dim", MAX_HEAD_DIM, err);
    if (status) return status;
    model->name = qk_field_text(row, "name");
    model->context = qk_field_number(row, "context");
    model->pairs = json_object_get(row, "pairs");
    for (size_t i = 0; i < json_array_size(model->pairs); i++) {
        const json_t *pair = json_array_get(model->pairs, i);
        snprintf(where, sizeof where, "models[%zu].pairs[%zu]", m, i);
        status = check_fields(results, where, pair, pair_fields, m, err);
        if (status) return status;
        model->rotates = model->rotates || json_is_number(json_object_get(pair, "wavelength"));
    }
    return QK_OK;
}

static qk_status read_models(qk_results *results, qk_error *err)
{
    const json_t *models = json_object_get(results->root, "models");
    size_t n = json_array_size(models);
    if (n < 1 || n > QK_REPORT_MODELS)
        return qk_fail(err, n ? QK_E_UNSUPPORTED : QK_E_FORMAT, "%s/results.json: models: expected 1 to %d, found %zu",
                       results->folder, QK_REPORT_MODELS, n);
    for (size_t m = 0; m < n; m++) {
        qk_status status = read_model(results, m, json_array_get(models, m), err);
        if (status) return status;
        results->n_models = m + 1;
    }
    return QK_OK;
}

static qk_status check_documents(qk_results *results, qk_error *err)
{
    char where[64];
    results->n_documents = json_array_size(results->documents);
    for (size_t i = 0; i < results->n_documents; i++) {
        snprintf(where, sizeof where, "documents[%zu]", i);
        qk_status status = check_fields(results, where, json_array_get(results->documents, i), document_fields, 0, err);
        if (status) return status;
    }
    for (size_t i = 0; i < json_array_size(results->warnings); i++)
        if (!json_is_string(json_array_get(results->warnings, i)))
            return qk_fail(err, QK_E_FORMAT, "%s/results.json: warnings[%zu]: expected text, found something else",
                           results->folder, i);
    return QK_OK;
}

static qk_status check_results(qk_results *results, qk_error *err)
{
    char found[64];
    const json_t *study = json_object_get(results->root, "study"), *schema = json_object_get(results->root, "schema");
    if (!is_one_of(study, study_names, QK_N_STUDIES))
        return qk_fail(err, json_is_string(study) ? QK_E_UNSUPPORTED : QK_E_FORMAT,
                       "%s/results.json: study: expected \"massive\", \"disrupt\" or \"tasks\", found %s",
                       results->folder, describe(found, study));
    if (!json_is_integer(schema) || json_integer_value(schema) != 1)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s/results.json: schema: expected 1, found %s", results->folder,
                       describe(found, schema));
    while (strcmp(json_string_value(study), study_names[results->study]) != 0) results->study++;
    qk_status status = check_fields(results, "", results->root, common_fields, 0, err);
    if (status) return status;
    results->settings = json_object_get(results->root, "settings");
    results->documents = json_object_get(results->root, "documents");
    results->warnings = json_object_get(results->root, "warnings");
    status = check_fields(results, "settings", results->settings, study_settings[results->study], 0, err);
    if (!status) status = read_models(results, err);
    if (!status) status = check_documents(results, err);
    for (const table *t = study_tables[results->study]; !status && t->name; t++) status = check_table(results, t, err);
    return status;
}

/* ---- files */

/* A JSON object from a file; *object is NULL where the file is absent and not `needed`. */
static qk_status load(json_t **object, char sha256[65], const char *folder, const char *name, bool needed,
                      qk_error *err)
{
    qk_map map = { NULL, 0 };
    json_error_t why;
    char *path = qk_path_join(folder, name);
    if (!path) return qk_out_of_memory(err, name, strlen(folder));
    qk_status status = QK_OK;
    if (!needed && !qk_path_exists(path)) goto out;
    status = qk_map_open(&map, path, err);
    if (status) goto out;
    *object = json_loadb((const char *)map.data, map.size, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(*object))
        status = qk_fail(err, QK_E_FORMAT, "%s: line %d: expected a JSON object: %s", path, *object ? 1 : why.line,
                         *object ? "found an array" : why.text);
    if (!status && sha256) qk_sha256_of(sha256, map.data, map.size);
out:
    qk_map_close(&map);
    free(path);
    return status;
}

qk_status qk_results_open(qk_results **out, const char *folder, qk_error *err)
{
    char *arrays = qk_path_join(folder, "arrays.safetensors");
    qk_results *results = calloc(1, sizeof *results);
    qk_status status = QK_OK;
    if (!arrays || !results || !(results->folder = strdup(folder))) {
        status = qk_out_of_memory(err, folder, sizeof *results);
        goto out;
    }
    status = load(&results->root, results->sha256, folder, "results.json", true, err);
    if (!status) status = load(&results->manifest, NULL, folder, "manifest.json", false, err);
    if (!status) status = check_results(results, err);
    if (!status && qk_path_exists(arrays)) status = qk_ckpt_open_safetensors(&results->arrays, arrays, err);
    if (status) goto out;
    *out = results;
    results = NULL;
out:
    qk_results_close(results);
    free(arrays);
    return status;
}

void qk_results_close(qk_results *results)
{
    if (!results) return;
    qk_ckpt_close(results->arrays);
    json_decref(results->manifest);
    json_decref(results->root);
    free(results->folder);
    free(results);
}
