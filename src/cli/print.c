/* print.c - aligned plain tables, and numbers as a reader likes them. */
#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void cli_table_start(cli_table *table, const char *const *heads, const char *alignment)
{
    *table = (cli_table){ .heads = heads, .alignment = alignment, .n_columns = strlen(alignment) };
}

static bool make_room(cli_table *table)
{
    if (table->n_cells < table->capacity) return true;
    size_t capacity = table->capacity ? 2 * table->capacity : 64;
    char **cells = realloc(table->cells, capacity * sizeof *cells);
    if (!cells) return false;
    table->cells = cells;
    table->capacity = capacity;
    return true;
}

void cli_table_add(cli_table *table, const char *format, ...)
{
    char *text = NULL, *shown = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0 || !make_room(table) || !(shown = malloc((size_t)n * 4 + 1))) {
        table->failed = true;
    } else {
        char *out = shown;
        for (const char *p = text; *p; p++)
            out += sprintf(out, (unsigned char)*p < 0x20 || *p == 0x7f ? "\\x%02x" : "%c", (unsigned char)*p);
        *out = '\0';
        table->cells[table->n_cells++] = shown;
    }
    if (n >= 0) free(text);
}

void cli_table_add_number(cli_table *table, double x, int digits)
{
    if (isnan(x))
        cli_table_add(table, "-");
    else if (x != 0 && isfinite(x) && fabs(x) >= 1e9)
        cli_table_add(table, "%.*e", digits, x);
    else
        cli_table_add(table, "%.*f", digits, x);
}

void cli_table_add_interval(cli_table *table, const json_t *pair, int digits)
{
    const json_t *low = json_array_get(pair, 0), *high = json_array_get(pair, 1);
    if (json_is_number(low) && json_is_number(high))
        cli_table_add(table, "[%.*f, %.*f]", digits, json_number_value(low), digits, json_number_value(high));
    else
        cli_table_add(table, "-");
}

/* Characters, not bytes: what is printed is mostly narrow. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void print_row(const cli_table *table, const char *const *cells, const size_t *widths, FILE *stream)
{
    size_t n = table->n_columns;
    while (n > 1 && cells[n - 1][0] == '\0') n--; /* no blanks at the end of a line */
    for (size_t c = 0; c < n; c++) {
        int padding = (int)(widths[c] - width_of(cells[c]));
        bool last = c + 1 == n;
        if (table->alignment[c] == 'r')
            fprintf(stream, "%*s%s", padding, "", cells[c]);
        else
            fprintf(stream, "%s%*s", cells[c], last ? 0 : padding, "");
        fputs(last ? "\n" : "  ", stream);
    }
}

qk_status cli_table_print(cli_table *table, FILE *stream, qk_error *err)
{
    enum { MOST_COLUMNS = 24 };
    size_t widths[MOST_COLUMNS] = { 0 }, n = table->n_columns;
    qk_status status = QK_OK;
    if (table->failed || n > MOST_COLUMNS) status = qk_out_of_memory(err, "table", table->n_cells * sizeof(char *));
    for (size_t c = 0; c < n && !status; c++) widths[c] = width_of(table->heads[c]);
    for (size_t i = 0; i < table->n_cells && !status; i++) {
        size_t width = width_of(table->cells[i]);
        if (width > widths[i % n]) widths[i % n] = width;
    }
    if (!status && stream) print_row(table, table->heads, widths, stream);
    for (size_t i = 0; i + n <= table->n_cells && !status && stream; i += n)
        print_row(table, (const char *const *)table->cells + i, widths, stream);
    for (size_t i = 0; i < table->n_cells; i++) free(table->cells[i]);
    free(table->cells);
    *table = (cli_table){ 0 };
    return status;
}

static const char *scaled(char text[32], double x, double base, const char *const *units, size_t n_units)
{
    size_t u = 0;
    while (x >= base && u + 1 < n_units) {
        x /= base;
        u++;
    }
    snprintf(text, 32, x >= 100 || (u == 0 && x == floor(x)) ? "%.0f%s" : x >= 10 ? "%.1f%s" : "%.2f%s", x, units[u]);
    return text;
}

const char *cli_human_bytes(char text[32], double n_bytes)
{
    static const char *const units[] = { " B", " KiB", " MiB", " GiB", " TiB", " PiB" };
    return scaled(text, n_bytes, 1024, units, sizeof units / sizeof *units);
}

const char *cli_human_count(char text[32], double n)
{
    static const char *const units[] = { "", " K", " M", " G", " T", " P" };
    return scaled(text, n, 1000, units, sizeof units / sizeof *units);
}

double cli_number(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *cli_text(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

const char *cli_model_name(const json_t *results, double index)
{
    return cli_text(json_array_get(json_object_get(results, "models"), index >= 0 ? (size_t)index : 0), "name");
}

qk_status cli_print_json(const json_t *object, qk_error *err)
{
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    if (!text) return qk_out_of_memory(err, "results", 0);
    puts(text);
    free(text);
    return QK_OK;
}

void cli_flush(cli_command *command)
{
    if (fflush(stdout) != 0 && command->output_errno == 0) command->output_errno = errno;
}
