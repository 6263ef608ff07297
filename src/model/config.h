/* config.h - the sources of a configuration; private to the model room. */
#ifndef QK_MODEL_CONFIG_H
#define QK_MODEL_CONFIG_H

#include "model/model.h"

#define QK_MAX_LAYERS 512

/* Each fills a zeroed *c whose rope_factor and rope_attention_factor are 1. */
qk_status qk_config_from_json(qk_config *c, qk_arena *arena, const json_t *config, qk_error *err);
qk_status qk_config_from_gguf(qk_config *c, qk_arena *arena, const qk_ckpt *ckpt, qk_error *err);
qk_status qk_config_from_llama2c(qk_config *c, const qk_llama2c *header, qk_error *err);

/* ---- models that lost part of their rotation (config_partial.c) */

#define QK_OWN_PREFIX "qkscope_" /* before the family's model_type where no published class computes the same */
/* A longrope divisor so large that the pair stands still: cos 1, sin 0 over any context. */
#define QK_STILL_FACTOR 1e30

typedef enum qk_rotation_left {
    QK_ROTATION_WHOLE,  /* as trained */
    QK_ROTATION_LAYERS, /* whole layers lost it */
    QK_ROTATION_PAIRS,  /* the same rotary pairs lost it in every layer */
    QK_ROTATION_PARTLY, /* anything else */
    QK_ROTATION_NONE
} qk_rotation_left;
qk_rotation_left qk_rotation_of(const qk_config *c);
/* 1/sqrt(head_dim), as near as a file that keeps it in single precision can say. */
bool qk_softmax_scale_is_plain(const qk_config *c);
/* SmolLM3: `no_rope_layers` (1 = rotated), else every `no_rope_layer_interval`-th layer -> rope_amounts. */
qk_status qk_read_rotated_layers(qk_config *c, const json_t *config, qk_arena *arena, qk_error *err);
/* The keys of model types of our own: "softmax_scale", "qkscope_qk_norm", "qkscope_rope_amounts". */
qk_status qk_read_own_keys(qk_config *c, const json_t *config, qk_arena *arena, qk_error *err);
/* Added to `config`; keys that say nothing new are left out.  false: out of memory. */
bool qk_write_rotated_layers(json_t *config, const qk_config *c);
bool qk_write_own_keys(json_t *config, const qk_config *c);

/* YaRN's temperature on cos and sin: 0.1 * mscale * ln(scale) + 1 (Peng et al. 2023); 1 for scale <= 1. */
double qk_yarn_mscale(double scale, double mscale);

#endif
