/* probes_fit.c - as many sentences around what is hidden as a length in tokens allows. */
#include <stdlib.h>
#include <string.h>

#include "text/probes_private.h"

enum { ROUNDS = 4 /* of correcting the estimate by an exact count */ };

static qk_status no_memory(qk_error *err) { return qk_out_of_memory(err, "a prompt", 0); }

static qk_status count_words(size_t *n, const char *utf8, size_t n_bytes)
{
    bool inside = false;
    *n = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        bool space = utf8[i] == ' ' || utf8[i] == '\n';
        *n += !space && !inside;
        inside = !space;
    }
    return QK_OK;
}

static qk_status count(size_t *n, const qk_fitter *fitter, const char *utf8, size_t n_bytes, qk_error *err)
{
    const qk_token_counter *counter = fitter->counter;
    if (!counter->count) return count_words(n, utf8, n_bytes);
    return counter->count(counter->user, n, utf8, n_bytes, err);
}

qk_status qk_count_tokens(size_t *n, qk_fitter *fitter, const char *text, const char *answer, qk_error *err)
{
    qk_bytes *whole = &fitter->whole;
    whole->n = 0;
    bool ok = qk_bytes_add(whole, text, strlen(text)) &&
              (!answer || (qk_bytes_add(whole, " ", 1) && qk_bytes_add(whole, answer, strlen(answer))));
    return ok ? count(n, fitter, whole->data, whole->n, err) : no_memory(err);
}

/* ---- what each sentence adds */

static qk_status weigh(size_t *weight, qk_fitter *fitter, const qk_filler *filler, size_t sentence, qk_error *err)
{
    qk_bytes *text = &fitter->whole;
    size_t before, after, n_front;
    text->n = 0;
    bool ok = qk_bytes_add(text, "So it was.", 10);
    n_front = text->n;
    ok = ok && qk_bytes_add(text, filler->joint, strlen(filler->joint)) &&
         qk_bytes_add(text, filler->sentences[sentence], strlen(filler->sentences[sentence]));
    if (!ok) return no_memory(err);
    qk_status status = count(&before, fitter, text->data, n_front, err);
    if (!status) status = count(&after, fitter, text->data, text->n, err);
    if (!status) *weight = after > before ? after - before : 1;
    return status;
}

static qk_status weigh_all(qk_fitter *fitter, qk_filler_kind kind, qk_error *err)
{
    const qk_filler *filler = &qk_fillers[kind];
    size_t *weights;
    if (fitter->weights[kind]) return QK_OK;
    qk_status status = qk_new_array(&weights, filler->n, sizeof *weights, "filler", err);
    for (size_t i = 0; i < filler->n && !status; i++) status = weigh(&weights[i], fitter, filler, i, err);
    if (!status) fitter->weights[kind] = weights;
    else free(weights);
    return status;
}

/* ---- which sentences */

static bool push(qk_fitter *fitter, size_t sentence)
{
    if (!qk_grow(&fitter->order, &fitter->capacity, fitter->n + 1, sizeof *fitter->order)) return false;
    fitter->order[fitter->n++] = (uint32_t)sentence;
    return true;
}

/* Appends all sentences in random order. */
static bool push_shuffled(qk_fitter *fitter, size_t n, qk_rng *rng)
{
    size_t first = fitter->n;
    for (size_t i = 0; i < n; i++)
        if (!push(fitter, i)) return false;
    for (size_t i = 0; i < n; i++) {
        size_t j = i + qk_rng_below(rng, n - i);
        uint32_t kept = fitter->order[first + j];
        fitter->order[first + j] = fitter->order[first + i];
        fitter->order[first + i] = kept;
    }
    return true;
}

/* The sentence of the greatest weight up to `most`, the search begins at a random one; n where there is none. */
static size_t heaviest(const size_t *weights, size_t n, size_t most, qk_rng *rng)
{
    size_t best = n, from = qk_rng_below(rng, n);
    for (size_t k = 0; k < n; k++) {
        size_t i = (from + k) % n;
        if (weights[i] <= most && (best == n || weights[i] > weights[best])) best = i;
    }
    return best;
}

