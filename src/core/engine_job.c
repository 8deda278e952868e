// SPDX-License-Identifier: MIT
// Tasks: filling one for a worker, and those that are not attempts of a unit ("jobs": output, key,
// undo, hooks). Jobs queue before units. Invariant: run->tasks_open counts every task of the run
// that is
// queued or in flight and not given up; engine->in_flight those at workers.
#include "core/engine_internal.h"

#include <stdlib.h>

// Results that go along with a map item: above this a worker fetches them once for all items.
#define ITEM_RESULT_BYTES_MAX 256u

static void payload_results(struct orr_run *run, struct orr_task *task, const uint32_t *steps,
                            uint32_t len) {
  uint64_t most = task->item > 0 ? ITEM_RESULT_BYTES_MAX : UINT64_MAX;
  uint32_t count = 0;
  for (uint32_t i = 0; i < len; i++) {
    const struct orr_unit *unit = &run->units[steps[i]];
    if (orr_step_status_final(unit->status) && unit->value.len <= most) count++;
  }
  orr_buf_varint(&task->payload, count);
  for (uint32_t i = 0; i < len; i++) {
    const struct orr_unit *unit = &run->units[steps[i]];
    if (!orr_step_status_final(unit->status) || unit->value.len > most) continue;
    orr_buf_varint(&task->payload, steps[i]);
    orr_buf_u8(&task->payload, unit->status);
    orr_buf_bytes(&task->payload, orr_run_bytes(run, unit->value));
  }
}

static void payload_fill(struct orr_run *run, struct orr_task *task, struct orr_slice subject) {
  const struct orr_step_def *def = &run->def->steps[task->step];
  if (task->op == ORR_OP_OUTPUT)
    payload_results(run, task, run->def->order, run->def->steps_len);
  else if (task->op == ORR_OP_KEY)
    orr_buf_varint(&task->payload, 0);
  else
    payload_results(run, task, def->after, def->after_len);
  struct orr_slice item = {0};
  if (task->item > 0) item = orr_run_bytes(run, run->maps[task->step]->values[task->item - 1]);
  orr_buf_bytes(&task->payload, item);
  orr_buf_bytes(&task->payload, orr_buf_slice(&run->state));
  orr_buf_bytes(&task->payload, subject);
}

struct orr_task *orr__task_make(struct orr_engine *engine, struct orr_run *run,
                                enum orr_task_op op, struct orr_unit *unit,
                                struct orr_slice subject) {
  struct orr_task *task = orr__task_get(engine);
  task->serial = engine->next_serial++;
  task->op = (uint8_t)op;
  task->attempt = 1;
  task->priority = run->def->priority;
  task->whole_results = op == ORR_OP_OUTPUT;
  task->run_handle = run->handle;
  task->run_id = run->id;
  task->def = orr_def_ref(run->def);
  task->input = orr_blob_ref(run->input);
  if (unit != NULL) {
    const struct orr_step_def *step = &run->def->steps[unit->step];
    task->step = unit->step;
    task->item = unit->item;
    task->priority = step->priority;
    task->timeout_ms = step->timeout_ms;
    task->when_decided = unit->item > 0 || ((unit->flags & ORR_UNIT_WHEN_TRUE) && !ORR_BUG(38));
  }
  payload_fill(run, task, subject);
  return task;
}

void orr__job_queue(struct orr_engine *engine, struct orr_run *run, struct orr_task *task) {
  run->tasks_open++;
  task->link.next = NULL;
  *engine->jobs_tail = &task->link;
  engine->jobs_tail = &task->link.next;
}

void orr__hook_queue(struct orr_engine *engine, struct orr_unit *unit, enum orr_hook hook) {
  struct orr_run *run = unit->run;
  struct orr__extra *extra = orr__extra_of(run);
  struct orr_task *task =
      orr__task_make(engine, run, ORR_OP_HOOK, unit, orr_run_bytes(run, unit->value));
  task->hook = (uint8_t)hook;
  task->attempt = unit->attempts;
  if (extra->hooks_len == extra->hooks_cap) {
    extra->hooks_cap = extra->hooks_cap == 0 ? 4 : extra->hooks_cap * 2;
    extra->hooks = orr_realloc(extra->hooks, extra->hooks_cap * sizeof(*extra->hooks));
  }
  extra->hooks[extra->hooks_len++] = task->serial;
  orr__job_queue(engine, run, task);
}

