/* test_judge.c - verdicts on texts that a model wrote, and errors of retrieval. */
#include "testing.h"
#include "text/judge.h"
#include "text/probes.h"

typedef struct judged_case {
    qk_scoring scoring;
    const char *answer, *choices[5], *expected[3]; /* up to the first NULL */
    const char *text;
    int verdict; /* qk_verdict */
    double found;
    const char *part; /* what was taken as the answer */
} judged_case;

static size_t count(const char *const *texts, size_t most)
{
    size_t n = 0;
    while (n < most && texts[n]) n++;
    return n;
}

static void check_verdict(const judged_case *c)
{
    qk_quiz_item item = { .answer = c->answer, .choices = c->choices, .n_choices = count(c->choices, 5),
                          .expected = c->expected, .n_expected = count(c->expected, 3) };
    qk_judged got;
    for (size_t i = 0; i < item.n_choices; i++)
        if (strcmp(c->choices[i], c->answer) == 0) item.choice = i;
    qk_judge(&got, &item, c->scoring, c->text, strlen(c->text));
    bool same_part = got.n_bytes == strlen(c->part) && memcmp(c->text + got.at, c->part, got.n_bytes) == 0;
    if ((int)got.verdict != c->verdict || !same_part)
        fail_msg("\"%s\" by %s: expected %s \"%s\", found %s \"%.*s\"", c->text, qk_scoring_name(c->scoring),
                 qk_verdict_name((qk_verdict)c->verdict), c->part, qk_verdict_name(got.verdict), (int)got.n_bytes,
                 c->text + got.at);
    assert_near(got.found, c->found, 1e-15);
}

enum { WRONG = QK_VERDICT_WRONG, RIGHT = QK_VERDICT_RIGHT, UNPARSED = QK_VERDICT_UNPARSED };

