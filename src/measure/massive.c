/* massive.c - which dims are massive, and what their map looks like. */
#include "measure/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats/stats.h"

/* M > lambda * mean over n entries, strict.  As M * n > lambda * sum: exact where all entries are equal. */
static size_t above_mean(uint8_t *mask, const double *map, size_t n, double lambda)
{
    double limit = lambda * qk_sum(map, n);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        bool massive = map[i] * (double)n > limit;
        if (mask) mask[i] = massive;
        count += massive;
    }
    return count;
}

/* The k largest, one after the other: k is small, and NaN is never one of them. */
static size_t top_k(uint8_t *mask, const double *map, size_t n, double k)
{
    size_t count = 0, last = 0;
    if (mask && n > 0) memset(mask, 0, n);
    for (; (double)count + 1 <= k; count++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            bool left = count == 0 || map[i] < map[last] || (map[i] == map[last] && i > last);
            if (left && (best == n ? !isnan(map[i]) : map[i] > map[best])) best = i;
        }
        if (best == n) break;
        last = best;
        if (mask) mask[best] = 1;
    }
    return count;
}

size_t qk_massive_mask(uint8_t *mask, const double *map, int n_heads, int head_dim, qk_criterion criterion,
                       double lambda)
{
    size_t dim = (size_t)head_dim, count = 0;
    if (criterion == QK_CRITERION_LAYER_MEAN) return above_mean(mask, map, (size_t)n_heads * dim, lambda);
    for (int h = 0; h < n_heads; h++, map += dim) {
        count += criterion == QK_CRITERION_TOP_K ? top_k(mask, map, dim, lambda) : above_mean(mask, map, dim, lambda);
        if (mask) mask += dim;
    }
    return count;
}

bool qk_slow_pairs(uint8_t *slow, const float *inv_freq, int n_pairs, double n_context)
{
    bool rotates = false;
    for (int m = 0; m < n_pairs; m++) rotates |= inv_freq[m] != 0;
    if (!rotates) return false;
    for (int m = 0; m < n_pairs; m++) slow[m] = n_context * inv_freq[m] < 6.283185307179586477;
    return true;
}

void qk_pair_norms(double *pairs, const double *map, int n_heads, int head_dim)
{
    int half = head_dim / 2;
    for (int h = 0; h < n_heads; h++, map += head_dim)
        for (int m = 0; m < half; m++) *pairs++ = hypot(map[m], map[m + half]);
}

qk_status qk_profile_of(qk_profile *out, const double *map, const uint8_t *mask, int n_heads, int head_dim,
                        const uint8_t *slow, qk_error *err)
{
    size_t dim = (size_t)head_dim, half = dim / 2, n = (size_t)n_heads * dim, n_slow = 0;
    double *work, largest = -INFINITY, energy_massive;
    qk_status status = qk_new_array(&work, n, sizeof *work, "profile of a norm map", err);
    if (status) return status;
    qk_profile p = { .count = qk_mask_count(mask, n), .slow_share = NAN };
    for (size_t i = 0; i < n; i++) {
        largest = map[i] > largest || isnan(map[i]) ? map[i] : largest;
        n_slow += mask[i] && slow && half > 0 && slow[i % dim % half];
        work[i] = mask[i] ? map[i] * map[i] : 0;
    }
    energy_massive = qk_sum(work, n);
    for (size_t i = 0; i < n; i++) work[i] = map[i] * map[i];
    p.energy_share = energy_massive / qk_sum(work, n);
    for (size_t i = 0; i < n; i++) work[i] = map[i];
    p.max_over_mean = isnan(largest) ? NAN : largest / qk_mean(map, n);
    p.kurtosis = qk_kurtosis(map, n);
    p.entropy = qk_entropy(map, n);
    p.gini = qk_gini(work, n);
    if (slow && p.count > 0) p.slow_share = (double)n_slow / (double)p.count;
    free(work);
    *out = p;
    return QK_OK;
}

size_t qk_mask_count(const uint8_t *mask, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += mask[i] != 0;
    return count;
}

double qk_mask_jaccard(const uint8_t *a, const uint8_t *b, size_t n)
{
    size_t both = 0, either = 0;
    for (size_t i = 0; i < n; i++) {
        both += a[i] && b[i];
        either += a[i] || b[i];
    }
    return either ? (double)both / (double)either : NAN;
}
