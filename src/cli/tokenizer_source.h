/* tokenizer_source.h - the tokenizer of a model, or one that lies alone. */
#ifndef QK_CLI_TOKENIZER_SOURCE_H
#define QK_CLI_TOKENIZER_SOURCE_H

#include "cli/cli.h"

/* A tokenizer, alone or out of a checkpoint that must stay open as long. */
typedef struct cli_tokenizer {
    qk_ckpt *ckpt;
    qk_tokenizer *tokenizer;
} cli_tokenizer; /* {0} is an empty one */

/* Of a model, a folder that holds one, or a lone tokenizer.json, tokenizer.model or tokenizer.bin.  Close it even where
 * this fails. */
qk_status cli_open_tokenizer(cli_tokenizer *out, cli_command *command, const char *path, qk_error *err);
void cli_close_tokenizer(cli_tokenizer *tokenizer);

#endif
