/* judge.c - verdicts on written text: to the letter, by its first integer, by what it contains. */
#include "text/judge.h"

#include <string.h>
#include <utf8proc.h>

const char *qk_verdict_name(qk_verdict verdict)
{
    static const char *const names[QK_N_VERDICTS] = { "wrong", "right", "unparsed" };
    return names[verdict];
}

/* ---- integers */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Digits from `at` on, with ",123" groups: returns where they end. */
static size_t skip_digits(const char *text, size_t n, size_t at)
{
    size_t from = at;
    while (at < n && is_digit(text[at])) at++;
    if (at - from > 3) return at;
    while (at + 3 < n && text[at] == ',' && is_digit(text[at + 1]) && is_digit(text[at + 2]) &&
           is_digit(text[at + 3]) && (at + 4 == n || !is_digit(text[at + 4])))
        at += 4;
    return at;
}

/* A minus sign stands before the digits, and no letter or digit before it ("3-4" is a range). */
static size_t sign_before(const char *text, size_t at)
{
    static const char minus[] = "\xE2\x88\x92"; /* U+2212 */
    size_t n = 0;
    if (at >= 1 && text[at - 1] == '-') n = 1;
    else if (at >= 3 && memcmp(text + at - 3, minus, 3) == 0) n = 3;
    if (n == 0 || at == n) return n;
    unsigned char before = (unsigned char)text[at - n - 1];
    bool letter = ((before | 32) >= 'a' && (before | 32) <= 'z') || before >= 0x80;
    bool word = letter || is_digit((char)before) || before == '-';
    return word ? 0 : n;
}

bool qk_first_integer(qk_integer *out, const char *text, size_t n_bytes)
{
    size_t at = 0;
    while (at < n_bytes && !is_digit(text[at])) at++;
    if (at == n_bytes) return false;
    size_t n_sign = sign_before(text, at), end = skip_digits(text, n_bytes, at);
    *out = (qk_integer) { at - n_sign, end - at + n_sign, n_sign > 0, true };
    if (end + 1 < n_bytes && text[end] == '.' && is_digit(text[end + 1]))
        for (size_t i = end + 1; i < n_bytes && is_digit(text[i]); i++) out->whole = out->whole && text[i] == '0';
    return true;
}

/* The next digit of an integer, from *i on; 0 at its end. */
static char next_digit(const char *text, size_t end, size_t *i)
{
    while (*i < end && !is_digit(text[*i])) (*i)++;
    return *i < end ? text[(*i)++] : 0;
}

bool qk_same_integer(const qk_integer *a, const char *in_a, const qk_integer *b, const char *in_b)
{
    size_t i = a->at, k = b->at, end_a = i + a->n_bytes, end_b = k + b->n_bytes;
    char x = next_digit(in_a, end_a, &i), y = next_digit(in_b, end_b, &k);
    while (x == '0') x = next_digit(in_a, end_a, &i);
    while (y == '0') y = next_digit(in_b, end_b, &k);
    if (!a->whole || !b->whole || (a->negative != b->negative && (x || y))) return false;
    while (x && x == y) {
        x = next_digit(in_a, end_a, &i);
        y = next_digit(in_b, end_b, &k);
    }
    return x == y;
}

/* ---- words */

/* The code point at text[at], and how many bytes it takes. */
static uint32_t decode(const char *text, size_t at, size_t n, size_t *n_bytes)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(n - at), &c);
    *n_bytes = used > 0 ? (size_t)used : 1;
    return used > 0 ? (uint32_t)c : 0xFFFD;
}

static bool is_word(uint32_t c)
{
    int category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO;
}

static bool word_before(const char *text, size_t at)
{
    size_t from = at, n_bytes;
    if (at == 0) return false;
    do from--;
    while (from > 0 && ((unsigned char)text[from] & 0xC0) == 0x80);
    return is_word(decode(text, from, at, &n_bytes));
}

static bool word_at(const char *text, size_t at, size_t n)
{
    size_t n_bytes;
    return at < n && is_word(decode(text, at, n, &n_bytes));
}

/* Bytes of text from `at` on that say part[n_part], letters large or small alike; 0: it is not there. */
static size_t match(const char *text, size_t n, size_t at, const char *part, size_t n_part, bool same_case)
{
    size_t i = at, k = 0;
    while (k < n_part) {
        size_t n_i, n_k;
        if (i >= n) return 0;
        uint32_t x = decode(text, i, n, &n_i), y = decode(part, k, n_part, &n_k);
        if (x != y && (same_case || utf8proc_tolower((utf8proc_int32_t)x) != utf8proc_tolower((utf8proc_int32_t)y)))
            return 0;
        i += n_i;
        k += n_k;
    }
    return i - at;
}