static void written_answers_to_the_letter(void **state)
{
    static const judged_case cases[] = {
        { .scoring = QK_SCORE_GENERATED, .answer = "Oslo",
          .text = " Oslo", .verdict = RIGHT, .found = 1, .part = "Oslo" },
        { .scoring = QK_SCORE_GENERATED, .answer = "Oslo",
          .text = "Oslo\xC2\xA0", .verdict = RIGHT, .found = 1, .part = "Oslo" },
        { .scoring = QK_SCORE_GENERATED, .answer = "Oslo", .text = " oslo", .verdict = WRONG, .part = "oslo" },
        { .scoring = QK_SCORE_GENERATED, .answer = "Oslo", .text = " Oslo.", .verdict = WRONG, .part = "Oslo." },
        { .scoring = QK_SCORE_GENERATED, .answer = "Oslo", .text = " \t", .verdict = UNPARSED, .part = "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_verdict(&cases[i]);
}

static void written_integers(void **state)
{
    static const judged_case cases[] = {
        { .answer = "18", .text = " It is 18 dollars, or 19.", .verdict = RIGHT, .found = 1, .part = "18" },
        { .answer = "18", .text = " 18.", .verdict = RIGHT, .found = 1, .part = "18" },
        { .answer = "18", .text = " $18.00", .verdict = RIGHT, .found = 1, .part = "18" },
        { .answer = "18", .text = " 18.5", .verdict = WRONG, .part = "18" },
        { .answer = "18", .text = " 180", .verdict = WRONG, .part = "180" },
        { .answer = "70000", .text = "70,000", .verdict = RIGHT, .found = 1, .part = "70,000" },
        { .answer = "1,234,567", .text = "1234567", .verdict = RIGHT, .found = 1, .part = "1234567" },
        { .answer = "3", .text = "3, 4", .verdict = RIGHT, .found = 1, .part = "3" },
        { .answer = "1", .text = "1,23", .verdict = RIGHT, .found = 1, .part = "1" },
        { .answer = "1234", .text = "1234,567", .verdict = RIGHT, .found = 1, .part = "1234" },
        { .answer = "-5", .text = " -5", .verdict = RIGHT, .found = 1, .part = "-5" },
        { .answer = "-5", .text = " \xE2\x88\x92" "5", .verdict = RIGHT, .found = 1, .part = "\xE2\x88\x92" "5" },
        { .answer = "5", .text = " -5", .verdict = WRONG, .part = "-5" },
        { .answer = "4", .text = "v-4", .verdict = RIGHT, .found = 1, .part = "4" },
        { .answer = "0", .text = "-0", .verdict = RIGHT, .found = 1, .part = "-0" },
        { .answer = "007", .text = "7", .verdict = RIGHT, .found = 1, .part = "7" },
        { .answer = "7", .text = "seven", .verdict = UNPARSED, .part = "" },
        { .answer = "7", .text = "", .verdict = UNPARSED, .part = "" },
        { .answer = "123456789012345678901234567890123456789012345678",
          .text = "123456789012345678901234567890123456789012345679", .verdict = WRONG,
          .part = "123456789012345678901234567890123456789012345679" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        judged_case c = cases[i];
        c.scoring = QK_SCORE_INTEGER;
        check_verdict(&c);
    }
}

static void written_contents(void **state)
{
    static const judged_case cases[] = {
        { .answer = "Oslo", .text = " It's OSLO, I think", .verdict = RIGHT, .found = 1, .part = "OSLO" },
        { .answer = "\xC3\x85lesund",
          .text = " \xC3\xA5LESUND", .verdict = RIGHT, .found = 1, .part = "\xC3\xA5LESUND" },
        { .answer = "Oslo", .text = " Bergen", .verdict = WRONG, .part = "" },
        { .answer = "Oslo", .text = " ", .verdict = UNPARSED, .part = "" },
        { .answer = "12", .text = "4123", .verdict = RIGHT, .found = 1, .part = "12" }, /* as RULER counts */
        { .answer = "1 2", .expected = { "111", "222", "333" },
          .text = "333 and 111", .verdict = WRONG, .found = 2. / 3,
          .part = "111" },
        { .answer = "1 2", .expected = { "111", "222" },
          .text = "222, 111", .verdict = RIGHT, .found = 1, .part = "111" },
        /* the first choice in the text, as a word of its own */
        { .answer = "Yes", .choices = { "Yes", "No" },
          .text = " Not sure, but yes; no", .verdict = RIGHT, .found = 1, .part = "yes" },
        { .answer = "Yes", .choices = { "Yes", "No" }, .text = " No, yes", .verdict = WRONG, .part = "No" },
        { .answer = "Yes", .choices = { "Yes", "No" }, .text = " Eyes know", .verdict = UNPARSED, .part = "" },
        { .answer = "A", .choices = { "A", "B", "C" },
          .text = " a bus, so A)", .verdict = RIGHT, .found = 1, .part = "A" },
        { .answer = "in May", .choices = { "in", "in May" },
          .text = "in May", .verdict = RIGHT, .found = 1, .part = "in May" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        judged_case c = cases[i];
        c.scoring = QK_SCORE_CONTAINS;
        check_verdict(&c);
    }
}

static void errors_of_retrieval(void **state)
{
    static const struct { const char *key, *text; qk_key_error error; } cases[] = {
        { "48213", " The key is 48213.", QK_KEY_EXACT },
        { "48213", "no idea", QK_KEY_NONE },
        { "48213", "", QK_KEY_NONE },
        { "48213", " 4821", QK_KEY_TRUNCATED },
        { "48213", " 213", QK_KEY_TRUNCATED },
        { "48213", " 48", QK_KEY_LENGTH },      /* less than half of it */
        { "48213", " 821", QK_KEY_LENGTH },     /* neither its beginning nor its end */
        { "48213", " 482137", QK_KEY_LENGTH },
        { "48213", " 48223", QK_KEY_NEAR_MISS },/* one digit of five */
        { "48213", " 42813", QK_KEY_NEAR_MISS },/* neighbours swapped */
        { "48213", " 42831", QK_KEY_GENERIC },  /* two edits */
        { "48213", " 12345", QK_KEY_GENERIC },
        { "48213", " 12345 or 48213", QK_KEY_EXACT },  /* the nearest one counts */
        { "12345678", " 12345600", QK_KEY_NEAR_MISS }, /* two of eight */
        { "12345678", " 12345000", QK_KEY_GENERIC },
        { "dull-jellyfish", "It is dull-jellyfish!", QK_KEY_EXACT },
        { "dull-jellyfish", "DULL-Jellyfish", QK_KEY_EXACT },
        { "dull-jellyfish", "jellyfish", QK_KEY_TRUNCATED },
        { "dull-jellyfish", "...", QK_KEY_NONE },
        { "dull-jellyfish", "bold-jellyfish", QK_KEY_NEAR_MISS },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_key_error got = qk_key_error_of(cases[i].key, strlen(cases[i].key), cases[i].text, strlen(cases[i].text));
        if (got != cases[i].error)
            fail_msg("key %s in \"%s\": expected %s, found %s", cases[i].key, cases[i].text,
                     qk_key_error_name(cases[i].error), qk_key_error_name(got));
    }
    qk_judged judged; /* of several the first that is not there */
    const char *const expected[] = { "111", "2222", "3333" };
    qk_quiz_item item = { .answer = "111", .expected = expected, .n_expected = 3 };
    qk_judge(&judged, &item, QK_SCORE_CONTAINS, "111, 222", 8);
    assert_int_equal(judged.error, QK_KEY_TRUNCATED);
}

/* What a model that finds everything would write: its answers, one after the other, in a sentence. */
static void write_all(char *text, size_t size, const qk_quiz_item *item)
{
    size_t n = (size_t)snprintf(text, size, " %s", item->n_expected ? "They are" : item->answer);
    for (size_t i = 0; i < item->n_expected; i++)
        n += (size_t)snprintf(text + n, size - n, "%s %s", i ? "," : "", item->expected[i]);
    assert_true(n < size);
}

/* The positive control of every generated question: who finds it all is right, by whatever judge fits; who leaves out
 * or misspells one is not; and what is to be found stands in the prompt. */
static void who_finds_everything_is_right(void **state)
{
    (void)state;
    const unsigned all = (1u << QK_N_PROBE_KINDS) - 1;
    const qk_probes_settings settings = { .kinds = all, .seed = 7, .per_category = 10, .tokens = { 600 }, .n_tokens = 1,
                                          .key_lengths = { 7, 12 }, .n_key_lengths = 2,
                                          .depths = { 0, 500, QK_DEPTH_END }, .n_depths = 3 };
    qk_quiz quiz;
    size_t n_keys = 0;
    assert_ok(qk_quiz_probes(&quiz, &settings, err));
    for (size_t i = 0; i < quiz.n; i++) {
        const qk_quiz_item *item = &quiz.items[i];
        const qk_quiz_category *category = &quiz.categories[item->category];
        bool needles = item->n_expected > 0;
        qk_judged judged;
        char text[1024];
        write_all(text, sizeof text, item);
        for (int s = needles ? QK_SCORE_CONTAINS : QK_SCORE_GENERATED; s < QK_N_SCORINGS; s++) {
            if (s == QK_SCORE_INTEGER && (!category->retrieval || needles)) continue;
            qk_judge(&judged, item, (qk_scoring)s, text, strlen(text));
            if (judged.verdict != QK_VERDICT_RIGHT) fail_msg("%s: \"%s\" by judge %d is not right", item->id, text, s);
        }
        if (!category->retrieval) continue;
        n_keys++;
        assert_int_equal(judged.error, QK_KEY_EXACT);
        for (size_t k = 0; k < item->n_expected; k++) assert_non_null(strstr(item->prompt, item->expected[k]));
        if (!needles) assert_non_null(strstr(item->prompt, item->answer));
        text[strlen(text) - 1] ^= 1; /* another digit */
        qk_judge(&judged, item, QK_SCORE_CONTAINS, text, strlen(text));
        assert_int_equal(judged.verdict, item->n_choices ? QK_VERDICT_UNPARSED : QK_VERDICT_WRONG);
        assert_int_equal(judged.error, QK_KEY_NEAR_MISS);
    }
    assert_true(n_keys >= 10 * (QK_N_PROBE_KINDS - 2));
    qk_quiz_free(&quiz);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_answers_to_the_letter),
        cmocka_unit_test(written_integers),
        cmocka_unit_test(written_contents),
        cmocka_unit_test(errors_of_retrieval),
        cmocka_unit_test(who_finds_everything_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
