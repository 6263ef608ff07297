/* batches.c - documents in seeded or in given order, laid end to end and cut into rows of one context. */
#include <stdlib.h>
#include <string.h>

#include "train/train.h"

struct qk_batches {
    qk_corpus corpus;
    qk_batch_spec spec;
    uint64_t epoch, position; /* the present document is order[position]; of an unlimited corpus: position itself */
    size_t offset;            /* its tokens that are used up */
    uint64_t *order;          /* [n_documents] of this epoch; NULL where unlimited */
    int32_t *document;        /* its tokens, malloc'ed; NULL when not read yet */
    size_t n_document;
    int32_t *tokens;          /* [n_rows][context] */
    qk_sequence *sequences;   /* [capacity] */
    size_t n_sequences, capacity;
    size_t *first_of_row;     /* [n_rows + 1] */
};

static bool unlimited(const qk_batches *b) { return b->corpus.n_documents == UINT64_MAX; }

/* A permutation that depends on seed and epoch alone; none where the given order is kept. */
static void draw_order(qk_batches *b)
{
    qk_rng rng;
    if (unlimited(b)) return;
    qk_rng_seed(&rng, b->spec.seed);
    uint64_t first = qk_rng_next(&rng);
    qk_rng_seed(&rng, first + b->epoch);
    for (uint64_t i = 0; i < b->corpus.n_documents; i++) b->order[i] = i;
    for (uint64_t i = b->corpus.n_documents; i > 1 && !b->spec.in_order; i--) {
        uint64_t j = qk_rng_below(&rng, i), kept = b->order[i - 1];
        b->order[i - 1] = b->order[j];
        b->order[j] = kept;
    }
}

static qk_status read_document(qk_batches *b, qk_error *err)
{
    if (b->document) return QK_OK;
    uint64_t index = unlimited(b) ? b->position : b->order[b->position];
    return b->corpus.tokens(b->corpus.user, &b->document, &b->n_document, index, err);
}

static void next_document(qk_batches *b)
{
    free(b->document);
    b->document = NULL;
    b->offset = 0;
    b->position++;
    if (unlimited(b) || b->position < b->corpus.n_documents) return;
    b->position = 0;
    b->epoch++;
    draw_order(b);
}

/* ---- rows */

static qk_status add_sequence(qk_batches *b, const int32_t *tokens, size_t n_tokens, qk_error *err)
{
    if (n_tokens < 2) return QK_OK;
    if (b->n_sequences == b->capacity) {
        size_t capacity = b->capacity * 2 + 64;
        qk_sequence *grown = realloc(b->sequences, capacity * sizeof *grown);
        if (!grown) return qk_out_of_memory(err, "the sequences of a batch", capacity * sizeof *grown);
        b->sequences = grown;
        b->capacity = capacity;
    }
    b->sequences[b->n_sequences++] = (qk_sequence){ tokens, n_tokens, 1 };
    return QK_OK;
}

static qk_status fill_row(qk_batches *b, int32_t *row, qk_error *err)
{
    size_t context = b->spec.context, at = 0;
    qk_status status = QK_OK;
    while (at < context && !status) {
        status = read_document(b, err);
        if (status) break;
        size_t rest = b->n_document - b->offset, n = rest < context - at ? rest : context - at;
        if (n > 0) memcpy(row + at, b->document + b->offset, n * sizeof *row);
        if (!b->spec.across_documents) status = add_sequence(b, row + at, n, err);
        at += n;
        b->offset += n;
        if (b->offset == b->n_document) next_document(b);
    }
    if (!status && b->spec.across_documents) status = add_sequence(b, row, context, err);
    return status;
}

qk_status qk_batches_next(qk_batch *out, qk_batches *b, qk_error *err)
{
    qk_batch batch = { .n_rows = b->spec.n_rows };
    qk_status status = QK_OK;
    b->n_sequences = 0;
    for (size_t r = 0; r < b->spec.n_rows && !status; r++) {
        b->first_of_row[r] = b->n_sequences;
        status = fill_row(b, b->tokens + r * b->spec.context, err);
    }
    if (status) return status;
    b->first_of_row[b->spec.n_rows] = b->n_sequences;
    for (size_t i = 0; i < b->n_sequences; i++) {
        batch.n_tokens += b->sequences[i].n_tokens;
        batch.n_predicted += b->sequences[i].n_tokens - 1;
    }
    batch.sequences = b->sequences;
    batch.n_sequences = b->n_sequences;
    batch.first_of_row = b->first_of_row;
    *out = batch;
    return QK_OK;
}

