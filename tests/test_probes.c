/* test_probes.c - generated questions: keys and near misses, where they stand, how long prompts are, that seeds decide
 * everything; the verbs that use them. */
#include "program.h"

#include <math.h>
#include <time.h>

#include "text/probes_private.h"

enum { ALL_KINDS = (1 << QK_N_PROBE_KINDS) - 1, WITH_JIN = 1 << QK_PROBE_JIN_128 | 1 << QK_PROBE_JIN_256 |
       1 << QK_PROBE_JIN_1024 };

static qk_status count_tokens(void *user, size_t *n, const char *utf8, size_t n_bytes, qk_error *err)
{
    int32_t *tokens = NULL;
    qk_status status = qk_encode(&tokens, n, user, utf8, n_bytes, (qk_encode_options){ 0 }, err);
    free(tokens);
    return status;
}

static qk_tokenizer *open_tokenizer(const char *name)
{
    qk_tokenizer *tokenizer;
    assert_ok(qk_tokenizer_open_file(&tokenizer, data_path(name), 0, err));
    return tokenizer;
}

/* `tokenizer` NULL: lengths in words. */
static qk_probes_settings settings_for(unsigned kinds, size_t tokens, size_t n, const qk_tokenizer *tokenizer)
{
    qk_probes_settings s = { .kinds = kinds, .seed = 42, .per_category = n, .tokens = { tokens }, .n_tokens = 1,
                             .depths = { 0, 250, 500, 750, QK_DEPTH_END }, .n_depths = 5 };
    if (tokenizer) s.counter = (qk_token_counter){ count_tokens, (void *)(uintptr_t)tokenizer };
    return s;
}

static size_t occurrences(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, part)); p++) n++;
    return n;
}

/* ---- keys */

static size_t differences(const char *a, const char *b)
{
    size_t n = 0;
    assert_int_equal(strlen(a), strlen(b));
    for (size_t i = 0; a[i]; i++) n += a[i] != b[i];
    return n;
}

static size_t first_difference(const char *a, const char *b)
{
    size_t i = 0;
    while (a[i] == b[i]) i++;
    return i;
}

static void assert_swapped(const char *key, const char *other)
{
    size_t i = first_difference(key, other);
    assert_int_equal(differences(key, other), 2);
    assert_true(i >= 1 && key[i] == other[i + 1] && key[i + 1] == other[i]);
}

static void near_misses_are_never_the_key(void **state)
{
    (void)state;
    qk_rng rng;
    qk_rng_seed(&rng, 1);
    for (size_t i = 0; i < 30000; i++) {
        qk_alphabet alphabet = (qk_alphabet)(i % 3);
        size_t length = QK_KEY_SHORTEST + i % (QK_KEY_LONGEST - QK_KEY_SHORTEST + 1);
        qk_key key, miss, kin[QK_PROBE_CHOICES];
        qk_key_draw(&key, length, alphabet, &rng);
        assert_int_equal(strlen(key.text), length);
        assert_true(key.text[0] != '0');
        if (alphabet == QK_ALPHABET_DIGITS) assert_int_equal(strspn(key.text, "0123456789"), length);
        else assert_int_equal(strcspn(key.text, "01IO"), length); /* look alike */
        qk_key_miss(&miss, &key, QK_MISS_CHANGED, alphabet, &rng);
        assert_int_equal(differences(key.text, miss.text), 1);
        assert_true(miss.text[0] != '0');
        qk_key_miss(&miss, &key, QK_MISS_SWAPPED, alphabet, &rng);
        assert_swapped(key.text, miss.text);
        qk_key_miss(&miss, &key, QK_MISS_TRUNCATED, alphabet, &rng);
        assert_true(strlen(miss.text) == length - 1 && memcmp(miss.text, key.text, length - 1) == 0);
        qk_key_kin(kin, &key, alphabet, &rng);
        assert_string_equal(kin[0].text, key.text);
        assert_swapped(key.text, kin[1].text);
        assert_swapped(kin[2].text, kin[3].text);
        assert_int_equal(differences(key.text, kin[2].text), 1);
        assert_int_equal(differences(kin[1].text, kin[3].text), 1);
        assert_int_equal(differences(key.text, kin[3].text), 3);
    }
}

