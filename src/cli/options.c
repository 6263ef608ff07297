/* options.c - the one table of options, and the parser that reads argv by it.  An option means the same in every verb;
 * each verb lists which it takes. */
#include "cli/cli.h"

#include <argp.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { KIND_FLAG, KIND_TEXT, KIND_LIST, KIND_COUNT, KIND_NUMBER, KIND_BYTES, KIND_CHOICE, KIND_SET } kind;

typedef struct option_row {
    const char *name, *argument; /* argument: NULL for flags */
    char letter;                 /* 0 = none */
    kind kind;
    size_t offset; /* of the field of cli_options */
    const cli_choice *choices;
    double min, max; /* COUNT (max 0 = any), NUMBER */
    bool matters;    /* numbers depend on it: part of the settings of a run */
    const char *doc;
    const char *aliases[2];
} option_row;

static const cli_choice precisions[] = {
    { "auto", QK_PRECISION_AUTO },
    { "f32", QK_PRECISION_F32 },
    { "bf16", QK_PRECISION_BF16 },
    { NULL, 0 },
};
static const cli_choice criteria[] = {
    { "layer-mean", QK_CRITERION_LAYER_MEAN }, { "head-mean", QK_CRITERION_HEAD_MEAN }, { "top-k", QK_CRITERION_TOP_K },
    { "africa", QK_CRITERION_LAYER_MEAN },     { "jin", QK_CRITERION_TOP_K },           { NULL, 0 },
};
static const cli_choice sites[] = { { "pre", SITE_PRE }, { "post", SITE_POST }, { NULL, 0 } };
static const cli_choice presets[] = { { "africa", QK_PRESET_AFRICA }, { "jin", QK_PRESET_JIN }, { NULL, 0 } };
static const cli_choice protocols[] = {
    { "hf", QK_PPL_HF },
    { "strided", QK_PPL_STRIDED },
    { "llama.cpp", QK_PPL_LLAMA_CPP },
    { NULL, 0 },
};
static const cli_choice ops[] = {
    { "zero", OP_ZERO }, { "mean", OP_MEAN }, { "set_zero", OP_ZERO }, { "set_mean", OP_MEAN }, { NULL, 0 },
};
static const cli_choice controls[] = {
    { "excluding", QK_CONTROL_EXCLUDING },
    { "uniform", QK_CONTROL_UNIFORM },
    { "same-head", QK_CONTROL_SAME_HEAD },
    { NULL, 0 },
};
static const cli_choice figure_formats[] = { { "png", FIGURE_PNG }, { "pdf", FIGURE_PDF }, { NULL, 0 } };
static const cli_choice tensors[] = {
    { "q", 1 << QK_TENSOR_Q },
    { "k", 1 << QK_TENSOR_K },
    { "v", 1 << QK_TENSOR_V },
    { NULL, 0 },
};

#define MATTERS .matters = true,
#define FLAG(field) .kind = KIND_FLAG, .offset = offsetof(cli_options, field)
#define TEXT(field) .kind = KIND_TEXT, .offset = offsetof(cli_options, field)
#define LIST(field) .kind = KIND_LIST, .offset = offsetof(cli_options, field)
#define BYTES(field) .kind = KIND_BYTES, .offset = offsetof(cli_options, field)
#define COUNT(field, low, high) .kind = KIND_COUNT, .offset = offsetof(cli_options, field), .min = (low), .max = (high)
#define NUMBER(field, low, high)                                                                                       \
    .kind = KIND_NUMBER, .offset = offsetof(cli_options, field), .min = (low), .max = (high)
#define CHOICE(field, rows) .kind = KIND_CHOICE, .offset = offsetof(cli_options, field), .choices = (rows)
#define SET(field, rows) .kind = KIND_SET, .offset = offsetof(cli_options, field), .choices = (rows)

