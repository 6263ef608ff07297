/* ckpt.h - checkpoints as they lie on disk: tensors by name, metadata by key; nothing is interpreted here.
 *
 * A checkpoint is immutable after open and may be shared by all threads.  Pointers handed out live as long as it. */
#ifndef QK_CKPT_H
#define QK_CKPT_H

#include <jansson.h>

#include "base/base.h"
#include "math/dtype.h"

#define QK_MAX_DIMS 8

typedef enum qk_format { QK_FORMAT_SAFETENSORS, QK_FORMAT_GGUF, QK_FORMAT_LLAMA2C } qk_format;

typedef struct qk_tensor {
    const char *name;
    qk_dtype dtype;
    int n_dims;
    uint64_t shape[QK_MAX_DIMS]; /* slowest axis first, as Hugging Face writes it (GGUF's reversed order is turned) */
    const uint8_t *data;         /* into the mapped file, maybe unaligned; [n_bytes] */
    size_t n_bytes;              /* checked: equals the product of shape in dtype's blocks, inside the file */
} qk_tensor;

typedef struct qk_ckpt qk_ckpt;

/* Open what `path` names: a Hugging Face folder (model.safetensors, or shards with model.safetensors.index.json, and
 * config.json), one .safetensors file (config.json beside it, if there), a .gguf, a llama2.c .bin v0 or v1, or
 * `org/name[@revision]` in the Hugging Face cache at `cache_dir` (NULL: not searched; an existing path always wins).
 * Decided by content.  Every offset, count and product is checked before use; duplicate tensor names, overlapping or
 * out-of-file data and unknown dtypes are refused with the tensor's name and byte offset. */
qk_status qk_ckpt_open(qk_ckpt **out, const char *path, const char *cache_dir, qk_error *err);
/* Only the tensors of one safetensors file (no config wanted): golden files, captured q and k. */
qk_status qk_ckpt_open_safetensors(qk_ckpt **out, const char *path, qk_error *err);
/* Tensors at hand, as if read from a safetensors file called `path` in `folder`, where its tokenizer would lie.  Names
 * are copied; the data, which all lies in [data, data + n_bytes), stays the caller's, must outlive the handle and may
 * change under it. */
qk_status qk_ckpt_of_tensors(qk_ckpt **out, const char *path, const char *folder, const qk_tensor *tensors,
                             size_t n_tensors, const void *data, size_t n_bytes, qk_error *err);
void qk_ckpt_close(qk_ckpt *ckpt);

qk_format qk_ckpt_format(const qk_ckpt *ckpt);
const char *qk_ckpt_path(const qk_ckpt *ckpt);   /* what was opened, after the cache look-up */
const char *qk_ckpt_folder(const qk_ckpt *ckpt); /* where tokenizer files would lie: the folder, or the file's */
size_t qk_ckpt_count(const qk_ckpt *ckpt);
const qk_tensor *qk_ckpt_at(const qk_ckpt *ckpt, size_t index); /* in file order */
const qk_tensor *qk_ckpt_find(const qk_ckpt *ckpt, const char *name); /* NULL where absent; O(1) */
/* A tensor's data is wanted soon (qk_map_expect). */
void qk_ckpt_expect(const qk_ckpt *ckpt, const qk_tensor *tensor);
/* [n_bytes] of a tensor's data from `offset` on leave resident memory until they are touched again (qk_map_release). */
void qk_ckpt_release(const qk_ckpt *ckpt, const qk_tensor *tensor, size_t offset, size_t n_bytes);
uint64_t qk_ckpt_bytes(const qk_ckpt *ckpt);     /* of all tensors */

/* config.json parsed (an object), or NULL (GGUF, llama2.c, a lone .safetensors without config beside it). */
const json_t *qk_ckpt_config(const qk_ckpt *ckpt);
/* safetensors __metadata__ (object of strings) or NULL. */
const json_t *qk_ckpt_metadata(const qk_ckpt *ckpt);

