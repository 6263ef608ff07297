/* results.h - one run folder, read back and checked against docs/RESULTS.md before anything is drawn. */
#ifndef QK_REPORT_RESULTS_H
#define QK_REPORT_RESULTS_H

#include <jansson.h>

#include "base/base.h"
#include "ckpt/ckpt.h"

/* As many of each as there are colours that everybody can tell apart. */
enum { QK_REPORT_MODELS = 8, QK_REPORT_ARMS = 8 };

typedef enum qk_study_kind {
    QK_STUDY_MASSIVE, QK_STUDY_DISRUPT, QK_STUDY_TASKS, QK_STUDY_CONTEXT, QK_STUDY_TRAIN, QK_STUDY_RECALIBRATE, QK_N_STUDIES
} qk_study_kind;
typedef enum qk_condition_kind { QK_KIND_BASELINE, QK_KIND_MASSIVE, QK_KIND_RANDOM, QK_N_KINDS } qk_condition_kind;

typedef struct qk_result_model {
    const char *name;
    size_t n_layers, n_heads, n_kv_heads, head_dim; /* heads 0: no such tensor was captured */
    double context;        /* trained context, tokens; NaN where unknown */
    const json_t *pairs;   /* array; empty or NULL for captured tensors */
    bool rotates;          /* some pair has a wavelength */
} qk_result_model;

/* One run of training: with rotation dropped, with rotation kept, ... */
typedef struct qk_result_arm {
    const char *name, *kind; /* kind: "train", "drope", "control" */
    size_t model;            /* the model that it began with */
} qk_result_arm;

/* The measurements of one arm, in their order; borrowed rows. */
typedef struct qk_arm_track { const json_t **rows; size_t n; } qk_arm_track;

/* Borrowed strings live as long as the results. */
typedef struct qk_results {
    qk_study_kind study;
    char *folder;
    json_t *root;          /* results.json */
    json_t *manifest;      /* manifest.json, or NULL */
    qk_ckpt *arrays;       /* arrays.safetensors, or NULL */
    const json_t *settings, *documents, *warnings;
    size_t n_models, n_documents;
    qk_result_model models[QK_REPORT_MODELS];
    size_t n_arms;         /* of a training study; 0 otherwise */
    qk_result_arm arms[QK_REPORT_ARMS];
    qk_arm_track tracks[QK_REPORT_ARMS];
    char sha256[65];       /* of results.json, the bytes; "" for what was put together of several */
} qk_results;

/* Refuses, by name, a missing field, one of another type, an index out of range, an unknown study. */
qk_status qk_results_open(qk_results **out, const char *folder, qk_error *err);
/* The same for a results object that is at hand: `results` has its root and folder, the rest is filled in. */
qk_status qk_results_check(qk_results *results, qk_error *err);
void qk_results_close(qk_results *results);

/* ---- reading checked rows */

/* The array of that name (an empty one where there is none). */
const json_t *qk_rows(const qk_results *results, const char *name);
double qk_field_number(const json_t *row, const char *name);    /* NaN for null and for what is absent */
const char *qk_field_text(const json_t *row, const char *name); /* "" for null and for what is absent */
size_t qk_field_index(const json_t *row, const char *name);     /* of a checked index */
bool qk_field_is(const json_t *row, const char *name, const char *text);
/* [low, high]; NaN where null. */
void qk_field_pair(double pair[2], const json_t *row, const char *name);
/* The row of a model and a tensor (massive) or condition (disrupt); NULL where there is none. */
const json_t *qk_find_row(const qk_results *results, const char *array, size_t model, const char *field,
                          const char *value);

/* The value at "a.b" of a row; NULL where there is none. */
const json_t *qk_json_at(const json_t *row, const char *path);

extern const char *const qk_result_tensors[3];     /* "q", "k", "v" */
extern const char *const qk_result_tensor_words[3]; /* "query", "key", "value" */

/* ---- what the figures and the page both need, computed from the rows */

/* totals[n_documents]: massive dims of a document over all layers; NaN where a document has no row. */
void qk_document_totals(double *totals, const qk_results *results, size_t model, const char *tensor);
/* The layer where q or k stands out most: the largest max_over_mean of the two; ties: the first. */
size_t qk_striking_layer(const qk_results *results, size_t model);
/* delta[kind][n_documents], nats per token against the baseline of the same document; random is the mean over the
 * controls; NaN where a score is missing. */
qk_status qk_document_deltas(double *const delta[QK_N_KINDS], const qk_results *results, size_t model, qk_error *err);

#endif
