/* bench.c - how fast this machine is at the parts of a study, on a model at hand or on random weights of a shape. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/shapes.h"
#include "cli/verbs.h"
#include "math/ceilings.h"
#include "math/kernels.h"
#include "stats/stats.h"
#include "study/bench.h"
#include "study/common.h"

enum { LONGEST_NAME = 40, BENCH_ROWS = 8, BENCH_NEW = 32, BENCH_DOCUMENTS = 10, BENCH_PROMPT = 512 };

/* One model under test. */
typedef struct subject {
    const char *name;
    const qk_model *model;
    const char *weights; /* format of its matrices */
    int n_layers;        /* of the whole shape; model->config.n_layers of them are there */
    uint64_t n_bytes, n_parameters; /* of what is there */
} subject;

/* ---- results */

static double mean_rate(double *deviation, const double *seconds, size_t n, double tokens)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += tokens / seconds[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (tokens / seconds[i] - mean) * (tokens / seconds[i] - mean);
    *deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
    return mean;
}

static double least(const double *x, size_t n)
{
    double best = x[0];
    for (size_t i = 1; i < n; i++) best = x[i] < best ? x[i] : best;
    return best;
}

/* Share of their time that the threads really had: less than 1 where other programs wanted the processors too. */
static double busy_share(const qk_bench_result *r, int n_threads)
{
    double cpu = 0, wall = 0;
    for (size_t i = 0; i < r->repetitions; i++) {
        cpu += r->cpu_seconds[i];
        wall += r->seconds[i] * n_threads;
    }
    return cpu / wall;
}

static json_t *numbers(const double *x, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n && array; i++) json_array_append_new(array, json_real(x[i]));
    return array;
}

/* The test's name with what it is of: "prefill 512", "decode 32 x 4". */
static void test_name(char name[LONGEST_NAME], qk_bench_test test, const qk_bench_settings *s)
{
    const char *word = qk_bench_name(test);
    switch (test) {
    case QK_BENCH_DECODE:
        snprintf(name, LONGEST_NAME, s->n_streams > 1 ? "%s %zu x %zu" : "%s %zu", word, s->n_new, s->n_streams);
        return;
    case QK_BENCH_STUDY:
        snprintf(name, LONGEST_NAME, "%s %zu x %zu x %zu", word, s->n_conditions, s->n_documents, s->n_prompt);
        return;
    case QK_BENCH_TRAIN: snprintf(name, LONGEST_NAME, "%s %zu x %zu", word, s->n_rows, s->n_prompt); return;
    default: snprintf(name, LONGEST_NAME, "%s %zu", word, s->n_prompt); return;
    }
}

static qk_status add_row(json_t *rows, const subject *it, qk_bench_test test, const qk_bench_settings *s,
                         const qk_bench_result *r, const qk_bench_result *half, int n_threads, qk_error *err)
{
    char name[LONGEST_NAME];
    double deviation, rate = mean_rate(&deviation, r->seconds, r->repetitions, r->tokens);
    double best = least(r->seconds, r->repetitions);
    qk_row row = qk_row_start();
    test_name(name, test, s);
    qk_row_text(&row, "model", it->name);
    qk_row_text(&row, "weights", test == QK_BENCH_TRAIN ? "F32" : it->weights);
    qk_row_count(&row, "bytes", (size_t)it->n_bytes);
    qk_row_count(&row, "parameters", (size_t)it->n_parameters);
    qk_row_count(&row, "layers", (size_t)it->model->config.n_layers);
    qk_row_count(&row, "layers_of", (size_t)it->n_layers);
    qk_row_text(&row, "test", qk_bench_name(test));
    qk_row_text(&row, "name", name);
    qk_row_number(&row, "tokens", r->tokens);
    qk_row_number(&row, "tokens_per_second", rate);
    qk_row_number(&row, "tokens_per_second_sd", deviation);
    qk_row_number(&row, "flops", r->flops);
    qk_row_number(&row, "flops_per_second", r->flops / best);
    qk_row_number(&row, "weight_bytes", r->bytes);
    qk_row_number(&row, "bytes_per_second", r->bytes / best);
    qk_row_number(&row, "busy", busy_share(r, n_threads));
    qk_row_json(&row, "seconds", numbers(r->seconds, r->repetitions));
    qk_row_json(&row, "cpu_seconds", numbers(r->cpu_seconds, r->repetitions));
    if (half) { /* time is linear in layers: two numbers of them give the rest */
        double fewer = least(half->seconds, half->repetitions);
        int n = it->model->config.n_layers, missing = it->n_layers - n;
        double whole = best + (best - fewer) / (n - n / 2) * missing;
        qk_row_number(&row, "estimated_tokens_per_second", r->tokens / whole);
        qk_row_number(&row, "estimated_from_layers", n / 2);
    }
    return qk_row_append(rows, &row, err);
}

