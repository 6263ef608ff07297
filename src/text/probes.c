/* probes.c - the kinds of probes, and how a sample of each is drawn. */
#include "text/probes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/probes_private.h"
#include "text/quiz_set.h"

enum {
    RULER_DEPTHS = 40, /* where its needles may stand, evenly from end to end */
    RULER_NEW = 128    /* tokens that a model may write behind its prompts */
};

typedef struct draft draft;

typedef struct recipe {
    const char *name, *base; /* of the kind; of its categories where that is another */
    const qk_wording *wording;
    void (*ask)(draft *d, qk_rng *rng); /* what is asked, and what is right */
    size_t n_needles, key_length;
    size_t tokens, begin;    /* fixed length and place, in tokens; 0: as asked, by depth */
    bool asks_all, one_owner;/* for every needle; they have one name */
    qk_scoring scoring;
    size_t max_new;          /* tokens that an answer may take; 0: what the right one takes */
} recipe;

static void ask_key(draft *d, qk_rng *rng), ask_values(draft *d, qk_rng *rng), ask_owners(draft *d, qk_rng *rng);
static void ask_yes_no(draft *d, qk_rng *rng), ask_which(draft *d, qk_rng *rng);

#define EXACT .scoring = QK_SCORE_EXACT
#define CHOICE .scoring = QK_SCORE_CHOICE
#define RULER .scoring = QK_SCORE_CONTAINS, .max_new = RULER_NEW

static const recipe recipes[QK_N_PROBE_KINDS] = {
    [QK_PROBE_PASSKEY] = { "passkey", NULL, &qk_wording_hidden, ask_key, 1, 5, EXACT },
    [QK_PROBE_PASSKEY_SECRET] = { "passkey-secret", NULL, &qk_wording_secret, ask_key, 1, 5, EXACT },
    [QK_PROBE_PASSKEY_PROSE] = { "passkey-prose", NULL, &qk_wording_prose, ask_key, 1, 5, EXACT },
    [QK_PROBE_JIN_128] = { "jin-128", "jin", &qk_wording_hidden, ask_key, 1, 6, 128, 50, EXACT },
    [QK_PROBE_JIN_256] = { "jin-256", "jin", &qk_wording_hidden, ask_key, 1, 12, 256, 50, EXACT },
    [QK_PROBE_JIN_1024] = { "jin-1024", "jin", &qk_wording_hidden, ask_key, 1, 48, 1024, 50, EXACT },
    [QK_PROBE_NIAH_NOISE] = { "niah-noise", NULL, &qk_wording_needle_lines, ask_key, 1, 7, RULER },
    [QK_PROBE_NIAH] = { "niah", NULL, &qk_wording_needle, ask_key, 1, 7, RULER },
    [QK_PROBE_NIAH_MULTIKEY] = { "niah-multikey", NULL, &qk_wording_needle, ask_key, 4, 7, RULER },
    [QK_PROBE_NIAH_MULTIVALUE] = { "niah-multivalue", NULL, &qk_wording_needles, ask_values, 4, 7, RULER,
                                   .asks_all = true, .one_owner = true },
    [QK_PROBE_NIAH_MULTIQUERY] = { "niah-multiquery", NULL, &qk_wording_needles, ask_owners, 4, 7, RULER,
                                   .asks_all = true },
    [QK_PROBE_VERIFY] = { "verify", NULL, &qk_wording_verify, ask_yes_no, 1, 5, CHOICE },
    [QK_PROBE_RANK] = { "rank", NULL, &qk_wording_prose, ask_which, 1, 5, CHOICE },
};

const char *qk_probe_kind_name(qk_probe_kind kind) { return recipes[kind].name; }

/* ---- one sample while it is drawn */

struct draft {
    const recipe *recipe;
    const qk_probes_settings *settings;
    qk_probe_sample sample;
    qk_fitter *fitter;
    size_t wanted;                   /* tokens */
    qk_key keys[QK_PROBE_NEEDLES];   /* [n_needles] all different */
    char owners[QK_PROBE_NEEDLES][32];
    size_t order[QK_PROBE_NEEDLES];  /* of the needles in the text */
    qk_needle needles[QK_PROBE_NEEDLES];
    const char *slots[128];          /* what "%k" stands for, by letter */
    qk_arena arena;                  /* texts of the sample */
    bool failed;                     /* out of memory */
};

