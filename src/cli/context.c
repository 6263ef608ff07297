/* context.c - what happens beyond the trained context: every method on every model, losses and keys found. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"
#include "study/context.h"
#include "text/documents_world.h"

enum {
    USUAL_TEXTS = 2,
    USUAL_TRIALS = 8,
    USUAL_SEEDS = 1,        /* random controls: each is a pass of its own at every length */
    WORLD_BYTES_A_TOKEN = 8,
    CALIBRATION_WORLD = 24, /* documents of the world's validation part that masks are found on, as in tasks */
};

/* ---- tables: a row an arm, a column a length */

/* Distinct lengths of the rows, ascending as they come. */
static size_t columns_of(double columns[QK_CONTEXT_LENGTHS], const json_t *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        double stretch = cli_number(json_array_get(rows, i), "stretch");
        size_t k = 0;
        while (k < n && columns[k] != stretch) k++;
        if (k == n && n < QK_CONTEXT_LENGTHS) columns[n++] = stretch;
    }
    return n;
}

static const json_t *find_row(const json_t *rows, size_t arm, double stretch, const char *key, const char *value)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (cli_number(row, "arm") == (double)arm && cli_number(row, "stretch") == stretch &&
            strcmp(cli_text(row, key), value) == 0)
            return row;
    }
    return NULL;
}

typedef struct view {
    const char *title, *array, *key, *value, *number;
    double scale;
    int digits;
} view;

static qk_status print_view(const json_t *results, const view *v, qk_error *err)
{
    const json_t *methods = json_object_get(results, "methods"), *rows = json_object_get(results, v->array);
    double columns[QK_CONTEXT_LENGTHS];
    size_t n = columns_of(columns, rows);
    char heads[QK_CONTEXT_LENGTHS][24];
    const char *names[QK_CONTEXT_LENGTHS + 3] = { "model", "method" };
    char alignment[QK_CONTEXT_LENGTHS + 3] = "ll";
    cli_table table;
    if (n == 0) return QK_OK;
    for (size_t k = 0; k < n; k++) {
        snprintf(heads[k], sizeof heads[k], "%gx", columns[k]);
        names[k + 2] = heads[k];
        alignment[k + 2] = 'r';
    }
    bool any = false;
    for (size_t a = 0; !any && a < json_array_size(methods); a++)
        any = find_row(rows, a, columns[0], v->key, v->value) != NULL;
    if (!any) return QK_OK;
    printf("\n%s\n", v->title);
    cli_table_start(&table, names, alignment);
    for (size_t a = 0; a < json_array_size(methods); a++) {
        const json_t *method = json_array_get(methods, a);
        cli_table_add(&table, "%s", cli_model_name(results, cli_number(method, "model")));
        cli_table_add(&table, "%s", cli_text(method, "method"));
        for (size_t k = 0; k < n; k++) {
            const json_t *row = find_row(rows, a, columns[k], v->key, v->value);
            cli_table_add_number(&table, row ? v->scale * cli_number(row, v->number) : NAN, v->digits);
        }
    }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_tests(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "task",         "length",     "arm",  "against", "n", "only arm",
                                         "only against", "difference", "95 %", "test",    "" };
    const json_t *rows = json_object_get(results, "tests"), *methods = json_object_get(results, "methods");
    cli_table table;
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) return QK_OK;
    putchar('\n');
    cli_table_start(&table, heads, "lrllrrrrrll");
    json_array_foreach(rows, i, row)
    {
        const json_t *ci = json_object_get(row, "ci95");
        cli_table_add(&table, "%s", cli_text(row, "task"));
        cli_table_add(&table, "%gx", cli_number(row, "stretch"));
        cli_table_add(&table, "%s", cli_text(json_array_get(methods, (size_t)cli_number(row, "arm")), "name"));
        cli_table_add(&table, "%s", cli_text(json_array_get(methods, (size_t)cli_number(row, "reference")), "name"));
        cli_table_add_number(&table, cli_number(row, "n"), 0);
        cli_table_add_number(&table, cli_number(row, "only_arm"), 0);
        cli_table_add_number(&table, cli_number(row, "only_reference"), 0);
        cli_table_add_number(&table, 100 * cli_number(row, "estimate"), 1);
        if (json_is_array(ci))
            cli_table_add(&table, "[%.1f, %.1f]", 100 * json_number_value(json_array_get(ci, 0)),
                          100 * json_number_value(json_array_get(ci, 1)));
        else
            cli_table_add(&table, "-");
        cli_table_add(&table, "%s", cli_text(row, "name"));
        cli_table_add(&table, "%s", *cli_text(row, "refused") ? cli_text(row, "refused") : cli_text(row, "p"));
    }
    return cli_table_print(&table, stdout, err);
}

