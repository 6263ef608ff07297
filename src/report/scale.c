/* scale.c - values to points, ticks, and numbers in words. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/plot.h"

enum { ZERO_LANE = 16 /* points */ };
#define LARGEST 1e250 /* no axis ends beyond it: differences, ratios and margins of ends stay finite */

/* 1, 2 or 5 times a power of ten, about range / wanted. */
static double nice_step(double range, double wanted)
{
    double raw = range / wanted, power = pow(10, floor(log10(raw))), rest = raw / power;
    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

qk_scale qk_scale_linear(double low, double high)
{
    if (!isfinite(low) || !isfinite(high) || high < low) low = 0, high = 1;
    low = fmax(low, -LARGEST);
    high = fmin(high, LARGEST);
    if (high - low <= 1e-12 * fmax(fabs(low), fabs(high)) || high - low < 1e-300) {
        double margin = high != 0 ? fabs(high) / 2 : 1;
        if (low != 0) low -= margin;
        high += margin;
    }
    double step = nice_step(high - low, 5);
    return (qk_scale){ .low = step * floor(low / step + 1e-9), .high = step * ceil(high / step - 1e-9) };
}

qk_scale qk_scale_log(double low, double high, bool has_zero)
{
    if (!(low > 0) || !isfinite(low) || !isfinite(high) || high < low) low = 1, high = 10;
    low = fmin(fmax(low, 1 / LARGEST), LARGEST / 10);
    high = fmin(fmax(high, low), LARGEST);
    if (high < low * 1.1) low /= 1.05, high *= 1.05;
    double margin = exp(0.04 * (log(high) - log(low)));
    return (qk_scale){ .log = true, .has_zero = has_zero, .low = low / margin, .high = high * margin };
}

static double lane(const qk_scale *scale)
{
    return scale->has_zero ? scale->to > scale->from ? ZERO_LANE : -ZERO_LANE : 0;
}

double qk_scale_zero(const qk_scale *scale)
{
    return scale->log && scale->has_zero ? scale->from + lane(scale) / 3 : NAN;
}

double qk_scale_map(const qk_scale *scale, double value)
{
    if (!isfinite(value)) return NAN;
    if (scale->log && value == 0) return qk_scale_zero(scale);
    if (scale->log && value < 0) return NAN;
    double share = scale->log ? (log(value) - log(scale->low)) / (log(scale->high) - log(scale->low))
                              : (value - scale->low) / (scale->high - scale->low);
    double from = scale->from + lane(scale);
    return from + share * (scale->to - from);
}

static size_t linear_ticks(double *ticks, double low, double high, double step)
{
    size_t n = 0;
    for (double i = ceil(low / step - 1e-9); i * step <= high + 1e-9 * step && n < QK_MAX_TICKS; i++)
        ticks[n++] = i * step + 0.0; /* -0 becomes 0 */
    return n;
}

size_t qk_scale_ticks(double ticks[QK_MAX_TICKS], const qk_scale *scale)
{
    static const double mantissas[3][4] = { { 1, 0, 0, 0 }, { 1, 3, 0, 0 }, { 1, 2, 5, 0 } };
    if (!scale->log) return linear_ticks(ticks, scale->low, scale->high, nice_step(scale->high - scale->low, 5));
    double decades = log10(scale->high) - log10(scale->low);
    if (decades < 0.7) return linear_ticks(ticks, scale->low, scale->high, nice_step(scale->high - scale->low, 4));
    const double *wanted = mantissas[decades > 4 ? 0 : decades > 2 ? 1 : 2];
    int every = (int)ceil(decades / 10), first = (int)floor(log10(scale->low));
    size_t n = 0;
    for (int power = first; power <= first + (int)decades + 2; power++) {
        if ((power % every + every) % every != 0) continue;
        for (int i = 0; wanted[i] > 0; i++) {
            double tick = wanted[i] * pow(10, power);
            if (tick >= scale->low * (1 - 1e-9) && tick <= scale->high * (1 + 1e-9) && n < QK_MAX_TICKS)
                ticks[n++] = tick;
        }
    }
    return n;
}

/* "1234567.5" to "1,234,567.5" in place; text[32] has room. */
static void group_thousands(char *text)
{
    char *start = text + (text[0] == '-'), *point = strchr(start, '.');
    size_t whole = point ? (size_t)(point - start) : strlen(start);
    for (size_t i = whole; i > 3; i -= 3) {
        memmove(start + i - 2, start + i - 3, strlen(start + i - 3) + 1);
        start[i - 3] = ',';
    }
}

void qk_format_number(char text[32], double value, int digits)
{
    if (!isfinite(value)) {
        snprintf(text, 32, "%s", isnan(value) ? "not available" : value > 0 ? "infinite" : "-infinite");
        return;
    }
    double size = fabs(value);
    if (size != 0 && (size >= 1e7 || size < 1e-4)) {
        snprintf(text, 32, "%.*g", digits, value);
        return;
    }
    int whole = size < 1 ? 0 : (int)floor(log10(size)) + 1;
    int decimals = size == 0 ? 0 : size < 1 ? digits - 1 - (int)floor(log10(size)) : digits - whole;
    snprintf(text, 32, "%.*f", decimals > 0 ? decimals : 0, value);
    if (strchr(text, '.')) {
        char *end = text + strlen(text);
        while (end[-1] == '0') *--end = '\0';
        if (end[-1] == '.') *--end = '\0';
    }
    if (size >= 9999.5) group_thousands(text);
}
