/* report.h - the run folder a study leaves behind, and what is drawn from it. Knows no model: figures, CSV and HTML
 * are a pure function of results.json, arrays.safetensors and manifest.json (docs/RESULTS.md is their schema). */
#ifndef QK_REPORT_H
#define QK_REPORT_H

#include <jansson.h>

#include "base/base.h"

/* ---- the run folder and its journal (store.c, run.c) */

typedef struct qk_run qk_run;

/* Create `folder` (parents too) with its run.db. With `resume` an existing run of the same `key` is continued; a run
 * of another key, a run without `resume`, or a folder with other files is refused with what differs; an empty folder,
 * or a run of which nothing was finished (no unit, no results.json), is taken. `key` is a JSON object that holds
 * everything the numbers depend on (model, tokenizer and data hashes, settings, seeds, precision; not threads or
 * time). A run is used by one thread at a time, and by one process: a second one is refused. */
qk_status qk_run_open(qk_run **out, const char *folder, const json_t *key, bool resume, qk_error *err);
void qk_run_close(qk_run *run);
const char *qk_run_folder(const qk_run *run);

/* One finished unit of work: model x condition x document. `payload` is any JSON; put commits (WAL; DELETE journal
 * where the file system is a network one).  get gives a new reference, or NULL where the unit is not done. */
qk_status qk_run_put(qk_run *run, size_t model, const char *condition, size_t document, const json_t *payload,
                     qk_error *err);
json_t *qk_run_get(const qk_run *run, size_t model, const char *condition, size_t document);
/* Units done so far. */
size_t qk_run_count(const qk_run *run);

/* manifest.json and results.json, written beside and renamed; stable key order, numbers with 17 significant digits. */
qk_status qk_run_write_json(const qk_run *run, const char *name, const json_t *object, qk_error *err);

/* ---- everything that is drawn (build.c) */

typedef struct qk_report_options {
    bool png, pdf; /* beside the SVG, through cairo */
} qk_report_options;

/* Read folder/results.json (+ manifest.json, arrays.safetensors) and (re)write *.csv, figures/ and report.html.
 * Several studies in one folder tree become one report when `folder` holds subfolders with results.json (a demo's
 * massive/ and disrupt/). Unknown studies and missing fields are refused by name. `options` may be NULL. */
qk_status qk_report_build(const char *folder, const qk_report_options *options, qk_error *err);

/* ---- figures: one list of marks, drawn as SVG, PNG or PDF (figure.h has the marks) */

#endif
