/* text.c - the text of a stream, token by token: no half characters, nothing that a stop string may take back. */
#include <stdlib.h>
#include <string.h>

#include "generate/generate_private.h"

enum {
    CONTEXT_TOKENS = 6,  /* of the prompt: enough for a decoder to know that the text goes on */
    CHARACTER_TOKENS = 4 /* a character has at most so many bytes, and so many tokens that spell nothing whole */
};

/* Text of tokens[from, to); ids that the tokenizer does not know (padding of the vocabulary) spell nothing. */
static qk_status spell(char **text, size_t *n_bytes, const qk_stream *s, size_t from, size_t to,
                       const qk_tokenizer *tokenizer, qk_error *err)
{
    int32_t *known = NULL;
    size_t n = 0, length;
    qk_status status = qk_new_array(&known, to - from + 1, sizeof *known, "tokens", err);
    for (size_t i = from; i < to && !status; i++)
        if (qk_token_piece(&length, tokenizer, s->tokens[i])) known[n++] = s->tokens[i];
    if (!status) status = qk_decode(text, n_bytes, tokenizer, known, n, err);
    free(known);
    return status;
}

/* The last character is the mark of bytes that are none (yet). */
static bool ends_broken(const char *text, size_t n) { return n >= 3 && memcmp(text + n - 3, "\xEF\xBF\xBD", 3) == 0; }

/* Bytes of white space that the text begins with. */
static size_t leading_white(const qk_bytes *text)
{
    size_t n = 0;
    while (n < text->n && strchr(" \t\r\n", text->data[n]) && text->data[n]) n++;
    return n;
}

/* The first stop string in text[from..]: where, or SIZE_MAX. */
static size_t find_stop(size_t *which, const qk_bytes *text, size_t from, const qk_generate_spec *spec)
{
    size_t first = SIZE_MAX, least = spec->stop_behind_text ? leading_white(text) : 0;
    for (size_t i = 0; i < spec->n_stops; i++) {
        size_t n = strlen(spec->stops[i]), start = from > n - 1 ? from - (n - 1) : 0;
        if (start < least) start = least;
        if (start >= text->n) continue;
        const char *at = memmem(text->data + start, text->n - start, spec->stops[i], n);
        if (!at || (size_t)(at - text->data) >= first) continue;
        first = (size_t)(at - text->data);
        *which = i;
    }
    return first;
}

static qk_status append(qk_stream *s, const char *text, size_t n_bytes, const qk_generate_spec *spec, qk_error *err)
{
    size_t before = s->text.n, which = 0;
    if (!qk_bytes_add(&s->text, text, n_bytes)) return qk_out_of_memory(err, "text", before + n_bytes);
    size_t at = find_stop(&which, &s->text, before, spec);
    if (at == SIZE_MAX) return QK_OK;
    s->text.n = at;
    s->end = QK_END_STOP;
    s->stop = which;
    return QK_OK;
}

qk_status qk_stream_spell(qk_stream *s, const qk_tokenizer *tokenizer, const qk_generate_spec *spec, qk_error *err)
{
    char *old = NULL, *now = NULL;
    size_t n_old = 0, n_now = 0, to = s->n_tokens - (s->end == QK_END_TOKEN);
    if (s->read == 0) {
        s->read = s->n_prompt;
        s->window = s->n_prompt > CONTEXT_TOKENS ? s->n_prompt - CONTEXT_TOKENS : 0;
    }
    if (to <= s->read) return QK_OK;
    qk_status status = spell(&old, &n_old, s, s->window, s->read, tokenizer, err);
    if (!status) status = spell(&now, &n_now, s, s->window, to, tokenizer, err);
    if (status) goto out;
    if (!s->end && ends_broken(now, n_now) && to - s->read < CHARACTER_TOKENS) goto out;
    size_t same = 0; /* n_old, but for decoders that change their mind */
    while (same < n_old && same < n_now && old[same] == now[same]) same++;
    s->window = s->read;
    s->read = to;
    status = append(s, now + same, n_now - same, spec, err);
out:
    free(old);
    free(now);
    return status;
}

size_t qk_stream_certain(const qk_stream *s, const qk_generate_spec *spec)
{
    size_t held = 0;
    for (size_t i = 0; i < spec->n_stops && !s->end; i++) {
        size_t n = strlen(spec->stops[i]);
        for (size_t k = n - 1 < s->text.n ? n - 1 : s->text.n; k > held; k--)
            if (memcmp(s->text.data + s->text.n - k, spec->stops[i], k) == 0) held = k;
    }
    return s->text.n - held > s->n_given ? s->text.n - held - s->n_given : 0;
}
