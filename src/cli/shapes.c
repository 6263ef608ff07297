/* shapes.c - "7b" or a list of sizes -> a configuration, by the words of a config.json. */
#include "cli/shapes.h"

#include <string.h>

enum { D_MODEL, LAYERS, HEADS, KV_HEADS, FFN, VOCAB, HEAD_DIM, N_SIZES };

typedef struct shape {
    const char *name;
    uint64_t sizes[N_SIZES]; /* HEAD_DIM 0: D_MODEL / HEADS */
    bool tied;
} shape;

static const shape shapes[] = {
    { "world", { 128, 6, 4, 2, 256, 2688, 64 }, true },           /* the bundled models */
    { "15m", { 288, 6, 6, 6, 768, 32000, 0 }, true },             /* stories15M */
    { "1.1b", { 2048, 22, 32, 4, 5632, 32000, 0 }, false },       /* TinyLlama */
    { "7b", { 4096, 32, 32, 32, 11008, 32000, 0 }, false },       /* Llama 2 7B */
    { "70b", { 8192, 80, 64, 8, 28672, 32000, 0 }, false },       /* Llama 2 70B */
};

static qk_status parse(shape *out, cli_command *command, const char *text, qk_error *err)
{
    cli_list words;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(shapes[i].name, text) != 0) continue;
        *out = shapes[i];
        return QK_OK;
    }
    qk_status status = cli_split_list(&words, &command->arena, "--shape", text, err);
    if (status) return status;
    if (words.n != HEAD_DIM && words.n != N_SIZES)
        return qk_fail(err, QK_E_ARGUMENT,
                       "--shape: expected world, 15m, 1.1b, 7b, 70b or D_MODEL,LAYERS,HEADS,KV_HEADS,FFN,VOCAB, found "
                       "'%s'",
                       text);
    *out = (shape){ .name = text };
    for (size_t i = 0; i < words.n && !status; i++)
        status = cli_parse_count(&out->sizes[i], "--shape", words.items[i], 1, 1 << 24, err);
    return status;
}

qk_status cli_shape_config(qk_config *out, int *n_layers, cli_command *command, const char *text, uint64_t max_layers,
                           qk_error *err)
{
    shape s;
    qk_status status = parse(&s, command, text, err);
    if (status) return status;
    uint64_t layers = max_layers && max_layers < s.sizes[LAYERS] ? max_layers : s.sizes[LAYERS];
    if (!s.sizes[HEAD_DIM] && s.sizes[D_MODEL] % s.sizes[HEADS])
        return qk_fail(err, QK_E_ARGUMENT, "--shape: expected a width that %ju heads divide, found %ju",
                       (uintmax_t)s.sizes[HEADS], (uintmax_t)s.sizes[D_MODEL]);
    if (s.sizes[KV_HEADS] > s.sizes[HEADS] || s.sizes[HEADS] % s.sizes[KV_HEADS])
        return qk_fail(err, QK_E_ARGUMENT, "--shape: expected key/value heads that divide the %ju heads, found %ju",
                       (uintmax_t)s.sizes[HEADS], (uintmax_t)s.sizes[KV_HEADS]);
    uint64_t head_dim = s.sizes[HEAD_DIM] ? s.sizes[HEAD_DIM] : s.sizes[D_MODEL] / s.sizes[HEADS];
    json_t *config = json_pack(
        "{s:[s],s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:s,s:f,s:f,s:b}", "architectures", "LlamaForCausalLM",
        "model_type", "llama", "hidden_size", (json_int_t)s.sizes[D_MODEL], "num_hidden_layers", (json_int_t)layers,
        "num_attention_heads", (json_int_t)s.sizes[HEADS], "num_key_value_heads", (json_int_t)s.sizes[KV_HEADS],
        "head_dim", (json_int_t)head_dim, "intermediate_size", (json_int_t)s.sizes[FFN], "vocab_size",
        (json_int_t)s.sizes[VOCAB], "max_position_embeddings", 4096, "hidden_act", "silu", "rms_norm_eps", 1e-5,
        "rope_theta", 10000.0, "tie_word_embeddings", s.tied);
    if (!config) return qk_out_of_memory(err, "configuration", sizeof *out);
    status = qk_config_of_json(out, &command->arena, config, "--shape", err);
    json_decref(config);
    if (!status) *n_layers = (int)s.sizes[LAYERS];
    return status;
}
