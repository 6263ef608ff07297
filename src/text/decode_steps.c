/* decode_steps.c - decoder steps: the texts of tokens back into one text. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* How many bytes from s on could begin a character, were the rest there; at least 1. */
static size_t broken_length(const uint8_t *s, size_t n)
{
    size_t wanted = s[0] >= 0xF0 && s[0] <= 0xF4  ? 4
                    : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
                    : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
                                                  : 1;
    size_t length = 1;
    for (; length < wanted && length < n; length++) {
        uint8_t low = 0x80, high = 0xBF;
        if (length == 1 && s[0] == 0xE0) low = 0xA0;
        if (length == 1 && s[0] == 0xED) high = 0x9F;
        if (length == 1 && s[0] == 0xF0) low = 0x90;
        if (length == 1 && s[0] == 0xF4) high = 0x8F;
        if (s[length] < low || s[length] > high) break;
    }
    return length;
}

qk_status qk_bytes_add_lossy(qk_bytes *out, const char *bytes, size_t n_bytes, qk_error *err)
{
    bool ok = true;
    for (size_t at = 0; ok && at < n_bytes;) {
        size_t good = qk_utf8_valid(bytes + at, n_bytes - at);
        ok = qk_bytes_add(out, bytes + at, good);
        at += good;
        if (!ok || at == n_bytes) break;
        ok = qk_bytes_add(out, REPLACEMENT, 3);
        at += broken_length((const uint8_t *)bytes + at, n_bytes - at);
    }
    return ok ? QK_OK : qk_out_of_memory(err, "text", out->n);
}

/* Tokens spell bytes as characters; a token with any other character (an added one) stands for itself. */
qk_status qk_step_decode_byte_level(qk_work *work, const qk_step *step)
{
    (void)step;
    qk_bytes raw = { 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < work->now.n; i++) {
        const char *text = work->now.text.data + work->now.spans[i].start;
        size_t n_bytes = work->now.spans[i].end - work->now.spans[i].start, before = raw.n;
        for (size_t at = 0; ok && at < n_bytes;) {
            uint32_t c;
            at += (size_t)qk_utf8_decode(&c, (const uint8_t *)text + at);
            int byte = qk_byte_of_character(c);
            if (byte < 0) {
                raw.n = before;
                ok = qk_bytes_add(&raw, text, n_bytes);
                break;
            }
            ok = qk_bytes_add(&raw, &(char){ (char)byte }, 1);
        }
    }
    qk_status status =
        ok ? qk_bytes_add_lossy(&work->next.text, raw.data, raw.n, work->err) : qk_work_fail_memory(work);
    free(raw.data);
    if (status) return status;
    if (!qk_pieces_add(&work->next, 0, work->next.text.n)) return qk_work_fail_memory(work);
    qk_work_swap(work);
    return QK_OK;
}

/* A finished run of byte tokens: the text it spells, or a replacement character for each byte. */
static bool end_run(qk_work *work, size_t start)
{
    qk_bytes *out = &work->next.text;
    size_t n = out->n - start;
    if (n == 0) return true;
    if (qk_utf8_valid(out->data + start, n) == n) return qk_pieces_add(&work->next, start, out->n);
    out->n = start;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = qk_bytes_add(out, REPLACEMENT, 3) && qk_pieces_add(&work->next, out->n - 3, out->n);
    return ok;
}

qk_status qk_step_decode_byte_fallback(qk_work *work, const qk_step *step)
{
    (void)step;
    qk_bytes *out = &work->next.text;
    size_t run = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < work->now.n; i++) {
        const char *text = work->now.text.data + work->now.spans[i].start;
        size_t n_bytes = work->now.spans[i].end - work->now.spans[i].start;
        int byte = qk_byte_of_token(text, n_bytes);
        if (byte >= 0) {
            ok = qk_bytes_add(out, &(char){ (char)byte }, 1);
            continue;
        }
        ok = end_run(work, run);
        size_t start = out->n;
        ok = ok && qk_bytes_add(out, text, n_bytes) && qk_pieces_add(&work->next, start, out->n);
        run = out->n;
    }
    if (!ok || !end_run(work, run)) return qk_work_fail_memory(work);
    qk_work_swap(work);
    return QK_OK;
}

qk_status qk_step_decode_fuse(qk_work *work, const qk_step *step)
{
    (void)step;
    bool ok = true;
    for (size_t i = 0; ok && i < work->now.n; i++)
        ok = qk_bytes_add(&work->next.text, work->now.text.data + work->now.spans[i].start,
                          work->now.spans[i].end - work->now.spans[i].start);
    if (!ok || !qk_pieces_add(&work->next, 0, work->next.text.n)) return qk_work_fail_memory(work);
    qk_work_swap(work);
    return QK_OK;
}

/* At most so many of one character from either end of every piece. */
qk_status qk_step_decode_strip(qk_work *work, const qk_step *step)
{
    const char *text = work->now.text.data;
    size_t n = step->n_content;
    for (size_t i = 0; i < work->now.n; i++) {
        qk_span *span = &work->now.spans[i];
        for (size_t k = 0;
             k < step->from_start && span->end - span->start >= n && memcmp(text + span->start, step->content, n) == 0;
             k++)
            span->start += n;
        for (size_t k = 0;
             k < step->from_stop && span->end - span->start >= n && memcmp(text + span->end - n, step->content, n) == 0;
             k++)
            span->end -= n;
    }
    return QK_OK;
}

/* Marks become spaces; those of the first token go, whole, where encoding puts one there. */
qk_status qk_step_decode_metaspace(qk_work *work, const qk_step *step)
{
    bool ok = true;
    for (size_t i = 0; ok && i < work->now.n; i++) {
        const char *text = work->now.text.data + work->now.spans[i].start;
        size_t n_bytes = work->now.spans[i].end - work->now.spans[i].start, start = work->next.text.n;
        bool drop = i == 0 && step->prepend != QK_PREPEND_NEVER;
        for (size_t at = 0; ok && at < n_bytes;) {
            const char *mark = memmem(text + at, n_bytes - at, step->content, step->n_content);
            size_t end = mark ? (size_t)(mark - text) : n_bytes;
            ok = qk_bytes_add(&work->next.text, text + at, end - at);
            if (ok && mark && !drop) ok = qk_bytes_add(&work->next.text, " ", 1);
            at = mark ? end + step->n_content : end;
        }
        ok = ok && qk_pieces_add(&work->next, start, work->next.text.n);
    }
    if (!ok) return qk_work_fail_memory(work);
    qk_work_swap(work);
    return QK_OK;
}
