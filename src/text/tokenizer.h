/* tokenizer.h - inside the tokenizers: what the readers of the file formats fill in, and what encodes and decodes with
 * it.
 *
 * Every format becomes the same thing: a vocabulary, added tokens that are cut out of the text first, normalizer and
 * pre-tokenizer steps, merges, decoder steps, and the tokens put before and behind. */
#ifndef QK_TOKENIZER_H
#define QK_TOKENIZER_H

#include <jansson.h>

#include "text/text.h"

#define QK_MAX_TOKEN_ID ((int64_t)1 << 24) /* ids beyond this are taken for damage, not for a vocabulary */
#define QK_SPACE_MARK "\xe2\x96\x81"       /* U+2581, SentencePiece's visible space */
#define QK_NONE UINT32_MAX

/* ---- growing things (grow.c) */

/* Make room for `n` elements of `size` bytes behind *array (a T **), doubling; false when out of memory. */
bool qk_grow(void *array, size_t *capacity, size_t n, size_t size);

typedef struct qk_bytes { char *data; size_t n, capacity; } qk_bytes;
bool qk_bytes_reserve(qk_bytes *bytes, size_t n); /* room for n more; with n > 0 data is not NULL afterwards */
bool qk_bytes_add(qk_bytes *bytes, const char *data, size_t n);

/* One text cut into pieces.  Pieces lie in order and do not overlap. */
typedef struct qk_span { size_t start, end; } qk_span;
typedef struct qk_pieces {
    qk_bytes text;
    qk_span *spans;
    size_t n, capacity;
} qk_pieces;
bool qk_pieces_add(qk_pieces *pieces, size_t start, size_t end);
bool qk_pieces_cut(qk_pieces *pieces, size_t start, size_t end); /* the same, but an empty one is left out */
void qk_pieces_free(qk_pieces *pieces);

/* ---- vocabulary (vocabulary.c) */

typedef enum qk_token_kind { /* SentencePiece's and GGUF's numbers */
    QK_TOKEN_HOLE, QK_TOKEN_NORMAL, QK_TOKEN_UNKNOWN, QK_TOKEN_CONTROL, QK_TOKEN_USER, QK_TOKEN_UNUSED, QK_TOKEN_BYTE
} qk_token_kind;

typedef struct qk_vocabulary {
    qk_bytes text;      /* of all tokens, end to end */
    uint32_t *offsets, *lengths;
    uint8_t *kinds;     /* qk_token_kind; a hole is an id that nobody named */
    size_t n, capacity; /* ids are below n */
    uint32_t *slots;    /* open addressing, id + 1; a power of two of them */
    size_t n_slots, n_used;
} qk_vocabulary;

/* Name id `id`; refused where the id is taken, or the text is (unless hidden).  A hidden token is never found by its
 * text: merges must not make a control piece. */
qk_status qk_vocabulary_put(qk_vocabulary *vocabulary, int64_t id, const char *text, size_t n_bytes, qk_token_kind kind,
                            bool hidden, qk_error *err);
int32_t qk_vocabulary_find(const qk_vocabulary *vocabulary, const char *text, size_t n_bytes); /* -1 where absent */
/* The first id with this text, hidden ones too; O(n). */
int32_t qk_vocabulary_search(const qk_vocabulary *vocabulary, const char *text, size_t n_bytes);
/* Borrowed until the next put; NULL for a hole or an id outside. */
const char *qk_vocabulary_text(size_t *n_bytes, const qk_vocabulary *vocabulary, int64_t id);
void qk_vocabulary_free(qk_vocabulary *vocabulary);
/* The byte of "<0xAB>", -1 for other texts. */
int qk_byte_of_token(const char *text, size_t n_bytes);

/* ---- many literals, longest first (literals.c) */

typedef struct qk_literal { const char *text; size_t n_bytes; size_t index; } qk_literal;
typedef struct qk_literals { qk_literal *items; size_t n, capacity; bool first[256]; } qk_literals;
bool qk_literals_add(qk_literals *literals, const char *text, size_t n_bytes, size_t index); /* borrows text */
void qk_literals_sort(qk_literals *literals); /* before the first search */
/* Length of the longest literal that text begins with, 0 where none does; *index is its number. */
size_t qk_literals_longest(size_t *index, const qk_literals *literals, const char *text, size_t n_bytes);
void qk_literals_free(qk_literals *literals);

