/* test_ckpt_memory.c - every allocation fails once: each call then says so, leaks nothing (a sanitizer looks) and
 * leaves its output alone.  Linked with --wrap, so that only our own calls fail; jansson has its own ways. */
#include "ckpt_files.h"
#include "failing_memory.h"

typedef qk_status attempt(const char *path, qk_error *err);

static qk_status open_it(const char *path, qk_error *err)
{
    qk_ckpt *ckpt = NULL;
    qk_status status = qk_ckpt_open(&ckpt, path, in_folder("hub"), err);
    before_failure = -1;
    assert_true((status == QK_OK) == (ckpt != NULL));
    qk_ckpt_close(ckpt);
    return status;
}

static const float numbers[4] = { 1, 2, 3, 4 };

static qk_status write_it(const char *path, qk_error *err)
{
    static const qk_tensor_out tensors[] = { { "a", QK_DTYPE_F32, 1, { 4 }, numbers },
                                             { "b", QK_DTYPE_F32, 2, { 2, 2 }, numbers } };
    static const char *const metadata[] = { "format", "pt" };
    return qk_safetensors_write(path, tensors, 2, metadata, 1, err);
}

static qk_status write_npy(const char *path, qk_error *err)
{
    return qk_npy_write(path, QK_DTYPE_F32, (const uint64_t[]){ 2, 2 }, 2, numbers, err);
}

static void each_allocation_fails_once(attempt *call, const char *name, long at_least)
{
    char path[1024]; /* in_folder, which gave the name, reuses its buffers */
    snprintf(path, sizeof path, "%s", name);
    for (long k = 0;; k++) {
        qk_error err = { QK_OK, "" };
        has_failed = false;
        before_failure = k;
        qk_status status = call(path, &err);
        before_failure = -1;
        if (!has_failed) {
            assert_int_equal(status, QK_OK);
            if (k < at_least) fail_msg("%s: %ld allocations, expected %ld or more", path, k, at_least);
            return;
        }
        if (status != QK_E_MEMORY) fail_msg("%s: allocation %ld: status %d: %s", path, k, status, err.message);
        assert_non_null(strstr(err.message, "cannot allocate"));
    }
}

static void opening(void **state)
{
    (void)state;
    static const int32_t fields[7] = { 4, 6, 2, 2, 1, 3, 5 };
    bytes b = small_gguf(3);
    each_allocation_fails_once(open_it, save(&b, "a.gguf"), 6);
    b = llama2c(1, fields, 1, 272);
    each_allocation_fails_once(open_it, save(&b, "a.bin"), 5);
    b = safetensors(SMALL_HEADER, 15);
    save(&b, "hub/models--o--n/snapshots/abc/a.safetensors");
    save_text("{\"weight_map\":{\"a\":\"a.safetensors\",\"b\":\"a.safetensors\",\"empty\":\"a.safetensors\","
              "\"scalar\":\"a.safetensors\"}}", "hub/models--o--n/snapshots/abc/model.safetensors.index.json");
    save_text("{}", "hub/models--o--n/snapshots/abc/config.json");
    save_text("abc", "hub/models--o--n/refs/main");
    each_allocation_fails_once(open_it, "o/n", 12);
    unlink(in_folder("hub/models--o--n/snapshots/abc/model.safetensors.index.json"));
    each_allocation_fails_once(open_it, "o/n", 12);
}

static void writing(void **state)
{
    (void)state;
    each_allocation_fails_once(write_it, in_folder("a.safetensors"), 3);
    each_allocation_fails_once(write_npy, in_folder("a.npy"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(opening), cmocka_unit_test(writing) };
    return cmocka_run_group_tests(tests, NULL, remove_test_folder);
}
