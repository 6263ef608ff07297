/* plot.h - scales, axes and series on top of figure.h: what every plot of this room is made of. */
#ifndef QK_REPORT_PLOT_H
#define QK_REPORT_PLOT_H

#include "report/figure.h"

/* Type sizes in points, and greys. */
enum { QK_SIZE_TITLE = 13, QK_SIZE_LABEL = 11, QK_SIZE_TICK = 10 };
#define QK_BOLD 1.12 /* how much wider bold text is */
#define QK_INK UINT32_C(0x222222)
#define QK_GREY UINT32_C(0x666666)
#define QK_LIGHT UINT32_C(0xB0B0B0)
#define QK_GRID UINT32_C(0xE6E6E6)

/* Okabe and Ito's colours, which people with any colour vision tell apart; one a model. */
extern const uint32_t qk_model_colours[8];
/* The colour map viridis (van der Walt and Smith 2015), even steps to the eye, also in grey: drawn through nine of its
 * colours. */
void qk_viridis(uint32_t palette[256]);

/* ---- scales: a value's place in points */

typedef struct qk_scale {
    bool log;
    bool has_zero;     /* log: zero has a lane of its own beyond the axis' low end */
    double low, high;  /* values at the ends */
    double from, to;   /* points at the ends; from > to for a y axis */
} qk_scale;

enum { QK_MAX_TICKS = 32 };

/* The nice range that holds [low, high]: ends on ticks for linear scales.  An empty or non-finite range becomes [0, 1]
 * (log: [1, 10]). */
qk_scale qk_scale_linear(double low, double high);
qk_scale qk_scale_log(double low, double high, bool has_zero);
/* NaN for what has no place: NaN, and on a log scale what is not above 0 (0 itself with has_zero has one). */
double qk_scale_map(const qk_scale *scale, double value);
/* Where the lane of zero lies; NaN without one. */
double qk_scale_zero(const qk_scale *scale);
size_t qk_scale_ticks(double ticks[QK_MAX_TICKS], const qk_scale *scale);
/* "0.25", "1,500", "2e-05": at most `digits` significant digits, as few as say the same. */
void qk_format_number(char text[32], double value, int digits);

/* ---- panels: a box with two scales */

typedef struct qk_panel {
    double left, top, width, height;
    qk_scale x, y;
    const char *title;              /* above, NULL for none */
    const char *x_label, *y_label;  /* with units; NULL for none */
    bool whole_x;                   /* ticks at whole numbers only (layers) */
    bool no_x, no_y;                /* the caller labels that axis itself */
} qk_panel;

/* Put the ends of the scales at the edges of the box. */
void qk_panel_place(qk_panel *panel, double left, double top, double width, double height);
/* Grid, ticks, labels, title. */
void qk_panel_draw(qk_figure *figure, const qk_panel *panel);

/* ---- series: x[n], y[n] in values; what has no place interrupts the line */

void qk_plot_line(qk_figure *figure, const qk_panel *panel, const double *x, const double *y, size_t n, qk_paint paint);
/* The area between low and high. */
void qk_plot_band(qk_figure *figure, const qk_panel *panel, const double *x, const double *low, const double *high,
                  size_t n, qk_paint paint);
/* The area between a and b: where b is above, paint `b_above`, else `a_above`. */
void qk_plot_between(qk_figure *figure, const qk_panel *panel, const double *x, const double *a, const double *b,
                     size_t n, qk_paint a_above, qk_paint b_above);
/* A whisker from low to high; nothing where either is not finite. */
void qk_plot_whisker(qk_figure *figure, const qk_panel *panel, double x, double low, double high, bool along_x,
                     uint32_t colour);

/* Names at the right ends of lines, pushed apart where they would overlap. */
typedef struct qk_end_label { double y; const char *text; uint32_t colour; } qk_end_label;
void qk_plot_end_labels(qk_figure *figure, const qk_panel *panel, qk_end_label *labels, size_t n, double width);
/* One line of coloured squares with names; returns the height it takes. */
double qk_plot_legend(qk_figure *figure, double left, double top, double width, const char *const *names,
                      const uint32_t *colours, size_t n);

#endif
