/* bpe.c - byte-pair encoding of one piece: symbols in a linked list, possible merges in a heap, best and leftmost
 * first. */
#include "text/tokenizer.h"

#include <string.h>

/* ---- what a merge gives */

static void weigh_pair(const qk_bpe *bpe, qk_symbol *left, const qk_symbol *right)
{
    if (left->id < 0 || right->id < 0) return;
    size_t slot;
    if (!qk_bpe_pair(&slot, bpe, left->id, right->id)) return;
    left->rank = bpe->ranks[slot];
    left->merged = bpe->merged[slot];
}

static void weigh_text(qk_work *work, const char *text, qk_symbol *left, const qk_symbol *right)
{
    const qk_bpe *bpe = &work->tokenizer->bpe;
    const qk_vocabulary *vocabulary = &work->tokenizer->vocabulary;
    if (left->frozen || right->frozen) return;
    int32_t id = qk_vocabulary_find(vocabulary, text + left->start, (size_t)left->n_bytes + right->n_bytes);
    if (id < 0) return;
    left->rank = bpe->priority[id];
    left->merged = id;
    if (work->unused_left && vocabulary->kinds[id] == QK_TOKEN_UNUSED) work->unused_left[id] = left->n_bytes;
}

static bool push(qk_work *work, uint64_t key)
{
    if (!qk_grow(&work->heap, &work->heap_capacity, work->n_heap + 1, sizeof *work->heap)) return false;
    size_t i = work->n_heap++;
    for (; i > 0 && work->heap[(i - 1) / 2] > key; i = (i - 1) / 2) work->heap[i] = work->heap[(i - 1) / 2];
    work->heap[i] = key;
    return true;
}

static uint64_t pop(qk_work *work)
{
    uint64_t *heap = work->heap, top = heap[0], last = heap[--work->n_heap];
    size_t i = 0, n = work->n_heap;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= last) break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

/* Look at `left` and its next, and queue their merge where there is one. */
static bool queue(qk_work *work, const char *text, uint32_t left)
{
    qk_symbol *symbol = &work->symbols[left];
    symbol->rank = QK_NONE;
    if (symbol->next == QK_NONE) return true;
    if (work->tokenizer->bpe.priority) weigh_text(work, text, symbol, &work->symbols[symbol->next]);
    else weigh_pair(&work->tokenizer->bpe, symbol, &work->symbols[symbol->next]);
    return symbol->rank == QK_NONE || push(work, (uint64_t)symbol->rank << 32 | left);
}

/* Merge symbols[first, end) until nothing merges; the last one's next must be QK_NONE while this runs. */
static qk_status merge_run(qk_work *work, const char *text, uint32_t first, uint32_t end)
{
    qk_symbol *symbols = work->symbols;
    work->n_heap = 0;
    for (uint32_t i = first; i + 1 < end; i++)
        if (!queue(work, text, i)) return qk_work_fail_memory(work);
    while (work->n_heap) {
        uint64_t key = pop(work);
        uint32_t left = (uint32_t)key;
        qk_symbol *symbol = &symbols[left];
        if (symbol->n_bytes == 0 || symbol->rank != key >> 32) continue; /* no longer there */
        qk_symbol *right = &symbols[symbol->next];
        symbol->n_bytes += right->n_bytes;
        symbol->id = symbol->merged;
        symbol->next = right->next;
        right->n_bytes = 0;
        if (symbol->next != QK_NONE) symbols[symbol->next].previous = left;
        if (!queue(work, text, left)) return qk_work_fail_memory(work);
        if (symbol->previous != QK_NONE && !queue(work, text, symbol->previous)) return qk_work_fail_memory(work);
    }
    return QK_OK;
}

/* ---- symbols to begin with */

static bool add_symbol(qk_work *work, size_t *n, size_t start, size_t n_bytes, int32_t id, bool frozen)
{
    if (!qk_grow(&work->symbols, &work->symbols_capacity, *n + 1, sizeof *work->symbols)) return false;
    work->symbols[*n] = (qk_symbol){
        .start = (uint32_t)start, .n_bytes = (uint32_t)n_bytes, .rank = QK_NONE, .id = id, .frozen = frozen
    };
    ++*n;
    return true;
}

