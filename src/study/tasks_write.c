/* tasks_write.c - questions that are judged on what the model writes behind their prompts: in batches, under all
 * conditions at once, journaled batch by batch. */
#include "study/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH_QUESTIONS = 64, /* a stopped study loses at most so many */
    BATCH_CACHE_MIB = 512 /* of keys and values: streams beyond it go one batch after the other */
};

/* A question that is to be written, with what all questions of a batch share. */
typedef struct waiting {
    size_t max_new, question;
    bool goes_on;
} waiting;

static int compare_waiting(const void *a, const void *b)
{
    const waiting *x = a, *y = b;
    if (x->goes_on != y->goes_on) return x->goes_on ? 1 : -1;
    if (x->max_new != y->max_new) return x->max_new < y->max_new ? -1 : 1;
    return (x->question > y->question) - (x->question < y->question);
}

/* ---- replies */

static void judge(qk_answers *a, size_t arm, size_t question)
{
    const qk_quiz_item *item = &a->quiz->items[question];
    qk_reply *reply = qk_reply_of(a, arm, question);
    qk_judge(&reply->judged, item, a->quiz->categories[item->category].scoring, reply->text, strlen(reply->text));
    a->measured.nll[arm * a->quiz->n + question] = NAN;
    a->measured.n_tokens[question] = 0;
    a->measured.done[arm * a->quiz->n + question] = true;
}

static bool keep_text(qk_answers *a, qk_reply *reply, const char *text)
{
    reply->text = qk_arena_copy(&a->arena, text, strlen(text));
    return reply->text != NULL;
}

static qk_receipt *receipts_of(qk_answers *a, size_t arm, size_t question)
{
    size_t n_edits = a->measured.plan.arms[arm].n_edits;
    return n_edits ? a->measured.receipts[arm] + question * n_edits : NULL;
}

void qk_tasks_read_written(qk_answers *a, size_t arm, size_t question, const json_t *unit)
{
    qk_reply *reply = qk_reply_of(a, arm, question);
    const json_t *text = json_object_get(unit, "text"), *n_new = json_object_get(unit, "new");
    const char *end = json_string_value(json_object_get(unit, "end"));
    if (!json_is_string(text) || !json_is_integer(n_new) || json_integer_value(n_new) < 0 || !end) return;
    reply->n_new = (size_t)json_integer_value(n_new);
    for (int e = QK_END_NONE + 1; e < QK_N_ENDS; e++)
        if (strcmp(end, qk_end_name((qk_end)e)) == 0) reply->end = (qk_end)e;
    if (reply->end == QK_END_NONE || reply->n_new > a->asked[question].max_new ||
        !qk_receipts_read(receipts_of(a, arm, question), json_object_get(unit, "receipts"),
                          a->measured.plan.arms[arm].n_edits) ||
        !keep_text(a, reply, json_string_value(text)))
        return;
    judge(a, arm, question);
}

/* One stream that has ended; what is not UTF-8 becomes '?', so that the journal holds what is judged. */
static qk_status keep(qk_answers *a, size_t arm, size_t question, const qk_generated *written,
                      const qk_receipt *receipts, size_t model, qk_run *run, qk_error *err)
{
    const qk_arm *plan = &a->measured.plan.arms[arm];
    qk_reply *reply = qk_reply_of(a, arm, question);
    qk_row row = qk_row_start();
    json_t *text = qk_json_text(written->text ? written->text : "");
    bool good = text && keep_text(a, reply, json_string_value(text));
    reply->n_new = written->n_tokens;
    reply->end = written->end;
    if (plan->n_edits) memcpy(receipts_of(a, arm, question), receipts, plan->n_edits * sizeof *receipts);
    qk_row_json(&row, "text", text);
    qk_row_count(&row, "new", written->n_tokens);
    qk_row_text(&row, "end", qk_end_name(written->end));
    qk_row_json(&row, "receipts", qk_receipts_json(receipts, plan->n_edits));
    json_t *payload = qk_row_take(&row);
    qk_status status = good && payload ? QK_OK : qk_out_of_memory(err, "a written answer", written->n_bytes);
    if (!status) judge(a, arm, question);
    if (!status && run) status = qk_run_put(run, model, plan->name, question, payload, err);
    json_decref(payload);
    return status;
}

/* ---- batches */

static bool is_finished(const qk_answers *a, const waiting *batch, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t arm = 0; arm < a->measured.plan.n_arms; arm++)
            if (!a->measured.done[arm * a->quiz->n + batch[i].question]) return false;
    return true;
}

