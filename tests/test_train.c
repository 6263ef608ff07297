/* test_train.c - the optimiser against PyTorch, batches, and the loop: the same bytes again, resumed or not, on any
 * number of threads; what stops it and what it leaves behind. */
#include <jansson.h>
#include <math.h>

#include "data/optimiser_oracle.h"
#include "study_files.h"
#include "train/trainer.h"

/* ---- the optimiser */

/* Parameters without a model: a matrix and a vector, as the oracle has them, or larger. */
typedef struct bare {
    qk_parameters p;
    qk_parameter items[2];
} bare;

static void open_bare(bare *b, size_t rows, size_t columns, size_t length, const char *name)
{
    size_t n = rows * columns, offset = (n + 15) / 16 * 16, total = offset + (length + 15) / 16 * 16;
    *b = (bare){ .items[0] = { .shape = { .n_rows = rows, .n_cols = columns, .n_dims = 2 }, .n = n } };
    b->items[1] = (qk_parameter){ .shape = { .n_rows = length, .n_cols = 1, .n_dims = 1 }, offset, length };
    snprintf(b->items[0].shape.name, sizeof b->items[0].shape.name, "%s", name);
    snprintf(b->items[1].shape.name, sizeof b->items[1].shape.name, "gain");
    b->p = (qk_parameters){ .items = b->items, .n_items = 2, .n_values = total };
    assert_ok(qk_new_floats(&b->p.values, total, "values", err));
    assert_ok(qk_new_floats(&b->p.gradient, total, "values", err));
    assert_ok(qk_new_floats(&b->p.first_moment, total, "values", err));
    assert_ok(qk_new_floats(&b->p.second_moment, total, "values", err));
}

static void close_bare(bare *b)
{
    free(b->p.values);
    free(b->p.gradient);
    free(b->p.first_moment);
    free(b->p.second_moment);
}

/* The i-th value of both weights, padding left out. */
static float *place(const bare *b, float *array, size_t i)
{
    return i < b->items[0].n ? array + i : array + b->items[1].offset + (i - b->items[0].n);
}

static const qk_optimiser adamw = {
    .learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .decay_qk = true,
    .clip = 1, .schedule = QK_SCHEDULE_COSINE, .n_steps = ORACLE_STEPS, .n_warmup = 2, .least = 0.1,
};

static void test_adamw_is_that_of_torch(void **state)
{
    enum { N = ORACLE_ROWS * ORACLE_COLUMNS + ORACLE_LENGTH };
    (void)state;
    bare b;
    open_bare(&b, ORACLE_ROWS, ORACLE_COLUMNS, ORACLE_LENGTH, "matrix");
    for (int i = 0; i < N; i++) *place(&b, b.p.values, (size_t)i) = (float)(i * 37 % 23 - 11) / 16;
    for (int step = 0; step < ORACLE_STEPS; step++) {
        double norm = 0;
        for (int i = 0; i < N; i++)
            *place(&b, b.p.gradient, (size_t)i) = (float)((i * 29 + step * 13) % 31 - 15) / (step % 3 ? 4 : 64);
        assert_ok(qk_optimise(&norm, &b.p, &adamw, (uint64_t)step, 2, err));
        assert_near(norm, oracle_norms[step], 2e-6 * norm);
        for (int i = 0; i < N; i++)
            assert_near(*place(&b, b.p.values, (size_t)i), oracle_values[step * N + i], 2e-7);
        for (size_t i = 0; i < b.p.n_values; i++) assert_true(b.p.gradient[i] == 0);
    }
    for (size_t i = ORACLE_ROWS * ORACLE_COLUMNS; i < b.items[1].offset; i++) assert_true(b.p.values[i] == 0);
    close_bare(&b);
}

/* Enough values for many chunks. */
static void fill_large(bare *b, const char *name)
{
    qk_rng rng;
    open_bare(b, 700, 501, 33, name);
    qk_rng_seed(&rng, 7);
    for (size_t i = 0; i < b->items[0].n + b->items[1].n; i++) {
        *place(b, b->p.values, i) = (float)qk_rng_normal(&rng);
        *place(b, b->p.gradient, i) = (float)qk_rng_normal(&rng);
    }
}

