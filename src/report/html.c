/* html.c - the page: what was asked, what was run, what came out, what it means, where it is from. */
#include "report/html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const qk_study_page *const pages[QK_N_STUDIES] = { &qk_massive_page, &qk_disrupt_page, &qk_tasks_page,
                                                           &qk_context_page,
                                                           &qk_train_page, &qk_recalibrate_page };
static const qk_study_page *page_of(const qk_part *part) { return pages[part->results->study]; }

/* A link below the part's folder. */
static void put_link(FILE *stream, const qk_part *part, const char *folder, const char *name, const char *ending,
                     const char *label)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    fputs("<a href=\"", stream);
    for (const char *p = part->folder; *p; p++)
        fprintf(stream, strchr(plain, *p) ? "%c" : "%%%02X", (unsigned char)*p);
    qk_html(stream, "%s%s%s%s\">%s</a>", *part->folder ? "/" : "", folder, name, ending, label);
}

/* ---- sections */

static void put_warnings(FILE *stream, const qk_part *part)
{
    const json_t *warnings = part->results->warnings;
    if (json_array_size(warnings) == 0) return;
    fputs("<div class=\"warn\" role=\"note\"><b>Before you use these numbers</b><ul>\n", stream);
    for (size_t i = 0; i < json_array_size(warnings); i++)
        qk_html(stream, "<li>%s</li>\n", json_string_value(json_array_get(warnings, i)));
    fputs("</ul></div>\n", stream);
}

static void put_settings(FILE *stream, const qk_results *results)
{
    const char *key;
    json_t *value;
    fputs("<dl>\n", stream);
    json_object_foreach((json_t *)(uintptr_t)results->settings, key, value) {
        char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
        qk_html(stream, "<dt>%s</dt><dd>%s</dd>\n", key,
                text                       ? text
                : json_string_value(value) ? json_string_value(value)
                                           : "?");
        free(text);
    }
    fputs("</dl>\n", stream);
}

