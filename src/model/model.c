/* model.c - open and close: configuration, weights, tokenizer. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

qk_status qk_model_open(qk_model **out, const char *path, const char *cache_dir, qk_error *err)
{
    qk_model *model = NULL;
    qk_status status = qk_new_array(&model, 1, sizeof *model, "model", err);
    if (status) return status;
    status = qk_ckpt_open(&model->ckpt, path, cache_dir, err);
    if (!status) status = qk_config_read(&model->config, &model->arena, model->ckpt, err);
    if (!status) status = qk_bind_weights(model, err);
    if (status) goto out;
    /* A checkpoint without a tokenizer can still be measured on captured tokens: the reason is kept for who asks for
     * text. A tokenizer that is there and broken is an error at once. */
    qk_status text = qk_tokenizer_open(&model->tokenizer, model->ckpt, &model->tokenizer_error);
    if (text && text != QK_E_IO) {
        status = qk_fail(err, text, "%s", model->tokenizer_error.message);
        goto out;
    }
    *out = model;
    model = NULL;
out:
    qk_model_close(model);
    return status;
}

/* A table of the configuration into the model's own memory. */
static qk_status own(const float **table, qk_arena *arena, size_t n, qk_error *err)
{
    if (!*table) return QK_OK;
    float *copy = qk_arena_alloc(arena, n * sizeof *copy);
    if (!copy) return qk_out_of_memory(err, "rotary factors", n * sizeof *copy);
    memcpy(copy, *table, n * sizeof *copy);
    *table = copy;
    return QK_OK;
}

qk_status qk_model_of_tensors(qk_model **out, qk_ckpt *ckpt, const qk_config *config, qk_tokenizer *tokenizer,
                              qk_error *err)
{
    qk_model *model = NULL;
    size_t half = (size_t)config->head_dim / 2;
    qk_status status = qk_new_array(&model, 1, sizeof *model, "model", err);
    if (status) return qk_ckpt_close(ckpt), status;
    *model = (qk_model){ .config = *config, .ckpt = ckpt, .tokenizer = tokenizer, .lent_tokenizer = true };
    qk_fail(&model->tokenizer_error, QK_E_IO, "%s: no tokenizer", qk_ckpt_path(ckpt));
    status = own(&model->config.rope_factors_short, &model->arena, half, err);
    if (!status) status = own(&model->config.rope_factors_long, &model->arena, half, err);
    if (!status) status = own(&model->config.rope_amounts, &model->arena, half * (size_t)config->n_layers, err);
    if (!status) status = qk_bind_weights(model, err);
    if (status) qk_model_close(model);
    else *out = model;
    return status;
}

qk_model qk_model_at_scale(const qk_model *model, double softmax_scale)
{
    qk_model view = *model;
    view.config.softmax_scale = softmax_scale;
    return view;
}

void qk_model_close(qk_model *model)
{
    if (!model) return;
    if (!model->lent_tokenizer) qk_tokenizer_close(model->tokenizer);
    qk_quantized_free(&model->quantized);
    qk_ckpt_close(model->ckpt);
    qk_arena_free(&model->arena);
    free(model->memory);
    free(model);
}

const qk_config *qk_model_config(const qk_model *model) { return &model->config; }

qk_status qk_tokenize(int32_t **tokens, size_t *n_tokens, const qk_model *model, const char *utf8, size_t n_bytes,
                      bool add_bos, qk_error *err)
{
    if (!model->tokenizer) return qk_fail(err, model->tokenizer_error.status, "%s", model->tokenizer_error.message);
    return qk_encode(tokens, n_tokens, model->tokenizer, utf8, n_bytes, (qk_encode_options){ .no_bos = !add_bos }, err);
}

qk_status qk_detokenize(char **utf8, const qk_model *model, const int32_t *tokens, size_t n_tokens, qk_error *err)
{
    size_t n_bytes;
    if (!model->tokenizer) return qk_fail(err, model->tokenizer_error.status, "%s", model->tokenizer_error.message);
    return qk_decode(utf8, &n_bytes, model->tokenizer, tokens, n_tokens, err);
}
