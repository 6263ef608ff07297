/* shapes.h - the sizes of models that are known by a name, and configurations made of them. */
#ifndef QK_CLI_SHAPES_H
#define QK_CLI_SHAPES_H

#include "cli/cli.h"

/* "1.1b", or "D_MODEL,LAYERS,HEADS,KV_HEADS,FFN,VOCAB" with HEAD_DIM behind them or not: a Llama of that shape.  Only
 * the first max_layers of its layers are kept (0 = all); *n_layers is how many it has.  What the configuration points
 * to lives in the command's arena. */
qk_status cli_shape_config(qk_config *out, int *n_layers, cli_command *command, const char *shape, uint64_t max_layers,
                           qk_error *err);

#endif
