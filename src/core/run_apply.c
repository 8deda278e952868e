// SPDX-License-Identifier: MIT
// What each fact does to a run: the fold. Every function first checks that the fact fits and only
// then
// changes anything, so a refused fact leaves the run as it was. Skips are derived here: an outcome
// travels over `next` with a worklist, and every dependant whose last dependency is done is judged
// by
// its rule. Steps that may run are put on run->fresh. Owner thread; no clock: times are in the
// facts.
#include "core/run_internal.h"

#include "base/check.h"
#include "base/json.h"

#include <stdlib.h>

static struct orr_span span_of(const struct orr_run *run, struct orr_slice bytes) {
  if (bytes.len == 0) return (struct orr_span){0};
  return (struct orr_span){(uint64_t)(bytes.data - run->journal.data), bytes.len};
}

static bool unit_waits(const struct orr_unit *unit) {
  return unit->status == ORR_STEP_STATUS_WAITING || unit->status == ORR_STEP_STATUS_RETRYING;
}

// --- status of the run: derived, in this one place -----------------------------------------------

static enum orr_run_status derive(const struct orr_run *run) {
  if (orr_run_status_final(run->status)) return run->status;
  if (run->paused && !run->cancel_asked) return ORR_RUN_PAUSED;
  if (!run->admitted) return ORR_RUN_QUEUED;
  if (run->waiting > 0 && run->active == 0) return ORR_RUN_WAITING;
  return ORR_RUN_RUNNING;
}

// --- units ---------------------------------------------------------------------------------------

static void unit_enter_fresh(struct orr_run *run, struct orr_unit *unit) {
  run->active++;
  orr_list_push_back(&run->fresh, &unit->ready);
}

// Takes the unit out of the counts of what may run or waits.
static void unit_leave(struct orr_run *run, struct orr_unit *unit) {
  if (unit_waits(unit)) {
    orr_assert(run->waiting > 0);
    run->waiting--;
    if (unit->flags & ORR_UNIT_CHILD) {
      run->children_open--;
      unit->flags &= (uint8_t)~ORR_UNIT_CHILD;
    }
  } else if (unit->item > 0 || (unit->pending == 0 && !(unit->flags & ORR_UNIT_EXPANDED))) {
    orr_assert(run->active > 0);
    run->active--;
  }
  orr_list_remove(&unit->ready);
}

static void unit_wait(struct orr_run *run, struct orr_unit *unit, uint8_t status,
                      int64_t until_ms) {
  unit_leave(run, unit);
  run->waiting++;
  unit->status = status;
  unit->until_ms = until_ms;
}

static void step_decide(struct orr_run *run, struct orr_unit *unit, int64_t at_ms,
                        struct orr_list *done) {
  switch (orr_rule_verdict(run, unit->step)) {
  case ORR_VERDICT_WAIT: orr_unreachable(); break;
  case ORR_VERDICT_RUN: unit_enter_fresh(run, unit); break;
  case ORR_VERDICT_SKIP:
    unit->status = ORR_STEP_STATUS_SKIPPED;
    unit->finished_ms = at_ms;
    run->units_open--;
    orr_list_push_back(done, &unit->ready);
    break;
  }
}

// Carries the outcome of `first` to everything that depends on it.
static void propagate(struct orr_run *run, struct orr_unit *first, int64_t at_ms) {
  struct orr_list done;
  orr_list_init(&done);
  orr_list_push_back(&done, &first->ready);
  struct orr_list *node;
  while ((node = orr_list_pop_front(&done)) != NULL) {
    const struct orr_unit *unit = ORR_CONTAINER_OF(node, struct orr_unit, ready);
    const struct orr_step_def *def = &run->def->steps[unit->step];
    for (uint32_t i = 0; i < def->next_len; i++) {
      struct orr_unit *next = &run->units[def->next[i]];
      orr_assert(next->pending > 0);
      // After a cancel nothing new is decided: what is pending then ends as cancelled.
      if (--next->pending == 0) {
        if (run->cancel_asked)
          run->active++; // keeps "pending == 0 and open" equal to "counted as active"
        else
          step_decide(run, next, at_ms, &done);
      }
    }
  }
}

