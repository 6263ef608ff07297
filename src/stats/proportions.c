/* proportions.c - shares of right answers: one share's interval, and two models on the same questions.
 *
 * Interval of one share: Wilson 1927; of the mean of several: Zou and Donner 2008.  Exact McNemar test: McNemar 1947,
 * the binomial tail over the discordant pairs.  Interval of a paired difference: Wald's with 1/2 added to each of the
 * four cells, Agresti and Min 2005. */
#include "stats/internal.h"

static const double Z_95 = 1.959963984540054236;

qk_interval qk_wilson(double n_right, size_t n)
{
    qk_interval out = { NAN, NAN, NAN, NULL };
    if (n == 0 || !(n_right >= 0 && n_right <= (double)n)) {
        out.refused = n == 0 ? "no questions" : "more right answers than questions";
        return out;
    }
    double count = (double)n, share = n_right / count, square = Z_95 * Z_95;
    double centre = (share + square / (2 * count)) / (1 + square / count);
    double reach = Z_95 / (1 + square / count) * sqrt(share * (1 - share) / count + square / (4 * count * count));
    out.estimate = share;
    out.low = n_right == 0 ? 0 : fmax(0, centre - reach);
    out.high = n_right == count ? 1 : fmin(1, centre + reach);
    return out;
}

qk_interval qk_paired_share(const double *x, const double *y, size_t n)
{
    qk_interval out = { NAN, NAN, NAN, n == 0 ? "no questions" : NULL };
    double sum = 0, squares = 0, count = (double)n;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] - y[i];
        squares += (x[i] - y[i]) * (x[i] - y[i]);
    }
    if (out.refused) return out;
    double adjusted = count + 2, centre = sum / adjusted;
    double reach = Z_95 * sqrt(fmax(0, ((squares + 1) / adjusted - centre * centre) / adjusted));
    out.estimate = sum / count;
    out.low = fmax(-1, centre - reach);
    out.high = fmin(1, centre + reach);
    return out;
}

qk_interval qk_mean_share(const qk_interval *shares, size_t n)
{
    qk_interval out = { NAN, NAN, NAN, n == 0 ? "no shares" : NULL };
    double sum = 0, below = 0, above = 0, count = (double)n;
    for (size_t i = 0; i < n && !out.refused; i++) {
        const qk_interval *s = &shares[i];
        out.refused = s->refused;
        sum += s->estimate;
        below += (s->estimate - s->low) * (s->estimate - s->low);
        above += (s->high - s->estimate) * (s->high - s->estimate);
    }
    if (out.refused) return out;
    out.estimate = sum / count;
    out.low = out.estimate - sqrt(below) / count;
    out.high = out.estimate + sqrt(above) / count;
    return out;
}

/* log10 of min(1, 2 P(X <= k)), X binomial of n tosses, k <= n/2: the largest term in logarithms, the others relative
 * to it. */
static double log10_two_sided_tail(size_t k, size_t n)
{
    double count = (double)n, ln_term = 0, sum = 0, ratio = 1;
    for (size_t i = 1; i <= k; i++) ln_term += log((count - (double)k + (double)i) / (double)i);
    for (size_t i = k; ratio > 1e-18 * sum; i--) {
        sum += ratio;
        if (i == 0) break;
        ratio *= (double)i / (count - (double)i + 1);
    }
    double ln_p = ln_term - count * log(2) + log(2 * sum);
    return fmin(0, ln_p / log(10));
}

qk_test qk_test_mcnemar(size_t n, size_t only_x, size_t only_y)
{
    qk_test test = qk_test_refused("McNemar (exact)", n, 0, NULL);
    size_t n_differ = only_x + only_y;
    if (n == 0) test.refused = "no questions";
    if (n_differ > n) test.refused = "more differing answers than questions";
    if (test.refused) return test;
    double x = (double)only_x, y = (double)only_y, count = (double)n;
    test.estimate = (x - y) / count;
    double adjusted = count + 2, difference = (x - y) / adjusted, differing = (x + y + 1) / adjusted;
    double reach = Z_95 * sqrt((differing - difference * difference) / adjusted);
    test.ci_low = fmax(-1, difference - reach);
    test.ci_high = fmin(1, difference + reach);
    test.statistic = fmin(x, y); /* of n_differ tosses of a fair coin */
    if (n_differ == 0)
        test.refused = "both are right on the same questions: no difference to test";
    else
        test.log10_p = log10_two_sided_tail(only_x < only_y ? only_x : only_y, n_differ);
    return test;
}
