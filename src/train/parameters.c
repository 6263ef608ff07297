/* parameters.c - all weights of a model in one array that can be written to, and a model that reads them there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/train.h"

/* Items start on cache lines, so that vectors of one never share one with another. */
#define ALIGNMENT 16

static size_t aligned(size_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static qk_status list_items(qk_parameters *p, const qk_config *config, qk_error *err)
{
    qk_weight_shape *shapes = NULL;
    p->n_items = qk_weight_shapes(NULL, config);
    qk_status status = qk_new_array(&shapes, p->n_items, sizeof *shapes, "parameters", err);
    if (!status) status = qk_new_array(&p->items, p->n_items, sizeof *p->items, "parameters", err);
    if (status) goto out;
    qk_weight_shapes(shapes, config);
    for (size_t i = 0; i < p->n_items; i++) {
        size_t n, end;
        if (!qk_mul(shapes[i].n_rows, shapes[i].n_cols, &n) || !qk_add(p->n_values, aligned(n), &end)) {
            status = qk_fail(err, QK_E_MEMORY, "%s: %zu x %zu overflows", shapes[i].name, shapes[i].n_rows,
                             shapes[i].n_cols);
            goto out;
        }
        p->items[i] = (qk_parameter){ .shape = shapes[i], .offset = p->n_values, .n = n };
        p->n_values = end;
    }
out:
    free(shapes);
    return status;
}

/* A model whose weights are p->values. */
static qk_status view_values(qk_parameters *p, const qk_config *config, qk_error *err)
{
    qk_tensor *tensors = NULL;
    qk_ckpt *ckpt;
    const char *folder = p->source ? qk_ckpt_folder(p->source->ckpt) : ".";
    qk_status status = qk_new_array(&tensors, p->n_items, sizeof *tensors, "parameters", err);
    if (status) return status;
    for (size_t i = 0; i < p->n_items; i++) {
        const qk_parameter *item = &p->items[i];
        tensors[i] = (qk_tensor){ .name = item->shape.name,
                                  .dtype = QK_DTYPE_F32,
                                  .n_dims = item->shape.n_dims,
                                  .shape = { item->shape.n_rows, item->shape.n_dims == 2 ? item->shape.n_cols : 0 },
                                  .data = (const uint8_t *)(p->values + item->offset),
                                  .n_bytes = item->n * sizeof(float) };
    }
    status = qk_ckpt_of_tensors(&ckpt, "the model in training", folder, tensors, p->n_items, p->values,
                                p->n_values * sizeof(float), err);
    free(tensors);
    if (status) return status;
    return qk_model_of_tensors(&p->model, ckpt, config, p->source ? p->source->tokenizer : NULL, err);
}

static void fill(float *x, size_t n, float value)
{
    for (size_t i = 0; i < n; i++) x[i] = value;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

qk_status qk_parameters_new(qk_parameters **out, const qk_config *config, qk_model *source, qk_error *err)
{
    qk_parameters *p = NULL;
    qk_status status = qk_new_array(&p, 1, sizeof *p, "parameters", err);
    if (status) return status;
    p->source = source;
    status = list_items(p, config, err);
    if (!status) status = qk_new_floats(&p->values, p->n_values, "weights", err);
    if (!status) status = qk_new_floats(&p->gradient, p->n_values, "gradients", err);
    if (!status) status = qk_new_floats(&p->first_moment, p->n_values, "first moments", err);
    if (!status) status = qk_new_floats(&p->second_moment, p->n_values, "second moments", err);
    if (!status) status = view_values(p, config, err);
    if (status) return qk_parameters_free(p), status;
    for (size_t i = 0; i < p->n_items; i++)
        if (p->items[i].shape.n_dims == 1 && ends_with(p->items[i].shape.name, "norm.weight"))
            fill(p->values + p->items[i].offset, p->items[i].n, 1);
    *out = p;
    return QK_OK;
}

void qk_parameters_free(qk_parameters *p)
{
    if (!p) return;
    qk_model_close(p->model);
    free(p->items);
    free(p->values);
    free(p->gradient);
    free(p->first_moment);
    free(p->second_moment);
    free(p);
}

/* The weight of `from` that lies in the same place as `to` does in its own model; NULL where it has none. */
static const qk_weight *same_place(const qk_model *from, const qk_model *own, const qk_tensor *to)
{
    const qk_weight *const heads[][2] = { { &own->embedding, &from->embedding },
                                          { &own->final_norm, &from->final_norm },
                                          { &own->unembedding, &from->unembedding } };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (heads[i][0]->tensor == to) return heads[i][1]->tensor ? heads[i][1] : NULL;
    for (int l = 0; l < own->config.n_layers && l < from->config.n_layers; l++) {
        const qk_weight *mine = (const qk_weight *)&own->layers[l], *theirs = (const qk_weight *)&from->layers[l];
        for (size_t i = 0; i < sizeof(qk_layer_weights) / sizeof(qk_weight); i++) /* nothing but weights */
            if (mine[i].tensor == to) return theirs[i].tensor ? &theirs[i] : NULL;
    }
    return NULL;
}

qk_status qk_parameters_copy(qk_parameters *p, const qk_model *from, qk_error *err)
{
    if (from->config.n_layers != p->model->config.n_layers)
        return qk_fail(err, QK_E_SHAPE, "%s: expected %d layers, found %d", qk_ckpt_path(from->ckpt),
                       p->model->config.n_layers, from->config.n_layers);
    for (size_t i = 0; i < p->n_items; i++) {
        const qk_parameter *item = &p->items[i];
        const qk_weight *weight =
            same_place(from, p->model, qk_ckpt_find(p->model->ckpt, item->shape.name));
        if (!weight) continue;
        if (weight->n_rows != item->shape.n_rows || weight->n_cols != item->shape.n_cols)
            return qk_fail(err, QK_E_SHAPE, "%s: \"%s\": expected %zu x %zu, found %zu x %zu",
                           qk_ckpt_path(from->ckpt), item->shape.name, item->shape.n_rows, item->shape.n_cols,
                           weight->n_rows, weight->n_cols);
        qk_weight_rows(p->values + item->offset, weight, 0, weight->n_rows);
    }
    return QK_OK;
}

void qk_parameters_randomise(qk_parameters *p, double std, uint64_t seed)
{
    qk_rng rng;
    double narrow = std / sqrt(2.0 * p->model->config.n_layers);
    qk_rng_seed(&rng, seed);
    for (size_t i = 0; i < p->n_items; i++) {
        const qk_parameter *item = &p->items[i];
        if (item->shape.n_dims == 1) continue;
        bool output = ends_with(item->shape.name, "o_proj.weight") || ends_with(item->shape.name, "down_proj.weight");
        for (size_t j = 0; j < item->n; j++)
            p->values[item->offset + j] = (float)(qk_rng_normal(&rng) * (output ? narrow : std));
    }
}

const qk_parameter *qk_parameter_at(const qk_parameters *p, size_t index)
{
    for (size_t i = 0; i < p->n_items; i++)
        if (index >= p->items[i].offset && index < p->items[i].offset + p->items[i].n) return &p->items[i];
    return NULL;
}
