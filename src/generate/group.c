/* group.c - streams that go together: their caches, one pass, step by step to their ends. */
#include <stdlib.h>
#include <string.h>

#include "generate/generate_private.h"

/* Without a budget: rows and bytes of caches of one group. */
#define GROUP_ROWS 16384
#define GROUP_CACHE_BYTES ((uint64_t)2 << 30)

typedef struct stream_group {
    qk_generation *g;
    qk_stream *streams; /* [n] */
    size_t n, n_alive;
    qk_segment *segments; /* [n] of the alive ones, in order */
    size_t *alive;        /* [n] whose segment it is */
    qk_sampler *samplers; /* [n_samplers] work spaces, one a thread */
    int n_samplers;
    int32_t *drawn; /* [n] newest tokens */
    qk_pass pass;
} stream_group;

/* ---- what fits */

static size_t capacity_of(const qk_generation *g, size_t prompt)
{
    size_t n = g->spec.prompts[prompt].n_tokens + g->spec.max_new_tokens;
    return g->spec.context && n > g->spec.context ? g->spec.context : n;
}

static uint64_t cache_bytes(const qk_generation *g, size_t capacity)
{
    const qk_config *c = &g->model->config;
    if (g->spec.recompute) return 0;
    return (uint64_t)c->n_layers * 2 * capacity * (uint64_t)c->n_kv_heads * (uint64_t)c->head_dim * sizeof(float);
}

/* Streams, their tokens, texts and segments: a generous sum. */
static uint64_t stream_bytes(const qk_generation *g, size_t capacity)
{
    return cache_bytes(g, capacity) + 16 * capacity + 1024;
}

/* The layout of streams first .. first + n as one group; QK_E_BUDGET where they do not fit. */
static qk_status lay_out(qk_layout *out, const qk_generation *g, size_t first, size_t n, qk_error *err)
{
    qk_pass_spec spec = g->pass_spec;
    qk_condition alone = { .name = "stream" };
    qk_sequence *sequences = NULL;
    uint64_t held = (uint64_t)g->model->config.n_vocab * 12 * (uint64_t)qk_thread_count(spec.n_threads);
    qk_layout layout = { 0 };
    qk_status status = qk_new_array(&sequences, n, sizeof *sequences, "streams", err);
    if (status) return status;
    for (size_t i = 0; i < n; i++) {
        size_t capacity = capacity_of(g, (first + i) / g->spec.n_conditions);
        sequences[i] = (qk_sequence){ .n_tokens = capacity, .score_from = 1 };
        held += stream_bytes(g, capacity);
    }
    spec.sequences = sequences;
    spec.n_sequences = n;
    spec.conditions = &alone;
    spec.n_conditions = 1;
    spec.score = true;
    if (spec.max_bytes) spec.max_bytes = spec.max_bytes > held ? spec.max_bytes - held : 1;
    status = qk_layout_make(&layout, NULL, g->model, &spec, err);
    if (!status && layout.n_groups > 1) {
        qk_layout_free(&layout);
        status = qk_fail(err, QK_E_BUDGET, "%zu streams do not fit together", n);
    }
    free(sequences);
    if (status == QK_E_BUDGET)
        return qk_prefix(err, status, "prompt %zu: beside %llu MiB of keys and values", first / g->spec.n_conditions,
                         (unsigned long long)((held + 1048575) >> 20));
    if (!status) *out = layout;
    return status;
}

/* The number of streams from `first` on that go together, and their layout. */
static qk_status choose_group(size_t *n_out, qk_layout *layout, const qk_generation *g, size_t first, qk_error *err)
{
    size_t n_streams = g->spec.n_prompts * g->spec.n_conditions, n = 0, rows = 0;
    uint64_t bytes = 0;
    for (; first + n < n_streams; n++) {
        size_t capacity = capacity_of(g, (first + n) / g->spec.n_conditions);
        rows += capacity;
        bytes += cache_bytes(g, capacity);
        if (n > 0 && (rows > GROUP_ROWS || bytes > GROUP_CACHE_BYTES)) break;
    }
    for (;; n /= 2) {
        qk_status status = lay_out(layout, g, first, n, err);
        *n_out = n;
        if (status != QK_E_BUDGET || n == 1) return status;
    }
}

/* ---- open and close */

static qk_status open_stream(qk_stream *s, const qk_generation *g, size_t index, qk_error *err)
{
    const qk_config *c = &g->model->config;
    size_t n_conditions = g->spec.n_conditions, kv = (size_t)c->n_kv_heads * (size_t)c->head_dim;
    const qk_prompt *prompt = &g->spec.prompts[index / n_conditions];
    *s = (qk_stream){ .prompt = index / n_conditions, .condition = index % n_conditions, .n_prompt = prompt->n_tokens };
    s->n_tokens = s->n_prompt;
    s->capacity = capacity_of(g, s->prompt);
    qk_sample_seed(&s->rng, g->spec.sampling.seed, s->prompt, s->condition);
    qk_status status = qk_new_array(&s->tokens, s->capacity, sizeof *s->tokens, "tokens", err);
    size_t rows = 0;
    if (!status && !qk_mul((size_t)c->n_layers * 2, s->capacity, &rows))
        status = qk_out_of_memory(err, "keys and values", SIZE_MAX);
    if (!status && !g->spec.recompute)
        status = qk_new_array(&s->cache, rows, kv * sizeof *s->cache, "keys and values", err);
    if (!status) memcpy(s->tokens, prompt->tokens, s->n_prompt * sizeof *s->tokens);
    return status;
}

