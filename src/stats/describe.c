/* describe.c - sums, moments, order statistics and concentration of one sample. */
#include "stats/internal.h"

#include <float.h>
#include <stdlib.h>

/* Neumaier 1974: the rounding error of each addition is kept and added at the end. */
typedef struct compensated { double sum, error; } compensated;

static inline void add(compensated *acc, double x)
{
    double sum = acc->sum + x;
    acc->error += fabs(acc->sum) >= fabs(x) ? (acc->sum - sum) + x : (x - sum) + acc->sum;
    acc->sum = sum;
}

/* An infinite sum has error inf - inf; the plain sum is then the answer. */
static double total(compensated acc) { return isfinite(acc.sum) ? acc.sum + acc.error : acc.sum; }

double qk_sum(const double *x, size_t n)
{
    compensated acc = { 0, 0 };
    for (size_t i = 0; i < n; i++) add(&acc, x[i]);
    return total(acc);
}

double qk_mean(const double *x, size_t n) { return n > 0 ? qk_sum(x, n) / (double)n : NAN; }

static bool all_equal(const double *x, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (!(x[i] == x[0])) return false;
    return true;
}

qk_moments qk_moments_of(const double *x, const double *y, size_t n)
{
    qk_moments m = { .mean = NAN, .m2 = NAN, .finite = true, .constant = true };
    if (n == 0) return m;
    compensated sum = { 0, 0 };
    double first = qk_difference(x, y, 0);
    for (size_t i = 0; i < n; i++) {
        double d = qk_difference(x, y, i);
        if (!isfinite(d)) m.finite = false;
        if (d != first) m.constant = false;
        m.scale = fmax(m.scale, fmax(fabs(x[i]), y ? fabs(y[i]) : 0));
        add(&sum, d);
    }
    m.mean = total(sum) / (double)n;
    if (m.constant && m.finite) {
        m.m2 = 0;
        return m;
    }
    compensated square = { 0, 0 }, rest = { 0, 0 };
    for (size_t i = 0; i < n; i++) {
        double d = qk_difference(x, y, i) - m.mean;
        add(&square, d * d);
        add(&rest, d); /* not quite 0: the mean is rounded */
    }
    m.m2 = total(square) - total(rest) * total(rest) / (double)n;
    if (m.m2 < 0) m.m2 = 0;
    if (sqrt(m.m2 / (double)n) <= 8 * DBL_EPSILON * m.scale) m.constant = true;
    return m;
}

double qk_sd(const double *x, size_t n, int ddof)
{
    if (ddof < 0 || n <= (size_t)ddof) return NAN;
    return sqrt(qk_moments_of(x, NULL, n).m2 / (double)(n - (size_t)ddof));
}

int qk_compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* NaN has no place in an order: false, and x is left as it was. */
static bool sort(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isnan(x[i])) return false;
    if (n > 1) qsort(x, n, sizeof *x, qk_compare_doubles);
    return true;
}

double qk_quantile(double *x, size_t n, double q)
{
    if (n == 0 || !(q >= 0 && q <= 1) || !sort(x, n)) return NAN;
    double at = q * (double)(n - 1);
    size_t low = (size_t)at;
    double part = at - (double)low;
    if (part == 0 || x[low] == x[low + 1]) return x[low]; /* the second: both infinite */
    return x[low] + part * (x[low + 1] - x[low]);
}

double qk_gini(double *x, size_t n)
{
    if (n == 0 || !sort(x, n) || x[0] < 0) return NAN;
    compensated weighted = { 0, 0 };
    for (size_t i = 0; i < n; i++) add(&weighted, (double)(i + 1) * x[i]);
    double sum = qk_sum(x, n), count = (double)n;
    if (sum == 0 || x[0] == x[n - 1]) return sum < INFINITY ? 0 : NAN;
    return 2 * total(weighted) / (count * sum) - (count + 1) / count;
}

double qk_kurtosis(const double *x, size_t n)
{
    if (n == 0 || all_equal(x, n)) return NAN;
    double mean = qk_mean(x, n);
    compensated second = { 0, 0 }, fourth = { 0, 0 };
    for (size_t i = 0; i < n; i++) {
        double square = (x[i] - mean) * (x[i] - mean);
        add(&second, square);
        add(&fourth, square * square);
    }
    return (double)n * total(fourth) / (total(second) * total(second));
}

double qk_entropy(const double *x, size_t n)
{
    double sum = qk_sum(x, n);
    if (n < 2 || !(sum > 0 && sum < INFINITY)) return NAN;
    compensated entropy = { 0, 0 };
    for (size_t i = 0; i < n; i++) {
        if (x[i] < 0) return NAN;
        if (x[i] > 0) add(&entropy, -x[i] / sum * log(x[i] / sum));
    }
    return total(entropy) / log((double)n);
}
