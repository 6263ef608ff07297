/* ckpt_files.h - checkpoints made on the spot for tests: bytes appended to a buffer, saved in a temporary folder. */
#ifndef QK_CKPT_FILES_H
#define QK_CKPT_FILES_H

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "testing.h"

typedef struct bytes { uint8_t *p; size_t n, capacity; } bytes;

static inline void put(bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->capacity) {
        b->capacity = 2 * (b->n + n);
        b->p = realloc(b->p, b->capacity);
        assert_non_null(b->p);
    }
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void put_int(bytes *b, uint64_t value, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) put(b, &(uint8_t){ (uint8_t)(value >> (8 * i)) }, 1);
}

static inline void put_f32(bytes *b, float value)
{
    union { float f; uint32_t u; } x = { value };
    put_int(b, x.u, 4);
}

static inline void put_zeros(bytes *b, size_t n)
{
    for (size_t i = 0; i < n; i++) put(b, "", 1);
}

static inline void drop(bytes *b) { free(b->p); }

/* ---- the temporary folder: one a test program, made at its first use */

static char test_folder[64];

static inline const char *in_folder(const char *name)
{
    static char paths[4][1024];
    static int next;
    if (!test_folder[0]) {
        strcpy(test_folder, "/tmp/qk_ckpt_XXXXXX");
        assert_non_null(mkdtemp(test_folder));
    }
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
    return path;
}

static inline void remove_tree(const char *path)
{
    DIR *entries = opendir(path);
    const struct dirent *entry;
    while (entries && (entry = readdir(entries))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char *inner = qk_path_join(path, entry->d_name);
        struct stat info;
        if (lstat(inner, &info) == 0 && S_ISDIR(info.st_mode)) remove_tree(inner);
        else unlink(inner);
        free(inner);
    }
    if (entries) closedir(entries);
    rmdir(path);
}

static inline int remove_test_folder(void **state)
{
    (void)state;
    if (test_folder[0]) remove_tree(test_folder);
    test_folder[0] = '\0';
    return 0;
}

/* Save the bytes under a name (folders in it are made) and forget them; returns the path. */
static inline const char *save(bytes *b, const char *name)
{
    const char *path = in_folder(name);
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    assert_ok(qk_make_folders(folder, err));
    assert_ok(qk_write_file(path, b->p ? b->p : (const uint8_t *)"", b->n, err));
    drop(b);
    *b = (bytes){ 0 };
    return path;
}

static inline const char *save_text(const char *text, const char *name)
{
    bytes b = { 0 };
    put(&b, text, strlen(text));
    return save(&b, name);
}

/* ---- safetensors: the header's text, then n_data bytes 0, 1, 2, ... */

static inline bytes safetensors(const char *header, size_t n_data)
{
    bytes b = { 0 };
    put_int(&b, strlen(header), 8);
    put(&b, header, strlen(header));
    for (size_t i = 0; i < n_data; i++) put_int(&b, i, 1);
    return b;
}

/* Four tensors: a [2, 1], b [3], a scalar and an empty one; 15 bytes of data. */
#define SMALL_HEADER \
    "{\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[8,14]},\"__metadata__\":{\"format\":\"pt\"}," \
    "\"a\":{\"dtype\":\"I32\",\"shape\":[2,1],\"data_offsets\":[0,8]}," \
    "\"scalar\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[14,15]}," \
    "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,9223372036854775807],\"data_offsets\":[8,8]}}  "

/* ---- GGUF */

enum { G_U8, G_I8, G_U16, G_I16, G_U32, G_I32, G_F32, G_BOOL, G_STRING, G_ARRAY, G_U64, G_I64, G_F64 };
enum { T_F32, T_F16, T_Q4_0, T_Q8_0 = 8, T_Q4_K = 12, T_BF16 = 30 };

static inline void put_string(bytes *b, const char *text)
{
    put_int(b, strlen(text), 8);
    put(b, text, strlen(text));
}

static inline bytes gguf(uint64_t n_tensors, uint64_t n_pairs)
{
    bytes b = { 0 };
    put(&b, "GGUF\3\0\0\0", 8);
    put_int(&b, n_tensors, 8);
    put_int(&b, n_pairs, 8);
    return b;
}

