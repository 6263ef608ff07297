/* chronicle.c - a training as its run folder tells it, while it goes on and afterwards. */
#include "study/chronicle.h"

#include <stdlib.h>
#include <string.h>

#define LOG_ROWS 1000

/* Conditions under which measurements lie in run.db; the document is the number of steps done. */
static const char as_it_came[] = "as it came", in_training[] = "track";

struct qk_chronicle {
    qk_chronicle_spec spec;
    qk_tracker *tracker; /* NULL where nothing is measured */
};

qk_status qk_chronicle_new(qk_chronicle **out, const qk_chronicle_spec *spec, qk_error *err)
{
    qk_chronicle *c = NULL;
    qk_status status = qk_new_array(&c, 1, sizeof *c, "chronicle", err);
    if (status) return status;
    c->spec = *spec;
    if (spec->probe)
        status = qk_tracker_new(&c->tracker, &spec->parameters->model->config, spec->probe, &spec->tracker, err);
    if (status)
        qk_chronicle_free(c);
    else
        *out = c;
    return status;
}

void qk_chronicle_free(qk_chronicle *c)
{
    if (!c) return;
    qk_tracker_free(c->tracker);
    free(c);
}

/* ---- measurements */

static qk_status measure(qk_chronicle *c, const qk_model *model, const char *condition, uint64_t step,
                         uint64_t n_tokens, qk_error *err)
{
    json_t *row = NULL;
    qk_status status = qk_tracker_measure(&row, c->tracker, model, step, n_tokens, err);
    if (!status) status = qk_json_set(row, "arm", json_integer(0), err);
    if (!status) status = qk_run_put(c->spec.run, 0, condition, step, row, err);
    json_decref(row);
    return status;
}

/* results.json and the report, to be read while the training goes on. */
static qk_status write_so_far(const qk_chronicle *c, uint64_t step, uint64_t n_tokens, qk_error *err)
{
    json_t *results = NULL;
    qk_status status = qk_chronicle_results(&results, c, step, n_tokens, false, NULL, err);
    if (!status) status = qk_run_write_json(c->spec.run, "results.json", results, err);
    if (!status) status = qk_report_build(qk_run_folder(c->spec.run), c->spec.figures, err);
    json_decref(results);
    return status;
}

/* The first row is the model as it came, whose masks all later ones are compared with. */
static qk_status start(void *user, uint64_t step, const char *folder, qk_error *err)
{
    qk_chronicle *c = user;
    (void)folder;
    if (!c->tracker) return QK_OK;
    json_t *first = qk_run_get(c->spec.run, 0, as_it_came, 0), *changed = NULL;
    const qk_model *model = c->spec.changed ? c->spec.model->model : c->spec.parameters->model;
    qk_status status = first ? qk_tracker_restore(c->tracker, first, err) : QK_OK;
    if (!first && step > 0)
        status =
            qk_fail(err, QK_E_FORMAT, "%s/run.db: no measurement of the model as it came", qk_run_folder(c->spec.run));
    else if (!first)
        status = measure(c, model, as_it_came, 0, 0, err);
    if (!status && c->spec.changed && step == 0) {
        changed = qk_run_get(c->spec.run, 0, in_training, 0);
        if (!changed) status = measure(c, c->spec.parameters->model, in_training, 0, 0, err);
    }
    if (!status && step == 0) status = write_so_far(c, 0, 0, err);
    json_decref(first);
    json_decref(changed);
    return status;
}

static qk_status after_step(void *user, const qk_step_row *row, qk_error *err)
{
    qk_chronicle *c = user;
    if (!c->tracker) return QK_OK; /* `every` may be 0 then */
    if (row->step % c->spec.every != 0 && row->step != c->spec.n_steps) return QK_OK;
    qk_status status = measure(c, c->spec.parameters->model, in_training, row->step, row->n_tokens, err);
    return status ? status : write_so_far(c, row->step, row->n_tokens, err);
}

qk_training_hook qk_chronicle_hook(qk_chronicle *chronicle)
{
    return (qk_training_hook){ .user = chronicle, .start = start, .after_step = after_step };
}

