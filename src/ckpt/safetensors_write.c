/* safetensors_write.c - writing a .safetensors file: the header first, then the data in the order declared. */
#include "ckpt/ckpt_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct qk_safetensors_writer {
    qk_output output;
    size_t n_expected, n_written; /* bytes of data */
};

static json_t *shape_of(const qk_tensor_out *tensor)
{
    json_t *shape = json_array();
    for (int i = 0; shape && i < tensor->n_dims; i++)
        if (json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return shape;
}

/* Bytes of one declared tensor, refused where it could not be read back. */
static qk_status check_declared(size_t *n_bytes, const json_t *header, const qk_tensor_out *tensor, const char *path,
                                qk_error *err)
{
    qk_tensor like = { .dtype = tensor->dtype, .n_dims = tensor->n_dims };
    const char *name = tensor->name;
    if (qk_utf8_valid(name, strlen(name)) != strlen(name))
        return qk_fail(err, QK_E_ARGUMENT, "%s: tensor \"%.160s\": expected a name in UTF-8", path, name);
    if (strcmp(name, "__metadata__") == 0 || json_object_get(header, name))
        return qk_fail(err, QK_E_ARGUMENT, "%s: tensor \"%.160s\": expected a name that is not taken", path, name);
    if ((unsigned)tensor->dtype >= QK_N_DTYPES || qk_dtype_describe(tensor->dtype)->block_elements != 1)
        return qk_fail(err, QK_E_ARGUMENT, "%s: tensor \"%.160s\": its dtype has no place in safetensors", path, name);
    if (tensor->n_dims < 0 || tensor->n_dims > QK_MAX_DIMS)
        return qk_fail(err, QK_E_ARGUMENT, "%s: tensor \"%.160s\": expected 0 to %d axes, found %d", path, name,
                       QK_MAX_DIMS, tensor->n_dims);
    memcpy(like.shape, tensor->shape, sizeof like.shape);
    bool fits = qk_tensor_bytes(n_bytes, &like);
    for (int i = 0; i < tensor->n_dims; i++) fits = fits && tensor->shape[i] <= INT64_MAX;
    return fits ? QK_OK : qk_fail(err, QK_E_ARGUMENT, "%s: tensor \"%.160s\": its shape overflows", path, name);
}

/* One entry for each tensor; *total gets the bytes of all. */
static qk_status declare(json_t *header, size_t *total, const qk_tensor_out *tensors, size_t n, const char *path,
                         qk_error *err)
{
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        size_t begin = *total, n_bytes = 0;
        qk_status status = check_declared(&n_bytes, header, &tensors[i], path, err);
        if (status) return status;
        if (!qk_add(begin, n_bytes, total) || *total > INT64_MAX)
            return qk_fail(err, QK_E_ARGUMENT, "%s: tensor \"%.160s\": the file's size overflows", path,
                           tensors[i].name);
        json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", qk_dtype_describe(tensors[i].dtype)->name, "shape",
                                  shape_of(&tensors[i]), "data_offsets", (json_int_t)begin, (json_int_t)*total);
        if (json_object_set_new(header, tensors[i].name, entry) != 0) return qk_out_of_memory(err, path, n);
    }
    return QK_OK;
}

static qk_status describe(json_t *header, const char *const *metadata, size_t n_metadata, const char *path,
                          qk_error *err)
{
    if (n_metadata == 0) return QK_OK;
    json_t *object = json_object();
    if (json_object_set_new(header, "__metadata__", object) != 0) return qk_out_of_memory(err, path, n_metadata);
    for (size_t i = 0; i < n_metadata; i++) {
        const char *key = metadata[2 * i], *value = metadata[2 * i + 1];
        if (json_object_get(object, key))
            return qk_fail(err, QK_E_ARGUMENT, "%s: metadata \"%.160s\": expected a key that is not taken", path, key);
        if (json_object_set_new(object, key, json_string(value)) != 0)
            return qk_fail(err, QK_E_ARGUMENT, "%s: metadata \"%.160s\": expected UTF-8 (or out of memory)", path, key);
    }
    return QK_OK;
}

