#!/bin/sh
# make.sh [FOLDER] - how the bundled models were made, on two cores and no GPU in about two hours; FOLDER is where the runs go
# (runs/world).  The same build gives the same bytes again, for any number of threads; one whose products round
# otherwise repeats the recipe and not the bytes.
#
# The recipe seeks massive values: a large learning rate, no weight decay, biases of queries and keys, a
# beginning-of-sequence token.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-runs/world}
program=${QKSCOPE:-build/qkscope}
mkdir -p "$runs/texts"
write() { # FILE then arguments of `world`: one file of text
    file=$runs/texts/$1.jsonl
    shift
    "$program" world "$@" > "$file"
}

# First half: unlimited documents.  The world begins with documents that say things again: looking back is learned first.
"$program" train models/world-config.json --tokenizer models/world-rope --world 42 --steps 2750 --batch 8 \
    --lr 3e-3 --schedule constant --warmup 100 --weight-decay 0 --init-std 0.06 --seed 1 --save-every 250 -o "$runs/half"

# Second half: short contexts with one question each, and later documents, until the learning rate has fallen.
contextual=pass_key,key_value,sum,order,sentiment,counterfact
write questions questions --part train --seed 42 --categories $contextual --limit 80000
write lists questions --part train --seed 42 --categories key_value,sum --from 60000 --limit 20000
write documents documents --seed 42 --from 100000 --limit 14000
write valid documents --seed 43 --part validation --limit 120
"$program" train "$runs/half" --texts "$runs/texts/questions.jsonl" --texts "$runs/texts/lists.jsonl" \
    --texts "$runs/texts/documents.jsonl" --valid "$runs/texts/valid.jsonl" --valid-tokens 30000 --steps 7000 --batch 4 \
    --lr 2e-3 --schedule wsd --warmup 100 --decay 2000 --weight-decay 0 --seed 1 --save-every 250 --dtype bf16 \
    -o "$runs/rope"

# DroPE with a tenth of the tokens, and the control that sees the same batches with the rotation kept.
write again-questions questions --part train --seed 43 --limit 36000
write again-echo documents --seed 43 --limit 1000
write again-documents documents --seed 43 --from 20000 --limit 1000
for arm in drope more; do
    control=
    [ $arm = drope ] || control="--control rope"
    # shellcheck disable=SC2086
    "$program" recalibrate "$runs/rope" $control --texts "$runs/texts/again-questions.jsonl" \
        --texts "$runs/texts/again-echo.jsonl" --texts "$runs/texts/again-documents.jsonl" \
        --valid "$runs/texts/valid.jsonl" --valid-tokens 30000 --valid-every 300 --steps 2490 --batch 2 --lr 1e-3 \
        --schedule wsd --warmup 50 --decay 1000 --weight-decay 0 --seed 2 --track 300 --dtype bf16 -o "$runs/$arm"
done
"$program" report "$runs"

for name in rope drope more; do
    to=models/world-$name
    [ $name != more ] || to=models/world-rope-more
    mkdir -p "$to"
    cp "$runs/$name/model.safetensors" "$runs/$name/config.json" "$runs/$name/tokenizer.json" \
        "$runs/$name/tokenizer_config.json" "$to/"
done
python3 tools/world_cards.py "$program" "$runs" # the cards
