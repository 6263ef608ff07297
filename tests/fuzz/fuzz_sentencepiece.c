/* fuzz_sentencepiece.c - any bytes as a tokenizer.model or a llama2.c tokenizer.bin. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_error err = { QK_OK, "" };
    qk_tokenizer *t = NULL;
    qk_status status = qk_tokenizer_open_bytes(&t, data, size, 0, &err);
    if (status) must_explain(status, &err);
    else use(t);
    qk_tokenizer_close(t);
    return 0;
}
