#!/usr/bin/env python3
"""world_cards.py PROGRAM RUNS [MODELS] - the model cards of the bundled pair, with every figure measured, none typed.

RUNS holds the runs of models/make.sh (half, second, rope, drope-lists, drope, more-lists, more); MODELS the folders
beside it (models).  The program answers the test questions and counts massive values on test documents once more, with
the bundled weights.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PAIR = {"world-rope": "rope", "world-drope": "drope", "world-rope-more": "more"}
CATEGORIES = ["fact", "pass_key", "key_value", "sum", "order", "sentiment", "counterfact"]
N_QUESTIONS, N_DOCUMENTS = 1000, 20
BARS = {"parametric": 95.0, "contextual": 90.0}
WITHIN = 3.0

FIRST = {
    "world-rope": "A small {type} with rotary positions that knows an invented world and can look things up in its "
                  "prompt. {steps:,} steps, {tokens:,} tokens, of them {half:,} on documents alone and the rest mostly "
                  "on short contexts with one question each.",
    "world-drope": "world-rope without its rotation (DroPE, Gelberg et al. 2025), recalibrated for {steps:,} steps, {tokens:,} "
                   "tokens ({share:.1f} % of its training) in the order of a curriculum and in two stages, learning "
                   "rate {lr}. `model_type` is `{type}`, as the published modelling code has it.",
    "world-rope-more": "The control of world-drope: world-rope trained on for the same {steps:,} steps on the same batches, "
                       "{tokens:,} tokens, rotation kept.",
}


def ask(program, *arguments):
    """The results object of a study."""
    return json.loads(subprocess.run([program, *arguments, "--json", "--quiet"], check=True, capture_output=True).stdout)


def results_of(program, folder):
    models = [str(folder / name) for name in PAIR]
    with tempfile.TemporaryDirectory() as scratch:
        texts = Path(scratch) / "test.jsonl"
        texts.write_bytes(subprocess.run([program, "world", "documents", "--part", "test", "--limit", str(N_DOCUMENTS)],
                                         check=True, capture_output=True).stdout)
        return (ask(program, "tasks", *models, "--conditions", "baseline", "--limit", str(N_QUESTIONS)),
                ask(program, "massive", *models, "--texts", str(texts)))


def accuracies(tasks, model):
    by_category = {row["category"]: 100 * row["accuracy"] for row in tasks["categories"] if row["model"] == model}
    by_kind = {row["kind"]: 100 * row["macro"] for row in tasks["kinds"] if row["model"] == model}
    return by_category, by_kind


def task_table(tasks):
    lines = ["| | " + " | ".join(c.replace("_", " ") for c in CATEGORIES) + " | parametric | contextual |",
             "|---" * (len(CATEGORIES) + 3) + "|"]
    for model, name in enumerate(PAIR):
        by_category, by_kind = accuracies(tasks, model)
        figures = [by_category[c] for c in CATEGORIES] + [by_kind["parametric"], by_kind["contextual"]]
        lines.append(f"| {name} | " + " | ".join(f"{x:.1f}" for x in figures) + " |")
    return "\n".join(lines)


def verdict(tasks):
    rope, drope = (accuracies(tasks, model)[1] for model in (0, 1))
    says = []
    for kind, bar in BARS.items():
        reached = "reached" if rope[kind] >= bar else "not reached"
        says.append(f"world-rope {kind}: at least {bar:.0f} % was the aim, {reached}.")
        behind = rope[kind] - drope[kind]
        says.append(f"world-drope {kind}: at most {WITHIN:.0f} points behind was the aim, {behind:.1f} points it is, "
                    f"{'reached' if behind <= WITHIN else 'not reached'}.")
    return " ".join(says)


def massive_table(massive):
    lines = ["| | " + " | ".join(f"{t} massive | {t} largest/mean" for t in "qkv") + " |", "|---" * 7 + "|"]
    for model, name in enumerate(PAIR):
        rows = {row["tensor"]: row for row in massive["summary"] if row["model"] == model}
        lines.append(f"| {name} | " + " | ".join(f"{rows[t]['total_mean']:.1f} | {rows[t]['max_over_mean']:.2f}"
                                                 for t in "qkv") + " |")
    return "\n".join(lines)


def held_out(run):
    losses = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines() if "valid_loss" in line]
    return losses[0]["valid_loss"], losses[-1]["valid_loss"]


def last_step(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines() if '"loss"' in line][-1]


def card(name, runs, tasks, massive):
    training = {part: json.loads((runs / part / "training.json").read_text())
                for part in ["second", "drope-lists", "more-lists", *PAIR.values()]}
    mine, half = training[PAIR[name]], last_step(runs / "half")
    base_tokens = half["tokens"] + training["second"]["tokens"] + training["rope"]["tokens"]
    own = PAIR[name] != "rope"
    lists = training[PAIR[name] + "-lists"] if own else None
    tokens = mine["tokens"] + lists["tokens"] if own else base_tokens
    shape = tasks["models"][list(PAIR).index(name)]
    command = mine["command"]
    first = FIRST[name].format(type=shape["model_type"], half=half["tokens"],
                               steps=mine["steps"] + (lists["steps"] if own else half["step"] + training["second"]["steps"]),
                               tokens=tokens, lr=command[command.index("--lr") + 1], share=100 * tokens / base_tokens)
    start = held_out(runs / "rope")[1]
    dropped, more = ((held_out(runs / f"{part}-lists")[0], held_out(runs / part)[1])
                     for part in ("drope", "more"))
    return f"""# {name}

{first}

{shape['parameters']:,} parameters, {shape['layers']} layers of width {shape['d_model']}, {shape['heads']} query and \
{shape['kv_heads']} key heads of {shape['head_dim']} dims, context {shape['context']} with a beginning-of-sequence token, weights in \
BF16, the tokenizer of `tools/world_tokenizer.py`. Trained on nothing but text of qkscope's invented world (`qkscope world`), on two \
cores without a GPU, by [models/make.sh](../make.sh). It knows no language beyond that world. MIT licence. \
`tools/world_cards.py` wrote this page.

transformers 5 wants its tokenizer read by `PreTrainedTokenizerFast.from_pretrained`: for the type `qwen2`, `AutoTokenizer` puts \
rules of its own in place of those in `tokenizer.json` and cuts numbers otherwise than this model was taught.

Questions of the test split, {N_QUESTIONS:,} of each category, percent; an answer is right when every token of it is the likeliest \
(`qkscope tasks models/world-rope models/world-drope models/world-rope-more --conditions baseline --limit {N_QUESTIONS}`):

{task_table(tasks)}

{verdict(tasks)}

Held-out loss, nats a token: {start:.2f} for world-rope as trained; on the held-out text of the recalibration {more[0]:.2f} as it \
came, {dropped[0]:.2f} when the rotation is dropped, {dropped[1]:.2f} recalibrated, {more[1]:.2f} for the control that kept it.

Massive values at lambda {massive['settings']['lambda']:g} on {N_DOCUMENTS} test documents, a document and model:

{massive_table(massive)}
"""


def main():
    program, runs = sys.argv[1], Path(sys.argv[2])
    folder = Path(sys.argv[3] if len(sys.argv) > 3 else "models")
    tasks, massive = results_of(program, folder)
    for name in PAIR:
        (folder / name / "README.md").write_text(card(name, runs, tasks, massive))


if __name__ == "__main__":
    main()
