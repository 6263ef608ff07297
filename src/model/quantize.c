/* quantize.c - the matrices of the layers in fewer bits, in memory of the model's own (docs/METHODS.md, "Quantised
 * weights").
 *
 * Tensor by tensor, slab by slab from the mapping: a number is in memory as f32 only within a piece on a thread's
 * stack, and as it lies in the file only until its slab is done. */
#include "math/quantize.h"

#include <math.h>
#include <stdlib.h>

#include "model/model.h"

/* Numbers: of a piece, one thread's task, and of a slab, after which pages go; multiples of every block. */
#define PIECE ((size_t)8192)
#define SLAB ((size_t)512 * PIECE)

const char *qk_quantization_name(qk_quantization how)
{
    const qk_quantizer *quantizer = qk_quantizer_of(how);
    return quantizer ? quantizer->name : "none";
}

/* The matrices of all layers, by number. */
static const size_t fields[] = { offsetof(qk_layer_weights, q),    offsetof(qk_layer_weights, k),
                                 offsetof(qk_layer_weights, v),    offsetof(qk_layer_weights, o),
                                 offsetof(qk_layer_weights, gate), offsetof(qk_layer_weights, up),
                                 offsetof(qk_layer_weights, down) };
enum { N_FIELDS = sizeof fields / sizeof *fields };

static size_t count_matrices(const qk_model *model) { return (size_t)model->config.n_layers * N_FIELDS; }

static qk_weight *matrix(const qk_model *model, size_t index)
{
    return (qk_weight *)((char *)&model->layers[index / N_FIELDS] + fields[index % N_FIELDS]);
}

/* ---- sizes: what will stand in whose place */

static qk_status check_source(const qk_model *model, const qk_weight *weight, const qk_quantizer *to, qk_error *err)
{
    const qk_dtype_info *format = qk_dtype_describe(weight->tensor->dtype);
    if (format->block_elements == 1) return QK_OK;
    return qk_fail(err, QK_E_UNSUPPORTED, "%s: tensor \"%s\": to quantize to %s, expected F32, F16 or BF16, found %s, "
                   "which is quantised already", qk_ckpt_path(model->ckpt), weight->tensor->name, to->name,
                   format->name);
}

static qk_status plan_matrix(qk_quantized *q, const qk_model *model, const qk_weight *weight, const qk_quantizer *to,
                             qk_error *err)
{
    const qk_dtype_info *format = qk_dtype_describe(to->dtype);
    size_t n_blocks = (weight->n_rows * weight->n_cols + format->block_elements - 1) / format->block_elements, n_bytes;
    qk_status status = check_source(model, weight, to, err);
    if (status) return status;
    if (to->whole_rows && weight->n_cols % format->block_elements) {
        if (q->n_kept++ == 0) q->first_kept = weight->tensor;
        return QK_OK;
    }
    if (!qk_mul(n_blocks, format->block_bytes, &n_bytes) || !qk_add(q->n_bytes, n_bytes, &q->n_bytes))
        return qk_fail(err, QK_E_MEMORY, "%s: quantised weights overflow", qk_ckpt_path(model->ckpt));
    q->source_bytes += weight->tensor->n_bytes;
    q->sources[q->n_tensors] = weight->tensor;
    q->tensors[q->n_tensors] = *weight->tensor;
    q->tensors[q->n_tensors].dtype = to->dtype;
    q->tensors[q->n_tensors].n_bytes = n_bytes;
    q->tensors[q->n_tensors++].data = NULL;
    return QK_OK;
}

static qk_status plan_all(qk_quantized *q, const qk_model *model, const qk_quantizer *to, qk_error *err)
{
    size_t n = count_matrices(model);
    qk_status status = qk_new_array(&q->tensors, n, sizeof *q->tensors, "quantised weights", err);
    if (!status) status = qk_new_array(&q->sources, n, sizeof *q->sources, "quantised weights", err);
    for (size_t i = 0; i < n && !status; i++) status = plan_matrix(q, model, matrix(model, i), to, err);
    return status;
}

/* The weights point to the new tensors, whose rows lie in the order in which they are used. */
static void put_in_place(qk_model *model, const qk_quantized *q)
{
    for (size_t i = 0, n = 0; n < q->n_tensors; i++) {
        qk_weight *weight = matrix(model, i);
        if (weight->tensor != q->sources[n]) continue; /* kept as it is */
        weight->tensor = &q->tensors[n++];
        weight->interleaved_heads = 0;
    }
    model->quantized = *q;
}

void qk_quantized_free(qk_quantized *q)
{
    free(q->tensors);
    free(q->sources);
    free(q->data);
    *q = (qk_quantized){ 0 };
}

/* ---- the numbers */

typedef struct work {
    const qk_model *model;
    const qk_quantizer *to;
    int n_threads;
    const qk_progress *progress;
    double done, total; /* numbers */
} work;

/* Numbers [first, first + n) of the matrix, row behind row, in Hugging Face order. */
static void read_numbers(float *out, const qk_weight *weight, size_t first, size_t n)
{
    qk_rows rows = qk_weight_matrix(weight);
    while (n > 0) {
        size_t row = first / rows.n_cols, column = first % rows.n_cols;
        size_t part = rows.n_cols - column < n ? rows.n_cols - column : n;
        qk_rows_read(out, part, &rows, row, 1, column, part);
        out += part;
        first += part;
        n -= part;
    }
}

