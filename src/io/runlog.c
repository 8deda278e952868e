// SPDX-License-Identifier: MIT
// Writing logs of runs: a bounded queue in memory, and one thread that writes it in batches.
// Invariant: at most QUEUE_BYTES_MAX are queued; what does not fit is dropped and counted, and the
// next record says so. Logs are not facts: they are synced only by checkpoints. Foreign library:
// SQLite.
#include "io/runlog_internal.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define QUEUE_BYTES_MAX (64 * ORR_MIB)
#define BATCH_MS 50
#define BATCH_BYTES_MAX (8 * ORR_MIB) // of one transaction, so that room is made often
#define APPEND_WAIT_MS 100
#define RUNS_KNOWN_MAX 4096 // whose sizes are kept in memory
#define STREAM_BYTES_MAX 16

struct line { // one record, with its texts behind it
  struct orr_link link;
  struct orr_log_record record;
  size_t bytes;
  uint8_t texts[];
};

struct size { // of one run's logs
  uint64_t bytes;
  bool full;
};

struct orr_runlog {
  sqlite3 *db; // the writer's, once it runs
  sqlite3_stmt *insert, *get_size, *put_size;
  uint64_t next_seq;
  struct orr_map sizes; // run -> struct size, of recent runs; the writer's
  pthread_t thread;
  pthread_mutex_t mutex; // guards all below
  pthread_cond_t filled, written;
  struct orr_link *head, *tail;
  uint64_t queued_bytes, dropped;
  uint64_t appended, stored; // records
  bool flush, stop;
};

static const char *const schema = "CREATE TABLE logs(seq INTEGER PRIMARY KEY, run BLOB NOT NULL, "
                                  "step TEXT, item INTEGER, attempt INTEGER,"
                                  " at_ms INTEGER NOT NULL, level INTEGER NOT NULL, stream TEXT, "
                                  "text TEXT NOT NULL, fields TEXT);"
                                  "CREATE INDEX logs_run ON logs(run, seq);"
                                  "CREATE TABLE sizes(run BLOB PRIMARY KEY, bytes INTEGER NOT "
                                  "NULL, full INTEGER NOT NULL) WITHOUT ROWID;";

// --- opening
// --------------------------------------------------------------------------------------

static bool exec(sqlite3 *db, const char *sql) {
  return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int64_t number(sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement = NULL;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) return -1;
  int64_t value = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
  sqlite3_finalize(statement);
  return value;
}

static bool set_up(struct orr_runlog *log) {
  sqlite3 *db = log->db;
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  if (!exec(db,
            "PRAGMA trusted_schema = OFF; PRAGMA secure_delete = OFF; PRAGMA journal_mode = WAL;"
            "PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000;"
            "PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 4000"))
    return false;
  int64_t version = number(db, "PRAGMA user_version");
  if (version < 0 || version > ORR__RUNLOG_VERSION) return false;
  if (version == 0) {
    char sql[128];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d; PRAGMA application_id = %d; COMMIT",
             ORR__RUNLOG_VERSION, ORR__RUNLOG_APPLICATION);
    if (!exec(db, "BEGIN IMMEDIATE") || !exec(db, schema) || !exec(db, sql)) return false;
  }
  log->next_seq = (uint64_t)(number(db, "SELECT max(seq) FROM logs") + 1);
  if (log->next_seq == 0) log->next_seq = 1;
  return sqlite3_prepare_v3(db, "INSERT INTO logs VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", -1,
                            SQLITE_PREPARE_PERSISTENT, &log->insert, NULL) == SQLITE_OK &&
         sqlite3_prepare_v3(db, "SELECT bytes, full FROM sizes WHERE run = ?", -1,
                            SQLITE_PREPARE_PERSISTENT, &log->get_size, NULL) == SQLITE_OK &&
         sqlite3_prepare_v3(db, "INSERT OR REPLACE INTO sizes(run, bytes, full) VALUES(?, ?, ?)",
                            -1, SQLITE_PREPARE_PERSISTENT, &log->put_size, NULL) == SQLITE_OK;
}

static void free_sizes(struct orr_map *sizes) {
  size_t cursor = 0;
  void *value;
  while (orr_map_next(sizes, &cursor, NULL, &value)) free(value);
  orr_map_free(sizes);
}

