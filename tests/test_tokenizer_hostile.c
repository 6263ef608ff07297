/* test_tokenizer_hostile.c - what is not understood is refused by name, what is broken in one line; and which files
 * beside a checkpoint are read. */
#include "testing.h"

#include <unistd.h>

#include "text/tokenizer.h"

#define VOCABULARY "{\"<unk>\":0,\"<s>\":1,\"</s>\":2,\"a\":3,\"b\":4,\"ab\":5,\"\xe2\x96\x81\":6}"
#define MODEL "{\"type\":\"BPE\",\"vocab\":" VOCABULARY ",\"merges\":[\"a b\"]}"

/* Opens {"model": MODEL, REST}; NULL where that is refused, then *failure says why. */
static qk_tokenizer *open_json(const char *model, const char *rest, qk_error *failure)
{
    char text[8000];
    qk_tokenizer *t = NULL;
    int n = snprintf(text, sizeof text, "{\"model\":%s%s%s}", model, *rest ? "," : "", rest);
    assert_in_range(n, 1, (int)sizeof text - 1);
    *failure = (qk_error){ QK_OK, "" };
    qk_status status = qk_tokenizer_open_bytes(&t, (const uint8_t *)text, (size_t)n, 0, failure);
    assert_int_equal(status, failure->status);
    assert_true((status != QK_OK) == (t == NULL));
    return t;
}

static void assert_ids(const qk_tokenizer *t, const char *text, size_t n_wanted, const int32_t *wanted)
{
    int32_t *ids;
    size_t n;
    assert_ok(qk_encode(&ids, &n, t, text, strlen(text), (qk_encode_options){ 0 }, err));
    assert_int_equal(n, n_wanted);
    for (size_t i = 0; i < n; i++) assert_int_equal(ids[i], wanted[i]);
    free(ids);
}
#define IDS(...) sizeof((int32_t[]){ __VA_ARGS__ }) / 4, (int32_t[]){ __VA_ARGS__ }

