/* corpus.h - text as training and validation read it: documents of a set, or of the synthetic world. */
#ifndef QK_CORPUS_H
#define QK_CORPUS_H

#include "text/world.h"
#include "train/train.h"

/* One of the two; everything is borrowed. */
typedef struct qk_text {
    const qk_documents *documents; /* tokenized (qk_documents_tokenize); its documents [first, first + n) */
    size_t first, n;
    const qk_world *world;         /* its documents of one split, unlimited, each BOS first as the tokenizer says */
    qk_split split;
    bool no_bos;                   /* of the world: no BOS */
    const qk_tokenizer *tokenizer; /* whose EOS ends each document where it has one */
} qk_text;

/* Reads `text`, which must outlive it. */
qk_corpus qk_corpus_of(const qk_text *text);

/* What is held out: documents of a corpus from its beginning, each cut into sequences of one context. */
typedef struct qk_held_out {
    qk_sequence *sequences;
    size_t n_sequences;
    uint64_t n_tokens;
    int32_t **documents;  /* [n_documents] which the sequences point into */
    size_t n_documents;
} qk_held_out;
/* All documents, or as many as hold `max_tokens` tokens (the last one cut).  QK_E_ARGUMENT: nothing to predict. */
qk_status qk_held_out_new(qk_held_out *out, const qk_corpus *corpus, size_t context, size_t max_tokens, qk_error *err);
void qk_held_out_free(qk_held_out *held_out);

#endif
