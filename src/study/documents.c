/* documents.c - documents on their way into a pass, and their norms in as many passes as memory asks for. */
#include "study/common.h"

#include <stdlib.h>
#include <string.h>

size_t qk_study_context(const qk_named_model *models, size_t n_models, const qk_compute *compute)
{
    if (compute->max_tokens) return compute->max_tokens;
    size_t shortest = SIZE_MAX;
    for (size_t i = 0; i < n_models; i++) {
        size_t context = (size_t)models[i].model->config.n_context;
        if (context && context < shortest) shortest = context;
    }
    return shortest == SIZE_MAX ? 0 : shortest;
}

/* A tokenizer may know more ids than the model has rows: that of another model, or one with ids added later. */
static qk_status check_ids(const qk_documents *documents, const qk_named_model *model, qk_error *err)
{
    int n_vocab = model->model->config.n_vocab;
    for (size_t i = 0; i < documents->n; i++) {
        const qk_document *d = &documents->items[i];
        for (size_t t = 0; t < d->n_tokens; t++) {
            if (d->tokens[t] >= 0 && d->tokens[t] < n_vocab) continue;
            return qk_fail(err, QK_E_FORMAT, "%s: document %s, token %zu: expected ids of the model, 0 to %d, found %d: "
                           "is the tokenizer another model's?", model->name, d->id, t, n_vocab - 1, (int)d->tokens[t]);
        }
    }
    return QK_OK;
}

qk_status qk_study_tokenize(qk_documents *documents, const qk_named_model *model, size_t max_tokens, bool no_bos,
                            qk_error *err)
{
    if (!model->model->tokenizer) {
        return qk_fail(err, model->model->tokenizer_error.status ? model->model->tokenizer_error.status : QK_E_IO,
                       "%s: no tokenizer: %s", model->name, model->model->tokenizer_error.message);
    }
    if (documents->n == 0) return qk_fail(err, QK_E_ARGUMENT, "no documents: expected at least one");
    if (max_tokens == 1) return qk_fail(err, QK_E_ARGUMENT, "-c 1: expected 2 tokens or more");
    qk_status status = qk_documents_tokenize(documents, model->model->tokenizer, max_tokens, no_bos, err);
    return status ? status : check_ids(documents, model, err);
}

qk_status qk_study_sequences(qk_sequence **sequences, const qk_documents *documents, qk_error *err)
{
    qk_sequence *list = NULL;
    qk_status status = qk_new_array(&list, documents->n, sizeof *list, "sequences", err);
    if (status) return status;
    for (size_t i = 0; i < documents->n; i++) {
        list[i] = (qk_sequence) { documents->items[i].tokens, documents->items[i].n_tokens, 1 };
    }
    *sequences = list;
    return QK_OK;
}

qk_status qk_json_tokens_of_model(json_t *rows, const qk_documents *documents, qk_error *err)
{
    for (size_t i = 0; i < documents->n; i++) {
        json_t *row = json_array_get(rows, i);
        json_t *tokens = json_object_get(row, "tokens_by_model"), *cut = json_object_get(row, "cut_by_model");
        qk_status status = QK_OK;
        if (!tokens) {
            if ((status = qk_json_set(row, "tokens_by_model", tokens = json_array(), err))) return status;
            if ((status = qk_json_set(row, "cut_by_model", cut = json_array(), err))) return status;
        }
        const qk_document *d = &documents->items[i];
        if ((status = qk_json_append(tokens, json_integer((json_int_t)d->n_tokens), err))) return status;
        if ((status = qk_json_append(cut, json_integer((json_int_t)d->n_cut), err))) return status;
    }
    return QK_OK;
}

/* One text twice counts as two documents in every interval and test. The first few are named, the others counted. */
static qk_status warn_repeated(json_t *warnings, const qk_documents *documents, qk_error *err)
{
    enum { MAX_NAMED = 5 };
    qk_status status = QK_OK;
    size_t n_repeated = 0;
    for (size_t i = 0; !status && i < documents->n; i++) {
        size_t k = 0;
        while (k < i && strcmp(documents->items[i].sha256, documents->items[k].sha256) != 0) k++;
        if (k == i || ++n_repeated > MAX_NAMED) continue;
        status = qk_json_warn(warnings, err, "documents %s and %s are the same text: intervals are too narrow",
                              documents->items[k].id, documents->items[i].id);
    }
    if (status || n_repeated <= MAX_NAMED) return status;
    return qk_json_warn(warnings, err, "%zu more documents repeat the text of an earlier one",
                        n_repeated - MAX_NAMED);
}

qk_status qk_warn_documents(json_t *warnings, const qk_documents *documents, size_t context, qk_error *err)
{
    size_t n_cut = 0, n_repetitive = 0;
    for (size_t i = 0; i < documents->n; i++) {
        n_cut += documents->items[i].n_cut > 0;
        n_repetitive += documents->items[i].repetitive;
    }
    qk_status status = warn_repeated(warnings, documents, err);
    if (!status && documents->n == 1) {
        status = qk_json_warn(warnings, err, "a single document: without spread every test and interval is refused");
    } else if (!status && documents->n < 5) {
        status = qk_json_warn(warnings, err, "only %zu documents: intervals and tests over so few say little",
                              documents->n);
    }
    if (!status && n_cut) {
        status = qk_json_warn(warnings, err, "cut to %zu tokens: %zu of %zu documents", context, n_cut, documents->n);
    }
    if (!status && n_repetitive) {
        status = qk_json_warn(warnings, err, "%zu of %zu documents are repetitive: a model copies them from its "
                              "context, so they measure copying more than language", n_repetitive, documents->n);
    }
    return status;
}