/* One chain of draws for each purpose, so that none shifts another. */
static qk_rng stream_of(const draft *d, uint64_t purpose)
{
    uint64_t parts[] = { purpose, d->sample.kind, d->sample.key_length, d->settings->alphabet, d->sample.index };
    qk_rng rng;
    qk_rng_seed(&rng, d->settings->seed);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) qk_rng_seed(&rng, qk_rng_next(&rng) ^ parts[i]);
    return rng;
}
enum { OF_KEYS, OF_FILLER };

static const char *expand(draft *d, const char *pattern)
{
    size_t n = 1;
    for (const char *p = pattern; *p; p++) n += *p == '%' ? strlen(d->slots[(unsigned char)*++p]) : 1;
    char *out = qk_arena_alloc(&d->arena, n), *end = out;
    if (!out) {
        d->failed = true;
        return "";
    }
    for (const char *p = pattern; *p; p++) {
        if (*p != '%') *end++ = *p;
        else end = stpcpy(end, d->slots[(unsigned char)*++p]);
    }
    return out;
}

/* "a", "a, and b", "a, b, and c" */
static const char *list(draft *d, const char *const *items, size_t n)
{
    size_t n_bytes = 1;
    for (size_t i = 0; i < n; i++) n_bytes += strlen(items[i]) + 6;
    char *out = qk_arena_alloc(&d->arena, n_bytes), *end = out;
    if (!out) {
        d->failed = true;
        return "";
    }
    for (size_t i = 0; i < n; i++)
        end = stpcpy(stpcpy(end, i == 0 ? "" : i + 1 < n ? ", " : ", and "), items[i]);
    return out;
}

static void draw_owner(char owner[32], qk_rng *rng)
{
    snprintf(owner, 32, "%s-%s", qk_probe_adjectives[qk_rng_below(rng, qk_n_probe_adjectives)],
             qk_probe_nouns[qk_rng_below(rng, qk_n_probe_nouns)]);
}

/* All of a prompt's keys differ, and its owners where there are several. */
static void draw_keys(draft *d, qk_rng *rng)
{
    size_t n = d->recipe->n_needles;
    for (size_t i = 0; i < n; i++) {
        bool taken;
        do {
            taken = false;
            qk_key_draw(&d->keys[i], d->sample.key_length, d->settings->alphabet, rng);
            for (size_t k = 0; k < i; k++) taken = taken || strcmp(d->keys[k].text, d->keys[i].text) == 0;
        } while (taken);
        do {
            taken = false;
            if (i > 0 && d->recipe->one_owner) memcpy(d->owners[i], d->owners[0], 32);
            else draw_owner(d->owners[i], rng);
            for (size_t k = 0; k < i && !d->recipe->one_owner; k++)
                taken = taken || strcmp(d->owners[k], d->owners[i]) == 0;
        } while (taken);
    }
}

/* Needle 0 stands where it was asked for, unless all are asked for; the others anywhere. */
static qk_status draw_depths(draft *d, qk_rng *rng, qk_error *err)
{
    const qk_probes_settings *s = d->settings;
    uint32_t picks[QK_PROBE_NEEDLES] = { 0 };
    unsigned depths[QK_PROBE_NEEDLES] = { 0 };
    size_t n = d->recipe->n_needles;
    bool all = d->recipe->asks_all;
    qk_status status = n > 1 ? qk_rng_sample(picks, (uint32_t)n, RULER_DEPTHS, rng, err) : QK_OK;
    for (size_t i = 0; i < n; i++)
        depths[i] = (picks[i] * QK_DEPTH_END + (RULER_DEPTHS - 1) / 2) / (RULER_DEPTHS - 1);
    if (!all) depths[0] = s->depths[d->sample.index % s->n_depths];
    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        for (; k > 0 && depths[d->order[k - 1]] > depths[i]; k--) d->order[k] = d->order[k - 1];
        d->order[k] = i;
    }
    for (size_t i = 0; i < n; i++) {
        d->slots['k'] = d->keys[d->order[i]].text;
        d->slots['o'] = d->owners[d->order[i]];
        d->needles[i] = (qk_needle){ .text = expand(d, d->recipe->wording->statement), .depth = depths[d->order[i]] };
    }
    d->sample.depth = all ? depths[d->order[0]] : depths[0];
    return status;
}

/* ---- what is asked, and what is right */

static void ask_key(draft *d, qk_rng *rng)
{
    (void)rng;
    d->sample.answer = d->keys[0].text;
}

