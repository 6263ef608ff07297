/* model.h - one configuration, one weight table, whatever the file; and the tokenizer. */
#ifndef QK_MODEL_H
#define QK_MODEL_H

#include "base/base.h"
#include "ckpt/ckpt.h"
#include "math/rows.h"
#include "text/text.h"

/* A matrix or vector of the model, still as it lies in the file. */
typedef struct qk_weight {
    const qk_tensor *tensor; /* NULL where the model has none (a bias, a norm) */
    size_t n_rows, n_cols;   /* vectors: n_rows x 1 */
    int interleaved_heads;   /* > 0: rows of this many heads lie as rotary pairs (2i, 2i+1) and are turned to halves */
} qk_weight;

typedef struct qk_layer_weights {
    qk_weight attn_norm;                  /* [d_model] */
    qk_weight q, k, v, o;                 /* [heads*head_dim][d_model] ...; o: [d_model][n_heads*head_dim] */
    qk_weight q_bias, k_bias, v_bias, o_bias;
    qk_weight q_norm, k_norm;             /* [head_dim] or [heads*head_dim], as config.q_norm says */
    qk_weight ffn_norm;                   /* [d_model] */
    qk_weight gate, up, down;             /* [d_ffn][d_model] x2, [d_model][d_ffn] */
    qk_weight gate_bias, up_bias, down_bias;
} qk_layer_weights;

/* Tensors in the place of the file's. */
typedef struct qk_quantized {
    qk_quantization how;
    qk_tensor *tensors;        /* [n_tensors] in the order of layers; their data lies in `data` */
    const qk_tensor **sources; /* [n_tensors] of the file */
    size_t n_tensors, n_kept;  /* kept: matrices that stay as they are, since their rows do not divide into blocks */
    const qk_tensor *first_kept;
    uint8_t *data;             /* [n_bytes]; NULL where only sizes were wanted */
    size_t n_bytes;
    uint64_t source_bytes;     /* of the sources */
} qk_quantized;

struct qk_model {
    qk_config config;
    qk_ckpt *ckpt;            /* owned; everything below points into it */
    qk_tokenizer *tokenizer;  /* owned; NULL where the checkpoint has none: then tokenizer_error says why */
    qk_error tokenizer_error;
    bool lent_tokenizer;      /* it belongs to another model */
    qk_arena arena;           /* layers, longrope factors, amounts */
    qk_weight embedding;      /* [n_vocab][d_model] */
    qk_weight final_norm;     /* [d_model] */
    qk_weight unembedding;    /* [n_vocab][d_model]; the embedding where tied */
    qk_layer_weights *layers; /* [n_layers] */
    void *memory;             /* owned; what `ckpt` points into where that is no file (synthetic.c), else NULL */
    qk_quantized quantized;   /* owned; all 0 where the weights are the file's */
    uint64_t beside_bytes;    /* resident for other models that are open with this one: passes count them, too */
};

/* model.c: a model of tensors at hand (qk_ckpt_of_tensors), which it takes over; `config` and what it points to are
 * copied.  `tokenizer` is lent and must outlive the model (NULL: it has none); *config must be a checked one. */
qk_status qk_model_of_tensors(qk_model **out, qk_ckpt *ckpt, const qk_config *config, qk_tokenizer *tokenizer,
                              qk_error *err);
/* model.c: the same model at another attention temperature.  A view that borrows everything: not to be closed, gone
 * with the model. */
qk_model qk_model_at_scale(const qk_model *model, double softmax_scale);
/* synthetic.c: random weights in memory, matrices in `dtype`: what they take, and a model of them without a tokenizer.
 * *config must be a checked one; the same seed gives the same bytes for any number of threads.  QK_E_ARGUMENT: rows that
 * the format's blocks do not divide. */
