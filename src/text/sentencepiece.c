/* sentencepiece.c - what tokenizer.model, tokenizer.bin and a GGUF "llama" vocabulary have in common. */
#include "text/tokenizer.h"

#include <string.h>

static qk_status add_special_tokens(qk_tokenizer *t, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t id = 0; !status && id < t->vocabulary.n; id++) {
        uint8_t kind = t->vocabulary.kinds[id];
        if (kind != QK_TOKEN_CONTROL && kind != QK_TOKEN_UNKNOWN) continue;
        qk_added_token token = { .id = (int32_t)id, .special = true };
        const char *text = qk_vocabulary_text(&token.n_bytes, &t->vocabulary, (int64_t)id);
        token.text = text;
        status = qk_added_add(t, token, err);
    }
    return status;
}

/* The id where it is one of a marker, not of text. */
static int32_t control(const qk_tokenizer *t, int32_t id)
{
    if (id < 0 || (size_t)id >= t->vocabulary.n) return -1;
    uint8_t kind = t->vocabulary.kinds[id];
    return kind == QK_TOKEN_CONTROL || kind == QK_TOKEN_USER ? id : -1;
}

qk_status qk_sentencepiece_finish(qk_tokenizer *t, const qk_sentencepiece *rules, qk_error *err)
{
    t->bpe.unknown = -1;
    for (size_t id = 0; id < t->vocabulary.n && t->bpe.unknown < 0; id++)
        if (t->vocabulary.kinds[id] == QK_TOKEN_UNKNOWN) t->bpe.unknown = (int32_t)id;
    if (t->bpe.unknown < 0) return qk_fail(err, QK_E_FORMAT, "vocabulary: expected an unknown token, found none");
    t->bpe.byte_fallback = rules->byte_fallback;
    t->sentencepiece_decoder = true;
    t->drops_first_space = rules->dummy_prefix || rules->remove_extra_spaces;
    t->drops_all_first_spaces = rules->remove_extra_spaces;
    if (!t->unknown_surface) t->unknown_surface = " \xe2\x81\x87 ";
    t->info.bos = control(t, rules->bos);
    t->info.eos = control(t, rules->eos);
    qk_step spaces = { .apply = qk_step_sentencepiece, .dummy_prefix = rules->dummy_prefix,
                       .remove_extra_spaces = rules->remove_extra_spaces, .charsmap = rules->charsmap };
    qk_status status = qk_steps_add(&t->normalizers, spaces, err);
    if (!status) status = qk_bpe_rank_scores(&t->bpe, &t->vocabulary, rules->scores, err);
    if (!status) status = add_special_tokens(t, err);
    if (!status && rules->add_bos && t->info.bos >= 0) status = qk_tokenizer_surround(t, true, &t->info.bos, 1, err);
    if (!status && rules->add_eos && t->info.eos >= 0) status = qk_tokenizer_surround(t, false, &t->info.eos, 1, err);
    return status;
}

/* A finished run of byte tokens, raw[0, n): characters where it spells some, U+FFFD for every other byte. */
static bool end_run(qk_bytes *out, qk_bytes *raw)
{
    bool ok = true;
    for (size_t at = 0; ok && at < raw->n;) {
        int length = qk_utf8_length((const uint8_t *)raw->data + at, raw->n - at);
        ok = length ? qk_bytes_add(out, raw->data + at, (size_t)length) : qk_bytes_add(out, "\xef\xbf\xbd", 3);
        at += length ? (size_t)length : 1;
    }
    raw->n = 0;
    return ok;
}

static bool add_piece(qk_bytes *out, const char *text, size_t n_bytes)
{
    bool ok = true;
    for (size_t at = 0; ok && at < n_bytes;) {
        const char *mark = memmem(text + at, n_bytes - at, QK_SPACE_MARK, 3);
        size_t end = mark ? (size_t)(mark - text) : n_bytes;
        ok = qk_bytes_add(out, text + at, end - at) && (!mark || qk_bytes_add(out, " ", 1));
        at = mark ? end + 3 : end;
    }
    return ok;
}

/* The dummy prefix is taken off the first piece that begins with a mark while nothing is written yet. */
qk_status qk_sentencepiece_decode(qk_work *work, const int32_t *tokens, size_t n_tokens)
{
    const qk_tokenizer *t = work->tokenizer;
    qk_bytes *out = &work->next.text, *raw = &work->now.text; /* `now` holds the bytes of a run */
    bool at_start = true, prefix_seen = false, ok = true;
    for (size_t i = 0; ok && i < n_tokens; i++) {
        size_t n_bytes;
        const char *text = qk_vocabulary_text(&n_bytes, &t->vocabulary, tokens[i]);
        uint8_t kind = t->vocabulary.kinds[tokens[i]];
        if (kind == QK_TOKEN_BYTE) {
            int byte = qk_byte_of_token(text, n_bytes);
            ok = qk_bytes_add(raw, &(char){ (char)byte }, 1);
            continue;
        }
        ok = end_run(out, raw);
        if (prefix_seen || out->n > 0) at_start = false;
        prefix_seen = false;
        if (kind == QK_TOKEN_CONTROL) continue;
        if (kind == QK_TOKEN_UNKNOWN) {
            ok = ok && qk_bytes_add(out, t->unknown_surface, strlen(t->unknown_surface));
            continue;
        }
        if (at_start && t->drops_first_space && n_bytes >= 3 && memcmp(text, QK_SPACE_MARK, 3) == 0) {
            text += 3;
            n_bytes -= 3;
            prefix_seen = !t->drops_all_first_spaces;
        }
        ok = ok && add_piece(out, text, n_bytes);
    }
    return ok && end_run(out, raw) ? QK_OK : qk_work_fail_memory(work);
}
