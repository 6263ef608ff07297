/* test_study.c - perplexity, capture and verify, massive values, against what is computed here by hand. */
#include "study_files.h"

static const qk_compute plain = { .n_threads = 1 };

/* ---- perplexity */

static void hf_perplexity_is_one_plain_pass(void **state)
{
    (void)state;
    qk_named_model gqa = open_golden("gqa");
    qk_documents documents = open_documents();
    qk_compute compute = plain;
    compute.max_tokens = 40;
    json_t *results;
    assert_ok(qk_study_ppl(&results, gqa.model, &documents, &(qk_ppl_settings) { .per_token = true }, &compute, err));
    double nll = 0;
    for (size_t d = 0; d < documents.n; d++) {
        const qk_document *document = &documents.items[d];
        qk_sequence sequence = { document->tokens, document->n_tokens, 1 };
        qk_pass_spec spec = { .sequences = &sequence, .n_sequences = 1, .score = true, .n_threads = 1 };
        qk_pass_result *result;
        assert_int_equal(document->tokens[0], 1); /* BOS is context */
        assert_ok(qk_pass_run(&result, gqa.model, &spec, err));
        const json_t *row = find_row(results, "documents", "id", document->id, NULL);
        const json_t *tokens = json_object_get(row, "token_nll");
        assert_near(number(row, "nll"), result->scores[0].nll, 1e-9);
        assert_int_equal(number(row, "tokens"), document->n_tokens - 1);
        assert_int_equal(json_array_size(tokens), document->n_tokens - 1);
        double sum = 0;
        for (size_t t = 0; t < json_array_size(tokens); t++) sum += json_number_value(json_array_get(tokens, t));
        assert_near(sum, result->scores[0].nll, 1e-3);
        assert_int_equal(number(row, "cut"), document->n_cut);
        nll += result->scores[0].nll;
        qk_pass_result_free(result);
    }
    assert_near(number(results, "nll_per_token"), nll / number(results, "tokens"), 1e-9);
    assert_near(number(results, "ppl"), exp(nll / number(results, "tokens")), 1e-6 * number(results, "ppl"));
    json_decref(results);
    qk_documents_free(&documents);
    qk_model_close(gqa.model);
}

static json_t *ppl(const qk_named_model *model, qk_documents *documents, qk_ppl_settings settings, size_t max_tokens)
{
    qk_compute compute = plain;
    compute.max_tokens = max_tokens;
    json_t *results;
    assert_ok(qk_study_ppl(&results, model->model, documents, &settings, &compute, err));
    return results;
}

static void protocols_score_the_targets_they_promise(void **state)
{
    (void)state;
    qk_named_model mha = open_golden("mha");
    qk_documents documents = open_documents();
    json_t *hf = ppl(&mha, &documents, (qk_ppl_settings) { 0 }, 64);
    size_t targets = 0, tokens = 0;
    for (size_t d = 0; d < documents.n; d++) targets += documents.items[d].n_tokens - 1;
    tokens = targets + 1; /* one text has one BOS */
    assert_int_equal(number(hf, "tokens"), targets);

    /* A window as long as the documents is hf; a short one scores each target once, with less context. */
    json_t *wide = ppl(&mha, &documents, (qk_ppl_settings) { .protocol = QK_PPL_STRIDED }, 64);
    json_t *narrow = ppl(&mha, &documents, (qk_ppl_settings) { .protocol = QK_PPL_STRIDED, .stride = 5 }, 12);
    assert_near(number(wide, "nll_per_token"), number(hf, "nll_per_token"), 1e-9);
    assert_int_equal(number(narrow, "tokens"), targets);
    assert_true(fabs(number(narrow, "nll_per_token") - number(hf, "nll_per_token")) > 1e-4);

    json_t *chunks = ppl(&mha, &documents, (qk_ppl_settings) { .protocol = QK_PPL_LLAMA_CPP }, 21);
    assert_int_equal(number(chunks, "chunks"), tokens / 21);
    assert_int_equal(number(chunks, "tokens"), tokens / 21 * (21 - 21 / 2 - 1));
    assert_int_equal(number(find_row(chunks, "documents", NULL), "cut"), tokens % 21);

    json_t *none;
    qk_compute compute = plain;
    qk_ppl_settings settings = { .protocol = QK_PPL_STRIDED, .stride = 64 };
    assert_refused(qk_study_ppl(&none, mha.model, &documents, &settings, &compute, err), QK_E_ARGUMENT, "--stride 64");
    settings = (qk_ppl_settings) { .protocol = QK_PPL_LLAMA_CPP };
    compute.max_tokens = 10000;
    assert_refused(qk_study_ppl(&none, mha.model, &documents, &settings, &compute, err), QK_E_ARGUMENT, "two chunks");
    mha.model->config.n_vocab = 10; /* the tokenizer knows ids that the model has not */
    assert_refused(qk_study_ppl(&none, mha.model, &documents, &settings, &compute, err), QK_E_FORMAT,
                   "document a, token 2: expected ids of the model, 0 to 9, found");
    mha.model->config.n_vocab = 96;
    qk_tokenizer_close(mha.model->tokenizer);
    mha.model->tokenizer = NULL;
    assert_refused(qk_study_ppl(&none, mha.model, &documents, &settings, &compute, err), QK_E_IO, "no tokenizer");
    json_decref(hf);
    json_decref(wide);
    json_decref(narrow);
    json_decref(chunks);
    qk_documents_free(&documents);
    qk_model_close(mha.model);
}

