/* pass.h - the layer-major pass, private to the room (and the site helpers that studies use).
 *
 * All streams (sequence x condition) go through layer 0, then all through layer 1, ...  Streams whose edits agree up
 * to a layer share the computation: the lowest condition of such a class stands for it, and classes split where
 * their edits do. */
#ifndef QK_PASS_H
#define QK_PASS_H

#include "base/base.h"
#include "math/kernels.h"
#include "model/model.h"

/* ---- sites.c */

int qk_site_heads(const qk_config *config, qk_site site); /* heads of a head-shaped row, 0 for others */
bool qk_site_exists(const qk_config *config, qk_site site);
/* The index-th alias and its site; NULL behind the last. */
const char *qk_site_alias(size_t index, qk_site *site);

/* ---- edit.c: edits checked once, then applied where their site comes up */

typedef struct qk_compiled_edit {
    const qk_edit *edit;
    size_t condition, index; /* whose edit it is, and its place there */
    int stage;               /* layer it acts in; n_layers for the final norm and logits */
    uint32_t *dims;          /* [n_dims] ascending; NULL with top_k */
    size_t n_dims;
} qk_compiled_edit;

typedef struct qk_edit_table {
    qk_compiled_edit *items; /* by condition, in the order given */
    size_t n;
    size_t *first;           /* [n_conditions + 1] into items */
    qk_arena arena;
} qk_edit_table;

qk_status qk_edits_compile(qk_edit_table *out, const qk_config *config, const qk_pass_spec *spec, qk_error *err);
void qk_edits_free(qk_edit_table *table);
bool qk_edits_equal(const qk_compiled_edit *a, const qk_compiled_edit *b, const qk_config *config);
/* Rows [position0, position0 + n_rows) of one sequence at the edit's site; fills *receipt (added to). */
qk_status qk_edit_apply(qk_receipt *receipt, const qk_compiled_edit *edit, const qk_config *config, float *x,
                        size_t stride, size_t n_rows, size_t position0, size_t sequence, qk_error *err);

/* ---- plan.c: what fits where */

/* Sequences [sequence0, sequence1) under conditions [condition0, condition1) go together. */
typedef struct qk_group { size_t sequence0, sequence1, condition0, condition1; } qk_group;

typedef struct qk_layout {
    size_t n_groups;
    qk_group *groups;          /* owned */
    size_t longest;            /* tokens of the longest sequence */
    size_t batch_rows; /* rows of q, k, v alive at once; at least the longest sequence; multiple of QK_TILE_ROWS */
    size_t block_rows;         /* rows of feed-forward scratch; multiple of QK_TILE_ROWS */
    size_t logit_rows;         /* rows of logits alive at once; multiple of QK_TILE_ROWS */
    uint64_t mapped_bytes;     /* of the file: the weights of the largest layer, or of the unembedding */
    size_t vector_floats;      /* converted norms and biases of the layer that has most */
    size_t scratch_floats;     /* everything that struct qk_scratch holds */
    size_t most_rows;          /* residual rows of the largest group */
    int n_threads;
} qk_layout;

qk_status qk_layout_make(qk_layout *out, qk_plan *plan, const qk_model *model, const qk_pass_spec *spec, qk_error *err);
void qk_layout_free(qk_layout *layout);

/* ---- forward.c: one layer for one batch of streams */

/* One stream's rows in a batch. */
typedef struct qk_segment {
    size_t sequence, condition; /* the condition that stands for its class */
    size_t x_row;               /* first row in the residual buffer */
    size_t row;                 /* first row in q, k, v of the batch */
    size_t n_rows;              /* positions [position0, position0 + n_rows) */
    size_t position0;           /* > 0 only with a cache, which has the rows below */
    size_t edit_end;            /* edits act at positions below this one; 0 = at all */
    float *k_cache, *v_cache;   /* [position0 + n_rows][n_kv_heads*head_dim] of this stream in this layer: the layer
                                 * adds its rows and attends to all of them.  NULL = only the segment's own exist */
} qk_segment;

