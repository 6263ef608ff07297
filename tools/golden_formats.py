#!/usr/bin/env python3
"""Writes golden models again as GGUF and as llama2.c .bin (after tools/golden.py; development only, wants gguf).

gqa-gguf/     the model of gqa as F32, F16, BF16, Q8_0 and Q4_0, with the logits of the rounded weights
qwen2-gguf/, qwen3-gguf/   BF16, the same numbers as the folders they are made from; their heads are not interleaved
llama3-gguf/, yarn-gguf/   BF16, as llama.cpp stores them: per-pair divisors as rope_freqs.weight, and YaRN's keys
mha-llama2c/  v0.bin and v1.bin, the same numbers as mha
"""

import json
import shutil
import struct

import gguf
import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file

from golden import GOLDEN, record

NAMES = {  # Hugging Face -> GGUF, within a layer
    "input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
WHOLE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}


def gguf_name(name):
    if name in WHOLE:
        return WHOLE[name]
    _, _, layer, rest = name.split(".", 3)
    for ours, theirs in NAMES.items():
        if rest.startswith(ours):
            return f"blk.{layer}.{theirs}{rest[len(ours):]}"
    raise KeyError(name)


def interleave(x, n_heads):
    """Rows of each head from halves (d, d + D/2) to neighbours (2d, 2d + 1)."""
    head_dim = x.shape[0] // n_heads
    order = np.arange(head_dim).reshape(2, head_dim // 2).T.ravel()
    return x.reshape(n_heads, head_dim, *x.shape[1:])[:, order].reshape(x.shape)


def separate(x, n_heads):
    """The way back."""
    head_dim = x.shape[0] // n_heads
    order = np.arange(head_dim).reshape(head_dim // 2, 2).T.ravel()
    return x.reshape(n_heads, head_dim, *x.shape[1:])[:, order].reshape(x.shape)


def heads_of(name, config):
    return {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}.get(name.split(".")[-2])


def read_folder(name):
    config = json.loads((GOLDEN / name / "config.json").read_text())
    tensors = load_file(GOLDEN / name / "model.safetensors")
    return config, {k: v.float().numpy() for k, v in tensors.items()}


def llama3_divisors(rope, theta, head_dim):
    """What divides each pair's frequency: 1 above the band, the factor below, in between a smooth way over."""
    wavelength = 2 * np.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = (rope["original_max_position_embeddings"] / wavelength - low) / (high - low)
    smooth = smooth.clip(0, 1)
    return (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)


def add_rope_scaling(writer, config, rope, head_dim):
    scaling = rope if "rope_type" in rope else rope.get("rope_scaling") or {}
    if scaling.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(scaling, rope["rope_theta"], head_dim))
    if scaling.get("rope_type") == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(scaling["factor"])
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(scaling["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(scaling["beta_slow"])


def write_gguf(path, config, tensors, dtype):
    """`tensors` as they shall lie in the file; vectors stay F32 as llama.cpp wants them."""
    kind = config["model_type"]
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    rope = config.get("rope_parameters") or config
    writer = gguf.GGUFWriter(path, kind)
    writer.add_name(path.parent.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    if kind == "llama":
        writer.add_rope_dimension_count(head_dim)
        writer.add_vocab_size(config["vocab_size"])
    add_rope_scaling(writer, config, rope, head_dim)
    writer.add_file_type({"F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q4_0": 2}[dtype.name])
    for name, x in tensors.items():
        kept = gguf.GGMLQuantizationType.F32 if x.ndim == 1 else dtype
        writer.add_tensor(gguf_name(name), gguf.quantize(x, kept), raw_dtype=kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_gguf(path, names):
    """Dequantised tensors under their Hugging Face names."""
    lying = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}
    return {name: np.array(lying[gguf_name(name)], dtype=np.float32) for name in names}


def fresh(name):
    folder = GOLDEN / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def tokens_of(name):
    with safe_open(GOLDEN / name / "golden.safetensors", "pt") as file:
        return file.get_tensor("tokens")


def reorder(change, tensors, config):
    """`change` done to the query and key rows of a Llama; llama.cpp leaves other families alone."""
    if config["model_type"] != "llama":
        return tensors
    return {k: change(x, heads_of(k, config)) if heads_of(k, config) else x for k, x in tensors.items()}


def make_gqa():
    folder = fresh("gqa-gguf")
    config, tensors = read_folder("gqa")
    for dtype in ("F32", "F16", "BF16", "Q8_0", "Q4_0"):
        path = folder / f"{dtype.lower()}.gguf"
        write_gguf(path, config, reorder(interleave, tensors, config), gguf.GGMLQuantizationType[dtype])
        if dtype == "F32":
            continue
        rounded = reorder(separate, read_gguf(path, tensors), config)
        moved = max(np.abs(rounded[k] - tensors[k]).max() for k in tensors)
        golden = f"golden-{dtype.lower()}.safetensors"
        _, loss, _ = record(GOLDEN / "gqa", tokens_of("gqa"), ("hook_q", "hook_k", "hook_resid_post", "hook_logits"),
                            folder / golden, rounded, f"weights of {path.name}")
        print(f"gqa-gguf {path.name:10s} loss {loss:.4f}  largest change of a weight {moved:.2e}")


def make_bf16(name):
    folder = fresh(f"{name}-gguf")
    config, tensors = read_folder(name)
    write_gguf(folder / "bf16.gguf", config, reorder(interleave, tensors, config), gguf.GGMLQuantizationType.BF16)
    rounded = reorder(separate, read_gguf(folder / "bf16.gguf", tensors), config)
    for key, x in tensors.items():
        assert np.array_equal(x, rounded[key]), key


def make_llama2c():
    folder = fresh("mha-llama2c")
    config, tensors = read_folder("mha")
    n_layers, n_heads, vocab = config["num_hidden_layers"], config["num_attention_heads"], config["vocab_size"]
    n_context, head_dim = config["max_position_embeddings"], config["hidden_size"] // n_heads
    header = [config["hidden_size"], config["intermediate_size"], n_layers, n_heads, config["num_key_value_heads"]]

    def layers(name):
        x = [tensors[f"model.layers.{i}.{name}.weight"] for i in range(n_layers)]
        return [interleave(w, n_heads) for w in x] if name.endswith(("q_proj", "k_proj")) else x

    norms = [layers("input_layernorm"), layers("post_attention_layernorm"), [tensors["model.norm.weight"]]]
    attention = [layers(f"self_attn.{x}_proj") for x in "qkvo"]
    gate, up, down = (layers(f"mlp.{x}_proj") for x in ("gate", "up", "down"))
    embedding, unembedding = [tensors["model.embed_tokens.weight"]], [tensors["lm_head.weight"]]
    angle = np.outer(np.arange(n_context), 10000.0 ** (-np.arange(0, head_dim, 2) / head_dim))
    tables = [[np.cos(angle).astype(np.float32)], [np.sin(angle).astype(np.float32)]]

    def write(name, head, groups):
        with open(folder / name, "wb") as file:
            file.write(head)
            for x in (x for group in groups for x in group):
                file.write(np.ascontiguousarray(x, dtype="<f4").tobytes())

    write("v0.bin", struct.pack("<7i", *header, -vocab, n_context),  # negative: an unembedding of its own follows
          [embedding, norms[0], *attention, norms[1], gate, down, up, norms[2], *tables, unembedding])
    head = struct.pack("<Ii7iB", 0x616B3432, 1, *header, vocab, n_context, 0)
    write("v1.bin", head.ljust(256, b"\0"),
          [*norms, embedding, *attention, gate, down, up, unembedding])


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    make_gqa()
    for name in ("qwen2", "qwen3", "llama3", "yarn"):
        make_bf16(name)
    make_llama2c()