static const option_row table[N_OPTIONS] = {
    [OPTION_HELP] = { "help", NULL, 'h', FLAG(help), .doc = "print this help" },
    [OPTION_VERSION] = { "version", NULL, 'V', FLAG(version), .doc = "print the version" },
    [OPTION_OUTPUT] = { "output", "PATH", 'o', TEXT(output), .doc = "where the result goes (a study: its run folder)" },
    [OPTION_JSON] = { "json", NULL, 0, FLAG(json), .doc = "print the results object on stdout and nothing else there" },
    [OPTION_NO_RUN] = { "no-run", NULL, 0, FLAG(no_run), .doc = "leave no run folder" },
    [OPTION_FIGURES] = { "figures", "LIST", 0, SET(figures, figure_formats), .doc = "png,pdf: beside the SVG figures" },
    [OPTION_RESUME] = { "resume", NULL, 0, FLAG(resume), .doc = "continue the interrupted run in the folder of -o" },
    [OPTION_DRY_RUN] = { "dry-run", NULL, 0, FLAG(dry_run), .doc = "print what it would take and do no work" },
    [OPTION_QUIET] = { "quiet", NULL, 'q', FLAG(quiet), .doc = "no progress, no notes" },
    [OPTION_VERBOSE] = { "verbose", NULL, 'v', FLAG(verbose), .doc = "say more" },
    [OPTION_CONTEXT] = { "context", "N", 'c', MATTERS COUNT(context, 2, 1 << 30), .aliases = { "ctx-size" },
                         .doc = "cut documents to N tokens" },
    [OPTION_NO_BOS] = { "no-bos", NULL, 0, MATTERS FLAG(no_bos), .doc = "no beginning-of-sequence token" },
    [OPTION_THREADS] = { "threads", "N", 't', COUNT(threads, 1, 4096), .doc = "threads (as OpenMP says)" },
    [OPTION_MAX_MEM] = { "max-mem", "SIZE", 0, BYTES(max_mem), .doc = "work within SIZE bytes (8G, 512M), or exit 4" },
    [OPTION_PRECISION] = { "precision", "P", 0, MATTERS CHOICE(precision, precisions),
                           .doc = "auto, f32 or bf16 (auto)" },
    [OPTION_REFERENCE] = { "reference", NULL, 0, MATTERS FLAG(reference),
                           .doc = "the plain kernels instead of the fast ones" },
    [OPTION_CACHE_DIR] = { "cache-dir", "DIR", 0, TEXT(cache_dir),
                           .doc = "Hugging Face cache to find org/name in ($HF_HUB_CACHE, $HF_HOME/hub, ...)" },
    [OPTION_TEXTS] = { "texts", "PATH", 0, LIST(texts),
                       .doc = "documents: .txt, .jsonl or a folder; repeatable (built-in set)" },
    [OPTION_SPLIT] = { "split", "STRING", 0, TEXT(split),
                       .doc = "a .txt holds many documents with STRING between them" },
    [OPTION_LIMIT] = { "limit", "N", 'L', COUNT(limit, 1, 0), .doc = "at most N documents" },
    [OPTION_CALIB] = { "calib", "PATH", 0, LIST(calib), .doc = "documents that the masks are found on; repeatable" },
    [OPTION_FILE] = { "file", "PATH", 'f', TEXT(file), .doc = "read the text from a file" },
    [OPTION_DECODE] = { "decode", "IDS", 0, TEXT(decode), .doc = "print the text of token ids such as 1,403,407" },
    [OPTION_PROTOCOL] = { "protocol", "P", 0, MATTERS CHOICE(protocol, protocols), .aliases = { "ppl-mode" },
                          .doc = "hf, strided or llama.cpp (hf)" },
    [OPTION_STRIDE] = { "stride", "N", 0, MATTERS COUNT(stride, 1, 1 << 30), .aliases = { "ppl-stride" },
                        .doc = "strided: tokens that the window moves (half of -c)" },
    [OPTION_PER_TOKEN] = { "per-token", NULL, 0, FLAG(per_token), .doc = "the loss of every token too" },
    [OPTION_HOOKS] = { "hooks", "LIST", 0, LIST(hooks),
                       .doc = "sites such as 'blocks.*.attn.hook_q,rot_k6'; repeatable" },
    [OPTION_TOLERANCE] = { "tolerance", "X", 0, NUMBER(tolerance, 0, 1e9),
                           .doc = "largest relative error of a site (2e-5)" },
    [OPTION_LAMBDA] = { "lambda", "X", 0, MATTERS NUMBER(lambda, 1e-9, 1e9),
                        .doc = "massive: norm above X times the mean (5)" },
    [OPTION_CRITERION] = { "criterion", "C", 0, MATTERS CHOICE(criterion, criteria),
                           .doc = "layer-mean (africa), head-mean or top-k (jin) (layer-mean)" },
    [OPTION_SITE] = { "site", "S", 0, MATTERS CHOICE(site, sites),
                      .doc = "pre or post: before or after the rotation (pre)" },
    [OPTION_PRESET] = { "preset", "NAME", 0, MATTERS CHOICE(preset, presets), .aliases = { "compat" },
                        .doc = "africa or jin: as the published experiment did it" },
    [OPTION_CAPTURED] = { "captured", "q=FILE", 0, LIST(captured),
                          .doc = "q, k or v captured elsewhere, .npy or FILE.safetensors[:TENSOR]; repeatable" },
    [OPTION_OP] = { "op", "OP", 0, MATTERS CHOICE(op, ops), .aliases = { "reset-type" },
                    .doc = "zero or mean: what replaces a dim (zero)" },
    [OPTION_TENSORS] = { "tensors", "LIST", 0, MATTERS SET(tensors, tensors),
                         .doc = "which of q,k,v are edited (q,k)" },
    [OPTION_LAYERS] = { "layers", "LIST", 0, MATTERS TEXT(layers),
                        .doc = "layers that are edited, such as 0-3,7 (all)" },
    [OPTION_CONTROL] = { "control", "C", 0, MATTERS CHOICE(control, controls),
                         .doc = "random dims: excluding massive ones, uniform, or same-head (excluding)" },
    [OPTION_SEEDS] = { "seeds", "N", 0, MATTERS COUNT(seeds, 1, 10000), .doc = "how many random controls (10)" },
    [OPTION_SEED] = { "seed", "N", 's', MATTERS COUNT(seed, 0, 1e18), .doc = "seed of the first control (42)" },
    [OPTION_TOP_K] = { "top-k", "K", 0, MATTERS COUNT(top_k, 1, 1 << 20), .doc = "criterion top-k: dims a head (1)" },
    [OPTION_BOOTSTRAP] = { "bootstrap", "N", 0, MATTERS COUNT(bootstrap, 100, 10000000),
                           .doc = "bootstrap draws (10000)" },
};

