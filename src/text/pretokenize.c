/* pretokenize.c - pre-tokenizer steps: splits with every behavior of Hugging Face's, Metaspace, byte level. */
#include "text/tokenizer.h"

#include <string.h>

/* ---- split */

typedef struct fold {
    qk_pieces *out;
    qk_behavior behavior;
    bool after_match, waiting; /* waiting: `held` is a delimiter that joins what follows */
    size_t first;              /* of this piece's own results in out */
    qk_span held;
} fold;

/* Lengthen the last result of this piece, or begin one. */
static bool extend(fold *f, qk_span part)
{
    if (f->out->n == f->first) return qk_pieces_add(f->out, part.start, part.end);
    f->out->spans[f->out->n - 1].end = part.end;
    return true;
}

static bool deliver(fold *f, size_t start, size_t end, bool is_match)
{
    qk_span part = { start, end };
    bool ok = true, before = f->after_match;
    f->after_match = is_match;
    switch (f->behavior) {
    case QK_REMOVED: return is_match || qk_pieces_add(f->out, start, end);
    case QK_ISOLATED: return qk_pieces_add(f->out, start, end);
    case QK_CONTIGUOUS: return is_match == before ? extend(f, part) : qk_pieces_add(f->out, start, end);
    case QK_MERGED_WITH_PREVIOUS: return is_match && !before ? extend(f, part) : qk_pieces_add(f->out, start, end);
    case QK_MERGED_WITH_NEXT:
        if (f->waiting && is_match) ok = qk_pieces_add(f->out, f->held.start, f->held.end);
        if (f->waiting && !is_match) part.start = f->held.start;
        f->waiting = is_match;
        f->held = part;
        return ok && (is_match || qk_pieces_add(f->out, part.start, part.end));
    }
    return false;
}

/* A delimiter still waits for what follows; pieces of nothing, which what is behind them could have joined, go. */
static bool finish(fold *f)
{
    if (f->waiting && !qk_pieces_add(f->out, f->held.start, f->held.end)) return false;
    size_t kept = f->first;
    for (size_t i = f->first; i < f->out->n; i++)
        if (f->out->spans[i].start < f->out->spans[i].end) f->out->spans[kept++] = f->out->spans[i];
    f->out->n = kept;
    return true;
}

static qk_status split_piece(qk_work *work, const qk_step *step, qk_span span)
{
    const char *text = work->now.text.data + span.start;
    size_t n_bytes = span.end - span.start, done = 0, from = 0;
    fold f = { .out = &work->next, .behavior = step->behavior, .first = work->next.n };
    bool ok = true;
    while (ok && from <= n_bytes) {
        bool found;
        qk_span match;
        qk_status status = qk_step_find(&found, &match, work, step, text, n_bytes, from);
        if (status) return status;
        if (!found) break;
        bool empty = match.start == match.end, again = empty && match.end == done && done > 0;
        from = match.end;
        if (empty) from += from < n_bytes ? (size_t)qk_utf8_length((const uint8_t *)text + from, n_bytes - from) : 1;
        if (again) continue;
        if (match.start > done) ok = deliver(&f, span.start + done, span.start + match.start, step->invert);
        ok = ok && deliver(&f, span.start + match.start, span.start + match.end, !step->invert);
        done = match.end;
    }
    if (ok && done < n_bytes) ok = deliver(&f, span.start + done, span.end, step->invert);
    return ok && finish(&f) ? QK_OK : qk_work_fail_memory(work);
}

qk_status qk_step_split(qk_work *work, const qk_step *step)
{
    for (size_t i = 0; i < work->now.n; i++) {
        qk_status status = split_piece(work, step, work->now.spans[i]);
        if (status) return status;
    }
    qk_bytes text = work->next.text; /* the text itself stays */
    work->next.text = work->now.text;
    work->now.text = text;
    qk_work_swap(work);
    return QK_OK;
}

/* ---- Metaspace: spaces become a mark, words begin with one */

/* A mark joins the word behind it; of several in a row the last. */
static bool cut_at_marks(qk_work *work, const qk_step *step, size_t start)
{
    fold f = { .out = &work->next, .behavior = QK_MERGED_WITH_NEXT, .first = work->next.n };
    const char *text = work->next.text.data;
    size_t end = work->next.text.n, done = start;
    bool ok = true;
    while (ok && done < end) {
        const char *mark = memmem(text + done, end - done, step->content, step->n_content);
        size_t at = mark ? (size_t)(mark - text) : end;
        if (at > done) ok = deliver(&f, done, at, false);
        if (ok && mark) ok = deliver(&f, at, at + step->n_content, true);
        done = mark ? at + step->n_content : end;
    }
    return ok && finish(&f);
}

