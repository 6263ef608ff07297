/* track_row.h - what a tracker holds and what one measurement found: shared by track.c and track_row.c. */
#ifndef QK_STUDY_TRACK_ROW_H
#define QK_STUDY_TRACK_ROW_H

#include "study/calibration.h"
#include "study/track.h"

typedef enum qk_track_arm {
    QK_TRACK_BASELINE,
    QK_TRACK_ZERO,   /* massive dims of q and k set to zero */
    QK_TRACK_MEAN,   /* ... to their mean over the identifying documents */
    QK_TRACK_RANDOM, /* as many other dims of each layer and tensor set to zero */
    QK_N_TRACK_ARMS
} qk_track_arm;

struct qk_tracker {
    qk_config config;           /* the shape; its pointers are not looked at */
    qk_tracker_settings settings;
    qk_documents identifying, evaluating; /* halves of the probe; their items are borrowed */
    qk_sequence *scored;        /* [evaluating.n] */
    qk_sequence *cut;           /* [n_cut] documents of at least QK_TRACK_SINK_TOKENS, cut to these */
    size_t n_cut;
    uint8_t *reference[QK_N_TENSORS]; /* [layers][width] the first measurement's masks */
    bool has_reference;
    qk_arena arena;             /* owns the arrays */
};

typedef struct qk_measurement {
    const qk_config *config;    /* the model's own: rotation may change while it trains */
    uint64_t step, tokens;
    qk_calibration maps;
    uint8_t *masks[QK_N_TENSORS];   /* [layers][width] */
    size_t n_massive[QK_N_TENSORS]; /* over all layers */
    qk_edit *edits[QK_N_TRACK_ARMS];/* [n_edits] each; the baseline has none */
    size_t n_edits;
    bool controlled;            /* the random arm could be drawn */
    double nll[QK_N_TRACK_ARMS];/* nats, over the evaluating documents; NaN where an arm was not run */
    double n_tokens;            /* predicted */
    qk_lengths *lengths;
    qk_sinks *sinks;
    qk_arena arena;             /* owns masks and edits */
} qk_measurement;

/* The row of track[] that a measurement makes. */
qk_status qk_track_row(json_t **row, const qk_tracker *tracker, const qk_measurement *m, qk_error *err);

#endif