/* ---- regular expressions (regex.c, regex_translate.c) */

typedef struct qk_regex qk_regex;
typedef struct qk_regex_scratch {
    void *match, *context, *stack;
} qk_regex_scratch; /* one a thread; {0} is a fresh one */
/* A pattern as tokenizer.json writes it (Oniguruma's syntax).  What means something else in PCRE2 is refused. */
qk_status qk_regex_new(qk_regex **out, const char *pattern, size_t n_bytes, qk_error *err);
void qk_regex_free(qk_regex *regex);
/* First match at or after `from` in valid UTF-8; *found = false where there is none. */
qk_status qk_regex_next(bool *found, qk_span *match, const qk_regex *regex, qk_regex_scratch *scratch, const char *text,
                        size_t n_bytes, size_t from, qk_error *err);
void qk_regex_scratch_free(qk_regex_scratch *scratch);
/* The same pattern in PCRE2's syntax, appended to `out`. */
qk_status qk_regex_translate(qk_bytes *out, const char *pattern, size_t n_bytes, qk_error *err);

/* ---- merges (bpe_tables.c; bpe.c merges with them) */

typedef struct qk_bpe {
    /* Merges by pair: rank and result of (left, right); or, with priority, any two neighbours whose text is a piece,
     * the best score first. */
    uint64_t *pairs;    /* left << 32 | right, UINT64_MAX = empty slot */
    uint32_t *ranks;    /* lower first */
    int32_t *merged;
    size_t n_slots, n_used;
    uint32_t *priority; /* [n_vocabulary] or NULL; lower first */
    qk_literals frozen; /* user-defined symbols: cut out before merging, never merged */
    int32_t characters[0x800]; /* the token of each one- or two-byte character, -1 where there is none */
    int32_t bytes[256]; /* the token of each byte, -1 where there is none */
    bool byte_fallback;
    bool has_unused;    /* merged pieces of kind UNUSED are taken apart again */
    bool ignore_merges; /* a whole word that is a token is taken as it is */
    bool fuse_unknown;
    bool stops_at_mark; /* no piece has a space mark behind something else: words may be merged one by one */
    int32_t unknown;    /* -1: what is unknown is left out, as tokenizer.json demands */
} qk_bpe;

qk_status qk_bpe_add_merge(qk_bpe *bpe, uint32_t rank, int32_t left, int32_t right, int32_t merged, qk_error *err);
/* The same by text; refused where one of the three is no token. */
qk_status qk_bpe_add_merge_text(qk_tokenizer *tokenizer, uint32_t rank, const char *left, size_t n_left,
                                const char *right, size_t n_right, qk_error *err);
/* Where (left, right) lies in ranks and merged; false where that is no merge. */
bool qk_bpe_pair(size_t *slot, const qk_bpe *bpe, int32_t left, int32_t right);
/* Merges by score: pieces of the vocabulary with scores[n]. */
qk_status qk_bpe_rank_scores(qk_bpe *bpe, const qk_vocabulary *vocabulary, const float *scores, qk_error *err);
/* Tables that follow from the vocabulary; call last. */
qk_status qk_bpe_finish(qk_bpe *bpe, const qk_vocabulary *vocabulary, qk_error *err);
void qk_bpe_free(qk_bpe *bpe);

/* ---- steps of the pipeline */

typedef struct qk_step qk_step;
typedef struct qk_work qk_work;
typedef struct qk_charsmap qk_charsmap;

typedef enum qk_behavior { /* what becomes of the delimiters that a split finds */
    QK_REMOVED, QK_ISOLATED, QK_MERGED_WITH_PREVIOUS, QK_MERGED_WITH_NEXT, QK_CONTIGUOUS
} qk_behavior;
typedef enum qk_prepend { QK_PREPEND_ALWAYS, QK_PREPEND_FIRST, QK_PREPEND_NEVER } qk_prepend;

