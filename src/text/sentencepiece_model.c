/* sentencepiece_model.c - tokenizer.model: SentencePiece's protocol buffer, read field by field.
 *
 * ModelProto: 1 pieces {1 text, 2 score, 3 kind}, 2 trainer {3 type, 24 suffix marks, 35 byte fallback, 41 bos, 42 eos,
 * 44 unknown surface}, 3 normalizer {1 name, 2 rules, 3 dummy prefix, 4 remove extra spaces, 5 escape spaces}. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

typedef struct field { uint32_t number, wire; uint64_t value; const uint8_t *data; size_t n; } field;
typedef struct reader { const uint8_t *start, *at, *end; qk_error *err; } reader;

static qk_status bad(const reader *r, const char *what)
{
    return qk_fail(r->err, QK_E_FORMAT, "%s at byte %zu of a message of %zu", what, (size_t)(r->at - r->start),
                   (size_t)(r->end - r->start));
}

static bool varint(uint64_t *out, reader *r)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

/* The next field; *more = false at the end of the message. */
static qk_status next_field(bool *more, field *f, reader *r)
{
    uint64_t key;
    *more = r->at < r->end;
    if (!*more) return QK_OK;
    if (!varint(&key, r) || key >> 3 == 0 || key >> 3 > UINT32_MAX >> 3) return bad(r, "broken field number");
    *f = (field){ .number = (uint32_t)(key >> 3), .wire = (uint32_t)(key & 7) };
    size_t left = (size_t)(r->end - r->at), fixed = f->wire == 1 ? 8 : 4;
    switch (f->wire) {
    case 0: return varint(&f->value, r) ? QK_OK : bad(r, "broken integer");
    case 1:
    case 5:
        if (left < fixed) return bad(r, "truncated number");
        memcpy(&f->value, r->at, fixed); /* little endian, as this machine */
        r->at += fixed;
        return QK_OK;
    case 2:
        if (!varint(&f->value, r) || f->value > (uint64_t)(r->end - r->at)) return bad(r, "truncated field");
        f->data = r->at;
        f->n = (size_t)f->value;
        r->at += f->n;
        return QK_OK;
    default: return bad(r, "unknown kind of field");
    }
}

static reader inside(const field *f, qk_error *err) { return (reader){ f->data, f->data, f->data + f->n, err }; }

typedef struct model {
    qk_tokenizer *tokenizer;
    float *scores;
    size_t n_scores, scores_capacity;
    uint64_t type;        /* 1 unigram, 2 BPE, 3 word, 4 char */
    bool suffix_marks, byte_fallback, dummy_prefix, remove_extra_spaces, escape_spaces;
    int32_t bos, eos;
    const uint8_t *rules; /* charsmap */
    size_t n_rules;
} model;

static qk_status read_piece(model *m, const field *whole, qk_error *err)
{
    reader r = inside(whole, err);
    field f, text = { 0 };
    float score = 0;
    uint64_t kind = QK_TOKEN_NORMAL;
    bool more;
    qk_status status = next_field(&more, &f, &r);
    for (; !status && more; status = next_field(&more, &f, &r)) {
        uint32_t bits = (uint32_t)f.value;
        if (f.number == 1 && f.wire == 2) text = f;
        if (f.number == 2 && f.wire == 5) memcpy(&score, &bits, sizeof score);
        if (f.number == 3 && f.wire == 0) kind = f.value;
    }
    size_t id = m->n_scores;
    const char *bytes = (const char *)text.data;
    if (!status && (text.n == 0 || qk_utf8_valid(bytes, text.n) != text.n))
        status = qk_fail(err, QK_E_FORMAT, "expected a piece in UTF-8, found %zu bytes", text.n);
    if (!status && (kind < QK_TOKEN_NORMAL || kind > QK_TOKEN_BYTE))
        status =
            qk_fail(err, QK_E_FORMAT, "expected a kind of piece from 1 to 6, found %llu", (unsigned long long)kind);
    if (!status && kind == QK_TOKEN_BYTE && qk_byte_of_token(bytes, text.n) < 0)
        status = qk_fail(err, QK_E_FORMAT, "expected a byte like <0x0A>, found \"%.*s\"",
                         (int)(text.n < 50 ? text.n : 50), bytes);
    bool found_by_text = kind == QK_TOKEN_NORMAL || kind == QK_TOKEN_USER || kind == QK_TOKEN_UNUSED;
    if (!status)
        status = qk_vocabulary_put(&m->tokenizer->vocabulary, (int64_t)id, bytes, text.n, (qk_token_kind)kind,
                                   !found_by_text, err);
    if (!status && !qk_grow(&m->scores, &m->scores_capacity, id + 1, sizeof *m->scores))
        status = qk_out_of_memory(err, "scores", id * 4);
    if (status) return qk_prefix(err, status, "piece %zu", id);
    m->scores[id] = score;
    m->n_scores++;
    return QK_OK;
}