static void what_is_not_supported_is_named(void **state)
{
    (void)state;
    static const struct { const char *model, *rest, *named;
    } rows[] = {
        { "{\"type\":\"Unigram\",\"vocab\":[]}", "", "Unigram" },
        { "{\"type\":\"WordPiece\",\"vocab\":{}}", "", "WordPiece" },
        { "{\"type\":\"BPE\",\"vocab\":" VOCABULARY ",\"merges\":[],\"dropout\":0.1}", "", "dropout 0.1" },
        { "{\"type\":\"BPE\",\"vocab\":" VOCABULARY ",\"merges\":[],\"end_of_word_suffix\":\"</w>\"}", "",
          "end_of_word_suffix \"</w>\"" },
        { "{\"type\":\"BPE\",\"vocab\":" VOCABULARY ",\"merges\":[],\"continuing_subword_prefix\":\"##\"}", "",
          "continuing_subword_prefix" },
        { MODEL, "\"normalizer\":{\"type\":\"Lowercase\"}", "normalizer Lowercase" },
        { MODEL,
          "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Precompiled\"}]}",
          "normalizer Precompiled" },
        { MODEL, "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}", "pre_tokenizer BertPreTokenizer" },
        { MODEL, "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\\\\K\"},\"behavior\":\"Isolated\"}",
          "\\K" },
        { MODEL, "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?<n>a)\"},\"behavior\":\"Isolated\"}",
          "(?<n>a)" },
        { MODEL, "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a[b]]\"},\"behavior\":\"Isolated\"}",
          "class inside a class" },
        { MODEL,
          "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{Klingon}\"},\"behavior\":\"Isolated\"}",
          "\\p{Klingon}" },
        { MODEL, "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Shuffled\"}",
          "Shuffled" },
        { MODEL, "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"often\"}",
          "prepend_scheme often" },
        { MODEL, "\"decoder\":{\"type\":\"CTC\"}", "decoder CTC" },
        { MODEL, "\"post_processor\":{\"type\":\"BertProcessing\"}", "post_processor BertProcessing" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qk_error failure;
        assert_null(open_json(rows[i].model, rows[i].rest, &failure));
        if (failure.status != QK_E_UNSUPPORTED || !strstr(failure.message, rows[i].named))
            fail_msg("expected \"%s\", found %d: %s", rows[i].named, failure.status, failure.message);
    }
}

static void what_is_broken_is_refused(void **state)
{
    (void)state;
    static const struct { const char *model, *rest, *said;
    } rows[] = {
        { "7", "", "model: expected an object" },
        { "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}", "", "given twice" },
        { "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}", "", "duplicate" },
        { "{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}", "", "token id -1" },
        { "{\"type\":\"BPE\",\"vocab\":{\"a\":4611686018427387904},\"merges\":[]}", "",
          "token id 4611686018427387904" },
        { "{\"type\":\"BPE\",\"vocab\":{\"a\":1.5},\"merges\":[]}", "", "expected an integer" },
        { "{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}", "", "expected tokens, found none" },
        { "{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}", "", "model.vocab" },
        { "{\"type\":\"BPE\",\"vocab\":" VOCABULARY "}", "", "model.merges" },
        { "{\"type\":\"BPE\",\"vocab\":" VOCABULARY ",\"merges\":[\"a c\"]}", "",
          "the right part is not in the vocabulary" },
        { "{\"type\":\"BPE\",\"vocab\":" VOCABULARY ",\"merges\":[[\"b\",\"a\"]]}", "",
          "what they make is not in the vocabulary" },
        { "{\"type\":\"BPE\",\"vocab\":" VOCABULARY ",\"merges\":[\"ab\"]}", "", "merge 0" },
        { "{\"type\":\"BPE\",\"vocab\":" VOCABULARY ",\"merges\":[[\"a\"]]}", "", "merge 0" },
        { "{\"type\":\"BPE\",\"vocab\":" VOCABULARY ",\"merges\":[],\"unk_token\":\"?\"}", "", "unk_token \"?\"" },
        { MODEL, "\"added_tokens\":[{\"id\":9,\"content\":\"a\"}]", "id 9, in model.vocab 3" },
        { MODEL, "\"added_tokens\":[{\"id\":3,\"content\":\"x\"}]", "given twice" },
        { MODEL, "\"added_tokens\":[{\"content\":\"x\"}]", "entry 0" },
        { MODEL, "\"normalizer\":\"NFC\"", "normalizer" },
        { MODEL, "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\"}",
          "(a" },
        { MODEL,
          "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}}],"
          "\"special_tokens\":{}}",
          "<s>" },
        { MODEL,
          "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{"
          "\"Sequence\":{\"id\":\"A\"}}],"
          "\"special_tokens\":{\"<s>\":{\"ids\":[99]}}}",
          "ids of the vocabulary" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qk_error failure;
        assert_null(open_json(rows[i].model, rows[i].rest, &failure));
        if (!strstr(failure.message, rows[i].said))
            fail_msg("expected \"%s\", found %d: %s", rows[i].said, failure.status, failure.message);
    }
}

/* Every beginning of every kind of file: read or refused in one line, never more. */
static void any_truncation_is_survived(void **state)
{
    (void)state;
    static const char *const names[] = { "llama2.model", "rules.model", "symbols.model", "llama2.bin", "words.json" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char path[100];
        qk_map map;
        snprintf(path, sizeof path, "tokenizers/%s", names[k]);
        assert_ok(qk_map_open(&map, data_path(path), err));
        for (size_t n = 0; n < map.size; n += n < 100 || map.size - n < 100 ? 1 : 131) {
            qk_tokenizer *t = NULL;
            qk_error failure = { QK_OK, "" };
            uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees the first byte too many */
            assert_non_null(exact);
            memcpy(exact, map.data, n);
            qk_status status = qk_tokenizer_open_bytes(&t, exact, n, 0, &failure);
            assert_true(status ? failure.message[0] && !strchr(failure.message, '\n') : t != NULL);
            qk_tokenizer_close(t);
            free(exact);
        }
        qk_map_close(&map);
    }
}

static void sizes_and_kinds_must_fit(void **state)
{
    (void)state;
    qk_tokenizer *t = NULL;
    qk_error failure;
    const char *bin = data_path("tokenizers/llama2.bin");
    assert_int_equal(qk_tokenizer_open_file(&t, bin, 701, &failure), QK_E_FORMAT);
    assert_non_null(strstr(failure.message, "expected 701 tokens, found 700"));
    assert_int_equal(qk_tokenizer_open_file(&t, bin, 699, &failure), QK_E_FORMAT);
    assert_ok(qk_tokenizer_open_file(&t, bin, 700, err));
    qk_tokenizer_close(t);
    assert_int_equal(qk_tokenizer_open_file(&t, data_path("tokenizers/vectors.json"), 0, &failure), QK_E_FORMAT);
    assert_int_equal(qk_tokenizer_open_file(&t, data_path("tokenizers/none.json"), 0, &failure), QK_E_IO);
    assert_int_equal(qk_tokenizer_open_file(&t, data_path("tokenizers"), 0, &failure), QK_E_IO);
}

static void both_ways_to_write_things_are_read(void **state)
{
    (void)state;
    qk_error failure;
    qk_tokenizer *t = open_json(
        MODEL, "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"add_prefix_space\":true}",
        &failure);
    assert_non_null(t);
    assert_ids(t, "ab ab", IDS(6, 5, 6, 5));
    qk_tokenizer_close(t);
    t = open_json(
        "{\"vocab\":" VOCABULARY ",\"merges\":[[\"a\",\"b\"]]}",
        "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"add_prefix_space\":false}",
        &failure);
    assert_non_null(t);
    assert_ids(t, "ab ab", IDS(5, 6, 5));
    qk_tokenizer_close(t);
    t = open_json(MODEL, "", &failure); /* no unknown token: what is unknown is left out */
    assert_non_null(t);
    assert_ids(t, "axb", IDS(5));
    qk_tokenizer_close(t);
}

/* ---- beside a checkpoint */

static char folder[64];

static void put(const char *name, const char *from, const char *text)
{
    char *path = qk_path_join(folder, name);
    if (from) {
        qk_map map;
        assert_ok(qk_map_open(&map, data_path(from), err));
        assert_ok(qk_write_file(path, map.data, map.size, err));
        qk_map_close(&map);
    } else if (text) {
        assert_ok(qk_write_file(path, text, strlen(text), err));
    } else {
        unlink(path);
    }
    free(path);
}

/* The tokenizer of the checkpoint in `folder`; NULL where it is refused. */
static qk_tokenizer *open_beside(qk_error *failure)
{
    qk_ckpt *ckpt;
    qk_tokenizer *t = NULL;
    assert_ok(qk_ckpt_open(&ckpt, folder, NULL, err));
    qk_tokenizer_open(&t, ckpt, failure);
    qk_ckpt_close(ckpt);
    return t;
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/qkscope-test-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    put("config.json", "golden/nope/config.json", NULL);
    put("model.safetensors", "golden/nope/model.safetensors", NULL);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = { "config.json", "model.safetensors", "tokenizer.json", "tokenizer.model",
                                         "tokenizer_config.json" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) put(names[i], NULL, NULL);
    return rmdir(folder);
}

static void the_folder_decides(void **state)
{
    (void)state;
    qk_error failure;
    qk_tokenizer *t;
    assert_null(open_beside(&failure));
    assert_int_equal(failure.status, QK_E_IO);
    assert_non_null(strstr(failure.message, "tokenizer.json or tokenizer.model"));

    put("tokenizer.model", "tokenizers/symbols.model", NULL);
    t = open_beside(&failure);
    assert_non_null(t);
    assert_string_equal(qk_tokenizer_describe(t)->kind, "SentencePiece BPE (tokenizer.model)");
    assert_true(qk_tokenizer_describe(t)->adds_bos);
    qk_tokenizer_close(t);

    put("tokenizer_config.json", NULL, "{\"add_bos_token\": false, \"add_eos_token\": true, \"added_tokens_decoder\": "
                                       "{\"420\": {\"content\": \"<extra>\", \"special\": true}}}");
    t = open_beside(&failure);
    assert_non_null(t);
    assert_true(!qk_tokenizer_describe(t)->adds_bos && qk_tokenizer_describe(t)->adds_eos);
    assert_ids(t, "<extra>", IDS(420, 2));
    qk_tokenizer_close(t);

    put("tokenizer_config.json", NULL, "{\"added_tokens_decoder\": {\"1\": {\"content\": \"<S>\"}}}");
    assert_null(open_beside(&failure));
    assert_non_null(strstr(failure.message, "tokenizer_config.json"));

    put("tokenizer.json", "tokenizers/gpt2.json", NULL); /* goes before tokenizer.model */
    put("tokenizer_config.json", NULL, "{\"add_bos_token\": true, \"bos_token\": {\"content\": \"<|endoftext|>\"}}");
    t = open_beside(&failure);
    assert_non_null(t);
    assert_true(qk_tokenizer_describe(t)->adds_bos);
    assert_ids(t, "", IDS(qk_tokenizer_describe(t)->bos));
    qk_tokenizer_close(t);

    put("tokenizer_config.json", NULL, "{\"add_bos_token\": true}");
    assert_null(open_beside(&failure));
    assert_non_null(strstr(failure.message, "add_bos_token"));

    put("tokenizer.json", "tokenizers/llama2.json", NULL); /* whose template says it already */
    put("tokenizer_config.json", NULL, "{\"add_bos_token\": false, \"eos_token\": \"</s>\"}");
    t = open_beside(&failure);
    assert_non_null(t);
    assert_true(qk_tokenizer_describe(t)->adds_bos);
    assert_int_equal(qk_tokenizer_describe(t)->eos, 2);
    qk_tokenizer_close(t);
}

/* A tokenizer.model that shrinks runs of spaces does so alone; beside a checkpoint they stay, as in its other forms. */
static void runs_of_spaces_stay_beside_a_checkpoint(void **state)
{
    (void)state;
    qk_error failure;
    qk_tokenizer *alone, *beside;
    int32_t *ids;
    size_t n_alone, n_beside;
    put("tokenizer.json", NULL, NULL);
    put("tokenizer_config.json", NULL, NULL);
    put("tokenizer.model", "tokenizers/symbols.model", NULL);
    assert_ok(qk_tokenizer_open_file(&alone, data_path("tokenizers/symbols.model"), 0, err));
    beside = open_beside(&failure);
    assert_non_null(beside);
    assert_ok(qk_encode(&ids, &n_alone, alone, "the    the", 10, (qk_encode_options){ 0 }, err));
    free(ids);
    assert_ok(qk_encode(&ids, &n_beside, beside, "the    the", 10, (qk_encode_options){ 0 }, err));
    free(ids);
    assert_true(n_beside > n_alone);
    qk_tokenizer_close(alone);
    qk_tokenizer_close(beside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_supported_is_named), cmocka_unit_test(what_is_broken_is_refused),
        cmocka_unit_test(any_truncation_is_survived), cmocka_unit_test(sizes_and_kinds_must_fit),
        cmocka_unit_test(both_ways_to_write_things_are_read), cmocka_unit_test(the_folder_decides),
        cmocka_unit_test(runs_of_spaces_stay_beside_a_checkpoint),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
