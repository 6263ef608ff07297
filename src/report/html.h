/* html.h - report.html: one file that explains itself, needs no network and no scripts to be read. */
#ifndef QK_REPORT_HTML_H
#define QK_REPORT_HTML_H

#include "report/draw.h"
#include "report/results.h"

/* One study of the page: a run, or several whose arms are shown together. */
typedef struct qk_part {
    const char *folder;        /* below the report's own, "" for itself: where links lead */
    qk_results *results;
    qk_drawing drawing;
    char *svg[QK_MAX_FIGURES]; /* one a figure */
    const struct qk_part *members[QK_REPORT_ARMS]; /* the runs that it was put together of; none: it is a run itself */
    size_t n_members;
} qk_part;

qk_status qk_html_write(const char *path, const qk_part *parts, size_t n_parts, qk_error *err);

/* ---- for the files that write parts of it */

/* printf for HTML: %s is escaped text, %g a number of up to three digits ("not available" for NaN), %zu a count, %% a
 * percent sign; nothing else. */
void qk_html(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* " (95 % interval 1.2 to 3.4)", or nothing where there is none or it has no width. */
void qk_html_interval(FILE *stream, const json_t *row, const char *name);

typedef enum qk_cell {
    QK_CELL_TEXT, QK_CELL_NUMBER, QK_CELL_PAIR, QK_CELL_LIST,
    QK_CELL_MODEL,   /* the model's name */
    QK_CELL_MODELS,  /* of "model", or of both in "models" */
    QK_CELL_ARM,     /* the arm's name */
    QK_CELL_YES      /* true: yes */
} qk_cell;
/* A column: "a.b" is a field of a field, "^a" one of the outer row. */
typedef struct qk_html_column { const char *header, *path; qk_cell kind; const char *help; } qk_html_column;
/* Rows of results.json (or of the array `inner` in each) as a sortable table; columns end with a NULL header. */
void qk_html_table(FILE *stream, const qk_results *results, const char *caption, const json_t *rows, const char *inner,
                   const qk_html_column *columns);

/* What a page says of a study. */
typedef struct qk_study_page {
    const char *title;
    void (*question)(FILE *stream, const qk_results *results);
    void (*findings)(FILE *stream, const qk_results *results); /* <li> each */
    void (*tables)(FILE *stream, const qk_results *results);
    void (*limits)(FILE *stream, const qk_results *results);   /* <li> each */
    void (*naive)(FILE *stream, const qk_results *results);    /* its own heading; nothing where there is none */
} qk_study_page;
extern const qk_study_page qk_massive_page, qk_disrupt_page, qk_tasks_page, qk_context_page, qk_train_page, qk_recalibrate_page;

/* html_answer.c: what tasks under conditions and context say together, a section of its own. */
bool qk_html_has_answer(const qk_part *parts, size_t n_parts);
void qk_html_answer(FILE *stream, const qk_part *parts, size_t n_parts);

/* Models that are checkpoints with matrices quantised while loading: what of, and what that alone does to the loss. */
void qk_html_quantized(FILE *stream, const qk_results *results);
void qk_html_provenance(FILE *stream, const qk_results *results);
/* Data blocks and the script, before </body>. */
void qk_html_data(FILE *stream, const qk_part *part, size_t index);
extern const char qk_html_style[], qk_html_script[];

#endif
