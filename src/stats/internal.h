/* internal.h - what the files of the statistics room share. */
#ifndef QK_STATS_INTERNAL_H
#define QK_STATS_INTERNAL_H

#include "stats/stats.h"

#include <math.h>

/* x - y of one document; y = NULL stands for zeros. */
static inline double qk_difference(const double *x, const double *y, size_t i) { return y ? x[i] - y[i] : x[i]; }

/* One sample of differences x - y. */
typedef struct qk_moments {
    double mean, m2;   /* m2: sum of squared deviations */
    double scale;      /* largest |x| or |y|: what rounding is relative to */
    bool finite;       /* every difference is */
    bool constant;     /* no variance beyond rounding */
} qk_moments;

qk_moments qk_moments_of(const double *x, const double *y, size_t n);
int qk_compare_doubles(const void *a, const void *b); /* for qsort; not for NaN */

/* A test that is not done: `why` and NaN everywhere. */
qk_test qk_test_refused(const char *name, size_t n1, size_t n2, const char *why);
/* Why n differences cannot be tested; NULL where they can. */
const char *qk_paired_refusal(const qk_moments *m, size_t n);
/* d_z and its interval from a paired t statistic on n documents. */
void qk_set_paired_effect(qk_test *test, double t, size_t n);

double qk_normal_cdf(double z);
/* ln Gamma(a + 1/2) - ln Gamma(a) for a > 0, without the cancellation of two lgamma(). */
double qk_ln_gamma_half_step(double a);

/* Integrals are sums over QK_PANELS equal panels of QK_NODES points: enough where the integrand falls by e^40 or so. */
enum { QK_NODES = 16, QK_PANELS = 12 };
typedef struct qk_rule { double x[QK_NODES], weight[QK_NODES]; } qk_rule;
qk_rule qk_gauss_legendre(void);

/* A counter-based stream: draw `draw`, number `index` of `seed`, no state between calls. */
uint64_t qk_counter_draw(uint64_t seed, uint64_t draw);                  /* the start of one draw's numbers */
static inline uint64_t qk_mix64(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}
static inline uint64_t qk_counter_number(uint64_t start, uint64_t index) /* splitmix64's number `index` from `start` */
{
    return qk_mix64(start + (index + 1) * UINT64_C(0x9E3779B97F4A7C15));
}

#endif
