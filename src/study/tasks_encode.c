/* tasks_encode.c - questions as tokens: where the answer begins, what fits the context. */
#include "study/tasks.h"

#include <stdlib.h>
#include <string.h>

typedef struct encoder {
    const qk_quiz *quiz;
    const qk_named_model *model;
    const qk_tokenizer *tokenizer;
    size_t context;
    bool cut_left, no_bos;
} encoder;

/* Tokens of a text without the end-of-sequence token that some tokenizers put behind every text. */
static qk_status encode(int32_t **tokens, size_t *n, const encoder *e, const char *text, qk_error *err)
{
    const qk_tokenizer_info *info = qk_tokenizer_describe(e->tokenizer);
    qk_status status =
        qk_encode(tokens, n, e->tokenizer, text, strlen(text), (qk_encode_options) { .no_bos = e->no_bos }, err);
    if (!status && info->adds_eos && *n > 0 && (*tokens)[*n - 1] == info->eos) (*n)--;
    return status;
}

static qk_status check_ids(const encoder *e, const qk_quiz_item *item, const int32_t *tokens, size_t n, qk_error *err)
{
    int n_vocab = e->model->model->config.n_vocab;
    for (size_t t = 0; t < n; t++) {
        if (tokens[t] >= 0 && tokens[t] < n_vocab) continue;
        return qk_fail(err, QK_E_FORMAT, "question %s, token %zu: expected ids of the model, 0 to %d, found %d: is the "
                       "tokenizer another model's?", item->id, t, n_vocab - 1, (int)tokens[t]);
    }
    return QK_OK;
}

/* Leaves out the start of the prompt, but for a beginning-of-sequence token, until the question fits. */
static qk_status fit(qk_asked *asked, const encoder *e, const qk_quiz_item *item, qk_error *err)
{
    const qk_tokenizer_info *info = qk_tokenizer_describe(e->tokenizer);
    size_t over = asked->n_tokens - e->context, n_prompt = asked->n_tokens - asked->n_answer;
    size_t kept = info->bos >= 0 && asked->tokens[0] == info->bos;
    if (!e->cut_left) {
        return qk_fail(err, QK_E_ARGUMENT, "question %s: %zu tokens with its answer, the context has %zu (-c sets it, "
                       "--cut-left leaves out the start of such prompts)", item->id, asked->n_tokens, e->context);
    }
    if (over + kept >= n_prompt) {
        return qk_fail(err, QK_E_ARGUMENT, "question %s: the answer alone has %zu tokens, the context %zu: nothing of "
                       "the prompt would be left", item->id, asked->n_answer, e->context);
    }
    memmove(asked->tokens + kept, asked->tokens + kept + over,
            (asked->n_tokens - kept - over) * sizeof *asked->tokens);
    asked->n_tokens -= over;
    asked->n_cut = over;
    return QK_OK;
}

static qk_status encode_item(qk_asked *asked, const encoder *e, const qk_quiz_item *item, qk_error *err)
{
    int32_t *prompt = NULL;
    size_t n_prompt = 0, n_common = 0, n_text = strlen(item->prompt) + strlen(item->answer) + 2;
    char *text = malloc(n_text);
    if (!text) return qk_out_of_memory(err, item->id, n_text);
    snprintf(text, n_text, "%s %s", item->prompt, item->answer);
    qk_status status = encode(&prompt, &n_prompt, e, item->prompt, err);
    if (!status) status = encode(&asked->tokens, &asked->n_tokens, e, text, err);
    if (status) qk_prefix(err, status, "question %s", item->id);
    while (!status && n_common < n_prompt && n_common < asked->n_tokens && prompt[n_common] == asked->tokens[n_common])
        n_common++;
    asked->n_answer = asked->n_tokens - n_common;
    if (!status && asked->n_answer == 0)
        status = qk_fail(err, QK_E_FORMAT, "question %s: the answer adds no token to the prompt", item->id);
    if (!status && n_common == 0) {
        status = qk_fail(err, QK_E_ARGUMENT, "question %s: no token stands before the answer: a prompt of its own "
                         "tokens or a beginning-of-sequence token is needed", item->id);
    }
    if (!status) status = check_ids(e, item, asked->tokens, asked->n_tokens, err);
    if (!status && e->context && asked->n_tokens > e->context) status = fit(asked, e, item, err);
    if (!status) status = qk_new_array(&asked->top, asked->n_answer, sizeof *asked->top, "an answer", err);
    free(prompt);
    free(text);
    return status;
}

qk_status qk_tasks_encode(qk_asked **asked, const qk_quiz *quiz, const qk_named_model *model, size_t context,
                          bool cut_left, bool no_bos, qk_error *err)
{
    const encoder e = { quiz, model, model->model->tokenizer, context, cut_left, no_bos };
    qk_asked *list = NULL;
    if (!e.tokenizer) {
        return qk_fail(err, model->model->tokenizer_error.status ? model->model->tokenizer_error.status : QK_E_IO,
                       "%s: no tokenizer: %s", model->name, model->model->tokenizer_error.message);
    }
    qk_status status = qk_new_array(&list, quiz->n, sizeof *list, "questions", err);
    for (size_t i = 0; i < quiz->n && !status; i++) status = encode_item(&list[i], &e, &quiz->items[i], err);
    if (status) qk_tasks_free(list, quiz->n);
    else *asked = list;
    return status;
}

void qk_tasks_free(qk_asked *asked, size_t n)
{
    for (size_t i = 0; asked && i < n; i++) {
        free(asked[i].tokens);
        free(asked[i].top);
    }
    free(asked);
}

json_t *qk_tasks_text(const qk_tokenizer *tokenizer, const int32_t *tokens, size_t n)
{
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&text, &n_bytes);
    if (!stream) return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t n_piece = 0;
        const char *piece = qk_token_piece(&n_piece, tokenizer, tokens[i]);
        if (piece) fwrite(piece, 1, n_piece, stream);
        else fprintf(stream, "<%d>", (int)tokens[i]);
    }
    bool failed = fclose(stream) != 0;
    json_t *out = failed ? NULL : qk_json_text(text);
    free(text);
    return out;
}
