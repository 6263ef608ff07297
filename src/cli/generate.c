/* generate.c - text behind prompts, streamed where there is one, under edits where they are asked for. */
#include <stdlib.h>
#include <string.h>

#include "cli/conditions.h"
#include "cli/prompts.h"
#include "cli/verbs.h"
#include "study/common.h"

typedef struct generation {
    cli_command *command;
    cli_models models;
    cli_prompts prompts;
    cli_conditions conditions;
    qk_generate_spec spec;
    const qk_generated **ended; /* [prompts][conditions] NULL while it goes on; printed in this order */
    size_t n_printed, n_tokens;
    bool streams; /* one prompt, one condition: its text appears as it comes */
} generation;

/* ---- what comes out */

static qk_status json_line(const generation *g, size_t prompt, size_t condition, const qk_generated *item,
                           qk_error *err)
{
    qk_row row = qk_row_start();
    json_t *tokens = json_array();
    qk_row_text(&row, "model", g->models.items[0].name);
    qk_row_count(&row, "prompt", prompt);
    qk_row_text(&row, "prompt_sha256", g->prompts.sha256[prompt]);
    qk_row_count(&row, "prompt_tokens", g->prompts.items[prompt].n_tokens);
    qk_row_text(&row, "condition", g->conditions.items[condition].name);
    qk_row_text(&row, "phase", cli_choice_name(OPTION_PHASE, (int)g->spec.phase));
    for (size_t i = 0; i < item->n_tokens; i++) json_array_append_new(tokens, json_integer(item->tokens[i]));
    qk_row_json(&row, "tokens", tokens);
    qk_row_text(&row, "text", item->text);
    qk_row_text(&row, "end", qk_end_name(item->end));
    qk_row_text(&row, "stop", item->end == QK_END_STOP ? g->spec.stops[item->stop] : NULL);
    json_t *object = qk_row_take(&row);
    char *line = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (line) puts(line);
    json_decref(object);
    free(line);
    return line ? QK_OK : qk_out_of_memory(err, "results", 0);
}

static qk_status print_ended(generation *g, size_t index, qk_error *err)
{
    size_t n_conditions = g->conditions.n;
    size_t prompt = index / n_conditions, condition = index % n_conditions;
    const qk_generated *item = g->ended[index];
    if (g->command->options.json) return json_line(g, prompt, condition, item, err);
    cli_progress_clear(&g->command->progress);
    printf("== prompt %zu", prompt);
    if (n_conditions > 1) printf(", %s", g->conditions.items[condition].name);
    printf(" (%s)\n%s\n", qk_end_name(item->end), item->text ? item->text : "");
    return QK_OK;
}

static qk_status on_token(void *user, size_t prompt, size_t condition, int32_t token, const char *piece, size_t n_bytes,
                          qk_error *err)
{
    generation *g = user;
    (void)prompt, (void)condition, (void)token, (void)err;
    g->n_tokens++;
    if (!g->streams || n_bytes == 0) return QK_OK;
    fwrite(piece, 1, n_bytes, stdout);
    cli_flush(g->command);
    return QK_OK;
}

/* Streams end in any order; they are printed in the order in which they were asked for. */
static qk_status on_end(void *user, size_t prompt, size_t condition, const qk_generated *item, qk_error *err)
{
    generation *g = user;
    size_t n_conditions = g->conditions.n, n = g->prompts.n * n_conditions;
    qk_status status = QK_OK;
    if (g->streams) return QK_OK;
    g->ended[prompt * n_conditions + condition] = item;
    while (!status && g->n_printed < n && g->ended[g->n_printed]) status = print_ended(g, g->n_printed++, err);
    cli_flush(g->command);
    return status;
}

/* ---- settings */

/* Jin's ops are means over a whole sequence: the prompt. */
static qk_phase phase_of(const cli_options *options)
{
    bool jin = options->given[OPTION_PRESET] && options->preset == QK_PRESET_JIN;
    return jin && !options->given[OPTION_PHASE] ? QK_PHASE_PREFILL : (qk_phase)options->phase;
}

static qk_generate_spec spec_of(generation *g)
{
    const cli_options *options = &g->command->options;
    return (qk_generate_spec){
        .prompts = g->prompts.items,
        .n_prompts = g->prompts.n,
        .conditions = g->conditions.items,
        .n_conditions = g->conditions.n,
        .phase = phase_of(options),
        .max_new_tokens = options->max_new_tokens,
        .context = options->given[OPTION_CONTEXT] ? options->context : 0,
        .sampling = { .temperature = options->temperature,
                      .top_k = options->given[OPTION_TOP_K] ? options->top_k : 0,
                      .top_p = options->top_p,
                      .seed = options->seed },
        .stops = options->stops.items,
        .n_stops = options->stops.n,
        .ignore_end = options->ignore_end,
        .recompute = options->recompute,
        .reference = options->reference,
        .precision = (qk_precision)options->precision,
        .level = options->level,
        .n_threads = (int)options->threads,
        .max_bytes = options->max_mem,
        .on_token = on_token,
        .on_end = on_end,
        .user = g,
        .progress = cli_progress_callback(&g->command->progress),
    };
}

