/* conditions.c - which conditions a verb runs under: massive values broken, random ones, edits written out. */
#include "cli/conditions.h"

#include <stdlib.h>
#include <string.h>

enum { CALIBRATION_TOKENS = 512 /* of each document, as in disrupt */ };

/* ---- massive values and random ones */

static qk_disrupt_settings settings_of(const cli_options *options)
{
    qk_disrupt_settings settings = {
        .lambda = options->lambda,
        .criterion = (qk_criterion)options->criterion,
        .post_rotation = options->site == SITE_POST,
        .mean = options->op == OP_MEAN,
        .both_ops = (options->conditions & CONDITION_MEAN) != 0,
        .control = (qk_control)options->control,
        .n_controls = options->conditions & CONDITION_RANDOM ? options->given[OPTION_SEEDS] ? options->seeds : 1 : 0,
        .seed = options->seed,
        .top_k = 1,
        .preset = (qk_preset)options->preset,
    };
    for (int t = 0; t < QK_N_TENSORS; t++) settings.tensor[t] = options->tensors >> t & 1;
    size_t n_controls = settings.n_controls;
    settings = qk_disrupt_resolve(&settings);
    settings.n_controls = n_controls;
    return settings;
}

static qk_status plan_broken(cli_conditions *out, cli_command *command, const cli_models *models, qk_error *err)
{
    const cli_options *options = &command->options;
    const qk_named_model *model = &models->items[0];
    size_t n_layers = (size_t)model->model->config.n_layers;
    qk_disrupt_settings settings = settings_of(options);
    qk_documents calibration = { 0 }, others = { 0 };
    qk_status status = QK_OK;
    if (options->layers) {
        uint8_t *layers = qk_arena_alloc(&command->arena, n_layers);
        if (!layers) return qk_out_of_memory(err, "--layers", n_layers);
        settings.layers = layers;
        status = cli_parse_ranges(layers, n_layers, "--layers", "layer", options->layers, err);
    }
    qk_compute compute = { .max_tokens = CALIBRATION_TOKENS,
                           .no_bos = options->no_bos,
                           .precision = (qk_precision)options->precision,
                           .level = options->level,
                           .reference = options->reference,
                           .n_threads = (int)options->threads,
                           .max_bytes = options->max_mem,
                           .progress = cli_progress_callback(&command->progress) };
    if (model->model->config.n_context > 0 && model->model->config.n_context < CALIBRATION_TOKENS)
        compute.max_tokens = (size_t)model->model->config.n_context;
    if (!status) status = cli_load_divided(&calibration, &others, command, err);
    if (!status) status = qk_study_tokenize(&calibration, model, compute.max_tokens, options->no_bos, err);
    if (!status) status = qk_disrupt_plan_model(&out->plan, model, &calibration, &settings, n_layers, &compute, err);
    qk_documents_free(&calibration);
    qk_documents_free(&others);
    return status;
}

/* ---- edits written out */

static qk_status add_written(qk_condition *out, cli_command *command, const qk_config *config, qk_error *err)
{
    const cli_list *texts = &command->options.edits;
    qk_edit **parts = qk_arena_alloc(&command->arena, texts->n * sizeof *parts);
    size_t *sizes = qk_arena_alloc(&command->arena, texts->n * sizeof *sizes), n = 0, at = 0;
    qk_status status = parts && sizes ? QK_OK : qk_out_of_memory(err, "--edit", texts->n);
    for (size_t i = 0; i < texts->n && !status; i++) {
        status = cli_parse_edit(&parts[i], &sizes[i], &command->arena, texts->items[i], config,
                                command->options.seed + i, err);
        if (!status) n += sizes[i];
    }
    qk_edit *edits = status ? NULL : qk_arena_alloc(&command->arena, n * sizeof *edits);
    if (!status && !edits) status = qk_out_of_memory(err, "--edit", n * sizeof *edits);
    for (size_t i = 0; i < texts->n && !status; at += sizes[i++])
        memcpy(edits + at, parts[i], sizes[i] * sizeof *edits);
    if (!status) *out = (qk_condition){ .name = "edited", .edits = edits, .n_edits = n };
    return status;
}

/* ---- all of them */

/* Options of massive values where none are broken would be read by nobody. */
static qk_status check_options(const cli_options *options, qk_error *err)
{
    static const cli_option_id of_broken[] = { OPTION_LAMBDA,  OPTION_CRITERION, OPTION_SITE,   OPTION_OP,
                                               OPTION_TENSORS, OPTION_LAYERS,    OPTION_PRESET, OPTION_CALIB };
    static const cli_option_id of_random[] = { OPTION_CONTROL, OPTION_SEEDS };
    bool random = options->conditions & CONDITION_RANDOM;
    bool broken = options->conditions & (CONDITION_RANDOM | CONDITION_MASSIVE | CONDITION_MEAN);
    for (size_t i = 0; i < sizeof of_broken / sizeof *of_broken && !broken; i++)
        if (options->given[of_broken[i]])
            return qk_fail(err, QK_E_ARGUMENT, "--%s: expected --conditions massive or random beside it",
                           cli_option_name(of_broken[i]));
    for (size_t i = 0; i < sizeof of_random / sizeof *of_random && !random; i++)
        if (options->given[of_random[i]])
            return qk_fail(err, QK_E_ARGUMENT, "--%s: expected --conditions random beside it",
                           cli_option_name(of_random[i]));
    if (options->conditions & CONDITION_MEAN && options->preset == QK_PRESET_JIN)
        return qk_fail(err, QK_E_ARGUMENT, "--conditions mean: expected no --preset jin beside it, whose massive does so");
    if (options->control == CONTROL_ROPE)
        return qk_fail(err, QK_E_ARGUMENT, "--control: expected excluding, uniform or same-head, found rope");
    return QK_OK;
}

qk_status cli_load_conditions(cli_conditions *out, cli_command *command, const cli_models *models, qk_error *err)
{
    static const int bits[] = {
        [QK_ARM_BASELINE] = CONDITION_BASELINE, [QK_ARM_MASSIVE] = CONDITION_MASSIVE,
        [QK_ARM_RANDOM] = CONDITION_RANDOM, [QK_ARM_MEAN] = CONDITION_MEAN,
    };
    const cli_options *options = &command->options;
    qk_status status = check_options(options, err);
    bool broken = options->conditions & (CONDITION_MASSIVE | CONDITION_RANDOM | CONDITION_MEAN);
    if (!status && broken) status = plan_broken(out, command, models, err);
    if (status) return status;
    out->items = qk_arena_alloc(&command->arena, (out->plan.n_arms + 2) * sizeof *out->items);
    if (!out->items) return qk_out_of_memory(err, "conditions", out->plan.n_arms);
    if (!broken && (options->conditions & CONDITION_BASELINE || options->edits.n == 0))
        out->items[out->n++] = (qk_condition){ .name = "baseline" };
    for (size_t i = 0; i < out->plan.n_arms; i++) {
        const qk_arm *arm = &out->plan.arms[i];
        if (options->conditions & bits[arm->kind])
            out->items[out->n++] = (qk_condition){ arm->name, arm->edits, arm->n_edits };
    }
    if (options->edits.n) status = add_written(&out->items[out->n++], command, &models->items[0].model->config, err);
    return status;
}

void cli_conditions_free(cli_conditions *conditions)
{
    qk_arena_free(&conditions->plan.arena);
    *conditions = (cli_conditions){ 0 };
}
