/* cairo.c - the same marks as PNG and PDF, in builds with cairo. */
#include "report/figure.h"

#ifndef QK_HAVE_CAIRO

qk_status qk_png_write(const char *path, const qk_figure *figure, qk_error *err)
{
    (void)figure;
    return qk_fail(err, QK_E_UNSUPPORTED, "%s: PNG figures need cairo: this build is without it", path);
}

qk_status qk_pdf_write(const char *path, const qk_figure *figure, const char *date, qk_error *err)
{
    (void)figure, (void)date;
    return qk_fail(err, QK_E_UNSUPPORTED, "%s: PDF figures need cairo: this build is without it", path);
}

#else

#include <cairo-pdf.h>
#include <cairo.h>
#include <math.h>
#include <string.h>

enum { PNG_SCALE = 3 /* pixels a point: 216 dpi */, MAX_PNG_SIDE = 30000 };

static void use_colour(cairo_t *cr, uint32_t colour, double opacity)
{
    cairo_set_source_rgba(cr, (colour >> 16 & 255) / 255.0, (colour >> 8 & 255) / 255.0, (colour & 255) / 255.0,
                          opacity);
}

/* Fill and stroke the current path. */
static void paint_path(cairo_t *cr, const qk_paint *paint)
{
    if (paint->fill != QK_NO_COLOUR) {
        use_colour(cr, paint->fill, paint->fill_opacity > 0 ? paint->fill_opacity : 1);
        cairo_fill_preserve(cr);
    }
    if (paint->stroke != QK_NO_COLOUR) {
        const double dashes[] = { 4, 3 };
        use_colour(cr, paint->stroke, 1);
        cairo_set_line_width(cr, paint->stroke_width > 0 ? paint->stroke_width : 1);
        cairo_set_dash(cr, dashes, paint->dashed ? 2 : 0, 0);
        cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
        cairo_stroke_preserve(cr);
    }
    cairo_new_path(cr);
}

static void draw_rect(cairo_t *cr, const qk_mark *mark)
{
    cairo_rectangle(cr, mark->x, mark->y, mark->width, mark->height);
    paint_path(cr, &mark->paint);
}

static void draw_dot(cairo_t *cr, const qk_mark *mark)
{
    cairo_new_sub_path(cr);
    cairo_arc(cr, mark->x, mark->y, mark->width / 2, 0, 2 * M_PI);
    paint_path(cr, &mark->paint);
}

static void draw_path(cairo_t *cr, const qk_mark *mark)
{
    for (size_t i = 0; i < mark->n_points; i++) cairo_line_to(cr, mark->points[2 * i], mark->points[2 * i + 1]);
    if (mark->closed) cairo_close_path(cr);
    paint_path(cr, &mark->paint);
}

static void draw_text(cairo_t *cr, const qk_mark *mark)
{
    cairo_text_extents_t extents;
    size_t n = strlen(mark->text);
    if (qk_utf8_valid(mark->text, n) != n) return; /* cairo would latch an error and draw nothing more */
    cairo_save(cr);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           mark->bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, mark->size);
    cairo_text_extents(cr, mark->text, &extents);
    double share = mark->anchor == QK_ANCHOR_MIDDLE ? 0.5 : mark->anchor == QK_ANCHOR_END ? 1 : 0;
    cairo_translate(cr, mark->x, mark->y);
    cairo_rotate(cr, mark->turn * M_PI / 180);
    cairo_move_to(cr, -share * extents.x_advance, 0);
    use_colour(cr, mark->paint.fill, 1);
    cairo_show_text(cr, mark->text);
    cairo_new_path(cr);
    cairo_restore(cr);
}

