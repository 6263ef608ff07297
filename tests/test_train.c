/* test_train.c - the loop: the same bytes again, resumed or not, on any number of threads; what stops it and what it
 * leaves behind. */
#include <jansson.h>
#include <math.h>

#include "counted_documents.h"

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
    r.training.reference = true;
    assert_int_equal(go(&r), QK_E_ARGUMENT);
    assert_non_null(strstr(r.error.message, "level: expected"));
    r.training.reference = false;
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
    static const struct CMUnitTest tests[] = {
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
