/* quiz_runs.h - the run folder of a study that asks questions, and what it holds of each. */
#ifndef QK_TESTS_QUIZ_RUNS_H
#define QK_TESTS_QUIZ_RUNS_H

#include <jansson.h>

#include "study_files.h"

static inline qk_named_model open_demo(void)
{
    qk_named_model demo = { .name = "demo", .sha256 = "0" };
    assert_ok(qk_model_open(&demo.model, data_path("golden/demo"), NULL, err));
    return demo;
}

static inline qk_run *open_run(const char *name, bool resume)
{
    json_t *key = json_pack("{s:s}", "key", "the same");
    qk_run *run;
    assert_ok(qk_run_open(&run, work_path(name), key, resume, err));
    json_decref(key);
    return run;
}

/* The lines of samples.jsonl as an array. */
static inline json_t *samples_of(const qk_run *run)
{
    char path[8400], line[4096];
    snprintf(path, sizeof path, "%s/samples.jsonl", qk_run_folder(run));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    json_t *rows = json_array();
    while (fgets(line, sizeof line, file)) {
        json_t *row = json_loads(line, 0, NULL);
        assert_non_null(row);
        json_array_append_new(rows, row);
    }
    fclose(file);
    return rows;
}

#endif
