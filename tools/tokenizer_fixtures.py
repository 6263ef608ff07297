"""Writes tests/data/tokenizers: small tokenizers of every kind, and what the references say to awkward texts.

Development only: python tools/tokenizer_fixtures.py [FOLDER]   (needs tokenizers, sentencepiece, gguf)
Ids and decoded texts come from Hugging Face tokenizers (*.json) and from sentencepiece (*.model)."""

import io
import json
import pathlib
import random
import struct
import sys

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORDS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
REST = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
LLAMA3 = WORDS + "\\p{N}{1,3}" + REST
QWEN2 = WORDS + "\\p{N}" + REST

MIXED = [
    "Быстрая лиса прыгает через ленивую собаку, 12345 раз.",
    "Η γρήγορη αλεπού πηδά πάνω από το σκυλί.",
    "敏捷的棕色狐狸跳过了懒狗。我想在苹果工作。",
    "素早い茶色の狐はのろまな犬を飛び越える。",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다.",
    "الثعلب البني السريع يقفز فوق الكلب الكسول",
    "השועל החום המהיר קופץ מעל הכלב העצלן",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर",
    "Café naïve résumé Übergröße, 'tis we've they'll I'd don't",
    "for (int i = 0; i < n; i++) {\n\treturn x[i] * 2.5;\n}\n\n",
]


def corpus():
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "src/text/builtin").glob("*.txt"))]
    return [line for text in texts for line in text.split("\n") if line] + MIXED * 20


def random_text(rng):
    """A few words of anything: scripts, emoji with joiners, combining marks, odd spaces, controls, long runs."""

    def letters(low, high, n):
        return "".join(chr(rng.randint(low, high)) for _ in range(n))

    kinds = [
        lambda: rng.choice(
            [
                "the",
                "Hello",
                "world",
                "don't",
                "WE'VE",
                "I'll",
                "it'S",
                "x",
                "token",
                "'re",
                "'LL",
                "said",
                "'\u017f",
                "\u212a",
            ]
        ),
        lambda: rng.choice(
            ["12345", "3.14", "7", "1000000", "\u0663\u0664\u0665", "\u00bd\u00b2", "\u2167", "\u2460"]
        ),
        lambda: rng.choice(
            [
                " ",
                "  ",
                "   ",
                "\t",
                "\n",
                "\n\n",
                "\r\n",
                " \n",
                "\n ",
                "\u00a0",
                "\u2003",
                "\u3000",
                "\u2028",
                "\u0085",
                "\u180e",
                "\u200b",
            ]
        ),
        lambda: rng.choice([" ", "\n", "a", "!", "=", "\u2581", "\t"]) * rng.randint(1, 30),
        lambda: rng.choice(
            [
                "!",
                "?!",
                "...",
                "--",
                "(",
                ")",
                "[]",
                "{}",
                "$",
                "+=",
                "<|",
                "|>",
                "#",
                "@",
                "\u2026",
                "\u3002",
                "\uff0c",
                "\u00ab\u00bb",
                "/",
                "\\",
            ]
        ),
        lambda: rng.choice(
            [
                "\U0001f680",
                "\U0001f469\u200d\U0001f4bb",
                "\U0001f636\u200d\U0001f32b\ufe0f",
                "\u2705",
                "\U0001f1e9\U0001f1ea",
                "\U0001f44d\U0001f3fd",
            ]
        ),
        lambda: rng.choice(
            [
                "e\u0301",
                "A\u030a",
                "\u1100\u1161\u11a8",
                "q\u0307\u0323",
                "q\u0323\u0307",
                "o\u0302\u0301",
                "\u0928\u093c",
                "\u1e9b\u0323",
                "\u0344",
                "\u212b",
                "\ufb01",
            ]
        ),
        lambda: letters(0x430, 0x44F, rng.randint(1, 6)),
        lambda: letters(0x3B1, 0x3C9, rng.randint(1, 6)),
        lambda: letters(0x4E00, 0x9FA5, rng.randint(1, 4)),
        lambda: letters(0x3041, 0x3090, rng.randint(1, 4)),
        lambda: letters(0xAC00, 0xD7A3, rng.randint(1, 3)),
        lambda: letters(0x627, 0x64A, rng.randint(1, 5)),
        lambda: letters(0x905, 0x939, rng.randint(1, 4)),
        lambda: letters(0xE01, 0xE2E, rng.randint(1, 4)),
        lambda: chr(
            rng.choice(
                [1, 7, 8, 0x1B, 0x7F, 0x80, 0x9F, 0xAD, 0xFEFF, 0xFFFD, 0xFFFF, 0x10FFFF, 0xE000, 0x1D518, 0x20000]
            )
        ),
        lambda: rng.choice(
            [
                "<s>",
                "</s>",
                "<unk>",
                "<|endoftext|>",
                "<|im_start|>",
                "[MASK]",
                "<0x41>",
                "<tool>",
                "</tool>",
                "\u2581",
                "ab<s",
                "NAME",
            ]
        ),
    ]
    return "".join(rng.choice(kinds)() + rng.choice(["", "", " "]) for _ in range(rng.randint(0, 7)))


