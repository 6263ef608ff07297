/* test_journal.c - the run folder: whose it is, what survives a kill, what is refused. */
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report/report.h"

static char scratch[] = "/tmp/qk-journal-XXXXXX";

static const char *in_scratch(const char *name)
{
    static char paths[4][200];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

static json_t *make_key(double lambda)
{
    return json_pack("{s:[{s:s}], s:{s:f, s:s, s:[i,i]}}", "models", "sha256", "aa", "settings", "lambda", lambda,
                     "site", "pre", "seeds", 42, 43);
}

static json_t *make_payload(size_t document)
{
    return json_pack("{s:f, s:i}", "nll", 0.1 * (double)document, "tokens", (int)document);
}

static void units_come_back(void **state)
{
    (void)state;
    qk_run *run = NULL;
    json_t *key = make_key(5), *payload = make_payload(3), *found;
    assert_ok(qk_run_open(&run, in_scratch("a/b"), key, false, err));
    assert_int_equal(qk_run_count(run), 0);
    assert_null(qk_run_get(run, 0, "baseline", 3));
    assert_ok(qk_run_put(run, 0, "baseline", 3, payload, err));
    assert_ok(qk_run_put(run, 1, "it's \"massive\"; DROP TABLE unit", 3, payload, err));
    assert_ok(qk_run_put(run, 0, "baseline", 3, payload, err)); /* again: the same unit, not a second one */
    assert_int_equal(qk_run_count(run), 2);
    qk_run_close(run);

    assert_ok(qk_run_open(&run, in_scratch("a/b"), key, true, err));
    assert_int_equal(qk_run_count(run), 2);
    assert_null(qk_run_get(run, 0, "baseline", 4));
    found = qk_run_get(run, 1, "it's \"massive\"; DROP TABLE unit", 3);
    assert_true(json_equal(found, payload)); /* to the last bit: 17 digits */
    assert_string_equal(qk_run_folder(run), in_scratch("a/b"));
    json_decref(found);
    qk_run_close(run);
    json_decref(key);
    json_decref(payload);
}

static void expect_refused(const char *folder, const json_t *key, bool resume, qk_status status, const char *part)
{
    qk_error err = { QK_OK, "" };
    qk_run *run = NULL;
    assert_int_equal(qk_run_open(&run, folder, key, resume, &err), status);
    assert_null(run);
    if (!strstr(err.message, part)) fail_msg("\"%s\" lacks \"%s\"", err.message, part);
}

static void put_unit(qk_run *run)
{
    json_t *payload = make_payload(1);
    assert_ok(qk_run_put(run, 0, "baseline", 1, payload, err));
    json_decref(payload);
}

static void another_key_is_refused(void **state)
{
    (void)state;
    qk_run *run = NULL;
    json_t *key = make_key(5), *other = make_key(6), *longer = make_key(5);
    const char *folder = in_scratch("keyed");
    json_array_append_new(json_object_get(json_object_get(longer, "settings"), "seeds"), json_integer(44));
    assert_ok(qk_run_open(&run, folder, key, true, err)); /* resume of nothing begins */
    put_unit(run);
    qk_run_close(run);
    expect_refused(folder, key, false, QK_E_ARGUMENT, "--resume");
    expect_refused(folder, other, false, QK_E_ARGUMENT, "settings.lambda: expected 6.0, found 5.0");
    expect_refused(folder, other, true, QK_E_ARGUMENT, "settings.lambda: expected 6.0, found 5.0");
    expect_refused(folder, longer, true, QK_E_ARGUMENT, "settings.seeds[2]: expected 44, found nothing");
    /* the order in which a key was written down does not matter */
    json_t *turned = json_object();
    json_object_set(turned, "settings", json_object_get(key, "settings"));
    json_object_set(turned, "models", json_object_get(key, "models"));
    assert_ok(qk_run_open(&run, folder, turned, true, err));
    qk_run_close(run);
    json_decref(turned);
    json_decref(key);
    json_decref(other);
    json_decref(longer);
}

/* What failed before its first unit blocks nobody; one unit or a results.json does. */
static void a_run_without_units_is_taken_over(void **state)
{
    (void)state;
    qk_run *run = NULL;
    json_t *key = make_key(5), *other = make_key(6), *third = make_key(7), *found;
    const char *folder = in_scratch("failed");
    assert_ok(qk_run_open(&run, folder, key, false, err));
    qk_run_close(run);
    assert_ok(qk_run_open(&run, folder, key, false, err)); /* the very same, without --resume */
    qk_run_close(run);
    assert_ok(qk_run_open(&run, folder, other, false, err));
    put_unit(run);
    assert_int_equal(qk_run_count(run), 1);
    assert_non_null(found = qk_run_get(run, 0, "baseline", 1));
    json_decref(found);
    qk_run_close(run);
    expect_refused(folder, key, true, QK_E_ARGUMENT, "settings.lambda: expected 5.0, found 6.0");
    assert_ok(qk_run_open(&run, folder, other, true, err)); /* the new key was kept */
    qk_run_close(run);

    folder = in_scratch("captured");
    assert_ok(qk_run_open(&run, folder, key, false, err));
    assert_ok(qk_run_write_json(run, "results.json", key, err));
    qk_run_close(run);
    expect_refused(folder, third, false, QK_E_ARGUMENT, "settings.lambda: expected 7.0, found 5.0; choose another");
    json_decref(key);
    json_decref(other);
    json_decref(third);
}

static void a_run_is_one_process_s(void **state)
{
    (void)state;
    qk_run *run = NULL, *again = NULL;
    json_t *key = make_key(5);
    assert_ok(qk_run_open(&run, in_scratch("busy"), key, false, err));
    expect_refused(in_scratch("busy"), key, true, QK_E_IO, "busy: another process works in this run");
    qk_run_close(run);
    assert_ok(qk_run_open(&again, in_scratch("busy"), key, true, err));
    qk_run_close(again);
    json_decref(key);
}

static void foreign_folders_are_refused(void **state)
{
    (void)state;
    qk_run *run = NULL;
    json_t *key = make_key(5);
    assert_ok(qk_make_folders(in_scratch("foreign"), err));
    assert_ok(qk_run_open(&run, in_scratch("foreign"), key, false, err)); /* empty: taken */
    qk_run_close(run);
    assert_ok(qk_make_folders(in_scratch("letters"), err));
    assert_ok(qk_write_file(in_scratch("letters/a.txt"), "x", 1, err));
    expect_refused(in_scratch("letters"), key, false, QK_E_ARGUMENT, "1 other file");
    expect_refused(in_scratch("letters/a.txt"), key, false, QK_E_IO, "a.txt");
    assert_ok(qk_make_folders(in_scratch("noise"), err));
    char noise[5000];
    memset(noise, 'n', sizeof noise);
    assert_ok(qk_write_file(in_scratch("noise/run.db"), noise, sizeof noise, err));
    expect_refused(in_scratch("noise"), key, true, QK_E_FORMAT, "not a database");
    json_decref(key);
}

static void expect_full_disk(const qk_run *run, const json_t *object)
{
    struct rlimit old;
    qk_error err = { QK_OK, "" };
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 20, old.rlim_max });
    qk_status status = qk_run_write_json(run, "results.json", object, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, QK_E_IO);
    assert_non_null(strstr(err.message, "results.json"));
}