static void test_threads_change_no_bit_of_an_update(void **state)
{
    (void)state;
    bare one, other;
    double norm[2];
    for (int n_threads = 2; n_threads <= 5; n_threads++) {
        fill_large(&one, "matrix");
        fill_large(&other, "matrix");
        assert_ok(qk_optimise(&norm[0], &one.p, &adamw, 3, 1, err));
        assert_ok(qk_optimise(&norm[1], &other.p, &adamw, 3, n_threads, err));
        assert_memory_equal(&norm[0], &norm[1], sizeof norm[0]);
        assert_memory_equal(one.p.values, other.p.values, one.p.n_values * sizeof(float));
        assert_memory_equal(one.p.second_moment, other.p.second_moment, one.p.n_values * sizeof(float));
        close_bare(&one);
        close_bare(&other);
    }
}

/* With a gradient of zero an update is the decay alone. */
static void test_what_decays(void **state)
{
    static const struct { const char *name; bool decay_qk, decays; } cases[] = {
        { "model.layers.0.self_attn.q_proj.weight", true, true },
        { "model.layers.0.self_attn.q_proj.weight", false, false },
        { "model.layers.0.self_attn.k_proj.weight", false, false },
        { "model.layers.0.self_attn.v_proj.weight", false, true },
        { "model.layers.0.mlp.gate_proj.weight", false, true },
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        bare b;
        double norm;
        qk_optimiser o = adamw;
        o.decay_qk = cases[c].decay_qk;
        o.schedule = QK_SCHEDULE_CONSTANT;
        o.n_warmup = 0;
        open_bare(&b, 2, 3, 4, cases[c].name);
        for (size_t i = 0; i < b.p.n_values; i++) b.p.values[i] = 1;
        assert_ok(qk_optimise(&norm, &b.p, &o, 0, 1, err));
        assert_near(norm, 0, 0);
        assert_near(b.p.values[0], cases[c].decays ? 1 - 0.01 * 0.1 : 1, 1e-7);
        assert_near(b.p.values[b.items[1].offset], 1, 0);
        close_bare(&b);
    }
}

static void test_a_bad_gradient_is_named_and_changes_nothing(void **state)
{
    (void)state;
    bare b, before;
    double norm = -1;
    fill_large(&b, "matrix");
    fill_large(&before, "matrix");
    b.p.gradient[501 * 300 + 17] = NAN;
    *place(&b, b.p.gradient, b.items[0].n + 5) = INFINITY;
    assert_refused(qk_optimise(&norm, &b.p, &adamw, 4, 2, err), QK_E_NUMERIC, "step 5: gradient of matrix[300][17]");
    assert_memory_equal(b.p.values, before.p.values, b.p.n_values * sizeof(float));
    assert_memory_equal(b.p.second_moment, before.p.second_moment, b.p.n_values * sizeof(float));
    assert_true(norm == -1);
    close_bare(&b);
    close_bare(&before);
}

