/* embed.c - runs while the project is built: text files become a C file.  embed OUTPUT CATEGORY-NAME.txt...
 * The id is the file name without its ending, the category what stands before the first '-'. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "embed: %s: %s\n", path, what);
    exit(1);
}

/* Octal escapes of fixed width: a digit that follows cannot be taken for a part of them. */
static size_t write_string(FILE *out, FILE *in)
{
    size_t n = 0;
    fputs("      \"", out);
    for (int c; (c = getc(in)) != EOF; n++) {
        if (c == '"' || c == '\\' || c < 0x20 || c > 0x7e || c == '?')
            fprintf(out, "\\%03o", (unsigned)c);
        else
            putc(c, out);
        if (c == '\n') fputs("\"\n      \"", out);
    }
    fputs("\",\n", out);
    return n;
}

static void write_document(FILE *out, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dash = strchr(name, '-'), *ending = strstr(name, ".txt");
    if (!dash || !ending || dash > ending) fail("expected a name like CATEGORY-NAME.txt", path);
    FILE *in = fopen(path, "rb");
    if (!in) fail("cannot read", path);
    fprintf(out, "    { \"%.*s\", \"%.*s\",\n", (int)(ending - name), name, (int)(dash - name), name);
    size_t n = write_string(out, in);
    fprintf(out, "      %zu },\n", n);
    if (ferror(in)) fail("cannot read", path);
    fclose(in);
}

int main(int n, char **words)
{
    if (n < 3) fail("expected an output and at least one text file", "usage");
    FILE *out = fopen(words[1], "wb");
    if (!out) fail("cannot write", words[1]);
    fputs("/* Written by tools/embed.c from src/text/builtin. */\n#include \"text/documents_set.h\"\n\n"
          "const qk_builtin_document qk_builtin_documents[] = {\n",
          out);
    for (int i = 2; i < n; i++) write_document(out, words[i]);
    fprintf(out, "};\nconst size_t qk_n_builtin_documents = %d;\n", n - 2);
    if (ferror(out) || fclose(out) != 0) fail("cannot write", words[1]);
    return 0;
}
