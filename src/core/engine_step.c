// SPDX-License-Identifier: MIT
// Attempts of steps and items: dispatch, results, retries, timeouts. Invariant: unit->task is the
// one
// attempt of the unit that is in flight, or NULL; a result of any other attempt is late.
#include "core/engine_internal.h"

// --- ready and dispatch --------------------------------------------------------------------------

static bool sleeps_by_itself(const struct orr_step_def *step) {
  return step->kind == ORR_STEP_SLEEP && step->sleep_ms > 0 && !(step->flags & ORR_STEP_HAS_WHEN);
}

static void unit_sleep(struct orr_engine *engine, struct orr_unit *unit, int64_t started_ms,
                       int64_t until_ms) {
  struct orr_fact fact = {.type = ORR_FACT_WAITING};
  fact.waiting.unit = (struct orr_unit_ref){unit->step, unit->item};
  fact.waiting.attempt = unit->attempts + 1;
  fact.waiting.started_ms = started_ms;
  fact.waiting.until_ms = until_ms;
  orr__record(engine, unit->run, &fact);
  orr__unit_timer(engine, unit, orr__delay_until(engine, until_ms));
  orr__notice(engine, unit->run, unit);
}

void orr__unit_ready(struct orr_engine *engine, struct orr_unit *unit) {
  const struct orr_step_def *step = &unit->run->def->steps[unit->step];
  if (sleeps_by_itself(step) && unit->item == 0) {
    int64_t now_ms = engine->now.wall_ms;
    unit_sleep(engine, unit, now_ms, now_ms + (int64_t)step->sleep_ms);
    return;
  }
  orr_ready_push(&engine->ready, unit, step->priority);
}

static void unit_dispatch(struct orr_engine *engine, struct orr_unit *unit) {
  struct orr_run *run = unit->run;
  const struct orr_step_def *step = &run->def->steps[unit->step];
  orr_assert(unit->task == NULL && !orr_step_status_final(unit->status));
  if ((step->flags & ORR_STEP_ONCE) && !(unit->flags & ORR_UNIT_STARTED) && !ORR_BUG(11)) {
    struct orr_fact fact = {.type = ORR_FACT_STARTED};
    fact.started.unit = (struct orr_unit_ref){unit->step, unit->item};
    fact.started.attempt = unit->attempts + 1;
    orr__record(engine, run, &fact);
  }
  bool expand = step->kind == ORR_STEP_MAP && unit->item == 0;
  struct orr_task *task = orr__task_make(engine, run, expand ? ORR_OP_EXPAND : ORR_OP_STEP, unit,
                                         orr_slice_of(NULL, 0));
  task->attempt = unit->attempts + 1;
  task->dispatched_ms = engine->now.wall_ms;
  unit->task = task;
  run->attempts_open++;
  run->tasks_open++;
  engine->in_flight++;
  if (step->timeout_ms > 0) orr__unit_timer(engine, unit, step->timeout_ms);
  orr__effect(engine, ORR_EFFECT_DISPATCH)->dispatch = task;
  orr__notice(engine, run, unit);
}

void orr__units_dispatch(struct orr_engine *engine) {
  while (orr__slot_free(engine)) {
    struct orr_unit *unit = orr_ready_pop(&engine->ready);
    if (unit == NULL) return;
    if (orr__map_item_moot(unit))
      orr__map_item_drop(engine, unit);
    else if (orr__run_may_start(engine, unit->run, NULL))
      unit_dispatch(engine, unit);
    else // kept until something changes
      orr_list_push_back(&unit->run->fresh, &unit->ready);
  }
}

// --- outcomes ------------------------------------------------------------------------------------

static void finished_fill(const struct orr_engine *engine, struct orr_fact *fact,
                          const struct orr_unit *unit, const struct orr__attempt_end *end) {
  fact->finished.unit = (struct orr_unit_ref){unit->step, unit->item};
  fact->finished.attempt = unit->attempts + 1;
  fact->finished.status = (uint8_t)end->status;
  fact->finished.flags = end->flags;
  fact->finished.started_ms = end->started_ms;
  fact->finished.finished_ms = end->finished_ms;
  fact->finished.value = end->value;
  fact->finished.node = orr_slice_text(engine->node);
}

