/* world_private.h - the invented world from the inside: its names and facts, and the writer that its text comes from.
 *
 *   world.c            the two ways in, splits            world_words.c   names and word lists
 *   world_relations.c  tables: facts stated and asked     world_writer.c  text from patterns
 *   world_facts.c      sentences about facts              world_prose.c   story, report, dialogue, manual, letter
 *   world_contexts.c   pass keys, lists, counterfacts     world_events.c  sums, order of events, reviews
 *   world_quiz.c       documents that ask                 world_echo.c    documents that say things again
 *
 * Models are trained on this text and their results published: a change that moves one byte of it makes the bundled
 * models unreproducible.  tests/test_world.c holds the hashes. */
#ifndef QK_WORLD_PRIVATE_H
#define QK_WORLD_PRIVATE_H

#include "text/world.h"

/* ---- names and facts */

typedef enum qk_world_entity {
    ENTITY_COUNTRY, ENTITY_CITY, ENTITY_PERSON, ENTITY_INVENTION, ENTITY_RIVER, /* what facts are about */
    ENTITY_SEA, ENTITY_ANIMAL, ENTITY_PRODUCT, ENTITY_TRADE,                    /* what facts only say */
    N_ENTITIES
} qk_world_entity;

typedef enum qk_world_relation {
    RELATION_CAPITAL, RELATION_EMBLEM,                  /* of a country */
    RELATION_COUNTRY, RELATION_RIVER, RELATION_PRODUCT, /* of a city */
    RELATION_TRADE, RELATION_HOME,                      /* of a person */
    RELATION_INVENTOR,                                  /* of an invention */
    RELATION_SEA,                                       /* of a river */
    N_RELATIONS
} qk_world_relation;

enum {
    N_COUNTRIES = 40, N_CITIES = 200, N_PERSONS = 150, N_INVENTIONS = 80, N_RIVERS = 40, N_SEAS = 10,
    N_ANIMALS = 30, N_PRODUCTS = 40, N_TRADES = 40,
    N_FACTS = 2 * N_COUNTRIES + 3 * N_CITIES + 2 * N_PERSONS + N_INVENTIONS + N_RIVERS,
    MOST_OF_A_KIND = N_CITIES,
    N_WORDINGS = 8 /* ways to ask for a fact; for each fact one is kept for validation, one for test */
};

typedef struct qk_world_fact {
    uint16_t relation, subject, object; /* indices into the names of the relation's two kinds */
} qk_world_fact;

/* How a relation is said.  %s the subject, %o the object. */
typedef struct qk_world_manner {
    const char *name; /* as a sheet of facts calls it */
    qk_world_entity subject, object;
    const char *const *statements;
    size_t n_statements;
    const char *questions[N_WORDINGS]; /* none begins with a name */
} qk_world_manner;
extern const qk_world_manner qk_world_manners[N_RELATIONS];

/* Several facts of one subject in one sentence; %a %b %c the objects of `relations`. */
typedef struct qk_world_summary { qk_world_relation relations[3]; size_t n; const char *pattern; } qk_world_summary;
extern const qk_world_summary qk_world_summaries[];
extern const size_t qk_world_n_summaries;

typedef struct qk_world_words { const char *const *items; size_t n; } qk_world_words;
#define WORDS(array) { array, sizeof(array) / sizeof *(array) }
/* The lists that a pattern names by a letter: "@f" is one of the foods.  {NULL, 0} where a letter has none. */
extern const qk_world_words qk_world_lists[26];
extern const qk_world_words qk_world_starts;              /* first syllables of invented names */
/* Last syllables; for kinds that are common nouns all their words. */
extern const qk_world_words qk_world_endings[N_ENTITIES];
extern const qk_world_words qk_world_passing_endings;     /* of names that only one document knows */
extern const qk_world_words qk_world_makes, qk_world_things; /* "glass" "clock": an invention */

struct qk_world {
    uint64_t seed;
    qk_arena arena;
    const char *names[N_ENTITIES][MOST_OF_A_KIND];
    qk_world_fact facts[N_FACTS];
    size_t first_fact[N_RELATIONS + 1]; /* facts of relation r: [first_fact[r], first_fact[r + 1]), by subject */
    const char **passing[3];            /* names that only one document knows, a list for each split */
    size_t n_passing[3];
};

/* Of 8 parts that a hash falls into, one is validation's and one is test's. */
qk_split qk_world_split_of(uint64_t hash);
uint64_t qk_world_hash(uint64_t a, uint64_t b);
/* Fills names and passing; false when out of memory. */
bool qk_world_name(qk_world *world);

/* ---- the writer (world_writer.c) */

