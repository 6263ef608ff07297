/* quiz_files.c - questions from files: our own JSONL, and the forms of others. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/quiz_forms.h"
#include "text/quiz_rows.h"

static qk_status read_kind(bool *contextual, const json_t *object, qk_place place, qk_error *err)
{
    const char *kind;
    size_t n_bytes;
    qk_status status = qk_json_member(&kind, &n_bytes, object, "kind", false, place, err);
    if (status) return status;
    *contextual = strcmp(kind, "contextual") == 0;
    if (*contextual || strcmp(kind, "parametric") == 0) return QK_OK;
    return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"kind\": expected \"parametric\" or \"contextual\", found \"%.40s\"",
                   place.path, place.line, kind);
}

/* One of so many is right by chance, where they are told: *choices is malloc'ed, its texts are the object's. */
static qk_status read_choices(qk_quiz_source *source, const char ***choices, const json_t *object, qk_error *err)
{
    qk_place place = source->place;
    const json_t *list = json_object_get(object, "choices");
    size_t n = json_array_size(list), n_right = 0;
    source->chance = NAN;
    if (!list || json_is_null(list)) return QK_OK;
    if (!json_is_array(list) || n < 2 || n > QK_QUIZ_TEXTS)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"choices\": expected an array of 2 to %d texts, found %s",
                       place.path, place.line, QK_QUIZ_TEXTS,
                       !json_is_array(list) ? qk_json_kind(list) : n < 2 ? "fewer" : "more");
    qk_status status = qk_new_array(choices, n, sizeof **choices, "choices", err);
    for (size_t i = 0; i < n && !status; i++) {
        const json_t *choice = json_array_get(list, i);
        if (!json_is_string(choice))
            return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"choices\": expected texts, found %s", place.path,
                           place.line, qk_json_kind(choice));
        (*choices)[i] = json_string_value(choice);
        if (strlen((*choices)[i]) != json_string_length(choice))
            return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"choices\": a NUL character", place.path, place.line);
        n_right += strcmp((*choices)[i], source->answer) == 0;
        for (size_t k = 0; k < i; k++)
            if (strcmp((*choices)[i], (*choices)[k]) == 0)
                return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"choices\": expected different texts, found \"%.40s\" "
                               "twice", place.path, place.line, (*choices)[i]);
    }
    if (!status && n_right == 0)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"choices\": expected the answer \"%.40s\" among them, found it "
                       "not", place.path, place.line, source->answer);
    source->choices = *choices;
    source->n_choices = n;
    source->chance = 1 / (double)n;
    return status;
}

/* ---- rows of any form */

typedef struct reader {
    qk_quiz_set *set;
    const qk_quiz_reading *how;
    const qk_quiz_form *form;   /* of the file; NULL: our own, or not known yet */
    bool own, csv, whole;       /* whole: one JSON document, whose questions are counted */
    size_t n_rows;              /* of the file so far */
} reader;

static bool has(const json_t *fields, const char *key) { return json_object_get(fields, key) != NULL; }

/* The first row decides for its file. */
static qk_status choose_form(reader *r, const json_t *fields, qk_place place, qk_error *err)
{
    bool named = r->how->format != NULL;
    r->own = named ? strcmp(r->how->format, "prompt") == 0 : has(fields, "prompt");
    r->form = r->own ? NULL : named ? qk_quiz_form_named(r->how->format) : qk_quiz_form_of(fields);
    if (r->own || r->form) return QK_OK;
    char found[128];
    return qk_fail(err, QK_E_FORMAT, "%s:%zu: expected the %s of a form of questions (prompt, answer, category, kind; "
                   "statement, label; question, answer; question, choices, answer; question, options, correct; text, "
                   "label), found %s", place.path, r->csv ? 1 : place.line, r->csv ? "columns" : "keys",
                   qk_quiz_keys(found, sizeof found, fields));
}

static qk_status fill_own(qk_quiz_source *source, const char ***choices, qk_quiz_row *row, const reader *r,
                          qk_error *err)
{
    size_t n_bytes;
    qk_status status = qk_json_member(&source->prompt, &n_bytes, row->fields, "prompt", false, row->place, err);
    if (!status) status = qk_json_member(&source->answer, &n_bytes, row->fields, "answer", false, row->place, err);
    if (!status && r->how->kind == QK_KIND_AS_FILE)
        status = read_kind(&source->contextual, row->fields, row->place, err);
    if (!status) status = read_choices(source, choices, row->fields, err);
    if (!status) status = qk_quiz_read_judging(source, row->fields, row->arena, err);
    if (!status && row->template) status = qk_quiz_render(&source->prompt, row, err);
    return status;
}

