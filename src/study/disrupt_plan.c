/* disrupt_plan.c - which dims of which layers are edited in each condition: massive ones, and as many random ones. */
#include "study/calibration.h"
#include "study/disrupt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const qk_site edit_sites[2][QK_N_TENSORS] = {
    { QK_SITE_Q, QK_SITE_K, QK_SITE_V },
    { QK_SITE_ROT_Q, QK_SITE_ROT_K, QK_SITE_V },
};

qk_disrupt_settings qk_disrupt_resolve(const qk_disrupt_settings *settings)
{
    qk_disrupt_settings s = *settings;
    if (s.preset == QK_PRESET_NONE) return s;
    s.tensor[QK_TENSOR_Q] = s.tensor[QK_TENSOR_K] = true;
    s.tensor[QK_TENSOR_V] = false;
    s.layers = NULL;
    s.mean = false;
    if (s.preset == QK_PRESET_AFRICA) {
        s.lambda = 5;
        s.criterion = QK_CRITERION_LAYER_MEAN;
        s.post_rotation = false;
        s.control = QK_CONTROL_UNIFORM;
        s.n_controls = 10;
        s.seed = 42;
    } else {
        s.criterion = QK_CRITERION_TOP_K;
        s.post_rotation = true;
        s.control = QK_CONTROL_SAME_HEAD;
        if (s.top_k == 0) s.top_k = 1;
    }
    return s;
}

/* ---- arms */

static qk_status start_arm(qk_arm *arm, qk_disrupt_plan *plan, size_t most_edits, qk_error *err)
{
    arm->edits = qk_arena_alloc(&plan->arena, most_edits * sizeof *arm->edits);
    arm->tensors = qk_arena_alloc(&plan->arena, most_edits * sizeof *arm->tensors);
    arm->n_dims = qk_arena_alloc(&plan->arena, most_edits * sizeof *arm->n_dims);
    if (arm->edits && arm->tensors && arm->n_dims) return QK_OK;
    return qk_out_of_memory(err, "edits", most_edits * sizeof *arm->edits);
}

static void add_edit(qk_arm *arm, const qk_edit *edit, qk_qkv tensor, size_t n_dims)
{
    arm->edits[arm->n_edits] = *edit;
    arm->tensors[arm->n_edits] = tensor;
    arm->n_dims[arm->n_edits++] = n_dims;
}

static bool is_chosen(const qk_disrupt_settings *settings, size_t n_layer_flags, int layer, int tensor)
{
    if (!settings->tensor[tensor]) return false;
    return !settings->layers || ((size_t)layer < n_layer_flags && settings->layers[layer]);
}

/* max/mean as the criterion sees it: over the layer, or the largest of the heads. */
static double peak_of(const double *map, int n_heads, int head_dim, qk_criterion criterion)
{
    int n_parts = criterion == QK_CRITERION_HEAD_MEAN ? n_heads : 1;
    size_t n = (size_t)n_heads * (size_t)head_dim / (size_t)n_parts;
    double most = 0;
    for (int p = 0; p < n_parts; p++) {
        double largest = 0, mean = qk_mean(map + (size_t)p * n, n);
        for (size_t i = 0; i < n; i++) largest = fmax(largest, map[(size_t)p * n + i]);
        if (mean > 0) most = fmax(most, largest / mean);
    }
    return most;
}

static qk_status refuse_empty(const qk_named_model *model, const qk_disrupt_settings *settings, double peak,
                              qk_error *err)
{
    char tensors[8] = "";
    for (int t = 0; t < QK_N_TENSORS; t++) {
        if (!settings->tensor[t]) continue;
        if (*tensors) strcat(tensors, ",");
        strcat(tensors, qk_tensor_letters[t]);
    }
    if (!(peak > 1)) {
        return qk_fail(err, QK_E_CHECK, "%s: nothing to edit in %s of the chosen layers", model->name, tensors);
    }
    double hint = ceil(peak) - 1; /* the largest whole lambda that something exceeds */
    return qk_fail(err, QK_E_CHECK, "%s: no massive value at lambda %g in %s: largest max/mean is %.3g; try --lambda "
                   "%g or --criterion top-k", model->name, settings->lambda, tensors, peak, hint >= 1 ? hint : 1);
}

