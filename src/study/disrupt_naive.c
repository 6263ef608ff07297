/* disrupt_naive.c - the post's own arithmetic on our scores, so that its numbers can be compared like with like.
 *
 * None of it is sound: the seeds move only the random arm, so the massive arm has one value, repeated.  Each number
 * carries the reason; the sound ones are in summary[], effects[] and tests[]. */
#include "study/disrupt.h"

#include <math.h>
#include <stdlib.h>

typedef struct percents {
    double base_ppl;
    double *massive, *random, *difference; /* [seeds]; massive is one value, repeated */
    size_t n;
} percents;

static double ppl_of(const qk_measured *m, size_t arm)
{
    return exp(qk_sum(qk_arm_nll(m, arm), m->n_documents) / qk_sum(m->n_tokens, m->n_documents));
}

static qk_status percents_of(percents *p, const qk_measured *m, qk_error *err)
{
    size_t n = m->plan.n_arms - 2;
    *p = (percents) { .base_ppl = ppl_of(m, 0), .n = n };
    qk_status status = qk_new_array(&p->massive, n, 3 * sizeof(double), "percents", err);
    if (status) return status;
    p->random = p->massive + n;
    p->difference = p->massive + 2 * n;
    for (size_t i = 0; i < n; i++) {
        p->massive[i] = 100 * (ppl_of(m, 1) / p->base_ppl - 1);
        p->random[i] = 100 * (ppl_of(m, 2 + i) / p->base_ppl - 1);
        p->difference[i] = p->massive[i] - p->random[i];
    }
    return QK_OK;
}

static json_t *json_model(const percents *p, size_t model)
{
    qk_test test = qk_test_naive_paired(p->massive, p->random, p->n);
    qk_row row = qk_row_start();
    qk_row_count(&row, "model", model);
    qk_row_count(&row, "seeds", p->n);
    qk_row_number(&row, "base_ppl", p->base_ppl);
    qk_row_number(&row, "massive_pct_mean", qk_mean(p->massive, p->n));
    qk_row_number(&row, "massive_pct_std", qk_sd(p->massive, p->n, 0));
    qk_row_number(&row, "random_pct_mean", qk_mean(p->random, p->n));
    qk_row_number(&row, "random_pct_std", qk_sd(p->random, p->n, 0));
    qk_row_number(&row, "m_minus_r_pct", qk_mean(p->difference, p->n));
    qk_row_number(&row, "t", test.statistic);
    qk_row_number(&row, "df", test.df);
    qk_row_number(&row, "d", test.effect);
    qk_row_number(&row, "log10_p", test.log10_p);
    qk_row_text(&row, "refused", test.refused);
    return qk_row_take(&row);
}

static json_t *json_labels(void)
{
    qk_row row = qk_row_start();
    qk_row_text(&row, "massive_pct_std", "0 by construction: no mask depends on the seed, one number is repeated");
    qk_row_text(&row, "t", "pseudo-replication: the massive arm is one measurement, only the controls vary; the sound "
                "unit is the document");
    qk_row_text(&row, "d", "divided by the spread of the controls over seeds (ddof 0), which says nothing of the "
                "spread over texts");
    qk_row_text(&row, "ratio_of_m_minus_r", "a ratio of exponentials: perplexity in percent grows without bound with "
                "the loss; compare delta_nll in nats");
    qk_row_text(&row, "t_between", "the same pseudo-replication in both arms; the sound test compares differences per "
                "document");
    return qk_row_take(&row);
}

qk_status qk_disrupt_naive(json_t *results, const qk_measured *measured, size_t n_models, qk_error *err)
{
    percents *all = NULL;
    json_t *rows = json_array();
    qk_status status = qk_new_array(&all, n_models, sizeof *all, "percents", err);
    for (size_t m = 0; !status && m < n_models; m++) {
        status = percents_of(&all[m], &measured[m], err);
        if (!status) status = qk_json_append(rows, json_model(&all[m], m), err);
    }
    qk_row row = qk_row_start();
    qk_row_json(&row, "by_model", rows);
    if (!status && n_models == 2) {
        qk_test t = qk_test_naive_independent(all[0].difference, all[0].n, all[1].difference, all[1].n);
        double ratio = qk_mean(all[0].difference, all[0].n) / qk_mean(all[1].difference, all[1].n);
        qk_row_number(&row, "ratio_of_m_minus_r", ratio);
        qk_row_json(&row, "t_between", qk_json_test(&t, "d (ddof 0)"));
    } else {
        qk_row_null(&row, "ratio_of_m_minus_r");
        qk_row_null(&row, "t_between");
    }
    qk_row_json(&row, "labels", json_labels());
    json_t *naive = qk_row_take(&row);
    if (status) json_decref(naive);
    else status = qk_json_set(results, "naive", naive, err);
    for (size_t m = 0; all && m < n_models; m++) free(all[m].massive);
    free(all);
    return status;
}
