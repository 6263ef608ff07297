/* html_recalibration.c - what the page says of how an arm was recalibrated: what it lost, what temperature suits. */
#include <string.h>

#include "report/html.h"
#include "report/track.h"

void qk_html_extent(FILE *stream, const qk_results *results, size_t arm)
{
    const json_t *what = json_object_get(json_array_get(qk_rows(results, "arms"), arm), "recalibration");
    double n_layers = qk_field_number(what, "layers_without_rotation");
    double n_pairs = qk_field_number(what, "pairs_without_rotation"), gradual = qk_field_number(what, "gradual");
    const qk_result_model *model = &results->models[results->arms[arm].model];
    const char *norm = qk_field_text(what, "qk_norm");
    if (!what) return;
    bool all = n_layers == (double)model->n_layers && n_pairs == (double)model->head_dim / 2;
    bool normed = *norm && strcmp(norm, "none") != 0;
    if ((all || !(n_layers > 0)) && !(gradual > 0) && !normed) return;
    qk_html(stream, "<li><b>%s</b>:", results->arms[arm].name);
    if (n_layers > 0 && !all)
        qk_html(stream, " %g of %g rotary pairs lose their rotation, in %g of %g layers.", n_pairs,
                (double)model->head_dim / 2, n_layers, (double)model->n_layers);
    if (gradual > 0)
        qk_html(stream, " It falls to nothing over %g steps%s.", gradual,
                strcmp(qk_field_text(what, "gradual_law"), "cubic") == 0 ? ", by the cube of what is ahead" : "");
    if (normed) qk_html(stream, " A norm over the whole projection was put on %s.", norm);
    fputs("</li>\n", stream);
}

void qk_html_temperature(FILE *stream, const qk_results *results, size_t arm)
{
    const json_t *fit = qk_temperature_of(results, arm);
    double at_one = qk_field_number(fit, "trained_nll_at_one"), at_beta = qk_field_number(fit, "trained_nll");
    if (!fit) return;
    qk_html(stream,
            "<li><b>%s</b>: held-out text of up to %g tokens, %g times the trained context, is read best at the "
            "attention temperature <b>\u03b2 = %g</b>: %g nats per token, %g at \u03b2 = 1",
            results->arms[arm].name, qk_field_number(fit, "context"), qk_field_number(fit, "stretch"),
            qk_field_number(fit, "beta"), qk_field_number(fit, "nll"), qk_field_number(fit, "nll_at_one"));
    if (json_is_true(json_object_get(fit, "at_edge"))) fputs(" (an end of the range that was tried)", stream);
    qk_html(stream,
            ". Within the trained context it makes the loss %g instead of %g. The paper's rules for this length give "
            "%g (trained from scratch) and %g (a recalibrated SmolLM).</li>\n",
            at_beta, at_one, qk_field_number(fit, "paper_scratch"), qk_field_number(fit, "paper_pretrained"));
}
