/* test_math.c - every kernel against its plain twin on awkward sizes, outputs filled with NaN before. */
#include "floats.h"

#include "math/dtype.h"
#include "math/kernels.h"
#include "math/multiply.h"
#include "math/rows.h"

static const size_t sizes[] = { 1, 2, 7, 31, 48, 65, 513, 4097 };
#define N_SIZES (sizeof sizes / sizeof *sizes)

static void products_agree(void **state)
{
    (void)state;
    const size_t shapes[][3] = { { 1, 1, 1 }, { 3, 5, 7 }, { 48, 64, 64 }, { 193, 513, 31 }, { 7, 1030, 129 }, { 240, 96, 300 } };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int bias = 0; bias < 2; bias++) {
            size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2], gap = 3;
            float *x = random_floats(m * (k + gap), 1, 1), *w = random_floats(n * k, 2, 1), *b = bias ? random_floats(n, 3, 1) : NULL;
            float *y1 = nan_floats(m * n), *y2 = nan_floats(m * n), *y3 = nan_floats(m * n);
            qk_kernels_reference()->product(qk_kernels_reference(), y1, n, x, k + gap, rows_of(w, n, k), b, m, 1);
            qk_kernels_fast()->product(qk_kernels_fast(), y2, n, x, k + gap, rows_of(w, n, k), b, m, 1);
            qk_kernels_fast()->product(qk_kernels_fast(), y3, n, x, k + gap, rows_of(w, n, k), b, m, 2);
            assert_close(y2, y1, m * n, 2e-6, "product");
            assert_memory_equal(y2, y3, m * n * sizeof(float)); /* one thread = many, bit for bit */
            free(x), free(w), free(b), free(y1), free(y2), free(y3);
        }
}

/* Pieces of a matrix are what the whole matrix has there, blocks over two rows and turned heads included. */
static void pieces_are_the_whole(void **state)
{
    (void)state;
    enum { ROWS = 16, COLUMNS = 80 };
    static const size_t pieces[][4] = { { 0, 16, 0, 80 }, { 3, 1, 0, 80 }, { 2, 9, 7, 31 }, { 15, 1, 64, 16 }, { 4, 8, 79, 1 } };
    const qk_dtype formats[] = { QK_DTYPE_F32, QK_DTYPE_F16, QK_DTYPE_BF16, QK_DTYPE_Q8_0, QK_DTYPE_Q4_0 };
    uint8_t bytes[4 * ROWS * COLUMNS];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37 % 101 % 60); /* no exponent of a NaN */
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (int heads = 0; heads < 3; heads += 2) {
            qk_rows matrix = { bytes, formats[f], ROWS, COLUMNS, heads };
            float whole[ROWS * COLUMNS], *out = nan_floats(ROWS * COLUMNS);
            qk_dtype_describe(formats[f])->to_f32(whole, bytes, ROWS * COLUMNS);
            for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
                size_t row0 = pieces[p][0], n_rows = pieces[p][1], column0 = pieces[p][2], n = pieces[p][3];
                qk_rows_read(out, COLUMNS, &matrix, row0, n_rows, column0, n);
                for (size_t i = 0; i < n_rows; i++) {
                    size_t row = row0 + i, half = row % 8 / 4; /* heads of 8 rows */
                    size_t there = heads ? row / 8 * 8 + row % 4 * 2 + half : row;
                    assert_memory_equal(out + i * COLUMNS, whole + there * COLUMNS + column0, n * sizeof *out);
                }
            }
            free(out);
        }
}

/* A product that leaves a corner out is the whole one, bit for bit, wherever its corner is not: rows [0, m) stand at
 * `diagonal` of a sequence of `keys`.  Sums over keys are the same where fewer keys follow. */
