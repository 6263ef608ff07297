/* test_ckpt_write.c - what is written reads back; a failed write leaves nothing; NumPy headers. */
#include "ckpt_files.h"

static const float numbers[6] = { 0, -1.5f, 2, 3, 4, 1e30f };

static void safetensors_written_reads_back(void **state)
{
    (void)state;
    const qk_tensor_out tensors[] = {
        { "w", QK_DTYPE_F32, 2, { 2, 3 }, numbers },
        { "half \"quoted\" \xc3\xa9", QK_DTYPE_BF16, 1, { 3 }, numbers },
        { "nothing", QK_DTYPE_F16, 2, { 0, 7 }, NULL },
        { "scalar", QK_DTYPE_F32, 0, { 0 }, &numbers[5] },
    };
    static const char *const metadata[] = { "format", "pt", "site", "hook_q" };
    const char *path = in_folder("written.safetensors");
    qk_ckpt *ckpt = NULL;
    for (int streaming = 0; streaming < 2; streaming++) {
        if (streaming) {
            qk_safetensors_writer *writer = NULL;
            assert_ok(qk_safetensors_start(&writer, path, tensors, 4, metadata, 2, err));
            assert_ok(qk_safetensors_append(writer, numbers, 20, err)); /* in uneven pieces */
            assert_ok(qk_safetensors_append(writer, numbers + 5, 4, err));
            assert_ok(qk_safetensors_append(writer, numbers, 6, err));
            assert_ok(qk_safetensors_append(writer, numbers + 5, 4, err));
            assert_ok(qk_safetensors_finish(writer, err));
        } else {
            assert_ok(qk_safetensors_write(path, tensors, 4, metadata, 2, err));
        }
        assert_ok(qk_ckpt_open_safetensors(&ckpt, path, err));
        const qk_tensor *w = find(ckpt, "w", 2, 2, 3);
        assert_memory_equal(w->data, numbers, sizeof numbers);
        assert_int_equal((uintptr_t)w->data % 8, 0);
        assert_int_equal(find(ckpt, tensors[1].name, 1, 0, 3)->dtype, QK_DTYPE_BF16);
        assert_int_equal(find(ckpt, "nothing", 2, 0, 7)->n_bytes, 0);
        assert_true(f32_at(qk_ckpt_find(ckpt, "scalar"), 0) == 1e30f);
        assert_int_equal(json_object_size(qk_ckpt_metadata(ckpt)), 2);
        qk_ckpt_close(ckpt);
        unlink(path);
    }
}

static int entries_in(const char *folder)
{
    DIR *entries = opendir(folder);
    int n = -2;
    while (readdir(entries)) n++;
    closedir(entries);
    return n;
}

static void a_failed_write_leaves_nothing(void **state)
{
    (void)state;
    assert_ok(qk_make_folders(in_folder("out"), err));
    const char *path = in_folder("out/a.safetensors");
    qk_tensor_out two[] = { { "w", QK_DTYPE_F32, 1, { 3 }, numbers }, { "w", QK_DTYPE_F32, 1, { 3 }, numbers } };
    qk_error why;
    qk_safetensors_writer *writer = NULL;
    assert_int_equal(qk_safetensors_write(path, two, 2, NULL, 0, &why), QK_E_ARGUMENT); /* the same name twice */
    assert_non_null(strstr(why.message, "\"w\""));
    two[1].name = "__metadata__";
    assert_int_equal(qk_safetensors_write(path, two, 2, NULL, 0, &why), QK_E_ARGUMENT);
    two[1].name = "\xff";
    assert_int_equal(qk_safetensors_write(path, two, 2, NULL, 0, &why), QK_E_ARGUMENT);
    two[1] = (qk_tensor_out){ "q", QK_DTYPE_Q8_0, 1, { 32 }, numbers };
    assert_int_equal(qk_safetensors_write(path, two, 2, NULL, 0, &why), QK_E_ARGUMENT);
    two[1] = (qk_tensor_out){ "huge", QK_DTYPE_F32, 3, { UINT64_C(1) << 31, UINT64_C(1) << 31, 2 }, numbers };
    assert_int_equal(qk_safetensors_write(path, two, 2, NULL, 0, &why), QK_E_ARGUMENT);
    two[1] = (qk_tensor_out){ "axes", QK_DTYPE_F32, 9, { 1 }, numbers };
    assert_int_equal(qk_safetensors_write(path, two, 2, NULL, 0, &why), QK_E_ARGUMENT);
    static const char *const twice[] = { "a", "1", "a", "2" };
    assert_int_equal(qk_safetensors_write(path, two, 1, twice, 2, &why), QK_E_ARGUMENT);
    assert_ok(qk_safetensors_start(&writer, path, two, 1, NULL, 0, err));
    assert_int_equal(qk_safetensors_append(writer, numbers, 16, &why), QK_E_ARGUMENT); /* more than declared */
    assert_ok(qk_safetensors_append(writer, numbers, 8, err));
    assert_int_equal(qk_safetensors_finish(writer, &why), QK_E_ARGUMENT); /* less than declared */
    assert_ok(qk_safetensors_start(&writer, path, two, 1, NULL, 0, err));
    qk_safetensors_abandon(writer);
    qk_safetensors_abandon(NULL);
    assert_int_equal(qk_safetensors_write(in_folder("absent/a"), two, 1, NULL, 0, &why), QK_E_IO);
    assert_int_equal(entries_in(in_folder("out")), 0);
}

