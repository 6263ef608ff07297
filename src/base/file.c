/* file.c - mapped reading; writing beside and renaming. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

qk_status qk_map_open(qk_map *out, const char *path, qk_error *err)
{
    qk_status status = QK_OK;
    struct stat info;
    void *data = NULL;
    /* O_NONBLOCK: a pipe without a writer is refused below, not waited for */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return qk_fail(err, QK_E_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0) {
        status = qk_fail(err, QK_E_IO, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        status = qk_fail(err, QK_E_IO, "%s: expected a file, found %s", path,
                         S_ISDIR(info.st_mode) ? "a folder" : "something else");
        goto out;
    }
    if (info.st_size == 0) {
        *out = (qk_map){ (const uint8_t *)"", 0 };
        goto out;
    }
    if ((uintmax_t)info.st_size > SIZE_MAX) {
        status = qk_fail(err, QK_E_IO, "%s: %jd bytes do not fit this machine's addresses", path,
                         (intmax_t)info.st_size);
        goto out;
    }
    data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        status = qk_fail(err, QK_E_IO, "%s: cannot map: %s", path, strerror(errno));
        goto out;
    }
    *out = (qk_map){ data, (size_t)info.st_size };
out:
    close(fd);
    return status;
}

void qk_map_close(qk_map *map)
{
    if (map->size) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (qk_map){ NULL, 0 };
}

/* Tell the system about the pages of [offset, offset + n_bytes). */
static void advise(const qk_map *map, size_t offset, size_t n_bytes, int advice)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), first = offset / page * page;
    if (n_bytes == 0 || offset >= map->size) return;
    if (n_bytes > map->size - offset) n_bytes = map->size - offset;
    madvise((void *)(uintptr_t)(map->data + first), offset + n_bytes - first, advice);
}

void qk_map_expect(const qk_map *map, size_t offset, size_t n_bytes) { advise(map, offset, n_bytes, MADV_WILLNEED); }

void qk_map_release(const qk_map *map, size_t offset, size_t n_bytes) { advise(map, offset, n_bytes, MADV_DONTNEED); }

char *qk_path_join(const char *folder, const char *name)
{
    size_t a = strlen(folder), b = strlen(name);
    bool slash = a > 0 && folder[a - 1] != '/';
    char *path = malloc(a + b + 2);
    if (!path) return NULL;
    memcpy(path, folder, a);
    if (slash) path[a++] = '/';
    memcpy(path + a, name, b + 1);
    return path;
}

bool qk_path_exists(const char *path) { return access(path, F_OK) == 0; }

bool qk_path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

qk_status qk_make_folders(const char *path, qk_error *err)
{
    char copy[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof copy)
        return qk_fail(err, QK_E_ARGUMENT, "folder name of %zu bytes: expected 1 to %d", n, PATH_MAX - 1);
    memcpy(copy, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (copy[i] != '/' && copy[i] != '\0') continue;
        char kept = copy[i];
        copy[i] = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            return qk_fail(err, QK_E_IO, "%s: cannot create folder: %s", copy, strerror(errno));
        copy[i] = kept;
    }
    if (!qk_path_is_folder(path)) return qk_fail(err, QK_E_IO, "%s: expected a folder, found something else", path);
    return QK_OK;
}

qk_status qk_output_open(qk_output *out, const char *path, qk_error *err)
{
    qk_output o = { 0 };
    struct stat info;
    /* The rename would put a file in the place of a device or a pipe. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return qk_fail(err, QK_E_IO, "%s: cannot write: expected a file, found %s", path,
                       S_ISDIR(info.st_mode) ? "a folder" : "something else");
    size_t capacity = strlen(path) + 32;
    o.path = strdup(path);
    o.temporary = malloc(capacity);
    if (!o.path || !o.temporary) {
        qk_output_discard(&o);
        return qk_out_of_memory(err, path, capacity);
    }
    snprintf(o.temporary, capacity, "%s.tmp-%ld", path, (long)getpid());
    o.stream = fopen(o.temporary, "wb");
    if (!o.stream) {
        qk_status status = qk_fail(err, QK_E_IO, "%s: cannot write: %s", path, strerror(errno));
        free(o.temporary);
        o.temporary = NULL;
        qk_output_discard(&o);
        return status;
    }
    *out = o;
    return QK_OK;
}

qk_status qk_output_commit(qk_output *out, qk_error *err)
{
    bool bad = ferror(out->stream) != 0;
    errno = bad ? EIO : 0;
    bad = fflush(out->stream) != 0 || bad;
    if (!bad && fsync(fileno(out->stream)) != 0 && errno != EINVAL && errno != EROFS) bad = true;
    int reason = errno;
    if (fclose(out->stream) != 0 && !bad) {
        bad = true;
        reason = errno;
    }
    out->stream = NULL;
    if (!bad && rename(out->temporary, out->path) != 0) {
        bad = true;
        reason = errno;
    }
    qk_status status = QK_OK;
    if (bad) {
        status = qk_fail(err, QK_E_IO, "%s: cannot write: %s", out->path, strerror(reason ? reason : EIO));
    } else {
        free(out->temporary);
        out->temporary = NULL;
    }
    qk_output_discard(out);
    return status;
}

void qk_output_discard(qk_output *out)
{
    if (out->stream) fclose(out->stream);
    if (out->temporary) unlink(out->temporary);
    free(out->temporary);
    free(out->path);
    *out = (qk_output){ 0 };
}

qk_status qk_write_file(const char *path, const void *bytes, size_t n_bytes, qk_error *err)
{
    qk_output out;
    qk_status status = qk_output_open(&out, path, err);
    if (status) return status;
    fwrite(bytes, 1, n_bytes, out.stream);
    return qk_output_commit(&out, err);
}
