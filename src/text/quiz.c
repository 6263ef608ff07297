/* quiz.c - question sets: what is kept of each question, and what a set must be. */
#include "text/quiz_set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/judge.h"
#include "text/tokenizer.h"

static bool white_end(const char *text, size_t n_bytes)
{
    uint32_t c;
    const char *last = text + n_bytes - 1;
    while (last > text && ((unsigned char)*last & 0xC0) == 0x80) last--;
    qk_utf8_decode(&c, (const uint8_t *)last);
    return qk_is_white_space(c);
}

static bool white_start(const char *text)
{
    uint32_t c;
    qk_utf8_decode(&c, (const uint8_t *)text);
    return qk_is_white_space(c);
}

/* Exactly one space stands between prompt and answer: more of it would be other tokens. */
static qk_status check_source(const qk_quiz_source *source, qk_error *err)
{
    const struct { const char *key, *text; bool edge; } texts[] = {
        { "prompt", source->prompt, false }, { "answer", source->answer, true }, { "category", source->category, true },
    };
    qk_place place = source->place;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t n = strlen(texts[i].text);
        if (n == 0)
            return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"%s\": expected text, found an empty one", place.path,
                           place.line, texts[i].key);
        if (white_end(texts[i].text, n))
            return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"%s\": expected no white space at its end%s, found some",
                           place.path, place.line, texts[i].key, i == 0 ? " (a space is put behind it)" : "");
        if (texts[i].edge && white_start(texts[i].text))
            return qk_fail(err, QK_E_FORMAT, "%s:%zu: key \"%s\": expected no white space at its start%s, found some",
                           place.path, place.line, texts[i].key, i == 1 ? " (a space is put before it)" : "");
    }
    return QK_OK;
}

static const char *const scoring_names[] = { "exact", "choice", "generated", "first-integer", "contains" };

const char *qk_scoring_name(qk_scoring scoring) { return scoring_names[scoring]; }

/* Has the question what its judge wants? */
static qk_status check_scoring(const qk_quiz_source *source, qk_error *err)
{
    const char *wanted = NULL, *found = "none";
    qk_integer integer;
    if (source->scoring == QK_SCORE_CHOICE && source->n_choices == 0) wanted = "choices";
    if (source->scoring == QK_SCORE_INTEGER && !qk_first_integer(&integer, source->answer, strlen(source->answer))) {
        wanted = "an integer in the answer";
        found = source->answer;
    }
    if (!wanted) return QK_OK;
    return qk_fail(err, QK_E_FORMAT, "%s:%zu: question%s%.80s: judged by %s: expected %s, found %.60s",
                   source->place.path, source->place.line, source->id ? " " : "", source->id ? source->id : "",
                   qk_scoring_name(source->scoring), wanted, found);
}

static const char *kind_word(bool contextual) { return contextual ? "contextual" : "parametric"; }

static qk_status find_category(size_t *index, qk_quiz *quiz, const qk_quiz_source *source, qk_error *err)
{
    qk_place place = source->place;
    size_t c = 0;
    while (c < quiz->n_categories && strcmp(quiz->categories[c].name, source->category) != 0) c++;
    *index = c;
    if (c < quiz->n_categories && quiz->categories[c].scoring != source->scoring)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: category \"%.80s\": expected to be judged by %s, as before, found %s",
                       place.path, place.line, source->category, qk_scoring_name(quiz->categories[c].scoring),
                       qk_scoring_name(source->scoring));
    if (c < quiz->n_categories && quiz->categories[c].contextual != source->contextual)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: category \"%.80s\": expected %s, as before, found %s", place.path,
                       place.line, source->category, kind_word(!source->contextual), kind_word(source->contextual));
    if (c < quiz->n_categories && quiz->categories[c].retrieval != source->retrieval)
        return qk_fail(err, QK_E_FORMAT, "%s:%zu: category \"%.80s\": expected %s, as before, found %s", place.path,
                       place.line, source->category, source->retrieval ? "answers that are no keys" : "keys",
                       source->retrieval ? "a key" : "an answer that is none");
    if (c < quiz->n_categories) return QK_OK;
    if (c == QK_QUIZ_CATEGORIES)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s:%zu: category \"%.80s\": expected at most %d categories, found more",
                       place.path, place.line, source->category, QK_QUIZ_CATEGORIES);
    const char *name = qk_arena_copy(&quiz->arena, source->category, strlen(source->category));
    if (!name) return qk_out_of_memory(err, "a category", strlen(source->category));
    quiz->categories[quiz->n_categories++] =
        (qk_quiz_category){ name, source->contextual, source->retrieval, source->scoring };
    return QK_OK;
}

