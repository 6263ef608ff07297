/* test_ckpt_hostile.c - files that lie: each is refused with a status and one line that names the culprit. */
#include "ckpt/ckpt_private.h"
#include "ckpt_files.h"

/* Opens a copy of exactly n bytes, so that a sanitizer sees a read beyond them. */
static qk_status open_copy(const bytes *b, size_t n, qk_reader *read, qk_error *err)
{
    qk_ckpt *ckpt = NULL;
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n) memcpy(copy, b->p, n);
    qk_status status = qk_ckpt_open_bytes(&ckpt, copy, n, read, err);
    if (!status) qk_ckpt_close(ckpt);
    free(copy);
    return status;
}

/* Opens as a user does; drops the bytes. */
static void refuse(const char *row, bytes *b, qk_status expected, const char *culprit)
{
    qk_ckpt *ckpt = NULL;
    qk_error err = { QK_OK, "" };
    const char *path = save(b, "hostile");
    qk_status status = qk_ckpt_open(&ckpt, path, NULL, &err);
    if (status != expected) fail_msg("%.100s: status %d, expected %d: %s", row, status, expected, err.message);
    if (strncmp(err.message, path, strlen(path)) != 0 || !strstr(err.message, culprit))
        fail_msg("%.100s: expected a message with \"%s\", found: %s", row, culprit, err.message);
    assert_null(ckpt);
}

