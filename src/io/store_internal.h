// SPDX-License-Identifier: MIT
// What the store's files share: the handle, its statements, and the table of runs that are not yet
// gathered. Only store*.c include it.
//
// A journal row of SQLite (journal_N) holds a pack: the journal rows of one commit, one behind the
// other, keyed by the position of the first. A pack costs one insert instead of one per run, which
// is most of the price of a row. Entry: 16 bytes run, varint distance to the run's previous row (0:
// none), varint length, facts. The k-th entry of a pack at position p has position p + k.
#pragma once

#include "io/store.h"

#include "base/map.h"

#include <sqlite3.h>

#define ORR__STORE_VERSION 1              // PRAGMA user_version
#define ORR__STORE_APPLICATION 0x4f525259 // "ORRY"
#define ORR__PACK_BYTES_MAX (256 * 1024)  // a pack is closed once it is larger
#define ORR__SEGMENTS_MAX 4u // more, and the oldest one's open runs move to the checkpoint
#define ORR__CHECKPOINT_BYTES (16 * 1024 * 1024) // of WAL, after which upkeep checkpoints at once
#define ORR__CHECKPOINT_IDLE_MS 50      // or so long after the last commit, if it is large,
#define ORR__CHECKPOINT_QUIET_MS 1000   // or so long after it, whatever its size
#define ORR__CHECKPOINT_WORTH_PAGES 256 // what is large then
#define ORR__WAL_ROOM_BYTES                                                                        \
  (4 * 1024 * 1024) // written ahead of the WAL's end, see orr__store_wal_room
#define ORR__WAL_ROOM_OPEN_BYTES (256 * 1024)      // at opening, where time is short
#define ORR__WAL_ROOM_MAX_BYTES (16 * 1024 * 1024) // of the file; from there on it is reused

struct orr__segment {
  uint64_t number;    // of its table
  uint64_t first_pos; // its positions are first_pos .. the next one's first_pos - 1
  uint64_t runs;      // ungathered runs whose oldest row outside the checkpoint table is in here
};

// An ungathered run. Segments are numbered from 1, so 0 means: none.
struct orr__open_run {
  struct orr_id id;
  uint64_t home; // segment that holds its oldest row not yet in the checkpoint table; 0: all are
  uint64_t last; // segment of its newest row
  bool used;
  bool checkpointed; // has a row in the checkpoint table
};
struct orr__open_runs { // open addressing, linear probing, deletion by shifting back
  struct orr__open_run *slots;
  size_t len, cap;
};
struct orr__open_run *orr__open_get(const struct orr__open_runs *runs, const struct orr_id *id);
struct orr__open_run *orr__open_put(struct orr__open_runs *runs,
                                    const struct orr_id *id); // found or new
void orr__open_remove(struct orr__open_runs *runs, struct orr__open_run *run);
void orr__open_free(struct orr__open_runs *runs);

struct orr_store {
  char *path;
  int lock_fd;
  sqlite3 *db;
  enum orr_durability durability;
  bool relaxed; // synchronous is NORMAL right now (derived data), whatever the durability
  bool failed;
  char error[512];
  uint32_t segment_rows;
  struct orr__segment *segments; // oldest first; the last one is written to
  size_t segments_len, segments_cap;
  uint64_t next_pos;
  struct orr__open_runs open;
  struct orr_buf pack;
  int wal_pages;        // in the WAL after the last commit
  int wal_checkpointed; // pages of the WAL when it was last copied whole
  uint64_t wal_bytes;   // size of its file, with the room ahead
  uint64_t last_commit_mono_us;
  int64_t expired_ms;       // wall time of the last sweep of expired rows
  uint64_t moved_pos;       // upkeep: rows before this position are in the checkpoint table
  struct orr_map defs;      // name + digests -> number in `defs`
  struct orr_map pipelines; // name -> number in `pipelines`
  sqlite3_stmt *begin, *commit, *rollback;
  sqlite3_stmt *journal; // of the current segment
  sqlite3_stmt *idempotency, *cache;
  sqlite3_stmt *run, *unpark;
};

// Notes the failure's text from SQLite; returns ORR_ERR_IO, _CORRUPT or _LIMIT for its code.
enum orr_status orr__store_fail(struct orr_store *store, const char *what);
// Runs a statement that returns no rows, and resets it.
bool orr__store_step(sqlite3_stmt *statement);
bool orr__store_exec(struct orr_store *store, const char *sql);
bool orr__store_prepare(struct orr_store *store, const char *sql, sqlite3_stmt **statement);
// Opens a transaction; with `derived`, one that need not survive power loss by itself (what it
// writes can be made again from what is durable), so that its commit needs no sync.
bool orr__store_begin(struct orr_store *store, bool derived);
bool orr__store_end(struct orr_store *store);
void orr__store_abandon(struct orr_store *store); // rolls back
// True if there is little room left before the WAL's file has to grow.
bool orr__store_wal_short(const struct orr_store *store);
// Writes zeros ahead of the WAL's end. A sync of a file that grows also commits its size, which
// costs as much again as the data (200 against 130 us here); overwriting does not. SQLite takes no
// note of it: zeros are no frame, so recovery ends before them. Best effort.
void orr__store_wal_room(struct orr_store *store, size_t bytes);
// Starts a new segment, in the current transaction.
bool orr__store_new_segment(struct orr_store *store);
static inline struct orr__segment *orr__store_current(struct orr_store *store) {
  return &store->segments[store->segments_len - 1];
}
struct orr__segment *orr__store_segment(struct orr_store *store, uint64_t number);

// Walks the entries of a pack. False at its end, or when it is damaged (reader->failed).
struct orr__pack_entry {
  struct orr_id run;
  uint64_t pos, prev;
  struct orr_slice data;
};
bool orr__pack_next(struct orr_reader *reader, uint64_t *pos, struct orr__pack_entry *entry);

// A reader's connection (store_read.c): opened at first use, statements prepared at theirs.
enum orr__read {
  ORR__READ_ALL,
  ORR__READ_STATUS,
  ORR__READ_PIPELINE,
  ORR__READ_BOTH,
  ORR__READ_PIPELINE_NUMBER,
  ORR__READ_RUN,
  ORR__READ_BLOB,
  ORR__READ_GENERATION,
  ORR__READ_CACHE,
  ORR__READ_COUNT
};
// The statement, reset and without bindings, or NULL: the store cannot be read.
sqlite3_stmt *orr__reader_statement(struct orr_store_reader *reader, enum orr__read which);
// Steps to the only row and gives its first column as a blob. Resets the statement.
enum orr_status orr__reader_blob(sqlite3_stmt *statement, struct orr_blob **blob);
