/* world_contexts.c - what only one document says: pass keys, key-value lists, counterfacts. */
#include "text/world_private.h"

#include <string.h>

void qk_world_shuffle(qk_world_asked *asked, size_t n, qk_world_writer *writer)
{
    for (size_t i = 0; i + 1 < n; i++) {
        size_t j = i + qk_world_below(writer, n - i);
        qk_world_asked kept = asked[i];
        asked[i] = asked[j];
        asked[j] = kept;
    }
}

/* ---- pass keys */

void qk_world_pass_key(char key[8], qk_world_writer *writer)
{
    size_t number;
    do number = 3000 + qk_world_below(writer, 7000);
    while (qk_world_split_of(qk_world_hash(number, 14)) != writer->split);
    snprintf(key, 8, "%zu", number);
}

/* Words around the key: nothing of use, or facts of the world. */
static void hide(qk_world_writer *writer, size_t n_most)
{
    size_t n = qk_world_below(writer, n_most + 1);
    for (size_t i = 0; i < n; i++) {
        if (qk_world_chance(writer, 25))
            qk_world_state(writer, qk_world_below(writer, N_FACTS));
        else
            qk_world_filler(writer);
    }
}

static size_t pass_keys(qk_world_writer *writer, qk_world_asked *asked)
{
    static const char *const alone[] = {
        "The pass key is %k.",
        "Remember the pass key: it is %k.",
        "The pass key is %k, do not forget it.",
        "Note: the pass key is %k.",
        "One thing matters here: the pass key is %k.",
        "Keep this in mind: the pass key is %k.",
        "The pass key for the @p is %k.",
        "Write it down, the pass key is %k.",
    };
    static const char *const owned[] = {
        "The pass key of %p is %k.",
        "Remember the pass key of %p: it is %k.",
        "The pass key of %p is %k, do not forget it.",
        "Note: the pass key of %p is %k.",
        "Do not tell anyone that the pass key of %p is %k.",
        "The gate opens when you say that the pass key of %p is %k.",
    };
    static const char *const ask_alone[] = {
        "What is the pass key?",  "Which pass key was given?",
        "Say the pass key.",      "Which pass key should you remember?",
        "What was the pass key?",
    };
    static const char *const ask_owned[] = {
        "What is the pass key of %p?",
        "Which pass key has %p?",
        "Say the pass key of %p.",
        "Tell me the pass key of %p.",
    };
    const char *names[3];
    size_t drawn = qk_world_below(writer, 100), n = drawn < 70 ? 1 : drawn < 90 ? 2 : 3;
    bool named = n > 1 || qk_world_chance(writer, 30);
    hide(writer, 6);
    for (size_t i = 0; i < n; i++) {
        char key[8];
        names[i] = qk_world_other_word(writer, 'y', names, i);
        qk_world_pass_key(key, writer);
        writer->slots['k'] = key;
        writer->slots['p'] = names[i];
        qk_world_space(writer);
        if (named)
            PATTERN_OF(writer, owned);
        else
            PATTERN_OF(writer, alone);
        memcpy(asked[i].answer, key, sizeof key);
        qk_world_aside(asked[i].question, sizeof asked[i].question, writer,
                       named ? ask_owned[qk_world_below(writer, 4)] : ask_alone[qk_world_below(writer, 5)]);
        hide(writer, n == 1 ? 4 : 1);
    }
    qk_world_shuffle(asked, n, writer);
    return n;
}

/* ---- keys and values */

typedef struct list_style {
    const char *opener, *row; /* %k key, %x value, %p whose list it is */
    char keys, values;        /* word lists */
    const char *questions[3];
} list_style;

static const list_style list_styles[] = {
    { "This is the list that %p wrote:\n",
      "- %k: %x\n",
      'y',
      'o',
      { "What stands beside %k in the list?", "What does the list say of %k?", "Which thing belongs to %k?" } },
    { "Keys and values from the notes of %p:\n",
      "* %k = %x\n",
      'y',
      'o',
      { "What is the value of %k?", "Which value has %k?", "Give the value of %k." } },
    { "Everyone at the table of %p got a present.",
      " The present of %k was a %x.",
      'y',
      'o',
      { "What was the present of %k?", "Which present did %k get?", "What did %k get?" } },
    { "The guests of %p came in colours.",
      " The colour of %k was %x.",
      'y',
      'c',
      { "What was the colour of %k?", "Which colour had %k?", "In which colour did %k come?" } },
    { "There are many boxes in the house of %p.",
      " In the %k box is a %x.",
      'c',
      'o',
      { "What is in the %k box?", "Which thing is in the %k box?", "What do you find in the %k box?" } },
    { "The children of the school of %p play animals.",
      " Today %k is the %x.",
      'y',
      'k',
      { "Which animal is %k?", "What animal does %k play?", "As which animal does %k play?" } },
    { "The shop of %p has a shelf for each kind of goods.",
      " On the %k shelf there is %x.",
      'c',
      'm',
      { "What is on the %k shelf?", "Which goods are on the %k shelf?", "What do you find on the %k shelf?" } },
    { "In the play of %p everyone has a part.",
      " The part of %k is the %x.",
      'y',
      'w',
      { "What is the part of %k?", "Which part does %k have?", "What part does %k play?" } },
    { "Lost and found, a list by %p:\n",
      "- %x, found by %k\n",
      'y',
      'o',
      { "What was found by %k?", "What did %k find?", "Which thing did %k find?" } },
    { "The rooms of the inn of %p have doors of many colours.",
      " Behind the %k door sleeps the %x.",
      'c',
      'w',
      { "Who sleeps behind the %k door?", "Whom do you find behind the %k door?", "Who is behind the %k door?" } },
};

