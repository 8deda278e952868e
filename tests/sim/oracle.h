// SPDX-License-Identifier: MIT
// The naive second opinion. It sees only what leaves the engine (rows and effects) and recomputes
// from the facts, the slow and obvious way, what the engine may do: which steps are ready, how
// often, in which order, within which limits. It shares no code with the engine except the fact
// codec, and checks the engine's own fold against the live runs beside it. Rows that a crash takes
// away are taken away here too.
#pragma once

#include "core/engine.h"

struct world;

#define MODEL_STEPS_MAX 12
#define MODEL_ITEMS_MAX 7

struct model_unit {
  uint8_t outcome; // enum orr_step_status; PENDING while there is none
  bool when_true, started, undone, expanded, retrying, waiting, child;
  uint32_t attempts, failures, interruptions;
  int64_t until_ms; // of a wait or delay
  uint64_t due_ms;  // mono: not before, in this epoch
  uint32_t finish_order;
  uint64_t value_at, value_len; // in the journal
  uint32_t items;               // of an expanded map
  struct orr_id child_id;
  uint32_t attempt_index, attempt_epoch; // of its newest attempt given out
  uint64_t item_at[MODEL_ITEMS_MAX], item_len[MODEL_ITEMS_MAX];
};
struct model_row {
  uint64_t pos, batch;
  uint32_t len;
};
enum { MODEL_STATE_KEYS = 6 };

struct model_run {
  struct orr_id id;
  struct orr_def *def; // a reference
  struct orr_buf journal;
  struct model_row *rows;
  uint32_t rows_len, rows_cap;
  // from the facts
  uint32_t facts, finish_order;
  bool created, key_decided, admitted, cancelled, timed_out, paused, output_decided, output_failed,
      final;
  bool any_failed, ever_paused;
  uint64_t admitted_batch;
  bool was_active;    // at the end of the batch before
  bool recovered_now; // a RECOVERED fact in this epoch
  uint8_t status;
  uint32_t recoveries;
  struct orr_id parent;
  uint32_t parent_step;
  struct orr_digest generation;
  uint64_t key_at, key_len;
  int64_t created_ms, deadline_ms;
  uint64_t deadline_due_ms;        // mono
  int32_t state[MODEL_STATE_KEYS]; // -1: absent
  struct model_unit *units;        // steps * (1 + items)
  // of the world, survive a crash
  bool gone; // lost in a crash before it was acknowledged
  bool acknowledged, cancel_acknowledged;
  bool gathering, gathered;
  uint8_t bodies[MODEL_STEPS_MAX][MODEL_ITEMS_MAX + 1]; // how often the worker ran it
  uint8_t undos[MODEL_STEPS_MAX];
  // the engine's own fold of the same rows
  struct orr_run *mirror;
  const struct orr_run *live; // pointer in the engine of this epoch
  uint32_t checked_rows;      // of the live run against the mirror
};

struct model_key { // an idempotency row
  char text[24];
  struct orr_id run;
  struct orr_digest request;
  int64_t expires_ms;
  uint64_t batch;
};
struct model_cache {
  uint64_t key;
  struct orr_blob *output;
  uint64_t batch;
};

struct oracle {
  struct model_run **runs;
  uint32_t runs_len, runs_cap;
  uint32_t open;   // first run that may be not final: runs before it are gathered or gone
  uint32_t *index; // hash of ids -> run + 1
  uint32_t index_cap;
  struct model_key *keys;
  uint32_t keys_len, keys_cap;
  struct model_cache *cache;
  uint32_t cache_len, cache_cap;
  uint64_t pos; // of the last row
  uint64_t facts;
};

void oracle_free(struct world *w);
struct model_run *oracle_find(struct world *w, const struct orr_id *id, uint32_t *index); // or NULL
static inline struct model_unit *model_unit(struct model_run *run, uint32_t step, uint32_t item) {
  return &run->units[step * (MODEL_ITEMS_MAX + 1) + item];
}
static inline struct orr_slice model_bytes(const struct model_run *run, uint64_t at, uint64_t len) {
  return orr_slice_of(run->journal.data + at, (size_t)len);
}

// Status of a step by naive recursion over its dependencies.
enum orr_step_status model_step_status(struct model_run *run, uint32_t step);
bool model_may_run(struct model_run *run, uint32_t step); // its rule is satisfied now
bool model_active(struct model_run *run);                 // holds its slot under hold = "active"

// Rows and effects of one outbox, before it goes to the store.
void oracle_rows(struct world *w, const struct orr_outbox *outbox, uint64_t batch);
uint32_t oracle_dispatch(struct world *w, const struct orr_task *task); // as it leaves; model index
void oracle_live(struct world *w, const struct orr_outbox *outbox);     // engine against models
void oracle_gates(struct world *w, const struct orr_outbox *outbox); // concurrency, naively counted
// A crash: batches above `kept` never happened.
void oracle_crash(struct world *w, uint64_t kept);
void oracle_recovered(struct world *w,
                      struct model_run *run); // timers start anew from the wall clock
void oracle_end(struct world *w);             // liveness, at the end of phase L
bool oracle_all_final(struct world *w);
