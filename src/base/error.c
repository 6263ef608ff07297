/* error.c - one line that says what went wrong; and allocations that say so when they fail. */
#include "base/base.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const char *qk_version(void) { return QK_VERSION; }

/* Names come from files: keep the message one clean line of UTF-8. */
static void clean(char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        int length = qk_utf8_length((const uint8_t *)text + i, n - i);
        bool control = (unsigned char)text[i] < 0x20 || text[i] == 0x7f;
        if (length == 0 || control) text[i] = '?';
        i += length > 0 ? (size_t)length : 1;
    }
}

/* Drop the incomplete character that truncation may have left at the end. */
static void trim_tail(char *text, size_t capacity)
{
    size_t n = strlen(text);
    if (n + 1 < capacity) return;
    while (n > 0 && ((unsigned char)text[n - 1] & 0xC0) == 0x80) n--;
    if (n > 0 && (unsigned char)text[n - 1] >= 0xC0) n--;
    text[n] = '\0';
}

qk_status qk_fail(qk_error *err, qk_status status, const char *format, ...)
{
    assert(format);
    if (!err) return status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    trim_tail(err->message, sizeof err->message);
    clean(err->message);
    err->status = status;
    return status;
}

qk_status qk_prefix(qk_error *err, qk_status status, const char *format, ...)
{
    if (!err) return status;
    char prefix[sizeof err->message], rest[sizeof err->message];
    memcpy(rest, err->message, sizeof rest);
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    return qk_fail(err, status, "%s: %s", prefix, rest);
}

qk_status qk_out_of_memory(qk_error *err, const char *what, size_t n_bytes)
{
    return qk_fail(err, QK_E_MEMORY, "%s: cannot allocate %zu bytes", what, n_bytes);
}

qk_status qk_new_array(void *out, size_t n, size_t size, const char *what, qk_error *err)
{
    size_t n_bytes;
    if (!qk_mul(n, size, &n_bytes)) return qk_fail(err, QK_E_MEMORY, "%s: %zu x %zu bytes overflow", what, n, size);
    void *p = calloc(n_bytes ? n : 1, n_bytes ? size : 1);
    if (!p) return qk_out_of_memory(err, what, n_bytes);
    memcpy(out, &p, sizeof p);
    return QK_OK;
}

qk_status qk_new_floats(float **out, size_t n, const char *what, qk_error *err)
{
    size_t n_bytes;
    if (!qk_mul(n, sizeof(float), &n_bytes) || !qk_add(n_bytes, 63, &n_bytes))
        return qk_fail(err, QK_E_MEMORY, "%s: %zu floats overflow", what, n);
    n_bytes = n_bytes / 64 * 64;
    if (n_bytes == 0) n_bytes = 64;
    float *p = aligned_alloc(64, n_bytes);
    if (!p) return qk_out_of_memory(err, what, n_bytes);
    memset(p, 0, n_bytes);
    *out = p;
    return QK_OK;
}
