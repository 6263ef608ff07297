/* massive.c - the post's experiment 1: how many dims of q, k and v are massive, per layer, document and model. */
#include "study/tally.h"

#include <stdlib.h>
#include <string.h>

/* What the visit of one document needs. */
typedef struct counting {
    qk_tally *tally;
    json_t *counts;
    size_t model;
    double *map; /* [widest tensor] */
} counting;

static qk_status count_document(void *user, const qk_norms *norms, size_t sequence, size_t document, qk_error *err)
{
    counting *c = user;
    qk_status status = QK_OK;
    for (int t = 0; !status && t < QK_N_TENSORS; t++) {
        for (int l = 0; !status && l < c->tally->n_layers; l++) {
            qk_norms_map(c->map, norms, sequence, l, (qk_qkv)t);
            status = qk_tally_add(c->tally, c->counts, c->model, document, (qk_qkv)t, l, c->map, err);
        }
    }
    return status;
}

static qk_status count_model(qk_tally *tally, json_t *results, const qk_named_model *model, size_t index,
                             const qk_documents *documents, const qk_massive_settings *settings,
                             const qk_compute *compute, qk_error *err)
{
    const qk_config *config = &model->model->config;
    size_t widest = (size_t)config->n_heads * (size_t)config->head_dim;
    counting c = { .tally = tally, .counts = json_object_get(results, "counts"), .model = index };
    qk_status status = qk_tally_start(tally, documents->n, config->n_layers, settings, err);
    for (int t = 0; !status && t < QK_N_TENSORS; t++) {
        int heads = t == QK_TENSOR_Q ? config->n_heads : config->n_kv_heads;
        status = qk_tally_declare(tally, (qk_qkv)t, heads, config->head_dim, err);
    }
    if (!status) status = qk_tally_rotary(tally, config, err);
    if (!status) status = qk_new_array(&c.map, widest, sizeof *c.map, "a norm map", err);
    if (!status) status = qk_study_norms(model, documents, settings->post_rotation, compute, count_document, &c, err);
    if (!status) {
        qk_tally_finish(tally);
        status = qk_tally_rows(results, tally, index, settings->africa, err);
    }
    free(c.map);
    return status;
}

/* The journal of a finished model: what each document counted. */
static qk_status journal(qk_run *run, const qk_tally *tally, size_t model, const qk_documents *documents, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t d = 0; run && !status && d < documents->n; d++) {
        qk_row row = qk_row_start();
        qk_row_count(&row, "tokens", documents->items[d].n_tokens);
        for (int t = 0; t < QK_N_TENSORS; t++) qk_row_number(&row, qk_tensor_letters[t], tally->tensors[t].total[d]);
        json_t *payload = qk_row_take(&row);
        if (!payload) return qk_out_of_memory(err, "a unit of the journal", 0);
        status = qk_run_put(run, model, "massive", d, payload, err);
        json_decref(payload);
    }
    return status;
}

static const qk_site map_sites[2][QK_N_TENSORS] = {
    { QK_SITE_Q, QK_SITE_K, QK_SITE_V },
    { QK_SITE_ROT_Q, QK_SITE_ROT_K, QK_SITE_V },
};

/* arrays.safetensors: the mean map of every model, layer and tensor as F32 [heads, head_dim]. */
static qk_status write_arrays(const qk_run *run, const qk_tally *tallies, size_t n_models, bool post_rotation,
                              qk_error *err)
{
    static const char *const metadata[] = { "format", "pt" };
    qk_arena arena = { 0 };
    qk_tensor_out *out = NULL;
    size_t n = 0;
    for (size_t m = 0; m < n_models; m++) n += (size_t)tallies[m].n_layers * QK_N_TENSORS;
    qk_status status = qk_new_array(&out, n, sizeof *out, "norm maps", err);
    n = 0;
    for (size_t m = 0; !status && m < n_models; m++) {
        for (int i = 0; i < tallies[m].n_layers * QK_N_TENSORS; i++) {
            int layer = i / QK_N_TENSORS, tensor = i % QK_N_TENSORS;
            const qk_tensor_tally *t = &tallies[m].tensors[tensor];
            size_t width = (size_t)t->n_heads * (size_t)t->head_dim;
            char *name = qk_arena_alloc(&arena, 96), site[64];
            float *map = qk_arena_alloc(&arena, width * sizeof *map);
            if (!name || !map) {
                status = qk_out_of_memory(err, "norm maps", width * sizeof *map);
                break;
            }
            qk_site_name(site, map_sites[post_rotation][tensor], layer);
            snprintf(name, 96, "models.%zu.%s", m, site);
            for (size_t k = 0; k < width; k++) map[k] = (float)t->mean_map[(size_t)layer * width + k];
            out[n++] = (qk_tensor_out) { .name = name, .dtype = QK_DTYPE_F32, .n_dims = 2, .data = map,
                                         .shape = { (uint64_t)t->n_heads, (uint64_t)t->head_dim } };
        }
    }
    char *path = status ? NULL : qk_path_join(qk_run_folder(run), "arrays.safetensors");
    if (!status && !path) status = qk_out_of_memory(err, "a path", 0);
    if (!status) status = qk_safetensors_write(path, out, n, metadata, 1, err);
    free(path);
    free(out);
    qk_arena_free(&arena);
    return status;
}

