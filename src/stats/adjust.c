/* adjust.c - many tests at once: Holm 1979 (family-wise) and Benjamini and Hochberg 1995 (false discovery rate). */
#include "stats/internal.h"

#include <stdlib.h>

typedef struct ranked { double log10_p; size_t index; } ranked;

static int compare_ranked(const void *a, const void *b)
{
    return qk_compare_doubles(&((const ranked *)a)->log10_p, &((const ranked *)b)->log10_p);
}

/* The n_kept entries that are not NaN, ascending; NULL with all entries made NaN when out of memory: an unadjusted p
 * must not pass for an adjusted one. */
static ranked *rank_tests(size_t *n_kept, double *log10_p, size_t n)
{
    ranked *sorted = malloc((n ? n : 1) * sizeof *sorted);
    *n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (!sorted) log10_p[i] = NAN;
        else if (!isnan(log10_p[i])) sorted[(*n_kept)++] = (ranked){ log10_p[i], i };
    }
    if (sorted) qsort(sorted, *n_kept, sizeof *sorted, compare_ranked);
    return sorted;
}

void qk_holm(double *log10_p, size_t n)
{
    size_t m;
    ranked *sorted = rank_tests(&m, log10_p, n);
    double largest = -INFINITY; /* an adjusted p is never below that of a smaller p */
    for (size_t i = 0; i < m; i++) {
        largest = fmax(largest, sorted[i].log10_p + log10((double)(m - i)));
        log10_p[sorted[i].index] = fmin(0, largest);
    }
    free(sorted);
}

void qk_benjamini_hochberg(double *log10_p, size_t n)
{
    size_t m;
    ranked *sorted = rank_tests(&m, log10_p, n);
    double smallest = 0;
    for (size_t i = m; i-- > 0;) {
        smallest = fmin(smallest, sorted[i].log10_p + log10((double)m / (double)(i + 1)));
        log10_p[sorted[i].index] = smallest;
    }
    free(sorted);
}
