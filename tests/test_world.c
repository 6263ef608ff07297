/* test_world.c - the invented world: the same bytes for ever, splits that share no context, questions that can be
 * answered and only where they should be. */
#include "testing.h"

#include <ctype.h>

#include "text/text.h"
#include "text/world_private.h"

enum {
    N_DOCUMENTS = 3000,
    N_QUESTIONS = 700, /* of each kind */
    LATE = 100000      /* a number behind the first documents, which are a mixture of their own */
};

static qk_world *open_world(uint64_t seed)
{
    qk_world *world = NULL;
    assert_ok(qk_world_new(&world, seed, err));
    return world;
}

static char *write_text(const qk_world *world, qk_split split, uint64_t index)
{
    qk_world_document document;
    assert_ok(qk_world_write(&document, world, split, index, err));
    assert_int_equal(document.n_bytes, strlen(document.text));
    return document.text;
}

static qk_question ask(const qk_world *world, qk_split split, qk_question_kind kind, uint64_t index)
{
    qk_question question;
    assert_ok(qk_world_ask(&question, world, split, kind, index, false, err));
    assert_int_equal(question.kind, kind);
    assert_true(question.answer[0] && question.prompt[0]);
    assert_true(question.prompt[strlen(question.prompt) - 1] != ' ');
    return question;
}

static void release(qk_question *question)
{
    free(question->prompt);
    free(question->answer);
}

/* ---- sets of strings, owned */

typedef struct strings {
    char **items;
    size_t n, capacity;
} strings;

static void add(strings *set, const char *text, size_t n)
{
    if (set->n == set->capacity) {
        set->capacity = 2 * set->capacity + 1024;
        set->items = realloc(set->items, set->capacity * sizeof *set->items);
        assert_non_null(set->items);
    }
    set->items[set->n] = strndup(text, n);
    assert_non_null(set->items[set->n++]);
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void sort(strings *set) { qsort(set->items, set->n, sizeof *set->items, compare); }

/* The item that equals `text` in a sorted set, or NULL. */
static char **find(const strings *set, const char *text)
{
    return bsearch(&text, set->items, set->n, sizeof *set->items, compare);
}

static void drop(strings *set)
{
    for (size_t i = 0; i < set->n; i++) free(set->items[i]);
    free(set->items);
    *set = (strings){ 0 };
}

/* The question on its own: behind the words that introduce it. */
static const char *bare(const char *line)
{
    static const char *const before[] = { "Question: ", "Q: ", "The master asks: ", "Asked: ", "- " };
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        if (strncmp(line, before[i], strlen(before[i])) == 0) return line + strlen(before[i]);
    const char *colon = strncmp(line, "They asked ", 11) == 0 ? strstr(line, ": ") : NULL;
    return colon ? colon + 2 : line;
}

/* All lines of a text, as they are and bare. */
static void add_lines(strings *set, const char *text)
{
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        char *copy = strndup(line, n);
        const char *question = bare(copy);
        add(set, copy, n);
        if (question != copy) add(set, question, strlen(question));
        free(copy);
        line += n + (line[n] == '\n');
    }
}

/* The last but one line of a prompt: what is asked, without what introduces it; malloc'ed. */
static char *question_of(const qk_question *question)
{
    const char *end = strrchr(question->prompt, '\n'), *from = end;
    assert_non_null(end);
    while (from > question->prompt && from[-1] != '\n') from--;
    char *line = strndup(from, (size_t)(end - from)), *text = strdup(bare(line));
    free(line);
    return text;
}

/* ---- the same bytes */

static void hash_documents(char hex[65], const qk_world *world, qk_split split)
{
    qk_sha256 hash;
    qk_sha256_start(&hash);
    for (uint64_t i = 0; i < 200; i++) {
        char *text = write_text(world, split, i < 100 ? 150 * i : LATE + i); /* early and late ones */
        qk_sha256_add(&hash, text, strlen(text) + 1);
        free(text);
    }
    qk_sha256_hex(hex, &hash);
}

