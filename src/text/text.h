/* text.h - tokenizers and document sets. */
#ifndef QK_TEXT_H
#define QK_TEXT_H

#include "base/base.h"
#include "ckpt/ckpt.h"

/* ---- tokenizers: immutable after open, shared by all threads */

typedef struct qk_tokenizer qk_tokenizer;

/* What belongs to the checkpoint: tokenizer.json, else tokenizer.model in its folder; the vocabulary inside a GGUF;
 * tokenizer.bin beside a llama2.c file (for which n_vocab must come from the header).  QK_E_IO, with what was looked
 * for, where there is none.  tokenizer_config.json beside it decides add_bos_token / add_eos_token and the special
 * tokens where tokenizer.json has no post_processor that does.  A tokenizer.model keeps runs of spaces here, as
 * transformers reads it, even where it asks to shrink them: its GGUF and llama2.c forms cannot say so.  What is not
 * understood (a normalizer, pre-tokenizer, decoder or model type) is refused by name. */
qk_status qk_tokenizer_open(qk_tokenizer **out, const qk_ckpt *ckpt, qk_error *err);
/* One file, kind by content: tokenizer.json, tokenizer.model (to the letter, as sentencepiece reads it), llama2.c
 * tokenizer.bin (n_vocab > 0 tells how many), or a GGUF. */
qk_status qk_tokenizer_open_file(qk_tokenizer **out, const char *path, size_t n_vocab, qk_error *err);
void qk_tokenizer_close(qk_tokenizer *tokenizer);

/* *tokens is malloc'ed, the caller's.  Invalid UTF-8 is QK_E_FORMAT with the byte offset.  Special tokens written in
 * the text (`<|endoftext|>`, `<s>`) are taken as the special token where the tokenizer file lists them as added tokens
 * or control pieces, as Hugging Face does; `plain` reads them as ordinary text (llama.cpp's test vectors are made that
 * way), added tokens that are not special stay tokens. */
typedef struct qk_encode_options { bool no_bos, plain; } qk_encode_options;
qk_status qk_encode(int32_t **tokens, size_t *n_tokens, const qk_tokenizer *tokenizer, const char *utf8, size_t n_bytes,
                    qk_encode_options options, qk_error *err);
/* malloc'ed text, NUL-terminated, *n_bytes without the NUL; special tokens are left out, an invalid id is refused. */
qk_status qk_decode(char **utf8, size_t *n_bytes, const qk_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens,
                    qk_error *err);

typedef struct qk_tokenizer_info {
    const char *kind; /* "tokenizer.json BPE (byte-level)", "SentencePiece BPE", ... lives as long as the tokenizer */
    size_t n_vocab;       /* ids are below this */
    int32_t bos, eos, unk;/* -1 where there is none */
    bool adds_bos, adds_eos;
    char sha256[65];      /* of the file it came from (GGUF: of the tokens array bytes) */
} qk_tokenizer_info;
const qk_tokenizer_info *qk_tokenizer_describe(const qk_tokenizer *tokenizer);
/* The bytes of one token as they would be decoded in the middle of a text; NULL for an invalid id. */
const char *qk_token_piece(size_t *n_bytes, const qk_tokenizer *tokenizer, int32_t id);

/* ---- documents */

typedef struct qk_document {
    char *id; /* unique in its set: file name, file name#k for a split (k from 1), the JSONL id or file name#line */
    char *category;    /* "" where not told */
    char *text;        /* UTF-8, NUL-terminated */
    size_t n_bytes;
    char sha256[65];   /* of the text: two documents with one hash are the same document */
    int32_t *tokens;   /* [n_tokens], after qk_documents_tokenize; NULL before */
    size_t n_tokens;
    size_t n_cut;      /* tokens cut off by max_tokens */
    bool repetitive;   /* distinct word 3-grams / all word 3-grams below 0.3, or category "repetitive" */
} qk_document;

typedef struct qk_documents {
    qk_document *items;
    size_t n;
    char sha256[65]; /* of the concatenated document hashes */
} qk_documents;

typedef struct qk_documents_options {
    const char *split; /* NULL, or: a .txt holds many documents with this between them, each stripped of white space */
    size_t limit;      /* at most this many documents; 0 = all */
} qk_documents_options;

/* Each path: a .txt is one document (or many with split), a .jsonl has one object a line (`text`, optional `id`,
 * `category`; other keys and blank lines are ignored), a folder means its .txt and .jsonl files in name order.  A
 * byte order mark is dropped, line ends stay as they are.  A document without a printing character, invalid UTF-8, a
 * NUL, a line that is no object or has no `text`, or a duplicate id is refused with file and line.  (Empty pieces
 * that a split leaves at the ends are dropped.) */
qk_status qk_documents_load(qk_documents *out, const char *const *paths, size_t n_paths,
                            const qk_documents_options *options, qk_error *err);
/* The built-in set: 20 documents (literary, technical, conversational, factual: five each) and five repetitive ones. */
qk_status qk_documents_builtin(qk_documents *out, qk_error *err);
/* Tokens of every document, cut to max_tokens (0 = not cut), BOS as the tokenizer says.  A document of fewer than 2
 * tokens is refused by id. */
qk_status qk_documents_tokenize(qk_documents *documents, const qk_tokenizer *tokenizer, size_t max_tokens, bool no_bos,
                                qk_error *err);
void qk_documents_free(qk_documents *documents);

#endif
