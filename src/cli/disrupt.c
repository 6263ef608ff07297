/* disrupt.c - experiment 2: break the massive values, and as many random ones, and measure what the model lost. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

enum { USUAL_CONTEXT = 512 /* tokens; the length of the published experiment */ };

/* ---- tables */

static qk_status print_summary(const json_t *results, qk_error *err)
{
    static const char *const heads[] = {
        "model", "condition", "nats/token", "delta", "95 %", "perplexity", "increase %"
    };
    cli_table table;
    size_t i;
    json_t *row;
    cli_table_start(&table, heads, "llrrrrr");
    json_array_foreach(json_object_get(results, "summary"), i, row) {
        cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
        cli_table_add(&table, "%s", cli_text(row, "condition"));
        cli_table_add_number(&table, cli_number(row, "nll_per_token"), 5);
        cli_table_add_number(&table, cli_number(row, "delta_nll"), 5);
        cli_table_add_interval(&table, json_object_get(row, "ci95"), 5);
        cli_table_add_number(&table, cli_number(row, "ppl"), 4);
        cli_table_add_number(&table, cli_number(row, "ppl_increase_pct"), 2);
    }
    return cli_table_print(&table, stdout, err);
}

static void add_models(cli_table *table, const json_t *results, const json_t *test)
{
    const json_t *pair = json_object_get(test, "models");
    if (json_array_size(pair) == 2)
        cli_table_add(table, "%s, %s", cli_model_name(results, json_number_value(json_array_get(pair, 0))),
                      cli_model_name(results, json_number_value(json_array_get(pair, 1))));
    else
        cli_table_add(table, "%s", cli_model_name(results, cli_number(test, "model")));
}

static qk_status print_tests(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "model", "comparison", "test", "n", "estimate", "95 %", "effect", "" };
    cli_table table;
    size_t i;
    json_t *row;
    if (json_array_size(json_object_get(results, "tests")) == 0) return QK_OK;
    putchar('\n');
    cli_table_start(&table, heads, "lllrrrrl");
    json_array_foreach(json_object_get(results, "tests"), i, row) {
        const char *refused = cli_text(row, "refused");
        add_models(&table, results, row);
        cli_table_add(&table, "%s", cli_text(row, "comparison"));
        cli_table_add(&table, "%s", cli_text(row, "name"));
        cli_table_add_number(&table, cli_number(row, "n"), 0);
        cli_table_add_number(&table, cli_number(row, "estimate"), 5);
        cli_table_add_interval(&table, json_object_get(row, "ci95"), 5);
        cli_table_add_number(&table, cli_number(row, "effect"), 2);
        cli_table_add(&table, "%s%s", *refused ? "refused: " : "", *refused ? refused : cli_text(row, "p"));
    }
    return cli_table_print(&table, stdout, err);
}

/* --preset africa: the published way of counting, beside the sound one above. */
static qk_status print_naive(const json_t *results, qk_error *err)
{
    static const char *const heads[] = {
        "model", "massive %", "+-sd", "random %", "+-sd", "M-R %", "t", "d", "log10 p"
    };
    static const char *const fields[] = {
        "massive_pct_mean", "massive_pct_std", "random_pct_mean", "random_pct_std", "m_minus_r_pct", "t", "d", "log10_p"
    };
    const json_t *naive = json_object_get(results, "naive");
    cli_table table;
    size_t i;
    json_t *row;
    if (!json_is_object(naive)) return QK_OK;
    puts("\nas published (not sound: see the labels in the report)");
    cli_table_start(&table, heads, "lrrrrrrrr");
    json_array_foreach(json_object_get(naive, "by_model"), i, row) {
        cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
            cli_table_add_number(&table, cli_number(row, fields[f]), 2);
    }
    qk_status status = cli_table_print(&table, stdout, err);
    if (!isnan(cli_number(naive, "ratio_of_m_minus_r")))
        printf("ratio of M-R differences: %.3f\n", cli_number(naive, "ratio_of_m_minus_r"));
    return status;
}

