/* documents_tokens.c - the tokens of a document set. */
#include "text/text.h"

#include <stdlib.h>

typedef struct token_row {
    int32_t *tokens;
    size_t n, n_cut;
} token_row;

static qk_status tokenize_one(token_row *out, const qk_document *document, const qk_tokenizer *tokenizer,
                              size_t max_tokens, bool no_bos, qk_error *err)
{
    token_row row = { 0 };
    qk_status status = qk_encode(&row.tokens, &row.n, tokenizer, document->text, document->n_bytes,
                                 (qk_encode_options){ .no_bos = no_bos }, err);
    if (status) return qk_prefix(err, status, "document \"%.80s\"", document->id);
    if (row.n < 2) {
        free(row.tokens);
        return qk_fail(err, QK_E_FORMAT, "document \"%.80s\": expected at least 2 tokens, found %zu", document->id,
                       row.n);
    }
    if (max_tokens > 0 && row.n > max_tokens) {
        row.n_cut = row.n - max_tokens;
        row.n = max_tokens;
        int32_t *shorter = realloc(row.tokens, row.n * sizeof *shorter);
        if (shorter) row.tokens = shorter; /* the longer block is as good */
    }
    *out = row;
    return QK_OK;
}

qk_status qk_documents_tokenize(qk_documents *documents, const qk_tokenizer *tokenizer, size_t max_tokens, bool no_bos,
                                qk_error *err)
{
    token_row *rows;
    if (max_tokens == 1) return qk_fail(err, QK_E_ARGUMENT, "context: expected at least 2 tokens a document, found 1");
    qk_status status = qk_new_array(&rows, documents->n, sizeof *rows, "token rows", err);
    if (status) return status;
    for (size_t i = 0; i < documents->n && !status; i++)
        status = tokenize_one(&rows[i], &documents->items[i], tokenizer, max_tokens, no_bos, err);
    for (size_t i = 0; i < documents->n; i++) {
        qk_document *document = &documents->items[i];
        if (status) { /* the set stays as it was, whatever was done already */
            free(rows[i].tokens);
            continue;
        }
        free(document->tokens);
        document->tokens = rows[i].tokens;
        document->n_tokens = rows[i].n;
        document->n_cut = rows[i].n_cut;
    }
    free(rows);
    return status;
}