typedef struct qk_world_writer {
    const qk_world *world;
    qk_split split;
    qk_rng rng;
    char *text; /* NUL-terminated, the caller's in the end */
    size_t n, capacity;
    bool failed;                     /* out of memory: `text` stays as it was */
    bool whole;                      /* everything that a context can be asked is asked, not a few of it */
    const char *slots[128];          /* what "%x" stands for */
    uint64_t used[(N_FACTS + 63) / 64]; /* facts that the document has stated or asked for */
} qk_world_writer;

size_t qk_world_below(qk_world_writer *writer, size_t n);
bool qk_world_chance(qk_world_writer *writer, unsigned percent);
void qk_world_put(qk_world_writer *writer, const char *text);
/* "%x": slot x; "@x": a word of list x; "%%", "@@": the sign itself. */
void qk_world_pattern(qk_world_writer *writer, const char *pattern);
void qk_world_pattern_of(qk_world_writer *writer, const char *const *patterns, size_t n);
#define PATTERN_OF(writer, array) qk_world_pattern_of(writer, array, sizeof(array) / sizeof *(array))
/* A pattern beside the text, into out[capacity]; cut where it does not fit. */
void qk_world_aside(char *out, size_t capacity, qk_world_writer *writer, const char *pattern);
/* A space, unless a line has just begun. */
void qk_world_space(qk_world_writer *writer);
const char *qk_world_word(qk_world_writer *writer, char list);
/* A word of the list, or for list 0 a passing name, that is none of the n_taken. */
const char *qk_world_other_word(qk_world_writer *writer, char list, const char *const *taken, size_t n_taken);
/* Two words that a document binds together (a key and its value, an event and the next) are of one split only. */
bool qk_world_pair_is_ours(const qk_world_writer *writer, const char *first, const char *second);
/* A name that no other split and no fact knows; none of the n_taken. */
const char *qk_world_passing_name(qk_world_writer *writer, const char *const *taken, size_t n_taken);

/* ---- facts in text (world_facts.c) */

const char *qk_world_subject(const qk_world_writer *writer, const qk_world_fact *fact);
const char *qk_world_object(const qk_world_writer *writer, const qk_world_fact *fact);
/* Said or asked: neither it nor the fact that it gives away may be asked for here. */
void qk_world_mark(qk_world_writer *writer, size_t fact);
bool qk_world_is_marked(const qk_world_writer *writer, size_t fact);
/* A fact that is not marked; after many tries any. */
size_t qk_world_fresh_fact(qk_world_writer *writer);
/* One sentence, behind a space where one is needed, that never begins a line with a name. */
void qk_world_state(qk_world_writer *writer, size_t fact);
/* One sentence of this manner whose object is `object`, true or not. */
void qk_world_state_as(qk_world_writer *writer, const qk_world_fact *fact, const char *object);
/* Marks and states: everything about one subject, in part or whole; n_sentences at most. */
void qk_world_describe(qk_world_writer *writer, qk_world_entity kind, size_t subject, size_t n_sentences);
/* The wordings that the split may ask `fact` in: writes one as slot text into out. */
void qk_world_wording(char *out, size_t capacity, qk_world_writer *writer, size_t fact);
void qk_world_filler(qk_world_writer *writer); /* one sentence that says nothing of use */

/* ---- asking (world_quiz.c) */

typedef struct qk_world_form { const char *before, *between; } qk_world_form;
const qk_world_form *qk_world_choose_form(qk_world_writer *writer); /* sets the speakers too */
/* Up to where the answer begins. */
void qk_world_put_question(qk_world_writer *writer, const qk_world_form *form, const char *question);
void qk_world_put_answer(qk_world_writer *writer, const char *answer);

typedef struct qk_world_asked { char question[200], answer[24]; } qk_world_asked;
enum { MOST_ASKED = 12 };
/* Writes the context; returns how many questions it left in asked[MOST_ASKED], in random order. */
typedef size_t qk_world_context(qk_world_writer *writer, qk_world_asked *asked);
qk_world_context qk_world_sum, qk_world_order, qk_world_sentiment; /* world_events.c */
/* Four digits above every sum, of the writer's split. */
void qk_world_pass_key(char key[8], qk_world_writer *writer);
void qk_world_shuffle(qk_world_asked *asked, size_t n, qk_world_writer *writer);
extern qk_world_context *const qk_world_contexts[QK_N_QUESTION_KINDS]; /* NULL for facts */

/* ---- documents: each adds about `wanted` bytes */

typedef void qk_world_register(qk_world_writer *writer, size_t wanted);
qk_world_register qk_world_write_story, qk_world_write_report, qk_world_write_dialogue, qk_world_write_manual,
    qk_world_write_letter;
qk_world_register qk_world_write_quiz, qk_world_write_lesson, qk_world_write_echoes;
void qk_world_say_once(qk_world_writer *writer); /* one echo */
void qk_world_write_asking(qk_world_writer *writer, qk_question_kind first, size_t wanted);
void qk_world_write_drill(qk_world_writer *writer); /* a few sums, bare */

#endif
