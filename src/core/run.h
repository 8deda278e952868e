// SPDX-License-Identifier: MIT
// A run as the fold of its journal. `orr_run_apply` is the only function that changes what a run
// *is*;
// the engine decides, makes a fact, applies it and hands it to the store, so live state and
// replayed
// state cannot differ. What is not in the journal (attempts in flight, timers, queue places) lives
// in
// the fields marked "live", which folding leaves untouched. The dashboard and the API rebuild a
// run's picture with the same code. Owner thread only; no clock, no I/O.
#pragma once

#include "base/blob.h"
#include "base/id.h"
#include "base/list.h"
#include "base/map.h"
#include "core/def.h"
#include "core/fact.h"
#include "core/states.h"
#include "core/wheel.h"

struct orr_task;
struct orr_run;

struct orr_span { // bytes inside the run's journal buffer: survives its reallocation
  uint64_t offset;
  uint64_t len;
};

struct orr_unit { // a step, or an item of a map
  struct orr_run *run;
  uint32_t step, item;
  uint8_t status;     // enum orr_step_status
  uint8_t flags;      // enum orr_unit_flag
  uint32_t attempts;  // finished or interrupted ones; the next is attempts + 1
  uint32_t failures;  // of them, those that count against retry.attempts
  uint32_t pending;   // dependencies without an outcome yet
  int64_t started_ms; // of the last attempt recorded
  int64_t finished_ms;
  int64_t until_ms;      // waiting or retrying: wall instant
  struct orr_span value; // output, or error JSON, or the reason of a skip
  // live
  struct orr_task *task;  // attempt in flight, or NULL
  struct orr_list ready;  // place in a ready queue
  struct orr_timer timer; // wait, retry delay, attempt timeout or abort grace: one at a time
};

// The reason in the CANCEL fact by which the engine ends a run that is past its deadline.
#define ORR_RUN_TIMEOUT_REASON "run timeout"

enum orr_unit_flag {
  ORR_UNIT_WHEN_TRUE = 1 << 0,   // `when` has been decided
  ORR_UNIT_STARTED = 1 << 1,     // `once`: the body may have run
  ORR_UNIT_UNDONE = 1 << 2,      // its undo has an outcome
  ORR_UNIT_CACHED = 1 << 3,
  ORR_UNIT_EXPANDED = 1 << 4,    // map: items known
  ORR_UNIT_ABORTING = 1 << 5,    // live: an abort was sent
  ORR_UNIT_INTERRUPTED = 1 << 6,
  ORR_UNIT_CHILD = 1 << 7,       // waits for a child run
};

struct orr_map_items { // of one expanded map step
  uint32_t step;
  uint32_t count;
  uint32_t done;      // items with an outcome
  uint32_t next;      // live: first item (from 1) not yet made ready
  uint32_t open;      // live: items ready or in flight
  bool failed;        // an item failed finally: no new items start
  struct orr_unit *units; // count
  struct orr_span *values; // count: the items' JSON
};

struct orr_run {
  struct orr_id id;
  struct orr_def *def;       // a reference
  uint8_t status;            // enum orr_run_status
  struct orr_buf journal;    // every fact so far, encoded
  struct orr_blob *input;
  struct orr_id parent;
  uint32_t parent_step, parent_item;
  uint32_t depth;
  struct orr_span trigger, concurrency_key, idempotency_key;
  bool key_decided, admitted;
  int64_t created_ms, started_ms, finished_ms, deadline_ms;
  uint64_t seed;
  uint32_t facts;            // number of facts applied
  uint32_t units_open;       // steps without a final status
  uint32_t recoveries;       // since the last progress
  uint32_t active;           // units that may start or run: neither blocked, waiting nor final
  uint32_t waiting;          // units in status waiting or retrying
  uint32_t children_open;    // of them, those that wait for a child run
  uint32_t items_total, items_done; // over all expanded maps
  bool paused, cancel_asked, timed_out, output_decided;
  bool output_failed;
  struct orr_span pause_reason, cancel_reason, output, error;
  uint32_t failed_step, failed_item; // of the first failure; UINT32_MAX: none
  struct orr_unit *units;    // def->steps_len
  struct orr_map_items **maps; // def->steps_len entries once a map expanded, else NULL
  struct orr_id *children;     // def->steps_len; each step's newest child run, or zero; else NULL
  struct orr_buf state;      // JSON object of ctx.state after all recorded writes; empty: {}
  // live, owned by the engine
  uint64_t handle;
  uint64_t last_pos;         // position of the run's newest journal row; 0: none
  uint64_t persisted;        // bytes of `journal` already handed to the store
  uint32_t tasks_open;       // attempts and other tasks in flight
  uint32_t attempts_open;    // of them, attempts of steps and items
  bool watched;              // NOTICE effects are wanted
  struct orr_list fresh;     // units that may go on: filled by fold and timers, drained by the engine
  struct orr_list agenda;    // place in the engine's list of runs to decide about in this turn
  struct orr_list by_age;    // engine's list of all live runs, oldest first
  struct orr_list dirty;     // has facts not yet handed over in this turn
  struct orr_list gate;      // place in its concurrency key's queue or holders
  void *gate_of;             // struct orr_gate
  struct orr_timer timer;    // deadline of the run
  uint32_t undo_next;        // live cursor of the undo phase
  uint8_t phase;             // live, enum orr__phase of engine.c
  void *children_live;       // live, engine-private
};

struct orr_run *orr_run_new(struct orr_def *def); // takes its own reference; empty until CREATED
void orr_run_free(struct orr_run *run);

// Applies one fact: changes exactly the folded fields. `span` positions are relative to
// run->journal:
// the fact must already be encoded there, so call orr_run_record (live) or orr_run_load (replay).
// ORR_ERR_CORRUPT if the fact does not fit the run (illegal transition, unknown step): run
// unchanged.
enum orr_status orr_run_record(struct orr_run *run, const struct orr_fact *fact);
// Appends encoded facts and applies each. On error the run holds what was applied before the bad
// one.
enum orr_status orr_run_load(struct orr_run *run, struct orr_slice facts);

static inline struct orr_slice orr_run_bytes(const struct orr_run *run, struct orr_span span) {
  return orr_slice_of(run->journal.data + span.offset, (size_t)span.len);
}
struct orr_unit *orr_run_unit(struct orr_run *run, uint32_t step, uint32_t item); // NULL: no such
// Decides what a finished set of dependencies means for a pending step: run it, skip it, or keep
// waiting. Pure function of def and statuses; skips themselves are derived, not recorded.
enum orr_verdict { ORR_VERDICT_WAIT, ORR_VERDICT_RUN, ORR_VERDICT_SKIP };
enum orr_verdict orr_rule_verdict(const struct orr_run *run, uint32_t step);
// A digest of all folded fields, for the invariant "fold(journal) == live state".
uint64_t orr_run_fingerprint(const struct orr_run *run);
