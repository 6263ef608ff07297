/* tokenizer_json.c - tokenizer.json: the BPE model and the added tokens. */
#include "text/tokenizer_json.h"

#include <string.h>

static qk_status read_vocabulary(qk_tokenizer *t, const json_t *model, qk_error *err)
{
    json_t *vocabulary = json_object_get(model, "vocab"), *id;
    const char *text;
    qk_status status = QK_OK;
    if (!json_is_object(vocabulary))
        return qk_fail(err, QK_E_FORMAT, "model.vocab: expected an object of ids by token");
    json_object_foreach(vocabulary, text, id) {
        if (!json_is_integer(id))
            return qk_fail(err, QK_E_FORMAT, "model.vocab: token \"%.80s\": expected an integer", text);
        status =
            qk_vocabulary_put(&t->vocabulary, json_integer_value(id), text, strlen(text), QK_TOKEN_NORMAL, false, err);
        if (status) return qk_prefix(err, status, "model.vocab");
    }
    return QK_OK;
}

/* "left right" or ["left", "right"] */
static qk_status read_merge(qk_tokenizer *t, size_t rank, const json_t *merge, qk_error *err)
{
    const json_t *pair[2] = { json_array_get(merge, 0), json_array_get(merge, 1) };
    const char *text = json_string_value(merge);
    size_t n_bytes = json_string_length(merge);
    if (json_array_size(merge) == 2 && json_is_string(pair[0]) && json_is_string(pair[1]))
        return qk_bpe_add_merge_text(t, (uint32_t)rank, json_string_value(pair[0]), json_string_length(pair[0]),
                                     json_string_value(pair[1]), json_string_length(pair[1]), err);
    const char *space = text ? memchr(text, ' ', n_bytes) : NULL;
    size_t n_left = space ? (size_t)(space - text) : 0;
    if (!space || memchr(space + 1, ' ', n_bytes - n_left - 1))
        return qk_fail(err, QK_E_FORMAT, "merge %zu: expected two tokens with a space between, or a list of two", rank);
    return qk_bpe_add_merge_text(t, (uint32_t)rank, text, n_left, space + 1, n_bytes - n_left - 1, err);
}

static qk_status read_merges(qk_tokenizer *t, const json_t *model, qk_error *err)
{
    const json_t *merges = json_object_get(model, "merges");
    size_t n = json_array_size(merges);
    qk_status status = QK_OK;
    if (!json_is_array(merges) || n >= QK_NONE) return qk_fail(err, QK_E_FORMAT, "model.merges: expected a list");
    for (size_t i = 0; !status && i < n; i++) status = read_merge(t, i, json_array_get(merges, i), err);
    return status ? qk_prefix(err, status, "model.merges") : QK_OK;
}

static qk_status read_unknown(qk_tokenizer *t, const json_t *model, qk_error *err)
{
    const json_t *unknown = json_object_get(model, "unk_token");
    const char *text = json_string_value(unknown);
    if (!text || !*text) return QK_OK; /* old files write "" for none */
    t->bpe.unknown = qk_vocabulary_find(&t->vocabulary, text, json_string_length(unknown));
    return t->bpe.unknown >= 0 ? QK_OK
                               : qk_fail(err, QK_E_FORMAT, "model.unk_token \"%.80s\" is not in model.vocab", text);
}

/* What would change ids and is not done here. */
static qk_status refuse_options(const json_t *model, qk_error *err)
{
    static const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    for (size_t i = 0; i < 2; i++)
        if (json_string_length(json_object_get(model, affixes[i])) > 0)
            return qk_fail(err, QK_E_UNSUPPORTED, "model.%s \"%.80s\" is not supported", affixes[i],
                           json_string_value(json_object_get(model, affixes[i])));
    double dropout = json_number_value(json_object_get(model, "dropout"));
    if (dropout != 0) return qk_fail(err, QK_E_UNSUPPORTED, "model.dropout %g is not supported", dropout);
    return QK_OK;
}

