/* probes_keys.c - keys, and keys that are nearly the same. */
#include <string.h>

#include "text/probes_private.h"

/* Letters that look like digits are left out of both. */
static const char *const alphabets[] = {
    [QK_ALPHABET_DIGITS] = "0123456789",
    [QK_ALPHABET_LETTERS] = "ABCDEFGHJKLMNPQRSTUVWXYZ",
    [QK_ALPHABET_MIXED] = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789",
};

static char draw(qk_alphabet alphabet, bool first, qk_rng *rng)
{
    const char *letters = alphabets[alphabet];
    char c;
    do c = letters[qk_rng_below(rng, strlen(letters))]; while (first && c == '0');
    return c;
}

/* Places behind the first whose character differs from the one behind it. */
static size_t uneven_places(size_t places[QK_KEY_LONGEST], const char *text)
{
    size_t n = 0;
    for (size_t i = 1; text[i] && text[i + 1]; i++)
        if (text[i] != text[i + 1]) places[n++] = i;
    return n;
}

void qk_key_draw(qk_key *out, size_t length, qk_alphabet alphabet, qk_rng *rng)
{
    size_t places[QK_KEY_LONGEST];
    do {
        for (size_t i = 0; i < length; i++) out->text[i] = draw(alphabet, i == 0, rng);
        out->text[length] = '\0';
    } while (uneven_places(places, out->text) == 0);
}

static void change(char *text, qk_alphabet alphabet, qk_rng *rng)
{
    size_t place = qk_rng_below(rng, strlen(text));
    char old = text[place];
    do text[place] = draw(alphabet, place == 0, rng); while (text[place] == old);
}

static void swap(char *text, qk_rng *rng)
{
    size_t places[QK_KEY_LONGEST], n = uneven_places(places, text), place = places[qk_rng_below(rng, n)];
    char kept = text[place];
    text[place] = text[place + 1];
    text[place + 1] = kept;
}

void qk_key_miss(qk_key *out, const qk_key *key, qk_near_miss miss, qk_alphabet alphabet, qk_rng *rng)
{
    *out = *key;
    if (miss == QK_MISS_CHANGED) change(out->text, alphabet, rng);
    if (miss == QK_MISS_SWAPPED) swap(out->text, rng);
    if (miss == QK_MISS_TRUNCATED) out->text[strlen(out->text) - 1] = '\0';
}
