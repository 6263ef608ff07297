/* context.h - the parts of the context study.
 *
 * An arm is a model under a method.  What an arm computes at a length is a reading: a method with its factor.  Arms
 * that read alike (all of them up to the trained context) share the pass, and a reading that does not depend on the
 * length reads each text once, as far as any length goes: the losses of a shorter text are the start of those. */
#ifndef QK_STUDY_CONTEXT_H
#define QK_STUDY_CONTEXT_H

#include "model/scaling.h"
#include "study/common.h"
#include "study/disrupt.h"
#include "study/temperature.h"
#include "text/haystack.h"

enum { QK_CONTEXT_ARMS = 64, QK_CONTEXT_BUCKETS = 128 /* at most */ };

typedef struct qk_context_arm {
    size_t model;
    qk_method method;
} qk_context_arm;

typedef struct qk_reading {
    qk_method method;
    double factor;
    size_t tokens; /* 0: the same for every length; else this length's alone */
} qk_reading;

/* Losses of one text by position, summed. */
typedef struct qk_context_loss { double nll[QK_CONTEXT_BUCKETS], n[QK_CONTEXT_BUCKETS]; } qk_context_loss;

typedef struct qk_found { bool right; double nll; } qk_found;

typedef struct qk_context {
    const qk_named_model *models;
    size_t n_models;
    const qk_context_settings *settings;
    const qk_compute *compute;
    qk_compute budget;               /* what texts and tables leave */
    qk_run *run;                     /* NULL: no journal */
    bool plan_only;
    size_t trained;                  /* tokens that lengths are counted in */
    size_t lengths[QK_CONTEXT_LENGTHS], task_lengths[QK_CONTEXT_LENGTHS]; /* tokens */
    size_t n_edges, edges[QK_CONTEXT_BUCKETS + 1]; /* bucket b: targets at positions [edges[b], edges[b + 1]) */
    qk_context_arm arms[QK_CONTEXT_ARMS];
    size_t n_arms;
    double slope[QK_CONTEXT_ARMS];   /* by model: of its temperature */
    qk_temperature fit[QK_CONTEXT_ARMS];
    bool fitted[QK_CONTEXT_ARMS];
    /* texts of the model at hand; the same number for every model */
    int32_t **texts;                 /* [n_texts][longest length] */
    size_t n_texts;
    bool joined;                     /* they are documents put behind one another */
    qk_context_loss *truncated, *sliding; /* [n_arms][n_lengths][n_texts]; sliding: all in bucket 0 */
    /* Tokens that a question alone has, of the first prompt that did not fit: this task and length is left out. */
    size_t left_out[QK_N_CONTEXT_TASKS][QK_CONTEXT_LENGTHS];
    qk_found *found;                 /* [n_arms][tasks][n_task_lengths][n_depths][trials] */
    /* pass keys under broken conditions: massive, mean where asked for, the controls */
    qk_disrupt_plan edits;           /* of the model at hand; arm 0 is the baseline */
    size_t n_broken;                 /* conditions beside the baseline, 0 = none */
    bool *broken;                    /* [n_broken][n_arms][n_task_lengths][n_depths][trials] found */
    bool is_broken[QK_CONTEXT_ARMS]; /* by model */
    size_t n_dims[QK_CONTEXT_ARMS];  /* by model: massive dims over all layers and tensors, so many in each condition */
    json_t *notes;                   /* warnings met on the way */
    json_t *plan;                    /* rows, with plan_only */
    struct { double tokens, sequences, passes, flops; qk_plan largest; } work; /* of the model at hand */
} qk_context;

/* ---- context.c */

/* What an arm computes at `length` tokens. */
qk_reading qk_context_reading(const qk_context *c, const qk_context_arm *arm, size_t length);
bool qk_reading_equal(const qk_reading *a, const qk_reading *b);
bool qk_context_wants_temperature(const qk_context *c, size_t model);
/* The model as that reading sees it. */
qk_status qk_context_view(qk_model *view, const qk_context *c, size_t model, const qk_reading *reading, qk_error *err);
/* "KIND METHOD*FACTOR LENGTH": the name of a pass's units in the journal. */
void qk_context_unit(char out[96], const char *kind, const qk_reading *reading, size_t length);
/* One pass of a model over sequences, of which those with a unit `unit`, number of the sequence in the journal are left
 * out: `keep` is told of every sequence's payload, from the journal or made by `payload` of a score.  With plan_only
 * the work is only counted. */
typedef struct qk_context_pass {
    const qk_context *c;
    size_t model;
    const qk_model *view;
    const qk_condition *condition; /* NULL: the baseline */
    const char *unit, *phase;
    const qk_sequence *sequences;
    size_t n;
    json_t *(*payload)(const void *user, size_t sequence, const qk_score *score);
    bool (*keep)(void *user, size_t sequence, const json_t *payload); /* false: not this study's */
    void *user;
} qk_context_pass;
qk_status qk_context_run(qk_context *c, const qk_context_pass *pass, qk_error *err);

/* ---- context_text.c */

/* Texts of `length` tokens for one model: its documents that are long enough, or all of them as one text. */
qk_status qk_context_texts(int32_t ***texts, size_t *n_texts, bool *joined, qk_documents *documents,
                           const qk_named_model *model, size_t length, size_t most, bool no_bos, qk_error *err);
void qk_context_free_texts(int32_t **texts, size_t n_texts);
/* All arms of a model, both protocols. */
qk_status qk_context_read(qk_context *c, size_t model, qk_error *err);

/* ---- context_find.c */

extern const char *const qk_context_task_names[QK_N_CONTEXT_TASKS];
/* Prompts of each depth at a task length. */
size_t qk_context_trials(const qk_context *c, size_t length);
qk_found *qk_context_found(const qk_context *c, size_t arm, size_t task, size_t length, size_t depth);
qk_status qk_context_find(qk_context *c, size_t model, qk_error *err);
/* The task is asked for and its prompts fit the length. */
bool qk_context_asks(const qk_context *c, size_t task, size_t length);

/* ---- context_broken.c */

/* Masks and conditions of a model into c->edits. */
qk_status qk_context_plan_broken(qk_context *c, size_t model, qk_error *err);
/* Whether each trial's key was found under broken condition k. */
bool *qk_context_broken(const qk_context *c, size_t k, size_t arm, size_t length, size_t depth);
/* broken[] and broken_tests[]. */
qk_status qk_context_broken_rows(json_t *results, const qk_context *c, qk_error *err);

/* ---- context_rows.c */

/* "model", "arm", "method" and "stretch", "length" of a row. */
void qk_context_put_arm(qk_row *row, const qk_context *c, size_t arm);
void qk_context_put_length(qk_row *row, double stretch, size_t length);
/* The model's own first arm: what its methods are measured from. */
size_t qk_context_first_arm(const qk_context *c, size_t model);

/* The whole results object. */
qk_status qk_context_results(json_t **results, const qk_context *c, const qk_documents *documents, qk_error *err);

#endif
