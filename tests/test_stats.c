/* test_stats.c - against scipy, numpy, mpmath (data/stats_oracle.h), published numbers, brute force and bad input. */
#include "testing.h"

#include <math.h>

#include "data/stats_oracle.h"
#include "stats/stats.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define assert_close(a, b, relative) assert_near(a, b, (relative) * fabs((double)(b)) + 1e-300)

enum { N_X = COUNT(oracle_x), N_Z = COUNT(oracle_z) };

static void description_matches_numpy(void **state)
{
    (void)state;
    double sorted[N_X];
    memcpy(sorted, oracle_x, sizeof sorted);
    assert_close(qk_mean(oracle_x, N_X), oracle_describe[0], 1e-14);
    assert_close(qk_sd(oracle_x, N_X, 0), oracle_describe[1], 1e-14);
    assert_close(qk_sd(oracle_x, N_X, 1), oracle_describe[2], 1e-14);
    assert_close(qk_quantile(sorted, N_X, 0.3), oracle_describe[3], 1e-14);
    assert_close(qk_gini(sorted, N_X), oracle_describe[4], 1e-13);
    assert_close(qk_kurtosis(oracle_x, N_X), oracle_describe[5], 1e-13);
    assert_close(qk_entropy(oracle_x, N_X), oracle_describe[6], 1e-13);
    /* what a plain sum loses */
    assert_true(qk_sum((double[]){ 1, 1e100, 1, -1e100 }, 4) == 2);
    /* deviations far below the values */
    assert_close(qk_sd((double[]){ 1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16 }, 4, 1), sqrt(30), 1e-14);
}

static void gini_matches_the_published_values(void **state)
{
    (void)state;
    assert_near(qk_gini((double[]){ 1, 1, 1, 1 }, 4), 0, 0);
    assert_near(qk_gini((double[]){ 0, 0, 0, 1 }, 4), 0.75, 1e-15);
    assert_near(qk_gini((double[]){ 0, 1, 0, 0 }, 4), 0.75, 1e-15); /* sorts */
    assert_near(qk_gini((double[]){ 4, 2, 3, 1 }, 4), 0.25, 1e-15);
    assert_near(qk_gini((double[]){ 0, 0, 0 }, 3), 0, 0);
    assert_near(qk_entropy((double[]){ 2, 2, 2 }, 3), 1, 1e-15);
    assert_near(qk_entropy((double[]){ 0, 5, 0 }, 3), 0, 0);
}

static void description_of_bad_samples_is_nan(void **state)
{
    (void)state;
    double none[1] = { 0 }, one[] = { 3 }, same[] = { 0.1, 0.1, 0.1 };
    double nan[] = { 1, NAN, 2 }, inf[] = { 1, INFINITY, 2 };
    assert_true(isnan(qk_mean(none, 0)) && qk_sum(none, 0) == 0 && isnan(qk_sd(none, 0, 0)) && isnan(qk_sd(one, 1, 1)));
    assert_true(isnan(qk_quantile(none, 0, 0.5)) && isnan(qk_gini(none, 0)) && isnan(qk_kurtosis(none, 0)));
    assert_true(isnan(qk_entropy(none, 0)) && isnan(qk_entropy(one, 1)) && isnan(qk_entropy((double[]){ 0, 0 }, 2)));
    assert_true(isnan(qk_entropy((double[]){ 2, -1 }, 2)) && isnan(qk_gini((double[]){ 2, -1 }, 2)));
    assert_true(qk_sd(one, 1, 0) == 0 && qk_quantile(one, 1, 0.7) == 3 && qk_gini(one, 1) == 0);
    assert_true(isnan(qk_kurtosis(one, 1)));
    assert_true(qk_sd(same, 3, 1) == 0 && isnan(qk_kurtosis(same, 3)) && qk_gini(same, 3) == 0);
    assert_true(isnan(qk_mean(nan, 3)) && isnan(qk_sd(nan, 3, 1)) && isnan(qk_quantile(nan, 3, 0.5)));
    assert_true(isnan(qk_gini(nan, 3)) && isnan(qk_kurtosis(nan, 3)) && isnan(qk_entropy(nan, 3)));
    assert_true(qk_sum(inf, 3) == INFINITY && isnan(qk_sd(inf, 3, 1)) && isnan(qk_gini(inf, 3)));
    assert_true(isnan(qk_entropy(inf, 3)));
    assert_true(isnan(qk_quantile(same, 3, 1.5)) && isnan(qk_quantile(same, 3, NAN)));
    assert_true(qk_quantile(inf, 3, 1) == INFINITY && qk_quantile(inf, 3, 0) == 1);
}

