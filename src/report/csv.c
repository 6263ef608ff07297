/* csv.c - long tables: RFC 4180 quoting, '\n' at the end of lines, an empty cell for what could not be computed. */
#include "report/csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/draw.h"

/* ---- tables that are rows of results.json, column by column
 *
 * A column is the path of a field ("receipt.visited"); "^" before it reads the outer row of an inner one; ":pair" after
 * it makes two columns, _low and _high.  model_name, arm_name, document_id and document_category are looked up by
 * index. */
typedef struct csv_table { const char *file, *array, *inner, *columns; } csv_table;

static const csv_table massive_tables[] = {
    { "counts.csv", "counts", NULL,
      "model model_name document document_id document_category tensor layer count max_over_mean energy_share gini "
      "kurtosis entropy slow_share" },
    { "massive-totals.csv", "summary", NULL,
      "model model_name tensor positions total_mean total_std total_ci95:pair share_pct max_over_mean energy_share "
      "gini kurtosis slow_share" },
    { "massive-layers.csv", "summary", "by_layer", "^model model_name ^tensor layer mean std max_over_mean" },
    { "lambda-sweep.csv", "sweep", NULL, "model model_name tensor lambda total_mean total_std" },
    { "change.csv", "change", NULL, "model model_name tensor difference difference_ci95:pair percent layers_more" },
    { "stability.csv", "stability", NULL, "model model_name tensor jaccard_mean" },
    { NULL, NULL, NULL, NULL },
};
static const csv_table disrupt_tables[] = {
    { "scores.csv", "scores", NULL,
      "model model_name condition document document_id document_category tokens nll ppl" },
    { "conditions.csv", "conditions", NULL,
      "model model_name name kind seed dims.q dims.k dims.v receipt.visited receipt.changed receipt.sum_abs "
      "receipt.max_abs" },
    { "receipts.csv", "conditions", "receipt.by_layer",
      "^model model_name ^name layer tensor dims visited changed sum_abs max_abs" },
    { "perplexity.csv", "summary", NULL, "model model_name condition tokens ppl ppl_increase_pct" },
    { "delta-nll.csv", "summary", NULL, "model model_name condition tokens nll_per_token delta_nll ci95:pair" },
    { "delta-nll-categories.csv", "summary", "by_category",
      "^model model_name ^condition category documents delta_nll ci95:pair ppl ppl_increase_pct" },
    { "effects.csv", "effects", NULL, "model model_name m_minus_r.delta_nll m_minus_r.ci95:pair m_minus_r_pct" },
    { "tests.csv", "tests", NULL,
      "model models comparison name n estimate ci95:pair statistic df p log10_p log10_p_holm effect effect_name "
      "refused" },
    { NULL, NULL, NULL, NULL },
};

static const csv_table tasks_tables[] = {
    { "accuracy.csv", "categories", NULL,
      "model model_name condition kind category scoring questions right unparsed found accuracy ci95:pair corrected "
      "corrected_ci95:pair loss loss_ci95:pair chance most_common nll nll_per_token" },
    { "kinds.csv", "kinds", NULL,
      "model model_name condition kind categories macro macro_ci95:pair corrected corrected_ci95:pair loss "
      "loss_ci95:pair questions right unparsed accuracy ci95:pair chance most_common nll" },
    { "key-errors.csv", "errors", NULL,
      "model model_name condition category questions exact truncated near_miss wrong_length generic none" },
    { "tests.csv", "tests", NULL,
      "contrast models conditions comparison name n both only_first only_second neither estimate ci95:pair p log10_p "
      "log10_p_holm detectable refused" },
    { "conditions.csv", "conditions", NULL,
      "model model_name name kind seed dims.q dims.k dims.v receipt.visited receipt.changed receipt.sum_abs "
      "receipt.max_abs" },
    { NULL, NULL, NULL, NULL },
};
static const csv_table context_tables[] = {
    { "context-loss.csv", "loss", NULL,
      "model model_name arm method protocol stretch length texts tokens nll_per_token ci95:pair ppl delta "
      "delta_ci95:pair" },
    { "context-positions.csv", "positions", NULL,
      "model model_name arm method stretch length from to tokens nll_per_token ci95:pair" },
    { "context-keys.csv", "retrieval", NULL,
      "model model_name arm method task stretch length n right accuracy ci95:pair nll" },
    { "context-cells.csv", "cells", NULL,
      "model model_name arm method task stretch length depth n right accuracy ci95:pair nll" },
    { "context-tests.csv", "tests", NULL,
      "model model_name arm reference task stretch length name n both only_reference only_arm neither estimate "
      "ci95:pair p log10_p log10_p_holm refused" },
    { "context-broken.csv", "broken", NULL,
      "model model_name arm method condition dims stretch length n right accuracy ci95:pair" },
    { "context-broken-tests.csv", "broken_tests", NULL,
      "model model_name arm method condition against stretch length name n estimate ci95:pair p log10_p log10_p_holm "
      "refused" },
    { NULL, NULL, NULL, NULL },
};
static const csv_table training_tables[] = {
    { "log.csv", "log", NULL, "arm arm_name step tokens loss validation_loss learning_rate gradient_norm" },
    { "tracked.csv", "track", NULL,
      "arm arm_name step tokens rotation loss loss_tokens totals.q.count totals.k.count totals.v.count "
      "totals.q.count_4 totals.k.count_4 totals.v.count_4 totals.q.count_3 totals.k.count_3 totals.v.count_3 "
      "totals.q.max_over_mean "
      "totals.k.max_over_mean totals.v.max_over_mean totals.q.overlap totals.k.overlap totals.v.overlap "
      "ablation.dims_q ablation.dims_k ablation.zero ablation.mean ablation.random sink_rate sink_sequences" },
    { "tracked-layers.csv", "track", "tensors",
      "^arm arm_name ^step ^tokens tensor layer count count_4 count_3 max_over_mean energy_share length overlap dims" },
    { NULL, NULL, NULL, NULL },
};