static void items_close(struct orr_run *run, struct orr_map_items *map, int64_t at_ms) {
  for (uint32_t i = 0; map->done < map->count && i < map->count; i++) {
    struct orr_unit *item = &map->units[i];
    if (orr_step_status_final(item->status)) continue;
    unit_leave(run, item);
    item->status = run->cancel_asked ? ORR_STEP_STATUS_CANCELLED : ORR_STEP_STATUS_SKIPPED;
    item->finished_ms = at_ms;
    map->done++;
    run->items_done++;
  }
}

static void start(struct orr_run *run, int64_t at_ms) {
  run->admitted = true;
  run->started_ms = at_ms;
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    if (run->units[i].pending == 0) unit_enter_fresh(run, &run->units[i]);
  }
}

// The unit a fact is about, if it is open and the attempt is its next one.
static struct orr_unit *unit_open(struct orr_run *run, struct orr_unit_ref ref, uint32_t attempt) {
  struct orr_unit *unit = run->admitted ? orr_run_unit(run, ref.step, ref.item) : NULL;
  if (unit == NULL || orr_step_status_final(unit->status)) return NULL;
  if (unit->item == 0 && unit->pending > 0) return NULL;
  if (attempt != unit->attempts + 1) return NULL;
  return unit;
}

// --- ctx.state -----------------------------------------------------------------------------------

// Appends the members of `object` to `out` that are not null and not overridden by `writes`.
static void state_members(struct orr_buf *out, struct orr_slice object, struct orr_slice writes) {
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, object);
  if (orr_json_next(&reader) != ORR_JSON_OBJECT_BEGIN) return;
  while (orr_json_next(&reader) == ORR_JSON_KEY) {
    struct orr_slice key = reader.text;
    enum orr_json_type type = orr_json_next(&reader);
    struct orr_slice value = {0};
    if (orr_json_skip(&reader, type, &value) != ORR_OK) return;
    if (type == ORR_JSON_NULL) continue;
    bool overridden = false;
    struct orr_json_reader other;
    orr_json_reader_init(&other, writes);
    if (writes.len > 0 && orr_json_next(&other) == ORR_JSON_OBJECT_BEGIN) {
      while (!overridden && orr_json_next(&other) == ORR_JSON_KEY) {
        overridden = orr_slice_equal(other.text, key);
        if (orr_json_skip(&other, orr_json_next(&other), NULL) != ORR_OK) break;
      }
    }
    if (overridden) continue;
    if (out->len > 1) orr_buf_u8(out, ',');
    orr_buf_u8(out, '"');
    orr_buf_slice_append(out, key);
    orr_buf_text(out, "\":");
    orr_buf_slice_append(out, value);
  }
}

static void state_merge(struct orr_run *run, struct orr_slice writes) {
  struct orr_buf merged = ORR_BUF_INIT;
  orr_buf_u8(&merged, '{');
  state_members(&merged, orr_buf_slice(&run->state), writes);
  state_members(&merged, writes, orr_slice_of(NULL, 0));
  orr_buf_u8(&merged, '}');
  orr_buf_free(&run->state);
  run->state = merged;
}

// --- one function a fact -------------------------------------------------------------------------

static enum orr_status apply_created(struct orr_run *run, const struct orr_fact *fact) {
  if (run->facts > 0) return ORR_ERR_CORRUPT;
  run->id = fact->created.id;
  run->parent = fact->created.parent;
  run->parent_step = fact->created.parent_step;
  run->parent_item = fact->created.parent_item;
  run->depth = fact->created.depth;
  run->seed = fact->created.seed;
  run->deadline_ms = fact->created.deadline_ms;
  run->created_ms = fact->at_ms;
  run->trigger = span_of(run, fact->created.trigger);
  run->concurrency_key = span_of(run, fact->created.concurrency_key);
  run->idempotency_key = span_of(run, fact->created.idempotency_key);
  if (run->input == NULL) run->input = orr_blob_new(fact->created.input);
  run->key_decided = !run->def->concurrency_key_function;
  if (run->def->concurrency == 0) start(run, fact->at_ms);
  return ORR_OK;
}

static enum orr_status apply_key(struct orr_run *run, const struct orr_fact *fact) {
  if (run->key_decided || run->admitted) return ORR_ERR_CORRUPT;
  run->key_decided = true;
  run->concurrency_key = span_of(run, fact->key.key);
  return ORR_OK;
}