static void tails_match_mpmath(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(oracle_t_tail); i++) {
        double t = oracle_t_tail[i].t, df = oracle_t_tail[i].df;
        assert_close(qk_log10_p_t(t, df), oracle_t_tail[i].log10_p, 1e-12);
        assert_true(qk_log10_p_t(-t, df) == qk_log10_p_t(t, df));
    }
    for (size_t i = 0; i < COUNT(oracle_normal_tail); i++)
        assert_close(qk_log10_p_normal(-oracle_normal_tail[i].z), oracle_normal_tail[i].log10_p, 1e-13);
    /* reference values to three decimals, from a 150-digit series of another hand */
    static const double deep[][3] = { { 1e6, 9, -50.293 },   { 2.5e10, 9, -89.875 }, { 3000.5, 17.3, -50.170 },
                                      { 20, 50, -24.781 },   { 17, 31, -16.540 },    { 40, 1998, -256.783 },
                                      { 60, 1e5, -769.856 }, { 1e30, 99, -2872.313 } };
    for (size_t i = 0; i < COUNT(deep); i++) assert_near(qk_log10_p_t(deep[i][0], deep[i][1]), deep[i][2], 6e-4);
    assert_true(qk_log10_p_t(0, 5) == 0 && qk_log10_p_t(INFINITY, 5) == -INFINITY && qk_log10_p_normal(0) == 0);
    assert_true(isnan(qk_log10_p_t(NAN, 5)) && isnan(qk_log10_p_t(1, 0)) && isnan(qk_log10_p_t(1, NAN)));
    assert_true(isnan(qk_log10_p_normal(NAN)));
    assert_true(qk_log10_p_t(3, INFINITY) == qk_log10_p_normal(3));
}

static void the_tail_has_no_seams(void **state)
{
    (void)state; /* the fraction, its mirror and the integral meet: p falls as t grows, rises as df falls */
    for (double df = 0.5; df < 1e12; df *= 3.7)
        for (double t = 1e-3, before = 0; t < 200; t *= 1.07) {
            double p = qk_log10_p_t(t, df);
            assert_true(p < before && p > qk_log10_p_t(t, df * 1.5) - 1e-12 * fabs(p) - 1e-15);
            before = p;
        }
}

static void quantiles_match_mpmath(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(oracle_t_quantile); i++)
        assert_close(qk_t_quantile(oracle_t_quantile[i].p, oracle_t_quantile[i].df), oracle_t_quantile[i].t, 1e-12);
    for (size_t i = 0; i < COUNT(oracle_normal_quantile); i++)
        assert_close(qk_normal_quantile(oracle_normal_quantile[i].p), oracle_normal_quantile[i].z, 1e-9);
    assert_true(qk_normal_quantile(0.5) == 0 && qk_normal_quantile(0) == -INFINITY && qk_t_quantile(1, 3) == INFINITY);
    assert_true(isnan(qk_t_quantile(-0.1, 3)) && isnan(qk_t_quantile(0.3, -1)) && isnan(qk_normal_quantile(NAN)));
    assert_true(qk_t_quantile(1e-300, 0.01) < -1e300); /* heavier than any double, and it still ends */
}

static void noncentral_t_matches_its_integral(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(oracle_noncentral); i++)
        assert_near(qk_noncentral_t_cdf(oracle_noncentral[i].t, oracle_noncentral[i].df, oracle_noncentral[i].delta),
                    oracle_noncentral[i].p, 1e-12);
    for (double t = -4; t <= 4; t += 0.5) { /* central: Student's */
        double p = 0.5 * pow(10, qk_log10_p_t(t, 6));
        assert_near(qk_noncentral_t_cdf(t, 6, 0), t > 0 ? 1 - p : p, 1e-13);
    }
    double low, high;
    qk_noncentral_t_interval(&low, &high, -512127.8, 9); /* far out: the interval is still around t */
    assert_true(low < -512127.8 && high > -512127.8 && high < -250000);
    qk_noncentral_t_interval(&low, &high, NAN, 9);
    assert_true(isnan(low) && isnan(high) && isnan(qk_noncentral_t_cdf(1, 0.5, 0)));
}

