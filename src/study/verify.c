/* verify.c - every site that a golden file holds, compared with what the pass shows there, row by row. */
#include "study/common.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One golden tensor and what was found at its site. */
typedef struct checked {
    const qk_tensor *golden; /* NULL where the file has none */
    double max_abs, max_golden, sum_squares, sum_golden_squares;
    size_t n_seen, n_bad;    /* entries compared; NaN, or infinite on one side only */
} checked;

typedef struct verification {
    const qk_config *config;
    checked *table; /* [QK_N_SITES][n_layers]; sites without a layer use layer 0 */
    float *row;     /* [row_size] a golden row as f32 */
    size_t row_size;
    size_t n_tokens;
} verification;

static checked *entry_at(const verification *v, qk_site site, int layer)
{
    return &v->table[(size_t)site * (size_t)v->config->n_layers + (size_t)(layer < 0 ? 0 : layer)];
}

static void compare(checked *entry, const float *found, const float *golden, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double a = (double)found[i], b = (double)golden[i];
        if (isinf(a) && a == b) continue; /* masked in both */
        if (!isfinite(a) || !isfinite(b)) {
            entry->n_bad++;
            continue;
        }
        double difference = fabs(a - b);
        if (difference > entry->max_abs) entry->max_abs = difference;
        if (fabs(b) > entry->max_golden) entry->max_golden = fabs(b);
        entry->sum_squares += difference * difference;
        entry->sum_golden_squares += b * b;
    }
    entry->n_seen += n;
}

static qk_status see(void *user, const qk_view *view, qk_error *err)
{
    (void)err;
    verification *v = user;
    checked *entry = entry_at(v, view->site, view->layer);
    if (!entry->golden) return QK_OK;
    const qk_dtype_info *dtype = qk_dtype_describe(entry->golden->dtype);
    for (size_t r = 0; r < view->n_rows; r++) {
        size_t row = view->row0 + r;
        if (view->head >= 0) row += (size_t)view->head * v->n_tokens; /* [head][query][key] */
        const uint8_t *golden = entry->golden->data + row * view->width * dtype->block_bytes;
        dtype->to_f32(v->row, golden, view->width);
        compare(entry, view->x + r * view->stride, v->row, view->width);
    }
    return QK_OK;
}

static qk_status read_tokens(int32_t **tokens, size_t *n_tokens, const qk_ckpt *ckpt, int n_vocab, qk_error *err)
{
    const qk_tensor *t = qk_ckpt_find(ckpt, "tokens");
    const char *path = qk_ckpt_path(ckpt);
    if (!t) return qk_fail(err, QK_E_FORMAT, "%s: tensor tokens: expected one, found none", path);
    if (t->dtype != QK_DTYPE_I64 && t->dtype != QK_DTYPE_I32) {
        return qk_fail(err, QK_E_FORMAT, "%s: tensor tokens: expected I64 or I32, found %s", path,
                       qk_dtype_describe(t->dtype)->name);
    }
    if (t->n_dims < 1 || t->n_dims > 2 || (t->n_dims == 2 && t->shape[0] != 1) || t->shape[t->n_dims - 1] == 0) {
        return qk_fail(err, QK_E_FORMAT, "%s: tensor tokens: expected [n] or [1, n], n >= 1, found %d axes, first %llu",
                       path, t->n_dims, t->n_dims ? (unsigned long long)t->shape[0] : 0ULL);
    }
    size_t n = (size_t)t->shape[t->n_dims - 1], size = qk_dtype_describe(t->dtype)->block_bytes;
    int32_t *list = NULL;
    qk_status status = qk_new_array(&list, n, sizeof *list, "tokens", err);
    for (size_t i = 0; !status && i < n; i++) {
        int64_t wide = 0;
        int32_t narrow = 0;
        if (size == 8) memcpy(&wide, t->data + 8 * i, 8);
        else memcpy(&narrow, t->data + 4 * i, 4), wide = narrow;
        list[i] = (int32_t)wide;
        if (wide < 0 || wide >= n_vocab) {
            status = qk_fail(err, QK_E_FORMAT, "%s: tokens[%zu]: expected 0 to %d, found %lld", path, i, n_vocab - 1,
                             (long long)wide);
        }
    }
    if (status) {
        free(list);
        return status;
    }
    *tokens = list;
    *n_tokens = n;
    return QK_OK;
}