static void hash_questions(char hex[65], const qk_world *world, qk_split split)
{
    qk_sha256 hash;
    qk_sha256_start(&hash);
    for (qk_question_kind kind = 0; kind < QK_N_QUESTION_KINDS; kind++)
        for (uint64_t i = 0; i < 50; i++) {
            qk_question question = ask(world, split, kind, i);
            qk_sha256_add(&hash, question.prompt, strlen(question.prompt) + 1);
            qk_sha256_add(&hash, question.answer, strlen(question.answer) + 1);
            release(&question);
        }
    qk_sha256_hex(hex, &hash);
}

/* The bundled models were trained on this text: a change of these hashes makes them unreproducible. */
static void test_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *documents, *questions;
    } expected[3] = {
        [QK_SPLIT_TRAIN] = { "ff5211d132ca3f4b365596bcdeead5de7f334378d2006031d93d6482aecfd43e",
                             "a4991c78fcb030734a24ba71e57a1054fc252186bf470e70ed2eac567d1fe701" },
        [QK_SPLIT_VALIDATION] = { "e8c5ee4f8dd4d4a103d6f9507044ce5849783ce4a9fd5a3c9c82e0c244b707e1",
                                  "b73c67caeefc3c7687786ab30c8747dc4e66235aeb93e968ae8d5055189b8578" },
        [QK_SPLIT_TEST] = { "7577691ac21c70926bffd79dede87633630dffca536079d45b0b16d4d5201a0f",
                            "eafb72260827eee645122793f6d666db4e63c76381abe8a2b7088c845242ffa1" },
    };
    qk_world *world = open_world(42);
    for (qk_split split = QK_SPLIT_TRAIN; split <= QK_SPLIT_TEST; split++) {
        char hex[65];
        hash_documents(hex, world, split);
        assert_string_equal(hex, expected[split].documents);
        hash_questions(hex, world, split);
        assert_string_equal(hex, expected[split].questions);
    }
    qk_world_free(world);
}

/* A text depends on its own number alone, and on every one of seed, split and number. */
static void test_streams(void **state)
{
    (void)state;
    qk_world *world = open_world(7), *again = open_world(7), *other = open_world(8);
    uint64_t far_off = UINT64_MAX;
    char *late = write_text(world, QK_SPLIT_TRAIN, 9), *early = write_text(world, QK_SPLIT_TRAIN, 3);
    char *same = write_text(again, QK_SPLIT_TRAIN, 9), *seed = write_text(other, QK_SPLIT_TRAIN, 9);
    char *split = write_text(world, QK_SPLIT_TEST, 9), *last = write_text(world, QK_SPLIT_TRAIN, far_off);
    assert_string_equal(late, same);
    assert_string_not_equal(late, early);
    assert_string_not_equal(late, seed);
    assert_string_not_equal(late, split);
    assert_string_not_equal(late, last);
    char *const texts[] = { late, early, same, seed, split, last };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]);
    qk_world_free(world);
    qk_world_free(again);
    qk_world_free(other);
}

/* ---- facts */

/* As many questions as facts, each another, and the same answers in every split and under every seed. */
static void test_facts(void **state)
{
    (void)state;
    qk_world *world = open_world(1), *other = open_world(2);
    strings asked = { 0 };
    assert_true(N_FACTS >= 1000);
    for (uint64_t i = 0; i < N_FACTS; i++) {
        qk_question question = ask(world, QK_SPLIT_TEST, QK_QUESTION_FACT, i);
        char *text = question_of(&question);
        add(&asked, text, strlen(text));
        assert_null(strstr(question.prompt, question.answer));
        assert_null(strchr(question.answer, ' '));
        free(text);
        release(&question);
    }
    sort(&asked);
    for (size_t i = 1; i < asked.n; i++) assert_string_not_equal(asked.items[i], asked.items[i - 1]);
    for (size_t i = 0; i < N_FACTS; i++) {
        assert_memory_equal(&world->facts[i], &other->facts[i], sizeof(qk_world_fact));
        const qk_world_manner *manner = &qk_world_manners[world->facts[i].relation];
        assert_non_null(world->names[manner->subject][world->facts[i].subject]);
        assert_non_null(world->names[manner->object][world->facts[i].object]);
    }
    drop(&asked);
    qk_world_free(world);
    qk_world_free(other);
}

