/* generate.h - prompt in, text out: streams (prompt x condition) that go on token by token behind their prompts, with
 * the keys and values of every layer kept. */
#ifndef QK_GENERATE_H
#define QK_GENERATE_H

#include "base/base.h"
#include "model/model.h"

/* Where edits act.  ALL: at every position, prompt and answer alike.  PREFILL: at the prompt's positions alone (Jin et
 * al. 2025): the cache keeps edited keys and values, the first new token comes out of an edited position, what is
 * computed behind the prompt is not edited.  Ops that need a whole sequence mean the prompt's under PREFILL, and are
 * refused under ALL, where decoding sees one token at a time (docs/METHODS.md, "Generation"). */
typedef enum qk_phase { QK_PHASE_ALL, QK_PHASE_PREFILL } qk_phase;

/* Why a stream ended. */
typedef enum qk_end {
    QK_END_NONE,    /* it has not */
    QK_END_STOP,    /* its text holds a stop string */
    QK_END_TOKEN,   /* the model said an end token */
    QK_END_LENGTH,  /* max_new_tokens */
    QK_END_CONTEXT, /* prompt and answer fill the context */
    QK_N_ENDS
} qk_end;
const char *qk_end_name(qk_end end); /* "stop", "end token", "length", "context"; lives for ever */

typedef struct qk_prompt {
    const int32_t *tokens; /* [n_tokens], borrowed; each in [0, n_vocab) */
    size_t n_tokens;       /* >= 1, and below the context */
} qk_prompt;

/* Temperature divides the logits, then the top_k likeliest tokens stay, then the fewest of these that hold top_p of
 * what is left; ties go to the lower id.  One draw a token, from a stream of random numbers of its own for each
 * (seed, prompt, condition): the same on every machine, whatever the threads, the budget and the other prompts. */
typedef struct qk_sampling {
    double temperature; /* 0 = the likeliest token, nothing else is read; at most 100 */
    size_t top_k;       /* 0 = all */
    double top_p;       /* (0, 1]; 0 = 1 */
    uint64_t seed;
} qk_sampling;

typedef struct qk_generated {
    int32_t *tokens; /* [n_tokens] new ones; an end token is the last, what spells a stop string is among them */
    size_t n_tokens;
    char *text; /* [n_bytes] and a NUL: what follows the prompt's text, without special tokens, cut before a
                       * stop string; NULL where the model has no tokenizer */
    size_t n_bytes;
    qk_end end;
    size_t stop; /* END_STOP: which of the stops */
} qk_generated;

typedef struct qk_generate_spec {
    const qk_prompt *prompts;
    size_t n_prompts;
    const qk_condition *conditions; /* none given: one baseline */
    size_t n_conditions;
    qk_phase phase;
    size_t max_new_tokens; /* >= 1 */
    size_t context;        /* tokens of prompt and answer together; 0 = the model's (none where it tells none) */
    qk_sampling sampling;
    const char *const *stops; /* [n_stops] UTF-8, none empty; need a tokenizer */
    size_t n_stops;
    const int32_t *end_tokens; /* [n_end_tokens]; none given: what the checkpoint says (qk_end_tokens) */
    size_t n_end_tokens;
    bool ignore_end;        /* end tokens are tokens like others */
    bool recompute;         /* no cache: every token computes its whole stream anew.  Slow; an oracle for the cache */
    const qk_probe *probes; /* as in a pass: QK_SITE_LOGITS shows the rows that tokens are drawn from and no others */
    size_t n_probes;
    bool allow_idle_edits; /* as in a pass */
    bool reference;
    qk_precision precision;
    int n_threads;
    size_t max_bytes; /* as in a pass; streams that do not fit together go one group after the other */
    /* Each new token as it is known, in order within a stream; streams of a group interleave.  `piece`: the text that
     * has become certain, [n_bytes] UTF-8, maybe none (the rest of a character, or of a stop string, may follow); all
     * pieces of a stream together are its text.  Anything but QK_OK stops the call.  NULL = nobody listens. */
    qk_status (*on_token)(void *user, size_t prompt, size_t condition, int32_t token, const char *piece, size_t n_bytes,
                          qk_error *err);
    /* Each stream as it ends; `generated` is the result's.  NULL = nobody listens. */
    qk_status (*on_end)(void *user, size_t prompt, size_t condition, const qk_generated *generated, qk_error *err);
    void *user;           /* of on_token and on_end */
    qk_progress progress; /* phase "generate": tokens, prompts included */
} qk_generate_spec;

typedef struct qk_generate_result {
    size_t n_prompts, n_conditions;
    qk_generated *items;   /* [n_prompts][n_conditions] */
    qk_receipt **receipts; /* [n_prompts * n_conditions][n_edits of the condition] */
} qk_generate_result;

/* Run it; everything that `spec` points to is borrowed until the call returns, *out is the caller's.  QK_E_ARGUMENT
 * names the prompt, the setting or the edit that makes no sense; the other errors are those of qk_pass_run.  With a
 * rotation whose frequencies depend on the length (dynamic NTK, longrope) what the cache keeps was rotated with the
 * frequencies of its time, as in transformers. */
qk_status qk_generate(qk_generate_result **out, const qk_model *model, const qk_generate_spec *spec, qk_error *err);
void qk_generate_result_free(qk_generate_result *result);

/* The tokens that end a text: eos_token_id of generation_config.json, else of config.json, and the tokenizer's own.
 * *tokens is malloc'ed, the caller's; *n may be 0. */
qk_status qk_end_tokens(int32_t **tokens, size_t *n, const qk_model *model, qk_error *err);

#endif
