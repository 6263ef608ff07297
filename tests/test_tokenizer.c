/* test_tokenizer.c - every kind of tokenizer against what the reference implementations said. */
#include "testing.h"

#include <jansson.h>

#include "text/text.h"

static json_t *vectors;

static int load_vectors(void **state)
{
    (void)state;
    vectors = json_load_file(data_path("tokenizers/vectors.json"), 0, NULL);
    return vectors ? 0 : -1;
}

static int free_vectors(void **state)
{
    (void)state;
    json_decref(vectors);
    return 0;
}

static qk_tokenizer *open_named(const char *name)
{
    char path[100];
    qk_tokenizer *t = NULL;
    snprintf(path, sizeof path, "tokenizers/%s", name);
    assert_ok(qk_tokenizer_open_file(&t, data_path(path), 0, err));
    return t;
}

static size_t n_texts(void) { return json_array_size(json_object_get(vectors, "texts")); }

static const char *text_at(size_t i, size_t *n_bytes)
{
    const json_t *text = json_array_get(json_object_get(vectors, "texts"), i);
    *n_bytes = json_string_length(text);
    return json_string_value(text);
}

static void check_ids(const char *name, size_t number, const int32_t *ids, size_t n, const json_t *wanted)
{
    bool same = n == json_array_size(wanted);
    for (size_t k = 0; same && k < n; k++) same = ids[k] == json_integer_value(json_array_get(wanted, k));
    if (same) return;
    char *expected = json_dumps(wanted, JSON_COMPACT),
         *text = json_dumps(json_array_get(json_object_get(vectors, "texts"), number), JSON_ENCODE_ANY);
    fprintf(stderr, "%s: text %zu %s: expected %s, found", name, number, text, expected);
    for (size_t k = 0; k < n; k++) fprintf(stderr, " %d", ids[k]);
    fprintf(stderr, "\n");
    free(expected);
    free(text);
    fail();
}

static void ids_and_texts_are_the_reference_ones(void **state)
{
    (void)state;
    const char *name;
    json_t *rows;
    json_object_foreach(json_object_get(vectors, "tokenizers"), name, rows) {
        qk_tokenizer *t = open_named(name);
        /* sentencepiece knows neither markers in the text nor BOS by default; Hugging Face does both */
        bool model = strstr(name, ".model") != NULL;
        for (size_t i = 0; i < n_texts(); i++) {
            size_t n_bytes, n, n_back;
            const char *text = text_at(i, &n_bytes);
            const json_t *row = json_array_get(rows, i);
            const json_t *decoded = json_array_size(row) > 1 ? json_array_get(row, 1)
                                                             : json_array_get(json_object_get(vectors, "texts"), i);
            int32_t *ids;
            char *back;
            assert_ok(
                qk_encode(&ids, &n, t, text, n_bytes, (qk_encode_options){ .no_bos = model, .plain = model }, err));
            check_ids(name, i, ids, n, json_array_get(row, 0));
            assert_ok(qk_decode(&back, &n_back, t, ids, n, err));
            assert_int_equal(n_back, json_string_length(decoded));
            assert_memory_equal(back, json_string_value(decoded), n_back + 1);
            free(ids);
            free(back);
        }
        qk_tokenizer_close(t);
    }
}

static void formats_of_one_tokenizer_agree(void **state)
{
    (void)state;
    static const char *const groups[][3] = { { "llama2.model", "llama2.bin", "llama2.gguf" },
                                             { "gpt2.json", "gpt2.gguf" },
                                             { "llama3.json", "llama3.gguf" } };
    for (size_t g = 0; g < 3; g++) {
        qk_tokenizer *first = open_named(groups[g][0]);
        for (size_t k = 1; k < 3 && groups[g][k]; k++) {
            qk_tokenizer *t = open_named(groups[g][k]);
            for (size_t i = 0; i < n_texts() * 4; i++) {
                size_t n_bytes, n, m;
                const char *text = text_at(i / 4, &n_bytes);
                int32_t *a, *b;
                qk_encode_options options = { .no_bos = i & 1, .plain = i & 2 };
                assert_ok(qk_encode(&a, &n, first, text, n_bytes, options, err));
                assert_ok(qk_encode(&b, &m, t, text, n_bytes, options, err));
                assert_int_equal(n, m);
                if (n) assert_memory_equal(a, b, n * sizeof *a);
                free(a);
                free(b);
            }
            qk_tokenizer_close(t);
        }
        qk_tokenizer_close(first);
    }
}

