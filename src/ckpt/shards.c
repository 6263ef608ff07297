/* shards.c - a model in several safetensors files, and the index that says which tensor lies in which. */
#include "ckpt/ckpt_private.h"

#include <stdlib.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct file names of the index in order; names borrowed from it, *out malloc'ed. */
static qk_status list_files(const char ***out, size_t *n_out, json_t *weight_map, const char *index_path, qk_error *err)
{
    const char *tensor, **names;
    size_t n = 0, n_distinct = 0;
    json_t *value;
    qk_status status = qk_new_array(&names, json_object_size(weight_map), sizeof *names, index_path, err);
    if (status) return status;
    json_object_foreach(weight_map, tensor, value) {
        const char *name = json_string_value(value);
        if (!name || !*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            free(names);
            return qk_fail(err, QK_E_FORMAT,
                           "%s: weight_map: \"%.160s\": expected the name of a file in the same folder%s%.80s",
                           index_path, tensor, name ? ", found " : "", name ? name : "");
        }
        names[n++] = name;
    }
    qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++)
        if (n_distinct == 0 || strcmp(names[n_distinct - 1], names[i]) != 0) names[n_distinct++] = names[i];
    *out = names;
    *n_out = n_distinct;
    return QK_OK;
}

/* Every tensor of the file (those from `first` on) must be one that the index puts there. */
static qk_status check_file(const qk_ckpt *ckpt, size_t first, const json_t *weight_map, const char *name,
                            const char *index_path, qk_error *err)
{
    const qk_ckpt_file *file = &ckpt->files[ckpt->n_files - 1];
    for (size_t i = first; i < ckpt->n_tensors; i++) {
        const char *expected = json_string_value(json_object_get(weight_map, ckpt->tensors[i].name));
        if (!expected)
            return qk_tensor_fail(err, QK_E_FORMAT, file, ckpt->tensors[i].name, "not in the weight_map of %s",
                                  index_path);
        if (strcmp(expected, name) != 0)
            return qk_tensor_fail(err, QK_E_FORMAT, file, ckpt->tensors[i].name,
                                  "the weight_map of %s puts it into %.80s", index_path, expected);
    }
    return QK_OK;
}

/* Every tensor of the index must have been found in its file. */
static qk_status check_index(const qk_ckpt *ckpt, json_t *weight_map, const char *index_path, qk_error *err)
{
    const char *tensor;
    json_t *value;
    json_object_foreach(weight_map, tensor, value)
        if (!qk_ckpt_find(ckpt, tensor))
            return qk_fail(err, QK_E_FORMAT, "%s: weight_map: tensor \"%.160s\": expected in %.80s, not found there",
                           index_path, tensor, json_string_value(value));
    return QK_OK;
}

static qk_status read_shard(qk_ckpt *ckpt, const char *folder, const char *name, const json_t *weight_map,
                            const char *index_path, qk_error *err)
{
    char *path = qk_path_join(folder, name);
    size_t first = ckpt->n_tensors;
    if (!path) return qk_out_of_memory(err, name, strlen(name));
    qk_status status = QK_OK;
    if (!qk_path_exists(path))
        status = qk_fail(err, QK_E_IO, "%s: expected the shard \"%.160s\", found no such file", index_path, name);
    if (!status) status = qk_ckpt_add_file(ckpt, path, err);
    if (!status) status = qk_safetensors_read(ckpt, &ckpt->files[ckpt->n_files - 1], err);
    if (!status) status = check_file(ckpt, first, weight_map, name, index_path, err);
    free(path);
    return status;
}

qk_status qk_shards_open(qk_ckpt **out, const char *folder, const char *index_path, qk_error *err)
{
    json_t *index = NULL;
    const char **names = NULL;
    size_t n_names = 0;
    qk_ckpt *ckpt = NULL;
    qk_status status = qk_json_read(&index, index_path, err);
    if (status) return status;
    json_t *weight_map = json_object_get(index, "weight_map");
    if (json_object_size(weight_map) == 0) {
        status = qk_fail(err, QK_E_FORMAT, "%s: weight_map: expected an object of tensor names", index_path);
        goto out;
    }
    status = list_files(&names, &n_names, weight_map, index_path, err);
    if (!status) status = qk_ckpt_new(&ckpt, folder, folder, n_names, err);
    for (size_t i = 0; !status && i < n_names; i++)
        status = read_shard(ckpt, folder, names[i], weight_map, index_path, err);
    if (!status) status = qk_ckpt_index(ckpt, err);
    if (!status) status = check_index(ckpt, weight_map, index_path, err);
out:
    free(names);
    json_decref(index);
    if (status) qk_ckpt_close(ckpt);
    else *out = ckpt;
    return status;
}
