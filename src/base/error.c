/* error.c - one line that says what went wrong; and allocations that say so when they fail. */
#include "base/base.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LONGEST_TEXT = 10000 /* bytes of a message before its middle is left out: two of the longest paths */ };

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

static bool inside_character(char byte) { return ((unsigned char)byte & 0xC0) == 0x80; }

/* `text` into the message.  Of a long one the middle is left out: names stand first, what is wrong with them last. */
static void keep_ends(char *message, size_t capacity, const char *text)
{
    static const char gap[] = " ... ";
    size_t n = strlen(text), room = capacity - sizeof gap;
    if (n < capacity) {
        memcpy(message, text, n + 1);
        return;
    }
    size_t head = room / 2, tail = n - (room - room / 2);
    for (int i = 0; i < 3 && inside_character(text[head]); i++) head--;
    for (int i = 0; i < 3 && inside_character(text[tail]); i++) tail++;
    memcpy(message, text, head);
    memcpy(message + head, gap, sizeof gap - 1);
    memcpy(message + head + sizeof gap - 1, text + tail, n - tail + 1);
}

qk_status qk_fail(qk_error *err, qk_status status, const char *format, ...)
{
    assert(format);
    if (!err) return status;
    char text[LONGEST_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    keep_ends(err->message, sizeof err->message, text);
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

enum { LINE = 64, LARGE_PAGE = 2 << 20 };

qk_status qk_new_scratch(float **out, size_t n, const char *what, qk_error *err)
{
    size_t n_bytes;
    void *p = NULL;
    if (!qk_mul(n, sizeof(float), &n_bytes)) return qk_fail(err, QK_E_MEMORY, "%s: %zu floats overflow", what, n);
    if (n_bytes == 0) n_bytes = LINE;
    size_t alignment = n_bytes < LARGE_PAGE ? LINE : LARGE_PAGE;
    if (posix_memalign(&p, alignment, n_bytes)) return qk_out_of_memory(err, what, n_bytes);
#ifdef MADV_HUGEPAGE
    if (n_bytes >= LARGE_PAGE) madvise(p, n_bytes / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE); /* a wish */
#endif
    *out = p;
    return QK_OK;
}

qk_status qk_new_floats(float **out, size_t n, const char *what, qk_error *err)
{
    qk_status status = qk_new_scratch(out, n, what, err);
    if (!status) memset(*out, 0, n * sizeof **out);
    return status;
}
