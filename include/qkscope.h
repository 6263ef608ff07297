/* qkscope.h - a microscope for the queries and keys of a transformer: the public interface, in order of flow.
 *
 *   qk_model      configuration, weights (mapped, read-only), tokenizer; immutable, any number of threads may share one
 *   qk_sequence   tokens on their way in
 *   qk_edit       a change made at a site; a qk_condition is a named list of edits, `baseline` the empty one
 *   qk_probe      what reads at sites while a pass runs
 *   qk_pass_run   one sweep through the model, layer by layer, that carries ALL sequences under ALL conditions
 *   qk_generate   new text behind prompts, under the same conditions; the keys and values of every layer are kept
 *   qk_norms      streaming sums of q, k, v; thresholded by qk_massive_mask
 *
 * Conventions.  Outputs come first, inputs next, `err` last (NULL allowed).  On failure outputs are untouched.  Every
 * status that a function documents apart, it may also return QK_E_MEMORY.  _open/_new/_run hand over ownership,
 * _close/_free take it back and accept NULL.  Nothing here prints, exits, reads the environment or keeps state outside
 * its handles.  Arrays are row-major, slowest axis first.  Query/key dims count in Hugging Face order (a rotary pair is
 * d and d + head_dim/2) whatever the file.  Layers count from 0.  Log-likelihoods are in nats.  Every statistic
 * accumulates in double.  A qk_model is read-only: threads may share it, each with its own spec, norms and result; what
 * is not const belongs to one thread at a time.  Formulas and their papers: docs/METHODS.md. */
#ifndef QKSCOPE_H
#define QKSCOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define QK_MUST_CHECK __attribute__((warn_unused_result))
#else
#define QK_MUST_CHECK
#endif

/* ---- errors ------------------------------------------------------------------------------------------------------ */

typedef enum qk_status {
    QK_OK = 0,
    QK_E_ARGUMENT,    /* the call or the user's option makes no sense */
    QK_E_IO,          /* the operating system refused: not found, not readable, disk full */
    QK_E_FORMAT,      /* a file is not what it says it is: truncated, inconsistent, hostile */
    QK_E_UNSUPPORTED, /* understood, and not supported: named in the message, never guessed */
    QK_E_SHAPE,       /* a tensor has another shape than the configuration demands */
    QK_E_MEMORY,      /* an allocation failed */
    QK_E_BUDGET,      /* the work would not fit under max_bytes */
    QK_E_NUMERIC,     /* a non-finite value; the message names site, layer, token, head and dim */
    QK_E_CHECK,       /* a check failed: an edit that changed nothing, a site out of tolerance */
    QK_E_INTERRUPTED  /* the progress callback asked to stop */
} qk_status;

/* What went wrong: one line without '\n' that says what, where, expected and found. */
typedef struct qk_error {
    qk_status status;
    char message[500];
} qk_error;

/* Called now and then from the thread that runs the work: `done` of `total` units of `phase`.  Return false to stop
 * (the call then fails with QK_E_INTERRUPTED).  A NULL `tick` is allowed. */
typedef struct qk_progress {
    bool (*tick)(void *user, const char *phase, double done, double total);
    void *user;
} qk_progress;

/* The version as text, "0.1.0"; lives for ever. */
const char *qk_version(void);

/* ---- model ------------------------------------------------------------------------------------------------------- */

typedef struct qk_model qk_model;

typedef enum qk_rope_kind {
    QK_ROPE_NONE,    /* no rotation: DroPE */
    QK_ROPE_DEFAULT, /* inv_freq[m] = theta^(-2m/D), Su et al. 2021 */
    QK_ROPE_LINEAR,  /* inv_freq / factor: position interpolation, Chen et al. 2023 */
    QK_ROPE_DYNAMIC, /* dynamic NTK: theta grows with the length beyond the trained one */
    QK_ROPE_YARN,    /* NTK by parts and an attention factor, Peng et al. 2023 */
    QK_ROPE_LLAMA3,  /* Llama 3.1: low frequencies divided by factor, a smooth band between */
    QK_ROPE_LONGROPE, /* per-pair factors, one set short, one long, Ding et al. 2024 */
    QK_ROPE_FACTORS  /* explicit per-pair divisors from the file (GGUF rope_freqs.weight) */
} qk_rope_kind;

