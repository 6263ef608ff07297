/* edit.c - edits: checked once, applied where their site comes up, with a receipt. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pass/pass.h"

/* ---- checking */

typedef struct op_info {
    const char *name;
    bool needs_values, needs_bank, whole_sequence;
} op_info;

static const op_info ops[QK_N_OPS] = {
    [QK_OP_ZERO] = { "zero", false, false, false },
    [QK_OP_MEAN] = { "mean", true, false, false },
    [QK_OP_SEQUENCE_MEAN] = { "sequence-mean", false, false, true },
    [QK_OP_HEAD_MEAN] = { "head-mean", false, false, true },
    [QK_OP_RESAMPLE] = { "resample", false, true, false },
    [QK_OP_NOISE] = { "noise", false, false, false },
    [QK_OP_SCALE] = { "scale", false, false, false },
    [QK_OP_ADD] = { "add", true, false, false },
    [QK_OP_PERMUTE] = { "permute", false, false, true },
};

static qk_status check(const qk_edit *e, const qk_config *c, const char *condition, qk_error *err)
{
    char name[64];
    if ((unsigned)e->site >= QK_N_SITES || (unsigned)e->op >= QK_N_OPS)
        return qk_fail(err, QK_E_ARGUMENT, "condition \"%s\": site %d, op %d: no such site or op", condition,
                       (int)e->site, (int)e->op);
    const qk_site_info *site = qk_site_describe(e->site);
    const op_info *op = &ops[e->op];
    int heads = qk_site_heads(c, e->site);
    qk_site_name(name, e->site, e->layer);
    const char *wrong = NULL;
    if (!site->editable)
        wrong = "cannot be edited";
    else if (!qk_site_exists(c, e->site))
        wrong = "does not exist in this model";
    else if (site->per_layer && (e->layer < 0 || e->layer >= c->n_layers))
        wrong = "is beyond the last layer";
    else if (!e->mask == (e->top_k <= 0))
        wrong = "needs either a mask or top_k";
    else if (e->top_k > 0 && (heads == 0 || e->top_k > c->head_dim))
        wrong = "top_k needs a site with heads of at least that many dims";
    else if (op->needs_values && !e->values)
        wrong = "the op needs values";
    else if (op->needs_bank && (!e->bank || e->n_bank_rows == 0))
        wrong = "the op needs a bank of rows";
    else if ((op->whole_sequence || e->top_k > 0) && heads == 0)
        wrong = "the op needs whole sequences, which only q, k, v and z sites hold";
    else if (e->op == QK_OP_HEAD_MEAN && heads == 0)
        wrong = "head-mean needs a site with heads";
    else if (e->position_from > e->position_to)
        wrong = "positions run backwards";
    if (wrong) return qk_fail(err, QK_E_ARGUMENT, "condition \"%s\": %s at %s: %s", condition, op->name, name, wrong);
    return QK_OK;
}

static int stage_of(const qk_edit *e, const qk_config *c)
{
    if (e->site == QK_SITE_EMBED) return 0;
    return qk_site_describe(e->site)->per_layer ? e->layer : c->n_layers;
}

static qk_status compile_one(qk_compiled_edit *out, qk_arena *arena, const qk_edit *e, const qk_config *c,
                             const char *condition, qk_error *err)
{
    qk_status status = check(e, c, condition, err);
    if (status) return status;
    out->edit = e;
    out->stage = stage_of(e, c);
    if (!e->mask) return QK_OK;
    size_t width = qk_site_width(c, e->site), n = 0;
    for (size_t d = 0; d < width; d++) n += e->mask[d] != 0;
    out->dims = qk_arena_alloc(arena, n * sizeof *out->dims);
    if (!out->dims) return qk_out_of_memory(err, "edit", n * sizeof *out->dims);
    for (size_t d = 0; d < width; d++)
        if (e->mask[d]) out->dims[out->n_dims++] = (uint32_t)d;
    return QK_OK;
}

qk_status qk_edits_compile(qk_edit_table *out, const qk_config *config, const qk_pass_spec *spec, qk_error *err)
{
    qk_edit_table t = { 0 };
    size_t n_conditions = spec->n_conditions;
    for (size_t c = 0; c < n_conditions; c++) t.n += spec->conditions[c].n_edits;
    qk_status status = qk_new_array(&t.items, t.n, sizeof *t.items, "edits", err);
    if (!status) status = qk_new_array(&t.first, n_conditions + 1, sizeof *t.first, "edits", err);
    size_t at = 0;
    for (size_t c = 0; c < n_conditions && !status; c++) {
        const qk_condition *condition = &spec->conditions[c];
        t.first[c] = at;
        for (size_t i = 0; i < condition->n_edits && !status; i++, at++) {
            t.items[at].condition = c;
            t.items[at].index = i;
            status = compile_one(&t.items[at], &t.arena, &condition->edits[i], config, condition->name, err);
        }
    }
    if (status) return qk_edits_free(&t), status;
    t.first[n_conditions] = at;
    *out = t;
    return QK_OK;
}