static void corners_are_left_out(const qk_level *level, size_t m, size_t diagonal, size_t keys, size_t d)
{
    qk_way whole = { level, QK_OPERANDS_PLAIN, 1 }, cut = { level, QK_OPERANDS_PLAIN, 1, QK_CORNER_C, diagonal };
    size_t seen = diagonal + m < keys ? diagonal + m : keys;
    float *q = random_floats(m * d, 1, 1), *k = random_floats(keys * d, 2, 1), *p = random_floats(m * keys, 3, 1);
    float *s1 = nan_floats(m * keys), *s2 = nan_floats(m * keys), *z1 = nan_floats(m * d), *z2 = nan_floats(m * d);
    float *g1 = random_floats(keys * d, 4, 1), *g2 = random_floats(keys * d, 4, 1);
    for (size_t i = 0; i < m; i++)
        for (size_t l = diagonal + i + 1; l < keys; l++) p[i * keys + l] = 0;
    qk_multiply(s1, keys, false, (qk_matrix){ q, d, false }, (qk_matrix){ k, d, true }, m, keys, d, &whole);
    qk_multiply(s2, keys, false, (qk_matrix){ q, d, false }, (qk_matrix){ k, d, true }, m, keys, d, &cut);
    for (size_t i = 0; i < m; i++)
        assert_memory_equal(s1 + i * keys, s2 + i * keys,
                            (diagonal + i < keys ? diagonal + i + 1 : keys) * sizeof(float));
    if (diagonal + 64 < keys) assert_true(isnan(s2[keys - 1])); /* it was left out */
    cut.corner = whole.corner = QK_CORNER_LEFT;
    whole.diagonal = keys; /* nothing is behind it */
    qk_multiply(z1, d, false, (qk_matrix){ p, keys, false }, (qk_matrix){ k, d, false }, m, d, keys, &whole);
    qk_multiply(z2, d, false, (qk_matrix){ p, keys, false }, (qk_matrix){ k, d, false }, m, d, keys, &cut);
    assert_memory_equal(z1, z2, m * d * sizeof(float));
    qk_multiply(z2, d, false, (qk_matrix){ p, keys, false }, (qk_matrix){ k, d, false }, m, d, seen, &cut);
    assert_memory_equal(z1, z2, m * d * sizeof(float));
    whole = (qk_way){ level, QK_OPERANDS_PLAIN, 1 };
    cut.corner = QK_CORNER_BELOW;
    qk_multiply(g1, d, true, (qk_matrix){ p, keys, true }, (qk_matrix){ q, d, false }, keys, d, m, &whole);
    qk_multiply(g2, d, true, (qk_matrix){ p, keys, true }, (qk_matrix){ q, d, false }, keys, d, m, &cut);
    assert_memory_equal(g1, g2, keys * d * sizeof(float));
    free(q), free(k), free(p), free(s1), free(s2), free(z1), free(z2), free(g1), free(g2);
}

static void corners_change_nothing_else(void **state)
{
    (void)state;
    const size_t cases[][4] = { { 1, 0, 1, 8 }, { 64, 0, 64, 64 }, { 37, 0, 37, 20 }, { 64, 448, 512, 64 },
                                { 50, 300, 350, 33 }, { 7, 5, 200, 16 }, { 300, 0, 300, 48 }, { 7, 400, 900, 16 } };
    for (int l = 0; l < QK_N_LEVELS; l++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases && qk_levels[l].present(); i++)
            corners_are_left_out(&qk_levels[l], cases[i][0], cases[i][1], cases[i][2], cases[i][3]);
}

/* Few rows: the plain product, and a row's bits whatever stands beside it and whoever computes it. */
static void few_rows_agree(void **state)
{
    (void)state;
    const size_t shapes[][3] = { { 1, 1, 1 }, { 2, 5, 7 }, { 4, 64, 64 }, { 5, 3, 9 }, { 9, 1030, 129 }, { 24, 515, 300 } };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int bias = 0; bias < 2; bias++) {
            size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2], gap = 3;
            float *x = random_floats(m * (k + gap), 1, 1), *w = random_floats(n * k, 2, 1), *b = bias ? random_floats(n, 3, 1) : NULL;
            float *y1 = nan_floats(m * n), *y2 = nan_floats(m * n), *y3 = nan_floats(m * n);
            qk_kernels_reference()->product_few(qk_kernels_reference(), y1, n, x, k + gap, rows_of(w, n, k), b, m, 1);
            qk_kernels_fast()->product_few(qk_kernels_fast(), y2, n, x, k + gap, rows_of(w, n, k), b, m, 3);
            for (size_t i = 0; i < m; i++)
                qk_kernels_fast()->product_few(qk_kernels_fast(), y3 + i * n, n, x + i * (k + gap), k + gap, rows_of(w, n, k), b, 1, 1);
            assert_close(y2, y1, m * n, 2e-6, "product of few rows");
            assert_memory_equal(y2, y3, m * n * sizeof(float));
            free(x), free(w), free(b), free(y1), free(y2), free(y3);
        }
}

