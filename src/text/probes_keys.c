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

static void change(char *text, size_t place, qk_alphabet alphabet, qk_rng *rng)
{
    char old = text[place];
    do text[place] = draw(alphabet, place == 0, rng); while (text[place] == old);
}

/* A place whose character differs from the one behind it. */
static size_t uneven_place(const char *text, qk_rng *rng)
{
    size_t places[QK_KEY_LONGEST], n = uneven_places(places, text);
    return places[qk_rng_below(rng, n)];
}

static void swap(char *text, size_t place)
{
    char kept = text[place];
    text[place] = text[place + 1];
    text[place + 1] = kept;
}

void qk_key_miss(qk_key *out, const qk_key *key, qk_near_miss miss, qk_alphabet alphabet, qk_rng *rng)
{
    size_t length = strlen(key->text);
    *out = *key;
    if (miss == QK_MISS_CHANGED) change(out->text, qk_rng_below(rng, length), alphabet, rng);
    if (miss == QK_MISS_SWAPPED) swap(out->text, uneven_place(key->text, rng));
    if (miss == QK_MISS_TRUNCATED) out->text[length - 1] = '\0';
}

void qk_key_kin(qk_key out[QK_PROBE_CHOICES], const qk_key *key, qk_alphabet alphabet, qk_rng *rng)
{
    size_t length = strlen(key->text), swapped = uneven_place(key->text, rng), changed;
    do changed = qk_rng_below(rng, length); while (changed == swapped || changed == swapped + 1);
    out[0] = out[1] = out[2] = *key;
    swap(out[1].text, swapped);
    change(out[2].text, changed, alphabet, rng);
    out[3] = out[2];
    swap(out[3].text, swapped);
}
