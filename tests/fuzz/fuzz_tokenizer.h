/* fuzz_tokenizer.h - what the fuzz targets of tokenizers share: use what was opened, check what it promises. */
#ifndef QK_FUZZ_TOKENIZER_H
#define QK_FUZZ_TOKENIZER_H

#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stops the fuzzer here, whatever the build. */
static inline void must(bool promise)
{
    if (!promise) __builtin_trap();
}

static inline void must_explain(qk_status status, const qk_error *err)
{
    must(err->status == status && err->message[0] && !strchr(err->message, '\n'));
}

/* Encode valid or invalid text and decode what came out: ids are in the vocabulary, texts are UTF-8.  Did it come back? */
static inline bool encode_and_decode(const qk_tokenizer *t, const char *text, size_t n_bytes, qk_encode_options options)
{
    qk_error err = { QK_OK, "" };
    int32_t *ids = NULL;
    size_t n = 0, n_back = 0, n_piece;
    char *back = NULL;
    qk_status status = qk_encode(&ids, &n, t, text, n_bytes, options, &err);
    if (status) {
        must_explain(status, &err);
        return false;
    }
    must(qk_utf8_valid(text, n_bytes) == n_bytes);
    for (size_t i = 0; i < n; i++) must(qk_token_piece(&n_piece, t, ids[i]) != NULL);
    status = qk_decode(&back, &n_back, t, ids, n, &err);
    if (status) must_explain(status, &err);
    else must(qk_utf8_valid(back, n_back) == n_back && back[n_back] == '\0');
    bool same = !status && n_back == n_bytes && memcmp(back, text, n_bytes) == 0;
    free(ids);
    free(back);
    return same;
}

/* A few texts that reach every step. */
static inline void use(const qk_tokenizer *t)
{
    static const char *const texts[] = { "",
                                         " ",
                                         "Hello world",
                                         "a b  c\n\n 'll 123 ab",
                                         "<s>x</s> <unk>",
                                         "\xe2\x96\x81\xe4\xbd\xa0 e\xcc\x81\xf0\x9f\x9a\x80" };
    must(qk_tokenizer_describe(t)->n_vocab > 0 && qk_tokenizer_describe(t)->kind);
    for (size_t i = 0; i < 2 * sizeof texts / sizeof *texts; i++)
        encode_and_decode(t, texts[i / 2], strlen(texts[i / 2]),
                          (qk_encode_options){ .no_bos = i & 1, .plain = i & 1 });
}

#endif