/* Every wording of every fact, as "question \t number of the fact", sorted. */
static strings all_wordings(qk_world *world)
{
    strings all = { 0 };
    qk_world_writer writer = { .world = world };
    for (size_t fact = 0; fact < N_FACTS; fact++)
        for (size_t i = 0; i < N_WORDINGS; i++) {
            char question[200], line[240];
            writer.slots['s'] = qk_world_subject(&writer, &world->facts[fact]);
            qk_world_aside(question, sizeof question, &writer,
                           qk_world_manners[world->facts[fact].relation].questions[i]);
            snprintf(line, sizeof line, "%s\t%zu", question, fact);
            add(&all, line, strlen(line));
        }
    free(writer.text);
    sort(&all);
    return all;
}

/* The fact that a bare question asks for, or N_FACTS. */
static size_t fact_asked(const strings *wordings, const char *question)
{
    size_t low = 0, high = wordings->n, n = strlen(question);
    while (low < high) {
        size_t middle = (low + high) / 2;
        const char *item = wordings->items[middle];
        int order = strncmp(item, question, n);
        if (order == 0 && item[n] == '\t') return (size_t)strtoul(item + n, NULL, 10);
        if (order < 0 || (order == 0 && item[n] < '\t'))
            low = middle + 1;
        else
            high = middle;
    }
    return N_FACTS;
}

/* Is `fact` stated in `text`, in any of its sentences? */
static bool is_stated(qk_world_writer *writer, size_t fact, const char *text)
{
    const qk_world_fact *it = &writer->world->facts[fact];
    const qk_world_manner *manner = &qk_world_manners[it->relation];
    for (size_t i = 0; i < manner->n_statements; i++) {
        char sentence[200];
        writer->slots['s'] = qk_world_subject(writer, it);
        writer->slots['o'] = qk_world_object(writer, it);
        qk_world_aside(sentence, sizeof sentence, writer, manner->statements[i]);
        if (strstr(text, sentence)) return true;
    }
    for (size_t i = 0; i < qk_world_n_summaries; i++) {
        const qk_world_summary *summary = &qk_world_summaries[i];
        char sentence[200];
        bool tells = false;
        for (size_t r = 0; r < summary->n; r++) {
            const qk_world *world = writer->world;
            if (qk_world_manners[summary->relations[r]].subject != manner->subject) break;
            size_t other = world->first_fact[summary->relations[r]] + it->subject;
            writer->slots['a' + r] = qk_world_object(writer, &world->facts[other]);
            tells = tells || other == fact;
        }
        if (!tells) continue;
        qk_world_aside(sentence, sizeof sentence, writer, summary->pattern);
        if (strstr(text, sentence)) return true;
    }
    return false;
}

/* A statement that only names subject and object elsewhere would be missed by sentences: these two give each other
 * away. */
static size_t twin(const qk_world *world, size_t fact)
{
    const qk_world_fact *it = &world->facts[fact];
    for (size_t i = 0; i < N_FACTS; i++) {
        const qk_world_fact *other = &world->facts[i];
        bool pair = (it->relation == RELATION_CAPITAL && other->relation == RELATION_COUNTRY) ||
                    (it->relation == RELATION_COUNTRY && other->relation == RELATION_CAPITAL);
        if (pair && it->subject == other->object && it->object == other->subject) return i;
    }
    return fact;
}