static qk_status open_group(stream_group *group, const qk_generation *g, size_t first, qk_error *err)
{
    size_t n = group->n, vocab = (size_t)g->model->config.n_vocab;
    group->n_samplers = group->pass.layout.n_threads;
    qk_status status = qk_new_array(&group->streams, n, sizeof *group->streams, "streams", err);
    if (!status) status = qk_new_array(&group->segments, n, sizeof *group->segments, "segments", err);
    if (!status) status = qk_new_array(&group->alive, n, sizeof *group->alive, "streams", err);
    if (!status) status = qk_new_array(&group->drawn, n, sizeof *group->drawn, "tokens", err);
    if (!status)
        status = qk_new_array(&group->samplers, (size_t)group->n_samplers, sizeof *group->samplers, "sampling", err);
    for (int i = 0; i < group->n_samplers && !status; i++) {
        status = qk_new_array(&group->samplers[i].order, vocab, sizeof(uint32_t), "sampling", err);
        if (!status) status = qk_new_array(&group->samplers[i].weights, vocab, sizeof(double), "sampling", err);
    }
    for (size_t i = 0; i < n && !status; i++) status = open_stream(&group->streams[i], g, first + i, err);
    if (!status) status = qk_pass_open(&group->pass, err);
    group->pass.last_rows = true;
    if (!status) group->pass.trims = qk_pass_may_trim(&group->pass);
    return status;
}

static void close_group(stream_group *group)
{
    group->g->receipts = group->pass.result ? group->pass.result : group->g->receipts;
    group->pass.result = NULL;
    qk_pass_close(&group->pass);
    for (size_t i = 0; i < group->n && group->streams; i++) {
        free(group->streams[i].tokens);
        free(group->streams[i].cache);
        free(group->streams[i].text.data);
    }
    for (int i = 0; i < group->n_samplers && group->samplers; i++) {
        free(group->samplers[i].order);
        free(group->samplers[i].weights);
    }
    free(group->streams);
    free(group->segments);
    free(group->alive);
    free(group->drawn);
    free(group->samplers);
}

/* ---- one step */

/* What each stream that has not ended still has to compute, as segments one behind the other. */
static void find_segments(stream_group *group)
{
    const qk_generate_spec *spec = &group->g->spec;
    size_t row = 0;
    group->n_alive = 0;
    for (size_t i = 0; i < group->n; i++) {
        const qk_stream *s = &group->streams[i];
        if (s->end) continue;
        qk_segment *segment = &group->segments[group->n_alive];
        *segment = (qk_segment){ .sequence = s->prompt,
                                 .condition = s->condition,
                                 .x_row = row,
                                 .n_rows = s->n_tokens - s->n_done,
                                 .position0 = s->n_done,
                                 .edit_end = spec->phase == QK_PHASE_PREFILL ? s->n_prompt : 0 };
        row += segment->n_rows;
        group->alive[group->n_alive++] = i;
    }
}

static void point_to_caches(stream_group *group, int layer)
{
    const qk_config *c = &group->g->model->config;
    for (size_t i = 0; i < group->n_alive; i++) {
        const qk_stream *s = &group->streams[group->alive[i]];
        size_t floats = s->capacity * (size_t)c->n_kv_heads * (size_t)c->head_dim;
        if (!s->cache) continue;
        group->segments[i].k_cache = s->cache + 2 * (size_t)layer * floats;
        group->segments[i].v_cache = group->segments[i].k_cache + floats;
    }
}

/* Segments through the model; the residual stream is left behind the last layer. */
static qk_status compute(stream_group *group, qk_error *err)
{
    qk_pass *pass = &group->pass;
    qk_status status = QK_OK;
    for (size_t i = 0; i < group->n_alive && !status; i++) {
        const qk_stream *s = &group->streams[group->alive[i]];
        status = qk_pass_embed(pass, &group->segments[i], s->tokens + s->n_done, err);
    }
    for (int layer = 0; layer < pass->config->n_layers && !status; layer++) {
        point_to_caches(group, layer);
        status = qk_pass_layer(pass, layer, group->segments, group->n_alive, err);
    }
    return status;
}

