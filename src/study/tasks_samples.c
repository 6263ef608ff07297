/* tasks_samples.c - samples.jsonl: what was asked and what came back, line by line. */
#include "study/tasks.h"

#include <math.h>
#include <stdlib.h>

static json_t *json_numbers(const double *x, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) {
        if (json_array_append_new(list, qk_json_number(x[i])) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

/* What was written, which part of it was taken as the answer, and of keys what they became. */
static void put_written(qk_row *row, const qk_quiz_category *category, const qk_reply *reply)
{
    const qk_judged *judged = &reply->judged;
    qk_row_text(row, "response", reply->text);
    qk_row_json(row, "taken", judged->n_bytes ? json_stringn(reply->text + judged->at, judged->n_bytes) : json_null());
    qk_row_number(row, "found", judged->found);
    if (category->retrieval) qk_row_text(row, "key", qk_key_error_name(judged->error));
    qk_row_count(row, "new_tokens", reply->n_new);
    qk_row_text(row, "end", qk_end_name(reply->end));
}

static json_t *json_sample(const qk_answers *a, size_t arm, size_t question)
{
    const qk_quiz_item *item = &a->quiz->items[question];
    const qk_quiz_category *category = &a->quiz->categories[item->category];
    const qk_asked *asked = &a->asked[question];
    const qk_trial *trial = &asked->trials[asked->answer];
    const qk_reply *reply = qk_reply_of(a, arm, question);
    bool by_choice = qk_by_choice(a->quiz, question);
    qk_row row = qk_row_start();
    qk_row_text(&row, "model", a->model->name);
    qk_row_text(&row, "condition", a->measured.plan.arms[arm].name);
    qk_row_text(&row, "id", item->id);
    qk_row_text(&row, "category", category->name);
    qk_row_text(&row, "kind", qk_quiz_kinds[category->contextual]);
    qk_row_text(&row, "scoring", qk_scoring_name(category->scoring));
    qk_row_text(&row, "prompt_sha256", item->sha256);
    qk_row_text(&row, "answer", item->answer);
    if (qk_is_written(a->quiz, question))
        put_written(&row, category, reply);
    else if (by_choice)
        qk_row_text(&row, "response", item->choices[reply->pick]);
    else
        qk_row_json(&row, "response", qk_tasks_text(a->model->model->tokenizer, reply->top, trial->n_answer));
    qk_row_text(&row, "verdict", qk_verdict_name(reply->judged.verdict));
    qk_row_number(&row, "nll", reply->nll ? reply->nll[asked->answer] : NAN);
    if (by_choice) qk_row_json(&row, "choices_nll", json_numbers(reply->nll, asked->n_trials));
    qk_row_count(&row, "tokens", trial->n_tokens);
    qk_row_count(&row, "answer_tokens", trial->n_answer);
    qk_row_count(&row, "cut", trial->n_cut);
    return qk_row_take(&row);
}

static qk_status write_model(FILE *stream, const qk_answers *a, qk_error *err)
{
    qk_status status = QK_OK;
    for (size_t i = 0; !status && i < a->measured.plan.n_arms * a->quiz->n; i++) {
        json_t *object = json_sample(a, i / a->quiz->n, i % a->quiz->n);
        char *line = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
        if (line) fprintf(stream, "%s\n", line);
        else status = qk_out_of_memory(err, "a sample", 0);
        free(line);
        json_decref(object);
    }
    return status;
}

qk_status qk_tasks_samples(const qk_run *run, const qk_answers *all, size_t n_models, qk_error *err)
{
    qk_output out;
    char *path = qk_path_join(qk_run_folder(run), "samples.jsonl");
    if (!path) return qk_out_of_memory(err, "samples.jsonl", 0);
    qk_status status = qk_output_open(&out, path, err);
    free(path);
    if (status) return status;
    for (size_t m = 0; !status && m < n_models; m++) status = write_model(out.stream, &all[m], err);
    if (!status) return qk_output_commit(&out, err);
    qk_output_discard(&out);
    return status;
}