static void rows_agree(void **state)
{
    (void)state;
    const qk_kernels *plain = qk_kernels_reference(), *fast = qk_kernels_fast();
    for (size_t i = 0; i < N_SIZES; i++) {
        size_t n = sizes[i];
        float *x = random_floats(n, 4, 3), *g = random_floats(n, 5, 1), *a = nan_floats(n), *b = nan_floats(n);
        plain->rms_norm(a, x, g, n, 1e-5);
        fast->rms_norm(b, x, g, n, 1e-5);
        assert_close(b, a, n, 5e-7, "rms_norm");
        plain->silu_mul(a, x, g, n);
        fast->silu_mul(b, x, g, n);
        assert_close(b, a, n, 5e-7, "silu_mul");
        memcpy(a, x, n * sizeof *a);
        memcpy(b, x, n * sizeof *b);
        plain->softmax(a, n);
        fast->softmax(b, n);
        assert_close(b, a, n, 1e-6, "softmax");
        assert_near(fast->nll(x, n, n / 2), plain->nll(x, n, n / 2), 1e-6);
        free(x), free(g), free(a), free(b);
    }
}

static void the_exponential_holds_at_its_edges(void **state)
{
    (void)state;
    /* Seen through softmax of two entries: e^x / (e^x + 1). */
    for (double x = -120; x <= 0; x += 0.37) {
        float row[2] = { (float)x, 0 };
        qk_kernels_fast()->softmax(row, 2);
        double expected = exp((double)(float)x) / (1 + exp((double)(float)x));
        if (x > -87) assert_near(row[0] / expected, 1, 1e-6);
        else assert_near(row[0], 0, 1e-37);
    }
    float masked[3] = { -INFINITY, 2, -INFINITY };
    qk_kernels_fast()->softmax(masked, 3);
    assert_true(masked[0] == 0 && masked[1] == 1 && masked[2] == 0);
    float bad[9] = { 1, NAN, 2, 3, 4, 5, 6, 7, 8 };
    qk_kernels_fast()->softmax(bad, 9);
    for (int i = 0; i < 9; i++) assert_true(isnan(bad[i])); /* NaN does not vanish */
    float gate[2] = { -200, 200 }, one[2] = { 1, 1 };
    qk_kernels_fast()->silu_mul(gate, gate, one, 2);
    assert_near(gate[0], 0, 1e-30);
    assert_near(gate[1], 200, 0);
}

/* n_rows x n_cols numbers of a format, about normal. */
static uint8_t *random_rows(qk_dtype dtype, size_t n, uint64_t seed)
{
    const qk_dtype_info *format = qk_dtype_describe(dtype);
    float *x = random_floats(2 * n, seed, 1);
    size_t n_bytes = n / format->block_elements * format->block_bytes;
    uint8_t *bytes = calloc(n_bytes, 1);
    for (size_t i = 0; i < n; i++) {
        uint16_t half = dtype == QK_DTYPE_BF16 ? qk_f32_to_bf16(x[i]) : qk_f32_to_f16(x[i]);
        if (format->block_bytes == 4) memcpy(bytes + 4 * i, &x[i], 4);
        if (format->block_bytes == 2) memcpy(bytes + 2 * i, &half, 2);
    }
    for (size_t i = 0; i < n_bytes && format->block_elements > 1; i++) {
        size_t at = i % format->block_bytes;
        float whole = fabsf(x[i]);
        uint16_t half = qk_f32_to_f16(0.01f * whole);
        bytes[i] = (uint8_t)(int)(100 * x[i]);
        if (dtype == QK_DTYPE_NF4 && at == 3) memcpy(bytes + i - 3, &whole, 4);
        if (dtype != QK_DTYPE_NF4 && at == 1) memcpy(bytes + i - 1, &half, 2);
    }
    free(x);
    return bytes;
}

