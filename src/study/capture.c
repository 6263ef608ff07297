/* capture.c - what the user asks to see whole: sites of every document, written in the order of the forward pass.
 *
 * One pass a document.  Rows of different sites arrive interleaved, so a tensor is gathered in memory until its last
 * row is there and written when all before it are; at most one layer's tensors are gathered at a time. */
#include "study/common.h"

#include <stdlib.h>
#include <string.h>

/* One tensor of the output: a site in a layer of a document, or the tokens of a document. */
typedef struct slot {
    size_t document;
    qk_site site;    /* QK_N_SITES: the tokens */
    int layer;
    size_t n_entries, n_filled;
    float *gathered; /* [n_entries] while rows are missing, then until it is written; owned */
} slot;

typedef struct capture {
    const char *path;
    const qk_config *config;
    qk_documents *documents;
    bool npy;                 /* path is a folder, one file a tensor */
    char **folders;           /* [documents] where their .npy files go; owned */
    slot *slots;
    size_t n_slots;
    qk_tensor_out *declared;  /* [n_slots]; names are owned by `names` */
    qk_arena names;
    qk_safetensors_writer *writer;
    size_t next;              /* first slot not written yet */
    size_t first, end;        /* slots of the document that the pass carries now */
} capture;

static slot *find_slot(const capture *c, qk_site site, int layer)
{
    for (size_t i = c->first; i < c->end; i++) {
        if (c->slots[i].site == site && (c->slots[i].layer == layer || layer < 0)) return &c->slots[i];
    }
    return NULL;
}

/* A document's id as a file name: no slash, no leading dot, no control character. */
static char *file_name(const char *id)
{
    char *name = strdup(id);
    for (char *p = name; p && *p; p++) {
        if (*p == '/' || (unsigned char)*p < 32 || (p == name && *p == '.')) *p = '_';
    }
    return name;
}

static qk_status write_npy(const capture *c, const slot *s, const qk_tensor_out *tensor, const void *data,
                           qk_error *err)
{
    char site[80];
    if (s->site == QK_N_SITES) strcpy(site, "tokens");
    else qk_site_name(site, s->site, s->layer);
    strcat(site, ".npy");
    char *path = qk_path_join(c->folders[s->document], site);
    if (!path) return qk_out_of_memory(err, "a path", 0);
    qk_status status = qk_npy_write(path, tensor->dtype, tensor->shape, tensor->n_dims, data, err);
    free(path);
    return status;
}

/* Write every slot that is complete and whose turn it is. */
static qk_status flush(capture *c, qk_error *err)
{
    while (c->next < c->end && c->slots[c->next].n_filled == c->slots[c->next].n_entries) {
        slot *s = &c->slots[c->next];
        const void *data = s->site == QK_N_SITES ? (const void *)c->documents->items[s->document].tokens : s->gathered;
        qk_status status = c->npy ? write_npy(c, s, &c->declared[c->next], data, err)
                                  : qk_safetensors_append(c->writer, data, s->n_entries * 4, err);
        if (status) return status;
        free(s->gathered);
        s->gathered = NULL;
        c->next++;
    }
    return QK_OK;
}

static qk_status see(void *user, const qk_view *view, qk_error *err)
{
    capture *c = user;
    slot *s = find_slot(c, view->site, view->layer);
    if (!s) return QK_OK;
    if (!s->gathered) {
        qk_status status = qk_new_floats(&s->gathered, s->n_entries, "a captured site", err);
        if (status) return status;
    }
    size_t n_tokens = c->documents->items[s->document].n_tokens;
    for (size_t r = 0; r < view->n_rows; r++) {
        size_t row = view->row0 + r + (view->head >= 0 ? (size_t)view->head * n_tokens : 0);
        memcpy(s->gathered + row * view->width, view->x + r * view->stride, view->width * sizeof(float));
    }
    s->n_filled += view->n_rows * view->width;
    return flush(c, err);
}

/* ---- what will be written, in the order of the forward pass */

/* [1, tokens, heads, dim], [1, tokens, width] or [1, heads, tokens, tokens]. */
static void declare_shape(qk_tensor_out *out, qk_site site, const qk_config *config, size_t n_tokens)
{
    const char *shape = qk_site_describe(site)->shape;
    bool heads_first = shape[0] == 'H', heads_last = !heads_first && strlen(shape) == 3;
    uint64_t n_heads = (uint64_t)(shape[heads_first ? 0 : 1] == 'G' ? config->n_kv_heads : config->n_heads);
    out->shape[0] = 1;
    out->shape[1] = heads_first ? n_heads : n_tokens;
    out->shape[2] = heads_first ? n_tokens : heads_last ? n_heads : qk_site_width(config, site);
    out->shape[3] = heads_first ? n_tokens : (uint64_t)config->head_dim;
    out->n_dims = heads_first || heads_last ? 4 : 3;
    out->dtype = QK_DTYPE_F32;
}