static void outcome_hooks(struct orr_engine *engine, struct orr_unit *unit) {
  uint32_t flags = unit->run->def->steps[unit->step].flags;
  if (unit->item > 0) return; // a map's hooks are about the whole map
  if (unit->status == ORR_STEP_STATUS_SUCCEEDED && (flags & ORR_STEP_ON_SUCCESS))
    orr__hook_queue(engine, unit, ORR_HOOK_SUCCESS);
  if (unit->status == ORR_STEP_STATUS_FAILED && (flags & ORR_STEP_ON_FAILURE))
    orr__hook_queue(engine, unit, ORR_HOOK_FAILURE);
}

void orr__unit_finish(struct orr_engine *engine, struct orr_unit *unit,
                      const struct orr__attempt_end *end) {
  struct orr_run *run = unit->run;
  struct orr_fact fact = {.type = ORR_FACT_FINISHED};
  finished_fill(engine, &fact, unit, end);
  if (end->status == ORR_STEP_STATUS_SUCCEEDED) {
    fact.finished.state = end->state;
    if (end->value.len == 0) fact.finished.value = ORR_SLICE_LITERAL("null");
  }
  orr__record(engine, run, &fact);
  orr__notice(engine, run, unit);
  outcome_hooks(engine, unit);
  orr__touch(engine, run);
  if (unit->item > 0) orr__map_item_done(engine, unit);
}

static bool retry_allowed(const struct orr_unit *unit, const struct orr__attempt_end *end) {
  const struct orr_step_def *step = &unit->run->def->steps[unit->step];
  if (!end->retryable && !ORR_BUG(8)) return false;
  if (unit->run->cancel_asked && !ORR_BUG(10)) return false;
  if ((step->flags & ORR_STEP_ONCE) && !ORR_BUG(9)) return false;
  return unit->failures + (ORR_BUG(7) ? 0 : 1) < step->retry.attempts;
}

// An attempt failed: schedules the next by the step's policy, or makes the failure final.
void orr__unit_fail(struct orr_engine *engine, struct orr_unit *unit,
                    const struct orr__attempt_end *end) {
  struct orr_run *run = unit->run;
  if (!retry_allowed(unit, end)) {
    orr__unit_finish(engine, unit, end);
    return;
  }
  const struct orr_step_def *step = &run->def->steps[unit->step];
  uint64_t seed = orr_retry_seed(run->seed, unit->step, unit->item, unit->attempts + 1);
  uint64_t delay_ms = orr_retry_delay_ms(&step->retry, unit->failures + 1, seed);
  uint64_t asked_ms = end->retry_after_ms < ORR_RETRY_AFTER_MS_MAX ? end->retry_after_ms : ORR_RETRY_AFTER_MS_MAX;
  if (delay_ms < asked_ms) delay_ms = asked_ms;
  struct orr_fact fact = {.type = ORR_FACT_RETRY};
  finished_fill(engine, &fact, unit, end);
  fact.finished.until_ms = engine->now.wall_ms + (int64_t)delay_ms;
  orr__record(engine, run, &fact);
  orr__unit_timer(engine, unit, delay_ms);
  orr__notice(engine, run, unit);
  if (step->flags & ORR_STEP_ON_RETRY) orr__hook_queue(engine, unit, ORR_HOOK_RETRY);
  orr__touch(engine, run);
}

static void fail_with(struct orr_engine *engine, struct orr_unit *unit,
                      struct orr__attempt_end *end, const char *code, const char *message) {
  struct orr_buf error = ORR_BUF_INIT;
  orr__error_make(&error, code, message);
  end->status = ORR_STEP_STATUS_FAILED;
  end->value = orr_buf_slice(&error);
  orr__unit_fail(engine, unit, end);
  orr_buf_free(&error);
}

