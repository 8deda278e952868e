// SPDX-License-Identifier: MIT
// The engine's turn: events in, timers, the agenda of runs to decide about, and what is taken out.
// Invariant: between two calls the agenda is empty, and everything decided is in a run's journal.
#include "core/engine_internal.h"

#include <stdlib.h>

struct orr_engine *orr_engine_new(const struct orr_engine_config *config,
                                  const struct orr_now *now) {
  orr_assert(config->next_pos >= 1);
  struct orr_engine *engine = orr_alloc(sizeof(*engine));
  engine->now = *now;
  engine->rng.state = config->seed;
  engine->ids.rng.state = orr_rng_next(&engine->rng);
  engine->next_pos = config->next_pos;
  engine->next_serial = 1;
  engine->node = orr_strdup(config->node != NULL ? config->node : "");
  engine->slots = config->slots;
  engine->abort_grace_ms = config->abort_grace_ms != 0 ? config->abort_grace_ms : 10000;
  orr_list_init(&engine->by_age);
  orr_list_init(&engine->dirty);
  orr_list_init(&engine->agenda);
  orr_list_init(&engine->keys_by_age);
  orr_wheel_init(&engine->units, now->mono_ms);
  orr_wheel_init(&engine->runs, now->mono_ms);
  orr_wheel_init(&engine->jobs, now->mono_ms);
  orr_ready_init(&engine->ready);
  engine->jobs_tail = &engine->jobs_head;
  return engine;
}

static void run_object_free(struct orr_run *run) {
  struct orr__extra *extra = run->children_live;
  if (extra != NULL) {
    free(extra->undo);
    free(extra->hooks);
    free(extra->awaits);
    free(extra);
  }
  orr_run_free(run);
}

void orr_engine_free(struct orr_engine *engine) {
  if (engine == NULL) return;
  while (engine->jobs_head != NULL) {
    struct orr_link *link = engine->jobs_head;
    engine->jobs_head = link->next;
    orr_task_free(ORR_CONTAINER_OF(link, struct orr_task, link));
  }
  struct orr_list *node;
  while ((node = orr_list_pop_front(&engine->by_age)) != NULL)
    run_object_free(ORR_CONTAINER_OF(node, struct orr_run, by_age));
  orr_gates_free(&engine->gates);
  orr__keys_free(engine);
  orr_run_index_free(&engine->index);
  orr_outbox_free(&engine->out);
  orr__pool_free(engine);
  orr_buf_free(&engine->scratch);
  free(engine->node);
  free(engine);
}

// --- shared by every decision --------------------------------------------------------------------

void orr__record(struct orr_engine *engine, struct orr_run *run, struct orr_fact *fact) {
  fact->at_ms = engine->now.wall_ms;
  enum orr_status status = orr_run_record(run, fact);
  orr_assert(status == ORR_OK);
  if (!orr_list_linked(&run->dirty)) orr_list_push_back(&engine->dirty, &run->dirty);
}

void orr__touch(struct orr_engine *engine, struct orr_run *run) {
  if (!orr_list_linked(&run->agenda)) orr_list_push_back(&engine->agenda, &run->agenda);
}

bool orr__agenda_drain(struct orr_engine *engine) {
  struct orr_list *node;
  bool any = false;
  while ((node = orr_list_pop_front(&engine->agenda)) != NULL) {
    orr__run_advance(engine, ORR_CONTAINER_OF(node, struct orr_run, agenda));
    any = true;
  }
  return any;
}

struct orr__extra *orr__extra_of(struct orr_run *run) {
  struct orr__extra *extra = run->children_live;
  if (extra == NULL) {
    extra = orr_alloc(sizeof(*extra));
    extra->run = run;
    orr_timer_init(&extra->timer);
    run->children_live = extra;
  }
  return extra;
}

