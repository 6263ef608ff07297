/* test_cli.c - the real program as a user meets it: usage, help, errors, streams. */
#include "program.h"

static void test_wrong_usage(void **state)
{
    (void)state;
    assert_rejected(run_program_to(STDOUT_KEPT, (const char *const[]){ NULL }), 2, "expected a verb");
    assert_rejected(run_program("hlep"), 2, "nearest known one is help");
    assert_rejected(run_program("--lamda", "3"), 2, "--lambda");
    assert_rejected(run_program("help", "-Z"), 2, "-Z: unknown option");
    assert_rejected(run_program("help", "--zzzzzzzzzzzzzzzz"), 2, "unknown option");
    assert_rejected(run_program("help", "one", "two"), 2, "two");
    assert_rejected(run_program("help", "nonsense"), 2, "nonsense");
    assert_rejected(run_program("help", "--stride", "3"), 2, "--stride: not an option of help");
    assert_rejected(run_program("help", "--json=yes"), 2, "--json: takes no value");
    assert_rejected(run_program("help", "-c"), 2, "--context: expected N");
}

static void test_numbers_are_strict(void **state)
{
    static const struct { const char *option, *value; } bad[] = {
        { "-c", "5x" }, { "-c", "" }, { "-c", " 5" }, { "-c", "-5" }, { "-c", "1" }, { "-c", "9999999999999999999999" },
        { "--seed", "18446744073709551616" }, { "--seed", "0x10" }, { "--lambda", "nan" }, { "--lambda", "inf" },
        { "--lambda", "0x1p3" }, { "--lambda", "1e999" }, { "--lambda", "5," }, { "--lambda", "" }, { "-L", "0" },
        { "--lambda", "-1" }, { "--max-mem", "8Q" }, { "--max-mem", "-8G" }, { "--max-mem", "G" }, { "--max-mem", "0" },
        { "--max-mem", "1e30G" },
        { "--precision", "f64" }, { "--tensors", "q,,k" }, { "--tensors", "q,z" }, { "--site", "PRE" }, { "-o", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        outcome o = run_program("help", bad[i].option, bad[i].value);
        if (o.code != 2 || count_lines(o.err) != 1 || o.n_out != 0 || !strstr(o.err, "expected"))
            fail_msg("%s '%s': exit %d: %s", bad[i].option, bad[i].value, o.code, o.err);
        outcome_free(&o);
    }
}

/* A value that parses is refused only because help does not take the option: so the spelling was understood. */
static void test_spellings(void **state)
{
    static const char *const good[][2] = {
        { "--max_mem=8G", "--max-mem" }, { "--max-mem=1.5GiB", "--max-mem" }, { "--per_token", "--per-token" },
        { "--reset-type=set_mean", "--op" }, { "--criterion=africa", "--criterion" }, { "--lambda=.5", "--lambda" },
        { "--ctx_size=64", "--context" }, { "-L3", "--limit" }, { "--seed=1000000000000000000", "--seed" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char words[64];
        snprintf(words, sizeof words, "%s: not an option of help", good[i][1]);
        assert_rejected(run_program("help", good[i][0]), 2, words);
        assert_rejected(run_program(good[i][0], "help"), 2, words); /* options may stand anywhere */
    }
}

static void test_version_and_overview(void **state)
{
    (void)state;
    outcome version = run_program("--version"), overview = run_program("help"), same = run_program("--help");
    assert_int_equal(version.code, 0);
    assert_int_equal(strncmp(version.out, "qkscope ", 8), 0);
    assert_int_equal(overview.code, 0);
    assert_string_equal(overview.out, same.out);
    assert_string_equal(overview.err, "");
    outcome_free(&version);
    outcome_free(&overview);
    outcome_free(&same);
}

/* Every verb that the overview lists explains itself with an example that begins with its own name. */
static void test_help_of_every_verb(void **state)
{
    (void)state;
    outcome overview = run_program("help");
    int n_verbs = 0;
    char *line = strstr(overview.out, "Verbs:\n");
    assert_non_null(line);
    for (line = strchr(line, '\n') + 1; line[0] == ' '; line = strchr(line, '\n') + 1) {
        char name[32], example[64];
        assert_int_equal(sscanf(line, " %31s", name), 1);
        snprintf(example, sizeof example, "\n  qkscope %s", name);
        outcome help = run_program("help", name), flag = run_program(name, "--help");
        if (help.code != 0 || !strstr(help.out, "Examples:") || !strstr(help.out, example) || *help.err)
            fail_msg("help %s: exit %d, no example, or talk: %s", name, help.code, help.err);
        assert_string_equal(help.out, flag.out);
        outcome_free(&help);
        outcome_free(&flag);
        n_verbs++;
    }
    assert_true(n_verbs >= 1);
    outcome_free(&overview);
}

static void test_broken_stdout(void **state)
{
    static const char *const help[] = { "help", NULL };
    (void)state;
    assert_rejected(run_program_to(STDOUT_FULL, help), 1, "standard output: No space left");
    assert_rejected(run_program_to(STDOUT_CLOSED, help), 1, "standard output: ");
    outcome o = run_program_to(STDOUT_BROKEN_PIPE, help);
    assert_int_equal(o.code, 1);
    assert_string_equal(o.err, ""); /* a reader that left is no news */
    outcome_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_usage),          cmocka_unit_test(test_numbers_are_strict),
        cmocka_unit_test(test_spellings),            cmocka_unit_test(test_version_and_overview),
        cmocka_unit_test(test_help_of_every_verb),   cmocka_unit_test(test_broken_stdout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
