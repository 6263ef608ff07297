/* gguf_meta.c - the key-value pairs of a GGUF file: checked once when opening, read from the map when asked for. */
#include "ckpt/ckpt_private.h"

#include <string.h>

typedef enum kind { UNSIGNED, SIGNED, FLOAT, BOOL, STRING, ARRAY } kind;

typedef struct value_type {
    const char *name;
    kind kind;
    size_t n_bytes; /* 0: depends on the value */
} value_type;

static const value_type value_types[] = { /* by the number in the file */
    { "uint8", UNSIGNED, 1 }, { "int8", SIGNED, 1 }, { "uint16", UNSIGNED, 2 }, { "int16", SIGNED, 2 },
    { "uint32", UNSIGNED, 4 }, { "int32", SIGNED, 4 }, { "float32", FLOAT, 4 }, { "bool", BOOL, 1 },
    { "string", STRING, 0 }, { "array", ARRAY, 0 }, { "uint64", UNSIGNED, 8 }, { "int64", SIGNED, 8 },
    { "float64", FLOAT, 8 },
};
#define N_VALUE_TYPES (sizeof value_types / sizeof *value_types)
#define MIN_PAIR_BYTES (8 + 4 + 1) /* key length, type, the smallest value */

struct qk_gguf_pair {
    const char *key;
    const value_type *type, *element; /* element: of an array, else NULL */
    size_t n;                         /* elements of an array; bytes of a string */
    const uint8_t *value;             /* the scalar, the string's bytes, the array's first element */
    const uint8_t **strings;          /* [n], each at its length field; only for arrays of strings */
};

qk_status qk_gguf_take(const uint8_t **out, qk_gguf_cursor *cursor, size_t n_bytes, const char *what, qk_error *err)
{
    size_t left = cursor->size - cursor->at;
    if (n_bytes > left)
        return qk_fail(err, QK_E_FORMAT,
                       "%s: %.200s at byte %zu: expected %zu bytes, found %zu before the end of the file",
                       cursor->path, what, cursor->at, n_bytes, left);
    *out = cursor->data + cursor->at;
    cursor->at += n_bytes;
    return QK_OK;
}

/* uint64 length, then that many bytes. */
static qk_status take_string(const uint8_t **out, size_t *n_bytes, qk_gguf_cursor *cursor, const char *what,
                             qk_error *err)
{
    const uint8_t *length;
    qk_status status = qk_gguf_take(&length, cursor, 8, what, err);
    if (status) return status;
    uint64_t n = qk_load_le(length, 8);
    status = qk_gguf_take(out, cursor, n > SIZE_MAX ? SIZE_MAX : (size_t)n, what, err);
    if (!status) *n_bytes = (size_t)n;
    return status;
}

qk_status qk_gguf_take_name(const char **out, qk_gguf_cursor *cursor, qk_arena *arena, const char *what, qk_error *err)
{
    size_t at = cursor->at, n;
    const uint8_t *bytes;
    qk_status status = take_string(&bytes, &n, cursor, what, err);
    if (status) return status;
    if (n == 0) return qk_fail(err, QK_E_FORMAT, "%s: %s at byte %zu: it is empty", cursor->path, what, at);
    if (qk_utf8_valid((const char *)bytes, n) != n || memchr(bytes, 0, n))
        return qk_fail(err, QK_E_FORMAT, "%s: %s at byte %zu: expected UTF-8 without NUL, found \"%.*s\"", cursor->path,
                       what, at, n < 160 ? (int)n : 160, (const char *)bytes);
    *out = qk_arena_copy(arena, (const char *)bytes, n);
    return *out ? QK_OK : qk_out_of_memory(err, cursor->path, n);
}

static qk_status take_type(const value_type **out, qk_gguf_cursor *cursor, const char *key, qk_error *err)
{
    const uint8_t *p;
    size_t at = cursor->at;
    qk_status status = qk_gguf_take(&p, cursor, 4, key, err);
    if (status) return status;
    uint64_t type = qk_load_le(p, 4);
    if (type >= N_VALUE_TYPES)
        return qk_fail(err, QK_E_FORMAT, "%s: key \"%.160s\": type at byte %zu: expected 0 to %zu, found %llu",
                       cursor->path, key, at, N_VALUE_TYPES - 1, (unsigned long long)type);
    *out = &value_types[type];
    return QK_OK;
}

