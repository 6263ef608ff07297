/* regex_translate.c - tokenizer.json writes its patterns for Oniguruma: the same pattern for PCRE2, or a refusal.
 *
 * Known differences: \s is White_Space there and more here (U+180E), \w there has marks and connectors, ^ and $ match
 * at every line, \p{Script} is the script alone, \h \v and {,n} mean other things. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "text/tokenizer.h"

#define SPACES "\\t-\\r\\x{85}\\p{Z}"
/* Letters, marks, digits, connectors, circled letters; outside a class also Latin-1's superscripts and fractions. */
#define WORDS                                                                                                          \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{"    \
    "1F189}"
#define WORDS_ALONE WORDS "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"

/* Letters behind a backslash that mean something else, or need brackets, in PCRE2.  NULL: not to be had in a class. */
static const struct { char letter; const char *outside, *in_class; } escapes[] = {
    { 's', "[" SPACES "]", SPACES }, { 'S', "[^" SPACES "]", NULL }, { 'd', "\\p{Nd}", "\\p{Nd}" },
    { 'D', "\\P{Nd}", "\\P{Nd}" },   { 'w', "[" WORDS_ALONE "]", WORDS }, { 'W', "[^" WORDS_ALONE "]", NULL },
    { 'n', "\\n", "\\n" },           { 'r', "\\r", "\\r" },          { 't', "\\t", "\\t" },
    { 'f', "\\f", "\\f" },           { 'v', "\\x{0B}", "\\x{0B}" },  { 'a', "\\a", "\\a" },
    { 'e', "\\e", "\\e" },           { 'A', "\\A", NULL },           { 'z', "\\z", NULL },
    { 'Z', "\\Z", NULL },
};

/* What may stand behind "(?" with the same meaning. */
static const char *const groups[] = { ":", "=", "!", "<=", "<!", ">", "i:", "-i:", "i)", "-i)" };

typedef struct scan { const char *s; size_t n, at; qk_bytes *out; qk_error *err; } scan;

static qk_status put(scan *p, const char *text, size_t n)
{
    return qk_bytes_add(p->out, text, n) ? QK_OK : qk_out_of_memory(p->err, "pattern", n);
}

static qk_status refuse(scan *p, const char *what, size_t n)
{
    size_t left = p->n - p->at;
    return qk_fail(p->err, QK_E_UNSUPPORTED, "pattern: %s at byte %zu (\"%.*s\") is not supported", what, p->at,
                   (int)(n < left ? n : left), p->s + p->at);
}

static bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* \xHH below 0x80, \x{H...}, \uHHHH */
static qk_status put_code(scan *p)
{
    const char *s = p->s + p->at;
    size_t left = p->n - p->at, digits = 0, start = left > 2 && s[1] == 'x' && s[2] == '{' ? 3 : 2;
    size_t most = start == 3 ? 6 : s[1] == 'x' ? 2 : 4;
    while (start + digits < left && digits < most && is_hex(s[start + digits])) digits++;
    bool closed = start + digits < left && s[start + digits] == '}';
    if (digits == 0 || (start == 3 && !closed) || (s[1] == 'u' && digits != 4) ||
        (start == 2 && s[1] == 'x' && digits == 2 && s[2] > '7'))
        return refuse(p, "character code", 10);
    qk_status status = put(p, "\\x{", 3);
    if (!status) status = put(p, s + start, digits);
    p->at += start + digits + (start == 3);
    return status ? status : put(p, "}", 1);
}

/* \p{Name}: one or two letters are a general category, the same everywhere; anything longer is taken for a script. */
static qk_status put_property(scan *p)
{
    const char *s = p->s + p->at, *close = NULL;
    size_t left = p->n - p->at;
    if (left > 3 && s[2] == '{') close = memchr(s, '}', left);
    if (!close) return refuse(p, "property", 10);
    size_t from = s[3] == '^' ? 4 : 3, n = (size_t)(close - s);
    if (n <= from) return refuse(p, "property", n + 1);
    for (size_t i = from; i < n; i++)
        if (!is_letter(s[i]) && s[i] != '_') return refuse(p, "property", n + 1);
    qk_status status = put(p, s, from);
#if PCRE2_MAJOR > 10 || PCRE2_MINOR >= 40
    if (!status && n - from > 2) status = put(p, "sc:", 3);
#endif
    if (!status) status = put(p, s + from, n - from + 1);
    p->at += n + 1;
    return status;
}