// --- dispatch ------------------------------------------------------------------------------------

// A queued job that its run has given up: a cancel came before its key or output was asked for.
static bool job_stale(const struct orr__extra *extra, const struct orr_task *task) {
  return task->op != ORR_OP_HOOK && extra->job != task;
}

static void job_drop(struct orr_engine *engine, struct orr_run *run, struct orr_task *task) {
  run->tasks_open--;
  orr__task_put(engine, task);
  if (run->phase == ORR__PHASE_GATHERED && run->tasks_open == 0) orr__run_forget(engine, run);
}

void orr__jobs_dispatch(struct orr_engine *engine) {
  while (engine->jobs_head != NULL && orr__slot_free(engine)) {
    struct orr_link *link = engine->jobs_head;
    engine->jobs_head = link->next;
    if (engine->jobs_head == NULL) engine->jobs_tail = &engine->jobs_head;
    struct orr_task *task = ORR_CONTAINER_OF(link, struct orr_task, link);
    struct orr_run *run = orr_run_index_get(&engine->index, task->run_handle);
    orr_assert(run != NULL); // it stays while tasks_open > 0
    link->next = NULL;
    struct orr__extra *extra = run->children_live;
    if (job_stale(extra, task)) {
      job_drop(engine, run, task);
      continue;
    }
    if (task == extra->job) {
      extra->job_sent = true;
      if (task->timeout_ms > 0)
        orr_wheel_add(&engine->jobs, &extra->timer, engine->now.mono_ms + task->timeout_ms);
    }
    task->dispatched_ms = engine->now.wall_ms;
    engine->in_flight++;
    orr__effect(engine, ORR_EFFECT_DISPATCH)->dispatch = task;
  }
}

// --- results -------------------------------------------------------------------------------------

static bool hook_close(struct orr__extra *extra, uint64_t serial) {
  for (uint32_t i = 0; i < extra->hooks_len; i++) {
    if (extra->hooks[i] != serial) continue;
    extra->hooks[i] = extra->hooks[--extra->hooks_len];
    return true;
  }
  return false;
}

void orr__job_result(struct orr_engine *engine, struct orr_run *run, struct orr_task *task) {
  struct orr__extra *extra = run->children_live;
  if (extra == NULL) return;
  if (task->op == ORR_OP_HOOK) {
    if (!hook_close(extra, task->serial)) return;
    run->tasks_open--;
    engine->in_flight--;
    if (run->phase == ORR__PHASE_GATHERED && run->tasks_open == 0) orr__run_forget(engine, run);
    return;
  }
  if (extra->job == NULL || extra->job->serial != task->serial) return;
  extra->job = NULL;
  extra->job_sent = extra->job_aborted = false;
  orr_wheel_cancel(&engine->jobs, &extra->timer);
  run->tasks_open--;
  engine->in_flight--;
  orr__end_job_result(engine, run, task);
  orr__touch(engine, run);
}

// Ends the job of a run that is being cancelled; an undo goes on.
void orr__job_abort(struct orr_engine *engine, struct orr_run *run) {
  struct orr__extra *extra = run->children_live;
  if (extra == NULL || extra->job == NULL || extra->job_aborted) return;
  if (extra->job->op == ORR_OP_UNDO) return;
  if (!extra->job_sent) { // stays in the queue as an orphan, dropped when its turn comes
    extra->job = NULL;
    return;
  }
  struct orr_effect *effect = orr__effect(engine, ORR_EFFECT_ABORT);
  effect->abort.serial = extra->job->serial;
  effect->abort.worker = extra->job->worker;
  effect->abort.why = ORR_ABORT_CANCEL;
  extra->job_aborted = true;
  orr_wheel_add(&engine->jobs, &extra->timer, engine->now.mono_ms + engine->abort_grace_ms);
}
