/* world.c - the facts of the invented world, its splits, and the two ways in: write a document, ask a question. */
#include "text/world_private.h"

#include <stdlib.h>
#include <string.h>

/* The finaliser of splitmix64 over two words. */
uint64_t qk_world_hash(uint64_t a, uint64_t b)
{
    uint64_t z = a * UINT64_C(0x9E3779B97F4A7C15) + b + UINT64_C(0x632BE59BD9B4E019);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

qk_split qk_world_split_of(uint64_t hash)
{
    static const qk_split parts[8] = { QK_SPLIT_VALIDATION, QK_SPLIT_TEST };
    return parts[hash >> 61];
}

/* ---- facts */

static size_t count_of(qk_world_entity kind)
{
    static const size_t counts[N_ENTITIES] = {
        [ENTITY_COUNTRY] = N_COUNTRIES,    [ENTITY_CITY] = N_CITIES,      [ENTITY_PERSON] = N_PERSONS,
        [ENTITY_INVENTION] = N_INVENTIONS, [ENTITY_RIVER] = N_RIVERS,     [ENTITY_SEA] = N_SEAS,
        [ENTITY_ANIMAL] = N_ANIMALS,       [ENTITY_PRODUCT] = N_PRODUCTS, [ENTITY_TRADE] = N_TRADES,
    };
    return counts[kind];
}

/* City i lies in country i mod N_COUNTRIES, and a capital in its own country; all else is drawn. */
static uint16_t draw_object(qk_world_relation relation, size_t subject, qk_rng *rng)
{
    if (relation == RELATION_COUNTRY) return (uint16_t)(subject % N_COUNTRIES);
    if (relation == RELATION_CAPITAL)
        return (uint16_t)(subject + N_COUNTRIES * qk_rng_below(rng, N_CITIES / N_COUNTRIES));
    return (uint16_t)qk_rng_below(rng, count_of(qk_world_manners[relation].object));
}

static void draw_facts(qk_world *world)
{
    qk_rng rng;
    size_t n = 0;
    qk_rng_seed(&rng, 2); /* the facts are the same for every seed of the text */
    for (qk_world_relation relation = 0; relation < N_RELATIONS; relation++) {
        world->first_fact[relation] = n;
        for (size_t i = 0; i < count_of(qk_world_manners[relation].subject); i++)
            world->facts[n++] = (qk_world_fact){ (uint16_t)relation, (uint16_t)i, draw_object(relation, i, &rng) };
    }
    world->first_fact[N_RELATIONS] = n;
}

qk_status qk_world_new(qk_world **out, uint64_t seed, qk_error *err)
{
    qk_world *world;
    qk_status status = qk_new_array(&world, 1, sizeof *world, "world", err);
    if (status) return status;
    world->seed = seed;
    if (!qk_world_name(world)) {
        qk_world_free(world);
        return qk_out_of_memory(err, "names of the world", 0);
    }
    draw_facts(world);
    *out = world;
    return QK_OK;
}

void qk_world_free(qk_world *world)
{
    if (!world) return;
    qk_arena_free(&world->arena);
    free(world);
}

/* ---- documents */

/* Streams of one seed: 0 documents, 1 and on the kinds of questions, then the echoes. */
enum { ECHO_STREAM = 100 };

static void start(qk_world_writer *writer, const qk_world *world, qk_split split, uint64_t stream, uint64_t index)
{
    *writer = (qk_world_writer){ .world = world, .split = split };
    uint64_t hash = qk_world_hash(qk_world_hash(world->seed, stream), (uint64_t)split);
    qk_rng_seed(&writer->rng, qk_world_hash(hash, index));
}

typedef struct document_kind {
    const char *name;
    unsigned weight;          /* share of the documents, percent */
    qk_world_register *write; /* NULL: a document that asks about contexts of kind `asks` */
    qk_question_kind asks;
} document_kind;

static const document_kind kinds[] = {
    { "quiz", 16, qk_world_write_quiz },
    { "lesson", 8, qk_world_write_lesson },
    { "story", 6, qk_world_write_story },
    { "report", 6, qk_world_write_report },
    { "dialogue", 4, qk_world_write_dialogue },
    { "manual", 3, qk_world_write_manual },
    { "letter", 4, qk_world_write_letter },
    { "pass_key", 8, NULL, QK_QUESTION_PASS_KEY },
    { "key_value", 8, NULL, QK_QUESTION_KEY_VALUE },
    { "sum", 8, NULL, QK_QUESTION_SUM },
    { "order", 8, NULL, QK_QUESTION_ORDER },
    { "sentiment", 8, NULL, QK_QUESTION_SENTIMENT },
    { "counterfact", 8, NULL, QK_QUESTION_COUNTERFACT },
    { "echo", 5, qk_world_write_echoes },
};

/* Training begins with documents most of which only say things again: looking back is learned first. */
#define N_EARLY 10000
#define EARLY_ECHO_PERCENT 65

static const document_kind *choose_kind(qk_world_writer *writer, uint64_t index)
{
    unsigned total = 0, drawn;
    const document_kind *echo = &kinds[sizeof kinds / sizeof *kinds - 1];
    if (writer->split == QK_SPLIT_TRAIN && index < N_EARLY && qk_world_chance(writer, EARLY_ECHO_PERCENT)) return echo;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) total += kinds[i].weight;
    drawn = (unsigned)qk_world_below(writer, total);
    size_t i = 0;
    for (; drawn >= kinds[i].weight; i++) drawn -= kinds[i].weight;
    return &kinds[i];
}

