// SPDX-License-Identifier: MIT
// The hot path: the rows of one or many outboxes become one transaction. Journal rows are packed
// (see store_internal.h), so a commit costs a handful of statements whatever its size. Invariant:
// rows arrive with dense positions, in order; once a commit has failed nothing is written any more.
#include "io/store_internal.h"

#include "base/check.h"
#include "base/clock.h"

#include <stdio.h>

static bool write_pack(struct orr_store *store, uint64_t pos) {
  sqlite3_bind_int64(store->journal, 1, (sqlite3_int64)pos);
  sqlite3_bind_blob64(store->journal, 2, store->pack.data, store->pack.len, SQLITE_STATIC);
  bool done = orr__store_step(store->journal);
  sqlite3_bind_null(store->journal, 2); // the pack's memory may move before the next use
  orr_buf_clear(&store->pack);
  return done;
}

// Keeps count of which segments still hold the only copy of an ungathered run.
static void note_row(struct orr_store *store, const struct orr_row *row) {
  struct orr__segment *current = orr__store_current(store);
  struct orr__open_run *run = orr__open_put(&store->open, &row->run);
  run->last = current->number;
  if (run->home != 0) return;
  run->home = current->number;
  current->runs++;
}

static void pack_row(struct orr_store *store, const struct orr_outbox *outbox,
                     const struct orr_row *row) {
  orr_assert(row->pos == store->next_pos && row->prev < row->pos);
  orr_buf_slice_append(&store->pack, orr_id_slice(&row->run));
  orr_buf_varint(&store->pack, row->prev == 0 ? 0 : row->pos - row->prev);
  orr_buf_bytes(&store->pack, orr_slice_of(outbox->bytes.data + row->offset, (size_t)row->len));
  store->next_pos++;
  note_row(store, row);
}

static bool write_key(sqlite3_stmt *statement, const struct orr_outbox *outbox,
                      const struct orr_row *row) {
  sqlite3_bind_blob64(statement, 1, outbox->bytes.data + row->key_offset, row->key_len,
                      SQLITE_STATIC);
  if (row->type == ORR_ROW_IDEMPOTENCY) {
    sqlite3_bind_blob(statement, 2, row->run.bytes, ORR_ID_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 3, row->request.bytes, ORR_SHA256_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 4, row->expires_ms);
  } else {
    sqlite3_bind_blob64(statement, 2, outbox->bytes.data + row->offset, row->len, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, row->expires_ms);
  }
  bool done = orr__store_step(statement);
  sqlite3_clear_bindings(statement);
  return done;
}

static bool write_outboxes(struct orr_store *store, struct orr_outbox *const *outboxes, size_t n) {
  if (store->next_pos - orr__store_current(store)->first_pos >= store->segment_rows &&
      !orr__store_new_segment(store))
    return false;
  uint64_t pack_pos = store->next_pos;
  for (size_t i = 0; i < n; i++) {
    for (uint32_t k = 0; k < outboxes[i]->rows_len; k++) {
      const struct orr_row *row = &outboxes[i]->rows[k];
      switch (row->type) {
      case ORR_ROW_JOURNAL:
        pack_row(store, outboxes[i], row);
        if (store->pack.len < ORR__PACK_BYTES_MAX) break;
        if (!write_pack(store, pack_pos)) return false;
        pack_pos = store->next_pos;
        break;
      case ORR_ROW_IDEMPOTENCY:
        if (!write_key(store->idempotency, outboxes[i], row)) return false;
        break;
      case ORR_ROW_CACHE:
        if (!write_key(store->cache, outboxes[i], row)) return false;
        break;
      }
    }
  }
  return store->pack.len == 0 || write_pack(store, pack_pos);
}

enum orr_status orr_store_commit(struct orr_store *store, struct orr_outbox *const *outboxes,
                                 size_t n, uint64_t *sync_us) {
  if (store->failed) return ORR_ERR_UNAVAILABLE;
  uint64_t began_us = orr_clock_mono_us();
  if (!orr__store_begin(store, false) || !write_outboxes(store, outboxes, n) ||
      !orr__store_end(store)) {
    enum orr_status status = orr__store_fail(store, "commit");
    store->failed = true;
    orr__store_abandon(store);
    return status;
  }
  *sync_us = store->last_commit_mono_us - began_us;
  return ORR_OK;
}

bool orr__pack_next(struct orr_reader *reader, uint64_t *pos, struct orr__pack_entry *entry) {
  if (reader->failed || reader->at == reader->end) return false;
  struct orr_slice id = orr_read_raw(reader, ORR_ID_BYTES);
  uint64_t distance = orr_read_varint(reader);
  struct orr_slice data = orr_read_bytes(reader);
  if (reader->failed) return false;
  memcpy(entry->run.bytes, id.data, ORR_ID_BYTES);
  entry->pos = (*pos)++;
  entry->prev = distance == 0 ? 0 : entry->pos - distance;
  entry->data = data;
  return true;
}
