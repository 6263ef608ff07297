/* ppl.c - perplexity by a named protocol: documents are cut into windows, each window is one sequence of one pass.
 *
 *   hf         each document from its start, cut to the context; every target after the first token
 *   strided    a window moves through the whole document; each target is scored once, with the longest context given
 *   llama.cpp  the documents' tokens as one text, cut into chunks; the second half of each chunk is scored */
#include "study/common.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct windows {
    qk_sequence *items;
    size_t *document; /* [n] which row of the results a window counts for */
    size_t n, capacity;
    int32_t *tokens;  /* llama.cpp: the text as one; the windows point into it */
    size_t n_left;    /* llama.cpp: tokens after the last whole chunk, not scored */
} windows;

static qk_status add_window(windows *list, qk_sequence sequence, size_t document, qk_error *err)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        qk_sequence *items = realloc(list->items, capacity * sizeof *items);
        if (!items) return qk_out_of_memory(err, "windows", capacity * sizeof *items);
        list->items = items;
        size_t *owners = realloc(list->document, capacity * sizeof *owners);
        if (!owners) return qk_out_of_memory(err, "windows", capacity * sizeof *owners);
        list->document = owners;
        list->capacity = capacity;
    }
    list->items[list->n] = sequence;
    list->document[list->n++] = document;
    return QK_OK;
}

static qk_status cut_hf(windows *list, const qk_documents *documents, qk_error *err)
{
    for (size_t i = 0; i < documents->n; i++) {
        qk_sequence whole = { documents->items[i].tokens, documents->items[i].n_tokens, 1 };
        qk_status status = add_window(list, whole, i, err);
        if (status) return status;
    }
    return QK_OK;
}

static qk_status cut_strided(windows *list, const qk_documents *documents, size_t window, size_t stride, qk_error *err)
{
    if (stride == 0) stride = window / 2;
    if (stride == 0 || stride >= window) {
        return qk_fail(err, QK_E_ARGUMENT, "--stride %zu: expected 1 to %zu: below the window (-c), or the first "
                       "target of a window has no context", stride, window ? window - 1 : 0);
    }
    for (size_t i = 0; i < documents->n; i++) {
        const qk_document *d = &documents->items[i];
        size_t scored = 1; /* targets below this have been scored, or are the first token */
        for (size_t from = 0; scored < d->n_tokens; from += stride) {
            size_t n = d->n_tokens - from < window ? d->n_tokens - from : window;
            qk_status status = add_window(list, (qk_sequence) { d->tokens + from, n, scored - from }, i, err);
            if (status) return status;
            scored = from + n;
        }
    }
    return QK_OK;
}

/* llama-perplexity's rule: whole chunks only, at least two; the logits at positions [c/2, c - 1) of a chunk of c tokens
 * are scored, so the first target is c/2 + 1. */
static qk_status cut_llama_cpp(windows *list, const qk_documents *documents, size_t chunk, int32_t bos, qk_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < documents->n; i++) n += documents->items[i].n_tokens;
    qk_status status = qk_new_array(&list->tokens, n, sizeof *list->tokens, "the documents as one text", err);
    if (status) return status;
    n = 0;
    for (size_t i = 0; i < documents->n; i++) {
        const qk_document *d = &documents->items[i];
        size_t skip = i > 0 && bos >= 0 && d->tokens[0] == bos; /* one text has one start */
        memcpy(list->tokens + n, d->tokens + skip, (d->n_tokens - skip) * sizeof *d->tokens);
        n += d->n_tokens - skip;
    }
    if (chunk < 4 || n / 2 < chunk) {
        return qk_fail(err, QK_E_ARGUMENT, "-c %zu: the llama.cpp protocol needs two chunks of 4 tokens or more, the "
                       "documents have %zu tokens together", chunk, n);
    }
    for (size_t from = 0; !status && n - from >= chunk; from += chunk) {
        if (bos >= 0) list->tokens[from] = bos;
        status = add_window(list, (qk_sequence) { list->tokens + from, chunk, chunk / 2 + 1 }, 0, err);
    }
    list->n_left = n % chunk;
    return status;
}

typedef struct total { size_t n_tokens; double nll, nll_squared; } total;

/* Losses of all windows that count for document `index`; their tokens' own values into `values` where it is given. */
static qk_status sum_windows(total *sum, json_t *values, const qk_pass_result *result, const windows *list,
                             size_t index, qk_error *err)
{
    qk_status status = QK_OK;
    *sum = (total) { 0 };
    for (size_t w = 0; !status && w < list->n; w++) {
        if (list->document[w] != index) continue;
        const qk_score *score = &result->scores[w];
        sum->n_tokens += score->n_tokens;
        sum->nll += score->nll;
        for (size_t t = 0; !status && score->token_nll && t < score->n_tokens; t++) {
            double nll = (double)score->token_nll[t];
            sum->nll_squared += nll * nll;
            if (values) status = qk_json_append(values, qk_json_number(nll), err);
        }
    }
    return status;
}

/* A row of documents[]; with llama.cpp's protocol `document` is NULL: they are one text. */
static qk_status add_document(json_t *rows, total *sum, const qk_pass_result *result, const windows *list, size_t index,
                              const qk_document *document, bool per_token, qk_error *err)
{
    json_t *values = per_token ? json_array() : NULL;
    qk_status status = sum_windows(sum, values, result, list, index, err);
    double mean = sum->nll / (double)sum->n_tokens;
    qk_row row = qk_row_start();
    qk_row_text(&row, "id", document ? document->id : "all documents");
    qk_row_text(&row, "category", document ? document->category : "");
    qk_row_count(&row, "tokens", sum->n_tokens);
    qk_row_count(&row, "cut", document ? document->n_cut : list->n_left);
    qk_row_number(&row, "nll", sum->nll);
    qk_row_number(&row, "nll_per_token", mean);
    qk_row_number(&row, "ppl", exp(mean));
    if (per_token) qk_row_json(&row, "token_nll", values);
    qk_status appended = qk_row_append(rows, &row, status ? NULL : err);
    return status ? status : appended;
}

