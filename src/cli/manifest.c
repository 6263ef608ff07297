/* manifest.c - manifest.json: what was run, with what, on what (docs/RESULTS.md). */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/build_commit.h"
#include "cli/build_info.h"
#include "study/common.h"

time_t cli_now(void)
{
    const char *fixed = getenv("SOURCE_DATE_EPOCH");
    uint64_t seconds;
    if (fixed && cli_parse_count(&seconds, "SOURCE_DATE_EPOCH", fixed, 0, 253402300799 /* year 9999 */, NULL) == QK_OK)
        return (time_t)seconds;
    return time(NULL);
}

static json_t *iso_time(time_t when)
{
    struct tm utc;
    char text[32];
    if (!gmtime_r(&when, &utc)) return json_null();
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(text);
}

/* The processor's name as Linux tells it; where it does not, the kind of machine. */
static json_t *cpu_name(void)
{
    struct utsname machine;
    char line[512];
    FILE *info = fopen("/proc/cpuinfo", "r");
    json_t *name = NULL;
    while (info && !name && fgets(line, sizeof line, info)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = '\0';
        name = qk_json_text(colon + 1 + strspn(colon + 1, " \t"));
    }
    if (info) fclose(info);
    if (name) return name;
    return uname(&machine) == 0 ? qk_json_text(machine.machine) : json_null();
}

static json_t *machine_json(void)
{
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return json_pack("{s:o,s:I,s:I}", "cpu", cpu_name(), "cores", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory",
                     (json_int_t)memory);
}

static json_t *command_json(const cli_command *command)
{
    json_t *words = json_array();
    for (int i = 0; words && i < command->argc; i++) json_array_append_new(words, qk_json_text(command->argv[i]));
    return words;
}

/* Seeds of the random controls, in order. */
static json_t *seeds_json(const cli_command *command)
{
    json_t *seeds = json_array();
    for (const cli_option_id *o = command->verb->options; *o != OPTION_END; o++)
        for (uint64_t i = 0; *o == OPTION_SEEDS && i < command->options.seeds; i++)
            json_array_append_new(seeds, json_integer((json_int_t)(command->options.seed + i)));
    return seeds;
}

const char *cli_level_name(const cli_command *command)
{
    return command->options.reference ? "reference" : qk_level_name(command->options.level);
}

json_t *cli_manifest(const cli_command *command, const cli_run *run, const json_t *results)
{
    json_t *used = json_object_get(results, "settings");
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    bool fixed = getenv("SOURCE_DATE_EPOCH") != NULL;
    return json_pack("{s:o,s:O,s:s,s:{s:s,s:s,s:s},s:o,s:i,s:s,s:s,s:O,s:O,s:o,s:o,s:o,s:f,s:I}", "command",
                     command_json(command), "settings", used ? used : run->settings, "version", qk_version(), "build",
                     "compiler", QK_BUILD_COMPILER, "flags", QK_BUILD_FLAGS, "commit", QK_BUILD_COMMIT, "machine",
                     machine_json(), "threads", qk_thread_count((int)command->options.threads), "precision",
                     cli_choice_name(OPTION_PRECISION, command->options.precision), "level", cli_level_name(command),
                     "models", run->models, "data", run->data, "seeds", seeds_json(command), "started",
                     iso_time(fixed ? cli_now() : command->started), "finished", iso_time(cli_now()), "seconds",
                     cli_seconds() - command->started_seconds, "peak_memory_bytes", (json_int_t)usage.ru_maxrss * 1024);
}
