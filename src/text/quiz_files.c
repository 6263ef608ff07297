/* quiz_files.c - questions from JSONL files. */
#include "text/quiz_set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    if (!json_is_array(list) || n < 2)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"choices\": expected an array of 2 texts or more, found %s",
                       place.path, place.line, json_is_array(list) ? "fewer" : qk_json_kind(list));
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

static qk_status add_question(void *user, const json_t *object, qk_place place, bool *enough, qk_error *err)
{
    qk_quiz_source source = { .place = place };
    const char **choices = NULL;
    char digits[24];
    size_t n_bytes;
    (void)enough; /* a limit counts by category: every line is read, and checked */
    qk_status status = qk_json_member(&source.prompt, &n_bytes, object, "prompt", false, place, err);
    if (!status) status = qk_json_member(&source.answer, &n_bytes, object, "answer", false, place, err);
    if (!status) status = qk_json_member(&source.category, &n_bytes, object, "category", false, place, err);
    if (!status) status = read_kind(&source.contextual, object, place, err);
    if (!status) status = qk_json_id(&source.id, digits, object, place, err);
    if (!status) status = read_choices(&source, &choices, object, err);
    if (!status) status = qk_quiz_set_add(user, &source, err);
    free(choices);
    return status;
}

qk_status qk_quiz_load(qk_quiz *out, const char *const *paths, size_t n_paths, size_t per_category, qk_error *err)
{
    qk_quiz_set set = { .quiz = { .per_category = per_category, .source = "files" } };
    qk_status status = QK_OK;
    for (size_t i = 0; i < n_paths && !status; i++) {
        qk_map file;
        status = qk_map_open(&file, paths[i], err);
        if (status) break;
        status = qk_json_lines(paths[i], &file, add_question, &set, err);
        qk_map_close(&file);
    }
    if (!status) return qk_quiz_set_finish(out, &set, err);
    qk_quiz_set_free(&set);
    return status;
}
