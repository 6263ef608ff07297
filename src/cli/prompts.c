/* prompts.c - prompts of the command line, as tokens. */
#include "cli/prompts.h"

#include <stdlib.h>
#include <string.h>

#include "text/lines.h"
#include "text/tokenizer.h"

static qk_status add(cli_prompts *p, const qk_model *model, const char *text, size_t n_bytes, bool no_bos,
                     qk_error *err)
{
    int32_t *tokens = NULL;
    size_t n = 0, capacity = p->capacity;
    qk_status status = qk_tokenize(&tokens, &n, model, text, n_bytes, !no_bos, err);
    if (status) return status;
    if (!qk_grow(&p->items, &capacity, p->n + 1, sizeof *p->items) ||
        !qk_grow(&p->sha256, &p->capacity, p->n + 1, sizeof *p->sha256)) {
        free(tokens);
        return qk_out_of_memory(err, "prompts", n);
    }
    p->items[p->n] = (qk_prompt){ tokens, n };
    qk_sha256_of(p->sha256[p->n++], text, n_bytes);
    return QK_OK;
}

/* What an editor or `echo` puts at the end of a file does not belong to the prompt. */
static size_t without_line_end(const char *text, size_t n)
{
    if (n && text[n - 1] == '\n') n--;
    return n && text[n - 1] == '\r' ? n - 1 : n;
}

typedef struct reader {
    cli_prompts *prompts;
    const qk_model *model;
    bool no_bos;
} reader;

static qk_status read_line(void *user, const json_t *object, qk_place place, bool *enough, qk_error *err)
{
    reader *r = user;
    const char *text = NULL;
    size_t n = 0;
    (void)enough;
    qk_status status = qk_json_member(&text, &n, object, "prompt", false, place, err);
    if (status) return status;
    status = add(r->prompts, r->model, text, n, r->no_bos, err);
    return status ? qk_prefix(err, status, "%s:%zu", place.path, place.line) : QK_OK;
}

static qk_status read_file(cli_prompts *p, cli_command *command, const qk_model *model, const char *path, qk_error *err)
{
    bool no_bos = command->options.no_bos;
    size_t n = strlen(path);
    qk_map map;
    qk_status status = qk_map_open(&map, path, err);
    if (status) return status;
    if (n > 6 && strcmp(path + n - 6, ".jsonl") == 0) {
        reader r = { p, model, no_bos };
        status = qk_json_lines(path, &map, read_line, &r, err);
    } else {
        const char *text = (const char *)map.data + qk_text_start(&map);
        status = add(p, model, text, without_line_end(text, map.size - qk_text_start(&map)), no_bos, err);
        if (status) status = qk_prefix(err, status, "%s", path);
    }
    qk_map_close(&map);
    return status;
}

static qk_status read_standard_input(cli_prompts *p, cli_command *command, const qk_model *model, qk_error *err)
{
    qk_bytes text = { 0 };
    char block[65536];
    qk_status status = QK_OK;
    for (size_t n; !status && (n = fread(block, 1, sizeof block, stdin)) > 0;)
        if (!qk_bytes_add(&text, block, n)) status = qk_out_of_memory(err, "standard input", text.n + n);
    if (!status && ferror(stdin)) status = qk_fail(err, QK_E_IO, "standard input: cannot be read");
    if (!status)
        status =
            add(p, model, text.n ? text.data : "", without_line_end(text.data, text.n), command->options.no_bos, err);
    free(text.data);
    return status;
}

qk_status cli_load_prompts(cli_prompts *p, cli_command *command, const qk_model *model, qk_error *err)
{
    const cli_options *options = &command->options;
    qk_status status = QK_OK;
    for (size_t i = 0; i < options->prompts.n && !status; i++) {
        status = add(p, model, options->prompts.items[i], strlen(options->prompts.items[i]), options->no_bos, err);
        if (status) qk_prefix(err, status, "--prompt");
    }
    for (size_t i = 0; i < options->prompt_files.n && !status; i++)
        status = read_file(p, command, model, options->prompt_files.items[i], err);
    if (!status && options->prompts.n == 0 && options->prompt_files.n == 0)
        status = read_standard_input(p, command, model, err);
    return status;
}

void cli_prompts_free(cli_prompts *p)
{
    for (size_t i = 0; i < p->n; i++) free((void *)p->items[i].tokens);
    free(p->items);
    free(p->sha256);
    *p = (cli_prompts){ 0 };
}
