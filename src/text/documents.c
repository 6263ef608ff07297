/* documents.c - document sets: what is kept of each text, hashes, the mark of repetition; the built-in set. */
#include "text/documents_set.h"

#include <stdlib.h>
#include <string.h>

const char *qk_strip(const char *text, size_t *n_bytes)
{
    const uint8_t *from = (const uint8_t *)text, *to = from + *n_bytes;
    uint32_t c;
    while (from < to) {
        int length = qk_utf8_decode(&c, from);
        if (!qk_is_white_space(c)) break;
        from += length;
    }
    while (to > from) {
        const uint8_t *last = to - 1;
        while (last > from && (*last & 0xC0) == 0x80) last--;
        qk_utf8_decode(&c, last);
        if (!qk_is_white_space(c)) break;
        to = last;
    }
    *n_bytes = (size_t)(to - from);
    return (const char *)from;
}

/* ---- repetition */

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 29;
}

/* One key a word 3-gram, words parted by ASCII white space; keys[] NULL only counts.  64 bits: two different 3-grams
 * of a million share a key once in ten million documents. */
static size_t three_grams(uint64_t *keys, const char *text, size_t n_bytes)
{
    uint64_t words[3] = { 0 }, word = 1;
    size_t n_words = 0;
    bool inside = false;
    for (size_t i = 0; i <= n_bytes; i++) {
        bool white = i == n_bytes || text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r');
        if (!white) {
            word = mix(word, (uint8_t)text[i]);
        } else if (inside) {
            words[n_words++ % 3] = word;
            if (keys && n_words >= 3)
                keys[n_words - 3] = mix(mix(words[n_words % 3], words[(n_words + 1) % 3]), words[(n_words + 2) % 3]);
            word = 1;
        }
        inside = !white;
    }
    return n_words < 3 ? 0 : n_words - 2;
}

static qk_status judge_repetition(qk_document *document, qk_error *err)
{
    document->repetitive = strcmp(document->category, "repetitive") == 0;
    size_t n = three_grams(NULL, document->text, document->n_bytes), n_distinct = 0;
    if (document->repetitive || n == 0) return QK_OK;
    uint64_t *keys;
    qk_status status = qk_new_array(&keys, n, sizeof *keys, "word 3-grams", err);
    if (status) return status;
    three_grams(keys, document->text, document->n_bytes);
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 0; i < n; i++) n_distinct += i == 0 || keys[i] != keys[i - 1];
    document->repetitive = (double)n_distinct < 0.3 * (double)n;
    free(keys);
    return QK_OK;
}

/* ---- the growing set */

bool qk_document_set_full(const qk_document_set *set) { return set->limit > 0 && set->documents.n >= set->limit; }

static qk_status grow(qk_document_set *set, qk_error *err)
{
    size_t wanted = set->capacity ? 2 * set->capacity : 16, n_bytes;
    if (set->documents.n < set->capacity) return QK_OK;
    if (!qk_mul(wanted, sizeof *set->documents.items, &n_bytes)) return qk_out_of_memory(err, "documents", SIZE_MAX);
    qk_document *items = realloc(set->documents.items, n_bytes);
    if (!items) return qk_out_of_memory(err, "documents", n_bytes);
    set->documents.items = items;
    qk_place *places = realloc(set->places, wanted * sizeof *places); /* a place is smaller than a document */
    if (!places) return qk_out_of_memory(err, "documents", wanted * sizeof *places);
    set->places = places;
    set->capacity = wanted;
    return QK_OK;
}

static char *copy_bytes(const char *text, size_t n_bytes)
{
    char *copy = malloc(n_bytes + 1); /* n_bytes lie in memory already: + 1 cannot overflow */
    if (!copy) return NULL;
    memcpy(copy, text, n_bytes);
    copy[n_bytes] = '\0';
    return copy;
}

static void free_document(qk_document *document)
{
    free(document->id);
    free(document->category);
    free(document->text);
    free(document->tokens);
}

