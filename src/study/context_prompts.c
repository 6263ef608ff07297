/* context_prompts.c - prompts that fit a length: of the invented world, or in plain English for any model. */
#include "study/context_prompts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/probes.h"

enum { WORLD_TASKS = 2 /* that share the world's numbers of prompts */ };

static qk_status encode(int32_t **tokens, size_t *n, const qk_context_prompts *p, const char *text, size_t n_bytes,
                        qk_error *err)
{
    const qk_tokenizer_info *info = qk_tokenizer_describe(p->tokenizer);
    qk_status status =
        qk_encode(tokens, n, p->tokenizer, text, n_bytes, (qk_encode_options){ .no_bos = p->c->compute->no_bos }, err);
    if (!status && info->adds_eos && *n > 0 && (*tokens)[*n - 1] == info->eos) (*n)--;
    return status;
}

/* Tokens that the whole text and its first n_bytes begin with alike. */
static qk_status common_tokens(size_t *out, const qk_context_prompts *p, const qk_context_prompt *whole,
                               const char *text, size_t n_bytes, qk_error *err)
{
    int32_t *tokens = NULL;
    size_t n = 0, same = 0;
    qk_status status = encode(&tokens, &n, p, text, n_bytes, err);
    while (!status && same < n && same < whole->n_tokens && tokens[same] == whole->tokens[same]) same++;
    free(tokens);
    *out = same;
    return status;
}

static size_t depth_index(const qk_context *c, double depth)
{
    size_t d = 0;
    while (d + 1 < c->settings->n_depths && c->settings->depths[d] < depth - 1e-12) d++;
    return d;
}

static qk_status find_answers(qk_context_prompt *out, const qk_context_prompts *p, const qk_haystack *haystack,
                              qk_error *err)
{
    qk_status status = QK_OK;
    int n_vocab = p->c->models[p->model].model->config.n_vocab;
    for (size_t k = 0; !status && k < haystack->n_asked; k++) {
        const qk_hidden *asked = &haystack->asked[k];
        size_t from = 0, to = 0;
        status = common_tokens(&from, p, out, haystack->text, asked->from, err);
        if (!status) status = common_tokens(&to, p, out, haystack->text, asked->to, err);
        if (!status && (to <= from || from == 0))
            status = qk_fail(err, QK_E_FORMAT, "a key adds no token of its own to the prompt");
        out->answers[k] = (qk_context_answer){ from, to - from, depth_index(p->c, asked->depth) };
    }
    out->n_answers = haystack->n_asked;
    for (size_t t = 0; !status && t < out->n_tokens; t++)
        if (out->tokens[t] < 0 || out->tokens[t] >= n_vocab)
            status = qk_fail(err, QK_E_FORMAT,
                             "token %zu: expected ids of the model, 0 to %d, found %d: is the "
                             "tokenizer another model's?",
                             t, n_vocab - 1, (int)out->tokens[t]);
    return status;
}

/* With `n_sentences`: tokens and text into `out` and `kept` when they fit (the earlier ones are given up); *n_tokens in
 * any case. */
static qk_status try_sentences(qk_context_prompt *out, qk_haystack *kept, size_t *n_tokens, const qk_context_prompts *p,
                               const qk_world *world, uint64_t index, const double *depths, size_t n_keys,
                               size_t n_sentences, qk_error *err)
{
    qk_haystack haystack = { 0 };
    int32_t *tokens = NULL;
    qk_status status = qk_haystack_write(&haystack, world, QK_SPLIT_TEST, index, n_sentences, depths, n_keys, err);
    if (!status) status = encode(&tokens, n_tokens, p, haystack.text, strlen(haystack.text), err);
    if (!status && *n_tokens <= p->c->task_lengths[p->length]) {
        free(out->tokens);
        qk_haystack_free(kept);
        out->tokens = tokens;
        out->n_tokens = *n_tokens;
        *kept = haystack;
        return QK_OK;
    }
    free(tokens);
    qk_haystack_free(&haystack);
    return status;
}

/* As many sentences as fit the length; p->too_long where not even the bare question does. */
static qk_status write_prompt(qk_context_prompt *out, qk_context_prompts *p, const qk_world *world, uint64_t index,
                              const double *depths, size_t n_keys, qk_error *err)
{
    enum { FIRST_GUESS = 14 /* tokens of a sentence */, TRIES = 24 };
    size_t room = p->c->task_lengths[p->length], low = 0, high = SIZE_MAX, n = room / FIRST_GUESS, n_tokens = 0;
    qk_haystack kept = { 0 };
    qk_status status = try_sentences(out, &kept, &n_tokens, p, world, index, depths, n_keys, 0, err);
    size_t bare = n_tokens;
    if (!status && bare > room) return p->too_long = bare, QK_OK;
    for (int i = 0; !status && i < TRIES && high - low > 1; i++) {
        n = n <= low ? low + 1 : n >= high ? high - 1 : n;
        status = try_sentences(out, &kept, &n_tokens, p, world, index, depths, n_keys, n, err);
        if (n_tokens <= room)
            low = n;
        else
            high = n;
        double each = n_tokens > bare ? (double)(n_tokens - bare) / (double)n : FIRST_GUESS;
        n = (size_t)((double)(room - bare) / each);
    }
    if (!status) status = find_answers(out, p, &kept, err);
    qk_haystack_free(&kept);
    return status;
}

