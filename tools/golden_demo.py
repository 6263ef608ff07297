#!/usr/bin/env python3
"""Trains tests/data/golden/demo, the small Llama that `./dev demo` looks at: 4 layers, 8 heads of 16, its own
byte-level BPE tokenizer of 512 tokens, BF16.  It is trained on the built-in documents and on six novels of Jane Austen
(public domain): so small a model has something to lose only on text that it knows.  A quarter of an hour on one processor core.

    python tools/golden_demo.py FOLDER_OF_RDA_FILES

The novels are the .rda files of the R package janeaustenr (its data/ folder).  Development only: wants torch,
transformers and tokenizers.
"""

import argparse
import bz2
import gzip
import json
import lzma
import math
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from golden import GOLDEN, Recorder, load_model, massive, mean_nll, spell_as_before_v5

BOS = "<|begin|>"
BUILTIN = Path(__file__).resolve().parent.parent / "src" / "text" / "builtin"
CONTEXT = 512
CONFIG = dict(vocab_size=512, hidden_size=64, intermediate_size=192, num_hidden_layers=4, num_attention_heads=8,
              num_key_value_heads=4, head_dim=16, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, bos_token_id=0,
              eos_token_id=None, tie_word_embeddings=True)


def read_rda(path):
    """The character vector of an R data file: every CHARSXP in R's XDR stream, without reading the rest of it."""
    packed = path.read_bytes()
    unpack = {b"BZ": bz2.decompress, b"\xfd7": lzma.decompress, b"\x1f\x8b": gzip.decompress}[packed[:2]]
    data, lines, at = unpack(packed), [], 0
    while (at := data.find(b"\x00\x04\x00\x09", at)) >= 0:  # flags of an ASCII string
        size = int.from_bytes(data[at + 4:at + 8], "big")
        lines.append(data[at + 8:at + 8 + size].decode("latin-1"))
        at += 8 + size
    return lines[1:]  # the first names the variable


def paragraphs(lines):
    """Lines to paragraphs: the novels are broken at 70 columns and have an empty line between paragraphs."""
    text, now = [], []
    for line in lines + [""]:
        if line.strip():
            now.append(line.strip())
        elif now:
            text.append(" ".join(now))
            now = []
    return "\n".join(text)


def train_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=CONFIG["vocab_size"], special_tokens=[BOS], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    return tokenizer


class Rows:
    """Rows of tokens, BOS first as in use: six of ten from the built-in documents (half of those from their start)."""

    def __init__(self, novels, documents):
        self.novels, self.documents = novels, documents
        self.random = torch.Generator().manual_seed(1)

    def below(self, n):
        return int(torch.randint(0, n, (1,), generator=self.random))

    def row(self, n_tokens):
        source, start = self.novels, 0
        if self.below(10) < 6:
            source = self.documents[self.below(len(self.documents))]
        if source is self.novels or self.below(2):
            start = self.below(len(source) - n_tokens)
        return torch.cat([torch.zeros(1, dtype=torch.long), source[start:start + n_tokens - 1]])

    def batch(self, n_rows, n_tokens):
        return torch.stack([self.row(n_tokens) for _ in range(n_rows)])


def train(model, rows, n_steps, stop, peak=1e-2, n_batch=1024):
    """AdamW without weight decay, warm-up, cosine; a quarter of the context for 4/5 of the steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.0)
    smooth = math.log(CONFIG["vocab_size"])
    for step in range(1, stop + 1):
        share = step / n_steps
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1, step / 100) * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
        n_tokens = CONTEXT // 4 if share < 0.8 else CONTEXT
        tokens = rows.batch(n_batch // n_tokens, n_tokens)
        loss = model(tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        smooth = 0.98 * smooth + 0.02 * loss.item()
        if step % 100 == 0:
            print(f"step {step}  {step * n_batch / 1e6:.1f} M tokens  loss {smooth:.3f}", flush=True)


def save(folder, model, tokenizer):
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    spell_as_before_v5(config)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    settings = {"add_bos_token": True, "bos_token": BOS, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("novels", type=Path)
    parser.add_argument("--steps", type=int, default=7000, help="of the schedule")
    parser.add_argument("--stop", type=int, default=3000, help="the step whose weights are kept")
    parser.add_argument("-o", type=Path, default=GOLDEN / "demo")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if arguments.stop < 0.8 * arguments.steps:  # longer rows were never seen
        CONFIG["max_position_embeddings"] = CONTEXT // 4
    novels = [paragraphs(read_rda(path)) for path in sorted(arguments.novels.glob("*.rda"))]
    documents = {path.stem: path.read_text() for path in sorted(BUILTIN.glob("*.txt"))}
    tokenizer = train_tokenizer(novels + 20 * list(documents.values()))
    encode = lambda text: torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids)
    rows = Rows(torch.cat([encode(text) for text in novels]), [encode(text) for text in documents.values()])
    print(f"{len(rows.novels)} tokens of novels, {sum(map(len, rows.documents))} of documents")
    torch.set_num_threads(1)  # one thread: the same weights every time
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG, attn_implementation="sdpa"))
    print(f"{model.num_parameters()} parameters")
    train(model.train(), rows, arguments.steps, arguments.stop)
    save(arguments.o, model, tokenizer)
    for name, text in documents.items():
        tokens = torch.tensor([tokenizer.encode(text).ids[:CONTEXT]])
        sites = Recorder(load_model(arguments.o, torch.float64)).run(tokens)
        print(f"{name:30s} loss {mean_nll(sites['hook_logits'], tokens).item():.3f}  {massive(sites)}")


if __name__ == "__main__":
    main()
