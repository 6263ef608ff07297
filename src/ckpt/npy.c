/* npy.c - NumPy array files: a magic, a version, the header's length, the header (a Python dict), then the entries. */
#include "ckpt/ckpt_private.h"

#include <ctype.h>
#include <string.h>

#define MAGIC "\223NUMPY"
#define MAGIC_BYTES 6

static const struct { const char *descr; qk_dtype dtype; } descrs[] = {
    { "<f4", QK_DTYPE_F32 }, { "<f2", QK_DTYPE_F16 }, { "<f8", QK_DTYPE_F64 },
    { "<i8", QK_DTYPE_I64 }, { "<i4", QK_DTYPE_I32 },
};
#define N_DESCRS (sizeof descrs / sizeof *descrs)

/* What is left of the header's text. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_blanks(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

/* The text, after blanks, if it stands there. */
static bool accept(cursor *c, const char *text)
{
    size_t n = strlen(text);
    skip_blanks(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0) return false;
    c->at += n;
    return true;
}

/* A quoted string without escapes; borrowed. */
static bool accept_string(const char **out, size_t *n, cursor *c)
{
    skip_blanks(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    const char *begin = c->at + 1, *close = memchr(begin, *c->at, (size_t)(c->end - begin));
    if (!close) return false;
    *out = begin;
    *n = (size_t)(close - begin);
    c->at = close + 1;
    return true;
}

static bool accept_number(uint64_t *out, cursor *c)
{
    uint64_t value = 0;
    skip_blanks(c);
    if (c->at == c->end || !isdigit((unsigned char)*c->at)) return false;
    for (; c->at < c->end && isdigit((unsigned char)*c->at); c->at++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *c->at - '0', &value))
            return false;
    *out = value;
    return true;
}

/* (), (3,), (3, 4) */
static bool accept_shape(qk_tensor *tensor, cursor *c)
{
    if (!accept(c, "(")) return false;
    tensor->n_dims = 0;
    bool comma = true;
    while (!accept(c, ")")) {
        if (!comma || tensor->n_dims == QK_MAX_DIMS || !accept_number(&tensor->shape[tensor->n_dims], c)) return false;
        tensor->n_dims++;
        comma = accept(c, ",");
    }
    return tensor->n_dims != 1 || comma; /* (3) is a number in Python */
}

static qk_status find_dtype(qk_dtype *out, const char *descr, size_t n, const char *path, qk_error *err)
{
    for (size_t i = 0; i < N_DESCRS; i++)
        if (strlen(descrs[i].descr) == n && memcmp(descrs[i].descr, descr, n) == 0) {
            *out = descrs[i].dtype;
            return QK_OK;
        }
    return qk_fail(err, QK_E_UNSUPPORTED, "%s: dtype \"%.*s\" is not supported (<f4, <f2, <f8, <i8 and <i4 are)", path,
                   n < 40 ? (int)n : 40, descr);
}

/* {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } with the keys in any order, each once. */
static qk_status read_dict(qk_tensor *tensor, const char *path, const uint8_t *data, size_t begin, size_t end,
                           qk_error *err)
{
    cursor c = { (const char *)data + begin, (const char *)data + end };
    bool descr = false, order = false, shape = false, well = accept(&c, "{"), comma = true;
    while (well && !accept(&c, "}")) {
        const char *key, *value;
        size_t n_key, n_value;
        well = comma && accept_string(&key, &n_key, &c) && accept(&c, ":");
        if (!well) break;
        if (n_key == 5 && memcmp(key, "descr", 5) == 0 && !descr) {
            descr = well = accept_string(&value, &n_value, &c);
            qk_status status = well ? find_dtype(&tensor->dtype, value, n_value, path, err) : QK_OK;
            if (status) return status;
        } else if (n_key == 13 && memcmp(key, "fortran_order", 13) == 0 && !order) {
            if (accept(&c, "True")) return qk_fail(err, QK_E_UNSUPPORTED, "%s: Fortran order is not supported", path);
            order = well = accept(&c, "False");
        } else if (n_key == 5 && memcmp(key, "shape", 5) == 0 && !shape) {
            shape = well = accept_shape(tensor, &c);
        } else {
            well = false;
        }
        comma = accept(&c, ",");
    }
    skip_blanks(&c);
    if (well && descr && order && shape && c.at == c.end) return QK_OK;
    return qk_fail(err, QK_E_FORMAT,
                   "%s: NumPy header at byte %zu: expected {'descr': ..., 'fortran_order': False, 'shape': (...), }",
                   path, (size_t)(c.at - (const char *)data));
}