/* ---- what is printed */

static void add_share(cli_table *table, double x, double ceiling)
{
    if (!(x > 0)) cli_table_add(table, "-");
    else if (ceiling > 0) cli_table_add(table, "%.3g (%.0f%%)", 1e-9 * x, 100 * x / ceiling);
    else cli_table_add(table, "%.3g", 1e-9 * x);
}

/* Which ceiling the products of these rows have. */
static const char *flops_key(const json_t *results)
{
    const json_t *ceilings = json_object_get(results, "ceilings");
    bool rounded = strcmp(cli_text(results, "precision"), qk_precision_name(QK_PRECISION_BF16)) == 0;
    bool by_unit = strcmp(cli_text(results, "kernels"), cli_text(ceilings, "bf16_unit")) == 0;
    return rounded && by_unit ? "bf16_flops_per_second" : "flops_per_second";
}

static void print_machine(const json_t *results)
{
    const json_t *ceilings = json_object_get(results, "ceilings");
    printf("%s, threads %.0f of %.0f, %s, %s\n", cli_text(results, "processor"),
           cli_number(results, "threads"), cli_number(results, "processors"), cli_text(results, "kernels"),
           cli_text(results, "precision"));
    if (!json_is_object(ceilings)) return;
    printf("ceilings: %.0f GFLOP/s (%s multiply-adds in f32), ", 1e-9 * cli_number(ceilings, "flops_per_second"),
           cli_text(ceilings, "unit"));
    if (cli_number(ceilings, "bf16_flops_per_second") > 0)
        printf("%.0f (bf16 by %s), ", 1e-9 * cli_number(ceilings, "bf16_flops_per_second"),
               cli_text(ceilings, "bf16_unit"));
    printf("%.1f GB/s read from memory; shares in brackets are of %s\n",
           1e-9 * cli_number(ceilings, "bytes_per_second"),
           strcmp(flops_key(results), "flops_per_second") == 0 ? "the f32 multiply-adds and the reading"
                                                                : "the bf16 ones and the reading");
}

static qk_status print_table(const json_t *results, qk_error *err)
{
    static const char *const heads[] = { "model", "weights", "size", "parameters", "layers", "test", "tokens/s",
                                         "+-", "busy", "GFLOP/s", "GB/s", "all layers (estimate)" };
    const json_t *ceilings = json_object_get(results, "ceilings"), *rows = json_object_get(results, "rows");
    double flops = cli_number(ceilings, flops_key(results)), read = cli_number(ceilings, "bytes_per_second");
    cli_table table;
    char text[32];
    size_t i;
    json_t *row;
    print_machine(results);
    if (json_array_size(rows) == 0) return QK_OK;
    cli_table_start(&table, heads, "llrrrlrrrrrr");
    json_array_foreach(rows, i, row) {
        double estimate = cli_number(row, "estimated_tokens_per_second");
        cli_table_add(&table, "%s", cli_text(row, "model"));
        cli_table_add(&table, "%s", cli_text(row, "weights"));
        cli_table_add(&table, "%s", cli_human_bytes(text, cli_number(row, "bytes")));
        cli_table_add(&table, "%s", cli_human_count(text, cli_number(row, "parameters")));
        cli_table_add(&table, "%.0f of %.0f", cli_number(row, "layers"), cli_number(row, "layers_of"));
        cli_table_add(&table, "%s", cli_text(row, "name"));
        cli_table_add_number(&table, cli_number(row, "tokens_per_second"), 2);
        cli_table_add_number(&table, cli_number(row, "tokens_per_second_sd"), 2);
        cli_table_add(&table, "%.0f%%", 100 * cli_number(row, "busy"));
        add_share(&table, cli_number(row, "flops_per_second"), flops);
        add_share(&table, cli_number(row, "bytes_per_second"), read);
        if (isnan(estimate)) cli_table_add(&table, "%s", "");
        else cli_table_add(&table, "about %.3g", estimate);
    }
    return cli_table_print(&table, stdout, err);
}

