/* documents_world.c - documents about the invented world as a set like any other. */
#include "text/documents_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "text/documents_set.h"

static const char *const part_names[] = { "train", "validation", "test" };

qk_status qk_documents_world(qk_documents *out, uint64_t seed, qk_split split, size_t n, size_t n_bytes,
                             qk_error *err)
{
    qk_document_set set = { .limit = 0 };
    qk_world *world = NULL;
    size_t held = 0;
    qk_status status = qk_world_new(&world, seed, err);
    for (size_t i = 0; i < n && held < n_bytes && !status; i++) {
        qk_world_document document;
        char id[48];
        status = qk_world_write(&document, world, split, i, err);
        if (status) break;
        held += document.n_bytes;
        snprintf(id, sizeof id, "%s-%zu", part_names[split], i);
        status = qk_document_set_add(&set, (qk_document_source){ id, document.kind, document.text, document.n_bytes,
                                                                 { "world", i + 1 } }, err);
        free(document.text);
    }
    qk_world_free(world);
    if (!status) return qk_document_set_finish(out, &set, err);
    qk_document_set_free(&set);
    return status;
}
