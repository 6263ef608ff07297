/* safetensors.c - reading one .safetensors file: 8 bytes of header length, the header as JSON, then the data of all
 * tensors without a gap. */
#include "ckpt/ckpt_private.h"

#include <string.h>

#define MAX_HEADER_BYTES ((size_t)100 * 1000 * 1000) /* as the format's own reader has it */

/* data_offsets: [begin, end] in bytes from the start of the data, which holds n_data bytes. */
static qk_status read_offsets(size_t *begin, size_t *end, const json_t *entry, size_t n_data, const qk_ckpt_file *file,
                              const char *name, qk_error *err)
{
    const json_t *pair = json_object_get(entry, "data_offsets");
    const json_t *a = json_array_get(pair, 0), *b = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_integer(a) || !json_is_integer(b))
        return qk_tensor_fail(err, QK_E_FORMAT, file, name, "data_offsets: expected two integers");
    json_int_t from = json_integer_value(a), to = json_integer_value(b);
    if (from < 0 || to < from || (uint64_t)to > n_data)
        return qk_tensor_fail(err, QK_E_FORMAT, file, name,
                              "data_offsets: expected 0 <= begin <= end <= %zu (the bytes after the header), "
                              "found %lld, %lld", n_data, (long long)from, (long long)to);
    *begin = (size_t)from;
    *end = (size_t)to;
    return QK_OK;
}

static qk_status read_shape(qk_tensor *tensor, const json_t *entry, const qk_ckpt_file *file, qk_error *err)
{
    const json_t *shape = json_object_get(entry, "shape"), *extent;
    size_t i;
    if (!json_is_array(shape)) return qk_tensor_fail(err, QK_E_FORMAT, file, tensor->name, "shape: expected an array");
    if (json_array_size(shape) > QK_MAX_DIMS)
        return qk_tensor_fail(err, QK_E_UNSUPPORTED, file, tensor->name, "shape: expected at most %d axes, found %zu",
                              QK_MAX_DIMS, json_array_size(shape));
    json_array_foreach((json_t *)(uintptr_t)shape, i, extent) {
        if (!json_is_integer(extent) || json_integer_value(extent) < 0)
            return qk_tensor_fail(err, QK_E_FORMAT, file, tensor->name, "shape: axis %zu: expected an integer >= 0", i);
        tensor->shape[i] = (uint64_t)json_integer_value(extent);
    }
    tensor->n_dims = (int)json_array_size(shape);
    return QK_OK;
}

static qk_status read_entry(qk_tensor *tensor, const json_t *entry, const uint8_t *data, size_t n_data,
                            const qk_ckpt_file *file, qk_error *err)
{
    const char *name = tensor->name;
    size_t begin = 0, end = 0;
    if (!json_is_object(entry)) return qk_tensor_fail(err, QK_E_FORMAT, file, name, "expected a JSON object");
    qk_status status = read_offsets(&begin, &end, entry, n_data, file, name, err);
    if (status) return status;
    size_t at = (size_t)(data - file->map.data) + begin;
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype) return qk_tensor_fail(err, QK_E_FORMAT, file, name, "dtype: expected a string");
    if (!qk_dtype_by_name(&tensor->dtype, dtype) || qk_dtype_describe(tensor->dtype)->block_elements != 1)
        return qk_tensor_fail(err, QK_E_UNSUPPORTED, file, name, "data at byte %zu: dtype \"%.40s\" is not supported",
                              at, dtype);
    status = read_shape(tensor, entry, file, err);
    if (status) return status;
    if (!qk_tensor_bytes(&tensor->n_bytes, tensor))
        return qk_tensor_fail(err, QK_E_FORMAT, file, name, "data at byte %zu: the product of its shape overflows", at);
    if (tensor->n_bytes != end - begin)
        return qk_tensor_fail(err, QK_E_FORMAT, file, name,
                              "data at byte %zu: expected %zu bytes (shape x %s), found data_offsets of %zu", at,
                              tensor->n_bytes, dtype, end - begin);
    tensor->data = data + begin;
    return QK_OK;
}

/* __metadata__ of all shards in one object; the first that says something about a key is kept. */
static qk_status read_metadata(qk_ckpt *ckpt, json_t *metadata, const qk_ckpt_file *file, qk_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return qk_fail(err, QK_E_FORMAT, "%s: __metadata__: expected a JSON object", file->path);
    json_object_foreach(metadata, key, value)
        if (!json_is_string(value))
            return qk_fail(err, QK_E_FORMAT, "%s: __metadata__: \"%.160s\": expected a string", file->path, key);
    if (!ckpt->metadata) ckpt->metadata = json_incref(metadata);
    else if (json_object_update_missing(ckpt->metadata, metadata) != 0) return qk_out_of_memory(err, file->path, 0);
    return QK_OK;
}

/* The header's text; its length is checked against the file. */
static qk_status find_header(size_t *n_header, const qk_ckpt_file *file, qk_error *err)
{
    const qk_map *map = &file->map;
    if (map->size < 8)
        return qk_fail(err, QK_E_FORMAT, "%s: safetensors header length: expected 8 bytes, found a file of %zu",
                       file->path, map->size);
    uint64_t n = qk_load_le(map->data, 8);
    if (n < 2 || n > map->size - 8)
        return qk_fail(err, QK_E_FORMAT,
                       "%s: safetensors header length at byte 0: expected 2 to %zu (the file has %zu bytes), "
                       "found %llu", file->path, map->size - 8, map->size, (unsigned long long)n);
    if (n > MAX_HEADER_BYTES)
        return qk_fail(err, QK_E_FORMAT, "%s: safetensors header length at byte 0: expected at most %zu, found %llu",
                       file->path, MAX_HEADER_BYTES, (unsigned long long)n);
    if (map->data[8] != '{')
        return qk_fail(err, QK_E_FORMAT, "%s: safetensors header at byte 8: expected '{'", file->path);
    *n_header = (size_t)n;
    return QK_OK;
}

qk_status qk_safetensors_read(qk_ckpt *ckpt, const qk_ckpt_file *file, qk_error *err)
{
    size_t n_header = 0, first = ckpt->n_tensors;
    json_t *header = NULL, *entry;
    const char *name;
    qk_status status = find_header(&n_header, file, err);
    if (status) return status;
    const uint8_t *data = file->map.data + 8 + n_header;
    size_t n_data = file->map.size - 8 - n_header;
    status = qk_json_parse(&header, file->path, "safetensors header", file->map.data + 8, n_header, 8, err);
    if (!status) status = qk_ckpt_reserve(ckpt, json_object_size(header), file->path, err);
    if (status) goto out;
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            status = read_metadata(ckpt, entry, file, err);
        } else {
            qk_tensor *tensor = &ckpt->tensors[ckpt->n_tensors];
            *tensor = (qk_tensor){ .name = qk_arena_copy(&ckpt->arena, name, strlen(name)) };
            status = tensor->name ? read_entry(tensor, entry, data, n_data, file, err)
                                  : qk_out_of_memory(err, file->path, strlen(name));
            ckpt->n_tensors++;
        }
        if (status) goto out;
    }
    status = qk_ckpt_check_layout(ckpt, first, file, data, n_data, true, err);
out:
    json_decref(header);
    return status;
}