qk_status qk_step_metaspace(qk_work *work, const qk_step *step)
{
    bool ok = true;
    for (size_t i = 0; ok && i < work->now.n; i++) {
        qk_span span = work->now.spans[i];
        const char *text = work->now.text.data + span.start;
        size_t n_bytes = span.end - span.start, start = work->next.text.n;
        bool marked =
            text[0] == ' ' || (n_bytes >= step->n_content && memcmp(text, step->content, step->n_content) == 0);
        bool first = work->at_start && span.start == 0;
        if (!marked && (step->prepend == QK_PREPEND_ALWAYS || (step->prepend == QK_PREPEND_FIRST && first)))
            ok = qk_bytes_add(&work->next.text, step->content, step->n_content);
        for (size_t at = 0; ok && at < n_bytes;) {
            const char *space = memchr(text + at, ' ', n_bytes - at);
            size_t end = space ? (size_t)(space - text) : n_bytes;
            ok = qk_bytes_add(&work->next.text, text + at, end - at);
            if (ok && space) ok = qk_bytes_add(&work->next.text, step->content, step->n_content);
            at = space ? end + 1 : end;
        }
        if (!ok) break;
        ok = step->split ? cut_at_marks(work, step, start) : qk_pieces_cut(&work->next, start, work->next.text.n);
    }
    if (!ok) return qk_work_fail_memory(work);
    qk_work_swap(work);
    return QK_OK;
}

/* ---- byte level */

qk_status qk_step_prefix_space(qk_work *work, const qk_step *step)
{
    (void)step;
    bool ok = true;
    for (size_t i = 0; ok && i < work->now.n; i++) {
        qk_span span = work->now.spans[i];
        size_t start = work->next.text.n;
        if (work->now.text.data[span.start] != ' ') ok = qk_bytes_add(&work->next.text, " ", 1);
        ok = ok && qk_bytes_add(&work->next.text, work->now.text.data + span.start, span.end - span.start) &&
             qk_pieces_cut(&work->next, start, work->next.text.n);
    }
    if (!ok) return qk_work_fail_memory(work);
    qk_work_swap(work);
    return QK_OK;
}

/* Bytes that print in Latin-1 stand for themselves, the other 68 for U+0100 and up, in order. */
static bool prints(unsigned byte) { return (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD); }

uint32_t qk_character_of_byte(uint8_t byte)
{
    if (prints(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    if (byte <= 0xA0) return 0x100u + 0x21 + (byte - 0x7Fu);
    return 0x143; /* 0xAD, the last one */
}

int qk_byte_of_character(uint32_t c)
{
    if (c < 0x100) return prints(c) ? (int)c : -1;
    if (c <= 0x120) return (int)c - 0x100;
    if (c < 0x143) return (int)c - 0x121 + 0x7F;
    return c == 0x143 ? 0xAD : -1;
}

qk_status qk_step_byte_level(qk_work *work, const qk_step *step)
{
    (void)step;
    char written[256][4];
    uint8_t lengths[256];
    for (int b = 0; b < 256; b++)
        lengths[b] = (uint8_t)qk_utf8_encode((uint8_t *)written[b], qk_character_of_byte((uint8_t)b));
    size_t n_bytes = work->now.n ? work->now.spans[work->now.n - 1].end : 0, doubled;
    if (!qk_mul(n_bytes, 2, &doubled) || !qk_bytes_reserve(&work->next.text, doubled)) return qk_work_fail_memory(work);
    for (size_t i = 0; i < work->now.n; i++) {
        size_t start = work->next.text.n;
        char *out = work->next.text.data + start;
        for (size_t at = work->now.spans[i].start; at < work->now.spans[i].end; at++) {
            uint8_t byte = (uint8_t)work->now.text.data[at];
            out[0] = written[byte][0];
            if (lengths[byte] > 1) out[1] = written[byte][1];
            out += lengths[byte];
        }
        work->next.text.n = (size_t)(out - work->next.text.data);
        if (!qk_pieces_cut(&work->next, start, work->next.text.n)) return qk_work_fail_memory(work);
    }
    qk_work_swap(work);
    return QK_OK;
}