/* Names the worst number of the piece that could not be quantised. */
static qk_status refuse(const work *w, const qk_weight *weight, size_t first, size_t n, qk_error *err)
{
    float numbers[PIECE];
    size_t worst = 0;
    read_numbers(numbers, weight, first, n);
    for (size_t i = 1; i < n && isfinite(numbers[worst]); i++)
        if (!(fabsf(numbers[i]) <= fabsf(numbers[worst]))) worst = i;
    return qk_fail(err, QK_E_NUMERIC, "%s: tensor \"%s\": row %zu, column %zu: expected a number that %s can hold, "
                   "found %g", qk_ckpt_path(w->model->ckpt), weight->tensor->name, (first + worst) / weight->n_cols,
                   (first + worst) % weight->n_cols, w->to->name, (double)numbers[worst]);
}

static qk_status quantize_slab(uint8_t *data, const work *w, const qk_weight *weight, size_t first, size_t end,
                               qk_error *err)
{
    const qk_dtype_info *format = qk_dtype_describe(w->to->dtype);
    size_t bad = SIZE_MAX;
#pragma omp parallel for num_threads(w->n_threads) reduction(min : bad) if (end - first > 100000)
    for (size_t at = first; at < end; at += PIECE) {
        float numbers[PIECE];
        size_t n = end - at < PIECE ? end - at : PIECE;
        read_numbers(numbers, weight, at, n);
        if (!w->to->blocks(data + at / format->block_elements * format->block_bytes, numbers, n) && at < bad) bad = at;
    }
    return bad == SIZE_MAX ? QK_OK : refuse(w, weight, bad, end - bad < PIECE ? end - bad : PIECE, err);
}

static qk_status quantize_matrix(uint8_t *data, work *w, const qk_weight *weight, qk_error *err)
{
    const qk_dtype_info *format = qk_dtype_describe(w->to->dtype);
    size_t n = weight->n_rows * weight->n_cols, size = weight->tensor->n_bytes / n;
    for (size_t first = 0; first < n; first += SLAB) {
        size_t end = n - first < SLAB ? n : first + SLAB;
        if (w->progress && w->progress->tick &&
            !w->progress->tick(w->progress->user, "quantize", w->done, w->total))
            return qk_fail(err, QK_E_INTERRUPTED, "%s: interrupted while quantizing, at tensor \"%s\"",
                           qk_ckpt_path(w->model->ckpt), weight->tensor->name);
        qk_status status = quantize_slab(data, w, weight, first, end, err);
        if (status) return status;
        /* Interleaved rows are read out of order: they go all at once. */
        if (!weight->interleaved_heads)
            qk_ckpt_release(w->model->ckpt, weight->tensor, first * size, (end - first) * size);
        w->done += (double)(end - first);
    }
    qk_weight_release(weight, w->model->ckpt);
    if (w->to->finish) w->to->finish(data, (n + format->block_elements - 1) / format->block_elements);
    return QK_OK;
}

static qk_status quantize_all(qk_quantized *q, work *w, qk_error *err)
{
    uint8_t *at = q->data = malloc(q->n_bytes + 1); /* pages come as they are written */
    if (!at) return qk_out_of_memory(err, "quantised weights", q->n_bytes);
    for (size_t i = 0; i < q->n_tensors; i++)
        w->total += (double)q->tensors[i].shape[0] * (double)q->tensors[i].shape[1];
    for (size_t i = 0, n = 0; n < q->n_tensors; i++) {
        const qk_weight *weight = matrix(w->model, i);
        if (weight->tensor != q->sources[n]) continue;
        qk_status status = quantize_matrix(at, w, weight, err);
        if (status) return status;
        q->tensors[n].data = at;
        at += q->tensors[n++].n_bytes;
    }
    return QK_OK;
}

/* ---- a model */

static qk_status check_model(const qk_model *model, qk_error *err)
{
    if (model->quantized.how == QK_QUANTIZE_NONE) return QK_OK;
    return qk_fail(err, QK_E_ARGUMENT, "%s: expected a model that is not quantised, found %s",
                   qk_ckpt_path(model->ckpt), qk_quantization_name(model->quantized.how));
}

static qk_status quantize(qk_model *model, qk_quantization how, work *w, size_t max_bytes, qk_error *err)
{
    qk_quantized q = { .how = how };
    qk_status status = check_model(model, err);
    if (status || how == QK_QUANTIZE_NONE) return status;
    status = plan_all(&q, model, qk_quantizer_of(how), err);
    if (!status && max_bytes && q.n_bytes > max_bytes)
        status = qk_fail(err, QK_E_BUDGET, "%s: needs at least %zu MiB for weights in %s, %zu MiB are allowed",
                         qk_ckpt_path(model->ckpt), (q.n_bytes + 1048575) >> 20, qk_quantization_name(how),
                         max_bytes >> 20);
    if (!status && w) {
        w->to = qk_quantizer_of(how);
        status = quantize_all(&q, w, err);
    }
    if (status) qk_quantized_free(&q);
    else put_in_place(model, &q);
    return status;
}

qk_status qk_model_quantize(qk_model *model, qk_quantization how, int n_threads, size_t max_bytes,
                            const qk_progress *progress, qk_error *err)
{
    work w = { .model = model, .n_threads = qk_thread_count(n_threads), .progress = progress };
    return quantize(model, how, &w, max_bytes, err);
}

qk_status qk_model_quantize_sizes(qk_model *model, qk_quantization how, size_t max_bytes, qk_error *err)
{
    return quantize(model, how, NULL, max_bytes, err);
}

uint64_t qk_model_bytes(const qk_model *model)
{
    return qk_ckpt_bytes(model->ckpt) - model->quantized.source_bytes + model->quantized.n_bytes;
}

const qk_tensor *qk_model_tensor(const qk_model *model, size_t index)
{
    const qk_tensor *tensor = qk_ckpt_at(model->ckpt, index);
    for (size_t i = 0; i < model->quantized.n_tensors; i++)
        if (model->quantized.sources[i] == tensor) return &model->quantized.tensors[i];
    return tensor;
}
