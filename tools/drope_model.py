"""DroPE for transformers, which has no such classes: a Llama and a Qwen2 without rotation (Gelberg et al. 2025).

Importing this registers model types llama_drope and qwen2_drope, so that AutoModelForCausalLM opens their folders.
Config fields beyond those of the base: attention_type (nope, or an RMSNorm over the whole projection of q, k or both:
qk_norm_nope, q_norm_nope, k_norm_nope) and softmax_scale, which replaces 1/sqrt(head_dim).
"""

from types import MethodType

from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb, eager_attention_forward


class NoRotation(nn.Module):
    """Stands in the rotary embedding's place: cos 1, sin 0."""

    def __init__(self, head_dim):
        super().__init__()
        self.head_dim = head_dim

    def forward(self, x, position_ids):
        shape = (*position_ids.shape, self.head_dim)
        return x.new_ones(shape), x.new_zeros(shape)


def attend_with_projection_norm(self, hidden_states, position_embeddings=None, attention_mask=None, **kwargs):
    """Attention whose query and/or key projection passes an RMSNorm as a whole, before it is split into heads."""
    n_batch, n_tokens, _ = hidden_states.shape
    q, k, v = self.q_proj(hidden_states), self.k_proj(hidden_states), self.v_proj(hidden_states)
    if hasattr(self, "q_norm"):
        q = self.q_norm(q)
    if hasattr(self, "k_norm"):
        k = self.k_norm(k)
    q, k, v = (x.view(n_batch, n_tokens, -1, self.head_dim).transpose(1, 2) for x in (q, k, v))
    q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
    z, pattern = attend(self, q, k, v, attention_mask, scaling=self.scaling, dropout=0.0,
                        sliding_window=getattr(self, "sliding_window", None))
    return self.o_proj(z.reshape(n_batch, n_tokens, -1)), pattern


def drop_rotation(model, config):
    for layer in model.model.layers:
        attention = layer.self_attn
        model.model.rotary_emb = NoRotation(attention.head_dim)
        if config.softmax_scale is not None:
            attention.scaling = config.softmax_scale  # absolute: replaces 1/sqrt(head_dim)
        normed = {"nope": "", "qk_norm_nope": "qk", "q_norm_nope": "q", "k_norm_nope": "k"}[config.attention_type]
        for letter in normed:
            heads = config.num_attention_heads if letter == "q" else config.num_key_value_heads
            setattr(attention, f"{letter}_norm", LlamaRMSNorm(heads * attention.head_dim, eps=config.rms_norm_eps))
        if normed:
            attention.forward = MethodType(attend_with_projection_norm, attention)


class LlamaDropeConfig(LlamaConfig):
    model_type = "llama_drope"
    attention_type: str = "nope"
    softmax_scale: float | None = None


class LlamaDropeForCausalLM(LlamaForCausalLM):
    config_class = LlamaDropeConfig

    def __init__(self, config):
        super().__init__(config)
        drop_rotation(self, config)


class Qwen2DropeConfig(Qwen2Config):
    model_type = "qwen2_drope"
    attention_type: str = "nope"
    softmax_scale: float | None = None


class Qwen2DropeForCausalLM(Qwen2ForCausalLM):
    config_class = Qwen2DropeConfig

    def __init__(self, config):
        super().__init__(config)
        drop_rotation(self, config)


for config, model in ((LlamaDropeConfig, LlamaDropeForCausalLM), (Qwen2DropeConfig, Qwen2DropeForCausalLM)):
    AutoConfig.register(config.model_type, config)
    AutoModelForCausalLM.register(config, model)
