/* corpus.c - documents as tokens, an end marker behind each. */
#include "train/corpus.h"

#include <stdlib.h>
#include <string.h>

/* EOS behind *tokens where the tokenizer has one and has not put it there. */
static qk_status add_end(int32_t **tokens, size_t *n_tokens, const qk_tokenizer *tokenizer, qk_error *err)
{
    int32_t eos = qk_tokenizer_describe(tokenizer)->eos;
    if (eos < 0 || (*n_tokens > 0 && (*tokens)[*n_tokens - 1] == eos)) return QK_OK;
    int32_t *grown = realloc(*tokens, (*n_tokens + 1) * sizeof *grown);
    if (!grown) return qk_out_of_memory(err, "the tokens of a document", (*n_tokens + 1) * sizeof *grown);
    grown[(*n_tokens)++] = eos;
    *tokens = grown;
    return QK_OK;
}

static qk_status read_set(int32_t **tokens, size_t *n_tokens, const qk_text *text, uint64_t index, qk_error *err)
{
    const qk_document *document = &text->documents->items[text->first + index];
    qk_status status = qk_new_array(tokens, document->n_tokens + 1, sizeof **tokens, document->id, err);
    if (status) return status;
    memcpy(*tokens, document->tokens, document->n_tokens * sizeof **tokens);
    *n_tokens = document->n_tokens;
    return QK_OK;
}

static qk_status read_world(int32_t **tokens, size_t *n_tokens, const qk_text *text, uint64_t index, qk_error *err)
{
    qk_world_document document;
    qk_status status = qk_world_write(&document, text->world, text->split, index, err);
    if (status) return status;
    status = qk_encode(tokens, n_tokens, text->tokenizer, document.text, document.n_bytes,
                       (qk_encode_options){ .no_bos = text->no_bos }, err);
    free(document.text);
    return status;
}

static qk_status read_tokens(void *user, int32_t **out, size_t *n_out, uint64_t index, qk_error *err)
{
    const qk_text *text = user;
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    qk_status status = text->world ? read_world(&tokens, &n_tokens, text, index, err)
                                   : read_set(&tokens, &n_tokens, text, index, err);
    if (!status) status = add_end(&tokens, &n_tokens, text->tokenizer, err);
    if (status) {
        free(tokens);
        return status;
    }
    *out = tokens;
    *n_out = n_tokens;
    return QK_OK;
}

qk_corpus qk_corpus_of(const qk_text *text)
{
    return (qk_corpus){
        .n_documents = text->world ? UINT64_MAX : text->n,
        .tokens = read_tokens,
        .user = (void *)(uintptr_t)text, /* only read */
    };
}

/* ---- held out */

static qk_status cut(qk_held_out *h, const int32_t *tokens, size_t n_tokens, size_t context, qk_error *err)
{
    size_t n_pieces = (n_tokens + context - 1) / context;
    qk_sequence *grown = realloc(h->sequences, (h->n_sequences + n_pieces + 1) * sizeof *grown);
    if (!grown) return qk_out_of_memory(err, "held-out sequences", n_pieces * sizeof *grown);
    h->sequences = grown;
    for (size_t at = 0; at < n_tokens; at += context) {
        size_t n = n_tokens - at < context ? n_tokens - at : context;
        if (n < 2) break;
        h->sequences[h->n_sequences++] = (qk_sequence){ tokens + at, n, 1 };
        h->n_tokens += n;
    }
    return QK_OK;
}

static qk_status add_document(qk_held_out *h, const qk_corpus *corpus, size_t context, size_t room, qk_error *err)
{
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    int32_t **grown = realloc(h->documents, (h->n_documents + 1) * sizeof *grown);
    if (!grown) return qk_out_of_memory(err, "held-out documents", (h->n_documents + 1) * sizeof *grown);
    h->documents = grown;
    qk_status status = corpus->tokens(corpus->user, &tokens, &n_tokens, h->n_documents, err);
    if (status) return status;
    h->documents[h->n_documents++] = tokens;
    return cut(h, tokens, n_tokens < room ? n_tokens : room, context, err);
}

qk_status qk_held_out_new(qk_held_out *out, const qk_corpus *corpus, size_t context, size_t max_tokens, qk_error *err)
{
    qk_held_out h = { 0 };
    qk_status status = QK_OK;
    while (!status && h.n_documents < corpus->n_documents && h.n_tokens + 1 < max_tokens)
        status = add_document(&h, corpus, context, max_tokens - h.n_tokens, err);
    if (!status && h.n_sequences == 0)
        status = qk_fail(err, QK_E_ARGUMENT, "held-out text: expected documents of two tokens at least, found none");
    if (status) qk_held_out_free(&h);
    else *out = h;
    return status;
}

void qk_held_out_free(qk_held_out *h)
{
    for (size_t i = 0; i < h->n_documents; i++) free(h->documents[i]);
    free(h->documents);
    free(h->sequences);
    *h = (qk_held_out){ 0 };
}