static qk_status read_model(qk_tokenizer *t, const json_t *model, qk_error *err)
{
    const char *type = json_string_value(json_object_get(model, "type"));
    if (!json_is_object(model)) return qk_fail(err, QK_E_FORMAT, "model: expected an object");
    if (!type && json_object_get(model, "merges")) type = "BPE"; /* the first files did not say */
    if (!type || strcmp(type, "BPE") != 0)
        return qk_fail(err, QK_E_UNSUPPORTED, "model type %.80s is not supported: expected BPE",
                       type ? type : "(none)");
    qk_status status = refuse_options(model, err);
    if (!status) status = read_vocabulary(t, model, err);
    if (!status) status = read_merges(t, model, err);
    if (!status) status = read_unknown(t, model, err);
    t->bpe.byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    t->bpe.fuse_unknown = json_is_true(json_object_get(model, "fuse_unk"));
    t->bpe.ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    return status;
}

static qk_status read_added_token(qk_tokenizer *t, const json_t *entry, qk_error *err)
{
    const json_t *content = json_object_get(entry, "content"), *id = json_object_get(entry, "id");
    qk_added_token token = {
        .text = json_string_value(content), .n_bytes = json_string_length(content),
        .special = json_is_true(json_object_get(entry, "special")),
        .left_strip = json_is_true(json_object_get(entry, "lstrip")),
        .right_strip = json_is_true(json_object_get(entry, "rstrip")),
        .single_word = json_is_true(json_object_get(entry, "single_word")),
        .normalized = json_is_true(json_object_get(entry, "normalized")),
    };
    if (!token.text || token.n_bytes == 0 || !json_is_integer(id))
        return qk_fail(err, QK_E_FORMAT, "expected objects with an id and a content");
    int32_t known = qk_vocabulary_find(&t->vocabulary, token.text, token.n_bytes);
    if (known >= 0 && known != json_integer_value(id))
        return qk_fail(err, QK_E_FORMAT, "token \"%.80s\": id %lld, in model.vocab %d", token.text,
                       (long long)json_integer_value(id), known);
    if (known < 0) {
        qk_token_kind kind = token.special ? QK_TOKEN_CONTROL : QK_TOKEN_USER;
        qk_status status =
            qk_vocabulary_put(&t->vocabulary, json_integer_value(id), token.text, token.n_bytes, kind, true, err);
        if (status) return status;
    }
    token.id = (int32_t)json_integer_value(id);
    return qk_added_add(t, token, err);
}

static qk_status read_added_tokens(qk_tokenizer *t, const json_t *list, qk_error *err)
{
    qk_status status = QK_OK;
    if (list && !json_is_array(list) && !json_is_null(list))
        return qk_fail(err, QK_E_FORMAT, "added_tokens: expected a list");
    for (size_t i = 0; !status && i < json_array_size(list); i++) {
        status = read_added_token(t, json_array_get(list, i), err);
        if (status) qk_prefix(err, status, "added_tokens: entry %zu", i);
    }
    return status;
}

qk_status qk_read_tokenizer_json(qk_tokenizer *t, const char *bytes, size_t n_bytes, qk_error *err)
{
    json_t *root = NULL;
    qk_status status = qk_parse_json(&root, bytes, n_bytes, err);
    if (!status && !json_is_object(root)) status = qk_fail(err, QK_E_FORMAT, "expected a JSON object");
    if (!status) status = read_model(t, json_object_get(root, "model"), err);
    if (!status) status = read_added_tokens(t, json_object_get(root, "added_tokens"), err);
    if (!status) status = qk_read_json_normalizer(t, json_object_get(root, "normalizer"), err);
    if (!status) status = qk_read_json_pre_tokenizer(t, json_object_get(root, "pre_tokenizer"), err);
    if (!status) status = qk_read_json_decoder(t, json_object_get(root, "decoder"), err);
    if (!status) status = qk_read_json_post_processor(t, json_object_get(root, "post_processor"), err);
    if (!status) {
        bool byte_level = false;
        for (size_t i = 0; i < t->pre_tokenizers.n; i++)
            byte_level = byte_level || t->pre_tokenizers.items[i].apply == qk_step_byte_level;
        t->info.kind = byte_level             ? "byte-level BPE (tokenizer.json)"
                       : t->bpe.byte_fallback ? "BPE with byte fallback (tokenizer.json)"
                                              : "BPE (tokenizer.json)";
    }
    json_decref(root);
    return status;
}
