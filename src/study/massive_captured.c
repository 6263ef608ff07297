/* massive_captured.c - massive values in q, k or v that somebody else captured: no model, one document, one layer. */
#include "study/tally.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One array from a .npy or a safetensors file. */
typedef struct opened {
    qk_npy npy;
    qk_ckpt *ckpt;
    const qk_tensor *tensor;
} opened;

static void close_array(opened *array)
{
    if (array->ckpt) qk_ckpt_close(array->ckpt);
    else if (array->tensor) qk_npy_close(&array->npy);
    *array = (opened) { 0 };
}

static bool is_npy(const char *path)
{
    char magic[6] = { 0 };
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    bool yes = fread(magic, 1, sizeof magic, file) == sizeof magic && memcmp(magic, "\x93NUMPY", sizeof magic) == 0;
    fclose(file);
    return yes;
}

static qk_status pick_tensor(opened *array, const char *path, const char *name, qk_error *err)
{
    if (name) {
        array->tensor = qk_ckpt_find(array->ckpt, name);
        if (!array->tensor) return qk_fail(err, QK_E_ARGUMENT, "%s: tensor %s: not in this file", path, name);
        return QK_OK;
    }
    if (qk_ckpt_count(array->ckpt) != 1) {
        return qk_fail(err, QK_E_ARGUMENT, "%s: expected one tensor, found %zu: name one as %s:TENSOR", path,
                       qk_ckpt_count(array->ckpt), path);
    }
    array->tensor = qk_ckpt_at(array->ckpt, 0);
    return QK_OK;
}

/* FILE, or FILE:TENSOR where FILE:TENSOR itself is no file. */
static qk_status open_array(opened *array, const char *argument, qk_error *err)
{
    *array = (opened) { 0 };
    char *path = strdup(argument);
    if (!path) return qk_out_of_memory(err, "a path", 0);
    char *colon = qk_path_exists(path) ? NULL : strrchr(path, ':');
    if (colon) *colon = '\0';
    qk_status status;
    if (is_npy(path)) {
        status = colon ? qk_fail(err, QK_E_ARGUMENT, "%s: a .npy file holds one unnamed array", argument)
                       : qk_npy_open(&array->npy, path, err);
        if (!status) array->tensor = &array->npy.tensor;
    } else {
        status = qk_ckpt_open_safetensors(&array->ckpt, path, err);
        if (!status) status = pick_tensor(array, path, colon ? colon + 1 : NULL, err);
    }
    free(path);
    return status;
}

static qk_status check_array(size_t axes[3], const qk_tensor *t, const char *path, qk_error *err)
{
    if (t->dtype != QK_DTYPE_F32 && t->dtype != QK_DTYPE_F16) {
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: expected F32 or F16, found %s", path,
                       qk_dtype_describe(t->dtype)->name);
    }
    int skip = t->n_dims == 4 && t->shape[0] == 1;
    if (t->n_dims - skip != 3) {
        return qk_fail(err, QK_E_SHAPE, "%s: expected [tokens, heads, dim] or [1, tokens, heads, dim], found %d axes%s",
                       path, t->n_dims, t->n_dims == 4 ? ", the first not 1" : "");
    }
    static const char *const names[] = { "tokens", "heads", "dims" };
    for (int i = 0; i < 3; i++) {
        uint64_t n = t->shape[skip + i];
        if (n == 0 || n > INT32_MAX) {
            return qk_fail(err, QK_E_SHAPE, "%s: expected 1 to %d %s, found %llu", path, INT32_MAX, names[i],
                           (unsigned long long)n);
        }
        axes[i] = (size_t)n;
    }
    return QK_OK;
}

/* map[heads][dims]: L2 norm over the tokens, squares summed in double. */
static qk_status norm_map(double *map, const qk_tensor *t, const size_t axes[3], const char *path, qk_error *err)
{
    size_t width = axes[1] * axes[2], row_bytes = width * qk_dtype_describe(t->dtype)->block_bytes;
    float *row = NULL;
    qk_status status = qk_new_floats(&row, width, "a row of the array", err);
    for (size_t token = 0; !status && token < axes[0]; token++) {
        qk_dtype_describe(t->dtype)->to_f32(row, t->data + token * row_bytes, width);
        for (size_t i = 0; i < width; i++) {
            map[i] += (double)row[i] * (double)row[i];
            if (isfinite(row[i])) continue;
            status = qk_fail(err, QK_E_NUMERIC, "%s: token %zu, head %zu, dim %zu: expected a finite value, found %g",
                             path, token, i / axes[2], i % axes[2], (double)row[i]);
            break;
        }
    }
    for (size_t i = 0; i < width; i++) map[i] = sqrt(map[i]);
    free(row);
    return status;
}

