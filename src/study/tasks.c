/* tasks.c - questions with known answers, asked by teacher forcing: an answer is right when each of its tokens is the
 * likeliest one, given the prompt and the true tokens before it (what greedy decoding would say, to the letter).  All
 * questions of a model are one pass. */
#include "study/tasks.h"

#include <stdlib.h>
#include <string.h>

static const char CONDITION[] = "baseline"; /* of the journal: conditions with edits are to stand beside it */

/* ---- the journal */

typedef struct asking {
    const qk_quiz *quiz;
    qk_asked *asked;
    const size_t *items; /* [sequences of the pass] which question each is */
    size_t model;
    qk_run *run;         /* NULL: no journal */
} asking;

static json_t *unit_payload(const qk_asked *asked)
{
    qk_row row = qk_row_start();
    json_t *top = json_array();
    qk_row_number(&row, "nll", asked->nll);
    for (size_t i = 0; i < asked->n_answer; i++)
        if (json_array_append_new(top, json_integer(asked->top[i]))) row.failed = true;
    qk_row_json(&row, "top", top);
    return qk_row_take(&row);
}

static void judge(qk_asked *asked)
{
    const int32_t *answer = asked->tokens + asked->n_tokens - asked->n_answer;
    asked->right = memcmp(asked->top, answer, asked->n_answer * sizeof *answer) == 0;
    asked->done = true;
}

/* A unit that is not what this study would have written is asked again. */
static void read_unit(qk_asked *asked, const json_t *unit, int n_vocab)
{
    const json_t *top = json_object_get(unit, "top"), *nll = json_object_get(unit, "nll");
    if (!json_is_number(nll) || json_array_size(top) != asked->n_answer) return;
    for (size_t i = 0; i < asked->n_answer; i++) {
        const json_t *id = json_array_get(top, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= n_vocab) return;
        asked->top[i] = (int32_t)json_integer_value(id);
    }
    asked->nll = json_number_value(nll);
    judge(asked);
}

static qk_status on_score(void *user, size_t sequence, size_t condition, const qk_score *score,
                          const qk_receipt *receipts, qk_error *err)
{
    const asking *a = user;
    size_t item = a->items[sequence];
    qk_asked *asked = &a->asked[item];
    (void)condition, (void)receipts;
    if (score->n_tokens != asked->n_answer) {
        return qk_fail(err, QK_E_CHECK, "question %s: expected %zu scored tokens, found %zu", a->quiz->items[item].id,
                       asked->n_answer, score->n_tokens);
    }
    memcpy(asked->top, score->token_top, asked->n_answer * sizeof *asked->top);
    asked->nll = score->nll;
    judge(asked);
    if (!a->run) return QK_OK;
    json_t *payload = unit_payload(asked);
    if (!payload) return qk_out_of_memory(err, "a unit of the journal", 0);
    qk_status status = qk_run_put(a->run, a->model, CONDITION, item, payload, err);
    json_decref(payload);
    return status;
}

/* ---- asking one model */

static qk_status ask(const asking *a, const qk_named_model *model, const qk_compute *compute, qk_error *err)
{
    size_t n = 0, *items = NULL;
    qk_sequence *sequences = NULL;
    qk_pass_result *result = NULL;
    qk_status status = qk_new_array(&sequences, a->quiz->n, sizeof *sequences, "sequences", err);
    if (!status) status = qk_new_array(&items, a->quiz->n, sizeof *items, "questions to ask", err);
    for (size_t i = 0; !status && i < a->quiz->n; i++) {
        qk_asked *asked = &a->asked[i];
        json_t *unit = a->run ? qk_run_get(a->run, a->model, CONDITION, i) : NULL;
        read_unit(asked, unit, model->model->config.n_vocab);
        json_decref(unit);
        if (asked->done) continue;
        items[n] = i;
        sequences[n++] = (qk_sequence) { asked->tokens, asked->n_tokens, asked->n_tokens - asked->n_answer };
    }
    asking listener = *a;
    listener.items = items;
    if (!status && n > 0) {
        qk_pass_spec spec = qk_study_spec(compute);
        spec.sequences = sequences;
        spec.n_sequences = n;
        spec.score = true;
        spec.keep_token_top = true;
        spec.on_score = on_score;
        spec.user = &listener;
        status = qk_pass_run(&result, model->model, &spec, err);
    }
    for (size_t i = 0; !status && i < n; i++) {
        if (a->asked[items[i]].done) continue;
        status = qk_fail(err, QK_E_CHECK, "question %s: was not scored", a->quiz->items[items[i]].id);
    }
    qk_pass_result_free(result);
    free(sequences);
    free(items);
    return status;
}

