/* store.c - the journal of a run in SQLite. */
#include "report/store.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

enum { APPLICATION_ID = 0x716b7363 /* "qksc" */, SCHEMA_VERSION = 1, BUSY_MS = 10000 };

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY CHECK (id = 1), key TEXT NOT NULL, key_sha256 TEXT NOT NULL,"
    " version TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS unit (model INTEGER NOT NULL, condition TEXT NOT NULL, document INTEGER NOT NULL, payload TEXT NOT "
    "NULL,"
    " PRIMARY KEY (model, condition, document));";

struct qk_store {
    sqlite3 *db;
    sqlite3_stmt *put, *get, *count; /* prepared once the tables exist */
    char *path;
};

static qk_status refuse(const qk_store *store, int code, const char *doing, qk_error *err)
{
    code &= 0xff; /* the primary code of an extended one */
    qk_status status = code == SQLITE_NOMEM                              ? QK_E_MEMORY
                       : code == SQLITE_NOTADB || code == SQLITE_CORRUPT ? QK_E_FORMAT
                                                                         : QK_E_IO;
    return qk_fail(err, status, "%s: cannot %s: %s", store->path, doing,
                   store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code));
}

/* WAL needs memory shared between the processes that have the file open, which network file systems do not give. */
static bool on_network(const char *path)
{
#ifdef __linux__
    static const uint32_t network[] = {
        0x00006969 /* NFS */,    0x0000517B /* SMB */,   0xFF534D42 /* CIFS */,   0xFE534D42 /* SMB2 */,
        0x0BD00BD0 /* Lustre */, 0x47504653 /* GPFS */,  0x19830326 /* BeeGFS */, 0x00C36400 /* Ceph */,
        0x5346414F /* AFS */,    0x6B414653 /* kAFS */,  0x73757245 /* Coda */,   0x01021997 /* 9P */,
        0x65735546 /* FUSE */,   0xAAD7AAEA /* PanFS */, 0x7461636F /* OCFS2 */,  0x01161970 /* GFS2 */,
        0x786F4256 /* vboxsf */,
    };
    struct statfs info;
    if (statfs(path, &info) != 0) return true;
    for (size_t i = 0; i < sizeof network / sizeof network[0]; i++)
        if ((uint32_t)info.f_type == network[i]) return true;
    return false;
#else
    (void)path;
    return true; /* unknown: the mode that works everywhere */
#endif
}

/* One PRAGMA or query that answers one cell, as text into answer[n]. */
static int ask(sqlite3 *db, const char *sql, char *answer, size_t n)
{
    sqlite3_stmt *query = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &query, NULL);
    answer[0] = '\0';
    if (code == SQLITE_OK && (code = sqlite3_step(query)) == SQLITE_ROW) {
        const unsigned char *text = sqlite3_column_text(query, 0);
        snprintf(answer, n, "%s", text ? (const char *)text : "");
        code = SQLITE_OK;
    } else if (code == SQLITE_DONE) {
        code = SQLITE_OK;
    }
    sqlite3_finalize(query);
    return code;
}

