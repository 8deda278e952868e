// SPDX-License-Identifier: MIT
// The pure engine: events in, effects and journal rows out, time passed in. It decides what every run
// does next and owns all live runs. It holds no clock, socket, file, thread, Lua or random source
// (jitter comes from the run's recorded seed), so the same code runs in the binary, in the simulator
// and in fuzzers.
//
// The law of the outbox: after each orr_engine_apply or _tick the caller takes `orr_engine_outbox`,
// stores its rows as one batch (with everything else that arrived meanwhile, if it likes), and performs
// its effects, in order, only after the batch that holds those rows (and all earlier ones) is committed. If a commit
// fails the engine must be dropped: it is ahead of the disk.
//
// One thread at a time.
#pragma once

#include "base/blob.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/def.h"
#include "core/run.h"

struct orr_engine;

// --- tasks: work for a worker, and its result in the same allocation ------------------------------

enum orr_task_op {
  ORR_OP_STEP,   // evaluate `when` (unless decided), then run the step or item
  ORR_OP_EXPAND, // evaluate `when` and `over` of a map
  ORR_OP_OUTPUT, // evaluate the pipeline's output
  ORR_OP_KEY,    // evaluate the concurrency key
  ORR_OP_UNDO,   // undo(ctx, output)
  ORR_OP_HOOK,   // on_success, on_failure, on_retry; its result changes nothing
};
enum orr_hook { ORR_HOOK_SUCCESS, ORR_HOOK_FAILURE, ORR_HOOK_RETRY };

enum orr_outcome {
  ORR_OUTCOME_NONE,
  ORR_OUTCOME_OK,        // out: JSON
  ORR_OUTCOME_ERROR,     // out: error JSON; retryable says whether the policy applies
  ORR_OUTCOME_SKIPPED,   // `when` was false
  ORR_OUTCOME_CANCELLED, // ended because of an abort for cancel
  ORR_OUTCOME_TIMEOUT,   // ended because of an abort for timeout; out: error JSON
  ORR_OUTCOME_SLEEP,     // kind sleep: until_ms
  ORR_OUTCOME_CHILD,     // kind pipeline: child_def and out = its validated input
  ORR_OUTCOME_EXPANDED,  // OP_EXPAND: items_len x length-prefixed JSON in out
};

struct orr_task {
  struct orr_link link;  // free for whoever holds the task
  uint64_t serial;       // unique; identifies the attempt in aborts
  uint8_t op;            // enum orr_task_op
  uint8_t hook;          // enum orr_hook
  uint8_t priority;
  bool when_decided;     // do not evaluate `when` again
  bool whole_results;    // payload holds every ancestor (OUTPUT), not only direct dependencies
  uint32_t step, item, attempt; // attempt counts from 1
  uint64_t run_handle;
  int64_t dispatched_ms;
  struct orr_id run_id;
  struct orr_def *def;       // a reference
  struct orr_blob *input;    // a reference
  uint64_t timeout_ms;       // of this attempt, for ctx; enforced by the engine's abort
  // payload: varint n, n x { varint step, u8 status, bytes value }   results that travel along
  //          (of map items only small ones: a result that is missing is got by EVENT_FETCH)
  //          bytes item JSON (empty: none), bytes state JSON (empty: {}),
  //          bytes subject (UNDO: the step's output; HOOK: output or error)
  struct orr_buf payload;
  // set by the host
  uint32_t worker;
  uint32_t slot;             // place among the attempts in flight
  // set by the worker, on its clock
  uint8_t outcome;           // enum orr_outcome
  bool retryable;
  uint64_t retry_after_ms;   // ERROR: no other attempt before that; 0: as the policy says
  bool when_true;            // `when` was evaluated now and was true
  bool cached;
  int64_t started_ms, finished_ms;
  struct orr_buf out;        // JSON
  struct orr_buf state;      // JSON object of ctx.state writes, or empty
  struct orr_buf cache_key;  // to store `out` under, or empty
  uint64_t cache_ttl_ms;
  int64_t until_ms;
  uint32_t items_len;
  struct orr_def *child_def; // a reference, taken over by the engine
  void *worker_data;         // the worker's own, NULL outside it
};
struct orr_task *orr_task_new(void);
void orr_task_free(struct orr_task *task);

// --- replies --------------------------------------------------------------------------------------

struct orr_reply_to { // copied through; the core never looks into it
  void *port;
  uint64_t token;
};

struct orr_run_summary { // one line of a list; slices own nothing: see orr_reply
  struct orr_id id;
  struct orr_def *def; // a reference
  uint8_t status;
  int64_t created_ms, started_ms, finished_ms;
  struct orr_id parent;
  char trigger[ORR_NAME_BYTES_MAX + 1];
  char error[160]; // start of the error message, UTF-8, or ""
};

struct orr_attempt_view { // an attempt in flight
  uint32_t step, item, attempt, worker;
  int64_t dispatched_ms;
};

