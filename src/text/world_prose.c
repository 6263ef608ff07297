/* world_prose.c - the registers that tell of the world: story, report, dialogue, manual, letter. */
#include "text/world_private.h"

#include <stdio.h>

void qk_world_filler(qk_world_writer *writer)
{
    static const char *const sentences[] = {
        "It was a @n @t.",
        "The road to the @p was @n.",
        "Somebody sold @f at the @p.",
        "A @k slept beside the @p.",
        "The people at the @p were @h.",
        "There was @f on the table.",
        "The @w was @h that @t.",
        "Children played near the @p.",
        "A @c bird sat on the roof.",
        "The wind came from the @p.",
        "They ate @f and were @h.",
        "The @w talked to the @w for a long time.",
        "A @v stood at the @p.",
        "Nobody said a word.",
        "The sky was @c over the @p.",
        "Someone sang in the @p.",
        "The @t was @n and the @p was empty.",
        "It rained on the @p.",
        "An old woman carried @f to the @p.",
        "The @v was late again.",
        "A @n wall stands around the @p.",
        "The bell of the @p rang.",
        "They waited until the @t was over.",
        "The @w had lost a @o.",
        "A @c flag hung over the @p.",
        "Then all was @n again.",
        "The door of the @p was @c.",
        "Two horses drank at the well.",
        "The light of the @t was @c.",
        "Most people stayed at home that @t.",
        "The @k ran across the @p.",
        "One could smell @f from far away.",
        "The @p had a @c roof.",
        "After the @t came a @n @t.",
        "A @w and a @w walked to the @p.",
        "The table was set with @f and @f.",
    };
    bool new_line = writer->n == 0 || writer->text[writer->n - 1] == '\n';
    if (!new_line) qk_world_put(writer, " ");
    PATTERN_OF(writer, sentences);
}

/* ---- what the text is about just now */

typedef struct topic {
    qk_world_entity kind;
    size_t subject;
} topic;

static void move_to(topic *now, const qk_world *world, qk_world_relation relation)
{
    now->subject = world->facts[world->first_fact[relation] + now->subject].object;
    now->kind = qk_world_manners[relation].object;
}

/* Half of the time on to something that the last subject has to do with: names come back. */
static void next_topic(topic *now, qk_world_writer *writer, bool first)
{
    static const struct {
        qk_world_entity from;
        qk_world_relation by;
    } links[] = {
        { ENTITY_CITY, RELATION_RIVER },  { ENTITY_CITY, RELATION_COUNTRY },       { ENTITY_COUNTRY, RELATION_CAPITAL },
        { ENTITY_PERSON, RELATION_HOME }, { ENTITY_INVENTION, RELATION_INVENTOR },
    };
    const qk_world *world = writer->world;
    size_t drawn = qk_world_below(writer, 10);
    if (!first && drawn < sizeof links / sizeof *links && links[drawn].from == now->kind) {
        move_to(now, world, links[drawn].by);
        return;
    }
    const qk_world_fact *fact = &world->facts[qk_world_below(writer, N_FACTS)];
    now->kind = qk_world_manners[fact->relation].subject;
    now->subject = fact->subject;
}

/* A name as it stands in a running text: "the glass clock", "the river Talune". */
static const char *const called[N_ENTITIES] = { [ENTITY_COUNTRY] = "%s",
                                                [ENTITY_CITY] = "%s",
                                                [ENTITY_PERSON] = "%s",
                                                [ENTITY_INVENTION] = "the %s",
                                                [ENTITY_RIVER] = "the river %s" };

static const char *call(char name[64], qk_world_writer *writer, const topic *about)
{
    writer->slots['s'] = writer->world->names[about->kind][about->subject];
    qk_world_aside(name, 64, writer, called[about->kind]);
    return name;
}

static void tell(qk_world_writer *writer, const topic *about)
{
    qk_world_describe(writer, about->kind, about->subject, 1 + qk_world_below(writer, 3));
}

static void name_speakers(qk_world_writer *writer)
{
    const char *first = qk_world_passing_name(writer, NULL, 0);
    writer->slots['p'] = first;
    writer->slots['q'] = qk_world_passing_name(writer, &first, 1);
}