/* The shape that `site` has for n tokens, without leading 1: axes[3], returns how many. */
static int site_shape(uint64_t axes[3], qk_site site, const qk_config *c, size_t n_tokens)
{
    int n = 0;
    for (const char *letter = qk_site_describe(site)->shape; *letter; letter++) {
        switch (*letter) {
        case 'T': axes[n++] = n_tokens; break;
        case 'H': axes[n++] = (uint64_t)c->n_heads; break;
        case 'G': axes[n++] = (uint64_t)c->n_kv_heads; break;
        case 'D': axes[n++] = (uint64_t)c->head_dim; break;
        case 'C': axes[n++] = (uint64_t)c->d_model; break;
        case 'F': axes[n++] = (uint64_t)c->d_ffn; break;
        default: axes[n++] = (uint64_t)c->n_vocab; break;
        }
    }
    return n;
}

/* The file may leave out the batch axis and may lay heads and dims in one axis. */
static qk_status check_shape(const verification *v, const qk_tensor *t, qk_site site, const char *path, qk_error *err)
{
    uint64_t axes[3] = { 0 }, wanted = 1, found = 1;
    int n = site_shape(axes, site, v->config, v->n_tokens);
    int skip = t->n_dims > 1 && t->shape[0] == 1 && (t->n_dims > n || axes[0] != 1);
    for (int i = 0; i < n; i++) wanted *= axes[i];
    for (int i = 0; i < t->n_dims; i++) found *= t->shape[i]; /* the reader has checked the product */
    if (found != wanted || t->n_dims - skip < 2 || t->shape[skip] != axes[0]) {
        return qk_fail(err, QK_E_SHAPE, "%s: tensor %s: expected shape %s, %llu entries, first axis %llu, found %llu "
                       "entries, first axis %llu", path, t->name, qk_site_describe(site)->shape,
                       (unsigned long long)wanted, (unsigned long long)axes[0], (unsigned long long)found,
                       t->n_dims > skip ? (unsigned long long)t->shape[skip] : 0ULL);
    }
    if (!qk_dtype_describe(t->dtype)->to_f32 || qk_dtype_describe(t->dtype)->block_elements != 1) {
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: tensor %s: expected F32, F16 or BF16, found %s", path, t->name,
                       qk_dtype_describe(t->dtype)->name);
    }
    return QK_OK;
}

/* The one site and layer that a name stands for; false where it is none, or a pattern of several. */
static bool parse_name(qk_site *site, int *layer, const char *name, const qk_config *config)
{
    qk_site_pattern pattern;
    if (strchr(name, '*') || qk_site_parse(&pattern, name, config, NULL)) return false;
    *site = pattern.site;
    *layer = -1;
    if (!qk_site_describe(pattern.site)->per_layer) return true;
    int n = 0;
    for (int l = 0; l < config->n_layers; l++) {
        if (pattern.layers[l]) *layer = l, n++;
    }
    return n == 1;
}

static qk_status bind_golden(verification *v, uint64_t *sites, json_t *ignored, const qk_ckpt *ckpt, qk_error *err)
{
    const char *path = qk_ckpt_path(ckpt);
    *sites = 0;
    for (size_t i = 0; i < qk_ckpt_count(ckpt); i++) {
        const qk_tensor *t = qk_ckpt_at(ckpt, i);
        qk_site site;
        int layer;
        qk_status status = QK_OK;
        if (strcmp(t->name, "tokens") == 0) continue;
        if (!parse_name(&site, &layer, t->name, v->config)) {
            if ((status = qk_json_append(ignored, qk_json_text(t->name), err))) return status;
            continue;
        }
        if ((status = check_shape(v, t, site, path, err))) return status;
        checked *entry = entry_at(v, site, layer);
        if (entry->golden) {
            return qk_fail(err, QK_E_FORMAT, "%s: tensors %s and %s name the same site", path, entry->golden->name,
                           t->name);
        }
        entry->golden = t;
        *sites |= QK_AT(site);
        size_t width = qk_site_width(v->config, site);
        if (width == 0) width = v->n_tokens;
        if (width > v->row_size) v->row_size = width;
    }
    if (*sites == 0) return qk_fail(err, QK_E_FORMAT, "%s: no tensor is named by a site of this model", path);
    return qk_new_floats(&v->row, v->row_size, "a golden row", err);
}

