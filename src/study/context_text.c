/* context_text.c - loss by position and by length: texts, windows, sums. */
#include <stdlib.h>
#include <string.h>

#include "study/context.h"

/* ---- texts */

void qk_context_free_texts(int32_t **texts, size_t n_texts)
{
    for (size_t i = 0; texts && i < n_texts; i++) free(texts[i]);
    free(texts);
}

static qk_status copy_text(int32_t **out, const int32_t *tokens, size_t length, qk_error *err)
{
    qk_status status = qk_new_array(out, length, sizeof **out, "a text", err);
    if (!status) memcpy(*out, tokens, length * sizeof **out);
    return status;
}

/* Text `index` of all documents put behind one another; n_before: tokens that earlier ones took. */
static qk_status join_text(int32_t **out, const qk_documents *documents, size_t index, size_t length, qk_error *err)
{
    size_t skip = index * length, n = 0;
    qk_status status = qk_new_array(out, length, sizeof **out, "a text", err);
    for (size_t i = 0; !status && i < documents->n && n < length; i++) {
        const qk_document *d = &documents->items[i];
        size_t from = skip < d->n_tokens ? skip : d->n_tokens, left = d->n_tokens - from;
        size_t taken = left < length - n ? left : length - n;
        memcpy(*out + n, d->tokens + from, taken * sizeof **out);
        skip -= from;
        n += taken;
    }
    return status;
}

qk_status qk_context_texts(int32_t ***texts, size_t *n_texts, bool *joined, qk_documents *documents,
                           const qk_named_model *model, size_t length, size_t most, bool no_bos, qk_error *err)
{
    size_t n_long = 0, n_tokens = 0, n = 0;
    int32_t **list = NULL;
    qk_status status = qk_study_tokenize(documents, model, 0, no_bos, err);
    for (size_t i = 0; !status && i < documents->n; i++) {
        n_long += documents->items[i].n_tokens >= length;
        n_tokens += documents->items[i].n_tokens;
    }
    bool join = n_long < 2 && n_long < most && n_tokens / length > n_long;
    size_t wanted = join ? n_tokens / length : n_long;
    if (wanted > most) wanted = most;
    if (!status && wanted == 0)
        status = qk_fail(err, QK_E_ARGUMENT,
                         "texts: expected %zu tokens (the longest length) in the documents together, found %zu", length,
                         n_tokens);
    if (!status) status = qk_new_array(&list, wanted, sizeof *list, "texts", err);
    for (size_t i = 0; !status && !join && n < wanted; i++)
        if (documents->items[i].n_tokens >= length)
            status = copy_text(&list[n++], documents->items[i].tokens, length, err);
    for (; !status && join && n < wanted; n++) status = join_text(&list[n], documents, n, length, err);
    if (status) return qk_context_free_texts(list, n), status;
    *texts = list;
    *n_texts = n;
    *joined = join;
    return QK_OK;
}

/* ---- windows: sequences, and where each begins in which text */

typedef struct window {
    size_t text, from;
} window;

typedef struct reader {
    const qk_context *c;
    qk_sequence *sequences;
    window *windows;
    size_t n;
    qk_context_loss *loss; /* [n_texts] */
} reader;

static qk_status new_reader(reader *r, const qk_context *c, size_t most, qk_error *err)
{
    *r = (reader){ .c = c };
    qk_status status = qk_new_array(&r->sequences, most, sizeof *r->sequences, "windows", err);
    if (!status) status = qk_new_array(&r->windows, most, sizeof *r->windows, "windows", err);
    if (!status) status = qk_new_array(&r->loss, c->n_texts, sizeof *r->loss, "losses", err);
    return status;
}

static void free_reader(reader *r)
{
    free(r->sequences);
    free(r->windows);
    free(r->loss);
}

static size_t count_windows(size_t n_tokens, size_t window_tokens, size_t stride)
{
    return n_tokens <= window_tokens ? 1 : 1 + (n_tokens - window_tokens + stride - 1) / stride;
}

/* Windows over the first n_tokens of every text; each target is scored once, in the first window that reaches it. */
static void cut(reader *r, size_t n_tokens, size_t window_tokens, size_t stride)
{
    for (size_t t = 0; t < r->c->n_texts; t++) {
        size_t scored = 1;
        for (size_t from = 0; scored < n_tokens; from += stride) {
            size_t n = n_tokens - from < window_tokens ? n_tokens - from : window_tokens;
            r->sequences[r->n] = (qk_sequence){ r->c->texts[t] + from, n, scored - from };
            r->windows[r->n++] = (window){ t, from };
            scored = from + n;
        }
    }
}

