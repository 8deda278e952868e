// SPDX-License-Identifier: MIT
// Opening and closing the store: the kernel lock, the connection's settings, the schema and its
// migrations, and the list of journal segments. The thread that opens it owns the connection until
// io/host.c hands it on. Must not know runs or facts.
#include "io/store_internal.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// Numbered, forward only: entry i takes a file from version i to i + 1. Never edit a released one.
static const char *const migrations[ORR__STORE_VERSION] = {
    "CREATE TABLE segments(number INTEGER PRIMARY KEY, first_pos INTEGER NOT NULL);"
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    // Journals so far of open runs whose segment was dropped.
    "CREATE TABLE checkpoint(run BLOB PRIMARY KEY, last_pos INTEGER NOT NULL, data BLOB NOT NULL);"
    // Gathered runs. The few words that a list shows come first, the whole journal last: a page of
    // a list reads only the head of each row. A definition's name and digests are kept once.
    "CREATE TABLE pipelines(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE defs(number INTEGER PRIMARY KEY, pipeline INTEGER NOT NULL, version BLOB NOT "
    "NULL,"
    " generation BLOB NOT NULL, UNIQUE(pipeline, version, generation));"
    "CREATE TABLE runs(id BLOB PRIMARY KEY, status INTEGER NOT NULL, pipeline INTEGER NOT NULL,"
    " def INTEGER NOT NULL, created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL,"
    " finished_ms INTEGER NOT NULL, parent BLOB, trigger TEXT, error TEXT, journal BLOB NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE INDEX runs_status ON runs(status, id);"
    "CREATE INDEX runs_pipeline ON runs(pipeline, status, id);"
    "CREATE TABLE blobs(hash BLOB PRIMARY KEY, data BLOB NOT NULL);"
    "CREATE TABLE generations(number INTEGER PRIMARY KEY, hash BLOB NOT NULL, at_ms INTEGER NOT "
    "NULL);"
    "CREATE TABLE idempotency(key BLOB PRIMARY KEY, run BLOB NOT NULL, request BLOB NOT NULL,"
    " expires_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX idempotency_expires ON idempotency(expires_ms);"
    "CREATE TABLE cache(key BLOB PRIMARY KEY, output BLOB NOT NULL, expires_ms INTEGER NOT NULL);"
    "CREATE INDEX cache_expires ON cache(expires_ms);",
};

// --- the lock
// -------------------------------------------------------------------------------------

static struct flock whole_file(void) {
  return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

static char *lock_path(const char *path) {
  struct orr_buf text = ORR_BUF_INIT;
  orr_buf_printf(&text, "%s.lock", path);
  char *copy = orr_slice_strdup(orr_buf_slice(&text));
  orr_buf_free(&text);
  return copy;
}

// An open file description lock: it belongs to this descriptor, so neither a fork without it nor
// closing some other descriptor of the file can drop it, and the kernel lets go when the process
// dies.
static enum orr_status take_lock(struct orr_store *store) {
  char *path = lock_path(store->path);
  enum orr_status status = ORR_OK;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    snprintf(store->error, sizeof store->error, "cannot open %s: %s", path, strerror(errno));
    status = ORR_ERR_IO;
    goto out;
  }
  struct flock lock = whole_file();
  if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    char pid[24] = "";
    ssize_t got = pread(fd, pid, sizeof pid - 1, 0);
    if (got > 0) pid[strcspn(pid, "\n")] = 0;
    snprintf(store->error, sizeof store->error,
             "%s is in use by another engine%s%s: stop it, or talk to it with --server",
             store->path, pid[0] != 0 ? ", process " : "", pid);
    close(fd);
    status = ORR_ERR_BUSY;
    goto out;
  }
  // The pid is for messages only; failing to write it harms nothing.
  char pid[24];
  int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)length, 0) != length) errno = 0;
  store->lock_fd = fd;
out:
  free(path);
  return status;
}

bool orr_store_locked(const char *path) {
  char *name = lock_path(path);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  free(name);
  if (fd < 0) return false;
  struct flock lock = whole_file();
  bool locked = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  close(fd);
  return locked;
}

// --- statements
// -----------------------------------------------------------------------------------

enum orr_status orr__store_fail(struct orr_store *store, const char *what) {
  int code = store->db != NULL ? sqlite3_extended_errcode(store->db) : SQLITE_NOMEM;
  int system_error = store->db != NULL ? sqlite3_system_errno(store->db) : 0;
  snprintf(store->error, sizeof store->error, "%s: cannot %s: %s (SQLite %d%s%s)", store->path,
           what, store->db != NULL ? sqlite3_errmsg(store->db) : "out of memory", code,
           system_error != 0 ? ", " : "", system_error != 0 ? strerror(system_error) : "");
  return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB ? ORR_ERR_CORRUPT
                                                                           : ORR_ERR_IO;
}

bool orr__store_step(sqlite3_stmt *statement) {
  int code = sqlite3_step(statement);
  while (code == SQLITE_ROW) code = sqlite3_step(statement); // a pragma's answer
  int reset = sqlite3_reset(statement);
  return code == SQLITE_DONE && reset == SQLITE_OK;
}

