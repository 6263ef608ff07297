/* quiz_forms.c - what a row of each form asks, and what its answer is. */
#include "text/quiz_forms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static qk_status refuse(const qk_quiz_row *row, const char *key, const char *expected, const char *found, qk_error *err)
{
    return qk_fail(err, QK_E_FORMAT, "%s:%zu: %s \"%s\": expected %s, found \"%.40s\"", row->place.path,
                   row->place.line, row->csv ? "column" : "key", key, expected, found);
}

/* ---- one of two */

typedef struct two_words {
    const char *answers[2];       /* what the model is to say of 0 and 1 */
    const char *spelt[2][4];      /* how a file says it */
    const char *expected;
} two_words;

static const two_words yes_no = {
    { "No", "Yes" }, { { "0", "false", "no", NULL }, { "1", "true", "yes", NULL } }, "0, 1, true or false",
};
static const two_words sentiment = {
    { "Negative", "Positive" }, { { "0", "neg", "negative", NULL }, { "1", "pos", "positive", NULL } },
    "0, 1, neg or pos",
};

static qk_status answer_of_two(qk_quiz_source *out, const qk_quiz_row *row, const char *key, const two_words *words,
                               qk_error *err)
{
    const char *text = qk_quiz_field(row, key, err);
    if (!text) return err->status;
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; words->spelt[side][i]; i++)
            if (strcasecmp(text, words->spelt[side][i]) == 0) out->answer = words->answers[side];
    if (!out->answer) return refuse(row, key, words->expected, text, err);
    out->choices = words->answers;
    out->n_choices = 2;
    return QK_OK;
}

static qk_status answer_statement(qk_quiz_source *out, qk_quiz_row *row, qk_error *err)
{
    return answer_of_two(out, row, "label", &yes_no, err);
}
static qk_status answer_yes_no(qk_quiz_source *out, qk_quiz_row *row, qk_error *err)
{
    return answer_of_two(out, row, "answer", &yes_no, err);
}
static qk_status answer_review(qk_quiz_source *out, qk_quiz_row *row, qk_error *err)
{
    return answer_of_two(out, row, "label", &sentiment, err);
}

/* ---- text */

static qk_status answer_text(qk_quiz_source *out, qk_quiz_row *row, qk_error *err)
{
    out->answer = qk_quiz_field(row, "answer", err);
    return out->answer ? QK_OK : err->status;
}

/* The number behind "####", without its commas. */
static qk_status answer_number(qk_quiz_source *out, qk_quiz_row *row, qk_error *err)
{
    const char *text = qk_quiz_field(row, "answer", err);
    if (!text) return err->status;
    const char *mark = strstr(text, "####");
    char *number = mark ? qk_arena_copy(row->arena, mark + 4, strlen(mark + 4)) : NULL;
    if (mark && !number) return qk_out_of_memory(err, "an answer", strlen(mark));
    size_t n = 0;
    for (const char *p = number; p && *p; p++)
        if (*p != ',' && *p != ' ') number[n++] = *p;
    if (number) number[n] = '\0';
    size_t n_digits = number ? strspn(number + (*number == '-'), "0123456789") : 0;
    if (n_digits == 0 || number[(*number == '-') + n_digits])
        return refuse(row, "answer", "#### and an integer at its end", mark ? mark : text, err);
    out->answer = number;
    return QK_OK;
}

/* ---- choices */

enum { MOST_CHOICES = 26 /* as many as there are letters */ };
static const char *const letters[MOST_CHOICES] = { "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M",
                                                   "N", "O", "P", "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z" };

/* The text of choice i without a letter of its own before it ("B) ", "B. ", "B: "). */
static const char *without_letter(const char *text, size_t i)
{
    if (text[0] != letters[i][0] || !text[1] || !strchr(").:", text[1])) return text;
    return text + 2 + strspn(text + 2, " ");
}

/* texts[*n] of a member that lists choices. */
static qk_status read_texts(const char **texts, size_t *n, const qk_quiz_row *row, const char *key, qk_error *err)
{
    const json_t *list = json_object_get(row->fields, key);
    char count[32];
    *n = json_array_size(list);
    snprintf(count, sizeof count, "%zu", *n);
    if (!json_is_array(list) || *n < 2 || *n > MOST_CHOICES)
        return refuse(row, key, "2 to 26 texts", json_is_array(list) ? count : qk_json_kind(list), err);
    for (size_t i = 0; i < *n; i++) {
        const json_t *item = json_array_get(list, i);
        const char *text = json_string_value(item);
        if (!text || strlen(text) != json_string_length(item))
            return refuse(row, key, "texts without NUL", text ? text : qk_json_kind(item), err);
        texts[i] = without_letter(text, i);
    }
    return QK_OK;
}

/* "A) ...\nB) ...", for a prompt. */
static qk_status list_choices(qk_quiz_row *row, const char *const *texts, size_t n, qk_error *err)
{
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&text, &n_bytes);
    if (!stream) return qk_out_of_memory(err, "choices", 0);
    for (size_t i = 0; i < n; i++) fprintf(stream, "%s%s) %s", i ? "\n" : "", letters[i], texts[i]);
    bool failed = fclose(stream) != 0;
    row->listed = failed ? NULL : qk_arena_copy(row->arena, text, n_bytes);
    free(text);
    return row->listed ? QK_OK : qk_out_of_memory(err, "choices", n_bytes);
}