static void end_cancelled(struct orr_engine *engine, struct orr_unit *unit,
                          struct orr__attempt_end *end) {
  end->status = ORR_STEP_STATUS_CANCELLED;
  end->value = ORR_SLICE_LITERAL("{\"message\":\"cancelled\",\"code\":\"cancelled\"}");
  orr__unit_finish(engine, unit, end);
}

// --- results -------------------------------------------------------------------------------------

// The attempt is over for the engine: its task is back, or given up.
static void attempt_close(struct orr_engine *engine, struct orr_unit *unit) {
  unit->task = NULL;
  unit->flags &= (uint8_t)~ORR_UNIT_ABORTING;
  orr_wheel_cancel(&engine->units, &unit->timer);
  unit->run->attempts_open--;
  unit->run->tasks_open--;
  engine->in_flight--;
}

static void result_late(struct orr_engine *engine, struct orr_run *run,
                        const struct orr_task *task) {
  if (orr_run_status_final(run->status)) return;
  struct orr_fact fact = {.type = ORR_FACT_LATE};
  fact.finished.unit = (struct orr_unit_ref){task->step, task->item};
  fact.finished.attempt = task->attempt;
  fact.finished.status =
      task->outcome == ORR_OUTCOME_OK ? ORR_STEP_STATUS_SUCCEEDED : ORR_STEP_STATUS_FAILED;
  fact.finished.started_ms = task->started_ms;
  fact.finished.finished_ms = task->finished_ms;
  fact.finished.node = orr_slice_text(engine->node);
  orr__record(engine, run, &fact);
}

static void cache_store(struct orr_engine *engine, struct orr_run *run,
                        const struct orr_task *task) {
  if (task->cache_key.len == 0 || task->cached) return;
  struct orr_row *row = orr__row(engine, ORR_ROW_CACHE);
  row->run = run->id;
  row->expires_ms = engine->now.wall_ms + (int64_t)task->cache_ttl_ms;
  orr__row_bytes(engine, orr_buf_slice(&task->out), &row->offset, &row->len);
  orr__row_bytes(engine, orr_buf_slice(&task->cache_key), &row->key_offset, &row->key_len);
}

static void unit_error(struct orr_engine *engine, struct orr_unit *unit,
                       const struct orr_task *task, struct orr__attempt_end *end) {
  end->status = ORR_STEP_STATUS_FAILED;
  end->value = orr_buf_slice(&task->out);
  if (end->value.len > 0)
    orr__unit_fail(engine, unit, end);
  else if (task->outcome == ORR_OUTCOME_TIMEOUT)
    fail_with(engine, unit, end, "timeout", "the attempt took longer than its timeout");
  else
    fail_with(engine, unit, end, "failed", "the worker gave no reason");
}

static void unit_outcome(struct orr_engine *engine, struct orr_unit *unit, struct orr_task *task,
                         struct orr__attempt_end *end) {
  bool cancelled = unit->run->cancel_asked;
  switch ((enum orr_outcome)task->outcome) {
  case ORR_OUTCOME_OK:
    end->status = ORR_STEP_STATUS_SUCCEEDED;
    end->value = orr_buf_slice(&task->out);
    if (!ORR_BUG(18)) end->state = orr_buf_slice(&task->state);
    if (end->state.len + unit->run->state.len > ORR_STATE_BYTES_MAX) {
      fail_with(engine, unit, end, "limit", "the run's state is larger than 4 MiB");
      break;
    }
    cache_store(engine, unit->run, task);
    orr__unit_finish(engine, unit, end);
    break;
  case ORR_OUTCOME_ERROR:
    end->retryable = task->retryable;
    end->retry_after_ms = task->retry_after_ms;
    unit_error(engine, unit, task, end);
    break;
  case ORR_OUTCOME_TIMEOUT:
    end->retryable = true;
    unit_error(engine, unit, task, end);
    break;
  case ORR_OUTCOME_SKIPPED:
    end->status = ORR_STEP_STATUS_SKIPPED;
    orr__unit_finish(engine, unit, end);
    break;
  case ORR_OUTCOME_CANCELLED:
    if (cancelled)
      end_cancelled(engine, unit, end);
    else
      fail_with(engine, unit, end, "cancelled", "the attempt was ended by the worker");
    break;
  case ORR_OUTCOME_SLEEP:
    if (cancelled)
      end_cancelled(engine, unit, end);
    else
      unit_sleep(engine, unit, end->started_ms, task->until_ms);
    break;
  case ORR_OUTCOME_CHILD:
    if (cancelled)
      end_cancelled(engine, unit, end);
    else
      orr__child_start(engine, unit, task);
    break;
  case ORR_OUTCOME_EXPANDED:
    if (cancelled)
      end_cancelled(engine, unit, end);
    else if (task->op != ORR_OP_EXPAND)
      fail_with(engine, unit, end, "internal", "the worker expanded what is no map");
    else if (task->items_len > ORR_MAP_ITEMS_MAX)
      fail_with(engine, unit, end, "limit", "a map has at most 1,000,000 items");
    else
      orr__map_expanded(engine, unit, task);
    break;
  case ORR_OUTCOME_NONE:
    fail_with(engine, unit, end, "internal", "the worker gave no outcome");
    break;
  }
}