static int32_t character_id(const qk_tokenizer *t, const char *text, int length)
{
    const uint8_t *s = (const uint8_t *)text;
    if (length == 1) return t->bpe.characters[s[0]];
    if (length == 2) return t->bpe.characters[(s[0] & 0x1Fu) << 6 | (s[1] & 0x3Fu)];
    return qk_vocabulary_find(&t->vocabulary, text, (size_t)length);
}

static bool all_bytes_known(const qk_bpe *bpe, const char *text, int length)
{
    for (int i = 0; i < length; i++)
        if (bpe->bytes[(uint8_t)text[i]] < 0) return false;
    return true;
}

/* SentencePiece: user-defined symbols and characters; what is unknown stays -1 until the merges are done. */
static qk_status split_for_scores(qk_work *work, size_t *n, const char *text, size_t n_bytes)
{
    const qk_tokenizer *t = work->tokenizer;
    for (size_t at = 0, index, length; at < n_bytes; at += length) {
        length = qk_literals_longest(&index, &t->bpe.frozen, text + at, n_bytes - at);
        bool frozen = length > 0;
        if (!frozen) length = (size_t)qk_utf8_length((const uint8_t *)text + at, n_bytes - at);
        int32_t id = frozen ? (int32_t)index : character_id(t, text + at, (int)length);
        if (!add_symbol(work, n, at, length, id, frozen)) return qk_work_fail_memory(work);
    }
    return QK_OK;
}

/* tokenizer.json: characters; an unknown one becomes its bytes, or <unk> (neighbours fused or not), or nothing. */
static qk_status split_for_pairs(qk_work *work, size_t *n, const char *text, size_t n_bytes)
{
    const qk_tokenizer *t = work->tokenizer;
    size_t unknown_start = 0, unknown_end = 0;
    bool ok = true;
    for (size_t at = 0; ok && at < n_bytes;) {
        int length = qk_utf8_length((const uint8_t *)text + at, n_bytes - at);
        int32_t id = character_id(t, text + at, length);
        if (id < 0 && t->bpe.byte_fallback && all_bytes_known(&t->bpe, text + at, length)) {
            for (int i = 0; ok && i < length; i++)
                ok = add_symbol(work, n, at + (size_t)i, 1, t->bpe.bytes[(uint8_t)text[at + (size_t)i]], false);
            at += (size_t)length;
            continue;
        }
        bool pending = unknown_end > unknown_start;
        if (pending && (id >= 0 || !t->bpe.fuse_unknown)) {
            ok = add_symbol(work, n, unknown_start, unknown_end - unknown_start, t->bpe.unknown, false);
            pending = false;
            unknown_start = unknown_end = 0;
        }
        if (ok && id >= 0) ok = add_symbol(work, n, at, (size_t)length, id, false);
        if (id < 0 && t->bpe.unknown >= 0) {
            if (!pending) unknown_start = at;
            unknown_end = at + (size_t)length;
        }
        at += (size_t)length;
    }
    if (ok && unknown_end > unknown_start)
        ok = add_symbol(work, n, unknown_start, unknown_end - unknown_start, t->bpe.unknown, false);
    return ok ? QK_OK : qk_work_fail_memory(work);
}

/* ---- tokens to end with */

static qk_status emit_unknown(qk_work *work, const char *text, size_t n_bytes, bool *after_unknown)
{
    const qk_bpe *bpe = &work->tokenizer->bpe;
    bool ok = true;
    if (bpe->byte_fallback && all_bytes_known(bpe, text, (int)n_bytes)) {
        for (size_t i = 0; ok && i < n_bytes; i++) ok = qk_work_emit(work, bpe->bytes[(uint8_t)text[i]]);
    } else if (!*after_unknown) { /* a run of unknown characters is one <unk> */
        ok = qk_work_emit(work, bpe->unknown);
        *after_unknown = true;
    }
    return ok ? QK_OK : qk_work_fail_memory(work);
}

/* One merged symbol of SentencePiece: a piece, an UNUSED piece that falls apart the way it was last put together, or
 * an unknown character.  Right parts wait on the heap, which is idle now: start << 32 | bytes. */