static void print_csv(const json_t *results)
{
    static const char *const texts[] = { "model", "weights", "test", "name" };
    static const char *const keys[] = { "bytes", "parameters", "layers", "layers_of", "tokens", "tokens_per_second",
                                        "tokens_per_second_sd", "busy", "flops_per_second", "bytes_per_second",
                                        "estimated_tokens_per_second" };
    size_t i;
    json_t *row;
    printf("processor,kernels,precision,threads");
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) printf(",%s", texts[k]);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) printf(",%s", keys[k]);
    putchar('\n');
    json_array_foreach(json_object_get(results, "rows"), i, row) {
        printf("\"%s\",\"%s\",%s,%.0f", cli_text(results, "processor"), cli_text(results, "kernels"),
               cli_text(results, "precision"), cli_number(results, "threads"));
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) printf(",\"%s\"", cli_text(row, texts[k]));
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            double x = cli_number(row, keys[k]);
            if (isnan(x)) putchar(',');
            else printf(",%.10g", x);
        }
        putchar('\n');
    }
}

/* ---- the machine */

/* "model name" of /proc/cpuinfo, "unknown" where there is none; commas and quotes would disturb the CSV. */
static void processor_name(char name[100])
{
    char line[200];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, 100, "unknown processor");
    while (file && fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value) continue;
        snprintf(name, 100, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
        break;
    }
    if (file) fclose(file);
    for (char *p = name; *p; p++)
        if (*p == ',' || *p == '"') *p = ' ';
}

static json_t *ceilings_json(const qk_ceilings *c)
{
    qk_row row = qk_row_start();
    qk_row_text(&row, "unit", c->unit);
    qk_row_number(&row, "flops_per_second", c->flops);
    qk_row_number(&row, "usual_flops_per_second", c->usual_flops);
    if (c->bf16_unit) {
        qk_row_text(&row, "bf16_unit", c->bf16_unit);
        qk_row_number(&row, "bf16_flops_per_second", c->bf16_flops);
        qk_row_number(&row, "usual_bf16_flops_per_second", c->usual_bf16_flops);
    }
    qk_row_number(&row, "bytes_per_second", c->read);
    return qk_row_take(&row);
}

static qk_status machine_json(json_t **out, const cli_command *command, const qk_compute *compute, qk_error *err)
{
    char name[100];
    qk_row row = qk_row_start();
    qk_ceilings ceilings;
    processor_name(name);
    qk_row_text(&row, "processor", name);
    qk_row_number(&row, "processors", (double)sysconf(_SC_NPROCESSORS_ONLN));
    qk_row_text(&row, "kernels", compute->reference ? "reference" : qk_level_name(compute->level));
    qk_row_text(&row, "precision", qk_precision_name(compute->precision));
    qk_row_count(&row, "threads", (size_t)qk_thread_count(compute->n_threads));
    qk_row_text(&row, "version", qk_version());
    if (command->options.tests & BENCH_CEILINGS) {
        qk_status status = qk_ceilings_measure(&ceilings, compute->n_threads, err);
        if (status) return json_decref(qk_row_take(&row)), status;
        qk_row_json(&row, "ceilings", ceilings_json(&ceilings));
    }
    qk_row_json(&row, "rows", json_array());
    *out = qk_row_take(&row);
    return *out ? QK_OK : qk_out_of_memory(err, "results", sizeof row);
}

/* ---- one model */

static qk_bench_settings settings_of(const cli_options *o)
{
    return (qk_bench_settings){
        .n_prompt = o->given[OPTION_PROMPT_TOKENS] ? o->prompt_tokens : BENCH_PROMPT,
        .n_new = o->given[OPTION_MAX_NEW_TOKENS] ? o->max_new_tokens : BENCH_NEW,
        .n_streams = o->streams,
        .n_documents = o->given[OPTION_LIMIT] ? o->limit : BENCH_DOCUMENTS,
        .n_conditions = 2 + o->seeds,
        .n_rows = o->given[OPTION_BATCH] ? o->batch : BENCH_ROWS,
        .repetitions = o->repetitions,
        .seed = o->seed,
    };
}

