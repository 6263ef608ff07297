/* multiply.c - matrix products by the tiles of a level.
 *
 * A thread has a block of c, some columns wide.  For each part of the sum it packs what of the right matrix these
 * columns need, so that a tile reads it from front to end, and goes through the rows of the left matrix with it.  An
 * entry of c is the sum of its parts (part_of), the first one first, whatever the block. */
#include "math/multiply.h"

#include <assert.h>
#include <string.h>

#include "math/fast.h"
#include "math/terms.h"

enum {
    DEPTH = 384,   /* most terms of a part */
    COLUMNS = 288, /* most columns of a block: packed, 442 KB of a second-level cache of 512 KiB */
    ROWS = 48,     /* of the left matrix that are packed at a time; the rows of any level's tile divide it */
    GAP = 16,      /* floats between copied rows, so that they do not lie a power of two apart */
    LEAST_COLUMNS = 64
};
#define SERIAL_BELOW 2000000 /* multiply-adds that are cheaper than waking the threads */

typedef struct product {
    float *c;
    size_t c_stride;
    bool add;
    qk_matrix left, right;
    const qk_rows *rows; /* the right matrix, turned, where it is not f32; else NULL */
    const float *bias;   /* or NULL */
    size_t m, n, depth;
    const qk_way *way;
    size_t part;         /* terms of one part of a sum */
} product;

/* What one thread packs into. */
typedef struct workspace {
    _Alignas(64) float right[DEPTH * COLUMNS];            /* panels [depth][columns of a tile] */
    _Alignas(64) float left[ROWS * (DEPTH + GAP)];        /* see pack_left */
    float piece[QK_LEVEL_COLUMNS * (DEPTH + GAP)];        /* of `rows`, as f32 */
    float tile[QK_LEVEL_ROWS * QK_LEVEL_COLUMNS];         /* one that reaches beyond c */
} workspace;

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Equal parts: one of few terms costs more than its share.  A row of attention's weights ends in zeros: its sum must
 * not depend on how many. */
static size_t part_of(size_t depth, qk_corner corner)
{
    return corner == QK_CORNER_LEFT ? DEPTH : even_part(depth, DEPTH, 16);
}

static bool rounded(const product *p) { return p->way->operands == QK_OPERANDS_ROUNDED; }

CLONES static void round_floats(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        union {
            float f;
            uint32_t u;
        } bits = { .f = x[i] };
        bits.u = rounded_to_bf16(bits.f);
        x[i] = bits.f;
    }
}

/* ---- packing */

/* Panel after panel to[l][width] of `depth` rows of `n` numbers, and zeros: row by row, as they lie in memory. */
CLONES static void pack_straight(float *to, const float *from, size_t stride, size_t n, size_t width, size_t depth)
{
    size_t whole = n / width * width;
    for (size_t l = 0; l < depth; l++, from += stride, to += width) {
        float *at = to;
        for (size_t j = 0; j < whole; j += width, at += depth * width)
            for (size_t v = 0; v < width; v += 8) memcpy(at + v, from + j + v, 8 * sizeof *at);
        for (size_t v = 0; v < width && whole < n; v++) at[v] = whole + v < n ? from[whole + v] : 0;
    }
}

/* to[l][width] = columns [j, j + n) of part [l, l + depth) of the right matrix, turned, and zeros. */
static void pack_panel(float *to, const product *p, float *piece, size_t j, size_t n, size_t l, size_t depth)
{
    size_t width = p->way->level->columns, stride = DEPTH + GAP;
    const float *from = p->right.at + j * p->right.stride + l;
    if (!p->rows && n == width) {
        p->way->level->turn(to, from, p->right.stride, depth);
        return;
    }
    if (p->rows)
        qk_rows_read(piece, stride, p->rows, j, n, l, depth);
    else
        for (size_t i = 0; i < n; i++) memcpy(piece + i * stride, from + i * p->right.stride, depth * sizeof *piece);
    for (size_t i = n; i < width; i++) memset(piece + i * stride, 0, depth * sizeof *piece);
    p->way->level->turn(to, piece, stride, depth);
}

/* Columns [j, j + n) of part [l, l + depth) of a turned right matrix are about to be packed. */
static void announce(const product *p, size_t j, size_t n, size_t l, size_t depth)
{
    qk_rows floats = qk_rows_of_floats(p->right.at, p->n, p->right.stride);
    qk_rows_announce(p->rows ? p->rows : &floats, j, n, l, depth);
}

static void pack_right(workspace *w, const product *p, size_t j, size_t n, size_t l, size_t depth)
{
    size_t width = p->way->level->columns;
    if (p->rows || p->right.turned) {
        announce(p, j, least(n, width), l, depth);
        for (size_t done = 0, next = width; done < n; done = next, next += width) {
            if (next < n) announce(p, j + next, least(n - next, width), l, depth);
            pack_panel(w->right + done * depth, p, w->piece, j + done, least(n - done, width), l, depth);
        }
    } else {
        pack_straight(w->right, p->right.at + l * p->right.stride + j, p->right.stride, n, width, depth);
    }
    if (rounded(p)) round_floats(w->right, (n + width - 1) / width * width * depth);
}