/* Every byte of a bool must be 0 or 1. */
static qk_status check_bools(const uint8_t *values, size_t n, const qk_gguf_cursor *cursor, const char *key,
                             qk_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (values[i] > 1)
            return qk_fail(err, QK_E_FORMAT, "%s: key \"%.160s\": bool at byte %zu: expected 0 or 1, found %d",
                           cursor->path, key, (size_t)(values - cursor->data) + i, values[i]);
    return QK_OK;
}

/* Walk an array of strings once and remember where each begins. */
static qk_status take_strings(qk_gguf_pair *pair, qk_gguf_cursor *cursor, qk_arena *arena, qk_error *err)
{
    size_t n_bytes, ignored;
    if (!qk_mul(pair->n, sizeof *pair->strings, &n_bytes) || !(pair->strings = qk_arena_alloc(arena, n_bytes)))
        return qk_out_of_memory(err, cursor->path, pair->n);
    for (size_t i = 0; i < pair->n; i++) {
        const uint8_t *bytes;
        pair->strings[i] = cursor->data + cursor->at;
        qk_status status = take_string(&bytes, &ignored, cursor, pair->key, err);
        if (status) return status;
    }
    return QK_OK;
}

static qk_status take_array(qk_gguf_pair *pair, qk_gguf_cursor *cursor, qk_arena *arena, qk_error *err)
{
    const uint8_t *p;
    size_t n_bytes;
    qk_status status = take_type(&pair->element, cursor, pair->key, err);
    if (!status) status = qk_gguf_take(&p, cursor, 8, pair->key, err);
    if (status) return status;
    if (pair->element->kind == ARRAY)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: key \"%.160s\": an array of arrays is not supported", cursor->path,
                       pair->key);
    size_t smallest = pair->element->n_bytes ? pair->element->n_bytes : 8, left = cursor->size - cursor->at;
    uint64_t n = qk_load_le(p, 8);
    if (n > left / smallest)
        return qk_fail(err, QK_E_FORMAT,
                       "%s: key \"%.160s\": array length at byte %zu: expected at most %zu (%zu bytes left), "
                       "found %llu",
                       cursor->path, pair->key, cursor->at - 8, left / smallest, left, (unsigned long long)n);
    pair->n = (size_t)n;
    pair->value = cursor->data + cursor->at;
    if (pair->element->kind == STRING) return take_strings(pair, cursor, arena, err);
    n_bytes = pair->n * pair->element->n_bytes; /* <= left */
    status = qk_gguf_take(&pair->value, cursor, n_bytes, pair->key, err);
    if (!status && pair->element->kind == BOOL) status = check_bools(pair->value, pair->n, cursor, pair->key, err);
    return status;
}

static qk_status take_pair(qk_gguf_pair *pair, qk_gguf_cursor *cursor, qk_arena *arena, qk_error *err)
{
    qk_status status = qk_gguf_take_name(&pair->key, cursor, arena, "GGUF key", err);
    if (!status) status = take_type(&pair->type, cursor, pair->key, err);
    if (status) return status;
    if (pair->type->kind == ARRAY) return take_array(pair, cursor, arena, err);
    if (pair->type->kind == STRING) return take_string(&pair->value, &pair->n, cursor, pair->key, err);
    status = qk_gguf_take(&pair->value, cursor, pair->type->n_bytes, pair->key, err);
    if (!status && pair->type->kind == BOOL) status = check_bools(pair->value, 1, cursor, pair->key, err);
    return status;
}

qk_status qk_gguf_read_metadata(qk_ckpt *ckpt, qk_gguf_cursor *cursor, uint64_t n_pairs, qk_error *err)
{
    size_t left = cursor->size - cursor->at, n_bytes;
    if (n_pairs > left / MIN_PAIR_BYTES)
        return qk_fail(err, QK_E_FORMAT,
                       "%s: GGUF key count at byte 16: expected at most %zu (%zu bytes left), found %llu",
                       cursor->path, left / MIN_PAIR_BYTES, left, (unsigned long long)n_pairs);
    size_t n = (size_t)n_pairs;
    qk_status status = qk_names_make(&ckpt->keys, n, cursor->path, err);
    if (status) return status;
    if (!qk_mul(n, sizeof *ckpt->pairs, &n_bytes) || !(ckpt->pairs = qk_arena_alloc(&ckpt->arena, n_bytes)))
        return qk_out_of_memory(err, cursor->path, n);
    for (size_t i = 0; i < n; i++) {
        size_t at = cursor->at;
        status = take_pair(&ckpt->pairs[i], cursor, &ckpt->arena, err);
        if (status) return status;
        if (!qk_names_add(&ckpt->keys, ckpt->pairs[i].key, i))
            return qk_fail(err, QK_E_FORMAT, "%s: key \"%.160s\": expected once, found again at byte %zu", cursor->path,
                           ckpt->pairs[i].key, at);
    }
    return QK_OK;
}

