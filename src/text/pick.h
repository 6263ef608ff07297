/* pick.h - documents chosen by their length in tokens: probes, texts beyond a context. */
#ifndef QK_PICK_H
#define QK_PICK_H

#include "text/text.h"
#include "text/world.h"

typedef struct qk_pick {
    const qk_tokenizer *tokenizer; /* borrowed */
    bool no_bos;
    size_t longer_than; /* tokens; documents of two tokens at least are taken */
    size_t cut;         /* tokens kept of each; 0 = all */
    size_t n_documents; /* at most so many; 0 = any number */
    size_t n_tokens;    /* until there are so many together; 0 = all */
} qk_pick;

/* Copies of those of the documents [first, first + n) that serve, in their order, with their tokens.  None that serves
 * is no error: *out is empty then. */
qk_status qk_documents_pick(qk_documents *out, const qk_documents *from, size_t first, size_t n, const qk_pick *pick,
                            qk_error *err);
/* The same of the first `n` documents of a part of the world. */
qk_status qk_documents_pick_world(qk_documents *out, const qk_world *world, qk_split split, uint64_t n,
                                  const qk_pick *pick, qk_error *err);

#endif
