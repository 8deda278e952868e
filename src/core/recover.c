// SPDX-License-Identifier: MIT
// A run found open in the store at start: its journal is folded, what was in flight is journalled
// as
// recovered (or interrupted, for `once` steps), waits are armed for what is left of them, and the
// run
// goes on. Recovering twice gives the same: everything decided here is a fact first.
#include "core/engine_internal.h"

#include <stdlib.h>

// What was dispatchable but only after power loss may have run: exactly what may start now.
static bool may_have_run(const struct orr_engine *engine, const struct orr_unit *unit) {
  if (unit->status == ORR_STEP_STATUS_PENDING) return true;
  return unit->status == ORR_STEP_STATUS_RETRYING && unit->until_ms <= engine->now.wall_ms;
}

static bool interrupted(const struct orr_unit *unit) {
  return !ORR_BUG(12) && (unit->flags & ORR_UNIT_STARTED) && !orr_step_status_final(unit->status) &&
         unit->status == ORR_STEP_STATUS_PENDING;
}

static void unit_interrupt(struct orr_engine *engine, struct orr_unit *unit) {
  struct orr_buf error = ORR_BUF_INIT;
  orr__error_make(&error, "interrupted",
                  "the engine stopped while this `once` step ran; whether it finished is unknown");
  struct orr__attempt_end end = {.status = ORR_STEP_STATUS_FAILED,
                                 .flags = ORR_FINISHED_INTERRUPTED,
                                 .started_ms = unit->started_ms,
                                 .finished_ms = engine->now.wall_ms,
                                 .value = orr_buf_slice(&error)};
  orr__unit_finish(engine, unit, &end);
  orr_buf_free(&error);
}

static void recovered_add(struct orr_fact *fact, struct orr_buf *units, struct orr_unit *unit) {
  orr_buf_varint(units, unit->step);
  orr_buf_varint(units, unit->item);
  fact->recovered.count++;
}

// After power loss the set is not known: everything that could have been dispatched counts.
static void collect_unknown(struct orr_engine *engine, struct orr_run *run, struct orr_fact *fact,
                            struct orr_buf *units) {
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    struct orr_unit *unit = &run->units[i];
    struct orr_map_items *map = run->maps != NULL ? run->maps[i] : NULL;
    if (orr_step_status_final(unit->status)) continue;
    if (map == NULL) {
      bool self = run->def->steps[i].kind == ORR_STEP_SLEEP && run->def->steps[i].sleep_ms > 0;
      if (unit->pending == 0 && !self && may_have_run(engine, unit) && !interrupted(unit))
        recovered_add(fact, units, unit);
      continue;
    }
    for (uint32_t k = 0, open = 0; k < map->count && open < orr__map_window(run, i); k++) {
      if (orr_step_status_final(map->units[k].status)) continue;
      open++;
      if (may_have_run(engine, &map->units[k])) recovered_add(fact, units, &map->units[k]);
    }
  }
}

static void collect_known(struct orr_run *run, const struct orr_event *event,
                          struct orr_fact *fact, struct orr_buf *units) {
  for (uint32_t i = 0; i < event->recover.in_flight_len; i++) {
    struct orr_unit_ref ref = event->recover.in_flight[i];
    struct orr_unit *unit = orr_run_unit(run, ref.step, ref.item);
    if (unit == NULL || orr_step_status_final(unit->status) || interrupted(unit) ||
        unit->status == ORR_STEP_STATUS_WAITING || (unit->flags & ORR_UNIT_EXPANDED) ||
        (unit->item == 0 && unit->pending > 0))
      continue; // its outcome was recorded after the note was made
    recovered_add(fact, units, unit);
  }
}

static void journal_recovered(struct orr_engine *engine, struct orr_run *run,
                              const struct orr_event *event) {
  struct orr_fact fact = {.type = ORR_FACT_RECOVERED};
  struct orr_buf units = ORR_BUF_INIT;
  bool known = event->recover.in_flight_known;
  if (known)
    collect_known(run, event, &fact, &units);
  else if (run->admitted)
    collect_unknown(engine, run, &fact, &units);
  if (fact.recovered.count > 0) {
    orr_buf_varint(&units, known ? 1 : 0);
    fact.recovered.units = orr_buf_slice(&units);
    orr__record(engine, run, &fact);
  }
  orr_buf_free(&units);
}

