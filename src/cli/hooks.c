/* hooks.c - the sites where a probe may stand and an edit may act. */
#include <string.h>

#include "cli/verbs.h"
#include "pass/pass.h"

/* What the letters of a site's shape stand for, and their size in a model. */
static const struct {
    char letter;
    const char *name;
} axes[] = {
    { 'T', "tokens" },  { 'H', "heads" }, { 'G', "kv_heads" },   { 'D', "head_dim" },
    { 'C', "d_model" }, { 'F', "d_ffn" }, { 'V', "vocabulary" },
};

static int size_of(char letter, const qk_config *c)
{
    switch (letter) {
    case 'H': return c->n_heads;
    case 'G': return c->n_kv_heads;
    case 'D': return c->head_dim;
    case 'C': return c->d_model;
    case 'F': return c->d_ffn;
    case 'V': return c->n_vocab;
    default: return 0; /* tokens: as many as the document has */
    }
}

/* "[1, tokens, heads, head_dim]", or with numbers where a model is given. */
static void shape_text(char text[100], const char *letters, const qk_config *config)
{
    size_t n = (size_t)snprintf(text, 100, "[1");
    for (; *letters; letters++) {
        int size = config ? size_of(*letters, config) : 0;
        const char *name = "?";
        for (size_t i = 0; i < sizeof axes / sizeof *axes; i++)
            if (axes[i].letter == *letters) name = axes[i].name;
        if (size)
            n += (size_t)snprintf(text + n, 100 - n, ", %d", size);
        else
            n += (size_t)snprintf(text + n, 100 - n, ", %s", name);
    }
    snprintf(text + n, 100 - n, "]");
}

static json_t *aliases_json(qk_site site)
{
    json_t *names = json_array();
    const char *alias;
    qk_site of;
    for (size_t a = 0; (alias = qk_site_alias(a, &of)); a++)
        if (of == site) json_array_append_new(names, json_string(alias));
    return names;
}

static json_t *sites_json(const qk_config *config)
{
    json_t *rows = json_array();
    for (int s = 0; rows && s < QK_N_SITES; s++) {
        const qk_site_info *site = qk_site_describe((qk_site)s);
        char shape[100];
        if (config && !qk_site_exists(config, (qk_site)s)) continue;
        shape_text(shape, site->shape, config);
        json_array_append_new(rows, json_pack("{s:s,s:s,s:b,s:b,s:s,s:o}", "site", site->name, "shape", shape,
                                              "per_layer", site->per_layer, "editable", site->editable, "meaning",
                                              site->doc, "aliases", aliases_json((qk_site)s)));
    }
    return rows;
}

static qk_status print_sites(const json_t *rows, bool verbose, qk_error *err)
{
    static const char *const heads[] = { "site", "shape", "edit", "meaning" };
    cli_table table;
    size_t i, a;
    json_t *row, *alias;
    cli_table_start(&table, heads, "llll");
    json_array_foreach(rows, i, row)
    {
        cli_table_add(&table, "%s", cli_text(row, "site"));
        cli_table_add(&table, "%s", cli_text(row, "shape"));
        cli_table_add(&table, "%s", json_is_true(json_object_get(row, "editable")) ? "yes" : "no");
        cli_table_add(&table, "%s", cli_text(row, "meaning"));
        if (!verbose) continue;
        json_array_foreach(json_object_get(row, "aliases"), a, alias)
        {
            cli_table_add(&table, "  = %s", json_string_value(alias));
            for (int c = 1; c < 4; c++) cli_table_add(&table, "%s", "");
        }
    }
    qk_status status = cli_table_print(&table, stdout, err);
    puts("\n{} is a layer, `*` all of them, {0-3,7} some; short forms: q6, rot_k6, resid_post12, pattern3.");
    if (!verbose) puts("-v lists the names that neighbouring tools use; they are understood too.");
    return status;
}

static qk_status run_hooks(cli_command *command, qk_error *err)
{
    cli_models models = { 0 };
    qk_status status = QK_OK;
    if (command->arguments.n) status = cli_load_models(&models, command, command->arguments, false, err);
    if (status) return status;
    json_t *rows = sites_json(models.n ? &models.items[0].model->config : NULL);
    if (!rows)
        status = qk_out_of_memory(err, "sites", QK_N_SITES);
    else if (command->options.json)
        status = cli_print_json(rows, err);
    else
        status = print_sites(rows, command->options.verbose, err);
    json_decref(rows);
    cli_models_free(&models);
    return status;
}

static const cli_option_id hooks_options[] = { OPTION_JSON, OPTION_CACHE_DIR, OPTIONS_TALK, OPTION_END };

const cli_verb verb_hooks = {
    .name = "hooks",
    .run = run_hooks,
    .arguments = "[MODEL]",
    .max_arguments = 1,
    .options = hooks_options,
    .line = "List the sites that can be read and edited, with shapes and aliases",
    .details = "With MODEL the shapes are those of the model, and sites that it lacks are left out. -v lists aliases.",
    .examples = "  qkscope hooks -v\n  qkscope hooks models/tiny",
};
