/* visit.c - what happens at a site: edits, the check for non-finite values, probes; in this order. */
#include <math.h>

#include "pass/pass.h"

static bool probe_looks(const qk_probe *probe, qk_site site, int layer)
{
    bool all = probe->layer_from == 0 && probe->layer_to == 0;
    if (!(probe->sites & QK_AT(site))) return false;
    return !qk_site_describe(site)->per_layer || all || (layer >= probe->layer_from && layer < probe->layer_to);
}

bool qk_site_wanted(const qk_pass *pass, qk_site site, int layer)
{
    for (size_t i = 0; i < pass->spec->n_probes; i++)
        if (probe_looks(&pass->spec->probes[i], site, layer)) return true;
    return false;
}

size_t qk_segments_cut(qk_segment *parts, const qk_segment *segments, size_t n_segments, size_t row, size_t n_rows)
{
    size_t n = 0;
    for (size_t i = 0; i < n_segments; i++) {
        const qk_segment *s = &segments[i];
        size_t from = s->row > row ? s->row : row,
               to = s->row + s->n_rows < row + n_rows ? s->row + s->n_rows : row + n_rows;
        if (from >= to) continue;
        size_t skipped = from - s->row;
        parts[n] = *s;
        parts[n].x_row += skipped;
        parts[n].row = from;
        parts[n].n_rows = to - from;
        parts[n++].position0 += skipped;
    }
    return n;
}

/* Whom the representative stands for at this stage: itself and higher conditions of the group. */
static bool stands_for(const qk_pass *pass, int stage, size_t representative, size_t condition)
{
    return pass->standing[(size_t)stage * pass->spec->n_conditions + condition] == representative;
}

static int stage_at(const qk_pass *pass, qk_site site, int layer)
{
    if (site == QK_SITE_EMBED) return 0;
    return qk_site_describe(site)->per_layer ? layer : pass->config->n_layers;
}

/* The edit of condition `to` that matches item `index` of condition `from`: conditions of one class have equal edits
 * at a stage, in equal order (pass.c, same_edits), so it is the one with as many of that stage before it. */
static const qk_compiled_edit *twin_of(const qk_edit_table *t, size_t from, size_t index, size_t to)
{
    int stage = t->items[index].stage;
    size_t before = 0, j = t->first[to];
    for (size_t i = t->first[from]; i < index; i++) before += t->items[i].stage == stage;
    while (t->items[j].stage != stage || before-- > 0) j++;
    return &t->items[j];
}

static void add_receipt(qk_receipt *sum, const qk_receipt *more)
{
    sum->visited += more->visited;
    sum->changed += more->changed;
    sum->sum_abs += more->sum_abs;
    if (more->max_abs > sum->max_abs) sum->max_abs = more->max_abs;
}

static qk_status apply_edits(qk_pass *pass, qk_site site, int layer, float *x, size_t stride, const qk_segment *part,
                             qk_error *err)
{
    int stage = stage_at(pass, site, layer);
    const qk_edit_table *t = &pass->edits;
    size_t n_rows = part->n_rows;
    if (part->edit_end && part->edit_end <= part->position0) return QK_OK;
    if (part->edit_end && part->edit_end - part->position0 < n_rows) n_rows = part->edit_end - part->position0;
    for (size_t i = t->first[part->condition]; i < t->first[part->condition + 1]; i++) {
        const qk_compiled_edit *edit = &t->items[i];
        qk_receipt receipt = { 0 };
        if (edit->edit->site != site || edit->stage != stage) continue;
        qk_status status =
            qk_edit_apply(&receipt, edit, pass->config, x, stride, n_rows, part->position0, part->sequence, err);
        if (status) return status;
        for (size_t c = part->condition; c < pass->group.condition1; c++) {
            if (!stands_for(pass, stage, part->condition, c)) continue;
            qk_receipt *receipts = pass->result->receipts[part->sequence * pass->spec->n_conditions + c];
            add_receipt(&receipts[twin_of(t, part->condition, i, c)->index], &receipt);
        }
    }
    return QK_OK;
}