static qk_status declare(capture *c, size_t document, qk_site site, int layer, qk_error *err)
{
    const qk_document *d = &c->documents->items[document];
    slot *s = &c->slots[c->n_slots];
    qk_tensor_out *out = &c->declared[c->n_slots];
    char name[64] = "tokens";
    *s = (slot) { .document = document, .site = site, .layer = layer };
    if (site == QK_N_SITES) {
        *out = (qk_tensor_out) { .dtype = QK_DTYPE_I32, .n_dims = 2, .shape = { 1, d->n_tokens } };
        s->n_filled = d->n_tokens;
    } else {
        qk_site_name(name, site, layer);
        declare_shape(out, site, c->config, d->n_tokens);
    }
    s->n_entries = 1;
    for (int i = 0; i < out->n_dims; i++) {
        if (!qk_mul(s->n_entries, (size_t)out->shape[i], &s->n_entries)) return qk_out_of_memory(err, name, SIZE_MAX);
    }
    const char *prefix = c->documents->n > 1 ? d->id : "";
    size_t n = strlen(prefix) + strlen(name) + 2;
    char *full = qk_arena_alloc(&c->names, n);
    if (!full) return qk_out_of_memory(err, "a name", n);
    snprintf(full, n, "%s%s%s", prefix, *prefix ? "/" : "", name);
    out->name = full;
    c->n_slots++;
    return QK_OK;
}

/* chosen[QK_N_SITES][n_layers] = 1 where a pattern names it. */
static qk_status choose(uint8_t *chosen, uint64_t *sites, size_t *n_chosen, const qk_config *config,
                        const char *const *patterns, size_t n_patterns, qk_error *err)
{
    size_t n_layers = (size_t)config->n_layers;
    for (size_t i = 0; i < n_patterns; i++) {
        qk_site_pattern pattern;
        qk_status status = qk_site_parse(&pattern, patterns[i], config, err);
        if (status) return status;
        bool per_layer = qk_site_describe(pattern.site)->per_layer;
        for (size_t l = 0; l < (per_layer ? n_layers : 1); l++) {
            uint8_t *here = &chosen[(size_t)pattern.site * n_layers + l];
            if ((per_layer && !pattern.layers[l]) || *here) continue;
            *here = 1;
            *sites |= QK_AT(pattern.site);
            (*n_chosen)++;
        }
    }
    if (*n_chosen == 0) return qk_fail(err, QK_E_ARGUMENT, "no site to capture");
    return QK_OK;
}

static qk_status declare_all(capture *c, const uint8_t *chosen, size_t n_chosen, qk_error *err)
{
    size_t n_layers = (size_t)c->config->n_layers, n;
    if (!qk_mul(n_chosen + 1, c->documents->n, &n)) return qk_out_of_memory(err, "captured tensors", SIZE_MAX);
    qk_status status = qk_new_array(&c->slots, n, sizeof *c->slots, "captured tensors", err);
    if (!status) status = qk_new_array(&c->declared, n, sizeof *c->declared, "captured tensors", err);
    for (size_t d = 0; !status && d < c->documents->n; d++) {
        status = declare(c, d, QK_N_SITES, 0, err);
        if (!status && chosen[(size_t)QK_SITE_EMBED * n_layers]) status = declare(c, d, QK_SITE_EMBED, 0, err);
        for (size_t l = 0; !status && l < n_layers; l++) {
            for (int s = 0; !status && s < QK_N_SITES; s++) {
                bool here = qk_site_describe((qk_site)s)->per_layer && chosen[(size_t)s * n_layers + l];
                if (here) status = declare(c, d, (qk_site)s, (int)l, err);
            }
        }
        for (int s = QK_SITE_LN_FINAL_OUT; !status && s <= QK_SITE_LOGITS; s++) {
            if (chosen[(size_t)s * n_layers]) status = declare(c, d, (qk_site)s, 0, err);
        }
    }
    return status;
}

/* Bytes gathered at once: all of one layer, or all that has none, of the longest document. */
static size_t gathered_bytes(const capture *c)
{
    size_t most = 0, sum = 0;
    for (size_t i = 0; i < c->n_slots; i++) {
        const slot *s = &c->slots[i];
        bool same = i > 0 && s->document == s[-1].document && s->layer == s[-1].layer;
        if (!same) sum = 0;
        if (s->site != QK_N_SITES && !qk_add(sum, s->n_entries * sizeof(float), &sum)) return SIZE_MAX;
        if (sum > most) most = sum;
    }
    return most;
}

