/* gguf_tokenizer.c - the vocabulary inside a GGUF: "llama" (SentencePiece with scores) and "gpt2" (byte-level BPE). */
#include "text/tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define KEY "tokenizer.ggml."

/* ---- the splits that `tokenizer.ggml.pre` stands for */

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LIKE_LLAMA3(digits)                                                                                            \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                               \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3 LIKE_LLAMA3("\\p{N}{1,3}")
#define QWEN2 LIKE_LLAMA3("\\p{N}")
#define TEKKEN                                                                                                         \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"                       \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"                       \
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

typedef struct pre {
    const char *name;
    const char *splits[5]; /* one after the other, each piece of one is split by the next */
    bool add_bos, ignore_merges;
    bool composed;         /* the model's own tokenizer.json normalizes to NFC */
} pre;

static const pre pres[] = {
    { "default", { "[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" } },
    { "gpt-2", { GPT2 } },
    { "phi-2", { GPT2 } },
    { "mpt", { GPT2 } },
    { "olmo", { GPT2 }, .composed = true },
    { "llama-bpe", { LLAMA3 }, .add_bos = true, .ignore_merges = true },
    { "llama3", { LLAMA3 }, .add_bos = true, .ignore_merges = true },
    { "llama-v3", { LLAMA3 }, .add_bos = true, .ignore_merges = true },
    { "smaug-bpe", { LLAMA3 } },
    { "dbrx", { LLAMA3 } },
    { "qwen2", { QWEN2 }, .composed = true },
    { "deepseek-r1-qwen", { QWEN2 } },
    { "stablelm2", { QWEN2 } },
    { "smollm", { "\\p{N}", GPT2 } },
    { "starcoder", { "\\p{N}", GPT2 } },
    { "refact", { "\\p{N}", GPT2 } },
    { "codeshell", { "\\p{N}", GPT2 } },
    { "command-r", { "\\p{N}", GPT2 }, .composed = true },
    { "falcon", { "[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]" } },
    { "deepseek-coder",
      { "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+",
        "[\xe4\xb8\x80-\xe9\xbe\xa5\xe0\xa0\x80-\xe4\xb8\x80\xea\xb0\x80-\xed\x9f\xbf]+", "\\p{N}" } },
    { "tekken", { TEKKEN }, .add_bos = true, .ignore_merges = true },
};

static const pre *find_pre(const char *name, size_t n_bytes)
{
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
        if (strlen(pres[i].name) == n_bytes && memcmp(pres[i].name, name, n_bytes) == 0) return &pres[i];
    return NULL;
}

static qk_status add_steps(qk_tokenizer *t, const pre *how, bool prefix_space, qk_error *err)
{
    qk_status status = QK_OK;
    qk_step form = { .apply = qk_step_unicode_form, .form = UTF8PROC_STABLE | UTF8PROC_COMPOSE };
    if (how->composed) status = qk_steps_add(&t->normalizers, form, err);
    if (!status && prefix_space)
        status = qk_steps_add(&t->pre_tokenizers, (qk_step){ .apply = qk_step_prefix_space }, err);
    for (size_t i = 0; !status && i < sizeof how->splits / sizeof *how->splits && how->splits[i]; i++) {
        qk_step split = { .apply = qk_step_split, .behavior = QK_ISOLATED };
        status = qk_regex_new(&split.regex, how->splits[i], strlen(how->splits[i]), err);
        if (!status) status = qk_steps_add(&t->pre_tokenizers, split, err);
    }
    if (!status) status = qk_steps_add(&t->pre_tokenizers, (qk_step){ .apply = qk_step_byte_level }, err);
    if (!status) status = qk_steps_add(&t->decoders, (qk_step){ .apply = qk_step_decode_byte_level }, err);
    return status;
}

/* ---- metadata */

static bool get_flag(const qk_ckpt *ckpt, const char *key, bool otherwise)
{
    bool value;
    return qk_gguf_bool(&value, ckpt, key) ? value : otherwise;
}

