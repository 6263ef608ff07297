/* scaling.h - the same weights beyond the trained context: a model under another rotation or attention temperature. */
#ifndef QK_MODEL_SCALING_H
#define QK_MODEL_SCALING_H

#include "model/model.h"

typedef enum qk_method {
    QK_METHOD_NONE,        /* as trained; longrope checkpoints: the short factors at every length */
    QK_METHOD_CROP,        /* as trained, and only the last trained-context tokens are read: for the caller to cut */
    QK_METHOD_LINEAR,      /* position interpolation, Chen et al. 2023 */
    QK_METHOD_NTK,         /* another theta, bloc97 2023 */
    QK_METHOD_NTK_PARTS,   /* YaRN's frequencies without its attention factor */
    QK_METHOD_DYNAMIC,     /* theta by the length of the sequence, bloc97 2023 */
    QK_METHOD_YARN,        /* Peng et al. 2023 */
    QK_METHOD_LLAMA3,      /* Llama 3.1 */
    QK_METHOD_LONGROPE,    /* the checkpoint's own long factors, Ding et al. 2024 */
    QK_METHOD_TEMPERATURE, /* q.k times beta: DroPE, Gelberg et al. 2025 */
    QK_N_METHODS
} qk_method;

/* "none", "crop", "linear", ...; lives for ever. */
const char *qk_method_name(qk_method method);
/* Tokens that the rotation was made for: n_context, or the original context where a YaRN or longrope configuration
 * names one. */
size_t qk_trained_context(const qk_config *config);
/* QK_E_UNSUPPORTED says by name why `method` makes no sense for a model: nothing to rotate, no factors, a scaling of
 * its own. */
qk_status qk_method_check(const qk_config *config, qk_method method, qk_error *err);
/* The same model under `method`, stretched by `factor` (1 and below: not at all; dynamic: its factor of the formula;
 * temperature: beta).  A view that borrows everything: not to be closed, gone with the model.  docs/METHODS.md, "Beyond
 * the trained context". */
qk_status qk_model_scaled(qk_model *view, const qk_model *model, qk_method method, double factor, qk_error *err);

#endif
