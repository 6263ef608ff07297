/* context_find.c - what is found over length and depth: keys hidden in idle talk, asked for by teacher forcing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "study/context_prompts.h"

const char *const qk_context_task_names[QK_N_CONTEXT_TASKS] = {
    [QK_TASK_PASS_KEY] = "pass_key", [QK_TASK_PASS_KEYS] = "pass_keys", [QK_TASK_NEEDLE] = "needle"
};

size_t qk_context_trials(const qk_context *c, size_t length)
{
    double share = 2 * (double)c->trained / (double)length;
    double trials = share < 1 ? (double)c->settings->trials * share : (double)c->settings->trials;
    return trials < 1 ? 1 : (size_t)llround(trials);
}

qk_found *qk_context_found(const qk_context *c, size_t arm, size_t task, size_t length, size_t depth)
{
    const qk_context_settings *s = c->settings;
    size_t row = ((arm * QK_N_CONTEXT_TASKS + task) * s->n_task_lengths + length) * s->n_depths + depth;
    return c->found + row * s->trials;
}

/* ---- one reading of the prompts */

/* Crop sees the last tokens alone, a beginning-of-sequence token before them. */
static qk_status see(qk_context_prompts *p, const qk_reading *reading, int32_t ***owned, qk_error *err)
{
    const qk_tokenizer_info *info = qk_tokenizer_describe(p->tokenizer);
    size_t trained = qk_trained_context(&p->c->models[p->model].model->config);
    qk_status status = qk_new_array(owned, p->n, sizeof **owned, "cut prompts", err);
    for (size_t i = 0; !status && i < p->n; i++) {
        const qk_context_prompt *it = &p->items[i];
        const qk_context_answer *last = &it->answers[it->n_answers - 1];
        int32_t *tokens = it->tokens;
        size_t n = last->from + last->n, skip = 0;
        if (reading->method == QK_METHOD_CROP && n > trained) {
            bool bos = info->bos >= 0 && it->tokens[0] == info->bos;
            skip = n - trained;
            status = qk_new_array(&tokens, trained, sizeof *tokens, "a cut prompt", err);
            if (status) break;
            (*owned)[i] = tokens;
            memcpy(tokens, it->tokens + skip, trained * sizeof *tokens);
            if (bos) tokens[0] = info->bos;
        }
        size_t from = it->answers[0].from > skip + 1 ? it->answers[0].from - skip : 1;
        p->sequences[i] = (qk_sequence){ tokens, n - skip, from };
        p->n_cut[i] = skip;
    }
    return status;
}

static json_t *prompt_payload(const void *user, size_t sequence, const qk_score *score)
{
    const qk_context_prompts *p = user;
    const qk_context_prompt *it = &p->items[sequence];
    const qk_sequence *s = &p->sequences[sequence];
    json_t *rows = json_array();
    for (size_t k = 0; rows && k < it->n_answers; k++) {
        const qk_context_answer *a = &it->answers[k];
        size_t at = a->from - p->n_cut[sequence] - s->score_from; /* among the scored ones */
        bool seen = a->from >= p->n_cut[sequence] + s->score_from, right = seen;
        double nll = 0;
        for (size_t t = 0; seen && t < a->n; t++) {
            right = right && score->token_top[at + t] == it->tokens[a->from + t];
            nll += (double)score->token_nll[at + t];
        }
        if (json_array_append_new(rows, json_pack("[b,f]", right, nll)) == 0) continue;
        json_decref(rows);
        return NULL;
    }
    return rows;
}

static bool keep_prompt(void *user, size_t sequence, const json_t *payload)
{
    qk_context_prompts *p = user;
    size_t n = p->items[sequence].n_answers;
    if (json_array_size(payload) != n) return false;
    for (size_t k = 0; k < n; k++) {
        const json_t *row = json_array_get(payload, k);
        if (!json_is_boolean(json_array_get(row, 0)) || !json_is_number(json_array_get(row, 1))) return false;
        p->answered[sequence][k] =
            (qk_found){ json_is_true(json_array_get(row, 0)), json_number_value(json_array_get(row, 1)) };
    }
    return true;
}

/* To every arm of the model that reads so; condition 0 is the baseline. */
static void hand_out(qk_context *c, const qk_context_prompts *p, const qk_reading *reading, size_t condition)
{
    for (size_t a = 0; a < c->n_arms; a++) {
        qk_reading own = qk_context_reading(c, &c->arms[a], c->task_lengths[p->length]);
        if (c->arms[a].model != p->model || !qk_reading_equal(&own, reading)) continue;
        for (size_t i = 0; i < p->n; i++)
            for (size_t k = 0; k < p->items[i].n_answers; k++) {
                const qk_context_prompt *it = &p->items[i];
                size_t depth = it->answers[k].depth;
                if (condition)
                    qk_context_broken(c, condition - 1, a, p->length, depth)[it->trial] = p->answered[i][k].right;
                else
                    qk_context_found(c, a, p->task, p->length, depth)[it->trial] = p->answered[i][k];
            }
    }
}

