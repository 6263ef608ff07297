/* build.c - a run folder in, its tables, figures and page out. */
#include <dirent.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "report/csv.h"
#include "report/draw.h"
#include "report/html.h"
#include "report/merge.h"
#include "report/report.h"
#include "report/sweep.h"

enum { MAX_PARTS = 16 };

static void free_part(qk_part *part)
{
    for (size_t i = 0; i < part->drawing.n_figures; i++) free(part->svg[i]);
    qk_drawing_free(&part->drawing);
    qk_results_close(part->results);
    free((char *)(uintptr_t)part->folder);
    *part = (qk_part){ 0 };
}

/* ---- figures */

static qk_status draw_svg(char **svg, const qk_figure *figure, qk_error *err)
{
    size_t n_bytes = 0;
    FILE *stream = open_memstream(svg, &n_bytes);
    if (!stream) return qk_out_of_memory(err, figure->name, 0);
    qk_status status = qk_svg_write(stream, figure, false, err);
    if (fclose(stream) != 0 && !status) status = qk_out_of_memory(err, figure->name, n_bytes);
    return status;
}

static qk_status write_svg(const char *path, const char *svg, qk_error *err)
{
    qk_output out;
    qk_status status = qk_output_open(&out, path, err);
    if (status) return status;
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", out.stream);
    fputs(svg, out.stream);
    return qk_output_commit(&out, err);
}

/* One figure in the forms that are wanted; base is its path without an ending. */
static qk_status write_figure(const char *base, const qk_figure *figure, const char *svg, const char *date,
                              const qk_report_options *options, qk_error *err)
{
    size_t n = strlen(base) + 5;
    char *path = malloc(n);
    if (!path) return qk_out_of_memory(err, base, n);
    snprintf(path, n, "%s.svg", base);
    qk_status status = write_svg(path, svg, err);
    snprintf(path, n, "%s.png", base);
    if (!status && options->png) status = qk_png_write(path, figure, err);
    snprintf(path, n, "%s.pdf", base);
    if (!status && options->pdf) status = qk_pdf_write(path, figure, date, err);
    free(path);
    return status;
}

static qk_status write_figures(qk_part *part, const qk_report_options *options, qk_error *err)
{
    const char *finished = qk_field_text(part->results->manifest, "finished");
    char *folder = qk_path_join(part->results->folder, "figures");
    if (!folder) return qk_out_of_memory(err, "figures", 0);
    qk_status status = qk_make_folders(folder, err);
    for (size_t i = 0; !status && i < part->drawing.n_figures; i++) {
        const qk_figure *figure = part->drawing.figures[i];
        char *base = qk_path_join(folder, figure->name);
        status = base ? draw_svg(&part->svg[i], figure, err) : qk_out_of_memory(err, figure->name, 0);
        if (!status)
            status =
                write_figure(base, figure, part->svg[i], *finished ? finished : "1970-01-01T00:00:00Z", options, err);
        free(base);
    }
    free(folder);
    return status;
}

/* ---- one run */

static qk_status write_page(const char *folder, const qk_part *parts, size_t n_parts, qk_error *err)
{
    char *path = qk_path_join(folder, "report.html");
    if (!path) return qk_out_of_memory(err, "report.html", 0);
    qk_status status = qk_html_write(path, parts, n_parts, err);
    free(path);
    return status;
}

/* Everything of the run at `folder`; `part` is kept for a page above it, where it is called `name`. */
static qk_status build_run(qk_part *part, const char *folder, const char *name, const qk_report_options *options,
                           qk_error *err)
{
    char *own = strdup(""), *above = strdup(name);
    qk_status status = own && above ? qk_results_open(&part->results, folder, err) : qk_out_of_memory(err, folder, 0);
    part->folder = own;
    qk_sweep_leftovers(folder);
    if (!status) status = qk_draw_results(&part->drawing, part->results, err);
    if (!status) status = qk_csv_write(part->results, err);
    if (!status) status = write_figures(part, options, err);
    if (!status) status = write_page(folder, part, 1, err);
    if (own && above) {
        free(own);
        part->folder = above;
    } else {
        free(above);
    }
    return status;
}

/* ---- several runs in one folder */

