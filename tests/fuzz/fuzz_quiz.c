/* fuzz_quiz.c - questions from files.  The first byte chooses the kind of file and how it is read. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text/quiz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/qkscope-fuzz-XXXXXX";

static void remove_folder(void) { rmdir(folder); }

static void promise(bool kept)
{
    if (!kept) abort();
}

static void check_text(const char *text, bool may_be_empty)
{
    promise(text && (may_be_empty || *text) && qk_utf8_valid(text, strlen(text)) == strlen(text));
}

/* What the header promises of every question. */
static void check_item(const qk_quiz *quiz, const qk_quiz_item *item)
{
    check_text(item->id, false);
    check_text(item->prompt, false);
    check_text(item->answer, false);
    promise(!strchr(" \t\r\n", item->prompt[strlen(item->prompt) - 1]));
    promise(!strchr(" \t\r\n", *item->answer) && !strchr(" \t\r\n", item->answer[strlen(item->answer) - 1]));
    promise(item->category < quiz->n_categories && item->line > 0 && strlen(item->sha256) == 64);
    for (size_t i = 0; i < item->n_choices; i++) {
        check_text(item->choices[i], true);
        promise((strcmp(item->choices[i], item->answer) == 0) == (i == item->choice));
    }
    promise(item->choice == 0 || item->choice < item->n_choices);
    promise(quiz->categories[item->category].scoring != QK_SCORE_CHOICE || item->n_choices > 1);
    for (size_t i = 0; i < item->n_expected; i++) check_text(item->expected[i], false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "x.csv", "x.json", "x.jsonl" };
    static const qk_quiz_reading ways[] = {
        { 0 },
        { .template = "{question}{{\\n}}\n{choices}?", .per_category = 2 },
        { .format = "statements", .category = "c", .kind = QK_KIND_CONTEXTUAL },
        { .format = "choices", .template = "{question}" },
        { .format = "prompt", .kind = QK_KIND_PARAMETRIC },
    };
    static bool ready;
    if (size == 0) return 0;
    if (!ready) {
        promise(mkdtemp(folder) != NULL);
        atexit(remove_folder);
        ready = true;
    }
    char *path = qk_path_join(folder, names[data[0] % 3]);
    FILE *out = path ? fopen(path, "wb") : NULL;
    promise(out != NULL);
    fwrite(data + 1, 1, size - 1, out);
    fclose(out);
    qk_quiz quiz;
    qk_error err = { 0 };
    const char *const paths[] = { path };
    qk_status status = qk_quiz_read(&quiz, paths, 1, &ways[data[0] / 3 % (sizeof ways / sizeof *ways)], &err);
    if (status == QK_OK) {
        promise(quiz.n > 0 && quiz.n_categories > 0);
        for (size_t i = 0; i < quiz.n; i++) check_item(&quiz, &quiz.items[i]);
        qk_quiz_free(&quiz);
    } else { /* one line that says what is wrong and where; a failed check of our own is our fault, not the file's */
        promise(status != QK_E_CHECK && !strchr(err.message, '\n') && strstr(err.message, path));
    }
    unlink(path);
    free(path);
    return 0;
}
