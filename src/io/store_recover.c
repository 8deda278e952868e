// SPDX-License-Identifier: MIT
// Recovery: the checkpoint table and every remaining segment are read once, in order, into one
// journal per run; nothing is asked per run. Runs that end and are found among the gathered ones
// are dropped. The facts are checked by their own codec; what they mean is the engine's business.
// Runs once, before the engine.
#include "io/store_internal.h"

#include "base/check.h"
#include "core/fact.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOKUPS_MAX 4096 // more final runs than this are compared by one scan of an index

struct chain { // one run's journal, as far as it was read
  struct orr_id id;
  uint64_t last_pos;
  uint64_t home, last; // segments, as in struct orr__open_run
  bool checkpointed, final, gathered, broken;
  struct orr_buf data;
};
struct chains {
  struct chain **list;
  size_t len, cap;
  struct orr_map by_id;
};

static struct chain *chain_of(struct chains *chains, const struct orr_id *id) {
  struct chain *chain = orr_map_get(&chains->by_id, orr_id_slice(id));
  if (chain != NULL) return chain;
  chain = orr_alloc(sizeof *chain);
  chain->id = *id;
  orr_map_put(&chains->by_id, orr_id_slice(id), chain);
  if (chains->len == chains->cap) {
    chains->cap = chains->cap == 0 ? 1024 : chains->cap * 2;
    chains->list = orr_realloc(chains->list, chains->cap * sizeof(struct chain *));
  }
  chains->list[chains->len++] = chain;
  return chain;
}

static void free_chains(struct chains *chains) {
  for (size_t i = 0; i < chains->len; i++) {
    orr_buf_free(&chains->list[i]->data);
    free(chains->list[i]);
  }
  free(chains->list);
  orr_map_free(&chains->by_id);
}

static bool read_checkpoint(struct orr_store *store, struct chains *chains) {
  sqlite3_stmt *statement = NULL;
  if (!orr__store_prepare(store, "SELECT run, last_pos, data FROM checkpoint", &statement))
    return false;
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    if (sqlite3_column_bytes(statement, 0) != ORR_ID_BYTES) continue;
    struct orr_id id;
    memcpy(id.bytes, sqlite3_column_blob(statement, 0), ORR_ID_BYTES);
    struct chain *chain = chain_of(chains, &id);
    chain->checkpointed = true;
    chain->last_pos = (uint64_t)sqlite3_column_int64(statement, 1);
    orr_buf_append(&chain->data, sqlite3_column_blob(statement, 2),
                   (size_t)sqlite3_column_bytes(statement, 2));
  }
  sqlite3_finalize(statement);
  return code == SQLITE_DONE;
}

static void add_row(struct chains *chains, const struct orr__segment *segment,
                    const struct orr__pack_entry *entry) {
  struct chain *chain = chain_of(chains, &entry->run);
  chain->last = segment->number;
  if (entry->pos <= chain->last_pos) return; // in the checkpoint table already
  // A run whose earlier rows are gone was gathered, and its segment dropped, before this row; or
  // the rows in between are damaged. Either way the run cannot be built from here on.
  if (entry->prev != chain->last_pos) chain->broken = true;
  if (chain->home == 0) chain->home = segment->number;
  chain->last_pos = entry->pos;
  orr_buf_slice_append(&chain->data, entry->data);
}

static bool read_segment(struct orr_store *store, struct chains *chains,
                         const struct orr__segment *segment) {
  char sql[80];
  snprintf(sql, sizeof sql, "SELECT pos, data FROM journal_%llu ORDER BY pos",
           (unsigned long long)segment->number);
  sqlite3_stmt *statement = NULL;
  if (!orr__store_prepare(store, sql, &statement)) return false;
  int code;
  bool damaged = false;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW && !damaged) {
    uint64_t pos = (uint64_t)sqlite3_column_int64(statement, 0);
    const void *data = sqlite3_column_blob(statement, 1);
    struct orr_reader reader =
        orr_reader_of(orr_slice_of(data, (size_t)sqlite3_column_bytes(statement, 1)));
    struct orr__pack_entry entry;
    while (orr__pack_next(&reader, &pos, &entry)) add_row(chains, segment, &entry);
    damaged = reader.failed;
    if (pos > store->next_pos) store->next_pos = pos;
  }
  sqlite3_finalize(statement);
  if (damaged) {
    snprintf(store->error, sizeof store->error,
             "%s: a pack of journal_%llu is damaged: restore a backup", store->path,
             (unsigned long long)segment->number);
    return false;
  }
  return code == SQLITE_DONE;
}

// --- which of them are gathered
// -------------------------------------------------------------------

static int by_id(const void *a, const void *b) {
  const struct chain *const *left = a, *const *right = b;
  return orr_id_compare(&(*left)->id, &(*right)->id);
}

// Checks every fact and finds out whether the last one ends the run. Cuts a damaged tail off.
static void check(struct chain *chain) {
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&chain->data));
  struct orr_fact fact;
  enum orr_status status;
  bool first = true;
  while ((status = orr_fact_decode(&reader, &fact)) == ORR_OK) {
    if (first && fact.type != ORR_FACT_CREATED) break;
    first = false;
    if (fact.type == ORR_FACT_RUN_FINISHED) chain->final = true;
  }
  if (status == ORR_ERR_NOT_FOUND && !first) return;
  chain->broken = true;
  chain->data.len = first ? 0 : (size_t)(reader.at - chain->data.data);
}

