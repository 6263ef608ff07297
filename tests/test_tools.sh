#!/bin/sh
# test_tools.sh COMPILER SOURCE_ROOT - the two guards of tools/ can fail: each is shown what it must refuse.  TAP.
compiler=$1 root=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0

# check WHAT EXPECTED_STATUS EXPECTED_TEXT COMMAND...
check() {
    what=$1 status=$2 text=$3
    shift 3
    output=$("$@" 2>&1)
    got=$?
    n=$((n + 1))
    case $output in
    *"$text"*) [ $got -eq "$status" ] && echo "ok $n - $what" && return ;;
    esac
    echo "not ok $n - $what"
    echo "# exit $got, expected $status; expected \"$text\" in: $output"
}

mkdir -p "$work/src/base" "$work/src/stats" "$work/src/pass"
printf '#include "base/base.h"\n#include "qkscope.h"\n#include <math.h>\n' >"$work/src/stats/a.c"
check "layers: base is everybody's" 0 "" "$root/tools/layers.sh" "$work"
printf '#include "model/model.h"\n' >>"$work/src/stats/a.c"
check "layers: stats knows no model" 1 'src/stats/a.c:4: stats includes "model/model.h"' "$root/tools/layers.sh" "$work"
printf '#include "base/base.h"\n' >"$work/src/stats/a.c"
printf '  #  include "cli/options.h"\n#include "../model/model.h"\n' >"$work/src/pass/b.h"
check "layers: no way around by ../" 1 'src/pass/b.h:2: pass includes "../model/model.h"' "$root/tools/layers.sh" "$work"
check "layers: nobody includes cli" 1 'src/pass/b.h:1: pass includes "cli/options.h"' "$root/tools/layers.sh" "$work"
rm "$work/src/pass/b.h"
mkdir "$work/src/attic"
check "layers: a new room is named" 1 "src/attic: expected a room" "$root/tools/layers.sh" "$work"

# archive NAME 'C TEXT'
archive() {
    printf '%s\n' "$2" >"$work/$1.c"
    $compiler -O2 -fPIC -c "$work/$1.c" -o "$work/$1.o" && ar rcs "$work/$1.a" "$work/$1.o"
}
archive tables 'extern int f(void); int (*const table[])(void) = { f }; const char *const names[] = { "a" };'
check "nostatic: const tables are no state" 0 "" "$root/tools/nostatic.sh" "$work/tables.a"
archive zeroed 'int next(void) { static int n; return n++; }'
check "nostatic: a counter in .bss" 1 "in .bss" "$root/tools/nostatic.sh" "$work/zeroed.a"
archive filled 'int verbose = 1;'
check "nostatic: a flag in .data" 1 "filled.o: verbose in .data" "$root/tools/nostatic.sh" "$work/filled.a"
archive private '_Thread_local int last;'
check "nostatic: a thread's own variable" 1 "private.o: last in .tbss" "$root/tools/nostatic.sh" "$work/private.a"
archive names 'const char *names[] = { "a" };'
check "nostatic: a table that forgot a const" 1 "names.o: names in .data" "$root/tools/nostatic.sh" "$work/names.a"
echo "1..$n"
