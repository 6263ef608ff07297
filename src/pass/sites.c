/* sites.c - names of places: the table of QK_SITES, aliases of neighbouring tools, patterns over layers. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "pass/pass.h"

static const qk_site_info table[QK_N_SITES] = {
#define X(id, name, per_layer, shape, editable, doc) [QK_SITE_##id] = { name, per_layer, shape, editable, doc },
    QK_SITES(X)
#undef X
};

/* Other spellings of a site, "{}" in the layer's place: Hugging Face modules, TransformerLens Bridge, pyvene and
 * nnterp, llama.cpp graph names (its Qcur is ambiguous and refused), and the short forms of TransformerLens'
 * get_act_name. */
static const struct {
    const char *name;
    qk_site site;
} aliases[] = {
    { "embed.hook_out", QK_SITE_EMBED },
    { "model.embed_tokens", QK_SITE_EMBED },
    { "token_embeddings", QK_SITE_EMBED },
    { "inp_embd", QK_SITE_EMBED },
    { "embed", QK_SITE_EMBED },
    { "blocks.{}.hook_in", QK_SITE_RESID_PRE },
    { "layers_input.{}", QK_SITE_RESID_PRE },
    { "resid_pre{}", QK_SITE_RESID_PRE },
    { "model.layers.{}.input_layernorm", QK_SITE_LN1_OUT },
    { "attn_norm-{}", QK_SITE_LN1_OUT },
    { "ln1{}", QK_SITE_LN1_OUT },
    { "model.layers.{}.self_attn.q_proj", QK_SITE_Q },
    { "blocks.{}.attn.q.hook_out", QK_SITE_Q },
    { "q{}", QK_SITE_Q },
    { "model.layers.{}.self_attn.k_proj", QK_SITE_K },
    { "blocks.{}.attn.k.hook_out", QK_SITE_K },
    { "k{}", QK_SITE_K },
    { "model.layers.{}.self_attn.v_proj", QK_SITE_V },
    { "blocks.{}.attn.v.hook_out", QK_SITE_V },
    { "Vcur-{}", QK_SITE_V },
    { "v{}", QK_SITE_V },
    { "model.layers.{}.self_attn.q_norm", QK_SITE_Q_NORMED },
    { "Qcur_normed-{}", QK_SITE_Q_NORMED },
    { "q_normed{}", QK_SITE_Q_NORMED },
    { "model.layers.{}.self_attn.k_norm", QK_SITE_K_NORMED },
    { "Kcur_normed-{}", QK_SITE_K_NORMED },
    { "k_normed{}", QK_SITE_K_NORMED },
    { "rot_q{}", QK_SITE_ROT_Q },
    { "rot_k{}", QK_SITE_ROT_K },
    { "attn_scores{}", QK_SITE_SCORES },
    { "scores{}", QK_SITE_SCORES },
    { "kq_soft_max_ext-{}", QK_SITE_PATTERN },
    { "attention_probabilities.{}", QK_SITE_PATTERN },
    { "pattern{}", QK_SITE_PATTERN },
    { "blocks.{}.attn.o.hook_in", QK_SITE_Z },
    { "attention_value_output.{}", QK_SITE_Z },
    { "kqv_merged_cont-{}", QK_SITE_Z },
    { "z{}", QK_SITE_Z },
    { "model.layers.{}.self_attn", QK_SITE_ATTN_OUT },
    { "blocks.{}.attn.hook_out", QK_SITE_ATTN_OUT },
    { "attentions_output.{}", QK_SITE_ATTN_OUT },
    { "kqv_out-{}", QK_SITE_ATTN_OUT },
    { "attn_out{}", QK_SITE_ATTN_OUT },
    { "ffn_inp-{}", QK_SITE_RESID_MID },
    { "resid_mid{}", QK_SITE_RESID_MID },
    { "model.layers.{}.post_attention_layernorm", QK_SITE_LN2_OUT },
    { "ffn_norm-{}", QK_SITE_LN2_OUT },
    { "ln2{}", QK_SITE_LN2_OUT },
    { "model.layers.{}.mlp.gate_proj", QK_SITE_MLP_PRE },
    { "ffn_gate-{}", QK_SITE_MLP_PRE },
    { "mlp_pre{}", QK_SITE_MLP_PRE },
    { "model.layers.{}.mlp.up_proj", QK_SITE_MLP_PRE_LINEAR },
    { "ffn_up-{}", QK_SITE_MLP_PRE_LINEAR },
    { "mlp_pre_linear{}", QK_SITE_MLP_PRE_LINEAR },
    { "mlp_post{}", QK_SITE_MLP_POST },
    { "model.layers.{}.mlp", QK_SITE_MLP_OUT },
    { "blocks.{}.mlp.hook_out", QK_SITE_MLP_OUT },
    { "mlps_output.{}", QK_SITE_MLP_OUT },
    { "ffn_out-{}", QK_SITE_MLP_OUT },
    { "mlp_out{}", QK_SITE_MLP_OUT },
    { "model.layers.{}", QK_SITE_RESID_POST },
    { "blocks.{}.hook_out", QK_SITE_RESID_POST },
    { "layers_output.{}", QK_SITE_RESID_POST },
    { "l_out-{}", QK_SITE_RESID_POST },
    { "resid_post{}", QK_SITE_RESID_POST },
    { "model.norm", QK_SITE_LN_FINAL_OUT },
    { "result_norm", QK_SITE_LN_FINAL_OUT },
    { "hook_final_norm", QK_SITE_LN_FINAL_OUT },
    { "unembed.hook_out", QK_SITE_LOGITS },
    { "lm_head", QK_SITE_LOGITS },
    { "result_output", QK_SITE_LOGITS },
    { "logits", QK_SITE_LOGITS },
};