static void test_schedules(void **state)
{
    (void)state;
    qk_optimiser o = { .learning_rate = 2, .n_steps = 100, .n_warmup = 10, .n_decay = 20, .least = 0.25 };
    static const qk_schedule all[] = { QK_SCHEDULE_COSINE, QK_SCHEDULE_CONSTANT, QK_SCHEDULE_WSD };
    for (size_t s = 0; s < 3; s++) { /* the rise is the same */
        o.schedule = all[s];
        assert_near(qk_learning_rate(&o, 0), 0.2, 1e-15);
        assert_near(qk_learning_rate(&o, 9), 2, 1e-15);
        assert_near(qk_learning_rate(&o, 10), 2, 1e-15);
    }
    o.schedule = QK_SCHEDULE_CONSTANT;
    assert_near(qk_learning_rate(&o, 99), 2, 0);
    o.schedule = QK_SCHEDULE_COSINE;
    assert_near(qk_learning_rate(&o, 55), 0.5 + 1.5 / 2, 1e-12); /* half of the way from 10 to 100 */
    assert_near(qk_learning_rate(&o, 100), 0.5, 1e-12);
    o.schedule = QK_SCHEDULE_WSD;
    assert_near(qk_learning_rate(&o, 79), 2, 0);
    assert_near(qk_learning_rate(&o, 80), 2, 1e-12);
    assert_near(qk_learning_rate(&o, 90), 0.5 + 1.5 / 2, 1e-12);
    assert_true(qk_learning_rate(&o, 99) > 0.5 && qk_learning_rate(&o, 99) < 0.52);
    o.n_warmup = 95; /* warm-up and fall overlap: the fall waits */
    assert_near(qk_learning_rate(&o, 94), 2, 1e-15);
    assert_true(qk_learning_rate(&o, 99) < 2);
}

/* ---- batches */

/* Document `index` has 3 + index % 40 tokens: index, then 40 + its place. */
static qk_status counted_tokens(void *user, int32_t **tokens, size_t *n_tokens, uint64_t index, qk_error *err)
{
    (void)user;
    *n_tokens = (size_t)(3 + index % 40);
    qk_status status = qk_new_array(tokens, *n_tokens, sizeof **tokens, "tokens", err);
    if (status) return status;
    (*tokens)[0] = (int32_t)(index % 40);
    for (size_t i = 1; i < *n_tokens; i++) (*tokens)[i] = (int32_t)(40 + i);
    return QK_OK;
}

static qk_corpus counted(uint64_t n_documents) { return (qk_corpus){ n_documents, counted_tokens, NULL }; }

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

/* ---- the loop */

typedef struct run {
    qk_model *golden;
    qk_parameters *parameters;
    qk_training training;
    qk_training_result result;
    qk_error error;
    int32_t *tokens;
    qk_sequence held_out[3];
} run;

/* A small model from scratch, on counted documents; `folder` NULL writes nothing. */
static void open_run(run *r, const char *folder)
{
    *r = (run){ 0 };
    assert_ok(qk_model_open(&r->golden, data_path("golden/gqa"), NULL, err));
    assert_ok(qk_parameters_new(&r->parameters, &r->golden->config, NULL, err));
    qk_parameters_randomise(r->parameters, 0.05, 11);
    size_t n;
    for (int i = 0; i < 3; i++) {
        int32_t *tokens;
        assert_ok(counted_tokens(NULL, &tokens, &n, (uint64_t)(20 + i), err));
        r->held_out[i] = (qk_sequence){ tokens, n, 1 };
    }
    r->training = (qk_training){
        .parameters = r->parameters,
        .optimiser = adamw,
        .corpus = counted(40),
        .batch = { .context = 32, .n_rows = 4, .seed = 5 },
        .micro_rows = 2,
        .n_threads = 2,
        .validation = r->held_out,
        .n_validation = 3,
        .valid_every = 3,
        .folder = folder,
        .save_every = 4,
        .keep = 2,
    };
    r->training.optimiser.n_steps = 12;
}

static void close_run(run *r)
{
    for (int i = 0; i < 3; i++) free((void *)(uintptr_t)r->held_out[i].tokens);
    qk_parameters_free(r->parameters);
    qk_model_close(r->golden);
}

static qk_status go(run *r) { return qk_train_run(&r->result, &r->training, &r->error); }

static void run_whole(run *r, const char *folder)
{
    open_run(r, folder);
    if (go(r)) fail_msg("%s", r->error.message);
    assert_int_equal(r->result.last.step, 12);
    assert_int_equal(r->result.validation.step, 12);
}

static char *slurp(const char *folder, const char *name, size_t *n)
{
    char path[9000];
    qk_map map;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(qk_map_open(&map, path, err));
    char *bytes = malloc(map.size + 1);
    assert_non_null(bytes);
    memcpy(bytes, map.data, map.size);
    bytes[map.size] = '\0';
    *n = map.size;
    qk_map_close(&map);
    return bytes;
}

