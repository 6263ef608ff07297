/* llama2c.c - reading a llama2.c .bin: a header of int32, then f32 tensors one kind after another, all layers of a kind
 * together.  Version 0 has no magic: seven int32 and a file of exactly the size that they demand. */
#include "ckpt/ckpt_private.h"

#include <string.h>

#define MAGIC 0x616b3432u /* "ak42" */
#define V0_HEADER_BYTES 28
#define V1_HEADER_BYTES 256

/* What an axis counts. */
typedef enum axis {
    NONE,
    C,   /* width of the model */
    HD,  /* rows of the queries */
    GD,  /* rows of the keys and of the values */
    F,   /* width of the feed-forward part */
    V,   /* vocabulary */
    ROPE /* context x head_dim / 2 */
} axis;

/* One kind of tensor: served once a layer under "blk.N.NAME.weight", or once under "NAME.weight". */
typedef struct kind {
    const char *name; /* NULL: skipped */
    bool a_layer;
    axis rows, columns;
} kind;

static const kind v0_kinds[] = {
    { "token_embd", false, V, C }, { "attn_norm", true, NONE, C }, { "attn_q", true, HD, C }, { "attn_k", true, GD, C },
    { "attn_v", true, GD, C }, { "attn_output", true, C, HD }, { "ffn_norm", true, NONE, C },
    { "ffn_gate", true, F, C }, { "ffn_down", true, C, F }, { "ffn_up", true, F, C }, { "output_norm", false, NONE, C },
    { NULL, false, NONE, ROPE }, { NULL, false, NONE, ROPE }, /* cosines and sines: computed, not read */
};
static const kind v1_kinds[] = {
    { "attn_norm", true, NONE, C }, { "ffn_norm", true, NONE, C }, { "output_norm", false, NONE, C },
    { "token_embd", false, V, C }, { "attn_q", true, HD, C }, { "attn_k", true, GD, C }, { "attn_v", true, GD, C },
    { "attn_output", true, C, HD }, { "ffn_gate", true, F, C }, { "ffn_down", true, C, F }, { "ffn_up", true, F, C },
};
static const kind output_kind = { "output", false, V, C };

static size_t axis_length(const qk_llama2c *h, axis a)
{
    size_t head_dim = (size_t)(h->d_model / h->n_heads);
    switch (a) {
    case NONE: return 1;
    case C: case HD: return (size_t)h->d_model;
    case GD: return head_dim * (size_t)h->n_kv_heads;
    case F: return (size_t)h->d_ffn;
    case V: return (size_t)h->n_vocab;
    case ROPE: return (size_t)h->n_context * (head_dim / 2); /* int32 x int32 fits */
    }
    return 0;
}

static qk_status read_header(qk_llama2c *out, size_t *n_header, const qk_ckpt_file *file, qk_error *err)
{
    static const char *const names[7] = { "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size",
                                         "seq_len" };
    const uint8_t *data = file->map.data;
    bool v1 = file->map.size >= 4 && qk_load_le(data, 4) == MAGIC;
    size_t header = v1 ? V1_HEADER_BYTES : V0_HEADER_BYTES;
    if (file->map.size < header)
        return qk_fail(err, QK_E_FORMAT, "%s: llama2.c header: expected %zu bytes, found a file of %zu", file->path,
                       header, file->map.size);
    uint32_t version = v1 ? (uint32_t)qk_load_le(data + 4, 4) : 0;
    if (v1 && version != 1)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: llama2.c version at byte 4: expected 1, found %u%s", file->path,
                       version, version == 2 ? " (int8 quantised: not supported)" : "");
    int32_t fields[7];
    for (size_t i = 0; i < 7; i++) {
        size_t at = (v1 ? 8 : 0) + 4 * i;
        fields[i] = (int32_t)(uint32_t)qk_load_le(data + at, 4);
        bool negative_is_untied = !v1 && i == 5 && fields[i] < 0 && fields[i] != INT32_MIN;
        if (fields[i] < 1 && !negative_is_untied)
            return qk_fail(err, QK_E_FORMAT, "%s: llama2.c header: %s at byte %zu: expected 1 or more, found %d",
                           file->path, names[i], at, fields[i]);
    }
    qk_llama2c h = { .version = (int)version, .d_model = fields[0], .d_ffn = fields[1], .n_layers = fields[2],
                     .n_heads = fields[3], .n_kv_heads = fields[4], .n_context = fields[6],
                     .n_vocab = fields[5] < 0 ? -fields[5] : fields[5], .tied = v1 ? data[36] != 0 : fields[5] > 0 };
    if (h.d_model % h.n_heads || h.n_heads % h.n_kv_heads)
        return qk_fail(err, QK_E_FORMAT,
                       "%s: llama2.c header: dim %d, n_heads %d, n_kv_heads %d: expected each to divide the one before",
                       file->path, h.d_model, h.n_heads, h.n_kv_heads);
    if (v1 && data[36] > 1)
        return qk_fail(err, QK_E_FORMAT, "%s: llama2.c header: shared_classifier at byte 36: expected 0 or 1, found %d",
                       file->path, data[36]);
    *out = h;
    *n_header = header;
    return QK_OK;
}

