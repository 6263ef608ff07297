/* replay.c - a fuzz target without libFuzzer: runs it once on every file named, or in a folder named, on the command line.
 * So the corpus, and every input that once broke a parser, is part of the normal tests. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int n_inputs;

static int run_file(const char *path, size_t size)
{
    FILE *in = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1); /* exactly as large: a sanitizer sees the first byte too many */
    int bad = !in || !data || fread(data, 1, size, in) != size;
    if (bad)
        fprintf(stderr, "%s: cannot read\n", path);
    else
        LLVMFuzzerTestOneInput(data, size);
    n_inputs += !bad;
    free(data);
    if (in) fclose(in);
    return bad;
}

static int run_path(const char *path);

static int run_folder(const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort), bad = n < 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        int length = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') bad |= length >= (int)sizeof path || run_path(path);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    return bad;
}

static int run_path(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        fprintf(stderr, "%s: cannot read\n", path);
        return 1;
    }
    return S_ISDIR(info.st_mode) ? run_folder(path) : run_file(path, (size_t)info.st_size);
}

int main(int n, char **paths)
{
    int bad = 0;
    for (int i = 1; i < n; i++) bad |= run_path(paths[i]);
    printf("%d inputs\n", n_inputs);
    return bad || n_inputs == 0;
}
