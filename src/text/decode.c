/* decode.c - tokens to text. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

/* The texts of the tokens that are not special, one piece each. */
static qk_status lay_out(qk_work *work, const int32_t *tokens, size_t n_tokens)
{
    const qk_tokenizer *t = work->tokenizer;
    if (!qk_bytes_reserve(&work->now.text, 1)) return qk_work_fail_memory(work);
    for (size_t i = 0; i < n_tokens; i++) {
        if (t->is_special[tokens[i]]) continue;
        size_t n_bytes, start = work->now.text.n;
        const char *text = qk_vocabulary_text(&n_bytes, &t->vocabulary, tokens[i]);
        bool ok = start == 0 || !t->joins_with_spaces || qk_bytes_add(&work->now.text, " ", 1);
        if (!ok || !qk_bytes_add(&work->now.text, text, n_bytes) || !qk_pieces_add(&work->now, start, work->now.text.n))
            return qk_work_fail_memory(work);
    }
    return QK_OK;
}

static qk_status join(qk_bytes *out, const qk_work *work)
{
    bool ok = true;
    for (size_t i = 0; ok && i < work->now.n; i++)
        ok = qk_bytes_add(out, work->now.text.data + work->now.spans[i].start,
                          work->now.spans[i].end - work->now.spans[i].start);
    return ok ? QK_OK : qk_work_fail_memory(work);
}

qk_status qk_decode(char **utf8, size_t *n_bytes, const qk_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens,
                    qk_error *err)
{
    qk_work work = { .tokenizer = tokenizer, .err = err };
    qk_bytes out = { 0 };
    qk_status status = QK_OK;
    for (size_t i = 0; i < n_tokens; i++) {
        size_t length;
        if (!qk_vocabulary_text(&length, &tokenizer->vocabulary, tokens[i]))
            return qk_fail(err, QK_E_ARGUMENT, "token %zu of %zu: id %d is not in the vocabulary of %zu", i, n_tokens,
                           tokens[i], tokenizer->vocabulary.n);
    }
    if (tokenizer->sentencepiece_decoder) {
        status = qk_sentencepiece_decode(&work, tokens, n_tokens);
        if (!status && !qk_bytes_add(&out, work.next.text.data, work.next.text.n)) status = qk_work_fail_memory(&work);
    } else {
        status = lay_out(&work, tokens, n_tokens);
        if (!status) status = qk_work_steps(&work, &tokenizer->decoders);
        if (!status) status = join(&out, &work);
    }
    if (!status && !qk_bytes_add(&out, "", 1)) status = qk_work_fail_memory(&work);
    if (!status) {
        *n_bytes = out.n - 1;
        *utf8 = out.data;
        out.data = NULL;
    }
    free(out.data);
    qk_work_free(&work);
    return status;
}

/* ---- one token in the middle of a text: its bytes, valid UTF-8 or not, told once when the tokenizer is opened */

static bool has_step(const qk_steps *steps, qk_status (*apply)(qk_work *, const qk_step *))
{
    for (size_t i = 0; i < steps->n; i++)
        if (steps->items[i].apply == apply) return true;
    return false;
}

static bool add_piece(qk_bytes *out, const qk_tokenizer *t, int64_t id, bool byte_level, bool marked)
{
    size_t n_bytes, before = out->n;
    const char *text = qk_vocabulary_text(&n_bytes, &t->vocabulary, id);
    if (!text) return true;
    int byte = qk_byte_of_token(text, n_bytes);
    if (t->is_special[id]) return qk_bytes_add(out, text, n_bytes);
    if (byte >= 0 && t->bpe.byte_fallback) return qk_bytes_add(out, &(char){ (char)byte }, 1);
    for (size_t at = 0; at < n_bytes;) {
        uint32_t c;
        int length = qk_utf8_decode(&c, (const uint8_t *)text + at);
        byte = byte_level ? qk_byte_of_character(c) : -1;
        if (byte_level && byte < 0) { /* not spelled in bytes: an added token */
            out->n = before;
            return qk_bytes_add(out, text, n_bytes);
        }
        bool ok = byte >= 0                ? qk_bytes_add(out, &(char){ (char)byte }, 1)
                  : marked && c == 0x2581 ? qk_bytes_add(out, " ", 1)
                                           : qk_bytes_add(out, text + at, (size_t)length);
        if (!ok) return false;
        at += (size_t)length;
    }
    return true;
}

qk_status qk_tokenizer_spell(qk_tokenizer *t, qk_error *err)
{
    bool byte_level = has_step(&t->decoders, qk_step_decode_byte_level);
    bool marked = t->sentencepiece_decoder || has_step(&t->decoders, qk_step_decode_metaspace) ||
                  has_step(&t->decoders, qk_step_replace);
    qk_status status =
        qk_new_array((void **)&t->spelling_ends, t->vocabulary.n + 1, sizeof *t->spelling_ends, "vocabulary", err);
    for (size_t id = 0; !status && id < t->vocabulary.n; id++) {
        if (!add_piece(&t->spelling, t, (int64_t)id, byte_level, marked))
            return qk_out_of_memory(err, "vocabulary", t->spelling.n);
        t->spelling_ends[id + 1] = t->spelling.n;
    }
    return status;
}

const char *qk_token_piece(size_t *n_bytes, const qk_tokenizer *t, int32_t id)
{
    size_t length;
    if (!qk_vocabulary_text(&length, &t->vocabulary, id)) return NULL;
    *n_bytes = t->spelling_ends[id + 1] - t->spelling_ends[id];
    return *n_bytes ? t->spelling.data + t->spelling_ends[id] : "";
}