static void destroy(struct orr_runlog *log) {
  sqlite3_finalize(log->insert);
  sqlite3_finalize(log->get_size);
  sqlite3_finalize(log->put_size);
  sqlite3_close(log->db);
  free_sizes(&log->sizes);
  while (log->head != NULL) {
    struct line *line = ORR_CONTAINER_OF(log->head, struct line, link);
    log->head = log->head->next;
    free(line);
  }
  pthread_mutex_destroy(&log->mutex);
  pthread_cond_destroy(&log->filled);
  pthread_cond_destroy(&log->written);
  free(log);
}

static void *writer_main(void *context);

enum orr_status orr_runlog_open(const char *path, struct orr_runlog **out, char *message,
                                size_t message_size) {
  struct orr_runlog *log = orr_alloc(sizeof *log);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_mutex_init(&log->mutex, NULL);
  pthread_cond_init(&log->filled, &monotonic);
  pthread_cond_init(&log->written, &monotonic);
  pthread_condattr_destroy(&monotonic);
  bool opened = sqlite3_open_v2(path, &log->db,
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                NULL) == SQLITE_OK &&
                set_up(log);
  if (!opened || pthread_create(&log->thread, NULL, writer_main, log) != 0) {
    if (message != NULL)
      snprintf(message, message_size, "cannot open the logs at %s: %s", path,
               log->db != NULL ? sqlite3_errmsg(log->db) : "out of memory");
    destroy(log);
    return ORR_ERR_IO;
  }
  *out = log;
  return ORR_OK;
}

void orr_runlog_close(struct orr_runlog *log) {
  if (log == NULL) return;
  pthread_mutex_lock(&log->mutex);
  log->stop = true;
  pthread_cond_signal(&log->filled);
  pthread_mutex_unlock(&log->mutex);
  pthread_join(log->thread, NULL);
  destroy(log);
}

// --- appending
// ------------------------------------------------------------------------------------

static struct orr_slice copy_text(struct line *line, size_t *used, struct orr_slice text) {
  uint8_t *at = line->texts + *used;
  if (text.len > 0) memcpy(at, text.data, text.len);
  *used += text.len;
  return orr_slice_of(at, text.len);
}

static struct orr_slice cut(struct orr_slice text, size_t max) {
  if (text.len <= max) return text;
  while (max > 0 && (text.data[max] & 0xc0) == 0x80) max--; // not inside a character
  text.len = max;
  return text;
}

// {"a":1} and a flag give {"a":1,"flag":true}.
static void flag_fields(struct orr_buf *fields, const char *flag) {
  if (fields->len > 0 && fields->data[fields->len - 1] == '}')
    fields->len--;
  else
    orr_buf_text(fields, "{");
  bool empty = fields->len > 0 && fields->data[fields->len - 1] == '{';
  orr_buf_printf(fields, "%s\"%s\":true}", empty ? "" : ",", flag);
}

static struct line *make_line(const struct orr_log_record *record) {
  struct orr_buf repaired = ORR_BUF_INIT, fields = ORR_BUF_INIT;
  orr_buf_slice_append(&fields, record->fields.len <= ORR_LOG_LINE_BYTES_MAX
                                    ? record->fields
                                    : orr_slice_of(NULL, 0));
  struct orr_slice text = record->text;
  if (text.len > ORR_LOG_LINE_BYTES_MAX) flag_fields(&fields, "cut");
  text = cut(text, ORR_LOG_LINE_BYTES_MAX);
  if (!orr_utf8_valid(text)) {
    orr_utf8_repair(&repaired, text);
    text = cut(orr_buf_slice(&repaired), ORR_LOG_LINE_BYTES_MAX);
    flag_fields(&fields, "repaired");
  }
  struct orr_slice step = cut(record->step, ORR_NAME_BYTES_MAX);
  struct orr_slice stream = cut(record->stream, STREAM_BYTES_MAX);
  size_t bytes = sizeof(struct line) + text.len + fields.len + step.len + stream.len, used = 0;
  struct line *line = orr_alloc(bytes);
  line->bytes = bytes;
  line->record = *record;
  line->record.text = copy_text(line, &used, text);
  line->record.fields = copy_text(line, &used, orr_buf_slice(&fields));
  line->record.step = copy_text(line, &used, step);
  line->record.stream = copy_text(line, &used, stream);
  orr_buf_free(&repaired);
  orr_buf_free(&fields);
  return line;
}