/* ---- verify */

static void golden_files_verify_and_others_do_not(void **state)
{
    (void)state;
    static const char *const names[] = { "mha", "gqa", "qwen3", "qk-norm-nope", "sharded-bf16" };
    json_t *results;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        qk_named_model model = open_golden(names[i]);
        snprintf(path, sizeof path, "golden/%s/golden.safetensors", names[i]);
        assert_ok(qk_study_verify(&results, model.model, data_path(path), 2e-5, &plain, err));
        assert_true(json_is_true(json_object_get(results, "ok")));
        assert_true(json_array_size(json_object_get(results, "sites")) > 20);
        assert_string_equal(json_string_value(json_array_get(json_object_get(results, "ignored"), 0)), "loss");
        json_decref(results);
        qk_model_close(model.model);
    }
    /* The same weights under another rotation: all is well up to the rotated queries of the first layer. */
    qk_named_model linear = open_golden("linear");
    const char *dynamic = data_path("golden/dynamic/golden.safetensors");
    assert_ok(qk_study_verify(&results, linear.model, dynamic, 2e-5, &plain, err));
    assert_false(json_is_true(json_object_get(results, "ok")));
    assert_string_equal(json_string_value(json_object_get(results, "first_failed")), "blocks.0.attn.hook_rot_q");
    json_decref(results);
    qk_model_close(linear.model);
}

static qk_status verify_file(const qk_named_model *model, const qk_tensor_out *tensors, size_t n, qk_error *error)
{
    json_t *results = NULL;
    const char *path = work_path("golden.safetensors");
    assert_ok(qk_safetensors_write(path, tensors, n, NULL, 0, err));
    qk_status status = qk_study_verify(&results, model->model, path, 1e-5, &plain, error);
    json_decref(results);
    return status;
}