typedef enum qk_qk_norm {
    QK_NORM_NONE,
    QK_NORM_PER_HEAD,  /* Qwen3: RMSNorm over each head's dims, weight [head_dim] */
    QK_NORM_PROJECTION /* DroPE, OLMo-2: RMSNorm over the whole projection, weight [n_heads*head_dim] */
} qk_qk_norm;

/* Everything a reader of the model needs; borrowed from the model, lives as long as it. */
typedef struct qk_config {
    char model_type[32];   /* "llama", "mistral", "qwen2", "qwen3", "llama_drope", "qwen2_drope" */
    char attention_type[24];/* DroPE: "nope", "qk_norm_nope", "q_norm_nope", "k_norm_nope"; else "rope" */
    int n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ffn, n_vocab;
    int n_context;         /* trained context, tokens (max_position_embeddings) */
    double rms_norm_eps;
    double softmax_scale;  /* multiplies q.k: 1/sqrt(head_dim) unless the file gives an absolute one */
    bool tied_embeddings;  /* the unembedding is the embedding */
    bool qkv_bias, o_bias, mlp_bias; /* which projections carry one */
    int sliding_window;    /* keys a query may look back to, itself included; 0 = all */
    int first_window_layer;/* layers below this one see everything (Qwen2 max_window_layers) */
    qk_qk_norm q_norm, k_norm;
    qk_rope_kind rope_kind;
    double rope_theta;          /* 0 where there is no rotation */
    double rope_factor;         /* s: how much longer than the original context; 1 where not scaled */
    double rope_original_context;/* tokens */
    double rope_beta_fast, rope_beta_slow; /* YaRN: 32, 1 */
    double rope_attention_factor;/* YaRN, longrope: multiplies cos and sin; 1 otherwise */
    double rope_low_freq_factor, rope_high_freq_factor; /* llama3: 1, 4 */
    bool rope_yarn_truncate;    /* YaRN: floor/ceil the correction range */
    const float *rope_factors_short, *rope_factors_long; /* longrope, factors: [head_dim/2]; owned by the model */
    const float *rope_amounts;  /* [n_layers][head_dim/2] multiplies the frequency of a pair in a layer: 1 as trained,
                                 * 0 taken away; NULL = all 1; owned by the model */
} qk_config;

/* Open a Hugging Face folder, a .safetensors or .gguf file, a llama2.c .bin, or `org/name[@revision]` in the local
 * Hugging Face cache (`cache_dir`, NULL = none is searched).  What is inside decides, not the name.  Weights stay
 * mapped: the files must not change while the model is open.  The tokenizer is loaded where there is one; a broken one
 * fails the call, an absent one only qk_tokenize and qk_detokenize.  QK_E_IO: not found, not readable, no config.json;
 * QK_E_FORMAT and QK_E_SHAPE name the tensor or key, QK_E_UNSUPPORTED the feature. */
QK_MUST_CHECK qk_status qk_model_open(qk_model **out, const char *path, const char *cache_dir, qk_error *err);
/* Nothing borrowed from the model may be used any more. */
void qk_model_close(qk_model *model);
/* Never NULL; borrowed, lives as long as the model. */
const qk_config *qk_model_config(const qk_model *model);

/* Ways to hold the weights of the layers' linear maps (q, k, v, o, gate, up, down) in fewer bits.  Embeddings,
 * unembedding, norms and biases stay as they are. */
typedef enum qk_quantization {
    QK_QUANTIZE_NONE,
    QK_QUANTIZE_NF4,  /* 4 bits, blocks of 64 over the whole matrix, scales quantised too: QLoRA, Dettmers et al. 2023 */
    QK_QUANTIZE_Q8_0, /* 8 bits, blocks of 32 within a row: llama.cpp's format */
    QK_N_QUANTIZATIONS
} qk_quantization;

