/* draw_disrupt.c - what breaking dims costs: loss and perplexity by condition, loss by document. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/draw.h"
#include "report/plot.h"

/* ---- rows of a dot plot: for each model a heading, then one row a condition; all controls share one */

enum { ROW_HEIGHT = 22, HEADING_HEIGHT = 24, LABELS_WIDTH = 168 };

typedef struct strip { /* one row */
    const char *label;
    size_t model;
    double value, ci[2];
    bool hollow, heading;
    double *controls;    /* one a seed */
    const char **names;  /* of the controls */
    size_t n_controls;
} strip;

typedef struct strips { strip *rows; size_t n, capacity; qk_arena arena; } strips;

static strip *add_strip(strips *s, strip row)
{
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 32;
        strip *rows = realloc(s->rows, capacity * sizeof *rows);
        if (!rows) return NULL;
        s->rows = rows;
        s->capacity = capacity;
    }
    s->rows[s->n] = row;
    return &s->rows[s->n++];
}

/* The values `field` of the model's controls into `row`. */
static bool collect_controls(strips *s, strip *row, const qk_results *results, const char *field)
{
    const json_t *conditions = qk_rows(results, "conditions");
    size_t n = json_array_size(conditions);
    row->controls = qk_arena_alloc(&s->arena, (n + 1) * sizeof row->controls[0]);
    row->names = qk_arena_alloc(&s->arena, (n + 1) * sizeof row->names[0]);
    if (!row->controls || !row->names) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *condition = json_array_get(conditions, i);
        if (qk_field_index(condition, "model") != row->model || !qk_field_is(condition, "kind", "random")) continue;
        const char *name = qk_field_text(condition, "name");
        row->controls[row->n_controls] =
            qk_field_number(qk_find_row(results, "summary", row->model, "condition", name), field);
        row->names[row->n_controls++] = name;
    }
    return true;
}

/* Rows of one model, `field` of the summary as value; `baseline` says whether that condition has one. */
static bool collect_model(strips *s, const qk_results *results, size_t model, const char *field, bool baseline)
{
    const json_t *conditions = qk_rows(results, "conditions");
    if (!add_strip(s, (strip){ .label = results->models[model].name, .model = model, .heading = true })) return false;
    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *condition = json_array_get(conditions, i);
        if (qk_field_index(condition, "model") != model || qk_field_is(condition, "kind", "random")) continue;
        bool is_baseline = qk_field_is(condition, "kind", "baseline");
        const char *name = qk_field_text(condition, "name");
        const json_t *summary = qk_find_row(results, "summary", model, "condition", name);
        if (is_baseline && !baseline) continue;
        double value = qk_field_number(summary, field);
        strip *row = add_strip(s, (strip){ .label = name, .model = model, .value = value, .hollow = is_baseline });
        if (!row) return false;
        qk_field_pair(row->ci, summary, "ci95");
    }
    strip controls = { .label = "random", .model = model };
    const json_t *mean = qk_find_row(results, "summary", model, "condition", "random");
    controls.value = qk_field_number(mean, field);
    qk_field_pair(controls.ci, mean, "ci95");
    if (!collect_controls(s, &controls, results, field)) return false;
    return controls.n_controls == 0 || add_strip(s, controls);
}

static double strips_height(const strips *s)
{
    double height = 0;
    for (size_t i = 0; i < s->n; i++) height += s->rows[i].heading ? HEADING_HEIGHT : ROW_HEIGHT;
    return height;
}