/* ---- samples as they come */

/* The statement that holds the key of `sample`, as published. */
static const char *statement_of(const qk_probe_sample *sample, const char *key)
{
    static char text[400];
    const char *name = qk_probe_kind_name(sample->kind);
    if (strcmp(name, "passkey") == 0 || strncmp(name, "jin", 3) == 0)
        snprintf(text, sizeof text, "The pass key is %s. Remember it. %s is the pass key.", key, key);
    else if (strcmp(name, "passkey-secret") == 0)
        snprintf(text, sizeof text, "The secret passkey is %s. Remember this number.", key);
    else if (strncmp(name, "niah", 4) == 0)
        snprintf(text, sizeof text, " is: %s.", key);
    else
        snprintf(text, sizeof text, "The pass key is %s.", key);
    return text;
}

/* The key that stands in a prompt of `verify`, which asks about it or another one. */
static void stated_key(char key[64], const char *prompt)
{
    const char *at = strstr(prompt, "The pass key is ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "The pass key is %49[^.].", key), 1);
}

/* As RULER words it, to the letter. */
static void assert_needle_wording(const qk_probe_sample *sample)
{
    bool several = sample->n_expected > 0;
    assert_int_equal(strncmp(sample->prompt,
                             several ? "Some special magic numbers are hidden within the following text. Make sure to "
                                       "memorize it. I will quiz you about the numbers afterwards.\n"
                                     : "A special magic number is hidden within the following text. Make sure to "
                                       "memorize it. I will quiz you about the number afterwards.\n",
                             several ? 130 : 125), 0);
    const char *question = strrchr(sample->prompt, '\n') + 1;
    assert_int_equal(strncmp(question, several ? "What are all the special magic numbers for " :
                                                 "What is the special magic number for ", several ? 43 : 37), 0);
    assert_int_equal(occurrences(question, "mentioned in the provided text"), 2);
    bool four = strstr(sample->category, "multi") != NULL;
    assert_int_equal(occurrences(sample->prompt, "One of the special magic numbers for "), four ? 4 : 1);
    assert_int_equal(sample->scoring, QK_SCORE_CONTAINS);
    assert_int_equal(sample->max_new, 128);
}

static void assert_choices(const qk_probe_sample *sample)
{
    size_t n_right = 0;
    assert_int_equal(sample->scoring, QK_SCORE_CHOICE);
    assert_near(sample->chance, 1.0 / (double)sample->n_choices, 0);
    for (size_t i = 0; i < sample->n_choices; i++) {
        n_right += strcmp(sample->choices[i], sample->answer) == 0;
        for (size_t k = 0; k < i; k++) assert_string_not_equal(sample->choices[i], sample->choices[k]);
    }
    assert_int_equal(n_right, 1);
}

/* Every key that is asked for stands once in the text, the prompt does not answer itself, the answer lists all keys. */
static void assert_keys(const qk_probe_sample *sample)
{
    size_t n = sample->n_expected ? sample->n_expected : 1;
    bool twice = strstr(statement_of(sample, "x"), "x is the pass key") != NULL;
    char stated[64];
    if (sample->kind == QK_PROBE_VERIFY) stated_key(stated, sample->prompt);
    for (size_t i = 0; i < n; i++) {
        const char *key = sample->n_expected ? sample->expected[i] : sample->answer;
        if (sample->kind == QK_PROBE_VERIFY) key = stated;
        bool asked = sample->kind == QK_PROBE_VERIFY && strcmp(sample->answer, "yes") == 0;
        assert_int_equal(strlen(key), sample->key_length);
        assert_int_equal(occurrences(sample->prompt, statement_of(sample, key)), 1);
        if (sample->kind != QK_PROBE_VERIFY || sample->index / 2 % QK_N_MISSES != QK_MISS_TRUNCATED || asked)
            assert_int_equal(occurrences(sample->prompt, key), twice || asked ? 2 : 1);
        if (sample->kind != QK_PROBE_VERIFY) assert_int_equal(occurrences(sample->answer, key), 1);
    }
}

/* "Is the pass key X?" is true exactly where X stands in the text. */
static void assert_verdict(const qk_probe_sample *sample)
{
    char stated[64], asked[64];
    const char *question = strstr(sample->prompt, "Is the pass key ");
    stated_key(stated, sample->prompt);
    assert_non_null(question);
    assert_int_equal(sscanf(question, "Is the pass key %49[^?]?", asked), 1);
    assert_string_equal(sample->answer, strcmp(stated, asked) == 0 ? "yes" : "no");
    assert_string_equal(sample->answer, sample->index % 2 ? "no" : "yes");
    assert_false(sample->retrieval);
}

typedef struct check {
    const qk_tokenizer *tokenizer;
    size_t wanted, longest_sentence, n;
    size_t n_exact; /* samples of the very length */
} check;

static size_t length_of(const check *c, const char *text)
{
    size_t n = 0;
    if (c->tokenizer) {
        assert_ok(count_tokens((void *)(uintptr_t)c->tokenizer, &n, text, strlen(text), err));
        return n;
    }
    for (const char *p = text; *p; p++) n += *p != ' ' && *p != '\n' && (p == text || p[-1] == ' ' || p[-1] == '\n');
    return n;
}

/* Prompt, space and each choice: at most what was asked for, and no further below than a sentence. */
static void assert_length(check *c, const qk_probe_sample *sample)
{
    size_t n_prompt = strlen(sample->prompt), most = 0, wanted = c->wanted;
    for (size_t i = 0; i < (sample->n_choices ? sample->n_choices : 1); i++) {
        const char *answer = sample->n_choices ? sample->choices[i] : sample->answer;
        char *text = malloc(n_prompt + strlen(answer) + 2);
        assert_non_null(text);
        sprintf(text, "%s %s", sample->prompt, answer);
        size_t n = length_of(c, text);
        free(text);
        if (n > most) most = n;
    }
    if (sample->max_new && length_of(c, sample->prompt) + sample->max_new > most)
        most = length_of(c, sample->prompt) + sample->max_new;
    if (sample->kind == QK_PROBE_JIN_128) wanted = 128;
    if (sample->kind == QK_PROBE_JIN_256) wanted = 256;
    if (sample->kind == QK_PROBE_JIN_1024) wanted = 1024;
    if (most > wanted || most + c->longest_sentence <= wanted || sample->tokens > wanted || sample->tokens < most)
        fail_msg("%s: expected %zu tokens, a sentence less at most, found %zu, said to be %zu", sample->id, wanted,
                 most, sample->tokens);
    c->n_exact += most == wanted;
}

/* Tokens of the filler before the statement, as a share of all filler: within a sentence of what was asked for. */
static void assert_depth(const check *c, const qk_probe_sample *sample)
{
    const char *mark = sample->kind == QK_PROBE_PASSKEY_SECRET ? "The secret passkey" : "The pass key";
    if (strncmp(qk_probe_kind_name(sample->kind), "niah", 4) == 0) mark = "One of the special";
    if (strstr(qk_probe_kind_name(sample->kind), "multi")) return;
    const char *prompt = sample->prompt, *statement = strstr(prompt, mark), *end = strrchr(prompt, '\n');
    const char *text = sample->kind == QK_PROBE_PASSKEY_SECRET ? prompt : strchr(prompt, '\n') + 1;
    if (sample->kind == QK_PROBE_VERIFY) end = strstr(prompt, "\nIs the");
    if (sample->kind == QK_PROBE_PASSKEY_SECRET) end--;
    assert_true(text && statement >= text && end > statement);
    const char *key = sample->kind == QK_PROBE_VERIFY ? "" : sample->answer;
    size_t n_statement = strlen(statement_of(sample, key));
    if (mark[0] == 'O' || !*key) n_statement = strcspn(statement, ".") + 1;
    char before[65536], behind[65536];
    snprintf(before, sizeof before, "%.*s", (int)(statement - text), text);
    snprintf(behind, sizeof behind, "%.*s", (int)(end - statement - (int)n_statement), statement + n_statement);
    double n_before = (double)length_of(c, before), n_behind = (double)length_of(c, behind);
    double aim = sample->depth / 1000.0 * (n_before + n_behind);
    if (fabs(aim - n_before) > (double)c->longest_sentence)
        fail_msg("%s: %g tokens before the key, %g behind it", sample->id, n_before, n_behind);
    if (strncmp(sample->category, "jin", 3) == 0) {
        snprintf(before, sizeof before, "%.*s", (int)(statement - prompt), prompt);
        assert_true(fabs((double)length_of(c, before) - 50) <= (double)c->longest_sentence);
    } else {
        static const unsigned depths[] = { 0, 250, 500, 750, 1000 };
        assert_int_equal(sample->depth, depths[sample->index % 5]);
        if (sample->depth == 0) assert_int_equal(n_before, length_of(c, ""));
        if (sample->depth == 1000) assert_int_equal(n_behind, length_of(c, ""));
    }
}

static qk_status check_sample(void *user, const qk_probe_sample *sample, qk_error *err)
{
    check *c = user;
    (void)err;
    assert_keys(sample);
    assert_length(c, sample);
    assert_depth(c, sample);
    if (sample->n_choices) assert_choices(sample);
    else assert_true(isnan(sample->chance));
    if (sample->kind == QK_PROBE_VERIFY) assert_verdict(sample);
    if (strncmp(qk_probe_kind_name(sample->kind), "niah", 4) == 0) assert_needle_wording(sample);
    c->n++;
    return QK_OK;
}

static void samples_are_what_they_say(void **state)
{
    (void)state;
    static const char *const names[] = { NULL, "tokenizers/llama2.json", "tokenizers/gpt2.json" };
    for (size_t i = 0; i < 3; i++)
        for (size_t tokens = 700; tokens <= 1900; tokens += 300) {
            qk_tokenizer *tokenizer = names[i] ? open_tokenizer(names[i]) : NULL;
            check c = { .tokenizer = tokenizer, .wanted = tokens };
            for (int f = 0; f < QK_N_FILLERS; f++)
                for (size_t k = 0; k < qk_fillers[f].n; k++) {
                    size_t n = length_of(&c, qk_fillers[f].sentences[k]);
                    if (n > c.longest_sentence) c.longest_sentence = n;
                }
            unsigned kinds = ALL_KINDS & ~WITH_JIN; /* these tokenizers are cut down: 128 are too few for the words */
            if (tokens == 1300) kinds = tokenizer ? ALL_KINDS & ~(1u << QK_PROBE_JIN_128) : ALL_KINDS;
            qk_probes_settings s = settings_for(kinds, tokens, 12, tokenizer);
            assert_ok(qk_probes_each(&s, check_sample, &c, err));
            assert_int_equal(c.n, 12 * (size_t)__builtin_popcount(kinds));
            assert_true(c.n_exact > c.n / 3); /* varied filler fills to the last token, as a rule */
            qk_tokenizer_close(tokenizer);
        }
}

/* ---- seeds */

typedef struct digest { qk_sha256 hash; char first_key[64]; size_t n; } digest;

static qk_status add_to_digest(void *user, const qk_probe_sample *sample, qk_error *err)
{
    digest *d = user;
    (void)err;
    if (d->n++ == 0) snprintf(d->first_key, sizeof d->first_key, "%s", sample->answer);
    qk_sha256_add(&d->hash, sample->id, strlen(sample->id) + 1);
    qk_sha256_add(&d->hash, sample->prompt, strlen(sample->prompt) + 1);
    qk_sha256_add(&d->hash, sample->answer, strlen(sample->answer) + 1);
    for (size_t i = 0; i < sample->n_choices; i++)
        qk_sha256_add(&d->hash, sample->choices[i], strlen(sample->choices[i]) + 1);
    return QK_OK;
}

static void hash_of(char hex[65], digest *d, const qk_probes_settings *s)
{
    *d = (digest){ 0 };
    qk_sha256_start(&d->hash);
    assert_ok(qk_probes_each(s, add_to_digest, d, err));
    qk_sha256_hex(hex, &d->hash);
}

static void a_seed_decides_everything(void **state)
{
    (void)state;
    char hex[65], again[65];
    digest d, other;
    qk_probes_settings s = settings_for(ALL_KINDS, 300, 20, NULL);
    hash_of(hex, &d, &s);
    assert_int_equal(d.n, 20 * QK_N_PROBE_KINDS);
    assert_string_equal(hex, "fe130718324d59d4d1b1491275e31084476c0cb09a06e019e43f319dda3402a3");
    hash_of(again, &d, &s);
    assert_string_equal(hex, again);
    s.seed = 43;
    hash_of(again, &d, &s);
    assert_string_not_equal(hex, again);

    s = settings_for(1 << QK_PROBE_PASSKEY, 200, 3, NULL);
    hash_of(hex, &d, &s);
    s.tokens[0] = 400; /* longer: the same keys */
    hash_of(again, &other, &s);
    assert_string_equal(d.first_key, other.first_key);
    assert_string_not_equal(hex, again);
    s.alphabet = QK_ALPHABET_MIXED;
    hash_of(again, &other, &s);
    assert_string_not_equal(d.first_key, other.first_key);
}

static void filler_says_nothing(void **state)
{
    (void)state;
    static const char *const asked[] = { " pass ", " key", "magic", "number", "code", "secret", " yes", " no.", "%" };
    const qk_filler *prose = &qk_fillers[QK_FILLER_PROSE];
    assert_true(prose->n >= 100);
    for (int f = 0; f < QK_N_FILLERS; f++)
        for (size_t i = 0; i < qk_fillers[f].n; i++) {
            const char *sentence = qk_fillers[f].sentences[i];
            assert_null(strpbrk(sentence, "0123456789"));
            for (size_t k = 0; k < sizeof asked / sizeof *asked; k++) assert_null(strstr(sentence, asked[k]));
            assert_true(sentence[strlen(sentence) - 1] == '.');
            for (size_t k = 0; k < i; k++) assert_string_not_equal(sentence, qk_fillers[f].sentences[k]);
        }
}

/* ---- as a quiz, and what is refused */

static void a_quiz_of_them(void **state)
{
    (void)state;
    qk_quiz quiz;
    qk_probes_settings s = settings_for(ALL_KINDS & ~WITH_JIN, 300, 6, NULL);
    s.tokens[s.n_tokens++] = 400;
    s.key_lengths[s.n_key_lengths++] = 5;
    s.key_lengths[s.n_key_lengths++] = 48;
    assert_ok(qk_quiz_probes(&quiz, &s, err));
    assert_int_equal(quiz.n_categories, (QK_N_PROBE_KINDS - 3) * 4);
    assert_int_equal(quiz.n, quiz.n_categories * 6);
    assert_int_equal(quiz.n_repeated, 0);
    assert_string_equal(quiz.source, "probes");
    assert_string_equal(quiz.categories[3].name, "passkey-400-48");
    for (size_t c = 0; c < quiz.n_categories; c++) {
        bool verify = strncmp(quiz.categories[c].name, "verify", 6) == 0;
        assert_true(quiz.categories[c].contextual && quiz.categories[c].retrieval == !verify);
    }
    for (size_t i = 0; i < quiz.n; i++) {
        bool all = strstr(quiz.items[i].id, "multivalue") || strstr(quiz.items[i].id, "multiquery");
        assert_int_equal(quiz.items[i].n_expected, all ? 4 : 0);
        if (quiz.items[i].n_choices) assert_string_equal(quiz.items[i].choices[quiz.items[i].choice],
                                                         quiz.items[i].answer);
    }
    qk_quiz_free(&quiz);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    qk_error why = { QK_OK, "" };
    digest d = { 0 };
    qk_sha256_start(&d.hash);
    qk_probes_settings s = settings_for(1 << QK_PROBE_NIAH_MULTIQUERY, 180, 1, NULL);
    assert_int_equal(qk_probes_each(&s, add_to_digest, &d, &why), QK_E_ARGUMENT);
    assert_non_null(strstr(why.message, "probe niah-multiquery with a key of 7 characters: expected at least "));
    assert_non_null(strstr(why.message, " tokens for words, keys and answer, found 180"));
    size_t least = (size_t)atol(strstr(why.message, "at least ") + 9);
    s.tokens[0] = least - 1;
    assert_int_equal(qk_probes_each(&s, add_to_digest, &d, &why), QK_E_ARGUMENT);
    s.tokens[0] = least; /* what is said to be enough is enough */
    assert_ok(qk_probes_each(&s, add_to_digest, &d, err));
    s = settings_for(1 << QK_PROBE_JIN_1024, 128, 1, NULL);
    s.context = 512;
    assert_int_equal(qk_probes_each(&s, add_to_digest, &d, &why), QK_E_ARGUMENT);
    assert_string_equal(why.message,
                        "probe jin-1024: expected at most 512 tokens, the context (-c sets it), found 1024");
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* 6,500 samples take seconds; the bound leaves room for sanitizers and slow machines. */
static void generation_takes_seconds(void **state)
{
    (void)state;
    char hex[65];
    digest d;
    qk_tokenizer *tokenizer = open_tokenizer("tokenizers/llama2.json");
    qk_probes_settings s = settings_for(ALL_KINDS & ~WITH_JIN, 700, 650, tokenizer);
    double from = seconds();
    hash_of(hex, &d, &s);
    assert_int_equal(d.n, 6500);
    double took = seconds() - from;
    print_message("# %zu samples in %.2f s\n", d.n, took);
    assert_true(took < 120);
    qk_tokenizer_close(tokenizer);
}

/* ---- the program */

/* What is written is read as the same quiz, and judged the same way. */
static void a_file_of_them_is_the_same_quiz(void **state)
{
    (void)state;
    char path[] = "/tmp/qk-probes-XXXXXX.jsonl";
    const char *paths[] = { path };
    int file = mkstemps(path, 6);
    qk_quiz generated, read;
    qk_probes_settings s = settings_for(ALL_KINDS & ~WITH_JIN, 300, 2, NULL);
    outcome all = run_program("probes", "--limit", "2", "--probe-tokens", "300");
    assert_int_equal(all.code, 0);
    assert_int_equal(count_lines(all.out), 2 * (QK_N_PROBE_KINDS - 3));
    assert_int_equal(write(file, all.out, all.n_out), all.n_out);
    close(file);
    assert_ok(qk_quiz_probes(&generated, &s, err));
    assert_ok(qk_quiz_load(&read, paths, 1, 0, err));
    assert_string_equal(generated.sha256, read.sha256);
    assert_int_equal(read.n_categories, generated.n_categories);
    for (size_t c = 0; c < read.n_categories; c++) {
        assert_int_equal(read.categories[c].scoring, generated.categories[c].scoring);
        assert_int_equal(read.categories[c].retrieval, generated.categories[c].retrieval);
    }
    for (size_t i = 0; i < read.n; i++) {
        assert_string_equal(read.items[i].id, generated.items[i].id);
        assert_true(read.items[i].max_new == generated.items[i].max_new &&
                    read.items[i].goes_on == generated.items[i].goes_on);
    }
    qk_quiz_free(&generated), qk_quiz_free(&read), outcome_free(&all);
    unlink(path);
}

static void judging_keys_are_checked(void **state)
{
    (void)state;
    static const struct { const char *key, *line; } cases[] = {
        { "\"scoring\":\"loosely\"", ":1: key \"scoring\": expected exact, choice, generated, first-" },
        { "\"scoring\":\"choice\"", "judged by choice: expected choices, found none" },
        { "\"expected\":[]", ":1: key \"expected\": expected an array of texts" },
        { "\"expected\":[\"a\",\"\"]", ":1: key \"expected\": expected texts that are not empty" },
        { "\"retrieval\":1", ":1: key \"retrieval\": expected true or false, found an integer" },
        { "\"max_new_tokens\":0", ":1: key \"max_new_tokens\": expected a number from 1 to 1048576" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[] = "/tmp/qk-probes-XXXXXX.jsonl";
        const char *paths[] = { path };
        int file = mkstemps(path, 6);
        qk_quiz quiz;
        qk_error why = { QK_OK, "" };
        dprintf(file, "{\"prompt\":\"p\",\"answer\":\"a\",\"category\":\"c\",\"kind\":\"contextual\",%s}\n",
                cases[i].key);
        close(file);
        assert_int_equal(qk_quiz_load(&quiz, paths, 1, 0, &why), QK_E_FORMAT);
        if (!strstr(why.message, cases[i].line)) fail_msg("%s", why.message);
        unlink(path);
    }
}

static void the_program_writes_them(void **state)
{
    (void)state;
    const char *model = data_path("golden/demo");
    outcome few = run_program("probes", model, "--probes", "passkey,verify", "--limit", "3", "--probe-tokens", "200",
                              "--depths", "0.5", "--key-length", "6,9", "--key-alphabet", "letters", "--probe-seed",
                              "7");
    assert_int_equal(few.code, 0);
    assert_int_equal(count_lines(few.out), 12);
    assert_non_null(strstr(few.out, "\"id\":\"passkey-200-9-d500-2\",\"category\":\"passkey-200-9\""));
    outcome again = run_program("probes", model, "--probes", "passkey,verify", "--limit", "3", "--probe-tokens", "200",
                                "--depths", "0.5", "--key-length", "6,9", "--key-alphabet", "letters", "--probe-seed",
                                "7");
    assert_string_equal(few.out, again.out);
    outcome_free(&few), outcome_free(&again);

    outcome asked = run_program("tasks", model, "--probes", "passkey,verify,rank", "--limit", "3", "--conditions",
                                "baseline", "-c", "400", "--probe-tokens", "400", "--no-run", "--json", "-q");
    if (asked.code) fail_msg("%s", asked.err);
    assert_non_null(strstr(asked.out, "\"source\": \"probes\""));
    assert_non_null(strstr(asked.out, "\"category\": \"rank-"));
    outcome_free(&asked);
}

static void the_program_refuses(void **state)
{
    (void)state;
    const char *model = data_path("golden/demo");
    static const struct { const char *words[6], *line; } cases[] = {
        { { "--probes", "passkeys" }, "--probes: " },
        { { "--probes", "passkey", "--probe-tokens", "40" }, "probe passkey with a key of 5 characters: expected at" },
        { { "--probes", "passkey", "--probe-tokens", "300,200" }, "--probe-tokens: expected ascending numbers" },
        { { "--probes", "passkey", "--probe-tokens", "100000" }, "the context (-c sets it), found 100000" },
        { { "--probes", "passkey", "--key-length", "4" }, "--key-length" },
        { { "--probes", "passkey", "--key-length", "49" }, "--key-length" },
        { { "--probes", "passkey", "--depths", "1.5" }, "--depths" },
        { { "--probes", "passkey", "--questions", "x.jsonl" }, "--probes: expected no --questions beside it" },
        { { "--probes", "passkey", "--world", "3" }, "--world: expected no --probes beside it" },
        { { "--key-length", "5" }, "--key-length: expected --probes beside it, found none" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const *w = cases[i].words;
        assert_rejected(run_program("tasks", model, "--no-run", w[0], w[1], w[2], w[3], w[4]), 2, cases[i].line);
    }
    assert_rejected(run_program("probes", "nowhere"), 1, "nowhere");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_misses_are_never_the_key), cmocka_unit_test(samples_are_what_they_say),
        cmocka_unit_test(a_seed_decides_everything),     cmocka_unit_test(filler_says_nothing),
        cmocka_unit_test(a_quiz_of_them),                cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(generation_takes_seconds),      cmocka_unit_test(a_file_of_them_is_the_same_quiz),
        cmocka_unit_test(judging_keys_are_checked),      cmocka_unit_test(the_program_writes_them),
        cmocka_unit_test(the_program_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