static void put_text(FILE *stream, const char *text)
{
    if (!text[strcspn(text, ",\"\r\n")]) {
        fputs(text, stream);
        return;
    }
    fputc('"', stream);
    for (; *text; text++) {
        if (*text == '"') fputc('"', stream);
        fputc(*text, stream);
    }
    fputc('"', stream);
}

static void put_number(FILE *stream, double value)
{
    if (isfinite(value)) fprintf(stream, "%.17g", value);
}

/* A name inside of a list: what would need quotes becomes '_'. */
static void put_plain(FILE *stream, const char *before, const char *text)
{
    for (fputs(before, stream); *text; text++) fputc(strchr(",\"\r\n", *text) ? '_' : *text, stream);
}

static void put_value(FILE *stream, const json_t *value)
{
    if (json_is_string(value))
        put_text(stream, json_string_value(value));
    else if (json_is_integer(value))
        fprintf(stream, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        put_number(stream, json_real_value(value));
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "true" : "false", stream);
    for (size_t i = 0; i < json_array_size(value); i++) { /* a list of indices or names: spaces between */
        const json_t *item = json_array_get(value, i);
        if (json_is_string(item)) put_plain(stream, i ? " " : "", json_string_value(item));
        if (json_is_integer(item)) fprintf(stream, "%s%" JSON_INTEGER_FORMAT, i ? " " : "", json_integer_value(item));
    }
}

/* The value at "a.b" of a row. */
static const json_t *at_path(const json_t *row, const char *path, size_t n)
{
    char key[64];
    while (n > 0) {
        size_t part = 0;
        while (part < n && path[part] != '.') part++;
        if (part >= sizeof key) return NULL;
        memcpy(key, path, part);
        key[part] = '\0';
        row = json_object_get(row, key);
        n -= part < n ? part + 1 : part;
        path += part + 1;
    }
    return row;
}

typedef struct column { const char *path; size_t n_path; bool outer, pair; } column;

/* The next column of the list; false at its end. */
static bool next_column(column *c, const char **columns)
{
    const char *start = *columns + strspn(*columns, " ");
    size_t n = strcspn(start, " ");
    if (n == 0) return false;
    *columns = start + n;
    *c = (column){ start, n, *start == '^', n > 5 && memcmp(start + n - 5, ":pair", 5) == 0 };
    if (c->outer) c->path++, c->n_path--;
    if (c->pair) c->n_path -= 5;
    return true;
}

static bool is_column(const column *c, const char *name)
{
    return strlen(name) == c->n_path && memcmp(c->path, name, c->n_path) == 0;
}

static void put_header(FILE *stream, const char *columns)
{
    column c;
    for (const char *rest = columns, *comma = ""; next_column(&c, &rest); comma = ",") {
        int n = (int)c.n_path;
        if (c.pair)
            fprintf(stream, "%s%.*s_low,%.*s_high", comma, n, c.path, n, c.path);
        else
            fprintf(stream, "%s%.*s", comma, n, c.path);
    }
    fputc('\n', stream);
}

