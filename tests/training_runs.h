/* training_runs.h - trainings as a user runs them: their words, and that they end well. */
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

#endif
