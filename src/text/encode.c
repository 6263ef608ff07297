/* encode.c - text to tokens: added tokens are cut out, what lies between is normalized, split and merged. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* A character of words, as Rust's regular expressions count them: letters, marks, digits, connectors, joiners, circled
 * letters. */
static bool is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_PC: return true;
    default: break;
    }
    return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

/* Where the character before `end` begins. */
static size_t character_before(const char *text, size_t end)
{
    do end--;
    while (end > 0 && ((uint8_t)text[end] & 0xC0) == 0x80);
    return end;
}

static uint32_t character_at(const char *text, size_t at)
{
    uint32_t c;
    qk_utf8_decode(&c, (const uint8_t *)text + at);
    return c;
}

static bool stands_alone(const char *text, size_t n_bytes, qk_span match)
{
    if (match.start > 0 && is_word(character_at(text, character_before(text, match.start)))) return false;
    return match.end == n_bytes || !is_word(character_at(text, match.end));
}

/* The white space that a token swallows on its sides, but none that an earlier token has. */
static qk_span widen(const qk_added_token *token, const char *text, size_t n_bytes, qk_span match, size_t done)
{
    while (token->left_strip && match.start > done) {
        size_t before = character_before(text, match.start);
        if (!qk_is_white_space(character_at(text, before))) break;
        match.start = before;
    }
    while (token->right_strip && match.end < n_bytes && qk_is_white_space(character_at(text, match.end)))
        match.end += (size_t)qk_utf8_length((const uint8_t *)text + match.end, n_bytes - match.end);
    return match;
}

typedef qk_status between(qk_work *work, const char *text, size_t start, size_t end, bool plain);

/* Cut the added tokens out of text[0, n_bytes) and hand what lies between to `rest`. */
static qk_status cut_added(qk_work *work, const qk_literals *literals, const char *text, size_t n_bytes, bool plain,
                           between *rest)
{
    const qk_tokenizer *t = work->tokenizer;
    qk_status status = QK_OK;
    size_t done = 0;
    for (size_t at = 0; !status && at < n_bytes && literals->n > 0;) {
        size_t index, length = qk_literals_longest(&index, literals, text + at, n_bytes - at);
        if (length == 0) {
            at++;
            continue;
        }
        const qk_added_token *token = &t->added[index];
        qk_span match = { at, at + length };
        at += length;
        if ((plain && token->special) || (token->single_word && !stands_alone(text, n_bytes, match))) continue;
        match = widen(token, text, n_bytes, match, done);
        if (match.start > done) status = rest(work, text, done, match.start, plain);
        if (!status && !qk_work_emit(work, token->id)) status = qk_work_fail_memory(work);
        done = match.end;
    }
    if (!status && done < n_bytes) status = rest(work, text, done, n_bytes, plain);
    return status;
}

static qk_status set_text(qk_work *work, const char *text, size_t n_bytes)
{
    work->now.n = 0;
    work->now.text.n = 0;
    bool ok = qk_bytes_add(&work->now.text, text, n_bytes) && qk_pieces_cut(&work->now, 0, n_bytes);
    return ok ? QK_OK : qk_work_fail_memory(work);
}

/* Normalized text without added tokens: pre-tokenize, merge. */
static qk_status encode_words(qk_work *work, const char *text, size_t start, size_t end, bool plain)
{
    (void)plain;
    bool at_start = work->at_start;
    work->at_start = at_start && start == 0;
    qk_status status = set_text(work, text + start, end - start);
    if (!status) status = qk_work_steps(work, &work->tokenizer->pre_tokenizers);
    for (size_t i = 0; !status && i < work->now.n; i++) {
        qk_span span = work->now.spans[i];
        if (span.end - span.start > INT32_MAX)
            return qk_fail(work->err, QK_E_UNSUPPORTED, "a piece of %zu bytes: at most %d can be merged",
                           span.end - span.start, INT32_MAX);
        status = qk_bpe_encode(work, work->now.text.data + span.start, span.end - span.start);
    }
    work->at_start = at_start;
    return status;
}

/* Text between raw added tokens: normalize it, cut out the added tokens that are looked for only now. */
static qk_status encode_segment(qk_work *work, const char *text, size_t start, size_t end, bool plain)
{
    work->at_start = start == 0;
    qk_status status = set_text(work, text + start, end - start);
    if (!status) status = qk_work_steps(work, &work->tokenizer->normalizers);
    if (status || work->now.n == 0) return status;
    qk_bytes whole = work->now.text; /* the steps that follow write into work->now */
    size_t n_bytes = work->now.spans[0].end;
    work->now.text = (qk_bytes){ 0 };
    status = cut_added(work, &work->tokenizer->normalized, whole.data, n_bytes, plain, encode_words);
    free(whole.data);
    return status;
}

static qk_status emit_all(qk_work *work, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!qk_work_emit(work, ids[i])) return qk_work_fail_memory(work);
    return QK_OK;
}

qk_status qk_encode(int32_t **tokens, size_t *n_tokens, const qk_tokenizer *tokenizer, const char *utf8, size_t n_bytes,
                    qk_encode_options options, qk_error *err)
{
    qk_work work = { .tokenizer = tokenizer, .err = err };
    qk_status status = QK_OK;
    size_t valid = qk_utf8_valid(utf8, n_bytes);
    if (valid < n_bytes)
        return qk_fail(err, QK_E_FORMAT, "text: expected UTF-8, found byte 0x%02X at offset %zu", (uint8_t)utf8[valid],
                       valid);
    if (tokenizer->bpe.has_unused)
        status = qk_new_array((void **)&work.unused_left, tokenizer->vocabulary.n, sizeof *work.unused_left,
                              "tokenizer", err);
    if (!status && !options.no_bos) status = emit_all(&work, tokenizer->prefix, tokenizer->n_prefix);
    if (!status) status = cut_added(&work, &tokenizer->raw, utf8, n_bytes, options.plain, encode_segment);
    if (!status) status = emit_all(&work, tokenizer->suffix, tokenizer->n_suffix);
    if (!status) {
        *tokens = work.ids;
        *n_tokens = work.n_ids;
        work.ids = NULL;
    }
    qk_work_free(&work);
    return status;
}
