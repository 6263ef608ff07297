#!/usr/bin/env python3
"""The study `disrupt` as one would write it with transformers and forward hooks, timed beside qkscope in one run.

    python bench/torch_disrupt.py MODEL --calib FILE --texts FILE [--split S] [-c 512] [--lambda 5] [--rounds 3]

Masks come from the calibration documents (M normalised by the root of the tokens, averaged, strict > lambda x mean of
the layer); then every evaluation document is scored under 12 conditions: baseline, massive query and key dims zeroed before
the rotation, and ten random controls of equal count that exclude them.  Both programs see the same token ids, run in
turns on the same threads, and load their model within the time.  Prints one JSON object; fails where the two disagree
on the baseline or on the massive condition.  Development only: wants torch and transformers.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM


def read_documents(path, split, limit):
    text = Path(path).read_text(encoding="utf-8")
    pieces = [p.strip() for p in text.split(split)] if split else [text]
    return [p for p in pieces if p][:limit]


def token_ids(program, model, text):
    """qkscope's own ids: the tokenizer is not what is compared."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        command = [program, "tokenize", model, "--file", file.name, "--json"]
        out = subprocess.run(command, check=True, capture_output=True)
    return json.loads(out.stdout)["ids"]


class Study:
    def __init__(self, folder, dtype):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()
        self.attention = [layer.self_attn for layer in self.model.model.layers]

    def projections(self):
        return [(l, t, getattr(a, f"{t}_proj")) for l, a in enumerate(self.attention) for t in "qk"]

    def score(self, ids):
        logits = self.model(ids, use_cache=False).logits[0, :-1]
        return torch.nn.functional.cross_entropy(logits.float(), ids[0, 1:], reduction="sum").item()

    def with_hooks(self, make_hook, call):
        hooks = [p.register_forward_hook(make_hook(l, t)) for l, t, p in self.projections()]
        try:
            return call()
        finally:
            for hook in hooks:
                hook.remove()

    def masks(self, documents, factor):
        maps = {}
        for ids in documents:
            def make_hook(l, t):
                def hook(_, __, out):
                    norms = out[0].double().pow(2).sum(0).sqrt() / ids.shape[1] ** 0.5
                    maps[l, t] = maps.get((l, t), 0) + norms / len(documents)
                return hook
            self.with_hooks(make_hook, lambda: self.score(ids))
        return {key: m > factor * m.mean() for key, m in maps.items()}

    def score_all(self, documents, masks):
        def make_hook(l, t):
            return lambda _, __, out: out.masked_fill(masks[l, t], 0) if masks else None
        return [self.with_hooks(make_hook, lambda: self.score(ids)) for ids in documents]

    @torch.inference_mode()
    def run(self, calibration, evaluation, factor, n_controls):
        masks = self.masks(calibration, factor)
        conditions = [{}, masks]
        for seed in range(42, 42 + n_controls):
            random = torch.Generator().manual_seed(seed)
            control = {}
            for key, mask in masks.items():
                others = (~mask).nonzero()[:, 0]
                control[key] = torch.zeros_like(mask)
                control[key][others[torch.randperm(len(others), generator=random)[:int(mask.sum())]]] = True
            conditions.append(control)
        return masks, [self.score_all(evaluation, c) for c in conditions]


def run_torch(arguments, calibration, evaluation):
    start = time.perf_counter()
    study = Study(arguments.model, getattr(torch, arguments.dtype))
    masks, scores = study.run(calibration, evaluation, arguments.factor, arguments.controls)
    seconds = time.perf_counter() - start
    dims = {t: int(sum(m.sum() for (_, u), m in masks.items() if u == t)) for t in "qk"}
    return seconds, dims, scores


def write_documents(folder, name, documents):
    path = Path(folder) / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"text": d, "id": f"{name}{i}"}) + "\n" for i, d in enumerate(documents)))
    return str(path)


def run_qkscope(arguments, calibration, evaluation):
    command = [arguments.qkscope, "disrupt", arguments.model, "--calib", calibration, "--texts", evaluation, "-c",
               str(arguments.context), "--lambda", str(arguments.factor), "--seeds", str(arguments.controls), "-t",
               str(arguments.threads), "--precision", arguments.precision, "--json", "--no-run", "-q"]
    start = time.perf_counter()
    out = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if out.returncode:
        sys.exit(f"{' '.join(command)}\n{out.stderr}")
    results = json.loads(out.stdout)
    scores = {}
    for row in results["scores"]:
        scores.setdefault(row["condition"], []).append(row["nll"])
    dims = next(c["dims"] for c in results["conditions"] if c["name"] == "massive")
    return seconds, {t: dims[t] for t in "qk"}, [scores["baseline"], scores["massive"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--calib", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--split")
    parser.add_argument("--documents", type=int, default=10, help="of each kind; one file for both is divided")
    parser.add_argument("--controls", type=int, default=10)
    parser.add_argument("--lambda", dest="factor", type=float, default=5)
    parser.add_argument("-c", "--context", type=int, default=512)
    parser.add_argument("-t", "--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", default="float32", help="of torch: float32 or bfloat16")
    parser.add_argument("--precision", default="auto", help="of qkscope")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--qkscope", default="build/qkscope")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(arguments.threads)

    n = arguments.documents
    evaluation = read_documents(arguments.texts, arguments.split, n)
    same = Path(arguments.texts).samefile(arguments.calib)
    calibration = read_documents(arguments.calib, arguments.split, 2 * n if same else n)[n if same else 0:]
    ids = [[torch.tensor([token_ids(arguments.qkscope, arguments.model, d)[:arguments.context]]) for d in set_]
           for set_ in (calibration, evaluation)]
    times = {"torch": [], "qkscope": []}
    with tempfile.TemporaryDirectory() as folder:
        files = write_documents(folder, "c", calibration), write_documents(folder, "e", evaluation)
        for _ in range(arguments.rounds):  # in turns, so that a busy machine slows both
            seconds, dims, scores = run_torch(arguments, *ids)
            times["torch"].append(seconds)
            seconds, our_dims, our_scores = run_qkscope(arguments, *files)
            times["qkscope"].append(seconds)
    tokens = sum(d.shape[1] - 1 for d in ids[1])
    per_token = [sum(s) / tokens for s in scores]
    ours = [sum(s) / tokens for s in our_scores]
    best = {k: min(v) for k, v in times.items()}
    print(json.dumps({"model": arguments.model, "conditions": 2 + arguments.controls, "documents": len(ids[1]),
                      "tokens": tokens, "dims": dims, "threads": arguments.threads, "dtype": arguments.dtype,
                      "precision": arguments.precision, "seconds": times, "best": best,
                      "torch_over_qkscope": best["torch"] / best["qkscope"],
                      "nll_per_token": {"torch": per_token[:2], "qkscope": ours}, "machine": platform.processor(),
                      "torch": torch.__version__, "transformers": transformers.__version__}, indent=1))
    tolerance = 1e-4 if arguments.dtype == "float32" and arguments.precision != "bf16" else 0.05
    if dims != our_dims or any(abs(a - b) > tolerance for a, b in zip(per_token, ours)):
        sys.exit(f"the two disagree: dims {dims} and {our_dims}, nats per token {per_token[:2]} and {ours}")


if __name__ == "__main__":
    main()
