/* train.c - train a model: from scratch by a config.json, or on from a checkpoint's weights. */
#include <stdlib.h>
#include <string.h>

#include "cli/tracking.h"
#include "cli/verbs.h"

/* Does the path name a file that begins as JSON does? */
static bool is_config(const char *path)
{
    qk_map map;
    if (qk_path_is_folder(path) || qk_map_open(&map, path, NULL)) return false;
    size_t at = 0;
    while (at < map.size && at < 64 && memchr(" \t\r\n", map.data[at], 4)) at++;
    bool json = at < map.size && map.data[at] == '{';
    qk_map_close(&map);
    return json;
}

/* The weights at the start depend on this.  Hashes the model's. */
static qk_status start_json(json_t **out, cli_command *command, qk_named_model *source, bool scratch, qk_error *err)
{
    qk_progress progress = cli_progress_callback(&command->progress);
    json_t *config = NULL;
    qk_status status = qk_config_to_json(&config, &source->model->config, NULL, err);
    if (!status && !scratch) status = qk_ckpt_hash(source->sha256, source->model->ckpt, &progress, err);
    if (status) {
        json_decref(config);
        return status;
    }
    *out = scratch ? json_pack("{s:o, s:f}", "config", config, "init_std", command->options.init_std)
                   : json_pack("{s:o, s:s}", "config", config, "weights", source->sha256);
    return *out ? QK_OK : qk_out_of_memory(err, "settings", sizeof **out);
}

static qk_status open_source(qk_model **out, cli_command *command, bool scratch, qk_error *err)
{
    const cli_options *o = &command->options;
    const char *path = command->arguments.items[0];
    if (scratch) return qk_model_open_bare(out, path, o->tokenizer, err);
    if (o->tokenizer || o->given[OPTION_INIT_STD])
        return qk_fail(err, QK_E_ARGUMENT, "--%s: expected a config.json, found a model, which has its own",
                       o->tokenizer ? "tokenizer" : "init-std");
    return qk_model_open(out, path, cli_cache_folder(command), err);
}

/* Its weights have been copied: their pages need not stay. */
static void release(const qk_model *model)
{
    for (size_t i = 0; i < qk_ckpt_count(model->ckpt); i++) {
        const qk_tensor *tensor = qk_ckpt_at(model->ckpt, i);
        qk_ckpt_release(model->ckpt, tensor, 0, tensor->n_bytes);
    }
}

/* What a tracked run prints: nothing, the training has been told of. */
static qk_status print_nothing(const json_t *results, bool verbose, qk_error *err)
{
    (void)results, (void)verbose, (void)err;
    return QK_OK;
}

static qk_status run_tracked(cli_training *training, cli_command *command, const cli_models *models,
                             qk_parameters *parameters, qk_error *err)
{
    const cli_options *o = &command->options;
    const cli_arm arm = { .study = "train", .name = models->items[0].name, .kind = "train" };
    cli_tracking tracking = { 0 };
    qk_training_result result;
    json_t *object = NULL;
    qk_status status = QK_OK;
    if (o->track) status = cli_tracking_open(&tracking, training, command, models, &arm, parameters, err);
    if (!status) status = cli_training_run(&result, training, parameters, err);
    if (!status) status = cli_training_write(&object, training, command, parameters, &result, NULL, err);
    if (!status && !o->json) cli_training_print(&result);
    if (!status && o->track) status = cli_tracking_finish(&tracking, command, &result, NULL, print_nothing, err);
    else if (!status && o->json) status = cli_print_json(object, err);
    if (!status && !o->json) puts(o->output);
    json_decref(object);
    cli_tracking_close(&tracking);
    return status;
}

static qk_status train(cli_command *command, cli_training *training, const cli_models *models, bool scratch,
                       qk_error *err)
{
    const cli_options *o = &command->options;
    qk_model *source = models->items[0].model;
    qk_parameters *parameters = NULL;
    qk_status status = qk_parameters_new(&parameters, &source->config, source, err);
    if (!status && scratch) qk_parameters_randomise(parameters, o->init_std, o->seed);
    if (!status && !scratch) status = qk_parameters_copy(parameters, source, err);
    if (!status && !scratch) release(source);
    qk_named_model trained = models->items[0];
    cli_models present = *models;
    present.items = &trained;
    if (!status && scratch) trained.model = parameters->model; /* a configuration alone has no weights to tell of */
    if (!status) status = run_tracked(training, command, &present, parameters, err);
    qk_parameters_free(parameters);
    return status;
}

static qk_status run_train(cli_command *command, qk_error *err)
{
    bool scratch = is_config(command->arguments.items[0]);
    qk_named_model named = { .name = "scratch" };
    cli_models models = { .items = &named, .n = 1, .paths = command->arguments.items };
    cli_training training;
    json_t *start = NULL;
    qk_status status = open_source(&named.model, command, scratch, err);
    if (!status && !scratch) named.name = cli_model_file_name(command->arguments.items[0], &command->arena);
    if (!status) status = start_json(&start, command, &named, scratch, err);
    if (!status) status = cli_training_open(&training, command, &named.model->config, named.model, start, err);
    if (!status) {
        if (command->options.dry_run) status = cli_training_print_plan(&training, command, err);
        else status = train(command, &training, &models, scratch, err);
        cli_training_close(&training);
    }
    qk_model_close(named.model);
    return status;
}

static const cli_option_id train_options[] = {
    OPTIONS_TRAINING, OPTION_TOKENIZER, OPTION_INIT_STD, OPTIONS_TALK, OPTION_END,
};

const cli_verb verb_train = {
    .name = "train",
    .run = run_train,
    .arguments = "CONFIG.json|MODEL",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = train_options,
    .line = "Train a model, from scratch or on from a checkpoint",
    .details =
        "Rows of -c tokens are packed from documents in seeded order; a token sees its own document only, unless "
        "--across-documents. The folder of -o gets the trained model, training.json, log.jsonl (one object a step, "
        "one a look at the held-out loss; the same bytes for the same command), times.jsonl and checkpoints/. "
        "--resume continues from the newest checkpoint to the same bytes; --steps may be changed there where that "
        "changes no learning rate of the steps that are done (constant, or wsd before its fall; with --warmup "
        "given, which else depends on them). With --track the folder is a run folder too: massive values as they come, "
        "results.json, figures and report.html.",
    .examples = "  qkscope train config.json --tokenizer models/tiny --world 1 --steps 2000 -c 512 -o runs/scratch\n"
                "  qkscope train models/tiny --texts stories.jsonl --tokens 1000000 --lr 3e-4 -o runs/more\n"
                "  qkscope train models/tiny --texts stories.jsonl --tokens 1000000 --lr 3e-4 -o runs/more --resume",
};