static void minimal_effect_has_the_power_it_claims(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(oracle_minimal_effect); i++) {
        size_t n = (size_t)oracle_minimal_effect[i].n;
        assert_close(qk_minimal_detectable_effect(1.5, n), oracle_minimal_effect[i].effect, 1e-8);
    }
    assert_true(qk_minimal_detectable_effect(0, 8) == 0 && isnan(qk_minimal_detectable_effect(1, 1)) &&
                isnan(qk_minimal_detectable_effect(NAN, 8)));
}

static void p_values_print(void **state)
{
    (void)state;
    static const struct { double log10_p; const char *text; } cases[] = {
        { 0, "p = 1" }, { 1e-17, "p = 1" }, { -0.30102999566398120, "p = 0.5" }, { -1.4948500216800940, "p = 0.032" },
        { -3, "p = 0.001" }, { -3.03, "p = 9.3e-4" }, { -89.88605664769316, "p = 1.3e-90" },
        { -50.0001, "p = 1.0e-50" },
        { -307.5, "p = 10^-307.5" }, { -2872.313, "p = 10^-2872.3" }, { -1.2345e12, "p = 10^-1.23e+12" },
        { -INFINITY, "p = 0" }, { NAN, "p undefined" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[32];
        qk_format_p(text, cases[i].log10_p);
        assert_string_equal(text, cases[i].text);
    }
}

static void t_tests_match_scipy(void **state)
{
    (void)state;
    qk_test test = qk_test_paired_t(oracle_x, oracle_y, N_X);
    assert_null(test.refused);
    double got[] = { test.estimate, test.statistic, test.df, test.log10_p, test.ci_low, test.ci_high, test.effect };
    for (size_t i = 0; i < COUNT(got); i++) assert_close(got[i], oracle_paired[i], 1e-12);
    assert_close(test.effect_low, oracle_paired[7], 1e-9);
    assert_close(test.effect_high, oracle_paired[8], 1e-9);
    assert_true(test.n1 == N_X && test.n2 == 0);

    test = qk_test_welch(oracle_x, N_X, oracle_z, N_Z);
    double welch[] = { test.estimate, test.statistic, test.df, test.log10_p, test.ci_low, test.ci_high, test.effect };
    for (size_t i = 0; i < COUNT(welch); i++) assert_close(welch[i], oracle_welch[i], 1e-12);
    assert_true(test.effect_low < test.effect && test.effect < test.effect_high);

    test = qk_test_naive_independent(oracle_x, N_X, oracle_z, N_Z);
    double pooled[] = { test.statistic, test.df, test.log10_p, test.effect };
    for (size_t i = 0; i < COUNT(pooled); i++) assert_close(pooled[i], oracle_pooled[i], 1e-12);
}

/* The numbers of the post (Africa 2026): perplexities of one deterministic massive arm and ten random arms. */
static void the_posts_own_t_is_reproduced(void **state)
{
    (void)state;
    static const double base = 1.2952179149625755, massive = 1502.8371640280363;
    assert_near(100 * (massive / base - 1), 115929.6771, 5e-5); /* percent */
    assert_near(log(massive / base), 7.05643109, 5e-9);         /* nats */
    assert_near(100 * (22.616905562814082 / 1.4866280584988525 - 1), 1421.3560, 5e-5);
    assert_near(log(22.616905562814082 / 1.4866280584988525), 2.72218715, 5e-9);

    static const double random_pct[] = { 0.6939302213819828, 0.3044763217367073, -0.3516836359570458,
                                         -0.08771528697889902,
                                         -0.4083910174553183, 1.1733586725517502, 1.1692573960826789, 1.731928736718132,
                                         0.8587958726518128, 0.9452388723918058 };
    double massive_pct[10];
    for (int i = 0; i < 10; i++) massive_pct[i] = 100 * (massive - base) / base; /* one number, ten times */
    qk_test test = qk_test_naive_paired(massive_pct, random_pct, 10);
    assert_null(test.refused);
    assert_near(test.statistic, 512127.8235, 5e-4);
    assert_near(test.effect, 170709.2745, 5e-4);
    assert_near(test.log10_p, log10(2.1e-48), 0.02);
    char text[32];
    qk_format_p(text, test.log10_p);
    assert_string_equal(text, "p = 2.1e-48");
    assert_non_null(qk_test_paired_t(massive_pct, NULL, 10).refused); /* the arm itself has nothing to test */
}

static void permutations_match_scipy(void **state)
{
    (void)state;
    qk_test flip = qk_test_sign_flip(oracle_x, oracle_y, N_X, 0, 0), rank = qk_test_wilcoxon(oracle_x, oracle_y, N_X);
    assert_null(flip.refused);
    assert_null(rank.refused);
    assert_true(flip.n_permutations == 1024 && rank.n_permutations == 1024);
    assert_close(flip.log10_p, oracle_flips[0], 1e-13);
    assert_close(flip.effect, oracle_paired[6], 1e-13);
    assert_close(rank.statistic, oracle_flips[1], 0);
    assert_close(rank.log10_p, oracle_flips[2], 1e-13);
    rank = qk_test_wilcoxon(oracle_many, NULL, COUNT(oracle_many)); /* many ties, some zeros: the normal one */
    assert_string_equal(rank.name, "Wilcoxon signed rank (normal)");
    assert_close(rank.statistic, oracle_many_wilcoxon[0], 1e-13);
    assert_close(rank.log10_p, oracle_many_wilcoxon[1], 1e-12);
}

/* p by trying every sign, for the difference itself and for its mid-ranks. */
static void brute_force(double *flip_p, double *rank_p, const double *d, size_t n)
{
    double ranks[12], sum = 0, rank_sum = 0, flip_hits = 0, rank_hits = 0;
    for (size_t i = 0; i < n; i++) {
        double below = 0, same = 0;
        for (size_t j = 0; j < n; j++) {
            below += d[j] != 0 && fabs(d[j]) < fabs(d[i]);
            same += fabs(d[j]) == fabs(d[i]);
        }
        ranks[i] = d[i] != 0 ? below + (same + 1) / 2 : 0;
        sum += d[i];
        rank_sum += d[i] > 0 ? ranks[i] : d[i] < 0 ? -ranks[i] : 0;
    }
    for (unsigned signs = 0; signs < 1u << n; signs++) {
        double s = 0, r = 0;
        for (size_t i = 0; i < n; i++) {
            s += signs >> i & 1 ? d[i] : -d[i];
            r += signs >> i & 1 ? ranks[i] : -ranks[i];
        }
        flip_hits += fabs(s) >= fabs(sum) - 1e-9;
        rank_hits += fabs(r) >= fabs(rank_sum) - 1e-9;
    }
    *flip_p = flip_hits / (double)(1u << n);
    *rank_p = rank_hits / (double)(1u << n);
}

static void permutations_match_brute_force(void **state)
{
    (void)state;
    qk_rng rng;
    qk_rng_seed(&rng, 5);
    for (int trial = 0; trial < 300; trial++) {
        double d[12], flip_p, rank_p;
        size_t n = 2 + (size_t)qk_rng_below(&rng, 11);
        for (size_t i = 0; i < n; i++) d[i] = (double)qk_rng_below(&rng, 9) - 3; /* ties and zeros */
        d[0] = 1;
        brute_force(&flip_p, &rank_p, d, n);
        assert_near(pow(10, qk_test_sign_flip(d, NULL, n, 0, 0).log10_p), flip_p, 1e-12);
        assert_near(pow(10, qk_test_wilcoxon(d, NULL, n).log10_p), rank_p, 1e-12);
    }
}

static void large_permutations_agree(void **state)
{
    (void)state; /* 2^40 flips counted, against the t test they approach; then drawn ones against the same */
    double x[41];
    qk_rng rng;
    qk_rng_seed(&rng, 11);
    for (int i = 0; i < 41; i++) x[i] = 0.35 + qk_rng_normal(&rng);
    qk_test exact = qk_test_sign_flip(x, NULL, 40, 0, 0), t = qk_test_paired_t(x, NULL, 40);
    assert_true(exact.n_permutations == UINT64_C(1) << 40);
    assert_near(exact.log10_p, t.log10_p, 0.1);
    qk_test drawn = qk_test_sign_flip(x, NULL, 41, 100000, 3), other = qk_test_sign_flip(x, NULL, 41, 100000, 4);
    t = qk_test_paired_t(x, NULL, 41);
    assert_string_equal(drawn.name, "sign-flip permutation (random)");
    double p = pow(10, t.log10_p);
    assert_near(pow(10, drawn.log10_p), p, 0.2 * p + 5 * sqrt(p / 1e5));
    assert_true(drawn.log10_p != other.log10_p && drawn.log10_p == qk_test_sign_flip(x, NULL, 41, 100000, 3).log10_p);
    for (int i = 0; i < 41; i++) x[i] = 5 + 0.01 * i; /* never reached by a draw: p is not 0 */
    assert_close(qk_test_sign_flip(x, NULL, 41, 999, 3).log10_p, -3, 1e-12);
}

static void check_refused(qk_test test)
{
    assert_non_null(test.refused);
    assert_non_null(test.name);
    assert_true(isnan(test.estimate) && isnan(test.statistic) && isnan(test.log10_p));
    assert_true(isnan(test.ci_low) && isnan(test.effect));
}

static void dishonest_tests_are_refused(void **state)
{
    (void)state;
    double same[] = { 0.1, 0.2, 0.3 }, shifted[] = { 1.1, 1.2, 1.3 }, flat[] = { 4, 4, 4 };
    double nan[] = { 1, NAN, 2 }, inf[] = { 1, INFINITY, 2 };
    qk_test (*const paired[])(const double *, const double *, size_t) = { qk_test_paired_t, qk_test_naive_paired };
    for (size_t i = 0; i < COUNT(paired); i++) {
        check_refused(paired[i](same, shifted, 3)); /* -1 each, but for rounding */
        check_refused(paired[i](same, same, 3));
        check_refused(paired[i](same, nan, 3));
        check_refused(paired[i](inf, same, 3));
        check_refused(paired[i](same, NULL, 1));
        check_refused(paired[i](same, NULL, 0));
    }
    check_refused(qk_test_sign_flip(same, same, 3, 0, 0));
    check_refused(qk_test_sign_flip(same, NULL, 1, 0, 0));
    check_refused(qk_test_sign_flip(nan, NULL, 3, 0, 0));
    check_refused(qk_test_wilcoxon(same, same, 3));
    check_refused(qk_test_wilcoxon(inf, NULL, 3));
    check_refused(qk_test_wilcoxon(same, NULL, 0));
    check_refused(qk_test_welch(flat, 3, flat, 3));
    check_refused(qk_test_welch(same, 3, shifted, 1));
    check_refused(qk_test_welch(same, 3, inf, 3));
    check_refused(qk_test_naive_independent(flat, 3, flat, 3));
    assert_null(qk_test_welch(flat, 3, same, 3).refused); /* one arm varies: df is its own */
    assert_close(qk_test_welch(flat, 3, same, 3).df, 2, 1e-14);
    assert_null(qk_test_sign_flip(flat, NULL, 3, 0, 0).refused); /* counting signs needs no variance: 2 of 8 */
    assert_close(qk_test_sign_flip(flat, NULL, 3, 0, 0).log10_p, log10(0.25), 1e-14);
    double many[64] = { 1, 2 };
    check_refused(qk_test_sign_flip(many, NULL, 64, 0, 0)); /* not exact, and no draws */
}

/* Newcombe 1998 (Statistics in Medicine 17:857), table I, to all his digits; scipy to all of a double. */
static void wilson_matches_newcombe_and_scipy(void **state)
{
    (void)state;
    static const struct { size_t k, n; double low, high, scipy_low, scipy_high; } rows[] = {
        { 81, 263, 0.2553, 0.3662, 0.2552885198782742, 0.36620957698280004 },
        { 15, 148, 0.0624, 0.1605, 0.06238639953073629, 0.16048724172330803 },
        { 0, 20, 0.0000, 0.1611, 0, 0.16112515805281935 },
        { 1, 29, 0.0061, 0.1718, 0.006113214292762667, 0.17175521879320282 },
        { 29, 29, 0.8830, 1, 0.8830302015002592, 1 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        qk_interval w = qk_wilson(rows[i].k, rows[i].n);
        assert_null(w.refused);
        assert_near(w.estimate, (double)rows[i].k / (double)rows[i].n, 0);
        assert_near(w.low, rows[i].low, 5.1e-5);
        assert_near(w.high, rows[i].high, 5.1e-5);
        assert_near(w.low, rows[i].scipy_low, 1e-14);
        assert_near(w.high, rows[i].scipy_high, 1e-14);
    }
    assert_non_null(qk_wilson(0, 0).refused);
    assert_non_null(qk_wilson(2, 1).refused);
    assert_true(isnan(qk_wilson(0, 0).low) && isnan(qk_wilson(2, 1).estimate));
}

/* p as exact fractions give it (Python's integers), the ratings of Agresti (Categorical Data Analysis, 10.1.1). */
static void mcnemar_matches_exact_fractions(void **state)
{
    (void)state;
    static const struct { size_t x, y; double log10_p; } rows[] = {
        { 86, 150, -4.4299317582063957 }, { 150, 86, -4.4299317582063957 }, { 5, 5, 0 }, { 0, 1, 0 },
        { 0, 6, -1.505149978319906 }, { 40, 3, -8.5198001984438721 }, { 1000, 1300, -9.3678050845115218 },
        { 100, 4000, -1031.1312054423836 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        qk_test t = qk_test_mcnemar(5000, rows[i].x, rows[i].y);
        assert_null(t.refused);
        assert_near(t.log10_p, rows[i].log10_p, 1e-12 * fabs(rows[i].log10_p));
        assert_near(t.estimate, ((double)rows[i].x - (double)rows[i].y) / 5000, 0);
    }
    qk_test ratings = qk_test_mcnemar(1600, 86, 150);
    assert_near(ratings.estimate, -0.04, 1e-15);
    assert_near(ratings.ci_low, -0.059, 5e-4);
    assert_near(ratings.ci_high, -0.021, 5e-4);
    double x[20] = { 0 }, y[20] = { 0 }; /* the interval of the paired difference is the same one, verdict by verdict */
    for (size_t i = 0; i < 20; i++) x[i] = i < 7 || i > 17, y[i] = i >= 5 && i < 9;
    qk_test counted = qk_test_mcnemar(20, 7, 2);
    qk_interval paired = qk_paired_share(x, y, 20);
    assert_near(paired.estimate, counted.estimate, 1e-15);
    assert_near(paired.low, counted.ci_low, 1e-14);
    assert_near(paired.high, counted.ci_high, 1e-14);
    assert_non_null(qk_paired_share(x, y, 0).refused);
    qk_test same = qk_test_mcnemar(10, 0, 0);
    assert_non_null(same.refused);
    assert_true(isnan(same.log10_p) && same.estimate == 0 && same.ci_low < 0 && same.ci_high > 0);
    assert_true(isnan(qk_test_mcnemar(0, 0, 0).estimate));
    assert_true(isnan(qk_test_mcnemar(3, 2, 2).estimate));
}

/* One share's own interval; and the mean of several is held about as often as the interval says. */
static void the_mean_of_shares_is_covered(void **state)
{
    (void)state;
    static const double truths[] = { 0.99, 0.8, 0.5, 0.97, 0.05, 0.9 };
    enum { DRAWS = 4000, N = 40 };
    qk_interval one = qk_wilson(3, 17), mean = qk_mean_share(&one, 1), shares[COUNT(truths)];
    double truth = 0;
    size_t n_held = 0;
    qk_rng rng;
    qk_rng_seed(&rng, 6);
    assert_near(mean.estimate, one.estimate, 1e-15);
    assert_near(mean.low, one.low, 1e-15);
    assert_near(mean.high, one.high, 1e-15);
    for (size_t i = 0; i < COUNT(truths); i++) truth += truths[i] / COUNT(truths);
    for (int draw = 0; draw < DRAWS; draw++) {
        for (size_t i = 0; i < COUNT(truths); i++) {
            size_t n_right = 0;
            for (int q = 0; q < N; q++) n_right += qk_rng_uniform(&rng) < truths[i];
            shares[i] = qk_wilson(n_right, N);
        }
        mean = qk_mean_share(shares, COUNT(truths));
        n_held += mean.low <= truth && truth <= mean.high;
    }
    if (n_held < 0.935 * DRAWS || n_held > 0.985 * DRAWS) fail_msg("held %zu times of %d", n_held, DRAWS);
    shares[1] = qk_wilson(0, 0);
    assert_non_null(qk_mean_share(shares, 2).refused);
    assert_non_null(qk_mean_share(shares, 0).refused);
}

/* The interval of a paired difference holds the true one about as often as it says, also for few questions. */
static void the_paired_interval_covers(void **state)
{
    (void)state;
    static const struct { size_t n; double only_x, only_y; } truths[] = {
        { 25, 0.1, 0.1 }, { 25, 0.3, 0.05 }, { 200, 0.06, 0.02 }, { 200, 0.25, 0.2 },
    };
    enum { DRAWS = 4000 };
    qk_rng rng;
    qk_rng_seed(&rng, 5);
    for (size_t i = 0; i < COUNT(truths); i++) {
        size_t n_held = 0;
        for (int draw = 0; draw < DRAWS; draw++) {
            size_t x = 0, y = 0;
            for (size_t q = 0; q < truths[i].n; q++) {
                double u = qk_rng_uniform(&rng);
                x += u < truths[i].only_x;
                y += u >= truths[i].only_x && u < truths[i].only_x + truths[i].only_y;
            }
            qk_test t = qk_test_mcnemar(truths[i].n, x, y);
            double truth = truths[i].only_x - truths[i].only_y;
            n_held += t.ci_low <= truth && truth <= t.ci_high;
        }
        if (n_held < 0.935 * DRAWS || n_held > 0.985 * DRAWS)
            fail_msg("truth %zu is held %zu times of %d", i, n_held, DRAWS);
    }
}

static void corrections_match_scipy(void **state)
{
    (void)state;
    enum { N = COUNT(oracle_p) };
    double holm[N + 1], bh[N + 1];
    for (int i = 0; i < N; i++) holm[i] = bh[i] = log10(oracle_p[i]);
    holm[N] = bh[N] = NAN; /* a refused test is left alone and not counted */
    qk_holm(holm, N + 1);
    qk_benjamini_hochberg(bh, N + 1);
    for (int i = 0; i < N; i++) {
        assert_near(pow(10, holm[i]), oracle_holm[i], 1e-14);
        assert_near(pow(10, bh[i]), oracle_bh[i], 1e-14);
    }
    assert_true(isnan(holm[N]) && isnan(bh[N]));
    double deep[] = { -3000, -2999.9, -INFINITY };
    qk_holm(deep, 3);
    assert_near(deep[0], -3000 + log10(2), 1e-12);
    assert_near(deep[1], -3000 + log10(2), 1e-12); /* not below the one before */
    assert_true(deep[2] == -INFINITY);
    qk_holm(NULL, 0);
    qk_benjamini_hochberg(NULL, 0);
}

static void bootstrap_matches_its_formula(void **state)
{
    (void)state;
    double num[N_X], zero[N_X] = { 0 }, twice[N_X];
    for (int i = 0; i < N_X; i++) {
        num[i] = oracle_x[i] * oracle_weights[i];
        twice[i] = 2 * num[i];
    }
    qk_interval mean = qk_bootstrap_ratio(oracle_x, NULL, N_X, 2000, 7);
    qk_interval ratio = qk_bootstrap_ratio(num, oracle_weights, N_X, 2000, 8);
    double got[] = { mean.estimate, mean.low, mean.high, ratio.estimate, ratio.low, ratio.high };
    for (int i = 0; i < 3; i++) {
        assert_close(got[i], oracle_bca_mean[i], 1e-12);
        assert_close(got[3 + i], oracle_bca_ratio[i], 1e-12);
    }
    qk_interval difference = qk_bootstrap_difference(twice, num, oracle_weights, N_X, 2000, 8);
    assert_close(difference.low, ratio.low, 1e-12);
    assert_close(difference.high, ratio.high, 1e-12);
    assert_true(qk_bootstrap_difference(num, zero, oracle_weights, N_X, 2000, 9).low != ratio.low); /* another seed */
}

static void bootstrap_of_bad_samples(void **state)
{
    (void)state;
    double x[] = { 1, 2, 4 }, nan[] = { 1, NAN, 2 }, none[] = { 3, 0, 2 }, flat[] = { 0.1, 0.1, 0.1 };
    assert_non_null(qk_bootstrap_ratio(x, NULL, 0, 100, 1).refused);
    assert_non_null(qk_bootstrap_ratio(x, NULL, 1, 100, 1).refused);
    assert_non_null(qk_bootstrap_ratio(nan, NULL, 3, 100, 1).refused);
    assert_non_null(qk_bootstrap_ratio(x, nan, 3, 100, 1).refused);
    assert_non_null(qk_bootstrap_ratio(x, none, 3, 100, 1).refused);
    assert_non_null(qk_bootstrap_ratio(x, NULL, 3, 0, 1).refused);
    assert_non_null(qk_bootstrap_ratio(x, NULL, 3, SIZE_MAX / 4, 1).refused);
    assert_true(isnan(qk_bootstrap_ratio(x, NULL, 1, 100, 1).low));
    qk_interval constant = qk_bootstrap_ratio(flat, NULL, 3, 500, 1); /* no jackknife spread: percentile */
    assert_null(constant.refused);
    assert_near(constant.low, 0.1, 1e-15);
    assert_near(constant.high, 0.1, 1e-15);
    qk_interval two = qk_bootstrap_ratio(x, NULL, 2, 500, 1);
    assert_true(two.low >= 1 && two.high <= 2 && two.low <= two.estimate && two.estimate <= two.high);
}

/* Skewed documents of unequal length: the interval should hold the truth nearly as often as it says. */
static void bootstrap_covers(void **state)
{
    (void)state;
    enum { TRIALS = 600, N = 30 };
    qk_rng rng;
    qk_rng_seed(&rng, 2026);
    int bca = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        double num[N], den[N];
        for (int i = 0; i < N; i++) {
            den[i] = 50 + 450 * qk_rng_uniform(&rng);
            num[i] = den[i] * exp(0.5 * qk_rng_normal(&rng));
        }
        qk_interval interval = qk_bootstrap_ratio(num, den, N, 1000, (uint64_t)trial);
        double truth = exp(0.125);
        bca += interval.low <= truth && truth <= interval.high;
    }
    assert_in_range(bca, 0.88 * TRIALS, 0.97 * TRIALS); /* 0.914 in 4000 trials: 30 skewed documents are few */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(description_matches_numpy), cmocka_unit_test(gini_matches_the_published_values),
        cmocka_unit_test(description_of_bad_samples_is_nan), cmocka_unit_test(tails_match_mpmath),
        cmocka_unit_test(the_tail_has_no_seams), cmocka_unit_test(quantiles_match_mpmath),
        cmocka_unit_test(noncentral_t_matches_its_integral), cmocka_unit_test(minimal_effect_has_the_power_it_claims),
        cmocka_unit_test(p_values_print), cmocka_unit_test(t_tests_match_scipy),
        cmocka_unit_test(the_posts_own_t_is_reproduced), cmocka_unit_test(permutations_match_scipy),
        cmocka_unit_test(permutations_match_brute_force), cmocka_unit_test(large_permutations_agree),
        cmocka_unit_test(dishonest_tests_are_refused), cmocka_unit_test(corrections_match_scipy),
        cmocka_unit_test(bootstrap_matches_its_formula), cmocka_unit_test(bootstrap_of_bad_samples),
        cmocka_unit_test(wilson_matches_newcombe_and_scipy), cmocka_unit_test(mcnemar_matches_exact_fractions),
        cmocka_unit_test(the_paired_interval_covers), cmocka_unit_test(the_mean_of_shares_is_covered),
        cmocka_unit_test(bootstrap_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
