/* tasks_view.h - what the figures and the page say alike of questions: the conditions shown, and how they are
 * called. */
#ifndef QK_REPORT_TASKS_VIEW_H
#define QK_REPORT_TASKS_VIEW_H

#include "report/draw.h"

enum { QK_SHOWN_CONDITIONS = 4 };

typedef struct qk_shown_condition {
    const char *name;  /* in the results: "baseline", "massive", "mean", "random" */
    const char *words; /* for readers */
} qk_shown_condition;

/* Those that any model was asked under, baseline first; returns how many. */
size_t qk_conditions_shown(qk_shown_condition shown[QK_SHOWN_CONDITIONS], const qk_results *results);
/* "massive zeroed" for "massive"; the name itself where it has no other words (a single control).  results NULL: of a
 * study without presets. */
const char *qk_condition_words(const qk_results *results, const char *name);
/* The row of a model, a condition and a category (of categories[]) or a kind (of kinds[]); NULL where there is none. */
const json_t *qk_find_answers(const qk_results *results, const char *array, size_t model, const char *condition,
                              const char *field, const char *value);
/* Some answers were judged on text that the model wrote (html_tasks_sides.c). */
bool qk_tasks_written(const qk_results *results);
/* Models under one another, conditions side by side: accuracy with its interval, and how many were unparsed. */
void qk_html_tasks_sides(FILE *stream, const qk_results *results);
/* The mark that stands for a condition: a full dot for the baseline, open ones for broken models, a small one for
 * controls. */
void qk_draw_condition(qk_figure *figure, double x, double y, const char *condition, uint32_t colour,
                       const char *title);
/* A line that explains the marks; returns its height, 0 where the baseline stands alone. */
double qk_draw_condition_legend(qk_figure *figure, const qk_results *results, double left, double top);

#endif