/* An id of the vocabulary; -1 where there is none (some writers put 2^32 - 1). */
static int32_t get_id(const qk_ckpt *ckpt, const char *key, size_t n_vocab, int32_t otherwise)
{
    int64_t id;
    if (!qk_gguf_int(&id, ckpt, key)) id = otherwise;
    return id >= 0 && (uint64_t)id < n_vocab ? (int32_t)id : -1;
}

/* Tokens and their kinds; what must not be made by merging is hidden.  The hash is over the array's bytes. */
static qk_status read_tokens(qk_tokenizer *t, const qk_ckpt *ckpt, size_t n, bool hide, qk_error *err)
{
    qk_status status = QK_OK;
    qk_sha256 hash;
    qk_sha256_start(&hash);
    size_t n_kinds = n;
    if (qk_gguf_array(&n_kinds, ckpt, KEY "token_type") && n_kinds != n)
        return qk_fail(err, QK_E_FORMAT, KEY "token_type: expected %zu entries, found %zu", n, n_kinds);
    for (size_t id = 0; !status && id < n; id++) {
        const char *text;
        size_t n_bytes;
        int64_t kind = QK_TOKEN_NORMAL;
        if (!qk_gguf_array_string(&text, &n_bytes, ckpt, KEY "tokens", id))
            return qk_fail(err, QK_E_FORMAT, KEY "tokens: expected strings");
        if (qk_utf8_valid(text, n_bytes) != n_bytes)
            return qk_fail(err, QK_E_FORMAT, KEY "tokens: token %zu is not UTF-8", id);
        qk_gguf_array_int(&kind, ckpt, KEY "token_type", id);
        if (kind < QK_TOKEN_NORMAL || kind > QK_TOKEN_BYTE) kind = QK_TOKEN_NORMAL;
        if (kind == QK_TOKEN_BYTE && qk_byte_of_token(text, n_bytes) < 0) kind = QK_TOKEN_NORMAL;
        bool hidden = hide && (kind == QK_TOKEN_UNKNOWN || kind == QK_TOKEN_CONTROL || kind == QK_TOKEN_BYTE);
        uint64_t length = n_bytes;
        qk_sha256_add(&hash, &length, sizeof length);
        qk_sha256_add(&hash, text, n_bytes);
        status = qk_vocabulary_put(&t->vocabulary, (int64_t)id, text, n_bytes, (qk_token_kind)kind, hidden, err);
    }
    qk_sha256_hex(t->info.sha256, &hash);
    return status;
}

/* ---- "llama" */

static qk_status read_llama(qk_tokenizer *t, const qk_ckpt *ckpt, size_t n, qk_error *err)
{
    float *scores = NULL;
    size_t n_scores = 0, n_bytes = 0;
    qk_status status = read_tokens(t, ckpt, n, true, err);
    if (!status) status = qk_new_floats(&scores, n, "scores", err);
    if (!status && (!qk_gguf_array(&n_scores, ckpt, KEY "scores") || n_scores != n))
        status = qk_fail(err, QK_E_FORMAT, KEY "scores: expected %zu entries, found %zu", n, n_scores);
    for (size_t id = 0; !status && id < n; id++) {
        double score = NAN;
        if (!qk_gguf_array_float(&score, ckpt, KEY "scores", id))
            status = qk_fail(err, QK_E_FORMAT, KEY "scores: expected numbers");
        scores[id] = (float)score;
        n_bytes += t->vocabulary.kinds[id] == QK_TOKEN_BYTE;
    }
    if (!status) {
        qk_sentencepiece rules = { .scores = scores,
                                   .byte_fallback = n_bytes == 256,
                                   .dummy_prefix = get_flag(ckpt, KEY "add_space_prefix", true),
                                   .remove_extra_spaces = get_flag(ckpt, KEY "remove_extra_whitespaces", false),
                                   .bos = get_id(ckpt, KEY "bos_token_id", n, 1),
                                   .eos = get_id(ckpt, KEY "eos_token_id", n, 2),
                                   .add_bos = get_flag(ckpt, KEY "add_bos_token", true),
                                   .add_eos = get_flag(ckpt, KEY "add_eos_token", false) };
        t->info.kind = "SentencePiece BPE (GGUF llama)";
        status = qk_sentencepiece_finish(t, &rules, err);
    }
    free(scores);
    return status;
}

/* ---- "gpt2" */

