/* ckpt.c - the handle of an open checkpoint: files, tensors, names; what every format shares. */
#include "ckpt/ckpt_private.h"

#include <stdlib.h>
#include <string.h>

qk_status qk_ckpt_new(qk_ckpt **out, const char *path, const char *folder, size_t n_files, qk_error *err)
{
    qk_ckpt *ckpt;
    qk_status status = qk_new_array(&ckpt, 1, sizeof *ckpt, path, err);
    if (status) return status;
    status = qk_new_array(&ckpt->files, n_files, sizeof *ckpt->files, path, err);
    if (status) goto out;
    ckpt->path = qk_arena_copy(&ckpt->arena, path, strlen(path));
    ckpt->folder = qk_arena_copy(&ckpt->arena, folder, strlen(folder));
    if (!ckpt->path || !ckpt->folder) status = qk_out_of_memory(err, path, strlen(path) + strlen(folder));
out:
    if (status) qk_ckpt_close(ckpt);
    else *out = ckpt;
    return status;
}

qk_status qk_ckpt_add_file(qk_ckpt *ckpt, const char *path, qk_error *err)
{
    qk_ckpt_file *file = &ckpt->files[ckpt->n_files];
    file->path = qk_arena_copy(&ckpt->arena, path, strlen(path));
    if (!file->path) return qk_out_of_memory(err, path, strlen(path));
    qk_status status = qk_map_open(&file->map, path, err);
    if (!status) ckpt->n_files++;
    return status;
}

void qk_ckpt_close(qk_ckpt *ckpt)
{
    if (!ckpt) return;
    for (size_t i = 0; i < ckpt->n_files; i++)
        if (!ckpt->files[i].borrowed) qk_map_close(&ckpt->files[i].map);
    qk_names_free(&ckpt->names);
    qk_names_free(&ckpt->keys);
    json_decref(ckpt->config);
    json_decref(ckpt->metadata);
    qk_arena_free(&ckpt->arena);
    free(ckpt->tensors);
    free(ckpt->files);
    free(ckpt);
}

qk_status qk_ckpt_reserve(qk_ckpt *ckpt, size_t n, const char *path, qk_error *err)
{
    size_t total, n_bytes;
    if (!qk_add(ckpt->n_tensors, n, &total) || !qk_mul(total + 1, sizeof *ckpt->tensors, &n_bytes))
        return qk_fail(err, QK_E_MEMORY, "%s: %zu tensors overflow", path, n);
    qk_tensor *grown = realloc(ckpt->tensors, n_bytes);
    if (!grown) return qk_out_of_memory(err, path, n_bytes);
    ckpt->tensors = grown;
    return QK_OK;
}

qk_status qk_tensor_fail(qk_error *err, qk_status status, const qk_ckpt_file *file, const char *name,
                         const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return qk_fail(err, status, "%s: tensor \"%.160s\": %s", file->path, name, text);
}

bool qk_tensor_bytes(size_t *out, const qk_tensor *tensor)
{
    size_t n = 1;
    for (int i = 0; i < tensor->n_dims; i++)
        if (tensor->shape[i] == 0) return *out = 0, true; /* whatever the other axes say */
    for (int i = 0; i < tensor->n_dims; i++)
        if (tensor->shape[i] > SIZE_MAX || !qk_mul(n, (size_t)tensor->shape[i], &n)) return false;
    return qk_dtype_bytes(out, tensor->dtype, n);
}

/* By place; empty tensors before the one that begins where they lie. */
static int compare_place(const void *x, const void *y)
{
    const qk_tensor *a = x, *b = y;
    if (a->data != b->data) return a->data < b->data ? -1 : 1;
    if (a->n_bytes != b->n_bytes) return a->n_bytes < b->n_bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

qk_status qk_ckpt_check_layout(qk_ckpt *ckpt, size_t first, const qk_ckpt_file *file, const uint8_t *data,
                               size_t n_bytes, bool gapless, qk_error *err)
{
    qk_tensor *tensors = ckpt->tensors + first;
    size_t n = ckpt->n_tensors - first, end = 0; /* of the tensors so far, in bytes from data */
    if (n) qsort(tensors, n, sizeof *tensors, compare_place);
    for (size_t i = 0; i < n; i++) {
        size_t begin = (size_t)(tensors[i].data - data), at = (size_t)(tensors[i].data - file->map.data);
        if (begin < end)
            return qk_tensor_fail(err, QK_E_FORMAT, file, tensors[i].name,
                                  "its data at byte %zu overlaps the data of \"%.80s\" by %zu bytes", at,
                                  tensors[i - 1].name, end - begin);
        if (gapless && begin > end)
            return qk_tensor_fail(err, QK_E_FORMAT, file, tensors[i].name,
                                  "the %zu bytes before its data at byte %zu belong to no tensor", begin - end, at);
        end = begin + tensors[i].n_bytes;
    }
    if (gapless && end != n_bytes)
        return qk_fail(err, QK_E_FORMAT,
                       "%s: expected the file to end with its last tensor \"%.160s\", found %zu more bytes",
                       file->path, n ? tensors[n - 1].name : "(none)", n_bytes - end);
    return QK_OK;
}

static const qk_ckpt_file *file_of(const qk_ckpt *ckpt, const qk_tensor *tensor)
{
    for (size_t i = 0; i + 1 < ckpt->n_files; i++) {
        const qk_map *map = &ckpt->files[i].map;
        if (tensor->data >= map->data && tensor->data <= map->data + map->size) return &ckpt->files[i];
    }
    return &ckpt->files[ckpt->n_files - 1];
}

qk_status qk_ckpt_index(qk_ckpt *ckpt, qk_error *err)
{
    qk_status status = qk_names_make(&ckpt->names, ckpt->n_tensors, ckpt->path, err);
    if (status) return status;
    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const qk_tensor *tensor = &ckpt->tensors[i];
        ckpt->n_bytes += tensor->n_bytes; /* disjoint parts of mapped files: cannot overflow */
        if (qk_names_add(&ckpt->names, tensor->name, i)) continue;
        const qk_ckpt_file *file = file_of(ckpt, tensor);
        return qk_tensor_fail(err, QK_E_FORMAT, file, tensor->name, "expected once, found again with data at byte %zu",
                              (size_t)(tensor->data - file->map.data));
    }
    return QK_OK;
}