static void title(qk_world_writer *writer, const char *const *titles, size_t n)
{
    qk_world_pattern_of(writer, titles, n);
    qk_world_put(writer, "\n");
}
#define TITLE(writer, array) title(writer, array, sizeof(array) / sizeof *(array))

/* ---- registers */

void qk_world_write_story(qk_world_writer *writer, size_t wanted)
{
    static const char *const openings[] = {
        "Once there was a traveller whose name was %p.",        "This is the story of %p and %q.",
        "Long ago two friends, %p and %q, left their village.", "One @t a @w called %p packed a bag and left.",
        "When %p was young, the world seemed small.",           "There was a @n @t when %p came by @v.",
    };
    static const char *const moves[] = {
        "On the way %p heard much about %n.",   "At the @p an old @w told %p about %n.",
        "Then %p and %q spoke of %n.",          "The next @t %p dreamed of %n.",
        "In an inn %p read a book about %n.",   "A @w on the @v knew all about %n.",
        "Now %p wanted to know more about %n.", "The song that they sang was about %n.",
        "In the @p there was a picture of %n.", "Soon %q asked %p about %n.",
    };
    static const char *const ends[] = {
        "So %p came home and was @h.",           "And %p never forgot what the road had taught.",
        "That is all that is told of %p.",       "Then %p slept, and the @t was over.",
        "In the end %p and %q went home by @v.",
    };
    topic about;
    char name[64];
    name_speakers(writer);
    PATTERN_OF(writer, openings);
    for (bool first = true; writer->n < wanted && !writer->failed; first = false) {
        next_topic(&about, writer, first);
        writer->slots['n'] = call(name, writer, &about);
        if (qk_world_chance(writer, 65)) {
            qk_world_space(writer);
            PATTERN_OF(writer, moves);
        }
        tell(writer, &about);
        if (qk_world_chance(writer, 30)) qk_world_filler(writer);
        if (qk_world_chance(writer, 15)) qk_world_put(writer, "\n");
    }
    if (writer->n > 0 && writer->text[writer->n - 1] == '\n') writer->text[--writer->n] = '\0';
    qk_world_space(writer);
    PATTERN_OF(writer, ends);
}

/* A sheet: one fact a line, named as the relation is. */
static void write_sheet(qk_world_writer *writer, const topic *about)
{
    const qk_world *world = writer->world;
    qk_world_pattern(writer, "Facts about %n:\n");
    for (qk_world_relation r = 0; r < N_RELATIONS; r++) {
        if (qk_world_manners[r].subject != about->kind) continue;
        size_t fact = world->first_fact[r] + about->subject;
        qk_world_mark(writer, fact);
        writer->slots['r'] = qk_world_manners[r].name;
        writer->slots['o'] = qk_world_object(writer, &world->facts[fact]);
        qk_world_pattern(writer, "- %r: %o\n");
    }
}

void qk_world_write_report(qk_world_writer *writer, size_t wanted)
{
    static const char *const titles[] = {
        "Report on the state of the world",      "Notes of a traveller",
        "From the book of countries and cities", "What the scholars say",
        "The yearly report of the @w",           "News of the @t",
    };
    static const char *const leads[] = {
        "This part is about %n.",       "Here we speak of %n.",    "Next is %n.",
        "About %n we know this.",       "The report turns to %n.", "Let us look at %n.",
        "Many have asked us about %n.",
    };
    topic about;
    char name[64];
    if (qk_world_chance(writer, 70)) TITLE(writer, titles);
    for (bool first = true; writer->n < wanted && !writer->failed; first = false) {
        next_topic(&about, writer, first);
        writer->slots['n'] = call(name, writer, &about);
        if (qk_world_chance(writer, 35)) {
            write_sheet(writer, &about);
            continue;
        }
        PATTERN_OF(writer, leads);
        tell(writer, &about);
        if (qk_world_chance(writer, 15)) qk_world_filler(writer);
        qk_world_put(writer, "\n");
    }
}

