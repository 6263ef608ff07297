/* config.h - the sources of a configuration; private to the model room. */
#ifndef QK_MODEL_CONFIG_H
#define QK_MODEL_CONFIG_H

#include "model/model.h"

#define QK_MAX_LAYERS 512

/* Each fills a zeroed *c whose rope_factor and rope_attention_factor are 1. */
qk_status qk_config_from_json(qk_config *c, qk_arena *arena, const json_t *config, qk_error *err);
qk_status qk_config_from_gguf(qk_config *c, qk_arena *arena, const qk_ckpt *ckpt, qk_error *err);
qk_status qk_config_from_llama2c(qk_config *c, const qk_llama2c *header, qk_error *err);

/* YaRN's temperature on cos and sin: 0.1 * mscale * ln(scale) + 1 (Peng et al. 2023); 1 for scale <= 1. */
double qk_yarn_mscale(double scale, double mscale);

#endif
