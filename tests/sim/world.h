// SPDX-License-Identifier: MIT
// The simulated world around the real core: one thread, a heap of (time, seq, event), a clock, a
// store with commits that take time and crashes that keep a prefix of what was not committed,
// workers that misbehave, and people who submit, cancel, pause, reload and drain. Everything is
// drawn from one seed, so the same seed gives the same trace. The oracle (oracle.h) watches every
// row and every effect.
#pragma once

#include "core/engine.h"
#include "faults.h"
#include "oracle.h"

#include <setjmp.h>

#define SIM_PIPELINES_MAX 6
#define SIM_GENERATIONS_MAX 40
#define SIM_WORKERS_MAX 4

enum sim_kind {
  SIM_TURN,      // the engine takes its mail and ticks
  SIM_COMMITTED, // the store is done with what it was given
  SIM_RESULT,    // a worker is done with an attempt; arg: its index
  SIM_SUBMIT,
  SIM_CONTROL,
  SIM_QUERY,
  SIM_CLOCK,
  SIM_RELOAD,
  SIM_SLOTS,
  SIM_CRASH,
  SIM_RESTART,
  SIM_DRAIN,
  SIM_GATHER,
};
struct sim_event {
  uint64_t at_ms, seq;
  enum sim_kind kind;
  uint32_t epoch; // of the engine; an event of a dead engine is dropped. 0: survives crashes
  uint64_t arg;
};

struct sim_attempt { // a task that the engine gave out
  uint64_t serial;
  uint8_t op, outcome;
  uint32_t run; // index of its model
  uint32_t step, item, attempt, worker;
  uint64_t created_ms; // mono: when the engine took it on
  uint64_t abort_ms;   // mono: when it asked for its end
  uint64_t batch;      // that dispatched it
  uint64_t closing;    // batch in which its result was applied; UINT64_MAX: not yet
  uint64_t value_hash, state_hash;
  struct orr_task *task; // while a worker holds it
  struct orr_task *copy; // to be delivered a second time
  bool performed, delivered, aborted, given_up, hangs, deaf, lost;
  bool when_true, cached;
  bool retryable;
  int64_t until_ms;
  uint64_t timeout_ms;
  uint32_t items; // EXPANDED
};

struct sim_batch { // one outbox, not yet known to be committed
  uint64_t number;
  uint64_t taken_ms;
  struct orr_outbox outbox;
  uint32_t effects_done;
};

enum sim_ask {
  SIM_ASK_SUBMIT,
  SIM_ASK_CANCEL,
  SIM_ASK_PAUSE,
  SIM_ASK_RESUME,
  SIM_ASK_GET,
  SIM_ASK_AWAIT,
  SIM_ASK_LIST,
  SIM_ASK_FETCH
};
struct sim_request { // a question that somebody waits for
  enum sim_ask ask;
  uint32_t epoch;
  bool answered;
  uint32_t run;  // model index, UINT32_MAX: none
  uint32_t step; // FETCH
  uint32_t inputs;
  int32_t key;                   // of the idempotency keys, -1: none
  uint32_t body;                 // variant of the request's body under that key
  uint32_t pipeline, generation; // SUBMIT
  uint64_t rows;                 // journal rows of the run when it was asked (model)
};

struct sim_crash_plan { // exhaustive mode: where to die, once each
  uint32_t call[2];     // store call counted from 1; 0: never
  uint8_t side;         // 0 before it, 1 after it landed, 2 after it and half of its effects
  bool power;
};

struct sim_options {
  uint64_t seed;
  uint32_t events;
  bool verbose;
  bool small; // exhaustive mode: few runs, no random faults
  struct sim_crash_plan plan;
};

struct sim_lost;
struct world {
  struct sim_options options;
  struct orr_rng rng;
  struct sim_faults faults;
  bool healed; // phase L
  uint64_t trace;
  jmp_buf failed;
  char failure[512];

  struct sim_event *heap;
  uint32_t heap_len, heap_cap;
  uint64_t seq, events;
  struct orr_now now;
  uint64_t wall_steps;

  struct orr_engine *engine; // NULL while dead
  uint32_t epoch;            // of the engine, from 1
  uint32_t slots;            // at most, of what was asked for and not yet superseded
  uint32_t slots_next;       // asked for last
  uint32_t slots_start;
  uint64_t abort_grace_ms;
  bool draining, drain_known; // asked for; the engine has been told
  uint64_t turn_at_ms;
  struct orr_event **mail;
  uint32_t mail_len, mail_cap;
  struct orr_link *results; // chain
  struct orr_link **results_end;