/* The length, the header, and spaces so that the data begins on a multiple of 8. */
static void put_header(FILE *stream, const char *text)
{
    size_t n = strlen(text), padded = (n + 7) / 8 * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    fwrite(length, 1, sizeof length, stream);
    fwrite(text, 1, n, stream);
    fprintf(stream, "%*s", (int)(padded - n), "");
}

qk_status qk_safetensors_start(qk_safetensors_writer **out, const char *path, const qk_tensor_out *declared,
                               size_t n_tensors, const char *const *metadata, size_t n_metadata, qk_error *err)
{
    char *text = NULL;
    qk_safetensors_writer *writer = NULL;
    json_t *header = json_object();
    qk_status status = header ? QK_OK : qk_out_of_memory(err, path, 0);
    if (!status) status = qk_new_array(&writer, 1, sizeof *writer, path, err);
    if (!status) status = describe(header, metadata, n_metadata, path, err);
    if (!status) status = declare(header, &writer->n_expected, declared, n_tensors, path, err);
    if (status) goto out;
    text = json_dumps(header, JSON_COMPACT);
    status = text ? qk_output_open(&writer->output, path, err) : qk_out_of_memory(err, path, 0);
    if (status) goto out;
    put_header(writer->output.stream, text);
out:
    free(text);
    json_decref(header);
    if (status) free(writer);
    else *out = writer;
    return status;
}

qk_status qk_safetensors_append(qk_safetensors_writer *writer, const void *bytes, size_t n_bytes, qk_error *err)
{
    const char *path = writer->output.path;
    if (n_bytes > writer->n_expected - writer->n_written)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected %zu bytes of data as declared, found %zu more than that", path,
                       writer->n_expected, n_bytes - (writer->n_expected - writer->n_written));
    errno = 0;
    if (n_bytes && fwrite(bytes, 1, n_bytes, writer->output.stream) != n_bytes)
        return qk_fail(err, QK_E_IO, "%s: cannot write its data at byte %zu: %s", path, writer->n_written,
                       strerror(errno ? errno : EIO));
    writer->n_written += n_bytes;
    return QK_OK;
}

qk_status qk_safetensors_finish(qk_safetensors_writer *writer, qk_error *err)
{
    qk_status status = QK_OK;
    if (writer->n_written != writer->n_expected)
        status = qk_fail(err, QK_E_ARGUMENT, "%s: expected %zu bytes of data as declared, found %zu",
                         writer->output.path, writer->n_expected, writer->n_written);
    else status = qk_output_commit(&writer->output, err);
    qk_safetensors_abandon(writer);
    return status;
}

void qk_safetensors_abandon(qk_safetensors_writer *writer)
{
    if (!writer) return;
    qk_output_discard(&writer->output);
    free(writer);
}

qk_status qk_safetensors_write(const char *path, const qk_tensor_out *tensors, size_t n_tensors,
                               const char *const *metadata, size_t n_metadata, qk_error *err)
{
    qk_safetensors_writer *writer;
    qk_status status = qk_safetensors_start(&writer, path, tensors, n_tensors, metadata, n_metadata, err);
    if (status) return status;
    for (size_t i = 0; !status && i < n_tensors; i++) {
        qk_tensor like = { .dtype = tensors[i].dtype, .n_dims = tensors[i].n_dims };
        size_t n_bytes = 0;
        memcpy(like.shape, tensors[i].shape, sizeof like.shape);
        qk_tensor_bytes(&n_bytes, &like); /* start has seen that it fits */
        status = qk_safetensors_append(writer, tensors[i].data, n_bytes, err);
    }
    if (!status) return qk_safetensors_finish(writer, err);
    qk_safetensors_abandon(writer);
    return status;
}