typedef struct place { size_t at, n_bytes; } place;

/* Where part first stands in the text; `whole`: with no letter or digit right before and behind, if part begins and
 * ends with one. */
static bool find(place *out, const char *text, size_t n, const char *part, bool whole, bool same_case)
{
    size_t n_part = strlen(part), n_step;
    if (n_part == 0) return false;
    bool word_starts = word_at(part, 0, n_part), word_ends = word_before(part, n_part);
    for (size_t at = 0; at < n; at += n_step) {
        size_t n_bytes = match(text, n, at, part, n_part, same_case);
        decode(text, at, n, &n_step);
        if (n_bytes == 0) continue;
        bool glued = (word_starts && word_before(text, at)) || (word_ends && word_at(text, at + n_bytes, n));
        if (whole && glued) continue;
        *out = (place) { at, n_bytes };
        return true;
    }
    return false;
}

/* ---- verdicts */

static void trim(place *out, const char *text, size_t n)
{
    size_t n_bytes;
    out->at = 0;
    while (out->at < n && qk_is_white_space(decode(text, out->at, n, &n_bytes))) out->at += n_bytes;
    while (n > out->at) {
        size_t last = n - 1;
        while (last > out->at && ((unsigned char)text[last] & 0xC0) == 0x80) last--;
        if (!qk_is_white_space(decode(text, last, n, &n_bytes))) break;
        n = last;
    }
    out->n_bytes = n - out->at;
}

static void take(qk_judged *out, place part, bool right)
{
    out->at = part.at;
    out->n_bytes = part.n_bytes;
    out->verdict = right ? QK_VERDICT_RIGHT : QK_VERDICT_WRONG;
}

static void judge_letters(qk_judged *out, const qk_quiz_item *item, const char *text, size_t n)
{
    place all;
    trim(&all, text, n);
    if (all.n_bytes == 0) return;
    take(out, all, all.n_bytes == strlen(item->answer) && memcmp(text + all.at, item->answer, all.n_bytes) == 0);
}

static void judge_integer(qk_judged *out, const qk_quiz_item *item, const char *text, size_t n)
{
    qk_integer said, wanted;
    if (!qk_first_integer(&said, text, n)) return;
    take(out, (place) { said.at, said.n_bytes },
         qk_first_integer(&wanted, item->answer, strlen(item->answer)) &&
             qk_same_integer(&said, text, &wanted, item->answer));
}

/* The choice that stands first in the text, as whole words; of two at one place the longer.  A single letter must be as
 * it is: "a" is a word. */
static void judge_choices(qk_judged *out, const qk_quiz_item *item, const char *text, size_t n)
{
    place first = { n, 0 };
    size_t pick = 0;
    for (size_t i = 0; i < item->n_choices; i++) {
        place at;
        if (!find(&at, text, n, item->choices[i], true, strlen(item->choices[i]) == 1)) continue;
        if (at.at > first.at || (at.at == first.at && at.n_bytes <= first.n_bytes)) continue;
        first = at;
        pick = i;
    }
    if (first.n_bytes) take(out, first, pick == item->choice);
}

static void judge_contents(qk_judged *out, const qk_quiz_item *item, const char *text, size_t n)
{
    const char *const *expected = item->n_expected ? item->expected : &item->answer;
    size_t n_expected = item->n_expected ? item->n_expected : 1, n_found = 0;
    place all, at, first = { 0, 0 };
    trim(&all, text, n);
    if (all.n_bytes == 0) return;
    for (size_t i = 0; i < n_expected; i++)
        if (find(&at, text, n, expected[i], false, false) && n_found++ == 0) first = at;
    take(out, first, n_found == n_expected);
    out->found = (double)n_found / (double)n_expected;
}

void qk_judge(qk_judged *out, const qk_quiz_item *item, qk_scoring scoring, const char *text, size_t n_bytes)
{
    const char *const *expected = item->n_expected ? item->expected : &item->answer;
    *out = (qk_judged) { .verdict = QK_VERDICT_UNPARSED, .error = QK_KEY_EXACT };
    if (scoring == QK_SCORE_INTEGER) judge_integer(out, item, text, n_bytes);
    else if (scoring == QK_SCORE_CONTAINS && item->n_choices) judge_choices(out, item, text, n_bytes);
    else if (scoring == QK_SCORE_CONTAINS) judge_contents(out, item, text, n_bytes);
    else judge_letters(out, item, text, n_bytes);
    if (out->verdict == QK_VERDICT_RIGHT) out->found = 1;
    for (size_t i = 0; i < (item->n_expected ? item->n_expected : 1) && out->error == QK_KEY_EXACT; i++)
        out->error = qk_key_error_of(expected[i], strlen(expected[i]), text, n_bytes);
}
