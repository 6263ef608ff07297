/* arena.c - many small things, one lifetime. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)64 << 10)

struct qk_arena_block {
    struct qk_arena_block *next;
    size_t used, size;
    _Alignas(16) uint8_t bytes[];
};

void *qk_arena_alloc(qk_arena *arena, size_t n_bytes)
{
    size_t wanted;
    if (!qk_add(n_bytes, 15, &wanted)) return NULL;
    wanted = wanted / 16 * 16;
    struct qk_arena_block *block = arena->blocks;
    if (!block || block->size - block->used < wanted) {
        size_t size = wanted > BLOCK_BYTES ? wanted : BLOCK_BYTES, total;
        if (!qk_add(size, sizeof *block, &total)) return NULL;
        block = calloc(1, total);
        if (!block) return NULL;
        block->size = size;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *p = block->bytes + block->used;
    block->used += wanted;
    return p;
}

char *qk_arena_copy(qk_arena *arena, const char *text, size_t n_bytes)
{
    size_t with_nul;
    if (!qk_add(n_bytes, 1, &with_nul)) return NULL;
    char *p = qk_arena_alloc(arena, with_nul);
    if (p && n_bytes) memcpy(p, text, n_bytes);
    return p;
}

void qk_arena_free(qk_arena *arena)
{
    for (struct qk_arena_block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    arena->blocks = NULL;
}
