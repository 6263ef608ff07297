/* control.c - random masks of the same size: what a massive mask is compared with. */
#include "measure/measure.h"

#include <stdlib.h>
#include <string.h>

/* As many random dims of mask[n] as it has; `exclude` leaves out its own.  free_dims[n] is room to work in. */
static qk_status draw(uint8_t *control, const uint8_t *mask, uint32_t n, bool exclude, qk_rng *rng, uint32_t *free_dims,
                      qk_error *err)
{
    uint32_t wanted = (uint32_t)qk_mask_count(mask, n), n_free = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!exclude || !mask[i]) free_dims[n_free++] = i;
    if (wanted > n_free)
        return qk_fail(err, QK_E_ARGUMENT, "control mask: %u dims of %u are massive: expected as many others, found %u",
                       wanted, n, n_free);
    for (uint32_t i = 0; i < wanted; i++) { /* Fisher-Yates, as far as needed */
        uint32_t j = i + (uint32_t)qk_rng_below(rng, n_free - i), kept = free_dims[j];
        free_dims[j] = free_dims[i];
        control[kept] = 1;
    }
    return QK_OK;
}

qk_status qk_control_mask(uint8_t *control, const uint8_t *mask, int n_heads, int head_dim, qk_control kind,
                          qk_rng *rng, qk_error *err)
{
    size_t n = (size_t)n_heads * (size_t)head_dim;
    if (n_heads < 0 || head_dim < 0 || n > UINT32_MAX)
        return qk_fail(err, QK_E_ARGUMENT, "control mask: %d heads of %d dims", n_heads, head_dim);
    uint32_t *room = NULL;
    uint8_t *drawn = NULL; /* control stays untouched on failure */
    qk_status status = qk_new_array(&room, n, sizeof *room, "control mask", err);
    if (!status) status = qk_new_array(&drawn, n, 1, "control mask", err);
    if (status) goto out;
    if (kind == QK_CONTROL_SAME_HEAD) {
        for (int h = 0; h < n_heads && !status; h++) {
            size_t at = (size_t)h * (size_t)head_dim;
            status = draw(drawn + at, mask + at, (uint32_t)head_dim, true, rng, room, err);
            if (status) status = qk_prefix(err, status, "head %d", h);
        }
    } else {
        status = draw(drawn, mask, (uint32_t)n, kind == QK_CONTROL_EXCLUDING, rng, room, err);
    }
    if (!status && n > 0) memcpy(control, drawn, n);
out:
    free(room);
    free(drawn);
    return status;
}