#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void safetensors_that_lie(void **state)
{
    (void)state;
    static const struct { const char *header; size_t n_data; qk_status status; const char *culprit; } rows[] = {
        { "{", 0, QK_E_FORMAT, "header length" },
        { "{\"a\":", 0, QK_E_FORMAT, "not JSON at byte 13" },
        { "{\"a\":1} x", 0, QK_E_FORMAT, "not JSON" },
        { "{\"\\ud800\":1}", 0, QK_E_FORMAT, "not JSON" },
        { "{\"\xff\xfe\":" T("U8", "[1]", "[0,1]") "}", 1, QK_E_FORMAT, "not JSON" },
        { "{\"a\\u0000b\":" T("U8", "[1]", "[0,1]") "}", 1, QK_E_FORMAT, "not JSON" },
        { "{\"a\":1}", 0, QK_E_FORMAT, "\"a\": expected a JSON object" },
        { "{\"a\":{}}", 0, QK_E_FORMAT, "\"a\": data_offsets" },
        { "{\"a\":" T("U8", "[1]", "[0]") "}", 1, QK_E_FORMAT, "\"a\": data_offsets" },
        { "{\"a\":" T("U8", "[1]", "[0,1,2]") "}", 1, QK_E_FORMAT, "\"a\": data_offsets" },
        { "{\"a\":" T("U8", "[1]", "[0,1.0]") "}", 1, QK_E_FORMAT, "\"a\": data_offsets" },
        { "{\"a\":" T("U8", "[1]", "[-1,0]") "}", 1, QK_E_FORMAT, "\"a\": data_offsets" },
        { "{\"a\":" T("U8", "[1]", "[1,0]") "}", 1, QK_E_FORMAT, "found 1, 0" },
        { "{\"a\":" T("U8", "[1]", "[0,2]") "}", 1, QK_E_FORMAT, "found 0, 2" },
        { "{\"a\":" T("U8", "[1]", "[0,9223372036854775807]") "}", 1, QK_E_FORMAT, "found 0, 9223372036854775807" },
        { "{\"a\":" T("U8", "[1]", "[0,18446744073709551616]") "}", 1, QK_E_FORMAT, "not JSON" },
        { "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, QK_E_FORMAT, "\"a\": dtype" },
        { "{\"a\":" T("F8_E4M3", "[1]", "[0,1]") "}", 1,
          QK_E_UNSUPPORTED, "\"a\": data at byte 66: dtype \"F8_E4M3\"" },
        { "{\"a\":" T("Q8_0", "[32]", "[0,34]") "}", 34, QK_E_UNSUPPORTED, "\"Q8_0\"" },
        { "{\"a\":" T("f32", "[1]", "[0,4]") "}", 4, QK_E_UNSUPPORTED, "\"f32\"" },
        { "{\"a\":" T("U8", "1", "[0,1]") "}", 1, QK_E_FORMAT, "\"a\": shape" },
        { "{\"a\":" T("U8", "[-1]", "[0,1]") "}", 1, QK_E_FORMAT, "\"a\": shape: axis 0" },
        { "{\"a\":" T("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, QK_E_UNSUPPORTED, "found 9" },
        { "{\"a\":" T("U8", "[4294967296,4294967296]", "[0,0]") "}", 0, QK_E_FORMAT, "\"a\": data at byte" },
        { "{\"a\":" T("F64", "[4294967296,536870912]", "[0,0]") "}", 0, QK_E_FORMAT, "overflows" },
        { "{\"a\":" T("F32", "[2]", "[0,4]") "}", 4, QK_E_FORMAT, "expected 8 bytes" },
        { "{\"a\":" T("F32", "[]", "[0,8]") "}", 8, QK_E_FORMAT, "expected 4 bytes" },
        { "{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[1,3]") "}", 3,
          QK_E_FORMAT, "\"b\": its data at byte" },
        { "{\"a\":" T("U8", "[1]", "[0,1]") ",\"b\":" T("U8", "[1]", "[2,3]") "}", 3,
          QK_E_FORMAT, "\"b\": the 1 bytes before" },
        { "{\"a\":" T("U8", "[1]", "[0,1]") "}", 3, QK_E_FORMAT, "\"a\", found 2 more bytes" },
        { "{}", 1, QK_E_FORMAT, "(none)" },
        { "{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[1,2]") "}", 2, QK_E_FORMAT, "\"a\"" },
        { "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
          QK_E_FORMAT, "\"dtype\"" },
        { "{\"__metadata__\":{\"a\":1}}", 0, QK_E_FORMAT, "__metadata__: \"a\"" },
        { "{\"__metadata__\":\"a\"}", 0, QK_E_FORMAT, "__metadata__: expected" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes b = safetensors(rows[i].header, rows[i].n_data);
        refuse(rows[i].header, &b, rows[i].status, rows[i].culprit);
    }
}

/* The whole header length, and brackets nested deeper than any parser's stack. */
static void safetensors_header_lengths(void **state)
{
    (void)state;
    static const uint64_t lengths[] = { 0, 1, 16, UINT64_C(1) << 32, UINT64_C(1) << 47 };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        bytes b = { 0 };
        put_int(&b, lengths[i], 8);
        put(&b, "{}     ", 7);
        refuse("header length", &b, QK_E_FORMAT, "header length at byte 0");
    }
    bytes blank = { 0 }, deep = { 0 };
    put_int(&blank, 3, 8);
    put(&blank, " {}", 3);
    assert_int_equal(open_copy(&blank, blank.n, qk_safetensors_read, NULL), QK_E_FORMAT);
    drop(&blank);
    put_int(&deep, 100005, 8);
    put(&deep, "{\"a\":", 5);
    for (int i = 0; i < 100000; i++) put(&deep, "[", 1);
    refuse("nested", &deep, QK_E_FORMAT, "not JSON");
}

/* ---- GGUF: one tensor `t` behind the keys given */

static bytes with_key(const char *key, uint32_t type, uint64_t value, size_t n_bytes)
{
    bytes b = gguf(0, 1);
    put_key(&b, key, type);
    put_int(&b, value, n_bytes);
    pad_to(&b, 64);
    return b;
}

static bytes with_array(uint32_t element, uint64_t n)
{
    bytes b = gguf(0, 1);
    put_key_array(&b, "k", element, n);
    put_zeros(&b, 64);
    return b;
}

