/* parse.c - numbers, sizes and lists of the command line.  Strict: the whole text must be the number. */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

qk_status cli_parse_count(uint64_t *out, const char *what, const char *text, uint64_t min, uint64_t max, qk_error *err)
{
    uint64_t n = 0;
    bool number = *text != '\0', overflow = false;
    for (const char *p = text; *p && number; p++) {
        number = *p >= '0' && *p <= '9';
        if (number)
            overflow |= __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n);
    }
    if (!number) return qk_fail(err, QK_E_ARGUMENT, "%s: expected a whole number, found '%s'", what, text);
    if (!overflow && n >= min && n <= max) {
        *out = n;
        return QK_OK;
    }
    if (max == UINT64_MAX && !overflow)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected at least %ju, found %s", what, (uintmax_t)min, text);
    return qk_fail(err, QK_E_ARGUMENT, "%s: expected %ju to %ju, found %s", what, (uintmax_t)min, (uintmax_t)max, text);
}

/* A decimal number at the start of text: digits, one point, an exponent.  strtod alone takes "inf", "0x1p3", " 5". */
static bool decimal(double *out, const char *text, char **end)
{
    const char *p = text + (*text == '-' || *text == '+');
    if (!isdigit((unsigned char)p[0]) && !(p[0] == '.' && isdigit((unsigned char)p[1]))) return false;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) return false;
    *out = strtod(text, end);
    return isfinite(*out);
}

qk_status cli_parse_number(double *out, const char *what, const char *text, double min, double max, qk_error *err)
{
    char *end = NULL;
    double x = 0;
    if (!decimal(&x, text, &end) || *end != '\0')
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected a finite number, found '%s'", what, text);
    if (!(x >= min && x <= max))
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected %g to %g, found %s", what, min, max, text);
    *out = x;
    return QK_OK;
}

qk_status cli_parse_bytes(uint64_t *out, const char *what, const char *text, qk_error *err)
{
    static const struct {
        char letter;
        double bytes;
    } units[] = {
        { 'k', 0x1p10 },
        { 'm', 0x1p20 },
        { 'g', 0x1p30 },
        { 't', 0x1p40 },
    };
    char *end = NULL;
    double x = 0, unit = 1;
    bool good = decimal(&x, text, &end) && x > 0;
    for (size_t i = 0; good && i < sizeof units / sizeof *units; i++) {
        if (tolower((unsigned char)*end) != units[i].letter) continue;
        unit = units[i].bytes;
        end++;
        if (end[0] == 'i' && end[1] == 'B')
            end += 2;
        else if (end[0] == 'B')
            end++;
        break;
    }
    if (!good || *end != '\0' || x * unit < 1 || x * unit >= 0x1p63)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected a size such as 8G, 512M or 1000000, found '%s'", what, text);
    *out = (uint64_t)(x * unit);
    return QK_OK;
}

qk_status cli_parse_ranges(uint8_t *mask, size_t n, const char *what, const char *unit, const char *text, qk_error *err)
{
    memset(mask, 0, n);
    for (const char *p = text;;) {
        char *end = NULL;
        if (!isdigit((unsigned char)*p)) break;
        errno = 0;
        unsigned long first = strtoul(p, &end, 10), last = first;
        if (*end == '-' && isdigit((unsigned char)end[1])) last = strtoul(end + 1, &end, 10);
        if (errno || (*end != ',' && *end != '\0') || last < first) break;
        if (last >= n)
            return qk_fail(err, QK_E_ARGUMENT, "%s: %s %lu: expected 0 to %zu", what, unit, last, n - 1);
        memset(mask + first, 1, last - first + 1);
        if (*end == '\0') return QK_OK;
        p = end + 1;
    }
    return qk_fail(err, QK_E_ARGUMENT, "%s: expected %ss such as 0-3,7, found '%s'", what, unit, text);
}

qk_status cli_split_list(cli_list *out, qk_arena *arena, const char *what, const char *text, qk_error *err)
{
    size_t n_pieces = 1, depth = 0, n = 0;
    for (const char *p = text; *p; p++) n_pieces += *p == ',';
    const char **items = qk_arena_alloc(arena, n_pieces * sizeof *items);
    if (!items) return qk_out_of_memory(err, what, n_pieces * sizeof *items);
    for (const char *start = text, *p = text;; p++) {
        if (*p == '{') depth++;
        if (*p == '}' && depth > 0) depth--;
        if (*p != '\0' && (*p != ',' || depth > 0)) continue;
        if (p == start) return qk_fail(err, QK_E_ARGUMENT, "%s: expected a list such as a,b, found '%s'", what, text);
        items[n] = qk_arena_copy(arena, start, (size_t)(p - start));
        if (!items[n++]) return qk_out_of_memory(err, what, (size_t)(p - start));
        if (*p == '\0') break;
        start = p + 1;
    }
    *out = (cli_list){ items, n };
    return QK_OK;
}