static qk_status put_escape(scan *p, bool in_class)
{
    if (p->at + 1 >= p->n) return refuse(p, "backslash at the end", 1);
    char c = p->s[p->at + 1];
    if (c == 'p' || c == 'P') return put_property(p);
    if (c == 'x' || c == 'u') return put_code(p);
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (escapes[i].letter != c) continue;
        const char *text = in_class ? escapes[i].in_class : escapes[i].outside;
        if (!text) break;
        p->at += 2;
        return put(p, text, strlen(text));
    }
    if (is_letter(c) || is_digit(c)) return refuse(p, in_class ? "escape in a class" : "escape", 2);
    /* A backslash before a character of several bytes says nothing. */
    qk_status status = (uint8_t)c < 0x80 ? put(p, p->s + p->at, 2) : QK_OK;
    p->at += (uint8_t)c < 0x80 ? 2 : 1;
    return status;
}

static qk_status put_class(scan *p)
{
    size_t n = p->at + 1 < p->n && p->s[p->at + 1] == '^' ? 2 : 1;
    qk_status status = put(p, p->s + p->at, n);
    p->at += n;
    for (bool first = true; !status && p->at < p->n; first = false) {
        char c = p->s[p->at];
        if (c == ']' && !first) {
            p->at++;
            return put(p, "]", 1);
        }
        if (c == '[') return refuse(p, "class inside a class", 8);
        if (c == '&' && p->at + 1 < p->n && p->s[p->at + 1] == '&') return refuse(p, "intersection of classes", 2);
        if (c == '\\') {
            status = put_escape(p, true);
        } else {
            status = put(p, &p->s[p->at], 1);
            p->at++;
        }
    }
    return status ? status : refuse(p, "class without an end", 1);
}

static qk_status put_group(scan *p)
{
    const char *s = p->s + p->at + 1;
    size_t left = p->n - p->at - 1, n = 1;
    if (left > 0 && s[0] == '*') return refuse(p, "group", 8);
    if (left > 0 && s[0] == '?') {
        n = 0;
        for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
            size_t length = strlen(groups[i]);
            if (left > length && memcmp(s + 1, groups[i], length) == 0) n = 2 + length;
        }
        if (n == 0) return refuse(p, "group", 8);
    }
    qk_status status = put(p, p->s + p->at, n);
    p->at += n;
    return status;
}

/* {n}, {n,}, {n,m}; a + behind it is possessive here, and a second quantifier there. */
static qk_status put_interval(scan *p)
{
    size_t end = p->at + 1;
    while (end < p->n && (is_digit(p->s[end]) || p->s[end] == ',')) end++;
    if (end == p->at + 1 || !is_digit(p->s[p->at + 1]) || end >= p->n || p->s[end] != '}' ||
        (end + 1 < p->n && p->s[end + 1] == '+'))
        return refuse(p, "interval", 8);
    qk_status status = put(p, p->s + p->at, end + 1 - p->at);
    p->at = end + 1;
    return status;
}

qk_status qk_regex_translate(qk_bytes *out, const char *pattern, size_t n_bytes, qk_error *err)
{
    scan p = { pattern, n_bytes, 0, out, err };
    qk_status status = QK_OK;
    while (!status && p.at < p.n) {
        switch (p.s[p.at]) {
        case '\\': status = put_escape(&p, false); break;
        case '[': status = put_class(&p); break;
        case '(': status = put_group(&p); break;
        case '{': status = put_interval(&p); break;
        case '^': p.at++, status = put(&p, "(?m:^)", 6); break;
        case '$': p.at++, status = put(&p, "(?m:$)", 6); break;
        default: status = put(&p, &p.s[p.at], 1), p.at++; break;
        }
    }
    return status;
}