static const char *name_by_place(qk_arena *arena, qk_place place)
{
    const char *name = qk_file_name(place.path);
    char *id = qk_arena_alloc(arena, strlen(name) + 24);
    if (id) sprintf(id, "%s#%zu", name, place.line);
    return id;
}

/* Texts [n] into the arena; NULL when there are none, *good becomes false when out of memory. */
static const char *const *copy_list(qk_arena *arena, const char *const *texts, size_t n, bool *good)
{
    const char **copies = n ? qk_arena_alloc(arena, n * sizeof *copies) : NULL;
    *good = *good && (copies || n == 0);
    for (size_t i = 0; *good && i < n; i++) {
        copies[i] = qk_arena_copy(arena, texts[i], strlen(texts[i]));
        *good = copies[i] != NULL;
    }
    return copies;
}

/* Texts of one question into the quiz's arena; false when out of memory. */
static bool copy_texts(qk_quiz_item *item, qk_quiz *quiz, const qk_quiz_source *source)
{
    qk_arena *arena = &quiz->arena;
    const qk_quiz_item *last = quiz->n ? &quiz->items[quiz->n - 1] : NULL;
    bool good = true;
    item->id = source->id ? qk_arena_copy(arena, source->id, strlen(source->id)) : name_by_place(arena, source->place);
    item->prompt = qk_arena_copy(arena, source->prompt, strlen(source->prompt));
    item->answer = qk_arena_copy(arena, source->answer, strlen(source->answer));
    item->path = last && strcmp(last->path, source->place.path) == 0
                     ? last->path : qk_arena_copy(arena, source->place.path, strlen(source->place.path));
    item->line = source->place.line;
    item->choices = copy_list(arena, source->choices, source->n_choices, &good);
    item->n_choices = source->n_choices;
    item->expected = copy_list(arena, source->expected, source->n_expected, &good);
    item->n_expected = source->n_expected;
    for (size_t i = 0; i < source->n_choices; i++)
        if (strcmp(source->choices[i], source->answer) == 0) item->choice = i;
    return good && item->id && item->prompt && item->answer && item->path;
}

qk_status qk_quiz_set_add(qk_quiz_set *set, const qk_quiz_source *source, qk_error *err)
{
    qk_quiz *quiz = &set->quiz;
    qk_quiz_item item = { .chance = source->chance, .max_new = source->max_new, .goes_on = source->goes_on };
    qk_status status = check_source(source, err);
    if (!status) status = check_scoring(source, err);
    if (!status) status = find_category(&item.category, quiz, source, err);
    if (status) return status;
    if (quiz->per_category && set->n_of[item.category] == quiz->per_category) return QK_OK;
    if (!qk_grow(&quiz->items, &set->capacity, quiz->n + 1, sizeof *quiz->items) ||
        !qk_grow(&set->places, &set->place_capacity, quiz->n + 1, sizeof *set->places))
        return qk_out_of_memory(err, "questions", quiz->n * sizeof item);
    if (!copy_texts(&item, quiz, source)) return qk_out_of_memory(err, "a question", strlen(source->prompt));
    qk_sha256_of(item.sha256, item.prompt, strlen(item.prompt));
    set->places[quiz->n] = source->place;
    quiz->items[quiz->n++] = item;
    set->n_of[item.category]++;
    return QK_OK;
}

/* ---- the finished set */

typedef struct sorted_row { const qk_quiz_item *item; const qk_place *place; } sorted_row;

static int compare_rows(const sorted_row *x, const sorted_row *y)
{
    return (x->item > y->item) - (x->item < y->item);
}

static int compare_ids(const void *a, const void *b)
{
    const sorted_row *x = a, *y = b;
    int order = strcmp(x->item->id, y->item->id);
    return order ? order : compare_rows(x, y);
}

static int compare_questions(const qk_quiz_item *x, const qk_quiz_item *y)
{
    int order = strcmp(x->sha256, y->sha256);
    return order ? order : strcmp(x->answer, y->answer);
}

