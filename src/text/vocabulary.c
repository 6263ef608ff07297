/* vocabulary.c - tokens by id and by text. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *text, size_t n)
{
    uint64_t hash = n, word;
    while (n >= 8) {
        memcpy(&word, text, 8);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
        text += 8;
        n -= 8;
    }
    word = 0;
    if (n) memcpy(&word, text, n);
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

/* The slot that holds `text`, or the empty one where it would go. */
static size_t slot_of(const qk_vocabulary *v, const char *text, size_t n_bytes)
{
    size_t mask = v->n_slots - 1, slot = (size_t)hash_of(text, n_bytes) & mask;
    for (; v->slots[slot]; slot = (slot + 1) & mask) {
        uint32_t id = v->slots[slot] - 1;
        if (v->lengths[id] == n_bytes && memcmp(v->text.data + v->offsets[id], text, n_bytes) == 0) break;
    }
    return slot;
}

static bool grow_slots(qk_vocabulary *v)
{
    if (v->n_slots > 2 * (v->n_used + 1)) return true;
    uint32_t *old = v->slots;
    size_t n_old = v->n_slots;
    size_t n_slots = n_old ? 2 * n_old : 1024;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots) return false;
    v->slots = slots;
    v->n_slots = n_slots;
    for (size_t i = 0; i < n_old; i++) {
        if (!old[i]) continue;
        uint32_t id = old[i] - 1;
        v->slots[slot_of(v, v->text.data + v->offsets[id], v->lengths[id])] = id + 1;
    }
    free(old);
    return true;
}

static bool grow_ids(qk_vocabulary *v, size_t n)
{
    size_t a = v->capacity, b = v->capacity, c = v->capacity;
    if (n <= v->n) return true;
    if (!qk_grow(&v->offsets, &a, n, sizeof *v->offsets) || !qk_grow(&v->lengths, &b, n, sizeof *v->lengths) ||
        !qk_grow(&v->kinds, &c, n, sizeof *v->kinds))
        return false;
    v->capacity = a;
    memset(v->kinds + v->n, QK_TOKEN_HOLE, n - v->n);
    v->n = n;
    return true;
}

qk_status qk_vocabulary_put(qk_vocabulary *v, int64_t id, const char *text, size_t n_bytes, qk_token_kind kind,
                            bool hidden, qk_error *err)
{
    if (id < 0 || id >= QK_MAX_TOKEN_ID)
        return qk_fail(err, QK_E_FORMAT, "token id %lld: expected 0 to %lld", (long long)id,
                       (long long)QK_MAX_TOKEN_ID - 1);
    int shown = n_bytes < 100 ? (int)n_bytes : 100;
    hidden = hidden || n_bytes == 0;
    if ((uint64_t)id < v->n && v->kinds[id] != QK_TOKEN_HOLE)
        return qk_fail(err, QK_E_FORMAT, "token id %lld is given twice, the second time to \"%.*s\"", (long long)id,
                       shown, text);
    if (n_bytes > UINT32_MAX - v->text.n)
        return qk_fail(err, QK_E_FORMAT, "the texts of all tokens take more than 4 GiB");
    if (!grow_ids(v, (size_t)id + 1) || !grow_slots(v)) return qk_out_of_memory(err, "vocabulary", v->n * 16);
    size_t slot = hidden ? 0 : slot_of(v, text, n_bytes);
    if (!hidden && v->slots[slot])
        return qk_fail(err, QK_E_FORMAT, "token \"%.*s\" has two ids: %u and %lld", shown, text, v->slots[slot] - 1,
                       (long long)id);
    uint32_t offset = (uint32_t)v->text.n;
    if (!qk_bytes_add(&v->text, text, n_bytes)) return qk_out_of_memory(err, "vocabulary", n_bytes);
    v->offsets[id] = offset;
    v->lengths[id] = (uint32_t)n_bytes;
    v->kinds[id] = (uint8_t)kind;
    if (!hidden) {
        v->slots[slot] = (uint32_t)id + 1;
        v->n_used++;
    }
    return QK_OK;
}

int32_t qk_vocabulary_find(const qk_vocabulary *v, const char *text, size_t n_bytes)
{
    if (v->n_slots == 0 || n_bytes == 0) return -1;
    return (int32_t)v->slots[slot_of(v, text, n_bytes)] - 1;
}

int32_t qk_vocabulary_search(const qk_vocabulary *v, const char *text, size_t n_bytes)
{
    for (size_t id = 0; id < v->n && n_bytes > 0; id++)
        if (v->kinds[id] != QK_TOKEN_HOLE && v->lengths[id] == n_bytes &&
            memcmp(v->text.data + v->offsets[id], text, n_bytes) == 0)
            return (int32_t)id;
    return -1;
}

const char *qk_vocabulary_text(size_t *n_bytes, const qk_vocabulary *v, int64_t id)
{
    if (id < 0 || (uint64_t)id >= v->n || v->kinds[id] == QK_TOKEN_HOLE) return NULL;
    *n_bytes = v->lengths[id];
    return *n_bytes ? v->text.data + v->offsets[id] : "";
}

void qk_vocabulary_free(qk_vocabulary *v)
{
    free(v->text.data);
    free(v->offsets);
    free(v->lengths);
    free(v->kinds);
    free(v->slots);
    *v = (qk_vocabulary){ 0 };
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

int qk_byte_of_token(const char *text, size_t n_bytes)
{
    if (n_bytes != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}
