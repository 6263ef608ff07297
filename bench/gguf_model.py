#!/usr/bin/env python3
"""A GGUF file of a Llama of any shape with random weights, that llama.cpp and qkscope both read.

    python bench/gguf_model.py FILE FORMAT D_MODEL LAYERS HEADS KV_HEADS FFN VOCAB

FORMAT is f32, bf16, f16, q8_0 or q4_0; gains are f32.  The tokenizer is a made-up SentencePiece one of words of up to four
letters (VOCAB at least 1,000).  Weights are slices of one pool of random numbers, so that large files take seconds: speed
does not depend on them.  Wants numpy.
"""

import struct
import sys

import numpy

# ggml's number of a format, numbers of a block, bytes of a block
FORMATS = {"f32": (0, 1, 4), "f16": (1, 1, 2), "q4_0": (2, 32, 18), "q8_0": (8, 32, 34), "bf16": (30, 1, 2)}
ALIGNMENT = 32
POOL_BLOCKS = 1 << 16
U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5


def pack_string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def pack_value(kind, value):
    if kind == STRING:
        return pack_string(value)
    if kind == ARRAY:
        inner, values = value
        return struct.pack("<IQ", inner, len(values)) + b"".join(pack_value(inner, v) for v in values)
    return struct.pack({U32: "<I", F32: "<f", BOOL: "<?", I32: "<i"}[kind], value)


def vocabulary(size):
    """Pieces, scores, kinds: bytes, letters, then words that merges of two known pieces build letter by letter."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
    words, last = [], ["\u2581"]
    while len(pieces) + len(words) + 27 < size:
        last = [word + letter for word in last for letter in letters]
        words += last
    words = words[: size - len(pieces) - 27]
    pieces += [(piece, -float(rank), 1) for rank, piece in enumerate(words)]
    pieces += [(piece, -1e6, 1) for piece in ["\u2581", *letters]]
    return pieces


def pool(name, columns, random):
    """POOL_BLOCKS blocks (or as many rows) of numbers of variance 1/columns, as bytes."""
    _, size, _ = FORMATS[name]
    bound = (3 / columns) ** 0.5
    if size == 1:
        x = random.uniform(-bound, bound, POOL_BLOCKS * 64).astype("<f4")
        if name == "f16":
            return x.astype("<f2").tobytes()
        return x.tobytes() if name == "f32" else (x.view("<u4") >> 16).astype("<u2").tobytes()
    blocks = numpy.empty((POOL_BLOCKS, FORMATS[name][2]), "u1")
    most = 127 if name == "q8_0" else 7
    blocks[:, :2] = numpy.full(POOL_BLOCKS, bound / most, "<f2").view("u1").reshape(-1, 2)
    if name == "q8_0":
        blocks[:, 2:] = random.integers(-127, 128, (POOL_BLOCKS, 32), "i1").view("u1")
    else:
        low, high = (random.integers(1, 16, (POOL_BLOCKS, 16), "u1") for _ in range(2))
        blocks[:, 2:] = low | high << 4
    return blocks.tobytes()


def tensors(d, layers, heads, kv_heads, ffn, vocab, format_name):
    """(name, shape as ggml has it: columns first, format)"""
    kv = d // heads * kv_heads
    yield "token_embd.weight", (d, vocab), format_name
    for layer in range(layers):
        for name, shape in [("attn_norm", (d,)), ("attn_q", (d, d)), ("attn_k", (d, kv)), ("attn_v", (d, kv)),
                            ("attn_output", (d, d)), ("ffn_norm", (d,)), ("ffn_gate", (d, ffn)), ("ffn_up", (d, ffn)),
                            ("ffn_down", (ffn, d))]:
            yield f"blk.{layer}.{name}.weight", shape, format_name if len(shape) == 2 else "f32"
    yield "output_norm.weight", (d,), "f32"
    yield "output.weight", (d, vocab), format_name


def write(path, format_name, d, layers, heads, kv_heads, ffn, vocab):
    pieces = vocabulary(vocab)
    keys = [
        ("general.architecture", STRING, "llama"), ("general.name", STRING, "random"), ("llama.block_count", U32, layers),
        ("llama.context_length", U32, 4096), ("llama.embedding_length", U32, d),
        ("llama.feed_forward_length", U32, ffn), ("llama.attention.head_count", U32, heads),
        ("llama.attention.head_count_kv", U32, kv_heads), ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        ("llama.rope.dimension_count", U32, d // heads), ("llama.rope.freq_base", F32, 10000.0),
        ("llama.vocab_size", U32, vocab), ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, [p[0] for p in pieces])),
        ("tokenizer.ggml.scores", ARRAY, (F32, [p[1] for p in pieces])),
        ("tokenizer.ggml.token_type", ARRAY, (I32, [p[2] for p in pieces])),
        ("tokenizer.ggml.bos_token_id", U32, 1), ("tokenizer.ggml.eos_token_id", U32, 2),
        ("tokenizer.ggml.unknown_token_id", U32, 0), ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.ggml.add_space_prefix", BOOL, True),
    ]
    items = list(tensors(d, layers, heads, kv_heads, ffn, vocab, format_name))
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(items), len(keys))
    for key, kind, value in keys:
        header += pack_string(key) + struct.pack("<I", kind) + pack_value(kind, value)
    offset, sizes = 0, []
    for name, shape, kind in items:
        number, block, n_bytes = FORMATS[kind]
        size = int(numpy.prod(shape)) // block * n_bytes
        header += pack_string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        header += struct.pack("<IQ", number, offset)
        sizes.append(size)
        offset += -(-size // ALIGNMENT) * ALIGNMENT
    random = numpy.random.default_rng(1)
    pools = {columns: pool(format_name, columns, random) for columns in {d, ffn}}
    with open(path, "wb") as file:
        file.write(header + bytes(-len(header) % ALIGNMENT))
        for (name, shape, kind), size in zip(items, sizes):
            if len(shape) == 1:
                file.write(numpy.ones(shape[0], "<f4").tobytes())
            else:
                source, left, unit = pools[shape[0]], size, FORMATS[format_name][2]
                while left:
                    start = int(random.integers(0, len(source) // unit // 2)) * unit
                    piece = source[start:start + left]
                    file.write(piece)
                    left -= len(piece)
            file.write(bytes(-size % ALIGNMENT))


if __name__ == "__main__":
    if len(sys.argv) != 9 or sys.argv[2] not in FORMATS:
        sys.exit(__doc__)
    write(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
