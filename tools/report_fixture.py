#!/usr/bin/env python3
"""Makes tests/data/report: run folders with invented but consistent numbers, for the tests of src/report.

Development only; the output is committed. Standard library alone. Two models of 6 layers and 8 heads: one with rotation, one
without that was made from it."""
import json
import math
import random
import struct
import sys
from pathlib import Path

LAYERS, HEADS, KV_HEADS, DIM, CONTEXT = 6, 8, 4, 32, 512
CATEGORIES = ["literary", "technical", "conversational", "factual"]
DOCUMENTS = 8
SEEDS = [42, 43, 44, 45, 46]
rng = random.Random(7)


def sd(x):
    m = sum(x) / len(x)
    return math.sqrt(sum((v - m) ** 2 for v in x) / (len(x) - 1))


def mean(x):
    return sum(x) / len(x)


def interval(x):
    half = 1.96 * sd(x) / math.sqrt(len(x))
    return [mean(x) - half, mean(x) + half]


def rounded(value, digits=6):
    """Fewer digits keep the fixture small."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, list):
        return [rounded(v, digits) for v in value]
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    return value


def models():
    pairs = [{"pair": p, "wavelength": 2 * math.pi * 10000 ** (2 * p / DIM)} for p in range(DIM // 2)]
    for p in pairs:
        p["rotations"] = CONTEXT / p["wavelength"]
        p["slow"] = p["rotations"] < 1
    still = [{"pair": p, "wavelength": None, "rotations": None, "slow": None} for p in range(DIM // 2)]
    common = {"layers": LAYERS, "heads": HEADS, "kv_heads": KV_HEADS, "head_dim": DIM, "d_model": HEADS * DIM, "context": CONTEXT,
              "parameters": 5308672}
    return [
        {"name": "tiny-rope", "model_type": "llama", "attention_type": "rope", **common, "rope": "default", "rope_theta": 10000.0,
         "sha256": "a1" * 32, "pairs": pairs},
        {"name": "tiny-drope", "model_type": "llama_drope", "attention_type": "nope", **common, "rope": "none", "rope_theta": None,
         "sha256": "b2" * 32, "pairs": still},
    ]


def documents():
    rows = []
    for d in range(DOCUMENTS):
        category = CATEGORIES[d // 2]
        rows.append({"id": f"{category}-{d % 2 + 1}", "category": category, "tokens": 480 + 5 * d, "cut": 0,
                     "sha256": f"{d:064x}", "repetitive": False})
    return rows


def manifest(study, settings):
    return {
        "command": ["qkscope", study, "models/tiny-rope", "models/tiny-drope", "-o", f"runs/demo/{study}"], "settings": settings,
        "version": "0.1.0", "build": {"compiler": "gcc 12.2.0", "flags": "-O3", "commit": "0123abc"},
        "machine": {"cpu": "Example CPU", "cores": 2, "memory": 8589934592}, "threads": 2, "precision": "auto",
        "models": [{"path": "models/tiny-rope", "sha256": "a1" * 32, "tokenizer_sha256": "c3" * 32},
                   {"path": "models/tiny-drope", "sha256": "b2" * 32, "tokenizer_sha256": "c3" * 32}],
        "data": [{"path": "built-in", "sha256": "d4" * 32, "documents": DOCUMENTS}], "seeds": SEEDS if study == "disrupt" else [],
        "started": "2026-01-02T03:04:05Z", "finished": "2026-01-02T03:04:47Z", "seconds": 42.0, "peak_memory_bytes": 123456789,
    }


# Massive values a layer: what a model with rotation and one without look like in the small.
PROFILE = {
    (0, "q"): [2, 1, 7, 9, 9, 8], (1, "q"): [2, 12, 5, 4, 3, 5], (0, "k"): [2, 2, 5, 5, 4, 4], (1, "k"): [2, 3, 2, 4, 5, 5],
    (0, "v"): [9, 4, 0, 0, 0, 1], (1, "v"): [4, 9, 1, 0, 0, 0],
}


def massive():
    settings = {"lambda": 5.0, "criterion": "layer-mean", "site": "pre", "context": CONTEXT, "bos": True, "precision": "auto"}
    out = {"study": "massive", "schema": 1, "settings": settings, "models": models(), "documents": documents(), "counts": [],
           "summary": [], "sweep": [], "change": [], "pair_norms": [], "stability": [],
           "warnings": ["8 documents: intervals over documents are wide"]}
    totals = {}
    for (m, t), profile in PROFILE.items():
        heads = HEADS if t == "q" else KV_HEADS
        counts = [[max(0, round(base + rng.gauss(0, 0.12 * base + 0.2))) for _ in range(DOCUMENTS)] for base in profile]
        peaks = [[5 + 0.9 * base + rng.random() if base else 3.5 + rng.random() for _ in range(DOCUMENTS)] for base in profile]
        for d in range(DOCUMENTS):
            for l in range(LAYERS):
                n = counts[l][d]
                out["counts"].append({"model": m, "document": d, "tensor": t, "layer": l, "count": n, "max_over_mean": peaks[l][d],
                                      "energy_share": n / (n + 30), "gini": 0.3 + 0.02 * n, "kurtosis": 4 + n, "entropy": 0.9 - 0.01 * n,
                                      "slow_share": (0.7 if n and m == 0 and t != "v" else None)})
        total = [float(sum(counts[l][d] for l in range(LAYERS))) for d in range(DOCUMENTS)]
        totals[m, t] = (total, counts)
        positions = LAYERS * heads * DIM
        out["summary"].append({
            "model": m, "tensor": t, "positions": positions, "total_mean": mean(total), "total_std": sd(total),
            "total_ci95": interval(total), "share_pct": 100 * mean(total) / positions,
            "max_over_mean": mean([max(peaks[l][d] for l in range(LAYERS)) for d in range(DOCUMENTS)]), "energy_share": 0.31,
            "gini": 0.4, "kurtosis": 9.5, "slow_share": 0.7 if m == 0 and t != "v" else None,
            "by_layer": [{"layer": l, "mean": mean(counts[l]), "std": sd(counts[l]), "max_over_mean": mean(peaks[l])} for l in range(LAYERS)]})
        for lam in range(2, 11):
            value = mean(total) * math.exp(-0.55 * (lam - 5))
            out["sweep"].append({"model": m, "tensor": t, "lambda": lam, "total_mean": 0.0 if t == "v" and lam > 8 else value,
                                 "total_std": 0.1 * value})
        out["stability"].append({"model": m, "tensor": t, "jaccard_mean": 0.82 if t != "v" else 0.6})
        for l in range(LAYERS):
            if t == "v":
                continue
            norm = [2 + rng.random() + (6 + profile[l]) * math.exp(-((p - 11) / 2.2) ** 2) / (1 + m) for p in range(DIM // 2)]
            out["pair_norms"].append({"model": m, "tensor": t, "layer": l, "norm": norm, "massive_pairs": 1})
    for t in "qkv":
        (a, counts_a), (b, counts_b) = totals[0, t], totals[1, t]
        difference = [y - x for x, y in zip(a, b)]
        out["change"].append({
            "model": 1, "tensor": t, "difference": mean(difference), "difference_ci95": interval(difference),
            "percent": 100 * mean(difference) / mean(a),
            "test": {"name": "paired t", "n": DOCUMENTS, "n2": None, "estimate": mean(difference),
                     "statistic": mean(difference) / sd(difference) * math.sqrt(DOCUMENTS), "df": DOCUMENTS - 1, "log10_p": -4.2,
                     "p": "p = 6.3e-05", "ci95": interval(difference), "effect": mean(difference) / sd(difference), "effect_name": "d_z",
                     "refused": None},
            "layers_more": [l for l in range(LAYERS) if mean(counts_b[l]) > mean(counts_a[l])]})
    return out


def arrays(path):
    """The norm maps of both models, as the study leaves them; only of three layers, so that the file stays small."""
    header, data = {}, b""
    for m in range(2):
        for l in range(LAYERS):
            for t in "qkv":
                if l not in (1, 3, 4):
                    continue
                heads = HEADS if t == "q" else KV_HEADS
                values = []
                for h in range(heads):
                    for d in range(DIM):
                        x = 3 * math.exp(rng.gauss(0, 0.35))
                        if t != "v" and d % 16 in (10, 11) and h % 3 == 0:
                            x *= 9 if m == 0 or l == 1 else 3
                        values.append(x)
                block = struct.pack(f"<{len(values)}f", *values)
                header[f"models.{m}.blocks.{l}.attn.hook_{t}"] = {"dtype": "F32", "shape": [heads, DIM],
                                                                  "data_offsets": [len(data), len(data) + len(block)]}
                data += block
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def disrupt():
    settings = {"lambda": 5.0, "criterion": "layer-mean", "site": "pre", "op": "zero", "tensors": ["q", "k"], "layers": "all",
                "control": "excluding", "seeds": SEEDS, "preset": "africa", "context": CONTEXT, "bos": True, "precision": "auto",
                "bootstrap_draws": 10000, "calibration": [f"calibration-{i}" for i in range(6)]}
    out = {"study": "disrupt", "schema": 1, "settings": settings, "models": models(), "documents": documents(), "conditions": [],
           "scores": [], "summary": [], "effects": [], "tests": [], "warnings": []}
    for m, (base, cost, noise) in enumerate([(2.1, 2.4, 0.02), (2.3, 0.7, 0.03)]):
        dims = {"q": [36, 31][m], "k": [22, 21][m]}
        conditions = [("baseline", "baseline", None), ("massive", "massive", None)] + [(f"random-{s}", "random", s) for s in SEEDS]
        nll = {}
        for name, kind, seed in conditions:
            per_layer = [{"layer": l, "tensor": t, "dims": dims[t] // LAYERS, "visited": 4000, "changed": 4000, "sum_abs": 900.5,
                          "max_abs": 12.25} for l in range(LAYERS) for t in "qk"]
            out["conditions"].append({
                "model": m, "name": name, "kind": kind, "dims": {"q": 0, "k": 0} if kind == "baseline" else dims, "seed": seed,
                "receipt": {"visited": 0 if kind == "baseline" else 48000, "changed": 0 if kind == "baseline" else 48000,
                            "sum_abs": 0.0 if kind == "baseline" else 10806.0 if kind == "massive" else 1406.0,
                            "max_abs": 0.0 if kind == "baseline" else 12.25, "by_layer": [] if kind == "baseline" else per_layer}})
            per_token = []
            for d in range(DOCUMENTS):
                start = base + 0.25 * math.sin(d + m)
                added = {"baseline": 0, "massive": cost * (1 + 0.12 * math.cos(2 * d)), "random": 0.03 + noise * rng.gauss(0, 1)}[kind]
                per_token.append(start + added)
            nll[name] = per_token
        tokens = [r["tokens"] - 1 for r in out["documents"]]
        for name, kind, _ in conditions:
            for d in range(DOCUMENTS):
                out["scores"].append({"model": m, "condition": name, "document": d, "tokens": tokens[d],
                                      "nll": nll[name][d] * tokens[d], "ppl": math.exp(nll[name][d])})
        nll["random"] = [mean([nll[f"random-{s}"][d] for s in SEEDS]) for d in range(DOCUMENTS)]
        total = sum(tokens)
        pooled = {k: sum(x * n for x, n in zip(v, tokens)) / total for k, v in nll.items()}
        for name in [c[0] for c in conditions] + ["random"]:
            difference = [a - b for a, b in zip(nll[name], nll["baseline"])]
            by_category = []
            for category in CATEGORIES:
                chosen = [d for d in range(DOCUMENTS) if out["documents"][d]["category"] == category]
                delta = mean([difference[d] for d in chosen])
                ppl = math.exp(mean([nll[name][d] for d in chosen]))
                by_category.append({"category": category, "documents": len(chosen), "delta_nll": delta, "ci95": None, "ppl": ppl,
                                    "ppl_increase_pct": 100 * (math.exp(delta) - 1)})
            delta = pooled[name] - pooled["baseline"]
            out["summary"].append({
                "model": m, "condition": name, "tokens": total, "nll_per_token": pooled[name], "delta_nll": delta,
                "ci95": None if name == "baseline" else interval(difference), "ppl": math.exp(pooled[name]),
                "ppl_increase_pct": 100 * (math.exp(delta) - 1), "by_category": by_category})
        gap = [a - b for a, b in zip(nll["massive"], nll["random"])]
        out["effects"].append({"model": m, "m_minus_r": {"delta_nll": pooled["massive"] - pooled["random"], "ci95": interval(gap)},
                               "m_minus_r_pct": 100 * (math.exp(pooled["massive"] - pooled["baseline"]) - math.exp(pooled["random"] - pooled["baseline"]))})
        for comparison, x, y in [("massive vs baseline", "massive", "baseline"), ("massive vs random", "massive", "random")]:
            difference = [a - b for a, b in zip(nll[x], nll[y])]
            t = mean(difference) / sd(difference) * math.sqrt(DOCUMENTS)
            for name, statistic, df in [("paired t", t, DOCUMENTS - 1), ("sign-flip permutation (exact)", mean(difference), None)]:
                out["tests"].append({"model": m, "comparison": comparison, "name": name, "n": DOCUMENTS, "estimate": mean(difference),
                                     "statistic": statistic, "df": df, "log10_p": -2.1, "p": "p = 0.0078", "ci95": interval(difference),
                                     "effect": mean(difference) / sd(difference), "effect_name": "d_z", "refused": None, "log10_p_holm": -1.3})
    out["tests"].append({"models": [0, 1], "comparison": "m_minus_r between models", "name": "Welch t", "n": DOCUMENTS, "estimate": -1.6,
                         "statistic": -14.2, "df": 9.3, "log10_p": -6.9, "p": "p = 1.3e-07", "ci95": [-1.86, -1.34], "effect": -6.6,
                         "effect_name": "Hedges' g", "refused": None, "log10_p_holm": -6.1})
    out["naive"] = {
        "by_model": [{"model": 0, "base_ppl": 8.17, "massive_pct_mean": 1002.0, "massive_pct_std": 0.0, "random_pct_mean": 3.1,
                      "random_pct_std": 0.8, "m_minus_r_pct": 998.9, "t": 2790.0, "d": 930.1, "log10_p": -30.2},
                     {"model": 1, "base_ppl": 9.97, "massive_pct_mean": 101.0, "massive_pct_std": 0.0, "random_pct_mean": 3.0,
                      "random_pct_std": 1.1, "m_minus_r_pct": 98.0, "t": 199.0, "d": 66.3, "log10_p": -19.8}],
        "ratio_of_m_minus_r": 10.19, "t_between": {"name": "pooled t", "statistic": 1480.0, "df": 8, "log10_p": -23.1},
        "labels": {"massive_pct_std": "0 by construction: no mask depends on the seed",
                   "ratio_of_m_minus_r": "a ratio of exponentials: compare delta_nll in nats"}}
    return out


def tracked(arm, tokens, share):
    """One row of track[]: `share` of the way is done; arm 0 lost its rotation, arm 1 kept it, None is the model as it came."""
    masks = {t: [[7 * l + 11 * i for i in range(n)] for l, n in enumerate(PROFILE[0, t])] for t in "qkv"}
    totals, tensors = {}, []
    for t in "qkv":
        heads = HEADS if t == "q" else KV_HEADS
        both = either = 0
        sums = {"count": 0, "count_3": 0, "count_4": 0}
        for l in range(LAYERS):
            first, last = PROFILE[0, t][l], PROFILE[0 if arm else 1, t][l]
            n = round(first + (last - first) * share) if arm is not None else first
            kept = min(n, round(first * (1 - (0.6 if arm == 0 else 0.1) * share)))
            dims = sorted(masks[t][l][:kept] + [5 + 13 * i for i in range(200) if 5 + 13 * i not in masks[t][l]][:n - kept])
            assert len(set(dims)) == n and max(dims, default=0) < heads * DIM
            common = len(set(dims) & set(masks[t][l]))
            both, either = both + common, either + n + first - common
            row = {"tensor": t, "layer": l, "count": n, "count_3": 3 * n + 2, "count_4": 2 * n, "max_over_mean": 5 + 0.9 * n if n else 3.6,
                   "energy_share": n / (n + 30), "length": 4 + 0.7 * l + (0.8 * share if arm == 0 else 0.1 * share) + (t == "k"),
                   "overlap": common / (n + first - common) if n + first else None, "dims": dims}
            tensors.append(row)
            for key in sums:
                sums[key] += row[key]
        peak = max(r["max_over_mean"] for r in tensors if r["tensor"] == t)
        totals[t] = {**sums, "max_over_mean": peak, "overlap": both / either if either else None}
    fall = math.exp(-6 * share)
    loss = {None: 1.31, 0: 1.36 + 3.1 * fall, 1: 1.31 - 0.02 * share}[arm]
    zero = {None: 2.4, 0: 0.5 + 0.4 * share, 1: 2.4 + 0.1 * share}[arm]
    return {"arm": 0, "step": round(tokens / 8192), "tokens": tokens, "rotation": 0.0 if arm == 0 else 1.0, "loss": loss, "loss_tokens": 4090,
            "sink_rate": {None: 0.4, 0: 0.4 - 0.25 * (1 - fall), 1: 0.4 + 0.02 * share}[arm], "sink_sequences": DOCUMENTS,
            "sink_by_layer": [0.4] * LAYERS,
            "ablation": {"dims_q": totals["q"]["count"], "dims_k": totals["k"]["count"], "zero": zero, "mean": 0.12 * zero,
                         "random": 0.02 + 0.005 * math.sin(40 * share)},
            "totals": totals, "tensors": tensors}


def recalibrate(arm):
    """One arm of a recalibration: 0 without rotation, 1 the control that keeps it."""
    steps, rows_a_step = 600, 8192
    settings = {"control": "rope" if arm else None, "lambda": 5.0, "track": 50, "lr": 0.001, "schedule": "cosine", "seed": 0, "bos": True}
    out = {"study": "recalibrate", "schema": 1, "settings": settings, "models": models()[:1], "documents": documents(),
           "arms": [{"name": ["DroPE", "RoPE control"][arm], "kind": ["drope", "control"][arm], "model": 0, "steps": steps,
                     "tokens": steps * rows_a_step, "finished": True}],
           "log": [], "track": [], "warnings": []}
    for d, document in enumerate(out["documents"]):
        document["role"] = "identifies" if d < DOCUMENTS // 2 else "evaluates"
    if arm == 0:
        out["track"].append(tracked(None, 0, 0))
    for step in range(0, steps + 1, 50):
        out["track"].append(tracked(arm, step * rows_a_step, step / steps))
    for step in range(0, steps + 1, 10):
        fall = math.exp(-6 * step / steps)
        loss = (1.33 + 3.0 * fall if arm == 0 else 1.29) + 0.03 * math.sin(step)
        held_out = (1.36 + 3.1 * fall if arm == 0 else 1.31 - 0.02 * step / steps)
        if step:
            out["log"].append({"arm": 0, "step": step, "tokens": step * rows_a_step, "loss": loss, "learning_rate": 0.001 * (1 - step / steps),
                               "gradient_norm": 0.5 + fall, "validation_loss": None})
        if step % 100 == 0:
            out["log"].append({"arm": 0, "step": step, "tokens": step * rows_a_step, "loss": None, "learning_rate": None,
                               "gradient_norm": None, "validation_loss": held_out})
    return out


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/data/report")
    for study, results in [("massive", massive()), ("disrupt", disrupt()), ("drope", recalibrate(0)), ("control", recalibrate(1))]:
        (folder / study).mkdir(parents=True, exist_ok=True)
        text = json.dumps(rounded(results), indent=None, separators=(",", ":"))
        text = text.replace("},{", "},\n{")
        (folder / study / "results.json").write_text(text + "\n")
        (folder / study / "manifest.json").write_text(json.dumps(manifest(results["study"], results["settings"]), indent=1) + "\n")
    arrays(folder / "massive" / "arrays.safetensors")


main()
