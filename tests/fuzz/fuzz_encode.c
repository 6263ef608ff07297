/* fuzz_encode.c - any bytes as text for the tokenizers of tests/data: the first byte chooses one and the options. */
#include <stdio.h>

#include "fuzz_tokenizer.h"

static const struct { const char *name; bool lossless;
} tokenizers[] = {
    { "gpt2.json", true },    { "llama3.json", true },   { "qwen2.json", false },     { "falcon.json", false },
    { "llama2.json", false }, { "mistral.json", false }, { "metaspace.json", false }, { "fused.json", false },
    { "words.json", false },  { "llama2.model", false }, { "symbols.model", false },  { "rules.model", false },
    { "llama2.bin", false },
};
#define N_TOKENIZERS (sizeof tokenizers / sizeof *tokenizers)

static const qk_tokenizer *open_once(size_t which)
{
    static qk_tokenizer *opened[N_TOKENIZERS];
    if (!opened[which]) {
        qk_error err;
        char path[4096];
        const char *folder = getenv("QK_TEST_DATA");
        snprintf(path, sizeof path, "%s/tokenizers/%s", folder ? folder : "tests/data", tokenizers[which].name);
        if (qk_tokenizer_open_file(&opened[which], path, 0, &err)) {
            fprintf(stderr, "%s\n", err.message);
            abort();
        }
    }
    return opened[which];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    size_t which = (data[0] >> 2) % N_TOKENIZERS;
    qk_encode_options options = { .no_bos = data[0] & 1, .plain = data[0] & 2 };
    const char *text = (const char *)data + 1;
    bool same = encode_and_decode(open_once(which), text, size - 1, options);
    if (tokenizers[which].lossless && options.plain && qk_utf8_valid(text, size - 1) == size - 1) must(same);
    return 0;
}