static qk_status add_entry(json_t *rows, const char **first_failed, const checked *entry, double tolerance,
                           qk_error *err)
{
    size_t n_elements = 1;
    for (int i = 0; i < entry->golden->n_dims; i++) n_elements *= (size_t)entry->golden->shape[i];
    double max_rel = entry->max_abs == 0 ? 0 : entry->max_abs / entry->max_golden;
    double rms_rel = entry->max_abs == 0 ? 0 : sqrt(entry->sum_squares / entry->sum_golden_squares);
    bool seen = entry->n_seen == n_elements; /* a site the model does not have is never shown */
    bool ok = seen && entry->n_bad == 0 && max_rel <= tolerance;
    if (!ok && !*first_failed) *first_failed = entry->golden->name;
    double unknown = seen ? 0 : NAN;
    qk_row row = qk_row_start();
    qk_row_text(&row, "site", entry->golden->name);
    qk_row_number(&row, "max_abs", entry->max_abs + unknown);
    qk_row_number(&row, "max_rel", max_rel + unknown);
    qk_row_number(&row, "rms_rel", rms_rel + unknown);
    qk_row_count(&row, "compared", entry->n_seen);
    qk_row_count(&row, "nonfinite", entry->n_bad);
    qk_row_flag(&row, "ok", ok);
    return qk_row_append(rows, &row, err);
}

/* Rows in the order of the forward pass, so that the first failure is the place where it starts. */
static qk_status fill_results(qk_row *results, const verification *v, double tolerance, qk_error *err)
{
    json_t *rows = json_array();
    const char *first_failed = NULL;
    qk_status status = QK_OK;
    qk_row_json(results, "sites", rows);
    for (int l = -1; !status && l <= v->config->n_layers; l++) {
        for (int s = 0; !status && s < QK_N_SITES; s++) {
            bool per_layer = qk_site_describe((qk_site)s)->per_layer, first = s == QK_SITE_EMBED;
            bool here = per_layer ? l >= 0 && l < v->config->n_layers : l == (first ? -1 : v->config->n_layers);
            const checked *entry = here ? entry_at(v, (qk_site)s, per_layer ? l : 0) : NULL;
            if (entry && entry->golden) status = add_entry(rows, &first_failed, entry, tolerance, err);
        }
    }
    qk_row_number(results, "tolerance", tolerance);
    qk_row_text(results, "first_failed", first_failed);
    qk_row_flag(results, "ok", !first_failed);
    return status;
}

static qk_status run_pass(verification *v, const qk_model *model, const int32_t *tokens, uint64_t sites,
                          const qk_compute *compute, qk_error *err)
{
    qk_sequence sequence = { tokens, v->n_tokens, 1 };
    qk_probe probe = { .sites = sites, .see = see, .user = v };
    qk_pass_spec spec = qk_study_spec(compute);
    qk_pass_result *result = NULL;
    spec.sequences = &sequence;
    spec.n_sequences = 1;
    spec.probes = &probe;
    spec.n_probes = 1;
    qk_status status = qk_pass_run(&result, model, &spec, err);
    qk_pass_result_free(result);
    return status;
}

qk_status qk_study_verify(json_t **results, const qk_model *model, const char *golden_path, double tolerance,
                          const qk_compute *compute, qk_error *err)
{
    const qk_config *config = qk_model_config(model);
    verification v = { .config = config };
    size_t n_entries = (size_t)QK_N_SITES * (size_t)config->n_layers;
    qk_ckpt *golden = NULL;
    int32_t *tokens = NULL;
    uint64_t sites = 0;
    if (!(tolerance >= 0)) return qk_fail(err, QK_E_ARGUMENT, "tolerance: expected 0 or more, found %g", tolerance);
    json_t *ignored = json_array();
    qk_row out = qk_row_start();
    qk_row_json(&out, "ignored", ignored);
    qk_status status = qk_ckpt_open_safetensors(&golden, golden_path, err);
    if (!status) status = read_tokens(&tokens, &v.n_tokens, golden, config->n_vocab, err);
    if (!status) status = qk_new_array(&v.table, n_entries, sizeof *v.table, "site table", err);
    if (!status) status = bind_golden(&v, &sites, ignored, golden, err);
    if (!status) status = run_pass(&v, model, tokens, sites, compute, err);
    if (!status) status = fill_results(&out, &v, tolerance, err);
    json_t *object = qk_row_take(&out);
    if (!status && !object) status = qk_out_of_memory(err, "results", 0);
    if (!status) *results = json_incref(object);
    json_decref(object);
    qk_ckpt_close(golden);
    free(tokens);
    free(v.table);
    free(v.row);
    return status;
}