static void test_facts_are_not_stated_where_asked(void **state)
{
    (void)state;
    qk_world *world = open_world(42);
    qk_world_writer writer = { .world = world };
    strings wordings = all_wordings(world);
    size_t n_asked = 0, n_stated = 0;
    for (uint64_t i = 0; i < N_DOCUMENTS / 3; i++) {
        char *text = write_text(world, QK_SPLIT_TRAIN, LATE + i);
        strings lines = { 0 };
        uint8_t seen[N_FACTS] = { 0 };
        add_lines(&lines, text);
        for (size_t l = 0; l < lines.n; l++) {
            size_t fact = fact_asked(&wordings, lines.items[l]);
            if (fact == N_FACTS) continue;
            assert_false(is_stated(&writer, fact, text));
            assert_false(is_stated(&writer, twin(world, fact), text));
            assert_false(seen[fact] || seen[twin(world, fact)]);
            seen[fact] = 1;
            n_asked++;
        }
        n_stated += is_stated(&writer, i % N_FACTS, text);
        drop(&lines);
        free(text);
    }
    assert_true(n_asked > 1000); /* else nothing was looked at */
    assert_true(n_stated > 0);   /* and statements are found where they are */
    free(writer.text);
    drop(&wordings);
    qk_world_free(world);
}

/* ---- splits */

/* Is one of the lines of the context, before the question, none of `lines`?  Cuts the prompt. */
static bool has_new_line(const strings *lines, char *prompt)
{
    strings context = { 0 };
    size_t n_new = 0;
    for (int i = 0; i < 2; i++) *strrchr(prompt, '\n') = '\0'; /* "Answer:" and the question */
    add_lines(&context, prompt);
    for (size_t i = 0; i < context.n; i++) n_new += find(lines, context.items[i]) == NULL;
    drop(&context);
    return n_new > 0;
}

/* What training documents ask, and the context of every held-out question. */
static void test_splits(void **state)
{
    (void)state;
    qk_world *world = open_world(42);
    strings lines = { 0 };
    for (uint64_t i = 0; i < N_DOCUMENTS; i++) {
        char *text = write_text(world, QK_SPLIT_TRAIN, i < N_DOCUMENTS / 3 ? i : LATE + i);
        add_lines(&lines, text);
        free(text);
    }
    sort(&lines);
    size_t n_known = 0;
    for (uint64_t i = 0; i < N_QUESTIONS; i++) {
        for (qk_split split = QK_SPLIT_VALIDATION; split <= QK_SPLIT_TEST; split++) {
            qk_question question = ask(world, split, QK_QUESTION_FACT, i);
            char *text = question_of(&question);
            assert_null(find(&lines, text));
            free(text);
            release(&question);
            for (qk_question_kind kind = QK_QUESTION_PASS_KEY; kind < QK_N_QUESTION_KINDS; kind++) {
                question = ask(world, split, kind, i);
                assert_true(has_new_line(&lines, question.prompt));
                release(&question);
            }
        }
        qk_question question = ask(world, QK_SPLIT_TRAIN, QK_QUESTION_FACT, i);
        char *text = question_of(&question);
        n_known += find(&lines, text) != NULL;
        free(text);
        release(&question);
    }
    assert_true(n_known > N_QUESTIONS / 2); /* the form is trained: what training asks is found */
    drop(&lines);
    qk_world_free(world);
}

/* "question \t answer" of what is bound only in a document, when the question says what it is bound to; malloc'ed. */
static char *binding(const qk_question *question)
{
    char line[400], *text = question_of(question);
    snprintf(line, sizeof line, "%s\t%s", text, question->answer);
    bool bound = question->kind == QK_QUESTION_KEY_VALUE || strstr(text, " after ");
    free(text);
    return bound ? strdup(line) : NULL;
}