/* Random weights that do not fit would not fail, they would take the machine with them. */
static qk_status check_memory(const cli_options *o, const char *what, uint64_t n_bytes, qk_error *err)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t most = o->max_mem ? o->max_mem : pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size / 10 * 9 : 0;
    char needed[32], there[32];
    if (!most || n_bytes <= most) return QK_OK;
    return qk_fail(err, QK_E_BUDGET,
                   "%s: expected at most %s, found %s; --max-layers keeps the first layers of a shape", what,
                   cli_human_bytes(there, (double)most), cli_human_bytes(needed, (double)n_bytes));
}

static qk_status run_test(json_t *rows, cli_command *command, const subject *it, qk_bench_test test, qk_error *err)
{
    qk_bench_settings settings = settings_of(&command->options);
    qk_bench_result result = { 0 }, half = { 0 };
    cli_models none = { 0 };
    qk_compute compute = cli_compute(command, &none, settings.n_prompt);
    int n = it->model->config.n_layers;
    bool estimated = n < it->n_layers && n > 1;
    qk_status status = QK_OK;
    if (test == QK_BENCH_TRAIN)
        status = check_memory(&command->options, "training",
                              it->n_bytes + qk_bench_training_bytes(&it->model->config, &settings, &compute), err);
    if (!status) status = qk_bench_run(&result, test, it->model, n, &settings, &compute, err);
    if (!status && estimated) status = qk_bench_run(&half, test, it->model, n / 2, &settings, &compute, err);
    if (!status) status = add_row(rows, it, test, &settings, &result, estimated ? &half : NULL,
                                      qk_thread_count(compute.n_threads), err);
    qk_bench_result_free(&result);
    qk_bench_result_free(&half);
    return status;
}

static qk_status run_tests(json_t *rows, cli_command *command, subject *it, qk_error *err)
{
    const qk_config *c = &it->model->config;
    qk_status status = QK_OK;
    it->n_bytes = qk_model_bytes(it->model);
    it->n_parameters = 0;
    for (size_t i = 0; i < qk_ckpt_count(it->model->ckpt); i++) {
        const qk_tensor *t = qk_ckpt_at(it->model->ckpt, i);
        uint64_t n = 1;
        for (int d = 0; d < t->n_dims; d++) n *= t->shape[d];
        it->n_parameters += n;
    }
    if (c->n_layers < it->n_layers)
        cli_say(command, "%s: %d of %d layers are measured; figures for all of them are estimates", it->name,
                c->n_layers, it->n_layers);
    for (int test = 0; test < QK_N_BENCH_TESTS && !status; test++)
        if (command->options.tests & 1 << test) status = run_test(rows, command, it, (qk_bench_test)test, err);
    return status;
}

static qk_status bench_shape(json_t *rows, cli_command *command, qk_dtype dtype, qk_error *err)
{
    const cli_options *o = &command->options;
    const char *shape = o->shape ? o->shape : "1.1b";
    qk_dtype drawn = dtype == QK_DTYPE_NF4 ? QK_DTYPE_BF16 : dtype; /* no file holds NF4: it is made while loading */
    qk_model *model = NULL;
    qk_config config;
    uint64_t n_bytes;
    subject it = { .name = shape, .weights = qk_dtype_describe(dtype)->name };
    qk_status status = cli_shape_config(&config, &it.n_layers, command, shape, o->max_layers, err);
    if (!status) status = qk_synthetic_bytes(&n_bytes, &config, drawn, err);
    if (!status && dtype == QK_DTYPE_NF4) n_bytes += n_bytes / 3;
    if (!status) status = check_memory(o, "random weights", n_bytes, err);
    if (!status) status = qk_model_synthetic(&model, &config, drawn, o->seed, (int)o->threads, err);
    if (!status && dtype == QK_DTYPE_NF4)
        status = qk_model_quantize(model, QK_QUANTIZE_NF4, (int)o->threads, 0, NULL, err);
    it.model = model;
    if (!status) status = run_tests(rows, command, &it, err);
    qk_model_close(model);
    return status;
}

