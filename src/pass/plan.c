/* plan.c - what fits where: batches, blocks, groups, bytes; known before any work. */
#include <stdlib.h>
#include <unistd.h>

#include "pass/pass.h"

/* Sizes that keep a product efficient without spending memory on it; floats. */
#define BATCH_FLOATS ((size_t)16 << 20)
#define BLOCK_FLOATS ((size_t)16 << 20)
#define LOGIT_FLOATS ((size_t)8 << 20)
#define LEAST_BLOCK_ROWS (4 * QK_TILE_ROWS)
/* A group is journaled when it is done: about this many rows, so that an interrupted study loses minutes, not hours. */
#define GROUP_ROWS 16384
/* The program itself, its libraries and their generated code, a small study's tables, the report. */
#define PROGRAM_BYTES ((uint64_t)64 << 20)
/* Pages of the file that are in memory at once while embeddings are looked up, under a budget. */
#define READ_BYTES ((uint64_t)40 << 20)
/* While a tokenizer is opened: its file as a tree, then as tables; measured 930 bytes a token with 2.2 merges each. */
#define OPENING_BYTES(n_vocab) (((uint64_t)32 << 20) + 1024 * (uint64_t)(n_vocab))

static size_t pad(size_t rows) { return (rows + QK_TILE_ROWS - 1) / QK_TILE_ROWS * QK_TILE_ROWS; }

static size_t between(size_t x, size_t low, size_t high) { return x < low ? low : x > high ? high : x; }

/* Quantised tensors lie in memory and are counted once, all of them. */
static bool is_quantized(const qk_quantized *q, const qk_tensor *tensor)
{
    return tensor >= q->tensors && tensor < q->tensors + q->n_tensors;
}

/* The largest stage (a layer, or the unembedding where logits are wanted) as it lies in the file, and the floats that
 * norms and biases are converted to. */
static void size_weights(qk_layout *layout, const qk_model *model, bool wants_logits)
{
    layout->mapped_bytes = wants_logits ? model->unembedding.tensor->n_bytes : 0;
    layout->vector_floats = (size_t)model->config.d_model; /* the final norm's gain */
    for (int l = 0; l < model->config.n_layers; l++) {
        const qk_weight *w = (const qk_weight *)&model->layers[l]; /* a struct of nothing but weights */
        size_t vectors = 0;
        uint64_t mapped = 0;
        for (size_t i = 0; i < sizeof(qk_layer_weights) / sizeof(qk_weight); i++) {
            if (!w[i].tensor) continue;
            if (!is_quantized(&model->quantized, w[i].tensor)) mapped += w[i].tensor->n_bytes;
            if (w[i].n_cols == 1 && !qk_weight_mapped(&w[i])) vectors += w[i].n_rows;
        }
        if (vectors > layout->vector_floats) layout->vector_floats = vectors;
        if (mapped > layout->mapped_bytes) layout->mapped_bytes = mapped;
    }
}

static void size_scratch(qk_layout *layout, const qk_config *c, bool wants_logits)
{
    size_t q = (size_t)c->n_heads * (size_t)c->head_dim, kv = (size_t)c->n_kv_heads * (size_t)c->head_dim;
    layout->scratch_floats =
        layout->batch_rows * (q + 2 * kv) + layout->block_rows * 2 * (size_t)(c->d_model + c->d_ffn) +
        (size_t)layout->n_threads * QK_ATTENTION_ROWS * layout->longest +
        (wants_logits ? layout->logit_rows * (size_t)c->n_vocab : 0) + (layout->longest + 1) * (size_t)c->head_dim +
        layout->vector_floats + 16 * 16; /* 64-byte alignment of each piece */
}