void qk_edits_free(qk_edit_table *table)
{
    free(table->items);
    free(table->first);
    qk_arena_free(&table->arena);
    *table = (qk_edit_table){ 0 };
}

bool qk_edits_equal(const qk_compiled_edit *x, const qk_compiled_edit *y, const qk_config *config)
{
    const qk_edit *a = x->edit, *b = y->edit;
    size_t width = qk_site_width(config, a->site);
    if (a->site != b->site || x->stage != y->stage || a->op != b->op || a->top_k != b->top_k ||
        a->amount != b->amount || a->seed != b->seed || a->position_from != b->position_from ||
        a->position_to != b->position_to || a->bank != b->bank || a->n_bank_rows != b->n_bank_rows ||
        x->n_dims != y->n_dims || !a->values != !b->values)
        return false;
    if (x->n_dims && memcmp(x->dims, y->dims, x->n_dims * sizeof *x->dims) != 0) return false;
    return !a->values || a->values == b->values || memcmp(a->values, b->values, width * sizeof(float)) == 0;
}

/* ---- applying */

/* One edit at work on one sequence's rows. */
typedef struct edit_run {
    const qk_edit *edit;
    const uint32_t *dims;
    size_t n_dims;
    const float *x; /* first edited row */
    size_t stride, n_rows;
    size_t width; /* of the site */
    int head_dim;
    uint64_t sequence;
    qk_rng rng;        /* of the position at hand: the same numbers whatever the blocks */
    uint32_t bank_row; /* drawn for the position at hand */
    double *means;     /* [n_dims] */
    float *copy;       /* [n_rows][n_dims] values before the edit */
    uint32_t *order;   /* [n_rows] permutation */
} edit_run;

static float by_zero(edit_run *r, size_t row, size_t j, float old)
{
    return (void)r, (void)row, (void)j, (void)old, 0.0f;
}
static float by_values(edit_run *r, size_t row, size_t j, float old)
{
    return (void)row, (void)old, r->edit->values[r->dims[j]];
}
static float by_means(edit_run *r, size_t row, size_t j, float old) { return (void)row, (void)old, (float)r->means[j]; }
static float by_scale(edit_run *r, size_t row, size_t j, float old)
{
    return (void)row, (void)j, old * r->edit->amount;
}
static float by_add(edit_run *r, size_t row, size_t j, float old)
{
    return (void)row, old + r->edit->amount * r->edit->values[r->dims[j]];
}
static float by_order(edit_run *r, size_t row, size_t j, float old)
{
    return (void)old, r->copy[r->order[row] * r->n_dims + j];
}

static float by_noise(edit_run *r, size_t row, size_t j, float old)
{
    (void)row, (void)j;
    return old + r->edit->amount * (float)qk_rng_normal(&r->rng);
}

static float by_bank(edit_run *r, size_t row, size_t j, float old)
{
    (void)row, (void)old;
    return r->edit->bank[(size_t)r->bank_row * r->width + r->dims[j]];
}

static float (*const new_value[QK_N_OPS])(edit_run *, size_t, size_t, float) = {
    [QK_OP_ZERO] = by_zero,       [QK_OP_MEAN] = by_values,   [QK_OP_SEQUENCE_MEAN] = by_means,
    [QK_OP_HEAD_MEAN] = by_means, [QK_OP_RESAMPLE] = by_bank, [QK_OP_NOISE] = by_noise,
    [QK_OP_SCALE] = by_scale,     [QK_OP_ADD] = by_add,       [QK_OP_PERMUTE] = by_order,
};

static void seed_position(qk_rng *rng, uint64_t seed, uint64_t sequence, uint64_t position)
{
    qk_rng_seed(rng, seed ^ (sequence * UINT64_C(0xD1342543DE82EF95)) ^ (position * UINT64_C(0x9E3779B97F4A7C15)));
}

/* In each head the k dims of largest norm over the rows; ties go to the lower dim. */
static void pick_top_dims(uint32_t *dims, const float *x, size_t stride, size_t n_rows, int n_heads, int head_dim,
                          int k, double *norms)
{
    for (int h = 0; h < n_heads; h++) {
        for (int d = 0; d < head_dim; d++) {
            norms[d] = 0;
            for (size_t i = 0; i < n_rows; i++) {
                double value = (double)x[i * stride + (size_t)(h * head_dim + d)];
                norms[d] += value * value;
            }
        }
        for (int j = 0; j < k; j++) {
            int best = 0;
            for (int d = 1; d < head_dim; d++)
                if (norms[d] > norms[best]) best = d;
            dims[h * k + j] = (uint32_t)(h * head_dim + best);
            norms[best] = -1;
        }
    }
}

