/* utf8.c - UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "base/base.h"

static bool continues(uint8_t byte) { return (byte & 0xC0) == 0x80; }

int qk_utf8_length(const uint8_t *s, size_t n_bytes)
{
    if (n_bytes == 0) return 0;
    if (s[0] < 0x80) return 1;
    if (s[0] < 0xC2) return 0;
    if (s[0] < 0xE0) return n_bytes >= 2 && continues(s[1]) ? 2 : 0;
    if (s[0] < 0xF0) {
        if (n_bytes < 3 || !continues(s[1]) || !continues(s[2])) return 0;
        if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] >= 0xA0)) return 0;
        return 3;
    }
    if (s[0] < 0xF5) {
        if (n_bytes < 4 || !continues(s[1]) || !continues(s[2]) || !continues(s[3])) return 0;
        if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] >= 0x90)) return 0;
        return 4;
    }
    return 0;
}

size_t qk_utf8_valid(const char *text, size_t n_bytes)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t i = 0;
    while (i < n_bytes) {
        int length = qk_utf8_length(s + i, n_bytes - i);
        if (length == 0) return i;
        i += (size_t)length;
    }
    return n_bytes;
}

int qk_utf8_decode(uint32_t *codepoint, const uint8_t *s)
{
    if (s[0] < 0x80) return *codepoint = s[0], 1;
    if (s[0] < 0xE0) return *codepoint = (s[0] & 0x1Fu) << 6 | (s[1] & 0x3Fu), 2;
    if (s[0] < 0xF0) return *codepoint = (s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu), 3;
    *codepoint = (s[0] & 0x07u) << 18 | (s[1] & 0x3Fu) << 12 | (s[2] & 0x3Fu) << 6 | (s[3] & 0x3Fu);
    return 4;
}

bool qk_is_white_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

int qk_utf8_encode(uint8_t out[4], uint32_t c)
{
    if (c < 0x80) return out[0] = (uint8_t)c, 1;
    if (c < 0x800) return out[0] = (uint8_t)(0xC0 | c >> 6), out[1] = (uint8_t)(0x80 | (c & 0x3F)), 2;
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xE0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (c & 0x3F));
    return 4;
}
