/* test_ckpt.c - good files of every format, read back; what a path may name. */
#include "ckpt_files.h"

static float f32_at(const qk_tensor *tensor, size_t i)
{
    float value;
    memcpy(&value, tensor->data + 4 * i, sizeof value);
    return value;
}

static const qk_tensor *find(const qk_ckpt *ckpt, const char *name, int n_dims, uint64_t rows, uint64_t columns)
{
    const qk_tensor *tensor = qk_ckpt_find(ckpt, name);
    if (!tensor) fail_msg("%s: not found", name);
    assert_string_equal(tensor->name, name);
    assert_int_equal(tensor->n_dims, n_dims);
    if (n_dims == 2) assert_int_equal(tensor->shape[0], rows);
    assert_int_equal(tensor->shape[n_dims - 1], columns);
    return tensor;
}

static const char small_header[] =
    "{\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[8,14]},\"__metadata__\":{\"format\":\"pt\"},"
    "\"a\":{\"dtype\":\"I32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
    "\"scalar\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[14,15]},"
    "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,9223372036854775807],\"data_offsets\":[8,8]}}  ";

static void safetensors_reads(void **state)
{
    (void)state;
    bytes b = safetensors(small_header, 15);
    const char *path = save(&b, "one/any.name");
    qk_ckpt *ckpt = NULL;
    assert_ok(qk_ckpt_open(&ckpt, path, NULL, err));
    assert_int_equal(qk_ckpt_format(ckpt), QK_FORMAT_SAFETENSORS);
    assert_string_equal(qk_ckpt_path(ckpt), path);
    assert_string_equal(qk_ckpt_folder(ckpt), in_folder("one"));
    assert_int_equal(qk_ckpt_count(ckpt), 4);
    static const char *const in_file_order[] = { "a", "empty", "b", "scalar" };
    for (size_t i = 0; i < 4; i++) assert_string_equal(qk_ckpt_at(ckpt, i)->name, in_file_order[i]);
    assert_null(qk_ckpt_at(ckpt, 4));
    assert_null(qk_ckpt_find(ckpt, "c"));
    assert_int_equal(qk_ckpt_bytes(ckpt), 15);
    const qk_tensor *a = find(ckpt, "a", 2, 2, 1), *tail = find(ckpt, "b", 1, 0, 3), *scalar = qk_ckpt_find(ckpt, "scalar");
    assert_int_equal(a->dtype, QK_DTYPE_I32);
    assert_int_equal(a->data[7], 7);
    assert_int_equal(tail->dtype, QK_DTYPE_BF16);
    assert_int_equal(tail->n_bytes, 6);
    assert_int_equal(tail->data[0], 8);
    assert_int_equal(scalar->n_dims, 0);
    assert_int_equal(scalar->data[0], 14);
    assert_int_equal(qk_ckpt_find(ckpt, "empty")->n_bytes, 0);
    assert_null(qk_ckpt_config(ckpt));
    assert_null(qk_ckpt_llama2c(ckpt));
    assert_string_equal(json_string_value(json_object_get(qk_ckpt_metadata(ckpt), "format")), "pt");
    qk_ckpt_close(ckpt);
    save_text("{\"model_type\": \"llama\"}", "one/config.json"); /* beside a lone file it is read */
    assert_ok(qk_ckpt_open(&ckpt, path, NULL, err));
    assert_non_null(qk_ckpt_config(ckpt));
    qk_ckpt_close(ckpt);
    assert_ok(qk_ckpt_open_safetensors(&ckpt, path, err));
    assert_null(qk_ckpt_config(ckpt));
    qk_ckpt_close(ckpt);
    qk_ckpt_close(NULL);
}

static void make_shards(const char *weight_map)
{
    bytes b = safetensors("{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"__metadata__\":{\"a\":\"1\"}}", 4);
    save(&b, "shards/model-00001-of-00002.safetensors");
    b = safetensors("{\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"__metadata__\":{\"b\":\"2\"}}", 2);
    save(&b, "shards/model-00002-of-00002.safetensors");
    char index[512];
    snprintf(index, sizeof index, "{\"metadata\":{\"total_size\":6},\"weight_map\":{%s}}", weight_map);
    save_text(index, "shards/model.safetensors.index.json");
    save_text("{\"model_type\": \"llama\"}", "shards/config.json");
}

static void shards_read_as_one(void **state)
{
    (void)state;
    make_shards("\"y\":\"model-00002-of-00002.safetensors\",\"x\":\"model-00001-of-00002.safetensors\"");
    qk_ckpt *ckpt = NULL;
    assert_ok(qk_ckpt_open(&ckpt, in_folder("shards"), NULL, err));
    assert_int_equal(qk_ckpt_count(ckpt), 2);
    assert_string_equal(qk_ckpt_at(ckpt, 0)->name, "x"); /* shards in name order */
    assert_int_equal(qk_ckpt_bytes(ckpt), 6);
    assert_string_equal(json_string_value(json_object_get(qk_ckpt_config(ckpt), "model_type")), "llama");
    assert_int_equal(json_object_size(qk_ckpt_metadata(ckpt)), 2);
    assert_string_equal(qk_ckpt_folder(ckpt), in_folder("shards"));
    qk_ckpt_close(ckpt);
}