static qk_status print_tables(const json_t *results, bool verbose, qk_error *err)
{
    static const view views[] = {
        { "loss of the text from its start, nats per token", "loss", "protocol", "truncated", "nll_per_token", 1, 4 },
        { "loss under the sliding window, nats per token", "loss", "protocol", "sliding", "nll_per_token", 1, 4 },
        { "pass key found, %, all depths", "retrieval", "task", "pass_key", "accuracy", 100, 1 },
        { "pass keys found among several, %, all depths", "retrieval", "task", "pass_keys", "accuracy", 100, 1 },
        { "needle found among four, %, all depths", "retrieval", "task", "needle", "accuracy", 100, 1 },
        { "pass key found with massive dims zeroed, %", "broken", "condition", "massive", "accuracy", 100, 1 },
        { "pass key found with massive dims at their mean, %", "broken", "condition", "mean", "accuracy", 100, 1 },
        { "pass key found with random dims zeroed, %", "broken", "condition", "random", "accuracy", 100, 1 },
    };
    const json_t *settings = json_object_get(results, "settings");
    qk_status status = QK_OK;
    printf("lengths in trained contexts of %.0f tokens", cli_number(settings, "trained"));
    double n_texts = cli_number(settings, "texts");
    if (n_texts > 0) printf("; %.0f text%s", n_texts, n_texts == 1 ? "" : "s");
    putchar('\n');
    for (size_t i = 0; !status && i < sizeof views / sizeof *views; i++) status = print_view(results, &views[i], err);
    return status || !verbose ? status : print_tests(results, err);
}

/* ---- settings */

static qk_status read_list(double *out, size_t *n, size_t most, cli_command *command, cli_option_id option,
                           const char *text, double low, double high, qk_error *err)
{
    cli_list list;
    *n = 0;
    if (strcmp(text, "nothing") == 0) return QK_OK;
    qk_status status = cli_split_list(&list, &command->arena, cli_option_name(option), text, err);
    if (!status && list.n > most)
        return qk_fail(err, QK_E_ARGUMENT, "--%s: expected at most %zu numbers, found %zu", cli_option_name(option),
                       most, list.n);
    for (size_t i = 0; !status && i < list.n; i++) {
        char what[64];
        snprintf(what, sizeof what, "--%s", cli_option_name(option));
        status = cli_parse_number(&out[i], what, list.items[i], low, high, err);
        if (!status && i > 0 && out[i] <= out[i - 1])
            return qk_fail(err, QK_E_ARGUMENT, "%s: expected ascending numbers, found %s behind %s", what,
                           list.items[i], list.items[i - 1]);
        *n = i + 1;
    }
    return status;
}

/* --conditions: what it asks for beside the models as they are; false: nothing. */
static qk_status read_conditions(bool *broken, qk_context_settings *s, cli_options *o, qk_error *err)
{
    static const cli_option_id of_edits[] = { OPTION_LAMBDA,  OPTION_CRITERION, OPTION_TOP_K, OPTION_SITE,
                                              OPTION_TENSORS, OPTION_LAYERS,    OPTION_CONTROL, OPTION_SEEDS };
    int edited = CONDITION_MASSIVE | CONDITION_MEAN | CONDITION_RANDOM;
    *broken = o->given[OPTION_CONDITIONS] && o->conditions & edited;
    for (size_t i = 0; i < sizeof of_edits / sizeof *of_edits && !*broken; i++)
        if (o->given[of_edits[i]])
            return qk_fail(err, QK_E_ARGUMENT, "--%s: expected --conditions with massive, mean or random beside it",
                           cli_option_name(of_edits[i]));
    if (*broken && !(o->conditions & CONDITION_MASSIVE))
        return qk_fail(err, QK_E_ARGUMENT, "--conditions: expected massive among them: the others are read beside it");
    if (o->control == CONTROL_ROPE)
        return qk_fail(err, QK_E_ARGUMENT, "--control: expected excluding, uniform or same-head, found rope");
    if (!o->given[OPTION_SEEDS]) o->seeds = USUAL_SEEDS;
    s->edits = (qk_disrupt_settings){ .lambda = o->lambda,
                                      .criterion = (qk_criterion)o->criterion,
                                      .post_rotation = o->site == SITE_POST,
                                      .both_ops = (o->conditions & CONDITION_MEAN) != 0,
                                      .control = (qk_control)o->control,
                                      .n_controls = o->conditions & CONDITION_RANDOM ? o->seeds : 0,
                                      .seed = o->seed,
                                      .top_k = o->top_k };
    for (int t = 0; t < QK_N_TENSORS; t++) s->edits.tensor[t] = o->tensors >> t & 1;
    return *broken ? cli_check_top_k(o, err) : QK_OK;
}