/* Under one condition, NULL the baseline. */
static qk_status ask_under(qk_context_prompts *p, qk_context *c, const qk_reading *reading, const qk_model *view,
                           const qk_condition *condition, qk_error *err)
{
    char unit[160], phase[160];
    const char *kind = qk_context_task_names[p->task];
    size_t length = c->task_lengths[p->length];
    qk_context_unit(unit, kind, reading, length);
    if (condition) snprintf(unit + strlen(unit), sizeof unit - strlen(unit), " %s", condition->name);
    snprintf(phase, sizeof phase, "%.60s %s%s%s, %s at %zu tokens", c->models[p->model].name,
             qk_method_name(reading->method), condition ? " " : "", condition ? condition->name : "", kind, length);
    qk_context_pass pass = { .c = c,
                             .model = p->model,
                             .view = view,
                             .condition = condition,
                             .unit = unit,
                             .phase = phase,
                             .sequences = p->sequences,
                             .n = p->n,
                             .payload = prompt_payload,
                             .keep = keep_prompt,
                             .user = p };
    return qk_context_run(c, &pass, err);
}

/* As the reading sees them, to the arms that read so; pass keys with dims broken, too. */
static qk_status ask(qk_context_prompts *p, qk_context *c, const qk_reading *reading, qk_error *err)
{
    int32_t **owned = NULL;
    qk_model view;
    size_t n_broken = p->task == QK_TASK_PASS_KEY && c->is_broken[p->model] ? c->n_broken : 0;
    qk_status status = see(p, reading, &owned, err);
    if (!status) status = qk_context_view(&view, c, p->model, reading, err);
    for (size_t k = 0; !status && k <= n_broken; k++) {
        const qk_arm *arm = k < c->edits.n_arms ? &c->edits.arms[k] : NULL; /* a plan has no masks yet */
        const qk_condition condition = { arm ? arm->name : "broken", arm ? arm->edits : NULL, arm ? arm->n_edits : 0 };
        status = ask_under(p, c, reading, &view, k ? &condition : NULL, err);
        if (!status) hand_out(c, p, reading, k);
    }
    for (size_t i = 0; owned && i < p->n; i++) free(owned[i]);
    free(owned);
    return status;
}

/* ---- all arms of a model */

static qk_status find_at(qk_context *c, const qk_world *world, size_t model, size_t task, size_t length, qk_error *err)
{
    qk_context_prompts p = {
        .c = c, .tokenizer = c->models[model].model->tokenizer, .model = model, .task = task, .length = length
    };
    qk_status status = qk_context_write_prompts(&p, world, err);
    if (p.too_long) c->left_out[task][length] = p.too_long;
    for (size_t a = 0; !status && !p.too_long && a < c->n_arms; a++) {
        if (c->arms[a].model != model) continue;
        qk_reading reading = qk_context_reading(c, &c->arms[a], c->task_lengths[length]);
        bool asked = false;
        for (size_t b = 0; !asked && b < a; b++) { /* who reads alike answers alike */
            qk_reading other = qk_context_reading(c, &c->arms[b], c->task_lengths[length]);
            asked = c->arms[b].model == model && qk_reading_equal(&other, &reading);
        }
        if (asked) continue;
        status = ask(&p, c, &reading, err);
    }
    qk_context_free_prompts(&p);
    return status;
}

bool qk_context_asks(const qk_context *c, size_t task, size_t length)
{
    return (c->settings->tasks >> task & 1) && !c->left_out[task][length];
}

static qk_status refuse_nothing(const qk_context *c, qk_error *err)
{
    size_t tokens = 0, room = 0;
    for (size_t task = 0; task < QK_N_CONTEXT_TASKS; task++)
        for (size_t l = 0; l < c->settings->n_task_lengths; l++) {
            if (qk_context_asks(c, task, l)) return QK_OK;
            if (tokens && c->left_out[task][l] >= tokens) continue;
            tokens = c->left_out[task][l];
            room = c->task_lengths[c->settings->n_task_lengths - 1];
        }
    return qk_fail(err, QK_E_ARGUMENT,
                   "keys: words, key and question alone have at least %zu tokens, the longest length %zu; a longer "
                   "one is needed",
                   tokens, room);
}

qk_status qk_context_find(qk_context *c, size_t model, qk_error *err)
{
    const qk_model *m = c->models[model].model;
    qk_world *world = NULL;
    if (!m->tokenizer)
        return qk_fail(err, m->tokenizer_error.status ? m->tokenizer_error.status : QK_E_IO, "no tokenizer: %s",
                       m->tokenizer_error.message);
    qk_status status = qk_world_new(&world, c->settings->world, err);
    for (size_t task = 0; !status && task < QK_N_CONTEXT_TASKS; task++)
        for (size_t l = 0; !status && l < c->settings->n_task_lengths; l++)
            if (qk_context_asks(c, task, l)) status = find_at(c, world, model, task, l, err);
    qk_world_free(world);
    return status ? status : refuse_nothing(c, err);
}
