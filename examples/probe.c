/* probe.c - a whole user of the library: the massive queries, keys and values of one text, layer by layer.
 *
 *   cc probe.c $(pkg-config --cflags --libs qkscope) -o probe
 *   ./probe MODEL 'Once upon a time there was a little girl.' */
#include <qkscope.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double lambda = 5; /* massive: a norm above lambda times the layer's mean */

/* One line a layer: how many dims of q, k and v are massive in the only sequence. */
static int print_counts(const qk_norms *norms, const qk_config *config)
{
    double *map = malloc((size_t)config->n_heads * (size_t)config->head_dim * sizeof *map);
    if (!map) return 1;
    puts("layer    q    k    v");
    for (int layer = 0; layer < config->n_layers; layer++) {
        printf("%5d", layer);
        for (int tensor = 0; tensor < QK_N_TENSORS; tensor++) {
            int n_heads = tensor == QK_TENSOR_Q ? config->n_heads : config->n_kv_heads;
            qk_norms_map(map, norms, 0, layer, (qk_qkv)tensor);
            printf(" %4zu", qk_massive_mask(NULL, map, n_heads, config->head_dim, QK_CRITERION_LAYER_MEAN, lambda));
        }
        putchar('\n');
    }
    free(map);
    return 0;
}

int main(int argc, char **argv)
{
    qk_error err = { QK_OK, "" };
    qk_model *model = NULL;
    qk_norms *norms = NULL;
    qk_pass_result *result = NULL;
    qk_sequence text = { NULL, 0, 1 };
    int32_t *tokens = NULL;
    if (argc != 3) return fprintf(stderr, "usage: probe MODEL TEXT\n"), 2;

    if (qk_model_open(&model, argv[1], NULL, &err)) goto out;
    if (qk_tokenize(&tokens, &text.n_tokens, model, argv[2], strlen(argv[2]), true, &err)) goto out;
    if (qk_norms_new(&norms, qk_model_config(model), 1, false, &err)) goto out;

    text.tokens = tokens;
    qk_probe probe = qk_norms_probe(norms);
    qk_pass_spec spec = { .sequences = &text, .n_sequences = 1, .probes = &probe, .n_probes = 1, .score = true };
    if (qk_pass_run(&result, model, &spec, &err)) goto out;

    printf("%zu tokens, %.4f nats per token\n", text.n_tokens,
           result->scores[0].nll / (double)result->scores[0].n_tokens);
    if (print_counts(norms, qk_model_config(model))) err = (qk_error){ QK_E_MEMORY, "out of memory" };
out:
    if (err.status) fprintf(stderr, "probe: %s\n", err.message);
    qk_pass_result_free(result);
    qk_norms_free(norms);
    free(tokens);
    qk_model_close(model);
    return err.status != QK_OK;
}
