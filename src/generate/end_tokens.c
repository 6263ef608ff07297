/* end_tokens.c - which tokens end a text. */
#include <stdlib.h>
#include <string.h>

#include "generate/generate_private.h"

enum { MOST = 64 };

/* An id beyond the vocabulary is never said: it is left out. */
static void add(int32_t *tokens, size_t *n, json_int_t id, int n_vocab)
{
    for (size_t i = 0; i < *n; i++)
        if (tokens[i] == id) return;
    if (id >= 0 && id < n_vocab && *n < MOST) tokens[(*n)++] = (int32_t)id;
}

/* eos_token_id: a number, an array of numbers, or null. */
static qk_status read_ids(int32_t *tokens, size_t *n, const json_t *config, const char *file, int n_vocab,
                          qk_error *err)
{
    const json_t *value = json_object_get(config, "eos_token_id");
    size_t count = json_is_array(value) ? json_array_size(value) : value && !json_is_null(value);
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(id) || count > MOST)
            return qk_fail(err, QK_E_FORMAT, "%s: eos_token_id: expected an id, or an array of at most %d", file, MOST);
        add(tokens, n, json_integer_value(id), n_vocab);
    }
    return QK_OK;
}

static qk_status open_generation_config(json_t **out, const qk_model *model, qk_error *err)
{
    char *path = qk_path_join(qk_ckpt_folder(model->ckpt), "generation_config.json");
    qk_map map = { 0 };
    json_error_t problem;
    qk_status status = QK_OK;
    if (!path) return qk_out_of_memory(err, "path", 0);
    if (qk_ckpt_config(model->ckpt) && qk_path_exists(path)) {
        status = qk_map_open(&map, path, err);
        if (!status) {
            *out = json_loadb((const char *)map.data, map.size, JSON_REJECT_DUPLICATES, &problem);
            if (!*out) status = qk_fail(err, QK_E_FORMAT, "%s: line %d: %s", path, problem.line, problem.text);
            qk_map_close(&map);
        }
    }
    free(path);
    return status;
}

qk_status qk_end_tokens(int32_t **out, size_t *n_out, const qk_model *model, qk_error *err)
{
    int32_t *tokens = NULL;
    json_t *generation = NULL;
    size_t n = 0;
    int n_vocab = model->config.n_vocab;
    qk_status status = qk_new_array(&tokens, MOST, sizeof *tokens, "end tokens", err);
    if (!status) status = open_generation_config(&generation, model, err);
    if (!status) status = read_ids(tokens, &n, generation, "generation_config.json", n_vocab, err);
    if (!status && n == 0) status = read_ids(tokens, &n, qk_ckpt_config(model->ckpt), "config.json", n_vocab, err);
    if (!status && model->tokenizer) {
        int32_t eos = qk_tokenizer_describe(model->tokenizer)->eos;
        if (eos >= 0) add(tokens, &n, eos, n_vocab);
    }
    json_decref(generation);
    if (status) return free(tokens), status;
    *out = tokens;
    *n_out = n;
    return QK_OK;
}
