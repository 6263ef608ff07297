/* judge.h - is text that a model wrote by itself the answer? */
#ifndef QK_JUDGE_H
#define QK_JUDGE_H

#include "text/quiz.h"

typedef enum qk_verdict {
    QK_VERDICT_WRONG,
    QK_VERDICT_RIGHT,
    QK_VERDICT_UNPARSED, /* nothing in the text could be an answer: counts as wrong, in a column of its own */
    QK_N_VERDICTS
} qk_verdict;
const char *qk_verdict_name(qk_verdict verdict); /* "wrong", "right", "unparsed"; lives for ever */

/* What became of a key that was to be found (docs/METHODS.md, "Errors of retrieval"). */
typedef enum qk_key_error {
    QK_KEY_EXACT,     /* it is in the text, whole */
    QK_KEY_TRUNCATED, /* its beginning or its end, at least half of it */
    QK_KEY_NEAR_MISS, /* a key of its length, at most a quarter of it (or one character) edited */
    QK_KEY_LENGTH,    /* a key of another length */
    QK_KEY_GENERIC,   /* another key of its length */
    QK_KEY_NONE,      /* no key */
    QK_N_KEY_ERRORS
} qk_key_error;
const char *qk_key_error_name(qk_key_error error); /* "exact", "truncated", "near_miss", "wrong_length", ... */

typedef struct qk_judged {
    qk_verdict verdict;
    double found;        /* share of the expected texts that are there; judged otherwise: 1 right, 0 not */
    size_t at, n_bytes;  /* the part of the text that was taken as the answer; 0, 0 where nothing was */
    qk_key_error error;  /* of the first expected key that is not there, else EXACT; means something of keys alone */
} qk_judged;

/* text[n_bytes] is what was written behind item's prompt: UTF-8, maybe empty. */
void qk_judge(qk_judged *out, const qk_quiz_item *item, qk_scoring scoring, const char *text, size_t n_bytes);

/* An integer in a text: digits, maybe in groups of three behind commas, maybe a minus sign; of a number with a fraction
 * the part before it, `whole` where the fraction is nothing but zeros. */
typedef struct qk_integer {
    size_t at, n_bytes;  /* sign included, fraction not */
    bool negative, whole;
} qk_integer;
/* The first number of the text; false where there is none. */
bool qk_first_integer(qk_integer *out, const char *text, size_t n_bytes);
/* Equal as numbers: leading zeros and commas do not matter; one that is not whole equals none. */
bool qk_same_integer(const qk_integer *a, const char *in_a, const qk_integer *b, const char *in_b);
/* text[n_bytes] beside key[n_key], as judged above. */
qk_key_error qk_key_error_of(const char *key, size_t n_key, const char *text, size_t n_bytes);

#endif
