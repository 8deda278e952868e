// SPDX-License-Identifier: MIT
// The oracle's judgement of what leaves the engine: may this attempt start, is its payload what the
// facts say, are gates and slots kept; and of the live runs: are they the fold of their journals;
// and of the end: has everything come to an end.
#include "world.h"

#include "base/json.h"

#include <stdlib.h>

#define check_task(expression, text)                                                               \
  sim_check(w, expression, text " (run %s, task #%llu op %u step %u item %u attempt %u)",          \
            run->def->name, (unsigned long long)task->serial, task->op, task->step, task->item,    \
            task->attempt)

// --- payload
// ---------------------------------------------------------------------------------------------

static void results_check(struct world *w, struct model_run *run, const struct orr_task *task,
                          struct orr_reader *reader) {
  uint64_t count = orr_read_varint(reader);
  const struct orr_step_def *def = &run->def->steps[task->step];
  if (task->op == ORR_OP_STEP && task->item == 0)
    check_task(count == def->after_len, "not every dependency's result goes along");
  if (task->op == ORR_OP_OUTPUT)
    check_task(count == run->def->steps_len, "not every result goes along to the output");
  for (uint64_t i = 0; i < count; i++) {
    uint32_t step = (uint32_t)orr_read_varint(reader);
    uint8_t status = orr_read_u8(reader);
    struct orr_slice value = orr_read_bytes(reader);
    check_task(!reader->failed && step < run->def->steps_len, "the payload does not read");
    const struct model_unit *unit = model_unit(run, step, 0);
    check_task(status == (uint8_t)model_step_status(run, step), "a result has another status");
    check_task(orr_slice_equal(value, model_bytes(run, unit->value_at, unit->value_len)),
               "a result is not the recorded one");
  }
}

static void state_check(struct world *w, struct model_run *run, const struct orr_task *task,
                        struct orr_slice state) {
  char path[] = "s0";
  for (uint32_t i = 0; i < MODEL_STATE_KEYS; i++) {
    path[1] = (char)('0' + i);
    struct orr_slice value;
    bool found = state.len > 0 && orr_json_path(state, orr_slice_text(path), &value) == ORR_OK;
    check_task(found == (run->state[i] >= 0), "ctx.state misses a write, or has one too many");
    if (!found) continue;
    int32_t number = 0;
    for (size_t k = 0; k < value.len; k++) number = number * 10 + (value.data[k] - '0');
    check_task(number == run->state[i], "ctx.state has another value");
  }
}

static void payload_check(struct world *w, struct model_run *run, const struct orr_task *task) {
  if (task->op == ORR_OP_KEY) return;
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&task->payload));
  results_check(w, run, task, &reader);
  struct orr_slice item = orr_read_bytes(&reader);
  struct orr_slice state = orr_read_bytes(&reader);
  struct orr_slice subject = orr_read_bytes(&reader);
  check_task(!reader.failed && reader.at == reader.end, "the payload does not read");
  const struct model_unit *unit = model_unit(run, task->step, 0);
  if (task->item > 0 && task->op == ORR_OP_STEP)
    check_task(orr_slice_equal(item, model_bytes(run, unit->item_at[task->item - 1],
                                                 unit->item_len[task->item - 1])),
               "I14: an item is not the recorded one");
  // A hook's payload was made when its outcome was: only attempts see the newest state.
  if (task->op == ORR_OP_STEP || task->op == ORR_OP_EXPAND) state_check(w, run, task, state);
  if (task->op == ORR_OP_UNDO)
    check_task(orr_slice_equal(subject, model_bytes(run, unit->value_at, unit->value_len)),
               "an undo gets another output");
}

// --- may it start?
// -----------------------------------------------------------------------------------------

