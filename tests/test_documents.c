/* test_documents.c - document sets: what is read, what is refused and where, hashes, the built-in set. */
#include "testing.h"

#include <dirent.h>
#include <unistd.h>

#include "text/text.h"

static char folder[] = "/tmp/qkscope-documents-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int clear_folder(void **state)
{
    (void)state;
    DIR *listing = opendir(folder);
    for (struct dirent *entry; (entry = readdir(listing));) {
        char *path = qk_path_join(folder, entry->d_name);
        unlink(path);
        free(path);
    }
    closedir(listing);
    return 0;
}

static int remove_folder(void **state)
{
    clear_folder(state);
    return rmdir(folder);
}

static void put(const char *name, const char *bytes, size_t n_bytes)
{
    char *path = qk_path_join(folder, name);
    assert_ok(qk_write_file(path, bytes, n_bytes, err));
    free(path);
}

static void put_text(const char *name, const char *text) { put(name, text, strlen(text)); }

/* The set of the whole folder. */
static qk_status load(qk_documents *out, qk_documents_options options, qk_error *err)
{
    const char *const paths[] = { folder };
    return qk_documents_load(out, paths, 1, &options, err);
}

static void files_become_documents_in_name_order(void **state)
{
    (void)state;
    qk_documents set;
    put_text("b.txt", "Second.\n");
    put_text("a.txt", " First, with its spaces. \n");
    put_text("c.jsonl",
             "{\"text\": \"Third\", \"id\": \"three\", \"category\": \"odd\", \"other\": [1, {\"x\": \"\\u0000\"}]}\n"
             "\n"
             "{\"text\": \"Fourth \\u00e9\\n\"}\r\n"
             "{\"id\": 17, \"category\": null, \"text\": \"Fifth\"}");
    put_text(".hidden.txt", "never");
    put_text("notes.md", "never");
    assert_ok(load(&set, (qk_documents_options){ 0 }, err));
    static const char *const ids[] = { "a.txt", "b.txt", "three", "c.jsonl#3", "17" };
    static const char *const texts[] = { " First, with its spaces. \n", "Second.\n", "Third", "Fourth é\n", "Fifth" };
    assert_int_equal(set.n, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(set.items[i].id, ids[i]);
        assert_string_equal(set.items[i].text, texts[i]);
        assert_int_equal(set.items[i].n_bytes, strlen(texts[i]));
        assert_string_equal(set.items[i].category, i == 2 ? "odd" : "");
        assert_null(set.items[i].tokens);
        assert_false(set.items[i].repetitive);
    }
    qk_documents_free(&set);
}

static void a_limit_stops_before_what_it_does_not_need(void **state)
{
    (void)state;
    qk_documents set;
    put_text("a.txt", "one--two--three");
    put_text("b.txt", "");
    assert_ok(load(&set, (qk_documents_options){ .split = "--", .limit = 2 }, err));
    assert_int_equal(set.n, 2);
    assert_string_equal(set.items[1].text, "two");
    qk_documents_free(&set);
}

static void a_split_strips_and_numbers_its_pieces(void **state)
{
    (void)state;
    qk_documents set;
    put_text("s.txt", "\xef\xbb\xbf<|end|>\n One \xc2\xa0\r\n<|end|>\xe3\x80\x80Two\nlines\n<|end|>\n\n");
    assert_ok(load(&set, (qk_documents_options){ .split = "<|end|>" }, err));
    assert_int_equal(set.n, 2);
    assert_string_equal(set.items[0].id, "s.txt#1");
    assert_string_equal(set.items[0].text, "One");
    assert_string_equal(set.items[1].id, "s.txt#2");
    assert_string_equal(set.items[1].text, "Two\nlines");
    qk_documents_free(&set);
}

static void a_byte_order_mark_is_dropped_and_line_ends_are_kept(void **state)
{
    (void)state;
    qk_documents set;
    put_text("a.txt", "\xef\xbb\xbfOne\r\nTwo\r\n");
    put_text("b.jsonl", "\xef\xbb\xbf{\"text\": \"Three\"}\r\n{\"text\": \"Four\"}\r\n\r\n");
    assert_ok(load(&set, (qk_documents_options){ 0 }, err));
    assert_int_equal(set.n, 3);
    assert_string_equal(set.items[0].text, "One\r\nTwo\r\n");
    assert_string_equal(set.items[1].text, "Three");
    assert_string_equal(set.items[2].id, "b.jsonl#2");
    qk_documents_free(&set);
}