/* How many of list[n] make the next batch: they agree in what they share, and their caches fit.  It depends on the
 * questions and the model alone: a batch that was stopped is written anew as it was, and says the same. */
static size_t batch_size(double *cache_bytes, const waiting *list, size_t n, const qk_asked *asked,
                         const qk_config *config, size_t n_arms)
{
    double token_bytes = 2.0 * sizeof(float) * config->n_layers * config->n_kv_heads * config->head_dim;
    double most = BATCH_CACHE_MIB * 1048576.0;
    size_t size = 0;
    for (*cache_bytes = 0; size < n && size < BATCH_QUESTIONS && list[size].max_new == list[0].max_new &&
                           list[size].goes_on == list[0].goes_on; size++) {
        size_t n_tokens = asked[list[size].question].trials[0].n_tokens + list[size].max_new;
        double bytes = token_bytes * (double)n_tokens * (double)n_arms;
        if (size > 0 && *cache_bytes + bytes > most) break;
        *cache_bytes += bytes;
    }
    return size;
}

/* What is to be written, (*list)[*n] in the order of batches; malloc'ed. */
static qk_status list_waiting(waiting **list, size_t *n, const qk_quiz *quiz, const qk_asked *asked, qk_error *err)
{
    qk_status status = qk_new_array(list, quiz->n, sizeof **list, "questions", err);
    *n = 0;
    for (size_t i = 0; !status && i < quiz->n; i++)
        if (qk_is_written(quiz, i)) (*list)[(*n)++] = (waiting) { asked[i].max_new, i, quiz->items[i].goes_on };
    if (!status) qsort(*list, *n, sizeof **list, compare_waiting);
    return status;
}

qk_status qk_tasks_cache_bytes(double *bytes, const qk_quiz *quiz, const qk_asked *asked, const qk_config *config,
                               size_t n_arms, qk_error *err)
{
    waiting *list = NULL;
    size_t n, n_batch;
    double of_batch;
    qk_status status = list_waiting(&list, &n, quiz, asked, err);
    *bytes = 0;
    for (size_t from = 0; !status && from < n; from += n_batch) {
        n_batch = batch_size(&of_batch, list + from, n - from, asked, config, n_arms);
        *bytes = fmax(*bytes, of_batch);
    }
    free(list);
    return status;
}

static qk_status write_batch(qk_answers *a, const waiting *batch, size_t n, size_t model, const qk_compute *compute,
                             qk_run *run, qk_error *err)
{
    static const char *const line_end[] = { "\n" };
    qk_prompt prompts[BATCH_QUESTIONS];
    size_t n_arms = a->measured.plan.n_arms;
    qk_condition *conditions = NULL;
    qk_generate_result *result = NULL;
    qk_status status = qk_tasks_conditions(&conditions, &a->measured.plan, err);
    if (status) return status;
    for (size_t i = 0; i < n; i++) {
        const qk_trial *trial = &a->asked[batch[i].question].trials[0];
        prompts[i] = (qk_prompt) { trial->tokens, trial->n_tokens };
    }
    qk_generate_spec spec = {
        .prompts = prompts, .n_prompts = n, .conditions = conditions, .n_conditions = n_arms, .phase = a->phase,
        .max_new_tokens = batch[0].max_new, .context = a->context, .stops = line_end, .n_stops = !batch[0].goes_on,
        .stop_behind_text = true,
        .allow_idle_edits = true, /* judged over all questions: qk_disrupt_conditions */
        .reference = compute->reference, .precision = compute->precision, .level = compute->level,
        .n_threads = compute->n_threads, .max_bytes = compute->max_bytes, .progress = compute->progress,
    };
    status = qk_generate(&result, a->model->model, &spec, err);
    for (size_t i = 0; !status && i < n * n_arms; i++)
        status = keep(a, i % n_arms, batch[i / n_arms].question, &result->items[i], result->receipts[i], model, run,
                      err);
    qk_generate_result_free(result);
    free(conditions);
    return status;
}

qk_status qk_tasks_write(qk_answers *a, size_t model, const qk_compute *compute, qk_run *run, qk_error *err)
{
    waiting *list = NULL;
    size_t n, n_batch;
    double cache_bytes;
    qk_status status = list_waiting(&list, &n, a->quiz, a->asked, err);
    for (size_t from = 0; !status && from < n; from += n_batch) {
        n_batch = batch_size(&cache_bytes, list + from, n - from, a->asked, &a->model->model->config,
                             a->measured.plan.n_arms);
        if (is_finished(a, list + from, n_batch)) continue;
        status = write_batch(a, list + from, n_batch, model, compute, run, err);
    }
    free(list);
    return status;
}
