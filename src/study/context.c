/* context.c - what happens beyond the trained context: every method on every model in one study. */
#include "study/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- readings */

/* Factor in the formula of dynamic NTK; at 1 it is NTK by the length of the sequence. */
#define DYNAMIC_FACTOR 2

static bool depends_on_length(const qk_config *config, qk_method method)
{
    if (method == QK_METHOD_DYNAMIC || method == QK_METHOD_LONGROPE) return true;
    return config->rope_kind == QK_ROPE_DYNAMIC; /* of the checkpoint itself */
}

qk_reading qk_context_reading(const qk_context *c, const qk_context_arm *arm, size_t length)
{
    const qk_config *config = &c->models[arm->model].model->config;
    double s = (double)length / (double)qk_trained_context(config), factor = c->settings->scale;
    qk_reading reading = { s > 1 ? arm->method : QK_METHOD_NONE, 1, 0 };
    if (depends_on_length(config, reading.method)) reading.tokens = length;
    switch (reading.method) {
    case QK_METHOD_LINEAR:
    case QK_METHOD_NTK:
    case QK_METHOD_NTK_PARTS:
    case QK_METHOD_YARN:
    case QK_METHOD_LLAMA3: reading.factor = factor > 0 ? factor : s; break;
    case QK_METHOD_DYNAMIC: reading.factor = DYNAMIC_FACTOR; break;
    case QK_METHOD_TEMPERATURE: reading.factor = 1 + c->slope[arm->model] * log(s); break;
    default: break;
    }
    return reading;
}

bool qk_reading_equal(const qk_reading *a, const qk_reading *b)
{
    return a->method == b->method && a->factor == b->factor && a->tokens == b->tokens;
}

qk_status qk_context_view(qk_model *view, const qk_context *c, size_t model, const qk_reading *reading, qk_error *err)
{
    return qk_model_scaled(view, c->models[model].model, reading->method, reading->factor, err);
}

void qk_context_unit(char out[96], const char *kind, const qk_reading *reading, size_t length)
{
    snprintf(out, 96, "%s %s*%.17g %zu", kind, qk_method_name(reading->method), reading->factor, length);
}

/* ---- one pass */

typedef struct listener {
    const qk_context_pass *pass;
    const size_t *items; /* [sequences of the pass] which of `pass` each is */
    bool *done;          /* [pass->n] */
} listener;

static bool tick(void *user, const char *phase, double done, double total)
{
    const qk_context_pass *pass = user;
    (void)phase;
    return pass->c->compute->progress.tick(pass->c->compute->progress.user, pass->phase, done, total);
}

static qk_status on_score(void *user, size_t sequence, size_t condition, const qk_score *score,
                          const qk_receipt *receipts, qk_error *err)
{
    const listener *l = user;
    const qk_context_pass *pass = l->pass;
    size_t item = l->items[sequence];
    (void)condition, (void)receipts;
    json_t *payload = pass->payload(pass->user, item, score);
    if (!payload) return qk_out_of_memory(err, "a unit of the journal", 0);
    qk_status status = QK_OK;
    if (!pass->keep(pass->user, item, payload))
        status = qk_fail(err, QK_E_CHECK, "%s, sequence %zu: its scores are not whole", pass->unit, item);
    l->done[item] = true;
    if (!status && pass->c->run) status = qk_run_put(pass->c->run, pass->model, pass->unit, item, payload, err);
    json_decref(payload);
    return status;
}

static qk_status count_work(qk_context *c, const qk_context_pass *pass, qk_pass_spec *spec, qk_error *err)
{
    qk_plan plan;
    qk_status status = qk_pass_plan(&plan, pass->view, spec, err);
    if (status) return status;
    c->work.tokens += (double)plan.n_rows;
    c->work.sequences += (double)spec->n_sequences;
    c->work.passes++;
    c->work.flops += plan.flops;
    if (plan.total_bytes > c->work.largest.total_bytes) c->work.largest = plan;
    return QK_OK;
}

