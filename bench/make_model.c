/* make_model.c - writes a Hugging Face Llama folder of any shape with random weights, to measure speed and memory on.
 *
 * Matrices are normal / sqrt(columns) and gains 1, so activations keep a size that real models have; embeddings are
 * tied.  The weights are drawn row by row and written as they come, so a model larger than memory is no trouble. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/ckpt.h"

enum { D_MODEL, LAYERS, HEADS, KV_HEADS, FFN, VOCAB, CONTEXT, N_NUMBERS };
enum { TENSORS_A_LAYER = 9 };

static const char usage[] =
    "usage: make_model [--f32] [--seed=N] [--tokenizer=FILE] FOLDER D_MODEL LAYERS HEADS KV_HEADS FFN VOCAB CONTEXT\n"
    "Writes FOLDER/config.json and FOLDER/model.safetensors, a Llama with random BF16 (--f32: F32) weights and tied\n"
    "embeddings; --tokenizer copies FILE to FOLDER/tokenizer.json.\n";

typedef struct request {
    const char *folder, *tokenizer;
    uint64_t seed;
    qk_dtype dtype;
    uint64_t n[N_NUMBERS];
} request;

/* ---- arguments */

/* Digits only, low to high. */
static qk_status parse_number(uint64_t *out, const char *what, const char *text, uint64_t low, uint64_t high,
                              qk_error *err)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || n < low || n > high)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected a number from %llu to %llu, found '%s'", what,
                       (unsigned long long)low, (unsigned long long)high, text);
    *out = n;
    return QK_OK;
}

static qk_status check_shape(const request *r, qk_error *err)
{
    const uint64_t *n = r->n;
    if (n[D_MODEL] % n[HEADS] || n[D_MODEL] / n[HEADS] % 2)
        return qk_fail(err, QK_E_ARGUMENT,
                       "HEADS: expected a divisor of D_MODEL that leaves an even head, found %llu of %llu",
                       (unsigned long long)n[HEADS], (unsigned long long)n[D_MODEL]);
    if (n[KV_HEADS] > n[HEADS] || n[HEADS] % n[KV_HEADS])
        return qk_fail(err, QK_E_ARGUMENT, "KV_HEADS: expected a divisor of HEADS, found %llu of %llu",
                       (unsigned long long)n[KV_HEADS], (unsigned long long)n[HEADS]);
    return QK_OK;
}

static qk_status parse_arguments(request *out, int argc, char **argv, qk_error *err)
{
    static const char *const names[N_NUMBERS] = { "D_MODEL", "LAYERS", "HEADS", "KV_HEADS", "FFN", "VOCAB", "CONTEXT" };
    request r = { .dtype = QK_DTYPE_BF16, .seed = 1 };
    int at = 1;
    qk_status status = QK_OK;
    for (; at < argc && argv[at][0] == '-' && !status; at++) {
        if (strcmp(argv[at], "--f32") == 0)
            r.dtype = QK_DTYPE_F32;
        else if (strncmp(argv[at], "--tokenizer=", 12) == 0)
            r.tokenizer = argv[at] + 12;
        else if (strncmp(argv[at], "--seed=", 7) == 0)
            status = parse_number(&r.seed, "--seed", argv[at] + 7, 0, UINT64_MAX, err);
        else
            status = qk_fail(err, QK_E_ARGUMENT, "%s: unknown option", argv[at]);
    }
    if (status) return status;
    if (argc - at != 1 + N_NUMBERS)
        return qk_fail(err, QK_E_ARGUMENT, "expected FOLDER and %d numbers, found %d words", N_NUMBERS, argc - at);
    r.folder = argv[at++];
    for (int i = 0; i < N_NUMBERS && !status; i++)
        status = parse_number(&r.n[i], names[i], argv[at + i], 1, 1 << 24, err);
    if (!status) status = check_shape(&r, err);
    if (!status) *out = r;
    return status;
}

/* ---- weights */

typedef struct tensor_list {
    qk_tensor_out *items;
    size_t n;
    qk_arena names;
    bool failed; /* a name could not be allocated */
} tensor_list;

static void add_tensor(tensor_list *list, qk_dtype dtype, const char *name, uint64_t rows, uint64_t columns)
{
    char *copy = qk_arena_copy(&list->names, name, strlen(name));
    list->failed |= !copy;
    list->items[list->n++] =
        columns ? (qk_tensor_out){ .name = copy, .dtype = dtype, .n_dims = 2, .shape = { rows, columns } }
                : (qk_tensor_out){ .name = copy, .dtype = dtype, .n_dims = 1, .shape = { rows } };
}

static qk_status declare(tensor_list *list, const request *r, qk_error *err)
{
    uint64_t d = r->n[D_MODEL], kv = d / r->n[HEADS] * r->n[KV_HEADS], ffn = r->n[FFN];
    const struct {
        const char *name;
        uint64_t rows, columns;
    } layer[TENSORS_A_LAYER] = {
        { "input_layernorm", d, 0 },   { "self_attn.q_proj", d, d }, { "self_attn.k_proj", kv, d },
        { "self_attn.v_proj", kv, d }, { "self_attn.o_proj", d, d }, { "post_attention_layernorm", d, 0 },
        { "mlp.gate_proj", ffn, d },   { "mlp.up_proj", ffn, d },    { "mlp.down_proj", d, ffn },
    };
    qk_status status =
        qk_new_array(&list->items, 2 + TENSORS_A_LAYER * r->n[LAYERS], sizeof *list->items, "tensors", err);
    if (status) return status;
    add_tensor(list, r->dtype, "model.embed_tokens.weight", r->n[VOCAB], d);
    for (uint64_t l = 0; l < r->n[LAYERS]; l++)
        for (size_t i = 0; i < TENSORS_A_LAYER; i++) {
            char name[80];
            snprintf(name, sizeof name, "model.layers.%llu.%s.weight", (unsigned long long)l, layer[i].name);
            add_tensor(list, r->dtype, name, layer[i].rows, layer[i].columns);
        }
    add_tensor(list, r->dtype, "model.norm.weight", d, 0);
    return list->failed ? qk_out_of_memory(err, "tensor names", 0) : QK_OK;
}

