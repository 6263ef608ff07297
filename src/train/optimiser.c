/* optimiser.c - AdamW, clipping, schedules.  The arithmetic is that of torch.optim.AdamW in single precision, operation
 * by operation; only the gradient's norm is summed in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/train.h"

/* Clones for wider vectors, chosen when the program is loaded; contraction is off, so every clone rounds alike.
 * Sanitizers cannot follow the resolver. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) &&               \
    !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

/* Values that one thread takes at a time, and whose squares are summed apart: the sums are added in this order whatever
 * the number of threads. */
#define CHUNK ((size_t)1 << 16)

/* ---- schedules */

/* From 1 at 0 to `least` at 1. */
static double fall(double done, double least)
{
    return least + (1 - least) * 0.5 * (1 + cos(acos(-1.0) * (done < 1 ? done : 1)));
}

double qk_learning_rate(const qk_optimiser *o, uint64_t step)
{
    if (step < o->n_warmup) return o->learning_rate * ((double)step + 1) / (double)o->n_warmup;
    double share = 1;
    uint64_t decay = o->n_decay < o->n_steps ? o->n_decay : o->n_steps;
    uint64_t first = o->schedule == QK_SCHEDULE_WSD ? o->n_steps - decay : o->n_warmup; /* first step that falls */
    if (first < o->n_warmup) first = o->n_warmup;
    if (o->schedule != QK_SCHEDULE_CONSTANT && step >= first && o->n_steps > first)
        share = fall((double)(step - first) / (double)(o->n_steps - first), o->least);
    return o->learning_rate * share;
}

/* ---- chunks: pieces of one weight */

typedef struct chunk {
    size_t first, n;  /* values */
    size_t item;
    double squares;   /* of the gradient */
} chunk;

static qk_status cut_chunks(chunk **out, size_t *n_out, const qk_parameters *p, qk_error *err)
{
    size_t n_chunks = 0, at = 0;
    chunk *chunks;
    for (size_t i = 0; i < p->n_items; i++) n_chunks += (p->items[i].n + CHUNK - 1) / CHUNK;
    qk_status status = qk_new_array(&chunks, n_chunks, sizeof *chunks, "the optimiser's chunks", err);
    if (status) return status;
    for (size_t i = 0; i < p->n_items; i++) {
        size_t n = p->items[i].n;
        for (size_t done = 0; done < n; done += CHUNK) {
            size_t rest = n - done;
            chunks[at++] = (chunk){ p->items[i].offset + done, rest < CHUNK ? rest : CHUNK, i, 0 };
        }
    }
    *out = chunks;
    *n_out = n_chunks;
    return QK_OK;
}

/* ---- the norm */

/* Eight lanes in double, added up in order. */
CLONES static double sum_of_squares(const float *x, size_t n)
{
    double lanes[8] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++) lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t j = 0; i < n; i++, j++) lanes[j] += (double)x[i] * (double)x[i];
    for (size_t j = 0; j < 8; j++) sum += lanes[j];
    return sum;
}

/* The first value that is not finite, named. */
static qk_status refuse_gradient(const qk_parameters *p, const chunk *chunks, size_t n_chunks, uint64_t step,
                                 qk_error *err)
{
    for (size_t c = 0; c < n_chunks; c++) {
        if (isfinite(chunks[c].squares)) continue;
        const qk_parameter *item = &p->items[chunks[c].item];
        size_t at = chunks[c].first;
        while (isfinite(p->gradient[at])) at++;
        size_t index = at - item->offset;
        return qk_fail(err, QK_E_NUMERIC, "step %llu: gradient of %s[%zu][%zu]: expected a finite number, found %g",
                       (unsigned long long)step + 1, item->shape.name, index / item->shape.n_cols,
                       index % item->shape.n_cols, (double)p->gradient[at]);
    }
    return QK_OK;
}

/* ---- the update */

typedef struct update {
    float clip, keep; /* gradient and value are multiplied by */
    float one_minus_beta1, beta2, one_minus_beta2, root_correction2, epsilon, minus_step;
} update;

/* p, gradient, first and second moment, once through memory; the gradient ends as zero. */
CLONES static void apply(float *restrict p, float *restrict gradient, float *restrict first, float *restrict second,
                         size_t n, const update *u)
{
    const update c = *u;
    for (size_t i = 0; i < n; i++) {
        float g = gradient[i] * c.clip;
        float m = first[i] + (g - first[i]) * c.one_minus_beta1;
        float v = second[i] * c.beta2 + c.one_minus_beta2 * g * g;
        p[i] = p[i] * c.keep + c.minus_step * m / (sqrtf(v) / c.root_correction2 + c.epsilon);
        first[i] = m;
        second[i] = v;
        gradient[i] = 0;
    }
}

static bool decays(const qk_parameter *item, const qk_optimiser *o)
{
    if (item->shape.n_dims < 2) return false;
    return o->decay_qk || (!strstr(item->shape.name, ".q_proj.weight") && !strstr(item->shape.name, ".k_proj.weight"));
}

static void update_all(qk_parameters *p, const qk_optimiser *o, const chunk *chunks, size_t n_chunks, double clip,
                       uint64_t step, int n_threads)
{
    double rate = qk_learning_rate(o, step), t = (double)step + 1;
    const update plain = {
        .clip = (float)clip,
        .keep = 1,
        .one_minus_beta1 = (float)(1 - o->beta1),
        .beta2 = (float)o->beta2,
        .one_minus_beta2 = (float)(1 - o->beta2),
        .root_correction2 = (float)sqrt(1 - pow(o->beta2, t)),
        .epsilon = (float)o->epsilon,
        .minus_step = (float)-(rate / (1 - pow(o->beta1, t))),
    };
    update decayed = plain;
    decayed.keep = (float)(1 - rate * o->weight_decay);
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (size_t c = 0; c < n_chunks; c++) {
        size_t at = chunks[c].first;
        apply(p->values + at, p->gradient + at, p->first_moment + at, p->second_moment + at, chunks[c].n,
              decays(&p->items[chunks[c].item], o) ? &decayed : &plain);
    }
}

qk_status qk_optimise(double *norm, qk_parameters *p, const qk_optimiser *o, uint64_t step, int n_threads,
                      qk_error *err)
{
    size_t n_chunks = 0;
    chunk *chunks = NULL;
    double squares = 0;
    n_threads = qk_thread_count(n_threads);
    qk_status status = cut_chunks(&chunks, &n_chunks, p, err);
    if (status) return status;
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (size_t c = 0; c < n_chunks; c++)
        chunks[c].squares = sum_of_squares(p->gradient + chunks[c].first, chunks[c].n);
    for (size_t c = 0; c < n_chunks; c++) squares += chunks[c].squares;
    if (!isfinite(squares)) {
        status = refuse_gradient(p, chunks, n_chunks, step, err);
        goto out;
    }
    double length = sqrt(squares), clip = o->clip > 0 ? o->clip / (length + 1e-6) : 1;
    update_all(p, o, chunks, n_chunks, clip < 1 ? clip : 1, step, n_threads);
    *norm = length;
out:
    free(chunks);
    return status;
}
