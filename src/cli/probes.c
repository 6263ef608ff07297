/* probes.c - the generated questions of `tasks --probes`, as JSON lines to look at. */
#include <stdlib.h>
#include <string.h>

#include "cli/probing.h"
#include "cli/tokenizer_source.h"
#include "cli/verbs.h"

enum { USUAL_LIMIT = 200 };

static json_t *texts(const char *const *items, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_string(items[i]));
    return list;
}

static qk_status print_sample(void *user, const qk_probe_sample *sample, qk_error *err)
{
    (void)user;
    json_t *row = json_object();
    json_object_set_new(row, "id", json_string(sample->id));
    json_object_set_new(row, "category", json_string(sample->category));
    json_object_set_new(row, "kind", json_string("contextual"));
    json_object_set_new(row, "prompt", json_string(sample->prompt));
    json_object_set_new(row, "answer", json_string(sample->answer));
    if (sample->n_choices) json_object_set_new(row, "choices", texts(sample->choices, sample->n_choices));
    if (sample->n_expected) json_object_set_new(row, "expected", texts(sample->expected, sample->n_expected));
    json_object_set_new(row, "scoring", json_string(qk_scoring_name(sample->scoring)));
    json_object_set_new(row, "retrieval", json_boolean(sample->retrieval));
    if (sample->max_new) json_object_set_new(row, "max_new_tokens", json_integer((json_int_t)sample->max_new));
    if (sample->max_new) json_object_set_new(row, "over_lines", json_true());
    json_object_set_new(row, "probe", json_string(qk_probe_kind_name(sample->kind)));
    json_object_set_new(row, "depth", json_real(sample->depth / (double)QK_DEPTH_END));
    json_object_set_new(row, "key_length", json_integer((json_int_t)sample->key_length));
    json_object_set_new(row, "tokens", json_integer((json_int_t)sample->tokens));
    bool ok = row && json_dumpf(row, stdout, JSON_COMPACT | JSON_REAL_PRECISION(4)) == 0 && putchar('\n') != EOF;
    json_decref(row);
    if (ok) return QK_OK;
    return ferror(stdout) ? qk_fail(err, QK_E_IO, "standard output: a line could not be written")
                          : qk_out_of_memory(err, "a question", strlen(sample->prompt));
}

static qk_status run_probes(cli_command *command, qk_error *err)
{
    const cli_options *options = &command->options;
    const char *path = command->arguments.n ? command->arguments.items[0] : NULL;
    qk_probes_settings settings;
    cli_tokenizer source = { 0 };
    cli_token_count count;
    qk_status status = cli_probes_settings(&settings, command, err);
    if (status) return status;
    if (!options->given[OPTION_PROBES]) settings.kinds = CLI_ALL_PROBES;
    settings.seed = options->probe_seed;
    settings.per_category = options->given[OPTION_LIMIT] ? options->limit : USUAL_LIMIT;
    if (path) status = cli_open_tokenizer(&source, command, path, err);
    if (path && !status) {
        const qk_tokenizer *tokenizers[] = { source.tokenizer };
        status = cli_count_tokens_of(&settings.counter, &count, command, tokenizers, 1, err);
    }
    if (!status) status = qk_probes_each(&settings, print_sample, NULL, err);
    cli_close_tokenizer(&source);
    return status;
}

static const cli_option_id probes_options[] = {
    OPTIONS_PROBES, OPTION_PROBE_SEED, OPTION_LIMIT, OPTION_NO_BOS, OPTION_CACHE_DIR, OPTIONS_TALK, OPTION_END,
};

const cli_verb verb_probes = {
    .name = "probes",
    .run = run_probes,
    .arguments = "[MODEL]",
    .max_arguments = 1,
    .options = probes_options,
    .line = "Write the generated questions of tasks --probes as JSON lines",
    .details =
        "Pass keys, needles in a haystack, and exact keys against near misses, hidden in text about nothing. "
        "--probe-seed chooses keys and text, the same on every machine. Lengths are counted by the tokenizer of MODEL "
        "(or a lone tokenizer file); without one they count words. Without --probes all kinds but Jin's are written, "
        "without --limit 200 of each category.",
    .examples = "  qkscope probes models/world-rope --probes passkey --probe-tokens 128,256 --limit 3\n"
                "  qkscope probes org/name --probes jin > jin.jsonl\n"
                "  qkscope probes models/tiny --probes ruler --probe-tokens 4096 --depths 0,0.5,1 > needles.jsonl\n"
                "  qkscope probes --probes verify,rank --key-length 5,12 --key-alphabet mixed --limit 1",
};
