/* bench.h - how fast this machine does the parts of a study: each test is one kind of work, done several times.
 *
 * Texts are random tokens: what is in them changes nothing but rounding.  Nothing here is a measurement of a model. */
#ifndef QK_STUDY_BENCH_H
#define QK_STUDY_BENCH_H

#include "study/study.h"

/* id, name, what one repetition is */
#define QK_BENCH_TESTS(X)                                                                                              \
    X(PREFILL, "prefill", "one sequence read, the logits of its last token")                                           \
    X(SCORE, "score", "one sequence read, the likelihood of every token")                                              \
    X(NORMS, "norms", "score with the norms of q, k and v of every layer taken on the way")                            \
    X(EDITS, "edits", "score with dims of q and k zeroed in every layer")                                              \
    X(SWEEP, "sweep", "score once a layer, with dims of q and k zeroed in that layer alone")                           \
    X(DECODE, "decode", "new tokens one by one")                                                                       \
    X(STUDY, "study", "documents read for norms, then scored under all conditions")                                    \
    X(TRAIN, "train", "a training step: forward, backward, update")

typedef enum qk_bench_test {
#define X(id, name, doc) QK_BENCH_##id,
    QK_BENCH_TESTS(X)
#undef X
    QK_N_BENCH_TESTS
} qk_bench_test;

typedef struct qk_bench_settings {
    size_t n_prompt;     /* tokens of a sequence, a document, a training row; >= 2 */
    size_t n_new;        /* decode: tokens of each stream */
    size_t n_streams;    /* decode: streams side by side */
    size_t n_documents;  /* study */
    size_t n_conditions; /* study: baseline, massive and controls; >= 2 */
    size_t n_rows;       /* train: rows of a step */
    size_t repetitions;  /* behind one that is not counted */
    uint64_t seed;       /* of the tokens */
} qk_bench_settings;

/* What each repetition took, and what there was to do in it. */
typedef struct qk_bench_result {
    double *seconds;     /* [repetitions] wall clock; owned */
    double *cpu_seconds; /* [repetitions] of all threads; owned */
    size_t repetitions;
    double tokens;       /* that the speed counts: read or scored (all conditions), written, trained on */
    double flops;        /* multiply and add counted apart: what has to be computed, shared work of conditions as if it
                          * were not shared */
    double bytes;        /* weights, as they lie, that have to come from memory at least */
} qk_bench_result;

const char *qk_bench_name(qk_bench_test test);
/* Run one test with the first `n_layers` of the model (at most those it has); the training test trains weights of its
 * own.  Free the result. */
qk_status qk_bench_run(qk_bench_result *out, qk_bench_test test, const qk_model *model, int n_layers,
                       const qk_bench_settings *settings, const qk_compute *compute, qk_error *err);
void qk_bench_result_free(qk_bench_result *result);
/* Memory that a training test of this shape asks for beside the model: it can be more than there is. */
uint64_t qk_bench_training_bytes(const qk_config *config, const qk_bench_settings *settings, const qk_compute *compute);

#endif
