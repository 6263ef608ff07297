/* sinks.c - how much attention the first token gets: Sink_1^epsilon of Gu et al. 2024. */
#include "measure/measure.h"

#include <math.h>
#include <stdlib.h>

struct qk_sinks {
    size_t n_sequences, n_layers, n_heads;
    double *sum;    /* [n_sequences][n_layers][n_heads] over positions */
    size_t *n_rows; /* likewise: positions seen */
};

qk_status qk_sinks_new(qk_sinks **out, const qk_config *config, size_t n_sequences, qk_error *err)
{
    qk_sinks *sinks;
    size_t n = 0;
    qk_status status = qk_new_array(&sinks, 1, sizeof *sinks, "attention sinks", err);
    if (status) return status;
    *sinks = (qk_sinks){ n_sequences, (size_t)config->n_layers, (size_t)config->n_heads, NULL, NULL };
    if (!qk_mul(sinks->n_layers, sinks->n_heads, &n) || !qk_mul(n, n_sequences, &n))
        status = qk_fail(err, QK_E_ARGUMENT, "attention sinks: %zu sequences are too many", n_sequences);
    if (!status) status = qk_new_array(&sinks->sum, n, sizeof *sinks->sum, "attention sinks", err);
    if (!status) status = qk_new_array(&sinks->n_rows, n, sizeof *sinks->n_rows, "attention sinks", err);
    if (status) qk_sinks_free(sinks);
    else *out = sinks;
    return status;
}

void qk_sinks_free(qk_sinks *sinks)
{
    if (!sinks) return;
    free(sinks->sum);
    free(sinks->n_rows);
    free(sinks);
}

static qk_status see(void *user, const qk_view *view, qk_error *err)
{
    qk_sinks *sinks = user;
    if (view->condition != 0) return QK_OK;
    if (view->sequence >= sinks->n_sequences || view->layer < 0 || (size_t)view->layer >= sinks->n_layers ||
        view->head < 0 || (size_t)view->head >= sinks->n_heads)
        return qk_fail(err, QK_E_ARGUMENT, "attention sinks: no room for layer %d, head %d, sequence %zu", view->layer,
                       view->head, view->sequence);
    size_t at = (view->sequence * sinks->n_layers + (size_t)view->layer) * sinks->n_heads + (size_t)view->head;
    for (size_t row = 0; row < view->n_rows; row++) sinks->sum[at] += (double)view->x[row * view->stride];
    sinks->n_rows[at] += view->n_rows;
    return QK_OK;
}

qk_probe qk_sinks_probe(qk_sinks *sinks)
{
    return (qk_probe){ .sites = QK_AT(QK_SITE_PATTERN), .see = see, .user = sinks };
}

double qk_sinks_rate(const qk_sinks *sinks, int layer, double epsilon)
{
    size_t n = 0, n_sinks = 0;
    for (size_t i = 0; i < sinks->n_sequences * sinks->n_layers * sinks->n_heads; i++) {
        if (layer >= 0 && i / sinks->n_heads % sinks->n_layers != (size_t)layer) continue;
        if (sinks->n_rows[i] == 0) continue; /* not run */
        n++;
        n_sinks += sinks->sum[i] > epsilon * (double)sinks->n_rows[i];
    }
    return n ? (double)n_sinks / (double)n : NAN;
}
