#!/usr/bin/env python3
"""Writes tests/data/golden/quantized: weights as bitsandbytes (NF4) and gguf (Q8_0) quantise them (development only;
wants bitsandbytes and gguf, after tools/golden.py).

blocks.safetensors   for each matrix of SHAPES, whose numbers a test can make again: NF4 codes, two a byte, and scales
                     after the second quantisation (not of `huge`); f32 of the smallest; the SHA-256 of all as f32 in
                     NAME.sha256; the 256 values that scales are quantised to; Q8_0 blocks where rows divide
nf4.safetensors      the model of ../gqa with the matrices of its layers in NF4: the weights, and what transformers makes
                     of them
q8_0.safetensors     the same in Q8_0
f16-nf4.safetensors  the weights of ../f16 in NF4

PyTorch runs with one thread: its mean of the scales depends on their number.

bitsandbytes computes with its portable kernels, without its native library: that library's CPU kernel looks scales up
in a table of 65,536 steps, while the CUDA kernel and the portable one take the nearest value.
"""

import os

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # as written, not as a compiler fuses it

import ctypes
import hashlib

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from golden import GOLDEN, record


def portable_bitsandbytes():
    """Import it with its native library out of reach."""
    load = ctypes.cdll.LoadLibrary

    def refuse(name):
        if "bitsandbytes" in str(name):
            raise OSError("not wanted")
        return load(name)

    ctypes.cdll.LoadLibrary = refuse
    import bitsandbytes
    ctypes.cdll.LoadLibrary = load
    assert "Mock" in type(bitsandbytes.cextension.lib).__name__
    return bitsandbytes


bitsandbytes = portable_bitsandbytes()
F = bitsandbytes.functional
FOLDER = GOLDEN / "quantized"
NOTE = (f"tools/golden_quantized.py, bitsandbytes {bitsandbytes.__version__} (portable kernels), "
        f"torch {torch.__version__}")
SHAPES = {"whole": (64, 64), "ragged": (7, 33), "few": (1, 5), "rows": (96, 200), "odd": (31, 97), "large": (512, 344),
          "huge": (2048, 1100)}


def made(n_rows, n_cols, seed):
    """Sums of four uniform numbers, a factor a row; whole numbers before the last step, so that any language agrees."""
    state, sums = seed, np.zeros((n_rows, n_cols), dtype=np.float32)
    for i in range(sums.size):
        total = 0
        for _ in range(4):
            state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
            total += (state >> 43) - (1 << 20)
        sums.ravel()[i] = total
    factor = np.float32(1) + (np.arange(n_rows) % 7).astype(np.float32)
    out = sums * np.float32(2.0 ** -23) * factor[:, None]
    if out.size > 2 * 64 * 64:  # a block of zeros alone
        out.ravel()[128:192] = 0
    return torch.from_numpy(out)


def nf4(x):
    """Codes, scales after the second quantisation, and numbers as f32."""
    packed, state = F.quantize_4bit(x, blocksize=64, compress_statistics=True, quant_type="nf4")
    scales = F.dequantize_blockwise(state.absmax, state.state2) + state.offset
    numbers = F.dequantize_4bit(packed, state)
    assert numbers.dtype == x.dtype
    return packed.flatten(), scales, numbers.float()


def write_blocks():
    out, metadata = {"dynamic": F.create_dynamic_map()}, {"made": NOTE + f", gguf {gguf_version()}"}
    for seed, (name, shape) in enumerate(SHAPES.items()):
        x = made(*shape, seed)
        codes, scales, numbers = nf4(x)
        if x.numel() < 1000000:
            out[f"{name}.codes"], out[f"{name}.scales"] = codes, scales
        if x.numel() < 500:
            out[f"{name}.numbers"] = numbers.contiguous()
        digest = hashlib.sha256(numbers.numpy().tobytes()).digest()
        out[f"{name}.sha256"] = torch.tensor(list(digest), dtype=torch.uint8)
        if shape[1] % 32 == 0 and x.numel() < 20000:
            q8 = gguf.quantize(x.numpy(), gguf.GGMLQuantizationType.Q8_0)
            out[f"{name}.q8_0"] = torch.from_numpy(q8.copy()).flatten()
        print(f"{name:8s} {scales.numel()} blocks")
    save(out, "blocks.safetensors", metadata)


def gguf_version():
    from importlib.metadata import version
    return version("gguf")


def save(tensors, name, metadata):
    save_file({k: v.contiguous() for k, v in tensors.items()}, FOLDER / name, metadata)
    (FOLDER / name).chmod(0o644)


def is_matrix(name):
    return name.endswith("_proj.weight")


def q8_0(x):
    blocks = gguf.quantize(x.float().numpy(), gguf.GGMLQuantizationType.Q8_0)
    return torch.from_numpy(gguf.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0).copy())


def write_model(name, quantize):
    weights = load_file(GOLDEN / "gqa" / "model.safetensors")
    rounded = {k: quantize(v) if is_matrix(k) else v for k, v in weights.items()}
    tokens = load_file(GOLDEN / "gqa" / "golden.safetensors")["tokens"]
    sites, loss, _ = record(GOLDEN / "gqa", tokens, ("hook_resid_post", "hook_logits"),
                            FOLDER / f"{name}.safetensors", rounded, f"layers in {name}")
    kept = load_file(FOLDER / f"{name}.safetensors")
    save({**kept, **{k: v for k, v in rounded.items() if is_matrix(k)}}, f"{name}.safetensors", {"made": NOTE})
    print(f"gqa in {name}: loss {loss:.4f}")


def write_f16():
    """Half precision in, f32 out: what is rounded last, to the type of the file, is left out."""
    weights = load_file(GOLDEN / "f16" / "model.safetensors")
    out = {}
    for key, x in weights.items():
        if is_matrix(key):
            packed, state = F.quantize_4bit(x, blocksize=64, compress_statistics=True, quant_type="nf4")
            wide = nf4(x.float())[2]
            assert torch.equal(F.dequantize_4bit(packed, state), wide.to(x.dtype)), key
            out[key] = wide
    save(out, "f16-nf4.safetensors", {"made": NOTE})


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    write_blocks()
    write_model("nf4", lambda x: nf4(x)[2])
    write_model("q8_0", q8_0)
    write_f16()
