/* level.c - the table of levels, and what the processor says of itself. */
#include "math/level.h"

#include <string.h>

static bool always(void) { return true; }

#if defined(__x86_64__)
/* What the compiler's own start-up code has asked the processor and the system; asking again would stop a virtual machine
 * for some microseconds each time.  F16C came before AVX2. */
static bool has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif

const qk_level qk_levels[QK_N_LEVELS] = {
    [QK_LEVEL_PLAIN] = { "plain", always, QK_PLAIN_ROWS, QK_PLAIN_COLUMNS, qk_tile_plain, qk_turn_plain },
#if defined(__x86_64__)
    [QK_LEVEL_AVX2] = { "avx2", has_avx2, QK_AVX2_ROWS, QK_AVX2_COLUMNS, qk_tile_avx2, qk_turn_avx2 },
#endif
};

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
