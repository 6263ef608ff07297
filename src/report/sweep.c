/* sweep.c - a file that is written beside its place is removed by whoever writes it, unless that process is killed:
 * then the next one that works in the folder does it. */
#include "report/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* True for "results.json.tmp-1234" when 1234 is no process. */
static bool is_leftover(const char *name)
{
    char *end;
    const char *dot = strrchr(name, '.');
    if (!dot || strncmp(dot, ".tmp-", 5) != 0 || dot[5] < '1' || dot[5] > '9') return false;
    errno = 0;
    long pid = strtol(dot + 5, &end, 10);
    return *end == '\0' && errno == 0 && pid <= INT32_MAX && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* Takes over the folder's descriptor; -1 is no folder. */
static void sweep_one(int fd)
{
    DIR *files = fd >= 0 ? fdopendir(fd) : NULL;
    if (!files) {
        if (fd >= 0) close(fd);
        return;
    }
    for (const struct dirent *file; (file = readdir(files));)
        if (is_leftover(file->d_name)) unlinkat(fd, file->d_name, 0); /* a failure leaves it for the next */
    closedir(files);
}

void qk_sweep_leftovers(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    sweep_one(openat(fd, "figures", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    sweep_one(fd);
}
