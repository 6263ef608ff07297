/* prompts.h - what a text is to go on from: given, out of files, or standard input. */
#ifndef QK_CLI_PROMPTS_H
#define QK_CLI_PROMPTS_H

#include "cli/cli.h"

typedef struct cli_prompts {
    qk_prompt *items;   /* [n], as the model reads them */
    char (*sha256)[65]; /* [n] of the texts */
    size_t n, capacity;
} cli_prompts; /* {0} is an empty one */

/* --prompt, then --prompt-file, else standard input; free it even where this fails. */
qk_status cli_load_prompts(cli_prompts *prompts, cli_command *command, const qk_model *model, qk_error *err);
void cli_prompts_free(cli_prompts *prompts);

#endif