/* "none", "nf4", "q8_0"; lives for ever. */
const char *qk_quantization_name(qk_quantization how);
/* Quantise the weights of `model`, which nobody may be using: from here on it computes with the rounded numbers.  They
 * lie in memory of the model's own; the mapped ones are read slab by slab and let go behind.  The same bytes come out
 * for every n_threads (0 = as OpenMP says), and for every file format that holds the same numbers.  A matrix whose rows
 * do not divide into blocks (Q8_0) stays as it is.  QK_E_ARGUMENT: the model is quantised already; QK_E_UNSUPPORTED: so
 * is a tensor of its file; QK_E_NUMERIC names a weight that is not finite or beyond the format; QK_E_BUDGET: the
 * quantised weights alone take more than max_bytes (0 = any).  After a failure the model is as before. */
QK_MUST_CHECK qk_status qk_model_quantize(qk_model *model, qk_quantization how, int n_threads, size_t max_bytes,
                                          const qk_progress *progress, qk_error *err);

/* Tokens of `n_bytes` of UTF-8, as the model reads them: BOS first where the tokenizer says so and `add_bos` is true.
 * *tokens is malloc'ed and the caller's to free(); *n_tokens may be 0 (then *tokens is NULL).  QK_E_FORMAT: not UTF-8,
 * with the offset; QK_E_IO: the checkpoint has no tokenizer, with what was looked for. */
QK_MUST_CHECK qk_status qk_tokenize(int32_t **tokens, size_t *n_tokens, const qk_model *model, const char *utf8,
                                    size_t n_bytes, bool add_bos, qk_error *err);
/* Text of `n_tokens` tokens without special tokens, NUL-terminated, malloc'ed, the caller's to free().  QK_E_ARGUMENT:
 * an id beyond the vocabulary; QK_E_IO: as for qk_tokenize. */
QK_MUST_CHECK qk_status qk_detokenize(char **utf8, const qk_model *model, const int32_t *tokens, size_t n_tokens,
                                      qk_error *err);

/* Inverse frequencies inv_freq[head_dim/2], radians per token, for a sequence of `n_tokens` tokens (dynamic and
 * longrope depend on it), and the factor that multiplies cos and sin.  Without rotation all are 0 and the factor is 1.
 * Formulas and papers: docs/METHODS.md, "Rotation".  Cannot fail. */
void qk_rope_frequencies(float *inv_freq, double *attention_factor, const qk_config *config, size_t n_tokens);

/* ---- sites: where a probe may stand and an edit may act ---------------------------------------------------------- */

/* id, TransformerLens name ({} = layer), per-layer?, shape, editable?, meaning.  T tokens, H query heads, G key/value
 * heads, D head_dim, C d_model, F d_ffn, V n_vocab. */
