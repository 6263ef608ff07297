/* track.c - one measurement of a model on the probe documents: masks on the first half, their cost on the second. */
#include "study/track.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "study/track_row.h"

static const char *const arm_names[QK_N_TRACK_ARMS] = { "baseline", "zero", "mean", "random" };

/* ---- the tracker */

static qk_status refuse_copies(const qk_documents *probe, size_t n_first, qk_error *err)
{
    for (size_t i = 0; i < n_first; i++) {
        for (size_t k = n_first; k < probe->n; k++) {
            if (strcmp(probe->items[i].sha256, probe->items[k].sha256) != 0) continue;
            return qk_fail(err, QK_E_ARGUMENT, "probe documents %s and %s are the same text: masks must be found on "
                           "other documents than those they are tested on", probe->items[i].id, probe->items[k].id);
        }
    }
    return QK_OK;
}

static qk_status new_tracker(qk_tracker *t, const qk_documents *probe, qk_error *err)
{
    size_t n_first = qk_track_identifying(probe->n), n_layers = (size_t)t->config.n_layers;
    bool failed = false;
    t->identifying = t->evaluating = *probe;
    t->identifying.n = n_first;
    t->evaluating.items += n_first;
    t->evaluating.n -= n_first;
    for (int i = 0; i < QK_N_TENSORS; i++)
        failed |= !(t->reference[i] = qk_arena_alloc(&t->arena, n_layers * qk_width_of(&t->config, i)));
    failed |= !(t->scored = qk_arena_alloc(&t->arena, t->evaluating.n * sizeof *t->scored));
    failed |= !(t->cut = qk_arena_alloc(&t->arena, probe->n * sizeof *t->cut));
    if (failed) return qk_out_of_memory(err, "a tracker", probe->n * sizeof *t->cut);
    for (size_t i = 0; i < t->evaluating.n; i++) {
        const qk_document *d = &t->evaluating.items[i];
        t->scored[i] = (qk_sequence) { d->tokens, d->n_tokens, 1 };
    }
    for (size_t i = 0; i < probe->n; i++) {
        const qk_document *d = &probe->items[i];
        if (d->n_tokens >= QK_TRACK_SINK_TOKENS)
            t->cut[t->n_cut++] = (qk_sequence) { d->tokens, QK_TRACK_SINK_TOKENS, 1 };
    }
    return QK_OK;
}

qk_status qk_tracker_new(qk_tracker **out, const qk_config *config, const qk_documents *probe,
                         const qk_tracker_settings *settings, qk_error *err)
{
    qk_tracker *t = NULL;
    if (probe->n < 2)
        return qk_fail(err, QK_E_ARGUMENT, "probe documents: expected at least 2 (one to find masks on, one to test "
                       "them), found %zu", probe->n);
    if (!(settings->lambda > 0) || !isfinite(settings->lambda))
        return qk_fail(err, QK_E_ARGUMENT, "--lambda: expected a positive number, found %g", settings->lambda);
    qk_status status = refuse_copies(probe, qk_track_identifying(probe->n), err);
    if (!status) status = qk_new_array(&t, 1, sizeof *t, "a tracker", err);
    if (status) return status;
    t->config = *config;
    t->settings = *settings;
    status = new_tracker(t, probe, err);
    if (status) qk_tracker_free(t);
    else *out = t;
    return status;
}

void qk_tracker_free(qk_tracker *tracker)
{
    if (!tracker) return;
    qk_arena_free(&tracker->arena);
    free(tracker);
}

static qk_status check_shape(const qk_config *a, const qk_config *b, qk_error *err)
{
    if (a->n_layers == b->n_layers && a->n_heads == b->n_heads && a->n_kv_heads == b->n_kv_heads &&
        a->head_dim == b->head_dim)
        return QK_OK;
    return qk_fail(err, QK_E_SHAPE, "tracker: expected %d layers of %d and %d heads of %d dims, found %d of %d and %d "
                   "of %d", a->n_layers, a->n_heads, a->n_kv_heads, a->head_dim, b->n_layers, b->n_heads, b->n_kv_heads,
                   b->head_dim);
}

/* ---- masks and edits */

static qk_status find_masks(qk_measurement *m, const qk_tracker *t, const qk_named_model *model, qk_error *err)
{
    qk_status status = qk_calibrate(&m->maps, model, &t->identifying, false, false, &t->settings.compute, err);
    for (int i = 0; !status && i < QK_N_TENSORS; i++) {
        size_t width = qk_width_of(&t->config, i);
        m->masks[i] = qk_arena_alloc(&m->arena, (size_t)t->config.n_layers * width);
        if (!m->masks[i]) return qk_out_of_memory(err, "masks", width);
        for (int l = 0; l < t->config.n_layers; l++) {
            m->n_massive[i] += qk_massive_mask(m->masks[i] + (size_t)l * width, qk_calibration_map(&m->maps, l, i),
                                               qk_heads_of(&t->config, i), t->config.head_dim,
                                               QK_CRITERION_LAYER_MEAN, t->settings.lambda);
        }
    }
    return status;
}