static enum orr_status apply_started(struct orr_run *run, const struct orr_fact *fact) {
  struct orr_unit *unit = unit_open(run, fact->started.unit, fact->started.attempt);
  if (unit == NULL || (unit->flags & ORR_UNIT_STARTED)) return ORR_ERR_CORRUPT;
  unit->flags |= ORR_UNIT_STARTED;
  unit->started_ms = fact->at_ms;
  return ORR_OK;
}

static uint8_t unit_flags_of(const struct orr_fact *fact) {
  uint8_t flags = 0;
  if (fact->finished.flags & ORR_FINISHED_WHEN_TRUE) flags |= ORR_UNIT_WHEN_TRUE;
  if (fact->finished.flags & ORR_FINISHED_CACHED) flags |= ORR_UNIT_CACHED;
  if (fact->finished.flags & ORR_FINISHED_INTERRUPTED) flags |= ORR_UNIT_INTERRUPTED;
  return flags;
}

static void item_done(struct orr_run *run, struct orr_unit *item) {
  struct orr_map_items *map = run->maps[item->step];
  map->done++;
  run->items_done++;
  if (item->status == ORR_STEP_STATUS_FAILED) map->failed = true;
}

static enum orr_status apply_finished(struct orr_run *run, const struct orr_fact *fact) {
  struct orr_unit *unit = unit_open(run, fact->finished.unit, fact->finished.attempt);
  enum orr_step_status status = fact->finished.status;
  if (unit == NULL || status >= ORR_STEP_STATUS_COUNT || !orr_step_status_final(status) ||
      !orr_step_transition_legal(unit->status, status))
    return ORR_ERR_CORRUPT;
  unit_leave(run, unit);
  unit->status = (uint8_t)status;
  unit->flags |= unit_flags_of(fact);
  unit->attempts++;
  if (status == ORR_STEP_STATUS_FAILED) unit->failures++;
  unit->started_ms = fact->finished.started_ms;
  unit->finished_ms = fact->finished.finished_ms;
  unit->value = span_of(run, fact->finished.value);
  run->recoveries = 0;
  if (status == ORR_STEP_STATUS_FAILED && run->failed_step == UINT32_MAX) {
    run->failed_step = unit->step;
    run->failed_item = unit->item;
  }
  if (status == ORR_STEP_STATUS_SUCCEEDED && fact->finished.state.len > 2)
    state_merge(run, fact->finished.state);
  if (unit->item > 0) {
    item_done(run, unit);
    return ORR_OK;
  }
  if (unit->flags & ORR_UNIT_EXPANDED) items_close(run, run->maps[unit->step], fact->at_ms);
  run->units_open--;
  propagate(run, unit, fact->at_ms);
  return ORR_OK;
}

static enum orr_status apply_retry(struct orr_run *run, const struct orr_fact *fact) {
  struct orr_unit *unit = unit_open(run, fact->finished.unit, fact->finished.attempt);
  if (unit == NULL || (unit->flags & ORR_UNIT_EXPANDED)) return ORR_ERR_CORRUPT;
  unit_wait(run, unit, ORR_STEP_STATUS_RETRYING, fact->finished.until_ms);
  unit->flags |= unit_flags_of(fact);
  unit->attempts++;
  if (!ORR_BUG(21)) unit->failures++;
  unit->started_ms = fact->finished.started_ms;
  unit->finished_ms = fact->finished.finished_ms;
  unit->value = span_of(run, fact->finished.value);
  run->recoveries = 0;
  return ORR_OK;
}

static enum orr_status apply_waiting(struct orr_run *run, const struct orr_fact *fact) {
  struct orr_unit *unit = unit_open(run, fact->waiting.unit, fact->waiting.attempt);
  if (unit == NULL || unit->status == ORR_STEP_STATUS_WAITING || (unit->flags & ORR_UNIT_EXPANDED))
    return ORR_ERR_CORRUPT;
  unit_wait(run, unit, ORR_STEP_STATUS_WAITING, fact->waiting.until_ms);
  unit->started_ms = fact->waiting.started_ms;
  return ORR_OK;
}