#define QK_SITES(X)                                                                                                    \
    X(EMBED, "hook_embed", false, "TC", true, "token embeddings")                                                      \
    X(RESID_PRE, "blocks.{}.hook_resid_pre", true, "TC", true, "residual stream entering the layer")                   \
    X(LN1_OUT, "blocks.{}.ln1.hook_out", true, "TC", true, "normed input of attention, after the gain")                \
    X(Q, "blocks.{}.attn.hook_q", true, "THD", true, "query projection, before norm and rotation")                     \
    X(K, "blocks.{}.attn.hook_k", true, "TGD", true, "key projection, before norm and rotation")                       \
    X(V, "blocks.{}.attn.hook_v", true, "TGD", true, "value projection")                                               \
    X(Q_NORMED, "blocks.{}.attn.hook_q_normed", true, "THD", true, "query after QK-norm, where the model has one")     \
    X(K_NORMED, "blocks.{}.attn.hook_k_normed", true, "TGD", true, "key after QK-norm, where the model has one")       \
    X(ROT_Q, "blocks.{}.attn.hook_rot_q", true, "THD", true, "query as attention sees it, after rotation")             \
    X(ROT_K, "blocks.{}.attn.hook_rot_k", true, "TGD", true, "key as attention sees it, after rotation")               \
    X(SCORES, "blocks.{}.attn.hook_attn_scores", true, "HTT", false, "scaled attention logits, -inf where masked")     \
    X(PATTERN, "blocks.{}.attn.hook_pattern", true, "HTT", false, "softmax of the scores; each row sums to 1")         \
    X(Z, "blocks.{}.attn.hook_z", true, "THD", true, "pattern-weighted values, before the output matrix")              \
    X(ATTN_OUT, "blocks.{}.hook_attn_out", true, "TC", true, "what attention adds to the residual stream")             \
    X(RESID_MID, "blocks.{}.hook_resid_mid", true, "TC", true, "residual stream between attention and feed-forward")   \
    X(LN2_OUT, "blocks.{}.ln2.hook_out", true, "TC", true, "normed input of the feed-forward block, after the gain")   \
    X(MLP_PRE, "blocks.{}.mlp.hook_pre", true, "TF", true, "gate projection, before the activation")                   \
    X(MLP_PRE_LINEAR, "blocks.{}.mlp.hook_pre_linear", true, "TF", true, "up projection")                              \
    X(MLP_POST, "blocks.{}.mlp.hook_post", true, "TF", true, "silu(gate) * up, before the down matrix")                \
    X(MLP_OUT, "blocks.{}.hook_mlp_out", true, "TC", true, "what the feed-forward block adds")                         \
    X(RESID_POST, "blocks.{}.hook_resid_post", true, "TC", true, "residual stream leaving the layer")                  \
    X(LN_FINAL_OUT, "ln_final.hook_out", false, "TC", true, "final norm, after the gain")                              \
    X(LOGITS, "hook_logits", false, "TV", false, "before the softmax over the vocabulary")

typedef enum qk_site {
#define X(id, name, per_layer, shape, editable, doc) QK_SITE_##id,
    QK_SITES(X)
#undef X
    QK_N_SITES
} qk_site;

#define QK_AT(site) (UINT64_C(1) << (site))

typedef struct qk_site_info {
    const char *name;  /* TransformerLens name, "{}" in the place of the layer */
    bool per_layer;
    const char *shape; /* letters of QK_SITES */
    bool editable;
    const char *doc;
} qk_site_info;

/* The row of QK_SITES for `site`; lives for ever. */
const qk_site_info *qk_site_describe(qk_site site);
/* "blocks.3.attn.hook_q" into `name`, NUL-terminated; `layer` is ignored where the site has none. */
void qk_site_name(char name[64], qk_site site, int layer);
/* Row width of `site` in `model`: heads*head_dim, d_model, d_ffn or n_vocab; for scores and pattern 0 (the keys). */
size_t qk_site_width(const qk_config *config, qk_site site);

/* One site in some layers: what a pattern such as `blocks.0-3.attn.hook_q` stands for. */
typedef struct qk_site_pattern {
    qk_site site;
    uint8_t layers[512]; /* layers[l] = 1 where chosen; ignored for sites without a layer */
} qk_site_pattern;

/* Parse one pattern: the TransformerLens name with a layer, `*`, or `{0-3,7}` in the layer's place, an alias of a
 * neighbouring tool (docs/FORMATS.md lists them), or a short form `q`, `rot_k6`, `resid_post12`.  QK_E_ARGUMENT names
 * what is unknown: a site, a layer beyond the last, a norm that the model does not have. */
QK_MUST_CHECK qk_status qk_site_parse(qk_site_pattern *out, const char *pattern, const qk_config *config,
                                      qk_error *err);

/* ---- edits ------------------------------------------------------------------------------------------------------- */

typedef enum qk_op {
    QK_OP_ZERO,
    QK_OP_MEAN,          /* values[width]: a mean measured elsewhere, the same at every position */
    QK_OP_SEQUENCE_MEAN, /* each dim's mean over the edited positions of its own sequence (looks ahead: not causal) */
    QK_OP_HEAD_MEAN,     /* one scalar a head: the mean over its chosen dims and edited positions (Jin et al. 2025) */
    QK_OP_RESAMPLE,      /* a row drawn from bank[n_bank_rows][width], another one at each position */
    QK_OP_NOISE,         /* + amount * N(0, 1) */
    QK_OP_SCALE,         /* x amount */
    QK_OP_ADD,           /* + amount * values[width] */
    QK_OP_PERMUTE,       /* shuffles each sequence's edited positions, one permutation for all dims */
    QK_N_OPS
} qk_op;

