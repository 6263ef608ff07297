/* lines.c - text files read strictly, line by line, with file and line in every message. */
#include "text/lines.h"

#include <string.h>

const char *qk_file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

size_t qk_line_of(const qk_map *file, size_t offset)
{
    size_t line = 1;
    const uint8_t *p = file->data, *end = file->data + offset;
    while ((p = memchr(p, '\n', (size_t)(end - p)))) {
        line++;
        p++;
    }
    return line;
}

size_t qk_text_start(const qk_map *file)
{
    return file->size >= 3 && memcmp(file->data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

qk_status qk_text_check(const char *path, const qk_map *file, size_t from, size_t n_bytes, qk_error *err)
{
    const char *text = (const char *)file->data + from;
    size_t valid = qk_utf8_valid(text, n_bytes);
    if (valid < n_bytes)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: expected UTF-8, found byte 0x%02x at offset %zu%s", path,
                       qk_line_of(file, from + valid), file->data[from + valid], from + valid,
                       from + valid == 0 && file->data[0] >= 0xFE ? " (a UTF-16 byte order mark)" : "");
    const char *nul = memchr(text, '\0', n_bytes);
    if (nul) {
        size_t offset = from + (size_t)(nul - text);
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: expected text, found a NUL byte at offset %zu", path,
                       qk_line_of(file, offset), offset);
    }
    return QK_OK;
}

/* ---- .jsonl */

const char *qk_json_kind(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "text", [JSON_INTEGER] = "an integer",
        [JSON_REAL] = "a number",    [JSON_TRUE] = "true",      [JSON_FALSE] = "false", [JSON_NULL] = "null"
    };
    return value ? names[json_typeof(value)] : "nothing";
}

qk_status qk_json_member(const char **out, size_t *n_bytes, const json_t *object, const char *key, bool optional,
                         qk_place place, qk_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (optional && (!value || json_is_null(value))) {
        *out = NULL;
        *n_bytes = 0;
        return QK_OK;
    }
    if (!json_is_string(value))
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"%s\": expected text, found %s", place.path, place.line, key,
                       qk_json_kind(value));
    const char *text = json_string_value(value);
    *n_bytes = json_string_length(value);
    if (memchr(text, '\0', *n_bytes))
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"%s\": expected text, found a NUL character in it", place.path,
                       place.line, key);
    *out = text;
    return QK_OK;
}

qk_status qk_json_id(const char **out, char digits[24], const json_t *object, qk_place place, qk_error *err)
{
    const json_t *id = json_object_get(object, "id");
    size_t n_bytes;
    if (json_is_integer(id)) {
        snprintf(digits, 24, "%" JSON_INTEGER_FORMAT, json_integer_value(id));
        *out = digits;
        return QK_OK;
    }
    qk_status status = qk_json_member(out, &n_bytes, object, "id", true, place, err);
    if (!status && *out && n_bytes == 0)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"id\": expected text, found an empty one", place.path,
                       place.line);
    return status;
}

static bool is_blank(const char *line, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') return false;
    return true;
}

static qk_status read_object(const char *text, size_t n_bytes, qk_place place, qk_line_visit *visit, void *user,
                             bool *enough, qk_error *err)
{
    json_error_t reason;
    json_t *object = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &reason);
    qk_status status;
    if (!object)
        status = qk_fail(err, QK_E_FORMAT, "%s:%zu: expected a JSON object, found at column %d: %s", place.path,
                         place.line, reason.column, reason.text);
    else if (!json_is_object(object))
        status = qk_fail(err, QK_E_FORMAT, "%s:%zu: expected a JSON object, found %s", place.path, place.line,
                         qk_json_kind(object));
    else
        status = visit(user, object, place, enough, err);
    json_decref(object);
    return status;
}

qk_status qk_json_lines(const char *path, const qk_map *file, qk_line_visit *visit, void *user, qk_error *err)
{
    size_t n_found = 0, line = 1;
    bool enough = false;
    for (size_t from = qk_text_start(file); from < file->size && !enough; line++) {
        const char *text = (const char *)file->data + from;
        const char *end = memchr(text, '\n', file->size - from);
        size_t n_bytes = end ? (size_t)(end - text) : file->size - from;
        qk_status status = qk_text_check(path, file, from, n_bytes, err);
        if (status) return status;
        from += n_bytes + (end != NULL);
        if (is_blank(text, n_bytes)) continue;
        n_found++;
        status = read_object(text, n_bytes, (qk_place){ path, line }, visit, user, &enough, err);
        if (status) return status;
    }
    if (n_found == 0)
        return qk_fail(err, QK_E_FORMAT, "%s:1: expected one JSON object a line, found none in %zu bytes", path,
                       file->size);
    return QK_OK;
}
