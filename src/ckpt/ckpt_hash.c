/* ckpt_hash.c - one SHA-256 that names the weights, whatever machine or cache they lie in. */
#include "ckpt/ckpt_private.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)16 << 20) /* between two calls of the progress */

typedef struct hash_work {
    const qk_progress *progress;
    uint64_t done, total; /* bytes that have to be read */
} hash_work;

static bool is_hash(const char *name)
{
    return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

/* A snapshot of the Hugging Face cache links to blobs/HASH, named by the SHA-256 of what is inside. */
static bool named_by_hash(char hex[65], const char *path)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target);
    if (n <= 0 || (size_t)n == sizeof target) return false;
    target[n] = '\0';
    char *name = strrchr(target, '/');
    if (!name || !is_hash(name + 1)) return false;
    *name = '\0';
    const char *folder = strrchr(target, '/');
    if (strcmp(folder ? folder + 1 : target, "blobs") != 0) return false;
    memcpy(hex, name + 1, 65);
    return true;
}

static qk_status hash_bytes(char hex[65], const qk_ckpt_file *file, hash_work *work, qk_error *err)
{
    const qk_map *map = &file->map;
    qk_sha256 hash;
    qk_sha256_start(&hash);
    for (size_t at = 0; at < map->size; at += CHUNK_BYTES) {
        size_t n = map->size - at < CHUNK_BYTES ? map->size - at : CHUNK_BYTES;
        if (work->progress && work->progress->tick &&
            !work->progress->tick(work->progress->user, "hash", (double)work->done, (double)work->total))
            return qk_fail(err, QK_E_INTERRUPTED, "%s: interrupted while hashing, at byte %zu of %zu", file->path, at,
                           map->size);
        qk_sha256_add(&hash, map->data + at, n);
        if (!file->borrowed) qk_map_release(map, at, n); /* a hashed model need not stay in memory */
        work->done += n;
    }
    qk_sha256_hex(hex, &hash);
    return QK_OK;
}

/* As `sha256sum` prints it, so that anybody can check: HASH, two blanks, NAME. */
static void add_line(qk_sha256 *all, const char *hex, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    qk_sha256_add(all, hex, 64);
    qk_sha256_add(all, "  ", 2);
    qk_sha256_add(all, name, strlen(name));
    qk_sha256_add(all, "\n", 1);
}

qk_status qk_ckpt_hash(char hex[65], const qk_ckpt *ckpt, const qk_progress *progress, qk_error *err)
{
    hash_work work = { .progress = progress };
    qk_sha256 all;
    char one[65];
    for (size_t i = 0; i < ckpt->n_files; i++)
        if (!named_by_hash(one, ckpt->files[i].path)) work.total += ckpt->files[i].map.size;
    qk_sha256_start(&all);
    for (size_t i = 0; i < ckpt->n_files; i++) { /* shards were opened in name order */
        qk_status status = named_by_hash(one, ckpt->files[i].path) ? QK_OK : hash_bytes(one, &ckpt->files[i], &work,
                                                                                        err);
        if (status) return status;
        add_line(&all, one, ckpt->files[i].path);
    }
    if (ckpt->n_files == 1) memcpy(hex, one, sizeof one);
    else qk_sha256_hex(hex, &all);
    return QK_OK;
}