// Why something is not running: codes and numbers; texts are made at the edge.
#define ORR_REASON_LIST(X)                                                                         \
  X(PAUSED, "paused") X(CONCURRENCY, "concurrency") X(WORKER_SLOTS, "worker_slots")                \
  X(DEPENDENCIES, "dependencies") X(UNTIL, "waiting_until") X(RETRY, "retry_delay")                \
  X(CHILD, "child_run") X(CANCELLING, "cancelling") X(DRAINING, "draining") X(KEY, "key_pending")  \
  X(UNDOING, "undoing") X(IN_FLIGHT, "in_flight") X(PARALLEL, "parallel")
enum orr_reason_code {
#define X(name, text) ORR_REASON_##name,
  ORR_REASON_LIST(X)
#undef X
};
const char *orr_reason_text(enum orr_reason_code code);
struct orr_reason {
  enum orr_reason_code code;
  uint32_t step, item;  // UINT32_MAX: about the run
  int64_t until_ms;     // UNTIL, RETRY
  uint64_t limit, used; // CONCURRENCY, WORKER_SLOTS, PARALLEL; DEPENDENCIES: used = unfinished
};

struct orr_reply { // heap; whoever receives it frees it
  struct orr_link link;
  struct orr_reply_to to;
  enum orr_status status;
  char message[256]; // when status is not ORR_OK
  // SUBMIT: ids in the order of the inputs; `existing`: found by idempotency key
  struct orr_id *ids;
  uint32_t ids_len;
  bool existing;
  // GET: the run's definition, journal, attempts in flight and reasons; fold it to see it
  struct orr_def *def;
  struct orr_blob *journal;
  enum orr_run_status run_status;
  struct orr_attempt_view *attempts;
  uint32_t attempts_len;
  struct orr_reason *reasons; // at most 64
  uint32_t reasons_len;
  // LIST: newest first
  struct orr_run_summary *runs;
  uint32_t runs_len;
  // AWAIT: run_status, one summary in `runs`, and the output or the error in `value`
  // FETCH: status of the step (value may be NULL)
  uint8_t step_status;
  struct orr_blob *value;
};
void orr_reply_free(struct orr_reply *reply);

// --- events: everything that can happen -----------------------------------------------------------

enum orr_event_type {
  ORR_EVENT_SUBMIT,   // create runs
  ORR_EVENT_RESULT,   // a worker is done with a task
  ORR_EVENT_CANCEL,
  ORR_EVENT_PAUSE,
  ORR_EVENT_RESUME,
  ORR_EVENT_GET,
  ORR_EVENT_AWAIT,    // the end of a run: answered when it is final (at once if it is)
  ORR_EVENT_LIST,
  ORR_EVENT_FETCH,    // a result of an ancestor that did not travel with the task
  ORR_EVENT_WATCH,    // NOTICE effects for this run, or for all when id is zero; until WATCH off
  ORR_EVENT_RECOVER,  // an open or ungathered run found in the store at start; apply them all, in any
                      // order, before the first take: what holds a concurrency key is known only then
  ORR_EVENT_GATHERED, // the store has indexed these final runs: forget them
  ORR_EVENT_SLOTS,    // how many attempts may be in flight
  ORR_EVENT_DRAIN,    // start nothing any more
};

struct orr_event {
  struct orr_link link; // free for whoever holds the event
  enum orr_event_type type;
  struct orr_reply_to reply_to; // SUBMIT .. FETCH
  union {
    struct {
      struct orr_def *def; // a reference, taken over
      struct orr_blob **inputs; // inputs_len references and the array (orr_alloc), taken over; valid JSON
      uint32_t inputs_len;      // 1 .. ORR_EXECUTE_BATCH_MAX
      char trigger[ORR_NAME_BYTES_MAX + 1];
      struct orr_blob *idempotency_key; // or NULL; only with one input
      struct orr_digest request;        // digest of the request's body, compared under the same key
      bool watch;                       // as EVENT_WATCH for the new runs
    } submit;
    struct { struct orr_task *task; } result; // taken over
    struct { struct orr_id id; char reason[160]; } control; // CANCEL, PAUSE, RESUME
    struct { struct orr_id id; } get; // GET, AWAIT
    struct {
      struct orr_id before; // zero: from the newest
      uint32_t limit;
      int32_t status;       // enum orr_run_status, or -1
      char pipeline[ORR_NAME_BYTES_MAX + 1]; // "" any
    } list;
    struct { uint64_t run_handle; struct orr_id run_id; uint32_t step; } fetch;
    struct { struct orr_id id; bool on; } watch;
    struct {
      struct orr_def *def;      // a reference, taken over
      struct orr_blob *journal; // a reference, taken over
      uint64_t last_pos;
      bool in_flight_known;     // false after power loss: every dispatchable unit may have run
      struct orr_unit_ref *in_flight; // (orr_alloc), taken over
      uint32_t in_flight_len;
    } recover;
    struct { uint64_t *handles; uint32_t len; } gathered; // (orr_alloc), taken over
    struct { uint32_t slots; } slots;
  };
};
struct orr_event *orr_event_new(enum orr_event_type type);
void orr_event_free(struct orr_event *event); // and all it owns

