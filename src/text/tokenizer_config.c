/* tokenizer_config.c - tokenizer_config.json: the markers around a text, where the tokenizer itself does not say. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

/* "<s>", or {"content": "<s>", ...}; NULL where there is none. */
static const char *content_of(const json_t *token, size_t *n_bytes)
{
    if (json_is_object(token)) token = json_object_get(token, "content");
    *n_bytes = json_string_length(token);
    return json_string_value(token);
}

/* One that the tokenizer does not know is none: whoever wants to put it somewhere is told so. */
static void find_marker(int32_t *id, const qk_tokenizer *t, const json_t *config, const char *key)
{
    size_t n_bytes;
    const char *text = content_of(json_object_get(config, key), &n_bytes);
    if (!text) return;
    int32_t found = -1;
    for (size_t i = 0; i < t->n_added && found < 0; i++)
        if (t->added[i].n_bytes == n_bytes && memcmp(t->added[i].text, text, n_bytes) == 0) found = t->added[i].id;
    if (found < 0) found = qk_vocabulary_search(&t->vocabulary, text, n_bytes);
    *id = found;
}

/* add_bos_token, add_eos_token: true puts the marker there, false takes it away, absent leaves things as they are. */
static qk_status set_marker(qk_tokenizer *t, const json_t *config, const char *key, bool before, int32_t id,
                            qk_error *err)
{
    const json_t *wanted = json_object_get(config, key);
    if (!json_is_boolean(wanted)) return QK_OK;
    if (before) t->n_prefix = 0;
    else t->n_suffix = 0;
    if (!json_is_true(wanted)) return QK_OK;
    if (id < 0) return qk_fail(err, QK_E_FORMAT, "%s is true, but the tokenizer has no such token", key);
    return qk_tokenizer_surround(t, before, &id, 1, err);
}

static bool flag(const json_t *object, const char *key) { return json_is_true(json_object_get(object, key)); }

/* One entry of added_tokens_decoder: beyond the pieces of a tokenizer.model, or one of them made special. */
static qk_status add_token(qk_tokenizer *t, const char *key, const json_t *entry, qk_error *err)
{
    char *end;
    long id = strtol(key, &end, 10);
    qk_added_token token = { .special = flag(entry, "special"),
                             .left_strip = flag(entry, "lstrip"),
                             .right_strip = flag(entry, "rstrip"),
                             .single_word = flag(entry, "single_word"),
                             .normalized = flag(entry, "normalized") };
    token.text = content_of(entry, &token.n_bytes);
    if (*end || end == key || id < 0 || id >= QK_MAX_TOKEN_ID || !token.text)
        return qk_fail(err, QK_E_FORMAT, "added_tokens_decoder: expected ids with their content, found \"%.50s\"", key);
    size_t n_bytes;
    const char *known = qk_vocabulary_text(&n_bytes, &t->vocabulary, id);
    token.id = (int32_t)id;
    if (!known) {
        qk_status status = qk_vocabulary_put(&t->vocabulary, id, token.text, token.n_bytes,
                                             token.special ? QK_TOKEN_CONTROL : QK_TOKEN_USER, true, err);
        return status ? status : qk_added_add(t, token, err);
    }
    if (n_bytes != token.n_bytes || memcmp(known, token.text, n_bytes) != 0)
        return qk_fail(err, QK_E_FORMAT, "added_tokens_decoder: token %ld is \"%.50s\", in the tokenizer \"%.*s\"", id,
                       token.text, (int)(n_bytes < 50 ? n_bytes : 50), known);
    for (size_t i = 0; i < t->n_added; i++)
        if (t->added[i].id == token.id) return QK_OK;
    return token.special ? qk_added_add(t, token, err) : QK_OK;
}

qk_status qk_apply_tokenizer_config(qk_tokenizer *t, json_t *config, qk_error *err)
{
    const char *key;
    json_t *entry;
    qk_status status = QK_OK;
    if (!json_is_object(config)) return qk_fail(err, QK_E_FORMAT, "expected a JSON object");
    if (t->sentencepiece_decoder)
        json_object_foreach(json_object_get(config, "added_tokens_decoder"), key, entry) {
            status = add_token(t, key, entry, err);
            if (status) return status;
        }
    find_marker(&t->info.bos, t, config, "bos_token");
    find_marker(&t->info.eos, t, config, "eos_token");
    if (t->has_template) return QK_OK;
    status = set_marker(t, config, "add_bos_token", true, t->info.bos, err);
    return status ? status : set_marker(t, config, "add_eos_token", false, t->info.eos, err);
}

qk_status qk_parse_json(json_t **out, const void *bytes, size_t n_bytes, qk_error *err)
{
    json_error_t where;
    json_t *parsed = json_loadb(bytes, n_bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    if (!parsed) return qk_fail(err, QK_E_FORMAT, "line %d, column %d: %s", where.line, where.column, where.text);
    *out = parsed;
    return QK_OK;
}