const qk_site_info *qk_site_describe(qk_site site) { return &table[site]; }

const char *qk_site_alias(size_t index, qk_site *site)
{
    if (index >= sizeof aliases / sizeof *aliases) return NULL;
    *site = aliases[index].site;
    return aliases[index].name;
}

void qk_site_name(char name[64], qk_site site, int layer)
{
    const char *pattern = table[site].name, *gap = strstr(pattern, "{}");
    if (gap)
        snprintf(name, 64, "%.*s%d%s", (int)(gap - pattern), pattern, layer, gap + 2);
    else
        snprintf(name, 64, "%s", pattern);
}

size_t qk_site_width(const qk_config *c, qk_site site)
{
    size_t d = (size_t)c->head_dim;
    const char *shape = table[site].shape;
    if (strcmp(shape, "THD") == 0) return (size_t)c->n_heads * d;
    if (strcmp(shape, "TGD") == 0) return (size_t)c->n_kv_heads * d;
    if (strcmp(shape, "TC") == 0) return (size_t)c->d_model;
    if (strcmp(shape, "TF") == 0) return (size_t)c->d_ffn;
    if (strcmp(shape, "TV") == 0) return (size_t)c->n_vocab;
    return 0;
}

int qk_site_heads(const qk_config *c, qk_site site)
{
    const char *shape = table[site].shape;
    return strcmp(shape, "THD") == 0 ? c->n_heads : strcmp(shape, "TGD") == 0 ? c->n_kv_heads : 0;
}

bool qk_site_exists(const qk_config *c, qk_site site)
{
    if (site == QK_SITE_Q_NORMED) return c->q_norm != QK_NORM_NONE;
    if (site == QK_SITE_K_NORMED) return c->k_norm != QK_NORM_NONE;
    return true;
}

/* ---- patterns */

/* One number of a layer list; true and *end behind it. */
static bool read_layer(int *layer, const char *text, const char **end)
{
    char *stop;
    if (!isdigit((unsigned char)*text)) return false;
    unsigned long n = strtoul(text, &stop, 10);
    if (n > 1 << 20) return false;
    *layer = (int)n;
    *end = stop;
    return true;
}

/* "3", "*", "0-3,7" with or without braces at `text`; marks layers and tells where the list ends.  Nothing at all means
 * every layer where `may_be_empty` (short forms: `q` is q of all layers). */
static bool read_layers(uint8_t *layers, int *beyond, const char *text, const char **end, int n_layers,
                        bool may_be_empty)
{
    bool braces = *text == '{';
    if (braces) text++;
    if (*text == '*' || (may_be_empty && *text == '\0')) {
        memset(layers, 1, (size_t)n_layers);
        *end = text + (*text == '*');
    } else {
        for (const char *t = text;; t++) {
            int from, to;
            if (!read_layer(&from, t, &t)) return false;
            to = from;
            if (*t == '-' && !read_layer(&to, t + 1, &t)) return false;
            if (to >= n_layers || from > to) return *beyond = to, false;
            memset(layers + from, 1, (size_t)(to - from) + 1);
            *end = t;
            if (*t != ',') break;
        }
    }
    if (braces && **end != '}') return false;
    if (braces) (*end)++;
    return true;
}

/* True when `pattern` is `name` with a layer list in the place of "{}". */
static bool match(qk_site_pattern *out, int *beyond, const char *pattern, const char *name, int n_layers)
{
    const char *gap = strstr(name, "{}"), *end;
    if (!gap) return strcmp(pattern, name) == 0;
    size_t head = (size_t)(gap - name);
    if (strncmp(pattern, name, head) != 0) return false;
    memset(out->layers, 0, sizeof out->layers);
    bool short_form = gap[2] == '\0' && !strpbrk(name, ".-");
    if (!read_layers(out->layers, beyond, pattern + head, &end, n_layers, short_form)) return false;
    return strcmp(end, gap + 2) == 0;
}

qk_status qk_site_parse(qk_site_pattern *out, const char *pattern, const qk_config *config, qk_error *err)
{
    qk_site_pattern found = { 0 };
    int beyond = -1;
    bool hit = false;
    for (int s = 0; s < QK_N_SITES && !hit; s++)
        if ((hit = match(&found, &beyond, pattern, table[s].name, config->n_layers))) found.site = (qk_site)s;
    for (size_t a = 0; a < sizeof aliases / sizeof *aliases && !hit; a++)
        if ((hit = match(&found, &beyond, pattern, aliases[a].name, config->n_layers))) found.site = aliases[a].site;
    if (!hit && beyond >= 0)
        return qk_fail(err, QK_E_ARGUMENT, "site \"%s\": layer %d, the model has layers 0 to %d", pattern, beyond,
                       config->n_layers - 1);
    if (!hit) return qk_fail(err, QK_E_ARGUMENT, "site \"%s\" is unknown: `qkscope hooks` lists all", pattern);
    if (!qk_site_exists(config, found.site))
        return qk_fail(err, QK_E_ARGUMENT, "site \"%s\": a %s model (%s) has no such norm", pattern, config->model_type,
                       config->attention_type);
    *out = found;
    return QK_OK;
}
