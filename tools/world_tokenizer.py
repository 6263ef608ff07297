#!/usr/bin/env python3
"""world_tokenizer.py PROGRAM FOLDER [DOCUMENTS] - the tokenizer of the bundled models: byte-level BPE of 2,688 entries.

Trained on documents of the train part of `PROGRAM world documents`.  <s> (id 0) begins every text, </s> is id 1, a number
is split into pairs of digits from the left.  Writes FOLDER/tokenizer.json and FOLDER/tokenizer_config.json; the same
documents give the same bytes.
"""
import json
import subprocess
import sys
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

N_VOCAB = 2688
# A word, one or two digits, a run of signs, each with the space before it; white space.
PIECES = r" ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def train(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PIECES), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=N_VOCAB, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    assert tokenizer.get_vocab_size() == N_VOCAB and tokenizer.token_to_id("</s>") == 1
    return tokenizer


def main():
    program, folder = sys.argv[1], Path(sys.argv[2])
    n_documents = int(sys.argv[3]) if len(sys.argv) > 3 else 20000
    lines = subprocess.run([program, "world", "documents", "--limit", str(n_documents)], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    folder.mkdir(parents=True, exist_ok=True)
    train([json.loads(line)["text"] for line in lines]).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True,
        "add_eos_token": False, "model_max_length": 512, "clean_up_tokenization_spaces": False}, indent=2) + "\n")


if __name__ == "__main__":
    main()
