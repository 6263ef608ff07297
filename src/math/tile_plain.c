/* tile_plain.c - the tile for every processor: four floats side by side, as the compiler can do them. */
#include "math/level.h"

enum { ROWS = QK_PLAIN_ROWS, COLUMNS = QK_PLAIN_COLUMNS, WIDTH = 4, VECTORS = COLUMNS / WIDTH };

#define UNROLLED _Pragma("GCC unroll 8") /* before anything else: or the sums go by way of memory */

typedef float vector __attribute__((vector_size(WIDTH * sizeof(float)), aligned(sizeof(float)), may_alias));

void qk_tile_plain(float *c, size_t c_stride, bool add, const float *a, size_t a_row_stride, size_t a_depth_stride,
                   const float *b, size_t depth, size_t columns)
{
    (void)columns; /* always all */
    vector sum[ROWS][VECTORS] = { 0 };
    for (size_t l = 0; l < depth; l++, b += COLUMNS) {
        const float *entry = a + l * a_depth_stride;
UNROLLED
        for (size_t r = 0; r < ROWS; r++)
UNROLLED
            for (size_t j = 0; j < VECTORS; j++)
                sum[r][j] += entry[r * a_row_stride] * *(const vector *)(b + j * WIDTH);
    }
UNROLLED
    for (size_t r = 0; r < ROWS; r++)
UNROLLED
        for (size_t j = 0; j < VECTORS; j++) {
            vector *at = (vector *)(c + r * c_stride + j * WIDTH);
            if (add) sum[r][j] += *at;
            *at = sum[r][j];
        }
}

void qk_turn_plain(float *to, const float *from, size_t stride, size_t depth)
{
    for (size_t column = 0; column < COLUMNS; column++)
        for (size_t l = 0; l < depth; l++) to[l * COLUMNS + column] = from[column * stride + l];
}
