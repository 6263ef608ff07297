#!/usr/bin/env python3
"""Makes the golden models of tests/data/golden: tiny checkpoints as Hugging Face writes them, and beside each one
golden.safetensors with the activation at every site of include/qkscope.h, computed by transformers in float64.

    python tools/golden.py            all models
    python tools/golden.py mha yarn   these

Development only: wants torch, transformers and safetensors; building and testing qkscope does not.  Weights are random
but seeded by the set's name, so a rerun with the same versions writes the same bytes.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from types import MethodType

import torch
import transformers
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import repeat_kv

from drope_model import LlamaDropeConfig, LlamaDropeForCausalLM, Qwen2DropeConfig, Qwen2DropeForCausalLM

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "data" / "golden"


CLASSES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "llama_drope": (LlamaDropeConfig, LlamaDropeForCausalLM),
    "qwen2_drope": (Qwen2DropeConfig, Qwen2DropeForCausalLM),
}


# ---- recording -------------------------------------------------------------------------------------------------------


def exact_rms_norm(self, x):
    """RMSNorm in the input's own precision (transformers goes through float32, which would spoil a float64 run)."""
    return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


def make_exact(model, attend):
    """Norms and attention (`attend`) without detours through float32."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = MethodType(exact_rms_norm, module)
    ALL_ATTENTION_FUNCTIONS.register("golden", attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register("golden", ALL_MASK_ATTENTION_FUNCTIONS["eager"])
    model.set_attn_implementation("golden")


class Recorder:
    """Runs a model once and keeps what stands at each site, under its name, in the order of the forward pass."""

    def __init__(self, model):
        self.model = model
        self.sites = {}
        self.hooks = []
        self.head_dim = model.model.layers[0].self_attn.head_dim

    def put(self, name, x):
        self.sites[name] = x.detach()

    def heads(self, x):
        return x.reshape(*x.shape[:2], -1, self.head_dim)

    def on_output(self, module, name, shape=lambda x: x):
        def hook(_, __, out):
            self.put(name, shape(out[0] if isinstance(out, tuple) else out))

        self.hooks.append(module.register_forward_hook(hook))

    def on_input(self, module, name):
        self.hooks.append(module.register_forward_pre_hook(lambda _, args: self.put(name, args[0])))

    def attend(self, module, query, key, value, mask, scaling, dropout=0.0, sliding_window=None, **_):
        """The attention between rotation and output matrix; transformers' mask is checked against our reading of it."""
        name = f"blocks.{module.layer_idx}.attn."
        self.put(name + "hook_rot_q", query.transpose(1, 2))
        self.put(name + "hook_rot_k", key.transpose(1, 2))
        groups = query.shape[1] // key.shape[1]
        scores = query @ repeat_kv(key, groups).transpose(2, 3) * scaling
        n = query.shape[2]
        back = torch.arange(n)[:, None] - torch.arange(n)[None, :]
        hidden = (back < 0) | (back >= (sliding_window or n))
        assert torch.equal(mask[0, 0] < 0, hidden), "the mask is not causal with this window"
        scores = scores.masked_fill(hidden, -torch.inf)
        pattern = scores.softmax(-1)
        z = (pattern @ repeat_kv(value, groups)).transpose(1, 2)
        self.put(name + "hook_attn_scores", scores)
        self.put(name + "hook_pattern", pattern)
        self.put(name + "hook_z", z)
        return z, pattern

    def hook_layer(self, index, layer):
        name = f"blocks.{index}."
        attention, mlp = layer.self_attn, layer.mlp
        self.on_input(layer.input_layernorm, name + "hook_resid_pre")
        self.on_output(layer.input_layernorm, name + "ln1.hook_out")
        for letter in "qkv":
            self.on_output(getattr(attention, f"{letter}_proj"), f"{name}attn.hook_{letter}", self.heads)
        for letter in "qk":
            if hasattr(attention, f"{letter}_norm"):
                self.on_output(getattr(attention, f"{letter}_norm"), f"{name}attn.hook_{letter}_normed", self.heads)
        self.on_output(attention, name + "hook_attn_out")
        self.on_input(layer.post_attention_layernorm, name + "hook_resid_mid")
        self.on_output(layer.post_attention_layernorm, name + "ln2.hook_out")
        self.on_output(mlp.gate_proj, name + "mlp.hook_pre")
        self.on_output(mlp.up_proj, name + "mlp.hook_pre_linear")
        self.on_input(mlp.down_proj, name + "mlp.hook_post")
        self.on_output(mlp, name + "hook_mlp_out")
        self.on_output(layer, name + "hook_resid_post")

    @torch.no_grad()
    def run(self, tokens):
        model = self.model
        make_exact(model, self.attend)
        self.on_output(model.model.embed_tokens, "hook_embed")
        for index, layer in enumerate(model.model.layers):
            self.hook_layer(index, layer)
        self.on_output(model.model.norm, "ln_final.hook_out")
        self.on_output(model.lm_head, "hook_logits")
        model(tokens, use_cache=False)
        for hook in self.hooks:
            hook.remove()
        return self.sites


