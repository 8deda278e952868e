// SPDX-License-Identifier: MIT
// What the engine's files share. The way of every decision: make a fact, orr__record it (encode,
// fold,
// mark dirty), then touch the run; orr__agenda_drain lets each touched run decide what follows,
// without
// recursion between runs. Nothing is dispatched before orr_engine_take. Owner thread only.
#pragma once

#include "base/check.h"
#include "base/json.h"
#include "base/rng.h"
#include "core/bug.h"
#include "core/engine.h"
#include "core/gate.h"
#include "core/ready.h"
#include "core/retry.h"
#include "core/run_index.h"

enum orr__phase {
  ORR__PHASE_STEPS,
  ORR__PHASE_UNDO,
  ORR__PHASE_GATHERED, // final and indexed: freed when its last task is back
};

struct orr__extra { // of the few runs that need it, behind run->children_live
  struct orr_run *run;
  struct orr_task *job;  // OUTPUT, KEY or UNDO, queued or in flight: one at a time
  bool job_sent, job_aborted;
  struct orr_timer timer; // of the job: timeout, abort grace, or the delay before its retry
  uint32_t *undo;         // steps to undo, the next one last
  uint32_t undo_len;
  uint32_t undo_attempt;  // failed ones of the step in turn
  uint64_t *hooks;        // serials of open hooks
  uint32_t hooks_len, hooks_cap;
  struct orr_reply_to *awaits; // who asked to hear of the end; answered by orr__run_finish
  uint32_t awaits_len;
};

struct orr__key { // an idempotency key
  struct orr_list link; // by age
  struct orr_slice key; // owned
  struct orr_id run;
  struct orr_digest request;
  int64_t expires_ms;
};

struct orr_engine {
  struct orr_now now;
  struct orr_id_source ids;
  struct orr_rng rng;
  uint64_t next_pos, next_serial;
  char *node;
  uint32_t slots, in_flight;
  uint64_t abort_grace_ms;
  uint32_t live, ungathered;
  bool draining, watch_all;
  bool recovering; // until the next take: nothing is admitted
  struct orr_run_index index;
  struct orr_list by_age;  // every run object, by id
  struct orr_list dirty;   // runs with facts that are not in a row yet
  struct orr_list agenda;  // runs to decide about
  struct orr_wheel units, runs, jobs; // one wheel a kind of timer's owner
  struct orr_ready ready;
  struct orr_link *jobs_head, **jobs_tail; // queued tasks that are not of units
  struct orr_gates gates;
  struct orr_map keys;
  struct orr_list keys_by_age;
  struct orr_outbox out;
  struct orr_link *pool;
  uint32_t pool_len;
  struct orr_buf scratch; // one user at a time
};

// engine.c
void orr__record(struct orr_engine *engine, struct orr_run *run, struct orr_fact *fact);
void orr__touch(struct orr_engine *engine, struct orr_run *run);
bool orr__agenda_drain(struct orr_engine *engine); // true if anything was decided
struct orr__extra *orr__extra_of(struct orr_run *run); // makes it
void orr__unit_timer(struct orr_engine *engine, struct orr_unit *unit, uint64_t delay_ms);
uint64_t orr__delay_until(const struct orr_engine *engine, int64_t until_ms);
void orr__run_forget(struct orr_engine *engine, struct orr_run *run);
// outbox.c
struct orr_effect *orr__effect(struct orr_engine *engine, enum orr_effect_type type);
struct orr_row *orr__row(struct orr_engine *engine, enum orr_row_type type);
void orr__row_bytes(struct orr_engine *engine, struct orr_slice bytes, uint64_t *offset,
                    uint64_t *len);
void orr__outbox_pack(struct orr_engine *engine);
void orr__notice(struct orr_engine *engine, const struct orr_run *run, const struct orr_unit *unit);
// reply.c
struct orr_reply *orr__reply(struct orr_engine *engine, struct orr_reply_to to,
                             enum orr_status status, const char *message);
// task.c
struct orr_task *orr__task_get(struct orr_engine *engine);
void orr__task_put(struct orr_engine *engine, struct orr_task *task);
void orr__pool_free(struct orr_engine *engine);
// engine_run.c
struct orr__create {
  struct orr_def *def;
  struct orr_blob *input;
  const char *trigger;
  struct orr_slice idempotency_key;
  const struct orr_run *parent; // or NULL
  uint32_t parent_step, parent_item;
  const struct orr_id *id; // NULL: a new one
  bool watch;
};
struct orr_run *orr__run_create(struct orr_engine *engine, const struct orr__create *create);
void orr__run_index_add(struct orr_engine *engine, struct orr_run *run);
void orr__run_enter_gate(struct orr_engine *engine, struct orr_run *run, bool arriving);
void orr__run_advance(struct orr_engine *engine, struct orr_run *run);
void orr__run_finish(struct orr_engine *engine, struct orr_run *run, enum orr_run_status status,
                     struct orr_slice output, struct orr_slice error);
