/* probes_words.c - the words of the probes: what stands around a key, and sentences about nothing.
 *
 * Published wordings, to the letter where it defines the task: the pass key of Mohtashami and Jaggi 2023 (YaRN and Jin
 * et al. 2025 use it too), the one of the post on massive values in RoPE and DroPE, the needles of RULER (Hsieh et al.
 * 2024), the noise that all of them share.  Everything else was written for this tool. */
#include "text/probes_private.h"

#define GRASS "The grass is green."
#define SKY "The sky is blue."
#define SUN "The sun is yellow."
#define GO "Here we go."
#define BACK "There and back again."

static const char *const noise[] = { GRASS, SKY, SUN, GO, BACK };
static const char *const noise_lines[] = { GRASS " " SKY " " SUN " " GO " " BACK };

/* No digit, and no word that a question asks with. */
static const char *const prose[] = {
    "The rain had stopped before anybody was awake.",
    "A bicycle leaned against the wall of the bakery all morning.",
    "Two gulls walked along the harbour as if they owned it.",
    "The kettle took longer than usual to boil.",
    "Somebody had left a window open on the top floor.",
    "It was warm in the kitchen.",
    "The bus was late again, and nobody was surprised.",
    "A dog barked twice and then thought better of it.",
    "The gardener swept the leaves into a heap, and the wind took them apart once more.",
    "Old maps hung in the corridor, brown at the edges.",
    "She put the plates away and wiped the table.",
    "Snow lay on the hills long after the valley had turned green.",
    "The shop sold rope, lamp oil, string and very good plums.",
    "He read the same page again, because the train shook so much.",
    "The road runs along the river for most of the way.",
    "Children drew boats on the pavement with chalk.",
    "The clock in the hall was slow, but it was slow every day by the same amount.",
    "Nobody spoke.",
    "A cart full of hay stood in the middle of the yard.",
    "The soup wanted salt.",
    "They painted the fence white in spring and regretted it by autumn.",
    "The tide was out, and the boats lay on their sides in the mud.",
    "Somewhere behind the houses a saw was at work.",
    "The library closes early on the days before a holiday.",
    "A thin cat slept on the warm bonnet of a van.",
    "The path through the wood was soft with needles and easy to walk on.",
    "He folded the newspaper and looked out at the fields.",
    "The bridge had been mended so often that little of the first one was left.",
    "Bread was cooling on the sill.",
    "The band practised behind closed doors, which did not help much.",
    "Fog came in from the sea towards evening.",
    "The letter was long, friendly and hard to read.",
    "On the other side of the street a man was trying to park a very large car.",
    "The apples were small that year, but they were sweet.",
    "A ladder was missing a rung, so they used the other one.",
    "The wind turned.",
    "The museum had a room for clocks and a room for shoes.",
    "Her coat was still wet from the walk.",
    "Most of the shutters on that side of the square were closed.",
    "A pair of oxen pulled the boat up the bank without any hurry.",
    "The lamp flickered, went out and came on again by itself.",
    "He whistled while he sorted the screws by size.",
    "The river had carried away part of the meadow in the night.",
    "The teacher drew a circle on the board and let them argue about it.",
    "Everything smelled of paint.",
    "The last guests left late, singing, and forgot an umbrella.",
    "The hens were let out as soon as it was light.",
    "There was a bench by the pond, and on the bench there was always somebody.",
    "A heavy cloud hung over the quarry for hours without any rain in it.",
    "They had soup, then fish, then a cake that had fallen in the middle.",
    "The floor creaked in the same place every time.",
    "The ferry crosses when there are enough people on it.",
    "She found her gloves in the pocket of another coat.",
    "The mill has not turned since the stream was moved.",
    "It grew dark.",
    "The neighbours were hanging curtains and could not agree on the height.",
    "A kite was caught in the tallest of the poplars.",
    "The baker counted the rolls, ate one and counted them again.",
    "On market days the square is full before sunrise.",
    "The old engine ran smoothly once it was warm.",
    "Their garden ended at a low wall with a gate that did not close.",
    "Nettles grew where the stable had been.",
    "A postcard from the mountains was pinned beside the door.",
    "He took the stairs, as he always did, and arrived out of breath.",
    "The orchestra tuned for so long that some took it for the first piece.",
    "The carpet had been rolled up and stood in the corner like a guest.",
    "Geese flew over the roofs in a crooked line.",
    "The well was deep, and the water in it was very cold.",
    "The tailor worked by the window while the light was good.",
    "A tram rang its bell at the corner.",
    "She bought stamps, thread and a bag of pears.",
    "The wall was warm where the sun had been on it.",
    "The smith was known for his hinges and for his temper.",
    "Tea was served in cups that did not belong together.",
    "The moon rose.",
    "The forest begins behind the last house and goes on for a day.",
    "They moved the table to the window and the chairs to the wall.",
    "The pilot waited for the fog to lift and played cards until it did.",
    "A branch had fallen across the track, so they walked the rest.",
    "The chimney smoked when the wind came from the east.",
    "Little was left of the cheese.",
    "The boy carried the basket on his head and both shoes in his hand.",
    "Behind the station there is a yard where old carriages are taken apart.",
    "The ink had dried, and he thinned it with a drop of water.",
    "The cook tasted the sauce, frowned and reached for the pepper.",
    "A long line of ants crossed the step.",
    "The roof of the barn had been patched with three kinds of tile.",
    "The concert was moved indoors because of the heat.",
    "He could not remember where he had put his hat.",
    "The hills look closer before rain, or so people here say.",
    "Lamps were lit along the quay.",
    "The sheep stood close together under the only tree.",
    "A wheel was off the cart, and they waited for a new one.",
    "The paint on the boat was blue above the water and red below it.",
    "She hummed a tune that he had heard before but could not place.",
    "The inn was full, and the stable was nearly full as well.",
    "The first frost came early and took the beans.",
    "A barrel rolled down the lane, followed by two men and a dog.",
    "The curtain stuck halfway, and the play went on regardless.",
    "So it went on.",
    "The glazier whistled as he cut the pane.",
    "In the drawer lay string, candle ends and a spoon without a handle.",
    "The canal is straight here, and the barges come along it slowly.",
    "The swallows had left, and the evenings were quiet.",
    "He split the logs and she stacked them along the wall.",
    "The room was cold, although the stove had been lit since dawn.",
    "A goat had climbed onto the roof of the shed and would not come down.",
    "The doctor came on foot, because the snow was too deep for the horse.",
    "The seats were hard and the speech was long.",
    "They picked berries until the basket was full.",
    "The stream runs under the street in that part of the town.",
    "Dust lay on the piano.",
    "The beekeeper moved slowly and spoke in a low voice.",
    "A row of white stones marked the edge of the path.",
    "The bell was cracked and sounded more like a pan.",
    "She planted onions between the roses and was pleased with both.",
    "The harvest was in, and the barns were closed.",
    "The fire had burned low by the time they came home.",
    "A scarf hung from the branch where somebody had found it.",
    "The corner by the stove belonged to the grandmother and to the cat.",
    "It was quiet.",
    "The road was dusty, and there was no shade until the chapel.",
    "The boatman knew every stone in that stretch of the river.",
    "The picture over the sofa showed a storm, or a battle, or both.",
    "Steam rose from the fields after the shower.",
    "The cobbler had gone to lunch and left a note on the door.",
    "A wasp had fallen into the jam.",
    "They sat on the steps and shelled peas into a bowl.",
};

