/* tasks.c - questions with known answers: what does a model know, and what does it find in its prompt? */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/probing.h"
#include "cli/verbs.h"
#include "study/tasks.h"
#include "text/documents_world.h"

enum {
    USUAL_LIMIT = 200,      /* questions of each category of the world: Wilson's interval is then +-7 points at most */
    USUAL_SEEDS = 3,        /* random controls */
    CALIBRATION_WORLD = 24  /* documents of the world's validation part that masks are found on */
};

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
    static const char *const heads[] = { "model", "condition", "kind",        "category", "n",             "right",
                                         "unparsed", "%",     "95 %",      "corrected %", "chance %", "same answer %",
                                         "nats/answer" };
    cli_table table;
    size_t i;
    json_t *row;
    cli_table_start(&table, heads, "llllrrrrrrrrr");
    json_array_foreach(json_object_get(results, "categories"), i, row) {
        cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
        cli_table_add(&table, "%s", cli_text(row, "condition"));
        cli_table_add(&table, "%s", cli_text(row, "kind"));
        cli_table_add(&table, "%s", cli_text(row, "category"));
        cli_table_add_number(&table, cli_number(row, "questions"), 0);
        cli_table_add_number(&table, cli_number(row, "right"), 0);
        cli_table_add_number(&table, cli_number(row, "unparsed"), 0);
        add_percent(&table, cli_number(row, "accuracy"));
        add_percent_interval(&table, json_object_get(row, "ci95"), 100, 1);
        add_percent(&table, cli_number(row, "corrected"));
        add_percent(&table, cli_number(row, "chance"));
        add_percent(&table, cli_number(row, "most_common"));
        cli_table_add_number(&table, cli_number(row, "nll"), 4);
    }
    return cli_table_print(&table, stdout, err);
}

/* Single controls stand behind their mean with -v only. */
static qk_status print_kinds(const json_t *results, bool verbose, qk_error *err)
{
    static const char *const heads[] = { "model", "condition", "kind",  "categories", "mean %", "95 %", "corrected %",
                                         "lost %", "95 %", "n", "right", "unparsed", "nats/answer" };
    cli_table table;
    size_t i;
    json_t *row;
    putchar('\n');
    cli_table_start(&table, heads, "lllrrrrrrrrrr");
    json_array_foreach(json_object_get(results, "kinds"), i, row) {
        if (!verbose && strncmp(cli_text(row, "condition"), "random-", 7) == 0) continue;
        cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
        cli_table_add(&table, "%s", cli_text(row, "condition"));
        cli_table_add(&table, "%s", cli_text(row, "kind"));
        cli_table_add_number(&table, cli_number(row, "categories"), 0);
        add_percent(&table, cli_number(row, "macro"));
        add_percent_interval(&table, json_object_get(row, "macro_ci95"), 100, 1);
        add_percent(&table, cli_number(row, "corrected"));
        add_percent(&table, cli_number(row, "loss"));
        add_percent_interval(&table, json_object_get(row, "loss_ci95"), 100, 1);
        cli_table_add_number(&table, cli_number(row, "questions"), 0);
        cli_table_add_number(&table, cli_number(row, "right"), 0);
        cli_table_add_number(&table, cli_number(row, "unparsed"), 0);
        cli_table_add_number(&table, cli_number(row, "nll"), 4);
    }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_errors(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "model", "condition", "category", "n", "exact", "truncated", "near miss",
                                         "wrong length", "generic", "none" };
    static const char *const classes[] = { "exact", "truncated", "near_miss", "wrong_length", "generic", "none" };
    const json_t *rows = json_object_get(results, "errors");
    cli_table table;
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) return QK_OK;
    putchar('\n');
    cli_table_start(&table, heads, "lllrrrrrrr");
    json_array_foreach(rows, i, row) {
        cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
        cli_table_add(&table, "%s", cli_text(row, "condition"));
        cli_table_add(&table, "%s", cli_text(row, "category"));
        cli_table_add_number(&table, cli_number(row, "questions"), 0);
        for (size_t c = 0; c < sizeof classes / sizeof *classes; c++) {
            bool whole = cli_number(row, classes[c]) == (double)(long)cli_number(row, classes[c]);
            cli_table_add_number(&table, cli_number(row, classes[c]), whole ? 0 : 1);
        }
    }
    return cli_table_print(&table, stdout, err);
}

