/* tokenizer_json_steps.c - tokenizer.json: normalizer, pre-tokenizer, decoder, post-processor.  Each is an object with
 * a "type", or null; a Sequence holds a list of them.  What has no row in a table is refused by name. */
#include <string.h>
#include <utf8proc.h>

#include "text/tokenizer_json.h"

#define MAX_DEPTH 8 /* of sequences in sequences */
#define GPT2_SPLIT "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

typedef struct reader { qk_tokenizer *tokenizer; qk_steps *steps; qk_error *err; } reader;
typedef struct step_row {
    const char *type;
    qk_status (*read)(reader *r, const json_t *node, const struct step_row *row);
    qk_status (*apply)(qk_work *work, const qk_step *step); /* for read_simple and read_form */
    int form;
    const char *pattern; /* for read_pattern */
} step_row;
typedef struct section { const char *name, *list; const step_row *rows; size_t n; } section;

static qk_status read_node(reader *r, const section *table, const json_t *node, int depth)
{
    const char *type = json_string_value(json_object_get(node, "type"));
    if (!node || json_is_null(node)) return QK_OK;
    if (!type) return qk_fail(r->err, QK_E_FORMAT, "%s: expected an object with a type", table->name);
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(node, table->list);
        qk_status status = QK_OK;
        if (!json_is_array(list))
            return qk_fail(r->err, QK_E_FORMAT, "%s Sequence: expected a list %s", table->name, table->list);
        if (depth == MAX_DEPTH)
            return qk_fail(r->err, QK_E_UNSUPPORTED, "%s: sequences %d deep are not supported", table->name, depth + 1);
        for (size_t i = 0; !status && i < json_array_size(list); i++)
            status = read_node(r, table, json_array_get(list, i), depth + 1);
        return status;
    }
    for (size_t i = 0; i < table->n; i++) {
        if (strcmp(table->rows[i].type, type) != 0) continue;
        qk_status status = table->rows[i].read(r, node, &table->rows[i]);
        return status ? qk_prefix(r->err, status, "%s %s", table->name, type) : QK_OK;
    }
    return qk_fail(r->err, QK_E_UNSUPPORTED, "%s %.80s is not supported", table->name, type);
}

/* ---- what the rows share */

static qk_status copy_text(const char **out, size_t *n_bytes, reader *r, const json_t *node, const char *key)
{
    const json_t *text = json_object_get(node, key);
    if (!json_is_string(text)) return qk_fail(r->err, QK_E_FORMAT, "%s: expected a string", key);
    *n_bytes = json_string_length(text);
    *out = qk_arena_copy(&r->tokenizer->arena, json_string_value(text), *n_bytes);
    return *out ? QK_OK : qk_out_of_memory(r->err, key, *n_bytes);
}

/* {"String": "..."} or {"Regex": "..."} */
static qk_status copy_pattern(qk_step *step, reader *r, const json_t *node)
{
    const json_t *pattern = json_object_get(node, "pattern"), *regex = json_object_get(pattern, "Regex");
    if (json_is_string(regex))
        return qk_regex_new(&step->regex, json_string_value(regex), json_string_length(regex), r->err);
    qk_status status = copy_text(&step->pattern, &step->n_pattern, r, pattern, "String");
    if (!status && step->n_pattern == 0)
        status = qk_fail(r->err, QK_E_UNSUPPORTED, "an empty pattern is not supported");
    return status;
}

static qk_status get_flag(bool *out, reader *r, const json_t *node, const char *key, bool otherwise)
{
    const json_t *flag = json_object_get(node, key);
    *out = otherwise;
    if (!flag || json_is_null(flag)) return QK_OK;
    if (!json_is_boolean(flag)) return qk_fail(r->err, QK_E_FORMAT, "%s: expected true or false", key);
    *out = json_is_true(flag);
    return QK_OK;
}