/* One file that must be refused, and what the message must name. */
static const struct hostile {
    const char *name, *bytes;
    size_t n_bytes; /* 0 = strlen */
    const char *split, *says;
} hostiles[] = {
    { "x.txt", "good\nbad \xff here", 0, NULL, "x.txt:2: expected UTF-8, found byte 0xff at offset 9" },
    { "x.txt", "\xff\xfeh\0i\0", 6, NULL,
      "x.txt:1: expected UTF-8, found byte 0xff at offset 0 (a UTF-16 byte order mark)" },
    { "x.txt", "cut \xe2\x82", 0, NULL, "x.txt:1: expected UTF-8, found byte 0xe2 at offset 4" },
    { "x.txt", "a\n--\nb\n--\n\xc0\xaf", 0, "--", "x.txt:5: expected UTF-8, found byte 0xc0 at offset 10" },
    { "x.txt", "a\nb\0c", 5, NULL, "x.txt:2: expected text, found a NUL byte at offset 3" },
    { "x.txt", "", 0, NULL, "x.txt:1: document \"x.txt\": expected text, found nothing" },
    { "x.txt", "\xef\xbb\xbf", 0, NULL, "x.txt:1: document \"x.txt\": expected text, found nothing" },
    { "x.txt", " \r\n\xe2\x80\xa8\t", 0, NULL, "x.txt:1: document \"x.txt\": expected text, found only white space" },
    { "x.txt", "--\n--  --", 0, "--", "x.txt:1: expected text between separators, found none in 9 bytes" },
    { "x.txt", "", 0, "--", "x.txt:1: expected text between separators, found none in 0 bytes" },
    { "x.txt", "a\n--\n\n--\nb", 0, "--", "x.txt:2: expected text between two separators, found none" },
    { "x.jsonl", "", 0, NULL, "x.jsonl:1: expected one JSON object a line, found none in 0 bytes" },
    { "x.jsonl", "\n \t\r\n", 0, NULL, "x.jsonl:1: expected one JSON object a line, found none in 5 bytes" },
    { "x.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\"}", 0, NULL,
      "x.jsonl:2: document \"x.jsonl#2\": expected text, found nothing" },
    { "x.jsonl", "{\"text\": \" \\n\", \"id\": \"w\"}", 0, NULL,
      "x.jsonl:1: document \"w\": expected text, found only white space" },
    { "x.jsonl", "{\"text\": \"a\"}\n\n{\"title\": \"b\"}", 0, NULL,
      "x.jsonl:3: key \"text\": expected text, found nothing" },
    { "x.jsonl", "{\"text\": 5}", 0, NULL, "x.jsonl:1: key \"text\": expected text, found an integer" },
    { "x.jsonl", "{\"text\": null}", 0, NULL, "x.jsonl:1: key \"text\": expected text, found null" },
    { "x.jsonl", "{\"text\": \"a\\u0000b\"}", 0, NULL,
      "x.jsonl:1: key \"text\": expected text, found a NUL character in it" },
    { "x.jsonl", "{\"text\": \"a\", \"id\": {}}", 0, NULL, "x.jsonl:1: key \"id\": expected text, found an object" },
    { "x.jsonl", "{\"text\": \"a\", \"id\": \"\"}", 0, NULL,
      "x.jsonl:1: key \"id\": expected text, found an empty one" },
    { "x.jsonl", "{\"text\": \"a\", \"category\": [1]}", 0, NULL,
      "x.jsonl:1: key \"category\": expected text, found an array" },
    { "x.jsonl", "[\"text\"]", 0, NULL, "x.jsonl:1: expected a JSON object, found an array" },
    { "x.jsonl", "\"text\"", 0, NULL, "x.jsonl:1: expected a JSON object, found at column" },
    { "x.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"", 0, NULL, "x.jsonl:2: expected a JSON object, found at column" },
    { "x.jsonl", "{\"text\": \"a\"} {\"text\": \"b\"}", 0, NULL, "x.jsonl:1: expected a JSON object, found at column" },
    { "x.jsonl", "{\"text\": \"a\", \"text\": \"b\"}", 0, NULL, "x.jsonl:1: expected a JSON object, found at column" },
    { "x.jsonl", "{\"text\": \"\\ud800\"}", 0, NULL, "x.jsonl:1: expected a JSON object, found at column" },
    { "x.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\xff\"}", 0, NULL,
      "x.jsonl:2: expected UTF-8, found byte 0xff at offset 24" },
    { "x.jsonl", "{\"text\": \"a\"}\n\0", 15, NULL, "x.jsonl:2: expected text, found a NUL byte at offset 14" },
    { "x.jsonl", "{\"text\": \"a\", \"id\": \"i\"}\n{\"text\": \"b\", \"id\": \"i\"}", 0, NULL,
      "x.jsonl:2: document id \"i\": expected once in a set, found also at " },
    { "notes.md", "a", 0, NULL, ": expected .txt or .jsonl files in the folder, found none" },
};

static void hostile_files_are_refused_by_file_and_line(void **state)
{
    for (size_t i = 0; i < sizeof hostiles / sizeof *hostiles; i++) {
        const struct hostile *h = &hostiles[i];
        clear_folder(state);
        put(h->name, h->bytes, h->n_bytes ? h->n_bytes : strlen(h->bytes));
        qk_documents set = { .n = 77 };
        qk_error err = { 0 };
        if (load(&set, (qk_documents_options){ .split = h->split }, &err) == QK_OK) fail_msg("row %zu was accepted", i);
        if (!strstr(err.message, h->says)) fail_msg("row %zu: expected \"%s\" in \"%s\"", i, h->says, err.message);
        assert_int_equal(strncmp(err.message, folder, strlen(folder)), 0);
        assert_int_equal(set.n, 77); /* untouched on failure */
    }
}

static void an_id_may_not_come_twice_from_two_files(void **state)
{
    (void)state;
    qk_documents set;
    qk_error err;
    put_text("a.txt", "text");
    put_text("b.jsonl", "{\"text\": \"b\"}\n{\"text\": \"c\", \"id\": \"a.txt\"}\n");
    assert_int_equal(load(&set, (qk_documents_options){ 0 }, &err), QK_E_FORMAT);
    char expected[200];
    snprintf(expected, sizeof expected,
             "%s/b.jsonl:2: document id \"a.txt\": expected once in a set, found also at %s/a.txt:1", folder, folder);
    assert_string_equal(err.message, expected);
}

static void calls_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    qk_documents set;
    qk_error err;
    const char *const missing[] = { "/nonexistent/a.txt" }, *const other[] = { "/dev/null" };
    put_text("a.txt", "text");
    put_text("b.csv", "text");
    char *table = qk_path_join(folder, "b.csv");
    const char *const csv[] = { table };
    assert_int_equal(qk_documents_load(&set, missing, 0, NULL, &err), QK_E_ARGUMENT);
    assert_int_equal(qk_documents_load(&set, missing, 1, NULL, &err), QK_E_IO);
    assert_int_equal(qk_documents_load(&set, other, 1, NULL, &err), QK_E_IO);
    assert_int_equal(qk_documents_load(&set, csv, 1, NULL, &err), QK_E_ARGUMENT);
    assert_non_null(strstr(err.message, "b.csv: expected a .txt or .jsonl file"));
    assert_int_equal(load(&set, (qk_documents_options){ .split = "" }, &err), QK_E_ARGUMENT);
    assert_int_equal(load(&set, (qk_documents_options){ .split = "\xff" }, &err), QK_E_ARGUMENT);
    free(table);
    qk_documents_free(NULL);
}

