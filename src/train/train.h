/* train.h - the room that changes weights: parameters, gradients, optimiser, batches, checkpoints, the loop, DroPE.
 *
 * One flow:  parameters (values that a qk_model reads in place)  ->  qk_gradient_add (the pass's own layer function
 * with kept activations, then backward)  ->  qk_optimise  ->  checkpoint (a Hugging Face folder and the trainer's
 * state).  A run is a pure function of its settings: the same seed gives the same bytes, resumed or not. */
#ifndef QK_TRAIN_H
#define QK_TRAIN_H

#include <jansson.h>

#include "base/base.h"
#include "math/backward.h"
#include "model/model.h"

/* ---- parameters.c: all weights in one array, and a model that reads them there */

typedef struct qk_parameter {
    qk_weight_shape shape;
    size_t offset;          /* floats, into values, gradient and both moments; multiple of 16 */
    size_t n;               /* n_rows * n_cols */
} qk_parameter;

typedef struct qk_parameters {
    qk_model *model;        /* owned; its F32 weights ARE `values`: passes on it see the present weights */
    qk_model *source;       /* borrowed: whose tokenizer `model` uses and whose tokenizer files a checkpoint copies */
    qk_parameter *items;    /* [n_items] in the order of the forward pass */
    size_t n_items, n_values; /* n_values counts the padding between items, which stays zero */
    float *values, *gradient, *first_moment, *second_moment; /* [n_values] */
} qk_parameters;

/* Weights for `config` (copied; its rope_factors and rope_amounts are copied too): gains 1, all else 0.  `source` gives
 * the tokenizer (NULL: none). */
qk_status qk_parameters_new(qk_parameters **out, const qk_config *config, qk_model *source, qk_error *err);
void qk_parameters_free(qk_parameters *parameters);
/* Every weight that `from` has too; shapes must agree (QK_E_SHAPE names the tensor).  What it has not (a new QK-norm)
 * stays. */
qk_status qk_parameters_copy(qk_parameters *parameters, const qk_model *from, qk_error *err);
/* Matrices N(0, std^2), drawn in order; the output matrices o and down N(0, std^2 / (2 n_layers)), as in GPT-2 (Radford
 * et al. 2019).  Vectors stay. */
void qk_parameters_randomise(qk_parameters *parameters, double std, uint64_t seed);
/* The item that holds value `index`; NULL for padding. */
const qk_parameter *qk_parameter_at(const qk_parameters *parameters, size_t index);

/* ---- gradient.c: forward with kept activations, loss, backward */

typedef struct qk_gradient qk_gradient;

typedef struct qk_gradient_spec {
    size_t max_rows;        /* tokens of the largest micro-batch */
    size_t longest;         /* tokens of the longest sequence */
    qk_precision precision;
    const qk_level *level;   /* NULL: the best there is */
    bool reference;         /* the plain twins */
    bool recompute;         /* keep only each layer's input; its activations are computed again on the way back */
    int n_threads;
} qk_gradient_spec;

/* Bytes that qk_gradient_new would allocate. */
uint64_t qk_gradient_bytes(const qk_config *config, const qk_gradient_spec *spec);
/* Buffers for micro-batches under `parameters` (borrowed). */
qk_status qk_gradient_new(qk_gradient **out, qk_parameters *parameters, const qk_gradient_spec *spec, qk_error *err);
void qk_gradient_free(qk_gradient *gradient);
/* Adds scale * d(sum of nll over predicted tokens)/d(parameters) to parameters->gradient, and that sum, nats, to *nll:
 * micro-batches add up.  Each sequence predicts its tokens from score_from on (1 = all but the first), attends to itself
 * only and counts positions from 0: several documents in one row are several sequences.  QK_E_NUMERIC names the first
 * non-finite value. */
qk_status qk_gradient_add(double *nll, qk_gradient *gradient, const qk_sequence *sequences, size_t n_sequences,
                          double scale, qk_error *err);

/* ---- optimiser.c: AdamW with decoupled weight decay (Loshchilov and Hutter 2019), clipping, schedules */

typedef enum qk_schedule { QK_SCHEDULE_COSINE, QK_SCHEDULE_CONSTANT, QK_SCHEDULE_WSD } qk_schedule;

typedef struct qk_optimiser {
    double learning_rate;   /* at its height */
    double beta1, beta2, epsilon;
    double weight_decay;    /* of matrices; vectors never decay */
    bool decay_qk;          /* false: q and k projections do not decay either */
    double clip;            /* largest norm of the whole gradient; 0 = not clipped */
    qk_schedule schedule;
    uint64_t n_steps, n_warmup; /* linear from 0 to the height in n_warmup steps */
    uint64_t n_decay;       /* WSD: the last n_decay steps fall */
    double least;           /* end of the fall, as a share of the height */
} qk_optimiser;

/* Of step `step`, counted from 0 (the first step uses (0 + 1) / n_warmup of the height). */
double qk_learning_rate(const qk_optimiser *optimiser, uint64_t step);
/* Clip, update values and moments, zero the gradient.  *norm: the gradient's before clipping.  QK_E_NUMERIC names step
 * and first bad tensor, and leaves values and moments untouched.  The same bits for any number of threads. */
qk_status qk_optimise(double *norm, qk_parameters *parameters, const qk_optimiser *optimiser, uint64_t step,
                      int n_threads, qk_error *err);

/* ---- batches.c: documents in seeded order, packed into rows of one context */

/* Where training text comes from: tokens of document `index`, malloc'ed, with BOS and EOS as the tokenizer has them. */
typedef struct qk_corpus {
    uint64_t n_documents;   /* an order is drawn anew each epoch; UINT64_MAX: unlimited, read in order */
    qk_status (*tokens)(void *user, int32_t **tokens, size_t *n_tokens, uint64_t index, qk_error *err);
    void *user;
} qk_corpus;

typedef struct qk_batches qk_batches;

typedef struct qk_batch_spec {
    size_t context;         /* tokens of a row */
    size_t n_rows;          /* rows of one optimiser step */
    bool across_documents;  /* a row is one sequence, whatever documents lie in it (the published DroPE code) */
    bool in_order;          /* documents as the corpus has them, every epoch: a curriculum; else in seeded order */
    uint64_t seed;
} qk_batch_spec;

/* A corpus shorter than one row is refused (QK_E_ARGUMENT). */
qk_status qk_batches_new(qk_batches **out, const qk_corpus *corpus, const qk_batch_spec *spec, qk_error *err);
void qk_batches_free(qk_batches *batches);
/* The next step's rows as sequences: row r is sequences[first_of_row[r] .. first_of_row[r + 1]).  A document that does
 * not fit goes on in the next row as a sequence of its own.  Pieces of one token are left out.  Borrowed until the next
 * call. */
typedef struct qk_batch {
    const qk_sequence *sequences;
    const size_t *first_of_row; /* [n_rows + 1] */
    size_t n_sequences, n_rows;
    size_t n_tokens, n_predicted;
} qk_batch;
qk_status qk_batches_next(qk_batch *out, qk_batches *batches, qk_error *err);
/* Where it stands, for a checkpoint (documents of the present epoch, offset within one); restoring needs the same
 * corpus and spec. */
json_t *qk_batches_state(const qk_batches *batches);
qk_status qk_batches_restore(qk_batches *batches, const json_t *state, qk_error *err);

#endif