def mean_nll(logits, tokens):
    log_p = logits[0, :-1].double().log_softmax(-1)
    return -log_p.gather(1, tokens[0, 1:, None]).mean().reshape(1)


def record(folder, tokens, kinds=None, name="golden.safetensors", weights=None, note=""):
    """Load `folder` as transformers reads it, upcast to float64, run `tokens`, write `name` into the folder."""
    load = lambda dtype: load_model(folder, dtype, weights)
    tokens = torch.as_tensor(tokens, dtype=torch.int64).reshape(1, -1)
    sites = Recorder(load(torch.float64)).run(tokens)
    for site, x in sites.items():
        assert x.dtype == torch.float64, site
    loss = mean_nll(sites["hook_logits"], tokens)
    plain = load(torch.float32)(tokens, use_cache=False).logits.detach().double()
    deviation = ((plain - sites["hook_logits"]).abs().max() / sites["hook_logits"].abs().max()).item()
    assert deviation < 1e-4, f"{folder}: untouched transformers in float32 is {deviation:.1e} away"
    kept = {k: v.to(torch.float32).contiguous() for k, v in sites.items() if kinds is None or k.split(".")[-1] in kinds}
    # One key alone: safetensors writes several in an order that changes from run to run.
    metadata = {"made": f"tools/golden.py, torch {torch.__version__}, transformers {transformers.__version__}; float64 "
                        f"(rotary tables as transformers makes them, in float32), stored as F32{note and '; ' + note}"}
    save_file({"tokens": tokens, "loss": loss, **kept}, folder / name, metadata)
    (folder / name).chmod(0o644)
    return sites, loss.item(), deviation


def load_model(folder, dtype, weights=None):
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    model = CLASSES[kind][1].from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    if weights is not None:
        model.load_state_dict({k: torch.as_tensor(v).to(dtype) for k, v in weights.items()}, strict=False)
    return model.eval()


# ---- the models ------------------------------------------------------------------------------------------------------

BASE = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=True,
            bos_token_id=1, eos_token_id=2)
# Where only the rotation differs from `gqa`, the sites that the rotation touches.
ROTARY = ("hook_q", "hook_k", "hook_rot_q", "hook_rot_k", "hook_attn_scores", "hook_z", "hook_resid_post",
          "hook_logits")


def rope(kind="default", theta=10000.0, **keys):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **keys}}


MODELS = {
    "mha": dict(kind="llama", dtype=torch.float32, num_key_value_heads=4, tie_word_embeddings=False),
    "gqa": dict(kind="llama", dtype=torch.float32, head_dim=16, intermediate_size=64, spelling="v5"),
    "qwen2": dict(kind="qwen2", intermediate_size=64, json={"sliding_window": 5},  # off: no effect
                  **rope(theta=1000000.0)),
    "qwen2-window": dict(kind="qwen2", use_sliding_window=True, sliding_window=5, max_window_layers=1, sites=ROTARY),
    "qwen3": dict(kind="qwen3", head_dim=16, intermediate_size=64, spelling="v5", **rope(theta=1000000.0)),
    "mistral": dict(kind="mistral", sliding_window=5, tie_word_embeddings=False),
    "biases": dict(kind="llama", attention_bias=True, mlp_bias=True),
    "f16": dict(kind="llama", dtype=torch.float16, sites=ROTARY),
    "sharded-bf16": dict(kind="llama", tie_word_embeddings=False, shards="30KB"),
    "nope": dict(kind="llama_drope", softmax_scale=0.45),
    "qk-norm-nope": dict(kind="llama_drope", attention_type="qk_norm_nope"),
    "q-norm-nope": dict(kind="llama_drope", attention_type="q_norm_nope", sites=ROTARY + ("hook_q_normed",)),
    "k-norm-nope": dict(kind="llama_drope", attention_type="k_norm_nope", sites=ROTARY + ("hook_k_normed",)),
    "qwen2-drope": dict(kind="qwen2_drope", sites=ROTARY),
    "linear": dict(kind="llama", seed="rope", sites=ROTARY, **rope("linear", factor=4.0)),
    "dynamic": dict(kind="llama", seed="rope", sites=ROTARY, tokens=20, max_position_embeddings=8,
                    **rope("dynamic", factor=2.0)),
    "yarn": dict(kind="llama", seed="rope", sites=ROTARY, tokens=20, max_position_embeddings=64,
                 **rope("yarn", theta=100.0, factor=4.0, original_max_position_embeddings=16, beta_fast=4.0,
                        beta_slow=0.5)),
    "yarn-attention": dict(kind="llama", seed="rope", sites=ROTARY, max_position_embeddings=8192, spelling="v5",
                           **rope("yarn", factor=4.0, original_max_position_embeddings=2048, attention_factor=1.4,
                                  truncate=False)),
    "llama3": dict(kind="llama", seed="rope", sites=ROTARY, tokens=20, spelling="v5",
                   **rope("llama3", theta=100.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                          original_max_position_embeddings=64)),
    "llama3-legacy": dict(kind="llama", seed="rope", sites=ROTARY,
                          **rope("llama3", theta=500000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                 original_max_position_embeddings=8192)),
    # One folder, two regimes: golden.safetensors stays inside the original context, golden-long.safetensors leaves it.
    "longrope": dict(kind="llama", seed="rope", sites=ROTARY, tokens=12, long_tokens=20, max_position_embeddings=64,
                     **rope("longrope", original_max_position_embeddings=16, short_factor=[1.0, 1.1, 1.3, 1.5],
                            long_factor=[1.0, 1.7, 2.9, 4.0])),
}


