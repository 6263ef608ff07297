/* counted_documents.h - what trainings in tests stand on: documents whose tokens say which and where they are, and the
 * settings of the optimiser that the oracle used. */
#ifndef QK_TESTS_COUNTED_DOCUMENTS_H
#define QK_TESTS_COUNTED_DOCUMENTS_H

#include "data/optimiser_oracle.h"
#include "study_files.h"
#include "train/trainer.h"

static const qk_optimiser adamw = {
    .learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .decay_qk = true,
    .clip = 1, .schedule = QK_SCHEDULE_COSINE, .n_steps = ORACLE_STEPS, .n_warmup = 2, .least = 0.1,
};

/* Document `index` has 3 + index % 40 tokens: index, then 40 + its place. */
static inline qk_status counted_tokens(void *user, int32_t **tokens, size_t *n_tokens, uint64_t index, qk_error *err)
{
    (void)user;
    *n_tokens = (size_t)(3 + index % 40);
    qk_status status = qk_new_array(tokens, *n_tokens, sizeof **tokens, "tokens", err);
    if (status) return status;
    (*tokens)[0] = (int32_t)(index % 40);
    for (size_t i = 1; i < *n_tokens; i++) (*tokens)[i] = (int32_t)(40 + i);
    return QK_OK;
}

static inline qk_corpus counted(uint64_t n_documents) { return (qk_corpus){ n_documents, counted_tokens, NULL }; }

#endif
