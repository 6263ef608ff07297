/* documents_world.h - documents about the invented world as a set like any other. */
#ifndef QK_DOCUMENTS_WORLD_H
#define QK_DOCUMENTS_WORLD_H

#include "text/text.h"
#include "text/world.h"

/* Documents 0, 1, ... of one split, at most n, and no more once they hold n_bytes; their ids are "validation-7". */
qk_status qk_documents_world(qk_documents *out, uint64_t seed, qk_split split, size_t n, size_t n_bytes,
                             qk_error *err);

#endif
