/* ppl.c - perplexity of documents, by a named protocol. */
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

static qk_status print_documents(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "document", "category", "tokens", "nats/token", "perplexity" };
    cli_table table;
    size_t i;
    json_t *row;
    cli_table_start(&table, heads, "llrrr");
    json_array_foreach(json_object_get(results, "documents"), i, row) {
        cli_table_add(&table, "%s", cli_text(row, "id"));
        cli_table_add(&table, "%s", cli_text(row, "category"));
        cli_table_add_number(&table, cli_number(row, "tokens"), 0);
        cli_table_add_number(&table, cli_number(row, "nll_per_token"), 5);
        cli_table_add_number(&table, cli_number(row, "ppl"), 4);
    }
    return cli_table_print(&table, stdout, err);
}

/* Long: document, index of the scored token, nats. */
static void print_tokens(const json_t *results)
{
    size_t i, j;
    json_t *row, *nll;
    puts("document\ttoken\tnats");
    json_array_foreach(json_object_get(results, "documents"), i, row)
        json_array_foreach(json_object_get(row, "token_nll"), j, nll)
            printf("%s\t%zu\t%.6f\n", cli_text(row, "id"), j, json_number_value(nll));
}

static qk_status print_results(const cli_command *command, const json_t *results, qk_error *err)
{
    const cli_options *options = &command->options;
    qk_status status = QK_OK;
    size_t n = json_array_size(json_object_get(results, "documents"));
    if (options->json) return cli_print_json(results, err);
    if (options->per_token) print_tokens(results);
    if (options->verbose) status = print_documents(results, err);
    bool quantized = strcmp(cli_text(results, "quantize"), "none") != 0;
    printf("protocol %s, context %ju, %s%s%s: %zu document%s, %.0f predicted tokens\n", cli_text(results, "protocol"),
           (uintmax_t)options->context, options->no_bos ? "no BOS" : "BOS as the tokenizer says",
           quantized ? ", weights in " : "", quantized ? cli_text(results, "quantize") : "", n, n == 1 ? "" : "s",
           cli_number(results, "tokens"));
    printf("%.6f nats per token, perplexity %.5f\n", cli_number(results, "nll_per_token"), cli_number(results, "ppl"));
    return status;
}

static qk_status run_ppl(cli_command *command, qk_error *err)
{
    const cli_options *options = &command->options;
    qk_ppl_settings settings = { (qk_ppl_protocol)options->protocol, options->stride, options->per_token };
    cli_models models = { 0 };
    qk_documents documents = { 0 };
    json_t *results = NULL;
    if (options->given[OPTION_STRIDE] && settings.protocol != QK_PPL_STRIDED)
        return qk_fail(err, QK_E_ARGUMENT, "--stride: expected --protocol strided beside it, found %s",
                       cli_choice_name(OPTION_PROTOCOL, options->protocol));
    qk_status status = cli_load_documents(&documents, command, err);
    if (!status) status = cli_load_models(&models, command, command->arguments, false, err);
    if (!status) {
        qk_compute compute = cli_compute(command, &models, 0);
        if (options->dry_run)
            status = cli_print_plan(command, &models, &documents, 1, true, &compute, err);
        else
            status = qk_study_ppl(&results, models.items[0].model, &documents, &settings, &compute, err);
    }
    cli_progress_clear(&command->progress);
    if (!status && results) status = print_results(command, results, err);
    json_decref(results);
    qk_documents_free(&documents);
    cli_models_free(&models);
    return status;
}

static const cli_option_id ppl_options[] = {
    OPTIONS_TEXTS,   OPTION_PROTOCOL, OPTION_STRIDE, OPTION_PER_TOKEN, OPTION_JSON,
    OPTIONS_COMPUTE, OPTION_DRY_RUN,  OPTIONS_TALK,  OPTION_END,
};

const cli_verb verb_ppl = {
    .name = "ppl",
    .run = run_ppl,
    .arguments = "MODEL",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = ppl_options,
    .line = "Measure the perplexity of documents",
    .details =
        "Protocols: hf scores each document from its start, cut to -c tokens, every target after the first; strided "
        "moves a window of -c tokens through the whole document; llama.cpp scores the second half of each chunk "
        "of -c tokens of all documents as one text. -v lists the documents.",
    .examples = "  qkscope ppl models/tiny\n"
                "  qkscope ppl models/tiny --texts stories.txt --split '<|endoftext|>' --limit 200 -c 512 --json\n"
                "  qkscope ppl org/name --texts wiki.txt --protocol strided -c 2048 --stride 512\n"
                "  qkscope ppl models/tiny --quantize nf4",
};
