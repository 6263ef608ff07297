/* permutation.c - tests that count sign flips: of the values (sign-flip) and of their ranks (Wilcoxon). */
#include "stats/internal.h"

#include <stdlib.h>

enum { EXACT_FLIPS = 40, EXACT_RANKS = 50 };

/* All 2^n sums of +-d[i], ascending, in sums[2^n] or spare[2^n]: each d merges two shifted copies of what was there. */
static double *signed_sums(double *sums, double *spare, const double *x, const double *y, size_t from, size_t to)
{
    size_t n = 1;
    sums[0] = 0;
    for (size_t i = from; i < to; i++, n *= 2) {
        double d = fabs(qk_difference(x, y, i));
        for (size_t at = 0, minus = 0, plus = 0; at < 2 * n; at++) {
            bool down = plus == n || (minus < n && sums[minus] - d <= sums[plus] + d);
            spare[at] = down ? sums[minus++] - d : sums[plus++] + d;
        }
        double *swap = sums;
        sums = spare;
        spare = swap;
    }
    return sums;
}

/* How many of the 2^n flips have |sum| >= limit, limit > 0; 2^n + 1 when out of memory. */
static uint64_t count_flips(const double *x, const double *y, size_t n, double limit)
{
    size_t half = n / 2, n_low = (size_t)1 << half, n_high = (size_t)1 << (n - half);
    double *room = malloc((2 * n_low + 2 * n_high) * sizeof *room);
    if (!room) return (UINT64_C(1) << n) + 1;
    const double *low = signed_sums(room, room + n_low, x, y, 0, half);
    const double *high = signed_sums(room + 2 * n_low, room + 2 * n_low + n_high, x, y, half, n);
    uint64_t hits = 0;
    for (size_t i = 0, j = n_high; i < n_low; i++) { /* as low grows, more of high reach the limit */
        while (j > 0 && low[i] + high[j - 1] >= limit) j--;
        hits += n_high - j;
    }
    free(room);
    return 2 * hits; /* the other tail is its mirror */
}

static uint64_t count_random_flips(const double *x, const double *y, size_t n, double limit, uint64_t n_draws,
                                   uint64_t seed)
{
    uint64_t hits = 0;
    for (uint64_t draw = 0; draw < n_draws; draw++) {
        uint64_t start = qk_counter_draw(seed, draw), signs = 0;
        double sum = 0;
        for (size_t i = 0; i < n; i++, signs >>= 1) {
            if (i % 64 == 0) signs = qk_counter_number(start, i / 64);
            double d = qk_difference(x, y, i);
            sum += signs & 1 ? d : -d;
        }
        hits += fabs(sum) >= limit;
    }
    return hits;
}

qk_test qk_test_sign_flip(const double *x, const double *y, size_t n, uint64_t n_draws, uint64_t seed)
{
    bool exact = n <= EXACT_FLIPS;
    const char *name = exact ? "sign-flip permutation (exact)" : "sign-flip permutation (random)";
    qk_moments m = qk_moments_of(x, y, n);
    qk_test test = qk_test_refused(name, n, 0, NULL);
    double sum_abs = 0;
    for (size_t i = 0; i < n; i++) sum_abs += fabs(qk_difference(x, y, i));
    if (n < 2) test.refused = "fewer than two documents";
    else if (!m.finite) test.refused = "a value is not finite";
    else if (sum_abs == 0) test.refused = "every difference is zero";
    else if (!exact && n_draws == 0) test.refused = "no draws were asked for";
    if (test.refused) return test;
    double limit = fabs(m.mean) * (double)n - 1e-12 * sum_abs; /* flips that tie but for rounding count as ties */
    uint64_t all = exact ? UINT64_C(1) << n : n_draws;
    uint64_t hits = all;
    if (limit > 0) hits = exact ? count_flips(x, y, n, limit) : count_random_flips(x, y, n, limit, all, seed);
    if (exact && hits > all) return qk_test_refused(name, n, 0, "out of memory");
    test.estimate = test.statistic = m.mean;
    test.log10_p = exact ? log10((double)hits / (double)all) : log10((1 + (double)hits) / (1 + (double)all));
    test.n_permutations = all;
    if (!m.constant) qk_set_paired_effect(&test, m.mean / sqrt(m.m2 / (double)(n - 1) / (double)n), n);
    return test;
}

