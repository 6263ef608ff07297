/* merge.c - several training runs as one object of the same schema. */
#include "report/merge.h"

#include <stdlib.h>
#include <string.h>

/* ---- may they stand side by side? */

static bool same_shape(const qk_results *a, const qk_results *b)
{
    const qk_result_model *x = &a->models[0], *y = &b->models[0];
    return x->n_layers == y->n_layers && x->n_heads == y->n_heads && x->n_kv_heads == y->n_kv_heads &&
           x->head_dim == y->head_dim;
}

static bool same_documents(const qk_results *a, const qk_results *b)
{
    if (a->n_documents != b->n_documents) return false;
    for (size_t d = 0; d < a->n_documents; d++) {
        const json_t *x = json_array_get(a->documents, d), *y = json_array_get(b->documents, d);
        if (strcmp(qk_field_text(x, "sha256"), qk_field_text(y, "sha256")) != 0 ||
            qk_field_number(x, "tokens") != qk_field_number(y, "tokens"))
            return false;
    }
    return true;
}

static bool comparable(char why[200], const qk_results *const *parts, const char *const *names, size_t n_parts)
{
    size_t n_arms = 0;
    for (size_t p = 0; p < n_parts; p++) {
        const char *reason = NULL;
        n_arms += parts[p]->n_arms;
        if (!same_shape(parts[0], parts[p])) reason = "models of another shape";
        else if (!same_documents(parts[0], parts[p])) reason = "other probe documents";
        else if (!json_equal(json_object_get(parts[0]->settings, "lambda"),
                             json_object_get(parts[p]->settings, "lambda"))) reason = "another lambda";
        else if (n_arms > QK_REPORT_ARMS) reason = "more arms than can be told apart";
        if (!reason) continue;
        snprintf(why, 200, "%.64s and %.64s are not drawn together: %s.", names[0], names[p], reason);
        return false;
    }
    return true;
}

/* ---- putting them together; every function returns false when out of memory */

/* Where `model` is in `models`; put there where it is not. */
static bool find_model(size_t *at, json_t *models, json_t *model)
{
    for (*at = 0; *at < json_array_size(models); ++*at)
        if (json_equal(json_array_get(models, *at), model)) return true;
    return json_array_append(models, model) == 0;
}

static bool has_name(const json_t *arms, const char *name)
{
    for (size_t a = 0; a < json_array_size(arms); a++)
        if (qk_field_is(json_array_get(arms, a), "name", name)) return true;
    return false;
}

static bool add_arms(json_t *root, const qk_results *part, const char *folder)
{
    json_t *models = json_object_get(root, "models"), *arms = json_object_get(root, "arms");
    for (size_t a = 0; a < part->n_arms; a++) {
        size_t model;
        char name[300];
        json_t *arm = json_copy(json_array_get(qk_rows(part, "arms"), a));
        bool good = arm && find_model(&model, models, json_array_get(qk_rows(part, "models"), part->arms[a].model)) &&
                    json_object_set_new(arm, "model", json_integer((json_int_t)model)) == 0;
        if (good && has_name(arms, part->arms[a].name)) {
            snprintf(name, sizeof name, "%.140s (%.140s)", part->arms[a].name, folder);
            json_t *text = json_string(name); /* NULL where the cut fell into a character */
            good = json_object_set_new(arm, "name", text ? text : json_string("another arm")) == 0;
        }
        if (json_array_append_new(arms, arm) != 0 || !good) return false;
    }
    return true;
}

static bool add_rows(json_t *root, const qk_results *part, const char *table, size_t first_arm)
{
    json_t *rows = json_object_get(root, table);
    const json_t *more = qk_rows(part, table);
    for (size_t i = 0; i < json_array_size(more); i++) {
        const json_t *row = json_array_get(more, i);
        json_t *copy = json_copy((json_t *)(uintptr_t)row);
        json_int_t arm = (json_int_t)(first_arm + qk_field_index(row, "arm"));
        bool good = copy && json_object_set_new(copy, "arm", json_integer(arm)) == 0;
        if (json_array_append_new(rows, copy) != 0 || !good) return false;
    }
    return true;
}

static bool add_warnings(json_t *root, const qk_results *part)
{
    json_t *warnings = json_object_get(root, "warnings");
    for (size_t i = 0; i < json_array_size(part->warnings); i++) {
        json_t *warning = json_array_get(part->warnings, i);
        size_t k = 0;
        while (k < json_array_size(warnings) && !json_equal(json_array_get(warnings, k), warning)) k++;
        if (k == json_array_size(warnings) && json_array_append(warnings, warning) != 0) return false;
    }
    return true;
}

/* Settings in which the parts differ become an object { folder: value }; lambda is the same in all. */
static bool add_settings(json_t *root, const qk_results *const *parts, const char *const *names, size_t n_parts)
{
    json_t *settings = json_object_get(root, "settings"), *value;
    const char *key;
    for (size_t p = 0; p < n_parts; p++) {
        json_object_foreach((json_t *)(uintptr_t)parts[p]->settings, key, value) {
            bool same = true;
            if (json_object_get(settings, key)) continue;
            for (size_t q = 0; q < n_parts; q++)
                same = same && json_equal(json_object_get(parts[q]->settings, key), value);
            json_t *all = same || strcmp(key, "track") == 0 ? json_incref(value) : json_object();
            for (size_t q = 0; all && all != value && q < n_parts; q++) {
                json_t *own = json_object_get(parts[q]->settings, key);
                if (own && json_object_set(all, names[q], own) != 0) return json_decref(all), false;
            }
            if (json_object_set_new(settings, key, all) != 0) return false;
        }
    }
    return true;
}

static json_t *merged_root(const qk_results *const *parts, const char *const *names, size_t n_parts)
{
    static const char *const arrays[] = { "models", "arms", "log", "track", "warnings" };
    json_t *root = json_object();
    bool good = root && json_object_set(root, "study", json_object_get(parts[0]->root, "study")) == 0 &&
                json_object_set_new(root, "schema", json_integer(1)) == 0 &&
                json_object_set_new(root, "settings", json_object()) == 0 &&
                json_object_set(root, "documents", (json_t *)(uintptr_t)parts[0]->documents) == 0;
    size_t n_arms = 0;
    for (size_t i = 0; good && i < sizeof arrays / sizeof arrays[0]; i++)
        good = json_object_set_new(root, arrays[i], json_array()) == 0;
    good = good && add_settings(root, parts, names, n_parts);
    for (size_t p = 0; good && p < n_parts; p++) {
        good = add_arms(root, parts[p], names[p]) && add_rows(root, parts[p], "log", n_arms) &&
               add_rows(root, parts[p], "track", n_arms) && add_warnings(root, parts[p]);
        n_arms += parts[p]->n_arms;
    }
    if (good) return root;
    json_decref(root);
    return NULL;
}

qk_status qk_results_merge(qk_results **out, char why[200], const qk_results *const *parts, const char *const *names,
                           size_t n_parts, const char *folder, qk_error *err)
{
    *out = NULL;
    if (!comparable(why, parts, names, n_parts)) return QK_OK;
    qk_results *results = calloc(1, sizeof *results);
    if (results) results->folder = strdup(folder);
    if (results) results->root = merged_root(parts, names, n_parts);
    if (!results || !results->folder || !results->root) {
        qk_results_close(results);
        return qk_out_of_memory(err, folder, 0);
    }
    qk_status status = qk_results_check(results, err);
    if (status) qk_results_close(results);
    else *out = results;
    return status;
}