/* One change in one layer.  All pointers are borrowed for the length of the pass.  Ops that need a whole sequence
 * (SEQUENCE_MEAN, HEAD_MEAN, PERMUTE, and top_k with any) stand at head-shaped sites only.  NOISE and RESAMPLE draw
 * from (seed, index of the sequence, position): the same numbers in every condition, for any number of threads. */
typedef struct qk_edit {
    qk_site site;
    int layer;              /* ignored where the site has none */
    qk_op op;
    const uint8_t *mask;    /* [width of the site]: 1 = this dim is edited; NULL with top_k */
    int top_k;              /* > 0 (head-shaped sites): in each head the top_k dims by norm over the edited positions */
    const float *values;    /* [width]; MEAN, ADD */
    const float *bank;      /* [n_bank_rows][width]; RESAMPLE */
    size_t n_bank_rows;
    float amount;           /* SCALE, NOISE, ADD */
    uint64_t seed;          /* RESAMPLE, NOISE, PERMUTE */
    size_t position_from, position_to; /* half open, tokens; 0, 0 = all positions */
} qk_edit;

typedef struct qk_condition {
    const char *name;
    const qk_edit *edits; /* applied in this order where they meet at one site */
    size_t n_edits;
} qk_condition;

/* What an edit did to one sequence. */
typedef struct qk_receipt {
    uint64_t visited, changed; /* elements under the mask; those whose bits differ afterwards */
    double sum_abs, max_abs;   /* of after - before */
} qk_receipt;

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

typedef struct qk_sequence {
    const int32_t *tokens; /* [n_tokens], borrowed; each in [0, n_vocab) */
    size_t n_tokens;       /* >= 1 */
    size_t score_from;     /* first scored target, an index into tokens, below n_tokens; at least 1: the first token
                            * has no context.  Looked at only where the pass scores. */
} qk_sequence;

/* What a probe is shown; valid only during the call.  Rows of a sequence arrive in order, maybe in several blocks. */
typedef struct qk_view {
    qk_site site;
    int layer;                  /* -1 where the site has none */
    size_t sequence, condition; /* indices into the spec */
    int head;                   /* scores, pattern: query head; otherwise -1: all heads lie side by side in a row */
    size_t row0, n_rows;        /* positions [row0, row0 + n_rows) */
    size_t width;               /* entries in a row; scores, pattern: n_tokens of the sequence */
    size_t stride;              /* floats from one row to the next, >= width */
    const float *x;             /* [n_rows][stride], f32 */
} qk_view;

typedef struct qk_probe {
    uint64_t sites;             /* QK_AT(a) | QK_AT(b): only these are materialised */
    int layer_from, layer_to;   /* half open; 0, 0 = all layers */
    /* Called from the thread that runs the pass, never from two at once.  Anything but QK_OK stops the pass. */
    qk_status (*see)(void *user, const qk_view *view, qk_error *err);
    void *user;
} qk_probe;

typedef struct qk_score {
    size_t n_tokens;   /* predicted tokens */
    double nll;        /* summed negative log-likelihood, nats */
    float *token_nll;  /* [n_tokens], or NULL; owned by the result */
    int32_t *token_top;/* [n_tokens] the likeliest token in each place (ties: the lowest id), or NULL; owned likewise */
} qk_score;

/* Of matrix products.  F32: operands and sums.  BF16: operands rounded to bf16, sums in f32.  AUTO: the fastest way that
 * keeps f32 accuracy: sums of bf16 terms, three an f32, where the level multiplies bf16 in tiles ("amx"), else F32. */
typedef enum qk_precision { QK_PRECISION_AUTO, QK_PRECISION_F32, QK_PRECISION_BF16 } qk_precision;