static const cli_options defaults = {
    .lambda = 5,
    .tolerance = 2e-5,
    .seeds = 10,
    .seed = 42,
    .top_k = 1,
    .bootstrap = 10000,
    .tensors = 1 << QK_TENSOR_Q | 1 << QK_TENSOR_K,
    .precision = QK_PRECISION_AUTO,
    .criterion = QK_CRITERION_LAYER_MEAN,
    .control = QK_CONTROL_EXCLUDING,
    .preset = QK_PRESET_NONE,
};

/* ---- reading one value */

static qk_status choose(int *out, const cli_choice *choices, const char *what, const char *text, qk_error *err)
{
    char known[200] = "";
    for (const cli_choice *row = choices; row->name; row++) {
        if (strcmp(row->name, text) == 0) {
            *out = row->value;
            return QK_OK;
        }
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", row->name);
    }
    return qk_fail(err, QK_E_ARGUMENT, "%s: expected one of %s, found '%s'", what, known, text);
}

static qk_status choose_set(int *out, const cli_choice *choices, const char *what, const char *text, qk_arena *arena,
                            qk_error *err)
{
    cli_list names;
    qk_status status = cli_split_list(&names, arena, what, text, err);
    int set = 0;
    for (size_t i = 0; i < names.n && !status; i++) {
        int bit = 0;
        status = choose(&bit, choices, what, names.items[i], err);
        set |= bit;
    }
    if (!status) *out = set;
    return status;
}

static qk_status append(cli_list *list, const char *text, cli_command *command, qk_error *err)
{
    size_t capacity = (size_t)command->argc;
    if (!list->items) list->items = qk_arena_alloc(&command->arena, (capacity + 1) * sizeof *list->items);
    if (!list->items) return qk_out_of_memory(err, "arguments", capacity * sizeof *list->items);
    list->items[list->n++] = text;
    return QK_OK;
}