qk_status qk_context_run(qk_context *c, const qk_context_pass *pass, qk_error *err)
{
    size_t n = 0, *items = NULL;
    bool *done = NULL;
    qk_sequence *sequences = NULL;
    qk_pass_result *result = NULL;
    qk_status status = qk_new_array(&sequences, pass->n, sizeof *sequences, "sequences", err);
    if (!status) status = qk_new_array(&items, pass->n, sizeof *items, "sequences", err);
    if (!status) status = qk_new_array(&done, pass->n, sizeof *done, "sequences", err);
    for (size_t i = 0; !status && i < pass->n; i++) {
        json_t *unit = c->run ? qk_run_get(c->run, pass->model, pass->unit, i) : NULL;
        done[i] = unit && pass->keep(pass->user, i, unit);
        json_decref(unit);
        if (done[i]) continue;
        items[n] = i;
        sequences[n++] = pass->sequences[i];
    }
    listener l = { pass, items, done };
    if (!status && n > 0) {
        qk_pass_spec spec = qk_study_spec(&c->budget);
        spec.sequences = sequences;
        spec.n_sequences = n;
        spec.score = spec.keep_token_nll = spec.keep_token_top = true;
        spec.on_score = on_score;
        spec.user = &l;
        spec.conditions = pass->condition;
        spec.n_conditions = pass->condition != NULL;
        if (spec.progress.tick) spec.progress = (qk_progress){ tick, (void *)(uintptr_t)pass };
        status = c->plan_only ? count_work(c, pass, &spec, err) : qk_pass_run(&result, pass->view, &spec, err);
    }
    qk_pass_result_free(result);
    free(sequences);
    free(items);
    free(done);
    return status;
}

/* ---- arms, lengths, buckets */

static qk_status add_arms(qk_context *c, qk_error *err)
{
    for (size_t m = 0; m < c->n_models; m++) {
        const qk_config *config = &c->models[m].model->config;
        for (int method = 0; method < QK_N_METHODS; method++) {
            bool rotates = config->rope_kind != QK_ROPE_NONE, wanted = c->settings->methods >> method & 1;
            qk_error why = { QK_OK, "" };
            qk_status status = qk_method_check(config, (qk_method)method, &why);
            if (!c->settings->methods) { /* temperature is what models without rotation have; crop what the others */
                wanted =
                    !status && !(rotates && method == QK_METHOD_TEMPERATURE) && !(!rotates && method == QK_METHOD_CROP);
            } else if (wanted && status && c->n_models > 1) {
                wanted = false; /* methods for one model of several: the warnings say which were left out */
            } else if (wanted && status) {
                return qk_fail(err, status, "%s: %s", c->models[m].name, why.message);
            }
            if (!wanted) continue;
            if (c->n_arms == QK_CONTEXT_ARMS)
                return qk_fail(err, QK_E_ARGUMENT, "expected at most %d models times methods", QK_CONTEXT_ARMS);
            c->arms[c->n_arms++] = (qk_context_arm){ m, (qk_method)method };
        }
        if (c->n_arms == 0 || c->arms[c->n_arms - 1].model != m)
            return qk_fail(err, QK_E_UNSUPPORTED, "%s: none of the methods makes sense for it", c->models[m].name);
    }
    return QK_OK;
}

static int compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

/* Edges: the lengths, and each octave from an eighth of the trained context in four parts. */
static qk_status add_edges(qk_context *c, qk_error *err)
{
    size_t n = 0, longest = c->lengths[c->settings->n_lengths - 1], *edges = c->edges;
    edges[n++] = 1; /* the first target */
    for (size_t l = 0; l < c->settings->n_lengths; l++) edges[n++] = c->lengths[l];
    for (double octave = (double)c->trained / 8; octave < (double)longest && n + 4 < QK_CONTEXT_BUCKETS; octave *= 2)
        for (int i = 0; i < 4; i++) {
            size_t edge = (size_t)llround(octave * (4 + i) / 4);
            if (edge > 1 && edge < longest) edges[n++] = edge;
        }
    qsort(edges, n, sizeof *edges, compare_sizes);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (edges[i] != edges[kept - 1]) edges[kept++] = edges[i];
    c->n_edges = kept;
    return c->n_edges < 2
               ? qk_fail(err, QK_E_ARGUMENT, "lengths: expected a length of 2 tokens or more, found %zu", longest)
               : QK_OK;
}

static qk_status set_lengths(size_t *tokens, const double *stretches, size_t n, size_t trained, const char *what,
                             qk_error *err)
{
    for (size_t i = 0; i < n; i++) {
        double length = stretches[i] * (double)trained;
        if (!(length >= 2 && length <= 1 << 28))
            return qk_fail(err, QK_E_ARGUMENT, "%s: %g times %zu tokens: expected 2 to %d tokens", what, stretches[i],
                           trained, 1 << 28);
        tokens[i] = (size_t)llround(length);
        if (i > 0 && tokens[i] <= tokens[i - 1])
            return qk_fail(err, QK_E_ARGUMENT, "%s: expected ascending lengths, found %g behind %g", what, stretches[i],
                           stretches[i - 1]);
    }
    return QK_OK;
}

