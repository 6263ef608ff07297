#!/usr/bin/env python3
"""Our speed beside that of the neighbours, row by row, the two sides taking turns in one run on one machine.

    LLAMA_CPP=FOLDER python bench/peers.py [ROW...] [--rounds 5] [--threads N] [--clock wall|processor] [--list]

LLAMA_CPP is a folder with llama-bench and llama-perplexity; torch and transformers come from this very Python.  Weights are
random and made here (bench/gguf_model.py, in .cache/bench/peers).  A row says what it ran: layers, tokens, threads.  Ratios
are taken round by round; the table has their median and range, and what the row's goal is on this level of processor.  A
row that misses it is shown with the roofline: how far we are from the machine's own ceiling, which is measured in the same
rounds, and which ratio a product at that ceiling would reach.  What could not be measured is said with the reason.

--clock processor counts the processor time of one thread instead of the wall's: for machines that are busy otherwise.
Threads wait as OpenMP has them wait by default, on both sides (spinning for a while); where OMP_WAIT_POLICY is set, so.
--layers-1b and --layers-7b keep only the first layers of those shapes, on both sides.  Results: a table on stdout, JSON and
CSV beside the models.  Development only.
"""

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cache" / "bench" / "peers"
DEMO = ROOT / "tests" / "data" / "golden" / "demo"
# d_model, layers, heads, key/value heads, d_ffn, vocabulary
SHAPES = {"1.1b": [2048, 22, 32, 4, 5632, 32000], "7b": [4096, 32, 32, 32, 11008, 32000],
          "15m": [288, 6, 6, 6, 768, 32000]}
LEVELS = ["plain", "avx2", "avx512", "avx512bf16", "amx"]


class NotMeasured(Exception):
    """The reason why a row has no figure."""


