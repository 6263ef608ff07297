/* quiz_world.c - questions about the synthetic world. */
#include "text/quiz_set.h"

#include <math.h>
#include <stdlib.h>

static const char *const part_names[] = { "train", "validation", "test" };

static qk_status add_question(qk_quiz_set *set, const qk_world *world, qk_split split, qk_question_kind kind,
                              size_t index, qk_error *err)
{
    qk_question question;
    static const char *const sentiments[] = { "good", "bad" };
    bool closed = kind == QK_QUESTION_SENTIMENT; /* all answers are one of a few */
    char id[80];
    qk_status status = qk_world_ask(&question, world, split, kind, index, false, err);
    if (status) return status;
    snprintf(id, sizeof id, "%s-%s-%zu", part_names[split], qk_question_category(kind), index);
    qk_quiz_source source = { .id = id, .prompt = question.prompt, .answer = question.answer,
                              .category = qk_question_category(kind), .contextual = qk_question_is_contextual(kind),
                              .retrieval = kind == QK_QUESTION_PASS_KEY,
                              .chance = closed ? 0.5 : NAN, .choices = sentiments, .n_choices = closed ? 2 : 0,
                              .place = { "world", index + 1 } };
    status = qk_quiz_set_add(set, &source, err);
    free(question.prompt);
    free(question.answer);
    return status;
}

qk_status qk_quiz_world(qk_quiz *out, uint64_t seed, qk_split split, unsigned kinds, size_t per_category, qk_error *err)
{
    qk_quiz_set set = { .quiz = { .per_category = per_category, .source = "world", .seed = seed,
                                  .part = part_names[split] } };
    qk_world *world = NULL;
    qk_status status = qk_quiz_check_limit(per_category, err);
    if (!status) status = qk_world_new(&world, seed, err);
    for (int kind = 0; kind < QK_N_QUESTION_KINDS; kind++)
        for (size_t i = 0; i < per_category && !status && (kinds == 0 || kinds >> kind & 1); i++)
            status = add_question(&set, world, split, (qk_question_kind)kind, i, err);
    qk_world_free(world);
    if (!status) return qk_quiz_set_finish(out, &set, err);
    qk_quiz_set_free(&set);
    return status;
}
