/* noncentral.c - the noncentral t: intervals of a standardised effect, and power.
 *
 * T = (Z + delta)/S with S = sqrt(chi^2/df), so P(T <= t) = integral of Phi(t s - delta) over the density of S.  That
 * density is smooth and narrow for every df >= 1 and needs no gamma function: it is normalised by its own integral. */
#include "stats/internal.h"

/* Integral over s in [from, to] of the density of S (1 at s = 1, not normalised), times Phi(t s - delta) if `phi`. */
static double integrate(const qk_rule *r, double from, double to, double df, bool phi, double t, double delta)
{
    double sum = 0, half = (to - from) / (2 * QK_PANELS);
    if (!(to > from)) return 0;
    for (int panel = 0; panel < QK_PANELS; panel++)
        for (int i = 0; i < QK_NODES; i++) {
            double s = from + half * (2 * panel + 1 + r->x[i]);
            double density = exp((df - 1) * log(s) - 0.5 * df * (s - 1) * (s + 1));
            sum += r->weight[i] * density * (phi ? qk_normal_cdf(t * s - delta) : 1);
        }
    return sum * half;
}

static double clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static double cdf(const qk_rule *r, double t, double df, double delta)
{
    if (t < 0) return 1 - cdf(r, -t, df, -delta); /* once: then t > 0 */
    if (t == 0) return qk_normal_cdf(-delta);
    double low = fmax(0, 1 - 9 / sqrt(df)), high = 1 + 9 / sqrt(df); /* all of S but 1e-20 */
    double rise = clamp((delta - 9) / t, low, high), full = clamp((delta + 9) / t, low, high); /* Phi from 0 to 1 */
    double sum = integrate(r, rise, full, df, true, t, delta) + integrate(r, full, high, df, false, t, delta);
    return clamp(sum / integrate(r, low, high, df, false, t, delta), 0, 1);
}

double qk_noncentral_t_cdf(double t, double df, double delta)
{
    if (isnan(t) || isnan(delta) || !(df >= 1)) return NAN;
    qk_rule r = qk_gauss_legendre();
    return cdf(&r, t, df, delta);
}

/* delta with P(T <= t | df, delta) = p, by bisection: the probability falls as delta grows. */
static double delta_of(const qk_rule *r, double t, double df, double p)
{
    double width = 10 * hypot(1, t / sqrt(2 * df)), low = t - width, high = t + width;
    while (cdf(r, t, df, low) < p) low -= width;
    while (cdf(r, t, df, high) > p) high += width;
    for (int i = 0; i < 60; i++) {
        double middle = 0.5 * (low + high);
        *(cdf(r, t, df, middle) > p ? &low : &high) = middle;
    }
    return 0.5 * (low + high);
}

void qk_noncentral_t_interval(double *low, double *high, double t, double df)
{
    *low = *high = NAN;
    if (!isfinite(t) || !(df >= 1)) return;
    qk_rule r = qk_gauss_legendre();
    *low = delta_of(&r, t, df, 0.975);
    *high = delta_of(&r, t, df, 0.025);
}

/* Chance that the two-sided test with this critical value finds delta. */
static double power(const qk_rule *r, double critical, double df, double delta)
{
    return 1 - cdf(r, critical, df, delta) + cdf(r, -critical, df, delta);
}

double qk_minimal_detectable_effect(double sd, size_t n)
{
    if (n < 2 || !(sd >= 0)) return NAN;
    qk_rule r = qk_gauss_legendre();
    double df = (double)(n - 1), critical = qk_t_quantile(0.975, df), low = 0, high = critical + 1;
    while (power(&r, critical, df, high) < 0.8) high *= 2;
    for (int i = 0; i < 60; i++) {
        double middle = 0.5 * (low + high);
        *(power(&r, critical, df, middle) < 0.8 ? &low : &high) = middle;
    }
    return high * sd / sqrt((double)n);
}
