#!/usr/bin/env python3
"""Time against documents, conditions, tokens, layers and threads: measured, fitted by a line, drawn.

    python bench/scaling.py [--shape D,LAYERS,HEADS,KV,FFN,VOCAB] [--rounds 3] [--svg docs/scaling.svg]

Each point is `qkscope bench` on random f32 weights, the points of a sweep taking turns; the least of the rounds counts, in
processor seconds of one thread (other programs cost a thread its turns, not its own time).  A line y = fixed + slope x is
fitted by least squares to relative errors; tokens get a square term for attention.  Threads are timed by the wall.  What
the fixed part is stands beside it.  Then an estimate on paper, called one: a study of a 70B model on a server of 64 cores,
from the ceilings and shares measured here.  Table on stdout, points in .cache/bench/scaling.csv.  No packages needed.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "passive"}
SERVER = {"cores": 64, "layers": 80, "d_model": 8192, "heads": 64, "kv_heads": 8, "ffn": 28672, "vocabulary": 32000}
STUDY = {"conditions": 12, "documents": 10, "tokens": 512}


def bench(args, *words):
    command = [args.program, "bench", "--shape", args.shape, "--weights", "f32", "-q", "--json", *words]
    out = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=ENVIRONMENT)
    if out.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {out.returncode}: {out.stderr[-500:]}")
    return json.loads(out.stdout)


def sweeps(args):
    """name, unit of x, powers of x that are fitted, what the fixed part is, [(x, words of `bench`)]"""
    study = ["--tests", "study", "--prompt-tokens", args.tokens, "-r", 1, "-t", 1]
    score = ["--tests", "score", "-r", 1, "-t", 1]
    layers = int(args.shape.split(",")[1])
    return [
        ("documents", "documents", (1,), "tables of the pass, products of few rows",
         [(n, [*study, "-L", n, "--seeds", 2]) for n in (1, 2, 4, 8, 12)]),
        ("conditions", "edited conditions", (1,), "norms and the unbroken arm",
         [(n, [*study, "-L", 2, "--seeds", n - 1]) for n in (2, 4, 8, 16, 24)]),
        ("tokens", "tokens", (1, 2), "weights read",
         [(n, [*score, "--prompt-tokens", n]) for n in (128, 256, 512, 1024, 2048)]),
        ("layers", "layers", (1,), "embedding, final norm, logits",
         [(n, [*score, "--prompt-tokens", 512, "--max-layers", n]) for n in range(1, layers + 1)]),
    ]


def fit(points, powers):
    """fixed and one factor a power: least squares of relative errors, by the normal equations; and the largest error"""
    n = len(powers) + 1
    rows = [([1 / y] + [x ** p / y for p in powers]) for x, y in points]
    a = [[sum(r[i] * r[j] for r in rows) for j in range(n)] + [sum(r[i] for r in rows)] for i in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(a[k][i]))
        a[i], a[pivot] = a[pivot], a[i]
        for k in range(n):
            if k != i:
                factor = a[k][i] / a[i][i]
                a[k] = [u - factor * v for u, v in zip(a[k], a[i])]
    found = [a[i][n] / a[i][i] for i in range(n)]
    worst = max(abs(found[0] + sum(c * x ** p for c, p in zip(found[1:], powers)) - y) / y for x, y in points)
    return found, worst


def measure(args, points):
    """Seconds of each point, the least of all rounds."""
    best = {}
    for _ in range(args.rounds):
        for x, words in points:
            row = bench(args, *words)["rows"][0]
            best[x] = min(best.get(x, float("inf")), row["cpu_seconds"][0])
    return sorted(best.items())


def threads(args):
    """Wall seconds of one scoring by threads, taking turns."""
    best = {}
    for _ in range(max(args.rounds, 5)):
        for n in sorted({1, os.cpu_count()}):
            row = bench(args, "--tests", "score", "--prompt-tokens", 1024, "-r", 1, "-t", n)["rows"][0]
            best[n] = min(best.get(n, float("inf")), row["seconds"][0])
    return best


def estimate(args):
    """Floating point of the study over what 64 cores like this one do, each at the share of its ceiling that it has here."""
    wide = ["--tests", "ceilings,score", "--prompt-tokens", 256, "-r", 3, "-t", 1]
    words = ["--shape", "2048,2,16,4,5632,2048", "--weights", "bf16", "-q", "--json", *wide]
    out = subprocess.run([str(c) for c in (args.program, "bench", *words)], capture_output=True, text=True, check=True,
                         env=ENVIRONMENT)
    here = json.loads(out.stdout)
    row, s = here["rows"][0], SERVER
    used, ceiling = row["flops"] / min(row["cpu_seconds"]), here["ceilings"]["flops_per_second"]
    d, kv = s["d_model"], s["d_model"] // s["heads"] * s["kv_heads"]
    weights = s["layers"] * (2 * d * d + 2 * d * kv + 3 * d * s["ffn"])
    n = STUDY["tokens"]
    sequence = 2 * weights * n + s["layers"] * 4 * d * n * (n + 1) / 2 + 2 * n * d * s["vocabulary"]
    flops = sequence * STUDY["documents"] * (STUDY["conditions"] + 1)
    seconds = flops / (used * s["cores"])
    disk = 2 * 2 * (weights + 2 * d * s["vocabulary"]) / 2e9
    print(f"\nOn paper, not measured: a study of a 70B shape ({STUDY['conditions']} conditions x {STUDY['documents']} documents x "
          f"{n} tokens, bf16 file, f32 products) is {flops:.3g} FLOP.  One core here does {used / 1e9:.0f} of its "
          f"{ceiling / 1e9:.0f} GFLOP/s on layers of 2048; {s['cores']} such cores, each as fast when all work, would take "
          f"{seconds / 60:.0f} minutes.  Reading {2 * (weights + 2 * d * s['vocabulary']) / 1e9:.0f} GB twice (norms, then all "
          f"conditions) takes {disk / 60:.1f} minutes from a disk of 2 GB/s, beside the products: it is not the limit.  What "
          "this leaves out: clocks that fall when all cores work, memory of two sockets, and that memory feeds "
          f"{s['cores']} cores at once.")


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--program", default=ROOT / "build" / "qkscope")
    parse.add_argument("--plot", default=ROOT / "build" / "bench" / "plot_scaling")
    parse.add_argument("--shape", default="256,8,4,4,688,2048")
    parse.add_argument("--tokens", type=int, default=128, help="of a document")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--svg", help="where the figure goes")
    args = parse.parse_args()
    machine = bench(args, "--tests", "ceilings", "-t", 1)
    print(f"{machine['processor']}, {machine['kernels']}, load {os.getloadavg()[0]:.1f}; {args.shape}, f32, one thread, processor "
          f"seconds, least of {args.rounds}\n\n| against | from | to | slope | fixed | which is | worst point off the fit |\n"
          + "|---" * 7 + "|", flush=True)
    path = ROOT / ".cache" / "bench" / "scaling.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["sweep", "unit", "x", "seconds", "fitted"])
        for name, unit, powers, fixed, points in sweeps(args):
            points = measure(args, points)
            found, worst = fit(points, powers)
            one = unit.split()[-1].removesuffix("s")
            slope = " + ".join(f"{1e3 * c:.3g} ms a {one}" if p == 1 else f"{1e9 * c:.3g} ns a {one} squared"
                               for c, p in zip(found[1:], powers))
            print(f"| {name} | {points[0][0]} | {points[-1][0]} | {slope} | {1e3 * found[0]:.1f} ms | {fixed} | "
                  f"{100 * worst:.1f} % |", flush=True)
            for x, y in points:
                table.writerow([name, unit, x, y, found[0] + sum(c * x ** p for c, p in zip(found[1:], powers))])
        walls = threads(args)
        for n, seconds in walls.items():
            table.writerow(["threads", "threads", n, seconds, walls[1] / n])
    n = max(walls)
    print(f"\n{n} threads: {walls[1]:.3f} s at one, {walls[n]:.3f} s at {n} (wall clock, best): {walls[1] / walls[n]:.2f} "
          f"times as fast; load {os.getloadavg()[0]:.1f}")
    estimate(args)
    if args.svg:
        subprocess.run([str(args.plot), str(path), str(args.svg)], check=True)
        print(f"\n{args.svg}")


if __name__ == "__main__":
    main()
