/* training.c - texts, settings, memory and results of a training, whatever it begins with. */
#include "cli/training.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/checkpoint.h"

/* A tokenizer's tables, a token. */
#define TOKENIZER_BYTES 1024

/* ---- texts */

/* The last --hold-out percent of the documents of --texts, unless --valid names others. */
static qk_status divide(cli_training *t, cli_command *command, const qk_tokenizer *tokenizer, qk_error *err)
{
    const cli_options *o = &command->options;
    size_t n = t->documents.n, n_held = o->valid.n ? 0 : (size_t)floor((double)n * o->hold_out / 100);
    t->text = (qk_text){ .documents = &t->documents, .n = n - n_held, .tokenizer = tokenizer };
    t->held_out_text = (qk_text){ .documents = &t->documents, .first = n - n_held, .n = n_held,
                                  .tokenizer = tokenizer };
    if (o->valid.n || n_held || o->hold_out <= 0) return QK_OK;
    if (o->given[OPTION_HOLD_OUT])
        return qk_fail(err, QK_E_ARGUMENT, "--hold-out: %g %% of %zu document%s is none; --split makes more of a .txt",
                       o->hold_out, n, n == 1 ? "" : "s");
    cli_say(command, "no held-out loss: %g %% of %zu document%s is none", o->hold_out, n, n == 1 ? "" : "s");
    return QK_OK;
}

static qk_status load_set(qk_documents *out, const cli_command *command, cli_list paths, size_t limit,
                          const qk_tokenizer *tokenizer, qk_error *err)
{
    qk_status status = qk_documents_load(out, paths.items, paths.n,
                                         &(qk_documents_options){ command->options.split, limit }, err);
    return status ? status : qk_documents_tokenize(out, tokenizer, 0, command->options.no_bos, err);
}

static qk_status load_texts(cli_training *t, cli_command *command, const qk_tokenizer *tokenizer, qk_error *err)
{
    const cli_options *o = &command->options;
    qk_status status = QK_OK;
    if (o->given[OPTION_WORLD] == (o->texts.n > 0))
        return qk_fail(err, QK_E_ARGUMENT, "expected --texts or --world, found %s", o->texts.n ? "both" : "neither");
    if (o->given[OPTION_HOLD_OUT] && (o->valid.n || o->given[OPTION_WORLD]))
        return qk_fail(err, QK_E_ARGUMENT, "--hold-out: expected --texts alone beside it, found %s",
                       o->valid.n ? "--valid" : "--world, which has a validation part of its own");
    if (o->given[OPTION_WORLD]) {
        status = qk_world_new(&t->world, o->world, err);
        t->text = (qk_text){ .world = t->world, .split = QK_SPLIT_TRAIN, .no_bos = o->no_bos, .tokenizer = tokenizer };
        t->held_out_text = t->text;
        t->held_out_text.split = QK_SPLIT_VALIDATION;
    } else {
        status = load_set(&t->documents, command, o->texts, o->limit, tokenizer, err);
        if (!status) status = divide(t, command, tokenizer, err);
    }
    if (status || o->valid.n == 0) return status;
    status = load_set(&t->held_out_documents, command, o->valid, 0, tokenizer, err);
    t->held_out_text = (qk_text){ .documents = &t->held_out_documents, .n = t->held_out_documents.n,
                                  .tokenizer = tokenizer };
    return status;
}

static uint64_t texts_bytes(const qk_documents *documents)
{
    uint64_t n = 0;
    for (size_t i = 0; i < documents->n; i++)
        n += documents->items[i].n_bytes + 4 * (uint64_t)documents->items[i].n_tokens + sizeof(qk_document);
    return n;
}

/* ---- settings */

static qk_status count_steps(uint64_t *n_steps, const cli_options *o, uint64_t tokens_of_step, qk_error *err)
{
    if (o->given[OPTION_STEPS] == o->given[OPTION_TOKENS])
        return qk_fail(err, QK_E_ARGUMENT, "expected --steps or --tokens, found %s",
                       o->given[OPTION_STEPS] ? "both" : "neither");
    *n_steps = o->given[OPTION_STEPS] ? o->steps : o->tokens / tokens_of_step;
    if (*n_steps == 0 && o->given[OPTION_TOKENS])
        return qk_fail(err, QK_E_ARGUMENT, "--tokens: expected at least one step of %llu, found %llu",
                       (unsigned long long)tokens_of_step, (unsigned long long)o->tokens);
    return QK_OK;
}

