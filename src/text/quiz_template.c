/* quiz_template.c - prompts from rows with named fields. */
#include <stdlib.h>
#include <string.h>

#include "text/quiz_forms.h"

static const char *copy_trimmed(qk_arena *arena, const char *text)
{
    static const char white[] = " \t\r\n\f\v";
    size_t n;
    text += strspn(text, white);
    for (n = strlen(text); n > 0 && strchr(white, text[n - 1]); n--) continue;
    return qk_arena_copy(arena, text, n);
}

const char *qk_quiz_field(const qk_quiz_row *row, const char *name, qk_error *err)
{
    const json_t *value = json_object_get(row->fields, name);
    const char *text = NULL;
    char number[32];
    if (strcmp(name, "choices") == 0 && row->listed) return row->listed;
    if (json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value))
        text = json_string_value(value);
    if (json_is_boolean(value)) text = json_is_true(value) ? "true" : "false";
    if (json_is_number(value)) {
        snprintf(number, sizeof number, "%.15g", json_number_value(value));
        text = number;
    }
    if (!text) {
        qk_fail(err, QK_E_FORMAT, "%s:%zu: %s \"%.40s\": expected text, found %s", row->place.path, row->place.line,
                row->csv ? "column" : "key", name, qk_json_kind(value));
        return NULL;
    }
    text = copy_trimmed(row->arena, text);
    if (!text) qk_out_of_memory(err, "a field", 0);
    return text;
}

/* "{name}" at `at`: writes the field, returns the byte behind it; NULL with the error. */
static const char *put_field(FILE *stream, const qk_quiz_row *row, const char *at, qk_error *err)
{
    char name[64];
    size_t n = strcspn(at + 1, "{}");
    if (at[1 + n] != '}' || n == 0 || n >= sizeof name) {
        qk_fail(err, QK_E_ARGUMENT, "--template: expected {name}, or {{ for a brace, found '%.20s'", at);
        return NULL;
    }
    memcpy(name, at + 1, n);
    name[n] = '\0';
    const char *text = qk_quiz_field(row, name, err);
    if (!text) {
        qk_prefix(err, err->status, "template");
        return NULL;
    }
    fputs(text, stream);
    return at + n + 2;
}

/* What stands at `at`, into the stream; returns the byte behind it. */
static const char *put_next(FILE *stream, const qk_quiz_row *row, const char *at, qk_error *err)
{
    static const char escapes[][2] = { { 'n', '\n' }, { 't', '\t' }, { '\\', '\\' } };
    for (size_t i = 0; *at == '\\' && i < sizeof escapes / sizeof *escapes; i++)
        if (at[1] == escapes[i][0]) {
            fputc(escapes[i][1], stream);
            return at + 2;
        }
    if ((*at == '{' || *at == '}') && at[1] == *at) {
        fputc(*at, stream);
        return at + 2;
    }
    if (*at == '{') return put_field(stream, row, at, err);
    if (*at == '}') {
        qk_fail(err, QK_E_ARGUMENT, "--template: expected }} for a brace, found '%.20s'", at);
        return NULL;
    }
    fputc(*at, stream);
    return at + 1;
}

qk_status qk_quiz_render(const char **out, const qk_quiz_row *row, qk_error *err)
{
    char *text = NULL;
    size_t n_bytes = 0;
    qk_status status = QK_OK;
    FILE *stream = open_memstream(&text, &n_bytes);
    if (!stream) return qk_out_of_memory(err, "a prompt", 0);
    for (const char *at = row->template; at && *at;) {
        at = put_next(stream, row, at, err);
        if (!at) status = err->status;
    }
    if (fclose(stream) != 0 && !status) status = qk_out_of_memory(err, "a prompt", n_bytes);
    if (!status && !(*out = qk_arena_copy(row->arena, text, n_bytes)))
        status = qk_out_of_memory(err, "a prompt", n_bytes);
    free(text);
    return status;
}
