/* png.c - palette PNG and base64: what a raster needs to live inside an SVG. */
#include "report/figure.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static uint8_t *put_u32(uint8_t *p, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8) *p++ = (uint8_t)(value >> shift);
    return p;
}

/* Length, type, data, CRC over type and data. */
static uint8_t *put_chunk(uint8_t *p, const char type[4], const uint8_t *data, size_t n_bytes)
{
    p = put_u32(p, (uint32_t)n_bytes);
    uint8_t *start = p;
    memcpy(p, type, 4);
    if (n_bytes) memcpy(p + 4, data, n_bytes);
    return put_u32(p + 4 + n_bytes, (uint32_t)crc32(0, start, (uInt)(n_bytes + 4)));
}

qk_status qk_palette_png(uint8_t **bytes, size_t *n_bytes, const uint8_t *pixels, uint32_t n_columns, uint32_t n_rows,
                         const uint32_t *palette, qk_error *err)
{
    static const uint8_t signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };
    enum { MAX_SIDE = 16384 }; /* keeps every size below within 32 bits */
    qk_status status = QK_OK;
    uint8_t header[13], colours[256 * 3], *rows = NULL, *packed = NULL, *png = NULL, *p;
    if (n_columns < 1 || n_rows < 1 || n_columns > MAX_SIDE || n_rows > MAX_SIDE)
        return qk_fail(err, QK_E_UNSUPPORTED, "raster of %u x %u: expected 1 to %d a side", n_columns, n_rows,
                       MAX_SIDE);
    size_t raw = (size_t)n_rows * (n_columns + 1);
    uLongf packed_size = compressBound(raw);
    rows = malloc(raw);
    packed = malloc(packed_size);
    png = malloc(packed_size + sizeof colours + 100);
    if (!rows || !packed || !png || packed_size < raw) {
        status = qk_out_of_memory(err, "a raster", raw);
        goto out;
    }
    for (uint32_t r = 0; r < n_rows; r++) {
        rows[(size_t)r * (n_columns + 1)] = 0; /* filter: none */
        memcpy(rows + (size_t)r * (n_columns + 1) + 1, pixels + (size_t)r * n_columns, n_columns);
    }
    if (compress2(packed, &packed_size, rows, raw, 9) != Z_OK) {
        status = qk_out_of_memory(err, "compressing a raster", raw);
        goto out;
    }
    for (int i = 0; i < 256; i++)
        for (int c = 0; c < 3; c++) colours[3 * i + c] = (uint8_t)(palette[i] >> (16 - 8 * c));
    put_u32(put_u32(header, n_columns), n_rows);
    memcpy(header + 8, (const uint8_t[]){ 8, 3, 0, 0, 0 }, 5); /* 8 bits, palette, deflate, no filter, not interlaced */
    memcpy(png, signature, sizeof signature);
    p = put_chunk(png + sizeof signature, "IHDR", header, sizeof header);
    p = put_chunk(p, "PLTE", colours, sizeof colours);
    p = put_chunk(p, "IDAT", packed, packed_size);
    p = put_chunk(p, "IEND", NULL, 0);
    *bytes = png;
    *n_bytes = (size_t)(p - png);
    png = NULL;
out:
    free(png);
    free(packed);
    free(rows);
    return status;
}

void qk_write_base64(FILE *stream, const uint8_t *bytes, size_t n_bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n_bytes; i += 3) {
        size_t left = n_bytes - i;
        uint32_t group =
            (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        fputc(digits[group >> 18], stream);
        fputc(digits[group >> 12 & 63], stream);
        fputc(left > 1 ? digits[group >> 6 & 63] : '=', stream);
        fputc(left > 2 ? digits[group & 63] : '=', stream);
    }
}
