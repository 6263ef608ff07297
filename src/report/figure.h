/* figure.h - a figure is a list of marks in points (1/72 inch, y downwards), drawn by svg.c or by cairo.c.
 *
 * Adding a mark cannot fail in the caller's face: the first allocation that fails is remembered and every drawing
 * function reports it.  All text is UTF-8 from anywhere; it is copied, and escaped where it is written. */
#ifndef QK_REPORT_FIGURE_H
#define QK_REPORT_FIGURE_H

#include "base/base.h"

typedef enum qk_anchor { QK_ANCHOR_START, QK_ANCHOR_MIDDLE, QK_ANCHOR_END } qk_anchor;

/* Colours are 0xRRGGBB; QK_NO_COLOUR leaves that part out. */
#define QK_NO_COLOUR UINT32_C(0xFFFFFFFF)
typedef struct qk_paint {
    uint32_t fill, stroke;
    double fill_opacity; /* 0 reads as 1 */
    double stroke_width; /* points; 0 reads as 1 */
    bool dashed;
} qk_paint;
static inline qk_paint qk_fill(uint32_t colour, double opacity)
{
    return (qk_paint){ colour, QK_NO_COLOUR, opacity, 0, false };
}
static inline qk_paint qk_stroke(uint32_t colour, double width)
{
    return (qk_paint){ QK_NO_COLOUR, colour, 1, width, false };
}
static inline qk_paint qk_dashes(uint32_t colour, double width)
{
    return (qk_paint){ QK_NO_COLOUR, colour, 1, width, true };
}

typedef enum qk_mark_kind {
    QK_MARK_RECT,
    QK_MARK_DOT,
    QK_MARK_PATH,
    QK_MARK_TEXT,
    QK_MARK_RASTER,
    QK_N_MARKS
} qk_mark_kind;

typedef struct qk_mark {
    qk_mark_kind kind;
    double x, y, width, height; /* rect, raster: the box; dot: centre and diameter in width; text: the anchor point */
    qk_paint paint;
    const char *title;          /* tooltip, NULL for none */
    const double *points;       /* path: x, y of each */
    size_t n_points;
    bool closed;                /* path */
    const char *text;
    double size;                /* text: points */
    double turn;                /* text: degrees clockwise */
    qk_anchor anchor;
    bool bold;
    const uint8_t *pixels;      /* raster: [n_rows][n_columns] indices into palette */
    uint32_t n_columns, n_rows;
    const uint32_t *palette;    /* raster: [256] colours */
} qk_mark;

typedef struct qk_figure {
    const char *name;           /* file name without its ending */
    const char *title, *description; /* for readers who do not see it */
    double width, height;
    qk_mark *marks;
    size_t n_marks, capacity;
    bool out_of_memory;
    qk_arena arena;             /* owns every text, point and pixel */
} qk_figure;

qk_figure *qk_figure_new(const char *name, double width); /* NULL when out of memory */
void qk_figure_free(qk_figure *figure);

/* Formatted copy in the figure's arena; "" when out of memory. */
const char *qk_figure_text(qk_figure *figure, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The text cut to `width` points at `size`, with an ellipsis where something is left out. */
const char *qk_figure_fit(qk_figure *figure, const char *text, double size, double width);
/* Width in points that a sans-serif face takes, good to a tenth: what labels are placed by. */
double qk_text_width(const char *text, double size);

void qk_draw_rect(qk_figure *figure, double x, double y, double width, double height, qk_paint paint,
                  const char *title);
void qk_draw_dot(qk_figure *figure, double x, double y, double diameter, qk_paint paint, const char *title);
void qk_draw_line(qk_figure *figure, double x1, double y1, double x2, double y2, qk_paint paint);
/* points[2 * n_points] is copied. */
void qk_draw_path(qk_figure *figure, const double *points, size_t n_points, bool closed, qk_paint paint,
                  const char *title);
void qk_draw_text(qk_figure *figure, double x, double y, double size, uint32_t colour, qk_anchor anchor,
                  const char *text);
/* The last mark, for what the short calls leave out (turn, bold, title); NULL when out of memory. */
qk_mark *qk_last_mark(qk_figure *figure);
/* pixels[n_rows][n_columns] and palette[256] are copied. */
void qk_draw_raster(qk_figure *figure, double x, double y, double width, double height, const uint8_t *pixels,
                    uint32_t n_columns, uint32_t n_rows, const uint32_t *palette, const char *title);

/* ---- out of the list */

/* One <svg> element; `standalone` puts the XML declaration before it.  Text stays text, tooltips are <title>. */
qk_status qk_svg_write(FILE *stream, const qk_figure *figure, bool standalone, qk_error *err);
/* QK_E_UNSUPPORTED in a build without cairo.  `date` (ISO 8601) is the PDF's, so that the same figure gives the same
 * bytes. */
qk_status qk_png_write(const char *path, const qk_figure *figure, qk_error *err);
qk_status qk_pdf_write(const char *path, const qk_figure *figure, const char *date, qk_error *err);

/* Text with & < > " ' as entities and what XML cannot hold (control characters, broken UTF-8) as U+FFFD: for element
 * text, for attributes in double quotes, in SVG and in HTML. */
void qk_write_escaped(FILE *stream, const char *text);
void qk_write_base64(FILE *stream, const uint8_t *bytes, size_t n_bytes);
/* A palette PNG; *bytes is malloc'ed. */
qk_status qk_palette_png(uint8_t **bytes, size_t *n_bytes, const uint8_t *pixels, uint32_t n_columns, uint32_t n_rows,
                         const uint32_t *palette, qk_error *err);

#endif