static qk_status set_option(cli_command *command, cli_option_id id, const char *text, qk_error *err)
{
    const option_row *row = &table[id];
    void *field = (char *)&command->options + row->offset;
    char what[32];
    snprintf(what, sizeof what, "--%s", row->name);
    command->options.given[id] = true;
    if (row->argument && row->kind != KIND_LIST && *text == '\0')
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected %s, found ''", what, row->argument);
    switch (row->kind) {
    case KIND_FLAG: *(bool *)field = true; return QK_OK;
    case KIND_TEXT: *(const char **)field = text; return QK_OK;
    case KIND_LIST: return append(field, text, command, err);
    case KIND_COUNT:
        return cli_parse_count(field, what, text, (uint64_t)row->min, row->max > 0 ? (uint64_t)row->max : UINT64_MAX,
                               err);
    case KIND_NUMBER: return cli_parse_number(field, what, text, row->min, row->max, err);
    case KIND_BYTES: return cli_parse_bytes(field, what, text, err);
    case KIND_CHOICE: return choose(field, row->choices, what, text, err);
    case KIND_SET: return choose_set(field, row->choices, what, text, &command->arena, err);
    }
    return QK_OK;
}

/* ---- argv */

enum { FIRST_VALUE = 1000, /* getopt_long's value of table row 0 */ MAX_LONG = 6 * N_OPTIONS };

typedef struct long_names {
    struct option rows[MAX_LONG + 1];
    char underscored[MAX_LONG][32];
    size_t n;
} long_names;

static void add_name(long_names *names, const char *name, int id)
{
    int argument = table[id].argument ? required_argument : no_argument;
    char *other = names->underscored[names->n];
    names->rows[names->n++] = (struct option){ name, argument, NULL, FIRST_VALUE + id };
    if (!strchr(name, '-')) return;
    snprintf(other, sizeof names->underscored[0], "%s", name);
    for (char *p = other; *p; p++) *p = *p == '-' ? '_' : *p;
    names->rows[names->n++] = (struct option){ other, argument, NULL, FIRST_VALUE + id };
}

static void list_names(long_names *names, char *letters)
{
    memset(names, 0, sizeof *names);
    *letters++ =
        '-'; /* positional words come as value 1, in order: options may stand anywhere, POSIXLY_CORRECT or not */
    *letters++ = ':'; /* a missing value comes as ':' */
    for (int id = 1; id < N_OPTIONS; id++) {
        add_name(names, table[id].name, id);
        for (int a = 0; a < 2 && table[id].aliases[a]; a++) add_name(names, table[id].aliases[a], id);
        if (table[id].letter) *letters++ = table[id].letter;
        if (table[id].letter && table[id].argument) *letters++ = ':';
    }
    *letters = '\0';
}

static int id_of_letter(int letter)
{
    for (int id = 1; id < N_OPTIONS; id++)
        if (table[id].letter == letter) return id;
    return OPTION_END;
}

static qk_status unknown_option(const char *word, const long_names *names, qk_error *err)
{
    const char *candidates[MAX_LONG];
    char name[64];
    if (strncmp(word, "--", 2) != 0) return qk_fail(err, QK_E_ARGUMENT, "%s: unknown option", word);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (size_t i = 0; i < names->n; i++) candidates[i] = names->rows[i].name;
    const char *near = cli_nearest(name, candidates, names->n);
    if (!near) return qk_fail(err, QK_E_ARGUMENT, "--%s: unknown option", name);
    return qk_fail(err, QK_E_ARGUMENT, "--%s: unknown option; the nearest known one is --%s", name, near);
}

/* What getopt_long complained about, in our words. */
static qk_status bad_option(int value, const char *word, const long_names *names, qk_error *err)
{
    char letter[3] = { '-', (char)optopt, '\0' };
    int id = optopt >= FIRST_VALUE ? optopt - FIRST_VALUE : id_of_letter(optopt);
    if (value == ':')
        return qk_fail(err, QK_E_ARGUMENT, "--%s: expected %s, found nothing", table[id].name, table[id].argument);
    if (optopt >= FIRST_VALUE)
        return qk_fail(err, QK_E_ARGUMENT, "--%s: takes no value, found '%s'", table[id].name, word);
    return unknown_option(optopt ? letter : word, names, err);
}

qk_status cli_parse_options(cli_command *command, qk_error *err)
{
    long_names names;
    char letters[2 * N_OPTIONS + 3];
    qk_status status = QK_OK;
    list_names(&names, letters);
    command->options = defaults;
    opterr = 0;
    while (!status) {
        int value = getopt_long(command->argc, command->argv, letters, names.rows, NULL);
        if (value == -1) break;
        if (value == '?' || value == ':')
            status = bad_option(value, command->argv[optind - 1], &names, err);
        else if (value == 1)
            status = append(&command->arguments, optarg, command, err);
        else
            status = set_option(command, value >= FIRST_VALUE ? value - FIRST_VALUE : id_of_letter(value), optarg, err);
    }
    for (int i = optind; i < command->argc && !status; i++)
        status = append(&command->arguments, command->argv[i], command, err);
    return status;
}