/* Options that would be read by nobody are mistakes. */
static qk_status check_options(const cli_options *options, qk_error *err)
{
    static const cli_option_id sampling[] = { OPTION_TOP_K, OPTION_TOP_P };
    for (size_t i = 0; i < sizeof sampling / sizeof *sampling && options->temperature <= 0; i++)
        if (options->given[sampling[i]])
            return qk_fail(err, QK_E_ARGUMENT, "--%s: expected --temperature above 0 beside it",
                           cli_option_name(sampling[i]));
    for (size_t i = 0; i < options->stops.n; i++)
        if (!*options->stops.items[i]) return qk_fail(err, QK_E_ARGUMENT, "--stop: expected TEXT, found ''");
    return QK_OK;
}

static void warn_context(generation *g)
{
    int trained = g->models.items[0].model->config.n_context;
    if (trained > 0 && g->spec.context > (size_t)trained)
        cli_say(g->command, "note: -c %zu is beyond the trained context of %d tokens", g->spec.context, trained);
}

/* ---- run */

static qk_status generate(generation *g, qk_error *err)
{
    cli_command *command = g->command;
    qk_generate_result *result = NULL;
    size_t n_streams = g->prompts.n * g->conditions.n;
    qk_status status = qk_new_array(&g->ended, n_streams, sizeof *g->ended, "texts", err);
    if (status) return status;
    g->streams = n_streams == 1 && !command->options.json;
    if (g->streams) command->progress.quiet = true; /* the text itself shows how far it is */
    double started = cli_seconds();
    status = qk_generate(&result, g->models.items[0].model, &g->spec, err);
    if (g->streams && g->n_tokens) puts("");
    cli_flush(command);
    double seconds = cli_seconds() - started;
    if (!status && g->streams)
        cli_say(command, "%s after %zu tokens, %.1f/s", qk_end_name(result->items[0].end), g->n_tokens,
                (double)g->n_tokens / (seconds > 0 ? seconds : 1));
    qk_generate_result_free(result);
    return status;
}

static qk_status run_generate(cli_command *command, qk_error *err)
{
    generation g = { .command = command };
    qk_status status = check_options(&command->options, err);
    if (!status) status = cli_load_models(&g.models, command, command->arguments, false, err);
    if (!status) status = cli_load_prompts(&g.prompts, command, g.models.items[0].model, err);
    if (!status) status = cli_load_conditions(&g.conditions, command, &g.models, err);
    if (!status) {
        g.spec = spec_of(&g);
        warn_context(&g);
        status = generate(&g, err);
    }
    free(g.ended);
    cli_prompts_free(&g.prompts);
    cli_conditions_free(&g.conditions);
    cli_models_free(&g.models);
    return status;
}

static const cli_option_id generate_options[] = {
    OPTION_PROMPT,      OPTION_PROMPT_FILE, OPTION_MAX_NEW_TOKENS, OPTION_TEMPERATURE, OPTION_TOP_K, OPTION_TOP_P,
    OPTION_SEED,        OPTION_STOP,        OPTION_IGNORE_END,     OPTION_PHASE,       OPTION_JSON,  OPTION_RECOMPUTE,
    OPTIONS_CONDITIONS, OPTIONS_COMPUTE,    OPTIONS_TALK,          OPTION_END,
};

const cli_verb verb_generate = {
    .name = "generate",
    .run = run_generate,
    .arguments = "MODEL",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = generate_options,
    .line = "Continue prompts, unbroken or under edits, and print the new text",
    .details = "One prompt: its text appears as it comes. Several go together, and are printed in their order; "
               "--json prints one object a line. Under --conditions and --edit each prompt is continued once a "
               "condition; masks of massive values are found as in disrupt. With --phase prefill edits act at the "
               "prompt's positions alone; ops over a whole sequence, and --preset jin, need that.",
    .examples = "  qkscope generate models/tiny --prompt 'Once upon a time' -n 60\n"
                "  qkscope generate models/tiny -p 'My name is' -p 'I live in' --temperature 0.8 --top-p 0.95\n"
                "  qkscope generate models/tiny -p 'The key is 48213. The key is' --conditions baseline,massive -n 8\n"
                "  qkscope generate models/tiny -p 'Once' --edit 'zero@rot_k{2-3}:0-3' --edit scale=0.5@v1\n"
                "  echo 'The capital of France is' | qkscope generate org/name --stop . --json",
};
