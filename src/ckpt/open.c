/* open.c - what a path names: a file of some format (decided by its content), a folder, a repository in the cache. */
#include "ckpt/ckpt_private.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- one file */

static bool looks_like_gguf(const qk_map *map) { return map->size >= 4 && memcmp(map->data, "GGUF", 4) == 0; }

/* A length, then JSON. */
static bool looks_like_safetensors(const qk_map *map)
{
    return map->size >= 9 && map->data[8] == '{' && qk_load_le(map->data, 8) < UINT64_C(1) << 48;
}

/* Version 0 has no magic: seven small integers, all but the vocabulary positive.  That they give the file's exact size
 * is the reader's check, whose message says more. */
static bool looks_like_llama2c(const qk_map *map)
{
    if (map->size < 4) return false;
    if (qk_load_le(map->data, 4) == 0x616b3432) return true;
    for (size_t i = 0; i < 7; i++) {
        if (map->size < 4 * i + 4) return false;
        int32_t field = (int32_t)(uint32_t)qk_load_le(map->data + 4 * i, 4);
        if (field > 1 << 24 || (i == 5 ? field < -(1 << 24) || field == 0 : field < 1)) return false;
    }
    return true;
}

typedef struct file_kind {
    qk_format format;
    bool (*looks)(const qk_map *map);
    qk_reader *read;
} file_kind;

static const file_kind file_kinds[] = {
    { QK_FORMAT_GGUF, looks_like_gguf, qk_gguf_read },
    { QK_FORMAT_SAFETENSORS, looks_like_safetensors, qk_safetensors_read },
    { QK_FORMAT_LLAMA2C, looks_like_llama2c, qk_llama2c_read },
};

/* Files that people pass by mistake, by their first bytes. */
static const struct { size_t n_bytes; const char *bytes, *what; } strangers[] = {
    { 24, "version https://git-lfs.", "a Git LFS pointer, not the weights: fetch them with `git lfs pull`" },
    { 4, "PK\003\004", "a PyTorch (zip) file, which is not supported: save it as safetensors" },
    { 2, "\200\002", "a pickled PyTorch file, which is not supported: save it as safetensors" },
    { 6, "\223NUMPY", "a NumPy file" },
    { 8, "\211HDF\r\n\032\n", "an HDF5 file" },
    { 4, "lmgg", "an old ggml file, which is not supported: convert it to GGUF" },
    { 4, "fmgg", "an old ggml file (ggmf), which is not supported: convert it to GGUF" },
    { 4, "tjgg", "an old ggml file (ggjt), which is not supported: convert it to GGUF" },
};

static qk_status read_file(qk_ckpt *ckpt, qk_error *err)
{
    const qk_ckpt_file *file = &ckpt->files[0];
    for (size_t i = 0; i < sizeof file_kinds / sizeof *file_kinds; i++) {
        if (!file_kinds[i].looks(&file->map)) continue;
        ckpt->format = file_kinds[i].format;
        return file_kinds[i].read(ckpt, file, err);
    }
    const char *found = file->map.size ? "none of them" : "an empty file";
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        if (file->map.size >= strangers[i].n_bytes &&
            memcmp(file->map.data, strangers[i].bytes, strangers[i].n_bytes) == 0)
            found = strangers[i].what;
    return qk_fail(err, QK_E_FORMAT, "%s: expected a safetensors, GGUF or llama2.c file, found %s", file->path, found);
}

/* The folder part of a file's path; malloc'ed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* read NULL: by content. */
static qk_status open_file(qk_ckpt **out, const char *path, qk_reader *read, qk_error *err)
{
    qk_ckpt *ckpt = NULL;
    char *folder = folder_of(path);
    if (!folder) return qk_out_of_memory(err, path, strlen(path));
    qk_status status = qk_ckpt_new(&ckpt, path, folder, 1, err);
    if (!status) status = qk_ckpt_add_file(ckpt, path, err);
    if (!status) status = read ? read(ckpt, &ckpt->files[0], err) : read_file(ckpt, err);
    if (!status) status = qk_ckpt_index(ckpt, err);
    free(folder);
    if (status) qk_ckpt_close(ckpt);
    else *out = ckpt;
    return status;
}

qk_status qk_ckpt_open_safetensors(qk_ckpt **out, const char *path, qk_error *err)
{
    return open_file(out, path, qk_safetensors_read, err);
}

qk_status qk_ckpt_open_bytes(qk_ckpt **out, const uint8_t *bytes, size_t n_bytes, qk_reader *read, qk_error *err)
{
    qk_ckpt *ckpt;
    qk_status status = qk_ckpt_new(&ckpt, "memory", ".", 1, err);
    if (status) return status;
    ckpt->files[0] = (qk_ckpt_file){ .path = "memory", .map = { bytes, n_bytes }, .borrowed = true };
    ckpt->n_files = 1;
    status = read(ckpt, &ckpt->files[0], err);
    if (!status) status = qk_ckpt_index(ckpt, err);
    if (status) qk_ckpt_close(ckpt);
    else *out = ckpt;
    return status;
}

