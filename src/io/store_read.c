// SPDX-License-Identifier: MIT
// Reading beside the writer: a read-only connection that never checkpoints, and lists of gathered
// runs by keyset. Every list walks one index from a position on, so a page costs the same at any
// depth. One thread a reader.
#include "io/store_internal.h"

#include "base/check.h"

#include <stdlib.h>

#define COLUMNS                                                                                    \
  "r.id, p.name, d.version, d.generation, r.status, r.created_ms, r.started_ms, r.finished_ms,"    \
  " r.parent, r.trigger, r.error"
#define PLACES " JOIN pipelines p ON p.number = r.pipeline JOIN defs d ON d.number = r.def"
#define OF_STATUS(n) "SELECT id FROM runs WHERE pipeline = ?3 AND status = " #n " AND id < ?1"

static const char *const texts[ORR__READ_COUNT] = {
    [ORR__READ_ALL] =
        "SELECT " COLUMNS " FROM runs r" PLACES " WHERE r.id < ?1 ORDER BY r.id DESC LIMIT ?2",
    [ORR__READ_STATUS] = "SELECT " COLUMNS " FROM runs r INDEXED BY runs_status" PLACES
                         " WHERE r.status = ?4 AND r.id < ?1 ORDER BY r.id DESC LIMIT ?2",
    // One index serves both (pipeline, status) and, as a merge of the three final statuses,
    // (pipeline).
    [ORR__READ_PIPELINE] = "WITH page(id) AS MATERIALIZED (" OF_STATUS(4) " UNION ALL " OF_STATUS(
        5) " UNION ALL " OF_STATUS(6) " ORDER BY id DESC LIMIT ?2)"
                                      " SELECT " COLUMNS
                                      " FROM page CROSS JOIN runs r ON r.id = page.id" PLACES
                                      " ORDER BY page.id DESC",
    [ORR__READ_BOTH] = "SELECT " COLUMNS " FROM runs r INDEXED BY runs_pipeline" PLACES
                       " WHERE r.pipeline = ?3 AND r.status = ?4 AND r.id < ?1"
                       " ORDER BY r.id DESC LIMIT ?2",
    [ORR__READ_PIPELINE_NUMBER] = "SELECT number FROM pipelines WHERE name = ?",
    [ORR__READ_RUN] = "SELECT journal FROM runs WHERE id = ?",
    [ORR__READ_BLOB] = "SELECT data FROM blobs WHERE hash = ?",
    [ORR__READ_GENERATION] = "SELECT hash FROM generations ORDER BY number DESC LIMIT 1",
    [ORR__READ_CACHE] = "SELECT output FROM cache WHERE key = ? AND expires_ms > ?",
};
_Static_assert(ORR_RUN_SUCCEEDED == 4 && ORR_RUN_FAILED == 5 && ORR_RUN_CANCELLED == 6,
               "the final statuses stand in OF_STATUS");

struct orr_store_reader {
  char *path;
  sqlite3 *db;
  sqlite3_stmt *statements[ORR__READ_COUNT];
};

enum orr_status orr_store_reader_open(const char *path, struct orr_store_reader **out) {
  struct orr_store_reader *reader = orr_alloc(sizeof *reader);
  reader->path = orr_strdup(path);
  *out = reader;
  return ORR_OK;
}

void orr_store_reader_close(struct orr_store_reader *reader) {
  if (reader == NULL) return;
  for (size_t i = 0; i < ORR__READ_COUNT; i++) sqlite3_finalize(reader->statements[i]);
  sqlite3_close(reader->db);
  free(reader->path);
  free(reader);
}