static qk_status set_optimiser(qk_optimiser *out, const cli_options *o, uint64_t n_steps, qk_error *err)
{
    uint64_t tenth = (n_steps + 9) / 10, fifth = (n_steps + 4) / 5;
    if (o->given[OPTION_DECAY] && o->schedule != QK_SCHEDULE_WSD)
        return qk_fail(err, QK_E_ARGUMENT, "--decay: expected --schedule wsd beside it, found %s",
                       cli_choice_name(OPTION_SCHEDULE, o->schedule));
    *out = (qk_optimiser){
        .learning_rate = o->learning_rate,
        .beta1 = o->beta1,
        .beta2 = o->beta2,
        .epsilon = o->epsilon,
        .weight_decay = o->weight_decay,
        .decay_qk = !o->no_decay_qk,
        .clip = o->clip,
        .schedule = (qk_schedule)o->schedule,
        .n_steps = n_steps,
        .n_warmup = o->given[OPTION_WARMUP] ? o->warmup : tenth < 100 ? tenth : 100,
        .n_decay = o->schedule != QK_SCHEDULE_WSD ? 0 : o->given[OPTION_DECAY] ? o->decay : fifth,
        .least = o->min_lr,
    };
    return QK_OK;
}

/* What the numbers depend on beside the trainer's own settings; takes `start` over. */
static json_t *settings_json(const cli_training *t, const cli_options *o, const qk_tokenizer *tokenizer,
                             json_t *start)
{
    json_t *text = t->world ? json_pack("{s:I}", "world", (json_int_t)o->world)
                            : json_pack("{s:s, s:I}", "sha256", t->documents.sha256, "documents",
                                        (json_int_t)t->text.n);
    json_t *held_out = o->valid.n ? json_pack("{s:s, s:I}", "sha256", t->held_out_documents.sha256, "tokens",
                                              (json_int_t)t->held_out.n_tokens)
                                  : json_pack("{s:I}", "tokens", (json_int_t)t->held_out.n_tokens);
    return json_pack("{s:o, s:o, s:o, s:b, s:s}", "start", start, "text", text, "held_out", held_out, "no_bos",
                     o->no_bos, "tokenizer", qk_tokenizer_describe(tokenizer)->sha256);
}

static qk_status hold_out(cli_training *t, const cli_options *o, qk_error *err)
{
    qk_corpus corpus = qk_corpus_of(&t->held_out_text);
    if (corpus.n_documents == 0 || o->valid_every == 0) return QK_OK;
    qk_status status = qk_held_out_new(&t->held_out, &corpus, t->training.batch.context, o->valid_tokens, err);
    t->training.validation = t->held_out.sequences;
    t->training.n_validation = t->held_out.n_sequences;
    return status;
}

static qk_status set_training(cli_training *t, cli_command *command, const qk_tokenizer *tokenizer, qk_error *err)
{
    cli_options *o = &command->options;
    uint64_t n_steps = 0;
    if (!o->given[OPTION_CONTEXT]) o->context = (uint64_t)t->config.n_context;
    if (o->context > (uint64_t)t->config.n_context)
        return qk_fail(err, QK_E_ARGUMENT, "--context: expected at most the %d tokens of the configuration, found %llu",
                       t->config.n_context, (unsigned long long)o->context);
    qk_status status = count_steps(&n_steps, o, o->batch * o->context, err);
    if (!status) status = set_optimiser(&t->training.optimiser, o, n_steps, err);
    if (status) return status;
    t->training = (qk_training){
        .optimiser = t->training.optimiser,
        .corpus = qk_corpus_of(&t->text),
        .batch = { .context = o->context, .n_rows = o->batch, .across_documents = o->across_documents,
                   .in_order = o->in_order, .seed = o->seed },
        .micro_rows = o->micro,
        .precision = (qk_precision)o->precision,
        .level = o->level,
        .reference = o->reference,
        .recompute = o->recompute,
        .n_threads = (int)o->threads,
        .max_bytes = o->track ? o->max_mem - o->max_mem / CLI_TRACKING_SHARE : o->max_mem,
        .around_bytes = texts_bytes(&t->documents) + texts_bytes(&t->held_out_documents) +
                        TOKENIZER_BYTES * (uint64_t)qk_tokenizer_describe(tokenizer)->n_vocab,
        .valid_every = o->valid_every,
        .folder = o->output,
        .save_every = o->save_every,
        .keep = o->keep,
        .resume = o->resume,
        .progress = cli_progress_callback(&command->progress),
    };
    return hold_out(t, o, err);
}