static qk_status read_settings(qk_context_settings *s, cli_command *command, qk_error *err)
{
    cli_options *o = &command->options;
    if (!o->lengths) o->lengths = "0.5,1,2,4,8,16";
    if (!o->depths) o->depths = "0,0.25,0.5,0.75,1";
    if (!o->given[OPTION_TRIALS]) o->trials = USUAL_TRIALS;
    if (!o->given[OPTION_LIMIT]) o->limit = USUAL_TEXTS;
    if (!o->given[OPTION_HAYSTACK]) o->haystack = o->texts.n > 0;
    if (!o->given[OPTION_FIND])
        o->find = 1 << QK_TASK_PASS_KEY | 1 << (o->haystack ? QK_TASK_NEEDLE : QK_TASK_PASS_KEYS);
    if (o->haystack && o->find >> QK_TASK_PASS_KEYS & 1)
        return qk_fail(err, QK_E_ARGUMENT, "--find pass_keys: expected --haystack world, found plain");
    *s = (qk_context_settings){
        .methods = (unsigned)o->methods,
        .trials = o->trials,
        .texts = o->limit,
        .scale = o->given[OPTION_ROPE_SCALE] ? o->rope_scale : 0,
        .slope = o->given[OPTION_TEMPERATURE_SLOPE] ? o->temperature_slope : NAN,
        .temperature_context = o->temperature_context,
        .sliding = o->sliding,
        .stride = o->stride,
        .tasks = (unsigned)o->find,
        .plain = o->haystack,
        .world = o->world,
        .n_bootstrap = o->bootstrap,
    };
    qk_status status =
        read_list(s->lengths, &s->n_lengths, QK_CONTEXT_LENGTHS, command, OPTION_LENGTHS, o->lengths, 1e-6, 1e6, err);
    if (!status)
        status = read_list(s->depths, &s->n_depths, QK_CONTEXT_DEPTHS, command, OPTION_DEPTHS, o->depths, 0, 1, err);
    if (!status && s->n_depths == 0) status = qk_fail(err, QK_E_ARGUMENT, "--depths: expected a depth, found none");
    if (!status && o->find_lengths)
        status = read_list(s->task_lengths, &s->n_task_lengths, QK_CONTEXT_LENGTHS, command, OPTION_FIND_LENGTHS,
                           o->find_lengths, 1e-6, 1e6, err);
    for (size_t i = 0; !status && !o->find_lengths && i < s->n_lengths; i++)
        if (s->lengths[i] <= 4) s->task_lengths[s->n_task_lengths++] = s->lengths[i];
    return status;
}

/* ---- documents */

/* Without --texts: the test part of the world to read, its validation part to fit the temperature. */
static qk_status load_texts(qk_documents *documents, qk_documents *held_out, cli_command *command,
                            const cli_models *models, const qk_context_settings *s, qk_error *err)
{
    const cli_options *o = &command->options;
    const qk_documents_options how = { o->split, 0 };
    double longest = fmax(s->n_lengths ? s->lengths[s->n_lengths - 1] : 0,
                          s->n_task_lengths ? s->task_lengths[s->n_task_lengths - 1] : 0);
    size_t trained = o->context;
    qk_status status = QK_OK;
    for (size_t m = 0; m < models->n && !o->given[OPTION_CONTEXT]; m++) {
        size_t own = qk_trained_context(&models->items[m].model->config);
        if (m == 0 || own < trained) trained = own;
    }
    size_t n_bytes = (size_t)(longest * (double)trained) * WORLD_BYTES_A_TOKEN;
    if (o->calib.n) status = qk_documents_load(held_out, o->calib.items, o->calib.n, &how, err);
    if (o->texts.n) return status ? status : qk_documents_load(documents, o->texts.items, o->texts.n, &how, err);
    if (!status && o->split) return qk_fail(err, QK_E_ARGUMENT, "--split: expected --texts beside it, found none");
    if (!status && s->n_lengths)
        status = qk_documents_world(documents, o->world, QK_SPLIT_TEST, SIZE_MAX, n_bytes * s->texts, err);
    if (!status && !o->calib.n)
        status = qk_documents_world(held_out, o->world, QK_SPLIT_VALIDATION, SIZE_MAX, 2 * n_bytes, err);
    return status;
}

/* Where masks are found: --calib, or beside the world its validation part, else the built-in documents. */
static qk_status load_masks(qk_documents *out, cli_command *command, qk_error *err)
{
    const cli_options *o = &command->options;
    if (!o->calib.n && !o->texts.n)
        return qk_documents_world(out, o->world, QK_SPLIT_VALIDATION, CALIBRATION_WORLD, SIZE_MAX, err);
    return cli_load_calibration(out, command, 0, err);
}

/* ---- run */

