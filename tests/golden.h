/* golden.h - a pass over a golden model, every site compared as it comes by. */
#ifndef QK_TEST_GOLDEN_H
#define QK_TEST_GOLDEN_H

#include <math.h>

#include "ckpt/ckpt.h"
#include "pass/pass.h"
#include "testing.h"

/* Largest deviation so far, relative to the largest entry of its site. */
typedef struct golden_check {
    const qk_ckpt *golden;
    double worst;
    char worst_site[64];
    size_t n_sites, n_values;
} golden_check;

static inline qk_status golden_see(void *user, const qk_view *view, qk_error *err)
{
    golden_check *check = user;
    char name[64];
    (void)err;
    qk_site_name(name, view->site, view->layer);
    const qk_tensor *t = qk_ckpt_find(check->golden, name);
    if (!t) return QK_OK;
    assert_int_equal(t->dtype, QK_DTYPE_F32);
    const float *expected = (const float *)(const void *)t->data;
    double top = 0, error = 0;
    for (size_t i = 0; i < t->n_bytes / 4; i++)
        if (isfinite(expected[i]) && fabs((double)expected[i]) > top) top = fabs((double)expected[i]);
    size_t first = (view->head < 0 ? view->row0 : (size_t)view->head * (size_t)t->shape[2] + view->row0) * view->width;
    for (size_t i = 0; i < view->n_rows; i++)
        for (size_t d = 0; d < view->width; d++, check->n_values++) {
            float a = view->x[i * view->stride + d], b = expected[first + i * view->width + d];
            if (isinf(b)) {
                if (a != b) fail_msg("%s: row %zu, entry %zu: %g, expected %g", name, view->row0 + i, d, (double)a, (double)b);
                continue;
            }
            double difference = fabs((double)a - (double)b);
            error = fmax(error, isfinite(a) && !isnan(b) ? difference : INFINITY);
        }
    if (error / top > check->worst) {
        check->worst = error / top;
        snprintf(check->worst_site, sizeof check->worst_site, "%s", name);
    }
    check->n_sites += view->row0 == 0;
    return QK_OK;
}

/* The tokens of a golden file as int32, malloc'ed. */
static inline int32_t *golden_tokens(size_t *n, const qk_ckpt *golden)
{
    const qk_tensor *t = qk_ckpt_find(golden, "tokens");
    assert_non_null(t);
    *n = t->n_bytes / 8;
    int32_t *tokens = malloc(*n * sizeof *tokens);
    for (size_t i = 0; i < *n; i++) {
        int64_t id;
        memcpy(&id, t->data + 8 * i, 8);
        tokens[i] = (int32_t)id;
    }
    return tokens;
}

#endif
