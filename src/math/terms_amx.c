/* terms_amx.c - blocks of bf16 terms by the tile registers of AMX: a block of c is four tiles of 16 x 16, one
 * instruction sums over a step. */
#include "math/terms.h"

#include "math/level.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { LINE = 64 /* bytes of a tile's row */ };

#define TILES __attribute__((target("amx-tile,amx-bf16")))
#define ALIGNED __attribute__((aligned(64)))

TILES static void set_up_tiles(void)
{
    /* Palette 1; from byte 16 on bytes of a row, two bytes a tile; from byte 48 on rows. */
    uint8_t shape[64] ALIGNED = { 1 };
    for (int tile = 0; tile < 8; tile++) {
        shape[16 + 2 * tile] = LINE;
        shape[48 + tile] = QK_TERMS_SIDE / 2;
    }
    __asm__ volatile("" : : "r"(shape) : "memory"); /* gcc 12 takes most of it for unread */
    _tile_loadconfig(shape);
}

TILES static void release_tiles(void) { _tile_release(); }

TILES static void block(float *c, size_t c_stride, bool add, const uint16_t *a, const uint16_t *b, size_t n_rows,
                        size_t n_steps, size_t a_terms, size_t b_terms)
{
    const size_t row = c_stride * sizeof *c, pair = QK_TERMS_SIDE * 2 * sizeof *b;
    float *lower = c + QK_TERMS_SIDE / 2 * c_stride;
    (void)n_rows; /* tiles are of one shape */
    __asm__ volatile("" : : : "memory"); /* what was packed must lie there: the compiler does not see tiles read it */
    if (add) {
        _tile_loadd(0, c, row);
        _tile_loadd(1, c + QK_TERMS_SIDE / 2, row);
        _tile_loadd(2, lower, row);
        _tile_loadd(3, lower + QK_TERMS_SIDE / 2, row);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (size_t s = 0; s < n_steps; s++, a += a_terms * QK_TERMS_PART)
        for (size_t j = 0; j < b_terms; j++, b += QK_TERMS_PART) {
            _tile_stream_loadd(6, b, pair);
            _tile_stream_loadd(7, b + QK_TERMS_SIDE, pair);
            for (size_t i = 0; i + j < a_terms; i++) {
                _tile_loadd(4, a + i * QK_TERMS_PART, LINE);
                _tile_loadd(5, a + i * QK_TERMS_PART + QK_TERMS_PART / 2, LINE);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
        }
    _tile_stored(0, c, row);
    _tile_stored(1, c + QK_TERMS_SIDE / 2, row);
    _tile_stored(2, lower, row);
    _tile_stored(3, lower + QK_TERMS_SIDE / 2, row);
}

const qk_terms_unit qk_terms_amx = { qk_terms_multiply_packed, set_up_tiles, release_tiles, block, true };
#endif