static qk_status read_trainer(model *m, const field *whole, qk_error *err)
{
    reader r = inside(whole, err);
    field f;
    bool more;
    qk_status status = next_field(&more, &f, &r);
    for (; !status && more; status = next_field(&more, &f, &r)) {
        if (f.number == 44 && f.wire == 2) {
            if (qk_utf8_valid((const char *)f.data, f.n) != f.n) return bad(&r, "broken UTF-8");
            m->tokenizer->unknown_surface = qk_arena_copy(&m->tokenizer->arena, (const char *)f.data, f.n);
            if (!m->tokenizer->unknown_surface) return qk_out_of_memory(err, "tokenizer", f.n);
        }
        if (f.wire != 0) continue;
        if (f.number == 3) m->type = f.value;
        if (f.number == 24) m->suffix_marks = f.value != 0;
        if (f.number == 35) m->byte_fallback = f.value != 0;
        if (f.number == 41) m->bos = (int32_t)f.value;
        if (f.number == 42) m->eos = (int32_t)f.value;
    }
    return status;
}

static qk_status read_normalizer(model *m, const field *whole, qk_error *err)
{
    reader r = inside(whole, err);
    field f;
    bool more;
    qk_status status = next_field(&more, &f, &r);
    for (; !status && more; status = next_field(&more, &f, &r)) {
        if (f.number == 2 && f.wire == 2) m->rules = f.data, m->n_rules = f.n;
        if (f.wire != 0) continue;
        if (f.number == 3) m->dummy_prefix = f.value != 0;
        if (f.number == 4) m->remove_extra_spaces = f.value != 0;
        if (f.number == 5) m->escape_spaces = f.value != 0;
    }
    return status;
}

static qk_status check_supported(const model *m, qk_error *err)
{
    static const char *const types[] = { "0", "unigram", "BPE", "word", "char" };
    if (m->type != 2)
        return qk_fail(err, QK_E_UNSUPPORTED, "SentencePiece model type %s is not supported: expected BPE",
                       m->type < 5 ? types[m->type] : "of an unknown number");
    if (m->suffix_marks)
        return qk_fail(err, QK_E_UNSUPPORTED, "SentencePiece option treat_whitespace_as_suffix is not supported");
    if (!m->escape_spaces)
        return qk_fail(err, QK_E_UNSUPPORTED, "SentencePiece option escape_whitespaces=false is not supported");
    bool seen[256] = { 0 };
    int n_seen = 0;
    const qk_vocabulary *v = &m->tokenizer->vocabulary;
    for (size_t id = 0; id < v->n; id++) {
        if (v->kinds[id] != QK_TOKEN_BYTE) continue;
        int byte = qk_byte_of_token(v->text.data + v->offsets[id], v->lengths[id]);
        n_seen += !seen[byte];
        seen[byte] = true;
    }
    if (m->byte_fallback && n_seen < 256)
        return qk_fail(err, QK_E_FORMAT, "byte fallback: expected 256 byte pieces, found %d", n_seen);
    return QK_OK;
}

qk_status qk_read_sentencepiece(qk_tokenizer *tokenizer, const uint8_t *bytes, size_t n_bytes, bool keep_spaces,
                                qk_error *err)
{
    model m = { .tokenizer = tokenizer,
                .type = 1,
                .dummy_prefix = true,
                .remove_extra_spaces = true,
                .escape_spaces = true,
                .bos = 1,
                .eos = 2 };
    reader r = { bytes, bytes, bytes + n_bytes, err };
    qk_charsmap *charsmap = NULL;
    field f;
    bool more;
    qk_status status = next_field(&more, &f, &r);
    for (; !status && more; status = next_field(&more, &f, &r)) {
        if (f.wire == 2 && f.number == 1) status = read_piece(&m, &f, err);
        if (f.wire == 2 && f.number == 2) status = read_trainer(&m, &f, err);
        if (f.wire == 2 && f.number == 3) status = read_normalizer(&m, &f, err);
        if (status) break;
    }
    if (!status && m.n_scores == 0)
        status = qk_fail(err, QK_E_FORMAT, "expected a SentencePiece model, found no pieces");
    if (!status) status = check_supported(&m, err);
    if (!status && m.n_rules > 0) status = qk_charsmap_new(&charsmap, m.rules, m.n_rules, &tokenizer->arena, err);
    if (!status) {
        qk_sentencepiece rules = { .scores = m.scores,
                                   .byte_fallback = m.byte_fallback,
                                   .dummy_prefix = m.dummy_prefix,
                                   .remove_extra_spaces = m.remove_extra_spaces && !keep_spaces,
                                   .charsmap = charsmap,
                                   .bos = m.bos,
                                   .eos = m.eos,
                                   .add_bos = true };
        tokenizer->info.kind = "SentencePiece BPE (tokenizer.model)";
        status = qk_sentencepiece_finish(tokenizer, &rules, err);
    }
    free(m.scores);
    return status;
}