qk_status qk_warn_context(json_t *warnings, const qk_named_model *models, size_t n_models, size_t context,
                          qk_error *err)
{
    for (size_t i = 0; i < n_models; i++) {
        int trained = models[i].model->config.n_context;
        if (context <= (size_t)trained) continue;
        qk_status status = qk_json_warn(warnings, err, "%s: documents of up to %zu tokens, trained on %d",
                                        models[i].name, context, trained);
        if (status) return status;
    }
    return QK_OK;
}

qk_status qk_study_reserve(qk_compute *budget, uint64_t n_bytes, const char *what, qk_error *err)
{
    if (budget->max_bytes == 0) return QK_OK;
    if (n_bytes >= budget->max_bytes) {
        return qk_fail(err, QK_E_BUDGET, "%s needs at least %llu MiB, %zu MiB are left", what,
                       (unsigned long long)((n_bytes + 1048575) >> 20), budget->max_bytes >> 20);
    }
    budget->max_bytes -= (size_t)n_bytes;
    return QK_OK;
}

qk_status qk_study_over_budget(qk_status status, const qk_compute *given, const qk_compute *budget, qk_error *err)
{
    size_t held = given->max_bytes - budget->max_bytes;
    if (status != QK_E_BUDGET || held == 0) return status;
    return qk_prefix(err, status, "beside %zu MiB of texts and tables", (held + 1048575) >> 20);
}

/* An encoder at work holds about this many bytes for each byte of one text (measured: 37). */
enum { ENCODER_BYTES = 40 };

qk_status qk_study_reserve_documents(qk_compute *budget, const qk_documents *documents, qk_error *err)
{
    uint64_t held = 0, longest = 0;
    for (size_t i = 0; i < documents->n; i++) {
        const qk_document *d = &documents->items[i];
        held += sizeof *d + d->n_bytes + d->n_tokens * sizeof *d->tokens;
        if (d->n_bytes > longest) longest = d->n_bytes;
    }
    qk_compute encoding = *budget;
    qk_status status = qk_study_reserve(&encoding, held + ENCODER_BYTES * longest, "encoding the texts", err);
    return status ? status : qk_study_reserve(budget, held, "holding the texts", err);
}

qk_pass_spec qk_study_spec(const qk_compute *compute)
{
    return (qk_pass_spec) {
        .reference = compute->reference,
        .precision = compute->precision,
        .level = compute->level,
        .n_threads = compute->n_threads,
        .max_bytes = compute->max_bytes,
        .progress = compute->progress,
    };
}

/* What qk_norms keeps of one document: two doubles for each dim of q, k and v in each layer. */
static size_t norms_bytes(const qk_config *config)
{
    size_t width = (size_t)(config->n_heads + 2 * config->n_kv_heads) * (size_t)config->head_dim;
    return 2 * sizeof(double) * width * (size_t)config->n_layers;
}

/* The part of the budget that sums of `n` documents leave to the pass. */
static size_t beside_norms(const qk_compute *compute, size_t n, size_t each)
{
    if (compute->max_bytes == 0) return 0;
    return compute->max_bytes > n * each ? compute->max_bytes - n * each : 1;
}

/* How many documents go into one pass: as many as leave it enough, and three quarters of the budget. */
static qk_status norms_batch(size_t *out, const qk_named_model *model, const qk_sequence *sequences, size_t n_sequences,
                             size_t each, const qk_compute *compute, qk_error *err)
{
    size_t batch = n_sequences, most = compute->max_bytes / 4 / each;
    qk_pass_spec spec = qk_study_spec(compute);
    qk_status status;
    qk_plan plan;
    spec.sequences = sequences;
    spec.n_sequences = n_sequences;
    if (compute->max_bytes && most < batch) batch = most ? most : 1;
    for (;; batch /= 2) {
        spec.max_bytes = beside_norms(compute, batch, each);
        status = qk_pass_plan(&plan, model->model, &spec, err);
        if (status != QK_E_BUDGET || batch == 1) break;
    }
    *out = batch;
    if (status != QK_E_BUDGET) return status;
    return qk_prefix(err, status, "beside %zu MiB of norm sums", (each + 1048575) >> 20);
}

qk_status qk_study_norms(const qk_named_model *model, const qk_documents *documents, bool post_rotation,
                         const qk_compute *compute, qk_norms_visit *visit, void *user, qk_error *err)
{
    const qk_config *config = &model->model->config;
    qk_sequence *sequences = NULL;
    qk_status status = qk_study_sequences(&sequences, documents, err);
    size_t each = norms_bytes(config), batch = 1;
    if (!status) status = norms_batch(&batch, model, sequences, documents->n, each, compute, err);
    for (size_t from = 0; !status && from < documents->n; from += batch) {
        size_t n = documents->n - from < batch ? documents->n - from : batch;
        qk_norms *norms = NULL;
        qk_pass_result *result = NULL;
        qk_pass_spec spec = qk_study_spec(compute);
        spec.sequences = sequences + from;
        spec.n_sequences = n;
        spec.n_probes = 1;
        spec.max_bytes = beside_norms(compute, n, each);
        status = qk_norms_new(&norms, config, n, post_rotation, err);
        if (!status) {
            qk_probe probe = qk_norms_probe(norms);
            spec.probes = &probe;
            status = qk_pass_run(&result, model->model, &spec, err);
        }
        for (size_t i = 0; !status && i < n; i++) status = visit(user, norms, i, from + i, err);
        qk_pass_result_free(result);
        qk_norms_free(norms);
    }
    free(sequences);
    return status;
}