def texts():
    rng = random.Random(20)
    fixed = [
        "",
        " ",
        "  ",
        "\n",
        "\t\n",
        "a",
        " a",
        "a ",
        "Hello world",
        " Hello  world ",
        "<s>a</s> b",
        "x<unk>y",
        "\u2581a",
        "aaaaaaaaaaaaaaaa",
        "The quick brown fox, 'tis said, jumped 12345 times.",
        "Cafe\u0301 \u212b",
        "<|im_start|>user\nHi<|im_end|>\n",
        "a [MASK]  b",
        "tool<tool> tools",
    ]
    return fixed + [random_text(rng) for _ in range(70)]


# ---- Hugging Face tokenizers


def byte_level(split=None, normalizer=None, **options):
    t = Tokenizer(models.BPE(**options))
    if normalizer:
        t.normalizer = normalizer
    if split:
        t.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    return t


def train(t, size, alphabet=(), special=(), limit=None):
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=list(alphabet),
        special_tokens=list(special),
        show_progress=False,
        **({"limit_alphabet": limit} if limit else {})
    )
    t.train_from_iterator(corpus(), trainer)
    return t


def gpt2():
    t = train(byte_level(), 560, pre_tokenizers.ByteLevel.alphabet())
    t.add_special_tokens(["<|endoftext|>"])
    return t


def llama3():
    t = train(byte_level(LLAMA3, ignore_merges=True), 600, pre_tokenizers.ByteLevel.alphabet())
    t.add_special_tokens(["<|begin_of_text|>", "<|im_start|>", "<|im_end|>"])
    t.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A",
                pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))],
            ),
        ]
    )
    return t


def qwen2():
    t = train(byte_level(QWEN2, normalizers.NFC()), 600, pre_tokenizers.ByteLevel.alphabet())
    t.add_special_tokens(
        [AddedToken("<|endoftext|>", normalized=False), AddedToken("<|im_start|>", normalized=False)]
    )
    t.add_tokens(
        [
            AddedToken("<tool>", normalized=False),
            AddedToken("</tool>", normalized=True),
            AddedToken("e\u0301toile", normalized=True),
            AddedToken("[MASK]", lstrip=True, rstrip=True, normalized=False),
            AddedToken("NAME", single_word=True, normalized=True),
        ]
    )
    return t


def falcon():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation("contiguous"),
            pre_tokenizers.ByteLevel(add_prefix_space=True),
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
        ]
    )
    t.decoder = decoders.ByteLevel()
    return train(t, 480, pre_tokenizers.ByteLevel.alphabet())


def llama2(metaspace=None):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    decoder = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    if metaspace:
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=metaspace, split=metaspace == "always")
    else:
        t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence(decoder + [decoders.Strip(" ", 1, 0)])
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    special = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    model = json.loads(train(trained, 640, special=special, limit=120).to_str())["model"]
    t.model = models.BPE(
        vocab=model["vocab"],
        merges=[tuple(m) for m in model["merges"]],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    t.add_special_tokens([AddedToken(s, normalized=False) for s in ("<unk>", "<s>", "</s>")])
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return t


def unknowns(fuse):
    """Words with <unk>, no byte fallback; Metaspace decodes; surrounded by both markers."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first" if fuse else "always", split=True),
            pre_tokenizers.Split("a", "merged_with_previous"),
            pre_tokenizers.Split(Regex("[.!?]+"), "merged_with_next"),
            pre_tokenizers.Split(Regex("[0-9]"), "contiguous", invert=True),
        ]
    )
    t.decoder = decoders.Metaspace(prepend_scheme="first" if fuse else "always")
    train(t, 300, special=["<unk>", "<s>", "</s>"], limit=70)
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return t


def words():
    """Digits one by one, white space removed, no decoder."""
    t = Tokenizer(models.BPE(unk_token="[UNK]"))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex("[\\-_]+"), "-")])
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation(),
        ]
    )
    return train(t, 300, special=["[UNK]", "[MASK]"], limit=80)


HUGGING_FACE = {
    "gpt2": gpt2,
    "llama3": llama3,
    "qwen2": qwen2,
    "falcon": falcon,
    "llama2": llama2,
    "mistral": lambda: llama2("first"),
    "metaspace": lambda: llama2("always"),
    "unknowns": lambda: unknowns(False),
    "fused": lambda: unknowns(True),
    "words": words,
}


# ---- sentencepiece


def sentence_piece(unused=0, **options):
    """`unused`: the share of pieces made UNUSED afterwards, which merges may pass through but no text may end in."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=out, model_type="bpe", minloglevel=2, num_threads=1, **options
    )
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(out.getvalue())
    proto.normalizer_spec.ClearField("normalization_rule_tsv")  # the name of a file that is gone
    rng = random.Random(1)
    for piece in proto.pieces:
        if piece.type == 1 and rng.random() < unused:
            piece.type = 5
    return proto.SerializeToString()