uint64_t orr__delay_until(const struct orr_engine *engine, int64_t until_ms) {
  if (until_ms <= engine->now.wall_ms) return 0;
  uint64_t delay_ms = (uint64_t)until_ms - (uint64_t)engine->now.wall_ms;
  return delay_ms < ORR_DURATION_MS_MAX ? delay_ms : ORR_DURATION_MS_MAX;
}

void orr__unit_timer(struct orr_engine *engine, struct orr_unit *unit, uint64_t delay_ms) {
  if (delay_ms > ORR_DURATION_MS_MAX) delay_ms = ORR_DURATION_MS_MAX;
  orr_wheel_add(&engine->units, &unit->timer, engine->now.mono_ms + delay_ms);
}

void orr__run_forget(struct orr_engine *engine, struct orr_run *run) {
  orr_assert(run->tasks_open == 0 && orr_run_status_final(run->status));
  orr_wheel_cancel(&engine->runs, &run->timer);
  orr_run_index_remove(&engine->index, run);
  orr_list_remove(&run->by_age);
  orr_list_remove(&run->agenda);
  run_object_free(run);
}

// --- events --------------------------------------------------------------------------------------

static void set_now(struct orr_engine *engine, const struct orr_now *now) {
  uint64_t mono_ms = engine->now.mono_ms;
  engine->now = *now;
  if (engine->now.mono_ms < mono_ms) engine->now.mono_ms = mono_ms;
}

// A task is back. Gives it to the decision it belongs to; whoever doubled it is answered by
// silence.
static void result(struct orr_engine *engine, struct orr_task *task) {
  struct orr_run *run = orr_run_index_get(&engine->index, task->run_handle);
  if (run != NULL) {
    if (task->op == ORR_OP_STEP || task->op == ORR_OP_EXPAND)
      orr__unit_result(engine, run, task);
    else
      orr__job_result(engine, run, task);
  }
  orr__task_put(engine, task);
}

static void gathered(struct orr_engine *engine, const struct orr_event *event) {
  for (uint32_t i = 0; i < event->gathered.len; i++) {
    struct orr_run *run = orr_run_index_get(&engine->index, event->gathered.handles[i]);
    if (run == NULL || !orr_run_status_final(run->status) || run->phase == ORR__PHASE_GATHERED)
      continue;
    run->phase = ORR__PHASE_GATHERED;
    engine->ungathered--;
    if (run->tasks_open == 0) orr__run_forget(engine, run);
  }
}

static void watch(struct orr_engine *engine, const struct orr_event *event) {
  if (orr_id_is_zero(&event->watch.id)) {
    engine->watch_all = event->watch.on;
    return;
  }
  struct orr_run *run = orr_run_index_find(&engine->index, &event->watch.id);
  if (run != NULL) run->watched = event->watch.on;
}

static void apply(struct orr_engine *engine, struct orr_event *event) {
  switch (event->type) {
  case ORR_EVENT_SUBMIT: orr__submit(engine, event); break;
  case ORR_EVENT_RESULT:
    result(engine, event->result.task);
    event->result.task = NULL;
    break;
  case ORR_EVENT_CANCEL:
  case ORR_EVENT_PAUSE:
  case ORR_EVENT_RESUME: orr__control(engine, event); break;
  case ORR_EVENT_GET: orr__query_get(engine, event); break;
  case ORR_EVENT_AWAIT: orr__query_await(engine, event); break;
  case ORR_EVENT_LIST: orr__query_list(engine, event); break;
  case ORR_EVENT_FETCH: orr__query_fetch(engine, event); break;
  case ORR_EVENT_WATCH: watch(engine, event); break;
  case ORR_EVENT_RECOVER: orr__recover(engine, event); break;
  case ORR_EVENT_GATHERED: gathered(engine, event); break;
  case ORR_EVENT_SLOTS: engine->slots = event->slots.slots; break;
  case ORR_EVENT_DRAIN: engine->draining = true; break;
  }
}

void orr_engine_apply(struct orr_engine *engine, const struct orr_now *now,
                      struct orr_event *event) {
  set_now(engine, now);
  apply(engine, event);
  orr__agenda_drain(engine);
  orr_event_free(event);
}

