/* level.c - the table of levels, and what the processor says of itself. */
#include "math/level.h"

#include <string.h>

static bool always(void) { return true; }

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* What the compiler's own start-up code has asked the processor and the system; asking again would stop a virtual machine
 * for some microseconds each time.  F16C came before AVX2. */
static bool has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

/* What every processor with AVX-512 but the first, Knights Landing, has of it. */
static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/* Leaf 7, subleaf 1, EAX, and leaf 7, EDX: not every compiler's start-up code knows them. */
#define AVX512_BF16 (1u << 5)
#define AMX_BF16 (1u << 22)
#define AMX_TILE (1u << 24)
/* Registers that the system saves when threads take turns: bits of XCR0. */
#define STATE_TILES 0x60000u
/* Linux lends the tile registers to a process that asks; its threads and children have them, too. */
#define ARCH_REQ_XCOMP_PERM 0x1023
#define STATE_OF_TILES 18

static bool has_avx512_bf16(void)
{
    unsigned eax, ebx, ecx, edx;
    return has_avx512() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & AVX512_BF16);
}

/* Every processor with tiles rounds to bf16 by one instruction of AVX-512, too. */
static bool has_amx(void)
{
    unsigned eax, ebx, ecx, edx, low, high;
    if (!has_avx512() || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    if (!(edx & AMX_BF16) || !(edx & AMX_TILE)) return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0)); /* who has AVX-512 has it */
    (void)high;
    if ((low & STATE_TILES) != STATE_TILES) return false;
#if defined(__linux__)
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, STATE_OF_TILES) == 0;
#else
    return false; /* who would be asked there is not known */
#endif
}
#endif

const qk_level qk_levels[QK_N_LEVELS] = {
    [QK_LEVEL_PLAIN] = { "plain", always, QK_PLAIN_ROWS, QK_PLAIN_COLUMNS, QK_PLAIN_COLUMNS, qk_tile_plain,
                         qk_turn_plain, NULL },
#if defined(__x86_64__)
    [QK_LEVEL_AVX2] = { "avx2", has_avx2, QK_AVX2_ROWS, QK_AVX2_COLUMNS, QK_AVX2_COLUMNS, qk_tile_avx2, qk_turn_avx2,
                        NULL },
#define AVX512(name, present, unit)                                                                                    \
    { name, present, QK_AVX512_ROWS, QK_AVX512_COLUMNS, QK_AVX512_STEP, qk_tile_avx512, qk_turn_avx512, unit }
    [QK_LEVEL_AVX512] = AVX512("avx512", has_avx512, NULL),
    [QK_LEVEL_AVX512_BF16] = AVX512("avx512bf16", has_avx512_bf16, &qk_terms_avx512),
    [QK_LEVEL_AMX] = AVX512("amx", has_amx, &qk_terms_amx),
#undef AVX512
#endif
};

qk_operands qk_operands_for(qk_precision precision)
{
    static const qk_operands operands[] = {
        [QK_PRECISION_AUTO] = QK_OPERANDS_IN_TERMS,
        [QK_PRECISION_F32] = QK_OPERANDS_PLAIN,
        [QK_PRECISION_BF16] = QK_OPERANDS_ROUNDED,
    };
    return operands[precision];
}

const qk_level *qk_level_best(void)
{
    size_t best = QK_N_LEVELS - 1;
    while (!qk_levels[best].present()) best--;
    return &qk_levels[best];
}

qk_status qk_level_find(const qk_level **out, const char *name, qk_error *err)
{
    char names[128] = "";
    if (!name) {
        *out = qk_level_best();
        return QK_OK;
    }
    for (size_t i = 0; i < QK_N_LEVELS; i++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), i ? ", %s" : "%s", qk_levels[i].name);
        if (strcmp(qk_levels[i].name, name) != 0) continue;
        if (!qk_levels[i].present())
            return qk_fail(err, QK_E_UNSUPPORTED, "level \"%s\": this processor has up to %s", name,
                           qk_level_best()->name);
        *out = &qk_levels[i];
        return QK_OK;
    }
    return qk_fail(err, QK_E_ARGUMENT, "level \"%s\": expected one of %s", name, names);
}

const char *qk_level_name(const qk_level *level) { return (level ? level : qk_level_best())->name; }