static json_t *window_payload(const void *user, size_t sequence, const qk_score *score)
{
    const reader *r = user;
    const qk_context *c = r->c;
    double nll[QK_CONTEXT_BUCKETS] = { 0 }, n[QK_CONTEXT_BUCKETS] = { 0 };
    size_t bucket = 0, position = r->windows[sequence].from + r->sequences[sequence].score_from;
    for (size_t i = 0; i < score->n_tokens; i++, position++) {
        while (bucket + 2 < c->n_edges && position >= c->edges[bucket + 1]) bucket++;
        nll[bucket] += (double)score->token_nll[i];
        n[bucket]++;
    }
    json_t *sums = json_array();
    for (size_t b = 0; sums && b + 1 < c->n_edges; b++) {
        if (n[b] == 0) continue;
        if (json_array_append_new(sums, json_pack("[I,f,f]", (json_int_t)b, n[b], nll[b])) == 0) continue;
        json_decref(sums);
        return NULL;
    }
    return sums;
}

static bool keep_window(void *user, size_t sequence, const json_t *payload)
{
    reader *r = user;
    qk_context_loss *loss = &r->loss[r->windows[sequence].text];
    const qk_sequence *s = &r->sequences[sequence];
    double n_tokens = 0;
    for (int taking = 0; taking < 2; taking++) { /* looked at whole before anything is added */
        if (taking && n_tokens != (double)(s->n_tokens - s->score_from)) return false;
        for (size_t i = 0; i < json_array_size(payload); i++) {
            const json_t *row = json_array_get(payload, i), *bucket = json_array_get(row, 0);
            const json_t *n = json_array_get(row, 1), *nll = json_array_get(row, 2);
            if (!json_is_integer(bucket) || !json_is_number(n) || !json_is_number(nll)) return false;
            json_int_t b = json_integer_value(bucket);
            if (b < 0 || (size_t)b + 1 >= r->c->n_edges) return false;
            if (!taking) n_tokens += json_number_value(n);
            if (!taking) continue;
            loss->n[b] += json_number_value(n);
            loss->nll[b] += json_number_value(nll);
        }
    }
    return true;
}

/* One pass: the first n_tokens of every text in windows. */
static qk_status read_windows(reader *r, qk_context *c, size_t model, const qk_reading *reading, const char *kind,
                              size_t n_tokens, size_t window_tokens, size_t stride, qk_error *err)
{
    char unit[96], phase[128];
    qk_model view;
    qk_status status = new_reader(r, c, c->n_texts * count_windows(n_tokens, window_tokens, stride), err);
    if (!status) status = qk_context_view(&view, c, model, reading, err);
    if (status) return status;
    cut(r, n_tokens, window_tokens, stride);
    qk_context_unit(unit, kind, reading, window_tokens);
    snprintf(phase, sizeof phase, "%.60s %s, %s of %zu tokens", c->models[model].name, qk_method_name(reading->method),
             kind, window_tokens);
    qk_context_pass pass = { .c = c,
                             .model = model,
                             .view = &view,
                             .unit = unit,
                             .phase = phase,
                             .sequences = r->sequences,
                             .n = r->n,
                             .payload = window_payload,
                             .keep = keep_window,
                             .user = r };
    return qk_context_run(c, &pass, err);
}

/* ---- all arms of a model */

/* How crop reads: windows of the trained context. */
static void windows_of(size_t *window_tokens, size_t *stride, const qk_context *c, size_t model,
                       const qk_reading *reading, size_t n_tokens)
{
    size_t trained = qk_trained_context(&c->models[model].model->config), given = c->settings->stride;
    *window_tokens = reading->method == QK_METHOD_CROP && trained < n_tokens ? trained : n_tokens;
    *stride = given && given < *window_tokens ? given : *window_tokens < 8 ? 1 : *window_tokens / 4;
}

static qk_context_loss *losses(qk_context_loss *all, const qk_context *c, size_t arm, size_t length)
{
    return all + (arm * c->settings->n_lengths + length) * c->n_texts;
}

