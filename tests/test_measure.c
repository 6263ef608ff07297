/* test_measure.c - norm sums, the massive rule, profiles and control masks, on maps whose answer is known. */
#include "testing.h"

#include <math.h>

#include "measure/measure.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void the_rule_is_strict(void **state)
{
    (void)state;
    double map[896];
    for (size_t i = 0; i < COUNT(map); i++) map[i] = 0.1;
    /* equal to the mean is not above it */
    assert_int_equal(qk_massive_mask(NULL, map, 14, 64, QK_CRITERION_LAYER_MEAN, 1), 0);
    assert_int_equal(qk_massive_mask(NULL, map, 14, 64, QK_CRITERION_HEAD_MEAN, 1), 0);
    assert_int_equal(qk_massive_mask(NULL, map, 14, 64, QK_CRITERION_LAYER_MEAN, 0.999), 896);
    memset(map, 0, sizeof map);
    assert_int_equal(qk_massive_mask(NULL, map, 14, 64, QK_CRITERION_LAYER_MEAN, 5), 0);
}

/* One spike x among n-1 ones is massive from x > 5 (n-1)/(n-5) on. */
static void a_lone_spike_crosses_where_it_should(void **state)
{
    (void)state;
    static const struct { int heads, dim; double threshold; } cases[] = {
        { 32, 128, 5.00489 }, { 6, 48, 5.07067 }, { 1, 64, 5.33898 },
    };
    static double map[4096];
    for (size_t c = 0; c < COUNT(cases); c++) {
        int n = cases[c].heads * cases[c].dim;
        double exact = 5. * (n - 1) / (n - 5);
        assert_near(exact, cases[c].threshold, 5e-6);
        for (int i = 0; i < n; i++) map[i] = 1;
        map[n / 3] = exact * (1 - 1e-9);
        assert_int_equal(qk_massive_mask(NULL, map, cases[c].heads, cases[c].dim, QK_CRITERION_LAYER_MEAN, 5), 0);
        map[n / 3] = exact * (1 + 1e-9);
        static uint8_t mask[4096];
        assert_int_equal(qk_massive_mask(mask, map, cases[c].heads, cases[c].dim, QK_CRITERION_LAYER_MEAN, 5), 1);
        assert_true(mask[n / 3] == 1 && qk_mask_count(mask, (size_t)n) == 1);
    }
}

static void the_criteria_differ(void **state)
{
    (void)state;
    double map[] = { 1, 1, 1, 9, 100, 100, 100, 110 }; /* one quiet head with a spike, one loud without */
    uint8_t mask[8];
    assert_int_equal(qk_massive_mask(mask, map, 2, 4, QK_CRITERION_LAYER_MEAN, 2), 1);
    assert_memory_equal(mask, ((uint8_t[]){ 0, 0, 0, 0, 0, 0, 0, 1 }), 8);
    assert_int_equal(qk_massive_mask(mask, map, 2, 4, QK_CRITERION_HEAD_MEAN, 2), 1);
    assert_memory_equal(mask, ((uint8_t[]){ 0, 0, 0, 1, 0, 0, 0, 0 }), 8);
    assert_int_equal(qk_massive_mask(mask, map, 2, 4, QK_CRITERION_TOP_K, 2), 4);
    assert_memory_equal(mask, ((uint8_t[]){ 1, 0, 0, 1, 1, 0, 0, 1 }), 8); /* ties: the lower dim */
    assert_int_equal(qk_massive_mask(mask, map, 2, 4, QK_CRITERION_TOP_K, 0), 0);
    assert_int_equal(qk_massive_mask(mask, map, 2, 4, QK_CRITERION_TOP_K, 99), 8);
}

static void nan_is_never_massive(void **state)
{
    (void)state;
    double map[] = { 1, NAN, 3, 2 };
    uint8_t mask[4];
    assert_int_equal(qk_massive_mask(mask, map, 1, 4, QK_CRITERION_LAYER_MEAN, 0.1), 0);
    assert_int_equal(qk_massive_mask(mask, map, 1, 4, QK_CRITERION_TOP_K, 2), 2);
    assert_memory_equal(mask, ((uint8_t[]){ 0, 0, 1, 1 }), 4);
    assert_int_equal(qk_massive_mask(mask, map, 1, 4, QK_CRITERION_TOP_K, 4), 3);
    assert_int_equal(qk_massive_mask(mask, map, 1, 4, QK_CRITERION_TOP_K, NAN), 0);
    assert_int_equal(qk_massive_mask(mask, map, 0, 4, QK_CRITERION_TOP_K, 2), 0);
}

