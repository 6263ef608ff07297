/* run.c - the folder of a run: whose it is, what of it is done, and its JSON files. */
#include "report/report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "report/store.h"
#include "report/sweep.h"

enum { KEY_FLAGS = JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17), MAX_KEY_DEPTH = 16 };

struct qk_run {
    char *folder;
    qk_store *store;
    int lock; /* the folder's descriptor, locked while the run is open; -1 where there is none */
};

/* ---- what differs between two keys */

typedef struct difference {
    struct { const char *key; size_t index; } steps[MAX_KEY_DEPTH]; /* key NULL: an array's element */
    int n_steps;
    const json_t *wanted, *found; /* NULL where absent */
} difference;

static bool find_difference(difference *d, const json_t *wanted, const json_t *found);

static bool differs_below(difference *d, const char *key, size_t index, const json_t *wanted, const json_t *found)
{
    d->steps[d->n_steps].key = key;
    d->steps[d->n_steps++].index = index;
    if (find_difference(d, wanted, found)) return true;
    d->n_steps--;
    return false;
}

/* The first place where two values differ, depth first in the order of `wanted`.  Below MAX_KEY_DEPTH the whole value
 * is what differs: a key from a file may be nested by its writer as deep as he likes. */
static bool find_difference(difference *d, const json_t *wanted, const json_t *found)
{
    const char *key;
    json_t *value;
    if (wanted && found && json_equal(wanted, found)) return false;
    if (json_is_object(wanted) && json_is_object(found) && d->n_steps < MAX_KEY_DEPTH) {
        json_object_foreach((json_t *)(uintptr_t)wanted, key, value)
            if (differs_below(d, key, 0, value, json_object_get(found, key))) return true;
        json_object_foreach((json_t *)(uintptr_t)found, key, value)
            if (!json_object_get(wanted, key)) return differs_below(d, key, 0, NULL, value);
    }
    if (json_is_array(wanted) && json_is_array(found) && d->n_steps < MAX_KEY_DEPTH) {
        size_t n = json_array_size(wanted), m = json_array_size(found);
        for (size_t i = 0; i < n || i < m; i++)
            if (differs_below(d, NULL, i, json_array_get(wanted, i), json_array_get(found, i))) return true;
    }
    d->wanted = wanted;
    d->found = found;
    return true;
}

/* "settings.seeds[2]", malloc'ed. */
static char *name_difference(const difference *d)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return NULL;
    for (int i = 0; i < d->n_steps; i++)
        if (d->steps[i].key)
            fprintf(stream, "%s%s", i ? "." : "", d->steps[i].key);
        else
            fprintf(stream, "[%zu]", d->steps[i].index);
    if (d->n_steps == 0) fputs("key", stream);
    fclose(stream);
    return text;
}

static void show(char *text, size_t n, const json_t *value)
{
    char *all = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(10)) : NULL;
    snprintf(text, n, "%.*s%s", (int)n - 4, all ? all : "nothing", all && strlen(all) > n - 4 ? "..." : "");
    free(all);
}

/* Says in `err` how the stored run differs from the wanted one. */
static qk_status refuse_difference(const char *folder, const char *wanted_text, const char *found_text, qk_error *err)
{
    qk_status status;
    difference d = { .n_steps = 0 };
    char *name = NULL, wanted_value[100], found_value[100];
    json_t *wanted = json_loads(wanted_text, JSON_DECODE_ANY, NULL),
           *found = json_loads(found_text, JSON_DECODE_ANY, NULL);
    if (!wanted || !found) {
        status = qk_fail(err, QK_E_FORMAT, "%s/run.db: key: expected JSON, found something else", folder);
        goto out;
    }
    find_difference(&d, wanted, found);
    name = name_difference(&d);
    show(wanted_value, sizeof wanted_value, d.wanted);
    show(found_value, sizeof found_value, d.found);
    status = qk_fail(err, QK_E_ARGUMENT, "%s: holds a run of other settings: %s: expected %s, found %s; choose another folder",
                     folder, name ? name : "key", wanted_value, found_value);
out:
    free(name);
    json_decref(wanted);
    json_decref(found);
    return status;
}

/* ---- opening */

static qk_status count_files(size_t *n_files, const char *folder, qk_error *err)
{
    size_t n = 0;
    DIR *files = opendir(folder);
    if (!files) return qk_fail(err, QK_E_IO, "%s: %s", folder, strerror(errno));
    for (const struct dirent *file; (file = readdir(files));)
        n += strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0;
    closedir(files);
    *n_files = n;
    return QK_OK;
}