/* -v: in which kind of text it hurts. */
static qk_status print_categories(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "model", "condition", "category", "documents", "delta", "95 %", "increase %" };
    cli_table table;
    size_t i, j;
    json_t *row, *category;
    putchar('\n');
    cli_table_start(&table, heads, "lllrrrr");
    json_array_foreach(json_object_get(results, "summary"), i, row)
        json_array_foreach(json_object_get(row, "by_category"), j, category) {
            cli_table_add(&table, "%s", cli_model_name(results, cli_number(row, "model")));
            cli_table_add(&table, "%s", cli_text(row, "condition"));
            cli_table_add(&table, "%s", cli_text(category, "category"));
            cli_table_add_number(&table, cli_number(category, "documents"), 0);
            cli_table_add_number(&table, cli_number(category, "delta_nll"), 5);
            cli_table_add_interval(&table, json_object_get(category, "ci95"), 5);
            cli_table_add_number(&table, cli_number(category, "ppl_increase_pct"), 2);
        }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_tables(const json_t *results, bool verbose, qk_error *err)
{
    qk_status status = print_summary(results, err);
    if (!status && verbose) status = print_categories(results, err);
    if (!status) status = print_tests(results, err);
    return status ? status : print_naive(results, err);
}

/* ---- settings */

/* What a preset fixes: beside it these options are refused, or the numbers would not be the preset's. */
static const cli_option_id africa_fixes[] = {
    OPTION_LAMBDA, OPTION_CRITERION, OPTION_TOP_K, OPTION_SITE, OPTION_OP,    OPTION_TENSORS,
    OPTION_LAYERS, OPTION_CONTROL,   OPTION_SEEDS, OPTION_SEED, OPTION_CALIB, OPTION_END,
};
static const cli_option_id jin_fixes[] = {
    OPTION_LAMBDA, OPTION_CRITERION, OPTION_SITE,  OPTION_OP,  OPTION_TENSORS,
    OPTION_LAYERS, OPTION_CONTROL,   OPTION_CALIB, OPTION_END,
};

static qk_status check_settings(const cli_options *options, qk_error *err)
{
    static const cli_option_id *const fixed[] = { [QK_PRESET_AFRICA] = africa_fixes, [QK_PRESET_JIN] = jin_fixes };
    qk_status status = cli_check_preset(options, fixed[options->preset], err);
    if (!status && options->control == CONTROL_ROPE)
        status = qk_fail(err, QK_E_ARGUMENT, "--control: expected excluding, uniform or same-head, found rope");
    return status || options->preset == QK_PRESET_JIN ? status : cli_check_top_k(options, err);
}

static qk_disrupt_settings settings_of(const cli_options *options)
{
    qk_disrupt_settings settings = {
        .lambda = options->lambda,
        .criterion = (qk_criterion)options->criterion,
        .post_rotation = options->site == SITE_POST,
        .mean = options->op == OP_MEAN,
        .control = (qk_control)options->control,
        .n_controls = options->seeds,
        .seed = options->seed,
        .top_k = options->top_k,
        .preset = (qk_preset)options->preset,
        .n_bootstrap = options->bootstrap,
    };
    for (int t = 0; t < QK_N_TENSORS; t++) settings.tensor[t] = options->tensors >> t & 1;
    return settings;
}

/* ---- run */

typedef struct disrupt_inputs {
    cli_models models;
    qk_documents calibration, evaluation;
} disrupt_inputs;

static qk_status load_inputs(disrupt_inputs *in, cli_command *command, qk_error *err)
{
    const cli_options *options = &command->options;
    qk_status status = cli_load_divided(&in->calibration, &in->evaluation, command, err);
    if (status) return status;
    if (options->preset == QK_PRESET_NONE && !options->calib.n != !options->texts.n)
        cli_say(command, "note: %s",
                options->calib.n ? "measured on the built-in documents (--texts chooses others)"
                                 : "masks are found on the built-in documents (--calib chooses others)");
    return cli_load_models(&in->models, command, command->arguments, !options->dry_run, err);
}