/* ---- samples.jsonl */

static qk_status write_samples(FILE *stream, const qk_quiz *quiz, const qk_asked *asked, const qk_named_model *model,
                               qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t i = 0; !status && i < quiz->n; i++) {
        const qk_quiz_item *item = &quiz->items[i];
        const qk_quiz_category *category = &quiz->categories[item->category];
        qk_row row = qk_row_start();
        qk_row_text(&row, "model", model->name);
        qk_row_text(&row, "condition", CONDITION);
        qk_row_text(&row, "id", item->id);
        qk_row_text(&row, "category", category->name);
        qk_row_text(&row, "kind", category->contextual ? "contextual" : "parametric");
        qk_row_text(&row, "prompt_sha256", item->sha256);
        qk_row_text(&row, "answer", item->answer);
        qk_row_json(&row, "predicted", qk_tasks_text(model->model->tokenizer, asked[i].top, asked[i].n_answer));
        qk_row_flag(&row, "right", asked[i].right);
        qk_row_number(&row, "nll", asked[i].nll);
        qk_row_count(&row, "tokens", asked[i].n_tokens);
        qk_row_count(&row, "answer_tokens", asked[i].n_answer);
        qk_row_count(&row, "cut", asked[i].n_cut);
        json_t *object = qk_row_take(&row);
        char *line = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
        if (line) fprintf(stream, "%s\n", line);
        else status = qk_out_of_memory(err, "a sample", 0);
        free(line);
        json_decref(object);
    }
    return status;
}

static qk_status write_all_samples(const qk_run *run, const qk_quiz *quiz, qk_asked *const *all,
                                   const qk_named_model *models, size_t n_models, qk_error *err)
{
    qk_output out;
    char *path = qk_path_join(qk_run_folder(run), "samples.jsonl");
    if (!path) return qk_out_of_memory(err, "samples.jsonl", 0);
    qk_status status = qk_output_open(&out, path, err);
    free(path);
    if (status) return status;
    for (size_t m = 0; !status && m < n_models; m++) status = write_samples(out.stream, quiz, all[m], &models[m], err);
    if (!status) return qk_output_commit(&out, err);
    qk_output_discard(&out);
    return status;
}

/* ---- the study */

static json_t *settings_json(const qk_quiz *quiz, const qk_tasks_settings *settings, const qk_compute *compute,
                             size_t context)
{
    qk_row row = qk_row_start();
    qk_row_text(&row, "source", quiz->source);
    qk_row_json(&row, "world", quiz->part ? json_integer((json_int_t)quiz->seed) : json_null());
    qk_row_text(&row, "part", quiz->part);
    qk_row_json(&row, "limit", quiz->per_category ? json_integer((json_int_t)quiz->per_category) : json_null());
    qk_row_text(&row, "scoring", "teacher forcing, every token the likeliest");
    qk_row_flag(&row, "cut_left", settings->cut_left);
    qk_row_count(&row, "context", context);
    qk_row_flag(&row, "bos", !compute->no_bos);
    qk_row_text(&row, "precision", qk_precision_name(compute->precision));
    qk_row_flag(&row, "reference", compute->reference);
    return qk_row_take(&row);
}

static json_t *start_results(const qk_named_model *models, size_t n_models, const qk_quiz *quiz, json_t *settings)
{
    static const char *const arrays[] = { "documents", "categories", "kinds", "tests", "warnings" };
    qk_row questions = qk_row_start(), out = qk_row_start();
    qk_row_count(&questions, "n", quiz->n);
    qk_row_count(&questions, "categories", quiz->n_categories);
    qk_row_text(&questions, "sha256", quiz->sha256);
    qk_row_text(&out, "study", "tasks");
    qk_row_count(&out, "schema", 1);
    qk_row_json(&out, "settings", settings);
    qk_row_json(&out, "models", qk_json_models(models, n_models));
    qk_row_json(&out, "questions", qk_row_take(&questions));
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) qk_row_json(&out, arrays[i], json_array());
    return qk_row_take(&out);
}