/* The edits of one layer and tensor in every arm. */
static qk_status add_edits(qk_measurement *m, const qk_tracker *t, int layer, int tensor, qk_rng *rng, qk_error *err)
{
    static const qk_site sites[] = { QK_SITE_Q, QK_SITE_K };
    size_t width = qk_width_of(&t->config, tensor);
    const uint8_t *mask = m->masks[tensor] + (size_t)layer * width;
    const double *mean = qk_calibration_mean(&m->maps, layer, tensor);
    size_t n = qk_mask_count(mask, width);
    if (n == 0) return QK_OK;
    uint8_t *control = qk_arena_alloc(&m->arena, width);
    float *values = qk_arena_alloc(&m->arena, width * sizeof *values);
    if (!control || !values) return qk_out_of_memory(err, "masks", width);
    for (size_t i = 0; i < width; i++) values[i] = (float)mean[i];
    qk_edit edit = { .site = sites[tensor], .layer = layer, .op = QK_OP_ZERO, .mask = mask };
    m->edits[QK_TRACK_ZERO][m->n_edits] = edit;
    edit.op = QK_OP_MEAN;
    edit.values = values;
    m->edits[QK_TRACK_MEAN][m->n_edits] = edit;
    m->controlled = m->controlled && 2 * n <= width; /* else there are too few other dims to draw from */
    if (m->controlled) {
        qk_status status = qk_control_mask(control, mask, qk_heads_of(&t->config, tensor), t->config.head_dim,
                                           QK_CONTROL_EXCLUDING, rng, err);
        if (status) return status;
        edit = (qk_edit) { .site = sites[tensor], .layer = layer, .op = QK_OP_ZERO, .mask = control };
        m->edits[QK_TRACK_RANDOM][m->n_edits] = edit;
    }
    m->n_edits++;
    return QK_OK;
}

/* The massive dims of q and k together, in all layers at once. */
static qk_status plan_edits(qk_measurement *m, const qk_tracker *t, qk_error *err)
{
    qk_rng rng;
    qk_status status = QK_OK;
    size_t most = (size_t)t->config.n_layers * 2;
    for (int a = QK_TRACK_ZERO; a < QK_N_TRACK_ARMS; a++) {
        m->edits[a] = qk_arena_alloc(&m->arena, most * sizeof *m->edits[a]);
        if (!m->edits[a]) return qk_out_of_memory(err, "edits", most * sizeof *m->edits[a]);
    }
    qk_rng_seed(&rng, t->settings.seed);
    m->controlled = true;
    for (int l = 0; l < t->config.n_layers; l++) {
        for (int i = QK_TENSOR_Q; !status && i <= QK_TENSOR_K; i++) status = add_edits(m, t, l, i, &rng, err);
    }
    return status;
}

/* ---- passes */

/* Loss of the evaluating documents, as they are and with q and k broken; lengths on the way. */
static qk_status evaluate(qk_measurement *m, const qk_tracker *t, const qk_model *model, qk_error *err)
{
    qk_condition conditions[QK_N_TRACK_ARMS];
    qk_pass_result *result = NULL;
    size_t n = m->n_edits == 0 ? 1 : m->controlled ? QK_N_TRACK_ARMS : QK_TRACK_RANDOM;
    for (size_t a = 0; a < n; a++)
        conditions[a] = (qk_condition) { arm_names[a], m->edits[a], a == QK_TRACK_BASELINE ? 0 : m->n_edits };
    qk_status status = qk_lengths_new(&m->lengths, &t->config, err);
    if (status) return status;
    qk_probe probe = qk_lengths_probe(m->lengths);
    qk_pass_spec spec = qk_study_spec(&t->settings.compute);
    spec.sequences = t->scored;
    spec.n_sequences = t->evaluating.n;
    spec.conditions = conditions;
    spec.n_conditions = n;
    spec.probes = &probe;
    spec.n_probes = 1;
    spec.score = true;
    status = qk_pass_run(&result, model, &spec, err);
    for (size_t a = 0; a < QK_N_TRACK_ARMS; a++) m->nll[a] = !status && a < n ? 0 : NAN;
    for (size_t s = 0; !status && s < t->evaluating.n; s++) {
        for (size_t a = 0; a < n; a++) m->nll[a] += result->scores[s * n + a].nll;
        m->n_tokens += (double)result->scores[s * n].n_tokens;
    }
    qk_pass_result_free(result);
    return status;
}

/* Attention to the first token, over the first tokens of every document that is long enough. */
static qk_status see_sinks(qk_measurement *m, const qk_tracker *t, const qk_model *model, qk_error *err)
{
    qk_pass_result *result = NULL;
    qk_status status = qk_sinks_new(&m->sinks, &t->config, t->n_cut, err);
    if (status || t->n_cut == 0) return status;
    qk_probe probe = qk_sinks_probe(m->sinks);
    qk_pass_spec spec = qk_study_spec(&t->settings.compute);
    spec.sequences = t->cut;
    spec.n_sequences = t->n_cut;
    spec.probes = &probe;
    spec.n_probes = 1;
    status = qk_pass_run(&result, model, &spec, err);
    qk_pass_result_free(result);
    return status;
}

qk_status qk_tracker_measure(json_t **row, qk_tracker *tracker, const qk_model *model, uint64_t step, uint64_t tokens,
                             qk_error *err)
{
    const qk_named_model named = { "model", (qk_model *)(uintptr_t)model, "" };
    qk_measurement m = { .config = &model->config, .step = step, .tokens = tokens };
    qk_status status = check_shape(&tracker->config, &model->config, err);
    if (!status) status = find_masks(&m, tracker, &named, err);
    if (!status) status = plan_edits(&m, tracker, err);
    if (!status) status = evaluate(&m, tracker, model, err);
    if (!status) status = see_sinks(&m, tracker, model, err);
    for (int i = 0; !status && !tracker->has_reference && i < QK_N_TENSORS; i++)
        memcpy(tracker->reference[i], m.masks[i], (size_t)tracker->config.n_layers * qk_width_of(&tracker->config, i));
    if (!status) tracker->has_reference = true;
    if (!status) status = qk_track_row(row, tracker, &m, err);
    if (status) qk_prefix(err, status, "tracking step %llu", (unsigned long long)step);
    qk_lengths_free(m.lengths);
    qk_sinks_free(m.sinks);
    qk_calibration_free(&m.maps);
    qk_arena_free(&m.arena);
    return status;
}
