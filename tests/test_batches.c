/* test_batches.c - rows of documents: every one once an epoch, kept apart, and going on where they stood. */
#include "counted_documents.h"

static qk_batches *open_batches(uint64_t n_documents, bool across, uint64_t seed)
{
    qk_batches *batches = NULL;
    qk_corpus corpus = counted(n_documents);
    assert_ok(qk_batches_new(&batches, &corpus,
                             &(qk_batch_spec){ .context = 32, .n_rows = 5, .across_documents = across, .seed = seed },
                             err));
    return batches;
}

/* The next `n` tokens as they come, rows end to end. */
static void read_stream(int32_t *out, size_t n, qk_batches *batches)
{
    for (size_t at = 0; at < n;) {
        qk_batch batch;
        assert_ok(qk_batches_next(&batch, batches, err));
        assert_int_equal(batch.n_rows, 5);
        for (size_t i = 0; i < batch.n_sequences; i++)
            for (size_t t = 0; t < batch.sequences[i].n_tokens && at < n; t++)
                out[at++] = batch.sequences[i].tokens[t];
    }
}

/* Across documents a row is a piece of the stream of documents: every document once an epoch, another order each. */
static void test_an_epoch_has_every_document_once(void **state)
{
    enum { N_DOCUMENTS_HERE = 40, N_TOKENS = 40 * 3 + 780 };
    (void)state;
    int32_t stream[2 * N_TOKENS];
    int order[2][N_DOCUMENTS_HERE], seen[2][N_DOCUMENTS_HERE] = { { 0 } };
    qk_batches *batches = open_batches(N_DOCUMENTS_HERE, true, 3);
    read_stream(stream, 2 * N_TOKENS, batches);
    size_t at = 0;
    for (int epoch = 0; epoch < 2; epoch++)
        for (int d = 0; d < N_DOCUMENTS_HERE; d++) {
            int32_t index = stream[at++];
            order[epoch][d] = index;
            seen[epoch][index]++;
            for (int32_t i = 1; i < 3 + index; i++) assert_int_equal(stream[at++], 40 + i);
        }
    for (int d = 0; d < N_DOCUMENTS_HERE; d++) assert_true(seen[0][d] == 1 && seen[1][d] == 1);
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    qk_batches_free(batches);
    int32_t other[2 * N_TOKENS];
    batches = open_batches(N_DOCUMENTS_HERE, true, 4);
    read_stream(other, 2 * N_TOKENS, batches);
    assert_memory_not_equal(stream, other, sizeof stream);
    qk_batches_free(batches);
}

/* Each piece of a document is a sequence; those of one token are left out; rows end at the context. */
static void test_documents_are_kept_apart(void **state)
{
    (void)state;
    qk_batches *batches = open_batches(40, false, 3), *across = open_batches(40, true, 3);
    qk_batch batch, whole;
    for (int step = 0; step < 20; step++) {
        assert_ok(qk_batches_next(&batch, batches, err));
        assert_ok(qk_batches_next(&whole, across, err));
        assert_int_equal(whole.n_sequences, 5);
        assert_int_equal(whole.n_predicted, 5 * 31);
        assert_int_equal(batch.first_of_row[0], 0);
        assert_int_equal(batch.first_of_row[5], batch.n_sequences);
        size_t n_predicted = 0, n_tokens = 0;
        for (size_t r = 0; r < 5; r++)
            for (size_t i = batch.first_of_row[r]; i < batch.first_of_row[r + 1]; i++) {
                const qk_sequence *s = &batch.sequences[i];
                assert_true(s->n_tokens >= 2 && s->score_from == 1);
                for (size_t t = 1; t < s->n_tokens; t++) /* no document begins within */
                    assert_true(s->tokens[t] > 40 && (t == 1 || s->tokens[t] == s->tokens[t - 1] + 1));
                n_predicted += s->n_tokens - 1;
                n_tokens += s->n_tokens;
            }
        assert_int_equal(batch.n_predicted, n_predicted);
        assert_int_equal(batch.n_tokens, n_tokens);
        assert_true(n_tokens <= 5 * 32 && n_tokens >= 5 * 30);
    }
    qk_batches_free(batches);
    qk_batches_free(across);
}

/* In the order given, which begins again behind the last one. */
static void test_the_given_order_is_kept(void **state)
{
    (void)state;
    enum { N = 7, N_TOKENS = 3 + 4 + 5 + 6 + 7 + 8 + 9 };
    qk_batches *batches = NULL;
    qk_corpus corpus = counted(N);
    qk_batch_spec spec = { .context = 32, .n_rows = 5, .across_documents = true, .in_order = true, .seed = 3 };
    assert_ok(qk_batches_new(&batches, &corpus, &spec, err));
    int32_t stream[3 * N_TOKENS];
    size_t at = 0;
    read_stream(stream, sizeof stream / sizeof *stream, batches);
    for (size_t epoch = 0; epoch < 3; epoch++)
        for (size_t document = 0; document < N; at += 3 + document++) assert_int_equal(stream[at], document);
    assert_int_equal(at, sizeof stream / sizeof *stream);
    qk_batches_free(batches);
}

static void test_batches_go_on_where_they_stood(void **state)
{
    (void)state;
    for (int unlimited = 0; unlimited < 2; unlimited++)
        for (int before = 0; before < 14; before++) {
            uint64_t n_documents = unlimited ? UINT64_MAX : 40;
            int32_t expected[500], found[500];
            qk_batches *one = open_batches(n_documents, true, 9), *other = open_batches(n_documents, true, 9);
            for (int step = 0; step < before; step++) read_stream(expected, 160, one);
            json_t *position = qk_batches_state(one);
            assert_ok(qk_batches_restore(other, position, err));
            json_decref(position);
            read_stream(expected, 500, one);
            read_stream(found, 500, other);
            assert_memory_equal(expected, found, sizeof expected);
            qk_batches_free(one);
            qk_batches_free(other);
        }
}

static void test_batches_refuse(void **state)
{
    (void)state;
    qk_batches *batches = NULL;
    qk_corpus corpus = counted(4); /* 3 + 4 + 5 + 6 tokens */
    qk_batch_spec spec = { .context = 19, .n_rows = 1 };
    assert_refused(qk_batches_new(&batches, &corpus, &spec, err), QK_E_ARGUMENT, "one context of 19 tokens, found 18");
    spec.context = 18;
    assert_ok(qk_batches_new(&batches, &corpus, &spec, err));
    static const char *const bad[] = { "{}", "[]", "{\"epoch\": 0, \"position\": 4, \"offset\": 0}",
                                       "{\"epoch\": -1, \"position\": 0, \"offset\": 0}",
                                       "{\"epoch\": 0, \"position\": 0, \"offset\": 9}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *position = json_loads(bad[i], 0, NULL);
        assert_refused(qk_batches_restore(batches, position, err), QK_E_FORMAT, "the state of the batches");
        json_decref(position);
    }
    qk_batches_free(batches);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_epoch_has_every_document_once),
        cmocka_unit_test(test_documents_are_kept_apart),
        cmocka_unit_test(test_the_given_order_is_kept),
        cmocka_unit_test(test_batches_go_on_where_they_stood),
        cmocka_unit_test(test_batches_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
