/* stats.h - estimates, intervals, tests, corrections.  Knows nothing of models; the unit of every sample is a document.
 *
 * A test that cannot be done honestly is not done: `refused` then says why in one line (static text) and the numbers
 * are NaN.  p-values are carried as log10 p, which is exact far below the smallest double. */
#ifndef QK_STATS_H
#define QK_STATS_H

#include "base/base.h"

/* ---- description of one sample x[n] */

double qk_sum(const double *x, size_t n);  /* Neumaier-compensated */
double qk_mean(const double *x, size_t n); /* NaN for n = 0 */
double qk_sd(const double *x, size_t n, int ddof); /* NaN where n <= ddof; two passes */
double qk_quantile(double *x, size_t n, double q); /* sorts x; linear interpolation (R type 7) */
double qk_gini(double *x, size_t n);       /* sorts x; 2*sum(i*x_i)/(n*sum) - (n+1)/n, i from 1; 0 for all-zero */
double qk_kurtosis(const double *x, size_t n); /* fourth standardised moment: 3 for a normal; NaN when constant */
double qk_entropy(const double *x, size_t n);  /* of x/sum(x), divided by ln n */

/* ---- distributions */

double qk_log10_p_t(double t, double df);      /* log10 of the two-sided tail of Student's t; df > 0, any real */
double qk_t_quantile(double p, double df);     /* t with P(T <= t) = p */
double qk_log10_p_normal(double z);            /* two-sided */
double qk_normal_quantile(double p);
/* P(T <= t) of the noncentral t, df >= 1, to about 1e-13 absolute. */
double qk_noncentral_t_cdf(double t, double df, double delta);
/* 95 % interval of delta given an observed t: the deltas that leave 2.5 % above and below it. */
void qk_noncentral_t_interval(double *low, double *high, double t, double df);
/* "p = 0.032", "p = 1.3e-90", "p = 10^-2872.3" below what a double holds, "p undefined" for NaN; text[32] */
void qk_format_p(char text[32], double log10_p);

/* ---- tests */

typedef struct qk_test {
    const char *name;    /* "paired t", "Welch t", "sign-flip permutation (exact)", ... static */
    const char *refused; /* NULL where done, else why not */
    size_t n1, n2;       /* documents in the arm(s); n2 = 0 for paired and one-sample tests */
    double estimate;     /* mean difference */
    double statistic;    /* t, W, z */
    double df;           /* NaN where there is none */
    double log10_p;      /* two-sided */
    double ci_low, ci_high; /* 95 % of the estimate; NaN where the test gives none */
    double effect;       /* d_z for paired (ddof 1), Hedges' g for independent; NaN else */
    double effect_low, effect_high; /* 95 %, by the noncentral or the usual normal approximation: said in METHODS */
    uint64_t n_permutations; /* permutation tests: how many were counted */
} qk_test;

/* Paired tests take y = NULL as zeros: a one-sample test.  Non-finite values are refused everywhere; "without variance"
 * means none beyond rounding. */

/* mean(x - y) against 0; refused for n < 2 or a difference without variance. */
qk_test qk_test_paired_t(const double *x, const double *y, size_t n);
/* Exact over all 2^n sign flips for n <= 40 (two sorted halves, not 2^n steps), else n_draws random ones (seeded;
 * p = (1 + hits)/(1 + draws)).  The statistic is the mean difference. */
qk_test qk_test_sign_flip(const double *x, const double *y, size_t n, uint64_t n_draws, uint64_t seed);
/* Signed rank, zeros dropped; W is the smaller rank sum.  Exact for n <= 50, ties and all, else normal, corrected for
 * ties. */
qk_test qk_test_wilcoxon(const double *x, const double *y, size_t n);
/* Unequal variances; refused when either arm has n < 2 or both have no variance. */
qk_test qk_test_welch(const double *x, size_t n_x, const double *y, size_t n_y);
/* What the post did, for comparison only: t with ddof 1 over paired values where one arm may be constant, Cohen's d =
 * mean(diff)/sd(diff, ddof 0) in `effect`. Never refused except for n < 2 or zero variance of the difference. */
qk_test qk_test_naive_paired(const double *x, const double *y, size_t n);
/* ttest_ind with pooled variance, as scipy's default; Cohen's d with ddof 0 pooled as sqrt((v1 + v2)/2). */
qk_test qk_test_naive_independent(const double *x, size_t n_x, const double *y, size_t n_y);

/* Adjust p-values in place (log10): Holm (family-wise) and Benjamini-Hochberg. NaN entries are left and not counted. */
void qk_holm(double *log10_p, size_t n);
void qk_benjamini_hochberg(double *log10_p, size_t n);

/* ---- bootstrap over documents */

typedef struct qk_interval { double estimate, low, high; const char *refused; } qk_interval;

/* 95 % BCa interval of sum(num)/sum(den) under resampling of documents (num and den move together); den = NULL is the
 * mean.  n_draws resamples from a counter-based stream, so the result does not depend on threads. Refused for n < 2.
 * BCa falls back to percentile where acceleration or bias is undefined (constant jackknife). */
qk_interval qk_bootstrap_ratio(const double *num, const double *den, size_t n, size_t n_draws, uint64_t seed);
/* The same for sum(num1 - num2)/sum(den): two arms over the same documents. */
qk_interval qk_bootstrap_difference(const double *num1, const double *num2, const double *den, size_t n, size_t n_draws,
                                    uint64_t seed);

/* ---- shares of right answers; the unit is a question */

/* Share of n_right in n with its 95 % Wilson score interval; refused for n = 0.  n_right need not be whole: the mean of
 * several looks at the same questions, whose interval is then no narrower than that of one look. */
qk_interval qk_wilson(double n_right, size_t n);
/* mean(x - y) of n questions, x and y in [0, 1] (1 = right), with its 95 % interval (Agresti and Min 2005: half a
 * question added to each of the four cells of right and wrong); refused for n = 0. */
qk_interval qk_paired_share(const double *x, const double *y, size_t n);
/* Mean of n independent shares (or differences of shares), each weighing the same, with its 95 % interval from theirs
 * (square and add: Zou and Donner 2008); refused for n = 0 and where one of them was. */
qk_interval qk_mean_share(const qk_interval *shares, size_t n);
/* Two models on the same n questions: of those that one of them alone gets right, how many are x's and how many y's.
 * Exact two-sided McNemar test; `estimate` is x's share minus y's, ci its 95 % interval (Agresti and Min 2005),
 * `statistic` the smaller of the two counts.  Refused (with the estimate and its interval) where no question tells
 * them apart. */
qk_test qk_test_mcnemar(size_t n, size_t only_x, size_t only_y);

/* Smallest paired mean difference that a two-sided 5 % test would find with 80 % power, given sd of differences, n. */
double qk_minimal_detectable_effect(double sd, size_t n);
/* The same for the difference of two shares of right answers under an exact McNemar test of n questions, the share
 * `differing` of which only one side gets right (more where the difference itself is greater); NaN where no difference
 * could be found (below 6 questions), or `differing` is not in (0, 1]. */
double qk_minimal_detectable_mcnemar(size_t n, double differing);

#endif
