#!/usr/bin/env python3
"""Writes gradients.safetensors beside golden models: derivatives of a loss by weights, by transformers in float64.

    python tools/golden_gradients.py            all of MODELS below
    python tools/golden_gradients.py mha yarn   these

After tools/golden.py; development only.  The loss is the summed negative log-likelihood, in nats, of two or three short
sequences: each attends to itself only, counts positions from 0, and its first token is not predicted.  The file holds
`tokens` (I64, one sequence behind the other), `lengths` (I64), `loss` (F64) and gradients (F32) under the weights' own
names: all of them, or, where a model differs from another one in rotation or norms only, those of the weights before
the attention, the norms and the embeddings.
"""

import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers.models.llama.modeling_llama import repeat_kv

from golden import GOLDEN, load_model, make_exact, seeded

# model: lengths of the sequences, and whether every weight is kept
MODELS = {
    "mha": ([12, 2, 7], True),
    "gqa": ([12, 2, 7], True),
    "biases": ([9, 6], True),
    "qwen2": ([9, 6], True),
    "qwen3": ([9, 6], True),
    "mistral": ([11, 3, 6], True),  # window 5
    "nope": ([12, 2, 7], True),
    "qk-norm-nope": ([9, 6], True),
    "q-norm-nope": ([9, 6], False),
    "k-norm-nope": ([9, 6], False),
    "qwen2-window": ([11, 3, 6], False),
    "sharded-bf16": ([9, 6], False),
    "yarn": ([20, 7], False),      # original context 16
    "llama3": ([20, 7], False),
    "dynamic": ([20, 6], False),   # context 8: the first sequence has other frequencies than the second
    "longrope": ([20, 9], False),  # original context 16: long factors, then short ones
}
BEFORE_ATTENTION = ("q_proj", "k_proj", "norm", "embed", "lm_head")


def attend(module, query, key, value, mask, scaling, dropout=0.0, sliding_window=None, **_):
    """Causal attention with a window, written out; the mask of transformers is checked against it."""
    groups, n = query.shape[1] // key.shape[1], query.shape[2]
    back = torch.arange(n)[:, None] - torch.arange(n)[None, :]
    hidden = (back < 0) | (back >= (sliding_window or n))
    assert torch.equal(mask[0, 0] < 0, hidden), "the mask is not causal with this window"
    scores = query @ repeat_kv(key, groups).transpose(2, 3) * scaling
    pattern = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    return (pattern @ repeat_kv(value, groups)).transpose(1, 2), pattern


def gradients(model, sequences):
    """Sum of the losses, and {name: gradient}."""
    total = 0.0
    for tokens in sequences:
        logits = model(tokens[None], use_cache=False).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="sum")
        loss.backward()
        total += loss.item()
    return total, {name: p.grad for name, p in model.named_parameters()}


def make(name):
    lengths, whole = MODELS[name]
    folder = GOLDEN / name
    random = seeded(name + " gradients")
    tokens = torch.randint(1, 96, (sum(lengths),), generator=random)
    sequences = tokens.split(lengths)
    exact = load_model(folder, torch.float64)
    make_exact(exact, attend)
    loss, expected = gradients(exact, sequences)
    _, plain = gradients(load_model(folder, torch.float32), sequences)
    worst, where = max(((plain[n].double() - g).abs().max().item() / g.abs().max().item(), n)
                       for n, g in expected.items())
    assert worst < 1e-4, f"{name}: untouched transformers in float32 is {worst:.1e} away at {where}"
    kept = {n: g.float().contiguous() for n, g in expected.items() if whole or any(w in n for w in BEFORE_ATTENTION)}
    metadata = {"made": f"tools/golden_gradients.py, torch {torch.__version__}, transformers "
                        f"{transformers.__version__}; float64 (rotary tables in float32), stored as F32"}
    save_file({"tokens": tokens, "lengths": torch.tensor(lengths), "loss": torch.tensor([loss], dtype=torch.float64),
               **kept}, folder / "gradients.safetensors", metadata)
    (folder / "gradients.safetensors").chmod(0o644)
    print(f"{name:15s} {len(kept):2d} of {len(expected):2d} tensors, loss {loss:8.4f}, float32 is {worst:.1e} away at "
          f"{where}, {(folder / 'gradients.safetensors').stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in sys.argv[1:] or MODELS:
        if name in MODELS or not (GOLDEN / name).is_dir():
            make(name)
        else:
            print(f"{name:15s} has no gradients")
