/* results.c - results.json, checked field by field against the tables of schema.c. */
#include "report/schema.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const qk_result_tensors[3] = { "q", "k", "v" };
const char *const qk_result_tensor_words[3] = { "query", "key", "value" };
static const char *const kind_names[QK_N_KINDS] = { "baseline", "massive", "random" };

enum { MAX_LAYERS = 4096, MAX_HEADS = 4096, MAX_HEAD_DIM = 8192 };

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

static bool is_text_pair(const json_t *value)
{
    return json_array_size(value) == 2 && json_is_string(json_array_get(value, 0)) &&
           json_is_string(json_array_get(value, 1));
}

static bool fits(const qk_results *results, const json_t *value, qk_field_type type, size_t model)
{
    size_t n_layers = model < results->n_models ? results->models[model].n_layers : 0;
    switch (type) {
    case QK_IS_TEXT: return json_is_string(value);
    case QK_IS_TEXT_OR_NULL: return json_is_string(value) || json_is_null(value);
    case QK_IS_COUNT: return json_is_integer(value) && json_integer_value(value) >= 0;
    case QK_IS_NUMBER: return json_is_number(value);
    case QK_IS_NUMBER_OR_NULL: return is_number_or_null(value);
    case QK_IS_OBJECT: return json_is_object(value);
    case QK_IS_ARRAY: return json_is_array(value);
    case QK_IS_PAIR_OR_NULL: return is_pair(value);
    case QK_IS_MODEL: return is_index(value, results->n_models);
    case QK_IS_MODELS: return is_model_pair(value, results->n_models);
    case QK_IS_TEXTS: return is_text_pair(value);
    case QK_IS_DOCUMENT: return is_index(value, results->n_documents);
    case QK_IS_LAYER: return is_index(value, n_layers);
    case QK_IS_TENSOR: return is_one_of(value, qk_result_tensors, 3);
    case QK_IS_KIND: return is_one_of(value, kind_names, QK_N_KINDS);
    case QK_IS_ARM: return is_index(value, results->n_arms);
    case QK_IS_ANY:
    case QK_N_FIELD_TYPES: break;
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
static qk_status check_fields(const qk_results *results, const char *where, const json_t *row, const qk_field *fields,
                              size_t model, qk_error *err)
{
    char found[64];
    if (!json_is_object(row))
        return qk_fail(err, QK_E_FORMAT, "%s/results.json: %s: expected an object, found %s", results->folder, where,
                       describe(found, row));
    for (const qk_field *f = fields; f->name; f++) {
        const json_t *value = json_object_get(row, f->name);
        if (!fits(results, value, f->type, model))
            return qk_fail(err, QK_E_FORMAT, "%s/results.json: %s%s%s: expected %s, found %s", results->folder, where,
                           *where ? "." : "", f->name, qk_field_words[f->type], describe(found, value));
    }
    return QK_OK;
}

static qk_status check_inner(const qk_results *results, const char *where, const qk_table *t, const json_t *row,
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

/* Whose layers a row counts: its model's, or that of its arm. */
static size_t model_of(const qk_results *results, const json_t *row)
{
    const json_t *model = json_object_get(row, "model"), *arm = json_object_get(row, "arm");
    if (is_index(arm, results->n_arms)) return results->arms[json_integer_value(arm)].model;
    return is_index(model, results->n_models) ? (size_t)json_integer_value(model) : 0;
}

static qk_status check_table(const qk_results *results, const qk_table *t, qk_error *err)
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
        const json_t *row = json_array_get(rows, i);
        size_t m = model_of(results, row);
        snprintf(where, sizeof where, "%s[%zu]", t->name, i);
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
    qk_status status = check_fields(results, where, row, qk_model_fields, m, err);
    if (!status && !json_is_true(json_object_get(row, "captured")))
        status = check_fields(results, where, row, qk_whole_model_fields, m, err);
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
        status = check_fields(results, where, pair, qk_pair_fields, m, err);
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

static qk_status read_arms(qk_results *results, qk_error *err)
{
    char where[64];
    const json_t *arms = json_object_get(results->root, "arms");
    size_t n = json_array_size(arms);
    if (n < 1 || n > QK_REPORT_ARMS)
        return qk_fail(err, n ? QK_E_UNSUPPORTED : QK_E_FORMAT, "%s/results.json: arms: expected 1 to %d, found %zu",
                       results->folder, QK_REPORT_ARMS, n);
    for (size_t a = 0; a < n; a++) {
        const json_t *row = json_array_get(arms, a);
        snprintf(where, sizeof where, "arms[%zu]", a);
        qk_status status = check_fields(results, where, row, qk_arm_fields, 0, err);
        if (status) return status;
        results->arms[a] = (qk_result_arm){ qk_field_text(row, "name"), qk_field_text(row, "kind"),
                                            qk_field_index(row, "model") };
        results->n_arms = a + 1;
    }
    return QK_OK;
}

static qk_status check_documents(qk_results *results, qk_error *err)
{
    char where[64];
    results->n_documents = json_array_size(results->documents);
    for (size_t i = 0; i < results->n_documents; i++) {
        const json_t *row = json_array_get(results->documents, i);
        snprintf(where, sizeof where, "documents[%zu]", i);
        qk_status status = check_fields(results, where, row, qk_document_fields, 0, err);
        if (status) return status;
    }
    for (size_t i = 0; i < json_array_size(results->warnings); i++)
        if (!json_is_string(json_array_get(results->warnings, i)))
            return qk_fail(err, QK_E_FORMAT, "%s/results.json: warnings[%zu]: expected text, found something else",
                           results->folder, i);
    return QK_OK;
}

static qk_status read_tracks(qk_results *results, qk_error *err)
{
    const json_t *rows = qk_rows(results, "track");
    qk_status status = QK_OK;
    for (size_t a = 0; !status && a < results->n_arms; a++) {
        qk_arm_track *t = &results->tracks[a];
        status = qk_new_array(&t->rows, json_array_size(rows) + 1, sizeof t->rows[0], "tracked rows", err);
        for (size_t i = 0; !status && i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i);
            if (qk_field_index(row, "arm") == a) t->rows[t->n++] = row;
        }
    }
    return status;
}

static qk_status check_study(qk_results *results, qk_error *err)
{
    char found[64];
    const json_t *study = json_object_get(results->root, "study"), *schema = json_object_get(results->root, "schema");
    int i = 0;
    while (i < QK_N_STUDIES && !is_one_of(study, &qk_study_schemas[i].name, 1)) i++;
    if (i == QK_N_STUDIES)
        return qk_fail(err, json_is_string(study) ? QK_E_UNSUPPORTED : QK_E_FORMAT,
                       "%s/results.json: study: expected \"massive\", \"disrupt\", \"tasks\", \"context\", "
                       "\"train\" or \"recalibrate\", found %s", results->folder, describe(found, study));
    results->study = (qk_study_kind)i;
    if (json_is_integer(schema) && json_integer_value(schema) == 1) return QK_OK;
    return qk_fail(err, QK_E_UNSUPPORTED, "%s/results.json: schema: expected 1, found %s", results->folder,
                   describe(found, schema));
}

qk_status qk_results_check(qk_results *results, qk_error *err)
{
    qk_status status = check_study(results, err);
    const qk_study_schema *schema = &qk_study_schemas[results->study];
    if (!status) status = check_fields(results, "", results->root, qk_common_fields, 0, err);
    if (status) return status;
    results->settings = json_object_get(results->root, "settings");
    results->documents = json_object_get(results->root, "documents");
    results->warnings = json_object_get(results->root, "warnings");
    status = check_fields(results, "settings", results->settings, schema->settings, 0, err);
    if (!status) status = read_models(results, err);
    if (!status) status = check_documents(results, err);
    if (!status && schema->has_arms) status = read_arms(results, err);
    for (const qk_table *t = schema->tables; !status && t->name; t++) status = check_table(results, t, err);
    return status ? status : read_tracks(results, err);
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
    if (!status) status = qk_results_check(results, err);
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
    for (size_t a = 0; a < QK_REPORT_ARMS; a++) free(results->tracks[a].rows);
    qk_ckpt_close(results->arrays);
    json_decref(results->manifest);
    json_decref(results->root);
    free(results->folder);
    free(results);
}