void orr__unit_result(struct orr_engine *engine, struct orr_run *run, struct orr_task *task) {
  struct orr_unit *unit = orr_run_unit(run, task->step, task->item);
  if (unit == NULL) return;
  if (unit->task == NULL || (unit->task->serial != task->serial && !ORR_BUG(16))) {
    result_late(engine, run, task);
    return;
  }
  attempt_close(engine, unit);
  orr__touch(engine, run);
  // Stopping: what a worker gave up has no outcome; the next start dispatches it again.
  if (engine->draining && task->outcome == ORR_OUTCOME_CANCELLED && !run->cancel_asked) return;
  struct orr__attempt_end end = {.started_ms = task->started_ms, .finished_ms = task->finished_ms};
  if (end.started_ms == 0) end.started_ms = task->dispatched_ms;
  if (end.finished_ms == 0) end.finished_ms = engine->now.wall_ms;
  if (task->when_true) end.flags |= ORR_FINISHED_WHEN_TRUE;
  if (task->cached) end.flags |= ORR_FINISHED_CACHED;
  unit_outcome(engine, unit, task, &end);
}

// --- aborts and timers ---------------------------------------------------------------------------

void orr__unit_abort(struct orr_engine *engine, struct orr_unit *unit, enum orr_abort_why why) {
  if (unit->task == NULL || (unit->flags & ORR_UNIT_ABORTING)) return;
  struct orr_effect *effect = orr__effect(engine, ORR_EFFECT_ABORT);
  effect->abort.serial = unit->task->serial;
  effect->abort.worker = unit->task->worker;
  effect->abort.why = why;
  unit->flags |= ORR_UNIT_ABORTING;
  orr__unit_timer(engine, unit, engine->abort_grace_ms);
}

static void attempt_give_up(struct orr_engine *engine, struct orr_unit *unit) {
  struct orr__attempt_end end = {.started_ms = unit->task->dispatched_ms,
                                 .finished_ms = engine->now.wall_ms,
                                 .retryable = true};
  attempt_close(engine, unit);
  if (ORR_BUG(17)) engine->in_flight++;
  if (unit->run->cancel_asked)
    end_cancelled(engine, unit, &end);
  else
    fail_with(engine, unit, &end, "timeout", "the attempt did not end after its timeout");
}

void orr__unit_timer_fired(struct orr_engine *engine, struct orr_unit *unit) {
  if (unit->task != NULL) {
    if (unit->flags & ORR_UNIT_ABORTING)
      attempt_give_up(engine, unit);
    else
      orr__unit_abort(engine, unit, ORR_ABORT_TIMEOUT);
    return;
  }
  if (orr_step_status_final(unit->status)) return;
  if (ORR_BUG(19) && unit->run->paused) return;
  orr_list_remove(&unit->ready);
  orr_list_push_back(&unit->run->fresh, &unit->ready);
  orr__touch(engine, unit->run);
}
