/* unicode_form.c - NFC, NFD, NFKC, NFKD with utf8proc's tables.  Marks are ordered here: the library does that by
 * exchanging neighbours, which takes for ever on a text of nothing but marks. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/tokenizer.h"

typedef struct codepoints { utf8proc_int32_t *data; size_t n, capacity; } codepoints;

static bool decompose(codepoints *out, const char *text, size_t n_bytes, int form)
{
    for (size_t at = 0; at < n_bytes;) {
        uint32_t c;
        at += (size_t)qk_utf8_decode(&c, (const uint8_t *)text + at);
        for (size_t room = 24;; room *= 2) { /* the longest known decomposition is 18 */
            if (!qk_grow(&out->data, &out->capacity, out->n + room, sizeof *out->data)) return false;
            utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, out->data + out->n,
                                                         (utf8proc_ssize_t)room, (utf8proc_option_t)form, NULL);
            if (n < 0) return false;
            if ((size_t)n > room) continue;
            out->n += (size_t)n;
            break;
        }
    }
    return true;
}

static unsigned combining_class(utf8proc_int32_t c)
{
    return (unsigned)utf8proc_get_property(c)->combining_class & 0xFF;
}

/* Stable counting sort of one run of marks by class. */
static bool order_run(utf8proc_int32_t *run, size_t n)
{
    size_t ends[257] = { 0 };
    bool ordered = true;
    for (size_t i = 0; i < n; i++) {
        ends[combining_class(run[i]) + 1]++;
        if (i > 0 && combining_class(run[i]) < combining_class(run[i - 1])) ordered = false;
    }
    if (ordered) return true;
    utf8proc_int32_t *sorted = malloc(n * sizeof *sorted);
    if (!sorted) return false;
    for (size_t c = 0; c < 256; c++) ends[c + 1] += ends[c];
    for (size_t i = 0; i < n; i++) sorted[ends[combining_class(run[i])]++] = run[i];
    memcpy(run, sorted, n * sizeof *run);
    free(sorted);
    return true;
}

static bool order_marks(codepoints *text)
{
    for (size_t i = 0, end; i < text->n; i = end) {
        end = i + 1;
        if (combining_class(text->data[i]) == 0) continue;
        while (end < text->n && combining_class(text->data[end]) != 0) end++;
        if (end - i > 1 && !order_run(text->data + i, end - i)) return false;
    }
    return true;
}

static bool change_form(qk_bytes *out, codepoints *scratch, const char *text, size_t n_bytes, int form)
{
    scratch->n = 0;
    if (!decompose(scratch, text, n_bytes, (form | UTF8PROC_DECOMPOSE) & ~(int)UTF8PROC_COMPOSE) ||
        !order_marks(scratch))
        return false;
    if (form & UTF8PROC_COMPOSE) {
        utf8proc_ssize_t n =
            utf8proc_normalize_utf32(scratch->data, (utf8proc_ssize_t)scratch->n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (n < 0) return false;
        scratch->n = (size_t)n;
    }
    for (size_t i = 0; i < scratch->n; i++) {
        uint8_t bytes[4];
        if (!qk_bytes_add(out, (char *)bytes, (size_t)qk_utf8_encode(bytes, (uint32_t)scratch->data[i]))) return false;
    }
    return true;
}

/* Below U+0300 nothing composes, and below U+00A0 no form changes anything. */
static bool is_plain(const char *text, size_t n_bytes, int form)
{
    bool composes = (form & UTF8PROC_COMPOSE) && !(form & UTF8PROC_COMPAT);
    for (size_t i = 0; i < n_bytes; i++)
        if ((uint8_t)text[i] >= (composes ? 0xCC : 0x80)) return false;
    return true;
}

qk_status qk_step_unicode_form(qk_work *work, const qk_step *step)
{
    codepoints scratch = { 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < work->now.n; i++) {
        const char *text = work->now.text.data + work->now.spans[i].start;
        size_t n_bytes = work->now.spans[i].end - work->now.spans[i].start, start = work->next.text.n;
        if (is_plain(text, n_bytes, step->form)) ok = qk_bytes_add(&work->next.text, text, n_bytes);
        else ok = change_form(&work->next.text, &scratch, text, n_bytes, step->form);
        ok = ok && qk_pieces_add(&work->next, start, work->next.text.n);
    }
    free(scratch.data);
    if (!ok) return qk_work_fail_memory(work);
    qk_work_swap(work);
    return QK_OK;
}
