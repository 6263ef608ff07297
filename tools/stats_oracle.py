#!/usr/bin/env python3
"""Writes tests/data/stats_oracle.h: what scipy, numpy and mpmath say, for tests/test_stats.c.

    python3 tools/stats_oracle.py > tests/data/stats_oracle.h

Development only.  Tails and quantiles come from mpmath (60 digits), tests and descriptions from scipy and numpy; the BCa
interval is computed here a second time, from the formula, on the same counter-based resamples.
"""
import math
import sys

import mpmath as mp
import numpy as np
import scipy
from scipy import stats

mp.mp.dps = 60
MASK = (1 << 64) - 1
X = [2.31, 1.87, 3.02, 2.75, 1.11, 2.98, 4.40, 0.35, 2.22, 3.61]
Y = [1.92, 1.95, 2.13, 2.51, 0.87, 2.07, 3.90, 0.36, 1.80, 2.70]
Z = [5.5, 3.25, 4.125, 0.5, 2.75, 9.0, 7.5]
WEIGHTS = [511, 487, 300, 511, 64, 402, 511, 128, 256, 333]


def number(x):
    return float(x).hex() if math.isfinite(float(x)) else "NAN"


def array(name, values):
    print(f"static const double {name}[] = {{ {', '.join(number(v) for v in values)} }};")


def table(name, columns, rows):
    print(f"static const struct {{ double {', '.join(columns)}; }} {name}[] = {{")
    for row in rows:
        print(f"    {{ {', '.join(number(v) for v in row)} }},")
    print("};")


def log10_p_t(t, df):
    t, df = mp.mpf(t), mp.mpf(df)
    x, y, beta = df / (df + t * t), t * t / (df + t * t), mp.beta(df / 2, 0.5)
    if x < 0.9:
        front = df / 2 * mp.log(x) - mp.log(df / 2) - mp.log(beta)
        return (front + mp.log(mp.hyp2f1(df / 2, 0.5, df / 2 + 1, x))) / mp.log(10)
    if t < 8:  # from the other side: nothing cancels that 60 digits would miss
        middle = 2 * mp.sqrt(y) * mp.exp(df / 2 * mp.log(x)) / beta * mp.hyp2f1((df + 1) / 2, 1, 1.5, y)
        return mp.log1p(-middle) / mp.log(10)
    # a light, deep tail: the density integrated from t outwards, scaled by its value at t
    front = -(df + 1) / 2 * mp.log1p(t * t / df) - mp.log(df) / 2 - mp.log(beta)
    tail = mp.quad(lambda s: mp.exp(-(df + 1) / 2 * mp.log1p((2 * t * s + s * s) / (df + t * t))), [0, 0.25, 1, 3, 8, 20])
    return (mp.log(2) + front + mp.log(tail)) / mp.log(10)


def t_quantile(p, df):
    """The t whose tail is p, by bisection of ln t and then the secant method, at 30 digits."""
    p = mp.mpf(p)
    with mp.workdps(30):
        f = lambda s: log10_p_t(mp.exp(s), df) - mp.log(2 * min(p, 1 - p)) / mp.log(10)
        low, high = mp.mpf(-10), mp.mpf(200)
        for _ in range(30):
            low, high = ((low + high) / 2, high) if f((low + high) / 2) > 0 else (low, (low + high) / 2)
        root = mp.exp(mp.findroot(f, (low, high), tol=1e-24))
    return -root if p < 0.5 else root


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def resample(seed, draw, n):
    golden = 0x9E3779B97F4A7C15
    start = mix((mix((seed + golden) & MASK) + (draw + 1) * 0xD1342543DE82EF95) & MASK)
    return [(mix((start + (k + 1) * golden) & MASK) * n) >> 64 for k in range(n)]


def bca(num, den, n_draws, seed):
    num, den, n = np.array(num), np.array(den, float), len(num)
    estimate = num.sum() / den.sum()
    draws = np.empty(n_draws)
    for b in range(n_draws):
        pick = resample(seed, b, n)
        draws[b] = num[pick].sum() / den[pick].sum()
    left_out = (num.sum() - num) / (den.sum() - den)
    u = left_out.mean() - left_out
    accel = (u**3).sum() / (6 * (u**2).sum() ** 1.5)
    tie = np.abs(draws - estimate) <= 1e-12 * abs(estimate)
    bias = stats.norm.ppf(((draws < estimate) & ~tie).mean() + 0.5 * tie.mean())
    cut = lambda p: stats.norm.cdf(bias + (bias + stats.norm.ppf(p)) / (1 - accel * (bias + stats.norm.ppf(p))))
    return [estimate, np.quantile(draws, cut(0.025)), np.quantile(draws, cut(0.975))]


def minimal_effect(sd, n):
    df, critical = n - 1, stats.t.ppf(0.975, n - 1)
    wrong_side = lambda d: stats.nct.cdf(-critical, df, d) if d < 5 else 0  # NaN further out, where it is below 1e-7
    power = lambda d: stats.nct.sf(critical, df, d) + wrong_side(d) - 0.8
    return scipy.optimize.brentq(power, 0.1, 40, xtol=1e-14) * sd / math.sqrt(n)


def nct_cdf(t, df, delta):
    """P(T <= t) from its definition: over S = sqrt(chi^2/df), with the density of S."""
    t, df, delta = mp.mpf(t), mp.mpf(df), mp.mpf(delta)
    constant = mp.log(2) + df / 2 * mp.log(df / 2) - mp.loggamma(df / 2)
    density = lambda s: mp.exp(constant + (df - 1) * mp.log(s) - df * s * s / 2) if s > 0 else mp.mpf(0)
    cuts = {mp.mpf(k) / 20 for k in range(1, 240)} | ({delta / t + k / t for k in range(-9, 10)} if t else set())
    with mp.workdps(25):
        return mp.quad(lambda s: density(s) * mp.ncdf(t * s - delta), [0] + sorted(c for c in cuts if 0 < c < 12) + [12])


