/* load.c - the models and documents that a verb was given, and how it is to compute. */
#include "cli/verbs.h"

#include <ctype.h>
#include <limits.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>

/* ---- models */

/* In the order of the Hugging Face libraries. */
const char *cli_cache_folder(cli_command *command)
{
    static const struct {
        const char *variable, *below;
    } places[] = {
        { "HF_HUB_CACHE", "" },
        { "HUGGINGFACE_HUB_CACHE", "" },
        { "HF_HOME", "/hub" },
        { "XDG_CACHE_HOME", "/huggingface/hub" },
        { "HOME", "/.cache/huggingface/hub" },
    };
    if (command->options.cache_dir) return command->options.cache_dir;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *value = getenv(places[i].variable);
        if (!value || !*value) continue;
        char *path = qk_arena_alloc(&command->arena, strlen(value) + strlen(places[i].below) + 1);
        if (path) strcat(strcpy(path, value), places[i].below);
        return path;
    }
    return NULL;
}

static bool named(const cli_models *models, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(models->items[i].name, name) == 0) return true;
    return false;
}

/* The last part of the path without its ending ("model.safetensors" says nothing: its folder's name), made unique, and
 * the suffix. */
static const char *name_model(const cli_models *models, size_t n_named, const char *path, const char *suffix,
                              qk_arena *arena)
{
    static const char *const endings[] = { ".safetensors", ".gguf", ".bin" };
    char real[PATH_MAX];
    const char *end = realpath(path, real) ? (path = real, real + strlen(real)) : path + strlen(path);
    const char *start = end;
    while (start > path && start[-1] != '/') start--;
    if (strncmp(start, "model.", 6) == 0 && start > path + 1) {
        end = start - 1;
        for (start = end; start > path && start[-1] != '/';) start--;
    }
    size_t n = (size_t)(end - start);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t k = strlen(endings[i]);
        if (n > k && strncmp(end - k, endings[i], k) == 0 && end == path + strlen(path)) n -= k;
    }
    char *name = qk_arena_alloc(arena, n + strlen(suffix) + 24);
    if (!name) return NULL;
    memcpy(name, n ? start : "model", n ? n : 5);
    if (n == 0) n = 5;
    strcpy(name + n, suffix);
    for (unsigned k = 2; named(models, n_named, name); k++) sprintf(name + n, "-%u%s", k, suffix);
    return name;
}

const char *cli_model_file_name(const char *path, qk_arena *arena)
{
    const char *name = name_model(&(cli_models){ 0 }, 0, path, "", arena);
    return name ? name : "model";
}

/* Numbers in fewer bits, or, where nothing is going to be computed, only what they would take. */
static qk_status quantize(cli_command *command, const qk_named_model *model, qk_quantization how, uint64_t held,
                          qk_error *err)
{
    const cli_options *options = &command->options;
    qk_progress progress = cli_progress_callback(&command->progress);
    size_t left = options->max_mem > held ? options->max_mem - held : options->max_mem ? 1 : 0;
    bool runs = !options->dry_run && command->verb != &verb_info;
    qk_status status = runs ? qk_model_quantize(model->model, how, (int)options->threads, left, &progress, err)
                            : qk_model_quantize_sizes(model->model, how, left, err);
    const qk_quantized *q = &model->model->quantized;
    if (!status && q->n_kept)
        cli_say(command, "note: %s: %zu of %zu matrices stay as they are: rows of %llu do not divide into blocks (%s)",
                model->name, q->n_kept, q->n_kept + q->n_tensors, (unsigned long long)q->first_kept->shape[1],
                q->first_kept->name);
    return status;
}

/* `held`: bytes of quantised weights so far. */
static qk_status load_model(cli_models *models, const char *path, qk_quantization how, uint64_t *held, bool hashed,
                            cli_command *command, qk_error *err)
{
    size_t index = models->n;
    qk_named_model *model = &models->items[index];
    qk_progress progress = cli_progress_callback(&command->progress);
    char suffix[16] = "";
    qk_status status = qk_model_open(&model->model, path, cli_cache_folder(command), err);
    if (status) return status;
    models->paths[index] = path;
    models->n = index + 1;
    if (how != QK_QUANTIZE_NONE) snprintf(suffix, sizeof suffix, "@%s", qk_quantization_name(how));
    model->name = name_model(models, index, path, suffix, &command->arena);
    if (!model->name) return qk_out_of_memory(err, path, PATH_MAX);
    if (hashed && index > 0 && models->paths[index - 1] == path)
        memcpy(model->sha256, models->items[index - 1].sha256, sizeof model->sha256);
    else if (hashed)
        status = qk_ckpt_hash(model->sha256, model->model->ckpt, &progress, err);
    if (!status) status = quantize(command, model, how, *held, err);
    if (!status) *held += model->model->quantized.n_bytes;
    return status;
}

static qk_status check_ways(const cli_command *command, size_t n_ways, qk_error *err)
{
    if (n_ways <= 1 || command->verb->max_arguments == SIZE_MAX) return QK_OK;
    return qk_fail(err, QK_E_ARGUMENT, "--quantize: expected one way for %s, which runs one model, found %zu",
                   command->verb->name, n_ways);
}

