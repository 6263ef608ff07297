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
        size_t a = 1 + qk_world_below(writer, 9), b = 1 + qk_world_below(writer, 9), sum = a + b;
        char line[40];
        snprintf(line, sizeof line, i % 2 ? "%zu + %zu = %zu\n" : "%zu and %zu make %zu\n", a, b, sum);
        qk_world_put(writer, line);
    }
}

/* The kinds of contexts in random order, `first` in front. */
static void order_kinds(qk_question_kind order[QK_N_QUESTION_KINDS - 1], qk_world_writer *writer,
                        qk_question_kind first)
{
    size_t n = 0;
    for (qk_question_kind kind = QK_QUESTION_FACT + 1; kind < QK_N_QUESTION_KINDS; kind++) order[n++] = kind;
    for (size_t i = 0; i + 1 < n; i++) {
        size_t j = i + qk_world_below(writer, n - i);
        if (i == 0) j = (size_t)(first - (QK_QUESTION_FACT + 1));
        qk_question_kind kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* One to three contexts of different kinds, then the questions about all of them; kinds come back only when all were
 * used, so that a question is about one context, or else about the last of its kind. */
void qk_world_write_asking(qk_world_writer *writer, qk_question_kind first, size_t wanted)
{
    enum { N_KINDS = QK_N_QUESTION_KINDS - 1, MOST_TOGETHER = 3 };
    qk_question_kind order[N_KINDS];
    qk_world_asked asked[MOST_TOGETHER * MOST_ASKED];
    size_t n_used = 0;
    order_kinds(order, writer, first);
    while (writer->n < wanted && !writer->failed) {
        const qk_world_form *form = qk_world_choose_form(writer);
        size_t n = 0, n_contexts = 1 + qk_world_below(writer, MOST_TOGETHER);
        for (size_t i = 0; i < n_contexts; i++, n_used++) {
            qk_question_kind kind = order[n_used % N_KINDS];
            if (kind == QK_QUESTION_SUM && qk_world_chance(writer, 25)) qk_world_write_drill(writer);
            n += qk_world_contexts[kind](writer, asked + n);
            qk_world_put(writer, "\n");
        }
        qk_world_shuffle(asked, n, writer);
        for (size_t i = 0; i < n; i++) {
            qk_world_put_question(writer, form, asked[i].question);
            qk_world_put_answer(writer, asked[i].answer);
        }
    }
}
