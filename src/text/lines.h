/* lines.h - text files read strictly: UTF-8 without NUL, one JSON object a line; for src/text and prompts. */
#ifndef QK_LINES_H
#define QK_LINES_H

#include <jansson.h>

#include "base/base.h"

/* "path:line" of messages; lines count from 1. */
typedef struct qk_place {
    const char *path; /* borrowed */
    size_t line;
} qk_place;

/* The last part of a path. */
const char *qk_file_name(const char *path);
/* Line of byte `offset`, from 1; only counted when a message or a place needs it. */
size_t qk_line_of(const qk_map *file, size_t offset);
/* Where the text begins: behind a byte order mark, which belongs to the file and not to the text. */
size_t qk_text_start(const qk_map *file);
/* UTF-8 without NUL: what is read becomes a C string too. */
qk_status qk_text_check(const char *path, const qk_map *file, size_t from, size_t n_bytes, qk_error *err);

/* Called for each object in order; sets *enough where no further line is wanted. */
typedef qk_status qk_line_visit(void *user, const json_t *object, qk_place place, bool *enough, qk_error *err);
/* Every line that is not blank must be a JSON object, and there must be one. */
qk_status qk_json_lines(const char *path, const qk_map *file, qk_line_visit *visit, void *user, qk_error *err);

/* "text", "an integer", "nothing": for messages about what was found. */
const char *qk_json_kind(const json_t *value);
/* A string member without NUL, borrowed from `object`; NULL where it is optional and absent or null. */
qk_status qk_json_member(const char **out, size_t *n_bytes, const json_t *object, const char *key, bool optional,
                         qk_place place, qk_error *err);
/* The member "id": text, or an integer (many data sets number their rows) written into `digits`; NULL where absent. */
qk_status qk_json_id(const char **out, char digits[24], const json_t *object, qk_place place, qk_error *err);

#endif
