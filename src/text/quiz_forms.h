/* quiz_forms.h - forms of question files that others have written; private to src/text. */
#ifndef QK_QUIZ_FORMS_H
#define QK_QUIZ_FORMS_H

#include "text/quiz_set.h"

/* A row on its way to a question; texts are the row's or the arena's. */
typedef struct qk_quiz_row {
    const json_t *fields;
    qk_place place;
    bool csv;               /* its fields are columns */
    const char *template;   /* what the prompt is made by */
    const char *listed;     /* {choices}: "A) ...\nB) ..."; NULL where the form lists none */
    qk_arena *arena;
} qk_quiz_row;

typedef struct qk_quiz_form {
    const char *name;       /* of --format */
    const char *keys[3];    /* up to a NULL: what a row must have */
    bool (*suits)(const json_t *fields); /* what the values of the keys must be to recognise it; NULL: anything */
    qk_status (*answer)(qk_quiz_source *out, qk_quiz_row *row, qk_error *err); /* answer and choices */
    const char *template;
    bool contextual;
    qk_scoring scoring;
} qk_quiz_form;

/* "question, answer": the keys of a row, cut to `size` bytes, for messages; "none" where it has none.  Gives `out`. */
const char *qk_quiz_keys(char *out, size_t size, const json_t *fields);
/* The form of a row by its keys; NULL where none fits. */
const qk_quiz_form *qk_quiz_form_of(const json_t *fields);
const qk_quiz_form *qk_quiz_form_named(const char *name);
/* Everything of the question but id, kind, category and scoring, which belong to the file. */
qk_status qk_quiz_form_fill(qk_quiz_source *out, const qk_quiz_form *form, qk_quiz_row *row, qk_error *err);

/* quiz_template.c: "{name}" is the field of that name without white space around it, "{{" and "}}" are braces, \n, \t
 * and \\ what they are in C.  *out is the arena's.  Refused: a name that the row has not, a lone brace. */
qk_status qk_quiz_render(const char **out, const qk_quiz_row *row, qk_error *err);
/* Text of a field: a string without white space around it, a number, true or false; NULL where it is none of these. */
const char *qk_quiz_field(const qk_quiz_row *row, const char *name, qk_error *err);

/* quiz_judging.c: of our own form, the optional "scoring", "expected" (into the arena), "retrieval", "max_new_tokens" and
 * "over_lines". */
qk_status qk_quiz_read_judging(qk_quiz_source *source, const json_t *fields, qk_arena *arena, qk_error *err);

#endif
