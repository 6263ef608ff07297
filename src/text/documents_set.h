/* documents_set.h - a document set while it grows, with the place each document came from; private to src/text. */
#ifndef QK_DOCUMENTS_SET_H
#define QK_DOCUMENTS_SET_H

#include "text/lines.h"
#include "text/text.h"

typedef struct qk_document_set {
    qk_documents documents;
    size_t capacity, limit; /* limit 0 = none */
    qk_place *places; /* [capacity], beside documents.items */
} qk_document_set; /* {0} is an empty one */

/* What a document is made of; all borrowed, category NULL where not told.  Valid UTF-8. */
typedef struct qk_document_source {
    const char *id, *category, *text;
    size_t n_bytes;
    qk_place place;
} qk_document_source;

bool qk_document_set_full(const qk_document_set *set);
/* Copies `source` and fills in hash and `repetitive`; text without a printing character is refused. */
qk_status qk_document_set_add(qk_document_set *set, qk_document_source source, qk_error *err);
/* Refuses an empty set and a duplicate id, hashes the set and hands it over; `set` is empty afterwards in any case. */
qk_status qk_document_set_finish(qk_documents *out, qk_document_set *set, qk_error *err);
void qk_document_set_free(qk_document_set *set);

/* The part of text[0..*n_bytes) without white space (Unicode White_Space) at its ends; *n_bytes becomes its length. */
const char *qk_strip(const char *text, size_t *n_bytes);

/* The built-in texts, written into a C file by tools/embed.c when the project is built; in file name order. */
typedef struct qk_builtin_document {
    const char *id, *category, *text;
    size_t n_bytes;
} qk_builtin_document;
extern const qk_builtin_document qk_builtin_documents[];
extern const size_t qk_n_builtin_documents;

#endif