/* Weights in each format at each level: the plain product of what they stand for; and a row's bits are those of the row
 * alone, by any number of threads. */
static void weights_of_any_format_agree(void **state)
{
    (void)state;
    const qk_dtype formats[] = { QK_DTYPE_F32, QK_DTYPE_F16, QK_DTYPE_BF16, QK_DTYPE_Q8_0, QK_DTYPE_Q4_0, QK_DTYPE_NF4 };
    const size_t shapes[][3] = { { 1, 1, 32 }, { 3, 6, 64 }, { 7, 18, 96 }, { 50, 250, 288 }, { 100, 34, 1056 }, { 5, 16, 48 }, { 9, 22, 80 },
                                 { 11, 70, 1088 }, { 2, 6, 16448 } };
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int heads = 0; heads < 2 && shapes[s][1] % 2 == 0; heads++)
                for (int l = 0; l < QK_N_LEVELS; l++) {
                    size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
                    if (!qk_levels[l].present() || n * k % qk_dtype_describe(formats[f])->block_elements) continue;
                    uint8_t *bytes = random_rows(formats[f], n * k, 40 + s);
                    qk_rows w = { bytes, formats[f], n, k, heads };
                    const qk_kernels *fast = qk_kernels_at(&qk_levels[l], QK_OPERANDS_PLAIN), *plain = qk_kernels_reference();
                    float *x = random_floats(m * k, 5, 1), *b = random_floats(n, 6, 1), *alone = nan_floats(m * n);
                    float *y1 = nan_floats(m * n), *y2 = nan_floats(m * n);
                    plain->product(plain, y1, n, x, k, &w, b, m, 1);
                    fast->product(fast, y2, n, x, k, &w, b, m, 3);
                    assert_close(y2, y1, m * n, 4e-6, "product");
                    for (size_t i = 0; i < m; i++) fast->product(fast, alone + i * n, n, x + i * k, k, &w, b, 1, 1);
                    assert_same(alone, y2, m * n);
                    fast->product_few(fast, y2, n, x, k, &w, b, m, 3);
                    assert_close(y2, y1, m * n, 4e-6, "product of few rows");
                    for (size_t i = 0; i < m; i++) fast->product_few(fast, alone + i * n, n, x + i * k, k, &w, b, 1, 1);
                    assert_same(alone, y2, m * n);
                    free(bytes), free(x), free(b), free(alone), free(y1), free(y2);
                }
}