static qk_status locate(const qk_pass *pass, qk_site site, int layer, const float *x, size_t stride, size_t width,
                        const qk_segment *part, qk_error *err)
{
    char name[64];
    int head_dim = qk_site_heads(pass->config, site) ? pass->config->head_dim : 0;
    qk_site_name(name, site, layer);
    for (size_t i = 0; i < part->n_rows; i++)
        for (size_t d = 0; d < width; d++) {
            float value = x[i * stride + d];
            if (isfinite(value)) continue;
            size_t head = head_dim ? d / (size_t)head_dim : 0, dim = head_dim ? d % (size_t)head_dim : d;
            const char *condition = pass->spec->conditions[part->condition].name;
            return qk_fail(err, QK_E_NUMERIC,
                           "non-finite value at %s: document %zu, condition \"%s\", token %zu, head %zu, dim %zu: %g",
                           name, part->sequence, condition ? condition : "", part->position0 + i, head, dim,
                           (double)value);
        }
    return QK_OK;
}

/* Rows that are cheaper to check than threads to wake, in floats. */
#define SERIAL_BELOW 100000

/* All rows of the visit in one sweep; only where one is bad are the parts gone through in order, to name the first. */
static qk_status check_finite(const qk_pass *pass, qk_site site, int layer, const float *x, size_t stride, size_t width,
                              const qk_segment *parts, size_t n_parts, qk_error *err)
{
    size_t n_rows = parts[n_parts - 1].row + parts[n_parts - 1].n_rows - parts[0].row;
    bool bad = false;
#pragma omp parallel for reduction(|| : bad) num_threads(pass->layout.n_threads) if (n_rows * width > SERIAL_BELOW)
    for (size_t i = 0; i < n_rows; i++) bad = bad || !qk_all_finite(x + i * stride, width);
    qk_status status = QK_OK;
    for (size_t i = 0; i < n_parts && bad && !status; i++)
        status = locate(pass, site, layer, x + (parts[i].row - parts[0].row) * stride, stride, width, &parts[i], err);
    return status;
}

qk_status qk_probes_show(const qk_pass *pass, qk_site site, int layer, int head, const float *x, size_t stride,
                         size_t width, const qk_segment *part, qk_error *err)
{
    int stage = stage_at(pass, site, layer);
    for (size_t i = 0; i < pass->spec->n_probes; i++) {
        const qk_probe *probe = &pass->spec->probes[i];
        if (!probe_looks(probe, site, layer)) continue;
        for (size_t c = part->condition; c < pass->group.condition1; c++) {
            if (!stands_for(pass, stage, part->condition, c)) continue;
            qk_view view = { .site = site,
                             .layer = qk_site_describe(site)->per_layer ? layer : -1,
                             .sequence = part->sequence,
                             .condition = c,
                             .head = head,
                             .row0 = part->position0,
                             .n_rows = part->n_rows,
                             .width = width,
                             .stride = stride,
                             .x = x };
            qk_status status = probe->see(probe->user, &view, err);
            if (status) return status;
        }
    }
    return QK_OK;
}

qk_status qk_site_visit(qk_pass *pass, qk_site site, int layer, float *x, size_t stride, const qk_segment *parts,
                        size_t n_parts, qk_error *err)
{
    size_t width = qk_site_width(pass->config, site);
    qk_status status = QK_OK;
    for (size_t i = 0; i < n_parts && !status; i++)
        status = apply_edits(pass, site, layer, x + (parts[i].row - parts[0].row) * stride, stride, &parts[i], err);
    if (!status) status = check_finite(pass, site, layer, x, stride, width, parts, n_parts, err);
    for (size_t i = 0; i < n_parts && !status; i++)
        status = qk_probes_show(pass, site, layer, -1, x + (parts[i].row - parts[0].row) * stride, stride, width,
                                &parts[i], err);
    return status;
}
