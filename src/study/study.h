/* study.h - a question: plans conditions and probes, runs passes, turns measurements into statistics.
 *
 * A study fills a results object (docs/RESULTS.md) and, where given a run folder, journals as it goes. */
#ifndef QK_STUDY_H
#define QK_STUDY_H

#include <jansson.h>

#include "base/base.h"
#include "measure/measure.h"
#include "model/model.h"
#include "report/report.h"
#include "text/quiz.h"
#include "text/text.h"

/* How every study computes. */
typedef struct qk_compute {
    size_t max_tokens;       /* -c: documents are cut to this many; 0 = the model's context */
    bool no_bos;
    qk_precision precision;
    const qk_level *level;   /* NULL: the best there is */
    bool reference;
    int n_threads;
    size_t max_bytes;        /* --max-mem */
    qk_progress progress;
} qk_compute;

typedef struct qk_named_model {
    const char *name;        /* as shown: last part of the path, made unique */
    qk_model *model;
    char sha256[65];         /* of the weights */
} qk_named_model;

/* ---- ppl */

typedef enum qk_ppl_protocol { QK_PPL_HF, QK_PPL_STRIDED, QK_PPL_LLAMA_CPP } qk_ppl_protocol;
typedef struct qk_ppl_settings {
    qk_ppl_protocol protocol;
    size_t stride;           /* strided: tokens the window moves; 0 = half of max_tokens */
    bool per_token;          /* documents[].token_nll in the results */
} qk_ppl_settings;
/* {"protocol", "context", "documents": [{"id","category","tokens","nll","nll_per_token","ppl","cut"}], "tokens",
 * "nll_per_token", "ppl", "warnings"}.  llama.cpp: one document, all of them as one text, with "chunks" and
 * "ppl_error". */
qk_status qk_study_ppl(json_t **results, const qk_model *model, qk_documents *documents,
                       const qk_ppl_settings *settings, const qk_compute *compute, qk_error *err);

/* ---- massive: the post's experiment 1 */

typedef struct qk_massive_settings {
    double lambda;               /* 5 */
    qk_criterion criterion;
    bool post_rotation;          /* --site post */
    bool africa;                 /* --preset africa: adds the post's own summary (ddof 0) under "naive" */
} qk_massive_settings;
qk_status qk_study_massive(json_t **results, const qk_named_model *models, size_t n_models, qk_documents *documents,
                           const qk_massive_settings *settings, const qk_compute *compute, qk_run *run, qk_error *err);

/* q, k or v captured elsewhere: [tokens, heads, dim] or [1, tokens, heads, dim], .npy or one tensor of a safetensors
 * file (FILE:TENSOR where it has several), F32 or F16. */
typedef struct qk_captured { qk_qkv tensor; const char *path; } qk_captured;
qk_status qk_study_massive_captured(json_t **results, const qk_captured *files, size_t n_files,
                                    const qk_massive_settings *settings, qk_error *err);

/* ---- disrupt: experiment 2 */

typedef enum qk_preset { QK_PRESET_NONE, QK_PRESET_AFRICA, QK_PRESET_JIN } qk_preset;
typedef struct qk_disrupt_settings {
    double lambda;
    qk_criterion criterion;
    bool post_rotation;          /* masks are found and edits act after rotation */
    bool mean;                   /* --op mean: replaced by the calibration mean instead of zero */
    bool both_ops;               /* an arm `mean` beside `massive`: the same dims, replaced by their calibration mean */
    bool tensor[QK_N_TENSORS];   /* --tensors q,k */
    const uint8_t *layers;       /* [n_layers of the smallest model] 1 = edited; NULL = all */
    qk_control control;
    size_t n_controls;           /* --seeds: 10 */
    uint64_t seed;               /* of the first control; the others follow by one */
    size_t top_k;                /* criterion top-k, jin */
    qk_preset preset;
    size_t n_bootstrap;          /* 10,000 */
} qk_disrupt_settings;
/* `calibration` finds the masks, `evaluation` is measured; when their hashes meet the study refuses (QK_E_ARGUMENT,
 * naming the document).  A preset replaces the settings that it fixes; africa finds its masks on `evaluation`, jin
 * needs none: both ignore `calibration`. */
qk_status qk_study_disrupt(json_t **results, const qk_named_model *models, size_t n_models, qk_documents *calibration,
                           qk_documents *evaluation, const qk_disrupt_settings *settings, const qk_compute *compute,
                           qk_run *run, qk_error *err);

/* ---- tasks: questions with known answers */