static qk_status add_massive(qk_disrupt_plan *plan, qk_arm *arm, const qk_named_model *model, const qk_calibration *c,
                             const qk_disrupt_settings *settings, size_t n_layer_flags, qk_error *err)
{
    double lambda = settings->criterion == QK_CRITERION_TOP_K ? (double)settings->top_k : settings->lambda, peak = 0;
    const qk_config *config = c->config;
    for (int l = 0; l < config->n_layers; l++) {
        for (int t = 0; t < QK_N_TENSORS; t++) {
            if (!is_chosen(settings, n_layer_flags, l, t)) continue;
            size_t width = qk_width_of(config, t);
            const double *map = qk_calibration_map(c, l, t), *mean = qk_calibration_mean(c, l, t);
            uint8_t *mask = qk_arena_alloc(&plan->arena, width);
            float *values = settings->mean ? qk_arena_alloc(&plan->arena, width * sizeof *values) : NULL;
            if (!mask || (settings->mean && !values)) return qk_out_of_memory(err, "a mask", width);
            int heads = qk_heads_of(config, t);
            size_t n = qk_massive_mask(mask, map, heads, config->head_dim, settings->criterion, lambda);
            peak = fmax(peak, peak_of(map, heads, config->head_dim, settings->criterion));
            if (n == 0) continue;
            for (size_t i = 0; values && i < width; i++) values[i] = (float)mean[i];
            qk_edit edit = { .site = edit_sites[settings->post_rotation][t], .layer = l, .mask = mask, .values = values,
                             .op = settings->mean ? QK_OP_MEAN : QK_OP_ZERO };
            add_edit(arm, &edit, (qk_qkv)t, n);
        }
    }
    return arm->n_edits ? QK_OK : refuse_empty(model, settings, peak, err);
}

/* The dims of `massive`, replaced by their calibration mean. */
static qk_status add_mean(qk_disrupt_plan *plan, const qk_calibration *c, qk_error *err)
{
    const qk_arm *massive = &plan->arms[1];
    qk_arm *arm = &plan->arms[plan->n_arms++];
    *arm = (qk_arm) { .kind = QK_ARM_MEAN, .name = "mean" };
    qk_status status = start_arm(arm, plan, massive->n_edits, err);
    for (size_t i = 0; !status && i < massive->n_edits; i++) {
        qk_edit edit = massive->edits[i];
        size_t width = qk_width_of(c->config, massive->tensors[i]);
        const double *mean = qk_calibration_mean(c, edit.layer, massive->tensors[i]);
        float *values = qk_arena_alloc(&plan->arena, width * sizeof *values);
        if (!values) return qk_out_of_memory(err, "means", width * sizeof *values);
        for (size_t d = 0; d < width; d++) values[d] = (float)mean[d];
        edit.op = QK_OP_MEAN;
        edit.values = values;
        add_edit(arm, &edit, massive->tensors[i], massive->n_dims[i]);
    }
    return status;
}

/* Jin: in each head the top_k dims by norm over the very document, replaced by their mean, after rotation. */
static void add_jin(qk_arm *arm, const qk_config *config, const qk_disrupt_settings *settings)
{
    for (int l = 0; l < config->n_layers; l++) {
        for (int t = 0; t < QK_N_TENSORS; t++) {
            if (!settings->tensor[t]) continue;
            qk_edit edit = { .site = edit_sites[1][t], .layer = l, .op = QK_OP_HEAD_MEAN,
                             .top_k = (int)settings->top_k };
            add_edit(arm, &edit, (qk_qkv)t, (size_t)qk_heads_of(config, t) * settings->top_k);
        }
    }
}

/* k random dims in each head, drawn without regard to their norm. */
static qk_status draw_in_heads(uint8_t *mask, int n_heads, int head_dim, size_t k, qk_rng *rng, qk_error *err)
{
    uint32_t *picks = NULL;
    qk_status status = qk_new_array(&picks, k, sizeof *picks, "random dims", err);
    for (int h = 0; !status && h < n_heads; h++) {
        status = qk_rng_sample(picks, (uint32_t)k, (uint32_t)head_dim, rng, err);
        for (size_t i = 0; !status && i < k; i++) mask[(size_t)h * (size_t)head_dim + picks[i]] = 1;
    }
    free(picks);
    return status;
}