static const char *const protocol_names[] = { "hf", "strided", "llama.cpp" };

static json_t *ppl_results(const qk_named_model *model, const qk_pass_result *result, const windows *list,
                           const qk_documents *documents, const qk_ppl_settings *settings, size_t context,
                           qk_error *err)
{
    bool one_text = settings->protocol == QK_PPL_LLAMA_CPP;
    json_t *rows = json_array(), *warnings = json_array();
    total all = { 0 }, sum;
    qk_status status = QK_OK;
    for (size_t i = 0; !status && i < (one_text ? 1 : documents->n); i++) {
        const qk_document *document = one_text ? NULL : &documents->items[i];
        status = add_document(rows, &sum, result, list, i, document, settings->per_token, err);
        all.n_tokens += sum.n_tokens;
        all.nll += sum.nll;
        all.nll_squared += sum.nll_squared;
    }
    if (!status) status = qk_warn_context(warnings, model, 1, context, err);
    double n = (double)all.n_tokens, mean = all.nll / n;
    qk_row row = qk_row_start();
    qk_row_text(&row, "protocol", protocol_names[settings->protocol]);
    qk_row_text(&row, "quantize", qk_quantization_name(model->model->quantized.how));
    qk_row_count(&row, "context", context);
    qk_row_json(&row, "documents", rows);
    qk_row_count(&row, "tokens", all.n_tokens);
    qk_row_number(&row, "nll_per_token", mean);
    qk_row_number(&row, "ppl", exp(mean));
    if (one_text) { /* the +/- that llama-perplexity prints: tokens taken as independent */
        qk_row_count(&row, "chunks", list->n);
        qk_row_number(&row, "ppl_error", sqrt((all.nll_squared / n - mean * mean) / (n - 1)) * exp(mean));
    }
    qk_row_json(&row, "warnings", warnings);
    json_t *out = qk_row_take(&row);
    if (status) json_decref(out);
    else if (!out) qk_out_of_memory(err, "results", 0);
    return status ? NULL : out;
}

static qk_status cut_windows(windows *list, const qk_named_model *model, qk_documents *documents,
                             const qk_ppl_settings *settings, const qk_compute *compute, qk_error *err)
{
    size_t context = qk_study_context(model, 1, compute);
    bool cut = settings->protocol == QK_PPL_HF;
    qk_status status = qk_study_tokenize(documents, model, cut ? context : 0, compute->no_bos, err);
    if (status) return status;
    if (settings->protocol == QK_PPL_HF) return cut_hf(list, documents, err);
    if (settings->protocol == QK_PPL_STRIDED) return cut_strided(list, documents, context, settings->stride, err);
    const qk_tokenizer_info *tokenizer = qk_tokenizer_describe(model->model->tokenizer);
    bool adds_bos = tokenizer->adds_bos && !compute->no_bos;
    return cut_llama_cpp(list, documents, context, adds_bos ? tokenizer->bos : -1, err);
}

/* Windows, a row for each document, and for each token where they are asked for. */
static uint64_t table_bytes(const windows *list, const qk_documents *documents, const qk_ppl_settings *settings)
{
    enum { TOKEN_BYTES = 48 }; /* a number in an array */
    uint64_t bytes = list->capacity * (sizeof *list->items + sizeof *list->document);
    bytes += documents->n * QK_STUDY_ROW_BYTES;
    for (size_t i = 0; i < documents->n; i++) {
        if (list->tokens) bytes += documents->items[i].n_tokens * sizeof *list->tokens;
        if (settings->per_token) bytes += documents->items[i].n_tokens * TOKEN_BYTES;
    }
    return bytes;
}

qk_status qk_study_ppl(json_t **results, const qk_model *model, qk_documents *documents,
                       const qk_ppl_settings *settings, const qk_compute *compute, qk_error *err)
{
    const qk_named_model named = { "model", (qk_model *)model, "" };
    windows list = { 0 };
    qk_pass_result *result = NULL;
    qk_compute budget = *compute;
    qk_status status = cut_windows(&list, &named, documents, settings, compute, err);
    if (!status) status = qk_study_reserve_documents(&budget, documents, err);
    uint64_t tables = status ? 0 : table_bytes(&list, documents, settings);
    if (!status) status = qk_study_reserve(&budget, tables, "holding the results", err);
    qk_pass_spec spec = qk_study_spec(&budget);
    spec.sequences = list.items;
    spec.n_sequences = list.n;
    spec.score = true;
    spec.keep_token_nll = settings->per_token || settings->protocol == QK_PPL_LLAMA_CPP;
    if (!status) status = qk_pass_run(&result, model, &spec, err);
    status = qk_study_over_budget(status, compute, &budget, err);
    if (!status) {
        size_t context = qk_study_context(&named, 1, compute);
        json_t *out = ppl_results(&named, result, &list, documents, settings, context, err);
        if (out) *results = out;
        else status = QK_E_MEMORY;
    }
    qk_pass_result_free(result);
    free(list.items);
    free(list.document);
    free(list.tokens);
    return status;
}