static int set_journal_mode(sqlite3 *db, const char *path)
{
    char mode[16];
    bool wal = !on_network(path);
    int code = ask(db, wal ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE", mode, sizeof mode);
    if (code != SQLITE_OK) return code;
    /* NORMAL loses at most the last commits when the power fails, and only WAL stays consistent then; a killed process
     * loses nothing either way. */
    wal = strcmp(mode, "wal") == 0;
    return sqlite3_exec(db, wal ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL", NULL, NULL, NULL);
}

qk_status qk_store_open(qk_store **out, const char *path, qk_error *err)
{
    qk_status status = QK_OK;
    qk_store *store = calloc(1, sizeof *store);
    if (!store || !(store->path = strdup(path))) {
        free(store);
        return qk_out_of_memory(err, path, sizeof *store);
    }
    int code = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (code == SQLITE_OK) code = sqlite3_busy_timeout(store->db, BUSY_MS);
    if (code == SQLITE_OK) code = set_journal_mode(store->db, path);
    if (code != SQLITE_OK) {
        status = refuse(store, code, "open the journal", err);
        qk_store_close(store);
        return status;
    }
    *out = store;
    return QK_OK;
}

void qk_store_close(qk_store *store)
{
    if (!store) return;
    sqlite3_finalize(store->put);
    sqlite3_finalize(store->get);
    sqlite3_finalize(store->count);
    sqlite3_close(store->db);
    free(store->path);
    free(store);
}

static qk_status prepare(qk_store *store, qk_error *err)
{
    const struct { sqlite3_stmt **statement; const char *sql; } wanted[] = {
        { &store->put, "INSERT OR REPLACE INTO unit (model, condition, document, payload) VALUES (?1, ?2, ?3, ?4)" },
        { &store->get, "SELECT payload FROM unit WHERE model = ?1 AND condition = ?2 AND document = ?3" },
        { &store->count, "SELECT count(*) FROM unit" },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        sqlite3_finalize(*wanted[i].statement); /* a run that is begun anew has them already */
        *wanted[i].statement = NULL;
        int code = sqlite3_prepare_v2(store->db, wanted[i].sql, -1, wanted[i].statement, NULL);
        if (code != SQLITE_OK) return refuse(store, code, "read the journal", err);
    }
    return QK_OK;
}

qk_status qk_store_key(char **key, qk_store *store, qk_error *err)
{
    qk_status status = QK_OK;
    sqlite3_stmt *query = NULL;
    char *found = NULL, hex[65], cell[32];
    int code = ask(store->db, "SELECT count(*) FROM sqlite_master", cell, sizeof cell);
    if (code != SQLITE_OK) return refuse(store, code, "read the journal", err);
    if (strcmp(cell, "0") == 0) {
        *key = NULL;
        return QK_OK;
    }
    code = ask(store->db, "PRAGMA user_version", cell, sizeof cell);
    if (code != SQLITE_OK) return refuse(store, code, "read the journal", err);
    if (atol(cell) != SCHEMA_VERSION)
        return qk_fail(err, QK_E_UNSUPPORTED, "%s: journal version: expected %d, found %s", store->path, SCHEMA_VERSION,
                       cell);
    code = sqlite3_prepare_v2(store->db, "SELECT key, key_sha256 FROM run", -1, &query, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(query);
    if (code != SQLITE_ROW) {
        status = code == SQLITE_DONE
                     ? qk_fail(err, QK_E_FORMAT, "%s: table run: expected one row, found none", store->path)
                     : refuse(store, code, "read the journal", err);
        goto out;
    }
    const char *text = (const char *)sqlite3_column_text(query, 0),
               *sha256 = (const char *)sqlite3_column_text(query, 1);
    if (!text || !sha256 || !(found = strdup(text))) {
        status = qk_out_of_memory(err, store->path, (size_t)sqlite3_column_bytes(query, 0));
        goto out;
    }
    qk_sha256_of(hex, found, strlen(found));
    if (strcmp(hex, sha256) != 0) {
        status = qk_fail(err, QK_E_FORMAT, "%s: key: expected SHA-256 %s, found %s", store->path, sha256, hex);
        goto out;
    }
    status = prepare(store, err);
    if (status) goto out;
    *key = found;
    found = NULL;
out:
    free(found);
    sqlite3_finalize(query);
    return status;
}

qk_status qk_store_begin(qk_store *store, const char *key, qk_error *err)
{
    char hex[65];
    qk_sha256_of(hex, key, strlen(key));
    char *sql = sqlite3_mprintf("BEGIN IMMEDIATE; PRAGMA application_id=%d; PRAGMA user_version=%d; %s"
                                "DELETE FROM unit; INSERT OR REPLACE INTO run (id, key, key_sha256, version) VALUES (1, %Q, %Q, %Q); COMMIT;",
                                APPLICATION_ID, SCHEMA_VERSION, schema, key, hex, QK_VERSION);
    if (!sql) return qk_out_of_memory(err, store->path, strlen(key));
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    if (code != SQLITE_OK) {
        qk_status status = refuse(store, code, "begin the journal", err);
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        return status;
    }
    return prepare(store, err);
}

/* Bind the three columns that name a unit. */
static int bind_unit(sqlite3_stmt *statement, size_t model, const char *condition, size_t document)
{
    int code = sqlite3_bind_int64(statement, 1, (sqlite3_int64)model);
    if (code == SQLITE_OK) code = sqlite3_bind_text(statement, 2, condition, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 3, (sqlite3_int64)document);
    return code;
}

qk_status qk_store_put(qk_store *store, size_t model, const char *condition, size_t document, const char *payload,
                       qk_error *err)
{
    qk_status status = QK_OK;
    int code = bind_unit(store->put, model, condition, document);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text64(store->put, 4, payload, strlen(payload), SQLITE_STATIC, SQLITE_UTF8);
    if (code == SQLITE_OK) code = sqlite3_step(store->put);
    if (code != SQLITE_DONE) status = refuse(store, code, "write the journal", err);
    sqlite3_reset(store->put);
    sqlite3_clear_bindings(store->put);
    return status;
}

char *qk_store_get(qk_store *store, size_t model, const char *condition, size_t document)
{
    char *payload = NULL;
    if (bind_unit(store->get, model, condition, document) == SQLITE_OK && sqlite3_step(store->get) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(store->get, 0);
        if (text) payload = strdup(text);
    }
    sqlite3_reset(store->get);
    sqlite3_clear_bindings(store->get);
    return payload;
}

size_t qk_store_count(qk_store *store)
{
    size_t n = sqlite3_step(store->count) == SQLITE_ROW ? (size_t)sqlite3_column_int64(store->count, 0) : 0;
    sqlite3_reset(store->count);
    return n;
}
