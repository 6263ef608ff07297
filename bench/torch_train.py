#!/usr/bin/env python3
"""Training speed of qkscope beside PyTorch: the same Llama, rows, optimiser and number format (f32).

    python bench/torch_train.py [3M 8M 15M] [--rounds 5] [--steps 5] [--threads 2] [--sides eager,compiled]

The sides take turns: qkscope train, transformers' LlamaForCausalLM as it is (eager), and the same behind torch.compile;
attention by scaled_dot_product_attention, fused AdamW, gradient clipping.  A row is one sequence (--across-documents):
the fast path of PyTorch.  The PyTorch sides live through all rounds, so that start and compilation do not count; the
first steps after a start are not counted either.  Prints tokens/s, the median of the rounds' medians with their range; the ratio
to the better PyTorch side, round by round; and the same ratio of processor seconds a step, which other load on the
machine disturbs less.  All sides must agree on the first loss.  Development only: wants torch and transformers.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "tests" / "data" / "golden" / "demo"
# d_model, layers, heads, key/value heads, d_ffn, vocabulary, context; rows of a step
SIZES = {
    "3M": ([256, 4, 4, 4, 688, 2048, 512], 4),
    "8M": ([320, 6, 5, 5, 864, 2048, 512], 4),
    "15M": ([288, 6, 6, 6, 768, 32000, 512], 2),
}
WARM = 2  # steps after a start that are not counted
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "passive", "TORCHINDUCTOR_CACHE_DIR": str(ROOT / ".cache" / "inductor")}


def call(*command):
    out = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=ENVIRONMENT)
    if out.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {out.returncode}: {out.stderr[-2000:]}")
    return out.stdout


# ---- the sides: run() gives (seconds of each step, processor seconds of a step, first loss)


class Qkscope:
    """Every round starts it twice: the short run's processor seconds, of start and end, are taken off."""

    def __init__(self, args, folder, text, n_rows, context):
        self.steps = args.steps
        self.command = [args.program, "train", folder, "--texts", text, "--batch", n_rows, "-c", context,
                        "--across-documents", "--hold-out", 0, "--valid-every", 0, "--save-every", 0, "--warmup", 0,
                        "--schedule", "constant", "--precision", "f32", "-t", args.threads, "-q"]

    def train(self, n_steps, folder):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call(*self.command, "--steps", n_steps, "-o", folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def run(self):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "run"
            processor = -self.train(WARM, Path(scratch) / "short") + self.train(WARM + self.steps, folder)
            lines = lambda name: [json.loads(line) for line in (folder / name).read_text().splitlines()]
            seconds = [line["seconds"] for line in lines("times.jsonl")]
            return seconds[WARM:], processor / self.steps, lines("log.jsonl")[0]["loss"]

    def close(self):
        pass


class Torch:
    """A process (--child) that does a round of steps for each line it is sent."""

    def __init__(self, side, args, folder, tokens, n_rows, context):
        command = [sys.executable, __file__, "--child", side, folder, tokens, n_rows, context, args.steps]
        environment = {**ENVIRONMENT, "OMP_NUM_THREADS": str(args.threads)}
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment)

    def run(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"PyTorch ended with exit code {self.process.wait()}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def child(side, folder, tokens, n_rows, context, steps):
    import torch
    from transformers import AutoModelForCausalLM
    n_rows, context, steps = int(n_rows), int(context), int(steps)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    tokens = torch.tensor(json.loads(Path(tokens).read_text()))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").train()
    matrices, vectors = ([p for p in model.parameters() if (p.dim() > 1) == want] for want in (True, False))
    optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)
    forward = torch.compile(model) if side == "compiled" else model

    def one(step):
        at = torch.arange(step * n_rows * context, (step + 1) * n_rows * context) % len(tokens)
        batch = tokens[at].reshape(n_rows, context)
        loss = forward(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.item()

    losses = [one(step) for step in range(WARM)]
    for _ in sys.stdin:
        seconds, processor = [], time.process_time()
        for _ in range(steps):
            start = time.perf_counter()
            losses.append(one(len(losses)))
            seconds.append(time.perf_counter() - start)
        print(json.dumps([seconds, (time.process_time() - processor) / steps, losses[0]]), flush=True)


# ---- side by side


def spread(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def measure(args, name, scratch):
    shape, n_rows = SIZES[name]
    context, folder, n_tokens = shape[-1], scratch / name, shape[-1] * n_rows
    call(args.make, "--f32", f"--tokenizer={DEMO / 'tokenizer.json'}", folder, *shape)
    (folder / "tokenizer_config.json").write_bytes((DEMO / "tokenizer_config.json").read_bytes())
    sides = {"qkscope": Qkscope(args, folder, scratch / "text.txt", n_rows, context)}
    for side in args.sides.split(","):
        sides[side] = Torch(side, args, folder, scratch / "tokens.json", n_rows, context)
        sides[side].run()  # compiled, warm
    speed, processor, losses = {s: [] for s in sides}, {s: [] for s in sides}, {}
    for _ in range(args.rounds):
        for side, it in sides.items():
            seconds, used, losses[side] = it.run()
            speed[side].append(n_tokens / statistics.median(seconds))
            processor[side].append(used)
    for it in sides.values():
        it.close()
    if max(losses.values()) - min(losses.values()) > 1e-4:
        sys.exit(f"{name}: first loss: {losses}: expected all sides to agree to 1e-4")
    best = max(args.sides.split(","), key=lambda side: statistics.median(speed[side]))
    ratio = [a / b for a, b in zip(speed["qkscope"], speed[best])]
    thrift = [b / a for a, b in zip(processor["qkscope"], processor[best])]
    print(f"| {name}: {shape[0]} x {shape[1]}, vocabulary {shape[5]}, {n_rows} x {context} tokens | "
          + " | ".join(spread(values, ".0f") for values in speed.values())
          + f" | {spread(ratio, '.2f')} | {spread(thrift, '.2f')} |", flush=True)


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("sizes", nargs="*", default=[], metavar="SIZE")
    parse.add_argument("--program", default=ROOT / "build" / "qkscope")
    parse.add_argument("--make", default=ROOT / "build" / "bench" / "make_model")
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--steps", type=int, default=5)
    parse.add_argument("--threads", type=int, default=os.cpu_count())
    parse.add_argument("--sides", default="eager,compiled", help="of PyTorch")
    args = parse.parse_args()
    import torch
    import transformers
    machine = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    sides = args.sides.split(",")
    print(f"{machine}, {args.threads} threads, load {os.getloadavg()[0]:.0f}, torch {torch.__version__}, transformers "
          f"{transformers.__version__}; {args.rounds} rounds of {args.steps} steps\n")
    print("| model and step | qkscope, tokens/s | " + " | ".join(f"PyTorch {side}" for side in sides)
          + " | ratio to the better | of processor seconds |\n|" + "---|" * (4 + len(sides)), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "text.txt"
        files = sorted((ROOT / "src" / "text" / "builtin").glob("*.txt"))
        text.write_text("\n".join(file.read_text("utf-8") for file in files), "utf-8")
        ids = json.loads(call(args.program, "tokenize", DEMO, "--file", text, "--json"))["ids"]
        (Path(scratch) / "tokens.json").write_text(json.dumps(ids))
        for name in args.sizes or SIZES:
            measure(args, name, Path(scratch))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
