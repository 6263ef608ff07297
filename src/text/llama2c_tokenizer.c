/* llama2c_tokenizer.c - llama2.c's tokenizer.bin: i32 longest token, then for each token f32 score, i32 bytes, text.
 *
 * It is a SentencePiece model without its options, spaces written as spaces and <s>, </s> between line feeds: ids are
 * those of the tokenizer.model it was made from (a dummy prefix, byte fallback, no spaces removed). */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry { float score; const char *text; size_t n; } entry;

static bool next_entry(entry *out, const uint8_t *bytes, size_t n_bytes, size_t *at)
{
    int32_t n;
    if (n_bytes - *at < 8) return false;
    memcpy(&out->score, bytes + *at, 4);
    memcpy(&n, bytes + *at + 4, 4);
    if (n < 0 || (size_t)n > n_bytes - *at - 8) return false;
    out->text = (const char *)bytes + *at + 8;
    out->n = (size_t)n;
    *at += 8 + (size_t)n;
    return true;
}

bool qk_is_llama2c_tokenizer(const uint8_t *bytes, size_t n_bytes, size_t n_vocab)
{
    int32_t longest;
    entry e;
    size_t at = 4, n = 0, found = 0;
    if (n_bytes < 12) return false;
    memcpy(&longest, bytes, 4);
    if (longest < 1 || longest > 1 << 16) return false;
    for (; at < n_bytes && next_entry(&e, bytes, n_bytes, &at); n++)
        if (e.n > found) found = e.n;
    /* A damaged one is still recognized by its first token, so that the message can say where it ends. */
    at = 4;
    bool first = next_entry(&e, bytes, n_bytes, &at) && e.n == 5 && memcmp(e.text, "<unk>", 5) == 0;
    return first || (n > 0 && n == n_vocab && found <= (size_t)longest);
}

/* The piece as SentencePiece has it, in `out`. */
static bool restore(qk_bytes *out, const entry *e)
{
    const char *text = e->text;
    size_t n = e->n;
    out->n = 0;
    if (n > 2 && text[0] == '\n' && text[n - 1] == '\n') text++, n -= 2;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = text[i] == ' ' ? qk_bytes_add(out, QK_SPACE_MARK, 3) : qk_bytes_add(out, text + i, 1);
    return ok;
}

static qk_status put_entry(qk_tokenizer *t, size_t id, const entry *e, qk_bytes *text, qk_error *err)
{
    if (!restore(text, e)) return qk_out_of_memory(err, "vocabulary", e->n);
    const char *piece = text->n ? text->data : "";
    qk_token_kind kind = id == 0 ? QK_TOKEN_UNKNOWN : id < 3 ? QK_TOKEN_CONTROL : QK_TOKEN_NORMAL;
    if (id >= 3 && id < 259 && qk_byte_of_token(piece, text->n) == (int)id - 3) kind = QK_TOKEN_BYTE;
    if (qk_utf8_valid(piece, text->n) != text->n)
        return qk_fail(err, QK_E_FORMAT, "token %zu: expected UTF-8, found %zu other bytes", id, text->n);
    return qk_vocabulary_put(&t->vocabulary, (int64_t)id, piece, text->n, kind, kind != QK_TOKEN_NORMAL, err);
}

qk_status qk_read_llama2c_tokenizer(qk_tokenizer *t, const uint8_t *bytes, size_t n_bytes, size_t n_vocab,
                                    qk_error *err)
{
    float *scores = NULL;
    qk_bytes text = { 0 };
    size_t at = 4, n = 0, capacity = 0;
    int n_bytes_known = 0;
    qk_status status = QK_OK;
    for (; !status && at < n_bytes && (n_vocab == 0 || n < n_vocab); n++) {
        entry e = { 0 };
        if (!next_entry(&e, bytes, n_bytes, &at))
            status = qk_fail(err, QK_E_FORMAT, "token %zu: truncated at byte %zu of %zu", n, at, n_bytes);
        else status = put_entry(t, n, &e, &text, err);
        if (!status && !qk_grow(&scores, &capacity, n + 1, sizeof *scores))
            status = qk_out_of_memory(err, "scores", n * 4);
        if (status) break;
        scores[n] = e.score;
        n_bytes_known += t->vocabulary.kinds[n] == QK_TOKEN_BYTE;
    }
    if (!status && n < (n_vocab ? n_vocab : 3))
        status = qk_fail(err, QK_E_FORMAT, "expected %zu tokens, found %zu", n_vocab ? n_vocab : 3, n);
    if (!status && at < n_bytes)
        status = qk_fail(err, QK_E_FORMAT, "expected %zu tokens, found %zu bytes behind them", n_vocab, n_bytes - at);
    if (!status) {
        qk_sentencepiece rules = { .scores = scores,
                                   .byte_fallback = n_bytes_known == 256,
                                   .dummy_prefix = true,
                                   .bos = 1,
                                   .eos = 2,
                                   .add_bos = true };
        t->info.kind = "SentencePiece BPE (llama2.c tokenizer.bin)";
        status = qk_sentencepiece_finish(t, &rules, err);
    }
    free(scores);
    free(text.data);
    return status;
}