/* ---- the getters */

static const qk_gguf_pair *find(const qk_ckpt *ckpt, const char *key)
{
    size_t index;
    return qk_names_find(&index, &ckpt->keys, key) ? &ckpt->pairs[index] : NULL;
}

static bool load_int(int64_t *out, const value_type *type, const uint8_t *p)
{
    if (type->kind > BOOL || type->kind == FLOAT) return false;
    uint64_t value = qk_load_le(p, type->n_bytes);
    if (type->kind == SIGNED && type->n_bytes < 8) { /* copy the sign bit upwards */
        uint64_t sign = UINT64_C(1) << (8 * type->n_bytes - 1);
        value = (value ^ sign) - sign;
    }
    if (type->kind == UNSIGNED && value > INT64_MAX) return false;
    *out = (int64_t)value;
    return true;
}

static bool load_float(double *out, const value_type *type, const uint8_t *p)
{
    int64_t integer;
    if (type->kind == FLOAT) {
        union { uint64_t u; double f; } wide = { qk_load_le(p, type->n_bytes) };
        union { uint32_t u; float f; } narrow = { (uint32_t)wide.u };
        return *out = type->n_bytes == 8 ? wide.f : narrow.f, true;
    }
    if (type->kind == BOOL || !load_int(&integer, type, p)) return false;
    *out = (double)integer;
    return true;
}

bool qk_gguf_string(const char **out, size_t *n_bytes, const qk_ckpt *ckpt, const char *key)
{
    const qk_gguf_pair *pair = find(ckpt, key);
    if (!pair || pair->type->kind != STRING) return false;
    *out = (const char *)pair->value;
    *n_bytes = pair->n;
    return true;
}

bool qk_gguf_int(int64_t *out, const qk_ckpt *ckpt, const char *key)
{
    const qk_gguf_pair *pair = find(ckpt, key);
    return pair && load_int(out, pair->type, pair->value);
}

bool qk_gguf_float(double *out, const qk_ckpt *ckpt, const char *key)
{
    const qk_gguf_pair *pair = find(ckpt, key);
    return pair && load_float(out, pair->type, pair->value);
}

bool qk_gguf_bool(bool *out, const qk_ckpt *ckpt, const char *key)
{
    const qk_gguf_pair *pair = find(ckpt, key);
    if (!pair || pair->type->kind != BOOL) return false;
    *out = *pair->value;
    return true;
}

bool qk_gguf_array(size_t *n, const qk_ckpt *ckpt, const char *key)
{
    const qk_gguf_pair *pair = find(ckpt, key);
    if (!pair || !pair->element) return false;
    *n = pair->n;
    return true;
}

/* The array's element, or NULL where there is no such array or element. */
static const qk_gguf_pair *find_element(const uint8_t **element, const qk_ckpt *ckpt, const char *key, size_t index)
{
    const qk_gguf_pair *pair = find(ckpt, key);
    if (!pair || !pair->element || index >= pair->n) return NULL;
    *element = pair->strings ? pair->strings[index] : pair->value + index * pair->element->n_bytes;
    return pair;
}

bool qk_gguf_array_string(const char **out, size_t *n_bytes, const qk_ckpt *ckpt, const char *key, size_t index)
{
    const uint8_t *at;
    const qk_gguf_pair *pair = find_element(&at, ckpt, key, index);
    if (!pair || pair->element->kind != STRING) return false;
    *n_bytes = (size_t)qk_load_le(at, 8);
    *out = (const char *)at + 8;
    return true;
}

bool qk_gguf_array_int(int64_t *out, const qk_ckpt *ckpt, const char *key, size_t index)
{
    const uint8_t *at;
    const qk_gguf_pair *pair = find_element(&at, ckpt, key, index);
    return pair && load_int(out, pair->element, at);
}

bool qk_gguf_array_float(double *out, const qk_ckpt *ckpt, const char *key, size_t index)
{
    const uint8_t *at;
    const qk_gguf_pair *pair = find_element(&at, ckpt, key, index);
    return pair && load_float(out, pair->element, at);
}