void orr__gates_open(struct orr_engine *engine);
void orr__gate_pump(struct orr_engine *engine, struct orr_gate *gate);
// engine_end.c
bool orr__end_busy(struct orr_engine *engine, struct orr_run *run); // output or undo still to do
void orr__end(struct orr_engine *engine, struct orr_run *run);
void orr__end_job_result(struct orr_engine *engine, struct orr_run *run, struct orr_task *task);
void orr__end_job_timer(struct orr_engine *engine, struct orr__extra *extra);
void orr__error_step(struct orr_buf *out, const char *step, uint32_t item, struct orr_slice error);
void orr__error_make(struct orr_buf *out, const char *code, const char *message);
// engine_job.c
struct orr_task *orr__task_make(struct orr_engine *engine, struct orr_run *run,
                                enum orr_task_op op, struct orr_unit *unit,
                                struct orr_slice subject);
void orr__job_queue(struct orr_engine *engine, struct orr_run *run, struct orr_task *task);
void orr__hook_queue(struct orr_engine *engine, struct orr_unit *unit, enum orr_hook hook);
void orr__job_abort(struct orr_engine *engine, struct orr_run *run);
void orr__job_result(struct orr_engine *engine, struct orr_run *run, struct orr_task *task);
void orr__jobs_dispatch(struct orr_engine *engine);
// admission.c
#define ORR__REASONS_MAX 64u
struct orr__reasons {
  struct orr_reason list[ORR__REASONS_MAX];
  uint32_t len;
};
// May an attempt of the run start, as far as the run as a whole goes? `reasons` may be NULL.
bool orr__run_may_start(const struct orr_engine *engine, const struct orr_run *run,
                        struct orr__reasons *reasons);
bool orr__slot_free(const struct orr_engine *engine);
void orr__unit_explain(const struct orr_engine *engine, const struct orr_unit *unit,
                       struct orr__reasons *reasons);
void orr__run_explain(const struct orr_engine *engine, const struct orr_run *run,
                      struct orr__reasons *reasons);
// engine_step.c
void orr__units_dispatch(struct orr_engine *engine);
void orr__unit_ready(struct orr_engine *engine, struct orr_unit *unit);
void orr__unit_result(struct orr_engine *engine, struct orr_run *run, struct orr_task *task);
void orr__unit_timer_fired(struct orr_engine *engine, struct orr_unit *unit);
void orr__unit_abort(struct orr_engine *engine, struct orr_unit *unit, enum orr_abort_why why);
struct orr__attempt_end { // how an attempt of a unit ended
  enum orr_step_status status;
  uint8_t flags;
  int64_t started_ms, finished_ms;
  struct orr_slice value, state;
  bool retryable;
  uint64_t retry_after_ms;
};
void orr__unit_finish(struct orr_engine *engine, struct orr_unit *unit,
                      const struct orr__attempt_end *end);
void orr__unit_fail(struct orr_engine *engine, struct orr_unit *unit,
                    const struct orr__attempt_end *end);
// engine_map.c
void orr__map_expanded(struct orr_engine *engine, struct orr_unit *unit, struct orr_task *task);
void orr__map_fill(struct orr_engine *engine, struct orr_run *run, struct orr_map_items *map);
uint32_t orr__map_window(const struct orr_run *run, uint32_t step);
void orr__map_item_done(struct orr_engine *engine, struct orr_unit *item);
bool orr__map_item_moot(const struct orr_unit *item);
void orr__map_item_drop(struct orr_engine *engine, struct orr_unit *item);
void orr__maps_resume(struct orr_engine *engine, struct orr_run *run);
// engine_child.c
void orr__child_start(struct orr_engine *engine, struct orr_unit *unit, struct orr_task *task);
void orr__child_done(struct orr_engine *engine, struct orr_run *child);
void orr__children_cancel(struct orr_engine *engine, struct orr_run *run);
// engine_control.c
void orr__control(struct orr_engine *engine, struct orr_event *event);
void orr__run_cancel(struct orr_engine *engine, struct orr_run *run, const char *reason);
void orr__run_pause(struct orr_engine *engine, struct orr_run *run, const char *reason);
// engine_query.c
enum orr_run_status orr__run_status(const struct orr_run *run);
enum orr_step_status orr__unit_status(const struct orr_unit *unit);
void orr__query_await(struct orr_engine *engine, struct orr_event *event);
void orr__awaits_answer(struct orr_engine *engine, const struct orr_run *run); // the run is final now
void orr__query_get(struct orr_engine *engine, struct orr_event *event);
void orr__query_list(struct orr_engine *engine, struct orr_event *event);
void orr__query_fetch(struct orr_engine *engine, struct orr_event *event);
// engine_submit.c
void orr__submit(struct orr_engine *engine, struct orr_event *event);
void orr__keys_free(struct orr_engine *engine);
// recover.c
void orr__recover(struct orr_engine *engine, struct orr_event *event);
