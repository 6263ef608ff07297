/* probes_private.h - the parts of the probes: words, keys, filler that fits. */
#ifndef QK_PROBES_PRIVATE_H
#define QK_PROBES_PRIVATE_H

#include "text/probes.h"
#include "text/tokenizer.h"

/* ---- probes_words.c */

typedef enum qk_filler_kind {
    QK_FILLER_NOISE, QK_FILLER_NOISE_LINES, QK_FILLER_COLOURS, QK_FILLER_PROSE, QK_N_FILLERS
} qk_filler_kind;

typedef struct qk_filler {
    const char *const *sentences; /* [n] */
    size_t n;
    const char *joint;            /* between two of them */
    bool cyclic;                  /* one after the other again and again; else all in random order before any again */
} qk_filler;
extern const qk_filler qk_fillers[QK_N_FILLERS];

/* What stands around a key.  "%k" and the other slots are described in probes_words.c. */
typedef struct qk_wording {
    const char *head, *statement, *tail;
    const char *edge;   /* between head, text and tail */
    const char *around; /* between a statement and its neighbours */
    qk_filler_kind filler;
} qk_wording;
extern const qk_wording qk_wording_hidden, qk_wording_secret, qk_wording_prose, qk_wording_verify,
    qk_wording_needle_lines, qk_wording_needle, qk_wording_needles;

extern const char *const *const qk_probe_adjectives; /* "amber-acorn" names a needle */
extern const char *const *const qk_probe_nouns;
extern const size_t qk_n_probe_adjectives, qk_n_probe_nouns;

/* ---- probes_keys.c */

typedef struct qk_key { char text[QK_KEY_LONGEST + 1]; } qk_key;

typedef enum qk_near_miss {
    QK_MISS_CHANGED,   /* one character is another one */
    QK_MISS_SWAPPED,   /* two neighbours have changed places, not the first one */
    QK_MISS_TRUNCATED, /* the last character is missing */
    QK_N_MISSES
} qk_near_miss;

/* Of `length` characters, not beginning with 0; somewhere behind the first two neighbours differ. */
void qk_key_draw(qk_key *out, size_t length, qk_alphabet alphabet, qk_rng *rng);
void qk_key_miss(qk_key *out, const qk_key *key, qk_near_miss miss, qk_alphabet alphabet, qk_rng *rng);
/* The key; two neighbours of it swapped; another character changed; both.  Each of the four is to the others what the
 * key is: nothing but the text that holds the key tells which one it is, and all have one length. */
void qk_key_kin(qk_key out[QK_PROBE_CHOICES], const qk_key *key, qk_alphabet alphabet, qk_rng *rng);

/* ---- probes_fit.c */

/* A statement on its way into the filler. */
typedef struct qk_needle {
    const char *text;
    unsigned depth; /* thousandths of the filler's tokens that stand before it; set where it begins at a token */
    size_t behind;  /* so many sentences stand before it: the boundary nearest to that */
} qk_needle;

/* A prompt before its filler is drawn. */
typedef struct qk_frame {
    const qk_wording *wording;
    const char *head, *tail;
    qk_needle *needles;    /* [n_needles] ascending by depth */
    size_t n_needles;
    const char *answer;
    size_t spare;          /* tokens left free behind it */
    size_t begin;          /* > 0: the needle stands at this token instead of its depth */
} qk_frame;

typedef struct qk_fitter {
    const qk_token_counter *counter;
    size_t *weights[QK_N_FILLERS]; /* [sentences] tokens that each adds to a text; NULL until asked for */
    uint32_t *order;               /* [capacity] the filler of the last prompt: numbers of its sentences */
    size_t n, capacity;
    qk_bytes prompt;               /* the last prompt, NUL-terminated */
    qk_bytes whole;                /* prompt and answer, for counting */
} qk_fitter; /* zero it but for the counter */

/* Tokens of a text, or with an answer behind it (NULL: none). */
qk_status qk_count_tokens(size_t *n, qk_fitter *fitter, const char *text, const char *answer, qk_error *err);
/* The frame with as much filler as `tokens` allow; *n is what it has with answer and spare tokens.  QK_E_ARGUMENT where
 * even the frame has more: *n then says how many.  Sets needles[].behind. */
qk_status qk_fit(qk_fitter *fitter, size_t *n, const qk_frame *frame, size_t tokens, qk_rng rng, qk_error *err);
void qk_fitter_free(qk_fitter *fitter);

#endif