qk_status qk_document_set_add(qk_document_set *set, qk_document_source source, qk_error *err)
{
    size_t n_printing = source.n_bytes;
    qk_strip(source.text, &n_printing);
    if (n_printing == 0)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: document \"%.80s\": expected text, found %s", source.place.path,
                       source.place.line, source.id, source.n_bytes ? "only white space" : "nothing");
    qk_status status = grow(set, err);
    if (status) return status;
    qk_document document = { .id = strdup(source.id),
                             .category = strdup(source.category ? source.category : ""),
                             .text = copy_bytes(source.text, source.n_bytes),
                             .n_bytes = source.n_bytes };
    if (!document.id || !document.category || !document.text)
        status = qk_out_of_memory(err, "document", source.n_bytes);
    else
        status = judge_repetition(&document, err);
    if (status) {
        free_document(&document);
        return status;
    }
    qk_sha256_of(document.sha256, document.text, document.n_bytes);
    set->places[set->documents.n] = source.place;
    set->documents.items[set->documents.n++] = document;
    return QK_OK;
}

typedef struct id_row {
    const char *id;
    size_t index;
} id_row;

static int compare_ids(const void *a, const void *b)
{
    const id_row *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static qk_status refuse_duplicates(const qk_document_set *set, qk_error *err)
{
    id_row *rows;
    size_t n = set->documents.n;
    qk_status status = qk_new_array(&rows, n, sizeof *rows, "document ids", err);
    if (status) return status;
    for (size_t i = 0; i < n; i++) rows[i] = (id_row){ set->documents.items[i].id, i };
    qsort(rows, n, sizeof *rows, compare_ids);
    for (size_t i = 1; i < n && !status; i++) {
        const qk_place *first = &set->places[rows[i - 1].index], *second = &set->places[rows[i].index];
        if (strcmp(rows[i - 1].id, rows[i].id) == 0)
            status =
                qk_fail(err, QK_E_FORMAT, "%s:%zu: document id \"%.80s\": expected once in a set, found also at %s:%zu",
                        second->path, second->line, rows[i].id, first->path, first->line);
    }
    free(rows);
    return status;
}

qk_status qk_document_set_finish(qk_documents *out, qk_document_set *set, qk_error *err)
{
    qk_status status = QK_OK;
    if (set->documents.n == 0)
        status = qk_fail(err, QK_E_FORMAT, "document set: expected at least one document, found none");
    if (!status) status = refuse_duplicates(set, err);
    if (!status) {
        qk_sha256 hash;
        qk_sha256_start(&hash);
        for (size_t i = 0; i < set->documents.n; i++) qk_sha256_add(&hash, set->documents.items[i].sha256, 64);
        qk_sha256_hex(set->documents.sha256, &hash);
        *out = set->documents;
        set->documents = (qk_documents){ 0 };
    }
    qk_document_set_free(set);
    return status;
}

void qk_document_set_free(qk_document_set *set)
{
    qk_documents_free(&set->documents);
    free(set->places);
    *set = (qk_document_set){ 0 };
}

void qk_documents_free(qk_documents *documents)
{
    if (!documents) return;
    for (size_t i = 0; i < documents->n; i++) free_document(&documents->items[i]);
    free(documents->items);
    *documents = (qk_documents){ 0 };
}

qk_status qk_documents_builtin(qk_documents *out, qk_error *err)
{
    qk_document_set set = { 0 };
    for (size_t i = 0; i < qk_n_builtin_documents; i++) {
        const qk_builtin_document *built_in = &qk_builtin_documents[i];
        qk_document_source source = { .id = built_in->id,
                                      .category = built_in->category,
                                      .n_bytes = built_in->n_bytes,
                                      .place = { "built-in set", i + 1 } };
        source.text = qk_strip(built_in->text, &source.n_bytes);
        qk_status status = qk_document_set_add(&set, source, err);
        if (status) {
            qk_document_set_free(&set);
            return status;
        }
    }
    return qk_document_set_finish(out, &set, err);
}