static bytes with_info(uint64_t fastest, uint64_t slowest, uint32_t type, uint64_t offset)
{
    bytes b = gguf(1, 0);
    put_info(&b, "t", fastest, slowest, type, offset);
    pad_to(&b, 32);
    put_zeros(&b, 64);
    return b;
}

static bytes with_two(const char *first, const char *second, uint64_t second_offset)
{
    bytes b = gguf(2, 0);
    put_info(&b, first, 16, 1, T_F32, 0);
    put_info(&b, second, 8, 1, T_F32, second_offset);
    pad_to(&b, 32);
    put_zeros(&b, 96);
    return b;
}

static bytes with_name(const char *name, size_t n_bytes)
{
    bytes b = gguf(1, 0);
    put_int(&b, n_bytes, 8);
    put(&b, name, n_bytes);
    put_zeros(&b, 64);
    return b;
}

static bytes with_version(uint32_t version)
{
    bytes b = gguf(0, 0);
    for (int i = 0; i < 4; i++) b.p[4 + i] = (uint8_t)(version >> (8 * i));
    return b;
}

static bytes with_nine_axes(void)
{
    bytes b = gguf(1, 0);
    put_string(&b, "t");
    put_int(&b, 9, 4);
    for (int i = 0; i < 9; i++) put_int(&b, 1, 8);
    put_int(&b, T_F32, 4);
    put_int(&b, 0, 8);
    return b;
}

static bytes with_key_twice(void)
{
    bytes b = gguf(0, 2);
    for (int i = 0; i < 2; i++) {
        put_key(&b, "k", G_U8);
        put_int(&b, 1, 1);
    }
    return b;
}

static bytes with_counts(uint64_t n_tensors, uint64_t n_pairs)
{
    bytes b = gguf(n_tensors, n_pairs);
    put_zeros(&b, 100);
    return b;
}

