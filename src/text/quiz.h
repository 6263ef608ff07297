/* quiz.h - questions with known answers, as a model is asked them: prompt + " " + answer. */
#ifndef QK_QUIZ_H
#define QK_QUIZ_H

#include "base/base.h"
#include "text/world.h"

enum {
    QK_QUIZ_CATEGORIES = 256,   /* at most; every result table has a row for each */
    QK_QUIZ_GENERATED = 100000, /* questions of a category at most where they are made up: all are kept in memory */
    QK_QUIZ_TEXTS = 1024        /* choices, or expected texts, of a question at most */
};

/* How an answer is judged (docs/METHODS.md, "Scoring"). */
typedef enum qk_scoring {
    QK_SCORE_EXACT,  /* the answer to the letter: each of its tokens is the likeliest, given the true ones before it */
    QK_SCORE_CHOICE, /* among the choices the answer has the greatest log-probability, summed over its tokens */
    /* On text that the model writes by itself (greedy) behind the prompt: */
    QK_SCORE_GENERATED, /* it is the answer to the letter, but for white space around it */
    QK_SCORE_INTEGER,   /* the first integer in it is the answer's */
    QK_SCORE_CONTAINS,  /* all of `expected` are in it; with choices: the first choice in it is the answer */
    QK_N_SCORINGS
} qk_scoring;
const char *qk_scoring_name(qk_scoring scoring); /* "exact", "choice", "generated", "first-integer", "contains" */
static inline bool qk_is_generated(qk_scoring scoring) { return scoring >= QK_SCORE_GENERATED; }

/* Texts live as long as the quiz; valid UTF-8 without white space at the end of the prompt and around the answer. */
typedef struct qk_quiz_item {
    const char *id;        /* unique in its quiz: as given, or file name#line; the world's: test-fact-12 */
    const char *prompt, *answer;
    const char *const *choices; /* [n_choices] different texts, the answer among them; n_choices 0: none were told */
    size_t n_choices, choice;   /* which of them is the answer */
    const char *const *expected;/* [n_expected] texts that a written answer must contain, all of them; n_expected 0:
                                 * the answer is the one expected */
    size_t n_expected;
    size_t max_new;        /* tokens to write at most; 0 = as many as the answer lets expect (docs/METHODS.md) */
    bool goes_on;          /* what is written does not stop at the end of a line */
    const char *path;      /* of the file it came from, or "world", ...; messages name it with the line */
    size_t line;
    size_t category;       /* index into categories */
    double chance;         /* of the right answer by guessing among the choices; NaN where there are none */
    char sha256[65];       /* of the prompt */
} qk_quiz_item;

typedef struct qk_quiz_category {
    const char *name;
    bool contextual;       /* answered from the prompt alone; else parametric: from what the model knows */
    bool retrieval;        /* the answer is a key that stands in the prompt: errors are told apart (qk_key_error) */
    qk_scoring scoring;
} qk_quiz_category;

typedef struct qk_quiz {
    qk_quiz_item *items;   /* [n] in the order given */
    size_t n;
    qk_quiz_category categories[QK_QUIZ_CATEGORIES]; /* [n_categories] in the order in which they first appear */
    size_t n_categories;
    size_t per_category;   /* the limit that was asked for, 0 = none */
    size_t n_repeated;     /* items whose prompt and answer another one has too */
    const char *source;    /* "files", "world" or "probes"; static */
    const char *template;  /* that prompts were made by, as given; NULL = the form's own, or whole prompts */
    const char *part;      /* of the world: "train", "validation", "test"; static; NULL for files */
    uint64_t seed;         /* of the world, of the probes */
    char sha256[65];       /* of everything in it but the ids */
    qk_arena arena;
} qk_quiz; /* {0} is an empty one */

/* JSONL: one object a line with "prompt", "answer", "category", "kind" ("parametric" or "contextual"), and optional
 * "id" and "choices" (an array of different texts, the answer among them: one in so many is right by chance); other
 * keys are ignored.  At most `per_category` questions of each category are kept, the first ones; 0 = all.  Refused with
 * file and line: what documents are refused for, a missing key, an empty text, white space where prompt and answer
 * meet or behind the answer, an unknown kind, a category of two kinds, a duplicate id. */
qk_status qk_quiz_load(qk_quiz *out, const char *const *paths, size_t n_paths, size_t per_category, qk_error *err);

typedef enum qk_quiz_kind { QK_KIND_AS_FILE, QK_KIND_PARAMETRIC, QK_KIND_CONTEXTUAL } qk_quiz_kind;

/* How files of questions are read; {0} is as qk_quiz_load does, but for the forms of others, which are known by their
 * keys or columns (docs/FORMATS.md, "Questions"). */
typedef struct qk_quiz_reading {
    const char *format;    /* "prompt" (our own), "statements", "yes-no", "choices", "aqua", "gsm8k", "question",
                            * "imdb"; NULL = by the first row of each file */
    const char *template;  /* what prompts are made by, with {fields} of a row; NULL = the form's */
    const char *category;  /* of all questions; NULL = the row's, else the file's name without its ending */
    qk_quiz_kind kind;     /* AS_FILE: the row's, else the form's */
    size_t per_category;   /* 0 = all */
} qk_quiz_reading;
/* .csv: a row a record; .json: one document, a list of objects or one under "data", or lines; else JSONL. */
qk_status qk_quiz_read(qk_quiz *out, const char *const *paths, size_t n_paths, const qk_quiz_reading *how,
                       qk_error *err);
/* Questions 0 to per_category - 1 of each kind k with bit 1 << k in `kinds` (0 = all) in one split of the world. */
qk_status qk_quiz_world(qk_quiz *out, uint64_t seed, qk_split split, unsigned kinds, size_t per_category,
                        qk_error *err);
/* Every category is judged this way; refused, by file and line, where a question has not what that takes: choices,
 * an integer. */
qk_status qk_quiz_score(qk_quiz *quiz, qk_scoring scoring, qk_error *err);
void qk_quiz_free(qk_quiz *quiz);

#endif