/* "a, massive", or "massive" where one model is spoken of. */
static void add_side(cli_table *table, const json_t *results, const json_t *row, size_t side)
{
    const json_t *models = json_object_get(row, "models"), *conditions = json_object_get(row, "conditions");
    cli_table_add(table, "%s, %s", cli_model_name(results, json_number_value(json_array_get(models, side))),
                  json_string_value(json_array_get(conditions, side)));
}

/* With -v what each test could have found, and p by Holm. */
static qk_status print_tests(const json_t *results, bool verbose, qk_error *err)
{
    static const char *const heads[] = { "contrast",   "against", "of",   "questions", "only first", "only second",
                                         "difference", "95 %",    "test", "",          "log10 p, Holm", "detectable" };
    const json_t *rows = json_object_get(results, "tests");
    cli_table table;
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) return QK_OK;
    putchar('\n');
    cli_table_start(&table, heads, verbose ? "llllrrrrllrr" : "llllrrrrll");
    json_array_foreach(rows, i, row) {
        const char *refused = cli_text(row, "refused");
        cli_table_add(&table, "%s", cli_text(row, "contrast"));
        for (size_t side = 0; side < 2; side++) add_side(&table, results, row, side);
        cli_table_add(&table, "%s", cli_text(row, "comparison"));
        cli_table_add_number(&table, cli_number(row, "only_first"), 0);
        cli_table_add_number(&table, cli_number(row, "only_second"), 0);
        add_percent(&table, cli_number(row, "estimate"));
        add_percent_interval(&table, json_object_get(row, "ci95"), 100, 1);
        cli_table_add(&table, "%s", cli_text(row, "name"));
        cli_table_add(&table, "%s%s", *refused ? "refused: " : "", *refused ? refused : cli_text(row, "p"));
        if (!verbose) continue;
        cli_table_add_number(&table, cli_number(row, "log10_p_holm"), 2);
        add_percent(&table, cli_number(row, "detectable"));
    }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_tables(const json_t *results, bool verbose, qk_error *err)
{
    bool broken = json_array_size(json_object_get(results, "conditions")) >
                  json_array_size(json_object_get(results, "models"));
    qk_status status = verbose || !broken ? print_categories(results, err) : QK_OK;
    if (!status) status = print_kinds(results, verbose, err);
    if (!status) status = print_errors(results, err);
    return status ? status : print_tests(results, verbose, err);
}

/* ---- run */

/* Options of one source of questions have no meaning beside another. */
static qk_status check_source(const cli_options *options, qk_error *err)
{
    static const struct { cli_option_id source; cli_option_id options[8]; } sources[] = {
        { OPTION_QUESTIONS, { OPTION_FORMAT, OPTION_TEMPLATE, OPTION_KIND, OPTION_CATEGORY } },
        { OPTION_PROBES,
          { OPTION_PROBE_TOKENS, OPTION_PROBE_SEED, OPTION_KEY_LENGTH, OPTION_KEY_ALPHABET, OPTION_DEPTHS } },
        { OPTION_END, { OPTION_WORLD, OPTION_PART, OPTION_CATEGORIES } }, /* what is asked without both */
    };
    bool files = options->questions.n > 0, probes = options->given[OPTION_PROBES];
    cli_option_id chosen = files ? OPTION_QUESTIONS : probes ? OPTION_PROBES : OPTION_END;
    if (files && probes)
        return qk_fail(err, QK_E_ARGUMENT, "--probes: expected no --questions beside it, found one");
    for (size_t s = 0; s < sizeof sources / sizeof *sources; s++)
        for (const cli_option_id *o = sources[s].options; *o != OPTION_END && sources[s].source != chosen; o++) {
            if (!options->given[*o]) continue;
            if (sources[s].source != OPTION_END)
                return qk_fail(err, QK_E_ARGUMENT, "--%s: expected --%s beside it, found none", cli_option_name(*o),
                               cli_option_name(sources[s].source));
            return qk_fail(err, QK_E_ARGUMENT, "--%s: expected no --%s beside it, found one", cli_option_name(*o),
                           cli_option_name(chosen));
        }
    return QK_OK;
}