static void assert_same_file(const char *a, const char *b, const char *name)
{
    size_t n, m;
    char *x = slurp(a, name, &n), *y = slurp(b, name, &m);
    if (n != m || memcmp(x, y, n) != 0) fail_msg("%s differs between %s and %s", name, a, b);
    free(x);
    free(y);
}

static void assert_same_run(const char *a, const char *b)
{
    assert_same_file(a, b, "log.jsonl");
    assert_same_file(a, b, "checkpoints/step-00000012/model.safetensors");
    assert_same_file(a, b, "checkpoints/step-00000012/trainer.safetensors");
    assert_same_file(a, b, "checkpoints/step-00000012/trainer.json");
}

static void test_a_run_repeats_and_learns(void **state)
{
    (void)state;
    run one, other;
    run_whole(&one, work_path("one"));
    run_whole(&other, work_path("other"));
    assert_same_run(work_path("one"), work_path("other"));
    assert_true(one.result.last.nll < 3.6); /* ln 96 = 4.56 at the start */
    assert_false(qk_path_exists(work_path("one/checkpoints/step-00000004"))); /* two are kept */
    assert_true(qk_path_exists(work_path("one/checkpoints/step-00000008")));
    close_run(&one);
    close_run(&other);
}

static void test_threads_change_no_byte_of_a_run(void **state)
{
    (void)state;
    run one, two;
    open_run(&one, work_path("thread"));
    one.training.n_threads = 1;
    assert_int_equal(go(&one), QK_OK);
    run_whole(&two, work_path("threads"));
    assert_same_run(work_path("thread"), work_path("threads"));
    close_run(&one);
    close_run(&two);
}

/* Loss and gradient of a step are means over its predicted tokens: of neither rows, sequences nor all tokens. */
static void test_a_step_is_a_mean_over_predicted_tokens(void **state)
{
    (void)state;
    run r, plain;
    open_run(&r, NULL);
    open_run(&plain, NULL);
    r.training.optimiser.n_steps = 1;
    assert_int_equal(go(&r), QK_OK);
    qk_batches *batches = NULL;
    qk_gradient *gradient = NULL;
    qk_batch batch;
    double nll = 0, squares = 0;
    const qk_gradient_spec spec = { .max_rows = 4 * 32, .longest = 32, .reference = true, .n_threads = 2 };
    assert_ok(qk_batches_new(&batches, &plain.training.corpus, &plain.training.batch, err));
    assert_ok(qk_batches_next(&batch, batches, err));
    assert_ok(qk_gradient_new(&gradient, plain.parameters, &spec, err));
    assert_ok(qk_gradient_add(&nll, gradient, batch.sequences, batch.n_sequences, 1, err));
    for (size_t i = 0; i < plain.parameters->n_values; i++)
        squares += (double)plain.parameters->gradient[i] * plain.parameters->gradient[i];
    assert_true(batch.n_predicted < batch.n_tokens);
    assert_near(r.result.last.nll, nll / (double)batch.n_predicted, 1e-5);
    assert_near(r.result.last.gradient_norm, sqrt(squares) / (double)batch.n_predicted, 1e-5);
    qk_gradient_free(gradient);
    qk_batches_free(batches);
    close_run(&r);
    close_run(&plain);
}

