/* world_events.c - what only one document says, told as small stories: sums, order of events, reviews. */
#include "text/world_private.h"

#include <string.h>

/* ---- sums */

typedef struct sum_story {
    const char *story, *questions[2];
} sum_story; /* %a, %b numbers, %x things, %p and %q names */

static const sum_story sum_stories[] = {
    { "This @t %p had %a %x. Then %q gave %p %b more %x.",
      { "How many %x does %p have now?", "How many %x has %p in all?" } },
    { "In the house of %p there were %a %x. On the next day %q brought %b more.",
      { "How many %x are in the house of %p now?", "How many %x are there in all?" } },
    { "At the @p %p bought %a %x, and later %b more %x.",
      { "How many %x did %p buy?", "How many %x did %p buy in all?" } },
    { "First %p found %a %x. After that %p found %b more.",
      { "How many %x did %p find?", "How many %x did %p find in all?" } },
    { "There are %a %x in the bag of %p. There are %b %x in the bag of %q.",
      { "How many %x do %p and %q have together?", "How many %x are in the two bags?" } },
    { "The cart of %p carries %a %x. At the @p they put %b more %x on it.",
      { "How many %x are on the cart of %p?", "How many %x does the cart carry now?" } },
    { "On the table of %p lie %a %x. Now %q puts %b %x beside them.",
      { "How many %x lie on the table of %p?", "How many %x are on the table now?" } },
    { "For the feast %p made %a %x and %q made %b %x.",
      { "How many %x did %p and %q make together?", "How many %x were made for the feast?" } },
    { "In the @t %p sold %a %x. In the evening %p sold %b more.",
      { "How many %x did %p sell?", "How many %x did %p sell in all?" } },
    { "The boat of %p brought %a %x, and the boat of %q brought %b %x.",
      { "How many %x did the two boats bring?", "How many %x came with the boats?" } },
    { "The child of %p drew %a %x. The child of %q drew %b %x.",
      { "How many %x did the children draw?", "How many %x were drawn in all?" } },
    { "When %p came to the @p, there were %a %x. Then %q added %b.",
      { "How many %x are there now?", "How many %x are at the place now?" } },
};

size_t qk_world_sum(qk_world_writer *writer, qk_world_asked *asked)
{
    const sum_story *told = &sum_stories[qk_world_below(writer, sizeof sum_stories / sizeof *sum_stories)];
    size_t a = 1 + qk_world_below(writer, 9), b = 1 + qk_world_below(writer, 9), sum = a + b;
    const char *names[2];
    char numbers[2][8];
    snprintf(numbers[0], sizeof numbers[0], "%zu", a);
    snprintf(numbers[1], sizeof numbers[1], "%zu", b);
    for (size_t i = 0; i < 2; i++) names[i] = qk_world_passing_name(writer, names, i);
    writer->slots['a'] = numbers[0];
    writer->slots['b'] = numbers[1];
    writer->slots['p'] = names[0];
    writer->slots['q'] = names[1];
    writer->slots['x'] = qk_world_word(writer, 'q');
    if (qk_world_chance(writer, 35)) qk_world_filler(writer);
    qk_world_space(writer);
    qk_world_pattern(writer, told->story);
    if (qk_world_chance(writer, 35)) qk_world_filler(writer);
    qk_world_aside(asked->question, sizeof asked->question, writer, told->questions[qk_world_below(writer, 2)]);
    snprintf(asked->answer, sizeof asked->answer, "%zu", sum);
    return 1;
}

/* ---- order of events */

typedef struct order_style {
    const char *opener;                       /* %p a name */
    const char *first[2], *next[3], *last[2]; /* %x who or what */
    const char *ask_first[2], *ask_last[2], *ask_after[2];
    char items; /* a word list */
} order_style;

