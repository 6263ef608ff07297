/* tasks.h - the parts of the tasks study: questions as a model reads them, what it answered, what that says. */
#ifndef QK_STUDY_TASKS_H
#define QK_STUDY_TASKS_H

#include "study/disrupt.h"

/* One text that is scored: a prompt and an answer behind it. */
typedef struct qk_trial {
    int32_t *tokens;      /* [n_tokens] prompt, then answer; owned */
    size_t n_tokens;
    size_t n_answer;      /* the last ones of them: 1 or more; at least one token stands before */
    size_t n_cut;         /* tokens of the prompt that were left out at its start */
} qk_trial;

/* One question as one model reads it. */
typedef struct qk_asked {
    qk_trial *trials;     /* [n_trials] one, with the answer; judged by choice: one for each choice; owned */
    size_t n_trials;
    size_t answer;        /* the trial with the right answer */
} qk_asked;

/* What a model said to one question under one condition. */
typedef struct qk_reply {
    double *nll;          /* [n_trials] of each whole answer, nats */
    int32_t *top;         /* [n_answer of the right trial] the likeliest token in each place, the true ones before it */
    size_t n_scored;      /* trials that have come in */
    size_t pick;          /* judged by choice: the likeliest one (ties: the first) */
    bool right;
} qk_reply;

/* What a model said to all of them.  measured.nll is that of the right answers, measured.n_tokens counts their
 * tokens. */
typedef struct qk_answers {
    const qk_quiz *quiz;
    const qk_named_model *model;
    qk_asked *asked;      /* [questions] */
    qk_reply *replies;    /* [arms][questions] */
    qk_measured measured; /* arms, their receipts, done; "documents" are questions */
    qk_arena arena;       /* owns what the replies point to */
} qk_answers; /* {0} is an empty one */

static inline qk_reply *qk_reply_of(const qk_answers *a, size_t arm, size_t question)
{
    return &a->replies[arm * a->quiz->n + question];
}
static inline bool qk_by_choice(const qk_quiz *quiz, size_t question)
{
    return quiz->categories[quiz->items[question].category].scoring == QK_SCORE_CHOICE;
}

/* ---- tasks_encode.c */

/* asked[quiz->n], malloc'ed.  The answer's tokens are those behind the longest common start of the prompt's tokens and
 * the whole text's.  A question that is longer than `context` (0 = any length) is refused by file and line, or loses
 * the start of its prompt with `cut_left` (a beginning-of-sequence token stays). */
qk_status qk_tasks_encode(qk_asked **asked, const qk_quiz *quiz, const qk_named_model *model, size_t context,
                          bool cut_left, bool no_bos, qk_error *err);
void qk_tasks_free(qk_asked *asked, size_t n);
/* sequences[n_trials of all questions], malloc'ed, and how many; tokens stay those of `asked`. */
qk_status qk_tasks_sequences(qk_sequence **sequences, size_t *n, const qk_asked *asked, size_t n_asked, qk_error *err);
/* The text of tokens, special ones and ids that the tokenizer has not written out: what a model said, for readers. */
json_t *qk_tasks_text(const qk_tokenizer *tokenizer, const int32_t *tokens, size_t n);

/* ---- tasks_ask.c */

/* Asks every question that the journal has no answer to, under every arm of a->measured.plan, in one pass. */
qk_status qk_tasks_ask(qk_answers *a, size_t model, const qk_compute *compute, qk_run *run, qk_error *err);
void qk_answers_free(qk_answers *a);

/* ---- tasks_samples.c */

/* samples.jsonl: a line for each model, condition and question. */
qk_status qk_tasks_samples(const qk_run *run, const qk_answers *all, size_t n_models, qk_error *err);

/* ---- tasks_rows.c, tasks_tests.c */

/* How right the questions were under one condition: an arm, or the mean over all controls. */
typedef struct qk_marks {
    const char *name;     /* "baseline", "massive", "mean", "random", or a control's "random-42" */
    qk_arm_kind kind;
    bool averaged;        /* the mean over the controls */
    double *right;        /* [questions] 1 or 0; averaged: the share of controls */
    double *nll;          /* [questions] of the right answers, nats */
} qk_marks;

/* The marks of one model: baseline first, then the other arms, then "random" where there are controls. */
typedef struct qk_marked {
    qk_marks *marks;
    size_t n;
    qk_arena arena;       /* owns all of it */
} qk_marked;

qk_status qk_tasks_mark(qk_marked *out, const qk_answers *a, qk_error *err);
/* categories[] (all marks but single controls) and kinds[] (all marks) of one model. */
qk_status qk_tasks_rows(json_t *results, const qk_answers *a, const qk_marked *marked, size_t model, qk_error *err);
/* tests[]: conditions of one model, the two kinds, and every two models, on the same questions. */
qk_status qk_tasks_tests(json_t *results, const qk_quiz *quiz, const qk_marked *marked, size_t n_models, qk_error *err);
extern const char *const qk_quiz_kinds[2]; /* "parametric", "contextual" */

#endif