static void a_profile_of_a_known_map(void **state)
{
    (void)state;
    double map[] = { 0, 0, 0, 1, 0, 0, 0, 1 }; /* two heads of four dims, pairs (0, 2) and (1, 3) */
    uint8_t mask[8], slow[] = { 0, 1 };
    qk_profile p;
    assert_int_equal(qk_massive_mask(mask, map, 2, 4, QK_CRITERION_LAYER_MEAN, 3), 2);
    assert_ok(qk_profile_of(&p, map, mask, 2, 4, slow, err));
    assert_int_equal(p.count, 2);
    assert_near(p.max_over_mean, 4, 1e-15);
    assert_near(p.energy_share, 1, 1e-15);
    assert_near(p.gini, 0.75, 1e-15);
    assert_near(p.entropy, log(2) / log(8), 1e-15);
    assert_near(p.kurtosis, 7. / 3, 1e-14); /* 1/(pq) - 3 of a coin with p = 1/4, plus 3 */
    assert_near(p.slow_share, 1, 0);
    mask[0] = 1;
    assert_ok(qk_profile_of(&p, map, mask, 2, 4, slow, err));
    assert_near(p.slow_share, 2. / 3, 1e-15);
    assert_ok(qk_profile_of(&p, map, mask, 2, 4, NULL, err));
    assert_true(isnan(p.slow_share));
}

static void profiles_of_awkward_maps(void **state)
{
    (void)state;
    uint8_t none[4] = { 0 }, slow[] = { 1, 1 };
    qk_profile p;
    assert_ok(qk_profile_of(&p, (double[]){ 0, 0, 0, 0 }, none, 1, 4, slow, err));
    assert_true(p.count == 0 && isnan(p.max_over_mean) && isnan(p.energy_share) && isnan(p.kurtosis));
    assert_true(p.gini == 0 && isnan(p.entropy) && isnan(p.slow_share));
    assert_ok(qk_profile_of(&p, (double[]){ 1, NAN, 2, 1 }, none, 1, 4, slow, err));
    assert_true(isnan(p.max_over_mean) && isnan(p.energy_share) && isnan(p.gini) && isnan(p.kurtosis));
    assert_true(isnan(p.entropy));
    assert_ok(qk_profile_of(&p, (double[]){ 3 }, none, 1, 1, NULL, err)); /* an odd, single dim */
    assert_true(p.max_over_mean == 1 && p.energy_share == 0);
    assert_ok(qk_profile_of(&p, NULL, NULL, 0, 4, NULL, err));
    assert_true(p.count == 0 && isnan(p.max_over_mean));
}

static int count_slow(int head_dim, double context)
{
    float inv_freq[64];
    uint8_t slow[64];
    for (int m = 0; m < head_dim / 2; m++) inv_freq[m] = (float)pow(1e4, -2.0 * m / head_dim);
    assert_true(qk_slow_pairs(slow, inv_freq, head_dim / 2, context));
    return (int)qk_mask_count(slow, (size_t)head_dim / 2);
}

static void slow_pairs_match_their_count(void **state)
{
    (void)state;
    static const int context[] = { 1024, 2048, 4096, 8192, 16000, 32000 }, of_64[] = { 14, 11, 9, 7, 4, 2 },
                     of_128[] = { 28, 23, 18, 14, 9, 4 };
    for (size_t i = 0; i < COUNT(context); i++) {
        assert_int_equal(count_slow(64, context[i]), of_64[i]);
        assert_int_equal(count_slow(128, context[i]), of_128[i]);
    }
    uint8_t slow[2] = { 7, 7 };
    assert_false(qk_slow_pairs(slow, (float[]){ 0, 0 }, 2, 4096)); /* nothing rotates */
    assert_int_equal(slow[0], 7);
}

static void jaccard_of_masks(void **state)
{
    (void)state;
    uint8_t a[] = { 1, 1, 0, 0 }, b[] = { 0, 1, 1, 0 }, none[4] = { 0 };
    assert_near(qk_mask_jaccard(a, b, 4), 1. / 3, 1e-15);
    assert_near(qk_mask_jaccard(a, a, 4), 1, 0);
    assert_near(qk_mask_jaccard(a, none, 4), 0, 0);
    assert_true(isnan(qk_mask_jaccard(none, none, 4)));
}

