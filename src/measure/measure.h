/* measure.h - what a probe's numbers mean: norm maps, massive values, their profile, masks of controls, lengths, sinks.
 *
 * A map is M[n_heads][head_dim], a mask uint8_t[n_heads][head_dim] with 1 = chosen; both of one layer and one tensor.
 * qk_norms and qk_massive_mask are public (qkscope.h). */
#ifndef QK_MEASURE_H
#define QK_MEASURE_H

#include "base/base.h"

/* ---- rotary pairs: dims d and d + head_dim/2 */

/* slow[m] = 1 where pair m never completes a rotation over `n_context` tokens: n_context * inv_freq < 2 pi.  False, and
 * slow untouched, where nothing rotates. */
bool qk_slow_pairs(uint8_t *slow, const float *inv_freq, int n_pairs, double n_context);
/* pairs[n_heads][head_dim/2] = sqrt(M_d^2 + M_(d + head_dim/2)^2): the same before and after rotation. */
void qk_pair_norms(double *pairs, const double *map, int n_heads, int head_dim);

/* ---- profile of one map */

typedef struct qk_profile {
    size_t count;         /* dims in the mask */
    double max_over_mean; /* largest entry over the mean of the map */
    double energy_share;  /* of sum M^2, what lies under the mask */
    double gini, kurtosis, entropy; /* of the map's entries, stats.h */
    double slow_share;    /* of the masked dims, those in slow pairs; NaN where none is masked or nothing rotates */
} qk_profile;

/* slow[head_dim/2] from qk_slow_pairs, or NULL.  An all-zero map has NaN shares; a NaN in the map is NaN everywhere. */
qk_status qk_profile_of(qk_profile *out, const double *map, const uint8_t *mask, int n_heads, int head_dim,
                        const uint8_t *slow, qk_error *err);

/* ---- lengths.c: how long the vectors of a head are */

/* Sums of ||x[t, h, :]||, the L2 norm of one head's vector at one position, for q, k and v of every layer (before
 * QK-norm and rotation). */
typedef struct qk_lengths qk_lengths;
qk_status qk_lengths_new(qk_lengths **out, const qk_config *config, qk_error *err);
void qk_lengths_free(qk_lengths *lengths);
/* Feeds on every sequence of condition 0; borrows `lengths`. */
qk_probe qk_lengths_probe(qk_lengths *lengths);
/* Mean over positions and heads; NaN where nothing was seen. */
double qk_lengths_mean(const qk_lengths *lengths, int layer, qk_qkv tensor);

/* ---- sinks.c: attention that goes to the first token (Gu et al. 2024) */

/* alpha[sequence][layer][head]: mean over all positions of the attention paid to the first token. */
typedef struct qk_sinks qk_sinks;
qk_status qk_sinks_new(qk_sinks **out, const qk_config *config, size_t n_sequences, qk_error *err);
void qk_sinks_free(qk_sinks *sinks);
/* Feeds on condition 0 at hook_pattern; borrows `sinks`. */
qk_probe qk_sinks_probe(qk_sinks *sinks);
/* Share of (sequence, head) of `layer` with alpha > epsilon; layer -1: of (sequence, layer, head).  NaN without
 * sequences.  It falls with the length of the sequences: compare only equal ones. */
double qk_sinks_rate(const qk_sinks *sinks, int layer, double epsilon);

/* ---- masks */

size_t qk_mask_count(const uint8_t *mask, size_t n);
/* |a and b| / |a or b|; NaN where both are empty. */
double qk_mask_jaccard(const uint8_t *a, const uint8_t *b, size_t n);

typedef enum qk_control {
    QK_CONTROL_EXCLUDING, /* as many dims, anywhere in the layer, never a masked one */
    QK_CONTROL_UNIFORM,   /* as many dims, anywhere, masked ones too (what the post drew) */
    QK_CONTROL_SAME_HEAD  /* as many dims in each head, never a masked one */
} qk_control;

/* A random control of the same size as `mask`, drawn from `rng`.  QK_E_ARGUMENT where too few dims are free. */
qk_status qk_control_mask(uint8_t *control, const uint8_t *mask, int n_heads, int head_dim, qk_control kind,
                          qk_rng *rng, qk_error *err);

#endif
