/* recalibrate.c - DroPE: a model loses its rotation, or a part of it, and trains on. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tracking.h"
#include "cli/verbs.h"
#include "measure/measure.h"
#include "study/temperature.h"
#include "train/checkpoint.h"
#include "train/drope.h"

#define TEMPERATURE_TOKENS 32768 /* about as many are read to fit it */
#define TRACKED_TIMES 20         /* where --track does not say */

typedef struct recalibration {
    cli_models models; /* one */
    qk_drope_plan plan;
    cli_training training;
    bool has_texts; /* training is open */
    qk_drope *drope;
    cli_tracking tracking;
    qk_temperature temperature;
    bool fitted;
} recalibration;

/* ---- what is taken away */

static qk_status choose_layers(qk_drope_plan *plan, cli_command *command, const qk_config *c, qk_error *err)
{
    const char *text = command->options.drop_layers;
    if (!text) return QK_OK;
    uint8_t *layers = qk_arena_alloc(&command->arena, (size_t)c->n_layers);
    if (!layers) return qk_out_of_memory(err, "--drop-layers", (size_t)c->n_layers);
    plan->layers = layers;
    return cli_parse_ranges(layers, (size_t)c->n_layers, "--drop-layers", "layer", text, err);
}

/* slow: pairs that never complete a turn over the trained context; fast: the others; else a list. */
static qk_status choose_pairs(qk_drope_plan *plan, cli_command *command, const qk_config *c, qk_error *err)
{
    const char *text = command->options.drop_pairs;
    size_t half = (size_t)c->head_dim / 2;
    double factor;
    if (!text) return QK_OK;
    uint8_t *pairs = qk_arena_alloc(&command->arena, half);
    float *inv_freq = qk_arena_alloc(&command->arena, half * sizeof *inv_freq);
    if (!pairs || !inv_freq) return qk_out_of_memory(err, "--drop-pairs", half);
    plan->pairs = pairs;
    bool slow = strcmp(text, "slow") == 0, fast = strcmp(text, "fast") == 0;
    if (!slow && !fast) return cli_parse_ranges(pairs, half, "--drop-pairs", "pair", text, err);
    qk_rope_frequencies(inv_freq, &factor, c, (size_t)c->n_context);
    qk_slow_pairs(pairs, inv_freq, (int)half, c->n_context);
    size_t n = 0;
    for (size_t m = 0; m < half; m++) {
        pairs[m] = fast ? !pairs[m] : pairs[m];
        n += pairs[m];
    }
    if (n > 0 || c->rope_kind == QK_ROPE_NONE) return QK_OK;
    return qk_fail(err, QK_E_ARGUMENT, "--drop-pairs %s: expected such pairs over %d tokens, found none", text,
                   c->n_context);
}

static qk_status make_plan(recalibration *r, cli_command *command, qk_error *err)
{
    cli_options *o = &command->options;
    const qk_config *c = &r->models.items[0].model->config;
    if (o->given[OPTION_CONTROL] && o->control != CONTROL_ROPE)
        return qk_fail(err, QK_E_ARGUMENT, "--control: expected rope, found %s",
                       cli_choice_name(OPTION_CONTROL, o->control));
    if (!o->given[OPTION_CONTROL]) o->control = CONTROL_NONE;
    r->plan = (qk_drope_plan){ .keep = o->control == CONTROL_ROPE,
                               .n_gradual = o->gradual,
                               .law = (qk_gradual_law)o->gradual_law,
                               .q_norm = o->qk_norm & QK_NORM_ON_Q,
                               .k_norm = o->qk_norm & QK_NORM_ON_K };
    if (r->plan.keep && (o->drop_layers || o->drop_pairs || o->gradual))
        return qk_fail(err, QK_E_ARGUMENT, "--control rope: expected no --%s beside it",
                       o->drop_layers  ? "drop-layers"
                       : o->drop_pairs ? "drop-pairs"
                                       : "gradual");
    if (o->given[OPTION_GRADUAL_LAW] && !o->gradual)
        return qk_fail(err, QK_E_ARGUMENT, "--gradual-law: expected --gradual beside it, found none");
    qk_status status = choose_layers(&r->plan, command, c, err);
    return status ? status : choose_pairs(&r->plan, command, c, err);
}

/* ---- settings and notes */

/* Layers as 0 and 1, null where all are meant. */
static json_t *mask_json(const uint8_t *mask, size_t n)
{
    json_t *list = mask ? json_array() : json_null();
    for (size_t i = 0; mask && list && i < n; i++) json_array_append_new(list, json_integer(mask[i]));
    return list;
}

