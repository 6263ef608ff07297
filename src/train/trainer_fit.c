/* trainer_fit.c - what a run holds in memory, and how to make it hold less. */
#include <stdlib.h>

#include "train/trainer_private.h"

/* The program itself, its libraries and their generated code. */
#define PROGRAM_BYTES ((uint64_t)64 << 20)
/* Rows of buffers in a pass: of blocks where memory is scarce (plan.c); floats of one where it is not. */
#define FRUGAL_BLOCK_ROWS ((uint64_t)4 * QK_TILE_ROWS)
#define LARGE_FLOATS ((uint64_t)16 << 20)

uint64_t qk_train_n_values(const qk_config *config)
{
    uint64_t n = 0;
    size_t n_shapes = qk_weight_shapes(NULL, config);
    qk_weight_shape *shapes = calloc(n_shapes, sizeof *shapes);
    if (!shapes) return UINT64_MAX / 64; /* will not be allocated either */
    qk_weight_shapes(shapes, config);
    for (size_t i = 0; i < n_shapes; i++) n += (uint64_t)shapes[i].n_rows * shapes[i].n_cols;
    free(shapes);
    return n;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Buffers of the pass that scores held-out sequences; an upper bound. */
static uint64_t validation_bytes(const qk_config *c, const qk_training *t)
{
    uint64_t heads = (uint64_t)(c->n_heads + 2 * c->n_kv_heads) * (uint64_t)c->head_dim, d = (uint64_t)c->d_model;
    uint64_t context = t->batch.context + QK_TILE_ROWS, rows = t->n_validation * context;
    uint64_t scores = (uint64_t)qk_thread_count(t->n_threads) * QK_ATTENTION_ROWS * context;
    uint64_t rotation = context * (uint64_t)c->head_dim, blocks = FRUGAL_BLOCK_ROWS * 2 * (d + (uint64_t)c->d_ffn);
    if (t->n_validation == 0) return 0;
    if (t->max_bytes)
        return 4 * (context * (heads + d + 2) + blocks + scores + rotation + QK_TILE_ROWS * (uint64_t)c->n_vocab);
    return 4 * (least(LARGE_FLOATS, rows * heads) + least(LARGE_FLOATS, 2 * rows * (d + (uint64_t)c->d_ffn)) + blocks +
                least(LARGE_FLOATS, rows * (uint64_t)c->n_vocab) + scores + rotation + least(16384, rows) * (d + 2));
}

uint64_t qk_train_bytes(const qk_config *config, const qk_training *t)
{
    qk_gradient_spec gradient = qk_trainer_gradient_spec(t);
    return PROGRAM_BYTES + t->around_bytes + 4 * sizeof(float) * qk_train_n_values(config) +
           qk_gradient_bytes(config, &gradient) + validation_bytes(config, t) +
           t->batch.n_rows * t->batch.context * sizeof(int32_t);
}

static unsigned long long mib(uint64_t n_bytes) { return (n_bytes + 1048575) >> 20; }

qk_status qk_train_fit(qk_training *t, const qk_config *config, qk_error *err)
{
    size_t wanted = qk_trainer_micro_rows(t), rows = wanted;
    bool recompute = t->recompute;
    if (t->max_bytes == 0) return QK_OK;
    /* Halves first: they cost little.  Computing activations twice costs a third more time. */
    for (;;) {
        t->micro_rows = rows;
        t->recompute = recompute;
        uint64_t needed = qk_train_bytes(config, t);
        if (needed <= t->max_bytes) return QK_OK;
        if (rows > 1) {
            rows /= 2;
        } else if (!recompute) {
            recompute = true;
            rows = wanted;
        } else {
            return qk_fail(err, QK_E_BUDGET, "training needs at least %llu MiB (rows of %zu tokens one by one, "
                           "activations computed twice), %llu MiB are allowed", mib(needed), t->batch.context,
                           mib(t->max_bytes));
        }
    }
}

uint64_t qk_trainer_validation_budget(const qk_trainer *r)
{
    const qk_training *t = r->training;
    uint64_t low = 1, high = UINT64_C(1) << 46; /* enough and to spare */
    if (t->max_bytes == 0) return 0;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        qk_pass_spec spec = qk_trainer_validation_spec(t);
        qk_plan plan;
        spec.max_bytes = middle;
        if (qk_pass_plan(&plan, t->parameters->model, &spec, NULL) == QK_OK) high = middle;
        else low = middle + 1;
    }
    return high;
}
