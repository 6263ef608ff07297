/* world_facts.c - sentences about facts, and which facts a document may still ask for. */
#include "text/world_private.h"

#include <string.h>

const char *qk_world_subject(const qk_world_writer *writer, const qk_world_fact *fact)
{
    return writer->world->names[qk_world_manners[fact->relation].subject][fact->subject];
}

const char *qk_world_object(const qk_world_writer *writer, const qk_world_fact *fact)
{
    return writer->world->names[qk_world_manners[fact->relation].object][fact->object];
}

/* A capital gives away the country of its city, and the other way round. */
static size_t twin_of(const qk_world *world, size_t fact)
{
    const qk_world_fact *it = &world->facts[fact];
    if (it->relation == RELATION_CAPITAL) return world->first_fact[RELATION_COUNTRY] + it->object;
    if (it->relation != RELATION_COUNTRY) return fact;
    size_t capital = world->first_fact[RELATION_CAPITAL] + it->object;
    return world->facts[capital].object == it->subject ? capital : fact;
}

void qk_world_mark(qk_world_writer *writer, size_t fact)
{
    size_t twin = twin_of(writer->world, fact);
    writer->used[fact / 64] |= UINT64_C(1) << fact % 64;
    writer->used[twin / 64] |= UINT64_C(1) << twin % 64;
}

bool qk_world_is_marked(const qk_world_writer *writer, size_t fact) { return writer->used[fact / 64] >> fact % 64 & 1; }

size_t qk_world_fresh_fact(qk_world_writer *writer)
{
    size_t fact = 0;
    for (int i = 0; i < 100; i++) {
        fact = qk_world_below(writer, N_FACTS);
        if (!qk_world_is_marked(writer, fact)) break;
    }
    return fact;
}

/* A name at the start of a line would be written without the space before it, as nowhere else. */
static void begin_sentence(qk_world_writer *writer, const char *pattern)
{
    static const char *const openers[] = {
        "We know that ", "It is said that ", "As all know, ", "People say that ", "It is true that ", "Note that ",
    };
    bool new_line = writer->n == 0 || writer->text[writer->n - 1] == '\n';
    if (!new_line)
        qk_world_put(writer, " ");
    else if (pattern[0] == '%')
        PATTERN_OF(writer, openers);
}

void qk_world_state_as(qk_world_writer *writer, const qk_world_fact *fact, const char *object)
{
    const qk_world_manner *manner = &qk_world_manners[fact->relation];
    const char *pattern = manner->statements[qk_world_below(writer, manner->n_statements)];
    writer->slots['s'] = qk_world_subject(writer, fact);
    writer->slots['o'] = object;
    begin_sentence(writer, pattern);
    qk_world_pattern(writer, pattern);
}

void qk_world_state(qk_world_writer *writer, size_t fact)
{
    const qk_world_fact *it = &writer->world->facts[fact];
    qk_world_mark(writer, fact);
    qk_world_state_as(writer, it, qk_world_object(writer, it));
}

/* One sentence with several facts, where there is a pattern for this kind of subject. */
static bool summarise(qk_world_writer *writer, qk_world_entity kind, size_t subject)
{
    const qk_world_summary *summary = &qk_world_summaries[qk_world_below(writer, qk_world_n_summaries)];
    if (qk_world_manners[summary->relations[0]].subject != kind) return false;
    for (size_t i = 0; i < summary->n; i++) {
        size_t fact = writer->world->first_fact[summary->relations[i]] + subject;
        qk_world_mark(writer, fact);
        writer->slots['a' + i] = qk_world_object(writer, &writer->world->facts[fact]);
    }
    writer->slots['s'] = writer->world->names[kind][subject];
    begin_sentence(writer, summary->pattern);
    qk_world_pattern(writer, summary->pattern);
    return true;
}

void qk_world_describe(qk_world_writer *writer, qk_world_entity kind, size_t subject, size_t n_sentences)
{
    const qk_world *world = writer->world;
    size_t facts[N_RELATIONS], n = 0;
    for (qk_world_relation r = 0; r < N_RELATIONS; r++)
        if (qk_world_manners[r].subject == kind) facts[n++] = world->first_fact[r] + subject;
    if (qk_world_chance(writer, 30) && summarise(writer, kind, subject)) return;
    for (size_t i = 0; i < n && i < n_sentences; i++) {
        size_t j = i + qk_world_below(writer, n - i), fact = facts[j];
        facts[j] = facts[i];
        qk_world_state(writer, fact);
    }
}

void qk_world_wording(char *out, size_t capacity, qk_world_writer *writer, size_t fact)
{
    const qk_world_fact *it = &writer->world->facts[fact];
    size_t validation = qk_world_hash(fact, 11) % N_WORDINGS;
    size_t test = (validation + 1 + qk_world_hash(fact, 12) % (N_WORDINGS - 1)) % N_WORDINGS, drawn = 0;
    do drawn = qk_world_below(writer, N_WORDINGS);
    while (drawn == validation || drawn == test);
    if (writer->split != QK_SPLIT_TRAIN) drawn = writer->split == QK_SPLIT_TEST ? test : validation;
    writer->slots['s'] = qk_world_subject(writer, it);
    qk_world_aside(out, capacity, writer, qk_world_manners[it->relation].questions[drawn]);
}
