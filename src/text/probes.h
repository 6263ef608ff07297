/* probes.h - seeded questions that need no file: keys hidden in text about nothing, and what was hidden.
 *
 * A sample is a function of (seed, kind, key length, alphabet, index) and, for its filler, of the length and of how the
 * tokens are counted: the same bytes on every machine.  The same index has the same keys at every length. */
#ifndef QK_PROBES_H
#define QK_PROBES_H

#include "text/quiz.h"

/* id, name, meaning */
#define QK_PROBE_KINDS(X)                                                                                              \
    X(PASSKEY, "passkey", "a pass key, said twice in repeated noise (Mohtashami and Jaggi 2023)")                      \
    X(PASSKEY_SECRET, "passkey-secret", "a pass key, said once, in three sentences of noise")                          \
    X(PASSKEY_PROSE, "passkey-prose", "a pass key, said once, in varied prose")                                        \
    X(JIN_128, "jin-128", "as passkey, 6 digits behind token 50 of 128 (Jin et al. 2025)")                             \
    X(JIN_256, "jin-256", "12 digits, 256 tokens")                                                                     \
    X(JIN_1024, "jin-1024", "48 digits, 1024 tokens")                                                                  \
    X(NIAH_NOISE, "niah-noise", "one needle in repeated noise (RULER, Hsieh et al. 2024)")                             \
    X(NIAH, "niah", "one needle in prose")                                                                             \
    X(NIAH_MULTIKEY, "niah-multikey", "four needles, one of them asked for")                                           \
    X(NIAH_MULTIVALUE, "niah-multivalue", "four needles of one name, all asked for")                                   \
    X(NIAH_MULTIQUERY, "niah-multiquery", "four needles, all asked for")                                               \
    X(VERIFY, "verify", "is the pass key this one: the key or a near miss, yes or no")                                 \
    X(RANK, "rank", "the key among three near misses of its length")

typedef enum qk_probe_kind {
#define X(id, name, doc) QK_PROBE_##id,
    QK_PROBE_KINDS(X)
#undef X
    QK_N_PROBE_KINDS
} qk_probe_kind;
const char *qk_probe_kind_name(qk_probe_kind kind); /* lives for ever */

typedef enum qk_alphabet { QK_ALPHABET_DIGITS, QK_ALPHABET_LETTERS, QK_ALPHABET_MIXED } qk_alphabet;

enum {
    QK_PROBE_LISTED = 16,      /* lengths, key lengths and depths, each at most */
    QK_PROBE_NEEDLES = 4,      /* in one prompt, at most */
    QK_PROBE_CHOICES = 4,      /* at most */
    QK_KEY_SHORTEST = 5,
    QK_KEY_LONGEST = 48,
    QK_DEPTH_END = 1000        /* depths are whole thousandths: 0 in front of all filler, this behind it */
};

/* How long a text is for the model: *n tokens, those that stand around every text included. */
typedef struct qk_token_counter {
    qk_status (*count)(void *user, size_t *n, const char *utf8, size_t n_bytes, qk_error *err);
    void *user;
} qk_token_counter; /* count NULL: words, what white space divides */

typedef struct qk_probes_settings {
    unsigned kinds;                            /* bit 1 << kind; at least one */
    uint64_t seed;
    size_t per_category;                       /* samples of each, at least 1 */
    size_t tokens[QK_PROBE_LISTED], n_tokens;  /* of prompt and answer together; at least one; Jin's have their own */
    size_t key_lengths[QK_PROBE_LISTED], n_key_lengths; /* characters; none: each kind's own; Jin's have their own */
    unsigned depths[QK_PROBE_LISTED];          /* thousandths, taken in turn by the needle that is asked for */
    size_t n_depths;                           /* at least one */
    qk_alphabet alphabet;                      /* of keys */
    size_t context;                            /* longer ones are refused; 0 = any length */
    qk_token_counter counter;
} qk_probes_settings;

/* One of them; everything borrowed, only valid during the visit. */
typedef struct qk_probe_sample {
    char id[96];           /* "passkey-512-5-d250-3": category, depth and index */
    char category[64];     /* "passkey-512-5": kind, tokens, key length */
    qk_probe_kind kind;
    const char *prompt, *answer;
    const char *choices[QK_PROBE_CHOICES]; /* [n_choices] the answer among them */
    size_t n_choices;
    const char *expected[QK_PROBE_NEEDLES];/* [n_expected] what a complete answer contains; 0: the answer */
    size_t n_expected;
    double chance;         /* NaN where there are no choices */
    bool retrieval;        /* the answer is a key, or some */
    qk_scoring scoring;
    size_t max_new;        /* tokens to be written at most, over line ends; 0: as the answer lets expect */
    unsigned depth;        /* thousandths, of the needle asked for; several: of the first one */
    size_t key_length;
    size_t tokens;         /* of the prompt and the longest answer (choice, max_new): at most what was asked for */
    size_t index;          /* within its category */
} qk_probe_sample;

/* Every sample, category after category: kinds, then lengths, then key lengths.  QK_E_ARGUMENT names the kind and what
 * does not fit: a length beyond the context, or too short for its words and key; else what `visit` or the counter
 * returned.  The filler leaves fewer tokens free than its longest sentence has. */
typedef qk_status qk_probe_visit(void *user, const qk_probe_sample *sample, qk_error *err);
qk_status qk_probes_each(const qk_probes_settings *settings, qk_probe_visit *visit, void *user, qk_error *err);
/* All of them as a quiz of source "probes". */
qk_status qk_quiz_probes(qk_quiz *out, const qk_probes_settings *settings, qk_error *err);

#endif