static bool look_up(struct orr_store *store, struct chains *chains) {
  sqlite3_stmt *statement = NULL;
  if (!orr__store_prepare(store, "SELECT 1 FROM runs WHERE id = ?", &statement)) return false;
  bool done = true;
  for (size_t i = 0; i < chains->len && done; i++) {
    struct chain *chain = chains->list[i];
    if (!chain->final && !chain->broken) continue;
    sqlite3_bind_blob(statement, 1, chain->id.bytes, ORR_ID_BYTES, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    chain->gathered = code == SQLITE_ROW;
    done = code == SQLITE_ROW || code == SQLITE_DONE;
    sqlite3_reset(statement);
  }
  sqlite3_finalize(statement);
  return done;
}

// One scan of a small index from the oldest id on, for a store that was full of finished runs.
static bool scan(struct orr_store *store, struct chains *chains) {
  sqlite3_stmt *statement = NULL;
  if (!orr__store_prepare(store,
                          "SELECT id FROM runs INDEXED BY runs_status WHERE status = ? AND id >= ?",
                          &statement))
    return false;
  int code = SQLITE_DONE;
  for (int status = 0; status < ORR_RUN_STATUS_COUNT && code == SQLITE_DONE; status++) {
    sqlite3_bind_int(statement, 1, status);
    sqlite3_bind_blob(statement, 2, chains->list[0]->id.bytes, ORR_ID_BYTES, SQLITE_STATIC);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
      struct orr_slice id = orr_slice_of(sqlite3_column_blob(statement, 0), ORR_ID_BYTES);
      struct chain *chain = orr_map_get(&chains->by_id, id);
      if (chain != NULL) chain->gathered = true;
    }
    sqlite3_reset(statement);
  }
  sqlite3_finalize(statement);
  return code == SQLITE_DONE;
}

static bool find_gathered(struct orr_store *store, struct chains *chains) {
  size_t final = 0;
  for (size_t i = 0; i < chains->len; i++) {
    check(chains->list[i]);
    final += chains->list[i]->final || chains->list[i]->broken;
  }
  if (chains->len > 1) qsort(chains->list, chains->len, sizeof *chains->list, by_id);
  if (final == 0) return true;
  return final <= LOOKUPS_MAX ? look_up(store, chains) : scan(store, chains);
}

// --- handing over
// ---------------------------------------------------------------------------------

static void adopt(struct orr_store *store, const struct chain *chain) {
  struct orr__open_run *open = orr__open_put(&store->open, &chain->id);
  open->checkpointed = chain->checkpointed;
  open->home = chain->home;
  open->last = chain->last;
  if (open->home != 0) orr__store_segment(store, open->home)->runs++;
}

static bool recover_keys(struct orr_store *store, struct orr_store_recovered *out,
                         int64_t wall_ms) {
  if (out->idempotency == NULL) return true;
  sqlite3_stmt *statement = NULL;
  if (!orr__store_prepare(
          store, "SELECT key, run, request, expires_ms FROM idempotency WHERE expires_ms > ?",
          &statement))
    return false;
  sqlite3_bind_int64(statement, 1, wall_ms);
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    if (sqlite3_column_bytes(statement, 1) != ORR_ID_BYTES ||
        sqlite3_column_bytes(statement, 2) != ORR_SHA256_BYTES)
      continue;
    struct orr_id run;
    struct orr_digest request;
    memcpy(run.bytes, sqlite3_column_blob(statement, 1), ORR_ID_BYTES);
    memcpy(request.bytes, sqlite3_column_blob(statement, 2), ORR_SHA256_BYTES);
    struct orr_slice key =
        orr_slice_of(sqlite3_column_blob(statement, 0), (size_t)sqlite3_column_bytes(statement, 0));
    out->idempotency(out->context, key, &run, &request, sqlite3_column_int64(statement, 3));
  }
  sqlite3_finalize(statement);
  return code == SQLITE_DONE;
}

enum orr_status orr_store_recover(struct orr_store *store, struct orr_store_recovered *out,
                                  int64_t wall_ms) {
  orr_assert(store->open.len == 0);
  store->error[0] = 0;
  struct chains chains = {0};
  enum orr_status status = ORR_OK;
  bool done = read_checkpoint(store, &chains);
  for (size_t i = 0; i < store->segments_len && done; i++)
    done = read_segment(store, &chains, &store->segments[i]);
  done = done && find_gathered(store, &chains) && recover_keys(store, out, wall_ms);
  if (!done) {
    status = store->error[0] != 0 ? ORR_ERR_CORRUPT : orr__store_fail(store, "read the journal");
    goto out;
  }
  out->next_pos = store->next_pos;
  for (size_t i = 0; i < chains.len; i++) {
    const struct chain *chain = chains.list[i];
    if (chain->gathered) continue;
    adopt(store, chain);
    if (out->run != NULL)
      out->run(out->context, chain->broken ? ORR_ERR_CORRUPT : ORR_OK, &chain->id,
               orr_buf_slice(&chain->data), chain->last_pos);
  }
out:
  free_chains(&chains);
  return status;
}
