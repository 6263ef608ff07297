/* quiz_rows.c - rows with named fields out of CSV and of whole JSON documents. */
#include "text/quiz_rows.h"

#include <stdlib.h>
#include <string.h>

/* ---- CSV */

enum { MAX_COLUMNS = 256 };

typedef struct csv {
    const char *path, *text;
    size_t n, at, line;          /* the next byte, and its line */
    char *field;                 /* [n + 1] room for the longest one */
    char *names[MAX_COLUMNS];    /* [n_columns] of the header; owned */
    size_t n_columns;
} csv;

/* One field into c->field; *last: it ends its record. */
static qk_status read_field(csv *c, bool *last, qk_error *err)
{
    size_t n = 0, opened = c->line;
    bool quoted = c->at < c->n && c->text[c->at] == '"';
    if (quoted) c->at++;
    for (;; c->at++) {
        if (c->at == c->n && quoted)
            return qk_fail(err, QK_E_FORMAT, "%s:%zu: expected a closing quote, found the end of the file", c->path,
                           opened);
        if (c->at == c->n) break;
        char x = c->text[c->at];
        if (quoted && x == '"' && c->at + 1 < c->n && c->text[c->at + 1] == '"') c->at++;
        else if (quoted && x == '"') quoted = false, x = 0;
        else if (!quoted && (x == ',' || x == '\n')) break;
        else if (!quoted && x == '\r' && c->at + 1 < c->n && c->text[c->at + 1] == '\n') continue;
        if (x == '\n') c->line++;
        if (x) c->field[n++] = x;
    }
    c->field[n] = '\0';
    *last = c->at == c->n || c->text[c->at] == '\n';
    if (c->at < c->n) c->line += c->text[c->at++] == '\n';
    return QK_OK;
}

static qk_status read_header(csv *c, qk_error *err)
{
    for (bool last = false; !last;) {
        qk_status status = read_field(c, &last, err);
        if (status) return status;
        if (c->n_columns == MAX_COLUMNS)
            return qk_fail(err, QK_E_UNSUPPORTED, "%s:1: expected at most %d columns, found more", c->path,
                           MAX_COLUMNS);
        for (size_t i = 0; i < c->n_columns; i++)
            if (strcmp(c->names[i], c->field) == 0)
                return qk_fail(err, QK_E_FORMAT, "%s:1: expected different columns, found \"%.40s\" twice", c->path,
                               c->field);
        if (!*c->field) return qk_fail(err, QK_E_FORMAT, "%s:1: expected a name for column %zu, found none", c->path,
                                       c->n_columns + 1);
        c->names[c->n_columns] = strdup(c->field);
        if (!c->names[c->n_columns++]) return qk_out_of_memory(err, "columns", strlen(c->field));
    }
    return QK_OK;
}

/* One record as an object; *blank: an empty line, which is none. */
static qk_status read_record(json_t *row, csv *c, bool *blank, qk_error *err)
{
    size_t n = 0, line = c->line;
    for (bool last = false; !last; n++) {
        qk_status status = read_field(c, &last, err);
        if (status) return status;
        *blank = n == 0 && last && !*c->field;
        if (*blank) return QK_OK;
        if (n < c->n_columns && json_object_set_new(row, c->names[n], json_string(c->field)))
            return qk_out_of_memory(err, "a row", strlen(c->field));
    }
    if (n == c->n_columns) return QK_OK;
    return qk_fail(err, QK_E_FORMAT, "%s:%zu: expected %zu fields, as the columns are, found %zu", c->path, line,
                   c->n_columns, n);
}

static qk_status read_records(csv *c, qk_line_visit *visit, void *user, qk_error *err)
{
    size_t n_rows = 0;
    bool enough = false;
    qk_status status = read_header(c, err);
    while (!status && !enough && c->at < c->n) {
        size_t line = c->line;
        bool blank = false;
        json_t *row = json_object();
        status = row ? read_record(row, c, &blank, err) : qk_out_of_memory(err, "a row", 0);
        if (!status && !blank) status = visit(user, row, (qk_place){ c->path, line }, &enough, err);
        n_rows += !blank;
        json_decref(row);
    }
    if (!status && n_rows == 0)
        return qk_fail(err, QK_E_FORMAT, "%s:1: expected rows below the columns, found none", c->path);
    return status;
}

