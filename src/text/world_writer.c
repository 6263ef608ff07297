/* world_writer.c - text from patterns, drawn from a seeded stream. */
#include "text/world_private.h"

#include <stdlib.h>
#include <string.h>

size_t qk_world_below(qk_world_writer *writer, size_t n) { return (size_t)qk_rng_below(&writer->rng, n); }

bool qk_world_chance(qk_world_writer *writer, unsigned percent) { return qk_world_below(writer, 100) < percent; }

static void append(qk_world_writer *writer, const char *bytes, size_t n)
{
    if (writer->failed) return;
    if (writer->n + n + 1 > writer->capacity) {
        size_t capacity = 2 * (writer->n + n) + 2048;
        char *text = realloc(writer->text, capacity);
        if (!text) {
            writer->failed = true;
            return;
        }
        writer->text = text;
        writer->capacity = capacity;
    }
    memcpy(writer->text + writer->n, bytes, n);
    writer->n += n;
    writer->text[writer->n] = '\0';
}

void qk_world_put(qk_world_writer *writer, const char *text) { append(writer, text, strlen(text)); }

const char *qk_world_word(qk_world_writer *writer, char list)
{
    const qk_world_words *words = &qk_world_lists[list - 'a'];
    return words->items[qk_world_below(writer, words->n)];
}

void qk_world_pattern(qk_world_writer *writer, const char *pattern)
{
    while (*pattern) {
        size_t n = strcspn(pattern, "%@");
        append(writer, pattern, n);
        pattern += n;
        if (*pattern == '\0') return;
        char sign = pattern[0], which = pattern[1];
        if (which == sign)
            append(writer, &sign, 1);
        else
            qk_world_put(writer, sign == '@' ? qk_world_word(writer, which) : writer->slots[(unsigned char)which]);
        pattern += 2;
    }
}

void qk_world_pattern_of(qk_world_writer *writer, const char *const *patterns, size_t n)
{
    qk_world_pattern(writer, patterns[qk_world_below(writer, n)]);
}

void qk_world_aside(char *out, size_t capacity, qk_world_writer *writer, const char *pattern)
{
    size_t from = writer->n;
    qk_world_pattern(writer, pattern);
    snprintf(out, capacity, "%s", writer->failed ? "" : writer->text + from);
    writer->n = from;
    if (writer->text) writer->text[from] = '\0';
}

void qk_world_space(qk_world_writer *writer)
{
    if (writer->n > 0 && writer->text[writer->n - 1] != '\n') append(writer, " ", 1);
}

const char *qk_world_passing_name(qk_world_writer *writer, const char *const *taken, size_t n_taken)
{
    const qk_world *world = writer->world;
    for (;;) {
        const char *name = world->passing[writer->split][qk_world_below(writer, world->n_passing[writer->split])];
        size_t i = 0;
        while (i < n_taken && taken[i] != name) i++;
        if (i == n_taken) return name;
    }
}

static uint64_t hash_word(uint64_t hash, const char *word)
{
    for (; *word; word++) hash = qk_world_hash(hash, (uint8_t)*word);
    return hash;
}

bool qk_world_pair_is_ours(const qk_world_writer *writer, const char *first, const char *second)
{
    return qk_world_split_of(hash_word(hash_word(15, first), second)) == writer->split;
}

const char *qk_world_other_word(qk_world_writer *writer, char list, const char *const *taken, size_t n_taken)
{
    if (list == 0) return qk_world_passing_name(writer, taken, n_taken);
    for (;;) {
        const char *word = qk_world_word(writer, list);
        size_t i = 0;
        while (i < n_taken && taken[i] != word) i++;
        if (i == n_taken) return word;
    }
}