struct qk_step {
    qk_status (*apply)(qk_work *work, const qk_step *step); /* reads work->now and leaves its result there */
    const char *pattern, *content; /* in the tokenizer's arena */
    size_t n_pattern, n_content;
    qk_regex *regex;               /* owned; NULL: `pattern` is literal */
    qk_behavior behavior;
    bool invert, split;
    bool dummy_prefix, remove_extra_spaces; /* SentencePiece */
    const qk_charsmap *charsmap;   /* SentencePiece, NULL = identity */
    qk_prepend prepend;
    int form;                      /* utf8proc's options of a normalization form */
    size_t from_start, from_stop;  /* strip: at most so many characters */
};
typedef struct qk_steps { qk_step *items; size_t n, capacity; } qk_steps;

/* The step's pattern, regular or literal, at or after `from`. */
qk_status qk_step_find(bool *found, qk_span *match, qk_work *work, const qk_step *step, const char *text,
                       size_t n_bytes, size_t from);
/* normalizers (normalize.c, unicode_form.c, charsmap.c) */
qk_status qk_step_prepend(qk_work *work, const qk_step *step);
qk_status qk_step_replace(qk_work *work, const qk_step *step);
qk_status qk_step_unicode_form(qk_work *work, const qk_step *step);
qk_status qk_step_sentencepiece(qk_work *work, const qk_step *step);
/* pre-tokenizers (pretokenize.c) */
qk_status qk_step_split(qk_work *work, const qk_step *step);
qk_status qk_step_metaspace(qk_work *work, const qk_step *step);
qk_status qk_step_prefix_space(qk_work *work, const qk_step *step);
qk_status qk_step_byte_level(qk_work *work, const qk_step *step);
/* decoders (decode_steps.c); replace serves here too */
qk_status qk_step_decode_byte_level(qk_work *work, const qk_step *step);
qk_status qk_step_decode_byte_fallback(qk_work *work, const qk_step *step);
qk_status qk_step_decode_fuse(qk_work *work, const qk_step *step);
qk_status qk_step_decode_strip(qk_work *work, const qk_step *step);
qk_status qk_step_decode_metaspace(qk_work *work, const qk_step *step);

/* Byte-level BPE writes each byte as a printable character; the byte of one, -1 for other characters. */
uint32_t qk_character_of_byte(uint8_t byte);
int qk_byte_of_character(uint32_t codepoint);

/* SentencePiece's precompiled normalization rules: borrowed bytes of the file's field. */
qk_status qk_charsmap_new(qk_charsmap **out, const uint8_t *bytes, size_t n_bytes, qk_arena *arena, qk_error *err);
/* The rule for the longest prefix of text: its length (0 = no rule), its replacement. */
size_t qk_charsmap_find(const char **replacement, size_t *n_replacement, const qk_charsmap *map, const char *text,
                        size_t n_bytes);

/* ---- the tokenizer */

typedef struct qk_added_token {
    const char *text;
    size_t n_bytes;
    int32_t id;
    bool special, left_strip, right_strip, single_word, normalized;
} qk_added_token;

struct qk_tokenizer {
    qk_tokenizer_info info;
    qk_arena arena;
    qk_vocabulary vocabulary;
    qk_bpe bpe;
    qk_added_token *added;
    size_t n_added, added_capacity;
    bool *is_special;      /* [n_vocab]: left out by decode */
    qk_literals raw, normalized; /* added tokens cut out before, and after, the normalizers; index into added */
    qk_steps normalizers, pre_tokenizers, decoders;
    bool sentencepiece_decoder;  /* spm.c decodes instead of the steps */
    bool has_template;           /* tokenizer.json says what surrounds a text: tokenizer_config.json is not asked */
    bool joins_with_spaces;      /* no decoder was given: tokens are words */
    bool drops_first_space, drops_all_first_spaces; /* sentencepiece_decoder: of the dummy prefix */
    const char *unknown_surface; /* sentencepiece_decoder: what <unk> looks like */
    qk_bytes spelling;           /* of all tokens in the middle of a text, end to end */
    size_t *spelling_ends;       /* [n_vocab + 1]; token id takes [ends[id], ends[id + 1]) */
    int32_t *prefix, *suffix;    /* put around every text; in the arena */
    size_t n_prefix, n_suffix;
};

