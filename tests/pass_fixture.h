/* pass_fixture.h - a golden model, its text in three pieces, and passes over them. */
#ifndef QK_TESTS_PASS_FIXTURE_H
#define QK_TESTS_PASS_FIXTURE_H

#include "golden.h"

enum { N_DOCUMENTS = 3 };

typedef struct fixture {
    qk_model *model;
    const qk_config *c;
    int32_t *tokens;
    size_t n_tokens;
    qk_sequence sequences[N_DOCUMENTS]; /* the whole golden text, its first half, its second half */
} fixture;

static inline fixture open_fixture(const char *name)
{
    fixture f = { 0 };
    char path[100];
    qk_ckpt *golden = NULL;
    snprintf(path, sizeof path, "golden/%s", name);
    assert_ok(qk_model_open(&f.model, data_path(path), NULL, err));
    snprintf(path, sizeof path, "golden/%s/golden.safetensors", name);
    assert_ok(qk_ckpt_open_safetensors(&golden, data_path(path), err));
    f.tokens = golden_tokens(&f.n_tokens, golden);
    qk_ckpt_close(golden);
    f.c = qk_model_config(f.model);
    size_t half = f.n_tokens / 2;
    f.sequences[0] = (qk_sequence){ f.tokens, f.n_tokens, 1 };
    f.sequences[1] = (qk_sequence){ f.tokens, half, 1 };
    f.sequences[2] = (qk_sequence){ f.tokens + half, f.n_tokens - half, 2 };
    return f;
}

static inline void close_fixture(fixture *f)
{
    free(f->tokens);
    qk_model_close(f->model);
}

static inline qk_pass_spec spec_of(const fixture *f)
{
    return (qk_pass_spec){ .sequences = f->sequences, .n_sequences = N_DOCUMENTS, .score = true };
}

static inline qk_pass_result *run(const fixture *f, const qk_pass_spec *spec)
{
    qk_pass_result *result = NULL;
    assert_ok(qk_pass_run(&result, f->model, spec, err));
    return result;
}

static inline qk_status run_status(const fixture *f, const qk_pass_spec *spec, char message[500])
{
    qk_pass_result *result = NULL;
    qk_error err = { QK_OK, "" };
    qk_status status = qk_pass_run(&result, f->model, spec, &err);
    assert_int_equal(strchr(err.message, '\n') != NULL, 0);
    if (status) assert_null(result); /* outputs are untouched */
    snprintf(message, 500, "%s", err.message);
    qk_pass_result_free(result);
    return status;
}

static inline bool same_nll(const qk_pass_result *a, size_t ca, const qk_pass_result *b, size_t cb)
{
    for (size_t s = 0; s < a->n_sequences; s++)
        if (a->scores[s * a->n_conditions + ca].nll != b->scores[s * b->n_conditions + cb].nll) return false;
    return true;
}

/* A mask over one site with the dims in the list set. */
static inline uint8_t *mask_of(const qk_config *c, qk_site site, const size_t *dims, size_t n)
{
    uint8_t *mask = calloc(qk_site_width(c, site), 1);
    for (size_t i = 0; i < n; i++) mask[dims[i]] = 1;
    return mask;
}

#endif
