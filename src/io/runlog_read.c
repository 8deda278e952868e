// SPDX-License-Identifier: MIT
// Reading logs of runs beside their writer: one read-only connection a thread, which never
// checkpoints. A query walks the index (run, seq) from the cursor on. Foreign library: SQLite.
#include "io/runlog_internal.h"

#include "base/check.h"

#include <sqlite3.h>
#include <stdlib.h>

struct orr_runlog_reader {
  char *path;
  sqlite3 *db; // NULL until first used: the file may not exist yet
  sqlite3_stmt *query;
};

enum orr_status orr_runlog_reader_open(const char *path, struct orr_runlog_reader **out) {
  struct orr_runlog_reader *reader = orr_alloc(sizeof *reader);
  reader->path = orr_strdup(path);
  *out = reader;
  return ORR_OK;
}

void orr_runlog_reader_close(struct orr_runlog_reader *reader) {
  if (reader == NULL) return;
  sqlite3_finalize(reader->query);
  sqlite3_close(reader->db);
  free(reader->path);
  free(reader);
}

static bool open_lazily(struct orr_runlog_reader *reader) {
  if (reader->db != NULL) return true;
  sqlite3 *db = NULL;
  sqlite3_stmt *query = NULL;
  if (sqlite3_open_v2(reader->path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
      SQLITE_OK)
    goto failed;
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_exec(db,
               "PRAGMA trusted_schema = OFF; PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;"
               "PRAGMA busy_timeout = 2000",
               NULL, NULL, NULL);
  if (sqlite3_prepare_v3(
          db,
          "SELECT seq, step, item, attempt, at_ms, level, stream, text, fields FROM logs"
          " WHERE run = ?1 AND seq > ?2 AND level >= ?3 AND (?4 IS NULL OR step = ?4)"
          " ORDER BY seq LIMIT ?5",
          -1, SQLITE_PREPARE_PERSISTENT, &query, NULL) != SQLITE_OK)
    goto failed;
  reader->db = db;
  reader->query = query;
  return true;
failed:
  sqlite3_close(db);
  return false;
}

static struct orr_slice column(sqlite3_stmt *statement, int at) {
  const void *text = sqlite3_column_text(statement, at);
  return orr_slice_of(text, (size_t)sqlite3_column_bytes(statement, at));
}

enum orr_status orr_runlog_query(struct orr_runlog_reader *reader,
                                 const struct orr_log_query *query,
                                 void (*row)(void *context, const struct orr_log_record *record),
                                 void *context) {
  if (!open_lazily(reader)) return ORR_ERR_IO;
  sqlite3_stmt *statement = reader->query;
  sqlite3_bind_blob(statement, 1, query->run.bytes, ORR_ID_BYTES, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 2, (sqlite3_int64)query->after);
  sqlite3_bind_int(statement, 3, query->level_min);
  if (query->step != NULL)
    sqlite3_bind_text(statement, 4, query->step, -1, SQLITE_STATIC);
  else
    sqlite3_bind_null(statement, 4);
  sqlite3_bind_int64(statement, 5, query->limit);
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    struct orr_log_record record = {
        .seq = (uint64_t)sqlite3_column_int64(statement, 0),
        .run = query->run,
        .step = column(statement, 1),
        .item = (uint32_t)sqlite3_column_int64(statement, 2),
        .attempt = (uint32_t)sqlite3_column_int64(statement, 3),
        .at_ms = sqlite3_column_int64(statement, 4),
        .level = (enum orr_log_level)sqlite3_column_int(statement, 5),
        .stream = column(statement, 6),
        .text = column(statement, 7),
        .fields = column(statement, 8),
    };
    row(context, &record);
  }
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return code == SQLITE_DONE ? ORR_OK : ORR_ERR_IO;
}
