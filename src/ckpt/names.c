/* names.c - the table of names: open addressing, linear probing, at most half full. */
#include "ckpt/ckpt_private.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a, then a final mix so that the low bits depend on all.  Seeded with the table's own address: a file cannot be
 * written so that its names collide. */
static size_t hash(const qk_names *names, const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (uintptr_t)names->slots * UINT64_C(0x9e3779b97f4a7c15);
    for (; *name; name++) h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    return (size_t)(h ^ h >> 33);
}

qk_status qk_names_make(qk_names *out, size_t n_names, const char *what, qk_error *err)
{
    size_t n_slots = 8;
    while (n_slots / 2 < n_names)
        if (!qk_mul(n_slots, 2, &n_slots)) return qk_fail(err, QK_E_MEMORY, "%s: %zu names overflow", what, n_names);
    qk_name_slot *slots;
    qk_status status = qk_new_array(&slots, n_slots, sizeof *slots, what, err);
    if (status) return status;
    *out = (qk_names){ slots, n_slots };
    return QK_OK;
}

/* The slot that holds the name, or the free one where it belongs. */
static qk_name_slot *slot_of(const qk_names *names, const char *name)
{
    size_t mask = names->n_slots - 1, i = hash(names, name) & mask;
    while (names->slots[i].name && strcmp(names->slots[i].name, name) != 0) i = (i + 1) & mask;
    return &names->slots[i];
}

bool qk_names_add(qk_names *names, const char *name, size_t index)
{
    qk_name_slot *slot = slot_of(names, name);
    if (slot->name) return false;
    *slot = (qk_name_slot){ name, index };
    return true;
}

bool qk_names_find(size_t *index, const qk_names *names, const char *name)
{
    if (!names->n_slots) return false;
    const qk_name_slot *slot = slot_of(names, name);
    if (!slot->name) return false;
    *index = slot->index;
    return true;
}

void qk_names_free(qk_names *names)
{
    free(names->slots);
    *names = (qk_names){ 0 };
}