/* In the order of the text. */
static void ask_values(draft *d, qk_rng *rng)
{
    (void)rng;
    size_t n = d->recipe->n_needles;
    for (size_t i = 0; i < n; i++) d->sample.expected[i] = d->keys[d->order[i]].text;
    d->sample.n_expected = n;
    d->sample.answer = list(d, d->sample.expected, n);
}

/* Needles are drawn in the order in which they are asked for; their order in the text is another one. */
static void ask_owners(draft *d, qk_rng *rng)
{
    (void)rng;
    size_t n = d->recipe->n_needles;
    const char *owners[QK_PROBE_NEEDLES];
    for (size_t i = 0; i < n; i++) {
        d->sample.expected[i] = d->keys[i].text;
        owners[i] = d->owners[i];
    }
    d->sample.n_expected = n;
    d->sample.answer = list(d, d->sample.expected, n);
    d->slots['q'] = list(d, owners, n);
}

static const char *copy(draft *d, const char *text)
{
    const char *out = qk_arena_copy(&d->arena, text, strlen(text));
    d->failed = d->failed || !out;
    return out ? out : "";
}

static void add_choice(draft *d, const char *text) { d->sample.choices[d->sample.n_choices++] = text; }

/* Even indices are true; near misses take turns. */
static void ask_yes_no(draft *d, qk_rng *rng)
{
    size_t index = d->sample.index;
    qk_key asked = d->keys[0];
    if (index % 2)
        qk_key_miss(&asked, &d->keys[0], (qk_near_miss)(index / 2 % QK_N_MISSES), d->settings->alphabet, rng);
    d->slots['x'] = copy(d, asked.text);
    d->sample.answer = index % 2 ? "no" : "yes";
    add_choice(d, "yes");
    add_choice(d, "no");
}

/* Bit 0 of a choice: swapped, bit 1: changed; the right one is neither, wherever it stands. */
static void ask_which(draft *d, qk_rng *rng)
{
    qk_key kin[QK_PROBE_CHOICES];
    size_t right = qk_rng_below(rng, QK_PROBE_CHOICES);
    qk_key_kin(kin, &d->keys[0], d->settings->alphabet, rng);
    for (size_t i = 0; i < QK_PROBE_CHOICES; i++) add_choice(d, copy(d, kin[i ^ right].text));
    d->sample.answer = d->sample.choices[right];
}

static void ask(draft *d, qk_rng *rng)
{
    qk_probe_sample *sample = &d->sample;
    d->slots['q'] = d->owners[0];
    d->recipe->ask(d, rng);
    sample->scoring = d->recipe->scoring;
    sample->max_new = d->recipe->max_new;
    sample->chance = sample->n_choices ? 1 / (double)sample->n_choices : NAN;
    sample->retrieval = d->recipe->ask != ask_yes_no;
}

/* ---- a sample */

/* How much longer the text becomes with a choice of its own, or with all the tokens that may be written, than with
 * the right answer: *more tokens. */
static qk_status longest_answer(size_t *more, const draft *d, const char *tail, qk_error *err)
{
    const qk_probe_sample *sample = &d->sample;
    size_t n_tail, n_right, most;
    qk_status status = qk_count_tokens(&n_tail, d->fitter, tail, NULL, err);
    if (!status) status = qk_count_tokens(&n_right, d->fitter, tail, sample->answer, err);
    if (status) return status;
    most = n_tail + sample->max_new > n_right ? n_tail + sample->max_new : n_right;
    for (size_t i = 0; i < sample->n_choices && !status; i++) {
        size_t n;
        status = qk_count_tokens(&n, d->fitter, tail, sample->choices[i], err);
        if (!status && n > most) most = n;
    }
    *more = most - n_right;
    return status;
}