static void golden_files_that_fit_no_site_are_refused(void **state)
{
    (void)state;
    qk_named_model mha = open_golden("mha");
    int32_t tokens[] = { 1, 5, 6 }, wild[] = { 1, 96, 2 };
    float zeros[3 * 32] = { 0 };
    qk_tensor_out good = { "tokens", QK_DTYPE_I32, 2, { 1, 3 }, tokens };
    qk_tensor_out site = { "hook_embed", QK_DTYPE_F32, 2, { 3, 32 }, zeros };
    qk_tensor_out list[3] = { site };
    assert_refused(verify_file(&mha, list, 1, err), QK_E_FORMAT, "tensor tokens: expected one");
    list[1] = (qk_tensor_out) { "tokens", QK_DTYPE_I32, 1, { 3 }, wild };
    assert_refused(verify_file(&mha, list, 2, err), QK_E_FORMAT, "tokens[1]: expected 0 to 95, found 96");
    list[1] = (qk_tensor_out) { "tokens", QK_DTYPE_F32, 1, { 3 }, zeros };
    assert_refused(verify_file(&mha, list, 2, err), QK_E_FORMAT, "expected I64 or I32, found F32");
    list[1] = (qk_tensor_out) { "tokens", QK_DTYPE_I32, 2, { 3, 1 }, tokens };
    assert_refused(verify_file(&mha, list, 2, err), QK_E_FORMAT, "expected [n] or [1, n]");
    list[1] = good;
    list[0].shape[1] = 31;
    assert_refused(verify_file(&mha, list, 2, err), QK_E_SHAPE, "hook_embed: expected shape TC, 96 entries");
    list[0] = (qk_tensor_out) { "lost", QK_DTYPE_F32, 2, { 3, 32 }, zeros };
    assert_refused(verify_file(&mha, list, 2, err), QK_E_FORMAT, "no tensor is named by a site");
    list[0] = site;
    list[2] = (qk_tensor_out) { "embed", QK_DTYPE_F32, 2, { 3, 32 }, zeros };
    assert_refused(verify_file(&mha, list, 3, err), QK_E_FORMAT, "name the same site");

    /* NaN never passes, whatever the tolerance. */
    json_t *results;
    zeros[7] = NAN;
    assert_ok(qk_safetensors_write(work_path("nan.safetensors"), (qk_tensor_out[]) { good, site }, 2, NULL, 0, err));
    assert_ok(qk_study_verify(&results, mha.model, work_path("nan.safetensors"), 1e30, &plain, err));
    const json_t *row = find_row(results, "sites", "site", "hook_embed", NULL);
    assert_int_equal(number(row, "nonfinite"), 1);
    assert_true(json_is_false(json_object_get(row, "ok")));
    json_decref(results);
    qk_model_close(mha.model);
}

/* ---- capture */

static void a_capture_verifies_without_any_difference(void **state)
{
    (void)state;
    static const char *const patterns[] = { "blocks.*.attn.hook_q", "blocks.*.attn.hook_attn_scores", "hook_embed",
                                            "blocks.1.mlp.hook_post", "hook_logits", "blocks.0.attn.hook_k" };
    qk_named_model gqa = open_golden("gqa");
    qk_documents documents = open_documents();
    size_t n = documents.n;
    documents.n = 1;
    const char *path = work_path("one.safetensors");
    assert_ok(qk_study_capture(path, gqa.model, &documents, patterns, 6, &plain, err));
    json_t *results;
    assert_ok(qk_study_verify(&results, gqa.model, path, 0, &plain, err));
    assert_true(json_is_true(json_object_get(results, "ok")));
    size_t per_layer = 2 * (size_t)gqa.model->config.n_layers;
    assert_int_equal(json_array_size(json_object_get(results, "sites")), per_layer + 4);
    json_decref(results);

    /* Several documents: names and folders by id. */
    documents.n = n;
    qk_ckpt *ckpt;
    assert_ok(qk_study_capture(work_path("all.safetensors"), gqa.model, &documents, patterns, 6, &plain, err));
    assert_ok(qk_ckpt_open_safetensors(&ckpt, work_path("all.safetensors"), err));
    const qk_tensor *k = qk_ckpt_find(ckpt, "g/blocks.0.attn.hook_k");
    assert_non_null(k);
    assert_int_equal(k->n_dims, 4);
    assert_int_equal(k->shape[1], documents.items[6].n_tokens);
    assert_int_equal(k->shape[2], gqa.model->config.n_kv_heads);
    strcpy(documents.items[6].id, ".");
    qk_npy npy;
    char folder[8300];
    snprintf(folder, sizeof folder, "%s/", work_path("npy"));
    assert_ok(qk_study_capture(folder, gqa.model, &documents, patterns, 6, &plain, err));
    assert_ok(qk_npy_open(&npy, work_path("npy/_/blocks.0.attn.hook_k.npy"), err));
    assert_int_equal(npy.tensor.n_bytes, k->n_bytes);
    assert_memory_equal(npy.tensor.data, k->data, k->n_bytes);
    qk_npy_close(&npy);
    qk_ckpt_close(ckpt);

    const char *normed = "blocks.0.attn.hook_q_normed";
    assert_refused(qk_study_capture(path, gqa.model, &documents, &normed, 1, &plain, err), QK_E_ARGUMENT,
                   "no such norm");
    qk_compute tiny = plain;
    tiny.max_bytes = 100;
    assert_refused(qk_study_capture(path, gqa.model, &documents, patterns, 6, &tiny, err), QK_E_BUDGET, "--max-mem");
    qk_documents_free(&documents);
    qk_model_close(gqa.model);
}

