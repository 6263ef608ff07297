/* test_base.c - errors, hashes, random numbers, UTF-8, files. */
#include "testing.h"

#include <sys/stat.h>
#include <unistd.h>

static void errors_are_one_clean_line(void **state)
{
    (void)state;
    qk_error err;
    assert_int_equal(qk_fail(&err, QK_E_FORMAT, "a\nb\x1b[31m %s", "\xff"), QK_E_FORMAT);
    assert_string_equal(err.message, "a?b?[31m ?");
    qk_prefix(&err, QK_E_FORMAT, "file %d", 3);
    assert_string_equal(err.message, "file 3: a?b?[31m ?");
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    memcpy(longer + 246, "\xc3\xa9", 2); /* at the cut */
    qk_fail(&err, QK_E_IO, "name %s: why", longer + 5);
    assert_int_equal(strlen(err.message), 498); /* no half character at the cut */
    assert_memory_equal(err.message, "name xxx", 8); /* both ends of a long message stay: the name and the reason */
    assert_non_null(strstr(err.message, "x ... x"));
    assert_string_equal(err.message + 498 - 6, "x: why");
    memset(longer, '\x80', sizeof longer - 1);
    qk_fail(&err, QK_E_IO, "%s", longer);
    assert_in_range(strlen(err.message), 490, 499);
}

static void sha256_matches_the_standard(void **state)
{
    (void)state;
    char hex[65];
    qk_sha256_of(hex, "", 0);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    qk_sha256_of(hex, "abc", 3);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    qk_sha256 hash;
    qk_sha256_start(&hash);
    char a[1000];
    memset(a, 'a', sizeof a);
    for (int i = 0; i < 1000; i++) { /* a million a, in uneven pieces */
        qk_sha256_add(&hash, a, 333);
        qk_sha256_add(&hash, a, 667);
    }
    qk_sha256_hex(hex, &hash);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void random_numbers_are_fixed_and_fair(void **state)
{
    (void)state;
    qk_rng rng;
    qk_rng_seed(&rng, 42);
    assert_true(qk_rng_next(&rng) == UINT64_C(1546998764402558742)); /* the published generator's own output */
    uint32_t picks[5];
    int seen[10] = { 0 };
    for (int i = 0; i < 20000; i++) {
        assert_ok(qk_rng_sample(picks, 5, 10, &rng, err));
        for (int j = 0; j < 5; j++) seen[picks[j]]++;
    }
    for (int i = 0; i < 10; i++) assert_in_range(seen[i], 9600, 10400);
    double sum = 0, square = 0;
    for (int i = 0; i < 100000; i++) {
        double x = qk_rng_normal(&rng);
        sum += x;
        square += x * x;
    }
    assert_near(sum / 1e5, 0, 0.02);
    assert_near(square / 1e5, 1, 0.03);
}

static void utf8_is_strict(void **state)
{
    (void)state;
    const char good[] = "aé€😀";
    assert_int_equal(qk_utf8_valid(good, strlen(good)), strlen(good));
    const char *bad[] = { "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xf8\x88\x80\x80\x80" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(qk_utf8_valid(bad[i], strlen(bad[i])), 0);
    for (uint32_t c = 1; c < 0x110000; c += 7) {
        if (c >= 0xD800 && c < 0xE000) continue;
        uint8_t bytes[4];
        uint32_t back;
        int n = qk_utf8_encode(bytes, c);
        assert_int_equal(qk_utf8_length(bytes, (size_t)n), n);
        assert_int_equal(qk_utf8_decode(&back, bytes), n);
        assert_int_equal(back, c);
    }
}

static void a_discarded_output_leaves_nothing(void **state)
{
    (void)state;
    char folder[] = "/tmp/qkscope-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = qk_path_join(folder, "file");
    qk_output out;
    assert_ok(qk_output_open(&out, path, err));
    fputs("half", out.stream);
    qk_output_discard(&out);
    assert_false(qk_path_exists(path));
    assert_ok(qk_write_file(path, "whole", 5, err));
    qk_map map;
    assert_ok(qk_map_open(&map, path, err));
    assert_int_equal(map.size, 5);
    qk_map_close(&map);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left in it */
    free(path);
    qk_error err;
    assert_int_equal(qk_write_file("/nonexistent/x", "", 0, &err), QK_E_IO);
    assert_int_equal(qk_write_file("/dev/full/x", "", 0, &err), QK_E_IO);
    assert_int_equal(qk_write_file("/tmp", "", 0, &err), QK_E_IO);
    assert_string_equal(err.message, "/tmp: cannot write: expected a file, found a folder");
}

static void a_pipe_is_not_replaced_by_a_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/qk-base-XXXXXX";
    struct stat info;
    qk_error err;
    assert_non_null(mkdtemp(folder));
    char *path = qk_path_join(folder, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(qk_write_file(path, "x", 1, &err), QK_E_IO);
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
    free(path);
}

/* Small and large ones, zeroed though the memory was used before; one whose size overflows. */
static void floats_are_aligned_and_zeroed(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 1000, 3 << 18, (1 << 19) + 5 };
    float *x = NULL;
    qk_error err;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(qk_new_scratch(&x, sizes[i], "numbers", &err), QK_OK);
        assert_int_equal((uintptr_t)x % 64, 0);
        memset(x, 0xff, sizes[i] * sizeof *x);
        free(x);
        assert_int_equal(qk_new_floats(&x, sizes[i], "numbers", &err), QK_OK);
        for (size_t k = 0; k < sizes[i]; k++) assert_true(x[k] == 0);
        free(x);
    }
    assert_int_equal(qk_new_floats(&x, SIZE_MAX / 2, "numbers", &err), QK_E_MEMORY);
    assert_non_null(strstr(err.message, "overflow"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_one_clean_line), cmocka_unit_test(sha256_matches_the_standard),
        cmocka_unit_test(random_numbers_are_fixed_and_fair), cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(a_discarded_output_leaves_nothing), cmocka_unit_test(a_pipe_is_not_replaced_by_a_file),
        cmocka_unit_test(floats_are_aligned_and_zeroed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
