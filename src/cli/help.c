/* help.c - what a verb takes, printed; and which known word a mistyped one may have meant. */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "cli/option_table.h"

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

static const char *const group_titles[] = {
    [GROUP_RESULT] = "Result:",     [GROUP_DOCUMENTS] = "Documents:", [GROUP_QUESTION] = "Question:",
    [GROUP_TRAINING] = "Training:",
    [GROUP_COMPUTE] = "Computing:", [GROUP_TALK] = "Talk:",
};

/* argp only prints here: a title and the options below it share a group number, which counts from 1. */
static struct argp_option option_line(cli_option_id id)
{
    const cli_option_row *row = &cli_option_table[id];
    int key = row->letter ? row->letter : 1000 + (int)id; /* above all characters */
    return (struct argp_option){ row->name, key, row->argument, 0, row->doc, (int)row->group + 1 };
}

static void list_options(struct argp_option *lines, const cli_verb *verb)
{
    bool titled[sizeof group_titles / sizeof *group_titles] = { false };
    size_t n = 0;
    for (const cli_option_id *o = verb->options; *o != OPTION_END; o++) {
        cli_option_group group = cli_option_table[*o].group;
        if (!titled[group]) lines[n++] = (struct argp_option){ .doc = group_titles[group], .group = (int)group + 1 };
        titled[group] = true;
        lines[n++] = option_line(*o);
    }
    lines[n] = option_line(OPTION_HELP);
    lines[n++].group = -1; /* where argp would put its own */
    lines[n] = (struct argp_option){ 0 };
}

void cli_print_help(const cli_command *command, const cli_verb *verb, FILE *stream)
{
    struct argp_option lines[N_OPTIONS + sizeof group_titles / sizeof *group_titles + 2];
    char *doc = NULL, *name = NULL;
    list_options(lines, verb);
    if (asprintf(&doc, "%s.%s%s\vExamples:\n%s", verb->line, verb->details ? "\n\n" : "",
                 verb->details ? verb->details : "", verb->examples) < 0)
        doc = NULL;
    if (asprintf(&name, "%s %s", command->program, verb->name) < 0) name = NULL;
    struct argp argp = { lines, NULL, verb->arguments, doc };
    setenv("ARGP_HELP_FMT", "rmargin=110,no-dup-args-note", 0); /* examples stay on one line, to be copied */
    if (doc && name) argp_help(&argp, stream, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
    free(doc);
    free(name);
}
