#!/bin/sh
# nostatic.sh LIBRARY.a - the library keeps no state outside its handles: no writable data in any object.
# One line a symbol, exit 1.  (Sanitizers and coverage add data of their own: run on a plain build.)
#
# Read-only after all, although nm marks it d:
#   .data.rel.ro*        const tables of pointers, made read-only once the loader has relocated them
# The compiler's, not ours:
#   .gomp_critical_user_*  the lock behind an OpenMP critical section
[ -f "$1" ] || { echo "usage: nostatic.sh LIBRARY.a"; exit 2; }
symbols=$(nm --format=sysv "$1") || exit 2

# name|value|class|type|size|line|section; a line "Symbols from ARCHIVE[OBJECT]:" precedes each object
found=$(printf '%s\n' "$symbols" | awk -F'|' '
    /^Symbols from / { sub(/.*\[/, ""); sub(/\].*/, ""); object = $0; next }
    NF < 7 { next }
    { name = $1; class = $3; size = $5; section = $7
      gsub(/ /, "", name); gsub(/ /, "", class); gsub(/ /, "", size); gsub(/ /, "", section); n_symbols++ }
    class !~ /^[bBdDcCgGsS]$/ { next }
    section ~ /^\.data\.rel\.ro/ { next }
    name ~ /^\.gomp_critical_user_/ { next }
    { printf "%s: %s in %s, %s bytes: expected no writable data in the library\n", object, name, section, size }
    END { if (n_symbols == 0) print "no symbol read: expected a static library with symbols" }')
[ -z "$found" ] && exit 0
printf '%s\n' "$found"
exit 1
