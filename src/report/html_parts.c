/* html_parts.c - what the pages of all studies are put together from: text, numbers, tables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/html.h"
#include "report/plot.h"

enum { MAX_TABLE_ROWS = 1000 };

static void put_number(FILE *stream, double value, int digits)
{
    char text[32];
    qk_format_number(text, value, digits);
    fputs(*text == '-' ? "\u2212" : "", stream);
    fputs(*text == '-' ? text + 1 : text, stream);
}

void qk_html(FILE *stream, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    for (const char *p = format; *p; p++) {
        if (*p != '%') {
            fputc(*p, stream);
        } else if (*++p == 's') {
            qk_write_escaped(stream, va_arg(values, const char *));
        } else if (*p == 'g') {
            put_number(stream, va_arg(values, double), 3);
        } else if (*p == 'z') {
            fprintf(stream, "%zu", va_arg(values, size_t));
            p++;
        } else {
            fputc('%', stream);
        }
    }
    va_end(values);
}

void qk_html_interval(FILE *stream, const json_t *row, const char *name)
{
    double ci[2];
    qk_field_pair(ci, row, name);
    if (isfinite(ci[0]) && isfinite(ci[1]) && ci[0] < ci[1])
        qk_html(stream, " (95\u00a0%% interval %g to %g)", ci[0], ci[1]);
}

/* ---- tables */

static const char *model_name(const qk_results *results, const json_t *index)
{
    json_int_t m = json_integer_value(index);
    bool known = json_is_integer(index) && m >= 0 && (uint64_t)m < results->n_models;
    return known ? results->models[m].name : "?";
}

static const char *arm_name(const qk_results *results, const json_t *index)
{
    json_int_t a = json_integer_value(index);
    return json_is_integer(index) && a >= 0 && (uint64_t)a < results->n_arms ? results->arms[a].name : "?";
}

static void put_models(FILE *stream, const qk_results *results, const json_t *row)
{
    const json_t *models = json_object_get(row, "models");
    if (!json_is_array(models)) {
        qk_html(stream, "<td>%s</td>", model_name(results, json_object_get(row, "model")));
        return;
    }
    fputs("<td>", stream);
    for (size_t i = 0; i < json_array_size(models); i++)
        qk_html(stream, "%s%s", i ? " and " : "", model_name(results, json_array_get(models, i)));
    fputs("</td>", stream);
}

static void put_number_cell(FILE *stream, const json_t *value)
{
    if (!json_is_number(value)) {
        fputs("<td class=\"n\">\u2013</td>", stream);
        return;
    }
    /* the sort takes the whole number, the reader four digits */
    fprintf(stream, "<td class=\"n\" data-v=\"%.17g\">", json_number_value(value));
    put_number(stream, json_number_value(value), 4);
    fputs("</td>", stream);
}

static void put_pair_cell(FILE *stream, const json_t *value)
{
    const json_t *low = json_array_get(value, 0), *high = json_array_get(value, 1);
    if (!json_is_number(low) || !json_is_number(high)) {
        fputs("<td class=\"n\">\u2013</td>", stream);
        return;
    }
    fprintf(stream, "<td class=\"n\" data-v=\"%.17g\">", json_number_value(low));
    put_number(stream, json_number_value(low), 4);
    fputs(" to ", stream);
    put_number(stream, json_number_value(high), 4);
    fputs("</td>", stream);
}

/* [1,21,22,23] as "1, 21\u201323"; texts with commas between. */
static void put_list_cell(FILE *stream, const json_t *value)
{
    size_t n = json_array_size(value);
    fputs("<td>", stream);
    for (size_t i = 0; i < n && json_is_string(json_array_get(value, 0)); i++) {
        const json_t *item = json_array_get(value, i);
        qk_html(stream, "%s%s", i ? ", " : "", json_is_string(item) ? json_string_value(item) : "?");
        if (i + 1 == n) n = 0;
    }
    for (size_t i = 0, end; i < n; i = end) {
        json_int_t first = json_integer_value(json_array_get(value, i));
        for (end = i + 1; end < n && json_integer_value(json_array_get(value, end)) == first + (json_int_t)(end - i);)
            end++;
        fprintf(stream, end - i > 1 ? "%s%lld\u2013%lld" : "%s%lld", i ? ", " : "", (long long)first,
                (long long)first + (long long)(end - i) - 1);
    }
    fputs(json_array_size(value) ? "</td>" : "\u2013</td>", stream);
}

static void put_cell(FILE *stream, const qk_results *results, const qk_html_column *c, const json_t *outer,
                     const json_t *row)
{
    const json_t *value = *c->path == '^' ? qk_json_at(outer, c->path + 1) : qk_json_at(row, c->path);
    switch (c->kind) {
    case QK_CELL_NUMBER: put_number_cell(stream, value); break;
    case QK_CELL_PAIR: put_pair_cell(stream, value); break;
    case QK_CELL_LIST: put_list_cell(stream, value); break;
    case QK_CELL_MODEL: qk_html(stream, "<td>%s</td>", model_name(results, value)); break;
    case QK_CELL_ARM: qk_html(stream, "<td>%s</td>", arm_name(results, value)); break;
    case QK_CELL_MODELS: put_models(stream, results, row); break;
    case QK_CELL_YES: qk_html(stream, "<td>%s</td>", json_is_true(value) ? "yes" : ""); break;
    case QK_CELL_TEXT:
        if (json_is_number(value))
            put_number_cell(stream, value);
        else
            qk_html(stream, json_string_length(value) > 40 ? "<td class=\"w\">%s</td>" : "<td>%s</td>",
                    json_is_string(value) ? json_string_value(value) : "\u2013");
        break;
    }
}

static bool is_numeric(qk_cell kind) { return kind == QK_CELL_NUMBER || kind == QK_CELL_PAIR; }

void qk_html_table(FILE *stream, const qk_results *results, const char *caption, const json_t *rows, const char *inner,
                   const qk_html_column *columns)
{
    size_t n_rows = 0, n_left_out = 0;
    qk_html(stream, "<div class=\"scroll\"><table class=\"sortable\"><caption>%s</caption><thead><tr>", caption);
    for (const qk_html_column *c = columns; c->header; c++) {
        qk_html(stream, "<th scope=\"col\"%s", is_numeric(c->kind) ? " class=n" : "");
        if (c->help) qk_html(stream, " title=\"%s\"", c->help);
        qk_html(stream, ">%s</th>", c->header);
    }
    fputs("</tr></thead>\n<tbody>\n", stream);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *outer = json_array_get(rows, i), *list = inner ? qk_json_at(outer, inner) : NULL;
        size_t n_inner = inner ? json_array_size(list) : 1;
        for (size_t j = 0; j < n_inner; j++) {
            if (n_rows == MAX_TABLE_ROWS) {
                n_left_out++;
                continue;
            }
            n_rows++;
            fputs("<tr>", stream);
            for (const qk_html_column *c = columns; c->header; c++)
                put_cell(stream, results, c, outer, inner ? json_array_get(list, j) : outer);
            fputs("</tr>\n", stream);
        }
    }
    fputs("</tbody></table></div>\n", stream);
    if (n_left_out) qk_html(stream, "<p class=\"small\">%zu more rows are in the CSV file.</p>\n", n_left_out);
}
