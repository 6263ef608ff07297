/* html_assets.c - the page's style, its small script, and the data inside it. */
#include <stdlib.h>
#include <string.h>

#include "report/html.h"

enum { MAX_EMBEDDED = 16 * 1024 * 1024 /* bytes of JSON in the page; above, the raw rows stay in the CSV files */ };

const char qk_html_style[] =
    ":root{color-scheme:light}\n"
    "body{font:16px/1.5 system-ui,-apple-system,'Segoe "
    "UI',Roboto,Helvetica,Arial,sans-serif;color:#222;background:#fff;"
    "margin:0 auto;padding:1.5rem 1.25rem 4rem;max-width:64rem}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.3rem;margin:2.4rem 0 .6rem;padding-top:.8rem;"
    "border-top:1px solid #ddd}h3{font-size:1.05rem;margin:1.6rem 0 .4rem}\n"
    "p,li{max-width:46rem}li{margin:.3rem 0}.small,figcaption,caption{font-size:.85rem;color:#555}\n"
    ".warn{background:#fff6e5;border-left:4px solid #e69f00;padding:.5rem 1rem;margin:1rem 0}.warn ul{margin:.3rem 0}\n"
    "figure{margin:1.4rem 0}figure "
    "svg{max-width:100%;height:auto;display:block}figcaption{max-width:46rem;margin-top:.3rem}\n"
    ".scroll{overflow-x:auto;margin:1rem "
    "0}table{border-collapse:collapse;font-size:.85rem}caption{text-align:left;padding:.2rem 0;"
    "font-weight:600}\n"
    "th,td{padding:.22rem .6rem;text-align:left;border-bottom:1px solid "
    "#e6e6e6;vertical-align:top;white-space:nowrap}td.w{white-space:normal;min-width:14rem}th{border-bottom:1.5px "
    "solid #888}"
    "\n"
    ".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.by-script "
    "th[aria-sort]{background:#eef4fa}"
    ".by-script thead th{cursor:pointer}\n"
    "code,pre{font:.85em/1.45 ui-monospace,'SF "
    "Mono',Menlo,Consolas,monospace;overflow-wrap:anywhere;white-space:pre-wrap}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;font-size:.9rem}dt{color:#555}dd{margin:0;"
    "overflow-wrap:anywhere}\n"
    "summary{cursor:pointer;margin:.6rem 0}nav "
    "a{margin-right:1.2rem}a{color:#0060a0}button{font:inherit;font-size:.85rem}\n"
    "@media print{body{max-width:none;padding:0;font-size:10.5pt}h2{break-after:avoid}figure,tr{break-inside:avoid}"
    "details>*{display:block}button,nav{display:none}.scroll{overflow:visible}}\n";

/* Sorts a table by the column whose heading is clicked, offers the data inside the page as a file.  Without it the page
 * reads the same. */
const char qk_html_script[] =
    "document.documentElement.classList.add('by-script');\n"
    "document.querySelectorAll('table.sortable').forEach(function(table){\n"
    " var body=table.tBodies[0],heads=Array.from(table.tHead.rows[0].cells);\n"
    " heads.forEach(function(head,column){\n"
    "  head.tabIndex=0;\n"
    "  function sort(){\n"
    "   var down=head.getAttribute('aria-sort')==='ascending',rows=Array.from(body.rows);\n"
    "   function key(row){var cell=row.cells[column],v=cell.dataset.v;return "
    "v===undefined?cell.textContent:Number(v);}\n"
    "   rows.sort(function(a,b){var x=key(a),y=key(b),n=typeof x==='number',m=typeof y==='number';\n"
    "    if(n!==m)return n?-1:1;\n"
    "    var order=n?x-y:x.localeCompare(y,undefined,{numeric:true});return down?-order:order;});\n"
    "   heads.forEach(function(h){h.removeAttribute('aria-sort');});\n"
    "   head.setAttribute('aria-sort',down?'descending':'ascending');\n"
    "   rows.forEach(function(row){body.appendChild(row);});\n"
    "  }\n"
    "  head.addEventListener('click',sort);\n"
    "  head.addEventListener('keydown',function(e){if(e.key==='Enter'||e.key===' '){e.preventDefault();sort();}});\n"
    " });\n"
    "});\n"
    "document.querySelectorAll('script[type=\"application/json\"]').forEach(function(data){\n"
    " var place=document.getElementById('save-'+data.id),button=document.createElement('button');\n"
    " if(!place)return;\n"
    " button.textContent='Save these data as JSON';\n"
    " button.addEventListener('click',function(){var a=document.createElement('a');\n"
    "  a.href=URL.createObjectURL(new "
    "Blob([data.textContent],{type:'application/json'}));a.download=data.id+'.json';a.click();});\n"
    " place.appendChild(button);\n"
    "});\n";