static void controls_keep_their_promises(void **state)
{
    (void)state;
    enum { HEADS = 4, DIM = 16, N = HEADS * DIM };
    uint8_t mask[N] = { 0 }, control[N];
    int hits[3][N] = { { 0 } }, overlap = 0;
    mask[3] = mask[5] = mask[17] = mask[62] = 1;
    qk_rng rng;
    qk_rng_seed(&rng, 9);
    for (int trial = 0; trial < 6000; trial++)
        for (int kind = 0; kind < 3; kind++) {
            assert_ok(qk_control_mask(control, mask, HEADS, DIM, (qk_control)kind, &rng, err));
            assert_int_equal(qk_mask_count(control, N), 4);
            bool touches = qk_mask_jaccard(control, mask, N) > 0;
            if (kind == QK_CONTROL_UNIFORM) overlap += touches;
            else assert_false(touches);
            for (int h = 0; h < HEADS && kind == QK_CONTROL_SAME_HEAD; h++)
                assert_int_equal(qk_mask_count(control + h * DIM, DIM), qk_mask_count(mask + h * DIM, DIM));
            for (int i = 0; i < N; i++) hits[kind][i] += control[i];
        }
    for (int i = 0; i < N; i++) { /* each dim as often as any other that may be drawn */
        assert_in_range(hits[QK_CONTROL_UNIFORM][i], 300, 450);
        if (!mask[i]) assert_in_range(hits[QK_CONTROL_EXCLUDING][i], 320, 480);
        if (!mask[i] && i < DIM) assert_in_range(hits[QK_CONTROL_SAME_HEAD][i], 757, 957);
    }
    assert_true(overlap > 1000);
    uint8_t again[N];
    qk_rng_seed(&rng, 42);
    assert_ok(qk_control_mask(control, mask, HEADS, DIM, QK_CONTROL_UNIFORM, &rng, err));
    qk_rng_seed(&rng, 42);
    assert_ok(qk_control_mask(again, mask, HEADS, DIM, QK_CONTROL_UNIFORM, &rng, err));
    assert_memory_equal(control, again, N);
}

static void controls_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    uint8_t mask[] = { 1, 1, 1, 0, 0, 0, 0, 0 }, control[8];
    memset(control, 7, sizeof control);
    qk_rng rng;
    qk_rng_seed(&rng, 1);
    qk_error error;
    assert_ok(qk_control_mask((uint8_t[8]){ 0 }, mask, 2, 4, QK_CONTROL_EXCLUDING, &rng, err));
    assert_int_equal(qk_control_mask(control, mask, 2, 4, QK_CONTROL_SAME_HEAD, &rng, &error), QK_E_ARGUMENT);
    assert_non_null(strstr(error.message, "head 0: control mask: 3 dims of 4"));
    mask[4] = mask[5] = 1;
    assert_int_equal(qk_control_mask(control, mask, 2, 4, QK_CONTROL_EXCLUDING, &rng, &error), QK_E_ARGUMENT);
    assert_non_null(strstr(error.message, "5 dims of 8 are massive: expected as many others, found 3"));
    for (int i = 0; i < 8; i++) assert_int_equal(control[i], 7); /* untouched */
    memset(mask, 0, sizeof mask);
    assert_ok(qk_control_mask(control, mask, 2, 4, QK_CONTROL_EXCLUDING, &rng, err));
    assert_int_equal(qk_mask_count(control, 8), 0); /* nothing massive: nothing to draw */
}

/* ---- streaming norms */

enum { TOKENS = 37, Q_HEADS = 4, KV_HEADS = 2, HEAD_DIM = 8, WIDEST = Q_HEADS * HEAD_DIM };

static const qk_config small = { .n_layers = 2, .n_heads = Q_HEADS, .n_kv_heads = KV_HEADS, .head_dim = HEAD_DIM };

static void fill(float x[TOKENS][WIDEST], uint64_t seed)
{
    qk_rng rng;
    qk_rng_seed(&rng, seed);
    for (int t = 0; t < TOKENS; t++)
        for (int d = 0; d < WIDEST; d++) x[t][d] = (float)(qk_rng_normal(&rng) * exp(3 * qk_rng_normal(&rng)));
}