static int compare_texts(const void *a, const void *b)
{
    const sorted_row *x = a, *y = b;
    int order = compare_questions(x->item, y->item);
    return order ? order : compare_rows(x, y);
}

static qk_status refuse_duplicates(qk_quiz_set *set, qk_error *err)
{
    sorted_row *rows;
    size_t n = set->quiz.n;
    qk_status status = qk_new_array(&rows, n, sizeof *rows, "question ids", err);
    if (status) return status;
    for (size_t i = 0; i < n; i++) rows[i] = (sorted_row){ &set->quiz.items[i], &set->places[i] };
    qsort(rows, n, sizeof *rows, compare_ids);
    for (size_t i = 1; i < n && !status; i++)
        if (strcmp(rows[i - 1].item->id, rows[i].item->id) == 0)
            status = qk_fail(err, QK_E_FORMAT, "%s:%zu: question id \"%.80s\": expected once, found also at %s:%zu",
                             rows[i].place->path, rows[i].place->line, rows[i].item->id, rows[i - 1].place->path,
                             rows[i - 1].place->line);
    qsort(rows, n, sizeof *rows, compare_texts);
    for (size_t i = 1; i < n; i++) set->quiz.n_repeated += compare_questions(rows[i - 1].item, rows[i].item) == 0;
    free(rows);
    return status;
}

static void hash_quiz(qk_quiz *quiz)
{
    qk_sha256 hash;
    qk_sha256_start(&hash);
    for (size_t i = 0; i < quiz->n; i++) {
        const qk_quiz_item *item = &quiz->items[i];
        const qk_quiz_category *category = &quiz->categories[item->category];
        char chance[32];
        int n = snprintf(chance, sizeof chance, "%.17g", isnan(item->chance) ? 0.0 : item->chance);
        qk_sha256_add(&hash, item->sha256, 64);
        qk_sha256_add(&hash, item->answer, strlen(item->answer) + 1);
        qk_sha256_add(&hash, category->name, strlen(category->name) + 1);
        qk_sha256_add(&hash, category->contextual ? "c" : "p", 1);
        qk_sha256_add(&hash, chance, (size_t)n + 1);
        for (size_t k = 0; k < item->n_choices; k++)
            qk_sha256_add(&hash, item->choices[k], strlen(item->choices[k]) + 1);
        for (size_t k = 0; k < item->n_expected; k++)
            qk_sha256_add(&hash, item->expected[k], strlen(item->expected[k]) + 1);
    }
    qk_sha256_hex(quiz->sha256, &hash);
}

qk_status qk_quiz_set_finish(qk_quiz *out, qk_quiz_set *set, qk_error *err)
{
    qk_status status = QK_OK;
    if (set->quiz.n == 0) status = qk_fail(err, QK_E_FORMAT, "questions: expected at least one, found none");
    if (!status) status = refuse_duplicates(set, err);
    if (!status) {
        hash_quiz(&set->quiz);
        *out = set->quiz;
        set->quiz = (qk_quiz){ 0 };
    }
    qk_quiz_set_free(set);
    return status;
}

qk_status qk_quiz_check_limit(size_t per_category, qk_error *err)
{
    if (per_category <= QK_QUIZ_GENERATED) return QK_OK;
    return qk_fail(err, QK_E_ARGUMENT, "--limit: expected at most %d questions of each category, found %zu",
                   QK_QUIZ_GENERATED, per_category);
}

void qk_quiz_set_free(qk_quiz_set *set)
{
    qk_quiz_free(&set->quiz);
    free(set->places);
    *set = (qk_quiz_set){ 0 };
}

qk_status qk_quiz_score(qk_quiz *quiz, qk_scoring scoring, qk_error *err)
{
    for (size_t i = 0; i < quiz->n; i++) {
        const qk_quiz_item *item = &quiz->items[i];
        const qk_quiz_source source = { .id = item->id, .answer = item->answer, .n_choices = item->n_choices,
                                        .scoring = scoring, .place = { item->path, item->line } };
        qk_status status = check_scoring(&source, err);
        if (status) return status;
    }
    for (size_t c = 0; c < quiz->n_categories; c++) quiz->categories[c].scoring = scoring;
    return QK_OK;
}

void qk_quiz_free(qk_quiz *quiz)
{
    if (!quiz) return;
    free(quiz->items);
    qk_arena_free(&quiz->arena);
    *quiz = (qk_quiz){ 0 };
}