/* What the fast kernels take of the processor: "plain" (nothing), "avx2", "avx512", "avx512bf16", "amx".  Results
 * differ between levels as sums of another order or rounding do. */
typedef struct qk_level qk_level;
/* By name; NULL: the best there is.  QK_E_ARGUMENT: no such level.  QK_E_UNSUPPORTED: not on this processor. */
QK_MUST_CHECK qk_status qk_level_find(const qk_level **out, const char *name, qk_error *err);
const char *qk_level_name(const qk_level *level); /* NULL: of the best; lives for ever */

typedef struct qk_pass_spec {
    const qk_sequence *sequences;
    size_t n_sequences;
    const qk_condition *conditions; /* none given: one baseline */
    size_t n_conditions;
    const qk_probe *probes;
    size_t n_probes;
    bool score;           /* run the unembedding and keep log-likelihoods */
    bool keep_token_nll;
    bool keep_token_top;  /* which token the model would have said in the place of each target */
    bool allow_idle_edits;/* an edit that changes nothing in any sequence is an error unless this is set */
    bool reference;       /* the plain twins instead of the fast kernels */
    qk_precision precision;
    const qk_level *level;/* that the fast kernels run at; NULL = the best there is */
    int n_threads;        /* 0 = as OpenMP says */
    size_t max_bytes;     /* budget of resident memory, pages of mapped files included; 0 = no limit */
    /* Streams already done (resume): a group of streams is skipped when this says true for all of it; otherwise all of
     * the group is computed and reported again.  NULL = none. */
    bool (*is_done)(void *user, size_t sequence, size_t condition);
    /* Called once a stream is scored, group by group, in order of sequence, then condition.  `receipts` [n_edits of the
     * condition]: what its edits did in this very stream (a journal that keeps them resumes to the same sums). */
    qk_status (*on_score)(void *user, size_t sequence, size_t condition, const qk_score *score,
                          const qk_receipt *receipts, qk_error *err); /* NULL = nobody listens */
    void *user;           /* of is_done and on_score */
    qk_progress progress;
} qk_pass_spec;

typedef struct qk_plan {
    size_t n_streams, n_rows;  /* sequences x conditions; their tokens together */
    size_t n_groups;           /* sweeps over the weights that the budget forces */
    uint64_t weight_bytes;     /* mapped, read once a sweep */
    uint64_t layer_bytes;      /* weights of the largest layer, or of the unembedding, as they lie in the file */
    uint64_t stream_bytes;     /* residual streams of the largest group */
    uint64_t scratch_bytes;    /* activations of one batch, attention scores, logit block */
    uint64_t total_bytes;      /* at most resident: the program, what the pass allocates, pages of the file in use */
    double flops;              /* multiply and add counted apart */
} qk_plan;

typedef struct qk_pass_result {
    size_t n_sequences, n_conditions;
    qk_score *scores;       /* [n_sequences][n_conditions]; n_tokens = 0 where skipped or not scored */
    qk_receipt **receipts;  /* [n_sequences * n_conditions][n_edits of the condition]; zero where skipped */
} qk_pass_result;

/* What a pass would take, before any work; edits are not checked here.  QK_E_ARGUMENT: a sequence that cannot be run,
 * with its index and token; QK_E_BUDGET names the smallest budget that would do. */
QK_MUST_CHECK qk_status qk_pass_plan(qk_plan *plan, const qk_model *model, const qk_pass_spec *spec, qk_error *err);
/* Run it.  Everything that `spec` points to is borrowed until the call returns; *out is the caller's.  The same bits
 * come out for every n_threads and with or without probes.  Errors are those of qk_pass_plan, and: QK_E_ARGUMENT names
 * an edit that makes no sense; QK_E_NUMERIC the first non-finite value at an editable site or in the logits; QK_E_CHECK
 * the first edit that changed nothing; QK_E_INTERRUPTED after progress.tick returned false; and whatever `see` or
 * `on_score` returned.  Streams that on_score was told of are whole even when the call fails later. */
QK_MUST_CHECK qk_status qk_pass_run(qk_pass_result **out, const qk_model *model, const qk_pass_spec *spec,
                                    qk_error *err);