static void draw_strip(qk_figure *figure, const qk_panel *panel, const qk_results *results, const strip *row, double y,
                       bool whiskers)
{
    char text[32], low[32], high[32];
    uint32_t colour = qk_model_colours[row->model];
    double x = qk_scale_map(&panel->x, row->value), right = x;
    qk_draw_line(figure, panel->left, y, panel->left + panel->width, y,
                 qk_stroke(QK_GRID, 0.5));
    const char *label = row->label;
    if (row->n_controls)
        label = qk_figure_text(figure, "%s (%zu seed%s)", label, row->n_controls, row->n_controls == 1 ? "" : "s");
    qk_draw_text(figure, panel->left - 10, y + 3.5, QK_SIZE_LABEL, QK_INK, QK_ANCHOR_END,
                 qk_figure_fit(figure, label, QK_SIZE_LABEL, LABELS_WIDTH - 30));
    for (size_t i = 0; i < row->n_controls; i++) {
        double dot = qk_scale_map(&panel->x, row->controls[i]);
        if (isnan(dot)) continue;
        right = fmax(right, dot);
        qk_format_number(text, row->controls[i], 5);
        qk_draw_dot(figure, dot, y + 3.5 * (double)(i % 3) - 3.5, 4.5, (qk_paint){ QK_LIGHT, QK_GREY, 1, 0.7, false },
                    qk_figure_text(figure, "%s, %s: %s", results->models[row->model].name, row->names[i], text));
    }
    if (whiskers) {
        qk_plot_whisker(figure, panel, y, row->ci[0], row->ci[1], true, row->n_controls ? QK_INK : colour);
        if (isfinite(row->ci[1])) right = fmax(right, qk_scale_map(&panel->x, row->ci[1]));
    }
    if (isnan(x)) {
        qk_draw_text(figure, panel->left + 6, y + 3.5, QK_SIZE_TICK, QK_GREY, QK_ANCHOR_START, "not available");
        return;
    }
    qk_format_number(text, row->value, 3);
    qk_format_number(low, row->ci[0], 3);
    qk_format_number(high, row->ci[1], 3);
    if (row->n_controls)
        qk_draw_path(figure, (double[]){ x - 0.8, y - 7, x + 0.8, y - 7, x + 0.8, y + 7, x - 0.8, y + 7 }, 4, true,
                     qk_fill(QK_INK, 1),
                     qk_figure_text(figure, "mean over the controls: %s (95 %% interval %s to %s)", text, low, high));
    else
        qk_draw_dot(figure, x, y, 8,
                    (qk_paint){ row->hollow ? 0xFFFFFF : colour, row->hollow ? QK_INK : colour, 1, 1.5, false },
                    qk_figure_text(figure, "%s, %s: %s (95 %% interval %s to %s)", results->models[row->model].name,
                                   row->label, text, low, high));
    qk_draw_text(figure, right + 9, y + 3.5, QK_SIZE_TICK, QK_INK, QK_ANCHOR_START, text);
}

/* Draws all rows under the panel's x scale; the panel's height is theirs. */
static void draw_strips(qk_figure *figure, qk_panel *panel, const qk_results *results, const strips *s, bool whiskers)
{
    panel->no_y = true;
    qk_panel_place(panel, LABELS_WIDTH, 14, QK_FIGURE_WIDTH - LABELS_WIDTH - 72, strips_height(s) + 6);
    qk_panel_draw(figure, panel);
    double y = panel->top;
    for (size_t i = 0; i < s->n; i++) {
        const strip *row = &s->rows[i];
        if (row->heading) {
            qk_draw_text(figure, 12, y + 17, QK_SIZE_LABEL, qk_model_colours[row->model], QK_ANCHOR_START,
                         qk_figure_fit(figure, row->label, QK_SIZE_LABEL, (LABELS_WIDTH - 24) / QK_BOLD));
            if (qk_last_mark(figure)) {
                qk_last_mark(figure)->bold = true;
                qk_last_mark(figure)->title = qk_figure_text(figure, "%s", row->label);
            }
        } else {
            draw_strip(figure, panel, results, row, y + ROW_HEIGHT / 2.0, whiskers);
        }
        y += row->heading ? HEADING_HEIGHT : ROW_HEIGHT;
    }
    figure->height = panel->top + panel->height + 40;
}

static void value_range(double range[2], const strips *s, bool intervals)
{
    for (size_t i = 0; i < s->n; i++) {
        const strip *row = &s->rows[i];
        if (row->heading) continue;
        range[0] = fmin(range[0], row->value);
        range[1] = fmax(range[1], row->value);
        for (size_t c = 0; c < row->n_controls; c++) {
            range[0] = fmin(range[0], row->controls[c]);
            range[1] = fmax(range[1], row->controls[c]);
        }
        if (!intervals) continue;
        range[0] = fmin(range[0], row->ci[0]);
        range[1] = fmax(range[1], row->ci[1]);
    }
}

static void free_strips(strips *s)
{
    free(s->rows);
    qk_arena_free(&s->arena);
}

qk_status qk_draw_perplexity(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    strips s = { 0 };
    double range[2] = { INFINITY, -INFINITY };
    bool good = true;
    for (size_t m = 0; good && m < results->n_models; m++) good = collect_model(&s, results, m, "ppl", true);
    qk_figure *figure = good ? qk_drawing_add(drawing, "perplexity", "Perplexity by condition") : NULL;
    if (figure) {
        value_range(range, &s, false);
        qk_panel panel = { .x = qk_scale_log(range[0], range[1], false), .x_label = "perplexity (log)" };
        draw_strips(figure, &panel, results, &s, false);
        figure->description =
            qk_figure_text(figure, "Perplexity of each condition over all documents, on a logarithmic axis. Grey "
                                   "dots: the random controls, one a seed; bar: their mean.");
    }
    free_strips(&s);
    return figure ? QK_OK : qk_out_of_memory(err, "a figure", 0);
}

