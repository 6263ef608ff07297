/* run.c - the run folder around a study: opened before, filled and reported after. */
#include "cli/cli.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "study/common.h"

/* ---- what the numbers depend on */

static json_t *models_json(const cli_models *models)
{
    json_t *rows = json_array();
    for (size_t i = 0; rows && i < models->n; i++) {
        const qk_tokenizer *tokenizer = models->items[i].model->tokenizer;
        qk_quantization how = models->items[i].model->quantized.how;
        json_t *row = json_pack("{s:o,s:s,s:s,s:o}", "path", qk_json_text(models->paths[i]), "sha256",
                                models->items[i].sha256, "quantize", qk_quantization_name(how), "tokenizer_sha256",
                                tokenizer ? json_string(qk_tokenizer_describe(tokenizer)->sha256) : json_null());
        if (json_array_append_new(rows, row) == 0) continue;
        json_decref(rows);
        return NULL;
    }
    return rows;
}

static json_t *data_json(const qk_documents *const *sets, size_t n_sets)
{
    json_t *rows = json_array();
    for (size_t i = 0; rows && i < n_sets; i++) {
        if (!sets[i]) continue;
        json_t *ids = json_array();
        for (size_t d = 0; d < sets[i]->n; d++) json_array_append_new(ids, qk_json_text(sets[i]->items[d].id));
        if (json_array_append_new(rows, json_pack("{s:s,s:o}", "sha256", sets[i]->sha256, "documents", ids)) == 0)
            continue;
        json_decref(rows);
        return NULL;
    }
    return rows;
}

/* Only what changes numbers: a model that moved to another folder is the same model; the last bits of products are those
 * of the level. */
static json_t *key_json(const cli_command *command, const cli_run *run)
{
    json_t *models = json_deep_copy(run->models), *row;
    size_t i;
    json_array_foreach(models, i, row) json_object_del(row, "path");
    return json_pack("{s:s,s:s,s:s,s:O,s:o,s:O}", "study", command->verb->name, "version", qk_version(), "level",
                     cli_level_name(command), "settings", run->settings, "models", models, "data", run->data);
}

/* ---- the folder */

static void append_name(char *text, size_t capacity, const char *name)
{
    size_t n = strlen(text);
    for (; *name && n + 1 < capacity; name++)
        text[n++] = isalnum((unsigned char)*name) || strchr("._-", *name) ? *name : '_';
    text[n] = '\0';
}

/* "runs/massive-MODEL-20260102-030405" */
static char *usual_folder(const cli_command *command, const cli_models *models)
{
    char name[120], when[32] = "";
    char *folder = NULL;
    struct tm utc;
    time_t now = cli_now();
    snprintf(name, sizeof name, "runs/%s", command->verb->name);
    for (size_t i = 0; i < models->n && i < 2; i++) {
        append_name(name, 60 + 50 * i, "-");
        append_name(name, 60 + 50 * i, models->items[i].name);
    }
    if (models->n == 0) append_name(name, sizeof name, "-captured");
    if (gmtime_r(&now, &utc)) strftime(when, sizeof when, "-%Y%m%d-%H%M%S", &utc);
    return asprintf(&folder, "%s%s", name, when) < 0 ? NULL : folder;
}

qk_status cli_run_open(cli_run *run, cli_command *command, const cli_models *models, const qk_documents *const *sets,
                       size_t n_sets, qk_error *err)
{
    const cli_options *options = &command->options;
    *run = (cli_run){ .settings = cli_settings_json(command),
                      .models = models_json(models),
                      .data = data_json(sets, n_sets) };
    run->key = run->settings && run->models && run->data ? key_json(command, run) : NULL;
    if (!run->key) return qk_out_of_memory(err, "settings", 0);
    if (options->no_run && options->output)
        return qk_fail(err, QK_E_ARGUMENT, "--no-run: expected no -o beside it, found one");
    if (options->resume && !options->output)
        return qk_fail(err, QK_E_ARGUMENT, "--resume: expected -o FOLDER of the run to continue, found none");
    if (options->no_run) return QK_OK;
    run->folder = options->output ? strdup(options->output) : usual_folder(command, models);
    if (!run->folder) return qk_out_of_memory(err, "run folder", 0);
    return qk_run_open(&run->run, run->folder, run->key, options->resume, err);
}

static void say_warnings(cli_command *command, const json_t *results)
{
    size_t i;
    json_t *line;
    json_array_foreach(json_object_get(results, "warnings"), i, line)
        cli_say(command, "note: %s", json_string_value(line) ? json_string_value(line) : "?");
}

static qk_status write_run(cli_run *run, cli_command *command, const json_t *results, qk_error *err)
{
    qk_report_options figures = { command->options.figures & FIGURE_PNG, command->options.figures & FIGURE_PDF };
    json_t *manifest = cli_manifest(command, run, results);
    qk_status status = manifest ? QK_OK : qk_out_of_memory(err, "manifest", 0);
    if (!status) status = qk_run_write_json(run->run, "results.json", results, err);
    if (!status) status = qk_run_write_json(run->run, "manifest.json", manifest, err);
    if (!status) status = qk_report_build(run->folder, &figures, err);
    json_decref(manifest);
    return status;
}

qk_status cli_run_finish(cli_run *run, cli_command *command, const json_t *results,
                         qk_status (*print)(const json_t *results, bool verbose, qk_error *err), qk_error *err)
{
    qk_status status = run->run ? write_run(run, command, results, err) : QK_OK;
    cli_progress_clear(&command->progress);
    if (!status)
        status = command->options.json ? cli_print_json(results, err) : print(results, command->options.verbose, err);
    if (status) return status;
    cli_flush(command);
    say_warnings(command, results);
    if (run->run) cli_say(command, "report: %s/report.html", run->folder);
    return QK_OK;
}

qk_status cli_run_close(cli_run *run, qk_status status, qk_error *err)
{
    if (status == QK_E_INTERRUPTED && run->run)
        status = qk_fail(err, status, "interrupted; %zu finished units are kept: go on with --resume -o %s",
                         qk_run_count(run->run), run->folder);
    qk_run_close(run->run);
    json_decref(run->settings);
    json_decref(run->key);
    json_decref(run->models);
    json_decref(run->data);
    free(run->folder);
    *run = (cli_run){ 0 };
    return status;
}