/* A token for each alive stream into drawn[]. */
static qk_status draw(stream_group *group, qk_error *err)
{
    const qk_generation *g = group->g;
    size_t vocab = (size_t)g->model->config.n_vocab, most = qk_pass_logits_most(&group->pass);
    for (size_t first = 0; first < group->n_alive; first += most) {
        size_t n = group->n_alive - first < most ? group->n_alive - first : most;
        qk_status status = qk_pass_logits(&group->pass, group->segments + first, n, err);
        if (status) return status;
        size_t share = (n + (size_t)group->n_samplers - 1) / (size_t)group->n_samplers;
#pragma omp parallel for schedule(static, 1) num_threads(group->n_samplers) if (n * vocab > 50000)
        for (int t = 0; t < group->n_samplers; t++)
            for (size_t i = (size_t)t * share; i < n && i < ((size_t)t + 1) * share; i++)
                group->drawn[first + i] =
                    qk_sample(&group->streams[group->alive[first + i]].rng, group->pass.scratch.logits + i * vocab,
                              vocab, &g->spec.sampling, &group->samplers[t]);
    }
    return QK_OK;
}

static bool ends_text(const qk_generate_spec *spec, int32_t token)
{
    for (size_t i = 0; i < spec->n_end_tokens && !spec->ignore_end; i++)
        if (spec->end_tokens[i] == token) return true;
    return false;
}

/* The stream's tokens and text, now whole, into the result. */
static qk_status finish_stream(const qk_generation *g, qk_stream *s, qk_error *err)
{
    qk_generated *item = &g->result->items[s->prompt * g->spec.n_conditions + s->condition];
    size_t n = s->n_tokens - s->n_prompt;
    qk_status status = qk_new_array(&item->tokens, n, sizeof *item->tokens, "tokens", err);
    if (status) return status;
    memcpy(item->tokens, s->tokens + s->n_prompt, n * sizeof *item->tokens);
    item->n_tokens = n;
    item->end = s->end;
    item->stop = s->stop;
    if (g->model->tokenizer) {
        item->n_bytes = s->text.n;
        if (!qk_bytes_reserve(&s->text, 1)) return qk_out_of_memory(err, "text", s->text.n);
        s->text.data[s->text.n] = '\0';
        item->text = s->text.data;
        s->text = (qk_bytes){ 0 };
    }
    free(s->cache);
    s->cache = NULL;
    return g->spec.on_end ? g->spec.on_end(g->spec.user, s->prompt, s->condition, item, err) : QK_OK;
}

/* The token behind the stream's others: why it ends, what it says. */
static qk_status take(const qk_generation *g, qk_stream *s, int32_t token, qk_error *err)
{
    const qk_generate_spec *spec = &g->spec;
    s->n_done = spec->recompute ? 0 : s->n_tokens;
    s->tokens[s->n_tokens++] = token;
    if (ends_text(spec, token))
        s->end = QK_END_TOKEN;
    else if (s->n_tokens - s->n_prompt == spec->max_new_tokens)
        s->end = QK_END_LENGTH;
    else if (s->n_tokens == s->capacity)
        s->end = QK_END_CONTEXT;
    qk_status status = g->model->tokenizer ? qk_stream_spell(s, g->model->tokenizer, spec, err) : QK_OK;
    if (status) return status;
    size_t n_bytes = qk_stream_certain(s, spec);
    const char *piece = n_bytes ? s->text.data + s->n_given : "";
    s->n_given += n_bytes;
    if (spec->on_token) status = spec->on_token(spec->user, s->prompt, s->condition, token, piece, n_bytes, err);
    return status || !s->end ? status : finish_stream(g, s, err);
}

qk_status qk_group_run(size_t *n, qk_generation *g, size_t first, qk_error *err)
{
    stream_group group = { .g = g };
    group.pass = (qk_pass){ .model = g->model,
                            .config = &g->model->config,
                            .spec = &g->pass_spec,
                            .ops = qk_pass_kernels(&g->pass_spec),
                            .group = { 0, g->spec.n_prompts, 0, g->spec.n_conditions },
                            .result = g->receipts,
                            .done = g->done,
                            .total = g->total };
    double n_layers = g->model->config.n_layers;
    qk_status status = choose_group(n, &group.pass.layout, g, first, err);
    if (status) return status;
    group.n = *n;
    g->receipts = NULL; /* the pass has them until it is closed */
    status = open_group(&group, g, first, err);
    while (!status) {
        find_segments(&group);
        if (group.n_alive == 0) break;
        group.pass.decodes = group.streams[group.alive[0]].n_done > 0; /* a row each */
        group.pass.few_rows = group.pass.decodes ? g->few_streams : g->few_prompt_rows;
        status = compute(&group, err);
        group.pass.few_rows = g->few_streams; /* and so the logits, behind prompts of any length */
        if (!status) status = draw(&group, err);
        for (size_t i = 0; i < group.n_alive && !status; i++) {
            qk_stream *s = &group.streams[group.alive[i]];
            status = take(g, s, group.drawn[i], err);
            if (s->end) group.pass.total -= (double)(s->capacity - s->n_tokens) * n_layers;
        }
    }
    g->done = group.pass.done;
    g->total = group.pass.total;
    close_group(&group);
    return status;
}
