/* trainer_log.c - log.jsonl, which repeats byte for byte, and times.jsonl, which does not. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "train/trainer_private.h"

/* Cut `path` back to n_bytes, which it must have. */
static qk_status cut(const char *path, uint64_t n_bytes, qk_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0) return qk_fail(err, QK_E_IO, "%s: %s", path, strerror(errno));
    if ((uint64_t)info.st_size < n_bytes)
        return qk_fail(err, QK_E_FORMAT, "%s: expected the %llu bytes that were there when the checkpoint was saved, "
                       "found %lld", path, (unsigned long long)n_bytes, (long long)info.st_size);
    if (truncate(path, (off_t)n_bytes) != 0) return qk_fail(err, QK_E_IO, "%s: %s", path, strerror(errno));
    return QK_OK;
}

qk_status qk_trainer_log_open(qk_trainer *r, bool resume, uint64_t log_bytes, qk_error *err)
{
    qk_status status = resume ? cut(r->log_path, log_bytes, err) : QK_OK;
    if (status) return status;
    r->log = fopen(r->log_path, resume ? "ab" : "wb");
    if (!r->log) return qk_fail(err, QK_E_IO, "%s: cannot write: %s", r->log_path, strerror(errno));
    fseeko(r->log, 0, SEEK_END); /* where appending begins is not told otherwise before something is written */
    r->times = fopen(r->times_path, resume ? "ab" : "wb");
    if (!r->times) return qk_fail(err, QK_E_IO, "%s: cannot write: %s", r->times_path, strerror(errno));
    return QK_OK;
}

/* One object on one line; takes `row` over. */
static qk_status write_row(FILE *stream, const char *path, json_t *row, qk_error *err)
{
    if (!row) return qk_out_of_memory(err, path, 0);
    errno = 0;
    int bad = json_dumpf(row, stream, JSON_REAL_PRECISION(9)) != 0;
    bad = fputc('\n', stream) == EOF || bad;
    bad = fflush(stream) != 0 || bad;
    json_decref(row);
    return bad ? qk_fail(err, QK_E_IO, "%s: cannot write: %s", path, strerror(errno ? errno : EIO)) : QK_OK;
}

qk_status qk_trainer_log_step(const qk_trainer *r, qk_error *err)
{
    const qk_step_row *row = &r->last;
    double tokens = (double)r->training->batch.n_rows * (double)r->training->batch.context;
    if (!r->log) return QK_OK;
    qk_status status = write_row(r->times, r->times_path,
                                 json_pack("{s:I, s:f, s:f}", "step", (json_int_t)row->step, "seconds", row->seconds,
                                           "tokens_per_second", row->seconds > 0 ? tokens / row->seconds : 0.0), err);
    if (status) return status;
    return write_row(r->log, r->log_path,
                     json_pack("{s:I, s:I, s:f, s:f, s:f}", "step", (json_int_t)row->step, "tokens",
                               (json_int_t)row->n_tokens, "loss", row->nll, "lr", row->learning_rate, "grad_norm",
                               row->gradient_norm), err);
}

qk_status qk_trainer_log_validation(const qk_trainer *r, qk_error *err)
{
    const qk_validation_row *row = &r->validation;
    if (!r->log) return QK_OK;
    return write_row(r->log, r->log_path,
                     json_pack("{s:I, s:I, s:f, s:I}", "step", (json_int_t)row->step, "tokens",
                               (json_int_t)row->n_tokens, "valid_loss", row->nll, "valid_tokens",
                               (json_int_t)row->n_predicted), err);
}

qk_status qk_trainer_log_sync(uint64_t *n_bytes, const qk_trainer *r, qk_error *err)
{
    errno = 0;
    off_t at = ftello(r->log);
    if (at < 0 || fflush(r->log) != 0 || (fsync(fileno(r->log)) != 0 && errno != EINVAL && errno != EROFS))
        return qk_fail(err, QK_E_IO, "%s: cannot write: %s", r->log_path, strerror(errno ? errno : EIO));
    *n_bytes = (uint64_t)at;
    return QK_OK;
}

void qk_trainer_log_close(qk_trainer *r)
{
    if (r->log) fclose(r->log);
    if (r->times) fclose(r->times);
    r->log = r->times = NULL;
}
