/* probing.c - probes of the command line: which, how long, how deep, for whose tokenizers. */
#include "cli/probing.h"

#include <stdlib.h>
#include <string.h>

enum { USUAL_TOKENS = 512 };

/* ---- settings */

static qk_status read_counts(size_t out[QK_PROBE_LISTED], size_t *n, cli_command *command, cli_option_id option,
                             const char *text, uint64_t low, uint64_t high, qk_error *err)
{
    cli_list list;
    char what[32];
    snprintf(what, sizeof what, "--%s", cli_option_name(option));
    qk_status status = cli_split_list(&list, &command->arena, what, text, err);
    if (!status && list.n > QK_PROBE_LISTED)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected at most %d numbers, found %zu", what, QK_PROBE_LISTED, list.n);
    for (size_t i = 0; !status && i < list.n; i++) {
        uint64_t count = 0;
        status = cli_parse_count(&count, what, list.items[i], low, high, err);
        if (!status && i > 0 && count <= out[i - 1])
            return qk_fail(err, QK_E_ARGUMENT, "%s: expected ascending numbers, found %s behind %s", what,
                           list.items[i], list.items[i - 1]);
        out[i] = (size_t)count;
        *n = i + 1;
    }
    return status;
}

static qk_status read_depths(qk_probes_settings *settings, cli_command *command, const char *text, qk_error *err)
{
    cli_list list;
    qk_status status = cli_split_list(&list, &command->arena, "--depths", text, err);
    if (!status && list.n > QK_PROBE_LISTED)
        return qk_fail(err, QK_E_ARGUMENT, "--depths: expected at most %d numbers, found %zu", QK_PROBE_LISTED, list.n);
    for (size_t i = 0; !status && i < list.n; i++) {
        double depth = 0;
        status = cli_parse_number(&depth, "--depths", list.items[i], 0, 1, err);
        settings->depths[i] = (unsigned)(depth * QK_DEPTH_END + 0.5);
        settings->n_depths = i + 1;
    }
    return status;
}

qk_status cli_probes_settings(qk_probes_settings *settings, cli_command *command, qk_error *err)
{
    const cli_options *o = &command->options;
    *settings = (qk_probes_settings){ .kinds = (unsigned)o->probes, .alphabet = (qk_alphabet)o->key_alphabet };
    settings->tokens[0] = USUAL_TOKENS;
    settings->n_tokens = 1;
    qk_status status = read_depths(settings, command, o->depths ? o->depths : "0,0.25,0.5,0.75,1", err);
    if (!status && o->probe_tokens)
        status = read_counts(settings->tokens, &settings->n_tokens, command, OPTION_PROBE_TOKENS, o->probe_tokens, 2,
                             1 << 30, err);
    if (!status && o->key_length)
        status = read_counts(settings->key_lengths, &settings->n_key_lengths, command, OPTION_KEY_LENGTH, o->key_length,
                             QK_KEY_SHORTEST, QK_KEY_LONGEST, err);
    return status;
}

/* ---- tokens */

static qk_status count_most(void *user, size_t *n, const char *utf8, size_t n_bytes, qk_error *err)
{
    const cli_token_count *count = user;
    *n = 0;
    for (size_t i = 0; i < count->n; i++) {
        const qk_tokenizer_info *info = qk_tokenizer_describe(count->tokenizers[i]);
        int32_t *tokens = NULL;
        size_t n_tokens = 0;
        qk_status status = qk_encode(&tokens, &n_tokens, count->tokenizers[i], utf8, n_bytes,
                                     (qk_encode_options){ .no_bos = count->no_bos }, err);
        if (status) return status;
        if (info->adds_eos && n_tokens > 0 && tokens[n_tokens - 1] == info->eos) n_tokens--;
        free(tokens);
        if (n_tokens > *n) *n = n_tokens;
    }
    return QK_OK;
}

qk_status cli_count_tokens_of(qk_token_counter *counter, cli_token_count *count, cli_command *command,
                              const qk_tokenizer *const *tokenizers, size_t n, qk_error *err)
{
    *count = (cli_token_count){ .no_bos = command->options.no_bos };
    count->tokenizers = qk_arena_alloc(&command->arena, n * sizeof *count->tokenizers);
    if (!count->tokenizers) return qk_out_of_memory(err, "tokenizers", n * sizeof *count->tokenizers);
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        for (size_t k = 0; k < count->n; k++)
            known = known || strcmp(qk_tokenizer_describe(tokenizers[i])->sha256,
                                    qk_tokenizer_describe(count->tokenizers[k])->sha256) == 0;
        if (!known) count->tokenizers[count->n++] = tokenizers[i];
    }
    *counter = (qk_token_counter){ count_most, count };
    return QK_OK;
}

/* ---- for a study */

qk_status cli_load_probes(qk_quiz *quiz, cli_command *command, const cli_models *models, size_t context, size_t limit,
                          qk_error *err)
{
    qk_probes_settings settings;
    cli_token_count count;
    const qk_tokenizer **tokenizers = qk_arena_alloc(&command->arena, models->n * sizeof *tokenizers);
    if (!tokenizers) return qk_out_of_memory(err, "tokenizers", models->n * sizeof *tokenizers);
    for (size_t i = 0; i < models->n; i++) {
        const qk_model *model = models->items[i].model;
        tokenizers[i] = model->tokenizer;
        if (!model->tokenizer)
            return qk_fail(err, model->tokenizer_error.status ? model->tokenizer_error.status : QK_E_IO,
                           "%s: no tokenizer: %s", models->items[i].name, model->tokenizer_error.message);
    }
    qk_status status = cli_probes_settings(&settings, command, err);
    if (!status) status = cli_count_tokens_of(&settings.counter, &count, command, tokenizers, models->n, err);
    if (status) return status;
    settings.seed = command->options.probe_seed;
    settings.per_category = limit;
    settings.context = context;
    if (!command->options.probe_tokens && context && context < settings.tokens[0]) settings.tokens[0] = context;
    return qk_quiz_probes(quiz, &settings, err);
}