/* Micro-batches change the order of sums and nothing else: an update is the same to single precision. */
static void test_micro_batches_add_up(void **state)
{
    (void)state;
    run whole, parts;
    open_run(&whole, NULL);
    open_run(&parts, NULL);
    whole.training.micro_rows = 4;
    parts.training.micro_rows = 1;
    whole.training.optimiser.n_steps = parts.training.optimiser.n_steps = 1;
    assert_int_equal(go(&whole), QK_OK);
    assert_int_equal(go(&parts), QK_OK);
    assert_near(whole.result.last.nll, parts.result.last.nll, 1e-6);
    assert_near(whole.result.last.gradient_norm, parts.result.last.gradient_norm, 1e-6);
    double moments = 0, difference = 0; /* of the first moment: a tenth of the gradient */
    for (size_t i = 0; i < whole.parameters->n_values; i++) {
        double a = whole.parameters->first_moment[i], b = parts.parameters->first_moment[i];
        moments += a * a;
        difference += (a - b) * (a - b);
    }
    assert_true(difference < 1e-12 * moments);
    close_run(&whole);
    close_run(&parts);
}

/* Recomputing activations changes no bit. */
static void test_recomputing_changes_no_byte(void **state)
{
    (void)state;
    run kept, again;
    run_whole(&kept, work_path("kept"));
    open_run(&again, work_path("again"));
    again.training.recompute = true;
    assert_int_equal(go(&again), QK_OK);
    assert_same_run(work_path("kept"), work_path("again"));
    close_run(&kept);
    close_run(&again);
}

/* ---- interrupting, resuming */

static bool stop_at(void *user, const char *phase, double done, double total)
{
    int *left = user;
    (void)phase, (void)done, (void)total;
    return --*left > 0;
}

/* However often a run is interrupted, in a step, in a validation or in between, it ends in the same bytes. */
static void test_resumed_is_uninterrupted(void **state)
{
    (void)state;
    run whole;
    run_whole(&whole, work_path("whole"));
    int n_stops = 0, between = 5; /* ticks until the next stop: more each time, so that it ends */
    for (bool done = false; !done; between += 2) {
        run part;
        int left = between;
        open_run(&part, work_path("parts"));
        part.training.resume = true;
        part.training.n_threads = 1 + n_stops % 2;
        part.training.progress = (qk_progress){ stop_at, &left };
        qk_status status = go(&part);
        if (status && status != QK_E_INTERRUPTED) fail_msg("%s", part.error.message);
        if (status) assert_non_null(strstr(part.error.message, "is saved in"));
        done = status == QK_OK;
        n_stops += !done;
        close_run(&part);
    }
    assert_true(n_stops >= 3);
    assert_same_run(work_path("whole"), work_path("parts"));
    close_run(&whole);
}

static void test_resumed_after_more_steps(void **state)
{
    (void)state;
    run whole, part;
    open_run(&whole, work_path("long"));
    whole.training.optimiser.schedule = QK_SCHEDULE_CONSTANT;
    assert_int_equal(go(&whole), QK_OK);
    open_run(&part, work_path("longer"));
    part.training.optimiser.schedule = QK_SCHEDULE_CONSTANT;
    part.training.optimiser.n_steps = 6; /* a multiple of valid_every: no validation that the long run has not */
    assert_int_equal(go(&part), QK_OK);
    close_run(&part);
    open_run(&part, work_path("longer"));
    part.training.optimiser.schedule = QK_SCHEDULE_CONSTANT;
    part.training.resume = true;
    assert_int_equal(go(&part), QK_OK);
    assert_int_equal(part.result.resumed_from, 6);
    assert_same_run(work_path("long"), work_path("longer"));
    close_run(&part);
    open_run(&part, work_path("longer")); /* a cosine would have been another run */
    part.training.resume = true;
    assert_int_equal(go(&part), QK_E_ARGUMENT);
    assert_non_null(strstr(part.error.message, "schedule: expected \"constant\""));
    close_run(&whole);
    close_run(&part);
}

