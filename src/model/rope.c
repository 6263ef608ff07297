/* rope.c - inverse frequencies of every scaling, in the arithmetic that trained the models (single precision,
 * rounded where transformers rounds), so that angles agree to the bit with what the weights were fitted to. */
#include "model/model.h"

#include <math.h>

double qk_rope_wavelength(float inv_freq) { return inv_freq > 0 ? 2 * M_PI / (double)inv_freq : INFINITY; }

static void plain(float *inv_freq, double theta, int head_dim)
{
    for (int m = 0; m < head_dim / 2; m++) inv_freq[m] = 1.0f / powf((float)theta, (float)(2 * m) / (float)head_dim);
}

static void none(float *inv_freq, const qk_config *c, size_t n_tokens)
{
    (void)n_tokens;
    for (int m = 0; m < c->head_dim / 2; m++) inv_freq[m] = 0;
}

static void basic(float *inv_freq, const qk_config *c, size_t n_tokens)
{
    (void)n_tokens;
    plain(inv_freq, c->rope_theta, c->head_dim);
}

/* Chen et al. 2023: positions shrink by the factor. */
static void linear(float *inv_freq, const qk_config *c, size_t n_tokens)
{
    basic(inv_freq, c, n_tokens);
    for (int m = 0; m < c->head_dim / 2; m++) inv_freq[m] /= (float)c->rope_factor;
}

/* bloc97's NTK base change, growing with the length beyond the trained one. */
static void dynamic(float *inv_freq, const qk_config *c, size_t n_tokens)
{
    double length = n_tokens > (size_t)c->n_context ? (double)n_tokens : (double)c->n_context;
    double growth = c->rope_factor * length / c->n_context - (c->rope_factor - 1);
    plain(inv_freq, c->rope_theta * pow(growth, (double)c->head_dim / (c->head_dim - 2)), c->head_dim);
}

/* Pair at which `rotations` complete over the original context (Peng et al. 2023, equation of the ramp's ends). */
static double pair_of(double rotations, const qk_config *c)
{
    return c->head_dim * log(c->rope_original_context / (rotations * 2 * M_PI)) / (2 * log(c->rope_theta));
}

static void yarn(float *inv_freq, const qk_config *c, size_t n_tokens)
{
    double low = pair_of(c->rope_beta_fast, c), high = pair_of(c->rope_beta_slow, c);
    (void)n_tokens;
    if (c->rope_yarn_truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, c->head_dim - 1);
    if (low == high) high += 0.001;
    for (int m = 0; m < c->head_dim / 2; m++) {
        float base = powf((float)c->rope_theta, (float)(2 * m) / (float)c->head_dim);
        float ramp = ((float)m - (float)low) / (float)(high - low);
        float kept = 1 - fminf(fmaxf(ramp, 0), 1);
        inv_freq[m] = 1 / ((float)c->rope_factor * base) * (1 - kept) + 1 / base * kept;
    }
}

static void llama3(float *inv_freq, const qk_config *c, size_t n_tokens)
{
    float factor = (float)c->rope_factor, context = (float)c->rope_original_context;
    float low = (float)c->rope_low_freq_factor, high = (float)c->rope_high_freq_factor;
    basic(inv_freq, c, n_tokens);
    for (int m = 0; m < c->head_dim / 2; m++) {
        float f = inv_freq[m], wavelength = (float)(2 * M_PI) / f;
        float smooth = (context / wavelength - low) / (high - low);
        if (wavelength > context / low) inv_freq[m] = f / factor;
        else if (!(wavelength < context / high)) inv_freq[m] = (1 - smooth) * f / factor + smooth * f;
    }
}

static void by_factors(float *inv_freq, const qk_config *c, size_t n_tokens)
{
    const float *factors = (double)n_tokens > c->rope_original_context ? c->rope_factors_long : c->rope_factors_short;
    for (int m = 0; m < c->head_dim / 2; m++)
        inv_freq[m] = 1.0f / (factors[m] * powf((float)c->rope_theta, (float)(2 * m) / (float)c->head_dim));
}

void qk_rope_frequencies(float *inv_freq, double *attention_factor, const qk_config *config, size_t n_tokens)
{
    static void (*const formulas[])(float *, const qk_config *, size_t) = {
        [QK_ROPE_NONE] = none,           [QK_ROPE_DEFAULT] = basic,      [QK_ROPE_LINEAR] = linear,
        [QK_ROPE_DYNAMIC] = dynamic,     [QK_ROPE_YARN] = yarn,          [QK_ROPE_LLAMA3] = llama3,
        [QK_ROPE_LONGROPE] = by_factors, [QK_ROPE_FACTORS] = by_factors,
    };
    formulas[config->rope_kind](inv_freq, config, n_tokens);
    *attention_factor = config->rope_attention_factor;
}