/* What belongs to what in one split does so in no other. */
static void test_bindings(void **state)
{
    (void)state;
    static const qk_question_kind kinds[] = { QK_QUESTION_KEY_VALUE, QK_QUESTION_ORDER };
    enum { N_TRAINED = 20000 };
    qk_world *world = open_world(42);
    strings known = { 0 };
    size_t n_held_out = 0, n_again = 0;
    for (uint64_t i = 0; i < 2 * N_TRAINED; i++) {
        qk_question question = ask(world, QK_SPLIT_TRAIN, kinds[i % 2], i);
        char *line = binding(&question);
        if (line && i < N_TRAINED) add(&known, line, strlen(line));
        if (i == N_TRAINED) sort(&known);
        if (line && i >= N_TRAINED) n_again += find(&known, line) != NULL;
        free(line);
        release(&question);
    }
    for (uint64_t i = 0; i < N_QUESTIONS; i++) {
        qk_question question = ask(world, i % 4 < 2 ? QK_SPLIT_TEST : QK_SPLIT_VALIDATION, kinds[i % 2], i);
        char *line = binding(&question);
        if (line) assert_null(find(&known, line));
        n_held_out += line != NULL;
        free(line);
        release(&question);
    }
    assert_true(n_held_out > N_QUESTIONS / 2);
    assert_true(n_again > N_TRAINED / 10); /* training does come back to its own */
    drop(&known);
    qk_world_free(world);
}

/* No passing name belongs to two splits, or to the world. */
static void test_names(void **state)
{
    (void)state;
    qk_world *world = open_world(42);
    strings names = { 0 };
    for (int split = 0; split < 3; split++) {
        assert_true(world->n_passing[split] > 100);
        for (size_t i = 0; i < world->n_passing[split]; i++)
            add(&names, world->passing[split][i], strlen(world->passing[split][i]));
    }
    for (size_t kind = 0; kind < N_ENTITIES; kind++)
        for (size_t i = 0; i < MOST_OF_A_KIND && world->names[kind][i]; i++)
            if (kind != ENTITY_PRODUCT) add(&names, world->names[kind][i], strlen(world->names[kind][i]));
    sort(&names);
    for (size_t i = 1; i < names.n; i++) assert_string_not_equal(names.items[i], names.items[i - 1]);
    drop(&names);
    qk_world_free(world);
}

/* ---- answers can be found in the prompt */

/* `answer` as a whole word at or behind `from`; NULL where there is none. */
static const char *whole_word(const char *from, const char *answer)
{
    size_t n = strlen(answer);
    for (const char *p = strstr(from, answer); p; p = strstr(p + 1, answer))
        if (!isalnum((unsigned char)p[n]) && !isalnum((unsigned char)p[-1])) return p;
    return NULL;
}

static void check_sum(const qk_question *question)
{
    unsigned long sum = 0, n = 0;
    for (const char *p = question->prompt; *p;) {
        if (!isdigit((unsigned char)*p)) {
            p++;
            continue;
        }
        char *end;
        sum += strtoul(p, &end, 10);
        n++;
        p = end;
    }
    assert_int_equal(n, 2);
    assert_int_equal(sum, strtoul(question->answer, NULL, 10));
    assert_true(sum <= 18);
}

/* Behind the name that is asked for, or the only digits there are. */
static void check_pass_key(const qk_question *question)
{
    size_t n = strlen(question->answer);
    assert_int_equal(n, 4);
    assert_in_range(strtoul(question->answer, NULL, 10), 3000, 9999);
    char *text = question_of(question), *name = NULL, *last = text;
    for (char *p = text; *p; p++)
        if (*p == ' ' && isupper((unsigned char)p[1])) last = name = p + 1;
    const char *from = question->prompt;
    if (name) {
        char owner[80];
        name[strcspn(name, "?.")] = '\0';
        snprintf(owner, sizeof owner, "pass key of %s", last);
        from = strstr(question->prompt, owner);
        assert_non_null(from);
    }
    from += strcspn(from, "0123456789");
    assert_memory_equal(from, question->answer, n);
    assert_false(isdigit((unsigned char)from[n]));
    free(text);
}

