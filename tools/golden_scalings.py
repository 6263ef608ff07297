#!/usr/bin/env python3
"""Makes tests/data/golden/scaling: one tiny checkpoint without a scaling, trained context 32, and the logits that
transformers computes of it under every rotary scaling, at the trained length, twice and four times it (factor 4).

    python tools/golden_scalings.py

METHOD-LENGTH.safetensors holds tokens, loss and hook_logits, as the files of golden.py do.  longrope-short-20 is the
`longrope` model beyond its original context with its short factors.  Development only.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

import golden
from golden import GOLDEN, Recorder, mean_nll, seeded, write_folder

FOLDER, CONTEXT, FACTOR, THETA, HEAD_DIM = GOLDEN / "scaling", 32, 4.0, 100.0, 16
SPEC = dict(kind="llama", vocab_size=32, head_dim=HEAD_DIM,
            max_position_embeddings=CONTEXT, dtype=torch.bfloat16, spelling="v5", **golden.rope(theta=THETA))
YARN = dict(rope_type="yarn", factor=FACTOR, original_max_position_embeddings=CONTEXT)
NTK = THETA * FACTOR ** (HEAD_DIM / (HEAD_DIM - 2))
METHODS = {  # what is put into rope_parameters
    "none": dict(),
    "linear": dict(rope_type="linear", factor=FACTOR),
    "ntk": dict(rope_theta=NTK),
    "ntk-parts": dict(YARN, attention_factor=1.0),
    "dynamic": dict(rope_type="dynamic", factor=2.0),
    "yarn": YARN,
    "llama3": dict(rope_type="llama3", factor=FACTOR, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=CONTEXT),
}


def record(folder, rope, tokens, name):
    """The model of `folder` with `rope` over its rope_parameters: logits in float64 of `tokens`."""
    make_config, make_model = golden.CLASSES["llama"]
    config = make_config.from_pretrained(folder)
    if rope:
        config = make_config.from_pretrained(folder, rope_parameters={**config.rope_parameters, **rope})
    if rope.get("rope_type") == "yarn":
        config.max_position_embeddings = int(CONTEXT * FACTOR)
    load = lambda dtype: make_model.from_pretrained(folder, config=config, dtype=dtype, attn_implementation="eager")
    tokens = torch.as_tensor(tokens, dtype=torch.int64).reshape(1, -1)
    logits = Recorder(load(torch.float64).eval()).run(tokens)["hook_logits"]
    plain = load(torch.float32).eval()(tokens, use_cache=False).logits.detach().double()
    deviation = ((plain - logits).abs().max() / logits.abs().max()).item()
    assert deviation < 1e-4, f"{name}: untouched transformers in float32 is {deviation:.1e} away"
    metadata = {"made": f"tools/golden_scalings.py, torch {torch.__version__}, transformers "
                        f"{transformers.__version__}; float64 (rotary tables in float32), stored as F32"}
    file = FOLDER / f"{name}.safetensors"
    save_file({"tokens": tokens, "loss": mean_nll(logits, tokens), "hook_logits": logits.float().contiguous()}, file,
              metadata)
    file.chmod(0o644)
    print(f"{name:20s} float32 {deviation:.1e}  {file.stat().st_size / 1e3:.0f} kB")


def main():
    random = write_folder(FOLDER, dict(SPEC), "scaling")
    tokens = torch.cat([torch.tensor([1]), torch.randint(3, 32, (4 * CONTEXT - 1,), generator=random)])
    for method, rope in METHODS.items():
        for length in (CONTEXT, 2 * CONTEXT, 4 * CONTEXT):
            record(FOLDER, rope, tokens[:length], f"{method}-{length}")
    with tempfile.TemporaryDirectory() as copy_of:
        folder = shutil.copytree(GOLDEN / "longrope", Path(copy_of) / "longrope")
        config = json.loads((folder / "config.json").read_text())
        config["rope_scaling"]["long_factor"] = config["rope_scaling"]["short_factor"]
        (folder / "config.json").write_text(json.dumps(config))
        record(folder, {}, tokens[:20], "longrope-short-20")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main()
