/* tokenize.c - text to token ids and back, as the model reads it. */
#include <stdlib.h>
#include <string.h>

#include "cli/tokenizer_source.h"
#include "cli/verbs.h"
#include "study/common.h"

/* ---- text to ids */

static void print_piece(const char *bytes, size_t n)
{
    putchar('"');
    for (size_t i = 0; i < n;) {
        int length = qk_utf8_length((const uint8_t *)bytes + i, n - i);
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '\n')
            fputs("\\n", stdout);
        else if (byte == '"' || byte == '\\')
            printf("\\%c", byte);
        else if (length == 0 || byte < 0x20 || byte == 0x7f)
            printf("\\x%02x", byte);
        else
            fwrite(bytes + i, 1, (size_t)length, stdout);
        i += length > 0 ? (size_t)length : 1;
    }
    puts("\"");
}

static qk_status print_ids(const int32_t *tokens, size_t n, const qk_tokenizer *tokenizer, bool json, qk_error *err)
{
    json_t *ids = json ? json_array() : NULL;
    for (size_t i = 0; i < n; i++) {
        size_t n_bytes = 0;
        const char *piece = qk_token_piece(&n_bytes, tokenizer, tokens[i]);
        if (json) {
            json_array_append_new(ids, json_integer(tokens[i]));
            continue;
        }
        printf("%7d  ", tokens[i]);
        print_piece(piece ? piece : "", n_bytes);
    }
    if (!json) return QK_OK;
    json_t *object = json_pack("{s:o}", "ids", ids);
    qk_status status = object ? cli_print_json(object, err) : qk_out_of_memory(err, "ids", n);
    json_decref(object);
    return status;
}

static qk_status encode(cli_command *command, const qk_tokenizer *tokenizer, const char *text, size_t n_bytes,
                        qk_error *err)
{
    int32_t *tokens = NULL;
    size_t n = 0;
    qk_encode_options options = { .no_bos = command->options.no_bos };
    qk_status status = qk_encode(&tokens, &n, tokenizer, text, n_bytes, options, err);
    if (!status) status = print_ids(tokens, n, tokenizer, command->options.json, err);
    free(tokens);
    return status;
}

static qk_status encode_file(cli_command *command, const qk_tokenizer *tokenizer, qk_error *err)
{
    qk_map map;
    qk_status status = qk_map_open(&map, command->options.file, err);
    if (status) return status;
    status = encode(command, tokenizer, (const char *)map.data, map.size, err);
    if (status) status = qk_prefix(err, status, "%s", command->options.file);
    qk_map_close(&map);
    return status;
}

/* ---- ids to text */

static qk_status decode(cli_command *command, const qk_tokenizer *tokenizer, qk_error *err)
{
    cli_list words;
    int32_t *tokens = NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    qk_status status = cli_split_list(&words, &command->arena, "--decode", command->options.decode, err);
    if (!status) status = qk_new_array(&tokens, words.n, sizeof *tokens, "ids", err);
    for (size_t i = 0; i < words.n && !status; i++) {
        uint64_t id;
        status =
            cli_parse_count(&id, "--decode", words.items[i], 0, qk_tokenizer_describe(tokenizer)->n_vocab - 1, err);
        if (!status) tokens[i] = (int32_t)id;
    }
    if (!status) status = qk_decode(&text, &n_bytes, tokenizer, tokens, words.n, err);
    if (!status && command->options.json) {
        json_t *object = json_pack("{s:o}", "text", qk_json_text(text));
        status = object ? cli_print_json(object, err) : qk_out_of_memory(err, "text", n_bytes);
        json_decref(object);
    } else if (!status) {
        fwrite(text, 1, n_bytes, stdout);
        putchar('\n');
    }
    free(text);
    free(tokens);
    return status;
}

static qk_status run_tokenize(cli_command *command, qk_error *err)
{
    const cli_list *words = &command->arguments;
    const cli_options *options = &command->options;
    int n_inputs = (words->n > 1) + (options->file != NULL) + (options->decode != NULL);
    if (n_inputs != 1)
        return qk_fail(err, QK_E_ARGUMENT, "tokenize: expected one of TEXT, --file and --decode, found %d of them",
                       n_inputs);
    cli_tokenizer from = { 0 };
    qk_status status = cli_open_tokenizer(&from, command, words->items[0], err);
    if (!status && options->decode)
        status = decode(command, from.tokenizer, err);
    else if (!status && options->file)
        status = encode_file(command, from.tokenizer, err);
    else if (!status)
        status = encode(command, from.tokenizer, words->items[1], strlen(words->items[1]), err);
    cli_close_tokenizer(&from);
    return status;
}

static const cli_option_id tokenize_options[] = {
    OPTION_FILE, OPTION_DECODE, OPTION_NO_BOS, OPTION_JSON, OPTION_CACHE_DIR, OPTIONS_TALK, OPTION_END,
};

const cli_verb verb_tokenize = {
    .name = "tokenize",
    .run = run_tokenize,
    .arguments = "MODEL [TEXT]",
    .min_arguments = 1,
    .max_arguments = 2,
    .options = tokenize_options,
    .line = "Turn text into token ids, or ids into text, as the model reads them",
    .details = "MODEL may also be a lone tokenizer.json, tokenizer.model or tokenizer.bin, or a folder that holds one.",
    .examples = "  qkscope tokenize models/tiny 'Once upon a time'\n"
                "  qkscope tokenize models/tiny --file story.txt --json\n"
                "  qkscope tokenize models/tiny --decode 1,403,407",
};
