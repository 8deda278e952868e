// SPDX-License-Identifier: MIT
// May it start? The predicates that dispatch asks are the ones that explain a run: asked with a
// list
// they go on and collect every reason, asked without one they stop at the first. Changes nothing.
#include "core/engine_internal.h"

// Notes a reason; its numbers are for the caller to fill in.
static struct orr_reason *note(struct orr__reasons *reasons, enum orr_reason_code code,
                               uint32_t step, uint32_t item) {
  uint32_t at = reasons->len < ORR__REASONS_MAX ? reasons->len++ : ORR__REASONS_MAX - 1;
  reasons->list[at] = (struct orr_reason){.code = code, .step = step, .item = item};
  return &reasons->list[at];
}

static bool no(struct orr__reasons *reasons, enum orr_reason_code code) {
  if (reasons != NULL) note(reasons, code, UINT32_MAX, 0);
  return false;
}

bool orr__run_may_start(const struct orr_engine *engine, const struct orr_run *run,
                        struct orr__reasons *reasons) {
  bool may = true;
  if (run->paused && !run->cancel_asked && !ORR_BUG(14)) may = no(reasons, ORR_REASON_PAUSED);
  if (run->cancel_asked && !ORR_BUG(13)) may = no(reasons, ORR_REASON_CANCELLING);
  if (engine->draining) may = no(reasons, ORR_REASON_DRAINING);
  if (run->admitted) return may;
  if (!run->key_decided) return no(reasons, ORR_REASON_KEY);
  if (reasons != NULL) {
    struct orr_reason *reason = note(reasons, ORR_REASON_CONCURRENCY, UINT32_MAX, 0);
    reason->limit = run->def->concurrency;
    reason->used = run->gate_of != NULL ? orr_gate_used(run->gate_of, UINT32_MAX) : 0;
  }
  return false;
}

bool orr__slot_free(const struct orr_engine *engine) {
  return engine->in_flight < engine->slots + (ORR_BUG(15) ? 1 : 0);
}

static void unit_waits_for(const struct orr_unit *unit, struct orr__reasons *reasons) {
  uint32_t step = unit->step, item = unit->item;
  if (unit->flags & ORR_UNIT_CHILD)
    note(reasons, ORR_REASON_CHILD, step, item);
  else if (unit->status == ORR_STEP_STATUS_WAITING)
    note(reasons, ORR_REASON_UNTIL, step, item)->until_ms = unit->until_ms;
  else
    note(reasons, ORR_REASON_RETRY, step, item)->until_ms = unit->until_ms;
}

// Why an open unit has no attempt that could start now, apart from what holds the whole run.
void orr__unit_explain(const struct orr_engine *engine, const struct orr_unit *unit,
                       struct orr__reasons *reasons) {
  if (orr_step_status_final(unit->status)) return;
  if (unit->task != NULL) {
    note(reasons, ORR_REASON_IN_FLIGHT, unit->step, unit->item);
  } else if (orr_list_linked(&unit->ready)) {
    // Also with a slot free: it is given out at the end of the turn, perhaps to another.
    struct orr_reason *reason = note(reasons, ORR_REASON_WORKER_SLOTS, unit->step, unit->item);
    reason->limit = engine->slots;
    reason->used = engine->in_flight;
  } else if (unit->status == ORR_STEP_STATUS_WAITING || unit->status == ORR_STEP_STATUS_RETRYING) {
    unit_waits_for(unit, reasons);
  } else if (unit->item == 0 && unit->pending > 0) {
    note(reasons, ORR_REASON_DEPENDENCIES, unit->step, 0)->used = unit->pending;
  }
}

static void map_explain(const struct orr_engine *engine, const struct orr_run *run,
                        const struct orr_map_items *map, struct orr__reasons *reasons) {
  if (map->next <= map->count && !map->failed) {
    struct orr_reason *reason = note(reasons, ORR_REASON_PARALLEL, map->step, 0);
    reason->limit = orr__map_window(run, map->step);
    reason->used = map->open;
  }
  for (uint32_t i = 0; i < map->count && reasons->len < ORR__REASONS_MAX; i++)
    orr__unit_explain(engine, &map->units[i], reasons);
}

static void job_explain(const struct orr_engine *engine, const struct orr__extra *extra,
                        const struct orr_run *run, struct orr__reasons *reasons) {
  if (run->phase == ORR__PHASE_UNDO && extra->undo_len > 0)
    note(reasons, ORR_REASON_UNDOING, extra->undo[extra->undo_len - 1], 0);
  if (extra->job == NULL) return;
  if (extra->job_sent) {
    no(reasons, ORR_REASON_IN_FLIGHT);
  } else {
    struct orr_reason *reason = note(reasons, ORR_REASON_WORKER_SLOTS, UINT32_MAX, 0);
    reason->limit = engine->slots;
    reason->used = engine->in_flight;
  }
}

void orr__run_explain(const struct orr_engine *engine, const struct orr_run *run,
                      struct orr__reasons *reasons) {
  if (orr_run_status_final(run->status)) return;
  orr__run_may_start(engine, run, reasons);
  if (run->children_live != NULL) job_explain(engine, run->children_live, run, reasons);
  for (uint32_t i = 0; i < run->def->steps_len && reasons->len < ORR__REASONS_MAX; i++) {
    const struct orr_map_items *map = run->maps != NULL ? run->maps[i] : NULL;
    if (map == NULL)
      orr__unit_explain(engine, &run->units[i], reasons);
    else if (!orr_step_status_final(run->units[i].status))
      map_explain(engine, run, map, reasons);
  }
}
