/* svg.c - marks as SVG: text stays text, tooltips are <title>, nothing is scripted or fetched. */
#include "report/figure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void qk_write_escaped(FILE *stream, const char *text)
{
    for (size_t i = 0, n = strlen(text); i < n;) {
        uint32_t codepoint = 0;
        int length = qk_utf8_length((const uint8_t *)text + i, n - i);
        if (length > 0) qk_utf8_decode(&codepoint, (const uint8_t *)text + i);
        bool allowed = length > 0 && (codepoint >= 0x20 || codepoint == '\n' || codepoint == '\t') &&
                       (codepoint < 0x7F || codepoint > 0x9F) && (codepoint & 0xFFFE) != 0xFFFE;
        if (!allowed)
            fputs("\uFFFD", stream);
        else if (codepoint == '&')
            fputs("&amp;", stream);
        else if (codepoint == '<')
            fputs("&lt;", stream);
        else if (codepoint == '>')
            fputs("&gt;", stream);
        else if (codepoint == '"')
            fputs("&quot;", stream);
        else if (codepoint == '\'')
            fputs("&#39;", stream);
        else
            fwrite(text + i, 1, (size_t)length, stream);
        i += length > 0 ? (size_t)length : 1;
    }
}

/* A coordinate with at most two decimals: a hundredth of a point is finer than any printer. */
static void put_number(FILE *stream, double x)
{
    char text[32];
    if (!isfinite(x) || fabs(x) > 1e6) x = 0; /* the plots map only finite values; a viewer must survive our mistake */
    long hundredths = lround(x * 100);
    long whole = labs(hundredths) / 100, rest = labs(hundredths) % 100;
    int n = snprintf(text, sizeof text, "%s%ld.%02ld", hundredths < 0 ? "-" : "", whole, rest);
    while (n > 0 && text[n - 1] == '0') n--;
    if (n > 0 && text[n - 1] == '.') n--;
    fwrite(text, 1, (size_t)n, stream);
}

static void put_attribute(FILE *stream, const char *name, double value)
{
    fprintf(stream, " %s=\"", name);
    put_number(stream, value);
    fputc('"', stream);
}

static void put_paint(FILE *stream, const qk_paint *paint)
{
    if (paint->fill == QK_NO_COLOUR)
        fputs(" fill=\"none\"", stream);
    else
        fprintf(stream, " fill=\"#%06x\"", paint->fill);
    if (paint->fill != QK_NO_COLOUR && paint->fill_opacity > 0 && paint->fill_opacity < 1)
        put_attribute(stream, "fill-opacity", paint->fill_opacity);
    if (paint->stroke == QK_NO_COLOUR) return;
    fprintf(stream, " stroke=\"#%06x\"", paint->stroke);
    if (paint->stroke_width > 0 && paint->stroke_width != 1) put_attribute(stream, "stroke-width", paint->stroke_width);
    if (paint->dashed) fputs(" stroke-dasharray=\"4 3\"", stream);
}

static void put_title(FILE *stream, const char *title)
{
    fputs("<title>", stream);
    qk_write_escaped(stream, title);
    fputs("</title>", stream);
}

/* Closes the tag just opened, around the tooltip where there is one. */
static void end_element(FILE *stream, const qk_mark *mark, const char *tag)
{
    if (!mark->title) {
        fputs("/>\n", stream);
        return;
    }
    fputc('>', stream);
    put_title(stream, mark->title);
    fprintf(stream, "</%s>\n", tag);
}

static qk_status put_rect(FILE *stream, const qk_mark *mark, qk_error *err)
{
    (void)err;
    fputs("<rect", stream);
    put_attribute(stream, "x", mark->x);
    put_attribute(stream, "y", mark->y);
    put_attribute(stream, "width", mark->width);
    put_attribute(stream, "height", mark->height);
    put_paint(stream, &mark->paint);
    end_element(stream, mark, "rect");
    return QK_OK;
}

static qk_status put_dot(FILE *stream, const qk_mark *mark, qk_error *err)
{
    (void)err;
    fputs("<circle", stream);
    put_attribute(stream, "cx", mark->x);
    put_attribute(stream, "cy", mark->y);
    put_attribute(stream, "r", mark->width / 2);
    put_paint(stream, &mark->paint);
    end_element(stream, mark, "circle");
    return QK_OK;
}