/* ---- open and close */

/* Does the corpus fill one row?  And has it a token at all, or a batch would never be full. */
static qk_status check_length(const qk_corpus *corpus, size_t context, qk_error *err)
{
    size_t n_tokens = 0;
    for (uint64_t i = 0; i < corpus->n_documents && n_tokens < context; i++) {
        int32_t *tokens = NULL;
        size_t n = 0;
        qk_status status = corpus->tokens(corpus->user, &tokens, &n, i, err);
        free(tokens);
        if (status) return status;
        n_tokens += n;
    }
    if (n_tokens >= context) return QK_OK;
    return qk_fail(err, QK_E_ARGUMENT, "the training text: expected at least one context of %zu tokens, found %zu",
                   context, n_tokens);
}

qk_status qk_batches_new(qk_batches **out, const qk_corpus *corpus, const qk_batch_spec *spec, qk_error *err)
{
    qk_batches *b = NULL;
    size_t n_tokens = 0;
    if (spec->context < 2 || spec->n_rows < 1 || !qk_mul(spec->context, spec->n_rows, &n_tokens))
        return qk_fail(err, QK_E_ARGUMENT, "a batch of %zu rows of %zu tokens: expected 1 and 2 at least", spec->n_rows,
                       spec->context);
    qk_status status = check_length(corpus, spec->context, err);
    if (!status) status = qk_new_array(&b, 1, sizeof *b, "batches", err);
    if (status) return status;
    b->corpus = *corpus;
    b->spec = *spec;
    status = qk_new_array(&b->tokens, n_tokens, sizeof *b->tokens, "the tokens of a batch", err);
    if (!status) status = qk_new_array(&b->first_of_row, spec->n_rows + 1, sizeof *b->first_of_row, "rows", err);
    if (!status && !unlimited(b))
        status = qk_new_array(&b->order, corpus->n_documents, sizeof *b->order, "the order of documents", err);
    if (status) {
        qk_batches_free(b);
        return status;
    }
    draw_order(b);
    *out = b;
    return QK_OK;
}

void qk_batches_free(qk_batches *b)
{
    if (!b) return;
    free(b->order);
    free(b->document);
    free(b->tokens);
    free(b->sequences);
    free(b->first_of_row);
    free(b);
}

/* ---- state */

json_t *qk_batches_state(const qk_batches *b)
{
    return json_pack("{s:I, s:I, s:I}", "epoch", (json_int_t)b->epoch, "position", (json_int_t)b->position, "offset",
                     (json_int_t)b->offset);
}

qk_status qk_batches_restore(qk_batches *b, const json_t *state, qk_error *err)
{
    json_int_t epoch = -1, position = -1, offset = -1;
    /* json_unpack reads only, although its parameter is not const */
    int bad = json_unpack((json_t *)(uintptr_t)state, "{s:I, s:I, s:I}", "epoch", &epoch, "position", &position,
                          "offset", &offset);
    if (bad || epoch < 0 || position < 0 || offset < 0 || (uint64_t)position >= b->corpus.n_documents)
        return qk_fail(err, QK_E_FORMAT, "the state of the batches: expected epoch, position below %llu and offset",
                       (unsigned long long)b->corpus.n_documents);
    free(b->document);
    b->document = NULL;
    b->epoch = (uint64_t)epoch;
    b->position = (uint64_t)position;
    b->offset = 0;
    draw_order(b);
    if (offset == 0) return QK_OK;
    qk_status status = read_document(b, err);
    if (status) return status;
    if ((uint64_t)offset >= b->n_document)
        return qk_fail(err, QK_E_FORMAT, "the state of the batches: offset %lld in a document of %zu tokens",
                       (long long)offset, b->n_document);
    b->offset = (size_t)offset;
    return QK_OK;
}
