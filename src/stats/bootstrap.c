/* bootstrap.c - BCa intervals over documents (Efron 1987).  Number `index` of draw `draw` is a hash of (seed, draw,
 * index), so any order or thread count resamples alike. */
#include "stats/internal.h"

#include <stdlib.h>

uint64_t qk_counter_draw(uint64_t seed, uint64_t draw)
{
    return qk_mix64(qk_mix64(seed + UINT64_C(0x9E3779B97F4A7C15)) + (draw + 1) * UINT64_C(0xD1342543DE82EF95));
}

/* sum(plus - minus)/sum(den) over documents; minus NULL = 0, den NULL = 1 */
typedef struct ratio_data { const double *plus, *minus, *den; size_t n; } ratio_data;

static double weight(const ratio_data *data, size_t i) { return data->den ? data->den[i] : 1; }

static double resampled_ratio(const ratio_data *data, uint64_t start)
{
    double num = 0, den = 0;
    for (size_t k = 0; k < data->n; k++) {
        size_t i = (size_t)(((unsigned __int128)qk_counter_number(start, k) * data->n) >> 64);
        num += qk_difference(data->plus, data->minus, i);
        den += weight(data, i);
    }
    return num / den;
}

/* Efron's acceleration from the ratios that leave one document out: sum(u^3)/(6 sum(u^2)^1.5), u = mean - ratio; NaN
 * where all are equal. */
static double acceleration(const ratio_data *data, double num, double den)
{
    double sum = 0, square = 0, cube = 0, n = (double)data->n;
    for (size_t i = 0; i < data->n; i++)
        sum += (num - qk_difference(data->plus, data->minus, i)) / (den - weight(data, i));
    for (size_t i = 0; i < data->n; i++) {
        double u = sum / n - (num - qk_difference(data->plus, data->minus, i)) / (den - weight(data, i));
        square += u * u;
        cube += u * u * u;
    }
    return cube / (6 * square * sqrt(square));
}

/* Where the sorted draws are cut for the nominal probability p: BCa, or p itself where that is undefined. */
static double corrected(double p, double bias, double accel)
{
    double z = bias + qk_normal_quantile(p), denominator = 1 - accel * z;
    return isfinite(bias) && isfinite(accel) && denominator > 0 ? qk_normal_cdf(bias + z / denominator) : p;
}

static qk_interval bca(const ratio_data *data, size_t n_draws, uint64_t seed)
{
    qk_interval out = { NAN, NAN, NAN, NULL };
    double den = data->den ? qk_sum(data->den, data->n) : (double)data->n;
    qk_moments m = qk_moments_of(data->plus, data->minus, data->n);
    for (size_t i = 0; i < data->n && !out.refused; i++)
        if (!(weight(data, i) > 0 && weight(data, i) < INFINITY)) out.refused = "a document has no weight";
    if (data->n < 2) out.refused = "fewer than two documents";
    else if (!m.finite) out.refused = "a value is not finite";
    else if (n_draws == 0) out.refused = "no draws were asked for";
    size_t n_bytes;
    double *draws = NULL;
    if (!out.refused && qk_mul(n_draws, sizeof *draws, &n_bytes)) draws = malloc(n_bytes);
    if (!out.refused && !draws) out.refused = "out of memory";
    if (out.refused) return out;
    double num = m.mean * (double)data->n, below = 0;
    double tie = 1e-12 * m.scale * (double)data->n / den; /* draws this near the estimate differ by rounding alone */
    out.estimate = num / den;
    for (size_t draw = 0; draw < n_draws; draw++) {
        draws[draw] = resampled_ratio(data, qk_counter_draw(seed, draw));
        below += fabs(draws[draw] - out.estimate) <= tie ? 0.5 : draws[draw] < out.estimate;
    }
    double bias = qk_normal_quantile(below / (double)n_draws), accel = acceleration(data, num, den);
    out.low = qk_quantile(draws, n_draws, corrected(0.025, bias, accel));
    out.high = qk_quantile(draws, n_draws, corrected(0.975, bias, accel));
    free(draws);
    return out;
}

qk_interval qk_bootstrap_ratio(const double *num, const double *den, size_t n, size_t n_draws, uint64_t seed)
{
    return bca(&(ratio_data){ num, NULL, den, n }, n_draws, seed);
}

qk_interval qk_bootstrap_difference(const double *num1, const double *num2, const double *den, size_t n, size_t n_draws,
                                    uint64_t seed)
{
    return bca(&(ratio_data){ num1, num2, den, n }, n_draws, seed);
}