/* ---- results */

static qk_status append_row(json_t *rows, const qk_chronicle *c, const char *condition, uint64_t step, qk_error *err)
{
    json_t *row = qk_run_get(c->spec.run, 0, condition, step);
    return row ? qk_json_append(rows, row, err) : QK_OK;
}

/* Measurements of steps up to `n_steps`; what is journaled beyond did not happen. */
static qk_status track_rows(json_t *rows, const qk_chronicle *c, uint64_t n_steps, qk_error *err)
{
    if (!c->tracker) return QK_OK;
    qk_status status = append_row(rows, c, as_it_came, 0, err);
    if (!status) status = append_row(rows, c, in_training, 0, err);
    for (uint64_t step = c->spec.every; step <= n_steps && !status; step += c->spec.every)
        status = append_row(rows, c, in_training, step, err);
    bool last_is_odd = n_steps > 0 && n_steps % c->spec.every != 0;
    return !status && last_is_odd ? append_row(rows, c, in_training, n_steps, err) : status;
}

static qk_status add_roles(json_t *documents, qk_error *err)
{
    qk_status status = QK_OK;
    size_t n = json_array_size(documents), n_identify = qk_track_identifying(n);
    for (size_t i = 0; i < n && !status; i++)
        status = qk_json_set(json_array_get(documents, i), "role",
                             json_string(i < n_identify ? "identifies" : "evaluates"), err);
    return status;
}

static json_t *arm_json(const qk_chronicle *c, uint64_t n_steps, uint64_t n_tokens, bool finished, const json_t *more)
{
    const char *key;
    json_t *value;
    qk_row row = qk_row_start();
    qk_row_text(&row, "name", c->spec.name);
    qk_row_text(&row, "kind", c->spec.kind);
    qk_row_count(&row, "model", 0);
    qk_row_count(&row, "steps", n_steps);
    qk_row_count(&row, "tokens", n_tokens);
    qk_row_flag(&row, "finished", finished);
    json_object_foreach((json_t *)(uintptr_t)more, key, value) qk_row_json(&row, key, json_incref(value));
    return qk_row_take(&row);
}

/* As the verb gave them; lambda and track are null where nothing is measured. */
static json_t *settings_json(const qk_chronicle *c)
{
    json_t *settings = json_deep_copy(c->spec.settings);
    bool ok = settings != NULL;
    if (ok)
        ok = json_object_set_new(settings, "lambda", c->tracker ? json_real(c->spec.tracker.lambda) : json_null()) == 0;
    if (ok)
        ok = json_object_set_new(settings, "track",
                                 c->tracker ? json_integer((json_int_t)c->spec.every) : json_null()) == 0;
    if (ok) return settings;
    json_decref(settings);
    return NULL;
}

qk_status qk_chronicle_results(json_t **out, const qk_chronicle *c, uint64_t n_steps, uint64_t n_tokens, bool finished,
                               const json_t *more, qk_error *err)
{
    const qk_documents none = { 0 };
    json_t *documents = qk_json_documents(c->tracker ? c->spec.probe : &none), *arms = json_array(), *log = NULL;
    json_t *track = json_array(), *warnings = json_array();
    char *path = qk_path_join(qk_run_folder(c->spec.run), "log.jsonl");
    qk_row row = qk_row_start();
    qk_status status = path ? qk_chronicle_log(&log, path, LOG_ROWS, err) : qk_out_of_memory(err, "log.jsonl", 0);
    if (!status) status = add_roles(documents, err);
    if (!status) status = qk_json_append(arms, arm_json(c, n_steps, n_tokens, finished, more), err);
    if (!status) status = track_rows(track, c, n_steps, err);
    if (!status && !finished)
        status = qk_json_warn(warnings, err, "the training is not finished: %llu of %llu steps are done",
                              (unsigned long long)n_steps, (unsigned long long)c->spec.n_steps);
    qk_row_text(&row, "study", c->spec.study);
    qk_row_count(&row, "schema", 1);
    qk_row_json(&row, "settings", settings_json(c));
    qk_row_json(&row, "models", qk_json_models(c->spec.model, 1));
    qk_row_json(&row, "documents", documents);
    qk_row_json(&row, "arms", arms);
    qk_row_json(&row, "log", log);
    qk_row_json(&row, "track", track);
    qk_row_json(&row, "warnings", warnings);
    free(path);
    json_t *results = qk_row_take(&row);
    if (!status && !results) status = qk_out_of_memory(err, "results", 0);
    if (status)
        json_decref(results);
    else
        *out = results;
    return status;
}

