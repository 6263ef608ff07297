/* fuzz_npy.c - any bytes as a NumPy array file. */
#include "fuzz_ckpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_tensor tensor;
    qk_error err = { QK_OK, "" };
    size_t n_bytes;
    const qk_map map = { data, size };
    qk_status status = qk_npy_parse(&tensor, &map, "memory", &err);
    if (status) must(err.status == status && err.message[0] && !strchr(err.message, '\n'));
    else must(qk_tensor_bytes(&n_bytes, &tensor) && tensor.data + n_bytes == data + size);
    return 0;
}
