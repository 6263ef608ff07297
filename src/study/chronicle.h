/* chronicle.h - what a run folder remembers of a training: measurements as they come, results.json, the report. */
#ifndef QK_STUDY_CHRONICLE_H
#define QK_STUDY_CHRONICLE_H

#include "study/track.h"
#include "train/trainer.h"

typedef struct qk_chronicle qk_chronicle;

/* Everything is borrowed and must outlive the chronicle. */
typedef struct qk_chronicle_spec {
    const char *study;            /* "train" or "recalibrate" */
    const char *name, *kind;      /* of its one arm (docs/RESULTS.md) */
    const qk_named_model *model;  /* as it came */
    const qk_parameters *parameters;
    bool changed;                 /* what trains is another model than the one that came, from the start */
    const qk_documents *probe;    /* tokenized; NULL: nothing is measured */
    qk_tracker_settings tracker;
    uint64_t every, n_steps;      /* measured every so many steps, at the start and at the end */
    const json_t *settings;       /* an object */
    const qk_report_options *figures;
    qk_run *run;                  /* the folder that the training writes its log.jsonl into */
} qk_chronicle_spec;

qk_status qk_chronicle_new(qk_chronicle **out, const qk_chronicle_spec *spec, qk_error *err);
void qk_chronicle_free(qk_chronicle *chronicle);
/* Measures, journals each measurement in run.db, and writes results.json and the report anew: they can be read while
 * the training goes on.  Stands behind the hooks that change the model. */
qk_training_hook qk_chronicle_hook(qk_chronicle *chronicle);
/* The results object after `n_steps` steps and `n_tokens` tokens; the keys of `more` (an object or NULL, borrowed) go
 * into its arm. */
qk_status qk_chronicle_results(json_t **out, const qk_chronicle *chronicle, uint64_t n_steps, uint64_t n_tokens,
                               bool finished, const json_t *more, qk_error *err);

/* log.jsonl as rows of log[]: steps thinned to about `most` rows (their loss the mean since the row before). */
qk_status qk_chronicle_log(json_t **rows, const char *path, size_t most, qk_error *err);

#endif
