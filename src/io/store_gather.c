// SPDX-License-Identifier: MIT
// Gathering: a final run becomes one row with its whole journal, under the indexes that lists need.
// What is written here is derived from the journal, so it is committed without a sync; a segment is
// dropped by a later transaction of the same WAL, which cannot become durable before this one.
#include "io/store_internal.h"

#include "base/json.h"

#include <stdio.h>

// Finds the number of a name or definition, making one if it is new. 0: SQLite failed.
static uint64_t intern(struct orr_store *store, struct orr_map *known, struct orr_slice key,
                       const char *find, const char *insert, void (*bind)(sqlite3_stmt *, void *),
                       void *context) {
  uint64_t number = (uint64_t)(uintptr_t)orr_map_get(known, key);
  if (number != 0) return number;
  sqlite3_stmt *statement = NULL;
  if (!orr__store_prepare(store, find, &statement)) return 0;
  bind(statement, context);
  if (sqlite3_step(statement) == SQLITE_ROW) number = (uint64_t)sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  if (number == 0) {
    if (!orr__store_prepare(store, insert, &statement)) return 0;
    bind(statement, context);
    bool done = orr__store_step(statement);
    sqlite3_finalize(statement);
    if (!done) return 0;
    number = (uint64_t)sqlite3_last_insert_rowid(store->db);
  }
  orr_map_put(known, key, (void *)(uintptr_t)number);
  return number;
}

static void bind_name(sqlite3_stmt *statement, void *context) {
  sqlite3_bind_text(statement, 1, context, -1, SQLITE_STATIC);
}

struct def_key {
  uint64_t pipeline;
  const struct orr_def *def;
};
static void bind_def(sqlite3_stmt *statement, void *context) {
  const struct def_key *key = context;
  sqlite3_bind_int64(statement, 1, (sqlite3_int64)key->pipeline);
  sqlite3_bind_blob(statement, 2, key->def->version.bytes, ORR_SHA256_BYTES, SQLITE_STATIC);
  sqlite3_bind_blob(statement, 3, key->def->generation.bytes, ORR_SHA256_BYTES, SQLITE_STATIC);
}

static bool intern_def(struct orr_store *store, const struct orr_def *def, uint64_t *pipeline,
                       uint64_t *number) {
  *pipeline =
      intern(store, &store->pipelines, orr_slice_text(def->name),
             "SELECT number FROM pipelines WHERE name = ?", "INSERT INTO pipelines(name) VALUES(?)",
             bind_name, (void *)(uintptr_t)def->name);
  if (*pipeline == 0) return false;
  uint8_t key[8 + 2 * ORR_SHA256_BYTES];
  memcpy(key, pipeline, 8);
  memcpy(key + 8, def->version.bytes, ORR_SHA256_BYTES);
  memcpy(key + 8 + ORR_SHA256_BYTES, def->generation.bytes, ORR_SHA256_BYTES);
  struct def_key values = {*pipeline, def};
  *number =
      intern(store, &store->defs, orr_slice_of(key, sizeof key),
             "SELECT number FROM defs WHERE pipeline = ? AND version = ? AND generation = ?",
             "INSERT INTO defs(pipeline, version, generation) VALUES(?, ?, ?)", bind_def, &values);
  return *number != 0;
}

// The start of an error's message, cut at a character's border.
static struct orr_slice error_start(struct orr_slice error, struct orr_buf *text) {
  orr_buf_clear(text);
  struct orr_slice value = error;
  bool quoted = orr_json_path(error, ORR_SLICE_LITERAL("message"), &value) == ORR_OK &&
                value.len >= 2 && value.data[0] == '"';
  if (quoted)
    orr_json_unescape(text, orr_slice_of(value.data + 1, value.len - 2));
  else
    orr_buf_slice_append(text, error);
  size_t len = text->len < 159 ? text->len : 159;
  while (len > 0 && len < text->len && (text->data[len] & 0xc0) == 0x80) len--;
  return orr_slice_of(text->data, len);
}

static void bind_text(sqlite3_stmt *statement, int at, struct orr_slice text) {
  if (text.len == 0)
    sqlite3_bind_null(statement, at);
  else
    sqlite3_bind_text64(statement, at, (const char *)text.data, text.len, SQLITE_STATIC,
                        SQLITE_UTF8);
}

static bool insert_run(struct orr_store *store, const struct orr_run *run, struct orr_buf *text) {
  uint64_t pipeline, def;
  if (!intern_def(store, run->def, &pipeline, &def)) return false;
  sqlite3_stmt *statement = store->run;
  sqlite3_bind_blob(statement, 1, run->id.bytes, ORR_ID_BYTES, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 2, run->status);
  sqlite3_bind_int64(statement, 3, (sqlite3_int64)pipeline);
  sqlite3_bind_int64(statement, 4, (sqlite3_int64)def);
  sqlite3_bind_int64(statement, 5, run->created_ms);
  sqlite3_bind_int64(statement, 6, run->started_ms);
  sqlite3_bind_int64(statement, 7, run->finished_ms);
  if (orr_id_is_zero(&run->parent))
    sqlite3_bind_null(statement, 8);
  else
    sqlite3_bind_blob(statement, 8, run->parent.bytes, ORR_ID_BYTES, SQLITE_STATIC);
  bind_text(statement, 9, orr_run_bytes(run, run->trigger));
  bind_text(statement, 10,
            run->error.len == 0 ? orr_slice_of(NULL, 0)
                                : error_start(orr_run_bytes(run, run->error), text));
  sqlite3_bind_blob64(statement, 11, run->journal.data, run->journal.len, SQLITE_STATIC);
  return orr__store_step(statement);
}

// After the commit: the run's rows in the journal are needed no more.
static void forget(struct orr_store *store, const struct orr_id *id) {
  struct orr__open_run *open = orr__open_get(&store->open, id);
  if (open == NULL) return;
  if (open->home != 0) orr__store_segment(store, open->home)->runs--;
  orr__open_remove(&store->open, open);
}

static bool insert_runs(struct orr_store *store, const struct orr_run *const *runs, size_t n) {
  struct orr_buf text = ORR_BUF_INIT;
  bool done = true;
  for (size_t i = 0; i < n && done; i++) {
    done = insert_run(store, runs[i], &text);
    const struct orr__open_run *open = orr__open_get(&store->open, &runs[i]->id);
    if (!done || open == NULL || !open->checkpointed) continue;
    sqlite3_bind_blob(store->unpark, 1, runs[i]->id.bytes, ORR_ID_BYTES, SQLITE_STATIC);
    done = orr__store_step(store->unpark);
  }
  sqlite3_clear_bindings(store->run);
  orr_buf_free(&text);
  return done;
}

enum orr_status orr_store_gather(struct orr_store *store, const struct orr_run *const *runs,
                                 size_t n) {
  if (store->failed) return ORR_ERR_UNAVAILABLE;
  if (!orr__store_begin(store, true) || !insert_runs(store, runs, n) || !orr__store_end(store)) {
    enum orr_status status = orr__store_fail(store, "index finished runs");
    store->failed = true;
    orr__store_abandon(store);
    return status;
  }
  for (size_t i = 0; i < n; i++) forget(store, &runs[i]->id);
  return ORR_OK;
}
