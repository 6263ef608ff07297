/* tasks.h - the parts of the tasks study: questions as a model reads them, what it answered, what that says. */
#ifndef QK_STUDY_TASKS_H
#define QK_STUDY_TASKS_H

#include "study/disrupt.h"
#include "text/judge.h"

/* One text that is scored: a prompt and an answer behind it; or the prompt alone, for the model to go on. */
typedef struct qk_trial {
    int32_t *tokens;      /* [n_tokens] prompt, then answer; owned */
    size_t n_tokens;
    size_t n_answer;      /* the last ones of them: 1 or more, 0 of a prompt alone; at least one token stands before */
    size_t n_cut;         /* tokens of the prompt that were left out at its start */
} qk_trial;

/* One question as one model reads it. */
typedef struct qk_asked {
    qk_trial *trials;     /* [n_trials] one, with the answer; judged by choice: one for each choice; owned */
    size_t n_trials;
    size_t answer;        /* the trial with the right answer */
    size_t max_new;       /* judged on written text: tokens to write at most, >= 1; its one trial is the prompt, behind
                           * whose tokens there is room for as many */
} qk_asked;

/* What a model said to one question under one condition. */
typedef struct qk_reply {
    double *nll;          /* [n_trials] of each whole answer, nats */
    int32_t *top;         /* [n_answer of the right trial] the likeliest token in each place, the true ones before it */
    size_t n_scored;      /* trials that have come in */
    size_t pick;          /* judged by choice: the likeliest one (ties: the first) */
    const char *text;     /* judged on written text: it, UTF-8; nll and top are NULL then */
    size_t n_new;         /* its tokens */
    qk_end end;           /* why it ended */
    qk_judged judged;     /* otherwise its verdict alone */
} qk_reply;

/* What a model said to all of them.  measured.nll is that of the right answers, measured.n_tokens counts their
 * tokens; NaN and 0 where written text is judged. */
typedef struct qk_answers {
    const qk_quiz *quiz;
    const qk_named_model *model;
    qk_asked *asked;      /* [questions] */
    qk_reply *replies;    /* [arms][questions] */
    size_t context;       /* tokens of prompt and answer together; 0 = any */
    qk_phase phase;       /* where edits act while text is written */
    qk_measured measured; /* arms, their receipts, done; "documents" are questions */
    qk_arena arena;       /* owns what the replies point to */
} qk_answers; /* {0} is an empty one */

static inline qk_reply *qk_reply_of(const qk_answers *a, size_t arm, size_t question)
{
    return &a->replies[arm * a->quiz->n + question];
}
static inline bool qk_is_right(const qk_reply *reply) { return reply->judged.verdict == QK_VERDICT_RIGHT; }
static inline bool qk_is_written(const qk_quiz *quiz, size_t question)
{
    return qk_is_generated(quiz->categories[quiz->items[question].category].scoring);
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
                          const qk_tasks_settings *settings, bool no_bos, qk_error *err);
void qk_tasks_free(qk_asked *asked, size_t n);
/* sequences[n_trials of all questions], malloc'ed, and how many; tokens stay those of `asked`.  What is to be written
 * counts as if it were an answer of max_new tokens: for plans. */
qk_status qk_tasks_sequences(qk_sequence **sequences, size_t *n, const qk_asked *asked, size_t n_asked, qk_error *err);
/* The text of tokens, special ones and ids that the tokenizer has not written out: what a model said, for readers. */
json_t *qk_tasks_text(const qk_tokenizer *tokenizer, const int32_t *tokens, size_t n);

/* ---- tasks_ask.c */

/* Asks every question that the journal has no answer to, under every arm of a->measured.plan, in one pass. */
qk_status qk_tasks_ask(qk_answers *a, size_t model, const qk_compute *compute, qk_run *run, qk_error *err);
void qk_answers_free(qk_answers *a);
/* The arms as a pass wants them: conditions[n_arms], malloc'ed; they borrow from the plan. */
qk_status qk_tasks_conditions(qk_condition **conditions, const qk_disrupt_plan *plan, qk_error *err);

/* ---- tasks_write.c */

/* Keys and values of the batch that keeps most of them while it is written; 0 where nothing is. */
qk_status qk_tasks_cache_bytes(double *bytes, const qk_quiz *quiz, const qk_asked *asked, const qk_config *config,
                               size_t n_arms, qk_error *err);
/* Has the model write behind the prompts of all questions that are judged on its text, and judges it. */
qk_status qk_tasks_write(qk_answers *a, size_t model, const qk_compute *compute, qk_run *run, qk_error *err);
/* A unit of the journal of such a question; one that is not what this study would have written is asked again. */
void qk_tasks_read_written(qk_answers *a, size_t arm, size_t question, const json_t *unit);

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
    double *unparsed;     /* [questions] likewise; 0 where no text was written */
    double *found;        /* [questions] share of the expected texts that are in the written one; else as `right` */
    double *nll;          /* [questions] of the right answers, nats; NaN where written text is judged */
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
/* errors[] of one model (tasks_errors.c): categories whose answers are keys, judged on written text. */
qk_status qk_tasks_errors(json_t *results, const qk_answers *a, size_t model, qk_error *err);
/* tests[]: conditions of one model, the two kinds, and every two models, on the same questions. */
qk_status qk_tasks_tests(json_t *results, const qk_quiz *quiz, const qk_marked *marked, size_t n_models, qk_error *err);
extern const char *const qk_quiz_kinds[2]; /* "parametric", "contextual" */

#endif
