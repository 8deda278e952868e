// SPDX-License-Identifier: MIT
// The life of a run: creation, admission through its concurrency gate, what follows once something
// changed, and its end. orr__run_advance is the only place that decides a run's next phase.
#include "core/engine_internal.h"

#include <stdlib.h>

// Keeps by_age in the order of ids; new runs have the newest id, recovered ones may come in any
// order.
void orr__run_index_add(struct orr_engine *engine, struct orr_run *run) {
  orr_run_index_add(&engine->index, run);
  struct orr_list *at = &engine->by_age;
  while (at->prev != &engine->by_age &&
         orr_id_compare(&ORR_CONTAINER_OF(at->prev, struct orr_run, by_age)->id, &run->id) > 0)
    at = at->prev;
  orr_list_insert_before(at, &run->by_age);
}

static struct orr_slice key_from_input(const struct orr_def *def, const struct orr_blob *input) {
  struct orr_slice value = {0};
  if (def->concurrency == 0 || def->concurrency_key_path.len == 0) return value;
  if (orr_json_path(orr_blob_slice(input), def->concurrency_key_path, &value) != ORR_OK)
    return (struct orr_slice){0};
  return value;
}

struct orr_run *orr__run_create(struct orr_engine *engine, const struct orr__create *create) {
  struct orr_def *def = create->def;
  struct orr_run *run = orr_run_new(def);
  run->input = orr_blob_ref(create->input);
  struct orr_fact fact = {.type = ORR_FACT_CREATED};
  fact.created.id =
      create->id != NULL ? *create->id : orr_id_next(&engine->ids, engine->now.wall_ms);
  fact.created.pipeline = orr_slice_text(def->name);
  fact.created.generation = def->generation;
  fact.created.version = def->version;
  fact.created.input = orr_blob_slice(create->input);
  fact.created.trigger = orr_slice_text(create->trigger);
  fact.created.idempotency_key = create->idempotency_key;
  fact.created.concurrency_key = key_from_input(def, create->input);
  fact.created.seed = orr_rng_next(&engine->rng);
  if (def->timeout_ms > 0)
    fact.created.deadline_ms = engine->now.wall_ms + (int64_t)def->timeout_ms;
  if (create->parent != NULL) {
    fact.created.parent = create->parent->id;
    fact.created.parent_step = create->parent_step;
    fact.created.parent_item = create->parent_item;
    fact.created.depth = create->parent->depth + 1;
  }
  orr__record(engine, run, &fact);
  run->watched = create->watch;
  orr__run_index_add(engine, run);
  engine->live++;
  if (run->deadline_ms != 0)
    orr_wheel_add(&engine->runs, &run->timer, engine->now.mono_ms + def->timeout_ms);
  orr__notice(engine, run, NULL);
  orr__run_enter_gate(engine, run, true);
  orr__touch(engine, run);
  return run;
}

// --- admission -----------------------------------------------------------------------------------

void orr__gate_pump(struct orr_engine *engine, struct orr_gate *gate) {
  struct orr_run *run;
  if (engine->recovering && !ORR_BUG(26)) return; // a holder may not be here yet
  while ((run = orr_gate_admit(gate)) != NULL) {
    struct orr_fact fact = {.type = ORR_FACT_ADMITTED};
    orr__record(engine, run, &fact);
    orr__notice(engine, run, NULL);
    orr__touch(engine, run);
  }
}

// All runs that were found at start are here: those that queue may be admitted again.
void orr__gates_open(struct orr_engine *engine) {
  const struct orr_gate *last = NULL; // runs of one key often follow each other
  engine->recovering = false;
  for (struct orr_run *run = orr_engine_next_run(engine, NULL); run != NULL;
       run = orr_engine_next_run(engine, run)) {
    if (run->gate_of != NULL && run->gate_of != last && !run->admitted) {
      last = run->gate_of;
      orr__gate_pump(engine, run->gate_of);
    }
  }
  orr__agenda_drain(engine);
}

static void gate_refuse(struct orr_engine *engine, struct orr_run *run, enum orr_run_status status,
                        const char *code, const char *message) {
  struct orr_buf error = ORR_BUF_INIT;
  orr__error_make(&error, code, message);
  orr__run_finish(engine, run, status, orr_slice_of(NULL, 0), orr_buf_slice(&error));
  orr_buf_free(&error);
}

static bool is_ancestor(const struct orr_engine *engine, const struct orr_run *ancestor,
                        const struct orr_run *run) {
  for (uint32_t up = 0; run != NULL && up <= ORR_CHILD_DEPTH_MAX; up++) {
    if (orr_id_is_zero(&run->parent)) return false;
    if (orr_id_compare(&run->parent, &ancestor->id) == 0) return ancestor->children_open > 0;
    run = orr_run_index_find(&engine->index, &run->parent);
  }
  return false;
}

