#!/bin/sh
# make.sh [FOLDER] - how the bundled models were made, on two cores and no GPU; FOLDER is where the runs go (runs/world).
# The same build gives the same bytes again; the models here come from an earlier one (its exponential rounded otherwise), which
# was stopped at step 1,851 and resumed with this end, so these commands repeat their recipe and not their bytes.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-runs/world}
program=${QKSCOPE:-build/qkscope}
steps=${STEPS:-2003}
again=$((steps / 10)) # a tenth of the tokens

# The recipe seeks massive values: a large learning rate, no weight decay, a beginning-of-sequence token.
"$program" train models/world-config.json --tokenizer models/world-rope --world 42 --steps "$steps" --batch 8 \
    --lr 3e-3 --schedule wsd --warmup 100 --decay 150 --weight-decay 0 --init-std 0.06 --seed 1 \
    --save-every 250 --dtype bf16 -o "$runs/rope"

# DroPE, and the control that sees the same batches with the rotation kept.
for arm in drope more; do
    control=
    [ $arm = drope ] || control="--control rope"
    # shellcheck disable=SC2086
    "$program" recalibrate "$runs/rope" $control --world 43 --steps "$again" --batch 8 --lr 1e-3 --weight-decay 0 \
        --warmup 20 --seed 2 --save-every 100 --dtype bf16 -o "$runs/$arm"
done
"$program" report "$runs"

for name in rope drope more; do
    to=models/world-$name
    [ $name != more ] || to=models/world-rope-more
    mkdir -p "$to"
    cp "$runs/$name/model.safetensors" "$runs/$name/config.json" "$runs/$name/tokenizer.json" \
        "$runs/$name/tokenizer_config.json" "$to/"
done
