/* world.h - a seeded generator of English text about an invented world.
 *
 * Two kinds of knowledge.  Parametric: 1,100 fixed facts, the same for every seed and split, stated again and again
 * across documents.  Contextual: what only one document says (pass keys, key-value lists, sums, order of events,
 * sentiment, a stated counterfact).  A text is a function of (seed, split, index): the same bytes on every machine.
 * Splits share the facts, never a context: owners, numbers, pairs of what a context binds together, and the wordings
 * in which a fact is asked for are drawn from disjoint sets.  A fact is never stated in a document that asks for it. */
#ifndef QK_WORLD_H
#define QK_WORLD_H

#include "base/base.h"

typedef enum qk_split { QK_SPLIT_TRAIN, QK_SPLIT_VALIDATION, QK_SPLIT_TEST } qk_split;

typedef struct qk_world qk_world;
qk_status qk_world_new(qk_world **out, uint64_t seed, qk_error *err);
void qk_world_free(qk_world *world);

/* Document `index`: its text (malloc'ed, NUL-terminated, the caller's; ASCII, 500 to 12,000 bytes, half of them below 1,300)
 * and register ("story", "letter", "quiz", ...; lives for ever). */
typedef struct qk_world_document { char *text; size_t n_bytes; const char *kind; } qk_world_document;
qk_status qk_world_write(qk_world_document *out, const qk_world *world, qk_split split, uint64_t index, qk_error *err);

/* Echo `index`: a few words or pairs that are said two to four times, 30 to 900 bytes; kind "echo".  Short texts whose end
 * can be told from their start alone: what a model learns to look back from. */
qk_status qk_world_write_echo(qk_world_document *out, const qk_world *world, qk_split split, uint64_t index,
                              qk_error *err);

typedef enum qk_question_kind {
    QK_QUESTION_FACT,                                                   /* parametric */
    QK_QUESTION_PASS_KEY, QK_QUESTION_KEY_VALUE, QK_QUESTION_SUM, QK_QUESTION_ORDER, QK_QUESTION_SENTIMENT,
    QK_QUESTION_COUNTERFACT,                                            /* contextual */
    QK_N_QUESTION_KINDS
} qk_question_kind;
/* "fact", "pass_key", ...; live for ever. */
const char *qk_question_category(qk_question_kind kind);
bool qk_question_is_contextual(qk_question_kind kind);

/* Question `index` of a kind; those about facts go through all facts in turn.  `prompt` ends where the answer begins,
 * without the space before it; text = prompt + " " + answer.  `whole`: everything that the context can be asked comes
 * before it, with answers: text to learn from, where the skill is to look back. */
typedef struct qk_question { char *prompt, *answer; qk_question_kind kind; } qk_question; /* both malloc'ed */
qk_status qk_world_ask(qk_question *out, const qk_world *world, qk_split split, qk_question_kind kind, uint64_t index,
                       bool whole, qk_error *err);

#endif