void qk_pass_result_free(qk_pass_result *result);

/* ---- generate: streams (prompt x condition) that go on token by token, with their keys and values kept ----------- */

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
    bool stop_behind_text;    /* a stop string counts only behind text that is not white space */
    const int32_t *end_tokens; /* [n_end_tokens]; none given: what the checkpoint says (qk_end_tokens) */
    size_t n_end_tokens;
    bool ignore_end;        /* end tokens are tokens like others */
    bool recompute;         /* no cache: every token computes its whole stream anew.  Slow; an oracle for the cache */
    const qk_probe *probes; /* as in a pass: QK_SITE_LOGITS shows the rows that tokens are drawn from and no others */
    size_t n_probes;
    bool allow_idle_edits; /* as in a pass */
    bool reference;
    qk_precision precision;
    const qk_level *level; /* as in a pass */
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
QK_MUST_CHECK qk_status qk_generate(qk_generate_result **out, const qk_model *model, const qk_generate_spec *spec,
                                    qk_error *err);
void qk_generate_result_free(qk_generate_result *result);

/* The tokens that end a text: eos_token_id of generation_config.json, else of config.json, and the tokenizer's own.
 * *tokens is malloc'ed, the caller's; *n may be 0. */
QK_MUST_CHECK qk_status qk_end_tokens(int32_t **tokens, size_t *n, const qk_model *model, qk_error *err);

/* ---- measure: massive values (Jin et al. 2025) ------------------------------------------------------------------- */

typedef enum qk_qkv { QK_TENSOR_Q, QK_TENSOR_K, QK_TENSOR_V, QK_N_TENSORS } qk_qkv;

/* Streaming sums of q, k and v for every (sequence, layer): sum and sum of squares over positions, two doubles for each
 * dim. */
typedef struct qk_norms qk_norms;

/* `post_rotation` stands at hook_rot_q/hook_rot_k instead of hook_q/hook_k (v has no rotation).  QK_E_ARGUMENT: more
 * sequences than a size can count.  One pass feeds one qk_norms: a second is refused by the probe (QK_E_CHECK). */
QK_MUST_CHECK qk_status qk_norms_new(qk_norms **out, const qk_config *config, size_t n_sequences, bool post_rotation,
                                     qk_error *err);
void qk_norms_free(qk_norms *norms);
/* A probe that feeds `norms` from condition 0, for all layers; borrows it.  Its sequences are those of the pass. */
qk_probe qk_norms_probe(qk_norms *norms);
/* M[head][dim] = sqrt(sum over positions of x^2) of one sequence into map[heads*head_dim]; heads are n_heads for q,
 * n_kv_heads for k and v.  0 where nothing was seen.  `sequence` and `layer` must exist. */
void qk_norms_map(double *map, const qk_norms *norms, size_t sequence, int layer, qk_qkv tensor);
/* Mean of each dim over all positions of sequences [from, to), long ones weighing more, into mean[heads*head_dim]; NaN
 * where nothing was seen. */
void qk_norms_mean(double *mean, const qk_norms *norms, size_t from, size_t to, int layer, qk_qkv tensor);

typedef enum qk_criterion {
    QK_CRITERION_LAYER_MEAN, /* M > lambda * mean over the layer's whole map, strict */
    QK_CRITERION_HEAD_MEAN,  /* M > lambda * mean over the head's own dims, strict */
    QK_CRITERION_TOP_K       /* the k largest of each head (ties: the lower dim) */
} qk_criterion;

/* mask[n_heads*head_dim] = 1 where massive, else 0 (mask may be NULL); returns how many.  Top-k reads `lambda` as k,
 * and takes fewer where a head has fewer dims that are not NaN.  A NaN in the map leaves nothing above its mean.
 * Cannot fail.  Definitions: docs/METHODS.md, "Massive values". */
size_t qk_massive_mask(uint8_t *mask, const double *map, int n_heads, int head_dim, qk_criterion criterion,
                       double lambda);

#ifdef __cplusplus
}
#endif
#endif
