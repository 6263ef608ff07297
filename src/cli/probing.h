/* probing.h - probes of the command line: which, how long, how deep, for whose tokenizers. */
#ifndef QK_CLI_PROBING_H
#define QK_CLI_PROBING_H

#include "cli/cli.h"
#include "text/probes.h"

/* Every kind but those whose length is fixed. */
#define CLI_ALL_PROBES                                                                                                 \
    (((1 << QK_N_PROBE_KINDS) - 1) & ~(1 << QK_PROBE_JIN_128 | 1 << QK_PROBE_JIN_256 | 1 << QK_PROBE_JIN_1024))
/* Options that choose them, seed and limit apart. */
#define OPTIONS_PROBES OPTION_PROBES, OPTION_PROBE_TOKENS, OPTION_KEY_LENGTH, OPTION_KEY_ALPHABET, OPTION_DEPTHS

/* Who counts tokens: the one that needs most, of several that read the same prompt. */
typedef struct cli_token_count {
    const qk_tokenizer **tokenizers; /* [n] different ones; in the command's arena */
    size_t n;
    bool no_bos;
} cli_token_count;

/* Settings as the options say, but for the counter, the seed, the limit and the context. */
qk_status cli_probes_settings(qk_probes_settings *settings, cli_command *command, qk_error *err);
/* Lengths in the tokens of these; `count` must live as long as the counter is used. */
qk_status cli_count_tokens_of(qk_token_counter *counter, cli_token_count *count, cli_command *command,
                              const qk_tokenizer *const *tokenizers, size_t n, qk_error *err);
/* The quiz of `tasks --probes`, for all of the models; lengths end at `context`. */
qk_status cli_load_probes(qk_quiz *quiz, cli_command *command, const cli_models *models, size_t context, size_t limit,
                          qk_error *err);

#endif
