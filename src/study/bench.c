/* bench.c - prefill, decode, a study, a training step: prepared once, run several times, timed. */
#include "study/bench_private.h"

#include <stdlib.h>
#include <time.h>

static const char *const names[QK_N_BENCH_TESTS] = {
#define X(id, name, doc) name,
    QK_BENCH_TESTS(X)
#undef X
};

const char *qk_bench_name(qk_bench_test test) { return names[test]; }

static double clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- what there is to do */

typedef struct amount { double layer, head, tail; } amount; /* numbers in the matrices of a layer; see below */

/* `head`: what every row of a layer needs (q, k, v); `tail`: what only rows need that something is made of. */
static amount matrices_of(const qk_config *c)
{
    double d = c->d_model, q = (double)c->n_heads * c->head_dim, kv = (double)c->n_kv_heads * c->head_dim;
    amount a = { .head = d * (q + 2 * kv), .tail = d * (q + 3.0 * c->d_ffn) };
    a.layer = a.head + a.tail;
    return a;
}

/* A sequence of n tokens of which the last `scored` get logits; the last layer's rows end early where none are wanted
 * of them. */
static double flops_of(const qk_config *c, double n, double scored)
{
    amount a = matrices_of(c);
    double pair = 4.0 * c->n_heads * c->head_dim, all = n * (n + 1) / 2, before = (n - scored) * (n - scored + 1) / 2;
    double layers = (double)c->n_layers * (2 * a.layer * n + pair * all);
    double saved = 2 * a.tail * (n - scored) + pair * before;
    return layers - (scored > 0 ? saved : 0) + 2 * scored * c->d_model * c->n_vocab;
}

/* Matrices of all layers and of the unembedding, as they lie. */
static double bytes_of(const qk_model *model)
{
    double n = (double)model->unembedding.tensor->n_bytes;
    for (int l = 0; l < model->config.n_layers; l++) {
        const qk_weight *w = (const qk_weight *)&model->layers[l]; /* a struct of nothing but weights */
        for (size_t i = 0; i < sizeof(qk_layer_weights) / sizeof(qk_weight); i++)
            if (w[i].tensor) n += (double)w[i].tensor->n_bytes;
    }
    return n;
}

/* ---- progress: of a run within all runs */

static bool tick(void *user, const char *phase, double done, double total)
{
    const qk_bench *b = user;
    const qk_progress *outer = &b->compute->progress;
    double share = total > 0 ? done / total : 0;
    (void)phase;
    return outer->tick(outer->user, names[b->test], (double)b->run + share, (double)b->settings->repetitions + 1);
}

qk_progress qk_bench_progress(qk_bench *b)
{
    return b->compute->progress.tick ? (qk_progress){ tick, b } : (qk_progress){ 0 };
}

/* ---- score: a text's likelihoods */

static qk_status make_sequences(qk_bench *b, size_t n, size_t n_tokens, qk_error *err)
{
    qk_rng rng;
    b->tokens = qk_arena_alloc(&b->arena, n * n_tokens * sizeof *b->tokens);
    b->sequences = qk_arena_alloc(&b->arena, n * sizeof *b->sequences);
    if (!b->tokens || !b->sequences) return qk_out_of_memory(err, "tokens", n * n_tokens * sizeof *b->tokens);
    qk_rng_seed(&rng, b->settings->seed);
    for (size_t i = 0; i < n * n_tokens; i++)
        b->tokens[i] = (int32_t)qk_rng_below(&rng, (uint64_t)b->model->config.n_vocab);
    for (size_t i = 0; i < n; i++) b->sequences[i] = (qk_sequence){ b->tokens + i * n_tokens, n_tokens, 1 };
    b->n_sequences = n;
    return QK_OK;
}

static qk_status prepare_score(qk_bench *b, qk_bench_result *todo, qk_error *err)
{
    size_t n = b->settings->n_prompt;
    todo->tokens = (double)n;
    todo->flops = flops_of(&b->model->config, (double)n, (double)(n - 1));
    todo->bytes = bytes_of(b->model);
    return make_sequences(b, 1, n, err);
}

qk_status qk_bench_pass_run(qk_bench *b, qk_error *err)
{
    qk_pass_result *result = NULL;
    qk_pass_spec spec = qk_study_spec(b->compute);
    spec.progress = qk_bench_progress(b);
    spec.sequences = b->sequences;
    spec.n_sequences = b->n_sequences;
    spec.conditions = b->conditions;
    spec.n_conditions = b->n_conditions;
    spec.score = true;
    qk_status status = qk_pass_run(&result, b->model, &spec, err);
    qk_pass_result_free(result);
    return status;
}

/* ---- prefill: a prompt and the token behind it; decode: each stream begins with one token, so that n_new tokens are
 * as many steps */

