/* main.c - the verbs, their help, and how the process ends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/verbs.h"

static qk_status run_help(cli_command *command, qk_error *err);

static const cli_option_id no_options[] = { OPTION_END };

static const cli_verb verb_help = {
    .name = "help",
    .run = run_help,
    .arguments = "[VERB]",
    .max_arguments = 1,
    .options = no_options,
    .line = "Say what a verb does and which options it takes",
    .examples = "  qkscope help massive",
};

/* In the order a newcomer would use them. */
static const cli_verb *const verbs[] = {
    &verb_info,    &verb_hooks,   &verb_tokenize, &verb_ppl,    &verb_capture, &verb_verify,
    &verb_massive, &verb_disrupt, &verb_tasks,    &verb_context, &verb_generate, &verb_report, &verb_world,
    &verb_probes,
    &verb_train,   &verb_recalibrate, &verb_bench, &verb_help, NULL,
};

static const int exit_codes[] = {
    [QK_OK] = 0,       [QK_E_ARGUMENT] = 2,      [QK_E_IO] = 1,
    [QK_E_FORMAT] = 1, [QK_E_UNSUPPORTED] = 1,   [QK_E_SHAPE] = 1,
    [QK_E_MEMORY] = 1, [QK_E_BUDGET] = 4,        [QK_E_NUMERIC] = 3,
    [QK_E_CHECK] = 3,  [QK_E_INTERRUPTED] = 130,
};

/* ---- help */

static void print_overview(FILE *stream)
{
    fputs("qkscope - a microscope for the queries and keys of a transformer\n\n"
          "Usage: qkscope VERB MODEL... [options]\n\nVerbs:\n",
          stream);
    for (const cli_verb *const *verb = verbs; *verb; verb++)
        fprintf(stream, "  %-11s %s\n", (*verb)->name, (*verb)->line);
    fputs(
        "\nMODEL is a Hugging Face folder, a .safetensors, .gguf or llama2.c .bin file, or org/name[@revision] in the\n"
        "local Hugging Face cache. Results go to stdout, progress and talk to stderr.\n"
        "`qkscope help VERB` shows its options and examples; `qkscope --version` the version.\n"
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check failed, 4 over --max-mem, 130 interrupted after "
        "saving.\n",
        stream);
}

static qk_status find_verb(const cli_verb **out, const char *name, qk_error *err)
{
    const char *names[sizeof verbs / sizeof *verbs];
    size_t n = 0;
    for (; verbs[n]; n++) {
        names[n] = verbs[n]->name;
        if (strcmp(names[n], name) != 0) continue;
        *out = verbs[n];
        return QK_OK;
    }
    const char *near = cli_nearest(name, names, n);
    if (near) return qk_fail(err, QK_E_ARGUMENT, "%s: unknown verb; the nearest known one is %s", name, near);
    return qk_fail(err, QK_E_ARGUMENT, "%s: unknown verb; `qkscope help` lists them", name);
}

static qk_status run_help(cli_command *command, qk_error *err)
{
    const cli_verb *verb = NULL;
    if (command->arguments.n == 0) {
        print_overview(stdout);
        return QK_OK;
    }
    qk_status status = find_verb(&verb, command->arguments.items[0], err);
    if (!status) cli_print_help(command, verb, stdout);
    return status;
}

/* ---- one command */

/* The first word is the verb; the rest are its arguments, and must be as many as it takes. */
static qk_status choose_verb(cli_command *command, qk_error *err)
{
    if (command->arguments.n == 0)
        return qk_fail(err, QK_E_ARGUMENT, "expected a verb, found nothing; `qkscope help` lists them");
    qk_status status = find_verb(&command->verb, command->arguments.items[0], err);
    if (status) return status;
    command->arguments.items++;
    command->arguments.n--;
    if (command->options.help) return QK_OK;
    status = cli_check_options(command, verbs, err);
    if (status) return status;
    const cli_verb *verb = command->verb;
    if (command->arguments.n >= verb->min_arguments && command->arguments.n <= verb->max_arguments) return QK_OK;
    if (command->arguments.n < verb->min_arguments)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected %s, found %s", verb->name, verb->arguments,
                       command->arguments.n ? "too few arguments" : "nothing");
    return qk_fail(err, QK_E_ARGUMENT, "%s: expected %s, found '%s' beyond", verb->name,
                   verb->max_arguments ? verb->arguments : "no argument",
                   command->arguments.items[verb->max_arguments]);
}

static qk_status run_command(cli_command *command, qk_error *err)
{
    qk_status status = cli_parse_options(command, err);
    if (status) return status;
    if (command->options.version) {
        printf("qkscope %s\n", qk_version());
        return QK_OK;
    }
    if (command->options.help && command->arguments.n == 0) {
        print_overview(stdout);
        return QK_OK;
    }
    status = choose_verb(command, err);
    if (status) return status;
    if (command->options.help) {
        cli_print_help(command, command->verb, stdout);
        return QK_OK;
    }
    cli_progress_start(&command->progress, command->options.quiet);
    return command->verb->run(command, err);
}

/* ---- the process */

/* A closed standard stream must not be reused by the next file that is opened, or its text would land there: what is
 * closed is opened so that using it fails. */
static void occupy_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/* True for a pipe that nobody reads any more.  A long text fails in the middle, and then errno is long gone. */
static bool reader_left(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

/* What was printed must have arrived; a reader that left early (`| head`) is no news to anybody. */
static int finish_stdout(cli_command *command, int code)
{
    bool bad = ferror(stdout) != 0;
    cli_flush(command);
    int reason = command->output_errno;
    bad = bad || reason != 0;
    if (!bad && fclose(stdout) != 0) {
        bad = true;
        reason = errno;
    }
    if (!bad) return code;
    if (reason != EPIPE && !reader_left())
        fprintf(stderr, "qkscope: standard output: %s\n", reason ? strerror(reason) : "cannot write");
    return code ? code : 1;
}

int main(int argc, char **argv)
{
    qk_error error = { QK_OK, "" };
    cli_command command = {
        .argc = argc, .argv = argv, .program = "qkscope", .started = time(NULL), .started_seconds = cli_seconds()
    };
    occupy_standard_streams();
    cli_catch_signals();
    qk_guard_fork();
    qk_status status = run_command(&command, &error);
    cli_progress_clear(&command.progress);
    if (status) fprintf(stderr, "qkscope: %s\n", error.message);
    qk_arena_free(&command.arena);
    return finish_stdout(&command, exit_codes[status]);
}
