/* world_words.c - syllables of invented names, lists of words. */
#include "text/world_private.h"

#include <string.h>

static const char *const starts[] = {
    "Al",  "Bar", "Bel", "Bor", "Cal", "Cor", "Dal", "Del", "Dor", "El",  "Far", "Fel", "Gal", "Gor", "Hal",
    "Hel", "Is",  "Jor", "Kal", "Kel", "Lan", "Lor", "Mal", "Mer", "Mor", "Nal", "Nor", "Ol",  "Or",  "Pal",
    "Per", "Ral", "Ren", "Sal", "Sel", "Sor", "Tal", "Tor", "Val", "Ver", "Vor", "Wen", "Yar", "Zel",
};
const qk_world_words qk_world_starts = WORDS(starts);

static const char *const country_endings[] = { "dia", "vonia", "land", "ania" };
static const char *const city_endings[] = { "burg", "dam",  "ford", "gate", "ham",  "mouth",
                                            "port", "ston", "ton",  "vik",  "wick", "haven" };
static const char *const person_endings[] = { "bert", "dric", "fina", "gard", "lind", "mund", "nessa", "wina", "wyn" };
static const char *const river_endings[] = { "une", "sa", "enna", "ive" };
static const char *const sea_endings[] = { "aric", "otic" };
static const char *const passing_endings[] = {
    "a",  "ab", "ak", "am", "an", "ba", "bo", "da", "di", "do", "eb", "ek", "em", "en", "es", "fa", "fi",
    "go", "ik", "im", "in", "ka", "ki", "ko", "la", "li", "lo", "ma", "mi", "mo", "na", "ni", "no", "ob",
    "ok", "om", "pa", "pi", "po", "ra", "ri", "ro", "ta", "ti", "to", "um", "us", "va", "vi", "zo",
};
const qk_world_words qk_world_passing_endings = WORDS(passing_endings);

static const char *const animals[] = { "bear",   "bee",   "bull",   "cat",   "cow",   "crab", "crow", "deer",
                                       "dog",    "dove",  "duck",   "fish",  "fox",   "frog", "goat", "goose",
                                       "hare",   "hawk",  "hen",    "horse", "lamb",  "lion", "mole", "mouse",
                                       "rabbit", "snake", "spider", "swan",  "tiger", "wolf" };
static const char *const products[] = { "barley", "beer",    "bread", "bricks", "butter", "candles", "carpets",
                                        "cheese", "cloth",   "coal",  "copper", "corn",   "drums",   "flour",
                                        "glass",  "gold",    "hats",  "honey",  "iron",   "jam",     "knives",
                                        "lace",   "leather", "milk",  "nails",  "paper",  "pepper",  "pots",
                                        "rice",   "rope",    "salt",  "shoes",  "silk",   "silver",  "soap",
                                        "sugar",  "tea",     "tin",   "wine",   "wool" };
static const char *const trades[] = { "baker",   "banker", "barber",  "brewer",  "butcher",  "carpenter", "clerk",
                                      "cook",    "dancer", "doctor",  "driver",  "farmer",   "fisher",    "gardener",
                                      "guard",   "hunter", "judge",   "king",    "lawyer",   "mason",     "miller",
                                      "miner",   "nurse",  "painter", "pilot",   "poet",     "porter",    "potter",
                                      "printer", "priest", "sailor",  "scholar", "shepherd", "singer",    "smith",
                                      "soldier", "tailor", "teacher", "weaver",  "writer" };
const qk_world_words qk_world_endings[N_ENTITIES] = {
    [ENTITY_COUNTRY] = WORDS(country_endings), [ENTITY_CITY] = WORDS(city_endings),
    [ENTITY_PERSON] = WORDS(person_endings),   [ENTITY_RIVER] = WORDS(river_endings),
    [ENTITY_SEA] = WORDS(sea_endings),         [ENTITY_ANIMAL] = WORDS(animals),
    [ENTITY_PRODUCT] = WORDS(products),        [ENTITY_TRADE] = WORDS(trades),
};