static void put_what_was_run(FILE *stream, const qk_results *results)
{
    static const qk_html_column models[] = {
        { "model", "name", QK_CELL_TEXT, NULL },
        { "type", "model_type", QK_CELL_TEXT, NULL },
        { "attention", "attention_type", QK_CELL_TEXT, NULL },
        { "layers", "layers", QK_CELL_NUMBER, NULL },
        { "heads", "heads", QK_CELL_NUMBER, NULL },
        { "key heads", "kv_heads", QK_CELL_NUMBER, NULL },
        { "dims a head", "head_dim", QK_CELL_NUMBER, NULL },
        { "context", "context", QK_CELL_NUMBER, "trained context, tokens" },
        { "rotation", "rope", QK_CELL_TEXT, NULL },
        { "base", "rope_theta", QK_CELL_NUMBER, "theta" },
        { "parameters", "parameters", QK_CELL_NUMBER, NULL },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column documents[] = {
        { "document", "id", QK_CELL_TEXT, NULL },
        { "category", "category", QK_CELL_TEXT, NULL },
        { "tokens", "tokens", QK_CELL_NUMBER, NULL },
        { "cut off", "cut", QK_CELL_TEXT, "tokens beyond the context that were left out" },
        { "repeats itself", "repetitive", QK_CELL_YES, NULL },
        { NULL, NULL, 0, NULL },
    };
    double n_tokens = 0;
    size_t n_repetitive = 0;
    for (size_t d = 0; d < results->n_documents; d++) {
        const json_t *document = json_array_get(results->documents, d);
        n_tokens += qk_field_number(document, "tokens");
        n_repetitive += json_is_true(json_object_get(document, "repetitive"));
    }
    qk_html_table(stream, results, "Models", json_object_get(results->root, "models"), NULL, models);
    qk_html_quantized(stream, results);
    if (results->n_documents == 0) { /* a study of questions has none, nor has training without a tracker */
        fputs("<details><summary>Settings</summary>\n", stream);
        put_settings(stream, results);
        fputs("</details>\n", stream);
        return;
    }
    qk_html(stream, "<p>%zu document%s, %g tokens", results->n_documents, results->n_documents == 1 ? "" : "s",
            n_tokens);
    if (n_repetitive)
        qk_html(stream, "; %zu of them repeat themselves, which makes their text easy to predict", n_repetitive);
    fputs(".</p>\n<details><summary>Documents</summary>\n", stream);
    qk_html_table(stream, results, "Documents", results->documents, NULL, documents);
    fputs("</details>\n<details><summary>Settings</summary>\n", stream);
    put_settings(stream, results);
    fputs("</details>\n", stream);
}

static void put_figures(FILE *stream, const qk_part *part)
{
    for (size_t i = 0; i < part->drawing.n_figures; i++) {
        const qk_figure *figure = part->drawing.figures[i];
        qk_html(stream, "<figure>\n<h3>%s</h3>\n", figure->title);
        fputs(part->svg[i], stream);
        qk_html(stream, "<figcaption>%s ", figure->description);
        put_link(stream, part, "figures/", figure->name, ".svg", "SVG");
        fputs("</figcaption>\n</figure>\n", stream);
    }
    for (size_t i = 0; i < part->drawing.n_notes; i++)
        qk_html(stream, "<p class=\"small\">%s</p>\n", part->drawing.notes[i]);
}

static void put_part(FILE *stream, const qk_part *part, size_t index)
{
    const qk_study_page *page = page_of(part);
    const qk_results *results = part->results;
    fprintf(stream, "<section id=\"part-%zu\">\n", index);
    qk_html(stream, "<h2>%s</h2>\n", page->title);
    put_warnings(stream, part);
    fputs("<h3>The question</h3>\n", stream);
    page->question(stream, results);
    fputs("<h3>In short</h3>\n<ul>\n", stream);
    page->findings(stream, results);
    fputs("</ul>\n<h3>What was run</h3>\n", stream);
    put_what_was_run(stream, results);
    put_figures(stream, part);
    fputs("<h3>Numbers</h3>\n", stream);
    page->tables(stream, results);
    fputs("<p class=\"small\">Every number is in ", stream);
    if (part->n_members == 0) put_link(stream, part, "", "results", ".json", "results.json");
    for (size_t i = 0; i < part->n_members; i++) {
        fputs(i == 0 ? "" : i + 1 == part->n_members ? " and " : ", ", stream);
        put_link(stream, part->members[i], "", "results", ".json", "results.json");
        qk_html(stream, " of %s (", part->members[i]->folder);
        put_link(stream, part->members[i], "", "report", ".html", "its own report");
        fputc(')', stream);
    }
    fputs("; one CSV file a figure lies beside it. \u2013 is a number that could not be computed.</p>\n", stream);
    fputs("<h3>What these numbers do and do not show</h3>\n<ul>\n", stream);
    page->limits(stream, results);
    fputs("</ul>\n", stream);
    page->naive(stream, results);
    fputs("<h3>Where these numbers come from</h3>\n", stream);
    if (part->n_members == 0) qk_html_provenance(stream, results);
    for (size_t i = 0; i < part->n_members; i++) {
        qk_html(stream, "<h4>%s</h4>\n", part->members[i]->folder);
        qk_html_provenance(stream, part->members[i]->results);
    }
    fprintf(stream, "<p id=\"save-data-%zu\"></p>\n</section>\n", index);
}

/* ---- the page */

/* The script's hash in the policy lets this script run and no other, whatever a file's text contains. */
static void put_policy(FILE *stream)
{
    qk_sha256 hash;
    char hex[65];
    uint8_t digest[32];
    unsigned byte;
    qk_sha256_start(&hash);
    qk_sha256_add(&hash, qk_html_script, strlen(qk_html_script));
    qk_sha256_hex(hex, &hash);
    for (int i = 0; i < 32; i++) {
        sscanf(hex + 2 * i, "%2x", &byte);
        digest[i] = (uint8_t)byte;
    }
    fputs("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
          "img-src data:; script-src 'sha256-",
          stream);
    qk_write_base64(stream, digest, sizeof digest);
    fputs("'\">\n", stream);
}

static void put_title(FILE *stream, const qk_part *parts)
{
    const qk_results *first = parts[0].results;
    fputs("Massive values: ", stream);
    for (size_t m = 0; m < first->n_models; m++) qk_html(stream, "%s%s", m ? ", " : "", first->models[m].name);
}

static void put_page(FILE *stream, const qk_part *parts, size_t n_parts)
{
    fputs("<!DOCTYPE html>\n"
          "<html lang=\"en\">\n"
          "<head>\n"
          "<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n", stream);
    put_policy(stream);
    fputs("<title>", stream);
    put_title(stream, parts);
    qk_html(stream, "</title>\n<meta name=\"generator\" content=\"qkscope %s\">\n<style>\n", qk_version());
    fputs(qk_html_style, stream);
    fputs("</style>\n</head>\n<body>\n<header>\n<h1>", stream);
    put_title(stream, parts);
    fputs("</h1>\n", stream);
    if (n_parts > 1) {
        fputs("<nav>", stream);
        if (qk_html_has_answer(parts, n_parts)) fputs("<a href=\"#answer\">In one answer</a>", stream);
        for (size_t i = 0; i < n_parts; i++) {
            fprintf(stream, "<a href=\"#part-%zu\">", i);
            qk_html(stream, "%s</a>", page_of(&parts[i])->title);
        }
        fputs("</nav>\n", stream);
    }
    fputs("</header>\n<main>\n", stream);
    if (qk_html_has_answer(parts, n_parts)) qk_html_answer(stream, parts, n_parts);
    for (size_t i = 0; i < n_parts; i++) put_part(stream, &parts[i], i);
    fputs("</main>\n<footer class=\"small\"><p>", stream);
    qk_html(stream, "Made by qkscope %s. This file needs no network and no scripts.</p></footer>\n", qk_version());
    for (size_t i = 0; i < n_parts; i++) qk_html_data(stream, &parts[i], i);
    fputs("<script>", stream);
    fputs(qk_html_script, stream);
    fputs("</script>\n</body>\n</html>\n", stream);
}

qk_status qk_html_write(const char *path, const qk_part *parts, size_t n_parts, qk_error *err)
{
    qk_output out;
    qk_status status = qk_output_open(&out, path, err);
    if (status) return status;
    put_page(out.stream, parts, n_parts);
    return qk_output_commit(&out, err);
}