static struct timespec after_ms(uint64_t ms) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  at.tv_sec += (time_t)(ms / 1000);
  at.tv_nsec += (long)(ms % 1000 * 1000000);
  if (at.tv_nsec >= 1000000000) {
    at.tv_sec++;
    at.tv_nsec -= 1000000000;
  }
  return at;
}

// The mutex is held.
static bool make_room(struct orr_runlog *log, size_t bytes) {
  if (log->queued_bytes + bytes <= QUEUE_BYTES_MAX) return true;
  struct timespec until = after_ms(APPEND_WAIT_MS);
  log->flush = true;
  pthread_cond_signal(&log->filled);
  while (log->queued_bytes + bytes > QUEUE_BYTES_MAX)
    if (pthread_cond_timedwait(&log->written, &log->mutex, &until) == ETIMEDOUT) break;
  return log->queued_bytes + bytes <= QUEUE_BYTES_MAX;
}

static void push(struct orr_runlog *log, struct line *line) {
  line->link.next = NULL;
  if (log->head == NULL)
    log->head = &line->link;
  else
    log->tail->next = &line->link;
  log->tail = &line->link;
  log->queued_bytes += line->bytes;
  log->appended++;
}

void orr_runlog_append(struct orr_runlog *log, const struct orr_log_record *record) {
  struct line *line = make_line(record);
  pthread_mutex_lock(&log->mutex);
  if (!make_room(log, line->bytes)) {
    log->dropped++;
    free(line);
  } else {
    if (log->dropped > 0) { // goes before it, and may pass the bound by its few bytes
      char text[80];
      snprintf(text, sizeof text, "%llu log records were dropped: the log could not keep up",
               (unsigned long long)log->dropped);
      struct orr_log_record note = {.run = record->run,
                                    .at_ms = record->at_ms,
                                    .level = ORR_LOG_WARN,
                                    .stream = ORR_SLICE_LITERAL("engine"),
                                    .text = orr_slice_text(text)};
      push(log, make_line(&note));
      log->dropped = 0;
    }
    bool first = log->head == NULL;
    push(log, line);
    if (first) pthread_cond_signal(&log->filled);
  }
  pthread_mutex_unlock(&log->mutex);
}

void orr_runlog_flush(struct orr_runlog *log) {
  pthread_mutex_lock(&log->mutex);
  uint64_t target = log->appended;
  log->flush = true;
  pthread_cond_signal(&log->filled);
  while (log->stored < target) pthread_cond_wait(&log->written, &log->mutex);
  pthread_mutex_unlock(&log->mutex);
}

// --- the writer
// -----------------------------------------------------------------------------------

static struct size *size_of(struct orr_runlog *log, const struct orr_id *run) {
  struct size *size = orr_map_get(&log->sizes, orr_id_slice(run));
  if (size != NULL) return size;
  size = orr_alloc(sizeof *size);
  sqlite3_bind_blob(log->get_size, 1, run->bytes, ORR_ID_BYTES, SQLITE_STATIC);
  if (sqlite3_step(log->get_size) == SQLITE_ROW) {
    size->bytes = (uint64_t)sqlite3_column_int64(log->get_size, 0);
    size->full = sqlite3_column_int(log->get_size, 1) != 0;
  }
  sqlite3_reset(log->get_size);
  orr_map_put(&log->sizes, orr_id_slice(run), size);
  return size;
}

static void bind_text(sqlite3_stmt *statement, int at, struct orr_slice text, bool or_null) {
  if (text.len == 0 && or_null)
    sqlite3_bind_null(statement, at);
  else
    sqlite3_bind_text64(statement, at, text.len > 0 ? (const char *)text.data : "", text.len,
                        SQLITE_STATIC, SQLITE_UTF8);
}

static bool insert(struct orr_runlog *log, const struct orr_log_record *record) {
  sqlite3_stmt *statement = log->insert;
  sqlite3_bind_int64(statement, 1, (sqlite3_int64)log->next_seq++);
  sqlite3_bind_blob(statement, 2, record->run.bytes, ORR_ID_BYTES, SQLITE_STATIC);
  bind_text(statement, 3, record->step, true);
  sqlite3_bind_int64(statement, 4, record->item);
  sqlite3_bind_int64(statement, 5, record->attempt);
  sqlite3_bind_int64(statement, 6, record->at_ms);
  sqlite3_bind_int(statement, 7, (int)record->level);
  bind_text(statement, 8, record->stream, true);
  bind_text(statement, 9, record->text, false);
  bind_text(statement, 10, record->fields, true);
  bool done = sqlite3_step(statement) == SQLITE_DONE;
  sqlite3_reset(statement);
  return done;
}