static qk_status get_behavior(qk_behavior *out, reader *r, const json_t *node)
{
    static const char *const names[] = { [QK_REMOVED] = "Removed",
                                         [QK_ISOLATED] = "Isolated",
                                         [QK_CONTIGUOUS] = "Contiguous",
                                         [QK_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                         [QK_MERGED_WITH_NEXT] = "MergedWithNext" };
    const char *name = json_string_value(json_object_get(node, "behavior"));
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) return *out = (qk_behavior)i, QK_OK;
    return qk_fail(r->err, QK_E_UNSUPPORTED, "behavior %.80s is not supported", name ? name : "(none)");
}

static qk_status add_split(reader *r, const char *pattern, qk_behavior behavior)
{
    qk_step step = { .apply = qk_step_split, .behavior = behavior };
    qk_status status = qk_regex_new(&step.regex, pattern, strlen(pattern), r->err);
    return status ? status : qk_steps_add(r->steps, step, r->err);
}

static qk_status read_simple(reader *r, const json_t *node, const step_row *row)
{
    (void)node;
    return qk_steps_add(r->steps, (qk_step){ .apply = row->apply, .form = row->form }, r->err);
}

static qk_status read_replace(reader *r, const json_t *node, const step_row *row)
{
    (void)row;
    qk_step step = { .apply = qk_step_replace };
    qk_status status = copy_text(&step.content, &step.n_content, r, node, "content");
    if (!status) status = copy_pattern(&step, r, node);
    return status ? status : qk_steps_add(r->steps, step, r->err);
}

static qk_status get_metaspace(qk_step *step, reader *r, const json_t *node)
{
    static const char *const schemes[] = { [QK_PREPEND_ALWAYS] = "always",
                                           [QK_PREPEND_FIRST] = "first",
                                           [QK_PREPEND_NEVER] = "never" };
    const char *scheme = json_string_value(json_object_get(node, "prepend_scheme"));
    bool prefix, known = !scheme;
    qk_status status = copy_text(&step->content, &step->n_content, r, node, "replacement");
    if (!status && (step->n_content == 0 ||
                    (size_t)qk_utf8_length((const uint8_t *)step->content, step->n_content) != step->n_content))
        status = qk_fail(r->err, QK_E_FORMAT, "replacement: expected one character");
    if (!status) status = get_flag(&prefix, r, node, "add_prefix_space", true); /* before there were schemes */
    if (!status) status = get_flag(&step->split, r, node, "split", true);
    if (status) return status;
    step->prepend = prefix ? QK_PREPEND_ALWAYS : QK_PREPEND_NEVER;
    for (size_t i = 0; scheme && i < 3; i++)
        if (strcmp(schemes[i], scheme) == 0) step->prepend = (qk_prepend)i, known = true;
    if (!known) return qk_fail(r->err, QK_E_UNSUPPORTED, "prepend_scheme %.80s is not supported", scheme);
    if (!prefix && step->prepend != QK_PREPEND_NEVER)
        return qk_fail(r->err, QK_E_FORMAT, "add_prefix_space is false, prepend_scheme %s", scheme);
    return QK_OK;
}

static qk_status read_metaspace(reader *r, const json_t *node, const step_row *row)
{
    qk_step step = { .apply = row->apply };
    qk_status status = get_metaspace(&step, r, node);
    return status ? status : qk_steps_add(r->steps, step, r->err);
}

/* ---- normalizers */

static qk_status read_prepend(reader *r, const json_t *node, const step_row *row)
{
    qk_step step = { .apply = row->apply };
    qk_status status = copy_text(&step.content, &step.n_content, r, node, "prepend");
    return status ? status : qk_steps_add(r->steps, step, r->err);
}

static const step_row normalizers[] = {
    { "Prepend", read_prepend, qk_step_prepend },
    { "Replace", read_replace },
    { "NFC", read_simple, qk_step_unicode_form, UTF8PROC_STABLE | UTF8PROC_COMPOSE },
    { "NFD", read_simple, qk_step_unicode_form, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE },
    { "NFKC", read_simple, qk_step_unicode_form, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT },
    { "NFKD", read_simple, qk_step_unicode_form, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT },
};

