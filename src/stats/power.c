/* power.c - what an exact McNemar test could have found.
 *
 * Of n questions each tells the two sides apart with probability q; of those, the first side is right with probability
 * (q + d)/(2q), d the difference of the two shares.  The power is the sum over the number D of differing questions
 * (binomial) of the chance that the test of D tosses rejects (binomial tails): nothing is approximated up to
 * MOST_EXACT questions.  Beyond, Miettinen 1968: sqrt(n) d = z_a sqrt(q) + z_b sqrt(q - d^2). */
#include "stats/internal.h"

static const double Z_975 = 1.959963984540054236, Z_80 = 0.841621233572914205;
enum { MOST_EXACT = 3000 };

static double log_choose(double n, double k) { return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1); }

/* P(X <= k), X binomial of n with p; sums from the largest term of the shorter tail. */
static double below(double k, double n, double p)
{
    if (k < 0) return 0;
    if (k >= n || p <= 0) return 1;
    if (p >= 1) return 0;
    if (k > n * p) return 1 - below(n - k - 1, n, 1 - p);
    double sum = 0, ratio = 1;
    for (double i = k; ratio > 1e-16 * sum; i--) {
        sum += ratio;
        if (i == 0) break;
        ratio *= i / (n - i + 1) * (1 - p) / p;
    }
    return sum * exp(log_choose(n, k) + k * log(p) + (n - k) * log1p(-p));
}

/* The largest count of the rarer side at which n tosses are no longer taken for those of a fair coin; -1: never. */
static double critical(double n)
{
    double k = floor(n / 2 - 0.5 * Z_975 * sqrt(n)) + 2;
    k = fmin(k, floor((n - 1) / 2));
    while (k >= 0 && 2 * below(k, n, 0.5) > 0.05) k--;
    return fmax(k, -1);
}

static double power(double n, double q, double difference)
{
    q = fmax(q, difference);
    double side = fmin(1, (q + difference) / (2 * q)), mean = n * q, reach = 9 * sqrt(mean * (1 - q)) + 9, sum = 0;
    for (double d = fmax(0, floor(mean - reach)); d <= fmin(n, ceil(mean + reach)); d++) {
        double k = critical(d);
        if (k < 0) continue;
        double at_all = q >= 1 ? d == n : exp(log_choose(n, d) + d * log(q) + (n - d) * log1p(-q));
        sum += at_all * (below(k, d, side) + below(k, d, 1 - side));
    }
    return sum;
}

static double miettinen(double n, double q)
{
    double low = 0, high = 1;
    for (int i = 0; i < 60; i++) {
        double d = 0.5 * (low + high), s = fmax(q, d);
        *(sqrt(n) * d < Z_975 * sqrt(s) + Z_80 * sqrt(fmax(0, s - d * d)) ? &low : &high) = d;
    }
    return high;
}

double qk_minimal_detectable_mcnemar(size_t n, double differing)
{
    double low = 0, high = 1, count = (double)n;
    if (!(differing > 0 && differing <= 1)) return NAN;
    if (n > MOST_EXACT) return miettinen(count, differing);
    if (power(count, differing, 1) < 0.8) return NAN;
    for (int i = 0; i < 30; i++) {
        double middle = 0.5 * (low + high);
        *(power(count, differing, middle) < 0.8 ? &low : &high) = middle;
    }
    return high;
}