/* Hands a reading's sums to every arm and length that reads so; a length takes the buckets below it. */
static void hand_out(qk_context *c, size_t model, const qk_reading *reading, const reader *r)
{
    for (size_t a = 0; a < c->n_arms; a++)
        for (size_t l = 0; c->arms[a].model == model && l < c->settings->n_lengths; l++) {
            qk_reading own = qk_context_reading(c, &c->arms[a], c->lengths[l]);
            if (!qk_reading_equal(&own, reading)) continue;
            qk_context_loss *to = losses(c->truncated, c, a, l);
            memcpy(to, r->loss, c->n_texts * sizeof *to);
            for (size_t t = 0; t < c->n_texts; t++)
                for (size_t b = 0; b + 1 < c->n_edges; b++)
                    if (c->edges[b] >= c->lengths[l]) to[t].nll[b] = to[t].n[b] = 0;
        }
}

/* The longest length that reads like `reading`, and whether (arm, length) is the first place where it does. */
static size_t longest_of(const qk_context *c, size_t model, const qk_reading *reading)
{
    size_t longest = 0;
    for (size_t a = 0; a < c->n_arms; a++)
        for (size_t l = 0; c->arms[a].model == model && l < c->settings->n_lengths; l++) {
            qk_reading own = qk_context_reading(c, &c->arms[a], c->lengths[l]);
            if (qk_reading_equal(&own, reading) && c->lengths[l] > longest) longest = c->lengths[l];
        }
    return longest;
}

static bool seen_before(const qk_context *c, size_t arm, size_t length, const qk_reading *reading)
{
    size_t n = c->settings->n_lengths;
    for (size_t i = 0; i < arm * n + length; i++) {
        if (c->arms[i / n].model != c->arms[arm].model) continue;
        qk_reading other = qk_context_reading(c, &c->arms[i / n], c->lengths[i % n]);
        if (qk_reading_equal(&other, reading)) return true;
    }
    return false;
}

static qk_status read_truncated(qk_context *c, size_t arm, size_t length, qk_error *err)
{
    size_t model = c->arms[arm].model, window_tokens, stride;
    qk_reading reading = qk_context_reading(c, &c->arms[arm], c->lengths[length]);
    reader r = { 0 };
    if (seen_before(c, arm, length, &reading)) return QK_OK;
    size_t n_tokens = longest_of(c, model, &reading);
    windows_of(&window_tokens, &stride, c, model, &reading, n_tokens);
    qk_status status = read_windows(&r, c, model, &reading, "truncated", n_tokens, window_tokens, stride, err);
    if (!status) hand_out(c, model, &reading, &r);
    free_reader(&r);
    return status;
}

/* The whole text in windows of one length; what an earlier arm read so is taken over. */
static qk_status read_sliding(qk_context *c, size_t arm, size_t length, qk_error *err)
{
    size_t model = c->arms[arm].model, n_tokens = c->lengths[c->settings->n_lengths - 1];
    size_t window_tokens = c->lengths[length], stride, given = c->settings->stride;
    qk_context_loss *to = losses(c->sliding, c, arm, length);
    qk_reading reading = qk_context_reading(c, &c->arms[arm], c->lengths[length]);
    reader r = { 0 };
    for (size_t a = 0; a < arm; a++) {
        qk_reading other = qk_context_reading(c, &c->arms[a], c->lengths[length]);
        if (c->arms[a].model != model || !qk_reading_equal(&other, &reading)) continue;
        memcpy(to, losses(c->sliding, c, a, length), c->n_texts * sizeof *to);
        return QK_OK;
    }
    if (reading.method == QK_METHOD_CROP) windows_of(&window_tokens, &stride, c, model, &reading, window_tokens);
    stride = given && given < window_tokens ? given : (window_tokens + 1) / 2;
    qk_status status = read_windows(&r, c, model, &reading, "sliding", n_tokens, window_tokens, stride, err);
    for (size_t t = 0; !status && t < c->n_texts; t++)
        for (size_t b = 0; b + 1 < c->n_edges; b++) {
            to[t].nll[0] += r.loss[t].nll[b];
            to[t].n[0] += r.loss[t].n[b];
        }
    free_reader(&r);
    return status;
}

qk_status qk_context_read(qk_context *c, size_t model, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t a = 0; !status && a < c->n_arms; a++)
        for (size_t l = 0; !status && c->arms[a].model == model && l < c->settings->n_lengths; l++) {
            status = read_truncated(c, a, l, err);
            if (!status && c->settings->sliding) status = read_sliding(c, a, l, err);
        }
    return status;
}