static const order_style order_styles[] = {
    { "Many came to the feast of %p.",
      { "First came the %x.", "The %x was there first." },
      { "Then came the %x.", "Next came the %x.", "After that came the %x." },
      { "At last came the %x.", "The last one was the %x." },
      { "Who came first?", "Who was the first to come?" },
      { "Who came last?", "Who was the last to come?" },
      { "Who came right after the %x?", "Who came next after the %x?" },
      'w' },
    { "The animals ran a race for %p.",
      { "First was the %x.", "The %x was the fastest and came first." },
      { "Then came the %x.", "Next was the %x.", "After that came the %x." },
      { "At last came the %x.", "The last one was the %x." },
      { "Which animal came first?", "Who was first in the race?" },
      { "Which animal came last?", "Who was last in the race?" },
      { "Which animal came right after the %x?", "Who came next after the %x?" },
      'k' },
    { "The friends of %p went up the tower one by one.",
      { "First went %x.", "The first to go was %x." },
      { "Then went %x.", "Next was %x.", "After that went %x." },
      { "At last went %x.", "The last one was %x." },
      { "Who went first?", "Who was the first to go up?" },
      { "Who went last?", "Who was the last to go up?" },
      { "Who went right after %x?", "Who went next after %x?" },
      'y' },
    { "On the long journey %p came through many villages.",
      { "First there was %x.", "The first village was %x." },
      { "Then there was %x.", "Next was %x.", "After that came %x." },
      { "At last there was %x.", "The last village was %x." },
      { "Which village was first?", "What was the first village?" },
      { "Which village was last?", "What was the last village?" },
      { "Which village came right after %x?", "What came next after %x?" },
      'y' },
    { "Out of the old box %p took one thing after another.",
      { "First there was a %x.", "The first thing was a %x." },
      { "Then there was a %x.", "Next came a %x.", "After that came a %x." },
      { "At last there was a %x.", "The last thing was a %x." },
      { "Which thing was first?", "What came out first?" },
      { "Which thing was last?", "What came out last?" },
      { "Which thing came right after the %x?", "What came next after the %x?" },
      'o' },
    { "In the show of %p the lights changed colour.",
      { "First the light was %x.", "It began with %x." },
      { "Then it was %x.", "Next came %x.", "After that came %x." },
      { "At last it was %x.", "It ended with %x." },
      { "Which colour was first?", "What was the first colour?" },
      { "Which colour was last?", "What was the last colour?" },
      { "Which colour came right after %x?", "What came next after %x?" },
      'c' },
};

static void ask_order(qk_world_asked *asked, qk_world_writer *writer, const char *question, const char *answer)
{
    qk_world_aside(asked->question, sizeof asked->question, writer, question);
    snprintf(asked->answer, sizeof asked->answer, "%s", answer);
}

/* What came behind item `i`. */
static void ask_after(qk_world_asked *asked, qk_world_writer *writer, const order_style *style,
                      const char *const *items, size_t i)
{
    writer->slots['x'] = items[i];
    ask_order(asked, writer, style->ask_after[qk_world_below(writer, 2)], items[i + 1]);
}

/* `n` items; none follows another as it does in another split.  Begins anew where no item can follow. */
static void draw_sequence(const char **items, size_t n, qk_world_writer *writer, char list)
{
    enum { TRIES = 100 };
    size_t tries = 0;
    for (size_t i = 0; i < n; tries++) {
        if (tries % TRIES == 0) i = 0;
        items[i] = qk_world_other_word(writer, list, items, i);
        if (i == 0 || qk_world_pair_is_ours(writer, items[i - 1], items[i])) i++;
    }
}

