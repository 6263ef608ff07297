/* figure.c - the list of marks. */
#include "report/figure.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

qk_figure *qk_figure_new(const char *name, double width)
{
    qk_figure *figure = calloc(1, sizeof *figure);
    if (!figure) return NULL;
    figure->width = width;
    figure->title = figure->description = "";
    figure->name = qk_figure_text(figure, "%s", name);
    return figure;
}

void qk_figure_free(qk_figure *figure)
{
    if (!figure) return;
    qk_arena_free(&figure->arena);
    free(figure->marks);
    free(figure);
}

static void *keep(qk_figure *figure, const void *bytes, size_t n_bytes)
{
    void *copy = qk_arena_alloc(&figure->arena, n_bytes ? n_bytes : 1);
    if (!copy)
        figure->out_of_memory = true;
    else if (n_bytes)
        memcpy(copy, bytes, n_bytes);
    return copy;
}

const char *qk_figure_text(qk_figure *figure, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int n = vsnprintf(NULL, 0, format, values);
    va_end(values);
    char *text = n >= 0 ? qk_arena_alloc(&figure->arena, (size_t)n + 1) : NULL;
    if (!text) {
        figure->out_of_memory = true;
        return "";
    }
    va_start(values, format);
    vsnprintf(text, (size_t)n + 1, format, values);
    va_end(values);
    return text;
}

/* Width of the character at text[i] in em, and the bytes it takes. */
static double character_width(const char *text, size_t n_left, size_t *n_bytes)
{
    uint32_t codepoint = 0xFFFD;
    int length = qk_utf8_length((const uint8_t *)text, n_left);
    *n_bytes = length > 0 ? (size_t)length : 1;
    if (length > 0) qk_utf8_decode(&codepoint, (const uint8_t *)text);
    if (codepoint < 128) {
        if (strchr("ijl.,:;'|!()[]I ft", (int)codepoint)) return 0.3;
        if (strchr("mwMW%@", (int)codepoint)) return 0.86;
        return codepoint >= 'A' && codepoint <= 'Z' ? 0.68 : 0.56;
    }
    int cells = utf8proc_charwidth((utf8proc_int32_t)codepoint);
    return cells > 1 ? 1.0 : cells == 1 ? 0.58 : 0.0;
}

double qk_text_width(const char *text, double size)
{
    double width = 0;
    for (size_t i = 0, n = strlen(text), step; i < n; i += step) width += character_width(text + i, n - i, &step);
    return width * size;
}

const char *qk_figure_fit(qk_figure *figure, const char *text, double size, double width)
{
    if (qk_text_width(text, size) <= width) return text;
    double room = width / size - 0.8, used = 0; /* an ellipsis is about 0.8 em */
    size_t n = strlen(text), i = 0;
    while (i < n) {
        size_t step;
        used += character_width(text + i, n - i, &step);
        if (used > room) break;
        i += step;
    }
    return qk_figure_text(figure, "%.*s\u2026", (int)i, text);
}

static void add(qk_figure *figure, qk_mark mark)
{
    if (figure->n_marks == figure->capacity) {
        size_t capacity = figure->capacity ? 2 * figure->capacity : 256, n_bytes;
        qk_mark *marks = qk_mul(capacity, sizeof *marks, &n_bytes) ? realloc(figure->marks, n_bytes) : NULL;
        if (!marks) {
            figure->out_of_memory = true;
            return;
        }
        figure->marks = marks;
        figure->capacity = capacity;
    }
    if (mark.title) mark.title = keep(figure, mark.title, strlen(mark.title) + 1);
    if (mark.text) mark.text = keep(figure, mark.text, strlen(mark.text) + 1);
    if (mark.points) mark.points = keep(figure, mark.points, 2 * mark.n_points * sizeof mark.points[0]);
    if (mark.pixels) mark.pixels = keep(figure, mark.pixels, (size_t)mark.n_rows * mark.n_columns);
    if (mark.palette) mark.palette = keep(figure, mark.palette, 256 * sizeof mark.palette[0]);
    if (!figure->out_of_memory) figure->marks[figure->n_marks++] = mark;
}

qk_mark *qk_last_mark(qk_figure *figure)
{
    return figure->out_of_memory || figure->n_marks == 0 ? NULL : &figure->marks[figure->n_marks - 1];
}

void qk_draw_rect(qk_figure *figure, double x, double y, double width, double height, qk_paint paint, const char *title)
{
    add(figure,
        (qk_mark){
            .kind = QK_MARK_RECT, .x = x, .y = y, .width = width, .height = height, .paint = paint, .title = title });
}

void qk_draw_dot(qk_figure *figure, double x, double y, double diameter, qk_paint paint, const char *title)
{
    add(figure, (qk_mark){ .kind = QK_MARK_DOT, .x = x, .y = y, .width = diameter, .paint = paint, .title = title });
}

void qk_draw_line(qk_figure *figure, double x1, double y1, double x2, double y2, qk_paint paint)
{
    paint.fill = QK_NO_COLOUR;
    qk_draw_path(figure, (const double[]){ x1, y1, x2, y2 }, 2, false, paint, NULL);
}

void qk_draw_path(qk_figure *figure, const double *points, size_t n_points, bool closed, qk_paint paint,
                  const char *title)
{
    if (n_points < 2) return;
    add(figure, (qk_mark){ .kind = QK_MARK_PATH,
                           .points = points,
                           .n_points = n_points,
                           .closed = closed,
                           .paint = paint,
                           .title = title });
}

void qk_draw_text(qk_figure *figure, double x, double y, double size, uint32_t colour, qk_anchor anchor,
                  const char *text)
{
    add(figure, (qk_mark){ .kind = QK_MARK_TEXT, .x = x, .y = y, .size = size, .anchor = anchor, .text = text,
                           .paint = { colour, QK_NO_COLOUR, 1, 0, false } });
}

void qk_draw_raster(qk_figure *figure, double x, double y, double width, double height, const uint8_t *pixels,
                    uint32_t n_columns, uint32_t n_rows, const uint32_t *palette, const char *title)
{
    add(figure, (qk_mark){ .kind = QK_MARK_RASTER, .x = x, .y = y, .width = width, .height = height, .pixels = pixels,
                           .n_columns = n_columns, .n_rows = n_rows, .palette = palette, .title = title });
}