typedef struct qk_tasks_settings {
    bool cut_left;               /* --cut-left: a prompt longer than the context loses its start; else it is refused */
    bool broken;                 /* the questions are asked under the conditions of `edits` too */
    bool lenient;                /* a model in which nothing is massive is asked without edits, with a warning */
    bool prefill;                /* --phase prefill: while text is written, edits act at the prompt's positions alone */
    size_t max_new;              /* tokens to write at most; 0 = each question's own */
    qk_disrupt_settings edits;   /* how masks are found, which dims the controls take; no bootstrap.  Preset jin: the
                                  * top_k dims of each head by norm over the prompt, at their mean over it, in prefill
                                  * alone; every answer must be written then, and nothing calibrates */
} qk_tasks_settings;
/* Every question, by teacher forcing or by writing (docs/METHODS.md, "Questions"), under every condition.  `calibration` finds the
 * masks (NULL where nothing is broken).  With a run, samples.jsonl has a line for each model, condition and question. */
qk_status qk_study_tasks(json_t **results, const qk_named_model *models, size_t n_models, const qk_quiz *quiz,
                         qk_documents *calibration, const qk_tasks_settings *settings, const qk_compute *compute,
                         qk_run *run, qk_error *err);

/* ---- context: what happens beyond the trained context, method by method */

enum { QK_CONTEXT_LENGTHS = 16, QK_CONTEXT_DEPTHS = 32 /* at most */ };
typedef enum qk_context_task {
    QK_TASK_PASS_KEY,
    QK_TASK_PASS_KEYS, /* a key at every depth, each asked for; of the world alone */
    QK_TASK_NEEDLE,    /* one of four needles, asked for by its name; in plain English alone */
    QK_N_CONTEXT_TASKS
} qk_context_task;

typedef struct qk_context_settings {
    unsigned methods;            /* 1 << qk_method; 0 = all that make sense for each model */
    double lengths[QK_CONTEXT_LENGTHS], task_lengths[QK_CONTEXT_LENGTHS]; /* times the trained context, ascending */
    size_t n_lengths, n_task_lengths;
    double depths[QK_CONTEXT_DEPTHS]; /* 0 to 1, ascending */
    size_t n_depths;
    size_t trials;               /* prompts a length and depth, up to twice the trained context; beyond, as many fewer
                                  * as they are longer */
    size_t texts;                /* pieces of text, at most */
    double scale;                /* one factor for every length; 0 = length / trained context */
    double slope;                /* temperature: beta = 1 + slope ln s; NaN = fitted on `held_out` */
    size_t temperature_context;  /* tokens of the fit; 0 = the longest length up to 4 times the trained context */
    bool sliding;                /* the sliding protocol too */
    size_t stride;               /* of its windows and of crop's; 0 = half and a quarter of the window */
    unsigned tasks;              /* 1 << qk_context_task */
    bool plain;                  /* the pass key hides in plain English instead of the world's talk */
    uint64_t world;              /* seed of the prompts */
    size_t n_bootstrap;
    qk_documents *masks_from;    /* pass keys are looked for under the conditions of `edits`, too, masks found on these
                                  * documents; NULL = as the models are.  A model in which nothing is massive is not
                                  * broken, with a warning */
    qk_disrupt_settings edits;   /* how masks are found, which dims the controls take; no preset, no bootstrap */
} qk_context_settings;
/* `documents` give the texts, `held_out` (an empty one: the first text is held out) fits the temperature; both may be
 * empty where nothing needs them.  With `plan_only` nothing is computed and *results is {"plan": [...]}, one row a
 * model. */
qk_status qk_study_long_context(json_t **results, const qk_named_model *models, size_t n_models,
                                qk_documents *documents, qk_documents *held_out, const qk_context_settings *settings,
                                const qk_compute *compute, qk_run *run, bool plan_only, qk_error *err);

/* ---- capture and verify */

/* Each site that `patterns` name, for every document, as tensors "doc/site" ("site" alone for one document) of shape
 * [1, tokens, ...] into one safetensors file, or .npy files in a folder (path ends in '/' or is one). */
qk_status qk_study_capture(const char *path, const qk_model *model, qk_documents *documents,
                           const char *const *patterns, size_t n_patterns, const qk_compute *compute, qk_error *err);

/* golden: safetensors with `tokens` (I64 or I32, [n] or [1, n]) and tensors named by site or alias, with or without the
 * leading 1 axis.  Result {"sites": [{"site","max_abs","max_rel","rms_rel","compared","nonfinite","ok"}], "tolerance",
 * "first_failed", "ok", "ignored"}.  The relative error of a site is max|a-b| / max|b| over its finite entries; -inf in
 * both is equal, any other non-finite entry fails.  A tensor whose name is no site of the model is "ignored". */
qk_status qk_study_verify(json_t **results, const qk_model *model, const char *golden_path, double tolerance,
                          const qk_compute *compute, qk_error *err);

#endif