def call(*command):
    """stdout, wall seconds, processor seconds"""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        out = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    except OSError as why:
        raise NotMeasured(f"{command[0]}: {why.strerror}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if out.returncode:
        lines = (out.stderr.strip() or "no message").splitlines()
        raise NotMeasured(f"{Path(str(command[0])).name}: exit code {out.returncode}: {lines[-1][:200]}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return out.stdout, time.perf_counter() - start, processor


# ---- the sides: run() gives tokens/s (or whatever the row counts) of one repetition


class Bench:
    """`qkscope bench`: keeps what it said of itself for the roofline."""

    def __init__(self, setup, *words, test, repetitions=1, precision="auto"):
        self.setup, self.row, self.rows = setup, None, []
        self.ceiling = "bf16_flops_per_second" if precision == "bf16" and setup.bf16_unit else "flops_per_second"
        self.command = [setup.program, "bench", *words, "--tests", test, "-r", repetitions, "-t", setup.threads,
                        "--precision", precision, "--json", "-q"]

    def run(self):
        result = json.loads(call(*self.command)[0])
        self.row = result["rows"][0]
        seconds = min(self.row["cpu_seconds" if self.setup.processor else "seconds"])
        self.rows.append({"flops": self.row["flops"] / seconds, "bytes": self.row["weight_bytes"] / seconds})
        return self.row["tokens"] / seconds


class Unit:
    """What the bf16 unit does out of the nearest cache: tokens/s of ours if all of its work ran so."""

    def __init__(self, setup, ours):
        self.setup, self.ours = setup, ours

    def run(self):
        if not self.ours.row:
            self.ours.run()
        self.setup.measure_ceilings()
        key = ("usual_" if self.setup.processor else "") + "bf16_flops_per_second"
        return self.setup.ceilings[-1][key] * self.ours.row["tokens"] / self.ours.row["flops"]


class LlamaBench:
    def __init__(self, setup, model, prompt, new):
        self.setup, self.n = setup, prompt or new
        self.command = [setup.llama("llama-bench"), "-m", model, "-p", prompt, "-n", new, "-t", setup.threads, "-o",
                        "json"]

    def run(self):
        if not self.setup.processor:
            return json.loads(call(*self.command, "-r", 1)[0])[0]["avg_ts"]
        less, more = (call(*self.command, "--no-warmup", "-r", n)[2] for n in (1, 2))
        if more <= less:
            raise NotMeasured("llama-bench: two repetitions took less processor time than one")
        return self.n / (more - less)


class LlamaPerplexity:
    """A short text and a long one: start and loading are the difference's business."""

    def __init__(self, setup, model, texts, tokens):
        self.setup, self.texts, self.tokens = setup, texts, tokens
        self.command = [setup.llama("llama-perplexity"), "-m", model, "-c", 512, "-t", setup.threads, "-f"]

    def run(self):
        (_, *short), (_, *long) = (call(*self.command, text) for text in self.texts)
        return (self.tokens[1] - self.tokens[0]) / (long[self.setup.processor] - short[self.setup.processor])


class Perplexity:
    def __init__(self, setup, model, texts, tokens):
        self.setup, self.texts, self.tokens, self.rows = setup, texts, tokens, []
        self.command = [setup.program, "ppl", model, "--protocol", "llama.cpp", "-c", 512, "-t", setup.threads, "-q",
                        "--texts"]

    def run(self):
        (_, *short), (_, *long) = (call(*self.command, text) for text in self.texts)
        return (self.tokens[1] - self.tokens[0]) / (long[self.setup.processor] - short[self.setup.processor])


class Torch:
    """bench/torch_peer.py, alive through all rounds."""

    def __init__(self, setup, what, dtype, rows, context, shape, tied=0):
        setup.need_torch()
        self.setup, self.tokens = setup, rows * context
        environment = {**os.environ, "OMP_NUM_THREADS": str(setup.threads)}
        command = [sys.executable, ROOT / "bench" / "torch_peer.py", what, dtype, rows, context, *shape, tied]
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env=environment)
        start = time.perf_counter()
        if self.process.stdout.readline() != "ready\n":
            raise NotMeasured(f"torch_peer.py ended with exit code {self.process.wait()}")
        self.started = time.perf_counter() - start

    def run(self):
        self.process.stdin.write("processor\n" if self.setup.processor else "wall\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise NotMeasured(f"torch_peer.py ended with exit code {self.process.wait()}")
        return self.tokens / float(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# ---- what there is


class Setup:
    def __init__(self, args):
        self.args, self.program, self.threads = args, args.program, args.threads
        self.processor = args.clock == "processor"
        self.ceilings = []
        self.machine = self.measure_ceilings()
        self.kernels = self.machine["kernels"]
        self.level = self.kernels if self.kernels in LEVELS else "plain"
        self.bf16_unit = self.ceilings[0].get("bf16_unit") == self.kernels

    def measure_ceilings(self):
        result = json.loads(call(self.program, "bench", "--tests", "ceilings", "-t", self.threads, "--json", "-q")[0])
        self.ceilings.append(result["ceilings"])
        return result

    def ceiling(self, key):
        """The least disturbed one: nothing is faster than the machine.  By processor time the usual one: what is left
        of a core whose other half somebody else uses."""
        if self.processor and "flops" in key:
            return statistics.median(c["usual_" + key] for c in self.ceilings)
        return max(c[key] for c in self.ceilings)

    def llama(self, name):
        folder = os.environ.get("LLAMA_CPP")
        if not folder:
            raise NotMeasured("LLAMA_CPP is not set: the folder of llama-bench and llama-perplexity")
        for path in (Path(folder) / name, Path(folder) / "bin" / name):
            if path.exists():
                return path
        raise NotMeasured(f"LLAMA_CPP: no {name} in {folder}")

    def need_torch(self):
        try:
            import torch  # noqa: F401
            import transformers  # noqa: F401
        except ImportError as why:
            raise NotMeasured(f"PYTHON: {why}")

    def layers(self, shape):
        most = {"1.1b": self.args.layers_1b, "7b": self.args.layers_7b}.get(shape, 0)
        return min(most, SHAPES[shape][1]) if most else SHAPES[shape][1]

    def sizes(self, shape):
        d, _, *rest = SHAPES[shape]
        return [d, self.layers(shape), *rest]

    def gguf(self, shape, kind):
        try:
            import numpy  # noqa: F401
        except ImportError as why:
            raise NotMeasured(f"PYTHON: {why}")
        path = self.args.folder / f"{shape}-{self.layers(shape)}-{kind}.gguf"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            call(sys.executable, ROOT / "bench" / "gguf_model.py", f"{path}.part", kind, *self.sizes(shape))
            Path(f"{path}.part").rename(path)
        return path

    def done_with(self, path):
        """Large files go: the next row's fits the page cache then."""
        if path.stat().st_size > 500e6 and not self.args.keep:
            path.unlink()


# ---- the rows


def precision(setup, unit):
    """llama.cpp rounds activations to bf16 beside BF16 weights and to 8 bits beside Q8_0 and Q4_0: so do we to bf16,
    where there is a unit for it."""
    return "bf16" if unit and setup.bf16_unit else "auto"


def prefill_name(setup, shape, ours):
    there = f"{shape}, {setup.layers(shape)} of {SHAPES[shape][1]} layers, {setup.args.prompt} tokens"
    return there + (", rounded to bf16" if ours.ceiling.startswith("bf16") else "")


def prefill_llama(setup, shape, kind, unit=False):
    model, n = setup.gguf(shape, kind), setup.args.prompt
    peer = LlamaBench(setup, model, n, 0)
    ours = Bench(setup, model, "--prompt-tokens", n, test="prefill", precision=precision(setup, unit))
    return ours, peer, prefill_name(setup, shape, ours), model


def unit_share(setup, shape):
    if not setup.bf16_unit:
        raise NotMeasured("this processor has no unit for bf16")
    words = ["--shape", shape, "--max-layers", setup.layers(shape), "--weights", "bf16"]
    ours = Bench(setup, *words, "--prompt-tokens", setup.args.prompt, test="prefill", precision="bf16")
    return ours, Unit(setup, ours), prefill_name(setup, shape, ours), None


def prefill_nf4(setup, shape):
    """NF4 is no format of GGUF: ours makes it of random weights, theirs reads Q8_0."""
    model, n = setup.gguf(shape, "q8_0"), setup.args.prompt
    peer = LlamaBench(setup, model, n, 0)
    ours = Bench(setup, "--shape", ",".join(map(str, setup.sizes(shape))), "--weights", "nf4", "--prompt-tokens", n,
                 test="prefill", precision=precision(setup, True))
    return ours, peer, prefill_name(setup, shape, ours), model


def prefill_torch(setup, shape, kind):
    model, n = setup.gguf(shape, {"bfloat16": "bf16", "float32": "f32"}[kind]), setup.args.prompt
    peer = Torch(setup, "prefill", kind, 1, n, setup.sizes(shape))
    ours = Bench(setup, model, "--prompt-tokens", n, test="prefill", precision=precision(setup, kind == "bfloat16"))
    return ours, peer, prefill_name(setup, shape, ours), model


def decode_llama(setup, shape, kind):
    model, n = setup.gguf(shape, kind), setup.args.new
    peer = LlamaBench(setup, model, 0, n)
    ours = Bench(setup, model, "-n", n, test="decode")
    return ours, peer, f"{shape}, {setup.layers(shape)} of {SHAPES[shape][1]} layers, {n} tokens", model


def perplexity(setup, shape, kind):
    import random
    model, draw = setup.gguf(shape, kind), random.Random(1)
    texts, tokens, letters = [], [], "abcdefghijklmnopqrstuvwxyz"
    for chunks in (2, 2 + setup.args.chunks):
        text = setup.args.folder / f"text-{chunks}.txt"
        text.write_text(" ".join("".join(draw.choices(letters, k=3)) for _ in range(512 * chunks)))
        texts.append(text)
        tokens.append(512 * chunks)  # three letters are one token of the made-up vocabulary
    ours, peer = (side(setup, model, texts, tokens) for side in (Perplexity, LlamaPerplexity))
    return ours, peer, f"{shape}, {setup.args.chunks} chunks of 512 tokens", model


def train_torch(setup, kind):
    rows, context, shape = setup.args.train_rows, 256, SHAPES["15m"]
    peer = Torch(setup, "train", kind, rows, context, shape, 1)
    ours = Bench(setup, "--shape", "15m", "--weights", "f32", "--prompt-tokens", context, "-b", rows, test="train",
                 precision="bf16" if kind == "bfloat16" else "f32")
    return ours, peer, f"288 x 6, vocabulary 32,000, {rows} x {context}", None


class Study:
    """Both sides of bench/torch_disrupt.py, one round at a time."""

    def __init__(self, setup, dtype, precision):
        setup.need_torch()
        self.setup = setup
        context, documents = setup.args.study_context, setup.args.study_documents
        folder = setup.args.folder / "study"
        if not (folder / "model.safetensors").exists():
            call(setup.args.make, "--f32", f"--tokenizer={DEMO / 'tokenizer.json'}", folder, *SHAPES["15m"], 1024)
            (folder / "tokenizer_config.json").write_bytes((DEMO / "tokenizer_config.json").read_bytes())
        words = " ".join(f.read_text("utf-8") for f in sorted((ROOT / "src" / "text" / "builtin").glob("*.txt"))).split()
        files = [setup.args.folder / f"study-{part}.txt" for part in ("calibration", "evaluation")]
        for file, first in zip(files, (0, documents)):
            pieces = [" ".join(words[(first + i) * context // 2:][:context]) for i in range(documents)]
            file.write_text("\n@@\n".join(pieces), "utf-8")
        self.command = [sys.executable, ROOT / "bench" / "torch_disrupt.py", folder, "--calib", files[0], "--texts",
                        files[1], "--split", "@@", "--documents", documents, "-c", context, "-t", setup.threads,
                        "--lambda", 1.5, "--rounds", 1, "--dtype", dtype, "--precision", precision, "--qkscope",
                        setup.program]
        self.seconds, self.rows = None, []

    def run(self):
        self.seconds = json.loads(call(*self.command)[0])["seconds"]
        return 1 / self.seconds["qkscope"][0]


class StudyPeer:
    """What the same round of Study said of the other side."""

    def __init__(self, study):
        self.study = study

    def run(self):
        return 1 / self.study.seconds["torch"][0]


def study_torch(setup, dtype, precision):
    if setup.processor:
        raise NotMeasured("the study is timed by the wall only: run it without --clock processor")
    ours = Study(setup, dtype, precision)
    a = setup.args
    return ours, StudyPeer(ours), f"288 x 6, 12 conditions x {a.study_documents} documents x {a.study_context}", None


def overhead(setup, test):
    words = ["--shape", "15m", "--weights", "f32", "--prompt-tokens", setup.args.prompt]
    ours, plain = (Bench(setup, *words, test=name, repetitions=5) for name in (test, "score")) # the least of five
    return ours, plain, f"15m, {setup.args.prompt} tokens", None


# name, what is compared with what, how, (floor, goal) by level or for all; "share": of read bandwidth, not a ratio
def goals(plain, avx512, amx):
    return {"plain": plain, "avx2": plain, "avx512": avx512, "avx512bf16": avx512, "amx": amx}


F32_LEVELS = goals((1.25, 1.5), (1.7, 2), (1.5, 3.5))
BF16_LEVELS, QUANTISED_LEVELS = goals((1.25, 1.5), (1.7, 2), (5.6, 8)), goals((1.25, 1.5), (1.7, 2), (2, 3))
ROWS = [
    ("prefill-bf16", "llama.cpp BF16", lambda s: prefill_llama(s, "1.1b", "bf16", True), BF16_LEVELS),
    ("prefill-bf16-auto", "llama.cpp BF16", lambda s: prefill_llama(s, "1.1b", "bf16"), None),
    ("prefill-bf16-torch", "PyTorch bf16", lambda s: prefill_torch(s, "1.1b", "bfloat16"),
     goals((1.25, 1.5), (1.7, 2), (2, 3))),
    ("prefill-f32", "llama.cpp F32", lambda s: prefill_llama(s, "1.1b", "f32"), F32_LEVELS),
    ("prefill-f32-torch", "PyTorch f32", lambda s: prefill_torch(s, "1.1b", "float32"), None),
    ("prefill-q8_0", "llama.cpp Q8_0", lambda s: prefill_llama(s, "1.1b", "q8_0", True), QUANTISED_LEVELS),
    ("prefill-q8_0-auto", "llama.cpp Q8_0", lambda s: prefill_llama(s, "1.1b", "q8_0"), None),
    ("prefill-q4_0", "llama.cpp Q4_0", lambda s: prefill_llama(s, "1.1b", "q4_0", True), QUANTISED_LEVELS),
    ("prefill-nf4", "llama.cpp Q8_0", lambda s: prefill_nf4(s, "1.1b"), QUANTISED_LEVELS),
    ("prefill-7b-bf16", "llama.cpp BF16", lambda s: prefill_llama(s, "7b", "bf16", True), goals((1.25, 1.5), (1.7, 2), (6, 9))),
    ("prefill-7b-q8_0", "llama.cpp Q8_0", lambda s: prefill_llama(s, "7b", "q8_0", True),
     goals((1.25, 1.5), (1.7, 2), (2, 2.8))),
    ("small-f32", "llama.cpp F32", lambda s: prefill_llama(s, "15m", "f32"), goals((2, 4), (2, 4), (2, 4))),
    ("small-perplexity", "llama-perplexity F32", lambda s: perplexity(s, "15m", "f32"), goals((2, 4), (2, 4), (2, 4))),
    ("study-f32", "transformers with hooks, f32", lambda s: study_torch(s, "float32", "auto"), goals((5, 5), (5, 5), (5, 5))),
    ("study-bf16", "transformers with hooks, f32", lambda s: study_torch(s, "float32", "bf16"),
     goals((5, 10), (5, 10), (5, 10))),
    ("norms", "the same pass without", lambda s: overhead(s, "norms"), "overhead"),
    ("edits", "the same pass without", lambda s: overhead(s, "edits"), "overhead"),
    ("decode-bf16", "llama.cpp BF16", lambda s: decode_llama(s, "1.1b", "bf16"), "share"),
    ("decode-q8_0", "llama.cpp Q8_0", lambda s: decode_llama(s, "1.1b", "q8_0"), "share"),
    ("train-f32", "PyTorch f32", lambda s: train_torch(s, "float32"), goals((1.8, 3), (1.8, 3), (1.8, 3))),
    ("train-bf16", "PyTorch bf16 autocast", lambda s: train_torch(s, "bfloat16"), goals((1.5, 2.5), (1.5, 2.5), (1.5, 2.5))),
    ("bf16-unit", "its blocks out of the nearest cache", lambda s: unit_share(s, "1.1b"), goals(*[(0.4, 0.6)] * 3)),
]


def judge(value, floor, goal, rounds=()):
    """What is reached; and whether some rounds say otherwise."""
    verdict, line = ("goal", goal) if value >= goal else ("floor" if value >= floor else "missed", floor)
    torn = any((ratio >= line) != (value >= line) for ratio in rounds)
    return f"{verdict}, within the noise" if torn else verdict


def roofline(row, setup, ours, ratio, rate_of_peer):
    """Where we stand below the machine's ceiling, and which ratio the ceiling itself would be."""
    if not getattr(ours, "rows", None):
        return
    used = statistics.median(r["flops"] for r in ours.rows)
    ceiling = setup.ceiling(ours.ceiling)
    row["ceiling"], row["gflops"], row["share_of_flops"] = ours.ceiling, used / 1e9, used / ceiling
    row["bytes_per_second"] = statistics.median(r["bytes"] for r in ours.rows)
    # What neighbours leave of memory changes within minutes, by half: each round against what was read right behind it.
    read = [c["bytes_per_second"] for c in setup.ceilings[-len(ours.rows):]]
    row["read"] = read
    row["share_of_read"] = statistics.median(r["bytes"] / most for r, most in zip(ours.rows, read))
    row["ratio_at_ceiling"] = ratio * ceiling / used


def measure(setup, name, peer_name, make, goal):
    row = {"row": name, "peer": peer_name, "threads": setup.threads, "level": setup.level, "clock": setup.args.clock}
    ours = peer = path = None
    try:
        ours, peer, row["what"], path = make(setup)
        rates, ratios = ([], []), []
        for n in range(setup.args.rounds + 1):  # round 0 warms files and caches, and is not counted
            start, pair = time.perf_counter(), [0, 0]
            for side in ((0, 1), (1, 0))[n % 2 and not isinstance(peer, StudyPeer)]:
                pair[side] = (ours, peer)[side].run()
            setup.measure_ceilings()
            if n == 0:
                ours.rows.clear()
                limit = setup.args.limit
                if time.perf_counter() - start > limit:
                    raise NotMeasured(f"one round took {time.perf_counter() - start:.0f} s, the limit is {limit} s")
                continue
            for side in (0, 1):
                rates[side].append(pair[side])
            ratios.append(pair[0] / pair[1])
    except NotMeasured as why:
        row["not_measured"] = str(why)
        return row
    finally:
        if hasattr(peer, "close"):
            peer.close()
        if path:
            setup.done_with(path)
    row.update(ours=rates[0], theirs=rates[1], ratios=ratios)
    ratio = statistics.median(ratios)
    roofline(row, setup, ours, ratio, rates[1])
    if goal == "overhead":
        row["verdict"] = judge(ratio, 1 / 1.05, 1 / 1.02, ratios)
        row["goal"] = [1 / 1.05, 1 / 1.02]
    elif goal == "share":
        row["verdict"] = judge(row["share_of_read"], 0.8, 0.9)
        row["goal_share_of_read"] = [0.8, 0.9]
    elif goal:
        row["goal"] = goal[setup.level]
        row["verdict"] = judge(ratio, *goal[setup.level], ratios)
    else:
        row["verdict"] = ""
    return row


# ---- the table


def spread(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def line(row):
    if "not_measured" in row:
        return f"| {row['row']} | {row['peer']} | not measured: {row['not_measured']} | | | | |"
    per_second = (lambda v: f"{1 / v:.1f} s") if row["row"].startswith("study") else (lambda v: f"{v:.4g}")
    ours, theirs = (per_second(statistics.median(row[side])) for side in ("ours", "theirs"))
    goal = "{:.3g} / {:.3g}".format(*row["goal"]) if "goal" in row else ""
    if "goal_share_of_read" in row:
        goal = "80 % / 90 % of read"
    roof = ""
    if "share_of_flops" in row:
        unit = "bf16" if row["ceiling"].startswith("bf16") else "f32"
        roof = f"{row['gflops']:.0f} GFLOP/s, {100 * row['share_of_flops']:.0f} % of {unit} multiply-adds"
        if row["row"].startswith("decode"):
            roof = f"{row['bytes_per_second'] / 1e9:.1f} GB/s, {100 * row['share_of_read']:.0f} % of what was read beside it"
        elif row["verdict"].startswith("missed") and row["row"] not in ("norms", "edits", "bf16-unit"):
            roof += f"; at 100 % the ratio were {row['ratio_at_ceiling']:.2f}"
    return (f"| {row['row']}: {row['what']} | {row['peer']} | {ours} | {theirs} | {spread(row['ratios'], '.2f')} | "
            f"{goal} {row['verdict']} | {roof} |")


def store(setup, rows):
    folder = setup.args.folder
    folder.mkdir(parents=True, exist_ok=True)
    machine = {key: setup.machine[key] for key in ("processor", "processors", "kernels", "version")}
    (folder / "peers.json").write_text(json.dumps({**machine, "ceilings": setup.ceilings, "rows": rows}, indent=1))
    keys = ["row", "what", "peer", "level", "threads", "clock", "verdict", "gflops", "share_of_flops", "share_of_read",
            "not_measured"]
    with open(folder / "peers.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*keys, "ours", "theirs", "ratio", "ratio_least", "ratio_most", "rounds"])
        for row in rows:
            middle = [statistics.median(row[k]) for k in ("ours", "theirs", "ratios")] if "ratios" in row else [""] * 3
            ends = [min(row["ratios"]), max(row["ratios"]), len(row["ratios"])] if "ratios" in row else [""] * 3
            table.writerow([row.get(k, "") for k in keys] + middle + ends)


def arguments():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("rows", nargs="*", metavar="ROW", help="all unless told")
    parse.add_argument("--list", action="store_true", help="the rows")
    parse.add_argument("--program", default=ROOT / "build" / "qkscope")
    parse.add_argument("--make", default=ROOT / "build" / "bench" / "make_model")
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--threads", type=int, default=os.cpu_count())
    parse.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parse.add_argument("--prompt", type=int, default=512, help="tokens of prefill")
    parse.add_argument("--new", type=int, default=32, help="tokens of decode")
    parse.add_argument("--chunks", type=int, default=16, help="of 512 tokens, perplexity")
    parse.add_argument("--layers-1b", type=int, default=0, help="of 22 (all)")
    parse.add_argument("--layers-7b", type=int, default=4, help="of 32")
    parse.add_argument("--train-rows", type=int, default=8)
    parse.add_argument("--study-documents", type=int, default=10)
    parse.add_argument("--study-context", type=int, default=512)
    parse.add_argument("--limit", type=float, default=300, help="seconds that one round may take")
    parse.add_argument("--folder", type=Path, default=FOLDER, help="of random models and results")
    parse.add_argument("--keep", action="store_true", help="keep large random models")
    args = parse.parse_args()
    if args.clock == "processor" and args.threads != 1:
        parse.error("--clock processor: expected --threads 1: threads that wait would be counted")
    unknown = set(args.rows) - {row[0] for row in ROWS}
    if unknown:
        parse.error(f"unknown rows {', '.join(sorted(unknown))}; --list shows them")
    return args


def main():
    args = arguments()
    if args.list:
        print("\n".join(f"{name:20} against {peer}" for name, peer, *_ in ROWS))
        return
    setup, rows = Setup(args), []
    clock = "processor time of one thread" if setup.processor else "wall clock"
    print(f"{setup.machine['processor']}, {args.threads} threads of {setup.machine['processors']:.0f}, {setup.kernels}, level "
          f"{setup.level}, load {os.getloadavg()[0]:.1f}; {clock}, {args.rounds} rounds taking turns\n\n"
          "| row | against | ours, tokens/s | theirs | ratio | floor / goal | roofline of ours |\n" + "|---" * 7 + "|",
          flush=True)
    for spec in ROWS:
        if args.rows and spec[0] not in args.rows:
            continue
        print(f"peers: {spec[0]}", file=sys.stderr)
        rows.append(measure(setup, *spec))
        print(line(rows[-1]), flush=True)
        store(setup, rows)
    best = max(c["flops_per_second"] for c in setup.ceilings)
    unit = f"{setup.ceiling('bf16_flops_per_second') / 1e9:.0f} in bf16, " if setup.bf16_unit else ""
    print(f"\nceilings, {len(setup.ceilings)} times: {best / 1e9:.0f} GFLOP/s in f32 ({setup.ceilings[0]['unit']}) at best, "
          f"{setup.ceiling('flops_per_second') / 1e9:.0f} as the shares are counted, {unit}"
          f"{setup.ceiling('bytes_per_second') / 1e9:.1f} GB/s read; {args.folder / 'peers.json'}")


if __name__ == "__main__":
    main()