static qk_status draw_sample(draft *d, qk_error *err)
{
    const recipe *r = d->recipe;
    bool digits = d->settings->alphabet == QK_ALPHABET_DIGITS;
    qk_rng rng = stream_of(d, OF_KEYS);
    d->slots['n'] = digits ? "numbers" : "codes";
    d->slots['N'] = digits ? "number" : "code";
    draw_keys(d, &rng);
    qk_status status = draw_depths(d, &rng, err);
    if (status) return status;
    ask(d, &rng);
    qk_frame frame = { .wording = r->wording, .head = expand(d, r->wording->head), .tail = expand(d, r->wording->tail),
                       .needles = d->needles, .n_needles = r->n_needles, .begin = r->begin };
    if (d->failed) return qk_out_of_memory(err, "a prompt", 0);
    frame.answer = d->sample.answer;
    status = longest_answer(&frame.spare, d, frame.tail, err);
    if (!status) status = qk_fit(d->fitter, &d->sample.tokens, &frame, d->wanted, stream_of(d, OF_FILLER), err);
    if (status) return qk_prefix(err, status, "probe %s with a key of %zu characters", r->name, d->sample.key_length);
    d->sample.prompt = d->fitter->prompt.data;
    if (r->begin) d->sample.depth = d->needles[0].depth;
    snprintf(d->sample.id, sizeof d->sample.id, "%s-d%u-%zu", d->sample.category, d->sample.depth, d->sample.index);
    return QK_OK;
}

typedef struct category { qk_probe_kind kind; size_t tokens, key_length; } category;

static qk_status each_of_category(const category *c, const qk_probes_settings *settings, qk_fitter *fitter,
                                  qk_probe_visit *visit, void *user, qk_error *err)
{
    const recipe *r = &recipes[c->kind];
    qk_status status = QK_OK;
    if (settings->context && c->tokens > settings->context)
        return qk_fail(err, QK_E_ARGUMENT, "probe %s: expected at most %zu tokens, the context (-c sets it), found %zu",
                       r->name, settings->context, c->tokens);
    for (size_t i = 0; i < settings->per_category && !status; i++) {
        draft d = { .recipe = r, .settings = settings, .fitter = fitter, .wanted = c->tokens };
        qk_probe_sample *sample = &d.sample;
        sample->kind = c->kind;
        sample->key_length = c->key_length;
        sample->index = i;
        snprintf(sample->category, sizeof sample->category, "%s-%zu-%zu", r->base ? r->base : r->name, c->tokens,
                 c->key_length);
        status = draw_sample(&d, err);
        if (!status) status = visit(user, sample, err);
        qk_arena_free(&d.arena);
    }
    return status;
}

qk_status qk_probes_each(const qk_probes_settings *settings, qk_probe_visit *visit, void *user, qk_error *err)
{
    qk_fitter fitter = { .counter = &settings->counter };
    qk_status status = QK_OK;
    for (int kind = 0; kind < QK_N_PROBE_KINDS; kind++) {
        const recipe *r = &recipes[kind];
        size_t n_tokens = r->tokens ? 1 : settings->n_tokens;
        size_t n_keys = r->tokens || settings->n_key_lengths == 0 ? 1 : settings->n_key_lengths;
        if (!(settings->kinds >> kind & 1)) continue;
        for (size_t i = 0; i < n_tokens * n_keys && !status; i++) {
            category c = { (qk_probe_kind)kind, r->tokens, r->key_length };
            if (r->tokens == 0) c.tokens = settings->tokens[i / n_keys];
            if (r->tokens == 0 && settings->n_key_lengths) c.key_length = settings->key_lengths[i % n_keys];
            status = each_of_category(&c, settings, &fitter, visit, user, err);
        }
    }
    qk_fitter_free(&fitter);
    return status;
}

/* ---- as a quiz */

static qk_status add_to_set(void *user, const qk_probe_sample *sample, qk_error *err)
{
    qk_quiz_source source = { .id = sample->id, .prompt = sample->prompt, .answer = sample->answer,
                              .category = sample->category, .contextual = true, .scoring = sample->scoring,
                              .retrieval = sample->retrieval, .expected = sample->expected,
                              .n_expected = sample->n_expected, .max_new = sample->max_new,
                              .goes_on = sample->max_new > 0, .chance = sample->chance,
                              .choices = sample->choices, .n_choices = sample->n_choices,
                              .place = { "probes", sample->index + 1 } };
    return qk_quiz_set_add(user, &source, err);
}

qk_status qk_quiz_probes(qk_quiz *out, const qk_probes_settings *settings, qk_error *err)
{
    qk_quiz_set set = { .quiz = { .per_category = settings->per_category, .source = "probes",
                                  .seed = settings->seed } };
    qk_status status = qk_quiz_check_limit(settings->per_category, err);
    if (!status) status = qk_probes_each(settings, add_to_set, &set, err);
    if (!status) return qk_quiz_set_finish(out, &set, err);
    qk_quiz_set_free(&set);
    return status;
}