/* One row of a matrix (normal / sqrt(columns)), or a whole gain (ones), as the file holds it; returns bytes. */
static size_t draw_row(void *out, const qk_tensor_out *tensor, qk_rng *rng)
{
    bool gain = tensor->n_dims == 1;
    uint64_t n = gain ? tensor->shape[0] : tensor->shape[1];
    double scale = 1 / sqrt((double)n);
    for (uint64_t i = 0; i < n; i++) {
        float x = gain ? 1 : (float)(scale * qk_rng_normal(rng));
        if (tensor->dtype == QK_DTYPE_F32)
            ((float *)out)[i] = x;
        else
            ((uint16_t *)out)[i] = qk_f32_to_bf16(x);
    }
    return n * (tensor->dtype == QK_DTYPE_F32 ? 4 : 2);
}

static qk_status write_weights(const char *path, const request *r, qk_error *err)
{
    tensor_list list = { 0 };
    qk_safetensors_writer *writer = NULL;
    float *row = NULL;
    qk_rng rng;
    uint64_t widest = r->n[D_MODEL] > r->n[FFN] ? r->n[D_MODEL] : r->n[FFN];
    static const char *const metadata[] = { "format", "pt" };
    qk_status status = declare(&list, r, err);
    if (!status) status = qk_new_array(&row, widest, sizeof *row, "a row", err);
    if (!status) status = qk_safetensors_start(&writer, path, list.items, list.n, metadata, 1, err);
    qk_rng_seed(&rng, r->seed);
    for (size_t t = 0; t < list.n && !status; t++) {
        uint64_t n_rows = list.items[t].n_dims == 1 ? 1 : list.items[t].shape[0];
        for (uint64_t i = 0; i < n_rows && !status; i++)
            status = qk_safetensors_append(writer, row, draw_row(row, &list.items[t], &rng), err);
    }
    if (!status)
        status = qk_safetensors_finish(writer, err);
    else if (writer)
        qk_safetensors_abandon(writer);
    free(row);
    free(list.items);
    qk_arena_free(&list.names);
    return status;
}

/* ---- the folder */

static qk_status write_config(const char *path, const request *r, qk_error *err)
{
    const uint64_t *n = r->n;
    char text[1000];
    int length =
        snprintf(text, sizeof text,
                 "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n"
                 "  \"hidden_size\": %llu,\n  \"num_hidden_layers\": %llu,\n  \"num_attention_heads\": %llu,\n"
                 "  \"num_key_value_heads\": %llu,\n  \"intermediate_size\": %llu,\n  \"vocab_size\": %llu,\n"
                 "  \"max_position_embeddings\": %llu,\n  \"hidden_act\": \"silu\",\n  \"rms_norm_eps\": 1e-05,\n"
                 "  \"rope_theta\": 10000.0,\n  \"tie_word_embeddings\": true,\n  \"torch_dtype\": \"%s\"\n}\n",
                 (unsigned long long)n[D_MODEL], (unsigned long long)n[LAYERS], (unsigned long long)n[HEADS],
                 (unsigned long long)n[KV_HEADS], (unsigned long long)n[FFN], (unsigned long long)n[VOCAB],
                 (unsigned long long)n[CONTEXT], r->dtype == QK_DTYPE_F32 ? "float32" : "bfloat16");
    return qk_write_file(path, text, (size_t)length, err);
}

static qk_status copy_file(const char *to, const char *from, qk_error *err)
{
    qk_map map;
    qk_status status = qk_map_open(&map, from, err);
    if (status) return status;
    status = qk_write_file(to, map.data, map.size, err);
    qk_map_close(&map);
    return status;
}

static qk_status write_folder(const request *r, qk_error *err)
{
    char *config = qk_path_join(r->folder, "config.json"), *tokenizer = qk_path_join(r->folder, "tokenizer.json"),
         *weights = qk_path_join(r->folder, "model.safetensors");
    qk_status status =
        config && tokenizer && weights ? qk_make_folders(r->folder, err) : qk_out_of_memory(err, "paths", 0);
    if (!status && r->tokenizer) status = copy_file(tokenizer, r->tokenizer, err);
    if (!status) status = write_config(config, r, err);
    if (!status) status = write_weights(weights, r, err);
    free(config);
    free(tokenizer);
    free(weights);
    return status;
}

int main(int argc, char **argv)
{
    request r = { 0 };
    qk_error err;
    qk_status status = parse_arguments(&r, argc, argv, &err);
    if (!status) status = write_folder(&r, &err);
    if (status) fprintf(stderr, "make_model: %s\n", err.message);
    if (status == QK_E_ARGUMENT) fputs(usage, stderr);
    return status == QK_E_ARGUMENT ? 2 : status ? 1 : 0;
}
