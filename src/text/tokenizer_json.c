#include "text/tokenizer.h"
qk_status qk_read_tokenizer_json(qk_tokenizer *tokenizer, const char *bytes, size_t n_bytes, qk_error *err)
{ (void)tokenizer; (void)bytes; (void)n_bytes; return qk_fail(err, QK_E_UNSUPPORTED, "tokenizer.json is not read yet"); }
