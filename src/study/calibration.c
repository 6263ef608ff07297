/* calibration.c - norm maps averaged over documents. */
#include "study/calibration.h"

#include <math.h>

int qk_heads_of(const qk_config *config, int tensor)
{
    return tensor == QK_TENSOR_Q ? config->n_heads : config->n_kv_heads;
}

size_t qk_width_of(const qk_config *config, int tensor)
{
    return (size_t)qk_heads_of(config, tensor) * (size_t)config->head_dim;
}

static qk_status add_document(void *user, const qk_norms *norms, size_t sequence, size_t document, qk_error *err)
{
    (void)err;
    qk_calibration *c = user;
    double n = (double)c->documents->items[document].n_tokens, scale = c->unnormalised ? 1 : 1 / sqrt(n);
    for (int t = 0; t < QK_N_TENSORS; t++) {
        size_t width = qk_width_of(c->config, t);
        for (int l = 0; l < c->config->n_layers; l++) {
            double *map = c->maps[t] + (size_t)l * width, *mean = c->means[t] + (size_t)l * width;
            qk_norms_map(c->scratch, norms, sequence, l, (qk_qkv)t);
            for (size_t i = 0; i < width; i++) map[i] += scale * c->scratch[i];
            qk_norms_mean(c->scratch, norms, sequence, sequence + 1, l, (qk_qkv)t);
            for (size_t i = 0; i < width; i++) mean[i] += n * c->scratch[i];
        }
    }
    c->n_tokens += n;
    return QK_OK;
}

qk_status qk_calibrate(qk_calibration *c, const qk_named_model *model, const qk_documents *documents,
                       bool post_rotation, bool unnormalised, const qk_compute *compute, qk_error *err)
{
    c->config = &model->model->config;
    c->documents = documents;
    c->unnormalised = unnormalised;
    size_t n_layers = (size_t)c->config->n_layers, widest = qk_width_of(c->config, QK_TENSOR_Q);
    bool failed = !(c->scratch = qk_arena_alloc(&c->arena, widest * sizeof(double)));
    for (int t = 0; t < QK_N_TENSORS; t++) {
        size_t n_bytes = n_layers * qk_width_of(c->config, t) * sizeof(double);
        failed |= !(c->maps[t] = qk_arena_alloc(&c->arena, n_bytes));
        failed |= !(c->means[t] = qk_arena_alloc(&c->arena, n_bytes));
    }
    if (failed) return qk_out_of_memory(err, "calibration maps", n_layers * widest * sizeof(double));
    qk_status status = qk_study_norms(model, documents, post_rotation, compute, add_document, c, err);
    for (int t = 0; !status && t < QK_N_TENSORS; t++) {
        for (size_t i = 0; i < n_layers * qk_width_of(c->config, t); i++) {
            c->maps[t][i] /= (double)documents->n;
            c->means[t][i] /= c->n_tokens;
        }
    }
    return status;
}

void qk_calibration_free(qk_calibration *c)
{
    qk_arena_free(&c->arena);
    *c = (qk_calibration) { 0 };
}