static void test_another_run_is_not_resumed(void **state)
{
    (void)state;
    run r;
    run_whole(&r, work_path("first"));
    r.training.folder = work_path("first");
    assert_int_equal(go(&r), QK_E_ARGUMENT);
    assert_non_null(strstr(r.error.message, "--resume, found the checkpoints"));
    r.training.resume = true;
    r.training.optimiser.n_steps = 13; /* a cosine of 13 steps has other learning rates */
    assert_int_equal(go(&r), QK_E_ARGUMENT);
    assert_non_null(strstr(r.error.message, "steps: expected 12"));
    r.training.optimiser.n_steps = 12;
    r.training.batch.seed = 6;
    assert_int_equal(go(&r), QK_E_ARGUMENT);
    assert_non_null(strstr(r.error.message, "seed: expected 5"));
    r.training.batch.seed = 5;
    r.training.optimiser.beta2 = 0.96;
    assert_int_equal(go(&r), QK_E_ARGUMENT);
    assert_non_null(strstr(r.error.message, "beta2: expected 0.95"));
    r.training.optimiser.beta2 = 0.95;
    json_t *settings = json_pack("{s:s}", "text", "another");
    r.training.settings = settings;
    assert_int_equal(go(&r), QK_E_ARGUMENT);
    assert_non_null(strstr(r.error.message, "text: expected nothing"));
    r.training.settings = NULL;
    assert_int_equal(go(&r), QK_OK); /* nothing is left to do */
    json_decref(settings);
    close_run(&r);
}

/* ---- hooks */

typedef struct log { char text[4000]; int interrupt_at; } log_of_hooks;

static void note(log_of_hooks *l, const char *what, uint64_t step)
{
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof l->text - n, "%s%llu ", what, (unsigned long long)step);
}

static qk_status on_start(void *user, uint64_t step, const char *folder, qk_error *err)
{
    (void)err;
    note(user, folder ? "resume" : "start", step);
    return QK_OK;
}

static qk_status on_before(void *user, uint64_t step, qk_error *err)
{
    (void)err;
    note(user, "b", step);
    return QK_OK;
}

static qk_status on_after(void *user, const qk_step_row *row, qk_error *err)
{
    log_of_hooks *l = user;
    if ((int)row->step == l->interrupt_at) return qk_fail(err, QK_E_INTERRUPTED, "interrupted");
    note(user, "a", row->step);
    return QK_OK;
}

static qk_status on_validation(void *user, const qk_validation_row *row, qk_error *err)
{
    (void)err;
    note(user, "v", row->step);
    return QK_OK;
}

static qk_status on_save(void *user, const char *folder, qk_error *err)
{
    char path[9000];
    note(user, "s", 0);
    snprintf(path, sizeof path, "%s/mine.txt", folder);
    return qk_write_file(path, "kept", 4, err);
}

static void test_hooks_are_called_in_order(void **state)
{
    (void)state;
    log_of_hooks seen = { "", 3 };
    const qk_training_hook hook = { &seen, on_start, on_before, on_after, on_validation, on_save };
    run r;
    open_run(&r, work_path("hooks"));
    r.training.hooks = &hook;
    r.training.n_hooks = 1;
    assert_int_equal(go(&r), QK_E_INTERRUPTED);
    close_run(&r);
    assert_string_equal(seen.text, "start0 v0 b0 a1 b1 a2 b2 s0 ");
    assert_true(qk_path_exists(work_path("hooks/checkpoints/step-00000003/mine.txt")));
    seen = (log_of_hooks){ "", 0 };
    open_run(&r, work_path("hooks"));
    r.training.hooks = &hook;
    r.training.n_hooks = 1;
    r.training.resume = true;
    r.training.optimiser.n_steps = 12;
    assert_int_equal(go(&r), QK_OK);
    close_run(&r);
    assert_string_equal(seen.text, "resume3 b2 a3 v3 b3 a4 s0 b4 a5 b5 a6 v6 b6 a7 b7 a8 s0 b8 a9 v9 b9 a10 b10 a11 "
                                   "b11 a12 v12 s0 ");
}

/* ---- what stops a run */

static qk_status poison(void *user, uint64_t step, qk_error *err)
{
    qk_parameters *parameters = user;
    (void)err;
    if (step == 9) parameters->values[parameters->items[1].offset] = NAN; /* the first layer's norm */
    return QK_OK;
}

