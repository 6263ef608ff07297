/* report_files.h - run folders for the tests of src/report: fixtures copied, changed, read back and checked. */
#ifndef QK_TESTS_REPORT_FILES_H
#define QK_TESTS_REPORT_FILES_H

#include "testing.h"

#include <dirent.h>
#include <ftw.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "markup.h"
#include "report/report.h"

static char scratch[40];
static const qk_report_options plain __attribute__((unused)) = { false, false };

/* fontconfig, below cairo, keeps what it found for ever: not ours to free. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libfontconfig\n"; }

static inline const char *in_scratch(const char *folder, const char *name)
{
    static char paths[8][300];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s%s%s", scratch, folder, *name ? "/" : "", name);
    return path;
}

/* A file as text, NUL-terminated; the caller's to free(). */
static inline char *read_text(const char *path)
{
    qk_map map;
    assert_ok(qk_map_open(&map, path, err));
    char *text = malloc(map.size + 1);
    assert_non_null(text);
    memcpy(text, map.data, map.size);
    text[map.size] = '\0';
    qk_map_close(&map);
    return text;
}

static inline json_t *load_fixture(const char *study, const char *name)
{
    char part[64];
    snprintf(part, sizeof part, "report/%s/%s", study, name);
    json_t *object = json_load_file(data_path(part), 0, NULL);
    assert_non_null(object);
    return object;
}

static inline void save_json(const char *folder, const char *name, const json_t *object)
{
    assert_ok(qk_make_folders(in_scratch(folder, ""), err));
    assert_int_equal(json_dump_file(object, in_scratch(folder, name), JSON_COMPACT | JSON_REAL_PRECISION(17)), 0);
}

/* A run folder with changed results, and the fixture's arrays where there are some. */
static inline void save_run(const char *folder, const char *study, const json_t *results)
{
    json_t *manifest = load_fixture(study, "manifest.json");
    save_json(folder, "results.json", results);
    save_json(folder, "manifest.json", manifest);
    json_decref(manifest);
    if (strcmp(study, "massive") != 0) return;
    qk_map map;
    assert_ok(qk_map_open(&map, data_path("report/massive/arrays.safetensors"), err));
    assert_ok(qk_write_file(in_scratch(folder, "arrays.safetensors"), map.data, map.size, err));
    qk_map_close(&map);
}

static inline void save_fixture(const char *folder, const char *study)
{
    json_t *results = load_fixture(study, "results.json");
    save_run(folder, study, results);
    json_decref(results);
}

static inline size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, part)); p += strlen(part)) n++;
    return n;
}

/* Calls `see` for every regular file below a folder of the scratch space, in order of names. */
static inline void each_file(const char *folder, void (*see)(void *user, const char *path), void *user)
{
    struct dirent **names = NULL;
    int n = scandir(folder, &names, NULL, alphasort);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        struct stat info;
        char *path = qk_path_join(folder, names[i]->d_name);
        assert_non_null(path);
        if (names[i]->d_name[0] != '.' && lstat(path, &info) == 0) {
            if (S_ISDIR(info.st_mode)) each_file(path, see, user);
            if (S_ISREG(info.st_mode)) see(user, path);
        }
        free(path);
        free(names[i]);
    }
    free(names);
}

static inline void hash_file(void *user, const char *path)
{
    qk_map map;
    assert_ok(qk_map_open(&map, path, err));
    qk_sha256_add(user, path, strlen(path));
    qk_sha256_add(user, map.data, map.size);
    qk_map_close(&map);
}

static inline void hash_folder(char hex[65], const char *folder)
{
    qk_sha256 hash;
    qk_sha256_start(&hash);
    each_file(in_scratch(folder, ""), hash_file, &hash);
    qk_sha256_hex(hex, &hash);
}

static inline void check_svg(void *user, const char *path)
{
    markup m;
    if (!strstr(path, ".svg")) return;
    char *text = read_text(path);
    if (!markup_check(&m, text)) fail_msg("%s: %s", path, m.why);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    assert_non_null(strstr(text, "role=\"img\" viewBox=\"0 0 "));
    free(text);
    ++*(size_t *)user;
}

static inline size_t check_svgs(const char *folder)
{
    size_t n = 0;
    each_file(in_scratch(folder, ""), check_svg, &n);
    return n;
}

static inline void no_half_file(void *user, const char *path)
{
    (void)user;
    if (strstr(path, ".tmp-")) fail_msg("%s is left", path);
}

/* Cells of every record are as many as in the first (RFC 4180); returns the number of records. */
static inline size_t check_csv(const char *path)
{
    size_t n_records = 0, n_cells = 1, n_wanted = 0;
    bool quoted = false;
    char *text = read_text(path);
    for (const char *p = text; *p; p++) {
        if (*p == '"') quoted = !quoted;
        if (quoted || (*p != ',' && *p != '\n')) continue;
        if (*p == ',') {
            n_cells++;
            continue;
        }
        if (n_records++ == 0) n_wanted = n_cells;
        if (n_cells != n_wanted)
            fail_msg("%s: record %zu: %zu cells, expected %zu", path, n_records, n_cells, n_wanted);
        n_cells = 1;
    }
    assert_false(quoted);
    free(text);
    return n_records;
}

static inline void check_csv_file(void *user, const char *path)
{
    (void)user;
    if (strstr(path, ".csv")) check_csv(path);
}

static inline void expect_marks(const char *folder, const char *figure, const char *mark, size_t n)
{
    char name[64];
    snprintf(name, sizeof name, "figures/%s.svg", figure);
    char *text = read_text(in_scratch(folder, name));
    if (count(text, mark) != n) fail_msg("%s: %s: %zu, expected %zu", figure, mark, count(text, mark), n);
    free(text);
}

/* `path` such as "summary.2.by_layer.0.mean": takes away the last, and gives it `value` instead where there is one. */
static inline void change_at(json_t *root, const char *path, json_t *value)
{
    char key[64];
    for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
        snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
        root = json_is_array(root) ? json_array_get(root, (size_t)atol(key)) : json_object_get(root, key);
        assert_non_null(root);
    }
    if (value)
        assert_int_equal(json_object_set_new(root, path, value), 0);
    else
        assert_int_equal(json_object_del(root, path), 0);
}

static inline int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

/* In memory where there is such a place: every file is fsynced, and there are hundreds. */
static inline bool make_scratch(void)
{
    snprintf(scratch, sizeof scratch, "%s/qk-report-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(scratch) != NULL;
}

static inline void remove_scratch(void) { nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

#endif
