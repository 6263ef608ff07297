#!/bin/sh
# bochs_xfd.sh SOURCES - teaches the sources of Bochs 3 (the folder with configure) two things that Linux wants before it
# lends AMX to a program: XFD, extended feature disable (Intel's manual, volume 1, 13.14: MSRs 0x1c4 and 0x1c5, #NM at the
# first use of a tile), and the AMX bits of CPUID leaf 7 in the model corei7_skylake_x.  One processor.  Run it once.
set -eu
cd "${1:?usage: tools/bochs_xfd.sh SOURCES}"
! grep -q qk_xfd cpu/msr.cc || { echo "bochs_xfd: done before" >&2; exit 0; }

# insert FILE PATTERN N TEXT: behind the N-th line that matches; fails where there is none
insert() {
    awk -v pattern="$2" -v wanted="$3" -v text="$4" '
        { print }
        $0 ~ pattern && ++n == wanted { print text; done = 1 }
        END { exit !done }' "$1" >"$1.new" || { rm -f "$1.new"; echo "bochs_xfd: $1: no line like \"$2\"" >&2; exit 1; }
    mv "$1.new" "$1"
}

insert cpu/cpuid.cc 'leaf->eax \|= \(1<<3\);' 1 '    if (is_cpu_extension_supported(BX_ISA_AMX)) leaf->eax |= 1 << 4;'
insert cpu/crregs.cc 'BX_XCR0_XTILEDATA_BIT\]\.attr' 1 \
    '    xsave_restore[xcr0_t::BX_XCR0_XTILEDATA_BIT].attr |= BX_XSAVE_XFD_SUPPORT;'
insert cpu/cpudb/intel/corei7_skylake-x.cc 'leaf->ebx = get_std_cpuid_leaf_7_ebx' 1 \
    '    leaf->eax = leaf->ecx = 0; leaf->edx = get_std_cpuid_leaf_7_edx(); break;'
insert cpu/proc_ctrl.cc '^#define LOG_THIS' 1 'Bit64u qk_xfd = 0, qk_xfd_error = 0;'
insert cpu/proc_ctrl.cc '^ *set_amx_ok\(\);' 1 '  if (qk_xfd & BX_XCR0_XTILEDATA_MASK) clear_amx_ok();'
line=$(grep -n 'void BX_CPP_AttrRegparmN(1) BX_CPU_C::BxNoAMX' cpu/proc_ctrl.cc | cut -d: -f1)
awk -v from="${line:-0}" '
    from && NR > from && !done && /BX_ASSERT\(0\);/ {
        print "  if (qk_xfd & BX_XCR0_XTILEDATA_MASK) {"
        print "    qk_xfd_error |= BX_XCR0_XTILEDATA_MASK;"
        print "    exception(BX_NM_EXCEPTION, 0);"
        print "  }"
        done = 1
    }
    { print }
    END { exit !done }' cpu/proc_ctrl.cc >cpu/proc_ctrl.cc.new
mv cpu/proc_ctrl.cc.new cpu/proc_ctrl.cc
insert cpu/msr.cc '^#define LOG_THIS' 1 'extern Bit64u qk_xfd, qk_xfd_error;'
insert cpu/msr.cc 'msr_desc\[BX_MSR_XSS\] = new' 1 \
    '  msr_desc[BX_MSR_IA32_XFD] = new MSR_Descriptor("MSR_IA32_XFD", BX_ISA_AMX, ~Bit64u(1 << 18));
  msr_desc[BX_MSR_IA32_XFD_ERROR] = new MSR_Descriptor("MSR_IA32_XFD_ERR", BX_ISA_AMX, ~Bit64u(1 << 18));'
insert cpu/msr.cc 'val64 = BX_CPU_THIS_PTR msr\.ia32_xss;' 1 '      break;
    case BX_MSR_IA32_XFD:
      val64 = qk_xfd;
      break;
    case BX_MSR_IA32_XFD_ERROR:
      val64 = qk_xfd_error;'
insert cpu/msr.cc 'msr\.ia32_xss = val_64;' 1 '      break;
    case BX_MSR_IA32_XFD:
      qk_xfd = val_64;
      handleAvxModeChange();
      break;
    case BX_MSR_IA32_XFD_ERROR:
      qk_xfd_error = val_64;'
echo "bochs_xfd: configure and build now" >&2