size_t qk_world_order(qk_world_writer *writer, qk_world_asked *asked)
{
    const order_style *style = &order_styles[qk_world_below(writer, sizeof order_styles / sizeof *order_styles)];
    enum { MOST_ITEMS = 5 };
    const char *items[MOST_ITEMS];
    size_t n = 3 + qk_world_below(writer, MOST_ITEMS - 2), n_asked = 0, after = qk_world_below(writer, n - 1);
    writer->slots['p'] = qk_world_passing_name(writer, NULL, 0);
    qk_world_space(writer);
    qk_world_pattern(writer, style->opener);
    if (qk_world_chance(writer, 20)) qk_world_filler(writer);
    draw_sequence(items, n, writer, style->items);
    for (size_t i = 0; i < n; i++) {
        writer->slots['x'] = items[i];
        qk_world_put(writer, " ");
        qk_world_pattern(writer, i == 0       ? style->first[qk_world_below(writer, 2)]
                                 : i + 1 == n ? style->last[qk_world_below(writer, 2)]
                                              : style->next[qk_world_below(writer, 3)]);
    }
    ask_order(&asked[n_asked++], writer, style->ask_first[qk_world_below(writer, 2)], items[0]);
    ask_order(&asked[n_asked++], writer, style->ask_last[qk_world_below(writer, 2)], items[n - 1]);
    ask_after(&asked[n_asked++], writer, style, items, after);
    qk_world_shuffle(asked, n_asked, writer);
    for (size_t i = 0; i + 1 < n && writer->whole; i++) /* the first one stays: asked alone, it is the question */
        if (i != after) ask_after(&asked[n_asked++], writer, style, items, i);
    if (writer->whole) qk_world_shuffle(asked + 1, n_asked - 1, writer);
    return n_asked;
}

/* ---- reviews */

static const char *const openers[] = {
    "Review of the @r of %p:",
    "What I think of the @r of %p.",
    "I was at the @r of %p this @t.",
    "A guest writes about the @r of %p.",
    "My visit to the @r of %p.",
    "Last @t we went to the @r of %p.",
    "A few words about the @r that %p runs.",
};
static const char *const good_lines[] = {
    "The @a was @g.",
    "The @a was very @g.",
    "I found the @a @g.",
    "We loved the @a, it was @g.",
    "Everything was @g and @g.",
    "I will come again.",
    "We enjoyed every hour.",
    "What a @g @a!",
    "The @a made us happy.",
    "It was worth every coin.",
    "I told all my friends to go there.",
    "Never have I seen such a @g @a.",
};
static const char *const bad_lines[] = {
    "The @a was @b.",
    "The @a was very @b.",
    "I found the @a @b.",
    "We hated the @a, it was @b.",
    "Everything was @b and @b.",
    "I will never come again.",
    "We regretted every hour.",
    "What a @b @a!",
    "The @a made us angry.",
    "It was a waste of coin.",
    "I told all my friends to stay away.",
    "Never have I seen such a @b @a.",
};
static const char *const plain_lines[] = {
    "The @p is not far.",       "We came by @v.",        "It was a @n @t.",
    "We stayed for one night.", "There were @n people.", "The @r stands by the @p.",
};
static const char *const verdicts[] = {
    "Is this review good or bad?",
    "Was the visit good or bad?",
    "Does the guest find it good or bad?",
    "Is the opinion good or bad?",
};

size_t qk_world_sentiment(qk_world_writer *writer, qk_world_asked *asked)
{
    bool liked = qk_world_below(writer, 2) == 1;
    size_t n = 2 + qk_world_below(writer, 4);
    writer->slots['p'] = qk_world_passing_name(writer, NULL, 0);
    if (writer->n > 0 && writer->text[writer->n - 1] != '\n') qk_world_put(writer, "\n");
    PATTERN_OF(writer, openers);
    for (size_t i = 0; i < n; i++) {
        qk_world_put(writer, " ");
        if (i > 0 && qk_world_chance(writer, 25))
            PATTERN_OF(writer, plain_lines);
        else if (liked)
            PATTERN_OF(writer, good_lines);
        else
            PATTERN_OF(writer, bad_lines);
    }
    qk_world_aside(asked->question, sizeof asked->question, writer, verdicts[qk_world_below(writer, 4)]);
    snprintf(asked->answer, sizeof asked->answer, "%s", liked ? "good" : "bad");
    return 1;
}
