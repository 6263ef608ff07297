/* test_generate_text.c - new tokens as text: pieces as they come, stop strings, characters of several bytes. */
#include "generating.h"

typedef struct heard {
    char text[4096];
    size_t n, n_tokens, n_ended;
    bool stop_here; /* refuse the next token */
} heard;

static qk_status hear(void *user, size_t prompt, size_t condition, int32_t token, const char *piece, size_t n_bytes,
                      qk_error *err)
{
    heard *h = user;
    (void)token;
    assert_int_equal(prompt + condition, 0);
    if (h->stop_here) return qk_fail(err, QK_E_INTERRUPTED, "enough");
    assert_int_equal(qk_utf8_valid(piece, n_bytes), n_bytes);
    memcpy(h->text + h->n, piece, n_bytes);
    h->n += n_bytes;
    h->n_tokens++;
    return QK_OK;
}

static qk_status hear_end(void *user, size_t prompt, size_t condition, const qk_generated *item, qk_error *err)
{
    heard *h = user;
    (void)prompt, (void)condition, (void)err;
    assert_int_equal(item->n_bytes, h->n);
    assert_memory_equal(item->text, h->text, h->n);
    h->n_ended++;
    return QK_OK;
}

static void pieces_make_the_text_and_stops_cut_it(void **state)
{
    (void)state;
    qk_model *model = open_model("demo");
    int32_t *tokens = NULL;
    size_t n = 0;
    assert_ok(qk_tokenize(&tokens, &n, model, "The sea was", 11, true, err));
    qk_prompt prompt = { tokens, n };
    heard h = { .n = 0 };
    qk_generate_spec spec = { .prompts = &prompt,
                              .n_prompts = 1,
                              .max_new_tokens = 40,
                              .ignore_end = true,
                              .sampling = { .temperature = 1, .seed = 3 },
                              .on_token = hear,
                              .on_end = hear_end,
                              .user = &h };
    qk_generate_result *whole = generate(model, &spec);
    const qk_generated *text = &whole->items[0];
    assert_int_equal(h.n_tokens, 40);
    assert_int_equal(h.n_ended, 1);
    assert_true(text->n_bytes > 60);
    /* The prompt and the new text read as all tokens together do. */
    int32_t *all = malloc((n + 40) * sizeof *all);
    char *together = NULL, joined[4096];
    memcpy(all, tokens, n * sizeof *all);
    memcpy(all + n, text->tokens, 40 * sizeof *all);
    assert_ok(qk_detokenize(&together, model, all, n + 40, err));
    snprintf(joined, sizeof joined, "The sea was%s", text->text);
    assert_string_equal(joined, together);
    /* A stop string in the middle, across token borders; one that never comes; the start of one at the end. */
    char stop[8] = "", near_end[24] = "";
    memcpy(stop, text->text + 31, 7);
    snprintf(near_end, sizeof near_end, "%sQQ", text->text + text->n_bytes - 5);
    size_t at = (size_t)(strstr(text->text, stop) - text->text);
    const char *stops[] = { "never said", stop, near_end };
    h = (heard){ .n = 0 };
    spec.stops = stops;
    spec.n_stops = 2;
    qk_generate_result *cut = generate(model, &spec);
    assert_int_equal(cut->items[0].end, QK_END_STOP);
    assert_int_equal(cut->items[0].stop, 1);
    assert_int_equal(cut->items[0].n_bytes, at);
    assert_memory_equal(cut->items[0].text, text->text, at);
    assert_memory_equal(cut->items[0].tokens, text->tokens, cut->items[0].n_tokens * sizeof *all);
    h = (heard){ .n = 0 };
    stops[1] = near_end;
    qk_generate_result *held = generate(model, &spec);
    assert_int_equal(held->items[0].end, QK_END_LENGTH);
    assert_string_equal(held->items[0].text, text->text);
    h = (heard){ .stop_here = true };
    assert_refused(model, &spec, QK_E_INTERRUPTED, "enough");
    /* White space that comes first is a stop, or is passed over where one needs text before it. */
    assert_int_equal(text->text[0], ' ');
    stops[1] = " ";
    h = (heard){ .n = 0 };
    qk_generate_result *at_once = generate(model, &spec);
    assert_int_equal(at_once->items[0].n_bytes, 0);
    spec.stop_behind_text = true;
    h = (heard){ .n = 0 };
    qk_generate_result *word = generate(model, &spec);
    assert_int_equal(word->items[0].end, QK_END_STOP);
    assert_int_equal(word->items[0].n_bytes, strcspn(text->text + 1, " ") + 1);
    assert_memory_equal(word->items[0].text, text->text, word->items[0].n_bytes);
    spec.stop_behind_text = false;
    qk_generate_result_free(at_once), qk_generate_result_free(word);
    qk_generate_result_free(whole), qk_generate_result_free(cut), qk_generate_result_free(held);
    free(tokens), free(all), free(together);
    qk_model_close(model);
}

/* Token by token through a tokenizer that spells rare characters in bytes. */
static void check_spelling(const char *file, const char *text)
{
    char path[100];
    qk_tokenizer *tokenizer = NULL;
    int32_t *tokens = NULL, stream_tokens[512];
    size_t n = 0, n_text = strlen(text);
    snprintf(path, sizeof path, "tokenizers/%s", file);
    assert_ok(qk_tokenizer_open_file(&tokenizer, data_path(path), 0, err));
    assert_ok(qk_encode(&tokens, &n, tokenizer, text, n_text, (qk_encode_options){ 0 }, err));
    assert_true(n > 4 && n < 512);
    memcpy(stream_tokens, tokens, n * sizeof *tokens);
    qk_generate_spec spec = { 0 };
    qk_stream s = { .tokens = stream_tokens, .n_prompt = 2, .n_tokens = 2, .capacity = n };
    char *start = NULL, joined[4096] = "";
    size_t n_start = 0;
    assert_ok(qk_decode(&start, &n_start, tokenizer, tokens, 2, err));
    while (s.n_tokens < n) {
        s.n_tokens++;
        if (s.n_tokens == n) s.end = QK_END_LENGTH;
        assert_ok(qk_stream_spell(&s, tokenizer, &spec, err));
        size_t piece = qk_stream_certain(&s, &spec);
        assert_int_equal(qk_utf8_valid(s.text.data + s.n_given, piece), piece);
        s.n_given += piece;
    }
    snprintf(joined, sizeof joined, "%s%.*s", start, (int)s.text.n, s.text.data);
    assert_string_equal(joined, text);
    free(s.text.data), free(start), free(tokens);
    qk_tokenizer_close(tokenizer);
}

static void characters_come_whole(void **state)
{
    static const char text[] = "Once there was \xf0\x9f\xa6\x8a, na\xc3\xafve \xe2\x82\xac 5 "
                               "\xf0\x9f\xa7\x91\xe2\x80\x8d\xf0\x9f\x8c\xbe \xe4\xb8\xad\xe6\x96\x87 end";
    (void)state;
    check_spelling("llama2.json", text);
    check_spelling("llama2.model", text);
    check_spelling("llama2.gguf", text);
    check_spelling("gpt2.json", text);
    check_spelling("qwen2.json", text);
    check_spelling("llama3.gguf", text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_make_the_text_and_stops_cut_it),
        cmocka_unit_test(characters_come_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
