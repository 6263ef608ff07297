/* massive.c - experiment 1: count the massive values of q, k and v. */
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

enum { USUAL_CONTEXT = 512 /* tokens; the length of the published experiment */ };

/* ---- tables */

static qk_status print_summary(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "model", "tensor",   "massive",        "+-sd",
                                         "of",    "share %",  "max/mean",       "energy %",
                                         "gini",  "kurtosis", "in slow pairs %" };
    cli_table table;
    size_t i;
    json_t *row;
    cli_table_start(&table, heads, "llrrrrrrrrr");
    json_array_foreach(json_object_get(results, "summary"), i, row) {
        cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
        cli_table_add(&table, "%s", cli_text(row, "tensor"));
        cli_table_add_number(&table, cli_number(row, "total_mean"), 1);
        cli_table_add_number(&table, cli_number(row, "total_std"), 2);
        cli_table_add_number(&table, cli_number(row, "positions"), 0);
        cli_table_add_number(&table, cli_number(row, "share_pct"), 3);
        cli_table_add_number(&table, cli_number(row, "max_over_mean"), 2);
        cli_table_add_number(&table, 100 * cli_number(row, "energy_share"), 2);
        cli_table_add_number(&table, cli_number(row, "gini"), 3);
        cli_table_add_number(&table, cli_number(row, "kurtosis"), 2);
        cli_table_add_number(&table, 100 * cli_number(row, "slow_share"), 1);
    }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_change(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "against", "model", "tensor", "difference", "95 %", "percent", "test", "" };
    const json_t *rows = json_object_get(results, "change");
    cli_table table;
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) return QK_OK;
    putchar('\n');
    cli_table_start(&table, heads, "lllrrrll");
    json_array_foreach(rows, i, row) {
        const json_t *test = json_object_get(row, "test");
        const char *refused = cli_text(test, "refused");
        cli_table_add(&table, "%s", cli_model_name(results, 0));
        cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
        cli_table_add(&table, "%s", cli_text(row, "tensor"));
        cli_table_add_number(&table, cli_number(row, "difference"), 2);
        cli_table_add_interval(&table, json_object_get(row, "difference_ci95"), 2);
        cli_table_add_number(&table, cli_number(row, "percent"), 1);
        cli_table_add(&table, "%s", cli_text(test, "name"));
        cli_table_add(&table, "%s%s", *refused ? "refused: " : "", *refused ? refused : cli_text(test, "p"));
    }
    return cli_table_print(&table, stdout, err);
}

/* -v: where in the model they are. */
static qk_status print_layers(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "model", "tensor", "layer", "massive", "+-sd", "max/mean" };
    cli_table table;
    size_t i, j;
    json_t *row, *layer;
    putchar('\n');
    cli_table_start(&table, heads, "llrrrr");
    json_array_foreach(json_object_get(results, "summary"), i, row)
        json_array_foreach(json_object_get(row, "by_layer"), j, layer) {
            cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
            cli_table_add(&table, "%s", cli_text(row, "tensor"));
            cli_table_add_number(&table, cli_number(layer, "layer"), 0);
            cli_table_add_number(&table, cli_number(layer, "mean"), 1);
            cli_table_add_number(&table, cli_number(layer, "std"), 2);
            cli_table_add_number(&table, cli_number(layer, "max_over_mean"), 2);
        }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_tables(const json_t *results, bool verbose, qk_error *err)
{
    qk_status status = print_summary(results, err);
    if (!status) status = print_change(results, err);
    return status || !verbose ? status : print_layers(results, err);
}

/* ---- the two ways to run it */

static qk_massive_settings settings_of(const cli_options *options)
{
    return (qk_massive_settings){
        .lambda = options->criterion == QK_CRITERION_TOP_K ? (double)options->top_k : options->lambda,
        .criterion = (qk_criterion)options->criterion,
        .post_rotation = options->site == SITE_POST,
        .africa = options->preset == QK_PRESET_AFRICA,
    };
}

/* "q=FILE" */
static qk_status parse_captured(qk_captured *out, const char *text, qk_error *err)
{
    static const char letters[] = "qkv";
    const char *letter = *text ? strchr(letters, *text) : NULL;
    if (!letter || text[1] != '=' || !text[2])
        return qk_fail(err, QK_E_ARGUMENT, "--captured: expected q=FILE, k=FILE or v=FILE, found '%s'", text);
    *out = (qk_captured){ (qk_qkv)(letter - letters), text + 2 };
    return QK_OK;
}