bool orr__store_exec(struct orr_store *store, const char *sql) {
  return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

bool orr__store_prepare(struct orr_store *store, const char *sql, sqlite3_stmt **statement) {
  return sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) ==
         SQLITE_OK;
}

bool orr__store_begin(struct orr_store *store, bool derived) {
  bool relaxed = derived || store->durability == ORR_DURABLE_NORMAL;
  if (relaxed != store->relaxed) {
    // Not prepared once: this pragma acts while it is compiled.
    if (!orr__store_exec(store,
                         relaxed ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL"))
      return false;
    store->relaxed = relaxed;
  }
  return orr__store_step(store->begin);
}

bool orr__store_end(struct orr_store *store) {
  if (!orr__store_step(store->commit)) return false;
  store->last_commit_mono_us = orr_clock_mono_us();
  return true;
}

void orr__store_abandon(struct orr_store *store) {
  if (!sqlite3_get_autocommit(store->db)) orr__store_step(store->rollback);
}

// --- segments
// -------------------------------------------------------------------------------------

struct orr__segment *orr__store_segment(struct orr_store *store, uint64_t number) {
  // Few, and nearly always the last.
  for (size_t i = store->segments_len; i > 0; i--)
    if (store->segments[i - 1].number == number) return &store->segments[i - 1];
  return NULL;
}

static void add_segment(struct orr_store *store, uint64_t number, uint64_t first_pos) {
  if (store->segments_len == store->segments_cap) {
    store->segments_cap = store->segments_cap == 0 ? 8 : store->segments_cap * 2;
    store->segments = orr_realloc(store->segments, store->segments_cap * sizeof *store->segments);
  }
  store->segments[store->segments_len++] = (struct orr__segment){number, first_pos, 0};
}

static bool prepare_journal(struct orr_store *store) {
  sqlite3_finalize(store->journal);
  store->journal = NULL;
  char sql[96];
  snprintf(sql, sizeof sql, "INSERT INTO journal_%llu(pos, data) VALUES(?, ?)",
           (unsigned long long)orr__store_current(store)->number);
  return orr__store_prepare(store, sql, &store->journal);
}

bool orr__store_new_segment(struct orr_store *store) {
  uint64_t number = store->segments_len > 0 ? orr__store_current(store)->number + 1 : 1;
  char sql[256];
  snprintf(sql, sizeof sql,
           "CREATE TABLE journal_%llu(pos INTEGER PRIMARY KEY, data BLOB NOT NULL);"
           "INSERT INTO segments(number, first_pos) VALUES(%llu, %llu)",
           (unsigned long long)number, (unsigned long long)number,
           (unsigned long long)store->next_pos);
  if (!orr__store_exec(store, sql)) return false;
  add_segment(store, number, store->next_pos);
  return prepare_journal(store);
}

static bool load_segments(struct orr_store *store) {
  sqlite3_stmt *statement = NULL;
  if (!orr__store_prepare(store, "SELECT number, first_pos FROM segments ORDER BY number",
                          &statement))
    return false;
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW)
    add_segment(store, (uint64_t)sqlite3_column_int64(statement, 0),
                (uint64_t)sqlite3_column_int64(statement, 1));
  sqlite3_finalize(statement);
  if (code != SQLITE_DONE) return false;
  if (store->segments_len > 0) {
    store->next_pos = orr__store_current(store)->first_pos;
    return prepare_journal(store);
  }
  store->next_pos = 1;
  if (!orr__store_begin(store, false)) return false;
  if (orr__store_new_segment(store) && orr__store_end(store)) return true;
  orr__store_abandon(store);
  return false;
}

// --- open and close
// -------------------------------------------------------------------------------

static bool read_number(struct orr_store *store, const char *sql, int64_t *number) {
  sqlite3_stmt *statement = NULL;
  if (!orr__store_prepare(store, sql, &statement)) return false;
  bool found = sqlite3_step(statement) == SQLITE_ROW;
  if (found) *number = sqlite3_column_int64(statement, 0);
  return sqlite3_finalize(statement) == SQLITE_OK && found;
}

static enum orr_status migrate(struct orr_store *store) {
  int64_t version = 0, application = 0;
  if (!read_number(store, "PRAGMA user_version", &version) ||
      !read_number(store, "PRAGMA application_id", &application))
    return orr__store_fail(store, "read the schema's version");
  if ((application != 0 || version != 0) && application != ORR__STORE_APPLICATION) {
    snprintf(store->error, sizeof store->error, "%s is not a store of Orrery", store->path);
    return ORR_ERR_CORRUPT;
  }
  if (version > ORR__STORE_VERSION) {
    snprintf(store->error, sizeof store->error,
             "%s has schema version %lld, this Orrery knows %d: use a newer Orrery", store->path,
             (long long)version, ORR__STORE_VERSION);
    return ORR_ERR_INVALID;
  }
  for (; version < ORR__STORE_VERSION; version++) {
    char sql[96];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %lld; PRAGMA application_id = %d",
             (long long)version + 1, ORR__STORE_APPLICATION);
    if (!orr__store_exec(store, "BEGIN IMMEDIATE") ||
        !orr__store_exec(store, migrations[version]) || !orr__store_exec(store, sql) ||
        !orr__store_exec(store, "COMMIT"))
      return orr__store_fail(store, "set up the schema");
  }
  return ORR_OK;
}

