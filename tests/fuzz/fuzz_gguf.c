/* fuzz_gguf.c - any bytes as a GGUF file; then every getter on keys that the corpus has. */
#include "fuzz_ckpt.h"

static void get_all(const qk_ckpt *ckpt, const char *key, const uint8_t *data, size_t size)
{
    const char *text = NULL;
    size_t n = 0, n_bytes = 0;
    int64_t integer;
    double number;
    bool yes;
    if (qk_gguf_string(&text, &n_bytes, ckpt, key))
        must((const uint8_t *)text >= data && n_bytes <= size && (const uint8_t *)text <= data + size - n_bytes);
    qk_gguf_int(&integer, ckpt, key);
    qk_gguf_float(&number, ckpt, key);
    qk_gguf_bool(&yes, ckpt, key);
    must(!qk_gguf_array_int(&integer, ckpt, key, SIZE_MAX));
    if (!qk_gguf_array(&n, ckpt, key)) return;
    must(n <= size);
    for (size_t i = 0; i < n; i++) {
        qk_gguf_array_int(&integer, ckpt, key, i);
        qk_gguf_array_float(&number, ckpt, key, i);
        if (qk_gguf_array_string(&text, &n_bytes, ckpt, key, i))
            must((const uint8_t *)text >= data && n_bytes <= size && (const uint8_t *)text <= data + size - n_bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = { "general.alignment", "general.architecture", "k", "tokens", "scores", "types" };
    qk_ckpt *ckpt = open_bytes(data, size, qk_gguf_read);
    for (size_t i = 0; ckpt && i < sizeof keys / sizeof *keys; i++) get_all(ckpt, keys[i], data, size);
    qk_ckpt_close(ckpt);
    return 0;
}