static void test_a_loss_that_is_no_number_stops(void **state)
{
    (void)state;
    run r;
    open_run(&r, work_path("nan"));
    const qk_training_hook hook = { .user = r.parameters, .before_step = poison };
    r.training.hooks = &hook;
    r.training.n_hooks = 1;
    assert_int_equal(go(&r), QK_E_NUMERIC);
    assert_non_null(strstr(r.error.message, "step 10: "));
    assert_true(qk_path_exists(work_path("nan/checkpoints/step-00000008/trainer.json")));
    assert_false(qk_path_exists(work_path("nan/checkpoints/step-00000010")));
    close_run(&r);
    open_run(&r, work_path("nan")); /* and goes on once the cause is gone */
    r.training.resume = true;
    assert_int_equal(go(&r), QK_OK);
    assert_int_equal(r.result.resumed_from, 8);
    run whole;
    run_whole(&whole, work_path("healthy"));
    assert_same_run(work_path("nan"), work_path("healthy"));
    close_run(&r);
    close_run(&whole);
}

/* Files of a checkpoint that were tampered with are refused by name, nothing is trained on. */
static void test_broken_checkpoints_are_refused(void **state)
{
    static const struct { const char *name, *bytes, *words; } cases[] = {
        { "trainer.json", "{", "trainer.json" },
        { "trainer.json", "{}", "the state of a trainer" },
        { "trainer.safetensors", "short", "trainer.safetensors" },
        { "model.safetensors", "", "model.safetensors" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[64], file[128];
        run r;
        snprintf(folder, sizeof folder, "broken%zu", i);
        snprintf(file, sizeof file, "%s/checkpoints/step-00000012/%s", folder, cases[i].name);
        run_whole(&r, work_path(folder));
        assert_ok(qk_write_file(work_path(file), cases[i].bytes, strlen(cases[i].bytes), err));
        r.training.folder = work_path(folder);
        r.training.resume = true;
        if (go(&r) != QK_E_FORMAT || !strstr(r.error.message, cases[i].words))
            fail_msg("%s: %s", cases[i].name, r.error.message);
        close_run(&r);
    }
}

/* A log that lost bytes which the checkpoint counted is not continued. */
static void test_a_log_that_was_cut_is_refused(void **state)
{
    (void)state;
    run r;
    run_whole(&r, work_path("cut"));
    assert_ok(qk_write_file(work_path("cut/log.jsonl"), "{}\n", 3, err));
    r.training.folder = work_path("cut");
    r.training.resume = true;
    assert_int_equal(go(&r), QK_E_FORMAT);
    assert_non_null(strstr(r.error.message, "log.jsonl: expected the"));
    close_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_is_that_of_torch),
        cmocka_unit_test(test_threads_change_no_bit_of_an_update),
        cmocka_unit_test(test_what_decays),
        cmocka_unit_test(test_a_bad_gradient_is_named_and_changes_nothing),
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_an_epoch_has_every_document_once),
        cmocka_unit_test(test_documents_are_kept_apart),
        cmocka_unit_test(test_batches_go_on_where_they_stood),
        cmocka_unit_test(test_batches_refuse),
        cmocka_unit_test(test_a_run_repeats_and_learns),
        cmocka_unit_test(test_threads_change_no_byte_of_a_run),
        cmocka_unit_test(test_a_step_is_a_mean_over_predicted_tokens),
        cmocka_unit_test(test_micro_batches_add_up),
        cmocka_unit_test(test_recomputing_changes_no_byte),
        cmocka_unit_test(test_resumed_is_uninterrupted),
        cmocka_unit_test(test_resumed_after_more_steps),
        cmocka_unit_test(test_another_run_is_not_resumed),
        cmocka_unit_test(test_hooks_are_called_in_order),
        cmocka_unit_test(test_a_loss_that_is_no_number_stops),
        cmocka_unit_test(test_broken_checkpoints_are_refused),
        cmocka_unit_test(test_a_log_that_was_cut_is_refused),
    };
    return cmocka_run_group_tests(tests, make_work_folder, remove_work_folder);
}
