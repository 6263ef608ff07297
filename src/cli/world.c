/* world.c - text about the invented world, and questions about it, as JSON lines. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"
#include "text/world.h"

typedef struct range {
    qk_split split;
    const char *part;
    uint64_t from, n;
    bool whole;
} range;

/* The bytes are ASCII: only what JSON asks for is escaped. */
static void print_text(const char *key, const char *text)
{
    printf(", \"%s\": \"", key);
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\"\\\n");
        fwrite(p, 1, n, stdout);
        p += n;
        if (*p) fputs(*p == '\n' ? "\\n" : *p == '"' ? "\\\"" : "\\\\", stdout);
        p += *p != '\0';
    }
    putchar('"');
}

typedef qk_status writes(qk_world_document *out, const qk_world *world, qk_split split, uint64_t index, qk_error *err);

/* `mark` stands in the ids, behind the part. */
static qk_status print_documents(const qk_world *world, const range *asked, writes *write, const char *mark,
                                 qk_error *err)
{
    qk_status status = QK_OK;
    for (uint64_t i = asked->from; i < asked->from + asked->n && !status && !ferror(stdout); i++) {
        qk_world_document document;
        status = write(&document, world, asked->split, i, err);
        if (status) break;
        printf("{\"id\": \"%s-%s%" PRIu64 "\", \"category\": \"%s\"", asked->part, mark, i, document.kind);
        print_text("text", document.text);
        puts("}");
        free(document.text);
    }
    return status;
}

static qk_status print_question(const qk_world *world, const range *asked, qk_question_kind kind, uint64_t i,
                                qk_error *err)
{
    qk_question question;
    qk_status status = qk_world_ask(&question, world, asked->split, kind, i, asked->whole, err);
    if (status) return status;
    size_t n = strlen(question.prompt) + strlen(question.answer) + 2;
    char *text = malloc(n);
    if (text) {
        snprintf(text, n, "%s %s", question.prompt, question.answer);
        printf("{\"id\": \"%s-%s-%" PRIu64 "\", \"category\": \"%s\", \"kind\": \"%s\"", asked->part,
               qk_question_category(kind), i, qk_question_category(kind),
               qk_question_is_contextual(kind) ? "contextual" : "parametric");
        print_text("prompt", question.prompt);
        print_text("answer", question.answer);
        print_text("text", text);
        puts("}");
    } else {
        status = qk_out_of_memory(err, "question", n);
    }
    free(text);
    free(question.prompt);
    free(question.answer);
    return status;
}

/* One of each asked category in turn: the first N are as even as they can be. */
static qk_status print_questions(const qk_world *world, const range *asked, int categories, qk_error *err)
{
    qk_question_kind kinds[QK_N_QUESTION_KINDS];
    size_t n_kinds = 0;
    qk_status status = QK_OK;
    for (int kind = 0; kind < QK_N_QUESTION_KINDS; kind++)
        if (categories >> kind & 1) kinds[n_kinds++] = (qk_question_kind)kind;
    for (uint64_t i = asked->from; i < asked->from + asked->n && !status && !ferror(stdout); i++)
        status = print_question(world, asked, kinds[i % n_kinds], i / n_kinds, err);
    return status;
}

static qk_status run_world(cli_command *command, qk_error *err)
{
    static const char *const parts[] = { "train", "validation", "test" };
    const cli_options *options = &command->options;
    const char *what = command->arguments.items[0];
    bool questions = strcmp(what, "questions") == 0, echoes = strcmp(what, "echoes") == 0;
    if (!questions && !echoes && strcmp(what, "documents") != 0)
        return qk_fail(err, QK_E_ARGUMENT, "world: expected documents, questions or echoes, found '%s'", what);
    if (!questions && options->categories)
        return qk_fail(err, QK_E_ARGUMENT, "--categories: expected with questions, found with %s", what);
    if (!questions && options->whole)
        return qk_fail(err, QK_E_ARGUMENT, "--whole: expected with questions, found with %s", what);
    range asked = { .split = (qk_split)options->part, .part = parts[options->part], .from = options->from };
    asked.whole = options->whole;
    asked.n = command->options.given[OPTION_LIMIT] ? options->limit : 100;
    if (asked.n > UINT64_MAX - asked.from)
        return qk_fail(err, QK_E_ARGUMENT, "--from: expected that %" PRIu64 " more can be counted, found %" PRIu64,
                       asked.n, asked.from);
    qk_world *world;
    qk_status status = qk_world_new(&world, options->seed, err);
    if (status) return status;
    int all = (1 << QK_N_QUESTION_KINDS) - 1;
    if (questions)
        status = print_questions(world, &asked, options->categories ? options->categories : all, err);
    else
        status = echoes ? print_documents(world, &asked, qk_world_write_echo, "echo-", err)
                        : print_documents(world, &asked, qk_world_write, "", err);
    qk_world_free(world);
    return status;
}

static const cli_option_id world_options[] = {
    OPTION_PART, OPTION_SEED, OPTION_FROM, OPTION_LIMIT, OPTION_CATEGORIES, OPTION_WHOLE, OPTIONS_TALK, OPTION_END,
};

const cli_verb verb_world = {
    .name = "world",
    .run = run_world,
    .arguments = "documents|questions|echoes",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = world_options,
    .line = "Write text about an invented world, or questions about it, as JSON lines",
    .details =
        "The facts of the world are fixed; --seed, --part and the number of a document choose its text, the same\n"
        "on every machine. Parts share the facts, but no number, pair or wording that a question hangs on.\n"
        "Echoes are short lists that are said again: training on them first teaches a model to look back.\n"
        "Without --limit it writes 100.",
    .examples = "  qkscope world documents --limit 1000 > train.jsonl\n"
                "  qkscope world questions --part test --categories fact,pass_key\n"
                "  qkscope world questions --whole --categories key_value --limit 20000 > lists.jsonl\n"
                "  qkscope world echoes --limit 30000 > echoes.jsonl\n"
                "  qkscope world documents --part validation --from 5000 --limit 10",
};