/* ---- massive */

/* M > lambda x mean over the layer, from captured values, in double. */
static int count_by_hand(const qk_tensor *t, double lambda)
{
    size_t n_tokens = (size_t)t->shape[1], width = (size_t)(t->shape[2] * t->shape[3]);
    double norms[512] = { 0 }, mean = 0;
    int count = 0;
    assert_true(width <= 512);
    for (size_t i = 0; i < n_tokens * width; i++) {
        float x;
        memcpy(&x, t->data + 4 * i, 4);
        norms[i % width] += (double)x * (double)x;
    }
    for (size_t i = 0; i < width; i++) mean += sqrt(norms[i]) / (double)width;
    for (size_t i = 0; i < width; i++) count += sqrt(norms[i]) > lambda * mean;
    return count;
}

static void counts_are_those_of_the_captured_tensors(void **state)
{
    (void)state;
    static const char *const names[2][3] = { { "hook_q", "hook_k", "hook_v" },
                                             { "hook_rot_q", "hook_rot_k", "hook_v" } };
    const char *patterns[] = { "blocks.*.attn.hook_q", "blocks.*.attn.hook_k", "blocks.*.attn.hook_v",
                               "blocks.*.attn.hook_rot_q", "blocks.*.attn.hook_rot_k" };
    qk_named_model gqa = open_golden("gqa");
    qk_documents documents = open_documents();
    qk_ckpt *ckpt;
    assert_ok(qk_study_capture(work_path("qkv.safetensors"), gqa.model, &documents, patterns, 5, &plain, err));
    assert_ok(qk_ckpt_open_safetensors(&ckpt, work_path("qkv.safetensors"), err));
    for (int post = 0; post < 2; post++) {
        qk_massive_settings settings = { .lambda = 2.5, .post_rotation = post };
        json_t *results;
        assert_ok(qk_study_massive(&results, &gqa, 1, &documents, &settings, &plain, NULL, err));
        int seen = 0, total[3] = { 0 };
        for (size_t i = 0; i < json_array_size(json_object_get(results, "counts")); i++) {
            const json_t *row = json_array_get(json_object_get(results, "counts"), i);
            int tensor = (int)(strchr("qkv", *json_string_value(json_object_get(row, "tensor"))) - "qkv");
            char name[128];
            snprintf(name, sizeof name, "%s/blocks.%d.attn.%s", documents.items[(int)number(row, "document")].id,
                     (int)number(row, "layer"), names[post][tensor]);
            assert_int_equal(number(row, "count"), count_by_hand(qk_ckpt_find(ckpt, name), 2.5));
            total[tensor] += (int)number(row, "count");
            seen++;
        }
        assert_int_equal(seen, N_DOCUMENTS * 3 * gqa.model->config.n_layers);
        assert_true(total[0] > 0 && total[1] > 0);
        for (int t = 0; t < 3; t++) {
            const char letter[2] = { "qkv"[t] };
            const json_t *row = find_row(results, "summary", "tensor", letter, NULL);
            assert_near(number(row, "total_mean"), (double)total[t] / N_DOCUMENTS, 1e-12);
        }
        assert_int_equal(json_array_size(json_object_get(results, "sweep")), 3 * 10); /* 2..10 and 2.5 */
        json_decref(results);
    }
    qk_ckpt_close(ckpt);
    qk_documents_free(&documents);
    qk_model_close(gqa.model);
}