static void a_line_of_ten_megabytes_is_a_document(void **state)
{
    (void)state;
    const size_t n_text = (size_t)10 << 20;
    const char before[] = "{\"text\": \"", after[] = "\"}\n";
    size_t n = strlen(before) + n_text + strlen(after);
    char *line = malloc(n + 1);
    assert_non_null(line);
    memcpy(line, before, strlen(before));
    for (size_t i = 0; i < n_text; i++) line[strlen(before) + i] = i % 7 == 6 ? ' ' : (char)('a' + i / 7 * 31 % 26);
    memcpy(line + strlen(before) + n_text, after, sizeof after);
    put("x.jsonl", line, n);
    free(line);
    qk_documents set;
    assert_ok(load(&set, (qk_documents_options){ 0 }, err));
    assert_int_equal(set.n, 1);
    assert_int_equal(set.items[0].n_bytes, n_text);
    assert_true(set.items[0].repetitive); /* 26 words in a circle */
    qk_documents_free(&set);
}

static void hashes_are_those_of_the_texts(void **state)
{
    (void)state;
    qk_documents set;
    put_text("a.txt", "abc");
    put_text("b.jsonl", "{\"text\": \"abc\"}");
    assert_ok(load(&set, (qk_documents_options){ 0 }, err));
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_string_equal(set.items[0].sha256, abc);
    assert_string_equal(set.items[1].sha256, abc);
    char both[65], twice[129];
    snprintf(twice, sizeof twice, "%s%s", abc, abc);
    qk_sha256_of(both, twice, 128);
    assert_string_equal(set.sha256, both);
    qk_documents_free(&set);
}

