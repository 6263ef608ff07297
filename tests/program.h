/* program.h - run the real program and look at what it leaves: exit code, stdout, stderr. */
#ifndef QK_TESTS_PROGRAM_H
#define QK_TESTS_PROGRAM_H

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

extern char **environ;

typedef struct outcome {
    int code;        /* exit code, or 128 + signal */
    char *out, *err; /* NUL-terminated, owned */
    size_t n_out;
    size_t peak_bytes; /* largest resident memory, as the system counted it; never below this test's own */
} outcome;

enum { STDOUT_KEPT, STDOUT_CLOSED, STDOUT_FULL, STDOUT_BROKEN_PIPE };

static inline char *read_back(int fd, size_t *n)
{
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    char *text = calloc(1, (size_t)info.st_size + 1);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)info.st_size, 0), info.st_size);
    close(fd);
    if (n) *n = (size_t)info.st_size;
    return text;
}

static inline void redirect_stdout(posix_spawn_file_actions_t *actions, int kind, int out)
{
    int ends[2];
    switch (kind) {
    case STDOUT_CLOSED: posix_spawn_file_actions_addclose(actions, 1); break;
    case STDOUT_FULL: posix_spawn_file_actions_addopen(actions, 1, "/dev/full", O_WRONLY, 0); break;
    case STDOUT_BROKEN_PIPE:
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        close(ends[0]);
        posix_spawn_file_actions_adddup2(actions, ends[1], 1); /* ends[1] stays open here: the test process is short */
        break;
    default: posix_spawn_file_actions_adddup2(actions, out, 1);
    }
}

/* argv without the program's name, ending with NULL. */
static inline outcome run_program_to(int kind, const char *const *words)
{
    const char *program = getenv("QK_PROGRAM"), *argv[64] = { program };
    posix_spawn_file_actions_t actions;
    outcome result = { 0 };
    pid_t pid;
    int n = 1, state = 0, out = memfd_create("stdout", MFD_CLOEXEC), err = memfd_create("stderr", MFD_CLOEXEC);
    assert_non_null(program);
    assert_true(out >= 0 && err >= 0);
    for (; words[n - 1] && n < 63; n++) argv[n] = words[n - 1];
    posix_spawn_file_actions_init(&actions);
    redirect_stdout(&actions, kind, out);
    posix_spawn_file_actions_adddup2(&actions, err, 2);
    assert_int_equal(posix_spawn(&pid, program, &actions, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    struct rusage usage;
    while (wait4(pid, &state, 0, &usage) < 0) { }
    result.peak_bytes = (size_t)usage.ru_maxrss * 1024;
    result.code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
    result.out = read_back(out, &result.n_out);
    result.err = read_back(err, NULL);
    return result;
}

#define run_program(...) run_program_to(STDOUT_KEPT, (const char *const[]){ __VA_ARGS__, NULL })

static inline size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

static inline void outcome_free(outcome *o)
{
    free(o->out);
    free(o->err);
}

/* An error is one line on stderr, nothing on stdout, the exit code of its kind, and says `words`. */
static inline void assert_rejected(outcome o, int code, const char *words)
{
    if (o.code != code || o.n_out != 0 || count_lines(o.err) != 1 || !strstr(o.err, words))
        fail_msg("expected exit %d and one line with '%s', found exit %d, %zu bytes on stdout and: %s", code, words,
                 o.code, o.n_out, o.err);
    outcome_free(&o);
}

#endif
