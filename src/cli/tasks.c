/* tasks.c - questions with known answers: what does a model know, and what does it find in its prompt? */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"
#include "study/tasks.h"

enum { USUAL_LIMIT = 200 /* questions of each category of the world: Wilson's interval is then +-7 points at most */ };

/* ---- tables */

/* Shares as percent; "-" where there is none. */
static void add_percent(cli_table *table, double share) { cli_table_add_number(table, 100 * share, 1); }

static void add_percent_interval(cli_table *table, const json_t *pair, double scale, int digits)
{
    const json_t *low = json_array_get(pair, 0), *high = json_array_get(pair, 1);
    if (json_is_number(low) && json_is_number(high))
        cli_table_add(table, "[%.*f, %.*f]", digits, scale * json_number_value(low), digits,
                      scale * json_number_value(high));
    else
        cli_table_add(table, "-");
}

static qk_status print_categories(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "model",  "kind",     "category",      "n",         "right",
                                         "%",      "95 %",     "chance %",      "same answer %", "nats/answer" };
    cli_table table;
    size_t i;
    json_t *row;
    cli_table_start(&table, heads, "lllrrrrrrr");
    json_array_foreach(json_object_get(results, "categories"), i, row) {
        cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
        cli_table_add(&table, "%s", cli_text(row, "kind"));
        cli_table_add(&table, "%s", cli_text(row, "category"));
        cli_table_add_number(&table, cli_number(row, "questions"), 0);
        cli_table_add_number(&table, cli_number(row, "right"), 0);
        add_percent(&table, cli_number(row, "accuracy"));
        add_percent_interval(&table, json_object_get(row, "ci95"), 100, 1);
        add_percent(&table, cli_number(row, "chance"));
        add_percent(&table, cli_number(row, "most_common"));
        cli_table_add_number(&table, cli_number(row, "nll"), 4);
    }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_kinds(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "model", "kind", "categories", "mean %", "95 %",       "same answer %",
                                         "n",     "right", "pooled %",  "95 %",   "nats/answer" };
    cli_table table;
    size_t i;
    json_t *row;
    putchar('\n');
    cli_table_start(&table, heads, "llrrrrrrrrr");
    json_array_foreach(json_object_get(results, "kinds"), i, row) {
        cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
        cli_table_add(&table, "%s", cli_text(row, "kind"));
        cli_table_add_number(&table, cli_number(row, "categories"), 0);
        add_percent(&table, cli_number(row, "macro"));
        add_percent_interval(&table, json_object_get(row, "macro_ci95"), 100, 1);
        add_percent(&table, cli_number(row, "most_common"));
        cli_table_add_number(&table, cli_number(row, "questions"), 0);
        cli_table_add_number(&table, cli_number(row, "right"), 0);
        add_percent(&table, cli_number(row, "accuracy"));
        add_percent_interval(&table, json_object_get(row, "ci95"), 100, 1);
        cli_table_add_number(&table, cli_number(row, "nll"), 4);
    }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_tests(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "against",    "model", "kind", "n", "only first", "only second",
                                         "difference", "95 %",  "test", "" };
    const json_t *rows = json_object_get(results, "tests");
    cli_table table;
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) return QK_OK;
    putchar('\n');
    cli_table_start(&table, heads, "lllrrrrrll");
    json_array_foreach(rows, i, row) {
        const json_t *models = json_object_get(row, "models");
        const char *refused = cli_text(row, "refused");
        for (size_t m = 0; m < 2; m++)
            cli_table_add(&table, "%s", cli_model_name(results, json_number_value(json_array_get(models, m))));
        cli_table_add(&table, "%s", cli_text(row, "comparison"));
        cli_table_add_number(&table, cli_number(row, "n"), 0);
        cli_table_add_number(&table, cli_number(row, "only_first"), 0);
        cli_table_add_number(&table, cli_number(row, "only_second"), 0);
        add_percent(&table, cli_number(row, "estimate"));
        add_percent_interval(&table, json_object_get(row, "ci95"), 100, 1);
        cli_table_add(&table, "%s", cli_text(row, "name"));
        cli_table_add(&table, "%s%s", *refused ? "refused: " : "", *refused ? refused : cli_text(row, "p"));
    }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_tables(const json_t *results, bool verbose, qk_error *err)
{
    (void)verbose;
    qk_status status = print_categories(results, err);
    if (!status) status = print_kinds(results, err);
    return status ? status : print_tests(results, err);
}

/* ---- run */

/* Without files: the test part of the world. */
static qk_status load_quiz(qk_quiz *quiz, cli_options *options, qk_error *err)
{
    static const cli_option_id of_world[] = { OPTION_WORLD, OPTION_PART, OPTION_CATEGORIES, OPTION_END };
    if (options->questions.n) {
        for (const cli_option_id *o = of_world; *o != OPTION_END; o++)
            if (options->given[*o])
                return qk_fail(err, QK_E_ARGUMENT, "--%s: expected no --questions beside it, found one",
                               cli_option_name(*o));
        return qk_quiz_load(quiz, options->questions.items, options->questions.n, options->limit, err);
    }
    if (!options->given[OPTION_PART]) options->part = QK_SPLIT_TEST;
    return qk_quiz_world(quiz, options->world, (qk_split)options->part, (unsigned)options->categories,
                         options->given[OPTION_LIMIT] ? options->limit : USUAL_LIMIT, err);
}