static const char *const makes[] = { "glass", "iron",   "wind",  "water", "sun",
                                     "steam", "wooden", "stone", "paper", "silver" };
static const char *const things[] = { "clock", "lamp", "mill",   "bell", "pump",
                                      "wheel", "loom", "plough", "lock", "compass" };
const qk_world_words qk_world_makes = WORDS(makes), qk_world_things = WORDS(things);

/* ---- lists that patterns name */

static const char *const colours[] = { "red",  "blue",   "green", "black",  "white",  "brown",
                                       "grey", "yellow", "pink",  "purple", "violet", "golden" };
static const char *const objects[] = { "lamp",   "key",   "coin",   "cup",     "book",   "ring",   "knife",
                                       "stone",  "shell", "rope",   "hat",     "drum",   "spoon",  "glove",
                                       "candle", "map",   "mirror", "feather", "needle", "bottle", "brush",
                                       "comb",   "plate", "belt",   "button",  "flute" };
static const char *const plurals[] = { "apples", "eggs",  "books", "stones", "shells", "coins", "pears",   "nuts",
                                       "cups",   "cakes", "plums", "boxes",  "fish",   "bags",  "candles", "flowers" };
static const char *const foods[] = { "bread", "soup", "cheese", "fish", "rice", "cake", "honey", "beans" };
static const char *const places[] = { "market", "harbour", "bridge", "mill",  "school", "garden",
                                      "tower",  "forest",  "inn",    "field", "well",   "square" };
static const char *const times[] = { "morning", "evening", "day", "night", "week", "summer", "winter", "spring" };
static const char *const neutral[] = { "quiet", "strange", "small", "long", "busy",
                                       "wide",  "warm",    "cold",  "dry",  "late" };
static const char *const good[] = { "wonderful", "clean",   "friendly", "lovely",   "splendid", "fresh",
                                    "kind",      "perfect", "pleasant", "cheerful", "superb",   "delightful" };
static const char *const bad[] = { "terrible", "dirty",  "rude",  "shabby", "horrible", "stale",
                                   "cruel",    "broken", "nasty", "dismal", "horrid",   "dreadful" };
static const char *const aspects[] = { "food", "room", "service", "place",  "music",
                                       "host", "bed",  "table",   "garden", "view" };
static const char *const reviewed[] = { "inn", "shop", "boat", "play", "house", "tavern", "bath", "fair" };
static const char *const feelings[] = { "happy", "tired", "calm", "proud", "hungry", "glad" };
static const char *const people[] = {
    "Ada",   "Alma",  "Anna",  "Anton", "Berta", "Bruno", "Carl",  "Clara", "David", "Dora",  "Edith", "Emil",
    "Emma",  "Ernst", "Eva",   "Felix", "Fred",  "Frida", "Georg", "Greta", "Hanna", "Hugo",  "Ida",   "Igor",
    "Irma",  "Jacob", "Jana",  "Judith", "Karl", "Klara", "Lars",  "Lena",  "Leo",   "Linda", "Lucas", "Maria",
    "Marta", "Max",   "Mina",  "Nils",  "Nina",  "Olga",  "Oscar", "Otto",  "Paul",  "Paula", "Petra", "Ralph",
    "Rita",  "Rosa",  "Simon", "Sofia", "Sven",  "Tilda", "Tom",   "Ulla",  "Viktor", "Vera", "Walter", "Zora",
};
static const char *const carriers[] = { "boat", "cart", "horse", "coach", "ship" };

/* a aspects, b bad, c colours, f foods, g good, h feelings, n neutral, o objects, p places, q plurals, r reviewed,
 * t times, v vehicles, y people; and animals k, products m, trades w */
