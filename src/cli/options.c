/* options.c - reads argv by the table of options, and says which settings were in force. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli/option_table.h"
#include "train/drope.h"

static const cli_options defaults = {
    .lambda = 5,
    .tolerance = 2e-5,
    .seeds = 10,
    .seed = 42,
    .world = 42,
    .top_k = 1,
    .bootstrap = 10000,
    .tensors = 1 << QK_TENSOR_Q | 1 << QK_TENSOR_K,
    .precision = QK_PRECISION_AUTO,
    .quantize = 1 << QK_QUANTIZE_NONE,
    .criterion = QK_CRITERION_LAYER_MEAN,
    .control = QK_CONTROL_EXCLUDING,
    .preset = QK_PRESET_NONE,
    .hold_out = 10,
    .valid_tokens = 65536,
    .batch = 16,
    .learning_rate = 1e-3,
    .min_lr = 0.1,
    .weight_decay = 0.1,
    .beta1 = 0.9,
    .beta2 = 0.95,
    .epsilon = 1e-8,
    .clip = 1,
    .init_std = 0.02,
    .save_every = 500,
    .valid_every = 250,
    .keep = 2,
    .track_documents = 16,
    .max_new_tokens = 100,
    .probe_seed = 42,
    .top_p = 1,
    .phase = QK_PHASE_ALL,
    .schedule = QK_SCHEDULE_COSINE,
    .gradual_law = QK_GRADUAL_LINEAR,
    .dtype = QK_DTYPE_F32,
    .streams = 1,
    .repetitions = 5,
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
    const cli_option_row *row = &cli_option_table[id];
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
    int argument = cli_option_table[id].argument ? required_argument : no_argument;
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
        add_name(names, cli_option_table[id].name, id);
        for (int a = 0; a < 2 && cli_option_table[id].aliases[a]; a++)
            add_name(names, cli_option_table[id].aliases[a], id);
        if (cli_option_table[id].letter) *letters++ = cli_option_table[id].letter;
        if (cli_option_table[id].letter && cli_option_table[id].argument) *letters++ = ':';
    }
    *letters = '\0';
}

static int id_of_letter(int letter)
{
    for (int id = 1; id < N_OPTIONS; id++)
        if (cli_option_table[id].letter == letter) return id;
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
        return qk_fail(err, QK_E_ARGUMENT, "--%s: expected %s, found nothing", cli_option_table[id].name,
                       cli_option_table[id].argument);
    if (optopt >= FIRST_VALUE)
        return qk_fail(err, QK_E_ARGUMENT, "--%s: takes no value, found '%s'", cli_option_table[id].name, word);
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
    const char *level = getenv("QKSCOPE_LEVEL");
    status = qk_level_find(&command->options.level, level && *level ? level : NULL, err);
    if (status) return qk_prefix(err, status, "QKSCOPE_LEVEL");
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
        return qk_fail(err, QK_E_ARGUMENT, "--%s: not an option of %s%s%s", cli_option_table[id].name,
                       command->verb->name, *other ? ", but of " : "", *other ? (*other)->name : "");
    }
    return QK_OK;
}

qk_status cli_check_preset(const cli_options *options, const cli_option_id *fixed, qk_error *err)
{
    for (; fixed && *fixed != OPTION_END; fixed++)
        if (options->given[*fixed])
            return qk_fail(err, QK_E_ARGUMENT, "--%s: fixed by --preset %s, expected none beside it",
                           cli_option_name(*fixed), cli_choice_name(OPTION_PRESET, options->preset));
    return QK_OK;
}

qk_status cli_check_top_k(const cli_options *options, qk_error *err)
{
    if (!options->given[OPTION_TOP_K] || options->criterion == QK_CRITERION_TOP_K) return QK_OK;
    return qk_fail(err, QK_E_ARGUMENT, "--top-k: expected --criterion top-k beside it, found %s",
                   cli_choice_name(OPTION_CRITERION, options->criterion));
}

/* ---- settings */

static json_t *set_json(const cli_choice *choices, int set)
{
    json_t *names = json_array();
    int named = 0; /* other names of the same, and of several together, stand behind */
    for (const cli_choice *row = choices; row->name; row++) {
        if ((set & row->value) != row->value || (named & row->value) == row->value) continue;
        json_array_append_new(names, json_string(row->name));
        named |= row->value;
    }
    return names;
}

static json_t *value_json(const cli_options *options, cli_option_id id)
{
    const cli_option_row *row = &cli_option_table[id];
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
        if (!cli_option_table[*o].matters) continue;
        if (json_object_set_new(settings, cli_option_table[*o].name, value_json(&command->options, *o)) == 0) continue;
        json_decref(settings);
        return NULL;
    }
    return settings;
}

/* ---- words about options */

const char *cli_option_name(cli_option_id option) { return cli_option_table[option].name; }

const char *cli_choice_name(cli_option_id option, int value)
{
    const cli_choice *row = cli_option_table[option].choices;
    while (row->name && row->value != value) row++;
    return row->name ? row->name : "none";
}
