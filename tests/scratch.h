/* scratch.h - for tests that turn golden models into other folders: a folder of their own, made before and removed
 * after, and the model. */
#ifndef QK_TEST_SCRATCH_H
#define QK_TEST_SCRATCH_H

#include "model/model.h"
#include "testing.h"

static char scratch[] = "/tmp/qk_test_XXXXXX";

static inline int make_scratch(void **state)
{
    (void)state;
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int drop_scratch(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", scratch);
    return system(command);
}

static inline qk_model *open_golden(const char *name)
{
    char path[64];
    qk_model *model;
    snprintf(path, sizeof path, "golden/%s", name);
    assert_ok(qk_model_open(&model, data_path(path), NULL, err));
    return model;
}

#endif