static qk_status holds_results(bool *holds, const char *folder, qk_error *err)
{
    char *path = qk_path_join(folder, "results.json");
    if (!path) return qk_out_of_memory(err, folder, 0);
    *holds = qk_path_exists(path);
    free(path);
    return QK_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names of the subfolders with results.json, sorted; each malloc'ed. */
static qk_status list_runs(char *names[MAX_PARTS], size_t *n_names, const char *folder, qk_error *err)
{
    qk_status status = QK_OK;
    size_t n = 0;
    DIR *files = opendir(folder);
    if (!files) return qk_fail(err, QK_E_IO, "%s: %s", folder, strerror(errno));
    for (const struct dirent *file; !status && (file = readdir(files));) {
        bool run = false;
        if (*file->d_name == '.') continue;
        char *path = qk_path_join(folder, file->d_name);
        status = path ? holds_results(&run, path, err) : qk_out_of_memory(err, folder, 0);
        free(path);
        if (!run) continue;
        if (n == MAX_PARTS)
            status = qk_fail(err, QK_E_UNSUPPORTED, "%s: expected at most %d runs in one report, found more", folder,
                             MAX_PARTS);
        else if (!(names[n] = strdup(file->d_name)))
            status = qk_out_of_memory(err, folder, 0);
        else
            n++;
    }
    closedir(files);
    qsort(names, n, sizeof names[0], by_name);
    *n_names = n;
    if (!status && n == 0)
        status = qk_fail(err, QK_E_ARGUMENT, "%s: expected results.json here or in a subfolder, found neither", folder);
    return status;
}

/* A control stands behind what it controls. */
static bool is_control(const qk_results *results)
{
    return results->n_arms > 0 && strcmp(results->arms[0].kind, "control") == 0;
}

static int by_study(const void *a, const void *b)
{
    const qk_part *p = a, *q = b;
    if (p->results->study != q->results->study) return p->results->study < q->results->study ? -1 : 1;
    if (is_control(p->results) != is_control(q->results)) return is_control(p->results) ? 1 : -1;
    return strcmp(p->folder, q->folder);
}

/* Tables and figures of `n` training runs together, into `folder`; their page is the caller's. */
static qk_status build_together(qk_part *out, qk_part *runs, size_t n, const char *folder,
                                const qk_report_options *options, qk_error *err)
{
    const qk_results *results[MAX_PARTS];
    const char *names[MAX_PARTS];
    char why[200] = "";
    for (size_t i = 0; i < n; i++) results[i] = runs[i].results, names[i] = runs[i].folder;
    qk_status status = qk_results_merge(&out->results, why, results, names, n, folder, err);
    if (status) return status;
    if (!out->results) {
        qk_drawing_note(&runs[0].drawing, "%s", why);
        return QK_OK;
    }
    out->folder = strdup("");
    for (size_t i = 0; i < n; i++) out->members[out->n_members++] = &runs[i];
    status = out->folder ? qk_draw_results(&out->drawing, out->results, err) : qk_out_of_memory(err, folder, 0);
    if (!status) status = qk_csv_write(out->results, err);
    if (!status) status = write_figures(out, options, err);
    return status;
}

/* The page of all runs: parts are sorted by study; training runs of one study that can be compared become one part. */
static qk_status build_page(const char *folder, qk_part *parts, size_t n, const qk_report_options *options,
                            qk_error *err)
{
    qk_part shown[MAX_PARTS] = { { 0 } }, together[QK_N_STUDIES] = { { 0 } };
    size_t n_shown = 0;
    qk_status status = QK_OK;
    for (size_t i = 0, end; !status && i < n; i = end) {
        qk_study_kind study = parts[i].results->study;
        for (end = i + 1; end < n && parts[end].results->study == study;) end++;
        qk_part *merged = &together[study];
        if (end - i > 1 && parts[i].results->n_arms)
            status = build_together(merged, &parts[i], end - i, folder, options, err);
        if (merged->results) shown[n_shown++] = *merged;
        for (size_t k = i; !merged->results && k < end; k++) shown[n_shown++] = parts[k];
    }
    if (!status) status = write_page(folder, shown, n_shown, err);
    for (size_t s = 0; s < QK_N_STUDIES; s++) free_part(&together[s]);
    return status;
}

static qk_status build_runs(const char *folder, const qk_report_options *options, qk_error *err)
{
    char *names[MAX_PARTS] = { NULL };
    qk_part parts[MAX_PARTS] = { { 0 } };
    size_t n = 0, n_built = 0;
    qk_status status = list_runs(names, &n, folder, err);
    for (; !status && n_built < n; n_built++) {
        char *path = qk_path_join(folder, names[n_built]);
        status =
            path ? build_run(&parts[n_built], path, names[n_built], options, err) : qk_out_of_memory(err, folder, 0);
        free(path);
    }
    if (!status) {
        qsort(parts, n, sizeof parts[0], by_study);
        status = build_page(folder, parts, n, options, err);
    }
    for (size_t i = 0; i < n_built; i++) free_part(&parts[i]);
    for (size_t i = 0; i < n; i++) free(names[i]);
    return status;
}

qk_status qk_report_build(const char *folder, const qk_report_options *options, qk_error *err)
{
    static const qk_report_options none = { false, false };
    qk_part part = { 0 };
    bool single = false;
    if (!options) options = &none;
    if (!qk_path_is_folder(folder)) return qk_fail(err, QK_E_IO, "%s: expected a run folder, found none", folder);
    /* Numbers are printed with a point whatever the host program's locale; only this thread is switched. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) return qk_out_of_memory(err, "a locale", 0);
    locale_t before = uselocale(plain);
    qk_status status = holds_results(&single, folder, err);
    if (!status) status = single ? build_run(&part, folder, "", options, err) : build_runs(folder, options, err);
    free_part(&part);
    uselocale(before);
    freelocale(plain);
    return status;
}