/* "right after X": the answer is the next that is named; first and last: nobody is before or behind it. */
static void check_order(const qk_question *question)
{
    char *text = question_of(question), *after = strstr(text, " after ");
    const char *answer = whole_word(question->prompt, question->answer);
    assert_non_null(answer);
    if (after) {
        char *item = strrchr(text, ' ') + 1;
        item[strcspn(item, "?")] = '\0';
        const char *before = whole_word(question->prompt, item);
        assert_non_null(before);
        assert_true(before < answer);
    } else if (strstr(text, "last")) {
        const char *end = strrchr(question->prompt, '\n');
        assert_true(strstr(question->prompt, "last") < answer || strstr(question->prompt, "ended") < answer);
        assert_true(answer < end);
    }
    free(text);
}

/* A good review has no bad word in it, a bad one no good word; most have words of their own kind. */
static size_t check_sentiment(const qk_question *question)
{
    const qk_world_words *good = &qk_world_lists['g' - 'a'], *bad = &qk_world_lists['b' - 'a'];
    bool liked = strcmp(question->answer, "good") == 0;
    size_t n_own = 0;
    if (!liked) assert_string_equal(question->answer, "bad");
    for (size_t i = 0; i < good->n; i++) n_own += whole_word(question->prompt, good->items[i]) != NULL;
    for (size_t i = 0; i < bad->n && liked; i++) assert_null(whole_word(question->prompt, bad->items[i]));
    if (!liked) {
        assert_int_equal(n_own, 0);
        for (size_t i = 0; i < bad->n; i++) n_own += whole_word(question->prompt, bad->items[i]) != NULL;
    }
    return n_own > 0;
}

/* The document says what the question wants, and the world says otherwise. */
static void check_counterfact(const qk_question *question, const strings *wordings, const qk_world *world)
{
    char *text = question_of(question);
    char *wording = strstr(text, ", ") ? strstr(text, ", ") + 2 : strstr(text, ": ") + 2;
    wording[0] = (char)toupper((unsigned char)wording[0]);
    size_t fact = fact_asked(wordings, wording);
    assert_true(fact < N_FACTS);
    qk_world_writer writer = { .world = world };
    assert_string_not_equal(qk_world_object(&writer, &world->facts[fact]), question->answer);
    assert_non_null(whole_word(question->prompt, question->answer));
    assert_non_null(strstr(question->prompt, qk_world_subject(&writer, &world->facts[fact])));
    free(text);
}

static void test_answers(void **state)
{
    (void)state;
    qk_world *world = open_world(42);
    strings wordings = all_wordings(world);
    size_t n_telling = 0;
    for (uint64_t i = 0; i < N_QUESTIONS; i++) {
        for (qk_question_kind kind = QK_QUESTION_PASS_KEY; kind < QK_N_QUESTION_KINDS; kind++) {
            qk_question question = ask(world, (qk_split)(i % 3), kind, i);
            if (kind == QK_QUESTION_PASS_KEY) check_pass_key(&question);
            if (kind == QK_QUESTION_KEY_VALUE) assert_non_null(whole_word(question.prompt, question.answer));
            if (kind == QK_QUESTION_SUM) check_sum(&question);
            if (kind == QK_QUESTION_ORDER) check_order(&question);
            if (kind == QK_QUESTION_SENTIMENT) n_telling += check_sentiment(&question);
            if (kind == QK_QUESTION_COUNTERFACT) check_counterfact(&question, &wordings, world);
            release(&question);
        }
    }
    assert_true(n_telling > N_QUESTIONS * 3 / 4);
    drop(&wordings);
    qk_world_free(world);
}

/* ---- size */

/* Tokens of the bundled tokenizer: what a model with a context of 512 sees. */
/* What is said again is there twice: the second half of the lines has no word that the first has not. */
static void test_echoes(void **state)
{
    (void)state;
    qk_world *world = open_world(42), *same = open_world(42);
    for (uint64_t i = 0; i < 500; i++) {
        qk_world_document one, two;
        assert_ok(qk_world_write_echo(&one, world, QK_SPLIT_TRAIN, i, err));
        assert_ok(qk_world_write_echo(&two, same, QK_SPLIT_TRAIN, i, err));
        assert_string_equal(one.text, two.text);
        assert_string_equal(one.kind, "echo");
        assert_in_range(one.n_bytes, 30, 900);
        const char *last = strrchr(one.text, ' '); /* of the last line, which ends with what it had said before */
        size_t n = strcspn(last + 1, ".");
        char word[40];
        snprintf(word, sizeof word, "%.*s", (int)n, last + 1);
        assert_true(strstr(one.text, word) <= last);
        free(one.text);
        free(two.text);
    }
    qk_world_free(world);
    qk_world_free(same);
}

