/* grow.c - arrays, bytes and pieces that grow while a text is worked on. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

bool qk_grow(void *array, size_t *capacity, size_t n, size_t size)
{
    if (n <= *capacity) return true;
    size_t wanted = *capacity < 16 ? 16 : *capacity, n_bytes;
    while (wanted < n)
        if (!qk_mul(wanted, 2, &wanted)) return false;
    if (!qk_mul(wanted, size, &n_bytes)) return false;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, n_bytes);
    if (!grown) return false;
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return true;
}

bool qk_bytes_reserve(qk_bytes *bytes, size_t n)
{
    size_t total;
    return qk_add(bytes->n, n, &total) && qk_grow(&bytes->data, &bytes->capacity, total, 1);
}

bool qk_bytes_add(qk_bytes *bytes, const char *data, size_t n)
{
    if (n == 0) return true;
    if (!qk_bytes_reserve(bytes, n)) return false;
    memcpy(bytes->data + bytes->n, data, n);
    bytes->n += n;
    return true;
}

bool qk_pieces_add(qk_pieces *pieces, size_t start, size_t end)
{
    if (!qk_grow(&pieces->spans, &pieces->capacity, pieces->n + 1, sizeof *pieces->spans)) return false;
    pieces->spans[pieces->n++] = (qk_span){ start, end };
    return true;
}

bool qk_pieces_cut(qk_pieces *pieces, size_t start, size_t end)
{
    return start == end || qk_pieces_add(pieces, start, end);
}

void qk_pieces_free(qk_pieces *pieces)
{
    free(pieces->text.data);
    free(pieces->spans);
    *pieces = (qk_pieces){ 0 };
}
