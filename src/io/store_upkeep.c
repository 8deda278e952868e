// SPDX-License-Identifier: MIT
// Upkeep between commits, one small piece a call: dropping segments that nobody needs, moving the
// journals of open runs out of old segments, copying the WAL back, sweeping what has expired.
// Invariant: a segment is dropped only when each of its runs is gathered or has all its rows of
// that segment in the checkpoint table. Owner of the connection.
#include "io/store_internal.h"

#include "base/check.h"
#include "base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MOVE_BYTES_MAX (2 * 1024 * 1024) // journal read by one call
#define EXPIRE_EVERY_MS 60000
#define EXPIRE_ROWS_MAX 500

static bool drop_oldest(struct orr_store *store) {
  char sql[128];
  unsigned long long number = (unsigned long long)store->segments[0].number;
  snprintf(sql, sizeof sql, "DROP TABLE journal_%llu; DELETE FROM segments WHERE number = %llu",
           number, number);
  if (!orr__store_begin(store, true) || !orr__store_exec(store, sql) || !orr__store_end(store))
    return false;
  store->segments_len--;
  memmove(store->segments, store->segments + 1, store->segments_len * sizeof *store->segments);
  return true;
}

// --- moving open runs to the checkpoint table
// -----------------------------------------------------

struct moved { // one run's rows of this piece
  struct orr_id id;
  uint64_t last_pos;
  struct orr_buf data;
};
struct move {
  struct orr_map runs; // id -> struct moved
  uint64_t next_pos;   // where the next piece starts
  size_t bytes;
  bool damaged;
};

static void move_row(struct orr_store *store, struct move *move, uint64_t segment,
                     const struct orr__pack_entry *entry) {
  const struct orr__open_run *open = orr__open_get(&store->open, &entry->run);
  if (open == NULL || open->home != segment) return;
  struct moved *moved = orr_map_get(&move->runs, orr_id_slice(&entry->run));
  if (moved == NULL) {
    moved = orr_alloc(sizeof *moved);
    moved->id = entry->run;
    orr_map_put(&move->runs, orr_id_slice(&moved->id), moved);
  }
  moved->last_pos = entry->pos;
  orr_buf_slice_append(&moved->data, entry->data);
}

static bool read_piece(struct orr_store *store, struct move *move,
                       const struct orr__segment *segment) {
  char sql[96];
  snprintf(sql, sizeof sql, "SELECT pos, data FROM journal_%llu WHERE pos >= %llu ORDER BY pos",
           (unsigned long long)segment->number, (unsigned long long)store->moved_pos);
  sqlite3_stmt *statement = NULL;
  if (!orr__store_prepare(store, sql, &statement)) return false;
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    uint64_t pos = (uint64_t)sqlite3_column_int64(statement, 0);
    const void *data = sqlite3_column_blob(statement, 1);
    struct orr_slice pack = orr_slice_of(data, (size_t)sqlite3_column_bytes(statement, 1));
    struct orr_reader reader = orr_reader_of(pack);
    struct orr__pack_entry entry;
    while (orr__pack_next(&reader, &pos, &entry)) move_row(store, move, segment->number, &entry);
    move->damaged |= reader.failed;
    move->next_pos = pos;
    move->bytes += pack.len;
    if (move->bytes >= MOVE_BYTES_MAX) break;
  }
  if (code == SQLITE_DONE) move->next_pos = store->segments[1].first_pos;
  sqlite3_finalize(statement);
  return (code == SQLITE_DONE || code == SQLITE_ROW) && !move->damaged;
}