static void put_row(FILE *stream, const qk_results *results, const char *columns, const json_t *outer,
                    const json_t *row)
{
    column c;
    for (const char *rest = columns, *comma = ""; next_column(&c, &rest); comma = ",") {
        const json_t *value = at_path(c.outer ? outer : row, c.path, c.n_path);
        fputs(comma, stream);
        if (is_column(&c, "model_name")) {
            put_text(stream, results->models[qk_field_index(outer, "model")].name);
        } else if (is_column(&c, "arm_name")) {
            put_text(stream, results->arms[qk_field_index(outer, "arm")].name);
        } else if (is_column(&c, "document_id") || is_column(&c, "document_category")) {
            const json_t *document = json_array_get(results->documents, qk_field_index(row, "document"));
            put_text(stream, qk_field_text(document, is_column(&c, "document_id") ? "id" : "category"));
        } else if (c.pair) {
            put_value(stream, json_array_get(value, 0));
            fputc(',', stream);
            put_value(stream, json_array_get(value, 1));
        } else {
            put_value(stream, value);
        }
    }
    fputc('\n', stream);
}

static void put_table(FILE *stream, const qk_results *results, const csv_table *t)
{
    const json_t *rows = qk_rows(results, t->array);
    put_header(stream, t->columns);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const json_t *inner = t->inner ? at_path(row, t->inner, strlen(t->inner)) : NULL;
        if (!t->inner) put_row(stream, results, t->columns, row, row);
        for (size_t j = 0; j < json_array_size(inner); j++)
            put_row(stream, results, t->columns, row, json_array_get(inner, j));
    }
}

/* ---- tables that are put together */

static double pair_number(const qk_result_model *model, size_t pair, const char *name)
{
    return qk_field_number(json_array_get(model->pairs, pair), name);
}

static void put_pair_norms(FILE *stream, const qk_results *results)
{
    const json_t *rows = qk_rows(results, "pair_norms");
    fputs("model,model_name,tensor,layer,pair,wavelength,rotations,norm\n", stream);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *norm = json_object_get(row, "norm");
        size_t m = qk_field_index(row, "model");
        for (size_t p = 0; p < json_array_size(norm); p++) {
            fprintf(stream, "%zu,", m);
            put_text(stream, results->models[m].name);
            fprintf(stream, ",%s,%zu,%zu,", qk_field_text(row, "tensor"), qk_field_index(row, "layer"), p);
            put_number(stream, pair_number(&results->models[m], p, "wavelength"));
            fputc(',', stream);
            put_number(stream, pair_number(&results->models[m], p, "rotations"));
            fputc(',', stream);
            put_value(stream, json_array_get(norm, p));
            fputc('\n', stream);
        }
    }
}

static void put_map_rows(FILE *stream, const qk_results *results, size_t m, size_t layer, int tensor,
                         const qk_norm_map *map)
{
    const qk_result_model *model = &results->models[m];
    for (size_t h = 0; h < map->n_heads; h++)
        for (size_t d = 0; d < map->head_dim; d++) {
            size_t pair = model->head_dim >= 2 ? d % (model->head_dim / 2) : 0;
            double norm = qk_norm_map_at(map, h, d);
            fprintf(stream, "%zu,", m);
            put_text(stream, model->name);
            fprintf(stream, ",%zu,%s,", layer, qk_result_tensors[tensor]);
            put_text(stream, qk_field_text(results->settings, "site"));
            fprintf(stream, ",%zu,%zu,%zu,", h, d, pair);
            put_number(stream, pair_number(model, pair, "wavelength"));
            fputc(',', stream);
            put_number(stream, norm);
            fputc(',', stream);
            put_number(stream, norm / map->mean);
            fputc('\n', stream);
        }
}

static qk_status put_norm_maps(FILE *stream, const qk_results *results, qk_error *err)
{
    qk_status status = QK_OK;
    fputs("model,model_name,layer,tensor,site,head,dim,pair,wavelength,norm,ratio\n", stream);
    for (size_t m = 0; !status && m < results->n_models; m++) {
        size_t layer = qk_striking_layer(results, m);
        for (int t = 0; !status && t < 3; t++) {
            bool found = false;
            qk_norm_map map;
            status = qk_norm_map_find(&found, &map, results, m, layer, t, err);
            if (!status && found) put_map_rows(stream, results, m, layer, t, &map);
        }
    }
    return status;
}