static void draw_raster(cairo_t *cr, const qk_mark *mark)
{
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)mark->n_columns, (int)mark->n_rows);
    unsigned char *data = cairo_image_surface_get_data(image);
    if (data) { /* NULL: the surface carries its error to cairo_set_source_surface below */
        size_t stride = (size_t)cairo_image_surface_get_stride(image);
        for (uint32_t r = 0; r < mark->n_rows; r++)
            for (uint32_t c = 0; c < mark->n_columns; c++)
                memcpy(data + r * stride + 4 * (size_t)c, &mark->palette[mark->pixels[(size_t)r * mark->n_columns + c]],
                       4);
        cairo_surface_mark_dirty(image);
    }
    cairo_save(cr);
    cairo_translate(cr, mark->x, mark->y);
    cairo_scale(cr, mark->width / mark->n_columns, mark->height / mark->n_rows);
    cairo_set_source_surface(cr, image, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_NEAREST);
    cairo_paint(cr);
    cairo_restore(cr);
    cairo_surface_destroy(image);
}

static void draw_all(cairo_t *cr, const qk_figure *figure)
{
    static void (*const draw[QK_N_MARKS])(cairo_t *, const qk_mark *) = {
        [QK_MARK_RECT] = draw_rect, [QK_MARK_DOT] = draw_dot,       [QK_MARK_PATH] = draw_path,
        [QK_MARK_TEXT] = draw_text, [QK_MARK_RASTER] = draw_raster,
    };
    use_colour(cr, 0xFFFFFF, 1);
    cairo_paint(cr);
    for (size_t i = 0; i < figure->n_marks; i++) draw[figure->marks[i].kind](cr, &figure->marks[i]);
}

static cairo_status_t write_bytes(void *stream, const unsigned char *bytes, unsigned int n_bytes)
{
    return fwrite(bytes, 1, n_bytes, stream) == n_bytes ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

/* Draw on `surface` (taken over) and write what comes out of it; `png` for image surfaces. */
static qk_status finish(cairo_surface_t *surface, bool png, qk_output *out, const qk_figure *figure, qk_error *err)
{
    cairo_t *cr = cairo_create(surface);
    if (png) cairo_scale(cr, PNG_SCALE, PNG_SCALE);
    draw_all(cr, figure);
    cairo_status_t code = cairo_status(cr);
    if (code == CAIRO_STATUS_SUCCESS && png)
        code = cairo_surface_write_to_png_stream(surface, write_bytes, out->stream);
    cairo_destroy(cr);
    cairo_surface_finish(surface);
    if (code == CAIRO_STATUS_SUCCESS) code = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (code == CAIRO_STATUS_SUCCESS) return qk_output_commit(out, err);
    qk_status status = qk_fail(err, code == CAIRO_STATUS_NO_MEMORY ? QK_E_MEMORY : QK_E_IO, "%s: cannot write: %s",
                               out->path, cairo_status_to_string(code));
    qk_output_discard(out);
    return status;
}

static qk_status begin(qk_output *out, const char *path, const qk_figure *figure, qk_error *err)
{
    if (figure->out_of_memory) return qk_out_of_memory(err, figure->name, figure->n_marks * sizeof figure->marks[0]);
    if (figure->width * PNG_SCALE > MAX_PNG_SIDE || figure->height * PNG_SCALE > MAX_PNG_SIDE)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: figure of %.0f x %.0f points: expected at most %d a side", path,
                       figure->width, figure->height, MAX_PNG_SIDE / PNG_SCALE);
    return qk_output_open(out, path, err);
}

qk_status qk_png_write(const char *path, const qk_figure *figure, qk_error *err)
{
    qk_output out;
    qk_status status = begin(&out, path, figure, err);
    if (status) return status;
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)ceil(figure->width * PNG_SCALE),
                                                          (int)ceil(figure->height * PNG_SCALE));
    return finish(surface, true, &out, figure, err);
}

qk_status qk_pdf_write(const char *path, const qk_figure *figure, const char *date, qk_error *err)
{
    qk_output out;
    qk_status status = begin(&out, path, figure, err);
    if (status) return status;
    cairo_surface_t *surface =
        cairo_pdf_surface_create_for_stream(write_bytes, out.stream, figure->width, figure->height);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, figure->title);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, date); /* else the time of day goes in */
    return finish(surface, false, &out, figure, err);
}

#endif
