/* test_ckpt.c - good files of every format, read back; what a path may name. */
#include "ckpt_files.h"

static void safetensors_reads(void **state)
{
    (void)state;
    bytes b = safetensors(SMALL_HEADER, 15);
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
    const qk_tensor *a = find(ckpt, "a", 2, 2, 1), *tail = find(ckpt, "b", 1, 0, 3);
    const qk_tensor *scalar = qk_ckpt_find(ckpt, "scalar");
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
    bytes b = safetensors("{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                          "\"__metadata__\":{\"a\":\"1\"}}", 4);
    save(&b, "shards/model-00001-of-00002.safetensors");
    b = safetensors("{\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"__metadata__\":{\"b\":\"2\"}}",
                    2);
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
        { "\"x\":\"model-00001-of-00002.safetensors\",\"y\":\"model-00001-of-00002.safetensors\"",
         "\"y\": expected in" },
        { "\"x\":\"model-00002-of-00002.safetensors\",\"y\":\"model-00002-of-00002.safetensors\"",
         "\"x\": expected in" },
        { "\"x\":\"model-00001-of-00002.safetensors\",\"z\":\"model-00002-of-00002.safetensors\"",
         "\"y\": not in the weight_map" },
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
    static const struct { int version; bool tied; size_t n_skipped; float embedding, down_1, up_1, norm,
                         output; } rows[] = {
        { 0, true, CONTEXT * 2, 0, 196, 244, 268, -1 }, /* the first entry of a tensor is its place among all floats */
        { 0, false, CONTEXT * 2, 0, 196, 244, 268, 282 },
        { 1, true, 0, 20, 200, 248, 16, -1 },
        { 1, false, 0, 20, 200, 248, 16, 272 },
    };
    assert_int_equal(FLOATS, 272);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fields[5] = rows[i].version == 0 && !rows[i].tied ? -VOCAB : VOCAB;
        bytes b = llama2c(rows[i].version, fields, rows[i].tied,
                          FLOATS + rows[i].n_skipped + (rows[i].tied ? 0 : VOCAB * DIM));
        qk_ckpt *ckpt = NULL;
        assert_ok(qk_ckpt_open(&ckpt, save(&b, "model.bin"), NULL, err));
        const qk_llama2c *h = qk_ckpt_llama2c(ckpt);
        assert_true(h->version == rows[i].version && h->tied == rows[i].tied);
        assert_true(h->d_model == DIM && h->d_ffn == HIDDEN && h->n_layers == LAYERS && h->n_vocab == VOCAB);
        assert_true(h->n_heads == 2 && h->n_kv_heads == 1 && h->n_context == CONTEXT);
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

/* What a path may name. */
static void paths(void **state)
{
    (void)state;
    static const char one[] = "{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    static const char repository[] = "hub/models--org--name";
    static const char commit[] = "0123456789abcdef0123456789abcdef01234567";
    char at[256];
    bytes b = safetensors(one, 4);
    char link_name[256], target[256], hash[65];
    qk_sha256_of(hash, b.p, b.n);
    snprintf(at, sizeof at, "%s/blobs/%s", repository, hash);
    save(&b, at);
    snprintf(at, sizeof at, "%s/snapshots/%s/config.json", repository, commit);
    save_text("{}", at);
    snprintf(link_name, sizeof link_name, "%s/snapshots/%s/model.safetensors", repository, commit);
    snprintf(target, sizeof target, "../../blobs/%s", hash);
    assert_int_equal(symlink(target, in_folder(link_name)), 0);
    snprintf(at, sizeof at, "%s/refs/main", repository);
    save_text("0123456789abcdef0123456789abcdef01234567\n", at);
    snprintf(at, sizeof at, "%s/refs/refs/pr/1", repository);
    save_text("feedfacefeedfacefeedfacefeedfacefeedface", at);
    snprintf(at, sizeof at, "%s/refs/evil", repository);
    save_text("../../..", at);
    static const struct { const char *name; qk_status status; const char *expected; } rows[] = {
        { "org/name", QK_OK, "/snapshots/0123456789abcdef0123456789abcdef01234567" },
        { "org/name@main", QK_OK, "/snapshots/0123456789abcdef0123456789abcdef01234567" },
        { "org/name@0123456789abcdef0123456789abcdef01234567", QK_OK, "/snapshots/0123456789abcdef01" },
        { "org/name@v2", QK_E_IO, "revision v2" },
        { "org/name@refs/pr/1", QK_E_IO, "feedface" }, /* the reference is there, the snapshot is not */
        { "org/name@evil", QK_E_FORMAT, "refs/evil" },
        { "org/name@../../x", QK_E_IO, "org/name@../../x" },
        { "org/other", QK_E_IO, "models--org--other" },
        { "../name", QK_E_IO, "../name: no such file or folder" },
        { "a/b/c", QK_E_IO, "a/b/c: no such file or folder" },
        { "", QK_E_IO, "no such file or folder" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qk_ckpt *ckpt = NULL;
        qk_error why = { QK_OK, "" };
        qk_status status = qk_ckpt_open(&ckpt, rows[i].name, in_folder("hub"), &why);
        if (status != rows[i].status) fail_msg("row %zu: status %d: %s", i, status, why.message);
        const char *text = status ? why.message : qk_ckpt_folder(ckpt);
        if (!strstr(text, rows[i].expected)) fail_msg("row %zu: %s", i, text);
        qk_ckpt_close(ckpt);
    }
    qk_ckpt *ckpt = NULL;
    assert_int_equal(qk_ckpt_open(&ckpt, "org/name", NULL, NULL), QK_E_IO);
}

/* A folder without what is needed says what was looked for. */
static void folders(void **state)
{
    (void)state;
    static const char one[] = "{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    qk_error why;
    qk_ckpt *ckpt = NULL;
    bytes b = { 0 };
    assert_ok(qk_make_folders(in_folder("f"), err));
    assert_int_equal(qk_ckpt_open(&ckpt, in_folder("f"), NULL, &why), QK_E_IO);
    assert_non_null(strstr(why.message, "expected model.safetensors"));
    save_text("PK", "f/pytorch_model.bin");
    assert_int_equal(qk_ckpt_open(&ckpt, in_folder("f"), NULL, &why), QK_E_IO);
    assert_non_null(strstr(why.message, "pytorch_model.bin"));
    b = safetensors(one, 4);
    save(&b, "f/other.safetensors");
    assert_int_equal(qk_ckpt_open(&ckpt, in_folder("f"), NULL, &why), QK_E_IO);
    assert_non_null(strstr(why.message, "config.json"));
    save_text("[]", "f/config.json");
    assert_int_equal(qk_ckpt_open(&ckpt, in_folder("f"), NULL, &why), QK_E_FORMAT);
    assert_non_null(strstr(why.message, "f/config.json: "));
    save_text("{\"a\": 1, \"a\": 2}", "f/config.json");
    assert_int_equal(qk_ckpt_open(&ckpt, in_folder("f"), NULL, &why), QK_E_FORMAT);
    save_text("{\"a\": 1}", "f/config.json");
    assert_ok(qk_ckpt_open(&ckpt, in_folder("f"), NULL, err));
    assert_non_null(qk_ckpt_config(ckpt));
    qk_ckpt_close(ckpt);
    b = safetensors(one, 4);
    save(&b, "f/second.safetensors");
    assert_int_equal(qk_ckpt_open(&ckpt, in_folder("f"), NULL, &why), QK_E_IO);
    assert_non_null(strstr(why.message, "found 2 .safetensors"));
    b = small_gguf(3);
    save(&b, "g/only.gguf"); /* a folder may hold one GGUF file instead */
    assert_ok(qk_ckpt_open(&ckpt, in_folder("g"), NULL, err));
    assert_int_equal(qk_ckpt_format(ckpt), QK_FORMAT_GGUF);
    assert_string_equal(qk_ckpt_folder(ckpt), in_folder("g"));
    qk_ckpt_close(ckpt);
    b = safetensors(one, 4);
    save(&b, "f/model.safetensors"); /* the usual name wins over the others */
    assert_ok(qk_ckpt_open(&ckpt, in_folder("f"), NULL, err));
    qk_ckpt_close(ckpt);
}

typedef struct ticks { int n, stop_at; double total; } ticks;

static bool tick(void *user, const char *phase, double done, double total)
{
    ticks *t = user;
    assert_string_equal(phase, "hash");
    assert_true(done <= total);
    t->total = total;
    return ++t->n != t->stop_at;
}

static void hashes(void **state)
{
    (void)state;
    char hex[65], wanted[65];
    qk_ckpt *ckpt = NULL;
    ticks t = { 0 };
    const qk_progress progress = { tick, &t };
    bytes b = safetensors(SMALL_HEADER, 15);
    qk_sha256_of(wanted, b.p, b.n);
    assert_ok(qk_ckpt_open(&ckpt, save(&b, "h/model.safetensors"), NULL, err));
    assert_ok(qk_ckpt_hash(hex, ckpt, &progress, err));
    assert_string_equal(hex, wanted);
    assert_int_equal(t.n, 1);
    t = (ticks){ .stop_at = 1 };
    strcpy(hex, "kept");
    assert_int_equal(qk_ckpt_hash(hex, ckpt, &progress, NULL), QK_E_INTERRUPTED);
    assert_string_equal(hex, "kept");
    qk_ckpt_close(ckpt);

    /* a link into blobs/ is believed: nothing is read; any other link is not */
    static const char blob[] = "00000000000000000000000000000000000000000000000000000000000000ff";
    static const char *const folders_[] = { "h/blobs", "h/others" };
    for (int i = 0; i < 2; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s/%s", folders_[i], blob);
        b = safetensors(SMALL_HEADER, 15);
        save(&b, name);
        unlink(in_folder("h/link"));
        assert_int_equal(symlink(in_folder(name), in_folder("h/link")), 0);
        assert_ok(qk_ckpt_open(&ckpt, in_folder("h/link"), NULL, err));
        t = (ticks){ 0 };
        assert_ok(qk_ckpt_hash(hex, ckpt, &progress, err));
        assert_string_equal(hex, i == 0 ? blob : wanted);
        assert_int_equal(t.n, i);
        qk_ckpt_close(ckpt);
    }

    /* several files: what sha256sum prints, hashed */
    make_shards("\"y\":\"model-00002-of-00002.safetensors\",\"x\":\"model-00001-of-00002.safetensors\"");
    char lines[300];
    size_t n = 0;
    for (int i = 1; i <= 2; i++) {
        char name[64];
        qk_map map;
        snprintf(name, sizeof name, "shards/model-0000%d-of-00002.safetensors", i);
        assert_ok(qk_map_open(&map, in_folder(name), err));
        qk_sha256_of(wanted, map.data, map.size);
        n += (size_t)snprintf(lines + n, sizeof lines - n, "%s  %s\n", wanted, strchr(name, '/') + 1);
        qk_map_close(&map);
    }
    qk_sha256_of(wanted, lines, n);
    assert_ok(qk_ckpt_open(&ckpt, in_folder("shards"), NULL, err));
    assert_ok(qk_ckpt_hash(hex, ckpt, NULL, err));
    assert_string_equal(hex, wanted);
    qk_ckpt_close(ckpt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_reads), cmocka_unit_test(shards_read_as_one),
        cmocka_unit_test(shards_must_agree_with_their_index), cmocka_unit_test(gguf_reads),
        cmocka_unit_test(gguf_metadata_reads), cmocka_unit_test(llama2c_reads),
        cmocka_unit_test(paths), cmocka_unit_test(folders), cmocka_unit_test(hashes),
    };
    return cmocka_run_group_tests(tests, NULL, remove_test_folder);
}