qk_status qk_read_json_normalizer(qk_tokenizer *t, const json_t *node, qk_error *err)
{
    static const section all = { "normalizer", "normalizers", normalizers, sizeof normalizers / sizeof *normalizers };
    return read_node(&(reader){ t, &t->normalizers, err }, &all, node, 0);
}

/* ---- pre-tokenizers */

static qk_status read_byte_level(reader *r, const json_t *node, const step_row *row)
{
    bool prefix, regex;
    qk_status status = get_flag(&prefix, r, node, "add_prefix_space", true);
    if (!status) status = get_flag(&regex, r, node, "use_regex", true);
    if (!status && prefix) status = qk_steps_add(r->steps, (qk_step){ .apply = qk_step_prefix_space }, r->err);
    if (!status && regex) status = add_split(r, GPT2_SPLIT, QK_ISOLATED);
    return status ? status : read_simple(r, node, row);
}

static qk_status read_split(reader *r, const json_t *node, const step_row *row)
{
    qk_step step = { .apply = row->apply };
    qk_status status = get_behavior(&step.behavior, r, node);
    if (!status) status = get_flag(&step.invert, r, node, "invert", false);
    if (!status) status = copy_pattern(&step, r, node);
    return status ? status : qk_steps_add(r->steps, step, r->err);
}

static qk_status read_digits(reader *r, const json_t *node, const step_row *row)
{
    bool single;
    qk_status status = get_flag(&single, r, node, "individual_digits", false);
    return status ? status : add_split(r, row->pattern, single ? QK_ISOLATED : QK_CONTIGUOUS);
}

static qk_status read_punctuation(reader *r, const json_t *node, const step_row *row)
{
    qk_behavior behavior = QK_ISOLATED;
    qk_status status = json_object_get(node, "behavior") ? get_behavior(&behavior, r, node) : QK_OK;
    return status ? status : add_split(r, row->pattern, behavior);
}

static qk_status read_white_space(reader *r, const json_t *node, const step_row *row)
{
    (void)node;
    return add_split(r, row->pattern, QK_REMOVED);
}

static const step_row pre_tokenizers[] = {
    { "Metaspace", read_metaspace, qk_step_metaspace },
    { "ByteLevel", read_byte_level, qk_step_byte_level },
    { "Split", read_split, qk_step_split },
    { "Digits", read_digits, .pattern = "\\p{N}" },
    { "Punctuation", read_punctuation, .pattern = "[\\p{P}!-/:-@\\[-`{-~]" },
    { "WhitespaceSplit", read_white_space, .pattern = "\\s" },
};

qk_status qk_read_json_pre_tokenizer(qk_tokenizer *t, const json_t *node, qk_error *err)
{
    static const section all = { "pre_tokenizer", "pretokenizers", pre_tokenizers,
                                 sizeof pre_tokenizers / sizeof *pre_tokenizers };
    return read_node(&(reader){ t, &t->pre_tokenizers, err }, &all, node, 0);
}

/* ---- decoders */

static qk_status read_strip(reader *r, const json_t *node, const step_row *row)
{
    qk_step step = { .apply = row->apply };
    const json_t *start = json_object_get(node, "start"), *stop = json_object_get(node, "stop");
    qk_status status = copy_text(&step.content, &step.n_content, r, node, "content");
    if (!status && (!json_is_integer(start) || !json_is_integer(stop) || json_integer_value(start) < 0 ||
                    json_integer_value(stop) < 0))
        status = qk_fail(r->err, QK_E_FORMAT, "expected start and stop, found no such numbers");
    if (!status && step.n_content == 0) status = qk_fail(r->err, QK_E_FORMAT, "content: expected one character");
    step.from_start = (size_t)json_integer_value(start);
    step.from_stop = (size_t)json_integer_value(stop);
    return status ? status : qk_steps_add(r->steps, step, r->err);
}