void qk_world_write_dialogue(qk_world_writer *writer, size_t wanted)
{
    static const char *const openings[] = {
        "A talk between %p and %q at the @p.",
        "One @t %p and %q met at the @p.",
        "They sat in the @v, %p and %q.",
        "Over a plate of @f, %p and %q began to talk.",
    };
    static const char *const wishes[] = {
        "Tell me something about %n.",
        "What do you know about %n?",
        "I want to know more about %n.",
        "Have you heard of %n?",
        "And what about %n?",
        "You know the world, so tell me about %n.",
        "My teacher spoke of %n today.",
        "Do you remember anything of %n?",
    };
    static const char *const replies[] = { "Of course.",    "Yes, I do.",    "Listen.",
                                           "That is easy.", "Let me think.", "Well now." };
    static const char *const thanks[] = {
        "I did not know that.", "How good to know.", "So it is.", "I have heard that too.", "Thank you.", "I see.",
    };
    topic about;
    char name[64];
    name_speakers(writer);
    PATTERN_OF(writer, openings);
    for (bool first = true; writer->n < wanted && !writer->failed; first = false) {
        next_topic(&about, writer, first);
        writer->slots['n'] = call(name, writer, &about);
        qk_world_pattern(writer, "\n%p: ");
        PATTERN_OF(writer, wishes);
        qk_world_pattern(writer, "\n%q: ");
        PATTERN_OF(writer, replies);
        tell(writer, &about);
        if (qk_world_chance(writer, 40)) {
            qk_world_pattern(writer, "\n%p: ");
            PATTERN_OF(writer, thanks);
            if (qk_world_chance(writer, 30)) qk_world_filler(writer);
        }
    }
}

void qk_world_write_manual(qk_world_writer *writer, size_t wanted)
{
    static const char *const titles[] = {
        "How to travel through the world", "A guide for merchants",        "The handbook of the @w",
        "Rules for a good journey",        "How to prepare for a long @t",
    };
    static const char *const steps[] = {
        "Pack @f and a @o.",
        "Go to the @p and ask for the @w.",
        "Take the @v in the @t.",
        "Learn about %n.",
        "Before you go on, read about %n.",
        "Show your @o at the gate.",
        "Put the @o into the @c bag.",
        "Do not forget %n.",
        "Look up %n on the map.",
        "Wait at the @p until the @t.",
        "Pay with a @c coin.",
        "Think of %n.",
        "Ask the @w about %n.",
    };
    topic about;
    char name[64];
    TITLE(writer, titles);
    for (bool first = true; writer->n < wanted && !writer->failed; first = false) {
        next_topic(&about, writer, first);
        writer->slots['n'] = call(name, writer, &about);
        qk_world_put(writer, first ? "First: " : "Next: ");
        PATTERN_OF(writer, steps);
        tell(writer, &about);
        qk_world_put(writer, "\n");
    }
    qk_world_put(writer, "Then you are done.");
}

void qk_world_write_letter(qk_world_writer *writer, size_t wanted)
{
    static const char *const greetings[] = { "Dear %p,", "My dear %p,", "To my friend %p.", "Good @t, %p!",
                                             "Hello %p," };
    static const char *const beginnings[] = {
        "I write to you in the @t.", "Thank you for the @o.",         "The journey by @v was @n.",
        "I hope that you are @h.",   "At last I have time to write.", "Your letter came with the @v.",
    };
    static const char *const moves[] = {
        "Yesterday I thought of %n.",   "You asked me about %n.",           "I have learned much about %n.",
        "Here they often speak of %n.", "Let me tell you about %n.",        "Your @w friend will like to hear of %n.",
        "I also read about %n.",        "As for %n, you should know this.", "In the @p I saw a picture of %n.",
    };
    static const char *const ends[] = {
        "Yours, %q", "Your friend %q", "With love from %q", "Write soon! Your %q", "Stay @h, yours, %q",
    };
    topic about;
    char name[64];
    name_speakers(writer);
    PATTERN_OF(writer, greetings);
    qk_world_put(writer, "\n");
    PATTERN_OF(writer, beginnings);
    for (bool first = true; writer->n < wanted && !writer->failed; first = false) {
        next_topic(&about, writer, first);
        writer->slots['n'] = call(name, writer, &about);
        qk_world_space(writer);
        PATTERN_OF(writer, moves);
        tell(writer, &about);
        if (qk_world_chance(writer, 25)) qk_world_filler(writer);
        if (qk_world_chance(writer, 12)) qk_world_pattern(writer, "\nBut now to other things.");
    }
    qk_world_put(writer, "\n");
    PATTERN_OF(writer, ends);
}
