/* world_quiz.c - documents that ask: quizzes and lessons about facts, and about what they said themselves. */
#include "text/world_private.h"

#include <stdio.h>

static const qk_world_form forms[] = {
    { "Question: ", "\nAnswer:" },
    { "Question: ", "\nAnswer:" },
    { "Question: ", "\nAnswer:" },
    { "Q: ", "\nA:" },
    { "The master asks: ", "\nThe child says:" },
    { "Asked: ", "\nSaid:" },
    { "They asked %v: ", "\nAnd %v said:" },
    { "- ", "\n- Answer:" },
};

const qk_world_form *qk_world_choose_form(qk_world_writer *writer)
{
    writer->slots['v'] = qk_world_passing_name(writer, NULL, 0);
    return &forms[qk_world_below(writer, sizeof forms / sizeof *forms)];
}

void qk_world_put_question(qk_world_writer *writer, const qk_world_form *form, const char *question)
{
    qk_world_pattern(writer, form->before);
    qk_world_put(writer, question);
    qk_world_pattern(writer, form->between);
}

void qk_world_put_answer(qk_world_writer *writer, const char *answer)
{
    qk_world_put(writer, " ");
    qk_world_put(writer, answer);
    qk_world_put(writer, "\n");
}

/* ---- facts */

static void ask_fact(qk_world_writer *writer, const qk_world_form *form)
{
    char question[200];
    size_t fact = qk_world_fresh_fact(writer);
    qk_world_mark(writer, fact);
    qk_world_wording(question, sizeof question, writer, fact);
    qk_world_put_question(writer, form, question);
    qk_world_put_answer(writer, qk_world_object(writer, &writer->world->facts[fact]));
}

void qk_world_write_quiz(qk_world_writer *writer, size_t wanted)
{
    static const char *const titles[] = {
        "A quiz about the world.\n",
        "Questions and answers.\n",
        "The @t quiz at the @p.\n",
        "Here are some questions about cities, rivers and people.\n",
        "What do you know about the world?\n",
        "Test your knowledge.\n",
    };
    const qk_world_form *form = qk_world_choose_form(writer);
    if (qk_world_chance(writer, 40)) PATTERN_OF(writer, titles);
    while (writer->n < wanted && !writer->failed) ask_fact(writer, form);
}

/* Some facts are told, others are asked for. */
void qk_world_write_lesson(qk_world_writer *writer, size_t wanted)
{
    static const char *const titles[] = {
        "The lesson of the @t.\n",     "Read this and answer the questions.\n",    "From the school book.\n",
        "Notes from the @p school.\n", "First some facts, then some questions.\n",
    };
    const qk_world_form *form = qk_world_choose_form(writer);
    if (qk_world_chance(writer, 60)) PATTERN_OF(writer, titles);
    while (writer->n < wanted && !writer->failed) {
        size_t n_told = 2 + qk_world_below(writer, 4), n_asked = 2 + qk_world_below(writer, 6);
        for (size_t i = 0; i < n_told; i++) qk_world_state(writer, qk_world_fresh_fact(writer));
        qk_world_put(writer, "\n");
        for (size_t i = 0; i < n_asked; i++) ask_fact(writer, form);
    }
}

/* ---- contexts */

void qk_world_write_drill(qk_world_writer *writer)
{
    size_t n = 4 + qk_world_below(writer, 6);
    for (size_t i = 0; i < n; i++) {
        size_t sum = 3 + qk_world_below(writer, 18), a = 1 + qk_world_below(writer, sum - 1), b = sum - a;
        char line[40];
        snprintf(line, sizeof line, i % 2 ? "%zu + %zu = %zu\n" : "%zu and %zu make %zu\n", a, b, sum);
        qk_world_put(writer, line);
    }
}

void qk_world_write_asking(qk_world_writer *writer, qk_question_kind kind, size_t wanted)
{
    while (writer->n < wanted && !writer->failed) {
        qk_world_asked asked[MOST_ASKED];
        const qk_world_form *form = qk_world_choose_form(writer);
        if (kind == QK_QUESTION_SUM && qk_world_chance(writer, 25)) qk_world_write_drill(writer);
        size_t n = qk_world_contexts[kind](writer, asked);
        qk_world_put(writer, "\n");
        for (size_t i = 0; i < n; i++) {
            qk_world_put_question(writer, form, asked[i].question);
            qk_world_put_answer(writer, asked[i].answer);
        }
    }
}