/* What the run folder knows its data by: the questions as if they were documents. */
static qk_status as_documents(qk_documents *out, const qk_quiz *quiz, qk_error *err)
{
    qk_documents set = { .n = quiz->n };
    qk_status status = qk_new_array(&set.items, quiz->n, sizeof *set.items, "questions", err);
    for (size_t i = 0; i < quiz->n && !status; i++) set.items[i].id = (char *)(uintptr_t)quiz->items[i].id;
    memcpy(set.sha256, quiz->sha256, sizeof set.sha256);
    if (!status) *out = set;
    return status;
}

static qk_status plan_model(json_t *rows, const qk_quiz *quiz, const qk_named_model *model, size_t context,
                            const qk_tasks_settings *settings, const qk_compute *compute, qk_error *err)
{
    qk_asked *asked = NULL;
    qk_sequence *sequences = NULL;
    qk_plan plan;
    qk_status status = qk_tasks_encode(&asked, quiz, model, context, settings->cut_left, compute->no_bos, err);
    if (!status) status = qk_new_array(&sequences, quiz->n, sizeof *sequences, "sequences", err);
    for (size_t i = 0; i < quiz->n && !status; i++)
        sequences[i] = (qk_sequence){ asked[i].tokens, asked[i].n_tokens, asked[i].n_tokens - asked[i].n_answer };
    if (!status) status = cli_plan(&plan, model->model, sequences, quiz->n, 1, true, compute, err);
    json_t *row = status ? NULL : cli_plan_json(&plan);
    if (!status) json_object_update_new(row, json_pack("{s:o,s:I,s:i}", "name", qk_json_text(model->name), "documents",
                                                       (json_int_t)quiz->n, "conditions", 1));
    if (!status && json_array_append_new(rows, row)) status = qk_out_of_memory(err, "plan", sizeof plan);
    qk_tasks_free(asked, quiz->n);
    free(sequences);
    return status;
}

static qk_status dry_run(cli_command *command, const cli_models *models, const qk_quiz *quiz,
                         const qk_tasks_settings *settings, const qk_compute *compute, qk_error *err)
{
    json_t *all = json_pack("{s:[]}", "plan"), *rows = json_object_get(all, "plan");
    size_t context = qk_study_context(models->items, models->n, compute);
    qk_status status = QK_OK;
    for (size_t i = 0; i < models->n && !status; i++)
        status = plan_model(rows, quiz, &models->items[i], context, settings, compute, err);
    if (!status) status = cli_show_plan(command, all, err);
    json_decref(all);
    return status;
}

static qk_status run_study(cli_command *command, const cli_models *models, const qk_quiz *quiz,
                           const qk_tasks_settings *settings, const qk_compute *compute, qk_error *err)
{
    qk_documents documents = { 0 };
    const qk_documents *sets[] = { &documents };
    cli_run run = { 0 };
    json_t *results = NULL;
    qk_status status = as_documents(&documents, quiz, err);
    if (!status) status = cli_run_open(&run, command, models, sets, 1, err);
    if (!status)
        status = qk_study_tasks(&results, models->items, models->n, quiz, settings, compute, run.run, err);
    if (!status) status = cli_run_finish(&run, command, results, print_tables, err);
    json_decref(results);
    free(documents.items);
    return cli_run_close(&run, status, err);
}

static qk_status run_tasks(cli_command *command, qk_error *err)
{
    cli_options *options = &command->options;
    const qk_tasks_settings settings = { .cut_left = options->cut_left };
    cli_models models = { 0 };
    qk_quiz quiz = { 0 };
    qk_status status = load_quiz(&quiz, options, err);
    if (!status) status = cli_load_models(&models, command, command->arguments, !options->dry_run, err);
    if (!status) {
        qk_compute compute = cli_compute(command, &models, 0);
        if (options->dry_run)
            status = dry_run(command, &models, &quiz, &settings, &compute, err);
        else
            status = run_study(command, &models, &quiz, &settings, &compute, err);
    }
    qk_quiz_free(&quiz);
    cli_models_free(&models);
    return status;
}

static const cli_option_id tasks_options[] = {
    OPTION_QUESTIONS, OPTION_WORLD,    OPTION_PART, OPTION_CATEGORIES, OPTION_LIMIT,
    OPTION_CUT_LEFT,  OPTIONS_COMPUTE, OPTIONS_RUN, OPTIONS_TALK,      OPTION_END,
};

const cli_verb verb_tasks = {
    .name = "tasks",
    .run = run_tasks,
    .arguments = "MODEL...",
    .min_arguments = 1,
    .max_arguments = SIZE_MAX,
    .options = tasks_options,
    .line = "Ask questions with known answers, and compare models on them",
    .details =
        "Each question is scored by teacher forcing: the answer is right where each of its tokens is the likeliest, "
        "given the prompt and the true tokens before it. Parametric questions ask what the model knows, contextual "
        "ones what their prompt says. Beside each accuracy stands what guessing among the choices and always giving "
        "the most frequent answer would reach; models are compared on the same questions (exact McNemar test). Without "
        "--questions 200 of each category (or --limit) about the synthetic world are asked.",
    .examples = "  qkscope tasks models/tiny models/tiny-drope --world 42 --part test --limit 500 -o runs/tasks\n"
                "  qkscope tasks models/tiny --questions facts.jsonl --questions keys.jsonl\n"
                "  qkscope tasks models/tiny --questions questions.jsonl --limit 100 -c 256 --cut-left --json --no-run",
};