static qk_status prepare_folders(capture *c, qk_error *err)
{
    qk_status status = qk_new_array(&c->folders, c->documents->n, sizeof *c->folders, "folders", err);
    for (size_t i = 0; !status && i < c->documents->n; i++) {
        char *name = c->documents->n > 1 ? file_name(c->documents->items[i].id) : strdup("");
        c->folders[i] = name ? qk_path_join(c->path, name) : NULL;
        free(name);
        if (!c->folders[i]) return qk_out_of_memory(err, "a path", 0);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(c->folders[i], c->folders[k]) == 0) {
                return qk_fail(err, QK_E_ARGUMENT, "documents %s and %s would both be written to %s",
                               c->documents->items[k].id, c->documents->items[i].id, c->folders[i]);
            }
        }
        status = qk_make_folders(c->folders[i], err);
    }
    return status;
}

static qk_status run_passes(capture *c, const qk_model *model, uint64_t sites, const qk_compute *compute, qk_error *err)
{
    size_t gathered = gathered_bytes(c);
    if (compute->max_bytes && gathered >= compute->max_bytes) {
        return qk_fail(err, QK_E_BUDGET, "capture gathers up to %zu bytes of one layer: expected below --max-mem %zu",
                       gathered, compute->max_bytes);
    }
    qk_status status = QK_OK;
    for (size_t d = 0; !status && d < c->documents->n; d++) {
        const qk_document *document = &c->documents->items[d];
        qk_sequence sequence = { document->tokens, document->n_tokens, 1 };
        qk_probe probe = { .sites = sites, .see = see, .user = c };
        qk_pass_result *result = NULL;
        qk_pass_spec spec = qk_study_spec(compute);
        spec.sequences = &sequence;
        spec.n_sequences = 1;
        spec.probes = &probe;
        spec.n_probes = 1;
        if (compute->max_bytes) spec.max_bytes = compute->max_bytes - gathered;
        c->first = c->next;
        for (c->end = c->first; c->end < c->n_slots && c->slots[c->end].document == d;) c->end++;
        status = flush(c, err);
        if (!status) status = qk_pass_run(&result, model, &spec, err);
        qk_pass_result_free(result);
        if (!status && c->next != c->end) {
            status = qk_fail(err, QK_E_CHECK, "%s: the pass did not show the whole site", c->declared[c->next].name);
        }
    }
    return status;
}

qk_status qk_study_capture(const char *path, const qk_model *model, qk_documents *documents,
                           const char *const *patterns, size_t n_patterns, const qk_compute *compute, qk_error *err)
{
    const qk_named_model named = { "model", (qk_model *)model, "" };
    const char *metadata[] = { "format", "pt", "model_type", qk_model_config(model)->model_type, "quantize",
                               qk_quantization_name(model->quantized.how) };
    capture c = { .path = path, .config = qk_model_config(model), .documents = documents };
    size_t n_chosen = 0;
    uint64_t sites = 0;
    uint8_t *chosen = NULL;
    size_t n_path = strlen(path), context = qk_study_context(&named, 1, compute);
    c.npy = n_path > 0 && (path[n_path - 1] == '/' || qk_path_is_folder(path));
    qk_status status = qk_new_array(&chosen, (size_t)QK_N_SITES * (size_t)c.config->n_layers, 1, "site table", err);
    if (!status) status = choose(chosen, &sites, &n_chosen, c.config, patterns, n_patterns, err);
    if (!status) status = qk_study_tokenize(documents, &named, context, compute->no_bos, err);
    if (!status) status = declare_all(&c, chosen, n_chosen, err);
    if (!status && c.npy) status = prepare_folders(&c, err);
    if (!status && !c.npy) status = qk_safetensors_start(&c.writer, path, c.declared, c.n_slots, metadata, 3, err);
    if (!status) status = run_passes(&c, model, sites, compute, err);
    if (!status && !c.npy) {
        status = qk_safetensors_finish(c.writer, err);
        c.writer = NULL;
    }
    if (c.writer) qk_safetensors_abandon(c.writer);
    for (size_t i = 0; i < c.n_slots; i++) free(c.slots[i].gathered);
    for (size_t i = 0; c.folders && i < documents->n; i++) free(c.folders[i]);
    free(c.folders);
    free(c.slots);
    free(c.declared);
    free(chosen);
    qk_arena_free(&c.names);
    return status;
}
