/* calibration.h - norm maps averaged over documents, and the masks of massive dims that come from them. */
#ifndef QK_STUDY_CALIBRATION_H
#define QK_STUDY_CALIBRATION_H

#include "study/common.h"

int qk_heads_of(const qk_config *config, int tensor);
size_t qk_width_of(const qk_config *config, int tensor); /* heads*head_dim of q, k or v */

typedef struct qk_calibration {
    const qk_config *config;
    const qk_documents *documents;
    bool unnormalised;            /* as the post: a longer document weighs more */
    double *maps[QK_N_TENSORS];   /* [layers][width] mean over documents of M / sqrt(tokens), or of M */
    double *means[QK_N_TENSORS];  /* [layers][width] mean of each dim over all tokens */
    double *scratch;              /* [widest] */
    double n_tokens;
    qk_arena arena;               /* owns all of the above */
} qk_calibration; /* {0} is an empty one */

/* Fills `calibration` from the (tokenized) documents; it borrows the configuration and the documents.  Free it even
 * where the call fails. */
qk_status qk_calibrate(qk_calibration *calibration, const qk_named_model *model, const qk_documents *documents,
                       bool post_rotation, bool unnormalised, const qk_compute *compute, qk_error *err);
void qk_calibration_free(qk_calibration *calibration);
/* The averaged map of one layer. */
static inline const double *qk_calibration_map(const qk_calibration *c, int layer, int tensor)
{
    return c->maps[tensor] + (size_t)layer * qk_width_of(c->config, tensor);
}
static inline const double *qk_calibration_mean(const qk_calibration *c, int layer, int tensor)
{
    return c->means[tensor] + (size_t)layer * qk_width_of(c->config, tensor);
}

#endif