static qk_status prepare_prefill(qk_bench *b, qk_bench_result *todo, qk_error *err)
{
    size_t n = b->settings->n_prompt;
    todo->tokens = (double)n;
    todo->flops = flops_of(&b->model->config, (double)n, 1);
    todo->bytes = bytes_of(b->model);
    return make_sequences(b, 1, n, err);
}

static qk_status prepare_decode(qk_bench *b, qk_bench_result *todo, qk_error *err)
{
    const qk_bench_settings *s = b->settings;
    double streams = (double)s->n_streams, n = (double)s->n_new;
    todo->tokens = streams * n;
    todo->flops = streams * flops_of(&b->model->config, n, n);
    todo->bytes = n * bytes_of(b->model);
    return make_sequences(b, s->n_streams, 1, err);
}

static qk_status run_generate(qk_bench *b, size_t n_new, qk_error *err)
{
    qk_generate_result *result = NULL;
    qk_prompt *prompts = NULL;
    qk_status status = qk_new_array(&prompts, b->n_sequences, sizeof *prompts, "prompts", err);
    if (status) return status;
    for (size_t i = 0; i < b->n_sequences; i++)
        prompts[i] = (qk_prompt){ b->sequences[i].tokens, b->sequences[i].n_tokens };
    qk_generate_spec spec = {
        .prompts = prompts,
        .n_prompts = b->n_sequences,
        .max_new_tokens = n_new,
        .context = b->sequences[0].n_tokens + n_new,
        .ignore_end = true,
        .reference = b->compute->reference,
        .precision = b->compute->precision,
        .level = b->compute->level,
        .n_threads = b->compute->n_threads,
        .max_bytes = b->compute->max_bytes,
        .progress = qk_bench_progress(b),
    };
    status = qk_generate(&result, b->model, &spec, err);
    qk_generate_result_free(result);
    free(prompts);
    return status;
}

static qk_status run_prefill(qk_bench *b, qk_error *err) { return run_generate(b, 1, err); }
static qk_status run_decode(qk_bench *b, qk_error *err) { return run_generate(b, b->settings->n_new, err); }

/* ---- study (bench_study.c), and its parts */

static qk_status prepare_edits(qk_bench *b, qk_bench_result *todo, qk_error *err)
{
    qk_status status = prepare_score(b, todo, err);
    if (!status) status = qk_bench_study_prepare(b, err);
    b->conditions += 1; /* the one behind the baseline, alone */
    b->n_conditions = 1;
    return status;
}

/* What layers before the edited one compute is shared: a sweep over all layers costs about half of as many scores. */
static qk_status prepare_sweep(qk_bench *b, qk_bench_result *todo, qk_error *err)
{
    size_t n = (size_t)b->model->config.n_layers, per_layer = 2;
    qk_status status = prepare_edits(b, todo, err);
    if (status) return status;
    const qk_edit *edits = b->conditions[0].edits; /* layer by layer */
    b->conditions = qk_arena_alloc(&b->arena, n * sizeof *b->conditions);
    if (!b->conditions) return qk_out_of_memory(err, "conditions", n * sizeof *b->conditions);
    for (size_t l = 0; l < n; l++) b->conditions[l] = (qk_condition){ "layer", edits + per_layer * l, per_layer };
    b->n_conditions = n;
    todo->tokens *= (double)n;
    todo->flops *= (double)n;
    return QK_OK;
}

static qk_status prepare_study(qk_bench *b, qk_bench_result *todo, qk_error *err)
{
    const qk_bench_settings *s = b->settings;
    double n = (double)s->n_prompt, documents = (double)s->n_documents, conditions = (double)s->n_conditions;
    todo->tokens = n * documents * conditions;
    todo->flops = documents * (flops_of(&b->model->config, n, 0) + conditions * flops_of(&b->model->config, n, n - 1));
    todo->bytes = 2 * bytes_of(b->model);
    qk_status status = make_sequences(b, s->n_documents, s->n_prompt, err);
    return status ? status : qk_bench_study_prepare(b, err);
}

/* ---- train */

/* As the loop of training does it where it is told nothing. */
static size_t micro_rows(const qk_bench_settings *s)
{
    size_t usual = 2048 / s->n_prompt;
    return usual < 1 ? 1 : usual < s->n_rows ? usual : s->n_rows;
}

static qk_gradient_spec gradient_spec(const qk_bench_settings *s, const qk_compute *compute)
{
    return (qk_gradient_spec){ .max_rows = micro_rows(s) * s->n_prompt,
                               .longest = s->n_prompt,
                               .precision = compute->precision,
                               .level = compute->level,
                               .reference = compute->reference,
                               .n_threads = compute->n_threads };
}

uint64_t qk_bench_training_bytes(const qk_config *config, const qk_bench_settings *settings, const qk_compute *compute)
{
    qk_gradient_spec spec = gradient_spec(settings, compute);
    double n = (double)config->n_layers * matrices_of(config).layer +
               (config->tied_embeddings ? 1.0 : 2.0) * config->n_vocab * config->d_model;
    return (uint64_t)(16 * n) + qk_gradient_bytes(config, &spec); /* values, gradient, two moments */
}