qk_status qk_disrupt_add_control(qk_disrupt_plan *plan, const qk_arm *massive, const qk_config *config,
                                 const qk_disrupt_settings *settings, uint64_t seed, qk_error *err)
{
    qk_arm *arm = &plan->arms[plan->n_arms];
    *arm = (qk_arm) { .kind = QK_ARM_RANDOM, .seed = seed };
    snprintf(arm->name, sizeof arm->name, "random-%llu", (unsigned long long)seed);
    qk_rng rng; /* one for the whole control: layers in order, q then k then v */
    qk_rng_seed(&rng, seed);
    qk_status status = start_arm(arm, plan, massive->n_edits, err);
    for (size_t i = 0; !status && i < massive->n_edits; i++) {
        qk_edit edit = massive->edits[i];
        int heads = qk_heads_of(config, massive->tensors[i]);
        uint8_t *mask = qk_arena_alloc(&plan->arena, qk_width_of(config, massive->tensors[i]));
        if (!mask) return qk_out_of_memory(err, "a mask", qk_width_of(config, massive->tensors[i]));
        if (edit.top_k) status = draw_in_heads(mask, heads, config->head_dim, (size_t)edit.top_k, &rng, err);
        else status = qk_control_mask(mask, edit.mask, heads, config->head_dim, settings->control, &rng, err);
        if (status) qk_prefix(err, status, "layer %d, %s", edit.layer, qk_tensor_letters[massive->tensors[i]]);
        edit.mask = mask;
        edit.top_k = 0;
        add_edit(arm, &edit, massive->tensors[i], massive->n_dims[i]);
    }
    plan->n_arms++;
    return status;
}

static qk_status check_settings(const qk_named_model *model, const qk_disrupt_settings *settings, qk_error *err)
{
    if (!settings->tensor[QK_TENSOR_Q] && !settings->tensor[QK_TENSOR_K] && !settings->tensor[QK_TENSOR_V]) {
        return qk_fail(err, QK_E_ARGUMENT, "--tensors: expected at least one of q, k, v");
    }
    if (settings->criterion == QK_CRITERION_TOP_K) {
        int head_dim = model->model->config.head_dim;
        if (settings->top_k >= 1 && settings->top_k < (size_t)head_dim) return QK_OK;
        return qk_fail(err, QK_E_ARGUMENT, "%s: top-k: expected 1 to %d dims of each head, found %zu", model->name,
                       head_dim - 1, settings->top_k);
    }
    if (settings->lambda > 0 && isfinite(settings->lambda)) return QK_OK;
    return qk_fail(err, QK_E_ARGUMENT, "--lambda: expected a positive number, found %g", settings->lambda);
}

qk_status qk_disrupt_plan_model(qk_disrupt_plan *plan, const qk_named_model *model, const qk_documents *calibration_set,
                                const qk_disrupt_settings *settings, size_t n_layer_flags, const qk_compute *compute,
                                qk_error *err)
{
    const qk_config *config = &model->model->config;
    qk_calibration c = { 0 };
    qk_status status = check_settings(model, settings, err);
    if (status) return status;
    plan->arms = qk_arena_alloc(&plan->arena, (3 + settings->n_controls) * sizeof *plan->arms);
    if (!plan->arms) return qk_out_of_memory(err, "conditions", (3 + settings->n_controls) * sizeof *plan->arms);
    plan->arms[0] = (qk_arm) { .kind = QK_ARM_BASELINE, .name = "baseline" };
    plan->arms[1] = (qk_arm) { .kind = QK_ARM_MASSIVE, .name = "massive" };
    plan->n_arms = 2;
    status = start_arm(&plan->arms[1], plan, (size_t)config->n_layers * QK_N_TENSORS, err);
    if (!status && settings->preset == QK_PRESET_JIN) {
        add_jin(&plan->arms[1], config, settings);
    } else if (!status) {
        bool unnormalised = settings->preset == QK_PRESET_AFRICA;
        status = qk_calibrate(&c, model, calibration_set, settings->post_rotation, unnormalised, compute, err);
        if (!status) status = add_massive(plan, &plan->arms[1], model, &c, settings, n_layer_flags, err);
        if (!status && settings->both_ops) status = add_mean(plan, &c, err);
    }
    for (size_t i = 0; !status && i < settings->n_controls; i++) {
        status = qk_disrupt_add_control(plan, &plan->arms[1], config, settings, settings->seed + i, err);
    }
    qk_calibration_free(&c);
    return status;
}