static inline void put_key(bytes *b, const char *key, uint32_t type)
{
    put_string(b, key);
    put_int(b, type, 4);
}

static inline void put_key_array(bytes *b, const char *key, uint32_t element, uint64_t n)
{
    put_key(b, key, G_ARRAY);
    put_int(b, element, 4);
    put_int(b, n, 8);
}

/* Two axes, fastest first as in the file. */
static inline void put_info(bytes *b, const char *name, uint64_t fastest, uint64_t slowest, uint32_t type,
                            uint64_t offset)
{
    put_string(b, name);
    put_int(b, 2, 4);
    put_int(b, fastest, 8);
    put_int(b, slowest, 8);
    put_int(b, type, 4);
    put_int(b, offset, 8);
}

static inline void pad_to(bytes *b, size_t alignment) { put_zeros(b, (alignment - b->n % alignment) % alignment); }

/* Every kind of value; a Q8_0, an F32, a BF16 tensor; alignment 64. */
static inline bytes small_gguf(uint32_t version)
{
    bytes b = gguf(3, 12);
    b.p[4] = (uint8_t)version;
    put_key(&b, "general.architecture", G_STRING);
    put_string(&b, "llama");
    put_key(&b, "general.alignment", G_U32);
    put_int(&b, 64, 4);
    put_key(&b, "i8", G_I8);
    put_int(&b, 0xFE, 1);
    put_key(&b, "u16", G_U16);
    put_int(&b, 65535, 2);
    put_key(&b, "i32", G_I32);
    put_int(&b, (uint32_t)-7, 4);
    put_key(&b, "u64", G_U64);
    put_int(&b, UINT64_MAX, 8);
    put_key(&b, "f32", G_F32);
    put_f32(&b, 0.5f);
    put_key(&b, "yes", G_BOOL);
    put_int(&b, 1, 1);
    put_key_array(&b, "tokens", G_STRING, 3);
    put_string(&b, "one");
    put_string(&b, "");
    put_string(&b, "three");
    put_key_array(&b, "scores", G_F32, 2);
    put_f32(&b, -1.5f);
    put_f32(&b, 2.5f);
    put_key_array(&b, "types", G_I32, 2);
    put_int(&b, 6, 4);
    put_int(&b, (uint32_t)-1, 4);
    put_key_array(&b, "none", G_U8, 0);
    put_info(&b, "q", 32, 2, T_Q8_0, 0);
    put_info(&b, "f", 2, 3, T_F32, 128);
    put_info(&b, "h", 1, 1, T_BF16, 192);
    pad_to(&b, 64);
    put_zeros(&b, 128);
    for (int i = 0; i < 6; i++) put_f32(&b, (float)i);
    pad_to(&b, 64);
    put_int(&b, 0x3F80, 2);
    return b;
}

/* ---- llama2.c: the header, then n_floats values 0, 1, 2, ... */

static inline bytes llama2c(int version, const int32_t fields[7], int shared, size_t n_floats)
{
    bytes b = { 0 };
    if (version) {
        put_int(&b, 0x616b3432, 4);
        put_int(&b, (uint64_t)version, 4);
    }
    for (int i = 0; i < 7; i++) put_int(&b, (uint32_t)fields[i], 4);
    if (version) {
        put_int(&b, (uint64_t)shared, 1);
        put_zeros(&b, 256 - b.n);
    }
    for (size_t i = 0; i < n_floats; i++) put_f32(&b, (float)i);
    return b;
}

/* ---- reading back */

static inline float f32_at(const qk_tensor *tensor, size_t i)
{
    float value;
    memcpy(&value, tensor->data + 4 * i, sizeof value);
    return value;
}

static inline const qk_tensor *find(const qk_ckpt *ckpt, const char *name, int n_dims, uint64_t rows, uint64_t columns)
{
    const qk_tensor *tensor = qk_ckpt_find(ckpt, name);
    if (!tensor) fail_msg("%s: not found", name);
    assert_string_equal(tensor->name, name);
    assert_int_equal(tensor->n_dims, n_dims);
    if (n_dims == 2) assert_int_equal(tensor->shape[0], rows);
    assert_int_equal(tensor->shape[n_dims - 1], columns);
    return tensor;
}

#endif