static qk_status run_captured(cli_command *command, const qk_massive_settings *settings, qk_error *err)
{
    const cli_list *words = &command->options.captured;
    cli_models no_models = { 0 };
    cli_run run = { 0 };
    qk_captured *files = NULL;
    json_t *results = NULL;
    if (command->arguments.n)
        return qk_fail(err, QK_E_ARGUMENT, "--captured: expected no MODEL beside it, found '%s'",
                       command->arguments.items[0]);
    if (command->options.dry_run)
        return qk_fail(err, QK_E_ARGUMENT, "--dry-run: expected a MODEL to plan for, found --captured");
    qk_status status = qk_new_array(&files, words->n, sizeof *files, "--captured", err);
    for (size_t i = 0; i < words->n && !status; i++) status = parse_captured(&files[i], words->items[i], err);
    if (!status) status = qk_study_massive_captured(&results, files, words->n, settings, err);
    if (!status) status = cli_run_open(&run, command, &no_models, NULL, 0, err);
    if (!status) status = cli_run_finish(&run, command, results, print_tables, err);
    json_decref(results);
    free(files);
    return cli_run_close(&run, status, err);
}

static qk_status run_models(cli_command *command, const qk_massive_settings *settings, qk_error *err)
{
    cli_models models = { 0 };
    qk_documents documents = { 0 };
    const qk_documents *sets[] = { &documents };
    cli_run run = { 0 };
    json_t *results = NULL;
    qk_status status = cli_load_documents(&documents, command, err);
    if (!status) status = cli_load_models(&models, command, command->arguments, !command->options.dry_run, err);
    if (!status) {
        qk_compute compute = cli_compute(command, &models, USUAL_CONTEXT);
        if (command->options.dry_run) {
            status = cli_print_plan(command, &models, &documents, 1, false, &compute, err);
        } else {
            status = cli_run_open(&run, command, &models, sets, 1, err);
            if (!status)
                status =
                    qk_study_massive(&results, models.items, models.n, &documents, settings, &compute, run.run, err);
            if (!status) status = cli_run_finish(&run, command, results, print_tables, err);
        }
    }
    json_decref(results);
    qk_documents_free(&documents);
    cli_models_free(&models);
    return cli_run_close(&run, status, err);
}

static const cli_option_id africa_fixes[] = { OPTION_LAMBDA, OPTION_CRITERION, OPTION_SITE, OPTION_END };

static qk_status run_massive(cli_command *command, qk_error *err)
{
    if (command->options.preset == QK_PRESET_JIN)
        return qk_fail(err, QK_E_ARGUMENT,
                       "--preset: expected africa for massive, found jin (--criterion top-k --site post is its rule)");
    qk_status status = cli_check_top_k(&command->options, err);
    if (!status && command->options.preset == QK_PRESET_AFRICA)
        status = cli_check_preset(&command->options, africa_fixes, err);
    if (status) return status;
    qk_massive_settings settings = settings_of(&command->options);
    if (command->options.captured.n) return run_captured(command, &settings, err);
    if (command->arguments.n == 0)
        return qk_fail(err, QK_E_ARGUMENT, "massive: expected MODEL... or --captured, found neither");
    return run_models(command, &settings, err);
}

static const cli_option_id massive_options[] = {
    OPTION_LAMBDA, OPTION_CRITERION, OPTION_TOP_K, OPTION_SITE,  OPTION_PRESET, OPTION_CAPTURED,
    OPTIONS_TEXTS, OPTIONS_COMPUTE,  OPTIONS_RUN,  OPTIONS_TALK, OPTION_END,
};

const cli_verb verb_massive = {
    .name = "massive",
    .run = run_massive,
    .arguments = "MODEL...",
    .max_arguments = SIZE_MAX,
    .options = massive_options,
    .line = "Count the massive values of queries, keys and values, and compare models",
    .details =
        "A dim of a head is massive where its norm over a document's tokens exceeds lambda times the mean norm of the "
        "layer. Several models are compared with the first. Leaves a run folder with tables, figures and report.html.",
    .examples = "  qkscope massive models/tiny\n"
                "  qkscope massive models/tiny models/tiny-drope --texts texts/ -o runs/pair --figures png\n"
                "  qkscope massive models/tiny --quantize none,nf4\n"
                "  qkscope massive --captured q=q.npy --captured k=qk.safetensors:k --json",
};
