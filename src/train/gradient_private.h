/* gradient_private.h - what the way forth and the way back share: buffers, widths, blocks. */
#ifndef QK_GRADIENT_PRIVATE_H
#define QK_GRADIENT_PRIVATE_H

#include "pass/pass.h"
#include "train/train.h"

/* Rows of one block of products and of logits: enough to be efficient, few enough to stay in the cache. */
#define QK_BLOCK_ROWS ((size_t)8 * QK_TILE_ROWS)

/* What one layer keeps for the way back; pointers into qk_gradient.memory. */
typedef struct qk_kept {
    float *resid_pre, *normed, *q_raw, *k_raw, *q, *k, *v, *z, *resid_mid, *ffn_normed, *gate, *up, *post;
} qk_kept;

struct qk_gradient {
    qk_parameters *parameters;
    qk_gradient_spec settings;
    const qk_derivatives *derive;
    qk_pass pass;           /* on parameters->model: baseline only, no probes */
    qk_pass_spec spec;
    qk_pass_result result;  /* without receipts: there are no edits */
    size_t no_edits[2];     /* the edit table's `first` */
    float *memory;          /* every buffer below and in pass.scratch */
    qk_kept *layers;           /* [n_layers]; with recompute all but resid_pre are the same */
    float *dx;              /* [rows][d_model] gradient of the residual stream */
    float *final_normed;    /* [QK_BLOCK_ROWS][d_model] output of the final norm */
    float *dnormed;         /* [QK_BLOCK_ROWS][d_model] */
    float *dq, *dz;         /* [rows][n_heads*head_dim] */
    float *dk, *dv;         /* [rows][n_kv_heads*head_dim] */
    float *dgate, *dup;     /* [QK_BLOCK_ROWS][d_ffn] */
    float *dscores;         /* [n_threads][QK_ATTENTION_ROWS][qk_scores_stride(longest)] */
    double *partial;        /* [QK_PARTIAL_SUMS][widest] */
    qk_segment *segments;   /* [n_segments] of the present micro-batch */
    size_t most_segments;
    size_t *standing;       /* [n_layers + 1] zeros */
};

/* Widths in floats of a row. */
typedef struct qk_widths { size_t model, q, kv, ffn, vocab, half; } qk_widths;

static inline qk_widths qk_widths_of(const qk_config *c)
{
    size_t d = (size_t)c->head_dim;
    return (qk_widths){ (size_t)c->d_model, (size_t)c->n_heads * d, (size_t)c->n_kv_heads * d,
                     (size_t)c->d_ffn,   (size_t)c->n_vocab,     d / 2 };
}

static inline size_t qk_padded_rows(size_t rows) { return (rows + QK_TILE_ROWS - 1) / QK_TILE_ROWS * QK_TILE_ROWS; }

/* Floats between rows of scores: no multiple of 32.  Rows a power of two apart share few lines of the cache, and a
 * product that reads them by columns takes twice as long. */
static inline size_t qk_scores_stride(size_t longest) { return (longest + 31) / 32 * 32 + 16; }

static inline const float *qk_embedding_of(const qk_gradient *g)
{
    return qk_weight_mapped(&g->pass.model->embedding);
}

/* Rows of the block that begins at `row`. */
static inline size_t qk_block_rows(size_t row, size_t n_rows)
{
    return n_rows - row < QK_BLOCK_ROWS ? n_rows - row : QK_BLOCK_ROWS;
}

/* ---- gradient_back.c */

/* Logits of the final norm's output row block by row block, the loss, and its gradient into g->dx; adds the summed nll
 * to *nll. */
qk_status qk_loss_back(double *nll, qk_gradient *g, const qk_sequence *sequences, size_t n_rows, double scale,
                       qk_error *err);
/* g->dx behind a layer becomes g->dx before it; the layer's weights get their gradients. */
void qk_layer_back(qk_gradient *g, int layer, const qk_sequence *sequences, size_t n_segments, size_t n_rows);
/* g->dx before the first layer into the embedding's gradient. */
void qk_embed_back(const qk_gradient *g, const qk_sequence *sequences, size_t n_segments);

#endif
