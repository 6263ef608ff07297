/* quiz_rows.h - question files as rows with named fields; private to src/text. */
#ifndef QK_QUIZ_ROWS_H
#define QK_QUIZ_ROWS_H

#include "text/lines.h"

/* CSV (RFC 4180): the first record names the columns, every other one becomes an object of texts.  Fields in quotes may
 * hold commas, line ends and "" for a quote.  Refused with the line where a record begins: another number of fields
 * than columns, a column without a name or named twice, an open quote; a file without a record. */
qk_status qk_csv_rows(const char *path, const qk_map *file, qk_line_visit *visit, void *user, qk_error *err);
/* One JSON document, an array of objects or an object whose "data" is one: each object with the line where it begins.
 * A file that is neither is read line by line. */
qk_status qk_json_items(const char *path, const qk_map *file, qk_line_visit *visit, void *user, qk_error *err);

#endif
