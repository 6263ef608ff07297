/* gguf.c - reading a GGUF file (version 2 or 3, little endian): header, metadata (gguf_meta.c), a table of tensors,
 * then their data, each padded to the file's alignment. */
#include "ckpt/ckpt_private.h"

#include <stdlib.h>
#include <string.h>

#define MIN_TENSOR_BYTES (8 + 1 + 4 + 4 + 8) /* name of one byte, axes, type, offset */

/* A tensor type by its number in the file; those without a dtype are known and not supported. */
typedef struct tensor_type {
    const char *name;
    int dtype; /* qk_dtype, or -1 */
} tensor_type;

static const tensor_type tensor_types[] = {
    [0] = { "F32", QK_DTYPE_F32 }, [1] = { "F16", QK_DTYPE_F16 }, [2] = { "Q4_0", QK_DTYPE_Q4_0 }, [3] = { "Q4_1", -1 },
    [4] = { "Q4_2", -1 }, [5] = { "Q4_3", -1 }, [6] = { "Q5_0", -1 }, [7] = { "Q5_1", -1 },
    [8] = { "Q8_0", QK_DTYPE_Q8_0 }, [9] = { "Q8_1", -1 }, [10] = { "Q2_K", -1 }, [11] = { "Q3_K", -1 },
    [12] = { "Q4_K", -1 }, [13] = { "Q5_K", -1 }, [14] = { "Q6_K", -1 }, [15] = { "Q8_K", -1 },
    [16] = { "IQ2_XXS", -1 }, [17] = { "IQ2_XS", -1 }, [18] = { "IQ3_XXS", -1 }, [19] = { "IQ1_S", -1 },
    [20] = { "IQ4_NL", -1 }, [21] = { "IQ3_S", -1 }, [22] = { "IQ2_S", -1 }, [23] = { "IQ4_XS", -1 },
    [24] = { "I8", QK_DTYPE_I8 }, [25] = { "I16", QK_DTYPE_I16 }, [26] = { "I32", QK_DTYPE_I32 },
    [27] = { "I64", QK_DTYPE_I64 }, [28] = { "F64", QK_DTYPE_F64 }, [29] = { "IQ1_M", -1 },
    [30] = { "BF16", QK_DTYPE_BF16 }, [31] = { "Q4_0_4_4", -1 }, [32] = { "Q4_0_4_8", -1 }, [33] = { "Q4_0_8_8", -1 },
    [34] = { "TQ1_0", -1 }, [35] = { "TQ2_0", -1 }, [36] = { "IQ4_NL_4_4", -1 }, [37] = { "IQ4_NL_4_8", -1 },
    [38] = { "IQ4_NL_8_8", -1 }, [39] = { "MXFP4", -1 },
};
#define N_TENSOR_TYPES (sizeof tensor_types / sizeof *tensor_types)

typedef struct header {
    uint64_t n_tensors, n_pairs;
} header;

static qk_status read_header(header *out, qk_gguf_cursor *cursor, qk_error *err)
{
    const uint8_t *p;
    qk_status status = qk_gguf_take(&p, cursor, 8, "GGUF magic and version", err);
    if (status) return status;
    if (memcmp(p, "GGUF", 4) != 0)
        return qk_fail(err, QK_E_FORMAT, "%s: GGUF magic at byte 0: not found", cursor->path);
    uint32_t version = (uint32_t)qk_load_le(p + 4, 4);
    if ((version & 0xFFFF) == 0 && version != 0)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: GGUF version at byte 4: a big-endian file is not supported",
                       cursor->path);
    if (version != 2 && version != 3)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: GGUF version at byte 4: expected 2 or 3, found %u", cursor->path,
                       version);
    status = qk_gguf_take(&p, cursor, 16, "GGUF tensor and key counts", err);
    if (!status) *out = (header){ qk_load_le(p, 8), qk_load_le(p + 8, 8) };
    return status;
}

