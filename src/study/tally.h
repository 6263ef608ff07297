/* tally.h - massive values of one model, gathered document by document from norm maps; knows no pass and no file. */
#ifndef QK_STUDY_TALLY_H
#define QK_STUDY_TALLY_H

#include "study/common.h"

enum { QK_SWEEP_FIRST = 2, QK_SWEEP_LAST = 10, QK_SWEEP_MAX = QK_SWEEP_LAST - QK_SWEEP_FIRST + 2 };
enum { QK_MASSIVE_DRAWS = 10000 }; /* of the bootstrap over documents */

/* What is kept of one tensor (q, k or v).  d: document, l: layer. */
typedef struct qk_tensor_tally {
    bool present;
    int n_heads, head_dim;
    double *total;        /* [documents] massive values over all layers */
    double *sweep;        /* [lambdas][documents] the same under each lambda of the sweep */
    double *count;        /* [layers][documents] */
    double *peak;         /* [layers][documents] max/mean of the map */
    double *energy, *gini, *kurtosis; /* [documents] means over layers; NaN where a layer has none */
    double n_massive, n_slow; /* over layers and documents; of the first, those in pairs that never turn once */
    double *mean_map;     /* [layers][heads*head_dim] sum over documents; divided by them in qk_tally_finish */
    double *pair_norm;    /* [layers][head_dim/2] sum over heads and documents; divided likewise */
    double *massive_pairs;/* [layers] sum over documents of pairs above lambda x mean */
    uint8_t *masks;       /* [documents][layers*heads*head_dim] */
} qk_tensor_tally;

typedef struct qk_tally {
    size_t n_documents;
    int n_layers;
    uint8_t *slow;        /* [head_dim/2] the pair never completes a rotation; NULL: nothing rotates, or not known */
    qk_criterion criterion;
    double lambda;
    qk_criterion sweep_criterion;
    double lambdas[QK_SWEEP_MAX];
    size_t n_lambdas;
    qk_tensor_tally tensors[QK_N_TENSORS];
    qk_arena arena;       /* all of the above */
} qk_tally;

/* Checks lambda (a whole number for top-k).  Tensors are declared one by one before the first map. */
qk_status qk_tally_start(qk_tally *tally, size_t n_documents, int n_layers, const qk_massive_settings *settings,
                         qk_error *err);
qk_status qk_tally_declare(qk_tally *tally, qk_qkv tensor, int n_heads, int head_dim, qk_error *err);
/* Which rotary pairs are slow, from the model's frequencies. */
qk_status qk_tally_rotary(qk_tally *tally, const qk_config *config, qk_error *err);
/* The map of one document, layer and tensor; its row goes to counts[]. */
qk_status qk_tally_add(qk_tally *tally, json_t *counts, size_t model, size_t document, qk_qkv tensor, int layer,
                       const double *map, qk_error *err);
void qk_tally_finish(qk_tally *tally);
void qk_tally_free(qk_tally *tally);

/* summary[], sweep[], pair_norms[] and stability[] of results, which must be arrays there. */
qk_status qk_tally_rows(json_t *results, const qk_tally *tally, size_t model, bool africa, qk_error *err);
/* change[]: `later` against `first`, over the same documents. */
qk_status qk_tally_change(json_t *results, const qk_tally *first, const qk_tally *later, size_t model, qk_error *err);
/* An object with the empty arrays of a massive study and its settings. */
json_t *qk_massive_results(const qk_massive_settings *settings, const char *site, const qk_compute *compute,
                           size_t context);

#endif