// A child that queues for a key which only its own waiting ancestors hold would wait for ever.
static bool gate_deadlock(const struct orr_engine *engine, const struct orr_gate *gate,
                          const struct orr_run *run) {
  if (orr_id_is_zero(&run->parent) || !orr_gate_full(gate, run->def->concurrency)) return false;
  for (const struct orr_list *at = gate->holders.next; at != &gate->holders; at = at->next) {
    const struct orr_run *holder = ORR_CONTAINER_OF(at, struct orr_run, gate);
    if (orr_gate_counts(holder) && !is_ancestor(engine, holder, run)) return false;
  }
  return true;
}

// `arriving`: the run is new to its key, so `when_full` is decided now.
void orr__run_enter_gate(struct orr_engine *engine, struct orr_run *run, bool arriving) {
  const struct orr_def *def = run->def;
  if (def->concurrency == 0 || run->gate_of != NULL) return;
  if (!run->key_decided) {
    struct orr__extra *extra = orr__extra_of(run);
    if (extra->job == NULL) {
      extra->job = orr__task_make(engine, run, ORR_OP_KEY, NULL, orr_slice_of(NULL, 0));
      orr__job_queue(engine, run, extra->job);
    }
    return;
  }
  struct orr_gate *gate = orr_gate_enter(&engine->gates, run);
  if (!run->admitted && arriving && gate_deadlock(engine, gate, run)) {
    gate_refuse(engine, run, ORR_RUN_FAILED, "deadlock",
                "the runs that hold its concurrency key wait for this one");
    return;
  }
  if (!run->admitted && arriving) {
    switch (def->when_full) {
    case ORR_WHEN_FULL_QUEUE: break;
    case ORR_WHEN_FULL_SKIP:
      if (orr_gate_full(gate, def->concurrency)) {
        gate_refuse(engine, run, ORR_RUN_CANCELLED, "skipped",
                    "another run holds the concurrency key");
        return;
      }
      break;
    case ORR_WHEN_FULL_CANCEL_OLDEST: {
      struct orr_run *oldest = orr_gate_oldest(gate, run);
      if (oldest != NULL) orr__run_cancel(engine, oldest, "a newer run took its place");
      break;
    }
    }
  }
  orr__gate_pump(engine, gate);
}

// --- going on ------------------------------------------------------------------------------------

static void sleep_over(struct orr_engine *engine, struct orr_unit *unit) {
  struct orr__attempt_end end = {.status = ORR_STEP_STATUS_SUCCEEDED,
                                 .started_ms = unit->started_ms,
                                 .finished_ms = engine->now.wall_ms,
                                 .value = ORR_SLICE_LITERAL("null")};
  orr__unit_finish(engine, unit, &end);
}

static void fresh_drain(struct orr_engine *engine, struct orr_run *run) {
  struct orr_list *node;
  while ((node = orr_list_pop_front(&run->fresh)) != NULL) {
    struct orr_unit *unit = ORR_CONTAINER_OF(node, struct orr_unit, ready);
    if (unit->status == ORR_STEP_STATUS_WAITING)
      sleep_over(engine, unit);
    else
      orr__unit_ready(engine, unit);
  }
}

// True while steps may still change something.
static bool steps_busy(const struct orr_run *run) {
  if (run->cancel_asked) return run->attempts_open > 0 || run->children_open > 0;
  return run->units_open > 0;
}

void orr__run_advance(struct orr_engine *engine, struct orr_run *run) {
  if (orr_run_status_final(run->status)) return;
  if (!run->cancel_asked) {
    if (run->paused || !run->admitted) return;
    fresh_drain(engine, run);
  } else if (run->children_open > 0) {
    orr__children_cancel(engine, run);
  }
  if (!steps_busy(run) && !orr__end_busy(engine, run)) {
    orr__end(engine, run);
    return;
  }
  if (run->def->concurrency_active && run->gate_of != NULL) orr__gate_pump(engine, run->gate_of);
}

// --- the end -------------------------------------------------------------------------------------

static void timers_cancel(struct orr_engine *engine, struct orr_run *run) {
  if (run->waiting == 0) return;
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    orr_wheel_cancel(&engine->units, &run->units[i].timer);
    struct orr_map_items *map = run->maps != NULL ? run->maps[i] : NULL;
    for (uint32_t k = 0; map != NULL && k < map->count; k++)
      orr_wheel_cancel(&engine->units, &map->units[k].timer);
  }
}

void orr__run_finish(struct orr_engine *engine, struct orr_run *run, enum orr_run_status status,
                     struct orr_slice output, struct orr_slice error) {
  orr_assert(run->attempts_open == 0);
  timers_cancel(engine, run);
  orr_wheel_cancel(&engine->runs, &run->timer);
  struct orr_fact fact = {.type = ORR_FACT_RUN_FINISHED};
  fact.run_finished.status = (uint8_t)status;
  fact.run_finished.output = output;
  fact.run_finished.error = error;
  orr__record(engine, run, &fact);
  engine->live--;
  engine->ungathered++;
  orr__notice(engine, run, NULL);
  orr__awaits_answer(engine, run);
  struct orr_gate *gate = orr_gate_leave(&engine->gates, run);
  if (gate != NULL) orr__gate_pump(engine, gate);
  if (!orr_id_is_zero(&run->parent)) orr__child_done(engine, run);
}