static qk_status bench_model(json_t *rows, cli_command *command, qk_error *err)
{
    const cli_options *o = &command->options;
    cli_models models = { 0 };
    if (o->shape || o->weights)
        return qk_fail(err, QK_E_ARGUMENT, "--%s: expected no MODEL beside it, found %s",
                       o->shape ? "shape" : "weights", command->arguments.items[0]);
    qk_status status = cli_load_models(&models, command, command->arguments, false, err);
    if (status) return status;
    qk_model view = *models.items[0].model; /* with fewer layers, maybe */
    subject it = { .name = models.items[0].name, .model = &view, .n_layers = view.config.n_layers };
    it.weights = qk_dtype_describe(view.layers[0].q.tensor->dtype)->name;
    if (o->max_layers && o->max_layers < (uint64_t)view.config.n_layers) view.config.n_layers = (int)o->max_layers;
    status = run_tests(rows, command, &it, err);
    cli_models_free(&models);
    return status;
}

static qk_status run_bench(cli_command *command, qk_error *err)
{
    cli_options *o = &command->options;
    cli_models none = { 0 };
    qk_compute compute = cli_compute(command, &none, BENCH_PROMPT);
    json_t *results = NULL;
    int weights = o->weights ? o->weights : 1 << QK_DTYPE_BF16;
    if (!o->tests) o->tests = BENCH_CEILINGS | 1 << QK_BENCH_PREFILL | 1 << QK_BENCH_DECODE;
    qk_status status = machine_json(&results, command, &compute, err);
    json_t *rows = json_object_get(results, "rows");
    bool any = o->tests & ~BENCH_CEILINGS;
    if (!status && any && command->arguments.n) status = bench_model(rows, command, err);
    for (int dtype = 0; dtype < QK_N_DTYPES && !status && any && !command->arguments.n; dtype++)
        if (weights & 1 << dtype) status = bench_shape(rows, command, (qk_dtype)dtype, err);
    cli_progress_clear(&command->progress);
    if (!status && o->json) status = cli_print_json(results, err);
    else if (!status && o->csv) print_csv(results);
    else if (!status) status = print_table(results, err);
    json_decref(results);
    return status;
}

static const cli_option_id bench_options[] = {
    OPTION_SHAPE,         OPTION_WEIGHTS, OPTION_TESTS,     OPTION_PROMPT_TOKENS, OPTION_MAX_NEW_TOKENS,
    OPTION_STREAMS,       OPTION_LIMIT,   OPTION_SEEDS,     OPTION_BATCH,         OPTION_REPETITIONS,
    OPTION_MAX_LAYERS,    OPTION_SEED,    OPTION_JSON,      OPTION_CSV,           OPTION_THREADS,
    OPTION_MAX_MEM,       OPTION_PRECISION, OPTION_REFERENCE, OPTION_QUANTIZE,   OPTION_CACHE_DIR,
    OPTIONS_TALK,         OPTION_END,
};

const cli_verb verb_bench = {
    .name = "bench",
    .run = run_bench,
    .arguments = "[MODEL]",
    .max_arguments = 1,
    .options = bench_options,
    .line = "Measure how fast this machine reads, writes, studies and trains",
    .details =
        "Without MODEL, random weights of a shape are made in memory. Each test is done once for nothing and then -r "
        "times; tokens/s is their mean with its standard deviation, GFLOP/s and GB/s (weights that have to be read) "
        "come from the fastest. `busy` is the share of their time that the threads had: far below 100 % another "
        "program wanted the processors too, or threads waited for each other. A study is 2 conditions and --seeds "
        "controls over -L documents. With --max-layers only the first layers are there: what all of them would do is "
        "estimated from two numbers of layers, and called so.",
    .examples = "  qkscope bench\n"
                "  qkscope bench --shape 7b --weights bf16,q8_0 --max-layers 4 -t 2 --tests ceilings,prefill\n"
                "  qkscope bench models/world-rope --tests score,study,train --prompt-tokens 256 --json",
};
