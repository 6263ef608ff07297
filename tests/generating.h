/* generating.h - golden models that write, and what they refuse. */
#ifndef QK_TESTS_GENERATING_H
#define QK_TESTS_GENERATING_H

#include "generate/generate_private.h"
#include "testing.h"

static inline qk_model *open_model(const char *name)
{
    char path[100];
    qk_model *model = NULL;
    snprintf(path, sizeof path, "golden/%s", name);
    assert_ok(qk_model_open(&model, data_path(path), NULL, err));
    return model;
}

static inline qk_generate_result *generate(const qk_model *model, const qk_generate_spec *spec)
{
    qk_generate_result *result = NULL;
    assert_ok(qk_generate(&result, model, spec, err));
    return result;
}

static inline void assert_refused(const qk_model *model, const qk_generate_spec *spec, qk_status expected, const char *words)
{
    qk_generate_result *result = NULL;
    qk_error err = { QK_OK, "" };
    assert_int_equal(qk_generate(&result, model, spec, &err), expected);
    assert_null(result);
    assert_null(strchr(err.message, '\n'));
    if (!strstr(err.message, words)) fail_msg("expected '%s' in: %s", words, err.message);
}

#endif
