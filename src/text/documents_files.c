/* documents_files.c - documents from .txt and .jsonl files and folders of them. */
#include "text/documents_set.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the readers share while a set is loaded. */
typedef struct document_loader {
    qk_document_set set;
    const char *split;
    size_t n_split;
    qk_arena names; /* paths of files found in folders: places point at them */
} document_loader;

typedef qk_status reader(document_loader *loader, const char *path, const qk_map *file, qk_error *err);
static reader read_text, read_lines;

static const struct {
    const char *ending;
    reader *read;
} kinds[] = { { ".txt", read_text }, { ".jsonl", read_lines } };

static reader *reader_of(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n_ending = strlen(kinds[i].ending);
        if (n > n_ending && strcmp(path + n - n_ending, kinds[i].ending) == 0) return kinds[i].read;
    }
    return NULL;
}

/* ---- .txt */

static qk_status add_numbered(document_loader *loader, qk_document_source source, const char *path, size_t number,
                              qk_error *err)
{
    size_t capacity = strlen(path) + 24;
    char *id = malloc(capacity);
    if (!id) return qk_out_of_memory(err, "document id", capacity);
    snprintf(id, capacity, "%s#%zu", qk_file_name(path), number);
    source.id = id;
    qk_status status = qk_document_set_add(&loader->set, source, err);
    free(id);
    return status;
}

static qk_status read_whole(document_loader *loader, const char *path, const qk_map *file, qk_error *err)
{
    size_t from = qk_text_start(file), n_bytes = file->size - from;
    qk_status status = qk_text_check(path, file, from, n_bytes, err);
    if (status) return status;
    return qk_document_set_add(
        &loader->set,
        (qk_document_source){ qk_file_name(path), NULL, (const char *)file->data + from, n_bytes, { path, 1 } }, err);
}

/* Pieces between separators.  An empty piece is only refused once text follows it: at the ends it is what a leading or
 * a trailing separator leaves. */
static qk_status read_text(document_loader *loader, const char *path, const qk_map *file, qk_error *err)
{
    if (!loader->split) return read_whole(loader, path, file, err);
    size_t n_found = 0, from = qk_text_start(file), line = 1, line_at = 0, empty_line = 0;
    for (bool last = false; !last && !qk_document_set_full(&loader->set);) {
        const uint8_t *end = memmem(file->data + from, file->size - from, loader->split, loader->n_split);
        last = end == NULL;
        size_t n_bytes = last ? file->size - from : (size_t)(end - file->data) - from;
        qk_status status = qk_text_check(path, file, from, n_bytes, err);
        if (status) return status;
        size_t n_text = n_bytes;
        const char *text = qk_strip((const char *)file->data + from, &n_text);
        qk_map rest = { file->data + line_at, file->size - line_at };
        size_t at = n_text ? (size_t)((const uint8_t *)text - file->data) : from;
        line += qk_line_of(&rest, at - line_at) - 1;
        line_at = at;
        if (n_text == 0) {
            if (n_found > 0 && empty_line == 0) empty_line = line;
        } else if (empty_line > 0) {
            return qk_fail(err, QK_E_FORMAT, "%s:%zu: expected text between two separators, found none", path,
                           empty_line);
        } else {
            qk_document_source source = { NULL, NULL, text, n_text, { path, line } };
            status = add_numbered(loader, source, path, ++n_found, err);
            if (status) return status;
        }
        from += n_bytes + loader->n_split;
    }
    if (n_found == 0)
        return qk_fail(err, QK_E_FORMAT, "%s:1: expected text between separators, found none in %zu bytes", path,
                       file->size);
    return QK_OK;
}

/* ---- .jsonl */

static qk_status add_object(void *user, const json_t *object, qk_place place, bool *enough, qk_error *err)
{
    document_loader *loader = user;
    qk_document_source source = { .place = place };
    char digits[24];
    size_t n_category;
    qk_status status = qk_json_member(&source.text, &source.n_bytes, object, "text", false, place, err);
    if (!status) status = qk_json_member(&source.category, &n_category, object, "category", true, place, err);
    if (!status) status = qk_json_id(&source.id, digits, object, place, err);
    if (status) return status;
    if (source.id)
        status = qk_document_set_add(&loader->set, source, err);
    else
        status = add_numbered(loader, source, place.path, place.line, err);
    *enough = qk_document_set_full(&loader->set);
    return status;
}

static qk_status read_lines(document_loader *loader, const char *path, const qk_map *file, qk_error *err)
{
    return qk_json_lines(path, file, add_object, loader, err);
}

/* ---- files and folders */

static qk_status load_file(document_loader *loader, const char *path, qk_error *err)
{
    qk_map file;
    qk_status status = qk_map_open(&file, path, err);
    if (status) return status;
    reader *read = reader_of(path);
    if (read)
        status = read(loader, path, &file, err);
    else
        status =
            qk_fail(err, QK_E_ARGUMENT, "%s: expected a .txt or .jsonl file or a folder, found another ending", path);
    qk_map_close(&file);
    return status;
}

static int wanted_entry(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && reader_of(entry->d_name) != NULL;
}

/* Byte order: alphasort would follow the host's locale. */
static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static qk_status load_folder(document_loader *loader, const char *folder, qk_error *err)
{
    struct dirent **entries = NULL;
    qk_status status = QK_OK;
    int n = scandir(folder, &entries, wanted_entry, compare_entries);
    if (n < 0) return qk_fail(err, QK_E_IO, "%s: cannot read the folder: %s", folder, strerror(errno));
    if (n == 0)
        status = qk_fail(err, QK_E_FORMAT, "%s: expected .txt or .jsonl files in the folder, found none", folder);
    for (int i = 0; i < n && !status && !qk_document_set_full(&loader->set); i++) {
        char *joined = qk_path_join(folder, entries[i]->d_name);
        const char *path = joined ? qk_arena_copy(&loader->names, joined, strlen(joined)) : NULL;
        free(joined);
        status = path ? load_file(loader, path, err) : qk_out_of_memory(err, folder, strlen(folder) + 256);
    }
    for (int i = 0; i < n; i++) free(entries[i]);
    free(entries);
    return status;
}

qk_status qk_documents_load(qk_documents *out, const char *const *paths, size_t n_paths,
                            const qk_documents_options *options, qk_error *err)
{
    document_loader loader = { .set.limit = options ? options->limit : 0, .split = options ? options->split : NULL };
    qk_status status = QK_OK;
    if (n_paths == 0) return qk_fail(err, QK_E_ARGUMENT, "document set: expected at least one path, found none");
    if (loader.split) {
        loader.n_split = strlen(loader.split);
        if (loader.n_split == 0 || qk_utf8_valid(loader.split, loader.n_split) < loader.n_split)
            return qk_fail(err, QK_E_ARGUMENT, "split string: expected UTF-8 text, found %s",
                           loader.n_split ? "other bytes" : "an empty one");
    }
    for (size_t i = 0; i < n_paths && !status && !qk_document_set_full(&loader.set); i++)
        status = qk_path_is_folder(paths[i]) ? load_folder(&loader, paths[i], err) : load_file(&loader, paths[i], err);
    if (!status) status = qk_document_set_finish(out, &loader.set, err);
    qk_document_set_free(&loader.set);
    qk_arena_free(&loader.names);
    return status;
}
