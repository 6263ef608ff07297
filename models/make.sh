#!/bin/sh
# make.sh [FOLDER] - how the bundled models were made, on two cores and no GPU in about three hours; FOLDER is where the runs go
# (runs/world).  The same build gives the same bytes again, for any number of threads; one whose products round
# otherwise repeats the recipe and not the bytes.  A run that is finished there is left alone.
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

finished() { [ -e "$runs/$1/model.safetensors" ]; }

# First half: unlimited documents.  The world begins with documents that say things again: looking back is learned first.
finished half || "$program" train models/world-config.json --tokenizer models/world-rope --world 42 \
    --steps 2750 --batch 8 --lr 3e-3 --schedule constant --warmup 100 --weight-decay 0 --init-std 0.06 --seed 1 \
    --save-every 250 -o "$runs/half"

# Then short contexts with one question each, and later documents, until the learning rate has fallen; and once more on
# other such text.  DroPE gets a tenth of all these tokens: this is also what lets it have enough of them.
contextual=pass_key,key_value,sum,order,sentiment,counterfact
write valid documents --seed 43 --part validation --limit 120
go_on() { # FROM TO STEPS DECAY then files of text
    finished "$2" && return
    from=$runs/$1 to=$runs/$2 steps=$3 decay=$4
    shift 4
    texts=
    for file; do texts="$texts --texts $runs/texts/$file.jsonl"; done
    # shellcheck disable=SC2086
    "$program" train "$from" $texts --valid "$runs/texts/valid.jsonl" --valid-tokens 30000 --steps "$steps" --batch 4 \
        --lr 2e-3 --schedule wsd --warmup 100 --decay "$decay" --weight-decay 0 --seed 1 --save-every 250 --dtype bf16 \
        -o "$to"
}
write questions questions --part train --seed 42 --categories $contextual --limit 80000
write lists questions --part train --seed 42 --categories key_value,sum --from 60000 --limit 20000
write documents documents --seed 42 --from 100000 --limit 14000
go_on half second 7000 2000 questions lists documents
write more-questions questions --part train --seed 44 --categories $contextual --limit 150000
write more-lists questions --part train --seed 44 --categories key_value,order,pass_key,counterfact --from 200000 \
    --limit 40000
write more-documents documents --seed 44 --from 100000 --limit 26000
go_on second rope 7500 2000 more-questions more-lists more-documents

# DroPE with a tenth of the tokens, and the control that sees the same batches with the rotation kept.  A model without
# rotation learns to look back in an order: what comes after what in short lists said again, then which value belongs to
# which key, then which of the told comes after which, then all that can be asked; facts in between, or they are lost.
# In any other order that we tried, the same tokens did not teach it to find a value by its key at all.  These steps want
# the noise of a short memory of the optimiser (beta2); everything behind them is learned better with a long one: hence
# two stages.
write echoes echoes --seed 43 --limit 14100
write pairs questions --whole --seed 43 --categories key_value --limit 3800
write orders questions --whole --seed 43 --categories order --from 300000 --limit 2400
write facts questions --seed 43 --categories fact --limit 6500
write asked questions --whole --seed 43 --categories pass_key,key_value,sum,order,counterfact --from 80000 --limit 25000
write asked-hard questions --whole --seed 43 --categories key_value,order,counterfact --from 200000 --limit 8000
write reviews questions --seed 43 --categories sentiment --from 80000 --limit 1000
write facts-again questions --seed 43 --categories fact --from 9400 --limit 8000
write again documents --seed 43 --from 20000 --limit 1000
mix() { # @ROUNDS FILE COUNT...: so many lines of each file in turn, round after round; another @: on from there
    awk -v texts="$runs/texts" 'BEGIN {
        for (i = 1; i < ARGC; i++)
            if (ARGV[i] ~ /^@/) rounds[++phases] = substr(ARGV[i], 2) + 0
            else { file[++parts] = ARGV[i]; count[parts] = ARGV[++i] + 0; phase[parts] = phases }
        for (p = 1; p <= phases; p++)
            for (r = 0; r < rounds[p]; r++)
                for (f = 1; f <= parts; f++)
                    for (k = 0; phase[f] == p && k < count[f]; k++)
                        if ((getline line < (texts "/" file[f] ".jsonl")) > 0) print line
                        else { print "out of lines: " file[f] > "/dev/stderr"; exit 1 }
    }' "$@"
}
mix @4700 echoes 3 facts 1 @1000 pairs 3 facts 1 @800 orders 3 pairs 1 facts 1 > "$runs/texts/lists.jsonl"
mix @1000 asked 25 reviews 1 asked-hard 8 facts-again 8 again 1 > "$runs/texts/asked-of-all.jsonl"
held_out="--valid $runs/texts/valid.jsonl --valid-tokens 30000"
# shellcheck disable=SC2086
recalibrate() { # ARM [OPTION...]
    arm=$1
    shift
    finished "$arm-lists" || "$program" recalibrate "$runs/rope" "$@" --texts "$runs/texts/lists.jsonl" \
        --in-order $held_out --valid-every 250 --steps 1550 --batch 2 --lr 2e-3 --schedule constant --warmup 50 \
        --weight-decay 0 --seed 2 --track 250 -o "$runs/$arm-lists"
    finished "$arm" || "$program" train "$runs/$arm-lists" --texts "$runs/texts/asked-of-all.jsonl" \
        --in-order $held_out --valid-every 500 --steps 4880 --batch 1 --lr 2e-3 --beta2 0.999 --schedule wsd --warmup 50 \
        --decay 3200 --weight-decay 0 --seed 2 --track 500 --dtype bf16 -o "$runs/$arm"
}
recalibrate drope
recalibrate more --control rope
"$program" report "$runs"

for name in rope drope more; do
    to=models/world-$name
    [ $name != more ] || to=models/world-rope-more
    mkdir -p "$to"
    cp "$runs/$name/model.safetensors" "$runs/$name/config.json" "$runs/$name/tokenizer.json" \
        "$runs/$name/tokenizer_config.json" "$to/"
done
python3 tools/world_cards.py "$program" "$runs" # the cards