void qk_context_free_prompts(qk_context_prompts *p)
{
    for (size_t i = 0; p->items && i < p->n; i++) free(p->items[i].tokens);
    free(p->items);
    free(p->sequences);
    free(p->n_cut);
    free(p->answered);
}

/* ---- in plain English */

static qk_status count_tokens(void *user, size_t *n, const char *utf8, size_t n_bytes, qk_error *err)
{
    int32_t *tokens = NULL;
    qk_status status = encode(&tokens, n, user, utf8, n_bytes, err);
    free(tokens);
    return status;
}

/* A sample is prompt, space, answer. */
static qk_status take_sample(void *user, const qk_probe_sample *sample, qk_error *err)
{
    qk_context_prompts *p = user;
    size_t n_prompt = strlen(sample->prompt), n_answer = strlen(sample->answer), n_depths = p->c->settings->n_depths;
    qk_context_prompt *out = &p->items[sample->index];
    qk_haystack haystack = { .text = malloc(n_prompt + n_answer + 2), .n_asked = 1 };
    if (!haystack.text) return qk_out_of_memory(err, "a prompt", n_prompt);
    snprintf(haystack.text, n_prompt + n_answer + 2, "%s %s", sample->prompt, sample->answer);
    haystack.asked[0] =
        (qk_hidden){ n_prompt, n_prompt + 1 + n_answer, p->c->settings->depths[sample->index % n_depths] };
    out->trial = sample->index / n_depths;
    p->n = sample->index + 1;
    qk_status status = encode(&out->tokens, &out->n_tokens, p, haystack.text, n_prompt + 1 + n_answer, err);
    if (!status) status = find_answers(out, p, &haystack, err);
    qk_haystack_free(&haystack);
    return status;
}

static qk_status write_plain(qk_context_prompts *p, size_t n, qk_error *err)
{
    const qk_context_settings *s = p->c->settings;
    size_t room = p->c->task_lengths[p->length];
    qk_error why = { QK_OK, "" };
    qk_probes_settings probes = {
        .kinds = 1u << (p->task == QK_TASK_NEEDLE ? QK_PROBE_NIAH_MULTIKEY : QK_PROBE_PASSKEY_PROSE),
        .seed = s->world,
        .per_category = n,
        .tokens = { room },
        .n_tokens = 1,
        .n_depths = s->n_depths,
        .counter = { count_tokens, p },
    };
    if (s->n_depths > QK_PROBE_LISTED)
        return qk_fail(err, QK_E_ARGUMENT, "--depths: expected at most %d in plain English, found %zu", QK_PROBE_LISTED,
                       s->n_depths);
    for (size_t d = 0; d < s->n_depths; d++) probes.depths[d] = (unsigned)lround(s->depths[d] * QK_DEPTH_END);
    qk_status status = qk_probes_each(&probes, take_sample, p, &why);
    if (status == QK_E_ARGUMENT) { /* nothing else is wrong with these settings: a prompt that does not fit */
        p->too_long = room + 1;
        return QK_OK;
    }
    return status ? qk_fail(err, status, "%s", why.message) : QK_OK;
}

/* ---- all of them */

static bool is_plain(const qk_context_prompts *p)
{
    return p->task == QK_TASK_NEEDLE || (p->task == QK_TASK_PASS_KEY && p->c->settings->plain);
}

/* Prompts of one task and length: with one key a prompt for each depth and trial, with a key at every depth one for
 * each trial (of at most QK_HAYSTACK_KEYS depths each). */
qk_status qk_context_write_prompts(qk_context_prompts *p, const qk_world *world, qk_error *err)
{
    const qk_context_settings *s = p->c->settings;
    size_t n_trials = qk_context_trials(p->c, p->c->task_lengths[p->length]);
    size_t most = p->task == QK_TASK_PASS_KEYS ? QK_HAYSTACK_KEYS : 1, n_parts = (s->n_depths + most - 1) / most;
    size_t n = n_trials * n_parts;
    qk_status status = qk_new_array(&p->items, n, sizeof *p->items, "prompts", err);
    if (!status) status = qk_new_array(&p->sequences, n, sizeof *p->sequences, "sequences", err);
    if (!status) status = qk_new_array(&p->n_cut, n, sizeof *p->n_cut, "sequences", err);
    if (!status) status = qk_new_array(&p->answered, n, sizeof *p->answered, "answers", err);
    if (!status && is_plain(p)) return write_plain(p, n, err);
    for (size_t i = 0; !status && !p->too_long && i < n; i++) {
        size_t part = i % n_parts, first = part * most, left = s->n_depths - first, n_keys = left < most ? left : most;
        uint64_t index = (uint64_t)i * WORLD_TASKS + p->task + ((uint64_t)p->c->task_lengths[p->length] << 24);
        p->items[i].trial = i / n_parts;
        p->n = i + 1;
        status = write_prompt(&p->items[i], p, world, index, s->depths + first, n_keys, err);
    }
    return status;
}
