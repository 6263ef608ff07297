/* test_power.c - the smallest difference that an exact McNemar test finds, against every outcome counted one by one. */
#include "testing.h"

#include <math.h>

#include "stats/stats.h"

/* Chance that the test rejects: over all counts b and c of questions that one side alone gets right, of n. */
static double power_by_counting(size_t n, double differing, double difference)
{
    double q = fmax(differing, difference), p_b = (q + difference) / 2, p_c = (q - difference) / 2, sum = 0;
    for (size_t b = 0; b <= n; b++)
        for (size_t c = 0; b + c <= n; c++) {
            qk_test test = qk_test_mcnemar(n, b, c);
            if (test.refused || !(test.log10_p <= log10(0.05))) continue;
            double x = (double)b, y = (double)c, rest = (double)(n - b - c);
            double ways = lgamma((double)n + 1) - lgamma(x + 1) - lgamma(y + 1) - lgamma(rest + 1);
            sum += exp(ways) * pow(p_b, x) * pow(p_c, y) * pow(1 - q, rest);
        }
    return sum;
}

static void the_difference_has_the_power_it_claims(void **state)
{
    (void)state;
    static const struct { size_t n; double differing; } cases[] = {
        { 6, 0.1 }, { 8, 0.5 }, { 12, 1 }, { 20, 0.05 }, { 40, 0.2 }, { 40, 0.6 }, { 90, 0.1 }, { 120, 0.3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double d = qk_minimal_detectable_mcnemar(cases[i].n, cases[i].differing);
        assert_true(d > 0 && d <= 1);
        assert_true(power_by_counting(cases[i].n, cases[i].differing, d) >= 0.8 - 1e-9);
        assert_true(power_by_counting(cases[i].n, cases[i].differing, d - 1e-6) < 0.8);
    }
}

static void where_nothing_can_be_found(void **state)
{
    (void)state;
    assert_true(isnan(qk_minimal_detectable_mcnemar(0, 0.5)));
    assert_true(isnan(qk_minimal_detectable_mcnemar(5, 0.5))); /* 5 of 5: p = 0.0625 */
    assert_true(isnan(qk_minimal_detectable_mcnemar(10, 0)));
    assert_true(isnan(qk_minimal_detectable_mcnemar(10, 1.1)));
    assert_true(isnan(qk_minimal_detectable_mcnemar(10, NAN)));
}

/* Counting stops at 3000 questions; the formula beyond it goes on where it left off, and more questions find less. */
static void large_sets_follow_the_formula(void **state)
{
    (void)state;
    for (double q = 0.05; q < 0.9; q *= 2) {
        double counted = qk_minimal_detectable_mcnemar(3000, q), formula = qk_minimal_detectable_mcnemar(3001, q);
        assert_true(fabs(counted - formula) < 0.04 * counted);
        assert_true(qk_minimal_detectable_mcnemar(100000, q) < 0.2 * formula);
        assert_true(qk_minimal_detectable_mcnemar(300, q) > 2 * counted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_difference_has_the_power_it_claims),
        cmocka_unit_test(where_nothing_can_be_found),
        cmocka_unit_test(large_sets_follow_the_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
