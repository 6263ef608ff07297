/* fuzz_llama2c.c - any bytes as a llama2.c .bin, version 0 or 1. */
#include "fuzz_ckpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_ckpt_close(open_bytes(data, size, qk_llama2c_read));
    return 0;
}