/* Which choice `key` names: its text, its letter, or its number from 0; n where it is none of these. */
static size_t find_choice(const qk_quiz_row *row, const char *key, const char *const *texts, size_t n)
{
    const json_t *value = json_object_get(row->fields, key);
    const char *text = json_string_value(value);
    if (json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) < (json_int_t)n)
        return (size_t)json_integer_value(value);
    for (size_t i = 0; text && i < n; i++)
        if (strcmp(text, texts[i]) == 0) return i;
    for (size_t i = 0; text && i < n; i++)
        if (strcmp(text, letters[i]) == 0) return i;
    return n;
}

/* Where the prompt lists the choices, letters are asked for; else the texts themselves. */
static qk_status answer_choice(qk_quiz_source *out, qk_quiz_row *row, const char *list_key, const char *key,
                               qk_error *err)
{
    const char *texts[MOST_CHOICES], **kept;
    size_t n;
    qk_status status = read_texts(texts, &n, row, list_key, err);
    if (status) return status;
    size_t answer = find_choice(row, key, texts, n);
    if (answer == n) {
        const char *found = qk_quiz_field(row, key, err);
        if (!found) return err->status;
        return refuse(row, key, "one of the choices, its letter or its number from 0", found, err);
    }
    kept = qk_arena_alloc(row->arena, n * sizeof *kept);
    if (!kept) return qk_out_of_memory(err, "choices", n);
    bool by_letter = strstr(row->template, "{choices}") != NULL;
    for (size_t i = 0; i < n; i++) {
        kept[i] = by_letter ? letters[i] : texts[i];
        for (size_t k = 0; k < i; k++)
            if (strcmp(kept[i], kept[k]) == 0) return refuse(row, list_key, "different texts", kept[i], err);
    }
    out->choices = kept;
    out->n_choices = n;
    out->answer = kept[answer];
    return by_letter ? list_choices(row, texts, n, err) : QK_OK;
}

static qk_status answer_choices(qk_quiz_source *out, qk_quiz_row *row, qk_error *err)
{
    return answer_choice(out, row, "choices", "answer", err);
}
static qk_status answer_aqua(qk_quiz_source *out, qk_quiz_row *row, qk_error *err)
{
    return answer_choice(out, row, "options", "correct", err);
}

/* ---- the forms, the more particular ones first */

static bool has_mark(const json_t *fields)
{
    const char *text = json_string_value(json_object_get(fields, "answer"));
    return text && strstr(text, "####");
}
static bool is_boolean(const json_t *fields) { return json_is_boolean(json_object_get(fields, "answer")); }

static const qk_quiz_form forms[] = {
    { "statements", { "statement", "label" }, NULL, answer_statement,
      "Is this statement true? Answer Yes or No.\n\nStatement: {statement}\nAnswer:", false, QK_SCORE_CHOICE },
    { "aqua", { "question", "options", "correct" }, NULL, answer_aqua, "Question: {question}\n{choices}\nAnswer:", true,
      QK_SCORE_CHOICE },
    { "choices", { "question", "choices", "answer" }, NULL, answer_choices,
      "Question: {question}\n{choices}\nAnswer:", false, QK_SCORE_CHOICE },
    { "yes-no", { "question", "answer" }, is_boolean, answer_yes_no,
      "Answer Yes or No.\n\nQuestion: {question}\nAnswer:", false, QK_SCORE_CHOICE },
    { "gsm8k", { "question", "answer" }, has_mark, answer_number, "Question: {question}\nAnswer:", true,
      QK_SCORE_INTEGER },
    { "question", { "question", "answer" }, NULL, answer_text, "Question: {question}\nAnswer:", false, QK_SCORE_EXACT },
    { "imdb", { "text", "label" }, NULL, answer_review,
      "Is this review of a film Positive or Negative?\n\nReview: {text}\n\nSentiment:", true, QK_SCORE_CHOICE },
};

const qk_quiz_form *qk_quiz_form_of(const json_t *fields)
{
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        bool fits = true;
        for (size_t k = 0; k < 3 && forms[f].keys[k]; k++) fits = fits && json_object_get(fields, forms[f].keys[k]);
        if (fits && (!forms[f].suits || forms[f].suits(fields))) return &forms[f];
    }
    return NULL;
}

const qk_quiz_form *qk_quiz_form_named(const char *name)
{
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
        if (strcmp(forms[f].name, name) == 0) return &forms[f];
    return NULL;
}

const char *qk_quiz_keys(char *out, size_t size, const json_t *fields)
{
    json_t *object = (json_t *)(uintptr_t)fields; /* jansson's iterators take no const */
    size_t n = 0;
    snprintf(out, size, "none");
    for (void *i = json_object_iter(object); i && n < size; i = json_object_iter_next(object, i))
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", json_object_iter_key(i));
    return out;
}

qk_status qk_quiz_form_fill(qk_quiz_source *out, const qk_quiz_form *form, qk_quiz_row *row, qk_error *err)
{
    char found[128];
    for (size_t k = 0; k < 3 && form->keys[k]; k++)
        if (!json_object_get(row->fields, form->keys[k]))
            return qk_fail(err, QK_E_FORMAT, "%s:%zu: format %s: expected the %s \"%s\", found %s", row->place.path,
                           row->csv ? 1 : row->place.line, form->name, row->csv ? "column" : "key", form->keys[k],
                           qk_quiz_keys(found, sizeof found, row->fields));
    if (!row->template) row->template = form->template;
    qk_status status = form->answer(out, row, err);
    if (!status) status = qk_quiz_render(&out->prompt, row, err);
    out->chance = out->n_choices ? 1 / (double)out->n_choices : NAN;
    return status;
}
