/* sample.c - from logits to a token. */
#include <math.h>

#include "generate/generate_private.h"

void qk_sample_seed(qk_rng *rng, uint64_t seed, size_t prompt, size_t condition)
{
    qk_rng_seed(rng, seed ^ ((uint64_t)prompt * UINT64_C(0xA24BAED4963EE407)) ^
                         ((uint64_t)condition * UINT64_C(0x9FB21C651E98DF25)));
}

static size_t likeliest(const float *logits, size_t n)
{
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[top]) top = i;
    return top;
}

/* ---- tokens in order, the likeliest first: a heap, since few of them are wanted */

static bool before(const float *logits, uint32_t a, uint32_t b)
{
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

static void sink(uint32_t *heap, size_t n, size_t i, const float *logits)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) return;
        if (child + 1 < n && before(logits, heap[child + 1], heap[child])) child++;
        if (!before(logits, heap[child], heap[i])) return;
        uint32_t kept = heap[i];
        heap[i] = heap[child];
        heap[child] = kept;
        i = child;
    }
}

static void make_heap(uint32_t *heap, size_t n, const float *logits)
{
    for (size_t i = 0; i < n; i++) heap[i] = (uint32_t)i;
    for (size_t i = n / 2; i-- > 0;) sink(heap, n, i, logits);
}

/* The first of heap[n] goes to heap[n - 1]. */
static uint32_t pop(uint32_t *heap, size_t n, const float *logits)
{
    uint32_t first = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = first;
    sink(heap, n - 1, 0, logits);
    return first;
}

/* ---- drawing */

/* The likeliest tokens that stay, the first one at order[n_vocab - 1] and so on downwards; returns how many, and their
 * weight. */
static size_t keep(double *mass, const qk_sampler *space, const float *logits, size_t n_vocab, const qk_sampling *s,
                   double all)
{
    size_t most = s->top_k && s->top_k < n_vocab ? s->top_k : n_vocab, n = 0;
    double share = s->top_p > 0 ? s->top_p : 1, sum = 0;
    make_heap(space->order, n_vocab, logits);
    if (most < n_vocab) { /* top_p is a share of what top_k left */
        for (all = 0; n < most; n++) all += space->weights[pop(space->order, n_vocab - n, logits)];
        for (n = 0; n < most && (n == 0 || sum < share * all); n++)
            sum += space->weights[space->order[n_vocab - 1 - n]];
    } else {
        for (; n < n_vocab && (n == 0 || sum < share * all); n++)
            sum += space->weights[pop(space->order, n_vocab - n, logits)];
    }
    *mass = sum;
    return n;
}

int32_t qk_sample(qk_rng *rng, const float *logits, size_t n_vocab, const qk_sampling *s, qk_sampler *space)
{
    size_t top = likeliest(logits, n_vocab), token = top;
    bool cut = (s->top_k && s->top_k < n_vocab) || (s->top_p > 0 && s->top_p < 1);
    double all = 0, sum = 0;
    if (s->temperature <= 0) return (int32_t)top;
    for (size_t i = 0; i < n_vocab; i++)
        all += space->weights[i] = exp(((double)logits[i] - (double)logits[top]) / s->temperature);
    size_t n = cut ? keep(&all, space, logits, n_vocab, s, all) : n_vocab;
    double drawn = qk_rng_uniform(rng) * all;
    for (size_t i = 0; i < n && sum <= drawn; i++) {
        token = cut ? space->order[n_vocab - 1 - i] : i;
        sum += space->weights[token];
    }
    return (int32_t)token;
}