void orr_engine_results(struct orr_engine *engine, const struct orr_now *now,
                        struct orr_link *tasks) {
  set_now(engine, now);
  while (tasks != NULL) {
    struct orr_link *next = tasks->next;
    result(engine, ORR_CONTAINER_OF(tasks, struct orr_task, link));
    tasks = next;
  }
  orr__agenda_drain(engine);
}

// --- time ----------------------------------------------------------------------------------------

static void deadline_fired(struct orr_engine *engine, struct orr_run *run) {
  if (orr_run_status_final(run->status) || run->cancel_asked) return;
  // The wheel runs on the monotonic clock; the deadline is a wall instant. Set again if the wall is
  // behind.
  uint64_t delay_ms = orr__delay_until(engine, run->deadline_ms);
  if (delay_ms > 0)
    orr_wheel_add(&engine->runs, &run->timer, engine->now.mono_ms + delay_ms);
  else
    orr__run_cancel(engine, run, ORR_RUN_TIMEOUT_REASON);
}

void orr_engine_tick(struct orr_engine *engine, const struct orr_now *now) {
  set_now(engine, now);
  struct orr_list fired;
  struct orr_list *node;
  orr_list_init(&fired);
  orr_wheel_advance(&engine->runs, engine->now.mono_ms, &fired);
  while ((node = orr_list_pop_front(&fired)) != NULL)
    deadline_fired(engine, ORR_CONTAINER_OF(node, struct orr_run, timer.link));
  orr_wheel_advance(&engine->jobs, engine->now.mono_ms, &fired);
  while ((node = orr_list_pop_front(&fired)) != NULL)
    orr__end_job_timer(engine, ORR_CONTAINER_OF(node, struct orr__extra, timer.link));
  orr_wheel_advance(&engine->units, engine->now.mono_ms, &fired);
  while ((node = orr_list_pop_front(&fired)) != NULL)
    orr__unit_timer_fired(engine, ORR_CONTAINER_OF(node, struct orr_unit, timer.link));
  orr__agenda_drain(engine);
}

uint64_t orr_engine_next_deadline(const struct orr_engine *engine) {
  uint64_t next = orr_wheel_next(&engine->units);
  uint64_t runs = orr_wheel_next(&engine->runs), jobs = orr_wheel_next(&engine->jobs);
  if (runs < next) next = runs;
  return jobs < next ? jobs : next;
}

// --- taking --------------------------------------------------------------------------------------

bool orr_engine_take(struct orr_engine *engine, const struct orr_now *now,
                     struct orr_outbox *outbox) {
  set_now(engine, now);
  if (engine->recovering) orr__gates_open(engine);
  // Looking at what is ready can end a map, and that can make more ready: until nothing moves.
  do {
    if (!engine->draining || ORR_BUG(42)) {
      orr__jobs_dispatch(engine);
      orr__units_dispatch(engine);
    }
  } while (orr__agenda_drain(engine));
  orr__outbox_pack(engine);
  if (engine->out.rows_len == 0 && engine->out.effects_len == 0) return false;
  struct orr_outbox empty = *outbox;
  empty.bytes.len = 0;
  empty.rows_len = 0;
  empty.effects_len = 0;
  *outbox = engine->out;
  engine->out = empty;
  return true;
}

uint32_t orr_engine_live(const struct orr_engine *engine) { return engine->live; }
uint32_t orr_engine_ungathered(const struct orr_engine *engine) { return engine->ungathered; }
uint32_t orr_engine_in_flight(const struct orr_engine *engine) { return engine->in_flight; }

struct orr_run *orr_engine_next_run(struct orr_engine *engine, struct orr_run *run) {
  struct orr_list *next = run == NULL ? engine->by_age.next : run->by_age.next;
  return next == &engine->by_age ? NULL : ORR_CONTAINER_OF(next, struct orr_run, by_age);
}
