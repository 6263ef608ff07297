/* trainer_checkpoint.c - checkpoints: written into a folder of another name and renamed when all of it is on the disk,
 * so that a kill at any moment leaves whole ones only. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "train/checkpoint.h"
#include "train/trainer_private.h"

/* A folder that is being written or taken away begins with this; a whole one is called step-00001000. */
#define HIDDEN ".step-"

static const char *const moment_names[] = { "first_moment.", "second_moment." };

/* ---- folders */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static qk_status remove_tree(const char *path, qk_error *err)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT) return QK_OK;
    return qk_fail(err, QK_E_IO, "%s: cannot remove: %s", path, strerror(errno));
}

/* The names in a folder are on the disk. */
static qk_status sync_folder(const char *path, qk_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return qk_fail(err, QK_E_IO, "%s: %s", path, strerror(errno));
    bool bad = fsync(fd) != 0 && errno != EINVAL && errno != EROFS;
    int reason = errno;
    close(fd);
    return bad ? qk_fail(err, QK_E_IO, "%s: cannot write: %s", path, strerror(reason)) : QK_OK;
}

qk_status qk_trainer_lock(qk_trainer *r, qk_error *err)
{
    qk_status status = qk_make_folders(r->checkpoints, err);
    if (status) return status;
    r->lock = open(r->checkpoints, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->lock < 0) return qk_fail(err, QK_E_IO, "%s: %s", r->checkpoints, strerror(errno));
    if (flock(r->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return QK_OK; /* some systems have no locks */
    return qk_fail(err, QK_E_IO, "%s: another process is training there", r->training->folder);
}

static qk_status step_path(char **out, const qk_trainer *r, const char *prefix, uint64_t step, qk_error *err)
{
    char name[48];
    snprintf(name, sizeof name, "%s%08llu", prefix, (unsigned long long)step);
    *out = qk_path_join(r->checkpoints, name);
    return *out ? QK_OK : qk_out_of_memory(err, r->checkpoints, strlen(r->checkpoints));
}

/* "step-00001000" -> 1000 */
static bool parse_name(uint64_t *step, const char *name)
{
    char *end;
    if (strncmp(name, "step-", 5) != 0 || strlen(name) < 13) return false;
    errno = 0;
    *step = strtoull(name + 5, &end, 10);
    return *end == '\0' && errno == 0 && name[5] >= '0' && name[5] <= '9';
}

static int by_step(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Steps of the whole checkpoints, ascending, malloc'ed.  What a killed run left half written or half removed goes. */
static qk_status list_steps(uint64_t **out, size_t *n_out, const qk_trainer *r, qk_error *err)
{
    DIR *folder = opendir(r->checkpoints);
    uint64_t *steps = NULL, step;
    size_t n = 0, capacity = 0;
    qk_status status = QK_OK;
    if (!folder) return qk_fail(err, QK_E_IO, "%s: %s", r->checkpoints, strerror(errno));
    for (struct dirent *entry; !status && (entry = readdir(folder));) {
        if (strncmp(entry->d_name, HIDDEN, strlen(HIDDEN)) == 0) {
            char *path = qk_path_join(r->checkpoints, entry->d_name);
            status = path ? remove_tree(path, err) : qk_out_of_memory(err, r->checkpoints, 0);
            free(path);
        }
        if (!parse_name(&step, entry->d_name)) continue;
        if (n == capacity) {
            capacity = 2 * capacity + 16;
            uint64_t *grown = realloc(steps, capacity * sizeof *grown);
            if (!grown) {
                status = qk_out_of_memory(err, r->checkpoints, capacity * sizeof *grown);
                break;
            }
            steps = grown;
        }
        steps[n++] = step;
    }
    closedir(folder);
    if (n) qsort(steps, n, sizeof *steps, by_step);
    if (status) free(steps);
    else *out = steps, *n_out = n;
    return status;
}

qk_status qk_trainer_newest(char **path, const qk_trainer *r, qk_error *err)
{
    uint64_t *steps = NULL;
    size_t n = 0;
    qk_status status = list_steps(&steps, &n, r, err);
    *path = NULL;
    if (!status && n) status = step_path(path, r, "step-", steps[n - 1], err);
    free(steps);
    return status;
}

static qk_status prune(const qk_trainer *r, qk_error *err)
{
    uint64_t *steps = NULL;
    size_t n = 0, keep = r->training->keep ? r->training->keep : 1;
    qk_status status = list_steps(&steps, &n, r, err);
    for (size_t i = 0; i + keep < n && !status; i++) {
        char *from = NULL, *to = NULL;
        status = step_path(&from, r, "step-", steps[i], err);
        if (!status) status = step_path(&to, r, HIDDEN "old-", steps[i], err);
        if (!status && rename(from, to) != 0)
            status = qk_fail(err, QK_E_IO, "%s: cannot remove: %s", from, strerror(errno));
        if (!status) status = remove_tree(to, err);
        free(from);
        free(to);
    }
    free(steps);
    return status;
}

/* ---- saving */

static qk_status write_moments(const char *folder, const qk_parameters *p, qk_error *err)
{
    qk_tensor_out *tensors = NULL;
    char(*names)[128] = NULL;
    char *path = qk_path_join(folder, "trainer.safetensors");
    qk_status status = path ? QK_OK : qk_out_of_memory(err, folder, strlen(folder));
    if (!status) status = qk_new_array(&tensors, 2 * p->n_items, sizeof *tensors, "moments", err);
    if (!status) status = qk_new_array(&names, 2 * p->n_items, sizeof *names, "moments", err);
    for (size_t i = 0; i < 2 * p->n_items && !status; i++) {
        const qk_parameter *item = &p->items[i / 2];
        const float *moments = i % 2 ? p->second_moment : p->first_moment;
        snprintf(names[i], sizeof names[i], "%s%s", moment_names[i % 2], item->shape.name);
        tensors[i] = (qk_tensor_out){ .name = names[i],
                                      .dtype = QK_DTYPE_F32,
                                      .n_dims = item->shape.n_dims,
                                      .shape = { item->shape.n_rows, item->shape.n_dims == 2 ? item->shape.n_cols : 0 },
                                      .data = moments + item->offset };
    }
    if (!status) status = qk_safetensors_write(path, tensors, 2 * p->n_items, NULL, 0, err);
    free(tensors);
    free(names);
    free(path);
    return status;
}

static json_t *state_json(const qk_trainer *r, uint64_t log_bytes)
{
    const qk_step_row *row = &r->last;
    const qk_validation_row *v = &r->validation;
    json_t *validation = json_pack("{s:I, s:I, s:I, s:f}", "step", (json_int_t)v->step, "tokens",
                                   (json_int_t)v->n_tokens, "valid_tokens", (json_int_t)v->n_predicted, "valid_loss",
                                   v->nll);
    return json_pack("{s:I, s:I, s:b, s:f, s:f, s:f, s:o, s:I, s:O, s:O}", "step", (json_int_t)row->step, "tokens",
                     (json_int_t)row->n_tokens, "told", r->told, "loss", row->nll, "grad_norm", row->gradient_norm,
                     "lr", row->learning_rate, "validation", validation, "log_bytes", (json_int_t)log_bytes, "batches",
                     r->batches_state, "settings", r->settings);
}

static qk_status write_state(const char *folder, const qk_trainer *r, qk_error *err)
{
    uint64_t log_bytes = 0;
    char *path = qk_path_join(folder, "trainer.json"), *text = NULL;
    json_t *state = NULL;
    qk_status status = qk_trainer_log_sync(&log_bytes, r, err);
    if (status) goto out;
    state = state_json(r, log_bytes);
    text = state ? json_dumps(state, JSON_INDENT(1)) : NULL;
    status = path && text ? qk_write_file(path, text, strlen(text), err) : qk_out_of_memory(err, folder, 0);
out:
    json_decref(state);
    free(text);
    free(path);
    return status;
}

/* What is not finite is not worth keeping, and must not push a good checkpoint out. */
static qk_status check_weights(const qk_trainer *r, qk_error *err)
{
    const qk_parameters *p = r->training->parameters;
    for (size_t i = 0; i < p->n_items; i++) {
        if (qk_all_finite(p->values + p->items[i].offset, p->items[i].n)) continue;
        return qk_fail(err, QK_E_NUMERIC, "step %llu: %s: expected finite weights, found others",
                       (unsigned long long)r->last.step, p->items[i].shape.name);
    }
    return QK_OK;
}

static qk_status write_checkpoint(const char *folder, const qk_trainer *r, qk_error *err)
{
    const qk_training *t = r->training;
    qk_status status = qk_checkpoint_write(folder, t->parameters, QK_DTYPE_F32, err);
    if (!status) status = write_moments(folder, t->parameters, err);
    for (size_t i = 0; i < t->n_hooks && !status; i++)
        if (t->hooks[i].save) status = t->hooks[i].save(t->hooks[i].user, folder, err);
    if (!status) status = write_state(folder, r, err);
    if (!status) status = sync_folder(folder, err);
    return status;
}

qk_status qk_trainer_save(qk_trainer *r, qk_error *err)
{
    char *final = NULL, *hidden = NULL;
    qk_status status = check_weights(r, err);
    if (!status) status = step_path(&final, r, "step-", r->last.step, err);
    if (!status) status = step_path(&hidden, r, HIDDEN, r->last.step, err);
    /* One of this step that is there is as good: what it has not told will be told again. */
    if (status || qk_path_exists(final)) goto out;
    snprintf(r->doing, sizeof r->doing, "saving");
    (void)qk_trainer_tick(r, 0);
    r->doing[0] = '\0';
    status = remove_tree(hidden, err);
    if (!status) status = qk_make_folders(hidden, err);
    if (!status) status = write_checkpoint(hidden, r, err);
    if (!status && rename(hidden, final) != 0)
        status = qk_fail(err, QK_E_IO, "%s: cannot write: %s", final, strerror(errno));
    if (status) (void)remove_tree(hidden, NULL);
    if (!status) status = sync_folder(r->checkpoints, err);
    if (!status) status = prune(r, err);
out:
    free(final);
    free(hidden);
    return status;
}

/* ---- resuming */

/* Tensor PREFIX+NAME of every item into `to`. */
static qk_status read_tensors(float *to, const qk_parameters *p, const qk_ckpt *ckpt, const char *prefix, qk_error *err)
{
    for (size_t i = 0; i < p->n_items; i++) {
        const qk_parameter *item = &p->items[i];
        char name[128];
        snprintf(name, sizeof name, "%s%s", prefix, item->shape.name);
        const qk_tensor *tensor = qk_ckpt_find(ckpt, name);
        if (!tensor) return qk_fail(err, QK_E_FORMAT, "%s: no tensor \"%s\"", qk_ckpt_path(ckpt), name);
        if (tensor->dtype != QK_DTYPE_F32 || tensor->n_bytes != item->n * sizeof(float) ||
            tensor->n_dims != item->shape.n_dims || tensor->shape[0] != item->shape.n_rows)
            return qk_fail(err, QK_E_SHAPE, "%s: \"%s\": expected %zu x %zu in F32, found another shape",
                           qk_ckpt_path(ckpt), name, item->shape.n_rows, item->shape.n_cols);
        memcpy(to + item->offset, tensor->data, tensor->n_bytes);
        qk_ckpt_release(ckpt, tensor, 0, tensor->n_bytes); /* memory holds one copy of it */
    }
    return QK_OK;
}

static qk_status read_file(qk_parameters *p, const char *folder, const char *name, bool moments, qk_error *err)
{
    char *path = qk_path_join(folder, name);
    qk_ckpt *ckpt = NULL;
    qk_status status = path ? qk_ckpt_open_safetensors(&ckpt, path, err) : qk_out_of_memory(err, name, 0);
    if (!status && !moments) status = read_tensors(p->values, p, ckpt, "", err);
    if (!status && moments) status = read_tensors(p->first_moment, p, ckpt, moment_names[0], err);
    if (!status && moments) status = read_tensors(p->second_moment, p, ckpt, moment_names[1], err);
    qk_ckpt_close(ckpt);
    free(path);
    return status;
}

/* Rows and the pieces of `state` that belong to others (borrowed); false: something is missing or makes no sense. */
static bool read_rows(qk_trainer *r, json_t *state, json_int_t *log_bytes, json_t **batches, json_t **settings)
{
    json_int_t step = -1, n_tokens = -1, v_step = -1, v_tokens = -1, v_predicted = -1;
    qk_step_row row = { 0 };
    qk_validation_row validation = { 0 };
    int told = 0;
    if (json_unpack(state, "{s:I, s:I, s:b, s:F, s:F, s:F, s:I, s:o, s:o}", "step", &step, "tokens", &n_tokens, "told",
                    &told, "loss", &row.nll, "grad_norm", &row.gradient_norm, "lr", &row.learning_rate, "log_bytes",
                    log_bytes, "batches", batches, "settings", settings) != 0 ||
        json_unpack(state, "{s:{s:I, s:I, s:I, s:F}}", "validation", "step", &v_step, "tokens", &v_tokens,
                    "valid_tokens", &v_predicted, "valid_loss", &validation.nll) != 0 ||
        step < 0 || n_tokens < 0 || v_step < 0 || v_tokens < 0 || v_predicted < 0 || *log_bytes < 0 ||
        !json_is_object(*settings))
        return false;
    row.step = (uint64_t)step;
    row.n_tokens = (uint64_t)n_tokens;
    validation.step = (uint64_t)v_step;
    validation.n_tokens = (uint64_t)v_tokens;
    validation.n_predicted = (uint64_t)v_predicted;
    r->last = row;
    r->validation = validation;
    r->told = told;
    return true;
}

static qk_status read_state(uint64_t *log_bytes, qk_trainer *r, json_t *state, const char *path, qk_error *err)
{
    json_int_t bytes = -1;
    json_t *batches = NULL, *settings = NULL;
    if (!read_rows(r, state, &bytes, &batches, &settings))
        return qk_fail(err, QK_E_FORMAT, "%s: expected the state of a trainer, found something else", path);
    const uint64_t step = r->last.step, n_steps = r->training->optimiser.n_steps;
    qk_status status = qk_trainer_settings_agree(settings, r->settings, &r->training->optimiser, step, err);
    if (status) return status;
    if (step > n_steps)
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected at most %llu steps, found %llu done", path,
                       (unsigned long long)n_steps, (unsigned long long)step);
    status = qk_batches_restore(r->batches, batches, err);
    if (status) return qk_prefix(err, status, "%s", path);
    json_decref(r->batches_state);
    r->batches_state = json_incref(batches);
    *log_bytes = (uint64_t)bytes;
    return QK_OK;
}

qk_status qk_trainer_restore(uint64_t *log_bytes, qk_trainer *r, const char *folder, qk_error *err)
{
    json_error_t why;
    char *path = qk_path_join(folder, "trainer.json");
    json_t *state = path ? json_load_file(path, JSON_REJECT_DUPLICATES, &why) : NULL;
    qk_status status = QK_OK;
    if (!path) status = qk_out_of_memory(err, folder, 0);
    else if (!state) status = qk_fail(err, QK_E_FORMAT, "%s: %s", path, why.text);
    if (!status) status = read_state(log_bytes, r, state, path, err);
    if (!status) status = read_file(r->training->parameters, folder, "model.safetensors", false, err);
    if (!status) status = read_file(r->training->parameters, folder, "trainer.safetensors", true, err);
    json_decref(state);
    free(path);
    return status;
}