/* What a process left that was killed while it wrote: gone at the next opening, unless that process still runs. */
static void leftovers_are_swept(void **state)
{
    (void)state;
    char mine[64];
    qk_run *run = NULL;
    json_t *key = make_key(5);
    assert_ok(qk_run_open(&run, in_scratch("swept"), key, false, err));
    qk_run_close(run);
    snprintf(mine, sizeof mine, "swept/a.csv.tmp-%ld", (long)getpid());
    assert_ok(qk_make_folders(in_scratch("swept/figures"), err));
    assert_ok(qk_write_file(in_scratch("swept/results.json.tmp-2147483647"), "x", 1, err));
    assert_ok(qk_write_file(in_scratch("swept/figures/a.svg.tmp-2147483647"), "x", 1, err));
    assert_ok(qk_write_file(in_scratch("swept/notes.tmp-me"), "x", 1, err));
    assert_ok(qk_write_file(in_scratch(mine), "x", 1, err));
    assert_ok(qk_run_open(&run, in_scratch("swept"), key, true, err));
    qk_run_close(run);
    assert_false(qk_path_exists(in_scratch("swept/results.json.tmp-2147483647")));
    assert_false(qk_path_exists(in_scratch("swept/figures/a.svg.tmp-2147483647")));
    assert_true(qk_path_exists(in_scratch("swept/notes.tmp-me")));
    assert_true(qk_path_exists(in_scratch(mine)));
    json_decref(key);
}

