/* quiz_judging.c - what a question of our own form may say about how it is judged. */
#include <string.h>

#include "text/quiz_forms.h"

static qk_status found(const char *key, const char *expected, const json_t *value, qk_place place, qk_error *err)
{
    return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"%s\": expected %s, found %s", place.path, place.line, key, expected,
                   qk_json_kind(value));
}

static const json_t *told(const json_t *fields, const char *key)
{
    const json_t *value = json_object_get(fields, key);
    return json_is_null(value) ? NULL : value;
}

static qk_status read_scoring(qk_scoring *out, const json_t *fields, qk_place place, qk_error *err)
{
    const char *name;
    size_t n_bytes;
    qk_status status = qk_json_member(&name, &n_bytes, fields, "scoring", true, place, err);
    if (status || !name) return status;
    for (int s = 0; s < QK_N_SCORINGS; s++)
        if (strcmp(name, qk_scoring_name((qk_scoring)s)) == 0) {
            *out = (qk_scoring)s;
            return QK_OK;
        }
    return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"scoring\": expected exact, choice, generated, first-integer or "
                   "contains, found \"%.40s\"", place.path, place.line, name);
}

static qk_status read_expected(qk_quiz_source *source, const json_t *fields, qk_arena *arena, qk_error *err)
{
    const json_t *list = told(fields, "expected");
    size_t n = json_array_size(list);
    if (!list) return QK_OK;
    if (n == 0) return found("expected", "an array of texts", list, source->place, err);
    if (n > QK_QUIZ_TEXTS)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"expected\": expected at most %d texts, found %zu",
                       source->place.path, source->place.line, QK_QUIZ_TEXTS, n);
    const char **texts = qk_arena_alloc(arena, n * sizeof *texts);
    if (!texts) return qk_out_of_memory(err, "expected texts", n * sizeof *texts);
    for (size_t i = 0; i < n; i++) {
        texts[i] = json_string_value(json_array_get(list, i));
        if (!texts[i] || !*texts[i] || strlen(texts[i]) != json_string_length(json_array_get(list, i)))
            return found("expected", "texts that are not empty and have no NUL", json_array_get(list, i), source->place,
                         err);
    }
    source->expected = texts;
    source->n_expected = n;
    return QK_OK;
}

static qk_status read_flag(bool *out, const char *key, const json_t *fields, qk_place place, qk_error *err)
{
    const json_t *value = told(fields, key);
    if (value && !json_is_boolean(value)) return found(key, "true or false", value, place, err);
    if (value) *out = json_is_true(value);
    return QK_OK;
}

qk_status qk_quiz_read_judging(qk_quiz_source *source, const json_t *fields, qk_arena *arena, qk_error *err)
{
    enum { MOST_NEW = 1 << 20 };
    const json_t *most = told(fields, "max_new_tokens");
    qk_place place = source->place;
    qk_status status = read_scoring(&source->scoring, fields, place, err);
    if (!status) status = read_expected(source, fields, arena, err);
    if (!status) status = read_flag(&source->retrieval, "retrieval", fields, place, err);
    if (!status) status = read_flag(&source->goes_on, "over_lines", fields, place, err);
    if (status || !most) return status;
    if (!json_is_integer(most) || json_integer_value(most) < 1 || json_integer_value(most) > MOST_NEW)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"max_new_tokens\": expected a number from 1 to %d, found %s",
                       place.path, place.line, MOST_NEW, json_is_integer(most) ? "another one" : qk_json_kind(most));
    source->max_new = (size_t)json_integer_value(most);
    return QK_OK;
}