/* The model that is read must not be the one that is written. */
static qk_status check_folder(const char *folder, const qk_model *source, qk_error *err)
{
    char *own = folder ? realpath(folder, NULL) : NULL, *theirs = realpath(qk_ckpt_folder(source->ckpt), NULL);
    bool same = own && theirs && strcmp(own, theirs) == 0 && qk_ckpt_count(source->ckpt) > 0;
    free(own);
    free(theirs);
    return same ? qk_fail(err, QK_E_ARGUMENT, "-o: expected another folder than the model's, found %s", folder) : QK_OK;
}

static qk_status say_start(void *user, uint64_t step, const char *folder, qk_error *err)
{
    const cli_training *t = user;
    (void)err;
    if (folder) cli_say(t->command, "%s: going on after step %llu", folder, (unsigned long long)step);
    else if (t->training.resume)
        cli_say(t->command, "%s: no checkpoint to go on from, beginning", t->training.folder);
    return QK_OK;
}

void cli_training_add_hook(cli_training *t, qk_training_hook hook)
{
    assert(t->training.n_hooks < sizeof t->hooks / sizeof *t->hooks);
    t->hooks[t->training.n_hooks++] = hook;
    t->training.hooks = t->hooks;
}

qk_status cli_training_open(cli_training *out, cli_command *command, const qk_config *config, const qk_model *source,
                            json_t *start, qk_error *err)
{
    const cli_options *o = &command->options;
    qk_status status = QK_OK;
    *out = (cli_training){ .config = *config, .command = command };
    if (!o->output && !o->dry_run)
        status = qk_fail(err, QK_E_ARGUMENT, "-o: expected a folder for the trained model, found none");
    else if (!source->tokenizer)
        status = qk_fail(err, source->tokenizer_error.status, "%s", source->tokenizer_error.message);
    if (!status) status = check_folder(o->output, source, err);
    if (!status) status = load_texts(out, command, source->tokenizer, err);
    if (!status) status = set_training(out, command, source->tokenizer, err);
    if (status) {
        json_decref(start);
        goto out;
    }
    out->settings = settings_json(out, o, source->tokenizer, start);
    if (!out->settings) status = qk_out_of_memory(err, "settings", sizeof *out->settings);
    out->training.settings = out->settings;
    cli_training_add_hook(out, (qk_training_hook){ .user = out, .start = say_start });
    if (!status) status = qk_train_fit(&out->training, &out->config, err);
out:
    if (status) cli_training_close(out);
    return status;
}

void cli_training_close(cli_training *t)
{
    qk_held_out_free(&t->held_out);
    qk_documents_free(&t->documents);
    qk_documents_free(&t->held_out_documents);
    qk_world_free(t->world);
    json_decref(t->settings);
    *t = (cli_training){ 0 };
}

/* ---- what it would take */

