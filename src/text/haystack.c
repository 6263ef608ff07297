/* haystack.c - pass keys at a depth, in the wording of the invented world's own pass keys. */
#include "text/haystack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/world_private.h"

enum { HAYSTACK_STREAM = 1000 /* of a world's seed; documents and questions have others */, FACT_PERCENT = 25 };

typedef struct needle {
    char statement[160], question[160], key[8];
    size_t behind; /* so many sentences stand before it */
    double depth;
} needle;

static void draw_needle(needle *n, qk_world_writer *writer, bool named)
{
    static const char *const alone[] = {
        "The pass key is %k.",       "Remember the pass key: it is %k.",       "The pass key is %k, do not forget it.",
        "Note: the pass key is %k.", "Keep this in mind: the pass key is %k.",
    };
    static const char *const owned[] = {
        "The pass key of %p is %k.",
        "Remember the pass key of %p: it is %k.",
        "The pass key of %p is %k, do not forget it.",
        "Note: the pass key of %p is %k.",
    };
    static const char *const ask_alone[] = { "What is the pass key?", "Which pass key was given?", "Say the pass key.",
                                             "What was the pass key?" };
    static const char *const ask_owned[] = { "What is the pass key of %p?", "Say the pass key of %p.",
                                             "Tell me the pass key of %p." };
    qk_world_pass_key(n->key, writer);
    writer->slots['k'] = n->key;
    qk_world_aside(n->statement, sizeof n->statement, writer,
                   named ? owned[qk_world_below(writer, 4)] : alone[qk_world_below(writer, 5)]);
    qk_world_aside(n->question, sizeof n->question, writer,
                   named ? ask_owned[qk_world_below(writer, 3)] : ask_alone[qk_world_below(writer, 4)]);
}

/* Owners are people that no fact knows. */
static const char *draw_owner(qk_world_writer *writer, const char *const *taken, size_t n_taken)
{
    bool has_people = qk_world_lists['y' - 'a'].n > QK_HAYSTACK_KEYS;
    return qk_world_other_word(writer, has_people ? 'y' : 0, taken, n_taken);
}

static void write_sentences(qk_world_writer *writer, qk_rng talk, size_t n_sentences, const needle *needles,
                            size_t n_keys)
{
    writer->rng = talk; /* a stream of its own: sentence i is the same whatever else the text holds */
    for (size_t i = 0; i <= n_sentences; i++) {
        for (size_t k = 0; k < n_keys; k++) {
            if (needles[k].behind != i) continue;
            qk_world_space(writer);
            qk_world_put(writer, needles[k].statement);
        }
        if (i == n_sentences) break;
        if (qk_world_chance(writer, FACT_PERCENT))
            qk_world_state(writer, qk_world_below(writer, N_FACTS));
        else
            qk_world_filler(writer);
    }
    qk_world_put(writer, "\n");
}

qk_status qk_haystack_write(qk_haystack *out, const qk_world *world, qk_split split, uint64_t index, size_t n_sentences,
                            const double *depths, size_t n_keys, qk_error *err)
{
    needle needles[QK_HAYSTACK_KEYS], kept;
    const char *owners[QK_HAYSTACK_KEYS];
    qk_rng talk;
    qk_world_writer writer = { .world = world, .split = split };
    uint64_t hash = qk_world_hash(qk_world_hash(world->seed, HAYSTACK_STREAM), (uint64_t)split);
    if (n_keys < 1 || n_keys > QK_HAYSTACK_KEYS)
        return qk_fail(err, QK_E_ARGUMENT, "haystack: expected 1 to %d keys, found %zu", QK_HAYSTACK_KEYS, n_keys);
    qk_rng_seed(&writer.rng, qk_world_hash(hash, index));
    qk_rng_seed(&talk, qk_world_hash(hash + 1, index));
    const qk_world_form *form = qk_world_choose_form(&writer);
    for (size_t k = 0; k < n_keys; k++) {
        writer.slots['p'] = owners[k] = draw_owner(&writer, owners, k);
        draw_needle(&needles[k], &writer, n_keys > 1);
        needles[k].depth = depths[k];
        needles[k].behind = (size_t)llround(fmin(fmax(depths[k], 0), 1) * (double)n_sentences);
    }
    for (size_t k = 0; k + 1 < n_keys; k++) { /* the order of the questions */
        size_t j = k + qk_world_below(&writer, n_keys - k);
        kept = needles[k];
        needles[k] = needles[j];
        needles[j] = kept;
    }
    write_sentences(&writer, talk, n_sentences, needles, n_keys);
    for (size_t k = 0; k < n_keys && !writer.failed; k++) {
        if (k) qk_world_put(&writer, "\n");
        qk_world_put_question(&writer, form, needles[k].question);
        out->asked[k] = (qk_hidden){ .from = writer.n, .depth = needles[k].depth };
        qk_world_put(&writer, " ");
        qk_world_put(&writer, needles[k].key);
        out->asked[k].to = writer.n;
    }
    if (writer.failed) {
        free(writer.text);
        return qk_out_of_memory(err, "a haystack", writer.n);
    }
    out->text = writer.text;
    out->n_asked = n_keys;
    return QK_OK;
}

void qk_haystack_free(qk_haystack *haystack)
{
    free(haystack->text);
    haystack->text = NULL;
}