static void unit_check(struct world *w, struct model_run *run, uint32_t index,
                       const struct orr_task *task) {
  struct model_unit *unit = model_unit(run, task->step, task->item);
  const struct model_unit *map = model_unit(run, task->step, 0);
  const struct orr_step_def *def = &run->def->steps[task->step];
  check_task(!run->final, "I9: an attempt after the run's end");
  check_task(!run->cancelled, "I9: an attempt after cancel");
  check_task(!run->paused, "an attempt while the run is paused");
  check_task(run->admitted, "I22: an attempt before admission");
  check_task(model_may_run(run, task->step), "I8: dependencies are not satisfied");
  check_task(unit->outcome == ORR_STEP_STATUS_PENDING, "I12: an attempt after its outcome");
  check_task(!unit->waiting, "an attempt of a step that waits");
  check_task(task->attempt == unit->attempts + 1, "I11: attempt numbers have a gap");
  check_task(unit->attempts <= def->retry.attempts - 1 + unit->interruptions,
             "I11: more attempts than allowed");
  check_task(!unit->retrying || w->now.mono_ms >= unit->due_ms || w->now.wall_ms >= unit->until_ms,
             "I13: an attempt before its delay is over");
  check_task(task->when_decided == (task->item > 0 || unit->when_true),
             "I8: when is decided again, or not at all");
  check_task(!(def->flags & ORR_STEP_ONCE) || unit->started, "I16: a once step without its fact");
  if (task->op == ORR_OP_EXPAND)
    check_task(def->kind == ORR_STEP_MAP && !map->expanded && task->item == 0,
               "I14: expands again");
  else
    check_task(task->item == 0 ? def->kind != ORR_STEP_MAP
                               : map->expanded && task->item <= map->items,
               "I14: an item that is not there");
  struct sim_attempt *open = workers_open(w, index, task->step, task->item, task->op);
  check_task(open == NULL, "I10: a second open attempt");
  uint32_t at_once = 1;
  for (uint32_t i = 1; task->item > 0 && i <= map->items; i++) {
    check_task(model_unit(run, task->step, i)->outcome != ORR_STEP_STATUS_FAILED ||
                   unit->attempts > 0,
               "a new item after one has failed");
    if (workers_open(w, index, task->step, i, ORR_OP_STEP) != NULL) at_once++;
  }
  check_task(def->parallel == 0 || at_once <= def->parallel, "more items at once than allowed");
  check_task(
      !(def->kind == ORR_STEP_SLEEP && def->sleep_ms > 0 && !(def->flags & ORR_STEP_HAS_WHEN)),
      "a constant sleep is sent to a worker");
}

static void undo_check(struct world *w, struct model_run *run, uint32_t index,
                       const struct orr_task *task) {
  const struct model_unit *unit = model_unit(run, task->step, 0);
  check_task(run->cancelled || run->any_failed || run->output_failed,
             "an undo of a run that is well");
  check_task((run->def->steps[task->step].flags & ORR_STEP_UNDO) && !unit->undone &&
                 unit->outcome == ORR_STEP_STATUS_SUCCEEDED,
             "an undo of a step that has none to do");
  check_task(!workers_busy(w, index), "an undo while attempts are in flight");
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    const struct model_unit *other = model_unit(run, i, 0);
    check_task(run->cancelled || model_step_status(run, i) != ORR_STEP_STATUS_PENDING,
               "an undo before every step is done");
    if (i == task->step || !(run->def->steps[i].flags & ORR_STEP_UNDO) || other->undone ||
        other->outcome != ORR_STEP_STATUS_SUCCEEDED)
      continue;
    check_task(other->finish_order < unit->finish_order, "undo goes in the wrong order");
  }
}

static void output_check(struct world *w, struct model_run *run, const struct orr_task *task) {
  check_task(run->def->has_output && !run->output_decided && !run->cancelled && !run->any_failed,
             "an output out of place");
  for (uint32_t i = 0; i < run->def->steps_len; i++)
    check_task(model_step_status(run, i) != ORR_STEP_STATUS_PENDING,
               "an output before every step is done");
}

static void hook_check(struct world *w, struct model_run *run, const struct orr_task *task) {
  const struct model_unit *unit = model_unit(run, task->step, 0);
  uint32_t flags = run->def->steps[task->step].flags;
  switch ((enum orr_hook)task->hook) {
  case ORR_HOOK_SUCCESS:
    check_task((flags & ORR_STEP_ON_SUCCESS) && unit->outcome == ORR_STEP_STATUS_SUCCEEDED,
               "a success hook without a success");
    break;
  case ORR_HOOK_FAILURE:
    check_task((flags & ORR_STEP_ON_FAILURE) && unit->outcome == ORR_STEP_STATUS_FAILED,
               "a failure hook without a failure");
    break;
  case ORR_HOOK_RETRY:
    check_task((flags & ORR_STEP_ON_RETRY) &&
                   (model_unit(run, task->step, task->item)->failures > 0),
               "a retry hook without a retry");
    break;
  }
}