static qk_status prepare_train(qk_bench *b, qk_bench_result *todo, qk_error *err)
{
    const qk_bench_settings *s = b->settings;
    qk_gradient_spec spec = gradient_spec(s, b->compute);
    double n = (double)s->n_prompt;
    qk_status status = make_sequences(b, s->n_rows, s->n_prompt, err);
    if (!status) status = qk_parameters_new(&b->parameters, &b->model->config, NULL, err);
    if (status) return status;
    qk_parameters_randomise(b->parameters, 0.02, s->seed);
    todo->tokens = n * (double)s->n_rows;
    todo->flops = 3 * (double)s->n_rows * flops_of(&b->model->config, n, n - 1);
    todo->bytes = 28 * (double)b->parameters->n_values; /* the update alone reads four arrays and writes three */
    return qk_gradient_new(&b->gradient, b->parameters, &spec, err);
}

static qk_status run_train(qk_bench *b, qk_error *err)
{
    const qk_optimiser optimiser = { .learning_rate = 1e-4, .beta1 = 0.9,    .beta2 = 0.95,
                                     .epsilon = 1e-8,       .decay_qk = true, .weight_decay = 0.1,
                                     .clip = 1,             .schedule = QK_SCHEDULE_CONSTANT, .n_steps = 1 << 20 };
    size_t micro = micro_rows(b->settings), n = b->n_sequences;
    double nll = 0, norm, scale = 1 / (double)(n * (b->settings->n_prompt - 1));
    qk_status status = QK_OK;
    for (size_t row = 0; row < n && !status; row += micro)
        status = qk_gradient_add(&nll, b->gradient, b->sequences + row, n - row < micro ? n - row : micro, scale, err);
    if (!status)
        status = qk_optimise(&norm, b->parameters, &optimiser, b->step, qk_thread_count(b->compute->n_threads), err);
    b->step++;
    return status;
}

/* ---- any of them */

static const struct {
    qk_status (*prepare)(qk_bench *bench, qk_bench_result *todo, qk_error *err);
    qk_status (*run)(qk_bench *bench, qk_error *err);
} tests[QK_N_BENCH_TESTS] = {
    [QK_BENCH_PREFILL] = { prepare_prefill, run_prefill }, [QK_BENCH_SCORE] = { prepare_score, qk_bench_pass_run },
    [QK_BENCH_NORMS] = { prepare_score, qk_bench_norms_run }, [QK_BENCH_EDITS] = { prepare_edits, qk_bench_pass_run },
    [QK_BENCH_SWEEP] = { prepare_sweep, qk_bench_pass_run },
    [QK_BENCH_DECODE] = { prepare_decode, run_decode }, [QK_BENCH_STUDY] = { prepare_study, qk_bench_study_run },
    [QK_BENCH_TRAIN] = { prepare_train, run_train },
};

void qk_bench_result_free(qk_bench_result *result)
{
    free(result->seconds);
    free(result->cpu_seconds);
    *result = (qk_bench_result){ 0 };
}

/* Run 0 is for caches and pages: it is not counted. */
static qk_status repeat(qk_bench_result *r, qk_bench *bench, qk_error *err)
{
    qk_progress progress = qk_bench_progress(bench);
    qk_status status = QK_OK;
    for (size_t run = 0; run <= r->repetitions && !status; run++) {
        bench->run = run;
        if (progress.tick && !progress.tick(progress.user, "", 0, 1))
            return qk_fail(err, QK_E_INTERRUPTED, "interrupted");
        double wall = clock_of(CLOCK_MONOTONIC), cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
        status = tests[bench->test].run(bench, err);
        if (run == 0) continue;
        r->seconds[run - 1] = clock_of(CLOCK_MONOTONIC) - wall;
        r->cpu_seconds[run - 1] = clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    }
    return status;
}

qk_status qk_bench_run(qk_bench_result *out, qk_bench_test test, const qk_model *model, int n_layers,
                       const qk_bench_settings *settings, const qk_compute *compute, qk_error *err)
{
    qk_model view = *model; /* borrows everything */
    qk_bench bench = { .test = test, .model = &view, .settings = settings, .compute = compute };
    qk_bench_result result = { .repetitions = settings->repetitions };
    if (n_layers < view.config.n_layers) view.config.n_layers = n_layers;
    qk_status status = qk_new_array(&result.seconds, settings->repetitions, sizeof(double), "times", err);
    if (!status) status = qk_new_array(&result.cpu_seconds, settings->repetitions, sizeof(double), "times", err);
    if (!status) status = tests[test].prepare(&bench, &result, err);
    if (!status) status = repeat(&result, &bench, err);
    qk_gradient_free(bench.gradient);
    qk_parameters_free(bench.parameters);
    qk_arena_free(&bench.arena);
    if (status) qk_bench_result_free(&result);
    else *out = result;
    return status;
}