/* What the weights and the rotation at the start depend on. */
static json_t *start_json(const recalibration *r, const cli_command *command)
{
    const qk_config *c = &r->models.items[0].model->config;
    const cli_options *o = &command->options;
    return json_pack("{s:s, s:b, s:o, s:o, s:I, s:s, s:s}", "source_sha256", r->models.items[0].sha256, "keep",
                     r->plan.keep, "layers", mask_json(r->plan.layers, (size_t)c->n_layers), "pairs",
                     mask_json(r->plan.pairs, (size_t)c->head_dim / 2), "gradual", (json_int_t)o->gradual,
                     "gradual_law", cli_choice_name(OPTION_GRADUAL_LAW, o->gradual_law), "qk_norm",
                     o->qk_norm ? cli_choice_name(OPTION_QK_NORM, o->qk_norm) : "none");
}

/* {"recalibration": {...}, "temperature": {...} or null} for training.json and results.json. */
static json_t *notes_json(const recalibration *r, const cli_command *command)
{
    size_t n_layers, n_pairs;
    qk_config c = qk_drope_parameters(r->drope)->model->config;
    qk_config_settle(&c);
    qk_drope_extent(&n_layers, &n_pairs, r->drope);
    json_t *temperature = r->fitted ? qk_temperature_json(&r->temperature) : json_null();
    json_t *start = start_json(r, command);
    json_t *what =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:f}", "source", r->models.items[0].name, "model_type", c.model_type,
                  "attention_type", c.attention_type, "layers_without_rotation", (json_int_t)n_layers,
                  "pairs_without_rotation", (json_int_t)n_pairs, "softmax_scale", c.softmax_scale);
    if (what && start) json_object_update_missing(what, start);
    json_decref(start);
    return json_pack("{s:o, s:o}", "recalibration", what, "temperature", temperature);
}

/* ---- what is said */

static void print_temperature(const json_t *t)
{
    if (!json_is_object(t)) return;
    printf("temperature for %.0f tokens (%.3g times the trained context): beta %.3f, %.4f nats a token (%.4f at beta "
           "1)\n",
           cli_number(t, "context"), cli_number(t, "stretch"), cli_number(t, "beta"), cli_number(t, "nll"),
           cli_number(t, "nll_at_one"));
    printf("  within the trained context: %.4f (%.4f at beta 1); the paper: %.3f from scratch, %.3f recalibrated\n",
           cli_number(t, "trained_nll"), cli_number(t, "trained_nll_at_one"), cli_number(t, "paper_scratch"),
           cli_number(t, "paper_pretrained"));
}

static void print_start(const json_t *notes)
{
    const json_t *what = json_object_get(notes, "recalibration");
    double n_layers = cli_number(what, "layers_without_rotation"), n_pairs = cli_number(what, "pairs_without_rotation");
    if (n_layers > 0)
        printf("%s: %.0f rotary pairs of %.0f layers lost their rotation; written as %s (%s)\n",
               cli_text(what, "source"), n_pairs, n_layers, cli_text(what, "model_type"),
               cli_text(what, "attention_type"));
    else
        printf("%s: the rotation is kept; written as %s\n", cli_text(what, "source"), cli_text(what, "model_type"));
}

/* Loss of the probe documents, row by row. */
static qk_status print_track(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "steps", "tokens", "rotation", "probe loss", "massive q",
                                         "k",     "v",      "zeroed",   "mean",       "sink rate" };
    cli_table table;
    size_t i;
    json_t *row;
    if (json_array_size(json_object_get(results, "track")) == 0) return QK_OK;
    cli_table_start(&table, heads, "rrrrrrrrrr");
    json_array_foreach(json_object_get(results, "track"), i, row)
    {
        const json_t *totals = json_object_get(row, "totals"), *ablation = json_object_get(row, "ablation");
        cli_table_add_number(&table, cli_number(row, "step"), 0);
        cli_table_add_number(&table, cli_number(row, "tokens"), 0);
        cli_table_add_number(&table, cli_number(row, "rotation"), 2);
        cli_table_add_number(&table, cli_number(row, "loss"), 4);
        cli_table_add_number(&table, cli_number(json_object_get(totals, "q"), "count"), 0);
        cli_table_add_number(&table, cli_number(json_object_get(totals, "k"), "count"), 0);
        cli_table_add_number(&table, cli_number(json_object_get(totals, "v"), "count"), 0);
        cli_table_add_number(&table, cli_number(ablation, "zero"), 4);
        cli_table_add_number(&table, cli_number(ablation, "mean"), 4);
        cli_table_add_number(&table, cli_number(row, "sink_rate"), 3);
    }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_results(const json_t *results, bool verbose, qk_error *err)
{
    const json_t *arm = json_array_get(json_object_get(results, "arms"), 0);
    (void)verbose;
    print_start(arm);
    qk_status status = print_track(results, err);
    print_temperature(json_object_get(arm, "temperature"));
    return status;
}

