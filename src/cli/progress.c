/* progress.c - a bar on a terminal, a plain line now and then otherwise; and the request to stop. */
#include "cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR_CELLS = 24 };
static const double bar_every = 0.1, line_every = 10; /* seconds */

static volatile sig_atomic_t stop_asked;

static void ask_to_stop(int number)
{
    (void)number;
    stop_asked = 1;
}

void cli_catch_signals(void)
{
    struct sigaction once = { .sa_handler = ask_to_stop, .sa_flags = (int)SA_RESETHAND };
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    sigemptyset(&once.sa_mask);
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGINT, &once, NULL);
    sigaction(SIGTERM, &once, NULL);
    sigaction(SIGPIPE, &ignore, NULL); /* a reader that left shows as EPIPE when stdout is flushed */
    sigaction(SIGXFSZ, &ignore, NULL); /* a file beyond the limit on its size shows as EFBIG where it is written */
}

double cli_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void cli_progress_start(cli_progress *progress, bool quiet)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    *progress = (cli_progress){ .quiet = quiet };
    progress->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    progress->colour = progress->terminal && !(no_color && *no_color);
}

static const char *clock_text(char text[32], double seconds)
{
    unsigned long s = seconds < 1e8 ? (unsigned long)(seconds + 0.5) : 99999999;
    if (s >= 3600)
        snprintf(text, 32, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 32, "%lu:%02lu", s / 60, s % 60);
    return text;
}

static int terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* "massive: layer 3 of 22 [######..................]  27 %  1.3/s  0:12 left" */
static void draw_bar(cli_progress *progress, double share, const char *tail)
{
    int cells = (int)(share * BAR_CELLS);
    char bar[BAR_CELLS + 1];
    memset(bar, '.', BAR_CELLS);
    memset(bar, '#', (size_t)cells);
    bar[BAR_CELLS] = '\0';
    int room = terminal_columns() - 1 - BAR_CELLS - 4 - (int)strlen(tail);
    if (room < 8)
        fprintf(stderr, "\r\033[K%3.0f %%", 100 * share);
    else
        fprintf(stderr, "\r\033[K%.*s [%s%s%s] %s", room, progress->phase, progress->colour ? "\033[36m" : "", bar,
                progress->colour ? "\033[0m" : "", tail);
    fflush(stderr);
    progress->drawn = true;
}

/* A phase goes by what stands before ": "; what follows may change from tick to tick. */
static bool same_phase(const cli_progress *progress, const char *phase)
{
    size_t n = strcspn(phase, ":"), shown = strcspn(progress->phase, ":");
    if (n >= sizeof progress->phase) n = sizeof progress->phase - 1;
    return n == shown && strncmp(progress->phase, phase, n) == 0;
}

static bool tick(void *user, const char *phase, double done, double total)
{
    cli_progress *progress = user;
    if (stop_asked) return false;
    if (progress->quiet) return true;
    double now = cli_seconds();
    if (done < progress->done || !same_phase(progress, phase)) {
        progress->started = now;
        progress->first = done;
        if (progress->shown <= 0) progress->shown = now;
    }
    snprintf(progress->phase, sizeof progress->phase, "%s", phase);
    progress->done = done;
    if (now - progress->shown < (progress->terminal ? bar_every : line_every)) return true;
    progress->shown = now;
    double elapsed = now - progress->started, share = total > 0 ? done / total : 0;
    share = share > 1 ? 1 : share > 0 ? share : 0;
    char tail[96], left[32], rate[32];
    double gained = done - progress->first; /* a resumed run begins in the middle */
    if (gained > 0 && elapsed > 0)
        snprintf(tail, sizeof tail, "%3.0f %%  %s/s  %s left", 100 * share, cli_human_count(rate, gained / elapsed),
                 clock_text(left, total > done ? elapsed * (total - done) / gained : 0));
    else
        snprintf(tail, sizeof tail, "%3.0f %%", 100 * share);
    if (progress->terminal)
        draw_bar(progress, share, tail);
    else
        fprintf(stderr, "%s: %s\n", progress->phase, tail);
    return true;
}

qk_progress cli_progress_callback(cli_progress *progress) { return (qk_progress){ tick, progress }; }

void cli_progress_clear(cli_progress *progress)
{
    if (!progress->drawn) return;
    fputs("\r\033[K", stderr);
    progress->drawn = false;
}

void cli_say(cli_command *command, const char *format, ...)
{
    if (command->options.quiet) return;
    va_list args;
    cli_progress_clear(&command->progress);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
