/* track_row.c - a measurement as a row of results.json, and the reference masks out of such a row. */
#include "study/track_row.h"

#include <math.h>
#include <string.h>

static json_t *json_dims(const uint8_t *mask, size_t width)
{
    json_t *dims = json_array();
    for (size_t i = 0; dims && i < width; i++) {
        if (!mask[i] || json_array_append_new(dims, json_integer((json_int_t)i)) == 0) continue;
        json_decref(dims);
        dims = NULL;
    }
    return dims;
}

/* Counts at the looser thresholds into row; summed over layers into sums. */
static void put_looser(qk_row *row, size_t sums[], const double *map, int n_heads, int head_dim)
{
    for (int lambda = QK_TRACK_LOOSER_FIRST; lambda <= QK_TRACK_LOOSER_LAST; lambda++) {
        char key[16];
        snprintf(key, sizeof key, "count_%d", lambda);
        size_t n = qk_massive_mask(NULL, map, n_heads, head_dim, QK_CRITERION_LAYER_MEAN, lambda);
        sums[lambda - QK_TRACK_LOOSER_FIRST] += n;
        qk_row_count(row, key, n);
    }
}

enum { N_LOOSER = QK_TRACK_LOOSER_LAST - QK_TRACK_LOOSER_FIRST + 1 };

/* One tensor: a row a layer into `layers`; its totals. */
static qk_status put_tensor(json_t *totals, json_t *layers, const qk_tracker *t, const qk_measurement *m, int tensor,
                            qk_error *err)
{
    int heads = qk_heads_of(&t->config, tensor), dim = t->config.head_dim;
    size_t width = qk_width_of(&t->config, tensor), looser[N_LOOSER] = { 0 };
    double peak = -INFINITY;
    qk_status status = QK_OK;
    for (int l = 0; !status && l < t->config.n_layers; l++) {
        const uint8_t *mask = m->masks[tensor] + (size_t)l * width;
        const double *map = qk_calibration_map(&m->maps, l, tensor);
        qk_profile p;
        status = qk_profile_of(&p, map, mask, heads, dim, NULL, err);
        if (status) break;
        peak = p.max_over_mean > peak || isnan(p.max_over_mean) ? p.max_over_mean : peak;
        qk_row row = qk_row_start();
        qk_row_text(&row, "tensor", qk_tensor_letters[tensor]);
        qk_row_count(&row, "layer", (size_t)l);
        qk_row_count(&row, "count", p.count);
        put_looser(&row, looser, map, heads, dim);
        qk_row_number(&row, "max_over_mean", p.max_over_mean);
        qk_row_number(&row, "energy_share", p.energy_share);
        qk_row_number(&row, "length", qk_lengths_mean(m->lengths, l, (qk_qkv)tensor));
        qk_row_number(&row, "overlap", qk_mask_jaccard(mask, t->reference[tensor] + (size_t)l * width, width));
        qk_row_json(&row, "dims", json_dims(mask, width));
        status = qk_row_append(layers, &row, err);
    }
    if (status) return status;
    size_t all = (size_t)t->config.n_layers * width;
    qk_row total = qk_row_start();
    qk_row_count(&total, "count", m->n_massive[tensor]);
    for (int i = 0; i < N_LOOSER; i++) {
        char key[16];
        snprintf(key, sizeof key, "count_%d", QK_TRACK_LOOSER_FIRST + i);
        qk_row_count(&total, key, looser[i]);
    }
    qk_row_number(&total, "max_over_mean", peak);
    qk_row_number(&total, "overlap", qk_mask_jaccard(m->masks[tensor], t->reference[tensor], all));
    return qk_json_set(totals, qk_tensor_letters[tensor], qk_row_take(&total), err);
}

/* How much of the rotation that the configuration names is applied: 1 all, 0 none. */
static double rotation_left(const qk_config *config)
{
    size_t n = (size_t)config->n_layers * ((size_t)config->head_dim / 2);
    double sum = 0;
    if (config->rope_kind == QK_ROPE_NONE) return 0;
    for (size_t i = 0; config->rope_amounts && i < n; i++) sum += (double)config->rope_amounts[i];
    return config->rope_amounts ? sum / (double)n : 1;
}