RULES = "41\t62\n63 64\t\n65 301\tE9\n3000\t20\n"  # A->b, "cd" goes, decomposed e-acute, wide space

SENTENCE_PIECE = {
    "llama2": dict(
        vocab_size=700,
        byte_fallback=True,
        normalization_rule_name="identity",
        split_digits=True,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        character_coverage=0.985,
    ),
    "symbols": dict(
        vocab_size=420,
        normalization_rule_name="identity",
        user_defined_symbols=["<tool>", "\u2581\u2581", "ab"],
        control_symbols=["<sep>"],
        character_coverage=0.98,
        unk_surface=" ?? ",
    ),
    "rules": dict(
        vocab_size=640,
        byte_fallback=True,
        normalization_rule_tsv="RULES",
        character_coverage=0.98,
        add_dummy_prefix=False,
    ),
    "unused": dict(
        unused=0.4, vocab_size=640, byte_fallback=True, normalization_rule_name="identity", character_coverage=0.98
    ),
}


def llama2c_bin(proto):
    """As llama2.c's own export writes it."""
    pieces = []
    for i, p in enumerate(proto.pieces):
        text = {1: "\n<s>\n", 2: "\n</s>\n"}.get(i, p.piece).replace("\u2581", " ").encode()
        pieces.append(struct.pack("<fi", p.score, len(text)) + text)
    return struct.pack("<i", max(len(p) - 8 for p in pieces)) + b"".join(pieces)


def write_gguf(path, fill):
    writer = gguf.GGUFWriter(path, "llama")
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def gguf_llama(writer, proto):
    writer.add_tokenizer_model("llama")
    writer.add_token_list([p.piece.encode() for p in proto.pieces])
    writer.add_token_scores([p.score for p in proto.pieces])
    writer.add_token_types([p.type for p in proto.pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def gguf_gpt2(writer, tokenizer, pre):
    model = json.loads(tokenizer.to_str())
    added = {a["id"]: 3 if a["special"] else 4 for a in model["added_tokens"]}
    by_id = {i: s for s, i in tokenizer.get_vocab(with_added_tokens=True).items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([by_id[i].encode() for i in range(len(by_id))])
    writer.add_token_types([added.get(i, 1) for i in range(len(by_id))])
    writer.add_token_merges([" ".join(m) for m in model["model"]["merges"]])
    writer.add_bos_token_id(max(i for i, kind in added.items() if kind == 3 and i == min(added)))


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    cases = texts()
    vectors = {"texts": cases, "tokenizers": {}}

    def add(name, encode, decode):
        rows = []
        for text in cases:
            ids = encode(text)
            decoded = decode(ids)
            rows.append([ids] if decoded == text else [ids, decoded])
        vectors["tokenizers"][name] = rows

    for name, make in HUGGING_FACE.items():
        tokenizer = make()
        (folder / (name + ".json")).write_text(
            json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n",
            encoding="utf-8",
        )
        add(name + ".json", lambda s, t=tokenizer: t.encode(s).ids, lambda ids, t=tokenizer: t.decode(ids))
        if name in ("gpt2", "llama3"):
            write_gguf(
                folder / (name + ".gguf"),
                lambda w: gguf_gpt2(w, tokenizer, {"gpt2": "gpt-2", "llama3": "llama-bpe"}[name]),
            )
    rules = folder / "rules.tmp"
    rules.write_text(RULES)
    for name, options in SENTENCE_PIECE.items():
        options = {k: str(rules) if v == "RULES" else v for k, v in options.items()}
        model = sentence_piece(**options)
        (folder / (name + ".model")).write_bytes(model)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        add(name + ".model", lambda s, p=processor: p.encode(s), lambda ids, p=processor: p.decode(ids))
        if name == "llama2":
            proto = sentencepiece_model_pb2.ModelProto()
            proto.ParseFromString(model)
            (folder / "llama2.bin").write_bytes(llama2c_bin(proto))
            write_gguf(folder / "llama2.gguf", lambda w: gguf_llama(w, proto))
    rules.unlink()
    lines = ['{"texts": [\n' + ",\n".join(json.dumps(t) for t in cases) + "],", '"tokenizers": {']
    tables = [
        json.dumps(name) + ": [\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "]"
        for name, rows in vectors["tokenizers"].items()
    ]
    (folder / "vectors.json").write_text("\n".join(lines) + "\n" + ",\n".join(tables) + "}}\n", encoding="utf-8")
    for path in sorted(folder.iterdir()):
        print(path.stat().st_size, path.name)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/data/tokenizers")
