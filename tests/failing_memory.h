/* failing_memory.h - our own allocations, one of which fails on demand; linked with --wrap, so that no library's do. */
#ifndef QK_FAILING_MEMORY_H
#define QK_FAILING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

static long before_failure = -1; /* allocations that still succeed before one fails; -1: all */
static long n_allocations;       /* that were asked for */
static bool has_failed;

static bool fails(void)
{
    n_allocations++;
    if (before_failure < 0 || before_failure-- > 0) return false;
    has_failed = true;
    return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }
char *__wrap_strdup(const char *text) { return fails() ? NULL : __real_strdup(text); }
char *__wrap_strndup(const char *text, size_t n) { return fails() ? NULL : __real_strndup(text, n); }

#endif