  // store
  struct sim_batch *pending; // oldest first; the first `committing` of them are at the store
  uint32_t pending_len, pending_cap, committing;
  uint64_t batch_next, batch_heard; // numbers; heard: effects performed
  uint64_t store_calls;
  bool powered_off;    // the crash took the in-flight map along
  uint32_t *gathering; // model indices at the store
  uint32_t gathering_len, gathering_cap;

  struct oracle oracle;

  // workers
  struct sim_attempt *attempts; // of this epoch
  uint32_t attempts_len, attempts_cap;
  uint32_t *open; // indices of attempts that are neither over for the engine nor given up
  uint32_t open_len, open_cap;
  uint32_t *arriving; // attempts whose results are in the mailbox
  uint32_t arriving_len, arriving_cap;
  uint32_t *by_serial; // of this epoch: index + 1
  uint32_t by_serial_cap;

  // people
  struct orr_def *defs[SIM_GENERATIONS_MAX][SIM_PIPELINES_MAX];
  uint32_t pipelines, generations;
  struct sim_request *requests;
  uint32_t requests_len, requests_cap;
  uint32_t submitted, submit_max;
  uint32_t submit_every_ms;
  uint64_t crashes, recoveries, drains, commits, turns;
  struct orr_outbox spare;    // memory of an outbox that was done
  struct sim_lost *in_flight; // what the in-flight map held when the engine died
  uint32_t in_flight_len, in_flight_cap;
};

struct sim_lost { // an attempt that was at a worker when the engine died
  uint32_t run;
  struct orr_unit_ref unit;
};

struct sim_report {
  uint64_t trace, events, runs, crashes, store_calls, simulated_ms, facts;
};

// Runs one seed. False: `message` says what broke.
bool sim_run(const struct sim_options *options, struct sim_report *report, char *message,
             size_t message_size);

// --- between the files of the simulator
// -------------------------------------------------------------

_Noreturn void sim_fail(struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define sim_check(w, expression, ...)                                                              \
  do {                                                                                             \
    if (!(expression)) sim_fail((w), __VA_ARGS__);                                                 \
  } while (0)
void sim_say(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

void sim_at(struct world *w, uint64_t delay_ms, enum sim_kind kind, uint32_t epoch, uint64_t arg);
uint32_t sim_draw(struct world *w, uint32_t low, uint32_t high);
bool sim_chance(struct world *w, uint32_t permille);
static inline void sim_trace(struct world *w, uint64_t value) {
  uint64_t hash = (w->trace ^ value) * UINT64_C(0x9e3779b97f4a7c15);
  w->trace = hash ^ (hash >> 29);
}
void sim_post(struct world *w, struct orr_event *event); // into the engine's mailbox
void sim_turn_soon(struct world *w, uint64_t delay_ms);

// store.c: the store, and dying
void store_take(struct world *w);              // takes the outbox and hands it to the store
void store_committed(struct world *w);         // SIM_COMMITTED
void store_gathered(struct world *w);          // SIM_GATHER
void store_crash(struct world *w, bool power); // the engine dies now
void store_free(struct world *w);

// recovery.c
void recovery_start(struct world *w);

// workers.c
void workers_dispatched(struct world *w, struct orr_task *task, uint32_t run, uint64_t batch);
void workers_perform(struct world *w, struct orr_task *task);
void workers_abort_asked(struct world *w, uint64_t serial, enum orr_abort_why why);
void workers_abort(struct world *w, uint64_t serial, enum orr_abort_why why); // performed
void workers_result(struct world *w, uint64_t arg);
void workers_applied(struct world *w); // the results in the mailbox reached the engine
void workers_give_up(struct world *w, struct sim_attempt *attempt);
void workers_drain(struct world *w);
void workers_heal(struct world *w);
void workers_die(struct world *w);
struct sim_attempt *workers_open(struct world *w, uint32_t run, uint32_t step, uint32_t item,
                                 uint8_t op);           // the newest open one, or NULL
bool workers_busy(const struct world *w, uint32_t run); // any attempt of a step or item is open
uint32_t workers_slots_used(const struct world *w);

// workload.c
void workload_start(struct world *w);
void workload_submit(struct world *w);
void workload_control(struct world *w);
void workload_query(struct world *w);
void workload_reload(struct world *w);
void workload_reply(struct world *w, struct orr_reply *reply);
void workload_resume_all(struct world *w);
void workload_free(struct world *w);
struct orr_def *workload_def(struct world *w, const struct orr_digest *generation,
                             struct orr_slice pipeline); // borrowed, or NULL
