/* info.c - what a checkpoint holds: architecture, tensors, tokenizer, rotary table, and what a pass would take. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"
#include "study/common.h"

enum { USUAL_CONTEXT = 512 };

static const char *const format_names[] = {
    [QK_FORMAT_SAFETENSORS] = "safetensors",
    [QK_FORMAT_GGUF] = "GGUF",
    [QK_FORMAT_LLAMA2C] = "llama2.c",
};

/* ---- the object; the tables below print it */

static json_t *tokenizer_json(const qk_model *model)
{
    if (!model->tokenizer) return json_pack("{s:n,s:o}", "kind", "error", qk_json_text(model->tokenizer_error.message));
    const qk_tokenizer_info *t = qk_tokenizer_describe(model->tokenizer);
    return json_pack("{s:s,s:I,s:i,s:i,s:i,s:b,s:b,s:s}", "kind", t->kind, "vocabulary", (json_int_t)t->n_vocab, "bos",
                     t->bos, "eos", t->eos, "unk", t->unk, "adds_bos", t->adds_bos, "adds_eos", t->adds_eos, "sha256",
                     t->sha256);
}

static json_t *dtypes_json(const qk_model *model)
{
    size_t n[QK_N_DTYPES] = { 0 };
    double bytes[QK_N_DTYPES] = { 0 };
    json_t *rows = json_array();
    for (size_t i = 0; i < qk_ckpt_count(model->ckpt); i++) {
        const qk_tensor *tensor = qk_model_tensor(model, i);
        n[tensor->dtype]++;
        bytes[tensor->dtype] += (double)tensor->n_bytes;
    }
    for (int d = 0; d < QK_N_DTYPES; d++)
        if (n[d])
            json_array_append_new(rows, json_pack("{s:s,s:I,s:I}", "dtype", qk_dtype_describe((qk_dtype)d)->name,
                                                  "tensors", (json_int_t)n[d], "bytes", (json_int_t)bytes[d]));
    return rows;
}

static json_t *tensors_json(const qk_model *model)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < qk_ckpt_count(model->ckpt); i++) {
        const qk_tensor *tensor = qk_model_tensor(model, i);
        json_t *shape = json_array();
        for (int d = 0; d < tensor->n_dims; d++)
            json_array_append_new(shape, json_integer((json_int_t)tensor->shape[d]));
        json_array_append_new(rows, json_pack("{s:o,s:s,s:o,s:I}", "name", qk_json_text(tensor->name), "dtype",
                                              qk_dtype_describe(tensor->dtype)->name, "shape", shape, "bytes",
                                              (json_int_t)tensor->n_bytes));
    }
    return rows;
}

/* One document of the context's length, scored and with the norms of q, k and v taken. */
static qk_status plan_json(json_t **out, const qk_model *model, const qk_compute *compute, qk_error *err)
{
    int32_t *tokens = NULL;
    qk_plan plan;
    size_t n_tokens = compute->max_tokens > 1 ? compute->max_tokens : 2; /* one token leaves nothing to predict */
    qk_status status = qk_new_array(&tokens, n_tokens, sizeof *tokens, "tokens", err);
    if (status) return status;
    qk_sequence sequence = { tokens, n_tokens, 1 };
    status = cli_plan(&plan, model, &sequence, 1, 1, true, compute, err);
    free(tokens);
    if (status) return status;
    *out = cli_plan_json(&plan);
    return *out ? QK_OK : qk_out_of_memory(err, "plan", sizeof plan);
}

/* qk_json_models has what a results file says of a model; here comes what only a reader of the checkpoint asks. */
static json_t *model_json(const cli_models *models, const qk_compute *compute)
{
    const qk_model *model = models->items[0].model;
    const qk_config *c = &model->config;
    json_t *rows = qk_json_models(models->items, 1), *row = json_incref(json_array_get(rows, 0)), *pair;
    size_t i, n_pairs = (size_t)c->head_dim / 2;
    float *inv_freq = calloc(n_pairs ? n_pairs : 1, sizeof *inv_freq);
    double attention_factor = 1;
    json_decref(rows);
    if (!row || !inv_freq) {
        free(inv_freq);
        json_decref(row);
        return NULL;
    }
    qk_rope_frequencies(inv_freq, &attention_factor, c, compute->max_tokens);
    json_array_foreach(json_object_get(row, "pairs"), i, pair) {
        json_object_set_new(pair, "dims", json_pack("[I,I]", (json_int_t)i, (json_int_t)(i + n_pairs)));
        json_object_set_new(pair, "inv_freq", json_real((double)inv_freq[i]));
    }
    free(inv_freq);
    if (!*models->items[0].sha256) json_object_del(row, "sha256");
    json_object_update_new(
        row,
        json_pack("{s:s,s:o,s:I,s:i,s:i,s:b,s:i,s:f,s:f,s:f,s:f,s:o,s:o}", "format",
                  format_names[qk_ckpt_format(model->ckpt)], "path", qk_json_text(qk_ckpt_path(model->ckpt)), "bytes",
                  (json_int_t)qk_model_bytes(model), "d_ffn", c->d_ffn, "vocabulary", c->n_vocab,
                  "tied_embeddings", c->tied_embeddings, "sliding_window", c->sliding_window, "rms_norm_eps",
                  c->rms_norm_eps, "softmax_scale", c->softmax_scale, "rope_factor", c->rope_factor, "attention_factor",
                  attention_factor, "tokenizer", tokenizer_json(model), "dtypes", dtypes_json(model)));
    return row;
}