// --- effects: everything the engine may ask of the world --------------------------------------------

enum orr_effect_type {
  ORR_EFFECT_DISPATCH, // give the task to a worker; it comes back as EVENT_RESULT
  ORR_EFFECT_ABORT,    // end the attempt `serial` on `worker`; its result still comes back
  ORR_EFFECT_REPLY,
  ORR_EFFECT_GATHER,   // run is final: index it, then EVENT_GATHERED. Its fields stay unchanged till then
  ORR_EFFECT_NOTICE,   // something of a watched run changed
};
enum orr_abort_why { ORR_ABORT_CANCEL, ORR_ABORT_TIMEOUT };

struct orr_effect {
  enum orr_effect_type type;
  union {
    struct orr_task *dispatch; // the receiver owns it until the result
    struct { uint64_t serial; uint32_t worker; enum orr_abort_why why; } abort;
    struct orr_reply *reply;   // the receiver owns it
    struct { const struct orr_run *run; uint64_t handle; } gather;
    struct {
      struct orr_id run;
      uint8_t run_status;
      uint32_t step, item; // UINT32_MAX: about the run
      uint8_t step_status;
      uint32_t steps_done, steps_total; // of the run; an expanded map counts its items
    } notice;
  };
};

// --- rows: what the store must keep ------------------------------------------------------------------

enum orr_row_type {
  ORR_ROW_JOURNAL,     // facts of one run of this turn, packed
  ORR_ROW_IDEMPOTENCY, // key -> run, with the request's digest
  ORR_ROW_CACHE,       // key -> output
};
struct orr_row {
  enum orr_row_type type;
  struct orr_id run;
  uint64_t pos, prev;   // JOURNAL: dense positions over all runs; prev row of the same run, 0 none
  bool final;           // JOURNAL: holds RUN_FINISHED
  uint64_t offset, len; // bytes in outbox->bytes: facts, or the cached output
  uint64_t key_offset, key_len; // IDEMPOTENCY, CACHE
  struct orr_digest request;    // IDEMPOTENCY
  int64_t expires_ms;           // IDEMPOTENCY, CACHE
};

struct orr_outbox { // owned by the engine; the caller moves it out with orr_engine_take
  struct orr_buf bytes;
  struct orr_row *rows;
  uint32_t rows_len, rows_cap;
  struct orr_effect *effects;
  uint32_t effects_len, effects_cap;
};
void orr_outbox_free(struct orr_outbox *outbox); // and the tasks and replies in its effects

// --- the engine ---------------------------------------------------------------------------------------

struct orr_engine_config {
  uint64_t seed;         // of ids and jitter
  uint64_t next_pos;     // first journal position to use, from the store; >= 1
  const char *node;      // recorded in facts; copied
  uint32_t slots;        // attempts in flight at most; 0 until EVENT_SLOTS
  uint64_t abort_grace_ms; // after an abort an attempt without result is given up; default 10 s
};

struct orr_engine *orr_engine_new(const struct orr_engine_config *config, const struct orr_now *now);
void orr_engine_free(struct orr_engine *engine);
// Applies one event (taken over, freed) and decides everything that follows from it.
void orr_engine_apply(struct orr_engine *engine, const struct orr_now *now, struct orr_event *event);
// Same for a chain of results in one go (EVENT_RESULT without the event): the hot path.
void orr_engine_results(struct orr_engine *engine, const struct orr_now *now, struct orr_link *tasks);
// Fires what is due. Call when orr_engine_next_deadline has passed.
void orr_engine_tick(struct orr_engine *engine, const struct orr_now *now);
// Mono instant of the next timer, or ORR_WHEEL_NEVER.
uint64_t orr_engine_next_deadline(const struct orr_engine *engine);
// Moves rows and effects since the last take into `outbox` (whose old memory is reused: pass one
// that is empty but has capacity). Packs the turn's facts into one row per touched run, and dispatches
// what may start. Returns false if there is nothing.
bool orr_engine_take(struct orr_engine *engine, const struct orr_now *now, struct orr_outbox *outbox);
// Runs that are not final, and final ones not yet gathered.
uint32_t orr_engine_live(const struct orr_engine *engine);
uint32_t orr_engine_ungathered(const struct orr_engine *engine);
uint32_t orr_engine_in_flight(const struct orr_engine *engine); // tasks at workers
// Idempotency keys known from the store, at start.
void orr_engine_remember_key(struct orr_engine *engine, struct orr_slice key,
                             const struct orr_id *run, const struct orr_digest *request,
                             int64_t expires_ms);

// Walks live runs for tests and the simulator, oldest first: pass NULL to start.
struct orr_run *orr_engine_next_run(struct orr_engine *engine, struct orr_run *run);
// Checks every invariant that a single engine can see (reliability I2-I17); aborts with a message.
void orr_engine_check(struct orr_engine *engine);
