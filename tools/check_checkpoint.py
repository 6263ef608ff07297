#!/usr/bin/env python3
"""Opens a Hugging Face folder that qkscope wrote with transformers, and compares what both compute.

    python tools/check_checkpoint.py MODEL [--text FILE] [--tokens N] [--tolerance 2e-5] [--program build/qkscope]

Three checks: transformers finds every weight it wants, of the right shape, and none that it does not know; its
tokenizer gives the same ids for the text (where the folder has one); and with those ids every projected query, key and
value, the residual stream and the logits agree with `qkscope verify` (weights as stored, upcast to float64; the logits
of the untouched model in float32 must agree with those to 1e-4).  Fails when one does not.  Development only: wants
torch, transformers and safetensors.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import drope_model  # registers llama_drope and qwen2_drope
from golden import Recorder, mean_nll

SITES = ("hook_q", "hook_k", "hook_v", "hook_rot_q", "hook_rot_k", "hook_resid_post", "hook_logits")
BUILTIN = Path(__file__).resolve().parent.parent / "src" / "text" / "builtin"


def open_model(folder, dtype):
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[what]:
            sys.exit(f"{folder}: {what}: expected none, found {sorted(info[what])}")
    return model.eval()


def qkscope_ids(program, folder, file):
    out = subprocess.run([program, "tokenize", folder, "--file", file, "--json"], capture_output=True, text=True)
    return json.loads(out.stdout)["ids"] if out.returncode == 0 else None


def same_ids(program, folder, file):
    """Ids of the text by both; None where the folder has no tokenizer."""
    if not (folder / "tokenizer.json").is_file():
        print("tokenizer    none in the folder: random ids")
        return None
    ours = qkscope_ids(program, folder, file)
    theirs = AutoTokenizer.from_pretrained(folder)(Path(file).read_text(encoding="utf-8"))["input_ids"]
    if ours != theirs:
        at = next((i for i, pair in enumerate(zip(ours or [], theirs)) if pair[0] != pair[1]), "the end")
        sys.exit(f"{folder}: tokenizer: {len(ours or [])} ids by qkscope, {len(theirs)} by transformers, "
                 f"unequal from {at}")
    print(f"tokenizer    {len(ours)} ids of {file}: equal")
    return ours


def verify(program, folder, golden, tolerance):
    command = [program, "verify", folder, golden, "--tolerance", str(tolerance), "--json", "-q"]
    out = subprocess.run(command, capture_output=True, text=True)
    sys.stderr.write(out.stderr)
    return out.returncode, json.loads(out.stdout or "{}")


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("model", type=Path)
    parse.add_argument("--text", default=sorted(BUILTIN.glob("literary*.txt"))[0])
    parse.add_argument("--tokens", type=int, default=0, help="at most (the context)")
    parse.add_argument("--tolerance", type=float, default=2e-5)
    parse.add_argument("--program", default="build/qkscope")
    args = parse.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

    model = open_model(args.model, torch.float64)
    config = model.config
    n_weights = sum(p.numel() for p in model.parameters())
    print(f"weights      {n_weights} parameters in {config.model_type}, none missing or unknown")
    n = min(args.tokens or config.max_position_embeddings, config.max_position_embeddings)
    ids = same_ids(args.program, args.model, args.text)
    if ids is None:
        ids = torch.randint(config.vocab_size, (n,), generator=torch.Generator().manual_seed(1)).tolist()
    tokens = torch.tensor([ids[:n]])
    sites = Recorder(model).run(tokens)
    with torch.no_grad():
        plain = open_model(args.model, torch.float32)(tokens, use_cache=False).logits
    deviation = ((plain - sites["hook_logits"]).abs().max() / plain.abs().max()).item()
    if not deviation < 1e-4:
        sys.exit(f"{args.model}: transformers itself: logits in float32 are {deviation:.1e} away from those in float64")
    kept = {k: v.float().contiguous() for k, v in sites.items() if k.split(".")[-1] in SITES}
    with tempfile.TemporaryDirectory() as scratch:
        golden = Path(scratch) / "golden.safetensors"
        save_file({"tokens": tokens, **kept}, golden)
        status, found = verify(args.program, args.model, golden, args.tolerance)
    worst = max(found["sites"], key=lambda s: s["max_rel"]) if found.get("sites") else {}
    loss, n_seen = mean_nll(sites["hook_logits"], tokens).item(), len(found.get("sites", []))
    print(f"transformers {loss:.6f} nats per token over {tokens.shape[1]} tokens")
    print(f"verify       {'FAILED' if status else 'passed'}: {n_seen} of {len(kept)} tensors looked at, "
          f"worst {worst.get('max_rel', float('nan')):.1e} of the largest entry at {worst.get('site', 'none')}")
    if not status and n_seen != len(kept):
        sys.exit(f"{args.model}: verify: expected {len(kept)} tensors, found {n_seen}")
    return status


if __name__ == "__main__":
    sys.exit(main())