// A job that was given up without a fact is asked for again: then its grace must have passed.
static void job_check(struct world *w, struct model_run *run, uint32_t index,
                      const struct orr_task *task) {
  struct sim_attempt *open = workers_open(w, index, task->step, task->item, task->op);
  if (open != NULL) workers_give_up(w, open);
  check_task(workers_open(w, index, task->step, task->item, task->op) == NULL,
             "I10: a job is given out twice");
  if (task->op == ORR_OP_UNDO) undo_check(w, run, index, task);
  if (task->op == ORR_OP_OUTPUT) output_check(w, run, task);
  if (task->op == ORR_OP_KEY)
    check_task(run->def->concurrency_key_function && !run->key_decided && !run->admitted,
               "a key that is decided");
}

uint32_t oracle_dispatch(struct world *w, const struct orr_task *task) {
  uint32_t index = 0;
  struct model_run *run = oracle_find(w, &task->run_id, &index);
  sim_check(w, run != NULL && run->created && !run->gone, "a task of an unknown run");
  check_task(orr_digest_equal(&task->def->generation, &run->generation),
             "I33: a task runs on another version");
  check_task(!w->drain_known, "a task is given out after drain");
  switch ((enum orr_task_op)task->op) {
  case ORR_OP_STEP:
  case ORR_OP_EXPAND:
    unit_check(w, run, index, task);
    break;
  case ORR_OP_OUTPUT:
  case ORR_OP_KEY:
  case ORR_OP_UNDO:
    job_check(w, run, index, task);
    break;
  case ORR_OP_HOOK:
    hook_check(w, run, task);
    break;
  }
  payload_check(w, run, task);
  check_task(workers_slots_used(w) + 1 <= w->slots, "more attempts in flight than slots");
  return index;
}

// --- gates
// ---------------------------------------------------------------------------------------------------

static bool same_gate(const struct model_run *a, const struct model_run *b) {
  return strcmp(a->def->name, b->def->name) == 0 &&
         orr_slice_equal(model_bytes(a, a->key_at, a->key_len),
                         model_bytes(b, b->key_at, b->key_len));
}

static void gate_check(struct world *w, struct model_run *run) {
  struct oracle *o = &w->oracle;
  uint32_t used = 0;
  for (uint32_t i = o->open; i < o->runs_len; i++) {
    struct model_run *other = o->runs[i];
    if (other == run || !other->admitted || other->final || other->gone ||
        other->def->concurrency == 0 || !same_gate(run, other))
      continue;
    // Of one turn, one with a higher limit (generations differ) may have come in after this one, or
    // any after this one began to wait.
    if (other->admitted_batch == run->admitted_batch &&
        (other->def->concurrency > run->def->concurrency || run->def->concurrency_active))
      continue;
    // A waiting run may wake in the very turn that gave its place away: count only who was active
    // before, and has nothing new in this turn.
    if (other->def->concurrency_active &&
        !(other->was_active && model_active(other) &&
          other->rows[other->rows_len - 1].batch != w->batch_next))
      continue;
    used++;
  }
  sim_check(w, used + 1 <= run->def->concurrency, "I22: %u runs of %s hold a key for %u", used + 1,
            run->def->name, run->def->concurrency);
}

void oracle_gates(struct world *w, const struct orr_outbox *outbox) {
  struct oracle *o = &w->oracle;
  for (uint32_t i = 0; i < outbox->rows_len; i++) {
    if (outbox->rows[i].type != ORR_ROW_JOURNAL) continue;
    struct model_run *run = oracle_find(w, &outbox->rows[i].run, NULL);
    if (run->admitted_batch == w->batch_next && run->def->concurrency > 0 && !run->final)
      gate_check(w, run);
  }
  while (o->open < o->runs_len &&
         (o->runs[o->open]->gone || (o->runs[o->open]->final && o->runs[o->open]->gathered)))
    o->open++;
  for (uint32_t i = o->open; i < o->runs_len; i++)
    o->runs[i]->was_active = model_active(o->runs[i]);
}

// --- the live runs
// ---------------------------------------------------------------------------------------------

static void live_check(struct world *w, const struct orr_run *live, struct model_run *run) {
  sim_check(w, live->journal.len == run->journal.len && live->persisted == live->journal.len,
            "I4: %s holds facts that were not handed over", run->def->name);
  sim_check(w, orr_run_fingerprint(live) == orr_run_fingerprint(run->mirror),
            "I4: the live run of %s is not the fold of its journal", run->def->name);
  sim_check(w, live->last_pos == run->rows[run->rows_len - 1].pos, "I3: last position of %s",
            run->def->name);
}

