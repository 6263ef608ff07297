/* drope.h - DroPE (Gelberg et al. 2025): a model without its rotation, or without a part of it, that trains on. */
#ifndef QK_TRAIN_DROPE_H
#define QK_TRAIN_DROPE_H

#include "train/trainer.h"

/* What is left of the rotation where a share t of its gradual removal is ahead: t, or t^3, near nothing for longer. */
typedef enum qk_gradual_law { QK_GRADUAL_LINEAR, QK_GRADUAL_CUBIC } qk_gradual_law;

/* What becomes of the rotation. */
typedef struct qk_drope_plan {
    bool keep;              /* the control: nothing is taken away, everything else is the same */
    const uint8_t *layers;  /* [n_layers] 1 = loses it; NULL = all */
    const uint8_t *pairs;   /* [head_dim/2] rotary pairs that lose it in these layers; NULL = all */
    uint64_t n_gradual;     /* steps in which the amounts fall from 1 to 0; 0 = at once */
    qk_gradual_law law;     /* by which they fall */
    bool q_norm, k_norm;    /* adds an RMSNorm over the whole query / key projection, its gain 1 */
} qk_drope_plan;

typedef struct qk_drope qk_drope;

/* Weights of `source` (borrowed, must outlive it) under the configuration of the plan, as they stand before the first
 * step.  QK_E_ARGUMENT: what is to be taken away is not there, or the norm is there already. */
qk_status qk_drope_new(qk_drope **out, qk_model *source, const qk_drope_plan *plan, qk_error *err);
void qk_drope_free(qk_drope *drope);
qk_parameters *qk_drope_parameters(qk_drope *drope); /* owned by `drope` */
/* Lets the amounts fall; to be put among the hooks of a run. */
qk_training_hook qk_drope_hook(qk_drope *drope);
/* How many layers, and how many pairs of each of them, lose their rotation; 0, 0 for the control. */
void qk_drope_extent(size_t *n_layers, size_t *n_pairs, const qk_drope *drope);

#endif