qk_status qk_ckpt_of_tensors(qk_ckpt **out, const char *path, const char *folder, const qk_tensor *tensors,
                             size_t n_tensors, const void *data, size_t n_bytes, qk_error *err)
{
    qk_ckpt *ckpt;
    qk_status status = qk_ckpt_new(&ckpt, path, folder, 1, err);
    if (status) return status;
    ckpt->files[0] = (qk_ckpt_file){ .path = ckpt->path, .map = { data, n_bytes }, .borrowed = true };
    ckpt->n_files = 1;
    ckpt->format = QK_FORMAT_SAFETENSORS;
    status = qk_ckpt_reserve(ckpt, n_tensors, path, err);
    for (size_t i = 0; i < n_tensors && !status; i++) {
        qk_tensor *tensor = &ckpt->tensors[ckpt->n_tensors++];
        *tensor = tensors[i];
        tensor->name = qk_arena_copy(&ckpt->arena, tensors[i].name, strlen(tensors[i].name));
        if (!tensor->name) status = qk_out_of_memory(err, path, strlen(tensors[i].name));
    }
    if (!status) status = qk_ckpt_index(ckpt, err);
    if (status) qk_ckpt_close(ckpt);
    else *out = ckpt;
    return status;
}

/* ---- a folder */

static bool has_ending(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && strcmp(name + n - m, ending) == 0;
}

/* The one file in the folder whose name has this ending: *out malloc'ed, NULL where there is none; *n_found counts. */
static qk_status find_only(char **out, size_t *n_found, const char *folder, const char *ending, qk_error *err)
{
    DIR *entries = opendir(folder);
    if (!entries) return qk_fail(err, QK_E_IO, "%s: %s", folder, strerror(errno));
    const struct dirent *entry;
    qk_status status = QK_OK;
    *out = NULL;
    *n_found = 0;
    while ((entry = readdir(entries))) {
        if (entry->d_name[0] == '.' || !has_ending(entry->d_name, ending) || (*n_found)++ > 0) continue;
        *out = qk_path_join(folder, entry->d_name);
        if (!*out) {
            status = qk_out_of_memory(err, folder, 0);
            break;
        }
    }
    closedir(entries);
    return status;
}

static qk_status nothing_there(const char *folder, size_t n_safetensors, size_t n_gguf, qk_error *err)
{
    char *pickled = qk_path_join(folder, "pytorch_model.bin");
    char *sharded = qk_path_join(folder, "pytorch_model.bin.index.json");
    const char *found = "";
    if ((pickled && qk_path_exists(pickled)) || (sharded && qk_path_exists(sharded)))
        found = "; found pytorch_model.bin, which is not supported: save it as safetensors";
    free(pickled);
    free(sharded);
    return qk_fail(err, QK_E_IO,
                   "%s: expected model.safetensors, model.safetensors.index.json, or one other .safetensors or .gguf "
                   "file, found %zu .safetensors and %zu .gguf%s", folder, n_safetensors, n_gguf, found);
}

/* The file that holds the weights where the folder is not sharded; *out malloc'ed. */
static qk_status find_weights(char **out, const char *folder, qk_error *err)
{
    size_t n_safetensors = 0, n_gguf = 0;
    char *safetensors = NULL, *gguf = NULL;
    qk_status status = find_only(&safetensors, &n_safetensors, folder, ".safetensors", err);
    if (!status && n_safetensors == 0) status = find_only(&gguf, &n_gguf, folder, ".gguf", err);
    if (!status && n_safetensors != 1 && n_gguf != 1) status = nothing_there(folder, n_safetensors, n_gguf, err);
    if (!status) *out = safetensors ? safetensors : gguf;
    if (status || safetensors != *out) free(safetensors);
    if (status || gguf != *out) free(gguf);
    return status;
}

/* config.json beside the weights. */
static qk_status read_config(qk_ckpt *ckpt, bool needed, qk_error *err)
{
    qk_status status = QK_OK;
    char *path = qk_path_join(ckpt->folder, "config.json");
    if (!path) return qk_out_of_memory(err, ckpt->folder, 0);
    if (qk_path_exists(path)) status = qk_json_read(&ckpt->config, path, err);
    else if (needed)
        status = qk_fail(err, QK_E_IO, "%s: expected config.json beside the weights, found none", ckpt->folder);
    free(path);
    return status;
}

static qk_status open_folder(qk_ckpt **out, const char *folder, qk_error *err)
{
    qk_ckpt *ckpt = NULL;
    qk_status status = QK_OK;
    char *whole = qk_path_join(folder, "model.safetensors");
    char *index = qk_path_join(folder, "model.safetensors.index.json");
    if (!whole || !index) {
        status = qk_out_of_memory(err, folder, strlen(folder));
    } else if (!qk_path_exists(whole) && qk_path_exists(index)) {
        status = qk_shards_open(&ckpt, folder, index, err);
    } else {
        if (!qk_path_exists(whole)) {
            free(whole);
            whole = NULL;
            status = find_weights(&whole, folder, err);
        }
        if (!status) status = open_file(&ckpt, whole, NULL, err);
    }
    free(whole);
    free(index);
    if (!status && ckpt->format == QK_FORMAT_SAFETENSORS) status = read_config(ckpt, true, err);
    if (status) qk_ckpt_close(ckpt);
    else *out = ckpt;
    return status;
}

qk_status qk_ckpt_open(qk_ckpt **out, const char *path, const char *cache_dir, qk_error *err)
{
    char *snapshot = NULL;
    qk_ckpt *ckpt = NULL;
    qk_status status = QK_OK;
    if (!qk_path_exists(path)) {
        if (!cache_dir) return qk_fail(err, QK_E_IO, "%s: no such file or folder", path);
        status = qk_cache_find(&snapshot, path, cache_dir, err);
        if (status) return status;
        path = snapshot;
    }
    if (qk_path_is_folder(path)) {
        status = open_folder(&ckpt, path, err);
    } else {
        status = open_file(&ckpt, path, NULL, err);
        if (!status && ckpt->format == QK_FORMAT_SAFETENSORS) status = read_config(ckpt, false, err);
    }
    free(snapshot);
    if (status) qk_ckpt_close(ckpt);
    else *out = ckpt;
    return status;
}
