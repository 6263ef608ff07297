/* judge_keys.c - what a model said in place of a key. */
#include "text/judge.h"

enum { LONGEST_KEY = 128 /* bytes; of longer ones the beginning is compared */ };

const char *qk_key_error_name(qk_key_error error)
{
    static const char *const names[QK_N_KEY_ERRORS] = { "exact",        "truncated", "near_miss",
                                                        "wrong_length", "generic",   "none" };
    return names[error];
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* What keys of this kind are written with: digits; or letters, bytes beyond ASCII, digits, hyphens, underscores. */
static bool is_part(char c, bool digits)
{
    return is_digit(c) || (!digits && (((c | 32) >= 'a' && (c | 32) <= 'z') || (unsigned char)c >= 0x80 ||
                                       c == '-' || c == '_'));
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c; }

static bool same(const char *a, const char *b, size_t n)
{
    while (n > 0 && lower(a[n - 1]) == lower(b[n - 1])) n--;
    return n == 0;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Insertions, deletions, replacements and swaps of neighbours that make one of the other (optimal string alignment). */
static size_t distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t row[3][LONGEST_KEY + 1];
    size_t *before = row[0], *last = row[1], *now = row[2];
    for (size_t k = 0; k <= n_b; k++) last[k] = k;
    for (size_t i = 1; i <= n_a; i++) {
        now[0] = i;
        for (size_t k = 1; k <= n_b; k++) {
            now[k] = smaller(last[k - 1] + !same(&a[i - 1], &b[k - 1], 1), smaller(last[k], now[k - 1]) + 1);
            if (i > 1 && k > 1 && same(&a[i - 1], &b[k - 2], 1) && same(&a[i - 2], &b[k - 1], 1))
                now[k] = smaller(now[k], before[k - 2] + 1);
        }
        size_t *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[n_b];
}

static bool is_truncated(const char *key, size_t n_key, const char *said, size_t n)
{
    return n < n_key && 2 * n >= n_key && (same(key, said, n) || same(key + n_key - n, said, n));
}

/* The candidate among the runs of key characters: the one nearest to the key, the first of them. */
static bool nearest(size_t *at, size_t *n_bytes, size_t *edits, const char *key, size_t n_key, const char *text,
                    size_t n)
{
    bool digits = true, any = false;
    for (size_t i = 0; i < n_key; i++) digits = digits && is_digit(key[i]);
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        if (!is_part(text[i], digits)) continue;
        while (end < n && is_part(text[end], digits)) end++;
        size_t far = distance(key, smaller(n_key, LONGEST_KEY), text + i, smaller(end - i, LONGEST_KEY));
        if (any && far >= *edits) continue;
        any = true;
        *at = i;
        *n_bytes = end - i;
        *edits = far;
    }
    return any;
}

qk_key_error qk_key_error_of(const char *key, size_t n_key, const char *text, size_t n_bytes)
{
    size_t at, n, edits = 0, few = n_key / 4 > 1 ? n_key / 4 : 1;
    if (!nearest(&at, &n, &edits, key, n_key, text, n_bytes)) return QK_KEY_NONE;
    if (n == n_key && same(key, text + at, n)) return QK_KEY_EXACT;
    if (is_truncated(key, n_key, text + at, n)) return QK_KEY_TRUNCATED;
    if (n != n_key) return QK_KEY_LENGTH;
    return edits <= few ? QK_KEY_NEAR_MISS : QK_KEY_GENERIC;
}
