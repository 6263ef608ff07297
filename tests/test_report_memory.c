/* test_report_memory.c - a report whose n-th allocation fails, for n spread over all of them: it says so, leaks nothing (a
 * sanitizer looks) and leaves no half file.  Linked with --wrap, so that only our own calls fail. */
#include "testing.h"

#include <dirent.h>
#include <ftw.h>
#include <unistd.h>

#include "report/report.h"

static long before_failure = -1; /* allocations that still succeed; -1: all */
static long n_allocations;
static char scratch[40];

static bool fails(void)
{
    n_allocations++;
    return before_failure >= 0 && before_failure-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }
char *__wrap_strdup(const char *text) { return fails() ? NULL : __real_strdup(text); }
char *__wrap_strndup(const char *text, size_t n) { return fails() ? NULL : __real_strndup(text, n); }

static void copy_file(const char *study, const char *name)
{
    char from[64], folder[128], to[256];
    qk_map map;
    snprintf(from, sizeof from, "report/%s/%s", study, name);
    snprintf(folder, sizeof folder, "%s/%s", scratch, study);
    snprintf(to, sizeof to, "%s/%s", folder, name);
    assert_ok(qk_make_folders(folder, err));
    assert_ok(qk_map_open(&map, data_path(from), err));
    assert_ok(qk_write_file(to, map.data, map.size, err));
    qk_map_close(&map);
}

static int no_half_file(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return strstr(path, ".tmp-") != NULL;
}

static void every_failure_is_said(void **state)
{
    (void)state;
    enum { N_TRIALS = 120 };
    copy_file("massive", "results.json");
    copy_file("massive", "manifest.json");
    copy_file("massive", "arrays.safetensors");
    copy_file("disrupt", "results.json");
    n_allocations = 0;
    assert_ok(qk_report_build(scratch, NULL, err));
    long n = n_allocations;
    assert_true(n > N_TRIALS);
    for (long trial = 0; trial < N_TRIALS; trial++) {
        qk_error error = { QK_OK, "" };
        /* all of the first ones, then ever sparser */
        before_failure = trial < 40 ? trial : 40 + (n - 41) * (trial - 40) / (N_TRIALS - 41);
        qk_status status = qk_report_build(scratch, NULL, &error);
        before_failure = -1;
        if (status != QK_E_MEMORY) fail_msg("allocation %ld of %ld: status %d \"%s\"", trial, n, status, error.message);
        assert_int_equal(nftw(scratch, no_half_file, 16, FTW_PHYS), 0);
    }
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

int main(void)
{
    /* in memory where there is such a place: every file is fsynced, and there are hundreds */
    snprintf(scratch, sizeof scratch, "%s/qk-report-memory-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(scratch)) return 1;
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_failure_is_said) };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}
