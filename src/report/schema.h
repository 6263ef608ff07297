/* schema.h - the fields of results.json as tables; results.c checks files against them. */
#ifndef QK_REPORT_SCHEMA_H
#define QK_REPORT_SCHEMA_H

#include "report/results.h"

typedef enum qk_field_type {
    QK_IS_TEXT, QK_IS_TEXT_OR_NULL, QK_IS_COUNT, QK_IS_NUMBER, QK_IS_NUMBER_OR_NULL, QK_IS_ANY, QK_IS_OBJECT,
    QK_IS_ARRAY, QK_IS_PAIR_OR_NULL, QK_IS_MODEL, QK_IS_MODELS, QK_IS_TEXTS,
    QK_IS_DOCUMENT, QK_IS_LAYER, QK_IS_TENSOR, QK_IS_KIND, QK_IS_ARM,
    QK_N_FIELD_TYPES
} qk_field_type;

/* What an error says was expected. */
extern const char *const qk_field_words[QK_N_FIELD_TYPES];

/* Lists end with a NULL name. */
typedef struct qk_field { const char *name; qk_field_type type; } qk_field;

/* An array of rows; `inner` is an array (or an object) inside each row with rows of its own. */
typedef struct qk_table {
    const char *name;
    const qk_field *fields;
    const char *inner;
    const qk_field *inner_fields;
    size_t max_rows; /* 0 = any number; tables that are searched row by row have a bound */
} qk_table;
enum { QK_SEARCHED_ROWS = 4096 };

typedef struct qk_study_schema {
    const char *name;
    const qk_field *settings;
    const qk_table *tables;
    bool has_arms;
} qk_study_schema;

extern const qk_study_schema qk_study_schemas[QK_N_STUDIES];
extern const qk_field qk_common_fields[], qk_model_fields[], qk_pair_fields[], qk_document_fields[], qk_arm_fields[];
extern const qk_field qk_whole_model_fields[]; /* what captured tensors have no model to say */

#endif