static qk_status put_path(FILE *stream, const qk_mark *mark, qk_error *err)
{
    (void)err;
    fputs("<path d=\"", stream);
    for (size_t i = 0; i < mark->n_points; i++) {
        fputc(i ? 'L' : 'M', stream);
        put_number(stream, mark->points[2 * i]);
        fputc(' ', stream);
        put_number(stream, mark->points[2 * i + 1]);
    }
    fputs(mark->closed ? "Z\"" : "\"", stream);
    put_paint(stream, &mark->paint);
    if (mark->paint.stroke != QK_NO_COLOUR && mark->n_points > 2) fputs(" stroke-linejoin=\"round\"", stream);
    end_element(stream, mark, "path");
    return QK_OK;
}

static qk_status put_text(FILE *stream, const qk_mark *mark, qk_error *err)
{
    static const char *const anchors[] = { NULL, "middle", "end" };
    (void)err;
    fputs("<text", stream);
    put_attribute(stream, "x", mark->x);
    put_attribute(stream, "y", mark->y);
    put_attribute(stream, "font-size", mark->size);
    if (anchors[mark->anchor]) fprintf(stream, " text-anchor=\"%s\"", anchors[mark->anchor]);
    if (mark->bold) fputs(" font-weight=\"600\"", stream);
    if (mark->turn != 0) {
        fputs(" transform=\"rotate(", stream);
        put_number(stream, mark->turn);
        fputc(' ', stream);
        put_number(stream, mark->x);
        fputc(' ', stream);
        put_number(stream, mark->y);
        fputs(")\"", stream);
    }
    put_paint(stream, &mark->paint);
    fputc('>', stream);
    if (mark->title) put_title(stream, mark->title);
    qk_write_escaped(stream, mark->text);
    fputs("</text>\n", stream);
    return QK_OK;
}

static qk_status put_raster(FILE *stream, const qk_mark *mark, qk_error *err)
{
    uint8_t *png = NULL;
    size_t n_bytes = 0;
    qk_status status = qk_palette_png(&png, &n_bytes, mark->pixels, mark->n_columns, mark->n_rows, mark->palette, err);
    if (status) return status;
    fputs("<image", stream);
    put_attribute(stream, "x", mark->x);
    put_attribute(stream, "y", mark->y);
    put_attribute(stream, "width", mark->width);
    put_attribute(stream, "height", mark->height);
    fputs(" preserveAspectRatio=\"none\" image-rendering=\"pixelated\" href=\"data:image/png;base64,", stream);
    qk_write_base64(stream, png, n_bytes);
    fputc('"', stream);
    end_element(stream, mark, "image");
    free(png);
    return QK_OK;
}

qk_status qk_svg_write(FILE *stream, const qk_figure *figure, bool standalone, qk_error *err)
{
    static qk_status (*const put[QK_N_MARKS])(FILE *, const qk_mark *, qk_error *) = {
        [QK_MARK_RECT] = put_rect, [QK_MARK_DOT] = put_dot,       [QK_MARK_PATH] = put_path,
        [QK_MARK_TEXT] = put_text, [QK_MARK_RASTER] = put_raster,
    };
    if (figure->out_of_memory) return qk_out_of_memory(err, figure->name, figure->n_marks * sizeof figure->marks[0]);
    if (standalone) fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", stream);
    fputs("<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 ", stream);
    put_number(stream, figure->width);
    fputc(' ', stream);
    put_number(stream, figure->height);
    fputc('"', stream);
    put_attribute(stream, "width", figure->width);
    put_attribute(stream, "height", figure->height);
    fputs(" font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif\" aria-label=\"", stream);
    qk_write_escaped(stream, figure->title);
    fputs("\">\n<desc>", stream);
    qk_write_escaped(stream, figure->description);
    fputs("</desc>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n", stream);
    for (size_t i = 0; i < figure->n_marks; i++) {
        qk_status status = put[figure->marks[i].kind](stream, &figure->marks[i], err);
        if (status) return status;
    }
    fputs("</svg>\n", stream);
    return QK_OK;
}
