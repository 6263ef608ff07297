/* track.h - massive values of a model while it trains: the same measurement on the same documents, step after step. */
#ifndef QK_STUDY_TRACK_H
#define QK_STUDY_TRACK_H

#include "study/common.h"

typedef struct qk_tracker qk_tracker;

typedef struct qk_tracker_settings {
    double lambda;       /* 5; counts at QK_TRACK_LOOSER are given beside it */
    uint64_t seed;       /* of the random dims that are the ablation's control: the same at every step */
    qk_compute compute;
} qk_tracker_settings;

enum { QK_TRACK_LOOSER_FIRST = 3, QK_TRACK_LOOSER_LAST = 4 }; /* count_3, count_4: counts at these lambdas, too */
enum { QK_TRACK_SINK_TOKENS = 64 };  /* Gu et al. 2024: sinks of sequences of one length only can be compared */
#define QK_TRACK_SINK_EPSILON 0.3    /* ... and their threshold on the mean attention to the first token */

/* A tracker for models of the shape of `config`.  `probe` (tokenized, borrowed, as is what it points to) should be
 * documents that are not trained on.  Its first half, rounded down, identifies: norm maps, averaged over these
 * documents, say which dims are massive.  The second half evaluates: loss, ablation, lengths.  So no mask is tested on
 * the text that it was found on; fewer than two documents, or one text in both halves, are refused (QK_E_ARGUMENT). */
qk_status qk_tracker_new(qk_tracker **out, const qk_config *config, const qk_documents *probe,
                         const qk_tracker_settings *settings, qk_error *err);
void qk_tracker_free(qk_tracker *tracker);

/* One measurement of `model` as it is now, as one row of track[] (docs/RESULTS.md) without its arm; the caller's.  The
 * masks of the first measurement become the reference that all are compared with, its own included.  QK_E_SHAPE: a
 * model of another shape; otherwise what a pass returns. */
qk_status qk_tracker_measure(json_t **row, qk_tracker *tracker, const qk_model *model, uint64_t step, uint64_t tokens,
                             qk_error *err);
/* Takes the reference from the first row of an earlier run instead (--resume).  QK_E_FORMAT: a row of another shape. */
qk_status qk_tracker_restore(qk_tracker *tracker, const json_t *first_row, qk_error *err);

/* Documents of the probe that identify; the others evaluate. */
static inline size_t qk_track_identifying(size_t n_documents) { return n_documents / 2; }

#endif
