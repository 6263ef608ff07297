/* answer_oracle.h - an independent judge of answers: logits of one sequence, and what follows from them. */
#ifndef QK_TESTS_ANSWER_ORACLE_H
#define QK_TESTS_ANSWER_ORACLE_H

#include "study_files.h"

#include "pass/pass.h"

enum { MAX_TEXT = 400 };

typedef struct logits { size_t vocab; float *x; } logits; /* [n_tokens][vocab] */

static inline qk_status keep_logits(void *user, const qk_view *view, qk_error *err)
{
    logits *l = user;
    (void)err;
    for (size_t i = 0; i < view->n_rows; i++)
        memcpy(l->x + (view->row0 + i) * l->vocab, view->x + i * view->stride, l->vocab * sizeof *l->x);
    return QK_OK;
}

/* Under `condition`; NULL: as the model is. */
static inline logits logits_under(const qk_model *model, const int32_t *tokens, size_t n, const qk_condition *condition)
{
    logits l = { .vocab = (size_t)model->config.n_vocab };
    qk_pass_result *result = NULL;
    l.x = calloc(n * l.vocab, sizeof *l.x);
    assert_non_null(l.x);
    qk_sequence sequence = { tokens, n, 1 };
    qk_probe probe = { .sites = QK_AT(QK_SITE_LOGITS), .see = keep_logits, .user = &l };
    qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .probes = &probe, .n_probes = 1, .n_threads = 1,
                          .conditions = condition, .n_conditions = condition ? 1 : 0 };
    assert_ok(qk_pass_run(&result, model, &spec, err));
    qk_pass_result_free(result);
    return l;
}

static inline logits logits_of(const qk_model *model, const int32_t *tokens, size_t n)
{
    return logits_under(model, tokens, n, NULL);
}

static inline int32_t argmax(const float *x, size_t n)
{
    size_t top = 0;
    for (size_t i = 0; i < n; i++)
        if (x[i] > x[top]) top = i;
    return (int32_t)top;
}

static inline double nll_of(const float *x, size_t n, int32_t target)
{
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, (double)x[i]);
    for (size_t i = 0; i < n; i++) sum += exp((double)x[i] - most);
    return most + log(sum) - (double)x[target];
}

typedef struct verdict { bool right, first_right; size_t n_tokens, n_answer; double nll; } verdict;

static inline verdict judge_under(const qk_model *model, const char *prompt, const char *answer,
                           const qk_condition *condition)
{
    char text[2 * MAX_TEXT];
    int32_t *before = NULL, *whole = NULL;
    size_t n_before, n_whole, common = 0;
    snprintf(text, sizeof text, "%s %s", prompt, answer);
    assert_ok(qk_tokenize(&before, &n_before, model, prompt, strlen(prompt), true, err));
    assert_ok(qk_tokenize(&whole, &n_whole, model, text, strlen(text), true, err));
    while (common < n_before && common < n_whole && before[common] == whole[common]) common++;
    logits l = logits_under(model, whole, n_whole, condition);
    verdict v = { .right = true, .n_tokens = n_whole, .n_answer = n_whole - common };
    for (size_t t = common; t < n_whole; t++) {
        const float *row = l.x + (t - 1) * l.vocab;
        bool hit = argmax(row, l.vocab) == whole[t];
        if (t == common) v.first_right = hit;
        v.right = v.right && hit;
        v.nll += nll_of(row, l.vocab, whole[t]);
    }
    free(l.x), free(before), free(whole);
    return v;
}

static inline verdict judge(const qk_model *model, const char *prompt, const char *answer)
{
    return judge_under(model, prompt, answer, NULL);
}

/* What the model says after `prompt`, greedily, token by token, the prompt included. */
static inline void continue_text(char text[MAX_TEXT], const qk_model *model, const char *prompt, size_t n_more)
{
    int32_t *tokens = NULL, all[256];
    size_t n;
    char *said = NULL;
    assert_ok(qk_tokenize(&tokens, &n, model, prompt, strlen(prompt), true, err));
    memcpy(all, tokens, n * sizeof *all);
    for (size_t i = 0; i < n_more; i++) {
        logits l = logits_of(model, all, n);
        all[n] = argmax(l.x + (n - 1) * l.vocab, l.vocab);
        n++;
        free(l.x);
    }
    assert_ok(qk_detokenize(&said, model, all, n, err));
    snprintf(text, MAX_TEXT, "%s", said);
    free(tokens), free(said);
}

#endif
