/* fuzz_tokenizer_json.c - any bytes as a tokenizer.json; the first '\0', where there is one, ends it and begins a
 * tokenizer_config.json. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_error err = { QK_OK, "" };
    qk_tokenizer *t = NULL;
    json_t *config = NULL;
    const uint8_t *end = memchr(data, 0, size);
    size_t n_bytes = end ? (size_t)(end - data) : size;
    must(qk_tokenizer_new(&t, &err) == QK_OK);
    qk_status status = qk_read_tokenizer_json(t, (const char *)data, n_bytes, &err);
    if (!status && end) status = qk_parse_json(&config, end + 1, size - n_bytes - 1, &err);
    if (!status && end) status = qk_apply_tokenizer_config(t, config, &err);
    if (!status) status = qk_tokenizer_finish(t, &err);
    if (status) must_explain(status, &err);
    else use(t);
    json_decref(config);
    qk_tokenizer_close(t);
    return 0;
}