static void attention_agrees(void **state)
{
    (void)state;
    const struct { size_t row0, n_rows, head_dim, window; } cases[] = {
        { 0, 1, 8, 0 }, { 0, 64, 64, 0 }, { 64, 37, 32, 0 }, { 128, 64, 16, 50 }, { 0, 33, 128, 1 }, { 100, 3, 6, 200 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = cases[i].n_rows, keys = cases[i].row0 + n, d = cases[i].head_dim;
        float *q = random_floats(n * d, 6, 1), *k = random_floats(keys * d, 7, 1), *v = random_floats(keys * d, 8, 1);
        float *s1 = nan_floats(n * keys), *s2 = nan_floats(n * keys), *z1 = nan_floats(n * d), *z2 = nan_floats(n * d);
        qk_attention a = { .q = q, .k = k, .v = v, .z = z1, .q_stride = d, .kv_stride = d, .z_stride = d, .row0 = cases[i].row0,
                           .n_rows = n, .head_dim = d, .window = cases[i].window, .scale = 0.125f, .scores = s1, .scores_stride = keys };
        qk_attention b = a;
        b.scores = s2;
        b.z = z2;
        qk_kernels_reference()->attend(qk_kernels_reference(), &a);
        qk_kernels_fast()->attend(qk_kernels_fast(), &b);
        assert_close(s2, s1, n * keys, 2e-6, "scores");
        for (size_t r = 0; r < n; r++) {
            size_t masked = 0, position = cases[i].row0 + r;
            for (size_t j = 0; j < keys; j++) masked += s2[r * keys + j] == -INFINITY;
            size_t seen = cases[i].window && position + 1 > cases[i].window ? cases[i].window : position + 1;
            assert_int_equal(keys - masked, seen);
            qk_kernels_reference()->softmax(s1 + r * keys, keys);
            qk_kernels_fast()->softmax(s2 + r * keys, keys);
        }
        qk_kernels_reference()->mix(qk_kernels_reference(), &a);
        qk_kernels_fast()->mix(qk_kernels_fast(), &b);
        assert_close(z2, z1, n * d, 2e-6, "z");
        for (size_t r = 0; r < n * keys; r++) s2[r] = NAN;
        for (size_t r = 0; r < n * d; r++) z2[r] = NAN;
        b.few = true;
        qk_kernels_fast()->attend(qk_kernels_fast(), &b);
        for (size_t r = 0; r < n; r++) qk_kernels_fast()->softmax(s2 + r * keys, keys);
        qk_kernels_fast()->mix(qk_kernels_fast(), &b);
        assert_close(s2, s1, n * keys, 4e-6, "pattern of few");
        assert_close(z2, z1, n * d, 4e-6, "z of few");
        free(q), free(k), free(v), free(s1), free(s2), free(z1), free(z2);
    }
}

/* Orthogonality: pair norms are kept, turning back gives x, a score depends on the distance alone. */
static void rotation_is_orthogonal(void **state)
{
    (void)state;
    const qk_kernels *tables[2] = { qk_kernels_reference(), qk_kernels_fast() };
    for (int t = 0; t < 2; t++) {
        enum { D = 16 };
        float *x = random_floats(D, 9, 1), *y = random_floats(D, 10, 1), cos1[D / 2], sin1[D / 2], back[D / 2];
        double score[3];
        for (int shift = 0; shift < 3; shift++) {
            float q[D], k[D];
            memcpy(q, x, sizeof q);
            memcpy(k, y, sizeof k);
            for (int turn = 0; turn < 2; turn++) {
                int position = turn ? 5 + 40 * shift : 12 + 40 * shift;
                for (int m = 0; m < D / 2; m++) {
                    double angle = position * pow(10000, -2.0 * m / D);
                    cos1[m] = (float)cos(angle);
                    sin1[m] = (float)sin(angle);
                    back[m] = -sin1[m];
                }
                tables[t]->rotate(turn ? k : q, cos1, sin1, D);
                const float *now = turn ? k : q, *before = turn ? y : x;
                for (int m = 0; m < D / 2; m++)
                    assert_near(hypot(now[m], now[m + D / 2]), hypot(before[m], before[m + D / 2]), 1e-6);
                float undone[D];
                memcpy(undone, now, sizeof undone);
                tables[t]->rotate(undone, cos1, back, D);
                for (int d = 0; d < D; d++) assert_near(undone[d], before[d], 1e-6);
            }
            score[shift] = 0;
            for (int d = 0; d < D; d++) score[shift] += (double)q[d] * k[d];
        }
        assert_near(score[0], score[1], 1e-5);
        assert_near(score[0], score[2], 1e-5);
        free(x), free(y);
    }
}

static void half_floats_round_as_the_standard_says(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) { /* every half survives the way there and back */
        float x = qk_f16_to_f32((uint16_t)bits), y = qk_bf16_to_f32((uint16_t)bits);
        if (isnan(x)) assert_true((qk_f32_to_f16(x) & 0x7FFF) > 0x7C00);
        else assert_int_equal(qk_f32_to_f16(x), bits);
        if (isnan(y)) assert_true((qk_f32_to_bf16(y) & 0x7FFF) > 0x7F80);
        else assert_int_equal(qk_f32_to_bf16(y), bits);
    }
    assert_int_equal(qk_f32_to_f16(65519.0f), 0x7BFF);
    assert_int_equal(qk_f32_to_f16(65520.0f), 0x7C00);
    assert_int_equal(qk_f32_to_f16(0x1p-25f), 0);          /* ties to even */
    assert_int_equal(qk_f32_to_f16(0x1.8p-24f), 2);
    assert_int_equal(qk_f32_to_f16(1 + 0x1p-11f), 0x3C00); /* tie, even below */
    assert_int_equal(qk_f32_to_f16(1 + 0x1.8p-10f), 0x3C02);
    assert_int_equal(qk_f32_to_bf16(1 + 0x1p-8f), 0x3F80);
}

