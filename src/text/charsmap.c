/* charsmap.c - SentencePiece's precompiled normalization rules: a double-array trie from text to replacement.
 *
 * Layout: u32 size of the trie in bytes, the trie's u32 units, then replacements, each ended by NUL.  A unit: bit 31
 * set = a value (bits 0-30, offset of the replacement); otherwise bits 0-7 label, bit 8 has a value child, bit 9 and
 * bits 10-30 the offset to the children (shifted by 8 where bit 9 is set). */
#include "text/tokenizer.h"

#include <string.h>

struct qk_charsmap { const uint8_t *units; size_t n_units; const char *replacements; size_t n_replacements; };

qk_status qk_charsmap_new(qk_charsmap **out, const uint8_t *bytes, size_t n_bytes, qk_arena *arena, qk_error *err)
{
    uint32_t n_trie = 0;
    if (n_bytes >= 4) memcpy(&n_trie, bytes, 4);
    if (n_bytes < 4 || n_trie > n_bytes - 4 || n_trie % 4 != 0 || n_trie == 0)
        return qk_fail(err, QK_E_FORMAT, "normalization rules: a trie of %u bytes in %zu", n_trie, n_bytes);
    if (n_trie == n_bytes - 4 || bytes[n_bytes - 1] != 0)
        return qk_fail(err, QK_E_FORMAT, "normalization rules: expected replacements that end with NUL");
    char *copy = qk_arena_copy(arena, (const char *)bytes, n_bytes);
    qk_charsmap *map = qk_arena_alloc(arena, sizeof *map);
    if (!copy || !map) return qk_out_of_memory(err, "normalization rules", n_bytes);
    *map = (qk_charsmap){ (const uint8_t *)copy + 4, n_trie / 4, copy + 4 + n_trie, n_bytes - 4 - n_trie };
    *out = map;
    return QK_OK;
}

static uint32_t unit_at(const qk_charsmap *map, size_t index)
{
    uint32_t unit;
    memcpy(&unit, map->units + 4 * index, 4);
    return unit;
}

static size_t children_of(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

size_t qk_charsmap_find(const char **replacement, size_t *n_replacement, const qk_charsmap *map, const char *text,
                        size_t n_bytes)
{
    uint32_t unit = unit_at(map, 0);
    size_t node = children_of(unit), longest = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        uint8_t byte = (uint8_t)text[i];
        node ^= byte;
        if (byte == 0 || node >= map->n_units) break;
        unit = unit_at(map, node);
        if ((unit & (0x80000000u | 0xFF)) != byte) break;
        node ^= children_of(unit);
        if (!(unit & (1u << 8)) || node >= map->n_units) continue;
        size_t value = unit_at(map, node) & 0x7FFFFFFFu;
        bool whole = i + 1 == n_bytes || ((uint8_t)text[i + 1] & 0xC0) != 0x80; /* no rule for half a character */
        if (value >= map->n_replacements || !whole) continue;
        const char *found = map->replacements + value;
        size_t n_found = strlen(found); /* the last one ends with NUL: checked */
        if (qk_utf8_valid(found, n_found) != n_found) continue;
        longest = i + 1;
        *replacement = found;
        *n_replacement = n_found;
    }
    return longest;
}
