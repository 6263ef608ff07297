/* fuzz_documents.c - document sets.  The first byte chooses the kind of file, the rest is the file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/qkscope-fuzz-XXXXXX";

static void remove_folder(void) { rmdir(folder); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        const char *name, *split;
    } kinds[] = { { "x.jsonl", NULL }, { "x.txt", NULL }, { "x.txt", "<|>" } };
    static bool ready;
    if (size == 0) return 0;
    if (!ready) {
        if (!mkdtemp(folder)) abort();
        atexit(remove_folder);
        ready = true;
    }
    size_t kind = data[0] % (sizeof kinds / sizeof *kinds);
    char *path = qk_path_join(folder, kinds[kind].name);
    FILE *out = path ? fopen(path, "wb") : NULL;
    if (!out) abort();
    fwrite(data + 1, 1, size - 1, out);
    fclose(out);
    qk_documents set;
    qk_error err = { 0 };
    const char *const paths[] = { path };
    qk_documents_options options = { .split = kinds[kind].split };
    qk_status status = qk_documents_load(&set, paths, 1, &options, &err);
    if (status == QK_OK) {
        for (size_t i = 0; i < set.n; i++) /* what the header promises of every document */
            if (set.items[i].n_bytes == 0 || strlen(set.items[i].text) != set.items[i].n_bytes ||
                qk_utf8_valid(set.items[i].text, set.items[i].n_bytes) != set.items[i].n_bytes || !set.items[i].id[0])
                abort();
        qk_documents_free(&set);
    } else if (err.message[0] == '\0' || strchr(err.message, '\n')) {
        abort(); /* one line that says what is wrong */
    }
    unlink(path);
    free(path);
    return 0;
}