static void pair_norms_do_not_know_of_the_rotation(void **state)
{
    (void)state;
    qk_named_model mha = open_golden("mha");
    qk_documents documents = open_documents();
    json_t *results[2];
    for (int post = 0; post < 2; post++) {
        qk_massive_settings settings = { .lambda = 5, .post_rotation = post };
        assert_ok(qk_study_massive(&results[post], &mha, 1, &documents, &settings, &plain, NULL, err));
    }
    for (size_t i = 0; i < json_array_size(json_object_get(results[0], "pair_norms")); i++) {
        json_t *a = json_object_get(json_array_get(json_object_get(results[0], "pair_norms"), i), "norm");
        json_t *b = json_object_get(json_array_get(json_object_get(results[1], "pair_norms"), i), "norm");
        assert_int_equal(json_array_size(a), mha.model->config.head_dim / 2);
        for (size_t m = 0; m < json_array_size(a); m++) {
            double norm = json_number_value(json_array_get(a, m));
            assert_near(json_number_value(json_array_get(b, m)), norm, 1e-5 * norm);
        }
    }
    json_decref(results[0]);
    json_decref(results[1]);
    qk_documents_free(&documents);
    qk_model_close(mha.model);
}

static void models_are_compared_over_the_same_documents(void **state)
{
    (void)state;
    qk_named_model models[] = { open_golden("mha"), open_golden("gqa") };
    qk_documents documents = open_documents();
    qk_massive_settings settings = { .lambda = 2, .africa = true };
    json_t *one, *two, *key = json_pack("{s:i}", "test", 1);
    qk_run *run;
    qk_compute threads = plain;
    threads.n_threads = 2;
    assert_ok(qk_run_open(&run, work_path("massive"), key, false, err));
    assert_ok(qk_study_massive(&one, models, 2, &documents, &settings, &plain, run, err));
    assert_ok(qk_study_massive(&two, models, 2, &documents, &settings, &threads, NULL, err));
    assert_true(json_equal(one, two));
    const json_t *row = find_row(one, "change", "model", "#1", "tensor", "q", NULL);
    const json_t *first = find_row(one, "summary", "model", "#0", "tensor", "q", NULL);
    const json_t *later = find_row(one, "summary", "model", "#1", "tensor", "q", NULL);
    assert_near(number(row, "difference"), number(later, "total_mean") - number(first, "total_mean"), 1e-12);
    const json_t *naive = json_object_get(first, "naive");
    assert_near(number(naive, "total_std"), number(first, "total_std") * sqrt(6.0 / 7), 1e-9);
    const json_t *document = find_row(one, "documents", "id", "a", NULL);
    assert_int_equal(json_array_size(json_object_get(document, "tokens_by_model")), 2);
    qk_ckpt *arrays;
    assert_ok(qk_ckpt_open_safetensors(&arrays, work_path("massive/arrays.safetensors"), err));
    const qk_tensor *map = qk_ckpt_find(arrays, "models.1.blocks.1.attn.hook_k");
    assert_non_null(map);
    assert_int_equal(map->shape[0], models[1].model->config.n_kv_heads);
    assert_int_equal(qk_run_count(run), 2 * N_DOCUMENTS);
    qk_ckpt_close(arrays);
    qk_run_close(run);
    json_decref(key);
    json_decref(one);
    json_decref(two);
    settings.lambda = 0;
    assert_refused(qk_study_massive(&one, models, 2, &documents, &settings, &plain, NULL, err), QK_E_ARGUMENT,
                   "--lambda");
    settings.criterion = QK_CRITERION_TOP_K;
    settings.lambda = 9;
    assert_refused(qk_study_massive(&one, models, 2, &documents, &settings, &plain, NULL, err), QK_E_ARGUMENT,
                   "expected 1 to 8 dims of each head, found 9");
    threads.max_tokens = 1;
    assert_refused(qk_study_massive(&one, models, 2, &documents, &settings, &threads, NULL, err), QK_E_ARGUMENT, "-c 1");
    threads = (qk_compute) { .max_bytes = 1000 };
    settings = (qk_massive_settings) { .lambda = 5 };
    assert_refused(qk_study_massive(&one, models, 2, &documents, &settings, &threads, NULL, err), QK_E_BUDGET, "");
    qk_documents_free(&documents);
    qk_model_close(models[0].model);
    qk_model_close(models[1].model);
}

/* ---- massive --captured */

