/* rows.c - pieces of a matrix as f32, whatever its format. */
#include "math/rows.h"

#include <string.h>

#define MOST_BLOCK_ELEMENTS 256 /* of any format (dtype.c) */
#define LINE 64                 /* bytes of a cache line, here or elsewhere: but a guess that only time depends on */

/* Where row `row` lies: a head's rows (2i, 2i+1) of an interleaved matrix are its halves' rows i and i + D/2. */
static size_t stored_row(const qk_rows *rows, size_t row)
{
    if (rows->interleaved_heads == 0) return row;
    size_t d = rows->n_rows / (size_t)rows->interleaved_heads, head = row / d, r = row % d;
    return head * d + (r < d / 2 ? 2 * r : 2 * (r - d / 2) + 1);
}

const float *qk_rows_floats(const qk_rows *rows)
{
    bool plain = rows->dtype == QK_DTYPE_F32 && rows->interleaved_heads == 0;
    return plain && (uintptr_t)rows->data % sizeof(float) == 0 ? (const float *)(const void *)rows->data : NULL;
}

const uint8_t *qk_rows_at(const qk_rows *rows, size_t row)
{
    const qk_dtype_info *format = qk_dtype_describe(rows->dtype);
    size_t first = stored_row(rows, row) * rows->n_cols;
    return first % format->block_elements ? NULL : rows->data + first / format->block_elements * format->block_bytes;
}

void qk_rows_announce(const qk_rows *rows, size_t row0, size_t n_rows, size_t column0, size_t n_columns)
{
    const qk_dtype_info *format = qk_dtype_describe(rows->dtype);
    size_t size = format->block_elements, bytes = format->block_bytes;
    for (size_t i = row0; i < row0 + n_rows; i++) {
        size_t first = stored_row(rows, i) * rows->n_cols + column0;
        const uint8_t *from = rows->data + first / size * bytes;
        const uint8_t *to = rows->data + (first + n_columns + size - 1) / size * bytes;
        for (; from < to; from += LINE) __builtin_prefetch(from, 0, 2);
    }
}

/* `n` numbers of one block from its number `first` on. */
static void read_part(float *out, const qk_dtype_info *format, const uint8_t *block, size_t first, size_t n)
{
    float all[MOST_BLOCK_ELEMENTS];
    format->to_f32(all, block, format->block_elements);
    memcpy(out, all + first, n * sizeof *out);
}

/* Numbers [first, first + n) of the matrix as it lies there. */
static void read_numbers(float *out, const qk_rows *rows, size_t first, size_t n)
{
    const qk_dtype_info *format = qk_dtype_describe(rows->dtype);
    size_t size = format->block_elements, before = first % size;
    const uint8_t *block = rows->data + first / size * format->block_bytes;
    if (before) {
        size_t part = size - before < n ? size - before : n;
        read_part(out, format, block, before, part);
        out += part;
        n -= part;
        block += format->block_bytes;
    }
    size_t whole = n / size * size;
    format->to_f32(out, block, whole);
    if (n > whole) read_part(out + whole, format, block + whole / size * format->block_bytes, 0, n - whole);
}

void qk_rows_read(float *out, size_t out_stride, const qk_rows *rows, size_t row0, size_t n_rows, size_t column0,
                  size_t n_columns)
{
    if (rows->interleaved_heads == 0 && n_columns == rows->n_cols && out_stride == n_columns) {
        read_numbers(out, rows, row0 * n_columns, n_rows * n_columns);
        return;
    }
    for (size_t i = 0; i < n_rows; i++)
        read_numbers(out + i * out_stride, rows, stored_row(rows, row0 + i) * rows->n_cols + column0, n_columns);
}