qk_status cli_training_print_plan(const cli_training *t, const cli_command *command, qk_error *err)
{
    const qk_training *r = &t->training;
    double n_values = (double)qk_train_n_values(&t->config), bytes = (double)qk_train_bytes(&t->config, r);
    double tokens = (double)r->batch.n_rows * (double)r->batch.context;
    double n_steps = (double)r->optimiser.n_steps, micro = (double)(r->micro_rows ? r->micro_rows : 0);
    char text[4][32];
    if (command->options.json) {
        json_t *plan = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:f}", "weights", n_values, "steps", n_steps,
                                 "tokens_of_step", tokens, "tokens", tokens * n_steps, "held_out_tokens",
                                 (double)t->held_out.n_tokens, "micro", micro, "recompute", r->recompute, "bytes",
                                 bytes);
        qk_status status = plan ? cli_print_json(plan, err) : qk_out_of_memory(err, "plan", sizeof *plan);
        json_decref(plan);
        return status;
    }
    printf("weights           %s\n", cli_human_count(text[0], n_values));
    printf("steps             %.0f of %.0f rows of %zu tokens (%s tokens each, %s together)\n", n_steps,
           (double)r->batch.n_rows, r->batch.context, cli_human_count(text[0], tokens),
           cli_human_count(text[1], tokens * n_steps));
    printf("held-out tokens   %s\n", cli_human_count(text[0], (double)t->held_out.n_tokens));
    printf("memory            %s%s\n", cli_human_bytes(text[0], bytes),
           r->recompute ? ", activations computed twice" : "");
    printf("work              %s floating-point operations, attention not counted\n",
           cli_human_count(text[0], 6 * n_values * tokens * n_steps));
    return QK_OK;
}

/* ---- the run */

static json_t *words_json(const cli_command *command)
{
    json_t *words = json_array();
    for (int i = 0; words && i < command->argc; i++)
        json_array_append_new(words, json_string(i ? command->argv[i] : command->program));
    return words;
}

static json_t *result_json(const cli_training *t, const cli_command *command, const qk_parameters *parameters,
                           const qk_training_result *result, const json_t *notes)
{
    const qk_step_row *last = &result->last;
    uint64_t n_values = qk_train_n_values(&parameters->model->config);
    json_t *object = json_pack("{s:s, s:o, s:I, s:I, s:I, s:o, s:O*}", "version", qk_version(), "command",
                               words_json(command), "weights", (json_int_t)n_values, "steps", (json_int_t)last->step,
                               "tokens", (json_int_t)last->n_tokens, "loss",
                               last->step ? json_real(last->nll) : json_null(), "settings", t->settings);
    if (object && result->validation.n_predicted)
        json_object_set_new(object, "valid_loss", json_real(result->validation.nll));
    if (object && notes) json_object_update(object, (json_t *)(uintptr_t)notes);
    return object;
}

void cli_training_print(const qk_training_result *result)
{
    char tokens[32];
    printf("%llu steps, %s tokens", (unsigned long long)result->last.step,
           cli_human_count(tokens, (double)result->last.n_tokens));
    if (result->last.step) printf(", loss %.4f nats a token", result->last.nll);
    putchar('\n');
    if (result->validation.n_predicted)
        printf("held-out loss %.4f nats a token (%llu tokens)\n", result->validation.nll,
               (unsigned long long)result->validation.n_predicted);
}

qk_status cli_training_write(json_t **out, const cli_training *t, cli_command *command, const qk_parameters *parameters,
                             const qk_training_result *result, const json_t *notes, qk_error *err)
{
    const cli_options *o = &command->options;
    json_t *object = result_json(t, command, parameters, result, notes);
    char *path = qk_path_join(o->output, "training.json"), *text = object ? json_dumps(object, JSON_INDENT(1)) : NULL;
    qk_status status = path && text ? QK_OK : qk_out_of_memory(err, "training.json", 0);
    if (!status) status = qk_checkpoint_write(o->output, parameters, (qk_dtype)o->dtype, err);
    if (!status) status = qk_write_file(path, text, strlen(text), err);
    cli_progress_clear(&command->progress);
    if (!status && parameters->source && qk_ckpt_format(parameters->source->ckpt) != QK_FORMAT_SAFETENSORS)
        cli_say(command, "note: %s: without a tokenizer: that of a GGUF or llama2.c file cannot be written", o->output);
    if (status) json_decref(object);
    else *out = object;
    free(path);
    free(text);
    return status;
}

qk_status cli_training_run(qk_training_result *result, cli_training *t, qk_parameters *parameters, qk_error *err)
{
    t->training.parameters = parameters;
    return qk_train_run(result, &t->training, err);
}
