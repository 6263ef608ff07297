/* plan.c - --dry-run: what a study's passes would take, before any work. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#include "study/common.h"

/* Conditions that differ from each other, and from the baseline, in the first layer: as much work as there can be. */
typedef struct plan_conditions {
    qk_condition *items;
    qk_edit *edits; /* one a condition; the baseline's stays unused */
    uint8_t *mask;  /* [d_model] all ones */
} plan_conditions;

static qk_status make_conditions(plan_conditions *out, const qk_config *config, size_t n, qk_error *err)
{
    size_t width = (size_t)config->d_model;
    qk_status status = qk_new_array(&out->items, n, sizeof *out->items, "conditions", err);
    if (!status) status = qk_new_array(&out->edits, n, sizeof *out->edits, "conditions", err);
    if (!status) status = qk_new_array(&out->mask, width, 1, "mask", err);
    if (status) return status;
    memset(out->mask, 1, width);
    for (size_t i = 0; i < n; i++) {
        out->edits[i] =
            (qk_edit){ .site = QK_SITE_RESID_PRE, .op = QK_OP_NOISE, .mask = out->mask, .amount = 1, .seed = i };
        out->items[i] = (qk_condition){ i ? "edited" : "baseline", &out->edits[i], i > 0 };
    }
    return QK_OK;
}

qk_status cli_plan(qk_plan *plan, const qk_model *model, const qk_sequence *sequences, size_t n_sequences,
                   size_t n_conditions, bool scored, const qk_compute *compute, qk_error *err)
{
    plan_conditions conditions = { 0 };
    qk_norms *norms = NULL;
    qk_pass_spec spec = qk_study_spec(compute);
    qk_status status = make_conditions(&conditions, &model->config, n_conditions, err);
    if (!status) status = qk_norms_new(&norms, &model->config, n_sequences, false, err);
    if (!status) {
        qk_probe probe = qk_norms_probe(norms);
        spec.sequences = sequences;
        spec.n_sequences = n_sequences;
        spec.conditions = conditions.items;
        spec.n_conditions = n_conditions;
        spec.probes = &probe;
        spec.n_probes = 1;
        spec.score = scored;
        status = qk_pass_plan(plan, model, &spec, err);
    }
    qk_norms_free(norms);
    free(conditions.items);
    free(conditions.edits);
    free(conditions.mask);
    return status;
}

static qk_status plan_documents(qk_plan *plan, const qk_named_model *model, qk_documents *documents,
                                size_t n_conditions, bool scored, const qk_compute *compute, qk_error *err)
{
    qk_sequence *sequences = NULL;
    qk_status status = qk_study_tokenize(documents, model, compute->max_tokens, compute->no_bos, err);
    if (!status) status = qk_study_sequences(&sequences, documents, err);
    if (!status) status = cli_plan(plan, model->model, sequences, documents->n, n_conditions, scored, compute, err);
    free(sequences);
    return status;
}

static void add_bytes(cli_table *table, uint64_t n_bytes)
{
    char text[32];
    cli_table_add(table, "%s", cli_human_bytes(text, (double)n_bytes));
}

qk_status cli_print_plan(cli_command *command, const cli_models *models, qk_documents *documents, size_t n_conditions,
                         bool scored, const qk_compute *compute, qk_error *err)
{
    static const char *const heads[] = { "model",     "documents", "conditions", "tokens",    "sweeps", "weights",
                                         "one layer", "streams",   "scratch",    "allocated", "FLOP" };
    cli_table table;
    qk_status status = QK_OK;
    cli_table_start(&table, heads, "lrrrrrrrrrr");
    for (size_t i = 0; i < models->n && !status; i++) {
        qk_plan plan;
        char text[32];
        status = plan_documents(&plan, &models->items[i], documents, n_conditions, scored, compute, err);
        if (status) break;
        cli_table_add(&table, "%s", models->items[i].name);
        cli_table_add(&table, "%zu", documents->n);
        cli_table_add(&table, "%zu", n_conditions);
        cli_table_add(&table, "%zu", plan.n_rows);
        cli_table_add(&table, "%zu", plan.n_groups);
        add_bytes(&table, plan.weight_bytes);
        add_bytes(&table, plan.layer_bytes);
        add_bytes(&table, plan.stream_bytes);
        add_bytes(&table, plan.scratch_bytes);
        add_bytes(&table, plan.total_bytes);
        cli_table_add(&table, "%s", cli_human_count(text, plan.flops));
    }
    qk_status printed = cli_table_print(&table, status ? NULL : stdout, err);
    if (!status && !printed) cli_say(command, "dry run: no work was done");
    return status ? status : printed;
}
