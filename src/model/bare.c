/* bare.c - a model without weights: what training from scratch begins with. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

/* The folder of a file: malloc'ed, "." where the path has none. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Where the tokenizer's files lie; a file must be the one that is found in its folder. */
static qk_status find_folder(char **folder, const char *config_path, const char *tokenizer_path, qk_error *err)
{
    const char *path = tokenizer_path ? tokenizer_path : config_path;
    if (tokenizer_path && !qk_path_exists(tokenizer_path))
        return qk_fail(err, QK_E_IO, "%s: %s", tokenizer_path, strerror(ENOENT));
    if (tokenizer_path && !qk_path_is_folder(tokenizer_path) && strcmp(name_of(path), "tokenizer.json") != 0 &&
        strcmp(name_of(path), "tokenizer.model") != 0)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: expected a folder, a tokenizer.json or a tokenizer.model",
                       tokenizer_path);
    *folder = tokenizer_path && qk_path_is_folder(tokenizer_path) ? strdup(tokenizer_path) : folder_of(path);
    return *folder ? QK_OK : qk_out_of_memory(err, path, strlen(path));
}

static qk_status read_config(qk_model *model, const char *path, qk_error *err)
{
    json_error_t why;
    qk_map map;
    qk_status status = qk_map_open(&map, path, err);
    if (status) return status;
    json_t *config = json_loadb((const char *)map.data, map.size, JSON_REJECT_DUPLICATES, &why);
    if (!config) status = qk_fail(err, QK_E_FORMAT, "%s: line %d: %s", path, why.line, why.text);
    else if (!json_is_object(config)) status = qk_fail(err, QK_E_FORMAT, "%s: expected an object", path);
    if (!status) status = qk_config_of_json(&model->config, &model->arena, config, path, err);
    json_decref(config);
    qk_map_close(&map);
    return status;
}

qk_status qk_model_open_bare(qk_model **out, const char *config_path, const char *tokenizer_path, qk_error *err)
{
    qk_model *model = NULL;
    char *folder = NULL;
    qk_status status = qk_new_array(&model, 1, sizeof *model, "model", err);
    if (!status) status = read_config(model, config_path, err);
    if (!status) status = find_folder(&folder, config_path, tokenizer_path, err);
    if (!status) status = qk_ckpt_of_tensors(&model->ckpt, config_path, folder, NULL, 0, NULL, 0, err);
    if (!status) status = qk_tokenizer_open(&model->tokenizer, model->ckpt, err);
    if (status) goto out;
    size_t n_vocab = qk_tokenizer_describe(model->tokenizer)->n_vocab;
    if (n_vocab > (size_t)model->config.n_vocab) {
        status = qk_fail(err, QK_E_ARGUMENT, "%s: \"vocab_size\": expected at least the %zu tokens of %s, found %d",
                         config_path, n_vocab, folder, model->config.n_vocab);
        goto out;
    }
    *out = model;
    model = NULL;
out:
    qk_model_close(model);
    free(folder);
    return status;
}