static void json_files_are_stable(void **state)
{
    (void)state;
    qk_run *run = NULL;
    qk_map map;
    json_t *key = make_key(5), *object = json_pack("{s:f, s:i, s:n}", "z", 0.1, "a", 1, "none");
    assert_ok(qk_run_open(&run, in_scratch("json"), key, false, err));
    assert_ok(qk_run_write_json(run, "results.json", object, err));
    assert_ok(qk_map_open(&map, in_scratch("json/results.json"), err));
    const char expected[] = "{\n \"z\": 0.10000000000000001,\n \"a\": 1,\n \"none\": null\n}\n";
    assert_int_equal(map.size, sizeof expected - 1);
    assert_memory_equal(map.data, expected, map.size);
    qk_map_close(&map);

    /* A full disk, played by a limit on the size of a file: the old file stays whole and nothing is left beside it. */
    expect_full_disk(run, object);
    assert_ok(qk_map_open(&map, in_scratch("json/results.json"), err));
    assert_int_equal(map.size, sizeof expected - 1);
    qk_map_close(&map);
    qk_run_close(run);
    json_decref(key);
    json_decref(object);
}

/* ---- a writer that is killed in the middle */

/* The child: one unit after the other, each acknowledged by a byte on stdout. */
static int write_for_ever(const char *folder)
{
    qk_run *run = NULL;
    json_t *key = make_key(5);
    if (qk_run_open(&run, folder, key, true, NULL)) return 1;
    for (size_t d = qk_run_count(run); d < 1000000; d++) {
        json_t *payload = make_payload(d);
        if (qk_run_put(run, 0, "massive", d, payload, NULL) || write(STDOUT_FILENO, "+", 1) != 1) return 1;
        json_decref(payload);
    }
    return 0;
}

/* Starts it, waits for n acknowledgements, kills it; returns how many came in all. */
static size_t write_and_kill(const char *folder, size_t n)
{
    int ends[2];
    size_t acknowledged = 0;
    char bytes[256];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) { /* exec at once: a forked child must not touch the threads of its parent */
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "test_journal", "--write", folder, (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0);
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], bytes, sizeof bytes)) > 0;) {
        acknowledged += (size_t)got;
        if (acknowledged >= n) kill(child, SIGKILL);
    }
    close(ends[0]);
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    return acknowledged;
}

static void a_kill_loses_nothing(void **state)
{
    (void)state;
    const char *folder = in_scratch("killed");
    size_t acknowledged = 0;
    json_t *key = make_key(5);
    for (size_t round = 1; round <= 5; round++) {
        qk_run *run = NULL;
        acknowledged += write_and_kill(folder, 7 * round);
        assert_ok(qk_run_open(&run, folder, key, true, err));
        assert_true(qk_run_count(run) >= acknowledged); /* one commit may have been killed before it was acknowledged */
        assert_true(qk_run_count(run) <= acknowledged + round);
        for (size_t d = 0; d < qk_run_count(run); d++) {
            json_t *payload = make_payload(d), *found = qk_run_get(run, 0, "massive", d);
            assert_true(json_equal(found, payload));
            json_decref(payload);
            json_decref(found);
        }
        qk_run_close(run);
    }
    json_decref(key);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) return write_for_ever(argv[2]);
    if (!mkdtemp(scratch)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_come_back),             cmocka_unit_test(another_key_is_refused),
        cmocka_unit_test(a_run_without_units_is_taken_over),
        cmocka_unit_test(a_run_is_one_process_s),
        cmocka_unit_test(foreign_folders_are_refused), cmocka_unit_test(json_files_are_stable),
        cmocka_unit_test(leftovers_are_swept),         cmocka_unit_test(a_kill_loses_nothing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}