static enum orr_status apply_expanded(struct orr_run *run, const struct orr_fact *fact) {
  struct orr_unit_ref ref = {fact->expanded.step, 0};
  struct orr_unit *unit = unit_open(run, ref, fact->expanded.attempt);
  uint32_t count = fact->expanded.count;
  if (unit == NULL || (unit->flags & ORR_UNIT_EXPANDED) || count > ORR_MAP_ITEMS_MAX ||
      run->def->steps[ref.step].kind != ORR_STEP_MAP)
    return ORR_ERR_CORRUPT;
  struct orr_map_items *map = orr__run_map_new(run, ref.step, count);
  struct orr_reader reader = orr_reader_of(fact->expanded.items);
  for (uint32_t i = 0; i < count && !reader.failed; i++)
    map->values[i] = span_of(run, orr_read_bytes(&reader));
  if (reader.failed || reader.at != reader.end) {
    orr__run_map_free(map);
    return ORR_ERR_CORRUPT;
  }
  if (run->maps == NULL)
    run->maps = orr_alloc(run->def->steps_len * sizeof(struct orr_map_items *));
  run->maps[ref.step] = map;
  unit_leave(run, unit);
  unit->status = ORR_STEP_STATUS_RUNNING;
  unit->flags |= ORR_UNIT_EXPANDED;
  unit->started_ms = fact->expanded.started_ms;
  run->active += count;
  run->items_total += count;
  run->recoveries = 0;
  return ORR_OK;
}

static enum orr_status apply_child(struct orr_run *run, const struct orr_fact *fact) {
  struct orr_unit *unit = unit_open(run, fact->child.unit, fact->child.attempt);
  if (unit == NULL || unit->item > 0 || unit->status == ORR_STEP_STATUS_WAITING ||
      (unit->flags & ORR_UNIT_EXPANDED))
    return ORR_ERR_CORRUPT;
  if (run->children == NULL)
    run->children = orr_alloc(run->def->steps_len * sizeof(struct orr_id));
  run->children[unit->step] = fact->child.child;
  unit_wait(run, unit, ORR_STEP_STATUS_WAITING, 0);
  unit->flags |= ORR_UNIT_CHILD;
  if (run->def->steps[unit->step].flags & ORR_STEP_HAS_WHEN) unit->flags |= ORR_UNIT_WHEN_TRUE;
  unit->started_ms = fact->child.started_ms;
  run->children_open++;
  run->recoveries = 0;
  return ORR_OK;
}

static enum orr_status apply_recovered(struct orr_run *run, const struct orr_fact *fact) {
  struct orr_reader reader = orr_reader_of(fact->recovered.units);
  for (uint32_t pass = 0; pass < 2; pass++) { // check all, then change
    reader = orr_reader_of(fact->recovered.units);
    for (uint32_t i = 0; i < fact->recovered.count; i++) {
      uint64_t step = orr_read_varint(&reader), item = orr_read_varint(&reader);
      if (reader.failed || step >= run->def->steps_len || item > UINT32_MAX) return ORR_ERR_CORRUPT;
      struct orr_unit *unit = orr_run_unit(run, (uint32_t)step, (uint32_t)item);
      if (unit == NULL || orr_step_status_final(unit->status)) return ORR_ERR_CORRUPT;
      if (pass == 1 && !ORR_BUG(20)) unit->attempts++;
    }
  }
  if (orr_read_varint(&reader) == 1) run->recoveries++;
  return ORR_OK;
}

static enum orr_status apply_cancel(struct orr_run *run, const struct orr_fact *fact) {
  if (run->cancel_asked) return ORR_ERR_CORRUPT;
  run->cancel_asked = true;
  run->cancel_reason = span_of(run, fact->paused.reason);
  run->timed_out = run->deadline_ms != 0 && fact->at_ms >= run->deadline_ms &&
                   orr_slice_equal(fact->paused.reason, ORR_SLICE_LITERAL(ORR_RUN_TIMEOUT_REASON));
  return ORR_OK;
}

static enum orr_status apply_undone(struct orr_run *run, const struct orr_fact *fact) {
  struct orr_unit *unit =
      orr_run_unit(run, fact->finished.unit.step, fact->finished.unit.item);
  if (unit == NULL || unit->status != ORR_STEP_STATUS_SUCCEEDED || (unit->flags & ORR_UNIT_UNDONE))
    return ORR_ERR_CORRUPT;
  unit->flags |= ORR_UNIT_UNDONE;
  return ORR_OK;
}