/* Whatever fits into the rest; at last, where something is left over, another sentence in place of the last one. */
static bool top_up(qk_fitter *fitter, const qk_filler *filler, const size_t *weights, size_t rest, qk_rng *rng)
{
    for (size_t i; (i = heaviest(weights, filler->n, rest, rng)) < filler->n; rest -= weights[i])
        if (!push(fitter, i)) return false;
    if (rest == 0 || fitter->n == 0) return true;
    uint32_t *last = &fitter->order[fitter->n - 1];
    *last = (uint32_t)heaviest(weights, filler->n, weights[*last] + rest, rng);
    return true;
}

/* fitter->order for so many tokens. */
static bool fill(qk_fitter *fitter, qk_filler_kind kind, size_t rest, qk_rng rng)
{
    const qk_filler *filler = &qk_fillers[kind];
    const size_t *weights = fitter->weights[kind];
    fitter->n = 0;
    for (size_t i = 0;; i++) {
        if (filler->cyclic && !push(fitter, i % filler->n)) return false;
        if (!filler->cyclic && i == fitter->n && !push_shuffled(fitter, filler->n, &rng)) return false;
        size_t weight = weights[fitter->order[i]];
        if (weight > rest) {
            fitter->n = i;
            break;
        }
        rest -= weight;
    }
    return filler->cyclic || top_up(fitter, filler, weights, rest, &rng);
}

/* ---- where the needles stand */

