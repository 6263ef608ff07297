/* tasks_encode.c - questions as tokens: where the answer begins, what fits the context. */
#include "study/tasks.h"

#include <stdlib.h>
#include <string.h>

typedef struct encoder {
    const qk_quiz *quiz;
    const qk_named_model *model;
    const qk_tokenizer *tokenizer;
    size_t context, max_new;
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

/* "question test-fact-7", with file and line where its id is not made of them. */
static qk_status blame(const qk_quiz_item *item, qk_status status, qk_error *err)
{
    char place[32];
    size_t n = (size_t)snprintf(place, sizeof place, "#%zu", item->line), n_id = strlen(item->id);
    bool by_place = n_id > n && strcmp(item->id + n_id - n, place) == 0;
    if (by_place) return qk_prefix(err, status, "question %s", item->id);
    return qk_prefix(err, status, "%s:%zu: question %s", item->path, item->line, item->id);
}

static qk_status check_ids(const encoder *e, int32_t *tokens, size_t n, qk_error *err)
{
    int n_vocab = e->model->model->config.n_vocab;
    for (size_t t = 0; t < n; t++) {
        if (tokens[t] >= 0 && tokens[t] < n_vocab) continue;
        return qk_fail(err, QK_E_FORMAT, "token %zu: expected ids of the model, 0 to %d, found %d: is the tokenizer "
                       "another model's?", t, n_vocab - 1, (int)tokens[t]);
    }
    return QK_OK;
}

/* Leaves out the start of the prompt, but for a beginning-of-sequence token, until the question fits. */
static qk_status fit(qk_trial *trial, const encoder *e, qk_error *err)
{
    const qk_tokenizer_info *info = qk_tokenizer_describe(e->tokenizer);
    size_t over = trial->n_tokens - e->context, n_prompt = trial->n_tokens - trial->n_answer;
    size_t kept = info->bos >= 0 && trial->tokens[0] == info->bos;
    if (!e->cut_left) {
        return qk_fail(err, QK_E_ARGUMENT, "%zu tokens with its answer, the context has %zu (-c sets it, --cut-left "
                       "leaves out the start of such prompts)", trial->n_tokens, e->context);
    }
    if (over + kept >= n_prompt) {
        return qk_fail(err, QK_E_ARGUMENT, "the answer alone has %zu tokens, the context %zu: nothing of the prompt "
                       "would be left", trial->n_answer, e->context);
    }
    memmove(trial->tokens + kept, trial->tokens + kept + over,
            (trial->n_tokens - kept - over) * sizeof *trial->tokens);
    trial->n_tokens -= over;
    trial->n_cut = over;
    return QK_OK;
}

/* prompt[n_prompt] are the tokens of the prompt alone. */
static qk_status encode_trial(qk_trial *trial, const encoder *e, const qk_quiz_item *item, const char *answer,
                              const int32_t *prompt, size_t n_prompt, qk_error *err)
{
    size_t n_common = 0, n_text = strlen(item->prompt) + strlen(answer) + 2;
    char *text = malloc(n_text);
    if (!text) return qk_out_of_memory(err, item->id, n_text);
    snprintf(text, n_text, "%s %s", item->prompt, answer);
    qk_status status = encode(&trial->tokens, &trial->n_tokens, e, text, err);
    free(text);
    if (status) return status;
    while (n_common < n_prompt && n_common < trial->n_tokens && prompt[n_common] == trial->tokens[n_common])
        n_common++;
    trial->n_answer = trial->n_tokens - n_common;
    if (trial->n_answer == 0) return qk_fail(err, QK_E_FORMAT, "the answer adds no token to the prompt");
    if (n_common == 0) {
        return qk_fail(err, QK_E_ARGUMENT, "no token stands before the answer: a prompt of its own tokens or a "
                       "beginning-of-sequence token is needed");
    }
    status = check_ids(e, trial->tokens, trial->n_tokens, err);
    if (!status && e->context && trial->n_tokens > e->context) status = fit(trial, e, err);
    return status;
}

/* Twice the answer and some words around it; eights, so that many questions can be written together. */
static size_t length_to_write(const encoder *e, const qk_quiz_item *item, size_t n_answer, size_t n_prompt)
{
    enum { AROUND = 16, STEP = 8 };
    size_t n = e->max_new ? e->max_new : item->max_new;
    if (n == 0) n = (2 * n_answer + AROUND + STEP - 1) / STEP * STEP;
    if (e->context && n_prompt + n > e->context) n = e->context - n_prompt;
    return n;
}

/* The prompt alone, with room behind it; the answer must fit all the same. */
static qk_status encode_written(qk_asked *asked, const encoder *e, const qk_quiz_item *item, const int32_t *prompt,
                                size_t n_prompt, qk_error *err)
{
    qk_trial *trial = &asked->trials[0];
    int32_t *tokens = NULL;
    qk_status status = encode_trial(trial, e, item, item->answer, prompt, n_prompt, err);
    if (status) return status;
    size_t n_answer = trial->n_answer, n_left = n_prompt;
    if (n_prompt == 0) return qk_fail(err, QK_E_ARGUMENT, "no token stands before the answer");
    free(trial->tokens);
    *trial = (qk_trial){ .n_tokens = n_prompt + n_answer, .n_answer = n_answer };
    status = qk_new_array(&trial->tokens, n_prompt + n_answer, sizeof *trial->tokens, "a prompt", err);
    if (status) return status;
    memcpy(trial->tokens, prompt, n_prompt * sizeof *prompt);
    if (e->context && trial->n_tokens > e->context) status = fit(trial, e, err);
    if (status) return status;
    n_left = trial->n_tokens - n_answer;
    asked->max_new = length_to_write(e, item, n_answer, n_left);
    status = qk_new_array(&tokens, n_left + asked->max_new, sizeof *tokens, "a prompt", err);
    if (status) return status;
    memcpy(tokens, trial->tokens, n_left * sizeof *tokens);
    free(trial->tokens);
    *trial = (qk_trial){ .tokens = tokens, .n_tokens = n_left, .n_cut = n_prompt - n_left };
    return check_ids(e, tokens, n_left, err);
}

static qk_status encode_item(qk_asked *asked, const encoder *e, size_t index, qk_error *err)
{
    const qk_quiz_item *item = &e->quiz->items[index];
    bool by_choice = qk_by_choice(e->quiz, index);
    int32_t *prompt = NULL;
    size_t n_prompt = 0, n_trials = by_choice ? item->n_choices : 1;
    qk_status status = qk_new_array(&asked->trials, n_trials, sizeof *asked->trials, "an answer", err);
    if (status) return status;
    asked->n_trials = n_trials;
    asked->answer = by_choice ? item->choice : 0;
    status = encode(&prompt, &n_prompt, e, item->prompt, err);
    if (!status && qk_is_written(e->quiz, index)) {
        status = encode_written(asked, e, item, prompt, n_prompt, err);
        n_trials = 0;
    }
    for (size_t t = 0; !status && t < n_trials; t++) {
        const char *answer = by_choice ? item->choices[t] : item->answer;
        status = encode_trial(&asked->trials[t], e, item, answer, prompt, n_prompt, err);
    }
    free(prompt);
    return status ? blame(item, status, err) : QK_OK;
}

/* A special token that the template writes and the tokenizer has: text that looks like one and is one token. */
static qk_status check_special(const encoder *e, const char *text, size_t n, qk_error *err)
{
    const qk_quiz_item *first = &e->quiz->items[0];
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    qk_status status = qk_encode(&tokens, &n_tokens, e->tokenizer, text, n, (qk_encode_options) { .no_bos = true },
                                 err);
    const qk_tokenizer_info *info = qk_tokenizer_describe(e->tokenizer);
    if (!status && info->adds_eos && n_tokens > 0 && tokens[n_tokens - 1] == info->eos) n_tokens--;
    free(tokens);
    if (status || n_tokens == 1) return status;
    return qk_fail(err, QK_E_FORMAT, "%s:%zu: the template needs the special token %.*s, which the tokenizer of %s has "
                   "not", first->path, first->line, (int)n, text, e->model->name);
}

/* <|name|>, and the few others that models end turns with. */
static qk_status check_template(const encoder *e, qk_error *err)
{
    static const char *const others[] = { "<s>", "</s>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>" };
    qk_status status = QK_OK;
    for (const char *at = e->quiz->template; !status && at && (at = strchr(at, '<')); at++) {
        const char *end = strstr(at, "|>");
        size_t n = at[1] == '|' && end > at + 1 ? (size_t)(end + 2 - at) : 0;
        if (n && strcspn(at, " \\{\n") >= n) status = check_special(e, at, n, err);
        for (size_t i = 0; !status && i < sizeof others / sizeof *others; i++)
            if (strncmp(at, others[i], strlen(others[i])) == 0)
                status = check_special(e, others[i], strlen(others[i]), err);
    }
    return status;
}

qk_status qk_tasks_encode(qk_asked **asked, const qk_quiz *quiz, const qk_named_model *model, size_t context,
                          const qk_tasks_settings *settings, bool no_bos, qk_error *err)
{
    const encoder e = { quiz, model, model->model->tokenizer, context, settings->max_new, settings->cut_left, no_bos };
    qk_asked *list = NULL;
    if (!e.tokenizer) {
        return qk_fail(err, model->model->tokenizer_error.status ? model->model->tokenizer_error.status : QK_E_IO,
                       "%s: no tokenizer: %s", model->name, model->model->tokenizer_error.message);
    }
    qk_status status = check_template(&e, err);
    if (!status) status = qk_new_array(&list, quiz->n, sizeof *list, "questions", err);
    for (size_t i = 0; i < quiz->n && !status; i++) status = encode_item(&list[i], &e, i, err);
    if (status) qk_tasks_free(list, quiz->n);
    else *asked = list;
    return status;
}

void qk_tasks_free(qk_asked *asked, size_t n)
{
    for (size_t i = 0; asked && i < n; i++) {
        for (size_t t = 0; t < asked[i].n_trials; t++) free(asked[i].trials[t].tokens);
        free(asked[i].trials);
    }
    free(asked);
}

qk_status qk_tasks_sequences(qk_sequence **sequences, size_t *n, const qk_asked *asked, size_t n_asked, qk_error *err)
{
    size_t n_trials = 0, at = 0;
    qk_sequence *list = NULL;
    for (size_t i = 0; i < n_asked; i++) n_trials += asked[i].n_trials;
    qk_status status = qk_new_array(&list, n_trials, sizeof *list, "sequences", err);
    if (status) return status;
    for (size_t i = 0; i < n_asked; i++)
        for (size_t t = 0; t < asked[i].n_trials; t++, at++) {
            const qk_trial *trial = &asked[i].trials[t];
            list[at] = (qk_sequence) { trial->tokens, trial->n_tokens + asked[i].max_new,
                                       trial->n_tokens - trial->n_answer };
        }
    *sequences = list;
    *n = n_trials;
    return QK_OK;
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