/* ---- tables */

static const char *norm_name(qk_qk_norm norm)
{
    static const char *const names[] = { "none", "per head", "whole projection" };
    return names[norm];
}

static void print_architecture(const json_t *row, const qk_config *c)
{
    char count[32], bytes[32];
    const json_t *tokenizer = json_object_get(row, "tokenizer");
    printf("%s: %s, %s, %s, %s parameters\n", cli_text(row, "name"), c->model_type, cli_text(row, "format"),
           cli_human_bytes(bytes, cli_number(row, "bytes")), cli_human_count(count, cli_number(row, "parameters")));
    printf("  layers        %d, model width %d, feed-forward %d, vocabulary %d%s\n", c->n_layers, c->d_model, c->d_ffn,
           c->n_vocab, c->tied_embeddings ? " (tied)" : "");
    printf("  attention     %d query heads, %d key/value heads, head dim %d, softmax scale %.6g", c->n_heads,
           c->n_kv_heads, c->head_dim, c->softmax_scale);
    if (c->sliding_window) printf(", window %d from layer %d", c->sliding_window, c->first_window_layer);
    printf("\n  norms         q %s, k %s, epsilon %g\n", norm_name(c->q_norm), norm_name(c->k_norm), c->rms_norm_eps);
    printf("  position      %s", cli_text(row, "rope"));
    if (c->rope_kind != QK_ROPE_NONE) printf(", theta %g, factor %g", c->rope_theta, c->rope_factor);
    printf(" (%s); trained context %d tokens\n", c->attention_type, c->n_context);
    if (json_is_string(json_object_get(tokenizer, "kind")))
        printf("  tokenizer     %s, %.0f tokens, BOS %s\n", cli_text(tokenizer, "kind"),
               cli_number(tokenizer, "vocabulary"),
               json_is_true(json_object_get(tokenizer, "adds_bos")) ? "added" : "not added");
    else
        printf("  tokenizer     none: %s\n", cli_text(tokenizer, "error"));
    if (strcmp(cli_text(row, "quantize"), "none") != 0)
        printf("  quantised     %s, %.0f matrices; %.0f stay as they are\n", cli_text(row, "quantize"),
               cli_number(row, "quantized_matrices"), cli_number(row, "kept_matrices"));
    if (*cli_text(row, "sha256")) printf("  sha256        %s\n", cli_text(row, "sha256"));
}

