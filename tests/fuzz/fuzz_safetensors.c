/* fuzz_safetensors.c - any bytes as a .safetensors file. */
#include "fuzz_ckpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_ckpt *ckpt = open_bytes(data, size, qk_safetensors_read);
    uint64_t end = 0;
    for (size_t i = 0; ckpt && i < qk_ckpt_count(ckpt); i++) { /* in file order without a gap */
        const qk_tensor *tensor = qk_ckpt_at(ckpt, i);
        must(i == 0 || tensor->data == qk_ckpt_at(ckpt, i - 1)->data + qk_ckpt_at(ckpt, i - 1)->n_bytes);
        end = (uint64_t)(tensor->data - data) + tensor->n_bytes;
    }
    must(end == 0 || end == size);
    qk_ckpt_close(ckpt);
    return 0;
}
