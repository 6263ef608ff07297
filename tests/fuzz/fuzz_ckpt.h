/* fuzz_ckpt.h - what the fuzz targets of checkpoint files share: open, then touch all that was promised to be there. */
#ifndef QK_FUZZ_CKPT_H
#define QK_FUZZ_CKPT_H

#include <string.h>

#include "ckpt/ckpt_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stops the fuzzer here, whatever the build. */
static inline void must(bool promise)
{
    if (!promise) __builtin_trap();
}

/* Every tensor lies in the file, has the bytes of its shape, and is found by its name. */
static inline void touch_tensors(const qk_ckpt *ckpt, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < qk_ckpt_count(ckpt); i++) {
        const qk_tensor *tensor = qk_ckpt_at(ckpt, i);
        size_t n_bytes = SIZE_MAX;
        must(tensor->n_dims >= 0 && tensor->n_dims <= QK_MAX_DIMS);
        must(qk_tensor_bytes(&n_bytes, tensor) && n_bytes == tensor->n_bytes);
        must(tensor->data >= data && tensor->n_bytes <= size && tensor->data <= data + size - tensor->n_bytes);
        must(qk_utf8_valid(tensor->name, strlen(tensor->name)) == strlen(tensor->name));
        must(qk_ckpt_find(ckpt, tensor->name) == tensor);
    }
    must(qk_ckpt_bytes(ckpt) <= size);
}

/* NULL where the bytes are refused; then there must be a message of one line. */
static inline qk_ckpt *open_bytes(const uint8_t *data, size_t size, qk_reader *read)
{
    qk_ckpt *ckpt = NULL;
    qk_error err = { QK_OK, "" };
    qk_status status = qk_ckpt_open_bytes(&ckpt, data, size, read, &err);
    must(status ? !ckpt && err.status == status && err.message[0] && !strchr(err.message, '\n') : ckpt != NULL);
    if (ckpt) touch_tensors(ckpt, data, size);
    return ckpt;
}

#endif