static void gguf_that_lies(void **state)
{
    (void)state;
    const uint64_t many = UINT64_C(1) << 60;
    struct { bytes b; qk_status status; const char *culprit; } rows[] = {
        { with_counts(many, 0), QK_E_FORMAT, "tensor count at byte 8" },
        { with_counts(0, many), QK_E_FORMAT, "key count at byte 16" },
        { with_counts(UINT64_MAX, UINT64_MAX), QK_E_FORMAT, "tensor count" },
        { with_version(1), QK_E_UNSUPPORTED, "found 1" },
        { with_version(4), QK_E_UNSUPPORTED, "found 4" },
        { with_version(0), QK_E_UNSUPPORTED, "found 0" },
        { with_version(3 << 24), QK_E_UNSUPPORTED, "big-endian" },
        { with_key_twice(), QK_E_FORMAT, "\"k\": expected once" },
        { with_key("", G_U8, 1, 1), QK_E_FORMAT, "GGUF key at byte 24" },
        { with_key("a\xff", G_U8, 1, 1), QK_E_FORMAT, "found \"a?\"" },
        { with_key("k", 13, 1, 4), QK_E_FORMAT, "\"k\": type" },
        { with_key("k", UINT32_MAX, 1, 4), QK_E_FORMAT, "\"k\": type" },
        { with_key("k", G_BOOL, 2, 1), QK_E_FORMAT, "\"k\": bool at byte 37" },
        { with_key("k", G_STRING, many, 8), QK_E_FORMAT, "k at byte 45" },
        { with_key("k", G_STRING, UINT64_MAX, 8), QK_E_FORMAT, "k at byte 45" },
        { with_array(G_STRING, many), QK_E_FORMAT, "\"k\": array length at byte 41" },
        { with_array(G_F64, many), QK_E_FORMAT, "\"k\": array length" },
        { with_array(G_U8, UINT64_MAX), QK_E_FORMAT, "\"k\": array length" },
        { with_array(G_ARRAY, 1), QK_E_UNSUPPORTED, "\"k\": an array of arrays" },
        { with_array(77, 1), QK_E_FORMAT, "\"k\": type" },
        { with_key("general.alignment", G_U32, 0, 4), QK_E_FORMAT, "\"general.alignment\": expected" },
        { with_key("general.alignment", G_U32, 48, 4), QK_E_FORMAT, "found 48" },
        { with_key("general.alignment", G_U32, 4, 4), QK_E_FORMAT, "found 4" },
        { with_key("general.alignment", G_I32, UINT32_MAX, 4), QK_E_FORMAT, "found -1" },
        { with_key("general.alignment", G_U64, UINT64_C(1) << 63, 8), QK_E_FORMAT, "\"general.alignment\"" },
        { with_key("general.alignment", G_F32, 0, 4), QK_E_FORMAT, "expected an integer" },
        { with_key("split.count", G_U16, 3, 2), QK_E_UNSUPPORTED, "\"split.count\": one of 3 files" },
        { with_info(256, 1, T_Q4_K, 0), QK_E_UNSUPPORTED, "\"t\": type at byte 53: Q4_K" },
        { with_info(256, 1, 1000, 0), QK_E_UNSUPPORTED, "\"t\": type at byte 53: number 1000" },
        { with_info(33, 32, T_Q8_0, 0), QK_E_FORMAT, "\"t\": Q8_0 rows" },
        { with_info(16, 2, T_Q4_0, 0), QK_E_FORMAT, "\"t\": Q4_0 rows" },
        { with_info(UINT64_C(1) << 32, UINT64_C(1) << 32, T_F32, 0), QK_E_FORMAT, "\"t\": the product" },
        { with_info(UINT64_C(1) << 62, 1, T_F32, 0), QK_E_FORMAT, "\"t\": the product" },
        { with_info(UINT64_MAX, 1, T_F16, 0), QK_E_FORMAT, "\"t\": the product" },
        { with_info(2, 2, T_F32, 16), QK_E_FORMAT, "\"t\": offset: expected a multiple of 32" },
        { with_info(2, 2, T_F32, 64), QK_E_FORMAT, "\"t\": expected 16 bytes" },
        { with_info(17, 1, T_F32, 0), QK_E_FORMAT, "\"t\": expected 68 bytes" },
        { with_info(2, 2, T_F32, UINT64_MAX - 31), QK_E_FORMAT, "\"t\": expected 16 bytes" },
        { with_two("t", "t", 64), QK_E_FORMAT, "\"t\": expected once" },
        { with_two("t", "u", 32), QK_E_FORMAT, "\"u\": its data at byte" },
        { with_two("t", "u", 0), QK_E_FORMAT, "overlaps" },
        { with_name("", 0), QK_E_FORMAT, "tensor name at byte 24" },
        { with_name("a\xc3(", 3), QK_E_FORMAT, "tensor name at byte 24" },
        { with_name("a\0b", 3), QK_E_FORMAT, "tensor name at byte 24" },
        { with_nine_axes(), QK_E_FORMAT, "\"t\": axes at byte 33: expected at most 8, found 9" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char row[32];
        snprintf(row, sizeof row, "row %zu", i);
        refuse(row, &rows[i].b, rows[i].status, rows[i].culprit);
    }
    bytes two = with_two("t", "u", 64); /* the same without a lie */
    assert_ok(open_copy(&two, two.n, qk_gguf_read, err));
    drop(&two);
}

static void llama2c_that_lies(void **state)
{
    (void)state;
    static const struct { int version; int32_t fields[7]; int shared; int surplus; const char *culprit; } rows[] = {
        { 0, { 4, 6, 2, 2, 1, 3, 5 }, 1, 1, "expected 1156 bytes" },
        { 0, { 4, 6, 2, 2, 1, 3, 5 }, 1, -1, "expected 1156 bytes" },
        { 0, { 4, 6, 2, 3, 1, 3, 5 }, 1, 0, "n_heads 3" },
        { 0, { 4, 6, 2, 2, 4, 3, 5 }, 1, 0, "n_kv_heads 4" },
        { 0, { 1 << 24, 1 << 24, 1 << 24, 1, 1, 1 << 24, 1 << 24 }, 1, 0, "overflow" },
        { 1, { 4, 6, 2, 2, 1, 3, 5 }, 1, -9, "expected 1344 bytes" },
        { 1, { 4, 6, 2, 2, 1, 3, 5 }, 2, 0, "shared_classifier at byte 36" },
        { 1, { 4, 6, 0, 2, 1, 3, 5 }, 1, 0, "n_layers at byte 16" },
        { 1, { 4, 6, 2, 0, 1, 3, 5 }, 1, 0, "n_heads at byte 20" },
        { 1, { 4, 6, 2, 2, 1, -3, 5 }, 1, 0, "vocab_size at byte 28" },
        { 1, { INT32_MAX, INT32_MAX, INT32_MAX, 1, 1, INT32_MAX, INT32_MAX }, 1, 0, "overflow" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char row[32];
        size_t n_floats = (size_t)((rows[i].version ? 272 : 282) + rows[i].surplus);
        bytes b = llama2c(rows[i].version, rows[i].fields, rows[i].shared, n_floats);
        snprintf(row, sizeof row, "row %zu", i);
        refuse(row, &b, QK_E_FORMAT, rows[i].culprit);
    }
    bytes b = llama2c(2, rows[0].fields, 1, 10);
    refuse("version 2", &b, QK_E_UNSUPPORTED, "found 2");
}

static void strangers_are_named(void **state)
{
    (void)state;
    static const struct { const char *text; const char *culprit; } rows[] = {
        { "", "an empty file" },
        { "x", "none of them" },
        { "hello, world, this is a text", "none of them" },
        { "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer" },
        { "PK\003\004 and so on", "PyTorch" },
        { "\200\002}q", "pickled" },
        { "\223NUMPY\1", "NumPy" },
        { "tjgg\1", "ggjt" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes b = { 0 };
        put(&b, rows[i].text, strlen(rows[i].text));
        refuse(rows[i].culprit, &b, QK_E_FORMAT, rows[i].culprit);
    }
    qk_npy npy;
    qk_ckpt *ckpt = NULL;
    qk_error why;
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0); /* nobody writes: it must not wait */
    assert_int_equal(qk_ckpt_open(&ckpt, in_folder("pipe"), NULL, &why), QK_E_IO);
    assert_non_null(strstr(why.message, "expected a file"));
    assert_int_equal(qk_ckpt_open_safetensors(&ckpt, test_folder, NULL), QK_E_IO);
    assert_int_equal(qk_npy_open(&npy, test_folder, NULL), QK_E_IO);
    assert_int_equal(qk_npy_open(&npy, in_folder("absent"), NULL), QK_E_IO);
}

/* ---- cut short, and damaged at random */

static const int32_t small_fields[7] = { 4, 6, 2, 2, 1, 3, 5 };

static qk_status read_npy(qk_ckpt *ckpt, const qk_ckpt_file *file, qk_error *err)
{
    qk_tensor tensor;
    (void)ckpt;
    return qk_npy_parse(&tensor, &file->map, file->path, err);
}

static bytes small_npy(void)
{
    bytes b = { 0 };
    static const char dict[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    put(&b, "\223NUMPY\1\0", 8);
    put_int(&b, sizeof dict - 1, 2);
    put(&b, dict, sizeof dict - 1);
    put_zeros(&b, 24);
    return b;
}

typedef struct sample { bytes b; qk_reader *read; } sample;

static size_t make_samples(sample samples[6])
{
    samples[0] = (sample){ safetensors(SMALL_HEADER, 15), qk_safetensors_read };
    samples[1] = (sample){ small_gguf(3), qk_gguf_read };
    samples[2] = (sample){ llama2c(0, small_fields, 1, 282), qk_llama2c_read };
    samples[3] = (sample){ llama2c(1, small_fields, 1, 272), qk_llama2c_read };
    samples[4] = (sample){ small_npy(), read_npy };
    return 5;
}

static void cut_at_every_byte(void **state)
{
    (void)state;
    sample samples[6];
    size_t n_samples = make_samples(samples);
    for (size_t i = 0; i < n_samples; i++) {
        assert_ok(open_copy(&samples[i].b, samples[i].b.n, samples[i].read, err));
        for (size_t n = 0; n < samples[i].b.n; n++) {
            qk_error why = { QK_OK, "" };
            qk_status status = open_copy(&samples[i].b, n, samples[i].read, &why);
            if ((status != QK_E_FORMAT && status != QK_E_UNSUPPORTED) || strncmp(why.message, "memory: ", 8) != 0)
                fail_msg("sample %zu cut at %zu: status %d: %s", i, n, status, why.message);
        }
        drop(&samples[i].b);
    }
}

/* No expectation but to come back: what is read wrongly here, a sanitizer sees. */
static void damaged_anywhere(void **state)
{
    (void)state;
    static const uint8_t values[] = { 0x00, 0x01, 0x7F, 0x80, 0xFF };
    sample samples[6];
    size_t n_samples = make_samples(samples), n_refused = 0;
    for (size_t i = 0; i < n_samples; i++) {
        bytes *b = &samples[i].b;
        for (size_t at = 0; at < b->n; at++) {
            uint8_t kept = b->p[at];
            for (size_t v = 0; v < sizeof values; v++) {
                b->p[at] = values[v];
                n_refused += open_copy(b, b->n, samples[i].read, NULL) != QK_OK;
            }
            b->p[at] = kept;
        }
        assert_ok(open_copy(b, b->n, samples[i].read, err));
        drop(b);
    }
    assert_in_range(n_refused, 1000, 100000);
}

/* Larger than 4 GiB and almost no bytes on the disk: opening reads the header alone. */
static void a_huge_file_opens(void **state)
{
    (void)state;
    static const char header[] = "{\"first\":" T("F32", "[65536,49152]", "[0,12884901888]") ",\"last\":"
                                 T("U8", "[1]", "[12884901888,12884901889]") "}";
    bytes b = safetensors(header, 0);
    const off_t size = (off_t)(b.n + UINT64_C(12884901889));
    const char *path = save(&b, "huge");
    if (truncate(path, size) != 0) skip(); /* no sparse files here */
    qk_ckpt *ckpt = NULL;
    assert_ok(qk_ckpt_open(&ckpt, path, NULL, err));
    const qk_tensor *first = find(ckpt, "first", 2, 65536, 49152), *last = find(ckpt, "last", 1, 0, 1);
    assert_true(first->n_bytes == UINT64_C(12884901888) && last->data == first->data + first->n_bytes);
    assert_int_equal(*last->data, 0);
    qk_ckpt_close(ckpt);
    unlink(path);
}

/* A hundred thousand names: the table of names keeps opening and finding quick. */
static void many_names(void **state)
{
    (void)state;
    enum { N = 100000 };
    bytes b = gguf(N, 0);
    char name[16];
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "t%d", i);
        put_info(&b, name, 0, 1, T_F32, 0);
    }
    qk_ckpt *ckpt = NULL;
    assert_ok(qk_ckpt_open(&ckpt, save(&b, "many"), NULL, err));
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "t%d", i);
        assert_non_null(qk_ckpt_find(ckpt, name));
    }
    assert_null(qk_ckpt_find(ckpt, "t100000"));
    qk_ckpt_close(ckpt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_that_lie), cmocka_unit_test(safetensors_header_lengths),
        cmocka_unit_test(gguf_that_lies), cmocka_unit_test(llama2c_that_lies),
        cmocka_unit_test(strangers_are_named), cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(damaged_anywhere), cmocka_unit_test(a_huge_file_opens), cmocka_unit_test(many_names),
    };
    return cmocka_run_group_tests(tests, NULL, remove_test_folder);
}
