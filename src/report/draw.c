/* draw.c - which figures a study has, and what they share. */
#include "report/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/plot.h"
#include "report/track.h"

void qk_drawing_free(qk_drawing *drawing)
{
    for (size_t i = 0; i < drawing->n_figures; i++) qk_figure_free(drawing->figures[i]);
    for (size_t i = 0; i < drawing->n_notes; i++) free(drawing->notes[i]);
    *drawing = (qk_drawing){ 0 };
}

qk_figure *qk_drawing_add(qk_drawing *drawing, const char *name, const char *title)
{
    if (drawing->n_figures == QK_MAX_FIGURES) return NULL;
    qk_figure *figure = qk_figure_new(name, QK_FIGURE_WIDTH);
    if (!figure) return NULL;
    figure->title = qk_figure_text(figure, "%s", title);
    drawing->figures[drawing->n_figures++] = figure;
    return figure;
}

void qk_drawing_note(qk_drawing *drawing, const char *format, ...)
{
    char *text = NULL;
    va_list values;
    va_start(values, format);
    int n = vasprintf(&text, format, values);
    va_end(values);
    if (n >= 0 && drawing->n_notes < QK_MAX_NOTES)
        drawing->notes[drawing->n_notes++] = text;
    else if (n >= 0)
        free(text);
}

qk_status qk_draw_results(qk_drawing *drawing, const qk_results *results, qk_error *err)
{
    typedef qk_status (*draw)(qk_drawing *, const qk_results *, qk_error *);
    static const draw massive[] = { qk_draw_massive_totals, qk_draw_massive_layers, qk_draw_sweep, qk_draw_norm_maps,
                                    qk_draw_pair_norms, NULL };
    static const draw disrupt[] = { qk_draw_delta, qk_draw_perplexity, qk_draw_delta_documents, NULL };
    static const draw tasks[] = { qk_draw_kinds, qk_draw_accuracy, NULL };
    static const draw context[] = { qk_draw_context, qk_draw_context_broken, qk_draw_context_maps, NULL };
    static const draw training[] = { qk_draw_tracked_loss, qk_draw_tracked_counts, qk_draw_tracked_peaks,
                                     qk_draw_tracked_overlap, qk_draw_tracked_ablation, qk_draw_tracked_lengths,
                                     qk_draw_tracked_sinks, qk_draw_temperature, NULL };
    static const draw *const studies[QK_N_STUDIES] = { massive, disrupt, tasks, context, training, training };
    qk_status status = QK_OK;
    for (const draw *d = studies[results->study]; !status && *d; d++) status = (*d)(drawing, results, err);
    for (size_t i = 0; !status && i < drawing->n_figures; i++)
        if (drawing->figures[i]->out_of_memory) status = qk_out_of_memory(err, drawing->figures[i]->name, 0);
    return status;
}

double qk_draw_model_legend(qk_figure *figure, const qk_results *results, double left, double top, double width)
{
    const char *names[QK_REPORT_MODELS];
    if (results->n_models < 2) return 0;
    for (size_t m = 0; m < results->n_models; m++) names[m] = results->models[m].name;
    return qk_plot_legend(figure, left, top, width, names, qk_model_colours, results->n_models);
}

size_t qk_tensors_present(bool has[3], const qk_results *results)
{
    size_t n = 0;
    for (int t = 0; t < 3; t++) {
        has[t] = false;
        for (size_t m = 0; m < results->n_models; m++)
            has[t] = has[t] || qk_find_row(results, "summary", m, "tensor", qk_result_tensors[t]);
        n += has[t];
    }
    return n;
}

double qk_norm_map_at(const qk_norm_map *map, size_t head, size_t dim)
{
    float value;
    memcpy(&value, map->data + (head * map->head_dim + dim) * sizeof value, sizeof value);
    return value;
}

qk_status qk_norm_map_find(bool *found, qk_norm_map *map, const qk_results *results, size_t model, size_t layer,
                           int tensor, qk_error *err)
{
    char name[96];
    bool rotated = tensor < 2 && qk_field_is(results->settings, "site", "post");
    snprintf(name, sizeof name, "models.%zu.blocks.%zu.attn.hook_%s%s", model, layer, rotated ? "rot_" : "",
             qk_result_tensors[tensor]);
    const qk_tensor *array = results->arrays ? qk_ckpt_find(results->arrays, name) : NULL;
    *found = false;
    if (!array) return QK_OK;
    size_t n_heads = tensor == 0 ? results->models[model].n_heads : results->models[model].n_kv_heads;
    size_t head_dim = results->models[model].head_dim;
    if (array->dtype != QK_DTYPE_F32 || array->n_dims != 2 || array->shape[0] != n_heads || array->shape[1] != head_dim)
        return qk_fail(err, QK_E_SHAPE, "%s/arrays.safetensors: %s: expected F32 [%zu, %zu], found %s with %d dims",
                       results->folder, name, n_heads, head_dim, qk_dtype_describe(array->dtype)->name, array->n_dims);
    *map = (qk_norm_map){ array->data, n_heads, head_dim, 0 };
    for (size_t h = 0; h < n_heads; h++)
        for (size_t d = 0; d < head_dim; d++) map->mean += qk_norm_map_at(map, h, d) / (double)(n_heads * head_dim);
    *found = true;
    return QK_OK;
}
