/* tokenizer_source.c - the tokenizer of a model, or one that lies alone. */
#include "cli/tokenizer_source.h"

#include <stdlib.h>
#include <string.h>

/* A tokenizer without weights: the file itself, or the one that lies in the folder. */
static bool open_alone(cli_tokenizer *out, const char *path)
{
    static const char *const names[] = { "", "tokenizer.json", "tokenizer.model" };
    bool folder = qk_path_is_folder(path), found = false;
    for (size_t i = folder; i < (folder ? 3 : 1) && !found; i++) {
        char *file = folder ? qk_path_join(path, names[i]) : strdup(path);
        found = file && qk_tokenizer_open_file(&out->tokenizer, file, 0, NULL) == QK_OK;
        free(file);
    }
    return found;
}

/* llama2.c's two files have no mark that tells them apart: one that is called tokenizer is taken as such. */
static bool called_tokenizer(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strncmp(slash ? slash + 1 : path, "tokenizer", 9) == 0;
}

qk_status cli_open_tokenizer(cli_tokenizer *out, cli_command *command, const char *path, qk_error *err)
{
    if (called_tokenizer(path) && qk_path_exists(path) && !qk_path_is_folder(path))
        return qk_tokenizer_open_file(&out->tokenizer, path, 0, err);
    qk_status status = qk_ckpt_open(&out->ckpt, path, cli_cache_folder(command), err);
    if (status) return open_alone(out, path) ? QK_OK : status;
    return qk_tokenizer_open(&out->tokenizer, out->ckpt, err);
}

void cli_close_tokenizer(cli_tokenizer *s)
{
    qk_tokenizer_close(s->tokenizer);
    qk_ckpt_close(s->ckpt);
}
