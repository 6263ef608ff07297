/* checkpoint.c - parameters as a Hugging Face folder: weights, config.json, the tokenizer's files. */
#include "train/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)1 << 16) /* values converted at a time */

/* ---- model.safetensors */

static qk_status append_values(qk_safetensors_writer *writer, const float *values, size_t n, qk_dtype dtype,
                               uint16_t *chunk, qk_error *err)
{
    if (dtype == QK_DTYPE_F32) return qk_safetensors_append(writer, values, n * sizeof *values, err);
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t m = n - at < CHUNK ? n - at : CHUNK;
        for (size_t i = 0; i < m; i++) chunk[i] = qk_f32_to_bf16(values[at + i]);
        qk_status status = qk_safetensors_append(writer, chunk, m * sizeof *chunk, err);
        if (status) return status;
    }
    return QK_OK;
}

static qk_status write_weights(const char *path, const qk_parameters *p, qk_dtype dtype, qk_error *err)
{
    static const char *const metadata[] = { "format", "pt" };
    qk_tensor_out *declared = NULL;
    uint16_t *chunk = NULL;
    qk_safetensors_writer *writer = NULL;
    qk_status status = qk_new_array(&declared, p->n_items, sizeof *declared, path, err);
    if (!status) status = qk_new_array(&chunk, CHUNK, sizeof *chunk, path, err);
    if (status) goto out;
    for (size_t i = 0; i < p->n_items; i++) {
        const qk_weight_shape *s = &p->items[i].shape;
        declared[i] =
            (qk_tensor_out){ .name = s->name, .dtype = dtype, .n_dims = s->n_dims, .shape = { s->n_rows, s->n_cols } };
    }
    status = qk_safetensors_start(&writer, path, declared, p->n_items, metadata, 1, err);
    for (size_t i = 0; !status && i < p->n_items; i++)
        status = append_values(writer, p->values + p->items[i].offset, p->items[i].n, dtype, chunk, err);
    if (!status) {
        status = qk_safetensors_finish(writer, err);
        writer = NULL;
    }
out:
    qk_safetensors_abandon(writer);
    free(chunk);
    free(declared);
    return status;
}

/* ---- config.json */

/* Where the source has no config.json (GGUF, llama2.c), the tokenizer knows which tokens begin and end a text. */
static bool put_token(json_t *config, const char *key, int32_t id)
{
    if (json_object_get(config, key)) return true;
    return json_object_set_new(config, key, id >= 0 ? json_integer(id) : json_null()) == 0;
}

/* With as few digits as give the same numbers back; malloc'ed, NULL when out of memory. */
static char *shortest_text(const json_t *object)
{
    for (size_t digits = 6;; digits++) {
        char *text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(digits));
        json_t *back = text ? json_loads(text, 0, NULL) : NULL;
        bool same = json_equal(object, back);
        json_decref(back);
        if (!text || same || digits == 17) return text;
        free(text);
    }
}

static qk_status write_config(const char *path, const qk_parameters *p, qk_dtype dtype, qk_error *err)
{
    const json_t *source = p->source ? qk_ckpt_config(p->source->ckpt) : NULL;
    const qk_tokenizer *tokenizer = p->model->tokenizer;
    json_t *config = NULL;
    char *text = NULL;
    qk_output out;
    qk_status status = qk_config_to_json(&config, &p->model->config, source, err);
    if (status) return status;
    json_object_del(config, "dtype"); /* the newer spelling, which older versions do not read */
    bool ok =
        json_object_set_new(config, "torch_dtype", json_string(dtype == QK_DTYPE_F32 ? "float32" : "bfloat16")) == 0;
    if (ok && !source && tokenizer)
        ok = put_token(config, "bos_token_id", qk_tokenizer_describe(tokenizer)->bos) &&
             put_token(config, "eos_token_id", qk_tokenizer_describe(tokenizer)->eos);
    text = ok ? shortest_text(config) : NULL;
    status = text ? qk_output_open(&out, path, err) : qk_out_of_memory(err, path, 0);
    if (!status) {
        fprintf(out.stream, "%s\n", text);
        status = qk_output_commit(&out, err);
    }
    free(text);
    json_decref(config);
    return status;
}

/* ---- the tokenizer's files */

static const char *const tokenizer_files[] = {
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json",  "special_tokens_map.json", "added_tokens.json",
    "vocab.json",     "merges.txt",      "generation_config.json", "chat_template.jinja",     "chat_template.json",
};

static qk_status copy_file(const char *to_folder, const char *from_folder, const char *name, qk_error *err)
{
    char *from = qk_path_join(from_folder, name), *to = qk_path_join(to_folder, name);
    qk_map map = { 0 };
    qk_status status = from && to ? QK_OK : qk_out_of_memory(err, name, 0);
    if (!status && qk_path_exists(from)) {
        status = qk_map_open(&map, from, err);
        if (!status) status = qk_write_file(to, map.data, map.size, err);
        qk_map_close(&map);
    }
    free(from);
    free(to);
    return status;
}

static qk_status copy_tokenizer(const char *folder, const qk_model *source, qk_error *err)
{
    qk_status status = QK_OK;
    /* What lies beside a GGUF or a llama2.c file need not belong to it. */
    if (!source || qk_ckpt_format(source->ckpt) != QK_FORMAT_SAFETENSORS) return QK_OK;
    for (size_t i = 0; !status && i < sizeof tokenizer_files / sizeof *tokenizer_files; i++)
        status = copy_file(folder, qk_ckpt_folder(source->ckpt), tokenizer_files[i], err);
    return status;
}

qk_status qk_checkpoint_write(const char *folder, const qk_parameters *parameters, qk_dtype dtype, qk_error *err)
{
    char *weights = NULL, *config = NULL;
    if (dtype != QK_DTYPE_F32 && dtype != QK_DTYPE_BF16)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected F32 or BF16 weights, found %s", folder,
                       qk_dtype_describe(dtype)->name);
    qk_status status = qk_make_folders(folder, err);
    if (status) return status;
    weights = qk_path_join(folder, "model.safetensors");
    config = qk_path_join(folder, "config.json");
    if (!weights || !config) status = qk_out_of_memory(err, folder, 0);
    if (!status) status = write_weights(weights, parameters, dtype, err);
    if (!status) status = copy_tokenizer(folder, parameters->source, err);
    if (!status) status = write_config(config, parameters, dtype, err);
    free(weights);
    free(config);
    return status;
}
