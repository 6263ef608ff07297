/* tokenizer_open.c - which files make a tokenizer: beside a checkpoint, inside one, or one file alone. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static qk_status read_bytes(qk_tokenizer *t, const uint8_t *bytes, size_t n_bytes, size_t n_vocab, bool keep_spaces,
                            qk_error *err)
{
    size_t at = n_bytes >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < n_bytes && memchr(" \t\r\n", bytes[at], 4)) at++;
    if (qk_is_llama2c_tokenizer(bytes, n_bytes, n_vocab))
        return qk_read_llama2c_tokenizer(t, bytes, n_bytes, n_vocab, err);
    if (at < n_bytes && bytes[at] == '{') return qk_read_tokenizer_json(t, (const char *)bytes + at, n_bytes - at, err);
    if (n_bytes > 0 && bytes[0] == 0x0A) return qk_read_sentencepiece(t, bytes, n_bytes, keep_spaces, err);
    return qk_fail(
        err, QK_E_FORMAT,
        "expected a tokenizer.json, a tokenizer.model, a llama2.c tokenizer.bin or a GGUF, found something else");
}

static qk_status read_config(qk_tokenizer *t, const char *path, qk_error *err)
{
    qk_map map;
    json_t *config = NULL;
    qk_status status = qk_map_open(&map, path, err);
    if (status) return status;
    status = qk_parse_json(&config, map.data, map.size, err);
    if (!status) status = qk_apply_tokenizer_config(t, config, err);
    if (status) qk_prefix(err, status, "%s", path);
    json_decref(config);
    qk_map_close(&map);
    return status;
}

static qk_status open_mapped(qk_tokenizer **out, const qk_map *map, const char *path, const char *config,
                             size_t n_vocab, bool keep_spaces, qk_error *err)
{
    qk_tokenizer *t = NULL;
    qk_status status = qk_tokenizer_new(&t, err);
    if (!status) status = read_bytes(t, map->data, map->size, n_vocab, keep_spaces, err);
    if (status) qk_prefix(err, status, "%s", path);
    if (!status && config) status = read_config(t, config, err);
    if (!status) {
        status = qk_tokenizer_finish(t, err);
        if (status) qk_prefix(err, status, "%s", path);
    }
    if (status) {
        qk_tokenizer_close(t);
        return status;
    }
    qk_sha256_of(t->info.sha256, map->data, map->size);
    *out = t;
    return QK_OK;
}

qk_status qk_tokenizer_open_bytes(qk_tokenizer **out, const uint8_t *bytes, size_t n_bytes, size_t n_vocab,
                                  qk_error *err)
{
    return open_mapped(out, &(qk_map){ bytes, n_bytes }, "tokenizer", NULL, n_vocab, false, err);
}

static qk_status open_gguf_file(qk_tokenizer **out, const char *path, qk_error *err)
{
    qk_ckpt *ckpt;
    qk_status status = qk_ckpt_open(&ckpt, path, NULL, err);
    if (status) return status;
    status = qk_tokenizer_open(out, ckpt, err);
    qk_ckpt_close(ckpt);
    return status;
}

qk_status qk_tokenizer_open_file(qk_tokenizer **out, const char *path, size_t n_vocab, qk_error *err)
{
    qk_map map;
    qk_status status = qk_map_open(&map, path, err);
    if (status) return status;
    if (map.size >= 4 && memcmp(map.data, "GGUF", 4) == 0) status = open_gguf_file(out, path, err);
    else status = open_mapped(out, &map, path, NULL, n_vocab, false, err);
    qk_map_close(&map);
    return status;
}

/* ---- what belongs to a checkpoint */

/* Is there a file of this name in the checkpoint's folder?  *path is malloc'ed where there is. */
static qk_status find_beside(char **path, const qk_ckpt *ckpt, const char *name, qk_error *err)
{
    *path = qk_path_join(qk_ckpt_folder(ckpt), name);
    if (!*path) return qk_out_of_memory(err, name, 0);
    if (!qk_path_exists(*path)) {
        free(*path);
        *path = NULL;
    }
    return QK_OK;
}

static qk_status open_llama2c(qk_tokenizer **out, const qk_ckpt *ckpt, qk_error *err)
{
    char *path;
    qk_status status = find_beside(&path, ckpt, "tokenizer.bin", err);
    if (!status && !path)
        status = qk_fail(err, QK_E_IO, "%s: expected tokenizer.bin beside it, found none", qk_ckpt_path(ckpt));
    if (!status) status = qk_tokenizer_open_file(out, path, (size_t)qk_ckpt_llama2c(ckpt)->n_vocab, err);
    free(path);
    return status;
}

static qk_status open_folder(qk_tokenizer **out, const qk_ckpt *ckpt, qk_error *err)
{
    char *path = NULL, *config = NULL;
    qk_map map = { 0 };
    qk_status status = find_beside(&path, ckpt, "tokenizer.json", err);
    if (!status && !path) status = find_beside(&path, ckpt, "tokenizer.model", err);
    if (!status && !path)
        status = qk_fail(err, QK_E_IO, "%s: expected tokenizer.json or tokenizer.model, found neither",
                         qk_ckpt_folder(ckpt));
    if (!status) status = find_beside(&config, ckpt, "tokenizer_config.json", err);
    if (!status) status = qk_map_open(&map, path, err);
    /* transformers, llama2.c and llama.cpp keep runs of spaces even where a tokenizer.model asks to shrink them: one
     * checkpoint must not read differently from one format to the next. */
    if (!status) status = open_mapped(out, &map, path, config, 0, true, err);
    qk_map_close(&map);
    free(path);
    free(config);
    return status;
}

static qk_status open_gguf(qk_tokenizer **out, const qk_ckpt *ckpt, qk_error *err)
{
    qk_tokenizer *t = NULL;
    qk_status status = qk_tokenizer_new(&t, err);
    if (!status) status = qk_read_gguf_tokenizer(t, ckpt, err);
    if (!status) status = qk_tokenizer_finish(t, err);
    if (status) {
        qk_tokenizer_close(t);
        return qk_prefix(err, status, "%s", qk_ckpt_path(ckpt));
    }
    *out = t;
    return QK_OK;
}

qk_status qk_tokenizer_open(qk_tokenizer **out, const qk_ckpt *ckpt, qk_error *err)
{
    switch (qk_ckpt_format(ckpt)) {
    case QK_FORMAT_GGUF: return open_gguf(out, ckpt, err);
    case QK_FORMAT_LLAMA2C: return open_llama2c(out, ckpt, err);
    case QK_FORMAT_SAFETENSORS: break;
    }
    return open_folder(out, ckpt, err);
}