static void shards_must_agree_with_their_index(void **state)
{
    (void)state;
    static const struct { const char *weight_map, *expected; } rows[] = {
        { "\"x\":\"model-00001-of-00002.safetensors\",\"y\":\"model-00001-of-00002.safetensors\"", "\"y\": expected in" },
        { "\"x\":\"model-00002-of-00002.safetensors\",\"y\":\"model-00002-of-00002.safetensors\"", "\"x\": expected in" },
        { "\"x\":\"model-00001-of-00002.safetensors\",\"z\":\"model-00002-of-00002.safetensors\"", "\"y\": not in the weight_map" },
        { "\"x\":\"model-00001-of-00002.safetensors\"", NULL },
        { "\"x\":\"model-00009-of-00002.safetensors\"", "model-00009-of-00002.safetensors" },
        { "\"x\":\"../model-00001-of-00002.safetensors\"", "\"x\": expected the name of a file" },
        { "\"x\":17", "\"x\": expected the name of a file" },
        { "", "weight_map: expected" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qk_ckpt *ckpt = NULL;
        qk_error err = { QK_OK, "" };
        make_shards(rows[i].weight_map);
        qk_status status = qk_ckpt_open(&ckpt, in_folder("shards"), NULL, &err);
        if (!rows[i].expected) { /* a file that the index does not name is none of ours */
            assert_int_equal(status, QK_OK);
            qk_ckpt_close(ckpt);
            continue;
        }
        assert_int_not_equal(status, QK_OK);
        if (!strstr(err.message, rows[i].expected)) fail_msg("row %zu: %s", i, err.message);
    }
}

/* Every kind of value; a Q8_0, an F32, a BF16 tensor; alignment 64. */
static bytes small_gguf(uint32_t version)
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

static void gguf_reads(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        bytes b = small_gguf(version);
        qk_ckpt *ckpt = NULL;
        assert_ok(qk_ckpt_open(&ckpt, save(&b, "small.bin"), NULL, err));
        assert_int_equal(qk_ckpt_format(ckpt), QK_FORMAT_GGUF);
        const qk_tensor *q = find(ckpt, "q", 2, 2, 32), *f = find(ckpt, "f", 2, 3, 2), *h = find(ckpt, "h", 2, 1, 1);
        assert_int_equal(q->dtype, QK_DTYPE_Q8_0);
        assert_int_equal(q->n_bytes, 68);
        assert_true(f32_at(f, 5) == 5.0f);
        assert_int_equal(h->data[1], 0x3F);
        assert_int_equal(qk_ckpt_bytes(ckpt), 68 + 24 + 2);
        qk_ckpt_close(ckpt);
    }
}

static void gguf_metadata_reads(void **state)
{
    (void)state;
    bytes b = small_gguf(3);
    qk_ckpt *ckpt = NULL;
    assert_ok(qk_ckpt_open(&ckpt, save(&b, "small.gguf"), NULL, err));
    const char *text = "kept";
    size_t n = 99;
    int64_t integer = 99;
    double number = 99;
    bool yes = false;
    assert_true(qk_gguf_string(&text, &n, ckpt, "general.architecture"));
    assert_int_equal(n, 5);
    assert_memory_equal(text, "llama", 5);
    assert_true(qk_gguf_int(&integer, ckpt, "i8") && integer == -2);
    assert_true(qk_gguf_int(&integer, ckpt, "u16") && integer == 65535);
    assert_true(qk_gguf_int(&integer, ckpt, "i32") && integer == -7);
    assert_true(qk_gguf_int(&integer, ckpt, "yes") && integer == 1);
    assert_true(qk_gguf_float(&number, ckpt, "f32") && number == 0.5);
    assert_true(qk_gguf_float(&number, ckpt, "i32") && number == -7);
    assert_true(qk_gguf_bool(&yes, ckpt, "yes") && yes);
    integer = 99; /* wrong kinds and absent keys leave the output alone */
    assert_false(qk_gguf_int(&integer, ckpt, "u64")); /* does not fit */
    assert_false(qk_gguf_int(&integer, ckpt, "f32"));
    assert_false(qk_gguf_int(&integer, ckpt, "general.architecture"));
    assert_false(qk_gguf_int(&integer, ckpt, "tokens"));
    assert_false(qk_gguf_int(&integer, ckpt, "absent"));
    assert_false(qk_gguf_bool(&yes, ckpt, "i8"));
    assert_false(qk_gguf_string(&text, &n, ckpt, "tokens"));
    assert_true(integer == 99);
    assert_true(qk_gguf_array(&n, ckpt, "tokens") && n == 3);
    assert_true(qk_gguf_array_string(&text, &n, ckpt, "tokens", 2) && n == 5 && memcmp(text, "three", 5) == 0);
    assert_true(qk_gguf_array_string(&text, &n, ckpt, "tokens", 1) && n == 0);
    assert_false(qk_gguf_array_string(&text, &n, ckpt, "tokens", 3));
    assert_false(qk_gguf_array_int(&integer, ckpt, "tokens", 0));
    assert_true(qk_gguf_array_float(&number, ckpt, "scores", 1) && number == 2.5);
    assert_true(qk_gguf_array_int(&integer, ckpt, "types", 1) && integer == -1);
    assert_true(qk_gguf_array(&n, ckpt, "none") && n == 0);
    assert_false(qk_gguf_array(&n, ckpt, "i8"));
    qk_ckpt_close(ckpt);
}