/* Mid-ranks of |d|, doubled so that they are whole, of the non-zero differences. */
typedef struct ranks {
    size_t n;
    double plus, minus;  /* sums of the ranks of positive and negative differences, not doubled */
    double ties;         /* sum of t^3 - t over groups of ties */
    unsigned *doubled;   /* [n], owned */
} ranks;

typedef struct signed_size { double size; bool positive; } signed_size;

static int compare_sizes(const void *a, const void *b)
{
    return qk_compare_doubles(&((const signed_size *)a)->size, &((const signed_size *)b)->size);
}

/* false when out of memory */
static bool rank(ranks *out, const double *x, const double *y, size_t n)
{
    *out = (ranks){ 0 };
    signed_size *sorted = malloc(n * sizeof *sorted);
    out->doubled = malloc(n * sizeof *out->doubled);
    if (!sorted || !out->doubled) {
        free(sorted);
        free(out->doubled);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        double d = qk_difference(x, y, i);
        if (d != 0) sorted[out->n++] = (signed_size){ fabs(d), d > 0 };
    }
    qsort(sorted, out->n, sizeof *sorted, compare_sizes);
    for (size_t from = 0, to; from < out->n; from = to) {
        for (to = from + 1; to < out->n && sorted[to].size == sorted[from].size; to++) {}
        double tied = (double)(to - from);
        out->ties += tied * tied * tied - tied;
        for (size_t i = from; i < to; i++) {
            out->doubled[i] = (unsigned)(from + to + 1); /* twice the mean of from+1 .. to */
            *(sorted[i].positive ? &out->plus : &out->minus) += 0.5 * out->doubled[i];
        }
    }
    free(sorted);
    return true;
}

/* P(rank sum <= limit) when each sign is a fair coin; both in doubled ranks. */
static double rank_sum_cdf(const ranks *r, unsigned limit)
{
    double chance[EXACT_RANKS * (EXACT_RANKS + 1) + 1] = { 1 }; /* of each doubled rank sum so far */
    unsigned largest = 0;
    for (size_t i = 0; i < r->n; i++) {
        largest += r->doubled[i];
        for (unsigned s = largest + 1; s-- > 0;)
            chance[s] = 0.5 * (chance[s] + (s >= r->doubled[i] ? chance[s - r->doubled[i]] : 0));
    }
    double sum = 0;
    for (unsigned s = 0; s <= limit && s <= largest; s++) sum += chance[s];
    return sum;
}

qk_test qk_test_wilcoxon(const double *x, const double *y, size_t n)
{
    static const char exact_name[] = "Wilcoxon signed rank (exact)", normal_name[] = "Wilcoxon signed rank (normal)";
    qk_moments m = qk_moments_of(x, y, n);
    if (n < 2) return qk_test_refused(exact_name, n, 0, "fewer than two documents");
    if (!m.finite) return qk_test_refused(exact_name, n, 0, "a value is not finite");
    if (n > 2000000000) return qk_test_refused(exact_name, n, 0, "too many documents to rank");
    ranks r;
    if (!rank(&r, x, y, n)) return qk_test_refused(exact_name, n, 0, "out of memory");
    bool exact = r.n <= EXACT_RANKS;
    qk_test test = qk_test_refused(exact ? exact_name : normal_name, n, 0, r.n ? NULL : "every difference is zero");
    if (r.n > 0) {
        double count = (double)r.n, smaller = fmin(r.plus, r.minus);
        test.estimate = m.mean;
        test.statistic = smaller;
        if (exact) {
            test.log10_p = fmin(0, log10(2 * rank_sum_cdf(&r, (unsigned)(2 * smaller))));
            test.n_permutations = UINT64_C(1) << r.n;
        } else {
            double variance = count * (count + 1) * (2 * count + 1) / 24 - r.ties / 48;
            test.log10_p = qk_log10_p_normal((smaller - count * (count + 1) / 4) / sqrt(variance));
        }
    }
    free(r.doubled);
    return test;
}