/* Pieces in the middle of a text, put together, are the text: byte-level tokens lose nothing. */
static void any_text_comes_back(void **state)
{
    (void)state;
    static const char *const names[] = { "gpt2.json",  "gpt2.gguf",   "llama3.json", "llama2.model",
                                         "llama2.bin", "llama2.gguf", "llama2.json" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        qk_tokenizer *t = open_named(names[k]);
        for (size_t i = 0; i < n_texts(); i++) {
            size_t n_bytes, n, n_back, n_piece, at = 0;
            const char *text = text_at(i, &n_bytes);
            int32_t *ids;
            char *back;
            bool prefix = k >= 3 && n_bytes > 0; /* SentencePiece's space in front is part of the first piece */
            assert_ok(qk_encode(&ids, &n, t, text, n_bytes, (qk_encode_options){ .no_bos = true, .plain = true }, err));
            assert_ok(qk_decode(&back, &n_back, t, ids, n, err));
            bool marks = k >= 3 && strstr(text, "\xe2\x96\x81"); /* U+2581 is read as a space there */
            if (!marks) assert_int_equal(n_back, n_bytes);
            if (!marks) assert_memory_equal(back, text, n_bytes);
            for (size_t j = 0; j < n && !marks; j++) {
                const char *piece = qk_token_piece(&n_piece, t, ids[j]);
                assert_non_null(piece);
                size_t skip = prefix && j == 0;
                assert_true(n_piece >= skip && at + n_piece - skip <= n_bytes);
                if (n_piece > skip) assert_memory_equal(piece + skip, text + at, n_piece - skip);
                at += n_piece - skip;
            }
            if (!marks) assert_int_equal(at, n_bytes);
            free(ids);
            free(back);
        }
        qk_tokenizer_close(t);
    }
}