static void repetition_is_judged_by_word_triples(void **state)
{
    (void)state;
    qk_documents set;
    /* 12 words: 10 triples; "a b c" x 4 has 3 distinct (exactly 0.3: not below), "a b" x 6 has 2. */
    put_text("a.txt", "a b c a b c\na b c  a b c");
    put_text("b.txt", "a b a b a b a b a b a b");
    put_text("c.txt", "two words");
    put_text("d.jsonl", "{\"text\": \"all of these words are new\", \"category\": \"repetitive\"}");
    assert_ok(load(&set, (qk_documents_options){ 0 }, err));
    assert_false(set.items[0].repetitive);
    assert_true(set.items[1].repetitive);
    assert_false(set.items[2].repetitive);
    assert_true(set.items[3].repetitive);
    qk_documents_free(&set);
}

static size_t count_words(const char *text)
{
    size_t n = 0;
    for (const char *p = text; *p; p++) n += *p > ' ' && (p[1] <= ' ' && p[1] >= 0);
    return n;
}

static void the_built_in_set_is_complete(void **state)
{
    (void)state;
    static const char *const categories[] = { "conversational", "factual", "literary", "repetitive", "technical" };
    qk_documents set, again;
    assert_ok(qk_documents_builtin(&set, err));
    assert_int_equal(set.n, 25);
    for (size_t i = 0; i < set.n; i++) {
        const qk_document *document = &set.items[i];
        assert_string_equal(document->category, categories[i / 5]);
        assert_int_equal(strncmp(document->id, document->category, strlen(document->category)), 0);
        assert_in_range(count_words(document->text), 490, 560);
        assert_int_equal(document->repetitive, strcmp(document->category, "repetitive") == 0);
        assert_int_equal(qk_utf8_valid(document->text, document->n_bytes), document->n_bytes);
        char name[200];
        snprintf(name, sizeof name, "%s.txt", document->id);
        put_text(name, document->text);
    }
    /* The same texts as files, without their categories: repetition is seen in the text itself. */
    assert_ok(load(&again, (qk_documents_options){ 0 }, err));
    assert_string_equal(again.sha256, set.sha256);
    for (size_t i = 0; i < set.n; i++) assert_int_equal(again.items[i].repetitive, set.items[i].repetitive);
    /* Every number ever published with these texts hangs on them: where one changes, say so in CHANGELOG, "Numbers". */
    assert_string_equal(set.sha256, "90310438af878310a781291e742c3bbbb531b8938502791a7250e0c7b27fbacc");
    qk_documents_free(&again);
    qk_documents_free(&set);
}