/* Split the streams into groups of at most `rows` residual rows (one stream alone may exceed `soft` but not `rows`). */
static qk_status make_groups(qk_layout *layout, const qk_pass_spec *spec, size_t rows, size_t soft, qk_error *err)
{
    size_t n_groups = 0, capacity = spec->n_sequences * spec->n_conditions;
    qk_status status = qk_new_array(&layout->groups, capacity, sizeof *layout->groups, "groups", err);
    if (status) return status;
    for (size_t s = 0; s < spec->n_sequences;) {
        size_t tokens = spec->sequences[s].n_tokens, whole = tokens * spec->n_conditions, used = whole;
        if (whole <= rows) { /* whole sequences, as many as fit */
            qk_group group = { s, s + 1, 0, spec->n_conditions };
            for (s++; s < spec->n_sequences; s++) {
                size_t next = spec->sequences[s].n_tokens * spec->n_conditions;
                if (used + next > rows || used + next > soft) break;
                used += next;
                group.sequence1 = s + 1;
            }
            layout->groups[n_groups++] = group;
            if (used > layout->most_rows) layout->most_rows = used;
            continue;
        }
        size_t step = rows / tokens; /* one sequence, its conditions in portions */
        for (size_t c = 0; c < spec->n_conditions; c += step) {
            size_t end = c + step < spec->n_conditions ? c + step : spec->n_conditions;
            layout->groups[n_groups++] = (qk_group){ s, s + 1, c, end };
            if ((end - c) * tokens > layout->most_rows) layout->most_rows = (end - c) * tokens;
        }
        s++;
    }
    layout->n_groups = n_groups;
    return QK_OK;
}

static double flops(const qk_config *c, const qk_pass_spec *spec)
{
    double q = (double)c->n_heads * c->head_dim, kv = (double)c->n_kv_heads * c->head_dim, width = c->d_model;
    double layer = 2 * width * (2 * q + 2 * kv + 3 * (double)c->d_ffn), total = 0;
    for (size_t s = 0; s < spec->n_sequences; s++) {
        double n = (double)spec->sequences[s].n_tokens, seen = n * (n + 1) / 2;
        double scored = spec->score ? n - (double)spec->sequences[s].score_from : 0;
        total += c->n_layers * (n * layer + seen * 4 * q) + scored * 2 * width * c->n_vocab;
    }
    return total * (double)spec->n_conditions;
}

/* Models that do not stay in memory are read from disk once a sweep: then fewer, larger groups are worth more than a
 * journal. */
static size_t soft_rows(const qk_model *model)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t memory = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
    return memory && qk_model_bytes(model) - model->quantized.n_bytes > memory / 2 ? SIZE_MAX : GROUP_ROWS;
}

/* Rows whose logits are wanted, of all streams; a pass that does not score may want all of the longest. */
static size_t scored_rows(const qk_pass_spec *spec, size_t longest)
{
    size_t n = 0;
    if (!spec->score) return longest;
    for (size_t s = 0; s < spec->n_sequences; s++) n += spec->sequences[s].n_tokens + 1 - spec->sequences[s].score_from;
    return n * spec->n_conditions;
}

/* Rows of each buffer: what keeps the work efficient, or (frugal) the least that still works. */
static void size_rows(qk_layout *l, const qk_config *c, size_t n_rows, size_t n_scored, bool frugal)
{
    size_t attention = (size_t)(c->n_heads + 2 * c->n_kv_heads) * (size_t)c->head_dim;
    size_t most = pad(n_rows > l->longest ? n_rows : l->longest), least = pad(l->longest);
    l->batch_rows = frugal ? least : between(pad(between(BATCH_FLOATS / attention, 480, 4080)), least, most);
    l->block_rows = between(pad(BLOCK_FLOATS / (2 * (size_t)(c->d_ffn + c->d_model))), LEAST_BLOCK_ROWS,
                            l->batch_rows > LEAST_BLOCK_ROWS ? l->batch_rows : LEAST_BLOCK_ROWS);
    if (frugal) l->block_rows = LEAST_BLOCK_ROWS;
    size_t most_logits = between(pad(LOGIT_FLOATS / (size_t)c->n_vocab), QK_TILE_ROWS, 960);
    l->logit_rows = between(pad(n_scored), QK_TILE_ROWS, most_logits);
    if (frugal) l->logit_rows = QK_TILE_ROWS;
}

static unsigned long long mib(uint64_t n_bytes) { return (n_bytes + 1048575) >> 20; }

static bool looks_at_logits(const qk_pass_spec *spec)
{
    bool wanted = spec->score;
    for (size_t i = 0; i < spec->n_probes; i++) wanted = wanted || (spec->probes[i].sites & QK_AT(QK_SITE_LOGITS));
    return wanted;
}