/* Without files: the test part of the world. */
static qk_status load_quiz(qk_quiz *quiz, cli_options *options, qk_error *err)
{
    if (options->questions.n) {
        const qk_quiz_reading reading = {
            .format = options->given[OPTION_FORMAT] ? cli_choice_name(OPTION_FORMAT, options->format) : NULL,
            .template = options->template,
            .category = options->category,
            .kind = options->given[OPTION_KIND] ? (qk_quiz_kind)options->kind : QK_KIND_AS_FILE,
            .per_category = options->limit,
        };
        return qk_quiz_read(quiz, options->questions.items, options->questions.n, &reading, err);
    }
    if (!options->given[OPTION_PART]) options->part = QK_SPLIT_TEST;
    return qk_quiz_world(quiz, options->world, (qk_split)options->part, (unsigned)options->categories,
                         options->given[OPTION_LIMIT] ? options->limit : USUAL_LIMIT, err);
}

static qk_status load_probes(qk_quiz *quiz, cli_command *command, const cli_models *models, qk_error *err)
{
    const cli_options *options = &command->options;
    qk_compute compute = cli_compute(command, models, 0);
    return cli_load_probes(quiz, command, models, qk_study_context(models->items, models->n, &compute),
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

static size_t n_conditions(const qk_tasks_settings *settings)
{
    return settings->broken ? 2 + settings->edits.both_ops + settings->edits.n_controls : 1;
}

static qk_status plan_model(json_t *rows, const qk_quiz *quiz, const qk_named_model *model, size_t context,
                            const qk_tasks_settings *settings, const qk_compute *compute, qk_error *err)
{
    qk_asked *asked = NULL;
    qk_sequence *sequences = NULL;
    qk_plan plan;
    size_t n = 0;
    double cache = 0;
    qk_status status = qk_tasks_encode(&asked, quiz, model, context, settings, compute->no_bos, err);
    if (!status) status = qk_tasks_sequences(&sequences, &n, asked, quiz->n, err);
    if (!status) status = cli_plan(&plan, model->model, sequences, n, n_conditions(settings), true, compute, err);
    if (!status) status = qk_tasks_cache_bytes(&cache, quiz, asked, &model->model->config, n_conditions(settings), err);
    if (!status) plan.total_bytes += (size_t)cache;
    json_t *row = status ? NULL : cli_plan_json(&plan);
    if (!status)
        json_object_update_new(row, json_pack("{s:o,s:I,s:I,s:I}", "name", qk_json_text(model->name), "documents",
                                              (json_int_t)n, "conditions", (json_int_t)n_conditions(settings),
                                              "cache_bytes", (json_int_t)cache));
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

/* Where masks are found: --calib, or of the world its validation part, else the built-in documents. */
static qk_status load_calibration(qk_documents *out, cli_command *command, const qk_quiz *quiz, qk_error *err)
{
    if (!command->options.calib.n && quiz->part)
        return qk_documents_world(out, quiz->seed, QK_SPLIT_VALIDATION, CALIBRATION_WORLD, SIZE_MAX, err);
    return cli_load_calibration(out, command, 0, err);
}

static qk_status run_study(cli_command *command, const cli_models *models, const qk_quiz *quiz,
                           const qk_tasks_settings *settings, const qk_compute *compute, qk_error *err)
{
    qk_documents questions = { 0 }, calibration = { 0 };
    bool calibrates = settings->broken && settings->edits.preset != QK_PRESET_JIN;
    qk_documents *masks_from = calibrates ? &calibration : NULL;
    const qk_documents *sets[] = { &questions, masks_from };
    cli_run run = { 0 };
    json_t *results = NULL;
    qk_status status = calibrates ? load_calibration(&calibration, command, quiz, err) : QK_OK;
    if (!status) status = as_documents(&questions, quiz, err);
    if (!status) status = cli_run_open(&run, command, models, sets, 2, err);
    if (!status)
        status = qk_study_tasks(&results, models->items, models->n, quiz, masks_from, settings, compute, run.run, err);
    if (!status) status = cli_run_finish(&run, command, results, print_tables, err);
    json_decref(results);
    free(questions.items);
    qk_documents_free(&calibration);
    return cli_run_close(&run, status, err);
}

/* ---- settings */

/* Options that say how to break: beside --conditions baseline they would do nothing. */
static const cli_option_id of_edits[] = {
    OPTION_CALIB, OPTION_LAMBDA, OPTION_CRITERION, OPTION_TOP_K, OPTION_SITE, OPTION_TENSORS, OPTION_LAYERS,
    OPTION_CONTROL, OPTION_SEEDS, OPTION_END,
};

static const cli_option_id jin_fixes[] = {
    OPTION_LAMBDA, OPTION_CRITERION, OPTION_SITE, OPTION_TENSORS, OPTION_LAYERS, OPTION_CONTROL, OPTION_CALIB,
    OPTION_PHASE,  OPTION_END,
};

static qk_status settings_of(qk_tasks_settings *settings, cli_options *options, qk_error *err)
{
    int all = CONDITION_MASSIVE | CONDITION_MEAN | CONDITION_RANDOM;
    bool jin = options->preset == QK_PRESET_JIN;
    if (jin) all = CONDITION_MASSIVE | CONDITION_RANDOM; /* its massive is at its mean */
    int conditions = options->given[OPTION_CONDITIONS] ? options->conditions : all;
    qk_status status = jin ? cli_check_preset(options, jin_fixes, err) : QK_OK;
    if (status) return status;
    if (options->preset == QK_PRESET_AFRICA)
        return qk_fail(err, QK_E_ARGUMENT, "--preset: expected jin for tasks, found africa");
    if (jin && conditions & CONDITION_MEAN)
        return qk_fail(err, QK_E_ARGUMENT, "--conditions mean: expected no --preset jin beside it, whose massive does "
                       "so");
    if (!options->given[OPTION_SEEDS]) options->seeds = USUAL_SEEDS;
    if (!options->given[OPTION_CONDITIONS]) options->conditions = all | CONDITION_BASELINE;
    *settings = (qk_tasks_settings){
        .cut_left = options->cut_left,
        .prefill = options->phase == QK_PHASE_PREFILL || jin,
        .max_new = options->given[OPTION_MAX_NEW_TOKENS] ? options->max_new_tokens : 0,
        .broken = (conditions & all) != 0,
        .lenient = !options->given[OPTION_CONDITIONS],
        .edits = { .lambda = options->lambda,
                   .criterion = (qk_criterion)options->criterion,
                   .post_rotation = options->site == SITE_POST,
                   .both_ops = (conditions & CONDITION_MEAN) != 0,
                   .control = (qk_control)options->control,
                   .n_controls = conditions & CONDITION_RANDOM ? options->seeds : 0,
                   .seed = options->seed,
                   .preset = (qk_preset)options->preset,
                   .top_k = options->top_k },
    };
    for (int t = 0; t < QK_N_TENSORS; t++) settings->edits.tensor[t] = options->tensors >> t & 1;
    for (const cli_option_id *o = of_edits; !settings->broken && *o != OPTION_END; o++)
        if (options->given[*o])
            return qk_fail(err, QK_E_ARGUMENT, "--%s: expected a condition with edits, found --conditions baseline",
                           cli_option_name(*o));
    if (options->control == CONTROL_ROPE)
        return qk_fail(err, QK_E_ARGUMENT, "--control: expected excluding, uniform or same-head, found rope");
    return jin ? QK_OK : cli_check_top_k(options, err);
}

/* Options of writing where nothing is written would be read by nobody. */
static qk_status check_written(const cli_options *options, const qk_quiz *quiz, qk_error *err)
{
    static const cli_option_id of_writing[] = { OPTION_PHASE, OPTION_PRESET, OPTION_MAX_NEW_TOKENS, OPTION_END };
    for (size_t c = 0; c < quiz->n_categories; c++)
        if (qk_is_generated(quiz->categories[c].scoring)) return QK_OK;
    for (const cli_option_id *o = of_writing; *o != OPTION_END; o++)
        if (options->given[*o])
            return qk_fail(err, QK_E_ARGUMENT, "--%s: expected answers that are written (--score generated, "
                           "first-integer or contains), found %s", cli_option_name(*o),
                           qk_scoring_name(quiz->categories[0].scoring));
    return QK_OK;
}

static qk_status judge_as_asked(qk_quiz *quiz, const cli_options *options, qk_error *err)
{
    qk_status status = QK_OK;
    if (options->given[OPTION_SCORE]) status = qk_quiz_score(quiz, (qk_scoring)options->score, err);
    return status ? status : check_written(options, quiz, err);
}

static qk_status run_tasks(cli_command *command, qk_error *err)
{
    cli_options *options = &command->options;
    qk_tasks_settings settings;
    cli_models models = { 0 };
    qk_quiz quiz = { 0 };
    bool probes = options->given[OPTION_PROBES];
    qk_status status = settings_of(&settings, options, err);
    if (!status) status = check_source(options, err);
    if (!status && !probes) status = load_quiz(&quiz, options, err);
    if (!status && !probes) status = judge_as_asked(&quiz, options, err);
    if (!status) status = cli_load_models(&models, command, command->arguments, !options->dry_run, err);
    if (!status && probes) status = load_probes(&quiz, command, &models, err); /* as long as models count */
    if (!status && probes) status = judge_as_asked(&quiz, options, err);
    if (!status) status = cli_choose_layers(&settings.edits.layers, command, &models, err);
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
    OPTION_QUESTIONS, OPTION_FORMAT, OPTION_TEMPLATE, OPTION_KIND, OPTION_CATEGORY, OPTION_WORLD, OPTION_PART,
    OPTION_CATEGORIES, OPTIONS_PROBES, OPTION_PROBE_SEED, OPTION_LIMIT, OPTION_SCORE,
    OPTION_MAX_NEW_TOKENS, OPTION_PHASE,
    OPTION_CUT_LEFT,  OPTION_CONDITIONS, OPTION_PRESET, OPTION_LAMBDA, OPTION_CRITERION, OPTION_TOP_K, OPTION_SITE,
    OPTION_TENSORS,   OPTION_LAYERS, OPTION_CONTROL, OPTION_SEEDS, OPTION_SEED, OPTION_CALIB,
    OPTIONS_COMPUTE,  OPTIONS_RUN, OPTIONS_TALK, OPTION_END,
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
        "Each question is asked as the model is, with its massive query and key dims zeroed, with them replaced by "
        "their mean, and with as many random dims zeroed (--conditions). An answer is right where each of its tokens "
        "is the likeliest, given the prompt and the true tokens before it (--score exact), where it is the likeliest "
        "of the choices, or by what the model writes greedily up to the end of the line: all of it, its first integer, "
        "what it contains. What cannot be parsed counts as wrong. Parametric questions ask what the model knows, "
        "contextual ones what their prompt says. Beside each accuracy stands what guessing would reach; conditions and "
        "models are compared on the same questions (exact McNemar test). Masks are found on --calib, else on the "
        "world's validation part, or with --questions or --probes on built-in documents. --probes asks generated "
        "questions that need no file: pass keys, needles, near misses. Without both, 200 of each category (or --limit) "
        "about the synthetic world are asked.",
    .examples = "  qkscope tasks models/tiny models/tiny-drope --world 42 --part test --limit 500 -o runs/tasks\n"
                "  qkscope tasks models/tiny --probes passkey,verify,rank --probe-tokens 128,256 --limit 50\n"
                "  qkscope tasks models/tiny --conditions massive,random --lambda 4 --seeds 5 --layers 0-3\n"
                "  qkscope tasks models/tiny --conditions baseline --categories fact,pass_key\n"
                "  qkscope tasks models/tiny --questions facts.jsonl --questions keys.jsonl\n"
                "  qkscope tasks models/tiny --categories pass_key,sum --score first-integer --phase prefill\n"
                "  qkscope tasks models/tiny --probes jin --preset jin --score contains\n"
                "  qkscope tasks models/tiny --questions cities.csv --limit 1000 --calib calib.jsonl\n"
                "  qkscope tasks models/tiny --questions gsm8k.jsonl --template 'Q: {question}\\nA: The answer is'\n"
                "  qkscope tasks models/tiny --questions questions.jsonl --limit 100 -c 256 --cut-left --json --no-run",
};
