/* edits.c - an edit as it is written on the command line: OP[=AMOUNT]@SITE[:DIMS]. */
#include <stdlib.h>
#include <string.h>

#include "cli/conditions.h"
#include "pass/pass.h"

/* Ops that need nothing measured elsewhere. */
static const struct {
    const char *name;
    qk_op op;
    bool amount;
} ops[] = {
    { "zero", QK_OP_ZERO, false },           { "scale", QK_OP_SCALE, true },
    { "noise", QK_OP_NOISE, true },          { "sequence-mean", QK_OP_SEQUENCE_MEAN, false },
    { "head-mean", QK_OP_HEAD_MEAN, false }, { "permute", QK_OP_PERMUTE, false },
};

/* "zero" or "scale=0.5"; `text` is cut up. */
static qk_status parse_op(qk_edit *edit, char *text, const char *whole, qk_error *err)
{
    char *amount = strchr(text, '=');
    double x = 0;
    if (amount) *amount++ = '\0';
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(ops[i].name, text) != 0) continue;
        edit->op = ops[i].op;
        if (ops[i].amount != (amount != NULL))
            return qk_fail(err, QK_E_ARGUMENT, "--edit %s: expected %s%s", whole, text,
                           ops[i].amount ? "=AMOUNT" : " without an amount");
        qk_status status = amount ? cli_parse_number(&x, "--edit", amount, -1e30, 1e30, err) : QK_OK;
        edit->amount = (float)x;
        return status;
    }
    return qk_fail(err, QK_E_ARGUMENT,
                   "--edit %s: expected one of zero, scale=X, noise=X, sequence-mean, head-mean, permute, found '%s'",
                   whole, text);
}

/* "0-7,12": dims of each head, or of the row where the site has no heads; "top3"; NULL: all. */
static qk_status parse_dims(qk_edit *edit, qk_arena *arena, const char *text, const qk_config *config, qk_error *err)
{
    size_t width = qk_site_width(config, edit->site), heads = (size_t)qk_site_heads(config, edit->site);
    size_t n = heads ? width / heads : width;
    if (text && strncmp(text, "top", 3) == 0) {
        uint64_t k = 0;
        qk_status status = cli_parse_count(&k, "--edit: top", text + 3, 1, n, err);
        edit->top_k = (int)k;
        return status;
    }
    uint8_t *mask = qk_arena_alloc(arena, width);
    if (!mask) return qk_out_of_memory(err, "--edit", width);
    memset(mask, 1, width);
    edit->mask = mask;
    qk_status status = text ? cli_parse_ranges(mask, n, "--edit", "dim", text, err) : QK_OK;
    for (size_t h = 1; h < heads && !status; h++) memcpy(mask + h * n, mask, n);
    return status;
}

qk_status cli_parse_edit(qk_edit **edits, size_t *n, qk_arena *arena, const char *text, const qk_config *config,
                         uint64_t seed, qk_error *err)
{
    qk_edit edit = { .seed = seed };
    qk_site_pattern pattern;
    char *op = qk_arena_copy(arena, text, strlen(text)), *site = op ? strchr(op, '@') : NULL;
    if (!op) return qk_out_of_memory(err, "--edit", strlen(text));
    if (!site) return qk_fail(err, QK_E_ARGUMENT, "--edit: expected OP@SITE[:DIMS], found '%s'", text);
    *site++ = '\0';
    char *dims = strrchr(site, ':');
    if (dims) *dims++ = '\0';
    qk_status status = parse_op(&edit, op, text, err);
    if (!status) status = qk_site_parse(&pattern, site, config, err);
    if (status) return status;
    edit.site = pattern.site;
    if (!qk_site_describe(edit.site)->editable)
        return qk_fail(err, QK_E_ARGUMENT, "--edit %s: the site can be read, not edited", text);
    status = parse_dims(&edit, arena, dims, config, err);
    bool per_layer = qk_site_describe(edit.site)->per_layer;
    size_t n_layers = per_layer ? (size_t)config->n_layers : 1;
    qk_edit *out = status ? NULL : qk_arena_alloc(arena, n_layers * sizeof *out);
    if (!status && !out) status = qk_out_of_memory(err, "--edit", n_layers * sizeof *out);
    *n = 0;
    for (size_t l = 0; l < n_layers && !status; l++) {
        if (per_layer && !pattern.layers[l]) continue;
        out[*n] = edit;
        out[(*n)++].layer = (int)l;
    }
    *edits = out;
    return status;
}