/* massive minus random, from effects[]. */
static bool collect_effects(strips *s, const qk_results *results, size_t model)
{
    const json_t *effect = json_object_get(qk_find_row(results, "effects", model, NULL, NULL), "m_minus_r");
    strip row = {
        .label = "massive \u2212 random", .model = model, .value = qk_field_number(effect, "delta_nll"), .hollow = true
    };
    if (!effect) return true;
    qk_field_pair(row.ci, effect, "ci95");
    return add_strip(s, row);
}

qk_status qk_draw_delta(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    strips s = { 0 };
    double range[2] = { 0, 0 };
    bool good = true;
    for (size_t m = 0; good && m < results->n_models; m++)
        good = collect_model(&s, results, m, "delta_nll", false) && collect_effects(&s, results, m);
    qk_figure *figure = good ? qk_drawing_add(drawing, "delta-nll", "Loss added by each condition") : NULL;
    if (figure) {
        value_range(range, &s, true);
        qk_panel panel = { .x = qk_scale_linear(range[0], range[1]),
                           .x_label = "\u0394NLL against the baseline (nats per token)" };
        draw_strips(figure, &panel, results, &s, true);
        double zero = qk_scale_map(&panel.x, 0);
        qk_draw_line(figure, zero, panel.top, zero, panel.top + panel.height,
                     qk_stroke(QK_INK, 1));
        figure->description =
            qk_figure_text(figure, "Loss that each condition adds to the baseline, in nats per token, with 95 %% BCa "
                                   "bootstrap intervals over documents. Grey dots: the random controls, one a seed; "
                                   "bar: their mean. Massive minus random is the part that an equal number of random "
                                   "dims does not explain.");
    }
    free_strips(&s);
    return figure ? QK_OK : qk_out_of_memory(err, "a figure", 0);
}

/* ---- by document */

enum { MAX_DOCUMENTS = 2000 };

typedef struct place { size_t document, category; } place;

/* order[n]: documents by category, categories in the order in which they first appear. */
static qk_status order_documents(place *order, const qk_results *results, qk_error *err)
{
    size_t n = results->n_documents, *starts = NULL;
    json_t *categories = json_object(); /* name: index */
    qk_status status = qk_new_array(&starts, n + 2, sizeof starts[0], "categories", err);
    if (!status && !categories) status = qk_out_of_memory(err, "categories", n);
    for (size_t d = 0; !status && d < n; d++) { /* count each, one place further on */
        const char *name = qk_field_text(json_array_get(results->documents, d), "category");
        size_t known = json_object_size(categories);
        if (!json_object_get(categories, name) &&
            json_object_set_new(categories, name, json_integer((json_int_t)known)) != 0)
            status = qk_out_of_memory(err, "categories", n);
        starts[json_integer_value(json_object_get(categories, name)) + 1]++;
    }
    for (size_t c = 1; !status && c <= n; c++) starts[c] += starts[c - 1];
    for (size_t d = 0; !status && d < n; d++) {
        const char *name = qk_field_text(json_array_get(results->documents, d), "category");
        size_t category = (size_t)json_integer_value(json_object_get(categories, name));
        order[starts[category]++] = (place){ d, category };
    }
    free(starts);
    json_decref(categories);
    return status;
}

static const char *category_name(const qk_results *results, size_t document)
{
    const char *name = qk_field_text(json_array_get(results->documents, document), "category");
    return *name ? name : "no category";
}

/* Lines between categories and, with `named`, their names below; returns whether these are turned. */
static bool draw_categories(qk_figure *figure, const qk_panel *panel, const qk_results *results, const place *order,
                            size_t n, bool named)
{
    const double bottom = panel->top + panel->height;
    bool narrow = false;
    for (int pass = 0; pass < 2; pass++) /* first see whether all names fit side by side */
        for (size_t start = 0, end; start < n; start = end) {
            for (end = start; end < n && order[end].category == order[start].category; end++) {}
            double x1 = qk_scale_map(&panel->x, (double)start - 0.5), x2 = qk_scale_map(&panel->x, (double)end - 0.5);
            const char *name = qk_figure_fit(figure, category_name(results, order[start].document), QK_SIZE_TICK, 110);
            narrow = narrow || qk_text_width(name, QK_SIZE_TICK) > x2 - x1 - 4;
            if (pass == 0) continue;
            if (start > 0)
                qk_draw_line(figure, x1, panel->top, x1, bottom + 4,
                             qk_stroke(QK_LIGHT, 0.75));
            if (!named) continue;
            qk_draw_text(figure, (x1 + x2) / 2 + (narrow ? 3 : 0), bottom + 15, QK_SIZE_TICK, QK_INK,
                         narrow ? QK_ANCHOR_END : QK_ANCHOR_MIDDLE, name);
            if (narrow && qk_last_mark(figure)) qk_last_mark(figure)->turn = -35;
        }
    return named && narrow;
}