qk_status qk_synthetic_bytes(uint64_t *n_bytes, const qk_config *config, qk_dtype dtype, qk_error *err);
qk_status qk_model_synthetic(qk_model **out, const qk_config *config, qk_dtype dtype, uint64_t seed, int n_threads,
                             qk_error *err);
/* quantize.c: as qk_model_quantize, but for the numbers: what a plan or a listing asks about.  Such a model cannot run. */
qk_status qk_model_quantize_sizes(qk_model *model, qk_quantization how, size_t max_bytes, qk_error *err);
void qk_quantized_free(qk_quantized *quantized);
/* quantize.c: bytes of all weights as the model holds them; the tensor of the checkpoint's index, or what stands in its
 * place. */
uint64_t qk_model_bytes(const qk_model *model);
const qk_tensor *qk_model_tensor(const qk_model *model, size_t index);
/* config.c: config.json, GGUF keys or llama2.c header -> qk_config; what it does not know is refused by name. */
qk_status qk_config_read(qk_config *out, qk_arena *arena, const qk_ckpt *ckpt, qk_error *err);
/* The same from config.json alone; `path` is for messages. */
qk_status qk_config_of_json(qk_config *out, qk_arena *arena, const json_t *config, const char *path, qk_error *err);
/* bare.c: a configuration and a tokenizer without weights, to train from scratch: it can read text and be the source of
 * parameters, not be run.  `config_path` names a config.json; the tokenizer is found in `tokenizer_path`, a folder or a
 * tokenizer.json or tokenizer.model (NULL: beside the configuration).  QK_E_ARGUMENT: more tokens than embeddings. */
qk_status qk_model_open_bare(qk_model **out, const char *config_path, const char *tokenizer_path, qk_error *err);
/* config_write.c: the config.json that makes transformers, where it can, and qkscope compute what `config` says.  Keys
 * of `source` (another config.json, NULL: none) that do not contradict are kept.  QK_E_UNSUPPORTED: no form of config.json
 * can say it. */
qk_status qk_config_to_json(json_t **out, const qk_config *config, const json_t *source, qk_error *err);
/* The same model in the words of that config.json: where all amounts are 0 there is no rotation (what multiplied cos
 * and sin goes into softmax_scale), where all are 1 no amounts; model_type and attention_type follow, or stay where
 * there is no form. */
void qk_config_settle(qk_config *config);
/* bind.c: names -> weights; the only place with tensor names.  Checks dtype and shape of each. */
qk_status qk_bind_weights(qk_model *model, qk_error *err);
/* Name, shape and layer of a weight. */
typedef struct qk_weight_shape {
    char name[96];         /* as Hugging Face calls it */
    size_t n_rows, n_cols; /* a vector: n_rows x 1 */
    int n_dims;            /* 2 for matrices, 1 for gains and biases */
    int layer;             /* -1 where it belongs to none */
} qk_weight_shape;
/* All weights that a model of this configuration has, in the order of the forward pass, into out[] (NULL: they are only
 * counted); returns how many. */
size_t qk_weight_shapes(qk_weight_shape *out, const qk_config *config);
/* weight.c: the matrix as it lies in the file; the weight must be there. */
qk_rows qk_weight_matrix(const qk_weight *weight);
/* Rows [row0, row0 + n_rows) as f32 into out[n_rows][n_cols], in Hugging Face order. */
void qk_weight_rows(float *out, const qk_weight *weight, size_t row0, size_t n_rows);
/* Its pages are wanted soon: they are read from disk meanwhile. */
void qk_weight_expect(const qk_weight *weight, const qk_ckpt *ckpt);
/* Its pages, all of them, leave resident memory until they are touched again. */
void qk_weight_release(const qk_weight *weight, const qk_ckpt *ckpt);
/* The mapped f32 rows themselves where no conversion is needed and the data is aligned; else NULL. */
const float *qk_weight_mapped(const qk_weight *weight);
/* Wavelength in tokens (2 pi / inv_freq), infinity without rotation. */
double qk_rope_wavelength(float inv_freq);

#endif
