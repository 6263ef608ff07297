/* documents_world.h - documents about the invented world as a set like any other. */
#ifndef QK_DOCUMENTS_WORLD_H
#define QK_DOCUMENTS_WORLD_H

#include "text/text.h"
#include "text/world.h"

/* Documents 0 to n - 1 of one split; their ids are "validation-7". */
qk_status qk_documents_world(qk_documents *out, uint64_t seed, qk_split split, size_t n, qk_error *err);

#endif