static qk_status count_file(qk_tally *tally, json_t *counts, size_t shape[3], const qk_captured *file, qk_error *err)
{
    opened array;
    double *map = NULL;
    qk_status status = open_array(&array, file->path, err);
    if (!status) status = check_array(shape, array.tensor, file->path, err);
    if (!status) status = qk_new_array(&map, shape[1] * shape[2], sizeof *map, "a norm map", err);
    if (!status) status = norm_map(map, array.tensor, shape, file->path, err);
    if (!status) status = qk_tally_declare(tally, file->tensor, (int)shape[1], (int)shape[2], err);
    if (!status) status = qk_tally_add(tally, counts, 0, 0, file->tensor, 0, map, err);
    free(map);
    close_array(&array);
    return status;
}

/* One pseudo-model and one document out of the shapes that were found; shapes[t][0] = 0 where t was not given. */
static qk_status describe(json_t *results, const size_t shapes[QK_N_TENSORS][3], qk_error *err)
{
    const size_t *q = shapes[QK_TENSOR_Q], *k = shapes[QK_TENSOR_K], *v = shapes[QK_TENSOR_V];
    const size_t *kv = k[0] ? k : v, *any = q[0] ? q : kv;
    qk_row model = qk_row_start(), document = qk_row_start();
    qk_row_text(&model, "name", "captured");
    qk_row_flag(&model, "captured", true);
    qk_row_count(&model, "layers", 1);
    qk_row_json(&model, "heads", q[0] ? json_integer((json_int_t)q[1]) : json_null());
    qk_row_json(&model, "kv_heads", kv[0] ? json_integer((json_int_t)kv[1]) : json_null());
    qk_row_count(&model, "head_dim", any[2]);
    qk_row_null(&model, "sha256");
    qk_row_text(&document, "id", "captured");
    qk_row_text(&document, "category", "");
    qk_row_count(&document, "tokens", any[0]);
    qk_row_count(&document, "cut", 0);
    qk_row_null(&document, "sha256");
    qk_row_null(&document, "repetitive");
    json_t *warnings = json_object_get(results, "warnings");
    qk_status status = qk_row_append(json_object_get(results, "models"), &model, err);
    json_t *row = qk_row_take(&document);
    if (status) json_decref(row);
    else status = qk_json_append(json_object_get(results, "documents"), row, err);
    if (!status) {
        status = qk_json_warn(warnings, err, "captured arrays: where in the model they were taken, before or after "
                              "rotation, is not known here");
    }
    if (!status) status = qk_json_warn(warnings, err, "a single document and layer: no spread can be given");
    for (int t = 0; !status && t < QK_N_TENSORS; t++) {
        if (!shapes[t][0] || shapes[t][0] == any[0]) continue;
        status = qk_json_warn(warnings, err, "%s has %zu tokens, the first array %zu: they are not of one text",
                              qk_tensor_letters[t], shapes[t][0], any[0]);
    }
    return status;
}

qk_status qk_study_massive_captured(json_t **results, const qk_captured *files, size_t n_files,
                                    const qk_massive_settings *settings, qk_error *err)
{
    size_t shapes[QK_N_TENSORS][3] = { { 0 } };
    qk_tally tally = { 0 };
    json_t *out = qk_massive_results(settings, "captured", NULL, 0);
    qk_status status = out ? QK_OK : qk_out_of_memory(err, "results", 0);
    if (!status && n_files == 0) status = qk_fail(err, QK_E_ARGUMENT, "--captured: expected q=FILE, k=FILE or v=FILE");
    if (!status) status = qk_tally_start(&tally, 1, 1, settings, err);
    for (size_t i = 0; !status && i < n_files; i++) {
        const char *letter = qk_tensor_letters[files[i].tensor];
        if (tally.tensors[files[i].tensor].present) {
            status = qk_fail(err, QK_E_ARGUMENT, "--captured %s=%s: a second %s", letter, files[i].path, letter);
        } else {
            status = count_file(&tally, json_object_get(out, "counts"), shapes[files[i].tensor], &files[i], err);
        }
    }
    if (!status) {
        qk_tally_finish(&tally);
        status = qk_tally_rows(out, &tally, 0, settings->africa, err);
    }
    if (!status) status = describe(out, shapes, err);
    if (!status) *results = json_incref(out);
    qk_tally_free(&tally);
    json_decref(out);
    return status;
}
