// SPDX-License-Identifier: MIT
// The SQLite store. Hot path: one append-only journal, cut into segments (tables journal_N), without
// secondary indexes; the rows of a commit are packed into one SQLite row, keyed by the first position. When a run ends it is gathered: one row in the index tables for lists and one record
// with its whole journal; a segment whose runs are all gathered or checkpointed is dropped whole.
//
// One connection writes and checkpoints; it belongs to one thread at a time (NOMUTEX), and which one is
// decided by io/host.c. Readers are read-only connections of their own and never checkpoint. A kernel
// lock on PATH.lock keeps a second engine out; it is not inherited by children. Foreign library: SQLite.
#pragma once

#include "base/blob.h"
#include "core/engine.h"

struct orr_store;
struct orr_store_reader;

enum orr_durability {
  ORR_DURABLE_FULL,   // a commit survives power loss
  ORR_DURABLE_NORMAL, // a commit survives a killed process
};
struct orr_store_options {
  const char *path; // database file; its folder exists. ":memory:" is not supported
  enum orr_durability durability;
  uint32_t segment_rows; // rows after which a new segment begins; 0: 65536
};

// ORR_ERR_BUSY: another process holds the lock. ORR_ERR_CORRUPT, ORR_ERR_IO otherwise. `message` gets what,
// where and what to do. Migrates older schemas forward (PRAGMA user_version); refuses newer ones.
enum orr_status orr_store_open(const struct orr_store_options *options, struct orr_store **store,
                               char *message, size_t message_size);
// True if another process holds the lock of the store at `path`; takes nothing.
bool orr_store_locked(const char *path);
void orr_store_close(struct orr_store *store); // checkpoints, closes, unlocks
const char *orr_store_path(const struct orr_store *store);
const char *orr_store_error(const struct orr_store *store); // text of the last failure
bool orr_store_failed(const struct orr_store *store); // a write failed: nothing is written any more

// Commits the rows of `n` outboxes as one transaction. Any failure is final: the store refuses all further
// writes with ORR_ERR_UNAVAILABLE, and the engine must stop (memory would be ahead of disk).
// *sync_us: how long the commit took.
enum orr_status orr_store_commit(struct orr_store *store, struct orr_outbox *const *outboxes,
                                 size_t n, uint64_t *sync_us);
// Indexes final runs (their fields are stable, see ORR_EFFECT_GATHER) in one transaction.
enum orr_status orr_store_gather(struct orr_store *store, const struct orr_run *const *runs, size_t n);
// Background upkeep, a few milliseconds at most per call: checkpoint of the WAL, expired cache and
// idempotency rows, segments to drop (open runs in an old segment are copied to the checkpoint table).
// Returns true if more is to do.
bool orr_store_upkeep(struct orr_store *store, int64_t wall_ms);
// True if upkeep must not wait for a quiet moment: the WAL has grown large.
bool orr_store_pressed(const struct orr_store *store);

// --- content (scripts, trees, definitions), by SHA-256 -------------------------------------------------

// Puts blobs and makes `generation` the newest good one, in one transaction.
enum orr_status orr_store_put_generation(struct orr_store *store, const struct orr_digest *generation,
                                         struct orr_slice const *blobs, size_t blobs_len, int64_t wall_ms);
// The newest good generation. ORR_ERR_NOT_FOUND when there is none.
enum orr_status orr_store_last_generation(struct orr_store_reader *reader, struct orr_digest *generation);

// --- recovery, before the engine runs --------------------------------------------------------------------

struct orr_store_recovered {
  uint64_t next_pos;
  // Called for every run with facts in the journal that is open, or final but not gathered, oldest first.
  // `journal` is only valid during the call. Its first fact is CREATED. A run with a bad record is
  // reported with status ORR_ERR_CORRUPT and the good facts before it.
  void (*run)(void *context, enum orr_status status, const struct orr_id *id, struct orr_slice journal,
              uint64_t last_pos);
  void (*idempotency)(void *context, struct orr_slice key, const struct orr_id *run,
                      const struct orr_digest *request, int64_t expires_ms);
  void *context;
};
enum orr_status orr_store_recover(struct orr_store *store, struct orr_store_recovered *out, int64_t wall_ms);

// --- readers -----------------------------------------------------------------------------------------------

// One thread. Opens lazily; safe while the engine writes.
enum orr_status orr_store_reader_open(const char *path, struct orr_store_reader **reader);
void orr_store_reader_close(struct orr_store_reader *reader);
enum orr_status orr_store_blob(struct orr_store_reader *reader, const struct orr_digest *digest,
                               struct orr_blob **blob);
// A gathered run's journal (newest form) by id.
enum orr_status orr_store_run(struct orr_store_reader *reader, const struct orr_id *id,
                              struct orr_blob **journal);
struct orr_store_list {
  struct orr_id before; // zero: from the newest
  uint32_t limit;
  int32_t status;       // enum orr_run_status or -1
  const char *pipeline; // NULL or "": any
};
struct orr_store_row { // texts valid during the call only
  struct orr_id id;
  const char *pipeline;
  struct orr_digest version, generation;
  uint8_t status;
  int64_t created_ms, started_ms, finished_ms;
  struct orr_id parent;
  const char *trigger;
  const char *error; // start of the message or ""
};
// Gathered runs, newest first, by keyset over a small index; calls back at most `limit` times.
enum orr_status orr_store_list(struct orr_store_reader *reader, const struct orr_store_list *query,
                               void (*row)(void *context, const struct orr_store_row *row), void *context);
// Cached output under `key`, not expired. ORR_ERR_NOT_FOUND otherwise.
enum orr_status orr_store_cache(struct orr_store_reader *reader, struct orr_slice key, int64_t wall_ms,
                                struct orr_blob **output);