static json_t *json_ablation(const qk_measurement *m)
{
    static const char *const keys[QK_N_TRACK_ARMS] = { NULL, "zero", "mean", "random" };
    qk_row row = qk_row_start();
    qk_row_count(&row, "dims_q", m->n_massive[QK_TENSOR_Q]);
    qk_row_count(&row, "dims_k", m->n_massive[QK_TENSOR_K]);
    for (int a = QK_TRACK_ZERO; a < QK_N_TRACK_ARMS; a++)
        qk_row_number(&row, keys[a], (m->nll[a] - m->nll[QK_TRACK_BASELINE]) / m->n_tokens); /* NaN: not run */
    return qk_row_take(&row);
}

qk_status qk_track_row(json_t **out, const qk_tracker *t, const qk_measurement *m, qk_error *err)
{
    json_t *totals = json_object(), *layers = json_array(), *sinks = json_array();
    bool failed = !sinks;
    qk_status status = totals && layers ? QK_OK : qk_out_of_memory(err, "a row of the tracker", 0);
    for (int i = 0; !status && i < QK_N_TENSORS; i++) status = put_tensor(totals, layers, t, m, i, err);
    for (int l = 0; l < t->config.n_layers; l++)
        failed |= json_array_append_new(sinks, qk_json_number(qk_sinks_rate(m->sinks, l, QK_TRACK_SINK_EPSILON))) != 0;
    qk_row row = qk_row_start();
    row.failed |= failed;
    qk_row_count(&row, "step", (size_t)m->step);
    qk_row_count(&row, "tokens", (size_t)m->tokens);
    qk_row_number(&row, "rotation", rotation_left(m->config));
    qk_row_number(&row, "loss", m->nll[QK_TRACK_BASELINE] / m->n_tokens);
    qk_row_count(&row, "loss_tokens", (size_t)m->n_tokens);
    qk_row_number(&row, "sink_rate", qk_sinks_rate(m->sinks, -1, QK_TRACK_SINK_EPSILON));
    qk_row_count(&row, "sink_sequences", t->n_cut);
    qk_row_json(&row, "sink_by_layer", sinks);
    qk_row_json(&row, "ablation", json_ablation(m));
    qk_row_json(&row, "totals", totals);
    qk_row_json(&row, "tensors", layers);
    json_t *made = qk_row_take(&row);
    if (!status && !made) status = qk_out_of_memory(err, "a row of the tracker", 0);
    if (status) json_decref(made);
    else *out = made;
    return status;
}

qk_status qk_tracker_restore(qk_tracker *tracker, const json_t *first_row, qk_error *err)
{
    const json_t *rows = json_object_get(first_row, "tensors");
    size_t n_layers = (size_t)tracker->config.n_layers, n_seen = 0;
    for (int i = 0; i < QK_N_TENSORS; i++)
        memset(tracker->reference[i], 0, n_layers * qk_width_of(&tracker->config, i));
    for (size_t r = 0; r < json_array_size(rows); r++) {
        const json_t *row = json_array_get(rows, r), *dims = json_object_get(row, "dims");
        const char *letter = json_string_value(json_object_get(row, "tensor"));
        json_int_t layer = json_integer_value(json_object_get(row, "layer"));
        int tensor = 0;
        while (tensor < QK_N_TENSORS && (!letter || strcmp(letter, qk_tensor_letters[tensor]) != 0)) tensor++;
        if (tensor == QK_N_TENSORS || layer < 0 || (uint64_t)layer >= n_layers || !json_is_array(dims)) break;
        size_t width = qk_width_of(&tracker->config, tensor), i = 0;
        for (; i < json_array_size(dims); i++) {
            json_int_t d = json_integer_value(json_array_get(dims, i));
            if (!json_is_integer(json_array_get(dims, i)) || d < 0 || (uint64_t)d >= width) break;
            tracker->reference[tensor][(size_t)layer * width + (size_t)d] = 1;
        }
        if (i < json_array_size(dims)) break;
        n_seen++;
    }
    tracker->has_reference = n_seen == n_layers * QK_N_TENSORS && json_array_size(rows) == n_seen;
    if (tracker->has_reference) return QK_OK;
    return qk_fail(err, QK_E_FORMAT, "the first tracked row: expected the massive dims of %zu layers and tensors of "
                   "the model, found those of %zu", n_layers * QK_N_TENSORS, n_seen);
}