/* The folder is new, empty, or already a run's. */
static qk_status claim_folder(const char *folder, const char *db_path, qk_error *err)
{
    size_t n_files = 0;
    qk_status status = qk_make_folders(folder, err);
    if (status || qk_path_exists(db_path)) return status;
    status = count_files(&n_files, folder, err);
    if (!status && n_files > 0)
        status = qk_fail(err, QK_E_ARGUMENT, "%s: expected a new folder, an empty one or a run, found %zu other file%s",
                         folder, n_files, n_files == 1 ? "" : "s");
    return status;
}

/* One process a run: two would mix their units. The lock goes with its process, however that ends; a file system that
 * knows no such locks gives none. */
static qk_status lock_folder(qk_run *run, qk_error *err)
{
    run->lock = open(run->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->lock < 0 || flock(run->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return QK_OK;
    return qk_fail(err, QK_E_IO, "%s: another process works in this run", run->folder);
}

/* No unit and no results: a run that failed at once, or was only begun. It stands in nobody's way. */
static bool nothing_finished(const qk_run *run)
{
    char *results = qk_path_join(run->folder, "results.json");
    bool nothing = results && !qk_path_exists(results) && qk_store_count(run->store) == 0;
    free(results);
    return nothing;
}

static qk_status claim_store(qk_run *run, const char *key, bool resume, qk_error *err)
{
    char *found = NULL;
    qk_status status = qk_store_key(&found, run->store, err);
    if (!status && (!found || nothing_finished(run)))
        status = qk_store_begin(run->store, key, err);
    else if (!status && strcmp(found, key) != 0)
        status = refuse_difference(run->folder, key, found, err);
    else if (!status && !resume)
        status = qk_fail(
            err, QK_E_ARGUMENT,
            "%s: holds this very run already (%zu units done): continue it with --resume or choose another folder",
            run->folder, qk_store_count(run->store));
    free(found);
    return status;
}

qk_status qk_run_open(qk_run **out, const char *folder, const json_t *key, bool resume, qk_error *err)
{
    qk_status status;
    qk_run *run = calloc(1, sizeof *run);
    char *db_path = qk_path_join(folder, "run.db"), *key_text = json_dumps(key, KEY_FLAGS);
    if (run) run->lock = -1;
    if (!run || !db_path || !key_text || !(run->folder = strdup(folder))) {
        status = qk_out_of_memory(err, folder, sizeof *run);
        goto out;
    }
    status = claim_folder(folder, db_path, err);
    if (!status) status = lock_folder(run, err);
    if (!status) status = qk_store_open(&run->store, db_path, err);
    if (!status) status = claim_store(run, key_text, resume, err);
    if (status) goto out;
    qk_sweep_leftovers(folder);
    *out = run;
    run = NULL;
out:
    qk_run_close(run);
    free(db_path);
    free(key_text);
    return status;
}

void qk_run_close(qk_run *run)
{
    if (!run) return;
    qk_store_close(run->store);
    if (run->lock >= 0) close(run->lock);
    free(run->folder);
    free(run);
}

const char *qk_run_folder(const qk_run *run) { return run->folder; }

/* ---- units */

qk_status qk_run_put(qk_run *run, size_t model, const char *condition, size_t document, const json_t *payload,
                     qk_error *err)
{
    char *text = json_dumps(payload, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    if (!text) return qk_out_of_memory(err, "a unit of the journal", 0);
    qk_status status = qk_store_put(run->store, model, condition, document, text, err);
    free(text);
    return status;
}

json_t *qk_run_get(const qk_run *run, size_t model, const char *condition, size_t document)
{
    char *text = qk_store_get(run->store, model, condition, document);
    /* A damaged payload reads as not done: the unit is then computed again. */
    json_t *payload = text ? json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL) : NULL;
    free(text);
    return payload;
}

size_t qk_run_count(const qk_run *run) { return qk_store_count(run->store); }

/* ---- JSON files */

static int write_bytes(const char *bytes, size_t n_bytes, void *stream)
{
    return fwrite(bytes, 1, n_bytes, stream) == n_bytes ? 0 : -1;
}

qk_status qk_run_write_json(const qk_run *run, const char *name, const json_t *object, qk_error *err)
{
    qk_output out;
    char *path = qk_path_join(run->folder, name);
    if (!path) return qk_out_of_memory(err, name, strlen(run->folder));
    qk_status status = qk_output_open(&out, path, err);
    if (status) goto out;
    errno = 0;
    if (json_dump_callback(object, write_bytes, out.stream, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) != 0) {
        status = qk_fail(err, QK_E_IO, "%s: cannot write: %s", path, errno ? strerror(errno) : "not a JSON object");
        qk_output_discard(&out);
        goto out;
    }
    fputc('\n', out.stream);
    status = qk_output_commit(&out, err);
out:
    free(path);
    return status;
}