static qk_status put_delta_documents(FILE *stream, const qk_results *results, qk_error *err)
{
    size_t n = results->n_documents;
    double *values = NULL;
    qk_status status = qk_new_array(&values, QK_N_KINDS * (n + 1), sizeof values[0], "documents", err);
    fputs("model,model_name,document,document_id,document_category,delta_nll_massive,delta_nll_random\n", stream);
    for (size_t m = 0; !status && m < results->n_models; m++) {
        double *delta[QK_N_KINDS] = { values, values + n, values + 2 * n };
        status = qk_document_deltas(delta, results, m, err);
        for (size_t d = 0; !status && d < n; d++) {
            const json_t *document = json_array_get(results->documents, d);
            fprintf(stream, "%zu,", m);
            put_text(stream, results->models[m].name);
            fprintf(stream, ",%zu,", d);
            put_text(stream, qk_field_text(document, "id"));
            fputc(',', stream);
            put_text(stream, qk_field_text(document, "category"));
            fputc(',', stream);
            put_number(stream, delta[QK_KIND_MASSIVE][d]);
            fputc(',', stream);
            put_number(stream, delta[QK_KIND_RANDOM][d]);
            fputc('\n', stream);
        }
    }
    free(values);
    return status;
}

/* The layout that yarn's evaluation writes: a column a length, a row a model under a method, perplexities. */
static void put_yarn(FILE *stream, const qk_results *results, const char *protocol)
{
    const json_t *methods = qk_rows(results, "methods"), *rows = qk_rows(results, "loss");
    for (size_t a = 0; a <= json_array_size(methods); a++) { /* the header first: the lengths of the first arm */
        if (a) put_text(stream, qk_field_text(json_array_get(methods, a - 1), "name"));
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i);
            if (qk_field_index(row, "arm") != (a ? a - 1 : 0) || !qk_field_is(row, "protocol", protocol)) continue;
            fputc(',', stream);
            if (a) put_number(stream, qk_field_number(row, "ppl"));
            else fprintf(stream, "%zu", qk_field_index(row, "length"));
        }
        fputc('\n', stream);
    }
}

/* ---- files */

/* `special` names a table that is put together; NULL takes `t`. */
static qk_status write_table(const qk_results *results, const char *file, const csv_table *t, qk_error *err)
{
    qk_output out;
    char *path = qk_path_join(results->folder, file);
    if (!path) return qk_out_of_memory(err, file, 0);
    qk_status status = qk_output_open(&out, path, err);
    free(path);
    if (status) return status;
    if (t)
        put_table(out.stream, results, t);
    else if (strcmp(file, "pair-norms.csv") == 0)
        put_pair_norms(out.stream, results);
    else if (strcmp(file, "norm-map.csv") == 0)
        status = put_norm_maps(out.stream, results, err);
    else if (strncmp(file, "yarn-", 5) == 0)
        put_yarn(out.stream, results, strstr(file, "sliding") ? "sliding" : "truncated");
    else
        status = put_delta_documents(out.stream, results, err);
    if (!status) return qk_output_commit(&out, err);
    qk_output_discard(&out);
    return status;
}

qk_status qk_csv_write(const qk_results *results, qk_error *err)
{
    static const csv_table *const tables[QK_N_STUDIES] = {
        massive_tables, disrupt_tables, tasks_tables, context_tables, training_tables, training_tables,
    };
    qk_status status = QK_OK;
    for (const csv_table *t = tables[results->study]; !status && t->file; t++)
        status = write_table(results, t->file, t, err);
    if (status) return status;
    if (results->study == QK_STUDY_DISRUPT) return write_table(results, "delta-nll-documents.csv", NULL, err);
    if (results->study == QK_STUDY_CONTEXT) {
        if (json_array_size(qk_rows(results, "loss"))) status = write_table(results, "yarn-ppl.csv", NULL, err);
        if (!status && json_is_true(json_object_get(results->settings, "sliding")))
            status = write_table(results, "yarn-ppl-sliding.csv", NULL, err);
        return status;
    }
    if (results->study != QK_STUDY_MASSIVE) return QK_OK;
    status = write_table(results, "pair-norms.csv", NULL, err);
    if (!status && results->arrays) status = write_table(results, "norm-map.csv", NULL, err);
    return status;
}