static int count_wal(void *context, sqlite3 *db, const char *name, int pages) {
  (void)db;
  (void)name;
  struct orr_store *store = context;
  if (pages < store->wal_pages) store->wal_checkpointed = 0; // the WAL began anew
  store->wal_pages = pages;
  return SQLITE_OK;
}

static bool configure(struct orr_store *store) {
  sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(store->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
  // The WAL is reused from its start after a checkpoint: overwriting syncs faster than growing.
  return orr__store_exec(store, "PRAGMA trusted_schema = OFF; PRAGMA secure_delete = OFF;"
                                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
                                "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -65536;"
                                "PRAGMA temp_store = MEMORY; PRAGMA busy_timeout = 2000;"
                                "PRAGMA synchronous = FULL");
}

static bool prepare_all(struct orr_store *store) {
  return orr__store_prepare(store, "BEGIN IMMEDIATE", &store->begin) &&
         orr__store_prepare(store, "COMMIT", &store->commit) &&
         orr__store_prepare(store, "ROLLBACK", &store->rollback) &&
         orr__store_prepare(store,
                            "INSERT OR REPLACE INTO idempotency(key, run, request, expires_ms)"
                            " VALUES(?, ?, ?, ?)",
                            &store->idempotency) &&
         orr__store_prepare(store,
                            "INSERT OR REPLACE INTO cache(key, output, expires_ms) VALUES(?, ?, ?)",
                            &store->cache) &&
         orr__store_prepare(store,
                            "INSERT INTO runs(id, status, pipeline, def, created_ms,"
                            " started_ms, finished_ms, parent, trigger, error, journal)"
                            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO NOTHING",
                            &store->run) &&
         orr__store_prepare(store, "DELETE FROM checkpoint WHERE run = ?", &store->unpark);
}

static enum orr_status open_database(struct orr_store *store) {
  if (sqlite3_open_v2(store->path, &store->db,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                      NULL) != SQLITE_OK)
    return orr__store_fail(store, "open it");
  sqlite3_extended_result_codes(store->db, 1);
  if (!configure(store)) return orr__store_fail(store, "set it up");
  sqlite3_wal_hook(store->db, count_wal, store);
  enum orr_status status = migrate(store);
  if (status != ORR_OK) return status;
  if (!prepare_all(store) || !load_segments(store))
    return orr__store_fail(store, "read its schema");
  int64_t moved = 0;
  if (read_number(store, "SELECT value FROM meta WHERE key = 'moved_pos'", &moved))
    store->moved_pos = (uint64_t)moved;
  if (orr__store_wal_short(store)) orr__store_wal_room(store, ORR__WAL_ROOM_OPEN_BYTES);
  return ORR_OK;
}

enum orr_status orr_store_open(const struct orr_store_options *options, struct orr_store **out,
                               char *message, size_t message_size) {
  orr_assert(options->path != NULL && options->path[0] != 0);
  struct orr_store *store = orr_alloc(sizeof *store);
  store->path = orr_strdup(options->path);
  store->lock_fd = -1;
  store->expired_ms = INT64_MIN / 2; // never swept yet
  store->durability = options->durability;
  store->segment_rows = options->segment_rows != 0 ? options->segment_rows : 65536;
  enum orr_status status = take_lock(store);
  if (status == ORR_OK) status = open_database(store);
  if (status != ORR_OK) {
    if (message != NULL) snprintf(message, message_size, "%s", store->error);
    store->failed = true; // nothing to checkpoint
    orr_store_close(store);
    return status;
  }
  *out = store;
  return ORR_OK;
}

void orr_store_close(struct orr_store *store) {
  if (store == NULL) return;
  if (store->db != NULL) {
    if (!store->failed)
      sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    // After a failed write the file is left to the next start as it is: no last checkpoint of it.
    if (store->failed) sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_stmt *statement;
    while ((statement = sqlite3_next_stmt(store->db, NULL)) != NULL) sqlite3_finalize(statement);
    sqlite3_close(store->db);
  }
  if (store->lock_fd >= 0) close(store->lock_fd);
  orr__open_free(&store->open);
  orr_map_free(&store->defs);
  orr_map_free(&store->pipelines);
  orr_buf_free(&store->pack);
  free(store->segments);
  free(store->path);
  free(store);
}

const char *orr_store_path(const struct orr_store *store) { return store->path; }
const char *orr_store_error(const struct orr_store *store) { return store->error; }
bool orr_store_failed(const struct orr_store *store) { return store->failed; }
