#!/bin/sh
# emulate.sh LEVEL [TEST...] - test programs at a level of the processor that this machine does not have: avx512 or amx.
# Tests: names as meson knows them (level terms math bf16 backward golden pass unless told).  Takes minutes.
#
# With QKSCOPE_EMULATOR (words in front of a program that run it on another processor) the programs run under that.
# Else a whole machine is emulated, for which this must be set:
#   QKSCOPE_BOCHS   folder in which Bochs was built with --enable-x86-64 --enable-avx --enable-evex --enable-amx
#                   --with-nogui; for amx from sources that tools/bochs_xfd.sh has changed
#   QKSCOPE_KERNEL  a Linux kernel from 5.16 with serial console and initramfs (vmlinuz of a distribution)
# and these must be there: cc and a static C library, cpio, grub-mkrescue with its i386-pc modules, xorriso, mtools.
# BUILD: the build folder (build).  LIMIT: seconds until the machine is given up (1800).
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build} LIMIT=${LIMIT:-1800}
say() { printf '%s\n' "$*" >&2; }
fail() { say "emulate: $*"; exit 1; }

case ${1:-} in
avx512) features= ;;
amx) features=', add_features="avx512bf16,amx,amx_bf16,amx_int8"' ;;
*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2 ;;
esac
level=$1
shift
[ $# -gt 0 ] || set -- level terms math bf16 backward golden pass
for name in "$@"; do [ -x "$BUILD/tests/test_$name" ] || fail "$BUILD/tests/test_$name: not built"; done
settings="QKSCOPE_LEVEL=$level CMOCKA_MESSAGE_OUTPUT=TAP OMP_WAIT_POLICY=passive OMP_NUM_THREADS=2"

# ---- a user-mode emulator ------------------------------------------------------------------------------------------

if [ -n "${QKSCOPE_EMULATOR:-}" ]; then
    bad=0
    # shellcheck disable=SC2086
    env $settings $QKSCOPE_EMULATOR "$BUILD/qkscope" --version || fail "no $level there"
    for name in "$@"; do
        # shellcheck disable=SC2086
        env $settings QK_TEST_DATA="$PWD/tests/data" QK_PROGRAM="$PWD/$BUILD/qkscope" \
            $QKSCOPE_EMULATOR "$BUILD/tests/test_$name" || { say "emulate: test_$name failed"; bad=1; }
    done
    exit $bad
fi

# ---- a whole machine -----------------------------------------------------------------------------------------------

[ -x "${QKSCOPE_BOCHS:-}/bochs" ] || fail "QKSCOPE_BOCHS: expected the folder of a built Bochs, found '${QKSCOPE_BOCHS:-}'"
[ -r "${QKSCOPE_KERNEL:-}" ] || fail "QKSCOPE_KERNEL: expected a Linux kernel, found '${QKSCOPE_KERNEL:-}'"
for tool in cc cpio grub-mkrescue xorriso mformat; do
    command -v $tool >/dev/null || fail "$tool: not installed"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/lib" "$work/root/lib64" "$work/cd/boot/grub"
cc -O1 -static -o "$work/root/init" tools/emulate_init.c || fail "cannot link a static program"

cp "$BUILD/qkscope" "$work/root/"
cp -r tests/data "$work/root/data"
echo "QKSCOPE_LEVEL=$level /qkscope --version" >"$work/root/commands" # fails where the level is not there
for name in "$@"; do
    cp "$BUILD/tests/test_$name" "$work/root/"
    echo "$settings QK_TEST_DATA=/data QK_PROGRAM=/qkscope /test_$name" >>"$work/root/commands"
done
for program in qkscope $(printf 'tests/test_%s ' "$@"); do
    ldd "$BUILD/$program"
done | sed -n 's|.*[[:space:]]\(/[^ ]*\).*|\1|p' | sort -u | while read -r library; do
    case $library in
    */ld-linux*) cp -L "$library" "$work/root/lib64/" ;;
    *) cp -L "$library" "$work/root/lib/" ;;
    esac
done
(cd "$work/root" && find . | cpio -o -H newc --quiet) >"$work/cd/boot/initrd"
cp "$QKSCOPE_KERNEL" "$work/cd/boot/vmlinuz"
# No clock but the oldest, and no sleep: both are slow to emulate.
cat >"$work/cd/boot/grub/grub.cfg" <<END
set timeout=0
menuentry tests {
    linux /boot/vmlinuz console=ttyS0,115200 acpi=off noapic nolapic hpet=disable idle=poll lpj=400000 nokaslr mitigations=off panic=-1 quiet
    initrd /boot/initrd
}
END
grub-mkrescue -o "$work/cd.iso" "$work/cd" --install-modules="normal linux iso9660 biosdisk" --locales="" --fonts="" \
    --themes="" >"$work/grub.log" 2>&1 || { cat "$work/grub.log" >&2; fail "grub-mkrescue failed"; }

bios=$(cd "$QKSCOPE_BOCHS/bios" && pwd)
for start in "$bios"/SeaBIOS/bios.bin-*; do :; done # the newest
cat >"$work/bochsrc" <<END
display_library: nogui
megs: 1024
cpu: model=corei7_skylake_x, count=1, ips=50000000, reset_on_triple_fault=0$features
romimage: file=$start
vgaromimage: file=$bios/VGABIOS-lgpl/VGABIOS-lgpl-latest.bin
ata0-master: type=cdrom, path=$work/cd.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
clock: sync=none
log: $work/log
panic: action=fatal
plugin_ctrl: unmapped=1
END
say "emulate: $level, $# programs; the machine is given up after $LIMIT seconds"
BXSHARE=$bios timeout "$LIMIT" "$(cd "$QKSCOPE_BOCHS" && pwd)/bochs" -q -f "$work/bochsrc" </dev/null >"$work/out" 2>&1 || true
tr -d '\r' <"$work/serial" | sed -n '/^\[ *[0-9.]*\] /d;p'
n_good=$(tr -d '\r' <"$work/serial" | grep -c '^== /.*: exit 0$' || true)
[ "$n_good" -eq $(($# + 1)) ] || fail "$n_good of $(($# + 1)) programs succeeded, the first of them qkscope at this level"
say "emulate: $level: $# of $# test programs succeeded"
