/* tokenizer_vectors - does a tokenizer give the expected ids?  Development only, built by the tests, run by hand.
 *
 *   tokenizer_vectors TOKENIZER CASES EXPECTED   cases between lines "__ggml_vocab_test__", one line of ids for each;
 *                                                special tokens in the text are plain text, no BOS
 *   tokenizer_vectors TOKENIZER TEXT             prints the ids of the whole file, one line, without BOS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/text.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"

static void die(const char *what)
{
    fprintf(stderr, "tokenizer_vectors: %s\n", what);
    exit(1);
}

static qk_map open_or_die(const char *path)
{
    qk_error err;
    qk_map map;
    if (qk_map_open(&map, path, &err)) die(err.message);
    return map;
}

static size_t print_ids(char **out, const int32_t *ids, size_t n)
{
    size_t length = 0;
    FILE *stream = open_memstream(out, &length);
    if (!stream) die("out of memory");
    for (size_t i = 0; i < n; i++) fprintf(stream, "%s%d", i ? " " : "", ids[i]);
    fclose(stream);
    return length;
}

/* Encodes one text and compares it with a line of ids; also decodes it and looks whether the text came back. */
static bool check(const qk_tokenizer *t, const char *text, size_t n_text, const char *wanted, size_t n_wanted,
                  size_t number)
{
    qk_error err;
    int32_t *ids;
    size_t n;
    char *found;
    if (qk_encode(&ids, &n, t, text, n_text, (qk_encode_options){ .no_bos = true, .plain = true }, &err))
        die(err.message);
    size_t length = print_ids(&found, ids, n);
    while (n_wanted > 0 && *wanted == ' ') wanted++, n_wanted--;
    bool ok = length == n_wanted && memcmp(found, wanted, length) == 0;
    if (!ok)
        printf("case %zu \"%.*s\":\n  expected %.*s\n  found    %s\n", number, (int)n_text, text, (int)n_wanted, wanted,
               found);
    free(found);
    free(ids);
    return ok;
}

static int run_cases(const qk_tokenizer *t, const char *cases, const char *expected)
{
    qk_map inputs = open_or_die(cases), outputs = open_or_die(expected);
    const char *at = (const char *)inputs.data, *end = at + inputs.size, *line = (const char *)outputs.data,
               *last = line + outputs.size;
    size_t passed = 0, failed = 0;
    while (line < last) {
        const char *next = memmem(at, (size_t)(end - at), SEPARATOR, sizeof SEPARATOR - 1);
        const char *newline = memchr(line, '\n', (size_t)(last - line));
        const char *stop = next ? next : end, *line_end = newline ? newline : last;
        if (check(t, at, (size_t)(stop - at), line, (size_t)(line_end - line), passed + failed + 1)) passed++;
        else failed++;
        line = newline ? newline + 1 : last;
        if (!next) break;
        at = next + sizeof SEPARATOR - 1;
    }
    bool complete = line == last && at <= end;
    printf("%zu passed, %zu failed%s\n", passed, failed,
           complete ? "" : ", and the two files have different numbers of cases");
    qk_map_close(&inputs);
    qk_map_close(&outputs);
    return failed == 0 && passed > 0 && complete ? 0 : 1;
}

int main(int argc, char **argv)
{
    qk_error err;
    qk_tokenizer *t;
    int result = 0;
    if (argc != 3 && argc != 4) die("usage: tokenizer_vectors TOKENIZER CASES EXPECTED | TOKENIZER TEXT");
    if (qk_tokenizer_open_file(&t, argv[1], 0, &err)) die(err.message);
    if (argc == 4) {
        result = run_cases(t, argv[2], argv[3]);
    } else {
        qk_map text = open_or_die(argv[2]);
        int32_t *ids;
        size_t n;
        char *line;
        if (qk_encode(&ids, &n, t, (const char *)text.data, text.size, (qk_encode_options){ .no_bos = true }, &err))
            die(err.message);
        print_ids(&line, ids, n);
        puts(line);
        free(line);
        free(ids);
        qk_map_close(&text);
    }
    qk_tokenizer_close(t);
    return result;
}
