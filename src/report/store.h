/* store.h - the journal of a run: one SQLite file, two tables (docs/FORMATS.md, "run.db").  Only run.c uses it. */
#ifndef QK_REPORT_STORE_H
#define QK_REPORT_STORE_H

#include "base/base.h"

typedef struct qk_store qk_store;

/* Open or create `path`.  Every commit survives a killed process; the journal mode is WAL, or DELETE where WAL's shared
 * memory cannot work. */
qk_status qk_store_open(qk_store **out, const char *path, qk_error *err);
void qk_store_close(qk_store *store);

/* The key the run was begun with, or NULL in *key where there is none yet (a new file, or one whose maker was killed
 * before its first commit).  malloc'ed, the caller's to free(). */
qk_status qk_store_key(char **key, qk_store *store, qk_error *err);
/* Tables and key in one transaction: afterwards the run exists without any unit, before it does not. */
qk_status qk_store_begin(qk_store *store, const char *key, qk_error *err);

qk_status qk_store_put(qk_store *store, size_t model, const char *condition, size_t document, const char *payload,
                       qk_error *err);
/* malloc'ed text, NULL where there is none. */
char *qk_store_get(qk_store *store, size_t model, const char *condition, size_t document);
size_t qk_store_count(qk_store *store);

#endif