static qk_status emit_scored(qk_work *work, const char *text, const qk_symbol *symbol, bool *after_unknown)
{
    const qk_vocabulary *vocabulary = &work->tokenizer->vocabulary;
    if (!work->unused_left || symbol->id < 0 || vocabulary->kinds[symbol->id] != QK_TOKEN_UNUSED) {
        if (symbol->id < 0) return emit_unknown(work, text + symbol->start, symbol->n_bytes, after_unknown);
        *after_unknown = false;
        return qk_work_emit(work, symbol->id) ? QK_OK : qk_work_fail_memory(work);
    }
    work->n_heap = 0;
    uint64_t part = (uint64_t)symbol->start << 32 | symbol->n_bytes;
    for (;;) {
        uint32_t start = (uint32_t)(part >> 32), n_bytes = (uint32_t)part;
        int32_t id = qk_vocabulary_find(vocabulary, text + start, n_bytes);
        bool unused = id >= 0 && vocabulary->kinds[id] == QK_TOKEN_UNUSED;
        uint32_t left = unused ? work->unused_left[id] : 0;
        if (left > 0 && left < n_bytes) {
            if (!qk_grow(&work->heap, &work->heap_capacity, work->n_heap + 1, sizeof *work->heap))
                return qk_work_fail_memory(work);
            work->heap[work->n_heap++] = (uint64_t)(start + left) << 32 | (n_bytes - left);
            part = (uint64_t)start << 32 | left;
            continue;
        }
        if (id < 0 || unused) { /* a single character that is not used is unknown */
            qk_status status = emit_unknown(work, text + start, n_bytes, after_unknown);
            if (status) return status;
        } else {
            *after_unknown = false;
            if (!qk_work_emit(work, id)) return qk_work_fail_memory(work);
        }
        if (work->n_heap == 0) return QK_OK;
        part = work->heap[--work->n_heap];
    }
}

static bool begins_with_mark(const char *text, const qk_symbol *symbol)
{
    return symbol->n_bytes >= 3 && memcmp(text + symbol->start, QK_SPACE_MARK, 3) == 0;
}

static bool ends_with_mark(const char *text, const qk_symbol *symbol)
{
    return symbol->n_bytes >= 3 && memcmp(text + symbol->start + symbol->n_bytes - 3, QK_SPACE_MARK, 3) == 0;
}

/* Link and merge word by word where no piece spans words: the heap stays small and near. */
static qk_status merge_all(qk_work *work, const char *text, size_t n)
{
    qk_symbol *symbols = work->symbols;
    bool by_word = work->tokenizer->bpe.stops_at_mark;
    for (size_t first = 0, end; first < n; first = end) {
        end = first + 1;
        while (end < n &&
               !(by_word && begins_with_mark(text, &symbols[end]) && !ends_with_mark(text, &symbols[end - 1])))
            end++;
        for (size_t i = first; i < end; i++) {
            symbols[i].previous = i > first ? (uint32_t)i - 1 : QK_NONE;
            symbols[i].next = i + 1 < end ? (uint32_t)i + 1 : QK_NONE;
        }
        qk_status status = merge_run(work, text, (uint32_t)first, (uint32_t)end);
        if (status) return status;
    }
    return QK_OK;
}

qk_status qk_bpe_encode(qk_work *work, const char *text, size_t n_bytes)
{
    const qk_tokenizer *t = work->tokenizer;
    if (t->bpe.ignore_merges) {
        int32_t id = qk_vocabulary_find(&t->vocabulary, text, n_bytes);
        if (id >= 0) return qk_work_emit(work, id) ? QK_OK : qk_work_fail_memory(work);
    }
    bool scored = t->bpe.priority != NULL, after_unknown = false;
    size_t n = 0;
    qk_status status = scored ? split_for_scores(work, &n, text, n_bytes) : split_for_pairs(work, &n, text, n_bytes);
    if (!status) status = merge_all(work, text, n);
    for (size_t i = 0; !status && i < n; i++) {
        const qk_symbol *symbol = &work->symbols[i];
        if (symbol->n_bytes == 0) continue;
        if (scored) status = emit_scored(work, text, symbol, &after_unknown);
        else if (!qk_work_emit(work, symbol->id)) status = qk_work_fail_memory(work);
    }
    return status;
}
