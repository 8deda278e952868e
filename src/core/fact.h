// SPDX-License-Identifier: MIT
// The journal codec. A run's journal is a sequence of facts; folding them (core/run.h) gives the run.
// Record: varint length of body | body = u8 codec version, u8 type, fields | u32le CRC-32C of the body.
// Fields are varints, zigzag varints and length-prefixed bytes; unknown trailing fields of a known type
// are ignored, so fields may be added at the end. Slices of a decoded fact point into the input.
#pragma once

#include "base/hash.h"
#include "base/id.h"
#include "base/status.h"

#define ORR_FACT_VERSION 1

#define ORR_FACT_LIST(X)                                                                           \
  X(CREATED, 1, "created")             /* always the first */                                      \
  X(KEY, 2, "concurrency_key")         /* key decided by a function */                             \
  X(ADMITTED, 3, "admitted")           /* left the queue of its concurrency key */                 \
  X(STARTED, 4, "started")             /* `once` steps only, committed before the body */          \
  X(FINISHED, 5, "step_finished")      /* an outcome of a step or item: recorded exactly once */   \
  X(RETRY, 6, "retry_scheduled")       /* attempt failed; the next starts at until_ms */           \
  X(WAITING, 7, "waiting")             /* sleep until an instant */                                \
  X(EXPANDED, 8, "map_expanded")                                                                   \
  X(CHILD, 9, "child_started")                                                                     \
  X(RECOVERED, 10, "recovered")        /* attempts that were in flight when the engine died */     \
  X(PAUSED, 11, "paused")                                                                          \
  X(RESUMED, 12, "resumed")                                                                        \
  X(CANCEL, 13, "cancel_asked")                                                                    \
  X(UNDONE, 14, "undo_finished")                                                                   \
  X(OUTPUT, 15, "output")              /* the pipeline's output, evaluated on a worker */          \
  X(LATE, 16, "late")                  /* a result that came after its attempt was given up */     \
  X(RUN_FINISHED, 17, "run_finished")  /* always the last */

enum orr_fact_type {
#define X(name, value, text) ORR_FACT_##name = value,
  ORR_FACT_LIST(X)
#undef X
};
const char *orr_fact_type_text(enum orr_fact_type type);

struct orr_unit_ref { // a step, or one item of a map step
  uint32_t step;
  uint32_t item; // 0: the step itself; items count from 1
};

struct orr_fact {
  enum orr_fact_type type;
  int64_t at_ms; // wall time of the decision
  union {
    struct {
      struct orr_id id;
      struct orr_slice pipeline; // name
      struct orr_digest generation;
      struct orr_digest version;
      struct orr_slice input; // JSON
      struct orr_id parent;   // zero: none
      uint32_t parent_step, parent_item;
      struct orr_slice trigger;         // what started it: "api", "cli", "run", a trigger's name
      struct orr_slice idempotency_key; // or empty
      struct orr_slice concurrency_key; // or empty
      int64_t deadline_ms;              // of the run; 0: none
      uint64_t seed;                    // of its jitter
      uint32_t depth;                   // of child runs
    } created;
    struct { struct orr_slice key; } key;
    struct { struct orr_unit_ref unit; uint32_t attempt; } started;
    struct { // FINISHED, RETRY, LATE, UNDONE
      struct orr_unit_ref unit;
      uint32_t attempt;
      uint8_t status;      // enum orr_step_status: succeeded, failed, skipped, cancelled
      uint8_t flags;       // enum orr_finished_flag
      int64_t started_ms, finished_ms; // of the attempt, on the worker's clock
      struct orr_slice value; // output JSON if succeeded, else error JSON ({message, code, ...})
      struct orr_slice state; // JSON object of ctx.state writes, or empty; kept only if succeeded
      int64_t until_ms;       // RETRY: start of the next attempt
      struct orr_slice node;
    } finished;
    struct { struct orr_unit_ref unit; uint32_t attempt; int64_t started_ms, until_ms; struct orr_slice value; } waiting;
    struct { uint32_t step; uint32_t count; uint32_t attempt; int64_t started_ms; struct orr_slice items; } expanded; // items: count x length-prefixed JSON
    struct { struct orr_unit_ref unit; uint32_t attempt; int64_t started_ms; struct orr_id child; } child;
    struct { uint32_t count; struct orr_slice units; } recovered; // count x (varint step, varint item),
                               // then varint 1 if the in-flight set was known (it counts), else 0
    struct { struct orr_slice reason; } paused; // PAUSED, RESUMED, CANCEL
    struct { uint8_t status; struct orr_slice value; } output; // succeeded: JSON; failed: error JSON
    struct { uint8_t status; struct orr_slice output; struct orr_slice error; } run_finished;
  };
};

enum orr_finished_flag {
  ORR_FINISHED_WHEN_TRUE = 1 << 0, // `when` was evaluated in this attempt and was true
  ORR_FINISHED_CACHED = 1 << 1,    // output taken from the cache
  ORR_FINISHED_INTERRUPTED = 1 << 2,
};

void orr_fact_encode(const struct orr_fact *fact, struct orr_buf *out);
// Reads the next fact and moves the reader on. ORR_ERR_NOT_FOUND at the clean end; ORR_ERR_CORRUPT for
// a bad checksum, version, type or length (the reader stays where the bad record begins).
enum orr_status orr_fact_decode(struct orr_reader *reader, struct orr_fact *fact);