static void npy_written_reads_back(void **state)
{
    (void)state;
    static const struct { int n_dims; uint64_t shape[QK_MAX_DIMS]; size_t n_bytes; } rows[] = {
        { 0, { 0 }, 4 }, { 1, { 6 }, 24 }, { 2, { 2, 3 }, 24 }, { 3, { 3, 0, 2 }, 0 },
        { 8, { 1, 1, 1, 1, 1, 1, 1, 5 }, 20 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qk_npy npy;
        assert_ok(qk_npy_write(in_folder("a.npy"), QK_DTYPE_F32, rows[i].shape, rows[i].n_dims, numbers, err));
        assert_ok(qk_npy_open(&npy, in_folder("a.npy"), err));
        assert_int_equal(npy.tensor.n_dims, rows[i].n_dims);
        assert_memory_equal(npy.tensor.shape, rows[i].shape, sizeof rows[i].shape);
        assert_int_equal(npy.tensor.n_bytes, rows[i].n_bytes);
        assert_memory_equal(npy.tensor.data, numbers, rows[i].n_bytes);
        assert_int_equal((npy.tensor.data - npy.map.data) % 64, 0);
        qk_npy_close(&npy);
    }
    assert_int_equal(qk_npy_write(in_folder("a.npy"), QK_DTYPE_BF16, rows[1].shape, 1, numbers, NULL), QK_E_ARGUMENT);
    assert_int_equal(qk_npy_write(in_folder("a.npy"), QK_DTYPE_F32, rows[1].shape, 9, numbers, NULL), QK_E_ARGUMENT);
}

/* As NumPy itself writes them, and what is refused. */
static void npy_headers(void **state)
{
    (void)state;
    static const struct { const char *dict; int version; qk_status status; const char *expected; } rows[] = {
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 1, QK_OK, NULL },
        { "{'shape': (6,), 'fortran_order': False, 'descr': \"<i4\"}   \n", 2, QK_OK, NULL },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}", 3, QK_OK, NULL },
        { "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 1, QK_E_UNSUPPORTED, "Fortran" },
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", 1, QK_E_UNSUPPORTED, ">f4" },
        { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }", 1, QK_E_FORMAT, "byte" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }", 1, QK_E_FORMAT, "expected 32 bytes" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (6), }", 1, QK_E_FORMAT, "byte" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6), }", 1, QK_E_FORMAT, "byte" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 1, QK_E_FORMAT,
         "overflows" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 1, QK_E_FORMAT, "byte" },
        { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", 1, QK_E_FORMAT, "byte" },
        { "{'descr': '<f4', 'shape': (6,), }", 1, QK_E_FORMAT, "fortran_order" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), } x", 1, QK_E_FORMAT, "byte" },
        { "{'descr': '<f4", 1, QK_E_FORMAT, "byte" },
        { "", 1, QK_E_FORMAT, "byte" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", 4, QK_E_UNSUPPORTED, "version" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes b = { 0 };
        qk_npy npy;
        qk_error err = { QK_OK, "" };
        put(&b, "\223NUMPY", 6);
        put_int(&b, (uint64_t)rows[i].version, 2);
        put_int(&b, strlen(rows[i].dict), rows[i].version == 1 ? 2 : 4);
        put(&b, rows[i].dict, strlen(rows[i].dict));
        put(&b, numbers, sizeof numbers);
        qk_status status = qk_npy_open(&npy, save(&b, "b.npy"), &err);
        if (status != rows[i].status) fail_msg("row %zu: status %d, expected %d: %s", i, status, rows[i].status,
                                               err.message);
        if (!status) qk_npy_close(&npy);
        else if (!strstr(err.message, rows[i].expected)) fail_msg("row %zu: %s", i, err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_written_reads_back), cmocka_unit_test(a_failed_write_leaves_nothing),
        cmocka_unit_test(npy_written_reads_back), cmocka_unit_test(npy_headers),
    };
    return cmocka_run_group_tests(tests, NULL, remove_test_folder);
}