/* The publication of the third has only three of the noise sentences. */
const qk_filler qk_fillers[QK_N_FILLERS] = {
    [QK_FILLER_NOISE] = { noise, sizeof noise / sizeof *noise, " ", true },
    [QK_FILLER_NOISE_LINES] = { noise_lines, 1, "\n", true },
    [QK_FILLER_COLOURS] = { noise, 3, " ", true },
    [QK_FILLER_PROSE] = { prose, sizeof prose / sizeof *prose, " ", false },
};

static const char *const adjectives[] = {
    "amber", "brave", "calm", "clever", "cold", "copper", "damp", "dark", "deep", "dusty", "early", "empty", "fair",
    "faint", "gentle", "golden", "grand", "hollow", "humble", "idle", "jolly", "keen", "late", "lively", "lonely",
    "loud", "mellow", "mild", "narrow", "noble", "pale", "plain", "proud", "quick", "quiet", "rapid", "rough", "rusty",
    "sharp", "silent", "silver", "slow", "small", "smooth", "solid", "spare", "steady", "steep", "stiff", "strange",
    "sudden", "tall", "tender", "tiny", "velvet", "warm", "weary", "wild", "wooden", "young",
};
static const char *const nouns[] = {
    "acorn", "anchor", "arrow", "attic", "badger", "barrel", "basket", "beacon", "bottle", "bridge", "bucket",
    "button", "candle", "canyon", "carpet", "castle", "cedar", "cellar", "cloud", "comet", "compass", "cradle",
    "desert", "falcon", "feather", "fiddle", "forest", "garden", "glacier", "hammer", "harbour", "hedge", "island",
    "kettle", "ladder", "lantern", "lemon", "lizard", "marble", "meadow", "mirror", "needle", "orchard", "otter",
    "pebble", "pepper", "pigeon", "pillow", "planet", "quarry", "raven", "ribbon", "saddle", "shovel", "spider",
    "statue", "teapot", "thunder", "violin", "walnut",
};
const char *const *const qk_probe_adjectives = adjectives;
const char *const *const qk_probe_nouns = nouns;
const size_t qk_n_probe_adjectives = sizeof adjectives / sizeof *adjectives;
const size_t qk_n_probe_nouns = sizeof nouns / sizeof *nouns;