static qk_status fill_form(qk_quiz_source *source, qk_quiz_row *row, const reader *r, qk_error *err)
{
    source->contextual = r->form->contextual;
    source->scoring = r->form->scoring;
    qk_status status = qk_quiz_form_fill(source, r->form, row, err);
    if (!status && has(row->fields, "kind") && r->how->kind == QK_KIND_AS_FILE)
        status = read_kind(&source->contextual, row->fields, row->place, err);
    return status;
}

/* --category, what the row says, or the file's name without its ending. */
static qk_status name_category(qk_quiz_source *source, qk_quiz_row *row, const reader *r, qk_error *err)
{
    size_t n_bytes;
    source->category = r->how->category;
    if (source->category) return QK_OK;
    bool told = r->own || has(row->fields, "category");
    if (told) return qk_json_member(&source->category, &n_bytes, row->fields, "category", false, row->place, err);
    const char *name = qk_file_name(row->place.path), *dot = strrchr(name, '.');
    source->category = qk_arena_copy(row->arena, name, dot ? (size_t)(dot - name) : strlen(name));
    return source->category ? QK_OK : qk_out_of_memory(err, "a category", strlen(name));
}

static qk_status add_question(void *user, const json_t *fields, qk_place place, bool *enough, qk_error *err)
{
    reader *r = user;
    qk_arena arena = { 0 };
    qk_quiz_row row = { .fields = fields, .place = place, .csv = r->csv, .template = r->how->template,
                        .arena = &arena };
    qk_quiz_source source = { .place = place };
    const char **choices = NULL;
    char digits[24], counted[320];
    (void)enough; /* a limit counts by category: every line is read, and checked */
    qk_status status = r->n_rows++ ? QK_OK : choose_form(r, fields, place, err);
    if (!status) status = r->own ? fill_own(&source, &choices, &row, r, err) : fill_form(&source, &row, r, err);
    if (!status) status = name_category(&source, &row, r, err);
    if (!status) status = qk_json_id(&source.id, digits, fields, place, err);
    if (r->how->kind != QK_KIND_AS_FILE) source.contextual = r->how->kind == QK_KIND_CONTEXTUAL;
    if (!source.id && r->whole) {
        snprintf(counted, sizeof counted, "%.255s#%zu", qk_file_name(place.path), r->n_rows);
        source.id = counted;
    }
    if (!status) status = qk_quiz_set_add(r->set, &source, err);
    free(choices);
    qk_arena_free(&arena);
    return status;
}

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), n_ending = strlen(ending);
    return n > n_ending && strcmp(path + n - n_ending, ending) == 0;
}

static qk_status read_file(reader *r, const char *path, qk_error *err)
{
    qk_map file;
    qk_status status = qk_map_open(&file, path, err);
    if (status) return status;
    r->csv = ends_with(path, ".csv");
    r->whole = ends_with(path, ".json");
    r->n_rows = 0;
    if (r->csv) status = qk_csv_rows(path, &file, add_question, r, err);
    else if (r->whole) status = qk_json_items(path, &file, add_question, r, err);
    else status = qk_json_lines(path, &file, add_question, r, err);
    qk_map_close(&file);
    return status;
}

static qk_status check_reading(const qk_quiz_reading *how, qk_error *err)
{
    static const char white[] = " \t\n\r";
    size_t n = how->template ? strlen(how->template) : 1;
    bool white_end = n == 0 || (how->template && strchr(white, how->template[n - 1])) ||
                     (n >= 2 && how->template && how->template[n - 2] == '\\' && strchr("nt", how->template[n - 1]));
    if (how->format && strcmp(how->format, "prompt") != 0 && !qk_quiz_form_named(how->format))
        return qk_fail(err, QK_E_ARGUMENT, "format: expected the name of a form of questions, found %s", how->format);
    if (white_end)
        return qk_fail(err, QK_E_ARGUMENT, "--template: expected text that ends without white space (a space is put "
                       "behind it), found '%.40s'", how->template);
    return QK_OK;
}

qk_status qk_quiz_read(qk_quiz *out, const char *const *paths, size_t n_paths, const qk_quiz_reading *how,
                       qk_error *err)
{
    qk_quiz_set set = { .quiz = { .per_category = how->per_category, .source = "files" } };
    reader r = { .set = &set, .how = how };
    qk_status status = check_reading(how, err);
    if (!status && how->template) {
        set.quiz.template = qk_arena_copy(&set.quiz.arena, how->template, strlen(how->template));
        if (!set.quiz.template) status = qk_out_of_memory(err, "a template", strlen(how->template));
    }
    for (size_t i = 0; i < n_paths && !status; i++) status = read_file(&r, paths[i], err);
    if (!status) return qk_quiz_set_finish(out, &set, err);
    qk_quiz_set_free(&set);
    return status;
}

qk_status qk_quiz_load(qk_quiz *out, const char *const *paths, size_t n_paths, size_t per_category, qk_error *err)
{
    return qk_quiz_read(out, paths, n_paths, &(qk_quiz_reading){ .per_category = per_category }, err);
}