static void say_form(cli_command *command, const json_t *notes)
{
    const json_t *what = json_object_get(notes, "recalibration");
    if (strncmp(cli_text(what, "model_type"), "qkscope_", 8) == 0)
        cli_say(command, "note: no published class computes this model: %s is read by qkscope only",
                cli_text(what, "model_type"));
    if (json_is_true(json_object_get(json_object_get(notes, "temperature"), "at_edge")))
        cli_say(command, "note: the loss still falls at the end of the range: beta %.3f is that end",
                cli_number(json_object_get(notes, "temperature"), "beta"));
}

/* ---- the parts of the work */

static qk_status fit_temperature(recalibration *r, cli_command *command, qk_error *err)
{
    const cli_options *o = &command->options;
    qk_model *model = qk_drope_parameters(r->drope)->model;
    qk_documents documents = { 0 };
    qk_sequence *sequences = NULL;
    int32_t *joined = NULL;
    size_t n = 0, trained = (size_t)model->config.n_context, context = o->temperature_context;
    if (!context) return QK_OK;
    qk_compute compute = { .precision = (qk_precision)o->precision,
                           .level = o->level,
                           .reference = o->reference,
                           .n_threads = (int)o->threads,
                           .max_bytes = o->max_mem,
                           .progress = cli_progress_callback(&command->progress) };
    qk_status status =
        cli_pick_held_out(&documents, &r->training, 0, o->across_documents ? 0 : trained, 0, TEMPERATURE_TOKENS, err);
    if (!status)
        status = qk_temperature_sequences(&sequences, &n, &joined, &documents, &model->config, context,
                                          TEMPERATURE_TOKENS, o->across_documents, err);
    if (!status) status = qk_temperature_fit(&r->temperature, model, sequences, n, &compute, err);
    if (!status) {
        r->fitted = true;
        model->config.softmax_scale = r->temperature.beta / sqrt(model->config.head_dim);
    }
    free(sequences);
    free(joined);
    qk_documents_free(&documents);
    return status;
}

static qk_status refuse_other_files(const char *folder, qk_error *err)
{
    size_t n = 0;
    DIR *files = opendir(folder);
    if (!files) return QK_OK; /* will be made, or refused with the reason */
    for (const struct dirent *file; (file = readdir(files));)
        n += strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0;
    closedir(files);
    if (n == 0) return QK_OK;
    return qk_fail(err, QK_E_ARGUMENT, "%s: expected a new folder or an empty one, found %zu other file%s", folder, n,
                   n == 1 ? "" : "s");
}

/* --steps 0: the conversion alone. */
static qk_status convert(recalibration *r, cli_command *command, qk_error *err)
{
    const qk_training_result nothing = { 0 };
    json_t *notes = NULL, *object = NULL;
    qk_status status = refuse_other_files(command->options.output, err);
    if (!status) status = fit_temperature(r, command, err);
    if (status) return status;
    notes = notes_json(r, command);
    if (!notes) return qk_out_of_memory(err, "training.json", 0);
    status = cli_training_write(&object, &r->training, command, qk_drope_parameters(r->drope), &nothing, notes, err);
    if (!status && command->options.json) status = cli_print_json(object, err);
    if (!status && !command->options.json) {
        print_start(notes);
        print_temperature(json_object_get(notes, "temperature"));
    }
    if (!status) say_form(command, notes);
    json_decref(notes);
    json_decref(object);
    return status;
}

static qk_status retrain(recalibration *r, cli_command *command, qk_error *err)
{
    const cli_arm arms[] = { { "recalibrate", "DroPE", "drope", true },
                             { "recalibrate", "RoPE control", "control", false } };
    qk_parameters *parameters = qk_drope_parameters(r->drope);
    qk_training_result result;
    json_t *notes = NULL, *object = NULL;
    cli_arm arm = arms[r->plan.keep];
    arm.changed = arm.changed || command->options.qk_norm;
    cli_training_add_hook(&r->training, qk_drope_hook(r->drope));
    qk_status status = cli_tracking_open(&r->tracking, &r->training, command, &r->models, &arm, parameters, err);
    if (!status) status = cli_training_run(&result, &r->training, parameters, err);
    if (!status) status = fit_temperature(r, command, err);
    if (status) return status;
    notes = notes_json(r, command);
    if (!notes) return qk_out_of_memory(err, "training.json", 0);
    status = cli_training_write(&object, &r->training, command, parameters, &result, notes, err);
    if (!status && !command->options.json) cli_training_print(&result);
    if (!status) status = cli_tracking_finish(&r->tracking, command, &result, notes, print_results, err);
    if (!status) say_form(command, notes);
    json_decref(notes);
    json_decref(object);
    return status;
}

/* ---- the verb */