/* Most documents fit a context of 512 tokens; a tail goes on to some thousands. */
static size_t draw_length(qk_world_writer *writer)
{
    static const struct {
        unsigned below;
        size_t least, range;
    } classes[] = {
        { 88, 500, 1100 },
        { 97, 1600, 2600 },
        { 100, 4200, 7000 },
    };
    size_t drawn = qk_world_below(writer, 100), i = 0;
    while (drawn >= classes[i].below) i++;
    return classes[i].least + qk_world_below(writer, classes[i].range);
}

/* What the writer has written becomes the document. */
static qk_status finish(qk_world_document *out, qk_world_writer *writer, const char *kind, qk_error *err)
{
    if (writer->failed) {
        free(writer->text);
        return qk_out_of_memory(err, "document of the world", writer->n);
    }
    while (writer->text[writer->n - 1] == '\n') writer->text[--writer->n] = '\0';
    *out = (qk_world_document){ writer->text, writer->n, kind };
    return QK_OK;
}

qk_status qk_world_write(qk_world_document *out, const qk_world *world, qk_split split, uint64_t index, qk_error *err)
{
    qk_world_writer writer;
    start(&writer, world, split, 0, index);
    const document_kind *kind = choose_kind(&writer, index);
    size_t wanted = draw_length(&writer);
    if (kind->write)
        kind->write(&writer, wanted);
    else
        qk_world_write_asking(&writer, kind->asks, wanted);
    return finish(out, &writer, kind->name, err);
}

qk_status qk_world_write_echo(qk_world_document *out, const qk_world *world, qk_split split, uint64_t index,
                              qk_error *err)
{
    qk_world_writer writer;
    start(&writer, world, split, ECHO_STREAM, index);
    qk_world_say_once(&writer);
    return finish(out, &writer, "echo", err);
}

/* ---- questions */

static const char *const categories[QK_N_QUESTION_KINDS] = {
    [QK_QUESTION_FACT] = "fact",
    [QK_QUESTION_PASS_KEY] = "pass_key",
    [QK_QUESTION_KEY_VALUE] = "key_value",
    [QK_QUESTION_SUM] = "sum",
    [QK_QUESTION_ORDER] = "order",
    [QK_QUESTION_SENTIMENT] = "sentiment",
    [QK_QUESTION_COUNTERFACT] = "counterfact",
};

const char *qk_question_category(qk_question_kind kind) { return categories[kind]; }

bool qk_question_is_contextual(qk_question_kind kind) { return kind != QK_QUESTION_FACT; }

/* All facts in turn, in an order that jumps between the relations. */
static size_t fact_at(const qk_world *world, uint64_t index)
{
    return (size_t)((index % N_FACTS * 463 + world->seed % N_FACTS) % N_FACTS); /* 463 is prime and no divisor */
}

static void ask_fact(qk_world_writer *writer, qk_world_asked *asked, uint64_t index)
{
    size_t fact = fact_at(writer->world, index);
    qk_world_wording(asked->question, sizeof asked->question, writer, fact);
    snprintf(asked->answer, sizeof asked->answer, "%s", qk_world_object(writer, &writer->world->facts[fact]));
}

qk_status qk_world_ask(qk_question *out, const qk_world *world, qk_split split, qk_question_kind kind, uint64_t index,
                       bool whole, qk_error *err)
{
    qk_world_writer writer;
    qk_world_asked asked[MOST_ASKED];
    size_t n_asked = 1;
    start(&writer, world, split, 1 + (uint64_t)kind, index);
    writer.whole = whole;
    const qk_world_form *form = qk_world_choose_form(&writer);
    if (kind == QK_QUESTION_FACT) {
        ask_fact(&writer, &asked[0], index);
    } else {
        n_asked = qk_world_contexts[kind](&writer, asked);
        qk_world_put(&writer, "\n");
    }
    for (size_t i = 1; whole && i < n_asked; i++) {
        qk_world_put_question(&writer, form, asked[i].question);
        qk_world_put_answer(&writer, asked[i].answer);
    }
    qk_world_put_question(&writer, form, asked[0].question);
    char *answer = writer.failed ? NULL : strdup(asked[0].answer);
    if (!answer) {
        free(writer.text);
        return qk_out_of_memory(err, "question", writer.n);
    }
    *out = (qk_question){ writer.text, answer, kind };
    return QK_OK;
}