static void unit_rearm(struct orr_engine *engine, struct orr_unit *unit) {
  bool waits = unit->status == ORR_STEP_STATUS_RETRYING ||
               (unit->status == ORR_STEP_STATUS_WAITING && !(unit->flags & ORR_UNIT_CHILD));
  uint64_t delay_ms = ORR_BUG(35) ? 0 : orr__delay_until(engine, unit->until_ms);
  if (waits) orr__unit_timer(engine, unit, delay_ms);
}

static void waits_rearm(struct orr_engine *engine, struct orr_run *run) {
  for (uint32_t i = 0; run->waiting > 0 && i < run->def->steps_len; i++) {
    unit_rearm(engine, &run->units[i]);
    struct orr_map_items *map = run->maps != NULL ? run->maps[i] : NULL;
    for (uint32_t k = 0; map != NULL && k < map->count; k++) {
      unit_rearm(engine, &map->units[k]);
      if (map->units[k].status == ORR_STEP_STATUS_RETRYING) map->open++;
    }
  }
}

static void interrupt_once_steps(struct orr_engine *engine, struct orr_run *run) {
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    if (!(run->def->steps[i].flags & ORR_STEP_ONCE)) continue;
    struct orr_map_items *map = run->maps != NULL ? run->maps[i] : NULL;
    if (map == NULL && interrupted(&run->units[i])) unit_interrupt(engine, &run->units[i]);
    for (uint32_t k = 0; map != NULL && k < map->count; k++) {
      if (!interrupted(&map->units[k])) continue;
      map->open++;
      unit_interrupt(engine, &map->units[k]);
    }
  }
}

static void children_link(struct orr_engine *engine, struct orr_run *run) {
  for (uint32_t i = 0; run->children_open > 0 && i < run->def->steps_len; i++) {
    if (!(run->units[i].flags & ORR_UNIT_CHILD)) continue;
    struct orr_run *child = orr_run_index_find(&engine->index, &run->children[i]);
    if (child != NULL && orr_run_status_final(child->status)) orr__child_done(engine, child);
  }
}

static void run_go_on(struct orr_engine *engine, struct orr_run *run,
                      const struct orr_event *event) {
  engine->live++;
  engine->recovering = true;
  if (run->deadline_ms != 0 && !ORR_BUG(36))
    orr_wheel_add(&engine->runs, &run->timer,
                  engine->now.mono_ms + orr__delay_until(engine, run->deadline_ms));
  journal_recovered(engine, run, event);
  waits_rearm(engine, run);
  if (run->recoveries >= ORR_RECOVERIES_WITHOUT_PROGRESS_MAX && !run->cancel_asked)
    orr__run_pause(engine, run, "recovered three times without progress");
  interrupt_once_steps(engine, run);
  children_link(engine, run);
  orr__maps_resume(engine, run);
  orr__run_enter_gate(engine, run, false);
  orr__touch(engine, run);
}

void orr__recover(struct orr_engine *engine, struct orr_event *event) {
  struct orr_run *run = orr_run_new(event->recover.def);
  enum orr_status status = orr_run_load(run, orr_blob_slice(event->recover.journal));
  if (status != ORR_OK || run->facts == 0 ||
      orr_run_index_find(&engine->index, &run->id) != NULL) {
    orr__reply(engine, event->reply_to, status != ORR_OK ? status : ORR_ERR_CONFLICT,
               status != ORR_OK ? "the run's journal is damaged" : "the run is already here");
    orr_run_free(run);
    return;
  }
  run->persisted = run->journal.len;
  if (!ORR_BUG(44)) run->last_pos = event->recover.last_pos;
  orr__run_index_add(engine, run);
  if (!orr_run_status_final(run->status)) {
    run_go_on(engine, run, event);
  } else {
    engine->ungathered++;
    if (ORR_BUG(37)) return;
    struct orr_effect *effect = orr__effect(engine, ORR_EFFECT_GATHER);
    effect->gather.run = run;
    effect->gather.handle = run->handle;
    if (!orr_id_is_zero(&run->parent)) orr__child_done(engine, run);
  }
  orr__reply(engine, event->reply_to, ORR_OK, NULL);
}