static bool write_piece(struct orr_store *store, const struct move *move) {
  sqlite3_stmt *put = NULL, *mark = NULL;
  bool done = orr__store_prepare(
                  store,
                  "INSERT INTO checkpoint(run, last_pos, data) VALUES(?1, ?2, ?3)"
                  " ON CONFLICT(run) DO UPDATE SET last_pos = ?2, data = CAST(data || ?3 AS BLOB)",
                  &put) &&
              orr__store_prepare(
                  store, "INSERT OR REPLACE INTO meta(key, value) VALUES('moved_pos', ?)", &mark);
  size_t cursor = 0;
  void *value;
  while (done && orr_map_next(&move->runs, &cursor, NULL, &value)) {
    const struct moved *moved = value;
    sqlite3_bind_blob(put, 1, moved->id.bytes, ORR_ID_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(put, 2, (sqlite3_int64)moved->last_pos);
    sqlite3_bind_blob64(put, 3, moved->data.data, moved->data.len, SQLITE_STATIC);
    done = orr__store_step(put);
  }
  if (done) {
    sqlite3_bind_int64(mark, 1, (sqlite3_int64)move->next_pos);
    done = orr__store_step(mark);
  }
  sqlite3_finalize(put);
  sqlite3_finalize(mark);
  return done;
}

// After the last piece: the segment's runs live on in the checkpoint table, and those with newer
// rows in the next segment.
static void leave_oldest(struct orr_store *store) {
  struct orr__segment *oldest = &store->segments[0], *next = &store->segments[1];
  for (size_t i = 0; i < store->open.cap && oldest->runs > 0; i++) {
    struct orr__open_run *run = &store->open.slots[i];
    if (!run->used || run->home != oldest->number) continue;
    run->home = run->last > oldest->number ? next->number : 0;
    if (run->home != 0) next->runs++;
    oldest->runs--;
  }
  orr_assert(oldest->runs == 0);
}

static bool move_piece(struct orr_store *store) {
  if (store->moved_pos < store->segments[0].first_pos)
    store->moved_pos = store->segments[0].first_pos;
  struct move move = {.runs = ORR_MAP_INIT};
  bool done = read_piece(store, &move, &store->segments[0]) && orr__store_begin(store, true) &&
              write_piece(store, &move) && orr__store_end(store);
  size_t cursor = 0;
  void *value;
  while (orr_map_next(&move.runs, &cursor, NULL, &value)) {
    struct moved *moved = value;
    if (done) {
      struct orr__open_run *open = orr__open_get(&store->open, &moved->id);
      open->checkpointed = true;
    }
    orr_buf_free(&moved->data);
    free(moved);
  }
  orr_map_free(&move.runs);
  if (!done) return false;
  store->moved_pos = move.next_pos;
  if (store->moved_pos >= store->segments[1].first_pos) leave_oldest(store);
  return true;
}

// --- the rest
// -------------------------------------------------------------------------------------

static bool expire(struct orr_store *store, int64_t wall_ms, bool *more) {
  static const char *const sweeps[] = {
      "DELETE FROM idempotency WHERE key IN"
      " (SELECT key FROM idempotency WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?)",
      "DELETE FROM cache WHERE key IN"
      " (SELECT key FROM cache WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?)"};
  bool done = orr__store_begin(store, true);
  for (size_t i = 0; i < 2 && done; i++) {
    sqlite3_stmt *statement = NULL;
    done = orr__store_prepare(store, sweeps[i], &statement);
    if (!done) break;
    sqlite3_bind_int64(statement, 1, wall_ms);
    sqlite3_bind_int64(statement, 2, EXPIRE_ROWS_MAX);
    done = orr__store_step(statement);
    if (sqlite3_changes(store->db) == EXPIRE_ROWS_MAX) *more = true;
    sqlite3_finalize(statement);
  }
  return done && orr__store_end(store);
}

// Copies the WAL back. Readers may hold its end back; then the rest waits for the next time.
static bool checkpoint(struct orr_store *store) {
  int pages = 0, copied = 0;
  int code = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, &copied);
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) return true;
  if (code != SQLITE_OK) return false;
  store->wal_checkpointed = store->wal_pages;
  return true;
}

bool orr_store_pressed(const struct orr_store *store) {
  return (uint64_t)(store->wal_pages - store->wal_checkpointed) * 4096 >= ORR__CHECKPOINT_BYTES;
}

static bool quiet(const struct orr_store *store) {
  bool large = store->wal_pages - store->wal_checkpointed >= ORR__CHECKPOINT_WORTH_PAGES;
  uint64_t since_us = orr_clock_mono_us() - store->last_commit_mono_us;
  return since_us >= (large ? ORR__CHECKPOINT_IDLE_MS : ORR__CHECKPOINT_QUIET_MS) * 1000u;
}

bool orr__store_wal_short(const struct orr_store *store) {
  uint64_t used = (uint64_t)store->wal_pages * (4096 + 24) + 32;
  return store->durability == ORR_DURABLE_FULL &&
         used + ORR__WAL_ROOM_BYTES / 2 > store->wal_bytes &&
         store->wal_bytes < ORR__WAL_ROOM_MAX_BYTES;
}

void orr__store_wal_room(struct orr_store *store, size_t bytes) {
  static const uint8_t zeros[65536];
  struct orr_buf name = ORR_BUF_INIT;
  orr_buf_printf(&name, "%s-wal", store->path);
  int fd = open(orr_buf_cstr(&name), O_WRONLY | O_CLOEXEC);
  orr_buf_free(&name);
  store->wal_bytes = ORR__WAL_ROOM_MAX_BYTES; // unless it works, it is not tried again
  if (fd < 0) return;
  off_t end = lseek(fd, 0, SEEK_END);
  ssize_t written = 0;
  for (size_t more = 0; end >= 0 && more < bytes && written >= 0; more += sizeof zeros)
    written = pwrite(fd, zeros, sizeof zeros, end + (off_t)more);
  if (end >= 0 && written == sizeof zeros && fdatasync(fd) == 0)
    store->wal_bytes = (uint64_t)end + bytes;
  close(fd);
}

// One piece of work. Sets *more if there is more to do; false on a failure.
static bool upkeep(struct orr_store *store, int64_t wall_ms, bool *more) {
  *more = true;
  if (orr_store_pressed(store)) return checkpoint(store);
  if (store->segments_len > 1 && store->segments[0].runs == 0) return drop_oldest(store);
  if (store->segments_len > ORR__SEGMENTS_MAX) return move_piece(store);
  if (orr__store_wal_short(store)) {
    orr__store_wal_room(store, ORR__WAL_ROOM_BYTES);
    return true;
  }
  bool expired = wall_ms - store->expired_ms < EXPIRE_EVERY_MS && wall_ms >= store->expired_ms;
  if (!expired) {
    bool again = false;
    if (!expire(store, wall_ms, &again)) return false;
    if (!again) store->expired_ms = wall_ms;
    return true;
  }
  if (store->wal_pages > store->wal_checkpointed) {
    if (quiet(store)) return checkpoint(store);
    return true; // asked again after a while, it will be
  }
  *more = false;
  return true;
}

bool orr_store_upkeep(struct orr_store *store, int64_t wall_ms) {
  if (store->failed) return false;
  bool more = false;
  if (upkeep(store, wall_ms, &more)) return more;
  orr__store_fail(store, "tidy up");
  orr__store_abandon(store);
  store->failed = true;
  return false;
}