/* Weights of one layer: matrices as they lie in the file; vectors in f32, mapped where the file has them so, else
 * converted into the vector buffer, NULL where the model has none. */
typedef struct qk_layer_view {
    qk_rows q, k, v, o, gate, up, down;
    const float *attn_norm, *q_bias, *k_bias, *v_bias, *o_bias, *q_norm, *k_norm;
    const float *ffn_norm, *gate_bias, *up_bias, *down_bias;
} qk_layer_view;

/* Buffers of the whole pass, carved from one allocation by one table.  Training keeps what the way back needs: then
 * the buffers of a layer are its own, none of them serves twice, and blocks lie at their rows. */
typedef struct qk_scratch {
    float *memory;
    bool keeps;          /* [block_rows] below is [batch_rows], and the pointers told to be the same are not */
    float *normed;       /* [block_rows][d_model] */
    float *ffn_normed;   /* [block_rows][d_model]; the same as normed */
    float *delta;        /* [block_rows][d_model] what a block adds to the residual stream; never kept */
    float *q;            /* [batch_rows][n_heads*head_dim] */
    float *z;            /* [batch_rows][n_heads*head_dim]; the same as q */
    float *k, *v;        /* [batch_rows][n_kv_heads*head_dim] */
    float *gate, *up;    /* [block_rows][d_ffn] */
    float *post;         /* [block_rows][d_ffn]; the same as gate */
    float *resid_pre, *resid_mid; /* [batch_rows][d_model] copies of the residual stream where kept; else NULL */
    float *q_raw, *k_raw;/* q and k before their norms where kept and there is one; else NULL */
    float *scores;       /* [n_threads][QK_ATTENTION_ROWS][longest] */
    float *logits;       /* [logit_rows][n_vocab] */
    float *cos, *sin;    /* [longest][head_dim/2] */
    float *inv_freq;     /* [head_dim/2] */
    float *vectors;      /* [vector_floats] */
} qk_scratch;

typedef struct qk_pass {
    const qk_model *model;
    const qk_config *config;
    const qk_pass_spec *spec;
    const qk_kernels *ops;
    qk_layout layout;
    qk_scratch scratch;
    qk_edit_table edits;
    float *residual;            /* [most_rows][d_model] */
    double *token_nll;          /* [most_rows] */
    int32_t *token_top;         /* [most_rows]; NULL unless they are kept */
    size_t *standing;           /* [n_layers + 1][n_conditions]: who stands for whom at each stage of the group */
    size_t *row_of;             /* [n_sequences]: first residual row of a sequence in the group */
    qk_group group;
    size_t rope_from, rope_length; /* positions that cos and sin hold; length 0 = nothing yet */
    uint64_t rope_key;          /* sequence length they were made for where that matters, else 0 */
    int rope_layer;             /* layer they were made for where layers differ, else 0 */
    qk_pass_result *result;
    double done, total;         /* row-layers, for progress */
    bool last_rows;             /* logits are those of each segment's last row (generation), not of scored targets */
    bool trims;                 /* nobody looks behind the last layer's attention: rows that no logits need end there */
    bool few_rows;              /* products made for few rows, where the kernels have one */
    bool decodes;               /* token by token: no layer is asked for ahead */
} qk_pass;

/* The residual rows of the parts, normed, one behind the other; in the residual buffer they need not lie side by
 * side. */
void qk_pass_norm(const qk_pass *pass, float *out, const float *gain, const qk_segment *parts, size_t n_parts);
/* y[n_rows][w->n_rows] = x[n_rows][w->n_cols] w^T + bias. */
void qk_pass_product(const qk_pass *pass, float *y, const float *x, const qk_rows *w, const float *bias, size_t n_rows);
/* A norm or bias in f32: where it is mapped, or converted to *at, which moves on; NULL where the model has none. */
const float *qk_pass_vector(const qk_weight *weight, float **at);
/* cos and sin of a layer for positions [from, n_tokens) of a sequence of n_tokens into scratch.cos and scratch.sin,
 * unless they are there. */