/* Where the tiles find their rows: row r of tile t at at[t * tile_step + r * row_step + l * depth_step]. */
typedef struct strips {
    const float *at;
    size_t tile_step, row_step, depth_step;
} strips;

/* to[tile][l][height] = `n` rows of a turned matrix, whose row l begins at from + l * stride, and zeros.  Eight numbers
 * at a time, but of the last row: what is too many the next ones overwrite. */
static void pack_turned(float *to, size_t tile_step, size_t height, const float *from, size_t stride, size_t n,
                        size_t depth)
{
    for (size_t i = 0; i < n; i += height, to += tile_step)
        for (size_t l = 0; l < depth; l++) {
            float *at = to + l * height;
            const float *source = from + l * stride + i;
            if (l + 1 < depth && i + height <= n)
                for (size_t r = 0; r < height; r += 8) memcpy(at + r, source + r, 8 * sizeof *at);
            else
                for (size_t r = 0; r < height; r++) at[r] = i + r < n ? source[r] : 0;
        }
}

/* Rows [i, i + n) of part [l, l + depth) of the left matrix, in place where they can be. */
static strips pack_left(workspace *w, const product *p, size_t i, size_t n, size_t l, size_t depth)
{
    size_t height = p->way->level->rows, stride = p->left.stride, packed = DEPTH + GAP;
    const float *from = p->left.at + (p->left.turned ? l * stride + i : i * stride + l);
    if (p->left.turned) {
        pack_turned(w->left, height * packed, height, from, stride, n, depth);
        for (size_t t = 0; t * height < n && rounded(p); t++)
            round_floats(w->left + t * height * packed, height * depth);
        return (strips){ w->left, height * packed, 1, height };
    }
    if (n % height == 0 && !rounded(p)) return (strips){ from, height * stride, stride, 1 };
    for (size_t r = 0; r < n; r++) {
        memcpy(w->left + r * packed, from + r * stride, depth * sizeof *from);
        if (rounded(p)) round_floats(w->left + r * packed, depth);
    }
    for (size_t r = n; r % height != 0; r++) memset(w->left + r * packed, 0, depth * sizeof *from);
    return (strips){ w->left, height * packed, packed, 1 };
}

/* ---- blocks */

/* Columns that a tile computes where n are needed. */
static size_t stepped(const qk_level *level, size_t n)
{
    return (n + level->column_step - 1) / level->column_step * level->column_step;
}

/* One tile of which only m x n entries are in c. */
static void edge_tile(workspace *w, const product *p, float *c, bool add, const float *a, const strips *s,
                      const float *b, size_t depth, size_t m, size_t n)
{
    const qk_level *level = p->way->level;
    level->tile(w->tile, level->columns, false, a, s->row_step, s->depth_step, b, depth, stepped(level, n));
    for (size_t r = 0; r < m; r++)
        for (size_t j = 0; j < n; j++) {
            float sum = w->tile[r * level->columns + j];
            c[r * p->c_stride + j] = add ? c[r * p->c_stride + j] + sum : sum;
        }
}

/* What of one tile of rows is to be computed: columns, and terms of this part. */
typedef struct needed {
    size_t columns, from, to;
} needed;

/* Of rows [i, i + the tile's) by the packed columns [j, j + n), terms [l, l + depth). */
static needed needed_of(const product *p, size_t i, size_t j, size_t n, size_t l, size_t depth)
{
    const qk_way *way = p->way;
    size_t behind = i + way->level->rows + way->diagonal; /* the last row's last column or term, and one */
    needed all = { n, 0, depth };
    if (way->corner == QK_CORNER_C) all.columns = behind > j ? least(n, behind - j) : 0;
    if (way->corner == QK_CORNER_LEFT) all.to = behind > l ? least(depth, behind - l) : 0;
    if (way->corner == QK_CORNER_BELOW && i > way->diagonal + l) all.from = least(depth, i - way->diagonal - l);
    return all;
}

/* Rows [i, i + m) of c by the packed columns [j, j + n). */
static void tiles(workspace *w, const product *p, size_t i, size_t m, size_t j, size_t n, size_t l, size_t depth)
{
    const qk_level *level = p->way->level;
    bool add = p->add || l > 0;
    size_t whole = m / level->rows * level->rows;
    if (whole && whole < m) { /* rows of whole tiles stay in place */
        tiles(w, p, i, whole, j, n, l, depth);
        tiles(w, p, i + whole, m - whole, j, n, l, depth);
        return;
    }
    strips s = pack_left(w, p, i, m, l, depth);
    for (size_t x = 0; x < n; x += level->columns) { /* a panel stays in the nearest cache for all of these rows */
        const float *strip = s.at;
        for (size_t y = 0; y < m; y += level->rows, strip += s.tile_step) {
            needed part = needed_of(p, i + y, j, n, l, depth);
            if (x >= part.columns || (add && part.from == part.to)) continue;
            const float *a = strip + part.from * s.depth_step, *b = w->right + x * depth + part.from * level->columns;
            float *c = p->c + (i + y) * p->c_stride + j + x;
            size_t terms = part.to - part.from;
            size_t rows = least(m - y, level->rows), columns = least(n - x, level->columns);
            if (rows == level->rows && stepped(level, columns) == columns)
                level->tile(c, p->c_stride, add, a, s.row_step, s.depth_step, b, terms, columns);
            else
                edge_tile(w, p, c, add, a, &s, b, terms, rows, columns);
        }
    }
}