/* Rows of halves, which vectors read eight at a time, are halves one by one: all of them, and rows of odd length. */
static void rows_of_halves_are_halves(void **state)
{
    (void)state;
    uint16_t *bits = malloc(0x10000 * sizeof *bits);
    float *x = nan_floats(0x10000);
    for (uint32_t i = 0; i < 0x10000; i++) bits[i] = (uint16_t)i;
    for (int brain = 0; brain < 2; brain++)
        for (size_t skip = 0; skip < 8; skip += 3) {
            const qk_dtype_info *format = qk_dtype_describe(brain ? QK_DTYPE_BF16 : QK_DTYPE_F16);
            format->to_f32(x, (const uint8_t *)(bits + skip), 0x10000 - skip);
            for (size_t i = skip; i < 0x10000; i++) {
                float one = brain ? qk_bf16_to_f32(bits[i]) : qk_f16_to_f32(bits[i]);
                if (isnan(one)) assert_true(isnan(x[i - skip]));
                else assert_memory_equal(&one, &x[i - skip], sizeof one);
            }
        }
    free(bits), free(x);
}

static void quantised_blocks_unfold(void **state)
{
    (void)state;
    uint8_t q8[34] = { 0x00, 0x38 }, q4[18] = { 0x00, 0x3C }; /* scales 0.5 and 1 */
    float out[32];
    for (int i = 0; i < 32; i++) q8[2 + i] = (uint8_t)(i - 16);
    qk_dtype_describe(QK_DTYPE_Q8_0)->to_f32(out, q8, 32);
    for (int i = 0; i < 32; i++) assert_near(out[i], 0.5 * (i - 16), 0);
    for (int i = 0; i < 16; i++) q4[2 + i] = (uint8_t)(i | (15 - i) << 4);
    qk_dtype_describe(QK_DTYPE_Q4_0)->to_f32(out, q4, 32);
    for (int i = 0; i < 16; i++) {
        assert_near(out[i], i - 8, 0);
        assert_near(out[16 + i], 7 - i, 0);
    }
    size_t bytes;
    assert_false(qk_dtype_bytes(&bytes, QK_DTYPE_Q4_0, 33));
    assert_false(qk_dtype_bytes(&bytes, QK_DTYPE_F32, SIZE_MAX / 2));
    assert_true(qk_dtype_bytes(&bytes, QK_DTYPE_Q8_0, 64) && bytes == 68);
}

static void non_finite_values_are_seen(void **state)
{
    (void)state;
    float *x = random_floats(1000, 11, 1);
    assert_true(qk_all_finite(x, 1000));
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 1000; i += 37)
        for (int j = 0; j < 3; j++) {
            float kept = x[i];
            x[i] = bad[j];
            assert_false(qk_all_finite(x, 1000));
            x[i] = kept;
        }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_agree), cmocka_unit_test(pieces_are_the_whole), cmocka_unit_test(few_rows_agree), cmocka_unit_test(corners_change_nothing_else), cmocka_unit_test(weights_of_any_format_agree), cmocka_unit_test(rows_agree), cmocka_unit_test(the_exponential_holds_at_its_edges),
        cmocka_unit_test(attention_agrees), cmocka_unit_test(rotation_is_orthogonal),
        cmocka_unit_test(half_floats_round_as_the_standard_says), cmocka_unit_test(rows_of_halves_are_halves),
        cmocka_unit_test(quantised_blocks_unfold),
        cmocka_unit_test(non_finite_values_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
