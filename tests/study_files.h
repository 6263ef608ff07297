/* study_files.h - what the tests of the studies stand on: golden models with a tokenizer of single characters, a few
 * short documents, rows of results. */
#ifndef QK_STUDY_FILES_H
#define QK_STUDY_FILES_H

#include "testing.h"

#include <math.h>
#include <unistd.h>

#include "study/study.h"

enum { N_DOCUMENTS = 7, N_CALIBRATION = 2 };

/* A fresh folder under TMPDIR, and NAME in it (one of eight static buffers). */
static char work_folder[4096];

static inline int make_work_folder(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(work_folder, sizeof work_folder, "%s/qk-study-XXXXXX", base ? base : "/tmp");
    return mkdtemp(work_folder) ? 0 : -1;
}

static inline int remove_work_folder(void **state)
{
    (void)state;
    char command[4200];
    snprintf(command, sizeof command, "rm -rf '%s'", work_folder);
    return system(command);
}

static inline const char *work_path(const char *name)
{
    static char paths[8][8300];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", work_folder, name);
    return path;
}

/* FOLDER/NAME, in one of eight static buffers. */
static inline const char *inside(const char *folder, const char *name)
{
    static char paths[8][9000];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void assert_same_file(const char *a, const char *b, const char *name)
{
    qk_map map[2];
    assert_ok(qk_map_open(&map[0], inside(a, name), err));
    assert_ok(qk_map_open(&map[1], inside(b, name), err));
    if (map[0].size != map[1].size || memcmp(map[0].data, map[1].data, map[0].size) != 0)
        fail_msg("%s differs between %s and %s", name, a, b);
    qk_map_close(&map[0]);
    qk_map_close(&map[1]);
}

/* llama2.c's tokenizer.bin for the 96 ids of the golden models: three markers, then the characters from space on. */
static inline void write_tokenizer(const char *path)
{
    static const char *const markers[] = { "<unk>", "\n<s>\n", "\n</s>\n" };
    uint8_t bytes[4096] = { 8 };
    size_t n = 4;
    for (int id = 0; id < 96; id++) {
        char text[8] = { (char)(' ' + id - 3) };
        if (id < 3) strcpy(text, markers[id]);
        int32_t length = (int32_t)strlen(text);
        float score = (float)-id;
        memcpy(bytes + n, &score, 4);
        memcpy(bytes + n + 4, &length, 4);
        memcpy(bytes + n + 8, text, (size_t)length);
        n += 8 + (size_t)length;
    }
    assert_ok(qk_write_file(path, bytes, n, err));
}

/* A golden model; `named` borrows it. */
static inline qk_named_model open_golden(const char *name)
{
    char folder[256];
    qk_named_model named = { .name = name, .sha256 = "0" };
    snprintf(folder, sizeof folder, "golden/%s", name);
    assert_ok(qk_model_open(&named.model, data_path(folder), NULL, err));
    const char *path = work_path("tokenizer.bin");
    if (!qk_path_exists(path)) write_tokenizer(path);
    qk_tokenizer_close(named.model->tokenizer);
    assert_ok(qk_tokenizer_open_file(&named.model->tokenizer, path, 96, err));
    return named;
}

/* Seven short documents of three categories; the last is a repetition. */
static inline qk_documents open_documents(void)
{
    static const char lines[] =
        "{\"id\": \"a\", \"category\": \"one\", \"text\": \"the river ran low all summer and the stones came up\"}\n"
        "{\"id\": \"b\", \"category\": \"one\", \"text\": \"she counted the steps to the pier, forty and then two\"}\n"
        "{\"id\": \"c\", \"category\": \"one\", \"text\": \"no letter came, and in May they stopped asking for it\"}\n"
        "{\"id\": \"d\", \"category\": \"two\", \"text\": \"a valve opens at 3 bar; below that nothing moves\"}\n"
        "{\"id\": \"e\", \"category\": \"two\", \"text\": \"set the gauge to zero, wait, then read the dial twice\"}\n"
        "{\"id\": \"f\", \"category\": \"two\", \"text\": \"copper creeps under load when it is kept warm\"}\n"
        "{\"id\": \"g\", \"category\": \"repetitive\", \"text\": \"on and on and on and on and on and on\"}\n";
    const char *path = work_path("documents.jsonl");
    assert_ok(qk_write_file(path, lines, sizeof lines - 1, err));
    qk_documents documents;
    assert_ok(qk_documents_load(&documents, &path, 1, &(qk_documents_options) { 0 }, err));
    assert_int_equal(documents.n, N_DOCUMENTS);
    return documents;
}

/* The row of an array whose texts and numbers are as given: key, value, ..., NULL; numbers as "#7". */
static inline json_t *find_row(const json_t *results, const char *array, ...)
{
    json_t *rows = json_object_get(results, array);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        bool same = true;
        va_list args;
        va_start(args, array);
        for (const char *key; same && (key = va_arg(args, const char *));) {
            const char *value = va_arg(args, const char *);
            const json_t *found = json_object_get(row, key);
            same = *value == '#' ? json_is_integer(found) && json_integer_value(found) == atoi(value + 1)
                                 : json_is_string(found) && strcmp(json_string_value(found), value) == 0;
        }
        va_end(args);
        if (same) return row;
    }
    fail_msg("%s: no such row", array);
    return NULL;
}

static inline double number(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    if (!json_is_number(value)) fail_msg("%s: expected a number", key);
    return json_number_value(value);
}

#define assert_refused(call, wanted, part)                                                                             \
    do {                                                                                                               \
        qk_error error_ = { QK_OK, "" };                                                                               \
        qk_error *err = &error_;                                                                                       \
        assert_int_equal((call), wanted);                                                                              \
        if (!strstr(error_.message, part)) fail_msg("\"%s\" says nothing of \"%s\"", error_.message, part);            \
        (void)err;                                                                                                     \
    } while (0)

#endif
