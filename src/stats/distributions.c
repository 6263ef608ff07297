/* distributions.c - tails of Student's t and of the normal in log space, their quantiles, and p as text.
 *
 * Two-sided p of t with df degrees = I_x(df/2, 1/2), x = df/(df + t^2), the regularised incomplete beta function, by
 * its continued fraction (DLMF 8.17.22); for many degrees the fraction loses digits and the density is integrated.
 * Everything that could underflow stays a logarithm. */
#include "stats/internal.h"

#include <float.h>

static const double LN_10 = 2.302585092994045684, LN_2 = 0.693147180559945309, LN_PI = 1.144729885849400174;

double qk_normal_cdf(double z) { return 0.5 * erfc(-z * 0.70710678118654752440); }

double qk_ln_gamma_half_step(double a)
{
    double product = 1; /* Gamma(a+1/2)/Gamma(a) = a/(a+1/2) * Gamma(a+3/2)/Gamma(a+1), up to where the series holds */
    for (; a < 20; a++) product *= a / (a + 0.5);
    double r = 1 / (a * a);
    double series = 1. / 8 - r * (1. / 192 - r * (1. / 640 - r * (17. / 14336 - r * 31. / 18432)));
    return log(product * sqrt(a)) - series / a;
}

/* 1/(1 + d1/(1 + d2/(1 + ...))) of I_x(a, b) by Lentz's method; quick where x < (a + 1)/(a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    double f = 1, c = 1, d = 0;
    for (double m = 0; m < 1e5; m++) {
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double even = (m + 1) * (b - m - 1) * x / ((a + 2 * m + 1) * (a + 2 * m + 2));
        double before = f;
        d = 1 / (1 + odd * d);
        c = 1 + odd / c;
        f *= c * d;
        d = 1 / (1 + even * d);
        c = 1 + even / c;
        f *= c * d;
        if (fabs(f - before) <= 0.5 * DBL_EPSILON * fabs(f)) break;
    }
    return 1 / f;
}

/* ln of the two-sided normal tail. */
static double ln_p_normal(double z)
{
    z = fabs(z);
    if (z < 0.5) return log1p(-erf(z * 0.70710678118654752440));
    if (z < 6) return log(erfc(z * 0.70710678118654752440));
    if (z == INFINITY) return -INFINITY;
    double fraction = z; /* Mills' ratio 1/(z + 1/(z + 2/(z + ...))), from far enough out */
    for (int k = 80; k > 0; k--) fraction = z + k / fraction;
    return LN_2 - 0.5 * z * z - 0.5 * (LN_2 + LN_PI) - log(fraction);
}

/* ln of the density of t; df may be infinite. */
static double ln_density_t(double t, double df)
{
    if (df == INFINITY) return -0.5 * (t * t + LN_2 + LN_PI);
    return qk_ln_gamma_half_step(df / 2) - 0.5 * (log(df) + LN_PI) - 0.5 * (df + 1) * log1p(t / df * t);
}

/* ln of 2 * integral of the density from t on, for df >= 1000 and t > 1: relative to the density at t it falls like
 * exp(-rate s - s^2/(2 sigma^2)), so that a short range holds it. */
static double ln_tail_integral(double t, double df)
{
    qk_rule r = qk_gauss_legendre();
    double spread = df + t * t, rate = (df + 1) * t / spread, sigma = sqrt(spread / (df + 1));
    double half = fmin(45 / rate, 9.5 * sigma) / (2 * QK_PANELS), sum = 0;
    for (int panel = 0; panel < QK_PANELS; panel++)
        for (int i = 0; i < QK_NODES; i++) {
            double s = half * (2 * panel + 1 + r.x[i]);
            sum += r.weight[i] * exp(-0.5 * (df + 1) * log1p((2 * t + s) / spread * s));
        }
    return LN_2 + ln_density_t(t, df) + log(sum * half);
}

/* ln of the two-sided tail of t. */
static double ln_p_t(double t, double df)
{
    t = fabs(t);
    if (isnan(t) || !(df > 0)) return NAN;
    if (df == INFINITY) return ln_p_normal(t);
    if (t == 0) return 0;
    if (t == INFINITY) return -INFINITY;
    if (df >= 1000 && t > 1.7 && t < 1e150) return ln_tail_integral(t, df);
    double a = df / 2, u = t / sqrt(df), square = u * u;
    double ln_x, ln_y; /* x = 1/(1 + u^2), y = 1 - x */
    if (u > 1) {
        ln_y = -log1p(1 / square);
        ln_x = -2 * log(u) + ln_y;
    } else {
        ln_x = -log1p(square);
        ln_y = 2 * log(u) + ln_x;
    }
    double ln_front = a * ln_x + 0.5 * ln_y + qk_ln_gamma_half_step(a) - 0.5 * LN_PI; /* x^a y^(1/2) / B(a, 1/2) */
    double x = 1 / (1 + square), y = u > 1 ? 1 / (1 + 1 / square) : square / (1 + square);
    if (x < (a + 1) / (a + 2.5)) return ln_front - log(a) + log(beta_fraction(a, 0.5, x));
    return log1p(-exp(ln_front + LN_2) * beta_fraction(0.5, a, y));
}

double qk_log10_p_t(double t, double df) { return ln_p_t(t, df) / LN_10; }

double qk_log10_p_normal(double z) { return ln_p_normal(z) / LN_10; }

/* t > 0 where the two-sided tail is exp(ln_p): Newton's steps inside a bracket. */
static double t_of_tail(double ln_p, double df)
{
    double low = 0, high = 1;
    while (high < DBL_MAX / 4 && ln_p_t(high, df) > ln_p) {
        low = high;
        high *= 2;
    }
    double t = 0.5 * (low + high);
    for (int i = 0; i < 200; i++) {
        double ln_here = ln_p_t(t, df), before = t;
        *(ln_here > ln_p ? &low : &high) = t;
        t += (ln_here - ln_p) * exp(ln_here - LN_2 - ln_density_t(t, df)); /* d ln p/dt = -2 density/p */
        if (!(t > low && t < high)) t = 0.5 * (low + high);
        if (fabs(t - before) <= DBL_EPSILON * before) break;
    }
    return t;
}

double qk_t_quantile(double p, double df)
{
    if (!(p >= 0 && p <= 1) || !(df > 0)) return NAN;
    if (p == 0.5) return 0;
    double tail = p < 0.5 ? p : 1 - p;
    double t = tail > 0 ? t_of_tail(log(2 * tail), df) : INFINITY;
    return p < 0.5 ? -t : t;
}

double qk_normal_quantile(double p) { return qk_t_quantile(p, INFINITY); }

void qk_format_p(char text[32], double log10_p)
{
    if (isnan(log10_p)) {
        snprintf(text, 32, "p undefined");
    } else if (log10_p >= log10(0.00095)) {
        snprintf(text, 32, "p = %.2g", log10_p < 0 ? pow(10, log10_p) : 1.0);
    } else if (log10_p >= -300) {
        double exponent = floor(log10_p), mantissa = pow(10, log10_p - exponent);
        if (mantissa >= 9.95) { /* would print as 10.0 */
            mantissa = 1;
            exponent++;
        }
        snprintf(text, 32, "p = %.1fe%.0f", mantissa, exponent);
    } else if (log10_p > -1e9) {
        snprintf(text, 32, "p = 10^%.1f", log10_p);
    } else if (log10_p > -INFINITY) {
        snprintf(text, 32, "p = 10^%.3g", log10_p);
    } else {
        snprintf(text, 32, "p = 0");
    }
}