static bool open_lazily(struct orr_store_reader *reader) {
  if (reader->db != NULL) return true;
  sqlite3 *db = NULL;
  if (sqlite3_open_v2(reader->path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
      SQLITE_OK) {
    sqlite3_close(db);
    return false;
  }
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_exec(db,
               "PRAGMA trusted_schema = OFF; PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;"
               "PRAGMA busy_timeout = 2000; PRAGMA cache_size = -4096",
               NULL, NULL, NULL);
  reader->db = db;
  return true;
}

sqlite3_stmt *orr__reader_statement(struct orr_store_reader *reader, enum orr__read which) {
  if (!open_lazily(reader)) return NULL;
  sqlite3_stmt **statement = &reader->statements[which];
  if (*statement != NULL) {
    sqlite3_reset(*statement);
    sqlite3_clear_bindings(*statement);
  } else if (sqlite3_prepare_v3(reader->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, statement,
                                NULL) != SQLITE_OK) {
    return NULL;
  }
  return *statement;
}

enum orr_status orr__reader_blob(sqlite3_stmt *statement, struct orr_blob **blob) {
  int code = sqlite3_step(statement);
  if (code == SQLITE_ROW) {
    const void *data = sqlite3_column_blob(statement, 0);
    *blob = orr_blob_new(orr_slice_of(data, (size_t)sqlite3_column_bytes(statement, 0)));
  }
  sqlite3_reset(statement);
  return code == SQLITE_ROW ? ORR_OK : code == SQLITE_DONE ? ORR_ERR_NOT_FOUND : ORR_ERR_IO;
}

enum orr_status orr_store_run(struct orr_store_reader *reader, const struct orr_id *id,
                              struct orr_blob **journal) {
  sqlite3_stmt *statement = orr__reader_statement(reader, ORR__READ_RUN);
  if (statement == NULL) return ORR_ERR_IO;
  sqlite3_bind_blob(statement, 1, id->bytes, ORR_ID_BYTES, SQLITE_STATIC);
  return orr__reader_blob(statement, journal);
}

// --- lists
// ----------------------------------------------------------------------------------------

static void copy_bytes(sqlite3_stmt *statement, int column, void *to, size_t len) {
  if ((size_t)sqlite3_column_bytes(statement, column) == len)
    memcpy(to, sqlite3_column_blob(statement, column), len);
}

static const char *column_text(sqlite3_stmt *statement, int column) {
  const char *text = (const char *)sqlite3_column_text(statement, column);
  return text != NULL ? text : "";
}

static void read_row(sqlite3_stmt *statement, struct orr_store_row *row) {
  *row = (struct orr_store_row){
      .pipeline = column_text(statement, 1),
      .status = (uint8_t)sqlite3_column_int(statement, 4),
      .created_ms = sqlite3_column_int64(statement, 5),
      .started_ms = sqlite3_column_int64(statement, 6),
      .finished_ms = sqlite3_column_int64(statement, 7),
      .trigger = column_text(statement, 9),
      .error = column_text(statement, 10),
  };
  copy_bytes(statement, 0, row->id.bytes, ORR_ID_BYTES);
  copy_bytes(statement, 2, row->version.bytes, ORR_SHA256_BYTES);
  copy_bytes(statement, 3, row->generation.bytes, ORR_SHA256_BYTES);
  copy_bytes(statement, 8, row->parent.bytes, ORR_ID_BYTES);
}

static enum orr_status pipeline_number(struct orr_store_reader *reader, const char *name,
                                       int64_t *number) {
  sqlite3_stmt *statement = orr__reader_statement(reader, ORR__READ_PIPELINE_NUMBER);
  if (statement == NULL) return ORR_ERR_IO;
  sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
  int code = sqlite3_step(statement);
  if (code == SQLITE_ROW) *number = sqlite3_column_int64(statement, 0);
  sqlite3_reset(statement);
  return code == SQLITE_ROW ? ORR_OK : code == SQLITE_DONE ? ORR_ERR_NOT_FOUND : ORR_ERR_IO;
}

enum orr_status orr_store_list(struct orr_store_reader *reader, const struct orr_store_list *query,
                               void (*row)(void *context, const struct orr_store_row *row),
                               void *context) {
  static const uint8_t newest[ORR_ID_BYTES + 1] = {255, 255, 255, 255, 255, 255, 255, 255, 255,
                                                   255, 255, 255, 255, 255, 255, 255, 255};
  bool by_pipeline = query->pipeline != NULL && query->pipeline[0] != 0;
  bool by_status = query->status >= 0;
  int64_t pipeline = 0;
  if (by_pipeline) {
    enum orr_status status = pipeline_number(reader, query->pipeline, &pipeline);
    if (status == ORR_ERR_NOT_FOUND) return ORR_OK; // no run of it was gathered yet
    if (status != ORR_OK) return status;
  }
  sqlite3_stmt *statement =
      orr__reader_statement(reader, by_pipeline ? (by_status ? ORR__READ_BOTH : ORR__READ_PIPELINE)
                                                : (by_status ? ORR__READ_STATUS : ORR__READ_ALL));
  if (statement == NULL) return ORR_ERR_IO;
  if (orr_id_is_zero(&query->before))
    sqlite3_bind_blob(statement, 1, newest, sizeof newest, SQLITE_STATIC);
  else
    sqlite3_bind_blob(statement, 1, query->before.bytes, ORR_ID_BYTES, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 2, query->limit);
  if (by_pipeline) sqlite3_bind_int64(statement, 3, pipeline);
  if (by_status) sqlite3_bind_int(statement, 4, query->status);
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    struct orr_store_row found;
    read_row(statement, &found);
    row(context, &found);
  }
  sqlite3_reset(statement);
  return code == SQLITE_DONE ? ORR_OK : ORR_ERR_IO;
}
