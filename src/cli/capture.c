/* capture.c - write what passes a site into files; and compare every site with files that another tool wrote. */
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

/* ---- capture */

/* Every --hooks, split at its commas. */
static qk_status gather_patterns(cli_list *out, cli_command *command, qk_error *err)
{
    const cli_list *hooks = &command->options.hooks;
    cli_list all = { 0 };
    if (hooks->n == 0)
        return qk_fail(err, QK_E_ARGUMENT, "capture: expected --hooks, found none; `qkscope hooks` lists the sites");
    for (size_t i = 0; i < hooks->n; i++) {
        cli_list some;
        qk_status status = cli_split_list(&some, &command->arena, "--hooks", hooks->items[i], err);
        if (status) return status;
        const char **items = qk_arena_alloc(&command->arena, (all.n + some.n) * sizeof *items);
        if (!items) return qk_out_of_memory(err, "--hooks", all.n + some.n);
        if (all.n) memcpy(items, all.items, all.n * sizeof *items);
        memcpy(items + all.n, some.items, some.n * sizeof *items);
        all = (cli_list){ items, all.n + some.n };
    }
    *out = all;
    return QK_OK;
}

static qk_status run_capture(cli_command *command, qk_error *err)
{
    const cli_options *options = &command->options;
    cli_models models = { 0 };
    qk_documents documents = { 0 };
    cli_list patterns = { 0 };
    if (!options->output)
        return qk_fail(err, QK_E_ARGUMENT, "capture: expected -o FILE.safetensors or FOLDER/, found none");
    qk_status status = gather_patterns(&patterns, command, err);
    if (!status) status = cli_load_documents(&documents, command, err);
    if (!status) status = cli_load_models(&models, command, command->arguments, false, err);
    if (!status) {
        qk_compute compute = cli_compute(command, &models, 0);
        if (options->dry_run)
            status = cli_print_plan(command, &models, &documents, 1, false, &compute, err);
        else
            status = qk_study_capture(options->output, models.items[0].model, &documents, patterns.items, patterns.n,
                                      &compute, err);
        if (!status && !options->dry_run)
            cli_say(command, "captured: %s (%zu document%s)", options->output, documents.n,
                    documents.n == 1 ? "" : "s");
    }
    qk_documents_free(&documents);
    cli_models_free(&models);
    return status;
}

static const cli_option_id capture_options[] = {
    OPTION_HOOKS, OPTION_OUTPUT, OPTIONS_TEXTS, OPTIONS_COMPUTE, OPTION_DRY_RUN, OPTIONS_TALK, OPTION_END,
};

const cli_verb verb_capture = {
    .name = "capture",
    .run = run_capture,
    .arguments = "MODEL",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = capture_options,
    .line = "Write the activations at named sites to safetensors or .npy files",
    .details =
        "One document gives tensors named by site, several give document/site, each [1, tokens, ...] in F32. With a "
        "folder (ends in '/', or is one) every tensor becomes one .npy file.",
    .examples = "  qkscope capture models/tiny --hooks 'blocks.*.attn.hook_q,k3' --texts story.txt -o qk.safetensors\n"
                "  qkscope capture models/tiny --hooks 'blocks.{0-1}.attn.hook_rot_k' --limit 1 -o captured/",
};

/* ---- verify */

static qk_status print_sites(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "site", "max |a-b|", "max relative", "rms relative", "" };
    cli_table table;
    size_t i;
    json_t *row;
    cli_table_start(&table, heads, "lrrrl");
    json_array_foreach(json_object_get(results, "sites"), i, row)
    {
        cli_table_add(&table, "%s", cli_text(row, "site"));
        cli_table_add(&table, "%.3g", cli_number(row, "max_abs"));
        cli_table_add(&table, "%.3g", cli_number(row, "max_rel"));
        cli_table_add(&table, "%.3g", cli_number(row, "rms_rel"));
        cli_table_add(&table, "%s", json_is_true(json_object_get(row, "ok")) ? "ok" : "OUT OF TOLERANCE");
    }
    return cli_table_print(&table, stdout, err);
}

/* The failure names the first site, in the order of the forward pass, and what was found there. */
static qk_status judge(const json_t *results, qk_error *err)
{
    const char *first = cli_text(results, "first_failed");
    size_t i, n_sites = json_array_size(json_object_get(results, "sites")), n_failed = 0;
    double worst = 0;
    json_t *row;
    if (json_is_true(json_object_get(results, "ok"))) return QK_OK;
    json_array_foreach(json_object_get(results, "sites"), i, row)
    {
        n_failed += !json_is_true(json_object_get(row, "ok"));
        if (strcmp(first, cli_text(row, "site")) == 0) worst = cli_number(row, "max_rel");
    }
    return qk_fail(err, QK_E_CHECK,
                   "%s: expected a relative error of at most %g, found %.3g (%zu of %zu sites are out)", first,
                   cli_number(results, "tolerance"), worst, n_failed, n_sites);
}

static qk_status run_verify(cli_command *command, qk_error *err)
{
    const cli_options *options = &command->options;
    cli_models models = { 0 };
    json_t *results = NULL, *name;
    size_t i;
    qk_status status = cli_load_models(&models, command, (cli_list){ command->arguments.items, 1 }, false, err);
    if (!status) {
        qk_compute compute = cli_compute(command, &models, 0);
        status = qk_study_verify(&results, models.items[0].model, command->arguments.items[1], options->tolerance,
                                 &compute, err);
    }
    cli_progress_clear(&command->progress);
    if (!status) status = options->json ? cli_print_json(results, err) : print_sites(results, err);
    cli_flush(command);
    json_array_foreach(json_object_get(results, "ignored"), i, name)
        cli_say(command, "note: %s: no site of that name, not compared",
                json_string_value(name) ? json_string_value(name) : "?");
    if (!status) status = judge(results, err);
    json_decref(results);
    cli_models_free(&models);
    return status;
}

static const cli_option_id verify_options[] = {
    OPTION_TOLERANCE, OPTION_JSON,      OPTION_THREADS, OPTION_MAX_MEM, OPTION_PRECISION,
    OPTION_REFERENCE, OPTION_QUANTIZE,  OPTION_CACHE_DIR, OPTIONS_TALK,  OPTION_END,
};

const cli_verb verb_verify = {
    .name = "verify",
    .run = run_verify,
    .arguments = "MODEL GOLDEN.safetensors",
    .min_arguments = 2,
    .max_arguments = 2,
    .options = verify_options,
    .line = "Compare every site with a golden file and name the first that is out of tolerance",
    .details =
        "GOLDEN holds `tokens` and tensors named by site or alias. The relative error of a site is max|a-b|/max|b|. "
        "Exit code 3 when a site is out of tolerance.",
    .examples = "  qkscope verify tests/data/golden/gqa tests/data/golden/gqa/golden.safetensors\n"
                "  qkscope verify models/tiny golden.safetensors --tolerance 1e-2 --precision bf16 --json",
};
