/* fuzz_gguf_tokenizer.c - any bytes as a GGUF with a vocabulary. */
#include "ckpt/ckpt_private.h"
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_error err = { QK_OK, "" };
    qk_ckpt *ckpt = NULL;
    qk_tokenizer *t = NULL;
    if (qk_ckpt_open_bytes(&ckpt, data, size, qk_gguf_read, &err)) return 0;
    qk_status status = qk_tokenizer_open(&t, ckpt, &err);
    qk_ckpt_close(ckpt);
    if (status) must_explain(status, &err);
    else use(t);
    qk_tokenizer_close(t);
    return 0;
}
