/* trainer_settings.c - what the numbers of a run depend on, and whether a resumed run has the same. */
#include "train/trainer_private.h"

#include <stdlib.h>
#include <string.h>

static const char *const schedules[] = {
    [QK_SCHEDULE_COSINE] = "cosine", [QK_SCHEDULE_CONSTANT] = "constant", [QK_SCHEDULE_WSD] = "wsd",
};
static const char *const precisions[] = {
    [QK_PRECISION_AUTO] = "auto", [QK_PRECISION_F32] = "f32", [QK_PRECISION_BF16] = "bf16",
};

static json_t *optimiser_json(const qk_optimiser *o)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:b, s:f, s:s, s:I, s:I, s:I, s:f}", "lr", o->learning_rate, "beta1",
                     o->beta1, "beta2", o->beta2, "epsilon", o->epsilon, "weight_decay", o->weight_decay, "decay_qk",
                     o->decay_qk, "clip", o->clip, "schedule", schedules[o->schedule], "steps",
                     (json_int_t)o->n_steps, "warmup", (json_int_t)o->n_warmup, "decay", (json_int_t)o->n_decay,
                     "min_lr", o->least);
}

json_t *qk_trainer_settings(const qk_training *t)
{
    json_t *optimiser = optimiser_json(&t->optimiser);
    json_t *given = t->settings ? json_deep_copy(t->settings) : json_object();
    /* 'o' takes both over, whether it succeeds or not; NULL makes it fail */
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:b, s:b, s:s, s:s, s:I, s:o}", "optimiser", optimiser, "seed",
                     (json_int_t)t->batch.seed, "context", (json_int_t)t->batch.context, "batch",
                     (json_int_t)t->batch.n_rows, "micro", (json_int_t)qk_trainer_micro_rows(t), "across_documents",
                     t->batch.across_documents, "in_order", t->batch.in_order, "precision", precisions[t->precision],
                     "level", t->reference ? "reference" : qk_level_name(t->level), "weights",
                     (json_int_t)t->parameters->n_values, "run", given);
}

static qk_status differ(const char *key, const json_t *saved, const json_t *present, qk_error *err)
{
    char *was = saved ? json_dumps(saved, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : strdup("nothing");
    char *is = present ? json_dumps(present, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : strdup("nothing");
    qk_status status = qk_fail(err, QK_E_ARGUMENT, "%s: expected %.80s as in the run that is resumed, found %.80s", key,
                               was ? was : "?", is ? is : "?");
    free(was);
    free(is);
    return status;
}

static bool skipped(const char *key, const char *const *skip)
{
    for (; skip && *skip; skip++)
        if (strcmp(key, *skip) == 0) return true;
    return false;
}

/* Every key of both, but those of `skip` (ends with NULL); objects in objects by the same rule. */
static qk_status agree(const json_t *saved, const json_t *present, const char *const *skip, qk_error *err)
{
    for (int side = 0; side < 2; side++) {
        const char *key;
        const json_t *value;
        json_object_foreach((json_t *)(uintptr_t)(side ? saved : present), key, value) {
            const json_t *was = json_object_get(saved, key), *is = json_object_get(present, key);
            if (skipped(key, skip) || json_equal(was, is)) continue;
            if (!json_is_object(was) || !json_is_object(is)) return differ(key, was, is, err);
            qk_status status = agree(was, is, skip, err);
            if (status) return status;
        }
    }
    return QK_OK;
}

static uint64_t count(const json_t *object, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(object, key));
    return n > 0 ? (uint64_t)n : 0;
}

qk_status qk_trainer_settings_agree(const json_t *saved, const json_t *present, const qk_optimiser *optimiser,
                                    uint64_t n_done, qk_error *err)
{
    static const char *const may_change[] = { "steps", "decay", NULL };
    const json_t *was = json_object_get(saved, "optimiser"), *is = json_object_get(present, "optimiser");
    qk_status status = agree(saved, present, may_change, err);
    if (status) return status;
    qk_optimiser before = *optimiser; /* all else is the same */
    before.n_steps = count(was, "steps");
    before.n_decay = count(was, "decay");
    for (uint64_t step = 0; step < n_done; step++) {
        if (qk_learning_rate(&before, step) == qk_learning_rate(optimiser, step)) continue;
        const char *key = before.n_steps == optimiser->n_steps ? "decay" : "steps";
        return differ(key, json_object_get(was, key), json_object_get(is, key), err);
    }
    return QK_OK;
}
