/* temperature.h - the attention temperature beta at which a model reads a longer context best.
 *
 * softmax_scale = beta / sqrt(head_dim), absolute: beta 1 is what a model is trained with (DroPE, Gelberg et al. 2025,
 * after Wang et al. 2024). */
#ifndef QK_STUDY_TEMPERATURE_H
#define QK_STUDY_TEMPERATURE_H

#include "study/common.h"

#define QK_BETA_LOW 0.5
#define QK_BETA_HIGH 3.0
enum { QK_BETA_GRID = 11 }; /* a look every 0.25 first: the loss need not have one minimum only */
#define QK_BETA_TOLERANCE 2e-3

/* beta* = 1 + c ln s as the paper found it, s times the trained context. */
#define QK_BETA_SLOPE_SCRATCH 0.412    /* models trained from scratch */
#define QK_BETA_SLOPE_PRETRAINED 0.103 /* SmolLM, recalibrated */

typedef struct qk_temperature {
    double beta, nll;      /* of the least loss; nats per token */
    double nll_at_one;     /* at beta = 1 */
    double trained_nll, trained_nll_at_one; /* the same two on the sequences cut to the trained context */
    size_t context;        /* tokens of the longest sequence */
    double stretch;        /* s: context / trained context */
    size_t n_sequences, n_tokens; /* predicted tokens */
    size_t n_curve;
    struct { double beta, nll; } curve[64]; /* every beta that was tried, ascending */
    bool at_edge;          /* the loss still falls at an end of the range: beta is that end */
} qk_temperature;

/* Sequences of up to `context` tokens out of `documents` (tokenized), longer than the model's trained context, at most
 * `max_tokens` tokens together (0 = all): documents that are longer than it, or, when `joined`, all documents as one
 * text.  QK_E_ARGUMENT: no document is long enough.  malloc'ed, the caller's; *text is what joined ones point into. */
qk_status qk_temperature_sequences(qk_sequence **sequences, size_t *n, int32_t **text, const qk_documents *documents,
                                   const qk_config *config, size_t context, size_t max_tokens, bool joined,
                                   qk_error *err);
/* The least loss over `sequences` for beta in [QK_BETA_LOW, QK_BETA_HIGH]: the best of a grid, then golden sections
 * between its neighbours.  The model is not changed. */
qk_status qk_temperature_fit(qk_temperature *out, const qk_model *model, const qk_sequence *sequences, size_t n,
                             const qk_compute *compute, qk_error *err);
/* The object `temperature` of results.json (docs/RESULTS.md); NULL when out of memory. */
json_t *qk_temperature_json(const qk_temperature *fit);

#endif