/* `n` keys with a value each, no pair of which any other split has. */
static void draw_pairs(const char **keys, const char **values, size_t n, qk_world_writer *writer, char list,
                       char others)
{
    for (size_t i = 0; i < n; i++)
        do {
            keys[i] = qk_world_other_word(writer, list, keys, i);
            values[i] = qk_world_other_word(writer, others, values, i);
        } while (!qk_world_pair_is_ours(writer, keys[i], values[i]));
}

static size_t key_values(qk_world_writer *writer, qk_world_asked *asked)
{
    const list_style *style = &list_styles[qk_world_below(writer, sizeof list_styles / sizeof *list_styles)];
    enum { MOST_PAIRS = 5 };
    const char *keys[MOST_PAIRS], *values[MOST_PAIRS];
    size_t n = 3 + qk_world_below(writer, MOST_PAIRS - 2);
    if (qk_world_chance(writer, 15)) qk_world_filler(writer);
    if (writer->n > 0 && writer->text[writer->n - 1] != '\n') qk_world_put(writer, "\n");
    writer->slots['p'] = qk_world_passing_name(writer, NULL, 0);
    qk_world_pattern(writer, style->opener);
    draw_pairs(keys, values, n, writer, style->keys, style->values);
    for (size_t i = 0; i < n; i++) {
        writer->slots['k'] = keys[i];
        writer->slots['x'] = values[i];
        qk_world_pattern(writer, style->row);
        qk_world_aside(asked[i].question, sizeof asked[i].question, writer,
                       style->questions[qk_world_below(writer, 3)]);
        snprintf(asked[i].answer, sizeof asked[i].answer, "%s", values[i]);
    }
    if (writer->text && writer->text[writer->n - 1] == '\n') writer->text[--writer->n] = '\0';
    if (qk_world_chance(writer, 15)) qk_world_filler(writer);
    qk_world_shuffle(asked, n, writer);
    return n;
}

/* ---- counterfacts */

static const struct {
    const char *opener, *source;
} false_worlds[] = {
    { "This is a letter from %p. In it the world is not as we know it.", "letter" },
    { "Here is a tale that %p tells. In this tale many things are changed.", "tale" },
    { "In the dream of %p the world was another.", "dream" },
    { "The song of %p does not tell the truth about the world.", "song" },
    { "Once %p wrote a book about a world that does not exist.", "book" },
    { "The play of %p shows a world that was made up.", "play" },
    { "In the story of %p nothing is as it is with us.", "story" },
};

/* An object that the fact does not have, of the writer's split. */
static const char *draw_false_object(qk_world_writer *writer, size_t fact)
{
    const qk_world_fact *it = &writer->world->facts[fact];
    qk_world_entity kind = qk_world_manners[it->relation].object;
    size_t n = 0;
    while (n < MOST_OF_A_KIND && writer->world->names[kind][n]) n++;
    for (;;) {
        size_t object = qk_world_below(writer, n);
        qk_split split = qk_world_split_of(qk_world_hash(qk_world_hash(fact, 13), object));
        if (object != it->object && split == writer->split) return writer->world->names[kind][object];
    }
}

static bool has_false_object(const qk_world_writer *writer, size_t fact)
{
    const qk_world_fact *it = &writer->world->facts[fact];
    qk_world_entity kind = qk_world_manners[it->relation].object;
    for (size_t object = 0; object < MOST_OF_A_KIND && writer->world->names[kind][object]; object++)
        if (object != it->object && qk_world_split_of(qk_world_hash(qk_world_hash(fact, 13), object)) == writer->split)
            return true;
    return false;
}

static size_t counterfacts(qk_world_writer *writer, qk_world_asked *asked)
{
    static const char *const questions[] = { "According to the %d, %w", "In the %d: %w", "As the %d has it, %w" };
    size_t style = qk_world_below(writer, sizeof false_worlds / sizeof *false_worlds),
           n = 1 + qk_world_below(writer, 2);
    if (writer->n > 0 && writer->text[writer->n - 1] != '\n') qk_world_put(writer, "\n");
    writer->slots['p'] = qk_world_passing_name(writer, NULL, 0);
    qk_world_pattern(writer, false_worlds[style].opener);
    for (size_t i = 0; i < n; i++) {
        char wording[180];
        size_t fact;
        do fact = qk_world_fresh_fact(writer);
        while (!has_false_object(writer, fact));
        const char *object = draw_false_object(writer, fact);
        qk_world_mark(writer, fact);
        if (qk_world_chance(writer, 25)) qk_world_filler(writer);
        qk_world_state_as(writer, &writer->world->facts[fact], object);
        if (qk_world_chance(writer, 25)) qk_world_filler(writer);
        qk_world_wording(wording, sizeof wording, writer, fact);
        wording[0] = (char)(wording[0] - 'A' + 'a'); /* every wording begins with a capital letter */
        writer->slots['d'] = false_worlds[style].source;
        writer->slots['w'] = wording;
        qk_world_aside(asked[i].question, sizeof asked[i].question, writer, questions[qk_world_below(writer, 3)]);
        snprintf(asked[i].answer, sizeof asked[i].answer, "%s", object);
    }
    qk_world_shuffle(asked, n, writer);
    return n;
}

qk_world_context *const qk_world_contexts[QK_N_QUESTION_KINDS] = {
    [QK_QUESTION_PASS_KEY] = pass_keys,
    [QK_QUESTION_KEY_VALUE] = key_values,
    [QK_QUESTION_SUM] = qk_world_sum,
    [QK_QUESTION_ORDER] = qk_world_order,
    [QK_QUESTION_SENTIMENT] = qk_world_sentiment,
    [QK_QUESTION_COUNTERFACT] = counterfacts,
};