/* dim 4, hidden 6, 2 layers, 2 heads, 1 key-value head, vocabulary 3, context 5. */
enum { DIM = 4, HIDDEN = 6, LAYERS = 2, VOCAB = 3, CONTEXT = 5, KV = 2,
       FLOATS = VOCAB * DIM + LAYERS * (2 * DIM + 2 * DIM * DIM + 2 * KV * DIM + 3 * HIDDEN * DIM) + DIM };

static void llama2c_reads(void **state)
{
    (void)state;
    int32_t fields[7] = { DIM, HIDDEN, LAYERS, 2, 1, VOCAB, CONTEXT };
    static const struct { int version; bool tied; size_t n_skipped; float embedding, down_1, up_1, norm, output; } rows[] = {
        { 0, true, CONTEXT * 2, 0, 196, 244, 268, -1 }, /* the first entry of a tensor is its place among all floats */
        { 0, false, CONTEXT * 2, 0, 196, 244, 268, 282 },
        { 1, true, 0, 20, 200, 248, 16, -1 },
        { 1, false, 0, 20, 200, 248, 16, 272 },
    };
    assert_int_equal(FLOATS, 272);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fields[5] = rows[i].version == 0 && !rows[i].tied ? -VOCAB : VOCAB;
        bytes b = llama2c(rows[i].version, fields, rows[i].tied, FLOATS + rows[i].n_skipped + (rows[i].tied ? 0 : VOCAB * DIM));
        qk_ckpt *ckpt = NULL;
        assert_ok(qk_ckpt_open(&ckpt, save(&b, "model.bin"), NULL, err));
        const qk_llama2c *h = qk_ckpt_llama2c(ckpt);
        assert_true(h->version == rows[i].version && h->tied == rows[i].tied && h->n_vocab == VOCAB && h->n_kv_heads == 1);
        assert_true(h->d_model == DIM && h->d_ffn == HIDDEN && h->n_layers == LAYERS && h->n_heads == 2 && h->n_context == 5);
        assert_true(f32_at(find(ckpt, "token_embd.weight", 2, VOCAB, DIM), 0) == rows[i].embedding);
        assert_true(f32_at(find(ckpt, "blk.1.ffn_down.weight", 2, DIM, HIDDEN), 0) == rows[i].down_1);
        assert_true(f32_at(find(ckpt, "blk.1.ffn_up.weight", 2, HIDDEN, DIM), 0) == rows[i].up_1);
        assert_true(f32_at(find(ckpt, "output_norm.weight", 1, 0, DIM), 0) == rows[i].norm);
        find(ckpt, "blk.0.attn_k.weight", 2, KV, DIM);
        find(ckpt, "blk.1.attn_q.weight", 2, DIM, DIM);
        if (rows[i].tied) assert_null(qk_ckpt_find(ckpt, "output.weight"));
        else assert_true(f32_at(find(ckpt, "output.weight", 2, VOCAB, DIM), 0) == rows[i].output);
        assert_int_equal(qk_ckpt_count(ckpt), rows[i].tied ? 20 : 21);
        qk_ckpt_close(ckpt);
    }
}

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
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 1, QK_E_FORMAT, "overflows" },
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
        if (status != rows[i].status) fail_msg("row %zu: status %d, expected %d: %s", i, status, rows[i].status, err.message);
        if (!status) qk_npy_close(&npy);
        else if (!strstr(err.message, rows[i].expected)) fail_msg("row %zu: %s", i, err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_reads), cmocka_unit_test(shards_read_as_one),
        cmocka_unit_test(shards_must_agree_with_their_index), cmocka_unit_test(gguf_reads),
        cmocka_unit_test(gguf_metadata_reads), cmocka_unit_test(llama2c_reads),
        cmocka_unit_test(safetensors_written_reads_back), cmocka_unit_test(a_failed_write_leaves_nothing),
        cmocka_unit_test(npy_written_reads_back), cmocka_unit_test(npy_headers),
    };
    return cmocka_run_group_tests(tests, NULL, remove_test_folder);
}