static qk_status set_up(qk_context *c, qk_error *err)
{
    const qk_context_settings *s = c->settings;
    size_t shortest = SIZE_MAX;
    for (size_t m = 0; m < c->n_models; m++) {
        size_t trained = qk_trained_context(&c->models[m].model->config);
        if (trained < shortest) shortest = trained;
    }
    c->trained = c->compute->max_tokens ? c->compute->max_tokens : shortest;
    if (s->n_lengths == 0 && s->n_task_lengths == 0)
        return qk_fail(err, QK_E_ARGUMENT, "context: expected a length, found none");
    qk_status status = set_lengths(c->lengths, s->lengths, s->n_lengths, c->trained, "--lengths", err);
    if (!status)
        status = set_lengths(c->task_lengths, s->task_lengths, s->n_task_lengths, c->trained, "--task-lengths", err);
    if (!status) status = add_arms(c, err);
    if (!status && s->n_lengths) status = add_edges(c, err);
    size_t rows = c->n_arms * QK_N_CONTEXT_TASKS * s->n_task_lengths * s->n_depths;
    if (!status) status = qk_new_array(&c->found, rows * s->trials + 1, sizeof *c->found, "answers", err);
    c->n_broken = s->masks_from ? 1 + s->edits.both_ops + s->edits.n_controls : 0;
    rows = c->n_broken * c->n_arms * s->n_task_lengths * s->n_depths;
    if (!status) status = qk_new_array(&c->broken, rows * s->trials + 1, sizeof *c->broken, "answers", err);
    return status;
}

/* ---- the temperature of a model */

bool qk_context_wants_temperature(const qk_context *c, size_t model)
{
    for (size_t a = 0; a < c->n_arms; a++)
        if (c->arms[a].model == model && c->arms[a].method == QK_METHOD_TEMPERATURE) return true;
    return false;
}

/* The longest length up to four times the trained context, or the shortest one beyond it. */
static size_t fit_length(const qk_context *c, size_t model)
{
    const qk_context_settings *s = c->settings;
    size_t trained = qk_trained_context(&c->models[model].model->config), best = 0;
    if (s->temperature_context) return s->temperature_context;
    for (int tasks = 0; tasks < 2; tasks++)
        for (size_t i = 0; i < (tasks ? s->n_task_lengths : s->n_lengths); i++) {
            size_t length = tasks ? c->task_lengths[i] : c->lengths[i];
            if (length <= trained) continue;
            if (best == 0 || (length <= 4 * trained && length > best) || (best > 4 * trained && length < best))
                best = length;
        }
    return best;
}

static qk_status fit_temperature(qk_context *c, size_t model, qk_documents *held_out, qk_error *err)
{
    enum { MOST_TEXTS = 2 };
    const qk_config *config = &c->models[model].model->config;
    size_t length = fit_length(c, model), n = 0;
    int32_t **texts = NULL;
    qk_sequence sequences[MOST_TEXTS];
    bool joined;
    if (!isnan(c->settings->slope)) return c->slope[model] = c->settings->slope, QK_OK;
    if (length <= qk_trained_context(config)) return QK_OK; /* nothing is read at another temperature */
    qk_status status =
        qk_context_texts(&texts, &n, &joined, held_out, &c->models[model], length, MOST_TEXTS, c->compute->no_bos, err);
    if (status) return qk_prefix(err, status, "temperature");
    for (size_t i = 0; i < n; i++) sequences[i] = (qk_sequence){ texts[i], length, 1 };
    if (c->plan_only) { /* the fit looks about this often */
        enum { LOOKS = 28 };
        qk_pass_spec spec = qk_study_spec(&c->budget);
        spec.sequences = sequences;
        spec.n_sequences = n;
        spec.score = true;
        qk_context_pass pass = { .view = c->models[model].model };
        for (int i = 0; !status && i < LOOKS; i++) status = count_work(c, &pass, &spec, err);
    } else {
        /* A resumed study fits again: the same bits come out. */
        char phase[128];
        snprintf(phase, sizeof phase, "%.60s temperature, %zu tokens", c->models[model].name, length);
        const qk_context_pass named = { .c = c, .phase = phase };
        qk_compute compute = c->budget;
        if (compute.progress.tick) compute.progress = (qk_progress){ tick, (void *)(uintptr_t)&named };
        status = qk_temperature_fit(&c->fit[model], c->models[model].model, sequences, n, &compute, err);
        if (!status) {
            c->fitted[model] = true;
            c->slope[model] = (c->fit[model].beta - 1) / log((double)length / (double)qk_trained_context(config));
        }
    }
    qk_context_free_texts(texts, n);
    return status;
}

/* ---- one model */

static qk_status new_losses(qk_context *c, qk_error *err)
{
    size_t n = c->n_arms * c->settings->n_lengths * c->n_texts;
    qk_status status = qk_new_array(&c->truncated, n, sizeof *c->truncated, "losses", err);
    if (!status && c->settings->sliding) status = qk_new_array(&c->sliding, n, sizeof *c->sliding, "losses", err);
    return status;
}