qk_status cli_load_models(cli_models *out, cli_command *command, cli_list paths, bool hashed, qk_error *err)
{
    size_t n_ways = (size_t)__builtin_popcount((unsigned)command->options.quantize);
    uint64_t held = 0;
    cli_models models = { 0 };
    qk_status status = check_ways(command, n_ways, err);
    if (!status) status = qk_new_array(&models.items, paths.n * n_ways, sizeof *models.items, "models", err);
    if (!status) status = qk_new_array(&models.paths, paths.n * n_ways, sizeof *models.paths, "models", err);
    for (size_t i = 0; i < paths.n; i++)
        for (int how = 0; how < QK_N_QUANTIZATIONS && !status; how++)
            if (command->options.quantize >> how & 1)
                status = load_model(&models, paths.items[i], (qk_quantization)how, &held, hashed, command, err);
    for (size_t i = 0; i < models.n; i++)
        models.items[i].model->beside_bytes = held - models.items[i].model->quantized.n_bytes;
#ifdef __GLIBC__
    malloc_trim(0); /* what parsing a large tokenizer took goes back to the system before the pass counts its memory */
#endif
    if (status)
        cli_models_free(&models);
    else
        *out = models;
    return status;
}

void cli_models_free(cli_models *models)
{
    for (size_t i = 0; i < models->n; i++) qk_model_close(models->items[i].model);
    free(models->items);
    free(models->paths);
    *models = (cli_models){ 0 };
}

/* ---- documents */

static void hash_set(qk_documents *documents)
{
    qk_sha256 hash;
    qk_sha256_start(&hash);
    for (size_t i = 0; i < documents->n; i++) qk_sha256_add(&hash, documents->items[i].sha256, 64);
    qk_sha256_hex(documents->sha256, &hash);
}

/* Of the built-in set: every other one of a category is for calibration; all others are measured. */
static bool for_calibration(const qk_documents *documents, size_t index)
{
    size_t before = 0;
    if (documents->items[index].repetitive) return false;
    for (size_t i = 0; i < index; i++)
        before += strcmp(documents->items[i].category, documents->items[index].category) == 0 &&
                  !documents->items[i].repetitive;
    return before % 2 == 0;
}

enum { PART_ALL, PART_CALIBRATION, PART_EVALUATION };

/* The built-in documents of one part, at most `limit` (0 = all). */
static qk_status load_builtin(qk_documents *out, int part, size_t limit, qk_error *err)
{
    qk_documents all = { 0 }, kept = { 0 }, rest = { 0 };
    qk_status status = qk_documents_builtin(&all, err);
    if (!status) status = qk_new_array(&kept.items, all.n, sizeof *kept.items, "documents", err);
    if (!status) status = qk_new_array(&rest.items, all.n, sizeof *rest.items, "documents", err);
    if (status) {
        free(kept.items);
        qk_documents_free(&all);
        return status;
    }
    for (size_t i = 0; i < all.n; i++) {
        bool wanted = part == PART_ALL || for_calibration(&all, i) == (part == PART_CALIBRATION);
        qk_documents *to = wanted && (limit == 0 || kept.n < limit) ? &kept : &rest;
        to->items[to->n++] = all.items[i];
    }
    free(all.items); /* its documents live in the two others now */
    qk_documents_free(&rest);
    hash_set(&kept);
    *out = kept;
    return QK_OK;
}

static qk_status load_texts(qk_documents *out, cli_command *command, cli_list paths, int builtin_part, qk_error *err)
{
    qk_documents_options options = { command->options.split, command->options.limit };
    if (paths.n > 0) return qk_documents_load(out, paths.items, paths.n, &options, err);
    if (command->options.split) return qk_fail(err, QK_E_ARGUMENT, "--split: expected --texts beside it, found none");
    return load_builtin(out, builtin_part, command->options.limit, err);
}

qk_status cli_load_documents(qk_documents *out, cli_command *command, qk_error *err)
{
    return load_texts(out, command, command->options.texts, PART_ALL, err);
}

qk_status cli_load_calibration(qk_documents *out, cli_command *command, size_t limit, qk_error *err)
{
    const cli_options *options = &command->options;
    if (!options->calib.n) return load_builtin(out, PART_CALIBRATION, 0, err);
    return qk_documents_load(out, options->calib.items, options->calib.n,
                             &(qk_documents_options){ options->split, limit }, err);
}

qk_status cli_load_divided(qk_documents *calibration, qk_documents *evaluation, cli_command *command, qk_error *err)
{
    const cli_options *options = &command->options;
    qk_documents first = { 0 };
    qk_status status = cli_load_calibration(&first, command, options->limit, err);
    if (!status) status = load_texts(evaluation, command, options->texts, PART_EVALUATION, err);
    if (status)
        qk_documents_free(&first);
    else
        *calibration = first;
    return status;
}

/* ---- compute */

qk_status cli_choose_layers(const uint8_t **layers, cli_command *command, const cli_models *models, qk_error *err)
{
    int n_layers = models->items[0].model->config.n_layers;
    if (!command->options.layers) return QK_OK;
    for (size_t i = 1; i < models->n; i++)
        if (models->items[i].model->config.n_layers < n_layers) n_layers = models->items[i].model->config.n_layers;
    uint8_t *flags = qk_arena_alloc(&command->arena, (size_t)n_layers);
    if (!flags) return qk_out_of_memory(err, "--layers", (size_t)n_layers);
    *layers = flags;
    return cli_parse_ranges(flags, (size_t)n_layers, "--layers", "layer", command->options.layers, err);
}

qk_compute cli_compute(cli_command *command, const cli_models *models, size_t usual_context)
{
    cli_options *options = &command->options;
    for (size_t i = 0; i < models->n && !options->given[OPTION_CONTEXT]; i++) {
        size_t trained = (size_t)models->items[i].model->config.n_context;
        if (usual_context == 0 || (trained && trained < usual_context)) usual_context = trained;
    }
    if (!options->given[OPTION_CONTEXT]) options->context = usual_context;
    return (qk_compute){
        .max_tokens = options->context,
        .no_bos = options->no_bos,
        .precision = (qk_precision)options->precision,
        .level = options->level,
        .reference = options->reference,
        .n_threads = (int)options->threads,
        .max_bytes = options->max_mem,
        .progress = cli_progress_callback(&command->progress),
    };
}
