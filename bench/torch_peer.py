#!/usr/bin/env python3
"""The PyTorch side of bench/peers.py: a process that does one repetition for each line it is sent (`wall` or
`processor`), and says its seconds by that clock.

    python bench/torch_peer.py prefill|train float32|bfloat16 ROWS CONTEXT D_MODEL LAYERS HEADS KV_HEADS FFN VOCAB TIED

transformers' LlamaForCausalLM with random weights, scaled dot product attention, as many threads as OMP_NUM_THREADS says.
prefill reads ROWS x CONTEXT tokens and makes the logits of each row's last one, its weights in that format.  train is a step
with fused AdamW and clipping on f32 weights, under autocast for bfloat16.  The first repetition is its own, uncounted.
"""

import os
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding


def random_model(d, layers, heads, kv_heads, ffn, vocab, tied, dtype):
    config = LlamaConfig(hidden_size=d, num_hidden_layers=layers, num_attention_heads=heads, vocab_size=vocab,
                         num_key_value_heads=kv_heads, intermediate_size=ffn, max_position_embeddings=4096,
                         tie_word_embeddings=bool(tied), attn_implementation="sdpa")
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(dtype)
    model = model.to_empty(device="cpu")
    model.tie_weights()
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    for p in model.parameters():
        bound = (3 / p.shape[-1]) ** 0.5
        p.data.uniform_(-bound, bound) if p.dim() == 2 else p.data.fill_(1)
    return model


def prefill(model, tokens, _):
    with torch.inference_mode():
        model(tokens, use_cache=False, logits_to_keep=1)


def training(model):
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step(model, tokens, dtype):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = model(tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return step


def main(what, dtype, rows, context, *shape):
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    dtype, rows, context, shape = getattr(torch, dtype), int(rows), int(context), list(map(int, shape))
    model = random_model(*shape, dtype if what == "prefill" else torch.float32)
    model.train(what == "train")
    once = training(model) if what == "train" else prefill
    tokens = torch.randint(0, shape[5], (rows, context))
    once(model, tokens, dtype)
    print("ready", flush=True)
    for word in sys.stdin:
        clock = time.process_time if word == "processor\n" else time.perf_counter
        start = clock()
        once(model, tokens, dtype)
        print(clock() - start, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 12:
        sys.exit(__doc__)
    main(*sys.argv[1:])