static qk_status run_study(cli_command *command, const cli_models *models, qk_documents *documents,
                           qk_documents *held_out, const qk_context_settings *settings, const qk_compute *compute,
                           qk_error *err)
{
    const qk_documents *sets[] = { documents->n ? documents : NULL, held_out->n ? held_out : NULL,
                                   settings->masks_from };
    cli_run run = { 0 };
    json_t *results = NULL;
    qk_status status = cli_run_open(&run, command, models, sets, 3, err);
    if (!status)
        status = qk_study_long_context(&results, models->items, models->n, documents, held_out, settings, compute,
                                       run.run, false, err);
    if (!status) status = cli_run_finish(&run, command, results, print_tables, err);
    json_decref(results);
    return cli_run_close(&run, status, err);
}

static qk_status run_context(cli_command *command, qk_error *err)
{
    cli_options *o = &command->options;
    cli_models models = { 0 };
    qk_documents documents = { 0 }, held_out = { 0 }, masks_from = { 0 };
    qk_context_settings settings;
    bool broken = false;
    json_t *plan = NULL;
    qk_status status = read_settings(&settings, command, err);
    if (!status) status = read_conditions(&broken, &settings, o, err);
    if (!status) status = cli_load_models(&models, command, command->arguments, !o->dry_run, err);
    if (!status) status = load_texts(&documents, &held_out, command, &models, &settings, err);
    if (!status && broken) status = cli_choose_layers(&settings.edits.layers, command, &models, err);
    if (!status && broken) status = load_masks(&masks_from, command, err);
    if (broken) settings.masks_from = &masks_from;
    if (!status) {
        qk_compute compute = { .max_tokens = o->given[OPTION_CONTEXT] ? o->context : 0,
                               .no_bos = o->no_bos,
                               .precision = (qk_precision)o->precision,
                               .level = o->level,
                               .reference = o->reference,
                               .n_threads = (int)o->threads,
                               .max_bytes = o->max_mem,
                               .progress = cli_progress_callback(&command->progress) };
        if (!o->dry_run)
            status = run_study(command, &models, &documents, &held_out, &settings, &compute, err);
        else
            status = qk_study_long_context(&plan, models.items, models.n, &documents, &held_out, &settings, &compute,
                                           NULL, true, err);
        if (!status && plan) status = cli_show_plan(command, plan, err);
    }
    json_decref(plan);
    qk_documents_free(&documents);
    qk_documents_free(&held_out);
    qk_documents_free(&masks_from);
    cli_models_free(&models);
    return status;
}

static const cli_option_id context_options[] = {
    OPTIONS_TEXTS,
    OPTION_CALIB,
    OPTION_WORLD,
    OPTION_METHOD,
    OPTION_LENGTHS,
    OPTION_FIND,
    OPTION_HAYSTACK,
    OPTION_FIND_LENGTHS,
    OPTION_DEPTHS,
    OPTION_TRIALS,
    OPTION_CONDITIONS,
    OPTION_LAMBDA,
    OPTION_CRITERION,
    OPTION_TOP_K,
    OPTION_SITE,
    OPTION_TENSORS,
    OPTION_LAYERS,
    OPTION_CONTROL,
    OPTION_SEEDS,
    OPTION_SEED,
    OPTION_ROPE_SCALE,
    OPTION_TEMPERATURE_CONTEXT,
    OPTION_TEMPERATURE_SLOPE,
    OPTION_SLIDING,
    OPTION_STRIDE,
    OPTION_BOOTSTRAP,
    OPTIONS_COMPUTE,
    OPTIONS_RUN,
    OPTIONS_TALK,
    OPTION_END,
};

const cli_verb verb_context = {
    .name = "context",
    .run = run_context,
    .arguments = "MODEL...",
    .min_arguments = 1,
    .max_arguments = SIZE_MAX,
    .options = context_options,
    .line = "See what each context extension does beyond the trained context",
    .details =
        "Reads texts and looks for pass keys at multiples of the trained context (-c: of another length), the same "
        "weights "
        "under every method: rotary scalings, crop (only the last trained context is read), and for models without "
        "rotation an attention temperature, fitted on held-out text as 1 + c ln s. Losses come by length and by "
        "position, keys by length and depth; prompts and texts are the same for every arm. Without --texts the "
        "synthetic world is read and keys hide in its talk, with them in plain English (--haystack). Documents "
        "shorter than the longest length are put behind one another. --conditions looks for the pass keys with "
        "massive query and key dims zeroed (or at their mean), and as many random ones, too.",
    .examples = "  qkscope context models/world-rope models/world-drope -o runs/context\n"
                "  qkscope context models/tiny --method none,linear,yarn --lengths 1,2,4 --texts books/ --sliding\n"
                "  qkscope context models/tiny --method none,yarn --conditions massive,random --lambda 3\n"
                "  qkscope context org/name --method none,yarn --lengths 4 --find nothing --max-mem 24G --dry-run",
};