const qk_world_words qk_world_lists[26] = {
    ['a' - 'a'] = WORDS(aspects),  ['b' - 'a'] = WORDS(bad),      ['c' - 'a'] = WORDS(colours),
    ['f' - 'a'] = WORDS(foods),    ['g' - 'a'] = WORDS(good),     ['h' - 'a'] = WORDS(feelings),
    ['k' - 'a'] = WORDS(animals),  ['m' - 'a'] = WORDS(products), ['n' - 'a'] = WORDS(neutral),
    ['o' - 'a'] = WORDS(objects),  ['p' - 'a'] = WORDS(places),   ['q' - 'a'] = WORDS(plurals),
    ['r' - 'a'] = WORDS(reviewed), ['t' - 'a'] = WORDS(times),    ['v' - 'a'] = WORDS(carriers),
    ['w' - 'a'] = WORDS(trades),   ['y' - 'a'] = WORDS(people),
};

/* ---- names */

static bool already_named(const qk_world *world, const char *name)
{
    for (size_t kind = 0; kind < N_ENTITIES; kind++)
        for (size_t i = 0; i < MOST_OF_A_KIND && world->names[kind][i]; i++)
            if (strcmp(world->names[kind][i], name) == 0) return true;
    return false;
}

/* The first and the second word, joined; NULL when out of memory. */
static const char *join(qk_world *world, const char *first, const char *between, const char *second)
{
    char name[40];
    int n = snprintf(name, sizeof name, "%s%s%s", first, between, second);
    return qk_arena_copy(&world->arena, name, (size_t)n);
}

/* `n` names of all that can be built from two lists, in random order. */
static bool build_names(qk_world *world, qk_world_entity kind, qk_world_words first, const char *between,
                        qk_world_words second, size_t n, qk_rng *rng)
{
    uint32_t picks[MOST_OF_A_KIND];
    if (qk_rng_sample(picks, (uint32_t)n, (uint32_t)(first.n * second.n), rng, NULL)) return false;
    for (size_t i = 0; i < n; i++) {
        world->names[kind][i] =
            join(world, first.items[picks[i] / second.n], between, second.items[picks[i] % second.n]);
        if (!world->names[kind][i]) return false;
    }
    return true;
}

static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0;
    for (; *text; text++) hash = qk_world_hash(hash, (uint8_t)*text);
    return hash;
}

static bool name_passing(qk_world *world)
{
    qk_world_words first = qk_world_starts, second = qk_world_passing_endings;
    for (int split = 0; split < 3; split++) {
        world->passing[split] = qk_arena_alloc(&world->arena, first.n * second.n * sizeof(char *));
        if (!world->passing[split]) return false;
    }
    for (size_t i = 0; i < first.n * second.n; i++) {
        const char *name = join(world, first.items[i / second.n], "", second.items[i % second.n]);
        if (!name) return false;
        if (already_named(world, name)) continue;
        qk_split split = qk_world_split_of(hash_of(name));
        world->passing[split][world->n_passing[split]++] = name;
    }
    return true;
}

bool qk_world_name(qk_world *world)
{
    static const struct {
        qk_world_entity kind;
        size_t n;
    } invented[] = {
        { ENTITY_COUNTRY, N_COUNTRIES }, { ENTITY_CITY, N_CITIES }, { ENTITY_PERSON, N_PERSONS },
        { ENTITY_RIVER, N_RIVERS },      { ENTITY_SEA, N_SEAS },
    };
    qk_rng rng;
    qk_rng_seed(&rng, 1); /* the names are the same for every seed of the text */
    for (size_t i = 0; i < sizeof invented / sizeof *invented; i++)
        if (!build_names(world, invented[i].kind, qk_world_starts, "", qk_world_endings[invented[i].kind],
                         invented[i].n, &rng))
            return false;
    if (!build_names(world, ENTITY_INVENTION, qk_world_makes, " ", qk_world_things, N_INVENTIONS, &rng)) return false;
    for (qk_world_entity kind = ENTITY_ANIMAL; kind <= ENTITY_TRADE; kind++)
        memcpy(world->names[kind], qk_world_endings[kind].items, qk_world_endings[kind].n * sizeof(char *));
    return name_passing(world);
}