static const step_row decoders[] = {
    { "ByteLevel", read_simple, qk_step_decode_byte_level },
    { "ByteFallback", read_simple, qk_step_decode_byte_fallback },
    { "Fuse", read_simple, qk_step_decode_fuse },
    { "Metaspace", read_metaspace, qk_step_decode_metaspace },
    { "Replace", read_replace },
    { "Strip", read_strip, qk_step_decode_strip },
};

qk_status qk_read_json_decoder(qk_tokenizer *t, const json_t *node, qk_error *err)
{
    static const section all = { "decoder", "decoders", decoders, sizeof decoders / sizeof *decoders };
    t->joins_with_spaces = !node || json_is_null(node);
    return read_node(&(reader){ t, &t->decoders, err }, &all, node, 0);
}

/* ---- post-processors */

/* The ids that the template's special token stands for, appended to ids[n]. */
static qk_status expand(int32_t *ids, size_t *n, size_t capacity, reader *r, const json_t *node, const char *name)
{
    const json_t *list = json_object_get(json_object_get(json_object_get(node, "special_tokens"), name), "ids");
    if (!json_is_array(list)) return qk_fail(r->err, QK_E_FORMAT, "special token \"%.80s\": expected its ids", name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        size_t n_bytes;
        if (!json_is_integer(id) || !qk_vocabulary_text(&n_bytes, &r->tokenizer->vocabulary, json_integer_value(id)))
            return qk_fail(r->err, QK_E_FORMAT, "special token \"%.80s\": expected ids of the vocabulary", name);
        if (*n == capacity)
            return qk_fail(r->err, QK_E_UNSUPPORTED, "more than %zu tokens around a text are not supported", capacity);
        ids[(*n)++] = (int32_t)json_integer_value(id);
    }
    return QK_OK;
}

static qk_status read_template(reader *r, const json_t *node, const step_row *row)
{
    (void)row;
    const json_t *single = json_object_get(node, "single");
    int32_t ids[2][16];
    size_t n[2] = { 0 }, side = 0;
    qk_status status = QK_OK;
    if (!json_is_array(single)) return qk_fail(r->err, QK_E_FORMAT, "single: expected a list");
    if (r->tokenizer->has_template)
        return qk_fail(r->err, QK_E_UNSUPPORTED, "two templates, one after the other, are not supported");
    for (size_t i = 0; !status && i < json_array_size(single); i++) {
        const json_t *part = json_array_get(single, i);
        const char *special = json_string_value(json_object_get(json_object_get(part, "SpecialToken"), "id"));
        const char *sequence = json_string_value(json_object_get(json_object_get(part, "Sequence"), "id"));
        if (special) status = expand(ids[side], &n[side], 16, r, node, special);
        else if (sequence && strcmp(sequence, "A") == 0 && side == 0) side = 1;
        else
            status = qk_fail(r->err, QK_E_UNSUPPORTED,
                             "single: expected special tokens around one sequence A, found something else at %zu", i);
    }
    if (!status && side == 0) status = qk_fail(r->err, QK_E_FORMAT, "single: expected a sequence A, found none");
    if (!status) status = qk_tokenizer_surround(r->tokenizer, true, ids[0], n[0], r->err);
    if (!status) status = qk_tokenizer_surround(r->tokenizer, false, ids[1], n[1], r->err);
    r->tokenizer->has_template = n[0] + n[1] > 0;
    if (n[0]) r->tokenizer->info.bos = ids[0][0];
    if (n[1]) r->tokenizer->info.eos = ids[1][n[1] - 1];
    return status;
}

static qk_status read_nothing(reader *r, const json_t *node, const step_row *row)
{
    (void)r, (void)node, (void)row; /* ByteLevel only trims offsets, which nobody asks for */
    return QK_OK;
}

static const step_row post_processors[] = { { "TemplateProcessing", read_template }, { "ByteLevel", read_nothing } };

qk_status qk_read_json_post_processor(qk_tokenizer *t, const json_t *node, qk_error *err)
{
    static const section all = { "post_processor", "processors", post_processors,
                                 sizeof post_processors / sizeof *post_processors };
    return read_node(&(reader){ t, NULL, err }, &all, node, 0);
}