static void draw_pairs(qk_figure *figure, const qk_panel *panel, const qk_results *results, size_t model,
                       double *const delta[], const place *order, size_t n)
{
    uint32_t colour = qk_model_colours[model];
    double size = fmax(2.5, fmin(8, panel->width / (double)n * 0.6));
    for (size_t i = 0; i < n; i++) {
        size_t d = order[i].document;
        const char *id = qk_field_text(json_array_get(results->documents, d), "id");
        double x = qk_scale_map(&panel->x, (double)i);
        double massive = qk_scale_map(&panel->y, delta[QK_KIND_MASSIVE][d]);
        double random = qk_scale_map(&panel->y, delta[QK_KIND_RANDOM][d]);
        if (!isnan(massive) && !isnan(random))
            qk_draw_line(figure, x, massive, x, random, qk_stroke(QK_LIGHT, 1));
        if (!isnan(random))
            qk_draw_dot(figure, x, random, size * 0.85, (qk_paint){ 0xFFFFFF, QK_GREY, 1, 1.2, false },
                        qk_figure_text(figure, "%s: random %.4g nats per token", id, delta[QK_KIND_RANDOM][d]));
        if (!isnan(massive))
            qk_draw_dot(figure, x, massive, size, qk_fill(colour, 1),
                        qk_figure_text(figure, "%s: massive %.4g nats per token", id, delta[QK_KIND_MASSIVE][d]));
    }
}

static void draw_key(qk_figure *figure, double right, double y, size_t model)
{
    qk_draw_dot(figure, right - 190, y - 3.5, 7, qk_fill(qk_model_colours[model], 1),
                NULL);
    qk_draw_text(figure, right - 182, y, QK_SIZE_TICK, QK_INK, QK_ANCHOR_START, "massive");
    qk_draw_dot(figure, right - 124, y - 3.5, 6, (qk_paint){ 0xFFFFFF, QK_GREY, 1, 1.2, false }, NULL);
    qk_draw_text(figure, right - 116, y, QK_SIZE_TICK, QK_INK, QK_ANCHOR_START, "random (mean of seeds)");
}

qk_status qk_draw_delta_documents(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    const double left = 62, height = 170;
    size_t n = results->n_documents;
    place *order = NULL;
    double *values = NULL, top = 30;
    bool turned = false;
    if (n == 0 || n > MAX_DOCUMENTS) {
        qk_drawing_note(drawing, "%zu documents: loss by document is drawn for 1 to %d.", n, MAX_DOCUMENTS);
        return QK_OK;
    }
    qk_status status = qk_new_array(&order, n, sizeof order[0], "documents", err);
    if (!status) status = qk_new_array(&values, QK_N_KINDS * n, sizeof values[0], "documents", err);
    qk_figure *figure = status ? NULL : qk_drawing_add(drawing, "delta-nll-documents", "Loss added in each document");
    if (!status && !figure) status = qk_out_of_memory(err, "a figure", 0);
    if (!figure) goto out;
    status = order_documents(order, results, err);
    for (size_t m = 0; !status && m < results->n_models; m++) {
        double *delta[QK_N_KINDS] = { values, values + n, values + 2 * n }, low = 0, high = 0;
        status = qk_document_deltas(delta, results, m, err);
        for (size_t i = 0; i < n; i++) {
            low = fmin(low, fmin(delta[QK_KIND_MASSIVE][i], delta[QK_KIND_RANDOM][i]));
            high = fmax(high, fmax(delta[QK_KIND_MASSIVE][i], delta[QK_KIND_RANDOM][i]));
        }
        qk_panel panel = { .x = { .low = -0.5, .high = (double)n - 0.5 }, .y = qk_scale_linear(low, high), .no_x = true,
                           .y_label = "\u0394NLL (nats per token)" };
        panel.title = qk_figure_fit(figure, results->models[m].name, QK_SIZE_LABEL, 400);
        qk_panel_place(&panel, left, top, QK_FIGURE_WIDTH - left - 20, height);
        qk_panel_draw(figure, &panel);
        draw_key(figure, panel.left + panel.width, top - 8, m);
        double zero = qk_scale_map(&panel.y, 0);
        qk_draw_line(figure, panel.left, zero, panel.left + panel.width, zero,
                     qk_stroke(QK_INK, 1));
        draw_pairs(figure, &panel, results, m, delta, order, n);
        turned = draw_categories(figure, &panel, results, order, n, m + 1 == results->n_models);
        top += height + 38;
    }
    figure->height = top + (turned ? 50 : -8);
    figure->description = qk_figure_text(
        figure, "Loss added in each document (points; the line joins the two conditions of one document), grouped by "
                "category. Random: mean over the controls.");
out:
    free(order);
    free(values);
    return status;
}