def main():
    print("/* stats_oracle.h - written by tools/stats_oracle.py; do not edit.")
    print(f" * python {sys.version.split()[0]}, numpy {np.__version__}, scipy {scipy.__version__}, mpmath {mp.__version__} */")
    array("oracle_x", X), array("oracle_y", Y), array("oracle_z", Z), array("oracle_weights", WEIGHTS)

    tails = [(1e6, 9), (2.5e10, 9), (3000.5, 17.3), (20, 50), (17, 31), (40, 1998), (60, 1e5), (1e30, 99), (512127.8235, 9),
             (1, 1), (0.001, 3), (0.5, 0.1), (1e-9, 7), (12.7, 1), (1e300, 2), (2, 2.5), (1.7, 40), (1.8, 41), (1.75, 79.9),
             (4.08, 31), (3, 1e4), (1.96, 1e6), (7, 3e7), (5, 2e8), (9.5, 1e10), (1.5, 1e13), (30, 3e8)]
    table("oracle_t_tail", ["t", "df", "log10_p"], [(t, df, log10_p_t(t, df)) for t, df in tails])
    table("oracle_normal_tail", ["z", "log10_p"],
          [(z, mp.log(mp.erfc(mp.mpf(z) / mp.sqrt(2))) / mp.log(10))
           for z in (1e-12, 0.5, 1.96, 5.99, 6.01, 8.3, 12, 37.5, 100, 1e5, 1e100)])
    quantiles = [(0.975, 9), (0.975, 1), (0.025, 4.7), (0.9, 200), (1e-10, 3), (1e-300, 5), (0.51, 6), (0.999, 1e5), (1e-6, 0.5)]
    table("oracle_t_quantile", ["p", "df", "t"], [(p, df, t_quantile(p, df)) for p, df in quantiles])
    table("oracle_normal_quantile", ["p", "z"],
          [(p, -mp.sqrt(2) * mp.erfinv(1 - 2 * mp.mpf(p))) for p in (0.975, 0.5000001, 0.3, 0.01, 1e-9)])
    noncentral = [(2, 9, 1), (0.5, 1, -1), (-1.5, 4, 0.3), (0, 6, 1.25), (10, 19, 9), (3, 2, 6), (30, 9, 25), (200, 5, 150)]
    table("oracle_noncentral", ["t", "df", "delta", "p"], [(*row, nct_cdf(*row)) for row in noncentral])

    describe = [np.mean(X), np.std(X), np.std(X, ddof=1), np.quantile(X, 0.3), np.abs(np.subtract.outer(X, X)).mean() / (2 * np.mean(X)),
                stats.kurtosis(X, fisher=False), stats.entropy(X) / math.log(len(X))]
    array("oracle_describe", describe)

    paired, welch = stats.ttest_rel(X, Y), stats.ttest_ind(X, Z, equal_var=False)
    interval, apart = paired.confidence_interval(), welch.confidence_interval()
    t, n = paired.statistic, len(X)
    limits = [scipy.optimize.brentq(lambda d: stats.nct.cdf(t, n - 1, d) - q, 0, 30, xtol=1e-14) / math.sqrt(n) for q in (0.975, 0.025)]
    array("oracle_paired", [np.mean(X) - np.mean(Y), t, n - 1, math.log10(paired.pvalue), *interval, t / math.sqrt(n), *limits])
    df = len(X) + len(Z) - 2
    spread = math.sqrt((np.var(X) * len(X) + np.var(Z) * len(Z)) / df)
    correction = float(mp.gamma(mp.mpf(df) / 2) / mp.sqrt(mp.mpf(df) / 2) / mp.gamma(mp.mpf(df - 1) / 2))
    array("oracle_welch", [np.mean(X) - np.mean(Z), welch.statistic, welch.df, math.log10(welch.pvalue), *apart,
                           correction * (np.mean(X) - np.mean(Z)) / spread])
    pooled = stats.ttest_ind(X, Z)
    array("oracle_pooled", [pooled.statistic, pooled.df, math.log10(pooled.pvalue),
                            (np.mean(X) - np.mean(Z)) / math.sqrt((np.var(X) + np.var(Z)) / 2)])
    flips = stats.permutation_test((X, Y), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
                                   n_resamples=np.inf, vectorized=True)
    ranks = stats.wilcoxon(np.array(X) - np.array(Y), method="exact")
    rng = np.random.default_rng(1)
    many = np.round(rng.normal(0.2, 1, 80), 1)
    approx = stats.wilcoxon(many, method="approx", correction=False)
    array("oracle_flips", [math.log10(flips.pvalue), ranks.statistic, math.log10(ranks.pvalue)])
    array("oracle_many", many), array("oracle_many_wilcoxon", [approx.statistic, math.log10(approx.pvalue)])

    p = [0.01, 0.04, 0.03, 0.005, 0.5, 0.011]
    order, holm, so_far = np.argsort(p), [0.0] * len(p), 0.0
    for i, k in enumerate(order):
        so_far = max(so_far, min(1, p[k] * (len(p) - i)))
        holm[k] = so_far
    array("oracle_p", p), array("oracle_holm", holm), array("oracle_bh", stats.false_discovery_control(p))

    array("oracle_bca_mean", bca(X, [1] * n, 2000, 7))
    array("oracle_bca_ratio", bca([x * w for x, w in zip(X, WEIGHTS)], WEIGHTS, 2000, 8))
    table("oracle_minimal_effect", ["n", "effect"], [(n, minimal_effect(1.5, n)) for n in (2, 5, 10, 20, 100)])


main()