qk_status qk_npy_parse(qk_tensor *out, const qk_map *map, const char *path, qk_error *err)
{
    qk_tensor tensor = { .name = "" };
    if (map->size < 10 || memcmp(map->data, MAGIC, MAGIC_BYTES) != 0)
        return qk_fail(err, QK_E_FORMAT, "%s: expected a NumPy file, found %zu bytes without its magic", path,
                       map->size);
    int major = map->data[6];
    if (major < 1 || major > 3)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: NumPy format version at byte 6: expected 1 to 3, found %d", path,
                       major);
    size_t begin = major == 1 ? 10 : 12;
    uint64_t n_header = map->size < begin ? UINT64_MAX : qk_load_le(map->data + 8, begin - 8);
    if (map->size < begin || n_header > map->size - begin)
        return qk_fail(err, QK_E_FORMAT, "%s: NumPy header at byte 8: it ends after the file's %zu bytes", path,
                       map->size);
    size_t end = begin + (size_t)n_header;
    qk_status status = read_dict(&tensor, path, map->data, begin, end, err);
    if (status) return status;
    if (!qk_tensor_bytes(&tensor.n_bytes, &tensor))
        return qk_fail(err, QK_E_FORMAT, "%s: shape: its product overflows", path);
    if (tensor.n_bytes != map->size - end)
        return qk_fail(err, QK_E_FORMAT, "%s: expected %zu bytes of entries after byte %zu, found %zu", path,
                       tensor.n_bytes, end, map->size - end);
    tensor.data = map->data + end;
    *out = tensor;
    return QK_OK;
}

qk_status qk_npy_open(qk_npy *out, const char *path, qk_error *err)
{
    qk_npy npy;
    qk_status status = qk_map_open(&npy.map, path, err);
    if (status) return status;
    status = qk_npy_parse(&npy.tensor, &npy.map, path, err);
    if (status) qk_map_close(&npy.map);
    else *out = npy;
    return status;
}

void qk_npy_close(qk_npy *npy)
{
    qk_map_close(&npy->map);
    *npy = (qk_npy){ 0 };
}

/* Version 1.0: the dict, then spaces and a newline so that the entries begin on a multiple of 64. */
static void put_header(FILE *stream, const char *descr, const uint64_t *shape, int n_dims)
{
    char text[64 + 24 * QK_MAX_DIMS];
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < n_dims; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, i == 0 ? "%llu," : i == 1 ? " %llu" : ", %llu",
                      (unsigned long long)shape[i]);
    n += snprintf(text + n, sizeof text - (size_t)n, "), }");
    int padded = (10 + n + 1 + 63) / 64 * 64 - 10;
    fwrite(MAGIC "\1\0", 1, 8, stream);
    fwrite((uint8_t[]){ (uint8_t)padded, (uint8_t)(padded >> 8) }, 1, 2, stream);
    fprintf(stream, "%s%*s\n", text, padded - n - 1, "");
}

qk_status qk_npy_write(const char *path, qk_dtype dtype, const uint64_t *shape, int n_dims, const void *data,
                       qk_error *err)
{
    qk_tensor tensor = { .dtype = dtype, .n_dims = n_dims };
    const char *descr = NULL;
    qk_output output;
    for (size_t i = 0; i < N_DESCRS; i++)
        if (descrs[i].dtype == dtype) descr = descrs[i].descr;
    if (!descr) return qk_fail(err, QK_E_ARGUMENT, "%s: this dtype is not written to NumPy files", path);
    if (n_dims < 0 || n_dims > QK_MAX_DIMS)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected 0 to %d axes, found %d", path, QK_MAX_DIMS, n_dims);
    if (n_dims) memcpy(tensor.shape, shape, (size_t)n_dims * sizeof *shape);
    if (!qk_tensor_bytes(&tensor.n_bytes, &tensor)) return qk_fail(err, QK_E_ARGUMENT, "%s: its shape overflows", path);
    qk_status status = qk_output_open(&output, path, err);
    if (status) return status;
    put_header(output.stream, descr, shape, n_dims);
    if (tensor.n_bytes) fwrite(data, 1, tensor.n_bytes, output.stream);
    return qk_output_commit(&output, err);
}
