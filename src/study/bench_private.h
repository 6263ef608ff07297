/* bench_private.h - a test under way; private to bench.c and bench_study.c. */
#ifndef QK_STUDY_BENCH_PRIVATE_H
#define QK_STUDY_BENCH_PRIVATE_H

#include "study/bench.h"
#include "study/common.h"
#include "train/train.h"

typedef struct qk_bench {
    qk_bench_test test;
    size_t run;                    /* 0 = the one that is not counted */
    const qk_model *model;         /* a view with fewer layers, maybe */
    const qk_bench_settings *settings;
    const qk_compute *compute;
    int32_t *tokens;               /* [n_sequences][n_prompt] */
    qk_sequence *sequences;        /* [n_sequences], scored from the second token */
    size_t n_sequences;
    qk_arena arena;
    qk_condition *conditions;      /* [n_conditions]; none but in studies and their parts */
    size_t n_conditions;
    /* train */
    qk_parameters *parameters;
    qk_gradient *gradient;
    uint64_t step;
} qk_bench;

/* ---- bench.c */

/* For the passes of a run. */
qk_progress qk_bench_progress(qk_bench *bench);
/* One scoring of all sequences under all conditions. */
qk_status qk_bench_pass_run(qk_bench *bench, qk_error *err);

/* ---- bench_study.c */

/* Finds masks as a study does, then draws its controls. */
qk_status qk_bench_study_prepare(qk_bench *bench, qk_error *err);
/* One scoring with norms taken. */
qk_status qk_bench_norms_run(qk_bench *bench, qk_error *err);
/* Norms of all documents, then all conditions. */
qk_status qk_bench_study_run(qk_bench *bench, qk_error *err);

#endif