static void column_means(edit_run *r)
{
    for (size_t j = 0; j < r->n_dims; j++) {
        double sum = 0;
        for (size_t i = 0; i < r->n_rows; i++) sum += (double)r->x[i * r->stride + r->dims[j]];
        r->means[j] = sum / (double)r->n_rows;
    }
    if (r->edit->op != QK_OP_HEAD_MEAN) return;
    for (size_t j = 0; j < r->n_dims;) { /* dims of one head lie together: ascending, or head by head */
        size_t head = r->dims[j] / (size_t)r->head_dim, end = j;
        double sum = 0;
        while (end < r->n_dims && r->dims[end] / (size_t)r->head_dim == head) sum += r->means[end++];
        for (size_t i = j; i < end; i++) r->means[i] = sum / (double)(end - j);
        j = end;
    }
}

static void shuffle(edit_run *r)
{
    qk_rng rng;
    seed_position(&rng, r->edit->seed, r->sequence, 0);
    for (size_t i = 0; i < r->n_rows; i++) {
        r->order[i] = (uint32_t)i;
        for (size_t j = 0; j < r->n_dims; j++) r->copy[i * r->n_dims + j] = r->x[i * r->stride + r->dims[j]];
    }
    for (size_t i = r->n_rows; i > 1; i--) {
        size_t j = (size_t)qk_rng_below(&rng, i);
        uint32_t kept = r->order[j];
        r->order[j] = r->order[i - 1];
        r->order[i - 1] = kept;
    }
}

static void write_rows(qk_receipt *receipt, edit_run *r, float *x, size_t position)
{
    bool draws = r->edit->op == QK_OP_NOISE || r->edit->op == QK_OP_RESAMPLE;
    for (size_t i = 0; i < r->n_rows; i++) {
        float *row = x + i * r->stride;
        if (draws) seed_position(&r->rng, r->edit->seed, r->sequence, position + i + 1);
        if (r->edit->op == QK_OP_RESAMPLE) r->bank_row = (uint32_t)qk_rng_below(&r->rng, r->edit->n_bank_rows);
        for (size_t j = 0; j < r->n_dims; j++) {
            float old = row[r->dims[j]], now = new_value[r->edit->op](r, i, j, old);
            row[r->dims[j]] = now;
            double change = fabs((double)now - (double)old);
            receipt->changed += memcmp(&old, &now, sizeof old) != 0;
            receipt->sum_abs += change;
            if (change > receipt->max_abs) receipt->max_abs = change;
        }
    }
    receipt->visited += (uint64_t)r->n_rows * r->n_dims;
}

qk_status qk_edit_apply(qk_receipt *receipt, const qk_compiled_edit *compiled, const qk_config *config, float *x,
                        size_t stride, size_t n_rows, size_t position0, size_t sequence, qk_error *err)
{
    const qk_edit *e = compiled->edit;
    qk_status status = QK_OK;
    size_t from = e->position_from, to = e->position_to ? e->position_to : SIZE_MAX;
    size_t first = from > position0 ? from - position0 : 0, last = to - position0 < n_rows ? to - position0 : n_rows;
    if (to <= position0 || first >= last) return QK_OK;
    int heads = qk_site_heads(config, e->site);
    edit_run r = { .edit = e,
                   .dims = compiled->dims,
                   .n_dims = compiled->n_dims,
                   .stride = stride,
                   .n_rows = last - first,
                   .x = x + first * stride,
                   .width = qk_site_width(config, e->site),
                   .head_dim = config->head_dim,
                   .sequence = sequence };
    uint32_t *top_dims = NULL;
    double *norms = NULL;
    if (e->top_k > 0) {
        status = qk_new_array(&top_dims, (size_t)heads * (size_t)e->top_k, sizeof *top_dims, "top-k dims", err);
        if (!status) status = qk_new_array(&norms, (size_t)config->head_dim, sizeof *norms, "top-k norms", err);
        if (status) goto out;
        pick_top_dims(top_dims, r.x, stride, r.n_rows, heads, config->head_dim, e->top_k, norms);
        r.dims = top_dims;
        r.n_dims = (size_t)heads * (size_t)e->top_k;
    }
    if (e->op == QK_OP_SEQUENCE_MEAN || e->op == QK_OP_HEAD_MEAN) {
        status = qk_new_array(&r.means, r.n_dims, sizeof *r.means, "means", err);
        if (status) goto out;
        column_means(&r);
    }
    if (e->op == QK_OP_PERMUTE) {
        status = qk_new_array(&r.copy, r.n_rows * r.n_dims, sizeof *r.copy, "permutation", err);
        if (!status) status = qk_new_array(&r.order, r.n_rows, sizeof *r.order, "permutation", err);
        if (status) goto out;
        shuffle(&r);
    }
    write_rows(receipt, &r, x + first * stride, position0 + first);
out:
    free(top_dims);
    free(norms);
    free(r.means);
    free(r.copy);
    free(r.order);
    return status;
}