/* Append; the step (its regex too) or token belongs to the tokenizer afterwards, even on failure. */
qk_status qk_steps_add(qk_steps *steps, qk_step step, qk_error *err);
qk_status qk_added_add(qk_tokenizer *tokenizer, qk_added_token token, qk_error *err);
qk_status qk_tokenizer_surround(qk_tokenizer *tokenizer, bool before, const int32_t *ids, size_t n, qk_error *err);
qk_status qk_tokenizer_spell(qk_tokenizer *tokenizer, qk_error *err); /* decode.c: fills spelling */
qk_status qk_tokenizer_new(qk_tokenizer **out, qk_error *err);
/* Everything that follows from what a reader filled in: literals, tables, info.  Call once, last. */
qk_status qk_tokenizer_finish(qk_tokenizer *tokenizer, qk_error *err);

/* As qk_tokenizer_open_file, from memory that is not needed afterwards: for fuzz targets. */
qk_status qk_tokenizer_open_bytes(qk_tokenizer **out, const uint8_t *bytes, size_t n_bytes, size_t n_vocab,
                                  qk_error *err);

/* Readers: fill an empty tokenizer from a file's bytes. */
qk_status qk_read_tokenizer_json(qk_tokenizer *tokenizer, const char *bytes, size_t n_bytes, qk_error *err);
/* keep_spaces: do not remove extra spaces, whatever the file says. */
qk_status qk_read_sentencepiece(qk_tokenizer *tokenizer, const uint8_t *bytes, size_t n_bytes, bool keep_spaces,
                                qk_error *err);
bool qk_is_llama2c_tokenizer(const uint8_t *bytes, size_t n_bytes, size_t n_vocab);
qk_status qk_read_llama2c_tokenizer(qk_tokenizer *tokenizer, const uint8_t *bytes, size_t n_bytes, size_t n_vocab,
                                    qk_error *err);
qk_status qk_read_gguf_tokenizer(qk_tokenizer *tokenizer, const qk_ckpt *ckpt, qk_error *err);

/* tokenizer_config.json, after the reader and before qk_tokenizer_finish. */
qk_status qk_apply_tokenizer_config(qk_tokenizer *tokenizer, json_t *config, qk_error *err);
qk_status qk_parse_json(json_t **out, const void *bytes, size_t n_bytes, qk_error *err);

/* What the SentencePiece formats have in common: fill from pieces put already, scores[n_vocab]. */
typedef struct qk_sentencepiece {
    const float *scores;
    bool byte_fallback, dummy_prefix, remove_extra_spaces;
    const qk_charsmap *charsmap;
    int32_t bos, eos; /* -1 where there is none */
    bool add_bos, add_eos;
} qk_sentencepiece;
qk_status qk_sentencepiece_finish(qk_tokenizer *tokenizer, const qk_sentencepiece *rules, qk_error *err);

/* ---- work: what one encode or decode needs, then throws away */

typedef struct qk_symbol {
    uint32_t start, n_bytes; /* in the piece; n_bytes = 0: merged away */
    uint32_t previous, next; /* QK_NONE at the ends */
    uint32_t rank;           /* of merging with next, QK_NONE where that is no merge */
    int32_t merged;          /* what that would give */
    int32_t id;              /* -1 unknown */
    bool frozen;
} qk_symbol;

struct qk_work {
    const qk_tokenizer *tokenizer;
    qk_pieces now, next;   /* what a step reads, where it writes */
    bool at_start;         /* `now` begins where the user's text begins */
    int32_t *ids;
    size_t n_ids, ids_capacity;
    qk_symbol *symbols;
    size_t symbols_capacity;
    uint64_t *heap;        /* rank << 32 | symbol */
    size_t n_heap, heap_capacity;
    uint32_t *unused_left; /* [n_vocab] or NULL: bytes of the left part of the last merge into an UNUSED piece */
    qk_regex_scratch scratch;
    qk_error *err;
};

qk_status qk_work_fail_memory(const qk_work *work);
qk_status qk_work_steps(qk_work *work, const qk_steps *steps);
void qk_work_swap(qk_work *work); /* next becomes now */
bool qk_work_emit(qk_work *work, int32_t id);
void qk_work_free(qk_work *work);
/* Tokens of one pre-tokenized piece (bpe.c). */
qk_status qk_bpe_encode(qk_work *work, const char *text, size_t n_bytes);
qk_status qk_sentencepiece_decode(qk_work *work, const int32_t *tokens, size_t n_tokens);
/* Valid UTF-8 out of any bytes: what is broken becomes U+FFFD. */
qk_status qk_bytes_add_lossy(qk_bytes *out, const char *bytes, size_t n_bytes, qk_error *err);

#endif