static qk_status print_tensors(const json_t *row, bool all, qk_error *err)
{
    static const char *const heads[] = { "dtype", "tensors", "size" }, *const all_heads[] = { "tensor", "dtype",
                                                                                              "shape", "size" };
    cli_table table;
    size_t i;
    json_t *item;
    char bytes[32];
    putchar('\n');
    cli_table_start(&table, all ? all_heads : heads, all ? "lllr" : "lrr");
    json_array_foreach(json_object_get(row, all ? "tensors" : "dtypes"), i, item) {
        if (all) {
            char *shape = json_dumps(json_object_get(item, "shape"), JSON_COMPACT);
            cli_table_add(&table, "%s", cli_text(item, "name"));
            cli_table_add(&table, "%s", cli_text(item, "dtype"));
            cli_table_add(&table, "%s", shape ? shape : "");
            free(shape);
        } else {
            cli_table_add(&table, "%s", cli_text(item, "dtype"));
            cli_table_add_number(&table, cli_number(item, "tensors"), 0);
        }
        cli_table_add(&table, "%s", cli_human_bytes(bytes, cli_number(item, "bytes")));
    }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_rotation(const json_t *row, const qk_config *c, qk_error *err)
{
    static const char *const heads[] = { "pair", "dims", "inv_freq", "wavelength", "rotations", "" };
    cli_table table;
    size_t i, n_slow = 0;
    json_t *pair;
    if (c->rope_kind == QK_ROPE_NONE) {
        puts("\nno rotation: every pair of dims keeps its direction");
        return QK_OK;
    }
    putchar('\n');
    cli_table_start(&table, heads, "rrrrrl");
    json_array_foreach(json_object_get(row, "pairs"), i, pair) {
        bool slow = json_is_true(json_object_get(pair, "slow"));
        cli_table_add(&table, "%zu", i);
        cli_table_add(&table, "%zu, %zu", i, i + (size_t)c->head_dim / 2);
        cli_table_add(&table, "%.6g", cli_number(pair, "inv_freq"));
        cli_table_add(&table, "%.6g", cli_number(pair, "wavelength"));
        cli_table_add(&table, "%.4g", cli_number(pair, "rotations"));
        cli_table_add(&table, "%s", slow ? "never completes one" : "");
        n_slow += slow;
    }
    qk_status status = cli_table_print(&table, stdout, err);
    printf("%zu of %d pairs never complete a rotation over the trained context of %d tokens\n", n_slow, c->head_dim / 2,
           c->n_context);
    return status;
}

static void print_plan(const json_t *row)
{
    char weights[32], layer[32], streams[32], scratch[32], total[32], flops[32];
    const json_t *plan = json_object_get(row, "plan");
    printf("\na pass over one document of %.0f tokens: %s of weights read, %s FLOP\n", cli_number(plan, "tokens"),
           cli_human_bytes(weights, cli_number(plan, "weight_bytes")),
           cli_human_count(flops, cli_number(plan, "flops")));
    printf("  memory        %s at most: weights of one layer %s, streams %s, scratch %s\n",
           cli_human_bytes(total, cli_number(plan, "total_bytes")),
           cli_human_bytes(layer, cli_number(plan, "layer_bytes")),
           cli_human_bytes(streams, cli_number(plan, "stream_bytes")),
           cli_human_bytes(scratch, cli_number(plan, "scratch_bytes")));
    printf("  kernels       level %s\n", cli_text(row, "level"));
}

static qk_status print_all(const cli_command *command, const json_t *row, const qk_config *config, qk_error *err)
{
    if (command->options.json) return cli_print_json(row, err);
    print_architecture(row, config);
    qk_status status = print_tensors(row, command->options.verbose, err);
    if (!status) status = print_rotation(row, config, err);
    if (!status) print_plan(row);
    return status;
}

static qk_status run_info(cli_command *command, qk_error *err)
{
    cli_models models = { 0 };
    json_t *row = NULL, *plan = NULL;
    qk_status status = cli_load_models(&models, command, command->arguments, command->options.verbose, err);
    if (status) return status;
    const qk_model *model = models.items[0].model;
    qk_compute compute = cli_compute(command, &models, USUAL_CONTEXT);
    status = plan_json(&plan, model, &compute, err);
    if (!status) row = model_json(&models, &compute);
    if (!status && !row) status = qk_out_of_memory(err, "model", 0);
    if (row) json_object_set(row, "plan", plan);
    if (row) json_object_set_new(row, "level", json_string(qk_level_name(compute.level)));
    if (row && command->options.verbose) json_object_set_new(row, "tensors", tensors_json(model));
    cli_progress_clear(&command->progress);
    if (!status) status = print_all(command, row, &model->config, err);
    json_decref(row);
    json_decref(plan);
    cli_models_free(&models);
    return status;
}

static const cli_option_id info_options[] = {
    OPTION_CONTEXT,  OPTION_MAX_MEM,   OPTION_THREADS, OPTION_JSON,
    OPTION_QUANTIZE, OPTION_CACHE_DIR, OPTIONS_TALK,   OPTION_END,
};

const cli_verb verb_info = {
    .name = "info",
    .run = run_info,
    .arguments = "MODEL",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = info_options,
    .line = "Say what a checkpoint holds: architecture, tensors, tokenizer, rotary table, memory",
    .details = "The rotary table counts dims in Hugging Face order (a pair is d and d + head dim/2) whatever the file. "
               "-v lists "
               "every tensor and hashes the weights.",
    .examples = "  qkscope info models/tiny\n  qkscope info model.gguf -c 4096 --json\n"
                "  qkscope info models/tiny --quantize nf4",
};