/* The kinds in file order: the version's table, then the output matrix where it is not the embedding. */
static const kind *kind_at(const qk_llama2c *h, size_t i)
{
    const kind *table = h->version ? v1_kinds : v0_kinds;
    size_t n = h->version ? sizeof v1_kinds / sizeof *v1_kinds : sizeof v0_kinds / sizeof *v0_kinds;
    if (i < n) return &table[i];
    return i == n && !h->tied ? &output_kind : NULL;
}

/* Bytes of one tensor of the kind; false on overflow. */
static bool kind_bytes(size_t *out, const qk_llama2c *h, const kind *k)
{
    size_t n;
    return qk_mul(axis_length(h, k->rows), axis_length(h, k->columns), &n) && qk_mul(n, sizeof(float), out);
}

static qk_status check_size(const qk_llama2c *h, size_t n_header, const qk_ckpt_file *file, qk_error *err)
{
    size_t total = n_header, bytes;
    bool fits = true;
    for (size_t i = 0; fits && kind_at(h, i); i++) {
        const kind *k = kind_at(h, i);
        fits = kind_bytes(&bytes, h, k) && qk_mul(bytes, k->a_layer ? (size_t)h->n_layers : 1, &bytes) &&
               qk_add(total, bytes, &total);
    }
    if (!fits) return qk_fail(err, QK_E_FORMAT, "%s: llama2.c header: the sizes it gives overflow", file->path);
    if (total != file->map.size)
        return qk_fail(err, QK_E_FORMAT,
                       "%s: llama2.c version %d: expected %zu bytes (dim %d, hidden_dim %d, %d layers, vocab_size %d), "
                       "found %zu",
                       file->path, h->version, total, h->d_model, h->d_ffn, h->n_layers, h->n_vocab, file->map.size);
    return QK_OK;
}

static qk_status add_tensor(qk_ckpt *ckpt, const kind *k, int layer, const uint8_t *data, const qk_ckpt_file *file,
                            qk_error *err)
{
    const qk_llama2c *h = &ckpt->llama2c;
    char name[64];
    int n = k->a_layer ? snprintf(name, sizeof name, "blk.%d.%s.weight", layer, k->name)
                       : snprintf(name, sizeof name, "%s.weight", k->name);
    qk_tensor *tensor = &ckpt->tensors[ckpt->n_tensors++];
    *tensor = (qk_tensor){ .name = qk_arena_copy(&ckpt->arena, name, (size_t)n), .dtype = QK_DTYPE_F32, .data = data };
    if (!tensor->name) return qk_out_of_memory(err, file->path, (size_t)n);
    if (k->rows != NONE) tensor->shape[tensor->n_dims++] = axis_length(h, k->rows);
    tensor->shape[tensor->n_dims++] = axis_length(h, k->columns);
    kind_bytes(&tensor->n_bytes, h, k); /* check_size has seen that it fits */
    return QK_OK;
}

qk_status qk_llama2c_read(qk_ckpt *ckpt, const qk_ckpt_file *file, qk_error *err)
{
    size_t n_header = 0, bytes = 0;
    qk_status status = read_header(&ckpt->llama2c, &n_header, file, err);
    const qk_llama2c *h = &ckpt->llama2c;
    if (!status) status = check_size(h, n_header, file, err); /* from here on n_layers is bounded by the file */
    if (!status) status = qk_ckpt_reserve(ckpt, 9 * (size_t)h->n_layers + 3, file->path, err);
    if (status) return status;
    const uint8_t *data = file->map.data + n_header;
    for (size_t i = 0; kind_at(h, i); i++) {
        const kind *k = kind_at(h, i);
        kind_bytes(&bytes, h, k);
        for (int layer = 0; layer < (k->a_layer ? h->n_layers : 1); layer++, data += bytes) {
            if (!k->name) continue;
            status = add_tensor(ckpt, k, layer, data, file, err);
            if (status) return status;
        }
    }
    return QK_OK;
}