static qk_status read_merges(qk_tokenizer *t, const qk_ckpt *ckpt, qk_error *err)
{
    size_t n;
    qk_status status = QK_OK;
    if (!qk_gguf_array(&n, ckpt, KEY "merges") || n >= QK_NONE)
        return qk_fail(err, QK_E_FORMAT, "expected an array " KEY "merges");
    for (size_t i = 0; !status && i < n; i++) {
        const char *text, *space = NULL;
        size_t n_bytes;
        if (qk_gguf_array_string(&text, &n_bytes, ckpt, KEY "merges", i) && n_bytes > 2)
            space = memchr(text + 1, ' ', n_bytes - 1);
        if (!space)
            return qk_fail(err, QK_E_FORMAT, KEY "merges: entry %zu: expected two tokens with a space between", i);
        size_t left = (size_t)(space - text);
        status = qk_bpe_add_merge_text(t, (uint32_t)i, text, left, space + 1, n_bytes - left - 1, err);
    }
    return status;
}

static qk_status read_gpt2(qk_tokenizer *t, const qk_ckpt *ckpt, size_t n, qk_error *err)
{
    const char *name;
    size_t n_name;
    if (!qk_gguf_string(&name, &n_name, ckpt, KEY "pre"))
        return qk_fail(err, QK_E_UNSUPPORTED,
                       "expected " KEY "pre, found none: how this vocabulary splits words is not known");
    const pre *how = find_pre(name, n_name);
    if (!how)
        return qk_fail(err, QK_E_UNSUPPORTED, KEY "pre \"%.*s\" is not supported", (int)(n_name < 80 ? n_name : 80),
                       name);
    qk_status status = read_tokens(t, ckpt, n, false, err);
    if (!status) status = read_merges(t, ckpt, err);
    if (!status) status = add_steps(t, how, get_flag(ckpt, KEY "add_space_prefix", false), err);
    for (size_t id = 0; !status && id < n; id++) {
        uint8_t kind = t->vocabulary.kinds[id];
        if (kind != QK_TOKEN_CONTROL && kind != QK_TOKEN_USER && kind != QK_TOKEN_UNKNOWN) continue;
        qk_added_token token = { .id = (int32_t)id, .special = kind != QK_TOKEN_USER };
        token.text = qk_vocabulary_text(&token.n_bytes, &t->vocabulary, (int64_t)id);
        status = qk_added_add(t, token, err);
    }
    t->bpe.ignore_merges = how->ignore_merges;
    t->info.kind = "byte-level BPE (GGUF gpt2)";
    t->info.bos = get_id(ckpt, KEY "bos_token_id", n, -1);
    t->info.eos = get_id(ckpt, KEY "eos_token_id", n, -1);
    bool add_bos = get_flag(ckpt, KEY "add_bos_token", how->add_bos),
         add_eos = get_flag(ckpt, KEY "add_eos_token", false);
    if (!status && add_bos && t->info.bos >= 0) status = qk_tokenizer_surround(t, true, &t->info.bos, 1, err);
    if (!status && add_eos && t->info.eos >= 0) status = qk_tokenizer_surround(t, false, &t->info.eos, 1, err);
    return status;
}

qk_status qk_read_gguf_tokenizer(qk_tokenizer *t, const qk_ckpt *ckpt, qk_error *err)
{
    const char *model;
    size_t n_model, n;
    if (!qk_gguf_string(&model, &n_model, ckpt, KEY "model"))
        return qk_fail(err, QK_E_IO, "expected a vocabulary (" KEY "model), found none");
    if (!qk_gguf_array(&n, ckpt, KEY "tokens") || n == 0)
        return qk_fail(err, QK_E_FORMAT, "expected an array " KEY "tokens");
    if (n_model == 5 && memcmp(model, "llama", 5) == 0) return read_llama(t, ckpt, n, err);
    if (n_model == 4 && memcmp(model, "gpt2", 4) == 0) return read_gpt2(t, ckpt, n, err);
    return qk_fail(err, QK_E_UNSUPPORTED, KEY "model \"%.*s\" is not supported: expected llama or gpt2",
                   (int)(n_model < 80 ? n_model : 80), model);
}
