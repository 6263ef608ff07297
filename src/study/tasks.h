/* tasks.h - the parts of the tasks study: questions as a model reads them, what it answered, what that says. */
#ifndef QK_STUDY_TASKS_H
#define QK_STUDY_TASKS_H

#include "study/common.h"

/* One question as one model reads it, and what the model said. */
typedef struct qk_asked {
    int32_t *tokens;      /* [n_tokens] prompt, then answer; owned */
    size_t n_tokens;
    size_t n_answer;      /* the last ones of them: 1 or more; at least one token stands before */
    size_t n_cut;         /* tokens of the prompt that were left out at its start */
    int32_t *top;         /* [n_answer] the likeliest token in each place of the answer, the true ones before it; owned */
    double nll;           /* of the whole answer, nats */
    bool done, right;     /* right: every top is the answer's token */
} qk_asked;

/* ---- tasks_encode.c */

/* asked[quiz->n], malloc'ed.  The answer's tokens are those behind the longest common start of the prompt's tokens and
 * the whole text's.  A question that is longer than `context` (0 = any length) is refused by id, or loses the start of
 * its prompt with `cut_left` (a beginning-of-sequence token stays). */
qk_status qk_tasks_encode(qk_asked **asked, const qk_quiz *quiz, const qk_named_model *model, size_t context,
                          bool cut_left, bool no_bos, qk_error *err);
void qk_tasks_free(qk_asked *asked, size_t n);
/* The text of tokens, special ones and ids that the tokenizer has not written out: what a model said, for readers. */
json_t *qk_tasks_text(const qk_tokenizer *tokenizer, const int32_t *tokens, size_t n);

/* ---- tasks_rows.c */

/* categories[] and kinds[] of one model. */
qk_status qk_tasks_rows(json_t *results, const qk_quiz *quiz, const qk_asked *asked, size_t model, qk_error *err);
/* tests[]: every two models on the same questions, by kind; all[n_models]. */
qk_status qk_tasks_tests(json_t *results, const qk_quiz *quiz, qk_asked *const *all, size_t n_models, qk_error *err);

#endif
