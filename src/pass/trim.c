/* trim.c - rows of the last layer that no logits need are left out behind its keys and values. */
#include <string.h>

#include "pass/pass.h"

bool qk_pass_may_trim(const qk_pass *pass)
{
    static const qk_site behind[] = { QK_SITE_SCORES,   QK_SITE_PATTERN,        QK_SITE_Z,
                                      QK_SITE_ATTN_OUT, QK_SITE_RESID_MID,      QK_SITE_LN2_OUT,
                                      QK_SITE_MLP_PRE,  QK_SITE_MLP_PRE_LINEAR, QK_SITE_MLP_POST,
                                      QK_SITE_MLP_OUT,  QK_SITE_RESID_POST,     QK_SITE_LN_FINAL_OUT,
                                      QK_SITE_LOGITS };
    int last = pass->config->n_layers - 1;
    size_t n = sizeof behind / sizeof *behind - (pass->last_rows ? 2 : 0); /* the last two see needed rows alone */
    bool alone = true;
    for (size_t i = 0; i < n; i++) {
        alone = alone && !qk_site_wanted(pass, behind[i], qk_site_describe(behind[i])->per_layer ? last : -1);
        for (size_t e = 0; e < pass->edits.n; e++)
            alone = alone && !(pass->edits.items[e].edit->site == behind[i] && pass->edits.items[e].stage >= last);
    }
    return alone;
}

size_t qk_pass_idle_blocks(const qk_pass *pass, int layer, const qk_segment *s)
{
    if (!pass->trims || layer + 1 < pass->config->n_layers) return 0;
    if (pass->last_rows) return (s->n_rows - 1) / QK_ATTENTION_ROWS;
    return (pass->spec->sequences[s->sequence].score_from - 1) / QK_ATTENTION_ROWS;
}

void qk_pass_trim(qk_segment *trimmed, const qk_pass *pass, int layer, const qk_segment *segments, size_t n_segments)
{
    size_t width = (size_t)pass->config->n_heads * (size_t)pass->config->head_dim, row = 0;
    for (size_t i = 0; i < n_segments; i++) {
        size_t idle = qk_pass_idle_blocks(pass, layer, &segments[i]) * QK_ATTENTION_ROWS;
        trimmed[i] = segments[i];
        trimmed[i].x_row += idle;
        trimmed[i].position0 += idle;
        trimmed[i].n_rows -= idle;
        trimmed[i].row = row;
        if (row < segments[i].row + idle)
            memmove(pass->scratch.z + row * width, pass->scratch.z + (segments[i].row + idle) * width,
                    trimmed[i].n_rows * width * sizeof(float));
        row += trimmed[i].n_rows;
    }
}