void qk_pass_rotation(qk_pass *pass, int layer, size_t from, size_t n_tokens);
/* The layer's weights into *out; converts into scratch.vectors. */
void qk_layer_load(qk_layer_view *out, const qk_pass *pass, int layer);
/* The layer's pages are read from disk while others are computed. */
void qk_layer_expect(const qk_pass *pass, int layer);
/* Under a budget: the layer's mapped pages leave resident memory. */
void qk_layer_release(const qk_pass *pass, int layer);
/* Carry the batch through one layer: reads and writes pass->residual. */
qk_status qk_layer_forward(qk_pass *pass, int layer, const qk_layer_view *weights, const qk_segment *segments,
                           size_t n_segments, qk_error *err);
/* Everything that may happen at a site: edits, the non-finite check, probes.  x: first row of the first segment
 * part; rows of the parts lie one behind the other. */
qk_status qk_site_visit(qk_pass *pass, qk_site site, int layer, float *x, size_t stride, const qk_segment *parts,
                        size_t n_parts, qk_error *err);
/* Show rows of one part to the probes of a site, for every condition that its class stands for.  head: -1 but for
 * scores and pattern. */
qk_status qk_probes_show(const qk_pass *pass, qk_site site, int layer, int head, const float *x, size_t stride,
                         size_t width, const qk_segment *part, qk_error *err);
/* The pieces of `segments` that lie in batch rows [row, row + n_rows), into parts; returns how many. */
size_t qk_segments_cut(qk_segment *parts, const qk_segment *segments, size_t n_segments, size_t row, size_t n_rows);
bool qk_site_wanted(const qk_pass *pass, qk_site site, int layer);

/* ---- trim.c */

/* Neither probes nor edits behind the attention of the last layer: what rows are there nobody sees. */
bool qk_pass_may_trim(const qk_pass *pass);
/* Blocks of queries in front of the segment that nobody needs behind the attention of this layer. */
size_t qk_pass_idle_blocks(const qk_pass *pass, int layer, const qk_segment *segment);
/* Moves the rows of z that are needed to the front of the buffer, one segment's behind another's; what the segments
 * are then: trimmed[n_segments]. */
void qk_pass_trim(qk_segment *trimmed, const qk_pass *pass, int layer, const qk_segment *segments, size_t n_segments);

/* ---- pass.c: the doors for who moves streams through the layers itself (src/generate) */

const qk_kernels *qk_pass_kernels(const qk_pass_spec *spec);
/* Edits and buffers, and a result unless there is one already; model, config, spec, ops and layout are there.  Every
 * stream stands for itself.  The pass is to be closed even when this fails. */
qk_status qk_pass_open(qk_pass *pass, qk_error *err);
void qk_pass_close(qk_pass *pass);
/* Embeddings of tokens[n_rows] into the segment's rows, and the site behind them. */
qk_status qk_pass_embed(qk_pass *pass, const qk_segment *segment, const int32_t *tokens, qk_error *err);
/* All segments through one layer, in batches of whole segments: sets their `row`. */
qk_status qk_pass_layer(qk_pass *pass, int layer, qk_segment *segments, size_t n_segments, qk_error *err);
/* An edit that changed nothing in any stream is an error, unless the spec allows it. */
qk_status qk_pass_check_receipts(const qk_edit_table *edits, const qk_pass_spec *spec, qk_receipt *const *receipts,
                                 qk_error *err);

/* ---- score.c */

/* Final norm and logits of the last row of each segment, segment i's into row i of scratch.logits; at most
 * qk_pass_logits_most of them. */
qk_status qk_pass_logits(qk_pass *pass, const qk_segment *segments, size_t n_segments, qk_error *err);
size_t qk_pass_logits_most(const qk_pass *pass);

/* Final norm, logits in row blocks, log-likelihoods into pass->token_nll. */
qk_status qk_pass_score(qk_pass *pass, const qk_segment *segments, size_t n_segments, qk_error *err);

#endif