/* Shows rows of `x` in blocks of `block` to the probe. */
static qk_status show(qk_norms *norms, qk_site site, size_t sequence, size_t condition, int layer, size_t width,
                      size_t block, float x[TOKENS][WIDEST], qk_error *err)
{
    qk_probe probe = qk_norms_probe(norms);
    for (size_t row = 0; row < TOKENS; row += block) {
        size_t n = row + block < TOKENS ? block : TOKENS - row;
        qk_view view = { .site = site, .layer = layer, .sequence = sequence, .condition = condition, .head = -1,
                         .row0 = row, .n_rows = n, .width = width, .stride = WIDEST, .x = x[row] };
        qk_status status = probe.see(probe.user, &view, err);
        if (status) return status;
    }
    return QK_OK;
}

static void norms_are_those_of_the_rows(void **state)
{
    (void)state;
    static float x[TOKENS][WIDEST];
    double map[WIDEST], other[WIDEST], mean[WIDEST];
    qk_norms *whole, *pieces;
    fill(x, 3);
    assert_ok(qk_norms_new(&whole, &small, 2, false, err));
    assert_ok(qk_norms_new(&pieces, &small, 2, false, err));
    assert_true(qk_norms_probe(whole).sites == (QK_AT(QK_SITE_Q) | QK_AT(QK_SITE_K) | QK_AT(QK_SITE_V)));
    assert_ok(show(whole, QK_SITE_Q, 1, 0, 1, WIDEST, TOKENS, x, err));
    assert_ok(show(pieces, QK_SITE_Q, 1, 0, 1, WIDEST, 5, x, err));
    assert_ok(show(pieces, QK_SITE_Q, 1, 1, 1, WIDEST, 5, x, err)); /* another condition is none of its business */
    assert_ok(show(pieces, QK_SITE_K, 1, 0, 1, KV_HEADS * HEAD_DIM, 1, x, err));
    qk_norms_map(map, whole, 1, 1, QK_TENSOR_Q);
    qk_norms_map(other, pieces, 1, 1, QK_TENSOR_Q);
    assert_memory_equal(map, other, sizeof map); /* the same bits */
    qk_norms_mean(mean, pieces, 0, 2, 1, QK_TENSOR_Q);
    for (int d = 0; d < WIDEST; d++) {
        double square = 0, sum = 0;
        for (int t = 0; t < TOKENS; t++) {
            square += (double)x[t][d] * x[t][d];
            sum += x[t][d];
        }
        assert_near(map[d], sqrt(square), 1e-12 * sqrt(square));
        assert_near(mean[d], sum / TOKENS, 1e-12 * sqrt(square));
    }
    qk_norms_map(other, pieces, 1, 1, QK_TENSOR_K); /* narrower: the first heads of the same rows */
    assert_memory_equal(map, other, KV_HEADS * HEAD_DIM * sizeof *map);
    qk_norms_map(other, pieces, 0, 0, QK_TENSOR_V);
    qk_norms_mean(mean, pieces, 0, 2, 0, QK_TENSOR_V);
    assert_true(other[0] == 0 && isnan(mean[0])); /* nothing seen */
    qk_norms_free(whole);
    qk_norms_free(pieces);
    qk_norms_free(NULL);
}

static void views_that_do_not_belong_are_refused(void **state)
{
    (void)state;
    static float x[TOKENS][WIDEST];
    qk_norms *norms;
    qk_error error;
    assert_ok(qk_norms_new(&norms, &small, 1, true, err));
    assert_true(qk_norms_probe(norms).sites == (QK_AT(QK_SITE_ROT_Q) | QK_AT(QK_SITE_ROT_K) | QK_AT(QK_SITE_V)));
    assert_int_equal(show(norms, QK_SITE_Q, 0, 0, 0, WIDEST, 9, x, &error), QK_E_ARGUMENT); /* the other side */
    assert_int_equal(show(norms, QK_SITE_ROT_Q, 1, 0, 0, WIDEST, 9, x, &error), QK_E_ARGUMENT);
    assert_int_equal(show(norms, QK_SITE_ROT_Q, 0, 0, 2, WIDEST, 9, x, &error), QK_E_ARGUMENT);
    assert_int_equal(show(norms, QK_SITE_ROT_K, 0, 0, 0, WIDEST, 9, x, &error), QK_E_SHAPE);
    assert_ok(show(norms, QK_SITE_ROT_Q, 0, 0, 0, WIDEST, 9, x, err));
    assert_int_equal(show(norms, QK_SITE_ROT_Q, 0, 0, 0, WIDEST, 9, x, &error), QK_E_CHECK); /* seen twice */
    qk_norms_free(norms);
    qk_config vast = { .n_layers = 1 << 30, .n_heads = 1 << 20, .n_kv_heads = 1 << 20, .head_dim = 1 << 20 };
    assert_int_not_equal(qk_norms_new(&norms, &vast, SIZE_MAX / 2, false, &error), QK_OK);
}

