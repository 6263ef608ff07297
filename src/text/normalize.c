/* normalize.c - normalizer steps: prepend, replace, SentencePiece's spaces and rules. */
#include "text/tokenizer.h"

#include <string.h>

qk_status qk_step_prepend(qk_work *work, const qk_step *step)
{
    for (size_t i = 0; i < work->now.n; i++) {
        qk_span span = work->now.spans[i];
        size_t start = work->next.text.n;
        bool ok = span.start == span.end || qk_bytes_add(&work->next.text, step->content, step->n_content);
        if (!ok || !qk_bytes_add(&work->next.text, work->now.text.data + span.start, span.end - span.start) ||
            !qk_pieces_add(&work->next, start, work->next.text.n))
            return qk_work_fail_memory(work);
    }
    qk_work_swap(work);
    return QK_OK;
}

qk_status qk_step_find(bool *found, qk_span *match, qk_work *work, const qk_step *step, const char *text,
                       size_t n_bytes, size_t from)
{
    if (step->regex) return qk_regex_next(found, match, step->regex, &work->scratch, text, n_bytes, from, work->err);
    const char *at = from < n_bytes ? memmem(text + from, n_bytes - from, step->pattern, step->n_pattern) : NULL;
    *found = at != NULL;
    if (at) *match = (qk_span){ (size_t)(at - text), (size_t)(at - text) + step->n_pattern };
    return QK_OK;
}

static qk_status replace_in(qk_work *work, const qk_step *step, const char *text, size_t n_bytes)
{
    size_t from = 0, done = 0;
    while (from <= n_bytes) {
        bool found;
        qk_span match;
        qk_status status = qk_step_find(&found, &match, work, step, text, n_bytes, from);
        if (status) return status;
        if (!found) break;
        /* An empty match behind the last one would be found for ever. */
        bool again = match.start == match.end && match.end == done && done > 0;
        from = match.end;
        if (match.start == match.end)
            from += from < n_bytes ? (size_t)qk_utf8_length((const uint8_t *)text + from, n_bytes - from) : 1;
        if (again) continue;
        if (!qk_bytes_add(&work->next.text, text + done, match.start - done) ||
            !qk_bytes_add(&work->next.text, step->content, step->n_content))
            return qk_work_fail_memory(work);
        done = match.end;
    }
    return qk_bytes_add(&work->next.text, text + done, n_bytes - done) ? QK_OK : qk_work_fail_memory(work);
}

qk_status qk_step_replace(qk_work *work, const qk_step *step)
{
    for (size_t i = 0; i < work->now.n; i++) {
        qk_span span = work->now.spans[i];
        size_t start = work->next.text.n;
        qk_status status = replace_in(work, step, work->now.text.data + span.start, span.end - span.start);
        if (status) return status;
        if (!qk_pieces_add(&work->next, start, work->next.text.n)) return qk_work_fail_memory(work);
    }
    qk_work_swap(work);
    return QK_OK;
}

/* The normalized form of what `text` begins with; returns how much of it was read. */
static size_t next_unit(const char **out, size_t *n_out, const qk_work *work, const qk_step *step, const char *text,
                        size_t n_bytes)
{
    size_t index, length = qk_literals_longest(&index, &work->tokenizer->bpe.frozen, text, n_bytes);
    if (length == 0 && step->charsmap) {
        length = qk_charsmap_find(out, n_out, step->charsmap, text, n_bytes);
        if (length > 0) return length;
    }
    if (length == 0) length = (size_t)qk_utf8_length((const uint8_t *)text, n_bytes);
    *out = text;
    *n_out = length;
    return length;
}

static bool add_marked(qk_bytes *out, const char *text, size_t n_bytes)
{
    bool ok = true;
    for (size_t i = 0; ok && i < n_bytes; i++)
        ok = text[i] == ' ' ? qk_bytes_add(out, QK_SPACE_MARK, 3) : qk_bytes_add(out, text + i, 1);
    return ok;
}

static bool ends_with_mark(const qk_bytes *out, size_t start)
{
    return out->n - start >= 3 && memcmp(out->data + out->n - 3, QK_SPACE_MARK, 3) == 0;
}

/* Spaces become marks, one is put in front; on request runs of spaces shrink to one and those at the ends go. */
qk_status qk_step_sentencepiece(qk_work *work, const qk_step *step)
{
    for (size_t i = 0; i < work->now.n; i++) {
        const char *text = work->now.text.data + work->now.spans[i].start, *unit;
        size_t n_bytes = work->now.spans[i].end - work->now.spans[i].start, at = 0, n_unit;
        qk_bytes *out = &work->next.text;
        size_t start = out->n;
        bool ok = true, shrink = step->remove_extra_spaces, after_space = shrink;
        while (shrink && at < n_bytes) { /* a text of spaces alone is empty: no prefix either */
            size_t length = next_unit(&unit, &n_unit, work, step, text + at, n_bytes - at);
            if (n_unit != 1 || unit[0] != ' ') break;
            at += length;
        }
        if (at < n_bytes && step->dummy_prefix) ok = qk_bytes_add(out, QK_SPACE_MARK, 3);
        while (ok && at < n_bytes) {
            at += next_unit(&unit, &n_unit, work, step, text + at, n_bytes - at);
            while (after_space && n_unit > 0 && unit[0] == ' ') unit++, n_unit--;
            ok = add_marked(out, unit, n_unit);
            if (n_unit > 0) after_space = shrink && unit[n_unit - 1] == ' ';
        }
        while (shrink && ends_with_mark(out, start)) out->n -= 3;
        if (!ok || !qk_pieces_add(&work->next, start, out->n)) return qk_work_fail_memory(work);
    }
    qk_work_swap(work);
    return QK_OK;
}
