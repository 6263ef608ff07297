/* tests.c - t tests with the document as unit, and the naive ones of the post for comparison. */
#include "stats/internal.h"

qk_test qk_test_refused(const char *name, size_t n1, size_t n2, const char *why)
{
    return (qk_test){ .name = name, .refused = why, .n1 = n1, .n2 = n2, .estimate = NAN, .statistic = NAN, .df = NAN,
                      .log10_p = NAN, .ci_low = NAN, .ci_high = NAN, .effect = NAN, .effect_low = NAN,
                      .effect_high = NAN };
}

const char *qk_paired_refusal(const qk_moments *m, size_t n)
{
    if (n < 2) return "fewer than two documents";
    if (!m->finite) return "a value is not finite";
    if (m->constant) return "the difference is the same in every document: no variance to test against";
    return NULL;
}

/* estimate, statistic, df, p and interval of a t test from its standard error */
static void set_t(qk_test *test, double estimate, double standard_error, double df)
{
    double reach = qk_t_quantile(0.975, df) * standard_error;
    test->refused = NULL;
    test->estimate = estimate;
    test->statistic = estimate / standard_error;
    test->df = df;
    test->log10_p = qk_log10_p_t(test->statistic, df);
    test->ci_low = estimate - reach;
    test->ci_high = estimate + reach;
}

void qk_set_paired_effect(qk_test *test, double t, size_t n)
{
    double root = sqrt((double)n);
    qk_noncentral_t_interval(&test->effect_low, &test->effect_high, t, (double)(n - 1));
    test->effect = t / root; /* mean/sd, ddof 1 */
    test->effect_low /= root;
    test->effect_high /= root;
}

qk_test qk_test_paired_t(const double *x, const double *y, size_t n)
{
    qk_moments m = qk_moments_of(x, y, n);
    qk_test test = qk_test_refused("paired t", n, 0, qk_paired_refusal(&m, n));
    if (test.refused) return test;
    set_t(&test, m.mean, sqrt(m.m2 / (double)(n - 1) / (double)n), (double)(n - 1));
    qk_set_paired_effect(&test, test.statistic, n);
    return test;
}

qk_test qk_test_naive_paired(const double *x, const double *y, size_t n)
{
    qk_moments m = qk_moments_of(x, y, n);
    qk_test test = qk_test_refused("naive paired t", n, 0, qk_paired_refusal(&m, n));
    if (test.refused) return test;
    set_t(&test, m.mean, sqrt(m.m2 / (double)(n - 1) / (double)n), (double)(n - 1));
    test.effect = m.mean / sqrt(m.m2 / (double)n); /* ddof 0 */
    return test;
}

static const char *independent_refusal(const qk_moments *x, size_t n_x, const qk_moments *y, size_t n_y)
{
    if (n_x < 2 || n_y < 2) return "fewer than two documents in an arm";
    if (!x->finite || !y->finite) return "a value is not finite";
    if (x->constant && y->constant) return "neither arm varies between documents: no variance to test against";
    return NULL;
}

/* J = Gamma(df/2)/(sqrt(df/2) Gamma((df-1)/2)): what makes Hedges' g unbiased; 1 - 3/(4 df - 1) nearly. */
static double small_sample_factor(double df) { return exp(qk_ln_gamma_half_step((df - 1) / 2)) / sqrt(df / 2); }

qk_test qk_test_welch(const double *x, size_t n_x, const double *y, size_t n_y)
{
    qk_moments a = qk_moments_of(x, NULL, n_x), b = qk_moments_of(y, NULL, n_y);
    qk_test test = qk_test_refused("Welch t", n_x, n_y, independent_refusal(&a, n_x, &b, n_y));
    if (test.refused) return test;
    double count_x = (double)n_x, count_y = (double)n_y;
    double part_x = a.m2 / (count_x - 1) / count_x, part_y = b.m2 / (count_y - 1) / count_y, sum = part_x + part_y;
    double df = sum * sum / (part_x * part_x / (count_x - 1) + part_y * part_y / (count_y - 1));
    set_t(&test, a.mean - b.mean, sqrt(sum), df);
    /* Hedges' g; its variance as Hedges and Olkin 1985 */
    double pooled_df = count_x + count_y - 2, factor = small_sample_factor(pooled_df);
    double d = test.estimate / sqrt((a.m2 + b.m2) / pooled_df);
    double reach = qk_normal_quantile(0.975) * factor *
                   sqrt((count_x + count_y) / (count_x * count_y) + d * d / (2 * (count_x + count_y)));
    test.effect = factor * d;
    test.effect_low = test.effect - reach;
    test.effect_high = test.effect + reach;
    return test;
}

qk_test qk_test_naive_independent(const double *x, size_t n_x, const double *y, size_t n_y)
{
    qk_moments a = qk_moments_of(x, NULL, n_x), b = qk_moments_of(y, NULL, n_y);
    qk_test test = qk_test_refused("naive independent t", n_x, n_y, independent_refusal(&a, n_x, &b, n_y));
    if (test.refused) return test;
    double count_x = (double)n_x, count_y = (double)n_y, df = count_x + count_y - 2, pooled = (a.m2 + b.m2) / df;
    set_t(&test, a.mean - b.mean, sqrt(pooled * (1 / count_x + 1 / count_y)), df);
    test.effect = test.estimate / sqrt((a.m2 / count_x + b.m2 / count_y) / 2);
    return test;
}
