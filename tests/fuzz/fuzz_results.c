/* fuzz_results.c - any bytes as results.json: refused in one line, or drawn, tabled and written up. */
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz_ckpt.h"
#include "report/report.h"

static char folder[64]; /* "" before the first input */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static void remove_folder(void) { nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[96];
    qk_error err = { QK_OK, "" };
    const qk_report_options options = { false, false };
    if (!*folder) {
        snprintf(folder, sizeof folder, "%s/qk-fuzz-results-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        must(mkdtemp(folder) && atexit(remove_folder) == 0);
    }
    snprintf(path, sizeof path, "%s/results.json", folder);
    must(qk_write_file(path, data, size, &err) == QK_OK);
    qk_status status = qk_report_build(folder, &options, &err);
    if (status) must(err.status == status && err.message[0] && !strchr(err.message, '\n'));
    return 0;
}