def seeded(text):
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big"))


@torch.no_grad()
def fill_weights(model, config, random):
    """Seeded weights at scales where nothing is trivial: attention is neither flat nor one-hot, the logits spread, and
    the slowest rotary pair of query head 0 and of the last key head is massive (two heads: scores stay sane)."""
    head_dim = model.model.layers[0].self_attn.head_dim
    slow = [head_dim // 2 - 1, head_dim - 1]
    for name, p in sorted(model.named_parameters()):
        x = torch.randn(p.shape, generator=random)
        if "norm" in name:
            p.copy_(1 + 0.3 * x)
        elif "embed" in name:
            p.copy_(0.5 * x)
        elif name.endswith("bias"):
            p.copy_(0.3 * x)
        elif "lm_head" in name:
            p.copy_(0.6 * x)
        else:
            p.copy_(x / p.shape[1] ** 0.5)
    for layer in model.model.layers:
        for proj, first in ((layer.self_attn.q_proj, 0),
                            (layer.self_attn.k_proj, (config.num_key_value_heads - 1) * head_dim)):
            proj.weight.mul_(0.6)
            rows = [first + d for d in slow]
            if proj.bias is None:
                proj.weight[rows] *= 25
            else:  # as in real models with biases: a constant
                proj.bias[rows] = torch.tensor([9.0, -8.0])


def spell_as_before_v5(config):
    """config.json as transformers 4 wrote it: rope_theta and rope_scaling instead of rope_parameters, torch_dtype."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    if rope["rope_type"] == "linear":
        rope["type"] = rope.pop("rope_type")  # the oldest key
    if rope["rope_type" if "rope_type" in rope else "type"] == "longrope":
        config["original_max_position_embeddings"] = rope.pop("original_max_position_embeddings")  # as Phi-3 has it
    config.pop("layer_types", None)  # follows from max_window_layers
    if "dtype" in config:
        config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.50.0"


def write_folder(folder, spec, seed):
    keys = {**BASE, **rope(), **spec}
    kind, dtype = keys.pop("kind"), keys.pop("dtype", torch.bfloat16)
    edits = keys.pop("json", {})
    spelling, shards = keys.pop("spelling", "v4"), keys.pop("shards", "5GB")
    make_config, make_model = CLASSES[kind]
    config = make_config(**keys)
    model = make_model(config)
    random = seeded(seed)
    fill_weights(model, config, random)
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, max_shard_size=shards)
    (folder / "generation_config.json").unlink(missing_ok=True)
    for file in folder.iterdir():
        file.chmod(0o644)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if spelling == "v4":
        spell_as_before_v5(config)
    config.update(edits)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return random


def make(name):
    spec = dict(MODELS[name])
    n, n_long = spec.pop("tokens", 12), spec.pop("long_tokens", 0)
    kinds, seed = spec.pop("sites", None), spec.pop("seed", name)
    folder = GOLDEN / name
    random = write_folder(folder, spec, seed)
    draw = lambda n: torch.cat([torch.tensor([1]), torch.randint(3, 96, (n - 1,), generator=random)])
    runs = [("golden.safetensors", n)] + ([("golden-long.safetensors", n_long)] if n_long else [])
    for file, length in runs:
        sites, loss, deviation = record(folder, draw(length), kinds, file)
        print(f"{name:15s} {file:25s} loss {loss:7.4f}  float32 {deviation:.1e}  {massive(sites)}"
              f"  {sum(f.stat().st_size for f in folder.iterdir()) / 1e3:.0f} kB")


def massive(sites):
    """Massive dims at lambda 5 per layer, to see that there are some."""
    counts = []
    for letter in "qkv":
        per_layer = []
        for name, x in sites.items():
            if name.endswith(f"attn.hook_{letter}"):
                norms = x[0].pow(2).sum(0).sqrt()
                per_layer.append(int((norms > 5 * norms.mean()).sum()))
        counts.append(f"{letter} {per_layer}")
    return " ".join(counts)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in sys.argv[1:] or MODELS:
        make(name)
