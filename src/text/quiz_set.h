/* quiz_set.h - a quiz while it grows; private to src/text. */
#ifndef QK_QUIZ_SET_H
#define QK_QUIZ_SET_H

#include "text/lines.h"
#include "text/quiz.h"

typedef struct qk_quiz_set {
    qk_quiz quiz;
    size_t capacity, place_capacity;
    qk_place *places;                       /* [capacity] beside quiz.items */
    size_t n_of[QK_QUIZ_CATEGORIES];        /* questions of each category so far */
} qk_quiz_set; /* {0} is an empty one */

/* What a question is made of; all borrowed, `id` NULL where not told. */
typedef struct qk_quiz_source {
    const char *id, *prompt, *answer, *category;
    const char *const *choices; /* [n_choices] the answer among them */
    size_t n_choices;
    const char *const *expected; /* [n_expected] judged by contains: texts that must all be there; none: the answer */
    size_t n_expected;
    size_t max_new;             /* judged on written text: tokens at most; 0 = from the length of the answer */
    bool goes_on;               /* over line ends, until max_new */
    bool contextual;
    bool retrieval;             /* the answer is a key from the prompt */
    qk_scoring scoring;
    double chance;
    qk_place place;
} qk_quiz_source;

/* Checks and copies; one beyond the limit of its category is checked and left out. */
qk_status qk_quiz_set_add(qk_quiz_set *set, const qk_quiz_source *source, qk_error *err);
/* Refuses an empty set and a duplicate id, hashes and hands it over; `set` is empty afterwards in any case. */
qk_status qk_quiz_set_finish(qk_quiz *out, qk_quiz_set *set, qk_error *err);
void qk_quiz_set_free(qk_quiz_set *set);
/* Refuses more than QK_QUIZ_GENERATED questions of each category. */
qk_status qk_quiz_check_limit(size_t per_category, qk_error *err);

#endif
