/* tokenizer_json.h - between the two files that read tokenizer.json. */
#ifndef QK_TOKENIZER_JSON_H
#define QK_TOKENIZER_JSON_H

#include "text/tokenizer.h"

/* The sections "normalizer", "pre_tokenizer", "decoder" and "post_processor" (null allowed), after the added tokens. */
qk_status qk_read_json_normalizer(qk_tokenizer *tokenizer, const json_t *node, qk_error *err);
qk_status qk_read_json_pre_tokenizer(qk_tokenizer *tokenizer, const json_t *node, qk_error *err);
qk_status qk_read_json_decoder(qk_tokenizer *tokenizer, const json_t *node, qk_error *err);
qk_status qk_read_json_post_processor(qk_tokenizer *tokenizer, const json_t *node, qk_error *err);

#endif
