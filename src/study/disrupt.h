/* disrupt.h - the parts of experiment 2: what is planned for a model, measured on it, said about it. */
#ifndef QK_STUDY_DISRUPT_H
#define QK_STUDY_DISRUPT_H

#include "study/common.h"

typedef enum qk_arm_kind { QK_ARM_BASELINE, QK_ARM_MASSIVE, QK_ARM_RANDOM, QK_ARM_MEAN } qk_arm_kind;

/* One condition of one model: a qk_condition with what the report needs to know of it. */
typedef struct qk_arm {
    qk_arm_kind kind;
    char name[32];        /* baseline, massive, mean, random-42 */
    uint64_t seed;        /* random only */
    qk_edit *edits;       /* [n_edits]; at most one for each layer and tensor, layers in order, q then k then v */
    qk_qkv *tensors;      /* [n_edits] which tensor an edit stands at */
    size_t *n_dims;       /* [n_edits] dims under its mask */
    size_t n_edits;
} qk_arm;

typedef struct qk_disrupt_plan {
    qk_arm *arms;         /* baseline, massive, mean where both_ops asks for it, then the controls */
    size_t n_arms;
    qk_arena arena;       /* owns all of it */
} qk_disrupt_plan;

/* Settings as the preset wants them: what a preset fixes replaces what was given. */
qk_disrupt_settings qk_disrupt_resolve(const qk_disrupt_settings *settings);
/* Masks on the (tokenized) calibration documents, then the arms.  Refuses when nothing is massive. */
qk_status qk_disrupt_plan_model(qk_disrupt_plan *plan, const qk_named_model *model, const qk_documents *calibration,
                                const qk_disrupt_settings *settings, size_t n_layer_flags, const qk_compute *compute,
                                qk_error *err);
/* Random dims, the same number in each layer and tensor as `massive` has. */
qk_status qk_disrupt_add_control(qk_disrupt_plan *plan, const qk_arm *massive, const qk_config *config,
                                 const qk_disrupt_settings *settings, uint64_t seed, qk_error *err);

/* Scores of one model.  Everything is summed in order of documents, so a resumed study has the same bits. */
typedef struct qk_measured {
    const char *model;    /* name */
    qk_disrupt_plan plan;
    size_t n_documents;
    double *n_tokens;     /* [documents] predicted tokens */
    double *nll;          /* [arms][documents], nats */
    double *random_nll;   /* [documents] mean over the controls; NULL without controls */
    qk_receipt **receipts;/* [arms] -> [documents][n_edits] */
    bool *done;           /* [arms][documents] */
} qk_measured;

static inline const double *qk_arm_nll(const qk_measured *m, size_t arm) { return m->nll + arm * m->n_documents; }

/* Room for n_documents under the arms of m->plan; free it even where the call fails. */
qk_status qk_measured_start(qk_measured *m, size_t n_documents, qk_error *err);
void qk_measured_free(qk_measured *m);
/* What the edits of an arm did in one document, for the journal: [[visited, changed, sum_abs, max_abs], ...]. */
json_t *qk_receipts_json(const qk_receipt *receipts, size_t n_edits);
/* False where `list` is not what qk_receipts_json would have written. */
bool qk_receipts_read(qk_receipt *receipts, const json_t *list, size_t n_edits);

/* conditions[] and masks[] of one model; an edit that changed nothing is refused. */
qk_status qk_disrupt_conditions(json_t *results, const qk_measured *m, size_t model, const qk_config *config,
                                qk_error *err);
/* scores[] of one model. */
qk_status qk_disrupt_scores(json_t *results, const qk_measured *m, size_t model, qk_error *err);
/* tensors, layers, seeds, calibration: what the settings of a run say of edits and their masks. */
void qk_disrupt_put_lists(qk_row *row, const qk_disrupt_settings *settings, size_t n_layer_flags,
                          const qk_documents *calibration);
extern const char *const qk_control_names[]; /* [qk_control] "excluding", "uniform", "same-head" */
/* Layers of the smallest model: so many flags `layers` has. */
size_t qk_disrupt_layer_flags(const qk_named_model *models, size_t n_models);
/* What one model holds while it is measured: masks and calibration maps, scores and receipts. */
uint64_t qk_disrupt_table_bytes(const qk_config *config, const qk_disrupt_settings *settings, size_t n_documents);
/* Models whose number of edited dims differs from the first one's: measured[n_models]. */
qk_status qk_disrupt_warn_dose(json_t *warnings, const qk_measured *measured, size_t n_models, qk_error *err);
/* summary[], effects[] and warnings[] of one model. */
qk_status qk_disrupt_summary(json_t *results, const qk_measured *m, size_t model, const qk_documents *documents,
                             size_t n_draws, qk_error *err);
/* tests[] of all models, with Holm's correction, and what differs in dose between them. */
qk_status qk_disrupt_tests(json_t *results, const qk_measured *measured, size_t n_models, qk_error *err);
/* naive: the post's own arithmetic, with the reason why each number is not sound. */
qk_status qk_disrupt_naive(json_t *results, const qk_measured *measured, size_t n_models, qk_error *err);

#endif
