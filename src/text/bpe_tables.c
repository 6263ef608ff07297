/* bpe_tables.c - the tables of byte-pair encoding: merges by pair, priorities by score, single characters, bytes. */
#include "text/tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t pair_of(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

static size_t slot_of(const qk_bpe *bpe, uint64_t pair)
{
    uint64_t hash = pair * UINT64_C(0x9E3779B97F4A7C15);
    hash = (hash ^ hash >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    size_t mask = bpe->n_slots - 1, slot = (size_t)(hash ^ hash >> 32) & mask;
    while (bpe->pairs[slot] != UINT64_MAX && bpe->pairs[slot] != pair) slot = (slot + 1) & mask;
    return slot;
}

bool qk_bpe_pair(size_t *slot, const qk_bpe *bpe, int32_t left, int32_t right)
{
    if (bpe->n_slots == 0) return false;
    *slot = slot_of(bpe, pair_of(left, right));
    return bpe->pairs[*slot] != UINT64_MAX;
}

static bool grow_slots(qk_bpe *bpe)
{
    if (bpe->n_slots > 2 * (bpe->n_used + 1)) return true;
    qk_bpe old = *bpe;
    size_t n = old.n_slots ? 2 * old.n_slots : 1024;
    uint64_t *pairs = malloc(n * sizeof *pairs);
    uint32_t *ranks = malloc(n * sizeof *ranks);
    int32_t *merged = malloc(n * sizeof *merged);
    if (!pairs || !ranks || !merged) {
        free(pairs);
        free(ranks);
        free(merged);
        return false;
    }
    memset(pairs, 0xFF, n * sizeof *pairs);
    bpe->pairs = pairs;
    bpe->ranks = ranks;
    bpe->merged = merged;
    bpe->n_slots = n;
    for (size_t i = 0; i < old.n_slots; i++) {
        if (old.pairs[i] == UINT64_MAX) continue;
        size_t slot = slot_of(bpe, old.pairs[i]);
        pairs[slot] = old.pairs[i];
        ranks[slot] = old.ranks[i];
        merged[slot] = old.merged[i];
    }
    free(old.pairs);
    free(old.ranks);
    free(old.merged);
    return true;
}

/* A pair given twice takes the later rank, as in Hugging Face's reader. */
qk_status qk_bpe_add_merge(qk_bpe *bpe, uint32_t rank, int32_t left, int32_t right, int32_t merged, qk_error *err)
{
    if (!grow_slots(bpe)) return qk_out_of_memory(err, "merges", bpe->n_slots * 32);
    size_t slot = slot_of(bpe, pair_of(left, right));
    if (bpe->pairs[slot] == UINT64_MAX) bpe->n_used++;
    bpe->pairs[slot] = pair_of(left, right);
    bpe->ranks[slot] = rank;
    bpe->merged[slot] = merged;
    return QK_OK;
}

qk_status qk_bpe_add_merge_text(qk_tokenizer *t, uint32_t rank, const char *left, size_t n_left, const char *right,
                                size_t n_right, qk_error *err)
{
    qk_bytes joined = { 0 };
    qk_status status = QK_OK;
    int32_t ids[3] = { qk_vocabulary_find(&t->vocabulary, left, n_left),
                       qk_vocabulary_find(&t->vocabulary, right, n_right), -1 };
    if (!qk_bytes_add(&joined, left, n_left) || !qk_bytes_add(&joined, right, n_right)) {
        status = qk_out_of_memory(err, "merges", n_left + n_right);
        goto out;
    }
    ids[2] = qk_vocabulary_find(&t->vocabulary, joined.data, joined.n);
    if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0) {
        status = qk_fail(err, QK_E_FORMAT, "merge %u, \"%.*s\" + \"%.*s\": %s is not in the vocabulary", rank,
                         (int)(n_left < 80 ? n_left : 80), left, (int)(n_right < 80 ? n_right : 80), right,
                         ids[0] < 0   ? "the left part"
                         : ids[1] < 0 ? "the right part"
                                      : "what they make");
        goto out;
    }
    status = qk_bpe_add_merge(&t->bpe, rank, ids[0], ids[1], ids[2], err);
out:
    free(joined.data);
    return status;
}

typedef struct scored { float score; uint32_t id; } scored;

static int best_first(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

qk_status qk_bpe_rank_scores(qk_bpe *bpe, const qk_vocabulary *vocabulary, const float *scores, qk_error *err)
{
    scored *order = NULL;
    qk_status status = qk_new_array((void **)&order, vocabulary->n + 1, sizeof *order, "scores", err);
    if (!status)
        status = qk_new_array((void **)&bpe->priority, vocabulary->n + 1, sizeof *bpe->priority, "scores", err);
    for (size_t id = 0; !status && id < vocabulary->n; id++) {
        if (isnan(scores[id]))
            status = qk_fail(err, QK_E_FORMAT, "score of token %zu: expected a number, found NaN", id);
        order[id] = (scored){ scores[id], (uint32_t)id };
    }
    if (status) goto out;
    qsort(order, vocabulary->n, sizeof *order, best_first);
    uint32_t rank = 0;
    for (size_t i = 0; i < vocabulary->n; i++) { /* equal scores share a rank: then the leftmost merges first */
        if (i > 0 && order[i].score != order[i - 1].score) rank++;
        bpe->priority[order[i].id] = rank;
    }
out:
    free(order);
    return status;
}

static bool mark_inside(const char *text, size_t n_bytes)
{
    for (size_t i = 1; i + 3 <= n_bytes; i++)
        if (memcmp(text + i, QK_SPACE_MARK, 3) == 0 && (i < 3 || memcmp(text + i - 3, QK_SPACE_MARK, 3) != 0))
            return true;
    return false;
}

qk_status qk_bpe_finish(qk_bpe *bpe, const qk_vocabulary *vocabulary, qk_error *err)
{
    for (uint32_t c = 0; c < 0x800; c++) {
        uint8_t bytes[4];
        int length = qk_utf8_encode(bytes, c);
        bpe->characters[c] = qk_vocabulary_find(vocabulary, (char *)bytes, (size_t)length);
    }
    for (int b = 0; b < 256; b++) bpe->bytes[b] = -1;
    bpe->stops_at_mark = true;
    for (size_t id = 0; id < vocabulary->n; id++) {
        size_t n_bytes;
        const char *text = qk_vocabulary_text(&n_bytes, vocabulary, (int64_t)id);
        if (!text) continue;
        int byte = qk_byte_of_token(text, n_bytes);
        if (byte >= 0 && bpe->bytes[byte] < 0) bpe->bytes[byte] = (int32_t)id;
        if (mark_inside(text, n_bytes)) bpe->stops_at_mark = false;
        if (vocabulary->kinds[id] == QK_TOKEN_UNUSED) bpe->has_unused = true;
        if (bpe->priority && vocabulary->kinds[id] == QK_TOKEN_USER &&
            !qk_literals_add(&bpe->frozen, text, n_bytes, id))
            return qk_out_of_memory(err, "user-defined symbols", n_bytes);
    }
    if (bpe->has_unused) bpe->stops_at_mark = false; /* how such a piece falls apart depends on the whole text */
    qk_literals_sort(&bpe->frozen);
    return QK_OK;
}

void qk_bpe_free(qk_bpe *bpe)
{
    free(bpe->pairs);
    free(bpe->ranks);
    free(bpe->merged);
    free(bpe->priority);
    qk_literals_free(&bpe->frozen);
    *bpe = (qk_bpe){ 0 };
}