qk_status qk_json_parse(json_t **out, const char *path, const char *where, const void *bytes, size_t n_bytes, size_t at,
                        qk_error *err)
{
    json_error_t why;
    json_t *root = json_loadb(bytes, n_bytes, JSON_REJECT_DUPLICATES, &why);
    if (!root && json_error_code(&why) == json_error_out_of_memory) return qk_out_of_memory(err, path, n_bytes);
    if (!root)
        return qk_fail(err, QK_E_FORMAT, "%s: %s: not JSON at byte %zu: %s", path, where,
                       at + (why.position > 0 ? (size_t)why.position : 0), why.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return qk_fail(err, QK_E_FORMAT, "%s: %s: expected a JSON object", path, where);
    }
    *out = root;
    return QK_OK;
}

qk_status qk_json_read(json_t **out, const char *path, qk_error *err)
{
    qk_map map;
    qk_status status = qk_map_open(&map, path, err);
    if (status) return status;
    status = qk_json_parse(out, path, "whole file", map.data, map.size, 0, err);
    qk_map_close(&map);
    return status;
}

qk_format qk_ckpt_format(const qk_ckpt *ckpt) { return ckpt->format; }
const char *qk_ckpt_path(const qk_ckpt *ckpt) { return ckpt->path; }
const char *qk_ckpt_folder(const qk_ckpt *ckpt) { return ckpt->folder; }
size_t qk_ckpt_count(const qk_ckpt *ckpt) { return ckpt->n_tensors; }
uint64_t qk_ckpt_bytes(const qk_ckpt *ckpt) { return ckpt->n_bytes; }

/* The mapped file that holds the tensor; NULL where none does. */
static const qk_map *map_of(const qk_ckpt *ckpt, const qk_tensor *tensor)
{
    for (size_t i = 0; i < ckpt->n_files; i++) {
        const qk_ckpt_file *file = &ckpt->files[i];
        bool inside = tensor->data >= file->map.data && tensor->data < file->map.data + file->map.size;
        if (inside && !file->borrowed) return &file->map;
    }
    return NULL;
}

void qk_ckpt_expect(const qk_ckpt *ckpt, const qk_tensor *tensor)
{
    const qk_map *map = map_of(ckpt, tensor);
    if (map) qk_map_expect(map, (size_t)(tensor->data - map->data), tensor->n_bytes);
}

void qk_ckpt_release(const qk_ckpt *ckpt, const qk_tensor *tensor, size_t offset, size_t n_bytes)
{
    const qk_map *map = map_of(ckpt, tensor);
    if (map) qk_map_release(map, (size_t)(tensor->data - map->data) + offset, n_bytes);
}
const json_t *qk_ckpt_config(const qk_ckpt *ckpt) { return ckpt->config; }
const json_t *qk_ckpt_metadata(const qk_ckpt *ckpt) { return ckpt->metadata; }

const qk_tensor *qk_ckpt_at(const qk_ckpt *ckpt, size_t index)
{
    return index < ckpt->n_tensors ? &ckpt->tensors[index] : NULL;
}

const qk_tensor *qk_ckpt_find(const qk_ckpt *ckpt, const char *name)
{
    size_t index;
    return qk_names_find(&index, &ckpt->names, name) ? &ckpt->tensors[index] : NULL;
}

const qk_llama2c *qk_ckpt_llama2c(const qk_ckpt *ckpt)
{
    return ckpt->format == QK_FORMAT_LLAMA2C ? &ckpt->llama2c : NULL;
}