// Nothing sleeps past its time while the engine is up, and what a cancel ends has been told so.
static void late_check(struct world *w, struct model_run *run, uint64_t slack_ms) {
  uint64_t now_ms = w->now.mono_ms;
  if (run->final || w->draining) return;
  // A deadline is a wall instant: where the wall was set back, it comes later.
  sim_check(w,
            run->cancelled || run->deadline_due_ms == UINT64_MAX || w->wall_steps > 0 ||
                now_ms <= run->deadline_due_ms + slack_ms,
            "%s is past its deadline and not cancelled", run->def->name);
  if (run->paused || run->cancelled) return;
  for (uint32_t i = 0; i < run->def->steps_len * (MODEL_ITEMS_MAX + 1); i++) {
    const struct model_unit *unit = &run->units[i];
    if (unit->waiting && !unit->child && unit->outcome == ORR_STEP_STATUS_PENDING)
      sim_check(w, now_ms <= unit->due_ms + slack_ms, "a step of %s oversleeps", run->def->name);
  }
}

static void aborts_check(struct world *w) {
  for (uint32_t i = 0; i < w->open_len; i++) {
    const struct sim_attempt *attempt = &w->attempts[w->open[i]];
    const struct model_run *run = w->oracle.runs[attempt->run];
    bool unit = attempt->op == ORR_OP_STEP || attempt->op == ORR_OP_EXPAND;
    sim_check(w, !unit || !run->cancelled || attempt->aborted,
              "%s is cancelled, attempt #%llu is not told", run->def->name,
              (unsigned long long)attempt->serial);
    sim_check(w,
              !unit || attempt->aborted || attempt->timeout_ms == 0 || w->draining ||
                  w->now.mono_ms <=
                      attempt->created_ms + attempt->timeout_ms + w->faults.turn_ms_max + 100,
              "attempt #%llu is past its timeout and not told",
              (unsigned long long)attempt->serial);
  }
}

void oracle_live(struct world *w, const struct orr_outbox *outbox) {
  bool all = w->turns % 16 == 0;
  uint32_t live = 0, ungathered = 0;
  if (outbox == NULL && !all) return;
  for (struct orr_run *run = orr_engine_next_run(w->engine, NULL); run != NULL;
       run = orr_engine_next_run(w->engine, run)) {
    struct model_run *model = oracle_find(w, &run->id, NULL);
    sim_check(w, model != NULL && !model->gone, "I1: a live run without a row");
    if (model->gathered) continue;
    if (model->live != run) model->live = run;
    if (orr_run_status_final(run->status))
      ungathered++;
    else
      live++;
    bool touched = model->checked_rows != model->rows_len;
    model->checked_rows = model->rows_len;
    if (all || touched) live_check(w, run, model);
    if (all) late_check(w, model, w->faults.turn_ms_max + 100);
  }
  sim_check(w, live == orr_engine_live(w->engine), "the engine counts %u live runs, there are %u",
            orr_engine_live(w->engine), live);
  sim_check(w, ungathered <= orr_engine_ungathered(w->engine),
            "the engine counts %u ungathered runs, there are %u", orr_engine_ungathered(w->engine),
            ungathered);
  if (all) aborts_check(w);
}

// --- the end
// -----------------------------------------------------------------------------------------------------

bool oracle_all_final(struct world *w) {
  struct oracle *o = &w->oracle;
  while (o->open < o->runs_len &&
         (o->runs[o->open]->gone || (o->runs[o->open]->final && o->runs[o->open]->gathered)))
    o->open++;
  return o->open == o->runs_len;
}

void oracle_end(struct world *w) {
  for (uint32_t i = 0; i < w->oracle.runs_len; i++) {
    const struct model_run *run = w->oracle.runs[i];
    if (run->gone) continue;
    sim_check(w, run->final, "I34: run %u (%s, status %s, %u facts) never ends", i, run->def->name,
              orr_run_status_text(run->mirror->status), run->facts);
    sim_check(w, run->gathered, "I34: run %u (%s) is never gathered", i, run->def->name);
  }
  sim_check(w, w->engine != NULL, "I34: the engine is not up");
  orr_engine_check(w->engine);
  sim_check(w, orr_engine_live(w->engine) == 0 && orr_engine_ungathered(w->engine) == 0,
            "I29: %u live and %u ungathered runs at the end", orr_engine_live(w->engine),
            orr_engine_ungathered(w->engine));
  sim_check(w, orr_engine_in_flight(w->engine) == 0, "I29: %u slots are lost",
            orr_engine_in_flight(w->engine));
  sim_check(w, orr_engine_next_run(w->engine, NULL) == NULL,
            "I29: a gathered run is not forgotten");
  sim_check(w, orr_engine_next_deadline(w->engine) == ORR_WHEEL_NEVER, "I29: a timer is left");
}