static qk_status warn_cut(json_t *warnings, const qk_named_model *model, const qk_quiz *quiz, const qk_asked *asked,
                          size_t context, qk_error *err)
{
    size_t n_cut = 0;
    for (size_t i = 0; i < quiz->n; i++) n_cut += asked[i].n_cut > 0;
    if (n_cut == 0) return QK_OK;
    return qk_json_warn(warnings, err, "%s: %zu of %zu prompts lost their start to fit %zu tokens: what they asked for "
                        "may be gone", model->name, n_cut, quiz->n, context);
}

/* Prompts and answers, tokens, and a row of the samples while it is written. */
static uint64_t table_bytes(const qk_quiz *quiz, const qk_asked *asked)
{
    uint64_t bytes = quiz->n * (sizeof *asked + sizeof *quiz->items + sizeof(qk_sequence) + sizeof(size_t));
    for (size_t i = 0; i < quiz->n; i++)
        bytes += asked[i].n_tokens * sizeof(int32_t) + strlen(quiz->items[i].prompt) + strlen(quiz->items[i].answer);
    return bytes + (quiz->n_categories + 2) * QK_STUDY_ROW_BYTES;
}

static qk_status ask_model(qk_asked **asked, json_t *results, const qk_quiz *quiz, const qk_named_model *model,
                           size_t index, const qk_tasks_settings *settings, size_t context, const qk_compute *compute,
                           qk_compute *budget, qk_run *run, qk_error *err)
{
    qk_status status = qk_tasks_encode(asked, quiz, model, context, settings->cut_left, compute->no_bos, err);
    uint64_t tables = status ? 0 : table_bytes(quiz, *asked);
    if (!status) status = qk_study_reserve(budget, tables, "holding the questions", err);
    asking a = { .quiz = quiz, .asked = *asked, .model = index, .run = run };
    if (!status) status = ask(&a, model, budget, err);
    status = qk_study_over_budget(status, compute, budget, err);
    if (!status) status = qk_tasks_rows(results, quiz, *asked, index, err);
    if (!status) status = warn_cut(json_object_get(results, "warnings"), model, quiz, *asked, context, err);
    return status;
}

qk_status qk_study_tasks(json_t **results, const qk_named_model *models, size_t n_models, const qk_quiz *quiz,
                         const qk_tasks_settings *settings, const qk_compute *compute, qk_run *run, qk_error *err)
{
    size_t context = qk_study_context(models, n_models, compute);
    qk_asked **all = NULL;
    qk_compute budget = *compute; /* what the models before leave */
    if (n_models == 0) return qk_fail(err, QK_E_ARGUMENT, "tasks: expected a model, found none");
    json_t *out = start_results(models, n_models, quiz, settings_json(quiz, settings, compute, context));
    json_t *warnings = json_object_get(out, "warnings");
    qk_status status = out ? QK_OK : qk_out_of_memory(err, "results", 0);
    if (!status) status = qk_new_array(&all, n_models, sizeof *all, "answers", err);
    for (size_t m = 0; !status && m < n_models; m++) {
        status = ask_model(&all[m], out, quiz, &models[m], m, settings, context, compute, &budget, run, err);
        if (status) qk_prefix(err, status, "%s", models[m].name);
    }
    if (!status && quiz->n_repeated) {
        status = qk_json_warn(warnings, err, "%zu of %zu questions repeat an earlier one to the letter: intervals are "
                              "too narrow", quiz->n_repeated, quiz->n);
    }
    if (!status) status = qk_tasks_tests(out, quiz, all, n_models, err);
    if (!status && run) status = write_all_samples(run, quiz, all, models, n_models, err);
    if (!status) *results = json_incref(out);
    for (size_t m = 0; all && m < n_models; m++) qk_tasks_free(all[m], quiz->n);
    free(all);
    json_decref(out);
    return status;
}
