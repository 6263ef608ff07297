/* generate_private.h - streams, and what the files of the room share. */
#ifndef QK_GENERATE_PRIVATE_H
#define QK_GENERATE_PRIVATE_H

#include "model/model.h"
#include "pass/pass.h"
#include "text/tokenizer.h"

/* One prompt under one condition on its way. */
typedef struct qk_stream {
    size_t prompt, condition;
    int32_t *tokens; /* [capacity] the prompt's, then new ones; owned */
    size_t n_prompt, n_tokens, capacity;
    size_t n_done; /* positions whose keys and values the cache has */
    float *cache;  /* [n_layers][keys, values][capacity][n_kv_heads*head_dim]; owned; NULL with `recompute` */
    qk_rng rng;
    qk_bytes text;       /* what is certain so far; cut where a stop string begins; owned */
    size_t n_given;      /* bytes of it that on_token was told */
    size_t window, read; /* tokens[window, read) are spelled in `text`, those before give them their context */
    qk_end end;
    size_t stop;
} qk_stream;

/* The whole call. */
typedef struct qk_generation {
    const qk_model *model;
    qk_generate_spec spec;   /* with what was not given filled in */
    int32_t *own_end_tokens; /* owned */
    qk_sequence *sequences;  /* [n_prompts] as the pass wants them; owned */
    qk_pass_spec pass_spec;
    qk_pass_result *receipts;   /* of all groups so far; owned */
    qk_generate_result *result; /* owned */
    bool few_streams;           /* so few that products in tiles would be mostly padding; of the call, not of a group,
                                 * so that a budget changes no bit */
    bool few_prompt_rows;       /* the same of all prompts' tokens together */
    double done, total;         /* row-layers, for progress */
} qk_generation;

/* ---- group.c: streams that go together, with caches and a pass of their own */

/* Streams first .. first + *n of the call (prompt by prompt, condition by condition), as many as fit, to their ends. */
qk_status qk_group_run(size_t *n, qk_generation *g, size_t first, qk_error *err);

/* ---- sample.c */

void qk_sample_seed(qk_rng *rng, uint64_t seed, size_t prompt, size_t condition);
/* Work space of qk_sample: `order` and `weights` of n_vocab. */
typedef struct qk_sampler {
    uint32_t *order;
    double *weights;
} qk_sampler;
int32_t qk_sample(qk_rng *rng, const float *logits, size_t n_vocab, const qk_sampling *sampling, qk_sampler *space);

/* ---- text.c */

/* The stream's newest token into its text: sets `end` where that holds a stop string.  Where the stream has ended, all
 * of the rest. */
qk_status qk_stream_spell(qk_stream *stream, const qk_tokenizer *tokenizer, const qk_generate_spec *spec,
                          qk_error *err);
/* Bytes behind n_given that no stop string can take back any more. */
size_t qk_stream_certain(const qk_stream *stream, const qk_generate_spec *spec);

#endif