static size_t n_of(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)); text += strlen(part)) n++;
    return n;
}

/* Of three things or more: the first, the last, and what came behind each but the last. */
static void check_whole_order(const qk_question *all)
{
    size_t n_after = n_of(all->prompt, " right after ") + n_of(all->prompt, " next after ");
    assert_true(n_after >= 2);
    assert_int_equal(n_of(all->prompt, "?"), n_after + 2);
}

/* The whole text of a question begins like the question alone, ends like it, and has other answers in between. */
static void test_whole(void **state)
{
    (void)state;
    qk_world *world = open_world(42);
    size_t n_longer = 0;
    for (qk_question_kind kind = 0; kind < QK_N_QUESTION_KINDS; kind++)
        for (uint64_t i = 0; i < 50; i++) {
            qk_question one = ask(world, QK_SPLIT_TRAIN, kind, i), all;
            assert_ok(qk_world_ask(&all, world, QK_SPLIT_TRAIN, kind, i, true, err));
            const char *last = strrchr(one.prompt, '\n');
            size_t n_one = strlen(one.prompt), n_all = strlen(all.prompt), n_last;
            while (last > one.prompt && last[-1] != '\n') last--; /* question and what stands before the answer */
            n_last = strlen(last);
            assert_string_equal(all.answer, one.answer);
            assert_memory_equal(all.prompt, one.prompt, n_one - n_last);
            assert_string_equal(all.prompt + n_all - n_last, last);
            if (kind == QK_QUESTION_KEY_VALUE) assert_true(n_all > n_one); /* three keys or more */
            if (kind == QK_QUESTION_ORDER) check_whole_order(&all);
            if (kind == QK_QUESTION_FACT) assert_int_equal(n_all, n_one);
            n_longer += n_all > n_one;
            release(&one);
            release(&all);
        }
    assert_true(n_longer > 100);
    qk_world_free(world);
}

static void test_lengths(void **state)
{
    (void)state;
    qk_world *world = open_world(42);
    qk_tokenizer *tokenizer = NULL;
    size_t n_short = 0, most = 0;
    assert_ok(qk_tokenizer_open_file(&tokenizer, data_path("../../models/world-rope/tokenizer.json"), 0, err));
    assert_int_equal(qk_tokenizer_describe(tokenizer)->n_vocab, 2688);
    for (uint64_t i = 0; i < 600; i++) {
        char *text = write_text(world, QK_SPLIT_TRAIN, LATE + i);
        int32_t *tokens = NULL;
        size_t n = 0;
        assert_ok(qk_encode(&tokens, &n, tokenizer, text, strlen(text), (qk_encode_options){ 0 }, err));
        assert_int_equal(tokens[0], 0); /* <s> */
        assert_in_range(n, 100, 4000);
        n_short += n <= 512;
        if (n > most) most = n;
        free(tokens);
        free(text);
    }
    assert_in_range(n_short, 420, 540);
    assert_true(most > 2000);
    qk_tokenizer_close(tokenizer);
    qk_world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),   cmocka_unit_test(test_streams),
        cmocka_unit_test(test_facts),   cmocka_unit_test(test_facts_are_not_stated_where_asked),
        cmocka_unit_test(test_splits),  cmocka_unit_test(test_bindings), cmocka_unit_test(test_names),
        cmocka_unit_test(test_answers), cmocka_unit_test(test_whole), cmocka_unit_test(test_echoes),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
