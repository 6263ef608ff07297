/* context_prompts.h - prompts of the context study as one model's tokens. */
#ifndef QK_STUDY_CONTEXT_PROMPTS_H
#define QK_STUDY_CONTEXT_PROMPTS_H

#include "study/context.h"

typedef struct qk_context_answer {
    size_t from, n, depth; /* tokens; index of the depth */
} qk_context_answer;

typedef struct qk_context_prompt {
    int32_t *tokens; /* owned */
    size_t n_tokens, n_answers, trial;
    qk_context_answer answers[QK_HAYSTACK_KEYS];
} qk_context_prompt;

/* All prompts of one task at one length. */
typedef struct qk_context_prompts {
    const qk_context *c;
    const qk_tokenizer *tokenizer;
    size_t model, task, length; /* length: an index */
    qk_context_prompt *items;
    size_t n;
    qk_sequence *sequences;                 /* [n] as one reading sees them */
    size_t *n_cut;                          /* [n] tokens left out in front of what it sees */
    qk_found (*answered)[QK_HAYSTACK_KEYS]; /* [n] */
    size_t too_long; /* tokens that words, keys and answers alone need, where they do not fit; 0: all fit */
} qk_context_prompts;

/* Writes and tokenizes them; c, tokenizer, model, task and length are there.  Free it even where this fails. */
qk_status qk_context_write_prompts(qk_context_prompts *p, const qk_world *world, qk_error *err);
void qk_context_free_prompts(qk_context_prompts *p);

#endif