/* llama2.c header; its tensors are served under their GGUF names ("token_embd.weight", "blk.0.attn_q.weight", ...),
 * freq_cis tables of v0 skipped. */
typedef struct qk_llama2c {
    int version; /* 0 or 1 */
    int d_model, d_ffn, n_layers, n_heads, n_kv_heads, n_vocab, n_context;
    bool tied;
} qk_llama2c;
const qk_llama2c *qk_ckpt_llama2c(const qk_ckpt *ckpt); /* NULL for the other formats */

/* GGUF metadata: false where the key is absent; QK_E_FORMAT-free because types were checked on open: a getter of the
 * wrong kind says false and leaves *out alone.  Integers of every width (and bool) answer to _int, floats and integers
 * to _float. */
bool qk_gguf_string(const char **out, size_t *n_bytes, const qk_ckpt *ckpt, const char *key); /* not NUL-terminated */
bool qk_gguf_int(int64_t *out, const qk_ckpt *ckpt, const char *key);
bool qk_gguf_float(double *out, const qk_ckpt *ckpt, const char *key);
bool qk_gguf_bool(bool *out, const qk_ckpt *ckpt, const char *key);
/* Arrays: element count, then element by index, O(1) (strings are pointers into the map). */
bool qk_gguf_array(size_t *n, const qk_ckpt *ckpt, const char *key);
bool qk_gguf_array_string(const char **out, size_t *n_bytes, const qk_ckpt *ckpt, const char *key, size_t index);
bool qk_gguf_array_int(int64_t *out, const qk_ckpt *ckpt, const char *key, size_t index);
bool qk_gguf_array_float(double *out, const qk_ckpt *ckpt, const char *key, size_t index);

/* SHA-256 of the weights, as 64 hex digits: of the file where there is one; of what `sha256sum` prints for the files in
 * name order where there are several.  A blob of the Hugging Face cache that is named by its own hash is believed,
 * everything else is read.  Uses the processor's SHA instructions where there are any. */
qk_status qk_ckpt_hash(char hex[65], const qk_ckpt *ckpt, const qk_progress *progress, qk_error *err);

/* ---- writing */

/* One tensor to write: f32, f16 or bf16 bytes as they are. */
typedef struct qk_tensor_out {
    const char *name;
    qk_dtype dtype;
    int n_dims;
    uint64_t shape[QK_MAX_DIMS];
    const void *data;
} qk_tensor_out;
/* metadata: pairs key, value, ..., n_metadata pairs; may be NULL.  Written beside, then renamed. */
qk_status qk_safetensors_write(const char *path, const qk_tensor_out *tensors, size_t n_tensors,
                               const char *const *metadata, size_t n_metadata, qk_error *err);

/* The same, streaming, when the data does not fit in memory: declare all tensors, then append the bytes in that
 * order. */
typedef struct qk_safetensors_writer qk_safetensors_writer;
qk_status qk_safetensors_start(qk_safetensors_writer **out, const char *path, const qk_tensor_out *declared,
                               size_t n_tensors, const char *const *metadata, size_t n_metadata, qk_error *err);
qk_status qk_safetensors_append(qk_safetensors_writer *writer, const void *bytes, size_t n_bytes, qk_error *err);
qk_status qk_safetensors_finish(qk_safetensors_writer *writer, qk_error *err); /* frees; fails if bytes are missing */
void qk_safetensors_abandon(qk_safetensors_writer *writer);                    /* frees; leaves no file */

/* ---- NumPy files: C order, little endian, F32, F16, F64, I64, I32 */

typedef struct qk_npy { qk_map map; qk_tensor tensor; } qk_npy; /* tensor.name = "" */
/* Fortran order and other dtypes are refused by name. */
qk_status qk_npy_open(qk_npy *out, const char *path, qk_error *err);
void qk_npy_close(qk_npy *npy);
qk_status qk_npy_write(const char *path, qk_dtype dtype, const uint64_t *shape, int n_dims, const void *data,
                       qk_error *err);

#endif
