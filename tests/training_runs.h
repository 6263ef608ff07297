/* training_runs.h - trainings as a user runs them: their words, and the files that two of them leave. */
#ifndef QK_TESTS_TRAINING_RUNS_H
#define QK_TESTS_TRAINING_RUNS_H

#include "program.h"
#include "study_files.h"

enum { MOST_WORDS = 60 };

/* `usual` words and then `more`, which ends with NULL, as `out` does. */
static inline void join_words(const char *out[MOST_WORDS + 1], const char *const *usual, size_t n,
                              const char *const *more)
{
    memcpy(out, usual, n * sizeof *usual);
    for (; *more && n < MOST_WORDS; more++) out[n++] = *more;
    out[n] = NULL;
}

static inline void assert_done(outcome o)
{
    if (o.code != 0) fail_msg("exit %d: %s", o.code, o.err);
    outcome_free(&o);
}

/* FOLDER/NAME, in one of eight static buffers. */
static inline const char *inside(const char *folder, const char *name)
{
    static char paths[8][9000];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void assert_same_file(const char *a, const char *b, const char *name)
{
    qk_map map[2];
    assert_ok(qk_map_open(&map[0], inside(a, name), err));
    assert_ok(qk_map_open(&map[1], inside(b, name), err));
    if (map[0].size != map[1].size || memcmp(map[0].data, map[1].data, map[0].size) != 0)
        fail_msg("%s differs between %s and %s", name, a, b);
    qk_map_close(&map[0]);
    qk_map_close(&map[1]);
}

#endif