static void captured_arrays_need_no_model(void **state)
{
    (void)state;
    float q[5][2][8];
    uint16_t half[5][2][8];
    for (size_t i = 0; i < 80; i++) ((float *)q)[i] = i % 16 == 3 ? 40 : 1;
    for (size_t i = 0; i < 80; i++) ((uint16_t *)half)[i] = qk_f32_to_f16(((float *)q)[i]);
    const char *npy = work_path("q.npy"), *file = work_path("k.safetensors");
    char named[8400];
    assert_ok(qk_npy_write(npy, QK_DTYPE_F32, (uint64_t[]) { 5, 2, 8 }, 3, q, err));
    qk_tensor_out tensors[] = { { "k", QK_DTYPE_F16, 4, { 1, 5, 2, 8 }, half },
                                { "other", QK_DTYPE_F32, 3, { 5, 2, 8 }, q } };
    assert_ok(qk_safetensors_write(file, tensors, 2, NULL, 0, err));
    snprintf(named, sizeof named, "%s:k", file);
    qk_massive_settings settings = { .lambda = 5 };
    json_t *results;
    qk_captured both[] = { { QK_TENSOR_Q, npy }, { QK_TENSOR_K, named } };
    assert_ok(qk_study_massive_captured(&results, both, 2, &settings, err));
    for (int t = 0; t < 2; t++) {
        const json_t *row = find_row(results, "counts", "tensor", t ? "k" : "q", NULL);
        assert_int_equal(number(row, "count"), 1);
        assert_near(number(row, "max_over_mean"), 40 / (55.0 / 16), 1e-9);
        assert_true(json_is_null(json_object_get(row, "slow_share")));
    }
    json_decref(results);
    assert_refused(qk_study_massive_captured(&results, &(qk_captured) { QK_TENSOR_K, file }, 1, &settings, err),
                   QK_E_ARGUMENT, "expected one tensor, found 2");
    qk_captured twice[] = { both[0], both[0] };
    assert_refused(qk_study_massive_captured(&results, twice, 2, &settings, err), QK_E_ARGUMENT, "a second q");
    snprintf(named, sizeof named, "%s:none", file);
    assert_refused(qk_study_massive_captured(&results, &both[1], 1, &settings, err), QK_E_ARGUMENT, "tensor none");
}

static void captured_arrays_of_another_kind_are_refused(void **state)
{
    (void)state;
    float q[32] = { 1, NAN };
    int32_t ids[32] = { 0 };
    static const struct {
        qk_dtype dtype;
        int n_dims;
        uint64_t shape[4];
        qk_status status;
        const char *part;
    } cases[] = {
        { QK_DTYPE_I32, 3, { 2, 2, 8 }, QK_E_UNSUPPORTED, "expected F32 or F16, found I32" },
        { QK_DTYPE_F32, 2, { 4, 8 }, QK_E_SHAPE, "found 2 axes" },
        { QK_DTYPE_F32, 4, { 2, 1, 2, 8 }, QK_E_SHAPE, "the first not 1" },
        { QK_DTYPE_F32, 3, { 0, 2, 8 }, QK_E_SHAPE, "expected 1 to 2147483647 tokens, found 0" },
        { QK_DTYPE_F32, 3, { 2, 2, 8 }, QK_E_NUMERIC, "token 0, head 0, dim 1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *results;
        const char *path = work_path("odd.npy");
        const void *data = cases[i].dtype == QK_DTYPE_I32 ? (const void *)ids : q;
        qk_massive_settings settings = { .lambda = 5 };
        assert_ok(qk_npy_write(path, cases[i].dtype, cases[i].shape, cases[i].n_dims, data, err));
        assert_refused(qk_study_massive_captured(&results, &(qk_captured) { QK_TENSOR_Q, path }, 1, &settings, err),
                       cases[i].status, cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hf_perplexity_is_one_plain_pass),
        cmocka_unit_test(protocols_score_the_targets_they_promise),
        cmocka_unit_test(golden_files_verify_and_others_do_not),
        cmocka_unit_test(golden_files_that_fit_no_site_are_refused),
        cmocka_unit_test(a_capture_verifies_without_any_difference),
        cmocka_unit_test(counts_are_those_of_the_captured_tensors),
        cmocka_unit_test(pair_norms_do_not_know_of_the_rotation),
        cmocka_unit_test(models_are_compared_over_the_same_documents),
        cmocka_unit_test(captured_arrays_need_no_model),
        cmocka_unit_test(captured_arrays_of_another_kind_are_refused),
    };
    return cmocka_run_group_tests(tests, make_work_folder, remove_work_folder);
}
