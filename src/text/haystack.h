/* haystack.h - inputs as long as asked for, out of the invented world: its documents, and keys hidden in idle talk. */
#ifndef QK_HAYSTACK_H
#define QK_HAYSTACK_H

#include "text/text.h"
#include "text/world.h"

enum { QK_HAYSTACK_KEYS = 8 /* at most */ };

/* One answer: bytes [from, to) of the text, the space before it included. */
typedef struct qk_hidden { size_t from, to; double depth; } qk_hidden;

typedef struct qk_haystack {
    char *text;      /* sentences, questions, answers; ends with the last answer; malloc'ed, NUL-terminated */
    qk_hidden asked[QK_HAYSTACK_KEYS]; /* [n_asked] in the order of the text */
    size_t n_asked;
} qk_haystack;

/* Number `index` of one world and split: n_sentences sentences about nothing of use with n_keys statements of a pass
 * key among them, statement i behind the share depths[i] (0 = in front, 1 = behind all).  One key has no owner;
 * several have one each, and all are asked for, in random order, each question with its answer behind it.  With more
 * sentences the first ones, the keys and the questions stay the same. */
qk_status qk_haystack_write(qk_haystack *out, const qk_world *world, qk_split split, uint64_t index, size_t n_sentences,
                            const double *depths, size_t n_keys, qk_error *err);
void qk_haystack_free(qk_haystack *haystack);

#endif
