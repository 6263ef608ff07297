/* ckpt_private.h - what the readers of this room share: the handle, its files, the table of names. */
#ifndef QK_CKPT_PRIVATE_H
#define QK_CKPT_PRIVATE_H

#include "ckpt/ckpt.h"

/* ---- names (names.c): name -> index in O(1); the names are borrowed */

typedef struct qk_name_slot {
    const char *name; /* NULL: free */
    size_t index;
} qk_name_slot;

typedef struct qk_names { /* {0} is an empty one */
    qk_name_slot *slots;
    size_t n_slots; /* a power of two, at least twice the number of names */
} qk_names;

qk_status qk_names_make(qk_names *out, size_t n_names, const char *what, qk_error *err);
bool qk_names_add(qk_names *names, const char *name, size_t index); /* false: the name is there already */
bool qk_names_find(size_t *index, const qk_names *names, const char *name);
void qk_names_free(qk_names *names);

/* ---- the handle (ckpt.c) */

typedef struct qk_ckpt_file {
    const char *path;
    qk_map map;
    bool borrowed; /* the bytes belong to the caller: fuzz targets */
} qk_ckpt_file;

typedef struct qk_gguf_pair qk_gguf_pair; /* gguf_meta.c */

struct qk_ckpt {
    qk_format format;
    const char *path, *folder; /* in the arena, as are all names */
    qk_arena arena;
    qk_ckpt_file *files;
    size_t n_files;
    qk_tensor *tensors;
    size_t n_tensors;
    qk_names names;
    uint64_t n_bytes;
    json_t *config, *metadata;
    qk_llama2c llama2c;
    qk_gguf_pair *pairs; /* in the arena */
    qk_names keys;
};

/* An empty handle for `path`; room for n_files is made, files are opened into it by qk_ckpt_add_file. */
qk_status qk_ckpt_new(qk_ckpt **out, const char *path, const char *folder, size_t n_files, qk_error *err);
qk_status qk_ckpt_add_file(qk_ckpt *ckpt, const char *path, qk_error *err);
/* Room for n more tensors behind ckpt->tensors[n_tensors]; the reader fills them and counts n_tensors up. */
qk_status qk_ckpt_reserve(qk_ckpt *ckpt, size_t n, const char *path, qk_error *err);
/* Sort the tensors from `first` on by place and refuse overlaps; with gapless also every byte of [data, data + n_bytes)
 * that belongs to no tensor. */
qk_status qk_ckpt_check_layout(qk_ckpt *ckpt, size_t first, const qk_ckpt_file *file, const uint8_t *data,
                               size_t n_bytes, bool gapless, qk_error *err);
/* Build the table of names, refuse duplicates, add up the bytes: the last step of every open. */
qk_status qk_ckpt_index(qk_ckpt *ckpt, qk_error *err);
/* "FILE: tensor "NAME": ..." with the name cut where it would push the rest out of the message. */
qk_status qk_tensor_fail(qk_error *err, qk_status status, const qk_ckpt_file *file, const char *name,
                         const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Product of the shape in the dtype's blocks, checked. */
bool qk_tensor_bytes(size_t *out, const qk_tensor *tensor);
/* Strict JSON; `where` says which part of `path` the bytes are, `at` their offset in it. */
qk_status qk_json_parse(json_t **out, const char *path, const char *where, const void *bytes, size_t n_bytes, size_t at,
                        qk_error *err);
qk_status qk_json_read(json_t **out, const char *path, qk_error *err);

static inline uint64_t qk_load_le(const uint8_t *p, size_t n_bytes) /* n_bytes <= 8 */
{
    uint64_t value = 0;
    for (size_t i = 0; i < n_bytes; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

/* ---- readers: append the file's tensors to ckpt */

typedef qk_status qk_reader(qk_ckpt *ckpt, const qk_ckpt_file *file, qk_error *err);
qk_reader qk_safetensors_read, qk_gguf_read, qk_llama2c_read;

/* gguf_meta.c: bytes of the file, read front to back */
typedef struct qk_gguf_cursor {
    const uint8_t *data;
    size_t size, at;
    const char *path;
} qk_gguf_cursor;
qk_status qk_gguf_take(const uint8_t **out, qk_gguf_cursor *cursor, size_t n_bytes, const char *what, qk_error *err);
/* A name (key or tensor): UTF-8 without NUL, copied into the arena. */
qk_status qk_gguf_take_name(const char **out, qk_gguf_cursor *cursor, qk_arena *arena, const char *what, qk_error *err);
qk_status qk_gguf_read_metadata(qk_ckpt *ckpt, qk_gguf_cursor *cursor, uint64_t n_pairs, qk_error *err);

/* npy.c: the same from bytes at hand, which out->data points into. */
qk_status qk_npy_parse(qk_tensor *out, const qk_map *map, const char *path, qk_error *err);

/* ---- what `path` names */

/* shards.c: the files that model.safetensors.index.json lists, checked against it. */
qk_status qk_shards_open(qk_ckpt **out, const char *folder, const char *index_path, qk_error *err);
/* cache.c: the snapshot folder of org/name[@revision]; malloc'ed. */
qk_status qk_cache_find(char **out, const char *name, const char *cache_dir, qk_error *err);
/* open.c: a file already in memory, by content; borrows the bytes (fuzz targets). */
qk_status qk_ckpt_open_bytes(qk_ckpt **out, const uint8_t *bytes, size_t n_bytes, qk_reader *read, qk_error *err);

#endif