static void add_bias(const product *p, size_t i, size_t m, size_t j, size_t n)
{
    for (size_t r = i; r < i + m && p->bias; r++)
        for (size_t x = j; x < j + n; x++) p->c[r * p->c_stride + x] += p->bias[x];
}

static void block(workspace *w, const product *p, size_t i, size_t m, size_t j, size_t n)
{
    for (size_t l = 0; l < p->depth; l += p->part) {
        size_t depth = least(p->depth - l, p->part);
        pack_right(w, p, j, n, l, depth);
        for (size_t r = 0; r < m; r += ROWS) tiles(w, p, i + r, least(m - r, ROWS), j, n, l, depth);
    }
    add_bias(p, i, m, j, n);
}

/* ---- all blocks */

/* Rows and columns of a block, multiples of `height` and `width`, at most `most` columns: as many blocks as keep the
 * threads busy to the end. */
static void cut(size_t *rows, size_t *columns, const product *p, size_t n_threads, size_t most, size_t height,
                size_t width)
{
    size_t across = (p->n + most - 1) / most, down = 1;
    size_t even = (across + n_threads - 1) / n_threads * n_threads;
    if (p->n / even >= LEAST_COLUMNS) across = even;
    if (across < n_threads) down = (n_threads + across - 1) / across;
    *columns = ((p->n + across - 1) / across + width - 1) / width * width;
    *rows = ((p->m + down - 1) / down + height - 1) / height * height;
}

static void all_blocks(const product *p)
{
    size_t n_threads = p->m * p->n * p->depth < SERIAL_BELOW ? 1 : (size_t)p->way->n_threads, rows, columns;
    cut(&rows, &columns, p, n_threads, COLUMNS, ROWS, p->way->level->column_step);
    if (n_threads == 1) {
        workspace w;
        for (size_t j = 0; j < p->n; j += columns) block(&w, p, 0, p->m, j, least(p->n - j, columns));
        return;
    }
#pragma omp parallel num_threads((int)n_threads)
    {
        workspace w;
#pragma omp for schedule(dynamic, 1) collapse(2)
        for (size_t j = 0; j < p->n; j += columns)
            for (size_t i = 0; i < p->m; i += rows)
                block(&w, p, i, least(p->m - i, rows), j, least(p->n - j, columns));
    }
}

/* The same by the level's unit. */
static void all_in_terms(const product *p)
{
    const qk_terms_unit *unit = p->way->level->unit;
    size_t n_threads = p->m * p->n * p->depth < SERIAL_BELOW ? 1 : (size_t)p->way->n_threads, rows, columns;
    qk_terms_product terms = { p->left, p->right, p->rows, p->depth, 1, 1 };
    if (!rounded(p)) {
        terms.left_terms = QK_MOST_TERMS;
        terms.right_terms = p->rows ? qk_terms_of(p->rows->dtype) : QK_MOST_TERMS;
    }
    cut(&rows, &columns, p, n_threads, QK_TERMS_COLUMNS, QK_TERMS_SIDE, QK_TERMS_SIDE);
    rows = least(rows, QK_TERMS_ROWS);
#pragma omp parallel for schedule(dynamic, 1) collapse(2) num_threads((int)n_threads)
    for (size_t j = 0; j < p->n; j += columns)
        for (size_t i = 0; i < p->m; i += rows) {
            size_t m = least(p->m - i, rows), n = least(p->n - j, columns);
            unit->multiply(unit, p->c + i * p->c_stride + j, p->c_stride, p->add, &terms, i, m, j, n);
            add_bias(p, i, m, j, n);
        }
}

static void multiply(const product *p)
{
    const qk_terms_unit *unit = p->way->level->unit;
    assert(p->depth > 0);
    bool in_terms = p->way->operands == QK_OPERANDS_IN_TERMS && unit && unit->f32_pays;
    if (in_terms || (unit && rounded(p))) all_in_terms(p);
    else all_blocks(p);
}

void qk_multiply(float *c, size_t c_stride, bool add, qk_matrix left, qk_matrix right, size_t m, size_t n, size_t depth,
                 const qk_way *way)
{
    product p = { c, c_stride, add, left, right, NULL, NULL, m, n, depth, way, part_of(depth, way->corner) };
    multiply(&p);
}

void qk_multiply_rows(float *c, size_t c_stride, qk_matrix left, const qk_rows *w, const float *bias, size_t m,
                      const qk_way *way)
{
    const float *floats = qk_rows_floats(w);
    qk_matrix right = { floats, w->n_cols, true };
    product p = { c, c_stride, false, left, right, floats ? NULL : w, bias, m, w->n_rows, w->n_cols, way,
                  part_of(w->n_cols, way->corner) };
    multiply(&p);
}