static bool store_line(struct orr_runlog *log, const struct line *line) {
  const struct orr_log_record *record = &line->record;
  struct size *size = size_of(log, &record->run);
  if (size->full) return true;
  size->bytes += record->text.len + record->fields.len + record->step.len + record->stream.len;
  if (size->bytes <= ORR_LOG_RUN_BYTES_MAX) return insert(log, record);
  size->full = true;
  struct orr_log_record last = {.run = record->run,
                                .at_ms = record->at_ms,
                                .level = ORR_LOG_WARN,
                                .stream = ORR_SLICE_LITERAL("engine"),
                                .text = ORR_SLICE_LITERAL("the logs of this run are full; what "
                                                          "follows is not kept")};
  return insert(log, &last);
}

static bool store_sizes(struct orr_runlog *log, struct orr_link *lines) {
  const struct orr_id *before = NULL;
  for (; lines != NULL; lines = lines->next) {
    const struct orr_id *run = &ORR_CONTAINER_OF(lines, struct line, link)->record.run;
    if (before != NULL && orr_id_compare(before, run) == 0) continue; // often the same run in a row
    before = run;
    const struct size *size = size_of(log, run);
    sqlite3_bind_blob(log->put_size, 1, run->bytes, ORR_ID_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(log->put_size, 2, (sqlite3_int64)size->bytes);
    sqlite3_bind_int(log->put_size, 3, size->full);
    bool done = sqlite3_step(log->put_size) == SQLITE_DONE;
    sqlite3_reset(log->put_size);
    if (!done) return false;
  }
  return true;
}

static bool store_lines(struct orr_runlog *log, struct orr_link *lines) {
  if (!exec(log->db, "BEGIN IMMEDIATE")) return false;
  bool done = true;
  for (struct orr_link *link = lines; link != NULL && done; link = link->next)
    done = store_line(log, ORR_CONTAINER_OF(link, struct line, link));
  done = done && store_sizes(log, lines) && exec(log->db, "COMMIT");
  if (!done) exec(log->db, "ROLLBACK");
  if (log->sizes.len > RUNS_KNOWN_MAX || !done) free_sizes(&log->sizes);
  return done;
}

// Waits for a first record, then a little for company. Gives the oldest ones, at most a batch.
static struct orr_link *take_lines(struct orr_runlog *log, uint64_t *bytes) {
  while (log->head == NULL && !log->stop) pthread_cond_wait(&log->filled, &log->mutex);
  struct timespec until = after_ms(BATCH_MS);
  while (!log->flush && !log->stop && log->queued_bytes < BATCH_BYTES_MAX)
    if (pthread_cond_timedwait(&log->filled, &log->mutex, &until) == ETIMEDOUT) break;
  struct orr_link *lines = log->head, *last = NULL;
  while (log->head != NULL && *bytes < BATCH_BYTES_MAX) {
    last = log->head;
    *bytes += ORR_CONTAINER_OF(last, struct line, link)->bytes;
    log->head = last->next;
  }
  if (last != NULL) last->next = NULL;
  if (log->head == NULL) {
    log->tail = NULL;
    log->flush = false;
  }
  return lines;
}

static void *writer_main(void *context) {
  struct orr_runlog *log = context;
  pthread_mutex_lock(&log->mutex);
  for (;;) {
    uint64_t bytes = 0, records = 0;
    struct orr_link *lines = take_lines(log, &bytes);
    if (lines == NULL && log->stop) break;
    pthread_mutex_unlock(&log->mutex);
    bool done = lines == NULL || store_lines(log, lines);
    if (!done) orr_log(ORR_LOG_ERROR, "logs", "cannot write logs: %s", sqlite3_errmsg(log->db));
    while (lines != NULL) {
      struct orr_link *next = lines->next;
      free(ORR_CONTAINER_OF(lines, struct line, link));
      lines = next;
      records++;
    }
    pthread_mutex_lock(&log->mutex);
    log->queued_bytes -= bytes;
    log->stored += records;
    // Runs go on without their logs when the disk is full; later ones say how many are missing.
    if (!done) log->dropped += records;
    pthread_cond_broadcast(&log->written);
  }
  pthread_mutex_unlock(&log->mutex);
  return NULL;
}