/* What one model's counts hold: masks of every document, the mean maps, rows of results.json. */
static uint64_t table_bytes(const qk_config *config, size_t n_documents)
{
    uint64_t layers = (uint64_t)config->n_layers;
    uint64_t dims = layers * (uint64_t)(config->n_heads + 2 * config->n_kv_heads) * (uint64_t)config->head_dim;
    uint64_t numbers = QK_N_TENSORS * (2 * layers + QK_SWEEP_MAX + 8) * sizeof(double);
    uint64_t rows = (QK_N_TENSORS * layers + 1) * QK_STUDY_ROW_BYTES;
    return n_documents * (dims + numbers + rows) + dims * 2 * sizeof(double);
}

qk_status qk_study_massive(json_t **results, const qk_named_model *models, size_t n_models, qk_documents *documents,
                           const qk_massive_settings *settings, const qk_compute *compute, qk_run *run, qk_error *err)
{
    size_t context = qk_study_context(models, n_models, compute);
    qk_tally *tallies = NULL;
    qk_compute budget = *compute; /* what the models before leave */
    json_t *out = qk_massive_results(settings, settings->post_rotation ? "post" : "pre", compute, context);
    qk_status status = out ? QK_OK : qk_out_of_memory(err, "results", 0);
    if (!status && n_models == 0) status = qk_fail(err, QK_E_ARGUMENT, "massive: expected a model, found none");
    if (!status) status = qk_new_array(&tallies, n_models, sizeof *tallies, "counts of massive values", err);
    if (!status) status = qk_json_set(out, "models", qk_json_models(models, n_models), err);
    json_t *warnings = json_object_get(out, "warnings"), *rows = NULL;
    for (size_t m = 0; !status && m < n_models; m++) {
        status = qk_study_tokenize(documents, &models[m], context, compute->no_bos, err);
        if (!status && m == 0) status = qk_study_reserve_documents(&budget, documents, err);
        uint64_t tables = table_bytes(&models[m].model->config, documents->n);
        if (!status) status = qk_study_reserve(&budget, tables, "holding the counts", err);
        if (!status && m == 0) status = qk_json_set(out, "documents", qk_json_documents(documents), err);
        if (!status && m == 0) status = qk_warn_documents(warnings, documents, context, err);
        rows = json_object_get(out, "documents");
        if (!status && n_models > 1) status = qk_json_tokens_of_model(rows, documents, err);
        if (!status) status = count_model(&tallies[m], out, &models[m], m, documents, settings, &budget, err);
        status = qk_study_over_budget(status, compute, &budget, err);
        if (status) qk_prefix(err, status, "%s", models[m].name);
        if (!status) status = journal(run, &tallies[m], m, documents, err);
        if (!status && m > 0) status = qk_tally_change(out, &tallies[0], &tallies[m], m, err);
    }
    if (!status) status = qk_warn_context(warnings, models, n_models, context, err);
    if (!status && run) status = write_arrays(run, tallies, n_models, settings->post_rotation, err);
    if (!status) *results = json_incref(out);
    for (size_t m = 0; tallies && m < n_models; m++) qk_tally_free(&tallies[m]);
    free(tallies);
    json_decref(out);
    return status;
}
