/* literals.c - which of many fixed strings does a text begin with?  A sorted list, narrowed byte by byte. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

bool qk_literals_add(qk_literals *literals, const char *text, size_t n_bytes, size_t index)
{
    if (n_bytes == 0) return true;
    if (!qk_grow(&literals->items, &literals->capacity, literals->n + 1, sizeof *literals->items)) return false;
    literals->items[literals->n++] = (qk_literal){ text, n_bytes, index };
    return true;
}

static int by_bytes(const void *a, const void *b)
{
    const qk_literal *x = a, *y = b;
    size_t n = x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes;
    int order = memcmp(x->text, y->text, n);
    if (order) return order;
    if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

void qk_literals_sort(qk_literals *literals)
{
    if (literals->n) qsort(literals->items, literals->n, sizeof *literals->items, by_bytes);
    for (size_t i = 0; i < literals->n; i++) literals->first[(uint8_t)literals->items[i].text[0]] = true;
}

/* The first item of [low, high) whose byte `at` is not below `byte`; all of them are longer than `at`. */
static size_t lower_bound(const qk_literal *items, size_t low, size_t high, size_t at, int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uint8_t)items[middle].text[at] < byte) low = middle + 1;
        else high = middle;
    }
    return low;
}

size_t qk_literals_longest(size_t *index, const qk_literals *literals, const char *text, size_t n_bytes)
{
    if (n_bytes == 0 || !literals->first[(uint8_t)text[0]]) return 0;
    size_t low = 0, high = literals->n, longest = 0;
    for (size_t at = 0; at < n_bytes; at++) {
        int byte = (uint8_t)text[at];
        low = lower_bound(literals->items, low, high, at, byte);
        high = lower_bound(literals->items, low, high, at, byte + 1);
        if (low == high) break;
        /* One that ends here sorts first; it leaves the range, for the others go on. */
        if (literals->items[low].n_bytes == at + 1) {
            longest = at + 1;
            *index = literals->items[low].index;
            while (low < high && literals->items[low].n_bytes == at + 1) low++;
        }
    }
    return longest;
}

void qk_literals_free(qk_literals *literals)
{
    free(literals->items);
    *literals = (qk_literals){ 0 };
}