/* general.alignment, 32 where absent. */
static qk_status read_alignment(size_t *out, const qk_ckpt *ckpt, const char *path, qk_error *err)
{
    int64_t alignment = 32;
    bool is_int = qk_gguf_int(&alignment, ckpt, "general.alignment");
    size_t index;
    if (!is_int && qk_names_find(&index, &ckpt->keys, "general.alignment"))
        return qk_fail(err, QK_E_FORMAT, "%s: key \"general.alignment\": expected an integer", path);
    if (alignment < 8 || alignment > INT32_MAX || (alignment & (alignment - 1)) != 0)
        return qk_fail(err, QK_E_FORMAT, "%s: key \"general.alignment\": expected a power of two from 8, found %lld",
                       path, (long long)alignment);
    *out = (size_t)alignment;
    return QK_OK;
}

/* A model cut into several files holds only a part of its tensors. */
static qk_status refuse_split(const qk_ckpt *ckpt, const char *path, qk_error *err)
{
    int64_t n_files = 0;
    qk_gguf_int(&n_files, ckpt, "split.count");
    if (n_files <= 1) return QK_OK;
    return qk_fail(err, QK_E_UNSUPPORTED,
                   "%s: key \"split.count\": one of %lld files; split GGUF models are not supported, merge them first",
                   path, (long long)n_files);
}

/* Axes, fastest first in the file: turned. */
static qk_status read_shape(qk_tensor *tensor, qk_gguf_cursor *cursor, const qk_ckpt_file *file, qk_error *err)
{
    const uint8_t *p;
    size_t at = cursor->at;
    qk_status status = qk_gguf_take(&p, cursor, 4, tensor->name, err);
    if (status) return status;
    uint64_t n_dims = qk_load_le(p, 4);
    if (n_dims > QK_MAX_DIMS)
        return qk_tensor_fail(err, QK_E_FORMAT, file, tensor->name, "axes at byte %zu: expected at most %d, found %llu",
                              at, QK_MAX_DIMS, (unsigned long long)n_dims);
    status = qk_gguf_take(&p, cursor, 8 * (size_t)n_dims, tensor->name, err);
    if (status) return status;
    tensor->n_dims = (int)n_dims;
    for (size_t i = 0; i < n_dims; i++) tensor->shape[n_dims - 1 - i] = qk_load_le(p + 8 * i, 8);
    return QK_OK;
}

static qk_status read_type(qk_tensor *tensor, qk_gguf_cursor *cursor, const qk_ckpt_file *file, qk_error *err)
{
    const uint8_t *p;
    size_t at = cursor->at;
    qk_status status = qk_gguf_take(&p, cursor, 4, tensor->name, err);
    if (status) return status;
    uint64_t type = qk_load_le(p, 4);
    if (type >= N_TENSOR_TYPES)
        return qk_tensor_fail(err, QK_E_UNSUPPORTED, file, tensor->name, "type at byte %zu: number %llu is not known",
                              at, (unsigned long long)type);
    if (tensor_types[type].dtype < 0)
        return qk_tensor_fail(err, QK_E_UNSUPPORTED, file, tensor->name,
                              "type at byte %zu: %s is not supported (F32, F16, BF16, Q8_0 and Q4_0 are)", at,
                              tensor_types[type].name);
    tensor->dtype = (qk_dtype)tensor_types[type].dtype;
    size_t block = qk_dtype_describe(tensor->dtype)->block_elements;
    uint64_t fastest = tensor->n_dims ? tensor->shape[tensor->n_dims - 1] : 1;
    if (fastest % block)
        return qk_tensor_fail(err, QK_E_FORMAT, file, tensor->name,
                              "%s rows: expected a multiple of %zu entries, found %llu",
                              tensor_types[type].name, block, (unsigned long long)fastest);
    if (!qk_tensor_bytes(&tensor->n_bytes, tensor))
        return qk_tensor_fail(err, QK_E_FORMAT, file, tensor->name,
                              "the product of its shape, before byte %zu, overflows", at);
    return QK_OK;
}