/* Which documents the masks come from: africa's from the measured ones, jin's from each sequence itself. */
static qk_documents *masks_from(disrupt_inputs *in, int preset)
{
    if (preset == QK_PRESET_AFRICA) return &in->evaluation;
    return preset == QK_PRESET_JIN ? NULL : &in->calibration;
}

static qk_status run_study(cli_run *run, cli_command *command, disrupt_inputs *in, const qk_disrupt_settings *settings,
                           const qk_compute *compute, qk_error *err)
{
    qk_documents *calibration = masks_from(in, command->options.preset);
    const qk_documents *sets[] = { &in->evaluation, calibration };
    json_t *results = NULL;
    qk_status status = cli_run_open(run, command, &in->models, sets, calibration == &in->evaluation ? 1 : 2, err);
    if (!status)
        status = qk_study_disrupt(&results, in->models.items, in->models.n, calibration, &in->evaluation, settings,
                                  compute, run->run, err);
    if (!status) status = cli_run_finish(run, command, results, print_tables, err);
    json_decref(results);
    return status;
}

static qk_status run_disrupt(cli_command *command, qk_error *err)
{
    const cli_options *options = &command->options;
    disrupt_inputs in = { 0 };
    cli_run run = { 0 };
    qk_status status = check_settings(options, err);
    if (!status) status = load_inputs(&in, command, err);
    if (!status) {
        qk_disrupt_settings settings = settings_of(options);
        qk_compute compute = cli_compute(command, &in.models, USUAL_CONTEXT);
        status = cli_choose_layers(&settings.layers, command, &in.models, err);
        if (!status && options->dry_run)
            status = cli_print_plan(command, &in.models, &in.evaluation, 2 + options->seeds, true, &compute, err);
        else if (!status)
            status = run_study(&run, command, &in, &settings, &compute, err);
    }
    qk_documents_free(&in.calibration);
    qk_documents_free(&in.evaluation);
    cli_models_free(&in.models);
    return cli_run_close(&run, status, err);
}

static const cli_option_id disrupt_options[] = {
    OPTION_LAMBDA, OPTION_CRITERION, OPTION_TOP_K,    OPTION_SITE, OPTION_OP,     OPTION_TENSORS,
    OPTION_LAYERS, OPTION_CONTROL,   OPTION_SEEDS,    OPTION_SEED, OPTION_PRESET, OPTION_BOOTSTRAP,
    OPTION_CALIB,  OPTIONS_TEXTS,    OPTIONS_COMPUTE, OPTIONS_RUN, OPTIONS_TALK,  OPTION_END,
};

const cli_verb verb_disrupt = {
    .name = "disrupt",
    .run = run_disrupt,
    .arguments = "MODEL...",
    .min_arguments = 1,
    .max_arguments = SIZE_MAX,
    .options = disrupt_options,
    .line = "Break the massive values and matched random ones, and measure what the model loses",
    .details = "Masks are found on the documents of --calib, the loss is measured on those of --texts; what is not "
               "given comes "
               "from the built-in set, divided. The same document in both is refused. Leaves a run folder with tables, "
               "figures and report.html.",
    .examples =
        "  qkscope disrupt models/tiny\n"
        "  qkscope disrupt models/tiny models/tiny-drope --calib calib.jsonl --texts held-out.jsonl -o runs/pair\n"
        "  qkscope disrupt models/tiny --control same-head --op mean --layers 0-3 --seeds 20\n"
        "  qkscope disrupt models/tiny --quantize none,nf4,q8_0 -o runs/quantised\n"
        "  qkscope disrupt models/tiny --preset africa --max-mem 4G",
};