/* ---- wordings: %k the key, %o whose it is, %q whose is asked for, %n and %N what it is called, one or several, %x
 * what a yes or no is asked about */

#define HIDDEN "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will " \
               "quiz you about the important information there."
#define NIAH_MANY_HEAD "Some special magic %n are hidden within the following text. Make sure to memorize it. I will " \
                       "quiz you about the %n afterwards."
#define NIAH_MANY_TAIL "What are all the special magic %n for %q mentioned in the provided text? The special magic " \
                       "%n for %q mentioned in the provided text are"
#define NIAH_ONE_HEAD "A special magic %N is hidden within the following text. Make sure to memorize it. I will quiz " \
                      "you about the %N afterwards."
#define NIAH_ONE_TAIL "What is the special magic %N for %q mentioned in the provided text? The special magic %N for " \
                      "%q mentioned in the provided text is"
#define NIAH_NEEDLE "One of the special magic %n for %o is: %k."
#define PROSE_HEAD "Somewhere in the following text stands a pass key. Read all of it and keep the pass key in mind."
#define PROSE_STATEMENT "The pass key is %k."

const qk_wording qk_wording_hidden = {
    HIDDEN, "The pass key is %k. Remember it. %k is the pass key.", "What is the pass key? The pass key is", "\n", "\n",
    QK_FILLER_NOISE,
};
const qk_wording qk_wording_secret = {
    "", "The secret passkey is %k. Remember this %N.",
    "What is the secret passkey mentioned above? Answer with just the %N:", "\n\n", " ", QK_FILLER_COLOURS,
};
const qk_wording qk_wording_prose = {
    PROSE_HEAD, PROSE_STATEMENT, "What is the pass key? The pass key is", "\n", " ", QK_FILLER_PROSE,
};
const qk_wording qk_wording_verify = {
    PROSE_HEAD, PROSE_STATEMENT, "Is the pass key %x? Answer yes or no.\nAnswer:", "\n", " ", QK_FILLER_PROSE,
};
const qk_wording qk_wording_needle_lines = {
    NIAH_ONE_HEAD, NIAH_NEEDLE, NIAH_ONE_TAIL, "\n", "\n", QK_FILLER_NOISE_LINES,
};
const qk_wording qk_wording_needle = { NIAH_ONE_HEAD, NIAH_NEEDLE, NIAH_ONE_TAIL, "\n", " ", QK_FILLER_PROSE };
const qk_wording qk_wording_needles = { NIAH_MANY_HEAD, NIAH_NEEDLE, NIAH_MANY_TAIL, "\n", " ", QK_FILLER_PROSE };
