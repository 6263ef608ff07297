/* rng.c - xoshiro256** (Blackman and Vigna 2018) seeded by splitmix64; the same numbers on every machine. */
#include "base/base.h"

#include <math.h>
#include <stdlib.h>

static uint64_t rotate_left(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

void qk_rng_seed(qk_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += UINT64_C(0x9E3779B97F4A7C15));
        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        rng->s[i] = z ^ (z >> 31);
    }
}

uint64_t qk_rng_next(qk_rng *rng)
{
    uint64_t *s = rng->s, result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t qk_rng_below(qk_rng *rng, uint64_t n)
{
    uint64_t reject = -n % n, x; /* 2^64 mod n values at the bottom would make the rest uneven */
    do x = qk_rng_next(rng); while (x < reject);
    return x % n;
}

double qk_rng_uniform(qk_rng *rng) { return (double)(qk_rng_next(rng) >> 11) * 0x1p-53; }

double qk_rng_normal(qk_rng *rng)
{
    double u, v, s;
    do {
        u = 2 * qk_rng_uniform(rng) - 1;
        v = 2 * qk_rng_uniform(rng) - 1;
        s = u * u + v * v;
    } while (s >= 1 || s == 0);
    return u * sqrt(-2 * log(s) / s);
}

qk_status qk_rng_sample(uint32_t *picks, uint32_t k, uint32_t n, qk_rng *rng, qk_error *err)
{
    if (k > n) return qk_fail(err, QK_E_ARGUMENT, "cannot pick %u of %u", k, n);
    uint32_t *all;
    qk_status status = qk_new_array(&all, n, sizeof *all, "random sample", err);
    if (status) return status;
    for (uint32_t i = 0; i < n; i++) all[i] = i;
    for (uint32_t i = 0; i < k; i++) {
        uint32_t j = i + (uint32_t)qk_rng_below(rng, n - i), kept = all[j];
        all[j] = all[i];
        picks[i] = all[i] = kept;
    }
    free(all);
    return QK_OK;
}