/* A llama2.c tokenizer: unknown, BOS, EOS, the 256 bytes, then 259 " ", 260 "a", 261 " a". */
static void put_tokenizer(const char *name)
{
    char *path = qk_path_join(folder, name);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    const int32_t longest = 8;
    fwrite(&longest, 4, 1, out);
    for (int32_t id = 0; id < 262; id++) {
        static const char *const named[] = { "<unk>", "\n<s>\n", "\n</s>\n" }, *const last[] = { " ", "a", " a" };
        char byte[8];
        snprintf(byte, sizeof byte, "<0x%02X>", (unsigned)(id - 3) & 0xff);
        const char *piece = id < 3 ? named[id] : id < 259 ? byte : last[id - 259];
        const float score = id == 261 ? -1.0f : 0.0f;
        const int32_t n = (int32_t)strlen(piece);
        fwrite(&score, 4, 1, out);
        fwrite(&n, 4, 1, out);
        fwrite(piece, 1, (size_t)n, out);
    }
    assert_int_equal(fclose(out), 0);
    free(path);
}

static void tokens_are_cut_and_short_documents_refused(void **state)
{
    (void)state;
    put_tokenizer("tokenizer.bin");
    put_text("a.jsonl", "{\"text\": \"a a a\", \"id\": \"three\"}\n{\"text\": \"a\", \"id\": \"one\"}\n");
    qk_documents set;
    qk_tokenizer *tokenizer;
    qk_error refusal;
    char *path = qk_path_join(folder, "tokenizer.bin");
    assert_ok(qk_tokenizer_open_file(&tokenizer, path, 262, err));
    free(path);
    assert_ok(load(&set, (qk_documents_options){ 0 }, err));
    assert_ok(qk_documents_tokenize(&set, tokenizer, 0, false, err));
    static const int32_t expected[] = { 1, 261, 261, 261 };
    assert_int_equal(set.items[0].n_tokens, 4);
    assert_memory_equal(set.items[0].tokens, expected, sizeof expected);
    assert_int_equal(set.items[0].n_cut, 0);
    assert_int_equal(set.items[1].n_tokens, 2);
    assert_ok(qk_documents_tokenize(&set, tokenizer, 3, false, err)); /* another context replaces the first */
    assert_int_equal(set.items[0].n_tokens, 3);
    assert_int_equal(set.items[0].n_cut, 1);
    assert_int_equal(set.items[1].n_cut, 0);
    assert_int_equal(qk_documents_tokenize(&set, tokenizer, 0, true, &refusal),
                     QK_E_FORMAT); /* "a" alone predicts nothing */
    assert_string_equal(refusal.message, "document \"one\": expected at least 2 tokens, found 1");
    assert_int_equal(qk_documents_tokenize(&set, tokenizer, 1, false, &refusal), QK_E_ARGUMENT);
    assert_int_equal(set.items[0].n_tokens, 3); /* both failures left the set as it was */
    assert_memory_equal(set.items[0].tokens, expected, 3 * sizeof *expected);
    qk_documents_free(&set);
    qk_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(files_become_documents_in_name_order, clear_folder),
        cmocka_unit_test_teardown(a_limit_stops_before_what_it_does_not_need, clear_folder),
        cmocka_unit_test_teardown(a_split_strips_and_numbers_its_pieces, clear_folder),
        cmocka_unit_test_teardown(a_byte_order_mark_is_dropped_and_line_ends_are_kept, clear_folder),
        cmocka_unit_test_teardown(hostile_files_are_refused_by_file_and_line, clear_folder),
        cmocka_unit_test_teardown(an_id_may_not_come_twice_from_two_files, clear_folder),
        cmocka_unit_test_teardown(calls_that_make_no_sense_are_refused, clear_folder),
        cmocka_unit_test_teardown(a_line_of_ten_megabytes_is_a_document, clear_folder),
        cmocka_unit_test_teardown(hashes_are_those_of_the_texts, clear_folder),
        cmocka_unit_test_teardown(repetition_is_judged_by_word_triples, clear_folder),
        cmocka_unit_test_teardown(the_built_in_set_is_complete, clear_folder),
        cmocka_unit_test_teardown(tokens_are_cut_and_short_documents_refused, clear_folder),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
