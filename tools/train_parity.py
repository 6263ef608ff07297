#!/usr/bin/env python3
"""Trains small models with `qkscope train` and with PyTorch, from the same weights on the same data, and compares.

    python tools/train_parity.py [CASE..] [--steps 50] [--tolerance 1e-3] [--program build/qkscope]

Fails when the loss of a step differs by more than the tolerance (nats per token).  Gradient norms before clipping must
agree to 1e-2 relative, learning rates to 1e-6; the weights after the last step are compared too.  Both sides compute in
float32.  Development only: wants torch, transformers and safetensors.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

import torch_training as reference
from golden import CLASSES, GOLDEN, rope, seeded

BUILTIN = GOLDEN.parents[2] / "src" / "text" / "builtin"
SHAPE = dict(vocab_size=512, hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=6,
             num_key_value_heads=2, head_dim=16, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=0,
             eos_token_id=None, tie_word_embeddings=True)
CONTEXT, ROWS, SEED = 128, 8, 7
WARMUP, HEIGHT, LEAST = 10, 2e-3, 0.1
DECAY, BETAS, EPSILON, CLIP = 0.1, (0.9, 0.95), 1e-8, 1.0

# case: model, attention across documents?, further options of qkscope
CASES = {
    "across": (dict(kind="llama", tie_word_embeddings=False), True, []),
    "documents": (dict(kind="llama", tie_word_embeddings=False), False, []),
    "tied": (dict(kind="llama"), False, ["--micro", "3"]),
    "recomputed": (dict(kind="llama"), False, ["--recompute", "--micro", "2"]),
    "qwen2": (dict(kind="qwen2"), False, []),
    "qwen3": (dict(kind="qwen3"), False, []),
    "nope": (dict(kind="llama_drope"), True, []),
    "qk-norm-nope": (dict(kind="llama_drope", attention_type="qk_norm_nope"), False, []),
}


def run(command):
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {out.returncode}: {out.stderr.strip()}")
    return out.stdout


@torch.no_grad()
def make_start(folder, name, keys):
    keys = {**SHAPE, **(rope() if not keys["kind"].endswith("drope") else {}), **keys}
    make_config, make_model = CLASSES[keys.pop("kind")]
    model, random = make_model(make_config(**keys)), seeded(name)
    for _, p in sorted(model.named_parameters()):
        p.copy_((p.dim() == 1) * (1.0 if p.mean() > 0.5 else 0.0) + 0.04 * torch.randn(p.shape, generator=random))
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GOLDEN / "demo" / file, folder)
    return model


def train_here(args, start, texts, out, options):
    texts = ["--texts", texts, "--hold-out", "0", "--valid-every", "0", "--save-every", "0"]
    numbers = ["--steps", args.steps, "--batch", ROWS, "-c", CONTEXT, "--warmup", WARMUP, "--lr", HEIGHT,
               "--min-lr", LEAST, "--schedule", "cosine", "--weight-decay", DECAY, "--beta1", BETAS[0],
               "--beta2", BETAS[1], "--epsilon", EPSILON, "--clip", CLIP, "--seed", SEED, "--precision", "f32"]
    run([args.program, "train", start, "-o", out, "-q", *map(str, texts + numbers), *options])
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def write_documents(folder):
    """The built-in texts in pieces of one to nine sentences: several lie in a row, and some are longer than one."""
    folder.mkdir()
    sentences = [s for file in sorted(BUILTIN.glob("*.txt"))
                 for s in re.split(r"(?<=[.?!])\s+", file.read_text("utf-8")) if s]
    for index in range(len(sentences)):
        piece, sentences = sentences[:1 + 4 * index % 9], sentences[1 + 4 * index % 9:]
        if piece:
            (folder / f"{index:04d}.txt").write_text(" ".join(piece), "utf-8")


def read_documents(program, folder):
    """As qkscope reads the folder: in order of names, each with the tokens that it makes of it."""
    command = lambda file: [program, "tokenize", GOLDEN / "demo", "--file", file, "--json"]
    return [json.loads(run(command(file)))["ids"] for file in sorted(folder.glob("*.txt"))]


def train_there(args, model, documents, across):
    source, log = reference.rows(documents, CONTEXT, SEED), []
    optimiser = reference.make_optimiser(model, BETAS, EPSILON, DECAY)
    for step in range(args.steps):
        tokens, pieces = reference.batch_of([next(source) for _ in range(ROWS)])
        rate = reference.learning_rate(step, HEIGHT, args.steps, WARMUP, LEAST)
        loss = reference.loss_of(model, tokens, pieces, across)
        loss, norm = reference.step(model, optimiser, loss, rate, CLIP)
        log.append({"loss": loss, "grad_norm": norm, "lr": rate})
    return log


def weights_of(folder):
    """Of the newest checkpoint."""
    return load_file(sorted(folder.glob("checkpoints/step-*"))[-1] / "model.safetensors")


def compare(args, name, ours, theirs, weights, model):
    if len(ours) != len(theirs):
        sys.exit(f"{name}: expected {len(theirs)} steps in log.jsonl, found {len(ours)}")
    apart = lambda key: [abs(a[key] - b[key]) for a, b in zip(ours, theirs)]
    worst, rate = max(apart("loss")), max(a / b["lr"] for a, b in zip(apart("lr"), theirs))
    norm = max(a / b["grad_norm"] for a, b in zip(apart("grad_norm"), theirs))
    expected = dict(model.named_parameters())
    drift = max(((weights[n] - p).norm() / p.norm()).item() for n, p in expected.items())
    good = worst <= args.tolerance and norm <= 1e-2 and rate <= 1e-6
    size = sum(p.numel() for p in expected.values())
    print(f"{name:13s} {size} parameters, loss {theirs[0]['loss']:.4f} to {theirs[-1]['loss']:.4f}: at most "
          f"{worst:.1e} apart (step {apart('loss').index(worst) + 1}); gradient norm {norm:.1e}, weights at the end {drift:.1e} "
          f"relative: {'ok' if good else 'FAILED'}", flush=True)
    return good


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("cases", nargs="*", default=[], metavar="CASE")
    parse.add_argument("--steps", type=int, default=50)
    parse.add_argument("--tolerance", type=float, default=1e-3)
    parse.add_argument("--program", default="build/qkscope")
    args = parse.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    good = True
    with tempfile.TemporaryDirectory() as scratch:
        texts = Path(scratch) / "texts"
        write_documents(texts)
        documents = read_documents(args.program, texts)
        lengths = sorted(map(len, documents))
        print(f"{len(documents)} documents of {lengths[0]} to {lengths[-1]} tokens, {sum(lengths)} in all; "
              f"{args.steps} steps of {ROWS} rows of {CONTEXT} tokens", flush=True)
        for name in args.cases or CASES:
            keys, across, options = CASES[name]
            start, out = Path(scratch) / f"{name}-start", Path(scratch) / f"{name}-run"
            model = make_start(start, name, keys)
            ours = train_here(args, start, texts, out, options + (["--across-documents"] if across else []))
            theirs = train_there(args, model, documents, across)
            good = compare(args, name, ours, theirs, weights_of(out), model) and good
    return 0 if good else 3


if __name__ == "__main__":
    sys.exit(main())