/* Rotary pair (d, d + HEAD_DIM/2) of row t turned by t * inv_freq. */
static void rotate(float x[TOKENS][WIDEST], double direction)
{
    for (int t = 0; t < TOKENS; t++)
        for (int d = 0; d < WIDEST; d++) {
            int m = d % HEAD_DIM;
            if (m >= HEAD_DIM / 2) continue;
            double angle = direction * t * pow(1e4, -2.0 * m / HEAD_DIM), a = x[t][d], b = x[t][d + HEAD_DIM / 2];
            x[t][d] = (float)(a * cos(angle) - b * sin(angle));
            x[t][d + HEAD_DIM / 2] = (float)(a * sin(angle) + b * cos(angle));
        }
}

static void pair_norms_survive_rotation(void **state)
{
    (void)state;
    static float x[TOKENS][WIDEST];
    double before[WIDEST], after[WIDEST], pairs_before[WIDEST / 2], pairs_after[WIDEST / 2], moved = 0;
    qk_norms *pre, *post;
    fill(x, 8);
    assert_ok(qk_norms_new(&pre, &small, 1, false, err));
    assert_ok(qk_norms_new(&post, &small, 1, true, err));
    assert_ok(show(pre, QK_SITE_Q, 0, 0, 0, WIDEST, 7, x, err));
    rotate(x, 1);
    assert_ok(show(post, QK_SITE_ROT_Q, 0, 0, 0, WIDEST, 7, x, err));
    qk_norms_map(before, pre, 0, 0, QK_TENSOR_Q);
    qk_norms_map(after, post, 0, 0, QK_TENSOR_Q);
    qk_pair_norms(pairs_before, before, Q_HEADS, HEAD_DIM);
    qk_pair_norms(pairs_after, after, Q_HEADS, HEAD_DIM);
    for (int i = 0; i < WIDEST / 2; i++) assert_near(pairs_after[i], pairs_before[i], 1e-6 * pairs_before[i]);
    for (int i = 0; i < WIDEST; i++) moved = fmax(moved, fabs(after[i] / before[i] - 1));
    assert_true(moved > 0.1); /* single dims do change */
    rotate(x, -1);
    qk_norms_free(post);
    assert_ok(qk_norms_new(&post, &small, 1, false, err));
    assert_ok(show(post, QK_SITE_Q, 0, 0, 0, WIDEST, TOKENS, x, err)); /* rotated back: the map is back */
    qk_norms_map(after, post, 0, 0, QK_TENSOR_Q);
    for (int i = 0; i < WIDEST; i++) assert_near(after[i], before[i], 1e-6 * before[i]);
    qk_norms_free(pre);
    qk_norms_free(post);
}

static void a_nan_row_stays_visible(void **state)
{
    (void)state;
    static float x[TOKENS][WIDEST];
    double map[WIDEST];
    qk_norms *norms;
    fill(x, 4);
    x[20][3] = NAN;
    x[20][4] = 3e38f; /* its square is beyond f32 */
    assert_ok(qk_norms_new(&norms, &small, 1, false, err));
    assert_ok(show(norms, QK_SITE_Q, 0, 0, 0, WIDEST, 8, x, err));
    qk_norms_map(map, norms, 0, 0, QK_TENSOR_Q);
    assert_true(isnan(map[3]) && isfinite(map[4]) && map[4] > 2.9e38);
    qk_norms_free(norms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rule_is_strict), cmocka_unit_test(a_lone_spike_crosses_where_it_should),
        cmocka_unit_test(the_criteria_differ), cmocka_unit_test(nan_is_never_massive),
        cmocka_unit_test(a_profile_of_a_known_map), cmocka_unit_test(profiles_of_awkward_maps),
        cmocka_unit_test(slow_pairs_match_their_count), cmocka_unit_test(jaccard_of_masks),
        cmocka_unit_test(controls_keep_their_promises), cmocka_unit_test(controls_that_do_not_fit_are_refused),
        cmocka_unit_test(norms_are_those_of_the_rows), cmocka_unit_test(views_that_do_not_belong_are_refused),
        cmocka_unit_test(pair_norms_survive_rotation), cmocka_unit_test(a_nan_row_stays_visible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
