/* cache.c - org/name[@revision] in the Hugging Face cache, which is only ever read:
 *   models--ORG--NAME/refs/REVISION         the commit that a branch or tag stood at
 *   models--ORG--NAME/snapshots/COMMIT/...  its files, links into models--ORG--NAME/blobs */
#include "ckpt/ckpt_private.h"

#include <stdlib.h>
#include <string.h>

/* One part of a path: letters, digits and ._- only, and not . or .. or hidden. */
static bool plain_part(const char *s, size_t n)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return n > 0 && s[0] != '.' && strspn(s, allowed) >= n;
}

/* All parts between slashes plain: a revision may be "refs/pr/1". */
static bool plain_path(const char *s, size_t max_parts)
{
    for (size_t parts = 1; parts <= max_parts; parts++) {
        size_t n = strcspn(s, "/");
        if (!plain_part(s, n)) return false;
        if (!s[n]) return true;
        s += n + 1;
    }
    return false;
}

/* models--ORG--NAME; malloc'ed. */
static char *folder_name(const char *repository)
{
    static const char prefix[] = "models--";
    size_t n = strlen(repository);
    char *name = malloc(sizeof prefix + n + 1); /* "/" becomes "--": one byte more */
    if (!name) return NULL;
    char *to = name + sizeof prefix - 1;
    memcpy(name, prefix, sizeof prefix - 1);
    for (; *repository; repository++) {
        if (*repository == '/') *to++ = '-';
        *to++ = *repository == '/' ? '-' : *repository;
    }
    *to = '\0';
    return name;
}

/* a/b/c; malloc'ed. */
static char *join3(const char *a, const char *b, const char *c)
{
    char *ab = qk_path_join(a, b), *abc = ab ? qk_path_join(ab, c) : NULL;
    free(ab);
    return abc;
}

/* refs/REVISION holds one commit name; *commit is NULL where there is no such file, malloc'ed otherwise. */
static qk_status read_reference(char **commit, const char *repository, const char *revision, qk_error *err)
{
    qk_map map = { NULL, 0 };
    qk_status status = QK_OK;
    char *path = join3(repository, "refs", revision);
    *commit = NULL;
    if (!path) return qk_out_of_memory(err, repository, 0);
    if (!qk_path_exists(path) || qk_path_is_folder(path)) goto out;
    status = qk_map_open(&map, path, err);
    if (status) goto out;
    size_t n = map.size;
    while (n > 0 && strchr(" \t\r\n", map.data[n - 1])) n--;
    *commit = strndup((const char *)map.data, n);
    if (!*commit) {
        status = qk_out_of_memory(err, path, n);
    } else if (strlen(*commit) != n || !plain_path(*commit, 1)) {
        status = qk_fail(err, QK_E_FORMAT, "%s: expected the name of a commit, found \"%.80s\"", path, *commit);
        free(*commit);
    }
    qk_map_close(&map);
out:
    free(path);
    return status;
}

/* The snapshot of `revision` in the folder of one repository. */
static qk_status find_snapshot(char **out, const char *repository, const char *name, const char *revision,
                               qk_error *err)
{
    char *commit = NULL, *path = NULL;
    qk_status status = read_reference(&commit, repository, revision, err);
    if (status) return status;
    path = join3(repository, "snapshots", commit ? commit : revision);
    if (!path) {
        status = qk_out_of_memory(err, repository, 0);
    } else if (!qk_path_is_folder(path)) {
        status = commit ? qk_fail(err, QK_E_IO, "%s: revision %s is commit %s, but %s is not in the cache", name,
                                  revision, commit, path)
                        : qk_fail(err, QK_E_IO, "%s: revision %s: neither refs/%s nor snapshots/%s in %s", name,
                                  revision, revision, revision, repository);
        free(path);
    } else {
        *out = path;
    }
    free(commit);
    return status;
}

qk_status qk_cache_find(char **out, const char *name, const char *cache_dir, qk_error *err)
{
    char *repository = strdup(name), *folder = NULL, *path = NULL;
    qk_status status = QK_OK;
    if (!repository) return qk_out_of_memory(err, name, strlen(name));
    char *at = strchr(repository, '@');
    const char *revision = at ? at + 1 : "main";
    if (at) *at = '\0';
    if (!plain_path(repository, 2) || !plain_path(revision, 8)) {
        status = qk_fail(err, QK_E_IO, "%s: no such file or folder, nor a name like org/name[@revision]", name);
        goto out;
    }
    folder = folder_name(repository);
    path = folder ? qk_path_join(cache_dir, folder) : NULL;
    if (!path) status = qk_out_of_memory(err, name, strlen(name));
    else if (!qk_path_is_folder(path))
        status = qk_fail(err, QK_E_IO, "%s: no such file or folder, and no %s in the Hugging Face cache %s", name,
                         folder, cache_dir);
    else status = find_snapshot(out, path, name, revision, err);
out:
    free(path);
    free(folder);
    free(repository);
    return status;
}