static enum orr_status apply_output(struct orr_run *run, const struct orr_fact *fact) {
  if (run->output_decided) return ORR_ERR_CORRUPT;
  run->output_decided = true;
  run->output_failed = fact->output.status != ORR_STEP_STATUS_SUCCEEDED;
  if (run->output_failed)
    run->error = span_of(run, fact->output.value);
  else
    run->output = span_of(run, fact->output.value);
  return ORR_OK;
}

static void units_cancel_open(struct orr_run *run, int64_t at_ms) {
  for (uint32_t i = 0; run->units_open > 0 && i < run->def->steps_len; i++) {
    struct orr_unit *unit = &run->units[i];
    if (orr_step_status_final(unit->status)) continue;
    if (run->admitted && unit->pending == 0) unit_leave(run, unit);
    if (unit->flags & ORR_UNIT_EXPANDED) items_close(run, run->maps[i], at_ms);
    unit->status = ORR_STEP_STATUS_CANCELLED;
    unit->finished_ms = at_ms;
    run->units_open--;
  }
}

static enum orr_status apply_run_finished(struct orr_run *run, const struct orr_fact *fact) {
  enum orr_run_status status = fact->run_finished.status;
  if (status >= ORR_RUN_STATUS_COUNT || !orr_run_status_final(status)) return ORR_ERR_CORRUPT;
  if (run->units_open > 0 && status == ORR_RUN_SUCCEEDED) return ORR_ERR_CORRUPT;
  if (run->units_open > 0) units_cancel_open(run, fact->at_ms);
  run->status = (uint8_t)status;
  run->finished_ms = fact->at_ms;
  run->paused = false;
  run->output = span_of(run, fact->run_finished.output);
  run->error = span_of(run, fact->run_finished.error);
  return ORR_OK;
}

static enum orr_status apply_one(struct orr_run *run, const struct orr_fact *fact) {
  switch (fact->type) {
  case ORR_FACT_CREATED: return apply_created(run, fact);
  case ORR_FACT_KEY: return apply_key(run, fact);
  case ORR_FACT_ADMITTED:
    if (run->admitted) return ORR_ERR_CORRUPT;
    start(run, fact->at_ms);
    return ORR_OK;
  case ORR_FACT_STARTED: return apply_started(run, fact);
  case ORR_FACT_FINISHED: return apply_finished(run, fact);
  case ORR_FACT_RETRY: return apply_retry(run, fact);
  case ORR_FACT_WAITING: return apply_waiting(run, fact);
  case ORR_FACT_EXPANDED: return apply_expanded(run, fact);
  case ORR_FACT_CHILD: return apply_child(run, fact);
  case ORR_FACT_RECOVERED: return apply_recovered(run, fact);
  case ORR_FACT_PAUSED:
    if (run->paused) return ORR_ERR_CORRUPT;
    run->paused = true;
    run->pause_reason = span_of(run, fact->paused.reason);
    return ORR_OK;
  case ORR_FACT_RESUMED:
    if (!run->paused) return ORR_ERR_CORRUPT;
    run->paused = false;
    run->pause_reason = (struct orr_span){0};
    run->recoveries = 0; // a person looked at it
    return ORR_OK;
  case ORR_FACT_CANCEL: return apply_cancel(run, fact);
  case ORR_FACT_UNDONE: return apply_undone(run, fact);
  case ORR_FACT_OUTPUT: return apply_output(run, fact);
  case ORR_FACT_LATE: return ORR_OK;
  case ORR_FACT_RUN_FINISHED: return apply_run_finished(run, fact);
  }
  return ORR_ERR_CORRUPT;
}

enum orr_status orr__run_apply(struct orr_run *run, const struct orr_fact *fact) {
  if (orr_run_status_final(run->status)) return ORR_ERR_CORRUPT; // RUN_FINISHED is the last
  if ((run->facts == 0) != (fact->type == ORR_FACT_CREATED)) return ORR_ERR_CORRUPT;
  enum orr_run_status before = run->status;
  enum orr_status status = apply_one(run, fact);
  if (status != ORR_OK) return status;
  run->facts++;
  run->status = (uint8_t)derive(run);
  orr_assert(orr_run_transition_legal(before, run->status));
  return ORR_OK;
}
