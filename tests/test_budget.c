/* test_budget.c - --max-mem as the system sees it: the real program's peak of resident memory stays below what was
 * allowed, what cannot fit is refused in one line, and a budget changes no digit. */
#include "program.h"
#include "study_files.h"

#define MIB ((size_t)1 << 20)

/* One wide layer, 28 MiB in f32: what a pass likes to have is far more than the least it needs. */
static int make_models(void **state)
{
    char command[20000];
    if (make_work_folder(state)) return -1;
    snprintf(command, sizeof command, "'%s' '--tokenizer=%s' '%s' 512 1 8 4 4096 640 256 && "
             "'%s' --f32 '--tokenizer=%s' '%s' 512 1 8 8 4096 640 256", getenv("QK_MAKE_MODEL"),
             data_path("tokenizers/llama2.json"), work_path("bf16"), getenv("QK_MAKE_MODEL"),
             data_path("tokenizers/llama2.json"), work_path("f32"));
    return system(command);
}

/* 16 texts of 60 letters: short, so that the test is quick; enough that groups and tables count. */
static const char *texts(void)
{
    static char path[8300];
    char lines[4000] = "";
    qk_rng rng;
    if (*path) return path;
    snprintf(path, sizeof path, "%s", work_path("texts.txt"));
    qk_rng_seed(&rng, 1);
    for (int document = 0; document < 16; document++) {
        if (document) strcat(lines, "\n--\n");
        for (int i = 0; i < 60; i++) sprintf(lines + strlen(lines), "%c", "etaoin srhdlu"[qk_rng_below(&rng, 13)]);
    }
    assert_ok(qk_write_file(path, lines, strlen(lines), err));
    return path;
}

typedef struct study {
    const char *name, *model;
    bool long_texts;       /* the built-in ones, else texts() */
    const char *words[24]; /* of the command line, ended by NULL */
} study;

static outcome run_within(const study *s, const char *max_mem, const char *threads)
{
    const char *argv[40] = { s->name, work_path(s->model), "--json", "-q", "-t", threads };
    const char *const ours[] = { "--texts", texts(), "--split", "\n--\n" };
    int n = 6;
    for (int i = 0; i < 4 && !s->long_texts; i++) argv[n++] = ours[i];
    for (int i = 0; s->words[i]; i++) argv[n++] = s->words[i];
    if (max_mem) {
        argv[n++] = "--max-mem";
        argv[n++] = max_mem;
    }
    return run_program_to(STDOUT_KEPT, argv);
}

static const study studies[] = {
    { "ppl", "bf16", true, { "-c", "128", NULL } },
    { "ppl", "f32", false, { "-c", "48", NULL } },
    { "massive", "bf16", false, { "--lambda", "1.2", "--no-run", NULL } },
    { "disrupt", "bf16", false,
      { "-c", "48", "--criterion", "top-k", "--top-k", "1", "--seeds", "2", "--no-run", NULL } },
};
enum { N_STUDIES = sizeof studies / sizeof *studies };

/* A run within the least that the study itself says it needs, *allowed MiB: asked for less, it exits with 4 and one
 * line. */
static outcome run_within_least(size_t *allowed, const study *s)
{
    *allowed = 1;
    for (int tries = 0; tries < 8; tries++) {
        char text[32], *at;
        snprintf(text, sizeof text, "%zuM", *allowed);
        outcome o = run_within(s, text, "2");
        if (o.code == 0) return o;
        at = strstr(o.err, "needs at least ");
        if (o.code != 4 || o.n_out || count_lines(o.err) != 1 || !at)
            fail_msg("%s within %s: expected exit 4 and one line, found exit %d: %s", s->name, text, o.code, o.err);
        size_t needed = strtoul(at + 15, NULL, 10), held = 0;
        for (at = o.err; (at = strstr(at, "beside ")); at += 7) held += strtoul(at + 7, NULL, 10);
        assert_true(needed + held > *allowed); /* else the answer leads nowhere */
        *allowed = needed + held;
        outcome_free(&o);
    }
    fail_msg("%s: what it asks for is never enough", s->name);
    return (outcome){ 0 };
}

static void check_run(const study *s, const outcome *o, size_t allowed, const outcome *unbounded)
{
    print_message("# %s of %s: allowed %zu MiB, peak %zu MiB, without a budget %zu MiB\n", s->name, s->model, allowed,
                  o->peak_bytes / MIB, unbounded->peak_bytes / MIB);
    if (o->code != 0) fail_msg("%s within %zu MiB: exit %d: %s", s->name, allowed, o->code, o->err);
    if (o->peak_bytes > allowed * MIB) fail_msg("%s within %zu MiB: the peak was %zu", s->name, allowed, o->peak_bytes);
    assert_string_equal(o->out, unbounded->out);
}

static void test_peak_and_results(void **state)
{
    (void)state;
    for (int i = 0; i < N_STUDIES; i++) {
        const study *s = &studies[i];
        char text[32];
        size_t least, most;
        outcome unbounded = run_within(s, NULL, "2"), frugal = run_within_least(&least, s);
        assert_int_equal(unbounded.code, 0);
        most = least + 24;
        snprintf(text, sizeof text, "%zuM", most);
        outcome larger = run_within(s, text, "1");
        check_run(s, &frugal, least, &unbounded);
        check_run(s, &larger, most, &unbounded);
        outcome_free(&unbounded);
        outcome_free(&frugal);
        outcome_free(&larger);
    }
}

/* A run folder with its journal, tables and report is within the budget too; what was refused leaves no results. */
static void test_run_folder(void **state)
{
    (void)state;
    study folder = studies[N_STUDIES - 1];
    const char *run = work_path("run"), *const more[] = { "-o", run, "--figures", "png", NULL };
    int n = 0;
    while (strcmp(folder.words[n], "--no-run") != 0) n++;
    for (int i = 0; i == 0 || more[i - 1]; i++) folder.words[n++] = more[i];
    assert_rejected(run_within(&folder, "1M", "2"), 4, "needs at least");
    assert_false(qk_path_exists(work_path("run/results.json")));
    size_t allowed;
    outcome same = run_within_least(&allowed, &studies[N_STUDIES - 1]);
    char text[32];
    snprintf(text, sizeof text, "%zuM", allowed);
    folder.words[n - 1] = "--resume"; /* the folder is there; the word behind it stays NULL */
    outcome o = run_within(&folder, text, "2");
    check_run(&folder, &o, allowed, &same);
    assert_true(qk_path_exists(work_path("run/report.html")));
    outcome_free(&o);
    outcome_free(&same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peak_and_results),
        cmocka_unit_test(test_run_folder),
    };
    return cmocka_run_group_tests(tests, make_models, remove_work_folder);
}
