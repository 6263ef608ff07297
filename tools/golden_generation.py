#!/usr/bin/env python3
"""Makes tests/data/golden/generation.safetensors: what transformers says behind a prompt, likeliest token by likeliest
token, with its cache of keys and values, for the golden models (tools/golden.py).

    python tools/golden_generation.py

For each model NAME: NAME.prompt, NAME.new (I64), and NAME.logits (F32), which the last new token was chosen from.  A
continuation ends where the two likeliest tokens come closer than MARGIN, so that rounding cannot choose another one.
Where the rotation depends on the length (dynamic, longrope), cached and recomputed logits differ: the cache's are kept.
"""

import json

import torch
import transformers
from safetensors.torch import load_file, save_file

from golden import GOLDEN, load_model

MODELS = ("mha", "gqa", "qwen2", "qwen2-window", "qwen3", "mistral", "biases", "nope", "qk-norm-nope", "qwen2-drope",
          "linear", "dynamic", "yarn", "llama3", "longrope")
MARGIN, MOST, PROMPT = 2e-3, 40, 7


def choose(logits):
    top = logits.topk(2)
    return int(top.indices[0]), float(top.values[0] - top.values[1]) / float(logits.abs().max())


@torch.no_grad()
def go_on(model, prompt, most, keep):
    """New tokens, and the logits that the last one was chosen from; with `keep` through a cache."""
    new, cache, tokens, last = [], None, prompt, None
    while len(new) < most:
        out = model(torch.tensor([tokens]), past_key_values=cache, use_cache=keep)
        token, margin = choose(out.logits[0, -1])
        if keep and margin < MARGIN:
            break
        new, last = new + [token], out.logits[0, -1].clone()
        cache, tokens = (out.past_key_values, [token]) if keep else (None, prompt + new)
    return new, last


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    tensors = {}
    for name in MODELS:
        model = load_model(GOLDEN / name, torch.float32)
        prompt = load_file(GOLDEN / name / "golden.safetensors")["tokens"][0, :PROMPT].tolist()
        config = json.loads((GOLDEN / name / "config.json").read_text())
        most = min(MOST, max(config["max_position_embeddings"], 48) - PROMPT)
        keep = "norm_nope" not in config.get("attention_type", "")  # drope_model.py's norms take no cache
        new, logits = go_on(model, prompt, most, keep)
        other, again = go_on(model, prompt, len(new), False)
        away = ((logits - again).abs().max() / logits.abs().max()).item() if new == other else float("nan")
        print(f"{name:15s} {len(new)} tokens, {len(set(new))} of them different; recomputed: "
              f"{'alike' if new == other else 'other tokens'}, logits {away:.1e} away")
        tensors[f"{name}.prompt"] = torch.tensor(prompt, dtype=torch.int64)
        tensors[f"{name}.new"] = torch.tensor(new, dtype=torch.int64)
        tensors[f"{name}.logits"] = logits
    made = f"tools/golden_generation.py, torch {torch.__version__}, transformers {transformers.__version__}"
    save_file(tensors, GOLDEN / "generation.safetensors", {"made": made})
    (GOLDEN / "generation.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