/* The table of tensors; offsets[n] are left relative to the start of the data. */
static qk_status read_infos(uint64_t *offsets, size_t n, qk_ckpt *ckpt, qk_gguf_cursor *cursor,
                            const qk_ckpt_file *file, qk_error *err)
{
    const uint8_t *p;
    for (size_t i = 0; i < n; i++) {
        qk_tensor *tensor = &ckpt->tensors[ckpt->n_tensors];
        *tensor = (qk_tensor){ 0 };
        qk_status status = qk_gguf_take_name(&tensor->name, cursor, &ckpt->arena, "GGUF tensor name", err);
        if (!status) status = read_shape(tensor, cursor, file, err);
        if (!status) status = read_type(tensor, cursor, file, err);
        if (!status) status = qk_gguf_take(&p, cursor, 8, tensor->name, err);
        if (status) return status;
        offsets[i] = qk_load_le(p, 8);
        ckpt->n_tensors++;
    }
    return QK_OK;
}

/* Turn offsets into pointers, each inside the file and on the alignment. */
static qk_status place(qk_ckpt *ckpt, const uint64_t *offsets, size_t header_end, size_t alignment,
                       const qk_ckpt_file *file, qk_error *err)
{
    const qk_map *map = &file->map;
    size_t start = (header_end + alignment - 1) / alignment * alignment; /* size < 2^63 and alignment < 2^31 */
    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        qk_tensor *tensor = &ckpt->tensors[i];
        if (offsets[i] % alignment)
            return qk_tensor_fail(err, QK_E_FORMAT, file, tensor->name,
                                  "offset: expected a multiple of %zu, found %llu",
                                  alignment, (unsigned long long)offsets[i]);
        size_t left = map->size > start ? map->size - start : 0;
        if (offsets[i] > left || tensor->n_bytes > left - (size_t)offsets[i])
            return qk_tensor_fail(err, QK_E_FORMAT, file, tensor->name,
                                  "expected %zu bytes of data at offset %llu, found a data part of %zu bytes",
                                  tensor->n_bytes, (unsigned long long)offsets[i], left);
        tensor->data = left ? map->data + start + offsets[i] : map->data + map->size;
    }
    return qk_ckpt_check_layout(ckpt, 0, file, map->data, map->size, false, err);
}

qk_status qk_gguf_read(qk_ckpt *ckpt, const qk_ckpt_file *file, qk_error *err)
{
    qk_gguf_cursor cursor = { file->map.data, file->map.size, 0, file->path };
    uint64_t *offsets = NULL;
    size_t alignment = 0;
    header head = { 0, 0 };
    qk_status status = read_header(&head, &cursor, err);
    if (status) return status;
    if (head.n_tensors > cursor.size / MIN_TENSOR_BYTES)
        return qk_fail(err, QK_E_FORMAT,
                       "%s: GGUF tensor count at byte 8: expected at most %zu in a file of %zu bytes, found %llu",
                       file->path, cursor.size / MIN_TENSOR_BYTES, cursor.size, (unsigned long long)head.n_tensors);
    size_t n = (size_t)head.n_tensors;
    status = qk_gguf_read_metadata(ckpt, &cursor, head.n_pairs, err);
    if (!status) status = read_alignment(&alignment, ckpt, file->path, err);
    if (!status) status = refuse_split(ckpt, file->path, err);
    if (!status) status = qk_ckpt_reserve(ckpt, n, file->path, err);
    if (!status) status = qk_new_array(&offsets, n, sizeof *offsets, file->path, err);
    if (!status) status = read_infos(offsets, n, ckpt, &cursor, file, err);
    if (!status) status = place(ckpt, offsets, cursor.at, alignment, file, err);
    free(offsets);
    return status;
}