/* ---- log.jsonl */

typedef struct log_reader {
    json_t *rows;
    json_t *last;      /* the last step; owned */
    size_t n_together; /* steps in a row */
    size_t n;          /* steps since the last row */
    double loss;       /* their sum */
} log_reader;

/* The steps since the last row as a row. */
static qk_status flush_steps(log_reader *r, qk_error *err)
{
    if (r->n == 0) return QK_OK;
    qk_row row = qk_row_start();
    qk_row_count(&row, "arm", 0);
    qk_row_json(&row, "step", json_incref(json_object_get(r->last, "step")));
    qk_row_json(&row, "tokens", json_incref(json_object_get(r->last, "tokens")));
    qk_row_number(&row, "loss", r->loss / (double)r->n);
    qk_row_json(&row, "learning_rate", json_incref(json_object_get(r->last, "lr")));
    qk_row_json(&row, "gradient_norm", json_incref(json_object_get(r->last, "grad_norm")));
    qk_row_null(&row, "validation_loss");
    r->n = 0;
    r->loss = 0;
    return qk_row_append(r->rows, &row, err);
}

static qk_status add_validation(log_reader *r, const json_t *line, qk_error *err)
{
    qk_row row = qk_row_start();
    qk_row_count(&row, "arm", 0);
    qk_row_json(&row, "step", json_incref(json_object_get(line, "step")));
    qk_row_json(&row, "tokens", json_incref(json_object_get(line, "tokens")));
    qk_row_null(&row, "loss");
    qk_row_null(&row, "learning_rate");
    qk_row_null(&row, "gradient_norm");
    qk_row_json(&row, "validation_loss", json_incref(json_object_get(line, "valid_loss")));
    return qk_row_append(r->rows, &row, err);
}

static qk_status read_line(log_reader *r, json_t *line, qk_error *err)
{
    if (json_object_get(line, "valid_loss")) {
        qk_status status = flush_steps(r, err);
        return status ? status : add_validation(r, line, err);
    }
    json_decref(r->last);
    r->last = json_incref(line);
    r->loss += json_number_value(json_object_get(line, "loss"));
    r->n++;
    return r->n >= r->n_together ? flush_steps(r, err) : QK_OK;
}

static size_t count_lines(const char *text, size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    return lines;
}

qk_status qk_chronicle_log(json_t **rows, const char *path, size_t most, qk_error *err)
{
    qk_map map = { 0 };
    log_reader reader = { .rows = json_array() };
    qk_status status = reader.rows ? QK_OK : qk_out_of_memory(err, path, 0);
    if (!status && qk_path_exists(path))
        status = qk_map_open(&map, path, err); /* before the first step there is none */
    const char *text = (const char *)map.data;
    size_t n_lines = count_lines(text, map.size), at = 0;
    reader.n_together = n_lines / most + 1;
    for (size_t i = 0; i < n_lines && !status; i++) {
        size_t n = (size_t)((const char *)memchr(text + at, '\n', map.size - at) - (text + at));
        json_t *line = json_loadb(text + at, n, 0, NULL);
        if (!json_is_object(line))
            status = qk_fail(err, QK_E_FORMAT, "%s:%zu: expected an object", path, i + 1);
        else
            status = read_line(&reader, line, err);
        json_decref(line);
        at += n + 1;
    }
    if (!status) status = flush_steps(&reader, err);
    qk_map_close(&map);
    json_decref(reader.last);
    if (status)
        json_decref(reader.rows);
    else
        *rows = reader.rows;
    return status;
}
