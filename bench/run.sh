#!/bin/sh
# run.sh - called by ./dev bench: what one pass over all conditions buys, and the speed of a plain scoring.
#   BUILD                 build folder (build)
#   QKSCOPE_BENCH_MODEL   a model instead of the small one under tests/data, QKSCOPE_BENCH_TEXTS its documents (.txt)
#   RUNS                  repetitions (5); the two sides of a ratio take turns, medians and the range are printed
set -eu
BUILD=${BUILD:-build}
RUNS=${RUNS:-5}
program=$BUILD/qkscope
folder=.cache/bench
mkdir -p "$folder"

ninja -C "$BUILD" bench/make_model >/dev/null
small=tests/data/golden/demo
model=${QKSCOPE_BENCH_MODEL:-$small}
texts=${QKSCOPE_BENCH_TEXTS:-}
if [ -z "$texts" ]; then
    texts=$folder/texts
    mkdir -p "$texts"
    # ten of the built-in documents, none of them repetitive
    for file in $(find src/text/builtin -name '*.txt' ! -name 'repetitive*' | sort | head -n 10); do cp "$file" "$texts"; done
fi

seconds() { # of one command, wall clock
    start=$(date +%s.%N)
    "$@" >/dev/null 2>"$folder/err" || { cat "$folder/err" >&2; exit 1; }
    end=$(date +%s.%N)
    echo "$end $start" | awk '{ printf "%.3f\n", $1 - $2 }'
}
median() { sort -n | awk '{ x[NR] = $1 } END { printf "%.3f (%.3f to %.3f)", x[int((NR + 1) / 2)], x[1], x[NR] }'; }
middle() { sort -n "$1" | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'; }

study() {
    "$program" disrupt "$1" --calib "$calib" --texts "$texts" -c "$2" --lambda 3 --criterion top-k --seeds 10 --no-run --json -q
}
scorings() { # as many as the study has conditions, each a program of its own
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do "$program" ppl "$1" --texts "$texts" -c "$2" --json -q; done
}
calib=$folder/calibration.txt
cat src/text/builtin/repetitive-*.txt >"$calib"

echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(getconf _NPROCESSORS_ONLN) cores, load $(cut -d' ' -f1 /proc/loadavg)"
compare() { # name, model, context
    : >"$folder/one"; : >"$folder/twelve"
    for _ in $(seq "$RUNS"); do
        seconds study "$2" "$3" >>"$folder/one"
        seconds scorings "$2" "$3" >>"$folder/twelve"
    done
    echo "$1: disrupt, 12 conditions x 10 documents, $(median <"$folder/one") s; 12 scorings $(median <"$folder/twelve") s;" \
        "ratio $(echo "$(middle "$folder/one") $(middle "$folder/twelve")" | awk '{ printf "%.2f", $1 / $2 }')"
}
speed() { # name, model, context, threads
    tokens=$("$program" ppl "$2" --texts "$texts" -c "$3" --json -q | sed -n 's/^  "tokens": \([0-9]*\),$/\1/p')
    : >"$folder/one"
    for _ in $(seq "$RUNS"); do seconds "$program" ppl "$2" --texts "$texts" -c "$3" -t "$4" --json -q >>"$folder/one"; done
    echo "$1: $4 thread(s), $tokens tokens in $(median <"$folder/one") s," \
        "$(echo "$tokens $(middle "$folder/one")" | awk '{ printf "%.0f", $1 / $2 }') tokens/s with start and loading"
}

medium=$folder/medium
[ -f "$medium/model.safetensors" ] ||
    "$BUILD/bench/make_model" --tokenizer=$small/tokenizer.json "$medium" 512 8 8 8 1408 512 1024
compare "$model" "$model" 128
compare "512 x 8, random BF16" "$medium" 64
for threads in 1 2; do
    speed "$model" "$model" 128 $threads
    speed "512 x 8, random BF16" "$medium" 512 $threads
done
