/* load.c - the models and documents that a verb was given, and how it is to compute. */
#include "cli/cli.h"

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

/* The last part of the path without its ending ("model.safetensors" says nothing: its folder's name), made unique. */
static const char *name_model(const cli_models *models, size_t n_named, const char *path, qk_arena *arena)
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
    char *name = qk_arena_alloc(arena, n + 24);
    if (!name) return NULL;
    memcpy(name, n ? start : "model", n ? n : 5);
    if (n == 0) n = 5;
    for (unsigned k = 2; named(models, n_named, name); k++) sprintf(name + n, "-%u", k);
    return name;
}

const char *cli_model_file_name(const char *path, qk_arena *arena)
{
    const char *name = name_model(&(cli_models){ 0 }, 0, path, arena);
    return name ? name : "model";
}

static qk_status load_model(cli_models *models, size_t index, const char *path, const char *cache, bool hashed,
                            cli_command *command, qk_error *err)
{
    qk_named_model *model = &models->items[index];
    qk_progress progress = cli_progress_callback(&command->progress);
    qk_status status = qk_model_open(&model->model, path, cache, err);
    if (status) return status;
    models->paths[index] = path;
    models->n = index + 1;
    model->name = name_model(models, index, path, &command->arena);
    if (!model->name) return qk_out_of_memory(err, path, PATH_MAX);
    return hashed ? qk_ckpt_hash(model->sha256, model->model->ckpt, &progress, err) : QK_OK;
}

qk_status cli_load_models(cli_models *out, cli_command *command, cli_list paths, bool hashed, qk_error *err)
{
    const char *cache = cli_cache_folder(command);
    cli_models models = { 0 };
    qk_status status = qk_new_array(&models.items, paths.n, sizeof *models.items, "models", err);
    if (!status) status = qk_new_array(&models.paths, paths.n, sizeof *models.paths, "models", err);
    for (size_t i = 0; i < paths.n && !status; i++)
        status = load_model(&models, i, paths.items[i], cache, hashed, command, err);
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