/* The texts of this model; for the others there must be as many. */
static qk_status open_texts(qk_context *c, qk_documents *documents, size_t model, size_t hold_out, qk_error *err)
{
    size_t n = 0;
    qk_status status = qk_context_texts(&c->texts, &n, &c->joined, documents, &c->models[model],
                                        c->lengths[c->settings->n_lengths - 1], c->settings->texts + hold_out,
                                        c->compute->no_bos, err);
    if (status) return status;
    for (size_t i = 0; i < hold_out && n > 1; i++, n--) { /* the first one has fitted the temperature */
        free(c->texts[0]);
        memmove(c->texts, c->texts + 1, (n - 1) * sizeof *c->texts);
    }
    if (c->truncated && n < c->n_texts)
        status = qk_fail(err, QK_E_ARGUMENT,
                         "expected %zu texts as of the first model, found %zu: its tokenizer makes "
                         "fewer tokens; --limit %zu asks for as many",
                         c->n_texts, n, n);
    for (size_t i = c->truncated ? c->n_texts : n; i < n; i++) free(c->texts[i]);
    if (!c->truncated) c->n_texts = n;
    return status || c->truncated ? status : new_losses(c, err);
}

static qk_status add_plan(qk_context *c, size_t model, qk_error *err)
{
    const qk_plan *p = &c->work.largest;
    json_t *row = json_pack(
        "{s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "name", qk_json_text(c->models[model].name), "documents",
        (json_int_t)c->work.sequences, "conditions", (json_int_t)c->work.passes, "tokens", (json_int_t)c->work.tokens,
        "sweeps", (json_int_t)p->n_groups, "weight_bytes", (json_int_t)p->weight_bytes, "layer_bytes",
        (json_int_t)p->layer_bytes, "stream_bytes", (json_int_t)p->stream_bytes, "scratch_bytes",
        (json_int_t)p->scratch_bytes, "total_bytes", (json_int_t)p->total_bytes, "flops", c->work.flops);
    memset(&c->work, 0, sizeof c->work);
    return qk_json_append(c->plan, row, err);
}

static qk_status study_model(qk_context *c, size_t model, qk_documents *documents, qk_documents *held_out,
                             qk_error *err)
{
    const qk_context_settings *s = c->settings;
    bool hold_out = isnan(s->slope) && held_out->n == 0 && qk_context_wants_temperature(c, model);
    qk_status status = QK_OK;
    if (qk_context_wants_temperature(c, model))
        status = fit_temperature(c, model, held_out->n ? held_out : documents, err);
    if (!status && s->n_lengths) status = open_texts(c, documents, model, hold_out, err);
    if (!status && s->n_lengths) status = qk_context_read(c, model, err);
    qk_context_free_texts(c->texts, c->texts ? c->n_texts : 0);
    c->texts = NULL;
    if (!status && s->n_task_lengths && c->n_broken) status = qk_context_plan_broken(c, model, err);
    if (!status && s->n_task_lengths && s->tasks) status = qk_context_find(c, model, err);
    qk_arena_free(&c->edits.arena);
    c->edits = (qk_disrupt_plan){ 0 };
    if (!status && c->plan_only) status = add_plan(c, model, err);
    return status ? qk_prefix(err, status, "%s", c->models[model].name) : QK_OK;
}

/* ---- the study */

qk_status qk_study_long_context(json_t **results, const qk_named_model *models, size_t n_models,
                                qk_documents *documents, qk_documents *held_out, const qk_context_settings *settings,
                                const qk_compute *compute, qk_run *run, bool plan_only, qk_error *err)
{
    qk_context *c = NULL;
    json_t *out = NULL;
    qk_status status = qk_new_array(&c, 1, sizeof *c, "context", err);
    if (status) return status;
    *c = (qk_context){ .models = models,
                       .n_models = n_models,
                       .settings = settings,
                       .compute = compute,
                       .budget = *compute,
                       .run = run,
                       .plan_only = plan_only,
                       .notes = json_array(),
                       .plan = json_array() };
    status = set_up(c, err);
    if (!status && documents->n) status = qk_study_reserve_documents(&c->budget, documents, err);
    for (size_t m = 0; !status && m < n_models; m++) status = study_model(c, m, documents, held_out, err);
    status = qk_study_over_budget(status, compute, &c->budget, err);
    if (!status && plan_only) {
        out = json_pack("{s:O}", "plan", c->plan);
    } else if (!status) {
        status = qk_context_results(&out, c, documents, err);
    }
    if (!status) *results = json_incref(out);
    json_decref(out);
    json_decref(c->plan);
    json_decref(c->notes);
    free(c->broken);
    free(c->truncated);
    free(c->sliding);
    free(c->found);
    free(c);
    return status;
}