/* Scores, receipts and the like: of all streams, whatever the groups. */
static uint64_t result_bytes(const qk_pass_spec *spec)
{
    uint64_t stream = sizeof(qk_score) + sizeof(qk_receipt *) + sizeof(qk_segment) + sizeof(qk_group), total = 0;
    for (size_t c = 0; c < spec->n_conditions; c++)
        total += spec->n_sequences * (stream + spec->conditions[c].n_edits * sizeof(qk_receipt));
    size_t kept = (spec->keep_token_nll ? sizeof(float) : 0) + (spec->keep_token_top ? sizeof(int32_t) : 0);
    for (size_t s = 0; s < spec->n_sequences && kept; s++)
        total += spec->n_conditions * spec->sequences[s].n_tokens * kept;
    return total;
}

/* `around`: what is resident beside the scratch buffers. */
static qk_status check_budget(const qk_model *model, const qk_pass_spec *spec, uint64_t around, uint64_t needed,
                              qk_error *err)
{
    uint64_t opening = OPENING_BYTES(model->config.n_vocab);
    if (spec->max_bytes && needed > spec->max_bytes)
        return qk_fail(err, QK_E_BUDGET,
                       "the pass needs at least %llu MiB (%llu for the program, %llu for weights, %llu for "
                       "activations), %llu MiB are allowed",
                       mib(needed), mib(PROGRAM_BYTES), mib(around - PROGRAM_BYTES), mib(needed - around), mib(spec->max_bytes));
    if (spec->max_bytes && model->tokenizer && opening > spec->max_bytes)
        return qk_fail(err, QK_E_BUDGET, "a tokenizer of %d tokens needs at least %llu MiB to open, %llu MiB are "
                       "allowed", model->config.n_vocab, mib(opening), mib(spec->max_bytes));
    return QK_OK;
}

qk_status qk_layout_make(qk_layout *out, qk_plan *plan, const qk_model *model, const qk_pass_spec *spec, qk_error *err)
{
    const qk_config *c = &model->config;
    qk_layout l = { .n_threads = qk_thread_count(spec->n_threads) };
    qk_plan p = { .n_streams = spec->n_sequences * spec->n_conditions, .weight_bytes = qk_model_bytes(model) };
    for (size_t s = 0; s < spec->n_sequences; s++) {
        if (spec->sequences[s].n_tokens > l.longest) l.longest = spec->sequences[s].n_tokens;
        p.n_rows += spec->sequences[s].n_tokens * spec->n_conditions;
    }
    bool wants_logits = looks_at_logits(spec);
    size_t row_bytes = (size_t)c->d_model * 4 + 8 + (spec->keep_token_top ? 4 : 0);
    size_weights(&l, model, wants_logits);
    size_rows(&l, c, p.n_rows, scored_rows(spec, l.longest), false);
    size_scratch(&l, c, wants_logits);
    /* The program, the pages that are read while embeddings are looked up, the weights of a layer where they lie, and the
     * quantised ones, which lie in memory. */
    uint64_t owned = model->quantized.n_bytes, mapped = p.weight_bytes - owned;
    uint64_t around = PROGRAM_BYTES + result_bytes(spec) + l.mapped_bytes + owned + model->beside_bytes +
                      (mapped < READ_BYTES ? mapped : READ_BYTES);
    uint64_t streams = row_bytes * (uint64_t)(p.n_rows < GROUP_ROWS ? p.n_rows : GROUP_ROWS);
    if (spec->max_bytes && around + 4 * (uint64_t)l.scratch_floats + streams > spec->max_bytes) {
        size_rows(&l, c, p.n_rows, scored_rows(spec, l.longest), true);
        size_scratch(&l, c, wants_logits);
    }
    uint64_t fixed = around + 4 * (uint64_t)l.scratch_floats;
    qk_status status = check_budget(model, spec, around, fixed + row_bytes * (uint64_t)l.longest, err);
    if (status) return status;
    size_t rows = spec->max_bytes ? (size_t)((spec->max_bytes - fixed) / row_bytes) : SIZE_MAX;
    status = make_groups(&l, spec, rows, soft_rows(model), err);
    if (status) return status;
    p.n_groups = l.n_groups;
    p.layer_bytes = l.mapped_bytes;
    p.stream_bytes = (uint64_t)row_bytes * l.most_rows;
    p.scratch_bytes = 4 * (uint64_t)l.scratch_floats;
    p.total_bytes = fixed + p.stream_bytes;
    p.flops = flops(c, spec);
    if (plan) *plan = p;
    if (out) *out = l;
    if (!out) qk_layout_free(&l);
    return QK_OK;
}

void qk_layout_free(qk_layout *layout)
{
    free(layout->groups);
    layout->groups = NULL;
}