static bool takes(const cli_verb *verb, int id)
{
    if (id == OPTION_HELP || id == OPTION_VERSION) return true;
    for (const cli_option_id *o = verb->options; *o != OPTION_END; o++)
        if ((int)*o == id) return true;
    return false;
}

qk_status cli_check_options(const cli_command *command, const cli_verb *const *verbs, qk_error *err)
{
    for (int id = 1; id < N_OPTIONS; id++) {
        if (!command->options.given[id] || takes(command->verb, id)) continue;
        const cli_verb *const *other = verbs;
        while (*other && !takes(*other, id)) other++;
        return qk_fail(err, QK_E_ARGUMENT, "--%s: not an option of %s%s%s", table[id].name, command->verb->name,
                       *other ? ", but of " : "", *other ? (*other)->name : "");
    }
    return QK_OK;
}

/* ---- settings */

static json_t *set_json(const cli_choice *choices, int set)
{
    json_t *names = json_array();
    for (const cli_choice *row = choices; row->name; row++)
        if (set & row->value) json_array_append_new(names, json_string(row->name));
    return names;
}

static json_t *value_json(const cli_options *options, cli_option_id id)
{
    const option_row *row = &table[id];
    const void *field = (const char *)options + row->offset;
    const char *text;
    switch (row->kind) {
    case KIND_FLAG: return json_boolean(*(const bool *)field);
    case KIND_COUNT:
    case KIND_BYTES: return json_integer((json_int_t) * (const uint64_t *)field);
    case KIND_NUMBER: return json_real(*(const double *)field);
    case KIND_CHOICE: return json_string(cli_choice_name(id, *(const int *)field));
    case KIND_SET: return set_json(row->choices, *(const int *)field);
    case KIND_TEXT: text = *(const char *const *)field; return text ? json_string(text) : json_null();
    case KIND_LIST: break; /* paths: their contents are hashed instead */
    }
    return json_null();
}

json_t *cli_settings_json(const cli_command *command)
{
    json_t *settings = json_object();
    for (const cli_option_id *o = command->verb->options; settings && *o != OPTION_END; o++) {
        if (!table[*o].matters) continue;
        if (json_object_set_new(settings, table[*o].name, value_json(&command->options, *o)) == 0) continue;
        json_decref(settings);
        return NULL;
    }
    return settings;
}

/* ---- words about options */

const char *cli_option_name(cli_option_id option) { return table[option].name; }

const char *cli_choice_name(cli_option_id option, int value)
{
    const cli_choice *row = table[option].choices;
    while (row->name && row->value != value) row++;
    return row->name ? row->name : "none";
}

/* Edits that turn a into b: one letter more, less or another. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    size_t row[LONGEST + 1], n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST) return SIZE_MAX;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

const char *cli_nearest(const char *word, const char *const *candidates, size_t n)
{
    size_t best = strlen(word) / 2 + 1;
    const char *found = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, candidates[i]);
        if (d > best || (d == best && found)) continue;
        best = d;
        found = candidates[i];
    }
    return found;
}

void cli_print_help(const cli_command *command, const cli_verb *verb, FILE *stream)
{
    struct argp_option options[N_OPTIONS + 1] = { { 0 } };
    size_t n = 0;
    for (const cli_option_id *o = verb->options; *o != OPTION_END; o++)
        options[n++] =
            (struct argp_option){ table[*o].name,     table[*o].letter ? table[*o].letter : FIRST_VALUE + (int)*o,
                                  table[*o].argument, 0,
                                  table[*o].doc,      0 };
    options[n++] = (struct argp_option){ "help", 'h', NULL, 0, table[OPTION_HELP].doc, -1 };
    char *doc = NULL, *name = NULL;
    if (asprintf(&doc, "%s.%s%s\vExamples:\n%s", verb->line, verb->details ? "\n\n" : "",
                 verb->details ? verb->details : "", verb->examples) < 0)
        doc = NULL;
    if (asprintf(&name, "%s %s", command->program, verb->name) < 0) name = NULL;
    struct argp argp = { options, NULL, verb->arguments, doc };
    if (doc && name) argp_help(&argp, stream, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
    free(doc);
    free(name);
}
