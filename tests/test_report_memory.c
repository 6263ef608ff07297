/* test_report_memory.c - a report whose n-th allocation fails, for n spread over all of them: it says so, leaks nothing
 * (a sanitizer looks) and leaves no half file.  Linked with --wrap, so that only our own calls fail. */
#include "failing_memory.h"
#include "report_files.h"

static int is_half_file(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return strstr(path, ".tmp-") != NULL;
}

static void every_failure_is_said(void **state)
{
    (void)state;
    enum { N_TRIALS = 120 };
    save_fixture("massive", "massive");
    save_fixture("disrupt", "disrupt");
    save_fixture("tasks", "tasks");
    save_fixture("drope", "drope");
    save_fixture("control", "control");
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
        assert_int_equal(nftw(scratch, is_half_file, 16, FTW_PHYS), 0);
    }
}

int main(void)
{
    if (!make_scratch()) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failure_is_said),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_scratch();
    return failed;
}