/* Held-out text for a measurement every twentieth of the steps, where nothing else was asked for. */
static qk_status usual_track(recalibration *r, cli_command *command, qk_error *err)
{
    cli_options *o = &command->options;
    qk_documents probe = { 0 };
    uint64_t n_steps = r->training.training.optimiser.n_steps;
    if (o->gradual > n_steps)
        return qk_fail(err, QK_E_ARGUMENT, "--gradual %llu: expected at most the %llu steps of the training",
                       (unsigned long long)o->gradual, (unsigned long long)n_steps);
    if (o->given[OPTION_TRACK]) return QK_OK;
    o->track = 0;
    qk_status status = cli_pick_held_out(&probe, &r->training, 2, 0, o->context, 0, err);
    if (!status && probe.n == 2)
        o->track = (n_steps + TRACKED_TIMES - 1) / TRACKED_TIMES;
    else if (!status)
        cli_say(command, "note: nothing is tracked: fewer than two held-out documents");
    qk_documents_free(&probe);
    return status;
}

/* Texts, where any are needed. */
static qk_status open_texts(recalibration *r, cli_command *command, bool bare, qk_error *err)
{
    const qk_model *source = r->models.items[0].model;
    qk_config config = source->config;
    if (bare && !command->options.temperature_context) return QK_OK;
    if (r->plan.q_norm) config.q_norm = QK_NORM_PROJECTION;
    if (r->plan.k_norm) config.k_norm = QK_NORM_PROJECTION;
    if (!bare && !command->options.given[OPTION_TRACK])
        command->options.track = 1; /* it will have its share of memory */
    json_t *start = start_json(r, command);
    if (!start) return qk_out_of_memory(err, "settings", 0);
    qk_status status = cli_training_open(&r->training, command, &config, source, start, err);
    r->has_texts = !status;
    return status || bare ? status : usual_track(r, command, err);
}

static qk_status recalibrate(recalibration *r, cli_command *command, qk_error *err)
{
    const cli_options *o = &command->options;
    bool bare = o->given[OPTION_STEPS] && o->steps == 0;
    if (!o->output && !o->dry_run)
        return qk_fail(err, QK_E_ARGUMENT, "-o: expected a folder for the new model, found none");
    if (bare && o->gradual) return qk_fail(err, QK_E_ARGUMENT, "--gradual: expected steps to train, found --steps 0");
    qk_status status = cli_load_models(&r->models, command, command->arguments, true, err);
    if (!status) status = make_plan(r, command, err);
    if (!status) status = open_texts(r, command, bare, err);
    if (!status && o->dry_run) return r->has_texts ? cli_training_print_plan(&r->training, command, err) : QK_OK;
    if (!status) status = qk_drope_new(&r->drope, r->models.items[0].model, &r->plan, err);
    if (status) return status;
    return bare ? convert(r, command, err) : retrain(r, command, err);
}

static qk_status run_recalibrate(cli_command *command, qk_error *err)
{
    recalibration r = { 0 };
    qk_status status = recalibrate(&r, command, err);
    cli_tracking_close(&r.tracking);
    if (r.has_texts) cli_training_close(&r.training);
    qk_drope_free(r.drope);
    cli_models_free(&r.models);
    return status;
}

static const cli_option_id recalibrate_options[] = {
    OPTION_DROP_LAYERS, OPTION_DROP_PAIRS,          OPTION_GRADUAL,   OPTION_GRADUAL_LAW, OPTION_QK_NORM,
    OPTION_CONTROL,     OPTION_TEMPERATURE_CONTEXT, OPTIONS_TRAINING, OPTIONS_TALK,       OPTION_END,
};

const cli_verb verb_recalibrate = {
    .name = "recalibrate",
    .run = run_recalibrate,
    .arguments = "MODEL",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = recalibrate_options,
    .line = "Take the rotation out of a model (DroPE) and train on, watching the massive values",
    .details =
        "The folder of -o becomes a model and a run folder in one: weights, config.json (llama_drope or qwen2_drope, "
        "which the published code opens; docs/FORMATS.md says when another form), tokenizer, training.json, log.jsonl, "
        "checkpoints/, results.json, figures and report.html. --control rope trains on the same text with the rotation "
        "kept: give both runs to `qkscope report`. --steps 0 converts and trains nothing; it needs no text. The "
        "temperature that --temperature-context fits is stored as softmax_scale. --resume continues to the same bytes.",
    .examples =
        "  qkscope recalibrate models/tiny --steps 0 -o models/tiny-nope\n"
        "  qkscope recalibrate models/tiny --world 1 --tokens 2000000 --track 50 -o runs/pair/drope\n"
        "  qkscope recalibrate models/tiny --world 1 --tokens 2000000 --track 50 --control rope -o runs/pair/rope\n"
        "  qkscope report runs/pair\n"
        "  qkscope recalibrate models/tiny --texts stories.jsonl --steps 500 --gradual 200 --gradual-law cubic "
        "--qk-norm qk --temperature-context 2048 -o runs/gradual",
};
