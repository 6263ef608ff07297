/* emulate_init.c - the first and only process of the emulated machine of emulate.sh: runs the commands of /commands, one
 * a line ("NAME=VALUE... PROGRAM ARGUMENT..."), says how each ended, and switches the machine off. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { MOST_WORDS = 62 };

static void set_up(void)
{
    mkdir("/dev", 0755), mkdir("/proc", 0755), mkdir("/tmp", 0777);
    mount("dev", "/dev", "devtmpfs", 0, "");
    mount("proc", "/proc", "proc", 0, "");
    mount("tmp", "/tmp", "tmpfs", 0, "");
    int console = open("/dev/ttyS0", O_RDWR);
    for (int fd = 0; fd <= 2 && console >= 0; fd++) dup2(console, fd);
}

static void run(char *line)
{
    char *arguments[MOST_WORDS + 2] = { 0 }, *settings[MOST_WORDS + 6];
    int n = 0, n_settings = 0, how = 0;
    settings[n_settings++] = "PATH=/";
    settings[n_settings++] = "HOME=/tmp";
    settings[n_settings++] = "TMPDIR=/tmp";
    settings[n_settings++] = "LD_LIBRARY_PATH=/lib";
    for (char *word = strtok(line, " "); word && n + n_settings < MOST_WORDS; word = strtok(NULL, " "))
        if (n == 0 && strchr(word, '=')) settings[n_settings++] = word;
        else arguments[n++] = word;
    settings[n_settings] = NULL;
    if (n == 0) return;
    pid_t child = fork();
    if (child == 0) {
        execve(arguments[0], arguments, settings);
        perror(arguments[0]);
        _exit(127);
    }
    waitpid(child, &how, 0);
    printf("\n== %s: %s %d\n", arguments[0], WIFSIGNALED(how) ? "signal" : "exit",
           WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how));
    fflush(stdout);
}

int main(void)
{
    char line[1024];
    set_up();
    FILE *commands = fopen("/commands", "r");
    while (commands && fgets(line, sizeof line, commands)) {
        line[strcspn(line, "\n")] = '\0';
        run(line);
    }
    printf("== done\n");
    fflush(stdout);
    tcdrain(1); /* or the last words are lost */
    if (iopl(3) == 0) /* what an emulator listens to */
        for (const char *word = "Shutdown"; *word; word++) outb((unsigned char)*word, 0x8900);
    reboot(RB_POWER_OFF);
    for (;;) pause();
}