static void markers_are_as_the_files_say(void **state)
{
    (void)state;
    static const struct { const char *name; bool bos, eos;
    } rows[] = {
        { "gpt2.json", false, false },  { "gpt2.gguf", false, false },  { "llama3.json", true, false },
        { "llama3.gguf", true, false }, { "llama2.json", true, false }, { "llama2.model", true, false },
        { "llama2.bin", true, false },  { "llama2.gguf", true, false }, { "fused.json", true, true },
        { "qwen2.json", false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qk_tokenizer *t = open_named(rows[i].name);
        const qk_tokenizer_info *info = qk_tokenizer_describe(t);
        int32_t *with, *without;
        size_t n, m;
        assert_ok(qk_encode(&with, &n, t, "a", 1, (qk_encode_options){ 0 }, err));
        assert_ok(qk_encode(&without, &m, t, "a", 1, (qk_encode_options){ .no_bos = true }, err));
        assert_int_equal(info->adds_bos, rows[i].bos);
        assert_int_equal(info->adds_eos, rows[i].eos);
        assert_int_equal(n - m, rows[i].bos);
        if (rows[i].bos) assert_int_equal(with[0], info->bos);
        if (rows[i].eos) assert_int_equal(with[n - 1], info->eos);
        assert_true(info->n_vocab > 256 && strlen(info->sha256) == 64 && info->kind);
        assert_null(qk_token_piece(&n, t, (int32_t)info->n_vocab));
        assert_null(qk_token_piece(&n, t, -1));
        free(with);
        free(without);
        qk_tokenizer_close(t);
    }
}

static void special_tokens_in_the_text_are_tokens_unless_plain(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
    } rows[] = { { "gpt2.json", "<|endoftext|>" }, { "gpt2.gguf", "<|endoftext|>" }, { "llama2.model", "<s>" },
                 { "llama2.bin", "</s>" },         { "llama2.json", "<unk>" },       { "llama2.gguf", "<s>" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qk_tokenizer *t = open_named(rows[i].name);
        int32_t *ids;
        size_t n, n_bytes = strlen(rows[i].text), n_back;
        char *back;
        assert_ok(qk_encode(&ids, &n, t, rows[i].text, n_bytes, (qk_encode_options){ .no_bos = true }, err));
        assert_int_equal(n, 1);
        assert_ok(qk_decode(&back, &n_back, t, ids, n, err));
        if (ids[0] != qk_tokenizer_describe(t)->unk) assert_int_equal(n_back, 0);
        free(ids);
        free(back);
        assert_ok(
            qk_encode(&ids, &n, t, rows[i].text, n_bytes, (qk_encode_options){ .no_bos = true, .plain = true }, err));
        assert_true(n > 1);
        free(ids);
        qk_tokenizer_close(t);
    }
}

static void what_is_no_text_or_no_token_is_refused(void **state)
{
    (void)state;
    qk_error failure;
    int32_t *ids = NULL;
    size_t n = 0;
    char *back = NULL;
    qk_tokenizer *t = open_named("gpt2.json");
    assert_int_equal(qk_encode(&ids, &n, t, "ab\xff", 3, (qk_encode_options){ 0 }, &failure), QK_E_FORMAT);
    assert_non_null(strstr(failure.message, "offset 2"));
    int32_t bad[2] = { 1, (int32_t)qk_tokenizer_describe(t)->n_vocab };
    assert_int_equal(qk_decode(&back, &n, t, bad, 2, &failure), QK_E_ARGUMENT);
    bad[1] = -1;
    assert_int_equal(qk_decode(&back, &n, t, bad, 2, &failure), QK_E_ARGUMENT);
    assert_null(ids);
    assert_null(back);
    assert_ok(qk_encode(&ids, &n, t, "a\0b", 3, (qk_encode_options){ 0 }, err)); /* NUL is a character like any other */
    assert_int_equal(n, 3);
    free(ids);
    qk_tokenizer_close(t);
}

/* One word or one run of a quarter of a million: merging must not become quadratic. */
static void long_runs_take_no_long_time(void **state)
{
    (void)state;
    static const char *const names[] = { "gpt2.json",    "llama3.json",  "qwen2.json",   "llama2.json",
                                         "mistral.json", "llama2.model", "symbols.model" };
    static const char *const units[] = { "a", " ", "the", "\n", "!", "\xe4\xbd\xa0", "\xcc\xa3\xcc\x87" };
    size_t n_bytes = (size_t)1 << 18;
    char *text = malloc(n_bytes);
    assert_non_null(text);
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        qk_tokenizer *t = open_named(names[k]);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t unit = strlen(units[u]), n_text = n_bytes / unit * unit, n;
            for (size_t i = 0; i < n_text; i++) text[i] = units[u][i % unit];
            int32_t *ids;
            assert_ok(qk_encode(&ids, &n, t, text, n_text, (qk_encode_options){ 0 }, err));
            assert_true(n > 0);
            free(ids);
        }
        qk_tokenizer_close(t);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_texts_are_the_reference_ones),
        cmocka_unit_test(formats_of_one_tokenizer_agree),
        cmocka_unit_test(any_text_comes_back),
        cmocka_unit_test(markers_are_as_the_files_say),
        cmocka_unit_test(special_tokens_in_the_text_are_tokens_unless_plain),
        cmocka_unit_test(what_is_no_text_or_no_token_is_refused),
        cmocka_unit_test(long_runs_take_no_long_time),
    };
    return cmocka_run_group_tests(tests, load_vectors, free_vectors);
}
