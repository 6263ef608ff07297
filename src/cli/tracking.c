/* tracking.c - a training in a run folder. */
#include "cli/tracking.h"

#include <stdlib.h>

#include "text/pick.h"

/* The program itself, which a pass counts as its own and the training has counted already. */
#define PROGRAM_BYTES ((uint64_t)64 << 20)
/* The world has no last document: so many are looked at. */
#define WORLD_DOCUMENTS 5000

qk_status cli_pick_held_out(qk_documents *out, const cli_training *t, size_t n, size_t longer_than, size_t cut,
                            size_t n_tokens, qk_error *err)
{
    const qk_text *text = &t->held_out_text;
    const qk_pick pick = {
        .tokenizer = text->tokenizer,
        .no_bos = text->no_bos,
        .longer_than = longer_than,
        .cut = cut,
        .n_documents = n,
        .n_tokens = n_tokens,
    };
    if (text->world) return qk_documents_pick_world(out, text->world, text->split, WORLD_DOCUMENTS, &pick, err);
    return qk_documents_pick(out, text->documents, text->first, text->n, &pick, err);
}

static qk_tracker_settings settings_of(cli_command *command)
{
    const cli_options *o = &command->options;
    return (qk_tracker_settings){
        .lambda = o->lambda,
        .seed = o->seed,
        .compute = { .max_tokens = o->context,
                     .no_bos = o->no_bos,
                     .precision = (qk_precision)o->precision,
                     .level = o->level,
                     .reference = o->reference,
                     .n_threads = (int)o->threads,
                     .max_bytes = o->max_mem ? o->max_mem / CLI_TRACKING_SHARE + PROGRAM_BYTES : 0,
                     .progress = cli_progress_callback(&command->progress) },
    };
}

qk_status cli_tracking_open(cli_tracking *out, cli_training *training, cli_command *command, const cli_models *models,
                            const cli_arm *arm, const qk_parameters *parameters, qk_error *err)
{
    const cli_options *o = &command->options;
    const qk_documents *sets[] = { NULL };
    qk_status status = QK_OK;
    *out = (cli_tracking){ .figures = { o->figures & FIGURE_PNG, o->figures & FIGURE_PDF } };
    if (o->track) status = cli_pick_held_out(&out->probe, training, o->track_documents, 0, o->context, 0, err);
    if (o->track) sets[0] = &out->probe;
    if (!status && o->track && out->probe.n < 2)
        status = qk_fail(err, QK_E_ARGUMENT,
                         "--track: expected at least 2 held-out documents (one to find massive values on, one to test "
                         "them), found %zu",
                         out->probe.n);
    if (!status) status = cli_run_open(&out->run, command, models, sets, 1, err);
    if (status) goto out;
    const qk_chronicle_spec spec = {
        .study = arm->study,
        .name = arm->name,
        .kind = arm->kind,
        .model = &models->items[0],
        .parameters = parameters,
        .changed = arm->changed,
        .probe = sets[0],
        .tracker = settings_of(command),
        .every = o->track,
        .n_steps = training->training.optimiser.n_steps,
        .settings = out->run.settings,
        .figures = &out->figures,
        .run = out->run.run,
    };
    status = qk_chronicle_new(&out->chronicle, &spec, err);
    if (!status) cli_training_add_hook(training, qk_chronicle_hook(out->chronicle));
out:
    if (status) cli_tracking_close(out);
    return status;
}

qk_status cli_tracking_finish(cli_tracking *t, cli_command *command, const qk_training_result *result,
                              const json_t *more, qk_status (*print)(const json_t *, bool, qk_error *), qk_error *err)
{
    json_t *results = NULL;
    qk_status status =
        qk_chronicle_results(&results, t->chronicle, result->last.step, result->last.n_tokens, true, more, err);
    if (!status) status = cli_run_finish(&t->run, command, results, print, err);
    json_decref(results);
    return status;
}

void cli_tracking_close(cli_tracking *t)
{
    qk_chronicle_free(t->chronicle);
    (void)cli_run_close(&t->run, QK_OK, NULL);
    qk_documents_free(&t->probe);
    *t = (cli_tracking){ 0 };
}
