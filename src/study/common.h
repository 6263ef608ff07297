/* common.h - what the studies share: rows of results.json, documents on their way into a pass, norms of all. */
#ifndef QK_STUDY_COMMON_H
#define QK_STUDY_COMMON_H

#include "stats/stats.h"
#include "study/study.h"

extern const char *const qk_tensor_letters[QK_N_TENSORS]; /* "q", "k", "v" */

/* ---- results.json (common.c) */

/* An object under construction: fields are put one by one, and a failed allocation is kept until the row is taken, so
 * that a row needs one check. */
typedef struct qk_row { json_t *object; bool failed; } qk_row;
qk_row qk_row_start(void);
void qk_row_number(qk_row *row, const char *key, double x);      /* null where x is not finite */
void qk_row_interval(qk_row *row, const char *key, double low, double high); /* null where either is not finite */
void qk_row_estimate(qk_row *row, const char *key, const qk_interval *interval); /* null where refused */
void qk_row_count(qk_row *row, const char *key, size_t n);
void qk_row_text(qk_row *row, const char *key, const char *utf8);/* null for NULL; '?' for what is not UTF-8 */
void qk_row_flag(qk_row *row, const char *key, bool yes);
void qk_row_null(qk_row *row, const char *key);
void qk_row_json(qk_row *row, const char *key, json_t *value);   /* steals value; NULL = it could not be made */
json_t *qk_row_take(qk_row *row);                                /* the object, or NULL where anything failed */
qk_status qk_row_append(json_t *array, qk_row *row, qk_error *err);

json_t *qk_json_number(double x);       /* null where x is not finite */
json_t *qk_json_text(const char *utf8); /* what is not UTF-8 becomes '?': file names come from outside */
/* Both steal `value`; NULL there means that memory ran out. */
qk_status qk_json_set(json_t *object, const char *key, json_t *value, qk_error *err);
qk_status qk_json_append(json_t *array, json_t *value, qk_error *err);
/* One line into warnings[] (an array). */
qk_status qk_json_warn(json_t *warnings, qk_error *err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* models[] with pairs[]; documents[] without tokens_by_model. */
json_t *qk_json_models(const qk_named_model *models, size_t n_models);
json_t *qk_json_documents(const qk_documents *documents);
/* A row of tests[] without model and comparison. */
json_t *qk_json_test(const qk_test *test, const char *effect_name);
const char *qk_precision_name(qk_precision precision);
const char *qk_criterion_name(qk_criterion criterion);

/* ---- documents (documents.c) */

/* Tokens a document is cut to: -c, or the shortest trained context of the models, so that all read the same text. */
size_t qk_study_context(const qk_named_model *models, size_t n_models, const qk_compute *compute);
/* Tokens of every document for this model; a model without tokenizer is refused with the reason it has none. */
qk_status qk_study_tokenize(qk_documents *documents, const qk_named_model *model, size_t max_tokens, bool no_bos,
                            qk_error *err);
/* sequences[n] of all documents, scored from the second token; malloc'ed, the caller's; tokens stay the documents'. */
qk_status qk_study_sequences(qk_sequence **sequences, const qk_documents *documents, qk_error *err);
/* After each tokenization: `tokens` and `cut` of this model into documents[].tokens_by_model and cut_by_model. */
qk_status qk_json_tokens_of_model(json_t *rows, const qk_documents *documents, qk_error *err);
/* Warnings about the set itself: few documents, repetitive ones, cut ones. */
qk_status qk_warn_documents(json_t *warnings, const qk_documents *documents, size_t context, qk_error *err);
/* Warnings about contexts beyond what a model was trained on. */
qk_status qk_warn_context(json_t *warnings, const qk_named_model *models, size_t n_models, size_t context,
                          qk_error *err);
/* A row of results.json in bytes: while it is built, written and read again by the report. */
enum { QK_STUDY_ROW_BYTES = 2048 };
/* Takes off the budget of a study's passes what the study itself holds; QK_E_BUDGET names `what` where nothing is left.
 * Without a budget (max_bytes 0) nothing happens. */
qk_status qk_study_reserve(qk_compute *budget, uint64_t n_bytes, const char *what, qk_error *err);
/* The same for texts and tokens of a tokenized set; encoding its longest text must have fitted too. */
qk_status qk_study_reserve_documents(qk_compute *budget, const qk_documents *documents, qk_error *err);
/* Says, where a pass found too little left of the budget given, how much the study holds. */
qk_status qk_study_over_budget(qk_status status, const qk_compute *given, const qk_compute *budget, qk_error *err);
/* The part of a pass that every study fills alike. */
qk_pass_spec qk_study_spec(const qk_compute *compute);

/* ---- norms of every document, in as many passes as memory asks for (documents.c) */

/* Called for document after document, in order; `sequence` is its index in `norms`, `document` its index in the set. */
typedef qk_status qk_norms_visit(void *user, const qk_norms *norms, size_t sequence, size_t document, qk_error *err);
qk_status qk_study_norms(const qk_named_model *model, const qk_documents *documents, bool post_rotation,
                         const qk_compute *compute, qk_norms_visit *visit, void *user, qk_error *err);

#endif