static uint64_t distance(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

/* The boundary with about `aim` / `scale` tokens of filler before it (ties: the first). */
static size_t boundary(const qk_fitter *fitter, const size_t *weights, uint64_t aim, uint64_t scale)
{
    uint64_t before = 0, best = aim;
    size_t at = 0;
    for (size_t i = 0; i < fitter->n; i++) {
        before += weights[fitter->order[i]];
        if (distance(scale * before, aim) >= best) continue;
        best = distance(scale * before, aim);
        at = i + 1;
    }
    return at;
}

static uint64_t tokens_before(const qk_fitter *fitter, const size_t *weights, size_t behind)
{
    uint64_t n = 0;
    for (size_t i = 0; i < behind; i++) n += weights[fitter->order[i]];
    return n;
}

static qk_status place(qk_fitter *fitter, const qk_frame *frame, qk_error *err)
{
    const size_t *weights = fitter->weights[frame->wording->filler];
    uint64_t total = 0;
    size_t n_head = 0;
    qk_status status = frame->begin ? count(&n_head, fitter, frame->head, strlen(frame->head), err) : QK_OK;
    total = tokens_before(fitter, weights, fitter->n);
    for (size_t k = 0; k < frame->n_needles && !status; k++) {
        qk_needle *needle = &frame->needles[k];
        uint64_t aim = frame->begin > n_head ? frame->begin - n_head : 0;
        if (frame->begin) needle->behind = boundary(fitter, weights, aim, 1);
        else needle->behind = boundary(fitter, weights, needle->depth * total, QK_DEPTH_END);
        if (frame->begin && total)
            needle->depth = (unsigned)(tokens_before(fitter, weights, needle->behind) * QK_DEPTH_END / total);
    }
    return status;
}

/* ---- the text */

static bool put(qk_bytes *out, const char *text) { return qk_bytes_add(out, text, strlen(text)); }

static bool write_context(qk_bytes *out, const qk_fitter *fitter, const qk_frame *frame)
{
    const qk_wording *wording = frame->wording;
    const qk_filler *filler = &qk_fillers[wording->filler];
    bool ok = true, first = true, behind_needle = false;
    for (size_t i = 0; i <= fitter->n && ok; i++) {
        for (size_t k = 0; k < frame->n_needles && ok; k++) {
            if (frame->needles[k].behind != i) continue;
            ok = put(out, first ? "" : wording->around) && put(out, frame->needles[k].text);
            first = false;
            behind_needle = true;
        }
        if (i == fitter->n || !ok) break;
        ok = put(out, first ? "" : behind_needle ? wording->around : filler->joint) &&
             put(out, filler->sentences[fitter->order[i]]);
        first = behind_needle = false;
    }
    return ok;
}

/* Prompt and prompt with answer, and how many tokens the latter has. */
static qk_status assemble(size_t *n, qk_fitter *fitter, const qk_frame *frame, qk_error *err)
{
    qk_bytes *prompt = &fitter->prompt, *whole = &fitter->whole;
    prompt->n = whole->n = 0;
    bool ok = put(prompt, frame->head) && put(prompt, frame->head[0] ? frame->wording->edge : "") &&
              write_context(prompt, fitter, frame) && put(prompt, frame->wording->edge) && put(prompt, frame->tail) &&
              qk_bytes_add(whole, prompt->data, prompt->n) && put(whole, " ") && put(whole, frame->answer) &&
              qk_bytes_add(prompt, "", 1);
    if (!ok) return no_memory(err);
    prompt->n--;
    qk_status status = count(n, fitter, whole->data, whole->n, err);
    if (!status) *n += frame->spare;
    return status;
}

/* Tokens of all but the filler, as they count between two sentences of it; may be off by what the edges take. */
static qk_status bare_tokens(size_t *n, qk_fitter *fitter, const qk_frame *frame, qk_error *err)
{
    size_t weight = fitter->weights[frame->wording->filler][0];
    fitter->n = 0;
    if (!push(fitter, 0) || !push(fitter, 0)) return no_memory(err);
    for (size_t k = 0; k < frame->n_needles; k++) frame->needles[k].behind = 1;
    qk_status status = assemble(n, fitter, frame, err);
    if (!status) *n = *n > 2 * weight ? *n - 2 * weight : 0;
    return status;
}

static qk_status build(size_t *n, qk_fitter *fitter, const qk_frame *frame, size_t n_filler, qk_rng rng, qk_error *err)
{
    if (!fill(fitter, frame->wording->filler, n_filler, rng)) return no_memory(err);
    qk_status status = place(fitter, frame, err);
    return status ? status : assemble(n, fitter, frame, err);
}

/* Nothing more would fit: all taken, or not enough left for the sentence whose turn it is. */
static bool is_full(const qk_fitter *fitter, const qk_frame *frame, size_t n, size_t tokens)
{
    const qk_filler *filler = &qk_fillers[frame->wording->filler];
    if (n > tokens) return false;
    return n == tokens ||
           (filler->cyclic && tokens - n < fitter->weights[frame->wording->filler][fitter->n % filler->n]);
}

qk_status qk_fit(qk_fitter *fitter, size_t *n, const qk_frame *frame, size_t tokens, qk_rng rng, qk_error *err)
{
    size_t best = 0, best_room = 0, built = 0, bare = 0;
    qk_status status = weigh_all(fitter, frame->wording->filler, err);
    if (!status) status = bare_tokens(&bare, fitter, frame, err);
    if (status) return status;
    *n = bare;
    int64_t room = (int64_t)tokens - (int64_t)bare; /* for filler */
    for (int round = 0; round < ROUNDS && room >= 0; round++) {
        status = build(&built, fitter, frame, (size_t)room, rng, err);
        if (status) return status;
        if (best == 0) *n = built;
        if (built <= tokens && built > best) {
            best = built;
            best_room = (size_t)room;
        }
        if (is_full(fitter, frame, built, tokens)) break;
        room += (int64_t)tokens - (int64_t)built;
    }
    if (best == 0) return qk_fail(err, QK_E_ARGUMENT, "expected at least %zu tokens for words, keys and answer, found "
                                    "%zu", *n, tokens);
    *n = best;
    return built == best ? QK_OK : build(n, fitter, frame, best_room, rng, err);
}

void qk_fitter_free(qk_fitter *fitter)
{
    for (int i = 0; i < QK_N_FILLERS; i++) free(fitter->weights[i]);
    free(fitter->order);
    free(fitter->prompt.data);
    free(fitter->whole.data);
    *fitter = (qk_fitter){ 0 };
}
