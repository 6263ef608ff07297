/* world_echo.c - documents that say things again: lists, pairs, refrains.
 *
 * What is said again can only be told by looking back, so these documents teach a small model to look back: the skill
 * that every question about a context needs, and that prose alone teaches slowly. */
#include "text/world_private.h"

#include <stdio.h>
#include <string.h>

enum { MOST_WORDS = 16, WORD_BYTES = 24 };

static void draw_digits(char *out, qk_world_writer *writer)
{
    size_t n = 2 + qk_world_below(writer, 5);
    for (size_t i = 0; i < n; i++) out[i] = (char)('0' + qk_world_below(writer, 10));
    out[n] = '\0';
}

/* A name, a word of some list, or digits. */
static void draw_word(char out[WORD_BYTES], qk_world_writer *writer, char list)
{
    if (list == '#') draw_digits(out, writer);
    else snprintf(out, WORD_BYTES, "%s", list ? qk_world_word(writer, list) : qk_world_passing_name(writer, NULL, 0));
}

/* 0: names, '#': digits, else the letter of a list. */
static char draw_list(qk_world_writer *writer)
{
    static const char lists[] = { 'y', 'y', 'y', 'o', 'k', 'c', 'w', 'f', '#', 0 };
    return lists[qk_world_below(writer, sizeof lists)];
}

/* The same words in the same order, two to four times. */
static void say_again(qk_world_writer *writer)
{
    static const char *const leads[][2] = {
        { "Say after me: ", "Again: " },
        { "The song of %p goes: ", "And once more: " },
        { "%p counts them: ", "%p counts them again: " },
        { "Write: ", "Write it again: " },
        { "From left to right: ", "From left to right: " },
    };
    char words[MOST_WORDS][WORD_BYTES];
    size_t n = 4 + qk_world_below(writer, 7), times = 2 + qk_world_below(writer, 3);
    const char *const *lead = leads[qk_world_below(writer, sizeof leads / sizeof *leads)];
    /* Mostly side by side: then the word before is all that tells the next. */
    const char *between = qk_world_chance(writer, 70) ? " " : ", ";
    bool mixed = qk_world_chance(writer, 60);
    char list = draw_list(writer);
    writer->slots['p'] = qk_world_passing_name(writer, NULL, 0);
    for (size_t i = 0; i < n; i++) draw_word(words[i], writer, mixed ? draw_list(writer) : list);
    for (size_t round = 0; round < times; round++) {
        qk_world_pattern(writer, lead[round > 0]);
        for (size_t i = 0; i < n; i++) {
            if (i) qk_world_put(writer, between);
            qk_world_put(writer, words[i]);
        }
        qk_world_put(writer, ".\n");
    }
}

/* Keys with their values, two to four times, each time in another order. */
static void pair_again(qk_world_writer *writer)
{
    static const char *const rows[] = { "- %k = %x\n", "* %k: %x\n", "- %k has %x\n", "For %k: %x\n",
                                        "- %k, that is %x\n" };
    char keys[MOST_WORDS][WORD_BYTES], values[MOST_WORDS][WORD_BYTES];
    size_t n = 3 + qk_world_below(writer, 5), times = 2 + qk_world_below(writer, 3), order[MOST_WORDS];
    const char *row = rows[qk_world_below(writer, sizeof rows / sizeof *rows)];
    char list = draw_list(writer);
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
        draw_word(keys[i], writer, 'y');
        draw_word(values[i], writer, list);
        for (size_t j = 0; j < i; j++)
            if (strcmp(keys[i], keys[j]) == 0) strcpy(values[i], values[j]); /* a key has one value */
    }
    for (size_t round = 0; round < times; round++) {
        for (size_t i = 0; i < n; i++) {
            size_t j = i + qk_world_below(writer, n - i), kept = order[i];
            order[i] = order[j];
            order[j] = kept;
            writer->slots['k'] = keys[order[i]];
            writer->slots['x'] = values[order[i]];
            qk_world_pattern(writer, row);
        }
    }
}

/* A verse between which the same refrain comes back. */
static void sing(qk_world_writer *writer)
{
    size_t from = writer->n, n = 1 + qk_world_below(writer, 3), times = 2 + qk_world_below(writer, 2);
    char refrain[600];
    for (size_t i = 0; i < n; i++) qk_world_filler(writer);
    if (writer->failed) return;
    snprintf(refrain, sizeof refrain, "%s", writer->text + from);
    for (size_t round = 1; round < times; round++) {
        qk_world_put(writer, "\n");
        qk_world_state(writer, qk_world_below(writer, N_FACTS));
        qk_world_put(writer, "\n");
        qk_world_put(writer, refrain);
    }
    qk_world_put(writer, "\n");
}

/* Mostly words: that they come in the same order is learned first. */
void qk_world_say_once(qk_world_writer *writer)
{
    if (qk_world_chance(writer, 70)) say_again(writer);
    else pair_again(writer);
}

void qk_world_write_echoes(qk_world_writer *writer, size_t wanted)
{
    while (writer->n < wanted && !writer->failed) {
        size_t drawn = qk_world_below(writer, 100);
        if (drawn < 60) say_again(writer);
        else if (drawn < 90) pair_again(writer);
        else sing(writer);
    }
}