qk_status qk_csv_rows(const char *path, const qk_map *file, qk_line_visit *visit, void *user, qk_error *err)
{
    size_t start = qk_text_start(file);
    csv c = { .path = path, .text = (const char *)file->data + start, .n = file->size - start, .line = 1 };
    qk_status status = qk_text_check(path, file, start, c.n, err);
    if (!status && c.n == 0) status = qk_fail(err, QK_E_FORMAT, "%s:1: expected columns, found an empty file", path);
    if (!status) status = qk_new_array(&c.field, c.n + 1, 1, "a field", err);
    if (!status) status = read_records(&c, visit, user, err);
    for (size_t i = 0; i < c.n_columns; i++) free(c.names[i]);
    free(c.field);
    return status;
}

/* ---- JSON documents */

/* Goes through a document that is known to be valid, object by object of its list. */
typedef struct walk {
    const char *text;
    size_t n, at, line;
    size_t depth, list;    /* brackets open; the depth inside the list, 0 before it */
    size_t key_at, key_n;  /* the last string at depth 1 */
} walk;

static void skip_string(walk *w)
{
    size_t from = ++w->at;
    while (w->text[w->at] != '"') w->at += w->text[w->at] == '\\' ? 2 : 1;
    if (w->depth != 1) return;
    w->key_at = from;
    w->key_n = w->at - from;
}

/* Is the last string at depth 1 "data", however it is spelt? */
static bool key_is_data(const walk *w)
{
    if (w->depth != 1 || w->key_n == 0) return false;
    json_t *key = json_loadb(w->text + w->key_at - 1, w->key_n + 2, JSON_DECODE_ANY, NULL);
    bool is_data = json_is_string(key) && strcmp(json_string_value(key), "data") == 0;
    json_decref(key);
    return is_data;
}

/* Moves on to the next object of the list; false where there is none. */
static bool next_object(walk *w)
{
    for (; w->at < w->n; w->at++) {
        char x = w->text[w->at];
        if (x == '\n') w->line++;
        if (x == '"') skip_string(w);
        if (x == '}' || x == ']') w->depth--;
        if (x != '{' && x != '[') continue;
        bool found = x == '{' && w->list > 0 && w->depth == w->list;
        if (x == '[' && w->list == 0 && (w->depth == 0 || key_is_data(w))) w->list = w->depth + 1;
        w->depth++;
        if (!found) continue;
        w->at++;
        return true;
    }
    return false;
}

static qk_status visit_items(const json_t *list, walk *w, const char *path, qk_line_visit *visit, void *user,
                             qk_error *err)
{
    qk_status status = QK_OK;
    bool enough = false;
    if (json_array_size(list) == 0)
        return qk_fail(err, QK_E_FORMAT, "%s:1: expected objects, found an empty list", path);
    for (size_t i = 0; !status && !enough && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_object(item))
            return qk_fail(err, QK_E_FORMAT, "%s:%zu: item %zu of the list: expected a JSON object, found %s", path,
                           w->line, i + 1, qk_json_kind(item));
        if (!next_object(w))
            return qk_fail(err, QK_E_CHECK, "%s: item %zu of the list was not found again", path, i + 1);
        status = visit(user, item, (qk_place){ path, w->line }, &enough, err);
    }
    return status;
}

qk_status qk_json_items(const char *path, const qk_map *file, qk_line_visit *visit, void *user, qk_error *err)
{
    size_t start = qk_text_start(file);
    walk w = { .text = (const char *)file->data + start, .n = file->size - start, .line = 1 };
    json_error_t reason;
    qk_status status = qk_text_check(path, file, start, w.n, err);
    if (status) return status;
    json_t *root = json_loadb(w.text, w.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &reason);
    const json_t *list = json_is_array(root) ? root : json_object_get(root, "data");
    if (json_is_array(list)) status = visit_items(list, &w, path, visit, user, err);
    else status = qk_json_lines(path, file, visit, user, err);
    json_decref(root);
    return status;
}
