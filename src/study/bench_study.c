/* bench_study.c - a study like `disrupt` without its statistics: masks from norms, then every document under baseline,
 * massive dims of q and k zeroed in every layer, and as many controls as there are conditions left. */
#include "study/bench_private.h"

#include <stdlib.h>

enum { DIMS_A_HEAD = 1 }; /* random weights have no massive dims: the largest of each head stand for them */

static int heads_of(const qk_config *c, int tensor) { return tensor == QK_TENSOR_Q ? c->n_heads : c->n_kv_heads; }

static qk_status run_norms(qk_norms **out, qk_bench *b, bool score, qk_error *err)
{
    qk_norms *norms = NULL;
    qk_pass_result *result = NULL;
    qk_pass_spec spec = qk_study_spec(b->compute);
    qk_status status = qk_norms_new(&norms, &b->model->config, b->n_sequences, false, err);
    if (status) return status;
    qk_probe probe = qk_norms_probe(norms);
    spec.progress = qk_bench_progress(b);
    spec.sequences = b->sequences;
    spec.n_sequences = b->n_sequences;
    spec.probes = &probe;
    spec.n_probes = 1;
    spec.score = score;
    status = qk_pass_run(&result, b->model, &spec, err);
    qk_pass_result_free(result);
    if (status) qk_norms_free(norms);
    else *out = norms;
    return status;
}

/* The masks of all conditions for one tensor of one layer, as edits at place `index` of each. */
static qk_status mask_layer(qk_bench *b, qk_edit *const *edits, size_t index, const qk_norms *norms, int layer,
                            int tensor, qk_error *err)
{
    const qk_config *c = &b->model->config;
    size_t width = (size_t)heads_of(c, tensor) * (size_t)c->head_dim;
    double *map = qk_arena_alloc(&b->arena, width * sizeof *map);
    uint8_t *masks = qk_arena_alloc(&b->arena, b->settings->n_conditions * width);
    qk_status status = map && masks ? QK_OK : qk_out_of_memory(err, "masks", b->settings->n_conditions * width);
    if (status) return status;
    qk_norms_map(map, norms, 0, layer, (qk_qkv)tensor);
    qk_massive_mask(masks + width, map, heads_of(c, tensor), c->head_dim, QK_CRITERION_TOP_K, DIMS_A_HEAD);
    for (size_t i = 1; i < b->settings->n_conditions && !status; i++) {
        uint8_t *mask = masks + i * width;
        qk_rng rng;
        qk_rng_seed(&rng, b->settings->seed + i * 1000003 + (uint64_t)layer * 2 + (uint64_t)tensor);
        if (i > 1)
            status = qk_control_mask(mask, masks + width, heads_of(c, tensor), c->head_dim, QK_CONTROL_EXCLUDING, &rng,
                                     err);
        edits[i][index] = (qk_edit){ .site = tensor == QK_TENSOR_Q ? QK_SITE_Q : QK_SITE_K,
                                     .layer = layer,
                                     .op = QK_OP_ZERO,
                                     .mask = mask };
    }
    return status;
}

qk_status qk_bench_study_prepare(qk_bench *b, qk_error *err)
{
    size_t n = b->settings->n_conditions, n_edits = 2 * (size_t)b->model->config.n_layers;
    qk_edit **edits = qk_arena_alloc(&b->arena, n * sizeof *edits);
    qk_norms *norms = NULL;
    b->conditions = qk_arena_alloc(&b->arena, n * sizeof *b->conditions);
    b->n_conditions = n;
    bool failed = !edits || !b->conditions;
    for (size_t i = 0; i < n && !failed; i++) {
        edits[i] = qk_arena_alloc(&b->arena, n_edits * sizeof **edits);
        failed = !edits[i];
        b->conditions[i] = (qk_condition){ i ? "edited" : "baseline", edits[i], i ? n_edits : 0 };
    }
    if (failed) return qk_out_of_memory(err, "conditions", n * n_edits * sizeof **edits);
    qk_status status = run_norms(&norms, b, false, err);
    for (size_t e = 0; e < n_edits && !status; e++)
        status = mask_layer(b, edits, e, norms, (int)(e / 2), e % 2 ? QK_TENSOR_K : QK_TENSOR_Q, err);
    qk_norms_free(norms);
    return status;
}

qk_status qk_bench_norms_run(qk_bench *b, qk_error *err)
{
    qk_norms *norms = NULL;
    qk_status status = run_norms(&norms, b, true, err);
    qk_norms_free(norms);
    return status;
}

qk_status qk_bench_study_run(qk_bench *b, qk_error *err)
{
    qk_norms *norms = NULL;
    qk_status status = run_norms(&norms, b, false, err);
    qk_norms_free(norms);
    return status ? status : qk_bench_pass_run(b, err);
}