/* JSON inside <script>: '<' occurs only within strings, where \u003c says the same and cannot end the element. */
static void put_json(FILE *stream, const char *text)
{
    for (; *text; text++)
        if (*text == '<')
            fputs("\\u003c", stream);
        else
            fputc(*text, stream);
}

void qk_html_data(FILE *stream, const qk_part *part, size_t index)
{
    static const char *const raw[] = { "counts", "scores", "pair_norms", "log", "track" };
    const json_t *root = part->results->root;
    json_t *smaller = NULL;
    char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (text && strlen(text) > MAX_EMBEDDED && (smaller = json_copy((json_t *)(uintptr_t)root))) {
        for (size_t i = 0; i < sizeof raw / sizeof raw[0]; i++) json_object_del(smaller, raw[i]);
        free(text);
        text = json_dumps(smaller, JSON_COMPACT | JSON_REAL_PRECISION(17));
        fputs("<!-- large: the raw rows (counts, scores, pair_norms, log, track) are in results.json and the CSV files "
              "only -->\n",
              stream);
    }
    fprintf(stream, "<script type=\"application/json\" id=\"data-%zu\">", index);
    put_json(stream, text ? text : "null");
    fputs("</script>\n", stream);
    json_decref(smaller);
    free(text);
}

/* ---- where the numbers come from */

static void put_value(FILE *stream, const json_t *value)
{
    char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
    qk_html(stream, "%s", text ? text : json_is_string(value) ? json_string_value(value) : "?");
    free(text);
}

/* An object in one line: "compiler gcc 12.2.0; flags -O3". */
static void put_entry(FILE *stream, const char *name, const json_t *value)
{
    const char *key, *semicolon = "";
    json_t *field;
    if (!value || json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0)) return;
    qk_html(stream, "<dt>%s</dt><dd>", name);
    json_object_foreach((json_t *)(uintptr_t)value, key, field) {
        qk_html(stream, "%s%s ", semicolon, key);
        put_value(stream, field);
        semicolon = "; ";
    }
    if (!json_is_object(value)) put_value(stream, value);
    fputs("</dd>\n", stream);
}

/* The command as a shell would take it: words with anything unusual in quotes. */
static void put_command(FILE *stream, const json_t *command)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./=,:@+%";
    if (json_array_size(command) == 0) return;
    fputs("<dt>command</dt><dd><code>", stream);
    for (size_t i = 0; i < json_array_size(command); i++) {
        const char *word = json_string_value(json_array_get(command, i));
        if (!word) continue;
        if (i) fputc(' ', stream);
        if (*word && !word[strspn(word, plain)]) {
            qk_html(stream, "%s", word);
            continue;
        }
        fputs("&#39;", stream);
        for (const char *end; (end = strchr(word, '\'')); word = end + 1) {
            char *part = strndup(word, (size_t)(end - word));
            qk_html(stream, "%s'\\''", part ? part : "?");
            free(part);
        }
        qk_html(stream, "%s'", word);
    }
    fputs("</code></dd>\n", stream);
}

static void put_hashes(FILE *stream, const char *what, const json_t *rows, const char *name)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        qk_html(stream, "<dt>%s</dt><dd>%s", what, qk_field_text(row, name));
        if (*qk_field_text(row, "sha256")) qk_html(stream, " <code>sha256 %s</code>", qk_field_text(row, "sha256"));
        if (*qk_field_text(row, "tokenizer_sha256"))
            qk_html(stream, " <code>tokenizer %s</code>", qk_field_text(row, "tokenizer_sha256"));
        fputs("</dd>\n", stream);
    }
}

void qk_html_provenance(FILE *stream, const qk_results *results)
{
    static const char *const entries[][2] = {
        { "version", "version" }, { "build", "build" },       { "machine", "machine" },   { "threads", "threads" },
        { "precision", "precision" }, { "seeds", "seeds" },   { "started", "started" },   { "finished", "finished" },
        { "seconds", "seconds" }, { "peak memory, bytes", "peak_memory_bytes" },
    };
    const json_t *manifest = results->manifest, *models = json_object_get(manifest, "models");
    fputs("<dl>\n", stream);
    if (!manifest)
        fputs("<dt>manifest.json</dt><dd>not there: how these numbers were made is not recorded</dd>\n", stream);
    put_command(stream, json_object_get(manifest, "command"));
    put_hashes(stream, "model", models ? models : json_object_get(results->root, "models"), models ? "path" : "name");
    put_hashes(stream, "documents", json_object_get(manifest, "data"), "path");
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        put_entry(stream, entries[i][0], json_object_get(manifest, entries[i][1]));
    qk_html(stream, "<dt>results.json</dt><dd><code>sha256 %s</code></dd>\n</dl>\n", results->sha256);
}
