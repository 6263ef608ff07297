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

json_t *cli_plan_json(const qk_plan *plan)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "tokens", (json_int_t)plan->n_rows, "sweeps",
                     (json_int_t)plan->n_groups, "weight_bytes", (json_int_t)plan->weight_bytes, "layer_bytes",
                     (json_int_t)plan->layer_bytes, "stream_bytes", (json_int_t)plan->stream_bytes, "scratch_bytes",
                     (json_int_t)plan->scratch_bytes, "total_bytes", (json_int_t)plan->total_bytes, "flops",
                     plan->flops);
}

static qk_status print_rows(const json_t *rows, qk_error *err)
{
    static const char *const heads[] = { "model",     "documents", "conditions", "tokens",    "sweeps", "weights",
                                         "one layer", "streams",   "scratch",    "allocated", "FLOP" };
    static const char *const bytes[] = { "weight_bytes", "layer_bytes", "stream_bytes", "scratch_bytes",
                                         "total_bytes" };
    cli_table table;
    char text[32];
    size_t i;
    json_t *row;
    cli_table_start(&table, heads, "lrrrrrrrrrr");
    json_array_foreach(rows, i, row) {
        cli_table_add(&table, "%s", cli_text(row, "name"));
        for (size_t h = 1; h < 5; h++) cli_table_add_number(&table, cli_number(row, heads[h]), 0);
        for (size_t b = 0; b < sizeof bytes / sizeof *bytes; b++)
            cli_table_add(&table, "%s", cli_human_bytes(text, cli_number(row, bytes[b])));
        cli_table_add(&table, "%s", cli_human_count(text, cli_number(row, "flops")));
    }
    return cli_table_print(&table, stdout, err);
}

qk_status cli_show_plan(cli_command *command, const json_t *plan, qk_error *err)
{
    cli_progress_clear(&command->progress);
    qk_status status =
        command->options.json ? cli_print_json(plan, err) : print_rows(json_object_get(plan, "plan"), err);
    if (!status) cli_say(command, "dry run: no work was done");
    return status;
}

qk_status cli_print_plan(cli_command *command, const cli_models *models, qk_documents *documents, size_t n_conditions,
                         bool scored, const qk_compute *compute, qk_error *err)
{
    qk_status status = QK_OK;
    json_t *plan_of_all = json_pack("{s:[]}", "plan"), *rows = json_object_get(plan_of_all, "plan");
    for (size_t i = 0; i < models->n && !status; i++) {
        qk_plan plan;
        status = plan_documents(&plan, &models->items[i], documents, n_conditions, scored, compute, err);
        if (status) break;
        json_t *row = cli_plan_json(&plan);
        json_object_update_new(row, json_pack("{s:o,s:I,s:I}", "name", qk_json_text(models->items[i].name), "documents",
                                              (json_int_t)documents->n, "conditions", (json_int_t)n_conditions));
        if (json_array_append_new(rows, row)) status = qk_out_of_memory(err, "plan", sizeof plan);
    }
    if (!status) status = cli_show_plan(command, plan_of_all, err);
    json_decref(plan_of_all);
    return status;
}
