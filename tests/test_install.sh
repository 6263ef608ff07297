#!/bin/sh
# Install into a temporary folder, build examples/probe.c against what was installed through pkg-config alone, run it.
# Usage: test_install.sh BUILD SOURCE PREFIX LIBDIR COMPILER...
set -eu
build=$1 source=$2 prefix=$3 libdir=$4
shift 4

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "$*" >&2; exit 1; }

meson install -C "$build" --no-rebuild --quiet --destdir "$folder"
root=$folder$prefix
[ -x "$root/bin/qkscope" ] || fail "no program in $root/bin"
[ -f "$root/include/qkscope.h" ] || fail "no header in $root/include"

export PKG_CONFIG_PATH="$root/$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
flags=$(pkg-config --define-variable=prefix="$root" --cflags --libs qkscope)
# shellcheck disable=SC2086  # flags are words
"$@" -Wall -Wextra -Werror -o "$folder/probe" "$source/examples/probe.c" $flags

# A golden llama2.c model; its tokenizer has three markers, then every character from space on: score, length, bytes.
model=$folder/model.bin
cp "$source/tests/data/golden/mha-llama2c/v1.bin" "$model"
{
    printf '\10\0\0\0'
    printf '\0\0\0\0\5\0\0\0<unk>'
    printf '\0\0\0\0\5\0\0\0\n<s>\n'
    printf '\0\0\0\0\6\0\0\0\n</s>\n'
    character=32
    while [ $character -lt 125 ]; do
        printf '\0\0\0\0\1\0\0\0'
        # shellcheck disable=SC2059  # the format is the character
        printf "\\$(printf '%03o' $character)"
        character=$((character + 1))
    done
} > "$folder/tokenizer.bin"

export LD_LIBRARY_PATH="$root/$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
"$folder/probe" "$model" 'It was a fine morning, and she was not at all sorry to be alone.' > "$folder/out"
grep -q 'nats per token' "$folder/out" || fail "no loss: $(cat "$folder/out")"
layers=$(grep -c '^ *[0-9][0-9]*  *[0-9][0-9]*  *[0-9][0-9]*  *[0-9][0-9]*$' "$folder/out")
[ "$layers" -ge 1 ] || fail "no layers: $(cat "$folder/out")"
if "$folder/probe" "$folder/nothing" text 2> "$folder/err"; then fail "a missing model was accepted"; fi
[ "$(wc -l < "$folder/err")" -eq 1 ] || fail "expected one line, found: $(cat "$folder/err")"
